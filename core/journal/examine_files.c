/* examine_files.c - the small files of a journal directory: lock and cursors. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/examine.h"
#include "journal/internal.h"

#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define LOCKS_MAX (16u << 20)

/* Asked of the kernel's list, since trying the lock would keep out a process that starts at that moment. A holder in
 * another pid name space is listed without a pid: then the lock file's own text tells. */
uint64_t journal_live_pid(int dirfd)
{
    AW_AUTOCLOSE int fd = -1;
    AW_AUTOFREE char *locks = NULL;
    struct stat st;
    char want[40], text[32] = "";
    if (fs_openat(dirfd, LOCK_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd) < 0 || fstat(fd, &st) < 0 ||
        fs_read_file("/proc/locks", LOCKS_MAX, &locks, NULL) < 0)
        return 0;
    snprintf(want, sizeof want, ":%" PRIu64 " ", (uint64_t)st.st_ino);
    for (char *line = locks, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        long pid = 0;
        *end = '\0';
        if (!strstr(line, " FLOCK ") || !strstr(line, want) || sscanf(line, "%*s %*s %*s %*s %ld", &pid) != 1)
            continue;
        if (pid <= 0 && fs_pread_full(fd, text, sizeof text - 1, 0) > 0)
            pid = strtol(text, NULL, 10);
        return pid > 0 ? (uint64_t)pid : 1;
    }
    return 0;
}

static int compare_cursors(const void *a, const void *b)
{
    return strcmp(((const struct examine_cursor *)a)->name, ((const struct examine_cursor *)b)->name);
}

static void read_cursor(int dirfd, const struct examine_state *state, struct examine_cursor *c)
{
    AW_AUTOCLOSE int fd = -1;
    uint64_t counter;
    unsigned good;
    c->rc = fs_openat(dirfd, c->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (c->rc == 0)
        c->rc = cursor_read_file(fd, state->identity.id, &c->seq, &counter, &good);
}

int journal_examine_cursors(const char *path, const struct examine_state *state, struct examine_cursor **ret,
                            size_t *ret_count)
{
    AW_AUTOFREE char *cursors = NULL;
    struct examine_cursor *list = NULL;
    size_t n = 0, capacity = 0;
    *ret = NULL;
    *ret_count = 0;
    if (asprintf(&cursors, "%s/" CURSOR_DIR, path) < 0) {
        cursors = NULL;
        return -ENOMEM;
    }
    DIR *dir = opendir(cursors);
    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (!cursor_name_good(e->d_name))
            continue;
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            struct examine_cursor *more = realloc(list, capacity * sizeof *more);
            if (!more) {
                free(list);
                (void)closedir(dir);
                return -ENOMEM;
            }
            list = more;
        }
        struct examine_cursor *c = &list[n++];
        *c = (struct examine_cursor){.rc = 0};
        memcpy(c->name, e->d_name, strlen(e->d_name));
        read_cursor(dirfd(dir), state, c);
    }
    (void)closedir(dir);
    if (n > 0)
        qsort(list, n, sizeof *list, compare_cursors);
    *ret = list;
    *ret_count = n;
    return 0;
}

int journal_read_cursor(const char *path, const char *name, uint64_t *ret_seq)
{
    static const struct examiner nobody;
    struct examine_state state = {.ring = 0};
    struct examine_cursor c = {.rc = 0};
    AW_AUTOCLOSE int dir = -1, cursors = -1;
    if (!cursor_name_good(name))
        return -ENOENT;
    memcpy(c.name, name, strlen(name));
    int rc = fs_open(path, O_RDONLY | O_DIRECTORY, 0, &dir);
    if (rc == 0)
        rc = fs_openat(dir, CURSOR_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &cursors);
    if (rc < 0)
        return rc;
    if (ring_inspect(dir, &state.ring_facts) == 0)
        state.identity = state.ring_facts.identity;
    else if ((rc = journal_examine(path, &nobody, &state)) < 0)
        return rc;
    read_cursor(cursors, &state, &c);
    *ret_seq = c.seq;
    return c.rc;
}
