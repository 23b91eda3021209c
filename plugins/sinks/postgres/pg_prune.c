/* pg_prune.c - the retention extension: the beginnings of chains go. SPDX-License-Identifier: Apache-2.0
 *
 * The plan is kept in a temporary table, so that chains by the hundred thousand are looked at and removed together. A
 * partition in which everything, or nearly everything, goes is dropped, which costs nothing and leaves no holes; the
 * few rows that stay move to the default partition. The rest is deleted by ranges of seq, each in a transaction of its
 * own, so that no lock and no transaction lasts long.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define FETCH_ROWS "200"
#define RANGE 5000 /* seqs removed by one transaction */
#define WHAT "cannot prune"

struct prune {
    struct pg_conn conn;
    struct pg_table table;
    uint64_t removed;
};

/* ---- the stored event's integrity member ---- */

/* Behind the value at s. */
static const char *skip_value(const char *s, const char *end)
{
    int depth = 0;
    bool string = false;
    for (; s < end; s++) {
        if (string) {
            s += *s == '\\';
            string = s < end && *s != '"';
            if (!string && depth == 0)
                return s + 1;
        } else if (*s == '"')
            string = true;
        else if (*s == '{' || *s == '[')
            depth++;
        else if ((*s == '}' || *s == ']') && --depth <= 0)
            return depth < 0 ? s : s + 1;
        else if (*s == ',' && depth == 0)
            return s;
    }
    return end;
}

/* The value of a member of this very object (none deeper); len 0: it has none. Names here need no escapes. */
static struct aw_str member(struct aw_str object, const char *name)
{
    const char *s = object.ptr, *end = s + object.len;
    size_t n = strlen(name);
    if (object.len < 2 || *s++ != '{')
        return (struct aw_str){NULL, 0};
    while (s < end && *s == '"') {
        const char *key = s + 1, *colon = skip_value(s, end);
        if (colon >= end || *colon != ':')
            break;
        const char *value = colon + 1, *behind = skip_value(value, end);
        if ((size_t)(colon - 1 - key) == n && memcmp(key, name, n) == 0)
            return (struct aw_str){value, (size_t)(behind - value)};
        s = behind < end && *behind == ',' ? behind + 1 : end;
    }
    return (struct aw_str){NULL, 0};
}

/* integrity.hash of the canonical bytes; "" if they have none. */
static void hash_of(const char *json, size_t len, char out[65])
{
    struct aw_str hash = member(member((struct aw_str){json, len}, "integrity"), "hash");
    out[0] = '\0';
    if (hash.len == 66) {
        memcpy(out, hash.ptr + 1, 64);
        out[64] = '\0';
    }
}

/* ---- SQL ---- */

/* "$t" stands for the table, "$p" for `part`. */
static int32_t run(struct prune *p, const char *sql, const char *part, PGresult **ret)
{
    struct pg_buf text = {0};
    for (const char *s = sql; *s != '\0';) {
        size_t n = strcspn(s, "$");
        pg_put(&text, s, n);
        s += n;
        if (s[0] == '$' && (s[1] == 't' || s[1] == 'p')) {
            pg_puts(&text, s[1] == 't' ? p->conn.set->full : part);
            s += 2;
        } else if (*s != '\0')
            pg_put(&text, s++, 1);
    }
    pg_put(&text, "", 1);
    int32_t r = text.failed ? pg_fail(&p->conn, AW_E_NOMEM, "out of memory")
                            : pg_finish(&p->conn, PQsendQuery(p->conn.pg, text.p), ret, WHAT);
    free(text.p);
    return r;
}

static int32_t open_conn(struct prune *p, const struct pg_sink *s)
{
    memset(p, 0, sizeof *p);
    pg_conn_init(&p->conn, s->host, &s->set);
    int32_t r = pg_connect(&p->conn, PG_ADMIN);
    return r == AW_OK ? pg_check_table(&p->conn, false, &p->table) : r;
}

static int64_t number_at(const PGresult *res, int row, int column)
{
    return strtoll(PQgetvalue(res, row, column), NULL, 10);
}

/* ---- the plan ---- */

/* Everything before the first row that is to stay, and before the newest. */
static const char plan_sql[] =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; DECLARE aw_chains NO SCROLL CURSOR FOR WITH chain AS (SELECT "
    "scope, stream, least(max(seq), min(seq) FILTER (WHERE occurred_ns >= %lld)) AS keep FROM $t WHERE canonical IS "
    "NOT "
    "NULL AND seq IS NOT NULL AND scope IS NOT NULL GROUP BY scope, stream), gone AS (SELECT t.scope, t.stream, "
    "count(*) AS n, min(t.seq) AS first, max(t.seq) AS last, min(t.occurred_ns) AS oldest, max(t.occurred_ns) AS "
    "newest FROM $t t JOIN chain c ON c.scope = t.scope AND c.stream = t.stream WHERE t.seq < c.keep AND t.canonical "
    "IS NOT NULL GROUP BY t.scope, t.stream) SELECT g.scope, g.stream, n, first, last, oldest, newest, (SELECT "
    "canonical FROM $t t WHERE t.seq = g.first AND t.scope = g.scope AND t.stream = g.stream LIMIT 1), (SELECT "
    "canonical FROM $t t WHERE t.seq = g.last AND t.scope = g.scope AND t.stream = g.stream LIMIT 1) FROM gone g ORDER "
    "BY g.scope, g.stream";

static int32_t bytes_hash(struct prune *p, const PGresult *res, int row, int column, char out[65])
{
    size_t len;
    unsigned char *raw = PQunescapeBytea((const unsigned char *)PQgetvalue(res, row, column), &len);
    if (raw == NULL)
        return pg_fail(&p->conn, AW_E_NOMEM, "out of memory");
    hash_of((const char *)raw, len, out);
    PQfreemem(raw);
    return AW_OK;
}

static int32_t tell_chain(struct prune *p, const PGresult *res, int row,
                          int32_t (*found)(void *, const struct aw_prune *), void *arg)
{
    struct aw_prune out = {.struct_size = sizeof out};
    const char *stream = PQgetvalue(res, row, 1);
    out.scope = (struct aw_str){PQgetvalue(res, row, 0), (size_t)PQgetlength(res, row, 0)};
    out.stream = (struct aw_str){stream, strcmp(stream, "0") == 0 ? 0 : strlen(stream)};
    out.count = (uint64_t)number_at(res, row, 2);
    out.first_seq = (uint64_t)number_at(res, row, 3);
    out.last_seq = (uint64_t)number_at(res, row, 4);
    out.first_ns = number_at(res, row, 5);
    out.last_ns = number_at(res, row, 6);
    int32_t r = bytes_hash(p, res, row, 7, out.first_hash);
    if (r == AW_OK)
        r = bytes_hash(p, res, row, 8, out.last_hash);
    return r == AW_OK ? found(arg, &out) : r;
}

static int32_t plan(void *sink, int64_t before_ns, int32_t (*found)(void *arg, const struct aw_prune *), void *arg)
{
    struct prune p;
    char sql[sizeof plan_sql + 32];
    snprintf(sql, sizeof sql, plan_sql, (long long)before_ns);
    int32_t r = open_conn(&p, sink);
    if (r == AW_OK)
        r = run(&p, sql, NULL, NULL);
    for (int rows = 1; r == AW_OK && rows > 0;) {
        PGresult *res = NULL;
        r = run(&p, "FETCH " FETCH_ROWS " FROM aw_chains", NULL, &res);
        rows = r == AW_OK ? PQntuples(res) : 0;
        for (int i = 0; r == AW_OK && i < rows; i++)
            r = tell_chain(&p, res, i, found, arg);
        PQclear(res);
    }
    pg_close(&p.conn);
    return r;
}

/* ---- removing ---- */

static int32_t load_plan(struct prune *p, const struct aw_prune *const *prunes, size_t count)
{
    int32_t r = run(p,
                    "CREATE TEMP TABLE aw_plan (n bigint PRIMARY KEY, scope text, stream integer, count bigint, first "
                    "bigint, last bigint, newest bigint); BEGIN",
                    NULL, NULL);
    for (size_t i = 0; r == AW_OK && i < count; i++) {
        const struct aw_prune *c = prunes[i];
        char text[6][24], stream[24] = "0";
        struct pg_buf scope = {0};
        if (c->stream.len > 0 && c->stream.len < sizeof stream) {
            memcpy(stream, c->stream.ptr, c->stream.len);
            stream[c->stream.len] = '\0';
        }
        pg_put(&scope, c->scope.ptr, c->scope.len);
        pg_put(&scope, "", 1);
        snprintf(text[0], sizeof text[0], "%zu", i);
        snprintf(text[1], sizeof text[1], "%" PRIu64, c->count);
        snprintf(text[2], sizeof text[2], "%" PRIu64, c->first_seq);
        snprintf(text[3], sizeof text[3], "%" PRIu64, c->last_seq);
        snprintf(text[4], sizeof text[4], "%" PRId64, c->last_ns);
        const char *values[] = {text[0], scope.p, stream, text[1], text[2], text[3], text[4]};
        r = scope.failed
                ? pg_fail(&p->conn, AW_E_NOMEM, "out of memory")
                : pg_ask(&p->conn, "INSERT INTO aw_plan VALUES ($1, $2, $3, $4, $5, $6, $7)", 7, values, NULL, WHAT);
        free(scope.p);
    }
    return r == AW_OK ? run(p, "COMMIT; ANALYZE aw_plan", NULL, NULL) : r;
}

static int32_t leave_alone(struct prune *p, const char *n, const struct aw_prune *c)
{
    aw_host_log(p->conn.host, AW_LOG_WARNING,
                "%s: the chain %.*s changed since the plan was made, and is left alone: make a new plan",
                p->conn.set->place, (int)(c->scope.len < 200 ? c->scope.len : 200), c->scope.ptr);
    return pg_ask(&p->conn, "DELETE FROM aw_plan WHERE n = $1", 1, &n, NULL, WHAT);
}

/* Chains with another number of rows than planned, or other hashes at the ends, drop out of the plan. */
static int32_t check_plan(struct prune *p, const struct aw_prune *const *prunes)
{
    static const char counts[] =
        "SELECT p.n FROM aw_plan p LEFT JOIN (SELECT q.n, count(*) AS have FROM aw_plan q JOIN $t t ON t.scope = "
        "q.scope "
        "AND t.stream = q.stream AND t.seq <= q.last WHERE t.canonical IS NOT NULL GROUP BY q.n) c ON c.n = p.n WHERE "
        "coalesce(c.have, 0) <> p.count";
    static const char ends[] =
        "BEGIN; DECLARE aw_ends NO SCROLL CURSOR FOR SELECT p.n, t.seq = p.first, t.canonical, t.seq = p.last FROM "
        "aw_plan p JOIN $t t ON t.scope = p.scope AND t.stream = p.stream AND t.seq IN (p.first, p.last) WHERE "
        "t.canonical IS NOT NULL";
    PGresult *res = NULL;
    int32_t r = run(p, counts, NULL, &res);
    for (int i = 0; r == AW_OK && i < PQntuples(res); i++)
        r = leave_alone(p, PQgetvalue(res, i, 0), prunes[number_at(res, i, 0)]);
    PQclear(res);
    if (r == AW_OK)
        r = run(p, ends, NULL, NULL);
    for (int rows = 1; r == AW_OK && rows > 0;) {
        res = NULL;
        r = run(p, "FETCH " FETCH_ROWS " FROM aw_ends", NULL, &res);
        rows = r == AW_OK ? PQntuples(res) : 0;
        for (int i = 0; r == AW_OK && i < rows; i++) {
            const struct aw_prune *c = prunes[number_at(res, i, 0)];
            char hash[65];
            r = bytes_hash(p, res, i, 2, hash);
            bool same = (PQgetvalue(res, i, 1)[0] != 't' || strcmp(hash, c->first_hash) == 0) &&
                        (PQgetvalue(res, i, 3)[0] != 't' || strcmp(hash, c->last_hash) == 0);
            if (r == AW_OK && !same)
                r = leave_alone(p, PQgetvalue(res, i, 0), c);
        }
        PQclear(res);
    }
    return r == AW_OK ? run(p, "COMMIT", NULL, NULL) : r;
}

/* One partition, all of whose rows are old enough: dropped if (nearly) all of them are in the plan. */
static int32_t drop_partition(struct prune *p, const char *part)
{
    static const char look[] =
        "BEGIN; LOCK TABLE $t IN ACCESS EXCLUSIVE MODE; SELECT count(*), count(*) FILTER (WHERE p.n IS NULL) FROM $p t "
        "LEFT JOIN aw_plan p ON p.scope = t.scope AND p.stream = t.stream AND t.seq <= p.last AND t.canonical IS NOT "
        "NULL";
    static const char move[] =
        "CREATE TEMP TABLE aw_kept ON COMMIT DROP AS SELECT t.* FROM $p t LEFT JOIN aw_plan p ON p.scope = t.scope AND "
        "p.stream = t.stream AND t.seq <= p.last AND t.canonical IS NOT NULL WHERE p.n IS NULL; ALTER TABLE $t DETACH "
        "PARTITION $p; INSERT INTO $t SELECT * FROM aw_kept; DROP TABLE $p; COMMIT";
    PGresult *res = NULL;
    int32_t r = run(p, look, part, &res);
    int64_t rows = r == AW_OK ? number_at(res, 0, 0) : 0, stay = r == AW_OK ? number_at(res, 0, 1) : 0;
    PQclear(res);
    if (r == AW_OK && rows > stay && stay * 10 <= rows) {
        r = run(p, move, part, NULL);
        p->removed += r == AW_OK ? (uint64_t)(rows - stay) : 0;
    } else if (r == AW_OK)
        r = run(p, "ROLLBACK", NULL, NULL);
    if (r == AW_E_RETRY) { /* the lock: the rows are deleted one by one, then */
        pg_roll_back(&p->conn);
        r = p->conn.pg != NULL ? AW_OK : r;
    }
    return r;
}

static int32_t drop_partitions(struct prune *p)
{
    static const char list[] =
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN "
        "pg_namespace n ON n.oid = c.relnamespace JOIN pg_partitioned_table d ON d.partrelid = i.inhparent WHERE "
        "i.inhparent = to_regclass($1) AND c.oid <> d.partdefid AND c.relkind = 'r' ORDER BY c.relname";
    static const char newer[] =
        "SELECT 1 FROM $p WHERE occurred_at > (SELECT timestamptz 'epoch' + (max(newest) / 1000 + "
        "1) * interval '1 microsecond' FROM aw_plan) LIMIT 1";
    PGresult *res = NULL, *found = NULL;
    const char *table = p->conn.set->full;
    int32_t r = pg_ask(&p->conn, list, 1, &table, &res, WHAT);
    for (int i = 0; r == AW_OK && i < PQntuples(res); i++) {
        const char *part = PQgetvalue(res, i, 0);
        r = run(p, newer, part, &found);
        bool keep = r == AW_OK && PQntuples(found) > 0;
        PQclear(found);
        found = NULL;
        if (r == AW_OK && !keep)
            r = drop_partition(p, part);
    }
    PQclear(res);
    return r;
}

static int32_t delete_rows(struct prune *p)
{
    static const char range[] = "SELECT min(first), max(last) FROM aw_plan";
    static const char sql[] =
        "DELETE FROM $t t USING aw_plan p WHERE t.scope = p.scope AND t.stream = p.stream AND t.seq "
        "<= p.last AND t.canonical IS NOT NULL AND t.seq BETWEEN %" PRId64 " AND %" PRId64;
    PGresult *res = NULL;
    int32_t r = run(p, range, NULL, &res);
    if (r != AW_OK || PQgetisnull(res, 0, 0)) {
        PQclear(res);
        return r;
    }
    int64_t at = number_at(res, 0, 0), last = number_at(res, 0, 1);
    PQclear(res);
    for (; r == AW_OK && at <= last; at += RANGE) {
        char text[sizeof sql + 48];
        snprintf(text, sizeof text, sql, at, at + RANGE - 1);
        res = NULL;
        r = run(p, text, NULL, &res);
        if (r == AW_OK)
            p->removed += strtoull(PQcmdTuples(res), NULL, 10);
        PQclear(res);
    }
    return r;
}

static int32_t prune(void *sink, const struct aw_prune *const *prunes, size_t count, uint64_t *ret_removed)
{
    struct prune p;
    *ret_removed = 0;
    int32_t r = open_conn(&p, sink);
    if (r == AW_OK)
        r = load_plan(&p, prunes, count);
    if (r == AW_OK)
        r = check_plan(&p, prunes);
    if (r == AW_OK && p.table.partitioned)
        r = drop_partitions(&p);
    if (r == AW_OK)
        r = delete_rows(&p);
    pg_close(&p.conn);
    *ret_removed = p.removed;
    return r;
}

const struct aw_sink_retention pg_retention = {sizeof pg_retention, 0, plan, prune};
