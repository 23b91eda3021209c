/* event_batch.c - sealed records as plugins read them. See registry.h, event_batch.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * An event's fields are located once, when it is added: reading a plain field is then two loads. What must be made
 * (decoded escapes, the JSON with its integrity member, hex digits) is made when it is first asked for, under the
 * batch's lock, in an arena that lives as long as the batch object: once it is warm, nothing is allocated.
 */
#include "config.h"

#include "plugin/event_batch.h"

#include "base/base.h"
#include "base/hash.h"

#include <pthread.h>
#include <stdio.h>

#define SLOTS 64 /* all AW_FIELD_* of the field table are below; static assert below */
#define CHUNK_SIZE (256u << 10)
#define ARENA_KEEP (16u << 20) /* more than this is given back on reset */

_Static_assert(AW_FIELD_INTEGRITY < SLOTS && AW_FIELD_PREV_HASH < SLOTS, "field ids fit the index");
_Static_assert(EVENT_MAX_FIELDS < 255, "an index entry is one byte");

struct chunk {
    struct chunk *next;
    size_t used, size;
    char data[];
};

struct aw_event {
    struct record_view view;
    struct event_batch *batch;
    struct aw_str *decoded; /* by field position, for escaped ones; NULL until the first */
    struct aw_str json, integrity, scope, hash, prev;
    uint8_t slot[SLOTS]; /* field id -> position + 1 */
};

struct event_batch {
    struct aw_event *events;
    const struct aw_event **ready;
    const char **errors;
    size_t count, capacity;
    struct chunk *first, *current;
    size_t arena_bytes;
    pthread_mutex_t lock; /* arena, everything that is made lazily */
};

/* ---- arena ---- */

static void *arena_take(struct event_batch *b, size_t size)
{
    size = base_align8(size);
    struct chunk *c = b->current;
    while (c && c->size - c->used < size) {
        c = c->next;
        if (c)
            b->current = c;
    }
    if (!c) {
        size_t data = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        c = malloc(sizeof *c + data);
        if (!c)
            return NULL;
        *c = (struct chunk){.next = NULL, .used = 0, .size = data};
        if (b->current)
            b->current->next = c;
        else
            b->first = c;
        b->current = c;
        b->arena_bytes += data;
    }
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

static void arena_free(struct event_batch *b)
{
    for (struct chunk *c = b->first, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    b->first = b->current = NULL;
    b->arena_bytes = 0;
}

static void arena_reset(struct event_batch *b)
{
    if (b->arena_bytes > ARENA_KEEP) {
        arena_free(b);
        return;
    }
    for (struct chunk *c = b->first; c; c = c->next)
        c->used = 0;
    b->current = b->first;
}

/* ---- batch ---- */

int event_batch_create(struct event_batch **ret)
{
    struct event_batch *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    int rc = pthread_mutex_init(&b->lock, NULL);
    if (rc != 0) {
        free(b);
        return -rc;
    }
    *ret = b;
    return 0;
}

void event_batch_destroy(struct event_batch *b)
{
    if (!b)
        return;
    arena_free(b);
    free(b->events);
    free(b->ready);
    free(b->errors);
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

void event_batch_reset(struct event_batch *b)
{
    b->count = 0;
    arena_reset(b);
}

static int grow(struct event_batch *b)
{
    size_t n = b->capacity ? 2 * b->capacity : 128;
    struct aw_event *events = realloc(b->events, n * sizeof *events);
    if (!events)
        return -ENOMEM;
    b->events = events;
    const struct aw_event **ready = realloc(b->ready, n * sizeof *ready);
    if (!ready)
        return -ENOMEM;
    b->ready = ready;
    const char **errors = realloc(b->errors, n * sizeof *errors);
    if (!errors)
        return -ENOMEM;
    b->errors = errors;
    b->capacity = n;
    return 0;
}

int event_batch_add(struct event_batch *b, const struct record_view *view)
{
    if (b->count == b->capacity && grow(b) < 0)
        return -ENOMEM;
    b->errors[b->count] = NULL;
    struct aw_event *e = &b->events[b->count++];
    memset(e, 0, sizeof *e);
    e->view = *view;
    e->batch = b;
    size_t n = view->head->field_count < EVENT_MAX_FIELDS ? view->head->field_count : EVENT_MAX_FIELDS;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = field_id(view->fields[i]);
        if (id < SLOTS && (uint64_t)field_offset(view->fields[i]) + field_len(view->fields[i]) <= view->head->json_len)
            e->slot[id] = (uint8_t)(i + 1);
    }
    return 0;
}

void *event_batch_take(struct event_batch *b, size_t size)
{
    return arena_take(b, size);
}

const struct aw_event *const *event_batch_events(struct event_batch *b, size_t *ret_count)
{
    for (size_t i = 0; i < b->count; i++)
        b->ready[i] = &b->events[i];
    *ret_count = b->count;
    return b->ready;
}

const struct record_view *event_batch_view(const struct event_batch *b, size_t index)
{
    return index < b->count ? &b->events[index].view : NULL;
}

const char *event_batch_error(const struct event_batch *b, size_t index)
{
    return index < b->count ? b->errors[index] : NULL;
}

bool event_batch_set_error(struct event_batch *b, size_t index, const char *fmt, va_list ap)
{
    char text[500];
    if (index >= b->count)
        return false;
    vsnprintf(text, sizeof text, fmt, ap);
    size_t n = strlen(text) + 1;
    (void)pthread_mutex_lock(&b->lock);
    char *copy = arena_take(b, n);
    if (copy)
        b->errors[index] = memcpy(copy, text, n);
    (void)pthread_mutex_unlock(&b->lock);
    return true;
}

/* ---- what is made on demand: under the batch's lock, *slot.ptr != NULL when it is there ---- */

static struct aw_event *writable(const struct aw_event *e)
{
    return &e->batch->events[e - e->batch->events];
}

typedef bool (*make_fn)(struct aw_event *e, struct aw_str *slot, size_t arg);

static int32_t made(const struct aw_event *event, struct aw_str *slot, make_fn make, size_t arg, struct aw_str *ret)
{
    struct aw_event *e = writable(event);
    (void)pthread_mutex_lock(&e->batch->lock);
    bool ok = slot->ptr != NULL || make(e, slot, arg);
    struct aw_str value = *slot;
    (void)pthread_mutex_unlock(&e->batch->lock);
    if (!ok)
        return AW_E_NOMEM;
    if (value.len == 0 && slot != &e->scope)
        return AW_E_NOTFOUND;
    *ret = value;
    return AW_OK;
}

static bool make_json(struct aw_event *e, struct aw_str *slot, size_t arg)
{
    (void)arg;
    char *out = arena_take(e->batch, record_json_size(&e->view));
    if (!out)
        return false;
    *slot = (struct aw_str){out, record_render_json(&e->view, out)};
    return true;
}

static bool make_integrity(struct aw_event *e, struct aw_str *slot, size_t arg)
{
    (void)arg;
    char *out = arena_take(e->batch, RECORD_INTEGRITY_MAX + e->view.claim.len);
    if (!out)
        return false;
    *slot = (struct aw_str){out, record_render_integrity(&e->view, out)};
    return true;
}

static bool make_scope(struct aw_event *e, struct aw_str *slot, size_t arg)
{
    (void)arg;
    char *out = arena_take(e->batch, (size_t)e->view.head->json_len + 16);
    if (!out)
        return false;
    *slot = (struct aw_str){out, record_scope(&e->view, out)};
    return true;
}

static bool make_hash(struct aw_event *e, struct aw_str *slot, size_t previous)
{
    char *out = arena_take(e->batch, 2 * HASH_SHA256_LEN);
    if (!out)
        return false;
    hash_hex(previous ? e->view.head->prev_hash : e->view.head->hash, HASH_SHA256_LEN, out);
    *slot = (struct aw_str){out, 2 * HASH_SHA256_LEN};
    return true;
}

/* ---- the host's functions ---- */

static int32_t decoded_field(const struct aw_event *event, size_t at, struct aw_str raw, struct aw_str *ret)
{
    struct aw_event *e = writable(event);
    struct event_batch *b = e->batch;
    int32_t rc = AW_OK;
    (void)pthread_mutex_lock(&b->lock);
    if (!e->decoded) {
        size_t size = sizeof *e->decoded * e->view.head->field_count;
        e->decoded = arena_take(b, size);
        if (e->decoded)
            memset(e->decoded, 0, size);
    }
    struct aw_str *slot = e->decoded ? &e->decoded[at] : NULL;
    if (slot && !slot->ptr) {
        char *out = arena_take(b, raw.len + 1);
        if (out)
            *slot = (struct aw_str){out, event_unescape(raw.ptr, raw.len, out)};
    }
    if (slot && slot->ptr)
        *ret = *slot;
    else
        rc = AW_E_NOMEM;
    (void)pthread_mutex_unlock(&b->lock);
    return rc;
}

static int32_t special_field(const struct aw_event *e, uint32_t field, struct aw_str *ret)
{
    struct aw_event *w = writable(e);
    uint16_t flags = e->view.head->flags;
    switch (field) {
    case AW_FIELD_SCOPE:
        return made(e, &w->scope, make_scope, 0, ret);
    case AW_FIELD_INTEGRITY:
        return made(e, &w->integrity, make_integrity, 0, ret);
    case AW_FIELD_HASH:
        return flags & RECORD_UNCHAINED ? AW_E_NOTFOUND : made(e, &w->hash, make_hash, 0, ret);
    case AW_FIELD_PREV_HASH:
        return flags & (RECORD_UNCHAINED | RECORD_FIRST) ? AW_E_NOTFOUND : made(e, &w->prev, make_hash, 1, ret);
    default:
        return AW_E_NOTFOUND;
    }
}

AW_HOT int32_t event_batch_field(const struct aw_event *e, uint32_t field, struct aw_str *ret)
{
    uint8_t slot = field < SLOTS ? e->slot[field] : 0;
    if (!slot)
        return special_field(e, field, ret);
    struct field_ref f = e->view.fields[slot - 1];
    struct aw_str raw = {e->view.json + field_offset(f), field_len(f)};
    if (AW_UNLIKELY(f.len_flags & FIELD_ESCAPED))
        return decoded_field(e, slot - 1u, raw, ret);
    *ret = raw;
    return AW_OK;
}

int32_t event_batch_number(const struct aw_event *e, uint32_t number, uint64_t *ret)
{
    const struct record_header *h = e->view.head;
    switch (number) {
    case AW_NUMBER_SEQ:
        *ret = h->seq;
        return AW_OK;
    case AW_NUMBER_SCHEMA_VERSION:
        *ret = 1;
        return AW_OK;
    case AW_NUMBER_OCCURRED_NS:
        *ret = (uint64_t)h->occurred_ns;
        return AW_OK;
    case AW_NUMBER_SEALED_NS:
        *ret = h->sealed_ns;
        return AW_OK;
    case AW_NUMBER_METADATA_TRUNCATED:
        *ret = (h->flags & RECORD_METADATA_TRUNCATED) != 0;
        return AW_OK;
    case AW_NUMBER_DIFF_TRUNCATED:
        *ret = (h->flags & RECORD_DIFF_TRUNCATED) != 0;
        return AW_OK;
    case AW_NUMBER_STREAM:
        *ret = h->stream;
        return AW_OK;
    default:
        return AW_E_NOTFOUND;
    }
}

int32_t event_batch_encoded(const struct aw_event *e, const char *encoding, struct aw_str *ret)
{
    if (!encoding || strcmp(encoding, "json") != 0)
        return AW_E_UNSUPPORTED;
    return made(e, &writable(e)->json, make_json, 0, ret);
}
