/* arena.c - see arena.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/arena.h"

#define FIRST_BLOCK 4096u
#define KEEP_BYTES (256u << 10)

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data, pad included */
    char data[];
};

static void use_block(struct arena *a, struct arena_block *b)
{
    a->current = b;
    a->at = b->data;
    a->end = b->data + b->size - ARENA_PAD;
}

void *arena_slow(struct arena *a, size_t n)
{
    struct arena_block *b = a->current ? a->current->next : a->first;
    for (; b; b = b->next) {
        use_block(a, b);
        if ((size_t)(a->end - a->at) >= n) {
            a->at += n;
            return b->data;
        }
    }
    size_t size = a->current ? a->current->size * 2 : FIRST_BLOCK;
    if (size > KEEP_BYTES)
        size = KEEP_BYTES;
    if (size < n + ARENA_PAD && !base_add_size(n, ARENA_PAD, &size))
        return NULL;
    b = malloc(sizeof *b + size);
    if (!b)
        return NULL;
    memset(b->data + size - ARENA_PAD, 0, ARENA_PAD);
    b->size = size;
    b->next = NULL;
    if (a->current)
        a->current->next = b;
    else
        a->first = b;
    use_block(a, b);
    a->at += n;
    return b->data;
}

void arena_reset(struct arena *a)
{
    if (!a->first)
        return;
    size_t kept = 0;
    struct arena_block **link = &a->first->next;
    while (*link) {
        struct arena_block *b = *link;
        if (kept + b->size > KEEP_BYTES) {
            *link = b->next;
            free(b);
        } else {
            kept += b->size;
            link = &b->next;
        }
    }
    use_block(a, a->first);
}

void arena_destroy(struct arena *a)
{
    for (struct arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){NULL, NULL, NULL, NULL};
}
