/* slots.c - many processes with one configuration: each has a slot; forks; orphans are adopted. Through the public API.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "slots_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 4

/* ---- the tests ---- */

static void each_opener_has_a_slot(void)
{
    struct slots_rig r;
    struct aw_logger *other, *third;
    slots_configure(&r, "each", "slots = 2;", "");
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &other), AW_SUCCESS);
    CU_ASSERT_EQUAL(slots_open_with(&r, 0, &third), AW_ERR_BUSY);
    CU_ASSERT(slots_problem_says("raise journal.slots"));
    CU_ASSERT_EQUAL(slots_open_with(&r, AW_OPEN_FIRST_SLOT, &third), AW_ERR_BUSY);
    CU_ASSERT(slots_problem_says("in use by process"));
    CU_ASSERT_EQUAL(slots_log_many(r.logger, "a", 30), 0);
    CU_ASSERT_EQUAL(slots_log_many(other, "b", 20), 0);
    CU_ASSERT_EQUAL(aw_close(other, PATIENCE_MS), 0);
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    CU_ASSERT_EQUAL(slots_count_in(&r, 0, "\"stream\""), 0); /* the plain format */
    CU_ASSERT_EQUAL(slots_count_in(&r, 1, "\"stream\":1"), 20);
    slots_check_slot(&r, 0, 30);
    slots_check_slot(&r, 1, 20);
}

/* Streams that somebody put together stay apart: each has its own chains and seqs. */
static void verify_knows_streams(void)
{
    struct slots_rig r;
    struct aw_logger *other;
    char both[400], store[420];
    slots_configure(&r, "streams", "", "");
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &other), AW_SUCCESS);
    CU_ASSERT_EQUAL(slots_log_many(r.logger, "a", 10), 0);
    CU_ASSERT_EQUAL(slots_log_many(other, "b", 10), 0);
    CU_ASSERT_EQUAL(aw_close(other, PATIENCE_MS), 0);
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    char *a = slots_slurp(&r, "trail.jsonl"), *b = slots_slurp(&r, "trail.slot1.jsonl");
    snprintf(both, sizeof both, "%s/both.jsonl", r.dir);
    snprintf(store, sizeof store, "file:%s", both);
    /* merged line by line, as a shipper would; `without`: a line of stream 1 that is left out */
    for (int without = -1; without < 2; without++) {
        char *pa = a, *pb = b;
        FILE *f = fopen(both, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        for (int i = 0; i < 10; i++) {
            char *ea = strchr(pa, '\n') + 1, *eb = strchr(pb, '\n') + 1;
            fwrite(pa, 1, (size_t)(ea - pa), f);
            if (without < 0 || i != 4)
                fwrite(pb, 1, (size_t)(eb - pb), f);
            if (without == 1 && i == 4) { /* the same event, said to be of stream 0 */
                char line[2000], *stream;
                snprintf(line, sizeof line, "%.*s", (int)(eb - pb), pb);
                stream = strstr(line, ",\"stream\":1");
                CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
                memmove(stream, stream + 11, strlen(stream + 11) + 1);
                fputs(line, f);
            }
            pa = ea;
            pb = eb;
        }
        CU_ASSERT_EQUAL(fclose(f), 0);
        struct slots_report v = slots_verify(store);
        CU_ASSERT_EQUAL(v.verdict, without < 0 ? AW_VERDICT_GOOD : AW_VERDICT_FINDINGS);
        CU_ASSERT_EQUAL(v.streams, 3u);
        CU_ASSERT_EQUAL(v.first[0] != '\0', without >= 0);
        if (without >= 0)
            harness_note("%s", v.first);
    }
    free(a);
    free(b);
}

static struct aw_logger *shared;
static _Atomic bool stop_producing;
static _Atomic int produced;

static void *produce(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_producing)) {
        if (slots_log_one(shared, "p", atomic_fetch_add(&produced, 1)) != 0)
            atomic_store(&produced, -1000000);
        (void)usleep(200);
    }
    return NULL;
}

static void *produce_in_child(void *arg)
{
    return slots_log_many(shared, arg, 25) == 0 ? arg : NULL;
}

/* In the child: the first calls come from several threads at once. */
static void be_child(int n)
{
    static char names[4][20];
    pthread_t threads[4];
    bool good = true;
    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "c%d-%d", n, i);
        good = pthread_create(&threads[i], NULL, produce_in_child, names[i]) == 0 && good;
    }
    for (int i = 0; i < 4; i++) {
        void *ret = NULL;
        good = pthread_join(threads[i], &ret) == 0 && ret && good;
    }
    if (aw_close(shared, PATIENCE_MS) != 0) {
        slots_print_problems();
        good = false;
    }
    harness_end_child(good ? 0 : 1);
}

static void stop_producers(const pthread_t threads[2])
{
    atomic_store(&stop_producing, true);
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
}

static void forked_children_log(void)
{
    struct slots_rig r;
    pthread_t threads[2];
    pid_t pids[CHILDREN];
    slots_configure(&r, "forked", "", "");
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &shared), AW_SUCCESS);
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, produce, NULL), 0);
    if (HARNESS_FORKS_QUIETLY) {
        (void)usleep(100000);
        stop_producers(threads);
        CU_ASSERT_EQUAL(aw_flush(shared, PATIENCE_MS), 0);
        (void)usleep(300000);
    }
    for (int i = 0; i < CHILDREN; i++) {
        (void)usleep(2000);
        pids[i] = fork();
        if (pids[i] == 0)
            be_child(i);
    }
    for (int i = 0; i < CHILDREN; i++)
        CU_ASSERT_EQUAL(slots_ended(pids[i]), 0);
    if (!HARNESS_FORKS_QUIETLY)
        stop_producers(threads);
    CU_ASSERT_EQUAL(aw_close(shared, PATIENCE_MS), 0);
    CU_ASSERT(atomic_load(&produced) > 0);
    slots_check_slot(&r, 0, (uint64_t)atomic_load(&produced));
    /* each child's 100 events are in one slot, together; a slot that was given up may have been taken again */
    int total = 0;
    for (unsigned slot = 1; slot < SLOTS_SEEN; slot++) {
        int lines = slots_count_in(&r, slot, "\n");
        total += lines;
        if (lines > 0)
            slots_check_slot(&r, slot, (uint64_t)lines);
        for (int i = 0; i < CHILDREN; i++) {
            char who[20];
            snprintf(who, sizeof who, "\"c%d-", i);
            int n = slots_count_in(&r, slot, who);
            CU_ASSERT(n == 0 || n == 100);
        }
    }
    CU_ASSERT_EQUAL(total, CHILDREN * 100);
}

/* A parent that is killed: its child, which never logs, keeps nothing locked. */
static void a_silent_child_disturbs_nothing(void)
{
    struct slots_rig r;
    int ready[2];
    pid_t child = 0;
    slots_configure(&r, "silent", "", "");
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t parent = fork();
    if (parent == 0) {
        if (slots_open_with(&r, 0, &r.logger) != 0 || slots_log_many(r.logger, "a", 5) != 0 ||
            aw_flush(r.logger, PATIENCE_MS) != 0)
            harness_end_child(1);
        child = fork();
        if (child == 0)
            slots_wait_for_ever();
        if (slots_log_many(r.logger, "b", 5) != 0 || aw_flush(r.logger, PATIENCE_MS) != 0 ||
            write(ready[1], &child, sizeof child) != sizeof child)
            harness_end_child(1);
        slots_wait_for_ever();
    }
    (void)close(ready[1]);
    CU_ASSERT_EQUAL_FATAL(read(ready[0], &child, sizeof child), (ssize_t)sizeof child);
    CU_ASSERT_EQUAL(kill(parent, SIGKILL), 0);
    (void)slots_ended(parent);
    struct aw_metrics *m;
    struct aw_metrics_info info = {.struct_size = sizeof info, .running = 1};
    char journal[400];
    snprintf(journal, sizeof journal, "%s/journal", r.dir);
    CU_ASSERT_EQUAL_FATAL(aw_metrics_open_path(NULL, journal, &m), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_metrics_info(m, &info), AW_SUCCESS);
    CU_ASSERT_EQUAL(info.running, 0);
    aw_metrics_free(m);
    /* slot 0 is free, and so are its stores */
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, AW_OPEN_FIRST_SLOT, &r.logger), AW_SUCCESS);
    CU_ASSERT_EQUAL(slots_log_many(r.logger, "c", 5), 0);
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    slots_check_slot(&r, 0, 15);
    (void)close(ready[0]);
}

/* Events of a process that is gone: somebody who has another slot delivers them. */
static void orphans_are_adopted(unsigned orphan)
{
    struct slots_rig r;
    struct aw_logger *holder = NULL;
    int ready[2], go[2];
    char c = 0;
    slots_configure(&r, orphan ? "orphan1" : "orphan0", "", "");
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct aw_logger *gone;
        if (read(go[0], &c, 1) != 1 || slots_open_with(&r, AW_OPEN_NO_SINKS, &gone) != 0 ||
            slots_log_many(gone, "gone", 40) != 0 || write(ready[1], "x", 1) != 1)
            harness_end_child(1);
        slots_wait_for_ever();
    }
    (void)close(ready[1]);
    if (orphan)
        CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, AW_OPEN_NO_SINKS, &holder), 0); /* has slot 0, adopts nothing */
    CU_ASSERT_EQUAL_FATAL(write(go[1], "x", 1), 1);
    CU_ASSERT_EQUAL_FATAL(read(ready[0], &c, 1), 1);
    if (!orphan) { /* now that slot 0 has one that will be gone */
        CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
        CU_ASSERT_EQUAL(slots_log_many(r.logger, "here", 3), 0);
    }
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    (void)slots_ended(pid);
    if (orphan) {
        CU_ASSERT_EQUAL(aw_close(holder, PATIENCE_MS), 0);
        CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
    }
    slots_wait_for_lines(&r, orphan, "\"gone-", 40);
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    slots_check_slot(&r, orphan, 40);
    (void)close(ready[0]);
    (void)close(go[0]);
    (void)close(go[1]);
}

static void a_slot_that_was_left_is_adopted(void)
{
    orphans_are_adopted(1);
}

static void slot_0_is_adopted(void)
{
    orphans_are_adopted(0);
}

/* Closing while an adopted sink is down: the deadline holds, and the next process delivers. */
static void closing_gives_a_slot_up(void)
{
    struct slots_rig r;
    struct aw_logger *first, *second;
    char path[400];
    slots_configure(&r, "giveup", "", "");
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, AW_OPEN_NO_SINKS, &first), AW_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, AW_OPEN_NO_SINKS, &second), AW_SUCCESS);
    CU_ASSERT_EQUAL(slots_log_many(second, "left", 10), 0);
    CU_ASSERT_EQUAL(aw_close(second, 0), 0);
    CU_ASSERT_EQUAL(aw_close(first, 0), 0);
    snprintf(path, sizeof path, "%s/trail.slot1.jsonl", r.dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0); /* the store cannot be written */
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
    CU_ASSERT_EQUAL(slots_log_many(r.logger, "own", 3), 0);
    (void)usleep(100000);
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    CU_ASSERT_EQUAL(aw_close(r.logger, 1000), 0); /* its own events are delivered */
    clock_gettime(CLOCK_MONOTONIC, &t1);
    CU_ASSERT(t1.tv_sec - t0.tv_sec < 30);
    CU_ASSERT_EQUAL(rmdir(path), 0);
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
    slots_wait_for_lines(&r, 1, "\"left-", 10);
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    slots_check_slot(&r, 0, 3);
    slots_check_slot(&r, 1, 10);
}

static _Atomic unsigned warnings;

static void count_warnings(void *arg, int severity, const char *instance, const char *text)
{
    (void)arg;
    (void)instance;
    if (severity <= AW_LOG_WARNING && strstr(text, "slot 1"))
        atomic_fetch_add(&warnings, 1);
}

/* A slot that cannot be used: the next one will do. */
static void a_damaged_slot_stops_nobody(void)
{
    struct slots_rig r;
    struct aw_logger *second;
    char path[400];
    slots_configure(&r, "damaged", "", "");
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS);
    snprintf(path, sizeof path, "%s/journal/slots", r.dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/journal/slots/1", r.dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600); /* no directory */
    CU_ASSERT_FATAL(fd >= 0);
    (void)close(fd);
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = r.conf, .diag = count_warnings};
    CU_ASSERT_EQUAL_FATAL(aw_open(&o, &second), AW_SUCCESS);
    CU_ASSERT(atomic_load(&warnings) >= 1);
    CU_ASSERT_EQUAL(slots_log_many(second, "s", 7), 0);
    CU_ASSERT_EQUAL(aw_close(second, PATIENCE_MS), 0);
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    slots_check_slot(&r, 2, 7);
}

HARNESS_MAIN("slots", {"each opener has a slot", each_opener_has_a_slot},
             {"verify knows streams", verify_knows_streams}, {"forked children log", forked_children_log},
             {"a silent child disturbs nothing", a_silent_child_disturbs_nothing},
             {"a slot that was left is adopted", a_slot_that_was_left_is_adopted},
             {"slot 0 is adopted", slot_0_is_adopted}, {"closing gives a slot up", closing_gives_a_slot_up},
             {"a damaged slot stops nobody", a_damaged_slot_stops_nobody})
