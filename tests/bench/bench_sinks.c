/* bench_sinks.c - what a bad sink costs the callers and the other sinks. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define RATE 50000.0
#define LOOK_EVERY 250 /* events: 5 ms */

struct run {
    double p99_us;     /* of aw_log_json() */
    double lag_events; /* of the good sink: mean over the looks */
};
struct kind {
    const char *order; /* of the test sink "puppet" */
    struct figure p99, lag;
};
#define KIND(order, name)                                                                                              \
    {                                                                                                                  \
        order, {"sink_" name "_p99", "us", "same, without that sink", 1.2, true},                                      \
        {                                                                                                              \
            "sink_" name "_lag", "events", "same, without that sink", 1.2, true                                        \
        }                                                                                                              \
    }
static const struct kind kinds[] = {KIND("hang", "hung"), KIND("crawl", "slow"), KIND("flap", "flapping"),
                                    KIND("half", "partial"), KIND("forget", "lying")};
#define KINDS (sizeof kinds / sizeof kinds[0])

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double lag_of_good(struct aw_logger *logger)
{
    struct aw_sink_stats s = {.struct_size = sizeof s};
    bench_check(aw_stats_sink(logger, 0, &s), "aw_stats_sink");
    return (double)s.lag_events;
}

static void order(const struct bench *b, const char *text)
{
    char path[600];
    bench_write_file(bench_path(b, "orders", path, sizeof path), text);
}

static struct aw_logger *open_with(const struct bench *b, const char *bad)
{
    char text[3000], out[600], received[600], orders[600];
    int n = snprintf(
        text, sizeof text,
        "plugin_path = \"%s\";\nsinks = ( { plugin = \"file\"; path = \"%s\"; rotate_size = \"0\"; fsync = \"never\";"
        " batch = { flush_interval = \"10ms\"; }; }",
        b->test_plugins, bench_path(b, "out.jsonl", out, sizeof out));
    (void)snprintf(
        text + n, sizeof text - (size_t)n, bad ? ", { plugin = \"puppet\"; path = \"%s\"; orders = \"%s\"; } );" : ");",
        bench_path(b, "received", received, sizeof received), bench_path(b, "orders", orders, sizeof orders));
    return bench_open(b, text, 0);
}

/* A paced load; the good sink is looked at between the events. */
static struct run run(struct bench *b, const char *bad, uint32_t *ns)
{
    order(b, bad ? bad : "ok");
    struct aw_logger *logger = open_with(b, bad);
    size_t count = b->latency_events, warm = count / 10, looks = 0;
    double due = bench_now(), lag = 0;
    for (size_t i = 0; i < count + warm; i++) {
        size_t k = i % b->corpus.count;
        due += 1.0 / RATE;
        while (bench_now() < due)
            ;
        double t = bench_now();
        int r = aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL);
        ns[i < warm ? 0 : i - warm] = (uint32_t)((bench_now() - t) * 1e9);
        if (r)
            bench_check(r, "aw_log_json");
        if (i >= warm && i % LOOK_EVERY == 0) {
            lag += lag_of_good(logger);
            looks++;
        }
    }
    order(b, "ok");
    (void)aw_close(logger, 60000); /* with what the bad one gets now: that is not measured */
    bench_clean(b);
    qsort(ns, count, sizeof *ns, compare_u32);
    return (struct run){ns[count * 99 / 100] / 1e3, looks ? lag / (double)looks : 0};
}

void figures_sinks(struct bench *b)
{
    struct series p99[KINDS], lag[KINDS], p99_without = {.n = 0}, lag_without = {.n = 0};
    if (!bench_wants(b, "bad_sinks") || !b->test_plugins)
        return;
    uint32_t *ns = malloc((b->latency_events + 1) * sizeof *ns);
    if (!ns)
        bench_die("out of memory");
    for (size_t k = 0; k < KINDS; k++)
        p99[k].n = lag[k].n = 0;
    for (int i = 0; i < b->runs; i++) {
        struct run without = run(b, NULL, ns);
        for (size_t k = 0; k < KINDS; k++) {
            struct run r = run(b, kinds[k].order, ns);
            series_add(&p99[k], r.p99_us);
            series_add(&lag[k], r.lag_events);
        }
        struct run again = run(b, NULL, ns); /* before and after, since this is the limit of five figures */
        series_add(&p99_without, (without.p99_us + again.p99_us) / 2);
        series_add(&lag_without, (without.lag_events + again.lag_events) / 2);
    }
    for (size_t k = 0; k < KINDS; k++) {
        report(&kinds[k].p99, &p99[k], &p99_without);
        report(&kinds[k].lag, &lag[k], &lag_without);
    }
    free(ns);
}
