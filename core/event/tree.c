/* tree.c - see tree.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/tree.h"

#include "event/path.h"
#include "event/redact.h"

#define DEPTH_MAX 64 /* of a path */

static const char why_utf8[] = "not valid UTF-8";

void tree_init(struct event_tree *t)
{
    json_doc_init(&t->doc);
    memset(t->slots, 0, sizeof t->slots);
    t->present = 0;
    t->bound = 0;
    t->plan = NULL;
}

void tree_reset(struct event_tree *t)
{
    json_doc_reset(&t->doc);
    memset(t->slots, 0, sizeof t->slots);
    t->present = 0;
    t->bound = 0;
}

void tree_release(struct event_tree *t)
{
    json_doc_release(&t->doc);
    free(t->plan);
    tree_init(t);
}

/* ---- texts and values ---- */

/* *ret_class: TEXT_* */
static inline char *keep_text(struct event_tree *t, const char *text, size_t len, unsigned *ret_class)
{
    char *p = arena_text(&t->doc.arena, len);
    if (AW_LIKELY(p != NULL))
        *ret_class = text_take(p, text, len);
    return p;
}

/* A value without a place. */
struct value {
    const char *text;
    uint32_t len, first, last;
    uint8_t type, flags;
};

static inline size_t value_bound(const struct value *v)
{
    return v->type < JSON_ARRAY ? (v->flags & JSON_TEXT_ESCAPE ? 6 : 1) * (size_t)v->len : 0;
}

static struct value value_of(const struct json_node *n)
{
    return (struct value){n->text, n->len,  n->first,
                          n->last, n->type, (uint8_t)(n->flags & ~(JSON_KEY_ESCAPE | JSON_KEY_NON_ASCII))};
}

static inline int make_value(struct event_tree *t, const struct tree_value *v, struct value *ret, const char **ret_why)
{
    static const char words[][8] = {[JSON_NULL] = "null", [JSON_FALSE] = "false", [JSON_TRUE] = "true"};
    unsigned c;
    *ret = (struct value){.type = v->type};
    if (v->type >= JSON_ARRAY)
        return AW_SUCCESS;
    size_t len = v->type < JSON_NUMBER ? strlen(words[v->type]) : v->len;
    if (len > EVENT_MAX_JSON) {
        *ret_why = "longer than 8 MiB";
        return AW_ERR_INVALID_EVENT;
    }
    const char *text = keep_text(t, v->type < JSON_NUMBER ? words[v->type] : v->text, len, &c);
    if (!text)
        return AW_ERR_NOMEM;
    ret->text = text;
    ret->len = (uint32_t)len;
    if (v->type == JSON_STRING) {
        if (AW_UNLIKELY(c & TEXT_NON_ASCII) && !text_utf8_valid(text, len)) {
            *ret_why = why_utf8;
            return AW_ERR_INVALID_EVENT;
        }
        ret->flags = (uint8_t)(c & TEXT_ESCAPE);
    }
    if (v->type >= JSON_NUMBER && scan_suspicious(text, len))
        ret->flags |= JSON_MARKED;
    return AW_SUCCESS;
}

/* Gives the node at its place another value; name and links stay. */
static inline void put_value(struct event_tree *t, uint32_t at, const struct value *v)
{
    struct json_node *n = &t->doc.nodes[at];
    n->type = v->type;
    n->text = v->text;
    n->len = v->len;
    n->first = v->first;
    n->last = v->last;
    n->flags = (uint8_t)((n->flags & (JSON_KEY_ESCAPE | JSON_KEY_NON_ASCII)) | v->flags);
}

static int put_key(struct event_tree *t, struct json_node *n, const char *key, size_t len, const char **ret_why)
{
    unsigned c;
    const char *p = key;
    if (plan_holds(t->plan, key))
        c = text_classify(key, len);
    else if (!(p = keep_text(t, key, len, &c)))
        return AW_ERR_NOMEM;
    if ((c & TEXT_NON_ASCII) && !text_utf8_valid(p, len)) {
        *ret_why = why_utf8;
        return AW_ERR_INVALID_EVENT;
    }
    n->key = p;
    n->key_len = (uint32_t)len;
    n->key_head = text_head(p, len);
    n->flags = (uint8_t)((n->flags & ~(JSON_KEY_ESCAPE | JSON_KEY_NON_ASCII)) | c * JSON_KEY_ESCAPE);
    size_t bound = (c & TEXT_ESCAPE ? 6 : 1) * len;
    t->bound += bound;
    if (t->plan)
        t->plan->names_bound += bound;
    return AW_SUCCESS;
}

/* ---- members ---- */

bool tree_link(struct event_tree *t, uint32_t object, uint32_t child)
{
    struct json_node *nodes = t->doc.nodes, *o = &nodes[object], *c = &nodes[child];
    c->next = 0;
    if (o->last == 0) {
        o->first = o->last = child;
    } else if (json_compare_keys(&nodes[o->last], c) < 0) {
        nodes[o->last].next = child;
        o->last = child;
    } else {
        uint32_t before = 0, at = o->first;
        int order = 1;
        while (at && (order = json_compare_keys(&nodes[at], c)) < 0) {
            before = at;
            at = nodes[at].next;
        }
        if (at && order == 0)
            return false;
        c->next = at;
        if (before)
            nodes[before].next = child;
        else
            o->first = child;
    }
    o->len++;
    return true;
}

static void link_item(struct event_tree *t, uint32_t array, uint32_t child)
{
    struct json_node *a = &t->doc.nodes[array];
    t->doc.nodes[child].next = 0;
    if (a->last)
        t->doc.nodes[a->last].next = child;
    else
        a->first = child;
    a->last = child;
    a->len++;
}

static uint32_t find_child(const struct event_tree *t, uint32_t object, const char *key, size_t len)
{
    const struct json_node *nodes = t->doc.nodes;
    uint64_t head = text_head_exact(key, len);
    for (uint32_t c = nodes[object].first; c; c = nodes[c].next) {
        if (nodes[c].key_head == head && nodes[c].key_len == len && (len <= 8 || memcmp(nodes[c].key, key, len) == 0))
            return c;
    }
    return 0;
}

/* ---- paths ---- */

/* The child that a step names, made when it is a name or an appended item. 0 with *ret_rc. */
static uint32_t take_step(struct event_tree *t, uint32_t at, const struct path_step *s, int *ret_rc,
                          const char **ret_why)
{
    struct json_node *parent = &t->doc.nodes[at];
    uint8_t want = s->kind == PATH_NAME ? JSON_OBJECT : JSON_ARRAY;
    *ret_rc = AW_ERR_INVALID_EVENT;
    if (parent->type == JSON_NONE)
        parent->type = want;
    if (parent->type != want) {
        *ret_why = want == JSON_OBJECT ? "the path goes through something that is not an object"
                                       : "the path indexes something that is not an array";
        return 0;
    }
    uint32_t child = s->kind == PATH_NAME ? find_child(t, at, s->name, s->len) : 0;
    if (s->kind == PATH_INDEX) {
        child = parent->first;
        for (size_t i = 0; child && i < s->index; i++)
            child = t->doc.nodes[child].next;
        if (!child)
            *ret_why = "the array has no such element; NAME[] appends";
        return child;
    }
    if (child)
        return child;
    *ret_rc = AW_ERR_NOMEM;
    child = json_node_new(&t->doc);
    if (child && s->kind == PATH_NAME) {
        *ret_rc = put_key(t, &t->doc.nodes[child], s->name, s->len, ret_why);
        if (*ret_rc != AW_SUCCESS)
            return 0;
        (void)tree_link(t, at, child);
    } else if (child) {
        link_item(t, at, child);
    }
    return child;
}

static uint32_t slot_node(struct event_tree *t, unsigned slot)
{
    if (t->slots[slot] == 0) {
        t->slots[slot] = json_node_new(&t->doc);
        t->present |= t->slots[slot] ? SLOT_BIT(slot) : 0;
    }
    return t->slots[slot];
}

/* A failed path must not leave a node without a type behind. */
static uint32_t give_up(struct event_tree *t, unsigned slot, uint32_t last)
{
    if (last && t->doc.nodes[last].type == JSON_NONE)
        t->doc.nodes[last].type = JSON_OBJECT;
    if (t->slots[slot] == last) {
        t->slots[slot] = 0;
        t->present &= ~SLOT_BIT(slot);
    }
    return 0;
}

static unsigned first_slot(const char **path, int *ret_rc, const char **ret_why)
{
    struct path_step s;
    *ret_rc = AW_ERR_INVALID_EVENT;
    if (strncmp(*path, "metadata.", 9) == 0) { /* by far the most frequent */
        *path += 9;
        if (**path != '\0')
            return SLOT_METADATA;
        *ret_why = "the path has an empty name";
        return SLOT_NONE;
    }
    if (strncmp(*path, "actor.roles[", 12) == 0) { /* the one array among the known members */
        *path += 11;
        return SLOT_ACTOR_ROLES;
    }
    *path = path_next(*path, &s, ret_why);
    if (!*path)
        return SLOT_NONE;
    unsigned slot = schema_slot(s.name, s.len);
    if (slot != SLOT_NONE && slot_specs[slot].kind == KIND_OBJECT)
        return slot;
    *ret_why = slot == SLOT_NONE ? "events have no such member: put it under metadata"
                                 : "this member has no members of its own";
    return SLOT_NONE;
}

/* The node of a path, made with all that lies in between. 0 with *ret_rc. */
static uint32_t find_place(struct event_tree *t, const char *path, int *ret_rc, const char **ret_why)
{
    unsigned slot = schema_slot(path, strlen(path));
    *ret_rc = AW_ERR_NOMEM;
    if (AW_LIKELY(slot != SLOT_NONE))
        return slot_node(t, slot);
    slot = first_slot(&path, ret_rc, ret_why);
    if (slot == SLOT_NONE)
        return 0;
    *ret_rc = AW_ERR_NOMEM;
    uint32_t at = slot_node(t, slot), last = at;
    for (int depth = 0; at && *path; depth++) {
        struct path_step s;
        last = at;
        *ret_rc = AW_ERR_INVALID_EVENT;
        *ret_why = "the path has more than 64 steps";
        path = depth < DEPTH_MAX ? path_next(path, &s, ret_why) : NULL;
        at = path ? take_step(t, at, &s, ret_rc, ret_why) : 0;
        if (!at)
            break;
    }
    return at ? at : give_up(t, slot, last);
}

/* ---- the same again: see plan.h ---- */

static void clear(struct event_tree *t)
{
    t->doc.count = 1;
    memset(t->slots, 0, sizeof t->slots);
    t->present = 0;
    t->bound = 0;
}

void tree_repeat(struct event_tree *t)
{
    struct event_plan *p = t->plan;
    if (p && p->mode != PLAN_OFF && p->count > 0) {
        p->mode = PLAN_FOLLOW;
        p->at = 0;
        t->bound = p->names_bound;
        arena_reset(&t->doc.arena);
        return;
    }
    if (!p)
        p = t->plan = malloc(sizeof *p); /* without memory: only slower */
    if (p) {
        p->mode = PLAN_RECORD;
        p->count = p->at = 0;
        p->text_len = p->names_bound = 0;
        stencil_forget(&p->stencil);
        memset(p->text + PLAN_TEXT, 0, ARENA_PAD);
    }
    tree_reset(t);
}

/* Notes a setter, and gives the path's copy to be used in its place; or ends the recording. */
static inline const char *record(struct event_plan *p, unsigned slot, const char *path, uint8_t type)
{
    if (!p || p->mode != PLAN_RECORD)
        return path;
    size_t size = path ? strlen(path) + 1 : 0;
    if (p->count == PLAN_STEPS || size > PLAN_TEXT - p->text_len || type >= JSON_ARRAY ||
        (path && strchr(path, '\\'))) {
        p->mode = PLAN_OFF;
        return path;
    }
    p->steps[p->count] = (struct plan_step){.path = (uint16_t)p->text_len, .slot = (uint8_t)slot};
    if (!path)
        return NULL;
    char *copy = memcpy(p->text + p->text_len, path, size);
    p->text_len += size;
    return copy;
}

static inline void recorded(struct event_plan *p, uint32_t node)
{
    if (!p || p->mode != PLAN_RECORD)
        return;
    if (node == 0) {
        p->mode = PLAN_OFF;
        return;
    }
    p->steps[p->count++].node = node;
    p->at = p->count;
}

/* The setters differ from last time's: what was set so far is put together without the rest. */
static AW_COLD int leave_plan(struct event_tree *t)
{
    struct event_plan *p = t->plan;
    struct value values[PLAN_STEPS];
    uint32_t n = p->at;
    p->mode = PLAN_RECORD;
    stencil_forget(&p->stencil);
    if (n == p->count)
        return AW_SUCCESS;
    for (uint32_t i = 0; i < n; i++)
        values[i] = value_of(&t->doc.nodes[p->steps[i].node]);
    clear(t);
    p->count = p->at = 0;
    p->names_bound = 0;
    p->text_len = n < PLAN_STEPS ? p->steps[n].path : p->text_len;
    for (uint32_t i = 0; i < n; i++) {
        struct plan_step *s = &p->steps[i];
        const char *why;
        int rc = AW_ERR_NOMEM;
        uint32_t at = s->slot ? slot_node(t, s->slot) : find_place(t, p->text + s->path, &rc, &why);
        recorded(p, at);
        if (!at) {
            clear(t); /* an event without anything is refused; one without a part would pass */
            return rc;
        }
        t->bound += value_bound(&values[i]);
        put_value(t, at, &values[i]);
    }
    return AW_SUCCESS;
}

bool tree_finish(struct event_tree *t)
{
    return !t->plan || t->plan->mode != PLAN_FOLLOW || t->plan->at == t->plan->count || leave_plan(t) == AW_SUCCESS;
}

/* The place that the plan has for this setter; 0: the plan is left, or was not followed. */
static inline uint32_t planned(struct event_tree *t, unsigned slot, const char *path, uint8_t type, int *ret_rc)
{
    struct event_plan *p = t->plan;
    *ret_rc = AW_SUCCESS;
    if (!p || p->mode != PLAN_FOLLOW)
        return 0;
    const struct plan_step *s = &p->steps[p->at];
    if (AW_LIKELY(p->at < p->count && s->slot == slot && type < JSON_ARRAY &&
                  (slot || strcmp(p->text + s->path, path) == 0))) {
        p->at++;
        return s->node;
    }
    *ret_rc = leave_plan(t);
    return 0;
}

/* ---- setting ---- */

bool tree_set_planned(struct event_tree *t, unsigned slot, const char *path, uint8_t type, const char *text, size_t len)
{
    struct event_plan *p = t->plan;
    unsigned c;
    if (!p || p->mode != PLAN_FOLLOW || p->at == p->count || len > EVENT_MAX_JSON)
        return false;
    const struct plan_step *s = &p->steps[p->at];
    if (AW_UNLIKELY(s->slot != slot || (slot == SLOT_NONE && strcmp(p->text + s->path, path) != 0)))
        return false;
    const char *copy = keep_text(t, text, len, &c);
    if (AW_UNLIKELY(!copy || ((c & TEXT_NON_ASCII) && !text_utf8_valid(copy, len))))
        return false;
    unsigned flags = (c & TEXT_ESCAPE) | (scan_suspicious(copy, len) ? JSON_MARKED : 0);
    struct json_node *n = &t->doc.nodes[s->node];
    n->text = copy;
    n->len = (uint32_t)len;
    n->type = type;
    n->flags = (uint8_t)((n->flags & (JSON_KEY_ESCAPE | JSON_KEY_NON_ASCII)) | flags);
    t->bound += (c & TEXT_ESCAPE ? 6 : 1) * len;
    p->at++;
    return true;
}

static int set(struct event_tree *t, unsigned slot, const char *path, const struct tree_value *v, const char **ret_why)
{
    struct value value;
    int rc = make_value(t, v, &value, ret_why);
    if (AW_UNLIKELY(rc != AW_SUCCESS))
        return rc;
    uint32_t at = planned(t, slot, path, v->type, &rc);
    if (at == 0 && rc == AW_SUCCESS) {
        path = record(t->plan, slot, path, v->type);
        rc = AW_ERR_NOMEM;
        at = slot ? slot_node(t, slot) : find_place(t, path, &rc, ret_why);
        recorded(t->plan, at);
    }
    if (AW_UNLIKELY(!at))
        return rc;
    t->bound += value_bound(&value);
    put_value(t, at, &value);
    return AW_SUCCESS;
}

int tree_set_slot(struct event_tree *t, unsigned slot, const struct tree_value *v, const char **ret_why)
{
    return set(t, slot, NULL, v, ret_why);
}

int tree_set(struct event_tree *t, const char *path, const struct tree_value *v, const char **ret_why)
{
    return set(t, SLOT_NONE, path, v, ret_why);
}

/* ---- copies ---- */

static uint32_t import_one(struct event_tree *t, const struct json_node *node, bool copy_texts)
{
    uint32_t i = json_node_new(&t->doc);
    if (!i)
        return 0;
    struct json_node *n = &t->doc.nodes[i];
    *n = *node;
    n->next = 0;
    if (node->type == JSON_OBJECT || node->type == JSON_ARRAY)
        n->first = n->last = n->len = 0;
    else
        t->bound += (n->flags & JSON_TEXT_ESCAPE ? 6 : 1) * (size_t)n->len;
    t->bound += (n->flags & JSON_KEY_ESCAPE ? 6 : 1) * (size_t)n->key_len;
    if (copy_texts) {
        unsigned c;
        if (n->text && !(n->text = keep_text(t, n->text, n->len, &c)))
            return 0;
        if (n->key && !(n->key = keep_text(t, n->key, n->key_len, &c)))
            return 0;
    }
    return i;
}

uint32_t tree_import(struct event_tree *t, const struct json_node *base, const struct json_node *node, bool copy_texts)
{
    uint32_t i = import_one(t, node, copy_texts);
    if (!i || (node->type != JSON_OBJECT && node->type != JSON_ARRAY))
        return i;
    for (uint32_t c = node->first; c; c = base[c].next) {
        uint32_t child = tree_import(t, base, &base[c], copy_texts);
        if (!child)
            return 0;
        link_item(t, i, child);
    }
    return i;
}

uint32_t tree_merge(struct event_tree *t, const struct json_node *a_base, const struct json_node *a,
                    const struct json_node *b_base, const struct json_node *b)
{
    uint32_t i = import_one(t, a, false);
    uint32_t x = a->first, y = b->first;
    while (i && (x || y)) {
        int order = !x ? 1 : !y ? -1 : json_compare_keys(&a_base[x], &b_base[y]);
        uint32_t child;
        if (order == 0 && a_base[x].type == JSON_OBJECT && b_base[y].type == JSON_OBJECT)
            child = tree_merge(t, a_base, &a_base[x], b_base, &b_base[y]);
        else if (order <= 0)
            child = tree_import(t, a_base, &a_base[x], false);
        else
            child = tree_import(t, b_base, &b_base[y], false);
        if (!child)
            return 0;
        link_item(t, i, child);
        x = order <= 0 ? a_base[x].next : x;
        y = order >= 0 ? b_base[y].next : y;
    }
    return i;
}

bool tree_copy(struct event_tree *t, const struct event_tree *from)
{
    for (unsigned s = SLOT_NONE + 1; s < SLOT_COUNT; s++) {
        if (!from->slots[s])
            continue;
        t->slots[s] = tree_import(t, from->doc.nodes, &from->doc.nodes[from->slots[s]], true);
        if (!t->slots[s])
            return false;
        t->present |= SLOT_BIT(s);
    }
    return true;
}

/* ---- JSON ---- */

/* actor, context and target are taken apart: their known members go to their slots. */
static int take_group(struct event_tree *t, unsigned group, const struct json_doc *from, const uint32_t *slots)
{
    t->slots[group] = tree_import(t, from->nodes, &from->nodes[JSON_TOP], true);
    if (!t->slots[group])
        return AW_ERR_NOMEM;
    t->present |= SLOT_BIT(group);
    for (unsigned s = SLOT_NONE + 1; s < SLOT_COUNT; s++) {
        if (slot_specs[s].parent != group)
            continue;
        t->slots[s] = slots[s] ? tree_import(t, from->nodes, &from->nodes[slots[s]], true) : 0;
        if (slots[s] && !t->slots[s])
            return AW_ERR_NOMEM;
        t->present = slots[s] ? t->present | SLOT_BIT(s) : t->present & ~SLOT_BIT(s);
    }
    return AW_SUCCESS;
}

int tree_set_json(struct event_tree *t, const char *path, struct json_doc *reader, const char *json, size_t len,
                  const char **ret_why)
{
    struct json_error error = {0, 0, 0, ""};
    uint32_t slots[SLOT_COUNT] = {0};
    if (t->plan) {
        if (t->plan->mode == PLAN_FOLLOW && leave_plan(t) != AW_SUCCESS)
            return AW_ERR_NOMEM;
        t->plan->mode = PLAN_OFF;
    }
    unsigned slot = schema_slot(path, strlen(path));
    struct json_read_options options = {
        .max_depth = JSON_MAX_DEPTH_DEFAULT, .shape = schema_shape(slot), .slots = slots, .mark_all = true};
    int rc = len > EVENT_MAX_JSON ? -E2BIG : json_load(reader, json, len);
    if (rc == 0)
        rc = json_read(reader, &options, NULL, &error);
    if (rc != 0) {
        *ret_why = rc == -E2BIG ? "longer than 8 MiB" : error.message;
        return rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_INVALID_EVENT;
    }
    const struct json_node *top = &reader->nodes[JSON_TOP];
    if (options.shape && top->type == JSON_OBJECT)
        return take_group(t, slot, reader, slots);
    uint32_t value = tree_import(t, reader->nodes, top, true);
    if (!value)
        return AW_ERR_NOMEM;
    uint32_t at = find_place(t, path, &rc, ret_why);
    if (!at)
        return rc;
    struct value v = value_of(&t->doc.nodes[value]);
    put_value(t, at, &v);
    return AW_SUCCESS;
}
