/* pg_stage.c - the transaction extension: staged events wait in a table of their own, and commit moves them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Not PREPARE TRANSACTION: servers have it switched off (max_prepared_transactions = 0), it keeps every lock of what is
 * prepared, and keeps vacuum from cleaning up for as long as a host is down. A table needs nothing of that.
 *
 * stage() first tries the rows on the table itself, behind a savepoint that is rolled back: so a row that the table
 * would refuse (a constraint, a trigger) is refused here, and one that it has is seen to be a duplicate. commit() is
 * one statement that takes the rows out of the one table and puts them into the other, so that it can be called again
 * after anything.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

static int32_t begin_call(struct pg_sink *s, uint64_t deadline_ns)
{
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: not started", s->set.place);
    int32_t r = pg_ready(s, deadline_ns);
    if (r == AW_OK && !s->staging_ready) {
        r = pg_check_staged(&s->conn);
        s->staging_ready = r == AW_OK;
    }
    return r;
}

/* "DELETE FROM ..." with this behind; the token is $1. */
static int32_t delete_token(struct pg_sink *s, const char *token)
{
    struct pg_buf sql = {0};
    pg_puts(&sql, "DELETE FROM ");
    pg_puts(&sql, s->set.staged);
    pg_puts(&sql, " WHERE token = $1");
    pg_put(&sql, "", 1);
    int32_t r = sql.failed ? pg_fail(&s->conn, AW_E_NOMEM, "out of memory")
                           : pg_ask(&s->conn, sql.p, 1, &token, NULL, "cannot stage");
    free(sql.p);
    return r;
}

/* Tries every row on the table. AW_OK: all statuses are set, the table is as before. */
static int32_t try_rows(struct pg_sink *s, struct pg_job *job)
{
    int32_t r = pg_run(&s->conn, "SAVEPOINT trial; SET CONSTRAINTS ALL IMMEDIATE", "cannot stage"),
            copied = AW_E_REJECTED;
    if (r == AW_OK && !s->expect_duplicates && !s->table.row_security) {
        copied = pg_copy(s, job, NULL);
        if (copied != AW_OK && copied != AW_E_REJECTED)
            return copied;
        r = pg_run(&s->conn, "ROLLBACK TO trial", "cannot stage");
    }
    if (r == AW_OK && copied == AW_OK) {
        memset(job->status, AW_EVENT_ACCEPTED, job->batch->count);
        return AW_OK;
    }
    if (r == AW_OK)
        r = pg_insert(s, job, true, false);
    return r == AW_OK ? pg_run(&s->conn, "ROLLBACK TO trial", "cannot stage") : r;
}

static int32_t stage_rows(struct pg_sink *s, struct pg_job *job, const char *token)
{
    int32_t r = pg_run(&s->conn, "BEGIN", "cannot stage");
    if (r == AW_OK)
        r = delete_token(s, token); /* what an earlier try of this token left */
    if (r == AW_OK)
        r = try_rows(s, job);
    if (r == AW_OK && memchr(job->status, AW_EVENT_ACCEPTED, job->batch->count) != NULL)
        r = pg_copy(s, job, token);
    if (r == AW_OK)
        r = pg_run(&s->conn, "COMMIT", "cannot stage");
    return r == AW_E_REJECTED ? AW_E_RETRY : r;
}

static int32_t stage(void *sink, const struct aw_batch *batch, struct aw_result *result, const char *token)
{
    struct pg_sink *s = sink;
    struct pg_job job = {batch, result->status, 0};
    int32_t r = begin_call(s, batch->deadline_ns);
    if (r == AW_OK)
        r = stage_rows(s, &job, token);
    if (r != AW_OK) {
        pg_forget(&job);
        pg_roll_back(&s->conn);
    } else {
        s->expect_duplicates = job.duplicates > 0;
        if (job.duplicates > 0)
            s->host->metric_add(s->host, s->metric_duplicates, (double)job.duplicates);
    }
    pg_buf_trim(&s->buf);
    return pg_set_health(s, r);
}

static int32_t commit(void *sink, const char *token)
{
    struct pg_sink *s = sink;
    struct pg_buf sql = {0};
    PGresult *res = NULL;
    int32_t r = begin_call(s, 0);
    if (r != AW_OK)
        return pg_set_health(s, r);
    pg_puts(&sql, "WITH gone AS (DELETE FROM ");
    pg_puts(&sql, s->set.staged);
    pg_puts(&sql, " WHERE token = $1 RETURNING ");
    pg_put_columns(&sql);
    pg_puts(&sql, "), moved AS (INSERT INTO ");
    pg_puts(&sql, s->set.full);
    pg_puts(&sql, " (");
    pg_put_columns(&sql);
    pg_puts(&sql, ") SELECT ");
    pg_put_columns(&sql);
    pg_puts(&sql, " FROM gone ORDER BY seq ON CONFLICT (event_id");
    pg_puts(&sql, s->table.partitioned ? ", occurred_at" : "");
    pg_puts(&sql, ") DO NOTHING RETURNING 1) SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM moved)");
    pg_put(&sql, "", 1);
    r = sql.failed ? pg_fail(&s->conn, AW_E_NOMEM, "out of memory")
                   : pg_ask(&s->conn, sql.p, 1, &token, &res, "cannot commit");
    free(sql.p);
    if (r == AW_OK) {
        long known = strtol(PQgetvalue(res, 0, 0), NULL, 10);
        if (known > 0) /* written in another way meanwhile */
            s->host->metric_add(s->host, s->metric_duplicates, (double)known);
        s->host->metric_add(s->host, s->metric_transactions, 1);
    }
    PQclear(res);
    return pg_set_health(s, r == AW_E_REJECTED ? AW_E_RETRY : r); /* it took the rows when they were tried */
}

static int32_t roll_back(void *sink, const char *token)
{
    struct pg_sink *s = sink;
    int32_t r = begin_call(s, 0);
    if (r == AW_OK)
        r = delete_token(s, token);
    return pg_set_health(s, r);
}

/* ---- after a restart ---- */

void pg_forget_tokens(struct pg_sink *s)
{
    for (size_t i = 0; s->tokens != NULL && s->tokens[i] != NULL; i++)
        free(s->tokens[i]);
    free(s->tokens);
    s->tokens = NULL;
}

static int32_t keep_tokens(struct pg_sink *s, const PGresult *res, size_t *ret_count)
{
    int n = PQntuples(res);
    s->tokens = calloc((size_t)n + 1, sizeof *s->tokens);
    if (s->tokens == NULL)
        return pg_fail(&s->conn, AW_E_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        s->tokens[i] = strdup(PQgetvalue(res, i, 0));
        if (s->tokens[i] == NULL)
            return pg_fail(&s->conn, AW_E_NOMEM, "out of memory");
    }
    *ret_count = (size_t)n;
    return AW_OK;
}

static int32_t in_doubt(void *sink, const char *const **ret_tokens, size_t *ret_count)
{
    struct pg_sink *s = sink;
    PGresult *res = NULL;
    struct pg_buf sql = {0};
    pg_forget_tokens(s);
    *ret_tokens = NULL;
    *ret_count = 0;
    int32_t r = begin_call(s, 0);
    pg_puts(&sql, "SELECT DISTINCT token FROM ");
    pg_puts(&sql, s->set.staged);
    pg_put(&sql, "", 1);
    if (r == AW_OK)
        r = sql.failed ? pg_fail(&s->conn, AW_E_NOMEM, "out of memory")
                       : pg_ask(&s->conn, sql.p, 0, NULL, &res, "cannot list staged events");
    free(sql.p);
    if (r == AW_OK)
        r = keep_tokens(s, res, ret_count);
    PQclear(res);
    if (r == AW_OK)
        *ret_tokens = (const char *const *)s->tokens;
    return r == AW_OK ? AW_OK : pg_set_health(s, r);
}

const struct aw_sink_transaction pg_transaction = {sizeof pg_transaction, 0, stage, commit, roll_back, in_doubt};
