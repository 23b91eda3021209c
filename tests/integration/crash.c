/* crash.c - kill -9 in the middle of a load, at random points, over one journal. SPDX-License-Identifier: Apache-2.0
 *
 * A child embeds the library with a file and a SQLite sink. Three of its threads log events that carry numbers of the
 * test's own, and write each number to a pipe when its event was acknowledged. The parent kills the child after a
 * random time or a random number of acknowledgements, and starts the next over the same journal, 50 times. Then one
 * child opens, logs a little, flushes and closes in good order, and every number that ever came through the pipe must
 * be in both stores exactly once, with dense seqs and chains that verify.
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

static bool sinks_are_done(struct aw_logger *logger, char *why, size_t size)
{
    struct aw_stats s = {.struct_size = sizeof s};
    if (aw_stats(logger, &s) != AW_SUCCESS || s.sinks != 2) {
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
    return oracle_judge(l->rig->file, l->rig->sqlite, l->acked->numbers, l->acked->count, why, size);
}

static void crash(const char *durability, unsigned lives)
{
    struct rig rig;
    struct acked acked = {NULL, 0, 0};
    uint64_t random = harness_seed() ^ (uint64_t)durability[0];
    char why[1100];
    unsigned killed = 0;
    double begin = seconds();
    uint64_t *extra = rig_shared(sizeof *extra);
    CU_ASSERT_PTR_NOT_NULL_FATAL(extra);
    rig_init(&rig, harness_tmpdir(), durability, &(struct rig_options){.durability = durability});
    for (uint64_t life = 1; life <= lives; life++)
        killed += one_life(&rig, life, *durability == 'p', &random, &acked);
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
    harness_note("durability = \"%s\": killed %u times, %zu events acknowledged, %.1f s", durability, killed, before,
                 seconds() - begin);
    rig_unshare(extra, sizeof *extra);
    free(acked.numbers);
    if (good || !getenv("CRASH_KEEP"))
        rig_remove(&rig);
}

static void test_process(void)
{
    crash("process", 50);
}

static void test_disk(void)
{
    crash("disk", 25);
}

HARNESS_MAIN("crash", {"kill -9 at 50 points, durability = \"process\"", test_process},
             {"kill -9 at 25 points, durability = \"disk\"", test_disk})
