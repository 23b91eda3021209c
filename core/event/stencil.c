/* stencil.c - see stencil.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/stencil.h"

#include "base/clock.h"
#include "event/emit.h"

_Static_assert(STENCIL_FIELDS < EVENT_MAX_FIELDS, "there is a field to be written in vain");
_Static_assert(JSON_TEXT_ESCAPE == FIELD_ESCAPED, "the node's flag becomes the field's");

#define UUID_LEN 36u  /* the shortest action that could hold one */
#define COPY_STEP 32u /* copy() reads and writes so much; ARENA_PAD is more */
#define COPY_ROOM 64u /* behind the last byte */
#define ALWAYS_OURS (SLOT_BIT(SLOT_DIFF_TRUNCATED) | SLOT_BIT(SLOT_METADATA_TRUNCATED) | SLOT_BIT(SLOT_SCHEMA_VERSION))

/* ---- cutting ---- */

void stencil_note(struct stencil_notes *notes, uint32_t node, const struct json_node *n, size_t start, size_t end)
{
    if (notes->count == STENCIL_HOLES || (n->flags & JSON_MARKED)) {
        notes->unfit = true;
        return;
    }
    notes->at[notes->count++] = (struct stencil_note){node, (uint32_t)start, (uint32_t)end, n->type == JSON_STRING};
}

/* Behind which hole is it? None begins where a place is but an empty one that ends a field there. */
static struct stencil_place place_of(const struct stencil_notes *notes, uint32_t offset)
{
    uint32_t i = 0;
    while (i < notes->count && notes->at[i].start <= offset)
        i++;
    return (struct stencil_place){(uint16_t)i, (uint16_t)(offset - (i > 0 ? notes->at[i - 1].end : 0))};
}

static void cut_field(struct stencil *s, const struct stencil_notes *notes, uint8_t field, struct field_ref f)
{
    uint32_t start = field_offset(f), end = start + field_len(f);
    struct stencil_place to = place_of(notes, end);
    if (to.hole > 0 && notes->at[to.hole - 1].start == start && notes->at[to.hole - 1].end == end) {
        s->holes[to.hole - 1].field = field;
        s->holes[to.hole - 1].id = (uint8_t)field_id(f);
        return;
    }
    s->wide[s->wide_count++] = (struct stencil_field){.start = place_of(notes, start),
                                                      .end = to,
                                                      .field = field,
                                                      .id = (uint8_t)field_id(f),
                                                      .flags = (uint8_t)(f.len_flags & FIELD_ESCAPED)};
}

static void cut_fields(struct stencil *s, const struct stencil_notes *notes, const struct prepared *p)
{
    s->metadata = s->diff = s->tenant = s->service = STENCIL_NO_FIELD;
    s->field_count = p->field_count;
    s->wide_count = 0;
    for (uint8_t i = 0; i < p->field_count; i++) {
        uint32_t id = field_id(p->fields[i]);
        cut_field(s, notes, i, p->fields[i]);
        s->metadata = id == AW_FIELD_METADATA ? i : s->metadata;
        s->diff = id == AW_FIELD_DIFF ? i : s->diff;
        s->tenant = id == AW_FIELD_TENANT_ID ? i : s->tenant;
        s->service = id == AW_FIELD_SOURCE_SERVICE ? i : s->service;
    }
    s->integrity = place_of(notes, p->integrity_at);
}

static void cut_holes(struct stencil *s, const struct stencil_notes *notes, const struct prepared *p)
{
    char *text = s->text;
    uint32_t at = 0;
    s->hole_count = notes->count;
    s->made = false;
    for (uint32_t i = 0; i < notes->count; i++) {
        const struct stencil_note *n = &notes->at[i];
        s->holes[i] = (struct stencil_hole){
            .node = n->node, .text = (uint16_t)(n->start - at), .field = STENCIL_NO_FIELD, .string = n->string};
        memcpy(text, p->json + at, n->start - at);
        text += n->start - at;
        at = n->end;
        s->made |= n->node >= STENCIL_MADE;
    }
    s->tail = p->json_len - at;
    memcpy(text, p->json + at, s->tail);
    s->bytes = (uint32_t)(text - s->text) + s->tail + IDS_UUID_LEN + CLOCK_RFC3339_MAX;
    memset(text + s->tail, 0, ARENA_PAD);
}

AW_COLD void stencil_cut(struct stencil *s, const struct stencil_notes *notes, const struct event_policy *policy,
                         const struct event_tree *tree, const struct prepared *p)
{
    uint32_t fixed = p->json_len;
    s->generation = 0;
    for (uint32_t i = 0; i < notes->count; i++)
        fixed -= notes->at[i].end - notes->at[i].start;
    if (notes->unfit || p->flags != 0 || (tree->present & ALWAYS_OURS) || fixed > STENCIL_TEXT ||
        p->field_count > STENCIL_FIELDS)
        return;
    cut_holes(s, notes, p);
    cut_fields(s, notes, p);
    s->redactions = p->redactions;
    s->generation = policy->generation;
}

/* ---- filling ---- */

/* Most pieces are short: one step, and no branch that depends on how short. */
static inline char *copy(char *out, const char *in, size_t len)
{
    memcpy(out, in, COPY_STEP);
    if (AW_UNLIKELY(len > COPY_STEP)) {
        for (size_t i = COPY_STEP; i < len; i += COPY_STEP)
            memcpy(out + i, in + i, COPY_STEP);
    }
    return out + len;
}

/* Would the checks of normalize.c have nothing to say? In doubt: no. */
static inline bool unobjectionable(const struct event_tree *t, int64_t *ret_occurred_ns)
{
    const struct json_node *nodes = t->doc.nodes; /* [0] has length 0 */
    const struct json_node *outcome = &nodes[t->slots[SLOT_OUTCOME]], *id = &nodes[t->slots[SLOT_EVENT_ID]],
                           *time = &nodes[t->slots[SLOT_OCCURRED_AT]];
    uint32_t action = nodes[t->slots[SLOT_ACTION]].len;
    bool good = action > 0 && action < UUID_LEN;
    good &= nodes[t->slots[SLOT_ACTOR_TYPE]].len > 0;
    good &= nodes[t->slots[SLOT_ACTOR_ID]].len > 0;
    good &= t->slots[SLOT_TARGET_TYPE] == 0 || nodes[t->slots[SLOT_TARGET_TYPE]].len > 0;
    good &= t->slots[SLOT_EVENT_ID] == 0 || (id->len > 0 && id->len <= EVENT_ID_MAX);
    return good && schema_outcome(outcome->text, outcome->len) &&
           (t->slots[SLOT_OCCURRED_AT] == 0 || clock_parse_rfc3339(time->text, time->len, ret_occurred_ns));
}

struct filling {
    char *begin;
    uint64_t now;                     /* 0: nothing is made */
    uint32_t ends[STENCIL_HOLES + 1]; /* of the values; [0]: the beginning */
    bool failed;                      /* not for a stencil: something is to be masked, or an id cannot be made */
    bool odd;                         /* not of the types that the stencil was cut for */
};

static inline char *put_made(struct filling *f, struct work *w, uint32_t which, char *out)
{
    if (which == STENCIL_OCCURRED_AT)
        return out + clock_format_rfc3339((int64_t)f->now, out);
    f->failed |= ids_uuid7(&w->ids, f->now, out) < 0;
    return out + IDS_UUID_LEN;
}

/* A value that must be escaped, or that a scanner should look at. When there is something to be masked, or nothing to
 * be scanned at all, that is known elsewhere. */
static char *put_slowly(struct filling *f, struct work *w, const struct json_node *n, char *out)
{
    struct aw_str masked;
    if ((n->flags & JSON_MARKED) && n->type == JSON_STRING)
        f->failed |= scan_text(n->text, n->len, "", 0, &w->redactor.arena, &masked) != 0;
    else if (n->flags & JSON_MARKED)
        f->failed |= scan_number(n->text, n->len);
    return n->flags & JSON_TEXT_ESCAPE ? text_escape(out, n->text, n->len) : copy(out, n->text, n->len);
}

/* Returns the end. */
static inline char *fill_holes(const struct stencil *s, struct filling *f, struct work *w,
                               const struct json_node *nodes)
{
    char *const begin = f->begin, *out = begin;
    const char *text = s->text;
    const uint32_t count = s->hole_count;
    struct field_ref *const fields = w->prepared.fields;
    unsigned odd = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct stencil_hole h = s->holes[i];
        unsigned escape = 0;
        out = copy(out, text, h.text);
        text += h.text;
        uint32_t start = (uint32_t)(out - begin);
        if (AW_UNLIKELY(h.node >= STENCIL_MADE)) {
            out = put_made(f, w, h.node, out);
        } else {
            const struct json_node *n = &nodes[h.node];
            odd |= (n->type == JSON_STRING) ^ h.string;
            escape = n->flags & JSON_TEXT_ESCAPE;
            out = AW_UNLIKELY(n->flags & (JSON_TEXT_ESCAPE | JSON_MARKED)) ? put_slowly(f, w, n, out)
                                                                           : copy(out, n->text, n->len);
        }
        uint32_t end = (uint32_t)(out - begin);
        f->ends[i + 1] = end;
        fields[h.field] = (struct field_ref){start << 8 | h.id, (end - start) << 4 | escape};
    }
    f->odd = odd != 0;
    return copy(out, text, s->tail);
}

static inline uint32_t offset_of(const struct filling *f, struct stencil_place place)
{
    return f->ends[place.hole] + place.more;
}

static inline void fill_wide(const struct stencil *s, const struct filling *f, struct prepared *p)
{
    for (uint32_t i = 0; i < s->wide_count; i++) {
        const struct stencil_field *w = &s->wide[i];
        uint32_t start = offset_of(f, w->start), end = offset_of(f, w->end);
        p->fields[w->field] = (struct field_ref){start << 8 | w->id, (end - start) << 4 | w->flags};
    }
    p->field_count = s->field_count;
}

static inline const struct field_ref *field_at(const struct prepared *p, uint32_t i)
{
    return i != STENCIL_NO_FIELD ? &p->fields[i] : NULL;
}

static inline bool within(const struct prepared *p, uint32_t field, uint32_t limit)
{
    return field == STENCIL_NO_FIELD || field_len(p->fields[field]) <= limit;
}

bool stencil_fill(struct stencil *s, struct work *w, const struct event_policy *policy, const struct event_tree *tree)
{
    struct prepared *p = &w->prepared;
    struct filling f; /* most of it is never used */
    int64_t occurred_ns = 0;
    if (AW_UNLIKELY(s->bytes + tree->bound + COPY_ROOM > w->out_capacity) || !unobjectionable(tree, &occurred_ns))
        return false;
    f.begin = w->out;
    f.now = s->made ? clock_real_ns() : 0;
    f.ends[0] = 0;
    f.failed = false;
    char *end = fill_holes(s, &f, w, tree->doc.nodes);
    if (AW_UNLIKELY(f.odd))
        s->generation = 0;
    if (AW_UNLIKELY(f.odd || f.failed))
        return false;
    fill_wide(s, &f, p);
    p->json = f.begin;
    p->json_len = (uint32_t)(end - f.begin);
    if (AW_UNLIKELY(p->json_len > policy->max_event || !within(p, s->metadata, policy->max_metadata) ||
                    !within(p, s->diff, policy->max_diff)))
        return false;
    p->integrity_at = offset_of(&f, s->integrity);
    p->flags = 0;
    p->redactions = s->redactions;
    p->hashed = 0;
    p->now_ns = f.now;
    p->occurred_ns = tree->slots[SLOT_OCCURRED_AT] ? occurred_ns : (int64_t)(f.now - f.now % 1000000);
    emit_scope(p, field_at(p, s->tenant), field_at(p, s->service));
    s->tries = 0;
    return true;
}
