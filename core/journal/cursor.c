/* cursor.c - named readers: where they stand, and reading. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "journal/examine.h"
#include "journal/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>

#define CURSOR_MAGIC "AWCUR1\0"
_Static_assert(sizeof(struct cursor_slot) == 64, "cursor_slot is the disk format");

/* ---- the position's file ----------------------------------------------------------------------------------------- */

static uint32_t slot_crc(const struct cursor_slot *s)
{
    struct cursor_slot copy = *s;
    copy.crc = 0;
    return hash_crc32c(0, &copy, sizeof copy);
}

static bool slot_good(const uint8_t id[16], const struct cursor_slot *s)
{
    return memcmp(s->magic, CURSOR_MAGIC, sizeof s->magic) == 0 && slot_crc(s) == s->crc && s->seq <= RECORD_SEQ_MAX &&
           memcmp(s->journal_id, id, sizeof s->journal_id) == 0;
}

/* store_lock held. */
static int store_locked(struct journal_cursor *c)
{
    struct journal *j = c->journal;
    uint64_t seq = atomic_load(&c->acked);
    if (c->fd < 0) {
        int rc = fs_openat(j->cursor_dirfd, c->name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &c->fd);
        if (rc < 0)
            return rc;
    }
    struct cursor_slot s = {.magic = CURSOR_MAGIC, .counter = c->counter + 1, .seq = seq};
    memcpy(s.journal_id, j->identity.id, sizeof s.journal_id);
    s.crc = slot_crc(&s);
    int rc = fs_pwrite_all(c->fd, &s, sizeof s, (s.counter & 1) * sizeof s, NULL);
    if (rc < 0)
        return rc; /* perhaps torn: the other slot still tells the position before */
    c->counter++;
    c->doubtful = false;
    atomic_store(&c->written, seq);
    return 0;
}

static int store_position(struct journal_cursor *c)
{
    pthread_mutex_lock(&c->store_lock);
    int rc = store_locked(c);
    pthread_mutex_unlock(&c->store_lock);
    return rc;
}

int cursor_read_file(int fd, const uint8_t journal_id[16], uint64_t *ret_seq, uint64_t *ret_counter, unsigned *ret_good)
{
    struct cursor_slot s[2] = {{.counter = 0}};
    ssize_t n = fs_pread_full(fd, s, sizeof s, 0);
    *ret_good = 0;
    if (n < 0)
        return (int)n;
    if (n == 0)
        return -ENODATA;
    bool good[2] = {slot_good(journal_id, &s[0]), n == (ssize_t)sizeof s && slot_good(journal_id, &s[1])};
    if (!good[0] && !good[1])
        return -EBADMSG;
    const struct cursor_slot *best = !good[1] || (good[0] && s[0].counter > s[1].counter) ? &s[0] : &s[1];
    /* A slot that was never written is all zeros and no damage. */
    static const struct cursor_slot blank;
    size_t other = best == &s[0];
    *ret_good = good[other] || n < (ssize_t)sizeof s || memcmp(&s[other], &blank, sizeof blank) == 0 ? 2 : 1;
    *ret_seq = best->seq;
    *ret_counter = best->counter;
    return 0;
}

/* Fills acked and counter from the file; results as of cursor_read_file(). */
static int load_position(struct journal_cursor *c)
{
    uint64_t seq = 0;
    unsigned good;
    int rc = cursor_read_file(c->fd, c->journal->identity.id, &seq, &c->counter, &good);
    if (rc < 0)
        return rc;
    if (good < 2)
        journal_log(c->journal, AW_LOG_WARNING,
                    "%s/" CURSOR_DIR "/%s: half of it is damaged; the position %" PRIu64 " of the other half is used",
                    c->journal->path, c->name, seq);
    atomic_store(&c->acked, seq);
    atomic_store(&c->written, seq);
    c->doubtful = true; /* what was read may be a page that an earlier process could not sync: as cursor_sync() says */
    return 0;
}

bool cursor_name_good(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= CURSOR_NAME_MAX && name[n] == '\0' && name[0] != '.';
}

static struct journal_cursor *cursor_new(struct journal *j, const char *name)
{
    struct journal_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->journal = j;
    c->fd = c->segment_fd = c->scan.fd = -1;
    pthread_mutex_init(&c->store_lock, NULL);
    memcpy(c->name, name, strlen(name));
    return c;
}

static void cursor_free(struct journal_cursor *c)
{
    if (c->fd >= 0)
        (void)fs_close(c->fd); /* positions are redelivered when a write of them failed */
    pthread_mutex_destroy(&c->store_lock);
    free(c);
}

static void cursor_add(struct journal *j, struct journal_cursor *c)
{
    pthread_mutex_lock(&j->list_lock);
    c->next = j->cursors;
    j->cursors = c;
    pthread_mutex_unlock(&j->list_lock);
}

static int cursor_load(struct journal *j, const char *name)
{
    struct journal_cursor *c = cursor_new(j, name);
    if (!c)
        return -ENOMEM;
    int rc = fs_openat(j->cursor_dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0, &c->fd);
    if (rc == 0)
        rc = load_position(c);
    if (rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE) {
        cursor_free(c);
        return rc;
    }
    if (rc < 0 && rc != -ENODATA) {
        diag_problem(0, j->path,
                     "cursor \"%s\" cannot be read (%s): its reader starts at the oldest event that is kept", name,
                     rc == -EBADMSG ? "damaged, or of another journal" : strerror(-rc));
        journal_log(j, AW_LOG_WARNING, "%s/" CURSOR_DIR "/%s: cannot be read (%s); starting at the oldest event",
                    j->path, name, rc == -EBADMSG ? "damaged, or of another journal" : strerror(-rc));
        if (c->fd >= 0)
            (void)fs_close(base_take_fd(&c->fd));
        (void)quarantine_file(j, j->cursor_dirfd, name, "a cursor file that cannot be read");
    }
    cursor_add(j, c);
    return 0;
}

int cursors_load(struct journal *j)
{
    int fd = -1, rc = fs_openat(j->cursor_dirfd, ".", O_RDONLY | O_DIRECTORY, 0, &fd);
    if (rc < 0)
        return rc;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        rc = -errno;
        (void)fs_close(fd);
        return rc;
    }
    for (struct dirent *e; rc == 0 && (errno = 0, e = readdir(dir)) != NULL;)
        if (cursor_name_good(e->d_name))
            rc = cursor_load(j, e->d_name);
    if (rc == 0 && errno != 0)
        rc = -errno;
    (void)closedir(dir);
    return rc;
}

void cursors_free(struct journal *j)
{
    for (struct journal_cursor *c = j->cursors, *next; c; c = next) {
        next = c->next;
        if (c->segment_fd >= 0)
            (void)fs_close(c->segment_fd);
        scan_free(&c->scan);
        cursor_free(c);
    }
    j->cursors = NULL;
}

static struct journal_cursor *cursors_head(struct journal *j)
{
    pthread_mutex_lock(&j->list_lock);
    struct journal_cursor *c = j->cursors;
    pthread_mutex_unlock(&j->list_lock);
    return c; /* cursors stay until the journal closes, and `next` never changes */
}

uint64_t cursors_highest(struct journal *j)
{
    uint64_t highest = 0;
    for (struct journal_cursor *c = cursors_head(j); c; c = c->next)
        if (atomic_load(&c->acked) > highest)
            highest = atomic_load(&c->acked);
    return highest;
}

uint64_t cursors_lowest(struct journal *j)
{
    struct journal_cursor *c = cursors_head(j);
    uint64_t lowest = c ? UINT64_MAX : 0;
    for (; c; c = c->next)
        if (atomic_load(&c->acked) < lowest)
            lowest = atomic_load(&c->acked);
    return lowest;
}

uint64_t cursors_lowest_durable(struct journal *j)
{
    struct journal_cursor *c = cursors_head(j);
    uint64_t lowest = c ? UINT64_MAX : 0;
    for (; c; c = c->next)
        if (atomic_load(&c->durable) < lowest)
            lowest = atomic_load(&c->durable);
    return lowest;
}

/* A failed sync may leave the page clean without having written it: a second one would succeed and prove nothing. So
 * the position is stored anew before. */
static void cursor_sync(struct journal_cursor *c)
{
    pthread_mutex_lock(&c->store_lock);
    int rc = c->doubtful ? store_locked(c) : 0, fd = c->fd;
    uint64_t written = atomic_load(&c->written);
    pthread_mutex_unlock(&c->store_lock);
    if (rc < 0 || written <= atomic_load(&c->durable))
        return; /* its segments stay */
    rc = fs_fdatasync(fd);
    if (rc == 0)
        atomic_store(&c->durable, written);
    pthread_mutex_lock(&c->store_lock);
    c->doubtful = c->doubtful || rc < 0;
    pthread_mutex_unlock(&c->store_lock);
}

void cursors_sync(struct journal *j)
{
    for (struct journal_cursor *c = cursors_head(j); c; c = c->next)
        cursor_sync(c);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* From now on segments wait for this cursor. Nothing is trimmed between the look at what is kept and that. */
static void join(struct journal_cursor *c, int from)
{
    struct journal *j = c->journal;
    pthread_mutex_lock(&j->drain_lock);
    if (from != JOURNAL_FROM_NOW)
        atomic_store(&c->acked, journal_oldest(j) - 1);
    cursor_add(j, c);
    pthread_mutex_unlock(&j->drain_lock);
    if (atomic_load(&c->acked) != atomic_load(&c->written))
        (void)store_position(c); /* else the next ack does; a position that is too old only redelivers */
}

/* A cursor whose file a power loss took away would begin anew, and perhaps behind events that it still owes. A file
 * that is there already may have been made by a process that died, or failed, before its name was on disk. */
static int create_durably(struct journal_cursor *c, bool there)
{
    int rc = there ? 0 : store_position(c);
    if (rc == 0 && !there)
        rc = fs_fdatasync(c->fd);
    if (rc == 0)
        rc = fs_sync_dir(c->journal->cursor_dirfd);
    if (rc == 0)
        rc = fs_sync_dir(c->journal->dirfd);
    return rc;
}

int journal_cursor_open(struct journal *journal, const char *name, int from, struct journal_cursor **ret)
{
    struct journal *j = journal;
    if (journal_in_child(j))
        return -EPERM;
    if (!cursor_name_good(name))
        return diag_problem(-EINVAL, j->path, "\"%s\" is no cursor name: 1 to 64 of A-Z a-z 0-9 . _ -, no dot first",
                            name);
    struct journal_cursor *c = cursors_head(j);
    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    bool fresh = !c;
    if (c) {
        pthread_mutex_lock(&j->list_lock);
        bool open = c->open;
        c->open = true;
        pthread_mutex_unlock(&j->list_lock);
        if (open)
            return diag_problem(-EBUSY, j->path, "cursor \"%s\" is open already", name);
    } else {
        c = cursor_new(j, name);
        if (!c)
            return -ENOMEM;
        c->open = true;
    }
    if (fresh || c->fd < 0) {
        uint64_t at = from == JOURNAL_FROM_NOW && fresh ? journal_head_seq(j) : journal_oldest(j) - 1;
        atomic_store(&c->acked, at);
    }
    int rc = create_durably(c, c->fd >= 0 && !fresh);
    if (rc < 0) {
        diag_problem(rc, j->path, "the position of cursor \"%s\" cannot be stored: %s", name, strerror(-rc));
        if (fresh) {
            cursor_free(c);
        } else {
            pthread_mutex_lock(&j->list_lock);
            c->open = false;
            pthread_mutex_unlock(&j->list_lock);
        }
        return rc;
    }
    if (fresh)
        join(c, from);
    c->fresh = fresh;
    c->wakes_seen = atomic_load(&j->wakes);
    c->position = atomic_load(&c->acked) + 1;
    *ret = c;
    return 0;
}

void cursor_leave_segment(struct journal_cursor *c)
{
    if (c->segment_fd >= 0)
        (void)fs_close(base_take_fd(&c->segment_fd)); /* only read */
}

void journal_cursor_close(struct journal_cursor *cursor)
{
    if (!cursor)
        return;
    struct journal *j = cursor->journal;
    if (!journal_in_child(j) && atomic_load(&cursor->acked) > atomic_load(&cursor->written))
        (void)store_position(cursor); /* else: redelivered */
    cursor_leave_segment(cursor);
    scan_free(&cursor->scan);
    if (journal_in_child(j))
        return;
    pthread_mutex_lock(&j->list_lock);
    cursor->open = false;
    pthread_mutex_unlock(&j->list_lock);
}

bool journal_cursor_fresh(const struct journal_cursor *cursor)
{
    return cursor->fresh;
}

uint64_t journal_cursor_acked(const struct journal_cursor *cursor)
{
    return atomic_load_explicit(&cursor->acked, memory_order_acquire);
}

uint64_t journal_cursor_passed(const struct journal_cursor *cursor)
{
    return cursor->position - 1;
}

int journal_cursor_ack(struct journal_cursor *cursor, uint64_t seq)
{
    struct journal *j = cursor->journal;
    if (journal_in_child(j))
        return -EPERM;
    if (seq > journal_head_seq(j))
        return -EINVAL;
    if (seq > atomic_load(&cursor->acked))
        atomic_store(&cursor->acked, seq);
    else if (atomic_load(&cursor->written) >= atomic_load(&cursor->acked))
        return 0;
    int rc = store_position(cursor);
    if (seq >= atomic_load(&j->trim_hint) || atomic_load(&j->full))
        waitpoint_wake(&j->keeper);
    return rc;
}

int journal_cursor_seek(struct journal_cursor *cursor, uint64_t seq)
{
    if (journal_in_child(cursor->journal))
        return -EPERM;
    cursor_leave_segment(cursor);
    uint64_t oldest = journal_oldest(cursor->journal);
    cursor->position = seq + 1 < oldest ? oldest : seq + 1;
    cursor->gap_next = 0;
    return 0;
}
