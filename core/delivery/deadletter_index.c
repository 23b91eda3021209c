/* deadletter_index.c - see deadletter_index.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/deadletter_index.h"

#include "audit/audit.h"
#include "base/clock.h"
#include "base/fs.h"

#include <inttypes.h>
#include <stdio.h>

#define SLOT (DL_HEAD_SIZE / 2)
#define LINE_MAX_BYTES (64u << 20) /* an event of 8 MiB and what stands round it come nowhere near */
#define CHUNK (256u << 10)

/* ---- the head ---------------------------------------------------------------------------------------------------- */

static uint32_t slot_crc(const char *slot, size_t len)
{
    return hash_crc32c(0, slot, len);
}

static void read_slot(const char *slot, struct dl_head *best)
{
    struct dl_head h = {.known = true};
    unsigned crc;
    int at = 0;
    char copy[SLOT + 1];
    memcpy(copy, slot, SLOT);
    copy[SLOT] = '\0';
    if (sscanf(copy, "%" SCNu64 " %" SCNu64 " %64[0-9a-f] %n%8x", &h.number, &h.end, h.hash, &at, &crc) != 4 ||
        strlen(h.hash) != DL_HEX || slot_crc(copy, (size_t)at) != crc)
        return;
    if (!best->known || h.number > best->number)
        *best = h;
}

int dl_head_read(int fd, struct dl_head *ret)
{
    char text[DL_HEAD_SIZE] = {0};
    *ret = (struct dl_head){.known = false};
    ssize_t n = fs_pread_full(fd, text, sizeof text, 0);
    if (n < 0)
        return (int)n;
    read_slot(text, ret);
    read_slot(text + SLOT, ret);
    return 0;
}

int dl_head_write(int fd, const struct dl_head *h)
{
    char slot[SLOT + 1];
    int n = snprintf(slot, sizeof slot, "%020" PRIu64 " %020" PRIu64 " %s ", h->number, h->end, h->hash);
    if (n < 0 || (size_t)n + 9 > SLOT)
        return -EINVAL;
    n += snprintf(slot + n, sizeof slot - (size_t)n, "%08x", slot_crc(slot, (size_t)n));
    memset(slot + n, ' ', SLOT - (size_t)n);
    slot[SLOT - 1] = '\n';
    int rc = fs_pwrite_all(fd, slot, SLOT, (h->number & 1) * SLOT, NULL);
    return rc < 0 ? rc : fs_fdatasync(fd);
}

/* ---- findings ---------------------------------------------------------------------------------------------------- */

struct scan {
    struct dl_index *index;
    const struct dl_head *head;
    dl_finding_fn fn;
    void *arg;
    struct hash_sha256 *sha;
    uint64_t line;
    uint64_t bad_line, bad_at, bad_length,
        bad_lines; /* the newest line that is none; lines that are none since the last good */
    const char *bad_why;
};

static AW_PRINTF(6, 7) void found(struct scan *s, int kind, uint64_t line, uint64_t offset, uint64_t number,
                                  const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (s->index->findings++ == 0)
        snprintf(s->index->first_finding, sizeof s->index->first_finding, "line %" PRIu64 ": %.150s", line, text);
    const struct dl_finding f = {.kind = kind, .line = line, .offset = offset, .number = number, .text = text};
    if (s->fn)
        s->fn(s->arg, &f);
}

static void report_bad(struct scan *s)
{
    if (s->bad_length > 0)
        found(s, AW_FINDING_MALFORMED, s->bad_line, s->bad_at, 0,
              "%" PRIu64 " bytes at offset %" PRIu64 " are no line: %s", s->bad_length, s->bad_at, s->bad_why);
    s->bad_length = 0;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static int add_purges(struct dl_index *x, const struct dl_line *line)
{
    struct aw_str rest = line->list, hash;
    uint64_t first, last;
    x->purged_letters += line->letters;
    while (dl_next_range(&rest, &first, &last, &hash)) {
        if (x->purge_count == x->purge_capacity) {
            size_t capacity = x->purge_capacity ? 2 * x->purge_capacity : 16;
            struct dl_purge *more = realloc(x->purges, capacity * sizeof *more);
            if (!more)
                return -ENOMEM;
            x->purges = more;
            x->purge_capacity = capacity;
        }
        struct dl_purge *p = &x->purges[x->purge_count++];
        *p = (struct dl_purge){.first = first, .last = last};
        if (hash.len > 0)
            memcpy(p->hash, hash.ptr, hash.len);
    }
    return 0;
}

static struct dl_entry *letter_of(struct dl_index *x, uint64_t number)
{
    size_t from = 0, to = x->count;
    while (from < to) { /* numbers rise in a file that is in order; in another one a mark may miss its letter */
        size_t mid = from + (to - from) / 2;
        if (x->entries[mid].number < number)
            from = mid + 1;
        else
            to = mid;
    }
    return from < x->count && x->entries[from].number == number && x->entries[from].type == DL_LETTER
               ? &x->entries[from]
               : NULL;
}

static void take_marks(struct dl_index *x, const struct dl_line *line)
{
    struct aw_str rest = line->list, hash;
    uint64_t first, last;
    if (line->type == DL_REJECTED) {
        struct dl_entry *e = letter_of(x, line->letter);
        if (e)
            e->refused_at = x->count; /* this line's entry is the newest */
        return;
    }
    while (line->type == DL_REPLAYED && dl_next_range(&rest, &first, &last, &hash)) {
        for (size_t i = x->count; i > 0 && x->entries[i - 1].number >= first; i--) {
            struct dl_entry *e = &x->entries[i - 1];
            if (e->type == DL_LETTER && e->number <= last)
                e->replayed = true;
        }
    }
}

static int add_entry(struct scan *s, const char *text, const struct dl_line *line, uint64_t offset, size_t len)
{
    struct dl_index *x = s->index;
    if (x->count == x->capacity) {
        size_t capacity = x->capacity ? 2 * x->capacity : 64;
        struct dl_entry *more = realloc(x->entries, capacity * sizeof *more);
        if (!more)
            return -ENOMEM;
        x->entries = more;
        x->capacity = capacity;
    }
    struct dl_entry *e = &x->entries[x->count++];
    *e = (struct dl_entry){.type = line->type,
                           .sound = dl_hash_good(text, line, s->sha),
                           .number = line->number,
                           .line = s->line,
                           .offset = offset,
                           .seq = line->seq,
                           .attempts = line->attempts,
                           .length = len};
    memcpy(e->prev, line->prev.ptr, line->prev.len);
    memcpy(e->hash, line->hash.ptr, line->hash.len);
    (void)clock_parse_rfc3339(line->time.ptr, line->time.len, &e->time_ns); /* dl_parse() has looked at it */
    if (!e->sound)
        return 0;
    take_marks(x, line);
    return line->type == DL_PURGED ? add_purges(x, line) : 0;
}

static int take_line(struct scan *s, const char *text, size_t len, uint64_t offset)
{
    struct dl_line line;
    const char *why;
    s->line++;
    if (dl_parse(text, len, &line, &why) == 0) {
        report_bad(s); /* what follows it is a line, so it was no unfinished write */
        return add_entry(s, text, &line, offset, len);
    }
    if (s->bad_length > 0)
        report_bad(s);
    s->bad_line = s->line;
    s->bad_at = offset;
    s->bad_length = len + 1;
    s->bad_why = why;
    s->bad_lines++;
    return 0;
}

/* All lines of the file; what stands behind the last newline is left to the caller. */
static int read_lines(struct scan *s, int fd, uint64_t *ret_end)
{
    AW_AUTOFREE char *buf = NULL;
    size_t capacity = 0, len = 0;
    uint64_t at = 0; /* offset of buf[0] */
    for (;;) {
        if (capacity - len < CHUNK) {
            if (capacity > LINE_MAX_BYTES)
                break; /* no line is so long: damage, up to the end of the file */
            capacity = capacity ? 2 * capacity : 2 * CHUNK;
            char *more = realloc(buf, capacity);
            if (!more)
                return -ENOMEM;
            buf = more;
        }
        ssize_t n = fs_pread_full(fd, buf + len, capacity - len, at + len);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        len += (size_t)n;
        size_t from = 0;
        for (char *nl; (nl = memchr(buf + from, '\n', len - from)) != NULL; from = (size_t)(nl - buf) + 1) {
            int rc = take_line(s, buf + from, (size_t)(nl - buf) - from, at + from);
            if (rc < 0)
                return rc;
        }
        memmove(buf, buf + from, len - from);
        len -= from;
        at += from;
    }
    *ret_end = at;
    return 0;
}

/* ---- the chain --------------------------------------------------------------------------------------------------- */

static int by_first(const void *a, const void *b)
{
    const struct dl_purge *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Do purged lines fill [*number + 1, upto)? Moves on over those that do. */
static void over_purges(const struct dl_index *x, uint64_t upto, uint64_t *number, const char **hash)
{
    for (size_t i = 0; i < x->purge_count; i++) {
        const struct dl_purge *p = &x->purges[i];
        if (p->first == *number + 1 && p->last < upto) {
            *number = p->last;
            *hash = p->hash;
        }
    }
}

static void check_links(struct scan *s)
{
    struct dl_index *x = s->index;
    uint64_t last = 0, bad = s->bad_lines; /* lines that are none explain as many numbers */
    const char *hash = "";
    for (size_t i = 0; i < x->count; i++) {
        const struct dl_entry *e = &x->entries[i];
        uint64_t n = e->number, before = last;
        if (!e->sound)
            found(s, AW_FINDING_EDITED, e->line, e->offset, n, "record %" PRIu64 " does not have the hash it bears", n);
        if (n <= last) {
            found(s, AW_FINDING_REORDERED, e->line, e->offset, n,
                  "record %" PRIu64 " stands behind record %" PRIu64 ": moved, or put in twice", n, last);
            continue;
        }
        over_purges(x, n, &last, &hash);
        if (i == 0 && e->type == DL_BEGUN) {
            last = n - 1;
            hash = e->prev;
        }
        if (n > last + 1 && n - last - 1 <= bad) {
            bad -= n - last - 1;
            hash = e->prev; /* the bad line was reported; it had this hash, as far as can be told */
        } else if (n > last + 1) {
            found(s, AW_FINDING_HOLE, e->line, e->offset, n,
                  n == last + 2 ? "record %" PRIu64 " is missing before it"
                                : "records %" PRIu64 "-%" PRIu64 " are missing before it",
                  last + 1, n - 1);
        } else if (strcmp(hash, e->prev) != 0) {
            found(s, AW_FINDING_INSERTED, e->line, e->offset, n,
                  "record %" PRIu64 " does not follow record %" PRIu64 ": one of them was put in or replaced", n,
                  before);
        }
        last = n;
        hash = e->hash;
    }
    const char *behind = hash;
    over_purges(x, UINT64_MAX, &last, &behind);
    x->last_number = last;
    memcpy(x->last_hash, behind, strlen(behind) + 1);
}

static void check_head(struct scan *s)
{
    struct dl_index *x = s->index;
    const struct dl_head *h = s->head;
    if (!h->known) {
        if (x->count > 1) /* one: killed between the first line and its head */
            found(
                s, AW_FINDING_MISSING, s->line, x->size, 0,
                "the file's head (.head beside it) is missing or damaged: whether lines are missing at the end cannot "
                "be told");
        return;
    }
    for (size_t i = x->count; i > 0; i--) {
        const struct dl_entry *e = &x->entries[i - 1];
        if (e->number != h->number)
            continue;
        if (strcmp(e->hash, h->hash) != 0)
            found(s, AW_FINDING_EDITED, e->line, e->offset, e->number,
                  "record %" PRIu64 " is not the one that was written", e->number);
        return;
    }
    for (size_t i = 0; i < x->purge_count; i++)
        if (x->purges[i].first <= h->number && h->number <= x->purges[i].last)
            return;
    if (x->last_number < h->number)
        found(s, AW_FINDING_TRUNCATED, s->line, x->size, h->number,
              x->last_number ? "ends with record %" PRIu64 ", but record %" PRIu64 " was written"
                             : "%" PRIu64 " records are there, but record %" PRIu64 " was written",
              x->last_number, h->number);
}

/* What stands at the end and is no line: an unfinished write, when it lies behind what is known to be on disk. */
static void check_end(struct scan *s, uint64_t end)
{
    struct dl_index *x = s->index;
    uint64_t known = s->head->known ? s->head->end : 0;
    if (end < x->size) { /* no newline */
        if (s->bad_length > 0)
            report_bad(s);
        x->good = end;
        if (end < known)
            found(s, AW_FINDING_MALFORMED, s->line + 1, end, 0,
                  "%" PRIu64 " bytes at offset %" PRIu64 " are no whole line, but were known to be on disk",
                  x->size - end, end);
    } else if (s->bad_length > 0 && s->bad_at >= known && s->head->known) {
        x->good = s->bad_at;
        s->bad_lines--; /* nobody was told of it */
        s->bad_length = 0;
    } else {
        report_bad(s);
    }
    struct dl_entry *e = x->count > 0 ? &x->entries[x->count - 1] : NULL;
    if (e && !e->sound && s->head->known && e->offset >= known && x->good == x->size) {
        x->good = e->offset; /* its middle never reached the disk */
        x->count--;
    }
}

int dl_index_read(int fd, const struct dl_head *head, dl_finding_fn fn, void *arg, struct dl_index *ret)
{
    *ret = (struct dl_index){.entries = NULL};
    struct scan s = {.index = ret, .head = head, .fn = fn, .arg = arg};
    uint64_t end = 0;
    struct stat st;
    if (fd >= 0) {
        int rc = fstat(fd, &st) < 0 ? -errno : hash_sha256_create(&s.sha);
        if (rc == 0)
            rc = read_lines(&s, fd, &end);
        hash_sha256_destroy(s.sha);
        if (rc < 0)
            return rc;
        ret->size = ret->good = (uint64_t)st.st_size > end ? (uint64_t)st.st_size : end;
    }
    check_end(&s, end);
    if (ret->purge_count > 0)
        qsort(ret->purges, ret->purge_count, sizeof *ret->purges, by_first);
    check_links(&s);
    check_head(&s);
    return 0;
}

void dl_index_free(struct dl_index *index)
{
    free(index->entries);
    free(index->purges);
    *index = (struct dl_index){.entries = NULL};
}

int dl_index_line(int fd, const struct dl_entry *entry, char **ret, struct dl_line *ret_line)
{
    const char *why;
    AW_AUTOFREE char *text = malloc(entry->length + 1);
    if (!text)
        return -ENOMEM;
    ssize_t n = fs_pread_full(fd, text, entry->length, entry->offset);
    if (n < 0)
        return (int)n;
    if ((size_t)n != entry->length || dl_parse(text, entry->length, ret_line, &why) < 0 ||
        ret_line->number != entry->number || memcmp(ret_line->hash.ptr, entry->hash, DL_HEX) != 0)
        return -EBADMSG;
    text[entry->length] = '\0';
    *ret = base_take(text);
    return 0;
}
