/* stored.c - reads events back: sealed lines for verify and query, single fields, escapes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What verify hashes is the canonical form of the event without its integrity member. The reader tells whether a line
 * is canonical byte for byte; then prefix and suffix are parts of the line itself. There is no second, lighter reader:
 * a line that the strict reader would refuse, or read otherwise, must never pass for canonical.
 */
#include "config.h"

#include "event/pii.h"
#include "event/work.h"

#include "base/diag.h"

#define STORED_DEPTH 1024u /* deeper than anything that can have been written */

enum {
    IN_INTEGRITY = SLOT_COUNT,
    IN_ALG,
    IN_HASH,
    IN_PREV_HASH,
    IN_SEQ,
    IN_STREAM,
    IN_KEY_ID,
    IN_SIG,
    IN_VIEW,
    IN_COUNT
};

/* The shape of a stored event: that of an event and, besides, integrity. Only what is asked for has a slot. */
static const struct json_shape_member integrity_members[] = {
    {"alg", 3, IN_ALG, NULL},       {"seq", 3, IN_SEQ, NULL},
    {"sig", 3, IN_SIG, NULL},       {"hash", 4, IN_HASH, NULL},
    {"view", 4, IN_VIEW, NULL},     {"keyId", 5, IN_KEY_ID, NULL},
    {"stream", 6, IN_STREAM, NULL}, {"prevHash", 8, IN_PREV_HASH, NULL},
    {"", 0, SLOT_NONE, NULL},
};
static const struct json_shape shape_integrity = {
    {8, 8, 8, 0, 3, 5, 6, 8, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8}, integrity_members};

static const struct json_shape_member stored_members[] = {
    {"actor", 5, SLOT_ACTOR, &shape_actor},
    {"action", 6, SLOT_ACTION, NULL},
    {"target", 6, SLOT_TARGET, &shape_target},
    {"context", 7, SLOT_CONTEXT, &shape_context},
    {"eventId", 7, SLOT_EVENT_ID, NULL},
    {"outcome", 7, SLOT_OUTCOME, NULL},
    {"integrity", 9, IN_INTEGRITY, &shape_integrity},
    {"", 0, SLOT_NONE, NULL},
};
static const struct json_shape shape_stored = {{7, 7, 7, 7, 7, 0, 1, 3, 7, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7},
                                               stored_members};

static AW_COLD int stored_problem(int rc, const struct json_error *error)
{
    if (rc == -ENOMEM)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    return diag_problem(AW_ERR_INVALID_EVENT, "", "not a JSON object: %s (line %u, column %u)", error->message,
                        error->line, error->column);
}

/* Escaped text of a string slot; len 0 when it is absent or no string. False: no memory. */
static inline bool get_text(struct json_doc *doc, const uint32_t *slots, unsigned slot, const char *json,
                            struct aw_str *ret)
{
    const struct json_node *n = &doc->nodes[slots[slot]];
    *ret = (struct aw_str){NULL, 0};
    if (!slots[slot] || n->type != JSON_STRING)
        return true;
    if (AW_LIKELY(n->text >= doc->text && n->text < doc->text + doc->len)) { /* stands as it is in the text */
        *ret = (struct aw_str){json + (n->text - doc->text), n->len};
        return true;
    }
    char *out = arena_text(&doc->arena, 6 * (size_t)n->len + TEXT_STEP);
    if (!out)
        return false;
    *ret = (struct aw_str){out, (size_t)(text_escape(out, n->text, n->len) - out)};
    return true;
}

/* 0: absent, or no whole number. */
static uint64_t get_number(const struct json_doc *doc, const uint32_t *slots, unsigned slot)
{
    const struct json_node *n = &doc->nodes[slots[slot]];
    uint64_t seq = 0;
    if (!slots[slot] || n->type != JSON_NUMBER || n->len > 16)
        return 0;
    for (uint32_t i = 0; i < n->len; i++) {
        if (n->text[i] < '0' || n->text[i] > '9')
            return 0;
        seq = seq * 10 + (uint64_t)(n->text[i] - '0');
    }
    return seq;
}

static uint32_t stream_of(uint64_t n)
{
    return n <= EVENT_MAX_STREAM ? (uint32_t)n : 0;
}

/* A member of integrity that is not known, or not what it must be: the hash covers neither. */
static bool odd_integrity(const struct json_doc *doc, const uint32_t *slots, const struct stored_event *ev)
{
    const struct json_node *nodes = doc->nodes, *integrity = &nodes[slots[IN_INTEGRITY]];
    return integrity->type != JSON_OBJECT || integrity->first != 0 || (slots[IN_ALG] && ev->integrity_alg.len == 0) ||
           (slots[IN_HASH] && ev->integrity_hash.len == 0) || (slots[IN_PREV_HASH] && ev->integrity_prev.len == 0) ||
           (slots[IN_SEQ] && ev->integrity_seq == 0) || (slots[IN_STREAM] && ev->integrity_stream == 0);
}

static bool get_fields(struct json_doc *doc, const uint32_t *slots, const char *json, struct stored_event *ret)
{
    bool ok = get_text(doc, slots, SLOT_EVENT_ID, json, &ret->event_id);
    ok &= get_text(doc, slots, SLOT_ACTION, json, &ret->action);
    ok &= get_text(doc, slots, SLOT_OUTCOME, json, &ret->outcome);
    ok &= get_text(doc, slots, SLOT_OCCURRED_AT, json, &ret->occurred_at);
    ok &= get_text(doc, slots, SLOT_ACTOR_ID, json, &ret->actor_id);
    ok &= get_text(doc, slots, SLOT_TARGET_ID, json, &ret->target_id);
    ok &= get_text(doc, slots, SLOT_TENANT_ID, json, &ret->tenant_id);
    ok &= get_text(doc, slots, SLOT_SOURCE_SERVICE, json, &ret->source_service);
    ok &= get_text(doc, slots, IN_ALG, json, &ret->integrity_alg);
    ok &= get_text(doc, slots, IN_HASH, json, &ret->integrity_hash);
    ok &= get_text(doc, slots, IN_PREV_HASH, json, &ret->integrity_prev);
    ret->integrity_seq = get_number(doc, slots, IN_SEQ);
    ret->integrity_stream = stream_of(get_number(doc, slots, IN_STREAM));
    ret->has_integrity = slots[IN_INTEGRITY] != 0;
    ret->has_signature = slots[IN_KEY_ID] != 0 || slots[IN_SIG] != 0;
    ret->has_unknown_integrity = ret->has_integrity && odd_integrity(doc, slots, ret);
    ret->is_view = slots[IN_VIEW] != 0;
    if (AW_UNLIKELY(ret->is_view)) {
        struct view_claim claim;
        ret->view_fault = claim_read(doc->nodes, &doc->nodes[slots[IN_VIEW]], &claim);
        ret->view_fields = claim.fields;
    }
    return ok;
}

/* Cuts the member out of a canonical line, together with one comma. */
static void cut(const char *json, size_t len, const struct json_read_result *r, struct stored_event *ret)
{
    size_t start = r->span_start, end = r->span_end;
    if (end == 0) {
        start = end = len;
    } else if (json[end] == ',') {
        end++;
    } else if (json[start - 1] == ',') {
        start--;
    }
    ret->prefix = (struct aw_str){json, start};
    ret->suffix = (struct aw_str){json + end, len - end};
}

/* The same text read without a shape gives all members in order; integrity is left out of what is written. */
static AW_COLD int canonicalise(struct work *w, struct stored_event *ret)
{
    struct json_doc *doc = &w->stored;
    struct json_error error = {0, 0, 0, ""};
    struct json_read_options options = {.max_depth = STORED_DEPTH, .accept_rounded = true};
    doc->count = 1;
    int rc = json_read(doc, &options, NULL, &error);
    if (rc != 0)
        return stored_problem(rc, &error);
    struct json_node *nodes = doc->nodes, *top = &nodes[JSON_TOP];
    uint32_t before = 0;
    for (uint32_t c = top->first; c; before = c, c = nodes[c].next) {
        if (nodes[c].key_len != 9 || memcmp(nodes[c].key, "integrity", 9) != 0)
            continue;
        if (before)
            nodes[before].next = nodes[c].next;
        else
            top->first = nodes[c].next;
        break; /* there is only one: the reader refuses a second */
    }
    size_t need = json_canonical_bound(nodes, top) + TEXT_STEP;
    if (!work_reserve(&w->stored_out, &w->stored_capacity, need, false))
        return stored_problem(-ENOMEM, &error);
    char *end = json_write(w->stored_out, nodes, top);
    ret->prefix = (struct aw_str){w->stored_out, (size_t)(end - w->stored_out)};
    ret->suffix = (struct aw_str){end, 0};
    return AW_SUCCESS;
}

int event_parse_stored(const char *json, size_t len, struct stored_event *ret)
{
    struct json_error error = {0, 0, 0, ""};
    uint32_t slots[IN_COUNT] = {0};
    struct json_read_options options = {.max_depth = STORED_DEPTH,
                                        .accept_rounded = true,
                                        .shape = &shape_stored,
                                        .slots = slots,
                                        .want_canonical = true,
                                        .span_slot = IN_INTEGRITY};
    struct json_read_result result;
    struct work *w = work_get();
    if (AW_UNLIKELY(!w))
        return stored_problem(-ENOMEM, &error);
    int rc = json_load(&w->stored, json, len);
    if (AW_LIKELY(rc == 0))
        rc = json_read(&w->stored, &options, &result, &error);
    else if (rc == -E2BIG)
        error.message = "longer than 1 GiB";
    if (AW_UNLIKELY(rc != 0))
        return stored_problem(rc, &error);
    if (AW_UNLIKELY(w->stored.nodes[JSON_TOP].type != JSON_OBJECT))
        return diag_problem(AW_ERR_INVALID_EVENT, "", "not a JSON object");
    if (AW_UNLIKELY(!get_fields(&w->stored, slots, json, ret)))
        return stored_problem(-ENOMEM, &error);
    if (AW_UNLIKELY(!result.canonical))
        return canonicalise(w, ret);
    cut(json, len, &result, ret);
    return AW_SUCCESS;
}

/* ---- single fields ---- */

size_t event_unescape(const char *in, size_t len, char *out)
{
    static const char plain[128] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    const char *p = in, *end = in + len;
    char *o = out;
    while (p < end) {
        unsigned char c = end - p >= 2 ? (unsigned char)p[1] : 0;
        if (*p != '\\' || c == 0) {
            *o++ = *p++;
            continue;
        }
        int unit = c == 'u' && end - p >= 6 ? text_hex4(p + 2) : -1;
        if (unit < 0) {
            *o++ = c < 128 && plain[c] ? plain[c] : (char)c;
            p += 2;
            continue;
        }
        uint32_t code = (uint32_t)unit;
        p += 6;
        if (code >= 0xd800 && code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
            int low = text_hex4(p + 2);
            if (low >= 0xdc00 && low < 0xe000) {
                code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
                p += 6;
            }
        }
        o = text_put_utf8(o, code);
    }
    return (size_t)(o - out);
}

static size_t put_out(const char *text, size_t len, char *buffer, size_t size)
{
    if (size > 0) {
        size_t n = len < size - 1 ? len : size - 1;
        memcpy(buffer, text, n);
        buffer[n] = '\0';
    }
    return len;
}

/* The node below n that the next step of the path names; *path moves on. NULL: there is none. */
static const struct json_node *descend(const struct json_node *nodes, const struct json_node *n, const char **path)
{
    char name[256];
    size_t len = 0;
    const char *p = *path;
    if (*p == '[') {
        size_t index = 0;
        for (p++; *p >= '0' && *p <= '9' && index < UINT32_MAX; p++)
            index = index * 10 + (size_t)(*p - '0');
        if (*p != ']' || n->type != JSON_ARRAY)
            return NULL;
        p++;
        *path = *p == '.' ? p + 1 : p;
        uint32_t c = n->first;
        while (c && index-- > 0)
            c = nodes[c].next;
        return c ? &nodes[c] : NULL;
    }
    for (; *p != '\0' && *p != '.' && *p != '['; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (len == sizeof name)
            return NULL;
        name[len++] = *p;
    }
    *path = *p == '.' ? p + 1 : p;
    if (n->type != JSON_OBJECT)
        return NULL;
    for (uint32_t c = n->first; c; c = nodes[c].next) {
        if (nodes[c].key_len == len && memcmp(nodes[c].key, name, len) == 0)
            return &nodes[c];
    }
    return NULL;
}

int64_t aw_json_field(const char *json, size_t len, const char *path, char *buffer, size_t size)
{
    struct json_error error = {0, 0, 0, ""};
    struct json_read_options options = {.max_depth = STORED_DEPTH, .accept_rounded = true};
    diag_reset();
    if (!json || !path || (!buffer && size > 0))
        return diag_problem(AW_ERR_USAGE, "", "json, path and buffer must not be NULL");
    struct work *w = work_get();
    int rc = w ? json_load(&w->stored, json, len) : -ENOMEM;
    if (rc == 0)
        rc = json_read(&w->stored, &options, NULL, &error);
    if (rc != 0)
        return stored_problem(rc, &error);
    const struct json_node *nodes = w->stored.nodes, *n = &nodes[JSON_TOP];
    const char *at = path;
    while (n && *at)
        n = descend(nodes, n, &at);
    if (!n)
        return AW_ERR_NOTFOUND;
    if (n->type != JSON_OBJECT && n->type != JSON_ARRAY)
        return (int64_t)put_out(n->text, n->len, buffer, size);
    size_t need = json_canonical_bound(nodes, n) + TEXT_STEP;
    if (!work_reserve(&w->stored_out, &w->stored_capacity, need, false))
        return stored_problem(-ENOMEM, &error);
    return (int64_t)put_out(w->stored_out, (size_t)(json_write(w->stored_out, nodes, n) - w->stored_out), buffer, size);
}
