/* writer.c - from the ring into segment files. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "journal/internal.h"

#include <inttypes.h>

#define NAP_NS 200000u        /* while events arrive */
#define LAZY_NAP_NS 1000000u  /* after a few naps for nothing */
#define LAZY_AFTER 10         /* naps */
#define EAGER_NS 100000000u   /* after a sync, what is written goes to the disk at once */
#define ZERO_SYNCS 4          /* that many syncs, at least, shall find ZERO_AHEAD */
#define EAGER_UNIT 65536u     /* in whole multiples of this: of any page size, and worth a request */
#define IDLE_AFTER 50         /* naps: then sleep until woken */
#define RETRY_NS 20000000u    /* after a failed write */
#define LOOK_AT_DISK 4194304u /* bytes written between two looks at the free space */

int writer_begin(struct journal *j, uint64_t first_seq, uint64_t prealloc)
{
    AW_AUTOFREE struct segment *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    /* What is set aside for a segment counts as used to whoever looks at the directory. */
    uint64_t bytes = atomic_load(&j->bytes), left = bytes < j->max_size ? j->max_size - bytes : 0;
    prealloc = prealloc < left ? prealloc : left;
    int rc = -EEXIST;
    for (uint32_t number = 0; rc == -EEXIST && number < UINT32_MAX; number++) {
        s->number = number;
        rc = segment_create(j->dirfd, first_seq, number, &j->identity, prealloc, &s->fd);
    }
    if (rc < 0)
        return rc;
    s->first_seq = first_seq;
    s->synced = SEGMENT_DATA;
    s->room = prealloc;
    atomic_init(&s->last_seq, first_seq - 1);
    atomic_init(&s->size, SEGMENT_DATA);
    rc = segments_insert(j, s);
    if (rc < 0) {
        char name[SEGMENT_NAME_MAX];
        segment_name(s->first_seq, s->number, name);
        (void)fs_close(s->fd);
        (void)fs_unlinkat(j->dirfd, name);
        return rc;
    }
    j->current = base_take(s);
    atomic_fetch_add(&j->bytes, SEGMENT_DATA);
    return 0;
}

int writer_roll(struct journal *j)
{
    struct segment *s = base_take(j->current);
    if (!s)
        return 0;
    uint64_t size = atomic_load(&s->size);
    int rc = 0;
    if (size == SEGMENT_DATA) { /* nothing was ever put in */
        char name[SEGMENT_NAME_MAX];
        segment_name(s->first_seq, s->number, name);
        (void)fs_close(s->fd);
        rc = fs_unlinkat(j->dirfd, name);
        atomic_fetch_sub(&j->bytes, SEGMENT_DATA);
        segments_remove(j, s);
        return rc;
    }
    rc = fs_truncate(s->fd, size); /* when it fails, zeros stay: recovery knows them */
    if (!s->dirty) {
        int rc2 = fs_close(base_take_fd(&s->fd));
        rc = rc < 0 ? rc : rc2;
    }
    return rc;
}

/* A current segment that takes `need` more bytes; the next record of it will be the event first_seq. */
static int ensure_current(struct journal *j, uint64_t need, uint64_t first_seq)
{
    struct segment *s = j->current;
    if (s && atomic_load(&s->size) > SEGMENT_DATA && atomic_load(&s->size) + need > j->segment_size)
        (void)writer_roll(j); /* what can fail there leaves a segment that reads well */
    if (j->current)
        return 0;
    int rc = writer_begin(j, first_seq, j->segment_size);
    if (rc == 0)
        snapshot_begin(j);
    return rc;
}

/* Appends bytes that are whole records to the current segment. */
static int write_records(struct journal *j, const void *buf, size_t len, uint64_t first_seq)
{
    struct segment *s = j->current;
    uint64_t size = atomic_load(&s->size);
    int rc = fs_pwrite_all(s->fd, buf, len, size, NULL);
    if (rc < 0 && size > SEGMENT_DATA && (rc == -EFBIG || !space_error(rc))) {
        /* This file takes no more: another one may. */
        (void)writer_roll(j);
        int rc2 = writer_begin(j, first_seq, 0);
        if (rc2 < 0)
            return rc;
        s = j->current;
        size = SEGMENT_DATA;
        rc = fs_pwrite_all(s->fd, buf, len, size, NULL);
    }
    if (rc < 0)
        return rc;
    s->dirty = true;
    j->written_bytes += len;
    atomic_store(&s->size, size + len);
    if (atomic_fetch_add(&j->bytes, len) + len >= j->quota && !(atomic_fetch_or(&j->full, FULL_QUOTA) & FULL_QUOTA))
        waitpoint_wake(&j->keeper);
    if (j->written_bytes - j->looked_at_bytes >= LOOK_AT_DISK) {
        j->looked_at_bytes = j->written_bytes;
        keeper_look_at_disk(j);
    }
    /* The keeper sleeps without a limit while there is nothing to sync. */
    if (!atomic_exchange(&j->dirty, true) && j->sync_interval_ns > 0)
        waitpoint_wake(&j->keeper);
    return 0;
}

static void writer_state(struct journal *j, int rc)
{
    int before = atomic_exchange(&j->write_error, rc);
    if (rc < 0 && before != rc)
        journal_log(j, AW_LOG_ERROR, "%s: cannot write to the journal: %s; events wait in the ring", j->path,
                    strerror(-rc));
    else if (rc == 0 && before < 0)
        journal_log(j, AW_LOG_INFO, "%s: the journal can be written again", j->path);
}

int writer_put(struct journal *j, uint16_t kind, const void *payload, size_t len)
{
    uint64_t next = atomic_load(&j->written_seq) + 1;
    int rc = atomic_load(&j->failed);
    if (rc == 0)
        rc = ensure_current(j, base_align8(RECORD_HEADER + len), next);
    if (rc < 0)
        return rc;
    size_t total = segment_build_record(j->scratch, kind, next, payload, len);
    return write_records(j, j->scratch, total, next);
}

int writer_note_lost(struct journal *j)
{
    struct seq_set copy = {NULL, 0, 0};
    int rc = 0;
    pthread_mutex_lock(&j->list_lock);
    for (size_t i = 0; i < j->missing.count && rc == 0; i++)
        rc = seqset_add(&copy, j->missing.ranges[i].first, j->missing.ranges[i].last);
    pthread_mutex_unlock(&j->list_lock);
    const size_t most = (SCRATCH - RECORD_HEADER - sizeof(struct note_payload) - 16) / sizeof(struct seq_range);
    for (size_t at = 0; rc == 0 && (at == 0 || at < copy.count);) {
        size_t n = copy.count - at < most ? copy.count - at : most;
        struct note_payload note = {NOTE_LOST, (uint32_t)(1 + 2 * n)};
        uint64_t lost = atomic_load(&j->lost);
        uint8_t *p = j->scratch + RECORD_HEADER; /* built in place */
        memcpy(p, &note, sizeof note);
        memcpy(p + sizeof note, &lost, sizeof lost);
        if (n > 0)
            memcpy(p + sizeof note + sizeof lost, copy.ranges + at, n * sizeof(struct seq_range));
        rc = writer_put(j, RECORD_KIND_NOTE, p, sizeof note + sizeof lost + n * sizeof(struct seq_range));
        at += n > 0 ? n : 1;
    }
    seqset_free(&copy);
    return rc;
}

/* Whole records from tail on, at most `room` bytes, but at least one. The ring's contents are ours; a length that
 * cannot be is a memory fault and must not turn into an endless loop. */
static int gather(const struct journal *j, uint64_t upto, uint64_t room, size_t *ret_len, uint64_t *ret_last)
{
    uint64_t at = j->tail;
    *ret_last = 0;
    while (at < upto) {
        const struct record_header *h = (const struct record_header *)(const void *)ring_at(&j->ring, at);
        uint64_t total = h->total_len;
        if (h->magic != RECORD_MAGIC || total < RECORD_HEADER || total > upto - at)
            return -EIO;
        if (at > j->tail && at + total - j->tail > room)
            break;
        at += total;
        *ret_last = h->seq;
    }
    *ret_len = (size_t)(at - j->tail);
    return 0;
}

static void publish(struct journal *j, size_t len, uint64_t last)
{
    if (atomic_load(&j->oldest_seq) == 0)
        atomic_store(&j->oldest_seq, atomic_load(&j->written_seq) + 1);
    atomic_store(&j->current->last_seq, last);
    atomic_store(&j->written_seq, last);
    j->tail += len;
    atomic_store(&j->ring.header->tail, j->tail);
    waitpoint_wake(&j->room);
    waitpoint_wake(&j->readers);
}

int writer_drain(struct journal *j, uint64_t upto)
{
    int rc = atomic_load(&j->failed);
    while (rc == 0 && j->tail < upto) {
        const struct record_header *h = (const struct record_header *)(const void *)ring_at(&j->ring, j->tail);
        uint64_t first = h->seq, last;
        size_t len;
        rc = ensure_current(j, h->total_len, first);
        if (rc < 0)
            break;
        uint64_t size = atomic_load(&j->current->size);
        uint64_t room = j->segment_size > size ? j->segment_size - size : 0;
        rc = gather(j, upto, room < WRITE_CHUNK ? room : WRITE_CHUNK, &len, &last);
        if (rc == 0)
            rc = write_records(j, ring_at(&j->ring, j->tail), len, first);
        if (rc == 0)
            publish(j, len, last);
    }
    writer_state(j, rc);
    return rc;
}

/* While somebody syncs again and again, the next sync finds most pages on the disk already. Whole pages only: a page
 * that is on its way could not be written to. */
static void begin_writeback(struct journal *j)
{
    uint64_t asked = atomic_load_explicit(&j->sync_asked_ns, memory_order_relaxed);
    struct segment *s = j->current;
    if (asked == 0 || !s || clock_mono_ns() - asked > EAGER_NS)
        return;
    uint64_t upto = atomic_load(&s->size) & ~(uint64_t)(EAGER_UNIT - 1), from = s->begun;
    if (upto <= from)
        return;
    fs_begin_writeback(s->fd, from, upto - from);
    s->begun = upto;
}

/* A block that was only allocated becomes a written one in the file system's own journal, with the first sync that
 * reaches into it; over zeros that are on the disk already a sync writes its data and nothing else. So where small
 * syncs follow each other, one of them takes zeros along for the next ones. To readers allocated and zero are the same,
 * and what goes wrong here shows with the sync. */
void writer_zero_ahead(struct journal *j)
{
    struct segment *s = j->current;
    uint64_t before = j->synced_ns, now = clock_mono_ns();
    j->synced_ns = now;
    if (!s || before == 0 || now - before > EAGER_NS)
        return;
    uint64_t size = atomic_load(&s->size);
    if (size <= s->zeroed || size >= s->room || size - s->synced > ZERO_AHEAD / ZERO_SYNCS)
        return;
    uint64_t len = s->room - size < ZERO_AHEAD ? s->room - size : ZERO_AHEAD;
    s->zeroed = fs_pwrite_all(s->fd, j->zeros, (size_t)len, size, NULL) < 0 ? s->room : size + len;
}

/* One round. Returns whether there was work; *ret_rc < 0: it could not be done. */
static bool work(struct journal *j, int *ret_rc)
{
    bool busy = false;
    int rc = 0;
    pthread_mutex_lock(&j->drain_lock);
    uint64_t head = atomic_load(&j->ring.header->head);
    if (head != j->tail) {
        busy = true;
        rc = writer_drain(j, head);
        if (rc == 0)
            begin_writeback(j);
    }
    if (rc == 0 && atomic_exchange(&j->roll_wanted, false)) {
        busy = true;
        (void)writer_roll(j);
        rc = writer_begin(j, atomic_load(&j->written_seq) + 1, j->segment_size);
        if (rc == 0)
            snapshot_begin(j);
    }
    if (rc == 0 && atomic_exchange(&j->notes_wanted, false)) {
        busy = true;
        rc = writer_note_lost(j);
        if (rc < 0)
            atomic_store(&j->notes_wanted, true);
    }
    if (rc == 0 && j->snapshots[0].active) {
        busy = true;
        rc = snapshot_step(j);
    }
    pthread_mutex_unlock(&j->drain_lock);
    *ret_rc = rc;
    return busy;
}

static bool has_work(struct journal *j)
{
    return atomic_load(&j->ring.header->head) != atomic_load(&j->ring.header->tail) || atomic_load(&j->roll_wanted) ||
           atomic_load(&j->notes_wanted) || atomic_load(&j->stop);
}

void *writer_main(void *journal)
{
    struct journal *j = journal;
    unsigned idle = 0;
    while (!atomic_load(&j->stop)) {
        int rc;
        bool snapshot_left = false;
        bool busy = work(j, &rc);
        progress_publish(j);
        if (busy)
            idle = 0;
        else if (idle < IDLE_AFTER)
            idle++;
        pthread_mutex_lock(&j->drain_lock);
        snapshot_left = j->snapshots[0].active;
        pthread_mutex_unlock(&j->drain_lock);
        if (snapshot_left && rc == 0)
            continue; /* between two parts, appenders and syncers had their chance */
        uint32_t seen = waitpoint_enter(&j->writer);
        uint64_t nap = rc < 0 ? RETRY_NS : idle < LAZY_AFTER ? NAP_NS : LAZY_NAP_NS;
        uint64_t until = clock_mono_ns() + nap;
        if (rc == 0 && idle >= IDLE_AFTER) {
            until = FUTEX_FOR_EVER;
            atomic_store(&j->writer_idle, 1);
            if (has_work(j)) {
                atomic_store(&j->writer_idle, 0);
                waitpoint_leave(&j->writer);
                continue;
            }
        } else if (atomic_load(&j->stop)) {
            waitpoint_leave(&j->writer);
            break;
        }
        waitpoint_sleep(&j->writer, seen, until);
        atomic_store(&j->writer_idle, 0);
    }
    return NULL;
}
