/* test_journal_faults.c - the N-th call of a system function fails, for every N. SPDX-License-Identifier: Apache-2.0
 *
 * Whatever fails: no false OK, no crash, and the next start has everything that was acknowledged.
 */
#define _GNU_SOURCE
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "journal_support.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

enum what { NONE, OPEN, PWRITE, WRITE, FDATASYNC, FSYNC, MMAP, FALLOCATE, MALLOC, PREAD, RENAME, TRUNCATE, KINDS };
static const char *const names[] = {"none", "open",      "pwrite", "write", "fdatasync", "fsync",
                                    "mmap", "fallocate", "malloc", "pread", "rename",    "ftruncate"};
static _Atomic int armed, countdown, forever, fired, error_number, torn;

static bool strikes(enum what w)
{
    if (atomic_load(&armed) != (int)w)
        return false;
    int left = atomic_fetch_sub(&countdown, 1);
    if (left > 0 || (left < 0 && !atomic_load(&forever)))
        return false;
    atomic_fetch_add(&fired, 1);
    errno = atomic_load(&error_number);
    return true;
}

#define REAL(ret, name, ...)                                                                                           \
    static ret (*_Atomic real_##name)(__VA_ARGS__);                                                                    \
    if (!real_##name) {                                                                                                \
        ret (*found)(__VA_ARGS__);                                                                                     \
        *(void **)&found = dlsym(RTLD_NEXT, #name);                                                                    \
        real_##name = found;                                                                                           \
    }

int openat(int dirfd, const char *path, int flags, ...)
{
    REAL(int, openat, int, const char *, int, mode_t)
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strikes(OPEN) ? -1 : real_openat(dirfd, path, flags, mode);
}
/* Zeros that go ahead of the records: how often, and whether that fails. */
static _Atomic int zeros_written, zeros_fail;
static bool only_zeros(const char *p, size_t n)
{
    return n >= 65536 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
    if (only_zeros(buf, n)) {
        atomic_fetch_add(&zeros_written, 1);
        if (atomic_load(&zeros_fail)) {
            errno = ENOSPC;
            return -1;
        }
    }
    if (!strikes(PWRITE))
        return real_pwrite(fd, buf, n, at);
    if (atomic_load(&torn) && n > 9)
        (void)real_pwrite(fd, buf, n / 2 + 1, at); /* half of it got through */
    errno = atomic_load(&error_number);
    return -1;
}
ssize_t write(int fd, const void *buf, size_t n)
{
    REAL(ssize_t, write, int, const void *, size_t)
    return strikes(WRITE) ? -1 : real_write(fd, buf, n);
}
ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
    REAL(ssize_t, pread, int, void *, size_t, off_t)
    return strikes(PREAD) ? -1 : real_pread(fd, buf, n, at);
}
/* The disk itself is not needed here, only its answers. */
int fdatasync(int fd)
{
    (void)fd;
    return strikes(FDATASYNC) ? -1 : 0;
}
int fsync(int fd)
{
    (void)fd;
    return strikes(FSYNC) ? -1 : 0;
}
void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    REAL(void *, mmap, void *, size_t, int, int, int, off_t)
    return strikes(MMAP) ? MAP_FAILED : real_mmap(at, len, prot, flags, fd, offset);
}
int posix_fallocate(int fd, off_t at, off_t len)
{
    REAL(int, posix_fallocate, int, off_t, off_t)
    return strikes(FALLOCATE) ? atomic_load(&error_number) : real_posix_fallocate(fd, at, len);
}
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(int, renameat, int, const char *, int, const char *)
    return strikes(RENAME) ? -1 : real_renameat(from_fd, from, to_fd, to);
}
int ftruncate(int fd, off_t len)
{
    REAL(int, ftruncate, int, off_t)
    return strikes(TRUNCATE) ? -1 : real_ftruncate(fd, len);
}
#ifndef AW_SANITIZED
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n)
{
    return strikes(MALLOC) ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return strikes(MALLOC) ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return strikes(MALLOC) ? NULL : __libc_realloc(p, n);
}
#endif

static char dir[400];
static struct journal_options options;

struct outcome {
    uint64_t acked, durable; /* highest seq that was acknowledged, and that was said to be on disk */
    bool opened;
};

/* One life of a journal, with whatever fails in it. */
static struct outcome live(uint64_t numbers_from)
{
    struct outcome o = {0, 0, false};
    struct journal *j = NULL;
    struct journal_receipt r;
    diag_reset();
    if (journal_open(&options, &j) != 0) {
        CU_ASSERT(diag_count() > 0); /* a refusal says why */
        return o;
    }
    o.opened = true;
    struct journal_cursor *c = NULL;
    (void)journal_cursor_open(j, "sink", 0, &c);
    for (uint64_t i = 0; i < 120; i++) {
        uint64_t head = journal_head(j);
        if (journal_append(j, support_event(i % 2 ? "a" : "b", numbers_from + i, (size_t)(i * 37 % 800)),
                           clock_mono_ns() + 20000000u, &r) == 0) {
            CU_ASSERT_EQUAL(r.seq, head + 1);
            o.acked = r.seq;
        } else {
            CU_ASSERT_EQUAL(journal_head(j), head);
        }
        if (i % 30 == 29 && o.acked > 0 && journal_sync(j, o.acked) == 0) {
            CU_ASSERT(journal_durable(j) >= o.acked);
            o.durable = o.acked;
        }
        if (c && i % 50 == 49) {
            struct record_view v[20];
            size_t n = 0;
            (void)journal_cursor_read(c, v, 20, 1 << 16, &n);
            if (n > 0)
                (void)journal_cursor_ack(c, v[n - 1].head->seq);
        }
    }
    if (c)
        journal_cursor_close(c);
    if (journal_close(j) == 0 && o.acked > 0)
        o.durable = o.acked;
    return o;
}

/* Without faults: all that was acknowledged is there. */
static bool check(uint64_t acked, const char *what, int n)
{
    struct journal *j = support_open(&options);
    if (!j)
        return false;
    bool ok = journal_head(j) >= acked;
    uint64_t oldest = journal_oldest(j);
    struct support_read r = support_read_all(j, "check", false);
    ok = ok && r.count == journal_head(j) - oldest + 1 && r.missing + r.bad_chain + r.bad_hash + r.bad_calls == 0;
    struct journal_usage u;
    journal_get_usage(j, &u);
    ok = ok && u.lost == 0;
    if (!ok)
        harness_note("%s %d: acknowledged %" PRIu64 ", head %" PRIu64 ", oldest %" PRIu64 ", read %" PRIu64
                     ", missing %" PRIu64 ", lost %" PRIu64 ", bad %" PRIu64 "/%" PRIu64 "/%" PRIu64 ": %s",
                     what, n, acked, journal_head(j), oldest, r.count, r.missing, u.lost, r.bad_chain, r.bad_hash,
                     r.bad_calls, support_problems());
    ok = journal_close(j) == 0 && ok;
    return ok;
}

static void fail_each(enum what w, int error, bool always, bool tear)
{
    snprintf(dir, sizeof dir, "%s", support_path("faults"));
    options = support_options(dir);
    options.segment_size = options.ring_size = 64u << 10;
    options.sync_interval_ns = 5000000;
    unsigned bad = 0;
    int n = 0, quiet = 0, step = harness_slow() ? 5 : 1;
    for (; n < 2000 && quiet < 3 && bad < 5; n += n < 40 ? step : 7 * step) {
        support_remove_tree(dir);
        struct outcome first = live(1); /* something to be recovered */
        atomic_store(&fired, 0);
        atomic_store(&error_number, error);
        atomic_store(&forever, always);
        atomic_store(&torn, tear);
        atomic_store(&countdown, n);
        atomic_store(&armed, (int)w);
        struct outcome second = live(1000);
        atomic_store(&armed, NONE);
        quiet = atomic_load(&fired) ? 0 : quiet + 1;
        uint64_t acked = second.acked > first.acked ? second.acked : first.acked;
        bad += first.acked != 120 || !check(acked, names[w], n);
    }
    harness_note("%s%s%s: %s: %d points", names[w], always ? ", for ever" : "", tear ? ", half done" : "",
                 strerror(error), n);
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(n > 0);
    support_remove_tree(dir);
}

static void test_open(void)
{
    fail_each(OPEN, EMFILE, false, false);
}
static void test_pwrite(void)
{
    fail_each(PWRITE, EIO, false, false);
    fail_each(PWRITE, EIO, false, true);
    fail_each(PWRITE, ENOSPC, false, true);
}
static void test_write(void)
{
    fail_each(WRITE, EIO, false, false);
}
static void test_fdatasync(void)
{
    fail_each(FDATASYNC, EIO, false, false);
    fail_each(FSYNC, EIO, false, false);
}
static void test_mmap(void)
{
    fail_each(MMAP, ENOMEM, false, false);
}
static void test_fallocate(void)
{
    fail_each(FALLOCATE, ENOSPC, false, false);
    fail_each(FALLOCATE, EOPNOTSUPP, true, false);
}
#ifndef AW_SANITIZED /* a sanitizer has its own malloc */
static void test_malloc(void)
{
    fail_each(MALLOC, ENOMEM, false, false);
}
#define MALLOC_TEST                                                                                                    \
    ,                                                                                                                  \
    {                                                                                                                  \
        "malloc", test_malloc                                                                                          \
    }
#else
#define MALLOC_TEST
#endif
static void test_others(void)
{
    fail_each(PREAD, EIO, false, false);
    fail_each(RENAME, EIO, false, false);
    fail_each(TRUNCATE, EIO, false, false);
}

/* A disk that is full for a while: appends wait in the ring, then say ENOSPC, and go on when there is room again. */
static void test_full_disk(void)
{
    snprintf(dir, sizeof dir, "%s", support_path("full"));
    options = support_options(dir);
    options.ring_size = options.segment_size = 64u << 10;
    struct journal *j = support_open(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(support_fill(j, 1, 50, 2, 100), 50);
    CU_ASSERT_EQUAL(journal_sync(j, 50), 0);
    atomic_store(&error_number, ENOSPC);
    atomic_store(&forever, 1);
    atomic_store(&torn, 1);
    atomic_store(&countdown, 0);
    atomic_store(&armed, PWRITE);
    struct journal_receipt r;
    uint64_t head = 50;
    int rc;
    while ((rc = journal_append(j, support_event("t0", head + 1, 100), clock_mono_ns() + 30000000u, &r)) == 0)
        head = r.seq;
    CU_ASSERT_EQUAL(rc, -ENOSPC);
    CU_ASSERT(head > 100); /* the ring took some */
    CU_ASSERT_EQUAL(journal_sync(j, head), -ENOSPC);
    CU_ASSERT(journal_durable(j) < head);
    atomic_store(&armed, NONE);
    struct prepared late = *support_event("t0", head + 1, 100);
    late.now_ns = 7; /* when it was made; after waiting for room it is later */
    CU_ASSERT_EQUAL(journal_append(j, &late, clock_mono_ns() + 10000000000u, &r), 0);
    CU_ASSERT(r.sealed_ns > 1000000000000000000u);
    CU_ASSERT_EQUAL(journal_sync(j, r.seq), 0);
    late = *support_event("t0", head + 2, 100);
    late.now_ns = 7;
    CU_ASSERT_EQUAL(journal_append(j, &late, 0, &r), 0);
    CU_ASSERT_EQUAL(r.sealed_ns, 7);
    CU_ASSERT_EQUAL(journal_sync(j, r.seq), 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT(check(head + 2, "full", 0));
}

/* fdatasync fails for good: no OK, no more events; when a fresh segment works, all of them become durable. */
static void test_sync_fails_for_long(void)
{
    snprintf(dir, sizeof dir, "%s", support_path("sync"));
    options = support_options(dir);
    struct journal *j = support_open(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(support_fill(j, 1, 100, 2, 100), 100);
    CU_ASSERT_EQUAL(journal_sync(j, 100), 0);
    CU_ASSERT_EQUAL(support_fill(j, 101, 100, 2, 100), 200);
    atomic_store(&error_number, EIO);
    atomic_store(&forever, 1);
    atomic_store(&countdown, 0);
    atomic_store(&armed, FDATASYNC);
    struct journal_receipt r;
    CU_ASSERT_EQUAL(journal_sync(j, 200), -EIO);
    CU_ASSERT_EQUAL(journal_sync(j, 200), -EIO);
    CU_ASSERT_EQUAL(journal_durable(j), 100);
    CU_ASSERT_EQUAL(journal_append(j, support_event("t0", 1, 1), UINT64_MAX, &r), -EIO);
    CU_ASSERT_EQUAL(journal_sync(j, 100), 0); /* that was on disk before */
    atomic_store(&armed, NONE);
    CU_ASSERT_EQUAL(journal_sync(j, 200), 0);
    CU_ASSERT_EQUAL(journal_durable(j), 200);
    CU_ASSERT_EQUAL(support_fill(j, 201, 100, 2, 100), 300);
    struct support_read read = support_read_all(j, "a", false);
    CU_ASSERT_EQUAL(read.count, 300);
    CU_ASSERT_EQUAL(read.missing + read.bad_calls + read.bad_chain, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT(check(300, "sync", 0));
}

/* Small syncs one after the other: zeros go ahead, never over a record, and are not missed when they cannot. */
static void zeros_ahead(bool fail)
{
    snprintf(dir, sizeof dir, "%s", support_path(fail ? "nozeros" : "zeros"));
    options = support_options(dir);
    options.segment_size = 4u << 20;
    options.max_size = 64u << 20;
    atomic_store(&zeros_written, 0);
    atomic_store(&zeros_fail, fail);
    struct journal *j = support_open(&options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    uint64_t n = 0;
    /* two at least are needed, and more where a loaded machine makes long pauses */
    while (n < 20 || (atomic_load(&zeros_written) == 0 && n < 5000)) {
        n++;
        CU_ASSERT_EQUAL_FATAL(support_fill(j, n, 1, 2, 300), n);
        CU_ASSERT_EQUAL_FATAL(journal_sync(j, n), 0);
    }
    CU_ASSERT(atomic_load(&zeros_written) > 0);
    CU_ASSERT(atomic_load(&zeros_written) < 10);                     /* once for many syncs */
    CU_ASSERT_EQUAL(support_fill(j, n + 1, 2000, 2, 300), n + 2000); /* beyond the zeros */
    CU_ASSERT_EQUAL(journal_sync(j, n + 2000), 0);
    struct support_read read = support_read_all(j, "a", false);
    CU_ASSERT_EQUAL(read.count, n + 2000);
    CU_ASSERT_EQUAL(read.missing + read.bad_calls + read.bad_chain, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    atomic_store(&zeros_fail, 0);
    CU_ASSERT(check(n + 2000, "zeros", 0));
}

static void test_zeros_ahead(void)
{
    zeros_ahead(false);
    zeros_ahead(true);
}

HARNESS_MAIN("journal_faults", {"zeros go ahead of small syncs", test_zeros_ahead}, {"a full disk", test_full_disk},
             {"fdatasync fails for long", test_sync_fails_for_long}, {"open", test_open}, {"pwrite", test_pwrite},
             {"write", test_write}, {"fdatasync and fsync", test_fdatasync}, {"mmap", test_mmap},
             {"fallocate", test_fallocate}, {"pread, rename, ftruncate", test_others} MALLOC_TEST)
