/* diag.h - problems of the current call, and diagnostics. SPDX-License-Identifier: Apache-2.0
 *
 * Problems are kept per thread (aw_problems()); a public entry point starts with diag_reset(). Adding never fails:
 * without memory the last slot says so. At most DIAG_MAX_PROBLEMS are kept, then one that counts the rest. No cost
 * without problems.
 */
#ifndef AW_DIAG_H
#define AW_DIAG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"
#include "audit/plugin.h"
#include "base/base.h"

#define DIAG_MAX_PROBLEMS 200

extern AW_THREAD_LOCAL bool diag_any; /* this thread has problems or warnings; private to diag_reset() */
void diag_clear(void);
static inline void diag_reset(void)
{
    if (AW_UNLIKELY(diag_any))
        diag_clear();
}
/* code 0 = warning. path may be NULL (""). Returns code, so that `return diag_problem(...)` works. */
int diag_problem(int code, const char *path, const char *fmt, ...) AW_PRINTF(3, 4);
size_t diag_count(void);    /* problems and warnings */
size_t diag_warnings(void); /* warnings only */

/* Where diagnostics of one logger go. fn may be NULL. */
struct diag_out {
    aw_diag_fn fn;
    void *arg;
};
void diag_log(const struct diag_out *out, int severity, const char *instance, const char *fmt, ...) AW_PRINTF(4, 5);
void diag_vlog(const struct diag_out *out, int severity, const char *instance, const char *fmt, va_list ap)
    AW_PRINTF(4, 0);

#endif
