/* segments.c - the list of segments, and what is known to be missing. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/fs.h"
#include "journal/internal.h"

#include <fcntl.h>

int segments_insert(struct journal *j, struct segment *s)
{
    int rc = 0;
    pthread_mutex_lock(&j->list_lock);
    if (j->segment_count == j->segment_capacity) {
        size_t capacity = j->segment_capacity ? j->segment_capacity * 2 : 32;
        struct segment **grown = realloc(j->segments, capacity * sizeof *grown);
        if (!grown) {
            rc = -ENOMEM;
            goto out;
        }
        j->segments = grown;
        j->segment_capacity = capacity;
    }
    size_t at = j->segment_count;
    while (at > 0 &&
           segment_compare(j->segments[at - 1]->first_seq, j->segments[at - 1]->number, s->first_seq, s->number) > 0) {
        j->segments[at] = j->segments[at - 1];
        at--;
    }
    j->segments[at] = s;
    j->segment_count++;
out:
    pthread_mutex_unlock(&j->list_lock);
    return rc;
}

void segments_remove(struct journal *j, struct segment *s)
{
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = 0; i < j->segment_count; i++) {
        if (j->segments[i] == s) {
            memmove(j->segments + i, j->segments + i + 1, (j->segment_count - i - 1) * sizeof *j->segments);
            j->segment_count--;
            break;
        }
    }
    pthread_mutex_unlock(&j->list_lock);
    free(s);
}

static struct segment_facts facts_of(const struct journal *j, size_t i)
{
    const struct segment *s = j->segments[i];
    return (struct segment_facts){.first_seq = s->first_seq,
                                  .last_seq = atomic_load_explicit(&s->last_seq, memory_order_acquire),
                                  .size = atomic_load_explicit(&s->size, memory_order_acquire),
                                  .number = s->number,
                                  .last = i + 1 == j->segment_count};
}

bool segments_find(struct journal *j, uint64_t seq, uint64_t first, uint32_t number, struct segment_facts *ret)
{
    bool found = false;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = j->segment_count; i > 0 && !found; i--) {
        struct segment_facts f = facts_of(j, i - 1);
        if (first != 0 && segment_compare(f.first_seq, f.number, first, number) >= 0)
            continue;
        found = f.first_seq <= seq && seq <= f.last_seq;
        if (found)
            *ret = f;
    }
    pthread_mutex_unlock(&j->list_lock);
    return found;
}

bool segments_get(struct journal *j, uint64_t first, uint32_t number, struct segment_facts *ret)
{
    bool found = false;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = j->segment_count; i > 0 && !found; i--) {
        found = j->segments[i - 1]->first_seq == first && j->segments[i - 1]->number == number;
        if (found)
            *ret = facts_of(j, i - 1);
    }
    pthread_mutex_unlock(&j->list_lock);
    return found;
}

bool segments_after(struct journal *j, uint64_t seq, struct segment_facts *ret)
{
    bool found = false;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = 0; i < j->segment_count && !found; i++) {
        *ret = facts_of(j, i);
        found = ret->last_seq >= ret->first_seq && ret->last_seq > seq;
    }
    pthread_mutex_unlock(&j->list_lock);
    return found;
}

void segments_update_oldest(struct journal *j)
{
    uint64_t oldest = 0;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = 0; i < j->segment_count && oldest == 0; i++) {
        struct segment_facts f = facts_of(j, i);
        if (f.last_seq >= f.first_seq)
            oldest = f.first_seq;
    }
    /* 0: nothing is kept; journal_oldest() then says head + 1. */
    atomic_store_explicit(&j->oldest_seq, oldest, memory_order_release);
    if (oldest > 0)
        (void)seqset_remove(&j->missing, 0, oldest - 1); /* removing a prefix never needs memory */
    pthread_mutex_unlock(&j->list_lock);
}

int segment_open_facts(struct journal *j, const struct segment_facts *facts, int *ret_fd)
{
    char name[SEGMENT_NAME_MAX];
    segment_name(facts->first_seq, facts->number, name);
    return fs_openat(j->dirfd, name, O_RDONLY | O_NOFOLLOW, 0, ret_fd);
}

void missing_add(struct journal *j, uint64_t first, uint64_t last)
{
    pthread_mutex_lock(&j->list_lock);
    int rc = seqset_add(&j->missing, first, last);
    pthread_mutex_unlock(&j->list_lock);
    if (rc < 0)
        journal_log(j, AW_LOG_WARNING, "no memory to remember that events %llu-%llu are missing",
                    (unsigned long long)first, (unsigned long long)last);
    atomic_fetch_add(&j->lost, last - first + 1);
    atomic_store(&j->notes_wanted, true);
}

bool missing_find(struct journal *j, uint64_t seq, struct seq_range *ret)
{
    pthread_mutex_lock(&j->list_lock);
    const struct seq_range *r = j->missing.count ? seqset_find(&j->missing, seq) : NULL;
    if (r)
        *ret = *r;
    pthread_mutex_unlock(&j->list_lock);
    return r != NULL;
}
