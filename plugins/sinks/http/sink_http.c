/* sink_http.c - the http sink: class and life of an instance. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_sink.h"

/* ---- health ---- */

int32_t ht_set_health(struct ht_sink *s, int32_t code, const char *detail)
{
    int32_t state = code == AW_OK || code == AW_E_REJECTED                                    ? AW_HEALTH_OK
                    : code == AW_E_UNAVAILABLE || code == AW_E_CONFIG || code == AW_E_TIMEOUT ? AW_HEALTH_DOWN
                                                                                              : AW_HEALTH_DEGRADED;
    uint64_t now = s->host->now_ns();
    pthread_mutex_lock(&s->lock);
    if (s->health.state != state)
        s->health.since_ns = now;
    s->health.state = state;
    if (code == AW_OK)
        s->health.last_success_ns = now;
    else
        s->health.last_error = code;
    snprintf(s->health.detail, sizeof s->health.detail, "%s", detail);
    pthread_mutex_unlock(&s->lock);
    return code;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct ht_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

/* ---- life ---- */

static void destroy(void *sink)
{
    struct ht_sink *s = sink;
    ht_disconnect(s);
    ht_buffer_free(&s->body);
    ht_buffer_free(&s->packed);
    ht_buffer_free(&s->reply);
    ht_settings_free(s->settings);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void register_metrics(struct ht_sink *s)
{
    const struct aw_host *h = s->host;
    /* One that cannot be registered has an id that counts for nothing: delivery goes on. */
    h->metric_register(h, AW_METRIC_COUNTER, "http_requests_total", "Requests sent.", &s->metric_requests);
    h->metric_register(h, AW_METRIC_COUNTER, "http_connections_total", "Connections made.", &s->metric_connections);
    h->metric_register(h, AW_METRIC_COUNTER, "http_sent_bytes_total", "Bytes of bodies that were answered, as sent.",
                       &s->metric_bytes);
    h->metric_register(h, AW_METRIC_COUNTER, "http_duplicates_total", "Events that the receiver had already.",
                       &s->metric_duplicates);
    h->metric_register(h, AW_METRIC_COUNTER, "http_redirects_total", "Redirects followed.", &s->metric_redirects);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct ht_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    for (size_t i = 0; i < HT_SOCKETS_MAX; i++)
        s->sockets[i] = -1;
    int32_t r = ht_settings_read(host, config, &s->settings);
    if (r != AW_OK) {
        free(s);
        return r;
    }
    s->shown = s->settings->shown;
    pthread_mutex_init(&s->lock, NULL);
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    register_metrics(s);
    *ret_sink = s;
    return AW_OK;
}

static void warn(const struct ht_sink *s)
{
    const struct ht_settings *set = s->settings;
    if (set->insecure_tls && set->https)
        aw_host_log(s->host, AW_LOG_WARNING,
                    "%s: insecure_tls = true: nobody checks who the receiver is; anybody in between can read and forge",
                    set->shown);
    if (set->plain_abroad)
        aw_host_log(
            s->host, AW_LOG_WARNING,
            "%s: insecure_plain = true: anybody in between can read and change events, and take the credentials",
            set->shown);
}

static int32_t start(void *sink)
{
    struct ht_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "start: already started");
    int32_t r = ht_settings_check_files(s->host, s->settings);
    if (r != AW_OK)
        return ht_set_health(s, r, "a file of TLS cannot be read");
    warn(s);
    s->started = true; /* the first batch makes the connection */
    return ht_set_health(s, AW_OK, "");
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct ht_sink *s = sink;
    (void)deadline_ns; /* nothing is ever pending, and saying goodbye does not wait */
    ht_disconnect(s);
    s->started = false;
    return AW_OK;
}

static int32_t reopen(void *sink)
{
    struct ht_sink *s = sink;
    ht_disconnect(s); /* the next batch reads the files of TLS anew, and asks for the host's address again */
    return s->started ? ht_settings_check_files(s->host, s->settings) : AW_OK;
}

static int32_t reconfigure(void *sink, const struct aw_config *config)
{
    struct ht_sink *s = sink;
    struct ht_settings *fresh;
    int32_t r = ht_settings_read(s->host, config, &fresh);
    if (r != AW_OK)
        return r;
    if (s->started && (r = ht_settings_check_files(s->host, fresh)) != AW_OK) {
        ht_settings_free(fresh);
        return r;
    }
    ht_disconnect(s);
    ht_settings_free(s->settings);
    s->settings = fresh;
    s->shown = fresh->shown;
    if (s->started)
        warn(s);
    return AW_OK;
}

static int32_t after_fork(void *sink)
{
    struct ht_sink *s = sink;
    ht_abandon(s);
    s->started = false;
    pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_PROBE) == 0 ? &ht_probe : NULL;
}

static const struct aw_sink_class http_class = {
    .struct_size = sizeof http_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .flags = AW_SINK_REMOTE,
    .name = "http",
    .summary = "Posts batches of events to a receiver over HTTP",
    .options = ht_options,
    .create = create,
    .start = start,
    .write = ht_write,
    .health = health,
    .reopen = reopen,
    .reconfigure = reconfigure,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&http_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.http",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "receivers of events over HTTP",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
