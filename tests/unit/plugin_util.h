/* plugin_util.h - helpers for the tests of plugin/ and config.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_PLUGIN_UTIL_H
#define AW_PLUGIN_UTIL_H

#include <stdbool.h>
#include <stddef.h>

/* "$top_builddir/tests/plugins/.libs/sink_NAME.so". Valid until the next but three calls. */
const char *util_mock(const char *name);
const char *util_mock_dir(void);
/* dir/name, same lifetime. */
const char *util_path(const char *dir, const char *name);
/* A fresh directory below harness_tmpdir(), mode 0755. Lives as long as the process. */
const char *util_dir(void);
/* Writes a file (mode 0644), or copies one (mode 0755). Aborts the test run when that fails. */
void util_write(const char *path, const char *text);
void util_copy(const char *from, const char *to);
/* Is there a problem of this call whose path is `path` (NULL: any) and whose message holds `text`? Prints all when not.
 */
bool util_problem(const char *path, const char *text);
size_t util_errors(void); /* problems that are no warnings */
size_t util_warnings(void);
void util_print_problems(void);
/* Runs `ENV… plugin_probe ARGS` through the shell in directory cwd; output to out. Returns the exit status, 128+n for a
 * signal. */
int util_probe(const char *env, const char *args, const char *cwd, char *out, size_t size);

#endif
