/* trust.c - may this file's code run here? See plugin_internal.h. SPDX-License-Identifier: Apache-2.0
 *
 * The path is walked by hand, component by component with lstat, and symbolic links are resolved here rather than by
 * the kernel: so the directories a link leads through are checked like all others. What remains is a race with somebody
 * who owns one of the directories, and those are root and ourselves.
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "plugin/plugin_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#define MAX_LINKS 40

void load_refuse(struct load_report *report, const char *field, const char *expected, const char *remedy,
                 const char *found, ...)
{
    size_t slot = report->count++;
    if (slot >= LOAD_REPORT_MAX)
        return;
    char text[600];
    va_list ap;
    va_start(ap, found);
    vsnprintf(text, sizeof text, found, ap);
    va_end(ap);
    char *line = NULL;
    if (asprintf(&line, "%s: %s: expected %s, found %s; %s", report->path ? report->path : "plugin", field, expected,
                 text, remedy) < 0)
        line = NULL;
    report->lines[slot] = line;
}

void load_report_free(struct load_report *report)
{
    for (size_t i = 0; i < LOAD_REPORT_MAX; i++)
        base_free_p(&report->lines[i]);
    report->count = 0;
}

bool trust_owner(const struct stat *st)
{
    return (st->st_uid == 0 || st->st_uid == geteuid()) && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool trust_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

struct walk {
    struct load_report *report;
    char done[PATH_MAX];     /* resolved so far, without trailing slash; "" is the root */
    char rest[2 * PATH_MAX]; /* still to do */
    unsigned links;
    struct stat st; /* of done */
};

/* Owner and mode of one component. */
static int check_component(struct walk *w, const char *shown, const struct stat *st, bool last)
{
    char field[PATH_MAX + 32];
    snprintf(field, sizeof field, "owner of %s", shown);
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        char expected[64];
        snprintf(expected, sizeof expected, "uid 0 or %u", (unsigned)geteuid());
        load_refuse(w->report, field, expected, "whoever owns it can replace the code: chown it to root", "uid %u",
                    (unsigned)st->st_uid);
        return -EACCES;
    }
    if (S_ISLNK(st->st_mode))
        return 0;
    snprintf(field, sizeof field, "mode of %s", shown);
    if (last && !S_ISREG(st->st_mode)) {
        load_refuse(w->report, field, "a regular file", "give the path of the plugin's .so file", "%s",
                    S_ISDIR(st->st_mode) ? "a directory" : "a special file");
        return -EACCES;
    }
    if (!last && !S_ISDIR(st->st_mode)) {
        load_refuse(w->report, field, "a directory", "correct the path", "a file");
        return -EACCES;
    }
    bool sticky = !last && (st->st_mode & S_ISVTX) != 0;
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky) {
        char remedy[PATH_MAX + 64];
        snprintf(remedy, sizeof remedy, "run chmod go-w %s", shown);
        load_refuse(w->report, field, "writable by its owner only", remedy, "mode %04o",
                    (unsigned)(st->st_mode & 07777));
        return -EACCES;
    }
    return 0;
}

/* Replaces the component just looked at by what the link says. */
static int follow(struct walk *w, const char *link_path, bool last)
{
    char target[PATH_MAX];
    ssize_t n = readlink(link_path, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    char field[PATH_MAX + 32];
    snprintf(field, sizeof field, "link %s", link_path);
    if (last && (strchr(target, '/') || strcmp(target, "..") == 0)) {
        load_refuse(w->report, field, "a target in the same directory", "copy the plugin there, or name its real path",
                    "%s", target);
        return -EACCES;
    }
    if (++w->links > MAX_LINKS) {
        load_refuse(w->report, field, "at most 40 symbolic links", "remove the loop", "more");
        return -EACCES;
    }
    char rest[2 * PATH_MAX];
    int len = snprintf(rest, sizeof rest, "%s/%s", target, w->rest);
    if (len < 0 || (size_t)len >= sizeof rest)
        return -ENAMETOOLONG;
    if (last)
        rest[n] = '\0';
    memcpy(w->rest, rest, (size_t)len + 1);
    if (target[0] == '/')
        w->done[0] = '\0';
    return 0;
}

/* Takes the next component off rest. false: nothing left. */
static bool next_component(struct walk *w, char *name, size_t size, bool *ret_last)
{
    char *p = w->rest;
    p += strspn(p, "/");
    if (*p == '\0')
        return false;
    size_t n = strcspn(p, "/");
    if (n >= size)
        return false;
    memcpy(name, p, n);
    name[n] = '\0';
    const char *tail = p + n;
    *ret_last = tail[strspn(tail, "/")] == '\0';
    memmove(w->rest, tail, strlen(tail) + 1);
    return true;
}

static int walk_path(struct walk *w)
{
    struct stat st;
    if (lstat("/", &st) < 0)
        return -errno;
    int rc = check_component(w, "/", &st, false);
    char name[NAME_MAX + 1];
    bool last = false;
    while (rc == 0 && next_component(w, name, sizeof name, &last)) {
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            char *slash = strrchr(w->done, '/');
            if (slash)
                *slash = '\0';
            continue;
        }
        char candidate[PATH_MAX];
        int len = snprintf(candidate, sizeof candidate, "%s/%s", w->done, name);
        if (len < 0 || (size_t)len >= sizeof candidate)
            return -ENAMETOOLONG;
        if (lstat(candidate, &st) < 0)
            return -errno;
        rc = check_component(w, candidate, &st, last);
        if (rc == 0 && S_ISLNK(st.st_mode)) {
            rc = follow(w, candidate, last);
            continue;
        }
        memcpy(w->done, candidate, (size_t)len + 1);
        w->st = st;
    }
    if (rc == 0 && (w->rest[strspn(w->rest, "/")] != '\0'))
        return -ENAMETOOLONG;
    return rc;
}

static int trust_failed(struct load_report *report, int rc)
{
    if (report->count == 0)
        load_refuse(report, "file", "a readable plugin file",
                    "check the path, and that the plugin's package is installed", "%s", strerror(-rc));
    return rc;
}

int trust_open(const char *path, struct load_report *report, struct trusted_file *ret)
{
    *ret = (struct trusted_file){.fd = -1};
    if (path[0] != '/') {
        load_refuse(report, "path", "an absolute path", "write the whole path, from / on", "\"%s\"", path);
        return -EINVAL;
    }
    AW_AUTOFREE struct walk *w = calloc(1, sizeof *w);
    if (!w)
        return trust_failed(report, -ENOMEM);
    w->report = report;
    size_t len = strlen(path);
    if (len >= PATH_MAX)
        return trust_failed(report, -ENAMETOOLONG);
    memcpy(w->rest, path, len + 1);
    int rc = walk_path(w);
    if (rc == 0 && !S_ISREG(w->st.st_mode)) {
        load_refuse(report, "file", "a regular file", "give the path of the plugin's .so file", "a directory");
        rc = -EACCES;
    }
    if (rc < 0)
        return trust_failed(report, rc);
    AW_AUTOCLOSE int fd = -1;
    rc = fs_open(w->done, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (rc == 0 && fstat(fd, &ret->st) < 0)
        rc = -errno;
    if (rc < 0)
        return trust_failed(report, rc);
    if (!trust_same(&ret->st, &w->st)) {
        load_refuse(report, "file", "an unchanging file", "try again when its installation is over",
                    "another one between check and opening");
        return -EACCES;
    }
    ret->path = strdup(w->done);
    if (!ret->path)
        return trust_failed(report, -ENOMEM);
    ret->fd = fd;
    fd = -1;
    return 0;
}

void trust_close(struct trusted_file *file)
{
    base_close_p(&file->fd);
    file->fd = -1;
    base_free_p(&file->path);
}
