/* seal.h - sealing one event into its scope's hash chain.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * payload = {"event":E,"prevHash":"P"} in canonical form, P absent for the first event of a scope; hash =
 * SHA-256(payload). Since "event" sorts before "prevHash", E is hashed before the predecessor is known: seal_begin()
 * needs no lock, seal_finish() is the little that must happen under the journal's lock.
 */
#ifndef AW_SEAL_H
#define AW_SEAL_H

#include "seal/record.h"

#define SEAL_EVENTS 2                   /* that a sealer can have begun */
struct sealer;                          /* one per thread */
int sealer_create(struct sealer **ret); /* 0 or -errno */
void sealer_destroy(struct sealer *sealer);
bool seal_begin(struct sealer *sealer, const char *json, size_t len); /* event 0 */
/* Events 0 and 1 at once, which takes less time than one after the other. */
bool seal_begin_two(struct sealer *sealer, struct aw_str first, struct aw_str second);
/* prev NULL: first of its scope. false: the crypto library failed; nothing may be stored. */
bool seal_finish(struct sealer *sealer, size_t event, const uint8_t *prev, uint8_t ret_hash[32]);

/* Chain heads of all scopes: 56 bytes a slot, 112 MiB for a million scopes, in 256 shards so that growing one never
 * stalls. Not locked: the journal's append lock guards it. */
struct chain_head {
    uint64_t scope[2];
    uint64_t seq; /* of the newest event; 0 = free slot */
    uint8_t hash[32];
};
struct chain_table;
int chain_table_create(struct chain_table **ret); /* 0 or -ENOMEM */
void chain_table_destroy(struct chain_table *table);
/* The scope's head, made (seq 0) when absent; it stays only if the caller sets seq. NULL: out of memory. Valid until
 * the next call. */
struct chain_head *chain_table_get(struct chain_table *table, const uint64_t scope[2]);
size_t chain_table_count(const struct chain_table *table);
size_t chain_table_bytes(const struct chain_table *table);
/* Looks at a bounded number of slots from *cursor on, copies up to max heads with 0 < seq < below, sets *ret_count (may
 * be 0) and advances *cursor. false: that was the end. A table that grew meanwhile may give a head twice, never skips
 * one. Start with *cursor = 0. */
bool chain_table_copy(const struct chain_table *table, uint64_t *cursor, uint64_t below, struct chain_head *out,
                      size_t max, size_t *ret_count);

#endif
