/* file_stage.c - the transaction extension: staged events wait in PATH.staged-TOKEN, and commit appends them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The file beside the trail holds the lines as they will be appended, and a last line that says how many they are and
 * gives a checksum: without it the file is not whole. commit() can be called again after anything: it looks at the
 * trail's last line to see how many of the lines are in it already, appends the rest, makes them durable, and then only
 * removes the file.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_sink.h"

#define STAGED ".staged-"
#define TOKEN_MAX 64
#define TRAILER "#staged lines=%" PRIu64 " sum=%016" PRIx64 "\n"
#define TRAILER_MAX 80

static bool token_good(const char *token)
{
    size_t n = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= TOKEN_MAX && token[n] == '\0';
}

/* malloc'd name of the token's file, or NULL with *ret_code set. */
static char *side_name(struct file_sink *s, const char *token, int32_t *ret_code)
{
    if (!s->started || !token_good(token)) {
        *ret_code = aw_host_error(s->host, AW_E_INTERNAL, "%s: %s", s->at.path,
                                  s->started ? "the host's token is not 1 to 64 of A-Z a-z 0-9 . _ -" : "not started");
        return NULL;
    }
    size_t n = strlen(s->at.path) + sizeof STAGED + strlen(token);
    char *name = malloc(n);
    if (name == NULL)
        *ret_code = sf_fail(s, ENOMEM, "no memory for a name", s->at.path);
    else
        snprintf(name, n, "%s" STAGED "%s", s->at.path, token);
    return name;
}

static uint64_t add_sum(uint64_t sum, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
    return sum;
}

#define SUM_START 14695981039346656037u

/* ---- stage ---- */

struct stage {
    const char *name;
    int fd;
    uint64_t lines, sum;
};

static int32_t write_side(struct file_sink *s, const struct stage *st, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t w = write(st->fd, bytes, len);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return sf_fail(s, w < 0 ? errno : EIO, "cannot write", st->name);
        bytes += w;
        len -= (size_t)w;
    }
    return AW_OK;
}

static int32_t create_side(struct file_sink *s, struct stage *st)
{
    for (int tries = 0; tries < 3; tries++) {
        st->fd = open(st->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, s->mode);
        if (st->fd >= 0)
            return sf_dress(s, st->fd, st->name);
        if (errno != EEXIST || (unlink(st->name) < 0 && errno != ENOENT))
            break;
    }
    return sf_fail(s, errno, "cannot create", st->name);
}

/* One event into the buffer, which goes to the file when it is full. */
static int32_t stage_event(struct file_sink *s, struct stage *st, const struct aw_batch *batch, size_t i,
                           uint8_t *status)
{
    struct aw_str json;
    int32_t r = s->host->event_encoded(batch->events[i], "json", &json);
    if (r != AW_OK)
        return aw_host_error(s->host, r == AW_E_UNSUPPORTED ? AW_E_INTERNAL : r, "the host cannot render event %zu", i);
    if (json.len == 0 || memchr(json.ptr, '\n', json.len) != NULL) {
        aw_host_event_error(s->host, i, "the event is empty or holds a raw newline: it cannot be one line");
        *status = AW_EVENT_REJECTED;
        return AW_OK;
    }
    st->sum = add_sum(add_sum(st->sum, json.ptr, json.len), "\n", 1);
    st->lines++;
    *status = AW_EVENT_ACCEPTED;
    if (s->buffered + json.len + 1 > s->buffer_cap) {
        r = write_side(s, st, s->buffer, s->buffered);
        s->buffered = 0;
    }
    if (r == AW_OK && json.len + 1 > s->buffer_cap) {
        r = write_side(s, st, json.ptr, json.len);
        return r == AW_OK ? write_side(s, st, "\n", 1) : r;
    }
    if (r != AW_OK)
        return r;
    memcpy(s->buffer + s->buffered, json.ptr, json.len);
    s->buffered += json.len;
    s->buffer[s->buffered++] = '\n';
    return AW_OK;
}

static int32_t finish_side(struct file_sink *s, const struct stage *st, bool durable)
{
    char trailer[TRAILER_MAX];
    int n = snprintf(trailer, sizeof trailer, TRAILER, st->lines, st->sum);
    int32_t r = write_side(s, st, s->buffer, s->buffered);
    if (r == AW_OK)
        r = write_side(s, st, trailer, (size_t)n);
    if (r == AW_OK && durable && fdatasync(st->fd) < 0)
        r = sf_fail(s, errno, "fdatasync failed", st->name);
    if (r == AW_OK && durable) {
        int e = sf_sync_dir(s->at.dir);
        r = e < 0 ? sf_fail(s, -e, "cannot sync the directory", s->at.dir) : AW_OK;
    }
    return r;
}

static int32_t sf_stage(void *sink, const struct aw_batch *batch, struct aw_result *result, const char *token)
{
    struct file_sink *s = sink;
    int32_t r = AW_OK;
    char *name = side_name(s, token, &r);
    struct stage st = {name, -1, 0, SUM_START};
    if (name == NULL)
        return r;
    if ((r = sf_ready(s)) == AW_OK && (r = sf_settle_suspect(s, batch->first_seq)) == AW_OK)
        r = create_side(s, &st);
    s->buffered = 0;
    for (size_t i = 0; r == AW_OK && i < batch->count; i++)
        r = stage_event(s, &st, batch, i, &result->status[i]);
    if (r == AW_OK)
        r = finish_side(s, &st, s->fsync != SF_FSYNC_NEVER || (batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0);
    s->buffered = 0;
    if (st.fd >= 0 && close(st.fd) < 0 && r == AW_OK)
        r = sf_fail(s, errno, "cannot close", name);
    if (r != AW_OK) {
        for (size_t i = 0; i < batch->count; i++)
            if (result->status[i] != AW_EVENT_REJECTED)
                result->status[i] = AW_EVENT_UNKNOWN;
        if (st.fd >= 0)
            unlink(name); /* what stays is not whole, and rollback() takes it away */
    }
    free(name);
    return r == AW_OK ? sf_set_health(s, AW_OK, "") : r;
}

/* ---- commit ---- */

/* Reads a whole file. 0 or -errno; -ENOENT also for what is no regular file: it is not ours. */
static int slurp(const char *name, char **ret, size_t *ret_len)
{
    struct stat st;
    char *bytes = NULL;
    size_t len = 0;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = 0;
    if (fd < 0)
        return errno == ELOOP ? -ENOENT : -errno;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = -ENOENT;
    else if ((bytes = malloc((size_t)st.st_size + 1)) == NULL)
        r = -ENOMEM;
    while (r == 0 && len < (size_t)st.st_size) {
        ssize_t n = read(fd, bytes + len, (size_t)st.st_size - len);
        if (n < 0 && errno != EINTR)
            r = -errno;
        if (n == 0)
            break;
        len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (r < 0) {
        free(bytes);
        return r;
    }
    bytes[len] = '\0';
    *ret = bytes;
    *ret_len = len;
    return 0;
}

/* Is the file whole? Then *ret_len is the length of its lines. */
static bool whole(const char *bytes, size_t len, size_t *ret_len)
{
    uint64_t lines = 0, sum;
    char want[TRAILER_MAX];
    const char *last = len > 1 ? memrchr(bytes, '\n', len - 1) : NULL;
    size_t body = last != NULL ? (size_t)(last - bytes) + 1 : 0;
    for (const char *p = bytes, *nl; (nl = memchr(p, '\n', (size_t)(bytes + body - p))) != NULL; p = nl + 1)
        lines++;
    sum = add_sum(SUM_START, bytes, body);
    int n = snprintf(want, sizeof want, TRAILER, lines, sum);
    if ((size_t)n != len - body || memcmp(bytes + body, want, (size_t)n) != 0)
        return false;
    *ret_len = body;
    return true;
}

/* It was never whole, or somebody wrote into it: nothing of it may get into the trail, and nothing is thrown away. */
static int32_t set_side_aside(struct file_sink *s, const char *name)
{
    char *aside = NULL;
    int fd = sf_create_aside(s, &aside), r = fd < 0 ? fd : 0;
    if (fd >= 0)
        close(fd);
    if (r == 0 && rename(name, aside) < 0)
        r = -errno;
    if (r < 0) {
        free(aside);
        return sf_fail(s, -r, "cannot set a damaged staged file aside", name);
    }
    aw_host_log(s->host, AW_LOG_ERROR, "%s: is damaged; moved to %s, its events are asked for again", name, aside);
    free(aside);
    return aw_host_error(s->host, AW_E_NOTFOUND, "%s: was damaged", name);
}

/* How many bytes of the lines are in the trail already: up to the line that is the trail's last. 0 or -errno. */
static int find_progress(struct file_sink *s, const char *lines, size_t len, size_t *ret)
{
    char *last = NULL;
    size_t last_len = 0;
    struct sf_seal want = {0, "", 0}, seal;
    *ret = 0;
    int r = sf_last_line(s, &last, &last_len);
    if (r == -ENODATA) { /* rotated just now */
        r = sf_last_archived(s, &want);
        if (r < 0 || want.hash[0] == '\0') /* seq alone may be another journal's: rather twice than never */
            return r == -ENODATA ? 0 : r;
    }
    for (const char *p = lines, *nl; r == 0 && *ret == 0 && p < lines + len; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(lines + len - p));
        size_t n = (size_t)(nl - p) + 1;
        bool same = last != NULL
                        ? n == last_len && memcmp(p, last, n) == 0
                        : sf_line_valid(p, n - 1, &seal) && seal.seq == want.seq && strcmp(seal.hash, want.hash) == 0;
        if (same)
            *ret = (size_t)(nl - lines) + 1;
    }
    free(last);
    return r;
}

/* A sync failed: what is not on disk is cut off, and this commit and the accepted events before it come again. */
static int32_t unsynced(struct file_sink *s, int32_t code, bool earlier, uint64_t stored_before)
{
    s->lost_pending = s->lost_pending || earlier;
    s->stored_seq = stored_before > s->archived_seq ? stored_before : s->archived_seq;
    sf_rollback(s);
    return code;
}

static int32_t append_lines(struct file_sink *s, const char *lines, size_t len)
{
    bool sync = s->fsync != SF_FSYNC_NEVER, earlier = s->size > s->durable_size;
    uint64_t now = s->rotate_interval != 0 ? s->host->now_ns() : 0, before = s->stored_seq;
    int32_t r = AW_OK;
    for (size_t at = 0; at < len && r == AW_OK;) {
        size_t end = at, last = at, ignored;
        while (end < len) {
            size_t next = (size_t)((const char *)memchr(lines + end, '\n', len - end) - lines) + 1;
            s->buffered = end - at;
            if (sf_rotation_due(s, now, next - end))
                break;
            last = end;
            end = next;
        }
        s->buffered = 0;
        if (end > at) {
            r = sf_append(s, lines + at, end - at, &ignored);
            uint64_t seq = r == AW_OK ? sf_line_seq(lines + last, end - last - 1) : 0;
            s->stored_seq = seq > s->stored_seq ? seq : s->stored_seq;
        } else {
            r = sf_rotate(s, sync);
            if (r != AW_OK && s->fd >= 0)
                return unsynced(s, r, earlier, before);
            earlier = false;
        }
        at = end;
    }
    if (r == AW_OK && sync && s->size > s->durable_size && (r = sf_sync(s)) != AW_OK)
        return unsynced(s, r, earlier, before);
    if (r == AW_OK)
        s->durable_size = s->size;
    return r;
}

/* The lines of a whole file beside the trail go into it, but for those that are there. */
static int32_t commit_lines(struct file_sink *s, const char *lines, size_t len)
{
    const char *first_end = memchr(lines, '\n', len), *last = memrchr(lines, '\n', len - (len > 0));
    size_t done = 0;
    if (first_end == NULL)
        return AW_OK; /* every event was rejected */
    last = last != NULL ? last + 1 : lines;
    /* after a power loss later lines may be there, and earlier ones not */
    int32_t r = sf_settle_suspect(s, sf_line_seq(lines, (size_t)(first_end - lines)));
    int e = r == AW_OK ? find_progress(s, lines, len, &done) : 0;
    if (e < 0)
        r = sf_fail(s, -e, "cannot read the end", s->at.path);
    if (r == AW_OK)
        r = append_lines(s, lines + done, len - done);
    if (r == AW_OK) /* for position(), which may be asked after a commit */
        (void)sf_line_valid(last, (size_t)(lines + len - 1 - last), &s->last);
    return r;
}

static int32_t sf_commit(void *sink, const char *token)
{
    struct file_sink *s = sink;
    int32_t r = AW_OK;
    char *bytes = NULL, *name = side_name(s, token, &r);
    size_t len = 0, lines = 0;
    if (name == NULL)
        return r;
    int e = slurp(name, &bytes, &len);
    if (e < 0 && e != -ENOENT)
        r = sf_fail(s, -e, "cannot read", name);
    if (e == 0)
        r = sf_ready(s);
    if (e == 0 && r == AW_OK)
        r = whole(bytes, len, &lines) ? commit_lines(s, bytes, lines) : set_side_aside(s, name);
    if (e == 0 && r == AW_OK && unlink(name) < 0 && errno != ENOENT)
        r = sf_fail(s, errno, "cannot remove", name);
    free(bytes);
    free(name);
    return r == AW_OK ? sf_set_health(s, AW_OK, "") : r;
}

static int32_t sf_roll_back(void *sink, const char *token)
{
    struct file_sink *s = sink;
    int32_t r = AW_OK;
    char *name = side_name(s, token, &r);
    if (name == NULL)
        return r;
    if (unlink(name) < 0 && errno != ENOENT && errno != EISDIR)
        r = sf_fail(s, errno, "cannot remove", name);
    free(name);
    return r;
}

/* ---- after a restart ---- */

void sf_forget_tokens(struct file_sink *s)
{
    for (size_t i = 0; s->tokens != NULL && s->tokens[i] != NULL; i++)
        free(s->tokens[i]);
    free(s->tokens);
    s->tokens = NULL;
}

/* A name that is not ours (a token no host gives, a directory, a link) is passed over. 0 or -errno. */
static int add_token(struct file_sink *s, const char *name, size_t *count)
{
    size_t base = strlen(s->at.base), mark = sizeof STAGED - 1;
    struct stat st;
    if (strncmp(name, s->at.base, base) != 0 || strncmp(name + base, STAGED, mark) != 0 ||
        !token_good(name + base + mark))
        return 0;
    char *path = sf_join(s->at.dir, name, "");
    if (path == NULL)
        return -ENOMEM;
    bool regular = lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    free(path);
    if (!regular)
        return 0;
    char **more = realloc(s->tokens, (*count + 2) * sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    s->tokens = more;
    s->tokens[*count] = strdup(name + base + mark);
    if (s->tokens[*count] == NULL)
        return -ENOMEM;
    s->tokens[++*count] = NULL;
    return 0;
}

static int32_t sf_in_doubt(void *sink, const char *const **ret_tokens, size_t *ret_count)
{
    struct file_sink *s = sink;
    size_t count = 0;
    int r = 0;
    sf_forget_tokens(s);
    *ret_tokens = NULL;
    *ret_count = 0;
    DIR *d = opendir(s->at.dir);
    if (d == NULL)
        return sf_fail(s, errno, "cannot list staged files", s->at.dir);
    for (struct dirent *de; r == 0 && (errno = 0, de = readdir(d)) != NULL;)
        r = add_token(s, de->d_name, &count);
    if (r == 0 && errno != 0)
        r = -errno;
    closedir(d);
    if (r < 0)
        return sf_fail(s, -r, "cannot list staged files", s->at.dir);
    *ret_tokens = (const char *const *)s->tokens;
    *ret_count = count;
    return AW_OK;
}

const struct aw_sink_transaction sf_transaction = {
    sizeof sf_transaction, 0, sf_stage, sf_commit, sf_roll_back, sf_in_doubt,
};
