/* fs.c - see fs.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/fs.h"

#include "base/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

int fs_openat(int dirfd, const char *name, int flags, mode_t mode, int *ret_fd)
{
    int fd;
    do
        fd = openat(dirfd, name, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

int fs_open(const char *path, int flags, mode_t mode, int *ret_fd)
{
    return fs_openat(AT_FDCWD, path, flags, mode, ret_fd);
}

int fs_close(int fd)
{
    /* After EINTR Linux has closed the descriptor; trying again could close somebody else's. */
    if (close(fd) < 0 && errno != EINTR)
        return -errno;
    return 0;
}

int fs_write_all(int fd, const void *buf, size_t len, size_t *ret_done)
{
    const char *p = buf;
    size_t done = 0;
    int rc = 0;
    while (done < len) {
        ssize_t n = write(fd, p + done, len - done);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            rc = -errno;
            break;
        }
        if (n == 0) { /* not possible for regular files with len > 0; never loop on it */
            rc = -EIO;
            break;
        }
        done += (size_t)n;
    }
    if (ret_done)
        *ret_done = done;
    return rc;
}

int fs_pwrite_all(int fd, const void *buf, size_t len, uint64_t offset, size_t *ret_done)
{
    const char *p = buf;
    size_t done = 0;
    int rc = 0;
    while (done < len) {
        ssize_t n = pwrite(fd, p + done, len - done, (off_t)(offset + done));
        if (n < 0) {
            if (errno == EINTR)
                continue;
            rc = -errno;
            break;
        }
        if (n == 0) {
            rc = -EIO;
            break;
        }
        done += (size_t)n;
    }
    if (ret_done)
        *ret_done = done;
    return rc;
}

ssize_t fs_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
    char *p = buf;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, p + done, len - done, (off_t)(offset + done));
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int fs_fdatasync(int fd)
{
    /* EINTR is not retried as a matter of course: whether the pages were written is unknown then, as after any failure.
     */
    return fdatasync(fd) < 0 ? -errno : 0;
}

void fs_begin_writeback(int fd, uint64_t offset, uint64_t len)
{
#if defined(SYNC_FILE_RANGE_WRITE)
    (void)sync_file_range(fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd, (void)offset, (void)len;
#endif
}

int fs_fsync(int fd)
{
    return fsync(fd) < 0 ? -errno : 0;
}

int fs_sync_dir(int dirfd)
{
    if (fsync(dirfd) < 0) {
        /* Some file systems cannot sync a directory and need not. */
        if (errno == EINVAL || errno == ENOTSUP)
            return 0;
        return -errno;
    }
    return 0;
}

int fs_allocate(int fd, uint64_t offset, uint64_t len)
{
    int rc;
    do
        rc = posix_fallocate(fd, (off_t)offset, (off_t)len);
    while (rc == EINTR);
    return rc == EINVAL ? -EOPNOTSUPP : -rc;
}

int fs_truncate(int fd, uint64_t len)
{
    int rc;
    do
        rc = ftruncate(fd, (off_t)len);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int fs_renameat(int dirfd, const char *from, const char *to)
{
    return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

int fs_unlinkat(int dirfd, const char *name)
{
    return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

/* path[0..len) is below the directory that is synced. */
static int sync_parent(const char *path, size_t len)
{
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    AW_AUTOFREE char *dir = len > 0 ? strndup(path, len) : strdup(".");
    AW_AUTOCLOSE int fd = -1;
    if (!dir)
        return -ENOMEM;
    int rc = fs_open(dir, O_RDONLY | O_DIRECTORY, 0, &fd);
    return rc == 0 ? fs_sync_dir(fd) : rc == -EACCES ? 0 : rc;
}

int fs_mkdir_p(const char *path, mode_t mode)
{
    AW_AUTOFREE char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool last = *p == '\0';
        *p = '\0';
        bool made = mkdir(copy, mode) == 0;
        if (!made && errno != EEXIST)
            return -errno;
        int rc = made || last ? sync_parent(copy, (size_t)(p - copy)) : 0;
        if (rc < 0)
            return rc;
        if (last)
            break;
        *p = '/';
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int lock_file(int fd, int how)
{
    int rc;
    do
        rc = flock(fd, how | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int fs_lock(int fd)
{
    return lock_file(fd, LOCK_EX);
}

int fs_lock_shared(int fd)
{
    return lock_file(fd, LOCK_SH);
}

int fs_unlock(int fd)
{
    return lock_file(fd, LOCK_UN);
}

int fs_map_blank(void *at, size_t len)
{
    return mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -errno
                                                                                                               : 0;
}

int fs_map_shared(int fd, void *at, size_t len, uint64_t offset, void **ret)
{
    void *p = mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, (off_t)offset);
    if (p == MAP_FAILED)
        return -errno;
    *ret = p;
    return 0;
}

int fs_map_reserve(size_t len, void **ret)
{
    void *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    *ret = p;
    return 0;
}

int fs_map_memory(size_t len, void **ret)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    *ret = p;
    return 0;
}

void fs_unmap(void *p, size_t len)
{
    if (p)
        (void)munmap(p, len); /* can only fail for arguments that are no mapping */
}

int fs_free_bytes(int dirfd, uint64_t *ret)
{
    struct statvfs v;
    int rc;
    do
        rc = fstatvfs(dirfd, &v);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return -errno;
    *ret = (uint64_t)v.f_bavail * (uint64_t)v.f_frsize;
    return 0;
}

int fs_read_file(const char *path, size_t max, char **ret, size_t *ret_len)
{
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_open(path, O_RDONLY, 0, &fd);
    if (rc < 0)
        return rc;
    size_t cap = 4096, len = 0;
    AW_AUTOFREE char *buf = malloc(cap + 1);
    if (!buf)
        return -ENOMEM;
    for (;;) {
        ssize_t n = read(fd, buf + len, cap - len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            break;
        len += (size_t)n;
        if (len > max)
            return -EFBIG;
        if (len == cap) {
            char *bigger = realloc(buf, cap * 2 + 1);
            if (!bigger)
                return -ENOMEM;
            buf = bigger;
            cap *= 2;
        }
    }
    buf[len] = '\0';
    *ret = base_take(buf);
    if (ret_len)
        *ret_len = len;
    return 0;
}

int fs_replace_at(int dirfd, const char *name, const void *buf, size_t len, mode_t mode)
{
    char tmp[300];
    if (snprintf(tmp, sizeof tmp, ".%s.tmp", name) >= (int)sizeof tmp)
        return -ENAMETOOLONG;
    int fd = -1;
    int rc = fs_openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode, &fd);
    if (rc < 0)
        return rc;
    rc = fs_write_all(fd, buf, len, NULL);
    if (rc == 0)
        rc = fs_fsync(fd);
    int rc2 = fs_close(fd);
    if (rc == 0)
        rc = rc2;
    if (rc == 0)
        rc = fs_renameat(dirfd, tmp, name);
    if (rc < 0) {
        (void)fs_unlinkat(dirfd, tmp); /* the first error is the one to report */
        return rc;
    }
    return fs_sync_dir(dirfd);
}
