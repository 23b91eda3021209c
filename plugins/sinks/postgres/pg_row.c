/* pg_row.c - the columns, and an event as a row in PostgreSQL's binary form. SPDX-License-Identifier: Apache-2.0
 *
 * The canonical bytes are what counts; the other columns are for people's queries. Text of PostgreSQL cannot hold
 * U+0000, so it stands as U+FFFD in all columns but `canonical`. In event_id, which must stay unique, an id with U+0000
 * is escaped, and made longer than an id can be, so that it is no other event's.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define OID_BOOL 16
#define OID_BYTEA 17
#define OID_INT8 20
#define OID_INT4 23
#define OID_TEXT 25
#define OID_TEXT_ARRAY 1009
#define OID_TIMESTAMPTZ 1184
#define OID_JSONB 3802
#define NULL_VALUE UINT32_MAX
#define EVENT_ID_MAX 128u
#define EPOCH_US INT64_C(946684800000000) /* 2000-01-01 after 1970-01-01 */

const struct pg_column pg_columns[PG_COLUMNS] = {
    {"event_id", "text COLLATE \"C\" NOT NULL", OID_TEXT, PG_KEY, AW_FIELD_EVENT_ID, false},
    {"seq", "bigint", OID_INT8, PG_INT8, AW_NUMBER_SEQ, true},
    {"stream", "integer NOT NULL DEFAULT 0", OID_INT4, PG_STREAM, AW_NUMBER_STREAM, true},
    {"scope", "text", OID_TEXT, PG_TEXT, AW_FIELD_SCOPE, true},
    {"schema_version", "integer", OID_INT4, PG_INT4, AW_NUMBER_SCHEMA_VERSION, false},
    {"occurred_at", "timestamptz NOT NULL", OID_TIMESTAMPTZ, PG_TIME, AW_NUMBER_OCCURRED_NS, false},
    {"occurred_ns", "bigint", OID_INT8, PG_INT8, AW_NUMBER_OCCURRED_NS, true},
    {"action", "text", OID_TEXT, PG_TEXT, AW_FIELD_ACTION, false},
    {"outcome", "text", OID_TEXT, PG_TEXT, AW_FIELD_OUTCOME, false},
    {"actor_id", "text", OID_TEXT, PG_CUT, AW_FIELD_ACTOR_ID, false},
    {"actor_type", "text", OID_TEXT, PG_TEXT, AW_FIELD_ACTOR_TYPE, false},
    {"actor_display_name", "text", OID_TEXT, PG_TEXT, AW_FIELD_ACTOR_DISPLAY_NAME, false},
    {"actor_roles", "text[]", OID_TEXT_ARRAY, PG_ROLES, AW_FIELD_ACTOR_ROLES, false},
    {"actor_ip", "text", OID_TEXT, PG_TEXT, AW_FIELD_ACTOR_IP, false},
    {"actor_user_agent", "text", OID_TEXT, PG_TEXT, AW_FIELD_ACTOR_USER_AGENT, false},
    {"target_id", "text", OID_TEXT, PG_TEXT, AW_FIELD_TARGET_ID, false},
    {"target_type", "text", OID_TEXT, PG_TEXT, AW_FIELD_TARGET_TYPE, false},
    {"target_display_name", "text", OID_TEXT, PG_TEXT, AW_FIELD_TARGET_DISPLAY_NAME, false},
    {"tenant_id", "text", OID_TEXT, PG_CUT, AW_FIELD_TENANT_ID, false},
    {"org_id", "text", OID_TEXT, PG_TEXT, AW_FIELD_ORG_ID, false},
    {"target", "jsonb", OID_JSONB, PG_JSON, AW_FIELD_TARGET, false},
    {"context", "jsonb", OID_JSONB, PG_JSON, AW_FIELD_CONTEXT, false},
    {"metadata", "jsonb", OID_JSONB, PG_JSON, AW_FIELD_METADATA, false},
    {"diff", "jsonb", OID_JSONB, PG_JSON, AW_FIELD_DIFF, false},
    {"integrity", "jsonb", OID_JSONB, PG_JSON, AW_FIELD_INTEGRITY, false},
    {"retention_tag", "text", OID_TEXT, PG_TEXT, AW_FIELD_RETENTION_TAG, false},
    {"metadata_truncated", "boolean", OID_BOOL, PG_INT2BOOL, AW_NUMBER_METADATA_TRUNCATED, false},
    {"diff_truncated", "boolean", OID_BOOL, PG_INT2BOOL, AW_NUMBER_DIFF_TRUNCATED, false},
    {"canonical", "bytea", OID_BYTEA, PG_RAW, 0, true},
};

/* ---- buffers ---- */

static char *room(struct pg_buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->cap - b->len) {
        size_t cap = b->cap == 0 ? 4096 : b->cap;
        while (cap - b->len < n)
            cap *= 2;
        char *more = realloc(b->p, cap);
        if (more == NULL) {
            b->failed = true;
            return NULL;
        }
        b->p = more;
        b->cap = cap;
    }
    return b->p + b->len;
}

void pg_put(struct pg_buf *b, const void *p, size_t n)
{
    char *at = room(b, n);
    if (at == NULL || n == 0)
        return;
    memcpy(at, p, n);
    b->len += n;
}

static void store32(char *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(v >> (24 - 8 * i));
}

void pg_put32(struct pg_buf *b, uint32_t v)
{
    char bytes[4];
    store32(bytes, v);
    pg_put(b, bytes, sizeof bytes);
}

void pg_put16(struct pg_buf *b, uint32_t v)
{
    char bytes[2] = {(char)(v >> 8), (char)v};
    pg_put(b, bytes, sizeof bytes);
}

static void put64(struct pg_buf *b, uint64_t v)
{
    pg_put32(b, (uint32_t)(v >> 32));
    pg_put32(b, (uint32_t)v);
}

void pg_puts(struct pg_buf *b, const char *text)
{
    pg_put(b, text, strlen(text));
}

void pg_buf_trim(struct pg_buf *b)
{
    b->len = 0;
    if (b->cap > (1u << 20) || b->failed) {
        free(b->p);
        *b = (struct pg_buf){0};
    }
}

void pg_put_columns(struct pg_buf *sql)
{
    for (size_t i = 0; i < PG_COLUMNS; i++) {
        pg_puts(sql, i > 0 ? ", " : "");
        pg_puts(sql, pg_columns[i].name);
    }
}

/* ---- values: a length, and the bytes. The length is filled in when they are there. ---- */

static size_t open_value(struct pg_buf *b)
{
    pg_put32(b, NULL_VALUE);
    return b->len;
}

static void close_value(struct pg_buf *b, size_t from)
{
    if (!b->failed)
        store32(b->p + from - 4, (uint32_t)(b->len - from));
}

/* Text without NUL: U+FFFD stands for it. */
static void put_text(struct pg_buf *b, const char *s, size_t len)
{
    while (len > 0) {
        const char *nul = memchr(s, '\0', len);
        size_t n = nul != NULL ? (size_t)(nul - s) : len;
        pg_put(b, s, n);
        if (nul == NULL)
            return;
        pg_put(b, "\xef\xbf\xbd", 3);
        s += n + 1;
        len -= n + 1;
    }
}

size_t pg_cut(const char *s, size_t len)
{
    if (len <= PG_CUT_BYTES)
        return len;
    size_t n = PG_CUT_BYTES;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static void put_key(struct pg_buf *b, struct aw_str id)
{
    size_t from = b->len;
    if (memchr(id.ptr, '\0', id.len) == NULL) {
        pg_put(b, id.ptr, id.len);
        return;
    }
    for (size_t i = 0; i < id.len; i++) {
        if (id.ptr[i] == '\0')
            pg_put(b, "\\0", 2);
        else
            pg_put(b, id.ptr[i] == '\\' ? "\\\\" : &id.ptr[i], id.ptr[i] == '\\' ? 2 : 1);
    }
    pg_put(b, "\\.", 2); /* no escape ends so: what follows is filling */
    while (!b->failed && b->len - from <= EVENT_ID_MAX)
        pg_put(b, ".", 1);
}

int32_t pg_put_key(const struct aw_host *host, struct pg_buf *b, const struct aw_event *event)
{
    struct aw_str id;
    int32_t r = host->event_field(event, AW_FIELD_EVENT_ID, &id);
    if (r != AW_OK)
        return r;
    put_key(b, id);
    return AW_OK;
}

/* jsonb takes every JSON but the escape \u0000. */
static void put_jsonb(struct pg_buf *b, const char *s, size_t len)
{
    pg_put(b, "\1", 1);
    if (len == 0 || memchr(s, '\\', len) == NULL) { /* nearly always, and found out soonest */
        pg_put(b, s, len);
        return;
    }
    for (;;) {
        const char *at = len > 0 ? memmem(s, len, "\\u0000", 6) : NULL;
        if (at == NULL) {
            pg_put(b, s, len);
            return;
        }
        size_t n = (size_t)(at - s), slashes = 0;
        while (slashes < n && at[-1 - (ptrdiff_t)slashes] == '\\')
            slashes++;
        pg_put(b, s, n);
        pg_put(b, slashes % 2 == 0 ? "\\ufffd" : "\\u0000",
               6); /* after an odd number the backslash is itself escaped */
        s += n + 6;
        len -= n + 6;
    }
}

/* One JSON string behind its opening quote, decoded. Canonical JSON escapes nothing but controls, \" and \\. Returns
 * what is behind the closing quote, or NULL. */
static const char *put_string(struct pg_buf *b, const char *s, const char *end)
{
    static const char from[] = "btnfr\"\\/", to[] = "\b\t\n\f\r\"\\/";
    while (s < end && *s != '"') {
        if (*s != '\\') {
            pg_put(b, s++, 1);
            continue;
        }
        if (end - s < 2)
            return NULL;
        const char *simple = s[1] != '\0' ? strchr(from, s[1]) : NULL;
        if (simple != NULL) {
            pg_put(b, &to[simple - from], 1);
            s += 2;
        } else {
            unsigned v;
            char hex[5] = "";
            if (s[1] != 'u' || end - s < 6)
                return NULL;
            memcpy(hex, s + 2, 4);
            if (strspn(hex, "0123456789abcdefABCDEF") != 4 || sscanf(hex, "%4x", &v) != 1 || v > 0x7f)
                return NULL;
            char c = (char)v;
            put_text(b, &c, 1);
            s += 6;
        }
    }
    return s < end ? s + 1 : NULL;
}

/* A JSON array of strings as text[]; NULL when it is anything else. */
static void put_roles(struct pg_buf *b, const char *s, size_t len)
{
    size_t from = b->len, count_at;
    const char *p = s, *end = s + len;
    uint32_t count = 0;
    if (len < 2 || *p++ != '[')
        return;
    pg_put32(b, 1); /* dimensions */
    pg_put32(b, 0); /* no NULL among them */
    pg_put32(b, OID_TEXT);
    count_at = b->len;
    pg_put32(b, 0);
    pg_put32(b, 1); /* first index */
    while (p != NULL && p < end && *p == '"') {
        size_t at = open_value(b);
        p = put_string(b, p + 1, end);
        close_value(b, at);
        count++;
        if (p != NULL && p < end && *p == ',')
            p++;
    }
    if (b->failed)
        return;
    if (p == NULL || p != end - 1 || *p != ']') {
        b->len = from;
        return;
    }
    store32(b->p + count_at, count);
    if (count == 0) {
        store32(b->p + from, 0);
        b->len = from + 12;
    }
    close_value(b, from);
}

static void put_number(struct pg_buf *b, enum pg_source source, uint64_t n)
{
    int64_t ns = (int64_t)n;
    size_t at = open_value(b);
    if (source == PG_INT2BOOL) {
        char c = n != 0;
        pg_put(b, &c, 1);
    } else if (source == PG_INT4 || source == PG_STREAM)
        pg_put32(b, (uint32_t)n);
    else if (source == PG_TIME) /* microseconds, rounded down */
        put64(b, (uint64_t)(ns / 1000 - (ns % 1000 < 0) - EPOCH_US));
    else
        put64(b, n);
    close_value(b, at);
}

static void put_field(struct pg_buf *b, enum pg_source source, struct aw_str text)
{
    size_t at = open_value(b);
    switch (source) {
    case PG_KEY:
        put_key(b, text);
        break;
    case PG_JSON:
        put_jsonb(b, text.ptr, text.len);
        break;
    case PG_ROLES:
        put_roles(b, text.ptr, text.len);
        return;
    case PG_CUT:
        put_text(b, text.ptr, pg_cut(text.ptr, text.len));
        break;
    default:
        put_text(b, text.ptr, text.len);
        break;
    }
    close_value(b, at);
}

int32_t pg_put_event(const struct aw_host *host, struct pg_buf *b, const struct aw_event *event)
{
    for (size_t i = 0; i < PG_COLUMNS; i++) {
        const struct pg_column *c = &pg_columns[i];
        struct aw_str text;
        uint64_t number;
        if (c->source == PG_RAW) {
            int32_t r = host->event_encoded(event, "json", &text);
            if (r != AW_OK)
                return r;
            size_t at = open_value(b);
            pg_put(b, text.ptr, text.len);
            close_value(b, at);
        } else if (c->id < AW_NUMBER_SEQ && host->event_field(event, c->id, &text) == AW_OK) {
            if (text.ptr == NULL)
                text.ptr = "";
            put_field(b, c->source, text);
        } else if (c->id >= AW_NUMBER_SEQ && host->event_number(event, c->id, &number) == AW_OK) {
            put_number(b, c->source, number);
        } else if (c->source == PG_STREAM) {
            put_number(b, PG_INT4, 0);
        } else
            pg_put32(b, NULL_VALUE);
    }
    return AW_OK;
}
