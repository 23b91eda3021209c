/* slots_killed.c - kill -9 of one among several processes, again and again. SPDX-License-Identifier: Apache-2.0 */
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

/* ---- kill -9 among several ---- */

#define LIVES 24
#define WORKERS 3
#define EVENTS_MAX 20000

/* Shared with the workers: how many events of each life were accepted. */
static _Atomic unsigned *accepted;

static pid_t start_worker(const struct slots_rig *r, int life)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct aw_logger *logger;
    char name[20];
    snprintf(name, sizeof name, "k%d", life);
    if (slots_open_with(r, 0, &logger) != 0)
        harness_end_child(1);
    for (int i = 0; i < EVENTS_MAX && slots_log_one(logger, name, i) == 0; i++) {
        atomic_store(&accepted[life], (unsigned)i + 1);
        (void)usleep(100);
    }
    slots_wait_for_ever();
    return 0;
}

/* How often each event of each life is in the files of all slots. */
static void count_all(const struct slots_rig *r, unsigned char (*seen)[EVENTS_MAX])
{
    memset(seen, 0, LIVES * sizeof *seen);
    for (unsigned slot = 0; slot < SLOTS_SEEN; slot++) {
        char name[40] = "trail.jsonl";
        if (slot)
            snprintf(name, sizeof name, "trail.slot%u.jsonl", slot);
        char *text = slots_slurp(r, name);
        for (const char *p = text; p && (p = strstr(p, "\"eventId\":\"k")) != NULL; p++) {
            unsigned life, n;
            if (sscanf(p, "\"eventId\":\"k%u-%u", &life, &n) == 2 && life < LIVES && n < EVENTS_MAX)
                seen[life][n]++;
        }
        free(text);
    }
}

static unsigned long long count_missing(unsigned char (*seen)[EVENTS_MAX])
{
    unsigned long long missing = 0;
    for (int life = 0; life < LIVES; life++)
        for (unsigned n = 0; n < atomic_load(&accepted[life]); n++)
            missing += seen[life][n] == 0;
    return missing;
}

static void killed_among_several(void)
{
    struct slots_rig r;
    pid_t pids[WORKERS];
    int lives[WORKERS];
    unsigned char(*seen)[EVENTS_MAX] = calloc(LIVES, sizeof *seen);
    unsigned long long owed = 0, missing = 1, twice = 0;
    uint64_t seed = harness_seed();
    int life = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(seen);
    accepted = mmap(NULL, LIVES * sizeof *accepted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(accepted != MAP_FAILED);
    slots_configure(&r, "killed", "", "");
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start_worker(&r, lives[i] = life++);
    while (life < LIVES) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        (void)usleep(5000 + (useconds_t)(seed >> 40) % 40000);
        int i = (int)(seed >> 33) % WORKERS;
        for (int ms = 0; seed >> 63 && ms < 10000 && atomic_load(&accepted[lives[i]]) == 0; ms++)
            (void)usleep(1000); /* half of them are killed while they log, however slow the machine is */
        CU_ASSERT_EQUAL(kill(pids[i], SIGKILL), 0);
        (void)slots_ended(pids[i]);
        pids[i] = start_worker(&r, lives[i] = life++);
    }
    (void)usleep(20000);
    for (int i = 0; i < WORKERS; i++) {
        CU_ASSERT_EQUAL(kill(pids[i], SIGKILL), 0);
        (void)slots_ended(pids[i]);
    }
    CU_ASSERT_EQUAL_FATAL(slots_open_with(&r, 0, &r.logger), AW_SUCCESS); /* has slot 0, adopts the others */
    for (int i = 0; i < PATIENCE_MS / 100 && missing > 0; i++) {
        (void)usleep(100000);
        count_all(&r, seen);
        missing = count_missing(seen);
    }
    CU_ASSERT_EQUAL(aw_close(r.logger, PATIENCE_MS), 0);
    count_all(&r, seen);
    for (int l = 0; l < LIVES; l++) {
        owed += atomic_load(&accepted[l]);
        for (unsigned n = 0; n < EVENTS_MAX; n++)
            twice += seen[l][n] > 1;
    }
    harness_note("fault slots: tried=%llu lost=%llu unexplained=%llu seed=%llu", owed, count_missing(seen), twice,
                 (unsigned long long)harness_seed());
    CU_ASSERT(owed > 0);
    CU_ASSERT_EQUAL(count_missing(seen), 0);
    CU_ASSERT_EQUAL(twice, 0);
    for (unsigned slot = 0; slot < SLOTS_SEEN; slot++) {
        int lines = slots_count_in(&r, slot, "\n");
        if (lines > 0) /* else nobody got so far there */
            slots_check_slot(&r, slot, (uint64_t)lines);
    }
    CU_ASSERT_EQUAL(munmap((void *)accepted, LIVES * sizeof *accepted), 0);
    free(seen);
}

HARNESS_MAIN("slots killed", {"kill -9 among several", killed_among_several})
