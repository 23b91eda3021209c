/* file_line.c - looks into one line: is it a JSON object, and what do its integrity.seq and integrity.hash say?
 * SPDX-License-Identifier: Apache-2.0
 *
 * This is no JSON library: it checks structure (so that garbage after a power loss is told from events) and finds two
 * members. The events themselves are made and verified by the host.
 */
#include "config.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "file_sink.h"

#define DEPTH_MAX 512

struct scan {
    const char *at, *end;
    struct sf_seal *seal; /* filled while inside the top-level integrity member */
    struct aw_str time;   /* context.occurredAt, as it is written */
};
enum place { PLACE_TOP, PLACE_INTEGRITY, PLACE_CONTEXT, PLACE_ELSEWHERE };

static bool scan_value(struct scan *s, enum place place, int depth);

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* A string; ret is what stands between the quotes. */
static bool scan_string(struct scan *s, struct aw_str *ret)
{
    if (!take(s, '"'))
        return false;
    const char *from = s->at;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at++;
        if (c == '"') {
            *ret = (struct aw_str){from, (size_t)(s->at - 1 - from)};
            return true;
        }
        if (c < 0x20)
            return false;
        if (c == '\\') {
            if (s->at == s->end || *s->at == '\0' || strchr("\"\\/bfnrtu", *s->at) == NULL)
                return false;
            s->at++;
        }
    }
    return false;
}

static bool scan_number(struct scan *s, struct aw_str *ret)
{
    const char *from = s->at;
    bool digit = false;
    for (; s->at < s->end; s->at++) {
        char c = *s->at;
        if (c >= '0' && c <= '9')
            digit = true;
        else if (c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E')
            break;
    }
    *ret = (struct aw_str){from, (size_t)(s->at - from)};
    return digit && (*from == '-' || (*from >= '0' && *from <= '9'));
}

static uint64_t to_u64(const char *p, const char *end)
{
    uint64_t v = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (v > (UINT64_MAX - 9) / 10)
            return 0;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    return v;
}

static bool is(struct aw_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

/* One member of the integrity object. */
static bool scan_sealed(struct scan *s, struct aw_str key)
{
    struct aw_str value;
    skip_space(s);
    if ((is(key, "seq") || is(key, "stream")) && s->at < s->end && *s->at != '"') {
        if (!scan_number(s, &value))
            return false;
        uint64_t n = to_u64(value.ptr, value.ptr + value.len);
        if (is(key, "seq"))
            s->seal->seq = n;
        else
            s->seal->stream = n <= UINT16_MAX ? (uint32_t)n : UINT32_MAX;
        return true;
    }
    if (is(key, "hash") && s->at < s->end && *s->at == '"') {
        if (!scan_string(s, &value))
            return false;
        if (value.len == 64) {
            memcpy(s->seal->hash, value.ptr, 64);
            s->seal->hash[64] = '\0';
        }
        return true;
    }
    return scan_value(s, PLACE_ELSEWHERE, 2);
}

static enum place place_of(enum place place, struct aw_str key)
{
    if (place != PLACE_TOP)
        return PLACE_ELSEWHERE;
    return is(key, "integrity") ? PLACE_INTEGRITY : is(key, "context") ? PLACE_CONTEXT : PLACE_ELSEWHERE;
}

static bool scan_object(struct scan *s, enum place place, int depth)
{
    struct aw_str key;
    if (!take(s, '{'))
        return false;
    if (take(s, '}'))
        return true;
    do {
        bool ok;
        if (!scan_string(s, &key) || !take(s, ':'))
            return false;
        skip_space(s);
        if (place == PLACE_INTEGRITY)
            ok = scan_sealed(s, key);
        else if (place == PLACE_CONTEXT && is(key, "occurredAt") && s->at < s->end && *s->at == '"')
            ok = scan_string(s, &s->time);
        else
            ok = scan_value(s, place_of(place, key), depth + 1);
        if (!ok)
            return false;
    } while (take(s, ','));
    return take(s, '}');
}

static bool scan_array(struct scan *s, int depth)
{
    if (!take(s, '['))
        return false;
    if (take(s, ']'))
        return true;
    do {
        if (!scan_value(s, PLACE_ELSEWHERE, depth + 1))
            return false;
    } while (take(s, ','));
    return take(s, ']');
}

static bool scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return false;
    s->at += n;
    return true;
}

static bool scan_value(struct scan *s, enum place place, int depth)
{
    struct aw_str ignored;
    skip_space(s);
    if (s->at == s->end || depth > DEPTH_MAX)
        return false;
    switch (*s->at) {
    case '{':
        return scan_object(s, place, depth);
    case '[':
        return scan_array(s, depth);
    case '"':
        return scan_string(s, &ignored);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s, &ignored);
    }
}

/* Days since 1970-01-01. */
static int64_t days_of(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (int64_t)(m + (m > 2 ? -3u : 9u)) + 2) / 5 + (int64_t)d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool digits(const char **p, const char *end, int n, unsigned *ret)
{
    *ret = 0;
    for (; n > 0; n--, (*p)++) {
        if (*p == end || **p < '0' || **p > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(**p - '0');
    }
    return true;
}

static bool one_of(const char **p, const char *end, const char *which)
{
    if (*p == end || **p == '\0' || strchr(which, **p) == NULL)
        return false;
    ++*p;
    return true;
}

/* RFC 3339, as the host has checked it before it sealed it. */
static bool parse_time(struct aw_str text, int64_t *ret_ns)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    unsigned y, mo, d, h, mi, sec, oh = 0, om = 0;
    int64_t ns = 0, unit = 100000000;
    if (text.len == 0 || !digits(&p, end, 4, &y) || !one_of(&p, end, "-") || !digits(&p, end, 2, &mo) ||
        !one_of(&p, end, "-") || !digits(&p, end, 2, &d) || !one_of(&p, end, "Tt ") || !digits(&p, end, 2, &h) ||
        !one_of(&p, end, ":") || !digits(&p, end, 2, &mi) || !one_of(&p, end, ":") || !digits(&p, end, 2, &sec))
        return false;
    if (one_of(&p, end, "."))
        for (; p < end && *p >= '0' && *p <= '9'; p++, unit /= 10)
            ns += (*p - '0') * unit;
    int64_t at = ((days_of((int64_t)y, mo, d) * 24 + h) * 60 + mi) * 60 + sec;
    if (!one_of(&p, end, "Zz")) {
        bool minus = p < end && *p == '-';
        if (!one_of(&p, end, "+-") || !digits(&p, end, 2, &oh) || !one_of(&p, end, ":") || !digits(&p, end, 2, &om))
            return false;
        at -= (minus ? -60 : 60) * (int64_t)(oh * 60 + om);
    }
    return p == end && !__builtin_mul_overflow(at, INT64_C(1000000000), ret_ns) &&
           !__builtin_add_overflow(*ret_ns, ns, ret_ns);
}

bool sf_line_facts(const char *line, size_t len, struct sf_facts *ret)
{
    struct scan s = {line, line + len, &ret->seal, {NULL, 0}};
    ret->seal = (struct sf_seal){0, "", 0};
    bool ok = scan_object(&s, PLACE_TOP, 0);
    skip_space(&s);
    if (!ok || s.at != s.end)
        return false;
    ret->with_time = parse_time(s.time, &ret->occurred_ns);
    return true;
}

bool sf_line_valid(const char *line, size_t len, struct sf_seal *ret)
{
    struct sf_seal seal = {0, "", 0};
    struct scan s = {line, line + len, &seal, {NULL, 0}};
    bool ok = scan_object(&s, PLACE_TOP, 0);
    skip_space(&s);
    if (!ok || s.at != s.end)
        return false;
    if (ret != NULL)
        *ret = seal;
    return true;
}

static const char needle[] = "\"integrity\":{";
#define NEEDLE (sizeof needle - 1)

/* The next occurrence of `"integrity":{` at or behind p. The pair of its first and last byte is rare enough to look for
 * 16 places at a time. */
static const char *find_integrity(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i first = _mm_set1_epi8('"'), last = _mm_set1_epi8('{');
    while ((size_t)(end - p) >= NEEDLE - 1 + 16) {
        __m128i a = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), first);
        __m128i b = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + NEEDLE - 1)), last);
        unsigned hits = (unsigned)_mm_movemask_epi8(_mm_and_si128(a, b));
        for (; hits != 0; hits &= hits - 1) {
            const char *at = p + __builtin_ctz(hits);
            if (memcmp(at, needle, NEEDLE) == 0)
                return at;
        }
        p += 16;
    }
#endif
    for (; p < end && (size_t)(end - p) >= NEEDLE; p++)
        if (*p == '"' && memcmp(p, needle, NEEDLE) == 0)
            return p;
    return NULL;
}

/* `"seq":N` inside the flat object that begins at p. */
static uint64_t flat_seq(const char *p, const char *end)
{
    const char *stop = memchr(p, '}', (size_t)(end - p));
    if (stop == NULL)
        return 0;
    if (stop - p > 1024)
        stop = p + 1024;       /* a view's list of fields may be long; it stands behind seq */
    const char *digits = stop; /* in canonical order seq is the last member */
    while (digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    if (digits - p > 7 && memcmp(digits - 6, "\"seq\":", 6) == 0 && (digits[-7] == ',' || digits[-7] == '{'))
        return to_u64(digits, stop);
    const char *at = memmem(p, (size_t)(stop - p), "\"seq\":", 6);
    return at != NULL && (at[-1] == '{' || at[-1] == ',') ? to_u64(at + 6, stop) : 0;
}

uint64_t sf_line_seq(const char *line, size_t len)
{
    const char *end = line + len, *at = find_integrity(line, end);
    struct sf_seal seal;
    if (at != NULL && at > line && (at[-1] == ',' || at[-1] == '{') && find_integrity(at + NEEDLE, end) == NULL)
        return flat_seq(at + NEEDLE - 1, end);
    /* None in this spelling, or several: only the nesting can tell. */
    if (at == NULL && memmem(line, len, "integrity", 9) == NULL)
        return 0;
    return sf_line_valid(line, len, &seal) ? seal.seq : 0;
}
