/* examine.h - looks at a journal directory without changing it, also while a process has it open.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The same reading as recovery's (recovery.c), told instead of mended. While a process writes (`live`), what it may be
 * writing just then is not judged: the end of the newest segment, the ring, what is missing at the very end.
 */
#ifndef AW_EXAMINE_H
#define AW_EXAMINE_H

#include "journal/journal.h"
#include "journal/segment.h"

struct examine_segment {
    char file[SEGMENT_NAME_MAX];
    uint64_t named; /* the two numbers of its name */
    uint32_t number;
    uint64_t first_seq, last_seq; /* of its events; 0: none */
    uint64_t events, others;      /* records */
    uint64_t size, used;          /* bytes of the file; up to the end of the last record */
    uint64_t first_ns, last_ns;   /* when its events were sealed */
    bool closed;                  /* ends with the mark of an orderly end */
    unsigned header_copies;       /* sound ones, of 2 */
};

#define EXAMINE_DAMAGED 1 /* bytes that are no record */
#define EXAMINE_MISSING 2 /* events no record of which is there, and no damage explains */
#define EXAMINE_HEADER 3  /* a segment's header, or its name */
#define EXAMINE_RING 4
#define EXAMINE_CURSOR 5
#define EXAMINE_STRANGE 6 /* not a regular file */
struct examine_finding {
    int kind;
    bool known;       /* an earlier start has found it: set aside, noted in the journal */
    const char *file; /* within the directory; "" = the journal as a whole */
    uint64_t offset, length;
    const char *seqs; /* "5", "5-9, 12": the events that are missing by it; "" = none, as far as known */
    const char *text; /* one sentence */
};

struct examine_state {
    uint64_t live_pid; /* the process that has the journal open; 0 = none */
    bool have_identity;
    struct journal_identity identity;
    uint64_t segments, bytes, events, oldest, newest; /* seqs: in segments */
    bool closed;                                      /* closed in order: all is on disk */
    int ring;                                         /* 0, -ENOENT, -EBADMSG, or another -errno */
    bool same_boot;                                   /* the ring is of this run of the system: its contents count */
    struct ring_facts ring_facts;
    uint64_t ring_events; /* not in a segment yet */
    uint64_t scopes, snapshots, notes, lost_ever;
    uint64_t quarantine_files, quarantine_bytes;
    uint64_t missing, known_missing; /* events */
    uint64_t findings, known;
    /* Two complete snapshots are there: before this segment (the numbers of its name) no chain needs anything. */
    bool may_trim;
    uint64_t trim_below;
    uint32_t trim_number;
};

/* Members may be NULL. Called in the order of the journal. */
struct examiner {
    void (*segment)(void *arg, const struct examine_segment *segment);
    void (*finding)(void *arg, const struct examine_finding *finding); /* at the end */
    void (*record)(void *arg, const char *file, uint64_t offset,
                   const struct record_view *view); /* segments and ring */
    void *arg;
};
/* 0 whatever is found; -ENOENT: no such directory; -ENOTDIR, -EACCES, -EIO, -ENOMEM. */
int journal_examine(const char *path, const struct examiner *examiner, struct examine_state *ret);

/* The position kept in a cursor file. *ret_good: slots that are sound (2: never written counts as sound). 0; -ENODATA:
 * an empty file; -EBADMSG: damaged, or of another journal; other -errno. */
int cursor_read_file(int fd, const uint8_t journal_id[16], uint64_t *ret_seq, uint64_t *ret_counter,
                     unsigned *ret_good);
bool cursor_name_good(const char *name);
struct examine_cursor {
    char name[JOURNAL_CURSOR_NAME_MAX + 1];
    int rc; /* of cursor_read_file() */
    uint64_t seq;
};
/* All cursors, sorted by name; malloc'd. 0 or -errno (no directory: none). */
int journal_examine_cursors(const char *path, const struct examine_state *state, struct examine_cursor **ret,
                            size_t *ret_count);
/* Up to where one reader has the events, by its file. 0; -ENOENT: there is no such cursor; -EBADMSG, -ENODATA; other
 * -errno. */
int journal_read_cursor(const char *path, const char *name, uint64_t *ret_seq);
/* Which process holds the lock file; 0: none that can be seen. */
uint64_t journal_live_pid(int dirfd);

#endif
