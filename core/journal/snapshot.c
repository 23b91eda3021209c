/* snapshot.c - the chain heads in a compact form, so that old segments can go. SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot holds all heads with seq < below, below being the first seq of the segment in which it begins. A head that
 * moves on while the snapshot is written is found again among the events from `below` on. So the snapshot is worth
 * something once all events up to the head at its end are on disk; and then nothing older is needed to continue every
 * chain.
 */
#include "config.h"

#include "journal/internal.h"

#define SEGMENTS_BETWEEN 16 /* many short runs leave many small segments: do not let them pile up */
#define WORTH 4             /* bytes of journal per byte of snapshot */
#define CHUNKS_PER_STEP 16

static size_t segments_since(struct journal *j, const struct snapshot *s)
{
    size_t n = 0;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = j->segment_count; i > 0; i--, n++)
        if (segment_compare(j->segments[i - 1]->first_seq, j->segments[i - 1]->number, s->below, s->number) <= 0)
            break;
    pthread_mutex_unlock(&j->list_lock);
    return n;
}

static bool due(struct journal *j)
{
    const struct snapshot *last = &j->snapshots[0];
    if (!last->complete || atomic_load(&j->full))
        return true;
    brief_lock(&j->append_lock);
    uint64_t heads = chain_table_count(j->chains);
    brief_unlock(&j->append_lock);
    return j->written_bytes - last->journal_bytes >= WORTH * heads * sizeof(struct chain_head) ||
           segments_since(j, last) >= SEGMENTS_BETWEEN;
}

void snapshot_begin(struct journal *j)
{
    if (j->snapshots[0].active || !due(j))
        return;
    if (j->snapshots[0].complete)
        j->snapshots[1] = j->snapshots[0];
    j->snapshots[0] = (struct snapshot){.active = true,
                                        .below = j->current->first_seq,
                                        .number = j->current->number,
                                        .journal_bytes = j->written_bytes};
}

static int finish(struct journal *j, struct snapshot *s)
{
    brief_lock(&j->append_lock);
    uint64_t head = j->next_seq - 1;
    brief_unlock(&j->append_lock);
    struct snapshot_end_payload end = {
        .below = s->below, .number = s->number, .heads = s->heads, .head_seq = head, .lost = atomic_load(&j->lost)};
    int rc = writer_put(j, RECORD_KIND_SNAPSHOT_END, &end, sizeof end);
    if (rc < 0)
        return rc;
    s->head_seq = head;
    s->active = false;
    s->complete = true;
    if (atomic_load(&j->full))
        waitpoint_wake(&j->keeper); /* it waits for this to trim */
    return 0;
}

int snapshot_step(struct journal *j)
{
    struct snapshot *s = &j->snapshots[0];
    for (int i = 0; i < CHUNKS_PER_STEP; i++) {
        struct snapshot_payload *p = (struct snapshot_payload *)(void *)(j->scratch + RECORD_HEADER);
        struct chain_head *heads = (struct chain_head *)(void *)(p + 1);
        uint64_t cursor = s->cursor;
        size_t n = 0;
        brief_lock(&j->append_lock);
        bool more = chain_table_copy(j->chains, &cursor, s->below, heads, SNAPSHOT_HEADS, &n);
        brief_unlock(&j->append_lock);
        *p = (struct snapshot_payload){s->below, s->number, (uint32_t)n};
        int rc = n > 0 ? writer_put(j, RECORD_KIND_SNAPSHOT, p, sizeof *p + n * sizeof *heads) : 0;
        if (rc < 0)
            return rc; /* the cursor stays: the same part is tried again */
        s->heads += n;
        s->cursor = cursor;
        if (!more)
            return finish(j, s);
    }
    return 0;
}
