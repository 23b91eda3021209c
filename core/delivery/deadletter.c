/* deadletter.c - see deadletter.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "delivery/deadletter_file.h"

#define LOCK_WAIT_NS 2000000000u
#define LOCK_NAP_NS 5000000u

int deadletter_create(const char *state_dir, const char *sink, const struct diag_out *diag, struct deadletter **ret)
{
    struct deadletter *dl = calloc(1, sizeof *dl);
    if (!dl)
        return -ENOMEM;
    dl->dirfd = dl->fd = dl->head_fd = dl->claim_fd = -1;
    dl->diag = *diag;
    dl->sink = strdup(sink);
    if (asprintf(&dl->dir, "%s/deadletter", state_dir) < 0)
        dl->dir = NULL;
    if (asprintf(&dl->file, "%s.jsonl", sink) < 0)
        dl->file = NULL;
    if (asprintf(&dl->head_file, "%s.head", sink) < 0)
        dl->head_file = NULL;
    if (asprintf(&dl->fresh_file, ".%s.jsonl.new", sink) < 0)
        dl->fresh_file = NULL;
    if (dl->dir && dl->file && asprintf(&dl->path, "%s/%s", dl->dir, dl->file) < 0)
        dl->path = NULL;
    int rc = dl->sink && dl->path && dl->head_file && dl->fresh_file ? hash_sha256_create(&dl->sha) : -ENOMEM;
    if (rc < 0) {
        deadletter_destroy(dl);
        return rc;
    }
    *ret = dl;
    return 0;
}

void deadletter_destroy(struct deadletter *dl)
{
    if (!dl)
        return;
    const int fds[] = {dl->fd, dl->head_fd, dl->claim_fd, dl->dirfd};
    for (size_t i = 0; i < AW_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)fs_close(fds[i]); /* all that was written was synced */
    hash_sha256_destroy(dl->sha);
    free(dl->dir);
    free(dl->path);
    free(dl->sink);
    free(dl->file);
    free(dl->head_file);
    free(dl->fresh_file);
    free(dl);
}

const char *deadletter_path(const struct deadletter *dl)
{
    return dl->path;
}

/* ---- the file under its lock ------------------------------------------------------------------------------------- */

static int open_directory(struct deadletter *dl)
{
    if (dl->dirfd >= 0)
        return 0;
    int rc = fs_mkdir_p(dl->dir, 0700);
    if (rc == 0)
        rc = fs_open(dl->dir, O_RDONLY | O_DIRECTORY, 0, &dl->dirfd);
    return rc;
}

static int lock_waiting(int fd)
{
    uint64_t deadline = clock_mono_ns() + LOCK_WAIT_NS;
    int rc;
    while ((rc = fs_lock(fd)) == -EWOULDBLOCK && clock_mono_ns() < deadline)
        clock_sleep_ns(LOCK_NAP_NS);
    return rc;
}

/* The head's room is on disk before the first line: telling it later needs no space. */
static int make_head(struct deadletter *dl)
{
    static const char blank[DL_HEAD_SIZE];
    struct stat st;
    if (fstat(dl->head_fd, &st) < 0)
        return -errno;
    if (st.st_size >= (off_t)sizeof blank)
        return 0;
    uint64_t have = (uint64_t)st.st_size;
    int rc = fs_pwrite_all(dl->head_fd, blank, sizeof blank - have, have, NULL);
    if (rc == 0)
        rc = fs_fdatasync(dl->head_fd);
    return rc == 0 ? fs_sync_dir(dl->dirfd) : rc;
}

static int lock_head(struct deadletter *dl)
{
    int rc = fs_openat(dl->dirfd, dl->head_file, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600, &dl->head_fd);
    if (rc == 0)
        rc = lock_waiting(dl->head_fd);
    if (rc == 0)
        rc = make_head(dl);
    return rc == 0 ? dl_head_read(dl->head_fd, &dl->head) : rc;
}

/* What is no regular file has no business there. */
static int move_stranger(struct deadletter *dl)
{
    char aside[300];
    int rc = dl_file_aside_name(dl, "damaged", aside, sizeof aside);
    if (rc == 0)
        rc = fs_renameat(dl->dirfd, dl->file, aside);
    if (rc == 0)
        diag_log(&dl->diag, AW_LOG_ERROR, dl->sink, "%s is no regular file; it was renamed %s", dl->path, aside);
    return rc;
}

int dl_file_open(struct deadletter *dl)
{
    struct stat st;
    if (dl->fd >= 0)
        (void)fs_close(dl->fd); /* all that was written was synced */
    dl->fd = -1;
    ino_t before = dl->inode;
    const int flags = O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK;
    for (int tries = 0;; tries++) {
        int rc = fs_openat(dl->dirfd, dl->file, flags, 0600, &dl->fd);
        if (rc == 0 && fstat(dl->fd, &st) < 0)
            return -errno;
        if (rc == 0 && S_ISREG(st.st_mode))
            break;
        if ((rc < 0 && rc != -EISDIR && rc != -ELOOP && rc != -ENXIO) || tries > 0)
            return rc < 0 ? rc : -EBADMSG;
        if (rc == 0)
            (void)fs_close(dl->fd); /* nothing was written */
        dl->fd = -1;
        rc = move_stranger(dl);
        if (rc < 0)
            return rc;
    }
    dl->inode = st.st_ino;
    dl->checked = dl->checked && st.st_ino == before;
    dl->size = (uint64_t)st.st_size;
    int rc = fs_sync_dir(dl->dirfd); /* made just now, or by one who could not do this */
    if (rc < 0) {
        (void)fs_close(dl->fd);
        dl->fd = -1; /* so that the next try comes here again */
    }
    return rc;
}

int dl_file_begin(struct deadletter *dl)
{
    struct stat st;
    int rc = open_directory(dl);
    if (rc == 0)
        rc = lock_head(dl);
    if (rc < 0)
        return rc;
    bool same = dl->fd >= 0 && fstatat(dl->dirfd, dl->file, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == dl->inode;
    if (same)
        dl->size = (uint64_t)st.st_size;
    else
        rc = dl_file_open(dl);
    if (rc < 0)
        return rc;
    if (dl->checked && dl->head.known && dl->head.end == dl->size) {
        dl->number = dl->head.number;
        memcpy(dl->hash, dl->head.hash, sizeof dl->hash);
        return 0;
    }
    return dl_file_mend(dl);
}

void dl_file_end(struct deadletter *dl)
{
    if (dl->head_fd >= 0) {
        (void)fs_unlock(dl->head_fd); /* a child that was forked meanwhile would keep the lock */
        (void)fs_close(dl->head_fd);  /* what had to be on disk was synced */
    }
    dl->head_fd = -1;
}

void dl_file_tell_head(struct deadletter *dl)
{
    struct dl_head h = {.known = true, .number = dl->number, .end = dl->size};
    memcpy(h.hash, dl->hash, sizeof h.hash);
    int rc = dl_head_write(dl->head_fd, &h);
    if (rc < 0)
        diag_log(&dl->diag, AW_LOG_WARNING, dl->sink, "%s/%s cannot be written: %s", dl->dir, dl->head_file,
                 strerror(-rc));
}

int dl_file_append(struct deadletter *dl, const struct dl_text *line)
{
    int rc = fs_write_all(dl->fd, line->ptr, line->len, NULL);
    if (rc == 0)
        rc = fs_fdatasync(dl->fd);
    if (rc < 0) {
        /* Cut the line off, so that the next try does not glue itself to a part; a new descriptor forgets the failed
         * pages. */
        (void)fs_truncate(dl->fd, dl->size);
        (void)fs_close(dl->fd);
        dl->fd = -1;
        return rc;
    }
    dl->number++;
    dl->size += line->len;
    dl_file_tell_head(dl);
    return 0;
}

/* ---- appending ---------------------------------------------------------------------------------------------------
 */

int deadletter_add(struct deadletter *dl, const struct record_view *view, uint32_t attempts, const char *reason)
{
    struct dl_text t = {.ptr = NULL};
    int rc = dl_file_begin(dl);
    if (rc == 0) {
        dl_letter(&t, dl->number + 1, dl->sink, view, attempts, reason);
        rc = dl_end(&t, 0, dl->sha, dl->hash);
    }
    if (rc == 0)
        rc = dl_file_append(dl, &t);
    dl_file_end(dl);
    dl_text_free(&t);
    return rc;
}

static int append_for_replay(struct deadletter *dl, int begun, struct dl_text *t)
{
    int rc = begun;
    if (rc == 0 && dl->inode != dl->looked_at)
        rc = -ESTALE;
    if (rc == 0)
        rc = dl_end(t, 0, dl->sha, dl->hash);
    if (rc == 0)
        rc = dl_file_append(dl, t);
    dl_file_end(dl);
    dl_text_free(t);
    return rc;
}

int deadletter_mark(struct deadletter *dl, const uint64_t *numbers, size_t count)
{
    struct dl_text t = {.ptr = NULL};
    int rc = dl_file_begin(dl);
    dl_begin(&t, dl->number + 1, "replayed");
    dl_printf(&t, ",\"letters\":[");
    for (size_t i = 0, last; i < count; i = last + 1) {
        for (last = i; last + 1 < count && numbers[last + 1] == numbers[last] + 1;)
            last++;
        dl_printf(&t, "%s[%" PRIu64 ",%" PRIu64 "]", i ? "," : "", numbers[i], numbers[last]);
    }
    dl_printf(&t, "]");
    return append_for_replay(dl, rc, &t);
}

int deadletter_refused(struct deadletter *dl, uint64_t number, uint64_t seq, uint64_t attempts, const char *reason)
{
    struct dl_text t = {.ptr = NULL};
    int rc = dl_file_begin(dl);
    dl_begin(&t, dl->number + 1, "rejected");
    dl_printf(&t, ",\"letter\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"attempts\":%" PRIu64 ",\"reason\":\"", number, seq,
              attempts);
    dl_put_reason(&t, reason);
    dl_put(&t, "\"", 1);
    return append_for_replay(dl, rc, &t);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

/* The head before the file: lines may come while it is read, and what the head knows of must be there. */
int deadletter_look(struct deadletter *dl, dl_finding_fn fn, void *arg, struct dl_index *ret, int *ret_fd)
{
    AW_AUTOCLOSE int dir = -1, head_fd = -1, fd = -1;
    struct dl_head head = {.known = false};
    *ret = (struct dl_index){.entries = NULL};
    *ret_fd = -1;
    int rc = fs_open(dl->dir, O_RDONLY | O_DIRECTORY, 0, &dir);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0) {
        rc = fs_openat(dir, dl->head_file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &head_fd);
        rc = rc == 0 ? dl_head_read(head_fd, &head) : rc == -ENOENT || rc == -ELOOP ? 0 : rc;
    }
    if (rc == 0)
        rc = fs_openat(dir, dl->file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (rc == -ENOENT)
        rc = 0;
    if (rc == 0)
        rc = dl_index_read(fd, &head, fn, arg, ret);
    if (rc < 0)
        return rc;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int deadletter_claim(struct deadletter *dl)
{
    char name[300];
    int rc = open_directory(dl);
    if (rc == 0 && snprintf(name, sizeof name, "%s.replay", dl->sink) >= (int)sizeof name)
        rc = -ENAMETOOLONG;
    if (rc == 0)
        rc = fs_openat(dl->dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600, &dl->claim_fd);
    return rc == 0 ? fs_lock(dl->claim_fd) : rc;
}

int deadletter_mend(struct deadletter *dl, struct dl_index *ret, int *ret_fd)
{
    *ret = (struct dl_index){.entries = NULL};
    *ret_fd = -1;
    int rc = dl_file_begin(dl);
    dl->looked_at = dl->inode;
    if (rc == 0)
        rc = dl_head_read(dl->head_fd, &dl->head);
    if (rc == 0)
        rc = dl_index_read(dl->fd, &dl->head, NULL, NULL, ret);
    if (rc == 0)
        rc = fs_openat(dl->dirfd, dl->file, O_RDONLY | O_NOFOLLOW, 0, ret_fd);
    dl_file_end(dl);
    return rc;
}
