/* internal.h - the journal's insides, shared by the files of core/journal/. SPDX-License-Identifier: Apache-2.0
 *
 * Threads: any number of appenders; the writer (ring -> segment); the keeper (background sync, trimming); one reader
 * per cursor; anybody who syncs. Locks, in the order in which they may be taken:
 *
 *   sync lead    one syncer at a time; the others sleep until it has finished (group commit)
 *   drain_lock   ring -> segment, roll, snapshot; the struct segment members that say so
 *   append_lock  seal + copy into the ring; guards chains, next_seq, head, tail_seen
 *   list_lock    the list of segments, the list of cursors, `missing`; held for moments, never over I/O on segments
 *   store_lock   of a cursor: its file; taken last
 *
 * append_lock and list_lock are never held together.
 */
#ifndef AW_JOURNAL_INTERNAL_H
#define AW_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "journal/futex.h"
#include "journal/journal.h"
#include "journal/ring.h"
#include "journal/segment.h"
#include "journal/seqset.h"
#include "seal/seal.h"

#define LOCK_NAME JOURNAL_LOCK_NAME
#define CURSOR_DIR "cursors"
#define QUARANTINE_DIR "quarantine"
#define WRITE_CHUNK (1u << 20)
#define ZERO_AHEAD (1u << 19) /* bytes of zeros that go to the disk ahead of small syncs */
#define FULL_QUOTA 1u         /* the segments take what journal.max_size allows */
#define FULL_DISK 2u          /* the file system has less than journal.min_free left */

#define ROUND_ENDED 1u

/* A word to sleep on. `sleepers` lets the waking side skip the system call. */
struct waitpoint {
    _Atomic uint32_t word, sleepers;
};

/* Where a complete or growing snapshot begins, and what must be on disk before older segments may go. */
struct snapshot {
    bool active;   /* being written */
    bool complete; /* SNAPSHOT_END is written */
    bool durable;  /* and on disk, with all events up to head_seq */
    uint64_t below;
    uint32_t number;
    uint64_t cursor, heads, head_seq;
    uint64_t journal_bytes; /* written_bytes when it began */
};

/* Cursor file: two slots, written in turn. */
struct cursor_slot {
    char magic[8];
    uint8_t journal_id[16];
    uint64_t counter, seq;
    uint32_t crc, zero[5];
};
#define CURSOR_NAME_MAX JOURNAL_CURSOR_NAME_MAX
struct journal_cursor {
    struct journal *journal;
    struct journal_cursor *next; /* list_lock */
    char name[CURSOR_NAME_MAX + 1];
    bool open;        /* list_lock */
    bool fresh;       /* made by the journal_cursor_open() that opened it */
    bool warned_idle; /* keeper: said that it holds segments though nobody reads it */
    _Atomic uint64_t acked;
    _Atomic uint64_t written;   /* position in the file (page cache) */
    _Atomic uint64_t durable;   /* position known to be on disk */
    pthread_mutex_t store_lock; /* fd, counter, doubtful: the reader stores, the keeper syncs; never held over a sync */
    int fd;                     /* of the cursor file; -1: could not be opened */
    uint64_t counter;
    bool doubtful; /* a sync of it failed: what was written proves nothing, and must be written again first */
    /* reading */
    uint64_t position; /* next seq wanted */
    uint32_t wakes_seen;
    uint64_t segment_first; /* the segment being read */
    uint32_t segment_number;
    int segment_fd;    /* -1: none */
    uint64_t gap_next; /* while `position` is looked for in vain: the nearest later event seen */
    struct segment_scan scan;
};

struct journal {
    /* ---- append_lock; on cache lines of their own ---- */
    _Alignas(64) struct brief_lock append_lock; /* alone: those who wait look at it all the time */
    _Alignas(64) uint64_t next_seq;
    uint64_t head;      /* the ring's, as this process wrote it */
    uint64_t tail_seen; /* the ring's tail when last looked at */
    struct chain_table *chains;
    _Alignas(64) struct ring ring;
    uint8_t tenant_key[16], service_key[16];
    bool chained;
    uint16_t stream;
    uint32_t fork_generation;
    _Atomic unsigned full;        /* FULL_*: appends wait */
    _Atomic int failed;           /* 0, or -errno: appends are refused until a fresh segment works */
    _Atomic uint32_t writer_idle; /* the writer sleeps without a time limit: an appender must wake it */

    /* ---- progress ---- */
    _Alignas(64) _Atomic uint64_t written_seq;
    _Atomic uint64_t durable_seq, oldest_seq;
    _Atomic uint64_t bytes; /* over all segments */
    _Atomic uint64_t lost, recovered;
    _Atomic int write_error;        /* last error of the writer, 0 = none */
    _Atomic bool dirty;             /* something written is not synced */
    _Atomic uint64_t sync_asked_ns; /* CLOCK_MONOTONIC: when somebody last waited for the disk; 0 = never */
    _Atomic uint64_t read_sync_ns;  /* CLOCK_MONOTONIC: when a reader last synced */
    _Atomic bool read_ahead;        /* a reader will soon want more than is on the disk: the keeper syncs */
    _Atomic bool roll_wanted, stop;
    _Atomic bool notes_wanted;  /* `missing` grew: write a note */
    _Atomic uint64_t trim_hint; /* an ack at or beyond this may free a segment */
    _Atomic uint32_t wakes;
    struct waitpoint writer, keeper, room, readers;

    /* ---- group commit, see sync.c ---- */
    _Atomic uint32_t sync_lead;  /* LEAD_* */
    _Atomic uint64_t round;      /* twice the number of the last round that began, + ROUND_ENDED */
    _Atomic uint64_t covered[2]; /* by number modulo 2: up to which seq the round makes durable */
    _Atomic uint64_t good_round; /* the last one that succeeded */
    _Atomic uint64_t woken;      /* the last one whose waiters, and those of all before it, were woken */
    struct waitpoint round_done[2];

    /* ---- drain_lock ---- */
    pthread_mutex_t drain_lock;
    uint64_t tail;                /* the ring's, as this process wrote it */
    struct segment *current;      /* NULL: made when needed */
    uint64_t written_bytes;       /* ever, in this process */
    uint64_t looked_at_bytes;     /* written_bytes when the file system's free space was last looked at */
    struct snapshot snapshots[2]; /* [0] the newest, maybe growing; [1] the one before */
    uint64_t synced_ns;           /* CLOCK_MONOTONIC: when the last sync began; 0 = none yet */
    uint8_t *zeros;               /* ZERO_AHEAD bytes */
    uint8_t *scratch;             /* SCRATCH bytes for snapshot chunks and notes */

    /* ---- list_lock ---- */
    pthread_mutex_t list_lock;
    struct segment **segments; /* in the order of the journal */
    size_t segment_count, segment_capacity;
    struct journal_cursor *cursors;
    struct seq_set missing; /* known to be lost, at or after the oldest kept seq */

    /* ---- constant after open ---- */
    struct journal_identity identity;
    char *path;
    int dirfd, cursor_dirfd, quarantine_dirfd;
    struct journal_lock lock;
    uint64_t max_size, quota, segment_size, min_free, sync_interval_ns;
    struct diag_out diag;
    pthread_t writer_thread, keeper_thread;
    bool writer_started, keeper_started;
    _Atomic(_Atomic uint64_t *) figures; /* NULL: nobody wants them; see progress.c */
};

static inline int base_take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define SNAPSHOT_HEADS 256u /* copied per hold of the append lock */
#define SCRATCH (RECORD_HEADER + sizeof(struct snapshot_payload) + SNAPSHOT_HEADS * sizeof(struct chain_head) + 64u)

/* ---- journal.c ---- */
static inline uint64_t journal_head_seq(const struct journal *j)
{
    return atomic_load_explicit(&j->ring.header->head_seq, memory_order_acquire);
}
bool journal_in_child(const struct journal *j); /* after fork: nothing here may be touched */
void journal_derive_keys(struct journal *j);    /* from identity.key */
void journal_scope_of(const struct journal *j, const struct record_view *v, uint64_t ret[2]);
void journal_log(struct journal *j, int severity, const char *fmt, ...) AW_PRINTF(3, 4);
/* Waiting: enter, look at the condition once more, then sleep (which leaves) or leave. Waking: change the condition
 * with a sequentially consistent store, then wake. Nothing is missed then, and nobody pays for a system call without
 * need. */
uint32_t waitpoint_enter(struct waitpoint *w);
void waitpoint_leave(struct waitpoint *w);
void waitpoint_sleep(struct waitpoint *w, uint32_t seen, uint64_t deadline_mono_ns);
void waitpoint_wake(struct waitpoint *w);
bool waitpoint_wake_one(struct waitpoint *w); /* false: nobody was asleep; who is about to will look again */
static inline bool space_error(int rc)        /* may pass when somebody makes room */
{
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

void journal_forked(void);

/* ---- lock.c ---- */
int lock_prepare(void); /* what has to happen at a fork. 0 or -errno */
/* The directory's, or what was reserved (not NULL): it is the journal's then. 0 or -errno with a problem. */
int lock_take(struct journal *j, struct journal_lock *reserved);

/* ---- writer.c ---- (drain_lock held, except for the thread itself) */
void *writer_main(void *journal);
/* Ring -> segment up to the ring's position. 0 or -errno: then the rest stays in the ring. */
int writer_drain(struct journal *j, uint64_t upto);
int writer_roll(struct journal *j); /* closes the current segment; the next is made when needed */
int writer_begin(struct journal *j, uint64_t first_seq,
                 uint64_t prealloc); /* a fresh segment becomes the current one */
int writer_put(struct journal *j, uint16_t kind, const void *payload, size_t len); /* one record of another kind */
int writer_note_lost(struct journal *j);
void writer_zero_ahead(struct journal *j); /* before a sync */

/* ---- snapshot.c ---- (drain_lock held) */
void snapshot_begin(struct journal *j); /* in the fresh current segment, if it is due */
int snapshot_step(struct journal *j);   /* writes a part. 0 or -errno: to be tried again */

/* ---- segments.c: the list ---- */
int segments_insert(struct journal *j, struct segment *s);
void segments_remove(struct journal *j, struct segment *s); /* and frees it */
/* Facts of one segment, copied under the list lock. */
struct segment_facts {
    uint64_t first_seq, last_seq, size;
    uint32_t number;
    bool last; /* of the list */
};
/* The newest segment that can hold seq and is older than (first, number); first 0: any. false: none. */
bool segments_find(struct journal *j, uint64_t seq, uint64_t first, uint32_t number, struct segment_facts *ret);
bool segments_get(struct journal *j, uint64_t first, uint32_t number, struct segment_facts *ret);
/* The first segment with events behind seq, when nothing holds seq itself. */
bool segments_after(struct journal *j, uint64_t seq, struct segment_facts *ret);
void segments_update_oldest(struct journal *j);
int segment_open_facts(struct journal *j, const struct segment_facts *facts, int *ret_fd);
void missing_add(struct journal *j, uint64_t first, uint64_t last); /* counts as lost; noted by the writer */
/* The range that holds seq, as known. */
bool missing_find(struct journal *j, uint64_t seq, struct seq_range *ret);

/* ---- sync.c ---- */
int sync_upto(struct journal *j, uint64_t seq, bool all); /* all: also records of other kinds */
int journal_sync_read(struct journal *j);                 /* so that readers can have what is written */

/* ---- progress.c ---- */
void progress_publish(struct journal *j); /* what costs no lock */

/* ---- keeper.c ---- */
void *keeper_main(void *journal);
void keeper_trim(struct journal *j);
void keeper_look_at_disk(struct journal *j); /* sets or clears FULL_DISK; any thread */

/* ---- cursor.c ---- */
void cursor_leave_segment(struct journal_cursor *c); /* lets go of what it reads from */
int cursors_load(struct journal *j);                 /* at open */
void cursors_free(struct journal *j);
uint64_t cursors_highest(struct journal *j); /* highest acknowledged seq */
/* Lowest acknowledged seq; without cursors 0: nothing may go. _durable: by what is known to be on disk. */
uint64_t cursors_lowest(struct journal *j);
uint64_t cursors_lowest_durable(struct journal *j);
void cursors_sync(struct journal *j); /* positions to disk; keeper only */

/* ---- recovery.c ---- */
int recovery_run(struct journal *j, uint64_t ring_size);

/* ---- quarantine.c ---- */
/* Copies bytes [from, to) of fd aside. *ret_new false: they were there already. A failure is a warning, never an error.
 */
void quarantine_bytes(struct journal *j, const char *source, int fd, uint64_t from, uint64_t to, const char *missing,
                      bool *ret_new);
/* Moves a whole file of the journal aside. 0 or -errno. */
int quarantine_file(struct journal *j, int dirfd, const char *name, const char *reason);
/* The same for a file that must not vanish: it stays where it is when it cannot be moved. Durable with 0. */
int quarantine_move(struct journal *j, int dirfd, const char *name, const char *reason);

#endif
