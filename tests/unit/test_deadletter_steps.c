/* test_deadletter_steps.c - the process dies, or a call fails, at every step of writing dead letters.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "config.h"

#include "deadletter_support.h"
#include "harness.h"

#include "base/fs.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- every call that changes a file is a step at which the process may die, or the call fail ---- */
static int step_at, steps, fail_all;
static bool step_dies, armed;

static bool strikes(void)
{
    if (!armed || (++steps != step_at && !(fail_all && steps > step_at)))
        return false;
    if (step_dies)
        (void)kill(getpid(), SIGKILL); /* as it would be, and without a last word of valgrind */
    errno = EIO;
    return true;
}
int openat(int dirfd, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return (flags & O_CREAT) && strikes() ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
}
ssize_t write(int fd, const void *buf, size_t n)
{
    return strikes() ? -1 : syscall(SYS_write, fd, buf, n);
}
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    return strikes() ? -1 : syscall(SYS_pwrite64, fd, buf, n, at);
}
int fdatasync(int fd)
{
    (void)fd; /* the disk's own speed is not what is tested */
    return strikes() ? -1 : 0;
}
int fsync(int fd)
{
    (void)fd;
    return strikes() ? -1 : 0;
}
int ftruncate(int fd, off_t size)
{
    return strikes() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return strikes() ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}
int unlinkat(int dirfd, const char *name, int flags)
{
    return strikes() ? -1 : (int)syscall(SYS_unlinkat, dirfd, name, flags);
}

/* ---- death and failure at every step ---- */

/* Returns what succeeded: how many letters, whether the mark, whether the purge. */
static unsigned scenario(void)
{
    unsigned done = 0;
    struct deadletter *dl = NULL;
    struct dl_index x;
    int fd = -1;
    bool chosen[64] = {false};
    if (deadletter_create(letters_dir, "sink", &letters_diag, &dl) < 0)
        return 0;
    for (size_t i = 0; i < 3; i++)
        done |= (unsigned)(deadletter_add(dl, &letters_events[i], 1, "x") == 0) << i;
    int rc = deadletter_mend(dl, &x, &fd);
    if (rc == 0 && x.count > 0 && deadletter_mark(dl, &x.entries[0].number, 1) == 0)
        done |= 8;
    if (fd >= 0)
        (void)fs_close(fd);
    dl_index_free(&x);
    rc = deadletter_mend(dl, &x, &fd);
    for (size_t i = 0; rc == 0 && i < x.count && i < 64; i++)
        chosen[i] = x.entries[i].replayed;
    if (rc == 0 && (done & 8) && deadletter_purge(dl, &x, chosen, "replayed") == 0)
        done |= 16;
    if (fd >= 0)
        (void)fs_close(fd);
    dl_index_free(&x);
    done |= (unsigned)(deadletter_add(dl, &letters_events[3], 1, "x") == 0) << 5;
    deadletter_destroy(dl);
    return done;
}

/* The file verifies, before and after the next letter, and has what was acknowledged. */
static void judge(unsigned done, int at)
{
    struct letters_view v = letters_look();
    bool bad = v.findings != 0;
    struct deadletter *dl = letters_open();
    letters_add(dl, 7);
    deadletter_destroy(dl);
    v = letters_look();
    bad |= v.findings != 0 || !(v.seqs & 1u << 8) || letters_beside("damaged") != 0;
    unsigned owed = done & 7;
    if (done & 8)
        owed &= owed - 1; /* the first that was stored was marked, and perhaps purged */
    bad |= (v.seqs >> 1 & owed) != owed;
    bad |= (done & 32) && !(v.seqs & 1u << 4);
    if (bad) {
        harness_note("step %d: done %#x, findings %d, seqs %#x", at, done, (int)v.findings, (unsigned)v.seqs);
        CU_FAIL("after a step that failed");
    }
}

static void death_at_every_step(void)
{
    int at = 1;
    for (bool died = true; died; at++) {
        char name[40];
        snprintf(name, sizeof name, "death-%d", at);
        letters_begin(name);
        pid_t child = fork();
        CU_ASSERT_FATAL(child >= 0);
        if (child == 0) {
            armed = step_dies = true;
            step_at = at;
            steps = 0;
            unsigned done = scenario();
            armed = false;
            _exit(done == 63 ? 0 : 1);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        if (!died)
            CU_ASSERT_EQUAL(status, 0);
        judge(0, at);
    }
    harness_note("died at each of %d steps", at - 2);
    CU_ASSERT(at > 20);
}

static void failure_at_every_step(void)
{
    for (int persistent = 0; persistent < 2; persistent++) {
        bool hit = true;
        for (int at = 1; hit; at++) {
            char name[40];
            snprintf(name, sizeof name, "fail-%d-%d", persistent, at);
            letters_begin(name);
            step_dies = false;
            fail_all = persistent;
            step_at = at;
            steps = 0;
            armed = true;
            unsigned done = scenario();
            armed = false;
            hit = steps >= at;
            fail_all = 0;
            judge(done, at);
        }
    }
}

HARNESS_MAIN("deadletter_steps", {"death at every step", death_at_every_step},
             {"failure at every step", failure_at_every_step})
