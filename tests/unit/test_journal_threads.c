/* test_journal_threads.c - many appenders, readers and syncers at once; forks; idleness.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "journal_support.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char dir[400];
static struct journal *journal;
static struct journal_options options;

static bool fresh(const char *name)
{
    snprintf(dir, sizeof dir, "%s", support_path(name));
    options = support_options(dir);
    options.sync_interval_ns = 20000000;
    journal = support_open(&options);
    return journal != NULL;
}

struct job {
    pthread_t thread;
    unsigned id;
    uint64_t count, bad, sum;
};

static void *produce(void *arg)
{
    struct job *job = arg;
    char tenant[16];
    uint64_t previous = 0;
    for (uint64_t i = 0; i < job->count; i++) {
        struct journal_receipt r;
        snprintf(tenant, sizeof tenant, "t%u", (unsigned)((job->id + i) % 11));
        if (journal_append(journal, support_event(tenant, job->id * 1000000u + i, (size_t)(i % 500)), UINT64_MAX, &r) !=
                0 ||
            r.seq <= previous) {
            job->bad++;
            break;
        }
        previous = r.seq;
        job->sum += r.seq;
    }
    return NULL;
}

static void *consume(void *arg)
{
    struct job *job = arg;
    struct journal_cursor *c = NULL;
    struct record_view v[64];
    char name[16];
    snprintf(name, sizeof name, "reader%u", job->id);
    if (journal_cursor_open(journal, name, JOURNAL_FROM_STORED, &c) != 0) {
        job->bad++;
        return NULL;
    }
    uint64_t expected = 1;
    while (expected <= job->count) {
        size_t n;
        if (journal_cursor_read(c, v, 64, 1 << 16, &n) != 0) {
            job->bad++;
            break;
        }
        for (size_t i = 0; i < n; i++) {
            job->bad += v[i].head->seq != expected++;
            job->sum += v[i].head->seq;
        }
        if (n > 0)
            job->bad += journal_cursor_ack(c, v[n - 1].head->seq) != 0;
        else
            (void)journal_cursor_wait(c, clock_mono_ns() + 1000000000u);
    }
    journal_cursor_close(c);
    return NULL;
}

static void test_producers_and_readers(void)
{
    enum { P = 8, R = 3 };
    const uint64_t each = harness_slow() ? 3000 : 20000, total = each * P;
    CU_ASSERT_FATAL(fresh("mixed"));
    struct job producers[P] = {{.id = 0}}, readers[R] = {{.id = 0}};
    for (unsigned i = 0; i < R; i++) {
        readers[i] = (struct job){.id = i, .count = total};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&readers[i].thread, NULL, consume, &readers[i]), 0);
    }
    for (unsigned i = 0; i < P; i++) {
        producers[i] = (struct job){.id = i, .count = each};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    uint64_t bad = 0, sum = 0;
    for (unsigned i = 0; i < P; i++) {
        pthread_join(producers[i].thread, NULL);
        bad += producers[i].bad;
        sum += producers[i].sum;
    }
    CU_ASSERT_EQUAL(sum, total * (total + 1) / 2); /* every number once */
    for (unsigned i = 0; i < R; i++) {
        pthread_join(readers[i].thread, NULL);
        bad += readers[i].bad;
        CU_ASSERT_EQUAL(readers[i].sum, total * (total + 1) / 2);
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_EQUAL(journal_head(journal), total);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
    journal = support_open(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(journal);
    CU_ASSERT_EQUAL(journal_head(journal), total);
    struct support_read r = support_read_all(journal, "late", false);
    uint64_t oldest = journal_oldest(journal); /* from its opening on, the new reader holds trimming up */
    CU_ASSERT_EQUAL(r.count, total - oldest + 1);
    CU_ASSERT_EQUAL(r.bad_chain + r.bad_hash + r.missing, 0);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

static void *produce_durably(void *arg)
{
    struct job *job = arg;
    for (uint64_t i = 0; i < job->count; i++) {
        struct journal_receipt r;
        if (journal_append(journal, support_event("t", i, 50), UINT64_MAX, &r) != 0 ||
            journal_sync(journal, r.seq) != 0 || journal_durable(journal) < r.seq)
            job->bad++;
    }
    return NULL;
}

static _Atomic uint64_t syncs, wakers;
static _Atomic bool quick;
int fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return atomic_load(&quick) ? 0 : fsync(fd);
}
/* One of those who wake many others gets no processor until several syncs later: by order of events, not of time; the
 * limit is for when all others wait for it. */
long syscall(long number, ...)
{
    static long (*_Atomic real)(long, long, long, long, long, long, long);
    if (!real) {
        long (*found)(long, long, long, long, long, long, long);
        *(void **)&found = dlsym(RTLD_NEXT, "syscall");
        real = found;
    }
    va_list ap;
    long a[6];
    va_start(ap, number);
    for (size_t i = 0; i < AW_ARRAY_LEN(a); i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE && (int)a[2] == INT32_MAX && atomic_load(&quick)) {
        uint64_t n = atomic_fetch_add(&wakers, 1), wanted = atomic_load(&syncs) + n % 4;
        uint64_t until = clock_mono_ns() + 1000000;
        while (atomic_load(&syncs) < wanted && clock_mono_ns() < until)
            sched_yield();
        for (uint64_t i = 0; i < n % 13; i++)
            sched_yield();
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void test_group_commit(void)
{
    enum { N = 16 };
    CU_ASSERT_FATAL(fresh("group"));
    struct job jobs[N] = {{.id = 0}};
    atomic_store(&syncs, 0);
    for (unsigned i = 0; i < N; i++) {
        jobs[i] = (struct job){.id = i, .count = 40};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&jobs[i].thread, NULL, produce_durably, &jobs[i]), 0);
    }
    uint64_t bad = 0;
    for (unsigned i = 0; i < N; i++) {
        pthread_join(jobs[i].thread, NULL);
        bad += jobs[i].bad;
    }
    CU_ASSERT_EQUAL(bad, 0);
    harness_note("%d events made durable one by one by %d threads: %" PRIu64 " calls of fdatasync", N * 40, N,
                 atomic_load(&syncs));
    CU_ASSERT(atomic_load(&syncs) < N * 40 / 2); /* shared */
    CU_ASSERT_EQUAL(journal_durable(journal), N * 40);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

/* However late somebody is woken, nobody sleeps for ever, and whoever wants all of it synced gets his turn. */
static void late_wakers(unsigned threads, uint64_t count)
{
    struct job jobs[24] = {{.id = 0}};
    char name[20];
    snprintf(name, sizeof name, "late%u", threads);
    CU_ASSERT_FATAL(threads <= AW_ARRAY_LEN(jobs) && fresh(name));
    atomic_store(&quick, true);
    alarm(120); /* ends the program */
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct job){.id = i, .count = count};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&jobs[i].thread, NULL, produce_durably, &jobs[i]), 0);
    }
    uint64_t bad = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(jobs[i].thread, NULL);
        bad += jobs[i].bad;
    }
    alarm(0);
    atomic_store(&quick, false);
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_EQUAL(journal_durable(journal), threads * count);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

static void test_late_wakers(void)
{
    for (unsigned threads = 2; threads <= 6; threads++)
        late_wakers(threads, 600);
    late_wakers(24, 100);
}

static void test_fork(void)
{
    CU_ASSERT_FATAL(fresh("fork"));
    struct journal_cursor *c = NULL;
    CU_ASSERT_EQUAL(journal_cursor_open(journal, "a", 0, &c), 0);
    support_fill(journal, 1, 10, 1, 10);
    pid_t pid = fork();
    if (pid == 0) {
        struct journal_receipt r;
        struct record_view v;
        size_t n;
        int bad = journal_append(journal, support_event("t0", 1, 1), 0, &r) != -EPERM;
        bad |= (journal_sync(journal, 1) != -EPERM) << 1;
        bad |= (journal_cursor_read(c, &v, 1, 100, &n) != -EPERM) << 2;
        bad |= (journal_cursor_ack(c, 1) != -EPERM) << 3;
        bad |= (journal_cursor_wait(c, 0) != -EPERM) << 4;
        journal_wake(journal);
        journal_cursor_close(c);
        bad |= (journal_close(journal) != 0) << 5;
        struct journal *second = NULL;
        bad |= (journal_open(&options, &second) != -EWOULDBLOCK) << 6; /* still the parent's */
        harness_end_child(bad);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    support_fill(journal, 11, 10, 1, 10); /* the parent goes on as if nothing had been */
    CU_ASSERT_EQUAL(journal_sync(journal, 20), 0);
    journal_cursor_close(c);
    struct support_read r = support_read_all(journal, "b", false);
    CU_ASSERT(r.count == 20 && r.bad_chain == 0);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

static void test_second_opener(void)
{
    CU_ASSERT_FATAL(fresh("second"));
    struct journal *other = NULL;
    char text[100];
    snprintf(text, sizeof text, "in use by process %ld;", (long)getpid());
    diag_reset();
    CU_ASSERT_EQUAL(journal_open(&options, &other), -EWOULDBLOCK);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_problems(), text));
    pid_t pid = fork();
    if (pid == 0) {
        diag_reset();
        int rc = journal_open(&options, &other);
        harness_end_child(rc == -EWOULDBLOCK && strstr(support_problems(), text) ? 0 : 1);
    }
    int status = 1;
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
    journal = support_open(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(journal);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

static uint64_t cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

static long switches(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_nvcsw + u.ru_nivcsw;
}

static void test_idle(void)
{
    CU_ASSERT_FATAL(fresh("idle"));
    support_fill(journal, 1, 100, 1, 10);
    CU_ASSERT_EQUAL(journal_sync(journal, 100), 0);
    clock_sleep_ns(
        400000000); /* the naps run out; this is the time the design gives them, not a guess about progress */
    uint64_t cpu = cpu_ns();
    long before = switches();
    clock_sleep_ns(500000000);
    CU_ASSERT(switches() - before <= 10);
    CU_ASSERT(cpu_ns() - cpu < 5000000);
    support_fill(journal, 101, 1, 1, 10); /* and it wakes up */
    struct support_read r = support_read_all(journal, "a", false);
    CU_ASSERT_EQUAL(r.count, 101);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

static _Atomic int caught;
static void on_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&caught, 1);
}

/* The library's threads take no signals of the application. */
static void test_signals(void)
{
    CU_ASSERT_FATAL(fresh("signals"));
    struct sigaction act = {.sa_handler = on_signal}, before;
    sigaction(SIGUSR1, &act, &before);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &old); /* now only the journal's threads could */
    kill(getpid(), SIGUSR1);
    clock_sleep_ns(50000000);
    CU_ASSERT_EQUAL(atomic_load(&caught), 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    CU_ASSERT_EQUAL(atomic_load(&caught), 1);
    sigaction(SIGUSR1, &before, NULL);
    CU_ASSERT_EQUAL(journal_close(journal), 0);
}

HARNESS_MAIN("journal_threads", {"8 producers, 3 readers", test_producers_and_readers},
             {"16 threads share syncs", test_group_commit}, {"late wakers", test_late_wakers},
             {"a forked child touches nothing", test_fork}, {"a second opener is told the pid", test_second_opener},
             {"idle costs nothing", test_idle}, {"signals are the application's", test_signals})
