/* arena.h - memory that is given out piece by piece and taken back at once. SPDX-License-Identifier: Apache-2.0
 *
 * Used for texts of one event. After arena_reset() the blocks are used again, so that a warm arena does not allocate.
 * Every piece has ARENA_PAD readable and writable bytes behind it: copies may run in steps of 16 or 32 bytes. One
 * thread at a time.
 */
#ifndef AW_ARENA_H
#define AW_ARENA_H

#include "base/base.h"

#define ARENA_PAD 64u

struct arena_block; /* malloc'd, chained */
struct arena {
    char *at, *end;                      /* free part of the current block */
    struct arena_block *first, *current; /* first: kept for ever; NULL before the first use */
};

void *arena_slow(struct arena *a, size_t n);
void arena_reset(struct arena *a);   /* everything given out becomes invalid; blocks beyond 256 KiB go back to malloc */
void arena_destroy(struct arena *a); /* frees; the arena may be used again */

/* Unaligned bytes, or NULL without memory. */
static inline char *arena_text(struct arena *a, size_t n)
{
    if (AW_UNLIKELY((size_t)(a->end - a->at) < n || a->at == NULL))
        return arena_slow(a, n);
    char *p = a->at;
    a->at += n;
    return p;
}

/* Gives back the tail of the newest piece: [p, a->at) becomes free again. */
static inline void arena_shrink(struct arena *a, char *p)
{
    a->at = p;
}

#endif
