/* pg_partition.c - monthly partitions. SPDX-License-Identifier: Apache-2.0
 *
 * A partition holds one month (UTC) of occurred_at. What has no partition of its own goes to the default one, so that
 * no event is ever refused for its date; migrate makes the missing months and moves their rows there.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

static void name_of(const struct pg_settings *set, const char *suffix, char *full)
{
    char name[PG_NAME_MAX + 1], schema[PG_QUOTED_MAX], quoted[PG_QUOTED_MAX];
    snprintf(name, sizeof name, "%.48s_%s", set->table, suffix);
    pg_quote(set->schema, schema);
    pg_quote(name, quoted);
    snprintf(full, 2 * PG_QUOTED_MAX, "%s.%s", schema, quoted);
}

static int32_t add_default(struct pg_steps *st)
{
    const struct pg_settings *set = st->conn->set;
    char name[2 * PG_QUOTED_MAX], sql[1200];
    PGresult *res = NULL;
    const char *values[] = {set->full};
    int32_t r = pg_ask(st->conn,
                       "SELECT 1 FROM pg_partitioned_table p WHERE p.partrelid = to_regclass($1) AND p.partdefid <> 0",
                       1, values, &res, "cannot look at the partitions");
    int there = r == AW_OK ? PQntuples(res) : 0;
    PQclear(res);
    if (r != AW_OK || there > 0)
        return r;
    name_of(set, "default", name);
    snprintf(sql, sizeof sql, "CREATE TABLE %s PARTITION OF %s DEFAULT", name, set->full);
    return pg_step(st, sql);
}

/* One month. Rows of it that wait in the default partition are moved first: it may not hold what the new one is for. */
static int32_t add_month(struct pg_steps *st, const char *suffix, const char *from, const char *to, bool waiting)
{
    const struct pg_settings *set = st->conn->set;
    char name[2 * PG_QUOTED_MAX], rest[2 * PG_QUOTED_MAX], sql[2500];
    int32_t r;
    name_of(set, suffix, name);
    name_of(set, "default", rest);
    if (!waiting) {
        snprintf(sql, sizeof sql, "CREATE TABLE %s PARTITION OF %s FOR VALUES FROM ('%s') TO ('%s')", name, set->full,
                 from, to);
        return pg_step(st, sql);
    }
    snprintf(sql, sizeof sql, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", set->full);
    r = pg_step(st, sql);
    snprintf(sql, sizeof sql, "CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS)", name, set->full);
    if (r == AW_OK)
        r = pg_step(st, sql);
    snprintf(sql, sizeof sql,
             "WITH moved AS (DELETE FROM %s WHERE occurred_at >= '%s' AND occurred_at < '%s' RETURNING *) INSERT INTO "
             "%s SELECT * FROM moved",
             rest, from, to, name);
    if (r == AW_OK)
        r = pg_step(st, sql);
    snprintf(sql, sizeof sql, "ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", set->full, name,
             from, to);
    return r == AW_OK ? pg_step(st, sql) : r;
}

/* The months that should have a partition and have none: this one to `ahead` later, and those of rows in the default
 * partition. A month has one if some partition's name ends so. */
static int32_t missing_months(struct pg_steps *st, bool exists, PGresult **ret)
{
    const struct pg_settings *set = st->conn->set;
    char rest[2 * PG_QUOTED_MAX], ahead[16], sql[2000];
    name_of(set, "default", rest);
    snprintf(ahead, sizeof ahead, "%u", set->ahead);
    const char *values[] = {ahead, set->full, set->schema, set->table};
    snprintf(sql, sizeof sql,
             "WITH wanted AS (SELECT (date_trunc('month', now()) + n * interval '1 month') AS m, false AS waiting FROM "
             "generate_series(0, $1::int) n UNION ALL SELECT DISTINCT date_trunc('month', occurred_at), true FROM "
             "%s WHERE isfinite(occurred_at)), months AS (SELECT m, bool_or(waiting) AS waiting FROM wanted GROUP BY "
             "m) SELECT to_char(m, 'YYYY_MM'), m, m + interval '1 month', waiting FROM months WHERE extract(year FROM "
             "m) BETWEEN 1 AND 9999 AND NOT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = "
             "c.relnamespace WHERE n.nspname = $3 AND c.relname = $4 || '_' || to_char(m, 'YYYY_MM')) AND $2 <> '' "
             "ORDER BY m",
             exists ? rest : "(SELECT NULL::timestamptz AS occurred_at) AS none");
    return pg_ask(st->conn, sql, 4, values, ret, "cannot look at the partitions");
}

int32_t pg_migrate_partitions(struct pg_steps *st, bool exists)
{
    PGresult *res = NULL;
    int32_t r = add_default(st);
    if (r == AW_OK && exists) { /* somebody may have made partitions without a default one */
        char name[2 * PG_QUOTED_MAX];
        name_of(st->conn->set, "default", name);
        const char *value = name;
        r = pg_ask(st->conn, "SELECT to_regclass($1) IS NOT NULL", 1, &value, &res, "cannot look at the partitions");
        exists = r == AW_OK && PQgetvalue(res, 0, 0)[0] == 't';
        PQclear(res);
        res = NULL;
    }
    if (r == AW_OK)
        r = missing_months(st, exists, &res);
    for (int i = 0; r == AW_OK && i < PQntuples(res); i++)
        r = add_month(st, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), PQgetvalue(res, i, 2),
                      PQgetvalue(res, i, 3)[0] == 't');
    PQclear(res);
    return r;
}
