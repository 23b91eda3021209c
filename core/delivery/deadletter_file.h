/* deadletter_file.h - an open dead-letter file; shared by deadletter.c, deadletter_mend.c and deadletter_purge.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_DEADLETTER_FILE_H
#define AW_DEADLETTER_FILE_H

#include "delivery/deadletter.h"

#include "base/fs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

struct deadletter {
    char *dir, *path, *sink;
    char *file, *head_file, *fresh_file; /* names in dir: SINK.jsonl, SINK.head, .SINK.jsonl.new */
    struct diag_out diag;
    struct hash_sha256 *sha;
    int dirfd, fd;
    ino_t inode;     /* of fd */
    bool checked;    /* this file was read wholly and is in order, up to what the head says */
    int claim_fd;    /* SINK.replay */
    ino_t looked_at; /* the file that deadletter_mend() gave out */
    /* between dl_file_begin() and dl_file_end() */
    int head_fd; /* holds the lock */
    struct dl_head head;
    uint64_t number, size; /* of the last line; of the file */
    char hash[DL_HEX + 1];
};

/* Takes the lock and makes sure that the file is there and in order. 0 or -errno; dl_file_end() in any case. */
int dl_file_begin(struct deadletter *dl);
void dl_file_end(struct deadletter *dl);
/* Opens what bears the file's name now. */
int dl_file_open(struct deadletter *dl);
/* Appends a line that dl_end() has ended; dl->hash is its hash already. Durable with 0. */
int dl_file_append(struct deadletter *dl, const struct dl_text *line);
/* Tells the head of the line dl->number. A failure is no loss: the head is behind then, which is allowed. */
void dl_file_tell_head(struct deadletter *dl);
/* The new file (synced here) takes the name; dl->number and dl->hash are its last line's. */
int dl_file_replace(struct deadletter *dl, int fresh, const char *aside);
int dl_file_fresh(struct deadletter *dl, int *ret_fd);

/* deadletter_mend.c: sets dl->number, hash, size from the file, after setting aside what must be. */
int dl_file_mend(struct deadletter *dl);
/* A free name SINK.jsonl.WHAT-TIME. */
int dl_file_aside_name(struct deadletter *dl, const char *what, char *out, size_t size);

#endif
