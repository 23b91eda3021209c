/* ids.c - see ids.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/ids.h"

#include "base/base.h"
#include "base/hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>

int ids_random(void *buf, size_t len)
{
    char *p = buf;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Raised in every forked child, so that its threads throw away the random bytes they share with the parent. */
static _Atomic unsigned fork_generation = 1;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void on_fork_child(void)
{
    atomic_fetch_add_explicit(&fork_generation, 1, memory_order_relaxed);
}

static void register_fork_handler(void)
{
    (void)pthread_atfork(NULL, NULL,
                         on_fork_child); /* ENOMEM only; then ids of a child are still unlike by time and counter */
}

#define POOL_BYTES 2048 /* a call of getrandom() for 256 ids */
static _Thread_local struct {
    unsigned generation; /* of the pool's content; 0 = never filled */
    unsigned used;
    uint64_t last_ms;
    uint32_t counter; /* 12 bits of rand_a, and 18 more at the head of rand_b */
    uint8_t bytes[POOL_BYTES];
} pool;

static int pool_take(void *out, size_t len)
{
    unsigned generation = atomic_load_explicit(&fork_generation, memory_order_relaxed);
    if (AW_UNLIKELY(pool.generation != generation || pool.used + len > POOL_BYTES)) {
        if (pool.generation == 0)
            (void)pthread_once(&fork_once, register_fork_handler);
        int rc = ids_random(pool.bytes, POOL_BYTES);
        if (rc < 0)
            return rc;
        pool.generation = generation;
        pool.used = 0;
    }
    memcpy(out, pool.bytes + pool.used, len);
    memset(pool.bytes + pool.used, 0, len);
    pool.used += (unsigned)len;
    return 0;
}

/* RFC 9562 section 6.2, method 1: a 30-bit counter behind the millisecond, seeded with 29 random bits each millisecond
 * so that it can count half a billion ids before it would have to borrow from the clock. */
int ids_uuid7(uint64_t real_ns, char out[IDS_UUID_LEN])
{
    uint8_t random[8];
    int rc = pool_take(random, sizeof random);
    if (rc < 0)
        return rc;
    uint64_t ms = real_ns / 1000000u;
    if (ms > pool.last_ms) {
        pool.last_ms = ms;
        pool.counter = base_le32(random + 4) & 0x1fffffffu;
        rc = pool_take(random + 4, 4);
        if (rc < 0)
            return rc;
    } else if (++pool.counter > 0x3fffffffu) {
        pool.counter = 0;
        pool.last_ms++;
    }
    ms = pool.last_ms;
    uint8_t u[16];
    for (size_t i = 0; i < 6; i++)
        u[i] = (uint8_t)(ms >> (40 - 8 * i));
    u[6] = (uint8_t)(0x70u | (pool.counter >> 26 & 0x0fu));
    u[7] = (uint8_t)(pool.counter >> 18);
    u[8] = (uint8_t)(0x80u | (pool.counter >> 12 & 0x3fu));
    u[9] = (uint8_t)(pool.counter >> 4);
    u[10] = (uint8_t)((pool.counter << 4 & 0xf0u) | (random[0] & 0x0fu));
    memcpy(u + 11, random + 1, 5);
    hash_hex(u, 4, out);
    out[8] = '-';
    hash_hex(u + 4, 2, out + 9);
    out[13] = '-';
    hash_hex(u + 6, 2, out + 14);
    out[18] = '-';
    hash_hex(u + 8, 2, out + 19);
    out[23] = '-';
    hash_hex(u + 10, 6, out + 24);
    return 0;
}
