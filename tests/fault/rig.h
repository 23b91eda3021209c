/* rig.h - a logger with a file and a SQLite sink in a directory of its own, for tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef RIG_H
#define RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "audit/audit.h"

struct rig {
    char dir[400], journal[440], file[440], sqlite[440];
    char config[4096]; /* text for aw_open() */
};

/* What of the configuration differs. All may be NULL. */
struct rig_options {
    const char *durability; /* "process" */
    const char *top;        /* more top-level settings */
    const char *sinks;      /* instead of file and sqlite: the list's contents */
    const char *journal;    /* instead of small sizes: settings of the journal group */
};
/* Makes dir/NAME and the configuration's text. Small journal segments and short retries, so that much happens soon. */
void rig_init(struct rig *rig, const char *parent, const char *name, const struct rig_options *options);
int rig_open(const struct rig *rig, uint32_t flags, aw_diag_fn diag, void *diag_arg, struct aw_logger **ret);
void rig_remove(const struct rig *rig); /* the whole directory */

/* One event with oracle_event_id(number); tenant is number % 5; a password with secret in it. */
size_t rig_event(uint64_t number, const char *secret, char *out, size_t size);

/* Runs fn in a forked child, so that threads, leaks and crashes stay there. fn returns true, or false with a sentence
 * in why. A crash, a time-out (the child is killed) and an exit are failures, too. */
typedef bool (*rig_fn)(void *arg, char *why, size_t size);
bool rig_in_child(rig_fn fn, void *arg, unsigned seconds, char *why, size_t size);
/* Memory that parent and children share, zeroed. NULL: none to be had. */
void *rig_shared(size_t size);
void rig_unshare(void *p, size_t size);

/* The problems of the last call on this thread, in one line. Valid until the next call. */
const char *rig_problems(void);

#endif
