/* staging.h - the sinks' transaction extension as the core uses it: tokens, and what is in doubt.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A token is ID.FIRST.LAST.NUMBER.ATTEMPT in hexadecimal: who stages (half of the journal's id), what, the number of
 * the decision, and which try. So the tokens of other journals in the same store are told apart, and no token comes
 * twice with other events.
 */
#ifndef AW_STAGING_H
#define AW_STAGING_H

#include "delivery/worker.h"

#define STAGING_TOKEN_MAX 64

/* The extension, if the sink has all of it; else NULL. */
const struct aw_sink_transaction *staging_of(const struct delivery *d);
void staging_token(const struct journal *journal, uint64_t first, uint64_t last, uint64_t number, uint32_t attempt,
                   char ret[STAGING_TOKEN_MAX + 1]);
/* This journal's tokens that the sink has not decided, copied; free(*ret). Between worker_call_begins() and
 * worker_call_ends(). AW_OK or AW_E_*. */
int32_t staging_in_doubt(struct delivery *d, const struct aw_sink_transaction *tx, char (**ret)[STAGING_TOKEN_MAX + 1],
                         size_t *ret_count);
/* A sink on its own rolls back what a group left behind: the events are in the journal. Inside a call, too. */
void staging_forget(struct delivery *d);

#endif
