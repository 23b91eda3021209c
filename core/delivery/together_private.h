/* together_private.h - the group's state: together_life.c (life cycle), together.c (the coordinator's
 * thread), together_give.c (events to one member).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Members are the coordinator's own unless marked: [c] constant after start, [control] of the opener's thread. Of the
 * member's struct delivery it uses what a worker does, except views, count and slot's meaning: slot and final index the
 * group's views. Locks: a delivery's mutex may be held when poke_mutex is taken, never the other way round.
 */
#ifndef AW_TOGETHER_PRIVATE_H
#define AW_TOGETHER_PRIVATE_H

#include "delivery/decision.h"
#include "delivery/staging.h"
#include "delivery/together.h"
#include "delivery/worker.h"

enum together_phase { TOGETHER_STAGE, TOGETHER_WRITE, TOGETHER_DECIDE, TOGETHER_COMMIT, TOGETHER_UNDO };

struct together_member {
    struct delivery *d;                   /* [c] */
    const struct aw_sink_transaction *tx; /* [c] NULL: is written between staging and commit */
    bool touched;                         /* stage() was called with the token: to be committed or rolled back */
    bool staged;                          /* it has staged all that it lacks of the round */
    bool lost;                            /* it lost what it had staged after the decision: the events are sent again */
};

struct together {
    struct diag_out diag; /* [c] */
    size_t count;         /* [c] */
    struct together_member *members;
    struct together_member *writer; /* [c] the one without staging, or NULL */
    char *state_dir;                /* [c] */
    size_t batch_events;            /* [c] the smallest of the members' */
    uint64_t batch_bytes;           /* [c] */
    pthread_t thread;               /* [control] */
    bool thread_started;            /* [control] */
    bool abandoned;                 /* [control] the coordinator did not come back from a plugin */

    pthread_mutex_t poke_mutex; /* guards poked */
    pthread_cond_t poke;        /* with poke_mutex: ends a pause; CLOCK_MONOTONIC */
    bool poked;

    struct decision_file *file;
    struct decision last;    /* the last decision made */
    bool last_unsaved;       /* it says more than the file */
    bool recovered;          /* what an earlier life left in doubt is settled */
    bool halted;             /* a member stopped for good, and the others say so */
    uint64_t next_try_ns;    /* after a failure of the decision file or the journal */
    struct delivery *reader; /* whose cursor is read: it has the least */

    struct record_view *views; /* the batch in hand */
    bool *dropped;             /* per view: dead-lettered */
    size_t view_count;
    size_t from, to; /* the round: views [from, to); those before are settled */
    uint32_t limit;  /* events a round may hold; 0 = all: after AW_E_REJECTED for a whole batch */
    uint32_t attempt;
    bool changed; /* the round's events are other ones than those staged: roll back, stage anew */
    enum together_phase phase;
    char token[STAGING_TOKEN_MAX + 1];
};

static inline uint64_t together_acked(const struct delivery *d)
{
    return atomic_load_explicit(&d->acked, memory_order_relaxed);
}

static inline uint64_t together_seq(const struct together *g, size_t view)
{
    return g->views[view].head->seq;
}

struct worker_next together_step(struct together *g);
void together_end(struct together *g); /* stops the sinks, and tells who waits */
void *together_main(void *group);      /* the thread: steps to the end */
/* Gives the member what it lacks of the round: stage() or write(). false: not all of that is settled, and the next try
 * has its time. g->changed: events were rejected, or the round must be smaller; then all must be rolled back. */
bool together_give(struct together *g, struct together_member *m);

#endif
