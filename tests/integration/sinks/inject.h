/* inject.h - lets the n-th call of a C library function fail, in a plugin too: the test program's own malloc, open,
 * write... come before the C library's for everything that is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Only calls of the thread that armed are counted. Allocation cannot be replaced under a sanitizer: inject_can() tells.
 */
#ifndef AW_INJECT_H
#define AW_INJECT_H

#include <stdbool.h>

enum inject_kind {
    INJECT_MALLOC,
    INJECT_OPEN,
    INJECT_WRITE,
    INJECT_SYNC,
    INJECT_RENAME,
    INJECT_TRUNCATE,
    INJECT_UNLINK,
    INJECT_KINDS
};

bool inject_can(enum inject_kind kind);
const char *inject_name(enum inject_kind kind);
/* From now on the nth call (1 = the next) fails with errnum; with `on` every later one too. A write fails after half
 * its bytes went out. A failing sync takes with it what was appended since the last good one, as a disk that dropped
 * the pages does, when `drop` is set. */
#define INJECT_DIE (-1) /* as errnum: the process ends there, with exit code 77 */
void inject_arm(enum inject_kind kind, long nth, int errnum, bool on, bool drop);
/* After inject_arm(): cutting files fails as well, from the first failure on, until inject_disarm(). */
void inject_also_truncate(void);
/* Everything works again. Returns how many calls of that kind there were. */
long inject_disarm(void);
bool inject_fired(void); /* since inject_arm() */

#endif
