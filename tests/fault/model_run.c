/* model_run.c - the process: its lives, and whose turn it is. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model.h"

#include "harness.h"

#include <stdio.h>

/* Made once: nothing in them changes. */
static struct event_policy *policy;
static struct metrics *metrics;

static void say(void *arg, int severity, const char *instance, const char *message)
{
    (void)arg;
    (void)severity;
    model_trace("    \"%s: %s\"", instance ? instance : "", message);
}

struct model_sink *model_sink_named(const char *name)
{
    return &W.sink[name[1] - '0'];
}

static void check(int rc, const char *what)
{
    if (rc != 0)
        model_fail("%s: %d", what, rc);
}

static void make_policy(void)
{
    struct event_settings s;
    event_settings_init(&s);
    s.redaction = false;
    check(event_policy_create(&s, &policy), "event_policy_create()");
    check(metrics_create(MODEL_SINKS, &metrics), "metrics_create()");
}

void model_free(void)
{
    event_policy_destroy(policy);
    metrics_destroy(metrics);
    policy = NULL;
    metrics = NULL;
}

static void open_sink(struct model_sink *s)
{
    const struct delivery_options o = {.name = s->name,
                                       .sink = &s->class,
                                       .settings = s->settings,
                                       .diag = W.core.diag,
                                       .where = "here",
                                       .watch = &W.core.watch,
                                       .state_dir = "",
                                       .metrics = metrics,
                                       .metrics_sink = s->index};
    expect_life_begins(s);
    check(delivery_create(&o, &s->d), "delivery_create()");
    W.core.sinks[s->index] = s->d;
    W.core.required[s->index] = s->required;
    W.core.some_required |= s->required;
}

void model_open(void)
{
    static struct delivery *sinks[MODEL_SINKS];
    static bool required[MODEL_SINKS];
    if (!policy)
        make_policy();
    W.life++;
    W.opening = true;
    W.actors = 0;
    W.core = (struct logger_core){.settings = &W.settings,
                                  .policy = policy,
                                  .own_policy = policy,
                                  .journal = (struct journal *)(void *)&W,
                                  .sink_count = W.sinks,
                                  .started = W.sinks,
                                  .sinks = sinks,
                                  .required = required,
                                  .fork_generation = fork_generation(),
                                  .metrics = metrics};
    if (W.verbose)
        W.core.diag.fn = say;
    W.logger.root = &W.logger;
    atomic_init(&W.logger.core, &W.core);
    model_trace("the process begins");
    check(delivery_watch_init(&W.core.watch), "delivery_watch_init()");
    if (W.drops)
        check(gaps_open(harness_tmpdir(), &W.core.diag, &W.core.gaps), "gaps_open()");
    for (size_t i = 0; i < W.sinks; i++)
        open_sink(&W.sink[i]);
    if (W.group)
        check(together_create(sinks, W.sinks, "", &W.core.diag, &W.together), "together_create()");
    for (size_t i = 0; i < W.sinks; i++)
        check(delivery_attach(sinks[i], W.core.journal), "delivery_attach()");
    if (W.group) {
        check(together_attach(W.together, W.core.journal), "together_attach()");
        check(together_start(W.together), "together_start()");
    }
    for (size_t i = 0; i < W.sinks && !W.group; i++)
        check(delivery_start(sinks[i]), "delivery_start()");
    for (size_t i = 0; i < W.sinks; i++)
        expect_verdict(&W.sink[i]);
    W.opening = false;
}

static void free_life(void)
{
    for (size_t i = 0; i < W.sinks; i++)
        if (!delivery_destroy(W.sink[i].d))
            model_fail("a worker was given up");
    if (W.together)
        together_destroy(W.together);
    W.together = NULL;
    gaps_close(W.core.gaps);
    W.core.gaps = NULL;
    delivery_watch_destroy(&W.core.watch);
}

void model_kill(void)
{
    for (size_t i = 0; i < W.sinks; i++)
        model_sink_dies(&W.sink[i]);
    free_life();
}

bool model_close(uint64_t deadline)
{
    bool all = true, slow = false; /* one that is slow delays the others here, where threads take turns */
    model_trace("the process is asked to end");
    logger_settle_gaps(&W.core, 0);
    for (size_t i = 0; i < W.sinks; i++) {
        int rc = delivery_stop(W.sink[i].d, deadline);
        if ((rc == 0) != (W.sink[i].acked >= W.head))
            model_fail("%s: delivery_stop() says %d, with the cursor at %llu of %llu", W.sink[i].name, rc,
                       (unsigned long long)W.sink[i].acked, (unsigned long long)W.head);
        all &= rc == 0;
        for (size_t k = 0; k < W.sinks; k++)
            slow |= W.sink[k].slow && !W.quiet_life;
        if (!slow && W.now > deadline + 4000 * MS)
            model_fail("%s: delivery_stop() takes %.3f ms longer than it may", W.sink[i].name,
                       (double)(W.now - deadline) / 1e6);
    }
    for (size_t i = 0; i < W.sinks; i++) {
        expect_figures(&W.sink[i]);
        if (W.sink[i].started)
            model_fail("%s was not stopped", W.sink[i].name);
    }
    free_life();
    return all;
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static struct model_sink *first_of(size_t actor)
{
    return &W.sink[W.group ? 0 : actor];
}

static struct model_sink *end_of(size_t actor)
{
    return W.group ? W.sink + W.sinks : &W.sink[actor] + 1;
}

static void note_reopen(struct model_sink *s)
{
    if (!atomic_load(&s->d->reopen))
        return;
    s->not_before = s->not_after = 0;
    s->config_stopped = false;
}

static void note(uint64_t what)
{
    W.digest = (W.digest ^ what) * 1099511628211u;
}

void model_step(size_t actor)
{
    struct model_actor *a = &W.actor[actor];
    if (W.together)
        W.together->poked = false;
    for (struct model_sink *s = first_of(actor); s < end_of(actor); s++) {
        s->d->poked = false;
        note_reopen(s);
    }
    a->wakes = W.wakes;
    struct worker_next next = W.together ? together_step(W.together) : worker_step(W.sink[actor].d);
    for (struct model_sink *s = first_of(actor); s < end_of(actor); s++)
        expect_verdict(s);
    a->due = next.what == WORKER_GO_ON ? W.now : next.until_ns;
    a->waits = next.what == WORKER_WAIT;
    if (next.what == WORKER_LEAVE) {
        W.together ? together_end(W.together) : worker_end(W.sink[actor].d);
        a->alive = false;
    }
    if (next.what == WORKER_PAUSE || next.what == WORKER_WAIT) {
        expect_pause(actor, next);
        for (struct model_sink *s = first_of(actor); s < end_of(actor); s++) {
            worker_publish(s->d);
            expect_figures(s);
        }
    }
    if (a->waits && W.head > W.durable && W.sync_due == 0)
        W.sync_due = W.now + 1 + model_random(5 * MS);
    if (++W.still > 300)
        model_fail("steps without end: nothing is done, and no time goes by");
    W.steps++;
    note(W.now);
    note(actor << 8 | (uint64_t)next.what);
    for (struct model_sink *s = first_of(actor); s < end_of(actor); s++)
        note(s->acked);
}

static bool is_ready(size_t actor)
{
    const struct model_actor *a = &W.actor[actor];
    if (!a->alive)
        return false;
    bool poked = W.together ? W.together->poked : W.sink[actor].d->poked;
    const struct model_sink *reader =
        W.together && W.together->reader ? model_sink_named(W.together->reader->name) : first_of(actor);
    return W.now >= a->due || (!a->waits && poked) ||
           (a->waits && (W.wakes != a->wakes || reader->position <= W.durable));
}

static void pass_to_next(uint64_t until)
{
    uint64_t next = until;
    for (size_t i = 0; i < W.actors; i++)
        if (W.actor[i].alive && W.actor[i].due < next)
            next = W.actor[i].due;
    if (W.sync_due && W.sync_due < next)
        next = W.sync_due;
    if (next > W.now)
        model_pass(next - W.now);
}

void model_turn(uint64_t until)
{
    size_t ready[MODEL_SINKS], count = 0;
    for (size_t i = 0; i < W.actors; i++)
        if (is_ready(i))
            ready[count++] = i;
    size_t any = model_random(W.actors ? W.actors : 1);
    if (!W.quiet_life && W.actors && W.actor[any].alive && model_random(30) == 0)
        model_step(any); /* a wait may end for no reason */
    else if (count > 0 && (W.quiet_life || !model_chance(1)))
        model_step(ready[model_random(count)]);
    else if (count > 0)
        model_pass(1 + model_random(20 * MS)); /* whoever is ready comes late */
    else
        pass_to_next(until);
}
