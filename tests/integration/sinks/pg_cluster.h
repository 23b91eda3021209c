/* pg_cluster.h - a real PostgreSQL server for tests and benchmarks, started and ended by them.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Runs in a directory of its own, on a Unix socket there and on 127.0.0.1 with TLS (a certificate for "localhost" from
 * an authority of its own). PostgreSQL refuses to run as root: root gives it to another user. It ends with the thread
 * that started it, however that ends.
 *
 * Sockets need no password. Over TCP, roles need TLS and their password.
 */
#ifndef AW_PG_CLUSTER_H
#define AW_PG_CLUSTER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/types.h>

struct pg_cluster {
    char dir[128]; /* also the socket's directory */
    char bin[256];
    char port[8];
    char ca[160], key[160];   /* the authority's certificate, and the server's key */
    unsigned long file_limit; /* of the server started next: no file may be larger; 0: no limit */
    pid_t pid;                /* 0: not running */
    uid_t uid;
    gid_t gid;
};

/* Is PostgreSQL's server installed? */
bool pgc_available(void);
/* Makes and starts a cluster. settings: more lines of postgresql.conf, may be NULL. Bails out when it cannot. */
void pgc_create(struct pg_cluster *c, const char *settings);
void pgc_start(struct pg_cluster *c);
/* SIGINT: disconnects clients and ends; SIGQUIT: as if it crashed; SIGKILL: with its children. Waits. */
void pgc_stop(struct pg_cluster *c, int sig);
/* The postmaster and everything it started stop where they are (SIGSTOP) and go on (SIGCONT). */
void pgc_signal_all(struct pg_cluster *c, int sig);
void pgc_destroy(struct pg_cluster *c);
/* Runs as superuser on the socket; dbname NULL: "postgres". The first column of the first row, "" for none, in a static
 * buffer. Bails out on errors. */
const char *pgc_sql(struct pg_cluster *c, const char *dbname, const char *sql);
PGconn *pgc_connect(struct pg_cluster *c, const char *dbname);

#endif
