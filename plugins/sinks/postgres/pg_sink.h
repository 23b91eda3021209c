/* pg_sink.h - what the source files of the postgres sink share. Nothing here is exported.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parts: sink_postgres.c (class, options, life), pg_settings.c (options to connection parameters), pg_conn.c
 * (connections that never block beyond a deadline), pg_error.c (what an SQLSTATE means), pg_row.c (columns, and an
 * event as a binary row), pg_schema.c (looking at the table), pg_migrate.c and pg_partition.c (making it), pg_load.c
 * (rows into the table), pg_write.c (batches), pg_stage.c (stage, commit, rollback), pg_read.c (the query extension),
 * pg_prune.c (retention).
 *
 * Threads: the host serialises the calls on an instance, so its connection has no lock. health() is guarded by `lock`.
 * Everything that reads, probes, migrates or prunes has a connection of its own and uses only settings of the sink.
 */
#ifndef AW_PG_SINK_H
#define AW_PG_SINK_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "audit/plugin.h"

#define PG_SCHEMA_VERSION 1 /* in the table's comment */
#define PG_COMMENT "auditwell schema version "
#define PG_NAME_MAX 63    /* bytes of a name in PostgreSQL */
#define PG_QUOTED_MAX 132 /* a quoted name, with its NUL */
#define PG_PARAMS_MAX 32
#define PG_TEXT_MAX 400

/* A growing run of bytes. failed: no memory; then what was put is not all there. */
struct pg_buf {
    char *p;
    size_t len, cap;
    bool failed;
};

enum pg_partition { PG_PARTITION_NONE, PG_PARTITION_MONTHLY };

/* Constant after create(). */
struct pg_settings {
    const char *keys[PG_PARAMS_MAX]; /* libpq parameters; values are malloc'd */
    char *values[PG_PARAMS_MAX];
    size_t params;
    bool tls_decided; /* sslmode is among them */
    char schema[PG_NAME_MAX + 1], table[PG_NAME_MAX + 1];
    char full[2 * PG_QUOTED_MAX];    /* "schema"."table" */
    char staged[2 * PG_QUOTED_MAX];  /* "schema"."table_staged" */
    char place[2 * PG_NAME_MAX + 2]; /* schema.table, for people */
    char grant_write[PG_NAME_MAX + 1], grant_read[PG_NAME_MAX + 1];
    enum pg_partition partition;
    unsigned ahead; /* months */
    bool indexes;
    char synchronous_commit[16];
    uint64_t connect_timeout_ns, statement_timeout_ns, lock_timeout_ns;
};

enum pg_purpose { PG_WRITE, PG_READ, PG_ADMIN };

/* One connection, and what happened on it last. */
struct pg_conn {
    const struct aw_host *host;
    const struct pg_settings *set;
    PGconn *pg;
    enum pg_purpose purpose;
    _Atomic int fd;       /* of pg's socket, -1: none that is known; for after_fork() */
    uint64_t deadline_ns; /* of the current call; 0: none but the timeouts of the settings */
    char state[6];        /* SQLSTATE of the last failure, "" without one */
    char text[PG_TEXT_MAX];
};

/* What looking at the table found. */
struct pg_table {
    bool partitioned;
    bool row_security; /* active for our role: no COPY then */
    int version;       /* of the comment, 0 without one */
};

struct pg_sink {
    const struct aw_host *host;
    struct pg_settings set;
    struct pg_conn conn;
    struct pg_table table; /* as the connection found it */
    bool started;
    bool staging_ready;     /* the statements for staging are prepared */
    bool expect_duplicates; /* the last batch had some: COPY would likely fail again */
    uint64_t stored_seq;
    struct pg_buf buf;
    char **tokens; /* what in_doubt() returned last, NULL-ended, or NULL */

    pthread_mutex_t lock; /* health; held for copies only */
    struct aw_health health;
    uint32_t metric_duplicates, metric_transactions, metric_connects;
};

/* ---- pg_settings.c ---- */
extern const struct aw_option *const pg_options[];
int32_t pg_read_settings(const struct aw_host *host, const struct aw_config *config, struct pg_settings *ret);
void pg_free_settings(struct pg_settings *set);
const char *pg_setting(const struct pg_settings *set, const char *key); /* of the connection, or NULL */
/* A name for SQL, quoted. out holds 2 * len + 3 bytes. Returns the length. */
size_t pg_quote(const char *name, char *out);
/* Are all hosts of this list on this machine (sockets, loopback)? NULL and "" are libpq's default, a socket. */
bool pg_hosts_are_local(const char *list);

/* ---- pg_error.c ---- */
struct pg_verdict {
    int32_t code;       /* AW_E_* for the instance; AW_E_REJECTED: the row may be at fault */
    bool drop;          /* the connection is of no use any more */
    const char *remedy; /* what to do, or NULL */
};
struct pg_verdict pg_judge(const char *sqlstate);
/* Keeps the text, tells the host, returns code. */
int32_t pg_fail(struct pg_conn *c, int32_t code, const char *fmt, ...) AW_PRINTF(3, 4);
/* From a result that is no success, or without one from the connection. Closes the connection when that is due. */
int32_t pg_fail_result(struct pg_conn *c, const PGresult *res, const char *what);
/* For a connection that was refused. */
int32_t pg_fail_connect(struct pg_conn *c, bool in_tls);
/* The first line of a server's message, without details: they would hold the row. Static in out. */
void pg_primary(const PGresult *res, char *out, size_t size);

/* ---- pg_conn.c ---- */
void pg_conn_init(struct pg_conn *c, const struct aw_host *host, const struct pg_settings *set);
int32_t pg_connect(struct pg_conn *c, enum pg_purpose purpose);
void pg_close(struct pg_conn *c);
bool pg_alive(struct pg_conn *c); /* looks, without waiting, whether the server closed it */
/* Waits until all is sent, reading what comes meanwhile. */
int32_t pg_flush_out(struct pg_conn *c, const char *what);
/* The next result; *ret NULL: no more of this command. The caller clears it. */
int32_t pg_next(struct pg_conn *c, PGresult **ret, const char *what);
/* After PQsend*(): the last result, which must be a success. ret may be NULL. sent: what PQsend*() returned. */
int32_t pg_finish(struct pg_conn *c, int sent, PGresult **ret, const char *what);
int32_t pg_run(struct pg_conn *c, const char *sql, const char *what);
/* With text parameters. */
int32_t pg_ask(struct pg_conn *c, const char *sql, int n, const char *const *values, PGresult **ret, const char *what);
/* Rolls back what is open, or closes the connection when that fails. Keeps the error. */
void pg_roll_back(struct pg_conn *c);

/* ---- pg_row.c ---- */
enum pg_source {
    PG_KEY,
    PG_TEXT,
    PG_CUT,
    PG_INT2BOOL,
    PG_INT4,
    PG_INT8,
    PG_TIME,
    PG_ROLES,
    PG_JSON,
    PG_STREAM,
    PG_RAW
};
struct pg_column {
    const char *name, *type;
    Oid oid;
    enum pg_source source;
    uint32_t id; /* AW_FIELD_* or AW_NUMBER_* */
    bool added;  /* not in the predecessor's table: may be missing before migration */
};
#define PG_COLUMNS 29
extern const struct pg_column pg_columns[PG_COLUMNS];
#define PG_CUT_BYTES 800u /* what is indexed must fit on a page of an index, with each U+0000 as three bytes */
void pg_put(struct pg_buf *b, const void *p, size_t n);
void pg_put32(struct pg_buf *b, uint32_t v);
void pg_put16(struct pg_buf *b, uint32_t v);
void pg_buf_trim(struct pg_buf *b); /* empties it, and gives back a very large one */
/* Appends "name, name, ..." */
void pg_put_columns(struct pg_buf *sql);
void pg_puts(struct pg_buf *b, const char *text);
/* Appends the columns of an event, each with its length. AW_OK or the host's error; also look at b->failed. */
int32_t pg_put_event(const struct aw_host *host, struct pg_buf *b, const struct aw_event *event);
/* The value of event_id's column, which is not the id itself if that holds U+0000. */
int32_t pg_put_key(const struct aw_host *host, struct pg_buf *b, const struct aw_event *event);
/* As stored in columns that are PG_CUT. Returns the length to keep. */
size_t pg_cut(const char *s, size_t len);

/* ---- pg_schema.c ---- */
/* AW_OK, or AW_E_CONFIG that says what to change. for_writing: looks at rights, too. */
int32_t pg_check_table(struct pg_conn *c, bool for_writing, struct pg_table *ret);
int32_t pg_check_staged(struct pg_conn *c);
extern const struct aw_sink_probe pg_probe;

/* ---- pg_migrate.c, pg_partition.c ---- */
extern const struct aw_sink_migrate pg_migrate;
struct pg_steps {
    struct pg_conn *conn;
    bool dry;
    void (*step)(void *arg, const char *text);
    void *arg;
};
int32_t pg_step(struct pg_steps *st, const char *sql);
int32_t pg_migrate_partitions(struct pg_steps *st, bool exists);

/* ---- pg_load.c ---- */
/* The rows of one transaction. */
struct pg_job {
    const struct aw_batch *batch;
    uint8_t *status;
    size_t duplicates;
};
int32_t pg_prepare(struct pg_sink *s);
void pg_forget(struct pg_job *job); /* statuses go back to unknown */
/* All events by COPY. AW_E_REJECTED: some row is not taken, which one is not said. */
int32_t pg_copy(struct pg_sink *s, struct pg_job *job, const char *token);
/* All events by INSERT: sets a status for each. With careful, a row that is refused does not stop the others; without,
 * AW_E_REJECTED. whole: in a transaction of its own. */
int32_t pg_insert(struct pg_sink *s, struct pg_job *job, bool careful, bool whole);

/* ---- pg_write.c ---- */
int32_t pg_write(void *sink, const struct aw_batch *batch, struct aw_result *result);
int32_t pg_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq);
int32_t pg_ready(struct pg_sink *s, uint64_t deadline_ns); /* connects if need be */
int32_t pg_set_health(struct pg_sink *s, int32_t code);    /* with the connection's text; returns code */

/* ---- pg_stage.c, pg_read.c, pg_prune.c ---- */
extern const struct aw_sink_transaction pg_transaction;
void pg_forget_tokens(struct pg_sink *s);
extern const struct aw_sink_query pg_query;
extern const struct aw_sink_retention pg_retention;

#endif
