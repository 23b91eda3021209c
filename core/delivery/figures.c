/* figures.c - what one sink's delivery tells about itself. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "delivery/worker.h"

#include <stdio.h>

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

void worker_note_failure(struct delivery *d, int32_t code, const char *what)
{
    char text[180];
    host_last_error(d->host, text, sizeof text);
    d->last_error_code = code;
    d->failures++;
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

void worker_saw_oldest(struct delivery *d, uint64_t seq, uint64_t sealed_ns)
{
    if (d->oldest_seq > d->position && d->oldest_seq <= seq)
        return;
    d->oldest_seq = seq;
    d->oldest_ns = sealed_ns;
}

void worker_publish(struct delivery *d)
{
    const struct ledger *l = &d->ledger;
    char error[sizeof d->last_error];
    pthread_mutex_lock(&d->mutex);
    memcpy(error, d->last_error, sizeof error);
    pthread_mutex_unlock(&d->mutex);
    if (d->count > 0 && d->oldest_seq <= d->position)
        worker_saw_oldest(d, d->views[0].head->seq, d->views[0].head->sealed_ns);
    const uint64_t figures[METRICS_SINK_FIGURES] = {
        [METRICS_SINK_BASE] = l->base,
        [METRICS_SINK_ACKED] = d->position,
        [METRICS_SINK_WRITTEN] = l->settled[LEDGER_WRITTEN],
        [METRICS_SINK_DUPLICATES] = l->settled[LEDGER_DUPLICATE],
        [METRICS_SINK_FOUND] = l->settled[LEDGER_FOUND],
        [METRICS_SINK_DEAD] = l->settled[LEDGER_DEAD],
        [METRICS_SINK_LOST] = l->settled[LEDGER_LOST],
        [METRICS_SINK_RESENT] = l->resent,
        [METRICS_SINK_BATCHES] = d->batches,
        [METRICS_SINK_TRANSIENT] = d->transient,
        [METRICS_SINK_PERMANENT] = d->permanent,
        [METRICS_SINK_FAILURES] = d->failures,
        [METRICS_SINK_LAST_SUCCESS_NS] = d->last_success_ns,
        [METRICS_SINK_BREAKER] = (uint64_t)d->breaker.state,
        [METRICS_SINK_STOPPED] = d->stop_for_good || d->halted,
        [METRICS_SINK_LAST_ERROR] = (uint64_t)(int64_t)d->last_error_code,
        [METRICS_SINK_OLDEST_SEQ] = d->oldest_seq > d->position ? d->oldest_seq : 0,
        [METRICS_SINK_OLDEST_NS] = d->oldest_ns,
        [METRICS_SINK_CALL_SINCE] = d->call_since_ns,
        [METRICS_SINK_DEADLINE] = d->settings.write_deadline_ns,
    };
    metrics_publish(d->published, figures, error);
}

void delivery_fill_stats(const struct metrics_sink_view *v, struct aw_sink_stats *ret)
{
    const uint64_t *f = v->figures;
    ret->name = v->name;
    ret->plugin = v->plugin;
    ret->acked_seq = f[METRICS_SINK_ACKED];
    ret->lag_events = v->queued;
    ret->batches_total = f[METRICS_SINK_BATCHES];
    ret->written_total = f[METRICS_SINK_WRITTEN];
    ret->duplicates_total = f[METRICS_SINK_DUPLICATES];
    ret->rejected_total = f[METRICS_SINK_DEAD];
    ret->retries_total = f[METRICS_SINK_TRANSIENT];
    ret->failures_total = f[METRICS_SINK_FAILURES];
    ret->last_success_ns = f[METRICS_SINK_LAST_SUCCESS_NS];
    ret->breaker_open = f[METRICS_SINK_BREAKER] == BREAKER_OPEN;
    ret->last_error = (int32_t)(int64_t)f[METRICS_SINK_LAST_ERROR];
    ret->accepted_total = v->accepted;
    ret->found_total = f[METRICS_SINK_FOUND];
    ret->lost_total = f[METRICS_SINK_LOST];
    ret->resent_total = f[METRICS_SINK_RESENT];
    ret->lag_ns = v->lag_ns;
    ret->imbalance = v->imbalance;
    ret->state = f[METRICS_SINK_STOPPED] || ret->breaker_open || v->stuck_ns ? AW_HEALTH_DOWN : AW_HEALTH_OK;
    if (v->stuck_ns)
        snprintf(ret->last_error_text, sizeof ret->last_error_text, "stuck in a call of the plugin for %llu s",
                 (unsigned long long)(v->stuck_ns / 1000000000u));
    else
        snprintf(ret->last_error_text, sizeof ret->last_error_text, "%s", v->error);
}

void delivery_get_stats(struct delivery *d, uint64_t head, struct aw_sink_stats *ret)
{
    uint64_t words[METRICS_SINK_WORDS];
    struct metrics_sink_view v;
    metrics_latest(d->published, words);
    uint64_t acked = words[METRICS_SINK_ACKED]; /* the caller's head may be older */
    const struct metrics_moment moment = {
        .running = true, .real_ns = clock_real_ns(), .mono_ns = clock_mono_ns(), .head = head > acked ? head : acked};
    metrics_view(d->name, d->class->name, words, &moment, &v);
    delivery_fill_stats(&v, ret);
}
