/* worker.c - the thread that moves one sink's cursor: read, write, settle, flush, acknowledge.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A batch stays in hand until every event of it is settled: delivered (DURABLE, DUPLICATE, or ACCEPTED where the sink
 * can do no more), ACCEPTED and waiting for flush(), or dead-lettered. What is not settled is sent again, in order. The
 * cursor moves only over what is settled and flushed; so whatever fails, the journal still holds what the sink may
 * lack.
 */
#include "config.h"

#include "delivery/worker.h"

#include "base/base.h"
#include "base/clock.h"
#include "delivery/retry.h"
#include "delivery/viewing.h"

#include <stdio.h>

/* How long the worker may sleep while it waits for a time, so that it notices a stop soon even if a wake-up is missed.
 */
#define NAP_MAX_NS 100000000u

/* AW_EVENT_* outside the ABI: ACCEPTED and still to be flushed. */
#define SETTLED_ACCEPTED AW_EVENT_ACCEPTED

static const char *code_name(int32_t code)
{
    switch (code) {
    case AW_E_RETRY:
        return "RETRY";
    case AW_E_THROTTLED:
        return "THROTTLED";
    case AW_E_UNAVAILABLE:
        return "UNAVAILABLE";
    case AW_E_TIMEOUT:
        return "TIMEOUT";
    case AW_E_REJECTED:
        return "REJECTED";
    case AW_E_CONFIG:
        return "CONFIG";
    case AW_E_NOMEM:
        return "NOMEM";
    case AW_E_UNSUPPORTED:
        return "UNSUPPORTED";
    case AW_E_NOTFOUND:
        return "NOTFOUND";
    default:
        return "INTERNAL";
    }
}

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

static void call_begins(struct delivery *d)
{
    set_in_call(d, true);
    worker_lock_class(d);
    if (d->class_mutex)
        set_in_call(d, true); /* given up while it waited for another instance? */
    host_clear_error(d->host);
    atomic_store_explicit(&d->call_since_ns, clock_mono_ns(), memory_order_relaxed);
}

static void call_ends(struct delivery *d)
{
    atomic_store_explicit(&d->call_since_ns, 0, memory_order_relaxed);
    worker_unlock_class(d);
    set_in_call(d, false);
}

void worker_note_failure(struct delivery *d, int32_t code, const char *what)
{
    char text[180];
    host_last_error(d->host, text, sizeof text);
    atomic_store_explicit(&d->last_error_code, code, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->failures, 1, memory_order_relaxed);
    pthread_mutex_lock(&d->mutex);
    snprintf(d->last_error, sizeof d->last_error, "%s: %s%s%s", what, code_name(code), text[0] ? ": " : "", text);
    pthread_mutex_unlock(&d->mutex);
    /* The first failure of a row is news, then one line per retry_max: an outage must not fill the log. */
    uint32_t every = d->settings.retry_max ? d->settings.retry_max : 1;
    if (d->failures_in_row % every == 0)
        diag_log(&d->diag, code == AW_E_CONFIG ? AW_LOG_ERROR : AW_LOG_WARNING, d->name,
                 "%s: %s%s%s (failure %u in a row)", what, code_name(code), text[0] ? ": " : "", text,
                 d->failures_in_row + 1);
}

static void signal_change(struct delivery *d)
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

static void acknowledge(struct delivery *d, uint64_t seq)
{
    if (seq <= atomic_load_explicit(&d->acked, memory_order_relaxed))
        return;
    int rc = journal_cursor_ack(d->cursor, seq);
    if (rc < 0)
        diag_log(&d->diag, AW_LOG_WARNING, d->name, "cursor at seq %llu not stored yet: %s", (unsigned long long)seq,
                 strerror(-rc));
    atomic_store_explicit(&d->acked, seq, memory_order_release);
    if (atomic_load_explicit(&d->wanted, memory_order_acquire))
        signal_change(d);
}

/* ---- failures of the instance ------------------------------------------------------------------------------------ */

static void give_up_until_reopened(struct delivery *d)
{
    d->stop_for_good = true;
    pthread_mutex_lock(&d->mutex);
    d->failed_for_good = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
    signal_change(d);
    diag_log(&d->diag, AW_LOG_ERROR, d->name,
             "stopped: the sink says its configuration is wrong; events wait in the journal until it is mended and "
             "reopened");
}

/* Decides when the next call may be made. */
static void back_off(struct delivery *d, int32_t code, uint32_t retry_after_ms, const char *what)
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
    atomic_store_explicit(&d->breaker_open, d->breaker.state == BREAKER_OPEN, memory_order_relaxed);
}

static void succeeded(struct delivery *d)
{
    d->failures_in_row = 0;
    d->next_try_ns = 0;
    breaker_success(&d->breaker);
    atomic_store_explicit(&d->breaker_open, d->breaker.state == BREAKER_OPEN, memory_order_relaxed);
    atomic_store_explicit(&d->last_success_ns, clock_real_ns(), memory_order_relaxed);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

/* Where the sink itself says it stands. It is believed only if the journal holds that very event. */
static void adopt_position(struct delivery *d)
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
            acknowledge(d, at.seq);
            return;
        }
    }
    diag_log(
        &d->diag, AW_LOG_WARNING, d->name,
        "the store ends with seq %llu, which this journal does not hold: it goes on behind its own cursor, seq %llu",
        (unsigned long long)at.seq, (unsigned long long)atomic_load_explicit(&d->acked, memory_order_relaxed));
}

/* Forgets what is in hand and reads again from the last acknowledged event. */
static void rewind_to_acked(struct delivery *d)
{
    uint64_t acked = atomic_load_explicit(&d->acked, memory_order_relaxed);
    d->count = d->open_count = 0;
    d->attempts = 0;
    d->isolate = 0;
    d->flush_pending = false;
    d->accepted_seq = acked;
    (void)journal_cursor_seek(d->cursor, acked);
}

int32_t worker_start_sink(struct delivery *d)
{
    int32_t rc = AW_OK;
    call_begins(d);
    if (d->class->start)
        rc = d->class->start(d->sink);
    if (rc == AW_OK)
        adopt_position(d);
    call_ends(d);
    if (rc != AW_OK)
        return rc < 0 ? rc : AW_E_INTERNAL;
    d->started = true;
    rewind_to_acked(d);
    return AW_OK;
}

static void stop_sink(struct delivery *d, uint64_t deadline_ns)
{
    if (!d->started)
        return;
    d->started = false;
    int32_t rc = AW_OK;
    call_begins(d);
    if (d->class->stop)
        rc = d->class->stop(d->sink, deadline_ns);
    call_ends(d);
    if (rc != AW_OK)
        worker_note_failure(d, rc, "stop");
}

static void try_to_start(struct delivery *d)
{
    int32_t rc = worker_start_sink(d);
    if (rc == AW_OK) {
        succeeded(d);
        diag_log(&d->diag, AW_LOG_INFO, d->name, "started");
    } else {
        back_off(d, rc, 0, "start");
    }
}

static void do_reopen(struct delivery *d)
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
        call_begins(d);
        int32_t rc = d->class->reopen(d->sink);
        call_ends(d);
        if (rc == AW_OK)
            return;
        worker_note_failure(d, rc, "reopen");
    }
    stop_sink(d, clock_mono_ns() + d->settings.write_deadline_ns); /* the main loop starts it again */
}

/* ---- flushing ---------------------------------------------------------------------------------------------------- */

static void flush_sink(struct delivery *d)
{
    uint64_t durable = 0;
    call_begins(d);
    int32_t rc = d->class->flush(d->sink, clock_mono_ns() + d->settings.write_deadline_ns, &durable);
    call_ends(d);
    if (rc != AW_OK) {
        /* What was ACCEPTED since the last flush may be gone. A restarted sink says where it stands; then all is sent
         * again. */
        back_off(d, rc < 0 ? rc : AW_E_INTERNAL, 0, "flush");
        stop_sink(d, clock_mono_ns() + d->settings.write_deadline_ns);
        rewind_to_acked(d);
        return;
    }
    succeeded(d);
    bool all = durable >= d->given_seq; /* behind it are only events that are missing */
    uint64_t upto = all || durable > d->accepted_seq ? d->accepted_seq : durable;
    if (!all)
        d->flush_due_ns = clock_mono_ns() + d->settings.flush_interval_ns;
    else
        d->flush_pending = false;
    acknowledge(d, upto);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool dead_letter(struct delivery *d, size_t view, const char *reason)
{
    int rc = deadletter_add(d->deadletters, &d->views[view], d->attempts, reason);
    if (rc < 0) {
        diag_log(&d->diag, AW_LOG_ERROR, d->name, "%s: cannot store a dead letter: %s; the event stays queued",
                 deadletter_path(d->deadletters), strerror(-rc));
        return false;
    }
    diag_log(&d->diag, AW_LOG_WARNING, d->name, "seq %llu rejected: %s; kept in %s",
             (unsigned long long)d->views[view].head->seq, reason, deadletter_path(d->deadletters));
    atomic_fetch_add_explicit(&d->rejected, 1, memory_order_relaxed);
    pthread_mutex_lock(&d->mutex);
    uint64_t seq = d->views[view].head->seq;
    if (d->waiters > 0 && seqset_add(&d->refused, seq, seq) < 0)
        d->refused_unknown = true;
    pthread_mutex_unlock(&d->mutex);
    return true;
}

/* Takes over one event's status. */
static void settle(struct delivery *d, size_t sent_index, uint8_t status)
{
    size_t view = d->slot[sent_index];
    switch (status) {
    case AW_EVENT_ACCEPTED:
    case AW_EVENT_DURABLE:
        atomic_fetch_add_explicit(&d->written, 1, memory_order_relaxed);
        break;
    case AW_EVENT_DUPLICATE:
        atomic_fetch_add_explicit(&d->duplicates, 1, memory_order_relaxed);
        break;
    case AW_EVENT_REJECTED: {
        const char *reason = event_batch_error(d->retry, sent_index);
        char text[180];
        host_last_error(d->host, text, sizeof text);
        if (!dead_letter(d, view, reason ? reason : text[0] ? text : "the sink gave no reason"))
            return;
        break;
    }
    default: /* UNKNOWN, RETRY, and anything this host does not know */
        atomic_fetch_add_explicit(&d->retries, 1, memory_order_relaxed);
        return;
    }
    d->final[view] = status;
    d->open_count--;
}

/* Puts one event into the call under way, as the sink may have it. -ENODATA: it went to the dead letters, in full,
 * since no view can ever be made of it. */
static int add_event(struct delivery *d, size_t view)
{
    int rc = viewing_add(d->viewer, d->retry, &d->views[view]);
    const char *fault = viewing_fault(rc);
    if (!fault)
        return rc;
    if (!dead_letter(d, view, fault))
        return -EIO;
    d->final[view] = AW_EVENT_REJECTED;
    d->open_count--;
    return -ENODATA;
}

/* Gathers the unsettled events of the batch in hand. */
static int gather_open(struct delivery *d, size_t *ret_count)
{
    size_t limit = d->isolate ? d->isolate : d->count, n = 0;
    event_batch_reset(d->retry);
    for (size_t i = 0; i < d->count && n < limit; i++) {
        if (d->final[i] != AW_EVENT_RETRY)
            continue;
        int rc = add_event(d, i);
        if (rc == 0)
            d->slot[n++] = (uint32_t)i;
        else if (rc != -ENODATA)
            return rc;
    }
    memset(d->status, AW_EVENT_UNKNOWN, n);
    *ret_count = n;
    return 0;
}

/* A whole batch was refused: halve what a call may hold until the culprit stands alone. */
static void isolate_culprit(struct delivery *d, size_t sent)
{
    if (sent > 1) {
        d->isolate = (uint32_t)(sent / 2);
        return;
    }
    char text[180];
    host_last_error(d->host, text, sizeof text);
    if (dead_letter(d, d->slot[0], text[0] ? text : "the sink gave no reason")) {
        d->final[d->slot[0]] = AW_EVENT_REJECTED;
        d->open_count--;
    } else {
        d->next_try_ns = clock_mono_ns() + d->settings.retry_base_ns;
    }
}

static int32_t call_write(struct delivery *d, size_t sent, uint32_t *ret_retry_after_ms)
{
    size_t count;
    const struct aw_event *const *events = event_batch_events(d->retry, &count);
    struct aw_batch batch = {
        .struct_size = sizeof batch,
        .first_seq = d->views[d->slot[0]].head->seq,
        .last_seq = d->views[d->slot[sent - 1]].head->seq,
        .deadline_ns = clock_mono_ns() + d->settings.write_deadline_ns,
        .count = count,
        .events = events,
    };
    struct aw_result result = {.struct_size = sizeof result, .count = count, .status = d->status};
    call_begins(d);
    host_bind_batch(d->host, d->retry);
    int32_t rc = d->class->write(d->sink, &batch, &result);
    host_bind_batch(d->host, NULL);
    call_ends(d);
    *ret_retry_after_ms = result.retry_after_ms;
    return rc;
}

/* Everything of the batch is settled: the cursor may move, at once or with the next flush. */
static void finish_batch(struct delivery *d)
{
    bool waits = d->class->flush && d->class->durability != AW_DURABLE_NEVER && d->flush_pending;
    for (size_t i = 0; i < d->count && !waits; i++)
        waits = d->final[i] == SETTLED_ACCEPTED && d->class->flush && d->class->durability != AW_DURABLE_NEVER;
    uint64_t last = d->views[d->count - 1].head->seq;
    d->given_seq = d->accepted_seq = last;
    if (!waits)
        acknowledge(d, last);
    else if (!d->flush_pending) {
        d->flush_pending = true;
        d->flush_due_ns = clock_mono_ns() + d->settings.flush_interval_ns;
    }
    d->count = d->open_count = 0;
    d->attempts = 0;
    d->isolate = 0;
}

static void write_open(struct delivery *d)
{
    size_t sent = 0;
    uint32_t retry_after_ms;
    if (gather_open(d, &sent) < 0) {
        back_off(d, AW_E_NOMEM, 0, "write");
        return;
    }
    if (sent == 0) { /* each one went to the dead letters */
        finish_batch(d);
        return;
    }
    d->attempts++;
    int32_t rc = call_write(d, sent, &retry_after_ms);
    atomic_fetch_add_explicit(&d->batches, 1, memory_order_relaxed);
    size_t before = d->open_count;
    if (rc == AW_E_REJECTED) {
        isolate_culprit(d, sent);
    } else {
        for (size_t i = 0; i < sent; i++)
            settle(d, i, d->status[i]);
        if (rc == AW_OK && d->open_count == before)
            rc = AW_E_RETRY; /* nothing was settled: without a pause this would spin */
        if (rc == AW_OK)
            succeeded(d);
        else
            back_off(d, rc < 0 ? rc : AW_E_INTERNAL, retry_after_ms, "write");
    }
    if (d->open_count == 0)
        finish_batch(d);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void read_batch(struct delivery *d)
{
    size_t n = 0;
    int rc = journal_cursor_read(d->cursor, d->views, d->settings.batch_events, d->settings.batch_bytes, &n);
    if (rc == -EBADMSG)
        return; /* reported and counted by the journal; the damaged record is behind us */
    if (rc < 0) {
        diag_log(&d->diag, AW_LOG_ERROR, d->name, "cannot read the journal: %s", strerror(-rc));
        d->next_try_ns = clock_mono_ns() + d->settings.retry_base_ns;
        return;
    }
    memset(d->final, AW_EVENT_RETRY, n);
    d->count = d->open_count = n;
    uint64_t passed = journal_cursor_passed(d->cursor);
    if (n == 0 && passed > d->accepted_seq) { /* the journal's last events are missing: nobody waits for them */
        d->accepted_seq = passed;
        if (!d->flush_pending)
            acknowledge(d, passed);
    }
}

struct wants {
    bool stop, flush;
    uint64_t deadline_ns;
};

static struct wants look_at_wants(struct delivery *d)
{
    struct wants w = {false, false, UINT64_MAX};
    if (!atomic_load_explicit(&d->wanted, memory_order_acquire))
        return w;
    pthread_mutex_lock(&d->mutex);
    w.stop = d->stop_requested;
    w.flush = d->waiters > 0 || d->stop_requested;
    w.deadline_ns = d->stop_requested ? d->stop_deadline_ns : UINT64_MAX;
    if (!w.flush && !atomic_load_explicit(&d->reopen, memory_order_relaxed))
        atomic_store_explicit(&d->wanted, false, memory_order_relaxed);
    pthread_mutex_unlock(&d->mutex);
    return w;
}

static void wait_until(struct delivery *d, uint64_t when_ns, uint64_t now_ns)
{
    uint64_t latest = now_ns + NAP_MAX_NS;
    (void)journal_cursor_wait(d->cursor, when_ns < latest ? when_ns : latest);
}

/* Waits for a time although the journal may have more to read; stop, reopen and flush end it early. */
static void pause_until(struct delivery *d, uint64_t when_ns)
{
    struct timespec t = {(time_t)(when_ns / 1000000000u), (long)(when_ns % 1000000000u)};
    pthread_mutex_lock(&d->mutex);
    if (!d->poked)
        (void)pthread_cond_timedwait(&d->poke, &d->mutex, &t); /* time-outs and spurious wake-ups alike: look again */
    d->poked = false;
    pthread_mutex_unlock(&d->mutex);
}

/* One step; false: leave the loop. */
static bool step(struct delivery *d)
{
    struct wants w = look_at_wants(d);
    uint64_t now = clock_mono_ns();
    if (w.stop && (now >= w.deadline_ns || d->stop_for_good))
        return false;
    if (atomic_load_explicit(&d->reopen, memory_order_relaxed))
        do_reopen(d);
    if (d->stop_for_good) {
        pause_until(d, now + 3600000000000u);
        return true;
    }
    if (now < d->next_try_ns) {
        pause_until(d, d->next_try_ns < w.deadline_ns ? d->next_try_ns : w.deadline_ns);
        return true;
    }
    if (!breaker_allows(&d->breaker, now)) {
        pause_until(d, d->breaker.open_until_ns < w.deadline_ns ? d->breaker.open_until_ns : w.deadline_ns);
        return true;
    }
    if (!d->started) {
        try_to_start(d);
        return true;
    }
    if (d->count == 0)
        read_batch(d);
    if (d->count > 0) {
        write_open(d);
        if (!d->flush_pending || now < d->flush_due_ns)
            return true;
    }
    if (d->flush_pending && d->started && (w.flush || now >= d->flush_due_ns)) {
        flush_sink(d);
        return true;
    }
    if (d->count > 0)
        return true;
    if (w.stop && !d->flush_pending &&
        atomic_load_explicit(&d->acked, memory_order_relaxed) >= journal_head(d->journal))
        return false;
    wait_until(d, d->flush_pending ? d->flush_due_ns : UINT64_MAX, now);
    return true;
}

void *worker_main(void *arg)
{
    struct delivery *d = arg;
    while (step(d))
        ;
    stop_sink(d, clock_mono_ns() + 1000000000u);
    pthread_mutex_lock(&d->mutex);
    d->ended = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
    signal_change(d);
    return NULL;
}
