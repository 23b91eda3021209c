/* replay_event.c - see replay_event.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/replay_event.h"

#include "event/json_doc.h"

#include <inttypes.h>
#include <stdio.h>

#define HEX (2 * HASH_SHA256_LEN)
#define ITEM_MAX (HEX + 48u)
#define DEPTH 64u

char *replay_event_write(const char *sink, const struct replay_event_item *items, size_t count, size_t *ret_len)
{
    size_t size = 400 + strlen(sink) + count * ITEM_MAX;
    char *json = malloc(size), *p = json;
    if (!json)
        return NULL;
    p += snprintf(p, size,
                  "{\"action\":\"" REPLAY_EVENT_ACTION "\",\"actor\":{\"id\":\"auditwell\",\"type\":\"system\"},"
                  "\"metadata\":{\"replay\":{\"count\":%zu,\"events\":[",
                  count);
    for (size_t i = 0; i < count; i++) {
        char hex[HEX + 1];
        hash_hex(items[i].hash, HASH_SHA256_LEN, hex);
        hex[HEX] = '\0';
        p += snprintf(p, size - (size_t)(p - json), "%s{\"hash\":\"%s\",\"seq\":%" PRIu64 "}", i ? "," : "", hex,
                      items[i].seq);
    }
    p += snprintf(p, size - (size_t)(p - json), "],\"sink\":\"%s\"}},\"outcome\":\"SUCCESS\"}", sink);
    *ret_len = (size_t)(p - json);
    return json;
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

static bool read_item(const struct json_doc *doc, const struct json_node *n, struct replay_event_item *ret)
{
    const struct json_node *hash = member(doc, n, "hash", JSON_STRING), *seq = member(doc, n, "seq", JSON_NUMBER);
    if (!hash || !seq || hash->len != HEX || !hash_unhex(hash->text, HEX, ret->hash))
        return false;
    ret->seq = 0;
    for (uint32_t i = 0; i < seq->len; i++) {
        if (seq->text[i] < '0' || seq->text[i] > '9' || ret->seq > (UINT64_MAX - 9) / 10)
            return false;
        ret->seq = ret->seq * 10 + (uint64_t)(seq->text[i] - '0');
    }
    return ret->seq != 0;
}

static int read_doc(const struct json_doc *doc, struct replay_event_item *items, size_t *ret_count, char **ret_sink)
{
    const struct json_node *top = &doc->nodes[JSON_TOP];
    const struct json_node *replay = member(doc, member(doc, top, "metadata", JSON_OBJECT), "replay", JSON_OBJECT);
    const struct json_node *list = member(doc, replay, "events", JSON_ARRAY);
    const struct json_node *sink = member(doc, replay, "sink", JSON_STRING);
    if (!list || !sink || sink->len == 0 || memchr(sink->text, '\0', sink->len) || list->len > REPLAY_EVENT_MAX)
        return -EBADMSG;
    size_t n = 0;
    for (uint32_t c = list->first; c; c = doc->nodes[c].next)
        if (n >= REPLAY_EVENT_MAX || !read_item(doc, &doc->nodes[c], &items[n++]))
            return -EBADMSG;
    *ret_count = n;
    *ret_sink = strndup(sink->text, sink->len);
    return *ret_sink ? 0 : -ENOMEM;
}

int replay_event_read(struct aw_str json, struct replay_event_item *items, size_t *ret_count, char **ret_sink)
{
    struct json_read_options options = {.max_depth = DEPTH, .accept_rounded = true};
    struct json_error error;
    struct json_doc doc;
    json_doc_init(&doc);
    int rc = json_load(&doc, json.ptr, json.len);
    if (rc == 0)
        rc = json_read(&doc, &options, NULL, &error);
    if (rc == 0)
        rc = read_doc(&doc, items, ret_count, ret_sink);
    else if (rc != -ENOMEM)
        rc = -EBADMSG;
    json_doc_release(&doc);
    return rc;
}
