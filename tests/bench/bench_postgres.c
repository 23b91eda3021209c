/* bench_postgres.c - into PostgreSQL: the sink, and a bare program with the same rows.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The bare program takes the rows that the sink stored out of the table, in binary form, and loads them into the same
 * table again, emptied, with its key and indexes: by COPY, by COPY into a staging table and INSERT ... ON CONFLICT, by
 * INSERT from arrays, and by prepared INSERTs in pipeline mode. All keep event_id unique. The fastest is the limit;
 * each is printed. The server is one of our own, with fsync on.
 */
#include "config.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "pg_cluster.h"

#define BATCH 1000
#define MAX_COLUMNS 64
#define LATENCY_WARM_UP 50

struct tuples {
    char *bytes;
    size_t len, cap, count, room;
    size_t *at; /* count + 1 */
    int columns;
    char names[4096]; /* "a, b, c" */
    char types[MAX_COLUMNS][64];
    Oid oids[MAX_COLUMNS], arrays[MAX_COLUMNS];
};

struct packet {
    char *p;
    size_t len, cap;
};

static struct pg_cluster cluster;
static PGconn *pg;

static void *grown(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p)
        bench_die("out of memory");
    return p;
}

static PGresult *must(PGresult *res, const char *what)
{
    ExecStatusType t = PQresultStatus(res);
    if (t != PGRES_COMMAND_OK && t != PGRES_TUPLES_OK && t != PGRES_COPY_IN && t != PGRES_COPY_OUT &&
        t != PGRES_PIPELINE_SYNC)
        bench_die("PostgreSQL: %s: %s", what, PQerrorMessage(pg));
    return res;
}

static void run(const char *sql)
{
    PQclear(must(PQexec(pg, sql), sql));
}

static void put(struct packet *b, const void *p, size_t n)
{
    if (b->len + n > b->cap) {
        b->cap = (b->len + n) * 2;
        b->p = grown(b->p, b->cap);
    }
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

static void put32(struct packet *b, uint32_t v)
{
    const char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    put(b, bytes, 4);
}

static uint32_t get32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* ---- the rows ---- */

static void load_columns(struct tuples *t)
{
    PGresult *res =
        must(PQexec(pg, "SELECT attname, atttypid, typarray, format_type(atttypid, NULL) FROM pg_attribute "
                        "JOIN pg_type ty ON ty.oid = atttypid WHERE attrelid = 'audit_events'::regclass AND "
                        "attnum > 0 AND NOT attisdropped ORDER BY attnum"),
             "columns");
    size_t n = 0;
    t->columns = PQntuples(res);
    if (t->columns > MAX_COLUMNS)
        bench_die("too many columns");
    for (int i = 0; i < t->columns; i++) {
        n += (size_t)snprintf(t->names + n, sizeof t->names - n, "%s%s", i ? ", " : "", PQgetvalue(res, i, 0));
        t->oids[i] = (Oid)strtoul(PQgetvalue(res, i, 1), NULL, 10);
        t->arrays[i] = (Oid)strtoul(PQgetvalue(res, i, 2), NULL, 10);
        (void)snprintf(t->types[i], sizeof t->types[i], "%s", PQgetvalue(res, i, 3));
    }
    PQclear(res);
}

static struct tuples *load_rows(void)
{
    struct tuples *t = calloc(1, sizeof *t);
    char sql[4400], *data;
    int n;
    bool first = true;
    if (!t)
        bench_die("out of memory");
    load_columns(t);
    (void)snprintf(sql, sizeof sql, "COPY (SELECT %s FROM audit_events ORDER BY seq) TO STDOUT (FORMAT binary)",
                   t->names);
    run(sql);
    while ((n = PQgetCopyData(pg, &data, 0)) > 0) {
        size_t skip = first ? 19 : 0, len = (size_t)n - skip;
        first = false;
        if (len > 2) { /* the last says only that it is */
            if (t->count + 1 >= t->room)
                t->at = grown(t->at, (t->room = t->room ? t->room * 2 : 1024) * sizeof *t->at);
            if (t->len + len > t->cap)
                t->bytes = grown(t->bytes, t->cap = (t->len + len) * 2);
            memcpy(t->bytes + t->len, data + skip, len);
            t->at[t->count++] = t->len;
            t->len += len;
            t->at[t->count] = t->len;
        }
        PQfreemem(data);
    }
    PQclear(must(PQgetResult(pg), "COPY"));
    while (PQgetResult(pg) != NULL)
        ;
    return t;
}

static void free_rows(struct tuples *t)
{
    free(t->bytes);
    free(t->at);
    free(t);
}

/* Values of one row, as parameters. */
static void values_of(const struct tuples *t, size_t row, const char **value, int *length)
{
    const char *p = t->bytes + t->at[row] + 2;
    for (int c = 0; c < t->columns; c++) {
        uint32_t n = get32(p);
        p += 4;
        value[c] = n == UINT32_MAX ? NULL : p;
        length[c] = n == UINT32_MAX ? 0 : (int)n;
        p += n == UINT32_MAX ? 0 : n;
    }
}

/* ---- the methods, a batch each ---- */

static void copy_rows(const struct tuples *t, const char *sql, size_t from, size_t to)
{
    static const char head[19] = "PGCOPY\n\377\r\n";
    run(sql);
    if (PQputCopyData(pg, head, sizeof head) != 1 ||
        PQputCopyData(pg, t->bytes + t->at[from], (int)(t->at[to] - t->at[from])) != 1 ||
        PQputCopyData(pg, "\xff\xff", 2) != 1 || PQputCopyEnd(pg, NULL) != 1)
        bench_die("PostgreSQL: COPY: %s", PQerrorMessage(pg));
    PGresult *res;
    while ((res = PQgetResult(pg)) != NULL)
        PQclear(must(res, "COPY"));
}

static void by_copy(const struct tuples *t, size_t from, size_t to)
{
    char sql[4400];
    (void)snprintf(sql, sizeof sql, "COPY audit_events (%s) FROM STDIN (FORMAT binary)", t->names);
    copy_rows(t, sql, from, to);
}

static void by_staging(const struct tuples *t, size_t from, size_t to)
{
    char sql[9000];
    if (from == 0)
        run("CREATE TEMP TABLE IF NOT EXISTS staging (LIKE audit_events) ON COMMIT DELETE ROWS");
    run("BEGIN");
    (void)snprintf(sql, sizeof sql, "COPY staging (%s) FROM STDIN (FORMAT binary)", t->names);
    copy_rows(t, sql, from, to);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO audit_events (%s) SELECT %s FROM staging ON CONFLICT (event_id) DO NOTHING", t->names,
                   t->names);
    run(sql);
    run("COMMIT");
}

/* unnest() takes arrays apart to their elements, whatever their dimensions: a column that is itself an array goes as
 * an array of text. */
static void prepare_arrays(const struct tuples *t, Oid *types)
{
    static char sql[20000];
    size_t n = (size_t)snprintf(sql, sizeof sql, "INSERT INTO audit_events (%s) SELECT ", t->names);
    for (int c = 0; c < t->columns; c++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "%sc%d%s%s", c ? "," : "", c,
                              t->arrays[c] ? "" : "::", t->arrays[c] ? "" : t->types[c]);
    n += (size_t)snprintf(sql + n, sizeof sql - n, " FROM unnest(");
    for (int c = 0; c < t->columns; c++) {
        types[c] = t->arrays[c] ? t->arrays[c] : 1009;
        n += (size_t)snprintf(sql + n, sizeof sql - n, "%s$%d", c ? "," : "", c + 1);
    }
    n += (size_t)snprintf(sql + n, sizeof sql - n, ") AS rows(");
    for (int c = 0; c < t->columns; c++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "%sc%d", c ? "," : "", c);
    (void)snprintf(sql + n, sizeof sql - n, ") ON CONFLICT (event_id) DO NOTHING");
    PQclear(must(PQprepare(pg, "arrays", sql, t->columns, types), "prepare"));
}

static void by_arrays(const struct tuples *t, size_t from, size_t to)
{
    static struct packet b;
    static Oid types[MAX_COLUMNS];
    const char *value[MAX_COLUMNS], *cell[MAX_COLUMNS];
    int length[MAX_COLUMNS], format[MAX_COLUMNS], size[MAX_COLUMNS];
    size_t at[MAX_COLUMNS];
    if (from == 0)
        prepare_arrays(t, types);
    b.len = 0;
    for (int c = 0; c < t->columns; c++) {
        at[c] = b.len;
        put32(&b, 1); /* dimensions */
        put32(&b, 1); /* there may be NULL */
        put32(&b, t->arrays[c] ? t->oids[c] : 25);
        put32(&b, (uint32_t)(to - from));
        put32(&b, 1);
        for (size_t i = from; i < to; i++) {
            values_of(t, i, cell, size);
            bool null = cell[c] == NULL || !t->arrays[c]; /* the corpus has no roles to speak of */
            put32(&b, null ? UINT32_MAX : (uint32_t)size[c]);
            if (!null)
                put(&b, cell[c], (size_t)size[c]);
        }
        length[c] = (int)(b.len - at[c]);
        format[c] = 1;
    }
    for (int c = 0; c < t->columns; c++)
        value[c] = b.p + at[c];
    PQclear(must(PQexecPrepared(pg, "arrays", t->columns, value, length, format, 0), "arrays"));
}

static void prepare_insert(const struct tuples *t)
{
    char sql[5000];
    size_t n = (size_t)snprintf(sql, sizeof sql, "INSERT INTO audit_events (%s) VALUES (", t->names);
    for (int c = 0; c < t->columns; c++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "%s$%d", c ? "," : "", c + 1);
    (void)snprintf(sql + n, sizeof sql - n, ") ON CONFLICT (event_id) DO NOTHING");
    PQclear(must(PQprepare(pg, "one", sql, t->columns, t->oids), "prepare"));
}

static void take_results(size_t *done, size_t until)
{
    for (; *done < until; ++*done) {
        PQclear(must(PQgetResult(pg), "insert"));
        (void)PQgetResult(pg);
    }
}

static void by_pipeline(const struct tuples *t, size_t from, size_t to)
{
    const char *value[MAX_COLUMNS];
    int length[MAX_COLUMNS], format[MAX_COLUMNS];
    size_t sent = 0, done = 0;
    if (from == 0)
        prepare_insert(t);
    for (int c = 0; c < t->columns; c++)
        format[c] = 1;
    (void)PQenterPipelineMode(pg);
    sent += (size_t)PQsendQueryParams(pg, "BEGIN", 0, NULL, NULL, NULL, NULL, 0);
    for (size_t i = from; i < to; i++) {
        values_of(t, i, value, length);
        sent += (size_t)PQsendQueryPrepared(pg, "one", t->columns, value, length, format, 0);
        if (sent % 256 == 0) { /* so that neither side's buffer fills */
            (void)PQsendFlushRequest(pg);
            (void)PQflush(pg);
            take_results(&done, sent);
        }
    }
    sent += (size_t)PQsendQueryParams(pg, "COMMIT", 0, NULL, NULL, NULL, NULL, 0);
    (void)PQpipelineSync(pg);
    take_results(&done, sent);
    PQclear(must(PQgetResult(pg), "sync"));
    (void)PQexitPipelineMode(pg);
}

static const struct method {
    const char *name;
    void (*load)(const struct tuples *t, size_t from, size_t to);
} methods[] = {{"copy", by_copy},
               {"copy to staging, insert on conflict", by_staging},
               {"insert from arrays on conflict", by_arrays},
               {"pipelined inserts on conflict", by_pipeline}};
#define METHODS (sizeof methods / sizeof methods[0])

static void empty_table(void)
{
    run("TRUNCATE audit_events");
    run("CHECKPOINT"); /* both begin with the same log */
}

/* Events a second, with connecting, as the sink is measured. */
static double limit_load(const struct tuples *t, const struct method *m)
{
    empty_table();
    PQfinish(pg);
    double start = bench_now();
    pg = pgc_connect(&cluster, "audit");
    for (size_t i = 0; i < t->count; i += BATCH)
        m->load(t, i, i + BATCH < t->count ? i + BATCH : t->count);
    double seconds = bench_now() - start;
    PGresult *res = must(PQexec(pg, "SELECT count(*) FROM audit_events"), "count");
    if (strtoul(PQgetvalue(res, 0, 0), NULL, 10) != t->count)
        bench_die("%s: %s rows of %zu are in the table", m->name, PQgetvalue(res, 0, 0), t->count);
    PQclear(res);
    return (double)t->count / seconds;
}

/* ---- the sink ---- */

static double run_sink(struct bench *b, const char *sinks)
{
    empty_table();
    double t = bench_now();
    struct aw_logger *logger = bench_open(b, sinks, 0);
    for (size_t i = 0; i < b->sqlite_events; i++) {
        size_t k = i % b->corpus.count;
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL), "aw_log_json");
    }
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    return (double)b->sqlite_events / t;
}

static void figure_load(struct bench *b, const char *sinks)
{
    static const struct figure f = {"postgres_sink", "events/s", "fastest bare load of the same rows", 0.80, false};
    struct series value = {.n = 0}, limit = {.n = 0}, each[METHODS] = {{.n = 0}};
    for (int i = 0; i < b->runs; i++) {
        double best = 0, v = run_sink(b, sinks);
        struct tuples *t = load_rows();
        if (t->count != b->sqlite_events)
            bench_die("%zu events of %zu are in the table", t->count, b->sqlite_events);
        for (size_t m = 0; m < METHODS; m++) {
            double l = limit_load(t, &methods[m]);
            series_add(&each[m], l);
            best = l > best ? l : best;
        }
        free_rows(t);
        series_add(&value, v);
        series_add(&limit, best);
    }
    for (size_t m = 0; m < METHODS; m++)
        printf("# postgres, bare: %-36s %8.0f rows/s (median)\n", methods[m].name, series_median(&each[m]));
    report(&f, &value, &limit);
}

/* ---- latency ---- */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void add_percentiles(double *us, size_t n, struct series *p50, struct series *p99)
{
    qsort(us, n, sizeof *us, compare_double);
    series_add(p50, us[n / 2]);
    series_add(p99, us[n * 99 / 100]);
}

static void measure_block(struct bench *b, const char *sinks, const char *durability, double *us, size_t n)
{
    char text[1600];
    struct aw_logger *logger;
    (void)snprintf(text, sizeof text,
                   "mode = \"block\";\njournal = { path = \"%s/journal\"; durability = \"%s\"; };\n%s", b->dir,
                   durability, sinks);
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = text};
    bench_check(aw_open(&o, &logger), "aw_open");
    for (size_t i = 0; i < n + LATENCY_WARM_UP; i++) {
        size_t k = i % b->corpus.count;
        double t = bench_now();
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL), "aw_log_json");
        if (i >= LATENCY_WARM_UP)
            us[i - LATENCY_WARM_UP] = (bench_now() - t) * 1e6;
    }
    bench_close(logger);
    bench_clean(b);
}

static void measure_bare(const struct tuples *t, double *us, size_t n)
{
    const char *value[MAX_COLUMNS];
    int length[MAX_COLUMNS], format[MAX_COLUMNS];
    for (int c = 0; c < t->columns; c++)
        format[c] = 1;
    PQfinish(pg);
    pg = pgc_connect(&cluster, "audit");
    prepare_insert(t);
    for (size_t i = 0; i < n + LATENCY_WARM_UP; i++) {
        values_of(t, i, value, length);
        double start = bench_now();
        PQclear(must(PQexecPrepared(pg, "one", t->columns, value, length, format, 0), "insert"));
        if (i >= LATENCY_WARM_UP)
            us[i - LATENCY_WARM_UP] = (bench_now() - start) * 1e6;
    }
}

/* With durability = "process" a sink is given events when the journal was next synced, every few milliseconds; with
 * "disk" the call has done that already. */
static void figure_latency(struct bench *b, const char *sinks)
{
    static const struct figure figures[2][2] = {
        {{"postgres_block_p50", "us", "bare prepared insert, committed", -1, true},
         {"postgres_block_p99", "us", "bare prepared insert, committed", -1, true}},
        {{"postgres_block_disk_p50", "us", "bare prepared insert, committed", -1, true},
         {"postgres_block_disk_p99", "us", "bare prepared insert, committed", -1, true}}};
    struct series value[2][2] = {0}, limit[2] = {0};
    size_t n = b->sqlite_events / 100 + 20;
    double *us = grown(NULL, n * sizeof *us);
    for (int i = 0; i < b->runs; i++) {
        for (int disk = 0; disk < 2; disk++) {
            empty_table();
            measure_block(b, sinks, disk ? "disk" : "process", us, n);
            add_percentiles(us, n, &value[disk][0], &value[disk][1]);
        }
        struct tuples *t = load_rows();
        if (t->count != n + LATENCY_WARM_UP)
            bench_die("%zu events of %zu are in the table", t->count, n + LATENCY_WARM_UP);
        empty_table();
        measure_bare(t, us, n);
        add_percentiles(us, n, &limit[0], &limit[1]);
        free_rows(t);
    }
    free(us);
    for (int disk = 0; disk < 2; disk++)
        for (int k = 0; k < 2; k++)
            report(&figures[disk][k], &value[disk][k], &limit[k]);
}

void figures_postgres(struct bench *b)
{
    char sinks[600], config[600], text[1400], out[600];
    if (!bench_wants(b, "postgres"))
        return;
    if (!pgc_available()) {
        printf("# postgres: no figures: PostgreSQL's server is not installed\n");
        return;
    }
    pgc_create(&cluster, "shared_buffers = 256MB\nmax_wal_size = 4GB\ncheckpoint_timeout = 1h");
    (void)pgc_sql(&cluster, NULL, "CREATE DATABASE audit");
    (void)snprintf(sinks, sizeof sinks,
                   "sinks = ( { plugin = \"postgres\"; host = \"%s\"; port = \"%s\"; dbname = \"audit\"; user = "
                   "\"postgres\"; pii = \"keep\"; batch = { events = %d; }; } );",
                   cluster.dir, cluster.port, BATCH);
    (void)snprintf(text, sizeof text, "journal = { path = \"%s/journal\"; };\n%s\n", b->dir, sinks);
    bench_write_file(bench_path(b, "postgres.conf", config, sizeof config), text);
    char *argv[] = {(char *)(uintptr_t)b->auditwell, (char *)(uintptr_t) "migrate", (char *)(uintptr_t) "-c", config,
                    NULL};
    if (bench_spawn(argv, "/dev/null", bench_path(b, "migrate.out", out, sizeof out)))
        bench_die("auditwell migrate failed: see %s", out);
    pg = pgc_connect(&cluster, "audit");
    figure_load(b, sinks);
    figure_latency(b, sinks);
    PQfinish(pg);
    pgc_destroy(&cluster);
}
