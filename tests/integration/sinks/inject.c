/* inject.c - see inject.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inject.h"

#define EXPORT __attribute__((visibility("default")))
/* dlsym gives an object pointer; this is how POSIX wants it turned into a function. */
#define REAL(name)                                                                                                     \
    static __typeof__(&name) real;                                                                                     \
    if (real == NULL)                                                                                                  \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

static _Thread_local bool armed;
static enum inject_kind kind;
static long nth, calls;
static int error;
static bool on, drop, fired, half_done, also_truncate;

/* File sizes at the last good sync. */
static struct {
    ino_t ino;
    off_t size;
} synced[64];
static size_t synced_count;

bool inject_can(enum inject_kind which)
{
#ifdef AW_SANITIZED
    return which != INJECT_MALLOC;
#else
    (void)which;
    return true;
#endif
}

const char *inject_name(enum inject_kind which)
{
    static const char *const names[] = {"malloc", "open", "write", "sync", "rename", "ftruncate", "unlink"};
    return names[which];
}

void inject_arm(enum inject_kind which, long which_call, int errnum, bool go_on, bool drop_pages)
{
    kind = which;
    nth = which_call;
    error = errnum;
    on = go_on;
    drop = drop_pages;
    calls = 0;
    synced_count = 0; /* files of this life only: there is not room for those of all */
    fired = half_done = also_truncate = false;
    armed = true;
}

void inject_also_truncate(void)
{
    also_truncate = true;
}

long inject_disarm(void)
{
    armed = false;
    return calls;
}

bool inject_fired(void)
{
    return fired;
}

static bool hit(enum inject_kind which)
{
    if (armed && fired && also_truncate && which == INJECT_TRUNCATE) {
        errno = EIO;
        return true;
    }
    if (!armed || kind != which)
        return false;
    calls++;
    bool now = calls == nth || (on && calls > nth);
    fired = fired || now;
    if (now && error == INJECT_DIE)
        _exit(77);
    if (now)
        errno = error;
    return now;
}

#ifndef AW_SANITIZED
EXPORT void *malloc(size_t n)
{
    REAL(malloc);
    return hit(INJECT_MALLOC) ? NULL : real(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
    REAL(calloc);
    return hit(INJECT_MALLOC) ? NULL : real(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    REAL(realloc);
    return hit(INJECT_MALLOC) ? NULL : real(p, n);
}
#endif

EXPORT int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return hit(INJECT_OPEN) ? -1 : real(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return hit(INJECT_OPEN) ? -1 : real(path, flags, mode);
}

/* The nth write puts out half, the one after it fails. *ret_n is what to write. */
static bool write_fails(size_t *ret_n)
{
    if (armed && kind == INJECT_WRITE && half_done) {
        half_done = on;
        errno = error;
        return true;
    }
    if (!hit(INJECT_WRITE))
        return false;
    half_done = true;
    *ret_n /= 2;
    if (*ret_n == 0) {
        half_done = on;
        errno = error;
        return true;
    }
    return false;
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
    REAL(write);
    return write_fails(&n) ? -1 : real(fd, buf, n);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    REAL(pwrite);
    return write_fails(&n) ? -1 : real(fd, buf, n, at);
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    REAL(pwrite64);
    return write_fails(&n) ? -1 : real(fd, buf, n, at);
}

static off_t *synced_size(ino_t ino)
{
    for (size_t i = 0; i < synced_count; i++)
        if (synced[i].ino == ino)
            return &synced[i].size;
    size_t at = synced_count < 64 ? synced_count++ : 63;
    synced[at].ino = ino;
    synced[at].size = 0;
    return &synced[at].size;
}

/* What a dropped page cache leaves: zeros. */
static void drop_unsynced(int fd)
{
    struct stat st;
    char name[64], zero[4096] = "";
    bool was = armed;
    armed = false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        off_t at = *synced_size(st.st_ino);
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd); /* fd itself may append only */
        int other = open(name, O_WRONLY | O_CLOEXEC);
        while (other >= 0 && at < st.st_size) {
            size_t n = st.st_size - at < (off_t)sizeof zero ? (size_t)(st.st_size - at) : sizeof zero;
            if (pwrite(other, zero, n, at) < 0)
                break;
            at += (off_t)n;
        }
        if (other >= 0)
            close(other);
    }
    armed = was;
    errno = error;
}

/* A good sync does nothing but remember: no power is lost in these tests, and thousands of real ones would take
 * minutes. */
static int do_sync(int fd)
{
    struct stat st;
    if (hit(INJECT_SYNC)) {
        if (drop)
            drop_unsynced(fd);
        return -1;
    }
    if (armed && drop && fstat(fd, &st) == 0)
        *synced_size(st.st_ino) = st.st_size;
    return 0;
}

EXPORT int fdatasync(int fd)
{
    return do_sync(fd);
}

EXPORT int fsync(int fd)
{
    return do_sync(fd);
}

EXPORT int rename(const char *from, const char *to)
{
    REAL(rename);
    return hit(INJECT_RENAME) ? -1 : real(from, to);
}

EXPORT int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    REAL(renameat2);
    return hit(INJECT_RENAME) ? -1 : real(a, from, b, to, flags);
}

EXPORT int ftruncate(int fd, off_t size)
{
    REAL(ftruncate);
    return hit(INJECT_TRUNCATE) ? -1 : real(fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64);
    return hit(INJECT_TRUNCATE) ? -1 : real(fd, size);
}

EXPORT int unlink(const char *path)
{
    REAL(unlink);
    return hit(INJECT_UNLINK) ? -1 : real(path);
}
