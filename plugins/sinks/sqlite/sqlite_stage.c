/* sqlite_stage.c - the transaction extension: staged events wait in a table of their own, and commit moves them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * stage() first tries each row on the table itself, behind a savepoint that is rolled back: so a row that the table
 * would refuse (a constraint, a trigger) is refused here, and one that it has is seen to be a duplicate. commit() moves
 * the rows and takes them out of the staging table in one transaction, so that it can be called again after anything.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "sqlite_sink.h"

static int32_t begin_call(struct sqlite_sink *s, uint64_t deadline_ns)
{
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: not started", s->path);
    s->deadline_ns = deadline_ns;
    return sq_ready(s);
}

/* Binds the token, which is the statement's last parameter, and runs it. SQLITE_OK or another rc. */
static int step_token(sqlite3_stmt *st, const char *token)
{
    int rc = sqlite3_bind_text(st, sqlite3_bind_parameter_count(st), token, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    int reset = sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc != SQLITE_OK ? rc : reset;
}

/* Tries every row on the table. SQLITE_OK: all statuses are set, the table is as before. */
static int try_rows(struct sqlite_sink *s, struct sq_job *job)
{
    int rc = sq_exec(s, "SAVEPOINT staging");
    for (size_t i = 0; rc == SQLITE_OK && i < job->batch->count; i++) {
        if (job->status[i] == AW_EVENT_REJECTED)
            continue;
        rc = sq_insert_event(s, job, i);
        if (rc == SQLITE_ABORT) { /* a trigger's RAISE(ROLLBACK): once more without that row */
            sq_forget(job);
            rc = sq_exec(s, "BEGIN IMMEDIATE");
            if (rc == SQLITE_OK)
                rc = sq_exec(s, "SAVEPOINT staging");
            i = SIZE_MAX;
        }
    }
    sqlite3_clear_bindings(s->insert);
    return rc == SQLITE_OK ? sq_exec(s, "ROLLBACK TO staging; RELEASE staging") : rc;
}

static int stage_rows(struct sqlite_sink *s, struct sq_job *job, const char *token)
{
    int rc = sq_exec(s, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK)
        rc = try_rows(s, job);
    if (rc == SQLITE_OK)
        rc = step_token(s->drop, token); /* what an earlier try of this token left */
    for (size_t i = 0; rc == SQLITE_OK && i < job->batch->count; i++) {
        if (job->status[i] != AW_EVENT_ACCEPTED)
            continue;
        rc = sq_bind_event(s, s->stage, job->batch->events[i], &job->code);
        if (rc == SQLITE_OK)
            rc = step_token(s->stage, token);
    }
    return rc == SQLITE_OK ? sq_end(s) : rc;
}

static int32_t sq_stage(void *sink, const struct aw_batch *batch, struct aw_result *result, const char *token)
{
    struct sqlite_sink *s = sink;
    struct sq_job job = {batch, result->status, batch->count, 0, AW_OK};
    int32_t r = begin_call(s, batch->deadline_ns);
    if (r != AW_OK)
        return r;
    int rc = stage_rows(s, &job, token);
    if (rc != SQLITE_OK)
        r = sq_fail_transaction(s, rc, &job, "cannot stage");
    else
        r = sq_make_durable(s);
    if (r != AW_OK) {
        sq_forget(&job);
        return r;
    }
    if (job.duplicates > 0)
        s->host->metric_add(s->host, s->metric_duplicates, (double)job.duplicates);
    return sq_set_health(s, AW_OK, "");
}

/* Moves the token's rows into the table, or only takes them away. */
static int32_t decide(struct sqlite_sink *s, const char *token, bool commit)
{
    int32_t r = begin_call(s, 0);
    if (r != AW_OK)
        return r;
    int moved = 0, gone = 0, rc = sq_exec(s, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK && commit) {
        rc = step_token(s->move, token);
        moved = sqlite3_changes(s->db);
    }
    if (rc == SQLITE_OK) {
        rc = step_token(s->drop, token);
        gone = sqlite3_changes(s->db);
    }
    if (rc == SQLITE_OK)
        rc = sq_end(s);
    if (rc != SQLITE_OK)
        return sq_fail_transaction(s, rc, NULL, commit ? "cannot commit staged events" : "cannot roll back");
    if (commit && (r = sq_make_durable(s)) != AW_OK)
        return r;
    if (commit && gone > moved) /* written in another way meanwhile */
        s->host->metric_add(s->host, s->metric_duplicates, (double)(gone - moved));
    s->host->metric_add(s->host, s->metric_transactions, 1);
    return sq_set_health(s, AW_OK, "");
}

static int32_t sq_commit(void *sink, const char *token)
{
    return decide(sink, token, true);
}

static int32_t sq_roll_back(void *sink, const char *token)
{
    return decide(sink, token, false);
}

/* ---- after a restart ---- */

void sq_forget_tokens(struct sqlite_sink *s)
{
    for (size_t i = 0; s->tokens != NULL && s->tokens[i] != NULL; i++)
        free(s->tokens[i]);
    free(s->tokens);
    s->tokens = NULL;
}

static int add_token(struct sqlite_sink *s, const char *token, size_t *count)
{
    char **more = token != NULL ? realloc(s->tokens, (*count + 2) * sizeof *more) : NULL;
    if (more == NULL)
        return SQLITE_NOMEM;
    s->tokens = more;
    s->tokens[*count] = strdup(token);
    if (s->tokens[*count] == NULL)
        return SQLITE_NOMEM;
    s->tokens[++*count] = NULL;
    return SQLITE_OK;
}

static int32_t sq_in_doubt(void *sink, const char *const **ret_tokens, size_t *ret_count)
{
    struct sqlite_sink *s = sink;
    sqlite3_stmt *st = NULL;
    size_t count = 0;
    sq_forget_tokens(s);
    *ret_tokens = NULL;
    *ret_count = 0;
    int32_t r = begin_call(s, 0);
    if (r != AW_OK)
        return r;
    int rc = sqlite3_prepare_v2(s->db, "SELECT DISTINCT token FROM " SQ_STAGED, -1, &st, NULL), added = SQLITE_OK;
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW && (added = add_token(s, (const char *)sqlite3_column_text(st, 0), &count)) != SQLITE_OK)
            break;
    }
    if (rc != SQLITE_DONE)
        r = sq_fail(s, added != SQLITE_OK ? NULL : s->db, added != SQLITE_OK ? added : rc, "cannot list staged events");
    sqlite3_finalize(st);
    if (r != AW_OK)
        return r;
    *ret_tokens = (const char *const *)s->tokens;
    *ret_count = count;
    return AW_OK;
}

const struct aw_sink_transaction sq_transaction = {
    sizeof sq_transaction, 0, sq_stage, sq_commit, sq_roll_back, sq_in_doubt,
};
