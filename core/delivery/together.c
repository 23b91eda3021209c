/* together.c - the coordinator's thread: rounds of stage, write, decide, commit, acknowledge. See together.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each step may fail; then the phase stays and the step is tried again after the member's backoff. Before the decision
 * a round may be given up (UNDO: roll back everywhere, then begin anew with what is left); after it there is no way
 * back. What the sink without staging has taken is remembered in `final`, so that it is never given an event twice.
 */
#include "config.h"

#include "delivery/together_private.h"

#include "base/base.h"
#include "base/clock.h"

#include <stdio.h>

#define NAP_MAX_NS 100000000u

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

/* Forgets what is in hand and reads again from where the last of the sinks stands. */
static void rewind_all(struct together *g)
{
    g->reader = g->members[0].d;
    for (size_t i = 1; i < g->count; i++)
        if (together_acked(g->members[i].d) < together_acked(g->reader))
            g->reader = g->members[i].d;
    g->view_count = g->from = g->to = 0;
    (void)journal_cursor_seek(g->reader->cursor, together_acked(g->reader));
}

/* The next events of the batch in hand, or those of the last round that are left. */
static void begin_round(struct together *g)
{
    size_t open = 0;
    for (g->to = g->from; g->to < g->view_count && (g->limit == 0 || open < g->limit); g->to++)
        open += !g->dropped[g->to];
    g->changed = false;
    g->attempt++;
    g->phase = TOGETHER_STAGE;
    staging_token(g->reader->journal, together_seq(g, g->from), together_seq(g, g->to - 1), g->last.counter + 1,
                  g->attempt, g->token);
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        m->touched = m->staged = m->lost = false;
        m->d->attempts++;
        for (size_t v = g->from; m->tx && v < g->to; v++)
            if (m->d->final[v] != AW_EVENT_REJECTED)
                m->d->final[v] = AW_EVENT_RETRY;
    }
}

static void read_batch(struct together *g)
{
    size_t n = 0;
    int rc = journal_cursor_read(g->reader->cursor, g->views, g->batch_events, g->batch_bytes, &n);
    if (rc == -EBADMSG)
        return; /* reported and counted by the journal; the damaged record is behind us */
    if (rc < 0) {
        diag_log(&g->diag, AW_LOG_ERROR, "", "cannot read the journal: %s", strerror(-rc));
        g->next_try_ns = clock_mono_ns() + g->reader->settings.retry_base_ns;
        return;
    }
    if (n == 0) { /* behind what all have may be events that are missing: nobody waits for them */
        uint64_t passed = journal_cursor_passed(g->reader->cursor);
        for (size_t i = 0; i < g->count; i++)
            if (passed > together_acked(g->members[i].d)) {
                ledger_lost(&g->members[i].d->ledger, passed);
                worker_acknowledge(g->members[i].d, passed);
            }
        return;
    }
    memset(g->dropped, 0, n * sizeof *g->dropped);
    for (size_t i = 0; i < g->count; i++) {
        memset(g->members[i].d->final, AW_EVENT_RETRY, n);
        g->members[i].d->attempts = 0;
        for (size_t v = 0; v < n; v++) {
            if (together_seq(g, v) > g->members[i].d->position) {
                worker_saw_oldest(g->members[i].d, together_seq(g, v), g->views[v].head->sealed_ns);
                break;
            }
        }
    }
    g->view_count = n;
    g->from = g->limit = 0;
    begin_round(g);
}

/* What became of the round's events with one sink; those that it had before were counted then. */
static void count_round(struct together *g, struct delivery *d)
{
    for (size_t v = g->from; v < g->to; v++) {
        uint8_t final = d->final[v];
        if (together_seq(g, v) > d->position)
            ledger_add(&d->ledger, together_seq(g, v),
                       final == AW_EVENT_REJECTED    ? LEDGER_DEAD
                       : final == AW_EVENT_DUPLICATE ? LEDGER_DUPLICATE
                                                     : LEDGER_WRITTEN);
    }
}

/* Every sink has it, or its dead letter: the cursors move. */
static void finish_round(struct together *g)
{
    uint64_t last = together_seq(g, g->to - 1);
    bool again = false;
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        again |= m->lost;
        if (m->lost)
            continue;
        count_round(g, m->d);
        worker_acknowledge(m->d, last);
        m->d->attempts = 0;
    }
    g->from = g->to;
    if (again)
        rewind_all(g);
    else if (g->from < g->view_count)
        begin_round(g);
    else
        g->view_count = 0;
}

/* ---- the phases -------------------------------------------------------------------------------------------------- */

static void do_stage(struct together *g)
{
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        if (!m->tx || m->staged)
            continue;
        m->staged = together_give(g, m);
        if (!m->staged || g->changed) {
            g->phase = TOGETHER_UNDO;
            return;
        }
    }
    g->phase = TOGETHER_WRITE;
}

static bool writer_flushes(const struct together *g)
{
    const struct aw_sink_class *class = g->writer->d->class;
    return class->flush && class->durability != AW_DURABLE_NEVER;
}

/* What the sink without staging has ACCEPTED and not flushed may be gone: it is sent again. */
static void forget_accepted(struct together *g)
{
    uint8_t *final = g->writer->d->final;
    for (size_t v = 0; v < g->view_count && writer_flushes(g); v++)
        if (final[v] == AW_EVENT_ACCEPTED)
            final[v] = AW_EVENT_RETRY;
}

/* Makes durable what the sink without staging has ACCEPTED. */
static bool flush_writer(struct together *g)
{
    struct delivery *d = g->writer->d;
    uint64_t last = 0, durable = 0;
    for (size_t v = g->from; v < g->to; v++)
        last = d->final[v] == AW_EVENT_ACCEPTED ? together_seq(g, v) : last;
    if (last == 0 || !writer_flushes(g))
        return true;
    worker_call_begins(d);
    int32_t rc = d->class->flush(d->sink, clock_mono_ns() + d->settings.write_deadline_ns, &durable);
    worker_call_ends(d);
    if (rc != AW_OK) {
        /* Started again, it says where it stands; the rest is sent again. */
        forget_accepted(g);
        worker_back_off(d, rc < 0 ? rc : AW_E_INTERNAL, 0, "flush");
        worker_stop_sink(d, clock_mono_ns() + d->settings.write_deadline_ns);
        return false;
    }
    if (durable < last) {
        worker_back_off(d, AW_E_RETRY, 0, "flush");
        return false;
    }
    worker_succeeded(d);
    return true;
}

static void do_write(struct together *g)
{
    if (g->writer) {
        bool all = together_give(g, g->writer);
        if (g->changed) {
            g->phase = TOGETHER_UNDO;
            return;
        }
        if (!all || !flush_writer(g))
            return; /* what is staged stays staged meanwhile */
    }
    g->phase = TOGETHER_DECIDE;
}

static void do_decide(struct together *g)
{
    bool needed = false;
    struct decision next = {.counter = g->last.counter + 1, .last_seq = together_seq(g, g->to - 1)};
    /* It begins where the last of the cursors stands: events that are missing before the round are covered, too. */
    next.first_seq = together_seq(g, g->from);
    memcpy(next.token, g->token, sizeof next.token);
    for (size_t i = 0; i < g->count; i++) {
        uint64_t behind = together_acked(g->members[i].d) + 1;
        next.first_seq = behind < next.first_seq ? behind : next.first_seq;
        needed |= g->members[i].touched;
        if (next.member_count < DECISION_MEMBERS_MAX)
            next.members[next.member_count++] = decision_member(g->members[i].d->name);
    }
    for (size_t v = g->from; v < g->to; v++)
        needed |= g->dropped[v]; /* a sink that lags behind after a death must not get it all the same */
    int rc = needed ? decision_store(g->file, &next) : 0;
    if (rc < 0) {
        diag_log(&g->diag, AW_LOG_ERROR, "", "%s: cannot be written: %s; events wait", decision_path(g->file),
                 strerror(-rc));
        g->next_try_ns = clock_mono_ns() + g->reader->settings.retry_base_ns;
        return;
    }
    if (needed) {
        g->last = next;
        g->attempt = 0;
    }
    g->phase = TOGETHER_COMMIT;
}

/* commit() or rollback() of a token. AW_E_NOTFOUND is for the caller; any other failure was noted. */
static int32_t settle_token(struct together_member *m, bool commit, const char *token)
{
    struct delivery *d = m->d;
    worker_call_begins(d);
    int32_t rc = commit ? m->tx->commit(d->sink, token) : m->tx->rollback(d->sink, token);
    worker_call_ends(d);
    if (rc == AW_OK)
        worker_succeeded(d);
    else if (rc != AW_E_NOTFOUND)
        worker_back_off(d, rc < 0 ? rc : AW_E_INTERNAL, 0, commit ? "commit" : "rollback");
    return rc;
}

/* The decision in memory on disk, where it is not. false: not yet, and the next try has its time. */
static bool store_last(struct together *g)
{
    int rc = g->last_unsaved ? decision_store(g->file, &g->last) : 0;
    g->last_unsaved = rc < 0;
    if (rc < 0) {
        diag_log(&g->diag, AW_LOG_ERROR, "", "%s: cannot be written: %s; events wait", decision_path(g->file),
                 strerror(-rc));
        g->next_try_ns = clock_mono_ns() + g->members[0].d->settings.retry_base_ns;
    }
    return rc == 0;
}

/* The member gets the events again, and they must not seem to be settled by the decision: after a death of the process
 * the sink knows nothing of the token any more. */
static bool was_lost(struct together *g, struct together_member *m)
{
    uint64_t it = decision_member(m->d->name);
    m->lost = true;
    diag_log(&m->d->diag, AW_LOG_ERROR, m->d->name, "what it had staged is not there any more: it is delivered again");
    for (uint32_t i = 0; i < g->last.member_count; i++)
        if (g->last.members[i] == it)
            g->last.members[i--] = g->last.members[--g->last.member_count];
    g->last.counter++;
    g->last_unsaved = true;
    return store_last(g);
}

static void do_commit(struct together *g)
{
    if (!store_last(g))
        return;
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        if (!m->touched)
            continue;
        int32_t rc = settle_token(m, true, g->token);
        m->touched = rc != AW_OK && rc != AW_E_NOTFOUND;
        if (m->touched || (rc == AW_E_NOTFOUND && !was_lost(g, m)))
            return;
    }
    finish_round(g);
}

static void do_undo(struct together *g)
{
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        if (!m->touched)
            continue;
        int32_t rc = settle_token(m, false, g->token);
        if (rc != AW_OK && rc != AW_E_NOTFOUND)
            return;
        m->touched = false;
    }
    begin_round(g);
}

/* ---- recovery ---------------------------------------------------------------------------------------------------- */

/* Did it take part in the last decision, and has nothing more than that to be acknowledged? A cursor that stands before
 * is a new one of an old name, or was thrown back by a power loss: its sink may lack more. */
static bool covered(const struct together *g, const struct delivery *d)
{
    if (together_acked(d) + 1 < g->last.first_seq)
        return false;
    for (uint32_t i = 0; i < g->last.member_count; i++)
        if (g->last.members[i] == decision_member(d->name))
            return true;
    return false;
}

/* What an earlier life staged on this sink: the decided token is committed, every other one rolled back. */
static bool recover_staging(struct together *g, struct together_member *m)
{
    struct delivery *d = m->d;
    AW_AUTOFREE char(*tokens)[STAGING_TOKEN_MAX + 1] = NULL;
    size_t count = 0;
    m->lost = false;
    if (!m->tx)
        return true;
    worker_call_begins(d);
    int32_t rc = staging_in_doubt(d, m->tx, &tokens, &count);
    worker_call_ends(d);
    if (rc != AW_OK) {
        worker_back_off(d, rc < 0 ? rc : AW_E_INTERNAL, 0, "in_doubt");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        bool decided = strcmp(tokens[i], g->last.token) == 0;
        rc = settle_token(m, decided, tokens[i]);
        if ((rc != AW_OK && rc != AW_E_NOTFOUND) || (rc == AW_E_NOTFOUND && decided && !was_lost(g, m)))
            return false;
        diag_log(&d->diag, AW_LOG_INFO, d->name, "%s what was staged as %s", decided ? "committed" : "rolled back",
                 tokens[i]);
    }
    return true;
}

/* Every member is started. Done again from the beginning when a step fails. */
static void recover(struct together *g)
{
    if (!store_last(g))
        return;
    for (size_t i = 0; i < g->count; i++)
        if (!recover_staging(g, &g->members[i]))
            return;
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        if (!m->lost && covered(g, m->d) && g->last.last_seq > together_acked(m->d)) {
            ledger_found(&m->d->ledger, g->last.last_seq); /* decided and staged in an earlier life */
            worker_acknowledge(m->d, g->last.last_seq);
        }
        worker_call_begins(m->d);
        worker_adopt_position(m->d);
        worker_call_ends(m->d);
    }
    g->recovered = true;
    rewind_all(g);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

struct wants {
    bool stop;
    uint64_t deadline_ns;
};

static struct wants look_at_wants(struct together *g)
{
    struct wants w = {false, UINT64_MAX};
    for (size_t i = 0; i < g->count; i++) {
        struct delivery *d = g->members[i].d;
        if (!atomic_load_explicit(&d->wanted, memory_order_acquire))
            continue;
        pthread_mutex_lock(&d->mutex);
        w.stop |= d->stop_requested;
        if (d->stop_requested && d->stop_deadline_ns < w.deadline_ns)
            w.deadline_ns = d->stop_deadline_ns;
        if (d->waiters == 0 && !d->stop_requested && !atomic_load_explicit(&d->reopen, memory_order_relaxed))
            atomic_store_explicit(&d->wanted, false, memory_order_relaxed);
        pthread_mutex_unlock(&d->mutex);
    }
    return w;
}

static void publish_all(struct together *g)
{
    for (size_t i = 0; i < g->count; i++)
        worker_publish(g->members[i].d);
}

static void pause_until(struct together *g, uint64_t when_ns)
{
    struct timespec t = worker_timespec(when_ns);
    pthread_mutex_lock(&g->poke_mutex);
    if (!g->poked)
        (void)pthread_cond_timedwait(&g->poke, &g->poke_mutex, &t); /* however it ends: look again */
    g->poked = false;
    pthread_mutex_unlock(&g->poke_mutex);
}

/* One member stopped for good, or was reopened: whoever waits for another one of the group must not wait in vain. */
static void tell_members(struct together *g, const struct delivery *culprit)
{
    g->halted = culprit != NULL;
    for (size_t i = 0; i < g->count; i++) {
        struct delivery *d = g->members[i].d;
        pthread_mutex_lock(&d->mutex);
        if (culprit && d != culprit)
            snprintf(d->last_error, sizeof d->last_error, "waits for sink \"%s\", which stopped", culprit->name);
        pthread_mutex_unlock(&d->mutex);
        d->halted = g->halted && d != culprit;
        worker_publish(d); /* who is told finds the figures that go with it */
        pthread_mutex_lock(&d->mutex);
        d->failed_for_good = g->halted;
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->mutex);
        worker_signal(d);
    }
}

static void reopen_members(struct together *g)
{
    for (size_t i = 0; i < g->count; i++)
        if (atomic_load_explicit(&g->members[i].d->reopen, memory_order_relaxed))
            worker_reopen_sink(g->members[i].d);
}

/* Is there something to wait for before the next call? *ret_until: until when. */
static bool must_wait(struct together *g, uint64_t now, uint64_t *ret_until)
{
    uint64_t until = g->next_try_ns;
    const struct delivery *culprit = NULL;
    for (size_t i = 0; i < g->count; i++) {
        struct delivery *d = g->members[i].d;
        if (d->stop_for_good)
            culprit = d;
        if (d->next_try_ns > until)
            until = d->next_try_ns;
        if (!breaker_allows(&d->breaker, now) && d->breaker.open_until_ns > until)
            until = d->breaker.open_until_ns;
    }
    if (g->halted != (culprit != NULL))
        tell_members(g, culprit);
    *ret_until = culprit ? now + 3600000000000u : until;
    return *ret_until > now;
}

/* false: one more was started, or its start failed. */
static bool all_started(struct together *g)
{
    for (size_t i = 0; i < g->count; i++) {
        struct delivery *d = g->members[i].d;
        if (d->started)
            continue;
        worker_try_to_start(d);
        if (d->started && g->recovered && g->writer && d == g->writer->d) {
            worker_call_begins(d);
            worker_adopt_position(d); /* what it has of the round in hand it is not given again */
            worker_call_ends(d);
            forget_accepted(g);
        }
        return false;
    }
    return true;
}

static bool all_delivered(struct together *g)
{
    uint64_t head = journal_head(g->reader->journal);
    for (size_t i = 0; i < g->count; i++)
        if (together_acked(g->members[i].d) < head)
            return false;
    return true;
}

static void advance(struct together *g)
{
    static void (*const steps[])(struct together *) = {do_stage, do_write, do_decide, do_commit, do_undo};
    steps[g->phase](g);
}

struct worker_next together_step(struct together *g)
{
    static const struct worker_next go_on = {WORKER_GO_ON, 0}, leave = {WORKER_LEAVE, 0};
    struct wants w = look_at_wants(g);
    uint64_t now = clock_mono_ns(), until;
    if (w.stop && (now >= w.deadline_ns || g->halted))
        return leave;
    reopen_members(g);
    if (must_wait(g, now, &until)) {
        if (w.stop && g->halted)
            return leave;
        return (struct worker_next){WORKER_PAUSE, until < w.deadline_ns ? until : w.deadline_ns};
    }
    if (!all_started(g))
        return go_on;
    if (!g->recovered) {
        recover(g);
        return go_on;
    }
    if (g->view_count == 0)
        read_batch(g);
    if (g->view_count > 0) {
        advance(g);
        return go_on;
    }
    if (w.stop && all_delivered(g))
        return leave;
    return (struct worker_next){WORKER_WAIT, now + NAP_MAX_NS};
}

void together_end(struct together *g)
{
    for (size_t i = 0; i < g->count; i++)
        worker_stop_sink(g->members[i].d, clock_mono_ns() + 1000000000u);
    publish_all(g);
    for (size_t i = 0; i < g->count; i++) {
        struct delivery *d = g->members[i].d;
        pthread_mutex_lock(&d->mutex);
        d->ended = true;
        pthread_cond_broadcast(&d->changed);
        pthread_mutex_unlock(&d->mutex);
        worker_signal(d);
    }
}

void *together_main(void *arg)
{
    struct together *g = arg;
    for (struct worker_next next = together_step(g); next.what != WORKER_LEAVE; next = together_step(g)) {
        if (next.what == WORKER_GO_ON)
            continue;
        publish_all(g);
        if (next.what == WORKER_PAUSE)
            pause_until(g, next.until_ns);
        else
            (void)journal_cursor_wait(g->reader->cursor, next.until_ns);
    }
    together_end(g);
    return NULL;
}
