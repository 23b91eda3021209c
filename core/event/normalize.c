/* normalize.c - from an event's sources to one valid event: defaults, checks, unknown members.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every problem is reported, not only the first. Precedence: the event, explicit contexts from the nearest on, the
 * thread's stack from the top down, the configuration.
 */
#include "config.h"

#include "event/emit.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/ids.h"

#include <stdio.h>

#define ACTION_MAX 256u
#define NODE_ROOM 34u /* what a node may need beyond its text and its name's: a number's longest form, punctuation */
#define PATH_TEXT 160u
#define MARKS 64u

/* ---- messages ---- */

/* A name as part of a problem's path: cut to fit, at a character. */
static AW_COLD void path_text(char out[PATH_TEXT], const char *before, const struct json_node *n)
{
    size_t len = n->key_len < 100 ? n->key_len : 100;
    while (len < n->key_len && len > 0 && ((unsigned char)n->key[len] & 0xc0) == 0x80)
        len--;
    (void)snprintf(out, PATH_TEXT, "%s%.*s", before, (int)len, n->key);
}

static const char *type_name(const struct json_node *n)
{
    static const char *const names[] = {"nothing",  "null",     "false",    "true",
                                        "a number", "a string", "an array", "an object"};
    return names[n->type];
}

static AW_COLD void wrong_type(struct emit *e, const char *path, const char *wanted, const struct json_node *n)
{
    char text[120];
    (void)snprintf(text, sizeof text, "must be %s, not %s%s", wanted, type_name(n),
                   n->type == JSON_NULL ? "; leave the member out when there is no value" : "");
    emit_problem(e, AW_ERR_INVALID_EVENT, path, text);
}

static AW_COLD void invalid(struct emit *e, unsigned slot, const char *message)
{
    emit_problem(e, AW_ERR_INVALID_EVENT, slot_specs[slot].path, message);
}

static AW_COLD int out_of_memory(void)
{
    return diag_problem(AW_ERR_NOMEM, "", "out of memory");
}

/* ---- sources ---- */

static inline void set_slot(struct emit *e, unsigned slot, const struct json_node *node, const struct json_node *base)
{
    e->v[slot] = (struct node_ref){node, base};
    e->present |= SLOT_BIT(slot);
}

static void take_extra(struct emit *e, unsigned group, const struct json_node *base, const struct json_node *object)
{
    if (object->type == JSON_OBJECT && object->first)
        e->extra[group] = (struct node_ref){object, base};
}

static inline void take_event(struct emit *e, const struct event_tree *t)
{
    const struct json_node *nodes = t->doc.nodes;
    e->present = t->present;
    for (uint64_t live = t->present; live; live &= live - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(live);
        e->v[slot] = (struct node_ref){&nodes[t->slots[slot]], nodes};
    }
    for (unsigned g = 0; g < GROUP_COUNT; g++) {
        if (t->present & SLOT_BIT(slot_groups[g].slot))
            take_extra(e, g, nodes, &nodes[t->slots[slot_groups[g].slot]]);
    }
}

static inline size_t node_room(const struct event_policy *policy)
{
    return NODE_ROOM + policy->mask_json_len;
}

/* All nodes that merging can make, so that the array does not move while nodes of it are read. */
static bool reserve_merged(struct emit *e, const struct aw_context *const *contexts, size_t count)
{
    const struct work *w = e->work;
    size_t sources = count + w->depth + 2, nodes = 64;
    nodes += e->source->doc.count;
    for (size_t i = 0; i < count; i++)
        nodes += contexts[i]->tree.doc.count;
    for (size_t i = 0; i < w->depth; i++)
        nodes += w->stack[i]->tree.doc.count;
    size_t total;
    return base_mul_size(nodes, sources, &total) && total <= UINT32_MAX &&
           json_reserve(&e->work->merged.doc, (uint32_t)total);
}

static bool merge_into(struct emit *e, struct node_ref *mine, const struct json_node *base,
                       const struct json_node *theirs)
{
    struct event_tree *m = &e->work->merged;
    uint32_t i = tree_merge(m, mine->base, mine->node, base, theirs);
    if (!i)
        return false;
    *mine = (struct node_ref){&m->doc.nodes[i], m->doc.nodes};
    return true;
}

/* What the event does not have yet comes from the context. */
static bool take_context(struct emit *e, const struct aw_context *context)
{
    const struct event_tree *t = &context->tree;
    const struct json_node *nodes = t->doc.nodes;
    for (unsigned slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++) {
        const struct json_node *n = &nodes[t->slots[slot]];
        if (!t->slots[slot])
            continue;
        bool open = slot == SLOT_METADATA || slot == SLOT_DIFF;
        if (!(e->present & SLOT_BIT(slot)))
            set_slot(e, slot, n, nodes);
        else if (open && n->type == JSON_OBJECT && e->v[slot].node->type == JSON_OBJECT &&
                 !merge_into(e, &e->v[slot], nodes, n))
            return false;
    }
    for (unsigned g = 0; g < GROUP_COUNT; g++) {
        uint32_t at = t->slots[slot_groups[g].slot];
        if (!at || nodes[at].type != JSON_OBJECT || !nodes[at].first)
            continue;
        if (!e->extra[g].node)
            take_extra(e, g, nodes, &nodes[at]);
        else if (!merge_into(e, &e->extra[g], nodes, &nodes[at]))
            return false;
    }
    e->bound += t->bound + t->doc.count * node_room(e->policy);
    return true;
}

static bool take_contexts(struct emit *e, const struct aw_context *const *contexts, size_t count)
{
    const struct work *w = e->work;
    if (AW_LIKELY(count == 0 && w->depth == 0))
        return true;
    if (!reserve_merged(e, contexts, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!take_context(e, contexts[i]))
            return false;
    }
    for (size_t i = w->depth; i-- > 0;) {
        if (!take_context(e, w->stack[i]))
            return false;
    }
    return true;
}

static void take_defaults(struct emit *e)
{
    const struct event_policy *p = e->policy;
    for (uint64_t want = p->default_slots & ~e->present; want; want &= want - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(want);
        set_slot(e, slot, &p->defaults[slot], NULL);
    }
    e->bound += p->defaults_bound;
}

/* ---- unknown members at the top ---- */

static struct json_node *make_node(struct emit *e, unsigned which, uint8_t type, const char *text, size_t len)
{
    e->made[which] = (struct json_node){.type = type, .text = text, .len = (uint32_t)len};
    return &e->made[which];
}

/* Below metadata, under its name, or behind as many '_' as it takes when metadata has that name already. */
static bool move_one(struct event_tree *m, uint32_t metadata, const struct json_node *base, const struct json_node *n)
{
    uint32_t i = tree_import(m, base, n, false);
    if (!i)
        return false;
    while (!tree_link(m, metadata, i)) {
        struct json_node *c = &m->doc.nodes[i];
        char *name = arena_text(&m->doc.arena, c->key_len + 1);
        if (!name)
            return false;
        name[0] = '_';
        memcpy(name + 1, c->key, c->key_len);
        c->key = name;
        c->key_len++;
        c->key_head = text_head(name, c->key_len);
        m->bound += 8;
    }
    return true;
}

static AW_COLD bool move_unknown(struct emit *e, const struct json_node *base, const struct json_node *top)
{
    struct event_tree *m = &e->work->merged;
    static const struct json_node empty = {.type = JSON_OBJECT};
    const struct node_ref *old = &e->v[SLOT_METADATA];
    bool have = (e->present & SLOT_BIT(SLOT_METADATA)) != 0;
    if (have && old->node->type != JSON_OBJECT)
        return true; /* reported as such */
    if (!reserve_merged(e, NULL, 0))
        return false;
    uint32_t metadata = have ? tree_import(m, old->base, old->node, false) : tree_import(m, NULL, &empty, false);
    if (!metadata)
        return false;
    for (uint32_t c = top->first; c; c = base[c].next) {
        if (!move_one(m, metadata, base, &base[c]))
            return false;
    }
    set_slot(e, SLOT_METADATA, &m->doc.nodes[metadata], m->doc.nodes);
    return true;
}

static AW_COLD bool take_unknown(struct emit *e, const struct json_node *base, const struct json_node *top)
{
    char path[PATH_TEXT];
    for (uint32_t c = top->first; c; c = base[c].next) {
        path_text(path, "", &base[c]);
        if (e->policy->strict)
            emit_problem(e, AW_ERR_INVALID_EVENT, path, "events have no such member: put it under metadata");
        else
            (void)diag_problem(AW_SUCCESS, path, "events have no such member: it was moved below metadata");
    }
    return e->policy->strict || move_unknown(e, base, top);
}

/* ---- checks ---- */

static AW_COLD void check_slot_type(struct emit *e, unsigned slot)
{
    static const char *const wanted[] = {[KIND_TEXT] = "a string",
                                         [KIND_OBJECT] = "an object",
                                         [KIND_ROLES] = "an array of strings",
                                         [KIND_BOOL] = "true or false",
                                         [KIND_VERSION] = "the number 1"};
    const struct json_node *n = e->v[slot].node;
    if (slot_specs[slot].kind == KIND_VERSION && n->type == JSON_NUMBER)
        invalid(e, slot, "only schema version 1 is known");
    else
        wrong_type(e, slot_specs[slot].path, wanted[slot_specs[slot].kind], n);
    e->present &= ~SLOT_BIT(slot); /* nothing more can be said about it */
}

static void check_roles(struct emit *e)
{
    const struct node_ref *r = &e->v[SLOT_ACTOR_ROLES];
    uint32_t i = 0;
    for (uint32_t c = r->node->first; c; c = r->base[c].next, i++) {
        char path[40];
        if (AW_LIKELY(r->base[c].type == JSON_STRING))
            continue;
        (void)snprintf(path, sizeof path, "actor.roles[%u]", i);
        wrong_type(e, path, "a string", &r->base[c]);
    }
}

/* Nearly all members are texts, and are texts. */
#define TEXT_SLOTS                                                                                                     \
    (((UINT64_MAX << SLOT_ACTION) & ~(UINT64_MAX << SLOT_COUNT)) &                                                     \
     ~(SLOT_BIT(SLOT_ACTOR) | SLOT_BIT(SLOT_CONTEXT) | SLOT_BIT(SLOT_DIFF) | SLOT_BIT(SLOT_DIFF_TRUNCATED) |           \
       SLOT_BIT(SLOT_METADATA) | SLOT_BIT(SLOT_METADATA_TRUNCATED) | SLOT_BIT(SLOT_SCHEMA_VERSION) |                   \
       SLOT_BIT(SLOT_TARGET) | SLOT_BIT(SLOT_ACTOR_ROLES)))

static inline void check_types(struct emit *e)
{
    static const uint8_t type_of[] = {[KIND_TEXT] = JSON_STRING,
                                      [KIND_OBJECT] = JSON_OBJECT,
                                      [KIND_ROLES] = JSON_ARRAY,
                                      [KIND_BOOL] = JSON_TRUE,
                                      [KIND_VERSION] = JSON_NUMBER};
    uint64_t other = e->present & ~TEXT_SLOTS;
    for (uint64_t live = e->present & TEXT_SLOTS; live; live &= live - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(live);
        other |= (uint64_t)(e->v[slot].node->type != JSON_STRING) << slot;
    }
    for (uint64_t live = other; live; live &= live - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(live), kind = slot_specs[slot].kind;
        const struct json_node *n = e->v[slot].node;
        bool good = n->type == type_of[kind] || (kind == KIND_BOOL && n->type == JSON_FALSE);
        if (kind == KIND_VERSION)
            good = good && n->len == 1 && *n->text == '1';
        if (AW_UNLIKELY(!good))
            check_slot_type(e, slot);
    }
    if (e->present & SLOT_BIT(SLOT_ACTOR_ROLES))
        check_roles(e);
}

/* The text of a present slot; len 0 when it is absent. */
static inline struct aw_str slot_text(const struct emit *e, unsigned slot)
{
    if (!(e->present & SLOT_BIT(slot)))
        return (struct aw_str){"", 0};
    return (struct aw_str){e->v[slot].node->text, e->v[slot].node->len};
}

static bool is_uuid(const char *s)
{
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (s[i] >= '0' && s[i] <= '9') || ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f');
        if (dash ? s[i] != '-' : !hex)
            return false;
    }
    return true;
}

static void check_action(struct emit *e)
{
    struct aw_str action = slot_text(e, SLOT_ACTION);
    if (AW_UNLIKELY(action.len > ACTION_MAX))
        invalid(e, SLOT_ACTION, "longer than 256 bytes: an action is a short name such as \"user.login\"");
    for (size_t i = 0; AW_UNLIKELY(i + 36 <= action.len); i++) {
        if (action.ptr[i + 8] != '-' || !is_uuid(action.ptr + i))
            continue;
        static const char why[] =
            "contains a UUID: an action names a kind of event, ids belong into target.id or metadata";
        if (e->policy->strict_naming || e->policy->strict)
            invalid(e, SLOT_ACTION, why);
        else
            (void)diag_problem(AW_SUCCESS, "action", "%s", why);
        return;
    }
}

static void check_outcome(struct emit *e)
{
    const struct json_node *n = e->v[SLOT_OUTCOME].node;
    if (!(e->present & SLOT_BIT(SLOT_OUTCOME)) || AW_LIKELY(schema_outcome(n->text, n->len)))
        return;
    invalid(e, SLOT_OUTCOME, "must be \"SUCCESS\", \"FAILURE\", \"DENIED\" or \"ERROR\"");
}

/* Members that must be there, and not empty. */
static void check_required(struct emit *e, uint64_t given)
{
    static const uint8_t required[] = {SLOT_ACTION, SLOT_OUTCOME, SLOT_ACTOR_TYPE, SLOT_ACTOR_ID, SLOT_TARGET_TYPE};
    size_t count = AW_ARRAY_LEN(required) - !(given & SLOT_BIT(SLOT_TARGET));
    for (size_t i = 0; i < count; i++) {
        unsigned slot = required[i];
        unsigned parent = slot_specs[slot].parent;
        if (parent && (given & SLOT_BIT(parent)) && !(e->present & SLOT_BIT(parent)))
            continue; /* its object is wrong, which has been said */
        if (AW_UNLIKELY(!(given & SLOT_BIT(slot))))
            invalid(e, slot,
                    slot == SLOT_TARGET_TYPE ? "is missing: a target needs a type"
                                             : "is missing: every event needs it");
        else if (AW_UNLIKELY((e->present & SLOT_BIT(slot)) && e->v[slot].node->len == 0))
            invalid(e, slot, "must not be empty");
    }
}

static void check_event_id(struct emit *e)
{
    struct aw_str id = slot_text(e, SLOT_EVENT_ID);
    if (e->present & SLOT_BIT(SLOT_EVENT_ID) && (id.len == 0 || id.len > EVENT_ID_MAX))
        invalid(e, SLOT_EVENT_ID, "must have 1 to 128 bytes; leave it out to have one made");
}

static void check_time(struct emit *e)
{
    struct aw_str t = slot_text(e, SLOT_OCCURRED_AT);
    if ((e->present & SLOT_BIT(SLOT_OCCURRED_AT)) && !clock_parse_rfc3339(t.ptr, t.len, &e->occurred_ns))
        invalid(e, SLOT_OCCURRED_AT, "must be an RFC 3339 time such as \"2026-01-02T03:04:05.678Z\"");
}

static AW_COLD void refuse_extra(struct emit *e)
{
    for (unsigned g = 0; g < GROUP_COUNT; g++) {
        const struct node_ref *r = &e->extra[g];
        char before[16], path[PATH_TEXT];
        (void)snprintf(before, sizeof before, "%s.", slot_specs[slot_groups[g].slot].path);
        for (uint32_t c = r->node ? r->node->first : 0; c; c = r->base[c].next) {
            path_text(path, before, &r->base[c]);
            emit_problem(e, AW_ERR_INVALID_EVENT, path, "is not a known member: put it under metadata");
        }
    }
}

static void check(struct emit *e)
{
    uint64_t given = e->present;
    check_types(e);
    check_required(e, given);
    check_action(e);
    check_outcome(e);
    check_event_id(e);
    check_time(e);
    if (AW_UNLIKELY(e->policy->strict))
        refuse_extra(e);
}

/* ---- what nobody gave ---- */

/* An object is there when one of its members is. */
static void complete_groups(struct emit *e)
{
    static const struct json_node object = {.type = JSON_OBJECT};
    for (unsigned g = 0; g < GROUP_COUNT; g++) {
        const struct slot_group *group = &slot_groups[g];
        uint64_t mask = (UINT64_MAX << group->first) & (UINT64_MAX >> (63 - group->last));
        if (!(e->present & SLOT_BIT(group->slot)) && (e->present & mask))
            set_slot(e, group->slot, &object, NULL);
    }
}

static int make_missing(struct emit *e)
{
    uint64_t missing = ~e->present & (SLOT_BIT(SLOT_EVENT_ID) | SLOT_BIT(SLOT_OCCURRED_AT));
    if (AW_LIKELY(missing != 0)) {
        uint64_t now = e->now_ns = clock_real_ns();
        if (missing & SLOT_BIT(SLOT_EVENT_ID)) {
            int rc = ids_uuid7(&e->work->ids, now, e->event_id);
            if (rc < 0)
                return diag_problem(AW_ERR_IO, "", "no random bytes for an event id: %s", strerror(-rc));
            set_slot(e, SLOT_EVENT_ID, make_node(e, 0, JSON_STRING, e->event_id, IDS_UUID_LEN), NULL);
        }
        if (missing & SLOT_BIT(SLOT_OCCURRED_AT)) {
            size_t len = clock_format_rfc3339((int64_t)now, e->occurred_at);
            e->occurred_ns = (int64_t)(now - now % 1000000); /* what the text says */
            set_slot(e, SLOT_OCCURRED_AT, make_node(e, 1, JSON_STRING, e->occurred_at, len), NULL);
            complete_groups(e);
        }
    }
    return AW_SUCCESS;
}

static void emit_init(struct emit *e, struct work *w, const struct event_policy *policy,
                      const struct event_tree *source)
{
    e->policy = policy;
    e->work = w;
    e->source = source;
    e->present = 0;
    memset(e->extra, 0, sizeof e->extra);
    e->bound = 0;
    e->rc = 0;
    e->occurred_ns = 0;
    e->now_ns = 0;
    e->force_metadata = e->force_diff = false;
    e->notes = NULL;
    if (AW_UNLIKELY(w->merged.doc.count > 1))
        tree_reset(&w->merged);
}

/* top: of a JSON event, whose unknown members are children; or NULL. */
static int prepare(struct emit *e, const struct aw_context *const *contexts, size_t count, const struct json_node *top,
                   struct prepared **ret)
{
    take_event(e, e->source);
    if (AW_UNLIKELY(!take_contexts(e, contexts, count)))
        return out_of_memory();
    take_defaults(e);
    if (AW_UNLIKELY(top && top->first) && !take_unknown(e, e->source->doc.nodes, top))
        return out_of_memory();
    complete_groups(e);
    check(e);
    if (AW_UNLIKELY(e->rc != 0))
        return e->rc;
    int rc = make_missing(e);
    if (AW_UNLIKELY(rc != AW_SUCCESS))
        return rc;
    if (AW_UNLIKELY(e->work->merged.doc.count > 1))
        e->bound += e->work->merged.bound + e->work->merged.doc.count * node_room(e->policy);
    rc = emit_event(e);
    if (AW_LIKELY(rc == AW_SUCCESS))
        *ret = &e->work->prepared;
    return rc;
}

static AW_COLD int json_problem(int rc, const struct json_error *error)
{
    if (rc == -ENOMEM)
        return out_of_memory();
    return diag_problem(AW_ERR_INVALID_EVENT, "", "not a JSON event: %s (line %u, column %u)", error->message,
                        error->line, error->column);
}

static AW_COLD int not_an_object(void)
{
    return diag_problem(AW_ERR_INVALID_EVENT, "", "not a JSON event: an object {…} expected");
}

/* The copy is looked through for secrets before it is read, so that the reader can mark the texts that hold them. */
static int read_event(struct work *w, const struct event_policy *policy, const char *json, size_t len)
{
    uint32_t marks[MARKS];
    struct json_error error = {0, 0, 0, ""};
    struct json_read_options options = {.max_depth = policy->max_depth, .shape = &shape_event, .slots = w->in.slots};
    struct json_read_result result;
    int rc = json_load(&w->in.doc, json, len);
    if (AW_LIKELY(rc == 0)) {
        if (policy->scanners) {
            options.mark_all = !scan_marks(w->in.doc.text, len, marks, MARKS);
            options.marks = marks;
        }
        rc = json_read(&w->in.doc, &options, &result, &error);
    }
    if (AW_UNLIKELY(rc != 0))
        return json_problem(rc, &error);
    w->in.present = result.present;
    return AW_LIKELY(w->in.doc.nodes[JSON_TOP].type == JSON_OBJECT) ? AW_SUCCESS : not_an_object();
}

int event_prepare_json(const struct event_policy *policy, const struct aw_context *const *contexts,
                       size_t context_count, const char *json, size_t len, struct prepared **ret)
{
    struct work *w = work_get();
    if (AW_UNLIKELY(!w))
        return out_of_memory();
    if (AW_UNLIKELY(len > policy->max_input))
        return diag_problem(AW_ERR_EVENT_TOO_LARGE, "", "the input has %zu bytes, limits.input is %u", len,
                            policy->max_input);
    int rc = read_event(w, policy, json, len);
    if (AW_UNLIKELY(rc != AW_SUCCESS))
        return rc;
    struct emit e;
    emit_init(&e, w, policy, &w->in);
    e.bound = len + w->in.doc.count * node_room(policy);
    return prepare(&e, contexts, context_count, &w->in.doc.nodes[JSON_TOP], ret);
}

/* And cuts a stencil for the events to come. */
static AW_COLD int prepare_and_cut(struct emit *e, struct stencil *stencil, struct prepared **ret)
{
    struct stencil_notes notes = {.count = 0};
    stencil->tries++;
    e->notes = &notes;
    int rc = prepare(e, NULL, 0, NULL, ret);
    e->notes = NULL;
    if (rc == AW_SUCCESS)
        stencil_cut(stencil, &notes, e->policy, e->source, *ret);
    return rc;
}

int event_prepare_builder(const struct event_policy *policy, const struct aw_context *const *contexts,
                          size_t context_count, const struct aw_builder *builder, struct prepared **ret)
{
    struct work *w = work_get();
    if (AW_UNLIKELY(!w))
        return out_of_memory();
    if (AW_UNLIKELY(builder->problem != AW_SUCCESS))
        return diag_problem(builder->problem, builder->problem_path, "%s", builder->problem_why);
    if (AW_UNLIKELY(!tree_finish((struct event_tree *)(uintptr_t)&builder->tree))) /* what it holds stays the same */
        return out_of_memory();
    struct stencil *stencil =
        context_count == 0 && w->depth == 0 && plan_followed(builder->tree.plan) ? &builder->tree.plan->stencil : NULL;
    if (AW_LIKELY(stencil && stencil->generation == policy->generation)) {
        *ret = &w->prepared;
        if (AW_LIKELY(stencil_fill(stencil, w, policy, &builder->tree)))
            return AW_SUCCESS;
    }
    struct emit e;
    emit_init(&e, w, policy, &builder->tree);
    e.bound = builder->tree.bound + builder->tree.doc.count * node_room(policy);
    if (AW_UNLIKELY(stencil && stencil->generation != policy->generation && stencil->tries < STENCIL_TRIES))
        return prepare_and_cut(&e, stencil, ret);
    return prepare(&e, contexts, context_count, NULL, ret);
}
