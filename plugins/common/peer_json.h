/* peer_json.h - a strict reader of the small JSON texts that peers of plugins send. SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is allocated; strings are decoded in place, so that the text is not what it was afterwards. A false result
 * leaves the first reason in `fault`. In a header, since several plugins may be linked into one library.
 */
#ifndef AW_PEER_JSON_H
#define AW_PEER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "audit/plugin.h"

#define PJ_MAX_DEPTH 32

struct pj {
    char *p, *end;
    const char *fault;
};

static inline bool pj_fail(struct pj *r, const char *why)
{
    if (r->fault == NULL)
        r->fault = why;
    return false;
}

static inline void pj_space(struct pj *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r' || *r->p == '\n'))
        r->p++;
}

static inline bool pj_next(struct pj *r, char c)
{
    pj_space(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static inline int pj_hex4(const struct pj *r)
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
static inline long pj_point(struct pj *r)
{
    int high = pj_hex4(r);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return -1;
    r->p += 4;
    if (high < 0xd800 || high >= 0xdc00)
        return high;
    if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
        return -1;
    r->p += 2;
    int low = pj_hex4(r);
    if (low < 0xdc00 || low >= 0xe000)
        return -1;
    r->p += 4;
    return 0x10000 + ((long)(high - 0xd800) << 10) + (low - 0xdc00);
}

static inline char *pj_put_point(char *out, long c)
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
static inline size_t pj_utf8_length(const char *p, const char *end)
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

static inline bool pj_escape(struct pj *r, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end)
        return pj_fail(r, "a string has no end");
    char c = *r->p++;
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at != NULL) {
        *(*out)++ = to[at - from];
        return true;
    }
    long point = c == 'u' ? pj_point(r) : -1;
    if (point < 0)
        return pj_fail(r, "a string has a wrong escape");
    *out = pj_put_point(*out, point); /* never longer than the escape */
    return true;
}

/* A string whose opening quote was read; decoded in place. */
static inline bool pj_string(struct pj *r, struct aw_str *ret)
{
    char *out = r->p, *from = r->p;
    while (r->p < r->end && *r->p != '"') {
        if ((unsigned char)*r->p < 0x20)
            return pj_fail(r, "a string has a control character");
        if (*r->p == '\\') {
            r->p++;
            if (!pj_escape(r, &out))
                return false;
            continue;
        }
        size_t n = pj_utf8_length(r->p, r->end);
        if (n == 0)
            return pj_fail(r, "a string is not UTF-8");
        memmove(out, r->p, n);
        out += n;
        r->p += n;
    }
    if (r->p == r->end)
        return pj_fail(r, "a string has no end");
    r->p++;
    *ret = (struct aw_str){from, (size_t)(out - from)};
    return true;
}

static inline bool pj_digits(struct pj *r)
{
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from;
}

/* Any number. *ret: its value if it is a whole one that fits, else UINT64_MAX. */
static inline bool pj_number(struct pj *r, uint64_t *ret)
{
    const char *from = r->p;
    bool whole = true;
    if (r->p < r->end && *r->p == '-') {
        r->p++;
        whole = false;
    }
    const char *first = r->p;
    if (!pj_digits(r) || (*first == '0' && r->p - first > 1))
        return pj_fail(r, "not JSON");
    const char *last = r->p;
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        whole = false;
        if (!pj_digits(r))
            return pj_fail(r, "not JSON");
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        whole = false;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        if (!pj_digits(r))
            return pj_fail(r, "not JSON");
    }
    *ret = UINT64_MAX;
    if (whole && last - from <= 18) {
        *ret = 0;
        for (; from < last; from++)
            *ret = *ret * 10 + (uint64_t)(*from - '0');
    }
    return true;
}

static inline bool pj_word(struct pj *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return pj_fail(r, "not JSON");
    r->p += n;
    return true;
}

/* A value that is not an object or array. */
static inline bool pj_scalar(struct pj *r)
{
    struct aw_str s;
    uint64_t number;
    switch (r->p < r->end ? *r->p : '\0') {
    case '"':
        r->p++;
        return pj_string(r, &s);
    case 't':
        return pj_word(r, "true");
    case 'f':
        return pj_word(r, "false");
    case 'n':
        return pj_word(r, "null");
    default:
        return pj_number(r, &number);
    }
}

static inline bool pj_key(struct pj *r)
{
    struct aw_str s;
    if (!pj_next(r, '"') || !pj_string(r, &s) || !pj_next(r, ':'))
        return pj_fail(r, "not JSON");
    return true;
}

/* Any value. Without recursion: open[] tells what each level is. */
static inline bool pj_skip(struct pj *r)
{
    char open[PJ_MAX_DEPTH];
    int depth = 0;
    for (;;) {
        pj_space(r);
        char c = r->p < r->end ? *r->p : '\0';
        if (c == '{' || c == '[') {
            if (depth == PJ_MAX_DEPTH)
                return pj_fail(r, "nested too deep");
            r->p++;
            open[depth++] = c == '{' ? '}' : ']';
            if (!pj_next(r, open[depth - 1])) {
                if (c == '{' && !pj_key(r))
                    return false;
                continue;
            }
            depth--;
        } else if (!pj_scalar(r)) {
            return false;
        }
        while (depth > 0 && pj_next(r, open[depth - 1]))
            depth--;
        if (depth == 0)
            return true;
        if (!pj_next(r, ','))
            return pj_fail(r, "not JSON");
        if (open[depth - 1] == '}' && !pj_key(r))
            return false;
    }
}

static inline bool pj_same(struct aw_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

#endif
