/* sqlite_schema.c - the tables, bringing older ones up to date, and what errors of SQLite mean.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_sink.h"

/* The one list of columns: table, insert statement, bindings and migration are made from it. */
const struct sq_column sq_columns[] = {
    {"event_id", "TEXT NOT NULL", SQ_TEXT, AW_FIELD_EVENT_ID},
    {"seq", "INTEGER NOT NULL", SQ_NUMBER, AW_NUMBER_SEQ},
    {"scope", "TEXT", SQ_TEXT, AW_FIELD_SCOPE},
    {"schema_version", "INTEGER", SQ_NUMBER, AW_NUMBER_SCHEMA_VERSION},
    {"occurred_at", "TEXT NOT NULL", SQ_TEXT, AW_FIELD_OCCURRED_AT},
    {"occurred_ns", "INTEGER", SQ_NUMBER, AW_NUMBER_OCCURRED_NS},
    {"action", "TEXT NOT NULL", SQ_TEXT, AW_FIELD_ACTION},
    {"outcome", "TEXT NOT NULL", SQ_TEXT, AW_FIELD_OUTCOME},
    {"actor_id", "TEXT", SQ_TEXT, AW_FIELD_ACTOR_ID},
    {"actor_type", "TEXT", SQ_TEXT, AW_FIELD_ACTOR_TYPE},
    {"actor_display_name", "TEXT", SQ_TEXT, AW_FIELD_ACTOR_DISPLAY_NAME},
    {"actor_roles", "TEXT", SQ_TEXT, AW_FIELD_ACTOR_ROLES},
    {"actor_ip", "TEXT", SQ_TEXT, AW_FIELD_ACTOR_IP},
    {"actor_user_agent", "TEXT", SQ_TEXT, AW_FIELD_ACTOR_USER_AGENT},
    {"target_id", "TEXT", SQ_TEXT, AW_FIELD_TARGET_ID},
    {"target_type", "TEXT", SQ_TEXT, AW_FIELD_TARGET_TYPE},
    {"target_display_name", "TEXT", SQ_TEXT, AW_FIELD_TARGET_DISPLAY_NAME},
    {"tenant_id", "TEXT", SQ_TEXT, AW_FIELD_TENANT_ID},
    {"org_id", "TEXT", SQ_TEXT, AW_FIELD_ORG_ID},
    {"target", "TEXT", SQ_TEXT, AW_FIELD_TARGET},
    {"context", "TEXT", SQ_TEXT, AW_FIELD_CONTEXT},
    {"metadata", "TEXT", SQ_TEXT, AW_FIELD_METADATA},
    {"diff", "TEXT", SQ_TEXT, AW_FIELD_DIFF},
    {"integrity", "TEXT", SQ_TEXT, AW_FIELD_INTEGRITY},
    {"retention_tag", "TEXT", SQ_TEXT, AW_FIELD_RETENTION_TAG},
    {"metadata_truncated", "INTEGER", SQ_NUMBER, AW_NUMBER_METADATA_TRUNCATED},
    {"diff_truncated", "INTEGER", SQ_NUMBER, AW_NUMBER_DIFF_TRUNCATED},
    {"canonical", "TEXT NOT NULL", SQ_JSON, 0},
};
const size_t sq_column_count = sizeof sq_columns / sizeof sq_columns[0];

/* ---- errors ---- */

int32_t sq_code(int rc)
{
    if (rc == SQLITE_IOERR_NOMEM)
        return AW_E_NOMEM;
    if (rc == SQLITE_READONLY_DBMOVED)
        return AW_E_RETRY;
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return AW_E_RETRY;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
        return AW_E_UNAVAILABLE;
    case SQLITE_NOMEM:
        return AW_E_NOMEM;
    case SQLITE_INTERRUPT:
        return AW_E_TIMEOUT;
    case SQLITE_MISUSE:
    case SQLITE_INTERNAL:
    case SQLITE_RANGE:
        return AW_E_INTERNAL;
    default: /* NOTADB, CORRUPT, READONLY, AUTH, PERM, ERROR (no such table), ... : a person must look */
        return AW_E_CONFIG;
    }
}

int32_t sq_set_health(struct sqlite_sink *s, int32_t code, const char *detail)
{
    int32_t state = code == AW_OK                                                      ? AW_HEALTH_OK
                    : code == AW_E_RETRY || code == AW_E_NOMEM || code == AW_E_TIMEOUT ? AW_HEALTH_DEGRADED
                                                                                       : AW_HEALTH_DOWN;
    uint64_t now = s->host->now_ns();
    pthread_mutex_lock(&s->lock);
    if (s->health.state != state) {
        s->health.state = state;
        s->health.since_ns = now;
    }
    if (code == AW_OK) {
        s->health.last_success_ns = now;
        s->health.detail[0] = '\0';
    } else {
        s->health.last_error = code;
        snprintf(s->health.detail, sizeof s->health.detail, "%s", detail);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

int32_t sq_fail(struct sqlite_sink *s, sqlite3 *db, int rc, const char *what)
{
    char text[128];
    int32_t code = sq_code(rc);
    const char *why = db != NULL && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    snprintf(text, sizeof text, "%s: %s", what, why);
    aw_host_error(s->host, code, "%s: %s: %s (SQLite error %d)", s->path, what, why, rc);
    return sq_set_health(s, code, text);
}

int32_t sq_fail_errno(struct sqlite_sink *s, int errnum, const char *what)
{
    int32_t code = errnum == EACCES || errnum == EPERM || errnum == EISDIR || errnum == ENOTDIR || errnum == ELOOP
                       ? AW_E_CONFIG
                   : errnum == ENOMEM ? AW_E_NOMEM
                                      : AW_E_UNAVAILABLE;
    aw_host_error(s->host, code, "%s: %s: %s", s->path, what, strerror(errnum));
    return sq_set_health(s, code, strerror(errnum));
}

/* ---- small queries ---- */

int sq_int(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    int fin = sqlite3_finalize(st);
    return rc == SQLITE_ROW || fin == SQLITE_OK ? rc : fin;
}

int sq_run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int sq_run_number(sqlite3 *db, const char *format, int64_t value)
{
    char sql[128];
    sqlite3_snprintf(sizeof sql, sql, format, (sqlite3_int64)value);
    return sq_run(db, sql);
}

/* ---- the table ---- */

/* One step of a migration: told, and done unless it is a dry run. */
static int step(const struct sq_migration *m, sqlite3 *db, const char *sql)
{
    if (m->step != NULL)
        m->step(m->arg, sql);
    return m->dry ? SQLITE_OK : sq_run(db, sql);
}

static int create_table(const struct sq_migration *m, sqlite3 *db)
{
    char sql[SQ_SQL_MAX];
    size_t n = 0;
    n += (size_t)snprintf(sql, sizeof sql, "CREATE TABLE " SQ_TABLE "(id INTEGER PRIMARY KEY");
    for (size_t i = 0; i < sq_column_count; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, ", %s %s%s", sq_columns[i].name, sq_columns[i].type,
                              i == 0 ? " UNIQUE" : "");
    snprintf(sql + n, sizeof sql - n, ")");
    return step(m, db, sql);
}

/* SQLITE_ROW or another rc. */
static int has(sqlite3 *db, const char *type, const char *name, bool *ret)
{
    char sql[160];
    int64_t n = 0;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_schema WHERE type = '%s' AND name = '%s'", type, name);
    int rc = sq_int(db, sql, &n);
    *ret = n > 0;
    return rc;
}

/* The same columns behind the token that stages them. An event id may be staged twice: commit tells. */
static int create_staged(const struct sq_migration *m, sqlite3 *db)
{
    char sql[SQ_SQL_MAX];
    size_t n = 0;
    n += (size_t)snprintf(sql, sizeof sql, "CREATE TABLE " SQ_STAGED "(id INTEGER PRIMARY KEY");
    for (size_t i = 0; i < sq_column_count; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, ", %s %s", sq_columns[i].name, sq_columns[i].type);
    snprintf(sql + n, sizeof sql - n, ", token TEXT NOT NULL)");
    return step(m, db, sql);
}

static int create_indexes(const struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db)
{
    static const struct {
        const char *name, *on;
        bool always;
    } indexes[] = {{"audit_events_seq", SQ_TABLE "(seq)", true},
                   {"audit_staged_token", SQ_STAGED "(token)", true},
                   {"audit_events_time", SQ_TABLE "(occurred_ns)", false},
                   {"audit_events_tenant", SQ_TABLE "(tenant_id, occurred_ns)", false},
                   {"audit_events_actor", SQ_TABLE "(actor_id, occurred_ns)", false}};
    bool there = false;
    int rc = has(db, "table", SQ_STAGED, &there);
    if (rc == SQLITE_ROW)
        rc = there ? SQLITE_OK : create_staged(m, db);
    for (size_t i = 0; i < sizeof indexes / sizeof indexes[0] && rc == SQLITE_OK; i++) {
        char sql[128];
        if (!indexes[i].always && !s->indexes)
            continue;
        snprintf(sql, sizeof sql, "CREATE INDEX %s ON %s", indexes[i].name, indexes[i].on);
        rc = has(db, "index", indexes[i].name, &there);
        if (rc == SQLITE_ROW)
            rc = there ? SQLITE_OK : step(m, db, sql);
    }
    return rc;
}

/* An older table gets the columns it lacks. Its rows keep canonical NULL: what was not stored cannot be verified. */
static int32_t add_columns(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db)
{
    char sql[512];
    int64_t n = 0;
    int rc = sq_int(db, "SELECT count(*) FROM pragma_table_info('" SQ_TABLE "') WHERE name = 'event_id'", &n);
    if (rc != SQLITE_ROW)
        return sq_fail(s, db, rc, "cannot read the schema");
    if (n == 0 || sq_run(db, "SELECT rowid FROM " SQ_TABLE " LIMIT 0") != SQLITE_OK) {
        aw_host_error(s->host, AW_E_CONFIG, "%s: holds a table %s that is not auditwell's: name another database",
                      s->path, SQ_TABLE);
        return sq_set_health(s, AW_E_CONFIG, "foreign table");
    }
    for (size_t i = 0; i < sq_column_count; i++) {
        size_t bare = strcspn(sq_columns[i].type, " "); /* NOT NULL cannot be added to rows that exist */
        snprintf(sql, sizeof sql, "SELECT count(*) FROM pragma_table_info('" SQ_TABLE "') WHERE name = '%s'",
                 sq_columns[i].name);
        if ((rc = sq_int(db, sql, &n)) != SQLITE_ROW)
            return sq_fail(s, db, rc, "cannot read the schema");
        snprintf(sql, sizeof sql, "ALTER TABLE " SQ_TABLE " ADD COLUMN %s %.*s", sq_columns[i].name, (int)bare,
                 sq_columns[i].type);
        if (n == 0 && (rc = step(m, db, sql)) != SQLITE_OK)
            return sq_fail(s, db, rc, "cannot add a column");
    }
    return AW_OK;
}

/* A column that must have a value and that we do not know would make every event fail. */
static int32_t refuse_unknown(struct sqlite_sink *s, sqlite3 *db)
{
    sqlite3_stmt *st;
    int32_t r = AW_OK;
    int rc = sqlite3_prepare_v2(
        db, "SELECT name FROM pragma_table_info('" SQ_TABLE "') WHERE \"notnull\" AND dflt_value IS NULL AND pk = 0",
        -1, &st, NULL);
    while (rc == SQLITE_OK && r == AW_OK && sqlite3_step(st) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        bool known = false;
        for (size_t i = 0; i < sq_column_count; i++)
            known = known || (name != NULL && strcmp(name, sq_columns[i].name) == 0);
        if (known)
            continue;
        aw_host_error(s->host, AW_E_CONFIG, "%s: the column %s of table %s is NOT NULL and unknown to auditwell",
                      s->path, name != NULL ? name : "?", SQ_TABLE);
        r = sq_set_health(s, AW_E_CONFIG, "unknown NOT NULL column");
    }
    sqlite3_finalize(st);
    return rc == SQLITE_OK ? r : sq_fail(s, db, rc, "cannot read the schema");
}

static int32_t make_unique(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db)
{
    int64_t n = 0;
    int rc = sq_int(db,
                    "SELECT count(*) FROM pragma_index_list('" SQ_TABLE "') AS l WHERE l.\"unique\" AND NOT l.partial "
                    "AND (SELECT group_concat(name) FROM pragma_index_info(l.name)) = 'event_id'",
                    &n);
    if (rc != SQLITE_ROW)
        return sq_fail(s, db, rc, "cannot read the schema");
    if (n == 0 &&
        (rc = step(m, db, "CREATE UNIQUE INDEX audit_events_event_id ON " SQ_TABLE "(event_id)")) != SQLITE_OK) {
        sq_fail(s, db, rc, "event ids in the old table are not unique");
        return AW_E_CONFIG;
    }
    return AW_OK;
}

static int32_t upgrade(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db)
{
    int32_t r = add_columns(s, m, db);
    if (r == AW_OK)
        r = refuse_unknown(s, db);
    if (r == AW_OK)
        r = make_unique(s, m, db);
    if (r == AW_OK && !m->dry)
        aw_host_log(s->host, AW_LOG_INFO, "%s: brought the table %s to schema version %d", s->path, SQ_TABLE,
                    SQ_SCHEMA_VERSION);
    return r;
}

/* Inside a transaction unless it is a dry run: creates, upgrades or accepts what is there. */
int32_t sq_settle_schema(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db)
{
    int64_t version = 0;
    bool there = false;
    int32_t r = AW_OK;
    int rc = sq_int(db, "PRAGMA user_version", &version);
    if (rc == SQLITE_ROW)
        rc = has(db, "table", SQ_TABLE, &there);
    if (rc != SQLITE_ROW)
        return sq_fail(s, db, rc, "cannot read the schema");
    if (version > SQ_SCHEMA_VERSION || version < 0 || (version != 0 && !there)) {
        aw_host_error(
            s->host, AW_E_CONFIG,
            "%s: has schema version %lld, this auditwell knows up to %d: it was written by a newer auditwell or by "
            "another program; upgrade auditwell or name another database",
            s->path, (long long)version, SQ_SCHEMA_VERSION);
        return sq_set_health(s, AW_E_CONFIG, "unknown schema version");
    }
    rc = there ? SQLITE_OK : create_table(m, db);
    if (there && version < SQ_SCHEMA_VERSION)
        r = upgrade(s, m, db);
    if (r != AW_OK)
        return r;
    if (rc == SQLITE_OK)
        rc = create_indexes(s, m, db);
    if (rc == SQLITE_OK && version < SQ_SCHEMA_VERSION) {
        char sql[40];
        snprintf(sql, sizeof sql, "PRAGMA user_version=%d", SQ_SCHEMA_VERSION);
        rc = step(m, db, sql);
    }
    return rc == SQLITE_OK ? AW_OK : sq_fail(s, db, rc, "cannot create the table");
}
