/* json_scan.h - the reader's lower half: spaces, strings and numbers. Included by json.c alone, which it is inlined
 * into.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Functions take the place p they read at and return where they stopped, NULL after an error. Nothing looks for the end
 * of the text: the zero bytes behind it stop each scan.
 */
#ifndef AW_JSON_SCAN_H
#define AW_JSON_SCAN_H

#include <math.h>

#include "event/json_doc.h"
#include "event/number.h"
#include "event/redact.h"

#define EXACT_DIGITS 15 /* decimals of so many digits are all distinct as doubles */

struct reader {
    struct json_doc *doc;
    const char *end;     /* of the text; zero bytes follow */
    char *decoded_at;    /* free part of doc->decoded */
    const char *mark_at; /* the next mark: what ends before it is unmarked */
    const uint32_t *marks;
    const struct json_expect *expect; /* doc's, or one of nothing */
    uint32_t *slots;
    uint64_t present; /* slots that are taken */
    struct json_error *error;
    const char *span_start, *span_end;
    int rc;
    bool accept_rounded, mark_all, marking;
    bool canonical; /* so far */
    uint8_t span_slot;
};

/* ---- errors ---- */

static AW_COLD const char *fail(struct reader *r, const char *p, const char *message)
{
    r->rc = -EINVAL;
    r->error->message = message;
    r->error->offset = (size_t)(p - r->doc->text);
    return NULL;
}

static AW_COLD const char *fail_memory(struct reader *r)
{
    r->rc = -ENOMEM;
    r->error->message = "out of memory";
    return NULL;
}

/* ---- strings ---- */

static inline const char *skip_space(struct reader *r, const char *p)
{
    while (AW_UNLIKELY((unsigned char)*p <= ' ') && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
        r->canonical = false;
    }
    return p;
}

static const char *read_escape(struct reader *r, const char *p, char **out)
{
    static const char plain[128] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    unsigned char c = (unsigned char)p[1];
    if (c < 128 && plain[c]) {
        *(*out)++ = plain[c];
        r->canonical &= c != '/';
        return p + 2;
    }
    if (c != 'u')
        return fail(r, p, "not an escape: after \\ only one of \" \\ / b f n r t u is allowed");
    int unit = text_hex4(p + 2);
    if (unit < 0)
        return fail(r, p, "not an escape: \\u needs four hexadecimal digits");
    uint32_t code = (uint32_t)unit;
    size_t used = 6;
    if (code >= 0xdc00 && code < 0xe000)
        return fail(r, p, "low surrogate without a high surrogate before it");
    if (code >= 0xd800 && code < 0xdc00) {
        int low = p[6] == '\\' && p[7] == 'u' ? text_hex4(p + 8) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(r, p, "high surrogate without a low surrogate behind it");
        code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        used = 12;
    }
    char written[8]; /* the one way in which a canonical writer would write it */
    r->canonical = r->canonical && code < 0x20 && text_put_escape(written, (unsigned char)code) - written == 6 &&
                   memcmp(written, p, 6) == 0;
    *out = text_put_utf8(*out, code);
    return p + used;
}

static AW_COLD const char *string_error(struct reader *r, const char *p)
{
    return fail(r, p,
                p >= r->end ? "the text ends inside a string" : "control character in a string: write it as an escape");
}

static const char *read_plain(char **out, const char *p)
{
    char *o = *out;
    while ((unsigned char)*p >= 0x20 && *p != '"' && *p != '\\')
        *o++ = *p++;
    *out = o;
    return p;
}

/* A string with escapes: s is its first byte, p its first backslash. The decoded text is never longer than what it came
 * from, so doc->decoded, as large as the text, holds them all. */
static const char *read_escaped(struct reader *r, const char *s, const char *p, struct json_node *n)
{
    struct json_doc *doc = r->doc;
    if (!doc->decoded) {
        doc->decoded = malloc(doc->text_capacity);
        if (!doc->decoded)
            return fail_memory(r);
        memset(doc->decoded, 0, doc->text_capacity);
    }
    if (!r->decoded_at)
        r->decoded_at = doc->decoded;
    char *start = r->decoded_at, *out = start;
    memcpy(out, s, (size_t)(p - s));
    out += p - s;
    while (*p != '"') {
        p = *p == '\\' ? read_escape(r, p, &out) : (unsigned char)*p < 0x20 ? string_error(r, p) : read_plain(&out, p);
        if (!p)
            return NULL;
    }
    if (!text_utf8_valid(s, (size_t)(p - s)))
        return fail(r, s, "the string is not valid UTF-8");
    r->decoded_at = out;
    n->text = start;
    n->len = (uint32_t)(out - start);
    n->flags = (uint8_t)text_classify(start, n->len);
    if (r->marking && scan_suspicious(start, n->len)) /* marks were made on the text as it is written */
        n->flags |= JSON_MARKED;
    return p + 1;
}

/* p is behind the opening quote. Sets text, len, and flags TEXT_ESCAPE, TEXT_NON_ASCII (for keys; moved by the caller).
 */
static inline const char *read_string(struct reader *r, const char *p, struct json_node *n)
{
    const char *s = p;
    unsigned high = 0;
#if defined(__SSE2__)
    for (;;) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        unsigned top = (unsigned)_mm_movemask_epi8(x);
        if (AW_LIKELY(mask != 0)) {
            high |= top & (mask ^ (mask - 1));
            p += __builtin_ctz(mask);
            break;
        }
        high |= top;
        p += 16;
    }
#else
    for (; (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\'; p++)
        high |= (unsigned char)*p & 0x80u;
#endif
    if (AW_UNLIKELY(*p != '"'))
        return *p == '\\' ? read_escaped(r, s, p, n) : string_error(r, p);
    n->text = s;
    n->len = (uint32_t)(p - s);
    n->flags = 0;
    if (AW_UNLIKELY(high != 0)) {
        if (!text_utf8_valid(s, n->len))
            return fail(r, s, "the string is not valid UTF-8");
        n->flags = TEXT_NON_ASCII;
    }
    return p + 1;
}

/* Called with rising positions, once a text ends behind the next mark. */
static AW_COLD bool pass_marks(struct reader *r, const char *s, const char *end)
{
    const char *text = r->doc->text;
    uint32_t from = (uint32_t)(s - text), to = (uint32_t)(end - text);
    if (r->mark_all)
        return true;
    while (*r->marks < from)
        r->marks++;
    bool marked = *r->marks < to;
    r->mark_at = *r->marks == UINT32_MAX ? r->end + JSON_TEXT_PAD : text + *r->marks;
    return marked;
}

static inline unsigned mark_flag(struct reader *r, const char *s, const char *end)
{
    return AW_UNLIKELY(end > r->mark_at) && pass_marks(r, s, end) ? JSON_MARKED : 0;
}

/* ---- numbers ---- */

static const char *read_number_slow(struct reader *r, const char *s, const char *end, bool integer, struct json_node *n)
{
    double value;
    size_t len = (size_t)(end - s);
    if (!number_parse(s, len, &value))
        return fail_memory(r);
    if (!isfinite(value))
        return fail(r, s, "the number is out of the range of a double");
    char *out = arena_text(&r->doc->arena, JSON_NUMBER_MAX);
    if (!out)
        return fail_memory(r);
    size_t out_len = json_format_double(value, out);
    arena_shrink(&r->doc->arena, out + out_len);
    if (integer && !number_holds_integer(value, s, len) &&
        !(r->accept_rounded && out_len == len && memcmp(out, s, len) == 0))
        return fail(r, s, "a double cannot hold this integer exactly: write it as a string");
    r->canonical = r->canonical && out_len == len && memcmp(out, s, len) == 0;
    n->text = out;
    n->len = (uint32_t)out_len;
    return end;
}

static inline const char *skip_digits(const char *p)
{
    while ((unsigned char)(*p - '0') < 10)
        p++;
    return p;
}

/* Cuts zeros at the fraction's end, and the point when nothing is left behind it. */
static const char *trim_fraction(const char *point, const char *end)
{
    while (end[-1] == '0')
        end--;
    return end - 1 == point ? point : end;
}

/* An integer or a decimal of at most 15 digits and not too small is its own canonical text, but for zeros at its end.
 */
static const char *read_number(struct reader *r, const char *p, struct json_node *n)
{
    const char *s = p, *digits = p + (*p == '-'), *point = NULL;
    p = digits;
    if (*p == '0')
        p++;
    else if (*p >= '1' && *p <= '9')
        p = skip_digits(p + 1);
    else
        return fail(r, p, "not a value: a digit must follow the minus sign");
    const char *whole_end = p;
    if (*p == '.') {
        point = p;
        p = skip_digits(p + 1);
        if (p == point + 1)
            return fail(r, p, "a digit must follow the decimal point");
    }
    bool exponent = (*p | 0x20) == 'e';
    if (exponent) {
        p++;
        p += *p == '+' || *p == '-';
        const char *e = p;
        p = skip_digits(p);
        if (p == e)
            return fail(r, p, "a digit must follow the exponent sign");
    }
    n->type = JSON_NUMBER;
    n->flags = (uint8_t)mark_flag(r, s, p);
    const char *end = point && !exponent ? trim_fraction(point, p) : p;
    bool zero = end - digits == 1 && *digits == '0';
    bool small = *digits == '0' && !zero; /* 0.…: ES6 turns to exponents below 1e-6 */
    size_t count = (size_t)(end - digits) - (point && end > point);
    if (AW_UNLIKELY(exponent || count > EXACT_DIGITS || (small && memcmp(digits, "0.00000", 7) == 0)))
        return read_number_slow(r, s, p, whole_end == p, n);
    n->text = zero ? digits : s; /* -0 is 0 */
    n->len = (uint32_t)(end - n->text);
    r->canonical &= end == p && n->text == s;
    return p;
}

#endif
