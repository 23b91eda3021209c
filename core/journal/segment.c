/* segment.c - see segment.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/segment.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define SEGMENT_MAGIC "AWSEG1\0"
#define HEADER_COPY 2048u
#define SCAN_BUFFER (256u << 10)

struct segment_header {
    char magic[8];
    uint32_t version, crc;
    uint64_t first_seq, created_ns;
    struct journal_identity identity;
    uint32_t number, zero;
    uint8_t more_zeros[56];
};
_Static_assert(sizeof(struct segment_header) == 128, "segment_header is the disk format");
_Static_assert(sizeof(struct snapshot_payload) == 16 && sizeof(struct snapshot_end_payload) == 40 &&
                   sizeof(struct note_payload) == 8,
               "payloads are the disk format");

/* ---- names and headers ------------------------------------------------------------------------------------------- */

void segment_name(uint64_t first_seq, uint32_t number, char out[SEGMENT_NAME_MAX])
{
    if (number == 0)
        snprintf(out, SEGMENT_NAME_MAX, "seg-%016" PRIx64 ".awj", first_seq);
    else
        snprintf(out, SEGMENT_NAME_MAX, "seg-%016" PRIx64 "-%02" PRIx32 ".awj", first_seq, number);
}

bool segment_parse_name(const char *name, uint64_t *ret_first_seq, uint32_t *ret_number)
{
    char canonical[SEGMENT_NAME_MAX];
    uint64_t first = 0;
    uint32_t number = 0;
    if (sscanf(name, "seg-%16" SCNx64 "-%8" SCNx32, &first, &number) < 1)
        return false;
    segment_name(first, number, canonical);
    if (strcmp(name, canonical) != 0 || first == 0 || first > RECORD_SEQ_MAX)
        return false;
    *ret_first_seq = first;
    *ret_number = number;
    return true;
}

int segment_compare(uint64_t first_a, uint32_t number_a, uint64_t first_b, uint32_t number_b)
{
    if (first_a != first_b)
        return first_a < first_b ? -1 : 1;
    return (number_a > number_b) - (number_a < number_b);
}

static uint32_t header_crc(const struct segment_header *h)
{
    struct segment_header copy = *h;
    copy.crc = 0;
    return hash_crc32c(0, &copy, sizeof copy);
}

int segment_create(int dirfd, uint64_t first_seq, uint32_t number, const struct journal_identity *identity,
                   uint64_t prealloc, int *ret_fd)
{
    char name[SEGMENT_NAME_MAX];
    union {
        uint8_t bytes[SEGMENT_DATA];
        struct segment_header copies[SEGMENT_DATA / sizeof(struct segment_header)];
    } page = {.bytes = {0}};
    struct segment_header h = {.magic = SEGMENT_MAGIC,
                               .version = 1,
                               .first_seq = first_seq,
                               .created_ns = clock_real_ns(),
                               .identity = *identity,
                               .number = number};
    int fd = -1;
    segment_name(first_seq, number, name);
    int rc = fs_openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd);
    if (rc < 0)
        return rc;
    h.crc = header_crc(&h);
    page.copies[0] = page.copies[HEADER_COPY / sizeof h] = h;
    /* Without preallocation each fdatasync also writes the file's size; nothing else depends on it. */
    if (prealloc > SEGMENT_DATA)
        (void)fs_allocate(fd, 0, prealloc);
    rc = fs_pwrite_all(fd, &page, sizeof page, 0, NULL);
    if (rc < 0) {
        (void)fs_close(fd); /* the write's error is the one that counts */
        (void)fs_unlinkat(dirfd, name);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

int segment_read_header(int fd, struct journal_identity *ret_identity, uint64_t *ret_first_seq, unsigned *ret_copies)
{
    *ret_copies = 0;
    int error = 0;
    for (uint64_t at = 0; at <= HEADER_COPY; at += HEADER_COPY) {
        struct segment_header h;
        ssize_t n = fs_pread_full(fd, &h, sizeof h, at);
        if (n < 0)
            error = (int)n;
        if (n != (ssize_t)sizeof h || memcmp(h.magic, SEGMENT_MAGIC, sizeof h.magic) != 0 || h.version != 1 ||
            header_crc(&h) != h.crc)
            continue;
        if (*ret_copies == 0) {
            *ret_identity = h.identity;
            *ret_first_seq = h.first_seq;
        }
        ++*ret_copies;
    }
    return *ret_copies > 0 ? 0 : error < 0 ? error : -EBADMSG;
}

size_t segment_build_record(void *buf, uint16_t kind, uint64_t seq, const void *payload, size_t len)
{
    size_t total = base_align8(RECORD_HEADER + len);
    struct record_header h = {.magic = RECORD_MAGIC,
                              .total_len = (uint32_t)total,
                              .kind = kind,
                              .seq = seq,
                              .json_len = (uint32_t)len,
                              .sealed_ns = clock_real_ns()};
    uint8_t *body = (uint8_t *)buf + RECORD_HEADER;
    memmove(body, payload, len);
    memset(body + len, 0, total - RECORD_HEADER - len);
    h.crc = record_crc_header(hash_crc32c(0, body, total - RECORD_HEADER), &h);
    memcpy(buf, &h, sizeof h);
    return total;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

void scan_init(struct segment_scan *scan, int fd, uint64_t from, uint64_t end, uint64_t last_seq)
{
    uint8_t *buf = scan->buf;
    size_t cap = scan->cap;
    *scan = (struct segment_scan){
        .fd = fd, .pos = from, .end = end, .last_seq = last_seq, .buf = buf, .cap = cap, .at = from};
}

void scan_free(struct segment_scan *scan)
{
    free(scan->buf);
    *scan = (struct segment_scan){.fd = -1};
}

/* A page that cannot be read is damage like any other: it must cost the records on it, not the journal. */
static ssize_t read_patiently(int fd, uint8_t *to, size_t len, uint64_t at)
{
    ssize_t n = fs_pread_full(fd, to, len, at);
    if (n >= 0 || n != -EIO)
        return n;
    for (size_t done = 0; done < len;) {
        size_t part = 4096 - (size_t)((at + done) & 4095u);
        if (part > len - done)
            part = len - done;
        n = fs_pread_full(fd, to + done, part, at + done);
        if (n == -EIO) {
            memset(to + done, 0xff, part);
            n = (ssize_t)part;
        }
        if (n < 0)
            return n;
        done += (size_t)n;
        if ((size_t)n < part)
            return (ssize_t)done;
    }
    return (ssize_t)len;
}

static size_t buffered(const struct segment_scan *s)
{
    return s->pos >= s->at && s->pos < s->at + s->len ? (size_t)(s->at + s->len - s->pos) : 0;
}

int scan_fill(struct segment_scan *scan, size_t want)
{
    size_t have = buffered(scan);
    uint64_t left = scan->pos < scan->end ? scan->end - scan->pos : 0;
    if (want > left)
        want = (size_t)left;
    if (have >= want)
        return 0;
    size_t cap = scan->cap ? scan->cap : SCAN_BUFFER;
    while (cap < want)
        cap *= 2;
    if (cap != scan->cap) {
        uint8_t *fresh = malloc(cap); /* malloc aligns to 16 */
        if (!fresh)
            return -ENOMEM;
        if (have > 0)
            memcpy(fresh, scan->buf + (scan->pos - scan->at), have);
        free(scan->buf);
        scan->buf = fresh;
        scan->cap = cap;
    } else if (have > 0) {
        memmove(scan->buf, scan->buf + (scan->pos - scan->at), have);
    }
    scan->at = scan->pos;
    scan->len = have;
    size_t room = scan->cap - have;
    if (room > left - have)
        room = (size_t)(left - have);
    ssize_t n = read_patiently(scan->fd, scan->buf + have, room, scan->pos + have);
    if (n < 0)
        return (int)n;
    scan->len += (size_t)n;
    if ((size_t)n < room) /* shorter than it was said to be */
        scan->end = scan->at + scan->len;
    return 0;
}

/* Bytes from pos on that are in the buffer, after making it at least `want` where the file has them. */
static int look(struct segment_scan *s, size_t want, const uint8_t **ret, size_t *ret_len)
{
    size_t have = buffered(s);
    uint64_t left = s->pos < s->end ? s->end - s->pos : 0;
    if (have < want && have < left) {
        if (s->frozen)
            return -EAGAIN;
        int rc = scan_fill(s, want);
        if (rc < 0)
            return rc;
        have = buffered(s);
    }
    if (s->pos < s->end && have > s->end - s->pos)
        have = (size_t)(s->end - s->pos);
    *ret = have > 0 ? s->buf + (s->pos - s->at) : NULL;
    *ret_len = have;
    return 0;
}

/* A record at pos? 0, -EBADMSG, -ENODATA at the very end, -EAGAIN, -ENOMEM... */
static int check_here(struct segment_scan *s, struct record_view *ret)
{
    const uint8_t *p;
    size_t have;
    int rc = look(s, RECORD_HEADER, &p, &have);
    if (rc < 0)
        return rc;
    if (have == 0)
        return -ENODATA;
    rc = record_check(p, have, ret);
    if (rc != -ENODATA)
        return rc;
    if (have < RECORD_HEADER)
        return -EBADMSG;
    uint32_t total = ((const struct record_header *)(const void *)p)->total_len;
    if (total > s->end - s->pos)
        return -EBADMSG;
    rc = look(s, total, &p, &have);
    if (rc < 0)
        return rc;
    rc = record_check(p, have, ret);
    return rc == -ENODATA ? -EBADMSG : rc;
}

/* Skips zero or foreign words quickly: pos moves to the next word that begins like a record, or to the end of the
 * buffer. */
static void skip_words(struct segment_scan *s, uint64_t *last_nonzero)
{
    size_t have = buffered(s);
    const uint8_t *p = s->buf + (s->pos - s->at);
    size_t i = 0;
    for (; i + 8 <= have; i += 8) {
        uint64_t word = base_le64(p + i);
        if ((uint32_t)word == RECORD_MAGIC)
            break;
        if (word != 0)
            *last_nonzero = s->pos + i + 8;
    }
    if (i + 8 > have && have - i < 8 && s->at + s->len >= s->end) { /* an odd tail */
        for (; i < have; i++)
            if (p[i] != 0)
                *last_nonzero = s->pos + i + 1;
    }
    s->pos += i;
}

/* pos is at damage. Finds the next record whose CRC holds, 8 bytes by 8 bytes. */
static int resync(struct segment_scan *s)
{
    uint64_t from = s->pos, last_nonzero = from;
    uint64_t limit =
        16 * (s->end - SEGMENT_DATA) + (64u << 20); /* hostile files only: real damage needs no such effort */
    s->frozen = false;
    for (;;) {
        const uint8_t *p;
        size_t have;
        struct record_view v;
        int rc = look(s, 8, &p, &have);
        if (rc < 0) {
            s->pos = from;
            return rc;
        }
        if (have == 0)
            break;
        skip_words(s, &last_nonzero);
        if (buffered(s) < 8)
            continue;
        rc = s->effort > limit ? -EBADMSG : check_here(s, &v);
        if (rc == 0 && (v.head->kind != RECORD_KIND_EVENT || v.head->seq > s->last_seq) && s->pos > from) {
            s->damage_from = from;
            s->damage_to = s->pos;
            return -EBADMSG;
        }
        if (rc < 0 && rc != -EBADMSG) {
            s->pos = from;
            return rc;
        }
        s->effort += RECORD_HEADER +
                     ((const struct record_header *)(const void *)(s->buf + (s->pos - s->at)))->total_len % RECORD_MAX;
        last_nonzero = s->pos + 8;
        s->pos += 8;
    }
    s->pos = s->end;
    if (last_nonzero == from)
        return -ENODATA;
    s->damage_from = from;
    s->damage_to = last_nonzero;
    return -EBADMSG;
}

int scan_next(struct segment_scan *scan, struct record_view *ret)
{
    bool frozen = scan->frozen;
    int rc = check_here(scan, ret);
    if (rc == -EBADMSG && frozen)
        return -EAGAIN; /* looking for the next record moves the buffer */
    if (rc == -EBADMSG) {
        rc = resync(scan);
        scan->frozen = frozen;
    }
    if (rc < 0)
        return rc;
    scan->pos += ret->head->total_len;
    if (ret->head->kind == RECORD_KIND_EVENT)
        scan->last_seq = ret->head->seq;
    return 0;
}
