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
    struct change change[DISK_CHANGES];
    uint8_t bytes[DISK_BYTES];
};

#endif
