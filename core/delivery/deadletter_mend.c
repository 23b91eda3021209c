/* deadletter_mend.c - a dead-letter file that is not as it should be: nothing of it is lost, and the next letter finds
 * its place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/clock.h"
#include "delivery/deadletter_file.h"

#define COPY_CHUNK (64u << 10)
#define WRITE_CHUNK (1u << 20)

int dl_file_aside_name(struct deadletter *dl, const char *what, char *out, size_t size)
{
    char now[CLOCK_RFC3339_MAX], stamp[CLOCK_RFC3339_MAX];
    struct stat st;
    size_t n = 0;
    clock_format_rfc3339((int64_t)clock_real_ns(), now);
    for (const char *p = now; *p; p++)
        if (*p != '-' && *p != ':')
            stamp[n++] = *p;
    stamp[n] = '\0';
    for (unsigned i = 1; i < 10000; i++) {
        int len = i == 1 ? snprintf(out, size, "%s.%s-%s", dl->file, what, stamp)
                         : snprintf(out, size, "%s.%s-%s-%u", dl->file, what, stamp, i);
        if (len < 0 || (size_t)len >= size)
            return -ENAMETOOLONG;
        if (fstatat(dl->dirfd, out, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : -errno;
    }
    return -EEXIST;
}

/* ---- an unfinished write ----------------------------------------------------------------------------------------- */

static int copy_tail(int from, uint64_t at, uint64_t end, int to)
{
    AW_AUTOFREE char *buf = malloc(COPY_CHUNK);
    if (!buf)
        return -ENOMEM;
    while (at < end) {
        size_t want = end - at < COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
        ssize_t n = fs_pread_full(from, buf, want, at);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        int rc = fs_write_all(to, buf, (size_t)n, NULL);
        if (rc < 0)
            return rc;
        at += (uint64_t)n;
    }
    return fs_fsync(to);
}

static int set_tail_aside(struct deadletter *dl, const struct dl_index *x)
{
    char aside[300];
    int out = -1, rc = dl_file_aside_name(dl, "torn", aside, sizeof aside);
    if (rc == 0)
        rc = fs_openat(dl->dirfd, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &out);
    if (rc < 0)
        return rc;
    rc = copy_tail(dl->fd, x->good, x->size, out);
    int rc2 = fs_close(out);
    rc = rc < 0 ? rc : rc2;
    if (rc == 0)
        rc = fs_sync_dir(dl->dirfd);
    if (rc < 0) {
        (void)fs_unlinkat(dl->dirfd, aside); /* the file itself still has it */
        return rc;
    }
    rc = fs_truncate(dl->fd, x->good);
    if (rc == 0)
        rc = fs_fdatasync(dl->fd);
    if (rc == 0)
        diag_log(&dl->diag, AW_LOG_WARNING, dl->sink,
                 "%s: an unfinished write of %" PRIu64 " bytes at its end was set aside in %s; its event was not taken "
                 "for stored",
                 dl->path, x->size - x->good, aside);
    return rc;
}

/* ---- a new file in its place ------------------------------------------------------------------------------------- */

int dl_file_fresh(struct deadletter *dl, int *ret_fd)
{
    return fs_openat(dl->dirfd, dl->fresh_file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, ret_fd);
}

int dl_file_replace(struct deadletter *dl, int fresh, const char *aside)
{
    int rc = fs_fsync(fresh), rc2 = fs_close(fresh);
    rc = rc < 0 ? rc : rc2;
    /* Killed between the two renames: no file, but a head, and the next start says that it is gone. */
    if (rc == 0 && aside)
        rc = fs_renameat(dl->dirfd, dl->file, aside);
    if (rc == 0)
        rc = fs_renameat(dl->dirfd, dl->fresh_file, dl->file);
    if (rc == 0)
        rc = fs_sync_dir(dl->dirfd);
    if (rc < 0) {
        (void)fs_unlinkat(dl->dirfd, dl->fresh_file);
        return rc;
    }
    rc = dl_file_open(dl);
    if (rc == 0) {
        dl->checked = true;
        dl_file_tell_head(dl);
    }
    return rc;
}

/* Has an earlier line carried this very letter? Only asked where numbers do not rise. */
static bool seen_before(const struct dl_index *x, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (x->entries[k].number == x->entries[i].number && strcmp(x->entries[k].hash, x->entries[i].hash) == 0)
            return true;
    return false;
}

/* Letters that are whole and not done with go on under new numbers. */
static int carry_letters(struct deadletter *dl, const struct dl_index *x, struct dl_text *t, int fresh,
                         uint64_t *ret_count)
{
    uint64_t highest = 0;
    int rc = 0;
    for (size_t i = 0; i < x->count && rc == 0; i++) {
        const struct dl_entry *e = &x->entries[i];
        bool twice = e->number <= highest && seen_before(x, i);
        highest = e->number > highest ? e->number : highest;
        if (e->type != DL_LETTER || !e->sound || e->replayed || twice)
            continue;
        AW_AUTOFREE char *text = NULL;
        struct dl_line line;
        rc = dl_index_line(dl->fd, e, &text, &line);
        if (rc < 0)
            break;
        size_t start = t->len;
        dl_letter_again(t, dl->number + 1, text, &line);
        rc = dl_end(t, start, dl->sha, dl->hash);
        dl->number++;
        ++*ret_count;
        if (rc == 0 && t->len >= WRITE_CHUNK) {
            rc = fs_write_all(fresh, t->ptr, t->len, NULL);
            t->len = 0;
        }
    }
    if (rc == 0 && t->len > 0)
        rc = fs_write_all(fresh, t->ptr, t->len, NULL);
    return rc;
}

static int begin_anew(struct deadletter *dl, const struct dl_index *x)
{
    char aside[300] = "";
    struct dl_text t = {.ptr = NULL};
    int fresh = -1, rc = x->size > 0 ? dl_file_aside_name(dl, "damaged", aside, sizeof aside) : 0;
    uint64_t carried = 0;
    if (rc == 0)
        rc = dl_file_fresh(dl, &fresh);
    if (rc < 0)
        return rc;
    dl->number = dl->head.known && dl->head.number > x->last_number ? dl->head.number : x->last_number;
    dl->number++;
    dl->hash[0] = '\0';
    dl_begin(&t, dl->number, "begun");
    dl_printf(&t, ",\"file\":\"%s\",\"reason\":\"", aside);
    dl_put_reason(&t, x->first_finding);
    dl_put(&t, "\"", 1);
    rc = dl_end(&t, 0, dl->sha, dl->hash);
    if (rc == 0)
        rc = carry_letters(dl, x, &t, fresh, &carried);
    dl_text_free(&t);
    if (rc < 0) {
        (void)fs_close(fresh); /* the write's error is the one that counts */
        (void)fs_unlinkat(dl->dirfd, dl->fresh_file);
        return rc;
    }
    rc = dl_file_replace(dl, fresh, aside[0] ? aside : NULL);
    if (rc == 0)
        diag_log(&dl->diag, AW_LOG_ERROR, dl->sink,
                 "%s is damaged (%s); %s%s, and a new file begun, with the %" PRIu64 " letters that are whole and not "
                 "replayed",
                 dl->path, x->first_finding, aside[0] ? "it was renamed " : "it was gone", aside, carried);
    return rc;
}

int dl_file_mend(struct deadletter *dl)
{
    struct dl_index x;
    int rc = dl_index_read(dl->fd, &dl->head, NULL, NULL, &x);
    if (rc == 0 && x.findings == 0) {
        if (x.good < x.size)
            rc = set_tail_aside(dl, &x);
        dl->size = x.good;
        dl->number = x.last_number;
        memcpy(dl->hash, x.last_hash, sizeof dl->hash);
        dl->checked = rc == 0;
        if (rc == 0 && x.last_number > 0 && (!dl->head.known || dl->head.end != dl->size))
            dl_file_tell_head(dl);
    } else if (rc == 0) {
        rc = begin_anew(dl, &x);
    }
    dl_index_free(&x);
    return rc;
}
