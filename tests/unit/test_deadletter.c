/* test_deadletter.c - the dead-letter file: what was changed in it is found, what a crash leaves is mended.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "config.h"

#include "harness.h"
#include "journal_support.h"

#include "base/base.h"
#include "base/fs.h"
#include "delivery/deadletter.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- every call that changes a file is a step at which the process may die, or the call fail ---- */
static int step_at, steps, fail_all;
static bool step_dies, armed;

static bool strikes(void)
{
    if (!armed || (++steps != step_at && !(fail_all && steps > step_at)))
        return false;
    if (step_dies)
        _exit(77);
    errno = EIO;
    return true;
}
int openat(int dirfd, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return (flags & O_CREAT) && strikes() ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
}
ssize_t write(int fd, const void *buf, size_t n)
{
    return strikes() ? -1 : syscall(SYS_write, fd, buf, n);
}
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    return strikes() ? -1 : syscall(SYS_pwrite64, fd, buf, n, at);
}
int fdatasync(int fd)
{
    (void)fd; /* the disk's own speed is not what is tested */
    return strikes() ? -1 : 0;
}
int fsync(int fd)
{
    (void)fd;
    return strikes() ? -1 : 0;
}
int ftruncate(int fd, off_t size)
{
    return strikes() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return strikes() ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}
int unlinkat(int dirfd, const char *name, int flags)
{
    return strikes() ? -1 : (int)syscall(SYS_unlinkat, dirfd, name, flags);
}

/* ---- letters to be written: records of a real journal ---- */
enum { EVENTS = 8 };
static struct record_view events[EVENTS];
static char dir[300], file[400], head[400];
static const struct diag_out diag = {support_diag, NULL};

static void make_events(void)
{
    static uint64_t space[EVENTS][300];
    struct record_view v[EVENTS];
    struct journal_cursor *c = NULL;
    size_t n = 0;
    if (events[0].head)
        return;
    struct journal_options o = support_options(support_path("events"));
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    (void)support_fill(j, 1, EVENTS, 2, 10);
    CU_ASSERT_EQUAL_FATAL(journal_sync(j, EVENTS), 0);
    CU_ASSERT_EQUAL_FATAL(journal_cursor_open(j, "c", JOURNAL_FROM_STORED, &c), 0);
    for (size_t have = 0; have < EVENTS; have += n) {
        CU_ASSERT_EQUAL_FATAL(journal_cursor_read(c, v, EVENTS - have, 1 << 20, &n), 0);
        for (size_t i = 0; i < n; i++) {
            CU_ASSERT_FATAL(v[i].head->total_len <= sizeof space[0]);
            memcpy(space[have + i], v[i].head, v[i].head->total_len);
            CU_ASSERT_EQUAL_FATAL(record_check(space[have + i], sizeof space[0], &events[have + i]), 0);
        }
    }
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

static struct deadletter *open_letters(void)
{
    struct deadletter *dl = NULL;
    CU_ASSERT_EQUAL_FATAL(deadletter_create(dir, "sink", &diag, &dl), 0);
    return dl;
}

static void begin(const char *name)
{
    make_events();
    snprintf(dir, sizeof dir, "%s", support_path(name));
    snprintf(file, sizeof file, "%s/deadletter/sink.jsonl", dir);
    snprintf(head, sizeof head, "%s/deadletter/sink.head", dir);
}

static void add(struct deadletter *dl, size_t i)
{
    CU_ASSERT_EQUAL(deadletter_add(dl, &events[i], 1, "it is \"bad\"\n"), 0);
}

static void add_many(size_t n)
{
    struct deadletter *dl = open_letters();
    for (size_t i = 0; i < n; i++)
        add(dl, i);
    deadletter_destroy(dl);
}

/* What a look at the file says. */
struct view {
    uint64_t findings, letters, waiting, lines, last_number, unfinished;
    uint64_t seqs; /* a bit for each seq of which a letter is there */
    int kind;      /* of the first finding */
};

static void note_kind(void *arg, const struct dl_finding *f)
{
    struct view *v = arg;
    v->kind = v->kind ? v->kind : f->kind;
}

static struct view look(void)
{
    struct view v = {.findings = 0};
    struct dl_index x;
    int fd = -1;
    struct deadletter *dl = open_letters();
    CU_ASSERT_EQUAL(deadletter_look(dl, note_kind, &v, &x, &fd), 0);
    v.findings = x.findings;
    v.lines = x.count;
    v.last_number = x.last_number;
    v.unfinished = x.size - x.good;
    for (size_t i = 0; i < x.count; i++) {
        const struct dl_entry *e = &x.entries[i];
        if (e->type != DL_LETTER || !e->sound)
            continue;
        v.letters++;
        v.waiting += !e->replayed;
        v.seqs |= 1ull << e->seq;
    }
    if (fd >= 0)
        (void)fs_close(fd);
    dl_index_free(&x);
    deadletter_destroy(dl);
    return v;
}

static size_t beside(const char *what) /* files sink.jsonl.WHAT-… */
{
    char path[400], prefix[60];
    snprintf(path, sizeof path, "%s/deadletter", dir);
    snprintf(prefix, sizeof prefix, "sink.jsonl.%s-", what);
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (d)
        closedir(d);
    return n;
}

/* ---- the tests ---- */
static void letters_come_back_as_they_were(void)
{
    begin("plain");
    add_many(EVENTS);
    struct view v = look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, EVENTS);
    CU_ASSERT_EQUAL(v.last_number, EVENTS);
    struct dl_index x;
    int fd = -1;
    struct deadletter *dl = open_letters();
    CU_ASSERT_EQUAL_FATAL(deadletter_look(dl, NULL, NULL, &x, &fd), 0);
    CU_ASSERT_EQUAL_FATAL(x.count, EVENTS);
    for (size_t i = 0; i < EVENTS; i++) {
        AW_AUTOFREE char *text = NULL;
        AW_AUTOFREE void *buffer = NULL;
        struct dl_line line;
        struct record_view r;
        CU_ASSERT_EQUAL_FATAL(dl_index_line(fd, &x.entries[i], &text, &line), 0);
        CU_ASSERT_EQUAL_FATAL(dl_record(&line, &buffer, &r), 0);
        CU_ASSERT_EQUAL(r.head->total_len, events[i].head->total_len);
        CU_ASSERT_EQUAL(memcmp(r.head, events[i].head, r.head->total_len), 0);
        CU_ASSERT(base_str_eq(line.reason, base_str("it is \\\"bad\\\"?")));
    }
    (void)fs_close(fd);
    dl_index_free(&x);
    deadletter_destroy(dl);
}

/* The file with other bytes; how many findings, and of what kind. */
static struct view with(const char *bytes, size_t len)
{
    support_write(file, bytes, len);
    return look();
}

static size_t split(char *bytes, size_t len, size_t *starts, size_t max)
{
    size_t n = 0;
    for (char *p = bytes, *nl; n < max && (nl = memchr(p, '\n', (size_t)(bytes + len - p))) != NULL; p = nl + 1)
        starts[n++] = (size_t)(p - bytes);
    starts[n] = len;
    return n;
}

static void every_change_is_found(void)
{
    size_t len, starts[EVENTS + 1];
    begin("changed");
    add_many(4);
    AW_AUTOFREE char *bytes = support_slurp(file, &len);
    AW_AUTOFREE char *other = malloc(2 * len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL_FATAL(split(bytes, len, starts, EVENTS), 4);
    unsigned missed = 0;
    for (size_t i = 0; i < len; i++) { /* each byte */
        memcpy(other, bytes, len);
        other[i] ^= 1;
        missed += with(other, len).findings == 0;
    }
    CU_ASSERT_EQUAL(missed, 0);
    for (size_t i = 0; i < 4; i++) { /* a line is taken out, also the last */
        size_t line = starts[i + 1] - starts[i];
        memcpy(other, bytes, starts[i]);
        memcpy(other + starts[i], bytes + starts[i + 1], len - starts[i + 1]);
        struct view v = with(other, len - line);
        CU_ASSERT(v.findings > 0);
        CU_ASSERT_EQUAL(v.kind, i < 3 ? AW_FINDING_HOLE : AW_FINDING_TRUNCATED);
        for (size_t at = 0; at <= 4; at++) { /* put in twice, anywhere */
            memcpy(other, bytes, starts[at]);
            memcpy(other + starts[at], bytes + starts[i], line);
            memcpy(other + starts[at] + line, bytes + starts[at], len - starts[at]);
            CU_ASSERT(with(other, len + line).findings > 0);
        }
        if (i == 3)
            break;
        size_t next = starts[i + 2] - starts[i + 1]; /* changes places with the next */
        memcpy(other, bytes, len);
        memcpy(other + starts[i], bytes + starts[i + 1], next);
        memcpy(other + starts[i] + next, bytes + starts[i], line);
        CU_ASSERT(with(other, len).findings > 0);
    }
    CU_ASSERT_EQUAL(with(bytes, len).findings, 0);
    CU_ASSERT_EQUAL(with(bytes, 0).kind, AW_FINDING_TRUNCATED);
    CU_ASSERT_EQUAL(unlink(file), 0);
    CU_ASSERT_EQUAL(look().kind, AW_FINDING_TRUNCATED);
}

static void a_line_that_fits_in_is_found(void) /* somebody who knows how hashes are made, but not what the head says */
{
    size_t len;
    begin("forged");
    add_many(3);
    AW_AUTOFREE char *bytes = support_slurp(file, &len);
    char hash[DL_HEX + 1] = "";
    struct dl_text t = {.ptr = NULL};
    struct hash_sha256 *sha = NULL;
    CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&sha), 0);
    for (uint64_t n = 1; n <= 3; n++) {
        size_t start = t.len;
        dl_letter(&t, n, "sink", &events[n], 1, "forged");
        CU_ASSERT_EQUAL(dl_end(&t, start, sha, hash), 0);
    }
    struct view v = with(t.ptr, t.len);
    CU_ASSERT_EQUAL(v.findings, 1);
    CU_ASSERT_EQUAL(v.kind, AW_FINDING_EDITED);
    dl_text_free(&t);
    hash_sha256_destroy(sha);
}

static void torn_end_is_set_aside(void)
{
    size_t len, starts[EVENTS + 1], head_len;
    begin("torn");
    add_many(2);
    AW_AUTOFREE char *old_head = support_slurp(head, &head_len);
    struct deadletter *dl = open_letters();
    add(dl, 2);
    deadletter_destroy(dl);
    AW_AUTOFREE char *bytes = support_slurp(file, &len);
    CU_ASSERT_EQUAL_FATAL(split(bytes, len, starts, EVENTS), 3);
    for (size_t cut = starts[2] + 1; cut < len; cut++) { /* killed within the write of the third line */
        char command[500];
        support_write(head, old_head, head_len);
        support_write(file, bytes, cut);
        struct view v = look();
        CU_ASSERT_EQUAL(v.findings, 0);
        CU_ASSERT_EQUAL(v.unfinished, cut - starts[2]);
        dl = open_letters();
        add(dl, 3);
        deadletter_destroy(dl);
        v = look();
        if (v.findings != 0 || v.letters != 3 || v.last_number != 3 || v.seqs != (1u << 1 | 1u << 2 | 1u << 4) ||
            beside("torn") != 1 || beside("damaged") != 0)
            CU_FAIL("torn end");
        snprintf(command, sizeof command, "rm -f %s/deadletter/sink.jsonl.*", dir);
        CU_ASSERT_EQUAL_FATAL(system(command), 0);
    }
    /* The middle of the write did not reach the disk, its end did. */
    support_write(head, old_head, head_len);
    memset(bytes + starts[2] + 40, 0, 100);
    support_write(file, bytes, len);
    CU_ASSERT_EQUAL(look().findings, 0);
    dl = open_letters();
    add(dl, 3);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().findings, 0);
    CU_ASSERT_EQUAL(look().letters, 3);
    CU_ASSERT_EQUAL(beside("torn"), 1);
}

static void whole_line_behind_the_head_stays(void) /* killed between the line and the head */
{
    size_t head_len;
    begin("behind");
    add_many(2);
    AW_AUTOFREE char *old_head = support_slurp(head, &head_len);
    struct deadletter *dl = open_letters();
    add(dl, 2);
    deadletter_destroy(dl);
    support_write(head, old_head, head_len);
    CU_ASSERT_EQUAL(look().findings, 0);
    dl = open_letters();
    add(dl, 3);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().findings, 0);
    CU_ASSERT_EQUAL(look().letters, 4);
    CU_ASSERT_EQUAL(beside("torn"), 0);
}

/* Whatever was done to the file: the next letter is stored, the old bytes are kept, whole letters go on. */
static void damaged_file_gives_way(void)
{
    size_t len, starts[EVENTS + 1];
    begin("damaged");
    add_many(4);
    AW_AUTOFREE char *bytes = support_slurp(file, &len);
    CU_ASSERT_EQUAL_FATAL(split(bytes, len, starts, EVENTS), 4);
    bytes[starts[1] + 100] ^= 1;
    support_write(file, bytes, len);
    struct deadletter *dl = open_letters();
    support_diag_count = 0;
    add(dl, 4);
    CU_ASSERT(support_diag_count > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_diag_text, "is damaged (line 2: "));
    add(dl, 5);
    deadletter_destroy(dl);
    struct view v = look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 5); /* 1, 3, 4 and the two new ones */
    CU_ASSERT_EQUAL(v.seqs, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6);
    CU_ASSERT_EQUAL(v.lines, 6);
    CU_ASSERT_EQUAL(v.last_number, 4 + 1 + 5);
    CU_ASSERT_EQUAL(beside("damaged"), 1);
    AW_AUTOFREE char *text = support_slurp(file, &len);
    CU_ASSERT(strncmp(text, "{\"n\":5,\"type\":\"begun\",\"time\":\"", 30) == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"file\":\"sink.jsonl.damaged-2"));
}

static void anything_in_the_way_gives_way(void)
{
    struct deadletter *dl;
    begin("strange");
    add_many(1);
    CU_ASSERT_EQUAL(unlink(file), 0);
    CU_ASSERT_EQUAL(mkdir(file, 0700), 0);
    dl = open_letters();
    add(dl, 1);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().findings, 0);
    CU_ASSERT_EQUAL(look().letters, 1);
    CU_ASSERT_EQUAL(unlink(file), 0);
    CU_ASSERT_EQUAL(mkfifo(file, 0600), 0);
    dl = open_letters();
    add(dl, 2);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().letters, 1);
    CU_ASSERT_EQUAL(beside("damaged"), 2);
    support_write(file, "{\"sink\":\"sink\",\"seq\":7}\n", 24); /* a file of another kind */
    dl = open_letters();
    add(dl, 3);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().findings, 0);
    CU_ASSERT_EQUAL(beside("damaged"), 3);
    support_write(head, "rubbish", 7); /* the head */
    dl = open_letters();
    add(dl, 4);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().findings, 0);
    CU_ASSERT(look().letters >= 2);
}

static void purge(struct deadletter *dl, bool replayed_only, uint64_t *ret_left)
{
    struct dl_index x;
    int fd = -1;
    bool chosen[64] = {false};
    CU_ASSERT_EQUAL_FATAL(deadletter_mend(dl, &x, &fd), 0);
    *ret_left = 0;
    for (size_t i = 0; i < x.count; i++) {
        chosen[i] = x.entries[i].type == DL_LETTER && (!replayed_only || x.entries[i].replayed);
        *ret_left += x.entries[i].type == DL_LETTER && !chosen[i];
    }
    CU_ASSERT_EQUAL(deadletter_purge(dl, &x, chosen, replayed_only ? "replayed" : "all"), 0);
    (void)fs_close(fd);
    dl_index_free(&x);
}

static int mark(struct deadletter *dl, const uint64_t *numbers, size_t n)
{
    struct dl_index x;
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(deadletter_mend(dl, &x, &fd), 0);
    (void)fs_close(fd);
    dl_index_free(&x);
    return deadletter_mark(dl, numbers, n);
}

static void purged_file_still_verifies(void)
{
    size_t len, starts[EVENTS + 8];
    uint64_t left;
    begin("purged");
    add_many(6);
    struct deadletter *dl = open_letters(), *worker = open_letters();
    add(worker, 6);
    CU_ASSERT_EQUAL(mark(dl, (const uint64_t[]){2, 3, 5}, 3), 0);
    CU_ASSERT_EQUAL(deadletter_refused(dl, 4, 4, 2, "still bad"), 0);
    CU_ASSERT_EQUAL(look().waiting, 4);
    purge(dl, true, &left);
    CU_ASSERT_EQUAL(left, 4);
    struct view v = look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 4);
    CU_ASSERT_EQUAL(v.lines, 6); /* 1, 4, 6, 7, refused 4, purged; the mark went with its letters */
    add(worker, 7);              /* has the old file open */
    v = look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 5);
    AW_AUTOFREE char *bytes = support_slurp(file, &len);
    AW_AUTOFREE char *other = malloc(len);
    size_t n = split(bytes, len, starts, EVENTS + 7);
    CU_ASSERT_EQUAL_FATAL(n, 7);
    for (size_t i = 0; i < n; i++) {
        memcpy(other, bytes, starts[i]);
        memcpy(other + starts[i], bytes + starts[i + 1], len - starts[i + 1]);
        CU_ASSERT(with(other, starts[i] + len - starts[i + 1]).findings > 0);
    }
    (void)with(bytes, len);
    deadletter_destroy(worker); /* support_write() kept the file, but let nobody rely on that */
    worker = open_letters();
    purge(dl, false, &left);
    add(worker, 0);
    v = look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 1);
    CU_ASSERT_EQUAL(v.lines, 3); /* two purges and the new letter */
    deadletter_destroy(dl);
    deadletter_destroy(worker);
}

static void mark_of_another_file_is_refused(void)
{
    struct dl_index x;
    int fd = -1;
    uint64_t left;
    begin("stale");
    add_many(3);
    struct deadletter *a = open_letters(), *b = open_letters();
    CU_ASSERT_EQUAL_FATAL(deadletter_mend(a, &x, &fd), 0);
    purge(b, false, &left);
    CU_ASSERT_EQUAL(deadletter_mark(a, (const uint64_t[]){1}, 1), -ESTALE);
    const bool chosen[3] = {true, true, true};
    CU_ASSERT_EQUAL(deadletter_purge(a, &x, chosen, "all"), -ESTALE);
    CU_ASSERT_EQUAL(deadletter_claim(a), 0);
    CU_ASSERT_EQUAL(deadletter_claim(b), -EWOULDBLOCK);
    (void)fs_close(fd);
    dl_index_free(&x);
    deadletter_destroy(a);
    CU_ASSERT_EQUAL(look().findings, 0);
    deadletter_destroy(b);
}

static void held_file_is_waited_for(void)
{
    begin("held");
    add_many(1);
    struct deadletter *dl = open_letters();
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(fs_open(head, O_RDWR, 0, &fd), 0);
    CU_ASSERT_EQUAL_FATAL(flock(fd, LOCK_EX), 0);
    CU_ASSERT_EQUAL(deadletter_add(dl, &events[1], 1, "x"), -EWOULDBLOCK);
    (void)fs_close(fd);
    add(dl, 1);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(look().findings, 0);
    CU_ASSERT_EQUAL(look().letters, 2);
}

/* ---- death and failure at every step ---- */

/* Returns what succeeded: how many letters, whether the mark, whether the purge. */
static unsigned scenario(void)
{
    unsigned done = 0;
    struct deadletter *dl = NULL;
    struct dl_index x;
    int fd = -1;
    bool chosen[64] = {false};
    if (deadletter_create(dir, "sink", &diag, &dl) < 0)
        return 0;
    for (size_t i = 0; i < 3; i++)
        done |= (unsigned)(deadletter_add(dl, &events[i], 1, "x") == 0) << i;
    int rc = deadletter_mend(dl, &x, &fd);
    if (rc == 0 && x.count > 0 && deadletter_mark(dl, &x.entries[0].number, 1) == 0)
        done |= 8;
    if (fd >= 0)
        (void)fs_close(fd);
    dl_index_free(&x);
    rc = deadletter_mend(dl, &x, &fd);
    for (size_t i = 0; rc == 0 && i < x.count && i < 64; i++)
        chosen[i] = x.entries[i].replayed;
    if (rc == 0 && (done & 8) && deadletter_purge(dl, &x, chosen, "replayed") == 0)
        done |= 16;
    if (fd >= 0)
        (void)fs_close(fd);
    dl_index_free(&x);
    done |= (unsigned)(deadletter_add(dl, &events[3], 1, "x") == 0) << 5;
    deadletter_destroy(dl);
    return done;
}

/* The file verifies, before and after the next letter, and has what was acknowledged. */
static void judge(unsigned done, int at)
{
    struct view v = look();
    bool bad = v.findings != 0;
    struct deadletter *dl = open_letters();
    add(dl, 7);
    deadletter_destroy(dl);
    v = look();
    bad |= v.findings != 0 || !(v.seqs & 1u << 8) || beside("damaged") != 0;
    unsigned owed = done & 7;
    if (done & 8)
        owed &= owed - 1; /* the first that was stored was marked, and perhaps purged */
    bad |= (v.seqs >> 1 & owed) != owed;
    bad |= (done & 32) && !(v.seqs & 1u << 4);
    if (bad) {
        harness_note("step %d: done %#x, findings %d, seqs %#x", at, done, (int)v.findings, (unsigned)v.seqs);
        CU_FAIL("after a step that failed");
    }
}

static void death_at_every_step(void)
{
    int at = 1;
    for (bool died = true; died; at++) {
        char name[40];
        snprintf(name, sizeof name, "death-%d", at);
        begin(name);
        pid_t child = fork();
        CU_ASSERT_FATAL(child >= 0);
        if (child == 0) {
            armed = step_dies = true;
            step_at = at;
            steps = 0;
            unsigned done = scenario();
            armed = false;
            _exit(done == 63 ? 0 : 1);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
        died = WIFEXITED(status) && WEXITSTATUS(status) == 77;
        if (!died)
            CU_ASSERT_EQUAL(status, 0);
        judge(0, at);
    }
    harness_note("died at each of %d steps", at - 2);
    CU_ASSERT(at > 20);
}

static void failure_at_every_step(void)
{
    for (int persistent = 0; persistent < 2; persistent++) {
        bool hit = true;
        for (int at = 1; hit; at++) {
            char name[40];
            snprintf(name, sizeof name, "fail-%d-%d", persistent, at);
            begin(name);
            step_dies = false;
            fail_all = persistent;
            step_at = at;
            steps = 0;
            armed = true;
            unsigned done = scenario();
            armed = false;
            hit = steps >= at;
            fail_all = 0;
            judge(done, at);
        }
    }
}

HARNESS_MAIN("deadletter", {"letters come back as they were", letters_come_back_as_they_were},
             {"every change of a byte, every line taken out, put in or moved is found", every_change_is_found},
             {"a chain made anew is found by the head", a_line_that_fits_in_is_found},
             {"an unfinished write is set aside, at every byte", torn_end_is_set_aside},
             {"a whole line of which the head does not know stays", whole_line_behind_the_head_stays},
             {"a damaged file gives way to a new one", damaged_file_gives_way},
             {"whatever stands in the file's place gives way", anything_in_the_way_gives_way},
             {"a purged file still verifies", purged_file_still_verifies},
             {"what was looked at must still be there", mark_of_another_file_is_refused},
             {"a held file is waited for", held_file_is_waited_for}, {"death at every step", death_at_every_step},
             {"failure at every step", failure_at_every_step})
