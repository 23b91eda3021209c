/* sync.c - durability: group commit, and what happens when fdatasync fails. SPDX-License-Identifier: Apache-2.0
 *
 * One thread leads a round: it drains the ring and syncs. Whoever comes meanwhile sleeps until the round is over that
 * its event is in: this one, or the next, which one of those who wait for it leads. After a failed fdatasync the kernel
 * may have dropped the data or marked it clean, so a second try would prove nothing: the records in doubt are read
 * back, each checked by its CRC and all by their dense numbers, and written to a fresh file.
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

static uint64_t rounds_begun(const struct journal *j)
{
    return atomic_load(&j->round) / 2;
}

static int lead(struct journal *j)
{
    pthread_mutex_lock(&j->drain_lock);
    uint64_t head = atomic_load(&j->ring.header->head);
    int drained = atomic_load(&j->failed) ? 0 : writer_drain(j, head), rc = 0;
    writer_zero_ahead(j);
    uint64_t target = atomic_load(&j->written_seq), round = rounds_begun(j) + 1;
    atomic_store(&j->covered[round & 1], target);
    atomic_store(&j->round, 2 * round);
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
        atomic_store(&j->good_round, round);
        if (drained == 0 && j->tail < head)
            drained = writer_drain(j, head); /* was refused while the journal had failed; the caller syncs again */
    } else {
        atomic_store(&j->dirty, true);
    }
    pthread_mutex_unlock(&j->drain_lock);
    return rc < 0 ? rc : drained;
}

/* ---- taking turns ---- */

enum { LEAD_FREE, LEAD_TAKEN, LEAD_OFFERED };

static bool change_lead(struct journal *j, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(&j->sync_lead, &from, to);
}

/* Two rounds can be waited for at a time: the one that runs and the next. */
static struct waitpoint *round_point(struct journal *j, uint64_t round)
{
    return &j->round_done[round & 1];
}

/* No round runs. The lead goes to one of those who wait for the next round, so that the others sleep on until it is
 * over. Nobody else can take it meanwhile: the later it begins, the more are in it. */
static void pass_lead(struct journal *j)
{
    uint64_t ended = rounds_begun(j);
    struct waitpoint *next = round_point(j, ended + 1);
    /* Some may still sleep at this point whose round is long over, if the thread that has to wake them does not get a
     * processor: an offer could go to one of them, who would not know that it is meant. Then whoever is first leads. */
    if (atomic_load(&j->woken) + 1 >= ended) {
        atomic_store(&j->sync_lead, LEAD_OFFERED);
        if (waitpoint_wake_one(next) || !change_lead(j, LEAD_OFFERED, LEAD_FREE))
            return;
    } else {
        atomic_store(&j->sync_lead, LEAD_FREE);
    }
    waitpoint_wake(next); /* also those who fell asleep over an offer that nobody got */
}

/* Sleeps until the round is over that seq is in, or the caller is to lead the next: then true. */
static bool wait_for_round(struct journal *j, uint64_t seq, bool all)
{
    uint64_t state = atomic_load(&j->round), round = state / 2;
    if ((state & ROUND_ENDED) || all || seq > atomic_load(&j->covered[round & 1]))
        round++;
    struct waitpoint *p = round_point(j, round);
    uint32_t seen = waitpoint_enter(p);
    if (atomic_load(&j->round) != state || atomic_load(&j->sync_lead) == LEAD_FREE ||
        (!all && atomic_load(&j->durable_seq) >= seq))
        waitpoint_leave(p);
    else
        waitpoint_sleep(p, seen, FUTEX_FOR_EVER);
    /* Those whose round it was leave the offer to the others. Whoever was woken by it must take it. */
    return atomic_load(&j->round) == 2 * (round - 1) + ROUND_ENDED && change_lead(j, LEAD_OFFERED, LEAD_TAKEN);
}

static int lead_round(struct journal *j)
{
    int rc = lead(j);
    progress_publish(j);
    uint64_t round = rounds_begun(j);
    atomic_store(&j->round, 2 * round + ROUND_ENDED);
    pass_lead(j); /* first: the disk has nothing to do */
    waitpoint_wake(round_point(j, round));
    atomic_store(&j->woken, round);
    waitpoint_wake(&j->readers);
    return rc;
}

int sync_upto(struct journal *j, uint64_t seq, bool all)
{
    /* The next round may have drained the ring already, though it does not say so yet. */
    uint64_t enough = rounds_begun(j) + 2;
    for (bool leading = false;;) {
        bool done = all ? atomic_load(&j->good_round) >= enough : atomic_load(&j->durable_seq) >= seq;
        if (done) {
            if (leading)
                pass_lead(j);
            return 0;
        }
        if (!leading && change_lead(j, LEAD_FREE, LEAD_TAKEN)) {
            leading = true; /* somebody may have led in between */
        } else if (!leading) {
            leading = wait_for_round(j, seq, all);
        } else {
            int rc = lead_round(j);
            leading = false;
            if (all || (rc < 0 && atomic_load(&j->durable_seq) < seq))
                return rc;
        }
    }
}
