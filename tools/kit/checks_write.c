/* checks_write.c - checks of write() and flush() with a store that works. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "checks.h"

static void compare(const struct kit_set *set, const char *after)
{
    struct kit_stored s;
    if (kit_failed() || kit_class.durability == AW_DURABLE_NEVER || !kit_can_read()) {
        kit_report->not_applicable[0] = '\0'; /* delivered, which is what can be said */
        return;
    }
    if (kit_read(0, &s))
        (void)kit_expect_stored(&s, set, after);
    kit_stored_free(&s);
}

static void batches(size_t count, size_t rounds, enum kit_kind kind, const char *what)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    struct kit_set set = kit_events(count * rounds, kind);
    for (size_t n = 0; n < rounds && !kit_failed(); n++)
        (void)kit_deliver_once(i, &set, count, 0);
    (void)kit_deliver(i, &set, 0);
    kit_finish(i);
    compare(&set, what);
    kit_events_free(&set);
}

static void check_one(void)
{
    batches(1, 5, KIT_PLAIN, "batches of one");
}

static void check_max(void)
{
    batches(kit.batch_max, 1, KIT_PLAIN, "a batch of the largest size");
}

static void check_large(void)
{
    batches(4, 2, KIT_LARGE, "large events");
}

/* Every event of good batches gets a status, whatever the host preset: progress is made. */
static void check_status(void)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    struct kit_set set = kit_events(50, KIT_PLAIN);
    struct kit_event *list[50];
    for (size_t n = 0; n < set.count; n++)
        list[n] = &set.event[n];
    int32_t rc = kit_write(i, list, set.count, 0, 0);
    EXPECT(rc == AW_OK, "write() returned %s: %s", kit_code_name(rc), kit_error(i));
    size_t unknown = 0;
    for (size_t n = 0; n < set.count; n++)
        unknown += set.event[n].status == AW_EVENT_UNKNOWN || set.event[n].status == AW_EVENT_RETRY;
    EXPECT(rc != AW_OK || unknown == 0, "write() returned AW_OK, and %zu of %zu good events have no final status",
           unknown, set.count);
    kit_finish(i);
    kit_events_free(&set);
}

/* An event that a store may refuse among good ones: its neighbours are taken. */
static void check_poison(void)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    struct kit_set good = kit_events(8, KIT_PLAIN), bad = kit_events(1, KIT_POISON), rest = kit_events(8, KIT_PLAIN);
    struct kit_event all[17];
    memcpy(all, good.event, 8 * sizeof all[0]);
    memcpy(all + 8, bad.event, sizeof all[0]);
    memcpy(all + 9, rest.event, 8 * sizeof all[0]);
    struct kit_set set = {all, 17};
    (void)kit_deliver(i, &set, 0);
    kit_finish(i);
    if (!kit_failed())
        kit_note("the odd event (id of 128 bytes, \\u0000 in a text) was %s",
                 all[8].settled == KIT_REJECTED ? "rejected, its neighbours were taken" : "taken");
    compare(&set, "good events around an odd one");
    kit_events_free(&good);
    kit_events_free(&bad);
    kit_events_free(&rest);
}

static void check_flush(void)
{
    uint64_t seq = 0;
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    if (!kit_class.flush) {
        kit_not_applicable("there is no flush(): nothing is ever pending");
        kit_finish(i);
        return;
    }
    int32_t rc = kit_flush(i, 0, &seq);
    EXPECT(rc == AW_OK, "flush() with nothing written returned %s: %s", kit_code_name(rc), kit_error(i));
    struct kit_set set = kit_events(10, KIT_PLAIN);
    (void)kit_deliver_once(i, &set, 10, AW_BATCH_MUST_BE_DURABLE); /* no flush in it */
    struct kit_set more = kit_events(10, KIT_PLAIN);
    struct kit_event *list[10];
    for (size_t n = 0; n < 10; n++)
        list[n] = &more.event[n];
    rc = kit_write(i, list, 10, 0, 0);
    for (int n = 0; n < 2 && rc == AW_OK && !kit_failed(); n++) {
        rc = kit_flush(i, 0, &seq);
        EXPECT(rc == AW_OK && seq >= more.event[9].seq,
               "flush() number %d returned %s and %llu; the last accepted event is %llu", n + 1, kit_code_name(rc),
               (unsigned long long)seq, (unsigned long long)more.event[9].seq);
    }
    kit_finish(i);
    kit_events_free(&set);
    kit_events_free(&more);
}

static void check_must(void)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    if (kit_class.durability == AW_DURABLE_NEVER) {
        kit_not_applicable("the class stores nothing (AW_DURABLE_NEVER)");
    } else {
        struct kit_set set = kit_events(20, KIT_PLAIN);
        (void)kit_deliver(i, &set, AW_BATCH_MUST_BE_DURABLE);
        kit_events_free(&set);
    }
    kit_finish(i);
}

/* The same events again, in the same life and in the next one. */
static void check_duplicates(void)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    struct kit_set set = kit_events(12, KIT_PLAIN);
    size_t said = 0;
    bool ok = kit_deliver(i, &set, 0);
    for (int life = 0; ok && life < 2; life++) {
        for (size_t n = 0; n < set.count; n++)
            set.event[n].settled = KIT_OPEN;
        ok = kit_deliver(i, &set, 0);
        for (size_t n = 0; n < set.count; n++)
            said += set.event[n].status == AW_EVENT_DUPLICATE;
        ok = ok && kit_stop_ok(i) && kit_start_ok(i);
    }
    kit_finish(i);
    struct kit_stored s;
    if (ok && said > 0 && kit_can_read() && kit_read(0, &s)) {
        for (size_t n = 0; n < set.count; n++)
            if (set.event[n].status == AW_EVENT_DUPLICATE &&
                !EXPECT(kit_stored_times(&s, &set.event[n]) == 1, "a duplicate by its own word is stored %zu times",
                        kit_stored_times(&s, &set.event[n])))
                break;
        kit_stored_free(&s);
    }
    kit_report->not_applicable[0] = '\0';
    if (!kit_failed())
        kit_note(said > 0 ? "duplicates are recognised" : "an event that is sent again is stored again");
    kit_events_free(&set);
}

/* ---- time ---- */

#define SLACK_MS 3000u

static void in_time(uint64_t begun, uint64_t allowed_ms, const char *what)
{
    uint64_t took = (kit_mono_ns() - begun) / 1000000;
    EXPECT(took <= allowed_ms + SLACK_MS * kit.patience, "%s took %llu ms; its deadline was %llu ms away", what,
           (unsigned long long)took, (unsigned long long)allowed_ms);
}

static void timed_write(struct kit_instance *i, struct kit_event *e, int64_t ms)
{
    uint64_t begun = kit_mono_ns();
    (void)kit_write(i, &e, 1, 0, ms < 0 ? 1 : begun + (uint64_t)ms * 1000000u);
    in_time(begun, ms < 0 ? 0 : (uint64_t)ms, "write()");
}

static void timed_end(struct kit_instance *i)
{
    uint64_t seq, begun = kit_mono_ns();
    (void)kit_flush(i, begun + 200000000, &seq);
    in_time(begun, 200, "flush()");
    begun = kit_mono_ns();
    (void)kit_stop_by(i, begun + 200000000);
    in_time(begun, 200, "stop()");
}

static void check_deadline(void)
{
    struct kit_instance *i = kit_begin();
    struct kit_set set = kit_events(4, KIT_PLAIN);
    if (i) {
        timed_write(i, &set.event[0], -1);
        timed_write(i, &set.event[1], 200);
        timed_end(i);
        kit_destroy(i);
    }
    i = i && kit.slow_count > 0 && !kit_failed() ? kit_create(1, true, false) : NULL;
    if (i && kit_start(i) == AW_OK) {
        timed_write(i, &set.event[2], 200);
        timed_write(i, &set.event[3], -1);
        timed_end(i);
    }
    kit_destroy(i);
    if (!kit_failed() && kit.slow_count == 0)
        kit_note("with the store as it is; --slow-option names settings that make it slow");
    kit_events_free(&set);
}

/* ---- structs of other versions ---- */

static void check_structs(void)
{
    kit_host_longer(true);
    kit_batch_use_longer(true);
    struct kit_instance *i = kit_begin();
    if (i) {
        struct kit_set set = kit_events(5, KIT_PLAIN);
        struct aw_health h;
        (void)kit_deliver(i, &set, 0);
        (void)kit_health(i, &h);
        kit_events_free(&set);
    }
    kit_finish(i);
}

const struct kit_check checks_write[] = {
    {"batch-one", "batches of one event", "see the message", check_one, 60, false},
    {"batch-max", "a batch of the largest size", "batch->count has no bound of its own: no fixed arrays, no recursion",
     check_max, 120, false},
    {"large-events", "large events and odd text arrive as they are",
     "events are up to 64 KiB by default; text may hold quotes, newlines, NUL and any UTF-8", check_large, 60, false},
    {"status", "each event of a good batch gets a status", "set result->status[i] for every event that was taken",
     check_status, 30, false},
    {"poison", "an odd event costs its neighbours nothing",
     "reject that event alone, with aw_host_event_error() and AW_EVENT_REJECTED", check_poison, 60, false},
    {"flush", "flush() returns the number of the last accepted event, as often as it is called",
     "flush() returns the highest seq up to which everything accepted is durable", check_flush, 30, false},
    {"must-be-durable", "AW_BATCH_MUST_BE_DURABLE is obeyed",
     "make the events durable before write() returns, and set AW_EVENT_DURABLE; else return an error", check_must, 30,
     false},
    {"duplicates", "events that are sent again are acknowledged",
     "an id that is stored already is AW_EVENT_DUPLICATE, never an error", check_duplicates, 60, false},
    {"deadline", "write, flush and stop return by their deadlines",
     "bound every wait by the deadline; return AW_E_TIMEOUT", check_deadline, 60, false},
    {"structs", "longer structs of a later host are left alone",
     "read what the header has; heed struct_size in what you fill", check_structs, 30, false},
    {NULL, NULL, NULL, NULL, 0, false},
};
