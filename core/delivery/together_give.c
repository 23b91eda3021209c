/* together_give.c - a round's events go to one member of a group: staged, or written where it cannot stage.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "delivery/together_private.h"

#include "base/base.h"
#include "base/clock.h"
#include "delivery/viewing.h"

#include <stdio.h>

/* An event that one sink rejects goes to none. */
static void reject(struct together *g, struct together_member *by, size_t view, const char *reason)
{
    char text[400];
    bool stored = true;
    snprintf(text, sizeof text, "sink \"%s\": %s", by->d->name, reason);
    for (size_t i = 0; i < g->count; i++) {
        struct together_member *m = &g->members[i];
        uint8_t *final = &m->d->final[view];
        if (together_seq(g, view) <= together_acked(m->d) ||
            (!m->tx && *final != AW_EVENT_RETRY && *final != AW_EVENT_REJECTED)) {
            diag_log(&g->diag, AW_LOG_ERROR, m->d->name, "has seq %llu already, which %s",
                     (unsigned long long)together_seq(g, view), text);
            continue;
        }
        if (*final == AW_EVENT_REJECTED)
            continue; /* stored at an earlier try */
        if (worker_dead_letter(m->d, &g->views[view], text))
            *final = AW_EVENT_REJECTED;
        else
            stored = false;
    }
    if (stored)
        g->dropped[view] = g->changed = true;
    else
        by->d->next_try_ns = clock_mono_ns() + by->d->settings.retry_base_ns;
}

/* A whole batch was refused: halve what a round may hold until the culprit stands alone. */
static void isolate_culprit(struct together *g, struct together_member *m)
{
    size_t open = 0, last = g->from;
    for (size_t v = g->from; v < g->to; v++) {
        open += !g->dropped[v];
        last = g->dropped[v] ? last : v;
    }
    if (open > 1) {
        g->limit = (uint32_t)(open / 2);
        g->changed = true;
        return;
    }
    char text[180];
    host_last_error(m->d->host, text, sizeof text);
    reject(g, m, last, text[0] ? text : "the sink gave no reason");
}

/* Has it been rejected, and do only dead letters lack? Nobody is asked again then: who changed his mind would have the
 * event beside its letter. */
static bool refused_before(const struct together *g, size_t view)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->members[i].d->final[view] == AW_EVENT_REJECTED)
            return true;
    return false;
}

/* Gathers what the member lacks of the round, as it may have it. -ENODATA: of one event no view can be made, or it was
 * refused before, and it was rejected for that. */
static int gather(struct together *g, struct together_member *m, size_t *ret_count)
{
    struct delivery *d = m->d;
    size_t n = 0;
    event_batch_reset(d->retry);
    for (size_t v = g->from; v < g->to; v++) {
        bool settled = d->final[v] != AW_EVENT_RETRY && d->final[v] != AW_EVENT_REJECTED;
        if (g->dropped[v] || settled || together_seq(g, v) <= together_acked(d))
            continue;
        if (AW_UNLIKELY(refused_before(g, v))) {
            reject(g, m, v, "it was refused before, and its dead letters could not all be stored");
            return -ENODATA;
        }
        int rc = viewing_add(d->viewer, d->retry, &g->views[v]);
        if (viewing_fault(rc)) {
            reject(g, m, v, viewing_fault(rc));
            return -ENODATA;
        }
        if (rc < 0)
            return rc;
        d->slot[n++] = (uint32_t)v;
    }
    memset(d->status, AW_EVENT_UNKNOWN, n);
    *ret_count = n;
    return 0;
}

static int32_t call_batch(struct together *g, struct together_member *m, size_t sent, uint32_t *ret_retry_after_ms)
{
    struct delivery *d = m->d;
    size_t count;
    const struct aw_event *const *events = event_batch_events(d->retry, &count);
    struct aw_batch batch = {
        .struct_size = sizeof batch,
        .first_seq = together_seq(g, d->slot[0]),
        .last_seq = together_seq(g, d->slot[sent - 1]),
        .deadline_ns = clock_mono_ns() + d->settings.write_deadline_ns,
        .count = count,
        .events = events,
    };
    struct aw_result result = {.struct_size = sizeof result, .count = count, .status = d->status};
    worker_call_begins(d);
    host_bind_batch(d->host, d->retry);
    int32_t rc = m->tx ? m->tx->stage(d->sink, &batch, &result, g->token) : d->class->write(d->sink, &batch, &result);
    metrics_observe(&d->published->writes, metrics_write_bounds, clock_mono_ns() - d->call_since_ns);
    host_bind_batch(d->host, NULL);
    worker_call_ends(d);
    *ret_retry_after_ms = result.retry_after_ms;
    d->batches++;
    return rc;
}

/* Takes over one event's status; false: it is not settled. */
static bool settle(struct together *g, struct together_member *m, size_t sent_index)
{
    struct delivery *d = m->d;
    size_t view = d->slot[sent_index];
    switch (d->status[sent_index]) {
    case AW_EVENT_ACCEPTED:
    case AW_EVENT_DURABLE:
    case AW_EVENT_DUPLICATE:
        /* One that staged an event for which it has a letter from an earlier try keeps that: no second one is written.
         */
        if (!m->tx || d->final[view] != AW_EVENT_REJECTED)
            d->final[view] = d->status[sent_index];
        return true;
    case AW_EVENT_REJECTED: {
        const char *reason = event_batch_error(d->retry, sent_index);
        char text[180];
        host_last_error(d->host, text, sizeof text);
        reject(g, m, view, reason ? reason : text[0] ? text : "the sink gave no reason");
        return g->dropped[view];
    }
    default: /* UNKNOWN, RETRY, and anything this host does not know */
        d->transient++;
        return false;
    }
}

bool together_give(struct together *g, struct together_member *m)
{
    struct delivery *d = m->d;
    const char *what = m->tx ? "stage" : "write";
    size_t sent = 0, settled = 0;
    uint32_t retry_after_ms;
    int gathered = gather(g, m, &sent);
    if (gathered < 0) {
        if (gathered != -ENODATA)
            worker_back_off(d, AW_E_NOMEM, 0, what);
        return false;
    }
    if (sent == 0)
        return true;
    m->touched = m->tx != NULL;
    int32_t rc = call_batch(g, m, sent, &retry_after_ms);
    if (rc == AW_E_REJECTED) {
        isolate_culprit(g, m);
        return false;
    }
    for (size_t i = 0; i < sent; i++)
        settled += settle(g, m, i);
    if (rc == AW_OK && settled == sent) {
        worker_succeeded(d);
        return true;
    }
    worker_back_off(d, rc == AW_OK ? AW_E_RETRY : rc < 0 ? rc : AW_E_INTERNAL, retry_after_ms, what);
    return false;
}
