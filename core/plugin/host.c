/* host.c - the host as plugins see it: struct aw_host of one instance. See registry.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The table is the first member of struct plugin_host, so that a callback finds its instance from the pointer it is
 * given. Everything here may be called from any thread.
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "plugin/event_batch.h"
#include "plugin/plugin_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

struct plugin_host {
    struct aw_host table; /* first */
    char *instance;
    struct diag_out diag;
    _Atomic bool mute;
    pthread_mutex_t lock; /* error */
    char error[1024];
    _Atomic(struct event_batch *) batch; /* inside write(): what vevent_error() speaks of */
    struct host_metrics *metrics;        /* host_metrics.c */
};

static _Atomic size_t live;

static struct plugin_host *self(const struct aw_host *table)
{
    return (struct plugin_host *)(uintptr_t)table;
}

/* ---- diagnostics ---- */

AW_PRINTF(3, 0)
static void host_vlog(const struct aw_host *h, int32_t severity, const char *fmt, va_list ap)
{
    int saved = errno;
    if (!atomic_load_explicit(&self(h)->mute, memory_order_acquire))
        diag_vlog(&self(h)->diag, severity, self(h)->instance, fmt, ap);
    errno = saved;
}

AW_PRINTF(3, 0)
static void host_vset_error(const struct aw_host *h, int32_t code, const char *fmt, va_list ap)
{
    (void)code; /* the callback returns it, too */
    int saved = errno;
    struct plugin_host *host = self(h);
    (void)pthread_mutex_lock(&host->lock);
    vsnprintf(host->error, sizeof host->error, fmt, ap);
    (void)pthread_mutex_unlock(&host->lock);
    errno = saved;
}

AW_PRINTF(3, 0)
static void host_vevent_error(const struct aw_host *h, size_t index, const char *fmt, va_list ap)
{
    int saved = errno;
    struct event_batch *batch = atomic_load_explicit(&self(h)->batch, memory_order_acquire);
    if ((!batch || !event_batch_set_error(batch, index, fmt, ap)) &&
        !atomic_load_explicit(&self(h)->mute, memory_order_acquire))
        diag_log(&self(h)->diag, AW_LOG_PLUGIN_MISBEHAVING, self(h)->instance,
                 batch ? "vevent_error() for index %zu, which the batch does not have"
                       : "vevent_error() outside of write() "
                         "(index %zu)",
                 index);
    errno = saved;
}

/* ---- settings ---- */

static int32_t host_config_str(const struct aw_config *config, const char *key, struct aw_str *ret)
{
    const struct config_value *v = schema_value(config, key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    if (!v->text)
        return AW_E_INTERNAL;
    *ret = (struct aw_str){v->text, v->text_len};
    return AW_OK;
}

static int32_t host_config_int(const struct aw_config *config, const char *key, int64_t *ret)
{
    const struct config_value *v = schema_value(config, key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    uint32_t t = v->option->type;
    if (t != AW_OPT_INT && t != AW_OPT_UINT && t != AW_OPT_SIZE && t != AW_OPT_DURATION)
        return AW_E_INTERNAL;
    *ret = v->number;
    return AW_OK;
}

static int32_t host_config_bool(const struct aw_config *config, const char *key, int32_t *ret)
{
    const struct config_value *v = schema_value(config, key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    if (v->option->type != AW_OPT_BOOL)
        return AW_E_INTERNAL;
    *ret = v->number != 0;
    return AW_OK;
}

static int32_t host_config_list(const struct aw_config *config, const char *key, size_t index, struct aw_str *ret)
{
    const struct config_value *v = schema_value(config, key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    if (v->option->type != AW_OPT_LIST)
        return AW_E_INTERNAL;
    if (index >= v->count)
        return AW_E_NOTFOUND;
    *ret = base_str(v->items[index].text);
    return AW_OK;
}

/* ---- metrics: host_metrics.c ---- */

struct host_metrics *host_metrics_of(const struct aw_host *h)
{
    return self(h)->metrics;
}

void host_set_metrics(struct plugin_host *host, struct metrics *metrics, size_t sink)
{
    host_metrics_bind(host->metrics, metrics, sink);
}

const struct metrics_sink *host_metrics(struct plugin_host *host)
{
    return host_metrics_sink(host->metrics);
}

/* ---- contexts and extensions ---- */

static int32_t host_ctx_set(struct aw_context *context, uint32_t field, struct aw_str value, int32_t provenance)
{
    return event_context_set_field(context, field, value, provenance);
}

struct host_extension {
    const char *id;
    const void *table;
};
/* Ended by NULL. What stands here is what host_needs may ask for. */
static const struct host_extension extensions[] = {{AW_EXT_HOST_METRICS, &host_metrics_extension}, {NULL, NULL}};

const void *host_extension_find(const char *id)
{
    for (const struct host_extension *e = extensions; id && e->id; e++)
        if (strcmp(e->id, id) == 0)
            return e->table;
    return NULL;
}

static const void *host_extension(const struct aw_host *h, const char *id)
{
    (void)h;
    return host_extension_find(id);
}

/* ---- life ---- */

int host_create(const char *instance, const struct diag_out *diag, struct plugin_host **ret)
{
    struct plugin_host *host = calloc(1, sizeof *host);
    char *name = strdup(instance);
    struct host_metrics *metrics = host_metrics_create();
    if (!host || !name || !metrics || pthread_mutex_init(&host->lock, NULL) != 0) {
        free(host);
        free(name);
        host_metrics_destroy(metrics);
        return -ENOMEM;
    }
    host->metrics = metrics;
    host->instance = name;
    if (diag)
        host->diag = *diag;
    host->table = (struct aw_host){
        .struct_size = sizeof host->table,
        .abi_major = AW_ABI_MAJOR,
        .abi_minor = AW_ABI_MINOR,
        .version = PACKAGE_VERSION,
        .instance = name,
        .vlog = host_vlog,
        .vset_error = host_vset_error,
        .vevent_error = host_vevent_error,
        .event_field = event_batch_field,
        .event_number = event_batch_number,
        .event_encoded = event_batch_encoded,
        .config_str = host_config_str,
        .config_int = host_config_int,
        .config_bool = host_config_bool,
        .config_list = host_config_list,
        .metric_register = host_metric_register,
        .metric_add = host_metric_add,
        .now_ns = clock_real_ns,
        .mono_ns = clock_mono_ns,
        .ctx_set = host_ctx_set,
        .extension = host_extension,
    };
    atomic_fetch_add(&live, 1);
    *ret = host;
    return 0;
}

void host_mute(struct plugin_host *host)
{
    atomic_store_explicit(&host->mute, true, memory_order_release);
}

void host_destroy(struct plugin_host *host)
{
    if (!host)
        return;
    host_metrics_destroy(host->metrics);
    (void)pthread_mutex_destroy(&host->lock);
    free(host->instance);
    free(host);
    atomic_fetch_sub(&live, 1);
}

size_t host_live(void)
{
    return atomic_load(&live);
}

const struct aw_host *host_table(struct plugin_host *host)
{
    return &host->table;
}

void host_last_error(struct plugin_host *host, char *buf, size_t size)
{
    (void)pthread_mutex_lock(&host->lock);
    snprintf(buf, size, "%s", host->error);
    (void)pthread_mutex_unlock(&host->lock);
}

void host_clear_error(struct plugin_host *host)
{
    (void)pthread_mutex_lock(&host->lock);
    host->error[0] = '\0';
    (void)pthread_mutex_unlock(&host->lock);
}

void host_bind_batch(struct plugin_host *host, struct event_batch *batch)
{
    atomic_store_explicit(&host->batch, batch, memory_order_release);
}
