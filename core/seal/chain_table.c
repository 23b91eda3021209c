/* chain_table.c - see seal.h. SPDX-License-Identifier: Apache-2.0
 *
 * Open addressing with linear probing; a shard doubles when 7/8 full. Scope ids are keyed hashes, so no input can aim
 * at one shard. Nothing is ever removed.
 */
#include "config.h"

#include "seal/seal.h"

#include "base/base.h"

#define SHARDS 256u
#define FIRST_SLOTS 16u
#define SLOTS_PER_COPY 4096u

_Static_assert(sizeof(struct chain_head) == 56, "56 bytes a scope");

struct shard {
    struct chain_head *slots;
    uint32_t mask, used; /* mask + 1 slots; mask 0: none yet */
};

struct chain_table {
    struct shard shards[SHARDS];
    size_t count, bytes;
    /* The slot given out last as free. Whether the caller kept it shows only at the next call. */
    struct chain_head *pending;
    struct shard *pending_shard;
};

int chain_table_create(struct chain_table **ret)
{
    struct chain_table *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->bytes = sizeof *t;
    *ret = t;
    return 0;
}

void chain_table_destroy(struct chain_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < SHARDS; i++)
        free(table->shards[i].slots);
    free(table);
}

static struct chain_head *probe(struct chain_head *slots, uint32_t mask, const uint64_t scope[2])
{
    for (uint32_t i = (uint32_t)scope[0] & mask;; i = (i + 1) & mask) {
        struct chain_head *h = &slots[i];
        if (h->seq == 0 || (h->scope[0] == scope[0] && h->scope[1] == scope[1]))
            return h;
    }
}

static bool grow(struct chain_table *table, struct shard *s)
{
    size_t old_slots = s->slots ? (size_t)s->mask + 1 : 0, slots = old_slots ? old_slots * 2 : FIRST_SLOTS;
    if (slots > UINT32_MAX / 2)
        return false;
    struct chain_head *fresh = calloc(slots, sizeof *fresh);
    if (!fresh)
        return false;
    for (size_t i = 0; i < old_slots; i++)
        if (s->slots[i].seq != 0)
            *probe(fresh, (uint32_t)(slots - 1), s->slots[i].scope) = s->slots[i];
    free(s->slots);
    s->slots = fresh;
    s->mask = (uint32_t)(slots - 1);
    table->bytes += (slots - old_slots) * sizeof *fresh;
    return true;
}

static void settle_pending(struct chain_table *table)
{
    if (table->pending && table->pending->seq != 0) {
        table->pending_shard->used++;
        table->count++;
    }
    table->pending = NULL;
}

struct chain_head *chain_table_get(struct chain_table *table, const uint64_t scope[2])
{
    settle_pending(table);
    struct shard *s = &table->shards[scope[0] >> 56];
    if (AW_LIKELY(s->slots != NULL)) {
        struct chain_head *h = probe(s->slots, s->mask, scope);
        if (AW_LIKELY(h->seq != 0))
            return h;
    }
    if ((!s->slots || (uint64_t)(s->used + 1) * 8 > ((uint64_t)s->mask + 1) * 7) && !grow(table, s))
        return NULL;
    struct chain_head *h = probe(s->slots, s->mask, scope);
    *h = (struct chain_head){.scope = {scope[0], scope[1]}};
    table->pending = h;
    table->pending_shard = s;
    return h;
}

size_t chain_table_count(const struct chain_table *table)
{
    return table->count + (table->pending && table->pending->seq != 0);
}

size_t chain_table_bytes(const struct chain_table *table)
{
    return table->bytes;
}

/* The cursor is shard << 32 | slot. When a shard doubled since, it is read again from its beginning: half of its heads
 * moved. The cursor's top bits keep the shard's size class for that. */
#define CURSOR_SLOT(c) ((uint32_t)(c)&0x7fffffffu)
#define CURSOR_SHARD(c) ((uint32_t)((c) >> 32) & 0x1ffu)
#define CURSOR_CLASS(c) ((uint32_t)((c) >> 48))

static uint32_t size_class(const struct shard *s)
{
    return s->slots ? 32u - (uint32_t)__builtin_clz(s->mask) : 0;
}

bool chain_table_copy(const struct chain_table *table, uint64_t *cursor, uint64_t below, struct chain_head *out,
                      size_t max, size_t *ret_count)
{
    uint32_t shard = CURSOR_SHARD(*cursor), slot = CURSOR_SLOT(*cursor), budget = SLOTS_PER_COPY;
    size_t n = 0;
    if (shard < SHARDS && slot > 0 && CURSOR_CLASS(*cursor) != size_class(&table->shards[shard]))
        slot = 0;
    for (; shard < SHARDS; shard++, slot = 0) {
        const struct shard *s = &table->shards[shard];
        size_t slots = s->slots ? (size_t)s->mask + 1 : 0;
        for (; slot < slots && n < max && budget > 0; slot++, budget--)
            if (s->slots[slot].seq != 0 && s->slots[slot].seq < below)
                out[n++] = s->slots[slot];
        if (slot < slots)
            break;
    }
    *ret_count = n;
    *cursor = (uint64_t)(shard < SHARDS ? size_class(&table->shards[shard]) : 0) << 48 | (uint64_t)shard << 32 | slot;
    return shard < SHARDS;
}
