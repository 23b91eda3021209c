/* calls.c - calls of a sink's plugin and what follows from their results, for the sink's own worker and for the
 * coordinator of all_or_nothing. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "delivery/worker.h"

#include "base/base.h"
#include "base/clock.h"
#include "delivery/retry.h"

#include <stdio.h>

void worker_lock_class(struct delivery *d)
{
    if (d->class_mutex)
        pthread_mutex_lock(d->class_mutex);
}

void worker_unlock_class(struct delivery *d)
{
    if (d->class_mutex)
        pthread_mutex_unlock(d->class_mutex);
}

/* An abandoned worker ends where it comes back: nothing of the journal or the logger may be touched any more. */
static void set_in_call(struct delivery *d, bool in_call)
{
    pthread_mutex_lock(&d->mutex);
    d->in_call = in_call;
    bool abandoned = d->abandoned;
    pthread_mutex_unlock(&d->mutex);
    if (abandoned) {
        if (in_call)
            worker_unlock_class(d);
        pthread_exit(NULL);
    }
}

void worker_call_begins(struct delivery *d)
{
    set_in_call(d, true);
    worker_lock_class(d);
    if (d->class_mutex)
        set_in_call(d, true); /* given up while it waited for another instance? */
    host_clear_error(d->host);
    d->call_since_ns = clock_mono_ns();
    worker_publish(d);
}

void worker_call_ends(struct delivery *d)
{
    d->call_since_ns = 0;
    worker_unlock_class(d);
    set_in_call(d, false);
}

void worker_signal(struct delivery *d)
{
    pthread_mutex_lock(&d->mutex);
    if (d->waiters > 0)
        pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
    if (d->watch) {
        pthread_mutex_lock(&d->watch->mutex);
        pthread_cond_broadcast(&d->watch->changed);
        pthread_mutex_unlock(&d->watch->mutex);
    }
}

void worker_acknowledge(struct delivery *d, uint64_t seq)
{
    if (seq <= atomic_load_explicit(&d->acked, memory_order_relaxed))
        return;
    int rc = journal_cursor_ack(d->cursor, seq);
    if (rc < 0)
        diag_log(&d->diag, AW_LOG_WARNING, d->name, "cursor at seq %llu not stored yet: %s", (unsigned long long)seq,
                 strerror(-rc));
    ledger_ack(&d->ledger, seq);
    d->position = seq;
    worker_publish(d); /* who waits for `acked` finds the figures that go with it */
    atomic_store_explicit(&d->acked, seq, memory_order_release);
    if (atomic_load_explicit(&d->wanted, memory_order_acquire))
        worker_signal(d);
}

static void give_up_until_reopened(struct delivery *d)
{
    d->stop_for_good = true;
    worker_publish(d);
    pthread_mutex_lock(&d->mutex);
    d->failed_for_good = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
    worker_signal(d);
    diag_log(&d->diag, AW_LOG_ERROR, d->name,
             "stopped: the sink says its configuration is wrong; events wait in the journal until it is mended and "
             "reopened");
}

/* Decides when the next call may be made. */
void worker_back_off(struct delivery *d, int32_t code, uint32_t retry_after_ms, const char *what)
{
    uint64_t now = clock_mono_ns();
    worker_note_failure(d, code, what);
    d->failures_in_row++;
    if (code == AW_E_CONFIG) {
        give_up_until_reopened(d);
        return;
    }
    uint64_t delay =
        retry_delay_ns(d->settings.retry_base_ns, d->settings.retry_cap_ns, d->failures_in_row, d->random_state);
    d->random_state = d->random_state * 6364136223846793005u + 1442695040888963407u;
    if (code == AW_E_THROTTLED && retry_after_ms > 0)
        delay = (uint64_t)retry_after_ms * 1000000u;
    else if (code == AW_E_UNAVAILABLE)
        breaker_trip(&d->breaker, now);
    else
        breaker_failure(&d->breaker, now);
    d->next_try_ns = now + delay;
}

void worker_succeeded(struct delivery *d)
{
    d->failures_in_row = 0;
    d->next_try_ns = 0;
    breaker_success(&d->breaker);
    d->last_success_ns = clock_real_ns();
}

/* Where the sink itself says it stands. It is believed only if the journal holds that very event. */
void worker_adopt_position(struct delivery *d)
{
    const struct aw_sink_position *ext = NULL;
    if (d->class->extension)
        ext = d->class->extension(d->sink, AW_EXT_SINK_POSITION);
    if (!ext || !AW_HAS(struct aw_sink_position, ext, position) || !ext->position)
        return;
    struct aw_position at = {.struct_size = sizeof at};
    host_clear_error(d->host);
    int32_t rc = ext->position(d->sink, &at);
    if (rc == AW_E_NOTFOUND)
        return;
    if (rc != AW_OK) {
        char text[180];
        host_last_error(d->host, text, sizeof text);
        diag_log(&d->diag, AW_LOG_WARNING, d->name, "cannot tell where it stands (%s): events may be written twice",
                 text);
        return;
    }
    uint8_t hash[32];
    char hex[65] = "";
    if (at.seq <= atomic_load_explicit(&d->acked, memory_order_relaxed))
        return;
    if (journal_lookup_hash(d->journal, at.seq, hash) == 0) {
        hash_hex(hash, sizeof hash, hex);
        if (strncmp(hex, at.hash, sizeof hex) == 0) {
            ledger_found(&d->ledger, at.seq);
            worker_acknowledge(d, at.seq);
            return;
        }
    }
    diag_log(
        &d->diag, AW_LOG_WARNING, d->name,
        "the store ends with seq %llu, which this journal does not hold: it goes on behind its own cursor, seq %llu",
        (unsigned long long)at.seq, (unsigned long long)atomic_load_explicit(&d->acked, memory_order_relaxed));
}

void worker_stop_sink(struct delivery *d, uint64_t deadline_ns)
{
    if (!d->started)
        return;
    d->started = false;
    int32_t rc = AW_OK;
    worker_call_begins(d);
    if (d->class->stop)
        rc = d->class->stop(d->sink, deadline_ns);
    worker_call_ends(d);
    if (rc != AW_OK)
        worker_note_failure(d, rc, "stop");
}

void worker_reopen_sink(struct delivery *d)
{
    atomic_store_explicit(&d->reopen, false, memory_order_relaxed);
    if (d->stop_for_good) {
        d->stop_for_good = false;
        pthread_mutex_lock(&d->mutex);
        d->failed_for_good = false;
        pthread_mutex_unlock(&d->mutex);
    }
    d->next_try_ns = 0;
    if (!d->started)
        return;
    if (d->class->reopen) {
        worker_call_begins(d);
        int32_t rc = d->class->reopen(d->sink);
        worker_call_ends(d);
        if (rc == AW_OK)
            return;
        worker_note_failure(d, rc, "reopen");
    }
    worker_stop_sink(d, clock_mono_ns() + d->settings.write_deadline_ns); /* the main loop starts it again */
}

bool worker_dead_letter(struct delivery *d, const struct record_view *view, const char *reason)
{
    int rc = deadletter_add(d->deadletters, view, d->attempts, reason);
    if (rc < 0) {
        diag_log(&d->diag, AW_LOG_ERROR, d->name, "%s: cannot store a dead letter: %s; the event stays queued",
                 deadletter_path(d->deadletters), strerror(-rc));
        return false;
    }
    diag_log(&d->diag, AW_LOG_WARNING, d->name, "seq %llu rejected: %s; kept in %s",
             (unsigned long long)view->head->seq, reason, deadletter_path(d->deadletters));
    d->permanent++;
    pthread_mutex_lock(&d->mutex);
    if (d->waiters > 0 && seqset_add(&d->refused, view->head->seq, view->head->seq) < 0)
        d->refused_unknown = true;
    pthread_mutex_unlock(&d->mutex);
    return true;
}
