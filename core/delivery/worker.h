/* worker.h - one sink's delivery: the state shared by delivery.c (life cycle, waiting, figures) and worker.c (the
 * thread).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Members are the worker's own unless marked: [m] guarded by mutex, [a] atomic, [c] constant after start.
 */
#ifndef AW_WORKER_H
#define AW_WORKER_H

#include "delivery/breaker.h"
#include "delivery/deadletter.h"
#include "delivery/delivery.h"
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
    int from; /* [c] */
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
    uint64_t given_seq;    /* the last event of the last batch */
    uint64_t accepted_seq; /* up to here everything is settled or ACCEPTED */
    bool flush_pending;    /* something ACCEPTED waits for flush() */
    uint64_t flush_due_ns;
    struct breaker breaker;
    uint32_t failures_in_row;
    uint64_t next_try_ns; /* backoff: no call before */
    uint64_t random_state;

    /* figures, all [a] */
    _Atomic uint64_t acked, batches, written, duplicates, rejected, retries, failures, last_success_ns, call_since_ns;
    _Atomic uint32_t breaker_open;
    _Atomic int32_t last_error_code;
};

void *worker_main(void *delivery);
/* start() of the plugin and the position check; AW_OK or AW_E_*. The opener's thread or the worker, never both. */
int32_t worker_start_sink(struct delivery *d);
/* One mutex per SERIAL_PLUGIN class for the life of the process: classes are never unloaded. NULL without memory. */
pthread_mutex_t *worker_class_mutex(const struct aw_sink_class *sink_class);
void worker_lock_class(struct delivery *d);
void worker_unlock_class(struct delivery *d);
/* Remembers and logs a failure of the instance. */
void worker_note_failure(struct delivery *d, int32_t code, const char *what);

#endif
