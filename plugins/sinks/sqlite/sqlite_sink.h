/* sqlite_sink.h - what the source files of the sqlite sink share. Nothing here is exported.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parts: sink_sqlite.c (class, options, life), sqlite_open.c (the connection), sqlite_schema.c (tables, migration),
 * sqlite_write.c (batches, flush, position), sqlite_stage.c (stage, commit, rollback), sqlite_read.c (the query
 * extension), sqlite_admin.c (probe and migrate), sqlite_retention.c (plan and prune).
 *
 * Threads: the host serialises the calls on an instance, so its connection needs no mutex of SQLite. health() is
 * guarded by `lock`. Each read of the query extension has a connection of its own and uses only settings.
 */
#ifndef AW_SQLITE_SINK_H
#define AW_SQLITE_SINK_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "audit/plugin.h"

#define SQ_SCHEMA_VERSION 2 /* PRAGMA user_version; 2: the table of staged events */
#define SQ_TABLE "audit_events"
#define SQ_STAGED "audit_staged" /* token, and the columns of SQ_TABLE */
#define SQ_SQL_MAX 4096

struct sqlite_sink {
    const struct aw_host *host;
    /* settings, constant after create() */
    char *path;
    mode_t mode;
    bool full; /* synchronous = full: a commit is durable */
    bool indexes, vacuum;
    uint64_t busy_timeout_ns;
    int64_t cache_size, wal_size, page_size;

    sqlite3 *db; /* NULL: opened at the next write */
    sqlite3_stmt *insert, *find;
    sqlite3_stmt *stage, *move, *drop; /* of staged events: in, to the table, away; the token is the last parameter */
    dev_t dev;
    ino_t ino;
    bool started;
    bool wal_suspect;     /* a sync of the WAL failed: its content must be written anew before it counts */
    uint64_t deadline_ns; /* of the current call, for the busy handler */
    uint64_t busy_began;
    uint64_t stored_seq, flushed_seq;
    uint64_t conflict_logged_ns;
    char **tokens; /* what in_doubt() returned last, NULL-ended, or NULL */

    pthread_mutex_t lock; /* health; held for copies only */
    struct aw_health health;
    uint32_t metric_duplicates, metric_transactions;
};

/* How a column of the table gets its value. */
enum sq_source { SQ_TEXT, SQ_NUMBER, SQ_JSON };
struct sq_column {
    const char *name, *type;
    enum sq_source source;
    uint32_t id; /* AW_FIELD_* or AW_NUMBER_* */
};
extern const struct sq_column sq_columns[];
extern const size_t sq_column_count;

/* ---- sqlite_schema.c ---- */
/* Makes error text and health from the connection's last error (or rc's text) and returns the AW_E_* it means. */
int32_t sq_fail(struct sqlite_sink *s, sqlite3 *db, int rc, const char *what);
int32_t sq_code(int rc);
int32_t sq_set_health(struct sqlite_sink *s, int32_t code, const char *detail); /* returns code */
int32_t sq_fail_errno(struct sqlite_sink *s, int errnum, const char *what);
int sq_run(sqlite3 *db, const char *sql);
int sq_run_number(sqlite3 *db, const char *format, int64_t value);
/* The integer that a one-row query gives. SQLITE_ROW or another rc. */
int sq_int(sqlite3 *db, const char *sql, int64_t *ret);
struct sq_migration {
    void (*step)(void *arg, const char *text); /* NULL: not told */
    void *arg;
    bool dry; /* on a connection that may be read-only */
};
int32_t sq_settle_schema(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db); /* AW_OK or AW_E_* */

/* ---- sqlite_open.c ---- */
int32_t sq_open(struct sqlite_sink *s); /* AW_OK or AW_E_* */
void sq_close(struct sqlite_sink *s);
int32_t sq_ready(struct sqlite_sink *s); /* before each call: opens if need be, notices a replaced database */
/* Writes what is committed anew after a failed sync of the WAL. AW_OK or AW_E_*. */
int32_t sq_rescue_wal(struct sqlite_sink *s);
/* The parts of sq_open(), for other connections; AW_OK or AW_E_*. *ret is to be closed, also on failure. */
int32_t sq_create_file(struct sqlite_sink *s);
int32_t sq_connect(struct sqlite_sink *s, sqlite3 **ret);
int32_t sq_migrate(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db);
int32_t sq_sync_names(struct sqlite_sink *s);

/* ---- sqlite_write.c ---- */
int32_t sq_write(void *sink, const struct aw_batch *batch, struct aw_result *result);
int32_t sq_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq);
int32_t sq_position(void *sink, struct aw_position *ret);

/* The rows of one transaction. */
struct sq_job {
    const struct aw_batch *batch;
    uint8_t *status;
    size_t end; /* events [0, end) are in this transaction */
    size_t duplicates;
    int32_t code; /* with a failure */
};
int sq_exec(struct sqlite_sink *s, const char *sql);
int sq_end(struct sqlite_sink *s); /* COMMIT */
/* SQLITE_OK, another rc, or -1 with *ret_code set: the host failed. */
int sq_bind_event(struct sqlite_sink *s, sqlite3_stmt *st, const struct aw_event *event, int32_t *ret_code);
/* One event into the table. SQLITE_OK (its status is set), SQLITE_ABORT (the transaction is gone, begin again), or
 * another rc; -1: job->code. */
int sq_insert_event(struct sqlite_sink *s, struct sq_job *job, size_t i);
void sq_forget(struct sq_job *job); /* statuses but REJECTED go back to unknown */
/* After a failed transaction: rolls back, closes the connection when that may help; AW_E_* with its text. */
int32_t sq_fail_transaction(struct sqlite_sink *s, int rc, const struct sq_job *job, const char *what);
/* Makes what is committed durable where COMMIT does not. AW_OK or AW_E_*. */
int32_t sq_make_durable(struct sqlite_sink *s);

/* ---- sqlite_stage.c ---- */
extern const struct aw_sink_transaction sq_transaction;
void sq_forget_tokens(struct sqlite_sink *s);

/* ---- sqlite_read.c ---- */
extern const struct aw_sink_query sq_query;
/* A read-only connection; it is to be closed, also on failure. SQLITE_OK or another rc. */
int sq_open_readonly(const struct sqlite_sink *s, sqlite3 **ret);

/* ---- sqlite_admin.c ---- */
extern const struct aw_sink_probe sq_probe;
extern const struct aw_sink_migrate sq_migrate_extension;

/* ---- sqlite_retention.c ---- */
extern const struct aw_sink_retention sq_retention;

#endif
