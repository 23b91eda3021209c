/* store.h - reading a store back through its plugin: shared by query.c and the verifier.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A store is a created, never started instance of a sink class that has AW_EXT_SINK_QUERY. Several reads may be open on
 * one store at once, each used by one thread at a time. Functions return 0 or AW_ERR_* with the reason in diag, and
 * never call diag_reset(): the public entry point does that.
 */
#ifndef AW_STORE_H
#define AW_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"
#include "audit/plugin.h"

/* Name for messages: the sink's instance name, or the path of an ad-hoc store. Lives as long as the store. */
const char *store_name(const struct aw_store *store);
/* Is it the store of one slot, and of which? */
bool store_slot(const struct aw_store *store, uint32_t *ret_slot);
/* Class name of the plugin, "file". */
const char *store_plugin(const struct aw_store *store);
/* Bytes on disk as far as they can be told without the plugin (progress bars); 0 = unknown. */
uint64_t store_bytes(const struct aw_store *store);

/* An empty query: everything, in the order the store likes. */
void store_query_init(struct aw_query *query);

/* One read. Rows come in batches of at most STORE_BATCH. */
#define STORE_BATCH 256
struct store_read;
/* query is only read during the call. Set AW_QUERY_CHAIN_ORDER in query->flags to verify. *ret_unsupported (may be
 * NULL) is set to 1 when the store answered AW_E_UNSUPPORTED: the result is then AW_ERR_USAGE, with a problem unless
 * ret_unsupported was given. */
int store_read_open(struct aw_store *store, const struct aw_query *query, int *ret_unsupported,
                    struct store_read **ret);
/* The next rows; they and what they point to are valid until the next call on this read. *ret_count 0: the end for now,
 * a later call sees what was added since. AW_ERR_IO: the store failed (what was returned before stays good). */
int store_read_next(struct store_read *read, const struct aw_row **ret_rows, size_t *ret_count);
void store_read_close(struct store_read *read); /* NULL is fine */

/* RFC 3339, a plain date (midnight UTC), or how long ago. AW_SUCCESS, or AW_ERR_USAGE with a problem at `name`. */
int store_parse_time(const char *name, const char *text, int64_t *ret_ns);

#endif
