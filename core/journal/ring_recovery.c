/* ring_recovery.c - events that were acknowledged but not yet in a segment. SPDX-License-Identifier: Apache-2.0
 *
 * After the death of a process the ring holds everything it acknowledged. After a power loss its pages may be of any
 * age: then only events that follow the segments without a gap are believed, which also saves what a process killed
 * during an orderly shutdown left in it. All that is believed is written to a fresh segment and synced before the ring
 * is used again.
 */
#include "config.h"

#include "journal/recovery.h"

#include "base/fs.h"

#include <inttypes.h>

struct found {
    uint64_t seq;
    const struct record_header *head;
};

struct ring_contents {
    uint8_t *data; /* twice, back to back */
    struct found *found;
    size_t count, capacity;
};

static int by_seq(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int collect(struct ring_contents *c, uint64_t size, uint64_t start, uint64_t above)
{
    for (uint64_t at = start; at < start + size;) { /* a record at the end may reach into the copy */
        struct record_view v;
        if (base_le32(c->data + at) != RECORD_MAGIC || record_check(c->data + at, 2 * size - at, &v) != 0) {
            at += 8;
            continue;
        }
        at += v.head->total_len;
        if (v.head->kind != RECORD_KIND_EVENT || v.head->seq <= above)
            continue;
        if (c->count == c->capacity) {
            size_t capacity = c->capacity ? c->capacity * 2 : 1024;
            struct found *grown = realloc(c->found, capacity * sizeof *grown);
            if (!grown)
                return -ENOMEM;
            c->found = grown;
            c->capacity = capacity;
        }
        c->found[c->count++] = (struct found){v.head->seq, v.head};
    }
    if (c->count > 0)
        qsort(c->found, c->count, sizeof *c->found, by_seq);
    return 0;
}

/* How many of the found ones are believed. */
static size_t believed(const struct ring_contents *c, uint64_t last, uint64_t head_seq, bool same_boot)
{
    size_t n = 0;
    for (; n < c->count; n++) {
        bool follows = c->found[n].seq <= last + 1;
        if (!follows && !(same_boot && c->found[n].seq <= head_seq))
            break;
        last = c->found[n].seq > last ? c->found[n].seq : last;
    }
    return n;
}

/* The first n of them into a fresh segment, on disk. */
static int save(struct recovery *r, const struct ring_contents *c, size_t n)
{
    struct journal *j = r->j;
    AW_AUTOFREE uint8_t *buf = malloc(WRITE_CHUNK + RECORD_MAX);
    size_t len = 0;
    if (!buf)
        return -ENOMEM;
    int rc = writer_begin(j, c->found[0].seq, 0);
    if (rc < 0)
        return rc;
    struct segment *s = j->current;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct record_header *h = c->found[i].head;
        memcpy(buf + len, h, h->total_len);
        len += h->total_len;
        if (len >= WRITE_CHUNK || i + 1 == n) {
            rc = fs_pwrite_all(s->fd, buf, len, atomic_load(&s->size), NULL);
            if (rc == 0)
                atomic_store(&s->size, atomic_load(&s->size) + len);
            len = 0;
        }
    }
    if (rc == 0)
        rc = fs_fdatasync(s->fd);
    if (rc == 0)
        rc = fs_sync_dir(j->dirfd);
    if (rc < 0) {
        char name[SEGMENT_NAME_MAX];
        segment_name(s->first_seq, s->number, name);
        (void)fs_unlinkat(j->dirfd, name); /* the ring still has everything */
        return rc;
    }
    atomic_store(&s->last_seq, c->found[n - 1].seq);
    s->synced = atomic_load(&s->size);
    s->named = true;
    return 0;
}

static int take_over(struct recovery *r, const struct ring_facts *facts, bool same_boot, bool *ret_damaged)
{
    struct journal *j = r->j;
    struct ring_contents c = {NULL, NULL, 0, 0};
    bool sane = facts->tail <= facts->head && facts->head - facts->tail <= facts->size && facts->tail % 8 == 0;
    int rc = ring_read(j->dirfd, facts, &c.data);
    if (rc == 0)
        rc = collect(&c, facts->size, sane ? facts->tail & (facts->size - 1) : 0, r->newest);
    size_t n = rc == 0 ? believed(&c, r->newest, facts->head_seq, same_boot) : 0;
    if (n > 0) {
        rc = save(r, &c, n);
        if (rc < 0)
            diag_problem(rc, j->path,
                         "%zu events of an earlier process wait in the ring and cannot be written to a segment: %s", n,
                         strerror(-rc));
    }
    uint64_t before = r->newest, distinct = 0, previous = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct record_view v = {.head = c.found[i].head, .fields = (const struct field_ref *)(c.found[i].head + 1)};
        v.json = (const char *)(v.fields + v.head->field_count);
        recovery_saw(r, v.head->seq, true);
        recovery_head(r, &v);
        distinct += v.head->seq != previous;
        previous = v.head->seq;
    }
    atomic_store(&j->recovered, distinct);
    *ret_damaged = same_boot && rc == 0 && (r->newest - before != distinct || facts->head_seq > r->newest);
    if (n > 0 && rc == 0)
        journal_log(j, AW_LOG_INFO, "%s: %" PRIu64 " events of an earlier process were taken over from the ring",
                    j->path, distinct);
    free(c.found);
    free(c.data);
    return rc;
}

/* What the ring file says. 0 with *ret_have. */
static int inspect(struct recovery *r, struct ring_facts *facts, bool *ret_have)
{
    struct journal *j = r->j;
    const char *why = "it is damaged";
    *ret_have = false;
    int rc = ring_inspect(j->dirfd, facts);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0 && memcmp(&facts->identity, &j->identity, sizeof j->identity) != 0) {
        rc = -EBADMSG;
        why = "it belongs to another journal";
    }
    if (rc == 0) {
        *ret_have = true;
        return 0;
    }
    if (rc != -EBADMSG && rc != -EIO)
        return diag_problem(rc, j->path, "the ring cannot be read: %s", strerror(-rc));
    diag_problem(0, j->path,
                 "the file \"" RING_NAME "\" is of no use (%s); it was moved to " QUARANTINE_DIR
                 "/ and a new one is made; events that were only in it are lost",
                 why);
    journal_log(j, AW_LOG_WARNING, "%s/" RING_NAME ": of no use (%s), moved to " QUARANTINE_DIR "/", j->path, why);
    rc = quarantine_file(j, j->dirfd, RING_NAME, why);
    return rc < 0 ? diag_problem(rc, j->path, "the damaged ring cannot be moved away: %s", strerror(-rc)) : 0;
}

static int attach(struct recovery *r, const struct ring_facts *facts, bool reuse, const uint8_t boot_id[16],
                  uint64_t size)
{
    struct journal *j = r->j;
    int rc = reuse ? ring_map(j->dirfd, facts, &j->ring)
                   : ring_create(j->dirfd, size, boot_id, &j->identity, r->last, &j->ring);
    if (rc < 0)
        return diag_problem(rc, j->path, "the ring of %" PRIu64 " bytes cannot be made: %s", size, strerror(-rc));
    uint64_t at = reuse ? facts->head : 0;
    struct ring_header *h = j->ring.header;
    atomic_store(&h->head_seq, r->last);
    atomic_store(&h->head_seq_inverted, ~r->last);
    atomic_store(&h->tail, at);
    atomic_store(&h->head, at);
    j->head = j->tail = j->tail_seen = at;
    return 0;
}

int recovery_ring(struct recovery *r, uint64_t ring_size)
{
    struct journal *j = r->j;
    struct ring_facts facts = {.size = 0};
    uint8_t boot_id[16];
    static const uint8_t unknown[16];
    bool have, damaged = false;
    ring_boot_id(boot_id);
    int rc = inspect(r, &facts, &have);
    if (rc < 0)
        return rc;
    bool same_boot =
        have && memcmp(boot_id, facts.boot_id, sizeof boot_id) == 0 && memcmp(boot_id, unknown, sizeof boot_id) != 0;
    if (!r->any) {
        r->any = true; /* no segments: whatever was given out began with 1 */
        r->last = 0;
    }
    uint64_t in_segments = r->newest;
    if (have &&
        (facts.head != facts.tail || facts.head_seq == 0 || facts.head_seq > r->newest || r->last > r->newest)) {
        rc = take_over(r, &facts, same_boot, &damaged);
        if (rc < 0)
            return rc;
    }
    uint64_t highest = cursors_highest(j), known = have ? facts.head_seq : 0;
    if (known == 0 || !same_boot)
        known = r->tail_guess > known ? r->tail_guess : known;
    if (highest > r->last && highest > known)
        diag_problem(0, j->path,
                     "a reader has acknowledged event %" PRIu64 ", but the journal ends with %" PRIu64
                     ": the events between were delivered and are not in the journal any more",
                     highest, r->last);
    known = highest > known ? highest : known;
    if (known > r->last)
        recovery_saw(r, known + 1, false); /* given out, and nowhere to be found */
    if (damaged && in_segments < r->newest) {
        rc = quarantine_file(j, j->dirfd, RING_NAME, "events in it are damaged");
        have = rc == 0 ? false : have;
    }
    bool reuse = have && same_boot && facts.size == ring_size && facts.head % 8 == 0 && facts.tail <= facts.head;
    return attach(r, &facts, reuse, boot_id, ring_size);
}
