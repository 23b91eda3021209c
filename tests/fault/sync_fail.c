/* sync_fail.c - the N-th sync of a run fails, and the pages it should have written are lost.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A child logs events with durability = "disk" from three threads, on a disk that takes notes (disk.h). For each N, the
 * N-th fdatasync or fsync below its directory fails, whosever it is: the journal's, a cursor's, a sink's, that of a
 * staged file or of a dead letter. What it should have written is clean from then on and never reaches the disk unless
 * it is written again, as Linux does it; in every second round it is not even read any more. The child goes on, to its
 * orderly end, and lives a second time. What was acknowledged meanwhile is owed. Then the machine loses power: at the
 * end, and at random points behind the failure. A fresh process opens what is left: nothing that is owed may be
 * missing or altered, and nothing may be there twice.
 *
 * make check takes a sample of the places, for FAULT_SECONDS a scene; FAULT_LONG=1 takes all. FAULT_FROM=N takes only
 * N, again and again; FAULT_SCENE=NAME only that scene, FAULT_NAME=TEXT samples only
 * syncs of files with TEXT in their names.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "harness.h"
#include "oracle.h"
#include "rig.h"

#define THREADS 3
#define PER_THREAD 28
#define LIVES 2
#define EVENTS (THREADS * PER_THREAD * LIVES)
#define SAMPLE_SECONDS 3

struct scene {
    const char *name, *top;
    bool sqlite;  /* a second sink */
    bool rejects; /* instead: one that rejects everything, into its dead-letter file */
};
static const struct scene scenes[] = {
    {"best_effort", "", true, false},
    {"all_or_nothing", "fanout = \"all_or_nothing\";", true, false},
    {"dead_letters", "", false, true},
};

static void make_rig(const struct scene *s, struct rig *ret, const char *name)
{
    static const char pace[] = "batch = { events = 5; flush_interval = \"1ms\"; }; retry = { base = \"1ms\"; cap = "
                               "\"4ms\"; }; breaker = { threshold = 50; cooldown = \"5ms\"; };";
    char sinks[2500], top[700];
    const char *dir = harness_tmpdir(), *build = getenv("top_builddir");
    int n = snprintf(sinks, sizeof sinks,
                     "{ plugin = \"file\"; name = \"trail\"; path = \"%s/%s/audit.jsonl\"; fsync = \"batch\"; %s }",
                     dir, name, pace);
    if (s->sqlite)
        (void)snprintf(sinks + n, sizeof sinks - (size_t)n,
                       ", { plugin = \"sqlite\"; name = \"db\"; path = \"%s/%s/audit.db\"; %s }", dir, name, pace);
    if (s->rejects)
        (void)snprintf(
            sinks + n, sizeof sinks - (size_t)n,
            ", { plugin = \"puppet\"; name = \"never\"; path = \"%s/received\"; orders = \"%s/orders\"; %s }", dir, dir,
            pace);
    (void)snprintf(top, sizeof top,
                   "limits = { event = \"8KiB\"; }; queue = { timeout = \"20ms\"; };\n"
                   "plugin_path = \"%s/tests/plugins/.libs\"; %s",
                   build ? build : ".", s->top);
    struct rig_options o = {
        .durability = "disk",
        .top = top,
        .sinks = sinks,
        .journal = "segment_size = \"64KiB\"; ring_size = \"64KiB\"; max_size = \"512KiB\"; sync_interval = \"5ms\"",
    };
    rig_init(ret, dir, name, &o);
}

/* ---- the run ---- */

struct run {
    const struct scene *scene;
    struct rig rig;
    struct disk *disk;
    struct disk_sync_failure plan;
};

struct producer {
    struct aw_logger *logger;
    uint64_t first;
};

/* Some are large, so that segments roll. */
static size_t make_event(uint64_t number, char *out, size_t size)
{
    char padding[2600];
    size_t n = number % 3 == 0 ? sizeof padding - 1 : 20;
    memset(padding, 'x', n);
    padding[n] = '\0';
    n = rig_event(number, NULL, out, size);
    int more = snprintf(out + n - 2, size - n + 2, ",\"padding\":\"%s\"}}", padding);
    return n - 2 + (size_t)more;
}

static void *produce(void *arg)
{
    const struct producer *p = arg;
    char json[4096];
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        size_t n = make_event(p->first + i, json, sizeof json);
        if (aw_log_json(p->logger, json, n, NULL) == AW_SUCCESS)
            disk_acknowledge(p->first + i);
    }
    return NULL;
}

/* Of each sink. `kept`: nothing may be missing that a cursor still wanted, either. */
static bool balanced(struct aw_logger *logger, bool kept, char *why, size_t size)
{
    struct aw_stats stats = {.struct_size = sizeof stats};
    if (aw_stats(logger, &stats) != AW_SUCCESS)
        return true;
    for (uint32_t i = 0; i < stats.sinks; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        if (aw_stats_sink(logger, i, &s) != AW_SUCCESS)
            continue;
        if (s.imbalance != 0) {
            (void)snprintf(why, size, "sink %s: imbalance %" PRId64, s.name, s.imbalance);
            return false;
        }
        if (kept && stats.lost_total == 0 && s.lost_total > 0) {
            (void)snprintf(why, size, "sink %s: %" PRIu64 " events that it wants are not kept", s.name, s.lost_total);
            return false;
        }
    }
    return true;
}

static bool live(const struct run *r, int life, char *why, size_t size)
{
    struct producer p[THREADS];
    pthread_t t[THREADS];
    struct aw_logger *logger;
    if (rig_open(&r->rig, 0, NULL, NULL, &logger) != AW_SUCCESS) {
        (void)snprintf(why, size, "aw_open: %s", rig_problems());
        return r->plan.nth != 0; /* nobody got an OK of it */
    }
    for (size_t i = 0; i < THREADS; i++) {
        p[i] = (struct producer){logger, 1 + ((uint64_t)life * THREADS + i) * PER_THREAD};
        if (pthread_create(&t[i], NULL, produce, &p[i]) != 0)
            abort();
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    bool peace = r->plan.nth == 0;
    /* A journal that failed is tried again each second; most of the time it is sinks that try again. */
    bool patient = getenv("FAULT_LONG") != NULL;
    int rc = aw_flush(logger, peace ? 20000 : patient ? 2500 : 300);
    bool good = balanced(logger, false, why, size);
    int rc2 = aw_close(logger, peace ? 20000 : patient ? 500 : 100);
    if (peace && (rc != AW_SUCCESS || rc2 != AW_SUCCESS)) {
        (void)snprintf(why, size, "aw_flush, aw_close: %s", rig_problems());
        return false;
    }
    return good;
}

static bool run(void *arg, char *why, size_t size)
{
    const struct run *r = arg;
    bool good = true;
    disk_record(r->disk, r->rig.dir);
    disk_fail_syncs(&r->plan);
    for (int life = 0; good && life < LIVES; life++)
        good = live(r, life, why, size);
    disk_stop();
    return good;
}

/* ---- after the loss ---- */

struct loss {
    const struct run *run;
    struct disk_state state;
    const char *boot_id;
    unsigned number;
};

/* All that is owed is among the dead letters. */
static bool judge_letters(const struct rig *rig, const uint64_t *acked, size_t count, char *why, size_t size)
{
    char path[500], id[ORACLE_ID_LEN + 1], where[500];
    (void)snprintf(path, sizeof path, "%s/deadletter/never.jsonl", rig->journal);
    for (size_t i = 0; i < count; i++) {
        oracle_event_id(acked[i], id);
        if (oracle_find_bytes(path, id, ORACLE_ID_LEN, where, sizeof where) != 1) {
            (void)snprintf(why, size, "acknowledged event %" PRIu64 " is not among the dead letters", acked[i]);
            return false;
        }
    }
    return true;
}

static bool recover(void *arg, char *why, size_t size)
{
    const struct loss *l = arg;
    const struct scene *scene = l->run->scene;
    uint64_t acked[EVENTS];
    char name[32], root[420];
    struct rig rig;
    struct aw_logger *logger;
    struct aw_stats stats = {.struct_size = sizeof stats};
    (void)snprintf(name, sizeof name, "state-%u", l->number);
    (void)snprintf(root, sizeof root, "%s/%s", harness_tmpdir(), name);
    if (!disk_lay_out(l->run->disk, &l->state, root)) {
        (void)snprintf(why, size, "the state cannot be laid out");
        return false;
    }
    make_rig(scene, &rig, name);
    disk_new_boot(l->boot_id);
    size_t count = disk_acknowledged(l->run->disk, l->state.at, acked, EVENTS);
    int rc = rig_open(&rig, 0, NULL, NULL, &logger);
    bool good = true;
    if (rc == AW_SUCCESS) {
        rc = aw_flush(logger, 20000);
        good = rc != AW_SUCCESS || balanced(logger, true, why, size);
        int rc2 = aw_stats(logger, &stats), rc3 = aw_close(logger, 20000);
        rc = rc != AW_SUCCESS ? rc : rc2 != AW_SUCCESS ? rc2 : rc3;
    }
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "after the loss: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    const char *sqlite = scene->sqlite ? rig.sqlite : NULL;
    if (!good)
        return false;
    if (stats.lost_total > 0 ? !oracle_judge_holes(rig.file, sqlite, acked, count, stats.lost_total, why, size)
                             : !oracle_judge(rig.file, sqlite, acked, count, why, size))
        return false;
    if (scene->rejects && !judge_letters(&rig, acked, count, why, size))
        return false;
    if (!getenv("FAULT_KEEP"))
        rig_remove(&rig);
    return true;
}

/* ---- each N ---- */

static struct {
    unsigned tried, lost, places, unexplained;
} sum;
static char boot_id[420];
static uint64_t chance;

static const char *const keeps_names[] = {"all that was written", "what was synced, names with directory syncs only",
                                          "what was synced, names as they were", "some of what was not synced"};

static void complain(const struct run *r, const char *what, const char *why)
{
    const char *name;
    (void)disk_first_failure(r->disk, &name);
    if (sum.lost + sum.unexplained <= 10)
        harness_note("%s, sync %" PRIu64 "+%" PRIu64 ", of %s, fails (%s, %s): %s: %s", r->scene->name, r->plan.nth,
                     r->plan.count, name, strerror(r->plan.error),
                     r->plan.reverts ? "read as before" : "read as written", what, why);
}

static void lose_power(const struct run *r, size_t at, enum disk_keeps keeps)
{
    char why[1000], what[200];
    struct loss l = {.run = r, .boot_id = boot_id, .number = sum.tried++};
    l.state = (struct disk_state){.at = at, .keeps = keeps, .seed = harness_random(&chance)};
    if (rig_in_child(recover, &l, 60, why, sizeof why))
        return;
    sum.lost++;
    (void)snprintf(what, sizeof what, "power lost before change %zu of %zu, left: %s, seed %" PRIu64, at,
                   disk_changes(r->disk), keeps_names[keeps], l.state.seed);
    complain(r, what, why);
}

static bool play(const struct scene *scene, const struct disk_sync_failure *plan, struct run *ret)
{
    char why[1000];
    *ret = (struct run){.scene = scene, .plan = *plan, .disk = disk_create()};
    CU_ASSERT_PTR_NOT_NULL_FATAL(ret->disk);
    make_rig(scene, &ret->rig, "run");
    bool good = rig_in_child(run, ret, 60, why, sizeof why);
    if (!good) {
        sum.unexplained++;
        complain(ret, "the run itself", why);
    }
    CU_ASSERT(!disk_overflowed(ret->disk));
    rig_remove(&ret->rig); /* what is looked at comes from the recording */
    return good;
}

static void one(const struct scene *scene, const struct disk_sync_failure *plan)
{
    struct run r;
    bool good = play(scene, plan, &r);
    size_t end = disk_changes(r.disk), from = disk_first_failure(r.disk, NULL);
    if (good && disk_failed_syncs(r.disk) > 0) {
        sum.places++;
        bool all = getenv("FAULT_LONG") != NULL;
        for (int keeps = DISK_ALL; keeps <= DISK_SOME; keeps += all ? 1 : 3)
            lose_power(&r, end, (enum disk_keeps)keeps);
        for (int i = 0; i < 4 && from < end; i++) { /* half of them soon after: later writes may mend it */
            uint64_t range = i < 2 && end - from > 40 ? 40 : end - from;
            lose_power(&r, from + 1 + harness_random(&chance) % range, i % 2 ? DISK_SOME : DISK_SYNCED);
        }
    }
    disk_destroy(r.disk);
}

/* Two files of a kind have names that differ from the first digit on. */
static bool same_kind(const char *a, const char *b)
{
    size_t n = strcspn(a, "0123456789");
    return n == strcspn(b, "0123456789") && strncmp(a, b, n) == 0;
}

static bool wanted(const char *name)
{
    const char *want = getenv("FAULT_NAME");
    return !want || strstr(name, want);
}

/* A random one: each kind of file is as likely as the others, however rarely it is synced. */
static uint64_t draw(const struct disk *disk, uint64_t total)
{
    uint64_t kinds[64], count = 0, matching = 0, drawn = 1;
    for (uint64_t n = 1; n <= total && count < 64; n++) {
        uint64_t k = 0;
        if (!wanted(disk_sync_name(disk, n)))
            continue;
        while (k < count && !same_kind(disk_sync_name(disk, kinds[k]), disk_sync_name(disk, n)))
            k++;
        if (k == count)
            kinds[count++] = n;
    }
    const char *kind = count > 0 ? disk_sync_name(disk, kinds[harness_random(&chance) % count]) : "";
    for (uint64_t n = 1; n <= total; n++)
        if (wanted(disk_sync_name(disk, n)) && same_kind(kind, disk_sync_name(disk, n)) &&
            harness_random(&chance) % ++matching == 0)
            drawn = n;
    return drawn;
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The N-th alone, for most; sometimes the next ones, too: then also what is written instead fails. */
static struct disk_sync_failure plan_for(uint64_t nth, bool reverts)
{
    static const int errors[] = {EIO, EIO, EIO, ENOSPC, EDQUOT};
    uint64_t random = harness_random(&chance);
    return (struct disk_sync_failure){.nth = nth,
                                      .count = random % 8 == 0 ? 2 + random / 8 % 3 : 1,
                                      .error = errors[random / 64 % 5],
                                      .reverts = reverts};
}

static void each_sync(const struct scene *scene)
{
    const char *only = getenv("FAULT_FROM");
    bool all = getenv("FAULT_LONG") != NULL;
    double begin = seconds(), budget = getenv("FAULT_SECONDS") ? strtod(getenv("FAULT_SECONDS"), NULL) : SAMPLE_SECONDS;
    unsigned tried = sum.tried, places = sum.places;
    struct disk_sync_failure plan = {.nth = 0};
    struct run peace;
    bool good = play(scene, &plan, &peace);
    uint64_t total = disk_syncs(peace.disk);
    CU_ASSERT(disk_changes(peace.disk) >= 200 && total > 0);
    for (uint64_t i = 1; good && total > 0 && (all ? i <= 2 * total : seconds() - begin < budget); i++) {
        uint64_t nth = only ? strtoull(only, NULL, 10) : all ? (i + 1) / 2 : draw(peace.disk, total);
        plan = plan_for(nth, all ? i % 2 == 0 : harness_random(&chance) % 3 == 0);
        one(scene, &plan);
    }
    disk_destroy(peace.disk);
    harness_note("%s: %u failed syncs of %" PRIu64 " in a run, %u crash states", scene->name, sum.places - places,
                 total, sum.tried - tried);
}

static void every_sync(void)
{
    char orders[420];
    chance = harness_seed();
    (void)snprintf(boot_id, sizeof boot_id, "%s/boot_id", harness_tmpdir());
    (void)snprintf(orders, sizeof orders, "%s/orders", harness_tmpdir());
    FILE *f = fopen(boot_id, "we");
    CU_ASSERT_FATAL(f && fputs("01234567-89ab-cdef-0123-456789abcdef\n", f) > 0 && fclose(f) == 0);
    f = fopen(orders, "we");
    CU_ASSERT_FATAL(f && fputs("reject\n", f) > 0 && fclose(f) == 0);
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        if (!getenv("FAULT_SCENE") || strcmp(getenv("FAULT_SCENE"), scenes[i].name) == 0)
            each_sync(&scenes[i]);
    harness_note("fault fsync: tried=%u lost=%u unexplained=%u seed=%" PRIu64, sum.tried, sum.lost, sum.unexplained,
                 harness_seed());
    CU_ASSERT_EQUAL(sum.lost, 0);
    CU_ASSERT_EQUAL(sum.unexplained, 0);
}

HARNESS_MAIN("fault_sync", {"each sync fails, and its pages are lost", every_sync})
