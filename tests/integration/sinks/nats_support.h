/* nats_support.h - real NATS servers for the tests of the nats sink. SPDX-License-Identifier: Apache-2.0
 *
 * Servers run on loopback, in directories of their own; they end with the test, however that ends.
 */
#ifndef AW_NATS_SUPPORT_H
#define AW_NATS_SUPPORT_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "minihost.h"

struct nats_node {
    pid_t pid;    /* 0: not running */
    int port;     /* for clients */
    char *dir;    /* its data, and its configuration nats.conf */
    char url[64]; /* "nats://127.0.0.1:PORT" */
};

int nats_free_port(void);
/* A server with these lines in its configuration; keeps its port and data when it is started again. false: it does not
 * come up; its log is in dir/log. */
bool nats_node_start(struct nats_node *n, const char *config);
void nats_node_kill(struct nats_node *n, int signo); /* and waits for its end; SIGSTOP and SIGCONT only send */
void nats_node_forget(struct nats_node *n);          /* ends it, frees the rest */

/* A client of the test's own. */
struct nats_admin {
    natsConnection *nc;
    jsCtx *js;
};
/* servers: urls parted by commas. Waits until JetStream answers. */
bool nats_admin_open(struct nats_admin *a, const char *servers);
void nats_admin_close(struct nats_admin *a);
/* Makes a stream of the name for "audit.>". With change() the configuration can be changed first. */
bool nats_make_stream(struct nats_admin *a, const char *name, void (*change)(jsStreamConfig *c));
uint64_t nats_count(struct nats_admin *a, const char *stream);
/* Reads the stream. How many of the events with marked[seq - 1] are in it, byte for byte; *ret_extra: messages beyond
 * the first of each event, or that are no event of [1, count]. */
size_t nats_find(struct nats_admin *a, const char *stream, const bool *marked, size_t count, size_t *ret_extra);

/* Gives events [from, to] to a sink as a host does, and marks those that it says are stored. Returns true when all are,
 * within the time. */
struct nats_load {
    struct mh_instance *m;
    bool *acked; /* by seq - 1 */
    uint64_t from, to;
    size_t batch;
    int seconds;
    uint64_t rejected, config_errors;
};
bool nats_deliver(struct nats_load *l);

#endif
