/* exec_support.h - what the tests of the exec sink share. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_EXEC_SUPPORT_H
#define AW_EXEC_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "minihost.h"

/* An instance that runs exec_peer MODE FILE [ARGUMENTS on lines], with more pairs of settings. */
struct mh_instance *peer(const char *mode, const char *file, const char *arguments, const char *const *pairs);
bool no_children(void); /* of this process, zombies included */
/* How many exec_peer of this process with that mode there are; signo 0 only counts. */
int kill_programs(const char *mode, int signo);
bool wait_degraded(struct mh_instance *m); /* until health() notices that the program has ended */
bool process_gone(long pid);               /* waits for it */
/* How many different ones of these events stand in the file, whole and alone on a line; 0 when anything else is there.
 */
size_t lines_intact(const char *path, struct aw_event *const *events, size_t count);

#endif
