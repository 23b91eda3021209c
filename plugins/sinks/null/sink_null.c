/* sink_null.c - a sink that stores nothing and counts: for benchmarks and for trying out a configuration.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit/plugin.h"

struct null_sink {
    const struct aw_host *host;
    uint64_t delay_ns;
    int32_t encode;
    uint32_t metric_events, metric_bytes;
};

static const struct aw_option opt_delay = {sizeof opt_delay,
                                           AW_OPT_DURATION,
                                           0,
                                           0,
                                           "delay",
                                           "0",
                                           "How long each write takes, at most until its deadline.",
                                           0,
                                           INT64_C(3600) * 1000000000,
                                           NULL};
static const struct aw_option opt_encode = {sizeof opt_encode,
                                            AW_OPT_BOOL,
                                            0,
                                            0,
                                            "encode",
                                            "false",
                                            "Render each event as JSON and count its bytes.",
                                            0,
                                            0,
                                            NULL};
static const struct aw_option *const options[] = {&opt_delay, &opt_encode, NULL};

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    int64_t delay = 0;
    struct null_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    if (host->config_int(config, "delay", &delay) == AW_OK && delay > 0)
        s->delay_ns = (uint64_t)delay;
    if (host->config_bool(config, "encode", &s->encode) != AW_OK)
        s->encode = 0;
    host->metric_register(host, AW_METRIC_COUNTER, "null_events_total", "Events counted and thrown away.",
                          &s->metric_events);
    host->metric_register(host, AW_METRIC_COUNTER, "null_bytes_total",
                          "Bytes of these events as JSON, with encode = true.", &s->metric_bytes);
    *ret_sink = s;
    return AW_OK;
}

static void pause_for(const struct null_sink *s, uint64_t deadline_ns)
{
    uint64_t now = s->host->mono_ns(), until = now + s->delay_ns;
    if (deadline_ns != 0 && deadline_ns < until)
        until = deadline_ns;
    while (now < until) {
        struct timespec t = {(time_t)((until - now) / 1000000000u), (long)((until - now) % 1000000000u)};
        nanosleep(&t, NULL);
        now = s->host->mono_ns();
    }
}

static int32_t write_batch(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct null_sink *s = sink;
    uint64_t bytes = 0;
    if (s->delay_ns != 0)
        pause_for(s, batch->deadline_ns);
    for (size_t i = 0; i < batch->count; i++) {
        struct aw_str json;
        if (s->encode) {
            int32_t r = s->host->event_encoded(batch->events[i], "json", &json);
            if (r != AW_OK)
                return r; /* the events so far are taken, the rest stays queued */
            bytes += json.len;
        }
        result->status[i] = AW_EVENT_ACCEPTED;
    }
    s->host->metric_add(s->host, s->metric_events, (double)batch->count);
    if (s->encode)
        s->host->metric_add(s->host, s->metric_bytes, (double)bytes);
    return AW_OK;
}

/* Nothing is stored, so nothing can be in only some of a group's sinks because of this one. */
static int32_t stage(void *sink, const struct aw_batch *batch, struct aw_result *result, const char *token)
{
    (void)token;
    return write_batch(sink, batch, result);
}

static int32_t decide(void *sink, const char *token)
{
    (void)sink;
    (void)token;
    return AW_OK;
}

static int32_t in_doubt(void *sink, const char *const **ret_tokens, size_t *ret_count)
{
    (void)sink;
    *ret_tokens = NULL;
    *ret_count = 0;
    return AW_OK;
}

static const struct aw_sink_transaction transaction = {sizeof transaction, 0, stage, decide, decide, in_doubt};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_TRANSACTION) == 0 ? &transaction : NULL;
}

static void destroy(void *sink)
{
    free(sink);
}

static const struct aw_sink_class null_class = {
    .struct_size = sizeof null_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_NEVER,
    .name = "null",
    .summary = "Counts events and stores nothing",
    .options = options,
    .create = create,
    .write = write_batch,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&null_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.null",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "counts and discards",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
