/* verify_sets.c - which hashes and which seqs the verifier has seen. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "seal/verify_impl.h"

/* ---- hashes ------------------------------------------------------------------------------------------------------ */

/* 2^22 slots of 16 bytes, three quarters used: 3.1 million events a generation, two generations. */
#define SEEN_MIN_SLOTS ((size_t)1 << 10)
#define SEEN_MAX_SLOTS ((size_t)1 << 22)

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide m = (wide)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The hashes come from the trail, so whoever writes the trail chooses them: without the key one cannot aim at a slot. */
uint64_t verify_fingerprint(const uint64_t key[4], const uint8_t hash[VERIFY_HASH])
{
    uint64_t f = fold(base_le64(hash) ^ key[0], base_le64(hash + 8) ^ key[1]) ^
                 fold(base_le64(hash + 16) ^ key[2], base_le64(hash + 24) ^ key[3]);
    return f != 0 ? f : 1;
}

static void seen_put(struct verify_seen_entry *slots, size_t mask, const struct verify_seen_entry *entry)
{
    size_t i = (size_t)entry->fingerprint & mask;
    while (slots[i].fingerprint != 0 && slots[i].fingerprint != entry->fingerprint)
        i = (i + 1) & mask;
    slots[i] = *entry;
}

/* Makes room in the newer generation: doubles it, or lets it become the older one. */
static bool seen_grow(struct verify_seen *seen)
{
    size_t size = seen->slots[0] ? seen->mask[0] + 1 : 0;
    if (size >= SEEN_MAX_SLOTS) {
        struct verify_seen_entry *oldest = seen->slots[1];
        if (!oldest) {
            oldest = calloc(size, sizeof *oldest);
            if (!oldest)
                return false;
        } else {
            memset(oldest, 0, (seen->mask[1] + 1) * sizeof *oldest);
        }
        seen->slots[1] = seen->slots[0];
        seen->mask[1] = seen->mask[0];
        seen->used[1] = seen->used[0];
        seen->slots[0] = oldest;
        seen->mask[0] = size - 1;
        seen->used[0] = 0;
        return true;
    }
    size_t bigger = size ? size * 2 : SEEN_MIN_SLOTS;
    struct verify_seen_entry *slots = calloc(bigger, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < size; i++)
        if (seen->slots[0][i].fingerprint != 0)
            seen_put(slots, bigger - 1, &seen->slots[0][i]);
    free(seen->slots[0]);
    seen->slots[0] = slots;
    seen->mask[0] = bigger - 1;
    return true;
}

void verify_seen_add(struct verify_seen *seen, uint64_t fingerprint, uint32_t scope, uint64_t ordinal)
{
    if (seen->off)
        return;
    if (!seen->slots[0] || seen->used[0] >= (seen->mask[0] + 1) / 4 * 3) {
        if (!seen_grow(seen)) {
            verify_seen_clear(seen);
            seen->off = true;
            return;
        }
    }
    struct verify_seen_entry entry = {fingerprint, scope, (uint32_t)ordinal};
    seen_put(seen->slots[0], seen->mask[0], &entry);
    seen->used[0]++; /* an entry put twice is counted twice: harmless */
}

const struct verify_seen_entry *verify_seen_find(const struct verify_seen *seen, uint64_t fingerprint)
{
    for (int g = 0; g < 2; g++) {
        const struct verify_seen_entry *slots = seen->slots[g];
        if (!slots)
            continue;
        for (size_t i = (size_t)fingerprint & seen->mask[g]; slots[i].fingerprint != 0; i = (i + 1) & seen->mask[g])
            if (slots[i].fingerprint == fingerprint)
                return &slots[i];
    }
    return NULL;
}

void verify_seen_clear(struct verify_seen *seen)
{
    free(seen->slots[0]);
    free(seen->slots[1]);
    memset(seen, 0, sizeof *seen);
}

/* ---- seqs -------------------------------------------------------------------------------------------------------- */

/* One bit a seq in chunks; a chunk that is full gives its bits back. So seqs in order, or nearly so, take next to nothing,
 * and a trail read scope by scope takes one bit an event. */
#define CHUNK_BITS 32768u
#define CHUNK_WORDS (CHUNK_BITS / 64u)
#define CHUNKS_PARTIAL_MAX 16384u /* 64 MiB */
#define CHUNKS_MIN 64u

struct verify_seq_chunk {
    uint64_t no;    /* seq / CHUNK_BITS */
    uint64_t *bits; /* NULL with count == CHUNK_BITS: full */
    uint32_t count; /* 0 = free slot */
};

static size_t chunk_slot(const struct verify_seq_chunk *chunks, size_t mask, uint64_t no)
{
    size_t i = (size_t)(no * 0x9e3779b97f4a7c15u >> 20) & mask;
    while (chunks[i].count != 0 && chunks[i].no != no)
        i = (i + 1) & mask;
    return i;
}

static bool chunks_grow(struct verify_seqs *seqs)
{
    size_t size = seqs->chunks ? (seqs->mask + 1) * 2 : CHUNKS_MIN;
    struct verify_seq_chunk *chunks = calloc(size, sizeof *chunks);
    if (!chunks)
        return false;
    for (size_t i = 0; seqs->chunks && i <= seqs->mask; i++)
        if (seqs->chunks[i].count != 0)
            chunks[chunk_slot(chunks, size - 1, seqs->chunks[i].no)] = seqs->chunks[i];
    free(seqs->chunks);
    seqs->chunks = chunks;
    seqs->mask = size - 1;
    return true;
}

/* The slot of a chunk, made when absent. SIZE_MAX: no room. */
static size_t chunk_get(struct verify_seqs *seqs, uint64_t no)
{
    if (seqs->chunks && seqs->chunks[seqs->last_slot].count != 0 && seqs->chunks[seqs->last_slot].no == no)
        return seqs->last_slot;
    if (!seqs->chunks || seqs->used >= (seqs->mask + 1) / 2) {
        if (!chunks_grow(seqs))
            return SIZE_MAX;
    }
    size_t i = chunk_slot(seqs->chunks, seqs->mask, no);
    struct verify_seq_chunk *c = &seqs->chunks[i];
    if (c->count == 0) {
        if (seqs->partial >= CHUNKS_PARTIAL_MAX)
            return SIZE_MAX;
        c->bits = calloc(CHUNK_WORDS, sizeof *c->bits);
        if (!c->bits)
            return SIZE_MAX;
        c->no = no;
        seqs->used++;
        seqs->partial++;
    }
    seqs->last_slot = i;
    return i;
}

static void chunks_free(struct verify_seqs *seqs)
{
    for (size_t i = 0; seqs->chunks && i <= seqs->mask; i++)
        free(seqs->chunks[i].bits);
    free(seqs->chunks);
    seqs->chunks = NULL;
    seqs->mask = seqs->used = seqs->partial = seqs->last_slot = 0;
}

bool verify_seqs_add(struct verify_seqs *seqs, uint64_t seq)
{
    if (seqs->count == 0 || seq < seqs->low)
        seqs->low = seq;
    if (seqs->count == 0 || seq > seqs->high)
        seqs->high = seq;
    seqs->count++;
    if (seqs->off)
        return true;
    size_t slot = chunk_get(seqs, seq / CHUNK_BITS);
    if (slot == SIZE_MAX) {
        chunks_free(seqs);
        seqs->off = true;
        return true;
    }
    struct verify_seq_chunk *c = &seqs->chunks[slot];
    if (!c->bits)
        return false; /* full */
    uint64_t bit = seq % CHUNK_BITS;
    uint64_t *word = &c->bits[bit / 64], one = (uint64_t)1 << bit % 64;
    if (*word & one)
        return false;
    *word |= one;
    if (++c->count == CHUNK_BITS) {
        base_free_p(&c->bits);
        seqs->partial--;
    }
    return true;
}

static int chunk_compare(const void *a, const void *b)
{
    const struct verify_seq_chunk *const *x = a, *const *y = b;
    return (*x)->no < (*y)->no ? -1 : (*x)->no > (*y)->no;
}

/* Goes on from *next: reports what is missing before each seq of the chunk. */
static bool chunk_gaps(const struct verify_seq_chunk *c, uint64_t *next, bool (*fn)(void *, uint64_t, uint64_t), void *arg)
{
    uint64_t first = c->no * CHUNK_BITS;
    if (!c->bits) {
        bool more = first <= *next || fn(arg, *next, first - 1);
        *next = first + CHUNK_BITS;
        return more;
    }
    for (uint64_t w = 0; w < CHUNK_WORDS; w++) {
        if (c->bits[w] == UINT64_MAX && first + w * 64 == *next) {
            *next += 64;
            continue;
        }
        for (uint64_t word = c->bits[w]; word != 0; word &= word - 1) {
            uint64_t seq = first + w * 64 + (uint64_t)__builtin_ctzll(word);
            if (seq > *next && !fn(arg, *next, seq - 1))
                return false;
            *next = seq + 1;
        }
    }
    return true;
}

int verify_seqs_gaps(const struct verify_seqs *seqs, bool (*fn)(void *arg, uint64_t from, uint64_t to), void *arg)
{
    if (seqs->used == 0)
        return 0;
    AW_AUTOFREE const struct verify_seq_chunk **order = calloc(seqs->used, sizeof *order);
    if (!order)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i <= seqs->mask; i++)
        if (seqs->chunks[i].count != 0)
            order[n++] = &seqs->chunks[i];
    qsort(order, n, sizeof *order, chunk_compare);
    uint64_t next = seqs->low;
    for (size_t i = 0; i < n && chunk_gaps(order[i], &next, fn, arg); i++)
        ;
    return 0;
}

void verify_seqs_clear(struct verify_seqs *seqs)
{
    chunks_free(seqs);
    memset(seqs, 0, sizeof *seqs);
}
