/* file_store.c - the current file: opening, locking, syncing, rotating, and noticing that it was moved away.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "file_sink.h"

#define ROTATE_RETRY_NS 10000000000u

static int32_t code_of(int errnum)
{
    switch (errnum) {
    case EINTR:
    case EAGAIN:
        return AW_E_RETRY;
    case ENOMEM:
        return AW_E_NOMEM;
    case EACCES:
    case EPERM:
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return AW_E_CONFIG;
    default: /* ENOSPC, EDQUOT, EIO, EFBIG, EROFS, ENOENT, EMFILE, ESTALE: may pass, and no event is at fault */
        return AW_E_UNAVAILABLE;
    }
}

int32_t sf_set_health(struct file_sink *s, int32_t code, const char *detail)
{
    int32_t state = code == AW_OK                              ? AW_HEALTH_OK
                    : code == AW_E_RETRY || code == AW_E_NOMEM ? AW_HEALTH_DEGRADED
                                                               : AW_HEALTH_DOWN;
    uint64_t now = s->host->now_ns();
    pthread_mutex_lock(&s->lock);
    if (s->health.state != state) {
        s->health.state = state;
        s->health.since_ns = now;
    }
    if (code == AW_OK) {
        s->health.last_success_ns = now;
        s->health.detail[0] = '\0';
    } else {
        s->health.last_error = code;
        snprintf(s->health.detail, sizeof s->health.detail, "%s", detail);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

int32_t sf_fail(struct file_sink *s, int errnum, const char *what, const char *name)
{
    char text[128];
    int32_t code = code_of(errnum);
    aw_host_error(s->host, code, "%s: %s: %s", name, what, strerror(errnum));
    snprintf(text, sizeof text, "%s: %s", what, strerror(errnum));
    return sf_set_health(s, code, text);
}

long sf_lock_holder(const struct stat *st)
{
    char line[256], want[32];
    long pid = 0, found = 0;
    FILE *f = fopen("/proc/locks", "re");
    if (f == NULL)
        return -1;
    snprintf(want, sizeof want, ":%" PRIu64 " ", (uint64_t)st->st_ino);
    while (found == 0 && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, " FLOCK ") != NULL && strstr(line, want) != NULL &&
            sscanf(line, "%*s %*s %*s %*s %ld", &pid) == 1)
            found = pid > 0 ? pid : -1;
    fclose(f);
    return found;
}

static int32_t take_lock(struct file_sink *s, int fd, const struct stat *st)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return AW_OK;
    if (errno != EWOULDBLOCK)
        return sf_fail(s, errno, "cannot lock", s->at.path);
    long pid = sf_lock_holder(st);
    if (pid == (long)getpid())
        aw_host_error(s->host, AW_E_CONFIG,
                      "%s: another sink of this process writes to this file: give each its own path", s->at.path);
    else if (pid > 0)
        aw_host_error(s->host, AW_E_CONFIG,
                      "%s: process %ld writes to this file already: give each writer its own path", s->at.path, pid);
    else
        aw_host_error(s->host, AW_E_CONFIG,
                      "%s: another process writes to this file already: give each writer its own path", s->at.path);
    return sf_set_health(s, AW_E_CONFIG, "another writer holds the file");
}

/* "user", "user:group" or ":group", as names or numbers. */
int32_t sf_resolve_owner(struct file_sink *s)
{
    s->uid = (uid_t)-1;
    s->gid = (gid_t)-1;
    if (s->owner == NULL || s->owner_known)
        return AW_OK;
    char buf[4096], user[128], *end;
    const char *colon = strchr(s->owner, ':');
    size_t n = colon != NULL ? (size_t)(colon - s->owner) : strlen(s->owner);
    struct passwd pw, *got_pw = NULL;
    struct group gr, *got_gr = NULL;
    if (n >= sizeof user)
        return aw_host_error(s->host, AW_E_CONFIG, "owner: the user name is too long");
    memcpy(user, s->owner, n);
    user[n] = '\0';
    if (n > 0) {
        unsigned long number = strtoul(user, &end, 10);
        if (*end == '\0')
            s->uid = (uid_t)number;
        else if (getpwnam_r(user, &pw, buf, sizeof buf, &got_pw) == 0 && got_pw != NULL)
            s->uid = pw.pw_uid;
        else
            return aw_host_error(s->host, AW_E_CONFIG, "owner: there is no user \"%s\"", user);
    }
    if (colon != NULL) {
        unsigned long number = strtoul(colon + 1, &end, 10);
        if (*end == '\0' && end != colon + 1)
            s->gid = (gid_t)number;
        else if (getgrnam_r(colon + 1, &gr, buf, sizeof buf, &got_gr) == 0 && got_gr != NULL)
            s->gid = gr.gr_gid;
        else
            return aw_host_error(s->host, AW_E_CONFIG, "owner: there is no group \"%s\"", colon + 1);
    }
    return AW_OK;
}

int sf_sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0; /* EINVAL: this file system cannot */
    close(fd);
    return r;
}

/* Opens the path, creating file and (one level of) directory. *ret_created tells whether the file is new. */
static int open_path(struct file_sink *s, bool *ret_created)
{
    const int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW;
    bool made_dir = false;
    for (int tries = 0; tries < 8; tries++) {
        int fd = open(s->at.path, flags);
        *ret_created = false;
        if (fd >= 0 || errno != ENOENT)
            return fd >= 0 ? fd : -errno;
        fd = open(s->at.path, flags | O_CREAT | O_EXCL, s->mode);
        *ret_created = true;
        if (fd >= 0)
            return fd;
        if (errno == ENOENT && !made_dir) {
            if (mkdir(s->at.dir, 0750) < 0 && errno != EEXIST)
                return -errno;
            made_dir = true;
        } else if (errno != EEXIST)
            return -errno;
    }
    return -EAGAIN;
}

int32_t sf_dress(struct file_sink *s, int fd, const char *name)
{
    if (fchmod(fd, s->mode) < 0)
        return sf_fail(s, errno, "cannot set the mode", name);
    if ((s->uid != (uid_t)-1 || s->gid != (gid_t)-1) && fchown(fd, s->uid, s->gid) < 0)
        return sf_fail(s, errno, "cannot set the owner", name);
    return AW_OK;
}

static uint64_t period_end(const struct file_sink *s, uint64_t when)
{
    return s->rotate_interval == 0 ? 0 : (when / s->rotate_interval + 1) * s->rotate_interval;
}

static int32_t adopt(struct file_sink *s, int fd, bool created)
{
    struct stat st, now;
    int32_t r;
    if (fstat(fd, &st) < 0)
        return sf_fail(s, errno, "cannot examine", s->at.path);
    if (!S_ISREG(st.st_mode)) {
        aw_host_error(s->host, AW_E_CONFIG, "%s: is not a regular file", s->at.path);
        return sf_set_health(s, AW_E_CONFIG, "not a regular file");
    }
    if ((r = take_lock(s, fd, &st)) != AW_OK)
        return r;
    /* Between open and lock the file may have been rotated away by the writer that held it. */
    if (stat(s->at.path, &now) < 0 || now.st_dev != st.st_dev || now.st_ino != st.st_ino)
        return aw_host_error(s->host, AW_E_RETRY, "%s: was replaced while it was opened", s->at.path);
    if (created && (r = sf_dress(s, fd, s->at.path)) != AW_OK) {
        unlink(s->at.path);
        return r;
    }
    s->fd = fd;
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    s->size = (uint64_t)st.st_size;
    s->dir_dirty = true; /* even if it was there: whoever made it may have died before the directory was synced */
    s->tail_dirty = false;
    s->suspect = false;
    s->last = (struct sf_seal){0, "", 0};
    if ((r = sf_repair(s)) == AW_OK && s->fsync != SF_FSYNC_NEVER)
        r = sf_sync(s); /* what position() reports must be on disk */
    if (r != AW_OK) {
        s->fd = -1;
        return r;
    }
    s->durable_size = s->size;
    s->period_end = period_end(s, s->size > 0 ? (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec
                                              : s->host->now_ns());
    return AW_OK;
}

int32_t sf_open(struct file_sink *s)
{
    bool created;
    int32_t r = sf_resolve_owner(s);
    if (r != AW_OK)
        return sf_set_health(s, r, "unknown owner");
    s->owner_known = s->owner == NULL;
    int fd = open_path(s, &created);
    if (fd == -ELOOP) {
        aw_host_error(s->host, AW_E_CONFIG, "%s: is a symbolic link: name the file itself", s->at.path);
        return sf_set_health(s, AW_E_CONFIG, "is a symbolic link");
    }
    if (fd < 0)
        return sf_fail(s, -fd, "cannot open", s->at.path);
    r = adopt(s, fd, created);
    if (r != AW_OK)
        close(fd);
    return r;
}

int32_t sf_sync(struct file_sink *s)
{
    if (fdatasync(s->fd) < 0)
        return sf_fail(s, errno, "fdatasync failed", s->at.path);
    if (s->dir_dirty) {
        int r = sf_sync_dir(s->at.dir);
        if (r < 0)
            return sf_fail(s, -r, "cannot sync the directory", s->at.dir);
        s->dir_dirty = false;
    }
    return AW_OK;
}

void sf_rollback(struct file_sink *s)
{
    if (s->fd < 0 || s->size <= s->durable_size)
        return;
    s->size = s->durable_size;
    s->tail_dirty = ftruncate(s->fd, (off_t)s->size) < 0;
}

int32_t sf_close(struct file_sink *s, bool quiet)
{
    struct stat st;
    int32_t r = AW_OK;
    if (s->fd < 0)
        return AW_OK;
    if (s->size > s->durable_size) {
        if (s->fsync != SF_FSYNC_NEVER)
            r = sf_sync(s);
        if (r == AW_OK && fstat(s->fd, &st) == 0 && st.st_nlink > 0 && !s->lost_pending)
            s->archived_seq = s->stored_seq;
        else
            s->lost_pending = true; /* not known to be on disk, or gone with a deleted file */
    }
    if (r != AW_OK && !quiet)
        aw_host_log(s->host, AW_LOG_ERROR, "%s: events that were not synced are asked for again", s->at.path);
    close(s->fd); /* the lock goes with it */
    s->fd = -1;
    s->size = s->durable_size = 0;
    s->tail_dirty = false;
    return r;
}

/* Somebody cut or extended the file under us. */
static int32_t resized(struct file_sink *s, uint64_t size)
{
    aw_host_log(s->host, AW_LOG_WARNING, "%s: was %s by somebody else from %" PRIu64 " to %" PRIu64 " bytes",
                s->at.path, size < s->size ? "cut" : "extended", s->size, size);
    if (size < s->size && s->size > s->durable_size)
        s->lost_pending = true;
    s->size = size;
    if (s->durable_size > size)
        s->durable_size = size;
    int32_t r = sf_repair(s);
    if (s->durable_size > s->size)
        s->durable_size = s->size;
    return r;
}

int32_t sf_ready(struct file_sink *s)
{
    struct stat named, open_file;
    if (s->fd < 0)
        return sf_open(s);
    bool there = stat(s->at.path, &named) == 0;
    if (!there && errno != ENOENT)
        return sf_fail(s, errno, "cannot examine", s->at.path);
    if (!there || named.st_dev != s->dev || named.st_ino != s->ino) {
        aw_host_log(s->host, AW_LOG_WARNING, "%s: the file was %s; opening it anew", s->at.path,
                    there ? "replaced" : "moved or deleted");
        s->host->metric_add(s->host, s->metric_reopens, 1);
        sf_close(s, false); /* a failure is kept in lost_pending and makes the next flush fail */
        return sf_open(s);
    }
    if (s->tail_dirty) {
        if (ftruncate(s->fd, (off_t)s->size) < 0)
            return sf_fail(s, errno, "cannot cut a torn line", s->at.path);
        s->tail_dirty = false;
    }
    if (fstat(s->fd, &open_file) < 0)
        return sf_fail(s, errno, "cannot examine", s->at.path);
    return (uint64_t)open_file.st_size == s->size ? AW_OK : resized(s, (uint64_t)open_file.st_size);
}

bool sf_rotation_due(const struct file_sink *s, uint64_t now, uint64_t more)
{
    bool due = (s->rotate_size != 0 && s->size + s->buffered + more > s->rotate_size) ||
               (s->rotate_interval != 0 && s->period_end != 0 && now >= s->period_end);
    return due && s->size + s->buffered > 0 && s->host->mono_ns() >= s->rotate_retry;
}

int sf_rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (link(from, to) < 0) /* this file system knows no RENAME_NOREPLACE */
        return -errno;
    return unlink(from) < 0 ? -errno : 0;
}

/* Gives the current file its archive name. 0 or -errno. */
static int archive(struct file_sink *s)
{
    char stamp[SF_STAMP + 1];
    sf_stamp(s->host->now_ns(), stamp);
    for (int tries = 0; tries < 1000; tries++) {
        if (strcmp(stamp, s->stamp) > 0) {
            memcpy(s->stamp, stamp, sizeof s->stamp);
            s->counter = 0;
        }
        s->counter++; /* the clock stands still or went back: the counter keeps the order */
        size_t n = strlen(s->at.path) + SF_STAMP + 32;
        char *to = malloc(n);
        if (to == NULL)
            return -ENOMEM;
        snprintf(to, n, "%s/%.*s-%s-%06u%s", s->at.dir, (int)s->at.stem_len, s->at.base, s->stamp, s->counter,
                 s->at.ext);
        int r = sf_rename_new(s->at.path, to);
        free(to);
        if (r != -EEXIST)
            return r;
    }
    return -EEXIST;
}

int32_t sf_rotate(struct file_sink *s, bool sync)
{
    int32_t r;
    if (sync && (r = sf_sync(s)) != AW_OK)
        return r;
    s->durable_size = s->size;
    int e = archive(s);
    if (e < 0) {
        /* Auditing goes on in the file there is: a larger file is better than a lost event. */
        aw_host_log(s->host, AW_LOG_ERROR, "%s: cannot rotate: %s; writing on into the same file", s->at.path,
                    strerror(-e));
        s->rotate_retry = s->host->mono_ns() + ROTATE_RETRY_NS;
        return AW_OK;
    }
    s->host->metric_add(s->host, s->metric_rotations, 1);
    if (s->stored_seq > s->archived_seq && !s->lost_pending)
        s->archived_seq = s->stored_seq;
    close(s->fd);
    s->fd = -1;
    s->size = s->durable_size = 0;
    r = sf_open(s);
    sf_compress_wake(s);
    return r;
}
