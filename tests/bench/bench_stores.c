/* bench_stores.c - end to end into stores, verifying, memory. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

/* ---- the command ---- */
static double run_cli(struct bench *b, const char *config)
{
    char out[600];
    char *argv[] = {(char *)(uintptr_t)b->auditwell, (char *)(uintptr_t) "-c", (char *)(uintptr_t)config,
                    (char *)(uintptr_t) "log", NULL};
    double t = bench_now();
    int status = bench_spawn(argv, b->corpus_path, bench_path(b, "cli.out", out, sizeof out));
    t = bench_now() - t;
    if (status)
        bench_die("auditwell log: exit status %d", status);
    return t;
}

static size_t count_lines(const char *path)
{
    struct lines l;
    lines_map(&l, path, 0);
    size_t n = l.count;
    lines_free(&l);
    return n;
}

void figures_cli(struct bench *b)
{
    static const struct figure f = {"cli_file", "events/s", "copy + chain-hash + write", 0.50, false};
    if (!bench_wants(b, "cli"))
        return;
    char text[2048], config[600], path[600], out[600];
    struct series value = {.n = 0}, limit = {.n = 0};
    (void)bench_path(b, "out.jsonl", out, sizeof out);
    (void)snprintf(text, sizeof text,
                   "journal = { path = \"%s/journal\"; max_size = \"16GiB\"; };\n" BENCH_FILE_SINK "\n", b->dir, out);
    bench_write_file(bench_path(b, "cli.conf", config, sizeof config), text);
    for (int i = 0; i < b->runs; i++) {
        double l =
            limit_copy_hash_write(&b->payload, &b->trail, bench_path(b, "limit.out", path, sizeof path), b->cli_events);
        double v = run_cli(b, config);
        size_t n = count_lines(out);
        if (n != b->cli_events)
            bench_die("auditwell log: %zu events of %zu are in the file", n, b->cli_events);
        series_add(&limit, (double)b->cli_events / l);
        series_add(&value, (double)b->cli_events / v);
        bench_clean(b);
    }
    report(&f, &value, &limit);
}

/* ---- SQLite ---- */
#define SQLITE_BATCH 1000

static double run_sqlite(struct bench *b, const char *sinks)
{
    double t = bench_now();
    struct aw_logger *logger = bench_open(b, sinks, 0);
    for (size_t i = 0; i < b->sqlite_events; i++) {
        size_t k = i % b->corpus.count;
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL), "aw_log_json");
    }
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    return t;
}

void figures_sqlite(struct bench *b)
{
    static const struct figure f = {"sqlite_sink", "events/s", "bare insert loop, same rows and batch", 0.85, false};
    if (!bench_wants(b, "sqlite"))
        return;
    char text[1024], db[600], path[600];
    struct series value = {.n = 0}, limit = {.n = 0};
    (void)bench_path(b, "out.db", db, sizeof db);
    (void)bench_path(b, "limit.db", path, sizeof path);
    (void)snprintf(text, sizeof text, "sinks = ( { plugin = \"sqlite\"; path = \"%s\"; batch = { events = %d; }; } );",
                   db, SQLITE_BATCH);
    for (int i = 0; i < b->runs; i++) {
        double v = run_sqlite(b, text);
        struct rows *rows = rows_load(db);
        if (rows_count(rows) != b->sqlite_events)
            bench_die("%zu events of %zu are in the database", rows_count(rows), b->sqlite_events);
        double l = limit_sqlite(rows, path, SQLITE_BATCH, "FULL");
        rows_free(rows);
        bench_clean(b);
        series_add(&value, (double)b->sqlite_events / v);
        series_add(&limit, (double)b->sqlite_events / l);
    }
    report(&f, &value, &limit);
}

/* ---- verify ---- */
static double run_verify(struct bench *b, uint32_t threads)
{
    char store[600];
    (void)snprintf(store, sizeof store, "file:%s", b->trail_path);
    struct aw_store_options so = {.struct_size = sizeof so, .store = store};
    struct aw_verify_options vo = {.struct_size = sizeof vo, .flags = AW_VERIFY_COMPLETE, .threads = threads};
    struct aw_verify_report rep = {.struct_size = sizeof rep};
    struct aw_store *s;
    double t = bench_now();
    bench_check(aw_store_open(&so, &s), "aw_store_open");
    bench_check(aw_verify(s, &vo, &rep), "aw_verify");
    aw_store_close(s);
    t = bench_now() - t;
    if (rep.verdict || rep.events != b->trail.count)
        bench_die("the trail does not verify: verdict %d, %llu events of %zu, %llu findings", rep.verdict,
                  (unsigned long long)rep.events, b->trail.count, (unsigned long long)rep.findings);
    return t;
}

void figures_verify(struct bench *b)
{
    static const struct figure one = {"verify_1_core", "events/s", "chain-hash on one core", 0.40, false},
                               all = {"verify_all_cores", "events/s", "chain-hash on all cores", 0.40, false};
    if (!bench_wants(b, "verify"))
        return;
    struct series v1 = {.n = 0}, l1 = {.n = 0}, va = {.n = 0}, la = {.n = 0};
    double n = (double)b->trail.count;
    for (int i = 0; i < b->runs; i++) {
        series_add(&l1, n / limit_chain_hash(&b->payload, 0, b->payload.count));
        series_add(&v1, n / run_verify(b, 1));
        series_add(&la, n / limit_chain_hash_threads(&b->payload, b->processors));
        series_add(&va, n / run_verify(b, 0));
    }
    report(&one, &v1, &l1);
    report(&all, &va, &la);
}

/* ---- memory ---- */
void figures_memory(struct bench *b)
{
    static const struct figure rss = {"rss", "MiB", "64 MiB; mapped segments not counted", 1.0, true},
                               alloc_json = {"allocations_json", "a_call", "calls counted: none may allocate", 0, true},
                               alloc_builder = {"allocations_builder", "a_call", "calls counted: none may allocate", 0,
                                                true};
    if (!bench_wants(b, "memory"))
        return;
    struct series v = {.n = 0}, l = {.n = 0}, aj = {.n = 0}, ab = {.n = 0}, zero = {.n = 0};
    char out[600], count[32];
    (void)bench_path(b, "memory.out", out, sizeof out);
    (void)snprintf(count, sizeof count, "%zu", b->rss_events);
    for (int i = 0; i < (b->runs < 3 ? b->runs : 3); i++) {
        char *argv[] = {(char *)(uintptr_t)b->memory, count, (char *)(uintptr_t)b->dir, NULL};
        double mib = 0, mapped = 0, json = 0, builder = 0;
        int status = bench_spawn(argv, "/dev/null", out);
        FILE *f = fopen(out, "re");
        if (status || !f ||
            fscanf(f, "rss_mib %lf mapped_mib %lf allocations_json %lf allocations_builder %lf", &mib, &mapped, &json,
                   &builder) != 4)
            bench_die("%s: exit status %d", b->memory, status);
        (void)fclose(f);
        series_add(&v, mib - mapped);
        series_add(&l, 64.0);
        series_add(&aj, json);
        series_add(&ab, builder);
        series_add(&zero, 0);
        bench_clean(b);
    }
    report(&rss, &v, &l);
    report(&alloc_json, &aj, &zero);
    report(&alloc_builder, &ab, &zero);
}
