/* test_sqlite.c - the sqlite sink on real databases. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

static struct mh_instance *started(const char *path)
{
    struct mh_instance *m = MH("sqlite", "path", path);
    int32_t r = mh_start(m);
    if (r != AW_OK)
        harness_note("start: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    return m;
}

static sqlite3 *db_open(const char *path)
{
    sqlite3 *db;
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void db_run(sqlite3 *db, const char *sql)
{
    char *err = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &err) != SQLITE_OK)
        harness_note("%s: %s", sql, err);
    CU_ASSERT_PTR_NULL(err);
    sqlite3_free(err);
}

/* The first column of the first row as text, in a static buffer; "" for none or NULL. */
static const char *db_text(const char *path, const char *sql)
{
    static char out[8192];
    sqlite3 *db = db_open(path);
    sqlite3_stmt *st;
    out[0] = '\0';
    CU_ASSERT_EQUAL(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0) != NULL)
        snprintf(out, sizeof out, "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return out;
}

static bool db_holds(const char *path, uint64_t from, uint64_t to)
{
    struct mh_instance *m = MH("sqlite", "path", path);
    struct mh_rows rows = mh_read(m, NULL, 100);
    bool ok = rows.code == AW_OK && rows.count == to - from + 1 && rows.first_seq == from && rows.last_seq == to &&
              rows.rising && rows.same;
    if (!ok)
        harness_note("database: code %d, %zu rows, seq %llu..%llu, rising %d, same %d: %s", rows.code, rows.count,
                     (unsigned long long)rows.first_seq, (unsigned long long)rows.last_seq, rows.rising, rows.same,
                     m->error);
    mh_destroy(m);
    return ok;
}

static void test_rows(void)
{
    char *path = mh_path("audit.db"), wal[1100];
    struct mh_instance *m = started(path);
    uint8_t status[100];
    struct stat st;
    struct aw_position pos;
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(m->class->durability, AW_DURABLE_ON_WRITE);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(mh_write(m, 1, 100, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 100);
    snprintf(wal, sizeof wal, "%s-wal", path);
    CU_ASSERT_TRUE(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    CU_ASSERT_TRUE(stat(wal, &st) == 0 && (st.st_mode & 0777) == 0640);
    CU_ASSERT_TRUE(db_holds(path, 1, 100)); /* while the writer has it open */
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
    CU_ASSERT_EQUAL(pos.seq, 100);
    CU_ASSERT_EQUAL(strlen(pos.hash), 64);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(stat(wal, &st) < 0);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 101, 101, 0, NULL), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(db_holds(path, 1, 101));
    CU_ASSERT_STRING_EQUAL(db_text(path, "PRAGMA user_version"), "2");
    CU_ASSERT_STRING_EQUAL(db_text(path, "PRAGMA journal_mode"), "wal");
    CU_ASSERT_STRING_EQUAL(db_text(path, "PRAGMA integrity_check"), "ok");
    free(path);
}

static void test_columns(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = started(path);
    struct aw_event *e = mh_event(7);
    uint8_t status;
    mh_event_set(e, AW_FIELD_ACTOR_ROLES, "[\"admin\"]");
    mh_event_set(e, AW_FIELD_RETENTION_TAG, "r7y");
    e->fields[AW_FIELD_ACTOR_DISPLAY_NAME] = (struct aw_str){"a\0b", 3};
    e->numbers[AW_NUMBER_DIFF_TRUNCATED - AW_NUMBER_SEQ] = 1;
    e->numbers[AW_NUMBER_OCCURRED_NS - AW_NUMBER_SEQ] = (uint64_t)-5;
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, &status), AW_OK);
    mh_destroy(m);
    static const char *const want[][2] = {{"event_id", "01890a5d-ac96-774b-bcce-000000000007"},
                                          {"seq", "7"},
                                          {"scope", "tenant:tnt_3"},
                                          {"schema_version", "1"},
                                          {"action", "document.read"},
                                          {"outcome", "SUCCESS"},
                                          {"actor_id", "usr_7"},
                                          {"actor_type", "user"},
                                          {"actor_roles", "[\"admin\"]"},
                                          {"actor_ip", "10.0.0.1"},
                                          {"actor_user_agent", ""},
                                          {"target_id", "obj_00000007"},
                                          {"target_type", "document"},
                                          {"target_display_name", ""},
                                          {"tenant_id", "tnt_3"},
                                          {"org_id", ""},
                                          {"retention_tag", "r7y"},
                                          {"metadata_truncated", "0"},
                                          {"diff_truncated", "1"},
                                          {"occurred_ns", "-5"},
                                          {"diff", ""},
                                          {"target", "{\"id\":\"obj_00000007\",\"type\":\"document\"}"},
                                          {"length(CAST(actor_display_name AS BLOB))", "3"},
                                          {"json_extract(integrity,'$.seq')", "7"},
                                          {"json_extract(context,'$.tenantId')", "tnt_3"},
                                          {"json_extract(metadata,'$.reason') LIKE 'caf%'", "1"},
                                          {"occurred_at LIKE '2026-01-02T%Z'", "1"},
                                          {"typeof(canonical)", "text"},
                                          {"typeof(actor_user_agent)", "null"}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT %s FROM audit_events", want[i][0]);
        CU_ASSERT_STRING_EQUAL(db_text(path, sql), want[i][1]);
        if (strcmp(db_text(path, sql), want[i][1]) != 0)
            harness_note("%s = %s", want[i][0], db_text(path, sql));
    }
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT canonical FROM audit_events"), e->json);
    mh_event_free(e);
    free(path);
}

static void refused(struct mh_instance *m, const char *text)
{
    CU_ASSERT_PTR_NULL(m);
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), text));
    mh_destroy(m);
}

static void test_options(void)
{
    char *path = mh_path("audit.db"), *fresh = mh_path("new/audit.db"), *deep = mh_path("a/b/audit.db"),
         *dir = mh_fresh_dir();
    struct stat st;
    refused(MH("sqlite", "path", ""), "path: names no file");
    refused(MH("sqlite", "path", path, "mode", "abc"), "not an octal mode");
    refused(MH("sqlite", "path", path, "page_size", "5000"), "not a power of two");
    CU_ASSERT_TRUE(stat(path, &st) < 0); /* create() does no I/O */
    struct mh_instance *m =
        MH("sqlite", "path", path, "mode", "0600", "page_size", "16KiB", "indexes", "false", "wal_size", "1MiB");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_TRUE(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    for (uint64_t i = 1; i <= 5000; i += 500)
        CU_ASSERT_EQUAL(mh_write(m, i, i + 499, 0, NULL), AW_OK);
    char wal[1100];
    snprintf(wal, sizeof wal, "%s-wal", path);
    CU_ASSERT_TRUE(stat(wal, &st) == 0 && st.st_size < (8 << 20)); /* 1 MiB and one batch, not all of 5,000 events */
    CU_ASSERT_STRING_EQUAL(db_text(path, "PRAGMA page_size"), "16384");
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'audit_events_%'"), "1");
    mh_destroy(m);
    m = started(path); /* the indexes can be had later */
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'audit_events_%'"), "4");
    mh_destroy(m);
    m = started(fresh);
    mh_destroy(m);
    m = MH("sqlite", "path", deep);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_UNAVAILABLE);
    mh_destroy(m);
    m = MH("sqlite", "path", dir);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    mh_destroy(m);
    free(path);
    free(fresh);
    free(deep);
    free(dir);
}

static void test_normal(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = MH("sqlite", "path", path, "synchronous", "normal");
    uint8_t status[5];
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 5, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 5, AW_EVENT_ACCEPTED));
    CU_ASSERT_EQUAL(mh_write(m, 1, 5, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 5, AW_EVENT_ACCEPTED)); /* the first copy may not be on disk either */
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 5);
    CU_ASSERT_EQUAL(mh_write(m, 6, 9, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 4, AW_EVENT_DURABLE));
    mh_destroy(m);
    CU_ASSERT_TRUE(db_holds(path, 1, 9));
    free(path);
}

static void test_duplicates(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = started(path);
    uint8_t status[10];
    CU_ASSERT_EQUAL(mh_write(m, 1, 6, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 4, 10, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_DUPLICATE));
    CU_ASSERT_TRUE(mh_all(status + 3, 4, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_metric(m, "sqlite_duplicates_total"), 3);
    CU_ASSERT_FALSE(mh_logged(m, "other content"));
    /* twice in one batch, and the same id with other content */
    struct aw_event *e[3] = {mh_event(11), mh_event(11), mh_event(12)};
    mh_event_set(e[2], AW_FIELD_EVENT_ID, "01890a5d-ac96-774b-bcce-000000000001");
    CU_ASSERT_EQUAL(mh_write_events(m, e, 3, 0, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(status[1], AW_EVENT_DUPLICATE);
    CU_ASSERT_EQUAL(status[2], AW_EVENT_DUPLICATE);
    CU_ASSERT_TRUE(mh_logged(m, "other content is stored already (seq 1)"));
    for (int i = 0; i < 3; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    CU_ASSERT_TRUE(db_holds(path, 1, 11));
    free(path);
}

static void test_poison(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = started(path);
    struct aw_event *e[8];
    uint8_t status[8];
    sqlite3 *db = db_open(path);
    db_run(db, "CREATE TRIGGER t1 BEFORE INSERT ON audit_events WHEN NEW.seq = 3 BEGIN SELECT RAISE(ABORT, 'not that "
               "one'); END;"
               "CREATE TRIGGER t2 BEFORE INSERT ON audit_events WHEN NEW.seq = 6 BEGIN SELECT RAISE(ROLLBACK, 'nor "
               "that'); END;");
    sqlite3_close(db);
    for (uint64_t i = 0; i < 8; i++)
        e[i] = mh_event(i + 1);
    mh_event_set(e[7], AW_FIELD_ACTION, NULL);
    /* Nothing is stored behind a refused one, in one call: its dead letter comes first, else position() would pass it.
     */
    for (size_t i = 0; i < 8; i += 3) {
        size_t n = 8 - i, refused = i == 6 ? 1 : 2;
        CU_ASSERT_EQUAL(mh_write_events(m, e + i, n, 0, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, refused, AW_EVENT_DURABLE));
        CU_ASSERT_EQUAL(status[refused], AW_EVENT_REJECTED);
        CU_ASSERT_TRUE(mh_all(status + refused + 1, n - refused - 1, AW_EVENT_UNKNOWN));
        CU_ASSERT_EQUAL(m->event_error_index, refused);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "NOT NULL constraint failed: audit_events.action"));
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT group_concat(seq) FROM audit_events"), "1,2,4,5,7");
    /* An event that cannot be rendered now: nothing of the batch, and no rejection. */
    e[1]->encode_code = AW_E_NOMEM;
    mh_event_set(e[0], AW_FIELD_EVENT_ID, "fresh");
    CU_ASSERT_EQUAL(mh_write_events(m, e, 2, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_UNKNOWN));
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT count(*) FROM audit_events"), "5");
    for (int i = 0; i < 8; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    free(path);
}

static void test_busy(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = MH("sqlite", "path", path, "busy_timeout", "50ms"), *patient = MH("sqlite", "path", path);
    uint8_t status[3];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(patient), AW_OK);
    sqlite3 *db = db_open(path);
    db_run(db, "BEGIN IMMEDIATE");
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, status), AW_E_RETRY);
    CU_ASSERT_TRUE(m->host.mono_ns() - before >= 50000000u);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_UNKNOWN));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "locked"));
    /* The call's deadline ends the wait before busy_timeout. */
    struct aw_event *e = mh_event(1);
    before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write_events(patient, &e, 1, 0, before + 20000000u, status), AW_E_RETRY);
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 2000000000u);
    mh_event_free(e);
    db_run(db, "ROLLBACK");
    sqlite3_close(db);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_DURABLE));
    mh_destroy(m);
    mh_destroy(patient);
    CU_ASSERT_TRUE(db_holds(path, 1, 3));
    free(path);
}

static void test_deadline(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = started(path);
    struct aw_event *e[600];
    uint8_t status[600];
    for (uint64_t i = 0; i < 600; i++)
        e[i] = mh_event(i + 1);
    /* Already over: what fits before the first look at the clock is stored, in order, and said so. */
    CU_ASSERT_EQUAL(mh_write_events(m, e, 600, 0, 1, status), AW_E_TIMEOUT);
    size_t done = 0;
    while (done < 600 && status[done] == AW_EVENT_DURABLE)
        done++;
    CU_ASSERT_TRUE(done > 0 && done < 600);
    CU_ASSERT_TRUE(mh_all(status + done, 600 - done, AW_EVENT_UNKNOWN));
    CU_ASSERT_TRUE(db_holds(path, 1, done));
    for (int i = 0; i < 600; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    free(path);
}

static void test_broken_databases(void)
{
    char *path = mh_path("audit.db"), junk[8192];
    memset(junk, 'j', sizeof junk);
    mh_spew(path, junk, sizeof junk);
    struct mh_instance *m = MH("sqlite", "path", path);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not a database"));
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).code, AW_E_CONFIG);
    unlink(path);
    /* Newer than we are, foreign, and another table of that name. */
    sqlite3 *db = db_open(path);
    db_run(db, "CREATE TABLE audit_events(event_id TEXT PRIMARY KEY); PRAGMA user_version = 7");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "schema version 7, this auditwell knows up to 2"));
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).code, AW_E_CONFIG);
    db_run(db, "DROP TABLE audit_events; PRAGMA user_version = 1");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).code, AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no table audit_events"));
    db_run(db, "CREATE TABLE audit_events(a, b); PRAGMA user_version = 0");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not auditwell's"));
    db_run(db, "DROP TABLE audit_events; CREATE TABLE audit_events(event_id TEXT PRIMARY KEY, need TEXT NOT NULL)");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "column need"));
    db_run(db, "DROP TABLE audit_events; CREATE TABLE audit_events(event_id TEXT); INSERT INTO audit_events "
               "VALUES('x'),('x')");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not unique"));
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT count(*) FROM pragma_table_info('audit_events')"),
                           "1"); /* rolled back */
    sqlite3_close(db);
    mh_destroy(m);
    free(path);
}

/* The table as the predecessor has it (FLOOR 6), in SQLite's types. */
static const char version_0[] = "CREATE TABLE audit_events(event_id TEXT PRIMARY KEY, schema_version INTEGER, "
                                "occurred_at TEXT NOT NULL, action TEXT NOT NULL, "
                                "outcome TEXT NOT NULL, actor_id TEXT NOT NULL, actor_type TEXT, actor_display_name "
                                "TEXT, actor_roles TEXT, actor_ip TEXT, "
                                "target_id TEXT, target_type TEXT, tenant_id TEXT, target TEXT, context TEXT, metadata "
                                "TEXT, diff TEXT, integrity TEXT);"
                                "INSERT INTO audit_events(event_id, occurred_at, action, outcome, actor_id) "
                                "VALUES('old-1', '2025-01-01T00:00:00Z', "
                                "'user.login', 'SUCCESS', 'u1');";

static void test_migration(void)
{
    char *path = mh_path("audit.db");
    struct aw_position pos;
    sqlite3 *db = db_open(path);
    db_run(db, version_0);
    sqlite3_close(db);
    struct mh_instance *m = MH("sqlite", "path", path);
    struct mh_rows rows = mh_read(m, NULL, 10); /* reading changes nothing, so it must refuse */
    CU_ASSERT_EQUAL(rows.code, AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no seq and canonical columns"));
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "to schema version 2"));
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "sqlite_duplicates_total"), 20);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT count(*) FROM audit_events"), "21");
    CU_ASSERT_STRING_EQUAL(db_text(path, "SELECT actor_id FROM audit_events WHERE event_id = 'old-1'"), "u1");
    CU_ASSERT_STRING_EQUAL(db_text(path, "PRAGMA user_version"), "2");
    CU_ASSERT_TRUE(db_holds(path, 1, 20));
    mh_clear(m);
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).count, 20);
    CU_ASSERT_TRUE(mh_logged(m, "before auditwell"));
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_FALSE(mh_logged(m, "to schema version")); /* once */
    mh_destroy(m);
    free(path);
}

static void test_full(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = started(path);
    uint8_t status[50];
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    /* max_page_count holds for one connection only, so a quota is played with a trigger-free trick: a tiny database
     * file system is not there, and RLIMIT_FSIZE is tested with the file sink. Here the limit of SQLite itself is used.
     */
    sqlite3 *db = db_open(path);
    db_run(db, "CREATE TRIGGER full BEFORE INSERT ON audit_events WHEN NEW.seq > 20 BEGIN INSERT INTO filler "
               "VALUES(zeroblob(2000000000)); END;"
               "CREATE TABLE filler(x);");
    sqlite3_close(db);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 21, 22, 0, status), AW_OK); /* SQLITE_TOOBIG: the row is at fault */
    CU_ASSERT_EQUAL(status[0], AW_EVENT_REJECTED);
    CU_ASSERT_EQUAL(status[1], AW_EVENT_UNKNOWN);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "too big"));
    mh_destroy(m);
    free(path);
}

static void test_replaced(void)
{
    char *path = mh_path("audit.db"), *away = mh_path("old.db");
    struct mh_instance *m = started(path);
    CU_ASSERT_EQUAL(mh_write(m, 1, 5, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(rename(path, away), 0);
    CU_ASSERT_EQUAL(mh_write(m, 6, 9, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "moved or deleted"));
    CU_ASSERT_TRUE(db_holds(path, 6, 9));
    CU_ASSERT_TRUE(db_holds(away, 1, 5));
    mh_destroy(m);
    free(path);
    free(away);
}

static void test_life(void)
{
    char *path = mh_path("audit.db");
    uint64_t seq;
    struct aw_position pos;
    struct mh_instance *m = MH("sqlite", "path", path);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(access(path, F_OK) < 0);
    for (uint64_t i = 1; i <= 4; i++) {
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_start(m), AW_E_INTERNAL);
        CU_ASSERT_EQUAL(mh_write(m, i, i, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    }
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    mh_destroy(m);
    struct mh_instance *a = started(path), *b = started(path); /* two writers of one database */
    CU_ASSERT_EQUAL(mh_write(a, 5, 5, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(b, 6, 6, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(a, 7, 7, 0, NULL), AW_OK);
    mh_destroy(a);
    mh_destroy(b);
    CU_ASSERT_TRUE(db_holds(path, 1, 7));
    free(path);
}

HARNESS_MAIN("sink_sqlite", {"rows, durable, position, a second life", test_rows}, {"every column", test_columns},
             {"options", test_options}, {"synchronous = normal", test_normal}, {"duplicates", test_duplicates},
             {"one bad row", test_poison}, {"locked by another connection", test_busy}, {"deadline", test_deadline},
             {"databases that are refused", test_broken_databases},
             {"an older table is brought up to date", test_migration}, {"a row too big", test_full},
             {"moved and reopened", test_replaced}, {"orders of life", test_life})
