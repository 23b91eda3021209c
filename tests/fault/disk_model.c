/* disk_model.c - see disk.h: what is left of a recording. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "disk_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 512
#define PAGE 4096u

struct content {
    uint8_t *bytes;
    size_t len, room;
};
struct file {
    uint64_t inode; /* the newest file with it */
    bool is_dir;
    struct content now, synced;
    struct content dirty; /* a byte for each page of `now`: 1, it waits for a sync */
    uint64_t cut;         /* the shortest it was since the last sync: what is on the disk behind that is gone */
    /* names, empty: none. For a directory its own name; entries of others are found by their paths */
    char name_now[DISK_PATH_MAX], name_synced[DISK_PATH_MAX];
};
struct model {
    struct file file[FILES];
    size_t count;
    bool failed;
    uint64_t random;
};

static bool grow(struct content *c, size_t len)
{
    if (len > c->room) {
        size_t room = len * 2;
        uint8_t *p = realloc(c->bytes, room);
        if (!p)
            return false;
        c->bytes = p;
        c->room = room;
    }
    if (len > c->len)
        memset(c->bytes + c->len, 0, len - c->len);
    c->len = len;
    return true;
}

static bool put(struct content *c, uint64_t at, const uint8_t *bytes, size_t len)
{
    if (at + len > c->len && !grow(c, at + len))
        return false;
    if (len > 0)
        memcpy(c->bytes + at, bytes, len);
    return true;
}

/* ---- pages ---- */

static bool soil(struct file *f, uint64_t at, size_t len)
{
    size_t first = at / PAGE, behind = (at + len + PAGE - 1) / PAGE;
    if (behind > f->dirty.len && !grow(&f->dirty, behind))
        return false;
    if (len > 0)
        memset(f->dirty.bytes + first, 1, behind - first);
    return true;
}

static bool is_dirty(const struct file *f, size_t page)
{
    return page < f->dirty.len && f->dirty.bytes[page] != 0;
}

static bool resize(struct file *f, uint64_t size)
{
    if (size >= f->now.len)
        return grow(&f->now, size);
    f->cut = size < f->cut ? size : f->cut;
    f->now.len = size;
    if (f->dirty.len > (size + PAGE - 1) / PAGE)
        f->dirty.len = (size + PAGE - 1) / PAGE;
    return size % PAGE == 0 || soil(f, size - 1, 1); /* the rest of that page is zeroed */
}

/* One page of `from` over that of `to`; what `from` does not have is zeros. */
static void copy_page(struct content *to, const struct content *from, size_t page)
{
    size_t at = page * PAGE, end = at + PAGE < to->len ? at + PAGE : to->len;
    size_t have = from->len < end ? from->len : end;
    if (at >= end)
        return;
    memset(to->bytes + at, 0, end - at);
    if (have > at)
        memcpy(to->bytes + at, from->bytes + at, have - at);
}

/* Sizes are the file system's own and reach the disk in any case; pages do so only when they are dirty. */
static bool sync_file(struct file *f)
{
    f->synced.len = f->synced.len < f->cut ? f->synced.len : f->cut;
    if (!grow(&f->synced, f->now.len))
        return false;
    for (size_t p = 0; p < f->dirty.len; p++)
        if (is_dirty(f, p))
            copy_page(&f->synced, &f->now, p);
    f->dirty.len = 0;
    f->cut = UINT64_MAX;
    return true;
}

/* The dirty pages are clean now, and not on the disk. */
static void fail_sync(struct file *f, bool reverts)
{
    if (f->synced.len > f->cut)
        f->synced.len = f->cut;
    for (size_t p = 0; reverts && p < f->dirty.len; p++)
        if (is_dirty(f, p))
            copy_page(&f->now, &f->synced, p);
    f->dirty.len = 0;
}

static struct file *by_inode(struct model *m, uint64_t inode)
{
    for (size_t i = m->count; i-- > 0;)
        if (m->file[i].inode == inode && !m->file[i].is_dir)
            return &m->file[i];
    return NULL; /* made before the recording: not ours */
}

static struct file *by_name(struct model *m, const char *path)
{
    for (size_t i = m->count; i-- > 0;)
        if (strcmp(m->file[i].name_now, path) == 0)
            return &m->file[i];
    return NULL;
}

static void add(struct model *m, const char *path, uint64_t inode, bool is_dir)
{
    if (m->count == FILES) {
        m->failed = true;
        return;
    }
    struct file *f = &m->file[m->count++];
    *f = (struct file){.inode = inode, .is_dir = is_dir, .cut = UINT64_MAX};
    (void)snprintf(f->name_now, sizeof f->name_now, "%s", path);
}

/* A name that is taken over or removed. */
static void drop_name(struct model *m, const char *path)
{
    struct file *f = by_name(m, path);
    if (f)
        f->name_now[0] = '\0';
}

static bool is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    const char *name = n == 0 ? path : path + n + 1;
    return (n == 0 || (strncmp(path, dir, n) == 0 && path[n] == '/')) && *path && !strchr(name, '/');
}

/* Names of a directory reach the disk: those that came, and those that went. */
static void sync_names(struct model *m, const char *dir)
{
    for (size_t i = 0; i < m->count; i++) {
        struct file *f = &m->file[i];
        if (is_in(f->name_synced, dir) && strcmp(f->name_now, f->name_synced) != 0)
            f->name_synced[0] = '\0';
        if (is_in(f->name_now, dir))
            memcpy(f->name_synced, f->name_now, sizeof f->name_synced);
    }
}

static bool chance(struct model *m)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return m->random >> 63;
}

static void apply(struct model *m, const struct disk *d, const struct change *c)
{
    struct file *f = c->kind == CHANGE_WRITE || c->kind == CHANGE_SIZE || c->kind == CHANGE_TRUNCATE ||
                             c->kind == CHANGE_SYNC || c->kind == CHANGE_SYNC_FAILED
                         ? by_inode(m, c->inode)
                         : NULL;
    switch (c->kind) {
    case CHANGE_CREATE:
        add(m, c->path, c->inode, false);
        break;
    case CHANGE_MKDIR:
        add(m, c->path, 0, true);
        break;
    case CHANGE_RENAME:
        f = by_name(m, c->path);
        drop_name(m, c->to);
        if (f)
            memcpy(f->name_now, c->to, sizeof f->name_now);
        break;
    case CHANGE_UNLINK:
        drop_name(m, c->path);
        break;
    case CHANGE_WRITE:
        m->failed |= f && (!put(&f->now, c->at, d->bytes + c->bytes, c->len) || !soil(f, c->at, c->len));
        break;
    case CHANGE_SIZE:
        m->failed |= f && !resize(f, c->at);
        break;
    case CHANGE_TRUNCATE:
        m->failed |= f && !resize(f, 0);
        break;
    case CHANGE_SYNC:
        m->failed |= f && !sync_file(f);
        break;
    case CHANGE_SYNC_FAILED:
        if (f)
            fail_sync(f, c->at != 0);
        break;
    case CHANGE_SYNC_DIR:
        sync_names(m, c->path);
        break;
    case CHANGE_ACKNOWLEDGED:
        break;
    }
}

/* DISK_SOME: contents as synced, and of the changes since then each one by chance, in their order. */
static void mix(struct model *m, const struct disk *d, size_t at)
{
    for (size_t i = 0; i < m->count; i++) {
        struct file *f = &m->file[i];
        size_t from = 0;
        if (f->is_dir)
            continue;
        for (size_t k = 0; k < at; k++)
            if ((d->change[k].kind == CHANGE_SYNC || d->change[k].kind == CHANGE_CREATE) &&
                d->change[k].inode == f->inode)
                from = k + 1;
        for (size_t k = from; k < at; k++) {
            const struct change *c = &d->change[k];
            if (c->inode != f->inode || c->kind == CHANGE_CREATE || !chance(m))
                continue;
            if (c->kind == CHANGE_WRITE)
                m->failed |= !put(&f->synced, c->at, d->bytes + c->bytes, c->len);
            else if (c->kind == CHANGE_SIZE)
                m->failed |= !grow(&f->synced, c->at);
            else if (c->kind == CHANGE_TRUNCATE)
                f->synced.len = 0;
        }
    }
}

/* ---- to a directory ---- */

static bool write_file(const char *path, const struct content *c)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = c->len == 0 || write(fd, c->bytes, c->len) == (ssize_t)c->len;
    return close(fd) == 0 && good;
}

/* Directories before what is in them: parents were made first. A directory whose name was lost took all in it along. */
static bool emit(const struct model *m, const struct disk_state *s, const char *root)
{
    if (mkdir(root, 0700) < 0)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        const struct file *f = &m->file[i];
        char path[4500];
        const char *name = s->keeps == DISK_SYNCED ? f->name_synced : f->name_now;
        if (!*name)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", root, name);
        if (f->is_dir ? mkdir(path, 0700) < 0 : !write_file(path, s->keeps == DISK_ALL ? &f->now : &f->synced)) {
            if (s->keeps != DISK_SYNCED || access(path, F_OK) == 0)
                return false;
        }
    }
    return true;
}

static void free_model(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->file[i].now.bytes);
        free(m->file[i].synced.bytes);
        free(m->file[i].dirty.bytes);
    }
    free(m);
}

bool disk_lay_out(const struct disk *d, const struct disk_state *s, const char *root)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return false;
    m->random = s->seed;
    for (size_t i = 0; i < s->at; i++)
        apply(m, d, &d->change[i]);
    if (s->keeps == DISK_SOME)
        mix(m, d, s->at);
    if (s->torn > 0 && s->at < d->count && d->change[s->at].kind == CHANGE_WRITE) {
        struct change part = d->change[s->at];
        part.len = s->torn < part.len ? s->torn : part.len;
        apply(m, d, &part);
    }
    bool good = !m->failed && emit(m, s, root);
    free_model(m);
    return good;
}

size_t disk_changes(const struct disk *disk)
{
    return disk->count;
}

size_t disk_write_len(const struct disk *disk, size_t change)
{
    return disk->change[change].kind == CHANGE_WRITE ? disk->change[change].len : 0;
}

size_t disk_acknowledged(const struct disk *disk, size_t at, uint64_t *ret, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < at && n < max; i++)
        if (disk->change[i].kind == CHANGE_ACKNOWLEDGED)
            ret[n++] = disk->change[i].at;
    return n;
}

uint64_t disk_syncs(const struct disk *disk)
{
    return disk->syncs;
}

uint64_t disk_failed_syncs(const struct disk *disk)
{
    return disk->failed_syncs;
}

const char *disk_sync_name(const struct disk *disk, uint64_t nth)
{
    for (size_t i = 0; i < disk->count; i++) {
        const struct change *c = &disk->change[i];
        if ((c->kind == CHANGE_SYNC || c->kind == CHANGE_SYNC_DIR) && --nth == 0)
            return c->path;
    }
    return NULL;
}

size_t disk_first_failure(const struct disk *disk, const char **ret_name)
{
    if (ret_name)
        *ret_name = disk->failed;
    return disk->failed_syncs > 0 ? disk->first_failure : disk->count;
}

bool disk_each_lost_page(const struct disk *d, uint64_t inode,
                         void (*fn)(void *arg, uint64_t at, const uint8_t *bytes, size_t len), void *arg)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return false;
    for (size_t i = 0; i < d->count; i++)
        apply(m, d, &d->change[i]);
    struct file *f = by_inode(m, inode);
    struct content before = {f ? f->now.bytes : NULL, f ? f->now.len : 0, 0};
    for (size_t p = 0; f && !m->failed && p < f->dirty.len; p++) {
        size_t at = p * PAGE, len = before.len - at < PAGE ? before.len - at : PAGE;
        if (!is_dirty(f, p) || at >= before.len)
            continue;
        if (f->synced.len > f->cut)
            f->synced.len = f->cut;
        copy_page(&before, &f->synced, p);
        fn(arg, at, before.bytes + at, len);
    }
    bool good = !m->failed;
    free_model(m);
    return good;
}
