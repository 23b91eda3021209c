/* checks_faults.c - every n-th allocation and every n-th I/O call fails. SPDX-License-Identifier: Apache-2.0
 *
 * The host of these checks does what the contract says: it keeps an event until it is acknowledged, and sends the
 * others again. In the end the store has every event that was claimed, whatever failed.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "checks.h"

#define EVENTS 12u
#define ROUNDS_BROKEN 3
#define ROUNDS 200

static int error_of(enum inject_kind kind)
{
    switch (kind) {
    case INJECT_MALLOC:
        return ENOMEM;
    case INJECT_SYNC:
        return EIO;
    case INJECT_CONNECT:
        return ECONNREFUSED;
    case INJECT_SEND:
    case INJECT_RECV:
        return ECONNRESET;
    default:
        return ENOSPC;
    }
}

static bool all_done(const struct kit_set *set)
{
    for (size_t k = 0; k < set->count; k++)
        if (set->event[k].settled == KIT_OPEN || set->event[k].settled == KIT_ACCEPTED)
            return false;
    return true;
}

/* Everything that was sent is acknowledged: then nothing may be waiting for a sync. */
static bool all_sent_done(const struct kit_set *set)
{
    bool some = false;
    for (size_t k = 0; k < set->count; k++) {
        const struct kit_event *e = &set->event[k];
        if (e->sent && (e->settled == KIT_OPEN || e->settled == KIT_ACCEPTED))
            return false;
        some = some || e->settled == KIT_DONE;
    }
    return some;
}

static bool deliver_round(struct kit_instance *i, struct kit_set *set, bool *started)
{
    char name[128] = "";
    if (!*started) {
        *started = kit_start(i) == AW_OK;
        dirty_begin(); /* what start() writes may be of a kind that needs no sync */
    }
    bool all = *started && !kit_deliver_once(i, set, 4, 0);
    if (*started && all_sent_done(set) && kit_class.durability != AW_DURABLE_NEVER)
        EXPECT(dirty_count(name, sizeof name) == 0,
               "events were claimed to be durable, and %s was written and not synced, or its sync failed", name);
    return all;
}

/* One life of a sink with the nth call failing. false: that call never came, or something was found. */
static bool one_life(enum inject_kind kind, long nth, bool on)
{
    struct kit_set set = kit_events(EVENTS, KIT_PLAIN);
    struct kit_instance *i = kit_create(0, false, false);
    bool started = false, done = false;
    int round = 0;
    if (!i)
        return false;
    inject_arm(kind, nth, error_of(kind), on);
    for (; round < ROUNDS_BROKEN || (!inject_fired() && !done && round < ROUNDS); round++)
        done = deliver_round(i, &set, &started);
    (void)inject_disarm();
    bool fired = inject_fired();
    for (; !done && round < ROUNDS && !kit_failed(); round++) {
        done = deliver_round(i, &set, &started);
        if (!done && round > 20)
            kit_nap(10);
    }
    for (size_t k = 0; k < set.count; k++)
        EXPECT(set.event[k].settled != KIT_REJECTED,
               "an ordinary event was rejected for good, for a failure that passes");
    EXPECT(kit_failed() || (done && all_done(&set)), "the events were not delivered when all worked again: %s",
           kit_error(i));
    if (started)
        (void)kit_stop_ok(i);
    kit_destroy(i);
    struct kit_stored s;
    if (!kit_failed() && kit_class.durability != AW_DURABLE_NEVER && kit_can_read()) {
        if (kit_read(0, &s))
            (void)kit_expect_stored(&s, &set, "after the failure");
        kit_stored_free(&s);
    }
    kit_report->not_applicable[0] = '\0';
    if (kit_failed())
        kit_finding("this was with %s number %ld failing%s", inject_name(kind), nth, on ? ", and all later ones" : "");
    kit_events_free(&set);
    return fired && !kit_failed();
}

static size_t loop(enum inject_kind kind, long most)
{
    size_t failures = 0;
    for (int on = 0; on < 2; on++) {
        uint64_t end = kit_mono_ns() + UINT64_C(6000000000);
        for (long n = 1; n < most && kit_mono_ns() < end && one_life(kind, n, on); n += n < 24 ? 1 : n < 100 ? 7 : 31)
            failures++;
    }
    return failures;
}

static void check_oom(void)
{
    if (!kit_has_sink())
        return;
    if (!inject_can(INJECT_MALLOC)) {
        kit_not_applicable("this build of the kit has a sanitizer, which keeps memory to itself");
        return;
    }
    inject_skip_syncs(true);
    size_t n = loop(INJECT_MALLOC, 2000);
    kit_note("%zu failing allocations of %s", n,
             kit.fail_libraries ? "the plugin and its libraries" : "the plugin's own code");
}

/* create() without memory. */
static void check_create_oom(void)
{
    size_t failures = 0;
    if (!kit_has_sink())
        return;
    if (!inject_can(INJECT_MALLOC)) {
        kit_not_applicable("this build of the kit has a sanitizer, which keeps memory to itself");
        return;
    }
    kit_destroy(kit_create(0, false, false));
    for (long n = 1; n < 400 && !kit_failed(); n++) {
        kit_create_failing = n;
        struct kit_instance *i = kit_create(0, false, true);
        kit_create_failing = 0;
        bool fired = inject_fired();
        EXPECT(i || fired, "create() failed without a reason");
        kit_destroy(i);
        if (!fired)
            break;
        failures++;
    }
    kit_note("%zu failing allocations in create()", failures);
}

static void io(const enum inject_kind *kinds, size_t count)
{
    size_t n = 0;
    if (!kit_has_sink())
        return;
    inject_skip_syncs(true);
    for (size_t k = 0; k < count && !kit_failed(); k++)
        n += loop(kinds[k], 400);
    kit_note("%zu failing calls", n);
}

static void check_io(void)
{
    static const enum inject_kind kinds[] = {INJECT_OPEN, INJECT_WRITE, INJECT_RENAME, INJECT_TRUNCATE};
    io(kinds, sizeof kinds / sizeof kinds[0]);
}

static void check_sync(void)
{
    static const enum inject_kind kinds[] = {INJECT_SYNC};
    io(kinds, 1);
}

static void check_net(void)
{
    static const enum inject_kind kinds[] = {INJECT_CONNECT, INJECT_SEND, INJECT_RECV};
    io(kinds, sizeof kinds / sizeof kinds[0]);
}

const struct kit_check checks_faults[] = {
    {"create-oom", "create() without memory returns AW_E_NOMEM",
     "check every allocation in create(), and undo the others", check_create_oom, 30, false},
    {"oom", "an allocation that fails costs a retry, nothing else",
     "check every allocation; return AW_E_NOMEM, with statuses for the events that were taken", check_oom, 90, false},
    {"io", "open, write and rename that fail cost a retry, nothing else",
     "check every call; return AW_E_UNAVAILABLE; set no status for an event whose write failed", check_io, 200, false},
    {"sync", "a sync that fails is never called a success",
     "after a failed fdatasync() the data must be written anew: it is lost from the cache", check_sync, 90, false},
    {"net", "connections that fail cost a retry, nothing else",
     "return AW_E_UNAVAILABLE, connect again; what was not acknowledged has no status", check_net, 200, false},
    {NULL, NULL, NULL, NULL, 0, false},
};
