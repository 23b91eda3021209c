/* lock.c - one process has a journal open at a time. See journal.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/fs.h"
#include "journal/internal.h"

#include <fcntl.h>
#include <stdio.h>

/* The locks that this process holds. A forked child shares the open files behind them: it closes its own at once, so
 * that a journal is free when its process is gone, whatever became of its children. */
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static struct journal_lock *held;

static void before_fork(void)
{
    pthread_mutex_lock(&held_lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&held_lock);
}

static void in_child(void)
{
    for (struct journal_lock *lock = held; lock; lock = lock->next) {
        if (lock->fd >= 0)
            (void)fs_close(lock->fd); /* the parent has its own */
        lock->fd = -1;
    }
    held = NULL;
    pthread_mutex_unlock(&held_lock);
    journal_forked();
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_rc;

static void initialise(void)
{
    once_rc = -pthread_atfork(before_fork, in_parent, in_child);
}

int lock_prepare(void)
{
    (void)pthread_once(&once, initialise);
    return once_rc;
}

static void hold(struct journal_lock *lock)
{
    pthread_mutex_lock(&held_lock);
    lock->next = held;
    held = lock;
    pthread_mutex_unlock(&held_lock);
}

/* held_lock held. */
static void forget(const struct journal_lock *lock)
{
    for (struct journal_lock **at = &held; *at; at = &(*at)->next) {
        if (*at == lock) {
            *at = lock->next;
            return;
        }
    }
}

static void move_lock(struct journal_lock *from, struct journal_lock *to)
{
    pthread_mutex_lock(&held_lock);
    forget(from);
    *to = (struct journal_lock){base_take_fd(&from->fd), held};
    held = to;
    pthread_mutex_unlock(&held_lock);
}

void journal_lock_release(struct journal_lock *lock)
{
    pthread_mutex_lock(&held_lock);
    forget(lock);
    if (lock->fd >= 0) {
        (void)fs_unlock(lock->fd); /* at once, also if a child was forked between taking and holding it */
        (void)fs_close(lock->fd);
    }
    lock->fd = -1;
    pthread_mutex_unlock(&held_lock);
}

int journal_lock_reserve(const char *path, struct journal_lock *lock)
{
    AW_AUTOCLOSE int dir = -1, fd = -1;
    *lock = (struct journal_lock){-1, NULL};
    int rc = lock_prepare();
    if (rc == 0)
        rc = fs_open(path, O_RDONLY | O_DIRECTORY, 0, &dir);
    if (rc == 0)
        rc = fs_openat(dir, LOCK_NAME, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (rc == 0)
        rc = fs_lock(fd);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    lock->fd = base_take_fd(&fd);
    hold(lock);
    return 0;
}

static int take_new(struct journal *j)
{
    AW_AUTOCLOSE int fd = -1;
    char text[32] = "";
    int rc = fs_openat(j->dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600, &fd);
    if (rc < 0)
        return diag_problem(rc, j->path, "cannot write to the journal directory (file \"" LOCK_NAME "\"): %s",
                            strerror(-rc));
    rc = fs_lock(fd);
    if (rc == -EWOULDBLOCK) {
        ssize_t n = fs_pread_full(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        return diag_problem(rc, j->path, "the journal is in use by process %s; a journal has one writer at a time",
                            text[0] ? text : "(unknown)");
    }
    if (rc < 0)
        return diag_problem(rc, j->path, "cannot lock the journal: %s", strerror(-rc));
    j->lock.fd = base_take_fd(&fd);
    hold(&j->lock);
    return 0;
}

int lock_take(struct journal *j, struct journal_lock *reserved)
{
    char text[32];
    int rc = 0;
    if (reserved && reserved->fd >= 0)
        move_lock(reserved, &j->lock);
    else
        rc = take_new(j);
    if (rc < 0)
        return rc;
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    rc = fs_truncate(j->lock.fd, 0);
    if (rc == 0)
        rc = fs_pwrite_all(j->lock.fd, text, (size_t)n, 0, NULL);
    /* On a full disk the pid is missing in other openers' messages; the lock holds all the same. */
    return rc < 0 && !space_error(rc)
               ? diag_problem(rc, j->path, "cannot write to \"" LOCK_NAME "\": %s", strerror(-rc))
               : 0;
}
