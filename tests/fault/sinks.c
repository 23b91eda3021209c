/* sinks.c - sinks that hang, crawl, flap, answer in part and lie, beside a good one.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Under a steady load, with the bad sink as bad as it gets: every event is accepted and reaches the good sink promptly,
 * a sink that is stuck is reported with how long, and aw_close() keeps its deadline. Then the bad sink is mended, in
 * the same process ("healed") or in the next one ("replaced"), and must get everything that it is owed.
 */
#include "config.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "judge.h"
#include "oracle.h"
#include "rig.h"

#define THREADS 2
#define GOOD 0 /* places in the configuration */
#define BAD 1
#define CLOSE_MS 300

enum symptom { STUCK, RETRIES, RESENDS };
struct bad {
    const char *order; /* of the puppet */
    enum symptom symptom;
};
static const struct bad kinds[] = {
    {"hang", STUCK}, {"crawl", STUCK}, {"flap", RETRIES}, {"half", RETRIES}, {"forget", RESENDS}};

struct shared {
    atomic_uint owed_count, refused;
    uint64_t most_lag_ns; /* of the good sink, under load */
    struct judge_event owed[THREADS * 4000];
};
struct round {
    struct rig rig;
    const struct bad *bad;
    bool healed;
    unsigned per_thread;
    struct shared *shared;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* How long what should be prompt may take on a machine that does other things, too. */
static double patience(void)
{
    return harness_slow() ? 30 : 5;
}

static void order(const struct rig *rig, const char *text)
{
    char path[440], fresh[450];
    (void)snprintf(path, sizeof path, "%s/orders", rig->dir);
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "we");
    CU_ASSERT_FATAL(f && fprintf(f, "%s\n", text) > 0 && fclose(f) == 0 && rename(fresh, path) == 0);
}

/* ---- the load ---- */
struct producer {
    struct round *round;
    struct aw_logger *logger;
    uint64_t first;
};

static void *produce(void *arg)
{
    const struct producer *p = arg;
    struct shared *s = p->round->shared;
    char json[1024];
    for (unsigned i = 0; i < p->round->per_thread; i++) {
        struct aw_receipt receipt = {.struct_size = sizeof receipt};
        size_t n = rig_event(p->first + i, NULL, json, sizeof json);
        if (aw_log_json(p->logger, json, n, &receipt) == AW_SUCCESS)
            s->owed[atomic_fetch_add(&s->owed_count, 1)] = (struct judge_event){p->first + i, judge_hash(receipt.hash)};
        else
            atomic_fetch_add(&s->refused, 1);
        (void)usleep(200);
    }
    return NULL;
}

static bool issued(const void *arg, uint64_t number)
{
    const struct round *r = arg;
    return number >> 32 < THREADS && (uint32_t)number >= 1 && (uint32_t)number <= r->per_thread;
}

static struct aw_sink_stats stats_of(struct aw_logger *logger, size_t sink)
{
    struct aw_sink_stats k = {.struct_size = sizeof k};
    (void)aw_stats_sink(logger, sink, &k);
    return k;
}

/* Until the good sink has everything; how far it was behind meanwhile. */
static bool load(struct round *r, struct aw_logger *logger, char *why, size_t size)
{
    struct producer p[THREADS];
    pthread_t t[THREADS];
    uint64_t want = (uint64_t)THREADS * r->per_thread;
    for (uint64_t i = 0; i < THREADS; i++) {
        p[i] = (struct producer){r, logger, i << 32 | 1u};
        if (pthread_create(&t[i], NULL, produce, &p[i]))
            return snprintf(why, size, "no thread") < 0;
    }
    while (r->shared->owed_count + r->shared->refused < want) {
        struct aw_sink_stats good = stats_of(logger, GOOD);
        r->shared->most_lag_ns = good.lag_ns > r->shared->most_lag_ns ? good.lag_ns : r->shared->most_lag_ns;
        (void)usleep(2000);
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
    for (double until = seconds() + patience(); stats_of(logger, GOOD).lag_events;) {
        if (seconds() > until)
            return snprintf(why, size, "the good sink still lacks %" PRIu64 " events",
                            stats_of(logger, GOOD).lag_events) < 0;
        (void)usleep(500);
    }
    if (r->shared->refused)
        return snprintf(why, size, "%u events were refused", r->shared->refused) < 0;
    if ((double)r->shared->most_lag_ns > patience() * 1e9)
        return snprintf(why, size, "the good sink was %.1f s behind", (double)r->shared->most_lag_ns * 1e-9) < 0;
    return true;
}

/* The bad sink is seen to be bad, and it is said how. */
static bool shows(const struct round *r, struct aw_logger *logger, char *why, size_t size)
{
    static const char stuck[] = "stuck in a call of the plugin for ";
    struct aw_sink_stats k = stats_of(logger, BAD);
    for (double until = seconds() + patience(); seconds() < until; k = stats_of(logger, BAD)) {
        const char *text = strstr(k.last_error_text, stuck);
        if (r->bad->symptom == RETRIES && k.retries_total > 0)
            return true;
        if (r->bad->symptom == RESENDS && k.resent_total > 0)
            return true;
        if (r->bad->symptom == STUCK && text && k.state != 0 && k.lag_events > 0 && /* for at least a second */
            (r->healed || strtoul(text + sizeof stuck - 1, NULL, 10) >= 1))
            return true;
        (void)usleep(2000);
    }
    return snprintf(why, size, "state %u, lag %" PRIu64 ", retries %" PRIu64 ", sent again %" PRIu64 ", \"%s\"",
                    k.state, k.lag_events, k.retries_total, k.resent_total, k.last_error_text) < 0;
}

static bool all_delivered(struct aw_logger *logger, char *why, size_t size)
{
    int rc = aw_flush(logger, 60000);
    if (rc != AW_SUCCESS)
        return snprintf(why, size, "flush, after all is well: %s: %s", aw_error_name(rc), rig_problems()) < 0;
    for (size_t i = GOOD; i <= BAD; i++) {
        struct aw_sink_stats k = stats_of(logger, i);
        if (k.lag_events || k.lost_total || k.rejected_total || k.imbalance)
            return snprintf(why, size, "%s: lag %" PRIu64 ", lost %" PRIu64 ", rejected %" PRIu64, k.name, k.lag_events,
                            k.lost_total, k.rejected_total) < 0;
    }
    rc = aw_close(logger, 60000);
    return rc == AW_SUCCESS || snprintf(why, size, "close: %s", aw_error_name(rc)) < 0;
}

static bool with_bad(void *arg, char *why, size_t size)
{
    struct round *r = arg;
    struct aw_logger *logger;
    int rc = rig_open(&r->rig, 0, NULL, NULL, &logger);
    if (rc != AW_SUCCESS)
        return snprintf(why, size, "open: %s: %s", aw_error_name(rc), rig_problems()) < 0;
    if (!load(r, logger, why, size) || !shows(r, logger, why, size))
        return false;
    if (r->healed) {
        order(&r->rig, "ok");
        return all_delivered(logger, why, size);
    }
    double begin = seconds();
    rc = aw_close(logger, CLOSE_MS);
    double took = seconds() - begin;
    if (r->bad->symptom == STUCK && rc != AW_ERR_TIMEOUT)
        return snprintf(why, size, "close with a stuck sink says %s", aw_error_name(rc)) < 0;
    if (took > CLOSE_MS * 1e-3 + patience())
        return snprintf(why, size, "close took %.1f s of %d ms", took, CLOSE_MS) < 0;
    return true;
}

static bool replaced(void *arg, char *why, size_t size)
{
    const struct round *r = arg;
    struct aw_logger *logger;
    int rc = rig_open(&r->rig, 0, NULL, NULL, &logger);
    if (rc != AW_SUCCESS)
        return snprintf(why, size, "the next open: %s: %s", aw_error_name(rc), rig_problems()) < 0;
    return all_delivered(logger, why, size);
}

/* ---- judging ---- */
/* The bad sink keeps no keys: everything owed at least once, and nothing that was not issued. */
static bool judge_bad(const struct round *r, uint64_t *ret_missing, uint64_t *ret_foreign)
{
    static unsigned char seen[THREADS][4001];
    char path[440], line[100];
    uint64_t number;
    memset(seen, 0, sizeof seen);
    (void)snprintf(path, sizeof path, "%s/received", r->rig.dir);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    while (fgets(line, sizeof line, f)) {
        if (oracle_number(line, strcspn(line, "\n"), &number) && issued(r, number))
            seen[number >> 32][(uint32_t)number] = 1;
        else
            ++*ret_foreign;
    }
    (void)fclose(f);
    for (size_t i = 0; i < r->shared->owed_count; i++) {
        uint64_t n = r->shared->owed[i].number;
        *ret_missing += !seen[n >> 32][(uint32_t)n];
    }
    return true;
}

static bool judge(const struct round *r, uint64_t *ret_lost, uint64_t *ret_unexplained)
{
    char store[500];
    struct judge_report report;
    struct judge_case c = {
        .store = store, .owed = r->shared->owed, .owed_count = r->shared->owed_count, .issued = issued, .arg = r};
    uint64_t missing = 0, foreign = 0;
    (void)snprintf(store, sizeof store, "file:%s", r->rig.file);
    judge_sort(c.owed, c.owed_count);
    bool read = judge_store(&c, &report, NULL);
    if (report.first[0])
        harness_note("trail: %s", report.first);
    bool bad_read = judge_bad(r, &missing, &foreign);
    if (missing || foreign || !bad_read)
        harness_note("bad: %" PRIu64 " missing, %" PRIu64 " foreign", missing, foreign);
    *ret_lost += report.missing + missing;
    *ret_unexplained += judge_unexplained(&report) + foreign;
    return read && bad_read && !report.missing && !missing && !foreign && !judge_unexplained(&report);
}

static void configure(struct round *r)
{
    static const char pace[] = "batch = { flush_interval = \"2ms\"; }; retry = { base = \"1ms\"; cap = \"4ms\"; }; "
                               "breaker = { threshold = 50; cooldown = \"5ms\"; };";
    char sinks[2500], name[40], top[600], dir[300];
    const char *build = getenv("top_builddir");
    (void)snprintf(name, sizeof name, "%s-%s", r->bad->order, r->healed ? "healed" : "replaced");
    (void)snprintf(dir, sizeof dir, "%s/%s", harness_tmpdir(), name);
    (void)snprintf(top, sizeof top, "plugin_path = \"%s/tests/plugins/.libs\";\n", build ? build : ".");
    (void)snprintf(sinks, sizeof sinks,
                   "{ plugin = \"file\"; name = \"trail\"; path = \"%s/audit.jsonl\"; %s },\n"
                   "{ plugin = \"puppet\"; name = \"bad\"; path = \"%s/received\"; orders = \"%s/orders\"; "
                   "write_deadline = \"20ms\"; %s }",
                   dir, pace, dir, dir, pace);
    rig_init(&r->rig, harness_tmpdir(), name, &(struct rig_options){.top = top, .sinks = sinks});
    order(&r->rig, r->bad->order);
}

static void test_sinks(void)
{
    uint64_t lost = 0, unexplained = 0, events = 0;
    unsigned tried = 0;
    for (size_t k = 0; k < 2 * sizeof kinds / sizeof kinds[0]; k++) {
        struct round r = {.bad = &kinds[k / 2], .healed = k % 2, .per_thread = getenv("FAULT_LONG") ? 4000 : 500};
        char why[1000];
        r.shared = rig_shared(sizeof *r.shared);
        CU_ASSERT_PTR_NOT_NULL_FATAL(r.shared);
        configure(&r);
        bool good = rig_in_child(with_bad, &r, 120, why, sizeof why);
        order(&r.rig, "ok");
        if (good && !r.healed)
            good = rig_in_child(replaced, &r, 120, why, sizeof why);
        if (!good)
            harness_note("%s, %s: %s", r.bad->order, r.healed ? "healed" : "replaced", why);
        unexplained += !good;
        CU_ASSERT(good);
        CU_ASSERT(judge(&r, &lost, &unexplained));
        CU_ASSERT_EQUAL(r.shared->owed_count, THREADS * r.per_thread);
        harness_note("%s, %s: %u events, the good sink at most %.1f ms behind", r.bad->order,
                     r.healed ? "healed" : "replaced", r.shared->owed_count, (double)r.shared->most_lag_ns * 1e-6);
        events += r.shared->owed_count;
        tried++;
        rig_unshare(r.shared, sizeof *r.shared);
        rig_remove(&r.rig);
    }
    harness_note("fault sinks: tried=%u lost=%" PRIu64 " unexplained=%" PRIu64 " seed=0, %" PRIu64 " events", tried,
                 lost, unexplained, events);
}

HARNESS_MAIN("fault_sinks", {"bad sinks disturb nobody, and lose nothing", test_sinks})
