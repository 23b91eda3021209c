/* sqlite_open.c - the connection: the file, settings of SQLite, prepared statements.
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

/* "event_id,seq,...", or as many question marks. */
static size_t put_columns(char *sql, size_t n, bool marks)
{
    for (size_t i = 0; i < sq_column_count; i++)
        n += (size_t)snprintf(sql + n, SQ_SQL_MAX - n, "%s%s", i ? "," : "", marks ? "?" : sq_columns[i].name);
    return n;
}

static int prepare_one(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
}

static int prepare_staging(struct sqlite_sink *s, sqlite3 *db)
{
    char sql[SQ_SQL_MAX];
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
    char sql[SQ_SQL_MAX];
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
    int rc = sq_run_number(db, "PRAGMA page_size=%lld", s->page_size); /* counts for a new database only */
    if (rc == SQLITE_OK && s->vacuum)
        rc = sq_run(db, "PRAGMA auto_vacuum=INCREMENTAL"); /* likewise */
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
        rc = sq_run(db, s->full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    if (rc == SQLITE_OK)
        rc = sq_run_number(db, "PRAGMA cache_size=-%lld", s->cache_size / 1024);
    if (rc == SQLITE_OK && sq_int(db, "PRAGMA page_size", &page) == SQLITE_ROW && page > 0)
        rc = sq_run_number(db, "PRAGMA wal_autocheckpoint=%lld", s->wal_size / page);
    if (rc == SQLITE_OK)
        rc = sq_run_number(db, "PRAGMA journal_size_limit=%lld", s->wal_size);
    return rc == SQLITE_OK ? AW_OK : sq_fail(s, db, rc, "cannot apply settings");
}

/* SQLite gives a new database 0644; -wal and -shm get the database's mode. So the file is made here. An existing file
 * is not opened: closing it would drop the locks of other connections of this process. */
int32_t sq_create_file(struct sqlite_sink *s)
{
    struct stat st;
    for (int tries = 0; tries < 3; tries++) {
        if (stat(s->path, &st) == 0)
            return S_ISREG(st.st_mode) ? AW_OK
                                       : sq_fail_errno(s, S_ISDIR(st.st_mode) ? EISDIR : ENOTDIR, "is no regular file");
        if (errno != ENOENT)
            return sq_fail_errno(s, errno, "cannot examine");
        int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, s->mode);
        if (fd >= 0) {
            int e = fchmod(fd, s->mode) < 0 ? errno : 0;
            close(fd);
            return e == 0 ? AW_OK : sq_fail_errno(s, e, "cannot set the mode");
        }
        if (errno == ENOENT && tries == 0) {
            char *slash = strrchr(s->path, '/'),
                 *dir = slash > s->path ? strndup(s->path, (size_t)(slash - s->path)) : NULL;
            int e = dir == NULL ? ENOENT : mkdir(dir, 0750) < 0 ? errno : 0;
            free(dir);
            if (e != 0 && e != EEXIST)
                return sq_fail_errno(s, e, "cannot create the directory");
        } else if (errno != EEXIST)
            return sq_fail_errno(s, errno, "cannot create");
    }
    return sq_fail_errno(s, EAGAIN, "cannot create");
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
int32_t sq_sync_names(struct sqlite_sink *s)
{
    char *slash = strrchr(s->path, '/'), *dir = slash == NULL ? strdup(".") : NULL;
    if (slash != NULL)
        dir = slash > s->path ? strndup(s->path, (size_t)(slash - s->path)) : strdup("/");
    if (dir == NULL)
        return sq_fail_errno(s, ENOMEM, "no memory");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
    if (fd >= 0) {
        e = fsync(fd) < 0 && errno != EINVAL ? errno : 0; /* EINVAL: this file system cannot */
        close(fd);
    } else if (errno != EACCES) /* may be used and not read: nobody can sync it */
        e = errno;
    free(dir);
    return e == 0 ? AW_OK : sq_fail_errno(s, e, "cannot sync the directory");
}

int32_t sq_connect(struct sqlite_sink *s, sqlite3 **ret)
{
    *ret = NULL;
    int rc = sqlite3_open_v2(s->path, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return sq_fail(s, *ret, rc, "cannot open");
    sqlite3_extended_result_codes(*ret, 1);
    sqlite3_busy_handler(*ret, on_busy, s);
    return apply_settings(s, *ret);
}

int32_t sq_migrate(struct sqlite_sink *s, const struct sq_migration *m, sqlite3 *db)
{
    int rc = sq_run(db, "BEGIN IMMEDIATE");
    if (rc != SQLITE_OK)
        return sq_fail(s, db, rc, "cannot begin");
    int32_t r = sq_settle_schema(s, m, db);
    if (r == AW_OK && (rc = sq_run(db, "COMMIT")) != SQLITE_OK)
        r = sq_fail(s, db, rc, "cannot commit the schema");
    if (r != AW_OK && !sqlite3_get_autocommit(db))
        sq_run(db, "ROLLBACK");
    return r;
}

int32_t sq_open(struct sqlite_sink *s)
{
    static const struct sq_migration quiet = {NULL, NULL, false};
    struct stat st;
    int32_t r = sq_create_file(s);
    if (r != AW_OK)
        return r;
    r = sq_connect(s, &s->db);
    if (r == AW_OK)
        r = sq_migrate(s, &quiet, s->db);
    if (r == AW_OK)
        r = prepare(s, s->db);
    if (r == AW_OK)
        r = sq_rescue_wal(s);
    if (r == AW_OK)
        r = sq_sync_names(s);
    if (r == AW_OK && stat(s->path, &st) < 0)
        r = sq_fail_errno(s, errno, "cannot examine");
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
