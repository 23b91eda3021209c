/* delivery.c - life cycle of one sink's delivery, waiting for it, its figures. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/delivery.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/thread.h"
#include "base/ids.h"
#include "delivery/together.h"
#include "delivery/worker.h"

#include <signal.h>
#include <stdio.h>

void delivery_settings_init(struct delivery_settings *s)
{
    *s = (struct delivery_settings){
        .batch_events = 100,
        .batch_bytes = 1u << 20,
        .flush_interval_ns = 250000000u,
        .retry_max = 8,
        .retry_base_ns = 250000000u,
        .retry_cap_ns = 30000000000u,
        .breaker_threshold = 5,
        .breaker_cooldown_ns = 10000000000u,
        .breaker_probes = 1,
        .write_deadline_ns = 30000000000u,
    };
}

struct class_mutex {
    const struct aw_sink_class *class;
    pthread_mutex_t mutex;
    struct class_mutex *next;
};
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct class_mutex *entries; /* guard */

void delivery_forked(void)
{
    (void)pthread_mutex_init(&guard, NULL);
    entries = NULL; /* the parent's threads, which are not here, may have been in a call */
}

void delivery_drop_inherited(const struct delivery *d)
{
    if (d->sink && d->class->after_fork)
        (void)d->class->after_fork(d->sink);
}

pthread_mutex_t *worker_class_mutex(const struct aw_sink_class *class)
{
    pthread_mutex_lock(&guard);
    struct class_mutex *e = entries;
    while (e && e->class != class)
        e = e->next;
    if (!e) {
        e = calloc(1, sizeof *e);
        if (e) {
            e->class = class;
            pthread_mutex_init(&e->mutex, NULL);
            e->next = entries;
            entries = e;
        }
    }
    pthread_mutex_unlock(&guard);
    return e ? &e->mutex : NULL;
}

static int allocate(struct delivery *d, const struct delivery_options *o)
{
    size_t n = d->settings.batch_events;
    d->name = strdup(o->name);
    d->views = calloc(n, sizeof *d->views);
    d->final = malloc(n);
    d->status = malloc(n);
    d->slot = calloc(n, sizeof *d->slot);
    if (!d->name || !d->views || !d->final || !d->status || !d->slot || event_batch_create(&d->retry) < 0 ||
        host_create(o->name, &o->diag, &d->host) < 0 ||
        deadletter_create(o->state_dir, o->name, &o->diag, &d->deadletters) < 0)
        return diag_problem(AW_ERR_NOMEM, o->where, "sink \"%s\": out of memory", o->name);
    if (!o->metrics && metrics_create(1, &d->own_metrics) < 0)
        return diag_problem(AW_ERR_NOMEM, o->where, "sink \"%s\": out of memory", o->name);
    struct metrics *metrics = o->metrics ? o->metrics : d->own_metrics;
    size_t place = o->metrics ? o->metrics_sink : 0;
    metrics_name_sink(metrics, place, o->name, d->class->name);
    d->published = &metrics->sinks[place];
    host_set_metrics(d->host, metrics, place);
    if (o->pii && event_viewer_create(o->pii, o->pseudonyms, &d->viewer) < 0)
        return diag_problem(AW_ERR_NOMEM, o->where, "sink \"%s\": out of memory, or no SHA-256", o->name);
    if (d->class->thread_model < AW_THREADS_SERIAL_INSTANCE) {
        d->class_mutex = worker_class_mutex(d->class);
        if (!d->class_mutex)
            return diag_problem(AW_ERR_NOMEM, o->where, "sink \"%s\": out of memory", o->name);
    }
    return 0;
}

static int create_instance(struct delivery *d, const struct delivery_options *o)
{
    worker_lock_class(d);
    int32_t rc = d->class->create(host_table(d->host), d->config, &d->sink);
    worker_unlock_class(d);
    if (rc == AW_OK)
        return 0;
    d->sink = NULL;
    char text[180];
    host_last_error(d->host, text, sizeof text);
    return diag_problem(rc == AW_E_NOMEM ? AW_ERR_NOMEM : AW_ERR_CONFIG, o->where,
                        "sinks.%s: plugin \"%s\" refuses these settings: %s", o->name, d->class->name,
                        text[0] ? text : "it gave no reason");
}

int delivery_watch_init(struct delivery_watch *watch)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc != 0)
        return -rc;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&watch->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (rc == 0 && (rc = pthread_mutex_init(&watch->mutex, NULL)) != 0)
        pthread_cond_destroy(&watch->changed);
    return -rc;
}

void delivery_watch_destroy(struct delivery_watch *watch)
{
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->mutex);
}

static int init_locks(struct delivery *d)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return AW_ERR_NOMEM;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_mutex_init(&d->mutex, NULL) || pthread_cond_init(&d->changed, &attr) ||
             pthread_cond_init(&d->poke, &attr);
    pthread_condattr_destroy(&attr);
    return rc ? AW_ERR_NOMEM : 0;
}

int delivery_create(const struct delivery_options *o, struct delivery **ret)
{
    struct delivery *d = calloc(1, sizeof *d);
    if (!d || init_locks(d) != 0) {
        free(d);
        schema_config_destroy(o->config);
        return diag_problem(AW_ERR_NOMEM, o->where, "sink \"%s\": out of memory", o->name);
    }
    d->settings = o->settings;
    if (d->settings.batch_events == 0 || d->settings.batch_events > WORKER_MAX_BATCH)
        d->settings.batch_events = WORKER_MAX_BATCH;
    d->diag = o->diag;
    d->class = o->sink;
    d->config = o->config;
    d->from = o->from;
    d->where = o->where;
    d->watch = o->watch;
    int rc = allocate(d, o);
    if (rc == 0)
        rc = create_instance(d, o);
    if (rc != 0) {
        delivery_destroy(d);
        return rc;
    }
    breaker_init(&d->breaker, d->settings.breaker_threshold, d->settings.breaker_cooldown_ns,
                 d->settings.breaker_probes);
    if (ids_random(&d->random_state, sizeof d->random_state) < 0)
        d->random_state = clock_mono_ns(); /* jitter only */
    *ret = d;
    return 0;
}

int worker_thread(const char *name, void *(*fn)(void *), void *arg, pthread_t *ret)
{
    char text[16];
    snprintf(text, sizeof text, "aw:%.12s", name);
    return thread_start(ret, fn, arg, text);
}

int delivery_attach(struct delivery *d, struct journal *journal)
{
    d->journal = journal;
    int rc = journal_cursor_open(journal, d->name, d->from, &d->cursor);
    if (rc < 0)
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, d->name, "the sink's cursor cannot be opened: %s",
                            strerror(-rc));
    atomic_store(&d->acked, journal_cursor_acked(d->cursor));
    d->position = atomic_load(&d->acked);
    ledger_init(&d->ledger, d->position);
    worker_publish(d);
    return 0;
}

bool delivery_begins_late(const struct delivery *d, const char **ret_name, uint64_t *ret_seq)
{
    *ret_name = d->name;
    *ret_seq = d->position + 1;
    return d->position > 0 && journal_cursor_fresh(d->cursor) && d->class->extension &&
           d->class->extension(d->sink, AW_EXT_SINK_QUERY) != NULL;
}

int worker_first_start(struct delivery *d)
{
    int32_t started = worker_start_sink(d);
    if (started == AW_E_CONFIG) {
        char text[180];
        host_last_error(d->host, text, sizeof text);
        return diag_problem(AW_ERR_CONFIG, d->name, "plugin \"%s\" cannot start: %s", d->class->name,
                            text[0] ? text : "it gave no reason");
    }
    if (started != AW_OK) {
        worker_note_failure(d, started, "start");
        d->failures_in_row = 1;
        d->next_try_ns = clock_mono_ns() + d->settings.retry_base_ns;
    }
    worker_publish(d);
    return 0;
}

int delivery_start(struct delivery *d)
{
    int rc = worker_first_start(d);
    if (rc != 0)
        return rc;
    rc = worker_thread(d->name, worker_main, d, &d->thread);
    if (rc < 0)
        return diag_problem(AW_ERR_NOMEM, d->name, "no thread for the sink: %s", strerror(-rc));
    d->thread_started = true;
    return 0;
}

void worker_call(struct delivery *d)
{
    atomic_store_explicit(&d->wanted, true, memory_order_release);
    if (d->group) {
        together_poke(d->group);
        return;
    }
    d->poked = true;
    pthread_cond_signal(&d->poke);
}

struct timespec worker_timespec(uint64_t deadline_ns)
{
    /* "for ever" is a year: time_t arithmetic of the C library stays in range */
    uint64_t latest = clock_mono_ns() + 31536000000000000u;
    uint64_t t = deadline_ns < latest ? deadline_ns : latest;
    return (struct timespec){(time_t)(t / 1000000000u), (long)(t % 1000000000u)};
}

void delivery_hurry(struct delivery *d)
{
    pthread_mutex_lock(&d->mutex);
    d->waiters++;
    worker_call(d);
    pthread_mutex_unlock(&d->mutex);
}

void delivery_rest(struct delivery *d)
{
    pthread_mutex_lock(&d->mutex);
    if (--d->waiters == 0) {
        seqset_free(&d->refused);
        d->refused_unknown = false;
    }
    pthread_mutex_unlock(&d->mutex);
}

int delivery_flush(struct delivery *d, uint64_t seq, uint64_t deadline_mono_ns)
{
    if (atomic_load_explicit(&d->acked, memory_order_acquire) >= seq)
        return 0;
    if (!d->thread_started)
        return -EIO;
    struct timespec until = worker_timespec(deadline_mono_ns);
    int rc = 0;
    delivery_hurry(d);
    journal_wake(d->journal);
    pthread_mutex_lock(&d->mutex);
    while (atomic_load_explicit(&d->acked, memory_order_acquire) < seq && rc == 0) {
        if (d->failed_for_good || d->ended)
            rc = -EIO;
        else if (pthread_cond_timedwait(&d->changed, &d->mutex, &until) == ETIMEDOUT)
            rc = atomic_load_explicit(&d->acked, memory_order_acquire) >= seq ? 0 : -ETIMEDOUT;
    }
    pthread_mutex_unlock(&d->mutex);
    delivery_rest(d);
    return rc;
}

enum delivery_outcome delivery_outcome(struct delivery *d, uint64_t seq)
{
    pthread_mutex_lock(&d->mutex);
    bool done = atomic_load_explicit(&d->acked, memory_order_acquire) >= seq;
    bool refused = seqset_find(&d->refused, seq) != NULL || (done && d->refused_unknown);
    bool down = !d->thread_started || d->failed_for_good || d->ended;
    pthread_mutex_unlock(&d->mutex);
    return refused ? DELIVERY_REFUSED : done ? DELIVERY_DONE : down ? DELIVERY_DOWN : DELIVERY_PENDING;
}

void delivery_reopen(struct delivery *d)
{
    atomic_store_explicit(&d->reopen, true, memory_order_relaxed);
    pthread_mutex_lock(&d->mutex);
    d->failed_for_good = false; /* it may be mended: who waits from here on waits for the attempt */
    worker_call(d);
    pthread_mutex_unlock(&d->mutex);
    if (d->journal)
        journal_wake(d->journal);
}

struct timespec worker_ask_to_stop(struct delivery *d, uint64_t deadline_mono_ns)
{
    pthread_mutex_lock(&d->mutex);
    d->stop_requested = true;
    d->stop_deadline_ns = deadline_mono_ns;
    worker_call(d);
    pthread_mutex_unlock(&d->mutex);
    journal_wake(d->journal);
    /* A second more than the deadline: the worker itself needs a moment to leave at it. */
    return worker_timespec(deadline_mono_ns < UINT64_MAX - 1000000000u ? deadline_mono_ns + 1000000000u
                                                                       : deadline_mono_ns);
}

int delivery_stop(struct delivery *d, uint64_t deadline_mono_ns)
{
    if (d->group)
        return together_stop(d, deadline_mono_ns);
    if (!d->thread_started)
        return d->abandoned ? -ETIMEDOUT : 0;
    uint64_t head = journal_head(d->journal);
    struct timespec until = worker_ask_to_stop(d, deadline_mono_ns);
    pthread_mutex_lock(&d->mutex);
    while (!d->ended && !d->abandoned) {
        /* outside of the plugin it is on its way, and comes to its end */
        if (pthread_cond_timedwait(&d->changed, &d->mutex, &until) == ETIMEDOUT && !d->ended) {
            d->abandoned = d->in_call;
            until = worker_timespec(clock_mono_ns() + 10000000u);
        }
    }
    bool failed = d->failed_for_good;
    pthread_mutex_unlock(&d->mutex);
    d->thread_started = false;
    if (!d->abandoned) {
        pthread_join(d->thread, NULL);
    } else {
        pthread_detach(d->thread);
        host_mute(d->host);
        diag_log(&d->diag, AW_LOG_PLUGIN_MISBEHAVING, d->name,
                 "the plugin does not return from a call; its thread is given up");
    }
    if (atomic_load_explicit(&d->acked, memory_order_acquire) >= head)
        return 0;
    return failed ? -EIO : -ETIMEDOUT;
}

bool delivery_destroy(struct delivery *d)
{
    if (!d)
        return true;
    if (d->abandoned)
        return false;
    if (d->sink) {
        worker_lock_class(d);
        d->class->destroy(d->sink);
        worker_unlock_class(d);
    }
    journal_cursor_close(d->cursor);
    deadletter_destroy(d->deadletters);
    event_batch_destroy(d->retry);
    event_viewer_destroy(d->viewer);
    host_destroy(d->host);
    metrics_destroy(d->own_metrics);
    schema_config_destroy(d->config);
    pthread_cond_destroy(&d->changed);
    pthread_cond_destroy(&d->poke);
    pthread_mutex_destroy(&d->mutex);
    seqset_free(&d->refused);
    free(d->views);
    free(d->final);
    free(d->status);
    free(d->slot);
    free(d->name);
    free(d);
    return true;
}

uint64_t delivery_acked(const struct delivery *d)
{
    return atomic_load_explicit(&d->acked, memory_order_acquire);
}
