/* gaps.c - see gaps.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "gaps.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/ids.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define MAGIC "AWGAPS1"
#define SCOPE_MAX 420u
#define REASON_MAX 16u
#define JSON_MAX 1024u

struct slot {
    _Atomic uint32_t used; /* set last, cleared first */
    uint16_t scope_len;
    uint8_t scope_is_tenant, several;
    uint64_t count, after_seq;
    int64_t first_ns, last_ns;
    char event_id[IDS_UUID_LEN];
    char reason[REASON_MAX]; /* NUL-terminated */
    char scope[SCOPE_MAX];   /* escaped as in JSON */
};
struct file {
    char magic[8];
    uint32_t version, slots;
    uint8_t zero[48];
    struct slot slot[GAPS_MAX + 1]; /* the last one: all chains that found no slot of their own */
};

struct gaps {
    struct gaps_shared shared; /* first */
    bool mapped;
    struct diag_out diag;
    pthread_mutex_t mutex; /* file, ids; pending is written under it */
    struct file *file;
    struct ids_source ids;
};

_Static_assert(sizeof(struct slot) == 512, "struct slot is the disk format");

/* ---- the file ---- */

static bool slot_ok(const struct slot *s)
{
    if (s->scope_len > SCOPE_MAX || s->count == 0 || memchr(s->reason, '\0', REASON_MAX) == NULL)
        return false;
    for (size_t i = 0; i < IDS_UUID_LEN; i++)
        if (!strchr("0123456789abcdef-", s->event_id[i]) || s->event_id[i] == '\0')
            return false;
    return strspn(s->reason, "abcdefghijklmnopqrstuvwxyz_") == strlen(s->reason);
}

/* What a dead process left. */
static void adopt(struct gaps *g, const char *dir)
{
    uint32_t pending = 0;
    for (size_t i = 0; i <= GAPS_MAX; i++) {
        struct slot *s = &g->file->slot[i];
        if (atomic_load(&s->used) == 0)
            continue;
        if (atomic_load(&s->used) != 1 || !slot_ok(s)) {
            diag_log(&g->diag, AW_LOG_ERROR, "", "%s/" GAPS_NAME ": slot %zu is damaged: a gap cannot be recorded", dir,
                     i);
            atomic_store(&s->used, 0);
            continue;
        }
        pending++;
    }
    atomic_store(&g->shared.pending, pending);
}

static int map_file(struct gaps *g, const char *dir)
{
    AW_AUTOCLOSE int dirfd = -1;
    AW_AUTOCLOSE int fd = -1;
    struct stat st;
    void *p = NULL;
    int rc = fs_open(dir, O_RDONLY | O_DIRECTORY, 0, &dirfd);
    if (rc == 0)
        rc = fs_openat(dirfd, GAPS_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600, &fd);
    if (rc == 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
        rc = -EBADMSG;
    if (rc == 0 && st.st_size != 0 && st.st_size != (off_t)sizeof(struct file))
        rc = -EBADMSG;
    if (rc == 0) /* a full disk later must not become a signal */
        rc = fs_allocate(fd, 0, sizeof(struct file));
    if (rc == -EOPNOTSUPP)
        rc = fs_truncate(fd, sizeof(struct file));
    if (rc == 0)
        rc = fs_map_shared(fd, NULL, sizeof(struct file), 0, &p);
    if (rc < 0)
        return rc;
    struct file *f = p;
    if (st.st_size == 0) {
        *f = (struct file){.magic = MAGIC, .version = 1, .slots = GAPS_MAX + 1};
    } else if (memcmp(f->magic, MAGIC, sizeof f->magic) != 0 || f->version != 1 || f->slots != GAPS_MAX + 1) {
        fs_unmap(p, sizeof(struct file));
        return -EBADMSG;
    }
    g->file = f;
    g->mapped = true;
    return 0;
}

/* A file that cannot be used is kept under another name. */
static int set_aside(const char *dir)
{
    AW_AUTOCLOSE int dirfd = -1;
    int rc = fs_open(dir, O_RDONLY | O_DIRECTORY, 0, &dirfd);
    return rc == 0 ? fs_renameat(dirfd, GAPS_NAME, GAPS_NAME ".damaged") : rc;
}

int gaps_open(const char *dir, const struct diag_out *diag, struct gaps **ret)
{
    struct gaps *g = calloc(1, sizeof *g);
    if (!g || pthread_mutex_init(&g->mutex, NULL) != 0) {
        free(g);
        return -ENOMEM;
    }
    g->diag = *diag;
    int rc = map_file(g, dir);
    if (rc == -EBADMSG && set_aside(dir) == 0) {
        diag_log(diag, AW_LOG_ERROR, "",
                 "%s/" GAPS_NAME " is damaged: it was renamed to " GAPS_NAME
                 ".damaged; what an earlier process dropped may "
                 "not be recorded",
                 dir);
        rc = map_file(g, dir);
    }
    if (rc < 0) {
        diag_log(diag, AW_LOG_WARNING, "",
                 "%s/" GAPS_NAME ": cannot be used (%s): what is dropped is counted in memory only", dir,
                 strerror(-rc));
        g->file = calloc(1, sizeof *g->file);
    }
    if (!g->file) {
        gaps_close(g);
        return -ENOMEM;
    }
    adopt(g, dir);
    *ret = g;
    return 0;
}

void gaps_close(struct gaps *g)
{
    if (!g)
        return;
    if (g->mapped)
        fs_unmap(g->file, sizeof *g->file);
    else
        free(g->file);
    pthread_mutex_destroy(&g->mutex);
    free(g);
}

bool gaps_exist(const char *dir)
{
    char path[4200];
    return (size_t)snprintf(path, sizeof path, "%s/" GAPS_NAME, dir) < sizeof path && access(path, F_OK) == 0;
}

/* ---- counting ---- */

static bool is_slot_of(const struct slot *s, const struct prepared *e, const char *reason)
{
    return atomic_load_explicit(&s->used, memory_order_relaxed) != 0 && s->scope_is_tenant == e->scope_is_tenant &&
           s->scope_len == e->scope_value.len && memcmp(s->scope, e->scope_value.ptr, s->scope_len) == 0 &&
           strcmp(s->reason, reason) == 0;
}

/* The slot of this chain and reason; or a free one, with ret_new. */
static struct slot *find_slot(struct gaps *g, const struct prepared *e, const char *reason, bool *ret_new)
{
    struct slot *spare = NULL;
    *ret_new = false;
    for (size_t i = 0; i < GAPS_MAX && e->scope_value.len <= SCOPE_MAX; i++) {
        struct slot *s = &g->file->slot[i];
        if (is_slot_of(s, e, reason))
            return s;
        if (!spare && atomic_load_explicit(&s->used, memory_order_relaxed) == 0)
            spare = s;
    }
    if (!spare) {
        spare = &g->file->slot[GAPS_MAX];
        if (atomic_load_explicit(&spare->used, memory_order_relaxed) != 0)
            return spare;
    }
    *ret_new = true;
    return spare;
}

static void begin_slot(struct gaps *g, struct slot *s, const struct prepared *e, const char *reason, int64_t now,
                       uint64_t after_seq)
{
    *s = (struct slot){.count = 1, .after_seq = after_seq, .first_ns = now, .last_ns = now};
    s->several = s == &g->file->slot[GAPS_MAX];
    if (!s->several) {
        s->scope_is_tenant = e->scope_is_tenant;
        s->scope_len = (uint16_t)e->scope_value.len;
        memcpy(s->scope, e->scope_value.ptr, e->scope_value.len);
    }
    memcpy(s->reason, reason, strnlen(reason, REASON_MAX - 1));
    if (ids_uuid7(&g->ids, (uint64_t)now, s->event_id) < 0) /* no random bytes: an id by time and place */
        snprintf(s->event_id, sizeof s->event_id, "%08" PRIx64 "-0000-7000-8000-%011zx",
                 (uint64_t)now >> 20 & 0xffffffff, (size_t)(s - g->file->slot));
    atomic_store(&s->used, 1);
    atomic_fetch_add(&g->shared.pending, 1);
}

void gaps_add(struct gaps *g, const struct prepared *event, const char *reason, uint64_t after_seq)
{
    int64_t now = (int64_t)clock_real_ns();
    bool fresh;
    pthread_mutex_lock(&g->mutex);
    struct slot *s = find_slot(g, event, reason, &fresh);
    if (fresh) {
        begin_slot(g, s, event, reason, now, after_seq);
    } else {
        s->count++;
        s->last_ns = now;
    }
    pthread_mutex_unlock(&g->mutex);
}

uint64_t gaps_count(struct gaps *g)
{
    uint64_t n = 0;
    pthread_mutex_lock(&g->mutex);
    for (size_t i = 0; i <= GAPS_MAX; i++)
        n += atomic_load_explicit(&g->file->slot[i].used, memory_order_relaxed) ? g->file->slot[i].count : 0;
    pthread_mutex_unlock(&g->mutex);
    return n;
}

/* ---- recording ---- */

static size_t to_json(const struct slot *s, char out[JSON_MAX])
{
    char first[CLOCK_RFC3339_MAX], last[CLOCK_RFC3339_MAX], context[SCOPE_MAX + 40] = "";
    clock_format_rfc3339(s->first_ns, first);
    clock_format_rfc3339(s->last_ns, last);
    if (!s->several)
        snprintf(context, sizeof context, "\"context\":{\"%s\":\"%.*s\"},",
                 s->scope_is_tenant ? "tenantId" : "sourceService", (int)s->scope_len, s->scope);
    int n = snprintf(out, JSON_MAX,
                     "{\"action\":\"auditwell.gap\",\"actor\":{\"id\":\"auditwell\",\"type\":\"system\"},%s"
                     "\"eventId\":\"%.*s\",\"metadata\":{\"gap\":{\"afterSeq\":%" PRIu64 ",%s\"count\":%" PRIu64
                     ",\"firstAt\":\"%s\",\"lastAt\":\"%s\",\"reason\":\"%s\"}},\"outcome\":\"FAILURE\"}",
                     context, IDS_UUID_LEN, s->event_id, s->after_seq, s->several ? "\"chains\":\"several\"," : "",
                     s->count, first, last, s->reason);
    return (size_t)n;
}

void gaps_settle(struct gaps *g, gaps_seal_fn seal, void *arg)
{
    char json[JSON_MAX];
    if (pthread_mutex_trylock(&g->mutex) != 0)
        return;
    for (size_t i = 0; i <= GAPS_MAX; i++) {
        struct slot *s = &g->file->slot[i];
        if (atomic_load_explicit(&s->used, memory_order_relaxed) == 0)
            continue;
        if (seal(arg, json, to_json(s, json)) != 0)
            break; /* no room yet, for none of them */
        atomic_store(&s->used, 0);
        atomic_fetch_sub(&g->shared.pending, 1);
    }
    pthread_mutex_unlock(&g->mutex);
}
