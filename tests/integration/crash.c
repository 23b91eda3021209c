/* crash.c - kill -9 in the middle of a load, at random points, over one journal. SPDX-License-Identifier: Apache-2.0
 *
 * A child embeds the library with a file and a SQLite sink, and one that fails every other call. Three of its threads
 * log events that carry numbers of the test's own, and write each number to a pipe when its event was acknowledged. The
 * parent kills the child after a random time or a random number of acknowledgements, and starts the next over the same
 * journal, many times. Then one child opens, logs a little, flushes and closes in good order, and every number that
 * ever came through the pipe must be in both stores exactly once, with dense seqs and chains that verify, and at least
 * once with the third sink, which keeps no keys. So for each mode and fan-out policy; FAULT_LONG=1: more than 1,000
 * times altogether.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "oracle.h"
#include "rig.h"

#define THREADS 3
#define PER_THREAD 500 /* a life's most, so that the sinks can keep up */

struct acked {
    uint64_t *numbers;
    size_t count, room;
};

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void keep(struct acked *a, uint64_t number)
{
    if (a->count == a->room) {
        a->room = a->room ? a->room * 2 : 65536;
        a->numbers = realloc(a->numbers, a->room * sizeof *a->numbers);
        if (!a->numbers)
            abort();
    }
    a->numbers[a->count++] = number;
}

/* ---- the child that is killed ---- */
struct producer {
    struct aw_logger *logger;
    uint64_t first; /* number */
    int pipe;
    bool syncs;
};

static void *produce(void *arg)
{
    const struct producer *p = arg;
    char json[1024];
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        uint64_t number = p->first + i;
        size_t n = rig_event(number, NULL, json, sizeof json);
        if (aw_log_json(p->logger, json, n, NULL) != AW_SUCCESS)
            continue;
        if (write(p->pipe, &number, sizeof number) != (ssize_t)sizeof number)
            break;
        if (p->syncs && i % 97 == 96)
            (void)aw_sync(p->logger, 1000);
    }
    return NULL;
}

static void start_load(struct aw_logger *logger, uint64_t life, int fd, bool syncs)
{
    static struct producer p[THREADS];
    pthread_t t[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        p[i] = (struct producer){logger, life << 40 | i << 32 | 1u, fd, syncs};
        if (pthread_create(&t[i], NULL, produce, &p[i]))
            _exit(97);
    }
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(t[i], NULL);
}

static void live(const struct rig *rig, uint64_t life, int fd, bool syncs)
{
    struct aw_logger *logger;
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(60);
    if (rig_open(rig, 0, NULL, NULL, &logger) != AW_SUCCESS) {
        (void)fprintf(stderr, "# life %" PRIu64 ": %s\n", life, rig_problems());
        _exit(98);
    }
    start_load(logger, life, fd, syncs);
    for (;;) /* delivering goes on; the end comes from outside */
        (void)pause();
}

/* ---- the parent ---- */
static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Reads what is there; false at the end of the pipe. */
static bool take(int fd, struct acked *acked)
{
    uint64_t buffer[512];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
        return true;
    for (ssize_t i = 0; i + 8 <= n; i += 8)
        keep(acked, buffer[i / 8]);
    return n > 0;
}

/* Until the time or the number of acknowledgements has come. */
static void watch(int fd, struct acked *acked, double until, size_t enough)
{
    size_t begin = acked->count;
    while (acked->count - begin < enough) {
        double left = until - seconds();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0)
            return;
        if (poll(&p, 1, left < 0.001 ? 1 : (int)(left * 1000)) > 0 && !take(fd, acked))
            return;
    }
}

static bool one_life(const struct rig *rig, uint64_t life, bool syncs, uint64_t *random, struct acked *acked)
{
    int ends[2], status;
    if (pipe(ends))
        return false;
    /* Every third dies by the clock, also while it opens; the others after so many acknowledgements. */
    bool by_time = harness_random(random) % 3 == 0;
    double time = by_time ? (double)(harness_random(random) % 40000) * 1e-6 : 20;
    size_t enough = by_time ? SIZE_MAX : 1 + harness_random(random) % (THREADS * PER_THREAD * 3 / 4);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0) {
        (void)close(ends[0]);
        live(rig, life, ends[1], syncs);
    }
    (void)close(ends[1]);
    watch(ends[0], acked, seconds() + time, enough);
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    while (take(ends[0], acked))
        ;
    (void)close(ends[0]);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    harness_note("life %" PRIu64 " ended by itself: %s %d", life, WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

/* ---- the end ---- */
struct last {
    const struct rig *rig;
    struct acked *acked;
    uint64_t *extra; /* shared: how many were acknowledged in the last life */
    uint64_t first;
};

#define EXTRA 10
#define SINKS 3

/* Every acknowledged number is among the ids that the flaky sink wrote down. */
static bool flaky_has_all(const struct rig *rig, const struct acked *acked, char *why, size_t size)
{
    char path[440], line[100];
    uint64_t *got = malloc((acked->count + 1) * sizeof *got);
    size_t missing = 0, room = acked->count + 1, count = 0;
    (void)snprintf(path, sizeof path, "%s/received", rig->dir);
    FILE *f = fopen(path, "re");
    while (got && f && fgets(line, sizeof line, f)) {
        if (count == room) {
            uint64_t *more = realloc(got, (room *= 2) * sizeof *got);
            if (!more)
                break;
            got = more;
        }
        got[count++] = strncmp(line, "ev-", 3) == 0 ? strtoull(line + 3, NULL, 16) : 0;
    }
    if (f)
        (void)fclose(f);
    if (got)
        qsort(got, count, sizeof *got, compare_numbers);
    for (size_t i = 0; got && i < acked->count; i++)
        missing += bsearch(&acked->numbers[i], got, count, sizeof *got, compare_numbers) == NULL;
    bool good = got && missing == 0;
    if (!good)
        (void)snprintf(why, size, "the flaky sink lacks %zu of %zu acknowledged events", missing, acked->count);
    free(got);
    return good;
}

static bool sinks_are_done(struct aw_logger *logger, char *why, size_t size)
{
    struct aw_stats s = {.struct_size = sizeof s};
    if (aw_stats(logger, &s) != AW_SUCCESS || s.sinks != SINKS) {
        (void)snprintf(why, size, "aw_stats: %s", rig_problems());
        return false;
    }
    if (s.lost_total) {
        (void)snprintf(why, size, "the journal says that %" PRIu64 " events are lost", s.lost_total);
        return false;
    }
    for (size_t i = 0; i < s.sinks; i++) {
        struct aw_sink_stats k = {.struct_size = sizeof k};
        if (aw_stats_sink(logger, i, &k) != AW_SUCCESS || k.acked_seq != s.head_seq || k.lag_events ||
            k.rejected_total) {
            (void)snprintf(why, size, "sink %zu: acked %" PRIu64 " of %" PRIu64 ", lag %" PRIu64 ", rejected %" PRIu64,
                           i, k.acked_seq, s.head_seq, k.lag_events, k.rejected_total);
            return false;
        }
    }
    return true;
}

static bool last_life(void *arg, char *why, size_t size)
{
    struct last *l = arg;
    struct aw_logger *logger;
    char json[1024];
    int rc = rig_open(l->rig, 0, NULL, NULL, &logger);
    for (uint64_t i = 0; i < EXTRA && rc == AW_SUCCESS; i++) {
        size_t n = rig_event(l->first + i, NULL, json, sizeof json);
        rc = aw_log_json(logger, json, n, NULL);
        if (rc == AW_SUCCESS)
            keep(l->acked, l->first + i);
    }
    if (rc == AW_SUCCESS)
        rc = aw_flush(logger, 60000);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "in the last life: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    if (!sinks_are_done(logger, why, size))
        return false;
    rc = aw_close(logger, 60000);
    if (rc != AW_SUCCESS) {
        (void)snprintf(why, size, "the last close: %s: %s", aw_error_name(rc), rig_problems());
        return false;
    }
    *l->extra = l->acked->count;
    return flaky_has_all(l->rig, l->acked, why, size) &&
           oracle_judge(l->rig->file, l->rig->sqlite, l->acked->numbers, l->acked->count, why, size);
}

struct setup {
    const char *name, *durability, *top, *journal;
    unsigned lives, lives_long;
};

static void prepare(struct rig *rig, const struct setup *setup)
{
    static const char pace[] = "batch = { flush_interval = \"2ms\"; }; retry = { base = \"1ms\"; cap = \"4ms\"; }; "
                               "breaker = { threshold = 50; cooldown = \"5ms\"; };";
    char sinks[2900], top[1000], dir[300], path[340];
    const char *build = getenv("top_builddir");
    (void)snprintf(dir, sizeof dir, "%s/%s", harness_tmpdir(), setup->name);
    (void)snprintf(sinks, sizeof sinks,
                   "{ plugin = \"file\"; name = \"trail\"; path = \"%s/audit.jsonl\"; %s },\n"
                   "{ plugin = \"sqlite\"; name = \"db\"; path = \"%s/audit.db\"; %s },\n"
                   "{ plugin = \"puppet\"; name = \"flaky\"; path = \"%s/received\"; orders = \"%s/orders\"; %s }",
                   dir, pace, dir, pace, dir, dir, pace);
    (void)snprintf(top, sizeof top, "plugin_path = \"%s/tests/plugins/.libs\";\n%s", build ? build : ".",
                   setup->top ? setup->top : "");
    rig_init(
        rig, harness_tmpdir(), setup->name,
        &(struct rig_options){.durability = setup->durability, .top = top, .sinks = sinks, .journal = setup->journal});
    (void)snprintf(path, sizeof path, "%s/orders", dir);
    FILE *f = fopen(path, "we");
    CU_ASSERT_FATAL(f && fputs("flap\n", f) > 0 && fclose(f) == 0);
}

static void crash(const struct setup *setup)
{
    struct rig rig;
    struct acked acked = {NULL, 0, 0};
    uint64_t seed = harness_seed(), random = seed ^ (uint64_t)setup->name[0];
    unsigned lives = getenv("FAULT_LONG") ? setup->lives_long : setup->lives;
    char why[1100];
    unsigned killed = 0;
    double begin = seconds();
    uint64_t *extra = rig_shared(sizeof *extra);
    CU_ASSERT_PTR_NOT_NULL_FATAL(extra);
    prepare(&rig, setup);
    for (uint64_t life = 1; life <= lives; life++)
        killed += one_life(&rig, life, *setup->durability == 'p', &random, &acked);
    CU_ASSERT_EQUAL(killed, lives);
    size_t before = acked.count;
    struct last last = {&rig, &acked, extra, (uint64_t)(lives + 1) << 40};
    bool good = rig_in_child(last_life, &last, 150, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT(good);
    CU_ASSERT(before > lives); /* the load was real */
    if (good)
        CU_ASSERT_EQUAL(*extra, before + EXTRA);
    harness_note("fault kill_%s: tried=%u lost=%u unexplained=0 seed=%" PRIu64 ", %zu events acknowledged, %.1f s",
                 setup->name, killed, good ? 0 : 1, seed, before, seconds() - begin);
    rig_unshare(extra, sizeof *extra);
    free(acked.numbers);
    if (good || !getenv("CRASH_KEEP"))
        rig_remove(&rig);
}

#define BLOCK "mode = \"block\"; queue = { timeout = \"30s\"; };"

static void test_process(void)
{
    crash(&(struct setup){"process", "process", NULL, NULL, 50, 400});
}

static void test_disk(void)
{
    crash(&(struct setup){"disk", "disk", NULL, NULL, 25, 200});
}

static void test_block_required(void)
{
    crash(&(struct setup){"block", "process", BLOCK, NULL, 15, 150});
}

static void test_block_quorum(void)
{
    crash(&(struct setup){"quorum", "process", BLOCK " fanout = \"quorum\"; quorum = 2;", NULL, 15, 150});
}

static void test_drop(void) /* with room enough, so that every event is taken */
{
    crash(&(struct setup){"drop", "process", "mode = \"drop\";", "segment_size = \"256KiB\"; ring_size = \"16MiB\";",
                          15, 150});
}

static void test_actions(void)
{
    crash(&(struct setup){"actions", "process", "actions = ( { match = \"document.*\"; durability = \"disk\"; } );",
                          NULL, 10, 100});
}

HARNESS_MAIN("crash", {"kill -9, durability = \"process\"", test_process},
             {"kill -9, durability = \"disk\"", test_disk}, {"kill -9, mode = \"block\"", test_block_required},
             {"kill -9, mode = \"block\", quorum", test_block_quorum}, {"kill -9, mode = \"drop\"", test_drop},
             {"kill -9, rules per action", test_actions})
