/* settings_scan.c - a look at audit.conf's text before libconfig reads it. See settings_private.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * libconfig 1.5 wraps integers silently (3000000000 becomes -1294967296, 99999999999999999999 becomes -1), drops "\x00"
 * from strings, and follows @include to any file. All of that is seen here, on the level of its tokens.
 */
#include "config.h"

#include "base/base.h"
#include "settings_private.h"

#include <limits.h>
#include <stdio.h>

#define MAX_NESTING 32

struct scan {
    const char *file;
    const char *p, *end;
    unsigned line;
    size_t problems;
    unsigned depth;
    char *out; /* twice the text's length is enough: every integer grows by one byte */
};

static void complain(struct scan *s, const char *message, const char *detail, size_t len)
{
    char where[SCHEMA_WHERE_MAX];
    snprintf(where, sizeof where, "%s:%u", s->file, s->line);
    diag_problem(AW_ERR_CONFIG, where, "%s%s%.*s%s", message, detail ? " \"" : "",
                 detail ? (int)(len < 60 ? len : 60) : 0, detail ? detail : "", detail ? "\"" : "");
    s->problems++;
}

static void put(struct scan *s, const char *from, const char *to)
{
    memcpy(s->out, from, (size_t)(to - from));
    s->out += to - from;
}

/* Copies up to `to`, counting lines. */
static void pass(struct scan *s, const char *to)
{
    for (const char *c = s->p; c < to; c++)
        s->line += *c == '\n';
    put(s, s->p, to);
    s->p = to;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool word(char c)
{
    return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void string(struct scan *s)
{
    const char *c = s->p + 1;
    while (c < s->end && *c != '"') {
        if (*c == '\\' && s->end - c >= 4 && c[1] == 'x' && c[2] == '0' && c[3] == '0')
            complain(s, "a string cannot hold the NUL character", NULL, 0);
        c += *c == '\\' && c + 1 < s->end ? 2 : 1;
    }
    if (c >= s->end)
        complain(s, "the string that begins here has no end", NULL, 0);
    pass(s, c < s->end ? c + 1 : s->end);
}

static void comment(struct scan *s)
{
    const char *c;
    if (s->p[0] == '/' && s->p[1] == '*') {
        c = memmem(s->p + 2, (size_t)(s->end - s->p - 2), "*/", 2);
        if (!c)
            complain(s, "the comment /* has no end */", NULL, 0);
        pass(s, c ? c + 2 : s->end);
        return;
    }
    c = memchr(s->p, '\n', (size_t)(s->end - s->p));
    pass(s, c ? c : s->end);
}

/* A token that begins like a number. Integers are checked, and get the L that makes libconfig keep 64 bits. */
static void number(struct scan *s)
{
    const char *c = s->p, *begin = s->p;
    bool negative = *c == '-';
    c += *c == '-' || *c == '+';
    bool hex = s->end - c > 2 && c[0] == '0' && (c[1] == 'x' || c[1] == 'X');
    const char *digits = hex ? c + 2 : c;
    c = digits;
    uint64_t n = 0;
    bool overflow = false;
    for (; c < s->end; c++) {
        unsigned d = digit(*c)                       ? (unsigned)(*c - '0')
                     : hex && *c >= 'a' && *c <= 'f' ? (unsigned)(*c - 'a' + 10)
                     : hex && *c >= 'A' && *c <= 'F' ? (unsigned)(*c - 'A' + 10)
                                                     : 99;
        if (d == 99)
            break;
        overflow |= __builtin_mul_overflow(n, hex ? 16u : 10u, &n) || __builtin_add_overflow(n, d, &n);
    }
    const char *after = c;
    while (after < s->end && *after == 'L')
        after++;
    bool plain = c > digits && after - c <= 2 && (after == s->end || (!word(*after) && *after != '.'));
    if (!plain) { /* a fraction, or no number at all: libconfig's business */
        c = begin + 1;
        while (c < s->end && (word(*c) || *c == '.' || ((*c == '+' || *c == '-') && (c[-1] == 'e' || c[-1] == 'E'))))
            c++;
        pass(s, c);
        return;
    }
    if (overflow || n > (uint64_t)INT64_MAX + (negative ? 1u : 0u))
        complain(s, "a number does not fit in 64 bits:", begin, (size_t)(after - begin));
    bool wide = after == c && n > (uint64_t)INT32_MAX;
    pass(s, after);
    if (wide)
        *s->out++ = 'L';
}

static void token(struct scan *s)
{
    char c = *s->p;
    char next = s->end - s->p > 1 ? s->p[1] : '\0';
    if (c == '"') {
        string(s);
    } else if (c == '#' || (c == '/' && (next == '/' || next == '*'))) {
        comment(s);
    } else if (digit(c) || ((c == '-' || c == '+') && (digit(next) || next == '.')) || (c == '.' && digit(next))) {
        number(s);
    } else if (word(c) || c == '*') {
        const char *e = s->p;
        while (e < s->end && (word(*e) || *e == '-' || *e == '*'))
            e++;
        pass(s, e);
    } else {
        if (c == '@')
            complain(s, "@include is not used here: put the file into the directory conf.d", NULL, 0);
        if ((c == '{' || c == '(' || c == '[') && ++s->depth == MAX_NESTING + 1)
            complain(s, "nested deeper than 32 levels", NULL, 0);
        if ((c == '}' || c == ')' || c == ']') && s->depth > 0)
            s->depth--;
        pass(s, s->p + 1);
    }
}

/* Length of the UTF-8 sequence at p, 0 when it is none. */
static size_t utf8(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static void check_bytes(struct scan *s)
{
    const char *p = s->p;
    unsigned first = s->line;
    while (p < s->end) {
        size_t n = utf8((const unsigned char *)p, (size_t)(s->end - p));
        if (*p == '\0' || n == 0) {
            complain(s, *p == '\0' ? "the file holds a NUL byte: is it a text file?" : "the file is not UTF-8 here",
                     NULL, 0);
            break;
        }
        s->line += *p == '\n';
        p += n;
    }
    s->line = first;
}

size_t settings_scan(const char *file, const char *text, size_t len, char **ret)
{
    struct scan s = {.file = file, .p = text, .end = text + len, .line = 1};
    *ret = NULL;
    check_bytes(&s);
    if (s.problems)
        return s.problems;
    AW_AUTOFREE char *out = malloc(2 * len + 1);
    if (!out) {
        diag_problem(AW_ERR_NOMEM, file, "out of memory");
        return 1;
    }
    s.out = out;
    while (s.p < s.end && s.depth <= MAX_NESTING)
        token(&s);
    *s.out = '\0';
    if (s.problems == 0)
        *ret = base_take(out);
    return s.problems;
}
