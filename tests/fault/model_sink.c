/* model_sink.c - sinks with faults, and stores that outlive them. SPDX-License-Identifier: Apache-2.0
 *
 * What a sink says is true, as the contract of plugin.h demands: DURABLE is stored, ACCEPTED is stored after the next
 * flush() that succeeds or lost with one that fails. Everything else may happen.
 */
#include "config.h"

#include "model.h"

#include <stdio.h>

static int32_t trouble(struct model_sink *s)
{
    static const int32_t codes[] = {AW_E_RETRY,    AW_E_RETRY, AW_E_THROTTLED, AW_E_THROTTLED, AW_E_UNAVAILABLE,
                                    AW_E_INTERNAL, AW_E_NOMEM, AW_E_TIMEOUT,   -7777,          7};
    if (W.quiet_life || (W.now >= s->down_until && !model_chance(s->fails)))
        return AW_OK;
    if (!W.opening && model_random(40) == 0)
        return AW_E_CONFIG;
    return codes[model_random(sizeof codes / sizeof codes[0])];
}

/* Every call takes its time, and sometimes too much. */
static void take_time(struct model_sink *s)
{
    uint64_t deadline = s->settings.write_deadline_ns;
    bool long_one = s->slow && !W.quiet_life && model_chance(4);
    model_pass(MS / 20 + model_random(long_one ? 2 * deadline : MS));
    if (long_one && s->call.what == CALL_WRITE) {
        struct aw_sink_stats stats = {.struct_size = sizeof stats};
        delivery_get_stats(s->d, W.head, &stats);
        bool stuck = strncmp(stats.last_error_text, "stuck", 5) == 0;
        if (stuck != (W.now - s->d->call_since_ns > deadline))
            model_fail("%s is %sreported as stuck after %.1f of %.1f ms", s->name, stuck ? "" : "not ",
                       (double)(W.now - s->d->call_since_ns) / 1e6, (double)deadline / 1e6);
    }
}

static int32_t end_call(struct model_sink *s, int32_t rc, uint32_t retry_after_ms, size_t sent, const char *what)
{
    model_trace("%s: %s: %d%s", s->name, what, (int)rc, retry_after_ms ? ", and a time" : "");
    expect_call_ends(s, rc, retry_after_ms, sent);
    model_point();
    return rc;
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

/* What becomes of what is not flushed: all is stored, or a part, which begins at the front if the sink keeps order. */
static void settle_unflushed(struct model_sink *s, bool all)
{
    bool broken = false;
    for (uint64_t i = 1; i <= MODEL_EVENTS; i++) {
        bool keep = s->unflushed[i] && !broken && (all || model_chance(8));
        broken |= s->unflushed[i] && !keep && s->has_position;
        s->stored[i] = (uint8_t)(s->stored[i] + keep);
        s->unflushed[i] = 0;
    }
}

void model_sink_dies(struct model_sink *s)
{
    settle_unflushed(s, model_chance(8));
    s->started = false;
    if (s->token[0] && model_chance(2))
        memset(s->staged, 0, sizeof s->staged); /* the token stays: commit() will say what is lost */
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static int32_t sink_create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    (void)config;
    struct model_sink *s = model_sink_named(host->instance);
    s->host = host;
    *ret = s;
    return AW_OK;
}

static int32_t sink_start(void *sink)
{
    struct model_sink *s = sink;
    expect_call_begins(s, CALL_START);
    take_time(s);
    int32_t rc = trouble(s);
    if (rc == AW_OK) {
        s->started = s->rewind = true;
        s->written_to = 0;
    }
    return end_call(s, rc, 0, 0, "start");
}

static int32_t sink_stop(void *sink, uint64_t deadline_ns)
{
    struct model_sink *s = sink;
    (void)deadline_ns;
    expect_call_begins(s, CALL_OTHER);
    if (!s->started)
        model_fail("%s: stop() of a sink that is not started", s->name);
    s->started = false;
    int32_t rc = trouble(s);
    settle_unflushed(s, rc == AW_OK);
    return end_call(s, rc, 0, 0, "stop");
}

static int32_t sink_reopen(void *sink)
{
    struct model_sink *s = sink;
    expect_call_begins(s, CALL_OTHER);
    return end_call(s, trouble(s), 0, 0, "reopen");
}

static void sink_destroy(void *sink)
{
    (void)sink;
}

/* Takes one event, and says so. */
static uint8_t take_event(struct model_sink *s, uint64_t seq, bool stage)
{
    if (s->has_keys && s->stored[seq])
        return AW_EVENT_DUPLICATE;
    if (stage) {
        s->staged[seq] = 1;
        return model_chance(8) ? AW_EVENT_ACCEPTED : AW_EVENT_DURABLE;
    }
    if (s->class.durability != AW_DURABLE_ON_FLUSH) {
        s->stored[seq]++;
        return s->class.durability == AW_DURABLE_NEVER ? AW_EVENT_ACCEPTED : AW_EVENT_DURABLE;
    }
    if (!s->has_position && model_chance(2)) {
        s->stored[seq]++;
        return AW_EVENT_DURABLE;
    }
    s->unflushed[seq] = 1;
    return AW_EVENT_ACCEPTED;
}

static void answer(struct model_sink *s, const uint64_t *seqs, size_t count, struct aw_result *r, bool ok, bool stage)
{
    static const uint8_t no[] = {AW_EVENT_UNKNOWN, AW_EVENT_RETRY, 77};
    size_t takes = ok && (W.quiet_life || !model_chance(s->fails)) ? count : model_random(count + 1);
    if (!ok && model_chance(8))
        takes = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned bad = W.events[seqs[i]].bad[s->index];
        if (bad == 2)
            takes = i < takes ? i : takes; /* it would refuse the batch, and does not come to that */
        bool taken = s->has_position ? i < takes : takes == count || model_random(count) < takes;
        if (taken && bad == 1) {
            r->status[i] = AW_EVENT_REJECTED;
            if (model_chance(12))
                aw_host_event_error(s->host, i, "event %llu is bad", (unsigned long long)seqs[i]);
            if (s->has_position) /* what stands behind would say that this one is stored, too */
                takes = i;
        } else if (taken && bad == 0) {
            r->status[i] = take_event(s, seqs[i], stage);
        } else {
            r->status[i] = W.quiet_life ? AW_EVENT_RETRY : no[model_random(3)];
            if (!stage && i == takes && bad == 0 &&
                model_chance(s->fails / 2)) /* it takes it all the same, and cannot say so */
                (void)take_event(s, seqs[i], false);
        }
        expect_status(s, seqs[i], r->status[i]);
    }
}

static int32_t take_batch(struct model_sink *s, const struct aw_batch *b, struct aw_result *r, bool stage)
{
    uint64_t seqs[MODEL_EVENTS];
    bool refuses = false;
    expect_call_begins(s, stage ? CALL_STAGE : CALL_WRITE);
    if (b->count == 0 || b->count > s->settings.batch_events || r->count != b->count || !s->started)
        model_fail("%s: a batch of %zu, with room for %zu statuses", s->name, b->count, r->count);
    for (size_t i = 0; i < b->count; i++) {
        struct aw_str id;
        if (s->host->event_number(b->events[i], AW_NUMBER_SEQ, &seqs[i]) != AW_OK || r->status[i] != 0 ||
            s->host->event_field(b->events[i], AW_FIELD_EVENT_ID, &id) != AW_OK)
            model_fail("%s: an event without number or id, or with a status", s->name);
        refuses |= W.events[seqs[i]].bad[s->index] == 2;
    }
    if (b->first_seq != seqs[0] || b->last_seq != seqs[b->count - 1] ||
        b->deadline_ns != W.now + s->settings.write_deadline_ns)
        model_fail("%s: the batch says %llu to %llu", s->name, (unsigned long long)b->first_seq,
                   (unsigned long long)b->last_seq);
    model_trace("%s: %s of %zu, %llu to %llu", s->name, stage ? "stage" : "write", b->count,
                (unsigned long long)b->first_seq, (unsigned long long)b->last_seq);
    expect_offered(s, seqs, b->count);
    s->written_to = b->last_seq > s->written_to ? b->last_seq : s->written_to;
    take_time(s);
    model_point();
    int32_t rc = trouble(s);
    if (rc == AW_E_THROTTLED || model_chance(1))
        r->retry_after_ms = model_chance(4) ? 0 : 1 + (uint32_t)model_random(5000);
    if (rc == AW_OK && refuses) {
        for (size_t i = 0; b->count == 1 && i < 1; i++)
            s->refused[seqs[0]] = true;
        rc = AW_E_REJECTED;
    } else {
        answer(s, seqs, b->count, r, rc == AW_OK, stage);
    }
    return end_call(s, rc, r->retry_after_ms, b->count, "  answer");
}

static int32_t sink_write(void *sink, const struct aw_batch *b, struct aw_result *r)
{
    return take_batch(sink, b, r, false);
}

static int32_t sink_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable)
{
    struct model_sink *s = sink;
    expect_call_begins(s, CALL_FLUSH);
    if (deadline_ns != W.now + s->settings.write_deadline_ns || !s->started)
        model_fail("%s: flush() when it is not started, or with another deadline", s->name);
    take_time(s);
    int32_t rc = trouble(s);
    *ret_durable = s->written_to ? s->written_to : s->acked;
    if (rc != AW_OK) {
        settle_unflushed(s, false);
        *ret_durable = model_random(W.head + 1);
    } else if (!W.quiet_life && model_chance(2) && s->written_to > s->acked + 1) {
        uint64_t upto = s->acked + model_random(s->written_to - s->acked);
        for (uint64_t i = 1; i <= upto; i++) {
            s->stored[i] += s->unflushed[i];
            s->unflushed[i] = 0;
        }
        *ret_durable = upto;
    } else {
        settle_unflushed(s, true);
    }
    model_point();
    model_trace("%s: flush up to %llu: %d", s->name, (unsigned long long)*ret_durable, (int)rc);
    expect_call_ends(s, rc, 0, *ret_durable);
    if (rc != AW_OK)
        expect_rewind(s);
    model_point();
    return rc;
}

static int32_t sink_position(void *sink, struct aw_position *ret)
{
    struct model_sink *s = sink;
    expect_call_begins(s, CALL_POSITION);
    if (!W.quiet_life && model_chance(1))
        return AW_E_RETRY;
    for (uint64_t i = W.head; i > 0; i--) {
        if (!s->stored[i])
            continue;
        ret->seq = i;
        hash_hex(W.events[i].head.hash, 32, ret->hash);
        ret->hash[64] = '\0';
        model_trace("%s: stands at %llu", s->name, (unsigned long long)i);
        return AW_OK;
    }
    return AW_E_NOTFOUND;
}

/* ---- staging ----------------------------------------------------------------------------------------------------- */

static int32_t sink_stage(void *sink, const struct aw_batch *b, struct aw_result *r, const char *token)
{
    struct model_sink *s = sink;
    if (s->token[0] && strcmp(s->token, token) != 0)
        model_fail("%s: %s is staged while %s is not settled", s->name, token, s->token);
    memset(s->staged, 0, sizeof s->staged);
    snprintf(s->token, sizeof s->token, "%s", token);
    s->token_life = W.life;
    return take_batch(s, b, r, true);
}

/* A process that reads tokens has memory in hand: it does not die there, so that nothing seems to leak. */
static int32_t settle(struct model_sink *s, const char *token, bool commit)
{
    bool mine = strcmp(s->token, token) == 0, could = W.can_kill;
    W.can_kill = could && s->token_life == W.life;
    expect_call_begins(s, CALL_SETTLE);
    expect_settled_token(s, token, commit);
    take_time(s);
    model_point();
    int32_t rc = trouble(s);
    bool any = false;
    for (uint64_t i = 1; mine && i <= MODEL_EVENTS; i++)
        any |= s->staged[i];
    if (rc == AW_OK || model_chance(4)) { /* done, though perhaps nobody hears of it */
        if (commit && mine && !any && s->token_life != W.life)
            rc = AW_E_NOTFOUND;
        for (uint64_t i = 1; mine && i <= MODEL_EVENTS; i++)
            s->stored[i] = (uint8_t)(s->stored[i] + (commit && s->staged[i]));
        if (mine) {
            memset(s->staged, 0, sizeof s->staged);
            s->token[0] = '\0';
        }
    }
    W.known_gap |= rc == AW_E_NOTFOUND;
    s->reset |= rc == AW_E_NOTFOUND;
    rc = end_call(s, rc, 0, 0, commit ? "commit" : "rollback");
    W.can_kill = could;
    return rc;
}

static int32_t sink_commit(void *sink, const char *token)
{
    return settle(sink, token, true);
}

static int32_t sink_rollback(void *sink, const char *token)
{
    return settle(sink, token, false);
}

static int32_t sink_in_doubt(void *sink, const char *const **ret, size_t *ret_count)
{
    struct model_sink *s = sink;
    expect_call_begins(s, CALL_IN_DOUBT);
    int32_t rc = s->started || !W.group ? trouble(s) : AW_OK;
    s->token_list[0] = s->token;
    *ret = s->token_list;
    *ret_count = s->token[0] != '\0';
    return end_call(s, rc, 0, 0, "in doubt");
}

static const void *sink_extension(void *sink, const char *id)
{
    static const struct aw_sink_transaction transaction = {
        sizeof transaction, 0, sink_stage, sink_commit, sink_rollback, sink_in_doubt};
    static const struct aw_sink_position position = {sizeof position, 0, sink_position};
    const struct model_sink *s = sink;
    if (strcmp(id, AW_EXT_SINK_TRANSACTION) == 0)
        return s->stages ? &transaction : NULL;
    return strcmp(id, AW_EXT_SINK_POSITION) == 0 && s->has_position ? &position : NULL;
}

void model_sink_choose(struct model_sink *s)
{
    static const uint32_t durabilities[] = {AW_DURABLE_NEVER, AW_DURABLE_ON_FLUSH, AW_DURABLE_ON_FLUSH,
                                            AW_DURABLE_ON_WRITE};
    uint64_t base = MS * (1 + model_random(400));
    s->settings = (struct delivery_settings){
        .batch_events = 1 + (uint32_t)model_random(8),
        .batch_bytes = 300 + model_random(4000),
        .flush_interval_ns = MS * model_random(300),
        .retry_max = (uint32_t)model_random(9),
        .retry_base_ns = base,
        .retry_cap_ns = base * (1 + model_random(40)) / 2, /* sometimes less than the base */
        .breaker_threshold = (uint32_t)model_random(6),
        .breaker_cooldown_ns = MS * (1 + model_random(20000)),
        .breaker_probes = (uint32_t)model_random(4),
        .write_deadline_ns = MS * (10 + model_random(1000)),
    };
    s->class = (struct aw_sink_class){
        .struct_size = sizeof s->class,
        .thread_model = AW_THREADS_SERIAL_INSTANCE,
        .durability = durabilities[model_random(4)],
        .name = "model",
        .create = sink_create,
        .start = sink_start,
        .write = sink_write,
        .stop = sink_stop,
        .reopen = model_chance(8) ? sink_reopen : NULL,
        .destroy = sink_destroy,
        .extension = sink_extension,
    };
    if (s->class.durability == AW_DURABLE_ON_FLUSH || model_chance(4))
        s->class.flush = sink_flush;
    s->stages = W.group && (s->index > 0 || model_chance(8));
    s->has_position = model_chance(6);
    s->has_keys = model_chance(8);
    s->required = model_chance(4);
    s->fails = model_chance(8) ? 0 : (uint32_t)model_random(8);
    s->slow = model_chance(3);
}
