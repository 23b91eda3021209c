/* hash.c - see hash.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/hash.h"

#include "base/base.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

/* ---- CRC-32C ----------------------------------------------------------------------------------------------------- */

/* Slicing-by-8 tables, 8 KiB, filled at load. */
static uint32_t crc_table[8][256];

static void __attribute__((constructor)) build_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (size_t t = 1; t < 8; t++)
            crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 0xffu];
}

static uint32_t crc_portable(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v = base_le64(p) ^ crc;
        crc = crc_table[7][v & 0xffu] ^ crc_table[6][v >> 8 & 0xffu] ^ crc_table[5][v >> 16 & 0xffu] ^
              crc_table[4][v >> 24 & 0xffu] ^ crc_table[3][v >> 32 & 0xffu] ^ crc_table[2][v >> 40 & 0xffu] ^
              crc_table[1][v >> 48 & 0xffu] ^ crc_table[0][v >> 56];
    }
    for (; n > 0; p++, n--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 0xffu];
    return crc;
}

#if defined(__x86_64__)
/* The crc32 instruction has a latency of three cycles and a throughput of one: three lanes side by side keep it busy. A
 * lane's value is moved over the k words of the lanes behind it as a product: by x^(64 k - 33), since the bits of a
 * carry-less product stand one too low, and crc32 of a word multiplies by x^32. */
#define CRC_WORDS_MAX 128u /* of a lane */
static uint32_t crc_power[2 * CRC_WORDS_MAX + 1];

static void __attribute__((constructor)) build_crc_powers(void)
{
    build_crc_table(); /* constructors of one file have no promised order */
    uint32_t c = 1;    /* x^31 */
    for (size_t k = 1; k < AW_ARRAY_LEN(crc_power); k++) {
        crc_power[k] = c;
        for (size_t i = 0; i < 8; i++)
            c = c >> 8 ^ crc_table[0][c & 0xffu];
    }
}

#define TARGET_CRC __attribute__((target("sse4.2,pclmul")))

TARGET_CRC static inline uint64_t crc_product(uint64_t c, uint32_t power)
{
    __m128i r = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)c), _mm_cvtsi32_si128((int)power), 0);
    return (uint64_t)_mm_cvtsi128_si64(r);
}

/* Three lanes of k words. */
TARGET_CRC static inline uint64_t crc_three_lanes(uint64_t c, const uint8_t *p, size_t k)
{
    const uint8_t *q = p + 8 * k, *r = p + 16 * k;
    uint64_t c1 = 0, c2 = 0;
    for (size_t i = 0; i < 8 * k; i += 8) {
        c = _mm_crc32_u64(c, base_le64(p + i));
        c1 = _mm_crc32_u64(c1, base_le64(q + i));
        c2 = _mm_crc32_u64(c2, base_le64(r + i));
    }
    return _mm_crc32_u64(0, crc_product(c, crc_power[2 * k]) ^ crc_product(c1, crc_power[k])) ^ c2;
}

TARGET_CRC static uint32_t crc_instruction(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t c = crc;
    while (n >= 48) {
        size_t k = n / 24 < CRC_WORDS_MAX ? n / 24 : CRC_WORDS_MAX;
        c = crc_three_lanes(c, p, k);
        p += 24 * k;
        n -= 24 * k;
    }
    for (; n >= 8; p += 8, n -= 8)
        c = _mm_crc32_u64(c, base_le64(p));
    crc = (uint32_t)c;
    if (n & 4) {
        crc = _mm_crc32_u32(crc, base_le32(p));
        p += 4;
    }
    for (n &= 3; n > 0; p++, n--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *buf, size_t len)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
        return ~crc_instruction(crc, buf, len);
#endif
    return ~crc_portable(crc, buf, len);
}

/* ---- SipHash-2-4-128 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; 128-bit variant) -------------
 */

struct sip_state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned b)
{
    return x << b | x >> (64 - b);
}

static inline void sip_round(struct sip_state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

struct hash128 hash_sip128(const uint8_t key[16], const void *buf, size_t len)
{
    uint64_t k0 = base_le64(key), k1 = base_le64(key + 8);
    struct sip_state s = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du ^ 0xee, k0 ^ 0x6c7967656e657261u,
                          k1 ^ 0x7465646279746573u};
    const uint8_t *p = buf;
    size_t n = len;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t m = base_le64(p);
        s.v3 ^= m;
        sip_round(&s);
        sip_round(&s);
        s.v0 ^= m;
    }
    uint64_t last = (uint64_t)len << 56;
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)p[i] << (8 * i);
    s.v3 ^= last;
    sip_round(&s);
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xee;
    for (int i = 0; i < 4; i++)
        sip_round(&s);
    struct hash128 r;
    r.lo = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    for (int i = 0; i < 4; i++)
        sip_round(&s);
    r.hi = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return r;
}

/* ---- hex ----------------------------------------------------------------------------------------------------------
 */

void hash_hex(const uint8_t *in, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t i = 0;
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi8(15), nine = _mm_set1_epi8(9);
    for (; len - i >= 16; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        __m128i a = _mm_and_si128(_mm_srli_epi16(x, 4), low), b = _mm_and_si128(x, low);
        __m128i half[2] = {_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)};
        for (int k = 0; k < 2; k++) {
            __m128i letter = _mm_and_si128(_mm_cmpgt_epi8(half[k], nine), _mm_set1_epi8('a' - '0' - 10));
            __m128i c = _mm_add_epi8(_mm_add_epi8(half[k], _mm_set1_epi8('0')), letter);
            _mm_storeu_si128((__m128i *)(void *)(out + 2 * i + 16 * k), c);
        }
    }
#endif
    for (; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hash_unhex(const char *in, size_t hex_len, uint8_t *out)
{
    if (hex_len % 2 != 0)
        return false;
    for (size_t i = 0; i < hex_len; i += 2) {
        int hi = hex_value(in[i]), lo = hex_value(in[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}
