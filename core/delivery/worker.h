/* worker.h - one sink's delivery: the state shared by delivery.c (life cycle, waiting, figures) and worker.c (the
 * thread).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * With fanout = "all_or_nothing" the group's coordinator (together.c) takes the place of the worker, for all members.
 * Members are the worker's own unless marked: [m] guarded by mutex, [a] atomic, [c] constant after start.
 */
#ifndef AW_WORKER_H
#define AW_WORKER_H

#include "delivery/breaker.h"
#include "delivery/deadletter.h"
#include "delivery/delivery.h"
#include "delivery/ledger.h"
#include "journal/seqset.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORKER_MAX_BATCH 65536

struct delivery {
    struct delivery_settings settings; /* [c] */
    char *name;                        /* [c] */
    struct diag_out diag;              /* [c] */
    const struct aw_sink_class *class; /* [c] */
    struct aw_config *config;          /* [c] */
    struct plugin_host *host;          /* [c] */
    void *sink;                        /* [c] the plugin's instance */
    pthread_mutex_t *class_mutex;      /* [c] held around calls of SERIAL_PLUGIN classes; NULL for others */
    struct journal *journal;           /* [c] */
    struct journal_cursor *cursor;
    struct deadletter *deadletters;
    int from;               /* [c] */
    const char *where;      /* [c] "audit.conf:12"; the opener's, as long as the delivery */
    struct together *group; /* [c] NULL: a worker of its own */
    pthread_t thread;
    bool thread_started; /* [control] */

    pthread_mutex_t mutex;
    pthread_cond_t changed;       /* with mutex: acked moved, the worker ended or stopped for good */
    pthread_cond_t poke;          /* with mutex: ends a pause of the worker; CLOCK_MONOTONIC */
    bool poked;                   /* [m] */
    unsigned waiters;             /* [m] */
    struct delivery_watch *watch; /* [c] */
    struct seq_set refused;       /* [m] dead-lettered since the first of the waiters came */
    bool refused_unknown;         /* [m] without memory for it */
    bool stop_requested;          /* [m] */
    bool in_call;                 /* [m] the worker is in the plugin, or waits for its turn there */
    bool abandoned;               /* [m] the worker did not come back from there: nothing may be freed */
    uint64_t stop_deadline_ns;    /* [m] */
    bool ended;                   /* [m] the worker left its loop */
    bool failed_for_good;         /* [m] AW_E_CONFIG: only reopen helps */
    char last_error[200];         /* [m] */
    _Atomic bool wanted;          /* [a] somebody waits, stops or reopens: look at the members under mutex */
    _Atomic bool reopen;          /* [a] */

    /* the batch under way */
    struct event_viewer *viewer; /* NULL: the sink gets events in full */
    struct event_batch *retry;   /* the events of the call under way */
    struct record_view *views;   /* settings.batch_events of them */
    uint8_t *final;              /* per view: an AW_EVENT_* that is settled, or AW_EVENT_RETRY */
    uint8_t *status;             /* for struct aw_result */
    uint32_t *slot;              /* index in views of each event that is sent */
    size_t count, open_count;    /* views; not yet settled */
    uint32_t attempts;           /* of this batch */
    uint32_t isolate;            /* events a call may hold; 0 = all: after AW_E_REJECTED for a whole batch */

    bool started;          /* the plugin's start() succeeded, stop() has not been called */
    bool stop_for_good;    /* shadow of failed_for_good */
    bool halted;           /* the same, because of another one of its group */
    uint64_t given_seq;    /* the last event of the last batch */
    uint64_t accepted_seq; /* up to here everything is settled or ACCEPTED */
    bool flush_pending;    /* something ACCEPTED waits for flush() */
    uint64_t flush_due_ns;
    uint64_t flush_again_ns; /* not before that, whoever waits: the last flush made nothing durable that was not */
    struct breaker breaker;
    uint32_t failures_in_row;
    uint64_t next_try_ns; /* backoff: no call before */
    uint64_t random_state;

    /* figures, published together: worker_publish(). See delivery.h for what must add up. */
    struct ledger ledger;
    uint64_t position; /* the cursor; `acked` follows when this is published */
    uint64_t batches, transient, permanent, failures, last_success_ns, call_since_ns;
    uint64_t oldest_seq, oldest_ns; /* the oldest event that waits, as far as it was seen */
    int32_t last_error_code;
    struct metrics *own_metrics;    /* [c] */
    struct metrics_sink *published; /* [c] */
    _Atomic uint64_t acked;         /* [a] */
};

/* What a worker, or the coordinator of a group, does next. A step itself never sleeps; the thread around it does, and
 * may come back from there at any time. */
struct worker_next {
    enum {
        WORKER_GO_ON, /* the next step at once */
        WORKER_PAUSE, /* at until_ns, although the journal may have more to read; stop, reopen and flush end it early */
        WORKER_WAIT,  /* when there is something to read, or at until_ns */
        WORKER_LEAVE, /* no step any more: worker_end(), or that of the group */
    } what;
    uint64_t until_ns; /* CLOCK_MONOTONIC */
};
struct worker_next worker_step(struct delivery *d);
void worker_end(struct delivery *d); /* stops the sink, and tells who waits */
void *worker_main(void *delivery);   /* the thread: steps to the end */
/* start() of the plugin and, without a group, the position check; AW_OK or AW_E_*. The opener's thread or the worker,
 * never both. */
int32_t worker_start_sink(struct delivery *d);
/* One mutex per SERIAL_PLUGIN class for the life of the process: classes are never unloaded. NULL without memory. */
pthread_mutex_t *worker_class_mutex(const struct aw_sink_class *sink_class);
void worker_try_to_start(struct delivery *d); /* the worker: the same with backoff after a failure */

/* ---- delivery.c ---- */
/* The first start, on the opener's thread: a failure other than AW_E_CONFIG is left to the worker. 0 or AW_ERR_*. */
int worker_first_start(struct delivery *d);
/* A thread with all signals blocked. 0 or -errno. */
int worker_thread(const char *name, void *(*fn)(void *), void *arg, pthread_t *ret);
/* With d->mutex held: whoever serves this sink looks at what is wanted. */
void worker_call(struct delivery *d);
struct timespec worker_timespec(uint64_t deadline_ns);
/* Tells whoever serves this sink; returns until when to wait for its end. */
struct timespec worker_ask_to_stop(struct delivery *d, uint64_t deadline_mono_ns);

/* Wakes who waits for this sink, after something of it has settled or ended. */
void worker_signal(struct delivery *d);
/* ---- calls.c: what the worker does with the plugin; the worker's thread ---- */
void worker_lock_class(struct delivery *d);
void worker_unlock_class(struct delivery *d);
/* Around every call of the plugin. The thread may end in either, when it was given up. */
void worker_call_begins(struct delivery *d);
void worker_call_ends(struct delivery *d);
/* figures.c: the control thread before the worker starts, then the worker. */
void worker_publish(struct delivery *d);
void worker_saw_oldest(struct delivery *d, uint64_t seq, uint64_t sealed_ns); /* when nothing older is known */
/* Remembers and logs a failure of the instance. */
void worker_note_failure(struct delivery *d, int32_t code, const char *what);
/* The same, and decides when the next call may be made: next_try_ns, breaker, or never for AW_E_CONFIG. */
void worker_back_off(struct delivery *d, int32_t code, uint32_t retry_after_ms, const char *what);
void worker_succeeded(struct delivery *d);
void worker_acknowledge(struct delivery *d, uint64_t seq); /* all up to seq is settled */
/* Where the sink itself says it stands. Between worker_call_begins() and worker_call_ends(). */
void worker_adopt_position(struct delivery *d);
void worker_stop_sink(struct delivery *d, uint64_t deadline_ns);
void worker_reopen_sink(struct delivery *d);
/* false: it could not be stored, and the event must stay queued. */
bool worker_dead_letter(struct delivery *d, const struct record_view *view, const char *reason);

#endif
