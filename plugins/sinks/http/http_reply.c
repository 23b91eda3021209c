/* http_reply.c - see http_reply.h. SPDX-License-Identifier: Apache-2.0
 *
 * A recursive descent over the bytes. Whole texts are checked, also the parts that mean nothing to us: half a reply is
 * no reply. Names that appear twice in an object that we read are refused, since two readers could disagree.
 */
#include "config.h"

#include <string.h>

#include "http_reply.h"

struct reader {
    const unsigned char *p, *begin, *end;
    struct ht_reply *out;
    ht_item_fn *item;
    void *arg;
    unsigned depth;
};

/* A string's decoded bytes, as far as there is room. */
struct decoded {
    char *bytes;
    size_t room, len;
    bool cut;  /* what does not fit ends it, at a character; else len counts on */
    bool full; /* and nothing more is taken */
};

static bool value(struct reader *r);

static bool refuse(struct reader *r, const char *why)
{
    if (r->out->fault == NULL) {
        r->out->fault = why;
        r->out->fault_at = (size_t)(r->p - r->begin);
    }
    return false;
}

static void blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool next_is(struct reader *r, unsigned char c)
{
    blanks(r);
    if (r->p >= r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

/* ---- strings ---- */

static void put(struct decoded *d, const char *bytes, size_t n)
{
    if (d == NULL || d->full)
        return;
    if (d->cut && d->len + n > d->room) {
        d->full = true;
        return;
    }
    for (size_t i = 0; i < n; i++, d->len++)
        if (d->len < d->room)
            d->bytes[d->len] = bytes[i];
}

static void put_code(struct decoded *d, uint32_t c)
{
    char b[4];
    size_t n;
    if (c < 0x80) {
        b[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        b[0] = (char)(0xc0 | c >> 6);
        b[1] = (char)(0x80 | (c & 0x3f));
        n = 2;
    } else if (c < 0x10000) {
        b[0] = (char)(0xe0 | c >> 12);
        b[1] = (char)(0x80 | (c >> 6 & 0x3f));
        b[2] = (char)(0x80 | (c & 0x3f));
        n = 3;
    } else {
        b[0] = (char)(0xf0 | c >> 18);
        b[1] = (char)(0x80 | (c >> 12 & 0x3f));
        b[2] = (char)(0x80 | (c >> 6 & 0x3f));
        b[3] = (char)(0x80 | (c & 0x3f));
        n = 4;
    }
    put(d, b, n);
}

static bool hex4(struct reader *r, uint32_t *ret)
{
    uint32_t v = 0;
    if (r->end - r->p < 4)
        return refuse(r, "\\u needs four hexadecimal digits");
    for (int i = 0; i < 4; i++, r->p++) {
        unsigned char c = *r->p;
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return refuse(r, "\\u needs four hexadecimal digits");
        v = v << 4 | digit;
    }
    *ret = v;
    return true;
}

/* Behind the backslash. */
static bool escape(struct reader *r, struct decoded *d)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p >= r->end)
        return refuse(r, "the text ends in a string");
    unsigned char c = *r->p++;
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at != NULL) {
        put(d, &to[at - from], 1);
        return true;
    }
    uint32_t high, low;
    if (c != 'u')
        return refuse(r, "unknown escape");
    if (!hex4(r, &high))
        return false;
    if (high >= 0xdc00 && high <= 0xdfff)
        return refuse(r, "half a surrogate pair");
    if (high >= 0xd800 && high <= 0xdbff) {
        if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
            return refuse(r, "half a surrogate pair");
        r->p += 2;
        if (!hex4(r, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(r, "half a surrogate pair");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    put_code(d, high);
    return true;
}

/* The length of the UTF-8 character at p, or 0. */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
    size_t n = *p < 0x80                 ? 1
               : *p >= 0xc2 && *p < 0xe0 ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;
    if (n == 0 || (size_t)(end - p) < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] >= 0x90))
        return 0; /* too long, a surrogate, or beyond U+10FFFF */
    return n;
}

/* Behind the opening quote. d may be NULL. */
static bool string(struct reader *r, struct decoded *d)
{
    while (r->p < r->end) {
        unsigned char c = *r->p;
        if (c == '"') {
            r->p++;
            return true;
        }
        if (c == '\\') {
            r->p++;
            if (!escape(r, d))
                return false;
            continue;
        }
        if (c < 0x20)
            return refuse(r, "a control character in a string");
        size_t n = utf8_length(r->p, r->end);
        if (n == 0)
            return refuse(r, "not UTF-8");
        put(d, (const char *)r->p, n);
        r->p += n;
    }
    return refuse(r, "the text ends in a string");
}

/* ---- other values ---- */

static bool digits(struct reader *r)
{
    const unsigned char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from ? true : refuse(r, "not a number");
}

static bool number(struct reader *r)
{
    if (r->p < r->end && *r->p == '-')
        r->p++;
    if (r->p < r->end && *r->p == '0')
        r->p++;
    else if (!digits(r))
        return false;
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (!digits(r))
            return false;
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        return digits(r);
    }
    return true;
}

static bool word(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, text, n) != 0)
        return refuse(r, "not a JSON value");
    r->p += n;
    return true;
}

static bool deeper(struct reader *r)
{
    return ++r->depth <= HT_REPLY_DEPTH ? true : refuse(r, "nested too deeply");
}

/* Behind the "[": fn reads each element. */
static bool elements(struct reader *r, bool (*fn)(struct reader *))
{
    if (!deeper(r))
        return false;
    bool closed = next_is(r, ']');
    while (!closed) {
        if (!fn(r))
            return false;
        if (next_is(r, ','))
            continue;
        if (!next_is(r, ']'))
            return refuse(r, "expected , or ]");
        closed = true;
    }
    r->depth--;
    return true;
}

/* Behind the "{": fn reads each value, with the name and what it is about. */
static bool members(struct reader *r, bool (*fn)(struct reader *, const char *, void *), void *about)
{
    if (!deeper(r))
        return false;
    bool closed = next_is(r, '}');
    while (!closed) {
        char name[16] = "";
        struct decoded d = {name, sizeof name - 1, 0, false, false};
        if (!next_is(r, '"'))
            return refuse(r, "expected a name in quotes");
        if (!string(r, &d))
            return false;
        if (d.len >= sizeof name || memchr(name, '\0', d.len) != NULL)
            name[0] = '\0'; /* none that we know */
        if (!next_is(r, ':'))
            return refuse(r, "expected :");
        if (!fn(r, name, about))
            return false;
        if (next_is(r, ','))
            continue;
        if (!next_is(r, '}'))
            return refuse(r, "expected , or }");
        closed = true;
    }
    r->depth--;
    return true;
}

static bool any_member(struct reader *r, const char *name, void *about)
{
    (void)name;
    (void)about;
    return value(r);
}

static bool value(struct reader *r)
{
    blanks(r);
    if (r->p >= r->end)
        return refuse(r, "the text ends too early");
    switch (*r->p) {
    case '{':
        r->p++;
        return members(r, any_member, NULL);
    case '[':
        r->p++;
        return elements(r, value);
    case '"':
        r->p++;
        return string(r, NULL);
    case 't':
        return word(r, "true");
    case 'f':
        return word(r, "false");
    case 'n':
        return word(r, "null");
    default:
        return number(r);
    }
}

/* ---- what is meant for us ---- */

/* Is the next value a string? Then it is read. */
static bool string_into(struct reader *r, struct decoded *d, bool *ret_is)
{
    blanks(r);
    *ret_is = r->p < r->end && *r->p == '"';
    if (!*ret_is)
        return value(r);
    r->p++;
    return string(r, d);
}

static bool item_status(struct reader *r, struct ht_item *item)
{
    static const char *const names[] = {"ok", "duplicate", "rejected", "retry"};
    char text[16] = "";
    struct decoded d = {text, sizeof text - 1, 0, false, false};
    bool is;
    if (!string_into(r, &d, &is))
        return false;
    for (size_t i = 0; is && d.len < sizeof text && i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == d.len && memcmp(names[i], text, d.len) == 0) {
            item->status = (enum ht_item_status)i;
            item->has_status = true;
            return true;
        }
    return refuse(r, "status is none of ok, duplicate, rejected, retry");
}

static bool item_index(struct reader *r, struct ht_item *item)
{
    blanks(r);
    const unsigned char *from = r->p;
    if (!value(r))
        return false;
    size_t n = (size_t)(r->p - from);
    if (n == 0 || n > 9)
        return refuse(r, "index is no small whole number");
    for (size_t i = 0; i < n; i++) {
        if (from[i] < '0' || from[i] > '9')
            return refuse(r, "index is no small whole number");
        item->index = item->index * 10 + (uint64_t)(from[i] - '0');
    }
    item->has_index = true;
    return true;
}

static bool item_member(struct reader *r, const char *name, void *about)
{
    struct ht_item *item = about;
    bool is;
    if (strcmp(name, "eventId") == 0) {
        struct decoded d = {item->id, sizeof item->id, 0, false, false};
        if (item->has_id)
            return refuse(r, "eventId twice in one result");
        if (!string_into(r, &d, &is))
            return false;
        if (!is || d.len == 0)
            return refuse(r, "eventId is no text");
        item->has_id = true;
        item->id_len = d.len;
        return true;
    }
    if (strcmp(name, "index") == 0)
        return item->has_index ? refuse(r, "index twice in one result") : item_index(r, item);
    if (strcmp(name, "status") == 0)
        return item->has_status ? refuse(r, "status twice in one result") : item_status(r, item);
    if (strcmp(name, "error") == 0) {
        struct decoded d = {item->reason, sizeof item->reason, 0, true, false};
        if (item->reason_len > 0)
            return refuse(r, "error twice in one result");
        if (!string_into(r, &d, &is))
            return false;
        item->reason_len = d.len;
        return true;
    }
    return value(r);
}

static bool one_item(struct reader *r)
{
    struct ht_item item = {.has_id = false};
    if (!next_is(r, '{'))
        return refuse(r, "a result is no object");
    if (!members(r, item_member, &item))
        return false;
    if (!item.has_status || (!item.has_id && !item.has_index))
        return refuse(r, "a result without status, or without eventId and index");
    r->out->items++;
    const char *why = r->item != NULL ? r->item(r->arg, &item) : NULL;
    return why == NULL ? true : refuse(r, why);
}

static bool top_member(struct reader *r, const char *name, void *about)
{
    static const char *const spoken[] = {"error", "message", "detail", "title"};
    struct ht_reply *out = r->out;
    (void)about;
    if (strcmp(name, "results") == 0) {
        if (out->has_results)
            return refuse(r, "results twice");
        out->has_results = true;
        return next_is(r, '[') ? elements(r, one_item) : refuse(r, "results is no array");
    }
    for (size_t i = 0; i < sizeof spoken / sizeof spoken[0] && out->message_len == 0; i++)
        if (strcmp(name, spoken[i]) == 0) {
            struct decoded d = {out->message, sizeof out->message, 0, true, false};
            bool is;
            if (!string_into(r, &d, &is))
                return false;
            out->message_len = d.len;
            return true;
        }
    return value(r);
}

bool ht_reply_read(const char *text, size_t len, ht_item_fn *item, void *arg, struct ht_reply *ret)
{
    const unsigned char *bytes = (const unsigned char *)text;
    struct reader r = {bytes, bytes, bytes + len, ret, item, arg, 0};
    memset(ret, 0, sizeof *ret);
    bool ok = next_is(&r, '{') ? members(&r, top_member, NULL) : value(&r);
    if (!ok)
        return false;
    blanks(&r);
    return r.p == r.end ? true : refuse(&r, "more behind the value");
}
