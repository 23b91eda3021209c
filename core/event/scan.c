/* scan.c - the quick look: might there be a secret in this text? SPDX-License-Identifier: Apache-2.0
 *
 * Nearly all texts hold no secret, so what counts is to find that out fast. Every secret that scan_text() knows begins
 * with one of a few pairs of bytes, or is a long run of digits. Both are found with the same table look-ups: seven
 * buckets of pairs, each told by the halves of the two bytes, and an eighth for "digit, space or dash, twice". With
 * AVX2 32 positions are looked up at a time (the idea of Hyperscan's Teddy). A hit is checked against the exact
 * beginnings before it counts.
 */
#include "config.h"

#include "event/redact.h"
#include "event/text.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_AVX2_PATH 1
#include <immintrin.h>
#endif

/* Buckets: 0 "ey"; 1 "--"; 2 "AK" "AS" "AI"; 3 "gh" "gl" "gi"; 4 "xo"; 5 "k_" "k-" "m_" "f_"; 6 "Be" "Ba" in any case;
 * 7 digit or separator. A byte is in a bucket when both its halves are. */
#define TWICE(...) __VA_ARGS__, __VA_ARGS__ /* for both halves of 32 bytes */
static const uint8_t first_low[32] = {
    TWICE(0x80, 0x84, 0xc0, 0x80, 0x80, 0x81, 0xa0, 0x88, 0x90, 0x80, 0x00, 0x20, 0x00, 0xa2, 0x00, 0x00)};
static const uint8_t first_high[32] = {
    TWICE(0x00, 0x00, 0x82, 0x80, 0x44, 0x00, 0x69, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00)};
static const uint8_t second_low[32] = {
    TWICE(0x80, 0xc0, 0x80, 0x84, 0x80, 0xc0, 0x80, 0x80, 0x88, 0x8d, 0x00, 0x04, 0x08, 0xa2, 0x00, 0x30)};
static const uint8_t second_high[32] = {
    TWICE(0x00, 0x00, 0xa2, 0x80, 0x44, 0x24, 0x58, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00)};

struct block { /* one bit per position of 64 */
    uint64_t tokens, digits;
};

static struct block look_plain(const char *text, size_t len)
{
    struct block r = {0, 0};
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len && i < 64; i++) {
        unsigned c = first_low[s[i] & 15] & first_high[s[i] >> 4];
        if (c == 0)
            continue;
        c &= second_low[s[i + 1] & 15] & second_high[s[i + 1] >> 4];
        r.tokens |= (uint64_t)((c & 0x7f) != 0) << i;
        r.digits |= (uint64_t)(c >> 7) << i;
    }
    return r;
}

#if defined(HAVE_AVX2_PATH)
__attribute__((target("avx2"))) static inline void look_half(const char *text, uint32_t *ret_tokens,
                                                             uint32_t *ret_digits)
{
#define TABLE(t) _mm256_loadu_si256((const __m256i *)(const void *)(t))
    const __m256i half = _mm256_set1_epi8(15);
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)text);
    __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(text + 1));
    __m256i a = _mm256_shuffle_epi8(TABLE(first_low), _mm256_and_si256(x, half));
    __m256i b = _mm256_shuffle_epi8(TABLE(first_high), _mm256_and_si256(_mm256_srli_epi16(x, 4), half));
    __m256i c = _mm256_shuffle_epi8(TABLE(second_low), _mm256_and_si256(y, half));
    __m256i d = _mm256_shuffle_epi8(TABLE(second_high), _mm256_and_si256(_mm256_srli_epi16(y, 4), half));
    __m256i hit = _mm256_and_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, d));
    __m256i token = _mm256_cmpeq_epi8(_mm256_and_si256(hit, _mm256_set1_epi8(0x7f)), _mm256_setzero_si256());
    *ret_digits = (uint32_t)_mm256_movemask_epi8(hit);
    *ret_tokens = ~(uint32_t)_mm256_movemask_epi8(token);
#undef TABLE
}

__attribute__((target("avx2"))) static inline struct block look_avx2(const char *text, size_t len)
{
    uint32_t t0, t1 = 0, d0, d1 = 0;
    look_half(text, &t0, &d0);
    if (len > 32)
        look_half(text + 32, &t1, &d1);
    return (struct block){t0 | (uint64_t)t1 << 32, d0 | (uint64_t)d1 << 32};
}
#endif

static inline bool starts(const char *s, size_t left, const char *word, size_t len)
{
    return left > len && memcmp(s, word, len) == 0;
}
#define STARTS(s, left, word) starts(s, left, word, sizeof(word) - 1)

static bool starts_any_case(const char *s, size_t left, const char *word, size_t len)
{
    if (left <= len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((s[i] | 0x20) != word[i])
            return false;
    }
    return true;
}

/* Does a known secret begin at the pair at offset i, or up to two bytes before it? */
static bool begins_secret(const char *text, size_t i, size_t len)
{
    const char *s = text + i;
    size_t left = len - i;
    switch (*s) {
    case 'e':
        return STARTS(s, left, "eyJ");
    case '-':
        return STARTS(s, left, "-----BEGIN ");
    case 'A':
        return STARTS(s, left, "AKIA") || STARTS(s, left, "ASIA") || STARTS(s, left, "AIza");
    case 'g':
        return (left > 4 && s[1] == 'h' && s[3] == '_') || STARTS(s, left, "glpat-") || STARTS(s, left, "github_pat_");
    case 'x':
        return STARTS(s, left, "xox");
    case 'k':
        return i >= 1 && (s[-1] == 's' || s[-1] == 'r');
    case 'm':
        return i >= 2 && s[-1] == 'p' && s[-2] == 'n';
    case 'f':
        return i >= 1 && s[-1] == 'h';
    default:
        return starts_any_case(s, left, "bearer ", 7) || starts_any_case(s, left, "basic ", 6);
    }
}

/* Ends of runs of at least 13 digits and separators, that is of 12 pairs, across the border to the block before. */
static uint64_t run_ends(uint64_t before, uint64_t pairs)
{
    __extension__ typedef unsigned __int128 u128;
    u128 one = (u128)pairs << 64 | before;
    u128 two = one & one << 1, four = two & two << 2, eight = four & four << 4, twelve = eight & eight << 4;
    return (uint64_t)((twelve & ~(twelve << 1)) >> 64);
}

/* Such a run fills at least one aligned group of four bits of this block, or the last one of the block before and goes
 * on here. */
static inline bool may_have_run(uint64_t before, uint64_t pairs)
{
    uint64_t two = pairs & pairs >> 1;
    uint64_t full = two & two >> 2 & UINT64_C(0x1111111111111111);
    return full != 0 || ((before >> 60 == 0xf) & pairs);
}

struct finder {
    const char *text;
    size_t len, max, count;
    uint32_t *marks;
    uint64_t before; /* digit pairs of the block before */
};

/* False: there is no room for another mark. */
static inline bool take_block(struct finder *f, size_t at, struct block b)
{
    if (AW_UNLIKELY(f->len - at <= 64)) { /* the last byte begins no pair */
        uint64_t live = (UINT64_C(1) << (f->len - at - 1)) - 1;
        b.tokens &= live;
        b.digits &= live;
    }
    uint64_t runs = AW_UNLIKELY(may_have_run(f->before, b.digits)) ? run_ends(f->before, b.digits) : 0;
    uint64_t hits = b.tokens | runs;
    f->before = b.digits;
    while (AW_UNLIKELY(hits != 0)) {
        unsigned bit = (unsigned)__builtin_ctzll(hits);
        size_t i = at + bit;
        hits &= hits - 1;
        if (!(runs >> bit & 1) && !begins_secret(f->text, i, f->len))
            continue;
        if (f->count + 1 >= f->max)
            return false;
        f->marks[f->count++] = (uint32_t)i;
    }
    return true;
}

#if defined(HAVE_AVX2_PATH)
__attribute__((target("avx2"))) static bool find_avx2(struct finder *f)
{
    for (size_t at = 0; at < f->len; at += 64) {
        if (!take_block(f, at, look_avx2(f->text + at, f->len - at)))
            return false;
    }
    return true;
}

/* The same for a single block, of which mostly nothing is left. 1 < len <= 64. */
__attribute__((target("avx2"))) static bool suspicious_avx2(const char *text, size_t len)
{
    struct block b = look_avx2(text, len);
    uint64_t live = (UINT64_C(1) << (len - 1)) - 1;
    if (AW_LIKELY((b.tokens & live) == 0 && !may_have_run(0, b.digits & live)))
        return false;
    uint32_t mark[2];
    struct finder f = {.text = text, .len = len, .max = 2, .marks = mark};
    return !take_block(&f, 0, b) || f.count > 0;
}
#endif

static bool find_plain(struct finder *f)
{
    for (size_t at = 0; at < f->len; at += 64) {
        if (!take_block(f, at, look_plain(f->text + at, f->len - at)))
            return false;
    }
    return true;
}

static inline bool find(struct finder *f)
{
#if defined(HAVE_AVX2_PATH)
    if (AW_LIKELY(__builtin_cpu_supports("avx2")))
        return find_avx2(f);
#endif
    return find_plain(f);
}

bool scan_marks(const char *text, size_t len, uint32_t *marks, size_t max)
{
    struct finder f = {.text = text, .len = len, .max = max, .marks = marks};
    bool all = find(&f);
    marks[f.count] = UINT32_MAX;
    return all;
}

bool scan_suspicious_slow(const char *text, size_t len)
{
#if defined(HAVE_AVX2_PATH)
    if (AW_LIKELY(len <= 64 && __builtin_cpu_supports("avx2")))
        return suspicious_avx2(text, len);
#endif
    uint32_t mark[2];
    struct finder f = {.text = text, .len = len, .max = 2, .marks = mark};
    return !find(&f) || f.count > 0;
}
