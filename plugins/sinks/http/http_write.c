/* http_write.c - one POST a batch, and what each of its events became. SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is believed that was not said: an event is delivered when the status says so for all, or when a result names
 * it. A reply with results that cannot be understood as a whole counts as no reply.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_reply.h"
#include "http_sink.h"

#define LARGE_LOG_NS UINT64_C(600000000000)

/* Takes over results: first into `status`, on trial; then, in a second reading, the reasons of those rejected. */
struct results {
    struct ht_sink *s;
    const struct aw_batch *batch;
    uint8_t *status; /* AW_EVENT_UNKNOWN: not named yet */
    size_t next;     /* receivers mostly keep the order */
    bool reasons;    /* the second reading */
    size_t rejected, duplicates, retried;
};

static bool is_event(const struct results *r, size_t i, const struct ht_item *item)
{
    struct aw_str id;
    return r->s->host->event_field(r->batch->events[i], AW_FIELD_EVENT_ID, &id) == AW_OK && id.len == item->id_len &&
           id.len <= sizeof item->id && memcmp(id.ptr, item->id, id.len) == 0;
}

/* The event that a result is about; batch->count: none. An id that stands twice in a batch names one of them that has
 * no result yet. */
static size_t find(const struct results *r, const struct ht_item *item)
{
    size_t count = r->batch->count;
    if (item->has_index) {
        bool there = item->index < count && (!item->has_id || is_event(r, (size_t)item->index, item));
        return there ? (size_t)item->index : count;
    }
    for (size_t k = 0; k < count; k++) { /* on from there, and back from there: either way may be theirs */
        size_t off = k / 2 + (k & 1), i = (r->next + (k & 1 ? count - off : off)) % count;
        if ((r->reasons || r->status[i] == AW_EVENT_UNKNOWN) && is_event(r, i, item))
            return i;
    }
    return count;
}

static const char *take_result(void *arg, const struct ht_item *item)
{
    static const uint8_t statuses[] = {AW_EVENT_ACCEPTED, AW_EVENT_DUPLICATE, AW_EVENT_REJECTED, AW_EVENT_RETRY};
    struct results *r = arg;
    size_t i = find(r, item);
    if (i == r->batch->count)
        return "a result is about no event of the request, or about one that has a result";
    r->next = i + 1;
    if (r->reasons) {
        char text[HT_PEER_TEXT];
        ht_clean(r->s->settings, item->reason, item->reason_len, text, sizeof text);
        if (item->status == HT_ITEM_REJECTED)
            aw_host_event_error(r->s->host, i, "the receiver rejects it%s%s", text[0] != '\0' ? ": " : "", text);
        return NULL;
    }
    if (r->status[i] != AW_EVENT_UNKNOWN)
        return "two results for one event";
    r->status[i] = statuses[item->status];
    r->rejected += item->status == HT_ITEM_REJECTED;
    r->duplicates += item->status == HT_ITEM_DUPLICATE;
    r->retried += item->status == HT_ITEM_RETRY;
    return NULL;
}

static void settle_all(const struct aw_batch *batch, struct aw_result *result, uint8_t status)
{
    memset(result->status, status, batch->count);
}

/* Which statuses may come with results. Others are about the request, not about events. */
static bool may_have_results(long status)
{
    return (status >= 200 && status < 300) || status == 400 || status == 409 || status == 413 || status == 422 ||
           status == 429 || status == 503;
}

enum reading { READ_NONE, READ_RESULTS, READ_BROKEN, READ_NO_MEMORY };

/* Looks for results in the reply. READ_RESULTS: result->status has them. */
static enum reading read_results(struct ht_sink *s, const struct aw_batch *batch, struct aw_result *result,
                                 struct results *r, const char **ret_fault)
{
    const struct ht_answer *a = &s->answer;
    struct ht_reply reply;
    *r = (struct results){.s = s, .batch = batch};
    if (!may_have_results(a->status) || !ht_is_json(a) || a->len == 0)
        return a->status == 207 ? READ_BROKEN : READ_NONE;
    r->status = calloc(batch->count, 1);
    if (r->status == NULL)
        return READ_NO_MEMORY;
    enum reading how = READ_BROKEN;
    if (!ht_reply_read(a->text, a->len, take_result, r, &reply)) {
        *ret_fault = reply.fault;
    } else if (!reply.has_results) {
        how = a->status == 207 ? READ_BROKEN : READ_NONE;
    } else {
        how = READ_RESULTS;
        for (size_t i = 0; i < batch->count; i++)
            result->status[i] = r->status[i];
        if (r->rejected > 0) {
            r->reasons = true;
            r->next = 0;
            (void)ht_reply_read(a->text, a->len, take_result, r, &reply);
        }
    }
    free(r->status);
    r->status = NULL;
    return how;
}

/* ---- the three ways to judge a batch ---- */

static int32_t by_results(struct ht_sink *s, const struct aw_batch *batch, struct aw_result *result,
                          const struct results *r, bool durable)
{
    uint32_t after_ms = 0;
    int32_t code = ht_judge_status(s, &s->answer, &after_ms);
    size_t named = 0;
    for (size_t i = 0; i < batch->count; i++) {
        named += result->status[i] != AW_EVENT_UNKNOWN;
        if (result->status[i] == AW_EVENT_DUPLICATE && s->answer.repeated)
            result->status[i] = AW_EVENT_ACCEPTED; /* of our own first try, for all we know */
        if (result->status[i] == AW_EVENT_ACCEPTED && durable)
            result->status[i] = AW_EVENT_DURABLE;
    }
    if (r->duplicates > 0 && !s->answer.repeated)
        s->host->metric_add(s->host, s->metric_duplicates, (double)r->duplicates);
    size_t open = batch->count - named + r->retried;
    if (code == AW_OK && open > 0 && (after_ms = ht_retry_after_ms(s, &s->answer)) > 0)
        code = aw_host_error(s->host, AW_E_THROTTLED, "%s: the receiver wants %zu events later", s->shown, open);
    if (AW_HAS(struct aw_result, result, retry_after_ms))
        result->retry_after_ms = after_ms;
    /* 400, 409, 413 and 422 are about events, and results say which; 429 and 503 want a pause as well. */
    if (code == AW_E_THROTTLED || code == AW_E_CONFIG || s->answer.status == 503)
        return code;
    /* What is open comes again by itself; when that is all, with a pause. */
    return open < batch->count ? AW_OK
                               : aw_host_error(s->host, AW_E_RETRY, "%s: status %ld, and no event was taken", s->shown,
                                               s->answer.status);
}

static int32_t by_conflict(struct ht_sink *s, const struct aw_batch *batch, struct aw_result *result, int32_t code)
{
    if (!s->settings->conflict_is_duplicate)
        return code;
    if (batch->count > 1) /* which of them? The host sends fewer and fewer. */
        return AW_E_REJECTED;
    if (s->answer.repeated) {
        settle_all(batch, result, s->settings->durable ? AW_EVENT_DURABLE : AW_EVENT_ACCEPTED);
        return AW_OK;
    }
    settle_all(batch, result, AW_EVENT_DUPLICATE);
    s->host->metric_add(s->host, s->metric_duplicates, 1);
    return AW_OK;
}

static void say_too_large(struct ht_sink *s, const struct aw_batch *batch, size_t bytes)
{
    uint64_t now = s->host->mono_ns();
    if (batch->count == 1 || (s->large_logged_ns != 0 && now - s->large_logged_ns < LARGE_LOG_NS))
        return;
    s->large_logged_ns = now;
    aw_host_log(s->host, AW_LOG_WARNING,
                "%s: status 413: a request of %zu events and %zu bytes is too large for the receiver; it is sent in "
                "parts, which costs time: lower batch.events or batch.bytes of this sink",
                s->shown, batch->count, bytes);
}

static int32_t judge(struct ht_sink *s, const struct aw_batch *batch, struct aw_result *result, size_t bytes)
{
    const struct ht_answer *a = &s->answer;
    const char *fault = "no results";
    struct results r;
    uint32_t after_ms = 0;
    bool durable = s->settings->durable && a->status != 202;
    if (a->code != CURLE_OK || a->out_of_memory)
        return ht_judge_failure(s, a);
    bool success = a->status >= 200 && a->status < 300;
    switch (a->moved ? READ_NONE : read_results(s, batch, result, &r, &fault)) {
    case READ_NO_MEMORY:
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    case READ_RESULTS:
        return by_results(s, batch, result, &r, durable);
    case READ_BROKEN:
        if (success)
            return aw_host_error(s->host, AW_E_RETRY,
                                 "%s: status %ld, but its reply cannot be understood (%s): it counts as none", s->shown,
                                 a->status, fault);
        break;
    case READ_NONE:
        break;
    }
    int32_t code = ht_judge_status(s, a, &after_ms);
    if (AW_HAS(struct aw_result, result, retry_after_ms))
        result->retry_after_ms = after_ms;
    if (a->status == 409 && code == AW_E_RETRY)
        return by_conflict(s, batch, result, code);
    if (a->status == 413)
        say_too_large(s, batch, bytes);
    if (code == AW_OK)
        settle_all(batch, result, durable ? AW_EVENT_DURABLE : AW_EVENT_ACCEPTED);
    return code;
}

int32_t ht_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct ht_sink *s = sink;
    const struct ht_buffer *body = NULL;
    char detail[64] = "";
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: write before start", s->shown);
    if (batch->count == 0)
        return AW_OK;
    int32_t r = ht_body_make(s, batch, &body);
    if (r != AW_OK)
        return ht_set_health(s, r, "a batch could not be made");
    ht_post(s, batch, body);
    r = judge(s, batch, result, body->len);
    if (s->answer.status > 0)
        snprintf(detail, sizeof detail, "status %ld", s->answer.status);
    else
        snprintf(detail, sizeof detail, "%.60s", curl_easy_strerror(s->answer.code));
    return ht_set_health(s, r, detail);
}
