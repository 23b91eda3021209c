/* file_read.c - the query extension: archives in order, then the current file, as rows.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Works on what `path` names: a trail's current file (its archives come first), one archive or .zst file alone, or a
 * directory with trails. Nothing is locked and nothing is written, so a writer is never disturbed. Rows point into a
 * large read buffer; a line costs a memchr, a search for integrity.seq and a few digits.
 *
 * A cursor is "f1.ID.OFFSET.LINE.SEQ": ID names the file by its first line, so that it survives rotation and
 * compression.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_sink.h"

#define READ_BUFFER (512u << 10)
#define ROWS_MAX 1024u
#define NUMBERS_MAX 96u /* the digits in a location or cursor */

struct filter {
    char *text; /* what a matching line must hold, as bytes */
    size_t len;
    bool escapes; /* may be written with JSON escapes: a line with a backslash is never skipped */
};

struct reader {
    const struct aw_host *host;
    const struct file_sink *sink;
    char *dir;
    bool trail;   /* of sink->at; else `single` or all trails in dir */
    char *single; /* one archive or compressed file */
    bool single_zst;
    struct filter filters[6];
    size_t filter_count;

    bool begun;
    struct sf_entry at; /* the file being read; name NULL: none yet */
    struct sf_source *src;
    uint64_t id, line, skip_seq;

    char *buf;
    size_t cap, pos, len; /* unread bytes are [pos, len) */
    uint64_t base;        /* stream offset of buf[0] */
    char *texts;          /* locations and cursors of one page */
};

/* ---- opening ---- */

static void reader_close(void *read)
{
    struct reader *r = read;
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->filter_count; i++)
        free(r->filters[i].text);
    sf_source_close(r->src);
    free(r->at.name);
    free(r->dir);
    free(r->single);
    free(r->buf);
    free(r->texts);
    free(r);
}

/* A value that must stand in every matching line. Values that need escapes in JSON are left to the host. */
static int add_filter(struct reader *r, struct aw_str value, bool verbatim)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (!verbatim && (c < 0x20 || c >= 0x7f || c == '"' || c == '\\'))
            return 0;
    }
    if (value.len == 0)
        return 0;
    struct filter *f = &r->filters[r->filter_count];
    *f = (struct filter){malloc(value.len), value.len, !verbatim};
    if (f->text == NULL)
        return -ENOMEM;
    memcpy(f->text, value.ptr, value.len);
    r->filter_count++;
    return 0;
}

/* The longest piece of a glob without wildcards. */
static struct aw_str glob_literal(struct aw_str glob)
{
    struct aw_str best = {NULL, 0};
    size_t from = 0;
    for (size_t i = 0; i <= glob.len; i++) {
        if (i < glob.len && glob.ptr[i] != '*' && glob.ptr[i] != '?')
            continue;
        if (i - from > best.len)
            best = (struct aw_str){glob.ptr + from, i - from};
        from = i + 1;
    }
    return best;
}

static int32_t read_error(struct reader *r, int e, const char *name)
{
    int32_t code = e == -ENOMEM   ? AW_E_NOMEM
                   : e == -ENOENT ? AW_E_NOTFOUND
                   : e == -EACCES ? AW_E_CONFIG
                                  : AW_E_UNAVAILABLE;
    const char *why = e == -EBADMSG   ? "the compressed data is damaged or cut short"
                      : e == -ENOTSUP ? "this build cannot read zstd"
                                      : strerror(-e);
    return aw_host_error(r->host, code, "%s: %s", name, why);
}

/* What does the path name? */
static int locate(struct reader *r)
{
    const struct sf_path *at = &r->sink->at;
    struct stat st;
    size_t n = strlen(at->base);
    bool there = stat(at->path, &st) == 0, dir = there && S_ISDIR(st.st_mode);
    r->single_zst = n > 4 && strcmp(at->base + n - 4, ".zst") == 0;
    r->trail = !dir && !r->single_zst && !sf_archive_name(at->base);
    r->dir = strdup(dir ? at->path : at->dir);
    if (r->dir == NULL)
        return -ENOMEM;
    if (dir || r->trail)
        return 0;
    r->single = strdup(at->base);
    return r->single == NULL ? -ENOMEM : there ? 0 : -ENOENT;
}

static int load(struct reader *r, struct sf_list *ret)
{
    if (r->single == NULL)
        return sf_list_load(r->dir, r->trail ? &r->sink->at : NULL, ret);
    ret->entries = malloc(sizeof *ret->entries);
    char *name = strdup(r->single);
    if (ret->entries == NULL || name == NULL) {
        free(ret->entries);
        free(name);
        return -ENOMEM;
    }
    ret->entries[0] = (struct sf_entry){name, true, r->single_zst};
    ret->count = 1;
    return 0;
}

/* ---- from file to file ---- */

static bool same_file(struct reader *r, const struct sf_entry *entry)
{
    struct stat a, b;
    char *path = sf_join(r->dir, entry->name, "");
    bool same = path != NULL && fstat(sf_source_fd(r->src), &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
                a.st_ino == b.st_ino;
    free(path);
    return same;
}

static bool same_content(struct reader *r, const struct sf_entry *entry, uint64_t id)
{
    struct sf_source *src;
    if (id == 0 || sf_source_open(r->dir, entry, &src) < 0)
        return false;
    bool same = sf_source_id(src) == id;
    sf_source_close(src);
    return same;
}

/* Index of the file to read after r->at, or list->count. */
static size_t next_entry(struct reader *r, const struct sf_list *list)
{
    size_t i = 0;
    if (r->at.name == NULL)
        return 0;
    if (r->at.archive) {
        while (i < list->count && sf_entry_compare(&list->entries[i], &r->at) <= 0)
            i++;
        return i;
    }
    while (i < list->count && sf_entry_compare(&list->entries[i], &r->at) < 0)
        i++;
    bool there = i < list->count && sf_entry_compare(&list->entries[i], &r->at) == 0;
    if (there && same_file(r, &list->entries[i]))
        return i + 1;
    /* The file was rotated: it is one of the archives now, most likely the newest. */
    for (size_t k = i; k-- > 0 && sf_entry_same_trail(&list->entries[k], &r->at);)
        if (list->entries[k].zst ? same_content(r, &list->entries[k], r->id) : same_file(r, &list->entries[k]))
            return k + 1;
    return i;
}

static int switch_to(struct reader *r, const struct sf_entry *entry, struct sf_source *src, uint64_t id)
{
    size_t n = strlen(entry->name);
    char *name = strdup(entry->name), *texts = realloc(r->texts, ROWS_MAX * (n + NUMBERS_MAX));
    if (texts != NULL)
        r->texts = texts;
    if (name == NULL || texts == NULL) {
        free(name);
        return -ENOMEM;
    }
    sf_source_close(r->src);
    free(r->at.name);
    r->at = (struct sf_entry){name, entry->archive, entry->zst};
    r->src = src;
    r->id = id;
    r->line = r->base = 0;
    r->pos = r->len = 0;
    return 0;
}

/* Reads more behind what is there. > 0, 0 = end for now, or -errno. */
static ssize_t fill(struct reader *r)
{
    if (r->pos > 0) {
        memmove(r->buf, r->buf + r->pos, r->len - r->pos);
        r->base += r->pos;
        r->len -= r->pos;
        r->pos = 0;
    }
    if (r->len == r->cap) {
        char *more = realloc(r->buf, r->cap * 2);
        if (more == NULL)
            return -ENOMEM;
        r->buf = more;
        r->cap *= 2;
    }
    ssize_t n = sf_source_read(r->src, r->buf + r->len, r->cap - r->len);
    if (n > 0) {
        r->len += (size_t)n;
        if (r->id == 0 && r->base == 0 && memchr(r->buf, '\n', r->len) != NULL) {
            r->id = sf_source_id(r->src); /* the file was empty when it was opened */
            int e = sf_source_seek(r->src, r->base + r->len);
            return e < 0 ? e : n;
        }
    }
    return n;
}

/* Moves on to the next file. 1 = moved or more to read here, 0 = there is none (yet), or -errno. */
static int advance(struct reader *r)
{
    for (int tries = 0; tries < 100; tries++) {
        struct sf_list list = {NULL, 0}, again = {NULL, 0};
        struct sf_source *src = NULL;
        int e = load(r, &list);
        if (e < 0)
            return e == -ENOENT && r->begun ? 0 : e;
        size_t i = next_entry(r, &list);
        bool done = i >= list.count, stable = true;
        if (!done)
            e = sf_source_open(r->dir, &list.entries[i], &src);
        if (e == 0 && !done && !list.entries[i].archive && (e = load(r, &again)) == 0) {
            /* A rotation between listing and opening would let us skip the file that was rotated. */
            size_t k = next_entry(r, &again);
            stable = k < again.count && strcmp(again.entries[k].name, list.entries[i].name) == 0;
        }
        if (e == 0 && !done && stable && r->src != NULL && !r->at.archive) {
            ssize_t n = fill(r); /* what was written between our last read and the rotation */
            if (n != 0) {
                sf_source_close(src);
                sf_list_fini(&list);
                sf_list_fini(&again);
                return n < 0 ? (int)n : 1;
            }
        }
        if (e == 0 && !done && stable && (e = switch_to(r, &list.entries[i], src, sf_source_id(src))) == 0)
            src = NULL;
        sf_source_close(src);
        sf_list_fini(&list);
        sf_list_fini(&again);
        if (e < 0 && e != -ENOENT)
            return e;
        if (e == 0 && (done || stable))
            return !done;
    }
    return -EAGAIN;
}

/* ---- cursors ---- */

static int32_t seek_cursor(struct reader *r, struct aw_str after)
{
    char text[201];
    uint64_t id, offset, line, seq;
    int end = 0;
    struct sf_list list;
    if (after.len >= sizeof text)
        return aw_host_error(r->host, AW_E_CONFIG, "not a cursor of this sink");
    memcpy(text, after.ptr, after.len);
    text[after.len] = '\0';
    if (sscanf(text, "f1.%16" SCNx64 ".%" SCNu64 ".%" SCNu64 ".%" SCNu64 "%n", &id, &offset, &line, &seq, &end) != 4 ||
        (size_t)end != after.len)
        return aw_host_error(r->host, AW_E_CONFIG, "\"%s\" is not a cursor of this sink", text);
    int e = load(r, &list);
    if (e < 0)
        return read_error(r, e, r->dir);
    bool found = false;
    for (size_t i = 0; !found && e == 0 && i < list.count; i++) {
        struct sf_source *src;
        if (sf_source_open(r->dir, &list.entries[i], &src) < 0)
            continue;
        found = sf_source_id(src) == id && sf_source_seek(src, offset) == 0;
        if (found && (e = switch_to(r, &list.entries[i], src, id)) == 0) {
            r->base = offset;
            r->line = line;
            r->begun = true;
            src = NULL;
        }
        sf_source_close(src);
    }
    sf_list_fini(&list);
    if (e < 0)
        return read_error(r, e, r->dir);
    if (!found && seq == 0)
        return aw_host_error(r->host, AW_E_NOTFOUND, "the file into which the cursor points is gone");
    r->skip_seq = found ? 0 : seq; /* pruned by retention: go on behind its sequence number */
    return AW_OK;
}

/* ---- rows ---- */

static char *put_digits(char *p, uint64_t v)
{
    char tmp[20];
    size_t n = 0;
    do
        tmp[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n > 0)
        *p++ = tmp[--n];
    return p;
}

static char *put_id(char *p, uint64_t id)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = "0123456789abcdef"[id >> shift & 15];
    return p;
}

static bool matches(const struct reader *r, const char *line, size_t len)
{
    for (size_t i = 0; i < r->filter_count; i++) {
        const struct filter *f = &r->filters[i];
        if (memmem(line, len, f->text, f->len) == NULL && !(f->escapes && memchr(line, '\\', len) != NULL))
            return false;
    }
    return true;
}

/* Makes a row of [line, line + len), the stream offset behind it being end. False: filtered out. */
static bool make_row(struct reader *r, const char *line, size_t len, uint64_t end, char **text, struct aw_row *row)
{
    r->line++;
    if (r->filter_count > 0 && !matches(r, line, len))
        return false;
    uint64_t seq = sf_line_seq(line, len);
    if (seq != 0 && seq <= r->skip_seq)
        return false;
    char *p = *text;
    size_t n = strlen(r->at.name);
    row->seq = seq;
    row->json = (struct aw_str){line, len};
    memcpy(p, r->at.name, n);
    p[n] = ':';
    row->location.ptr = p;
    p = put_digits(p + n + 1, r->line);
    row->location.len = (size_t)(p - row->location.ptr);
    row->cursor.ptr = p;
    memcpy(p, "f1.", 3);
    p = put_id(p + 3, r->id);
    *p++ = '.';
    p = put_digits(p, end);
    *p++ = '.';
    p = put_digits(p, r->line);
    *p++ = '.';
    p = put_digits(p, seq);
    row->cursor.len = (size_t)(p - row->cursor.ptr);
    *text = p;
    return true;
}

static size_t take_rows(struct reader *r, struct aw_row *rows, size_t max)
{
    size_t count = 0;
    char *text = r->texts;
    while (count < max) {
        char *line = r->buf + r->pos, *nl = memchr(line, '\n', r->len - r->pos);
        if (nl == NULL) {
            if (r->len - r->pos < SF_LINE_MAX)
                break;
            nl = r->buf + r->len - 1; /* absurdly long: handed over in pieces */
        }
        r->pos = (size_t)(nl - r->buf) + 1;
        count += make_row(r, line, (size_t)(nl - line), r->base + r->pos, &text, &rows[count]);
    }
    return count;
}

/* The file ends without a newline. Final: nobody will finish the line. */
static bool torn_is_final(struct reader *r)
{
    struct stat st;
    return r->at.archive || r->at.zst || (fstat(sf_source_fd(r->src), &st) == 0 && sf_lock_holder(&st) == 0);
}

/* At the end of a file. 1 = one row made, 2 = there is more to read, 0 = neither, or -errno. */
static int finish_file(struct reader *r, struct aw_row *row)
{
    struct stat st;
    char *text = r->texts;
    if (!r->at.zst && fstat(sf_source_fd(r->src), &st) == 0 && (uint64_t)st.st_size < r->base + r->pos) {
        r->base = (uint64_t)st.st_size; /* cut by somebody: go on where it ends */
        r->line = st.st_size == 0 ? 0 : r->line;
        r->pos = r->len = 0;
        return sf_source_seek(r->src, r->base);
    }
    if (r->pos == r->len)
        return 0;
    if (torn_is_final(r)) {
        ssize_t more = fill(r); /* the writer may have finished the line, and the file, since it was read */
        if (more != 0)
            return more < 0 ? (int)more : 2;
        char *line = r->buf + r->pos;
        size_t n = r->len - r->pos;
        r->pos = r->len;
        return make_row(r, line, n, r->base + r->len, &text, row);
    }
    r->len = r->pos; /* being written: read it again when it is whole */
    return sf_source_seek(r->src, r->base + r->len);
}

static int32_t reader_next(void *read, struct aw_row *ret_rows, size_t max, size_t *ret_count)
{
    struct reader *r = read;
    size_t count = 0;
    max = max > ROWS_MAX ? ROWS_MAX : max;
    while (count == 0 && max > 0) {
        int e = 0;
        if (r->src != NULL && (count = take_rows(r, ret_rows, max)) > 0)
            break;
        if (r->src != NULL) {
            ssize_t n = fill(r);
            if (n > 0)
                continue;
            e = n < 0 ? (int)n : finish_file(r, ret_rows);
            if (e == 2)
                continue;
            if (e > 0) {
                count = 1;
                break;
            }
        }
        if (e == 0)
            e = advance(r);
        if (e < 0)
            return read_error(r, e, r->at.name != NULL ? r->at.name : r->sink->at.path);
        if (e == 0)
            break;
        r->begun = true;
    }
    *ret_count = count;
    return AW_OK;
}

static int32_t reader_open(void *sink, const struct aw_query *query, void **ret_read)
{
    const struct file_sink *s = sink;
    if ((query->flags & AW_QUERY_DESCENDING) != 0)
        return AW_E_UNSUPPORTED;
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return AW_E_NOMEM;
    r->host = s->host;
    r->sink = s;
    r->cap = READ_BUFFER;
    r->buf = malloc(r->cap);
    int e = r->buf == NULL ? -ENOMEM : locate(r);
    const struct aw_str equal[] = {query->actor_id, query->target_id, query->tenant_id, query->outcome,
                                   glob_literal(query->action)};
    for (size_t i = 0; e == 0 && i < sizeof equal / sizeof equal[0]; i++)
        e = add_filter(r, equal[i], false);
    if (e == 0)
        e = add_filter(r, query->text, true);
    int32_t code = e < 0 ? read_error(r, e, s->at.path) : AW_OK;
    if (code == AW_OK && query->after.len > 0)
        code = seek_cursor(r, query->after);
    else if (code == AW_OK && (e = advance(r)) <= 0 && (e < 0 || r->trail == false))
        code = e < 0 ? read_error(r, e, s->at.path) : AW_OK;
    else if (code == AW_OK && e == 0)
        code = aw_host_error(r->host, AW_E_NOTFOUND, "%s: there is no such file", s->at.path);
    r->begun = true;
    if (code != AW_OK) {
        reader_close(r);
        return code;
    }
    *ret_read = r;
    return AW_OK;
}

const struct aw_sink_query sf_query = {sizeof sf_query, 0, reader_open, reader_next, reader_close};
