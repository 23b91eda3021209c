/* keeper.c - the background thread: syncs now and then, removes what nobody needs. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "journal/internal.h"

#include <inttypes.h>

#define PRESSURE_NS 50000000u /* how often to look while appenders wait for the quota */
#define FAILED_NS 1000000000u /* how often to try a fresh segment after a failed sync */

/* Before which segment everything may go, as far as chains are concerned. Two snapshots are kept, so that a damaged
 * record in one costs nothing; short of space, one must do. drain_lock held. */
static const struct snapshot *trim_limit(const struct journal *j, bool pressure)
{
    const struct snapshot *newest = &j->snapshots[0], *before = &j->snapshots[1];
    if (pressure)
        return newest->durable ? newest : before->durable ? before : NULL;
    return newest->durable && before->durable ? before : NULL;
}

enum verdict { GOES, WANTED, UNSYNCED, NO_SNAPSHOT };

static enum verdict judge(const struct journal *j, const struct segment *s, uint64_t lowest,
                          const struct snapshot *limit)
{
    uint64_t last = atomic_load(&s->last_seq);
    if (last > lowest)
        return WANTED;
    if (!limit || segment_compare(s->first_seq, s->number, limit->below, limit->number) >= 0)
        return NO_SNAPSHOT;
    if (s == j->current || s->dirty || last > atomic_load(&j->durable_seq))
        return UNSYNCED;
    return GOES;
}

/* Takes the oldest segment off the list if it may go. *ret_name: to be unlinked. */
static enum verdict take_oldest(struct journal *j, char name[SEGMENT_NAME_MAX])
{
    pthread_mutex_lock(&j->drain_lock);
    uint64_t lowest = cursors_lowest_durable(j); /* under this lock, so that no new reader is overlooked */
    struct segment *s = NULL;
    pthread_mutex_lock(&j->list_lock);
    if (j->segment_count > 0)
        s = j->segments[0];
    pthread_mutex_unlock(&j->list_lock);
    enum verdict v = s ? judge(j, s, lowest, trim_limit(j, atomic_load(&j->full))) : WANTED;
    uint64_t hint = UINT64_MAX;
    if (v == GOES) {
        segment_name(s->first_seq, s->number, name);
        if (s->fd >= 0)
            (void)fs_close(s->fd); /* synced */
        atomic_fetch_sub(&j->bytes, atomic_load(&s->size));
        segments_remove(j, s);
        segments_update_oldest(j);
    } else if (v == WANTED && s && s != j->current) {
        hint = atomic_load(&s->last_seq);
    }
    atomic_store(&j->trim_hint, hint);
    pthread_mutex_unlock(&j->drain_lock);
    return v;
}

void keeper_trim(struct journal *j)
{
    uint64_t lowest = cursors_lowest(j);
    char name[SEGMENT_NAME_MAX];
    bool synced = false;
    enum verdict v;
    if (lowest == 0 || lowest < atomic_load(&j->trim_hint))
        goto room;
    cursors_sync(j); /* a removed segment must not be wanted again after a power loss */
    while ((v = take_oldest(j, name)) == GOES || (v == UNSYNCED && !synced)) {
        if (v == UNSYNCED) {
            synced = true;
            if (sync_upto(j, journal_head_seq(j), true) < 0)
                break;
            continue;
        }
        int rc = fs_unlinkat(j->dirfd, name);
        if (rc < 0)
            journal_log(j, AW_LOG_WARNING, "%s/%s: cannot be removed: %s", j->path, name, strerror(-rc));
    }
    if (v == NO_SNAPSHOT && atomic_load(&j->full)) {
        /* Everything in it is delivered, only the chains need it: a fresh segment with a snapshot lets it go. */
        pthread_mutex_lock(&j->drain_lock);
        struct snapshot newest = j->snapshots[0];
        bool enough = newest.active || (newest.complete && !newest.durable);
        pthread_mutex_unlock(&j->drain_lock);
        if (!enough) {
            atomic_store(&j->roll_wanted, true);
            waitpoint_wake(&j->writer);
        } else if (newest.complete) {
            (void)sync_upto(j, journal_head_seq(j), true); /* a failure is reported there; trimming waits */
        }
    }
room:
    if ((atomic_load(&j->full) & FULL_QUOTA) && atomic_load(&j->bytes) < j->quota) {
        atomic_fetch_and(&j->full, ~FULL_QUOTA);
        waitpoint_wake(&j->room);
    }
}

void keeper_look_at_disk(struct journal *j)
{
    uint64_t available;
    if (j->min_free == 0 || fs_free_bytes(j->dirfd, &available) < 0)
        return; /* what is not known stops nobody */
    if (available >= j->min_free) {
        if (!(atomic_fetch_and(&j->full, ~FULL_DISK) & FULL_DISK))
            return;
        journal_log(j, AW_LOG_INFO, "%s: the file system has room again", j->path);
        waitpoint_wake(&j->room);
    } else if (!(atomic_fetch_or(&j->full, FULL_DISK) & FULL_DISK)) {
        journal_log(j, AW_LOG_ERROR,
                    "%s: the file system has %" PRIu64 " bytes left, journal.min_free is %" PRIu64
                    ": no more events are taken until there is room",
                    j->path, available, j->min_free);
        waitpoint_wake(&j->keeper);
    }
}

static void warn_idle_cursors(struct journal *j)
{
    pthread_mutex_lock(&j->list_lock);
    struct journal_cursor *list = j->cursors;
    pthread_mutex_unlock(&j->list_lock);
    uint64_t oldest = atomic_load(&j->oldest_seq);
    for (struct journal_cursor *c = list; c; c = c->next) {
        pthread_mutex_lock(&j->list_lock);
        bool open = c->open;
        pthread_mutex_unlock(&j->list_lock);
        if (open || c->warned_idle || atomic_load(&c->acked) >= oldest + (journal_head_seq(j) - oldest) / 2)
            continue;
        c->warned_idle = true;
        journal_log(
            j, AW_LOG_WARNING,
            "%s: the journal is full, and its reader \"%s\", which is not in use, still wants events from %" PRIu64
            " on; when it is gone for good, stop auditwell and run: auditwell journal cursors --release %s",
            j->path, c->name, atomic_load(&c->acked) + 1, c->name);
    }
}

void *keeper_main(void *journal)
{
    struct journal *j = journal;
    bool armed = false;
    uint64_t due = 0;
    int last_error = 0;
    while (!atomic_load(&j->stop)) {
        uint64_t now = clock_mono_ns();
        if (!armed && ((j->sync_interval_ns > 0 && atomic_load(&j->dirty)) || atomic_load(&j->failed) != 0)) {
            armed = true;
            due = now + (atomic_load(&j->failed) ? FAILED_NS : j->sync_interval_ns);
        }
        if (atomic_load(&j->full) & FULL_DISK)
            keeper_look_at_disk(j);
        if (armed && now >= due) {
            armed = false;
            keeper_look_at_disk(j);
            int rc = sync_upto(j, journal_head_seq(j), true);
            if (rc < 0 && rc != last_error)
                journal_log(j, AW_LOG_ERROR, "%s: background sync failed: %s", j->path, strerror(-rc));
            last_error = rc;
        }
        if (atomic_load(&j->read_ahead)) {
            (void)journal_sync_read(j); /* if it fails, whoever has nothing left to read tries again */
            atomic_store(&j->read_ahead, false);
        }
        keeper_trim(j);
        if (atomic_load(&j->figures))
            journal_publish(j);
        unsigned full = atomic_load(&j->full);
        if (full & FULL_QUOTA)
            warn_idle_cursors(j);
        uint64_t until = armed ? due : FUTEX_FOR_EVER;
        if (full && until > now + PRESSURE_NS)
            until = now + PRESSURE_NS;
        uint32_t seen = waitpoint_enter(&j->keeper);
        if (atomic_load(&j->stop) || (!armed && j->sync_interval_ns > 0 && atomic_load(&j->dirty)) ||
            atomic_load(&j->read_ahead) || atomic_load(&j->full) != full)
            waitpoint_leave(&j->keeper);
        else
            waitpoint_sleep(&j->keeper, seen, until);
    }
    return NULL;
}
