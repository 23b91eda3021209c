/* journal.h - the face of journal/: the one local, checksummed, append-only log from which everything else reads.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Staging ring (mapped file, survives the process) -> writer -> segment files. See docs/architecture.md for the disk
 * format.
 *
 * Locks, in the order in which they may be taken:
 *   sync_lock    one syncer at a time (group commit: who waits finds it done)
 *   drain_lock   ring -> segment, segment roll
 *   append_lock  seal + copy into the ring; guards the chain table, head and next seq
 *   cursor_lock  the list of cursors, for trimming
 */
#ifndef AW_JOURNAL_H
#define AW_JOURNAL_H

#include <stdatomic.h>

#include "base/diag.h"
#include "event/event.h"
#include "seal/record.h"

struct journal;
struct journal_cursor;

#define JOURNAL_LOCK_NAME "lock" /* holds the pid of the process that has the journal open */
/* A journal's lock. The list of them is lock.c's: a forked child closes what it inherited. Where it is must not move.
 */
struct journal_lock {
    int fd; /* -1: not held */
    struct journal_lock *next;
};
/* Takes the lock of the journal in this directory for an open to come. Makes nothing: without a journal there is no
 * lock, and lock->fd is -1. 0, -EWOULDBLOCK, other -errno. Any thread. */
int journal_lock_reserve(const char *path, struct journal_lock *lock);
void journal_lock_release(struct journal_lock *lock);

struct journal_options {
    const char *path;          /* directory; made when absent, mode 0700 */
    uint64_t max_size;         /* quota in bytes over all segments; default 1 GiB */
    uint64_t segment_size;     /* default 64 MiB; at least 1 MiB (tests may go lower: 64 KiB) */
    uint64_t ring_size;        /* default 8 MiB; power of two >= 1 MiB (tests: 64 KiB) */
    uint64_t min_free;         /* bytes of the file system that others shall find free; 0 = none */
    uint64_t sync_interval_ns; /* background fdatasync of what was written; 0 = only on demand; default 1 s */
    uint16_t stream;           /* named in every event; 0: none */
    bool chained;              /* false: integrity.mode = "none" */
    bool offline;              /* for commands: no threads, so that nothing but what is asked for happens; no appends */
    struct journal_lock *lock; /* reserved before; journal_open() takes it over. NULL: none */
    struct diag_out diag;
};

/* Opens and recovers. Keeps every record whose CRC holds, sets damaged bytes aside in quarantine/, reports missing seqs
 * as warnings. 0; -EWOULDBLOCK with a diag problem that names the pid of the other writer; other -errno with a problem.
 */
int journal_open(const struct journal_options *options, struct journal **ret);
/* Drains and syncs the ring, then closes. Returns the first error of that; the journal is closed in any case. */
int journal_close(struct journal *journal);
/* The same for a journal whose records a thread may still look at that cannot be waited for: memory, mappings and file
 * descriptors of segments and ring stay, the lock is given up. The handle must not be used any more. */
int journal_retire(struct journal *journal);

struct journal_receipt {
    uint64_t seq;
    uint64_t sealed_ns;
    uint8_t hash[32];
};
/* Seals and appends one event. deadline_mono_ns: 0 = do not wait for room, UINT64_MAX = for ever.
 * 0; -ENOSPC no room in the ring (or quota) by the deadline; -EMSGSIZE larger than the ring holds; -EIO the journal
 * cannot write; -ENOMEM. Any thread. */
int journal_append(struct journal *journal, const struct prepared *event, uint64_t deadline_mono_ns,
                   struct journal_receipt *ret);
/* Does for two events, which this thread appends next, a part of the work of journal_append(): in less time than for
 * one after the other. */
void journal_hash_two(const struct journal *journal, struct prepared *first, struct prepared *second);
/* Why journal_append() finds no room: "disk_low", "journal_full", "disk_full", "write_error" or "ring_full". Any
 * thread.
 */
const char *journal_why_full(const struct journal *journal);
/* Everything appended before the call is on disk. The caller does the work itself, or finds it done by another. A
 * failed fdatasync is never tried again on the same bytes: what was not known durable is appended to a fresh segment
 * and synced there; if that fails too, -EIO, and the journal takes no more events until a fresh segment works. */
int journal_sync(struct journal *journal, uint64_t seq);

void journal_get_id(const struct journal *journal, uint8_t ret_id[16]); /* made at random with the journal */
uint64_t journal_head(const struct journal *journal);                   /* last appended seq, 0 = none ever */
uint64_t journal_written(const struct journal *journal);                /* last seq readable by cursors */
uint64_t journal_durable(const struct journal *journal);
uint64_t journal_oldest(const struct journal *journal); /* first seq still kept; head + 1 when none */
struct journal_usage {
    uint64_t bytes, max_bytes, segments, ring_used, ring_size, scopes, lost, recovered;
};
void journal_get_usage(struct journal *journal, struct journal_usage *ret);
/* From now on the journal's threads copy its figures to figures[METRICS_JOURNAL_FIGURES] when they move, for readers in
 * other processes. The array outlives the journal. */
void journal_set_figures(struct journal *journal, _Atomic uint64_t *figures);
void journal_publish(struct journal *journal); /* at once, all of them */
void journal_boot_id(uint8_t ret[16]);         /* of this start of the machine; zero when unknown */
/* The newest seq in the journal of this directory, whoever has it open, without disturbing that process. 0; -ENOENT;
 * -EBADMSG: not known; other -errno. */
int journal_peek_head(const char *path, uint64_t *ret_head);

/* ---- cursors ----
 * A named reader, whose acknowledged position is kept in cursors/NAME. One thread at a time per cursor. */
#define JOURNAL_FROM_STORED 0 /* where the cursor was; a new cursor: oldest kept event */
#define JOURNAL_FROM_NOW 1    /* new cursor: behind the head; an existing one: where it was */
int journal_cursor_open(struct journal *journal, const char *name, int from, struct journal_cursor **ret);
/* Was it made by that call? */
bool journal_cursor_fresh(const struct journal_cursor *cursor);
void journal_cursor_close(struct journal_cursor *cursor);
uint64_t journal_cursor_acked(const struct journal_cursor *cursor); /* any thread */
/* All up to seq is done with: kept across restarts, and segments no cursor needs are removed. Never moves back. 0 or
 * -errno (then the position is kept in memory and written with the next). */
int journal_cursor_ack(struct journal_cursor *cursor, uint64_t seq);
/* Next read position := seq + 1 (within what is kept). */
int journal_cursor_seek(struct journal_cursor *cursor, uint64_t seq);
/* Up to max records and about max_bytes, in order, without waiting; only what is on the disk. Views point into the
 * cursor's buffer: valid until the next read or seek. *ret_count 0: nothing there now. -EBADMSG: a record was found
 * damaged on reading; it is skipped, reported and counted, the call may be repeated. */
int journal_cursor_read(struct journal_cursor *cursor, struct record_view *views, size_t max, size_t max_bytes,
                        size_t *ret_count);
/* All up to here was read, or is known to be missing: what a reader that lacks nothing may acknowledge. */
uint64_t journal_cursor_passed(const struct journal_cursor *cursor);
/* Waits until something is readable beyond what was read, journal_wake(), or the deadline (mono ns); syncs what is
 * written, so that it becomes readable. 0, -ETIMEDOUT,
 * -EINTR when woken. Short waits poll, long ones sleep, so that appenders need no system call while traffic flows. */
int journal_cursor_wait(struct journal_cursor *cursor, uint64_t deadline_mono_ns);
void journal_wake(struct journal *journal); /* all waiting cursors, and the writer */
#define JOURNAL_CURSOR_NAME_MAX 64
/* For commands, on a journal opened offline: the reader is gone for good. Its file is moved to quarantine/, with the
 * reason. *ret_owed: events it had not acknowledged. -ENOENT; -EBUSY: it is owed something and force is not set. */
int journal_cursor_release(struct journal *journal, const char *name, bool force, uint64_t *ret_owed);
/* For commands, on a journal opened offline: what the keeper does when it has a reason to. */
void journal_trim(struct journal *journal);
/* The event's record with this seq, for checks against a sink's own position. 0, -ENOENT. Copies the hash only. */
int journal_lookup_hash(struct journal *journal, uint64_t seq, uint8_t ret_hash[32]);

#endif
