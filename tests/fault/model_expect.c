/* model_expect.c - the model: what must be true of every sink, at every step and at the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "model.h"

bool model_has(const struct model_sink *s, uint64_t seq)
{
    return s->stored[seq] > 0;
}

/* Does the group leave it out? */
static bool left_out(uint64_t seq)
{
    for (size_t i = 0; i < W.sinks; i++) {
        const struct model_sink *s = &W.sink[i];
        if (seq > s->acked && s->state[seq] != MODEL_DEAD && (s->stages || s->state[seq] == MODEL_OWED))
            return false;
    }
    return true;
}

/* ---- order, and nothing twice ------------------------------------------------------------------------------------ */

void expect_rewind(struct model_sink *s)
{
    s->rewind = false;
    for (uint64_t i = 1; i <= MODEL_EVENTS; i++) {
        if (!W.group)
            s->state[i] = MODEL_OWED;
        else if (s->state[i] == MODEL_ACCEPTED && s->class.flush && s->class.durability != AW_DURABLE_NEVER)
            s->state[i] = MODEL_OWED;
    }
}

void expect_life_begins(struct model_sink *s)
{
    memset(s->state, 0, sizeof s->state);
    memset(s->refused, 0, sizeof s->refused);
    memset(&s->breaker, 0, sizeof s->breaker);
    memset(&s->call, 0, sizeof s->call);
    s->base = s->acked;
    s->delivered = s->dead_counted = s->lost_counted = 0;
    s->failures_in_row = 0;
    s->not_before = s->not_after = 0;
    s->started = s->rewind = s->config_stopped = s->blurred = false;
}

void expect_offered(struct model_sink *s, const uint64_t *seqs, size_t count)
{
    if (s->rewind)
        expect_rewind(s);
    uint64_t next = s->acked;
    for (size_t i = 0; i < count; i++) {
        if (seqs[i] <= next || seqs[i] > W.durable)
            model_fail("%s is given event %llu: out of order, or not on the disk", s->name,
                       (unsigned long long)seqs[i]);
        for (next++; next < seqs[i]; next++)
            if (!W.group && !W.events[next].lost && s->state[next] == MODEL_OWED)
                model_fail("%s is given event %llu before %llu", s->name, (unsigned long long)seqs[i],
                           (unsigned long long)next);
        /* In a group a letter counts when all that lack the event have one. */
        if (s->state[next] != MODEL_OWED && (s->state[next] != MODEL_DEAD || left_out(next) || !W.group))
            model_fail("%s is given event %llu again", s->name, (unsigned long long)next);
        if (W.group && model_has(s, next) && !s->has_keys && !s->reset && s->stages)
            model_fail("%s is given event %llu again, which it has", s->name, (unsigned long long)next);
        s->refused[next] = false;
    }
}

void expect_status(struct model_sink *s, uint64_t seq, uint8_t status)
{
    switch (status) {
    case AW_EVENT_ACCEPTED:
    case AW_EVENT_DURABLE:
    case AW_EVENT_DUPLICATE:
        s->call.settled++;
        if (s->call.what == CALL_WRITE)
            s->state[seq] = status == AW_EVENT_ACCEPTED    ? MODEL_ACCEPTED
                            : status == AW_EVENT_DUPLICATE ? MODEL_DUPLICATE
                                                           : MODEL_WRITTEN;
        break;
    case AW_EVENT_REJECTED:
        s->refused[seq] = true;
        s->call.refusals |= UINT64_C(1) << seq;
        break;
    default:
        break;
    }
}

/* ---- dead letters ------------------------------------------------------------------------------------------------ */

void expect_letter(struct model_sink *s, uint64_t seq, uint32_t attempts, const char *reason)
{
    bool refused = s->refused[seq];
    for (size_t i = 0; W.group && i < W.sinks; i++)
        refused |= W.sink[i].refused[seq];
    if (!refused)
        model_fail("event %llu goes to the dead letters of %s, and nobody refused it", (unsigned long long)seq,
                   s->name);
    if (attempts == 0 || !reason[0])
        model_fail("a dead letter without attempts or a reason");
    if (s->state[seq] != MODEL_OWED)
        model_fail("event %llu goes to the dead letters of %s, which has it", (unsigned long long)seq, s->name);
    s->dead[seq]++;
    s->state[seq] = MODEL_DEAD;
    s->call.letters++;
}

void expect_letter_failed(struct model_sink *s)
{
    for (size_t i = 0; i < W.sinks; i++)
        if (W.group || &W.sink[i] == s)
            model_allow_pause(W.sink[i].settings.retry_base_ns);
}

/* ---- the cursor -------------------------------------------------------------------------------------------------- */

void expect_ack(struct model_sink *s, uint64_t seq)
{
    if (seq > W.durable)
        model_fail("%s: the cursor moves to %llu, beyond the journal", s->name, (unsigned long long)seq);
    s->blurred |= s->call.what == CALL_POSITION || (W.together && !W.together->recovered);
    for (uint64_t i = s->acked + 1; i <= seq; i++) {
        W.events[i].excused |= W.group && s->call.what == CALL_POSITION && s->dead[i] && !model_has(s, i);
        if (W.events[i].lost)
            s->lost_counted++;
        else if (s->state[i] == MODEL_DEAD)
            s->dead_counted++;
        else if (model_has(s, i) || s->dead[i])
            s->delivered++;
        else
            model_fail("%s: the cursor moves over event %llu, which it has not", s->name, (unsigned long long)i);
    }
}

void expect_figures(struct model_sink *s)
{
    struct aw_sink_stats f = {.struct_size = sizeof f};
    delivery_get_stats(s->d, W.head, &f);
    uint64_t delivered = f.written_total + f.duplicates_total + f.found_total;
    if (f.imbalance != 0 || f.accepted_total != delivered + f.lag_events + f.rejected_total + f.lost_total)
        model_fail("%s: accepted %llu, delivered %llu, queued %llu, dead-lettered %llu, lost %llu", s->name,
                   (unsigned long long)f.accepted_total, (unsigned long long)delivered,
                   (unsigned long long)f.lag_events, (unsigned long long)f.rejected_total,
                   (unsigned long long)f.lost_total);
    if (f.acked_seq != s->acked || f.lag_events != W.head - s->acked || f.accepted_total != W.head - s->base)
        model_fail("%s: the figures say %llu, the cursor %llu", s->name, (unsigned long long)f.acked_seq,
                   (unsigned long long)s->acked);
    if (!s->blurred && (f.lost_total != s->lost_counted || delivered != s->delivered))
        model_fail("%s: %llu delivered, %llu dead-lettered, %llu lost; it should be %llu, %llu, %llu", s->name,
                   (unsigned long long)delivered, (unsigned long long)f.rejected_total,
                   (unsigned long long)f.lost_total, (unsigned long long)s->delivered,
                   (unsigned long long)s->dead_counted, (unsigned long long)s->lost_counted);
    if (f.breaker_open && s->breaker.state != BREAKER_OPEN)
        model_fail("%s: the breaker says open, and should not be", s->name);
}

/* ---- retries and the breaker ------------------------------------------------------------------------------------- */

void expect_call_begins(struct model_sink *s, enum model_call what)
{
    expect_verdict(s);
    s->call.open = true;
    s->call.what = what;
    s->call.settled = s->call.letters = 0;
    s->call.refusals = 0;
    s->call.wanted = 0;
    for (size_t v = W.together ? W.together->from : 1; W.together && v < W.together->to; v++)
        if (s->state[together_seq(W.together, v)] == MODEL_ACCEPTED)
            s->call.wanted = together_seq(W.together, v);
    if (what == CALL_OTHER || what == CALL_POSITION)
        return;
    if (s->config_stopped)
        model_fail("%s is called after it said that its configuration is wrong", s->name);
    if (W.now < s->not_before)
        model_fail("%s is called %.3f ms too early", s->name, (double)(s->not_before - W.now) / 1e6);
    if (s->breaker.state == BREAKER_OPEN) {
        if (W.now < s->breaker.open_until)
            model_fail("%s is called while its breaker is open", s->name);
        s->breaker.state = BREAKER_HALF_OPEN;
        s->breaker.successes = 0;
    }
}

void expect_call_ends(struct model_sink *s, int32_t rc, uint32_t retry_after_ms, size_t sent)
{
    s->call.rc = rc;
    s->call.ended = W.now;
    s->call.retry_after_ms = retry_after_ms;
    s->call.sent = sent;
}

static void succeeded(struct model_sink *s)
{
    uint32_t probes = s->settings.breaker_probes ? s->settings.breaker_probes : 1;
    s->failures_in_row = s->breaker.failures = 0;
    s->not_before = s->not_after = 0;
    if (s->breaker.state == BREAKER_HALF_OPEN && ++s->breaker.successes == probes)
        s->breaker.state = BREAKER_CLOSED;
}

static void failed(struct model_sink *s, int32_t rc)
{
    uint64_t limit = s->settings.retry_base_ns;
    for (uint32_t i = 0; i < s->failures_in_row && limit < s->settings.retry_cap_ns; i++)
        limit *= 2;
    if (limit > s->settings.retry_cap_ns)
        limit = s->settings.retry_cap_ns;
    s->failures_in_row++;
    if (rc == AW_E_CONFIG) {
        s->config_stopped = true;
        return;
    }
    if (W.opening) { /* the first start counts for nothing else */
        s->not_before = s->not_after = s->call.ended + s->settings.retry_base_ns;
        return;
    }
    if (rc == AW_E_THROTTLED && s->call.retry_after_ms) {
        s->not_before = s->not_after = s->call.ended + s->call.retry_after_ms * MS;
        return;
    }
    s->not_before = s->call.ended + MS;
    s->not_after = s->call.ended + (limit > MS ? limit : MS);
    if (rc != AW_E_UNAVAILABLE)
        s->breaker.failures++;
    uint32_t threshold = s->settings.breaker_threshold;
    bool opens = rc == AW_E_UNAVAILABLE || s->breaker.state == BREAKER_HALF_OPEN || s->breaker.failures >= threshold;
    if (threshold > 0 && opens) {
        s->breaker.state = BREAKER_OPEN;
        s->breaker.open_until = s->call.ended + s->settings.breaker_cooldown_ns;
    }
}

/* How many events of the call are settled. In a group an event that is refused must be dead-lettered everywhere. */
static size_t settled(const struct model_sink *s)
{
    size_t n = s->call.settled;
    if (!W.group)
        return n + s->call.letters;
    for (uint64_t i = s->acked + 1; i <= W.head; i++)
        n += (s->call.refusals >> i & 1) && left_out(i);
    return n;
}

void expect_verdict(struct model_sink *s)
{
    int32_t rc = s->call.rc;
    bool gives = s->call.what == CALL_WRITE || s->call.what == CALL_STAGE;
    if (!s->call.open)
        return;
    s->call.open = false;
    if (s->call.what == CALL_OTHER || s->call.what == CALL_POSITION || (gives && rc == AW_E_REJECTED) ||
        (s->call.what == CALL_SETTLE && rc == AW_E_NOTFOUND))
        return;
    if (gives && rc == AW_OK && (W.group ? settled(s) < s->call.sent : settled(s) == 0))
        rc = AW_E_RETRY;
    if (W.group && s->call.what == CALL_FLUSH && rc == AW_OK && s->call.sent < s->call.wanted)
        rc = AW_E_RETRY; /* not all of the round is durable */
    if (s->call.what == CALL_IN_DOUBT && (rc == AW_OK || !W.group))
        return;
    if (rc != AW_OK)
        failed(s, rc);
    else if (!W.opening)
        succeeded(s);
}

void expect_pause(size_t actor, struct worker_next next)
{
    uint64_t latest = W.pause_allowed;
    bool stopped = false;
    if (next.what != WORKER_PAUSE)
        return;
    for (size_t i = W.group ? 0 : actor; i < (W.group ? W.sinks : actor + 1); i++) {
        const struct model_sink *s = &W.sink[i];
        stopped |= s->config_stopped;
        latest = s->not_after > latest ? s->not_after : latest;
        if (s->breaker.state == BREAKER_OPEN && s->breaker.open_until > latest)
            latest = s->breaker.open_until;
    }
    if (!stopped && next.until_ns > latest)
        model_fail("%s pauses %.3f ms longer than it may", W.group ? "the group" : W.sink[actor].name,
                   (double)(next.until_ns - (latest > W.now ? latest : W.now)) / 1e6);
}

/* ---- all or nothing ---------------------------------------------------------------------------------------------- */

static bool takes_part(const struct decision *d, const struct model_sink *s)
{
    for (uint32_t i = 0; i < d->member_count; i++)
        if (d->members[i] == decision_member(s->name))
            return true;
    return false;
}

/* From here on there is no way back: each event of the round is in each sink, or staged, or left out. */
void expect_decision(const struct decision *d)
{
    if (W.decided.counter >= d->counter)
        model_fail("decision %llu comes after %llu", (unsigned long long)d->counter,
                   (unsigned long long)W.decided.counter);
    for (uint64_t i = d->first_seq; i <= d->last_seq; i++) {
        for (size_t k = 0; k < W.sinks; k++) {
            const struct model_sink *s = &W.sink[k];
            bool staged = strcmp(s->token, d->token) == 0 && (s->staged[i] || W.known_gap);
            if (W.known_gap && !takes_part(d, s))
                continue;
            if (!W.events[i].lost && i > s->acked && !model_has(s, i) && !staged && s->state[i] != MODEL_DEAD &&
                !(W.known_gap && s->dead[i]))
                model_fail("event %llu is decided, and %s has not got it", (unsigned long long)i, s->name);
            if (staged && s->state[i] == MODEL_DEAD)
                model_fail("event %llu is decided, and dead-lettered", (unsigned long long)i);
        }
    }
}

void expect_settled_token(struct model_sink *s, const char *token, bool commit)
{
    bool decided = strcmp(W.decided.token, token) == 0;
    bool perhaps = W.decision_in_doubt && strcmp(W.doubtful.token, token) == 0;
    if (commit && !decided)
        model_fail("%s: commit of %s, which is not decided", s->name, token);
    if (!commit && (decided || perhaps))
        model_fail("%s: rollback of %s, which is decided", s->name, token);
}

/* ---- callers, and the end ---------------------------------------------------------------------------------------- */

/* What mode "block" says of this event. */
static void expect_answer(int rc, uint64_t seq, uint64_t deadline)
{
    size_t have = 0, can = 0;
    bool all = true, hopeless = false;
    for (size_t i = 0; i < W.sinks; i++) {
        const struct model_sink *s = &W.sink[i];
        bool needed = W.core.required[i] || W.settings.fanout == SETTINGS_FANOUT_ALL ||
                      (W.settings.fanout == SETTINGS_FANOUT_BEST_EFFORT && !W.core.some_required);
        bool has = model_has(s, seq) && s->acked >= seq, down = s->config_stopped && !has, dead = s->dead[seq] > 0;
        for (size_t k = 0; W.group && k < W.sinks; k++)
            down |= W.sink[k].config_stopped && !has;
        have += has || W.events[seq].lost;
        can += !down && !dead;
        all &= !needed || has || W.events[seq].lost;
        hopeless |= needed && (down || dead);
    }
    size_t quorum = W.settings.fanout == SETTINGS_FANOUT_QUORUM ? W.settings.quorum : 0;
    if (rc == AW_SUCCESS && (!all || have < quorum))
        model_fail("event %llu: the call says that enough sinks have it", (unsigned long long)seq);
    if (rc == AW_ERR_WRITE_FAILED && !hopeless && can >= quorum)
        model_fail("event %llu: the call says that it failed", (unsigned long long)seq);
    if (rc == AW_ERR_TIMEOUT && W.now < deadline)
        model_fail("event %llu: the call gives up too early", (unsigned long long)seq);
}

void expect_taken(int rc, int mode, uint64_t seq, uint64_t deadline)
{
    bool taken = rc == AW_SUCCESS || rc == AW_ERR_TIMEOUT || rc == AW_ERR_WRITE_FAILED;
    if (taken != (seq > 0) || (rc == AW_ERR_DROPPED && mode != SETTINGS_MODE_DROP) ||
        (rc == AW_ERR_QUEUE_FULL && mode == SETTINGS_MODE_DROP) ||
        (!taken && rc != AW_ERR_DROPPED && rc != AW_ERR_QUEUE_FULL))
        model_fail("the call returns %d, and the event's number is %llu", rc, (unsigned long long)seq);
    W.dropped += rc == AW_ERR_DROPPED;
    if (seq > 0 && mode == SETTINGS_MODE_BLOCK)
        expect_answer(rc, seq, deadline);
    else if (seq > 0 && rc != AW_SUCCESS)
        model_fail("the call returns %d in a mode that waits for no sink", rc);
}

void expect_end(void)
{
    for (uint64_t i = 1; i <= W.head; i++) {
        size_t have = 0, dead = 0, late = 0;
        for (size_t k = 0; k < W.sinks && !W.events[i].lost; k++) {
            const struct model_sink *s = &W.sink[k];
            if (!model_has(s, i) && !s->dead[i])
                model_fail("%s neither has event %llu nor a dead letter for it", s->name, (unsigned long long)i);
            if (s->has_keys && s->has_position && s->stored[i] > 1)
                model_fail("%s has event %llu %u times", s->name, (unsigned long long)i, s->stored[i]);
            have += model_has(s, i);
            dead += s->dead[i] > 0;
            late += model_has(s, i) && (!s->stages || s->reset);
        }
        if (W.group && dead > 0 && have > late && !W.events[i].excused)
            model_fail("event %llu is in %zu sinks, and a dead letter of %zu", (unsigned long long)i, have, dead);
    }
    uint64_t pending = W.core.gaps ? gaps_count(W.core.gaps) : 0;
    if (W.gaps_recorded + pending != W.dropped)
        model_fail("%llu events were dropped, and %llu are in gaps", (unsigned long long)W.dropped,
                   (unsigned long long)(W.gaps_recorded + pending));
}
