/* cursor_read.c - what a cursor gives to its reader. SPDX-License-Identifier: Apache-2.0
 *
 * Only what is on the disk is given out: a store that has what a power loss takes from the journal would see its
 * numbers, and the places in its chains, given to other events.
 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "journal/internal.h"

#include <fcntl.h>
#include <inttypes.h>

#define READ_SYNC_NS 5000000u         /* between two syncs by readers */
#define READ_SYNC_FAILED_NS 20000000u /* after one that failed */
#define AHEAD_MIN 1024u               /* events that are worth a sync before a reader waits for them */
#define READ_CHUNK (256u << 10)
#define READ_MAX (8u << 20)

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int enter_segment(struct journal_cursor *c, const struct segment_facts *f)
{
    cursor_leave_segment(c);
    int rc = segment_open_facts(c->journal, f, &c->segment_fd);
    if (rc < 0)
        return rc;
    c->segment_first = f->first_seq;
    c->segment_number = f->number;
    scan_init(&c->scan, c->segment_fd, SEGMENT_DATA, f->size, f->first_seq - 1);
    return 0;
}

static void moved_to(struct journal_cursor *c, uint64_t position)
{
    c->position = position;
    c->gap_next = 0;
}

/* Events [position, next) are nowhere. Says so once, and goes on behind them. */
static int report_gap(struct journal_cursor *c, uint64_t next)
{
    struct journal *j = c->journal;
    uint64_t first = c->position;
    moved_to(c, next);
    if (first < journal_oldest(j)) {
        journal_log(j, AW_LOG_WARNING, "%s: cursor \"%s\": events %" PRIu64 "-%" PRIu64 " are not kept any more",
                    j->path, c->name, first, next - 1);
        return 0;
    }
    missing_add(j, first, next - 1);
    waitpoint_wake(&j->writer);
    journal_log(j, AW_LOG_ERROR,
                next - first == 1 ? "%s: cursor \"%s\": event %" PRIu64 " is damaged on disk and is skipped"
                                  : "%s: cursor \"%s\": events %" PRIu64 "-%" PRIu64
                                    " are damaged on disk and are skipped",
                j->path, c->name, first, next - 1);
    return -EBADMSG;
}

/* The segment being read has no event `position`, its next one is `next`. Is it in an older copy? Else it is missing.
 */
static int cross_gap(struct journal_cursor *c, uint64_t next)
{
    struct seq_range known;
    struct segment_facts f;
    if (missing_find(c->journal, c->position, &known)) {
        moved_to(c, known.last + 1);
        return 0;
    }
    /* Every segment that may have it is tried, from the newest to the oldest; each tells how far the gap goes at most.
     */
    bool first_try = c->gap_next == 0;
    if (first_try || next < c->gap_next)
        c->gap_next = next;
    if (first_try && segments_find(c->journal, c->position, 0, 0, &f) &&
        segment_compare(f.first_seq, f.number, c->segment_first, c->segment_number) > 0)
        return enter_segment(c, &f);
    if (segments_find(c->journal, c->position, c->segment_first, c->segment_number, &f))
        return enter_segment(c, &f);
    next = c->gap_next;
    cursor_leave_segment(c); /* the newest that holds `next` is the one to go on with */
    return report_gap(c, next);
}

/* Makes a segment that should hold `position` the one being read. 1: done, 0: nothing to read there yet, or -errno. */
static int find_segment(struct journal_cursor *c)
{
    struct journal *j = c->journal;
    struct segment_facts f;
    struct seq_range known;
    for (;;) {
        if (c->position > journal_written(j))
            return 0;
        int rc;
        if (segments_find(j, c->position, 0, 0, &f)) {
            rc = enter_segment(c, &f);
            if (rc == -ENOENT && !segments_get(j, f.first_seq, f.number, &f))
                continue; /* trimmed just now */
            return rc < 0 ? rc : 1;
        }
        if (missing_find(j, c->position, &known))
            moved_to(c, known.last + 1);
        else if ((rc = report_gap(c, segments_after(j, c->position, &f) ? f.first_seq : journal_written(j) + 1)) < 0)
            return rc;
    }
}

/* Follows the segment as it grows, or was cut back. false: it holds nothing from `position` on. */
static bool refresh(struct journal_cursor *c, struct segment_facts *ret)
{
    if (!segments_get(c->journal, c->segment_first, c->segment_number, ret)) {
        ret->last_seq =
            0; /* trimmed: read what the buffer and the open file have? Its events are acknowledged; move on. */
        return false;
    }
    c->scan.end = ret->size;
    return c->position <= ret->last_seq;
}

struct batch {
    struct record_view *views;
    size_t max, max_bytes, count, bytes;
    uint64_t limit; /* the last event that may be read */
};

/* Records of the segment being read into the batch. 0: as far as it goes for now; 1: look again; -errno. */
static int read_segment(struct journal_cursor *c, struct batch *b)
{
    struct segment_facts facts;
    if (!refresh(c, &facts)) {
        cursor_leave_segment(c);
        return 1;
    }
    size_t want = b->max_bytes < READ_CHUNK ? READ_CHUNK : b->max_bytes > READ_MAX ? READ_MAX : b->max_bytes;
    c->scan.frozen = false;
    int rc = scan_fill(&c->scan, want);
    if (rc < 0)
        return rc;
    while (c->position <= b->limit && b->count < b->max && (b->count == 0 || b->bytes < b->max_bytes)) {
        struct record_view v;
        struct segment_scan before = c->scan;
        c->scan.frozen = b->count > 0; /* views of this batch point into the buffer */
        rc = scan_next(&c->scan, &v);
        if (rc == -EAGAIN)
            return 0;
        if (rc == -EBADMSG)
            continue; /* what is missing shows at the next event */
        if (rc == -ENODATA || (rc == 0 && v.head->kind == RECORD_KIND_EVENT && v.head->seq > c->position)) {
            if (b->count > 0 || rc == 0) { /* not yet: what was found goes first */
                c->scan.pos = before.pos;
                c->scan.last_seq = before.last_seq;
            }
            if (b->count > 0)
                return 0;
            rc = cross_gap(c, rc == 0 ? v.head->seq : facts.last_seq + 1);
            return rc < 0 ? rc : 1;
        }
        if (rc < 0)
            return rc;
        if (v.head->kind != RECORD_KIND_EVENT || v.head->seq < c->position)
            continue;
        b->views[b->count++] = v;
        b->bytes += v.head->total_len;
        moved_to(c, c->position + 1);
        if (c->position > facts.last_seq)
            return 0; /* what follows in the file belongs to later events */
    }
    return 0;
}

/* When less is left to read than waits to be synced, the keeper syncs, so that the reader finds the next events on the
 * disk when it has read these, and need not wait for it. */
static void sync_ahead(struct journal *j, uint64_t left, uint64_t durable)
{
    uint64_t written = journal_written(j);
    if (written < durable + AHEAD_MIN || written - durable < left || atomic_load(&j->failed) != 0)
        return;
    if (clock_mono_ns() >= atomic_load(&j->read_sync_ns) + READ_SYNC_NS && !atomic_exchange(&j->read_ahead, true))
        waitpoint_wake(&j->keeper);
}

int journal_cursor_read(struct journal_cursor *cursor, struct record_view *views, size_t max, size_t max_bytes,
                        size_t *ret_count)
{
    /* Only what is on the disk: a store that has what a power loss takes from the journal would see its numbers, and
     * the places in its chains, given to other events. */
    struct batch b = {views, max, max_bytes, 0, 0, journal_durable(cursor->journal)};
    *ret_count = 0;
    if (journal_in_child(cursor->journal))
        return -EPERM;
    int rc = 1;
    while (rc == 1 && b.count == 0 && max > 0 && cursor->position <= b.limit) {
        if (cursor->segment_fd < 0 && (rc = find_segment(cursor)) <= 0)
            break;
        rc = read_segment(cursor, &b);
        if (rc == 0 && b.count == 0)
            rc = 1;
    }
    *ret_count = b.count;
    if (b.count > 0)
        sync_ahead(cursor->journal, b.limit + 1 - cursor->position, b.limit);
    return b.count > 0 || rc > 0 ? 0 : rc;
}

int journal_sync_read(struct journal *j)
{
    atomic_store_explicit(&j->sync_asked_ns, clock_mono_ns(), memory_order_relaxed);
    int rc = sync_upto(j, journal_written(j), false);
    atomic_store(&j->read_sync_ns, clock_mono_ns());
    return rc;
}

/* Something is written and not on the disk yet: whoever wants to read it syncs. A moment is given to the events that
 * follow, unless somebody was woken to hurry. 0, or -ETIMEDOUT: not yet. */
static int sync_to_read(struct journal_cursor *c, bool hurry)
{
    struct journal *j = c->journal;
    uint64_t now = clock_mono_ns(), due = atomic_load(&j->read_sync_ns) + READ_SYNC_NS;
    if (!hurry && now < due) {
        uint32_t seen = waitpoint_enter(&j->readers);
        if (journal_durable(j) >= c->position || atomic_load(&j->wakes) != c->wakes_seen)
            waitpoint_leave(&j->readers);
        else
            waitpoint_sleep(&j->readers, seen, due);
        return -ETIMEDOUT;
    }
    if (journal_sync_read(j) == 0)
        return 0;
    clock_sleep_ns(READ_SYNC_FAILED_NS); /* reported there, and tried again */
    return -ETIMEDOUT;
}

int journal_cursor_wait(struct journal_cursor *cursor, uint64_t deadline_mono_ns)
{
    struct journal *j = cursor->journal;
    if (journal_in_child(j))
        return -EPERM;
    for (;;) {
        uint32_t seen = waitpoint_enter(&j->readers), wakes = atomic_load(&j->wakes);
        bool written = journal_written(j) >= cursor->position;
        int rc = 1;
        if (journal_durable(j) >= cursor->position) {
            rc = 0;
        } else if (written && (wakes != cursor->wakes_seen || clock_mono_ns() < deadline_mono_ns)) {
            bool hurry = wakes != cursor->wakes_seen;
            waitpoint_leave(&j->readers);
            rc = sync_to_read(cursor, hurry);
            if (rc == 0 || !hurry)
                return rc;
            cursor->wakes_seen = wakes;
            return -EINTR;
        } else if (wakes != cursor->wakes_seen)
            rc = -EINTR;
        else if (deadline_mono_ns != UINT64_MAX && clock_mono_ns() >= deadline_mono_ns)
            rc = -ETIMEDOUT;
        if (rc <= 0) {
            waitpoint_leave(&j->readers);
            if (rc == -EINTR)
                cursor->wakes_seen = wakes; /* a wake is never missed, not even one before the call */
            return rc;
        }
        waitpoint_sleep(&j->readers, seen, deadline_mono_ns);
    }
}

int journal_lookup_hash(struct journal *journal, uint64_t seq, uint8_t ret_hash[32])
{
    struct journal *j = journal;
    if (journal_in_child(j))
        return -EPERM;
    if (seq > journal_head_seq(j))
        return -ENOENT;
    if (seq > journal_written(j)) {
        pthread_mutex_lock(&j->drain_lock);
        int rc = writer_drain(j, atomic_load(&j->ring.header->head));
        pthread_mutex_unlock(&j->drain_lock);
        if (rc < 0)
            return rc;
    }
    struct segment_facts f = {0};
    int found = -ENOENT;
    while (found == -ENOENT && segments_find(j, seq, f.first_seq, f.number, &f)) {
        AW_AUTOCLOSE int fd = -1;
        struct segment_scan scan = {.fd = -1};
        struct record_view v;
        int rc = segment_open_facts(j, &f, &fd);
        if (rc == -ENOENT)
            continue;
        if (rc < 0)
            return rc;
        scan_init(&scan, fd, SEGMENT_DATA, f.size, f.first_seq - 1);
        while ((rc = scan_next(&scan, &v)) == 0 || rc == -EBADMSG) {
            if (rc == 0 && v.head->kind == RECORD_KIND_EVENT && v.head->seq == seq) {
                memcpy(ret_hash, v.head->hash, 32);
                found = 0;
                break;
            }
        }
        scan_free(&scan);
        if (rc < 0 && rc != -ENODATA)
            return rc;
    }
    return found;
}
