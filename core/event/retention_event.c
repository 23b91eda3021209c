/* retention_event.c - see retention_event.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/retention_event.h"

#include "base/clock.h"
#include "event/json_doc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define HEX (2 * HASH_SHA256_LEN)
#define STREAM_MAX 700u /* bytes of one stream's text */
#define DEPTH 64u

/* ---- writing: the room is reckoned beforehand ---- */

struct out {
    char *text;
    size_t size, used;
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(o->text + o->used, o->size - o->used, fmt, ap);
    va_end(ap);
    if (n > 0)
        o->used += (size_t)n;
}

static void put_hash(struct out *o, const char *name, const uint8_t hash[HASH_SHA256_LEN])
{
    char hex[HEX + 1];
    hash_hex(hash, HASH_SHA256_LEN, hex);
    hex[HEX] = '\0';
    put(o, "\"%s\":\"%s\",", name, hex);
}

static void put_time(struct out *o, const char *name, int64_t ns)
{
    char time[CLOCK_RFC3339_MAX];
    clock_format_rfc3339(ns, time);
    put(o, "\"%s\":\"%s\",", name, time);
}

static void put_stream(struct out *o, const struct retention_stream *s, bool begin)
{
    put(o, "{");
    if (s->with_chains) {
        put(o, "\"chains\":%" PRIu64 ",", s->chains);
        put_hash(o, "chainsHash", s->chains_hash);
    }
    if (!begin)
        put(o, "\"count\":%" PRIu64 ",\"firstSeq\":%" PRIu64 ",", s->count, s->first_seq);
    if (s->with_hash)
        put_hash(o, "keepHash", s->keep_hash);
    put(o, "\"keepSeq\":%" PRIu64 ",", s->keep_seq);
    if (!begin) {
        put(o, "\"lastSeq\":%" PRIu64 ",", s->last_seq);
        if (s->count > 0)
            put_time(o, "newest", s->last_ns);
        put(o, "\"newestSeq\":%" PRIu64 ",", s->newest_seq);
        if (s->count > 0)
            put_time(o, "oldest", s->first_ns);
    }
    put(o, "\"stream\":%" PRIu32, s->stream);
    if (!begin)
        put(o, ",\"total\":%" PRIu64, s->total);
    put(o, "}");
}

char *retention_event_write(const struct retention_record *record, size_t *ret_len)
{
    struct out o = {.size = 600 + strlen(record->sink) + record->count * STREAM_MAX};
    o.size += record->id ? strlen(record->id) : 0;
    o.text = malloc(o.size);
    if (!o.text)
        return NULL;
    put(&o, "{\"action\":\"%s\",\"actor\":{\"id\":\"auditwell\",\"type\":\"system\"},",
        record->begin ? RETENTION_EVENT_BEGIN : RETENTION_EVENT_ACTION);
    if (record->id)
        put(&o, "\"eventId\":\"%s\",", record->id);
    put(&o, "\"metadata\":{\"retention\":{");
    if (!record->begin)
        put_time(&o, "before", record->before_ns);
    if (record->findings > 0)
        put(&o, "\"findings\":%" PRIu64 ",", record->findings);
    put(&o, "\"sink\":\"%s\",\"streams\":[", record->sink);
    for (size_t i = 0; i < record->count; i++) {
        put(&o, "%s", i ? "," : "");
        put_stream(&o, &record->streams[i], record->begin);
    }
    put(&o, "]}},\"outcome\":\"SUCCESS\"}");
    *ret_len = o.used;
    return o.text;
}

/* ---- reading ---- */

static const struct json_node *member(const struct json_doc *doc, const struct json_node *object, const char *name,
                                      enum json_type type)
{
    const size_t len = strlen(name);
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (uint32_t c = object->first; c; c = doc->nodes[c].next) {
        const struct json_node *n = &doc->nodes[c];
        if (n->key_len == len && memcmp(n->key, name, len) == 0)
            return n->type == type ? n : NULL;
    }
    return NULL;
}

/* A member that is absent is 0; anything but plain digits is false. */
static bool read_number(const struct json_doc *doc, const struct json_node *object, const char *name, uint64_t *ret)
{
    const struct json_node *n = member(doc, object, name, JSON_NUMBER);
    *ret = 0;
    for (uint32_t i = 0; n && i < n->len; i++) {
        if (n->text[i] < '0' || n->text[i] > '9' || *ret > (UINT64_MAX - 9) / 10)
            return false;
        *ret = *ret * 10 + (uint64_t)(n->text[i] - '0');
    }
    return true;
}

static bool read_hash(const struct json_doc *doc, const struct json_node *object, const char *name, bool *ret_there,
                      uint8_t ret[HASH_SHA256_LEN])
{
    const struct json_node *n = member(doc, object, name, JSON_STRING);
    *ret_there = n != NULL;
    return !n || (n->len == HEX && hash_unhex(n->text, HEX, ret));
}

static bool read_time(const struct json_doc *doc, const struct json_node *object, const char *name, int64_t *ret)
{
    const struct json_node *n = member(doc, object, name, JSON_STRING);
    *ret = 0;
    return !n || clock_parse_rfc3339(n->text, n->len, ret);
}

static bool read_stream(const struct json_doc *doc, const struct json_node *n, struct retention_stream *s)
{
    uint64_t stream;
    if (!member(doc, n, "keepSeq", JSON_NUMBER) || !read_number(doc, n, "stream", &stream) || stream > UINT16_MAX)
        return false;
    s->stream = (uint32_t)stream;
    return read_number(doc, n, "keepSeq", &s->keep_seq) && s->keep_seq > 0 &&
           read_number(doc, n, "newestSeq", &s->newest_seq) && read_number(doc, n, "count", &s->count) &&
           read_number(doc, n, "firstSeq", &s->first_seq) && read_number(doc, n, "lastSeq", &s->last_seq) &&
           read_number(doc, n, "total", &s->total) && read_number(doc, n, "chains", &s->chains) &&
           read_hash(doc, n, "keepHash", &s->with_hash, s->keep_hash) &&
           read_hash(doc, n, "chainsHash", &s->with_chains, s->chains_hash) &&
           read_time(doc, n, "oldest", &s->first_ns) && read_time(doc, n, "newest", &s->last_ns);
}

static int read_doc(const struct json_doc *doc, struct retention_record *r)
{
    const struct json_node *top = &doc->nodes[JSON_TOP];
    const struct json_node *action = member(doc, top, "action", JSON_STRING);
    const struct json_node *id = member(doc, top, "eventId", JSON_STRING);
    const struct json_node *body = member(doc, member(doc, top, "metadata", JSON_OBJECT), "retention", JSON_OBJECT);
    const struct json_node *list = member(doc, body, "streams", JSON_ARRAY);
    const struct json_node *sink = member(doc, body, "sink", JSON_STRING);
    if (!action || !list || !sink || sink->len == 0 || memchr(sink->text, '\0', sink->len) ||
        list->len > RETENTION_EVENT_MAX || !read_number(doc, body, "findings", &r->findings) ||
        !read_time(doc, body, "before", &r->before_ns))
        return -EBADMSG;
    r->begin = base_str_eq((struct aw_str){action->text, action->len}, base_str(RETENTION_EVENT_BEGIN));
    if (!r->begin && !base_str_eq((struct aw_str){action->text, action->len}, base_str(RETENTION_EVENT_ACTION)))
        return -EBADMSG;
    for (uint32_t c = list->first; c; c = doc->nodes[c].next)
        if (r->count >= RETENTION_EVENT_MAX || !read_stream(doc, &doc->nodes[c], &r->streams[r->count++]))
            return -EBADMSG;
    r->sink = strndup(sink->text, sink->len);
    r->id = id ? strndup(id->text, id->len) : NULL;
    return r->sink && (!id || r->id) ? 0 : -ENOMEM;
}

int retention_event_read(struct aw_str json, struct retention_record **ret_record)
{
    struct json_read_options options = {.max_depth = DEPTH, .accept_rounded = true};
    struct json_error error;
    struct json_doc doc;
    struct retention_record *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    json_doc_init(&doc);
    int rc = json_load(&doc, json.ptr, json.len);
    if (rc == 0)
        rc = json_read(&doc, &options, NULL, &error);
    if (rc == 0)
        rc = read_doc(&doc, r);
    else if (rc != -ENOMEM)
        rc = -EBADMSG;
    json_doc_release(&doc);
    if (rc == 0)
        *ret_record = r;
    else
        retention_record_free(r);
    return rc;
}

void retention_record_free(struct retention_record *record)
{
    if (!record)
        return;
    free(record->sink);
    free(record->id);
    free(record);
}
