/* examine.c - see examine.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/examine.h"

#include "base/clock.h"
#include "base/fs.h"
#include "journal/recovery.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define LIVE_TRIES 5 /* looks at damage in a segment that is being written */
#define LIVE_NAP_NS 20000000u

struct examination {
    struct recovery r; /* r.j: what recovery would fill; no file of it is open for writing */
    struct examine_state *state;
    const struct examiner *fn;
    const char *path;
    int dirfd, quarantine_dirfd;
    bool trimmed;                 /* the segment before was removed while others were read */
    struct examine_finding *held; /* findings of headers and files; their texts are malloc'd */
    size_t held_count;
};

static void give(struct examination *x, const struct examine_finding *f)
{
    if (f->known)
        x->state->known++;
    else
        x->state->findings++;
    if (x->fn->finding)
        x->fn->finding(x->fn->arg, f);
}

/* A finding that is told at the end, so that segments come first. */
static AW_PRINTF(6, 7) void hold(struct examination *x, int kind, const char *file, uint64_t offset, uint64_t length,
                                 const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct examine_finding *more = realloc(x->held, (x->held_count + 1) * sizeof *more);
    if (more)
        x->held = more;
    char *copy = more ? strdup(text) : NULL, *name = copy ? strdup(file) : NULL;
    if (!name) {
        free(copy);
        x->r.nomem = true;
        return;
    }
    x->held[x->held_count++] = (struct examine_finding){
        .kind = kind, .file = name, .offset = offset, .length = length, .seqs = "", .text = copy};
}

static void give_held(struct examination *x)
{
    for (size_t i = 0; i < x->held_count; i++) {
        give(x, &x->held[i]);
        free((char *)(uintptr_t)x->held[i].file);
        free((char *)(uintptr_t)x->held[i].text);
    }
    free(x->held);
    x->held = NULL;
    x->held_count = 0;
}

/* ---- segments ---------------------------------------------------------------------------------------------------- */

static void look_at_header(struct examination *x, int fd, struct examine_segment *s, uint64_t first_seq)
{
    struct journal_identity identity;
    uint64_t says = 0;
    uint8_t page[SEGMENT_DATA] = {0};
    int rc = segment_read_header(fd, &identity, &says, &s->header_copies);
    if (rc == 0) {
        x->state->have_identity = true;
        x->state->identity = identity;
    }
    bool blank = s->size < SEGMENT_DATA;
    if (s->header_copies == 0 && fs_pread_full(fd, page, sizeof page, 0) == (ssize_t)sizeof page) {
        blank = true;
        for (size_t i = 0; i < sizeof page; i++)
            blank = blank && page[i] == 0;
    }
    if (s->header_copies < 2 && !blank && !(x->state->live_pid && s->size <= SEGMENT_DATA))
        hold(x, EXAMINE_HEADER, s->file, 0, SEGMENT_DATA, "%s of its header is damaged; %s",
             s->header_copies ? "one copy" : "every copy",
             s->header_copies ? "the other one is used" : "its records are read without it");
    if (rc == 0 && says != first_seq)
        hold(x, EXAMINE_HEADER, s->file, 0, SEGMENT_DATA,
             "it was renamed: its header says that it begins with event %" PRIu64, says);
}

static void count_record(struct examination *x, struct examine_segment *s, const struct record_view *v, uint64_t at)
{
    const struct record_header *h = v->head;
    if (h->kind == RECORD_KIND_EVENT) {
        s->first_seq = s->first_seq ? s->first_seq : h->seq;
        s->last_seq = h->seq;
        s->first_ns = s->first_ns ? s->first_ns : h->sealed_ns;
        s->last_ns = h->sealed_ns;
        s->events++;
    } else {
        s->others++;
        x->state->snapshots += h->kind == RECORD_KIND_SNAPSHOT_END;
        x->state->notes += h->kind == RECORD_KIND_NOTE;
    }
    if (x->fn->record)
        x->fn->record(x->fn->arg, s->file, at, v);
}

/* Is what stands at [from, to) of a segment that grows still no record after a while? What a writer puts there is. */
static bool damage_stays(int fd, struct segment_scan *scan, uint64_t last_seq)
{
    for (int i = 0; i < LIVE_TRIES; i++) {
        struct segment_scan again = {.fd = -1};
        struct record_view v;
        clock_sleep_ns(LIVE_NAP_NS);
        scan_init(&again, fd, scan->damage_from, scan->damage_to, last_seq);
        int rc = scan_next(&again, &v);
        scan_free(&again);
        if (rc == 0)
            return false;
    }
    return true;
}

static int read_segment(struct examination *x, struct segment *s, int fd, struct examine_segment *out, bool newest)
{
    struct segment_scan scan = {.fd = -1};
    struct record_view v;
    uint64_t last_here = s->first_seq - 1, at = SEGMENT_DATA;
    bool damaged_tail = false, growing = newest && x->state->live_pid;
    int rc;
    recovery_given_out(&x->r, s->first_seq - 1);
    out->used = SEGMENT_DATA;
    scan_init(&scan, fd, SEGMENT_DATA, out->size, s->first_seq - 1);
    while ((rc = scan_next(&scan, &v)) == 0 || rc == -EBADMSG) {
        damaged_tail = rc < 0;
        if (rc < 0) {
            if (growing && scan.pos >= scan.end)
                continue; /* its end is being written */
            if (growing && !damage_stays(fd, &scan, last_here)) {
                uint64_t from = scan.damage_from;
                scan_init(&scan, fd, from, out->size, last_here); /* it is a record by now */
                continue;
            }
            recovery_damage(&x->r, s, &scan, last_here);
            continue;
        }
        at = scan.pos - v.head->total_len;
        out->used = scan.pos;
        recovery_record(&x->r, &v);
        out->closed = x->r.closed;
        count_record(x, out, &v, at);
        if (v.head->kind == RECORD_KIND_EVENT)
            last_here = v.head->seq;
    }
    scan_free(&scan);
    x->r.tail_guess = 0;
    if (damaged_tail && !growing && !x->r.nomem) {
        struct damage *d = &x->r.damages[x->r.damage_count - 1];
        d->tail = true;
        x->r.closed = out->closed = false;
        recovery_guess_tail(&x->r, fd, d->from, d->to);
    }
    return rc == -ENODATA ? 0 : rc;
}

static int one_segment(struct examination *x, struct segment *s, bool newest)
{
    struct examine_segment out = {.named = s->first_seq, .number = s->number};
    AW_AUTOCLOSE int fd = -1;
    struct stat st;
    segment_name(s->first_seq, s->number, out.file);
    int rc = fs_openat(x->dirfd, out.file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (rc == -ENOENT && x->state->live_pid) {
        x->r.last = s->first_seq - 1 > x->r.last ? s->first_seq - 1 : x->r.last;
        x->trimmed = true;
        return 0; /* just now, and with it all that came before */
    }
    if (x->trimmed && s->first_seq - 1 > x->r.last)
        x->r.last = s->first_seq - 1;
    x->trimmed = false;
    if (rc == 0 && fstat(fd, &st) < 0)
        return -errno;
    if (rc == -ELOOP || rc == -ENXIO || rc == -EISDIR || (rc == 0 && !S_ISREG(st.st_mode))) {
        hold(x, EXAMINE_STRANGE, out.file, 0, 0, "it is no regular file");
        return 0;
    }
    if (rc < 0)
        return rc;
    out.size = (uint64_t)st.st_size;
    look_at_header(x, fd, &out, s->first_seq);
    rc = read_segment(x, s, fd, &out, newest);
    if (rc < 0)
        return rc;
    struct examine_state *state = x->state;
    state->segments++;
    state->bytes += out.used;
    state->events += out.events;
    state->closed = out.closed;
    state->oldest = state->oldest ? state->oldest : out.first_seq;
    state->newest = out.last_seq > state->newest ? out.last_seq : state->newest;
    if (x->fn->segment)
        x->fn->segment(x->fn->arg, &out);
    return 0;
}

static int list_segments(struct examination *x)
{
    int fd = -1, rc = fs_openat(x->dirfd, ".", O_RDONLY | O_DIRECTORY, 0, &fd);
    DIR *dir = rc == 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        rc = rc == 0 ? -errno : rc;
        if (fd >= 0)
            (void)fs_close(fd);
        return rc;
    }
    for (struct dirent *e; rc == 0 && (errno = 0, e = readdir(dir)) != NULL;) {
        uint64_t first;
        uint32_t number;
        struct segment_facts facts;
        if (!segment_parse_name(e->d_name, &first, &number) || segments_get(x->r.j, first, number, &facts))
            continue;
        struct segment *s = calloc(1, sizeof *s);
        if (!s) {
            rc = -ENOMEM;
            break;
        }
        *s = (struct segment){.first_seq = first, .number = number, .fd = -1};
        rc = segments_insert(x->r.j, s);
        if (rc < 0)
            free(s);
    }
    if (rc == 0 && errno != 0)
        rc = -errno;
    (void)closedir(dir);
    return rc;
}

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

/* Damage between tail and head: offsets in the file. */
static void ring_damage(struct examination *x, const uint8_t *data)
{
    const struct ring_facts *f = &x->state->ring_facts;
    uint64_t bad = 0;
    for (uint64_t at = f->tail; at < f->head;) {
        struct record_view v;
        uint64_t in = at & (f->size - 1);
        bool good = record_check(data + in, f->head - at, &v) == 0;
        if (!good && bad == 0)
            bad = at + 1;
        at += good ? v.head->total_len : 8;
        if (bad && (good || at >= f->head)) {
            uint64_t from = bad - 1, to = good ? at - v.head->total_len : f->head;
            hold(x, EXAMINE_RING, RING_NAME, RING_DATA + (from & (f->size - 1)), to - from,
                 "%" PRIu64 " bytes that are not in a segment yet are no record", to - from);
            bad = 0;
        }
    }
}

/* Events that are in the ring only, also where it was drained already and a segment lost them since; recovery takes
 * them from there. Those of another run of the system count as far as they follow without a gap; so do those of a
 * process at work, which fills segments that were read already. */
static void ring_records(struct examination *x, const uint8_t *data, bool sane)
{
    const struct ring_facts *f = &x->state->ring_facts;
    uint64_t newest = x->state->newest, start = sane ? f->tail & (f->size - 1) : 0;
    for (uint64_t at = start; at < start + f->size;) {
        struct record_view v;
        if (base_le32(data + at) != RECORD_MAGIC || record_check(data + at, 2 * f->size - at, &v) != 0) {
            at += 8;
            continue;
        }
        uint64_t in = at & (f->size - 1), seq = v.head->seq;
        at += v.head->total_len;
        bool counts = x->state->same_boot && !x->state->live_pid && seq <= f->head_seq;
        if (v.head->kind != RECORD_KIND_EVENT || seq <= newest || (seq != newest + 1 && !counts))
            continue;
        newest = seq;
        x->state->ring_events++;
        recovery_saw(&x->r, seq, true);
        recovery_head(&x->r, &v);
        if (x->fn->record)
            x->fn->record(x->fn->arg, RING_NAME, RING_DATA + in, &v);
    }
}

static int look_at_ring(struct examination *x)
{
    struct examine_state *s = x->state;
    uint8_t boot_id[16];
    static const uint8_t unknown[16];
    s->ring = ring_inspect(x->dirfd, &s->ring_facts);
    if (s->ring == -EBADMSG)
        hold(x, EXAMINE_RING, RING_NAME, 0, RING_DATA, "its header is damaged; events that are only in it are lost");
    if (s->ring != 0)
        return s->ring == -ENOENT || s->ring == -EBADMSG ? 0 : s->ring;
    const struct ring_facts *f = &s->ring_facts;
    if (s->have_identity && memcmp(&f->identity, &s->identity, sizeof s->identity) != 0) {
        hold(x, EXAMINE_RING, RING_NAME, 0, RING_DATA, "it belongs to another journal");
        s->ring = -EBADMSG;
        return 0;
    }
    s->identity = f->identity;
    s->have_identity = true;
    ring_boot_id(boot_id);
    s->same_boot = memcmp(boot_id, f->boot_id, sizeof boot_id) == 0 && memcmp(boot_id, unknown, sizeof boot_id) != 0;
    bool sane = f->tail <= f->head && f->head - f->tail <= f->size && f->tail % 8 == 0 && f->head % 8 == 0;
    if (!sane && !s->live_pid)
        hold(x, EXAMINE_RING, RING_NAME, 128, 72, "where it begins and ends makes no sense");
    if (f->head == f->tail && f->head_seq != 0 && f->head_seq <= s->newest)
        return 0; /* all of it is in segments */
    AW_AUTOFREE uint8_t *data = NULL;
    int rc = ring_read(x->dirfd, f, &data);
    if (rc < 0)
        return rc == -EBADMSG ? 0 : rc;
    if (sane && !s->live_pid && s->same_boot)
        ring_damage(x, data);
    if (!x->r.any)
        recovery_given_out(&x->r, 0); /* no segments: whatever was given out began with 1 */
    ring_records(x, data, sane);
    return 0;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static void count_quarantine(struct examination *x)
{
    struct stat st;
    int fd = -1;
    if (x->quarantine_dirfd < 0 || fs_openat(x->quarantine_dirfd, ".", O_RDONLY | O_DIRECTORY, 0, &fd) < 0)
        return;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        (void)fs_close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".bin") != 0 || e->d_name[0] == '.' ||
            fstatat(x->quarantine_dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        x->state->quarantine_files++;
        x->state->quarantine_bytes += (uint64_t)st.st_size;
    }
    (void)closedir(dir);
}

static bool set_aside_already(const struct examination *x, const char *file, uint64_t from)
{
    char name[140];
    struct stat st;
    snprintf(name, sizeof name, "%.*s-%" PRIu64 ".bin", (int)strcspn(file, "."), file, from);
    return x->quarantine_dirfd >= 0 && fstatat(x->quarantine_dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int give_damages(struct examination *x, struct seq_set *unexplained)
{
    struct recovery *r = &x->r;
    int rc = 0;
    for (size_t i = 0; i < r->damage_count && rc == 0; i++) {
        const struct damage *d = &r->damages[i];
        char file[SEGMENT_NAME_MAX], seqs[600] = "", text[200];
        uint64_t before = d->before ? d->before : r->last + 1;
        segment_name(d->first_seq, d->number, file);
        bool any = recovery_missing_between(&r->missing, d->after, before, seqs, sizeof seqs);
        bool known = set_aside_already(x, file, d->from);
        snprintf(text, sizeof text, "%" PRIu64 " bytes are no record%s%s", d->to - d->from,
                 d->tail ? ": an unfinished write, or damage" : "", known ? "; set aside in " QUARANTINE_DIR "/" : "");
        give(x, &(struct examine_finding){.kind = EXAMINE_DAMAGED,
                                          .known = known,
                                          .file = file,
                                          .offset = d->from,
                                          .length = d->to - d->from,
                                          .seqs = any ? seqs : "",
                                          .text = text});
        if (any && before > d->after + 1)
            rc = seqset_remove(unexplained, d->after + 1, before - 1);
    }
    return rc;
}

static int give_missing(struct examination *x)
{
    struct recovery *r = &x->r;
    struct seq_set fresh = {NULL, 0, 0}, unexplained = {NULL, 0, 0}, known = {NULL, 0, 0};
    char text[600];
    int rc = 0;
    for (size_t i = 0; i < r->missing.count && rc == 0; i++) {
        rc = seqset_add(&fresh, r->missing.ranges[i].first, r->missing.ranges[i].last);
        if (rc == 0)
            rc = seqset_add(&unexplained, r->missing.ranges[i].first, r->missing.ranges[i].last);
    }
    /* Snapshots tell of events that were still in the ring when they were written. In a journal in use, what follows
     * the newest event that was seen has been on its way from the ring to a segment since. */
    if (rc == 0 && x->state->live_pid) {
        rc = seqset_remove(&fresh, r->newest + 1, UINT64_MAX);
        if (rc == 0)
            rc = seqset_remove(&unexplained, r->newest + 1, UINT64_MAX);
    }
    if (rc == 0)
        rc = give_damages(x, &unexplained);
    for (size_t i = 0; i < r->known.count && rc == 0; i++) {
        rc = seqset_remove(&fresh, r->known.ranges[i].first, r->known.ranges[i].last);
        if (rc == 0)
            rc = seqset_remove(&unexplained, r->known.ranges[i].first, r->known.ranges[i].last);
    }
    for (size_t i = 0; i < r->missing.count && rc == 0; i++)
        rc = seqset_add(&known, r->missing.ranges[i].first, r->missing.ranges[i].last);
    for (size_t i = 0; i < fresh.count && rc == 0; i++)
        rc = seqset_remove(&known, fresh.ranges[i].first, fresh.ranges[i].last);
    if (rc == 0 && x->state->live_pid)
        rc = seqset_remove(&known, r->newest + 1, UINT64_MAX);
    x->state->missing = seqset_total(&fresh);
    x->state->known_missing = seqset_total(&known);
    if (rc == 0 && unexplained.count > 0)
        give(x, &(struct examine_finding){.kind = EXAMINE_MISSING,
                                          .file = "",
                                          .seqs = seqset_text(&unexplained, text, sizeof text),
                                          .text = "events are missing, and no record of them is left"});
    if (rc == 0 && known.count > 0)
        give(x, &(struct examine_finding){.kind = EXAMINE_MISSING,
                                          .known = true,
                                          .file = "",
                                          .seqs = seqset_text(&known, text, sizeof text),
                                          .text = "events are missing, which an earlier start has noted"});
    seqset_free(&fresh);
    seqset_free(&unexplained);
    seqset_free(&known);
    return rc;
}

static void look_at_cursors(struct examination *x)
{
    struct examine_cursor *list = NULL;
    size_t n = 0;
    char file[JOURNAL_CURSOR_NAME_MAX + 20];
    if (!x->state->have_identity || journal_examine_cursors(x->path, x->state, &list, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        snprintf(file, sizeof file, CURSOR_DIR "/%s", list[i].name);
        if (list[i].rc < 0 && list[i].rc != -ENODATA)
            hold(x, EXAMINE_CURSOR, file, 0, 0, "it cannot be read (%s): its reader starts at the oldest event kept",
                 list[i].rc == -EBADMSG ? "damaged, or of another journal" : strerror(-list[i].rc));
    }
    free(list);
}

static int examine(struct examination *x)
{
    struct journal *j = x->r.j;
    int rc = list_segments(x);
    if (rc == 0 && x->state->live_pid)
        rc = list_segments(x); /* one that came while the names were read may be there, and the one before it not */
    for (size_t i = 0; i < j->segment_count && rc == 0; i++)
        rc = one_segment(x, j->segments[i], i + 1 == j->segment_count);
    if (rc == 0)
        rc = look_at_ring(x);
    if (rc < 0)
        return rc;
    uint64_t known = x->state->ring == 0 ? x->state->ring_facts.head_seq : 0;
    known = x->r.tail_guess > known ? x->r.tail_guess : known;
    if (!x->state->live_pid && known > x->r.last)
        recovery_saw(&x->r, known + 1, false); /* given out, and nowhere to be found */
    look_at_cursors(x);
    count_quarantine(x);
    x->state->scopes = chain_table_count(j->chains);
    x->state->may_trim = j->snapshots[0].complete && j->snapshots[1].complete;
    x->state->trim_below = j->snapshots[1].below;
    x->state->trim_number = j->snapshots[1].number;
    rc = x->r.nomem ? -ENOMEM : give_missing(x);
    x->state->lost_ever = x->r.lost_before + x->state->missing;
    give_held(x);
    return rc;
}

static void release(struct examination *x)
{
    struct journal *j = x->r.j;
    give_held(x);
    for (size_t i = 0; i < j->segment_count; i++)
        free(j->segments[i]);
    free(j->segments);
    chain_table_destroy(j->chains);
    pthread_mutex_destroy(&j->list_lock);
    free(j);
    seqset_free(&x->r.missing);
    seqset_free(&x->r.known);
    free(x->r.damages);
    if (x->quarantine_dirfd >= 0)
        (void)fs_close(x->quarantine_dirfd); /* only read */
    if (x->dirfd >= 0)
        (void)fs_close(x->dirfd);
}

int journal_examine(const char *path, const struct examiner *examiner, struct examine_state *ret)
{
    void *memory = NULL;
    *ret = (struct examine_state){.ring = -ENOENT};
    struct examination x = {.state = ret, .fn = examiner, .path = path, .dirfd = -1, .quarantine_dirfd = -1};
    if (posix_memalign(&memory, _Alignof(struct journal), sizeof(struct journal)) != 0)
        return -ENOMEM;
    x.r.j = memset(memory, 0, sizeof(struct journal));
    pthread_mutex_init(&x.r.j->list_lock, NULL);
    int rc = chain_table_create(&x.r.j->chains);
    if (rc == 0)
        rc = fs_open(path, O_RDONLY | O_DIRECTORY, 0, &x.dirfd);
    if (rc == 0) {
        (void)fs_openat(x.dirfd, QUARANTINE_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &x.quarantine_dirfd);
        ret->live_pid = journal_live_pid(x.dirfd);
        rc = examine(&x);
    }
    release(&x);
    return rc;
}
