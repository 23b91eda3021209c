/* inject.h - makes the N-th call of a kind fail. SPDX-License-Identifier: Apache-2.0
 *
 * Linking inject.c into a program puts wrappers around the system's calls, in the program itself, so that the library,
 * its plugins and the libraries they use all meet them, also under a sanitizer. The program must export its symbols
 * (-export-dynamic). Nothing is preloaded, nothing happens until a plan is armed, and it stays within this process.
 */
#ifndef INJECT_H
#define INJECT_H

#include <stdbool.h>
#include <stdint.h>

enum inject_kind {
    INJECT_MALLOC,   /* malloc, calloc, realloc, strdup ... called by auditwell, its plugins, SQLite, PCRE2, zstd */
    INJECT_OPEN,     /* open, openat */
    INJECT_WRITE,    /* write, pwrite, writev */
    INJECT_SYNC,     /* fdatasync, fsync */
    INJECT_MMAP,     /* mmap of a file */
    INJECT_ALLOCATE, /* fallocate, posix_fallocate, ftruncate */
    INJECT_RENAME,   /* rename, renameat, renameat2 */
    INJECT_READ,     /* read, pread */
    INJECT_SPACE,    /* all that takes room on a disk: writes to files, fallocate, new files, new names */
    INJECT_KINDS
};
extern const char *const inject_names[INJECT_KINDS];

struct inject_plan {
    enum inject_kind kind;
    uint64_t nth;    /* the first call that fails, from 1 */
    bool persistent; /* all from there on */
    int error;       /* errno; 0 with INJECT_WRITE and INJECT_READ: half the bytes instead of a failure */
};
/* Starts counting at 0. */
void inject_arm(const struct inject_plan *plan);
/* Instead: the process dies (SIGKILL) in place of the nth call that changes files or makes them durable: open, write,
 * fdatasync, ftruncate, fallocate, rename, unlink. UINT64_MAX: only counts them. */
void inject_arm_death(uint64_t nth);
void inject_disarm(void);
uint64_t inject_calls(void); /* of the armed kind since arming */
uint64_t inject_failed(void);
bool inject_can_malloc(void); /* false under a sanitizer, whose allocator must stay */

#endif
