/* disk.c - see disk.h: the recording. The model that lays it out is disk_model.c. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

/* The wrappers have the plain and the 64-bit names: neither may be an alias of the other here. */
#undef _FORTIFY_SOURCE

#include "disk_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRAPPER __attribute__((visibility("default"), used))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* order of changes = order of what the kernel did */
static struct disk *recording;                            /* mutex */
static char root[PATH_MAX];                               /* mutex */
static atomic_bool on;
static const char *boot_id_file;
static struct disk_sync_failure failure; /* mutex; nth 0: none */

struct disk *disk_create(void)
{
    struct disk *d = mmap(NULL, sizeof *d, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return d == MAP_FAILED ? NULL : d;
}

void disk_destroy(struct disk *disk)
{
    (void)munmap(disk, sizeof *disk);
}

void disk_record(struct disk *disk, const char *dir)
{
    recording = disk;
    (void)snprintf(root, sizeof root, "%s", dir);
    atomic_store(&on, true);
}

void disk_stop(void)
{
    atomic_store(&on, false);
}

bool disk_overflowed(const struct disk *disk)
{
    return disk->overflowed;
}

void disk_fail_syncs(const struct disk_sync_failure *plan)
{
    pthread_mutex_lock(&mutex);
    failure = *plan;
    recording->syncs = recording->failed_syncs = 0;
    pthread_mutex_unlock(&mutex);
}

void disk_new_boot(const char *file)
{
    boot_id_file = file;
}

/* ---- noting ---- */

static bool begin(void)
{
    if (!atomic_load_explicit(&on, memory_order_acquire))
        return false;
    pthread_mutex_lock(&mutex);
    return true;
}

static void end(bool begun)
{
    int saved = errno;
    if (begun)
        pthread_mutex_unlock(&mutex);
    errno = saved;
}

/* "sub/name" below root; false: elsewhere. */
static bool below_root(const char *path, char out[DISK_PATH_MAX])
{
    size_t n = strlen(root);
    if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return false;
    return (size_t)snprintf(out, DISK_PATH_MAX, "%s", path[n] ? path + n + 1 : "") < DISK_PATH_MAX;
}

static bool path_of_fd(int fd, char out[DISK_PATH_MAX])
{
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return below_root(path, out);
}

static bool path_at(int dir, const char *name, char out[DISK_PATH_MAX])
{
    char path[PATH_MAX + 300], base[DISK_PATH_MAX];
    if (name[0] == '/')
        return below_root(name, out);
    if (dir == AT_FDCWD || !path_of_fd(dir, base))
        return false;
    (void)snprintf(path, sizeof path, "%s/%s%s%s", root, base, base[0] ? "/" : "", name);
    return below_root(path, out);
}

static struct change *note(enum change_kind kind)
{
    if (recording->count == DISK_CHANGES) {
        recording->overflowed = true;
        return NULL;
    }
    struct change *c = &recording->change[recording->count++];
    *c = (struct change){.kind = kind};
    return c;
}

static void note_name(enum change_kind kind, const char *path, uint64_t inode)
{
    struct change *c = note(kind);
    if (!c)
        return;
    (void)snprintf(c->path, sizeof c->path, "%s", path);
    c->inode = inode;
}

static uint64_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void note_data(int fd, const void *bytes, size_t len, uint64_t at)
{
    char path[DISK_PATH_MAX];
    if (!path_of_fd(fd, path))
        return;
    struct change *c = note(CHANGE_WRITE);
    if (!c)
        return;
    if (len > DISK_BYTES - recording->bytes_used) {
        recording->overflowed = true;
        len = 0;
    }
    c->inode = inode_of(fd);
    c->at = at;
    c->len = len;
    c->bytes = recording->bytes_used;
    memcpy(recording->bytes + recording->bytes_used, bytes, len);
    recording->bytes_used += len;
}

void disk_acknowledge(uint64_t number)
{
    bool begun = begin();
    struct change *c = begun ? note(CHANGE_ACKNOWLEDGED) : NULL;
    if (c)
        c->at = number;
    end(begun);
}

/* ---- files ---- */

static int do_open(int dir, const char *name, int flags, mode_t mode)
{
    if (boot_id_file && strcmp(name, "/proc/sys/kernel/random/boot_id") == 0)
        return (int)syscall(SYS_openat, AT_FDCWD, boot_id_file, flags, mode);
    bool begun = (flags & (O_CREAT | O_TRUNC)) != 0 && begin();
    char path[DISK_PATH_MAX];
    bool ours = begun && path_at(dir, name, path);
    bool absent = ours && syscall(SYS_faccessat, dir, name, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
    if (ours && fd >= 0) {
        if (absent)
            note_name(CHANGE_CREATE, path, inode_of(fd));
        else if (flags & O_TRUNC)
            note_name(CHANGE_TRUNCATE, path, inode_of(fd));
    }
    end(begun);
    return fd;
}

#include "wrap_open.h"

/* Where a write without an offset went: the position behind it is known afterwards, also with O_APPEND. */
static ssize_t do_write(int fd, const struct iovec *iov, int count)
{
    bool begun = begin();
    ssize_t n = (ssize_t)syscall(SYS_writev, fd, iov, count);
    off_t behind = n > 0 && begun ? lseek(fd, 0, SEEK_CUR) : -1;
    size_t left = n > 0 ? (size_t)n : 0;
    for (int i = 0; i < count && left > 0 && behind >= 0; i++) {
        size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;
        note_data(fd, iov[i].iov_base, len, (uint64_t)behind - left);
        left -= len;
    }
    end(begun);
    return n;
}
WRAPPER ssize_t write(int fd, const void *buf, size_t len)
{
    const struct iovec one = {(void *)(uintptr_t)buf, len};
    return do_write(fd, &one, 1);
}
WRAPPER ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return do_write(fd, iov, count);
}
static ssize_t do_pwrite(int fd, const void *buf, size_t len, off_t at)
{
    bool begun = begin();
    ssize_t n = (ssize_t)syscall(SYS_pwrite64, fd, buf, len, at);
    if (begun && n > 0)
        note_data(fd, buf, (size_t)n, (uint64_t)at);
    end(begun);
    return n;
}
WRAPPER ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
    return do_pwrite(fd, buf, len, at);
}
WRAPPER ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    return do_pwrite(fd, buf, len, at);
}

static void put_back(void *fd, uint64_t at, const uint8_t *bytes, size_t len)
{
    if (syscall(SYS_pwrite64, *(const int *)fd, bytes, len, at) != (ssize_t)len)
        abort(); /* it was opened to be written, and has that page */
}

/* A sync below root that fails: true, and errno is set. mutex held. */
static bool sync_fails(int fd, const char *path, const struct stat *st)
{
    uint64_t n = ++recording->syncs;
    if (failure.nth == 0 || n < failure.nth || n - failure.nth >= failure.count)
        return false;
    if (recording->failed_syncs++ == 0) {
        recording->first_failure = recording->count;
        (void)snprintf(recording->failed, sizeof recording->failed, "%s", *path ? path : ".");
    }
    if (!S_ISDIR(st->st_mode)) {
        bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
        bool reverts = failure.reverts && writable;
        if (reverts && !disk_each_lost_page(recording, st->st_ino, put_back, &fd))
            abort();
        struct change *c = note(CHANGE_SYNC_FAILED);
        if (c) {
            (void)snprintf(c->path, sizeof c->path, "%s", path);
            c->inode = st->st_ino;
            c->at = reverts;
        }
    }
    errno = failure.error;
    return true;
}

static int do_sync(long call, int fd)
{
    char path[DISK_PATH_MAX];
    struct stat st;
    if (boot_id_file)
        return 0;
    bool begun = begin();
    if (!begun)
        return (int)syscall(call, fd);
    bool ours = path_of_fd(fd, path) && fstat(fd, &st) == 0;
    bool fails = ours && sync_fails(fd, path, &st);
    if (ours && !fails) /* nothing is lost in truth: this machine stays up */
        note_name(S_ISDIR(st.st_mode) ? CHANGE_SYNC_DIR : CHANGE_SYNC, path, st.st_ino);
    int r = fails ? -1 : ours ? 0 : (int)syscall(call, fd);
    end(begun);
    return r;
}
WRAPPER int fdatasync(int fd)
{
    return do_sync(SYS_fdatasync, fd);
}
WRAPPER int fsync(int fd)
{
    return do_sync(SYS_fsync, fd);
}

/* Sizes: what grows is zeros. */
static void note_size(int fd, uint64_t size)
{
    char path[DISK_PATH_MAX];
    if (!path_of_fd(fd, path))
        return;
    struct change *c = note(CHANGE_SIZE);
    if (c) {
        c->inode = inode_of(fd);
        c->at = size;
    }
}
static int do_ftruncate(int fd, off_t len)
{
    bool begun = begin();
    int r = (int)syscall(SYS_ftruncate, fd, len);
    if (begun && r == 0)
        note_size(fd, (uint64_t)len);
    end(begun);
    return r;
}
WRAPPER int ftruncate(int fd, off_t len)
{
    return do_ftruncate(fd, len);
}
WRAPPER int ftruncate64(int fd, off64_t len)
{
    return do_ftruncate(fd, len);
}
/* Returns the error and leaves errno alone. */
static int do_posix_fallocate(int fd, off_t at, off_t len)
{
    int saved = errno, r = 0;
    struct stat st;
    bool begun = begin();
    if (syscall(SYS_fallocate, fd, 0, at, len))
        r = errno;
    else if (begun && fstat(fd, &st) == 0)
        note_size(fd, (uint64_t)st.st_size);
    end(begun);
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

/* ---- names ---- */

static int do_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char a[DISK_PATH_MAX], b[DISK_PATH_MAX];
    bool begun = begin();
    bool ours = begun && path_at(from_dir, from, a) && path_at(to_dir, to, b);
    int r = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    struct change *c = ours && r == 0 ? note(CHANGE_RENAME) : NULL;
    if (c) {
        (void)snprintf(c->path, sizeof c->path, "%s", a);
        (void)snprintf(c->to, sizeof c->to, "%s", b);
    }
    end(begun);
    return r;
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
static int do_unlink(int dir, const char *name, int flags)
{
    char path[DISK_PATH_MAX];
    bool begun = begin();
    bool ours = begun && path_at(dir, name, path);
    int r = (int)syscall(SYS_unlinkat, dir, name, flags);
    if (ours && r == 0)
        note_name(CHANGE_UNLINK, path, 0);
    end(begun);
    return r;
}
WRAPPER int unlink(const char *name)
{
    return do_unlink(AT_FDCWD, name, 0);
}
WRAPPER int unlinkat(int dir, const char *name, int flags)
{
    return do_unlink(dir, name, flags);
}
static int do_mkdir(int dir, const char *name, mode_t mode)
{
    char path[DISK_PATH_MAX];
    bool begun = begin();
    bool ours = begun && path_at(dir, name, path);
    int r = (int)syscall(SYS_mkdirat, dir, name, mode);
    if (ours && r == 0)
        note_name(CHANGE_MKDIR, path, 0);
    end(begun);
    return r;
}
WRAPPER int mkdir(const char *name, mode_t mode)
{
    return do_mkdir(AT_FDCWD, name, mode);
}
WRAPPER int mkdirat(int dir, const char *name, mode_t mode)
{
    return do_mkdir(dir, name, mode);
}
