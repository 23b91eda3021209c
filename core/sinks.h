/* sinks.h - every store of a configuration, one by one: shared by sinks_api.c and retention_api.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_SINKS_H
#define AW_SINKS_H

#include "base/diag.h"
#include "store.h"

struct sinks_walk {
    const char *sink; /* NULL: all that are enabled */
    const struct diag_out *diag;
    bool first_slot_only; /* else stores that each slot has for itself are taken in every slot that has a journal */
    /* s is in the state's slot. store NULL: it could not be opened, rc with a problem. Its result, when it is not 0,
     * comes with a problem. */
    int (*fn)(void *arg, const struct settings *s, struct aw_sink_state *state, struct aw_store *store, int rc);
    void *arg;
};
/* The first failure's code; all stores are seen to. */
int sinks_walk(const char *config_path, const char *config_text, const struct sinks_walk *walk);
/* The thread's first problem that is no warning, or the code's name. */
const char *sinks_problem(int code);

#endif
