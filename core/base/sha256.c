/* sha256.c - SHA-256 (FIPS 180-4), see hash.h. SPDX-License-Identifier: Apache-2.0
 *
 * Where the processor has SHA instructions, they are used here: an event is a short message in three pieces, of which
 * OpenSSL's functions around the instructions take a fifth of the time; and the instructions wait for each other within
 * one message, so that two side by side take little longer than one. Elsewhere OpenSSL does the work.
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

#define BLOCK 64u

/* ---- by the processor's instructions ---- */

struct own {
    uint32_t h[8];
    uint32_t held_len;
    uint64_t len; /* of the message so far */
    uint8_t held[BLOCK];
};

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

TARGET_SHA static inline void lane_load(struct lane *l, const uint32_t h[8])
{
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)h), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + 4)), 0x1b);
    l->abef = _mm_alignr_epi8(low, high, 8);
    l->cdgh = _mm_blend_epi16(high, low, 0xf0);
}

TARGET_SHA static inline void lane_store(const struct lane *l, uint32_t h[8])
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

TARGET_SHA static void blocks_of_two(uint32_t a[8], const uint8_t *p, uint32_t b[8], const uint8_t *q, size_t blocks)
{
    struct lane x, y;
    lane_load(&x, a);
    lane_load(&y, b);
    for (; blocks > 0; blocks--, p += BLOCK, q += BLOCK) {
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
    lane_store(&x, a);
    lane_store(&y, b);
}

TARGET_SHA static void blocks_of_one(uint32_t a[8], const uint8_t *p, size_t blocks)
{
    struct lane x;
    lane_load(&x, a);
    for (; blocks > 0; blocks--, p += BLOCK) {
        const struct lane x0 = x;
        lane_read(&x, p);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            lane_rounds(&x, i);
        x.abef = _mm_add_epi32(x.abef, x0.abef);
        x.cdgh = _mm_add_epi32(x.cdgh, x0.cdgh);
    }
    lane_store(&x, a);
}

static bool has_instructions;

static void __attribute__((constructor)) look_for_instructions(void)
{
    unsigned a, b, c, d;
    has_instructions = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) && __builtin_cpu_supports("sse4.1");
}

static void own_begin(struct own *o)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(o->h, initial, sizeof o->h);
    o->held_len = 0;
    o->len = 0;
}

static void own_update(struct own *o, const uint8_t *p, size_t len)
{
    o->len += len;
    if (o->held_len > 0) {
        size_t room = BLOCK - o->held_len, n = len < room ? len : room;
        memcpy(o->held + o->held_len, p, n);
        o->held_len += (uint32_t)n;
        if (o->held_len < BLOCK)
            return;
        blocks_of_one(o->h, o->held, 1);
        p += n;
        len -= n;
    }
    blocks_of_one(o->h, p, len / BLOCK);
    o->held_len = (uint32_t)(len % BLOCK);
    if (o->held_len > 0)
        memcpy(o->held, p + len - o->held_len, o->held_len);
}

/* As far as both go in whole blocks; *p_len and *q_len are what was taken. */
static void own_update_two(struct own *a, const uint8_t *p, size_t *p_len, struct own *b, const uint8_t *q,
                           size_t *q_len)
{
    size_t first_p = BLOCK - a->held_len, first_q = BLOCK - b->held_len;
    if (*p_len < first_p || *q_len < first_q) {
        *p_len = *q_len = 0;
        return;
    }
    size_t left_p = (*p_len - first_p) / BLOCK, left_q = (*q_len - first_q) / BLOCK;
    size_t blocks = left_p < left_q ? left_p : left_q;
    memcpy(a->held + a->held_len, p, first_p);
    memcpy(b->held + b->held_len, q, first_q);
    blocks_of_two(a->h, a->held, b->h, b->held, 1);
    blocks_of_two(a->h, p + first_p, b->h, q + first_q, blocks);
    a->held_len = b->held_len = 0;
    a->len += *p_len = first_p + blocks * BLOCK;
    b->len += *q_len = first_q + blocks * BLOCK;
}

/* The padding: a one, zeros, and the length in bits. */
static void own_finish(struct own *o, uint8_t out[HASH_SHA256_LEN])
{
    uint64_t bits = o->len * 8;
    o->held[o->held_len++] = 0x80;
    if (o->held_len > BLOCK - sizeof bits) {
        memset(o->held + o->held_len, 0, BLOCK - o->held_len);
        blocks_of_one(o->h, o->held, 1);
        o->held_len = 0;
    }
    memset(o->held + o->held_len, 0, BLOCK - sizeof bits - o->held_len);
    for (size_t i = 0; i < sizeof bits; i++)
        o->held[BLOCK - 1 - i] = (uint8_t)(bits >> (8 * i));
    blocks_of_one(o->h, o->held, 1);
    for (size_t i = 0; i < HASH_SHA256_LEN; i++)
        out[i] = (uint8_t)(o->h[i / 4] >> (24 - 8 * (i % 4)));
}

#else

static const bool has_instructions = false;

static void own_begin(struct own *o)
{
    (void)o;
}

static void own_update(struct own *o, const uint8_t *p, size_t len)
{
    (void)o, (void)p, (void)len;
}

static void own_update_two(struct own *a, const uint8_t *p, size_t *p_len, struct own *b, const uint8_t *q,
                           size_t *q_len)
{
    (void)a, (void)p, (void)b, (void)q;
    *p_len = *q_len = 0;
}

static void own_finish(struct own *o, uint8_t out[HASH_SHA256_LEN])
{
    (void)o, (void)out;
}

#endif

/* ---- by OpenSSL ---- */

/* OpenSSL 3.0 allocates and frees the state of an EVP context with every use, also of one that is kept. Logging an
 * event must not allocate, so the functions below EVP are used while OpenSSL has them; they run the same code. */
#ifndef OPENSSL_NO_DEPRECATED_3_0

struct library {
    SHA256_CTX ctx;
};

static int library_create(struct library *l)
{
    return SHA256_Init(&l->ctx) == 1 ? 0 : -EIO;
}

static void library_destroy(struct library *l)
{
    (void)l;
}

static bool library_begin(struct library *l)
{
    return SHA256_Init(&l->ctx) == 1;
}

static bool library_update(struct library *l, const void *buf, size_t len)
{
    return SHA256_Update(&l->ctx, buf, len) == 1;
}

static bool library_finish(struct library *l, uint8_t out[HASH_SHA256_LEN])
{
    return SHA256_Final(out, &l->ctx) == 1;
}

#else

struct library {
    EVP_MD *md; /* fetched once: an implicit fetch per use costs as much as the hash */
    EVP_MD_CTX *ctx;
};

static void library_destroy(struct library *l)
{
    EVP_MD_CTX_free(l->ctx);
    EVP_MD_free(l->md);
}

static int library_create(struct library *l)
{
    l->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    l->ctx = EVP_MD_CTX_new();
    if (l->md && l->ctx && EVP_DigestInit_ex2(l->ctx, l->md, NULL) == 1)
        return 0;
    int rc = l->ctx ? -EIO : -ENOMEM;
    library_destroy(l);
    return rc;
}

static bool library_begin(struct library *l)
{
    return EVP_DigestInit_ex2(l->ctx, NULL, NULL) == 1;
}

static bool library_update(struct library *l, const void *buf, size_t len)
{
    return EVP_DigestUpdate(l->ctx, buf, len) == 1;
}

static bool library_finish(struct library *l, uint8_t out[HASH_SHA256_LEN])
{
    unsigned n = 0;
    return EVP_DigestFinal_ex(l->ctx, out, &n) == 1 && n == HASH_SHA256_LEN;
}

#endif

/* ---- the one or the other ---- */

struct hash_sha256 {
    bool is_own;
    struct own own;
    struct library library; /* !is_own */
};

static bool library_wanted;

void hash_sha256_use_library(bool wanted)
{
    library_wanted = wanted;
}

int hash_sha256_create(struct hash_sha256 **ret)
{
    struct hash_sha256 *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->is_own = has_instructions && !library_wanted;
    int rc = h->is_own ? 0 : library_create(&h->library);
    if (rc < 0) {
        free(h);
        return rc;
    }
    if (h->is_own)
        own_begin(&h->own);
    *ret = h;
    return 0;
}

void hash_sha256_destroy(struct hash_sha256 *h)
{
    if (h && !h->is_own)
        library_destroy(&h->library);
    free(h);
}

bool hash_sha256_begin(struct hash_sha256 *h)
{
    if (AW_UNLIKELY(!h->is_own))
        return library_begin(&h->library);
    own_begin(&h->own);
    return true;
}

bool hash_sha256_update(struct hash_sha256 *h, const void *buf, size_t len)
{
    if (AW_UNLIKELY(!h->is_own))
        return library_update(&h->library, buf, len);
    own_update(&h->own, buf, len);
    return true;
}

bool hash_sha256_update_two(struct hash_sha256 *a, const void *p, size_t p_len, struct hash_sha256 *b, const void *q,
                            size_t q_len)
{
    size_t p_done = 0, q_done = 0;
    if (AW_LIKELY(a->is_own && b->is_own)) {
        p_done = p_len;
        q_done = q_len;
        own_update_two(&a->own, p, &p_done, &b->own, q, &q_done);
    }
    return hash_sha256_update(a, (const uint8_t *)p + p_done, p_len - p_done) &&
           hash_sha256_update(b, (const uint8_t *)q + q_done, q_len - q_done);
}

bool hash_sha256_finish(struct hash_sha256 *h, uint8_t out[HASH_SHA256_LEN])
{
    if (AW_UNLIKELY(!h->is_own))
        return library_finish(&h->library, out);
    own_finish(&h->own, out);
    return true;
}

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
