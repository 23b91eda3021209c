/* futex.c - see futex.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/futex.h"

#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOCKED 1u
#define WOKEN 2u
#define WAITER 4u
/* Rounds of 1, 2, ... pauses: about 1 us. Looking seldom leaves the lock's line with its holder, and sleeping early
 * leaves the processor to whoever has work: with four appenders on two processors this gave a third more than spinning
 * for longer. */
#define SPINS 8

void futex_sleep(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_mono_ns)
{
    struct timespec until, *at = NULL;
    if (deadline_mono_ns != FUTEX_FOR_EVER) {
        until.tv_sec = (time_t)(deadline_mono_ns / 1000000000u);
        until.tv_nsec = (long)(deadline_mono_ns % 1000000000u);
        at = &until;
    }
    /* FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC. Every result means: look again. */
    (void)syscall(SYS_futex, (uint32_t *)(void *)word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, at, NULL,
                  FUTEX_BITSET_MATCH_ANY);
}

int futex_wake(_Atomic uint32_t *word, int count)
{
    return (int)syscall(SYS_futex, (uint32_t *)(void *)word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void take_ticket(struct brief_lock *lock)
{
    for (;;) {
        uint32_t have = atomic_load_explicit(&lock->tickets, memory_order_acquire);
        while (have > 0)
            if (atomic_compare_exchange_weak_explicit(&lock->tickets, &have, have - 1, memory_order_acquire,
                                                      memory_order_relaxed))
                return;
        futex_sleep(&lock->tickets, 0, FUTEX_FOR_EVER);
    }
}

void brief_lock_slow(struct brief_lock *lock)
{
    bool woken = false;
    for (int spins = 0;;) {
        uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);
        uint32_t next = woken ? old & ~WOKEN : old;
        if (!(old & LOCKED)) {
            if (atomic_compare_exchange_weak_explicit(&lock->state, &old, next | LOCKED, memory_order_acquire,
                                                      memory_order_relaxed))
                return;
        } else if (spins < SPINS) {
            for (int i = 0; i <= spins; i++)
                relax();
            spins++;
        } else if (atomic_compare_exchange_weak_explicit(&lock->state, &old, next + WAITER, memory_order_relaxed,
                                                         memory_order_relaxed)) {
            take_ticket(lock);
            woken = true;
            spins = 0;
        }
    }
}

void brief_unlock_slow(struct brief_lock *lock)
{
    uint32_t old = atomic_load_explicit(&lock->state, memory_order_relaxed);
    while (old >= WAITER && !(old & (LOCKED | WOKEN))) {
        if (atomic_compare_exchange_weak_explicit(&lock->state, &old, (old - WAITER) | WOKEN, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            atomic_fetch_add_explicit(&lock->tickets, 1, memory_order_release);
            (void)futex_wake(&lock->tickets, 1);
            return;
        }
    }
}
