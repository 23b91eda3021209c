/* series.c - metrics that plugins make: rules, registration, values. See metrics.h. SPDX-License-Identifier: Apache-2.0
 *
 * A series is complete before series_count grows over it, and never changes afterwards but for its values: readers and
 * those who add need no lock.
 */
#include "config.h"

#include "metrics/metrics.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- rules ---- */

static int32_t refuse(char *why, size_t size, int32_t code, const char *fmt, ...) AW_PRINTF(4, 5);
static int32_t refuse(char *why, size_t size, int32_t code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, size, fmt, ap);
    va_end(ap);
    return code;
}

static bool made_of(const char *s, size_t max, const char *first, const char *rest)
{
    size_t n = s ? strnlen(s, max + 1) : 0;
    return n > 0 && n <= max && strchr(first, s[0]) && strspn(s, rest) == n;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define LETTERS LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"

static bool name_ok(const char *name)
{
    return made_of(name, METRICS_NAME_MAX, LOWER, LOWER "0123456789_");
}

static bool label_ok(const char *label)
{
    return made_of(label, 32, LETTERS, LETTERS "0123456789") && strncmp(label, "__", 2) != 0 &&
           strcmp(label, "sinkName") != 0 && strcmp(label, "le") != 0;
}

static int32_t check_labels(const struct metrics_spec *spec, char *why, size_t size)
{
    for (size_t i = 0; spec->labels && spec->labels[i]; i++) {
        if (i == METRICS_MAX_LABELS)
            return refuse(why, size, AW_E_UNSUPPORTED, "metric \"%s\": has more than %d labels", spec->name,
                          METRICS_MAX_LABELS);
        if (!label_ok(spec->labels[i]))
            return refuse(why, size, AW_E_INTERNAL,
                          "metric \"%s\": label \"%.40s\" must match [a-zA-Z_][a-zA-Z0-9_]{0,31}, and be neither "
                          "\"sinkName\" nor \"le\" nor begin with \"__\"",
                          spec->name, spec->labels[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(spec->labels[i], spec->labels[k]) == 0)
                return refuse(why, size, AW_E_INTERNAL, "metric \"%s\": label \"%s\" is there twice", spec->name,
                              spec->labels[i]);
    }
    return AW_OK;
}

static int32_t check_bounds(const struct metrics_spec *spec, char *why, size_t size)
{
    if (spec->kind != AW_METRIC_HISTOGRAM)
        return spec->bound_count == 0
                   ? AW_OK
                   : refuse(why, size, AW_E_INTERNAL, "metric \"%s\": only a histogram has bounds", spec->name);
    if (spec->bound_count == 0 || spec->bound_count > METRICS_BOUNDS || !spec->bounds)
        return refuse(why, size, AW_E_UNSUPPORTED, "metric \"%s\": a histogram has 1 to %d bounds, not %zu", spec->name,
                      METRICS_BOUNDS, spec->bound_count);
    for (size_t i = 0; i < spec->bound_count; i++)
        if (!isfinite(spec->bounds[i]) || (i > 0 && spec->bounds[i] <= spec->bounds[i - 1]))
            return refuse(why, size, AW_E_INTERNAL, "metric \"%s\": bound %zu must be finite and above the one before",
                          spec->name, i + 1);
    return AW_OK;
}

/* Does a histogram `base` make lines of this name? */
static bool made_by_histogram(const char *name, const char *base)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    size_t n = strlen(base);
    for (size_t i = 0; i < AW_ARRAY_LEN(suffixes); i++)
        if (strncmp(name, base, n) == 0 && strcmp(name + n, suffixes[i]) == 0)
            return true;
    return false;
}

static bool same_labels(const struct metrics_series *s, const struct metrics_spec *spec)
{
    const char *p = s->labels;
    for (size_t i = 0; spec->labels && spec->labels[i]; i++) {
        if (strcmp(p, spec->labels[i]) != 0)
            return false;
        p += strlen(p) + 1;
        p += strlen(p) + 1;
    }
    return *p == '\0';
}

/* How many different names the sink has, and whether this is one. */
static size_t count_names(const struct metrics_sink *sink, const char *name, bool *ret_known)
{
    size_t n = atomic_load_explicit(&sink->series_count, memory_order_acquire), names = 0;
    *ret_known = false;
    for (size_t i = 0; i < n; i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = strcmp(sink->series[k].name, sink->series[i].name) != 0;
        names += first;
        *ret_known = *ret_known || strcmp(sink->series[i].name, name) == 0;
    }
    return names;
}

/* Against all sinks: a name means one thing in the whole text. */
static int32_t check_others(struct metrics *m, const struct metrics_spec *spec, char *why, size_t size)
{
    for (size_t i = 0; i < m->sink_count; i++) {
        const struct metrics_sink *other = &m->sinks[i];
        size_t n = atomic_load_explicit(&other->series_count, memory_order_acquire);
        for (size_t k = 0; k < n; k++) {
            const struct metrics_series *s = &other->series[k];
            bool same = strcmp(s->name, spec->name) == 0;
            if (same && (s->kind != (uint32_t)spec->kind || !same_labels(s, spec)))
                return refuse(why, size, AW_E_INTERNAL,
                              "metric \"%s\": sink \"%s\" has it with another kind or other labels", spec->name,
                              other->name);
            if ((s->kind == AW_METRIC_HISTOGRAM && made_by_histogram(spec->name, s->name)) ||
                (spec->kind == AW_METRIC_HISTOGRAM && made_by_histogram(s->name, spec->name)))
                return refuse(why, size, AW_E_INTERNAL, "metric \"%s\": collides with \"%s\" of sink \"%s\"",
                              spec->name, s->name, other->name);
        }
    }
    return AW_OK;
}

static int32_t check_unlocked(struct metrics *m, size_t sink, const struct metrics_spec *spec, char *why, size_t size)
{
    if (spec->kind != AW_METRIC_COUNTER && spec->kind != AW_METRIC_GAUGE && spec->kind != AW_METRIC_HISTOGRAM)
        return refuse(why, size, AW_E_INTERNAL, "metric \"%.70s\": unknown kind %d", spec->name ? spec->name : "",
                      (int)spec->kind);
    if (!name_ok(spec->name))
        return refuse(why, size, AW_E_INTERNAL, "metric name \"%.70s\" must match [a-z][a-z0-9_]{0,%d}",
                      spec->name ? spec->name : "", METRICS_NAME_MAX - 1);
    if (metrics_name_taken(spec->name))
        return refuse(why, size, AW_E_INTERNAL, "metric name \"%s\": the host itself has audit_sink_%s", spec->name,
                      spec->name);
    int32_t rc = check_labels(spec, why, size);
    if (rc == AW_OK)
        rc = check_bounds(spec, why, size);
    if (rc == AW_OK)
        rc = check_others(m, spec, why, size);
    bool known;
    if (rc == AW_OK && count_names(&m->sinks[sink], spec->name, &known) >= METRICS_PLUGIN_METRICS && !known)
        return refuse(why, size, AW_E_UNSUPPORTED, "metric \"%s\": a sink has at most %d", spec->name,
                      METRICS_PLUGIN_METRICS);
    return rc;
}

int32_t metrics_check_spec(struct metrics *m, size_t sink, const struct metrics_spec *spec, char *why, size_t size)
{
    (void)pthread_mutex_lock(&m->lock);
    int32_t rc = check_unlocked(m, sink, spec, why, size);
    (void)pthread_mutex_unlock(&m->lock);
    return rc;
}

/* ---- registration ---- */

/* "name NUL value NUL …" into out, NUL-ended. false: does not fit. */
static bool put_labels(const struct metrics_spec *spec, const char *const *values, char *out, size_t size,
                       size_t *ret_len)
{
    size_t n = 0;
    for (size_t i = 0; spec->labels && spec->labels[i]; i++) {
        const char *value = values && values[i] ? values[i] : "";
        size_t a = strlen(spec->labels[i]) + 1, b = strnlen(value, size) + 1;
        if (n + a + b + 1 > size)
            return false;
        memcpy(out + n, spec->labels[i], a);
        memcpy(out + n + a, value, b);
        n += a + b;
    }
    out[n] = '\0';
    *ret_len = n;
    return true;
}

/* Text is cut where a character ends. */
static void copy_help(char *out, size_t size, const char *help)
{
    size_t n = help ? strnlen(help, size) : 0;
    if (n == size)
        for (n = size - 1; n > 0 && ((unsigned char)help[n] & 0xc0) == 0x80; n--)
            ;
    memcpy(out, help ? help : "", n);
    out[n] = '\0';
}

static int32_t series_unlocked(struct metrics_sink *s, const struct metrics_spec *spec, const char *const *values,
                               uint32_t *ret, char *why, size_t size)
{
    char labels[sizeof s->series[0].labels];
    size_t len, n = atomic_load_explicit(&s->series_count, memory_order_relaxed);
    if (!put_labels(spec, values, labels, sizeof labels, &len))
        return refuse(why, size, AW_E_UNSUPPORTED, "metric \"%s\": its labels are longer than %zu bytes together",
                      spec->name, sizeof labels - 1);
    for (size_t i = 0; i < n; i++) {
        const struct metrics_series *have = &s->series[i];
        if (strcmp(have->name, spec->name) == 0 && have->label_size == len && memcmp(have->labels, labels, len) == 0) {
            *ret = (uint32_t)i;
            return AW_OK;
        }
    }
    if (n == METRICS_SERIES)
        return refuse(why, size, AW_E_UNSUPPORTED,
                      "metric \"%s\": a sink has at most %d metrics, counted with every set of label values",
                      spec->name, METRICS_SERIES);
    struct metrics_series *made = &s->series[n];
    memset(made, 0, sizeof *made);
    memcpy(made->name, spec->name, strlen(spec->name));
    copy_help(made->help, sizeof made->help, spec->help);
    memcpy(made->labels, labels, len);
    made->kind = (uint32_t)spec->kind;
    made->label_size = (uint32_t)len;
    made->bound_count = (uint32_t)spec->bound_count;
    if (spec->bound_count > 0)
        memcpy(made->bounds, spec->bounds, spec->bound_count * sizeof spec->bounds[0]);
    atomic_store_explicit(&s->series_count, n + 1, memory_order_release);
    *ret = (uint32_t)n;
    return AW_OK;
}

int32_t metrics_series(struct metrics *m, size_t sink, const struct metrics_spec *spec, const char *const *values,
                       uint32_t *ret, char *why, size_t size)
{
    (void)pthread_mutex_lock(&m->lock);
    int32_t rc = check_unlocked(m, sink, spec, why, size);
    if (rc == AW_OK)
        rc = series_unlocked(&m->sinks[sink], spec, values, ret, why, size);
    (void)pthread_mutex_unlock(&m->lock);
    return rc;
}

/* ---- values ---- */

static void set_double(_Atomic uint64_t *word, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    atomic_store_explicit(word, bits, memory_order_relaxed);
}

static void add_double(_Atomic uint64_t *word, double value)
{
    uint64_t bits = atomic_load_explicit(word, memory_order_relaxed), sum_bits;
    do {
        double sum;
        memcpy(&sum, &bits, sizeof sum);
        sum += value;
        memcpy(&sum_bits, &sum, sizeof sum_bits);
    } while (!atomic_compare_exchange_weak_explicit(word, &bits, sum_bits, memory_order_relaxed, memory_order_relaxed));
}

void metrics_series_add(struct metrics_sink *sink, uint32_t series, double value)
{
    if (series >= atomic_load_explicit(&sink->series_count, memory_order_acquire))
        return;
    struct metrics_series *s = &sink->series[series];
    if (s->kind == AW_METRIC_GAUGE) {
        set_double(&s->value, value);
    } else if (s->kind == AW_METRIC_COUNTER) {
        if (value > 0) /* a counter never falls */
            add_double(&s->value, value);
    } else if (!isnan(value)) {
        size_t i = 0;
        while (i < s->bound_count && value > s->bounds[i])
            i++;
        atomic_fetch_add_explicit(&s->count[i], 1, memory_order_relaxed);
        add_double(&s->value, value);
    }
}

/* ---- what a file holds ---- */

static bool text_ends(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

static bool labels_good(const struct metrics_series *s)
{
    const char *p = s->labels, *end = p + s->label_size;
    if (s->label_size >= sizeof s->labels)
        return false;
    const char *names[METRICS_MAX_LABELS];
    for (size_t n = 0; p < end; n++) {
        const char *value = memchr(p, '\0', (size_t)(end - p));
        if (n == METRICS_MAX_LABELS || !value || ++value >= end || !memchr(value, '\0', (size_t)(end - value)) ||
            !label_ok(p))
            return false;
        for (size_t i = 0; i < n; i++)
            if (strcmp(names[i], p) == 0)
                return false;
        names[n] = p;
        p = value + strlen(value) + 1;
    }
    return true;
}

static bool bounds_good(const struct metrics_series *s)
{
    if (s->kind != AW_METRIC_HISTOGRAM)
        return s->kind == AW_METRIC_COUNTER || s->kind == AW_METRIC_GAUGE;
    if (s->bound_count == 0 || s->bound_count > METRICS_BOUNDS)
        return false;
    for (size_t i = 0; i < s->bound_count; i++)
        if (!isfinite(s->bounds[i]) || (i > 0 && s->bounds[i] <= s->bounds[i - 1]))
            return false;
    return true;
}

bool metrics_series_good(const struct metrics_sink *sink, uint64_t series)
{
    const struct metrics_series *s = &sink->series[series];
    if (!text_ends(s->name, sizeof s->name) || !text_ends(s->help, sizeof s->help) || !name_ok(s->name) ||
        metrics_name_taken(s->name) || !labels_good(s) || !bounds_good(s))
        return false;
    for (uint64_t i = 0; i < series; i++)
        if (strcmp(sink->series[i].name, s->name) == 0 && sink->series[i].label_size == s->label_size &&
            memcmp(sink->series[i].labels, s->labels, s->label_size) == 0)
            return false;
    return true;
}
