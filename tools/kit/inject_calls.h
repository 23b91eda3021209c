/* inject_calls.h - between inject.c and the interposed calls in inject_calls.c and inject_watch.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KIT_INJECT_CALLS_H
#define KIT_INJECT_CALLS_H

#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "inject.h"

#define INTERPOSED __attribute__((visibility("default")))
/* dlsym gives an object pointer; this is how POSIX wants it turned into a function. */
#define REAL_OF(type, symbol)                                                                                          \
    static type found;                                                                                                 \
    type real = __atomic_load_n(&found, __ATOMIC_RELAXED);                                                             \
    if (real == NULL) {                                                                                                \
        *(void **)&real = dlsym(RTLD_NEXT, symbol);                                                                    \
        __atomic_store_n(&found, real, __ATOMIC_RELAXED);                                                              \
    }
#define REAL(name) REAL_OF(__typeof__(&name), #name)

bool inject_hit(enum inject_kind which);             /* this call is to fail; errno is set */
bool inject_hit_memory(const void *caller);          /* as above, for an allocation by the code at that address */
bool inject_write_fails(size_t *ret_n);              /* else *ret_n is what to write */
void inject_saw(const char *call, const char *path); /* path may be NULL */
void inject_dirty(int fd);
void inject_clean(int fd, bool good); /* it was synced, or could not be */
void inject_gate(void);
bool inject_syncs_skipped(void);
/* The C library's own, not noted. */
int inject_fstat(int fd, struct stat *st);
int inject_stat(const char *path, struct stat *st);
ssize_t inject_readlink(const char *path, char *buf, size_t size);

#endif
