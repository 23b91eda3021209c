/* file_compress.c - a thread of the instance turns closed files into .zst files, away from the write path.
 * SPDX-License-Identifier: Apache-2.0
 *
 * X is compressed into X.zst.tmp, synced, renamed to X.zst, the directory is synced, and only then X is removed. So a
 * crash at any point leaves X, or X.zst, or both with the same content; the next start goes on from there.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "file_sink.h"

#define AGAIN_S 60 /* after a failure, e.g. a full disk */

#ifdef HAVE_ZSTD
static bool stopping(struct file_sink *s)
{
    pthread_mutex_lock(&s->lock);
    bool stop = s->compress_stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static int write_all(int fd, const char *buf, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, buf, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return w < 0 ? -errno : -EIO;
        buf += w;
        n -= (size_t)w;
    }
    return 0;
}

/* Compresses in to out. -ECANCELED: stop() came. */
static int pump(struct file_sink *s, ZSTD_CCtx *ctx, int in, int out)
{
    size_t in_cap = ZSTD_CStreamInSize(), out_cap = ZSTD_CStreamOutSize();
    char *from = malloc(in_cap), *to = malloc(out_cap);
    int r = from == NULL || to == NULL ? -ENOMEM : 0;
    bool last = false;
    while (r == 0 && !last) {
        ssize_t n = read(in, from, in_cap);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = -errno;
            break;
        }
        last = n == 0;
        ZSTD_inBuffer src = {from, (size_t)n, 0};
        size_t left;
        do {
            ZSTD_outBuffer dst = {to, out_cap, 0};
            left = ZSTD_compressStream2(ctx, &dst, &src, last ? ZSTD_e_end : ZSTD_e_continue);
            r = ZSTD_isError(left) ? -ENOMEM : write_all(out, to, dst.pos);
        } while (r == 0 && (last ? left != 0 : src.pos < src.size));
        if (r == 0 && stopping(s))
            r = -ECANCELED;
    }
    free(from);
    free(to);
    return r;
}

/* in -> tmp, with the size in the frame's head and a checksum at its end, owner, mode and time as before. */
static int compress_to(struct file_sink *s, int in, const char *tmp)
{
    struct stat st;
    int out = -1, r = 0;
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    if (ctx == NULL)
        r = -ENOMEM;
    else if (fstat(in, &st) < 0)
        r = -errno;
    else if ((out = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
        r = -errno;
    if (r == 0) {
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, s->compress_level);
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
        ZSTD_CCtx_setPledgedSrcSize(ctx, (unsigned long long)st.st_size);
        r = pump(s, ctx, in, out);
    }
    if (r == 0) {
        struct timespec times[2] = {st.st_atim, st.st_mtim};
        if (fchown(out, st.st_uid, st.st_gid) < 0 && errno != EPERM)
            r = -errno;
        else if (fchmod(out, st.st_mode & 07777) < 0 || futimens(out, times) < 0 || fsync(out) < 0)
            r = -errno;
    }
    ZSTD_freeCCtx(ctx);
    if (out >= 0 && close(out) < 0 && r == 0)
        r = -errno;
    return r;
}

/* Is there a whole X.zst of this file already? */
static bool already(const char *name, const char *zst)
{
    struct stat st;
    char head[32];
    int fd = open(zst, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    return n > 0 && stat(name, &st) == 0 && ZSTD_getFrameContentSize(head, (size_t)n) == (unsigned long long)st.st_size;
}

/* The lock is held until the file is compressed and gone: a retention in another process takes it before it removes a
 * file, so that nothing comes back. -EWOULDBLOCK: one is about to; -ENOENT: it did. */
static int open_locked(const char *name, int *ret)
{
    struct stat st;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r = 0;
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
        r = -errno;
    else if (st.st_nlink == 0)
        r = -ENOENT;
    if (r < 0)
        close(fd);
    else
        *ret = fd;
    return r;
}

static int compress_one(struct file_sink *s, const char *entry)
{
    char *name = sf_join(s->at.dir, entry, ""), *zst = sf_join(s->at.dir, entry, ".zst"),
         *tmp = sf_join(s->at.dir, entry, ".zst.tmp");
    int in = -1, r = name == NULL || zst == NULL || tmp == NULL ? -ENOMEM : open_locked(name, &in);
    if (r == 0 && !already(name, zst)) {
        r = compress_to(s, in, tmp);
        if (r == 0)
            r = sf_rename_new(tmp, zst); /* never over a file of that name that is not ours */
        if (r < 0)
            unlink(tmp);
    }
    if (r == 0)
        r = sf_sync_dir(s->at.dir);
    if (r == 0 && unlink(name) < 0 && errno != ENOENT)
        r = -errno;
    if (r == 0)
        s->host->metric_add(s->host, s->metric_compressed, 1);
    else if (r != -ECANCELED && r != -EWOULDBLOCK && r != -ENOENT)
        aw_host_log(s->host, AW_LOG_ERROR, "%s: cannot compress: %s; it stays as it is", entry, strerror(-r));
    if (in >= 0)
        close(in); /* and with it the lock */
    free(name);
    free(zst);
    free(tmp);
    return r == -ENOENT ? 0 : r;
}

/* Every closed file that is not compressed yet. False: try again later. */
static bool compress_all(struct file_sink *s)
{
    struct sf_list list;
    bool good = true;
    int r = sf_list_load(s->at.dir, &s->at, &list);
    if (r < 0) {
        aw_host_log(s->host, AW_LOG_ERROR, "%s: cannot list archives: %s", s->at.dir, strerror(-r));
        return false;
    }
    for (size_t i = 0; i < list.count && !stopping(s); i++)
        if (list.entries[i].archive && !list.entries[i].zst && compress_one(s, list.entries[i].name) < 0)
            good = false;
    sf_list_fini(&list);
    return good;
}

static void *compress_main(void *arg)
{
    struct file_sink *s = arg;
    bool good = true;
    pthread_mutex_lock(&s->lock);
    while (!s->compress_stop) {
        if (!s->compress_work && good) {
            pthread_cond_wait(&s->compress_wake, &s->lock);
            continue;
        }
        if (!s->compress_work) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += AGAIN_S;
            if (pthread_cond_timedwait(&s->compress_wake, &s->lock, &until) != ETIMEDOUT)
                continue;
        }
        s->compress_work = false;
        pthread_mutex_unlock(&s->lock);
        good = compress_all(s);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int sf_compress_start(struct file_sink *s)
{
    sigset_t all, old;
    if (!s->compress || s->compress_running)
        return 0;
    s->compress_stop = false;
    s->compress_work = true; /* what an earlier process left behind */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&s->compress_thread, NULL, compress_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    s->compress_running = r == 0;
    return -r;
}
#else
int sf_compress_start(struct file_sink *s)
{
    return s->compress ? -ENOTSUP : 0; /* create() has refused it */
}
#endif

void sf_compress_wake(struct file_sink *s)
{
    pthread_mutex_lock(&s->lock);
    s->compress_work = true;
    pthread_cond_signal(&s->compress_wake);
    pthread_mutex_unlock(&s->lock);
}

void sf_compress_stop(struct file_sink *s)
{
    if (!s->compress_running)
        return;
    pthread_mutex_lock(&s->lock);
    s->compress_stop = true;
    pthread_cond_signal(&s->compress_wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->compress_thread, NULL);
    s->compress_running = false;
}
