/* sqlite_schema.c - opening the database, its settings, its table, and bringing an older table up to date.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
#define SQL_MAX 4096

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

static int32_t fail_errno(struct sqlite_sink *s, int errnum, const char *what)
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

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int run_number(sqlite3 *db, const char *format, int64_t value)
{
    char sql[128];
    sqlite3_snprintf(sizeof sql, sql, format, (sqlite3_int64)value);
    return run(db, sql);
}

/* ---- the table ---- */

static int create_table(sqlite3 *db)
{
    char sql[SQL_MAX];
    size_t n = 0;
    n += (size_t)snprintf(sql, sizeof sql, "CREATE TABLE " SQ_TABLE "(id INTEGER PRIMARY KEY");
    for (size_t i = 0; i < sq_column_count; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, ", %s %s%s", sq_columns[i].name, sq_columns[i].type,
                              i == 0 ? " UNIQUE" : "");
    snprintf(sql + n, sizeof sql - n, ")");
    return run(db, sql);
}

/* The same columns behind the token that stages them. An event id may be staged twice: commit tells. */
static int create_staged(sqlite3 *db)
{
    char sql[SQL_MAX];
    size_t n = 0;
    n += (size_t)snprintf(sql, sizeof sql, "CREATE TABLE IF NOT EXISTS " SQ_STAGED "(id INTEGER PRIMARY KEY");
    for (size_t i = 0; i < sq_column_count; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, ", %s %s", sq_columns[i].name, sq_columns[i].type);
    snprintf(sql + n, sizeof sql - n, ", token TEXT NOT NULL)");
    int rc = run(db, sql);
    return rc == SQLITE_OK ? run(db, "CREATE INDEX IF NOT EXISTS audit_staged_token ON " SQ_STAGED "(token)") : rc;
}

/* An older table gets the columns it lacks. Its rows keep canonical NULL: what was not stored cannot be verified. */
static int32_t migrate(struct sqlite_sink *s, sqlite3 *db)
{
    char sql[512];
    int64_t n = 0;
    sqlite3_stmt *st;
    int rc = sq_int(db, "SELECT count(*) FROM pragma_table_info('" SQ_TABLE "') WHERE name = 'event_id'", &n);
    if (rc != SQLITE_ROW)
        return sq_fail(s, db, rc, "cannot read the schema");
    if (n == 0 || run(db, "SELECT rowid FROM " SQ_TABLE " LIMIT 0") != SQLITE_OK) {
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
        if (n == 0 && (rc = run(db, sql)) != SQLITE_OK)
            return sq_fail(s, db, rc, "cannot add a column");
    }
    /* A column that must have a value and that we do not know would make every event fail. */
    rc = sqlite3_prepare_v2(
        db, "SELECT name FROM pragma_table_info('" SQ_TABLE "') WHERE \"notnull\" AND dflt_value IS NULL AND pk = 0",
        -1, &st, NULL);
    while (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        bool known = false;
        for (size_t i = 0; i < sq_column_count; i++)
            known = known || (name != NULL && strcmp(name, sq_columns[i].name) == 0);
        if (!known) {
            aw_host_error(s->host, AW_E_CONFIG, "%s: the column %s of table %s is NOT NULL and unknown to auditwell",
                          s->path, name != NULL ? name : "?", SQ_TABLE);
            sqlite3_finalize(st);
            return sq_set_health(s, AW_E_CONFIG, "unknown NOT NULL column");
        }
    }
    sqlite3_finalize(st);
    if (rc != SQLITE_OK)
        return sq_fail(s, db, rc, "cannot read the schema");
    rc = sq_int(db,
                "SELECT count(*) FROM pragma_index_list('" SQ_TABLE "') AS l WHERE l.\"unique\" AND NOT l.partial AND "
                "(SELECT group_concat(name) FROM pragma_index_info(l.name)) = 'event_id'",
                &n);
    if (rc != SQLITE_ROW)
        return sq_fail(s, db, rc, "cannot read the schema");
    if (n == 0 && (rc = run(db, "CREATE UNIQUE INDEX audit_events_event_id ON " SQ_TABLE "(event_id)")) != SQLITE_OK) {
        sq_fail(s, db, rc, "event ids in the old table are not unique");
        return AW_E_CONFIG;
    }
    aw_host_log(s->host, AW_LOG_INFO, "%s: brought the table %s to schema version %d", s->path, SQ_TABLE,
                SQ_SCHEMA_VERSION);
    return AW_OK;
}

/* Inside a transaction: creates, migrates or accepts what is there. */
static int32_t settle_schema(struct sqlite_sink *s, sqlite3 *db)
{
    int64_t version = 0, tables = 0;
    int32_t r = AW_OK;
    int rc = sq_int(db, "PRAGMA user_version", &version);
    if (rc == SQLITE_ROW)
        rc = sq_int(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '" SQ_TABLE "'", &tables);
    if (rc != SQLITE_ROW)
        return sq_fail(s, db, rc, "cannot read the schema");
    if (version > SQ_SCHEMA_VERSION || version < 0 || (version != 0 && tables == 0)) {
        aw_host_error(
            s->host, AW_E_CONFIG,
            "%s: has schema version %lld, this auditwell knows up to %d: it was written by a newer auditwell or by "
            "another program; upgrade auditwell or name another database",
            s->path, (long long)version, SQ_SCHEMA_VERSION);
        return sq_set_health(s, AW_E_CONFIG, "unknown schema version");
    }
    if (tables == 0)
        rc = create_table(db);
    else {
        rc = SQLITE_OK;
        r = version < SQ_SCHEMA_VERSION ? migrate(s, db) : AW_OK;
    }
    if (r != AW_OK)
        return r;
    if (rc == SQLITE_OK && version < SQ_SCHEMA_VERSION)
        rc = run_number(db, "PRAGMA user_version=%lld", SQ_SCHEMA_VERSION);
    if (rc == SQLITE_OK)
        rc = run(db, "CREATE INDEX IF NOT EXISTS audit_events_seq ON " SQ_TABLE "(seq)");
    if (rc == SQLITE_OK)
        rc = create_staged(db);
    if (rc == SQLITE_OK && s->indexes)
        rc = run(db, "CREATE INDEX IF NOT EXISTS audit_events_time ON " SQ_TABLE "(occurred_ns);"
                     "CREATE INDEX IF NOT EXISTS audit_events_tenant ON " SQ_TABLE "(tenant_id, occurred_ns);"
                     "CREATE INDEX IF NOT EXISTS audit_events_actor ON " SQ_TABLE "(actor_id, occurred_ns)");
    return rc == SQLITE_OK ? AW_OK : sq_fail(s, db, rc, "cannot create the table");
}

/* "event_id,seq,...", or as many question marks. */
static size_t put_columns(char *sql, size_t n, bool marks)
{
    for (size_t i = 0; i < sq_column_count; i++)
        n += (size_t)snprintf(sql + n, SQL_MAX - n, "%s%s", i ? "," : "", marks ? "?" : sq_columns[i].name);
    return n;
}

static int prepare_one(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
}

static int prepare_staging(struct sqlite_sink *s, sqlite3 *db)
{
    char sql[SQL_MAX];
    size_t n = (size_t)snprintf(sql, sizeof sql, "INSERT INTO " SQ_STAGED "(");
    n = put_columns(sql, n, false);
    n += (size_t)snprintf(sql + n, sizeof sql - n, ",token) VALUES(");
    n = put_columns(sql, n, true);
    snprintf(sql + n, sizeof sql - n, ",?)");
    int rc = prepare_one(db, sql, &s->stage);
    if (rc != SQLITE_OK)
        return rc;
    n = (size_t)snprintf(sql, sizeof sql, "INSERT INTO " SQ_TABLE "(");
    n = put_columns(sql, n, false);
    n += (size_t)snprintf(sql + n, sizeof sql - n, ") SELECT ");
    n = put_columns(sql, n, false);
    snprintf(sql + n, sizeof sql - n,
             " FROM " SQ_STAGED " WHERE token = ? ORDER BY id ON CONFLICT(event_id) DO NOTHING");
    rc = prepare_one(db, sql, &s->move);
    return rc == SQLITE_OK ? prepare_one(db, "DELETE FROM " SQ_STAGED " WHERE token = ?", &s->drop) : rc;
}

static int32_t prepare(struct sqlite_sink *s, sqlite3 *db)
{
    char sql[SQL_MAX];
    size_t n = (size_t)snprintf(sql, sizeof sql, "INSERT INTO " SQ_TABLE "(");
    n = put_columns(sql, n, false);
    n += (size_t)snprintf(sql + n, sizeof sql - n, ") VALUES(");
    n = put_columns(sql, n, true);
    snprintf(sql + n, sizeof sql - n, ") ON CONFLICT(event_id) DO NOTHING");
    int rc = prepare_one(db, sql, &s->insert);
    if (rc == SQLITE_OK)
        rc = prepare_one(db, "SELECT canonical IS ?2, seq FROM " SQ_TABLE " WHERE event_id = ?1", &s->find);
    if (rc == SQLITE_OK)
        rc = prepare_staging(s, db);
    return rc == SQLITE_OK ? AW_OK : sq_fail(s, db, rc, "cannot prepare");
}

/* ---- the connection ---- */

/* SQLite waits here for another writer: up to busy_timeout, and not beyond the call's deadline. */
static int on_busy(void *arg, int tries)
{
    struct sqlite_sink *s = arg;
    uint64_t now = s->host->mono_ns();
    if (tries == 0)
        s->busy_began = now;
    if (now - s->busy_began >= s->busy_timeout_ns || (s->deadline_ns != 0 && now >= s->deadline_ns))
        return 0;
    sqlite3_sleep(tries < 10 ? 1 : 10);
    return 1;
}

static int32_t apply_settings(struct sqlite_sink *s, sqlite3 *db)
{
    sqlite3_stmt *st;
    int64_t page = 4096;
    bool wal = false;
    int rc = run_number(db, "PRAGMA page_size=%lld", s->page_size); /* counts for a new database only */
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &st, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        wal = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "wal") == 0;
        int fin = sqlite3_finalize(st);
        rc = fin != SQLITE_OK ? fin : SQLITE_OK;
    }
    if (rc == SQLITE_OK && !wal) {
        aw_host_error(s->host, AW_E_CONFIG, "%s: SQLite cannot use a write-ahead log here (a network file system?)",
                      s->path);
        return sq_set_health(s, AW_E_CONFIG, "no write-ahead log");
    }
    if (rc == SQLITE_OK)
        rc = run(db, s->full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    if (rc == SQLITE_OK)
        rc = run_number(db, "PRAGMA cache_size=-%lld", s->cache_size / 1024);
    if (rc == SQLITE_OK && sq_int(db, "PRAGMA page_size", &page) == SQLITE_ROW && page > 0)
        rc = run_number(db, "PRAGMA wal_autocheckpoint=%lld", s->wal_size / page);
    if (rc == SQLITE_OK)
        rc = run_number(db, "PRAGMA journal_size_limit=%lld", s->wal_size);
    return rc == SQLITE_OK ? AW_OK : sq_fail(s, db, rc, "cannot apply settings");
}

/* SQLite gives a new database 0644; -wal and -shm get the database's mode. So the file is made here. An existing file
 * is not opened: closing it would drop the locks of other connections of this process. */
static int32_t create_file(struct sqlite_sink *s)
{
    struct stat st;
    for (int tries = 0; tries < 3; tries++) {
        if (stat(s->path, &st) == 0)
            return S_ISREG(st.st_mode) ? AW_OK
                                       : fail_errno(s, S_ISDIR(st.st_mode) ? EISDIR : ENOTDIR, "is no regular file");
        if (errno != ENOENT)
            return fail_errno(s, errno, "cannot examine");
        int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, s->mode);
        if (fd >= 0) {
            int e = fchmod(fd, s->mode) < 0 ? errno : 0;
            close(fd);
            return e == 0 ? AW_OK : fail_errno(s, e, "cannot set the mode");
        }
        if (errno == ENOENT && tries == 0) {
            char *slash = strrchr(s->path, '/'),
                 *dir = slash > s->path ? strndup(s->path, (size_t)(slash - s->path)) : NULL;
            int e = dir == NULL ? ENOENT : mkdir(dir, 0750) < 0 ? errno : 0;
            free(dir);
            if (e != 0 && e != EEXIST)
                return fail_errno(s, e, "cannot create the directory");
        } else if (errno != EEXIST)
            return fail_errno(s, errno, "cannot create");
    }
    return fail_errno(s, EAGAIN, "cannot create");
}

int32_t sq_rescue_wal(struct sqlite_sink *s)
{
    if (!s->wal_suspect)
        return AW_OK;
    int log = 0, done = 0, rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_FULL, &log, &done);
    if (rc != SQLITE_OK || done < log)
        return sq_fail(s, s->db, rc == SQLITE_OK ? SQLITE_BUSY : rc, "cannot write the log anew after a failed sync");
    s->wal_suspect = false;
    return AW_OK;
}

/* The names of the database and of its log, whoever made them: SQLite itself goes on when this fails, and a power loss
 * would take away the file together with what is durable in it. */
static int32_t sync_names(struct sqlite_sink *s)
{
    char *slash = strrchr(s->path, '/'), *dir = slash == NULL ? strdup(".") : NULL;
    if (slash != NULL)
        dir = slash > s->path ? strndup(s->path, (size_t)(slash - s->path)) : strdup("/");
    if (dir == NULL)
        return fail_errno(s, ENOMEM, "no memory");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
    if (fd >= 0) {
        e = fsync(fd) < 0 && errno != EINVAL ? errno : 0; /* EINVAL: this file system cannot */
        close(fd);
    } else if (errno != EACCES) /* may be used and not read: nobody can sync it */
        e = errno;
    free(dir);
    return e == 0 ? AW_OK : fail_errno(s, e, "cannot sync the directory");
}

int32_t sq_open(struct sqlite_sink *s)
{
    struct stat st;
    int32_t r = create_file(s);
    if (r != AW_OK)
        return r;
    int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(s->db, 1);
        sqlite3_busy_handler(s->db, on_busy, s);
        r = apply_settings(s, s->db);
        if (r == AW_OK && (rc = run(s->db, "BEGIN IMMEDIATE")) == SQLITE_OK) {
            r = settle_schema(s, s->db);
            if (r == AW_OK && (rc = run(s->db, "COMMIT")) != SQLITE_OK)
                r = sq_fail(s, s->db, rc, "cannot commit the schema");
            if (r != AW_OK && !sqlite3_get_autocommit(s->db))
                run(s->db, "ROLLBACK");
        } else if (r == AW_OK)
            r = sq_fail(s, s->db, rc, "cannot begin");
        if (r == AW_OK)
            r = prepare(s, s->db);
        if (r == AW_OK)
            r = sq_rescue_wal(s);
        if (r == AW_OK)
            r = sync_names(s);
    } else
        r = sq_fail(s, s->db, rc, "cannot open");
    if (r == AW_OK && stat(s->path, &st) < 0)
        r = fail_errno(s, errno, "cannot examine");
    if (r != AW_OK) {
        sq_close(s);
        return r;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return AW_OK;
}

void sq_close(struct sqlite_sink *s)
{
    sqlite3_stmt **const all[] = {&s->insert, &s->find, &s->stage, &s->move, &s->drop};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sqlite3_finalize(*all[i]);
        *all[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
}

int32_t sq_ready(struct sqlite_sink *s)
{
    struct stat st;
    if (s->db != NULL) {
        bool there = stat(s->path, &st) == 0;
        if (there && st.st_dev == s->dev && st.st_ino == s->ino)
            return sq_rescue_wal(s);
        aw_host_log(s->host, AW_LOG_WARNING, "%s: the database was %s; opening it anew", s->path,
                    there ? "replaced" : "moved or deleted");
        sq_close(s);
    }
    return sq_open(s);
}
