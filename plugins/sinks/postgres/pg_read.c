/* pg_read.c - the query extension: rows by seq, page by page, over a read-only connection of their own.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each page is a statement that goes on behind the last row (keyset), so that no transaction stays open and memory is
 * bounded. The filters become SQL on the columns; the host checks every row again, so a filter may let too much
 * through. For verification, which is after those who change rows, columns are not believed and nothing is filtered.
 * A cursor is "p1.SEQ.HASH", HASH being of the event id: it only orders rows with the same seq.
 */
#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define PAGE_ROWS 256u
#define FIRST_ROWS 64u /* before it is known how large rows are */
#define PAGE_BYTES (8u << 20)
#define FILTERS 10
#define OID_BYTEA 17
#define OID_INT8 20
#define OID_TEXT 25

struct line {
    char location[2 * PG_NAME_MAX + 40], cursor[64];
};

struct reader {
    struct pg_conn conn;
    bool descending;
    int64_t seq, hash; /* of the last row */
    size_t largest;    /* row so far */
    struct pg_buf where, values[FILTERS];
    Oid types[FILTERS];
    size_t filters;
    PGresult *page; /* what rows point into */
    struct line *lines;
};

static void reader_close(void *read)
{
    struct reader *r = read;
    if (r == NULL)
        return;
    PQclear(r->page);
    pg_close(&r->conn);
    for (size_t i = 0; i < FILTERS; i++)
        free(r->values[i].p);
    free(r->where.p);
    free(r->lines);
    free(r);
}

/* " AND condition", in which "$$" is the value's parameter. Its bytes are put into the buffer returned. */
static struct pg_buf *add_filter(struct reader *r, const char *condition, Oid type)
{
    char param[16];
    const char *at = strstr(condition, "$$");
    struct pg_buf *value = &r->values[r->filters];
    r->types[r->filters++] = type;
    snprintf(param, sizeof param, "$%zu", r->filters + 2);
    pg_puts(&r->where, " AND ");
    pg_put(&r->where, condition, (size_t)(at - condition));
    pg_puts(&r->where, param);
    pg_puts(&r->where, at + 2);
    return value;
}

/* As the column has it: without U+0000, and cut where the column is. */
static void filter_text(struct reader *r, const char *condition, struct aw_str want, bool cut)
{
    if (want.len == 0)
        return;
    size_t n = cut ? pg_cut(want.ptr, want.len) : want.len;
    struct pg_buf *value = add_filter(r, condition, OID_TEXT);
    for (size_t i = 0; i < n; i++)
        pg_put(value, want.ptr[i] == '\0' ? "\xef\xbf\xbd" : &want.ptr[i], want.ptr[i] == '\0' ? 3 : 1);
}

/* A glob's ? counts characters where the host may count bytes: it lets anything through here. */
static void filter_action(struct reader *r, struct aw_str glob)
{
    if (glob.len == 0)
        return;
    struct pg_buf *value = add_filter(r, "action LIKE $$", OID_TEXT);
    for (size_t i = 0; i < glob.len; i++) {
        char ch = glob.ptr[i];
        if (ch == '*' || ch == '?' || ch == '\0')
            pg_put(value, "%", 1);
        else {
            if (ch == '%' || ch == '_' || ch == '\\')
                pg_put(value, "\\", 1);
            pg_put(value, &ch, 1);
        }
    }
}

static void filter_time(struct reader *r, const char *condition, int64_t ns)
{
    int64_t us = ns / 1000 - (ns % 1000 < 0);
    struct pg_buf *value = add_filter(r, condition, OID_INT8);
    pg_put32(value, (uint32_t)((uint64_t)us >> 32));
    pg_put32(value, (uint32_t)(uint64_t)us);
}

static int32_t make_filters(struct reader *r, const struct aw_query *q)
{
    static const char since[] = "occurred_at >= timestamptz 'epoch' + $$ * interval '1 microsecond'",
                      until[] = "occurred_at <= timestamptz 'epoch' + $$ * interval '1 microsecond'";
    if ((q->flags & AW_QUERY_CHAIN_ORDER) != 0)
        return AW_OK;
    filter_text(r, "actor_id = $$", q->actor_id, true);
    filter_text(r, "target_id = $$", q->target_id, false);
    filter_text(r, "tenant_id = $$", q->tenant_id, true);
    filter_text(r, "outcome = $$", q->outcome, false);
    filter_action(r, q->action);
    if (q->text.len > 0)
        pg_put(add_filter(r, "position($$ IN canonical) > 0", OID_BYTEA), q->text.ptr, q->text.len);
    if (q->since_ns != INT64_MIN)
        filter_time(r, since, q->since_ns);
    if (q->until_ns != INT64_MAX && q->until_ns != INT64_MIN)
        filter_time(r, until, q->until_ns - 1);
    bool failed = r->where.failed;
    for (size_t i = 0; i < r->filters; i++)
        failed = failed || r->values[i].failed;
    return failed ? pg_fail(&r->conn, AW_E_NOMEM, "out of memory") : AW_OK;
}

static int32_t read_cursor(struct reader *r, struct aw_str after)
{
    char text[64];
    int end = 0;
    size_t n = after.len < sizeof text ? after.len : 0;
    r->seq = r->descending ? INT64_MAX : INT64_MIN;
    r->hash = r->descending ? INT64_MAX : INT64_MIN;
    if (after.len == 0)
        return AW_OK;
    memcpy(text, after.ptr, n);
    text[n] = '\0';
    if (sscanf(text, "p1.%" SCNd64 ".%" SCNd64 "%n", &r->seq, &r->hash, &end) != 2 || (size_t)end != n)
        return pg_fail(&r->conn, AW_E_CONFIG, "\"%.*s\" is not a cursor of this sink", (int)n, text);
    return AW_OK;
}

static int32_t fail_read(struct reader *r, int32_t code)
{
    if (strcmp(r->conn.state, "42501") != 0)
        return code;
    return pg_fail(&r->conn, AW_E_CONFIG,
                   "%s: the role may write and not read: read with a configuration whose user may (GRANT SELECT ON %s; "
                   "grant_read)",
                   r->conn.set->place, r->conn.set->full);
}

static int32_t look_for_old_rows(struct reader *r)
{
    const struct pg_settings *set = r->conn.set;
    char sql[400];
    PGresult *res = NULL;
    snprintf(sql, sizeof sql, "SELECT 1 FROM %s WHERE seq IS NULL LIMIT 1", set->full);
    int32_t code = pg_ask(&r->conn, sql, 0, NULL, &res, "cannot read");
    if (code == AW_OK && PQntuples(res) > 0)
        aw_host_log(r->conn.host, AW_LOG_WARNING,
                    "%s: rows from before auditwell have no stored bytes and are left out", set->place);
    PQclear(res);
    return fail_read(r, code);
}

static int32_t reader_open(void *sink, const struct aw_query *query, void **ret_read)
{
    const struct pg_sink *s = sink;
    struct pg_table table;
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    pg_conn_init(&r->conn, s->host, &s->set);
    r->descending = (query->flags & AW_QUERY_DESCENDING) != 0;
    r->lines = calloc(PAGE_ROWS, sizeof *r->lines);
    int32_t code = r->lines == NULL ? pg_fail(&r->conn, AW_E_NOMEM, "out of memory") : read_cursor(r, query->after);
    if (code == AW_OK)
        code = make_filters(r, query);
    if (code == AW_OK)
        code = pg_connect(&r->conn, PG_READ);
    if (code == AW_OK)
        code = pg_check_table(&r->conn, false, &table);
    if (code == AW_OK)
        code = look_for_old_rows(r);
    if (code != AW_OK) {
        reader_close(r);
        return code;
    }
    *ret_read = r;
    return AW_OK;
}

/* ---- pages ---- */

static size_t page_rows(const struct reader *r, size_t max)
{
    size_t fit = r->largest == 0 ? FIRST_ROWS : PAGE_BYTES / r->largest + 1;
    if (fit > PAGE_ROWS)
        fit = PAGE_ROWS;
    return fit < max ? fit : max;
}

static int32_t fetch(struct reader *r, size_t rows)
{
    struct pg_buf sql = {0};
    const char *values[FILTERS + 2];
    char seq[32], hash[32], limit[32];
    int lengths[FILTERS + 2] = {0}, formats[FILTERS + 2] = {0};
    Oid types[FILTERS + 2] = {OID_INT8, OID_INT8};
    snprintf(seq, sizeof seq, "%" PRId64, r->seq);
    snprintf(hash, sizeof hash, "%" PRId64, r->hash);
    snprintf(limit, sizeof limit, " LIMIT %zu", rows);
    values[0] = seq;
    values[1] = hash;
    for (size_t i = 0; i < r->filters; i++) {
        values[i + 2] = r->values[i].p;
        lengths[i + 2] = (int)r->values[i].len;
        formats[i + 2] = 1;
        types[i + 2] = r->types[i];
    }
    pg_puts(
        &sql,
        "SELECT seq, h, canonical FROM (SELECT seq, hashtextextended(event_id COLLATE \"C\", 0) AS h, canonical FROM ");
    pg_puts(&sql, r->conn.set->full);
    pg_puts(&sql, r->descending ? " WHERE seq <= $1" : " WHERE seq >= $1");
    pg_puts(&sql, " AND canonical IS NOT NULL");
    pg_put(&sql, r->where.p, r->where.len);
    pg_puts(&sql, r->descending ? ") AS rows WHERE (seq, h) < ($1, $2) ORDER BY seq DESC, h DESC"
                                : ") AS rows WHERE (seq, h) > ($1, $2) ORDER BY seq, h");
    pg_puts(&sql, limit);
    pg_put(&sql, "", 1);
    PQclear(r->page);
    r->page = NULL;
    int32_t code = AW_OK;
    if (sql.failed)
        code = pg_fail(&r->conn, AW_E_NOMEM, "out of memory");
    else if (r->conn.pg == NULL)
        code = pg_connect(&r->conn, PG_READ); /* it broke while somebody waited for more */
    if (code == AW_OK)
        code = pg_finish(&r->conn,
                         PQsendQueryParams(r->conn.pg, sql.p, (int)r->filters + 2, types, values, lengths, formats, 1),
                         &r->page, "cannot read");
    free(sql.p);
    return fail_read(r, code);
}

static int64_t int64_at(const PGresult *res, int row, int column)
{
    const unsigned char *p = (const unsigned char *)PQgetvalue(res, row, column);
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

static int32_t reader_next(void *read, struct aw_row *ret_rows, size_t max, size_t *ret_count)
{
    struct reader *r = read;
    *ret_count = 0;
    int32_t code = fetch(r, page_rows(r, max));
    if (code != AW_OK)
        return code;
    int n = PQntuples(r->page);
    for (int i = 0; i < n; i++) {
        struct line *line = &r->lines[i];
        struct aw_row *row = &ret_rows[i];
        r->seq = int64_at(r->page, i, 0);
        r->hash = int64_at(r->page, i, 1);
        row->seq = (uint64_t)r->seq;
        row->json = (struct aw_str){PQgetvalue(r->page, i, 2), (size_t)PQgetlength(r->page, i, 2)};
        row->location.ptr = line->location;
        row->location.len =
            (size_t)snprintf(line->location, sizeof line->location, "%s: seq %" PRId64, r->conn.set->place, r->seq);
        row->cursor.ptr = line->cursor;
        row->cursor.len =
            (size_t)snprintf(line->cursor, sizeof line->cursor, "p1.%" PRId64 ".%" PRId64, r->seq, r->hash);
        if (row->json.len > r->largest)
            r->largest = row->json.len;
    }
    *ret_count = (size_t)n;
    return AW_OK;
}

const struct aw_sink_query pg_query = {sizeof pg_query, 0, reader_open, reader_next, reader_close};
