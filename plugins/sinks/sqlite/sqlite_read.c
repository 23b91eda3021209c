/* sqlite_read.c - the query extension: rows of audit_events by seq, through a read-only connection of their own.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The filters become SQL; the host checks every row again, so a filter may let too much through, never too little. The
 * statement is begun anew behind the last row after a while, so that a long read does not keep the writer's log from
 * being emptied. A cursor is "s1.SEQ.ROWID".
 */
#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_sink.h"

#define PAGE_ROWS 512u
#define PAGE_BYTES (4u << 20)
#define TEXT_MAX 400u /* location and cursor of one row */
#define SNAPSHOT_NS 3000000000u
#define FILTERS 8

struct reader {
    const struct aw_host *host;
    const struct sqlite_sink *sink;
    const char *base; /* file name without directory */
    sqlite3 *db;
    sqlite3_stmt *stmt;
    bool descending, busy; /* busy: the statement is between rows */
    int64_t seq, row;      /* of the last row */
    uint64_t began_ns;
    char *texts[FILTERS]; /* bound values */
    size_t lens[FILTERS];
    int64_t since, until;
    char *arena;
    size_t arena_cap;
};

static void reader_close(void *read)
{
    struct reader *r = read;
    if (r == NULL)
        return;
    sqlite3_finalize(r->stmt);
    sqlite3_close(r->db);
    for (size_t i = 0; i < FILTERS; i++)
        free(r->texts[i]);
    free(r->arena);
    free(r);
}

static int32_t fail(struct reader *r, int rc, const char *what)
{
    return aw_host_error(r->host, sq_code(rc), "%s: %s: %s", r->sink->path, what,
                         r->db != NULL ? sqlite3_errmsg(r->db) : sqlite3_errstr(rc));
}

/* "file:PATH?mode=ro" with what has a meaning in URIs escaped. malloc'd. */
static char *uri(const char *path, const char *more)
{
    size_t cap = strlen(path) * 3 + strlen(more) + 16, n = 5;
    char *out = malloc(cap);
    if (out == NULL)
        return NULL;
    memcpy(out, "file:", n);
    for (; *path != '\0'; path++) {
        if (*path == '?' || *path == '#' || *path == '%')
            n += (size_t)snprintf(out + n, cap - n, "%%%02x", (unsigned)(unsigned char)*path);
        else
            out[n++] = *path;
    }
    snprintf(out + n, cap - n, "?mode=ro%s", more);
    return out;
}

static int open_uri(const struct sqlite_sink *s, const char *more, sqlite3 **ret)
{
    int64_t ignored;
    char *name = uri(s->path, more);
    if (name == NULL)
        return SQLITE_NOMEM;
    sqlite3_close(*ret);
    *ret = NULL;
    int rc = sqlite3_open_v2(name, ret, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    free(name);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(*ret, 1);
        sqlite3_busy_timeout(*ret, (int)(s->busy_timeout_ns / 1000000u));
        rc = sq_int(*ret, "SELECT count(*) FROM sqlite_schema", &ignored);
    }
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int sq_open_readonly(const struct sqlite_sink *s, sqlite3 **ret)
{
    char wal[PATH_MAX + 8];
    struct stat st;
    *ret = NULL;
    int rc = open_uri(s, "", ret);
    snprintf(wal, sizeof wal, "%s-wal", s->path);
    /* A directory that cannot be written has no place for the shared index; without a log nobody needs one. */
    if (((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY) && (stat(wal, &st) < 0 || st.st_size == 0))
        rc = open_uri(s, "&immutable=1", ret);
    return rc;
}

static int32_t check_table(struct reader *r)
{
    int64_t version = 0, columns = 0, old = 0;
    const char *path = r->sink->path;
    int rc = sq_int(r->db, "PRAGMA user_version", &version);
    if (rc == SQLITE_ROW)
        rc = sq_int(r->db, "SELECT count(*) FROM pragma_table_info('" SQ_TABLE "')", &columns);
    if (rc != SQLITE_ROW)
        return fail(r, rc, "cannot read the schema");
    if (version > SQ_SCHEMA_VERSION)
        return aw_host_error(r->host, AW_E_CONFIG,
                             "%s: has schema version %lld, this auditwell knows up to %d: upgrade auditwell", path,
                             (long long)version, SQ_SCHEMA_VERSION);
    if (columns == 0)
        return aw_host_error(r->host, AW_E_CONFIG, "%s: has no table %s: it is no audit trail", path, SQ_TABLE);
    rc = sq_int(r->db, "SELECT count(*) FROM pragma_table_info('" SQ_TABLE "') WHERE name IN ('seq','canonical')",
                &columns);
    if (rc != SQLITE_ROW)
        return fail(r, rc, "cannot read the schema");
    if (columns != 2)
        return aw_host_error(
            r->host, AW_E_CONFIG,
            "%s: the table %s has no seq and canonical columns: auditwell did not write it, and what was not "
            "stored as it was sealed cannot be verified (the sqlite sink, or auditwell migrate, adds the columns)",
            path, SQ_TABLE);
    rc = sq_int(r->db, "SELECT EXISTS(SELECT 1 FROM " SQ_TABLE " WHERE seq IS NULL)", &old);
    if (rc == SQLITE_ROW && old != 0)
        aw_host_log(r->host, AW_LOG_WARNING, "%s: rows from before auditwell have no stored bytes and are left out",
                    path);
    return AW_OK;
}

static int32_t open_database(struct reader *r)
{
    struct stat st;
    const char *path = r->sink->path;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return aw_host_error(r->host, AW_E_NOTFOUND, "%s: there is no such database", path);
    int rc = sq_open_readonly(r->sink, &r->db);
    return rc == SQLITE_OK ? check_table(r) : fail(r, rc, "cannot read");
}

/* ---- the statement ---- */

static int keep(struct reader *r, int at, struct aw_str value)
{
    if (value.len == 0)
        return 0;
    r->texts[at] = malloc(value.len);
    if (r->texts[at] == NULL)
        return -1;
    memcpy(r->texts[at], value.ptr, value.len);
    r->lens[at] = value.len;
    return 0;
}

/* The host's glob knows * and ?; SQLite's also [...], and its ? counts characters where the host may count bytes. */
static int keep_glob(struct reader *r, int at, struct aw_str glob)
{
    char *out = malloc(glob.len * 3 + 1);
    size_t n = 0;
    if (out == NULL)
        return -1;
    for (size_t i = 0; i < glob.len; i++) {
        if (glob.ptr[i] == '[') {
            memcpy(out + n, "[[]", 3);
            n += 3;
        } else
            out[n++] = glob.ptr[i] == '?' ? '*' : glob.ptr[i];
    }
    r->texts[at] = out;
    r->lens[at] = n;
    return 0;
}

static int prepare(struct reader *r)
{
    static const char *const clause[FILTERS] = {" AND actor_id = ?3",
                                                " AND target_id = ?4",
                                                " AND tenant_id = ?5",
                                                " AND outcome = ?6",
                                                " AND action GLOB ?7",
                                                " AND instr(canonical, ?8) > 0",
                                                NULL,
                                                NULL};
    char sql[1024];
    int n = snprintf(sql, sizeof sql,
                     "SELECT seq, rowid, canonical FROM " SQ_TABLE
                     " WHERE canonical IS NOT NULL AND (seq, rowid) %c (?1, ?2)",
                     r->descending ? '<' : '>');
    for (int i = 0; i < FILTERS; i++)
        if (clause[i] != NULL && r->texts[i] != NULL)
            n += snprintf(sql + n, sizeof sql - (size_t)n, "%s", clause[i]);
    if (r->since != INT64_MIN)
        n += snprintf(sql + n, sizeof sql - (size_t)n, " AND occurred_ns >= ?9");
    if (r->until != INT64_MAX)
        n += snprintf(sql + n, sizeof sql - (size_t)n, " AND occurred_ns < ?10");
    snprintf(sql + n, sizeof sql - (size_t)n,
             r->descending ? " ORDER BY seq DESC, rowid DESC" : " ORDER BY seq, rowid");
    int rc = sqlite3_prepare_v3(r->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &r->stmt, NULL);
    for (int i = 0; rc == SQLITE_OK && i < FILTERS; i++)
        if (r->texts[i] != NULL)
            rc = sqlite3_bind_text64(r->stmt, i + 3, r->texts[i], r->lens[i], SQLITE_STATIC, SQLITE_UTF8);
    if (rc == SQLITE_OK && r->since != INT64_MIN)
        rc = sqlite3_bind_int64(r->stmt, 9, r->since);
    if (rc == SQLITE_OK && r->until != INT64_MAX)
        rc = sqlite3_bind_int64(r->stmt, 10, r->until);
    return rc;
}

static int32_t reader_open(void *sink, const struct aw_query *query, void **ret_read)
{
    const struct sqlite_sink *s = sink;
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return AW_E_NOMEM;
    r->host = s->host;
    r->sink = s;
    r->base = strrchr(s->path, '/') != NULL ? strrchr(s->path, '/') + 1 : s->path;
    r->descending = (query->flags & AW_QUERY_DESCENDING) != 0;
    r->seq = r->row = r->descending ? INT64_MAX : INT64_MIN;
    r->since = query->since_ns;
    r->until = query->until_ns;
    int32_t code = AW_OK;
    if (query->after.len > 0) {
        char text[64];
        int end = 0;
        size_t n = query->after.len < sizeof text ? query->after.len : 0;
        memcpy(text, query->after.ptr, n);
        text[n] = '\0';
        if (sscanf(text, "s1.%" SCNd64 ".%" SCNd64 "%n", &r->seq, &r->row, &end) != 2 || (size_t)end != n)
            code = aw_host_error(r->host, AW_E_CONFIG, "\"%.*s\" is not a cursor of this sink", (int)n, text);
    }
    if (code == AW_OK && (keep(r, 0, query->actor_id) < 0 || keep(r, 1, query->target_id) < 0 ||
                          keep(r, 2, query->tenant_id) < 0 || keep(r, 3, query->outcome) < 0 ||
                          (query->action.len > 0 && keep_glob(r, 4, query->action) < 0) || keep(r, 5, query->text) < 0))
        code = AW_E_NOMEM;
    if (code == AW_OK)
        code = open_database(r);
    if (code == AW_OK) {
        int rc = prepare(r);
        code = rc == SQLITE_OK ? AW_OK : fail(r, rc, "cannot query");
    }
    if (code != AW_OK) {
        reader_close(r);
        return code;
    }
    *ret_read = r;
    return AW_OK;
}

/* ---- rows ---- */

static int reserve(struct reader *r, size_t need)
{
    if (need <= r->arena_cap)
        return 0;
    size_t cap = r->arena_cap == 0 ? 256u << 10 : r->arena_cap;
    while (cap < need)
        cap *= 2;
    char *more = realloc(r->arena, cap);
    if (more == NULL)
        return -1;
    r->arena = more;
    r->arena_cap = cap;
    return 0;
}

/* Copies the statement's row to the arena at *used: JSON, location, cursor. Pointers are offsets until the page is
 * whole. */
static int copy_row(struct reader *r, size_t *used, struct aw_row *row)
{
    const char *json = (const char *)sqlite3_column_text(r->stmt, 2);
    size_t n = (size_t)sqlite3_column_bytes(r->stmt, 2), at = *used;
    if (json == NULL && n > 0)
        return SQLITE_NOMEM;
    if (reserve(r, at + n + TEXT_MAX) < 0)
        return SQLITE_NOMEM;
    r->seq = sqlite3_column_int64(r->stmt, 0);
    r->row = sqlite3_column_int64(r->stmt, 1);
    row->seq = (uint64_t)r->seq;
    if (n > 0)
        memcpy(r->arena + at, json, n);
    row->json.len = n;
    at += n;
    row->location.len = (size_t)snprintf(r->arena + at, TEXT_MAX - 64, "%s: seq %" PRId64, r->base, r->seq);
    at += row->location.len;
    row->cursor.len = (size_t)snprintf(r->arena + at, 64, "s1.%" PRId64 ".%" PRId64, r->seq, r->row);
    *used = at + row->cursor.len;
    return SQLITE_OK;
}

static int begin(struct reader *r)
{
    if (r->busy && r->host->mono_ns() - r->began_ns < SNAPSHOT_NS)
        return SQLITE_OK;
    sqlite3_reset(r->stmt);
    int rc = sqlite3_bind_int64(r->stmt, 1, r->seq);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(r->stmt, 2, r->row);
    r->began_ns = r->host->mono_ns();
    r->busy = rc == SQLITE_OK;
    return rc;
}

static int32_t reader_next(void *read, struct aw_row *ret_rows, size_t max, size_t *ret_count)
{
    struct reader *r = read;
    size_t count = 0, used = 0;
    int rc = begin(r);
    max = max < PAGE_ROWS ? max : PAGE_ROWS;
    while (rc == SQLITE_OK && count < max && used < PAGE_BYTES) {
        rc = sqlite3_step(r->stmt);
        if (rc != SQLITE_ROW)
            break;
        rc = copy_row(r, &used, &ret_rows[count]);
        count += rc == SQLITE_OK;
    }
    if (rc != SQLITE_OK) { /* the end, or an error: either way nothing is held open */
        sqlite3_reset(r->stmt);
        r->busy = false;
    }
    if (rc != SQLITE_OK && rc != SQLITE_DONE && count == 0)
        return rc == SQLITE_NOMEM ? aw_host_error(r->host, AW_E_NOMEM, "out of memory") : fail(r, rc, "cannot read");
    for (size_t i = 0, at = 0; i < count; i++) {
        ret_rows[i].json.ptr = r->arena + at;
        at += ret_rows[i].json.len;
        ret_rows[i].location.ptr = r->arena + at;
        at += ret_rows[i].location.len;
        ret_rows[i].cursor.ptr = r->arena + at;
        at += ret_rows[i].cursor.len;
    }
    *ret_count = count;
    return AW_OK;
}

const struct aw_sink_query sq_query = {sizeof sq_query, 0, reader_open, reader_next, reader_close};
