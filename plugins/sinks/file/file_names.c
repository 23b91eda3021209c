/* file_names.c - the names of a trail's files: audit.jsonl and its archives
 * audit-20260102T030405.678Z-000001.jsonl[.zst]. SPDX-License-Identifier: Apache-2.0
 *
 * The stamp is the UTC time of the rotation, never lower than that of the archive before; the counter tells archives of
 * one millisecond apart. So the names sort as the events were written.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file_sink.h"

int sf_path_init(struct sf_path *at, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (*path == '\0' || (slash != NULL && slash[1] == '\0' && slash != path))
        return -EINVAL;
    *at = (struct sf_path){.path = strdup(path)};
    if (at->path == NULL)
        return -ENOMEM;
    slash = strrchr(at->path, '/');
    at->dir = slash == NULL ? strdup(".") : strndup(at->path, slash == at->path ? 1 : (size_t)(slash - at->path));
    if (at->dir == NULL) {
        sf_path_fini(at);
        return -ENOMEM;
    }
    at->base = slash == NULL ? at->path : slash + 1;
    at->ext = strrchr(at->base, '.');
    if (at->ext == NULL || at->ext == at->base)
        at->ext = at->base + strlen(at->base);
    at->stem_len = (size_t)(at->ext - at->base);
    return 0;
}

void sf_path_fini(struct sf_path *at)
{
    free(at->path);
    free(at->dir);
    *at = (struct sf_path){0};
}

char *sf_join(const char *dir, const char *name, const char *suffix)
{
    size_t n = strlen(dir) + strlen(name) + strlen(suffix) + 2;
    char *out = malloc(n);
    if (out != NULL)
        snprintf(out, n, "%s/%s%s", dir, name, suffix);
    return out;
}

void sf_stamp(uint64_t ns, char out[SF_STAMP + 1])
{
    time_t t = (time_t)(ns / 1000000000u);
    struct tm tm;
    char text[64];
    if (gmtime_r(&t, &tm) == NULL)
        memset(&tm, 0, sizeof tm);
    size_t n = strftime(text, sizeof text, "%Y%m%dT%H%M%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03uZ", (unsigned)(ns / 1000000u % 1000u));
    memcpy(out, text, SF_STAMP);
    out[SF_STAMP] = '\0';
}

static bool is_stamp(const char *p)
{
    static const char shape[] = "ddddddddTdddddd.dddZ";
    for (size_t i = 0; i < SF_STAMP; i++)
        if (shape[i] == 'd' ? p[i] < '0' || p[i] > '9' : p[i] != shape[i])
            return false;
    return true;
}

/* Length of the name without .zst. */
size_t sf_plain_len(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".zst") == 0 ? n - 4 : n;
}

/* The place of `-STAMP-COUNTER` in an archive's name, or NULL. ret_after points behind the counter. */
static const char *find_stamp(const char *name, const char **ret_after)
{
    size_t n = sf_plain_len(name);
    for (const char *p = name; (p = strchr(p, '-')) != NULL; p++) {
        size_t left = n - (size_t)(p - name);
        if (p == name || left < SF_STAMP + 8 || !is_stamp(p + 1) || p[SF_STAMP + 1] != '-')
            continue;
        const char *digits = p + SF_STAMP + 2, *q = digits;
        while (*q >= '0' && *q <= '9')
            q++;
        if (q - digits >= 6 && (*q == '\0' || *q == '.')) {
            *ret_after = q;
            return p;
        }
    }
    return NULL;
}

bool sf_archive_name(const char *name)
{
    const char *after;
    return find_stamp(name, &after) != NULL;
}

bool sf_archive_parse(const struct sf_path *at, const char *name, char stamp[SF_STAMP + 1], unsigned *ret_counter)
{
    const char *after, *p = find_stamp(name, &after);
    size_t ext = strlen(at->ext);
    if (p == NULL || (size_t)(p - name) != at->stem_len || memcmp(name, at->base, at->stem_len) != 0 ||
        sf_plain_len(name) != (size_t)(after - name) + ext || memcmp(after, at->ext, ext) != 0)
        return false;
    memcpy(stamp, p + 1, SF_STAMP);
    stamp[SF_STAMP] = '\0';
    *ret_counter = (unsigned)strtoul(p + SF_STAMP + 2, NULL, 10);
    return true;
}

/* Compares what two names would be without stamp and counter: the trails they belong to. */
static int compare_trails(const struct sf_entry *a, const struct sf_entry *b)
{
    const char *after[2], *cut[2], *name[2] = {a->name, b->name};
    size_t len[2], ext[2];
    bool archive[2] = {a->archive, b->archive};
    for (int i = 0; i < 2; i++) {
        size_t n = sf_plain_len(name[i]);
        after[i] = NULL;
        cut[i] = archive[i] ? find_stamp(name[i], &after[i]) : NULL;
        if (cut[i] == NULL) {
            const char *dot = memrchr(name[i], '.', n);
            cut[i] = after[i] = dot != NULL && dot != name[i] ? dot : name[i] + n;
        }
        len[i] = (size_t)(cut[i] - name[i]);
        ext[i] = n - (size_t)(after[i] - name[i]);
    }
    size_t m = len[0] < len[1] ? len[0] : len[1];
    int c = memcmp(name[0], name[1], m);
    if (c == 0 && len[0] != len[1])
        c = len[0] < len[1] ? -1 : 1;
    if (c == 0) {
        m = ext[0] < ext[1] ? ext[0] : ext[1];
        c = memcmp(after[0], after[1], m);
        if (c == 0 && ext[0] != ext[1])
            c = ext[0] < ext[1] ? -1 : 1;
    }
    return c;
}

bool sf_entry_same_trail(const struct sf_entry *a, const struct sf_entry *b)
{
    return compare_trails(a, b) == 0;
}

int sf_entry_compare(const struct sf_entry *a, const struct sf_entry *b)
{
    int c = compare_trails(a, b);
    if (c == 0 && a->archive != b->archive)
        c = a->archive ? -1 : 1;
    if (c == 0 && a->archive) {
        size_t la = sf_plain_len(a->name), lb = sf_plain_len(b->name), m = la < lb ? la : lb;
        c = memcmp(a->name, b->name, m);
        if (c == 0 && la != lb)
            c = la < lb ? -1 : 1;
    }
    return c;
}

static int compare_entries(const void *a, const void *b)
{
    const struct sf_entry *x = a, *y = b;
    int c = sf_entry_compare(x, y);
    return c != 0 ? c
                  : (int)x->zst - (int)y->zst; /* the plain file first: it stays until the compressed one is whole */
}

/* Does this name belong into the list? */
static bool wanted(const struct sf_path *at, struct sf_entry *entry)
{
    const char *after;
    size_t n = sf_plain_len(entry->name);
    char stamp[SF_STAMP + 1];
    unsigned counter;
    entry->zst = entry->name[n] != '\0';
    if (at != NULL) {
        entry->archive = sf_archive_parse(at, entry->name, stamp, &counter);
        return entry->archive || strcmp(entry->name, at->base) == 0;
    }
    entry->archive = find_stamp(entry->name, &after) != NULL;
    return entry->name[0] != '.' && ((n > 6 && memcmp(entry->name + n - 6, ".jsonl", 6) == 0) ||
                                     (n > 7 && memcmp(entry->name + n - 7, ".ndjson", 7) == 0));
}

static void drop_doubles(struct sf_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && sf_entry_compare(&list->entries[kept - 1], &list->entries[i]) == 0)
            free(list->entries[i].name);
        else
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcmp(name + n - m, suffix) == 0;
}

static int add_name(struct sf_list *list, size_t *cap, const char *name, const struct sf_entry *as)
{
    if (list->count == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        struct sf_entry *entries = realloc(list->entries, more * sizeof *entries);
        if (entries == NULL)
            return -ENOMEM;
        list->entries = entries;
        *cap = more;
    }
    struct sf_entry entry = *as;
    entry.name = strdup(name);
    if (entry.name == NULL)
        return -ENOMEM;
    list->entries[list->count++] = entry;
    return 0;
}

int sf_removing_load(const char *dir, const char *file, struct sf_list *ret)
{
    struct sf_list list = {NULL, 0};
    size_t cap = 0, size = 0;
    ssize_t n;
    char *path = sf_join(dir, file, ""), *line = NULL;
    FILE *f = path != NULL ? fopen(path, "re") : NULL;
    int r = path == NULL ? -ENOMEM : f == NULL ? -errno : 0;
    free(path);
    while (r == 0 && (n = getline(&line, &size, f)) > 0) {
        static const struct sf_entry archive = {NULL, true, false};
        if (line[n - 1] == '\n')
            line[--n] = '\0';
        if (sf_archive_name(line) && strchr(line, '/') == NULL) /* nothing else is ever removed */
            r = add_name(&list, &cap, line, &archive);
    }
    if (r == 0 && ferror(f))
        r = -EIO;
    if (f != NULL)
        fclose(f);
    free(line);
    if (r < 0)
        sf_list_fini(&list);
    *ret = list;
    return r;
}

/* Takes out what is being removed, by the list in this file. */
static int drop_removed(const char *dir, const char *file, struct sf_list *list)
{
    struct sf_list gone;
    size_t kept = 0;
    int r = sf_removing_load(dir, file, &gone);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* it was finished meanwhile */
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->entries[i].name;
        size_t len = sf_plain_len(name), k = 0;
        while (k < gone.count && (strlen(gone.entries[k].name) != len || memcmp(gone.entries[k].name, name, len) != 0))
            k++;
        if (k < gone.count)
            free(list->entries[i].name);
        else
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
    sf_list_fini(&gone);
    return 0;
}

static int drop_all_removed(const char *dir, const struct sf_list *lists, struct sf_list *list)
{
    int r = 0;
    for (size_t i = 0; i < lists->count && r == 0; i++)
        r = drop_removed(dir, lists->entries[i].name, list);
    return r;
}

/* Is this a list of what is being removed, of this trail (at NULL: of any)? */
static bool is_removing(const struct sf_path *at, const char *name)
{
    size_t n = strlen(name) - (has_suffix(name, SF_REMOVING) ? strlen(SF_REMOVING) : 0);
    return name[n] != '\0' && (at == NULL || (strlen(at->base) == n && memcmp(name, at->base, n) == 0));
}

int sf_list_load(const char *dir, const struct sf_path *at, struct sf_list *ret)
{
    struct sf_list list = {NULL, 0}, removing = {NULL, 0};
    size_t cap = 0, removing_cap = 0;
    int r = 0;
    DIR *d = opendir(dir);
    if (d == NULL)
        return -errno;
    for (;;) {
        errno = 0;
        struct dirent *de = readdir(d);
        if (de == NULL) {
            r = -errno;
            break;
        }
        struct sf_entry entry = {.name = de->d_name};
        if (is_removing(at, de->d_name))
            r = add_name(&removing, &removing_cap, de->d_name, &entry);
        else if (wanted(at, &entry))
            r = add_name(&list, &cap, de->d_name, &entry);
        if (r < 0)
            break;
    }
    closedir(d);
    if (r == 0)
        r = drop_all_removed(dir, &removing, &list);
    sf_list_fini(&removing);
    if (r < 0) {
        sf_list_fini(&list);
        return r;
    }
    if (list.count > 1)
        qsort(list.entries, list.count, sizeof *list.entries, compare_entries);
    drop_doubles(&list);
    *ret = list;
    return 0;
}

void sf_list_fini(struct sf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].name);
    free(list->entries);
    *list = (struct sf_list){NULL, 0};
}
