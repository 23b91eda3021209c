/* memory_probe.h - counts allocations of the calling thread, and measures resident memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Linking memory_probe.c into a program puts wrappers around the C library's allocator (under a sanitizer its own
 * hooks), so also the library's and the plugins' calls are seen.
 */
#ifndef MEMORY_PROBE_H
#define MEMORY_PROBE_H

#include <stdbool.h>
#include <stddef.h>

void allocations_start(void);   /* this thread's count becomes 0 */
size_t allocations_stop(void);  /* malloc, calloc, realloc, aligned_alloc, posix_memalign since then on this thread */
bool allocations_counted(void); /* false: this build cannot count (a sanitizer without hooks) */

struct memory_use {
    size_t rss_kib;    /* all that is resident */
    size_t mapped_kib; /* of that, pages of files below the directory */
};
bool memory_measure(const char *dir, struct memory_use *ret);

#endif
