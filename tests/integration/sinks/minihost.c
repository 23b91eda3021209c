/* minihost.c - see minihost.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

struct aw_config {
    const struct aw_option *const *options;
    char *keys[32], *values[32];
    size_t count;
};

int64_t mh_clock_ns;
static char last_error[600];

/* ---- host table ---- */

static struct mh_instance *of(const struct aw_host *h)
{
    return (struct mh_instance *)(uintptr_t)h;
}

static void AW_PRINTF(3, 0) host_vlog(const struct aw_host *h, int32_t severity, const char *fmt, va_list ap)
{
    struct mh_instance *m = of(h);
    pthread_mutex_lock(&m->lock);
    size_t left = sizeof m->log - m->log_len;
    if (left > 600) {
        m->log_len += (size_t)snprintf(m->log + m->log_len, left, "%d ", severity);
        m->log_len += (size_t)vsnprintf(m->log + m->log_len, 500, fmt, ap);
        if (m->log_len > sizeof m->log - 2)
            m->log_len = sizeof m->log - 2;
        m->log[m->log_len++] = '\n';
        m->log[m->log_len] = '\0';
    }
    pthread_mutex_unlock(&m->lock);
}

static void AW_PRINTF(3, 0) host_vset_error(const struct aw_host *h, int32_t code, const char *fmt, va_list ap)
{
    struct mh_instance *m = of(h);
    pthread_mutex_lock(&m->lock);
    vsnprintf(m->error, sizeof m->error, fmt, ap);
    m->error_code = code;
    pthread_mutex_unlock(&m->lock);
}

static void AW_PRINTF(3, 0) host_vevent_error(const struct aw_host *h, size_t index, const char *fmt, va_list ap)
{
    struct mh_instance *m = of(h);
    vsnprintf(m->event_error, sizeof m->event_error, fmt, ap);
    m->event_error_index = index;
}

static int32_t host_event_field(const struct aw_event *e, uint32_t field, struct aw_str *ret)
{
    if (field > 255 || e->fields[field].ptr == NULL)
        return AW_E_NOTFOUND;
    *ret = e->fields[field];
    return AW_OK;
}

static int32_t host_event_number(const struct aw_event *e, uint32_t number, uint64_t *ret)
{
    if (number < AW_NUMBER_SEQ || number >= AW_NUMBER_SEQ + 8)
        return AW_E_NOTFOUND;
    *ret = e->numbers[number - AW_NUMBER_SEQ];
    return AW_OK;
}

static int32_t host_event_encoded(const struct aw_event *e, const char *encoding, struct aw_str *ret)
{
    if (strcmp(encoding, "json") != 0)
        return AW_E_UNSUPPORTED;
    if (e->encode_code != AW_OK)
        return e->encode_code;
    *ret = (struct aw_str){e->json, e->json_len};
    return AW_OK;
}

static const struct aw_option *option(const struct aw_config *c, const char *key)
{
    for (size_t i = 0; c->options != NULL && c->options[i] != NULL; i++)
        if (strcmp(c->options[i]->key, key) == 0)
            return c->options[i];
    printf("Bail out! the plugin asks for \"%s\", which it does not declare\n", key);
    exit(1);
}

static const char *value(const struct aw_config *c, const char *key)
{
    const struct aw_option *o = option(c, key);
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->keys[i], key) == 0)
            return c->values[i];
    return o->deflt;
}

static int32_t host_config_str(const struct aw_config *c, const char *key, struct aw_str *ret)
{
    const char *v = value(c, key);
    if (v == NULL)
        return AW_E_NOTFOUND;
    *ret = (struct aw_str){v, strlen(v)};
    return AW_OK;
}

static int32_t host_config_int(const struct aw_config *c, const char *key, int64_t *ret)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"KiB", 1024},
                 {"MiB", 1 << 20},
                 {"GiB", 1 << 30},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", INT64_C(60000000000)},
                 {"h", INT64_C(3600000000000)},
                 {"", 1}};
    const char *v = value(c, key);
    char *end;
    if (v == NULL)
        return AW_E_NOTFOUND;
    int64_t n = strtoll(v, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].unit) == 0) {
            *ret = n * units[i].factor;
            return AW_OK;
        }
    return AW_E_INTERNAL;
}

static int32_t host_config_bool(const struct aw_config *c, const char *key, int32_t *ret)
{
    const char *v = value(c, key);
    if (v == NULL)
        return AW_E_NOTFOUND;
    *ret = strcmp(v, "true") == 0;
    return AW_OK;
}

/* A list is written as one text with a newline between its items. */
static int32_t host_config_list(const struct aw_config *c, const char *key, size_t index, struct aw_str *ret)
{
    static _Thread_local char item[4096];
    const char *v = value(c, key);
    for (; v != NULL && index > 0; index--)
        v = (v = strchr(v, '\n')) != NULL ? v + 1 : NULL;
    if (v == NULL)
        return AW_E_NOTFOUND;
    int n = snprintf(item, sizeof item, "%.*s", (int)strcspn(v, "\n"), v);
    *ret = (struct aw_str){item, (size_t)n};
    return AW_OK;
}

static int32_t host_metric_register(const struct aw_host *h, int32_t kind, const char *name, const char *help,
                                    uint32_t *ret_id)
{
    struct mh_instance *m = of(h);
    (void)kind;
    if (m->metric_count == MH_METRICS || help[0] == '\0')
        return AW_E_INTERNAL;
    m->metric_names[m->metric_count] = name;
    *ret_id = (uint32_t)m->metric_count++;
    return AW_OK;
}

static void host_metric_add(const struct aw_host *h, uint32_t id, double v)
{
    struct mh_instance *m = of(h);
    pthread_mutex_lock(&m->lock);
    m->metrics[id] += v;
    pthread_mutex_unlock(&m->lock);
}

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t host_now_ns(void)
{
    return clock_of(CLOCK_REALTIME) + (uint64_t)mh_clock_ns;
}

static uint64_t host_mono_ns(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

static const void *host_extension(const struct aw_host *h, const char *id)
{
    (void)h;
    (void)id;
    return NULL;
}

/* ---- instances ---- */

const struct aw_sink_class *mh_class(const char *name)
{
    char path[1024], symbol[128];
    const char *top = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/.libs/sink_%s.so", top != NULL ? top : ".", name);
    snprintf(symbol, sizeof symbol, "sink_%s_LTX_auditwell_plugin_v1", name);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct aw_plugin *(*entry)(void) = NULL;
    if (lib != NULL)
        *(void **)&entry = dlsym(lib, symbol);
    if (entry == NULL) {
        printf("Bail out! %s\n", dlerror());
        exit(1);
    }
    const struct aw_plugin *plugin = entry();
    if (plugin->magic != AW_PLUGIN_MAGIC || plugin->abi_major != AW_ABI_MAJOR ||
        strcmp(plugin->sinks[0]->name, name) != 0) {
        printf("Bail out! %s: wrong descriptor\n", path);
        exit(1);
    }
    return plugin->sinks[0];
}

static struct aw_config *config_create(const struct aw_option *const *options, const char *const *pairs)
{
    struct aw_config *c = calloc(1, sizeof *c);
    c->options = options;
    for (size_t i = 0; pairs != NULL && pairs[i] != NULL; i += 2) {
        option(c, pairs[i]);
        c->keys[c->count] = strdup(pairs[i]);
        c->values[c->count++] = strdup(pairs[i + 1]);
    }
    return c;
}

static void config_destroy(struct aw_config *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->keys[i]);
        free(c->values[i]);
    }
    free(c);
}

struct mh_instance *mh_create(const char *class, const char *const *pairs)
{
    struct mh_instance *m = calloc(1, sizeof *m);
    m->host = (struct aw_host){sizeof m->host,   AW_ABI_MAJOR,      AW_ABI_MINOR,       "0.1.0",
                               "test",           host_vlog,         host_vset_error,    host_vevent_error,
                               host_event_field, host_event_number, host_event_encoded, host_config_str,
                               host_config_int,  host_config_bool,  host_config_list,   host_metric_register,
                               host_metric_add,  host_now_ns,       host_mono_ns,       NULL,
                               host_extension};
    pthread_mutex_init(&m->lock, NULL);
    m->class = mh_class(class);
    m->config = config_create(m->class->options, pairs);
    int32_t r = m->class->create(&m->host, m->config, &m->sink);
    if (r == AW_OK)
        return m;
    snprintf(last_error, sizeof last_error, "%d %s", r, m->error);
    config_destroy(m->config);
    pthread_mutex_destroy(&m->lock);
    free(m);
    return NULL;
}

int32_t mh_reconfigure(struct mh_instance *m, const char *const *pairs)
{
    struct aw_config *c = config_create(m->class->options, pairs);
    int32_t r = m->class->reconfigure(m->sink, c);
    config_destroy(m->config);
    m->config = c;
    return r;
}

const char *mh_last_error(void)
{
    return last_error;
}

void mh_destroy(struct mh_instance *m)
{
    if (m == NULL)
        return;
    m->class->destroy(m->sink);
    config_destroy(m->config);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int32_t mh_start(struct mh_instance *m)
{
    return m->class->start(m->sink);
}

int32_t mh_stop(struct mh_instance *m)
{
    return m->class->stop(m->sink, 0);
}

int32_t mh_flush(struct mh_instance *m, uint64_t *ret_seq)
{
    uint64_t ignored;
    return m->class->flush(m->sink, 0, ret_seq != NULL ? ret_seq : &ignored);
}

double mh_metric(struct mh_instance *m, const char *name)
{
    double v = -1;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->metric_count; i++)
        if (strcmp(m->metric_names[i], name) == 0)
            v = m->metrics[i];
    pthread_mutex_unlock(&m->lock);
    return v;
}

bool mh_logged(struct mh_instance *m, const char *text)
{
    pthread_mutex_lock(&m->lock);
    bool there = strstr(m->log, text) != NULL;
    pthread_mutex_unlock(&m->lock);
    return there;
}

void mh_clear(struct mh_instance *m)
{
    pthread_mutex_lock(&m->lock);
    m->log[0] = m->error[0] = m->event_error[0] = '\0';
    m->log_len = 0;
    m->error_code = 0;
    pthread_mutex_unlock(&m->lock);
}

/* ---- writing ---- */

int32_t mh_write_events(struct mh_instance *m, struct aw_event *const *events, size_t count, uint32_t flags,
                        uint64_t deadline_ns, uint8_t *status)
{
    struct aw_batch b = {sizeof b,
                         flags,
                         events[0]->numbers[0],
                         events[count - 1]->numbers[0],
                         deadline_ns,
                         count,
                         (const struct aw_event *const *)events};
    struct aw_result r = {sizeof r, 0, count, status};
    memset(status, AW_EVENT_UNKNOWN, count);
    return m->class->write(m->sink, &b, &r);
}

int32_t mh_write(struct mh_instance *m, uint64_t from, uint64_t to, uint32_t flags, uint8_t *status)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **events = calloc(n, sizeof *events);
    uint8_t *own = status != NULL ? status : calloc(n, 1);
    for (size_t i = 0; i < n; i++)
        events[i] = mh_event(from + i);
    int32_t r = mh_write_events(m, events, n, flags, 0, own);
    for (size_t i = 0; i < n; i++)
        mh_event_free(events[i]);
    free(events);
    if (status == NULL)
        free(own);
    return r;
}

bool mh_all(const uint8_t *status, size_t count, uint8_t want)
{
    for (size_t i = 0; i < count; i++)
        if (status[i] != want)
            return false;
    return true;
}

/* ---- reading ---- */

const struct aw_sink_query *mh_query(struct mh_instance *m)
{
    return m->class->extension(m->sink, AW_EXT_SINK_QUERY);
}

void mh_query_init(struct aw_query *q)
{
    *q = (struct aw_query){.struct_size = sizeof *q, .since_ns = INT64_MIN, .until_ns = INT64_MAX};
}

struct mh_rows mh_read(struct mh_instance *m, const struct aw_query *q, size_t page)
{
    struct mh_rows out = {.rising = true, .same = true};
    struct aw_query all;
    struct aw_row *rows = calloc(page, sizeof *rows);
    size_t n;
    void *read;
    mh_query_init(&all);
    out.code = mh_query(m)->open(m->sink, q != NULL ? q : &all, &read);
    bool opened = out.code == AW_OK;
    for (size_t i = 0; i < page; i++)
        rows[i].struct_size = sizeof rows[i];
    while (out.code == AW_OK && (out.code = mh_query(m)->next(read, rows, page, &n)) == AW_OK && n > 0) {
        for (size_t i = 0; i < n; i++) {
            struct aw_event *e = mh_event(rows[i].seq);
            out.same =
                out.same && rows[i].json.len == e->json_len && memcmp(rows[i].json.ptr, e->json, e->json_len) == 0;
            out.rising = out.rising && (out.count == 0 || rows[i].seq == out.last_seq + 1);
            mh_event_free(e);
            if (out.count++ == 0)
                out.first_seq = rows[i].seq;
            out.last_seq = rows[i].seq;
            if (rows[i].cursor.len > 200)
                out.code = AW_E_INTERNAL;
            snprintf(out.cursor, sizeof out.cursor, "%.*s", (int)rows[i].cursor.len, rows[i].cursor.ptr);
            snprintf(out.location, sizeof out.location, "%.*s", (int)rows[i].location.len, rows[i].location.ptr);
        }
    }
    if (opened)
        mh_query(m)->close(read);
    free(rows);
    return out;
}

int32_t mh_position(struct mh_instance *m, struct aw_position *ret)
{
    const struct aw_sink_position *p = m->class->extension(m->sink, AW_EXT_SINK_POSITION);
    *ret = (struct aw_position){.struct_size = sizeof *ret};
    return p->position(m->sink, ret);
}
