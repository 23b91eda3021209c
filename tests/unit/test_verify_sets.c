/* test_verify_sets.c - the verifier's sets against plain ones. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>

#include "harness.h"
#include "seal/verify_impl.h"

static const uint64_t key[4] = {0x1111, 0x2222, 0x3333, 0x4444};

static void hash_of(uint64_t n, uint8_t out[VERIFY_HASH])
{
    uint64_t state = n;
    for (int i = 0; i < 4; i++) {
        uint64_t r = harness_random(&state);
        memcpy(out + 8 * i, &r, 8);
    }
}

/* ---- hashes ---- */

static void test_seen(void)
{
    struct verify_seen seen = {0};
    uint8_t hash[VERIFY_HASH];
    enum { COUNT = 100000 };
    hash_of(0, hash);
    CU_ASSERT_PTR_NULL(verify_seen_find(&seen, verify_fingerprint(key, hash)));
    for (uint64_t i = 1; i <= COUNT; i++) {
        hash_of(i, hash);
        verify_seen_add(&seen, verify_fingerprint(key, hash), (uint32_t)(i % 7), i);
        if (i % 9999 == 0) /* asked in between: the index grows in steps */
            CU_ASSERT_PTR_NOT_NULL(verify_seen_find(&seen, verify_fingerprint(key, hash)));
    }
    size_t good = 0, absent = 0;
    for (uint64_t i = 1; i <= COUNT; i++) {
        hash_of(i, hash);
        const struct verify_seen_entry *e = verify_seen_find(&seen, verify_fingerprint(key, hash));
        good += e && e->ordinal == i && e->scope == i % 7;
        hash_of(i + 10 * COUNT, hash);
        absent += !verify_seen_find(&seen, verify_fingerprint(key, hash));
    }
    CU_ASSERT_EQUAL(good, COUNT);
    CU_ASSERT_EQUAL(absent, COUNT);
    verify_seen_clear(&seen);
    CU_ASSERT_PTR_NULL(seen.newer.entries);
}

/* Beyond its bound the set forgets the oldest, never the newest 3 million. */
static void test_seen_bounded(void)
{
    struct verify_seen seen = {0};
    enum { COUNT = 8000000, KEPT = 3000000 };
    for (uint64_t i = 1; i <= COUNT; i++)
        verify_seen_add(&seen, i * 0x9e3779b97f4a7c15u, 0, i);
    CU_ASSERT(seen.newer.capacity <= VERIFY_SEEN_MAX && seen.older.capacity <= VERIFY_SEEN_MAX);
    size_t good = 0, old = 0;
    for (uint64_t i = COUNT - KEPT + 1; i <= COUNT; i++) {
        const struct verify_seen_entry *e = verify_seen_find(&seen, i * 0x9e3779b97f4a7c15u);
        good += e && e->ordinal == i;
    }
    for (uint64_t i = 1; i <= 1000; i++)
        old += verify_seen_find(&seen, i * 0x9e3779b97f4a7c15u) != NULL;
    CU_ASSERT_EQUAL(good, KEPT);
    CU_ASSERT_EQUAL(old, 0);
    verify_seen_clear(&seen);
}

static void test_fingerprint(void)
{
    uint8_t a[VERIFY_HASH], b[VERIFY_HASH];
    hash_of(1, a);
    size_t differ = 0;
    for (size_t i = 0; i < VERIFY_HASH * 8; i++) {
        memcpy(b, a, sizeof b);
        b[i / 8] ^= (uint8_t)(1u << i % 8);
        differ += verify_fingerprint(key, a) != verify_fingerprint(key, b);
    }
    CU_ASSERT_EQUAL(differ, VERIFY_HASH * 8);
    const uint64_t other[4] = {1, 2, 3, 4};
    CU_ASSERT_NOT_EQUAL(verify_fingerprint(key, a), verify_fingerprint(other, a));
    memset(a, 0, sizeof a);
    const uint64_t zero[4] = {0, 0, 0, 0};
    CU_ASSERT_NOT_EQUAL(verify_fingerprint(zero, a), 0);
}

/* ---- seqs ---- */

struct gaps {
    size_t count;
    uint64_t missing;
    char text[400];
};

static bool note_gap(void *arg, uint64_t from, uint64_t to)
{
    struct gaps *g = arg;
    size_t n = strlen(g->text);
    g->count++;
    g->missing += to - from + 1;
    snprintf(g->text + n, sizeof g->text - n, "%llu-%llu ", (unsigned long long)from, (unsigned long long)to);
    return true;
}

static void test_seqs(void)
{
    struct verify_seqs s = {0};
    struct gaps g = {0};
    CU_ASSERT_EQUAL(verify_seqs_gaps(&s, note_gap, &g), 0);
    CU_ASSERT_EQUAL(g.count, 0);
    static const uint64_t some[] = {
        17, 18, 20, 5, 6, 7, 40000, 65535, 65536, 65537, 8, 1000000000000u, 9007199254740991u};
    for (size_t i = 0; i < AW_ARRAY_LEN(some); i++)
        CU_ASSERT(verify_seqs_add(&s, some[i]));
    for (size_t i = 0; i < AW_ARRAY_LEN(some); i++)
        CU_ASSERT_FALSE(verify_seqs_add(&s, some[i]));
    CU_ASSERT_EQUAL(verify_seqs_gaps(&s, note_gap, &g), 0);
    CU_ASSERT_STRING_EQUAL(g.text,
                           "9-16 19-19 21-39999 40001-65534 65538-999999999999 1000000000001-9007199254740990 ");
    CU_ASSERT_EQUAL(s.low, 5);
    CU_ASSERT_EQUAL(s.high, 9007199254740991u);
    verify_seqs_clear(&s);
}

/* In order, seqs take next to no memory, wherever they begin. */
static void test_seqs_dense(void)
{
    static const uint64_t begins[] = {1, 32767, 32768, 32769, 999999};
    for (size_t i = 0; i < AW_ARRAY_LEN(begins); i++) {
        struct verify_seqs s = {0};
        struct gaps g = {0};
        size_t fresh = 0;
        for (uint64_t n = 0; n < 300000; n++)
            fresh += verify_seqs_add(&s, begins[i] + n);
        CU_ASSERT_EQUAL(fresh, 300000);
        CU_ASSERT(s.partial <= 2);
        CU_ASSERT_EQUAL(verify_seqs_gaps(&s, note_gap, &g), 0);
        CU_ASSERT_EQUAL(g.count, 0);
        CU_ASSERT_FALSE(verify_seqs_add(&s, begins[i] + 100000)); /* in a full chunk */
        verify_seqs_clear(&s);
    }
}

static void test_seqs_random(void)
{
    enum { SPAN = 200000 };
    static bool plain[SPAN];
    uint64_t seed = harness_seed();
    struct verify_seqs s = {0};
    memset(plain, 0, sizeof plain);
    size_t wrong = 0;
    for (size_t i = 0; i < 400000; i++) {
        uint64_t n = harness_random(&seed) % SPAN;
        wrong += verify_seqs_add(&s, n + 1) == plain[n];
        plain[n] = true;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    uint64_t missing = 0;
    size_t ranges = 0, low = 0, high = SPAN - 1;
    while (!plain[low])
        low++;
    while (!plain[high])
        high--;
    for (size_t i = low; i < high; i++) {
        missing += !plain[i];
        ranges += plain[i] && !plain[i + 1];
    }
    struct gaps g = {0};
    CU_ASSERT_EQUAL(verify_seqs_gaps(&s, note_gap, &g), 0);
    CU_ASSERT_EQUAL(g.missing, missing);
    CU_ASSERT_EQUAL(g.count, ranges);
    verify_seqs_clear(&s);
}

/* Seqs strewn over the whole range cannot make the set grow without bound: it gives up naming gaps and goes on
 * counting. */
static void test_seqs_bounded(void)
{
    struct verify_seqs s = {0};
    for (uint64_t i = 1; i <= 20000; i++)
        (void)verify_seqs_add(&s, i * 1000000);
    CU_ASSERT(s.off);
    CU_ASSERT_PTR_NULL(s.chunks);
    CU_ASSERT_EQUAL(s.count, 20000);
    CU_ASSERT_EQUAL(s.low, 1000000);
    CU_ASSERT_EQUAL(s.high, 20000000000u);
    verify_seqs_clear(&s);
}

HARNESS_MAIN("verify_sets", {"seen hashes", test_seen}, {"seen hashes are bounded", test_seen_bounded},
             {"fingerprints", test_fingerprint}, {"gaps between seqs", test_seqs}, {"dense seqs", test_seqs_dense},
             {"random seqs", test_seqs_random}, {"scattered seqs", test_seqs_bounded})
