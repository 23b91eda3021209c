/* progress.c - how far the journal is, for readers in other processes. See journal.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/fs.h"
#include "journal/internal.h"
#include "metrics/layout.h"

#include <fcntl.h>

static void put(_Atomic uint64_t *figures, enum metrics_journal which, uint64_t value)
{
    atomic_store_explicit(&figures[which], value, memory_order_relaxed);
}

void progress_publish(struct journal *j)
{
    _Atomic uint64_t *f = atomic_load_explicit(&j->figures, memory_order_acquire);
    if (!f)
        return;
    /* the same order as in journal_get_usage(): the tail never passes the head */
    uint64_t tail = atomic_load(&j->ring.header->tail), head = atomic_load(&j->ring.header->head);
    put(f, METRICS_HEAD, journal_head_seq(j));
    put(f, METRICS_WRITTEN, journal_written(j));
    put(f, METRICS_DURABLE, journal_durable(j));
    put(f, METRICS_OLDEST, journal_oldest(j));
    put(f, METRICS_BYTES, atomic_load(&j->bytes));
    put(f, METRICS_MAX_BYTES, j->max_size);
    put(f, METRICS_RING_USED, head - tail);
    put(f, METRICS_RING_SIZE, j->ring.size);
    put(f, METRICS_LOST, atomic_load(&j->lost));
    put(f, METRICS_RECOVERED, atomic_load(&j->recovered));
}

void journal_publish(struct journal *journal)
{
    _Atomic uint64_t *f = atomic_load_explicit(&journal->figures, memory_order_acquire);
    if (!f || journal_in_child(journal))
        return;
    struct journal_usage u;
    journal_get_usage(journal, &u);
    progress_publish(journal);
    put(f, METRICS_SEGMENTS, u.segments);
    put(f, METRICS_SCOPES, u.scopes);
}

void journal_set_figures(struct journal *journal, _Atomic uint64_t *figures)
{
    atomic_store_explicit(&journal->figures, figures, memory_order_release);
    journal_publish(journal);
}

void journal_boot_id(uint8_t ret[16])
{
    ring_boot_id(ret);
}

int journal_peek_head(const char *path, uint64_t *ret_head)
{
    AW_AUTOCLOSE int dir = -1;
    struct ring_facts facts;
    int rc = fs_open(path, O_RDONLY | O_DIRECTORY, 0, &dir);
    if (rc == 0)
        rc = ring_inspect(dir, &facts);
    if (rc < 0)
        return rc;
    if (facts.head_seq == 0)
        return -EBADMSG;
    *ret_head = facts.head_seq;
    return 0;
}
