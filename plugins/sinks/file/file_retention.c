/* file_retention.c - the retention extension: which closed files can go, and removing them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Whole files go, the oldest first, and never the current one. Those that are to go are named in PATH.removing, which
 * is synced before the first one is removed: readers leave them out from then on, so that all of them go at once,
 * whenever the process dies. The file of names is removed last; a start of the sink finishes what was left.
 *
 * A trail can be cut between two files only if all seqs behind the cut are above all before it: a dead letter that was
 * replayed must not be left behind without the record that explains it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "file_sink.h"

#define TRIES 10 /* to read the trail between two rotations */

/* What one file holds. */
struct content {
    bool odd;  /* lines that are no sealed events of this stream, or of which the time is not known */
    bool held; /* an event that is too young */
    uint64_t count, bytes;
    uint64_t low, high; /* seqs */
    int64_t first_ns, last_ns;
    struct sf_seal first; /* the event low */
    int64_t low_ns;
};

struct survey {
    struct file_sink *s;
    struct sf_list list;
    struct content *files;
    int64_t before_ns, now_ns;
    uint32_t stream;
    bool with_stream;
};

/* ---- reading ---- */

static void take_line(struct survey *v, struct content *c, const char *line, size_t len)
{
    struct sf_facts f;
    if (!sf_line_facts(line, len, &f) || f.seal.seq == 0 || f.seal.hash[0] == '\0' || !f.with_time ||
        (v->with_stream && f.seal.stream != v->stream)) {
        c->odd = true;
        return;
    }
    v->stream = f.seal.stream;
    v->with_stream = true;
    if (c->count == 0 || f.seal.seq < c->low) {
        c->low = f.seal.seq;
        c->first = f.seal;
        c->low_ns = f.occurred_ns;
    }
    if (f.seal.seq > c->high)
        c->high = f.seal.seq;
    if (c->count == 0 || f.occurred_ns < c->first_ns)
        c->first_ns = f.occurred_ns;
    if (c->count == 0 || f.occurred_ns > c->last_ns)
        c->last_ns = f.occurred_ns;
    c->held = c->held || (f.occurred_ns >= v->before_ns && f.occurred_ns <= v->now_ns);
    c->count++;
}

/* All whole lines of the file. 0 or -errno. */
static int read_content(struct survey *v, const struct sf_entry *entry, struct content *c)
{
    struct sf_source *src;
    struct stat st;
    size_t cap = 256u << 10, have = 0;
    char *buf = malloc(cap);
    int r = buf == NULL ? -ENOMEM : sf_source_open(v->s->at.dir, entry, &src);
    if (r < 0) {
        free(buf);
        return r;
    }
    if (fstat(sf_source_fd(src), &st) == 0)
        c->bytes = (uint64_t)st.st_size;
    while (r == 0) {
        if (have == cap) {
            char *more = cap < SF_LINE_MAX ? realloc(buf, cap * 2) : NULL;
            if (more == NULL) {
                r = cap < SF_LINE_MAX ? -ENOMEM : -EFBIG;
                break;
            }
            buf = more;
            cap *= 2;
        }
        ssize_t n = sf_source_read(src, buf + have, cap - have);
        if (n <= 0) {
            r = (int)n;
            break;
        }
        have += (size_t)n;
        char *at = buf, *nl;
        while ((nl = memchr(at, '\n', (size_t)(buf + have - at))) != NULL) {
            take_line(v, c, at, (size_t)(nl - at));
            at = nl + 1;
        }
        have -= (size_t)(at - buf);
        memmove(buf, at, have);
    }
    sf_source_close(src);
    c->odd = c->odd || (have > 0 && entry->archive) || r == -EFBIG; /* what the current one lacks is being written */
    free(buf);
    return r == -EFBIG ? 0 : r;
}

static void survey_end(struct survey *v)
{
    sf_list_fini(&v->list);
    free(v->files);
    v->files = NULL;
}

/* Was nothing rotated or compressed meanwhile? 0, -ESTALE, or -errno. */
static int check_list(const struct survey *v)
{
    struct sf_list now;
    int r = sf_list_load(v->s->at.dir, &v->s->at, &now);
    if (r < 0)
        return r;
    if (now.count != v->list.count)
        r = -ESTALE;
    for (size_t i = 0; i < now.count && r == 0; i++)
        if (sf_entry_compare(&now.entries[i], &v->list.entries[i]) != 0)
            r = -ESTALE;
    sf_list_fini(&now);
    return r;
}

static int survey_once(struct survey *v)
{
    int r = sf_list_load(v->s->at.dir, &v->s->at, &v->list);
    if (r < 0)
        return r;
    v->with_stream = false;
    v->files = calloc(v->list.count + 1, sizeof *v->files);
    if (v->files == NULL)
        r = -ENOMEM;
    for (size_t i = 0; i < v->list.count && r == 0; i++)
        r = read_content(v, &v->list.entries[i], &v->files[i]);
    if (r == -ENOENT)
        r = -ESTALE; /* it was renamed */
    if (r == 0)
        r = check_list(v);
    if (r < 0)
        survey_end(v);
    return r;
}

/* What the trail holds at one moment. 0; -ENOENT: there is no directory; or -errno. */
static int survey_begin(struct survey *v)
{
    int r = -ESTALE;
    for (int tries = 0; tries < TRIES && r == -ESTALE; tries++)
        r = survey_once(v);
    return r == -ESTALE ? -EAGAIN : r;
}

/* ---- plan ---- */

/* Is everything before file i, all of which can go, below everything from it on? Then the lowest that stays is *ret. */
static bool can_cut(const struct survey *v, size_t i, const struct content **ret)
{
    uint64_t high = 0;
    *ret = NULL;
    for (size_t k = 0; k < i; k++) {
        const struct content *c = &v->files[k];
        if (c->odd || c->held || !v->list.entries[k].archive)
            return false;
        high = c->high > high ? c->high : high;
    }
    for (size_t k = i; k < v->list.count; k++) {
        const struct content *c = &v->files[k];
        if (c->count > 0 && (*ret == NULL || c->low < (*ret)->low))
            *ret = c;
    }
    return *ret != NULL && (*ret)->low > high;
}

static void describe(const struct survey *v, size_t cut, const struct content *keep, struct aw_prune *p)
{
    *p = (struct aw_prune){.struct_size = sizeof *p, .stream = v->stream, .keep_seq = keep->low};
    p->keep_ns = keep->low_ns;
    memcpy(p->keep_hash, keep->first.hash, sizeof p->keep_hash);
    for (size_t i = 0; i < cut; i++) {
        const struct content *c = &v->files[i];
        if (c->count == 0)
            continue;
        if (p->count == 0 || c->low < p->first_seq)
            p->first_seq = c->low;
        if (c->high > p->last_seq)
            p->last_seq = c->high;
        if (p->count == 0 || c->first_ns < p->first_ns)
            p->first_ns = c->first_ns;
        if (p->count == 0 || c->last_ns > p->last_ns)
            p->last_ns = c->last_ns;
        p->count += c->count;
        p->bytes += c->bytes;
    }
}

static int32_t plan(void *sink, int64_t before_ns, int32_t (*found)(void *arg, const struct aw_prune *), void *arg)
{
    struct file_sink *s = sink;
    struct survey v = {.s = s, .before_ns = before_ns, .now_ns = (int64_t)s->host->now_ns()};
    struct aw_prune p;
    const struct content *keep;
    int r = survey_begin(&v);
    if (r == -ENOENT)
        return AW_OK; /* nothing was ever stored */
    if (r < 0)
        return sf_fail(s, -r, "cannot be read", s->at.path);
    for (size_t cut = v.list.count; cut-- > 0;) {
        if (!can_cut(&v, cut, &keep))
            continue;
        describe(&v, cut, keep, &p);
        (void)found(arg, &p); /* there is no other stream */
        break;
    }
    survey_end(&v);
    return AW_OK;
}

/* ---- prune ---- */

static int write_list(struct file_sink *s, const struct sf_list *list, size_t count)
{
    char *path = sf_join(s->at.dir, s->at.base, SF_REMOVING), *tmp = sf_join(s->at.dir, s->at.base, SF_REMOVING ".tmp");
    int r = path == NULL || tmp == NULL ? -ENOMEM : 0, fd = -1;
    if (r == 0 && (fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, s->mode)) < 0)
        r = -errno;
    FILE *f = r == 0 ? fdopen(fd, "w") : NULL;
    if (r == 0 && f == NULL) {
        r = -errno;
        close(fd);
    }
    for (size_t i = 0; i < count && r == 0; i++)
        if (fprintf(f, "%.*s\n", (int)sf_plain_len(list->entries[i].name), list->entries[i].name) < 0)
            r = -EIO;
    if (r == 0 && (fflush(f) != 0 || fsync(fd) < 0))
        r = -errno;
    if (f != NULL && fclose(f) != 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0 && tmp != NULL)
        unlink(tmp);
    if (r == 0)
        r = sf_sync_dir(s->at.dir);
    free(path);
    free(tmp);
    return r;
}

static int remove_name(const char *dir, const char *name, const char *suffix)
{
    char *path = sf_join(dir, name, suffix);
    int r = path == NULL ? -ENOMEM : unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    free(path);
    return r;
}

int sf_removing_finish(struct file_sink *s)
{
    struct sf_list list;
    char *file = sf_join("", s->at.base, SF_REMOVING); /* "/BASE.removing" */
    int r = file == NULL ? -ENOMEM : sf_removing_load(s->at.dir, file + 1, &list);
    if (r == 0) {
        for (size_t i = 0; i < list.count && r == 0; i++) {
            r = remove_name(s->at.dir, list.entries[i].name, "");
            if (r == 0)
                r = remove_name(s->at.dir, list.entries[i].name, ".zst");
        }
        sf_list_fini(&list);
        if (r == 0)
            r = sf_sync_dir(s->at.dir); /* before what tells that they are gone is gone itself */
        if (r == 0)
            r = remove_name(s->at.dir, s->at.base, SF_REMOVING);
        if (r == 0)
            r = sf_sync_dir(s->at.dir);
    }
    free(file);
    return r == -ENOENT ? 0 : r;
}

/* A file that is being compressed is not to be removed now: it would come back. */
static int lock_file(const char *dir, const struct sf_entry *entry, int *ret)
{
    char *path = sf_join(dir, entry->name, "");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r = path == NULL ? -ENOMEM : fd < 0 ? -errno : 0;
    free(path);
    if (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = -errno;
        close(fd);
    }
    if (r == 0)
        *ret = fd;
    return r;
}

/* The files of the list before `cut` that are ours to remove now, from the oldest on; fds hold their locks. */
static size_t lock_files(struct file_sink *s, const struct survey *v, size_t cut, int *fds)
{
    size_t n = 0;
    for (; n < cut; n++) {
        int r = lock_file(s->at.dir, &v->list.entries[n], &fds[n]);
        if (r == 0)
            continue;
        aw_host_log(s->host, AW_LOG_WARNING, "%s: is left for the next time, and what is newer, too: %s",
                    v->list.entries[n].name, r == -EWOULDBLOCK ? "it is being compressed" : strerror(-r));
        break;
    }
    return n;
}

static int remove_files(struct file_sink *s, const struct survey *v, size_t cut, uint64_t *ret_removed)
{
    const struct content *keep;
    int *fds = calloc(cut + 1, sizeof *fds), r = 0;
    if (fds == NULL)
        return -ENOMEM;
    size_t locked = lock_files(s, v, cut, fds), n = locked;
    while (n > 0 && !can_cut(v, n, &keep))
        n--;
    if (n > 0)
        r = write_list(s, &v->list, n);
    if (n > 0 && r == 0)
        r = sf_removing_finish(s);
    for (size_t i = 0; i < n && r == 0; i++)
        *ret_removed += v->files[i].count;
    for (size_t i = 0; i < locked; i++)
        close(fds[i]);
    free(fds);
    return r;
}

static int32_t prune_one(struct file_sink *s, const struct aw_prune *p, uint64_t *ret_removed)
{
    struct survey v = {.s = s, .before_ns = INT64_MAX, .now_ns = INT64_MAX};
    const struct content *keep = NULL;
    size_t cut = 0;
    int r = survey_begin(&v);
    if (r < 0)
        return sf_fail(s, -r, "cannot be read", s->at.path);
    while (cut < v.list.count && v.files[cut].high < p->keep_seq && v.list.entries[cut].archive)
        cut++;
    bool fits = can_cut(&v, cut, &keep) && v.stream == p->stream && keep->low == p->keep_seq &&
                strcmp(keep->first.hash, p->keep_hash) == 0;
    if (!fits)
        aw_host_log(s->host, AW_LOG_WARNING,
                    "%s: nothing is removed: the event that was to stay first, seq %llu, is not what the plan says",
                    s->at.path, (unsigned long long)p->keep_seq);
    else
        r = remove_files(s, &v, cut, ret_removed);
    survey_end(&v);
    return r < 0 ? sf_fail(s, -r, "old files cannot be removed", s->at.path) : AW_OK;
}

static int32_t prune(void *sink, const struct aw_prune *const *prunes, size_t count, uint64_t *ret_removed)
{
    struct file_sink *s = sink;
    int32_t code = AW_OK;
    *ret_removed = 0;
    int r = sf_removing_finish(s);
    if (r < 0)
        return sf_fail(s, -r, "what an earlier retention left cannot be removed", s->at.path);
    for (size_t i = 0; i < count && code == AW_OK; i++)
        if (prunes[i]->count > 0)
            code = prune_one(s, prunes[i], ret_removed);
    return code;
}

const struct aw_sink_retention sf_retention = {sizeof sf_retention, 0, plan, prune};
