/* full.c - the disk is full from the N-th need for space on, and then has room again.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A child opens a logger and logs. From its N-th call that takes room on a disk on - a write to a file, a
 * preallocation, a new file, a new name, whosever it is - every such call fails, ENOSPC for odd N and EDQUOT for even.
 * It must answer as its mode says: with "queue" and "block" a call waits for queue.timeout and says QUEUE_FULL, with
 * "drop" DROPPED, and nobody else gets another answer. Then there is room again, and the same logger must take events
 * and deliver all of them, without a restart. A second process opens the journal and finds nothing amiss: every
 * acknowledged event is in the stores exactly once, the chains verify, and what was dropped is told by sealed gap
 * records, number by number.
 *
 * make check takes a sample of the places; FAULT_LONG=1 takes all. FAULT_FROM=N starts at N.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "oracle.h"
#include "rig.h"

#define EVENTS 140
#define AFTER 4      /* when there is room again */
#define REFUSALS 4   /* then the disk has been full for long enough */
#define TIMEOUT_MS 8 /* queue.timeout */
#define SAMPLE_SECONDS 1.5

struct scene {
    const char *name, *top, *durability;
    int full; /* what a call says when there is no room */
    bool sqlite;
    uint64_t events;
};
static const struct scene scenes[] = {
    {"queue", "mode = \"queue\";", "process", AW_ERR_QUEUE_FULL, true, EVENTS},
    {"queue, on disk", "mode = \"queue\";", "disk", AW_ERR_QUEUE_FULL, false, 30},
    {"block", "mode = \"block\";", "process", AW_ERR_QUEUE_FULL, true, 30},
    {"drop", "mode = \"drop\";", "process", AW_ERR_DROPPED, false, EVENTS},
    {"all_or_nothing", "fanout = \"all_or_nothing\";", "process", AW_ERR_QUEUE_FULL, true, EVENTS},
};

struct shared {
    uint64_t acked[EVENTS + AFTER];
    size_t acked_count;
    uint64_t dropped, calls, failed;
};

struct round {
    const struct scene *scene;
    struct rig rig;
    struct inject_plan plan;
    struct shared *shared;
};

static void make_rig(const struct scene *s, struct rig *ret)
{
    static const char pace[] = "batch = { events = 7; flush_interval = \"2ms\"; }; retry = { base = \"1ms\"; cap = "
                               "\"4ms\"; }; breaker = { threshold = 1000; cooldown = \"5ms\"; };";
    char sinks[2000], top[300];
    const char *dir = harness_tmpdir();
    int n = snprintf(sinks, sizeof sinks, "{ plugin = \"file\"; name = \"trail\"; path = \"%s/full/audit.jsonl\"; %s }",
                     dir, pace);
    if (s->sqlite)
        (void)snprintf(sinks + n, sizeof sinks - (size_t)n,
                       ", { plugin = \"sqlite\"; name = \"db\"; path = \"%s/full/audit.db\"; %s }", dir, pace);
    (void)snprintf(top, sizeof top, "limits = { event = \"8KiB\"; }; queue = { timeout = \"%dms\"; }; %s", TIMEOUT_MS,
                   s->top);
    struct rig_options o = {.durability = s->durability,
                            .top = top,
                            .sinks = sinks,
                            .journal =
                                "segment_size = \"64KiB\"; ring_size = \"64KiB\"; max_size = \"1MiB\"; min_free = 0"};
    rig_init(ret, dir, "full", &o);
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the full disk ---- */

/* Large, so that the ring is full soon when nothing can be written. */
static int log_one(struct aw_logger *logger, uint64_t number)
{
    char json[3000], padding[1200];
    memset(padding, 'x', sizeof padding - 1);
    padding[sizeof padding - 1] = '\0';
    size_t n = rig_event(number, NULL, json, sizeof json);
    int more = snprintf(json + n - 2, sizeof json - n + 2, ",\"padding\":\"%s\"}}", padding);
    return aw_log_json(logger, json, n - 2 + (size_t)more, NULL);
}

/* Which answers are right, and which of them mean that the event was taken. false: not that one. */
static bool take_answer(struct round *r, int rc, uint64_t number, double took, char *why, size_t size)
{
    const struct scene *s = r->scene;
    struct shared *sh = r->shared;
    bool blocks = strcmp(s->name, "block") == 0, waits = rc == AW_ERR_QUEUE_FULL;
    bool good = rc == AW_SUCCESS || rc == s->full;
    if (rc == AW_SUCCESS || (blocks && rc == AW_ERR_TIMEOUT)) {
        sh->acked[sh->acked_count++] = number; /* a late one is in the journal and owed as well */
        return true;
    }
    sh->dropped += rc == AW_ERR_DROPPED;
    /* Not known to be on the disk: it may come, and is not owed. */
    good = good || (strcmp(s->durability, "disk") == 0 && rc == AW_ERR_WRITE_FAILED);
    if (!good)
        (void)snprintf(why, size, "aw_log of event %" PRIu64 " said %s: %s", number, aw_error_name(rc), rig_problems());
    else if (waits && took < TIMEOUT_MS * 0.001) {
        (void)snprintf(why, size, "aw_log of event %" PRIu64 " said QUEUE_FULL after %.1f ms", number, took * 1e3);
        good = false;
    }
    return good;
}

static bool fill(struct round *r, struct aw_logger *logger, uint64_t *next, char *why, size_t size)
{
    bool drops = r->scene->full == AW_ERR_DROPPED;
    for (int refused = 0; *next <= r->scene->events && (refused < REFUSALS || drops);) {
        double begin = seconds();
        int rc = log_one(logger, *next);
        if (!take_answer(r, rc, *next, seconds() - begin, why, size))
            return false;
        refused += rc != AW_SUCCESS;
        if (++*next % 12 == 0 && rc == AW_SUCCESS)
            (void)aw_flush(logger, 5); /* so that writes of the journal come everywhere among those of the sinks */
    }
    return true;
}

/* With room again, each event is taken in the end. */
static bool go_on(struct round *r, struct aw_logger *logger, uint64_t next, char *why, size_t size)
{
    double begin = seconds();
    for (int i = 0; i < AFTER; i++, next++) {
        int rc;
        while ((rc = log_one(logger, next)) != AW_SUCCESS && seconds() - begin < 15) {
            r->shared->dropped += rc == AW_ERR_DROPPED;
            if (rc != r->scene->full) { /* it is in the journal, perhaps: never twice */
                next++;
                continue;
            }
            (void)usleep(500);
        }
        if (rc != AW_SUCCESS) {
            (void)snprintf(why, size, "there is room again, and aw_log says %s: %s", aw_error_name(rc), rig_problems());
            return false;
        }
        r->shared->acked[r->shared->acked_count++] = next;
    }
    return true;
}

static bool settle(struct round *r, struct aw_logger *logger, char *why, size_t size)
{
    struct aw_stats stats = {.struct_size = sizeof stats};
    int rc = aw_flush(logger, 15000);
    if (rc == AW_SUCCESS)
        rc = aw_stats(logger, &stats);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "there is room again, and aw_flush says %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    for (uint32_t i = 0; i < stats.sinks; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        if (aw_stats_sink(logger, i, &s) == AW_SUCCESS && s.imbalance != 0) {
            (void)snprintf(why, size, "sink %s: imbalance %" PRId64, s.name, s.imbalance);
            return false;
        }
    }
    if (r->scene->full == AW_ERR_DROPPED && stats.dropped_total != r->shared->dropped) {
        (void)snprintf(why, size, "%" PRIu64 " calls said DROPPED, the figures say %" PRIu64, r->shared->dropped,
                       stats.dropped_total);
        return false;
    }
    return true;
}

static bool scenario(void *arg, char *why, size_t size)
{
    struct round *r = arg;
    struct aw_logger *logger = NULL;
    uint64_t next = 1;
    inject_arm(&r->plan);
    int rc = rig_open(&r->rig, 0, NULL, NULL, &logger);
    bool good = rc != AW_SUCCESS || fill(r, logger, &next, why, size);
    if (good && rc == AW_SUCCESS)
        (void)aw_flush(logger, 15); /* a moment for the sinks to meet the full disk, too */
    r->shared->calls = inject_calls();
    r->shared->failed = inject_failed();
    inject_disarm();
    if (rc != AW_SUCCESS && (rc = rig_open(&r->rig, 0, NULL, NULL, &logger)) != AW_SUCCESS) {
        (void)snprintf(why, size, "there is room again, and aw_open says %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    good = good && go_on(r, logger, next, why, size) && settle(r, logger, why, size);
    rc = aw_close(logger, 10000);
    if (good && rc != AW_SUCCESS)
        (void)snprintf(why, size, "aw_close: %s: %s", aw_error_name(rc), rig_problems());
    return good && rc == AW_SUCCESS;
}

/* ---- afterwards ---- */

static bool judge(void *arg, char *why, size_t size)
{
    struct round *r = arg;
    struct aw_logger *logger = NULL;
    struct oracle_list list;
    struct aw_stats stats = {.struct_size = sizeof stats};
    int rc = rig_open(&r->rig, 0, NULL, NULL, &logger);
    if (rc == AW_SUCCESS)
        rc = aw_flush(logger, 10000);
    if (rc == AW_SUCCESS)
        rc = aw_stats(logger, &stats);
    if (rc == AW_SUCCESS)
        rc = aw_close(logger, 10000);
    if (rc != AW_SUCCESS || stats.lost_total > 0) {
        (void)snprintf(why, size, "the next start: %s, %" PRIu64 " lost: %s", aw_error_name(rc), stats.lost_total,
                       rig_problems());
        return false;
    }
    bool good = oracle_read_file(r->rig.file, &list, why, size);
    if (good && list.dropped != r->shared->dropped) {
        good = false;
        (void)snprintf(why, size, "%" PRIu64 " events were dropped, %" PRIu64 " gap records tell of %" PRIu64,
                       r->shared->dropped, list.gaps, list.dropped);
    }
    oracle_free(&list);
    return good && oracle_judge(r->rig.file, r->scene->sqlite ? r->rig.sqlite : NULL, r->shared->acked,
                                r->shared->acked_count, why, size);
}

static struct {
    unsigned tried, lost, unexplained;
    uint64_t dropped;
} sum;

/* Returns whether anything failed for want of space. ret_calls may be NULL. */
static bool one(const struct scene *scene, uint64_t nth, uint64_t *ret_calls)
{
    char why[1100];
    struct round r = {.scene = scene,
                      .plan = {INJECT_SPACE, nth, true, nth % 2 ? ENOSPC : EDQUOT},
                      .shared = rig_shared(sizeof(struct shared))};
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.shared);
    make_rig(scene, &r.rig);
    sum.tried++;
    bool lived = rig_in_child(scenario, &r, 60, why, sizeof why);
    bool good = lived && rig_in_child(judge, &r, 60, why, sizeof why);
    sum.unexplained += !lived;
    sum.lost += lived && !good;
    sum.dropped += r.shared->dropped;
    if (!good && sum.lost + sum.unexplained <= 10)
        harness_note("%s, full from %" PRIu64 " on: %s", scene->name, nth, why);
    bool injected = r.shared->failed > 0;
    if (ret_calls)
        *ret_calls = r.shared->calls;
    rig_unshare(r.shared, sizeof *r.shared);
    if (good || !getenv("FAULT_KEEP"))
        rig_remove(&r.rig);
    return injected;
}

static void each_place(const struct scene *scene, uint64_t *random)
{
    const char *start = getenv("FAULT_FROM");
    bool all = getenv("FAULT_LONG") != NULL || start;
    uint64_t calls = 0;
    unsigned before = sum.tried;
    double begin = seconds();
    CU_ASSERT(!one(scene, UINT64_MAX, &calls));
    if (all)
        for (uint64_t n = start ? strtoull(start, NULL, 10) : 1; one(scene, n, NULL); n++)
            ;
    else
        while (seconds() - begin < SAMPLE_SECONDS)
            (void)one(scene, 1 + harness_random(random) % (calls + 1), NULL);
    harness_note("%s: %u places of %" PRIu64, scene->name, sum.tried - before - 1, calls);
}

static void every_place(void)
{
    uint64_t random = harness_seed();
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        if (!getenv("FAULT_SCENE") || strcmp(getenv("FAULT_SCENE"), scenes[i].name) == 0)
            each_place(&scenes[i], &random);
    harness_note("%" PRIu64 " events were dropped, and found in gap records", sum.dropped);
    harness_note("fault full: tried=%u lost=%u unexplained=%u seed=%" PRIu64, sum.tried, sum.lost, sum.unexplained,
                 harness_seed());
    CU_ASSERT_EQUAL(sum.lost, 0);
    CU_ASSERT_EQUAL(sum.unexplained, 0);
}

HARNESS_MAIN("fault_full", {"the disk is full from each place on", every_place})
