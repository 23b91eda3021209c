/* test_chain_table.c - chain heads of very many scopes. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "seal/seal.h"

#include <stdio.h>

static void scope_of(uint64_t n, uint64_t scope[2])
{
    uint64_t state = n * 2 + 1;
    scope[0] = harness_random(&state);
    scope[1] = harness_random(&state);
}

static size_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static bool put(struct chain_table *t, uint64_t n, uint64_t seq)
{
    uint64_t scope[2];
    scope_of(n, scope);
    struct chain_head *h = chain_table_get(t, scope);
    if (!h)
        return false;
    h->seq = seq;
    memset(h->hash, (int)(n & 0xff), sizeof h->hash);
    return true;
}

static void test_million(void)
{
    const uint64_t n = harness_slow() ? 100000 : 1000000;
    struct chain_table *t = NULL;
    size_t before = resident();
    CU_ASSERT_EQUAL_FATAL(chain_table_create(&t), 0);
    unsigned bad = 0;
    size_t peak = 0;
    for (uint64_t i = 0; i < n; i++) {
        bad += !put(t, i, i + 1);
        if (i % 10000 == 0 && resident() > peak)
            peak = resident();
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_EQUAL(chain_table_count(t), n);
    size_t grown = (resident() > peak ? resident() : peak) - before;
    CU_ASSERT(chain_table_bytes(t) <= 192u << 20);
    if (!harness_slow())
        CU_ASSERT(grown <= 192u << 20);
    uint64_t start = clock_mono_ns(), state = harness_seed();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t scope[2], which = harness_random(&state) % n;
        scope_of(which, scope);
        struct chain_head *h = chain_table_get(t, scope);
        bad += !h || h->seq != which + 1 || h->hash[31] != (which & 0xff);
    }
    CU_ASSERT_EQUAL(bad, 0);
    harness_note("%llu scopes: %zu bytes, resident grew by at most %zu; %.0f ns a random lookup with check",
                 (unsigned long long)n, chain_table_bytes(t), grown, (double)(clock_mono_ns() - start) / (double)n);
    chain_table_destroy(t);
}

/* A head that the caller did not fill in is not there. */
static void test_unused_slot(void)
{
    struct chain_table *t = NULL;
    CU_ASSERT_EQUAL_FATAL(chain_table_create(&t), 0);
    uint64_t a[2] = {1, 2}, b[2] = {1, 3};
    CU_ASSERT_EQUAL(chain_table_get(t, a)->seq, 0);
    CU_ASSERT_EQUAL(chain_table_count(t), 0);
    struct chain_head *h = chain_table_get(t, b);
    CU_ASSERT_EQUAL(h->seq, 0);
    h->seq = 5;
    CU_ASSERT_EQUAL(chain_table_count(t), 1);
    CU_ASSERT_EQUAL(chain_table_get(t, a)->seq, 0);
    CU_ASSERT_EQUAL(chain_table_get(t, b)->seq, 5);
    CU_ASSERT_EQUAL(chain_table_count(t), 1);
    chain_table_destroy(t);
}

/* A copy that is interleaved with growth gives every head that was there at its start, if it did not move on. */
static void test_copy_while_growing(void)
{
    enum { START = 20000, END = 60000, CHUNK = 37 };
    struct chain_table *t = NULL;
    struct chain_head out[CHUNK];
    static uint8_t seen[START + 1];
    memset(seen, 0, sizeof seen);
    CU_ASSERT_EQUAL_FATAL(chain_table_create(&t), 0);
    for (uint64_t i = 1; i <= START; i++)
        put(t, i, i);
    uint64_t cursor = 0, next = START + 1, later = 0;
    size_t n;
    bool more = true;
    while (more) {
        more = chain_table_copy(t, &cursor, START + 1, out, CHUNK, &n);
        for (size_t i = 0; i < n; i++) {
            if (out[i].seq > START)
                later++;
            else
                seen[out[i].seq] = 1;
        }
        for (int k = 0; k < 60 && next <= END; k++, next++)
            put(t, next, next);
    }
    uint64_t missing = 0;
    for (uint64_t i = 1; i <= START; i++)
        missing += !seen[i];
    CU_ASSERT_EQUAL(missing, 0);
    CU_ASSERT_EQUAL(later, 0);
    CU_ASSERT(next > START + 1);
    chain_table_destroy(t);
}

HARNESS_MAIN("chain_table", {"a million scopes within 192 MiB", test_million},
             {"a slot nobody filled", test_unused_slot}, {"copying while it grows", test_copy_while_growing})
