/* verify_sets.c - which hashes and which seqs the verifier has seen. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "seal/verify_impl.h"

/* ---- hashes ---- */

#define SEEN_FIRST 1024u

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide m = (wide)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The hashes come from the trail, so whoever writes the trail chooses them: without the key one cannot aim at a slot.
 */
uint64_t verify_fingerprint(const uint64_t key[4], const uint8_t hash[VERIFY_HASH])
{
    uint64_t f = fold(base_le64(hash) ^ key[0], base_le64(hash + 8) ^ key[1]) ^
                 fold(base_le64(hash + 16) ^ key[2], base_le64(hash + 24) ^ key[3]);
    return f != 0 ? f : 1;
}

static void log_clear(struct verify_seen_log *log)
{
    free(log->entries);
    free(log->slots);
    memset(log, 0, sizeof *log);
}

void verify_seen_clear(struct verify_seen *seen)
{
    log_clear(&seen->newer);
    log_clear(&seen->older);
    seen->off = false;
}

static void seen_give_up(struct verify_seen *seen)
{
    verify_seen_clear(seen);
    seen->off = true;
}

/* Room for one more: a larger log, or the newer one becomes the older one. */
static bool seen_grow(struct verify_seen *seen)
{
    struct verify_seen_log *log = &seen->newer;
    if (log->capacity >= VERIFY_SEEN_MAX) {
        log_clear(&seen->older);
        seen->older = *log;
        memset(log, 0, sizeof *log);
    }
    size_t capacity = log->capacity ? log->capacity * 2 : SEEN_FIRST;
    if (capacity > VERIFY_SEEN_MAX)
        capacity = VERIFY_SEEN_MAX;
    struct verify_seen_entry *entries = realloc(log->entries, capacity * sizeof *entries);
    if (!entries)
        return false;
    log->entries = entries;
    log->capacity = capacity;
    return true;
}

void verify_seen_add(struct verify_seen *seen, uint64_t fingerprint, uint32_t scope, uint64_t ordinal)
{
    struct verify_seen_log *log = &seen->newer;
    if (AW_UNLIKELY(seen->off))
        return;
    if (AW_UNLIKELY(log->count == log->capacity)) {
        if (!seen_grow(seen)) {
            seen_give_up(seen);
            return;
        }
    }
    log->entries[log->count++] = (struct verify_seen_entry){fingerprint, scope, (uint32_t)ordinal};
}

/* The place of a fingerprint, or the free one where it belongs. */
static size_t log_slot(const struct verify_seen_log *log, uint64_t fingerprint)
{
    size_t i = (size_t)fingerprint & log->mask;
    while (log->slots[i] != 0 && log->entries[log->slots[i] - 1].fingerprint != fingerprint)
        i = (i + 1) & log->mask;
    return i;
}

static bool log_index(struct verify_seen_log *log)
{
    if (log->count > 0 && (!log->slots || log->count > (log->mask + 1) / 4 * 3)) {
        size_t size = 2 * SEEN_FIRST;
        while (size / 4 * 3 < log->count)
            size *= 2;
        uint32_t *slots = calloc(size, sizeof *slots);
        if (!slots)
            return false;
        free(log->slots);
        log->slots = slots;
        log->mask = size - 1;
        log->indexed = 0;
    }
    for (; log->indexed < log->count; log->indexed++)
        log->slots[log_slot(log, log->entries[log->indexed].fingerprint)] = (uint32_t)log->indexed + 1;
    return true;
}

const struct verify_seen_entry *verify_seen_find(struct verify_seen *seen, uint64_t fingerprint)
{
    struct verify_seen_log *logs[2] = {&seen->newer, &seen->older};
    for (int g = 0; g < 2; g++) {
        struct verify_seen_log *log = logs[g];
        if (log->count == 0)
            continue;
        if (!log_index(log)) {
            seen_give_up(seen);
            return NULL;
        }
        uint32_t at = log->slots[log_slot(log, fingerprint)];
        if (at != 0)
            return &log->entries[at - 1];
    }
    return NULL;
}

/* ---- seqs ---- */

/* One bit a seq in chunks; a chunk that is full gives its bits back. So seqs in order, or nearly so, take next to
 * nothing, and a trail read scope by scope takes one bit an event. */
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
static bool chunk_gaps(const struct verify_seq_chunk *c, uint64_t *next, bool (*fn)(void *, uint64_t, uint64_t),
                       void *arg)
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
