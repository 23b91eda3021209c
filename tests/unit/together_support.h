/* together_support.h - made-up sinks for the tests of all_or_nothing, and a group of them over a real journal.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The sinks keep what they stage and commit in memory, which outlives their restarts.
 */
#ifndef TOGETHER_SUPPORT_H
#define TOGETHER_SUPPORT_H

#include "harness.h"

#include "delivery/decision.h"
#include "delivery/staging.h"
#include "delivery/together.h"

#include <pthread.h>
#include <semaphore.h>

#define SINKS 4
#define MAX_EVENTS 2000
#define SECONDS(n) ((uint64_t)(n)*1000000000u)

struct fake {
    const struct aw_host *host;
    bool plain; /* without staging */
    char token[STAGING_TOKEN_MAX + 1];
    uint64_t staged[MAX_EVENTS], stored[MAX_EVENTS];
    size_t staged_count, stored_count;
    unsigned stages, commits, rollbacks, writes, starts, flushes;
    /* behaviour */
    unsigned stage_fails, commit_fails, rollback_fails, write_fails, flush_fails, doubt_fails;
    int32_t code;         /* of those failures; 0 = AW_E_RETRY */
    uint64_t rejects;     /* this seq */
    uint64_t rejects_all; /* a batch that holds this seq, as a whole */
    unsigned partial;     /* so many times every second event gets no status */
    bool loses;           /* commit says AW_E_NOTFOUND once */
    bool by_position;     /* knows its last seq */
    sem_t *gate;          /* stage() waits here */
    uint64_t accepted_upto;
    bool accepts; /* write() says ACCEPTED */
};
extern pthread_mutex_t fakes_mutex; /* guards fakes while a group runs */
extern struct fake fakes[SINKS];
extern const char *const fake_names[SINKS]; /* "a", "b" ... */
/* Forgets what the sinks hold, and their behaviour. Sink b cannot stage. */
void fakes_reset(void);

struct group_rig {
    struct journal *journal;
    struct delivery *d[SINKS];
    struct together *group;
    size_t count;
    char dir[300];
};
void group_append(struct group_rig *r, size_t count);
void group_open_journal(struct group_rig *r);
void group_create_members(struct group_rig *r);
void group_start(struct group_rig *r); /* with group_create_members() */
void group_open(struct group_rig *r, const char *name, size_t count);
void group_stop(struct group_rig *r, unsigned seconds);
void group_close(struct group_rig *r);
int group_flush(struct group_rig *r); /* all sinks, up to the head */
struct aw_sink_stats group_stats(struct group_rig *r, size_t i);
/* Asserts that each sink holds seqs 1..count in order, once, but for one that is in none (0 = all). */
void group_holds(const struct group_rig *r, uint64_t count, uint64_t but);

#endif
