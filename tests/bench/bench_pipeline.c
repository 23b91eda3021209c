/* bench_pipeline.c - from the call to the journal: throughput, latency, producers, durability.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "corpus.h"

/* ---- one thread ---- */
static double run_json(struct bench *b)
{
    struct aw_logger *logger = bench_open(b, BENCH_NULL_SINK, AW_OPEN_NO_SINKS);
    double t = bench_now();
    for (size_t i = 0; i < b->corpus.count; i++) {
        int r = aw_log_json(logger, b->corpus.base + b->corpus.off[i], b->corpus.len[i], NULL);
        if (r)
            bench_check(r, "aw_log_json");
    }
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    return t;
}

static void set_event(struct aw_builder *e, const struct corpus_event *c)
{
    (void)aw_set_action(e, c->action, c->outcome_code);
    (void)aw_set_actor(e, "user", c->actor_id);
    (void)aw_set_string(e, "actor.ip", c->actor_ip);
    (void)aw_set_string(e, "actor.userAgent", c->user_agent);
    (void)aw_set_target(e, c->target_type, c->target_id);
    (void)aw_set_string(e, "context.occurredAt", c->occurred_at);
    (void)aw_set_string(e, "context.requestId", c->request_id);
    (void)aw_set_string(e, "context.traceId", c->trace_id);
    (void)aw_set_string(e, "context.tenantId", c->tenant);
    (void)aw_set_string(e, "context.sourceService", c->service);
    (void)aw_set_string(e, "metadata.reason", c->reason);
    (void)aw_set_int(e, "metadata.attempt", c->attempt);
    (void)aw_set_double(e, "metadata.durationMs", c->duration_ms);
    (void)aw_set_string(e, "metadata.http.method", c->method);
    (void)aw_set_string(e, "metadata.http.route", c->route);
    (void)aw_set_string(e, "metadata.request.password", c->password);
    (void)aw_set_string(e, "metadata.request.headers.authorization", c->authorization);
}

/* The builder is given the events of the corpus, so that the bytes sealed are the same as from JSON. */
static double run_builder(struct bench *b, const struct corpus_event *events, size_t count)
{
    struct aw_logger *logger = bench_open(b, BENCH_NULL_SINK, AW_OPEN_NO_SINKS);
    struct aw_builder *e = aw_builder_create();
    if (!e)
        bench_die("out of memory");
    double t = bench_now();
    for (size_t i = 0; i < count; i++) {
        aw_builder_reset(e);
        set_event(e, &events[i]);
        int r = aw_log(logger, e, NULL);
        if (r)
            bench_check(r, "aw_log");
    }
    t = bench_now() - t;
    aw_builder_destroy(e);
    bench_close(logger);
    bench_clean(b);
    return t;
}

/* ---- several producers ---- */
struct producer {
    struct bench *bench;
    struct aw_logger *logger;
    pthread_barrier_t *barrier;
    size_t from, to;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    const struct lines *c = &p->bench->corpus;
    (void)pthread_barrier_wait(p->barrier);
    for (size_t i = p->from; i < p->to; i++)
        bench_check(aw_log_json(p->logger, c->base + c->off[i], c->len[i], NULL), "aw_log_json");
    return NULL;
}

static double run_producers(struct bench *b, size_t threads)
{
    struct aw_logger *logger = bench_open(b, BENCH_NULL_SINK, AW_OPEN_NO_SINKS);
    pthread_barrier_t barrier;
    pthread_t t[16];
    struct producer p[16];
    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1))
        bench_die("barrier");
    for (size_t i = 0; i < threads; i++) {
        p[i] =
            (struct producer){b, logger, &barrier, b->corpus.count * i / threads, b->corpus.count * (i + 1) / threads};
        if (pthread_create(&t[i], NULL, produce, &p[i]))
            bench_die("thread");
    }
    (void)pthread_barrier_wait(&barrier);
    double s = bench_now();
    for (size_t i = 0; i < threads; i++)
        (void)pthread_join(t[i], NULL);
    s = bench_now() - s;
    (void)pthread_barrier_destroy(&barrier);
    bench_close(logger);
    bench_clean(b);
    return s;
}

static void figure_rate(struct bench *b, const struct figure *f, double (*run)(struct bench *))
{
    struct series value = {.n = 0}, limit = {.n = 0};
    for (int i = 0; i < b->runs; i++) {
        double l = limit_chain_hash(&b->payload, 0, b->payload.count);
        double v = run(b);
        l = (l + limit_chain_hash(&b->payload, 0, b->payload.count)) / 2;
        series_add(&limit, (double)b->payload.count / l);
        series_add(&value, (double)b->corpus.count / v);
    }
    report(f, &value, &limit);
}

static struct corpus_event *corpus_events; /* of the builder's turns */
static double run_builder_all(struct bench *b)
{
    return run_builder(b, corpus_events, b->corpus.count);
}

static void figure_builder(struct bench *b)
{
    static const struct figure f = {"builder_journal", "events/s", "chain-hash", 0.40, false};
    struct corpus_gen gen;
    corpus_events = malloc(b->corpus.count * sizeof *corpus_events);
    if (!corpus_events)
        bench_die("out of memory");
    corpus_init(&gen, CORPUS_SEED);
    for (size_t i = 0; i < b->corpus.count; i++)
        corpus_next(&gen, &corpus_events[i]);
    figure_rate(b, &f, run_builder_all);
    free(corpus_events);
    corpus_events = NULL;
}

static void figure_producers(struct bench *b)
{
    static const struct figure f = {"producers_4", "events/s", "one producer", 1.0, false};
    struct series one = {.n = 0}, four = {.n = 0};
    for (int i = 0; i < b->runs; i++) {
        series_add(&one, (double)b->corpus.count / run_producers(b, 1));
        series_add(&four, (double)b->corpus.count / run_producers(b, 4));
    }
    report(&f, &four, &one);
}

void figures_pipeline(struct bench *b)
{
    static const struct figure hash = {"limit_chain_hash", "events/s", "itself", 0, false},
                               write = {"limit_buffered_write", "events/s", "itself", 0, false},
                               json = {"json_journal", "events/s", "chain-hash", 0.25, false};
    char path[600];
    struct series h = {.n = 0}, w = {.n = 0};
    if (bench_wants(b, "limits")) {
        for (int i = 0; i < b->runs; i++) {
            series_add(&h, (double)b->payload.count / limit_chain_hash(&b->payload, 0, b->payload.count));
            series_add(&w, (double)b->trail.count /
                               limit_buffered_write(&b->trail, bench_path(b, "limit.out", path, sizeof path)));
        }
        report(&hash, &h, &h);
        report(&write, &w, &w);
    }
    if (bench_wants(b, "json"))
        figure_rate(b, &json, run_json);
    if (bench_wants(b, "builder"))
        figure_builder(b);
    if (bench_wants(b, "producers"))
        figure_producers(b);
}

/* ---- latency ---- */
struct latencies {
    uint32_t *log, *all; /* ns: aw_log() alone; with filling the builder */
    size_t count;
};

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double quantile_us(const uint32_t *sorted, size_t count, double q)
{
    size_t i = (size_t)((double)count * q);
    return sorted[i < count ? i : count - 1] / 1000.0;
}

#define RATE 50000.0

/* The event of the latency figures: ten fields, as large on the chain as one of the corpus. */
static void set_ten(struct aw_builder *e, size_t i)
{
    char id[24];
    (void)snprintf(id, sizeof id, "usr_%07zu", i % 10000000);
    aw_builder_reset(e);
    (void)aw_set_action(e, "document.update", AW_OUTCOME_SUCCESS);
    (void)aw_set_actor(e, "user", id);
    (void)aw_set_string(e, "actor.userAgent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0");
    (void)aw_set_target(e, "document", "obj_00c0ffee");
    (void)aw_set_string(e, "context.requestId", "req_0123456789");
    (void)aw_set_string(e, "context.tenantId", "tnt_007");
    (void)aw_set_string(e, "metadata.reason",
                        "the owner asked for it on the telephone, see the ticket for what was said");
    (void)aw_set_string(e, "metadata.http.route", "/api/v1/documents/:id/share");
}

static void run_latency(struct bench *b, const char *sinks, struct latencies *l)
{
    struct aw_logger *logger = bench_open(b, sinks, 0);
    struct aw_builder *e = aw_builder_create();
    if (!e)
        bench_die("out of memory");
    size_t warm = l->count / 10;
    double due = bench_now();
    for (size_t k = 0; k < l->count + warm; k++) {
        size_t i = k < warm ? 0 : k - warm; /* the first tenth is overwritten */
        due += 1.0 / RATE;
        while (bench_now() < due)
            ;
        double t0 = bench_now();
        set_ten(e, k);
        double t1 = bench_now();
        int r = aw_log(logger, e, NULL);
        double t2 = bench_now();
        if (r)
            bench_check(r, "aw_log");
        l->log[i] = (uint32_t)((t2 - t1) * 1e9);
        l->all[i] = (uint32_t)((t2 - t0) * 1e9);
    }
    aw_builder_destroy(e);
    bench_close(logger);
    bench_clean(b);
    qsort(l->log, l->count, sizeof *l->log, compare_u32);
    qsort(l->all, l->count, sizeof *l->all, compare_u32);
}

/* The bytes that the chain hashes of such an event: logged once, read back from a file sink. */
static void ten_payload(struct bench *b, struct lines *payload)
{
    char text[800], path[600];
    struct lines trail;
    (void)snprintf(text, sizeof text, BENCH_FILE_SINK, bench_path(b, "out.jsonl", path, sizeof path));
    struct aw_logger *logger = bench_open(b, text, 0);
    struct aw_builder *e = aw_builder_create();
    if (!e)
        bench_die("out of memory");
    for (size_t i = 0; i < 2; i++) { /* the second has a predecessor */
        set_ten(e, i);
        bench_check(aw_log(logger, e, NULL), "aw_log");
    }
    bench_check(aw_flush(logger, 60000), "aw_flush");
    aw_builder_destroy(e);
    bench_close(logger);
    lines_map(&trail, path, 0);
    bench_make_payload(&trail, payload);
    lines_free(&trail);
    bench_clean(b);
}

struct latency_series {
    struct series hash, p50, p99, p999, all50;
};

static void latency_turns(struct bench *b, const char *sinks, const struct lines *payload, struct latency_series *s)
{
    struct latencies l = {malloc(b->latency_events * sizeof(uint32_t)), malloc(b->latency_events * sizeof(uint32_t)),
                          b->latency_events};
    size_t hashes = b->latency_events / 4 + 1;
    uint32_t *ns = malloc(hashes * sizeof *ns);
    if (!l.log || !l.all || !ns)
        bench_die("out of memory");
    for (int i = 0; i < b->runs; i++) {
        limit_hash_paced(payload->base + payload->off[1], payload->len[1], RATE, ns, hashes);
        qsort(ns, hashes, sizeof *ns, compare_u32);
        series_add(&s->hash, quantile_us(ns, hashes, 0.5));
        run_latency(b, sinks, &l);
        series_add(&s->p50, quantile_us(l.log, l.count, 0.5));
        series_add(&s->p99, quantile_us(l.log, l.count, 0.99));
        series_add(&s->p999, quantile_us(l.log, l.count, 0.999));
        series_add(&s->all50, quantile_us(l.all, l.count, 0.5));
    }
    free(l.log);
    free(l.all);
    free(ns);
}

void figures_latency(struct bench *b)
{
    /* 1.5 us and 5 us where the bare hash takes 0.45 us, so the targets are multiples of that hash. */
    static const struct figure p50 = {"latency_p50", "us", "bare hash of its bytes", 1.5 / 0.45, true},
                               p99 = {"latency_p99", "us", "bare hash of its bytes", 5.0 / 0.45, true},
                               p999 = {"latency_p99_9", "us", "bare hash of its bytes", 0, false},
                               all = {"latency_with_builder_p50", "us", "bare hash of its bytes", 0, false},
                               f50 = {"latency_file_p50", "us", "same, a file sink delivering", 0, false},
                               f99 = {"latency_file_p99", "us", "same, a file sink delivering", 0, false};
    if (!bench_wants(b, "latency"))
        return;
    struct lines payload;
    struct latency_series null = {.hash = {.n = 0}}, file = {.hash = {.n = 0}};
    char text[800], path[600];
    ten_payload(b, &payload);
    latency_turns(b, BENCH_NULL_SINK, &payload, &null);
    report(&p50, &null.p50, &null.hash);
    report(&p99, &null.p99, &null.hash);
    report(&p999, &null.p999, &null.hash);
    report(&all, &null.all50, &null.hash);
    (void)snprintf(text, sizeof text, BENCH_FILE_SINK, bench_path(b, "out.jsonl", path, sizeof path));
    latency_turns(b, text, &payload, &file);
    report(&f50, &file.p50, &file.hash);
    report(&f99, &file.p99, &file.hash);
    lines_free(&payload);
}

/* ---- durable ---- */
static double run_durable(struct bench *b, size_t count, size_t every)
{
    struct aw_logger *logger = bench_open(b, BENCH_NULL_SINK, AW_OPEN_NO_SINKS);
    double t = bench_now();
    for (size_t i = 0; i < count; i++) {
        size_t k = i % b->corpus.count;
        int r = aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL);
        if (!r && (i + 1) % every == 0)
            r = aw_sync(logger, -1);
        if (r)
            bench_check(r, "aw_sync");
    }
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    return t;
}

static void figure_durable(struct bench *b, const struct figure *plain, const struct figure *pre, size_t every)
{
    struct series value = {.n = 0}, append = {.n = 0}, over = {.n = 0};
    char path[600];
    size_t count = b->durable_events * (every > 64 ? 4 : 1) / every * every;
    if (!count)
        count = every;
    (void)bench_path(b, "limit.out", path, sizeof path);
    for (int i = 0; i < b->runs; i++) {
        series_add(&append, (double)count / limit_append_sync(&b->trail, path, count, every, false));
        series_add(&value, (double)count / run_durable(b, count, every));
        series_add(&over, (double)count / limit_append_sync(&b->trail, path, count, every, true));
    }
    report(plain, &value, &append);
    report(pre, &value, &over);
}

void figures_durable(struct bench *b)
{
    static const struct figure d64 = {"durable_64", "events/s", "append + fdatasync", 0.70, false},
                               p64 = {"durable_64_preallocated", "events/s", "overwrite + fdatasync", 0, false},
                               d1k = {"durable_1024", "events/s", "append + fdatasync", 0.70, false},
                               p1k = {"durable_1024_preallocated", "events/s", "overwrite + fdatasync", 0, false};
    if (!bench_wants(b, "durable"))
        return;
    figure_durable(b, &d64, &p64, 64);
    figure_durable(b, &d1k, &p1k, 1024);
}
