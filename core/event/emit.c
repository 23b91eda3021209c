/* emit.c - writes an event canonically, masking and limiting on the way. SPDX-License-Identifier: Apache-2.0
 *
 * Slots stand in canonical order, so that the known part of an event is written straight down the table. One bound on
 * the size is computed beforehand: the writing itself needs no checks, except where a scanner has put in a longer text.
 */
#include "config.h"

#include "event/emit.h"

#include "base/diag.h"

#define FIXED_ROOM 4096u /* literals, markers, flags */

struct writer {
    struct emit *e;
    struct prepared *p;
    char *begin; /* of the output; moves when make_room() has to grow it */
    const struct event_policy *policy;
    struct redactor *redactor;
    struct stencil_notes *notes; /* or NULL */
    uint64_t generation;
    uint64_t masked_slots;
    size_t words; /* of a row of path states */
    uint32_t redactions;
    bool redaction, scanners, metadata_truncated, diff_truncated;
};

void emit_problem(struct emit *e, int code, const char *path, const char *message)
{
    (void)diag_problem(code, path, "%s", message);
    if (e->rc == 0)
        e->rc = code;
}

static inline char *begin_of(const struct writer *w)
{
    return w->begin;
}

static inline void add_field(struct writer *w, uint32_t field, const char *start, const char *end, unsigned flags)
{
    struct prepared *p = w->p;
    p->fields[p->field_count].offset_id = (uint32_t)(start - begin_of(w)) << 8 | field;
    p->fields[p->field_count].len_flags = (uint32_t)(end - start) << 4 | flags;
    p->field_count++;
}

/* ---- notes for a stencil ---- */

/* A value has been written from `start` on. What comes of no node of the event and was not made for it is the policy's:
 * it will be there again. */
static AW_COLD void note_value(struct writer *w, const struct json_node *base, const struct json_node *n, size_t start,
                               const char *end)
{
    struct emit *e = w->e;
    uint32_t node;
    if (base == e->source->doc.nodes)
        node = (uint32_t)(n - base);
    else if (n == &e->made[0])
        node = STENCIL_EVENT_ID;
    else if (n == &e->made[1])
        node = STENCIL_OCCURRED_AT;
    else
        return;
    stencil_note(w->notes, node, n, start, (size_t)(end - begin_of(w)));
}

/* ---- values ---- */

/* Room for text that the bound did not foresee. NULL: no memory. */
static char *make_room(struct writer *w, char *out, size_t more)
{
    struct work *work = w->e->work;
    size_t at = (size_t)(out - work->out);
    w->e->bound += more;
    if (w->e->bound > (size_t)UINT32_MAX || !work_reserve(&work->out, &work->out_capacity, w->e->bound, true)) {
        if (w->e->rc == 0)
            w->e->rc = AW_ERR_NOMEM;
        return NULL;
    }
    w->begin = work->out;
    return work->out + at;
}

/* A text that a scanner should look at, without quotes; *ret_escaped: was anything escaped? */
static AW_COLD char *put_scanned(struct writer *w, char *out, const struct json_node *n, bool *ret_escaped)
{
    struct aw_str masked = {n->text, n->len};
    struct arena *arena = &w->redactor->arena;
    int found = scan_text(n->text, n->len, w->policy->mask, w->policy->mask_len, arena, &masked);
    bool escape = (n->flags & JSON_TEXT_ESCAPE) != 0;
    if (found < 0) {
        if (w->e->rc == 0)
            w->e->rc = AW_ERR_NOMEM;
        return out;
    }
    if (found > 0) {
        char *room = make_room(w, out, 6 * masked.len + TEXT_STEP);
        if (!room)
            return out;
        out = room;
        w->redactions++;
        escape = true;
    }
    char *end = escape ? text_escape(out, masked.ptr, masked.len) : text_copy(out, masked.ptr, masked.len);
    *ret_escaped = memchr(out, '\\', (size_t)(end - out)) != NULL;
    return end;
}

/* Without quotes. */
static inline char *put_string(struct writer *w, char *out, const struct json_node *n, bool scan, bool *ret_escaped)
{
    if (AW_LIKELY((n->flags & (JSON_TEXT_ESCAPE | JSON_MARKED)) == 0))
        return text_copy(out, n->text, n->len);
    if ((n->flags & JSON_MARKED) && scan)
        return put_scanned(w, out, n, ret_escaped);
    if (!(n->flags & JSON_TEXT_ESCAPE))
        return text_copy(out, n->text, n->len);
    *ret_escaped = true;
    return text_escape(out, n->text, n->len);
}

static inline char *put_mask(struct writer *w, char *out)
{
    w->redactions++;
    memcpy(out, w->policy->mask_json, w->policy->mask_json_len);
    return out + w->policy->mask_json_len;
}

static char *put_members(struct writer *w, char *out, const struct json_node *base, uint32_t first, uint32_t depth,
                         const uint64_t *row, bool mask_all);

static char *put_items(struct writer *w, char *out, const struct json_node *base, uint32_t first, uint32_t depth,
                       const uint64_t *row, bool scan);

/* scan: an allowed value is not scanned itself; what lies below it is judged on its own. */
static char *put_value(struct writer *w, char *out, const struct json_node *base, const struct json_node *n,
                       uint32_t depth, const uint64_t *row, bool scan)
{
    bool escaped;
    size_t start = (size_t)(out - begin_of(w));
    switch (n->type) {
    case JSON_STRING:
        *out++ = '"';
        out = put_string(w, out, n, scan, &escaped);
        if (AW_UNLIKELY(w->notes != NULL))
            note_value(w, base, n, start + 1, out);
        *out++ = '"';
        return out;
    case JSON_OBJECT:
    case JSON_ARRAY:
        if (AW_UNLIKELY(depth > w->policy->max_depth)) {
            emit_problem(w->e, AW_ERR_INVALID_EVENT, "", "nested too deeply: see limits.depth");
            return out;
        }
        return n->type == JSON_OBJECT ? put_members(w, out, base, n->first, depth, row, false)
                                      : put_items(w, out, base, n->first, depth, row, scan);
    case JSON_NUMBER:
        if (AW_UNLIKELY(n->flags & JSON_MARKED) && scan && scan_number(n->text, n->len)) {
            if (AW_UNLIKELY(w->notes != NULL))
                w->notes->unfit = true;
            return put_mask(w, out);
        }
        break;
    default:
        break;
    }
    out = text_copy(out, n->text, n->len);
    if (AW_UNLIKELY(w->notes != NULL))
        note_value(w, base, n, start, out);
    return out;
}

static char *put_items(struct writer *w, char *out, const struct json_node *base, uint32_t first, uint32_t depth,
                       const uint64_t *row, bool scan)
{
    size_t start = (size_t)(out - begin_of(w)) + 1;
    *out++ = '[';
    for (uint32_t c = first; c; c = base[c].next) {
        out = put_value(w, out, base, &base[c], depth + 1, row, scan);
        *out++ = ',';
    }
    out -= (size_t)(out - begin_of(w)) > start;
    *out++ = ']';
    return out;
}

/* REDACT_* of a member, and the path states of what lies below it. */
static inline unsigned judge(struct writer *w, const struct json_node *n, uint32_t depth, const uint64_t **row,
                             bool mask_all)
{
    unsigned verdict = redact_name(w->redactor, w->policy, w->generation, n);
    if (AW_UNLIKELY(*row != NULL)) {
        bool alive;
        uint64_t *next = w->redactor->states + (size_t)depth * w->words;
        verdict |= redact_step(w->policy, *row, n->key, n->key_len, next, &alive);
        *row = alive ? next : NULL;
    }
    if (verdict & REDACT_ALLOWED)
        return REDACT_ALLOWED;
    return verdict | (mask_all ? REDACT_MASKED : 0);
}

static inline char *put_key(char *out, const struct json_node *n)
{
    out = json_put_text(out, n->key, n->key_len, (n->flags & JSON_KEY_ESCAPE) != 0);
    *out++ = ':';
    return out;
}

static inline char *put_member(struct writer *w, char *out, const struct json_node *base, const struct json_node *n,
                               uint32_t depth, const uint64_t *row, bool mask_all)
{
    unsigned verdict = w->redaction ? judge(w, n, depth, &row, mask_all) : 0;
    out = put_key(out, n);
    if (AW_UNLIKELY(verdict & REDACT_MASKED))
        return put_mask(w, out);
    if (n->type == JSON_STRING && AW_LIKELY((n->flags & (JSON_TEXT_ESCAPE | JSON_MARKED)) == 0 && !w->notes))
        return json_put_text(out, n->text, n->len, false);
    return put_value(w, out, base, n, depth + 1, row, w->scanners && !(verdict & REDACT_ALLOWED));
}

static char *put_members(struct writer *w, char *out, const struct json_node *base, uint32_t first, uint32_t depth,
                         const uint64_t *row, bool mask_all)
{
    size_t start = (size_t)(out - begin_of(w)) + 1;
    *out++ = '{';
    for (uint32_t c = first; c; c = base[c].next) {
        out = put_member(w, out, base, &base[c], depth, row, mask_all);
        *out++ = ',';
    }
    out -= (size_t)(out - begin_of(w)) > start;
    *out++ = '}';
    return out;
}

/* ---- known members ---- */

static inline char *put_literal(char *out, const struct slot_spec *s)
{
    memcpy(out, s->literal, sizeof s->literal);
    return out + s->literal_len;
}

static inline const uint64_t *slot_row(const struct writer *w, unsigned slot)
{
    return w->redaction ? redact_slot_state(w->policy, slot) : NULL;
}

static inline bool slot_masked(const struct writer *w, unsigned slot)
{
    return (w->masked_slots >> slot & 1) != 0;
}

/* A masked text, or one that has to be looked at byte by byte; without quotes. */
static char *put_slot_slowly(struct writer *w, char *out, unsigned slot, bool *ret_escaped)
{
    bool scan = w->scanners && !(slot_specs[slot].flags & SLOT_UNSCANNED) && !(w->policy->allowed_slots >> slot & 1);
    if (!slot_masked(w, slot))
        return put_string(w, out, w->e->v[slot].node, scan, ret_escaped);
    if (w->notes)
        w->notes->unfit = true; /* it must be a text all the same */
    *ret_escaped = memchr(w->policy->mask_json, '\\', w->policy->mask_json_len) != NULL;
    return put_mask(w, out - 1) - 1; /* the mask brings its own quotes */
}

/* "name":"text", */
static inline char *put_text_slot(struct writer *w, char *out, unsigned slot)
{
    const struct slot_spec *s = &slot_specs[slot];
    const struct json_node *n = w->e->v[slot].node;
    bool escaped = false;
    out = put_literal(out, s);
    size_t start = (size_t)(out - w->begin);
    if (AW_LIKELY((n->flags & (JSON_TEXT_ESCAPE | JSON_MARKED)) == 0 && !slot_masked(w, slot)))
        out = text_copy(out, n->text, n->len);
    else
        out = put_slot_slowly(w, out, slot, &escaped);
    if (AW_UNLIKELY(w->notes != NULL))
        note_value(w, w->e->v[slot].base, n, start, out);
    struct field_ref *f = &w->p->fields[w->p->field_count++];
    f->offset_id = (uint32_t)start << 8 | s->field;
    f->len_flags = (uint32_t)((size_t)(out - w->begin) - start) << 4 | (escaped ? FIELD_ESCAPED : 0);
    memcpy(out, "\",", 2);
    return out + 2;
}

static char *put_roles_slot(struct writer *w, char *out)
{
    const struct slot_spec *s = &slot_specs[SLOT_ACTOR_ROLES];
    const struct node_ref *r = &w->e->v[SLOT_ACTOR_ROLES];
    bool scan = w->scanners && !(w->policy->allowed_slots >> SLOT_ACTOR_ROLES & 1);
    out = put_literal(out, s);
    size_t start = (size_t)(out - begin_of(w));
    if (AW_UNLIKELY(slot_masked(w, SLOT_ACTOR_ROLES))) { /* stays what it must be: an array of strings */
        *out++ = '[';
        out = put_mask(w, out);
        *out++ = ']';
        if (w->notes)
            w->notes->unfit = true; /* of texts */
    } else {
        out = put_items(w, out, r->base, r->node->first, 3, NULL, scan);
    }
    add_field(w, s->field, begin_of(w) + start, out, 0);
    *out++ = ',';
    return out;
}

static char *put_group_slot(struct writer *w, char *out, unsigned slot)
{
    return slot == SLOT_ACTOR_ROLES ? put_roles_slot(w, out) : put_text_slot(w, out, slot);
}

/* Known and unknown members of an object, merged in canonical order. */
static AW_COLD char *put_merged(struct writer *w, char *out, const struct slot_group *g, uint64_t live,
                                const struct node_ref *extra)
{
    uint32_t c = extra->node->first;
    const uint64_t *row = slot_row(w, g->slot);
    while (live || c) {
        const struct json_node *n = c ? &extra->base[c] : NULL;
        unsigned slot = live ? (unsigned)__builtin_ctzll(live) : 0;
        if (!n || (live && text_compare_utf16(slot_name(slot), strlen(slot_name(slot)), n->key, n->key_len) < 0)) {
            out = put_group_slot(w, out, slot);
            live &= live - 1;
        } else {
            out = put_member(w, out, extra->base, n, 2, row, slot_masked(w, g->slot));
            *out++ = ',';
            c = n->next;
        }
    }
    return out;
}

/* "actor":{…}, */
static inline char *put_group(struct writer *w, char *out, unsigned group)
{
    const struct slot_group *g = &slot_groups[group];
    const struct slot_spec *s = &slot_specs[g->slot];
    uint64_t mask = (UINT64_MAX << g->first) & (UINT64_MAX >> (63 - g->last));
    uint64_t live = w->e->present & mask;
    const struct node_ref *extra = &w->e->extra[group];
    out = put_literal(out, s);
    size_t start = (size_t)(out - begin_of(w));
    *out++ = '{';
    if (AW_UNLIKELY(extra->node != NULL)) {
        out = put_merged(w, out, g, live, extra);
    } else {
        for (; live; live &= live - 1)
            out = put_group_slot(w, out, (unsigned)__builtin_ctzll(live));
    }
    out -= (size_t)(out - begin_of(w)) > start + 1; /* the last comma */
    *out++ = '}';
    add_field(w, s->field, begin_of(w) + start, out, 0);
    *out++ = ',';
    return out;
}

/* metadata, diff: over its limit, the marker takes its place. */
static char *put_open_object(struct writer *w, char *out, unsigned slot, uint32_t limit, bool force,
                             uint32_t *ret_bytes, bool *ret_cut)
{
    const struct slot_spec *s = &slot_specs[slot];
    const struct node_ref *r = &w->e->v[slot];
    out = put_literal(out, s);
    size_t start = (size_t)(out - begin_of(w));
    out = put_members(w, out, r->base, r->node->first, 2, slot_row(w, slot), slot_masked(w, slot));
    size_t bytes = (size_t)(out - begin_of(w)) - start;
    *ret_bytes = (uint32_t)bytes;
    if (AW_UNLIKELY(bytes > limit || force)) {
        out = limits_put_marker(begin_of(w) + start, bytes);
        *ret_cut = true;
    }
    add_field(w, s->field, begin_of(w) + start, out, 0);
    *out++ = ',';
    return out;
}

static inline char *put_flag(struct writer *w, char *out, unsigned slot, bool *cut)
{
    if (AW_LIKELY(!*cut && !(w->e->present & SLOT_BIT(slot))))
        return out;
    *cut |= (w->e->present & SLOT_BIT(slot)) && w->e->v[slot].node->type == JSON_TRUE;
    out = put_literal(out, &slot_specs[slot]);
    memcpy(out, *cut ? "true,   " : "false,  ", 8);
    return out + (*cut ? 5 : 6);
}

static inline bool has_slot(const struct writer *w, unsigned slot)
{
    return (w->e->present & SLOT_BIT(slot)) != 0;
}

static char *put_all(struct writer *w, char *out)
{
    struct emit *e = w->e;
    *out++ = '{';
    out = put_text_slot(w, out, SLOT_ACTION);
    out = put_group(w, out, 0);
    out = put_group(w, out, 1);
    if (has_slot(w, SLOT_DIFF))
        out =
            put_open_object(w, out, SLOT_DIFF, w->policy->max_diff, e->force_diff, &e->diff_bytes, &w->diff_truncated);
    out = put_flag(w, out, SLOT_DIFF_TRUNCATED, &w->diff_truncated);
    out = put_text_slot(w, out, SLOT_EVENT_ID);
    w->p->integrity_at = (uint32_t)(out - begin_of(w));
    if (has_slot(w, SLOT_METADATA))
        out = put_open_object(w, out, SLOT_METADATA, w->policy->max_metadata, e->force_metadata, &e->metadata_bytes,
                              &w->metadata_truncated);
    out = put_flag(w, out, SLOT_METADATA_TRUNCATED, &w->metadata_truncated);
    out = put_text_slot(w, out, SLOT_OUTCOME);
    if (has_slot(w, SLOT_RETENTION_TAG))
        out = put_text_slot(w, out, SLOT_RETENTION_TAG);
    memcpy(out, "\"schemaVersion\":1,", 18);
    out += 18;
    if (has_slot(w, SLOT_TARGET))
        out = put_group(w, out, 2);
    out[-1] = '}';
    return out;
}

/* ---- the whole ---- */

void emit_scope(struct prepared *p, const struct field_ref *tenant, const struct field_ref *service)
{
    static const char unknown[] = "unknown";
    p->scope_is_tenant = tenant && field_len(*tenant) > 0;
    const struct field_ref *f = p->scope_is_tenant ? tenant : service && field_len(*service) > 0 ? service : NULL;
    p->scope_value =
        f ? (struct aw_str){p->json + field_offset(*f), field_len(*f)} : (struct aw_str){unknown, sizeof unknown - 1};
}

static void find_scope(struct prepared *p)
{
    const struct field_ref *tenant = NULL, *service = NULL;
    for (uint32_t i = 0; i < p->field_count; i++) {
        if (field_id(p->fields[i]) == AW_FIELD_TENANT_ID)
            tenant = &p->fields[i];
        else if (field_id(p->fields[i]) == AW_FIELD_SOURCE_SERVICE)
            service = &p->fields[i];
    }
    emit_scope(p, tenant, service);
}

static int write_once(struct emit *e)
{
    struct work *work = e->work;
    struct prepared *p = &work->prepared;
    const struct event_policy *policy = e->policy;
    struct writer w = {.e = e,
                       .p = p,
                       .begin = work->out,
                       .notes = e->notes,
                       .policy = policy,
                       .masked_slots = policy->masked_slots,
                       .redactor = &work->redactor,
                       .generation = policy->generation,
                       .words = policy->state_words,
                       .redaction = policy->redaction,
                       .scanners = policy->scanners};
    p->field_count = 0;
    if (AW_UNLIKELY(w.notes != NULL))
        w.notes->count = 0;
    arena_reset(&work->redactor.arena);
    char *end = put_all(&w, work->out);
    if (AW_UNLIKELY(e->rc != 0))
        return e->rc;
    p->json = work->out;
    p->json_len = (uint32_t)(end - work->out);
    p->flags =
        (w.metadata_truncated ? PREPARED_METADATA_TRUNCATED : 0) | (w.diff_truncated ? PREPARED_DIFF_TRUNCATED : 0);
    p->redactions = w.redactions;
    p->hashed = 0;
    p->now_ns = e->now_ns;
    p->occurred_ns = e->occurred_ns;
    return AW_SUCCESS;
}

static AW_COLD int too_large(struct emit *e)
{
    const struct event_policy *p = e->policy;
    (void)diag_problem(AW_ERR_EVENT_TOO_LARGE, "", "the event has %u bytes in canonical form, limits.event is %u",
                       e->work->prepared.json_len, p->max_event);
    return AW_ERR_EVENT_TOO_LARGE;
}

/* over_limit = "truncate": metadata goes first, then diff. */
static AW_COLD int shrink(struct emit *e)
{
    struct prepared *p = &e->work->prepared;
    bool metadata = (e->present & SLOT_BIT(SLOT_METADATA)) && !(p->flags & PREPARED_METADATA_TRUNCATED);
    bool diff = (e->present & SLOT_BIT(SLOT_DIFF)) && !(p->flags & PREPARED_DIFF_TRUNCATED);
    int rc = AW_SUCCESS;
    if (metadata) {
        e->force_metadata = true;
        rc = write_once(e);
    }
    if (rc == AW_SUCCESS && diff && p->json_len > e->policy->max_event) {
        e->force_diff = true;
        rc = write_once(e);
    }
    return rc != AW_SUCCESS ? rc : p->json_len > e->policy->max_event ? too_large(e) : AW_SUCCESS;
}

int emit_event(struct emit *e)
{
    struct work *work = e->work;
    const struct event_policy *policy = e->policy;
    e->bound += FIXED_ROOM + SLOT_COUNT * policy->mask_json_len + TEXT_STEP;
    if (e->bound > (size_t)UINT32_MAX || !work_reserve(&work->out, &work->out_capacity, e->bound, false))
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    size_t rows = (size_t)(policy->max_depth + 2) * policy->state_words;
    if (AW_UNLIKELY(rows > work->redactor.states_capacity)) {
        uint64_t *states = realloc(work->redactor.states, rows * sizeof *states);
        if (!states)
            return diag_problem(AW_ERR_NOMEM, "", "out of memory");
        work->redactor.states = states;
        work->redactor.states_capacity = rows;
    }
    int rc = write_once(e);
    if (AW_UNLIKELY(rc == AW_SUCCESS && work->prepared.json_len > policy->max_event))
        rc = policy->over_limit_truncate ? shrink(e) : too_large(e);
    if (AW_UNLIKELY(rc != AW_SUCCESS))
        return rc == AW_ERR_NOMEM ? diag_problem(rc, "", "out of memory") : rc;
    find_scope(&work->prepared);
    return AW_SUCCESS;
}
