/* glob.h - the patterns of queries and action rules. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_GLOB_H
#define AW_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* Does the whole text match? * = any bytes, ? = one character of UTF-8, all else stands for itself. Case counts. */
bool glob_match(const char *pattern, const char *text, size_t len);

#endif
