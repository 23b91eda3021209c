/* checks_durable.c - is what was claimed to be durable there after a kill? SPDX-License-Identifier: Apache-2.0
 *
 * A process that is killed says nothing about a power failure: the kernel keeps what it was given. Therefore the check
 * "synced" looks at what was written and not synced, too.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checks.h"

#define EVENTS 200

struct victim {
    struct kit_set *set;
    uint32_t flags;
    bool by_flush;    /* kill after a flush(), else after write() */
    uint8_t *settled; /* shared with the parent */
};

static bool applies(void)
{
    if (!kit_has_sink())
        return false;
    if (kit_class.durability == AW_DURABLE_NEVER) {
        kit_not_applicable("the class stores nothing (AW_DURABLE_NEVER)");
        return false;
    }
    return kit_can_read();
}

static void note(const struct victim *v)
{
    for (size_t k = 0; k < v->set->count; k++)
        v->settled[k] = (uint8_t)v->set->event[k].settled;
}

/* In a process of its own: delivers, notes what was claimed, and dies. */
static void deliver_and_die(void *arg)
{
    struct victim *v = arg;
    struct kit_instance *i = kit_ready(0);
    if (!i)
        kit_exit(1);
    for (int n = 0; n < 20 && !kit_failed(); n++) {
        (void)kit_deliver_once(i, v->set, EVENTS / 8, v->flags);
        note(v);
        if (v->set->event[EVENTS * 3 / 4].settled == KIT_DONE)
            break;
    }
    (void)kill(getpid(), SIGKILL);
    kit_exit(1);
}

static void killed(uint32_t flags, const char *what)
{
    if (!applies())
        return;
    struct kit_set set = kit_events(EVENTS, KIT_PLAIN);
    uint8_t *settled = mmap(NULL, EVENTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!EXPECT(settled != MAP_FAILED, "the kit is out of memory"))
        return;
    struct victim v = {&set, flags, flags == 0, settled};
    if (kit_in_child("the process that is killed", 30, deliver_and_die, &v) < 0 || kit_failed())
        return;
    size_t claimed = 0;
    for (size_t k = 0; k < EVENTS; k++) {
        set.event[k].settled = (enum kit_settled)settled[k];
        claimed += settled[k] == KIT_DONE;
    }
    EXPECT(claimed > 0, "nothing was claimed to be durable");
    kit_note("%zu events claimed before the kill", claimed);
    struct kit_stored s;
    if (kit_read(0, &s))
        (void)kit_expect_stored(&s, &set, what);
    kit_stored_free(&s);
    /* The next life is not hindered by the last one's end, and delivers the rest. */
    struct kit_instance *i = kit_failed() ? NULL : kit_ready(0);
    if (i)
        (void)kit_deliver(i, &set, 0);
    kit_finish(i);
    if (i && !kit_failed() && kit_read(0, &s)) {
        (void)kit_expect_stored(&s, &set, "after the restart");
        kit_stored_free(&s);
    }
    kit_events_free(&set);
}

static void check_flushed(void)
{
    killed(0, "killed after flush()");
}

static void check_durable(void)
{
    killed(AW_BATCH_MUST_BE_DURABLE, "killed after AW_EVENT_DURABLE");
}

/* stop() makes durable, too: its process ends without destroy(). */
static void stop_and_die(void *arg)
{
    struct victim *v = arg;
    struct kit_instance *i = kit_ready(0);
    if (!i)
        kit_exit(1);
    struct kit_event *list[EVENTS];
    for (size_t k = 0; k < v->set->count; k++)
        list[k] = &v->set->event[k];
    int32_t rc = kit_write(i, list, v->set->count, 0, 0);
    for (size_t k = 0; k < v->set->count; k++)
        if (v->set->event[k].settled == KIT_ACCEPTED)
            v->set->event[k].settled = KIT_DONE;
    if (rc == AW_OK && kit_stop(i) == AW_OK)
        note(v);
    (void)kill(getpid(), SIGKILL);
    kit_exit(1);
}

static void check_stopped(void)
{
    if (!applies())
        return;
    struct kit_set set = kit_events(EVENTS, KIT_PLAIN);
    uint8_t *settled = mmap(NULL, EVENTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!EXPECT(settled != MAP_FAILED, "the kit is out of memory"))
        return;
    struct victim v = {&set, 0, false, settled};
    struct kit_stored s;
    if (kit_in_child("the process that is killed", 30, stop_and_die, &v) < 0 || kit_failed())
        return;
    for (size_t k = 0; k < EVENTS; k++)
        set.event[k].settled = (enum kit_settled)settled[k];
    if (kit_read(0, &s))
        (void)kit_expect_stored(&s, &set, "killed after stop()");
    kit_stored_free(&s);
    kit_events_free(&set);
}

static void check_synced(void)
{
    char name[128] = "";
    if (!kit_has_sink())
        return;
    if (kit_class.durability == AW_DURABLE_NEVER) {
        kit_not_applicable("the class stores nothing (AW_DURABLE_NEVER)");
        return;
    }
    struct kit_instance *i = kit_ready(0);
    struct kit_set set = kit_events(40, KIT_PLAIN);
    for (int n = 0; i && n < 4 && !kit_failed(); n++) {
        dirty_begin();
        (void)kit_deliver_once(i, &set, 10, n % 2 ? AW_BATCH_MUST_BE_DURABLE : 0);
        size_t dirty = dirty_count(name, sizeof name);
        EXPECT(dirty == 0, "events were claimed to be durable, and %s (%zu files in all) was written and not synced",
               name, dirty);
    }
    kit_finish(i);
    kit_events_free(&set);
}

const struct kit_check checks_durable[] = {
    {"flush-kill", "what flush() made durable survives kill -9", "flush() returns after the store has it, never before",
     check_flushed, 90, false},
    {"durable-kill", "what is AW_EVENT_DURABLE survives kill -9",
     "set AW_EVENT_DURABLE after the store's own acknowledgement only", check_durable, 90, false},
    {"stop-kill", "what was accepted survives kill -9 after stop()",
     "stop() flushes; when it cannot, it returns an error", check_stopped, 90, false},
    {"synced", "what was claimed to be durable is synced to the disk", "call fdatasync() and check its result",
     check_synced, 60, false},
    {NULL, NULL, NULL, NULL, 0, false},
};
