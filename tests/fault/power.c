/* power.c - power loss at every point of a run, with durability = "disk". SPDX-License-Identifier: Apache-2.0
 *
 * A child logs events from three threads, through the journal into the file sink, on a disk that takes notes (disk.h).
 * Then, for every change of the disk: the machine loses power there, what may be left is laid out in several ways, and
 * a fresh process opens it, delivers and closes. Every event that was acknowledged before must be in the trail exactly
 * once, with dense seqs, and the trail must verify. The mapped ring is worth nothing then, as after a real power loss.
 *
 * make check takes a sample of the torn writes; FAULT_LONG=1 tears each write at every byte.
 */
#include "config.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "harness.h"
#include "oracle.h"
#include "rig.h"

#define THREADS 3
#define PER_THREAD 12
#define EVENTS (THREADS * PER_THREAD)

static const struct rig_options options = {
    .durability = "disk",
    .journal = "segment_size = \"64KiB\"; ring_size = \"64KiB\"; max_size = \"1MiB\"; sync_interval = \"5ms\"",
    .top = "limits = { event = \"4KiB\"; };",
};

static struct rig_options with_sink(char sinks[600], const char *dir)
{
    struct rig_options o = options;
    (void)snprintf(sinks, 600,
                   "{ plugin = \"file\"; name = \"trail\"; path = \"%s/audit.jsonl\"; fsync = \"batch\"; "
                   "batch = { events = 5; flush_interval = \"1ms\"; }; }",
                   dir);
    o.sinks = sinks;
    return o;
}

/* ---- the run ---- */

struct producer {
    struct aw_logger *logger;
    uint64_t first;
};

static void *produce(void *arg)
{
    const struct producer *p = arg;
    char json[1024];
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        size_t n = rig_event(p->first + i, NULL, json, sizeof json);
        if (aw_log_json(p->logger, json, n, NULL) == AW_SUCCESS)
            disk_acknowledge(p->first + i);
    }
    return NULL;
}

struct run {
    const struct rig *rig;
    struct disk *disk;
};

static bool run(void *arg, char *why, size_t size)
{
    const struct run *r = arg;
    struct producer p[THREADS];
    pthread_t t[THREADS];
    struct aw_logger *logger;
    disk_record(r->disk, r->rig->dir);
    for (int life = 0; life < 2; life++) { /* the second one recovers, and goes on */
        int rc = rig_open(r->rig, 0, NULL, NULL, &logger);
        if (rc != AW_SUCCESS) {
            (void)snprintf(why, size, "aw_open: %s", rig_problems());
            return false;
        }
        for (size_t i = 0; i < THREADS; i++) {
            p[i] = (struct producer){logger, 1 + ((uint64_t)life * THREADS + i) * PER_THREAD};
            if (pthread_create(&t[i], NULL, produce, &p[i]) != 0)
                abort();
        }
        for (size_t i = 0; i < THREADS; i++)
            (void)pthread_join(t[i], NULL);
        rc = aw_flush(logger, 20000);
        if (rc == AW_SUCCESS)
            rc = aw_close(logger, 20000);
        if (rc != AW_SUCCESS) {
            (void)snprintf(why, size, "aw_flush, aw_close: %s", rig_problems());
            return false;
        }
    }
    disk_stop();
    return true;
}

/* ---- after the loss ---- */

struct loss {
    const struct disk *disk;
    struct disk_state state;
    const char *parent, *boot_id;
    unsigned number;
};

static bool recover(void *arg, char *why, size_t size)
{
    const struct loss *l = arg;
    uint64_t acked[2 * EVENTS];
    char name[32], root[420], sinks[600];
    struct rig rig;
    (void)snprintf(name, sizeof name, "state-%u", l->number);
    (void)snprintf(root, sizeof root, "%s/%s", l->parent, name);
    if (!disk_lay_out(l->disk, &l->state, root)) {
        (void)snprintf(why, size, "the state cannot be laid out");
        return false;
    }
    struct rig_options o = with_sink(sinks, root);
    rig_init(&rig, l->parent, name, &o);
    disk_new_boot(l->boot_id);
    size_t count = disk_acknowledged(l->disk, l->state.at, acked, 2 * EVENTS);
    struct aw_logger *logger;
    int rc = rig_open(&rig, 0, NULL, NULL, &logger);
    struct aw_stats stats = {.struct_size = sizeof stats};
    if (rc == AW_SUCCESS)
        rc = aw_flush(logger, 20000);
    if (rc == AW_SUCCESS)
        rc = aw_stats(logger, &stats);
    if (rc == AW_SUCCESS)
        rc = aw_close(logger, 20000);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "after the loss: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    bool holes = l->state.keeps == DISK_SOME && stats.lost_total > 0;
    if (holes ? !oracle_judge_holes(rig.file, NULL, acked, count, stats.lost_total, why, size)
              : !oracle_judge(rig.file, NULL, acked, count, why, size))
        return false;
    if (!getenv("POWER_KEEP"))
        rig_remove(&rig);
    return true;
}

static const char *const keeps_names[] = {"all that was written", "what was synced, names with directory syncs only",
                                          "what was synced, names as they were", "some of what was not synced"};
static unsigned tried, lost;

static void lose_power(struct loss *l)
{
    char why[1000];
    l->number = tried++;
    if (rig_in_child(recover, l, 60, why, sizeof why))
        return;
    lost++;
    if (lost <= 10)
        harness_note("power lost before change %zu of %zu, left: %s, torn %zu, seed %" PRIu64 ": %s", l->state.at,
                     disk_changes(l->disk), keeps_names[l->state.keeps], l->state.torn, l->state.seed, why);
}

static void tear(struct loss *l, bool every_byte)
{
    size_t len = disk_write_len(l->disk, l->state.at), step = every_byte ? 1 : len / 5 + 1;
    l->state.keeps = DISK_ALL;
    for (l->state.torn = 1; l->state.torn < len; l->state.torn += step)
        lose_power(l);
    l->state.torn = 0;
}

static void every_point(void)
{
    uint64_t seed = harness_seed();
    char sinks[600], dir[420], boot[420], why[1000];
    struct rig rig;
    struct disk *disk = disk_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(disk);
    (void)snprintf(dir, sizeof dir, "%s/run", harness_tmpdir());
    struct rig_options o = with_sink(sinks, dir);
    rig_init(&rig, harness_tmpdir(), "run", &o);
    struct run r = {&rig, disk};
    bool good = rig_in_child(run, &r, 120, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT_FATAL(good);
    CU_ASSERT_FATAL(!disk_overflowed(disk));
    CU_ASSERT(disk_changes(disk) >= 200);
    (void)snprintf(boot, sizeof boot, "%s/boot_id", harness_tmpdir());
    FILE *f = fopen(boot, "we");
    CU_ASSERT_FATAL(f && fputs("01234567-89ab-cdef-0123-456789abcdef\n", f) > 0 && fclose(f) == 0);
    struct loss l = {.disk = disk, .parent = harness_tmpdir(), .boot_id = boot};
    bool every_byte = getenv("FAULT_LONG") != NULL;
    for (l.state.at = 0; l.state.at <= disk_changes(disk); l.state.at++) {
        for (int keeps = DISK_ALL; keeps <= DISK_SOME; keeps++) {
            l.state.keeps = (enum disk_keeps)keeps;
            for (int i = 0; i < (keeps == DISK_SOME ? 3 : 1); i++) {
                l.state.seed = keeps == DISK_SOME ? seed++ : 0;
                lose_power(&l);
            }
        }
        if (l.state.at < disk_changes(disk))
            tear(&l, every_byte);
    }
    harness_note("fault power_loss: tried=%u lost=%u unexplained=0 seed=%" PRIu64 ", %zu changes", tried, lost, seed,
                 disk_changes(disk));
    CU_ASSERT_EQUAL(lost, 0);
    disk_destroy(disk);
}

HARNESS_MAIN("power", {"power loss at every point of a run", every_point})
