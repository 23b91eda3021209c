/* disk_private.h - what a recording is made of; shared by disk.c and disk_model.c. SPDX-License-Identifier: Apache-2.0
 */
#ifndef DISK_PRIVATE_H
#define DISK_PRIVATE_H

#include "disk.h"

#define DISK_CHANGES 20000u
#define DISK_BYTES (64u << 20)
#define DISK_PATH_MAX 160

enum change_kind {
    CHANGE_CREATE,       /* path, inode */
    CHANGE_MKDIR,        /* path */
    CHANGE_RENAME,       /* path, to */
    CHANGE_UNLINK,       /* path */
    CHANGE_WRITE,        /* inode, at, len, bytes */
    CHANGE_SIZE,         /* inode, at: the new size */
    CHANGE_TRUNCATE,     /* inode: to nothing */
    CHANGE_SYNC,         /* inode */
    CHANGE_SYNC_FAILED,  /* inode; at: 1 if what is lost is read as it was before */
    CHANGE_SYNC_DIR,     /* path */
    CHANGE_ACKNOWLEDGED, /* at: the number */
};
struct change {
    enum change_kind kind;
    uint64_t inode, at;
    size_t len, bytes; /* bytes: offset in disk.bytes */
    char path[DISK_PATH_MAX], to[DISK_PATH_MAX];
};
struct disk {
    size_t count, bytes_used;
    bool overflowed;
    uint64_t syncs, failed_syncs; /* since disk_fail_syncs() */
    size_t first_failure;         /* the change */
    char failed[DISK_PATH_MAX];   /* whose sync that was */
    struct change change[DISK_CHANGES];
    uint8_t bytes[DISK_BYTES];
};

/* What of a file is dirty, as it is on the disk: fn(arg, offset, bytes, length) for each page. false: no memory. */
bool disk_each_lost_page(const struct disk *disk, uint64_t inode,
                         void (*fn)(void *arg, uint64_t at, const uint8_t *bytes, size_t len), void *arg);

#endif
