/* oracle_test.c - the judges are judged: the oracle sees loss and duplicates, the injector hits the call it names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "oracle.h"
#include "rig.h"

static bool check(const uint64_t *stored, size_t n, const uint64_t *seqs, const uint64_t *acked, size_t acks, char *why)
{
    struct oracle_list l = {.count = 0};
    uint64_t copy[8];
    for (size_t i = 0; i < n; i++)
        CU_ASSERT(oracle_add(&l, stored[i], seqs[i]));
    memcpy(copy, acked, acks * sizeof copy[0]);
    bool good = oracle_check(copy, acks, &l, why, 500);
    oracle_free(&l);
    return good;
}

static void test_check(void)
{
    static const uint64_t three[] = {7, 8, 9}, twice[] = {7, 8, 7}, dense[] = {1, 2, 3}, hole[] = {1, 2, 4},
                          back[] = {1, 3, 2}, four[] = {9, 7, 8, 10};
    char why[500];
    CU_ASSERT(check(three, 3, dense, four, 3, why));
    CU_ASSERT(check(three, 3, dense, four, 1, why)); /* stored, not acknowledged: allowed */
    CU_ASSERT_FALSE(check(three, 3, dense, four, 4, why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "1 of 4 acknowledged events are missing (first a)"));
    CU_ASSERT_FALSE(check(twice, 3, dense, four, 0, why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "1 are there twice (first 7)"));
    CU_ASSERT_FALSE(check(three, 3, hole, four, 3, why));
    CU_ASSERT_FALSE(check(three, 3, back, four, 3, why));
    CU_ASSERT_FALSE(check(three, 0, dense, four, 1, why));
}

static bool read_text(const char *text, struct oracle_list *list, char *why)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/oracle.jsonl", harness_tmpdir());
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    (void)fputs(text, f);
    (void)fclose(f);
    return oracle_read_file(path, list, why, 500);
}

static void test_file(void)
{
    struct oracle_list l;
    char why[500];
    CU_ASSERT(read_text("{\"eventId\":\"ev-000000000000000a\",\"integrity\":{\"alg\":\"SHA-256\",\"seq\":12}}\n"
                        "{\"eventId\":\"ev-000000000000000b\",\"integrity\":{\"alg\":\"SHA-256\",\"seq\":13}}\n",
                        &l, why));
    CU_ASSERT_EQUAL(l.count, 2);
    CU_ASSERT(l.count == 2 && l.numbers[1] == 11 && l.seqs[1] == 13);
    oracle_free(&l);
    CU_ASSERT_FALSE(read_text("{\"eventId\":\"ev-000000000000000a\"", &l, why)); /* no end */
    oracle_free(&l);
    CU_ASSERT_FALSE(read_text("{\"eventId\":\"other\"}\n", &l, why));
    oracle_free(&l);
    CU_ASSERT_FALSE(read_text("{\"eventId\":\"ev-00000{\"eventId\":\"ev-000000000000000b\"}\n", &l, why)); /* glued */
    oracle_free(&l);
}

static void test_bytes(void)
{
    char where[600], why[500];
    struct oracle_list l;
    CU_ASSERT(read_text("{\"eventId\":\"ev-000000000000000a\",\"x\":\"needle-5d\"}\n", &l, why));
    oracle_free(&l);
    CU_ASSERT_EQUAL(oracle_find_bytes(harness_tmpdir(), "needle-5d", 9, where, sizeof where), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(where, "oracle.jsonl"));
    CU_ASSERT_EQUAL(oracle_find_bytes(harness_tmpdir(), "needle-5e", 9, where, sizeof where), 0);
    CU_ASSERT_EQUAL(oracle_find_bytes("/nonexistent-5e", "needle-5e", 9, where, sizeof where), -1);
}

static void test_inject(void)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/inject", harness_tmpdir());
    inject_arm(&(struct inject_plan){INJECT_OPEN, 2, false, EMFILE});
    int a = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), b = open(path, O_RDONLY | O_CLOEXEC);
    int e = errno, c = open(path, O_RDONLY | O_CLOEXEC);
    CU_ASSERT(a >= 0 && b == -1 && e == EMFILE && c >= 0);
    CU_ASSERT(inject_calls() == 3 && inject_failed() == 1);
    inject_arm(&(struct inject_plan){INJECT_WRITE, 1, true, ENOSPC});
    CU_ASSERT(write(a, "abcd", 4) == -1 && errno == ENOSPC);
    CU_ASSERT(pwrite(a, "abcd", 4, 0) == -1 && errno == ENOSPC);
    inject_arm(&(struct inject_plan){INJECT_WRITE, 1, false, 0});
    CU_ASSERT_EQUAL(write(a, "abcd", 4), 2);
    CU_ASSERT_EQUAL(write(a, "cd", 2), 2);
    inject_arm(&(struct inject_plan){INJECT_SYNC, 1, false, EIO});
    CU_ASSERT(fdatasync(a) == -1 && errno == EIO);
    CU_ASSERT_EQUAL(fdatasync(a), 0);
    inject_arm(&(struct inject_plan){INJECT_ALLOCATE, 1, false, ENOSPC});
    CU_ASSERT_EQUAL(posix_fallocate(a, 0, 4096), ENOSPC);
    CU_ASSERT_EQUAL(posix_fallocate(a, 0, 4096), 0);
    inject_arm(&(struct inject_plan){INJECT_MMAP, 1, false, ENOMEM});
    CU_ASSERT_PTR_EQUAL(mmap(NULL, 4096, PROT_READ, MAP_SHARED, a, 0), MAP_FAILED);
    inject_disarm();
    void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, a, 0);
    CU_ASSERT(p != MAP_FAILED && memcmp(p, "abcd", 4) == 0);
    (void)munmap(p, 4096);
    (void)close(a);
    (void)close(c);
}

/* The library's own calls meet the wrappers, and so do its plugins'. */
static bool reaches_library(void *arg, char *why, size_t size)
{
    const struct rig *rig = arg;
    struct aw_logger *logger;
    char json[600];
    for (int kind = 0; kind < INJECT_KINDS; kind++) {
        /* Renaming is for what happens now and then, such as rotation. */
        bool expected = kind != INJECT_RENAME && (kind != INJECT_MALLOC || inject_can_malloc());
        inject_arm(&(struct inject_plan){.kind = (enum inject_kind)kind, .nth = UINT64_MAX});
        if (rig_open(rig, 0, NULL, NULL, &logger) != AW_SUCCESS)
            return snprintf(why, size, "aw_open: %s", rig_problems()) < 0;
        size_t n = rig_event((uint64_t)kind + 1, NULL, json, sizeof json);
        (void)aw_log_json(logger, json, n, NULL);
        (void)aw_sync(logger, 10000);
        (void)aw_flush(logger, 10000);
        if (aw_close(logger, 10000) != AW_SUCCESS)
            return snprintf(why, size, "aw_close: %s", rig_problems()) < 0;
        inject_disarm();
        if (expected && !inject_calls())
            return snprintf(why, size, "no call of kind %s was seen", inject_names[kind]) < 0;
    }
    return true;
}

static void test_reach(void)
{
    struct rig rig;
    char why[1000];
    rig_init(&rig, harness_tmpdir(), "reach", NULL);
    bool good = rig_in_child(reaches_library, &rig, 60, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT(good);
}

static bool hang(void *arg, char *why, size_t size)
{
    (void)arg;
    (void)why;
    (void)size;
    while (pause())
        ;
    return true;
}

static bool crash(void *arg, char *why, size_t size)
{
    (void)arg;
    (void)why;
    (void)size;
    (void)kill(getpid(), SIGSEGV);
    return true;
}

static void test_children(void)
{
    char why[1000];
    CU_ASSERT_FALSE(rig_in_child(hang, NULL, 1, why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "hangs"));
    CU_ASSERT_FALSE(rig_in_child(crash, NULL, 10, why, sizeof why));
    CU_ASSERT(*why != '\0');
}

HARNESS_MAIN("oracle", {"sees missing and repeated events, holes and disorder", test_check},
             {"reads trails strictly", test_file}, {"finds bytes", test_bytes},
             {"the injector hits the call it names", test_inject},
             {"the injector reaches library and plugins", test_reach},
             {"hangs and crashes of children are failures", test_children})
