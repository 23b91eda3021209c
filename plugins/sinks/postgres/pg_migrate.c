/* pg_migrate.c - making the table, or bringing an older one up to date. SPDX-License-Identifier: Apache-2.0
 *
 * All in one transaction, which PostgreSQL can do for DDL, too: what fails leaves everything as it was. Two migrations
 * at once wait for each other on a lock of their own.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define LOCK_KEY "7020649123604463217" /* any number that nobody else uses */

int32_t pg_step(struct pg_steps *st, const char *sql)
{
    if (st->step != NULL)
        st->step(st->arg, sql);
    return st->dry ? AW_OK : pg_run(st->conn, sql, "cannot migrate");
}

static int32_t step_buf(struct pg_steps *st, struct pg_buf *sql)
{
    pg_put(sql, "", 1);
    int32_t r = sql->failed ? pg_fail(st->conn, AW_E_NOMEM, "out of memory") : pg_step(st, sql->p);
    free(sql->p);
    *sql = (struct pg_buf){0};
    return r;
}

/* One number (or true/false as 1/0, or nothing as -1) about the catalog. */
static int32_t ask_number(struct pg_conn *c, const char *sql, int n, const char *const *values, long *ret)
{
    PGresult *res = NULL;
    int32_t r = pg_ask(c, sql, n, values, &res, "cannot look at the table");
    *ret = -1;
    if (r == AW_OK && PQntuples(res) > 0 && !PQgetisnull(res, 0, 0)) {
        const char *v = PQgetvalue(res, 0, 0);
        *ret = v[0] == 't' ? 1 : v[0] == 'f' ? 0 : strtol(v, NULL, 10);
    }
    PQclear(res);
    return r;
}

static int32_t create_table(struct pg_steps *st, bool partitioned)
{
    const struct pg_settings *set = st->conn->set;
    struct pg_buf sql = {0};
    pg_puts(&sql, "CREATE TABLE ");
    pg_puts(&sql, set->full);
    pg_puts(&sql, " (");
    for (size_t i = 0; i < PG_COLUMNS; i++) {
        pg_puts(&sql, i > 0 ? ", " : "");
        pg_puts(&sql, pg_columns[i].name);
        pg_puts(&sql, " ");
        pg_puts(&sql, pg_columns[i].type);
    }
    pg_puts(&sql, partitioned ? ", PRIMARY KEY (event_id, occurred_at)) PARTITION BY RANGE (occurred_at)"
                              : ", PRIMARY KEY (event_id))");
    return step_buf(st, &sql);
}

/* An older table gets the columns it lacks. Its rows keep canonical NULL: what was not stored cannot be verified. */
static int32_t add_columns(struct pg_steps *st)
{
    const struct pg_settings *set = st->conn->set;
    int32_t r = AW_OK;
    for (size_t i = 0; r == AW_OK && i < PG_COLUMNS; i++) {
        const char *values[] = {set->schema, set->table, pg_columns[i].name};
        long there;
        r = ask_number(st->conn,
                       "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n "
                       "ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 AND NOT "
                       "a.attisdropped",
                       3, values, &there);
        if (r == AW_OK && there == 0 && !pg_columns[i].added)
            r = pg_fail(st->conn, AW_E_CONFIG,
                        "%s: has no column %s, so that it is no table of audit events: name another table", set->place,
                        pg_columns[i].name);
        struct pg_buf sql = {0};
        if (r != AW_OK || there != 0)
            continue;
        pg_puts(&sql, "ALTER TABLE ");
        pg_puts(&sql, set->full);
        pg_puts(&sql, " ADD COLUMN ");
        pg_puts(&sql, pg_columns[i].name);
        pg_puts(&sql, " ");
        pg_puts(&sql, pg_columns[i].type);
        r = step_buf(st, &sql);
    }
    return r;
}

/* suffix: of the index's name; columns: behind it. */
static int32_t add_index(struct pg_steps *st, const char *suffix, const char *columns)
{
    const struct pg_settings *set = st->conn->set;
    char name[PG_NAME_MAX + 1], quoted[PG_QUOTED_MAX], sql[700];
    long there;
    snprintf(name, sizeof name, "%.48s_%s", set->table, suffix);
    const char *values[] = {set->schema, set->table, name};
    int32_t r = ask_number(st->conn,
                           "SELECT count(*) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON "
                           "c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND "
                           "c.relname = $2 AND x.relname = $3",
                           3, values, &there);
    if (r != AW_OK || there > 0)
        return r;
    pg_quote(name, quoted);
    snprintf(sql, sizeof sql, "CREATE %sINDEX %s ON %s (%s)", strcmp(suffix, "event_id") == 0 ? "UNIQUE " : "", quoted,
             set->full, columns);
    return pg_step(st, sql);
}

static int32_t add_indexes(struct pg_steps *st)
{
    int32_t r = add_index(st, "seq", "seq");
    if (r == AW_OK)
        r = add_index(st, "time", "occurred_at");
    if (r == AW_OK && st->conn->set->indexes)
        r = add_index(st, "tenant", "tenant_id, occurred_at");
    if (r == AW_OK && st->conn->set->indexes)
        r = add_index(st, "actor", "actor_id, occurred_at");
    return r;
}

/* Is event_id unique by an index of its own? Old tables may have lost it. */
static int32_t add_key(struct pg_steps *st)
{
    const struct pg_settings *set = st->conn->set;
    const char *values[] = {set->schema, set->table};
    long there;
    int32_t r = ask_number(
        st->conn,
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = "
        "c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'event_id' WHERE n.nspname = $1 AND "
        "c.relname = $2 AND i.indisunique AND i.indpred IS NULL AND i.indimmediate AND i.indisvalid AND "
        "((i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) OR c.relkind = 'p')",
        2, values, &there);
    return r != AW_OK || there > 0 ? r : add_index(st, "event_id", "event_id");
}

static int32_t add_staged(struct pg_steps *st)
{
    const struct pg_settings *set = st->conn->set;
    char name[PG_NAME_MAX + 1], quoted[PG_QUOTED_MAX], sql[1200];
    long there;
    snprintf(name, sizeof name, "%.48s_staged", set->table);
    const char *values[] = {set->schema, name};
    int32_t r = ask_number(st->conn,
                           "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
                           "n.nspname = $1 AND c.relname = $2",
                           2, values, &there);
    if (r != AW_OK || there > 0)
        return r;
    snprintf(sql, sizeof sql, "CREATE TABLE %s (LIKE %s, token text COLLATE \"C\" NOT NULL)", set->staged, set->full);
    r = pg_step(st, sql);
    snprintf(name, sizeof name, "%.40s_staged_token", set->table);
    pg_quote(name, quoted);
    snprintf(sql, sizeof sql, "CREATE INDEX %s ON %s (token)", quoted, set->staged);
    return r == AW_OK ? pg_step(st, sql) : r;
}

/* Rights are granted when the role lacks them, so that "all is up to date" can be said. */
static int32_t grant(struct pg_steps *st, const char *role, bool write)
{
    const struct pg_settings *set = st->conn->set;
    char quoted[PG_QUOTED_MAX], schema[PG_QUOTED_MAX], sql[1200];
    long there = 1, ok = 0;
    const char *values[] = {role, set->full, set->staged, set->schema};
    if (role[0] == '\0')
        return AW_OK;
    int32_t r = ask_number(st->conn, "SELECT count(*) FROM pg_roles WHERE rolname = $1", 1, values, &there);
    if (r == AW_OK && there == 0)
        return pg_fail(st->conn, AW_E_CONFIG, "%s: there is no role \"%s\": CREATE ROLE it first",
                       write ? "grant_write" : "grant_read", role);
    /* In a dry run the tables may not be there yet. */
    if (r == AW_OK)
        r = ask_number(st->conn, "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL", 2, values + 1,
                       &there);
    if (r == AW_OK && there == 1)
        r = ask_number(
            st->conn,
            write ? "SELECT has_table_privilege($1, $2, 'INSERT') AND has_column_privilege($1, $2, 'event_id', "
                    "'SELECT') AND has_column_privilege($1, $2, 'occurred_at', 'SELECT') AND has_table_privilege($1, "
                    "$3, 'INSERT') AND has_table_privilege($1, $3, 'SELECT') AND has_table_privilege($1, $3, "
                    "'DELETE') AND has_schema_privilege($1, $4, 'USAGE')"
                  : "SELECT has_table_privilege($1, $2, 'SELECT') AND has_schema_privilege($1, $4, 'USAGE') AND $3 <> "
                    "''",
            4, values, &ok);
    if (r != AW_OK || ok == 1)
        return r;
    pg_quote(role, quoted);
    pg_quote(set->schema, schema);
    snprintf(sql, sizeof sql, "GRANT USAGE ON SCHEMA %s TO %s", schema, quoted);
    r = pg_step(st, sql);
    snprintf(sql, sizeof sql,
             write ? "GRANT INSERT, SELECT (event_id, occurred_at) ON %s TO %s" : "GRANT SELECT ON %s TO %s", set->full,
             quoted);
    if (r == AW_OK)
        r = pg_step(st, sql);
    snprintf(sql, sizeof sql, "GRANT INSERT, SELECT, DELETE ON %s TO %s", set->staged, quoted);
    return r == AW_OK && write ? pg_step(st, sql) : r;
}

static int32_t add_schema(struct pg_steps *st)
{
    const struct pg_settings *set = st->conn->set;
    char quoted[PG_QUOTED_MAX], sql[200];
    const char *values[] = {set->schema};
    long there;
    int32_t r = ask_number(st->conn, "SELECT count(*) FROM pg_namespace WHERE nspname = $1", 1, values, &there);
    if (r != AW_OK || there > 0)
        return r;
    pg_quote(set->schema, quoted);
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", quoted);
    return pg_step(st, sql);
}

static int32_t add_comment(struct pg_steps *st, int version)
{
    char sql[500];
    if (version == PG_SCHEMA_VERSION)
        return AW_OK;
    snprintf(sql, sizeof sql, "COMMENT ON TABLE %s IS '" PG_COMMENT "%d'", st->conn->set->full, PG_SCHEMA_VERSION);
    return pg_step(st, sql);
}

/* What the table is now. *ret_kind: 'r', 'p', or 0 if there is none. */
static int32_t look(struct pg_conn *c, char *ret_kind, int *ret_version)
{
    const char *values[] = {c->set->schema, c->set->table};
    PGresult *res = NULL;
    *ret_kind = 0;
    *ret_version = 0;
    int32_t r = pg_ask(c,
                       "SELECT c.relkind, coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c JOIN "
                       "pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                       2, values, &res, "cannot look at the table");
    if (r == AW_OK && PQntuples(res) > 0) {
        *ret_kind = PQgetvalue(res, 0, 0)[0];
        if (strncmp(PQgetvalue(res, 0, 1), PG_COMMENT, sizeof PG_COMMENT - 1) == 0)
            *ret_version = (int)strtol(PQgetvalue(res, 0, 1) + sizeof PG_COMMENT - 1, NULL, 10);
    }
    PQclear(res);
    return r;
}

static int32_t check_kind(struct pg_conn *c, char kind, int version)
{
    const char *place = c->set->place;
    if (version > PG_SCHEMA_VERSION)
        return pg_fail(c, AW_E_CONFIG, "%s: has schema version %d, this auditwell knows up to %d: upgrade auditwell",
                       place, version, PG_SCHEMA_VERSION);
    if (kind != 0 && kind != 'r' && kind != 'p')
        return pg_fail(c, AW_E_CONFIG, "%s: is no table: name another table", place);
    if (kind == 'r' && c->set->partition == PG_PARTITION_MONTHLY)
        return pg_fail(c, AW_E_CONFIG,
                       "%s: is there and has no partitions, and partition = \"monthly\" is for a new table: name "
                       "another table, or set partition = \"none\"",
                       place);
    if (kind == 'p' && c->set->partition == PG_PARTITION_NONE)
        return pg_fail(c, AW_E_CONFIG, "%s: is partitioned: set partition = \"monthly\"", place);
    return AW_OK;
}

static int32_t run_steps(struct pg_steps *st)
{
    struct pg_conn *c = st->conn;
    struct pg_table table;
    char kind;
    int version;
    int32_t r = look(c, &kind, &version);
    if (r == AW_OK)
        r = check_kind(c, kind, version);
    if (r == AW_OK)
        r = add_schema(st);
    if (r == AW_OK)
        r = kind == 0 ? create_table(st, c->set->partition == PG_PARTITION_MONTHLY) : add_columns(st);
    if (r == AW_OK && kind == 'r')
        r = add_key(st);
    if (r == AW_OK)
        r = add_indexes(st);
    if (r == AW_OK && c->set->partition == PG_PARTITION_MONTHLY)
        r = pg_migrate_partitions(st, kind != 0);
    if (r == AW_OK)
        r = add_staged(st);
    if (r == AW_OK)
        r = add_comment(st, version);
    if (r == AW_OK)
        r = grant(st, c->set->grant_write, true);
    if (r == AW_OK)
        r = grant(st, c->set->grant_read, false);
    /* Types that only the operator can change are said now, and not at the next start. */
    if (r == AW_OK && (kind != 0 || !st->dry))
        r = st->dry && version < PG_SCHEMA_VERSION ? AW_OK : pg_check_table(c, false, &table);
    return r;
}

static int32_t migrate(void *sink, uint32_t flags, void (*step)(void *arg, const char *text), void *arg)
{
    const struct pg_sink *s = sink;
    struct pg_conn c;
    struct pg_steps st = {&c, (flags & AW_MIGRATE_DRY_RUN) != 0, step, arg};
    pg_conn_init(&c, s->host, &s->set);
    int32_t r = pg_connect(&c, PG_ADMIN);
    if (r == AW_OK)
        r = pg_run(&c, "BEGIN; SELECT pg_advisory_xact_lock(" LOCK_KEY ")", "cannot migrate");
    if (r == AW_OK)
        r = run_steps(&st);
    if (r == AW_OK)
        r = pg_run(&c, st.dry ? "ROLLBACK" : "COMMIT", "cannot migrate");
    pg_close(&c);
    return r == AW_E_REJECTED ? AW_E_CONFIG : r; /* rows that a new key or constraint will not have */
}

const struct aw_sink_migrate pg_migrate = {sizeof pg_migrate, 0, migrate};
