/* test_file_rotate.c - the file sink: rotation, compression, files that move. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

static struct mh_instance *started(const char *path)
{
    struct mh_instance *m = MH("file", "path", path);
    CU_ASSERT_EQUAL_FATAL(mh_start(m), AW_OK);
    return m;
}

static void test_rotation(void)
{
    char *path = mh_path("audit.jsonl"), *dir = mh_dir_of(path), name[1024];
    struct mh_instance *m = MH("file", "path", path, "rotate_size", "4KiB", "buffer_size", "4KiB");
    struct stat st;
    uint8_t status[40];
    uint64_t seq;
    struct aw_position pos;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (uint64_t i = 1; i <= 400; i += 40) {
        CU_ASSERT_EQUAL(mh_write(m, i, i + 39, 0, status), AW_OK);
        for (size_t k = 0; k < 40; k++)
            CU_ASSERT_TRUE(status[k] == AW_EVENT_ACCEPTED || status[k] == AW_EVENT_DURABLE);
    }
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 400);
    size_t archives = mh_count_names(dir, "audit-", name, sizeof name);
    CU_ASSERT_TRUE(archives >= 50);
    CU_ASSERT_EQUAL(mh_metric(m, "file_rotations_total"), (double)archives);
    CU_ASSERT_TRUE(stat(name, &st) == 0 && st.st_size <= 4096);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 400));
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    /* The clock goes back an hour: names still sort as written, also over a restart. */
    mh_clock_ns = -INT64_C(3600000000000);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 401, 500, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 500));
    mh_clock_ns = 0;
    /* Died between the two steps of a rotation: no current file. */
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    snprintf(name, sizeof name, "%s/audit-20991231T235959.000Z-000001.jsonl", dir);
    CU_ASSERT_EQUAL(rename(path, name), 0);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
    CU_ASSERT_EQUAL(pos.seq, 500);
    CU_ASSERT_EQUAL(mh_write(m, 501, 560, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 560));
    mh_destroy(m);
    free(path);
    free(dir);
}

static void test_rotation_by_time(void)
{
    char *path = mh_path("trail"), *dir = mh_dir_of(path); /* a name without extension */
    struct mh_instance *m = MH("file", "path", path, "rotate_interval", "1h");
    int64_t hour = INT64_C(3600000000000);
    uint64_t now = m->host.now_ns();
    mh_clock_ns = hour - (int64_t)(now % (uint64_t)hour) - INT64_C(60000000000); /* a minute before the hour */
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 2, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 3, 3, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_count_names(dir, "trail-", NULL, 0), 0);
    mh_clock_ns += INT64_C(61000000000);
    CU_ASSERT_EQUAL(mh_write(m, 4, 4, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_count_names(dir, "trail-", NULL, 0), 1);
    CU_ASSERT_TRUE(mh_file_is(path, 4, 4));
    mh_clock_ns += 3 * hour; /* idle hours make no empty archives */
    CU_ASSERT_EQUAL(mh_write(m, 5, 6, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_count_names(dir, "trail-", NULL, 0), 2);
    /* reconfigure: never again */
    CU_ASSERT_EQUAL(
        mh_reconfigure(m, (const char *const[]){"path", path, "rotate_interval", "0", "fsync", "always", NULL}), AW_OK);
    mh_clock_ns += 3 * hour;
    uint8_t status[1];
    CU_ASSERT_EQUAL(mh_write(m, 7, 7, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(mh_count_names(dir, "trail-", NULL, 0), 2);
    mh_clock_ns = 0;
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 7));
    mh_destroy(m);
    free(path);
    free(dir);
}

static void test_moved_deleted(void)
{
    char *path = mh_path("audit.jsonl"), *away = mh_path("audit.jsonl.1");
    struct mh_instance *m = started(path);
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(rename(path, away), 0);
    CU_ASSERT_EQUAL(mh_write(m, 4, 5, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(away, 1, 3));
    CU_ASSERT_TRUE(mh_file_is(path, 4, 5));
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK); /* what was moved is synced and there */
    CU_ASSERT_EQUAL(seq, 5);
    CU_ASSERT_EQUAL(mh_metric(m, "file_reopens_total"), 1);
    CU_ASSERT_TRUE(mh_logged(m, "moved or deleted"));
    /* Deleted with accepted events in it: the flush must not claim them. */
    CU_ASSERT_EQUAL(mh_write(m, 6, 7, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_TRUE(mh_flush(m, &seq) < 0);
    CU_ASSERT_EQUAL(mh_write(m, 6, 8, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 8);
    CU_ASSERT_TRUE(mh_file_is(path, 6, 8));
    /* The same, noticed by the next write. */
    CU_ASSERT_EQUAL(mh_write(m, 9, 9, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(mh_write(m, 10, 10, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_flush(m, &seq) < 0);
    CU_ASSERT_EQUAL(mh_write(m, 9, 10, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 9, 10));
    mh_destroy(m);
    free(path);
    free(away);
}

static void test_replaced_and_cut(void)
{
    char *path = mh_path("audit.jsonl"), *away = mh_path("audit.jsonl.1");
    struct mh_instance *m = started(path);
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(mh_write(m, 9, 10, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    /* Replaced by another file with lines of its own and a torn end. */
    size_t n;
    char *other = mh_lines(20, 21, &n);
    mh_spew(away, other, n - 3);
    CU_ASSERT_EQUAL(rename(away, path), 0);
    CU_ASSERT_EQUAL(mh_write(m, 11, 11, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "was replaced"));
    free(other);
    size_t len, twenty, eleven;
    char *text = mh_slurp(path, &len), *a = mh_lines(20, 20, &twenty), *b = mh_lines(11, 11, &eleven);
    CU_ASSERT_TRUE(len == twenty + eleven && memcmp(text, a, twenty) == 0 && memcmp(text + twenty, b, eleven) == 0);
    free(text);
    free(a);
    free(b);
    /* Cut by copytruncate. */
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(truncate(path, 0), 0);
    CU_ASSERT_EQUAL(mh_write(m, 12, 13, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 12, 13));
    CU_ASSERT_TRUE(mh_logged(m, "cut by somebody else"));
    /* Cut with events in it that were not synced yet. */
    CU_ASSERT_EQUAL(truncate(path, 0), 0);
    CU_ASSERT_EQUAL(mh_write(m, 14, 14, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_flush(m, &seq) < 0);
    /* logrotate: rename, then reopen */
    CU_ASSERT_EQUAL(mh_write(m, 12, 14, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(rename(path, away), 0);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 15, 15, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 15);
    CU_ASSERT_TRUE(mh_file_is(away, 12, 14));
    CU_ASSERT_TRUE(mh_file_is(path, 15, 15));
    mh_destroy(m);
    free(path);
    free(away);
}

#ifdef HAVE_ZSTD
#define COMPRESS "zstd"
#define COMPRESSION_TESTS                                                                                              \
    {"compression", test_compression}, {"compression goes on after a crash", test_compression_resumes},
static void wait_metric(struct mh_instance *m, const char *name, double at_least)
{
    for (int i = 0; i < 20000 && mh_metric(m, name) < at_least; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    CU_ASSERT_TRUE(mh_metric(m, name) >= at_least);
}

static void test_compression(void)
{
    char *path = mh_path("audit.jsonl"), *dir = mh_dir_of(path), name[1024];
    struct mh_instance *m = MH("file", "path", path, "rotate_size", "64KiB", "compress", "zstd", "mode", "0600");
    struct stat st;
    struct aw_position pos;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (uint64_t i = 1; i <= 2000; i += 100)
        CU_ASSERT_EQUAL(mh_write(m, i, i + 99, 0, NULL), AW_OK);
    double rotations = mh_metric(m, "file_rotations_total");
    CU_ASSERT_TRUE(rotations > 10);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 2000)); /* while the thread works */
    wait_metric(m, "file_compressed_total", rotations);
    CU_ASSERT_EQUAL((double)mh_count_names(dir, ".jsonl.zst", name, sizeof name), rotations);
    CU_ASSERT_EQUAL(mh_count_names(dir, ".tmp", NULL, 0), 0);
    CU_ASSERT_TRUE(stat(name, &st) == 0 && (st.st_mode & 0777) == 0600);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 2000));
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    /* The current file is gone: the position comes out of the newest compressed one. */
    size_t n;
    char *last = mh_slurp(path, &n);
    uint64_t lines_there = 0;
    for (size_t i = 0; i < n; i++)
        lines_there += last[i] == '\n';
    free(last);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
    CU_ASSERT_EQUAL(pos.seq, 2000 - lines_there);
    CU_ASSERT_EQUAL(strlen(pos.hash), 64);
    mh_destroy(m);
    free(path);
    free(dir);
}

/* Every state in which a crash can leave the compression of a file. */
static void test_compression_resumes(void)
{
    char *path = mh_path("audit.jsonl"), *dir = mh_dir_of(path), a[1024], tmp[1100], zst[1100];
    size_t n;
    char *text = mh_lines(1, 10, &n);
    struct mh_instance *m = MH("file", "path", path, "compress", "zstd");
    snprintf(a, sizeof a, "%s/audit-20260102T030405.678Z-000001.jsonl", dir);
    snprintf(tmp, sizeof tmp, "%s.zst.tmp", a);
    snprintf(zst, sizeof zst, "%s.zst", a);
    mh_spew(a, text, n); /* closed, not compressed, a half-written .tmp beside it */
    mh_spew(tmp, "half", 4);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    wait_metric(m, "file_compressed_total", 1);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(access(a, F_OK) < 0 && access(tmp, F_OK) < 0 && access(zst, F_OK) == 0);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 10));
    mh_spew(a, text, n); /* renamed, the plain file not removed yet */
    CU_ASSERT_TRUE(mh_trail_is(path, 1, 10));
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    wait_metric(m, "file_compressed_total", 2);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(access(a, F_OK) < 0);
    mh_spew(a, text, n - 50); /* another content under that name is not thrown away */
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (int i = 0; i < 20000 && !mh_logged(m, "cannot compress"); i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    CU_ASSERT_TRUE(mh_logged(m, "cannot compress: File exists"));
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(access(a, F_OK) == 0 && access(zst, F_OK) == 0);
    mh_destroy(m);
    free(text);
    free(path);
    free(dir);
}
#else
#define COMPRESS "none"
#define COMPRESSION_TESTS
#endif

/* health() from another thread while the sink works. */
struct watcher {
    struct mh_instance *m;
    _Atomic int stop;
};

static void *watch(void *arg)
{
    struct watcher *w = arg;
    while (!w->stop) {
        struct aw_health h = {.struct_size = sizeof h};
        w->m->class->health(w->m->sink, &h);
    }
    return NULL;
}

/* Writes, rotates and compresses while one thread asks for health and another reads everything again and again. */
static void *reread(void *arg)
{
    struct watcher *w = arg;
    while (!w->stop) {
        struct mh_rows rows = mh_read(w->m, NULL, 256);
        if (rows.code != AW_OK || !rows.rising || !rows.same)
            return (void *)1;
    }
    return NULL;
}

static void test_under_load(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = MH("file", "path", path, "rotate_size", "256KiB", "compress", COMPRESS, "compress_level",
                               "1", "fsync", "never");
    struct mh_instance *other = MH("file", "path", path);
    struct watcher w = {.m = m}, r = {.m = other};
    pthread_t a, b;
    void *bad;
    const uint64_t last = harness_slow() ? 5000 : 20000;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    pthread_create(&a, NULL, watch, &w);
    pthread_create(&b, NULL, reread, &r);
    for (uint64_t i = 2; i <= last; i += 100)
        CU_ASSERT_EQUAL(mh_write(m, i, i + 99 < last ? i + 99 : last, 0, NULL), AW_OK);
    w.stop = r.stop = 1;
    pthread_join(a, NULL);
    pthread_join(b, &bad);
    CU_ASSERT_PTR_NULL(bad);
    CU_ASSERT_TRUE(mh_trail_is(path, 1, last));
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    mh_destroy(m);
    mh_destroy(other);
    free(path);
}

HARNESS_MAIN("sink_file_rotate", COMPRESSION_TESTS{"rotation by size", test_rotation},
             {"rotation by time", test_rotation_by_time}, {"moved and deleted", test_moved_deleted},
             {"replaced, cut, reopened", test_replaced_and_cut}, {"rotation under load with readers", test_under_load})
