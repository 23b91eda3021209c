/* bench_sqlite.c - the bare insert loop. SPDX-License-Identifier: Apache-2.0
 *
 * It takes the schema, the page settings and the rows from a database that the sink made, so that it stays the limit of
 * whatever the sink does: one prepared INSERT OR IGNORE, bound from memory, one transaction a batch.
 */
#include "config.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/plugin.h"
#include "bench.h"

#define MAX_COLUMNS 64

struct cell {
    int type; /* SQLITE_* */
    int len;
    union {
        sqlite3_int64 number;
        double real;
        size_t at; /* into text */
    } u;
};

struct rows {
    char table[128], insert[4096];
    char *schema; /* statements, each ended by ';' */
    int columns;
    int page_size;
    size_t count, room, text_len, text_room;
    struct cell *cells;
    char *text;
};

const char *bench_sqlite_version(void)
{
    return sqlite3_libversion();
}

static void must(int code, sqlite3 *db, const char *what)
{
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        bench_die("SQLite: %s: %s", what, sqlite3_errmsg(db));
}

static void run(sqlite3 *db, const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL), db, sql);
}

static int pragma_int(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s;
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), db, sql);
    int v = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int(s, 0) : 0;
    (void)sqlite3_finalize(s);
    return v;
}

static void *grow(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p)
        bench_die("out of memory");
    return p;
}

/* All statements that make the schema, tables first, and the name of the table with event_id in it. */
static void load_schema(struct rows *r, sqlite3 *db)
{
    static const char sql[] =
        "SELECT sql, type, name FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
        "ORDER BY type <> 'table', rowid";
    sqlite3_stmt *s;
    size_t len = 0;
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), db, sql);
    while (sqlite3_step(s) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(s, 0);
        size_t n = strlen(text);
        r->schema = grow(r->schema, len + n + 2);
        memcpy(r->schema + len, text, n);
        len += n;
        r->schema[len++] = ';';
        r->schema[len] = '\0';
        if (!strcmp((const char *)sqlite3_column_text(s, 1), "table") && strstr(text, "event_id") && !r->table[0])
            (void)snprintf(r->table, sizeof r->table, "%s", (const char *)sqlite3_column_text(s, 2));
    }
    (void)sqlite3_finalize(s);
    if (!r->table[0])
        bench_die("the sink's database has no table with event_id");
}

/* The columns that an INSERT gives values for: all but an INTEGER PRIMARY KEY that is nobody's number but the row's. */
static void load_columns(struct rows *r, sqlite3 *db, char *select, size_t size)
{
    char sql[256];
    sqlite3_stmt *s;
    (void)snprintf(sql, sizeof sql, "PRAGMA table_info(\"%s\")", r->table);
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), db, sql);
    size_t n = 0;
    while (sqlite3_step(s) == SQLITE_ROW && r->columns < MAX_COLUMNS) {
        const char *name = (const char *)sqlite3_column_text(s, 1);
        if (!strcmp(name, "id") || !strcmp(name, "rowid"))
            continue;
        n += (size_t)snprintf(select + n, size - n, "%s\"%s\"", r->columns ? "," : "", name);
        if (n >= size)
            bench_die("too many columns");
        r->columns++;
    }
    (void)sqlite3_finalize(s);
    int k = snprintf(r->insert, sizeof r->insert, "INSERT OR IGNORE INTO \"%s\"(%s) VALUES(", r->table, select);
    for (int i = 0; i < r->columns; i++)
        k += snprintf(r->insert + k, sizeof r->insert - (size_t)k, "%s?", i ? "," : "");
    (void)snprintf(r->insert + k, sizeof r->insert - (size_t)k, ")");
}

static void load_row(struct rows *r, sqlite3_stmt *s)
{
    size_t n = (size_t)r->columns;
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 1024;
        r->cells = grow(r->cells, r->room * n * sizeof *r->cells);
    }
    struct cell *c = r->cells + r->count++ * n;
    for (int i = 0; i < r->columns; i++, c++) {
        *c = (struct cell){.type = sqlite3_column_type(s, i)};
        if (c->type == SQLITE_INTEGER) {
            c->u.number = sqlite3_column_int64(s, i);
        } else if (c->type == SQLITE_FLOAT) {
            c->u.real = sqlite3_column_double(s, i);
        } else if (c->type != SQLITE_NULL) {
            const void *p =
                c->type == SQLITE_TEXT ? (const void *)sqlite3_column_text(s, i) : sqlite3_column_blob(s, i);
            c->len = sqlite3_column_bytes(s, i);
            if (r->text_len + (size_t)c->len > r->text_room) {
                r->text_room = (r->text_room + (size_t)c->len) * 2;
                r->text = grow(r->text, r->text_room);
            }
            if (c->len)
                memcpy(r->text + r->text_len, p, (size_t)c->len);
            c->u.at = r->text_len;
            r->text_len += (size_t)c->len;
        }
    }
}

struct rows *rows_load(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    char columns[2048], sql[2400];
    struct rows *r = calloc(1, sizeof *r);
    if (!r)
        bench_die("out of memory");
    must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), db, path);
    load_schema(r, db);
    load_columns(r, db, columns, sizeof columns);
    r->page_size = pragma_int(db, "PRAGMA page_size");
    (void)snprintf(sql, sizeof sql, "SELECT %s FROM \"%s\" ORDER BY rowid", columns, r->table);
    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), db, sql);
    while (sqlite3_step(s) == SQLITE_ROW)
        load_row(r, s);
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
    return r;
}

size_t rows_count(const struct rows *r)
{
    return r->count;
}

void rows_free(struct rows *r)
{
    free(r->schema);
    free(r->cells);
    free(r->text);
    free(r);
}

static void bind_row(const struct rows *r, sqlite3_stmt *s, size_t row)
{
    const struct cell *c = r->cells + row * (size_t)r->columns;
    for (int i = 1; i <= r->columns; i++, c++) {
        if (c->type == SQLITE_INTEGER)
            (void)sqlite3_bind_int64(s, i, c->u.number);
        else if (c->type == SQLITE_FLOAT)
            (void)sqlite3_bind_double(s, i, c->u.real);
        else if (c->type == SQLITE_TEXT)
            (void)sqlite3_bind_text(s, i, r->text + c->u.at, c->len, SQLITE_STATIC);
        else if (c->type == SQLITE_BLOB)
            (void)sqlite3_bind_blob(s, i, r->text + c->u.at, c->len, SQLITE_STATIC);
        else
            (void)sqlite3_bind_null(s, i);
    }
}

/* A size that is the default of one of the sink's options, in bytes: the bare loop gets the same cache and log. */
static double option_size(const char *key, double otherwise)
{
    const void *found;
    const char *where;
    if (aw_plugins_find("sqlite", &found, &where) != AW_SUCCESS)
        return otherwise;
    const struct aw_plugin *plugin = found;
    for (const struct aw_option *const *o = plugin->sinks[0]->options; o && *o; o++) {
        if (strcmp((*o)->key, key) == 0 && (*o)->deflt) {
            char *unit;
            double v = strtod((*o)->deflt, &unit);
            return v * (*unit == 'K' ? 1024.0 : *unit == 'M' ? 1048576.0 : *unit == 'G' ? 1073741824.0 : 1.0);
        }
    }
    return otherwise;
}

static sqlite3 *limit_open(const struct rows *r, const char *path, const char *synchronous)
{
    sqlite3 *db;
    char sql[256];
    double wal = option_size("wal_size", 4096000), cache = option_size("cache_size", 2048000);
    must(sqlite3_open(path, &db), db, path);
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA page_size=%d; PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; PRAGMA cache_size=-%.0f; "
                   "PRAGMA wal_autocheckpoint=%.0f; PRAGMA journal_size_limit=%.0f",
                   r->page_size, synchronous, cache / 1024, wal / r->page_size, wal);
    run(db, sql);
    run(db, r->schema);
    return db;
}

double limit_sqlite(const struct rows *r, const char *path, size_t batch, const char *synchronous)
{
    sqlite3_stmt *s;
    double t = bench_now(); /* with opening, as the sink is measured */
    sqlite3 *db = limit_open(r, path, synchronous);
    must(sqlite3_prepare_v3(db, r->insert, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL), db, r->insert);
    for (size_t i = 0; i < r->count;) {
        run(db, "BEGIN IMMEDIATE");
        for (size_t end = i + batch < r->count ? i + batch : r->count; i < end; i++) {
            bind_row(r, s, i);
            if (sqlite3_step(s) != SQLITE_DONE)
                bench_die("SQLite: %s", sqlite3_errmsg(db));
            (void)sqlite3_reset(s);
        }
        run(db, "COMMIT");
    }
    (void)sqlite3_finalize(s);
    t = bench_now() - t;
    (void)sqlite3_close(db);
    return t;
}
