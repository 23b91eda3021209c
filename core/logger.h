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
    uint32_t open_flags;           /* AW_OPEN_* */
    bool adopted;                  /* its slot is another process': settings and figures are not its own */
    bool settings_in_use;          /* by an adopted core that was left behind */
    bool own_slot_only;            /* no foster: in a forked child, and for one replay */
    struct journal_lock lock;      /* of the slot, until the journal is opened */
    struct foster *foster;         /* NULL: nobody else's events are delivered */
    struct logger_core *next_left; /* see core_leave_behind() */
    struct logger_core *next_live; /* fork.c's */
    _Atomic bool closing;
    struct metrics *metrics; /* counters, and the sinks' figures */
};

struct aw_logger {
    _Atomic(struct logger_core *) core; /* of a child: NULL, see parent */
    struct aw_logger *root;             /* itself, or what the child was made of in the end */
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
/* The core that serves this process, for reading its state: a logger opened with AW_OPEN_CHECK has one, too. In a
 * forked child the first call makes one, in a slot of its own. 0 or AW_ERR_*, with a problem. */
int logger_readable(const struct aw_logger *logger, struct logger_core **ret);

/* ---- open.c ---- */
struct logger_core *core_new(struct diag_out diag); /* NULL: no memory, with a problem */
/* From settings to running deliveries. slot: SLOTS_ANY = the first that is free. 0 or AW_ERR_* with problems: then
 * core_discard(). */
int core_build(struct logger_core *core, int settings_rc, uint32_t slot);
/* Nothing was promised yet. false: a thread that hangs in a plugin still uses the core; it was left behind. */
bool core_discard(struct logger_core *core);
/* By the deadline, delivers what is accepted, then ends. AW_SUCCESS, AW_ERR_TIMEOUT with problems. *ret_gone (may be
 * NULL): as core_discard(). */
int core_close(struct logger_core *core, uint64_t deadline_mono_ns, bool *ret_gone);
/* Memory that somebody may still use is left as it is. */
void core_leave_behind(struct logger_core *core);

/* ---- fork.c ---- */
void fork_prepare(void); /* once: what has to happen at a fork */
/* From the opened journal to before the end: in a forked child their plugins' after_fork() is called. */
void fork_watch(struct logger_core *core);
void fork_unwatch(const struct logger_core *core);
/* A number that differs in every forked child. */
unsigned fork_generation(void);
/* In a forked child: the core that takes the place of the parent's. 0 or AW_ERR_*, with a problem. */
int fork_new_core(struct aw_logger *root, struct logger_core **ret);

/* ---- foster.c ---- delivers what other processes left behind in their slots; serves the inbox */
/* 0 or AW_ERR_NOMEM. settings live as long as the foster. */
int foster_start(struct logger_core *core, struct foster **ret);
/* NULL is fine. false: what it opened was left behind, and still uses the settings. */
bool foster_stop(struct foster *foster, uint64_t deadline_mono_ns);
/* CLOCK_MONOTONIC deadline of a public time-out in ms: -1 = UINT64_MAX. */
uint64_t logger_deadline(int timeout_ms);

#endif
