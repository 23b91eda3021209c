/* units.c - sizes, durations, and "did you mean". See registry.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <stdio.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Bare K, M and G are refused: half the world reads them as 1000, the other half as 1024. */
static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {"KB", 1000},
    {"kB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", INT64_C(1000000000000)},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"m", INT64_C(60) * 1000000000},
    {"min", INT64_C(60) * 1000000000},
    {"h", INT64_C(3600) * 1000000000},
    {"d", INT64_C(86400) * 1000000000},
    {NULL, 0},
};

/* DIGITS [spaces] UNIT. Fractions are not needed: the next smaller unit says the same. */
static int parse_with_unit(const char *text, const struct unit *units, bool zero_needs_no_unit, int64_t *ret)
{
    const char *p = text;
    int64_t value = 0;
    bool overflow = false;
    if (*p < '0' || *p > '9')
        return -EINVAL;
    for (; *p >= '0' && *p <= '9'; p++)
        overflow |= __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *p - '0', &value);
    p += strspn(p, " ");
    if (zero_needs_no_unit && *p == '\0' && value == 0 && !overflow) {
        *ret = 0;
        return 0;
    }
    for (const struct unit *u = units; u->name; u++) {
        if (strcmp(p, u->name) != 0)
            continue;
        if (overflow || __builtin_mul_overflow(value, u->factor, &value))
            return -ERANGE;
        *ret = value;
        return 0;
    }
    return -EINVAL;
}

int schema_parse_size(const char *text, int64_t *ret_bytes)
{
    return parse_with_unit(text, size_units, false, ret_bytes);
}

int schema_parse_duration(const char *text, int64_t *ret_ns)
{
    return parse_with_unit(text, duration_units, true, ret_ns);
}

/* The largest unit that says it without a rest. */
static void format_with_unit(int64_t value, const struct unit *const *order, char *buf, size_t size)
{
    for (; *order; order++) {
        if (value != 0 && value % (*order)->factor == 0) {
            snprintf(buf, size, "%lld%s", (long long)(value / (*order)->factor), (*order)->name);
            return;
        }
    }
    snprintf(buf, size, "%lld", (long long)value);
}

void schema_format_size(int64_t bytes, char *buf, size_t size)
{
    static const struct unit *const order[] = {&size_units[5], &size_units[4], &size_units[3], &size_units[2], NULL};
    if (bytes == INT64_MAX)
        snprintf(buf, size, "9223372036854775807");
    else
        format_with_unit(bytes, order, buf, size);
}

void schema_format_duration(int64_t ns, char *buf, size_t size)
{
    static const struct unit *const order[] = {
        &duration_units[7], &duration_units[6], &duration_units[4], &duration_units[3],
        &duration_units[2], &duration_units[1], &duration_units[0], NULL};
    format_with_unit(ns, order, buf, size);
}

/* ---- nearest name ---- */
#define NEAREST_MAX 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Damerau-Levenshtein, adjacent transpositions: the errors of typing. */
static size_t distance(const char *a, size_t la, const char *b, size_t lb)
{
    size_t rows[3][NEAREST_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= lb; j++)
        last[j] = j;
    for (size_t i = 1; i <= la; i++) {
        now[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *t = before;
        before = last;
        last = now;
        now = t;
    }
    return last[lb];
}

const char *schema_nearest(const char *key, const char *const *known)
{
    size_t len = strlen(key);
    if (len == 0 || len > NEAREST_MAX || !known)
        return NULL;
    size_t limit = len <= 2 ? 1 : len <= 5 ? 2 : 3; /* further away, a guess helps nobody */
    size_t best = limit + 1;
    const char *found = NULL;
    for (; *known; known++) {
        size_t n = strlen(*known);
        if (n > NEAREST_MAX)
            continue;
        size_t d = distance(key, len, *known, n);
        if (d < best && d < n) {
            best = d;
            found = *known;
        }
    }
    return found;
}
