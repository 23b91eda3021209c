/* retention.c - aw_retention() killed in place of every call that changes a file, and with every call failing.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Whatever happens, both stores verify afterwards, and the next call does what was to be done.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "rig.h"

#define EVENTS 60u
#define BEFORE "2026-01-02T00:00:30Z" /* event n occurred n seconds after midnight */
#define KEEP 30u

static struct rig rig;
static char saved[500];

static void run(const char *command, const char *from, const char *to)
{
    char text[1200];
    (void)snprintf(text, sizeof text, "%s '%s' %s%s%s", command, from, *to ? "'" : "", to, *to ? "'" : "");
    CU_ASSERT_EQUAL(system(text), 0);
}

static int timeout_ms = 20000;

static int retention(uint32_t flags, struct aw_retention_report *report)
{
    struct aw_retention_options o = {
        .struct_size = sizeof o, .flags = flags, .config_text = rig.config, .before = BEFORE, .timeout_ms = timeout_ms};
    *report = (struct aw_retention_report){.struct_size = sizeof *report};
    return aw_retention(&o, report);
}

/* A trail of which about a half is to go; kept aside, so that each trial begins with it. */
static void make(void)
{
    char sinks[1200], json[400];
    struct aw_logger *logger;
    (void)snprintf(sinks, sizeof sinks,
                   "{ plugin = \"file\"; name = \"trail\"; path = \"%s/ret/audit.jsonl\"; rotate_size = \"4KiB\"; "
                   "batch = { events = 5; flush_interval = \"2ms\"; }; }, { plugin = \"sqlite\"; name = \"db\"; "
                   "path = \"%s/ret/audit.db\"; batch = { flush_interval = \"2ms\"; }; }",
                   harness_tmpdir(), harness_tmpdir());
    const struct rig_options options = {.sinks = sinks};
    rig_init(&rig, harness_tmpdir(), "ret", &options);
    CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, NULL, NULL, &logger), AW_SUCCESS);
    for (unsigned i = 1; i <= EVENTS; i++) {
        int n = snprintf(json, sizeof json,
                         "{\"action\":\"doc.read\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u\"},"
                         "\"context\":{\"tenantId\":\"t%u\",\"occurredAt\":\"2026-01-02T00:%02u:%02u.000Z\"}}",
                         i % 4, i / 60, i % 60);
        CU_ASSERT_EQUAL(aw_log_json(logger, json, (size_t)n, NULL), AW_SUCCESS);
    }
    CU_ASSERT_EQUAL(aw_close(logger, 20000), AW_SUCCESS);
    (void)snprintf(saved, sizeof saved, "%s/saved", harness_tmpdir());
    run("cp -a", rig.dir, saved);
}

static void restore(void)
{
    rig_remove(&rig);
    run("cp -a", saved, rig.dir);
}

/* The seq with which the store begins; 0: it does not verify. */
static uint64_t begin_of(const char *path, const char *sink, const char *when)
{
    struct aw_store_options o = {.struct_size = sizeof o, .store = path};
    struct aw_verify_options vo = {.struct_size = sizeof vo, .threads = 1, .sink = sink};
    struct aw_verify_report r = {.struct_size = sizeof r};
    struct aw_store *store;
    int rc = aw_store_open(&o, &store);
    if (rc == AW_SUCCESS) {
        rc = aw_verify(store, &vo, &r);
        aw_store_close(store);
    }
    bool good = rc == AW_SUCCESS && r.verdict == AW_VERDICT_GOOD && r.last_seq >= EVENTS;
    CU_ASSERT(good);
    if (!good)
        harness_note("%s: %s: rc %d, %llu findings, seq %llu to %llu, %s", when, path, rc,
                     (unsigned long long)r.findings, (unsigned long long)r.first_seq, (unsigned long long)r.last_seq,
                     rig_problems());
    return good ? r.first_seq : 0;
}

/* The next call finishes it. */
static void finish(const char *when)
{
    struct aw_retention_report report;
    int rc = retention(AW_RETENTION_APPLY, &report);
    CU_ASSERT_EQUAL(rc, AW_SUCCESS);
    if (rc != AW_SUCCESS)
        harness_note("%s: the next call: %s", when, rig_problems());
    uint64_t file = begin_of(rig.file, "trail", when), db = begin_of(rig.sqlite, "db", when);
    CU_ASSERT(db == KEEP && file > 1 && file <= KEEP);
    rc = retention(0, &report);
    CU_ASSERT(rc == AW_SUCCESS && report.count == 0);
}

/* In a child. true: the call at which something was to happen came. */
static bool attempt(const struct inject_plan *plan, uint64_t nth, const char *when)
{
    int status = 0;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct aw_retention_report report;
        (void)alarm(60);
        timeout_ms = plan ? 500 : 20000; /* what fails for ever need not be waited for */
        if (plan)
            inject_arm(plan);
        else
            inject_arm_death(nth);
        int rc = retention(AW_RETENTION_APPLY, &report);
        bool hit = plan ? inject_failed() > 0 : inject_calls() >= nth;
        inject_disarm();
        /* A failure says why. */
        _exit(!hit ? (rc == AW_SUCCESS ? 0 : 4) : rc == AW_SUCCESS || *rig_problems() ? 1 : 5);
    }
    CU_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status) && !plan && WTERMSIG(status) == SIGKILL)
        return true;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) <= 1;
    CU_ASSERT(good);
    if (!good)
        harness_note("%s: status 0x%x", when, (unsigned)status);
    return good && WEXITSTATUS(status) == 1;
}

/* The calls that are tried: all with FAULT_LONG, else fewer and fewer. */
static uint64_t next_call(uint64_t n, uint64_t part)
{
    return n + 1 + (getenv("FAULT_LONG") ? 0 : n / part);
}

static void test_killed(void)
{
    unsigned trials = 0, between = 0;
    for (uint64_t nth = 1; CU_get_number_of_failures() < 10; nth = next_call(nth, 4)) {
        char when[60];
        (void)snprintf(when, sizeof when, "killed at call %llu", (unsigned long long)nth);
        restore();
        bool hit = attempt(NULL, nth, when);
        uint64_t file = begin_of(rig.file, "trail", when), db = begin_of(rig.sqlite, "db", when);
        between += (file > 1) != (db > 1);
        finish(when);
        trials++;
        if (!hit)
            break;
    }
    harness_note("%u trials, %u times between the stores", trials, between);
    CU_ASSERT(trials > 20 && between > 0);
}

static void loop(enum inject_kind kind, bool persistent, int error)
{
    unsigned trials = 0;
    for (uint64_t nth = 1; CU_get_number_of_failures() < 10; nth = next_call(nth, persistent ? 1 : 2)) {
        const struct inject_plan plan = {kind, nth, persistent, error};
        char when[80];
        (void)snprintf(when, sizeof when, "%s %llu%s", inject_names[kind], (unsigned long long)nth,
                       persistent ? " and on" : "");
        restore();
        bool hit = attempt(&plan, nth, when);
        finish(when);
        trials++;
        if (!hit)
            break;
    }
    harness_note("%s%s: %u trials", inject_names[kind], persistent ? " and on" : "", trials);
    CU_ASSERT(trials > 2);
}

static void test_memory(void)
{
    if (!inject_can_malloc()) {
        harness_note("allocation cannot be replaced under a sanitizer");
        return;
    }
    loop(INJECT_MALLOC, false, ENOMEM);
    loop(INJECT_MALLOC, true, ENOMEM);
}

static void test_files(void)
{
    loop(INJECT_OPEN, false, EMFILE);
    loop(INJECT_WRITE, false, EIO);
    loop(INJECT_WRITE, true, ENOSPC);
    loop(INJECT_SYNC, false, EIO);
    loop(INJECT_RENAME, false, EIO);
    loop(INJECT_READ, false, EIO);
}

/* A dry run changes nothing, and finds the same. */
static void test_dry(void)
{
    struct aw_retention_report report;
    restore();
    CU_ASSERT_EQUAL(retention(0, &report), AW_SUCCESS);
    CU_ASSERT(report.stores == 2 && report.count > KEEP && report.removed == 0 && report.records == 0);
    run("diff -r -x retention.lock -x 'audit.db-*'", rig.dir, saved);
    uint64_t count = report.count;
    CU_ASSERT_EQUAL(retention(AW_RETENTION_APPLY, &report), AW_SUCCESS);
    CU_ASSERT(report.count == count && report.removed == count && report.records == 2);
    finish("applied");
}

static void test_usage(void)
{
    struct aw_retention_report report = {.struct_size = sizeof report};
    struct aw_retention_options o = {.struct_size = sizeof o, .config_text = rig.config};
    restore();
    CU_ASSERT_EQUAL(aw_retention(NULL, &report), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_retention(&o, &report), AW_ERR_USAGE); /* of before when? */
    o.before = BEFORE;
    CU_ASSERT_EQUAL(aw_retention(&o, NULL), AW_ERR_USAGE);
    o.flags = 1u << 30;
    CU_ASSERT_EQUAL(aw_retention(&o, &report), AW_ERR_USAGE);
    o.flags = 0;
    o.sink = "nobody";
    CU_ASSERT_EQUAL(aw_retention(&o, &report), AW_ERR_NOTFOUND);
    o.sink = NULL;
    o.before = "2126-01-01";
    CU_ASSERT_EQUAL(aw_retention(&o, &report), AW_ERR_USAGE);
    CU_ASSERT_STRING_EQUAL(aw_error_name(AW_ERR_FINDINGS), "FINDINGS");
}

static void test_all(void)
{
    make();
    test_usage();
    test_dry();
    test_killed();
}

HARNESS_MAIN("fault_retention", {"killed anywhere", test_all}, {"without files", test_files},
             {"without memory", test_memory})
