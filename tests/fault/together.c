/* together.c - fanout = "all_or_nothing" under death. SPDX-License-Identifier: Apache-2.0
 *
 * A child logs to a file, a SQLite database, and a sink that cannot stage; it dies (SIGKILL) in place of its N-th call
 * that changes a file or makes one durable, wherever that is: in the journal, between two steps of the protocol, in the
 * middle of one. Half of the times the next child dies, too, while it recovers; then the logger is opened in peace and
 * flushed. Every event that was acknowledged must be in all three stores exactly once, none may be in only some of
 * them, the chains must verify, and nothing may be left staged.
 *
 * In every third round the database refuses some events by a trigger: these must be in none of the stores, and in the
 * dead-letter files of all three.
 *
 * The same with calls that fail instead (once, or for good from there on, memory among them), after which the logger is
 * opened again.
 *
 * make check takes a sample of the places (seed printed); FAULT_LONG=1 (make fault-long) takes all deaths.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "oracle.h"
#include "rig.h"

#define EVENTS 60
#define REFUSED(number) ((number) % 16 == 13) /* the id's last digit is d */

struct shared {
    uint64_t acked[EVENTS];
    size_t acked_count;
    uint64_t calls, failed;
};

struct trial {
    struct rig rig;
    char ledger[460];
    bool refuses;
    uint64_t death;                 /* the call at which this life ends */
    const struct inject_plan *plan; /* instead: what fails in the first life */
    struct shared *shared;
};

static struct {
    uint64_t tried, lost, unexplained;
} sum;

static void make_rig(struct trial *t, const char *name)
{
    static const char pace[] = "batch = { events = 7; flush_interval = \"2ms\"; }; retry = { base = \"1ms\"; cap = "
                               "\"4ms\"; }; breaker = { threshold = 50; cooldown = \"5ms\"; };";
    char sinks[2000];
    const char *dir = harness_tmpdir();
    (void)snprintf(t->ledger, sizeof t->ledger, "%s/%s/ledger.jsonl", dir, name);
    (void)snprintf(sinks, sizeof sinks,
                   "{ plugin = \"file\"; name = \"trail\"; path = \"%s/%s/audit.jsonl\"; %s },\n"
                   "{ plugin = \"ledger\"; path = \"%s\"; %s },\n"
                   "{ plugin = \"sqlite\"; name = \"db\"; path = \"%s/%s/audit.db\"; %s }",
                   dir, name, pace, t->ledger, pace, dir, name, pace);
    struct rig_options o = {.top = "fanout = \"all_or_nothing\";", .sinks = sinks};
    rig_init(&t->rig, dir, name, &o);
}

/* ---- lives ---- */
static bool live(void *arg, char *why, size_t size)
{
    struct trial *t = arg;
    struct aw_logger *logger = NULL;
    char json[1024];
    if (t->plan)
        inject_arm(t->plan);
    else
        inject_arm_death(t->death);
    int rc = rig_open(&t->rig, 0, NULL, NULL, &logger), patience = t->plan ? 300 : 10000;
    if (rc != AW_SUCCESS) {
        t->shared->failed = inject_failed();
        inject_disarm();
        if (t->plan && !logger)
            return true;
        (void)snprintf(why, size, "aw_open: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    for (uint64_t i = t->shared->acked_count + 1; i <= EVENTS; i++) {
        size_t n = rig_event(i, NULL, json, sizeof json);
        if (aw_log_json(logger, json, n, NULL) == AW_SUCCESS)
            t->shared->acked[t->shared->acked_count++] = i;
        if (i % 20 == 0)
            (void)aw_flush(logger, patience / 2);
    }
    rc = aw_close(logger, patience);
    t->shared->calls = inject_calls();
    t->shared->failed = inject_failed();
    inject_disarm();
    if (rc != AW_SUCCESS)
        (void)snprintf(why, size, "aw_close: %s: %s", aw_error_name(rc), rig_problems());
    return rc == AW_SUCCESS || t->plan;
}

/* Opens, and dies while it recovers, perhaps. */
static bool recover(void *arg, char *why, size_t size)
{
    struct trial *t = arg;
    struct aw_logger *logger = NULL;
    inject_arm_death(t->death);
    int rc = rig_open(&t->rig, 0, NULL, NULL, &logger);
    if (rc == AW_SUCCESS)
        rc = aw_flush(logger, 20000);
    if (rc == AW_SUCCESS)
        rc = aw_close(logger, 10000);
    t->shared->calls = inject_calls();
    inject_disarm();
    if (rc != AW_SUCCESS)
        (void)snprintf(why, size, "recovery: %s: %s", aw_error_name(rc), rig_problems());
    return rc == AW_SUCCESS;
}

/* The tables are made, and the trigger. */
static bool prepare(void *arg, char *why, size_t size)
{
    struct trial *t = arg;
    struct aw_logger *logger = NULL;
    sqlite3 *db = NULL;
    int rc = rig_open(&t->rig, 0, NULL, NULL, &logger);
    if (rc == AW_SUCCESS)
        rc = aw_close(logger, 10000);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "first start: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    bool good = sqlite3_open(t->rig.sqlite, &db) == SQLITE_OK &&
                sqlite3_exec(db,
                             "CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN new.event_id LIKE '%d' BEGIN "
                             "SELECT RAISE(ABORT, 'no d here'); END",
                             NULL, NULL, NULL) == SQLITE_OK;
    if (!good)
        (void)snprintf(why, size, "trigger: %s", sqlite3_errmsg(db));
    (void)sqlite3_close(db);
    return good;
}

/* ---- judgement ---- */
static bool read_store(const struct trial *t, int which, struct oracle_list *ret, char *why, size_t size)
{
    static const char *const names[] = {"file", "ledger", "sqlite"};
    char text[700];
    bool good = which == 2 ? oracle_read_sqlite(t->rig.sqlite, ret, text, sizeof text)
                           : oracle_read_file(which == 0 ? t->rig.file : t->ledger, ret, text, sizeof text);
    if (!good)
        (void)snprintf(why, size, "%s: %s", names[which], text);
    return good;
}

/* How many dead letters of this number there are in a sink's file. */
static bool dead_lettered(const struct trial *t, const char *sink, uint64_t number)
{
    char path[700], where[700], id[ORACLE_ID_LEN + 1];
    oracle_event_id(number, id);
    (void)snprintf(path, sizeof path, "%s/deadletter/%s.jsonl", t->rig.journal, sink);
    return oracle_find_bytes(path, id, ORACLE_ID_LEN, where, sizeof where) == 1;
}

static bool judge_refused(const struct trial *t, uint64_t number, const unsigned in[3], char *why, size_t size)
{
    bool dead =
        dead_lettered(t, "trail", number) && dead_lettered(t, "ledger", number) && dead_lettered(t, "db", number);
    if (in[0] + in[1] + in[2] == 0 && dead)
        return true;
    (void)snprintf(why, size, "event %" PRIu64 " is refused, and %u, %u, %u times in the stores%s", number, in[0],
                   in[1], in[2], dead ? "" : ", and not in every dead-letter file");
    return false;
}

/* Which of the numbers are where. Events that were logged and not acknowledged may be there: then in all. */
static bool judge_sets(const struct trial *t, char *why, size_t size)
{
    struct oracle_list list[3];
    unsigned count[EVENTS + 2][3] = {{0}};
    bool good = true;
    for (int w = 0; w < 3; w++) {
        good = read_store(t, w, &list[w], why, size) && good;
        for (size_t i = 0; i < list[w].count; i++)
            count[list[w].numbers[i] <= EVENTS ? list[w].numbers[i] : EVENTS + 1][w]++;
        oracle_free(&list[w]);
    }
    for (uint64_t n = 1, a = 0; good && n <= EVENTS + 1; n++) {
        const unsigned *in = count[n];
        bool owed = a < t->shared->acked_count && t->shared->acked[a] == n;
        a += owed;
        if (n <= EVENTS && t->refuses && REFUSED(n)) {
            good = !owed || judge_refused(t, n, in, why, size);
        } else if (in[0] != in[1] || in[1] != in[2] || in[0] > 1 || (owed && in[0] != 1)) {
            (void)snprintf(why, size, "event %" PRIu64 "%s is %u, %u, %u times in file, ledger, sqlite", n,
                           owed ? " (acknowledged)" : "", in[0], in[1], in[2]);
            sum.lost += owed && (!in[0] || !in[1] || !in[2]);
            good = false;
        }
    }
    return good;
}

static bool nothing_staged(const struct trial *t, char *why, size_t size)
{
    DIR *d = opendir(t->rig.dir);
    bool good = d != NULL;
    for (struct dirent *e; good && (e = readdir(d)) != NULL;)
        if (strstr(e->d_name, ".staged-")) {
            (void)snprintf(why, size, "%s is left", e->d_name);
            good = false;
        }
    if (d)
        (void)closedir(d);
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    if (good && (sqlite3_open(t->rig.sqlite, &db) != SQLITE_OK ||
                 sqlite3_prepare_v2(db, "SELECT count(*) FROM audit_staged", -1, &s, NULL) != SQLITE_OK ||
                 sqlite3_step(s) != SQLITE_ROW || sqlite3_column_int(s, 0) != 0)) {
        (void)snprintf(why, size, "staged rows are left: %s", sqlite3_errmsg(db));
        good = false;
    }
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return good;
}

static bool judge(void *arg, char *why, size_t size)
{
    struct trial *t = arg;
    if (!judge_sets(t, why, size) || !nothing_staged(t, why, size))
        return false;
    return t->refuses || oracle_judge(t->rig.file, t->rig.sqlite, t->shared->acked, t->shared->acked_count, why, size);
}

/* ---- trials ---- */

/* A life that ends where it should, or comes to its own end. */
static bool one_life(struct trial *t, rig_fn fn, uint64_t death, bool *ret_died, char *why, size_t size)
{
    t->death = death;
    bool good = rig_in_child(fn, t, 60, why, size);
    *ret_died = !good && strstr(why, "signal 9") != NULL;
    return good || *ret_died;
}

struct outcome {
    bool died;
    uint64_t calls, failed; /* of a first life that came to its end */
};

/* Dies at `first`, or meets the plan; a recovery dies at `second` (0 = none). */
static bool trial(uint64_t first, uint64_t second, bool refuses, const struct inject_plan *plan, struct outcome *ret)
{
    struct trial t = {.refuses = refuses, .plan = plan, .shared = rig_shared(sizeof(struct shared))};
    char why[1100] = "out of memory";
    bool again;
    *ret = (struct outcome){false, 0, 0};
    make_rig(&t, "together");
    bool good = t.shared != NULL && (!refuses || rig_in_child(prepare, &t, 30, why, sizeof why)) &&
                one_life(&t, live, first, &ret->died, why, sizeof why);
    if (good) {
        ret->calls = t.shared->calls;
        ret->failed = t.shared->failed;
    }
    if (good && second)
        good = one_life(&t, recover, second, &again, why, sizeof why);
    good = good && one_life(&t, recover, UINT64_MAX, &again, why, sizeof why) && judge(&t, why, sizeof why);
    sum.tried++;
    if (!good) {
        sum.unexplained++;
        harness_note("%s %" PRIu64 "%s, then death at %" PRIu64 "%s: %s",
                     plan ? inject_names[plan->kind] : "death at call", plan ? plan->nth : first,
                     plan && plan->persistent ? " and all after" : "", second, refuses ? ", with refusals" : "", why);
    }
    if (t.shared)
        rig_unshare(t.shared, sizeof *t.shared);
    if (!good && getenv("FAULT_KEEP"))
        harness_note("kept: %s", t.rig.dir);
    else
        rig_remove(&t.rig);
    return good;
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void report(const char *name)
{
    (void)printf("fault %s: tried=%" PRIu64 " lost=%" PRIu64 " unexplained=%" PRIu64 " seed=%" PRIu64 "\n", name,
                 sum.tried, sum.lost, sum.unexplained, harness_seed());
    (void)fflush(stdout);
    CU_ASSERT_EQUAL(sum.lost + sum.unexplained, 0);
    memset(&sum, 0, sizeof sum);
}

static void test_death(void)
{
    struct outcome whole, o;
    uint64_t random = harness_seed() ^ 0x746f676574686572u;
    bool all = getenv("FAULT_LONG") != NULL;
    CU_ASSERT_FATAL(trial(UINT64_MAX, 0, false, NULL, &whole));
    CU_ASSERT_FALSE(whole.died);
    double begin = seconds();
    uint64_t most = all ? whole.calls : harness_slow() ? 60 : 200, deaths = 0;
    for (uint64_t i = 0; i < most && sum.unexplained < 5 && (all || seconds() - begin < 12); i++) {
        uint64_t first = all ? i + 1 : 1 + harness_random(&random) % whole.calls;
        (void)trial(first, i % 2 ? 1 + harness_random(&random) % 120 : 0, i % 3 == 2, NULL, &o);
        deaths += o.died;
    }
    harness_note("%" PRIu64 " places, %" PRIu64 " deaths in %" PRIu64 " trials", whole.calls, deaths, sum.tried);
    CU_ASSERT(deaths > 0);
    report("all_or_nothing");
}

/* Each kind in turn at a random place of its range, until the time is over. */
static void test_failures(void)
{
    static const enum inject_kind kinds[] = {INJECT_WRITE, INJECT_SYNC, INJECT_OPEN, INJECT_MALLOC};
    static const int errors[] = {ENOSPC, EIO, EMFILE, ENOMEM};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    uint64_t random = harness_seed() ^ 0x6661696c757265u, range[KINDS] = {0}, failures = 0;
    struct outcome o;
    for (size_t k = 0; k < KINDS; k++) {
        struct inject_plan count = {kinds[k], UINT64_MAX, false, 0};
        if ((kinds[k] != INJECT_MALLOC || inject_can_malloc()) && trial(0, 0, false, &count, &o))
            range[k] = o.calls;
    }
    double begin = seconds();
    for (uint64_t i = 0; sum.unexplained < 5 && seconds() - begin < (getenv("FAULT_LONG") ? 600 : 8); i++) {
        size_t k = i % KINDS;
        if (range[k] == 0)
            continue;
        struct inject_plan plan = {kinds[k], 1 + harness_random(&random) % range[k], i / KINDS % 2 == 1, errors[k]};
        (void)trial(0, 0, i % 3 == 2, &plan, &o);
        failures += o.failed > 0;
    }
    harness_note("%" PRIu64 " of %" PRIu64 " trials met a failure", failures, sum.tried);
    CU_ASSERT(failures > 0);
    report("all_or_nothing_errors");
}

/* Before the children: this program's plugin directory, and then the modules, so that children need not load each. */
__attribute__((constructor)) static void find_plugins(void)
{
    char path[2000];
    const char *dir = getenv("AUDITWELL_PLUGIN_PATH"), *build = getenv("top_builddir");
    if (!dir || !build)
        return;
    (void)snprintf(path, sizeof path, "%s:%s/tests/fault/.libs", dir, build);
    (void)setenv("AUDITWELL_PLUGIN_PATH", path, 1);
}

HARNESS_MAIN("fault_together", {"death at any call", test_death}, {"any call fails", test_failures})
