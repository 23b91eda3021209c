/* model.c - random schedules against the model: what is done, and how a failure is shown.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   MODEL_SCHEDULES=N   so many schedules
 *   MODEL_SEED=S        this one only, told step by step
 *   MODEL_SKIP=LIST     with MODEL_SEED: without these operations ("3,7,12"), as a failure prints it
 *
 * Each operation has random numbers of its own, so that others stay what they are when one is left out: that is how a
 * schedule that fails is made short before it is told.
 */
#include "config.h"

#include "harness.h"
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- operations -------------------------------------------------------------------------------------------------- */

static void take_one(void)
{
    static const int modes[] = {SETTINGS_MODE_QUEUE, SETTINGS_MODE_QUEUE, SETTINGS_MODE_BLOCK, SETTINGS_MODE_DROP};
    char json[700];
    char filler[300];
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    struct settings_service *service = &W.settings.service;
    size_t fill = model_random(model_chance(2) ? sizeof filler : 20);
    if (W.head + 8 > MODEL_EVENTS)
        return;
    memset(filler, 'x', sizeof filler);
    service->mode = modes[model_random(W.drops ? 4 : 3)];
    service->timeout_ns = MS * (1 + model_random(2000));
    service->durability = model_chance(2) ? SETTINGS_DURABLE_DISK : SETTINGS_DURABLE_PROCESS;
    int n = snprintf(json, sizeof json,
                     "{\"action\":\"model.event\",\"actor\":{\"id\":\"a\",\"type\":\"user\"},\"outcome\":\"SUCCESS\","
                     "\"context\":{\"tenantId\":\"t%u\"},\"metadata\":{\"fill\":\"%.*s\"}}",
                     (unsigned)model_random(3), (int)fill, filler);
    uint64_t deadline = W.now + service->timeout_ns; /* at the earliest: waiting for room comes first */
    int rc = aw_log_json(&W.logger, json, (size_t)n, &receipt);
    model_trace("the call (mode %d) returns %d", service->mode, rc);
    expect_taken(rc, service->mode, receipt.seq, deadline);
}

static void do_take(void)
{
    for (uint64_t n = 1 + model_random(6); n > 0; n--)
        take_one();
}

static void do_turns(void)
{
    for (uint64_t n = 1 + model_random(30); n > 0; n--)
        model_turn(W.now + 1000 * MS);
}

static void do_time(void)
{
    uint64_t until = W.now + (MS << model_random(15));
    model_trace("time goes by: %.0f ms", (double)(until - W.now) / 1e6);
    for (unsigned n = 0; W.now < until && n < 60; n++)
        model_turn(until);
}

static void do_sink_faults(void)
{
    struct model_sink *s = &W.sink[model_random(W.sinks)];
    s->fails = model_chance(4) ? 0 : (uint32_t)model_random(14);
    s->down_until = model_chance(5) ? W.now + (MS << model_random(15)) : 0;
    model_trace("%s: fails %u of 16, down for %.0f ms", s->name, s->fails,
                s->down_until ? (double)(s->down_until - W.now) / 1e6 : 0);
}

static void do_disk_faults(void)
{
    W.letters_fail = model_chance(6);
    W.decisions_fail = model_chance(6);
    W.full = model_chance(6);
    model_trace("disk: letters %s, decisions %s, journal %s", W.letters_fail ? "fail" : "work",
                W.decisions_fail ? "fail" : "work", W.full ? "full" : "takes events");
}

static void do_damage(void)
{
    uint64_t seq = 1 + model_random(W.head + 1);
    for (size_t i = 0; i < W.sinks; i++)
        if (W.sink[i].position > seq || W.sink[i].acked_on_disk >= seq || model_has(&W.sink[i], seq))
            return; /* somebody has read it */
    if (seq > W.head)
        return;
    model_trace("event %llu is damaged", (unsigned long long)seq);
    W.events[seq].lost = true;
}

static void do_flush(void)
{
    uint64_t head = W.head, deadline = W.now + (MS << model_random(14));
    for (size_t i = 0; i < W.sinks; i++) {
        int rc = delivery_flush(W.sink[i].d, head, deadline);
        model_trace("flush of %s: %d", W.sink[i].name, rc);
        if ((rc == 0) != (W.sink[i].acked >= head) || (rc == -ETIMEDOUT && W.now < deadline))
            model_fail("%s: delivery_flush() says %d, with the cursor at %llu of %llu", W.sink[i].name, rc,
                       (unsigned long long)W.sink[i].acked, (unsigned long long)head);
    }
}

static void do_reopen(void)
{
    for (size_t i = 0; i < W.sinks; i++)
        if (model_chance(8)) {
            model_trace("reopen of %s", W.sink[i].name);
            delivery_reopen(W.sink[i].d);
        }
}

static void do_restart(void)
{
    (void)model_close(W.now + (MS << model_random(13)));
    model_open();
}

/* The process dies somewhere in what follows; or the machine does. */
static void do_kill(void)
{
    bool power = model_chance(5);
    if (setjmp(model_on_kill) == 0) {
        W.can_kill = true;
        W.kill_in = (unsigned)model_random(12);
        for (uint64_t n = 1 + model_random(20); n > 0; n--) {
            if (model_chance(3))
                take_one();
            model_turn(W.now + 1000 * MS);
        }
    }
    W.can_kill = false;
    W.kill_in = 0;
    model_kill();
    if (power)
        model_lose_power();
    for (size_t i = 0; i < W.sinks; i++)
        if (power || model_chance(4))
            W.sink[i].acked_on_disk = W.sink[i].acked;
    model_open();
}

/* ---- one schedule ------------------------------------------------------------------------------------------------ */

struct plan {
    uint64_t seed;
    bool skip[MODEL_OPS];
};

static void begin(const struct plan *plan, bool verbose)
{
    memset(&W, 0, offsetof(struct model, text));
    memset((char *)&W + offsetof(struct model, text_used), 0, sizeof W - offsetof(struct model, text_used));
    W.seed = W.random = plan->seed;
    W.verbose = verbose;
    W.now = 1000 * MS;
    W.sinks = 1 + model_random(MODEL_SINKS);
    W.group = model_chance(5);
    W.settings.fanout = W.group           ? SETTINGS_FANOUT_ALL
                        : model_chance(8) ? SETTINGS_FANOUT_QUORUM
                                          : SETTINGS_FANOUT_BEST_EFFORT;
    W.drops = model_chance(6);
    W.settings.quorum = 1 + (uint32_t)model_random(W.sinks);
    for (size_t i = 0; i < W.sinks; i++) {
        struct model_sink *s = &W.sink[i];
        s->index = (unsigned)i;
        snprintf(s->name, sizeof s->name, "s%zu", i);
        model_sink_choose(s);
        model_trace("%s: durability %u%s%s%s%s, batches of %u", s->name, s->class.durability,
                    s->class.flush ? ", flush" : "", s->stages ? ", stages" : "",
                    s->has_position ? ", knows where it stands" : "", s->has_keys ? ", knows duplicates" : "",
                    s->settings.batch_events);
    }
    model_open();
}

/* Faults end; then everything that is owed must arrive, in bounded time. */
static void finish(void)
{
    model_trace("the faults end");
    W.quiet_life = true;
    W.full = W.letters_fail = W.decisions_fail = false;
    for (size_t i = 0; i < W.sinks; i++) {
        W.sink[i].down_until = 0;
        if (W.sink[i].config_stopped)
            delivery_reopen(W.sink[i].d);
    }
    logger_settle_gaps(&W.core, 0);
    if (W.core.gaps && gaps_count(W.core.gaps) > 0)
        model_fail("gaps are not recorded, though there is room");
    uint64_t limit = W.now + 120000 * MS;
    for (bool all = false; !all;) {
        all = true;
        for (size_t i = 0; i < W.sinks; i++)
            all &= W.sink[i].acked >= W.head;
        if (W.now >= limit)
            model_fail("two minutes after the last fault not everything is delivered");
        if (!all)
            model_turn(limit);
    }
    expect_end();
    if (!model_close(W.now + 60000 * MS))
        model_fail("the process could not end in peace");
}

/* A schedule that failed leaves its gaps behind; whatever else it had is never freed. */
static void forget_gaps(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s/" GAPS_NAME, harness_tmpdir());
    (void)unlink(path);
}

/* true: the model and the code agree. */
static bool run(const struct plan *plan, bool verbose)
{
    static void (*const ops[])(void) = {
        do_take, do_take,  do_take,        do_take,        do_turns,       do_turns,  do_turns,  do_turns,   do_time,
        do_time, do_flush, do_sink_faults, do_sink_faults, do_disk_faults, do_damage, do_reopen, do_restart, do_kill};
    if (setjmp(model_on_failure) != 0) {
        forget_gaps();
        return false;
    }
    begin(plan, verbose);
    for (unsigned i = 0; i < MODEL_OPS; i++) {
        W.random = plan->seed + (i + 1) * 0xd1342543de82ef95u;
        uint64_t op = model_random(sizeof ops / sizeof ops[0]);
        if (plan->skip[i])
            continue;
        model_trace("---- operation %u", i);
        ops[op]();
    }
    W.random = plan->seed ^ 0x5555555555555555u;
    finish();
    return true;
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static void shorten(struct plan *plan)
{
    for (bool shorter = true; shorter;) {
        shorter = false;
        for (unsigned i = 0; i < MODEL_OPS; i++) {
            if (plan->skip[i])
                continue;
            plan->skip[i] = true;
            if (run(plan, false))
                plan->skip[i] = false;
            else
                shorter = true;
        }
    }
}

static void show_failure(uint64_t seed)
{
    struct plan plan = {.seed = seed};
    char list[MODEL_OPS * 3 + 1] = "";
    shorten(&plan);
    for (unsigned i = 0, used = 0; i < MODEL_OPS; i++)
        if (plan.skip[i])
            used += (unsigned)snprintf(list + used, sizeof list - used, "%s%u", used ? "," : "", i);
    (void)run(&plan, true);
    harness_note("%s", W.why);
    harness_note("MODEL_SEED=%" PRIu64 " MODEL_SKIP=%s ./model.t shows this again", seed, list);
    CU_FAIL("the code and the model do not agree");
}

static bool read_plan(struct plan *plan)
{
    const char *seed = getenv("MODEL_SEED"), *skip = getenv("MODEL_SKIP");
    if (!seed)
        return false;
    *plan = (struct plan){.seed = strtoull(seed, NULL, 10)};
    for (char *end; skip && *skip; skip = *end == ',' ? end + 1 : end) {
        unsigned long op = strtoul(skip, &end, 10);
        if (op < MODEL_OPS)
            plan->skip[op] = true;
        if (end == skip)
            break;
    }
    return true;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static uint64_t how_many(void)
{
    const char *given = getenv("MODEL_SCHEDULES");
    return given ? strtoull(given, NULL, 10) : harness_slow() ? 4000 : getenv("FAULT_LONG") ? 2000000 : 100000;
}

static void test_schedules(void)
{
    struct plan plan;
    if (read_plan(&plan)) {
        bool good = run(&plan, true);
        CU_ASSERT(good);
        harness_note("%s", good ? "the code and the model agree" : W.why);
        model_free();
        return;
    }
    uint64_t seed = harness_seed(), count = how_many(), tried = 0, steps = 0;
    bool good = true;
    for (; tried < count && good; tried++) {
        plan = (struct plan){.seed = seed + tried};
        good = run(&plan, false);
        steps += W.steps;
    }
    if (!good)
        show_failure(plan.seed);
    harness_note("fault model: tried=%" PRIu64 " lost=0 unexplained=%d seed=%" PRIu64 ", %.1f million steps", tried,
                 !good, seed, (double)steps / 1e6);
    model_free();
}

/* A seed that replays is worth nothing if it does not replay. */
static void test_replay(void)
{
    uint64_t seed = harness_seed();
    for (uint64_t i = 0; i < 200; i++) {
        struct plan plan = {.seed = seed + i};
        bool first = run(&plan, false);
        uint64_t digest = W.digest, steps = W.steps;
        CU_ASSERT(run(&plan, false) == first && W.digest == digest && W.steps == steps);
    }
    model_free();
}

HARNESS_MAIN("model",
             {"random schedules of producers, sinks, faults and restarts agree with the model", test_schedules},
             {"the same seed gives the same run", test_replay})
