/* metrics.c - the sum holds at every look: a scraper reads this process' figures while sinks fail, reject, forget and
 * restart, and the logger is closed and opened again.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Everything by the public face: the text as Prometheus would get it, live and from the journal's directory.
 */
#include "config.h"

#include "harness.h"

#include <audit/audit.h>
#include <audit/plugin.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS 3
static const char *const sink_names[] = {"moody", "forgetful", "good"};
#define SINKS (sizeof sink_names / sizeof sink_names[0])

struct rig {
    char dir[300], journal[400], conf[4000];
    pthread_rwlock_t lock; /* held for reading while `logger` is used for a look, for writing to open and close */
    struct aw_logger *logger;
    _Atomic bool stop;
    _Atomic unsigned looks, live_looks, bad;
    unsigned per_thread;
};

static void print_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        harness_note("%s: %s: %s", aw_error_name(p[i]->code), p[i]->path, p[i]->message);
}

static void configure(struct rig *r, const char *name, const char *more)
{
    const char *top = getenv("top_builddir");
    char build[300], *real = realpath(top ? top : ".", NULL);
    snprintf(build, sizeof build, "%s", real ? real : ".");
    free(real);
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    snprintf(r->journal, sizeof r->journal, "%s/journal", r->dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(r->dir, 0700), 0);
    snprintf(r->conf, sizeof r->conf,
             "service = \"tests\";\n"
             "journal = { path = \"%s\"; ring_size = \"1MiB\"; segment_size = \"1MiB\"; };\n"
             "retry = { base = \"1ms\"; cap = \"2ms\"; };\nbreaker = { threshold = 3; cooldown = \"3ms\"; };\n"
             "batch = { events = 50; flush_interval = \"2ms\"; };\n"
             "sinks = (\n"
             "  { plugin = \"flaky\"; name = \"moody\"; plugin_file = \"%s/tests/plugins/.libs/sink_flaky.so\";\n"
             "    fail_every = 2; reject_every = 7; unset_every = 11; %s },\n"
             "  { plugin = \"flaky\"; name = \"forgetful\"; plugin_file = \"%s/tests/plugins/.libs/sink_flaky.so\";\n"
             "    flush_fails_every = 3; reject_every = 13; fail_every = 5; },\n"
             "  { plugin = \"file\"; name = \"good\"; path = \"%s/good.jsonl\"; fsync = \"never\"; } );\n",
             r->journal, build, more, build, r->dir);
}

static int open_logger(struct rig *r)
{
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = r->conf};
    pthread_rwlock_wrlock(&r->lock);
    int rc = aw_open(&o, &r->logger);
    pthread_rwlock_unlock(&r->lock);
    if (rc != AW_SUCCESS)
        print_problems();
    return rc;
}

static void close_logger(struct rig *r, int timeout_ms)
{
    pthread_rwlock_wrlock(&r->lock);
    struct aw_logger *logger = r->logger;
    r->logger = NULL;
    pthread_rwlock_unlock(&r->lock);
    (void)aw_close(logger, timeout_ms); /* what is left is delivered after the next open */
}

/* ---- looking ---- */

/* The value of one sample of the text; -1: it is not there. */
static long long sample(const char *text, const char *name, const char *sink)
{
    char key[200];
    snprintf(key, sizeof key, "\n%s{sinkName=\"%s\"} ", name, sink);
    const char *p = strstr(text, key);
    return p ? strtoll(p + strlen(key), NULL, 10) : -1;
}

static bool adds_up(const char *text, const char *sink)
{
    long long accepted = sample(text, "audit_sink_events_accepted_total", sink),
              written = sample(text, "audit_sink_events_written_total", sink),
              duplicates = sample(text, "audit_sink_events_duplicate_total", sink),
              found = sample(text, "audit_sink_events_found_total", sink),
              queued = sample(text, "audit_sink_lag_events", sink),
              dead = sample(text, "audit_sink_dead_letters_total", sink),
              lost = sample(text, "audit_sink_events_lost_total", sink);
    if (accepted >= 0 && accepted == written + duplicates + found + queued + dead + lost &&
        sample(text, "audit_conservation_imbalance", sink) == 0)
        return true;
    harness_note("%s: %lld is not %lld + %lld + %lld + %lld + %lld + %lld", sink, accepted, written, duplicates, found,
                 queued, dead, lost);
    return false;
}

/* Counters never fall while the same process has the journal open. */
struct seen {
    uint64_t started;
    long long written[SINKS], accepted[SINKS];
};

static void look(struct rig *r, struct aw_metrics *m, struct seen *seen)
{
    const char *text = aw_metrics_text(m, NULL);
    struct aw_metrics_info info = {.struct_size = sizeof info};
    if (!text || aw_metrics_info(m, &info) != AW_SUCCESS) {
        atomic_fetch_add(&r->bad, 1);
        return;
    }
    if (info.started_ns != seen->started)
        *seen = (struct seen){.started = info.started_ns};
    for (size_t i = 0; i < SINKS; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        long long written = sample(text, "audit_sink_events_written_total", sink_names[i]),
                  accepted = sample(text, "audit_sink_events_accepted_total", sink_names[i]);
        bool good = adds_up(text, sink_names[i]) && aw_metrics_sink(m, i, &s) == AW_SUCCESS && s.imbalance == 0 &&
                    strcmp(s.name, sink_names[i]) == 0;
        if (written < seen->written[i] || accepted < seen->accepted[i]) {
            harness_note("%s: a counter fell", sink_names[i]);
            good = false;
        }
        seen->written[i] = written;
        seen->accepted[i] = accepted;
        if (!good)
            atomic_fetch_add(&r->bad, 1);
    }
    atomic_fetch_add(&r->looks, 1);
}

static void *scrape(void *arg)
{
    struct rig *r = arg;
    struct seen live = {0}, other = {0};
    while (!atomic_load(&r->stop)) {
        struct aw_metrics *m = NULL;
        int rc = aw_metrics_open_path(NULL, r->journal, &m);
        if (rc == AW_SUCCESS) {
            look(r, m, &other);
            aw_metrics_free(m);
        } else if (rc != AW_ERR_NOTFOUND) {
            print_problems();
            atomic_fetch_add(&r->bad, 1);
        }
        m = NULL;
        pthread_rwlock_rdlock(&r->lock);
        if (r->logger && aw_metrics_take(r->logger, &m) == AW_SUCCESS) {
            look(r, m, &live);
            atomic_fetch_add(&r->live_looks, 1);
        }
        pthread_rwlock_unlock(&r->lock);
        aw_metrics_free(m);
        (void)usleep(500);
    }
    return NULL;
}

/* ---- the load ---- */

static void *produce(void *arg)
{
    struct rig *r = arg;
    static const char json[] =
        "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u2\"}}";
    for (unsigned i = 0; i < r->per_thread; i++) {
        if (aw_log_json(r->logger, json, sizeof json - 1, NULL) != AW_SUCCESS)
            atomic_fetch_add(&r->bad, 1);
        if (i % 64 == 0)
            (void)usleep(1000); /* so that there is something to look at meanwhile */
    }
    return NULL;
}

static void run_producers(struct rig *r)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, produce, r), 0);
    for (int i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
}

static void the_sum_holds_at_every_look(void)
{
    static struct rig r = {.lock = PTHREAD_RWLOCK_INITIALIZER};
    pthread_t scraper;
    enum { ROUNDS = 4 };
    r.per_thread = harness_slow() ? 400 : 2000;
    configure(&r, "sum", "");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&scraper, NULL, scrape, &r), 0);
    for (int i = 0; i < ROUNDS; i++) {
        CU_ASSERT_EQUAL_FATAL(open_logger(&r), AW_SUCCESS);
        run_producers(&r);
        if (i == ROUNDS - 1)
            CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), AW_SUCCESS);
        close_logger(&r, i % 2 ? 0 : 50);
    }
    atomic_store(&r.stop, true);
    CU_ASSERT_EQUAL(pthread_join(scraper, NULL), 0);
    CU_ASSERT_EQUAL(r.bad, 0);
    CU_ASSERT(r.looks >= 20 && r.live_looks >= 10);
    harness_note("%u looks, %u of them live", r.looks, r.live_looks);
    /* what the last process left: everything delivered or refused, each event once */
    struct aw_metrics *m;
    struct aw_metrics_info info = {.struct_size = sizeof info};
    struct aw_stats stats = {.struct_size = sizeof stats};
    CU_ASSERT_EQUAL_FATAL(aw_metrics_open_path(NULL, r.journal, &m), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_metrics_info(m, &info), AW_SUCCESS);
    CU_ASSERT(!info.running && info.ended_ns != 0 && info.pid == (uint64_t)getpid());
    CU_ASSERT_EQUAL(aw_metrics_stats(m, &stats), AW_SUCCESS);
    CU_ASSERT_EQUAL(stats.events_total, (uint64_t)THREADS * r.per_thread);
    CU_ASSERT_EQUAL(stats.head_seq, (uint64_t)THREADS * r.per_thread * ROUNDS);
    static const unsigned rejects[SINKS] = {7, 13, 0};
    for (size_t i = 0; i < SINKS; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        CU_ASSERT_EQUAL(aw_metrics_sink(m, i, &s), AW_SUCCESS);
        uint64_t base = stats.head_seq - s.accepted_total, dead = 0;
        for (uint64_t seq = base + 1; rejects[i] && seq <= stats.head_seq; seq++)
            dead += seq % rejects[i] == 0;
        CU_ASSERT_EQUAL(s.acked_seq, stats.head_seq);
        CU_ASSERT_EQUAL(s.lag_events, 0);
        CU_ASSERT_EQUAL(s.lag_ns, 0);
        CU_ASSERT_EQUAL(s.rejected_total, dead);
        CU_ASSERT_EQUAL(s.written_total + s.found_total, s.accepted_total - dead);
        CU_ASSERT_EQUAL(s.lost_total, 0);
        CU_ASSERT(i == 2 || s.retries_total > 0);
        CU_ASSERT(i != 1 || s.resent_total > 0);
        CU_ASSERT(i == 1 || s.resent_total == 0);
    }
    aw_metrics_free(m);
}

/* A sink that cannot be written to: how old its oldest event is, though nothing was ever read for it. */
static void lag_grows_while_a_sink_is_down(void)
{
    static struct rig r = {.lock = PTHREAD_RWLOCK_INITIALIZER, .per_thread = 10};
    struct aw_metrics *m;
    struct aw_sink_stats first = {.struct_size = sizeof first}, second = first;
    configure(&r, "lag", "");
    char *fails = strstr(r.conf, "fail_every = 2;");
    CU_ASSERT_PTR_NOT_NULL_FATAL(fails);
    fails[strlen("fail_every = ")] = '1'; /* every call */
    CU_ASSERT_EQUAL_FATAL(open_logger(&r), AW_SUCCESS);
    run_producers(&r);
    for (int i = 0; i < 400 && (first.lag_ns < 40000000 || !first.last_error_text[0]); i++) { /* a busy machine */
        (void)usleep(50000);
        CU_ASSERT_EQUAL_FATAL(aw_metrics_take(r.logger, &m), AW_SUCCESS);
        CU_ASSERT_EQUAL(aw_metrics_sink(m, 0, &first), AW_SUCCESS);
        aw_metrics_free(m);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(first.last_error_text, "not in the mood"));
    second.lag_ns = second.failures_total = 0;
    for (int i = 0; i < 100 && second.failures_total <= first.failures_total; i++) {
        (void)usleep(200000);
        CU_ASSERT_EQUAL_FATAL(aw_metrics_open_path(NULL, r.journal, &m), AW_SUCCESS);
        CU_ASSERT_EQUAL(aw_metrics_sink(m, 0, &second), AW_SUCCESS);
        aw_metrics_free(m);
    }
    CU_ASSERT(first.lag_events == 30 && second.lag_events == 30);
    CU_ASSERT(first.lag_ns >= 40000000 && second.lag_ns >= first.lag_ns + 190000000);
    CU_ASSERT(second.failures_total > first.failures_total);
    close_logger(&r, 0);
}

static void plugins_metrics_show(void)
{
    static struct rig r = {.lock = PTHREAD_RWLOCK_INITIALIZER, .per_thread = 50};
    struct aw_metrics *m;
    configure(&r, "plugin", "metric = \"moods_total\";");
    CU_ASSERT_EQUAL_FATAL(open_logger(&r), AW_SUCCESS);
    run_producers(&r);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), AW_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(aw_metrics_open_path(NULL, r.journal, &m), AW_SUCCESS);
    const char *text = aw_metrics_text(m, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "# HELP audit_sink_moods_total Calls, by result: \\\\ and\\nmore.\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "audit_sink_moods_total{sinkName=\"moody\",result=\"bad\",why=\"?\"} "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "audit_sink_calls_total{sinkName=\"forgetful\",result=\"good\",why=\"a "
                                        "\\\"quoted\\\\ one\\\"\\nin two lines\"} "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "audit_sink_batch_events_bucket{sinkName=\"moody\",le=\"2.5\"} "));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "audit_sink_batch_events_count{sinkName=\"forgetful\"} "));
    CU_ASSERT_EQUAL(sample(text, "audit_sink_depth", "forgetful"), 150);
    aw_metrics_free(m);
    close_logger(&r, 0);
    /* a name against the rules: the sink is refused, and it is said why */
    static const char *const wrong[][2] = {
        {"metric = \"Moods\";", "must match [a-z]"},
        {"metric = \"batches_total\";", "the host itself has audit_sink_batches_total"},
        {"metric = \"depth\";", "depth"},
        {"metric = \"batch_events_sum\";", "collides with"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char name[20];
        snprintf(name, sizeof name, "wrong%zu", i);
        configure(&r, name, wrong[i][0]);
        struct aw_open_options o = {.struct_size = sizeof o, .config_text = r.conf};
        CU_ASSERT_EQUAL(aw_open(&o, &r.logger), AW_ERR_CONFIG);
        size_t n;
        const struct aw_problem *const *p = aw_problems(&n);
        CU_ASSERT(n > 0 && strstr(p[0]->message, wrong[i][1]) && strstr(p[0]->path, "<text>:"));
        print_problems();
    }
}

/* The worker's thread still holds the memory when the logger is closed. */
static void a_sink_that_hangs_is_given_up(void)
{
    static struct rig r = {.lock = PTHREAD_RWLOCK_INITIALIZER, .per_thread = 1};
    struct aw_metrics *m;
    struct aw_metrics_info info = {.struct_size = sizeof info};
    struct aw_sink_stats s = {.struct_size = sizeof s};
    configure(&r, "hangs", "");
    char *sinks = strstr(r.conf, "sinks = ("), build[300];
    const char *top = getenv("top_builddir");
    char *real = realpath(top ? top : ".", NULL);
    snprintf(build, sizeof build, "%s", real ? real : ".");
    free(real);
    snprintf(sinks, sizeof r.conf - (size_t)(sinks - r.conf),
             "sinks = ( { plugin = \"m_slow\"; pause = \"3s\"; write_deadline = \"50ms\";\n"
             "            plugin_file = \"%s/tests/plugins/.libs/sink_m_slow.so\"; } );\n",
             build);
    CU_ASSERT_EQUAL_FATAL(open_logger(&r), AW_SUCCESS);
    run_producers(&r);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 200), AW_ERR_TIMEOUT);
    CU_ASSERT_EQUAL_FATAL(aw_metrics_open_path(NULL, r.journal, &m), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_metrics_sink(m, 0, &s), AW_SUCCESS);
    CU_ASSERT_EQUAL(s.state, AW_HEALTH_DOWN);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.last_error_text, "stuck in a call"));
    const char *text = aw_metrics_text(m, NULL);
    CU_ASSERT(text && strstr(text, "audit_sink_stuck_seconds{sinkName=\"m_slow\"} 0."));
    aw_metrics_free(m);
    close_logger(&r, 0);
    CU_ASSERT_EQUAL_FATAL(aw_metrics_open_path(NULL, r.journal, &m), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_metrics_info(m, &info), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_metrics_sink(m, 0, &s), AW_SUCCESS);
    CU_ASSERT(!info.running && info.ended_ns != 0);
    CU_ASSERT(s.lag_events == THREADS && s.imbalance == 0);
    aw_metrics_free(m);
}

static void wrong_uses_are_told(void)
{
    struct aw_metrics *m = NULL;
    struct aw_metrics_info info = {.struct_size = 4};
    struct aw_stats stats = {.struct_size = 0};
    char path[400];
    CU_ASSERT_EQUAL(aw_metrics_take(NULL, &m), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_metrics_open_path(NULL, harness_tmpdir(), NULL), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_metrics_open_path(NULL, harness_tmpdir(), &m), AW_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(aw_metrics_open_path("/nonexistent/audit.conf", NULL, &m), AW_ERR_IO);
    snprintf(path, sizeof path, "%s/metrics", harness_tmpdir());
    FILE *f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs("audit_up 1\n", f);
    (void)fclose(f);
    CU_ASSERT_EQUAL(aw_metrics_open_path(NULL, harness_tmpdir(), &m), AW_ERR_IO);
    print_problems();
    CU_ASSERT_PTR_NULL(aw_metrics_text(NULL, NULL));
    CU_ASSERT_EQUAL(aw_metrics_info(NULL, &info), AW_ERR_USAGE);
    static struct rig r = {.lock = PTHREAD_RWLOCK_INITIALIZER, .per_thread = 1};
    configure(&r, "uses", "");
    CU_ASSERT_EQUAL_FATAL(open_logger(&r), AW_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(aw_metrics_take(r.logger, &m), AW_SUCCESS);
    close_logger(&r, 0); /* what was taken stays */
    CU_ASSERT_EQUAL(aw_metrics_info(m, &info), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_metrics_stats(m, &stats), AW_ERR_USAGE);
    struct aw_sink_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(aw_metrics_sink(m, 3, &s), AW_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(aw_metrics_text(m, NULL));
    aw_metrics_free(m);
    aw_metrics_free(NULL);
}

HARNESS_MAIN("metrics", {"the sum holds at every look", the_sum_holds_at_every_look},
             {"lag grows while a sink is down", lag_grows_while_a_sink_is_down},
             {"plugins' metrics show", plugins_metrics_show},
             {"a sink that hangs is given up", a_sink_that_hangs_is_given_up},
             {"wrong uses are told", wrong_uses_are_told})
