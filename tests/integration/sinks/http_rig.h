/* http_rig.h - receivers for the tests of the http sink: the peer of http_peer.py, and nginx before it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * All listen on 127.0.0.1 at ports of their own, and end with the test program: their standard input ends then.
 */
#ifndef AW_HTTP_RIG_H
#define AW_HTTP_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "minihost.h"

struct rig {
    pid_t pid;
    int in;                                /* its standard input */
    int port;                              /* nginx: of TLS with HTTP/2 */
    int port_mutual, port_plain, port_h2c; /* h2c: HTTP/2 without TLS */
    char dir[512];
};

/* Arguments as of http_peer.py behind the directory, NULL-ended. Bails out when it does not start. */
struct rig *rig_peer(const char *const *arguments);
#define RIG_PEER(...) rig_peer((const char *const[]){__VA_ARGS__, NULL})
/* nginx before that peer: TLS, HTTP/2, and at port_mutual only with a certificate of clients. */
struct rig *rig_nginx(const struct rig *peer);
void rig_stop(struct rig *r);                                        /* by its own end, or killed */
void rig_kill(struct rig *r);                                        /* at once; its directory stays */
const char *rig_url(const struct rig *r, const char *path);          /* http://127.0.0.1:PORT/PATH; next use */
const char *rig_https(const char *host, int port, const char *path); /* the same for TLS */
char *rig_last(const struct rig *r);                                 /* the last line of its log; malloc'd */
size_t rig_requests(const struct rig *r);
bool rig_body_is(const struct rig *r, const char *bytes, size_t len); /* decoded, of the last request */
void rig_reply(const struct rig *r, const char *text);                /* what /file/CODE answers */
const char *rig_cert(const char *name); /* a file of the test's own authorities; next use. Made at the first call. */

/* A started sink for this URL. pairs may be NULL. */
struct mh_instance *rig_sink(const char *url, const char *const *pairs);
#define RIG_SINK(url, ...) rig_sink(url, (const char *const[]){__VA_ARGS__, NULL})
/* Writes seqs [from, to]; status as of mh_write(). after_ms may be NULL. */
int32_t rig_write(struct mh_instance *m, uint64_t from, uint64_t to, uint64_t deadline_ns, uint8_t *status,
                  uint32_t *after_ms);
/* One sink, one batch of n events to that path of the peer: the code, and the text in m->error copied to rig_error. */
extern char rig_error[512];
int32_t rig_once(const struct rig *r, const char *path, size_t n, uint8_t *status, uint32_t *after_ms);
bool rig_error_has(const char *text); /* notes it when not */

#endif
