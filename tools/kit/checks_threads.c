/* checks_threads.c - checks of threads and of fork(). SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checks.h"

/* ---- a worker of the kit's: calls write() on a thread of its own ---- */

struct worker {
    pthread_t thread;
    struct kit_instance *i;
    struct kit_set *set;
    size_t batch;
    bool at_io; /* stops in the plugin's own I/O, not in the host's event functions */
    atomic_bool done;
};

static void *deliver(void *arg)
{
    struct worker *w = arg;
    if (w->at_io)
        inject_gate_arm();
    for (int n = 0; n < 100 && !kit_failed() && kit_deliver_once(w->i, w->set, w->batch, 0); n++)
        ;
    for (size_t k = 0; k < w->set->count && !kit_failed(); k++)
        EXPECT(w->set->event[k].settled == KIT_DONE || w->set->event[k].settled == KIT_REJECTED,
               "an event was not acknowledged on this thread: %s", kit_error(w->i));
    w->done = true;
    return NULL;
}

static bool worker_begin(struct worker *w)
{
    return EXPECT(pthread_create(&w->thread, NULL, deliver, w) == 0, "the kit cannot start a thread");
}

/* ---- health ---- */

static void *ask_health(void *arg)
{
    struct kit_instance *i = arg;
    struct aw_health h = {.struct_size = sizeof h};
    int32_t rc = kit_health(i, &h);
    EXPECT(rc == AW_OK, "health() returned %s", kit_code_name(rc) ? kit_code_name(rc) : "an unknown code");
    EXPECT(h.state == AW_HEALTH_OK || h.state == AW_HEALTH_DEGRADED || h.state == AW_HEALTH_DOWN,
           "health() gave the state %d", (int)h.state);
    EXPECT(memchr(h.detail, '\0', sizeof h.detail) != NULL, "health() gave a detail without NUL");
    return NULL;
}

/* On a thread of its own, with a time limit: the kit must not hang with it. */
static void health_returns(struct kit_instance *i, const char *when)
{
    pthread_t t;
    struct timespec until;
    if (!EXPECT(pthread_create(&t, NULL, ask_health, i) == 0, "the kit cannot start a thread"))
        return;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2 * (time_t)kit.patience;
    if (pthread_timedjoin_np(t, NULL, &until) != 0) {
        kit_finding("health() does not return %s", when);
        kit_report->done = 1;
        kit_exit(0); /* with a thread in the plugin there is no way to go on */
    }
}

static void slow_write(bool at_io)
{
    struct kit_set set = kit_events(5, KIT_PLAIN);
    struct kit_instance *i = kit_ready(0);
    struct worker w = {.i = i, .set = &set, .batch = 5, .at_io = at_io};
    if (!i)
        return;
    if (!at_io)
        kit_gate_close();
    if (!worker_begin(&w))
        return;
    bool held = false;
    for (int n = 0; n < 200 && !held && !w.done; n++)
        held = at_io ? inject_gate_reached(20) : kit_gate_wait(20);
    if (held)
        health_returns(i, at_io ? "while write() waits for the store" : "while write() is under way");
    else if (!at_io)
        kit_note("write() asks the host nothing of its events");
    inject_gate_open();
    kit_gate_open();
    (void)pthread_join(w.thread, NULL);
    health_returns(i, "after write()");
    kit_finish(i);
    kit_events_free(&set);
}

static void check_health(void)
{
    if (!kit_has_sink())
        return;
    if (!kit_class.health) {
        kit_not_applicable("there is no health(): the host reports what it sees");
        return;
    }
    struct kit_instance *i = kit_create(0, false, false);
    if (i)
        health_returns(i, "before start()");
    kit_destroy(i);
    if (i && !kit_failed())
        slow_write(false);
    if (i && !kit_failed())
        slow_write(true);
}

/* ---- who calls ---- */

static void *do_start(void *arg)
{
    (void)kit_start_ok(arg);
    return NULL;
}

static void *do_stop(void *arg)
{
    (void)kit_stop_ok(arg);
    return NULL;
}

static void on_thread(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    if (EXPECT(pthread_create(&t, NULL, fn, arg) == 0, "the kit cannot start a thread"))
        (void)pthread_join(t, NULL);
}

/* Each call on another thread, one at a time: the host promises no more. */
static void check_any_thread(void)
{
    if (!kit_has_sink())
        return;
    struct kit_instance *i = kit_create(0, false, false);
    for (int n = 0; i && n < 2 && !kit_failed(); n++) {
        struct kit_set set = kit_events(10, KIT_PLAIN);
        struct worker w = {.i = i, .set = &set, .batch = 3};
        on_thread(do_start, i);
        if (!kit_failed() && worker_begin(&w))
            (void)pthread_join(w.thread, NULL);
        if (!kit_failed())
            on_thread(do_stop, i);
        kit_events_free(&set);
    }
    kit_destroy(i);
}

/* As many calls at a time as the class's thread model allows. */
static void check_model(void)
{
    struct kit_instance *i[2] = {NULL, NULL};
    struct kit_set set[2];
    struct worker w[2];
    if (!kit_has_sink())
        return;
    if (kit_class.thread_model == AW_THREADS_SERIAL_PLUGIN) {
        kit_not_applicable("AW_THREADS_SERIAL_PLUGIN: the host calls one instance at a time");
        return;
    }
    bool shared = kit_class.thread_model == AW_THREADS_PARALLEL; /* both write to one instance */
    for (unsigned n = 0; n < 2; n++) {
        set[n] = kit_events(120, KIT_PLAIN);
        i[n] = shared && n == 1 ? i[0] : kit_ready(n);
        if (!i[n])
            return;
    }
    for (unsigned n = 0; n < 2; n++) {
        w[n] = (struct worker){.i = i[n], .set = &set[n], .batch = 7};
        if (!worker_begin(&w[n]))
            return;
    }
    while ((!w[0].done || !w[1].done) && !kit_failed() && kit_class.health)
        (void)ask_health(i[0]);
    for (unsigned n = 0; n < 2; n++)
        (void)pthread_join(w[n].thread, NULL);
    for (unsigned n = 0; n < 2 && !kit_failed(); n++)
        (void)kit_deliver(i[n], &set[n], 0);
    kit_finish(i[0]);
    if (!shared)
        kit_finish(i[1]);
    struct kit_stored s;
    for (unsigned n = 0; n < 2 && !kit_failed() && kit_class.durability != AW_DURABLE_NEVER && kit_can_read(); n++) {
        if (kit_read(shared ? 0 : n, &s))
            (void)kit_expect_stored(&s, &set[n], "two threads at once");
        kit_stored_free(&s);
    }
    kit_report->not_applicable[0] = '\0';
}

/* ---- threads of the plugin's own ---- */

static void *do_nothing(void *arg)
{
    return arg;
}

static bool signals_blocked(const char *tid)
{
    static const int asked[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1};
    char name[300], line[200];
    unsigned long long mask = 0;
    bool found = false;
    (void)snprintf(name, sizeof name, "/proc/self/task/%s/status", tid);
    FILE *f = fopen(name, "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "SigBlk: %llx", &mask) == 1;
    if (f)
        (void)fclose(f);
    if (!found)
        return true; /* it has ended meanwhile */
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        if ((mask >> (asked[i] - 1) & 1) == 0)
            return EXPECT(false,
                          "a thread of the plugin does not block signal %d (%s): the host's handlers would run on it",
                          asked[i], strsignal(asked[i]));
    return true;
}

static size_t look_at_threads(char (*known)[16], size_t known_count, bool ask)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        bool seen = e->d_name[0] == '.';
        for (size_t k = 0; ask && k < known_count; k++)
            seen = seen || strcmp(known[k], e->d_name) == 0;
        if (seen)
            continue;
        if (ask)
            (void)signals_blocked(e->d_name);
        else if (n < known_count)
            (void)snprintf(known[n], sizeof known[n], "%.15s", e->d_name);
        n++;
    }
    if (d)
        (void)closedir(d);
    return n;
}

static void check_own_threads(void)
{
    char known[16][16];
    if (!kit_has_sink())
        return;
    on_thread(do_nothing, NULL); /* a sanitizer has a thread of its own from the first one on */
    size_t before = look_at_threads(known, 16, false);
    struct kit_instance *i = kit_ready(0);
    struct kit_set set = kit_events(5, KIT_PLAIN);
    size_t own = 0;
    /* A thread begins with all signals blocked, and gets its mask when it first runs. */
    for (int n = 0; i && n < 20 && !kit_failed() && (n > 0 || kit_deliver(i, &set, 0)); n++) {
        own = look_at_threads(known, before, true);
        kit_nap(own > 0 ? 10 : 0);
    }
    if (i)
        kit_note("%zu threads of its own", own);
    if (i && kit_stop_ok(i)) {
        for (int n = 0; n < 100 && kit_count_threads() > before + 2; n++)
            kit_nap(10);
        EXPECT(kit_count_threads() <= before + 2, "%zu threads live on after stop()", kit_count_threads() - before - 2);
    }
    kit_destroy(i);
    kit_events_free(&set);
}

/* ---- fork ---- */

struct forked {
    struct kit_instance *i;
    bool destroy;
    int ready, leave; /* descriptors */
};

static void child(void *arg)
{
    struct forked *f = arg;
    char c = 1;
    int32_t rc = kit_after_fork(f->i);
    EXPECT(rc == AW_OK, "after_fork() returned %s", kit_code_name(rc));
    if (f->destroy) {
        kit_doing("destroy() in a forked child");
        kit_class.destroy(kit_sink_of(f->i));
    }
    if (write(f->ready, &c, 1) != 1 || (f->leave >= 0 && read(f->leave, &c, 1) < 0))
        kit_exit(1);
    kit_exit(0);
}

/* fork() while a thread is in write(), as nothing stops an application from doing. */
static void check_fork_busy(void)
{
    struct kit_set set = kit_events(10, KIT_PLAIN);
    int ready[2], status = 0;
    struct kit_instance *i = kit_begin();
    if (!i || pipe(ready) != 0)
        return;
    for (int at_io = 0; at_io < 2 && !kit_failed(); at_io++) {
        struct worker w = {.i = i, .set = &set, .batch = 5, .at_io = at_io};
        kit_events_reopen(&set);
        for (size_t n = 0; n < set.count; n++)
            set.event[n].sent = at_io;
        if (!at_io)
            kit_gate_close();
        if (!worker_begin(&w))
            return;
        for (int n = 0; n < 100 && !w.done; n++)
            if (at_io ? inject_gate_reached(20) : kit_gate_wait(20))
                break;
        struct forked f = {i, true, ready[1], -1};
        status = kit_in_child("after_fork() or destroy() in a child that was forked during write()", 10, child, &f);
        EXPECT(status <= 0, "the child that was forked during write() died: after_fork() or destroy(), wait status %d",
               status);
        inject_gate_open();
        kit_gate_open();
        (void)pthread_join(w.thread, NULL);
    }
    if (!kit_failed())
        (void)kit_deliver(i, &set, 0); /* the parent goes on */
    kit_finish(i);
    kit_events_free(&set);
}

/* The child lives on; nothing of the store stays locked by it when the parent has stopped. */
static void check_fork_locks(void)
{
    int ready[2], leave[2];
    char c;
    struct kit_set set = kit_events(10, KIT_PLAIN);
    struct kit_instance *i = kit_begin();
    if (!i || pipe(ready) != 0 || pipe(leave) != 0)
        return;
    (void)kit_deliver_once(i, &set, 5, 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct forked f = {i, false, ready[1], leave[0]};
        (void)close(leave[1]);
        child(&f);
    }
    (void)close(ready[1]);
    EXPECT(pid > 0 && read(ready[0], &c, 1) == 1, "after_fork() did not return");
    (void)kit_stop_ok(i);
    kit_destroy(i);
    i = kit_failed() ? NULL : kit_create(0, false, false);
    if (i) {
        int32_t rc = kit_start(i);
        if (EXPECT(rc == AW_OK, "start() of a new instance returned %s while a forked child lives: %s",
                   kit_code_name(rc), kit_error(i)))
            (void)kit_deliver(i, &set, 0);
    }
    kit_finish(i);
    (void)close(leave[1]);
    kit_events_free(&set);
}

/* A worker process makes an instance of its own, as in a server that forks. */
static void live_in_child(void *arg)
{
    struct kit_instance *old = arg;
    (void)kit_after_fork(old);
    struct kit_instance *i = kit_ready(1);
    struct kit_set set = kit_events(5, KIT_PLAIN);
    if (i)
        (void)kit_deliver(i, &set, 0);
    kit_finish(i);
    kit_events_free(&set);
}

static void check_fork_worker(void)
{
    struct kit_instance *i = kit_begin();
    struct kit_set set = kit_events(10, KIT_PLAIN);
    if (!i)
        return;
    (void)kit_deliver_once(i, &set, 5, 0);
    int status = kit_in_child("a forked worker with an instance of its own", 20, live_in_child, i);
    EXPECT(status <= 0, "a forked worker with an instance of its own died: wait status %d", status);
    if (!kit_failed())
        (void)kit_deliver(i, &set, 0);
    kit_finish(i);
    kit_events_free(&set);
}

const struct kit_check checks_threads[] = {
    {"health", "health() returns at once, on any thread, while write() is under way",
     "health() copies a few members under a lock that is never held over I/O or a call of the host", check_health, 60,
     false},
    {"any-thread", "start, write and stop may be on different threads",
     "no thread-local state; no lock kept over a call", check_any_thread, 60, false},
    {"thread-model", "as many calls at a time as the thread model allows",
     "guard what instances share, or declare AW_THREADS_SERIAL_PLUGIN", check_model, 90, false},
    {"own-threads", "the plugin's own threads block all signals and end with stop()",
     "pthread_sigmask() around pthread_create(); join in stop()", check_own_threads, 30, false},
    {"fork-busy", "after_fork() and destroy() work in a child that was forked during write()",
     "after_fork() takes no locks: it makes them anew, and closes descriptors", check_fork_busy, 60, false},
    {"fork-locks", "a forked child keeps nothing locked",
     "after_fork() closes the descriptors that came from the parent", check_fork_locks, 60, false},
    {"fork-worker", "a forked worker can have an instance of its own",
     "no state of the process that a fork makes wrong", check_fork_worker, 60, false},
    {NULL, NULL, NULL, NULL, 0, false},
};
