/* sha256.c - SHA-256 (FIPS 180-4), see hash.h. SPDX-License-Identifier: Apache-2.0
 *
 * OpenSSL does the work, except where two messages are at hand: the processor's SHA instructions wait for each other
 * within one message, and two side by side take little longer than one.
 */
#include "config.h"

#include "base/hash.h"

#include "base/base.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* see below */
#include <openssl/evp.h>
#include <openssl/sha.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* OpenSSL 3.0 allocates and frees the state of an EVP context with every use, also of one that is kept. Logging an
 * event must not allocate, so the functions below EVP are used while OpenSSL has them; they run the same code. */
#ifndef OPENSSL_NO_DEPRECATED_3_0

struct hash_sha256 {
    SHA256_CTX ctx;
};

int hash_sha256_create(struct hash_sha256 **ret)
{
    struct hash_sha256 *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    if (SHA256_Init(&h->ctx) != 1) {
        free(h);
        return -EIO;
    }
    *ret = h;
    return 0;
}

void hash_sha256_destroy(struct hash_sha256 *h)
{
    free(h);
}

bool hash_sha256_begin(struct hash_sha256 *h)
{
    return SHA256_Init(&h->ctx) == 1;
}

bool hash_sha256_update(struct hash_sha256 *h, const void *buf, size_t len)
{
    return SHA256_Update(&h->ctx, buf, len) == 1;
}

bool hash_sha256_finish(struct hash_sha256 *h, uint8_t out[HASH_SHA256_LEN])
{
    return SHA256_Final(out, &h->ctx) == 1;
}

#if defined(__x86_64__)

#define TARGET_SHA __attribute__((target("sha,sse4.1")))

static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* The state as the instructions want it: words a, b, e, f and c, d, g, h; and the last 16 words of the schedule. */
struct lane {
    __m128i abef, cdgh, words[4];
};

TARGET_SHA static inline void lane_load(struct lane *l, const SHA_LONG h[8])
{
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)h), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + 4)), 0x1b);
    l->abef = _mm_alignr_epi8(low, high, 8);
    l->cdgh = _mm_blend_epi16(high, low, 0xf0);
}

TARGET_SHA static inline void lane_store(const struct lane *l, SHA_LONG h[8])
{
    __m128i low = _mm_shuffle_epi32(l->abef, 0x1b), high = _mm_shuffle_epi32(l->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)h, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(h + 4), _mm_alignr_epi8(high, low, 8));
}

TARGET_SHA static inline void lane_read(struct lane *l, const uint8_t *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    for (int i = 0; i < 4; i++)
        l->words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)), big_endian);
}

/* The i-th four of the 64 rounds. */
TARGET_SHA static inline void lane_rounds(struct lane *l, int i)
{
    if (i >= 4) {
        __m128i w = _mm_sha256msg1_epu32(l->words[i & 3], l->words[(i + 1) & 3]);
        w = _mm_add_epi32(w, _mm_alignr_epi8(l->words[(i + 3) & 3], l->words[(i + 2) & 3], 4));
        l->words[i & 3] = _mm_sha256msg2_epu32(w, l->words[(i + 3) & 3]);
    }
    const __m128i *k = (const __m128i *)(const void *)(constants + 4 * i);
    __m128i w = _mm_add_epi32(l->words[i & 3], _mm_load_si128(k));
    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, w);
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(w, 0x0e));
}

TARGET_SHA static void blocks_of_two(SHA256_CTX *a, const uint8_t *p, SHA256_CTX *b, const uint8_t *q, size_t blocks)
{
    struct lane x, y;
    lane_load(&x, a->h);
    lane_load(&y, b->h);
    for (; blocks > 0; blocks--, p += SHA256_CBLOCK, q += SHA256_CBLOCK) {
        const struct lane x0 = x, y0 = y;
        lane_read(&x, p);
        lane_read(&y, q);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            lane_rounds(&x, i);
            lane_rounds(&y, i);
        }
        x.abef = _mm_add_epi32(x.abef, x0.abef);
        x.cdgh = _mm_add_epi32(x.cdgh, x0.cdgh);
        y.abef = _mm_add_epi32(y.abef, y0.abef);
        y.cdgh = _mm_add_epi32(y.cdgh, y0.cdgh);
    }
    lane_store(&x, a->h);
    lane_store(&y, b->h);
}

static bool has_instructions;

static void __attribute__((constructor)) look_for_instructions(void)
{
    unsigned a, b, c, d;
    has_instructions = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) && __builtin_cpu_supports("sse4.1");
}

static void count_bytes(SHA256_CTX *ctx, size_t bytes)
{
    uint64_t bits = ((uint64_t)ctx->Nh << 32 | ctx->Nl) + (uint64_t)bytes * 8;
    ctx->Nh = (SHA_LONG)(bits >> 32);
    ctx->Nl = (SHA_LONG)bits;
}

/* What both contexts have in hand and what comes, in blocks of both; what is left of *p and *q is for the caller. */
static void whole_blocks(SHA256_CTX *a, const uint8_t **p, size_t *p_len, SHA256_CTX *b, const uint8_t **q,
                         size_t *q_len)
{
    size_t first_p = SHA256_CBLOCK - a->num, first_q = SHA256_CBLOCK - b->num;
    if (*p_len < first_p || *q_len < first_q)
        return;
    memcpy((uint8_t *)a->data + a->num, *p, first_p);
    memcpy((uint8_t *)b->data + b->num, *q, first_q);
    blocks_of_two(a, (const uint8_t *)a->data, b, (const uint8_t *)b->data, 1);
    a->num = b->num = 0;
    size_t left_p = (*p_len - first_p) / SHA256_CBLOCK, left_q = (*q_len - first_q) / SHA256_CBLOCK;
    size_t blocks = left_p < left_q ? left_p : left_q;
    blocks_of_two(a, *p + first_p, b, *q + first_q, blocks);
    count_bytes(a, first_p + blocks * SHA256_CBLOCK);
    count_bytes(b, first_q + blocks * SHA256_CBLOCK);
    *p += first_p + blocks * SHA256_CBLOCK;
    *p_len -= first_p + blocks * SHA256_CBLOCK;
    *q += first_q + blocks * SHA256_CBLOCK;
    *q_len -= first_q + blocks * SHA256_CBLOCK;
}

#endif

bool hash_sha256_update_two(struct hash_sha256 *a, const void *p, size_t p_len, struct hash_sha256 *b, const void *q,
                            size_t q_len)
{
    const uint8_t *from_p = p, *from_q = q;
#if defined(__x86_64__)
    if (has_instructions)
        whole_blocks(&a->ctx, &from_p, &p_len, &b->ctx, &from_q, &q_len);
#endif
    return hash_sha256_update(a, from_p, p_len) && hash_sha256_update(b, from_q, q_len);
}

#else

struct hash_sha256 {
    EVP_MD *md; /* fetched once: an implicit fetch per use costs as much as the hash */
    EVP_MD_CTX *ctx;
};

int hash_sha256_create(struct hash_sha256 **ret)
{
    struct hash_sha256 *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    h->ctx = EVP_MD_CTX_new();
    if (!h->md || !h->ctx || EVP_DigestInit_ex2(h->ctx, h->md, NULL) != 1) {
        int rc = h->ctx ? -EIO : -ENOMEM;
        hash_sha256_destroy(h);
        return rc;
    }
    *ret = h;
    return 0;
}

void hash_sha256_destroy(struct hash_sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    EVP_MD_free(h->md);
    free(h);
}

bool hash_sha256_begin(struct hash_sha256 *h)
{
    return EVP_DigestInit_ex2(h->ctx, NULL, NULL) == 1;
}

bool hash_sha256_update(struct hash_sha256 *h, const void *buf, size_t len)
{
    return EVP_DigestUpdate(h->ctx, buf, len) == 1;
}

bool hash_sha256_finish(struct hash_sha256 *h, uint8_t out[HASH_SHA256_LEN])
{
    unsigned n = 0;
    return EVP_DigestFinal_ex(h->ctx, out, &n) == 1 && n == HASH_SHA256_LEN;
}

bool hash_sha256_update_two(struct hash_sha256 *a, const void *p, size_t p_len, struct hash_sha256 *b, const void *q,
                            size_t q_len)
{
    return hash_sha256_update(a, p, p_len) && hash_sha256_update(b, q, q_len);
}

#endif

int hash_sha256_file(int fd, uint8_t out[HASH_SHA256_LEN])
{
    struct hash_sha256 *h;
    int rc = hash_sha256_create(&h);
    if (rc < 0)
        return rc;
    enum { CHUNK = 65536 };
    AW_AUTOFREE char *buf = malloc(CHUNK);
    rc = buf ? 0 : -ENOMEM;
    uint64_t at = 0;
    while (rc == 0) {
        ssize_t n = pread(fd, buf, CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = -errno;
        if (n <= 0)
            break;
        at += (uint64_t)n;
        if (!hash_sha256_update(h, buf, (size_t)n))
            rc = -EIO;
    }
    if (rc == 0 && !hash_sha256_finish(h, out))
        rc = -EIO;
    hash_sha256_destroy(h);
    return rc;
}
