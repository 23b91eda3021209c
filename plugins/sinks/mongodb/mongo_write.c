/* mongo_write.c - documents, and one unordered insert for many of them. SPDX-License-Identifier: Apache-2.0
 *
 * Each insert is one command, so that its outcome is clear: either there is a reply that accounts for every document,
 * or nothing is known. What is not known is sent again, and turns out to be a duplicate if it was stored.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongo_sink.h"

#define CHUNK_DOCUMENTS 5000u
#define CHUNK_BYTES (24u << 20) /* the server takes 48 MB in one message */

/* Members by which documents are searched; `canonical` alone verifies. The names are ours, never the event's. */
static const struct {
    const char *name;
    uint32_t field;
} texts[] = {{"eventId", AW_FIELD_EVENT_ID},
             {"scope", AW_FIELD_SCOPE},
             {"hash", AW_FIELD_HASH},
             {"action", AW_FIELD_ACTION},
             {"outcome", AW_FIELD_OUTCOME},
             {"tenantId", AW_FIELD_TENANT_ID},
             {"orgId", AW_FIELD_ORG_ID},
             {"actorId", AW_FIELD_ACTOR_ID},
             {"actorType", AW_FIELD_ACTOR_TYPE},
             {"targetId", AW_FIELD_TARGET_ID},
             {"targetType", AW_FIELD_TARGET_TYPE},
             {"requestId", AW_FIELD_REQUEST_ID},
             {"traceId", AW_FIELD_TRACE_ID},
             {"sourceService", AW_FIELD_SOURCE_SERVICE},
             {"retentionTag", AW_FIELD_RETENTION_TAG}};

struct insert {
    struct mongo_sink *s;
    const struct aw_batch *batch;
    uint8_t *status;
    bson_t **docs; /* of this chunk */
    size_t *index; /* their places in the batch */
    size_t count;
    size_t duplicates;
    int32_t code; /* of the batch: the first failure, or AW_OK */
};

/* A document, or NULL: *ret_code tells why (AW_E_REJECTED: too large). */
static bson_t *document(struct mongo_sink *s, const struct aw_event *e, int32_t *ret_code)
{
    struct aw_str v;
    uint64_t n;
    *ret_code = s->host->event_encoded(e, "json", &v);
    if (*ret_code != AW_OK)
        return NULL;
    *ret_code = AW_E_REJECTED;
    if (v.len > MG_DOCUMENT_MAX)
        return NULL;
    bson_t *d = bson_sized_new(v.len + 1024);
    bool ok = bson_append_utf8(d, "canonical", -1, v.ptr, (int)v.len);
    for (size_t i = 0; ok && i < sizeof texts / sizeof texts[0]; i++)
        if (s->host->event_field(e, texts[i].field, &v) == AW_OK)
            ok = v.len <= MG_DOCUMENT_MAX && bson_append_utf8(d, texts[i].name, -1, v.ptr, (int)v.len);
    if (ok && s->host->event_number(e, AW_NUMBER_SEQ, &n) == AW_OK)
        ok = bson_append_int64(d, "seq", -1, (int64_t)n);
    if (ok && s->host->event_number(e, AW_NUMBER_OCCURRED_NS, &n) == AW_OK) {
        int64_t ns = (int64_t)n; /* milliseconds, rounded down also before 1970 */
        ok = bson_append_date_time(d, "occurredAt", -1, ns / 1000000 - (ns % 1000000 < 0));
    }
    if (ok && d->len <= MG_DOCUMENT_MAX)
        return d;
    bson_destroy(d);
    return NULL;
}

static void fail_event(struct insert *in, size_t at, int32_t code, const char *text)
{
    struct mongo_sink *s = in->s;
    char clean[MG_TEXT];
    enum mg_meaning m = mg_meaning_of(code);
    uint8_t *status = &in->status[in->index[at]];
    mg_clean(s, text, clean, sizeof clean);
    /* A duplicate of the id is one; that of another unique index, which somebody added, makes the event unacceptable.
     */
    if (m == MG_DUPLICATE && strstr(clean, "eventId") != NULL) {
        *status = AW_EVENT_DUPLICATE;
        in->duplicates++;
    } else if (m == MG_DUPLICATE || m == MG_REFUSED) {
        aw_host_event_error(s->host, in->index[at], "MongoDB refuses the document: %s (%d)", clean, (int)code);
        *status = AW_EVENT_REJECTED;
    } else {
        *status = AW_EVENT_RETRY;
        if (in->code == AW_OK || m == MG_WRONG)
            in->code = mg_fail(s,
                               m == MG_WRONG  ? AW_E_CONFIG
                               : m == MG_DOWN ? AW_E_UNAVAILABLE
                                              : AW_E_RETRY,
                               "%s: %s.%s: %s (%d)", s->hosts, s->database, s->collection, clean, (int)code);
    }
}

static int32_t number_of(const bson_t *doc, const char *key)
{
    bson_iter_t i;
    return bson_iter_init_find(&i, doc, key) ? (int32_t)bson_iter_as_int64(&i) : -1;
}

static const char *text_of(const bson_t *doc, const char *key)
{
    bson_iter_t i;
    return bson_iter_init_find(&i, doc, key) && BSON_ITER_HOLDS_UTF8(&i) ? bson_iter_utf8(&i, NULL) : "no reason given";
}

/* The reply's writeErrors. Returns how many there are, or SIZE_MAX when they make no sense. */
static size_t take_errors(struct insert *in, const bson_t *reply)
{
    bson_iter_t i, each;
    size_t n = 0;
    if (!bson_iter_init_find(&i, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&i) || !bson_iter_recurse(&i, &each))
        return 0;
    for (; bson_iter_next(&each); n++) {
        const uint8_t *bytes;
        uint32_t len;
        bson_t one;
        if (!BSON_ITER_HOLDS_DOCUMENT(&each))
            return SIZE_MAX;
        bson_iter_document(&each, &len, &bytes);
        int32_t at = bson_init_static(&one, bytes, len) ? number_of(&one, "index") : -1;
        if (at < 0 || (size_t)at >= in->count || in->status[in->index[at]] != AW_EVENT_UNKNOWN)
            return SIZE_MAX;
        fail_event(in, (size_t)at, number_of(&one, "code"), text_of(&one, "errmsg"));
    }
    return n;
}

/* The text of the first write concern error; NULL: none. */
static const char *concern_error(const bson_t *reply)
{
    bson_iter_t i, each, in_it;
    if (!bson_iter_init_find(&i, reply, "writeConcernErrors") || !BSON_ITER_HOLDS_ARRAY(&i) ||
        !bson_iter_recurse(&i, &each) || !bson_iter_next(&each))
        return NULL;
    return BSON_ITER_HOLDS_DOCUMENT(&each) && bson_iter_recurse(&each, &in_it) && bson_iter_find(&in_it, "errmsg") &&
                   BSON_ITER_HOLDS_UTF8(&in_it)
               ? bson_iter_utf8(&in_it, NULL)
               : "no reason given";
}

static void settle(struct insert *in, bool ok, const bson_t *reply, const bson_error_t *e)
{
    struct mongo_sink *s = in->s;
    size_t errors = take_errors(in, reply);
    int32_t inserted = number_of(reply, "insertedCount");
    const char *concern = concern_error(reply);
    if (errors == SIZE_MAX || inserted < 0 || (size_t)inserted + errors != in->count) {
        for (size_t i = 0; i < in->count; i++)
            in->status[in->index[i]] = AW_EVENT_UNKNOWN;
        in->code = ok ? mg_fail(s, AW_E_RETRY, "%s: the reply does not account for every document", s->hosts)
                      : mg_fail(s, mg_code_of(e), "%s: %s.%s: %s", s->hosts, s->database, s->collection, e->message);
        return;
    }
    for (size_t i = 0; i < in->count; i++) {
        uint8_t *status = &in->status[in->index[i]];
        if (*status == AW_EVENT_UNKNOWN)
            *status = AW_EVENT_DURABLE;
        /* Stored, but not where it survives: it comes again, as a duplicate, when it does. */
        if (concern != NULL && (*status == AW_EVENT_DURABLE || *status == AW_EVENT_DUPLICATE))
            *status = AW_EVENT_UNKNOWN;
    }
    if (concern != NULL && in->code == AW_OK)
        in->code = mg_fail(s, AW_E_RETRY, "%s: not confirmed by a majority: %s", s->hosts, concern);
}

static void send_chunk(struct insert *in)
{
    struct mongo_sink *s = in->s;
    bson_t reply;
    bson_error_t e = {.code = 0};
    bson_t *opts = BCON_NEW("ordered", BCON_BOOL(false), "writeConcern", "{", "w", BCON_UTF8("majority"), "j",
                            BCON_BOOL(true), "wtimeout", BCON_INT32(s->client_timeout_ms), "}");
    bool ok = mongoc_collection_insert_many(s->coll, (const bson_t **)in->docs, in->count, opts, &reply, &e);
    settle(in, ok, &reply, &e);
    bson_destroy(&reply);
    bson_destroy(opts);
}

static void free_chunk(struct insert *in)
{
    for (size_t i = 0; i < in->count; i++)
        bson_destroy(in->docs[i]);
    in->count = 0;
}

/* Fills a chunk from *at on. Returns whether there is something to send. */
static bool fill_chunk(struct insert *in, size_t *at)
{
    size_t bytes = 0;
    while (*at < in->batch->count && in->count < CHUNK_DOCUMENTS && bytes < CHUNK_BYTES) {
        int32_t code;
        bson_t *d = document(in->s, in->batch->events[*at], &code);
        if (d != NULL) {
            in->index[in->count] = *at;
            in->docs[in->count++] = d;
            bytes += d->len;
        } else if (code == AW_E_REJECTED) {
            aw_host_event_error(in->s->host, *at, "the document would be larger than MongoDB's 16 MiB");
            in->status[*at] = AW_EVENT_REJECTED;
        } else {
            in->code =
                mg_fail(in->s, code == AW_E_UNSUPPORTED ? AW_E_INTERNAL : code, "the host cannot render an event");
            return in->count > 0;
        }
        ++*at;
    }
    return in->count > 0;
}

int32_t mg_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct mongo_sink *s = sink;
    size_t most = batch->count < CHUNK_DOCUMENTS ? batch->count : CHUNK_DOCUMENTS;
    struct insert in = {.s = s, .batch = batch, .status = result->status};
    if (!s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "write before start");
    in.docs = calloc(most, sizeof *in.docs);
    in.index = calloc(most, sizeof *in.index);
    if (in.docs == NULL || in.index == NULL)
        in.code = aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    for (size_t at = 0; at < batch->count && in.code == AW_OK;) {
        in.code = mg_connect(s, batch->deadline_ns);
        if (in.code != AW_OK)
            break;
        if (fill_chunk(&in, &at)) {
            int32_t host_code = in.code;
            send_chunk(&in);
            if (in.code == AW_OK)
                in.code = host_code;
        }
        free_chunk(&in);
    }
    free(in.docs);
    free(in.index);
    if (in.duplicates > 0)
        s->host->metric_add(s->host, s->metric_duplicates, (double)in.duplicates);
    if (in.code == AW_E_UNAVAILABLE || in.code == AW_E_TIMEOUT)
        mg_disconnect(s); /* a reply that comes late must not be taken for that of another command */
    if (in.code == AW_OK)
        mg_set_health(s, AW_OK, "");
    return in.code;
}
