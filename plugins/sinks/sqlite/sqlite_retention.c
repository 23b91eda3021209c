/* sqlite_retention.c - the retention extension: which rows can go, and removing them in small transactions.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The host's writer may be at work in another process meanwhile: each transaction here is short, and between two of
 * them the writer has its turn. Rows go by rising seq. What is deleted is overwritten (secure_delete), and with
 * auto_vacuum = INCREMENTAL the file gets smaller.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_sink.h"

#define STEP_ROWS 1000
#define STEP_PAGES 1000
#define TURN_MS 2 /* for the writer, between two transactions */

/* A member of integrity's canonical text that stands in front of what others may have written: its value. */
static const char *member(const char *integrity, const char *name)
{
    const char *at = integrity != NULL ? strstr(integrity, name) : NULL;
    return at != NULL ? at + strlen(name) : NULL;
}

static uint32_t stream_of(const char *integrity)
{
    const char *at = member(integrity, "\"stream\":");
    return at != NULL ? (uint32_t)strtoul(at, NULL, 10) : 0;
}

static void hash_of(const char *integrity, char out[65])
{
    const char *at = member(integrity, "\"hash\":\"");
    memset(out, 0, 65);
    if (at != NULL && strspn(at, "0123456789abcdef") >= 64)
        memcpy(out, at, 64);
}

/* The first row that stays: seq, time, integrity. SQLITE_ROW, SQLITE_DONE (the table is empty), or another rc. */
static int find_keep(struct sqlite_sink *s, sqlite3 *db, int64_t before_ns, struct aw_prune *p)
{
    static const char *const sql[2] = {"SELECT seq, occurred_ns, integrity FROM " SQ_TABLE
                                       " WHERE canonical IS NOT NULL AND +occurred_ns >= ?1 AND "
                                       "+occurred_ns <= ?2 ORDER BY seq, rowid LIMIT 1",
                                       "SELECT seq, occurred_ns, integrity FROM " SQ_TABLE
                                       " WHERE canonical IS NOT NULL ORDER BY seq DESC, rowid DESC LIMIT 1"};
    sqlite3_stmt *st = NULL;
    int rc = SQLITE_DONE;
    for (int i = 0; i < 2 && rc == SQLITE_DONE; i++) {
        rc = sqlite3_prepare_v2(db, sql[i], -1, &st, NULL);
        if (rc == SQLITE_OK && i == 0)
            rc = sqlite3_bind_int64(st, 1, before_ns);
        if (rc == SQLITE_OK && i == 0)
            rc = sqlite3_bind_int64(st, 2, (int64_t)s->host->now_ns());
        if (rc == SQLITE_OK)
            rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) {
            const char *integrity = (const char *)sqlite3_column_text(st, 2);
            p->keep_seq = (uint64_t)sqlite3_column_int64(st, 0);
            p->keep_ns = sqlite3_column_int64(st, 1);
            p->stream = stream_of(integrity);
            hash_of(integrity, p->keep_hash);
        }
        int fin = sqlite3_finalize(st);
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? rc : fin != SQLITE_OK ? fin : rc;
    }
    return rc;
}

static int count_below(sqlite3 *db, struct aw_prune *p)
{
    sqlite3_stmt *st;
    int64_t pages = 0, page = 0, rows = 0;
    int rc = sqlite3_prepare_v2(db,
                                "SELECT count(*), min(seq), max(seq), min(occurred_ns), max(occurred_ns) FROM " SQ_TABLE
                                " WHERE canonical IS NOT NULL AND seq < ?1",
                                -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, (int64_t)p->keep_seq);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        p->count = (uint64_t)sqlite3_column_int64(st, 0);
        p->first_seq = (uint64_t)sqlite3_column_int64(st, 1);
        p->last_seq = (uint64_t)sqlite3_column_int64(st, 2);
        p->first_ns = sqlite3_column_int64(st, 3);
        p->last_ns = sqlite3_column_int64(st, 4);
    }
    int fin = sqlite3_finalize(st);
    if (rc != SQLITE_ROW)
        return fin != SQLITE_OK ? fin : rc;
    if (p->count > 0 && sq_int(db, "PRAGMA page_count", &pages) == SQLITE_ROW &&
        sq_int(db, "PRAGMA page_size", &page) == SQLITE_ROW &&
        sq_int(db, "SELECT count(*) FROM " SQ_TABLE, &rows) == SQLITE_ROW && rows > 0)
        p->bytes = (uint64_t)((double)pages * (double)page * (double)p->count / (double)rows);
    return SQLITE_OK;
}

static int32_t plan(void *sink, int64_t before_ns, int32_t (*found)(void *arg, const struct aw_prune *), void *arg)
{
    struct sqlite_sink *s = sink;
    struct aw_prune p = {.struct_size = sizeof p};
    struct stat st;
    sqlite3 *db = NULL;
    if (stat(s->path, &st) < 0 || st.st_size == 0)
        return AW_OK; /* nothing was ever stored */
    int rc = sq_open_readonly(s, &db);
    bool there = false;
    int64_t n = 0;
    if (rc == SQLITE_OK &&
        (rc = sq_int(db, "SELECT count(*) FROM sqlite_schema WHERE name = '" SQ_TABLE "'", &n)) == SQLITE_ROW)
        rc = n == 0 ? SQLITE_DONE : find_keep(s, db, before_ns, &p);
    if (rc == SQLITE_ROW) {
        there = true;
        rc = count_below(db, &p);
    }
    int32_t r = rc == SQLITE_OK || rc == SQLITE_DONE ? AW_OK : sq_fail(s, db, rc, "cannot look for old events");
    sqlite3_close(db);
    if (r == AW_OK && there)
        (void)found(arg, &p); /* there is no other stream */
    return r;
}

/* ---- prune ---- */

/* SQLITE_ROW: the event that is to stay first is there, and is the one of the plan. SQLITE_DONE: not so. */
static int same_keep(sqlite3 *db, const struct aw_prune *p)
{
    sqlite3_stmt *st;
    char hash[65] = "";
    uint32_t stream = 0;
    int rc = sqlite3_prepare_v2(db, "SELECT integrity FROM " SQ_TABLE " WHERE seq = ?1 AND canonical IS NOT NULL", -1,
                                &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, (int64_t)p->keep_seq);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        const char *integrity = (const char *)sqlite3_column_text(st, 0);
        hash_of(integrity, hash);
        stream = stream_of(integrity);
    }
    int fin = sqlite3_finalize(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return fin != SQLITE_OK ? fin : rc;
    return rc == SQLITE_ROW && stream == p->stream && strcmp(hash, p->keep_hash) == 0 ? SQLITE_ROW : SQLITE_DONE;
}

/* The oldest rows below keep_seq, in one transaction. SQLITE_OK with their number, or another rc. */
static int delete_some(sqlite3 *db, uint64_t keep_seq, int *ret_count)
{
    sqlite3_stmt *st;
    *ret_count = 0;
    int rc = sq_run(db, "BEGIN IMMEDIATE");
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_prepare_v2(db,
                            "DELETE FROM " SQ_TABLE " WHERE rowid IN (SELECT rowid FROM " SQ_TABLE
                            " WHERE canonical IS NOT NULL AND seq < ?1 ORDER BY seq, rowid LIMIT ?2)",
                            -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, (int64_t)keep_seq);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int(st, 2, STEP_ROWS);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    int fin = sqlite3_finalize(st), count = sqlite3_changes(db);
    if (rc == SQLITE_DONE && fin == SQLITE_OK)
        rc = sq_run(db, "COMMIT");
    else if (fin != SQLITE_OK)
        rc = fin;
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
        sq_run(db, "ROLLBACK");
    if (rc == SQLITE_OK)
        *ret_count = count;
    return rc;
}

/* Gives free pages back, where the database was made for that. */
static int shrink(struct sqlite_sink *s, sqlite3 *db)
{
    int64_t mode = 0, left = 0, before = -1;
    int rc = sq_int(db, "PRAGMA auto_vacuum", &mode);
    while (rc == SQLITE_ROW && mode == 2 && (rc = sq_int(db, "PRAGMA freelist_count", &left)) == SQLITE_ROW &&
           left > 0 && left != before) {
        before = left;
        rc = sq_run_number(db, "PRAGMA incremental_vacuum(%lld)", STEP_PAGES);
        if (rc != SQLITE_OK)
            break;
        sqlite3_sleep(TURN_MS);
        rc = SQLITE_ROW;
    }
    if (rc == SQLITE_ROW)
        return SQLITE_OK;
    aw_host_log(s->host, AW_LOG_WARNING, "%s: the database could not be made smaller: %s", s->path, sqlite3_errstr(rc));
    return SQLITE_OK; /* what had to go is gone */
}

static int32_t prune_one(struct sqlite_sink *s, sqlite3 *db, const struct aw_prune *p, uint64_t *ret_removed)
{
    int rc = same_keep(db, p), count = 0;
    if (rc == SQLITE_DONE) {
        aw_host_log(s->host, AW_LOG_WARNING,
                    "%s: nothing is removed: the event that was to stay first, seq %llu, is not what the plan says",
                    s->path, (unsigned long long)p->keep_seq);
        return AW_OK;
    }
    if (rc == SQLITE_ROW)
        rc = SQLITE_OK;
    while (rc == SQLITE_OK && (rc = delete_some(db, p->keep_seq, &count)) == SQLITE_OK && count > 0) {
        *ret_removed += (uint64_t)count;
        sqlite3_sleep(TURN_MS);
    }
    return rc == SQLITE_OK ? AW_OK : sq_fail(s, db, rc, "cannot remove old events");
}

static int32_t prune(void *sink, const struct aw_prune *const *prunes, size_t count, uint64_t *ret_removed)
{
    struct sqlite_sink *s = sink;
    sqlite3 *db = NULL;
    *ret_removed = 0;
    s->deadline_ns = 0;
    int32_t r = sq_connect(s, &db);
    int rc = r == AW_OK ? sq_run(db, "PRAGMA secure_delete=ON") : SQLITE_OK;
    if (rc != SQLITE_OK)
        r = sq_fail(s, db, rc, "cannot apply settings");
    for (size_t i = 0; i < count && r == AW_OK; i++)
        if (prunes[i]->count > 0)
            r = prune_one(s, db, prunes[i], ret_removed);
    if (r == AW_OK && *ret_removed > 0)
        (void)shrink(s, db);
    sqlite3_close(db);
    return r;
}

const struct aw_sink_retention sq_retention = {sizeof sq_retention, 0, plan, prune};
