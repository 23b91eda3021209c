/* json.c - the strict reader of JSON text: values, objects, arrays.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * One pass over a padded copy of the text: the copy costs a few ns, frees the reader from every end-of-input check,
 * lets strings be scanned 16 bytes at a time, and means that nobody can change the bytes between check and use.
 */
#include "config.h"

#include "event/json_doc.h"
#include "event/json_scan.h"

#define SHORT_SORT 48u

struct sort_item {
    const struct json_node *node;
    uint32_t index;
};

static const char *read_value(struct reader *r, const char *p, uint32_t self, uint32_t depth);
static const char *read_known_plain(struct reader *r, const char *p, uint32_t self, uint32_t depth,
                                    const struct json_shape_member *own);
static const char *read_known_tracked(struct reader *r, const char *p, uint32_t self, uint32_t depth,
                                      const struct json_shape_member *own);

static AW_COLD const char *fail_duplicate(struct reader *r, const char *p, const struct json_node *second)
{
    const struct json_doc *doc = r->doc;
    bool in_text = second->key >= doc->text && second->key < doc->text + doc->len;
    return fail(r, in_text ? second->key : p, "duplicate member name in an object");
}

static void merge_runs(const struct sort_item *a, size_t na, const struct sort_item *b, size_t nb,
                       struct sort_item *out)
{
    while (na > 0 && nb > 0) {
        if (json_compare_keys(a->node, b->node) <= 0) {
            *out++ = *a++;
            na--;
        } else {
            *out++ = *b++;
            nb--;
        }
    }
    memcpy(out, a, na * sizeof *a);
    memcpy(out + na, b, nb * sizeof *b);
}

/* Bottom-up merge sort; spare is as large as items. Returns where the result stands. */
static struct sort_item *sort_items(struct sort_item *items, struct sort_item *spare, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t na = n - i < width ? n - i : width;
            size_t nb = n - i - na < width ? n - i - na : width;
            merge_runs(items + i, na, items + i + na, nb, spare + i);
        }
        struct sort_item *t = items;
        items = spare;
        spare = t;
    }
    return items;
}

static void insertion_sort(struct sort_item *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct sort_item x = items[i];
        size_t j = i;
        for (; j > 0 && json_compare_keys(items[j - 1].node, x.node) > 0; j--)
            items[j] = items[j - 1];
        items[j] = x;
    }
}

/* Links the children of an object in canonical order. */
static const char *sort_members(struct reader *r, const char *p, uint32_t self)
{
    struct json_doc *doc = r->doc;
    struct json_node *object = &doc->nodes[self];
    struct sort_item few[SHORT_SORT], *items = few;
    size_t n = object->len;
    if (n > SHORT_SORT) {
        if (doc->sort_capacity < 2 * n) {
            free(doc->sort);
            doc->sort = malloc(2 * n * sizeof *doc->sort);
            doc->sort_capacity = doc->sort ? 2 * n : 0;
            if (!doc->sort)
                return fail_memory(r);
        }
        items = doc->sort;
    }
    size_t i = 0;
    for (uint32_t c = object->first; c; c = doc->nodes[c].next)
        items[i++] = (struct sort_item){&doc->nodes[c], c};
    if (n > SHORT_SORT)
        items = sort_items(items, items + n, n);
    else
        insertion_sort(items, n);
    object->first = items[0].index;
    for (i = 1; i < n; i++) {
        if (AW_UNLIKELY(json_compare_keys(items[i - 1].node, items[i].node) == 0))
            return fail_duplicate(r, p, items[i - 1].node > items[i].node ? items[i - 1].node : items[i].node);
        doc->nodes[items[i - 1].index].next = items[i].index;
    }
    object->last = items[n - 1].index;
    doc->nodes[object->last].next = 0;
    return p;
}

static inline const struct json_shape_member *find_member(const struct json_shape *shape, const char *key, size_t len)
{
    if (len >= JSON_SHAPE_NAME)
        return NULL;
    uint64_t head = text_head(key, len);
    for (const struct json_shape_member *m = &shape->members[shape->first[len]]; m->len == len; m++) {
        if (text_head(m->name, 8) != head)
            continue;
        if (len <= 8 || (text_head(m->name + 8, 8) == text_head(key + 8, len - 8) &&
                         (len <= 16 || text_head(m->name + 16, 8) == text_head(key + 16, len - 16))))
            return m->len ? m : NULL;
    }
    return NULL;
}

/* Producers write their members in the same order every time: what came after a known member last time is tried first.
 * One comparison of its name with quotes and colon then stands for reading, measuring and looking up the name. */
static inline bool expected(const struct json_expect *e, const struct json_shape *shape, const char *p)
{
    uint64_t a[3];
    memcpy(a, p, sizeof a);
    return e->shape == shape && (((a[0] ^ e->literal[0]) & e->mask[0]) | ((a[1] ^ e->literal[1]) & e->mask[1]) |
                                 ((a[2] ^ e->literal[2]) & e->mask[2])) == 0;
}

/* start: the name's opening quote; the name stands there without escapes, its colon right behind it. */
static void learn(struct reader *r, unsigned after, const struct json_shape *shape, const struct json_shape_member *m,
                  const char *start)
{
    struct json_doc *doc = r->doc;
    size_t len = m->len + 3u;
    if (len > sizeof doc->expect->literal)
        return;
    if (!doc->expect)
        doc->expect = calloc(JSON_EXPECTS, sizeof *doc->expect);
    if (!doc->expect)
        return; /* only slower */
    r->expect = doc->expect;
    struct json_expect *e = &doc->expect[after];
    memset(e, 0, sizeof *e);
    memcpy(e->literal, start, len);
    memset(e->mask, 0xff, len);
    e->head = text_head(m->name, 8);
    e->len = (uint8_t)len;
    e->slot = m->slot;
    e->member = m;
    e->shape = shape;
}

/* Appends child to self's children; *sorted stays true while their names rise. */
static inline const char *link_member(struct reader *r, const char *p, uint32_t self, uint32_t child, bool *sorted)
{
    struct json_node *nodes = r->doc->nodes, *object = &nodes[self];
    object->len++;
    if (object->last == 0) {
        object->first = object->last = child;
        return p;
    }
    int order = json_compare_keys(&nodes[object->last], &nodes[child]);
    if (AW_UNLIKELY(order == 0))
        return fail_duplicate(r, p, &nodes[child]);
    *sorted &= order < 0;
    nodes[object->last].next = child;
    object->last = child;
    return p;
}

static inline const char *finish_object(struct reader *r, const char *p, uint32_t self, bool sorted)
{
    if (AW_LIKELY(sorted))
        return p;
    r->canonical = false;
    return sort_members(r, p, self);
}

static inline void take_slot(struct reader *r, unsigned slot, const struct json_node *n)
{
    r->slots[slot] = (uint32_t)(n - r->doc->nodes);
    r->present |= UINT64_C(1) << slot;
}

static inline struct json_node *new_node(struct reader *r)
{
    uint32_t i = json_node_new(r->doc);
    return AW_LIKELY(i != 0) ? &r->doc->nodes[i] : NULL;
}

/* A name and its colon, into n. Returns where the value should stand. */
static inline const char *read_name(struct reader *r, const char *p, struct json_node *n)
{
    p = read_string(r, p + 1, n);
    if (AW_UNLIKELY(p == NULL))
        return NULL;
    n->key = n->text;
    n->key_len = n->len;
    n->key_head = text_head(n->key, n->key_len);
    n->flags = (uint8_t)((n->flags & (TEXT_ESCAPE | TEXT_NON_ASCII)) * JSON_KEY_ESCAPE);
    n->text = NULL; /* an object's children are counted in len */
    n->len = 0;
    if (AW_LIKELY(*p == ':'))
        return p + 1;
    p = skip_space(r, p);
    return *p == ':' ? p + 1 : fail(r, p, "':' expected after a member's name");
}

/* A value of any kind; n's name is set. n may be gone afterwards: the array of nodes may have moved. */
static inline const char *read_named_value(struct reader *r, const char *p, struct json_node *n, uint32_t depth)
{
    if (AW_UNLIKELY(*p != '"'))
        return read_value(r, p, (uint32_t)(n - r->doc->nodes), depth);
    unsigned key_flags = n->flags;
    const char *s = p;
    p = read_string(r, p + 1, n);
    if (AW_UNLIKELY(p == NULL))
        return NULL;
    n->type = JSON_STRING;
    n->flags = (uint8_t)((n->flags & ~TEXT_NON_ASCII) | mark_flag(r, s, p) | key_flags);
    return p;
}

/* What follows a member: *ret_end when the object ends here. */
static inline const char *after_member(struct reader *r, const char *p, bool *ret_end)
{
    if (AW_LIKELY(*p == ','))
        return p + 1;
    if (AW_UNLIKELY(*p != '}')) {
        p = skip_space(r, p);
        if (*p == ',')
            return p + 1;
    }
    *ret_end = true;
    return *p == '}' ? p + 1 : fail(r, p, p >= r->end ? "the text ends inside an object" : "',' or '}' expected");
}

/* Where the next member's name begins; *ret_end: the object is empty. */
static inline const char *before_member(struct reader *r, const char *p, bool first, bool *ret_end)
{
    if (AW_LIKELY(*p == '"'))
        return p;
    p = skip_space(r, p);
    if (*p == '"')
        return p;
    *ret_end = true;
    if (first && *p == '}')
        return p + 1;
    return fail(r, p, p >= r->end ? "the text ends inside an object" : "a member's name in quotes expected");
}

static const char *read_object(struct reader *r, const char *p, uint32_t self, uint32_t depth)
{
    bool sorted = true, end = false;
    p = before_member(r, p + 1, true, &end);
    while (!end) {
        struct json_node *n = new_node(r);
        if (AW_UNLIKELY(n == NULL))
            return fail_memory(r);
        p = read_name(r, p, n);
        if (AW_UNLIKELY(p == NULL || !link_member(r, p, self, (uint32_t)(n - r->doc->nodes), &sorted)))
            return NULL;
        p = read_named_value(r, p, n, depth);
        if (AW_UNLIKELY(p == NULL))
            return NULL;
        p = after_member(r, p, &end);
        if (!end)
            p = before_member(r, p, false, &end);
    }
    return p ? finish_object(r, p, self, sorted) : NULL;
}

/* The name of a member of a known object, when it is not the one that was expected. *ret_member: NULL = unknown, then
 * linked. */
static const char *read_known_name(struct reader *r, const char *p, struct json_node *n, const struct json_shape *shape,
                                   uint32_t place, uint32_t self, bool *sorted,
                                   const struct json_shape_member **ret_member)
{
    const char *start = p;
    p = read_name(r, p, n);
    if (AW_UNLIKELY(p == NULL))
        return NULL;
    const struct json_shape_member *m = find_member(shape, n->key, n->key_len);
    *ret_member = m;
    if (!m)
        return link_member(r, p, self, (uint32_t)(n - r->doc->nodes), sorted);
    if (AW_UNLIKELY(r->present >> m->slot & 1))
        return fail_duplicate(r, p, n);
    take_slot(r, m->slot, n);
    if (n->key == start + 1 && start[m->len + 2] == ':')
        learn(r, place, shape, m, start);
    return p;
}

/* An object with known members. tracked: order and place of its members are wanted, too. */
static inline __attribute__((always_inline)) const char *read_known(struct reader *r, const char *p, uint32_t self,
                                                                    uint32_t depth, const struct json_shape_member *own,
                                                                    bool tracked)
{
    const struct json_shape *shape = own->shape;
    bool sorted = true, end = false;
    uint32_t place = JSON_SLOTS + own->slot, before = 0;
    p = before_member(r, p + 1, true, &end);
    while (!end) {
        const char *start = p;
        const struct json_shape_member *m;
        struct json_node *n = new_node(r);
        if (AW_UNLIKELY(n == NULL))
            return fail_memory(r);
        const struct json_expect *e = &r->expect[place];
        if (AW_LIKELY(expected(e, shape, p)) && AW_LIKELY((r->present >> e->slot & 1) == 0)) {
            n->key = p + 1;
            n->key_len = e->len - 3u;
            n->key_head = e->head;
            m = e->member;
            take_slot(r, e->slot, n);
            p += e->len;
        } else if (AW_UNLIKELY((p = read_known_name(r, p, n, shape, place, self, &sorted, &m)) == NULL)) {
            return NULL;
        }
        uint32_t child = (uint32_t)(n - r->doc->nodes);
        if (tracked && r->canonical) {
            r->canonical = !before || json_compare_keys(&r->doc->nodes[before], n) < 0;
            before = child;
        }
        place = m ? m->slot : place;
        if (AW_UNLIKELY((unsigned char)*p <= ' '))
            p = skip_space(r, p);
        if (m && m->shape && *p == '{' && depth > 0) {
            n->type = JSON_OBJECT;
            p = tracked ? read_known_tracked(r, p, child, depth - 1, m) : read_known_plain(r, p, child, depth - 1, m);
        } else {
            p = read_named_value(r, p, n, depth);
        }
        if (AW_UNLIKELY(p == NULL))
            return NULL;
        if (tracked && m && m->slot == r->span_slot) {
            r->span_start = start;
            r->span_end = p;
        }
        p = after_member(r, p, &end);
        if (!end)
            p = before_member(r, p, false, &end);
    }
    return p ? finish_object(r, p, self, sorted) : NULL;
}

static const char *read_known_plain(struct reader *r, const char *p, uint32_t self, uint32_t depth,
                                    const struct json_shape_member *own)
{
    return read_known(r, p, self, depth, own, false);
}

static const char *read_known_tracked(struct reader *r, const char *p, uint32_t self, uint32_t depth,
                                      const struct json_shape_member *own)
{
    return read_known(r, p, self, depth, own, true);
}

static const char *read_array(struct reader *r, const char *p, uint32_t self, uint32_t depth)
{
    p = skip_space(r, p + 1);
    if (*p == ']')
        return p + 1;
    for (;;) {
        uint32_t child = json_node_new(r->doc);
        if (AW_UNLIKELY(child == 0))
            return fail_memory(r);
        struct json_node *array = &r->doc->nodes[self];
        array->len++;
        if (array->last)
            r->doc->nodes[array->last].next = child;
        else
            array->first = child;
        array->last = child;
        p = read_value(r, p, child, depth);
        if (AW_UNLIKELY(p == NULL))
            return NULL;
        p = skip_space(r, p);
        if (*p == ',')
            p = skip_space(r, p + 1);
        else if (*p == ']')
            return p + 1;
        else
            return fail(r, p, p >= r->end ? "the text ends inside an array" : "',' or ']' expected");
    }
}

static inline const char *read_word(struct reader *r, const char *p, struct json_node *n, const char *word, size_t len,
                                    int type)
{
    if (memcmp(p, word, len) != 0)
        return fail(r, p, "not a value: true, false, null, a number, a string, an object or an array expected");
    n->type = (uint8_t)type;
    n->text = word;
    n->len = (uint32_t)len;
    return p + len;
}

/* The words are padded: texts have 16 readable bytes behind them. */
static const char word_true[32] = "true", word_false[32] = "false", word_null[32] = "null";

static const char *read_value(struct reader *r, const char *p, uint32_t self, uint32_t depth)
{
    struct json_node *n = &r->doc->nodes[self];
    uint8_t key_flags = n->flags;
    p = skip_space(r, p);
    const char *s = p;
    switch (*p) {
    case '"':
        p = read_string(r, p + 1, n);
        if (AW_UNLIKELY(p == NULL))
            return NULL;
        n->type = JSON_STRING;
        n->flags = (uint8_t)((n->flags & ~TEXT_NON_ASCII) | mark_flag(r, s, p));
        break;
    case '{':
    case '[':
        if (AW_UNLIKELY(depth == 0))
            return fail(r, p, "nested too deeply");
        n->type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
        return *p == '[' ? read_array(r, p, self, depth - 1) : read_object(r, p, self, depth - 1);
    case 't':
        p = read_word(r, p, n, word_true, 4, JSON_TRUE);
        break;
    case 'f':
        p = read_word(r, p, n, word_false, 5, JSON_FALSE);
        break;
    case 'n':
        p = read_word(r, p, n, word_null, 4, JSON_NULL);
        break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        p = read_number(r, p, n);
        break;
    default:
        return fail(r, p,
                    p >= r->end ? "the text ends where a value should stand"
                                : "not a value: true, false, null, a number, a string, an object or an array expected");
    }
    if (AW_LIKELY(p != NULL))
        n->flags |= key_flags;
    return p;
}

static inline const char *read_top(struct reader *r, const char *p, const struct json_read_options *o)
{
    const struct json_shape_member top = {"", 0, 0, o->shape};
    p = skip_space(r, p);
    if (!o->shape || *p != '{' || o->max_depth == 0)
        return read_value(r, p, JSON_TOP, o->max_depth);
    r->doc->nodes[JSON_TOP].type = JSON_OBJECT;
    return o->want_canonical ? read_known_tracked(r, p, JSON_TOP, o->max_depth - 1, &top)
                             : read_known_plain(r, p, JSON_TOP, o->max_depth - 1, &top);
}

int json_read(struct json_doc *doc, const struct json_read_options *o, struct json_read_result *ret,
              struct json_error *ret_error)
{
    static const uint32_t no_marks[] = {UINT32_MAX};
    static const struct json_expect nothing[JSON_EXPECTS];
    struct reader r = {.doc = doc,
                       .end = doc->text + doc->len,
                       .marks = o->marks ? o->marks : no_marks,
                       .slots = o->slots,
                       .expect = doc->expect ? doc->expect : nothing,
                       .error = ret_error,
                       .rc = 0,
                       .accept_rounded = o->accept_rounded,
                       .mark_all = o->mark_all,
                       .marking = o->mark_all || o->marks,
                       .canonical = o->want_canonical,
                       .span_slot = o->span_slot};
    const char *p = doc->text;
    r.mark_at = r.marking ? doc->text : r.end + JSON_TEXT_PAD;
    if (r.marking && !r.mark_all)
        r.mark_at = *r.marks == UINT32_MAX ? r.end + JSON_TEXT_PAD : doc->text + *r.marks;
    if (json_node_new(doc) != JSON_TOP)
        return -ENOMEM;
    if (memcmp(p, "\xef\xbb\xbf", 3) == 0)
        p = fail(&r, p, "byte order mark: JSON text must begin without one");
    else
        p = read_top(&r, p, o);
    if (p) {
        p = skip_space(&r, p);
        if (p == r.end) {
            if (ret)
                *ret = (struct json_read_result){r.present, r.canonical,
                                                 r.span_start ? (size_t)(r.span_start - doc->text) : 0,
                                                 r.span_start ? (size_t)(r.span_end - doc->text) : 0};
            return 0;
        }
        fail(&r, p, "only one value is allowed, more text follows it");
    }
    json_error_place(ret_error, doc->text, doc->len);
    return r.rc;
}

int json_parse(struct json_doc *doc, const char *text, size_t len, uint32_t max_depth, struct json_error *ret_error)
{
    struct json_read_options options = {.max_depth = max_depth};
    memset(ret_error, 0, sizeof *ret_error);
    ret_error->message = "";
    int rc = json_load(doc, text, len);
    if (rc == 0)
        rc = json_read(doc, &options, NULL, ret_error);
    else
        ret_error->message = rc == -ENOMEM ? "out of memory" : "the text is longer than 1 GiB";
    return rc;
}
