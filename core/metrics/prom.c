/* prom.c - see text.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "metrics/text.h"

#include <math.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- growing text ---- */

static void add(struct prom *t, const char *s, size_t len)
{
    if (t->failed)
        return;
    if (t->size - t->len <= len) {
        size_t size = t->size ? t->size * 2 : 8192;
        while (size - t->len <= len)
            size *= 2;
        char *bigger = realloc(t->ptr, size);
        if (!bigger) {
            t->failed = true;
            return;
        }
        t->ptr = bigger;
        t->size = size;
    }
    memcpy(t->ptr + t->len, s, len);
    t->len += len;
    t->ptr[t->len] = '\0';
}

void prom_puts(struct prom *t, const char *s)
{
    add(t, s, strlen(s));
}

void prom_printf(struct prom *t, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        t->failed = true;
    else
        add(t, text, (size_t)n);
}

/* Bytes of the UTF-8 character at s; 0: none. */
static size_t character(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool wrong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
                 (s[0] == 0xf4 && s[1] > 0x8f);
    return wrong ? 0 : n;
}

static void add_escaped(struct prom *t, const char *s, size_t len, bool quote)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < len;) {
        size_t n = character(p + i, len - i);
        if (s[i] == '\\')
            add(t, "\\\\", 2);
        else if (s[i] == '\n')
            add(t, "\\n", 2);
        else if (s[i] == '"' && quote)
            add(t, "\\\"", 2);
        else if (n == 0)
            add(t, "?", 1);
        else
            add(t, s + i, n);
        i += n ? n : 1;
    }
}

void prom_value(struct prom *t, const char *s, size_t len)
{
    add_escaped(t, s, len, true);
}

void prom_seconds(struct prom *t, uint64_t ns)
{
    char text[40];
    int n = snprintf(text, sizeof text, "%" PRIu64 ".%09" PRIu64, ns / 1000000000u, ns % 1000000000u);
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    add(t, text, (size_t)n);
}

void prom_double(struct prom *t, double value)
{
    if (isnan(value)) {
        prom_puts(t, "NaN");
        return;
    }
    if (isinf(value)) {
        prom_puts(t, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    char text[40], out[40];
    (void)snprintf(text, sizeof text, "%.17g", value);
    double back = 0;
    for (int digits = 6; digits < 17; digits += 3) { /* the short form, when it is the same number */
        char brief[40];
        (void)snprintf(brief, sizeof brief, "%.*g", digits, value);
        if (sscanf(brief, "%lf", &back) == 1 && !(back < value) && !(back > value)) {
            memcpy(text, brief, sizeof text);
            break;
        }
    }
    size_t n = 0;
    for (size_t i = 0; text[i]; i++) { /* whatever the locale has for a point becomes one */
        bool plain = strchr("0123456789+-e", text[i]) != NULL;
        if (plain)
            out[n++] = text[i];
        else if (n == 0 || out[n - 1] != '.')
            out[n++] = '.';
    }
    add(t, out, n);
}

/* ---- families and samples ---- */

void prom_family(struct prom *t, const char *prefix, const char *name, const char *type, const char *help)
{
    prom_puts(t, "# HELP ");
    prom_puts(t, prefix);
    prom_puts(t, name);
    prom_puts(t, " ");
    add_escaped(t, help, strlen(help), false);
    prom_puts(t, "\n# TYPE ");
    prom_puts(t, prefix);
    prom_puts(t, name);
    prom_printf(t, " %s\n", type);
}

void prom_sink_label(struct prom *t, size_t sink, const char *end)
{
    const char *name = t->snapshot->copy.sinks[sink].name;
    prom_puts(t, "sinkName=\"");
    prom_value(t, name, strlen(name));
    prom_puts(t, "\"");
    prom_puts(t, end);
}

void prom_sample(struct prom *t, const char *name, const char *suffix, size_t sink)
{
    prom_puts(t, name);
    prom_puts(t, suffix);
    if (sink != PROM_NO_SINK) {
        prom_puts(t, "{");
        prom_sink_label(t, sink, "}");
    }
    prom_puts(t, " ");
}

bool prom_has_sink(const struct prom *t, size_t sink)
{
    const struct metrics_sink *sinks = t->snapshot->copy.sinks;
    for (size_t i = 0; i < sink; i++)
        if (strcmp(sinks[i].name, sinks[sink].name) == 0)
            return false;
    return sinks[sink].name[0] != '\0';
}

/* ---- plugins' metrics ---- */

struct found {
    size_t sink;
    const struct metrics_series *series;
};

static int by_name(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int order = strcmp(x->series->name, y->series->name);
    if (order != 0)
        return order;
    if (x->sink != y->sink)
        return x->sink < y->sink ? -1 : 1;
    return x->series < y->series ? -1 : x->series > y->series; /* in the order in which they were made */
}

static double value_of(const struct metrics_series *s)
{
    uint64_t bits = atomic_load_explicit(&s->value, memory_order_relaxed);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* {sinkName="…",label="value",…,le="…"}; le NULL: none. */
static void put_labels(struct prom *t, const struct found *f, const double *le, bool infinite)
{
    const char *p = f->series->labels, *end = p + f->series->label_size;
    prom_puts(t, "{");
    prom_sink_label(t, f->sink, "");
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        prom_puts(t, ",");
        prom_puts(t, p);
        prom_puts(t, "=\"");
        prom_value(t, value, strlen(value));
        prom_puts(t, "\"");
        p = value + strlen(value) + 1;
    }
    if (le || infinite) {
        prom_puts(t, ",le=\"");
        if (le)
            prom_double(t, *le);
        prom_puts(t, le ? "\"" : "+Inf\"");
    }
    prom_puts(t, "} ");
}

static void put_series(struct prom *t, const struct found *f)
{
    const struct metrics_series *s = f->series;
    bool histogram = s->kind == AW_METRIC_HISTOGRAM;
    uint64_t sum = 0;
    for (size_t i = 0; histogram && i <= s->bound_count; i++) {
        sum += atomic_load_explicit(&s->count[i], memory_order_relaxed);
        prom_printf(t, "audit_sink_%s_bucket", s->name);
        put_labels(t, f, i < s->bound_count ? &s->bounds[i] : NULL, true);
        prom_printf(t, "%" PRIu64 "\n", sum);
    }
    prom_printf(t, "audit_sink_%s%s", s->name, histogram ? "_sum" : "");
    put_labels(t, f, NULL, false);
    prom_double(t, value_of(s));
    prom_puts(t, "\n");
    if (!histogram)
        return;
    prom_printf(t, "audit_sink_%s_count", s->name);
    put_labels(t, f, NULL, false);
    prom_printf(t, "%" PRIu64 "\n", sum);
}

void prom_plugin_series(struct prom *t)
{
    const struct metrics *m = &t->snapshot->copy;
    size_t n = 0;
    AW_AUTOFREE struct found *list = calloc(m->sink_count * METRICS_SERIES + 1, sizeof *list);
    if (!list) {
        t->failed = true;
        return;
    }
    for (size_t i = 0; i < m->sink_count; i++) {
        uint64_t count =
            prom_has_sink(t, i) ? atomic_load_explicit(&m->sinks[i].series_count, memory_order_relaxed) : 0;
        for (uint64_t k = 0; k < count; k++)
            if (metrics_series_good(&m->sinks[i], k))
                list[n++] = (struct found){i, &m->sinks[i].series[k]};
    }
    qsort(list, n, sizeof *list, by_name);
    const struct metrics_series *head = NULL; /* of the family */
    for (size_t i = 0; i < n; i++) {
        const struct metrics_series *s = list[i].series;
        if (!head || strcmp(head->name, s->name) != 0) {
            head = s;
            prom_family(t, "audit_sink_", s->name,
                        s->kind == AW_METRIC_COUNTER ? "counter"
                        : s->kind == AW_METRIC_GAUGE ? "gauge"
                                                     : "histogram",
                        s->help[0] ? s->help : "A metric of a plugin.");
        }
        if (s->kind == head->kind)
            put_series(t, &list[i]);
    }
}
