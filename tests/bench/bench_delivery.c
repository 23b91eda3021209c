/* bench_delivery.c - many durable producers, catching up, and what more sinks cost. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "bench.h"

/* ---- many producers, each waiting for the disk ---- */
#define PRODUCERS 64

struct producer {
    struct bench *bench;
    struct aw_logger *logger;
    pthread_barrier_t *barrier;
    size_t from, to;
    uint32_t *ns; /* of each call */
};

static void *produce(void *arg)
{
    const struct producer *p = arg;
    const struct lines *c = &p->bench->corpus;
    (void)pthread_barrier_wait(p->barrier);
    for (size_t i = p->from; i < p->to; i++) {
        size_t k = i % c->count;
        double t = bench_now();
        bench_check(aw_log_json(p->logger, c->base + c->off[k], c->len[k], NULL), "aw_log_json");
        p->ns[i] = (uint32_t)((bench_now() - t) * 1e9);
    }
    return NULL;
}

static double run_producers(struct bench *b, size_t count, uint32_t *ns)
{
    struct aw_logger *logger =
        bench_open(b, "actions = ( { match = \"*\"; durability = \"disk\"; } );\n" BENCH_NULL_SINK, AW_OPEN_NO_SINKS);
    pthread_barrier_t barrier;
    pthread_t t[PRODUCERS];
    struct producer p[PRODUCERS];
    if (pthread_barrier_init(&barrier, NULL, PRODUCERS + 1))
        bench_die("barrier");
    for (size_t i = 0; i < PRODUCERS; i++) {
        p[i] = (struct producer){b, logger, &barrier, count * i / PRODUCERS, count * (i + 1) / PRODUCERS, ns};
        if (pthread_create(&t[i], NULL, produce, &p[i]))
            bench_die("thread");
    }
    (void)pthread_barrier_wait(&barrier);
    double s = bench_now();
    for (size_t i = 0; i < PRODUCERS; i++)
        (void)pthread_join(t[i], NULL);
    s = bench_now() - s;
    (void)pthread_barrier_destroy(&barrier);
    bench_close(logger);
    bench_clean(b);
    return s;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void figure_producers(struct bench *b)
{
    static const struct figure rate = {"durable_producers_64", "events/s", "overwrite + fdatasync, 64 a sync", 0.25,
                                       false},
                               p50 = {"durable_producers_64_p50", "us", "itself", 0, false},
                               p99 = {"durable_producers_64_p99", "us", "itself", 0, false};
    struct series value = {.n = 0}, limit = {.n = 0}, middle = {.n = 0}, slow = {.n = 0};
    char path[600];
    size_t count = (b->durable_events + PRODUCERS - 1) / PRODUCERS * PRODUCERS;
    uint32_t *ns = calloc(count + 1, sizeof *ns);
    if (!ns)
        bench_die("out of memory");
    (void)bench_path(b, "limit.out", path, sizeof path);
    for (int i = 0; i < b->runs; i++) {
        series_add(&limit, (double)count / limit_append_sync(&b->trail, path, count, 64, true));
        series_add(&value, (double)count / run_producers(b, count, ns));
        qsort(ns, count, sizeof *ns, compare_u32);
        series_add(&middle, ns[count / 2] / 1e3);
        series_add(&slow, ns[count * 99 / 100] / 1e3);
    }
    report(&rate, &value, &limit);
    report(&p50, &middle, &middle);
    report(&p99, &slow, &slow);
    free(ns);
}

/* ---- a sink that is behind ---- */
static void log_all(struct bench *b, struct aw_logger *logger, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t k = i % b->corpus.count;
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL), "aw_log_json");
    }
}

static double run_steady(struct bench *b, const char *sinks, size_t count)
{
    struct aw_logger *logger = bench_open(b, sinks, 0);
    double t = bench_now();
    log_all(b, logger, count);
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    return t;
}

double run_catch_up(struct bench *b, const char *sinks, size_t count)
{
    struct aw_logger *logger = bench_open(b, sinks, AW_OPEN_NO_SINKS);
    log_all(b, logger, count);
    (void)aw_close(logger, 0); /* all of it waits: that is the point */
    double t = bench_now();
    logger = bench_open(b, sinks, 0);
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    return t;
}

static void figure_catch_up(struct bench *b)
{
    static const struct figure f = {"catch_up", "events/s", "the same sink while events come", 0.8, false};
    struct series value = {.n = 0}, limit = {.n = 0};
    char sinks[800], out[600];
    (void)snprintf(sinks, sizeof sinks, BENCH_FILE_SINK, bench_path(b, "out.jsonl", out, sizeof out));
    for (int i = 0; i < b->runs; i++) {
        series_add(&limit, (double)b->cli_events / run_steady(b, sinks, b->cli_events));
        series_add(&value, (double)b->cli_events / run_catch_up(b, sinks, b->cli_events));
    }
    report(&f, &value, &limit);
}

/* ---- more sinks ---- */
static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double cpu_of(double (*run)(struct bench *, const char *, size_t), struct bench *b, const char *sinks)
{
    double before = cpu_seconds();
    (void)run(b, sinks, b->events);
    return cpu_seconds() - before;
}

static double run_journal(struct bench *b, const char *sinks, size_t count)
{
    struct aw_logger *logger = bench_open(b, sinks, AW_OPEN_NO_SINKS);
    log_all(b, logger, count);
    (void)aw_close(logger, 0);
    bench_clean(b);
    return 0;
}

/* What a sink's own work is: all that is done once it is there and the events are, too. */
static void figure_three_sinks(struct bench *b)
{
    static const char three[] = "sinks = ( { plugin = \"null\"; name = \"a\"; }, { plugin = \"null\"; name = \"b\"; }, "
                                "{ plugin = \"null\"; name = \"c\"; } );";
    static const struct figure f = {"three_sinks_cpu", "s", "one sink's, and two sinks' own work", 1.15, true};
    struct series value = {.n = 0}, limit = {.n = 0};
    for (int i = 0; i < b->runs; i++) {
        double one = cpu_of(run_steady, b, BENCH_NULL_SINK);
        double own = cpu_of(run_catch_up, b, BENCH_NULL_SINK) - cpu_of(run_journal, b, BENCH_NULL_SINK);
        series_add(&limit, one + 2 * (own > 0 ? own : 0));
        series_add(&value, cpu_of(run_steady, b, three));
    }
    report(&f, &value, &limit);
}

void figures_delivery(struct bench *b)
{
    if (bench_wants(b, "durable_producers"))
        figure_producers(b);
    if (bench_wants(b, "catch_up"))
        figure_catch_up(b);
    if (bench_wants(b, "three_sinks"))
        figure_three_sinks(b);
}
