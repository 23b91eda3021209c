/* text.c - see text.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/text.h"

#if defined(__SSE2__)
/* One bit per byte that needs an escape. */
static inline unsigned escape_mask(__m128i x)
{
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control));
}

unsigned text_classify(const char *in, size_t len)
{
    unsigned escape = 0, high = 0;
    for (size_t i = 0; i < len; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        unsigned live = len - i >= 16 ? 0xffffu : (1u << (len - i)) - 1;
        escape |= escape_mask(x) & live;
        high |= (unsigned)_mm_movemask_epi8(x) & live;
    }
    return (escape ? TEXT_ESCAPE : 0) | (high ? TEXT_NON_ASCII : 0);
}

/* Fewer than 16 bytes, zero-filled; nothing behind them is read. */
static inline __m128i load_few(const char *in, size_t len)
{
    uint64_t low = 0, high = 0;
    if (len >= 8) {
        low = base_le64(in);
        high = len == 8 ? 0 : base_le64(in + len - 8) >> (8 * (16 - len));
    } else if (len >= 4) {
        low = base_le32(in) | (uint64_t)base_le32(in + len - 4) << (8 * (len - 4));
    } else if (len > 0) {
        low = (unsigned char)in[0] | (uint64_t)(unsigned char)in[len / 2] << (8 * (len / 2)) |
              (uint64_t)(unsigned char)in[len - 1] << (8 * (len - 1));
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

unsigned text_take(char *out, const char *in, size_t len)
{
    unsigned escape = 0, high = 0;
    if (len < 16) {
        __m128i x = load_few(in, len);
        _mm_storeu_si128((__m128i *)(void *)out, x);
        escape = escape_mask(x) & ((1u << len) - 1);
        high = (unsigned)_mm_movemask_epi8(x);
    }
    for (size_t i = 0, last = len - 16; len >= 16; i = i + 16 < last ? i + 16 : last) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        _mm_storeu_si128((__m128i *)(void *)(out + i), x);
        escape |= escape_mask(x);
        high |= (unsigned)_mm_movemask_epi8(x);
        if (i == last)
            break;
    }
    return (escape ? TEXT_ESCAPE : 0) | (high ? TEXT_NON_ASCII : 0);
}
#else
static inline bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

unsigned text_classify(const char *in, size_t len)
{
    unsigned r = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)in[i];
        r |= needs_escape(c) ? TEXT_ESCAPE : 0;
        r |= c >= 0x80 ? TEXT_NON_ASCII : 0;
    }
    return r;
}

unsigned text_take(char *out, const char *in, size_t len)
{
    if (len > 0)
        memcpy(out, in, len);
    return text_classify(out, len);
}
#endif

/* Length of the well-formed sequence that starts here, 0 = none. Table 3-7 of the Unicode standard. */
static size_t sequence_len(const unsigned char *s, size_t left)
{
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    if (left < 2)
        return 0;
    if (c < 0xe0)
        return (s[1] & 0xc0) == 0x80 ? 2 : 0;
    unsigned char lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < lo || s[1] > hi || left < 3 || (s[2] & 0xc0) != 0x80)
        return 0;
    if (c < 0xf0)
        return 3;
    return left >= 4 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
}

bool text_utf8_valid(const char *in, size_t len)
{
    const unsigned char *s = (const unsigned char *)in;
    size_t i = 0;
    while (i < len) {
        if (len - i >= 8 && (base_le64(s + i) & UINT64_C(0x8080808080808080)) == 0) {
            i += 8;
            continue;
        }
        size_t n = sequence_len(s + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

char *text_put_escape(char *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char short_form[0x20] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    *out++ = '\\';
    if (c >= 0x20) {
        *out++ = (char)c;
    } else if (short_form[c]) {
        *out++ = short_form[c];
    } else {
        memcpy(out, "u00", 3);
        out[3] = hex[c >> 4];
        out[4] = hex[c & 15];
        out += 5;
    }
    return out;
}

char *text_escape(char *out, const char *in, size_t len)
{
    const char *end = in + len;
    while (in < end) {
#if defined(__SSE2__)
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)in);
        unsigned most = end - in < 16 ? (unsigned)(end - in) : 16;
        unsigned stop = 1u << most; /* what lies behind the text says nothing */
        unsigned clean = (unsigned)__builtin_ctz((escape_mask(x) & (stop - 1)) | stop);
        if (clean > 0) {
            _mm_storeu_si128((__m128i *)(void *)out, x);
            out += clean;
            in += clean;
            continue;
        }
#else
        if (!needs_escape((unsigned char)*in)) {
            *out++ = *in++;
            continue;
        }
#endif
        out = text_put_escape(out, (unsigned char)*in++);
    }
    return out;
}

char *text_put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* UTF-8 bytes sort as code points do. UTF-16 differs in one thing only: what lies above U+FFFF (lead bytes F0..F4) is
 * written with surrogates D800..DFFF and therefore sorts before U+E000..U+FFFF (lead bytes EE, EF). */
int text_compare_utf16(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len;
    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)a[i], y = (unsigned char)b[i];
        if (x == y)
            continue;
        if (x >= 0xee && y >= 0xee && (x < 0xf0) != (y < 0xf0))
            return x < 0xf0 ? 1 : -1;
        return x < y ? -1 : 1;
    }
    return a_len == b_len ? 0 : a_len < b_len ? -1 : 1;
}

int text_hex4(const char *in)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)in[i];
        int d;
        if (c >= '0' && c <= '9')
            d = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            d = (c | 0x20) - 'a' + 10;
        else
            return -1;
        v = v * 16 + d;
    }
    return v;
}
