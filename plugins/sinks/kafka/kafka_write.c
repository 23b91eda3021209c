/* kafka_write.c - one batch: all of it is given to the producer, then its reports are waited for.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A status comes from a delivery report alone. Whatever has none at the deadline stays "unknown", and the producer is
 * thrown away, so that it cannot deliver it later. The bytes of the events are not copied: librdkafka reads the host's,
 * and when write() returns each message has its report, or its producer is gone.
 *
 * A broker refuses whole requests. So when one was refused for what is in it, the events that are not stored are sent
 * once more, each in a request of its own ("one by one"): then it is known which one is to blame.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_sink.h"

#define SLICE_MS 100
#define DOWN_NS 2000000000u    /* all brokers down for so long: the host may turn to other things */
#define TROUBLE_NS 1000000000u /* refused, and nothing was stored for so long: it will not pass by itself */

/* One call of write(). */
struct pass {
    struct kafka_sink *s;
    const struct aw_batch *batch;
    uint8_t *status;
    uint64_t deadline_ns;
    uint64_t progress_ns; /* when something was stored last */
    size_t stored, rejected;
    int32_t code; /* why it ended; AW_OK */
    char text[KF_TEXT];
    int32_t host_code; /* the host could not give an event */
};

static void stop_pass(struct pass *p, int32_t code, const char *text)
{
    if (p->code != AW_OK && !(code == AW_E_CONFIG && p->code != AW_E_CONFIG))
        return; /* the first reason counts, unless somebody has to do something */
    p->code = code;
    kf_clean(p->s, text, p->text, sizeof p->text);
}

static void reject(struct pass *p, size_t i, rd_kafka_resp_err_t err)
{
    aw_host_event_error(p->s->host, i, "topic %s refuses the event: %s", p->s->topic, rd_kafka_err2str(err));
    p->status[i] = AW_EVENT_REJECTED;
    p->rejected++;
}

static size_t header(rd_kafka_vu_t *v, const char *name, struct aw_str value)
{
    v->vtype = RD_KAFKA_VTYPE_HEADER;
    v->u.header.name = name;
    v->u.header.val = value.ptr;
    v->u.header.size = (ssize_t)value.len;
    return 1;
}

/* Gives one event to the producer. RD_KAFKA_RESP_ERR_NO_ERROR: there will be a report. */
static rd_kafka_resp_err_t produce(struct pass *p, size_t i)
{
    struct kafka_sink *s = p->s;
    const struct aw_event *e = p->batch->events[i];
    struct kf_slot *slot = &s->slots[i];
    struct aw_str json, part;
    uint64_t seq;
    char number[24];
    rd_kafka_vu_t v[9];
    size_t n = 0;
    p->host_code = s->host->event_encoded(e, "json", &json);
    if (p->host_code != AW_OK)
        return RD_KAFKA_RESP_ERR__FAIL;
    v[n].vtype = RD_KAFKA_VTYPE_RKT;
    v[n++].u.rkt = s->rkt;
    v[n].vtype = RD_KAFKA_VTYPE_VALUE;
    v[n].u.mem.ptr = (void *)(uintptr_t)json.ptr;
    v[n++].u.mem.size = json.len;
    v[n].vtype = RD_KAFKA_VTYPE_OPAQUE;
    v[n++].u.ptr = slot;
    if (s->host->event_field(e, AW_FIELD_SCOPE, &part) == AW_OK) {
        v[n].vtype = RD_KAFKA_VTYPE_KEY; /* librdkafka copies keys and headers */
        v[n].u.mem.ptr = (void *)(uintptr_t)part.ptr;
        v[n++].u.mem.size = part.len;
    }
    if (s->host->event_field(e, AW_FIELD_EVENT_ID, &part) == AW_OK)
        n += header(&v[n], "eventId", part);
    if (s->host->event_number(e, AW_NUMBER_SEQ, &seq) == AW_OK) {
        int len = snprintf(number, sizeof number, "%llu", (unsigned long long)seq);
        n += header(&v[n], "seq", (struct aw_str){number, (size_t)len});
    }
    if (s->host->event_field(e, AW_FIELD_HASH, &part) == AW_OK)
        n += header(&v[n], "hash", part);
    *slot = (struct kf_slot){.sent = true};
    s->outstanding++;
    rd_kafka_error_t *failed = rd_kafka_produceva(s->rk, v, n);
    if (failed == NULL)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t err = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    s->outstanding--;
    slot->sent = false;
    return err;
}

/* Waits until no more than `most` messages are without a report, or it makes no sense to wait on. */
static void wait_for_reports(struct pass *p, size_t most)
{
    struct kafka_sink *s = p->s;
    for (;;) {
        size_t before = s->outstanding;
        if (before <= most)
            return;
        uint64_t now = s->host->mono_ns();
        if (now >= p->deadline_ns) {
            stop_pass(p, s->trouble == AW_OK ? AW_E_TIMEOUT : s->trouble,
                      s->trouble == AW_OK ? "no confirmation in time" : s->trouble_text);
            return;
        }
        uint64_t left_ms = (p->deadline_ns - now) / 1000000u + 1;
        int ms = left_ms < SLICE_MS ? (int)left_ms : SLICE_MS;
        if (most == 0)
            (void)rd_kafka_flush(s->rk, ms); /* sends at once, whatever linger.ms says; a time-out is no error here */
        else
            rd_kafka_poll(s->rk, ms);
        now = s->host->mono_ns();
        if (s->outstanding < before && s->trouble == AW_OK)
            p->progress_ns = now;
        if (s->broken)
            stop_pass(p, s->trouble == AW_E_CONFIG ? AW_E_CONFIG : AW_E_RETRY,
                      s->trouble == AW_E_CONFIG ? s->trouble_text : "the producer cannot go on; a new one will");
        else if (s->trouble == AW_E_CONFIG && now - p->progress_ns >= TROUBLE_NS)
            stop_pass(p, AW_E_CONFIG, s->trouble_text);
        else if (s->down_since_ns != 0 && now - s->down_since_ns >= DOWN_NS)
            stop_pass(p, AW_E_UNAVAILABLE, s->trouble_text);
        if (p->code != AW_OK)
            return;
    }
}

/* produce(), with patience when librdkafka's queue is full. Returns whether the pass goes on. */
static bool give(struct pass *p, size_t i)
{
    for (;;) {
        rd_kafka_resp_err_t err = produce(p, i);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return true;
        if (p->host_code != AW_OK) {
            stop_pass(p, p->host_code == AW_E_UNSUPPORTED ? AW_E_INTERNAL : p->host_code,
                      "the host cannot render an event");
            return false;
        }
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL && p->s->outstanding > 0) {
            wait_for_reports(p, p->s->outstanding - 1);
            if (p->code != AW_OK)
                return false;
            continue;
        }
        enum kf_meaning m = kf_meaning_of(err);
        if (m == KF_REFUSED) {
            reject(p, i, err);
            return true;
        }
        p->s->broken = p->s->broken || m == KF_BROKEN;
        stop_pass(p, m == KF_WRONG ? AW_E_CONFIG : AW_E_RETRY, rd_kafka_err2str(err));
        return false;
    }
}

/* Takes over the reports of events [from, to). Returns how many requests' worth of events were refused. */
static size_t settle(struct pass *p, size_t from, size_t to)
{
    struct kafka_sink *s = p->s;
    size_t refused = 0, unsure = 0;
    for (size_t i = from; i < to; i++) {
        struct kf_slot *slot = &s->slots[i];
        if (!slot->sent || p->status[i] == AW_EVENT_DURABLE || p->status[i] == AW_EVENT_REJECTED)
            continue;
        enum kf_meaning m = slot->reported ? kf_meaning_of(slot->err) : KF_UNSURE;
        bool never_sent = slot->reported && slot->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE;
        p->status[i] = m == KF_STORED ? AW_EVENT_DURABLE : m == KF_LATER ? AW_EVENT_RETRY : AW_EVENT_UNKNOWN;
        p->stored += m == KF_STORED;
        refused += m == KF_REFUSED;
        unsure += m == KF_UNSURE && !never_sent;
        if (m == KF_WRONG)
            stop_pass(p, AW_E_CONFIG, rd_kafka_err2str(slot->err));
        else if (m == KF_LATER || (m == KF_UNSURE && !never_sent && slot->reported))
            stop_pass(p, AW_E_RETRY, rd_kafka_err2str(slot->err));
        s->broken = s->broken || m == KF_BROKEN;
    }
    if (unsure > 0)
        s->host->metric_add(s->host, s->metric_unsure, (double)unsure);
    return refused;
}

/* All events at once. Returns whether some request was refused for what is in it. */
static bool send_together(struct pass *p)
{
    struct kafka_sink *s = p->s;
    size_t n = 0;
    while (n < p->batch->count && give(p, n)) {
        n++;
        if ((n & 255) == 0)
            rd_kafka_poll(s->rk, 0);
    }
    int32_t code = p->code; /* what was given before is waited for also when one could not be given */
    if (code == AW_OK || !s->broken) {
        p->code = AW_OK;
        wait_for_reports(p, 0);
        if (code != AW_OK)
            p->code = code;
    }
    if (s->outstanding > 0 || s->broken)
        kf_producer_end(s);
    return settle(p, 0, p->batch->count) > 0;
}

/* What is not stored, each event in a request of its own, in order. */
static void send_one_by_one(struct pass *p)
{
    struct kafka_sink *s = p->s;
    p->code = AW_OK;
    for (size_t i = 0; i < p->batch->count && p->code == AW_OK; i++) {
        if (p->status[i] == AW_EVENT_DURABLE || p->status[i] == AW_EVENT_REJECTED)
            continue;
        int32_t r = kf_producer_ready(s);
        if (r != AW_OK) {
            stop_pass(p, r, "no producer can be made");
            return;
        }
        s->slots[i] = (struct kf_slot){.sent = false};
        if (give(p, i) && p->status[i] != AW_EVENT_REJECTED)
            wait_for_reports(p, 0);
        if (s->outstanding > 0 || s->broken)
            kf_producer_end(s);
        if (s->slots[i].reported && kf_meaning_of(s->slots[i].err) == KF_REFUSED) {
            reject(p, i, s->slots[i].err);
            p->code = AW_OK; /* that broke this producer; the next event has another */
        } else {
            (void)settle(p, i, i + 1);
        }
    }
}

static int32_t make_room(struct kafka_sink *s, size_t count)
{
    if (s->slot_room < count) {
        struct kf_slot *grown = realloc(s->slots, count * sizeof *grown);
        if (grown == NULL)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        s->slots = grown;
        s->slot_room = count;
    }
    memset(s->slots, 0, count * sizeof *s->slots);
    return AW_OK;
}

int32_t kf_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct kafka_sink *s = sink;
    uint64_t now = s->host->mono_ns();
    struct pass p = {.s = s, .batch = batch, .status = result->status, .progress_ns = now};
    p.deadline_ns = now + s->delivery_timeout_ns;
    if (batch->deadline_ns != 0 && batch->deadline_ns < p.deadline_ns)
        p.deadline_ns = batch->deadline_ns;
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "write before start");
    int32_t r = make_room(s, batch->count);
    if (r == AW_OK && s->rk != NULL) { /* what happened meanwhile */
        while (rd_kafka_poll(s->rk, 0) > 0)
            ;
        if (s->broken)
            kf_producer_end(s);
    }
    if (r == AW_OK)
        r = kf_producer_ready(s);
    if (r != AW_OK)
        return r;
    if (send_together(&p))
        send_one_by_one(&p);
    if (p.code == AW_OK && p.stored + p.rejected < batch->count)
        stop_pass(&p, AW_E_RETRY, "not all events are stored");
    if (p.code != AW_OK)
        return kf_fail(s, p.code, "%s: topic %s: %s", s->brokers, s->topic, p.text);
    kf_set_health(s, AW_OK, "");
    return AW_OK;
}
