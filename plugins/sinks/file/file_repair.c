/* file_repair.c - what a crash left at the end of the file, and where the file stands.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Three kinds of damage are told apart:
 *  - a torn last line (no newline): the process or the disk stopped in the middle of a write;
 *  - last lines that are no JSON objects (zeros, garbage): a power loss before the data was synced;
 *  - a hole of NUL bytes before good lines: the same, with the later blocks written first.
 * The first two are moved to PATH.torn-<time> and cut off at once. A hole is settled at the first write: position()
 * names the line before it, and when the host then delivers those events again, everything from there on was never
 * acknowledged, is moved aside, and comes anew. Otherwise it is old damage, stays where it is, and verify will report
 * it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_sink.h"

#define CHUNK 65536u

/* Exactly n bytes at offset. 0 or -errno. */
static int read_at(int fd, char *buf, size_t n, uint64_t offset)
{
    while (n > 0) {
        ssize_t r = pread(fd, buf, n, (off_t)offset);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        buf += r;
        n -= (size_t)r;
        offset += (uint64_t)r;
    }
    return 0;
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

/* Start of the line that ends at `end`: behind the last newline before it, or 0. */
static int line_start(int fd, char *buf, uint64_t end, uint64_t *ret)
{
    while (end > 0) {
        size_t n = end < CHUNK ? (size_t)end : CHUNK;
        int r = read_at(fd, buf, n, end - n);
        if (r < 0)
            return r;
        const char *nl = memrchr(buf, '\n', n);
        if (nl != NULL) {
            *ret = end - n + (uint64_t)(nl - buf) + 1;
            return 0;
        }
        end -= n;
    }
    *ret = 0;
    return 0;
}

/* Is [from, to) one JSON object? 1, 0 or -errno. */
static int line_valid(int fd, uint64_t from, uint64_t to, struct sf_seal *ret)
{
    size_t n = (size_t)(to - from);
    if (to - from > SF_LINE_MAX || n == 0)
        return 0;
    char *line = malloc(n);
    if (line == NULL)
        return -ENOMEM;
    int r = read_at(fd, line, n, from);
    if (r == 0)
        r = sf_line_valid(line, n, ret);
    free(line);
    return r;
}

/* Finds the end of the last good line. 0 or -errno. */
static int find_good_end(struct file_sink *s, char *buf, uint64_t *ret_end)
{
    uint64_t end, from;
    int r = line_start(s->fd, buf, s->size, &end); /* == size unless the last line is torn */
    while (r == 0 && end > 0) {
        r = line_start(s->fd, buf, end - 1, &from);
        if (r == 0)
            r = line_valid(s->fd, from, end - 1, &s->last);
        if (r != 0)
            break;
        end = from;
    }
    if (r < 0)
        return r;
    *ret_end = end;
    return 0;
}

int sf_create_aside(struct file_sink *s, char **ret_name)
{
    char stamp[SF_STAMP + 1];
    size_t n = strlen(s->at.path) + SF_STAMP + 32;
    char *name = malloc(n);
    if (name == NULL)
        return -ENOMEM;
    sf_stamp(s->host->now_ns(), stamp);
    for (unsigned i = 1; i < 10000; i++) {
        snprintf(name, n, i == 1 ? "%s.torn-%s" : "%s.torn-%s-%u", s->at.path, stamp, i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, s->mode);
        if (fd >= 0) {
            *ret_name = name;
            return fd;
        }
        if (errno != EEXIST)
            break;
    }
    int r = -errno;
    free(name);
    return r;
}

/* Moves [from, size) into a file of its own, then cuts it off. */
static int32_t set_aside(struct file_sink *s, uint64_t from, const char *why)
{
    char *name = NULL, *buf = malloc(CHUNK);
    int32_t code = AW_OK;
    int fd = buf == NULL ? -ENOMEM : sf_create_aside(s, &name), r = fd < 0 ? fd : 0;
    for (uint64_t at = from; r == 0 && at < s->size;) {
        size_t n = s->size - at < CHUNK ? (size_t)(s->size - at) : CHUNK;
        if ((r = read_at(s->fd, buf, n, at)) == 0)
            r = write_all(fd, buf, n);
        at += n;
    }
    if (r == 0 && (fchmod(fd, s->mode) < 0 || fsync(fd) < 0))
        r = -errno;
    if (r == 0)
        r = sf_sync_dir(s->at.dir);
    if (r == 0 && ftruncate(s->fd, (off_t)from) < 0)
        r = -errno;
    if (r == 0) {
        aw_host_log(s->host, AW_LOG_WARNING, "%s: %s: moved %" PRIu64 " bytes at offset %" PRIu64 " to %s", s->at.path,
                    why, s->size - from, from, name);
        s->host->metric_add(s->host, s->metric_torn, (double)(s->size - from));
        s->size = from;
    } else {
        if (fd >= 0 && name != NULL)
            unlink(name); /* incomplete or not used: the bytes are still in the trail */
        code = sf_fail(s, -r, "cannot set a damaged end aside", s->at.path);
    }
    if (fd >= 0)
        close(fd);
    free(name);
    free(buf);
    return code;
}

/* A file that somebody named by mistake is not to be cut: it neither begins like JSON lines nor holds zeros. */
static int foreign(struct file_sink *s)
{
    char first;
    int r = read_at(s->fd, &first, 1, 0);
    return r < 0 ? r : first != '{' && first != '\0';
}

/* Looks for NUL bytes in the last part of the file. */
static int find_hole(struct file_sink *s, char *buf)
{
    uint64_t at = s->size > SF_SUSPECT_SPAN ? s->size - SF_SUSPECT_SPAN : 0, from;
    for (; at < s->size; at += CHUNK) {
        size_t n = s->size - at < CHUNK ? (size_t)(s->size - at) : CHUNK;
        int r = read_at(s->fd, buf, n, at);
        if (r < 0)
            return r;
        const char *nul = memchr(buf, '\0', n);
        if (nul == NULL)
            continue;
        if ((r = line_start(s->fd, buf, at + (uint64_t)(nul - buf), &s->suspect_at)) < 0)
            return r;
        s->suspect = true;
        s->before = (struct sf_seal){0, "", 0};
        if (s->suspect_at == 0)
            return 0;
        if ((r = line_start(s->fd, buf, s->suspect_at - 1, &from)) == 0)
            r = line_valid(s->fd, from, s->suspect_at - 1, &s->before);
        return r < 0 ? r : 0;
    }
    return 0;
}

int32_t sf_repair(struct file_sink *s)
{
    uint64_t end;
    int32_t code = AW_OK;
    s->last = (struct sf_seal){0, "", 0};
    s->suspect = false;
    if (s->size == 0)
        return AW_OK;
    char *buf = malloc(CHUNK);
    int r = buf == NULL ? -ENOMEM : find_good_end(s, buf, &end);
    if (r == 0 && end < s->size) {
        int strange = end == 0 ? foreign(s) : 0;
        if (strange > 0) {
            code = aw_host_error(
                s->host, AW_E_CONFIG,
                "%s: holds no line of JSON, so it is no audit trail: name another file, or move it away", s->at.path);
            sf_set_health(s, code, "the file is no audit trail");
        } else
            r = strange;
        if (r == 0 && code == AW_OK)
            code = set_aside(s, end, "the end is torn or damaged");
    }
    if (r == 0 && code == AW_OK && (r = find_hole(s, buf)) == 0 && s->suspect)
        aw_host_log(s->host, AW_LOG_ERROR,
                    "%s: the line at offset %" PRIu64 " is damaged (NUL bytes), good lines follow", s->at.path,
                    s->suspect_at);
    free(buf);
    return r < 0 ? sf_fail(s, -r, "cannot read the end", s->at.path) : code;
}

int32_t sf_settle_suspect(struct file_sink *s, uint64_t first_seq)
{
    if (!s->suspect)
        return AW_OK;
    s->suspect = false;
    if (first_seq <= s->before.seq || first_seq > s->last.seq)
        return AW_OK; /* the host has all of this delivered: old damage */
    uint64_t cut = s->suspect_at, at = cut;
    char *buf = malloc((size_t)(s->size - cut) + 1);
    if (buf == NULL)
        return sf_fail(s, ENOMEM, "cannot read the end", s->at.path);
    int r = read_at(s->fd, buf, (size_t)(s->size - cut), cut);
    for (const char *p = buf; r == 0 && at < s->size;) {
        struct sf_seal seal;
        const char *nl = memchr(p, '\n', (size_t)(s->size - at));
        if (nl == NULL)
            break;
        if (sf_line_valid(p, (size_t)(nl - p), &seal)) {
            if (seal.seq >= first_seq)
                break;
            cut = at + (uint64_t)(nl - p) + 1; /* acknowledged before: stays, and with it all before it */
        }
        at += (uint64_t)(nl - p) + 1;
        p = nl + 1;
    }
    free(buf);
    if (r < 0)
        return sf_fail(s, -r, "cannot read the end", s->at.path);
    int32_t code = set_aside(s, cut, "events after a hole are delivered again");
    if (code != AW_OK) {
        s->suspect = true;
        return code;
    }
    s->durable_size = s->durable_size < s->size ? s->durable_size : s->size;
    return AW_OK;
}

int sf_last_line(struct file_sink *s, char **ret, size_t *ret_len)
{
    uint64_t from = 0;
    char *buf = malloc(CHUNK), *line = NULL;
    int r = buf == NULL ? -ENOMEM : s->size == 0 ? -ENODATA : line_start(s->fd, buf, s->size - 1, &from);
    size_t n = (size_t)(s->size - from);
    free(buf);
    if (r == 0 && (line = malloc(n)) == NULL)
        r = -ENOMEM;
    if (r == 0)
        r = read_at(s->fd, line, n, from);
    if (r < 0) {
        free(line);
        return r;
    }
    *ret = line;
    *ret_len = n;
    return 0;
}

int sf_last_archived(struct file_sink *s, struct sf_seal *ret)
{
    struct sf_list list;
    int r = sf_list_load(s->at.dir, &s->at, &list);
    if (r < 0)
        return r;
    r = -ENODATA;
    for (size_t i = list.count; r == -ENODATA && i-- > 0;) {
        struct sf_source *src;
        if (!list.entries[i].archive)
            continue;
        if ((r = sf_source_open(s->at.dir, &list.entries[i], &src)) == 0) {
            r = sf_source_last(src, ret);
            sf_source_close(src);
        } else if (r == -ENOENT)
            r = -ENODATA; /* compressed or pruned just now */
    }
    sf_list_fini(&list);
    return r;
}

int32_t sf_position(void *sink, struct aw_position *ret)
{
    struct file_sink *s = sink;
    struct sf_seal seal = s->suspect ? s->before : s->last;
    bool empty = s->suspect ? s->suspect_at == 0 : s->size == 0;
    if (s->fd < 0)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: position before start", s->at.path);
    if (empty) {
        int r = sf_last_archived(s, &seal);
        if (r == -ENODATA)
            return AW_E_NOTFOUND;
        if (r < 0)
            return sf_fail(s, -r, "cannot read the newest archive", s->at.path);
    }
    if (seal.seq == 0)
        return aw_host_error(s->host, AW_E_NOTFOUND, "%s: the last line has no integrity.seq", s->at.path);
    ret->seq = seal.seq;
    memcpy(ret->hash, seal.hash, sizeof ret->hash);
    return AW_OK;
}
