/* record.c - see record.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "seal/record.h"

#include "base/base.h"

#include <inttypes.h>
#include <stdio.h>

/* The header is written and read in place. A big-endian port needs swapped accessors here and in the journal first. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the journal's in-memory structures are little-endian");
_Static_assert(sizeof(struct record_header) == RECORD_HEADER, "record_header is the disk format");
_Static_assert(offsetof(struct record_header, crc) == 8 && offsetof(struct record_header, seq) == 16 &&
                   offsetof(struct record_header, sealed_ns) == 32 && offsetof(struct record_header, scope) == 48 &&
                   offsetof(struct record_header, hash) == 64 && offsetof(struct record_header, prev_hash) == 96 &&
                   offsetof(struct record_header, field_count) == 128,
               "record_header has no holes");
_Static_assert(sizeof(struct field_ref) == 8, "field_ref is the disk format");

uint32_t record_crc_header(uint32_t body_crc, const struct record_header *head)
{
    struct record_header copy = *head;
    copy.crc = 0;
    return hash_crc32c(body_crc, &copy, sizeof copy);
}

/* Everything but the CRC: what can be said without reading the body. */
static bool header_plausible(const struct record_header *h)
{
    if (h->magic != RECORD_MAGIC || h->total_len < RECORD_HEADER || h->total_len > RECORD_MAX)
        return false;
    if (h->kind < RECORD_KIND_EVENT || h->kind > RECORD_KIND_NOTE || h->reserved32 != 0)
        return false;
    if (h->seq == 0 || h->seq > RECORD_SEQ_MAX)
        return false;
    if (h->field_count > EVENT_MAX_FIELDS || h->json_len > EVENT_MAX_JSON || h->integrity_at > h->json_len)
        return false;
    return h->total_len == base_align8(RECORD_HEADER + (size_t)h->field_count * sizeof(struct field_ref) + h->json_len);
}

static bool body_plausible(const struct record_view *v)
{
    const struct record_header *h = v->head;
    for (size_t i = 0; i < h->field_count; i++) {
        uint32_t at = field_offset(v->fields[i]), len = field_len(v->fields[i]);
        if (at > h->json_len || len > h->json_len - at)
            return false;
    }
    for (const char *p = v->json + h->json_len, *end = (const char *)h + h->total_len; p < end; p++)
        if (*p != '\0')
            return false;
    return true;
}

int record_check(const void *buf, size_t avail, struct record_view *ret)
{
    const struct record_header *h = buf;
    if (avail < RECORD_HEADER) {
        /* A header that starts wrong never becomes a record, however much is read. */
        return avail >= sizeof h->magic && h->magic != RECORD_MAGIC ? -EBADMSG : -ENODATA;
    }
    if (!header_plausible(h))
        return -EBADMSG;
    if (h->total_len > avail)
        return -ENODATA;
    struct record_view v = {.head = h, .fields = (const struct field_ref *)(h + 1)};
    v.json = (const char *)(v.fields + h->field_count);
    uint32_t crc = hash_crc32c(0, h + 1, h->total_len - RECORD_HEADER);
    if (record_crc_header(crc, h) != h->crc || !body_plausible(&v))
        return -EBADMSG;
    *ret = v;
    return 0;
}

/* The last member, if there is one, and the end. */
static char *put_claim(const struct record_view *view, char *p)
{
    static const char name[] = ",\"view\":";
    if (view->claim.len > 0) {
        memcpy(p, name, sizeof name - 1);
        p += sizeof name - 1;
        memcpy(p, view->claim.ptr, view->claim.len);
        p += view->claim.len;
    }
    *p++ = '}';
    return p;
}

static char *put_stream(const struct record_header *h, char *p)
{
    return AW_LIKELY(h->stream == 0) ? p : p + snprintf(p, 20, ",\"stream\":%u", (unsigned)h->stream);
}

size_t record_render_integrity(const struct record_view *view, char *out)
{
    const struct record_header *h = view->head;
    char *p = out;
    if (h->flags & RECORD_UNCHAINED) {
        p += snprintf(out, RECORD_INTEGRITY_MAX, "{\"alg\":\"none\",\"seq\":%" PRIu64, h->seq);
        return (size_t)(put_claim(view, put_stream(h, p)) - out);
    }
#define PUT(text) (memcpy(p, text, sizeof(text) - 1), p += sizeof(text) - 1)
    PUT("{\"alg\":\"SHA-256\",\"hash\":\"");
    hash_hex(h->hash, sizeof h->hash, p);
    p += 2 * sizeof h->hash;
    if (!(h->flags & RECORD_FIRST)) {
        PUT("\",\"prevHash\":\"");
        hash_hex(h->prev_hash, sizeof h->prev_hash, p);
        p += 2 * sizeof h->prev_hash;
    }
    PUT("\",\"seq\":");
#undef PUT
    char digits[20];
    size_t n = 0;
    uint64_t seq = h->seq;
    do
        digits[n++] = (char)('0' + seq % 10);
    while ((seq /= 10) != 0);
    while (n > 0)
        *p++ = digits[--n];
    return (size_t)(put_claim(view, put_stream(h, p)) - out);
}

#define MEMBER "\"integrity\":"

size_t record_json_size(const struct record_view *view)
{
    return (size_t)view->head->json_len + sizeof MEMBER + RECORD_INTEGRITY_MAX + view->claim.len;
}

size_t record_render_json(const struct record_view *view, char *out)
{
    size_t at = view->head->integrity_at, rest = view->head->json_len - at;
    char *p = out;
    memcpy(p, view->json, at);
    p += at;
    memcpy(p, MEMBER, sizeof MEMBER - 1);
    p += sizeof MEMBER - 1;
    p += record_render_integrity(view, p);
    *p++ = ','; /* never the last member: "outcome" and "schemaVersion" sort after it and are always there */
    memcpy(p, view->json + at, rest);
    return (size_t)(p + rest - out);
}

bool record_field(const struct record_view *view, uint32_t id, struct field_ref *ret)
{
    for (size_t i = 0; i < view->head->field_count; i++) {
        if (field_id(view->fields[i]) == id) {
            *ret = view->fields[i];
            return true;
        }
    }
    return false;
}
