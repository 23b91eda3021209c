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
#include "delivery/staging.h"
#include "delivery/viewing.h"

/* How long the worker may sleep while it waits for a time, so that it notices a stop soon even if a wake-up is missed.
 */
#define NAP_MAX_NS 100000000u
#define IDLE_FLUSH_NS 5000000u /* between flushes that change nothing, while somebody waits */

/* AW_EVENT_* outside the ABI: ACCEPTED and still to be flushed. */
#define SETTLED_ACCEPTED AW_EVENT_ACCEPTED

/* ---- starting ---------------------------------------------------------------------------------------------------- */

/* Forgets what is in hand and reads again from the last acknowledged event. */
static void rewind_to_acked(struct delivery *d)
{
    uint64_t acked = atomic_load_explicit(&d->acked, memory_order_relaxed);
    d->count = d->open_count = 0;
    d->attempts = 0;
    d->isolate = 0;
    d->flush_pending = false;
    d->accepted_seq = acked;
    ledger_rewind(&d->ledger);
    (void)journal_cursor_seek(d->cursor, acked);
}

int32_t worker_start_sink(struct delivery *d)
{
    int32_t rc = AW_OK;
    worker_call_begins(d);
    if (d->class->start)
        rc = d->class->start(d->sink);
    if (rc == AW_OK && !d->group) { /* the group decides first what becomes of what is staged */
        staging_forget(d);
        worker_adopt_position(d);
    }
    worker_call_ends(d);
    if (rc != AW_OK)
        return rc < 0 ? rc : AW_E_INTERNAL;
    d->started = true;
    if (!d->group)
        rewind_to_acked(d);
    return AW_OK;
}

void worker_try_to_start(struct delivery *d)
{
    int32_t rc = worker_start_sink(d);
    if (rc == AW_OK) {
        worker_succeeded(d);
        diag_log(&d->diag, AW_LOG_INFO, d->name, "started");
    } else {
        worker_back_off(d, rc, 0, "start");
    }
}

/* ---- flushing ---------------------------------------------------------------------------------------------------- */

static void flush_sink(struct delivery *d)
{
    uint64_t durable = 0;
    worker_call_begins(d);
    int32_t rc = d->class->flush(d->sink, clock_mono_ns() + d->settings.write_deadline_ns, &durable);
    worker_call_ends(d);
    if (rc != AW_OK) {
        /* What was ACCEPTED since the last flush may be gone. A restarted sink says where it stands; then all is sent
         * again. */
        worker_back_off(d, rc < 0 ? rc : AW_E_INTERNAL, 0, "flush");
        worker_stop_sink(d, clock_mono_ns() + d->settings.write_deadline_ns);
        rewind_to_acked(d);
        return;
    }
    worker_succeeded(d);
    bool all = durable >= d->given_seq; /* behind it are only events that are missing */
    uint64_t upto = all || durable > d->accepted_seq ? d->accepted_seq : durable;
    if (!all && d->oldest_seq <= upto)
        d->oldest_seq = upto + 1; /* not older than the one before: that is near enough */
    d->flush_pending = !all;
    if (!all) {
        uint64_t now = clock_mono_ns();
        d->flush_due_ns = now + d->settings.flush_interval_ns;
        if (upto <= atomic_load_explicit(&d->acked, memory_order_relaxed))
            d->flush_again_ns = now + IDLE_FLUSH_NS;
    }
    worker_acknowledge(d, upto);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Takes over one event's status. */
static void settle(struct delivery *d, size_t sent_index, uint8_t status)
{
    size_t view = d->slot[sent_index];
    switch (status) {
    case AW_EVENT_ACCEPTED:
    case AW_EVENT_DURABLE:
    case AW_EVENT_DUPLICATE:
        break;
    case AW_EVENT_REJECTED: {
        const char *reason = event_batch_error(d->retry, sent_index);
        char text[180];
        host_last_error(d->host, text, sizeof text);
        if (!worker_dead_letter(d, &d->views[view], reason ? reason : text[0] ? text : "the sink gave no reason"))
            return;
        break;
    }
    default: /* UNKNOWN, RETRY, and anything this host does not know */
        d->transient++;
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
    if (!worker_dead_letter(d, &d->views[view], fault))
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
        d->transient += sent; /* all are sent again */
        return;
    }
    char text[180];
    host_last_error(d->host, text, sizeof text);
    if (worker_dead_letter(d, &d->views[d->slot[0]], text[0] ? text : "the sink gave no reason")) {
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
    worker_call_begins(d);
    host_bind_batch(d->host, d->retry);
    int32_t rc = d->class->write(d->sink, &batch, &result);
    metrics_observe(&d->published->writes, metrics_write_bounds, clock_mono_ns() - d->call_since_ns);
    host_bind_batch(d->host, NULL);
    worker_call_ends(d);
    *ret_retry_after_ms = result.retry_after_ms;
    return rc;
}

static enum ledger_outcome outcome_of(uint8_t status)
{
    return status == AW_EVENT_REJECTED ? LEDGER_DEAD : status == AW_EVENT_DUPLICATE ? LEDGER_DUPLICATE : LEDGER_WRITTEN;
}

/* Everything of the batch is settled: the cursor may move, at once or with the next flush. */
static void finish_batch(struct delivery *d)
{
    bool waits = d->class->flush && d->class->durability != AW_DURABLE_NEVER && d->flush_pending;
    for (size_t i = 0; i < d->count && !waits; i++)
        waits = d->final[i] == SETTLED_ACCEPTED && d->class->flush && d->class->durability != AW_DURABLE_NEVER;
    uint64_t last = d->views[d->count - 1].head->seq;
    for (size_t i = 0; i < d->count; i++)
        ledger_add(&d->ledger, d->views[i].head->seq, outcome_of(d->final[i]));
    d->given_seq = d->accepted_seq = last;
    if (!waits)
        worker_acknowledge(d, last);
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
        worker_back_off(d, AW_E_NOMEM, 0, "write");
        return;
    }
    if (sent == 0) { /* each one went to the dead letters */
        finish_batch(d);
        return;
    }
    d->attempts++;
    int32_t rc = call_write(d, sent, &retry_after_ms);
    d->batches++;
    size_t before = d->open_count;
    if (rc == AW_E_REJECTED) {
        isolate_culprit(d, sent);
    } else {
        for (size_t i = 0; i < sent; i++)
            settle(d, i, d->status[i]);
        if (rc == AW_OK && d->open_count == before)
            rc = AW_E_RETRY; /* nothing was settled: without a pause this would spin */
        if (rc == AW_OK)
            worker_succeeded(d);
        else
            worker_back_off(d, rc < 0 ? rc : AW_E_INTERNAL, retry_after_ms, "write");
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
        ledger_lost(&d->ledger, passed);
        if (!d->flush_pending)
            worker_acknowledge(d, passed);
    }
    if (n > 0)
        worker_saw_oldest(d, d->views[0].head->seq, d->views[0].head->sealed_ns);
}

/* While nothing can be sent: how old what waits is. It is read again when the sink has started. */
static void look_at_oldest(struct delivery *d)
{
    if (d->count == 0 && d->oldest_seq <= d->position)
        read_batch(d);
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

static void pause_until(struct delivery *d, uint64_t when_ns)
{
    struct timespec t = {(time_t)(when_ns / 1000000000u), (long)(when_ns % 1000000000u)};
    pthread_mutex_lock(&d->mutex);
    if (!d->poked)
        (void)pthread_cond_timedwait(&d->poke, &d->mutex, &t); /* time-outs and spurious wake-ups alike: look again */
    d->poked = false;
    pthread_mutex_unlock(&d->mutex);
}

static struct worker_next pause_for(uint64_t until_ns, uint64_t or_ns)
{
    return (struct worker_next){WORKER_PAUSE, until_ns < or_ns ? until_ns : or_ns};
}

struct worker_next worker_step(struct delivery *d)
{
    static const struct worker_next go_on = {WORKER_GO_ON, 0}, leave = {WORKER_LEAVE, 0};
    struct wants w = look_at_wants(d);
    uint64_t now = clock_mono_ns();
    if (w.stop && (now >= w.deadline_ns || d->stop_for_good))
        return leave;
    if (atomic_load_explicit(&d->reopen, memory_order_relaxed))
        worker_reopen_sink(d);
    if (d->stop_for_good) {
        look_at_oldest(d);
        return pause_for(now + (d->count > 0 || d->oldest_seq > d->position ? 3600000000000u : 1000000000u),
                         UINT64_MAX);
    }
    if (now < d->next_try_ns)
        return pause_for(d->next_try_ns, w.deadline_ns);
    if (!breaker_allows(&d->breaker, now))
        return pause_for(d->breaker.open_until_ns, w.deadline_ns);
    if (!d->started) {
        look_at_oldest(d);
        worker_try_to_start(d);
        return go_on;
    }
    if (d->flush_pending && now >= d->flush_due_ns) { /* before the next write: one that fails wants a pause */
        flush_sink(d);
        if (!d->started)
            return go_on;
    }
    if (d->count == 0)
        read_batch(d);
    if (d->count > 0) {
        write_open(d);
        return go_on;
    }
    uint64_t flush_at = w.flush && d->flush_again_ns < d->flush_due_ns ? d->flush_again_ns : d->flush_due_ns;
    if (d->flush_pending && now >= flush_at) {
        flush_sink(d);
        return go_on;
    }
    if (w.stop && !d->flush_pending &&
        atomic_load_explicit(&d->acked, memory_order_relaxed) >= journal_head(d->journal))
        return leave;
    uint64_t latest = now + NAP_MAX_NS;
    return (struct worker_next){WORKER_WAIT, d->flush_pending && flush_at < latest ? flush_at : latest};
}

void worker_end(struct delivery *d)
{
    worker_stop_sink(d, clock_mono_ns() + 1000000000u);
    worker_publish(d);
    pthread_mutex_lock(&d->mutex);
    d->ended = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
    worker_signal(d);
}

void *worker_main(void *arg)
{
    struct delivery *d = arg;
    for (struct worker_next next = worker_step(d); next.what != WORKER_LEAVE; next = worker_step(d)) {
        if (next.what == WORKER_GO_ON)
            continue;
        worker_publish(d);
        if (next.what == WORKER_PAUSE)
            pause_until(d, next.until_ns);
        else
            (void)journal_cursor_wait(d->cursor, next.until_ns);
    }
    worker_end(d);
    return NULL;
}
