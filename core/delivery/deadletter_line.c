/* deadletter_line.c - see deadletter_line.h. SPDX-License-Identifier: Apache-2.0
 *
 * What is read here is not JSON at large but exactly what is written here: anything else is damage.
 */
#include "config.h"

#include "delivery/deadletter_line.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

#define REASON_MAX 1000u
#define PREV ",\"prev\":\""
#define HASH ",\"hash\":\""
#define RECORD ",\"record\":\""

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct reader {
    const char *p, *end;
    bool ok;
};

static void literal(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    if (r->ok && (size_t)(r->end - r->p) >= n && memcmp(r->p, text, n) == 0)
        r->p += n;
    else
        r->ok = false;
}

static uint64_t number(struct reader *r)
{
    uint64_t n = 0;
    const char *from = r->p;
    for (; r->ok && r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*r->p - '0'), &n))
            r->ok = false;
    if (r->p == from || (*from == '0' && r->p - from > 1))
        r->ok = false;
    return n;
}

/* Up to the closing quote, which is passed over. */
static struct aw_str string(struct reader *r)
{
    const char *from = r->p;
    for (; r->ok && r->p < r->end && *r->p != '"'; r->p++)
        if (*r->p == '\\' && r->p + 1 < r->end)
            r->p++;
    if (!r->ok || r->p >= r->end) {
        r->ok = false;
        return (struct aw_str){NULL, 0};
    }
    struct aw_str s = {from, (size_t)(r->p - from)};
    r->p++;
    return s;
}

static bool is_hex(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return true;
}

/* The end of the line, from which everything before it takes its measure. */
static bool read_tail(const char *line, size_t len, struct dl_line *ret)
{
    const size_t after_hash = DL_HEX + 2, hash_head = sizeof HASH - 1, prev_head = sizeof PREV - 1;
    if (len < after_hash + hash_head + prev_head + 1 || line[len - 1] != '}' || line[len - 2] != '"')
        return false;
    size_t at = len - after_hash - hash_head;
    ret->hash = (struct aw_str){line + len - after_hash, DL_HEX};
    ret->sealed = at;
    if (memcmp(line + at, HASH, hash_head) != 0 || !is_hex(ret->hash.ptr, DL_HEX) || line[at - 1] != '"')
        return false;
    size_t close = at - 1;
    for (size_t digits = 0; digits <= DL_HEX; digits += DL_HEX) {
        if (close < digits + prev_head || memcmp(line + close - digits - prev_head, PREV, prev_head) != 0 ||
            !is_hex(line + close - digits, digits))
            continue;
        ret->prev = (struct aw_str){line + close - digits, digits};
        return true;
    }
    return false;
}

static void read_letter(struct reader *r, struct dl_line *ret)
{
    const char *record;
    literal(r, ",\"sink\":\"");
    (void)string(r);
    literal(r, ",\"seq\":");
    ret->seq = number(r);
    literal(r, ",\"attempts\":");
    ret->attempts = number(r);
    literal(r, ",\"reason\":\"");
    ret->reason = string(r);
    literal(r, ",\"event\":");
    if (!r->ok || r->end - r->p < 2 || r->end[-1] != '"') {
        r->ok = false;
        return;
    }
    for (record = r->end - 1; record > r->p && is_hex(record - 1, 1);)
        record--;
    const size_t head = sizeof RECORD - 1;
    if ((size_t)(record - r->p) < head || memcmp(record - head, RECORD, head) != 0) {
        r->ok = false;
        return;
    }
    ret->record = (struct aw_str){record, (size_t)(r->end - 1 - record)};
    ret->event = (struct aw_str){r->p, (size_t)(record - head - r->p)};
    r->p = r->end;
}

static void read_list(struct reader *r, struct dl_line *ret)
{
    const char *close = r->ok ? memrchr(r->p, ']', (size_t)(r->end - r->p)) : NULL;
    if (!close) {
        r->ok = false;
        return;
    }
    ret->list = (struct aw_str){r->p, (size_t)(close - r->p)};
    r->p = close + 1;
    struct aw_str rest = ret->list, hash;
    uint64_t first, last;
    while (dl_next_range(&rest, &first, &last, &hash))
        ;
    r->ok = rest.len == 0;
}

static void read_members(struct reader *r, struct dl_line *ret)
{
    switch (ret->type) {
    case DL_LETTER:
        read_letter(r, ret);
        break;
    case DL_REJECTED:
        literal(r, ",\"letter\":");
        ret->letter = number(r);
        literal(r, ",\"seq\":");
        ret->seq = number(r);
        literal(r, ",\"attempts\":");
        ret->attempts = number(r);
        literal(r, ",\"reason\":\"");
        ret->reason = string(r);
        break;
    case DL_REPLAYED:
        literal(r, ",\"letters\":[");
        read_list(r, ret);
        break;
    case DL_PURGED:
        literal(r, ",\"what\":\"");
        ret->what = string(r);
        literal(r, ",\"letters\":");
        ret->letters = number(r);
        literal(r, ",\"replayed\":");
        ret->replayed = number(r);
        literal(r, ",\"ranges\":[");
        read_list(r, ret);
        break;
    case DL_BEGUN:
        literal(r, ",\"file\":\"");
        ret->file = string(r);
        literal(r, ",\"reason\":\"");
        ret->reason = string(r);
        break;
    }
}

static enum dl_type type_of(struct aw_str s)
{
    static const char *const names[] = {"letter", "rejected", "replayed", "purged", "begun"};
    for (size_t i = 0; i < AW_ARRAY_LEN(names); i++)
        if (base_str_eq(s, base_str(names[i])))
            return (enum dl_type)(i + 1);
    return 0;
}

int dl_parse(const char *line, size_t len, struct dl_line *ret, const char **ret_why)
{
    int64_t ns;
    *ret = (struct dl_line){0};
    *ret_why = "it does not end with \"prev\" and \"hash\"";
    if (!read_tail(line, len, ret))
        return -EBADMSG;
    struct reader r = {line, ret->prev.ptr - (sizeof PREV - 1), true};
    *ret_why = "it does not begin with \"n\", \"type\" and \"time\"";
    literal(&r, "{\"n\":");
    ret->number = number(&r);
    literal(&r, ",\"type\":\"");
    ret->type = r.ok ? type_of(string(&r)) : 0;
    literal(&r, ",\"time\":\"");
    ret->time = string(&r);
    if (!r.ok || ret->number == 0 || ret->number > RECORD_SEQ_MAX ||
        !clock_parse_rfc3339(ret->time.ptr, ret->time.len, &ns))
        return -EBADMSG;
    *ret_why = "its type is unknown";
    if (!ret->type)
        return -EBADMSG;
    *ret_why = "its members are not those of its type";
    read_members(&r, ret);
    return r.ok && r.p == r.end ? 0 : -EBADMSG;
}

bool dl_next_range(struct aw_str *list, uint64_t *ret_first, uint64_t *ret_last, struct aw_str *ret_hash)
{
    if (list->len == 0)
        return false;
    struct reader r = {list->ptr, list->ptr + list->len, true};
    *ret_hash = (struct aw_str){NULL, 0};
    literal(&r, "[");
    *ret_first = number(&r);
    literal(&r, ",");
    *ret_last = number(&r);
    if (r.ok && r.p < r.end && *r.p == ',') {
        literal(&r, ",\"");
        *ret_hash = string(&r);
        r.ok = r.ok && ret_hash->len == DL_HEX;
    }
    literal(&r, "]");
    if (r.ok && r.p < r.end)
        literal(&r, ",");
    if (!r.ok || *ret_first == 0 || *ret_last < *ret_first || *ret_last > RECORD_SEQ_MAX)
        return false;
    *list = (struct aw_str){r.p, (size_t)(r.end - r.p)};
    return true;
}

int dl_record(const struct dl_line *line, void **ret_buffer, struct record_view *ret)
{
    struct record_header h;
    char integrity[RECORD_INTEGRITY_MAX];
    size_t table = line->record.len / 2;
    if (line->record.len < 2 * sizeof h || !hash_unhex(line->record.ptr, 2 * sizeof h, (uint8_t *)&h) ||
        table != sizeof h + h.field_count * sizeof(struct field_ref) || line->record.len % 2 != 0 ||
        h.total_len > RECORD_MAX || h.total_len < table || h.json_len > h.total_len - table ||
        h.integrity_at > h.json_len)
        return -EBADMSG;
    const struct record_view head = {.head = &h};
    size_t member = sizeof "\"integrity\":," - 1 + record_render_integrity(&head, integrity);
    if (line->event.len != h.json_len + member)
        return -EBADMSG;
    AW_AUTOFREE uint8_t *buffer = calloc(1, h.total_len);
    AW_AUTOFREE char *again = malloc(line->event.len + sizeof "\"integrity\":" + RECORD_INTEGRITY_MAX);
    if (!buffer || !again)
        return -ENOMEM;
    if (!hash_unhex(line->record.ptr, 2 * table, buffer))
        return -EBADMSG;
    memcpy(buffer + table, line->event.ptr, h.integrity_at);
    memcpy(buffer + table + h.integrity_at, line->event.ptr + h.integrity_at + member, h.json_len - h.integrity_at);
    /* The CRC vouches for all but the integrity member, which comes from the header: so it must read the same. */
    if (record_check(buffer, h.total_len, ret) != 0 || ret->head->kind != RECORD_KIND_EVENT || h.seq != line->seq ||
        record_render_json(ret, again) != line->event.len || memcmp(again, line->event.ptr, line->event.len) != 0)
        return -EBADMSG;
    *ret_buffer = base_take(buffer);
    return 0;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

void dl_text_free(struct dl_text *t)
{
    free(t->ptr);
    *t = (struct dl_text){NULL, 0, 0, false};
}

static char *room(struct dl_text *t, size_t len)
{
    if (t->nomem)
        return NULL;
    if (t->capacity - t->len < len) {
        size_t capacity = t->capacity ? t->capacity : 4096;
        while (capacity - t->len < len)
            capacity *= 2;
        char *more = realloc(t->ptr, capacity);
        if (!more) {
            t->nomem = true;
            return NULL;
        }
        t->ptr = more;
        t->capacity = capacity;
    }
    return t->ptr + t->len;
}

void dl_put(struct dl_text *t, const char *bytes, size_t len)
{
    char *at = room(t, len);
    if (!at)
        return;
    memcpy(at, bytes, len);
    t->len += len;
}

void dl_printf(struct dl_text *t, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line)
        t->nomem = true; /* no format here comes near; a cut line must never be written */
    else
        dl_put(t, line, (size_t)n);
}

void dl_put_reason(struct dl_text *t, const char *reason)
{
    char text[REASON_MAX + 2];
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)reason; *p && n < REASON_MAX; p++) {
        if (*p == '"' || *p == '\\')
            text[n++] = '\\';
        text[n++] = *p < 0x20 || *p > 0x7e ? '?' : (char)*p;
    }
    dl_put(t, text, n);
}

void dl_begin(struct dl_text *t, uint64_t n, const char *type)
{
    char now[CLOCK_RFC3339_MAX];
    clock_format_rfc3339((int64_t)clock_real_ns(), now);
    dl_printf(t, "{\"n\":%" PRIu64 ",\"type\":\"%s\",\"time\":\"%s\"", n, type, now);
}

static void put_hex(struct dl_text *t, const void *bytes, size_t len)
{
    char *at = room(t, 2 * len);
    if (!at)
        return;
    hash_hex(bytes, len, at);
    t->len += 2 * len;
}

void dl_letter(struct dl_text *t, uint64_t n, const char *sink, const struct record_view *view, uint32_t attempts,
               const char *reason)
{
    dl_begin(t, n, "letter");
    dl_printf(t, ",\"sink\":\"%s\",\"seq\":%" PRIu64 ",\"attempts\":%" PRIu32 ",\"reason\":\"", sink, view->head->seq,
              attempts);
    dl_put_reason(t, reason);
    dl_printf(t, "\",\"event\":");
    char *at = room(t, record_json_size(view));
    if (at)
        t->len += record_render_json(view, at);
    dl_printf(t, RECORD);
    put_hex(t, view->head, sizeof *view->head);
    put_hex(t, view->fields, view->head->field_count * sizeof *view->fields);
    dl_put(t, "\"", 1);
}

void dl_letter_again(struct dl_text *t, uint64_t n, const char *line, const struct dl_line *letter)
{
    const char *type = memchr(line, ',', letter->sealed);
    dl_printf(t, "{\"n\":%" PRIu64, n);
    if (type)
        dl_put(t, type, (size_t)(letter->prev.ptr - (sizeof PREV - 1) - type));
}

static bool hash_line(const char *line, size_t len, struct hash_sha256 *sha, char out[DL_HEX])
{
    uint8_t digest[HASH_SHA256_LEN];
    if (!hash_sha256_begin(sha) || !hash_sha256_update(sha, line, len) || !hash_sha256_finish(sha, digest))
        return false;
    hash_hex(digest, sizeof digest, out);
    return true;
}

int dl_end(struct dl_text *t, size_t start, struct hash_sha256 *sha, char hash[DL_HEX + 1])
{
    dl_printf(t, PREV "%s\"", hash);
    if (t->nomem)
        return -ENOMEM;
    if (!hash_line(t->ptr + start, t->len - start, sha, hash))
        return -EIO;
    hash[DL_HEX] = '\0';
    dl_printf(t, HASH "%s\"}\n", hash);
    return t->nomem ? -ENOMEM : 0;
}

bool dl_hash_good(const char *line, const struct dl_line *parsed, struct hash_sha256 *sha)
{
    char hash[DL_HEX];
    return hash_line(line, parsed->sealed, sha, hash) && memcmp(hash, parsed->hash.ptr, DL_HEX) == 0;
}
