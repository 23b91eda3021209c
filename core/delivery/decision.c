/* decision.c - see decision.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/decision.h"

#include "base/base.h"
#include "base/fs.h"
#include "base/hash.h"

#include <fcntl.h>
#include <stdio.h>

#define MAGIC "AWALL1\0"
#define FILE_NAME "together"
#define SLOT_DISTANCE 4096u /* a torn sector or page harms one slot only */

/* The disk format. */
struct slot {
    char magic[8];
    uint32_t crc; /* CRC-32C of the slot with this member 0 */
    uint32_t member_count;
    uint64_t counter, first_seq, last_seq;
    uint8_t journal_id[16];
    char token[DECISION_TOKEN_MAX]; /* filled up with zeros */
    uint64_t members[DECISION_MEMBERS_MAX];
    uint64_t reserved[1];
};
_Static_assert(sizeof(struct slot) == 512, "struct slot is the disk format");

struct decision_file {
    char *dir, *path;
    int fd;
    bool synced_dir; /* the file's name is durable */
    uint8_t journal_id[16];
};

uint64_t decision_member(const char *sink_name)
{
    uint64_t h = 14695981039346656037u;
    for (const unsigned char *p = (const unsigned char *)sink_name; *p; p++)
        h = (h ^ *p) * 1099511628211u;
    return h;
}

static uint32_t slot_crc(const struct slot *s)
{
    struct slot copy = *s;
    copy.crc = 0;
    return hash_crc32c(0, &copy, sizeof copy);
}

static bool slot_good(const struct decision_file *f, const struct slot *s)
{
    return memcmp(s->magic, MAGIC, sizeof s->magic) == 0 && slot_crc(s) == s->crc &&
           memcmp(s->journal_id, f->journal_id, sizeof s->journal_id) == 0 && s->member_count <= DECISION_MEMBERS_MAX;
}

static int load(struct decision_file *f, struct decision *ret)
{
    struct slot s[2] = {{.counter = 0}};
    bool good[2];
    for (unsigned i = 0; i < 2; i++) {
        ssize_t n = fs_pread_full(f->fd, &s[i], sizeof s[i], i * SLOT_DISTANCE);
        if (n < 0)
            return (int)n;
        if (n == 0 && i == 0 && fs_pread_full(f->fd, &s[1], 1, SLOT_DISTANCE) == 0)
            return 0; /* made, and not written: nothing was decided */
        good[i] = n == (ssize_t)sizeof s[i] && slot_good(f, &s[i]);
    }
    if (!good[0] && !good[1])
        return -EBADMSG;
    const struct slot *best = !good[1] || (good[0] && s[0].counter > s[1].counter) ? &s[0] : &s[1];
    ret->counter = best->counter;
    ret->first_seq = best->first_seq;
    ret->last_seq = best->last_seq;
    memcpy(ret->token, best->token, sizeof best->token);
    ret->member_count = best->member_count;
    memcpy(ret->members, best->members, sizeof ret->members);
    return 0;
}

int decision_open(const char *state_dir, const uint8_t journal_id[16], struct decision_file **ret,
                  struct decision *ret_last)
{
    *ret_last = (struct decision){0};
    struct decision_file *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->fd = -1;
    memcpy(f->journal_id, journal_id, sizeof f->journal_id);
    f->dir = strdup(state_dir);
    if (asprintf(&f->path, "%s/" FILE_NAME, state_dir) < 0)
        f->path = NULL;
    int rc = f->dir && f->path ? fs_open(f->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, &f->fd) : -ENOMEM;
    if (rc == 0)
        rc = load(f, ret_last);
    else if (rc == -ENOENT)
        rc = 0;
    if (rc < 0 && rc != -EBADMSG) {
        decision_close(f);
        return rc;
    }
    *ret = f;
    return rc;
}

void decision_close(struct decision_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        (void)fs_close(f->fd); /* what counts was synced by decision_store() */
    free(f->dir);
    free(f->path);
    free(f);
}

const char *decision_path(const struct decision_file *f)
{
    return f->path;
}

static int sync_dir(const char *path)
{
    AW_AUTOCLOSE int dir = -1;
    int rc = fs_open(path, O_RDONLY | O_DIRECTORY, 0, &dir);
    return rc == 0 ? fs_sync_dir(dir) : rc;
}

int decision_store(struct decision_file *f, const struct decision *d)
{
    int rc = 0;
    if (f->fd < 0)
        rc = fs_open(f->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600, &f->fd);
    struct slot s = {.magic = MAGIC,
                     .counter = d->counter,
                     .first_seq = d->first_seq,
                     .last_seq = d->last_seq,
                     .member_count = d->member_count};
    memcpy(s.journal_id, f->journal_id, sizeof s.journal_id);
    memcpy(s.token, d->token, strnlen(d->token, sizeof s.token));
    memcpy(s.members, d->members, sizeof s.members);
    s.crc = slot_crc(&s);
    if (rc == 0)
        rc = fs_pwrite_all(f->fd, &s, sizeof s, (s.counter & 1) * SLOT_DISTANCE, NULL);
    if (rc == 0)
        rc = fs_fdatasync(f->fd); /* each try writes anew, so that pages a failed sync dropped are dirty again */
    if (rc == 0 && !f->synced_dir) {
        rc = sync_dir(f->dir);
        f->synced_dir = rc == 0;
    }
    return rc;
}

int decision_forget(const char *state_dir)
{
    AW_AUTOCLOSE int dir = -1;
    int rc = fs_open(state_dir, O_RDONLY | O_DIRECTORY, 0, &dir);
    if (rc == 0)
        rc = fs_unlinkat(dir, FILE_NAME);
    return rc == -ENOENT ? 0 : rc == 0 ? fs_sync_dir(dir) : rc;
}
