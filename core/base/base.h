/* base.h - what every part of the core uses: cleanup attributes, checked arithmetic, small helpers.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Core-private functions return 0 or a negative errno value unless their header says otherwise.
 */
#ifndef AW_BASE_H
#define AW_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/plugin.h"

#define AW_LIKELY(x) __builtin_expect(!!(x), 1)
#define AW_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AW_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define AW_UNUSED __attribute__((unused))
#define AW_HOT __attribute__((hot))
#define AW_COLD __attribute__((cold))
/* For single pointers on the hot path: no call to find them. All thread-local data of the library then takes of the few
 * hundred bytes that the C library keeps for libraries that are loaded late: there must be nothing larger. */
#define AW_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

static inline void base_free_p(void *p)
{
    void **pp = (void **)p;
    free(*pp);
    *pp = NULL;
}

static inline void base_close_p(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd); /* nothing was written through descriptors closed this way */
        errno = saved;
    }
}

/* Scope-bound cleanup: freed or closed when the variable leaves its scope. Hand over with base_take(). */
#define AW_AUTOFREE __attribute__((cleanup(base_free_p)))
#define AW_AUTOCLOSE __attribute__((cleanup(base_close_p)))
#define base_take(p)                                                                                                   \
    __extension__({                                                                                                    \
        __typeof__(p) taken_ = (p);                                                                                    \
        (p) = NULL;                                                                                                    \
        taken_;                                                                                                        \
    })

static inline bool base_add_size(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

static inline bool base_mul_size(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

static inline size_t base_align8(size_t n)
{
    return (n + 7u) & ~(size_t)7u;
}

static inline struct aw_str base_str(const char *s)
{
    struct aw_str r = {s, s ? strlen(s) : 0};
    return r;
}

static inline bool base_str_eq(struct aw_str a, struct aw_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Little-endian loads and stores, alignment-free. The journal's format is little-endian on every machine. */
static inline uint32_t base_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static inline uint64_t base_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline void base_put_le32(void *p, uint32_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(p, &v, sizeof v);
}

static inline void base_put_le64(void *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, sizeof v);
}

#endif
