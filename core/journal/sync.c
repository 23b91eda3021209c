/* sync.c - durability: group commit, and what happens when fdatasync fails. SPDX-License-Identifier: Apache-2.0
 *
 * One thread leads: it drains the ring and syncs; whoever comes meanwhile sleeps and finds the work done, or leads
 * next. After a failed fdatasync the kernel may have dropped the data or marked it clean, so a second try would prove
 * nothing: the records in doubt are read back, each checked by its CRC and all by their dense numbers, and written to a
 * fresh file.
 */
#include "config.h"

#include "base/fs.h"
#include "journal/internal.h"

#include <fcntl.h>
#include <inttypes.h>

/* ---- writing again what a failed sync put in doubt ---- */

struct rescue {
    struct journal *j;
    struct segment *to;
    uint64_t expected; /* next seq that must be found */
    uint8_t *buf;
    size_t len;
};

static int rescue_flush(struct rescue *r)
{
    uint64_t size = atomic_load(&r->to->size);
    int rc = fs_pwrite_all(r->to->fd, r->buf, r->len, size, NULL);
    if (rc < 0)
        return rc;
    atomic_store(&r->to->size, size + r->len);
    atomic_fetch_add(&r->j->bytes, r->len);
    atomic_store(&r->to->last_seq, r->expected - 1);
    r->len = 0;
    return 0;
}

static int rescue_record(struct rescue *r, const struct record_view *v)
{
    int rc = 0;
    if (r->len + v->head->total_len > WRITE_CHUNK && r->len > 0)
        rc = rescue_flush(r);
    if (rc < 0)
        return rc;
    if (v->head->kind == RECORD_KIND_EVENT) {
        struct seq_range gap;
        while (r->expected < v->head->seq && missing_find(r->j, r->expected, &gap))
            r->expected = gap.last + 1;
        if (v->head->seq < r->expected)
            return 0;
        if (v->head->seq > r->expected)
            return -EBADMSG; /* the page cache does not have it any more */
        r->expected++;
    }
    memcpy(r->buf + r->len, v->head, v->head->total_len);
    r->len += v->head->total_len;
    if (r->len > WRITE_CHUNK) /* one large record */
        rc = rescue_flush(r);
    return rc;
}

static int rescue_all(struct rescue *r, struct segment *from)
{
    struct segment_scan scan = {.fd = -1};
    struct record_view v;
    scan_init(&scan, from->fd, from->synced, atomic_load(&from->size), r->expected - 1);
    int rc;
    while ((rc = scan_next(&scan, &v)) == 0 && (rc = rescue_record(r, &v)) == 0)
        ;
    if (rc == -ENODATA)
        rc = r->len > 0 ? rescue_flush(r) : 0;
    if (rc == 0 && r->expected <= atomic_load(&from->last_seq))
        rc = -EBADMSG;
    scan_free(&scan);
    return rc;
}

/* The segment keeps what was durable before and nothing else; with nothing, it goes. */
static void cut_back(struct journal *j, struct segment *s)
{
    uint64_t size = atomic_load(&s->size);
    char name[SEGMENT_NAME_MAX];
    segment_name(s->first_seq, s->number, name);
    int rc = s->synced > SEGMENT_DATA ? fs_truncate(s->fd, s->synced) : fs_unlinkat(j->dirfd, name);
    if (rc < 0) /* harmless: its records are found twice, and are equal */
        journal_log(j, AW_LOG_WARNING, "%s/%s: cannot be cut back after a failed sync: %s", j->path, name,
                    strerror(-rc));
    (void)fs_close(base_take_fd(&s->fd));
    s->dirty = s->broken = false;
    if (s->synced > SEGMENT_DATA) {
        uint64_t durable = atomic_load(&j->durable_seq);
        atomic_fetch_sub(&j->bytes, size - s->synced);
        atomic_store(&s->size, s->synced);
        atomic_store(&s->last_seq, durable < s->first_seq ? s->first_seq - 1 : durable);
    } else {
        atomic_fetch_sub(&j->bytes, size);
        segments_remove(j, s);
    }
}

static void discard(struct journal *j, struct segment *s)
{
    char name[SEGMENT_NAME_MAX];
    segment_name(s->first_seq, s->number, name);
    (void)fs_close(s->fd);
    (void)fs_unlinkat(j->dirfd, name); /* what stays is copies of records that are elsewhere */
    atomic_fetch_sub(&j->bytes, atomic_load(&s->size));
    segments_remove(j, s);
}

/* drain_lock held. Puts the records of s that are not known durable into a fresh segment and syncs that. */
static int repair(struct journal *j, struct segment *s, int cause)
{
    bool was_current = s == j->current;
    struct segment *current = j->current;
    uint64_t durable = atomic_load(&j->durable_seq), first = durable + 1 > s->first_seq ? durable + 1 : s->first_seq;
    uint64_t last = atomic_load(&s->last_seq);
    struct rescue r = {.j = j, .expected = first, .buf = malloc(WRITE_CHUNK + RECORD_MAX)};
    s->broken = true;
    int rc = r.buf ? writer_begin(j, first, was_current ? j->segment_size : 0) : -ENOMEM;
    if (rc == 0) {
        r.to = j->current;
        rc = rescue_all(&r, s);
        if (rc == 0)
            rc = fs_fdatasync(r.to->fd);
        if (rc == 0)
            rc = fs_sync_dir(j->dirfd);
        if (rc < 0)
            discard(j, r.to);
        j->current = rc < 0 || !was_current ? current : r.to;
    }
    free(r.buf);
    char name[SEGMENT_NAME_MAX];
    segment_name(s->first_seq, s->number, name);
    if (rc < 0) {
        if (atomic_exchange(&j->failed, rc) == 0)
            journal_log(j, AW_LOG_ERROR,
                        "%s/%s: fdatasync failed (%s), and its unsynced events up to %" PRIu64
                        " could not be written to a "
                        "fresh segment (%s); the journal takes no events until that works",
                        j->path, name, strerror(-cause), last, strerror(-rc));
        return rc;
    }
    journal_log(j, AW_LOG_WARNING,
                "%s/%s: fdatasync failed (%s); events %" PRIu64 "-%" PRIu64
                " were written again to a fresh segment, which is "
                "on disk",
                j->path, name, strerror(-cause), first, last);
    r.to->synced = atomic_load(&r.to->size);
    r.to->named = true;
    r.to->dirty = false;
    if (!was_current)
        (void)fs_close(base_take_fd(&r.to->fd));
    cut_back(j, s);
    if (atomic_exchange(&j->failed, 0) != 0)
        waitpoint_wake(&j->room);
    return 0;
}

/* ---- leading ---- */

struct place {
    uint64_t first;
    uint32_t number;
};

static int place_compare(const struct segment *s, struct place p)
{
    return segment_compare(s->first_seq, s->number, p.first, p.number);
}

static struct place newest_place(struct journal *j)
{
    struct place p = {0, 0};
    pthread_mutex_lock(&j->list_lock);
    if (j->segment_count > 0) {
        const struct segment *s = j->segments[j->segment_count - 1];
        p = (struct place){s->first_seq, s->number};
    }
    pthread_mutex_unlock(&j->list_lock);
    return p;
}

/* The oldest dirty segment behind `after`, up to `until`. drain_lock held: the list does not lose segments meanwhile.
 */
static struct segment *next_dirty(struct journal *j, struct place after, struct place until)
{
    struct segment *found = NULL;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = 0; i < j->segment_count && !found; i++) {
        struct segment *s = j->segments[i];
        if (s->dirty && place_compare(s, after) > 0 && place_compare(s, until) <= 0)
            found = s;
    }
    pthread_mutex_unlock(&j->list_lock);
    return found;
}

static int reopen(struct journal *j, struct segment *s)
{
    char name[SEGMENT_NAME_MAX];
    segment_name(s->first_seq, s->number, name);
    return s->fd >= 0 ? 0 : fs_openat(j->dirfd, name, O_RDWR | O_NOFOLLOW, 0, &s->fd);
}

/* drain_lock held on entry and on return, not while the disk works. */
static int sync_segment(struct journal *j, struct segment *s)
{
    uint64_t size = atomic_load(&s->size), last = atomic_load(&s->last_seq);
    bool named = s->named;
    int rc = reopen(j, s), fd = s->fd;
    if (rc < 0)
        return rc;
    if (s->broken)
        return repair(j, s, -EIO);
    pthread_mutex_unlock(&j->drain_lock);
    rc = fs_fdatasync(fd);
    if (rc == 0 && !named)
        rc = fs_sync_dir(j->dirfd);
    pthread_mutex_lock(&j->drain_lock);
    if (rc < 0) {
        rc = repair(j, s, rc);
        return rc;
    }
    s->named = true;
    s->synced = size;
    if (last > atomic_load(&j->durable_seq) && last >= s->first_seq)
        atomic_store(&j->durable_seq, last);
    if (atomic_load(&s->size) == size) {
        s->dirty = false;
        if (s != j->current)
            (void)fs_close(base_take_fd(&s->fd)); /* synced: a close has nothing left to lose */
    }
    return 0;
}

static int lead(struct journal *j)
{
    pthread_mutex_lock(&j->drain_lock);
    uint64_t head = atomic_load(&j->ring.header->head);
    int drained = atomic_load(&j->failed) ? 0 : writer_drain(j, head), rc = 0;
    writer_zero_ahead(j);
    uint64_t target = atomic_load(&j->written_seq);
    bool ready[AW_ARRAY_LEN(j->snapshots)];
    for (size_t i = 0; i < AW_ARRAY_LEN(ready); i++)
        ready[i] = j->snapshots[i].complete && j->snapshots[i].head_seq <= target;
    uint64_t below[AW_ARRAY_LEN(ready)] = {j->snapshots[0].below, j->snapshots[1].below};
    atomic_store(&j->dirty, false);
    struct place at = {0, 0}, until = newest_place(j);
    for (struct segment *s; rc == 0 && (s = next_dirty(j, at, until)) != NULL;) {
        at = (struct place){s->first_seq, s->number};
        rc = sync_segment(j, s);
    }
    if (rc == 0) {
        if (target > atomic_load(&j->durable_seq))
            atomic_store(&j->durable_seq, target);
        for (size_t i = 0; i < AW_ARRAY_LEN(ready); i++)
            if (ready[i])
                for (size_t k = 0; k < AW_ARRAY_LEN(ready); k++) /* they may have moved one place meanwhile */
                    if (j->snapshots[k].complete && j->snapshots[k].below == below[i])
                        j->snapshots[k].durable = true;
        atomic_store(&j->trim_hint, 0); /* more may go now */
        if (drained == 0 && j->tail < head)
            drained = writer_drain(j, head); /* was refused while the journal had failed; the caller syncs again */
    } else {
        atomic_store(&j->dirty, true);
    }
    pthread_mutex_unlock(&j->drain_lock);
    return rc < 0 ? rc : drained;
}

int sync_upto(struct journal *j, uint64_t seq, bool all)
{
    for (bool led = false;;) {
        if (atomic_load(&j->durable_seq) >= seq && (!all || led))
            return 0;
        uint32_t free_lead = 0;
        if (atomic_compare_exchange_strong(&j->sync_lead, &free_lead, 1)) {
            int rc = 0;
            if (all || atomic_load(&j->durable_seq) < seq) {
                rc = lead(j);
                progress_publish(j);
                led = true;
            }
            atomic_store(&j->sync_lead, 0);
            waitpoint_wake(&j->sync_done);
            waitpoint_wake(&j->readers);
            if (rc < 0 && (all || atomic_load(&j->durable_seq) < seq))
                return rc;
            continue;
        }
        uint32_t seen = waitpoint_enter(&j->sync_done);
        if (atomic_load(&j->sync_lead) == 0 || (!all && atomic_load(&j->durable_seq) >= seq))
            waitpoint_leave(&j->sync_done);
        else
            waitpoint_sleep(&j->sync_done, seen, FUTEX_FOR_EVER);
    }
}
