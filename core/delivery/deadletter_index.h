/* deadletter_index.h - reads a whole dead-letter file: what is in it, and whether it is as it was written.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Beside SINK.jsonl stands SINK.head, which tells number, end and hash of the last line known to be on disk: without it
 * lines taken off the end would leave no trace. It is written after the line, so the file may be ahead of it. Two slots
 * of 128 bytes, written in turn (n modulo 2): "n end hash crc" in decimal and hex, padded with blanks.
 */
#ifndef AW_DEADLETTER_INDEX_H
#define AW_DEADLETTER_INDEX_H

#include "delivery/deadletter_line.h"

struct dl_head {
    bool known;
    uint64_t number, end; /* of the last line, and the file's size with it */
    char hash[DL_HEX + 1];
};
#define DL_HEAD_SIZE 256u
int dl_head_read(int fd, struct dl_head *ret); /* 0 (also when it knows nothing) or -errno */
int dl_head_write(int fd, const struct dl_head *head);

/* One line of the file that could be read. */
struct dl_entry {
    enum dl_type type;
    bool sound;    /* has the hash it bears */
    bool replayed; /* a letter that is done with */
    uint64_t number, line, offset, seq, attempts, length;
    int64_t time_ns;
    uint64_t refused_at; /* letters: 1 + index of the newest entry that tells of a refused replay; 0: none */
    char prev[DL_HEX + 1], hash[DL_HEX + 1];
};

struct dl_finding {
    int kind;                      /* AW_FINDING_* */
    uint64_t line, offset, number; /* number 0: unknown */
    const char *text;              /* one sentence; valid during the call */
};
typedef void (*dl_finding_fn)(void *arg, const struct dl_finding *finding);

struct dl_purge {
    uint64_t first, last;
    char hash[DL_HEX + 1]; /* of the line `last` */
};

struct dl_index {
    struct dl_entry *entries; /* in the order of the file */
    size_t count, capacity;
    struct dl_purge *purges; /* sorted by first */
    size_t purge_count, purge_capacity;
    uint64_t purged_letters;
    uint64_t findings;
    char first_finding[200]; /* "line 3: …"; "" */
    uint64_t size;           /* of the file */
    uint64_t good;           /* end of the last whole line, when what follows is an unfinished write; else size */
    uint64_t last_number;    /* highest */
    char last_hash[DL_HEX + 1];
};
/* fd -1: there is no file. fn may be NULL. 0 whatever is found, or -errno when the file could not be read. To be freed
 * also on failure. */
int dl_index_read(int fd, const struct dl_head *head, dl_finding_fn fn, void *arg, struct dl_index *ret);
void dl_index_free(struct dl_index *index);
/* The line of an entry, read again: malloc'd. -EBADMSG when it is not there any more. */
int dl_index_line(int fd, const struct dl_entry *entry, char **ret, struct dl_line *ret_line);

#endif
