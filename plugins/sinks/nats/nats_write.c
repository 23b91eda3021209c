/* nats_write.c - events to the stream, its confirmations back. SPDX-License-Identifier: Apache-2.0
 *
 * Up to max_in_flight events are published before the first is confirmed. An event is durable when the server says so,
 * and never by anything else: what is not answered when the call ends stays unknown, and the next call publishes it
 * again under the same message id.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nats_sink.h"

#define REPORT_NS UINT64_C(10000000000)
#define GATHER_FROM 64
#define GATHER_NS 200000
#define HEADER_ROOM 400 /* bytes of our headers in a message, at most */

enum np_event_state { OPEN, SENT, DONE };

struct job {
    struct nats_sink *s;
    const struct aw_batch *batch;
    struct aw_result *result;
    uint64_t until_ns;
    size_t next;      /* first event that was not looked at for publishing on this connection */
    size_t in_flight; /* SENT */
    size_t open;      /* not DONE */
    size_t settled;   /* DONE by an answer */
    size_t duplicates;
    uint64_t heard_ns; /* last answer, or first publishing of what is in flight */
    bool stop;         /* publish no more: the stream does not take it now */
    bool no_responders;
    int32_t code; /* of the worst answer */
    char why[NP_TEXT];
};

/* ---- the batch ---- */

void np_free_batch(struct nats_sink *s)
{
    free(s->lines);
    free(s->state);
    s->lines = NULL;
    s->state = NULL;
    s->cap = 0;
}

static int32_t take_batch(struct nats_sink *s, const struct aw_batch *batch)
{
    if (batch->count > s->cap) {
        np_free_batch(s);
        s->lines = calloc(batch->count, sizeof *s->lines);
        s->state = calloc(batch->count, 1);
        if (s->lines == NULL || s->state == NULL) {
            np_free_batch(s);
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        }
        s->cap = batch->count;
    }
    memset(s->state, OPEN, batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        int32_t r = s->host->event_encoded(batch->events[i], "json", &s->lines[i]);
        if (r != AW_OK)
            return aw_host_error(s->host, r == AW_E_UNSUPPORTED ? AW_E_INTERNAL : r, "the host cannot render an event");
    }
    return AW_OK;
}

static void done(struct job *j, size_t i, uint8_t status)
{
    j->s->state[i] = DONE;
    j->result->status[i] = status;
    j->open--;
}

/* ---- publishing ---- */

/* Would the server never take it, whatever happens? */
static bool too_large(struct job *j, size_t i)
{
    const struct nats_sink *s = j->s;
    size_t len = s->lines[i].len;
    const char *what = NULL;
    int64_t limit = 0;
    if (s->max_payload > 0 && len + HEADER_ROOM > (uint64_t)s->max_payload) {
        what = "max_payload of the server";
        limit = s->max_payload;
    } else if (s->max_message > 0 && len + HEADER_ROOM > (uint64_t)s->max_message) {
        what = "max_msg_size of the stream";
        limit = s->max_message;
    }
    if (what == NULL)
        return false;
    aw_host_event_error(s->host, i, "%zu bytes, with %d for headers, are more than %s: %lld", len, HEADER_ROOM, what,
                        (long long)limit);
    done(j, i, AW_EVENT_REJECTED);
    j->settled++;
    return true;
}

static natsStatus publish(struct job *j, size_t i)
{
    struct nats_sink *s = j->s;
    const struct aw_event *event = j->batch->events[i];
    char subject[NP_SUBJECT_MAX], reply[200], id[3 * 128 + 4];
    struct aw_str event_id = {"", 0};
    natsMsg *msg = NULL;
    np_template_make(&s->subject, s->host, event, subject);
    (void)s->host->event_field(event, AW_FIELD_EVENT_ID, &event_id);
    np_message_id(event_id, id, sizeof id);
    snprintf(reply, sizeof reply, "%s%llx-%zx", s->inbox, (unsigned long long)s->call, i);
    natsStatus status = natsMsg_Create(&msg, subject, reply, s->lines[i].ptr, (int)s->lines[i].len);
    if (status == NATS_OK && id[0] != '\0')
        status = natsMsgHeader_Set(msg, "Nats-Msg-Id", id);
    if (status == NATS_OK)
        status = natsMsgHeader_Set(msg, "Nats-Expected-Stream", s->stream);
    if (status == NATS_OK)
        status = natsConnection_PublishMsg(s->nc, msg);
    natsMsg_Destroy(msg);
    return status;
}

static natsStatus publish_some(struct job *j)
{
    struct nats_sink *s = j->s;
    while (!j->stop && j->next < j->batch->count && j->in_flight < s->max_in_flight) {
        size_t i = j->next;
        if (s->state[i] == OPEN && !too_large(j, i)) {
            natsStatus status = publish(j, i);
            if (status != NATS_OK)
                return status;
            if (j->in_flight++ == 0)
                j->heard_ns = s->host->mono_ns();
            s->state[i] = SENT;
        }
        j->next++;
    }
    return NATS_OK;
}

/* ---- answers ---- */

static void report_late(struct nats_sink *s)
{
    uint64_t now = s->host->mono_ns();
    if ((s->late == 0 && s->malformed == 0) || (s->reported_ns != 0 && now - s->reported_ns < REPORT_NS))
        return;
    aw_host_log(s->host, AW_LOG_WARNING, "%s: ignored %llu answers that came too late and %llu that are none",
                s->servers[0], (unsigned long long)s->late, (unsigned long long)s->malformed);
    s->late = s->malformed = 0;
    s->reported_ns = now;
}

/* Which event an answer is for. SIZE_MAX: none that waits. */
static size_t event_of(const struct job *j, const char *subject)
{
    const struct nats_sink *s = j->s;
    size_t n = strlen(s->inbox);
    char *end;
    if (strncmp(subject, s->inbox, n) != 0)
        return SIZE_MAX;
    unsigned long long call = strtoull(subject + n, &end, 16);
    if (end == subject + n || *end != '-' || call != s->call)
        return SIZE_MAX;
    const char *digits = end + 1;
    unsigned long long i = strtoull(digits, &end, 16);
    return end == digits || *end != '\0' || i >= j->batch->count || s->state[i] != SENT ? SIZE_MAX : (size_t)i;
}

static void take_error(struct job *j, size_t i, const struct np_ack *ack)
{
    struct nats_sink *s = j->s;
    int32_t code = np_code_of(ack);
    char text[200];
    size_t n = 0;
    for (; n < ack->text.len && n < sizeof text - 1; n++)
        text[n] = ack->text.ptr[n] >= 0x20 && ack->text.ptr[n] < 0x7f ? ack->text.ptr[n] : '?';
    text[n] = '\0';
    aw_host_event_error(s->host, i, "%s (%d, %d)", text[0] != '\0' ? text : "the server gave no reason", ack->code,
                        ack->err_code);
    if (code == AW_E_REJECTED) {
        done(j, i, AW_EVENT_REJECTED);
        j->settled++;
        return;
    }
    done(j, i, AW_EVENT_RETRY);
    j->stop = true; /* the ones behind it fare no better, and should come behind it */
    if (j->code != AW_E_CONFIG) {
        j->code = code;
        snprintf(j->why, sizeof j->why, "stream %s: %s (%d, %d)", s->stream, text, ack->code, ack->err_code);
    }
}

static void take_answer(struct job *j, natsMsg *msg)
{
    struct nats_sink *s = j->s;
    struct np_ack ack;
    char text[1024]; /* an answer is much shorter; a longer one is none of ours */
    size_t i = event_of(j, natsMsg_GetSubject(msg)), len = (size_t)natsMsg_GetDataLength(msg);
    if (i == SIZE_MAX) {
        s->late++;
        s->host->metric_add(s->host, s->metric_late, 1);
        return;
    }
    memcpy(text, natsMsg_GetData(msg), len < sizeof text ? len : 0);
    if (len >= sizeof text || np_parse_ack(text, len, &ack) != NULL) {
        s->malformed++; /* stays SENT: unknown in the end */
        return;
    }
    j->heard_ns = s->host->mono_ns();
    j->in_flight--;
    if (!ack.ok) {
        take_error(j, i, &ack);
        return;
    }
    j->settled++;
    j->duplicates += ack.duplicate;
    done(j, i, s->memory ? AW_EVENT_ACCEPTED : ack.duplicate ? AW_EVENT_DUPLICATE : AW_EVENT_DURABLE);
}

/* Takes the answers that are there; at first waits until then for one. */
static natsStatus take_queued(struct job *j, uint64_t until_ns)
{
    struct nats_sink *s = j->s;
    natsMsg *msg = NULL;
    uint64_t now = s->host->mono_ns(), queued = 0;
    int64_t wait_ms = until_ns > now ? (int64_t)((until_ns - now) / NP_MS) + 1 : 1;
    natsStatus status;
    do {
        status = natsSubscription_NextMsg(&msg, s->sub, wait_ms);
        if (status == NATS_NO_RESPONDERS) {
            j->no_responders = j->stop = true;
            j->in_flight--; /* of one that stays unknown: which, the library does not say */
            status = NATS_OK;
        } else if (status == NATS_OK) {
            take_answer(j, msg);
        }
        natsMsg_Destroy(msg);
        msg = NULL;
        if (status == NATS_OK)
            status = natsSubscription_QueuedMsgs(s->sub, &queued);
    } while (status == NATS_OK && queued > 0 && j->in_flight > 0);
    return status;
}

/* Waits for answers, until so few events are in flight that publishing goes on in one go. With many in flight it lets
 * answers gather for a moment: being woken for each one costs more than all else. */
static natsStatus take_answers(struct job *j, uint64_t until_ns)
{
    struct nats_sink *s = j->s;
    size_t low = j->next < j->batch->count && !j->stop ? s->max_in_flight / 2 : 0;
    natsStatus status = NATS_OK;
    do {
        if (j->in_flight > GATHER_FROM) {
            static const struct timespec moment = {0, GATHER_NS};
            (void)nanosleep(&moment, NULL);
        }
        status = take_queued(j, until_ns);
    } while (status == NATS_OK && j->in_flight > low && !j->no_responders);
    return status;
}

/* ---- one connection's part ---- */

enum outcome { ALL_DONE, STOPPED, CONNECTION_LOST, SILENCE, DEADLINE };

static enum outcome exchange(struct job *j, natsStatus *ret_status)
{
    struct nats_sink *s = j->s;
    *ret_status = NATS_OK;
    while (j->open > 0) {
        natsStatus status = publish_some(j);
        uint64_t now = s->host->mono_ns(), patience = j->heard_ns + s->ack_timeout_ns;
        if (status == NATS_OK && j->in_flight == 0)
            return j->open == 0 ? ALL_DONE : STOPPED;
        if (status == NATS_OK && now >= j->until_ns)
            return DEADLINE;
        if (status == NATS_OK && now >= patience)
            return SILENCE;
        if (status == NATS_OK)
            status = take_answers(j, patience < j->until_ns ? patience : j->until_ns);
        if (status != NATS_OK && status != NATS_TIMEOUT) {
            *ret_status = status;
            return CONNECTION_LOST;
        }
    }
    return ALL_DONE;
}

/* The connection goes: what was sent over it and not answered is open again. */
static void drop_connection(struct job *j)
{
    np_disconnect(j->s);
    for (size_t i = 0; i < j->batch->count; i++)
        if (j->s->state[i] == SENT)
            j->s->state[i] = OPEN;
    j->in_flight = j->next = 0;
    j->s->call++; /* no answer of before counts */
}

static int32_t stopped(struct job *j)
{
    struct nats_sink *s = j->s;
    if (!j->no_responders)
        return aw_host_error(s->host, j->code, "%s", j->why);
    /* Nobody takes the subject: for good, or since the stream has no leader just now? */
    int32_t r = np_look_at_stream(s, j->until_ns, false);
    return r != AW_OK
               ? r
               : aw_host_error(s->host, AW_E_UNAVAILABLE,
                               "stream %s: no server takes its subjects just now: it may have no leader", s->stream);
}

static int32_t settle(struct job *j, enum outcome outcome, natsStatus status)
{
    struct nats_sink *s = j->s;
    char told[NP_TEXT];
    int32_t r;
    switch (outcome) {
    case ALL_DONE:
        return j->code == AW_OK ? AW_OK : aw_host_error(s->host, j->code, "%s", j->why);
    case STOPPED:
        return stopped(j);
    case CONNECTION_LOST:
        r = np_fail(s, status, "the connection is lost");
        r = r == AW_E_NOMEM ? r : AW_E_UNAVAILABLE;
        break;
    case SILENCE:
        if (np_watch_not_permitted(s->watch, told))
            r = aw_host_error(s->host, AW_E_CONFIG, "%s: may not publish: %.200s", s->servers[0], told);
        else
            r = aw_host_error(s->host, AW_E_TIMEOUT,
                              "stream %s: no answer for %.1f s, %zu events of the batch are open", s->stream,
                              (double)s->ack_timeout_ns / 1e9, j->open);
        break;
    default:
        r = aw_host_error(s->host, AW_E_TIMEOUT, "stream %s: the deadline passed, %zu events of the batch are open",
                          s->stream, j->open);
        break;
    }
    drop_connection(j);
    return r;
}

static int32_t ready(struct nats_sink *s, uint64_t until_ns)
{
    if (s->nc != NULL && np_watch_closed(s->watch))
        np_disconnect(s);
    return s->nc != NULL ? AW_OK : np_connect(s, until_ns, false);
}

/* A connection that breaks off is tried anew once in the call: another server of the cluster may take it. */
static int32_t give(struct job *j)
{
    struct nats_sink *s = j->s;
    for (bool again = false;; again = true) {
        natsStatus status;
        int32_t r = ready(s, j->until_ns);
        if (r != AW_OK)
            return r;
        enum outcome outcome = exchange(j, &status);
        r = settle(j, outcome, status);
        if (again || outcome != CONNECTION_LOST || r != AW_E_UNAVAILABLE)
            return r;
    }
}

int32_t np_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct nats_sink *s = sink;
    struct np_guard guard;
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: write before start", s->servers[0]);
    int32_t r = take_batch(s, batch);
    if (r != AW_OK)
        return r;
    struct job j = {.s = s, .batch = batch, .result = result, .open = batch->count};
    j.until_ns = batch->deadline_ns != 0 ? batch->deadline_ns : UINT64_MAX;
    s->call++;
    np_guard_enter(&guard);
    r = give(&j);
    np_guard_leave(&guard);
    if (j.duplicates > 0)
        s->host->metric_add(s->host, s->metric_duplicates, (double)j.duplicates);
    report_late(s);
    if (r == AW_E_UNAVAILABLE && j.settled > 0)
        r = AW_E_RETRY; /* some got through: the rest may soon */
    return np_set_health(s, r,
                         r == AW_OK          ? ""
                         : r == AW_E_TIMEOUT ? "the server does not answer in time"
                         : r == AW_E_CONFIG  ? "the settings do not fit the server"
                         : j.why[0] != '\0'  ? j.why
                                             : "no connection, or no stream");
}
