/* test_exec_bad.c - the exec sink with programs that do not do as they should. SPDX-License-Identifier: Apache-2.0
 *
 * What must hold with every one of them: no event is said to be stored that is not, the call ends, no process stays.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_support.h"
#include "harness.h"
#include "minihost.h"

#define SOON "ack_timeout", "300ms", "grace", "300ms", "restart_delay", "1ms", "restart_delay_max", "5ms"
static const char *const soon[] = {SOON, NULL};
#define MANY 600

/* Delivers as a host does, until all events are acknowledged. Returns the calls that took, 0: too many. */
static int deliver(struct mh_instance *m, uint64_t from, uint64_t to)
{
    size_t n = (size_t)(to - from + 1), open = n;
    struct aw_event **e = calloc(n, sizeof *e), **batch = calloc(n, sizeof *batch);
    size_t *index = calloc(n, sizeof *index);
    uint8_t *status = calloc(n, 1);
    int calls = 0;
    for (size_t i = 0; i < n; i++)
        e[i] = mh_event(from + i);
    while (open > 0 && calls++ < 3000) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if (e[i] != NULL) {
                index[count] = i;
                batch[count++] = e[i];
            }
        int32_t r = mh_write_events(m, batch, count, 0, 0, status);
        CU_ASSERT_NOT_EQUAL(r, AW_E_CONFIG);
        for (size_t i = 0; i < count; i++)
            if (status[i] == AW_EVENT_DURABLE || status[i] == AW_EVENT_DUPLICATE) {
                mh_event_free(e[index[i]]);
                e[index[i]] = NULL;
                open--;
            }
        if (r != AW_OK)
            usleep(1000);
    }
    for (size_t i = 0; i < n; i++)
        mh_event_free(e[i]);
    free(e);
    free(batch);
    free(index);
    free(status);
    return open == 0 ? calls : 0;
}

static bool store_has(const char *path, uint64_t from, uint64_t to)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **e = calloc(n, sizeof *e);
    for (size_t i = 0; i < n; i++)
        e[i] = mh_event(from + i);
    bool ok = lines_intact(path, e, n) == n;
    for (size_t i = 0; i < n; i++)
        mh_event_free(e[i]);
    free(e);
    return ok;
}

static void test_dies(void)
{
    static const char *const modes[] = {"dies", "killed"};
    uint8_t status[50];
    for (size_t i = 0; i < 2; i++) {
        char *store = mh_path("store");
        struct mh_instance *m = peer(modes[i], store, "20", soon);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 1, 50, 0, status), AW_E_RETRY);
        CU_ASSERT_TRUE(mh_all(status, 20, AW_EVENT_DURABLE));
        CU_ASSERT_TRUE(mh_all(status + 20, 30, AW_EVENT_UNKNOWN));
        CU_ASSERT_PTR_NOT_NULL(
            strstr(m->error, i == 0 ? "ended with exit status 3; it said: that was enough" : "was ended by signal 9"));
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "30 events of the batch are open"));
        CU_ASSERT_TRUE(deliver(m, 51, 500) > 0);
        CU_ASSERT_TRUE(deliver(m, 21, 50) > 0);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_TRUE(store_has(store, 1, 500));
        CU_ASSERT_TRUE(mh_metric(m, "exec_starts_total") >= 25);
        mh_destroy(m);
        free(store);
    }
    CU_ASSERT_TRUE(no_children());
}

/* A program that ends as it should after every 20 events: one call does it all. */
static void test_ends(void)
{
    char *store = mh_path("store");
    struct mh_instance *m = peer("ends", store, "20", soon);
    uint8_t status[70];
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 70, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 70, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 4);
    CU_ASSERT_EQUAL(mh_write(m, 71, 80, 0, status), AW_OK);
    /* Between two batches. */
    CU_ASSERT_TRUE(wait_degraded(m));
    CU_ASSERT_EQUAL(mh_write(m, 81, 90, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 5);
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "exec_kills_total"), 0);
    mh_destroy(m);
    CU_ASSERT_TRUE(store_has(store, 1, 90));
    CU_ASSERT_TRUE(no_children());
    free(store);
}

/* It takes nothing, or takes and never answers, with and without an ear for SIGTERM. */
static void test_hangs(void)
{
    static const char *const modes[] = {"hangs", "hangs-stubborn", "deaf", "stubborn"};
    for (size_t i = 0; i < 4; i++) {
        struct mh_instance *m = peer(modes[i], "-", NULL, soon);
        static uint8_t status[5000];
        size_t n = i % 2 ? 3 : 5000; /* fits into the pipe, or does not */
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        uint64_t before = m->host.mono_ns();
        CU_ASSERT_EQUAL(mh_write(m, 1, n, 0, status), AW_E_TIMEOUT);
        CU_ASSERT_TRUE(m->host.mono_ns() - before >= 300000000u);
        CU_ASSERT_TRUE(mh_all(status, n, AW_EVENT_UNKNOWN));
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no answer for 0.3 s"));
        CU_ASSERT_TRUE(no_children());
        CU_ASSERT_EQUAL(mh_metric(m, "exec_kills_total"), 1);
        mh_destroy(m);
        /* And at stop(), with a fresh one. */
        m = peer(modes[i], "-", NULL, soon);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_TRUE(no_children());
        mh_destroy(m);
    }
}

static void test_floods(void)
{
    uint8_t status[10];
    struct mh_instance *m = peer("flood-out", "-", NULL, soon);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "other things than acknowledgements"));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "jack"));
    CU_ASSERT_TRUE(m->log_len < 3000);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
    m = peer("flood-err", "-", NULL, NULL);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "stderr: complaint 0 about event 1"));
    CU_ASSERT_TRUE(mh_logged(m, "lines of its standard error are left out"));
    CU_ASSERT_TRUE(m->log_len < 30000);
    CU_ASSERT_TRUE(mh_metric(m, "exec_stderr_lines_total") > 1000);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

static void test_mute(void)
{
    uint8_t status[MANY];
    struct mh_instance *m = peer("mute", "-", NULL, soon);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, MANY, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, MANY, AW_EVENT_UNKNOWN));
    CU_ASSERT_TRUE(no_children());
    mh_destroy(m);
    /* Closes its input, answers what it has, stays. A SIGPIPE would end this test. */
    char *store = mh_path("store");
    static uint8_t many[20000];
    m = peer("deaf-later", store, "30", soon);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 20000, 0, many), AW_E_RETRY);
    CU_ASSERT_TRUE(mh_all(many, 30, AW_EVENT_DURABLE));
    CU_ASSERT_TRUE(mh_all(many + 30, 20000 - 30, AW_EVENT_UNKNOWN));
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
    free(store);
}

static void test_wrong_answers(void)
{
    static const struct {
        const char *mode, *metric, *log;
        double each;
    } all[] = {{"garbage", "exec_malformed_lines_total", "a member stands twice", 8},
               {"huge", "exec_malformed_lines_total", "a line of more than 65536 bytes", 1},
               {"others", "exec_ignored_acks_total", "acknowledged twice", 3}};
    uint8_t status[40];
    for (size_t i = 0; i < 3; i++) {
        char *store = mh_path("store");
        struct mh_instance *m = peer(all[i].mode, store, NULL, NULL);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 1, 40, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 40, AW_EVENT_DURABLE));
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_EQUAL(mh_metric(m, all[i].metric), 40 * all[i].each);
        CU_ASSERT_TRUE(mh_logged(m, "acknowledgements and"));
        CU_ASSERT_TRUE(m->log_len < 2000);
        mh_destroy(m);
        CU_ASSERT_TRUE(store_has(store, 1, 40));
        free(store);
    }
    CU_ASSERT_TRUE(no_children());
}

/* The host's deadline passes within an event, and the program is only slow: it is kept, and no line is torn. */
static void test_deadline(void)
{
    char *store = mh_path("store");
    struct mh_instance *m = peer("slow", store, "10", NULL);
    struct aw_event *e[40];
    uint8_t status[40];
    size_t done = 0, partial = 0;
    for (uint64_t i = 0; i < 40; i++)
        e[i] = mh_event_sized(i + 1, 120000);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (int calls = 0; done < 40 && calls < 2000; calls++) {
        size_t before = done;
        int32_t r = mh_write_events(m, e + done, 40 - done, 0, m->host.mono_ns() + 30000000u, status);
        CU_ASSERT_TRUE(r == AW_OK || r == AW_E_TIMEOUT);
        while (done < 40 && status[done - before] == AW_EVENT_DURABLE)
            done++;
        partial += done < 40 && done > before;
    }
    CU_ASSERT_EQUAL(done, 40);
    CU_ASSERT_TRUE(partial > 0);
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 1);
    CU_ASSERT_EQUAL(mh_write(m, 41, 41, 0, status), AW_OK); /* what is still in the pipe is worked off before it */
    CU_ASSERT_EQUAL(kill_programs("slow", 0), 1);
    mh_destroy(m);
    struct aw_event *last[41];
    memcpy(last, e, sizeof e);
    last[40] = mh_event(41);
    CU_ASSERT_EQUAL(lines_intact(store, last, 41), 41);
    for (size_t i = 0; i < 41; i++)
        mh_event_free(last[i]);
    free(store);
}

/* A hung program is ended as well when the host's deadlines are shorter than its patience. */
static void test_deadline_and_hang(void)
{
    struct mh_instance *m = peer("hangs", "-", NULL, soon);
    struct aw_event *e = mh_event(1);
    uint8_t status = 0;
    int calls = 0;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    while (mh_metric(m, "exec_kills_total") == 0 && calls++ < 1000)
        CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, m->host.mono_ns() + 20000000u, &status), AW_E_TIMEOUT);
    CU_ASSERT_EQUAL(mh_metric(m, "exec_kills_total"), 1);
    CU_ASSERT_EQUAL(status, AW_EVENT_UNKNOWN);
    mh_event_free(e);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

static void test_crash_loop(void)
{
    struct mh_instance *m =
        peer("crash", "-", NULL, (const char *const[]){"restart_delay", "30s", "restart_delay_max", "1m", NULL});
    uint8_t status[3];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (int i = 0; i < 300; i++) {
        CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, status), AW_E_UNAVAILABLE);
        CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_UNKNOWN));
    }
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "ended with exit status 4; started 1 times in vain, again in"));
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    CU_ASSERT_EQUAL(h.last_error, AW_E_UNAVAILABLE);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_UNAVAILABLE); /* a new start() is no way around it, */
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 1);
    mh_destroy(m);
    /* The pauses grow. */
    m = peer("crash", "-", NULL, (const char *const[]){"restart_delay", "40ms", "restart_delay_max", "1m", NULL});
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    uint64_t before = m->host.mono_ns();
    while (mh_metric(m, "exec_starts_total") < 5 && m->host.mono_ns() - before < 30000000000u)
        CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(m->host.mono_ns() - before >= 4 * 40000000u + 320000000u); /* 40, 80, 160, 320 */
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 5);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

static void test_config_exit(void)
{
    struct mh_instance *m = peer("wrong", "-", NULL, soon);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "exit status 78; it said: no such setting: ?[31mfoo"));
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

/* What the program left running goes with it. */
static void test_tree(void)
{
    for (int how = 0; how < 2; how++) {
        char *file = mh_path("pids");
        struct mh_instance *m = peer("tree", file, NULL, soon);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
        char *text = mh_slurp(file, NULL);
        long pid = text != NULL ? strtol(text, NULL, 10) : 0;
        CU_ASSERT_TRUE(pid > 1 && kill((pid_t)pid, 0) == 0);
        if (how == 1) { /* by a program that dies */
            CU_ASSERT_EQUAL(kill_programs("tree", SIGKILL), 1);
            CU_ASSERT_TRUE(wait_degraded(m));
            CU_ASSERT_EQUAL(mh_write(m, 4, 4, 0, NULL), AW_OK);
        } else {
            CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        }
        CU_ASSERT_TRUE(pid > 1 && process_gone(pid));
        mh_destroy(m);
        free(text);
        free(file);
    }
    CU_ASSERT_TRUE(no_children());
}

/* The process that has the sink is killed: so is a program that listens to nothing. */
static void test_host_killed(void)
{
    char *file = mh_path("pid");
    int ready[2];
    char c = 0;
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t host = fork();
    if (host == 0) {
        struct mh_instance *m = peer("stubborn", "-", NULL, NULL);
        bool runs = mh_start(m) == AW_OK;
        for (int i = 0; i < 1000 && runs && kill_programs("stubborn", 0) != 1; i++)
            (void)usleep(20000); /* a busy machine: the program is about to be executed */
        if (runs && write(ready[1], "x", 1) == 1)
            (void)mh_write(m, 1, 1, 0, NULL); /* waits for an answer */
        _exit(1);
    }
    close(ready[1]);
    CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
    close(ready[0]);
    char command[100], line[64] = "";
    snprintf(command, sizeof command, "pgrep -P %ld", (long)host);
    FILE *f = popen(command, "r");
    CU_ASSERT_TRUE(f != NULL && fgets(line, sizeof line, f) != NULL);
    if (f != NULL)
        pclose(f);
    CU_ASSERT_EQUAL(kill(host, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(host, NULL, 0), host);
    long pid = strtol(line, NULL, 10);
    CU_ASSERT_TRUE(pid > 1 && process_gone(pid));
    free(file);
}

/* A forked child gives up what it has of the instance; the parent's program does not notice. */
static void test_fork(void)
{
    char *store = mh_path("store");
    struct mh_instance *m = peer("good", store, NULL, NULL);
    int status = 0;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    pid_t child = fork();
    if (child == 0) {
        bool ok = m->class->after_fork(m->sink) == AW_OK;
        m->class->destroy(m->sink);
        harness_end_child(ok && kill_programs("good", 0) == 0 ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, NULL), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(mh_file_is(store, 1, 20));
    free(store);
}

/* A host that has no use for its children's ends. */
static void test_sigchld_ignored(void)
{
    char *store = mh_path("store");
    signal(SIGCHLD, SIG_IGN);
    struct mh_instance *m = peer("dies", store, "20", soon);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_TRUE(deliver(m, 1, 100) > 0);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    mh_destroy(m);
    signal(SIGCHLD, SIG_DFL);
    CU_ASSERT_TRUE(no_children());
    CU_ASSERT_TRUE(store_has(store, 1, 100));
    free(store);
}

HARNESS_MAIN("sink_exec_bad", {"dies after some events", test_dies}, {"ends after some events", test_ends},
             {"hangs", test_hangs}, {"floods its outputs", test_floods}, {"closes its ends", test_mute},
             {"wrong answers", test_wrong_answers}, {"the deadline of a call", test_deadline},
             {"a hang, and short deadlines", test_deadline_and_hang}, {"crash loop", test_crash_loop},
             {"its configuration is wrong", test_config_exit}, {"descendants", test_tree},
             {"the host is killed", test_host_killed}, {"fork", test_fork},
             {"SIGCHLD is ignored", test_sigchld_ignored})
