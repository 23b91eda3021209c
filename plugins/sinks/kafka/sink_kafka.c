/* sink_kafka.c - the kafka sink: class and life of an instance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka_sink.h"

static void destroy(void *sink)
{
    struct kafka_sink *s = sink;
    kf_producer_end(s);
    kf_free_settings(s);
    pthread_mutex_destroy(&s->lock);
    free(s->slots);
    free(s);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct kafka_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    pthread_mutex_init(&s->lock, NULL);
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = kf_read_settings(s, config);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    host->metric_register(host, AW_METRIC_COUNTER, "kafka_producers_total",
                          "Producers made: one at the start, and one after each error that breaks the old one.",
                          &s->metric_producers);
    host->metric_register(host, AW_METRIC_COUNTER, "kafka_unsure_total",
                          "Events sent whose delivery was not confirmed: sent again, so maybe stored twice.",
                          &s->metric_unsure);
    *ret_sink = s;
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct kafka_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "start: already started");
    int32_t r = kf_look(s, s->host->mono_ns() + s->connect_timeout_ns);
    if (r == AW_OK)
        r = kf_producer_ready(s);
    if (r != AW_OK)
        return r;
    s->started = true;
    kf_set_health(s, AW_OK, "");
    return AW_OK;
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct kafka_sink *s = sink;
    (void)deadline_ns; /* write() leaves nothing behind that would have to be waited for */
    kf_producer_end(s);
    s->started = false;
    return AW_OK;
}

static int32_t reopen(void *sink)
{
    struct kafka_sink *s = sink;
    kf_producer_end(s); /* the next write() makes a new one: files with certificates and keys are read again */
    return AW_OK;
}

static int32_t after_fork(void *sink)
{
    struct kafka_sink *s = sink;
    /* The threads of the producer exist in the parent only, so that it cannot be ended here: it is left to the end of
     * the process, without its connections. close() alone sends nothing while the parent has them open. */
    for (size_t i = 0; i < KF_SOCKETS; i++) {
        int fd = atomic_load_explicit(&s->sockets[i], memory_order_relaxed) - 1;
        if (fd >= 0)
            (void)close(fd);
        atomic_store_explicit(&s->sockets[i], 0, memory_order_relaxed);
    }
    s->rk = NULL;
    s->rkt = NULL;
    s->outstanding = 0;
    s->started = false;
    pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct kafka_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct kafka_sink *s = sink;
    uint64_t own = s->host->mono_ns() + s->connect_timeout_ns;
    return kf_look(s, deadline_ns != 0 && deadline_ns < own ? deadline_ns : own);
}

static const struct aw_sink_probe probe_extension = {sizeof probe_extension, 0, probe};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_PROBE) == 0 ? &probe_extension : NULL;
}

static const struct aw_sink_class kafka_class = {
    .struct_size = sizeof kafka_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .flags = AW_SINK_REMOTE,
    .name = "kafka",
    .summary = "Sends events to a topic of an Apache Kafka cluster, in order within each chain",
    .options = kf_options,
    .create = create,
    .start = start,
    .write = kf_write,
    .health = health,
    .reopen = reopen,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&kafka_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.kafka",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "Apache Kafka",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
