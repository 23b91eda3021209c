/* test_stage.c - stage, commit, rollback and in_doubt of the file and the sqlite sink: what readers see, what survives
 * a death at any point, and what a failing call of the system makes of it. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "minihost.h"

static const char *const classes[] = {"file", "sqlite"};

/* What a reader finds: rows, in order and as sealed; -1: something is wrong. */
static long rows_of(struct mh_instance *m)
{
    struct mh_rows rows = mh_read(m, NULL, 64);
    if (rows.code == AW_OK && rows.same && (rows.count == 0 || (rows.rising && rows.first_seq == 1)))
        return (long)rows.count;
    harness_note("%s: code %d, %zu rows, rising %d, same %d: %s", m->class->name, rows.code, rows.count, rows.rising,
                 rows.same, m->error);
    return -1;
}

static struct mh_instance *open_sink(const char *class, const char *path)
{
    struct mh_instance *m = MH(class, "path", path);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    return m;
}

/* The process dies: nothing is stopped. */
static struct mh_instance *die_and_open(struct mh_instance *m, const char *path)
{
    const char *class = m->class->name;
    mh_destroy(m);
    return open_sink(class, path);
}

static void test_visibility(void)
{
    for (size_t c = 0; c < 2; c++) {
        char *path = mh_path("store");
        struct mh_instance *m = open_sink(classes[c], path);
        struct aw_position pos;
        uint8_t status[10];
        CU_ASSERT_EQUAL(mh_stage(m, 1, 10, "t1", status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_ACCEPTED));
        CU_ASSERT_EQUAL(rows_of(m), 0);
        CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_NOTFOUND);
        CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "t1");
        CU_ASSERT_EQUAL(mh_commit(m, "t1"), AW_OK);
        CU_ASSERT_EQUAL(rows_of(m), 10);
        CU_ASSERT_EQUAL(mh_commit(m, "t1"), AW_OK); /* idempotent, also for what never was */
        CU_ASSERT_EQUAL(mh_commit(m, "t0"), AW_OK);
        CU_ASSERT_EQUAL(mh_rollback(m, "t1"), AW_OK);
        CU_ASSERT_EQUAL(rows_of(m), 10);
        CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
        CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
        CU_ASSERT_EQUAL(pos.seq, 10);
        CU_ASSERT_EQUAL(mh_stage(m, 11, 20, "t2", NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_rollback(m, "t2"), AW_OK);
        CU_ASSERT_EQUAL(mh_rollback(m, "t2"), AW_OK);
        CU_ASSERT_EQUAL(mh_commit(m, "t2"), AW_OK);
        CU_ASSERT_EQUAL(rows_of(m), 10);
        CU_ASSERT_EQUAL(mh_stage(m, 11, 15, "t3", NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stage(m, 11, 20, "t3", NULL), AW_OK); /* again takes the place of the first */
        CU_ASSERT_EQUAL(mh_commit(m, "t3"), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 21, 30, 0, NULL), AW_OK); /* and without staging it goes on */
        CU_ASSERT_EQUAL(rows_of(m), 30);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_EQUAL(rows_of(m), 30);
        mh_destroy(m);
        free(path);
    }
}

static void test_survives(void)
{
    for (size_t c = 0; c < 2; c++) {
        char *path = mh_path("store");
        struct mh_instance *m = open_sink(classes[c], path);
        CU_ASSERT_EQUAL(mh_stage(m, 1, 10, "0a.1.a.1.1", NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stage(m, 11, 20, "0a.b.14.2.1", NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stage(m, 21, 30, "other", NULL), AW_OK);
        m = die_and_open(m, path);
        CU_ASSERT_EQUAL(rows_of(m), 0);
        CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "0a.1.a.1.1 0a.b.14.2.1 other");
        CU_ASSERT_EQUAL(mh_commit(m, "0a.1.a.1.1"), AW_OK);
        CU_ASSERT_EQUAL(mh_rollback(m, "other"), AW_OK);
        m = die_and_open(m, path);
        CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "0a.b.14.2.1");
        CU_ASSERT_EQUAL(mh_commit(m, "0a.b.14.2.1"), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(rows_of(m), 20);
        mh_destroy(m);
        free(path);
    }
}

/* One bad event does not stop the others, and a staged one that is there already is a duplicate where ids are kept. */
static void test_statuses(void)
{
    for (size_t c = 0; c < 2; c++) {
        char *path = mh_path("store");
        struct mh_instance *m = open_sink(classes[c], path);
        struct aw_event *e[3] = {mh_event(1), mh_event(7), mh_event(2)};
        uint8_t status[3];
        if (c == 0)
            e[1]->json[5] = '\n';
        else
            mh_event_set(e[1], AW_FIELD_ACTION, NULL);
        CU_ASSERT_EQUAL(mh_stage_events(m, e, 3, 0, "t", status), AW_OK);
        CU_ASSERT_EQUAL(status[0], AW_EVENT_ACCEPTED);
        CU_ASSERT_EQUAL(status[1], AW_EVENT_REJECTED);
        CU_ASSERT_EQUAL(status[2], AW_EVENT_ACCEPTED);
        CU_ASSERT_EQUAL(m->event_error_index, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, c == 0 ? "raw newline" : "NOT NULL"));
        CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
        CU_ASSERT_EQUAL(rows_of(m), 2);
        if (c == 1) {
            CU_ASSERT_EQUAL(mh_stage(m, 1, 3, "u", status), AW_OK);
            CU_ASSERT_EQUAL(status[0], AW_EVENT_DUPLICATE);
            CU_ASSERT_EQUAL(status[2], AW_EVENT_ACCEPTED);
            CU_ASSERT_EQUAL(mh_write(m, 3, 3, 0, NULL), AW_OK); /* written in another way meanwhile */
            CU_ASSERT_EQUAL(mh_commit(m, "u"), AW_OK);
            CU_ASSERT_EQUAL(mh_metric(m, "sqlite_duplicates_total"), 3);
            CU_ASSERT_EQUAL(rows_of(m), 3);
        }
        CU_ASSERT_EQUAL(mh_stage_events(m, e, 3, 0, "../t", status), c == 0 ? AW_E_INTERNAL : AW_OK);
        for (size_t i = 0; i < 3; i++)
            mh_event_free(e[i]);
        mh_destroy(m);
        free(path);
    }
}

static char *beside(const char *path, const char *what)
{
    size_t n = strlen(path) + strlen(what) + 1;
    char *out = malloc(n);
    snprintf(out, n, "%s%s", path, what);
    return out;
}

/* The process died in the middle of commit(): the trail ends after any number of bytes of what was staged. */
static void test_file_died_in_commit(void)
{
    char *path = mh_path("audit.jsonl"), *side = beside(path, ".staged-t");
    size_t before, all, staged_len;
    struct stat st;
    struct mh_instance *m = MH("file", "path", path, "mode", "0600", "fsync", "always");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    free(mh_slurp(path, &before));
    CU_ASSERT_EQUAL(mh_stage(m, 4, 7, "t", NULL), AW_OK);
    CU_ASSERT_TRUE(stat(side, &st) == 0 && (st.st_mode & 07777) == 0600);
    char *staged = mh_slurp(side, &staged_len);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_TRUE(access(side, F_OK) < 0);
    char *trail = mh_slurp(path, &all);
    mh_destroy(m);
    for (size_t cut = before; cut <= all; cut += cut + 1 == all || all - cut < 4 ? 1 : 3) {
        mh_spew(path, trail, cut);
        mh_spew(side, staged, staged_len);
        m = MH("file", "path", path, "fsync", "never");
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "t");
        CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
        mh_destroy(m);
        if (!mh_file_is(path, 1, 7)) {
            harness_note("cut at %zu of %zu to %zu", cut, before, all);
            CU_FAIL("the trail is not exact");
            break;
        }
    }
    free(staged);
    free(trail);
    free(side);
    free(path);
}

/* A power loss left a hole where lines of the commit were, and later lines are there. */
static void test_file_hole_in_commit(void)
{
    char *path = mh_path("audit.jsonl"), *side = beside(path, ".staged-t");
    size_t before, all, staged_len;
    struct mh_instance *m = open_sink("file", path);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, AW_BATCH_MUST_BE_DURABLE, NULL), AW_OK);
    free(mh_slurp(path, &before));
    CU_ASSERT_EQUAL(mh_stage(m, 4, 9, "t", NULL), AW_OK);
    char *staged = mh_slurp(side, &staged_len);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    char *trail = mh_slurp(path, &all);
    mh_destroy(m);
    memset(trail + before + 20, 0, (all - before) / 2);
    mh_spew(path, trail, all);
    mh_spew(side, staged, staged_len);
    m = open_sink("file", path);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 9));
    mh_destroy(m);
    free(staged);
    free(trail);
    free(side);
    free(path);
}

/* Rotation in the middle of a commit, then a death before the side file is gone. */
static void test_file_rotates_in_commit(void)
{
    for (unsigned events = 1; events <= 40; events++) {
        char *path = mh_path("audit.jsonl"), *side = beside(path, ".staged-t");
        size_t len;
        struct mh_instance *m = MH("file", "path", path, "rotate_size", "4KiB");
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stage(m, 4, 3 + events, "t", NULL), AW_OK);
        char *staged = mh_slurp(side, &len);
        CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
        CU_ASSERT_TRUE(mh_trail_is(path, 1, 3 + events));
        mh_spew(side, staged, len);
        mh_destroy(m);
        if (events % 2 == 0) { /* and exactly at the rotation */
            char archive[400];
            snprintf(archive, sizeof archive, "%.*s-20990102T030405.678Z-000001.jsonl", (int)(strlen(path) - 6), path);
            CU_ASSERT_EQUAL(rename(path, archive), 0);
        }
        m = open_sink("file", path);
        CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
        CU_ASSERT_TRUE(mh_trail_is(path, 1, 3 + events));
        mh_destroy(m);
        free(staged);
        free(side);
        free(path);
    }
}

/* Files beside the trail that no commit of ours made, or that were written into. */
static void test_file_garbage(void)
{
    char *path = mh_path("audit.jsonl"), *side = beside(path, ".staged-t"), *dir = beside(path, ".staged-dir");
    char *link = beside(path, ".staged-link"), *odd = beside(path, ".staged-no token");
    size_t len;
    struct mh_instance *m = open_sink("file", path);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mkdir(dir, 0700), 0);
    CU_ASSERT_EQUAL(symlink("/etc/passwd", link), 0);
    mh_spew(odd, "x", 1);
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
    CU_ASSERT_EQUAL(mh_commit(m, "dir"), AW_OK);
    CU_ASSERT_EQUAL(mh_commit(m, "link"), AW_OK);
    CU_ASSERT_EQUAL(mh_stage(m, 4, 6, "t", NULL), AW_OK);
    char *staged = mh_slurp(side, &len);
    for (size_t cut = 0; cut < len; cut += 61) { /* torn by a power loss, with fsync = "never" */
        mh_spew(side, staged, cut);
        CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_E_NOTFOUND);
        CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
    }
    staged[len / 2] ^= 1;
    mh_spew(side, staged, len);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_E_NOTFOUND);
    CU_ASSERT_TRUE(mh_logged(m, "is damaged; moved to"));
    CU_ASSERT_TRUE(mh_file_is(path, 1, 3));
    mh_spew(side, "garbage", 7);
    CU_ASSERT_EQUAL(mh_rollback(m, "t"), AW_OK);
    CU_ASSERT_EQUAL(mh_stage(m, 4, 6, "t", NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 6));
    mh_destroy(m);
    free(staged);
    free(odd);
    free(link);
    free(dir);
    free(side);
    free(path);
}

/* A database of schema version 1, which had no staging table. */
static void test_sqlite_migration(void)
{
    char *path = mh_path("audit.db");
    sqlite3 *db;
    struct mh_instance *m = open_sink("sqlite", path);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_exec(db, "DROP TABLE audit_staged; PRAGMA user_version=1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    CU_ASSERT_EQUAL(rows_of(m), 10); /* readers need no migration */
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "to schema version 2"));
    CU_ASSERT_EQUAL(mh_stage(m, 11, 20, "t", NULL), AW_OK);
    CU_ASSERT_EQUAL(rows_of(m), 10);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_EQUAL(rows_of(m), 20);
    /* A row that a trigger refuses is refused when it is staged, not when it is too late. */
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    for (int rollback = 0; rollback < 2; rollback++) {
        char sql[300];
        uint8_t status[3];
        snprintf(sql, sizeof sql,
                 "DROP TRIGGER IF EXISTS refuse; CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN new.seq = 22 "
                 "BEGIN SELECT RAISE(%s, 'no 22 here'); END",
                 rollback ? "ROLLBACK" : "ABORT");
        CU_ASSERT_EQUAL(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        CU_ASSERT_EQUAL(mh_stage(m, 21, 23, "t", status), AW_OK);
        CU_ASSERT_EQUAL(status[0], AW_EVENT_ACCEPTED);
        CU_ASSERT_EQUAL(status[1], AW_EVENT_REJECTED);
        CU_ASSERT_EQUAL(status[2], AW_EVENT_ACCEPTED);
        CU_ASSERT_EQUAL(rows_of(m), 20);
    }
    /* Another writer holds the database: not now. */
    uint8_t status[1];
    struct aw_event *e = mh_event(30);
    CU_ASSERT_EQUAL(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL(mh_stage_events(m, &e, 1, m->host.mono_ns() + 50000000u, "u", status), AW_E_RETRY);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_UNKNOWN);
    CU_ASSERT_EQUAL(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "t");
    mh_event_free(e);
    mh_destroy(m);
    free(path);
}

static void test_null(void)
{
    struct mh_instance *m = mh_create("null", NULL);
    uint8_t status[5];
    CU_ASSERT_EQUAL(mh_stage(m, 1, 5, "t", status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 5, AW_EVENT_ACCEPTED));
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_EQUAL(mh_rollback(m, "t"), AW_OK);
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
    mh_destroy(m);
}

/* ---- the n-th call fails ---- */
#define ROUNDS 4u
#define EVENTS 6u

/* One try of a round, as the host does it. true: committed. *staged is kept between tries. The events were made before:
 * nothing but the sink may meet the failure. */
static bool try_round(struct mh_instance *m, struct aw_event *const *events, unsigned round, bool *running,
                      bool *staged)
{
    uint8_t status[EVENTS];
    char token[20];
    snprintf(token, sizeof token, "t%u", round);
    if (!*running)
        *running = mh_start(m) == AW_OK;
    if (!*running)
        return false;
    if (!*staged) {
        int32_t r = mh_stage_events(m, events + (size_t)round * EVENTS, EVENTS, 0, token, status);
        *staged = r == AW_OK && mh_all(status, EVENTS, AW_EVENT_ACCEPTED);
        CU_ASSERT_TRUE(*staged || r != AW_OK);
        if (!*staged)
            (void)mh_rollback(m, token);
    }
    return *staged && mh_commit(m, token) == AW_OK;
}

/* Every event is there once whatever failed, nothing is left staged, and what failed was said. false: the nth call
 * never came. */
static bool one_life(const char *class, const char *const *pairs, enum inject_kind kind, long nth, bool on)
{
    struct mh_instance *m = mh_create(class, pairs);
    bool running = false, staged = false;
    unsigned tries = 0;
    struct aw_event *events[ROUNDS * EVENTS];
    for (size_t i = 0; i < ROUNDS * EVENTS; i++)
        events[i] = mh_event(i + 1);
    inject_arm(kind, nth,
               kind == INJECT_MALLOC ? ENOMEM
               : kind == INJECT_SYNC ? EIO
                                     : ENOSPC,
               on, strcmp(class, "file") == 0);
    for (unsigned round = 0; round < ROUNDS && tries < 100; tries++) {
        if (try_round(m, events, round, &running, &staged)) {
            round++;
            staged = false;
        }
        if (inject_fired() && tries % 4 == 3)
            inject_disarm(); /* a lasting failure lasts a while */
    }
    inject_disarm();
    bool fired = inject_fired();
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
    if (nth % 2 == 0) {
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    }
    long rows = rows_of(m);
    CU_ASSERT_EQUAL(rows, ROUNDS * EVENTS);
    if (rows != ROUNDS * EVENTS)
        harness_note("%s: %s %ld%s: %ld rows after %u tries: %s", class, inject_name(kind), nth, on ? " and on" : "",
                     rows, tries, m->error);
    mh_destroy(m);
    for (size_t i = 0; i < ROUNDS * EVENTS; i++)
        mh_event_free(events[i]);
    return fired;
}

static void loop(const char *class, const char *const *options)
{
    const char *pairs[16] = {"path", NULL};
    for (size_t i = 0; options[i] != NULL; i++)
        pairs[2 + i] = options[i];
    for (int kind = 0; kind < INJECT_KINDS; kind++)
        for (int on = 0; on < 2; on++) {
            bool fired = inject_can((enum inject_kind)kind);
            long n = 1;
            for (; fired && n < 1500; n += n < 60 ? 1 : n < 300 ? 7 : 31) {
                char *path = mh_path("store.jsonl");
                pairs[1] = path;
                fired = one_life(class, pairs, (enum inject_kind)kind, n, on);
                free(path);
            }
            harness_note("%s: %s%s: %ld", class, inject_name((enum inject_kind)kind), on ? " and on" : "", n);
        }
}

static void test_faults(void)
{
    static const char *const file[] = {"rotate_size", "4KiB", "buffer_size", "4KiB", NULL};
    static const char *const full[] = {"wal_size", "64KiB", NULL};
    static const char *const normal[] = {"wal_size", "64KiB", "synchronous", "normal", NULL};
    loop("file", file);
    loop("sqlite", full);
    loop("sqlite", normal);
}

HARNESS_MAIN("sink_stage", {"what readers see", test_visibility}, {"staged events survive a death", test_survives},
             {"statuses", test_statuses}, {"file: died in the middle of commit", test_file_died_in_commit},
             {"file: a hole in what was committed", test_file_hole_in_commit},
             {"file: rotation in the middle of commit", test_file_rotates_in_commit},
             {"file: garbage beside the trail", test_file_garbage},
             {"sqlite: an older schema, triggers, a lock", test_sqlite_migration}, {"null", test_null},
             {"every n-th call fails", test_faults})
