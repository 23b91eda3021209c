/* bench_host.c - the smallest host that can drive a sink's write(): its own cost, without that of auditwell around it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Options have their defaults, but for one text option. Events are a trail's lines with their ids.
 */
#include "config.h"

#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit/plugin.h"

struct aw_event {
    struct aw_str id, json;
};
struct aw_config {
    const struct aw_option *const *options;
    const char *key, *value; /* the one that is set */
};
struct bench_host {
    struct aw_host table; /* first */
    const struct aw_sink_class *class;
    struct aw_config config;
    void *sink;
    char error[256];
};

static void AW_PRINTF(3, 0) no_log(const struct aw_host *h, int32_t severity, const char *fmt, va_list ap)
{
    (void)h;
    (void)severity;
    (void)fmt;
    (void)ap;
}

static void AW_PRINTF(3, 0) set_error(const struct aw_host *h, int32_t code, const char *fmt, va_list ap)
{
    struct bench_host *host = (struct bench_host *)(uintptr_t)h;
    (void)code;
    (void)vsnprintf(host->error, sizeof host->error, fmt, ap);
}

static void AW_PRINTF(3, 0) event_error(const struct aw_host *h, size_t index, const char *fmt, va_list ap)
{
    (void)index;
    set_error(h, AW_E_REJECTED, fmt, ap);
}

static int32_t event_field(const struct aw_event *e, uint32_t field, struct aw_str *ret)
{
    if (field != AW_FIELD_EVENT_ID)
        return AW_E_NOTFOUND;
    *ret = e->id;
    return AW_OK;
}

static int32_t event_number(const struct aw_event *e, uint32_t number, uint64_t *ret)
{
    (void)e;
    (void)number;
    (void)ret;
    return AW_E_NOTFOUND;
}

static int32_t event_encoded(const struct aw_event *e, const char *encoding, struct aw_str *ret)
{
    (void)encoding;
    *ret = e->json;
    return AW_OK;
}

static const char *value_of(const struct aw_config *c, const char *key)
{
    if (strcmp(key, c->key) == 0)
        return c->value;
    for (size_t i = 0; c->options[i]; i++)
        if (strcmp(c->options[i]->key, key) == 0)
            return c->options[i]->deflt;
    return NULL;
}

static int32_t config_str(const struct aw_config *c, const char *key, struct aw_str *ret)
{
    const char *v = value_of(c, key);
    if (!v)
        return AW_E_NOTFOUND;
    *ret = (struct aw_str){v, strlen(v)};
    return AW_OK;
}

static int32_t config_int(const struct aw_config *c, const char *key, int64_t *ret)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"", 1},         {"KiB", 1 << 10},           {"MiB", 1 << 20},
                 {"ms", 1000000}, {"s", INT64_C(1000000000)}, {"m", INT64_C(60000000000)}};
    const char *v = value_of(c, key);
    char *end;
    if (!v)
        return AW_E_NOTFOUND;
    int64_t n = strtoll(v, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].unit) == 0) {
            *ret = n * units[i].factor;
            return AW_OK;
        }
    return AW_E_INTERNAL;
}

static int32_t config_bool(const struct aw_config *c, const char *key, int32_t *ret)
{
    const char *v = value_of(c, key);
    *ret = v && strcmp(v, "true") == 0;
    return v ? AW_OK : AW_E_NOTFOUND;
}

static int32_t config_list(const struct aw_config *c, const char *key, size_t index, struct aw_str *ret)
{
    (void)c;
    (void)key;
    (void)index;
    (void)ret;
    return AW_E_NOTFOUND;
}

static int32_t metric_register(const struct aw_host *h, int32_t kind, const char *name, const char *help, uint32_t *ret)
{
    (void)h;
    (void)kind;
    (void)name;
    (void)help;
    *ret = 0;
    return AW_OK;
}

static void metric_add(const struct aw_host *h, uint32_t id, double value)
{
    (void)h;
    (void)id;
    (void)value;
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

static uint64_t mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static const void *no_extension(const struct aw_host *h, const char *id)
{
    (void)h;
    (void)id;
    return NULL;
}

/* sink_NAME.so of the first directory of $AUDITWELL_PLUGIN_PATH that has it. */
static const struct aw_sink_class *load(const char *name)
{
    char path[1024], symbol[128];
    const struct aw_plugin *(*entry)(void) = NULL;
    const char *dirs = getenv("AUDITWELL_PLUGIN_PATH");
    void *lib = NULL;
    for (const char *d = dirs; d && *d && !lib; d += strcspn(d, ":"), d += *d == ':') {
        (void)snprintf(path, sizeof path, "%.*s/sink_%s.so", (int)strcspn(d, ":"), d, name);
        if (access(path, R_OK) == 0)
            lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    (void)snprintf(symbol, sizeof symbol, "sink_%s_LTX_auditwell_plugin_v1", name);
    if (lib)
        *(void **)&entry = dlsym(lib, symbol);
    if (!entry)
        bench_die("sink_%s.so is not in $AUDITWELL_PLUGIN_PATH: %s", name, dlerror());
    return entry()->sinks[0];
}

static void check(const struct bench_host *h, int32_t code, const char *what)
{
    if (code != AW_OK)
        bench_die("%s: code %d: %s", what, code, h->error);
}

struct bench_host *host_open(const char *name, const char *key, const char *value)
{
    struct bench_host *h = calloc(1, sizeof *h);
    if (!h)
        bench_die("out of memory");
    h->table = (struct aw_host){.struct_size = sizeof h->table,
                                .abi_major = AW_ABI_MAJOR,
                                .abi_minor = AW_ABI_MINOR,
                                .version = "bench",
                                .instance = "bench",
                                .vlog = no_log,
                                .vset_error = set_error,
                                .vevent_error = event_error,
                                .event_field = event_field,
                                .event_number = event_number,
                                .event_encoded = event_encoded,
                                .config_str = config_str,
                                .config_int = config_int,
                                .config_bool = config_bool,
                                .config_list = config_list,
                                .metric_register = metric_register,
                                .metric_add = metric_add,
                                .now_ns = now_ns,
                                .mono_ns = mono_ns,
                                .extension = no_extension};
    h->class = load(name);
    h->config = (struct aw_config){h->class->options, key, value};
    check(h, h->class->create(&h->table, &h->config, &h->sink), "create");
    check(h, h->class->start(h->sink), "start");
    return h;
}

double host_write_all(struct bench_host *h, const struct lines *trail, size_t events, size_t batch)
{
    static const char member[] = "\"eventId\":\"";
    struct aw_event *all = calloc(events, sizeof *all);
    const struct aw_event **pointers = calloc(events, sizeof *pointers);
    uint8_t *status = calloc(batch, 1);
    if (!all || !pointers || !status)
        bench_die("out of memory");
    for (size_t i = 0; i < events; i++) {
        const char *line = trail->base + trail->off[i];
        const char *id = memmem(line, trail->len[i], member, sizeof member - 1);
        if (!id)
            bench_die("line %zu of the trail has no eventId", i + 1);
        id += sizeof member - 1;
        all[i] = (struct aw_event){{id, strcspn(id, "\"")}, {line, trail->len[i]}};
        pointers[i] = &all[i];
    }
    double t = bench_now();
    for (size_t at = 0; at < events; at += batch) {
        size_t n = events - at < batch ? events - at : batch;
        struct aw_batch b = {sizeof b, 0, at + 1, at + n, 0, n, pointers + at};
        struct aw_result r = {sizeof r, 0, n, status};
        memset(status, AW_EVENT_UNKNOWN, n);
        check(h, h->class->write(h->sink, &b, &r), "write");
        if (status[0] != AW_EVENT_DURABLE || status[n - 1] != AW_EVENT_DURABLE)
            bench_die("write: not all events are durable");
    }
    t = bench_now() - t;
    free(all);
    free(pointers);
    free(status);
    return t;
}

void host_close(struct bench_host *h)
{
    check(h, h->class->stop(h->sink, 0), "stop");
    h->class->destroy(h->sink);
    free(h);
}
