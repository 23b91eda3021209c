/* futex.h - sleeping on a word, and the append lock built on it. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_FUTEX_H
#define AW_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

#define FUTEX_FOR_EVER UINT64_MAX

/* Sleeps while *word == expected, until woken or the deadline (CLOCK_MONOTONIC ns). May return early; the caller looks
 * again. */
void futex_sleep(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_mono_ns);
int futex_wake(_Atomic uint32_t *word, int count); /* how many were woken */

/* A lock for short critical sections on machines with fewer cores than threads. Whoever comes first gets it (no queue),
 * a waiter spins shortly before it sleeps, and at most one sleeper at a time is being woken: so a saturated lock costs
 * a system call now and then instead of a context switch per hold. Not recursive. Unlocking is sequentially consistent.
 */
struct brief_lock {
    _Atomic uint32_t state; /* LOCKED | WOKEN | waiters * 4 */
    _Atomic uint32_t tickets;
};
void brief_lock_slow(struct brief_lock *lock);
void brief_unlock_slow(struct brief_lock *lock);

static inline void brief_lock(struct brief_lock *lock)
{
    uint32_t idle = 0;
    if (!atomic_compare_exchange_strong_explicit(&lock->state, &idle, 1u, memory_order_acquire, memory_order_relaxed))
        brief_lock_slow(lock);
}

static inline void brief_unlock(struct brief_lock *lock)
{
    if (atomic_fetch_sub_explicit(&lock->state, 1u, memory_order_seq_cst) != 1u)
        brief_unlock_slow(lock);
}

#endif
