/* sqlite_write.c - one transaction a batch; a row that cannot be stored does not stop the others.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Statuses are provisional until COMMIT succeeds; on any failure of the transaction they go back to "unknown", and the
 * host sends the events again. Rows are told apart by event_id, so that an event which did get in counts as a duplicate
 * then.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sqlite_sink.h"

#define DEADLINE_STEP 128u
#define CONFLICT_LOG_NS 10000000000u

static int bind_text(sqlite3_stmt *st, int at, struct aw_str s)
{
    /* bind_text64 with SQLITE_STATIC: the host keeps the bytes until write() returns. NUL in the text is kept. */
    return sqlite3_bind_text64(st, at, s.ptr != NULL ? s.ptr : "", s.len, SQLITE_STATIC, SQLITE_UTF8);
}

int sq_bind_event(struct sqlite_sink *s, sqlite3_stmt *st, const struct aw_event *event, int32_t *ret_code)
{
    const struct aw_host *h = s->host;
    for (size_t i = 0; i < sq_column_count; i++) {
        const struct sq_column *c = &sq_columns[i];
        struct aw_str text;
        uint64_t number;
        int rc, at = (int)i + 1;
        if (c->source == SQ_NUMBER) {
            rc = h->event_number(event, c->id, &number) == AW_OK ? sqlite3_bind_int64(st, at, (sqlite3_int64)number)
                                                                 : sqlite3_bind_null(st, at);
        } else if (c->source == SQ_JSON) {
            *ret_code = h->event_encoded(event, "json", &text);
            if (*ret_code != AW_OK)
                return -1;
            rc = bind_text(st, at, text);
        } else
            rc = h->event_field(event, c->id, &text) == AW_OK ? bind_text(st, at, text) : sqlite3_bind_null(st, at);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

/* The id is taken. By the same event, as it should be, or by another one that somebody gave the same id? */
static void look_at_duplicate(struct sqlite_sink *s, const struct aw_event *event)
{
    struct aw_str id, json;
    uint64_t now = s->host->mono_ns();
    if (s->conflict_logged_ns != 0 && now - s->conflict_logged_ns < CONFLICT_LOG_NS)
        return;
    if (s->host->event_field(event, AW_FIELD_EVENT_ID, &id) != AW_OK ||
        s->host->event_encoded(event, "json", &json) != AW_OK)
        return;
    if (bind_text(s->find, 1, id) == SQLITE_OK && bind_text(s->find, 2, json) == SQLITE_OK &&
        sqlite3_step(s->find) == SQLITE_ROW && sqlite3_column_int(s->find, 0) == 0) {
        aw_host_log(s->host, AW_LOG_WARNING,
                    "%s: an event with the id %.*s and other content is stored already (seq %lld)", s->path,
                    (int)(id.len < 128 ? id.len : 128), id.ptr, (long long)sqlite3_column_int64(s->find, 1));
        s->conflict_logged_ns = now;
    }
    sqlite3_reset(s->find);
    sqlite3_clear_bindings(s->find);
}

static bool row_is_at_fault(int rc)
{
    int primary = rc & 0xff;
    return primary == SQLITE_CONSTRAINT || primary == SQLITE_TOOBIG || primary == SQLITE_MISMATCH;
}

int sq_exec(struct sqlite_sink *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

int sq_insert_event(struct sqlite_sink *s, struct sq_job *job, size_t i)
{
    const struct aw_event *event = job->batch->events[i];
    int rc = sq_bind_event(s, s->insert, event, &job->code);
    if (rc == -1)
        return -1;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s->insert);
    if (rc == SQLITE_DONE) {
        bool fresh = sqlite3_changes(s->db) > 0;
        sqlite3_reset(s->insert);
        job->status[i] = fresh ? AW_EVENT_ACCEPTED : AW_EVENT_DUPLICATE;
        if (!fresh) {
            job->duplicates++;
            look_at_duplicate(s, event);
        }
        return SQLITE_OK;
    }
    if (row_is_at_fault(rc)) {
        aw_host_event_error(s->host, i, "SQLite refuses the row: %s", sqlite3_errmsg(s->db));
        job->status[i] = AW_EVENT_REJECTED;
        sqlite3_reset(s->insert);
        return sqlite3_get_autocommit(s->db) ? SQLITE_ABORT : SQLITE_OK;
    }
    return rc;
}

void sq_forget(struct sq_job *job)
{
    for (size_t i = 0; i < job->batch->count; i++)
        if (job->status[i] != AW_EVENT_REJECTED)
            job->status[i] = AW_EVENT_UNKNOWN;
    job->duplicates = 0;
}

int sq_end(struct sqlite_sink *s)
{
    int rc = sq_exec(s, "COMMIT");
    if ((rc & 0xff) == SQLITE_IOERR)
        s->wal_suspect = true; /* the frames may be in the log without being on disk */
    return rc;
}

/* All events of the batch up to the deadline, or up to one that is refused: position() must not pass that one before
 * the host has it among its dead letters. SQLITE_OK: committed. */
static int run_transaction(struct sqlite_sink *s, struct sq_job *job)
{
    int rc = sq_exec(s, "BEGIN IMMEDIATE");
    for (size_t i = 0; rc == SQLITE_OK && i < job->batch->count; i++) {
        if (i % DEADLINE_STEP == DEADLINE_STEP - 1 && s->deadline_ns != 0 && s->host->mono_ns() >= s->deadline_ns)
            break; /* what is in is committed, the rest comes again */
        job->end = i + 1;
        if (job->status[i] != AW_EVENT_REJECTED)
            rc = sq_insert_event(s, job, i);
        if (rc == SQLITE_ABORT) { /* a trigger's RAISE(ROLLBACK): once more without that row */
            sq_forget(job);
            rc = sq_exec(s, "BEGIN IMMEDIATE");
            i = SIZE_MAX;
        } else if (job->status[i] == AW_EVENT_REJECTED) {
            break;
        }
    }
    if (rc != SQLITE_OK)
        return rc;
    return sq_end(s);
}

/* Makes the log durable where COMMIT does not. 0 or -errno. */
static int sync_wal(struct sqlite_sink *s)
{
    char name[PATH_MAX + 8];
    snprintf(name, sizeof name, "%s-wal", s->path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno; /* no log: all is in the database, synced by the checkpoint */
    int r = fdatasync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int32_t fail_wal(struct sqlite_sink *s, int e)
{
    s->wal_suspect = true;
    aw_host_error(s->host, AW_E_UNAVAILABLE, "%s-wal: cannot sync: %s", s->path, strerror(-e));
    return sq_set_health(s, AW_E_UNAVAILABLE, "cannot sync the write-ahead log");
}

static int32_t finish(struct sqlite_sink *s, struct sq_job *job)
{
    bool durable = s->full;
    uint64_t seq;
    if (!durable && (job->batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0) {
        int e = sync_wal(s);
        if (e < 0) {
            sq_forget(job);
            return fail_wal(s, e);
        }
        durable = true;
    }
    for (size_t i = 0; i < job->end; i++) {
        if (job->status[i] == AW_EVENT_ACCEPTED && durable)
            job->status[i] = AW_EVENT_DURABLE;
        else if (job->status[i] == AW_EVENT_DUPLICATE && !durable)
            job->status[i] = AW_EVENT_ACCEPTED; /* it may be as young as this transaction */
        if (job->status[i] != AW_EVENT_REJECTED &&
            s->host->event_number(job->batch->events[i], AW_NUMBER_SEQ, &seq) == AW_OK && seq > s->stored_seq)
            s->stored_seq = seq;
    }
    if (job->duplicates > 0)
        s->host->metric_add(s->host, s->metric_duplicates, (double)job->duplicates);
    s->host->metric_add(s->host, s->metric_transactions, 1);
    sq_set_health(s, AW_OK, "");
    bool refused = job->end > 0 && job->status[job->end - 1] == AW_EVENT_REJECTED;
    return job->end < job->batch->count && !refused
               ? aw_host_error(s->host, AW_E_TIMEOUT, "%s: the deadline passed", s->path)
               : AW_OK;
}

int32_t sq_fail_transaction(struct sqlite_sink *s, int rc, const struct sq_job *job, const char *what)
{
    int32_t r = rc == -1 ? aw_host_error(s->host, job->code == AW_E_UNSUPPORTED ? AW_E_INTERNAL : job->code,
                                         "the host cannot render an event")
                         : sq_fail(s, s->db, rc, what);
    sqlite3_stmt *const all[] = {s->insert, s->stage, s->move, s->drop};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sqlite3_reset(all[i]);
        sqlite3_clear_bindings(all[i]);
    }
    if (!sqlite3_get_autocommit(s->db))
        sq_exec(s, "ROLLBACK");
    if (!sqlite3_get_autocommit(s->db) || (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT ||
        rc == SQLITE_READONLY_DBMOVED)
        sq_close(s); /* a fresh connection looks at the files anew */
    return r;
}

int32_t sq_make_durable(struct sqlite_sink *s)
{
    if (s->full)
        return AW_OK;
    int e = sync_wal(s);
    return e < 0 ? fail_wal(s, e) : AW_OK;
}

int32_t sq_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct sqlite_sink *s = sink;
    struct sq_job job = {batch, result->status, 0, 0, AW_OK};
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: write before start", s->path);
    s->deadline_ns = batch->deadline_ns;
    int32_t r = sq_ready(s);
    if (r != AW_OK)
        return r;
    int rc = run_transaction(s, &job);
    if (rc == SQLITE_OK) {
        sqlite3_clear_bindings(s->insert);
        return finish(s, &job);
    }
    sq_forget(&job);
    return sq_fail_transaction(s, rc, &job, "cannot store");
}

int32_t sq_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct sqlite_sink *s = sink;
    s->deadline_ns = deadline_ns;
    if (!s->full && s->stored_seq > s->flushed_seq) {
        int32_t r = s->wal_suspect ? sq_ready(s) : AW_OK;
        int e = r == AW_OK ? sync_wal(s) : 0;
        if (r == AW_OK && e == 0) {
            s->flushed_seq = *ret_durable_seq = s->stored_seq;
            return AW_OK;
        }
        s->stored_seq = s->flushed_seq; /* the host sends those events again */
        return r != AW_OK ? r : fail_wal(s, e);
    }
    s->flushed_seq = s->stored_seq;
    *ret_durable_seq = s->stored_seq;
    return AW_OK;
}

int32_t sq_position(void *sink, struct aw_position *ret)
{
    struct sqlite_sink *s = sink;
    sqlite3_stmt *st = NULL;
    static const char mark[] = "\"hash\":\"";
    if (s->db == NULL)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: position before start", s->path);
    s->deadline_ns = 0;
    int rc = sqlite3_prepare_v2(
        s->db, "SELECT seq, integrity FROM " SQ_TABLE " WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1", -1, &st,
        NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        const char *integrity = (const char *)sqlite3_column_text(st, 1);
        const char *at = integrity != NULL ? strstr(integrity, mark) : NULL;
        ret->seq = (uint64_t)sqlite3_column_int64(st, 0);
        ret->hash[0] = '\0';
        if (at != NULL && (at[-1] == '{' || at[-1] == ',') && strlen(at + sizeof mark - 1) > 64) {
            memcpy(ret->hash, at + sizeof mark - 1, 64);
            ret->hash[64] = '\0';
        }
    }
    int32_t r = rc == SQLITE_ROW    ? AW_OK
                : rc == SQLITE_DONE ? AW_E_NOTFOUND
                                    : sq_fail(s, s->db, rc, "cannot read the position");
    sqlite3_finalize(st);
    return r;
}
