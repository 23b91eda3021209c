/* recovery.h - what is found out while a journal is opened. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_RECOVERY_H
#define AW_RECOVERY_H

#include "journal/internal.h"

struct damage {
    uint64_t first_seq; /* the segment */
    uint32_t number;
    uint64_t from, to;
    bool tail;              /* nothing good follows in this segment */
    uint64_t after, before; /* events missing by it are between these two seqs; before 0: not known */
};

struct recovery {
    struct journal *j;
    uint64_t last;                 /* all seqs up to here were given out */
    uint64_t newest;               /* the highest event that was read from segments */
    bool any;                      /* something tells about seqs */
    bool rehash;                   /* the key is lost: scope ids are computed anew */
    bool closed;                   /* the last record says: closed in order */
    uint64_t tail_guess;           /* highest seq that damage at the very end seems to have held */
    struct seq_set missing, known; /* known: from notes */
    uint64_t lost_before;          /* events ever lost, by notes and snapshots */
    struct damage *damages;
    size_t damage_count, damage_capacity, damage_open; /* those from damage_open on wait for `before` */
    struct snapshot growing;
    bool nomem;
};

/* An event, or another record, with this seq was found. */
void recovery_saw(struct recovery *r, uint64_t seq, bool event);
void recovery_head(struct recovery *r, const struct record_view *v);

/* ---- what examine.c reads with, too; these change nothing but *r ---- */
/* All seqs up to this one were given out: what is not there is missing. */
void recovery_given_out(struct recovery *r, uint64_t seq);
/* Takes what one sound record of a segment tells. */
void recovery_record(struct recovery *r, const struct record_view *v);
/* Remembers the bytes that scan_next() found damaged; after: the last event before them in the segment. */
void recovery_damage(struct recovery *r, const struct segment *s, const struct segment_scan *scan, uint64_t after);
/* Damage at the very end: which seqs did it hold? A header whose magic and kind survived tells; else one event is
 * assumed. */
void recovery_guess_tail(struct recovery *r, int fd, uint64_t from, uint64_t to);
/* The part of `missing` between two seqs (exclusive), as text. false: none. */
bool recovery_missing_between(const struct seq_set *missing, uint64_t after, uint64_t before, char *buf, size_t size);

/* Ring: takes over what is not in segments; *ret_ring is the ring to use from now on. */
int recovery_ring(struct recovery *r, uint64_t ring_size);

#endif
