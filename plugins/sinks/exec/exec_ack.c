/* exec_ack.c - see exec_ack.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <string.h>

#include "exec_ack.h"

#define MAX_DEPTH 32
#define MAX_RETRY_MS 3600000u

struct reader {
    char *p, *end;
    const char *fault;
};

static bool fail(struct reader *r, const char *why)
{
    if (r->fault == NULL)
        r->fault = why;
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r' || *r->p == '\n'))
        r->p++;
}

static bool next_is(struct reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static int hex4(const struct reader *r)
{
    int v = 0;
    if (r->end - r->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = r->p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* The code point of an escape \u..., whose u was read. -1: none. */
static long escaped_point(struct reader *r)
{
    int high = hex4(r);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return -1;
    r->p += 4;
    if (high < 0xd800 || high >= 0xdc00)
        return high;
    if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
        return -1;
    r->p += 2;
    int low = hex4(r);
    if (low < 0xdc00 || low >= 0xe000)
        return -1;
    r->p += 4;
    return 0x10000 + ((long)(high - 0xd800) << 10) + (low - 0xdc00);
}

static char *put_point(char *out, long c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | (c >> 6));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | (c >> 12));
        *out++ = (char)(0x80 | ((c >> 6) & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | (c >> 18));
        *out++ = (char)(0x80 | ((c >> 12) & 0x3f));
        *out++ = (char)(0x80 | ((c >> 6) & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* How many bytes the UTF-8 sequence at p has. 0: it is none. */
static size_t utf8_length(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p), n = u[0] < 0x80   ? 1
                                         : u[0] < 0xc2 ? 0
                                         : u[0] < 0xe0 ? 2
                                         : u[0] < 0xf0 ? 3
                                         : u[0] < 0xf5 ? 4
                                                       : 0;
    if (n == 0 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
        (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return n;
}

static bool read_escape(struct reader *r, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end)
        return fail(r, "a string has no end");
    char c = *r->p++;
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at != NULL) {
        *(*out)++ = to[at - from];
        return true;
    }
    long point = c == 'u' ? escaped_point(r) : -1;
    if (point < 0)
        return fail(r, "a string has a wrong escape");
    *out = put_point(*out, point); /* never longer than the escape */
    return true;
}

/* A string whose opening quote was read; decoded in place. */
static bool read_string(struct reader *r, struct aw_str *ret)
{
    char *out = r->p, *from = r->p;
    while (r->p < r->end && *r->p != '"') {
        if ((unsigned char)*r->p < 0x20)
            return fail(r, "a string has a control character");
        if (*r->p == '\\') {
            r->p++;
            if (!read_escape(r, &out))
                return false;
            continue;
        }
        size_t n = utf8_length(r->p, r->end);
        if (n == 0)
            return fail(r, "a string is not UTF-8");
        memmove(out, r->p, n);
        out += n;
        r->p += n;
    }
    if (r->p == r->end)
        return fail(r, "a string has no end");
    r->p++;
    *ret = (struct aw_str){from, (size_t)(out - from)};
    return true;
}

static bool digits(struct reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from;
}

/* Any number. *ret: its value if it is a whole one that fits, else UINT64_MAX. */
static bool read_number(struct reader *r, uint64_t *ret)
{
    const char *from = r->p;
    bool whole = true;
    if (r->p < r->end && *r->p == '-') {
        r->p++;
        whole = false;
    }
    const char *first = r->p;
    if (!digits(r) || (*first == '0' && r->p - first > 1))
        return fail(r, "not JSON");
    const char *last = r->p;
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        whole = false;
        if (!digits(r))
            return fail(r, "not JSON");
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        whole = false;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        if (!digits(r))
            return fail(r, "not JSON");
    }
    *ret = UINT64_MAX;
    if (whole && last - from <= 18) {
        *ret = 0;
        for (; from < last; from++)
            *ret = *ret * 10 + (uint64_t)(*from - '0');
    }
    return true;
}

static bool skip_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return fail(r, "not JSON");
    r->p += n;
    return true;
}

/* A value that is not an object or array. */
static bool skip_scalar(struct reader *r)
{
    struct aw_str s;
    uint64_t number;
    switch (r->p < r->end ? *r->p : '\0') {
    case '"':
        r->p++;
        return read_string(r, &s);
    case 't':
        return skip_word(r, "true");
    case 'f':
        return skip_word(r, "false");
    case 'n':
        return skip_word(r, "null");
    default:
        return read_number(r, &number);
    }
}

static bool skip_key(struct reader *r)
{
    struct aw_str s;
    if (!next_is(r, '"') || !read_string(r, &s) || !next_is(r, ':'))
        return fail(r, "not JSON");
    return true;
}

/* Any value. Without recursion: open[] tells what each level is. */
static bool skip_value(struct reader *r)
{
    char open[MAX_DEPTH];
    int depth = 0;
    for (;;) {
        skip_space(r);
        char c = r->p < r->end ? *r->p : '\0';
        if (c == '{' || c == '[') {
            if (depth == MAX_DEPTH)
                return fail(r, "nested too deep");
            r->p++;
            open[depth++] = c == '{' ? '}' : ']';
            if (!next_is(r, open[depth - 1])) {
                if (c == '{' && !skip_key(r))
                    return false;
                continue;
            }
            depth--;
        } else if (!skip_scalar(r)) {
            return false;
        }
        while (depth > 0 && next_is(r, open[depth - 1]))
            depth--;
        if (depth == 0)
            return true;
        if (!next_is(r, ','))
            return fail(r, "not JSON");
        if (open[depth - 1] == '}' && !skip_key(r))
            return false;
    }
}

static bool same(struct aw_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

enum { GOT_ID = 1, GOT_STATUS = 2, GOT_ERROR = 4, GOT_RETRY = 8, GOT_FLUSHED = 16 };

static unsigned member_of(struct aw_str key)
{
    return same(key, "eventId")        ? GOT_ID
           : same(key, "status")       ? GOT_STATUS
           : same(key, "error")        ? GOT_ERROR
           : same(key, "retryAfterMs") ? GOT_RETRY
           : same(key, "flushed")      ? GOT_FLUSHED
                                       : 0;
}

static bool take_status(struct reader *r, struct aw_str s, struct ex_ack *ret)
{
    static const struct {
        const char *name;
        uint8_t status;
    } all[] = {{"durable", AW_EVENT_DURABLE},
               {"accepted", AW_EVENT_ACCEPTED},
               {"duplicate", AW_EVENT_DUPLICATE},
               {"retry", AW_EVENT_RETRY},
               {"rejected", AW_EVENT_REJECTED}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (same(s, all[i].name)) {
            ret->status = all[i].status;
            return true;
        }
    return fail(r, "status is none of durable, accepted, duplicate, retry, rejected");
}

static bool read_member(struct reader *r, unsigned *got, struct ex_ack *ret)
{
    struct aw_str key, s;
    if (!next_is(r, '"') || !read_string(r, &key) || !next_is(r, ':'))
        return fail(r, "not a JSON object");
    unsigned member = member_of(key);
    if (member == 0)
        return skip_value(r);
    if ((*got & member) != 0)
        return fail(r, "a member stands twice");
    *got |= member;
    skip_space(r);
    if (member == GOT_RETRY || member == GOT_FLUSHED) {
        uint64_t n;
        if (!read_number(r, &n) || n == UINT64_MAX)
            return fail(r, "retryAfterMs and flushed must be whole numbers");
        if (member == GOT_RETRY)
            ret->retry_after_ms = n < MAX_RETRY_MS ? n : MAX_RETRY_MS;
        else
            ret->number = n;
        return true;
    }
    if (!next_is(r, '"') || !read_string(r, &s))
        return fail(r, "eventId, status and error must be strings");
    if (member == GOT_STATUS)
        return take_status(r, s, ret);
    *(member == GOT_ID ? &ret->id : &ret->error) = s;
    return true;
}

const char *ex_parse_ack(char *line, size_t len, struct ex_ack *ret)
{
    struct reader r = {line, line + len, NULL};
    unsigned got = 0;
    *ret = (struct ex_ack){.kind = EX_ACK_EVENT};
    if (!next_is(&r, '{'))
        return "not a JSON object";
    if (!next_is(&r, '}'))
        do
            if (!read_member(&r, &got, ret))
                return r.fault != NULL ? r.fault : "not JSON";
        while (next_is(&r, ','));
    else
        return "neither eventId and status nor flushed";
    if (!next_is(&r, '}'))
        return "not a JSON object";
    skip_space(&r);
    if (r.p != r.end)
        return "something stands behind the JSON object";
    if ((got & GOT_FLUSHED) != 0 && (got & (GOT_ID | GOT_STATUS)) == 0) {
        ret->kind = EX_ACK_FLUSHED;
        return NULL;
    }
    if ((got & (GOT_FLUSHED | GOT_ID | GOT_STATUS)) != (GOT_ID | GOT_STATUS))
        return "neither eventId and status nor flushed";
    return NULL;
}
