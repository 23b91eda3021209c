/* verify_scope.c - the scopes of a trail, and where each one's chain stands. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>

#include "base/diag.h"
#include "seal/verify_impl.h"

void verify_nomem(struct verifier *v)
{
    if (v->failed == 0)
        v->failed = diag_problem(AW_ERR_NOMEM, "", "out of memory while verifying");
}

static bool scopes_grow(struct verify_scopes *scopes)
{
    size_t size = scopes->slots ? (scopes->mask + 1) * 2 : 256;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < scopes->count; i++) {
        size_t at = (size_t)scopes->list[i]->key.lo & (size - 1);
        while (slots[at] != 0)
            at = (at + 1) & (size - 1);
        slots[at] = (uint32_t)i + 1;
    }
    free(scopes->slots);
    scopes->slots = slots;
    scopes->mask = size - 1;
    return true;
}

/* "tenant:acme", or "tenant:acme (stream 3)". */
static char *name_of(const struct verify_row *row)
{
    char *name = verify_printable(base_str(row->scope_is_tenant ? "tenant:" : "service:"), row->scope), *longer;
    if (!name || row->stream == 0)
        return name;
    if (asprintf(&longer, "%s (stream %u)", name, (unsigned)row->stream) < 0)
        longer = NULL;
    free(name);
    return longer;
}

static struct verify_scope *scope_make(struct verifier *v, const struct verify_row *row)
{
    struct verify_scopes *scopes = &v->scopes;
    if (scopes->count == scopes->size) {
        size_t size = scopes->size ? scopes->size * 2 : 128;
        struct verify_scope **list =
            size <= UINT32_MAX ? realloc(scopes->list, size * sizeof(struct verify_scope *)) : NULL;
        if (!list)
            return NULL;
        scopes->list = list;
        scopes->size = size;
    }
    struct verify_scope *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->name = name_of(row);
    if (!s->name) {
        free(s);
        return NULL;
    }
    s->key = row->scope_key;
    s->stream = row->stream;
    s->index = (uint32_t)scopes->count;
    for (size_t i = 0; i < v->expected_count; i++) {
        struct verify_expected *e = &v->expected[i];
        if ((e->key.lo == s->key.lo && e->key.hi == s->key.hi) || base_str_eq(e->name, base_str(s->name))) {
            e->scope = s;
            s->expecting = true;
        }
    }
    scopes->list[scopes->count++] = s;
    return s;
}

struct verify_scope *verify_scope_get(struct verifier *v, const struct verify_row *row)
{
    struct verify_scopes *scopes = &v->scopes;
    if (!scopes->slots || scopes->count >= (scopes->mask + 1) / 2) {
        if (!scopes_grow(scopes))
            return NULL;
    }
    size_t at = (size_t)row->scope_key.lo & scopes->mask;
    for (; scopes->slots[at] != 0; at = (at + 1) & scopes->mask) {
        struct verify_scope *s = scopes->list[scopes->slots[at] - 1];
        if (s->key.lo == row->scope_key.lo && s->key.hi == row->scope_key.hi)
            return s;
    }
    struct verify_scope *s = scope_make(v, row);
    if (s)
        scopes->slots[at] = s->index + 1;
    return s;
}

void verify_scopes_clear(struct verify_scopes *scopes)
{
    for (size_t i = 0; i < scopes->count; i++) {
        struct verify_scope *s = scopes->list[i];
        for (int b = 0; s->trouble && b < VERIFY_BREAKS; b++) {
            free(s->trouble->breaks[b].before);
            free(s->trouble->breaks[b].extra);
        }
        free(s->trouble);
        free(s->name);
        free(s->first_location);
        free(s->last_location);
        free(s);
    }
    free(scopes->list);
    free(scopes->slots);
    memset(scopes, 0, sizeof *scopes);
}

void verify_copy_time(char out[VERIFY_TIME], struct aw_str time)
{
    size_t len = time.len < VERIFY_TIME ? time.len : VERIFY_TIME - 1;
    for (size_t i = 0; i < len; i++)
        out[i] = time.ptr[i] >= ' ' && time.ptr[i] < 0x7f ? time.ptr[i] : '?';
    out[len] = '\0';
}

/* The row is the newest of its chain now. */
void verify_remember_last(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                          const struct verify_row *row)
{
    const char *location = verify_location(batch, row);
    size_t size = strlen(location) + 1;
    if (size > s->last_size) {
        size_t room = (size + 15) & ~(size_t)15;
        char *bigger = realloc(s->last_location, room);
        if (!bigger || room > UINT32_MAX) {
            free(bigger);
            s->last_location = NULL;
            s->last_size = 0;
            verify_nomem(v);
            return;
        }
        s->last_location = bigger;
        s->last_size = (uint32_t)room;
    }
    memcpy(s->last_location, location, size);
    verify_copy_time(s->last_time, row->time);
    s->last_ordinal = row->ordinal;
}

void verify_set_head(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                     const struct verify_row *row)
{
    memcpy(s->head, row->hash, VERIFY_HASH);
    s->head_seq = row->seq;
    if (row->seq != 0)
        s->last_seq = row->seq;
    verify_remember_last(v, s, batch, row);
}
