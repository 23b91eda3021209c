/* fault.c - the N-th failure loops over core and sinks. SPDX-License-Identifier: Apache-2.0
 *
 * For each kind of call, each N: a child opens a logger with a file and a SQLite sink, logs 40 events, syncs, flushes
 * and closes, while the N-th call of that kind fails (once, or for good from there on). It must neither crash nor hang.
 * Then, without faults, the logger is opened again and flushed: every event that was acknowledged must be in both
 * stores exactly once, the chains must verify, and no secret may be in any byte on disk. The loop ends at the N that
 * nothing reaches.
 *
 * make check takes a sample of the places, from the whole range (seed printed); FAULT_LONG=1 (make fault-long) takes
 * all. FAULT_FROM=N starts at N. FAULT_KEEP=1 keeps the files of a failed round.
 */
#include "config.h"

#include <dlfcn.h>
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

#define EVENTS 40
#define SECRET "fault-secret-7f3a91"

struct shared {
    uint64_t acked[EVENTS];
    size_t acked_count;
    uint64_t calls, failed;
    int opened; /* aw_open()'s result */
};

struct round {
    const struct rig *rig;
    struct inject_plan plan;
    struct shared *shared;
};

/* ---- with faults ---- */
static bool scenario(void *arg, char *why, size_t size)
{
    struct round *r = arg;
    struct aw_logger *logger = NULL;
    char json[1024];
    inject_arm(&r->plan);
    r->shared->opened = rig_open(r->rig, 0, NULL, NULL, &logger);
    if (r->shared->opened == AW_SUCCESS) {
        for (uint64_t i = 1; i <= EVENTS; i++) {
            size_t n = rig_event(i, SECRET, json, sizeof json);
            if (aw_log_json(logger, json, n, NULL) == AW_SUCCESS)
                r->shared->acked[r->shared->acked_count++] = i;
            if (i % 16 == 0)
                (void)aw_sync(logger, 200);
        }
        (void)aw_flush(logger, r->plan.persistent ? 60 : 400);
        (void)aw_close(logger, r->plan.persistent ? 60 : 400);
    } else if (logger) {
        (void)snprintf(why, size, "aw_open failed, and yet gave a logger");
        return false;
    }
    inject_disarm();
    r->shared->failed = inject_failed();
    r->shared->calls = inject_calls();
    return true;
}

/* ---- without ---- */
static bool recover(void *arg, char *why, size_t size)
{
    struct round *r = arg;
    struct aw_logger *logger = NULL;
    char where[600];
    int rc = rig_open(r->rig, 0, NULL, NULL, &logger);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "the start after the fault fails: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    rc = aw_flush(logger, 10000);
    if (rc == AW_SUCCESS)
        rc = aw_close(logger, 10000);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "flush or close after the fault: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    if (oracle_find_bytes(r->rig->dir, SECRET, strlen(SECRET), where, sizeof where) != 0) {
        (void)snprintf(why, size, "a secret is in %s", where);
        return false;
    }
    return oracle_judge(r->rig->file, r->rig->sqlite, r->shared->acked, r->shared->acked_count, why, size);
}

/* false: failed, or nothing was injected (then *ret_injected is false). */
static bool round_run(struct inject_plan plan, bool *ret_injected, uint64_t *ret_calls, char *why, size_t size)
{
    struct rig rig;
    rig_init(&rig, harness_tmpdir(), "fault", NULL);
    struct round r = {&rig, plan, rig_shared(sizeof(struct shared))};
    if (!r.shared) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    bool good = rig_in_child(scenario, &r, 20, why, size);
    *ret_injected = r.shared->failed > 0;
    if (ret_calls)
        *ret_calls = r.shared->calls;
    if (good)
        good = rig_in_child(recover, &r, 40, why, size);
    if (good && !*ret_injected && r.shared->acked_count != EVENTS) {
        (void)snprintf(why, size, "without a fault %zu of %d events were taken", r.shared->acked_count, EVENTS);
        good = false;
    }
    rig_unshare(r.shared, sizeof *r.shared);
    if (!good && getenv("FAULT_KEEP"))
        harness_note("kept: %s", rig.dir);
    else
        rig_remove(&rig);
    return good;
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* How many calls of this kind a round without failures makes. */
static uint64_t count_calls(enum inject_kind kind)
{
    char why[1100];
    bool injected;
    uint64_t calls = 0;
    struct inject_plan plan = {kind, UINT64_MAX, false, 0};
    bool good = round_run(plan, &injected, &calls, why, sizeof why);
    if (!good)
        harness_note("without a fault: %s", why);
    CU_ASSERT(good);
    return calls;
}

static bool one(struct inject_plan plan, bool *ret_injected)
{
    char why[1100];
    if (round_run(plan, ret_injected, NULL, why, sizeof why))
        return true;
    harness_note("%s %" PRIu64 "%s, %s: %s", inject_names[plan.kind], plan.nth, plan.persistent ? " and all after" : "",
                 plan.error ? strerror(plan.error) : "half the bytes", why);
    return false;
}

/* Every N, to the end. */
static void loop_all(struct inject_plan plan)
{
    const char *start = getenv("FAULT_FROM");
    bool injected = true;
    unsigned bad = 0;
    for (plan.nth = start ? strtoull(start, NULL, 10) : 1; injected && bad < 5; plan.nth++)
        bad += !one(plan, &injected);
    harness_note("%s%s: each up to %" PRIu64 ", %u bad", inject_names[plan.kind],
                 plan.persistent ? " for good" : " once", plan.nth - 1, bad);
    CU_ASSERT_EQUAL(bad, 0);
}

/* A random one of each of as many equal parts of the range as there is time for; all when there are few. Parts are
 * taken in an order that covers the range early, so that little time means a coarser sample and not a shorter range. */
static void loop_sample(struct inject_plan plan, uint64_t most, double budget)
{
    uint64_t total = count_calls(plan.kind) + 2, parts = total < most ? total : most, rounds = 0;
    uint64_t random =
        harness_seed() ^ (uint64_t)plan.kind << 8 ^ (uint64_t)plan.persistent << 4 ^ (uint64_t)plan.error << 16;
    uint64_t step = parts * 5 / 8 | 1; /* made coprime to parts */
    double begin = seconds();
    unsigned bad = 0;
    bool injected;
    for (uint64_t a = step, b = parts, t; b; a = t) { /* gcd */
        t = b;
        b = a % b;
        if (!b && t > 1) {
            step += 2;
            b = parts;
            t = step;
        }
    }
    for (uint64_t i = 0, part = 0; i < parts && bad < 5; i++, part = (part + step) % parts) {
        uint64_t from = total * part / parts, to = total * (part + 1) / parts;
        plan.nth = 1 + from + (to > from + 1 ? harness_random(&random) % (to - from) : 0);
        bad += !one(plan, &injected);
        rounds++;
        if (seconds() - begin > budget)
            break;
    }
    harness_note("%s%s: %" PRIu64 " of %" PRIu64 " places, %u bad", inject_names[plan.kind],
                 plan.persistent ? " for good" : " once", rounds, total - 2, bad);
    CU_ASSERT_EQUAL(bad, 0);
}

static void loop(enum inject_kind kind, bool persistent, int error, uint64_t most, double budget)
{
    struct inject_plan plan = {kind, 1, persistent, error};
    if (getenv("FAULT_LONG"))
        loop_all(plan);
    else
        loop_sample(plan, most, budget);
}

static void test_malloc_once(void)
{
    if (inject_can_malloc())
        loop(INJECT_MALLOC, false, ENOMEM, 200, 4);
}
static void test_malloc_persistent(void)
{
    if (inject_can_malloc())
        loop(INJECT_MALLOC, true, ENOMEM, 200, 4);
}
static void test_open_once(void)
{
    loop(INJECT_OPEN, false, EMFILE, 100, 3);
}
static void test_open_persistent(void)
{
    loop(INJECT_OPEN, true, EMFILE, 100, 3);
}
static void test_write_once(void)
{
    loop(INJECT_WRITE, false, EIO, 60, 2.5);
}
static void test_write_full(void)
{
    loop(INJECT_WRITE, true, ENOSPC, 60, 2);
}
static void test_write_short(void)
{
    loop(INJECT_WRITE, false, 0, 60, 2);
}
static void test_write_always_short(void)
{
    loop(INJECT_WRITE, true, 0, 10, 1.5);
}
static void test_write_interrupted(void)
{
    loop(INJECT_WRITE, false, EINTR, 20, 1.5);
}
static void test_sync_once(void)
{
    loop(INJECT_SYNC, false, EIO, 60, 2.5);
}
static void test_sync_persistent(void)
{
    loop(INJECT_SYNC, true, EIO, 60, 2.5);
}
static void test_mmap_once(void)
{
    loop(INJECT_MMAP, false, ENOMEM, 60, 2);
}
static void test_mmap_persistent(void)
{
    loop(INJECT_MMAP, true, ENOMEM, 60, 2);
}
static void test_allocate_once(void)
{
    loop(INJECT_ALLOCATE, false, ENOSPC, 60, 2);
}
static void test_allocate_persistent(void)
{
    loop(INJECT_ALLOCATE, true, ENOSPC, 60, 2);
}
static void test_rename_once(void)
{
    loop(INJECT_RENAME, false, EIO, 60, 2.5);
}
static void test_rename_persistent(void)
{
    loop(INJECT_RENAME, true, EIO, 60, 2.5);
}
static void test_read_once(void)
{
    loop(INJECT_READ, false, EIO, 60, 2.5);
}
static void test_read_short(void)
{
    loop(INJECT_READ, true, 0, 10, 1.5);
}

/* Loads what the logger will load, so that inject.c finds its modules, and children need not load them each. */
__attribute__((constructor)) static void preload(void)
{
    static const char *const names[] = {"sink_file.so", "sink_sqlite.so"};
    char path[600];
    const char *dir = getenv("AUDITWELL_PLUGIN_PATH");
    for (size_t i = 0; dir && i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (!dlopen(path, RTLD_NOW | RTLD_LOCAL))
            (void)fprintf(stderr, "# %s\n", dlerror());
    }
}

HARNESS_MAIN("fault", {"malloc fails once", test_malloc_once}, {"malloc fails for good", test_malloc_persistent},
             {"open fails once", test_open_once}, {"open fails for good", test_open_persistent},
             {"write fails once", test_write_once}, {"the disk is full for good", test_write_full},
             {"write writes half, once", test_write_short}, {"write writes half, always", test_write_always_short},
             {"write is interrupted once", test_write_interrupted}, {"fdatasync fails once", test_sync_once},
             {"fdatasync fails for good", test_sync_persistent}, {"mmap fails once", test_mmap_once},
             {"mmap fails for good", test_mmap_persistent}, {"fallocate or ftruncate fails once", test_allocate_once},
             {"fallocate or ftruncate fails for good", test_allocate_persistent},
             {"rename fails once", test_rename_once}, {"rename fails for good", test_rename_persistent},
             {"read fails once", test_read_once}, {"read reads half, always", test_read_short})
