/* inject_calls.c - interposed calls that can be made to fail: memory, files, the network. See inject.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "inject_calls.h"

#ifdef AW_SANITIZED
size_t __sanitizer_get_current_allocated_bytes(void);

size_t inject_memory_used(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
static atomic_size_t used;

size_t inject_memory_used(void)
{
    return used;
}

static void *counted(void *p)
{
    if (p)
        used += malloc_usable_size(p);
    return p;
}

INTERPOSED void *malloc(size_t n)
{
    REAL(malloc)
    return inject_hit_memory(__builtin_return_address(0)) ? NULL : counted(real(n));
}

INTERPOSED void *calloc(size_t n, size_t size)
{
    REAL(calloc)
    return inject_hit_memory(__builtin_return_address(0)) ? NULL : counted(real(n, size));
}

INTERPOSED void *realloc(void *p, size_t n)
{
    REAL(realloc)
    if (inject_hit_memory(__builtin_return_address(0)))
        return NULL;
    size_t before = p ? malloc_usable_size(p) : 0;
    void *q = real(p, n);
    if (q || n == 0)
        used -= before;
    return counted(q);
}

INTERPOSED void *aligned_alloc(size_t alignment, size_t n)
{
    REAL(aligned_alloc)
    return inject_hit_memory(__builtin_return_address(0)) ? NULL : counted(real(alignment, n));
}

INTERPOSED int posix_memalign(void **ret, size_t alignment, size_t n)
{
    REAL(posix_memalign)
    if (inject_hit_memory(__builtin_return_address(0)))
        return ENOMEM;
    int r = real(ret, alignment, n);
    if (r == 0)
        (void)counted(*ret);
    return r;
}

INTERPOSED void free(void *p)
{
    REAL(free)
    if (p)
        used -= malloc_usable_size(p);
    real(p);
}

INTERPOSED char *strdup(const char *s)
{
    REAL(strdup)
    return inject_hit_memory(__builtin_return_address(0)) ? NULL : real(s);
}

INTERPOSED char *strndup(const char *s, size_t n)
{
    REAL(strndup)
    return inject_hit_memory(__builtin_return_address(0)) ? NULL : real(s, n);
}

INTERPOSED int vasprintf(char **ret, const char *format, va_list ap)
{
    REAL(vasprintf)
    return inject_hit_memory(__builtin_return_address(0)) ? -1 : real(ret, format, ap);
}

INTERPOSED int asprintf(char **ret, const char *format, ...)
{
    REAL(vasprintf)
    if (inject_hit_memory(__builtin_return_address(0)))
        return -1;
    va_list ap;
    va_start(ap, format);
    int n = real(ret, format, ap);
    va_end(ap);
    return n;
}
#endif

/* ---- opening ---- */

#define OPEN_MODE(flags, mode)                                                                                         \
    mode_t mode = 0;                                                                                                   \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                                                      \
        va_list ap;                                                                                                    \
        va_start(ap, flags);                                                                                           \
        mode = va_arg(ap, mode_t);                                                                                     \
        va_end(ap);                                                                                                    \
    }

#define OPEN(name)                                                                                                     \
    INTERPOSED int name(const char *path, int flags, ...)                                                              \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        OPEN_MODE(flags, mode)                                                                                         \
        inject_saw("open", path);                                                                                      \
        return inject_hit(INJECT_OPEN) ? -1 : real(path, flags, mode);                                                 \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    INTERPOSED int name(int dir, const char *path, int flags, ...)                                                     \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        OPEN_MODE(flags, mode)                                                                                         \
        inject_saw("openat", path);                                                                                    \
        return inject_hit(INJECT_OPEN) ? -1 : real(dir, path, flags, mode);                                            \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                                    \
    INTERPOSED FILE *name(const char *path, const char *mode)                                                          \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        inject_saw("fopen", path);                                                                                     \
        return inject_hit(INJECT_OPEN) ? NULL : real(path, mode);                                                      \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* What a program calls that was built with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
INTERPOSED int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

INTERPOSED int __open64_2(const char *path, int flags)
{
    return open(path, flags);
}

/* ---- writing ---- */

INTERPOSED ssize_t write(int fd, const void *buf, size_t n)
{
    REAL(write)
    inject_saw("write", NULL);
    inject_gate();
    if (inject_write_fails(&n))
        return -1;
    inject_dirty(fd);
    return real(fd, buf, n);
}

#define PWRITE(name, offset)                                                                                           \
    INTERPOSED ssize_t name(int fd, const void *buf, size_t n, offset at)                                              \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        inject_saw("pwrite", NULL);                                                                                    \
        inject_gate();                                                                                                 \
        if (inject_write_fails(&n))                                                                                    \
            return -1;                                                                                                 \
        inject_dirty(fd);                                                                                              \
        return real(fd, buf, n, at);                                                                                   \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* A vector is written whole or not at all. */
INTERPOSED ssize_t writev(int fd, const struct iovec *iov, int count)
{
    REAL(writev)
    size_t n = 0;
    inject_saw("writev", NULL);
    inject_gate();
    if (inject_write_fails(&n))
        return -1;
    inject_dirty(fd);
    return real(fd, iov, count);
}

/* stdio writes inside the C library: its flush is where it can be told that nothing could be written. */
INTERPOSED int fflush(FILE *f)
{
    REAL(fflush)
    size_t n = 0;
    if (f != NULL && f != stdout && f != stderr) {
        inject_gate();
        if (inject_write_fails(&n))
            return EOF;
    }
    int r = real(f);
    if (f != NULL && r == 0)
        inject_dirty(fileno(f));
    return r;
}

static int do_sync(int fd, int (*real)(int))
{
    inject_saw("sync", NULL);
    inject_gate();
    int r = inject_hit(INJECT_SYNC) ? -1 : inject_syncs_skipped() ? 0 : real(fd);
    inject_clean(fd, r == 0);
    return r;
}

INTERPOSED int fdatasync(int fd)
{
    REAL(fdatasync)
    return do_sync(fd, real);
}

INTERPOSED int fsync(int fd)
{
    REAL(fsync)
    return do_sync(fd, real);
}

INTERPOSED int rename(const char *from, const char *to)
{
    REAL(rename)
    inject_saw("rename", from);
    return inject_hit(INJECT_RENAME) ? -1 : real(from, to);
}

INTERPOSED int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    REAL(renameat2)
    inject_saw("renameat2", from);
    return inject_hit(INJECT_RENAME) ? -1 : real(a, from, b, to, flags);
}

INTERPOSED int ftruncate(int fd, off_t size)
{
    REAL(ftruncate)
    if (inject_hit(INJECT_TRUNCATE))
        return -1;
    inject_dirty(fd);
    return real(fd, size);
}

INTERPOSED int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64)
    if (inject_hit(INJECT_TRUNCATE))
        return -1;
    inject_dirty(fd);
    return real(fd, size);
}

/* ---- the network ---- */

INTERPOSED int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
    REAL(connect)
    inject_saw("connect", NULL);
    inject_gate();
    return inject_hit(INJECT_CONNECT) ? -1 : real(fd, address, len);
}

INTERPOSED ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    REAL(send)
    inject_gate();
    return inject_hit(INJECT_SEND) ? -1 : real(fd, buf, n, flags);
}

INTERPOSED ssize_t sendto(int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    REAL(sendto)
    inject_gate();
    return inject_hit(INJECT_SEND) ? -1 : real(fd, buf, n, flags, to, len);
}

INTERPOSED ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg)
    inject_gate();
    return inject_hit(INJECT_SEND) ? -1 : real(fd, message, flags);
}

INTERPOSED ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    REAL(recv)
    inject_gate();
    return inject_hit(INJECT_RECV) ? -1 : real(fd, buf, n, flags);
}

INTERPOSED ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    REAL(recvmsg)
    inject_gate();
    return inject_hit(INJECT_RECV) ? -1 : real(fd, message, flags);
}
