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

/* Raised in every forked child, so that random bytes that it shares with its parent are thrown away. */
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

static int take(struct ids_source *s, void *out, size_t len)
{
    unsigned generation = atomic_load_explicit(&fork_generation, memory_order_relaxed);
    if (AW_UNLIKELY(s->generation != generation || s->used + len > IDS_POOL)) {
        if (s->generation == 0)
            (void)pthread_once(&fork_once, register_fork_handler);
        int rc = ids_random(s->pool, IDS_POOL);
        if (rc < 0)
            return rc;
        s->generation = generation;
        s->used = 0;
    }
    memcpy(out, s->pool + s->used, len);
    memset(s->pool + s->used, 0, len);
    s->used += (unsigned)len;
    return 0;
}

/* RFC 9562 section 6.2, method 1: a 30-bit counter behind the millisecond, seeded with 29 random bits each millisecond
 * so that it can count half a billion ids before it would have to borrow from the clock. */
int ids_uuid7(struct ids_source *s, uint64_t real_ns, char out[IDS_UUID_LEN])
{
    uint8_t random[8];
    int rc = take(s, random, sizeof random);
    if (rc < 0)
        return rc;
    uint64_t ms = real_ns / 1000000u;
    if (ms > s->last_ms) {
        s->last_ms = ms;
        s->counter = base_le32(random + 4) & 0x1fffffffu;
        rc = take(s, random + 4, 4);
        if (rc < 0)
            return rc;
    } else if (++s->counter > 0x3fffffffu) {
        s->counter = 0;
        s->last_ms++;
    }
    ms = s->last_ms;
    uint8_t u[16];
    for (size_t i = 0; i < 6; i++)
        u[i] = (uint8_t)(ms >> (40 - 8 * i));
    u[6] = (uint8_t)(0x70u | (s->counter >> 26 & 0x0fu));
    u[7] = (uint8_t)(s->counter >> 18);
    u[8] = (uint8_t)(0x80u | (s->counter >> 12 & 0x3fu));
    u[9] = (uint8_t)(s->counter >> 4);
    u[10] = (uint8_t)((s->counter << 4 & 0xf0u) | (random[0] & 0x0fu));
    memcpy(u + 11, random + 1, 5);
    char hex[32];
    hash_hex(u, sizeof u, hex);
    memcpy(out, hex, 8);
    out[8] = '-';
    memcpy(out + 9, hex + 8, 4);
    out[13] = '-';
    memcpy(out + 14, hex + 12, 4);
    out[18] = '-';
    memcpy(out + 19, hex + 16, 4);
    out[23] = '-';
    memcpy(out + 24, hex + 20, 12);
    return 0;
}
