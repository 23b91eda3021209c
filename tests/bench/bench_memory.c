/* bench_memory.c - memory of a logger at work. SPDX-License-Identifier: Apache-2.0
 *
 *   bench_memory EVENTS DIR
 *
 * Passes EVENTS events through journal and file sink, made one by one so that no corpus is in memory, and prints the
 * highest resident size seen, how much of that was pages of mapped journal files, and the allocations per call after
 * warm-up, counted by wrappers around the C library's.
 */
#include "config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "corpus.h"
#include "memory_probe.h"

struct peak {
    double rss, mapped;
};

static void sample(const char *dir, struct peak *p)
{
    struct memory_use m;
    if (!memory_measure(dir, &m))
        bench_die("/proc/self/smaps cannot be read");
    double rss = (double)m.rss_kib / 1024, mapped = (double)m.mapped_kib / 1024;
    if (rss - mapped > p->rss - p->mapped) {
        p->rss = rss;
        p->mapped = mapped;
    }
}

static double count_json(struct aw_logger *logger, struct corpus_gen *gen, size_t count)
{
    struct corpus_event e;
    char line[CORPUS_LINE_MAX];
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        corpus_next(gen, &e);
        size_t n = corpus_format(&e, line);
        allocations_start();
        int r = aw_log_json(logger, line, n - 1, NULL);
        total += allocations_stop();
        bench_check(r, "aw_log_json");
    }
    return (double)total / (double)count;
}

static double count_builder(struct aw_logger *logger, struct corpus_gen *gen, size_t count)
{
    struct corpus_event e;
    size_t total = 0;
    struct aw_builder *builder = aw_builder_create();
    for (size_t i = 0; builder && i < count + 100; i++) {
        corpus_next(gen, &e);
        allocations_start();
        aw_builder_reset(builder);
        (void)aw_set_action(builder, e.action, e.outcome_code);
        (void)aw_set_actor(builder, "user", e.actor_id);
        (void)aw_set_target(builder, e.target_type, e.target_id);
        (void)aw_set_string(builder, "context.tenantId", e.tenant);
        (void)aw_set_string(builder, "metadata.reason", e.reason);
        (void)aw_set_double(builder, "metadata.durationMs", e.duration_ms);
        (void)aw_set_string(builder, "metadata.request.password", e.password);
        int r = aw_log(logger, builder, NULL);
        size_t n = allocations_stop();
        total += i < 100 ? 0 : n;
        bench_check(r, "aw_log");
    }
    aw_builder_destroy(builder);
    return (double)total / (double)count;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t count = strtoul(argv[1], NULL, 10);
    struct bench b = {.dir = argv[2]};
    struct corpus_gen gen;
    struct corpus_event e;
    struct peak peak = {0, 0};
    char line[CORPUS_LINE_MAX], text[800], path[600];
    (void)snprintf(text, sizeof text, BENCH_FILE_SINK, bench_path(&b, "out.jsonl", path, sizeof path));
    struct aw_logger *logger = bench_open(&b, text, 0);
    corpus_init(&gen, CORPUS_SEED);
    for (size_t i = 0; i < count; i++) {
        corpus_next(&gen, &e);
        size_t n = corpus_format(&e, line);
        bench_check(aw_log_json(logger, line, n - 1, NULL), "aw_log_json");
        if (i % (count / 20 + 1) == 0)
            sample(argv[2], &peak);
    }
    sample(argv[2], &peak);
    bench_check(aw_flush(logger, 600000), "aw_flush");
    sample(argv[2], &peak);
    size_t calls = count < 20000 ? count : 20000;
    double json = count_json(logger, &gen, calls), builder = count_builder(logger, &gen, calls);
    bench_close(logger);
    printf("rss_mib %.2f mapped_mib %.2f allocations_json %.6f allocations_builder %.6f\n", peak.rss, peak.mapped, json,
           builder);
    return 0;
}
