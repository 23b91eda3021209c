/* inject.c - see inject.h. SPDX-License-Identifier: Apache-2.0
 *
 * The wrappers enter the kernel themselves: looking the real function up could allocate, and would find a sanitizer's.
 */
#include "config.h"

/* The wrappers have the plain and the 64-bit names: neither may be an alias of the other here. */
#undef _FORTIFY_SOURCE

#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRAPPER __attribute__((visibility("default"), used))

const char *const inject_names[INJECT_KINDS] = {"malloc",   "open",   "write", "sync", "mmap",
                                                "allocate", "rename", "read",  "space"};

/* The plan's parts; threads of the tested process may be in a call while it is armed anew. */
static struct {
    atomic_int kind, error;
    atomic_uint_fast64_t nth;
    atomic_bool persistent;
} plan;
static atomic_bool armed;
static atomic_uint_fast64_t calls, failed;

static atomic_bool deadly;

/* One call that changes files: the last of this process? */
static void meet_death(void)
{
    if (atomic_load_explicit(&armed, memory_order_acquire) && atomic_load(&deadly) &&
        atomic_fetch_add(&calls, 1) + 1 == plan.nth)
        (void)syscall(SYS_kill, getpid(), SIGKILL);
}

/* true: this call fails, and errno says why. */
static bool hit(enum inject_kind kind)
{
    if (kind == INJECT_OPEN || kind == INJECT_WRITE || kind == INJECT_SYNC || kind == INJECT_ALLOCATE ||
        kind == INJECT_RENAME)
        meet_death();
    if (!atomic_load_explicit(&armed, memory_order_acquire) || (int)kind != plan.kind)
        return false;
    uint64_t n = atomic_fetch_add(&calls, 1) + 1;
    if (n < plan.nth || (n > plan.nth && !plan.persistent))
        return false;
    atomic_fetch_add(&failed, 1);
    errno = plan.error;
    return true;
}

uint64_t inject_calls(void)
{
    return atomic_load(&calls);
}

uint64_t inject_failed(void)
{
    return atomic_load(&failed);
}

void inject_disarm(void)
{
    atomic_store(&armed, false);
}

/* ---- files ---- */
static int do_open(int dir, const char *path, int flags, mode_t mode)
{
    if (hit(INJECT_OPEN))
        return -1;
    if ((flags & O_CREAT) && syscall(SYS_faccessat, dir, path, F_OK) != 0 && hit(INJECT_SPACE))
        return -1;
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

#include "wrap_open.h"

/* Only files take room; what a pipe or a terminal gets is no matter. */
static bool is_full(int fd)
{
    struct stat st;
    return atomic_load_explicit(&armed, memory_order_acquire) && plan.kind == INJECT_SPACE && fstat(fd, &st) == 0 &&
           S_ISREG(st.st_mode) && hit(INJECT_SPACE);
}

/* How much of a transfer goes through: all, none (-1), or half. */
static bool cut(enum inject_kind kind, size_t *len)
{
    if (!hit(kind))
        return true;
    if (plan.error)
        return false;
    *len = *len > 1 ? *len / 2 : *len;
    return true;
}

WRAPPER ssize_t write(int fd, const void *buf, size_t len)
{
    return cut(INJECT_WRITE, &len) && !is_full(fd) ? (ssize_t)syscall(SYS_write, fd, buf, len) : -1;
}
WRAPPER ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
    return cut(INJECT_WRITE, &len) && !is_full(fd) ? (ssize_t)syscall(SYS_pwrite64, fd, buf, len, at) : -1;
}
WRAPPER ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    return cut(INJECT_WRITE, &len) && !is_full(fd) ? (ssize_t)syscall(SYS_pwrite64, fd, buf, len, at) : -1;
}
WRAPPER ssize_t writev(int fd, const struct iovec *iov, int count)
{
    size_t len = iov[0].iov_len, whole = len;
    if (!cut(INJECT_WRITE, &len) || is_full(fd))
        return -1;
    if (len < whole)
        return (ssize_t)syscall(SYS_write, fd, iov[0].iov_base, len);
    return (ssize_t)syscall(SYS_writev, fd, iov, count);
}
WRAPPER ssize_t read(int fd, void *buf, size_t len)
{
    return cut(INJECT_READ, &len) ? (ssize_t)syscall(SYS_read, fd, buf, len) : -1;
}
WRAPPER ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
    return cut(INJECT_READ, &len) ? (ssize_t)syscall(SYS_pread64, fd, buf, len, at) : -1;
}
WRAPPER ssize_t pread64(int fd, void *buf, size_t len, off64_t at)
{
    return cut(INJECT_READ, &len) ? (ssize_t)syscall(SYS_pread64, fd, buf, len, at) : -1;
}
WRAPPER int fdatasync(int fd)
{
    return hit(INJECT_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
WRAPPER int fsync(int fd)
{
    return hit(INJECT_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

static void *do_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (fd >= 0 && hit(INJECT_MMAP))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);
}
WRAPPER void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    return do_mmap(at, len, prot, flags, fd, offset);
}
WRAPPER void *mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t offset)
{
    return do_mmap(at, len, prot, flags, fd, offset);
}

WRAPPER int fallocate(int fd, int mode, off_t at, off_t len)
{
    return hit(INJECT_ALLOCATE) || is_full(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}
WRAPPER int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    return hit(INJECT_ALLOCATE) || is_full(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}
/* These two return the error and leave errno alone. */
static int do_posix_fallocate(int fd, off_t at, off_t len)
{
    int saved = errno, r = 0;
    if (hit(INJECT_ALLOCATE) || is_full(fd) || syscall(SYS_fallocate, fd, 0, at, len))
        r = errno;
    errno = saved;
    return r;
}
WRAPPER int posix_fallocate(int fd, off_t at, off_t len)
{
    return do_posix_fallocate(fd, at, len);
}
WRAPPER int posix_fallocate64(int fd, off64_t at, off64_t len)
{
    return do_posix_fallocate(fd, at, len);
}
WRAPPER int ftruncate(int fd, off_t len)
{
    return hit(INJECT_ALLOCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}
WRAPPER int ftruncate64(int fd, off64_t len)
{
    return hit(INJECT_ALLOCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

static int do_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return hit(INJECT_RENAME) || hit(INJECT_SPACE) ? -1
                                                   : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
WRAPPER int rename(const char *from, const char *to)
{
    return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}
WRAPPER int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return do_rename(from_dir, from, to_dir, to, 0);
}
WRAPPER int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return do_rename(from_dir, from, to_dir, to, flags);
}

WRAPPER int unlink(const char *path)
{
    meet_death();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
WRAPPER int unlinkat(int dir, const char *path, int flags)
{
    meet_death();
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

/* ---- memory ---- */
#ifdef AW_SANITIZED
bool inject_can_malloc(void)
{
    return false;
}

static void find_modules(void)
{
}
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

/* Only allocations by code that promises to survive their failure are made to fail: ours, and the libraries known to
 * cope. libltdl, libconfig and the dynamic linker end the process or worse. */
static const char *const fallible[] = {"libauditwell", "/sink_", "libsqlite3", "libpcre2", "libzstd", "/mock_"};
static struct {
    uintptr_t from, to;
} modules[16];
static size_t module_count;

static int note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (size_t i = 0; i < sizeof fallible / sizeof fallible[0]; i++) {
        if (!info->dlpi_name || !strstr(info->dlpi_name, fallible[i]))
            continue;
        for (int k = 0; k < info->dlpi_phnum && module_count < sizeof modules / sizeof modules[0]; k++) {
            if (info->dlpi_phdr[k].p_type == PT_LOAD && (info->dlpi_phdr[k].p_flags & PF_X)) {
                modules[module_count].from = info->dlpi_addr + info->dlpi_phdr[k].p_vaddr;
                modules[module_count].to = modules[module_count].from + info->dlpi_phdr[k].p_memsz;
                module_count++;
            }
        }
        break;
    }
    return 0;
}

static void find_modules(void)
{
    module_count = 0;
    (void)dl_iterate_phdr(note_module, NULL);
}

static bool no_memory(const void *caller)
{
    if (!atomic_load_explicit(&armed, memory_order_acquire) || plan.kind != INJECT_MALLOC)
        return false;
    for (size_t i = 0; i < module_count; i++) {
        if ((uintptr_t)caller >= modules[i].from && (uintptr_t)caller < modules[i].to)
            return hit(INJECT_MALLOC);
    }
    return false;
}
#define NO_MEMORY() no_memory(__builtin_return_address(0))

WRAPPER void *malloc(size_t size)
{
    return NO_MEMORY() ? NULL : __libc_malloc(size);
}
WRAPPER void *calloc(size_t n, size_t size)
{
    return NO_MEMORY() ? NULL : __libc_calloc(n, size);
}
WRAPPER void *realloc(void *p, size_t size)
{
    return NO_MEMORY() ? NULL : __libc_realloc(p, size);
}
WRAPPER void *aligned_alloc(size_t align, size_t size)
{
    return NO_MEMORY() ? NULL : __libc_memalign(align, size);
}
WRAPPER int posix_memalign(void **ret, size_t align, size_t size)
{
    void *p = NO_MEMORY() ? NULL : __libc_memalign(align, size);
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}
WRAPPER char *strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = NO_MEMORY() ? NULL : __libc_malloc(n);
    return p ? memcpy(p, s, n) : NULL;
}
WRAPPER char *strndup(const char *s, size_t max)
{
    size_t n = strnlen(s, max);
    char *p = NO_MEMORY() ? NULL : __libc_malloc(n + 1);
    if (!p)
        return NULL;
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

bool inject_can_malloc(void)
{
    return true;
}
#endif

void inject_arm_death(uint64_t nth)
{
    plan.kind = -1;
    plan.nth = nth;
    atomic_store(&calls, 0);
    atomic_store(&failed, 0);
    atomic_store(&deadly, true);
    atomic_store_explicit(&armed, true, memory_order_release);
}

void inject_arm(const struct inject_plan *p)
{
    atomic_store(&deadly, false);
    plan.kind = (int)p->kind;
    plan.error = p->error;
    plan.nth = p->nth;
    plan.persistent = p->persistent;
    atomic_store(&calls, 0);
    atomic_store(&failed, 0);
    find_modules();
    atomic_store_explicit(&armed, true, memory_order_release);
}
