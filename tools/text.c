/* text.c - growing text, and the escapes that make foreign text safe to show.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli.h"

static void *or_die(void *p)
{
    if (!p) {
        fputs("auditwell: out of memory\n", stderr);
        exit(EXIT_UNREADABLE);
    }
    return p;
}

void *cli_alloc(size_t size)
{
    return or_die(calloc(1, size ? size : 1));
}

void *cli_realloc(void *p, size_t size)
{
    return or_die(realloc(p, size ? size : 1));
}

void text_reset(struct text *t)
{
    t->len = 0;
    if (t->ptr)
        t->ptr[0] = '\0';
}

void text_free(struct text *t)
{
    free(t->ptr);
    *t = (struct text){0};
}

static void reserve(struct text *t, size_t more)
{
    if (t->size - t->len > more)
        return;
    size_t size = t->size ? t->size : 128;
    while (size - t->len <= more)
        size *= 2;
    t->ptr = cli_realloc(t->ptr, size);
    t->size = size;
}

void text_add(struct text *t, const char *s, size_t len)
{
    reserve(t, len);
    if (len)
        memcpy(t->ptr + t->len, s, len);
    t->len += len;
    t->ptr[t->len] = '\0';
}

void text_puts(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0) {
        reserve(t, (size_t)n + 1);
        (void)vsnprintf(t->ptr + t->len, (size_t)n + 1, fmt, again);
        t->len += (size_t)n;
    }
    va_end(again);
}

/* One character of strict UTF-8 at s; its length, or 0 when there is none. */
static size_t decode(const unsigned char *s, size_t len, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (len == 0)
        return 0;
    if (s[0] < 0x80) {
        *ret = s[0];
        return 1;
    }
    size_t n = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t c = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *ret = c;
    return n;
}

/* Controls, what changes direction, what cannot be seen, tags, private use, non-characters. */
static bool is_hostile(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x115f || c == 0x1160 ||
           c == 0x180e || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0x3164 || (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff || c == 0xffa0 ||
           (c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef) || c >= 0xe0000;
}

/* What stands for the next character of s: its bytes in s (*ret_used), its text in out, its width in columns. */
static size_t show(const unsigned char *s, size_t len, bool ascii, char out[16], size_t *ret_used)
{
    uint32_t c = 0;
    size_t n = decode(s, len, &c);
    *ret_used = n ? n : 1;
    if (n == 0)
        return (size_t)snprintf(out, 16, "\\x%02x", s[0]);
    if (c == '\n' || c == '\r' || c == '\t')
        return (size_t)snprintf(out, 16, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    if (is_hostile(c) || (ascii && c >= 0x80))
        return (size_t)snprintf(out, 16, c < 0x100 ? "\\x%02x" : "\\u{%x}", c);
    memcpy(out, s, n);
    out[n] = '\0';
    if (c < 0x80)
        return 1;
    int w = wcwidth((wchar_t)c); /* -1: the locale does not know it */
    return w < 0 ? 1 : (size_t)w;
}

size_t text_safe(struct text *t, const char *s, size_t len, bool ascii, size_t max_width)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t width = 0, i = 0, cut_len = t->len, cut_width = 0;
    char out[16];
    reserve(t, len);
    while (i < len) {
        size_t used, w = show(p + i, len - i, ascii, out, &used);
        if (max_width && width + w > max_width) {
            t->len = cut_len;
            text_puts(t, ascii ? "~" : "…");
            return cut_width + 1;
        }
        text_puts(t, out);
        width += w;
        i += used;
        if (max_width && width + 1 <= max_width) { /* where it could still be cut */
            cut_len = t->len;
            cut_width = width;
        }
    }
    t->ptr[t->len] = '\0';
    return width;
}

static void json_escape(struct text *t, uint32_t c)
{
    if (c >= 0x10000)
        text_printf(t, "\\u%04x\\u%04x", 0xd7c0u + (c >> 10), 0xdc00u + (c & 0x3ffu));
    else
        text_printf(t, "\\u%04x", c);
}

void text_json(struct text *t, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    text_add(t, "\"", 1);
    for (size_t i = 0; i < len;) {
        uint32_t c = 0;
        size_t n = decode(p + i, len - i, &c);
        if (n == 0)
            text_puts(t, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            text_printf(t, "\\%c", (int)c);
        else if (is_hostile(c))
            json_escape(t, c);
        else
            text_add(t, s + i, n);
        i += n ? n : 1;
    }
    text_add(t, "\"", 1);
}

void text_json_safe(struct text *t, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < len;) {
        uint32_t c = 0;
        size_t n = decode(p + i, len - i, &c);
        if (n == 0)
            text_printf(t, "\\x%02x", p[i]); /* no JSON any more; but it was none before */
        else if (is_hostile(c))
            json_escape(t, c);
        else
            text_add(t, s + i, n);
        i += n ? n : 1;
    }
}

void text_csv(struct text *t, const char *s, size_t len, bool exact)
{
    bool formula = !exact && len && memchr("=+-@\t\r", s[0], 6);
    bool quote = formula || (len && (s[0] == ' ' || s[len - 1] == ' '));
    for (size_t i = 0; i < len && !quote; i++)
        quote = s[i] == '"' || s[i] == ',' || s[i] == '\n' || s[i] == '\r';
    if (!quote) {
        text_add(t, s, len);
        return;
    }
    text_puts(t, formula ? "\"'" : "\"");
    for (size_t i = 0; i < len; i++)
        text_add(t, s[i] == '"' ? "\"\"" : s + i, s[i] == '"' ? 2 : 1);
    text_add(t, "\"", 1);
}
