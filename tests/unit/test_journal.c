/* test_journal.c - append, sync, restart, quota, trimming, locks, forks. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "journal_support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char dir[400];

static struct journal_options fresh(const char *name)
{
    snprintf(dir, sizeof dir, "%s", support_path(name));
    return support_options(dir);
}

static void test_append_and_read(void)
{
    struct journal_options o = fresh("append");
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(journal_head(j), 0);
    CU_ASSERT_EQUAL(journal_oldest(j), 1);
    CU_ASSERT_EQUAL(support_fill(j, 1, 5000, 7, 300), 5000);
    CU_ASSERT_EQUAL(journal_head(j), 5000);
    struct support_read r = support_read_all(j, "a", false);
    CU_ASSERT_EQUAL(r.count, 5000);
    CU_ASSERT_EQUAL(r.first, 1);
    CU_ASSERT_EQUAL(r.missing + r.bad_chain + r.bad_hash + r.bad_calls, 0);
    CU_ASSERT_EQUAL(journal_sync(j, 5000), 0);
    CU_ASSERT_EQUAL(journal_durable(j), 5000);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT_EQUAL(support_diag_count, 0);
}

static void test_restarts(void)
{
    struct journal_options o = fresh("restarts");
    uint64_t next = 1;
    for (int round = 0; round < 30; round++) {
        struct journal *j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        CU_ASSERT_EQUAL(journal_head(j), next - 1);
        CU_ASSERT_STRING_EQUAL(support_problems(), "");
        uint64_t n = round % 3 == 2 ? 0 : 50 + (uint64_t)round;
        if (n > 0)
            CU_ASSERT_EQUAL(support_fill(j, next, n, 5, 100), next + n - 1);
        next += n;
        CU_ASSERT_EQUAL(journal_close(j), 0);
    }
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct support_read r = support_read_all(j, "a", false);
    CU_ASSERT_EQUAL(r.count, next - 1);
    CU_ASSERT_EQUAL(r.missing + r.bad_chain + r.bad_hash, 0);
    CU_ASSERT_EQUAL(journal_durable(j), next - 1);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

HARNESS_MAIN("journal", {"appends and reads back", test_append_and_read}, {"continues over restarts", test_restarts})
