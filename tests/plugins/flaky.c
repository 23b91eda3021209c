/* flaky.c - a sink for the tests that misbehaves as it is told, and measures itself with AW_EXT_HOST_METRICS.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "audit/plugin.h"

#include <stdlib.h>
#include <string.h>

struct flaky {
    const struct aw_host *host;
    const struct aw_host_metrics *metrics;
    int64_t fail_every, reject_every, flush_fails_every, unset_every;
    uint64_t calls, flushes, last_seq, given;
    uint32_t good, bad, sizes, depth;
};

static const struct aw_option o_fail = {sizeof(struct aw_option), AW_OPT_UINT, 0, 0,   "fail_every", "0",
                                        "Every N-th call fails.", 0,           0, NULL};
static const struct aw_option o_reject = {sizeof(struct aw_option),      AW_OPT_UINT, 0, 0,   "reject_every", "0",
                                          "Every N-th seq is rejected.", 0,           0, NULL};
static const struct aw_option o_flush = {sizeof(struct aw_option),  AW_OPT_UINT, 0, 0,   "flush_fails_every", "0",
                                         "Every N-th flush fails.", 0,           0, NULL};
static const struct aw_option o_unset = {sizeof(struct aw_option),           AW_OPT_UINT, 0, 0,   "unset_every", "0",
                                         "Every N-th event gets no status.", 0,           0, NULL};
static const struct aw_option o_metric = {
    sizeof(struct aw_option), AW_OPT_STRING, 0, 0, "metric", "calls_total", "Name of a metric.", 0, 0, NULL};
static const struct aw_option *const options[] = {&o_fail, &o_reject, &o_flush, &o_unset, &o_metric, NULL};

static int32_t measure(struct flaky *f, const char *name)
{
    static const char *const labels[] = {"result", "why", NULL};
    static const char *const good[] = {"good", "a \"quoted\\ one\"\nin two lines"}, *const bad[] = {"bad", "\xff"};
    static const double bounds[] = {1, 2.5, 10, 100};
    const struct aw_metric calls = {
        sizeof calls, AW_METRIC_COUNTER, name, "Calls, by result: \\ and\nmore.", labels, NULL, 0};
    const struct aw_metric sizes = {
        sizeof sizes, AW_METRIC_HISTOGRAM, "batch_events", "Events a call.", NULL, bounds, 4};
    uint32_t calls_id, sizes_id;
    int32_t rc = f->metrics->define(f->host, &calls, &calls_id);
    if (rc == AW_OK)
        rc = f->metrics->series(f->host, calls_id, good, &f->good);
    if (rc == AW_OK)
        rc = f->metrics->series(f->host, calls_id, bad, &f->bad);
    if (rc == AW_OK)
        rc = f->metrics->define(f->host, &sizes, &sizes_id);
    if (rc == AW_OK)
        rc = f->metrics->series(f->host, sizes_id, NULL, &f->sizes);
    if (rc == AW_OK)
        rc = f->host->metric_register(f->host, AW_METRIC_GAUGE, "depth", "Last seq.", &f->depth);
    return rc;
}

static int32_t flaky_create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    struct flaky *f = calloc(1, sizeof *f);
    struct aw_str name;
    if (!f)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    f->host = host;
    f->metrics = host->extension(host, AW_EXT_HOST_METRICS);
    (void)host->config_int(config, "fail_every", &f->fail_every);
    (void)host->config_int(config, "reject_every", &f->reject_every);
    (void)host->config_int(config, "flush_fails_every", &f->flush_fails_every);
    (void)host->config_int(config, "unset_every", &f->unset_every);
    (void)host->config_str(config, "metric", &name);
    int32_t rc = f->metrics ? measure(f, name.ptr) : AW_E_UNSUPPORTED;
    if (rc != AW_OK) {
        free(f);
        return rc; /* the host has set the text */
    }
    *ret = f;
    return AW_OK;
}

static int32_t flaky_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct flaky *f = sink;
    f->metrics->add(f->host, f->sizes, (double)batch->count);
    if (f->fail_every > 0 && ++f->calls % (uint64_t)f->fail_every == 0) {
        f->metrics->add(f->host, f->bad, 1);
        return aw_host_error(f->host, AW_E_RETRY, "not in the mood");
    }
    f->metrics->add(f->host, f->good, 1);
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t seq = 0;
        (void)f->host->event_number(batch->events[i], AW_NUMBER_SEQ, &seq);
        if (f->unset_every > 0 && ++f->given % (uint64_t)f->unset_every == 0)
            continue;
        if (f->reject_every > 0 && seq % (uint64_t)f->reject_every == 0)
            result->status[i] = AW_EVENT_REJECTED;
        else
            result->status[i] = f->flush_fails_every > 0 ? AW_EVENT_ACCEPTED : AW_EVENT_DURABLE;
    }
    f->last_seq = batch->last_seq;
    f->host->metric_add(f->host, f->depth, (double)batch->last_seq);
    return AW_OK;
}

static int32_t flaky_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct flaky *f = sink;
    (void)deadline_ns;
    if (f->flush_fails_every > 0 && ++f->flushes % (uint64_t)f->flush_fails_every == 0)
        return aw_host_error(f->host, AW_E_RETRY, "forgot everything");
    /* every other time a part only, which may end in the middle of a batch */
    *ret_durable_seq = f->flushes % 2 || f->last_seq < 10 ? f->last_seq : f->last_seq - 3;
    return AW_OK;
}

static void flaky_destroy(void *sink)
{
    free(sink);
}

static const struct aw_sink_class sink = {
    .struct_size = sizeof sink,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "flaky",
    .summary = "a sink for tests that misbehaves",
    .options = options,
    .create = flaky_create,
    .write = flaky_write,
    .flush = flaky_flush,
    .destroy = flaky_destroy,
};
static const struct aw_sink_class *const sinks[] = {&sink, NULL};
static const char *const needs[] = {AW_EXT_HOST_METRICS, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,          .id = "org.example.mock.flaky",   .version = "1.0",
                                        .license = "Apache-2.0", .summary = "A plugin for tests.", .host_needs = needs,
                                        .sinks = sinks};
AW_PLUGIN_REGISTER(plugin)
