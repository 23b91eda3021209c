/* host_metrics.c - what plugins measure: metric_register/add of struct aw_host, and AW_EXT_HOST_METRICS.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Values are in metrics/, where everybody reads them; here is only what a plugin's numbers stand for. Adding takes no
 * lock; registering takes `lock`, which guards the table of definitions.
 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <pthread.h>
#include <stdatomic.h>

struct definition {
    char name[METRICS_NAME_MAX + 1], help[128];
    int32_t kind;
    char label_text[METRICS_MAX_LABELS][33];
    const char *labels[METRICS_MAX_LABELS + 1]; /* point into label_text, NULL-ended */
    double bounds[METRICS_BOUNDS];
    size_t bound_count;
};

struct host_metrics {
    pthread_mutex_t lock; /* definitions, own */
    size_t count;
    struct definition definitions[METRICS_PLUGIN_METRICS];
    struct metrics *own; /* when nobody said where they go */
    _Atomic(struct metrics *) metrics;
    size_t sink;
};

struct host_metrics *host_metrics_create(void)
{
    struct host_metrics *h = calloc(1, sizeof *h);
    if (h && pthread_mutex_init(&h->lock, NULL) != 0) {
        free(h);
        h = NULL;
    }
    return h;
}

void host_metrics_destroy(struct host_metrics *h)
{
    if (!h)
        return;
    metrics_destroy(h->own);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

void host_metrics_bind(struct host_metrics *h, struct metrics *metrics, size_t sink)
{
    h->sink = sink;
    atomic_store_explicit(&h->metrics, metrics, memory_order_release);
}

const struct metrics_sink *host_metrics_sink(struct host_metrics *h)
{
    struct metrics *m = atomic_load_explicit(&h->metrics, memory_order_acquire);
    return m ? &m->sinks[h->sink] : NULL;
}

AW_PRINTF(3, 4)
static int32_t refused(const struct aw_host *h, int32_t code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    h->vset_error(h, code, fmt, ap);
    va_end(ap);
    return code;
}

/* lock held. */
static struct metrics *place(struct host_metrics *h)
{
    struct metrics *m = atomic_load_explicit(&h->metrics, memory_order_acquire);
    if (!m && metrics_create(1, &h->own) == 0) {
        metrics_name_sink(h->own, 0, "", "");
        host_metrics_bind(h, h->own, 0);
        m = h->own;
    }
    return m;
}

/* lock held. Copies a spec that passed the checks. */
static struct metrics_spec remember(struct host_metrics *h, const struct metrics_spec *spec, uint32_t *ret)
{
    size_t i = 0;
    while (i < h->count && strcmp(h->definitions[i].name, spec->name) != 0)
        i++;
    struct definition *d = &h->definitions[i];
    if (i == h->count) {
        h->count++;
        memcpy(d->name, spec->name, strlen(spec->name));
        if (spec->help)
            memcpy(d->help, spec->help, strnlen(spec->help, sizeof d->help - 1));
        d->kind = spec->kind;
        for (size_t k = 0; spec->labels && spec->labels[k]; k++) {
            memcpy(d->label_text[k], spec->labels[k], strlen(spec->labels[k]));
            d->labels[k] = d->label_text[k];
        }
        d->bound_count = spec->bound_count;
        if (spec->bound_count > 0)
            memcpy(d->bounds, spec->bounds, spec->bound_count * sizeof d->bounds[0]);
    }
    *ret = (uint32_t)i;
    return (struct metrics_spec){d->kind, d->name, d->help, d->labels, d->bounds, d->bound_count};
}

/* One with labels has no series yet: the other definitions of this sink are looked at here. lock held. */
static int32_t check(const struct aw_host *h, struct host_metrics *hm, struct metrics *m,
                     const struct metrics_spec *spec)
{
    char why[300] = "";
    int32_t rc = metrics_check_spec(m, hm->sink, spec, why, sizeof why);
    if (rc != AW_OK)
        return refused(h, rc, "%s", why);
    for (size_t i = 0; i < hm->count; i++) {
        const struct definition *d = &hm->definitions[i];
        if (strcmp(d->name, spec->name) != 0)
            continue;
        bool same = d->kind == spec->kind && d->bound_count == spec->bound_count;
        size_t k = 0;
        for (; same && spec->labels && spec->labels[k]; k++)
            same = d->labels[k] && strcmp(d->labels[k], spec->labels[k]) == 0;
        same = same && !d->labels[k];
        for (k = 0; same && k < spec->bound_count; k++)
            same = !(d->bounds[k] < spec->bounds[k]) && !(d->bounds[k] > spec->bounds[k]);
        return same ? AW_OK
                    : refused(h, AW_E_INTERNAL, "metric \"%s\": it is there with another kind, other labels or bounds",
                              spec->name);
    }
    if (hm->count == METRICS_PLUGIN_METRICS)
        return refused(h, AW_E_UNSUPPORTED, "metric \"%s\": a sink has at most %d", spec->name, METRICS_PLUGIN_METRICS);
    return AW_OK;
}

/* with_series: makes the one that has no labels, and *ret is its number; else *ret is the metric's. */
static int32_t define(const struct aw_host *h, const struct metrics_spec *spec, bool with_series, uint32_t *ret)
{
    struct host_metrics *hm = host_metrics_of(h);
    char why[300] = "";
    uint32_t metric = 0;
    (void)pthread_mutex_lock(&hm->lock);
    struct metrics *m = place(hm);
    int32_t rc = m ? check(h, hm, m, spec) : refused(h, AW_E_NOMEM, "out of memory");
    if (rc == AW_OK) {
        struct metrics_spec kept = remember(hm, spec, &metric);
        if (with_series || !kept.labels[0])
            rc = metrics_series(m, hm->sink, &kept, NULL, with_series ? ret : &(uint32_t){0}, why, sizeof why);
        if (rc != AW_OK)
            (void)refused(h, rc, "%s", why);
    }
    (void)pthread_mutex_unlock(&hm->lock);
    if (rc == AW_OK && !with_series)
        *ret = metric;
    return rc;
}

int32_t host_metric_register(const struct aw_host *h, int32_t kind, const char *name, const char *help,
                             uint32_t *ret_id)
{
    if (kind != AW_METRIC_COUNTER && kind != AW_METRIC_GAUGE)
        return refused(h, AW_E_INTERNAL, "metric \"%.70s\": metric_register() makes counters and gauges, not kind %d",
                       name ? name : "", (int)kind);
    struct metrics_spec spec = {.kind = kind, .name = name, .help = help};
    return define(h, &spec, true, ret_id);
}

void host_metric_add(const struct aw_host *h, uint32_t id, double value)
{
    struct host_metrics *hm = host_metrics_of(h);
    struct metrics *m = atomic_load_explicit(&hm->metrics, memory_order_acquire);
    if (m)
        metrics_series_add(&m->sinks[hm->sink], id, value);
}

static int32_t extension_define(const struct aw_host *h, const struct aw_metric *metric, uint32_t *ret_metric)
{
    if (!metric || !ret_metric || !AW_HAS(struct aw_metric, metric, bound_count))
        return refused(h, AW_E_INTERNAL, "struct aw_metric: struct_size is too small");
    struct metrics_spec spec = {.kind = metric->kind,
                                .name = metric->name,
                                .help = metric->help,
                                .labels = metric->labels,
                                .bounds = metric->bounds,
                                .bound_count = metric->bound_count};
    return define(h, &spec, false, ret_metric);
}

static int32_t extension_series(const struct aw_host *h, uint32_t metric, const char *const *values,
                                uint32_t *ret_series)
{
    struct host_metrics *hm = host_metrics_of(h);
    char why[300] = "";
    (void)pthread_mutex_lock(&hm->lock);
    int32_t rc;
    if (metric >= hm->count) {
        rc = refused(h, AW_E_INTERNAL, "series(): there is no metric %u", metric);
    } else {
        const struct definition *d = &hm->definitions[metric];
        struct metrics_spec spec = {d->kind, d->name, d->help, d->labels, d->bounds, d->bound_count};
        size_t k = 0;
        while (d->labels[k] && values && values[k])
            k++;
        rc = d->labels[k]
                 ? refused(h, AW_E_INTERNAL, "metric \"%s\": no value for label \"%s\"", d->name, d->labels[k])
                 : metrics_series(atomic_load(&hm->metrics), hm->sink, &spec, values, ret_series, why, sizeof why);
        if (rc != AW_OK && why[0])
            (void)refused(h, rc, "%s", why);
    }
    (void)pthread_mutex_unlock(&hm->lock);
    return rc;
}

const struct aw_host_metrics host_metrics_extension = {sizeof host_metrics_extension, 0, extension_define,
                                                       extension_series, host_metric_add};
