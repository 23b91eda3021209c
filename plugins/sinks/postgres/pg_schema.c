/* pg_schema.c - is the table there, does it fit, may it be written? SPDX-License-Identifier: Apache-2.0
 *
 * Only catalogs are read, which any role may. Rows go in in binary form, so that types must be exactly right: a column
 * that somebody changed must stop the sink, and not look like an event's fault.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define OID_VARCHAR 1043
#define VALUE(res, row, column) PQgetvalue(res, row, column)

static bool is_true(const PGresult *res, int row, int column)
{
    return VALUE(res, row, column)[0] == 't';
}

static int32_t check_relation(struct pg_conn *c, const PGresult *res, bool for_writing, struct pg_table *ret)
{
    const char *place = c->set->place, kind = VALUE(res, 0, 0)[0];
    const char *comment = VALUE(res, 0, 2);
    ret->partitioned = kind == 'p';
    ret->row_security = is_true(res, 0, 3);
    ret->version = 0;
    if (strncmp(comment, PG_COMMENT, sizeof PG_COMMENT - 1) == 0)
        ret->version = (int)strtol(comment + sizeof PG_COMMENT - 1, NULL, 10);
    if (kind != 'r' && kind != 'p')
        return pg_fail(c, AW_E_CONFIG, "%s: is no table (a view, or of a foreign server): name another table", place);
    if (VALUE(res, 0, 1)[0] != 'p')
        return pg_fail(c, AW_E_CONFIG, "%s: is unlogged, so that a crash empties it: ALTER TABLE %s SET LOGGED", place,
                       c->set->full);
    if (ret->version > PG_SCHEMA_VERSION)
        return pg_fail(c, AW_E_CONFIG,
                       "%s: has schema version %d, this auditwell knows up to %d: upgrade auditwell or name another "
                       "table",
                       place, ret->version, PG_SCHEMA_VERSION);
    if (for_writing && !is_true(res, 0, 4))
        return pg_fail(c, AW_E_CONFIG, "%s: role %s has no USAGE on the schema: GRANT USAGE ON SCHEMA to it", place,
                       PQuser(c->pg));
    return AW_OK;
}

static int find_column(const PGresult *res, const char *name)
{
    for (int i = 0; i < PQntuples(res); i++)
        if (strcmp(VALUE(res, i, 0), name) == 0)
            return i;
    return -1;
}

/* Columns: name, type, its modifier, its name, NOT NULL without a default, may insert, may select, generated. */
static int32_t check_columns(struct pg_conn *c, const PGresult *res, bool for_writing, const struct pg_table *table)
{
    const char *place = c->set->place;
    for (size_t i = 0; i < PG_COLUMNS; i++) {
        const struct pg_column *want = &pg_columns[i];
        int row = find_column(res, want->name);
        bool key = i == 0 || (table->partitioned && want->source == PG_TIME);
        if (row < 0)
            return pg_fail(c, AW_E_CONFIG, "%s: has no column %s: run `auditwell migrate`", place, want->name);
        Oid type = (Oid)strtoul(VALUE(res, row, 1), NULL, 10);
        bool fits = type == want->oid || (want->oid == 25 && type == OID_VARCHAR && VALUE(res, row, 2)[0] == '-');
        if (!fits)
            return pg_fail(c, AW_E_CONFIG,
                           "%s: column %s has type %s, and %.*s is needed: ALTER TABLE %s ALTER COLUMN %s TYPE %.*s",
                           place, want->name, VALUE(res, row, 3), (int)strcspn(want->type, " "), want->type,
                           c->set->full, want->name, (int)strcspn(want->type, " "), want->type);
        if (is_true(res, row, 7))
            return pg_fail(c, AW_E_CONFIG, "%s: column %s is generated and cannot be stored", place, want->name);
        if (for_writing && (!is_true(res, row, 5) || (key && !is_true(res, row, 6))))
            return pg_fail(c, AW_E_CONFIG, "%s: role %s may not %s: GRANT INSERT, SELECT (event_id%s) ON %s to it",
                           place, PQuser(c->pg),
                           is_true(res, row, 5) ? "read the key, which ON CONFLICT needs" : "insert",
                           table->partitioned ? ", occurred_at" : "", c->set->full);
    }
    for (int row = 0; for_writing && row < PQntuples(res); row++) {
        bool ours = false;
        for (size_t i = 0; i < PG_COLUMNS; i++)
            ours = ours || strcmp(pg_columns[i].name, VALUE(res, row, 0)) == 0;
        if (!ours && is_true(res, row, 4))
            return pg_fail(c, AW_E_CONFIG, "%s: the column %s is NOT NULL and unknown to auditwell: give it a default",
                           place, VALUE(res, row, 0));
    }
    return AW_OK;
}

static int32_t check_key(struct pg_conn *c, const char *oid, bool partitioned)
{
    static const char sql[] =
        "SELECT string_agg(a.attname, ',' ORDER BY a.attname) = $2 FROM pg_catalog.pg_index i, "
        "pg_catalog.pg_attribute a WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indisvalid AND "
        "i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND a.attrelid = i.indrelid AND a.attnum = ANY "
        "((string_to_array(i.indkey::text, ' ')::int2[])[1:i.indnkeyatts]) GROUP BY i.indexrelid";
    const char *values[] = {oid, partitioned ? "event_id,occurred_at" : "event_id"};
    PGresult *res = NULL;
    bool found = false;
    int32_t r = pg_ask(c, sql, 2, values, &res, "cannot look at the table");
    for (int i = 0; r == AW_OK && i < PQntuples(res); i++)
        found = found || is_true(res, i, 0);
    PQclear(res);
    if (r == AW_OK && !found)
        r = pg_fail(c, AW_E_CONFIG,
                    "%s: nothing keeps %s unique, so that events could be stored twice: run `auditwell migrate`",
                    c->set->place, values[1]);
    return r;
}

static int32_t ask_relation(struct pg_conn *c, const char *name, PGresult **ret)
{
    static const char sql[] =
        "SELECT c.relkind, c.relpersistence, pg_catalog.obj_description(c.oid, 'pg_class'), "
        "pg_catalog.row_security_active(c.oid), pg_catalog.has_schema_privilege(n.oid, 'USAGE'), c.oid "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2";
    const char *values[] = {c->set->schema, name};
    int32_t r = pg_ask(c, sql, 2, values, ret, "cannot look at the table");
    if (r != AW_OK || PQntuples(*ret) == 1)
        return r;
    PQclear(*ret);
    *ret = NULL;
    return pg_fail(c, AW_E_CONFIG, "%s.%s: there is no such table in database %s: run `auditwell migrate`",
                   c->set->schema, name, PQdb(c->pg));
}

static int32_t ask_columns(struct pg_conn *c, const char *oid, PGresult **ret)
{
    static const char sql[] =
        "SELECT attname, atttypid, atttypmod, pg_catalog.format_type(atttypid, atttypmod), "
        "attnotnull AND NOT atthasdef AND attidentity = '', pg_catalog.has_column_privilege(attrelid, attnum, "
        "'INSERT'), pg_catalog.has_column_privilege(attrelid, attnum, 'SELECT'), attgenerated <> '' "
        "FROM pg_catalog.pg_attribute WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND NOT attisdropped";
    return pg_ask(c, sql, 1, &oid, ret, "cannot look at the table");
}

int32_t pg_check_table(struct pg_conn *c, bool for_writing, struct pg_table *ret)
{
    PGresult *relation = NULL, *columns = NULL;
    int32_t r = ask_relation(c, c->set->table, &relation);
    if (r == AW_OK)
        r = check_relation(c, relation, for_writing, ret);
    if (r == AW_OK)
        r = ask_columns(c, VALUE(relation, 0, 5), &columns);
    if (r == AW_OK)
        r = check_columns(c, columns, for_writing, ret);
    if (r == AW_OK && for_writing)
        r = check_key(c, VALUE(relation, 0, 5), ret->partitioned);
    PQclear(relation);
    PQclear(columns);
    return r;
}

/* The table of staged events: the same columns, and a token. Taking out what was staged needs more than INSERT. */
int32_t pg_check_staged(struct pg_conn *c)
{
    char name[PG_NAME_MAX + 1];
    PGresult *relation = NULL, *columns = NULL, *rights = NULL;
    struct pg_table table;
    snprintf(name, sizeof name, "%.48s_staged", c->set->table);
    int32_t r = ask_relation(c, name, &relation);
    if (r == AW_OK)
        r = check_relation(c, relation, true, &table);
    if (r == AW_OK)
        r = ask_columns(c, VALUE(relation, 0, 5), &columns);
    for (size_t i = 0; r == AW_OK && i <= PG_COLUMNS; i++) {
        const char *want = i < PG_COLUMNS ? pg_columns[i].name : "token";
        int row = find_column(columns, want);
        if (row < 0 || (Oid)strtoul(VALUE(columns, row, 1), NULL, 10) != (i < PG_COLUMNS ? pg_columns[i].oid : 25))
            r = pg_fail(c, AW_E_CONFIG, "%s: has no column %s of the right type: run `auditwell migrate`",
                        c->set->staged, want);
    }
    const char *oid = r == AW_OK ? VALUE(relation, 0, 5) : NULL;
    if (r == AW_OK)
        r = pg_ask(c,
                   "SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, 'INSERT') AND "
                   "pg_catalog.has_table_privilege($1::pg_catalog.oid, 'SELECT') AND "
                   "pg_catalog.has_table_privilege($1::pg_catalog.oid, 'DELETE')",
                   1, &oid, &rights, "cannot look at the table");
    if (r == AW_OK && !is_true(rights, 0, 0))
        r = pg_fail(c, AW_E_CONFIG, "%s: role %s may not stage events: GRANT INSERT, SELECT, DELETE ON %s to it",
                    c->set->place, PQuser(c->pg), c->set->staged);
    PQclear(relation);
    PQclear(columns);
    PQclear(rights);
    return r;
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    const struct pg_sink *s = sink;
    struct pg_conn c;
    struct pg_table table;
    PGresult *res = NULL;
    pg_conn_init(&c, s->host, &s->set);
    c.deadline_ns = deadline_ns;
    int32_t r = pg_connect(&c, PG_WRITE);
    if (r == AW_OK)
        r = pg_check_table(&c, true, &table);
    if (r == AW_OK && (r = pg_ask(&c, "SHOW fsync", 0, NULL, &res, "cannot look at the server")) == AW_OK &&
        strcmp(VALUE(res, 0, 0), "on") != 0)
        aw_host_log(s->host, AW_LOG_WARNING,
                    "%s: the server has fsync = off: a power loss takes events that it reported as stored",
                    s->set.place);
    PQclear(res);
    if (r == AW_OK && pg_hosts_are_local(PQhost(c.pg)) == false && PQsslInUse(c.pg) == 0)
        aw_host_log(s->host, AW_LOG_WARNING, "%s: the connection to %s is not encrypted: set sslmode = \"verify-full\"",
                    s->set.place, PQhost(c.pg));
    pg_close(&c);
    return r;
}

const struct aw_sink_probe pg_probe = {sizeof pg_probe, 0, probe};
