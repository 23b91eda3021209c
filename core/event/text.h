/* text.h - UTF-8, JSON escapes, and copies in big steps. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_TEXT_H
#define AW_TEXT_H

#include "base/base.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define TEXT_STEP 16u /* text_copy() reads and writes up to this much beyond the end, less one */

/* Copies len bytes and perhaps up to 15 more: both sides must have room for that. Returns out + len. */
static inline char *text_copy(char *out, const char *in, size_t len)
{
    char *end = out + len;
    do {
        memcpy(out, in, TEXT_STEP);
        out += TEXT_STEP;
        in += TEXT_STEP;
    } while (out < end);
    return end;
}

#define TEXT_ESCAPE 1u    /* holds a byte that JSON text must escape: '"', '\\', below 0x20 */
#define TEXT_NON_ASCII 2u /* holds a byte from 0x80 on */

/* TEXT_* of the bytes. 16 bytes beyond the end must be readable. */
unsigned text_classify(const char *in, size_t len);
/* Copies the bytes and returns what text_classify() says of them. in needs no more than len readable bytes; out needs
 * 16 more. */
unsigned text_take(char *out, const char *in, size_t len);
/* Is it well-formed UTF-8 (no surrogates, no overlong forms, up to U+10FFFF)? */
bool text_utf8_valid(const char *in, size_t len);
/* Writes the escapes of RFC 8785 for the bytes that need one, the rest as it is. out needs 6 * len bytes and 16 more;
 * in has 16 readable bytes behind it. Returns the end of what was written. */
char *text_escape(char *out, const char *in, size_t len);
/* The escape of one byte that needs one; at most 6 bytes. Returns the end. */
char *text_put_escape(char *out, unsigned char c);
/* Writes a code point as UTF-8; returns the end. */
char *text_put_utf8(char *out, uint32_t code);
/* Compares two UTF-8 texts by their UTF-16 code units, as RFC 8785 sorts names: < 0, 0, > 0. */
int text_compare_utf16(const char *a, size_t a_len, const char *b, size_t b_len);
/* Four hexadecimal digits, or -1. */
int text_hex4(const char *in);

/* The first 8 bytes of a name as a big-endian number, zero-filled: unsigned comparison orders like memcmp. 8 bytes from
 * `in` on must be readable. */
static inline uint64_t text_head(const char *in, size_t len)
{
    uint64_t v;
    memcpy(&v, in, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return len >= 8 ? v : len == 0 ? 0 : v & ~(UINT64_MAX >> (8 * len));
}

/* The same for a name that nothing readable may follow. */
static inline uint64_t text_head_exact(const char *in, size_t len)
{
    char few[8] = {0};
    if (len >= 8)
        return text_head(in, 8);
    if (len >= 4) {
        memcpy(few, in, 4);
        memcpy(few + len - 4, in + len - 4, 4);
    } else if (len > 0) {
        few[0] = in[0];
        few[len / 2] = in[len / 2];
        few[len - 1] = in[len - 1];
    }
    return text_head(few, 8);
}

#endif
