/* test_retention.c - probe, migrate and retention of the file and the sqlite sink. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "minihost.h"

#define BASE_NS INT64_C(1767323045000000000) /* event n occurred n ms later */
#define MS INT64_C(1000000)
#define EVENTS 60u

static int64_t at(uint64_t seq)
{
    return BASE_NS + (int64_t)seq * MS;
}

static const struct aw_sink_retention *retention_of(struct mh_instance *m)
{
    const struct aw_sink_retention *x = m->class->extension(m->sink, AW_EXT_SINK_RETENTION);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    return x;
}

struct found {
    unsigned count;
    struct aw_prune prune;
};

static int32_t take(void *arg, const struct aw_prune *p)
{
    struct found *f = arg;
    f->count++;
    f->prune = *p;
    return 0;
}

static int32_t plan(struct mh_instance *m, int64_t before, struct found *f)
{
    *f = (struct found){0};
    return retention_of(m)->plan(m->sink, before, take, f);
}

static int32_t prune(struct mh_instance *m, const struct aw_prune *p, uint64_t *removed)
{
    const struct aw_prune *list[] = {p};
    *removed = 999;
    return retention_of(m)->prune(m->sink, list, 1, removed);
}

/* The classes, and whether theirs can cut at every event. */
static const struct {
    const char *class, *file;
    bool anywhere;
} kinds[] = {{"file", "audit.jsonl", false}, {"sqlite", "audit.db", true}};
#define KINDS (sizeof kinds / sizeof kinds[0])

static struct mh_instance *open_kind(size_t kind, const char *path)
{
    struct mh_instance *m = kind == 0 ? MH("file", "path", path, "rotate_size", "4KiB") : MH("sqlite", "path", path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

/* Events 1..EVENTS; the writer is left running if it is asked for. */
static char *make(size_t kind, struct mh_instance **ret_writer)
{
    char *path = mh_path("%s", kinds[kind].file);
    struct mh_instance *m = open_kind(kind, path);
    CU_ASSERT_EQUAL_FATAL(mh_start(m), AW_OK);
    for (uint64_t seq = 1; seq <= EVENTS; seq += 5)
        CU_ASSERT_EQUAL(mh_write(m, seq, seq + 4, 0, NULL), AW_OK);
    if (ret_writer) {
        uint64_t seq;
        CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
        *ret_writer = m;
    } else {
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        mh_destroy(m);
    }
    return path;
}

/* Does the store hold exactly the events from here to EVENTS (plus more)? */
static bool holds(size_t kind, const char *path, uint64_t from, uint64_t to)
{
    struct mh_instance *m = open_kind(kind, path);
    struct mh_rows rows = mh_read(m, NULL, 100);
    bool ok = rows.code == AW_OK && rows.count == to - from + 1 && rows.first_seq == from && rows.rising && rows.same;
    if (!ok)
        harness_note("%s: expected %llu..%llu, code %d, %zu rows, seq %llu..%llu", kinds[kind].class,
                     (unsigned long long)from, (unsigned long long)to, rows.code, rows.count,
                     (unsigned long long)rows.first_seq, (unsigned long long)rows.last_seq);
    mh_destroy(m);
    return ok;
}

static void test_plan(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        char *path = make(k, NULL);
        struct mh_instance *m = open_kind(k, path);
        struct found f;
        struct aw_event *event;
        for (uint64_t seq = 1; seq <= EVENTS + 10; seq++) {
            CU_ASSERT_EQUAL(plan(m, at(seq), &f), AW_OK);
            CU_ASSERT_EQUAL(f.count, 1);
            const struct aw_prune *p = &f.prune;
            uint64_t most = seq < EVENTS ? seq : EVENTS; /* the newest stays */
            CU_ASSERT(p->keep_seq <= most && p->count == p->keep_seq - 1 && p->stream == 0);
            CU_ASSERT(!kinds[k].anywhere || p->keep_seq == most);
            CU_ASSERT(p->count == 0 || (p->first_seq == 1 && p->last_seq == p->count && p->bytes > 0));
            CU_ASSERT(p->count == 0 || (p->first_ns == at(1) && p->last_ns == at(p->count)));
            CU_ASSERT_EQUAL(p->keep_ns, at(p->keep_seq));
            event = mh_event(p->keep_seq);
            CU_ASSERT(strlen(p->keep_hash) == 64 && strstr(event->json, p->keep_hash) != NULL);
            mh_event_free(event);
        }
        CU_ASSERT(kinds[k].anywhere || f.prune.count > EVENTS / 2); /* whole files, but most of them */
        CU_ASSERT_TRUE(holds(k, path, 1, EVENTS));
        mh_destroy(m);
        free(path);
    }
}

/* A store that is not there, or empty, has no stream. */
static void test_empty(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        char *path = mh_path("%s", kinds[k].file);
        struct mh_instance *m = open_kind(k, path);
        struct found f;
        struct stat st;
        uint64_t removed;
        const struct aw_prune nothing = {.struct_size = sizeof nothing, .keep_seq = 1};
        CU_ASSERT_EQUAL(plan(m, INT64_MAX, &f), AW_OK);
        CU_ASSERT_EQUAL(f.count, 0);
        CU_ASSERT_TRUE(stat(path, &st) < 0);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_EQUAL(plan(m, INT64_MAX, &f), AW_OK);
        CU_ASSERT_EQUAL(f.count, 0);
        CU_ASSERT_EQUAL(prune(m, &nothing, &removed), AW_OK);
        CU_ASSERT_EQUAL(removed, 0);
        mh_destroy(m);
        free(path);
    }
}

/* One that says to occur in the future holds nothing back, and one of long ago among young ones is not torn out. */
static void test_times(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        char *path = make(k, NULL);
        struct mh_instance *m = open_kind(k, path);
        struct found f, late;
        CU_ASSERT_EQUAL(plan(m, at(50), &f), AW_OK);
        mh_clock_ns = at(0) - INT64_C(3600000000000) - (int64_t)m->host.now_ns(); /* now all are of the future */
        CU_ASSERT_EQUAL(plan(m, at(6), &late), AW_OK);
        mh_clock_ns = 0;
        CU_ASSERT(late.prune.keep_seq > f.prune.keep_seq);
        CU_ASSERT(!kinds[k].anywhere || late.prune.keep_seq == EVENTS);
        mh_destroy(m);
        free(path);
    }
    for (size_t k = 0; k < KINDS; k++) {
        char *path = mh_path("%s", kinds[k].file);
        struct mh_instance *m = open_kind(k, path);
        struct found f;
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 2001, 2040, 0, NULL), AW_OK); /* by their seqs two seconds later */
        CU_ASSERT_EQUAL(mh_write(m, 2041, 2060, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_EQUAL(plan(m, at(1), &f), AW_OK);
        CU_ASSERT(f.count == 1 && f.prune.count == 0 && f.prune.keep_seq == 2001);
        mh_destroy(m);
        free(path);
    }
}

static void test_prune(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct mh_instance *writer, *m;
        char *path = make(k, &writer); /* at work in another instance */
        struct found f;
        uint64_t removed, seq;
        m = open_kind(k, path);
        CU_ASSERT_EQUAL(plan(m, at(30), &f), AW_OK);
        CU_ASSERT(f.prune.count > 5);
        CU_ASSERT_EQUAL(prune(m, &f.prune, &removed), AW_OK);
        CU_ASSERT_EQUAL(removed, f.prune.count);
        CU_ASSERT_TRUE(holds(k, path, f.prune.keep_seq, EVENTS));
        CU_ASSERT_EQUAL(prune(m, &f.prune, &removed), AW_OK); /* again: nothing more goes */
        CU_ASSERT_EQUAL(removed, 0);
        CU_ASSERT_EQUAL(mh_write(writer, EVENTS + 1, EVENTS + 20, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_flush(writer, &seq), AW_OK);
        CU_ASSERT_TRUE(holds(k, path, f.prune.keep_seq, EVENTS + 20));
        CU_ASSERT_EQUAL(plan(m, at(1000), &f), AW_OK);
        CU_ASSERT_EQUAL(prune(m, &f.prune, &removed), AW_OK);
        CU_ASSERT_TRUE(holds(k, path, f.prune.keep_seq, EVENTS + 20));
        mh_destroy(m);
        CU_ASSERT_EQUAL(mh_stop(writer), AW_OK);
        struct aw_position pos;
        CU_ASSERT_EQUAL(mh_start(writer), AW_OK); /* it still knows where it is */
        CU_ASSERT(mh_position(writer, &pos) == AW_OK && pos.seq == EVENTS + 20);
        mh_destroy(writer);
        free(path);
    }
}

/* A plan that does not fit the store any more removes nothing. */
static void test_stale(void)
{
    for (size_t k = 0; k < KINDS; k++) {
        char *path = make(k, NULL);
        struct mh_instance *m = open_kind(k, path);
        struct found f;
        uint64_t removed;
        CU_ASSERT_EQUAL(plan(m, at(30), &f), AW_OK);
        struct aw_prune other[3] = {f.prune, f.prune, f.prune};
        other[0].keep_hash[5] ^= 1;
        other[1].stream = 3;
        other[2].keep_seq = EVENTS + 100;
        for (int i = 0; i < 3; i++) {
            mh_clear(m);
            CU_ASSERT_EQUAL(prune(m, &other[i], &removed), AW_OK);
            CU_ASSERT_EQUAL(removed, 0);
            CU_ASSERT_TRUE(mh_logged(m, "nothing is removed"));
        }
        CU_ASSERT_TRUE(holds(k, path, 1, EVENTS));
        mh_destroy(m);
        free(path);
    }
}

/* A dead letter that was replayed stands late in a file: the trail is not cut before what explains it. */
static void test_late(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = open_kind(0, path);
    struct found f;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 6, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 8, 30, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 7, 7, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 31, 60, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    bool crossed = false;
    for (uint64_t seq = 8; seq <= 60; seq++) {
        CU_ASSERT_EQUAL(plan(m, at(seq), &f), AW_OK);
        /* before 7, or behind the file that holds it late */
        CU_ASSERT(f.prune.keep_seq <= 7 || f.prune.keep_seq > 30);
        crossed = crossed || f.prune.keep_seq > 30;
    }
    CU_ASSERT_TRUE(crossed);
    mh_destroy(m);
    free(path);
}

/* A file that is being compressed would come back: it stays, and what is newer with it. */
static void test_locked(void)
{
    char *path = make(0, NULL), file[1024];
    struct mh_instance *m = open_kind(0, path);
    struct found f, again;
    uint64_t removed;
    CU_ASSERT_EQUAL(plan(m, at(40), &f), AW_OK);
    CU_ASSERT(mh_names(path, "audit-", file, sizeof file) > 3);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    CU_ASSERT(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CU_ASSERT_EQUAL(prune(m, &f.prune, &removed), AW_OK);
    CU_ASSERT_EQUAL(removed, 0);
    CU_ASSERT_TRUE(mh_logged(m, "it is being compressed"));
    CU_ASSERT_TRUE(holds(0, path, 1, EVENTS));
    close(fd);
    CU_ASSERT(plan(m, at(40), &again) == AW_OK && again.prune.keep_seq == f.prune.keep_seq);
    CU_ASSERT_EQUAL(prune(m, &f.prune, &removed), AW_OK);
    CU_ASSERT_EQUAL(removed, f.prune.count);
    mh_destroy(m);
    free(path);
}

/* ---- stopped anywhere ---- */

/* Whatever is left is the end of the trail, from 1, from keep_seq, or from between; *ret_from. at_once: not between. */
static bool is_end(size_t kind, const char *path, uint64_t keep, bool at_once, uint64_t *ret_from)
{
    struct mh_instance *m = open_kind(kind, path);
    struct mh_rows rows = mh_read(m, NULL, 100);
    *ret_from = rows.first_seq;
    bool ok = rows.code == AW_OK && rows.rising && rows.same && rows.last_seq == EVENTS && rows.first_seq <= keep &&
              rows.count == EVENTS - rows.first_seq + 1;
    ok = ok && (!at_once || rows.first_seq == 1 || rows.first_seq == keep);
    mh_destroy(m);
    return ok;
}

/* In a child, since the process may have to die. Exit code 77: it did; 1: it failed as it should; 0: nothing failed. */
static int prune_in_child(size_t kind, const char *path, const struct aw_prune *p, enum inject_kind what, long nth,
                          int errnum)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct mh_instance *m = open_kind(kind, path);
        uint64_t removed;
        inject_arm(what, nth, errnum, false, false);
        int32_t r = prune(m, p, &removed);
        inject_disarm();
        _exit(!inject_fired() ? 0 : r == AW_OK ? 2 : m->error[0] ? 1 : 3);
    }
    int status = 0;
    CU_ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_stopped(void)
{
    static const enum inject_kind whats[] = {INJECT_OPEN, INJECT_WRITE, INJECT_SYNC, INJECT_RENAME, INJECT_UNLINK};
    unsigned stopped = 0, between = 0;
    for (size_t k = 0; k < KINDS; k++)
        for (size_t w = 0; w < sizeof whats / sizeof whats[0]; w++)
            for (int die = 0; die < 2; die++)
                for (long nth = 1;; nth++) {
                    char *path = make(k, NULL);
                    struct mh_instance *m = open_kind(k, path);
                    struct found f, again;
                    uint64_t removed, from;
                    CU_ASSERT(plan(m, at(40), &f) == AW_OK && f.prune.count > 10);
                    int code = prune_in_child(k, path, &f.prune, whats[w], nth, die ? INJECT_DIE : EIO);
                    /* Files go all at once for whoever reads them; one that cannot be locked is left, and newer ones.
                     */
                    bool ok = is_end(k, path, f.prune.keep_seq, k == 0 && code != 2, &from);
                    CU_ASSERT(ok && code != 3);
                    if (!ok || code == 3)
                        harness_note("%s: %s %ld, die %d: exit %d, begins at %llu", kinds[k].class,
                                     inject_name(whats[w]), nth, die, code, (unsigned long long)from);
                    stopped += code != 0;
                    between += code != 0 && from != 1;
                    /* The next one goes on, also with what nobody sees any more. */
                    CU_ASSERT(plan(m, at(40), &again) == AW_OK && again.prune.keep_seq == f.prune.keep_seq);
                    CU_ASSERT_EQUAL(prune(m, &again.prune, &removed), AW_OK);
                    CU_ASSERT_TRUE(holds(k, path, f.prune.keep_seq, EVENTS));
                    CU_ASSERT_EQUAL(mh_names(path, ".removing", NULL, 0), 0);
                    CU_ASSERT_EQUAL(mh_names(path, ".tmp", NULL, 0), 0);
                    mh_destroy(m);
                    free(path);
                    if (code == 0 || nth > 200)
                        break;
                }
    harness_note("stopped %u times, %u times in the middle", stopped, between);
    CU_ASSERT(stopped > 40 && between > 5);
}

/* Rows go in transactions of a thousand: one that dies between two leaves the end of the trail, too. */
static void test_transactions(void)
{
    enum { MANY = 3500, CUT = 3400 };
    unsigned between = 0;
    for (long nth = 1; nth < 200; nth += nth < 12 ? 1 : nth / 3) {
        char *path = mh_path("audit.db");
        struct mh_instance *m = MH("sqlite", "path", path);
        struct found f;
        uint64_t removed;
        CU_ASSERT_EQUAL_FATAL(mh_start(m), AW_OK);
        for (uint64_t seq = 1; seq <= MANY; seq += 500)
            CU_ASSERT_EQUAL(mh_write(m, seq, seq + 499, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT(plan(m, at(CUT), &f) == AW_OK && f.prune.count == CUT - 1);
        int code = prune_in_child(1, path, &f.prune, INJECT_SYNC, nth, INJECT_DIE);
        struct mh_rows rows = mh_read(m, NULL, 500);
        CU_ASSERT(rows.rising && rows.same && rows.last_seq == MANY && rows.first_seq <= CUT);
        between += rows.first_seq > 1 && rows.first_seq < CUT;
        CU_ASSERT(prune(m, &f.prune, &removed) == AW_OK && removed == CUT - rows.first_seq);
        mh_destroy(m);
        free(path);
        if (code == 0)
            break;
    }
    harness_note("%u times between two transactions", between);
    CU_ASSERT(between > 1);
}

/* A start of the sink removes what a retention that died left, too. */
static void test_start_finishes(void)
{
    char *path = make(0, NULL);
    struct mh_instance *m = open_kind(0, path);
    struct found f;
    CU_ASSERT_EQUAL(plan(m, at(40), &f), AW_OK);
    size_t files = mh_names(path, "audit-", NULL, 0);
    CU_ASSERT_EQUAL(prune_in_child(0, path, &f.prune, INJECT_UNLINK, 2, INJECT_DIE), 77);
    CU_ASSERT_EQUAL(mh_names(path, "audit-", NULL, 0), files - 1);
    CU_ASSERT_EQUAL(mh_names(path, ".removing", NULL, 0), 1);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_names(path, ".removing", NULL, 0), 0);
    CU_ASSERT(mh_names(path, "audit-", NULL, 0) < files - 1);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(holds(0, path, f.prune.keep_seq, EVENTS));
    mh_destroy(m);
    free(path);
}

static void test_no_memory(void)
{
    if (!inject_can(INJECT_MALLOC)) {
        harness_note("allocation cannot be replaced under a sanitizer");
        return;
    }
    for (size_t k = 0; k < KINDS; k++)
        for (int step = 0; step < 2; step++)
            for (long nth = 1;; nth++) {
                char *path = make(k, NULL);
                struct mh_instance *m = open_kind(k, path);
                struct found f, plan_found;
                uint64_t removed, from;
                CU_ASSERT_EQUAL(plan(m, at(40), &f), AW_OK);
                inject_arm(INJECT_MALLOC, nth, ENOMEM, false, false);
                int32_t r = step ? prune(m, &f.prune, &removed) : plan(m, at(40), &plan_found);
                inject_disarm();
                bool fired = inject_fired();
                CU_ASSERT(r == AW_OK || m->error[0]);
                CU_ASSERT_TRUE(is_end(k, path, f.prune.keep_seq, false, &from));
                CU_ASSERT(step || r != AW_OK || plan_found.prune.keep_seq == f.prune.keep_seq);
                mh_destroy(m);
                free(path);
                if (!fired || nth > 2000)
                    break;
            }
}

/* ---- migrate and probe ---- */

struct steps {
    unsigned count;
    char text[8192];
};

static void on_step(void *arg, const char *text)
{
    struct steps *s = arg;
    size_t n = strlen(s->text);
    s->count++;
    snprintf(s->text + n, sizeof s->text - n, "%s\n", text);
}

static int32_t migrate(struct mh_instance *m, uint32_t flags, struct steps *s)
{
    const struct aw_sink_migrate *x = m->class->extension(m->sink, AW_EXT_SINK_MIGRATE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    *s = (struct steps){0};
    return x->migrate(m->sink, flags, on_step, s);
}

static int32_t probe(struct mh_instance *m)
{
    const struct aw_sink_probe *x = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    mh_clear(m);
    return x->probe(m->sink, 0);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_migrate(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = MH("sqlite", "path", path);
    struct steps s;
    struct stat st;
    CU_ASSERT_EQUAL(migrate(m, AW_MIGRATE_DRY_RUN, &s), AW_OK);
    CU_ASSERT(s.count > 5 && strstr(s.text, "create the database") && strstr(s.text, "CREATE TABLE audit_events("));
    CU_ASSERT_TRUE(stat(path, &st) < 0);
    CU_ASSERT_EQUAL(migrate(m, 0, &s), AW_OK);
    CU_ASSERT(s.count > 5);
    CU_ASSERT_EQUAL(migrate(m, 0, &s), AW_OK);
    CU_ASSERT_EQUAL(s.count, 0);
    CU_ASSERT_EQUAL(migrate(m, AW_MIGRATE_DRY_RUN, &s), AW_OK);
    CU_ASSERT_EQUAL(s.count, 0);
    CU_ASSERT_EQUAL(probe(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK); /* it has nothing left to do */
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(unlink(path), 0);
    run_sql(path, "CREATE TABLE audit_events(event_id TEXT, action TEXT)"); /* of an older program */
    CU_ASSERT_EQUAL(probe(m), AW_OK);
    CU_ASSERT_EQUAL(migrate(m, AW_MIGRATE_DRY_RUN, &s), AW_OK);
    CU_ASSERT(strstr(s.text, "ADD COLUMN canonical TEXT\n") && strstr(s.text, "CREATE UNIQUE INDEX"));
    unsigned steps = s.count;
    CU_ASSERT_EQUAL(migrate(m, 0, &s), AW_OK);
    CU_ASSERT_EQUAL(s.count, steps);
    CU_ASSERT(migrate(m, 0, &s) == AW_OK && s.count == 0);
    mh_destroy(m);
    free(path);
}

static void test_probe_sqlite(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = MH("sqlite", "path", path);
    struct stat st;
    CU_ASSERT_EQUAL(probe(m), AW_OK);
    CU_ASSERT_TRUE(stat(path, &st) < 0); /* nothing was made */
    run_sql(path, "CREATE TABLE audit_events(id INTEGER)");
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not auditwell's: name another database"));
    CU_ASSERT_EQUAL(unlink(path), 0);
    run_sql(path, "CREATE TABLE audit_events(event_id TEXT, theirs TEXT NOT NULL)");
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "column theirs"));
    CU_ASSERT_EQUAL(unlink(path), 0);
    run_sql(path, "PRAGMA user_version = 99; CREATE TABLE audit_events(event_id TEXT)");
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "has schema version 99"));
    mh_spew(path, "this is no database, only text of some length", 45);
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    mh_destroy(m);
    m = MH("sqlite", "path", "/nonexistent/deep/audit.db");
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "the directory cannot be written"));
    mh_destroy(m);
    free(path);
}

static void test_probe_file(void)
{
    char *path = mh_path("audit.jsonl"), *link, *missing;
    struct mh_instance *m = MH("file", "path", path), *writer;
    struct stat st;
    CU_ASSERT_EQUAL(probe(m), AW_OK);
    CU_ASSERT_TRUE(stat(path, &st) < 0); /* nothing was made */
    writer = MH("file", "path", path);
    CU_ASSERT_EQUAL(mh_start(writer), AW_OK);
    CU_ASSERT_EQUAL(probe(m), AW_OK); /* a writer is no failure */
    mh_destroy(writer);
    mh_destroy(m);
    CU_ASSERT(asprintf(&link, "%s.link", path) > 0 && symlink(path, link) == 0);
    m = MH("file", "path", link);
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "symbolic link: name the file itself"));
    mh_destroy(m);
    char *dir = mh_dir_of(path);
    m = MH("file", "path", dir);
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no regular file"));
    mh_destroy(m);
    CU_ASSERT(asprintf(&missing, "%s/new/audit.jsonl", dir) > 0);
    m = MH("file", "path", missing);
    CU_ASSERT_EQUAL(probe(m), AW_OK); /* its directory is made at the start */
    mh_destroy(m);
    m = MH("file", "path", "/nonexistent/deep/audit.jsonl");
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "/nonexistent/deep: the directory cannot be written"));
    mh_destroy(m);
    m = MH("file", "path", path, "owner", "nobody-of-that-name");
    CU_ASSERT_EQUAL(probe(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "there is no user"));
    mh_destroy(m);
    free(missing);
    free(link);
    free(dir);
    free(path);
}

HARNESS_MAIN("sink_retention", {"plan", test_plan}, {"nothing there", test_empty}, {"times", test_times},
             {"prune beside a writer", test_prune}, {"a stale plan", test_stale}, {"replayed dead letters", test_late},
             {"a file that is being compressed", test_locked}, {"stopped anywhere", test_stopped},
             {"between transactions", test_transactions}, {"a start finishes it", test_start_finishes},
             {"no memory", test_no_memory}, {"migrate", test_migrate}, {"probe sqlite", test_probe_sqlite},
             {"probe file", test_probe_file})
