/* memory_probe.c - see memory_probe.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "memory_probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool counting;
static _Thread_local size_t counted;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_HOOKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_HOOKS 1
#endif
#endif

#if defined(HAVE_HOOKS)
#include <sanitizer/allocator_interface.h>

static void on_malloc(const volatile void *p, size_t size)
{
    (void)p;
    (void)size;
    if (counting)
        counted++;
}

static void on_free(const volatile void *p)
{
    (void)p;
}

bool allocations_counted(void)
{
    static int installed = -1;
    if (installed < 0)
        installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0;
    return installed == 1;
}

#elif defined(AW_SANITIZED)

bool allocations_counted(void)
{
    return false;
}

#else
/* The C library's own names for what is wrapped: they need no look-up, which would allocate. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
#define WRAPPER __attribute__((visibility("default")))

static inline void note(void)
{
    if (counting)
        counted++;
}

WRAPPER void *malloc(size_t size)
{
    note();
    return __libc_malloc(size);
}

WRAPPER void *calloc(size_t n, size_t size)
{
    note();
    return __libc_calloc(n, size);
}

WRAPPER void *realloc(void *p, size_t size)
{
    note();
    return __libc_realloc(p, size);
}

WRAPPER void *aligned_alloc(size_t align, size_t size)
{
    note();
    return __libc_memalign(align, size);
}

WRAPPER int posix_memalign(void **ret, size_t align, size_t size)
{
    note();
    void *p = __libc_memalign(align, size);
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}

bool allocations_counted(void)
{
    return true;
}
#endif

void allocations_start(void)
{
    (void)allocations_counted(); /* installs the hooks */
    counted = 0;
    counting = true;
}

size_t allocations_stop(void)
{
    counting = false;
    return counted;
}

bool memory_measure(const char *dir, struct memory_use *ret)
{
    char line[4608];
    bool ours = false;
    size_t n = strlen(dir), kib;
    FILE *f = fopen("/proc/self/smaps", "re");
    if (!f)
        return false;
    memset(ret, 0, sizeof *ret);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "Rss: %zu kB", &kib) == 1) {
            ret->rss_kib += kib;
            ret->mapped_kib += ours ? kib : 0;
        } else if (line[0] >= '0' && line[0] <= 'f' && strchr(line, '-') && !strstr(line, " kB")) {
            const char *path = strchr(line, '/');
            ours = path && !strncmp(path, dir, n);
        }
    }
    (void)fclose(f);
    return ret->rss_kib > 0;
}
