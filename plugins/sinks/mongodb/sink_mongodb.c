/* sink_mongodb.c - the mongodb sink: class and life of an instance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongo_sink.h"

static void destroy(void *sink)
{
    struct mongo_sink *s = sink;
    mg_disconnect(s);
    mg_free_settings(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct mongo_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    pthread_mutex_init(&s->lock, NULL);
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = mg_read_settings(s, config);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    host->metric_register(host, AW_METRIC_COUNTER, "mongodb_duplicates_total", "Events whose id was stored already.",
                          &s->metric_duplicates);
    host->metric_register(host, AW_METRIC_COUNTER, "mongodb_clients_total",
                          "Clients made: one at the start, and one after each loss of the connection.",
                          &s->metric_connects);
    *ret_sink = s;
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct mongo_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "start: already started");
    int32_t r = mg_connect(s, 0);
    if (r == AW_OK)
        r = mg_check(s);
    if (r != AW_OK) {
        mg_disconnect(s);
        return r;
    }
    s->started = true;
    mg_set_health(s, AW_OK, "");
    return AW_OK;
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct mongo_sink *s = sink;
    (void)deadline_ns; /* write() leaves nothing behind that would have to be waited for */
    mg_disconnect(s);
    s->started = false;
    return AW_OK;
}

static int32_t reopen(void *sink)
{
    struct mongo_sink *s = sink;
    mg_disconnect(s); /* the next write() connects: files with certificates and keys are read again */
    return AW_OK;
}

static int32_t after_fork(void *sink)
{
    struct mongo_sink *s = sink;
    /* Ending the client would tell the server that the parent's session is over, and libmongoc may have been in the
     * middle of anything: it is left alone. Its connections close with the child, or when that executes a program. */
    s->client = NULL;
    s->coll = NULL;
    s->started = false;
    pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct mongo_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    if (strcmp(id, AW_EXT_SINK_PROBE) == 0)
        return &mg_probe;
    return strcmp(id, AW_EXT_SINK_MIGRATE) == 0 ? &mg_migrate : NULL;
}

static const struct aw_sink_class mongodb_class = {
    .struct_size = sizeof mongodb_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .flags = AW_SINK_REMOTE,
    .name = "mongodb",
    .summary = "Stores events in a MongoDB collection, one document each, without duplicates",
    .options = mg_options,
    .create = create,
    .start = start,
    .write = mg_write,
    .health = health,
    .reopen = reopen,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&mongodb_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.mongodb",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "MongoDB",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
