/* pg_load.c - rows into the table. SPDX-License-Identifier: Apache-2.0
 *
 * COPY straight into the table is the fastest way that keeps event_id unique (see tests/bench/bench_postgres.c for the
 * others), and needs no right but INSERT. It takes all rows or none, and does not say which one it minds. So it is
 * tried first; what it refuses goes through prepared INSERTs in pipeline mode, which say for each row whether it was
 * new; and what these refuse through the same with a savepoint around each, which leaves out the row that is at fault
 * and keeps the others.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define CHUNK (64u << 10)       /* bytes given to libpq at once: they are sent before more is made */
#define WINDOW 64u              /* INSERTs under way before results are read, */
#define WINDOW_BYTES (1u << 20) /* and about how much they may hold */
#define INSERT "aw_insert"
#define FIND "aw_find"

void pg_forget(struct pg_job *job)
{
    memset(job->status, AW_EVENT_UNKNOWN, job->batch->count);
    job->duplicates = 0;
}

static int32_t no_memory(struct pg_sink *s)
{
    return pg_fail(&s->conn, AW_E_NOMEM, "out of memory");
}

static int32_t prepare_one(struct pg_conn *c, const char *name, const char *sql, int n, const Oid *types)
{
    return pg_finish(c, PQsendPrepare(c->pg, name, sql, n, types), NULL, "cannot prepare");
}

int32_t pg_prepare(struct pg_sink *s)
{
    static const Oid find_types[] = {25};
    struct pg_buf sql = {0};
    Oid types[PG_COLUMNS];
    char param[16];
    pg_puts(&sql, "INSERT INTO ");
    pg_puts(&sql, s->set.full);
    pg_puts(&sql, " (");
    pg_put_columns(&sql);
    pg_puts(&sql, ") VALUES (");
    for (size_t i = 0; i < PG_COLUMNS; i++) {
        types[i] = pg_columns[i].oid;
        snprintf(param, sizeof param, "%s$%zu", i > 0 ? "," : "", i + 1);
        pg_puts(&sql, param);
    }
    /* The key is named: another unique constraint of the table must not turn an event into a "duplicate". */
    pg_puts(&sql, s->table.partitioned ? ") ON CONFLICT (event_id, occurred_at) DO NOTHING"
                                       : ") ON CONFLICT (event_id) DO NOTHING");
    pg_put(&sql, "", 1);
    int32_t r = sql.failed ? no_memory(s) : prepare_one(&s->conn, INSERT, sql.p, PG_COLUMNS, types);
    sql.len = 0;
    pg_puts(&sql, "SELECT 1 FROM ");
    pg_puts(&sql, s->set.full);
    pg_puts(&sql, " WHERE event_id = $1 LIMIT 1");
    pg_put(&sql, "", 1);
    if (r == AW_OK)
        r = sql.failed ? no_memory(s) : prepare_one(&s->conn, FIND, sql.p, 1, find_types);
    free(sql.p);
    return r;
}

/* ---- COPY ---- */

static int32_t send_chunk(struct pg_sink *s, const char *what)
{
    struct pg_conn *c = &s->conn;
    if (s->buf.failed)
        return no_memory(s);
    if (PQputCopyData(c->pg, s->buf.p, (int)s->buf.len) != 1)
        return pg_fail_result(c, NULL, what);
    s->buf.len = 0;
    return pg_flush_out(c, what);
}

static int32_t fail_render(struct pg_sink *s, int32_t code)
{
    return pg_fail(&s->conn, code == AW_E_UNSUPPORTED || code == AW_E_NOTFOUND ? AW_E_INTERNAL : code,
                   "the host cannot render an event");
}

/* The tuples. With a token, those of events that are ACCEPTED, and the token behind the columns. */
static int32_t send_tuples(struct pg_sink *s, const struct pg_job *job, const char *token, size_t *ret_count,
                           const char *what)
{
    static const char head[19] = "PGCOPY\n\377\r\n";
    int32_t r = AW_OK;
    s->buf.len = 0;
    *ret_count = 0;
    pg_put(&s->buf, head, sizeof head);
    for (size_t i = 0; r == AW_OK && i < job->batch->count; i++) {
        if (token != NULL && job->status[i] != AW_EVENT_ACCEPTED)
            continue;
        pg_put16(&s->buf, PG_COLUMNS + (token != NULL));
        int32_t code = pg_put_event(s->host, &s->buf, job->batch->events[i]);
        if (code != AW_OK)
            return fail_render(s, code);
        if (token != NULL) {
            pg_put32(&s->buf, (uint32_t)strlen(token));
            pg_puts(&s->buf, token);
        }
        ++*ret_count;
        if (s->buf.len >= CHUNK || s->buf.failed)
            r = send_chunk(s, what);
    }
    if (r == AW_OK) {
        pg_put16(&s->buf, 0xffff);
        r = send_chunk(s, what);
    }
    return r;
}

int32_t pg_copy(struct pg_sink *s, struct pg_job *job, const char *token)
{
    struct pg_conn *c = &s->conn;
    const char *what = token != NULL ? "cannot stage" : "cannot store";
    struct pg_buf sql = {0};
    PGresult *res = NULL;
    size_t count;
    pg_puts(&sql, "COPY ");
    pg_puts(&sql, token != NULL ? s->set.staged : s->set.full);
    pg_puts(&sql, " (");
    pg_put_columns(&sql);
    pg_puts(&sql, token != NULL ? ", token) FROM STDIN (FORMAT binary)" : ") FROM STDIN (FORMAT binary)");
    pg_put(&sql, "", 1);
    int32_t r = sql.failed ? no_memory(s) : pg_run(c, sql.p, what);
    free(sql.p);
    if (r != AW_OK)
        return r;
    r = send_tuples(s, job, token, &count, what);
    if (c->pg == NULL)
        return r;
    /* With a message, the server drops what it has. */
    char said[PG_TEXT_MAX];
    memcpy(said, c->text, sizeof said);
    int sent = PQputCopyEnd(c->pg, r == AW_OK ? NULL : "the client gave up");
    int32_t end = pg_finish(c, sent == 1, &res, what);
    if (r != AW_OK) {
        PQclear(res);
        return pg_fail(c, r, "%s", said);
    }
    if (end == AW_OK && strtoull(PQcmdTuples(res), NULL, 10) != count) /* a trigger kept some out: see which */
        end = pg_fail(c, AW_E_REJECTED, "%s: %s: the table did not take all rows", c->set->place, what);
    PQclear(res);
    return end;
}

/* ---- INSERT ---- */

struct values {
    const char *value[PG_COLUMNS];
    int length[PG_COLUMNS], format[PG_COLUMNS];
};

static int32_t load_values(struct pg_sink *s, const struct aw_event *event, struct values *v)
{
    s->buf.len = 0;
    int32_t code = pg_put_event(s->host, &s->buf, event);
    if (code != AW_OK)
        return fail_render(s, code);
    if (s->buf.failed)
        return no_memory(s);
    const unsigned char *p = (const unsigned char *)s->buf.p;
    for (size_t i = 0; i < PG_COLUMNS; i++) {
        uint32_t n = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        p += 4;
        v->value[i] = n == UINT32_MAX ? NULL : (const char *)p;
        v->length[i] = n == UINT32_MAX ? 0 : (int)n;
        v->format[i] = 1;
        p += n == UINT32_MAX ? 0 : n;
    }
    return AW_OK;
}

/* One run of INSERTs under way, ended by a sync. */
struct run {
    size_t from, end; /* events [from, end) were sent */
    bool careful;
    bool begin, commit;
};

static int send_simple(struct pg_conn *c, const char *sql)
{
    return PQsendQueryParams(c->pg, sql, 0, NULL, NULL, NULL, NULL, 0);
}

/* Large events make the run shorter. */
static int32_t send_run(struct pg_sink *s, const struct pg_job *job, struct run *run)
{
    struct pg_conn *c = &s->conn;
    struct values v;
    size_t bytes = 0;
    int ok = !run->begin || send_simple(c, "BEGIN");
    if (ok && run->begin && run->careful) /* what is only looked at with COMMIT could be any row's fault */
        ok = send_simple(c, "SET CONSTRAINTS ALL IMMEDIATE");
    for (size_t i = run->from; ok && i < run->end; i++) {
        int32_t r = load_values(s, job->batch->events[i], &v);
        if (r != AW_OK)
            return r;
        if (run->careful)
            ok = send_simple(c, "SAVEPOINT aw");
        ok = ok && PQsendQueryPrepared(c->pg, INSERT, PG_COLUMNS, v.value, v.length, v.format, 1);
        if (run->careful)
            ok = ok && send_simple(c, "RELEASE aw");
        bytes += s->buf.len;
        if (bytes >= WINDOW_BYTES)
            run->end = i + 1;
    }
    run->commit = run->commit && run->end == job->batch->count;
    if (ok && run->commit)
        ok = send_simple(c, "COMMIT");
    ok = ok && PQpipelineSync(c->pg);
    return ok ? pg_flush_out(c, "cannot store") : pg_fail_result(c, NULL, "cannot store");
}

/* The result of one command in the pipeline: *ret is it, without what PQgetResult() puts between. */
static int32_t next_result(struct pg_sink *s, PGresult **ret)
{
    PGresult *end;
    int32_t r = pg_next(&s->conn, ret, "cannot store");
    if (r == AW_OK && *ret == NULL)
        r = pg_fail_result(&s->conn, NULL, "cannot store");
    if (r != AW_OK || PQresultStatus(*ret) == PGRES_PIPELINE_SYNC)
        return r;
    r = pg_next(&s->conn, &end, "cannot store");
    if (r == AW_OK && end != NULL) { /* an error in what was a success: at the end of its transaction */
        PQclear(*ret);
        *ret = end;
        r = pg_next(&s->conn, &end, "cannot store");
        PQclear(r == AW_OK ? end : NULL);
    }
    if (r != AW_OK) {
        PQclear(*ret);
        *ret = NULL;
    }
    return r;
}

/* Reads up to the sync. *ret_failed: the event whose command failed, SIZE_MAX if none or not an event's; then code and
 * text are set and AW_OK is returned only when the connection still works. */
static int32_t read_run(struct pg_sink *s, struct pg_job *job, const struct run *run, size_t *ret_failed,
                        int32_t *ret_code)
{
    size_t steps = run->careful ? 3 : 1, lead = run->begin ? 1 + run->careful : 0;
    *ret_failed = SIZE_MAX;
    *ret_code = AW_OK;
    for (size_t k = 0;; k++) {
        PGresult *res;
        int32_t r = next_result(s, &res);
        if (r != AW_OK)
            return r;
        ExecStatusType t = PQresultStatus(res);
        size_t i = k < lead ? SIZE_MAX : run->from + (k - lead) / steps;
        bool insert = k >= lead && i < run->end && (!run->careful || (k - lead) % steps == 1);
        if (t == PGRES_COMMAND_OK && insert)
            job->status[i] = strcmp(PQcmdTuples(res), "1") == 0 ? AW_EVENT_ACCEPTED : AW_EVENT_DUPLICATE;
        else if (t == PGRES_COMMAND_OK && i == run->end && strcmp(PQcmdStatus(res), "COMMIT") != 0)
            *ret_code = pg_fail(&s->conn, AW_E_RETRY, "%s: the server rolled back instead", s->set.place);
        else if (t != PGRES_COMMAND_OK && t != PGRES_PIPELINE_ABORTED && t != PGRES_PIPELINE_SYNC &&
                 *ret_code == AW_OK) {
            *ret_code = pg_fail_result(&s->conn, res, "cannot store");
            *ret_failed = i < run->end ? i : SIZE_MAX;
            if (s->conn.pg == NULL) {
                PQclear(res);
                return *ret_code;
            }
            if (*ret_code == AW_E_REJECTED && run->careful && *ret_failed != SIZE_MAX) {
                char why[256];
                pg_primary(res, why, sizeof why);
                aw_host_event_error(s->host, i, "PostgreSQL refuses the row: %s (SQLSTATE %s)", why, s->conn.state);
            }
        }
        PQclear(res);
        if (t == PGRES_PIPELINE_SYNC)
            return AW_OK;
    }
}

static int32_t control(struct pg_sink *s, const char *sql)
{
    if (PQpipelineStatus(s->conn.pg) != PQ_PIPELINE_OFF && PQexitPipelineMode(s->conn.pg) == 0)
        return pg_fail_result(&s->conn, NULL, "cannot store");
    return pg_run(&s->conn, sql, "cannot store");
}

static int32_t enter(struct pg_sink *s)
{
    return PQpipelineStatus(s->conn.pg) != PQ_PIPELINE_OFF || PQenterPipelineMode(s->conn.pg) == 1
               ? AW_OK
               : pg_fail_result(&s->conn, NULL, "cannot store");
}

/* Asks for the events [from, *ret_end) that are duplicates, at most a window of them. */
static int32_t send_finds(struct pg_sink *s, const struct pg_job *job, size_t from, size_t *ret_end)
{
    struct pg_conn *c = &s->conn;
    size_t i = from, count = 0;
    for (; i < job->batch->count && count < WINDOW; i++) {
        if (job->status[i] != AW_EVENT_DUPLICATE)
            continue;
        s->buf.len = 0;
        int32_t r = pg_put_key(s->host, &s->buf, job->batch->events[i]);
        pg_put(&s->buf, "", 1);
        if (r != AW_OK || s->buf.failed)
            return r != AW_OK ? fail_render(s, r) : no_memory(s);
        const char *value = s->buf.p;
        if (PQsendQueryPrepared(c->pg, FIND, 1, &value, NULL, NULL, 0) == 0)
            return pg_fail_result(c, NULL, "cannot store");
        count++;
    }
    *ret_end = i;
    return PQpipelineSync(c->pg) ? pg_flush_out(c, "cannot store") : pg_fail_result(c, NULL, "cannot store");
}

/* "0 rows" is said of a duplicate, and of a row that a trigger or a rule dropped. Which are there? */
static int32_t look_at_duplicates(struct pg_sink *s, struct pg_job *job)
{
    size_t at = 0, end = 0;
    int32_t r = enter(s);
    while (r == AW_OK && at < job->batch->count && (r = send_finds(s, job, at, &end)) == AW_OK) {
        for (;;) {
            PGresult *res;
            if ((r = next_result(s, &res)) != AW_OK)
                return r;
            ExecStatusType t = PQresultStatus(res);
            while (t == PGRES_TUPLES_OK && job->status[at] != AW_EVENT_DUPLICATE)
                at++;
            if (t == PGRES_TUPLES_OK && PQntuples(res) > 0)
                job->duplicates++;
            else if (t == PGRES_TUPLES_OK) {
                job->status[at] = AW_EVENT_REJECTED;
                aw_host_event_error(s->host, at, "a trigger or rule of %s keeps the row out", s->set.place);
            } else if (t != PGRES_PIPELINE_SYNC)
                r = pg_fail_result(&s->conn, res, "cannot store");
            at += t == PGRES_TUPLES_OK;
            PQclear(res);
            if (t == PGRES_PIPELINE_SYNC)
                break;
            if (r != AW_OK)
                return r;
        }
        at = end;
    }
    return r == AW_OK && PQexitPipelineMode(s->conn.pg) == 0 ? pg_fail_result(&s->conn, NULL, "cannot store") : r;
}

static bool any(const struct pg_job *job, uint8_t status)
{
    return memchr(job->status, status, job->batch->count) != NULL;
}

/* After the rows: looks at the duplicates inside the same transaction. */
static int32_t settle(struct pg_sink *s, struct pg_job *job)
{
    if (s->conn.pg != NULL && PQpipelineStatus(s->conn.pg) != PQ_PIPELINE_OFF && PQexitPipelineMode(s->conn.pg) == 0)
        return pg_fail_result(&s->conn, NULL, "cannot store");
    return any(job, AW_EVENT_DUPLICATE) ? look_at_duplicates(s, job) : AW_OK;
}

static int32_t insert_rows(struct pg_sink *s, struct pg_job *job, bool careful, bool whole)
{
    size_t at = 0, n = job->batch->count;
    int32_t r = AW_OK;
    while (r == AW_OK && at < n) {
        struct run run = {at, n - at > WINDOW ? at + WINDOW : n, careful, whole && at == 0, false};
        size_t failed;
        int32_t code;
        /* All of a small batch in one go: nothing is waited for in between. */
        run.commit = whole && run.begin && !careful;
        r = enter(s);
        if (r == AW_OK)
            r = send_run(s, job, &run);
        if (r == AW_OK)
            r = read_run(s, job, &run, &failed, &code);
        if (r != AW_OK)
            return r;
        if (code == AW_OK)
            at = run.end;
        else if (code != AW_E_REJECTED || !careful || failed == SIZE_MAX)
            return code;
        else {
            job->status[failed] = AW_EVENT_REJECTED;
            r = control(s, "ROLLBACK TO aw");
            at = failed + 1;
        }
        if (r == AW_OK && run.commit && code == AW_OK)
            return settle(s, job);
    }
    if (r == AW_OK)
        r = settle(s, job);
    return r == AW_OK && whole ? control(s, "COMMIT") : r;
}

int32_t pg_insert(struct pg_sink *s, struct pg_job *job, bool careful, bool whole)
{
    int32_t r = insert_rows(s, job, careful, whole);
    if (r != AW_OK && s->conn.pg != NULL && PQpipelineStatus(s->conn.pg) != PQ_PIPELINE_OFF &&
        PQexitPipelineMode(s->conn.pg) == 0)
        pg_close(&s->conn); /* results are under way that nobody will read */
    return r;
}
