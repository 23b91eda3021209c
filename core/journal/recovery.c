/* recovery.c - opening what a process left behind, whatever happened to it. SPDX-License-Identifier: Apache-2.0
 *
 * All segments are read in the order of the journal; every record whose CRC holds is kept. Numbers are dense, so what
 * is missing is known exactly. Damaged bytes are copied aside and reported once: a NOTE in the next segment remembers
 * them. Being killed here at any point is harmless: nothing is changed before its replacement is on disk.
 */
#include "config.h"

#include "journal/recovery.h"

#include "base/fs.h"
#include "base/ids.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define MAX_SET_ASIDE 1000 /* damages copied aside per start */

/* ---- evidence ---------------------------------------------------------------------------------------------------- */

void recovery_given_out(struct recovery *r, uint64_t seq)
{
    if (!r->any) {
        r->any = true;
        r->last = r->newest = seq; /* where the oldest segment begins: what came before was let go */
    }
    if (seq <= r->last)
        return;
    if (seqset_add(&r->missing, r->last + 1, seq) < 0)
        r->nomem = true;
    r->last = seq;
}

void recovery_saw(struct recovery *r, uint64_t seq, bool event)
{
    recovery_given_out(r, seq - 1);
    for (; r->damage_open < r->damage_count; r->damage_open++)
        r->damages[r->damage_open].before = seq;
    if (!event)
        return;
    if (seq > r->newest)
        r->newest = seq;
    if (seq > r->last)
        r->last = seq;
    else if (r->missing.count > 0 && seqset_remove(&r->missing, seq, seq) < 0)
        r->nomem = true;
}

void recovery_head(struct recovery *r, const struct record_view *v)
{
    struct journal *j = r->j;
    uint64_t scope[2] = {v->head->scope[0], v->head->scope[1]};
    if (v->head->flags & RECORD_UNCHAINED)
        return;
    if (r->rehash)
        journal_scope_of(j, v, scope);
    struct chain_head *h = chain_table_get(j->chains, scope);
    if (!h) {
        r->nomem = true;
    } else if (v->head->seq > h->seq) {
        h->seq = v->head->seq;
        memcpy(h->hash, v->head->hash, sizeof h->hash);
    }
}

static void take_snapshot(struct recovery *r, const struct record_view *v)
{
    struct snapshot_payload p;
    const struct chain_head *heads = (const struct chain_head *)(const void *)(v->json + sizeof p);
    if (v->head->json_len < sizeof p)
        return;
    memcpy(&p, v->json, sizeof p);
    if (p.count > (v->head->json_len - sizeof p) / sizeof *heads || r->rehash)
        return;
    if (r->growing.below != p.below || r->growing.number != p.number)
        r->growing = (struct snapshot){.below = p.below, .number = p.number};
    r->growing.heads += p.count;
    for (size_t i = 0; i < p.count; i++) {
        if (heads[i].seq == 0 || heads[i].seq > RECORD_SEQ_MAX)
            continue;
        struct chain_head *h = chain_table_get(r->j->chains, heads[i].scope);
        if (!h)
            r->nomem = true;
        else if (heads[i].seq > h->seq)
            *h = heads[i];
    }
}

static void take_snapshot_end(struct recovery *r, const struct record_view *v)
{
    struct snapshot_end_payload e;
    if (v->head->json_len != sizeof e)
        return;
    memcpy(&e, v->json, sizeof e);
    if (e.lost > r->lost_before)
        r->lost_before = e.lost;
    if (e.head_seq > RECORD_SEQ_MAX)
        return;
    recovery_given_out(r, e.head_seq);
    if (e.heads > 0 && (r->growing.below != e.below || r->growing.number != e.number || r->growing.heads != e.heads))
        return;
    struct snapshot *s = r->j->snapshots;
    s[1] = s[0];
    s[0] = (struct snapshot){
        .complete = true, .below = e.below, .number = e.number, .heads = e.heads, .head_seq = e.head_seq};
}

static void take_note(struct recovery *r, const struct record_view *v)
{
    struct note_payload n;
    if (v->head->json_len < sizeof n)
        return;
    memcpy(&n, v->json, sizeof n);
    if (n.count > (v->head->json_len - sizeof n) / 8)
        return;
    const char *values = v->json + sizeof n;
    r->closed = n.type == NOTE_CLOSED;
    if (n.type != NOTE_LOST || n.count == 0)
        return;
    if (base_le64(values) > r->lost_before)
        r->lost_before = base_le64(values);
    for (size_t i = 1; i + 1 < n.count; i += 2) {
        uint64_t first = base_le64(values + 8 * i), last = base_le64(values + 8 * i + 8);
        if (first > 0 && last <= RECORD_SEQ_MAX && seqset_add(&r->known, first, last) < 0)
            r->nomem = true;
    }
}

/* ---- segments ---------------------------------------------------------------------------------------------------- */

/* An event has a scope, which is a keyed hash, and a time; other records have zeros there, whatever byte of them is
 * damaged. */
static bool no_event(const struct record_header *h)
{
    const uint8_t *p = (const uint8_t *)h + offsetof(struct record_header, occurred_ns);
    unsigned set = 0;
    for (size_t i = 0; i < RECORD_HEADER - offsetof(struct record_header, occurred_ns); i++)
        set += p[i] != 0;
    return set <= 4 && (h->magic == RECORD_MAGIC || h->kind > RECORD_KIND_EVENT);
}

void recovery_guess_tail(struct recovery *r, int fd, uint64_t from, uint64_t to)
{
    uint64_t guess = r->last + 1;
    struct record_header h;
    for (uint64_t at = from; at + sizeof h <= to && at - from < (4u << 20); at += 8) {
        if (fs_pread_full(fd, &h, sizeof h, at) != (ssize_t)sizeof h)
            break;
        if (at == from && no_event(&h))
            guess = r->last;
        if (h.magic == RECORD_MAGIC && h.kind == RECORD_KIND_EVENT && h.seq > guess &&
            h.seq <= r->last + 1 + (at - from) / RECORD_HEADER)
            guess = h.seq;
    }
    r->tail_guess = guess;
}

void recovery_damage(struct recovery *r, const struct segment *s, const struct segment_scan *scan, uint64_t after)
{
    if (r->damage_count == r->damage_capacity) {
        size_t capacity = r->damage_capacity ? r->damage_capacity * 2 : 16;
        struct damage *grown = realloc(r->damages, capacity * sizeof *grown);
        if (!grown) {
            r->nomem = true;
            return;
        }
        r->damages = grown;
        r->damage_capacity = capacity;
    }
    r->damages[r->damage_count++] = (struct damage){.first_seq = s->first_seq,
                                                    .number = s->number,
                                                    .from = scan->damage_from,
                                                    .to = scan->damage_to,
                                                    .after = after};
}

void recovery_record(struct recovery *r, const struct record_view *v)
{
    r->closed = false;
    recovery_saw(r, v->head->seq, v->head->kind == RECORD_KIND_EVENT);
    if (v->head->kind == RECORD_KIND_EVENT)
        recovery_head(r, v);
    else if (v->head->kind == RECORD_KIND_SNAPSHOT)
        take_snapshot(r, v);
    else if (v->head->kind == RECORD_KIND_SNAPSHOT_END)
        take_snapshot_end(r, v);
    else if (v->head->kind == RECORD_KIND_NOTE)
        take_note(r, v);
}

static int scan_segment(struct recovery *r, struct segment *s, int fd, uint64_t file_size)
{
    struct segment_scan scan = {.fd = -1};
    struct record_view v;
    int rc;
    uint64_t end = SEGMENT_DATA;
    uint64_t last_here = s->first_seq - 1; /* other records may have told of later seqs already */
    bool damaged_tail = false;
    scan_init(&scan, fd, SEGMENT_DATA, file_size, s->first_seq - 1);
    recovery_given_out(r, s->first_seq - 1);
    while ((rc = scan_next(&scan, &v)) == 0 || rc == -EBADMSG) {
        r->closed = false;
        damaged_tail = rc < 0;
        if (rc < 0) {
            recovery_damage(r, s, &scan, last_here);
            continue;
        }
        end = scan.pos;
        recovery_record(r, &v);
        if (v.head->kind == RECORD_KIND_EVENT) {
            last_here = v.head->seq;
            if (v.head->seq > atomic_load(&s->last_seq))
                atomic_store(&s->last_seq, v.head->seq);
        }
    }
    scan_free(&scan);
    if (rc != -ENODATA)
        return rc;
    r->tail_guess = 0;
    if (damaged_tail && !r->nomem) {
        struct damage *d = &r->damages[r->damage_count - 1];
        d->tail = true;
        recovery_guess_tail(r, fd, d->from, d->to);
    }
    atomic_store(&s->size, end);
    if (!damaged_tail && end < file_size)
        (void)fs_truncate(fd, end); /* zeros of the preallocation; they do no harm where this fails */
    return 0;
}

/* A process that is killed between making a segment and writing its header leaves zeros. */
static bool blank(int fd)
{
    uint8_t page[SEGMENT_DATA];
    ssize_t n = fs_pread_full(fd, page, sizeof page, 0);
    for (ssize_t i = 0; i < n; i++)
        if (page[i] != 0)
            return false;
    return n >= 0;
}

/* The header page: says who the journal is. Sets *ret_identity when it is sound. */
static int read_identity(struct recovery *r, struct segment *s, int fd, bool *have,
                         struct journal_identity *ret_identity)
{
    struct journal_identity identity;
    uint64_t first_seq = 0;
    unsigned copies;
    char name[SEGMENT_NAME_MAX];
    segment_name(s->first_seq, s->number, name);
    int rc = segment_read_header(fd, &identity, &first_seq, &copies);
    if (rc == 0) {
        *ret_identity = identity; /* of the newest in the end */
        *have = true;
    }
    if (rc < 0 && rc != -EBADMSG && rc != -EIO)
        return rc;
    if (copies < 2 && !blank(fd))
        diag_problem(0, r->j->path, "%s: %s of its header is damaged; %s", name, copies ? "one copy" : "every copy",
                     copies ? "the other one is used" : "its records are read without it");
    if (rc == 0 && first_seq != s->first_seq)
        diag_problem(0, r->j->path, "%s: was renamed: its header says that it begins with event %" PRIu64, name,
                     first_seq);
    return 0;
}

static int list_segments(struct journal *j)
{
    int fd = -1, rc = fs_openat(j->dirfd, ".", O_RDONLY | O_DIRECTORY, 0, &fd);
    if (rc < 0)
        return rc;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        rc = -errno;
        (void)fs_close(fd);
        return rc;
    }
    for (struct dirent *e; rc == 0 && (errno = 0, e = readdir(dir)) != NULL;) {
        uint64_t first;
        uint32_t number;
        if (!segment_parse_name(e->d_name, &first, &number))
            continue;
        struct segment *s = calloc(1, sizeof *s);
        if (!s) {
            rc = -ENOMEM;
            break;
        }
        *s = (struct segment){.first_seq = first, .number = number, .fd = -1, .synced = SEGMENT_DATA};
        atomic_init(&s->last_seq, first - 1);
        atomic_init(&s->size, SEGMENT_DATA);
        rc = segments_insert(j, s);
        if (rc < 0)
            free(s);
    }
    if (rc == 0 && errno != 0)
        rc = -errno;
    (void)closedir(dir);
    return rc;
}

/* fn(segment, descriptor, file size) for each; a segment that cannot be opened at all is reported and left out. */
static int each_segment(struct recovery *r, int (*fn)(struct recovery *, struct segment *, int, uint64_t, void *),
                        void *arg)
{
    struct journal *j = r->j;
    for (size_t i = 0; i < j->segment_count;) {
        struct segment *s = j->segments[i];
        char name[SEGMENT_NAME_MAX];
        AW_AUTOCLOSE int fd = -1;
        struct stat st;
        segment_name(s->first_seq, s->number, name);
        int rc = fs_openat(j->dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
        if (rc == 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
            rc = -EBADMSG;
        if (rc == -EBADMSG || rc == -EISDIR || rc == -ELOOP || rc == -ENXIO) {
            diag_problem(0, j->path, "%s is not a regular file and was moved to " QUARANTINE_DIR "/", name);
            (void)quarantine_file(j, j->dirfd, name, "no regular file");
            segments_remove(j, s);
            continue;
        }
        if (rc == 0)
            rc = fn(r, s, fd, (uint64_t)st.st_size, arg);
        if (rc < 0)
            return diag_problem(rc, j->path, "%s cannot be read: %s", name, strerror(-rc));
        i++;
    }
    return 0;
}

struct identity_search {
    bool have, records;
    struct journal_identity identity;
};

static int identify_one(struct recovery *r, struct segment *s, int fd, uint64_t size, void *arg)
{
    struct identity_search *f = arg;
    f->records = f->records || size > SEGMENT_DATA;
    return read_identity(r, s, fd, &f->have, &f->identity);
}

static int scan_one(struct recovery *r, struct segment *s, int fd, uint64_t size, void *arg)
{
    (void)arg;
    return scan_segment(r, s, fd, size);
}

static int identify(struct recovery *r)
{
    struct journal *j = r->j;
    struct identity_search found = {.have = false};
    struct ring_facts facts;
    int rc = each_segment(r, identify_one, &found);
    if (rc < 0)
        return rc;
    if (!found.have && ring_inspect(j->dirfd, &facts) == 0) {
        found.identity = facts.identity;
        found.have = true;
    }
    if (!found.have) {
        rc = ids_random(&found.identity, sizeof found.identity);
        if (rc < 0)
            return diag_problem(rc, j->path, "no random bytes for the journal's key: %s", strerror(-rc));
        r->rehash = found.records;
    }
    j->identity = found.identity;
    journal_derive_keys(j);
    return 0;
}

/* ---- what was found ------------------------------------------------------------------------------------------------
 */

bool recovery_missing_between(const struct seq_set *missing, uint64_t after, uint64_t before, char *buf, size_t size)
{
    struct seq_set part = {NULL, 0, 0};
    int rc = 0;
    for (size_t i = 0; i < missing->count && rc == 0; i++) {
        uint64_t first = missing->ranges[i].first, last = missing->ranges[i].last;
        first = first > after ? first : after + 1;
        last = last < before ? last : before - 1;
        if (first <= last)
            rc = seqset_add(&part, first, last);
    }
    bool any = part.count > 0;
    seqset_text(&part, buf, size);
    seqset_free(&part);
    return any;
}

static void report_damage(struct recovery *r, const struct damage *d)
{
    struct journal *j = r->j;
    char name[SEGMENT_NAME_MAX], missing[600];
    segment_name(d->first_seq, d->number, name);
    bool any = recovery_missing_between(&r->missing, d->after, d->before ? d->before : r->last + 1, missing,
                                        sizeof missing),
         is_new = false;
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_openat(j->dirfd, name, O_RDONLY | O_NOFOLLOW, 0, &fd);
    if (rc == 0)
        quarantine_bytes(j, name, fd, d->from, d->to, missing, &is_new);
    if (!is_new && rc == 0)
        return;            /* set aside and reported by an earlier start */
    if (d->tail && !any) { /* a process killed within a write; the event is in the ring, or nobody was told of it */
        journal_log(j, AW_LOG_INFO, "%s/%s: an unfinished write of %" PRIu64 " bytes at its end was set aside", j->path,
                    name, d->to - d->from);
        return;
    }
    diag_problem(0, j->path,
                 "%s: %" PRIu64 " damaged bytes at offset %" PRIu64 " were set aside in " QUARANTINE_DIR "/; %s%s",
                 name, d->to - d->from, d->from, any ? "missing events: " : "no event is missing by that", missing);
    journal_log(j, AW_LOG_WARNING, "%s/%s: %" PRIu64 " damaged bytes at offset %" PRIu64 "; missing events: %s",
                j->path, name, d->to - d->from, d->from, any ? missing : "none");
}

static int report(struct recovery *r)
{
    struct journal *j = r->j;
    char text[600];
    size_t n = r->damage_count < MAX_SET_ASIDE ? r->damage_count : MAX_SET_ASIDE;
    for (size_t i = 0; i < n; i++)
        report_damage(r, &r->damages[i]);
    if (n < r->damage_count)
        diag_problem(0, j->path, "%zu more damaged places were found and left where they are", r->damage_count - n);
    struct seq_set fresh = {NULL, 0, 0};
    int rc = 0;
    for (size_t i = 0; i < r->missing.count && rc == 0; i++)
        rc = seqset_add(&fresh, r->missing.ranges[i].first, r->missing.ranges[i].last);
    for (size_t i = 0; i < r->known.count && rc == 0; i++)
        rc = seqset_remove(&fresh, r->known.ranges[i].first, r->known.ranges[i].last);
    uint64_t lost = seqset_total(&fresh);
    if (rc == 0 && lost > 0) {
        diag_problem(0, j->path, "%" PRIu64 " event%s missing from the journal: seq %s", lost,
                     lost == 1 ? " is" : "s are", seqset_text(&fresh, text, sizeof text));
        journal_log(j, AW_LOG_ERROR, "%s: %" PRIu64 " event%s missing: seq %s", j->path, lost,
                    lost == 1 ? " is" : "s are", seqset_text(&fresh, text, sizeof text));
        atomic_store(&j->notes_wanted, true);
    }
    atomic_store(&j->lost, r->lost_before + lost);
    seqset_free(&fresh);
    return rc;
}

/* ---- all of it -----------------------------------------------------------------------------------------------------
 */

/* Segments without any record are left-overs of a start or a crash. */
static void drop_empty(struct journal *j)
{
    for (size_t i = 0; i < j->segment_count;) {
        struct segment *s = j->segments[i];
        struct stat st;
        char name[SEGMENT_NAME_MAX];
        segment_name(s->first_seq, s->number, name);
        bool empty = atomic_load(&s->size) == SEGMENT_DATA && fstatat(j->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                     st.st_size <= (off_t)SEGMENT_DATA;
        if (empty) {
            (void)fs_unlinkat(j->dirfd, name); /* found again the next time */
            segments_remove(j, s);
        } else {
            i++;
        }
    }
}

static void settle(struct recovery *r, bool clean)
{
    struct journal *j = r->j;
    uint64_t bytes = 0, since = 0;
    for (size_t i = 0; i < j->segment_count; i++) {
        struct segment *s = j->segments[i];
        uint64_t size = atomic_load(&s->size);
        bool of_this_start = s->fd >= 0;
        if (!of_this_start) {
            s->dirty = !clean;
            s->named = clean;
            s->synced = clean ? size : SEGMENT_DATA;
        }
        bytes += size;
        if (segment_compare(s->first_seq, s->number, j->snapshots[0].below, j->snapshots[0].number) >= 0)
            since += size;
    }
    atomic_store(&j->bytes, bytes);
    j->written_bytes = since;
    for (size_t i = 0; i < AW_ARRAY_LEN(j->snapshots); i++)
        j->snapshots[i].durable = j->snapshots[i].complete && clean;
    j->next_seq = r->last + 1;
    atomic_store(&j->written_seq, r->last);
    atomic_store(&j->durable_seq, clean ? r->last : 0);
    atomic_store(&j->dirty, !clean);
    atomic_store(&j->full, bytes >= j->quota ? FULL_QUOTA : 0);
    j->missing = r->missing;
    r->missing = (struct seq_set){NULL, 0, 0};
    segments_update_oldest(j);
}

static int run(struct recovery *r, uint64_t ring_size)
{
    struct journal *j = r->j;
    int rc = list_segments(j);
    if (rc < 0)
        return diag_problem(rc, j->path, "the journal directory cannot be read: %s", strerror(-rc));
    rc = identify(r);
    if (rc == 0)
        rc = each_segment(r, scan_one, NULL);
    if (rc < 0)
        return rc;
    if (j->segment_count > 0 && j->segments[0]->first_seq > 1 && !j->snapshots[0].complete && j->chained)
        diag_problem(0, j->path,
                     "no complete record of the chain heads is left: chains whose events are all gone start anew");
    drop_empty(j);
    bool clean = r->closed;
    rc = cursors_load(j);
    if (rc < 0)
        return diag_problem(rc, j->path, "the cursors cannot be read: %s", strerror(-rc));
    uint64_t found = r->last;
    rc = recovery_ring(r, ring_size);
    if (rc < 0)
        return rc;
    if (r->nomem)
        return diag_problem(-ENOMEM, j->path, "out of memory while the journal was recovered");
    clean = clean && r->last == found;
    rc = report(r);
    if (rc < 0)
        return rc;
    settle(r, clean);
    return 0;
}

int recovery_run(struct journal *j, uint64_t ring_size)
{
    struct recovery r = {.j = j};
    int rc = run(&r, ring_size);
    seqset_free(&r.missing);
    seqset_free(&r.known);
    free(r.damages);
    return rc;
}
