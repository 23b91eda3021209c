/* pg_write.c - one transaction a batch; statuses are final when its COMMIT was answered.
 * SPDX-License-Identifier: Apache-2.0
 *
 * When the connection breaks before that, nobody knows: the statuses stay unknown, the host sends the events again, and
 * those which did get in are duplicates then.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define COPY_FROM 3u /* as few events go in one round trip, which COPY cannot */

int32_t pg_set_health(struct pg_sink *s, int32_t code)
{
    pthread_mutex_lock(&s->lock);
    int32_t state = code == AW_OK                                                      ? AW_HEALTH_OK
                    : code == AW_E_RETRY || code == AW_E_TIMEOUT || code == AW_E_NOMEM ? AW_HEALTH_DEGRADED
                                                                                       : AW_HEALTH_DOWN;
    if (state != s->health.state) {
        s->health.state = state;
        s->health.since_ns = s->host->now_ns();
    }
    if (code == AW_OK)
        s->health.last_success_ns = s->host->now_ns();
    s->health.last_error = code;
    snprintf(s->health.detail, sizeof s->health.detail, "%.*s", (int)sizeof s->health.detail - 1,
             code == AW_OK ? "" : s->conn.text);
    pthread_mutex_unlock(&s->lock);
    return code;
}

int32_t pg_ready(struct pg_sink *s, uint64_t deadline_ns)
{
    struct pg_conn *c = &s->conn;
    c->deadline_ns = deadline_ns;
    if (c->pg != NULL && pg_alive(c))
        return AW_OK;
    int32_t r = pg_connect(c, PG_WRITE);
    s->staging_ready = false;
    if (r == AW_OK)
        s->host->metric_add(s->host, s->metric_connects, 1);
    if (r == AW_OK)
        r = pg_check_table(c, true, &s->table);
    if (r == AW_OK)
        r = pg_prepare(s);
    if (r != AW_OK)
        pg_close(c);
    return r;
}

static int32_t store(struct pg_sink *s, struct pg_job *job)
{
    int32_t r = AW_E_REJECTED;
    if (job->batch->count >= COPY_FROM && !s->expect_duplicates && !s->table.row_security)
        r = pg_copy(s, job, NULL);
    if (r == AW_OK) {
        memset(job->status, AW_EVENT_ACCEPTED, job->batch->count);
        return AW_OK;
    }
    for (int careful = 0; r == AW_E_REJECTED && careful < 2; careful++) {
        if (s->conn.pg == NULL)
            return AW_E_UNAVAILABLE;
        pg_roll_back(&s->conn);
        if (s->conn.pg == NULL)
            return pg_fail(&s->conn, AW_E_UNAVAILABLE, "%s: cannot store: the connection broke", s->set.place);
        pg_forget(job);
        r = pg_insert(s, job, careful, true);
    }
    if (r == AW_E_REJECTED) /* at the very end, and no row's alone */
        r = AW_E_RETRY;
    return r;
}

static void finish(struct pg_sink *s, const struct pg_job *job)
{
    uint64_t seq;
    for (size_t i = 0; i < job->batch->count; i++) {
        if (job->status[i] == AW_EVENT_ACCEPTED)
            job->status[i] = AW_EVENT_DURABLE;
        if (job->status[i] != AW_EVENT_REJECTED &&
            s->host->event_number(job->batch->events[i], AW_NUMBER_SEQ, &seq) == AW_OK && seq > s->stored_seq)
            s->stored_seq = seq;
    }
    s->expect_duplicates = job->duplicates > 0;
    if (job->duplicates > 0)
        s->host->metric_add(s->host, s->metric_duplicates, (double)job->duplicates);
    s->host->metric_add(s->host, s->metric_transactions, 1);
}

int32_t pg_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct pg_sink *s = sink;
    struct pg_job job = {batch, result->status, 0};
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: write before start", s->set.place);
    int32_t r = pg_ready(s, batch->deadline_ns);
    if (r == AW_OK)
        r = store(s, &job);
    if (r == AW_OK)
        finish(s, &job);
    else {
        pg_forget(&job);
        pg_roll_back(&s->conn);
    }
    pg_buf_trim(&s->buf);
    return pg_set_health(s, r);
}

int32_t pg_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct pg_sink *s = sink;
    (void)deadline_ns; /* nothing is ever pending */
    *ret_durable_seq = s->stored_seq;
    return AW_OK;
}
