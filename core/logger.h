/* logger.h - what a logger is made of; private to open.c and logger.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_LOGGER_H
#define AW_LOGGER_H

#include "delivery/together.h"
#include "gaps.h"
#include "privacy.h"
#include "settings.h"

#include <stdatomic.h>

#define LOGGER_MAX_CONTEXTS 16 /* nested children */

/* Shared by a logger and its children. Constant after aw_open() but for the atomics. */
struct logger_core {
    struct diag_out diag;
    struct settings *settings;
    struct event_policy *policy;
    struct journal *journal;         /* NULL with AW_OPEN_CHECK */
    struct event_policy *own_policy; /* for events about ourselves: nothing of them is masked */
    struct gaps *gaps;               /* NULL: nothing can be dropped */
    struct privacy *privacy;
    size_t sink_count, started;
    struct delivery **sinks;
    struct together *together; /* fanout = "all_or_nothing"; else NULL */
    bool *required;            /* per sink */
    bool some_required;
    struct delivery_watch watch;
    uint64_t head_at_open;
    unsigned fork_generation;
    struct logger_core *next_left; /* see leave_behind() */
    _Atomic bool closing;
    struct metrics *metrics; /* counters, and the sinks' figures */
};

struct aw_logger {
    struct logger_core *core;
    bool is_child;
    size_t context_count;
    struct aw_context *own;                                 /* a child's copy, owned */
    const struct aw_context *contexts[LOGGER_MAX_CONTEXTS]; /* own first, then the parents', outwards */
};

/* ---- fanout.c ---- around and after an append, with mode "block" ---- */
void fanout_begin(struct logger_core *core); /* before: so that nothing is missed of what becomes of the event */
/* AW_SUCCESS; AW_ERR_TIMEOUT; AW_ERR_WRITE_FAILED: not enough sinks can have it; with problems. */
int fanout_wait(struct logger_core *core, uint64_t seq, uint64_t deadline_mono_ns);
void fanout_end(struct logger_core *core);

/* Records what was dropped, as far as there is room by the deadline. */
void logger_settle_gaps(struct logger_core *core, uint64_t deadline_mono_ns);
/* A number that differs in every forked child; the handler behind it is registered once. */
unsigned logger_fork_generation(void);
/* May its state be read? 0 or AW_ERR_*, with a problem. */
int logger_check_readable(const struct aw_logger *logger);
/* CLOCK_MONOTONIC deadline of a public time-out in ms: -1 = UINT64_MAX. */
uint64_t logger_deadline(int timeout_ms);

#endif
