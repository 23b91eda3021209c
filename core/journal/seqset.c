/* seqset.c - see seqset.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/seqset.h"

#include "base/base.h"

#include <inttypes.h>
#include <stdio.h>

void seqset_free(struct seq_set *set)
{
    free(set->ranges);
    *set = (struct seq_set){NULL, 0, 0};
}

/* Index of the first range that ends at or behind seq. */
static size_t lower(const struct seq_set *set, uint64_t seq)
{
    size_t lo = 0, hi = set->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (set->ranges[mid].last < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Puts `with` (n of them) in place of ranges [from, to). */
static int splice(struct seq_set *set, size_t from, size_t to, const struct seq_range *with, size_t n)
{
    size_t count = set->count - (to - from) + n;
    if (count > set->capacity) {
        size_t capacity = count * 2;
        struct seq_range *grown = realloc(set->ranges, capacity * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        set->ranges = grown;
        set->capacity = capacity;
    }
    if (set->count > to)
        memmove(set->ranges + from + n, set->ranges + to, (set->count - to) * sizeof *set->ranges);
    if (n > 0)
        memcpy(set->ranges + from, with, n * sizeof *with);
    set->count = count;
    return 0;
}

int seqset_add(struct seq_set *set, uint64_t first, uint64_t last)
{
    if (first > last)
        return 0;
    size_t from = lower(set, first > 0 ? first - 1 : 0), to = from;
    struct seq_range r = {first, last};
    while (to < set->count && (last == UINT64_MAX || set->ranges[to].first <= last + 1)) {
        if (set->ranges[to].first < r.first)
            r.first = set->ranges[to].first;
        if (set->ranges[to].last > r.last)
            r.last = set->ranges[to].last;
        to++;
    }
    return splice(set, from, to, &r, 1);
}

int seqset_remove(struct seq_set *set, uint64_t first, uint64_t last)
{
    size_t from = lower(set, first), to = from, n = 0;
    struct seq_range rest[2];
    while (to < set->count && set->ranges[to].first <= last) {
        struct seq_range r = set->ranges[to++];
        if (r.first < first)
            rest[n++] = (struct seq_range){r.first, first - 1};
        if (r.last > last)
            rest[n++] = (struct seq_range){last + 1, r.last};
    }
    return from == to ? 0 : splice(set, from, to, rest, n);
}

const struct seq_range *seqset_find(const struct seq_set *set, uint64_t seq)
{
    size_t i = lower(set, seq);
    return i < set->count && set->ranges[i].first <= seq ? &set->ranges[i] : NULL;
}

uint64_t seqset_total(const struct seq_set *set)
{
    uint64_t n = 0;
    for (size_t i = 0; i < set->count; i++)
        n += set->ranges[i].last - set->ranges[i].first + 1;
    return n;
}

const char *seqset_text(const struct seq_set *set, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < set->count; i++) {
        const struct seq_range *r = &set->ranges[i];
        char one[64];
        int n = r->first == r->last
                    ? snprintf(one, sizeof one, "%s%" PRIu64, i ? ", " : "", r->first)
                    : snprintf(one, sizeof one, "%s%" PRIu64 "-%" PRIu64, i ? ", " : "", r->first, r->last);
        if (at + (size_t)n + 32 > size) {
            snprintf(buf + at, size - at, " and %zu more", set->count - i);
            break;
        }
        memcpy(buf + at, one, (size_t)n + 1);
        at += (size_t)n;
    }
    return buf;
}
