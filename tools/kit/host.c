/* host.c - the checking host: the table a plugin gets, and what must hold around each of its calls.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "instance.h"

static bool longer;

void kit_host_longer(bool on)
{
    longer = on;
}

/* ---- the gate in the event functions ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER; /* guards gate_shut and gate_held */
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_shut, gate_held;

void kit_gate_close(void)
{
    (void)pthread_mutex_lock(&gate_lock);
    gate_shut = true;
    gate_held = false;
    (void)pthread_mutex_unlock(&gate_lock);
}

void kit_gate_open(void)
{
    (void)pthread_mutex_lock(&gate_lock);
    gate_shut = false;
    (void)pthread_cond_broadcast(&gate_moved);
    (void)pthread_mutex_unlock(&gate_lock);
}

bool kit_gate_wait(unsigned ms)
{
    for (unsigned waited = 0; waited < ms; waited += 2) {
        (void)pthread_mutex_lock(&gate_lock);
        bool held = gate_held;
        (void)pthread_mutex_unlock(&gate_lock);
        if (held)
            return true;
        kit_nap(2);
    }
    return false;
}

static void gate(void)
{
    (void)pthread_mutex_lock(&gate_lock);
    while (gate_shut) {
        gate_held = true;
        (void)pthread_cond_wait(&gate_moved, &gate_lock);
    }
    (void)pthread_mutex_unlock(&gate_lock);
}

/* ---- texts ---- */

struct kit_instance *instance_of(const struct aw_host *h)
{
    struct kit_instance *i = (struct kit_instance *)(uintptr_t)h;
    if (i->alive == INSTANCE_ALIVE)
        return i;
    kit_finding("a function of the host table was called with a host that is not its own, or is gone, in %s",
                kit_here());
    kit_exit(3);
}

static bool secret_told;

bool kit_told_secret(void)
{
    return secret_told;
}

static void hear(struct kit_instance *i, const char *text, const char *what)
{
    (void)pthread_mutex_lock(&i->lock);
    size_t left = sizeof i->said - i->said_len;
    int n = left > 1 ? snprintf(i->said + i->said_len, left, "%s\n", text) : 0;
    i->said_len += n > 0 ? ((size_t)n < left ? (size_t)n : left - 1) : 0;
    i->lines++;
    (void)pthread_mutex_unlock(&i->lock);
    if (i->config && kit_config_secret_in(i->config, text)) {
        secret_told = true;
        kit_finding("the value of a secret stands in %s", what);
    }
}

static void AW_PRINTF(3, 0) host_vlog(const struct aw_host *h, int32_t severity, const char *fmt, va_list ap)
{
    char text[600];
    int saved = errno;
    struct kit_instance *i = instance_of(h);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    EXPECT(severity >= AW_LOG_DEBUG && severity <= AW_LOG_PLUGIN_MISBEHAVING, "logged with severity %d", (int)severity);
    hear(i, text, "a log line");
    errno = saved;
}

static void AW_PRINTF(3, 0) host_vset_error(const struct aw_host *h, int32_t code, const char *fmt, va_list ap)
{
    int saved = errno;
    struct kit_instance *i = instance_of(h);
    char text[sizeof i->error];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    (void)pthread_mutex_lock(&i->lock);
    memcpy(i->error, text, sizeof text);
    i->error_set = true;
    (void)pthread_mutex_unlock(&i->lock);
    EXPECT(code < 0, "set an error text with code %d, which is no error", (int)code);
    hear(i, text, "an error text");
    errno = saved;
}

static void AW_PRINTF(3, 0) host_vevent_error(const struct aw_host *h, size_t index, const char *fmt, va_list ap)
{
    char text[400];
    int saved = errno;
    struct kit_instance *i = instance_of(h);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    if (EXPECT(i->event_error != NULL, "vevent_error() was called outside of write() and stage()") &&
        EXPECT(index < i->event_count, "vevent_error() was called for event %zu of a batch of %zu", index,
               i->event_count))
        i->event_error[index] = true;
    hear(i, text, "an event's error text");
    errno = saved;
}

/* ---- the other members ---- */

static int32_t host_event_field(const struct aw_event *e, uint32_t field, struct aw_str *ret)
{
    gate();
    return kit_event_field(e, field, ret);
}

static int32_t host_event_number(const struct aw_event *e, uint32_t number, uint64_t *ret)
{
    gate();
    return kit_event_number(e, number, ret);
}

static int32_t host_event_encoded(const struct aw_event *e, const char *encoding, struct aw_str *ret)
{
    gate();
    return kit_event_encoded(e, encoding, ret);
}

static bool metric_name_ok(const char *name)
{
    return name && name[0] >= 'a' && name[0] <= 'z' && strlen(name) <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

static int32_t metric_new(struct kit_instance *i, int32_t kind, const char *name, const char *help, uint32_t *ret)
{
    EXPECT(i->creating, "metrics are registered in create() only, found \"%s\" later", name ? name : "NULL");
    EXPECT(metric_name_ok(name), "the name of a metric is [a-z][a-z0-9_]{0,63}, found \"%s\"", name ? name : "NULL");
    EXPECT(help && help[0], "metric %s has no help", name ? name : "NULL");
    if (i->metrics == KIT_METRICS || kind < AW_METRIC_COUNTER || kind > AW_METRIC_HISTOGRAM)
        return AW_E_UNSUPPORTED;
    i->metric_kind[i->metrics] = kind;
    *ret = (uint32_t)i->metrics++;
    return AW_OK;
}

static int32_t host_metric_register(const struct aw_host *h, int32_t kind, const char *name, const char *help,
                                    uint32_t *ret_id)
{
    int32_t rc = metric_new(instance_of(h), kind, name, help, ret_id);
    errno = ESTALE;
    return rc;
}

static void host_metric_add(const struct aw_host *h, uint32_t id, double value)
{
    struct kit_instance *i = instance_of(h);
    if (EXPECT(id < i->metrics, "metric_add() was called with id %u, which was not registered", id))
        EXPECT(i->metric_kind[id] != AW_METRIC_COUNTER || value >= 0, "a counter was given %g: it only grows", value);
    errno = ESTALE;
}

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t host_now_ns(void)
{
    return clock_of(CLOCK_REALTIME);
}

static uint64_t host_mono_ns(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

static int32_t host_ctx_set(struct aw_context *c, uint32_t field, struct aw_str value, int32_t provenance)
{
    (void)c;
    (void)field;
    (void)value;
    (void)provenance;
    return AW_E_REJECTED;
}

static int32_t metrics_define(const struct aw_host *h, const struct aw_metric *m, uint32_t *ret)
{
    struct kit_instance *i = instance_of(h);
    EXPECT(m->struct_size >= offsetof(struct aw_metric, bound_count) + sizeof m->bound_count,
           "struct aw_metric: struct_size is %u", m->struct_size);
    return metric_new(i, m->kind, m->name, m->help, ret);
}

static int32_t metrics_series(const struct aw_host *h, uint32_t metric, const char *const *values, uint32_t *ret)
{
    struct kit_instance *i = instance_of(h);
    (void)values;
    if (!EXPECT(metric < i->metrics, "series() was called with metric %u, which was not defined", metric))
        return AW_E_INTERNAL;
    *ret = metric;
    return AW_OK;
}

static const struct aw_host_metrics metrics = {sizeof metrics, 0, metrics_define, metrics_series, host_metric_add};

static const void *host_extension(const struct aw_host *h, const char *id)
{
    (void)instance_of(h);
    return strcmp(id, AW_EXT_HOST_METRICS) == 0 ? &metrics : NULL;
}

void host_fill(struct kit_instance *i)
{
    i->host = (struct aw_host){.struct_size = sizeof i->host + (longer ? KIT_LATER : 0u),
                               .abi_major = AW_ABI_MAJOR,
                               .abi_minor = (uint16_t)(AW_ABI_MINOR + (longer ? 7 : 0)),
                               .version = PACKAGE_VERSION,
                               .instance = i->name,
                               .vlog = host_vlog,
                               .vset_error = host_vset_error,
                               .vevent_error = host_vevent_error,
                               .event_field = host_event_field,
                               .event_number = host_event_number,
                               .event_encoded = host_event_encoded,
                               .config_str = kit_config_str,
                               .config_int = kit_config_int,
                               .config_bool = kit_config_bool,
                               .config_list = kit_config_list,
                               .metric_register = host_metric_register,
                               .metric_add = host_metric_add,
                               .now_ns = host_now_ns,
                               .mono_ns = host_mono_ns,
                               .ctx_set = host_ctx_set,
                               .extension = host_extension};
    memset(i->later, KIT_LATER_BYTE, sizeof i->later);
    i->host_copy = i->host;
}

/* The host's struct belongs to the host. */
void host_check(struct kit_instance *i)
{
    if (memcmp(&i->host, &i->host_copy, sizeof i->host) != 0)
        kit_finding("wrote into struct aw_host");
    for (size_t n = 0; n < sizeof i->later; n++)
        if (!EXPECT(i->later[n] == KIT_LATER_BYTE, "wrote behind struct aw_host"))
            break;
}
