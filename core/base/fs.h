/* fs.h - the file system as the core uses it: EINTR and partial transfers handled, errors as -errno.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * All file access of the core goes through here. Functions return 0 (or a count) or -errno and are safe in any thread.
 * Descriptors are always O_CLOEXEC.
 */
#ifndef AW_FS_H
#define AW_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

int fs_open(const char *path, int flags, mode_t mode, int *ret_fd);
int fs_openat(int dirfd, const char *name, int flags, mode_t mode, int *ret_fd);
int fs_close(int fd); /* reports the error; the descriptor is closed in any case */
int fs_write_all(int fd, const void *buf, size_t len,
                 size_t *ret_done); /* ret_done (may be NULL): bytes written, also on error */
int fs_pwrite_all(int fd, const void *buf, size_t len, uint64_t offset, size_t *ret_done);
ssize_t fs_pread_full(int fd, void *buf, size_t len, uint64_t offset); /* short only at end of file */
int fs_fdatasync(int fd);
void fs_begin_writeback(int fd, uint64_t offset, uint64_t len); /* a hint; errors show with the next fs_fdatasync() */
int fs_fsync(int fd);
int fs_sync_dir(int dirfd);
int fs_allocate(int fd, uint64_t offset, uint64_t len); /* posix_fallocate; -EOPNOTSUPP is for the caller to ignore */
int fs_truncate(int fd, uint64_t len);
int fs_renameat(int dirfd, const char *from, const char *to);
int fs_unlinkat(int dirfd, const char *name);
/* mode for what is made; existing directories are left as they are. What is made, and path in any case, has its name on
 * disk then: whoever made it may have died before that. A parent that may not be read is not synced. */
int fs_mkdir_p(const char *path, mode_t mode);
int fs_lock(int fd);                    /* flock exclusive, does not wait: -EWOULDBLOCK */
int fs_lock_shared(int fd);             /* the same, shared */
int fs_unlock(int fd);                  /* at once, also while a mapping or a forked child keeps the file open */
int fs_map_blank(void *at, size_t len); /* in place of a mapping: zeros of this process alone */
int fs_map_shared(int fd, void *at, size_t len, uint64_t offset, void **ret); /* MAP_SHARED; at != NULL: MAP_FIXED */
int fs_map_reserve(size_t len, void **ret);                                   /* PROT_NONE address space */
int fs_map_memory(size_t len, void **ret);                                    /* zeros that belong to no file */
void fs_unmap(void *p, size_t len);
int fs_free_bytes(int dirfd, uint64_t *ret); /* available to this user */
/* A whole small file, NUL-terminated; -EFBIG over max. *ret is malloc'd. */
int fs_read_file(const char *path, size_t max, char **ret, size_t *ret_len);
/* Replaces a file atomically: temporary, write, fsync, rename, directory fsync. */
int fs_replace_at(int dirfd, const char *name, const void *buf, size_t len, mode_t mode);

#endif
