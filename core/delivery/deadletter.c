/* deadletter.c - see deadletter.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/deadletter.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"

#include <fcntl.h>
#include <stdio.h>

struct deadletter {
    char *dir, *path, *sink;
    int fd;
    bool synced_dir; /* the file's name is durable */
};

int deadletter_create(const char *state_dir, const char *sink, struct deadletter **ret)
{
    struct deadletter *dl = calloc(1, sizeof *dl);
    if (!dl)
        return -ENOMEM;
    dl->fd = -1;
    dl->sink = strdup(sink);
    if (asprintf(&dl->dir, "%s/deadletter", state_dir) < 0)
        dl->dir = NULL;
    if (dl->dir && asprintf(&dl->path, "%s/%s.jsonl", dl->dir, sink) < 0)
        dl->path = NULL;
    if (!dl->sink || !dl->dir || !dl->path) {
        deadletter_destroy(dl);
        return -ENOMEM;
    }
    *ret = dl;
    return 0;
}

void deadletter_destroy(struct deadletter *dl)
{
    if (!dl)
        return;
    if (dl->fd >= 0)
        (void)fs_close(dl->fd); /* everything in it was synced by deadletter_add */
    free(dl->dir);
    free(dl->path);
    free(dl->sink);
    free(dl);
}

const char *deadletter_path(const struct deadletter *dl)
{
    return dl->path;
}

static int open_file(struct deadletter *dl)
{
    if (dl->fd < 0) {
        int rc = fs_mkdir_p(dl->dir, 0700);
        if (rc == 0)
            rc = fs_open(dl->path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600, &dl->fd);
        if (rc < 0)
            return rc;
    }
    if (!dl->synced_dir) {
        AW_AUTOCLOSE int dir = -1;
        int rc = fs_open(dl->dir, O_RDONLY | O_DIRECTORY, 0, &dir);
        if (rc == 0)
            rc = fs_sync_dir(dir);
        if (rc < 0)
            return rc;
        dl->synced_dir = true;
    }
    return 0;
}

/* JSON string content of a reason: escaped, and bytes that are not ASCII text replaced, since a plugin wrote it. */
static size_t put_reason(const char *reason, char *out, size_t size)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)reason; *p && n + 2 < size; p++) {
        if (*p == '"' || *p == '\\')
            out[n++] = '\\';
        out[n++] = *p < 0x20 || *p > 0x7e ? '?' : (char)*p;
    }
    return n;
}

int deadletter_add(struct deadletter *dl, const struct record_view *view, uint32_t attempts, const char *reason)
{
    enum { HEAD_MAX = 1600, REASON_MAX = 1000 };
    int rc = open_file(dl);
    if (rc < 0)
        return rc;
    size_t json_size = record_json_size(view);
    AW_AUTOFREE char *line = malloc(HEAD_MAX + json_size + 8);
    if (!line)
        return -ENOMEM;
    char text[REASON_MAX + 1], now[CLOCK_RFC3339_MAX];
    text[put_reason(reason, text, REASON_MAX)] = '\0';
    clock_format_rfc3339((int64_t)clock_real_ns(), now);
    int n =
        snprintf(line, HEAD_MAX,
                 "{\"sink\":\"%s\",\"seq\":%llu,\"time\":\"%s\",\"attempts\":%u,\"reason\":\"%s\",\"event\":", dl->sink,
                 (unsigned long long)view->head->seq, now, attempts, text);
    if (n < 0 || n >= HEAD_MAX)
        return -EINVAL;
    size_t len = (size_t)n;
    len += record_render_json(view, line + len);
    line[len++] = '}';
    line[len++] = '\n';
    struct stat st;
    if (fstat(dl->fd, &st) < 0)
        return -errno;
    rc = fs_write_all(dl->fd, line, len, NULL);
    if (rc == 0)
        rc = fs_fdatasync(dl->fd);
    if (rc < 0) {
        /* Cut the line off, so that the next try does not glue itself to a part; a new descriptor forgets the failed
         * pages. */
        (void)fs_truncate(dl->fd, (uint64_t)st.st_size);
        (void)fs_close(dl->fd);
        dl->fd = -1;
    }
    return rc;
}
