/* pg_prune.c - the retention extension: what a stream has below a seq goes. SPDX-License-Identifier: Apache-2.0
 *
 * A partition in which everything, or nearly everything, goes is dropped, which costs nothing and leaves no holes; the
 * few rows that stay move to the default partition. The rest is deleted by ranges of seq, each in a transaction of its
 * own. Either way rows go by rising seq: what other partitions have below the highest seq of a dropped one goes in the
 * same transaction.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define RANGE 5000 /* seqs removed by one transaction */
#define WHAT "cannot remove old events"

struct prune {
    struct pg_conn conn;
    struct pg_table table;
    struct pg_buf plan;  /* "(VALUES (stream, keep), ...) AS p(stream, keep)" */
    size_t streams;      /* in it */
    int64_t first, keep; /* lowest seq that goes, and highest that stays first, of all streams */
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

/* "$t" stands for the table, "$p" for a partition, "$v" for the plan. */
static int32_t run(struct prune *p, const char *sql, const char *part, PGresult **ret)
{
    struct pg_buf text = {0};
    for (const char *s = sql; *s != '\0';) {
        size_t n = strcspn(s, "$");
        pg_put(&text, s, n);
        s += n;
        if (*s == '\0')
            break;
        if (s[1] == 't')
            pg_puts(&text, p->conn.set->full);
        else if (s[1] == 'p')
            pg_puts(&text, part);
        else
            pg_put(&text, p->plan.p, p->plan.len);
        s += 2;
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

/* integrity.hash of the event that has this place, "" if none has. */
static int32_t find_event(struct prune *p, uint32_t stream, uint64_t seq, char hash[65], int64_t *ret_ns)
{
    char sql[300];
    PGresult *res = NULL;
    hash[0] = '\0';
    *ret_ns = 0;
    snprintf(sql, sizeof sql,
             "SELECT canonical, occurred_ns FROM $t WHERE stream = %" PRIu32 " AND seq = %" PRIu64
             " AND canonical IS NOT NULL ORDER BY event_id LIMIT 1",
             stream, seq);
    int32_t r = run(p, sql, NULL, &res);
    if (r == AW_OK && PQntuples(res) > 0) {
        size_t len;
        unsigned char *raw = PQunescapeBytea((const unsigned char *)PQgetvalue(res, 0, 0), &len);
        if (raw == NULL)
            r = pg_fail(&p->conn, AW_E_NOMEM, "out of memory");
        else
            hash_of((const char *)raw, len, hash);
        PQfreemem(raw);
        *ret_ns = number_at(res, 0, 1);
    }
    PQclear(res);
    return r;
}

/* ---- the plan ---- */

static int32_t fill(struct prune *p, struct aw_prune *out, int64_t rows)
{
    char sql[600];
    PGresult *res = NULL;
    snprintf(sql, sizeof sql,
             "SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0), coalesce(min(occurred_ns), 0), "
             "coalesce(max(occurred_ns), 0), pg_total_relation_size(to_regclass($l)) + (SELECT "
             "coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits WHERE inhparent = "
             "to_regclass($l)) FROM $t WHERE stream = %" PRIu32 " AND seq < %" PRIu64 " AND canonical IS NOT NULL",
             out->stream, out->keep_seq);
    /* The table's name as a literal: its size is asked for by name. */
    char *literal = PQescapeLiteral(p->conn.pg, p->conn.set->full, strlen(p->conn.set->full));
    if (literal == NULL)
        return pg_fail(&p->conn, AW_E_NOMEM, "out of memory");
    p->plan.len = 0;
    pg_puts(&p->plan, literal);
    PQfreemem(literal);
    int32_t r = run(p, sql, NULL, &res);
    if (r == AW_OK) {
        out->count = (uint64_t)number_at(res, 0, 0);
        out->first_seq = (uint64_t)number_at(res, 0, 1);
        out->last_seq = (uint64_t)number_at(res, 0, 2);
        out->first_ns = number_at(res, 0, 3);
        out->last_ns = number_at(res, 0, 4);
        out->bytes = rows > 0 ? (uint64_t)((double)number_at(res, 0, 5) * (double)out->count / (double)rows) : 0;
    }
    PQclear(res);
    return r == AW_OK ? find_event(p, out->stream, out->keep_seq, out->keep_hash, &out->keep_ns) : r;
}

static int32_t tell_streams(struct prune *p, const PGresult *streams, int32_t (*found)(void *, const struct aw_prune *),
                            void *arg)
{
    int64_t rows = 0;
    for (int i = 0; i < PQntuples(streams); i++)
        rows += number_at(streams, i, 2);
    for (int i = 0; i < PQntuples(streams); i++) {
        struct aw_prune out = {.struct_size = sizeof out};
        out.stream = (uint32_t)number_at(streams, i, 0);
        out.keep_seq = (uint64_t)number_at(streams, i, 1);
        int32_t r = fill(p, &out, rows);
        if (r != AW_OK)
            return r;
        if (found(arg, &out) != 0)
            break;
    }
    return AW_OK;
}

static int32_t plan(void *sink, int64_t before_ns, int32_t (*found)(void *arg, const struct aw_prune *), void *arg)
{
    struct prune p;
    char sql[500];
    PGresult *streams = NULL;
    int32_t r = open_conn(&p, sink);
    /* What says to be of the future holds nothing back. */
    snprintf(sql, sizeof sql,
             "SELECT stream, coalesce(min(seq) FILTER (WHERE occurred_ns >= %" PRId64 " AND occurred_ns <= %" PRId64
             "), max(seq)), count(*) FROM $t WHERE canonical IS NOT NULL AND seq IS NOT NULL GROUP BY stream ORDER BY "
             "stream",
             before_ns, (int64_t)p.conn.host->now_ns());
    if (r == AW_OK)
        r = run(&p, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, NULL);
    if (r == AW_OK)
        r = run(&p, sql, NULL, &streams);
    if (r == AW_OK)
        r = tell_streams(&p, streams, found, arg);
    PQclear(streams);
    pg_close(&p.conn);
    free(p.plan.p);
    return r;
}

/* ---- removing ---- */

/* A stream whose first event to stay is not the planned one drops out of the plan. */
static int32_t check_plan(struct prune *p, const struct aw_prune *const *prunes, size_t count)
{
    struct pg_buf values = {0};
    int32_t r = AW_OK;
    for (size_t i = 0; i < count && r == AW_OK; i++) {
        const struct aw_prune *c = prunes[i];
        char hash[65], text[80];
        int64_t ns;
        if (c->count == 0)
            continue;
        r = find_event(p, c->stream, c->keep_seq, hash, &ns);
        if (r == AW_OK && (hash[0] == '\0' || strcmp(hash, c->keep_hash) != 0)) {
            aw_host_log(p->conn.host, AW_LOG_WARNING,
                        "%s: nothing of stream %" PRIu32 " is removed: the event that was to stay first, seq %" PRIu64
                        ", is not what the plan says",
                        p->conn.set->place, c->stream, c->keep_seq);
            continue;
        }
        snprintf(text, sizeof text, "%s(%" PRIu32 ", %" PRIu64 "::bigint)", p->streams > 0 ? ", " : "(VALUES ",
                 c->stream, c->keep_seq);
        pg_puts(&values, text);
        p->first = p->streams == 0 || (int64_t)c->first_seq < p->first ? (int64_t)c->first_seq : p->first;
        p->keep = (int64_t)c->keep_seq > p->keep ? (int64_t)c->keep_seq : p->keep;
        p->streams++;
    }
    pg_puts(&values, ") AS p(stream, keep)");
    p->plan = values;
    return r == AW_OK && values.failed ? pg_fail(&p->conn, AW_E_NOMEM, "out of memory") : r;
}

#define GOES "p.stream = t.stream AND t.seq < p.keep AND t.canonical IS NOT NULL"

/* One partition: dropped if (nearly) all of it is in the plan. A new row for it waits meanwhile; others do for the
 * blink in which it is taken out. */
static int32_t drop_partition(struct prune *p, const char *part)
{
    static const char count[] = "BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE $p IN SHARE MODE; SELECT count(*), "
                                "count(p.keep) FROM $p t LEFT JOIN $v ON " GOES;
    /* Others' rows below the highest that goes here; the moving; the taking out. */
    static const char drop[] = "DELETE FROM $t t USING (SELECT t.stream, max(t.seq) AS top FROM $p t JOIN $v ON " GOES
                               " GROUP BY t.stream) AS "
                               "h, $v WHERE h.stream = t.stream AND t.seq < h.top AND " GOES " AND t.tableoid <> %s";
    static const char end[] =
        "CREATE TEMP TABLE aw_kept ON COMMIT DROP AS SELECT t.* FROM $p t LEFT JOIN $v ON " GOES
        " WHERE p.keep IS NULL; "
        "ALTER TABLE $t DETACH PARTITION $p; INSERT INTO $t SELECT * FROM aw_kept; DROP TABLE $p; COMMIT";
    PGresult *res = NULL, *others = NULL;
    int32_t r = run(p, count, part, &res);
    int64_t rows = r == AW_OK ? number_at(res, 0, 0) : 0, go = r == AW_OK ? number_at(res, 0, 1) : 0;
    PQclear(res);
    if (r == AW_OK && go > 0 && (rows - go) * 10 <= rows) {
        char *literal = PQescapeLiteral(p->conn.pg, part, strlen(part)), sql[1200], oid[700];
        snprintf(oid, sizeof oid, "to_regclass(%s)", literal != NULL ? literal : "''");
        PQfreemem(literal);
        snprintf(sql, sizeof sql, drop, oid);
        r = run(p, sql, part, &others);
        if (r == AW_OK)
            r = run(p, end, part, NULL);
        if (r == AW_OK)
            p->removed += (uint64_t)go + strtoull(PQcmdTuples(others), NULL, 10);
        PQclear(others);
    } else if (r == AW_OK)
        r = run(p, "ROLLBACK", NULL, NULL);
    if (r == AW_E_RETRY) { /* somebody is in the way: the rows are deleted, then */
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
    PGresult *res = NULL;
    const char *table = p->conn.set->full;
    int32_t r = pg_ask(&p->conn, list, 1, &table, &res, WHAT);
    for (int i = 0; r == AW_OK && i < PQntuples(res); i++)
        r = drop_partition(p, PQgetvalue(res, i, 0));
    PQclear(res);
    return r;
}

static int32_t delete_rows(struct prune *p)
{
    int32_t r = AW_OK;
    for (int64_t at = p->first; r == AW_OK && at < p->keep; at += RANGE) {
        char sql[200];
        PGresult *res = NULL;
        snprintf(sql, sizeof sql, "DELETE FROM $t t USING $v WHERE " GOES " AND t.seq BETWEEN %" PRId64 " AND %" PRId64,
                 at, at + RANGE - 1);
        r = run(p, sql, NULL, &res);
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
        r = check_plan(&p, prunes, count);
    if (r == AW_OK && p.streams > 0 && p.table.partitioned)
        r = drop_partitions(&p);
    if (r == AW_OK && p.streams > 0)
        r = delete_rows(&p);
    pg_close(&p.conn);
    free(p.plan.p);
    *ret_removed = p.removed;
    return r;
}

const struct aw_sink_retention pg_retention = {sizeof pg_retention, 0, plan, prune};
