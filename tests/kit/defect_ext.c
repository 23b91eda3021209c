/* defect_ext.c - see defect.h: the extensions. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "defect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The whole file, NUL-terminated; NULL with errno. */
static char *slurp(const char *path, size_t *ret_len)
{
    size_t len = 0, room = 1 << 16;
    char *text = malloc(room + 1);
    int fd = text ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? 1 : -1;
    while (n > 0) {
        if (room - len < 4096) {
            char *grown = realloc(text, room * 2 + 1);
            if (!grown)
                break;
            text = grown;
            room *= 2;
        }
        n = read(fd, text + len, room - len);
        len += n > 0 ? (size_t)n : 0;
    }
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = error;
    if (n != 0) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    *ret_len = len;
    return text;
}

static uint64_t seq_of(const char *line)
{
    const char *p = strstr(line, ",\"seq\":");
    return p ? strtoull(p + 7, NULL, 10) : 0;
}

static void hash_of(const char *line, char out[65])
{
    const char *p = strstr(line, "\"hash\":\"");
    (void)snprintf(out, 65, "%.64s", p ? p + 8 : "");
}

/* ---- position ---- */

static int32_t position(void *arg, struct aw_position *ret)
{
    struct sink *s = arg;
    size_t len = 0;
    char *text = slurp(s->path, &len);
    if (!text)
        return errno == ENOMEM ? AW_E_NOMEM : fail(s, "read");
    if (len > 0)
        text[--len] = '\0';
    const char *line = len > 0 ? strrchr(text, '\n') : NULL;
    line = line ? line + 1 : text;
    ret->seq = seq_of(line) + (has(s, "position-ahead") ? 1 : 0);
    hash_of(line, ret->hash);
    free(text);
    return len > 0 ? AW_OK : AW_E_NOTFOUND;
}
const struct aw_sink_position defect_position = {sizeof defect_position, 0, position};

/* ---- query ---- */

struct reader {
    struct sink *sink;
    char *text, *cursors;
    size_t len, at;
};

static int32_t query_open(void *arg, const struct aw_query *q, void **ret)
{
    struct sink *s = arg;
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    r->sink = s;
    r->text = slurp(s->path, &r->len);
    if (!r->text) {
        free(r);
        return fail(s, "read");
    }
    if (q->after.len > 0)
        r->at = (size_t)strtoull(q->after.ptr, NULL, 10);
    *ret = r;
    return AW_OK;
}

static int32_t query_next(void *arg, struct aw_row *rows, size_t max, size_t *ret_count)
{
    struct reader *r = arg;
    free(r->cursors);
    r->cursors = calloc(max, 24);
    *ret_count = 0;
    if (!r->cursors)
        return aw_host_error(r->sink->host, AW_E_NOMEM, "out of memory");
    while (*ret_count < max) {
        char *line = r->text + r->at, *end = memchr(line, '\n', r->len - r->at), *cursor = r->cursors + *ret_count * 24;
        if (!end)
            break;
        size_t len = (size_t)(end - line);
        size_t behind = has(r->sink, "cursor-again") ? r->at : r->at + len + 1;
        rows[*ret_count].seq = seq_of(line);
        rows[*ret_count].json = (struct aw_str){line, has(r->sink, "query-changes") ? len - 1 : len};
        rows[*ret_count].cursor = (struct aw_str){cursor, (size_t)snprintf(cursor, 24, "%zu", behind)};
        r->at += len + 1;
        ++*ret_count;
    }
    return AW_OK;
}

static void query_close(void *arg)
{
    struct reader *r = arg;
    free(r->text);
    free(r->cursors);
    free(r);
}
const struct aw_sink_query defect_query = {sizeof defect_query, 0, query_open, query_next, query_close};

/* ---- transaction: what is staged is in a file beside, PATH.TOKEN ---- */

static void staged_path(const struct sink *s, const char *token, char out[900])
{
    (void)snprintf(out, 900, "%s.%s", s->path, token);
}

static int32_t stage(void *arg, const struct aw_batch *b, struct aw_result *r, const char *token)
{
    struct sink *s = arg;
    char path[900];
    staged_path(s, token, path);
    int fd = has(s, "stage-visible") ? open(s->path, O_WRONLY | O_APPEND | O_CLOEXEC)
                                     : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    for (size_t i = 0; fd >= 0 && i < b->count; i++) {
        struct aw_str json;
        if (s->host->event_encoded(b->events[i], "json", &json) != AW_OK || !write_all(fd, json.ptr, json.len) ||
            !write_all(fd, "\n", 1))
            break;
        r->status[i] = AW_EVENT_ACCEPTED;
    }
    bool ok = fd >= 0 && fdatasync(fd) == 0;
    int32_t rc = ok ? AW_OK : fail(s, "stage");
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int32_t rollback(void *arg, const char *token)
{
    struct sink *s = arg;
    char path[900];
    staged_path(s, token, path);
    if (has(s, "rollback-keeps"))
        return AW_OK;
    return unlink(path) == 0 || errno == ENOENT ? AW_OK : fail(s, "unlink");
}

static int32_t commit(void *arg, const char *token)
{
    struct sink *s = arg;
    char path[900];
    size_t len = 0;
    staged_path(s, token, path);
    char *text = slurp(path, &len);
    if (!text)
        return errno == ENOENT && !has(s, "commit-once") ? AW_OK : fail(s, "commit");
    bool ok = write_all(s->fd, text, len) && fdatasync(s->fd) == 0;
    s->size += ok ? (off_t)len : 0;
    s->synced = s->size;
    s->unclean = !ok;
    free(text);
    if (!ok)
        return fail(s, "commit");
    return has(s, "commit-keeps") ? AW_OK : rollback(s, token);
}

static int32_t in_doubt(void *arg, const char *const **ret_tokens, size_t *ret_count)
{
    static char names[16][65];
    static const char *list[16];
    struct sink *s = arg;
    char dir[700];
    const char *slash = strrchr(s->path, '/');
    size_t len = strlen(slash + 1);
    (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - s->path), s->path);
    *ret_count = 0;
    *ret_tokens = list;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL && *ret_count < 16;)
        if (strncmp(e->d_name, slash + 1, len) == 0 && e->d_name[len] == '.') {
            (void)snprintf(names[*ret_count], 65, "%.64s", e->d_name + len + 1);
            list[*ret_count] = names[*ret_count];
            ++*ret_count;
        }
    if (d)
        (void)closedir(d);
    return d ? AW_OK : fail(s, "opendir");
}
const struct aw_sink_transaction defect_transaction = {sizeof defect_transaction, 0, stage, commit, rollback, in_doubt};

/* ---- probe, migrate, retention ---- */

static int32_t probe(void *arg, uint64_t deadline_ns)
{
    struct sink *s = arg;
    (void)deadline_ns;
    if (has(s, "probe-refuses"))
        return aw_host_error(s->host, AW_E_CONFIG, "never");
    return access(s->path, W_OK) == 0 ? AW_OK
                                      : aw_host_error(s->host, AW_E_CONFIG, "%s: run auditwell migrate", s->path);
}
const struct aw_sink_probe defect_probe = {sizeof defect_probe, 0, probe};

static int32_t migrate(void *arg, uint32_t flags, void (*step)(void *, const char *), void *step_arg)
{
    struct sink *s = arg;
    if (access(s->path, F_OK) == 0 && !has(s, "migrate-again"))
        return AW_OK;
    step(step_arg, "create the file");
    if ((flags & AW_MIGRATE_DRY_RUN) != 0 && !has(s, "migrate-dry"))
        return AW_OK;
    int fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return fail(s, "create");
    (void)close(fd);
    return AW_OK;
}
const struct aw_sink_migrate defect_migrate = {sizeof defect_migrate, 0, migrate};

static int32_t plan(void *arg, int64_t before_ns, int32_t (*found)(void *, const struct aw_prune *), void *found_arg)
{
    struct sink *s = arg;
    struct aw_prune p = {.struct_size = sizeof p};
    size_t len = 0;
    char *text = slurp(s->path, &len), *end, *last = NULL;
    (void)before_ns;
    if (!text)
        return fail(s, "read");
    for (char *line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        if (last && p.count++ == 0)
            p.first_seq = seq_of(last);
        p.last_seq = last ? seq_of(last) : 0;
        last = line;
    }
    if (last) {
        p.keep_seq = seq_of(last) + (has(s, "prune-newest") ? 1 : 0);
        hash_of(last, p.keep_hash);
        (void)found(found_arg, &p);
    }
    free(text);
    return AW_OK;
}

static int32_t prune(void *arg, const struct aw_prune *const *prunes, size_t count, uint64_t *ret_removed)
{
    struct sink *s = arg;
    size_t len = 0;
    char *text = slurp(s->path, &len), *end;
    int fd = text && count == 1 ? open(s->path, O_WRONLY | O_TRUNC | O_CLOEXEC) : -1;
    *ret_removed = 0;
    for (char *line = text; fd >= 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        bool gone = seq_of(line) < prunes[0]->keep_seq || has(s, "prune-more");
        *ret_removed += gone;
        if (!gone)
            (void)write_all(fd, line, (size_t)(end - line) + 1);
    }
    free(text);
    return fd >= 0 && close(fd) == 0 ? AW_OK : fail(s, "prune");
}
const struct aw_sink_retention defect_retention = {sizeof defect_retention, 0, plan, prune};
