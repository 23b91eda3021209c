/* outage.c - all sinks are down while events keep coming, and then they are back. SPDX-License-Identifier: Apache-2.0
 *
 * A file, a SQLite database and a third sink lose the directory that their stores are in (a link that leads nowhere, as
 * when a file system is not mounted: a directory that is only missing would be made anew). Meanwhile 50,000 events a
 * second are logged. Watched all the time: the process's memory, and the bytes of the journal's directory, by the file
 * system. At the quota, mode "queue" must answer QUEUE_FULL and mode "drop" DROPPED, and an event that was refused must
 * never appear in a store. Then the directory is back, the same process catches up, and each store must hold everything
 * that was accepted, once, unaltered, in order, with records of gaps that count every event that was dropped.
 *
 * make check: seconds, and a small quota. FAULT_LONG=1: ten minutes of load (OUTAGE_SECONDS=N: N seconds), 1 GiB.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "judge.h"
#include "rig.h"

#define RATE 50000.0
#define SINKS 3
#define SPARE 15000 /* events beyond those that the rate asks for */
#define RING (1u << 20)
/* What the memory may grow by: batches, the sinks' own buffers, and the mapped ring. It is the same for a second of
 * outage and for ten minutes: the events are on the disk. */
#define MEMORY_LIMIT (64u << 20)

struct plan {
    const char *name, *mode, *timeout; /* timeout: how long a call may wait for room */
    bool reaches_quota;
    double seconds, seconds_long;
    uint64_t quota, quota_long;
};
struct shared {
    _Atomic uint64_t tried, owed_count;
    uint64_t refused, backlog;
    uint64_t memory_before, memory_most, journal_most;
    double load_seconds, catch_up_seconds;
    struct judge_event owed[]; /* room for all that are tried; only what is used takes memory */
};
struct outage {
    const struct plan *plan;
    struct rig rig;
    struct shared *shared;
    uint64_t quota, most; /* events */
    double seconds;
    char stores[420], disk[420], away[420]; /* stores: a link to disk, which moves away */
    atomic_bool stop;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- watching ---- */
/* The process's own memory. What it shares with the test (RssShmem) is the test's book. 0: cannot be read. */
static uint64_t memory_now(void)
{
    char line[200];
    uint64_t sum = 0, kb;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %" SCNu64, &kb) == 1 || sscanf(line, "RssFile: %" SCNu64, &kb) == 1)
            sum += kb << 10;
    if (f)
        (void)fclose(f);
    return sum;
}

/* Of the segments, which max_size is about: "seg-….awj". */
static uint64_t bytes_of(const char *dir)
{
    uint64_t sum = 0;
    struct dirent *e;
    DIR *d = opendir(dir);
    while (d && (e = readdir(d))) {
        struct stat st;
        if (strncmp(e->d_name, "seg-", 4) == 0 && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    }
    if (d)
        (void)closedir(d);
    return sum;
}

static void *watch(void *arg)
{
    struct outage *o = arg;
    while (!o->stop) {
        /* Twice: a look while one segment goes and another comes may count both. */
        uint64_t memory = memory_now(), bytes = bytes_of(o->rig.journal), again = bytes_of(o->rig.journal);
        bytes = again < bytes ? again : bytes;
        o->shared->memory_most = memory > o->shared->memory_most ? memory : o->shared->memory_most;
        o->shared->journal_most = bytes > o->shared->journal_most ? bytes : o->shared->journal_most;
        (void)usleep(5000);
    }
    return NULL;
}

/* ---- the process that logs ---- */
static int log_one(struct outage *o, struct aw_logger *logger)
{
    struct shared *s = o->shared;
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    char json[1024];
    uint64_t number = ++s->tried;
    size_t n = rig_event(number, NULL, json, sizeof json);
    int rc = aw_log_json(logger, json, n, &receipt);
    if (rc == AW_SUCCESS)
        s->owed[s->owed_count++] = (struct judge_event){number, judge_hash(receipt.hash)};
    else
        s->refused++;
    return rc;
}

/* At the rate, as long as it should be. false: a call failed in another way than it may. */
static bool load(struct outage *o, struct aw_logger *logger, char *why, size_t size)
{
    int expected = strcmp(o->plan->mode, "drop") == 0 ? AW_ERR_DROPPED : AW_ERR_QUEUE_FULL;
    uint64_t count = (uint64_t)(o->seconds * RATE);
    double begin = seconds();
    for (uint64_t i = 0; i < count + SPARE; i++) {
        double now = seconds();
        /* Calls that wait at the quota are fewer than the rate wants; a slow machine needs longer to get there. */
        if (o->plan->reaches_quota ? o->shared->refused && (i >= count || now - begin > o->seconds) : i >= count)
            break;
        if ((double)i / RATE > now - begin)
            (void)usleep(1000);
        int rc = log_one(o, logger);
        if (rc != AW_SUCCESS && rc != expected)
            return snprintf(why, size, "aw_log: %s: %s", aw_error_name(rc), rig_problems()) < 0;
    }
    o->shared->load_seconds = seconds() - begin;
    return true;
}

static bool all_down(const struct outage *o, struct aw_logger *logger, char *why, size_t size)
{
    struct aw_stats s = {.struct_size = sizeof s};
    if (aw_stats(logger, &s) != AW_SUCCESS || s.sinks != SINKS)
        return snprintf(why, size, "aw_stats: %s", rig_problems()) < 0;
    for (size_t i = 0; i < SINKS; i++) {
        struct aw_sink_stats k = {.struct_size = sizeof k};
        if (aw_stats_sink(logger, i, &k) != AW_SUCCESS || k.lag_events < o->shared->owed_count / 2)
            return snprintf(why, size, "%s is not down: it lacks %" PRIu64 " events", k.name, k.lag_events) < 0;
        o->shared->backlog = k.lag_events > o->shared->backlog ? k.lag_events : o->shared->backlog;
    }
    return true;
}

static bool recover(struct outage *o, struct aw_logger *logger, char *why, size_t size)
{
    double begin = seconds();
    if (rename(o->away, o->disk))
        return snprintf(why, size, "%s cannot be moved back", o->away) < 0;
    int rc = aw_flush(logger, -1);
    o->shared->catch_up_seconds = seconds() - begin;
    for (double until = seconds() + 60; rc == AW_SUCCESS && log_one(o, logger) != AW_SUCCESS;) { /* the gap ends here */
        if (seconds() > until)
            return snprintf(why, size, "no event is taken after all was delivered: %s", rig_problems()) < 0;
        (void)usleep(5000);
    }
    if (rc == AW_SUCCESS)
        rc = aw_flush(logger, -1);
    struct aw_stats s = {.struct_size = sizeof s};
    (void)aw_stats(logger, &s);
    if (rc == AW_SUCCESS && s.lost_total)
        return snprintf(why, size, "the journal says that %" PRIu64 " events are lost", s.lost_total) < 0;
    if (rc == AW_SUCCESS)
        rc = aw_close(logger, 60000);
    return rc == AW_SUCCESS || snprintf(why, size, "flush or close: %s: %s", aw_error_name(rc), rig_problems()) < 0;
}

/* A life before, so that the stores are there; then they are not. */
static bool begin_outage(struct outage *o, struct aw_logger **ret, char *why, size_t size)
{
    int rc = rig_open(&o->rig, 0, NULL, NULL, ret);
    for (int i = 0; i < 100 && rc == AW_SUCCESS; i++)
        rc = log_one(o, *ret);
    rc = rc == AW_SUCCESS ? aw_close(*ret, 60000) : rc;
    if (rc == AW_SUCCESS && rename(o->disk, o->away))
        return snprintf(why, size, "%s cannot be moved away", o->disk) < 0;
    rc = rc == AW_SUCCESS ? rig_open(&o->rig, 0, NULL, NULL, ret) : rc;
    return rc == AW_SUCCESS || snprintf(why, size, "open: %s: %s", aw_error_name(rc), rig_problems()) < 0;
}

static bool live(void *arg, char *why, size_t size)
{
    struct outage *o = arg;
    struct aw_logger *logger;
    pthread_t watcher;
    if (!begin_outage(o, &logger, why, size))
        return false;
    o->shared->memory_before = memory_now();
    if (pthread_create(&watcher, NULL, watch, o))
        return snprintf(why, size, "no thread") < 0;
    bool good = load(o, logger, why, size) && all_down(o, logger, why, size) && recover(o, logger, why, size);
    o->stop = true;
    (void)pthread_join(watcher, NULL);
    return good;
}

/* ---- the test ---- */
static void configure(struct outage *o)
{
    static const char pace[] = "retry = { base = \"5ms\"; cap = \"50ms\"; }; breaker = { cooldown = \"50ms\"; };"
                               " batch = { events = 2000; };";
    char sinks[2500], top[600], journal[200], dir[300];
    const char *build = getenv("top_builddir");
    (void)snprintf(dir, sizeof dir, "%s/%s", harness_tmpdir(), o->plan->name);
    (void)snprintf(o->stores, sizeof o->stores, "%s/stores", dir);
    (void)snprintf(o->disk, sizeof o->disk, "%s/disk", dir);
    (void)snprintf(o->away, sizeof o->away, "%s/away", dir);
    (void)snprintf(top, sizeof top,
                   "plugin_path = \"%s/tests/plugins/.libs\"; mode = \"%s\"; queue = { timeout = \"%s\"; };",
                   build ? build : ".", o->plan->mode, o->plan->timeout);
    (void)snprintf(journal, sizeof journal, "max_size = %" PRIu64 "L; segment_size = \"1MiB\"; ring_size = %u;",
                   o->quota, RING);
    (void)snprintf(
        sinks, sizeof sinks,
        "{ plugin = \"file\"; name = \"trail\"; path = \"%s/audit.jsonl\"; rotate_size = \"0\"; %s },\n"
        "{ plugin = \"sqlite\"; name = \"db\"; path = \"%s/audit.db\"; %s },\n"
        "{ plugin = \"puppet\"; name = \"third\"; path = \"%s/third.jsonl\"; orders = \"%s/orders\"; whole = true;"
        " %s }",
        o->stores, pace, o->stores, pace, o->stores, dir, pace);
    rig_init(&o->rig, harness_tmpdir(), o->plan->name,
             &(struct rig_options){.top = top, .sinks = sinks, .journal = journal});
    CU_ASSERT_FATAL(mkdir(o->disk, 0700) == 0 && symlink("disk", o->stores) == 0);
}

/* Every number that is not owed was refused: it may be in no store. */
static bool never(const void *arg, uint64_t number)
{
    (void)arg;
    (void)number;
    return false;
}

static void judge(const struct outage *o, uint64_t *lost, uint64_t *unexplained)
{
    static const char *const stores[SINKS] = {"file:%s/audit.jsonl", "sqlite:%s/audit.db", "file:%s/third.jsonl"};
    uint64_t dropped = strcmp(o->plan->mode, "drop") == 0 ? o->shared->refused : 0;
    for (size_t i = 0; i < SINKS; i++) {
        char store[500];
        struct judge_report r;
        const char *mark = strchr(stores[i], '%');
        (void)snprintf(store, sizeof store, "%.*s%s%s", (int)(mark - stores[i]), stores[i], o->stores, mark + 2);
        struct judge_case c = {
            .store = store, .owed = o->shared->owed, .owed_count = o->shared->owed_count, .issued = never};
        bool good = judge_store(&c, &r, NULL);
        if (r.first[0])
            harness_note("%s: %s", store, r.first);
        if (r.gap_events != dropped)
            harness_note("%s: gaps count %" PRIu64 " events, %" PRIu64 " were dropped", store, r.gap_events, dropped);
        CU_ASSERT(good && r.missing == 0 && judge_unexplained(&r) == 0);
        CU_ASSERT_EQUAL(r.rows, c.owed_count);
        CU_ASSERT_EQUAL(r.gap_events, dropped);
        CU_ASSERT((r.gaps > 0) == (dropped > 0));
        *lost += r.missing;
        *unexplained += judge_unexplained(&r) + !good + (r.gap_events != dropped);
    }
}

static void outage(const struct plan *plan, uint64_t *tried, uint64_t *lost, uint64_t *unexplained)
{
    bool extended = getenv("FAULT_LONG") != NULL;
    const char *given = getenv("OUTAGE_SECONDS");
    struct outage o = {.plan = plan, .quota = extended ? plan->quota_long : plan->quota};
    char why[1100];
    o.seconds = given ? strtod(given, NULL) : extended ? plan->seconds_long : plan->seconds;
    if (given && extended) { /* the quota is reached as early as at full length */
        o.quota = (uint64_t)((double)plan->quota_long * o.seconds / plan->seconds_long);
        o.quota = o.quota < plan->quota ? plan->quota : o.quota;
    }
    if (harness_slow())
        o.seconds /= plan->reaches_quota ? 1 : 4;
    size_t size = sizeof *o.shared + ((size_t)(o.seconds * RATE) + SPARE + 5000) * sizeof o.shared->owed[0];
    o.shared = rig_shared(size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o.shared);
    configure(&o);
    bool good = rig_in_child(live, &o, (unsigned)(o.seconds * 10) + 200, why, sizeof why);
    struct shared *s = o.shared;
    if (!good)
        harness_note("%s: %s", plan->name, why);
    CU_ASSERT(good);
    *unexplained += !good;
    judge(&o, lost, unexplained);
    uint64_t growth = s->memory_most > s->memory_before ? s->memory_most - s->memory_before : 0;
    CU_ASSERT(s->journal_most > 0 && s->journal_most <= o.quota);
    CU_ASSERT((s->refused > 0) == plan->reaches_quota);
    CU_ASSERT(harness_slow() || growth <= MEMORY_LIMIT);
    harness_note("%s: %" PRIu64 " events in %.1f s, %" PRIu64
                 " of them refused; memory at most %.1f MiB, %.1f more than at "
                 "the start; journal at most %.1f of %.1f MiB; %" PRIu64 " caught up in %.1f s: %.0f events/s",
                 plan->name, (uint64_t)s->tried, s->load_seconds, s->refused, (double)s->memory_most / 1048576,
                 (double)growth / 1048576, (double)s->journal_most / 1048576, (double)o.quota / 1048576, s->backlog,
                 s->catch_up_seconds, s->catch_up_seconds > 0 ? (double)s->backlog / s->catch_up_seconds : 0);
    *tried += s->tried;
    rig_unshare(o.shared, size);
    rig_remove(&o.rig);
}

static void test_outage(void)
{
    static const struct plan plans[] = {
        {"within_quota", "queue", "60s", false, 1, 60, 256u << 20, UINT64_C(8) << 30}, /* 3,000,000 events at length */
        {"quota_drop", "drop", "1ms", true, 1.5, 600, 16u << 20, UINT64_C(1) << 30},   /* 30,000,000 */
        {"quota_queue", "queue", "1ms", true, 1.5, 600, 16u << 20, UINT64_C(1) << 30},
    };
    uint64_t tried = 0, lost = 0, unexplained = 0;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++)
        outage(&plans[i], &tried, &lost, &unexplained);
    harness_note("fault outage: tried=%" PRIu64 " lost=%" PRIu64 " unexplained=%" PRIu64 " seed=0", tried, lost,
                 unexplained);
}

HARNESS_MAIN("fault_outage", {"an outage of all sinks costs disk, and nothing else", test_outage})
