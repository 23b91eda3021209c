/* test_journal.c - append, sync, restart, quota, trimming, locks, forks. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "journal_support.h"
#include "metrics/layout.h"

#include <stdio.h>
#include <sys/stat.h>

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

static struct journal_usage usage(struct journal *j)
{
    struct journal_usage u;
    journal_get_usage(j, &u);
    return u;
}

/* The quota: appends wait, acknowledgements make room, nothing is lost, chains and numbers continue after a restart. */
static void test_quota(void)
{
    struct journal_options o = fresh("quota");
    o.max_size = 512u << 10;
    o.segment_size = o.ring_size = 64u << 10;
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_cursor *c = NULL;
    CU_ASSERT_EQUAL(journal_cursor_open(j, "sink", 0, &c), 0);
    uint64_t head = 0, refused = 0, acked = 0;
    struct journal_receipt r;
    for (int round = 0; round < 12; round++) {
        uint64_t before = head;
        for (;;) {
            int rc = journal_append(j, support_event(head % 2 ? "t0" : "t1", head + 1, 400),
                                    clock_mono_ns() + 100000000u, &r);
            if (rc == -ENOSPC)
                break;
            CU_ASSERT_EQUAL_FATAL(rc, 0);
            head++;
            CU_ASSERT_EQUAL(r.seq, head);
            CU_ASSERT_FATAL(head < before + 5000);
        }
        refused++;
        CU_ASSERT(usage(j).bytes <= o.max_size);
        CU_ASSERT(head > before);
        CU_ASSERT_EQUAL(journal_append(j, support_event("t0", 1, 400), 0, &r), -ENOSPC); /* without waiting */
        acked = round % 2 ? head : head - 100;
        CU_ASSERT_EQUAL(journal_sync(j, head), 0); /* what is in the ring finds its place */
        CU_ASSERT_EQUAL(journal_cursor_ack(c, acked), 0);
        uint64_t give_up = clock_mono_ns() + 20000000000u;
        int rc = journal_append(j, support_event(head % 2 ? "t0" : "t1", head + 1, 400), give_up, &r);
        CU_ASSERT_EQUAL_FATAL(rc, 0);
        head++;
    }
    journal_cursor_close(c);
    CU_ASSERT(journal_oldest(j) > 1);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT(refused == 12);
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_STRING_EQUAL(support_problems(), "");
    CU_ASSERT_EQUAL(journal_head(j), head);
    CU_ASSERT_EQUAL(usage(j).lost, 0);
    struct support_read read = support_read_all(j, "sink", true);
    CU_ASSERT_EQUAL(read.count, head - acked);
    CU_ASSERT_EQUAL(read.missing + read.bad_calls + read.bad_hash + read.bad_chain, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

/* Without a reader nothing is ever removed. */
static void test_quota_without_reader(void)
{
    struct journal_options o = fresh("noreader");
    o.max_size = 512u << 10;
    o.segment_size = o.ring_size = 64u << 10;
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_receipt r;
    uint64_t n = 0;
    while (journal_append(j, support_event("t", n, 400), clock_mono_ns() + 50000000u, &r) == 0)
        n++;
    CU_ASSERT_EQUAL(journal_close(j), 0);
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(support_read_all(j, "a", true).count, n);
    /* acknowledged: room again */
    CU_ASSERT_EQUAL(journal_append(j, support_event("t", n, 400), clock_mono_ns() + 20000000000u, &r), 0);
    CU_ASSERT_EQUAL(r.seq, n + 1);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

static void remember(struct journal *j, uint8_t (*hashes)[32], unsigned scopes)
{
    struct journal_receipt r;
    char tenant[32];
    for (unsigned i = 0; i < scopes; i++) {
        snprintf(tenant, sizeof tenant, "scope-%u", i);
        if (journal_append(j, support_event(tenant, i, 10), UINT64_MAX, &r) != 0)
            CU_FAIL("append");
        memcpy(hashes[i], r.hash, 32);
    }
}

/* Very many scopes, everything delivered and trimmed, again and again over restarts: every chain continues from its
 * head. */
static void test_snapshots(void)
{
    enum { SCOPES = 10000 };
    static uint8_t hashes[SCOPES][32];
    struct journal_options o = fresh("snapshots");
    o.max_size = 32u << 20;
    o.segment_size = 256u << 10;
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    remember(j, hashes, SCOPES);
    unsigned wrong = 0;
    for (int round = 0; round < 3; round++) {
        /* one busy scope, until all that the others have is in segments that are gone */
        struct journal_cursor *c = NULL;
        struct journal_receipt r = {0};
        CU_ASSERT_EQUAL(journal_cursor_open(j, "sink", 0, &c), 0);
        uint64_t first = journal_head(j);
        while (journal_oldest(j) <= first) {
            for (int i = 0; i < 500; i++)
                if (journal_append(j, support_event("busy", 1, 400), clock_mono_ns() + 30000000000u, &r) != 0)
                    CU_FAIL_FATAL("append");
            CU_ASSERT_EQUAL(journal_sync(j, r.seq), 0);
            CU_ASSERT_EQUAL(journal_cursor_ack(c, r.seq), 0);
            CU_ASSERT_FATAL(r.seq < first + 200000);
        }
        journal_cursor_close(c);
        CU_ASSERT_EQUAL(journal_close(j), 0);
        j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        CU_ASSERT_STRING_EQUAL(support_problems(), "");
        CU_ASSERT_EQUAL(usage(j).scopes, SCOPES + 1);
        CU_ASSERT_EQUAL(journal_head(j), r.seq);
        static uint8_t before[SCOPES][32];
        memcpy(before, hashes, sizeof before);
        remember(j, hashes, SCOPES);
        CU_ASSERT_EQUAL(journal_sync(j, journal_head(j)), 0);
        CU_ASSERT_EQUAL(journal_cursor_open(j, "sink", JOURNAL_FROM_STORED, &c), 0);
        CU_ASSERT_EQUAL(journal_cursor_seek(c, journal_head(j) - SCOPES), 0);
        struct record_view v[64];
        unsigned i = 0;
        for (size_t n = 1; n > 0 && i < SCOPES;) {
            CU_ASSERT_EQUAL_FATAL(journal_cursor_read(c, v, 64, 1 << 20, &n), 0);
            for (size_t k = 0; k < n && i < SCOPES; k++, i++)
                wrong += (v[k].head->flags & RECORD_FIRST) != 0 || memcmp(v[k].head->prev_hash, before[i], 32) != 0;
        }
        CU_ASSERT_EQUAL(i, SCOPES);
        CU_ASSERT_EQUAL(journal_cursor_ack(c, journal_head(j)), 0);
        journal_cursor_close(c);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

static void test_unchained(void)
{
    struct journal_options o = fresh("unchained");
    o.chained = false;
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    support_fill(j, 1, 10, 2, 10);
    CU_ASSERT_EQUAL(journal_sync(j, 10), 0);
    struct journal_cursor *c = NULL;
    struct record_view v[10];
    size_t n;
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
    CU_ASSERT_EQUAL(journal_cursor_read(c, v, 10, 1 << 20, &n), 0);
    CU_ASSERT_EQUAL(n, 10);
    CU_ASSERT(n == 10 && v[9].head->flags & RECORD_UNCHAINED);
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(usage(j).scopes, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

static void test_ring_resized(void)
{
    struct journal_options o = fresh("resize");
    static const uint64_t sizes[] = {64u << 10, 1u << 20, 100000, 64u << 10};
    for (size_t i = 0; i < AW_ARRAY_LEN(sizes); i++) {
        o.ring_size = sizes[i];
        struct journal *j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        CU_ASSERT_STRING_EQUAL(support_problems(), "");
        CU_ASSERT(usage(j).ring_size >= sizes[i] && usage(j).ring_size <= 2 * sizes[i]);
        CU_ASSERT_EQUAL(support_fill(j, 1 + i * 500, 500, 3, 300), 500 + i * 500);
        CU_ASSERT_EQUAL(journal_close(j), 0);
    }
}

static void test_unusable_directory(void)
{
    struct journal_options o = fresh("unusable");
    struct journal *j = NULL;
    support_write(dir, "a file", 6);
    diag_reset();
    CU_ASSERT(journal_open(&o, &j) < 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_problems(), "cannot make or open the journal directory"));
    if (geteuid() != 0) {
        o = fresh("readonly");
        CU_ASSERT_EQUAL(mkdir(dir, 0500), 0);
        diag_reset();
        CU_ASSERT_EQUAL(journal_open(&o, &j), -EACCES);
        CU_ASSERT_PTR_NOT_NULL(strstr(support_problems(), "cannot write to the journal directory"));
    }
}

static void test_modes(void)
{
    struct journal_options o = fresh("modes");
    mode_t mask = umask(0);
    struct journal *j = support_open(&o);
    umask(mask);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    support_fill(j, 1, 3, 1, 1);
    support_read_all(j, "a", true);
    static const struct {
        const char *name;
        mode_t mode;
    } expected[] = {{"", 0700},
                    {"/cursors", 0700},
                    {"/quarantine", 0700},
                    {"/ring", 0600},
                    {"/lock", 0600},
                    {"/cursors/a", 0600},
                    {"/seg-0000000000000001.awj", 0600}};
    for (size_t i = 0; i < AW_ARRAY_LEN(expected); i++) {
        char path[500];
        struct stat st;
        snprintf(path, sizeof path, "%s%s", dir, expected[i].name);
        CU_ASSERT_EQUAL(stat(path, &st), 0);
        CU_ASSERT_EQUAL(st.st_mode & 07777, expected[i].mode);
    }
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

/* However soon it is closed after the last event: what is only counted now and then is counted then. */
static void test_last_figures(void)
{
    struct journal_options o = fresh("figures");
    static _Atomic uint64_t figures[METRICS_JOURNAL_FIGURES];
    o.sync_interval_ns = 0; /* nothing wakes the keeper */
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    journal_set_figures(j, figures);
    CU_ASSERT_EQUAL(support_fill(j, 1, 12, 3, 10), 12);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT_EQUAL(figures[METRICS_HEAD], 12);
    CU_ASSERT_EQUAL(figures[METRICS_DURABLE], 12);
    CU_ASSERT_EQUAL(figures[METRICS_SCOPES], 3);
    CU_ASSERT(figures[METRICS_SEGMENTS] >= 1);
}

HARNESS_MAIN("journal", {"appends and reads back", test_append_and_read}, {"continues over restarts", test_restarts},
             {"its last figures", test_last_figures}, {"quota, trimming, restart", test_quota},
             {"nothing goes without a reader", test_quota_without_reader},
             {"chain heads of 10,000 scopes survive trimming", test_snapshots}, {"without chains", test_unchained},
             {"another ring size", test_ring_resized}, {"a directory of no use", test_unusable_directory},
             {"only the owner reads", test_modes})
