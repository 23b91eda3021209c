/* disk.h - a disk that forgets: what a run did to its files, and what a power loss may leave of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Linking disk.c into a program puts wrappers around the system's calls that change files (as inject.c does; the
 * program must export its symbols). While recording, every change below one directory is noted in the order in which it
 * happened, with what was synced, and with the events that were acknowledged in between. Afterwards the state of the
 * disk at any point can be laid out as a directory: with all that was written, or only with what was synced, or with
 * some of the rest, or with the last write torn.
 *
 * A sync can be made to fail. What was not synced of that file then never reaches the disk, by no later sync either,
 * unless its page is written again; and the program that goes on reads it as it wrote it, or as it was before.
 *
 * Writes through mappings are not noted: what is written so must not be needed after a power loss.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk; /* a recording, in memory shared with forked children */
struct disk *disk_create(void);
void disk_destroy(struct disk *disk);

/* From now on, changes below root (which must be empty or absent) are noted. One recording at a time. */
void disk_record(struct disk *disk, const char *root);
void disk_acknowledge(uint64_t number); /* the program was told that this event is safe */
void disk_stop(void);
bool disk_overflowed(const struct disk *disk); /* more happened than there is room for */

/* From now on syncs below root are counted; from the nth on, `count` of them fail. Before that, none does. */
struct disk_sync_failure {
    uint64_t nth, count;
    int error;    /* errno */
    bool reverts; /* what was lost is read as it was before; else as it was written */
};
void disk_fail_syncs(const struct disk_sync_failure *plan);
uint64_t disk_syncs(const struct disk *disk);        /* since then, failed ones among them */
uint64_t disk_failed_syncs(const struct disk *disk); /* of these, failed */
/* Whose the nth sync was, below root, of a recording in which none failed; NULL: there were fewer. */
const char *disk_sync_name(const struct disk *disk, uint64_t nth);
/* The first that failed: how many changes came before. ret_name: whose sync it was, below root; may be NULL. */
size_t disk_first_failure(const struct disk *disk, const char **ret_name);

/* In a process that starts after the loss: syncs cost nothing, and the machine says that it was booted anew. */
void disk_new_boot(const char *boot_id_file);

enum disk_keeps {
    DISK_ALL,         /* every change reached the disk */
    DISK_SYNCED,      /* contents as last synced; names as the directories were last synced */
    DISK_SYNCED_DATA, /* contents as last synced; names as they are: a file system that orders them */
    DISK_SOME,        /* of what was not synced, each change by chance; names as they are */
};
struct disk_state {
    size_t at; /* changes [0, at) happened */
    enum disk_keeps keeps;
    size_t torn;   /* DISK_ALL: so many bytes of change `at`, a write, reached the disk, too */
    uint64_t seed; /* DISK_SOME */
};
size_t disk_changes(const struct disk *disk);
size_t disk_write_len(const struct disk *disk, size_t change); /* bytes, if it is a write; else 0 */
/* Lays the state out below root, which is made. false: could not. */
bool disk_lay_out(const struct disk *disk, const struct disk_state *state, const char *root);
/* Numbers acknowledged before change `at`; ret has room for max. */
size_t disk_acknowledged(const struct disk *disk, size_t at, uint64_t *ret, size_t max);

#endif
