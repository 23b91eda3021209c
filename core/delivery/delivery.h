/* delivery.h - the face of delivery/: one worker thread per sink, which moves its journal cursor. together.h has the
 * one that serves all sinks of fanout = "all_or_nothing".
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Conservation. Of every event accepted for a sink something is known at any time, for each sink by itself:
 *
 *   accepted = delivered + queued + dead-lettered + lost
 *
 *   accepted       journal's head - the cursor at the open: what waited then, and what was accepted since
 *   delivered      written + duplicates (the sink said that it has them) + found (they stood in its store at its start)
 *   queued         journal's head - the cursor: not read yet, in hand, or taken by the sink but not flushed
 *   dead-lettered  refused for good, kept in the dead-letter file
 *   lost           damaged in the journal, or not kept any more: the sink will never get them
 *
 * An event changes from queued to one of the others when the cursor moves over it, never before, so a failed flush or a
 * restart of the sink takes nothing back, and an event that is sent again counts once (and under resent). ledger.h does
 * that from what was said of each event; the cursor moves by sequence numbers alone: that both agree is what
 * audit_conservation_imbalance shows. The worker publishes cursor and counters together (metrics_publish()), and
 * whoever looks reads them before the head.
 */
#ifndef AW_DELIVERY_H
#define AW_DELIVERY_H

#include <pthread.h>

#include "event/view.h"
#include "journal/journal.h"
#include "metrics/metrics.h"
#include "plugin/registry.h"

struct delivery_settings {
    uint32_t batch_events; /* 100 */
    uint64_t batch_bytes;  /* 1 MiB */
    uint64_t
        flush_interval_ns;  /* 250 ms: how long accepted events may wait for flush() and small batches for company */
    uint32_t retry_max;     /* 8: consecutive failures of one batch before a warning is repeated; never gives up */
    uint64_t retry_base_ns; /* 250 ms */
    uint64_t retry_cap_ns;  /* 30 s */
    uint32_t breaker_threshold;   /* 5 consecutive transient failures */
    uint64_t breaker_cooldown_ns; /* 10 s */
    uint32_t breaker_probes;      /* 1 */
    uint64_t write_deadline_ns;   /* 30 s: after that the sink is reported as stuck */
};
void delivery_settings_init(struct delivery_settings *settings);

/* Woken with everything that settles events of one of several sinks, while somebody waits. */
struct delivery_watch {
    pthread_mutex_t mutex; /* guards nothing but the sleep; never taken with a delivery's own mutex held */
    pthread_cond_t changed;
};
int delivery_watch_init(struct delivery_watch *watch); /* 0 or -errno; CLOCK_MONOTONIC */
void delivery_watch_destroy(struct delivery_watch *watch);

struct delivery; /* one sink */
struct delivery_options {
    const char *name;                 /* instance */
    const struct aw_sink_class *sink; /* clamp-copied, lives for ever */
    struct aw_config *config;         /* owned by the delivery from here on, also on failure */
    struct delivery_settings settings;
    struct diag_out diag;
    const char *where;            /* "audit.conf:12" */
    struct delivery_watch *watch; /* outlives the delivery; NULL: nobody waits for several */
    const char *state_dir;        /* where the dead-letter file goes: DIR/deadletter/NAME.jsonl */
    int from;                     /* JOURNAL_FROM_* for a new cursor */
    struct metrics *metrics;      /* where its figures go; outlives the delivery. NULL: memory of its own */
    size_t metrics_sink;          /* its place there */
    const struct event_pii *pii;  /* NULL: the sink gets events in full, else views; outlives the delivery, as does: */
    const struct pseudonym_key *pseudonyms; /* with pii; NULL: tagged members are dropped */
};
/* create() of the plugin; no I/O. Problems to diag. 0 or AW_ERR_*. */
int delivery_create(const struct delivery_options *options, struct delivery **ret);
/* Opens the sink's cursor in the journal, which from here on keeps what the sink lacks. 0 or AW_ERR_*, with a problem.
 */
int delivery_attach(struct delivery *delivery, struct journal *journal);
/* Between attach and start: is the sink new, one that can be read back, and not given all that the journal ever had?
 * Its name, and the first seq that it gets. */
bool delivery_begins_late(const struct delivery *delivery, const char **ret_name, uint64_t *ret_seq);
/* start() of the plugin and the worker. A start that fails with AW_E_CONFIG is an error; others are retried by the
 * worker. Not for members of a group: together_start(). */
int delivery_start(struct delivery *delivery);
/* Waits until all up to seq is delivered or dead-lettered. 0, -ETIMEDOUT, -EIO (the sink stopped for good). */
int delivery_flush(struct delivery *delivery, uint64_t seq, uint64_t deadline_mono_ns);
/* From hurry to rest, the worker flushes at once, and knows which events it dead-letters. Calls nest. */
void delivery_hurry(struct delivery *delivery);
void delivery_rest(struct delivery *delivery);
/* What became of an event that was appended after delivery_hurry(). */
enum delivery_outcome {
    DELIVERY_PENDING,
    DELIVERY_DONE,
    DELIVERY_REFUSED, /* dead-lettered, or that cannot be ruled out */
    DELIVERY_DOWN,    /* the sink stopped for good: the event waits in the journal */
};
enum delivery_outcome delivery_outcome(struct delivery *delivery, uint64_t seq);
void delivery_reopen(struct delivery *delivery); /* asynchronous */
/* Delivers what it can by the deadline, stops worker and sink. 0, -ETIMEDOUT: something is left in the journal, -EIO. A
 * worker that is stuck in the plugin is given up: thread and instance are leaked on purpose, since the plugin still
 * uses them; when the call returns after all, the thread ends there. */
int delivery_stop(struct delivery *delivery, uint64_t deadline_mono_ns);
/* false: the worker was given up. Nothing is freed then, and journal_retire() must take the place of journal_close().
 */
bool delivery_destroy(struct delivery *delivery);
void delivery_get_stats(struct delivery *delivery, uint64_t head, struct aw_sink_stats *ret);
/* The same from published figures, of whatever process. */
void delivery_fill_stats(const struct metrics_sink_view *view, struct aw_sink_stats *ret);
uint64_t delivery_acked(const struct delivery *delivery);

/* In a forked child, before anything else: no thread of the parent's is in a plugin here. */
void delivery_forked(void);
/* In a forked child: the plugin drops what it has open of the parent's; the instance is not used any more. */
void delivery_drop_inherited(const struct delivery *delivery);

#endif
