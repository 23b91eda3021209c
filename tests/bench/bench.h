/* bench.h - what the parts of the benchmark share. SPDX-License-Identifier: Apache-2.0
 *
 * Every figure is measured together with its limit, turn by turn, so that a machine that slows down in between slows
 * both. The reported ratio is the median of the turns' ratios. Nothing here but the limits uses more than the public
 * API.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"

#define BENCH_MAX_RUNS 25
#define BENCH_NULL_SINK "sinks = ( { plugin = \"null\"; } );"
/* The file sink as it is by default, but without rotation, so that one file holds all. %s: path */
#define BENCH_FILE_SINK "sinks = ( { plugin = \"file\"; path = \"%s\"; rotate_size = \"0\"; } );"

struct series {
    double v[BENCH_MAX_RUNS];
    int n;
};
void series_add(struct series *s, double v);
double series_median(const struct series *s);
double series_min(const struct series *s);
double series_max(const struct series *s);

/* Text by lines in memory: base[off[i]] .. len[i] bytes without newline. */
struct lines {
    char *base;
    size_t size, count;
    size_t *off;
    uint32_t *len;
    bool mapped;
};

struct bench {
    const char *dir;          /* scratch, emptied between turns */
    const char *auditwell;    /* the command */
    const char *memory;       /* the helper that measures memory */
    const char *test_plugins; /* directory of the test sinks; NULL: no figures about sinks that misbehave */
    const char *only;         /* run figures whose name holds this; NULL = all */
    int runs;
    size_t events; /* per turn of the in-process figures */
    size_t cli_events, rss_events, sqlite_events, http_events, durable_events, latency_events;
    int processors;
    char corpus_path[512], trail_path[512];
    struct lines corpus;  /* input, cut to `events` */
    struct lines trail;   /* what the file sink made of it */
    struct lines payload; /* what the chain hashes of each, up to prevHash: {"event":E */
    bool failed;
};

/* bench_util.c */
extern const char *bench_scratch; /* removed by bench_die(), when set */
double bench_now(void);           /* seconds, monotonic */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void bench_check(int code, const char *what); /* dies with aw_problems() unless AW_SUCCESS */
void lines_map(struct lines *l, const char *path, size_t max);
void lines_free(struct lines *l);
void bench_make_payload(const struct lines *trail, struct lines *ret); /* integrity members taken out */
char *bench_path(const struct bench *b, const char *name, char *out, size_t size);
void bench_remove(const char *path); /* file or directory tree; absent is fine */
/* Opens a logger on DIR/journal with this text after the journal's settings ("sinks = (…);"). */
struct aw_logger *bench_open(const struct bench *b, const char *rest, uint32_t flags);
void bench_close(struct aw_logger *logger);
void bench_clean(const struct bench *b); /* removes the journal and all stores */
void bench_write_file(const char *path, const char *text);
int bench_spawn(char *const argv[], const char *stdin_path, const char *stdout_path); /* exit status */
void bench_print_machine(const struct bench *b);

/* report: keeps a row for the table, prints the plain line at once. target < 0: none; 0: none, but none at all where
 * less is better. more_is_better gives its direction. */
struct figure {
    const char *name, *unit, *note;
    double target;
    bool less_is_better;
};
void report(const struct figure *f, const struct series *value, const struct series *limit);
void report_table(void);
bool bench_wants(const struct bench *b, const char *name);

/* bench_limits.c: seconds of one pass */
double limit_chain_hash(const struct lines *payload, size_t from, size_t to);
double limit_chain_hash_threads(const struct lines *payload, int threads);
double limit_buffered_write(const struct lines *l, const char *path);
double limit_copy_hash_write(const struct lines *payload, const struct lines *out, const char *path, size_t count);
double limit_append_sync(const struct lines *l, const char *path, size_t count, size_t every, bool preallocated);
/* ns of each hash, paced; sorted by the caller */
void limit_hash_paced(const char *bytes, size_t len, double rate, uint32_t *ns, size_t count);

/* bench_sqlite.c */
struct rows; /* all rows of a database's only big table, in memory */
struct rows *rows_load(const char *db_path);
size_t rows_count(const struct rows *rows);
void rows_free(struct rows *rows);
double limit_sqlite(const struct rows *rows, const char *path, size_t batch, const char *synchronous);
const char *bench_sqlite_version(void);

/* bench_host.c: a sink without auditwell around it, with one option set */
struct bench_host;
struct bench_host *host_open(const char *name, const char *key, const char *value);
double host_write_all(struct bench_host *h, const struct lines *trail, size_t events, size_t batch); /* seconds */
void host_close(struct bench_host *h);

/* bench_pipeline.c, bench_delivery.c, bench_sinks.c, bench_stores.c, bench_http.c: the figures */
void figures_pipeline(struct bench *b);
void figures_latency(struct bench *b);
void figures_durable(struct bench *b);
void figures_delivery(struct bench *b);
void figures_sinks(struct bench *b);
void figures_cli(struct bench *b);
void figures_sqlite(struct bench *b);
void figures_kafka(struct bench *b); /* bench_kafka.c; with BENCH_KAFKA */
void figures_http(struct bench *b);  /* none when the sink is not built */
/* Seconds for `count` events that wait in a journal to get into these sinks. */
double run_catch_up(struct bench *b, const char *sinks, size_t count);
void figures_exec(struct bench *b); /* with BENCH_EXEC */
int bench_exec_peer(void);          /* the program of that one; its exit status */
void figures_nats(struct bench *b); /* with BENCH_NATS */
#ifdef BENCH_POSTGRES
void figures_postgres(struct bench *b); /* bench_postgres.c */
#endif
void figures_verify(struct bench *b);
void figures_memory(struct bench *b);

#endif
