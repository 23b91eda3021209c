/* test_cursor.c - named readers. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "journal_support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

static char dir[400];

static struct journal *fresh(const char *name, struct journal_options *o)
{
    snprintf(dir, sizeof dir, "%s", support_path(name));
    *o = support_options(dir);
    return support_open(o);
}

static uint64_t read_one(struct journal_cursor *c)
{
    struct record_view v;
    size_t n = 0;
    CU_ASSERT_EQUAL(journal_cursor_read(c, &v, 1, 1 << 20, &n), 0);
    return n ? v.head->seq : 0;
}

static void settle(struct journal *j)
{
    CU_ASSERT_EQUAL(journal_sync(j, journal_head(j)), 0);
}

static void test_positions(void)
{
    struct journal_options o;
    struct journal *j = fresh("positions", &o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_cursor *c = NULL, *twice = NULL, *late = NULL;
    support_fill(j, 1, 100, 3, 20);
    settle(j);
    CU_ASSERT_EQUAL_FATAL(journal_cursor_open(j, "a", JOURNAL_FROM_STORED, &c), 0);
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", JOURNAL_FROM_STORED, &twice), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_problems(), "cursor \"a\" is open already"));
    CU_ASSERT_EQUAL_FATAL(journal_cursor_open(j, "late", JOURNAL_FROM_NOW, &late), 0);
    CU_ASSERT_EQUAL(journal_cursor_acked(late), 100);
    CU_ASSERT_EQUAL(journal_cursor_acked(c), 0);
    CU_ASSERT_EQUAL(read_one(c), 1);
    CU_ASSERT_EQUAL(read_one(c), 2);
    CU_ASSERT_EQUAL(journal_cursor_ack(c, 2), 0);
    CU_ASSERT_EQUAL(journal_cursor_ack(c, 1), 0); /* never back */
    CU_ASSERT_EQUAL(journal_cursor_acked(c), 2);
    CU_ASSERT_EQUAL(journal_cursor_ack(c, 101), -EINVAL);
    CU_ASSERT_EQUAL(journal_cursor_seek(c, 49), 0);
    CU_ASSERT_EQUAL(read_one(c), 50);
    CU_ASSERT_EQUAL(journal_cursor_seek(c, 0), 0);
    CU_ASSERT_EQUAL(read_one(c), 1);
    CU_ASSERT_EQUAL(read_one(late), 0);
    support_fill(j, 101, 1, 3, 20);
    settle(j);
    CU_ASSERT_EQUAL(read_one(late), 101);
    journal_cursor_close(c);
    journal_cursor_close(late);
    CU_ASSERT_EQUAL(journal_close(j), 0);

    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", JOURNAL_FROM_NOW, &c), 0); /* it exists: where it was */
    CU_ASSERT_EQUAL(journal_cursor_acked(c), 2);
    CU_ASSERT_EQUAL(read_one(c), 3);
    journal_cursor_close(c);
    static const char *const wrong[] = {
        "",    ".",   "..",       ".hidden",
        "a/b", "a b", "\xc3\xa4", "0123456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < AW_ARRAY_LEN(wrong); i++)
        CU_ASSERT_EQUAL(journal_cursor_open(j, wrong[i], 0, &c), -EINVAL);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

/* Either half of the file may be damaged: the other one tells, at most one acknowledgement older. */
static void test_half_damaged(void)
{
    struct journal_options o;
    struct journal *j = fresh("half", &o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_cursor *c = NULL;
    support_fill(j, 1, 100, 3, 20);
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
    for (uint64_t i = 10; i <= 60; i += 10)
        CU_ASSERT_EQUAL(journal_cursor_ack(c, i), 0);
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    char path[500];
    snprintf(path, sizeof path, "%s/cursors/a", dir);
    size_t len;
    char *good = support_slurp(path, &len);
    CU_ASSERT_EQUAL_FATAL(len, 128);
    for (size_t i = 0; i < len; i++) {
        good[i] ^= 4;
        support_write(path, good, len);
        good[i] ^= 4;
        j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
        CU_ASSERT(journal_cursor_acked(c) == 50 || journal_cursor_acked(c) == 60);
        journal_cursor_close(c);
        CU_ASSERT_EQUAL(journal_close(j), 0);
    }
    free(good);
}

/* Damage that comes while the journal is open: one call says so, the record is skipped and counted, the rest is read.
 */
static void test_damage_while_open(void)
{
    struct journal_options o;
    struct journal *j = fresh("live", &o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    support_fill(j, 1, 300, 3, 20);
    settle(j);
    char *names[4], path[500];
    CU_ASSERT_EQUAL_FATAL(support_segments(dir, names, 4), 1);
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    free(names[0]);
    size_t len;
    char *bytes = support_slurp(path, &len);
    char *at = memmem(bytes, len, "\"e-77\"", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    int fd = open(path, O_WRONLY);
    CU_ASSERT_EQUAL(pwrite(fd, "#", 1, at - bytes), 1);
    close(fd);
    free(bytes);
    struct support_read r = support_read_all(j, "a", true);
    CU_ASSERT_EQUAL(r.count, 299);
    CU_ASSERT_EQUAL(r.missing, 1);
    CU_ASSERT_EQUAL(r.bad_calls, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_diag_text, "event 77 is damaged on disk and is skipped"));
    struct journal_usage u;
    journal_get_usage(j, &u);
    CU_ASSERT_EQUAL(u.lost, 1);
    r = support_read_all(j, "b", false); /* known by now */
    CU_ASSERT(r.count == 299 && r.bad_calls == 0);
    uint8_t hash[32];
    CU_ASSERT_EQUAL(journal_lookup_hash(j, 77, hash), -ENOENT);
    CU_ASSERT_EQUAL(journal_lookup_hash(j, 78, hash), 0);
    CU_ASSERT_EQUAL(journal_lookup_hash(j, 301, hash), -ENOENT);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    journal_get_usage(j, &u);
    CU_ASSERT_EQUAL(u.lost, 1); /* noted in the journal */
    CU_ASSERT_PTR_NULL(strstr(support_problems(), "missing from the journal"));
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

static void test_batches(void)
{
    struct journal_options o;
    struct journal *j = fresh("batches", &o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    o.segment_size = 1u << 20;
    support_fill(j, 1, 3000, 3, 700); /* about 3 segments */
    struct journal_receipt r;
    CU_ASSERT_EQUAL(journal_append(j, support_event("big", 3001, 200000), UINT64_MAX, &r), 0);
    CU_ASSERT_EQUAL(journal_append(j, support_event("big", 3002, 500000), UINT64_MAX, &r), -EMSGSIZE);
    support_fill(j, 3002, 10, 3, 700);
    settle(j);
    struct journal_cursor *c = NULL;
    struct record_view v[500];
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
    uint64_t expected = 1, full = 0, calls = 0;
    for (size_t n = 1; n > 0; calls++) {
        CU_ASSERT_EQUAL(journal_cursor_read(c, v, 100, 1 << 20, &n), 0);
        full += n == 100;
        for (size_t i = 0; i < n; i++)
            CU_ASSERT_EQUAL(v[i].head->seq, expected++);
    }
    CU_ASSERT_EQUAL(expected, 3012);
    CU_ASSERT(full >= 26); /* batches are full, but at the ends of segments */
    CU_ASSERT_EQUAL(journal_cursor_seek(c, 0), 0);
    size_t n;
    CU_ASSERT_EQUAL(journal_cursor_read(c, v, 500, 5000, &n), 0);
    CU_ASSERT(n >= 4 && n <= 6); /* by bytes */
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

static void *wake_later(void *arg)
{
    clock_sleep_ns(20000000);
    journal_wake(arg);
    return NULL;
}

static void *append_later(void *arg)
{
    clock_sleep_ns(20000000);
    support_fill(arg, 1, 1, 1, 1);
    return NULL;
}

static void test_waiting(void)
{
    struct journal_options o;
    struct journal *j = fresh("waiting", &o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_cursor *c = NULL;
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
    uint64_t start = clock_mono_ns();
    CU_ASSERT_EQUAL(journal_cursor_wait(c, start + 30000000), -ETIMEDOUT);
    CU_ASSERT(clock_mono_ns() - start >= 30000000);
    journal_wake(j); /* before the wait: not forgotten */
    CU_ASSERT_EQUAL(journal_cursor_wait(c, UINT64_MAX), -EINTR);
    pthread_t t;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, wake_later, j), 0);
    CU_ASSERT_EQUAL(journal_cursor_wait(c, UINT64_MAX), -EINTR);
    pthread_join(t, NULL);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, append_later, j), 0);
    CU_ASSERT_EQUAL(journal_cursor_wait(c, UINT64_MAX), 0);
    pthread_join(t, NULL);
    CU_ASSERT_EQUAL(read_one(c), 1);
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

/* Segments that were removed by hand: the reader is told what is gone. */
static void test_behind_the_oldest(void)
{
    struct journal_options o;
    struct journal *j = fresh("behind", &o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_cursor *c = NULL;
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
    journal_cursor_close(c);
    support_fill(j, 1, 5000, 3, 700);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    char *names[16], path[500];
    size_t n = support_segments(dir, names, 16);
    CU_ASSERT_FATAL(n > 2);
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    CU_ASSERT_EQUAL(unlink(path), 0);
    uint64_t second = strtoull(names[1] + 4, NULL, 16);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(journal_oldest(j), second);
    CU_ASSERT_EQUAL(journal_cursor_open(j, "a", 0, &c), 0);
    CU_ASSERT_EQUAL(read_one(c), second);
    char text[100];
    snprintf(text, sizeof text, "events 1-%" PRIu64 " are not kept any more", second - 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_diag_text, text));
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

/* What a power loss could take from the journal is given to nobody; who waits for it syncs it. */
static void test_only_what_is_on_the_disk(void)
{
    struct journal_options o;
    struct journal *j = fresh("durable", &o); /* no background sync */
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct journal_cursor *c = NULL;
    CU_ASSERT_EQUAL_FATAL(journal_cursor_open(j, "a", JOURNAL_FROM_STORED, &c), 0);
    uint64_t give_up = clock_mono_ns() + 20000000000u;
    for (uint64_t first = 1; first <= 11; first += 10) {
        support_fill(j, first, 10, 1, 20);
        while (journal_written(j) < first + 9 && clock_mono_ns() < give_up)
            clock_sleep_ns(1000000);
        CU_ASSERT_EQUAL(journal_written(j), first + 9);
        CU_ASSERT_EQUAL(journal_durable(j), first - 1);
        CU_ASSERT_EQUAL(read_one(c), 0);
        CU_ASSERT_EQUAL(journal_cursor_passed(c), first - 1);
        int rc = -ETIMEDOUT;
        while (rc == -ETIMEDOUT && clock_mono_ns() < give_up)
            rc = journal_cursor_wait(c, give_up);
        CU_ASSERT_EQUAL(rc, 0);
        CU_ASSERT_EQUAL(journal_durable(j), first + 9);
        for (uint64_t seq = first; seq < first + 10; seq++)
            CU_ASSERT_EQUAL(read_one(c), seq);
    }
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

HARNESS_MAIN("cursor", {"positions", test_positions}, {"half of the file is damaged", test_half_damaged},
             {"damage while the journal is open", test_damage_while_open}, {"batches", test_batches},
             {"waiting", test_waiting}, {"behind the oldest kept event", test_behind_the_oldest},
             {"only what is on the disk is read", test_only_what_is_on_the_disk})
