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
#include "settings.h"

/* Name for messages: the sink's instance name, or the path of an ad-hoc store. Lives as long as the store. */
const char *store_name(const struct aw_store *store);
/* Is it the store of one slot, and of which? */
bool store_slot(const struct aw_store *store, uint32_t *ret_slot);
/* Class name of the plugin, "file". */
const char *store_plugin(const struct aw_store *store);
/* Bytes on disk as far as they can be told without the plugin (progress bars); 0 = unknown. */
uint64_t store_bytes(const struct aw_store *store);

/* The sink's name, when it is one of a configuration; else NULL. */
const char *store_sink_name(const struct aw_store *store);

/* A sink of a configuration, in the slot of the settings, whether it can be read or not. diag (may be NULL) gets what
 * the plugin logs. With aw_store_close(). */
int store_open_sink(const struct settings *settings, const struct settings_sink *sink, const struct diag_out *diag,
                    struct aw_store **ret);
int store_need_query(struct aw_store *store); /* before it is read */
/* The instance and its extensions, for calls of the plugin. Around such a call: clear the error, and make a problem of
 * the code that it returned, with its text behind `what`. Returns the AW_ERR_* of the code. */
void *store_sink(const struct aw_store *store);
const void *store_extension(const struct aw_store *store, const char *id);
void store_clear_error(const struct aw_store *store);
int store_problem(const struct aw_store *store, int32_t code, const char *what);

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

/* One reading of everything, in the order of chains, into a verifier (verify_api.c). */
struct verifier;
int store_feed(struct aw_store *store, struct verifier *verifier);
/* aw_verify() of one store; after (may be NULL) is called when it is finished. */
int store_verify(struct aw_store *store, const struct aw_verify_options *options, struct aw_verify_report *report,
                 void (*after)(void *arg, struct verifier *verifier), void *arg);

/* RFC 3339, a plain date (midnight UTC), or how long ago. AW_SUCCESS, or AW_ERR_USAGE with a problem at `name`. */
int store_parse_time(const char *name, const char *text, int64_t *ret_ns);

#endif
