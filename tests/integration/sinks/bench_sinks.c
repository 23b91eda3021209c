/* bench_sinks.c - the sinks beside bare loops over the same bytes in the same run: bench_sinks [EVENTS] [RUNS]
 * SPDX-License-Identifier: Apache-2.0
 *
 * BENCH_CPU=1 counts processor time, for a machine that does other work. Prints "bench NAME value=V unit=U limit=L
 * ratio=R target=T" with medians. Each figure and its limit are measured in turns.
 */
#include "config.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

#define BATCH 1000u
#define RUNS_MAX 15

static struct aw_event **events;
static size_t count;
static double bytes;
static bool cpu;

static double now(void)
{
    struct timespec t;
    clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

static void report(const char *name, const char *unit, double *value, double *limit, size_t n, double target)
{
    double v = median(value, n), l = median(limit, n);
    printf("bench %s value=%.0f unit=%s limit=%.0f ratio=%.2f target=%.2f\n", name, v, unit, l, v / l, target);
    fflush(stdout);
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_sinks: %s\n", what);
        exit(1);
    }
}

/* Seconds for all events through a sink, a flush after each batch. */
static double through(struct mh_instance *m)
{
    static uint8_t status[BATCH];
    must(mh_start(m) == AW_OK, m->error);
    double t = now();
    for (size_t i = 0; i < count; i += BATCH) {
        must(mh_write_events(m, events + i, BATCH, 0, 0, status) == AW_OK, m->error);
        must(mh_flush(m, NULL) == AW_OK, m->error);
    }
    t = now() - t;
    must(mh_stop(m) == AW_OK, m->error);
    return t;
}

static double bare_write(const char *path, bool sync)
{
    size_t cap = BATCH * 1400, n;
    char *buf = malloc(cap);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    must(buf != NULL && fd >= 0, path);
    double t = now();
    for (size_t i = 0; i < count; i += BATCH) {
        n = 0;
        for (size_t k = i; k < i + BATCH; k++) {
            memcpy(buf + n, events[k]->json, events[k]->json_len);
            n += events[k]->json_len;
            buf[n++] = '\n';
        }
        must(write(fd, buf, n) == (ssize_t)n, path);
        must(!sync || fdatasync(fd) == 0, path);
    }
    t = now() - t;
    close(fd);
    free(buf);
    return t;
}

static void bench_file(size_t runs, const char *mode)
{
    double sink[RUNS_MAX], bare[RUNS_MAX];
    bool sync = strcmp(mode, "never") != 0;
    for (size_t i = 0; i < runs; i++) {
        char *path = mh_path("audit.jsonl"), *plain = mh_path("plain");
        struct mh_instance *m = MH("file", "path", path, "rotate_size", "0", "fsync", mode);
        sink[i] = bytes / 1e6 / through(m);
        mh_destroy(m);
        bare[i] = bytes / 1e6 / bare_write(plain, sync);
        unlink(path);
        unlink(plain);
        free(path);
        free(plain);
    }
    report(sync ? "sink_file_batch" : "sink_file_never", "MB/s", sink, bare, runs, 0.8);
}

/* Reading back, beside read(2) of the same file. */
static void bench_read(size_t runs)
{
    double rows[RUNS_MAX], bare[RUNS_MAX];
    static struct aw_row page[1024];
    static char buf[1 << 20];
    char *path = mh_path("audit.jsonl");
    bare_write(path, false);
    struct mh_instance *m = MH("file", "path", path);
    for (size_t i = 0; i < runs; i++) {
        struct aw_query q;
        void *read_;
        size_t n, got = 0;
        ssize_t r;
        mh_query_init(&q);
        double t = now();
        must(mh_query(m)->open(m->sink, &q, &read_) == AW_OK, m->error);
        while (mh_query(m)->next(read_, page, 1024, &n) == AW_OK && n > 0)
            got += n;
        rows[i] = bytes / 1e6 / (now() - t);
        mh_query(m)->close(read_);
        must(got == count, "rows are missing");
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        t = now();
        while ((r = read(fd, buf, sizeof buf)) > 0)
            ;
        bare[i] = bytes / 1e6 / (now() - t);
        close(fd);
    }
    mh_destroy(m);
    unlink(path);
    free(path);
    report("sink_file_query", "MB/s", rows, bare, runs, 0.3);
}

/* The same statement into the same table with the same settings, with values that lie ready. */
static double bare_insert(const char *path, const char *wal)
{
    struct column {
        struct aw_str text;
        int64_t number;
        int kind;
    } *values = calloc(count * 28, sizeof *values);
    static const uint32_t ids[] = {1,  0,  60, 0,  4,  0,  2,  3,  10, 11, 12, 13, 14, 15,
                                   20, 21, 22, 30, 31, 51, 52, 53, 54, 55, 5,  0,  0};
    sqlite3 *db = NULL;
    sqlite3_stmt *st;
    char sql[1024];
    must(values != NULL && sqlite3_open(path, &db) == SQLITE_OK, "sqlite3_open");
    snprintf(sql, sizeof sql, "PRAGMA synchronous=FULL; PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=%s", wal);
    must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
    must(sqlite3_prepare_v3(
             db,
             "INSERT INTO audit_events(event_id,seq,scope,schema_version,occurred_at,occurred_ns,action,outcome,"
             "actor_id,actor_type,actor_display_name,actor_roles,actor_ip,actor_user_agent,target_id,target_type,"
             "target_display_name,tenant_id,org_id,target,context,metadata,diff,integrity,retention_tag,"
             "metadata_truncated,diff_truncated,canonical) "
             "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
             "ON CONFLICT(event_id) DO NOTHING",
             -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) == SQLITE_OK,
         sqlite3_errmsg(db));
    for (size_t i = 0; i < count; i++) {
        struct column *v = values + i * 28;
        const uint64_t numbers[] = {events[i]->numbers[0], 1, events[i]->numbers[2], 0, 0};
        for (size_t c = 0, k = 0; c < 27; c++) {
            v[c].kind = ids[c] == 0 ? 1 : events[i]->fields[ids[c]].ptr != NULL ? 2 : 0;
            if (v[c].kind == 1)
                v[c].number = (int64_t)numbers[k++];
            else
                v[c].text = events[i]->fields[ids[c]];
        }
        v[27] = (struct column){{events[i]->json, events[i]->json_len}, 0, 2};
    }
    double t = now();
    for (size_t i = 0; i < count; i++) {
        struct column *v = values + i * 28;
        if (i % BATCH == 0)
            must(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
        for (int c = 0; c < 28; c++) {
            if (v[c].kind == 2)
                sqlite3_bind_text(st, c + 1, v[c].text.ptr, (int)v[c].text.len, SQLITE_STATIC);
            else if (v[c].kind == 1)
                sqlite3_bind_int64(st, c + 1, v[c].number);
            else
                sqlite3_bind_null(st, c + 1);
        }
        must(sqlite3_step(st) == SQLITE_DONE, sqlite3_errmsg(db));
        sqlite3_reset(st);
        if (i % BATCH == BATCH - 1)
            must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
    }
    t = now() - t;
    sqlite3_finalize(st);
    sqlite3_close(db);
    free(values);
    return t;
}

static void bench_sqlite(size_t runs, const char *indexes)
{
    double sink[RUNS_MAX], bare[RUNS_MAX];
    for (size_t i = 0; i < runs; i++) {
        char *path = mh_path("audit.db"), *plain = mh_path("plain.db");
        struct mh_instance *m = MH("sqlite", "path", path, "indexes", indexes);
        struct mh_instance *shape = MH("sqlite", "path", plain, "indexes", indexes);
        must(mh_start(shape) == AW_OK && mh_stop(shape) == AW_OK, shape->error);
        sink[i] = (double)count / through(m);
        bare[i] = (double)count / bare_insert(plain, "8192");
        mh_destroy(m);
        mh_destroy(shape);
        unlink(path);
        unlink(plain);
        free(path);
        free(plain);
    }
    report(strcmp(indexes, "true") == 0 ? "sink_sqlite" : "sink_sqlite_noindex", "events/s", sink, bare, runs, 0.75);
}

int main(int argc, char **argv)
{
    count = argc > 1 ? strtoul(argv[1], NULL, 10) / BATCH * BATCH : 50000;
    size_t runs = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    cpu = getenv("BENCH_CPU") != NULL;
    runs = runs < 1 ? 1 : runs > RUNS_MAX ? RUNS_MAX : runs;
    events = calloc(count, sizeof *events);
    must(events != NULL && count > 0, "no events");
    for (size_t i = 0; i < count; i++) {
        events[i] = mh_event(i + 1);
        bytes += (double)events[i]->json_len + 1;
    }
    printf("# %zu events of %.0f bytes, batches of %u, medians of %zu runs\n", count, bytes / (double)count, BATCH,
           runs);
    bench_file(runs, "never");
    bench_file(runs, "batch");
    bench_read(runs);
    bench_sqlite(runs, "true");
    bench_sqlite(runs, "false");
    for (size_t i = 0; i < count; i++)
        mh_event_free(events[i]);
    free(events);
    return 0;
}
