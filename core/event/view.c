/* view.c - makes views of events. See view.h. SPDX-License-Identifier: Apache-2.0
 *
 * The event is read again from its canonical bytes and written once more, with the path states of redact.c beside it;
 * the field table is made anew, since sinks that store columns take their values from there.
 */
#include "config.h"

#include "event/pii.h"
#include "event/replay_event.h"
#include "event/retention_event.h"

#include "event/work.h"

#define DEPTH (POLICY_MAX_DEPTH + 2u) /* deeper than any event in a journal */
#define ROOM_MAX ((size_t)64 << 20)   /* escapes are bounded generously: more than an event of full size needs */
#define CLAIM_MAX ((size_t)1 << 20)   /* of all paths of an event */
#define KEEP_OUT ((size_t)1 << 20)    /* the buffer of a larger view is not kept for the next */
#define LEAF_ROOM (PSEUDONYM_LEN + 2u)

struct listed {
    size_t at, len; /* in names */
};

struct event_viewer {
    const struct event_pii *pii;
    const struct pseudonym_key *key; /* NULL: drop */
    struct hash_sha256 *sha;
    struct json_doc doc;
    uint64_t *states; /* DEPTH + 2 rows */
    char *out;
    size_t len, size;
    struct path_text path;
    char *names; /* paths of what was changed, one after the other */
    size_t names_len, names_size;
    struct listed *listed;
    size_t listed_count, listed_size;
    char *claim;
    size_t claim_size;
    struct event_view *view; /* being made */
    bool changed;            /* a value was replaced since it was last false */
    int rc;
};

int event_viewer_create(const struct event_pii *pii, const struct pseudonym_key *key, struct event_viewer **ret)
{
    struct event_viewer *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    json_doc_init(&v->doc);
    v->pii = pii;
    v->key = key;
    v->states = calloc((DEPTH + 2u) * (pii->tags->state_words + 1), sizeof *v->states);
    int rc = v->states ? hash_sha256_create(&v->sha) : -ENOMEM;
    if (rc < 0) {
        event_viewer_destroy(v);
        return rc;
    }
    *ret = v;
    return 0;
}

void event_viewer_destroy(struct event_viewer *v)
{
    if (!v)
        return;
    json_doc_release(&v->doc);
    hash_sha256_destroy(v->sha);
    free(v->states);
    free(v->out);
    free(v->path.text);
    free(v->names);
    free(v->listed);
    free(v->claim);
    free(v);
}

/* ---- putting ---- */

static bool failed(struct event_viewer *v, int rc)
{
    v->rc = rc;
    return false;
}

/* Room for so many more bytes, and a step beyond. */
static bool room(struct event_viewer *v, size_t more)
{
    size_t need;
    if (v->len > EVENT_MAX_JSON || !base_add_size(v->len, more, &need) || need > ROOM_MAX)
        return failed(v, -EFBIG);
    if (AW_UNLIKELY(need + TEXT_STEP > v->size) && !work_reserve(&v->out, &v->size, need + need / 2 + TEXT_STEP, true))
        return failed(v, -ENOMEM);
    return true;
}

static bool put_char(struct event_viewer *v, char c)
{
    if (!room(v, 1))
        return false;
    v->out[v->len++] = c;
    return true;
}

/* Ends an object or array: the last comma goes. */
static bool put_end(struct event_viewer *v, char c)
{
    if (v->out[v->len - 1] == ',')
        v->len--;
    return put_char(v, c);
}

static bool put_name(struct event_viewer *v, const struct json_node *n)
{
    if (!room(v, 6 * (size_t)n->key_len + 3 + TEXT_STEP))
        return false;
    char *end = json_put_text(v->out + v->len, n->key, n->key_len, (n->flags & JSON_KEY_ESCAPE) != 0);
    *end++ = ':';
    v->len = (size_t)(end - v->out);
    return true;
}

static bool put_as_it_is(struct event_viewer *v, const struct json_node *n)
{
    if (!room(v, json_canonical_bound(v->doc.nodes, n) + TEXT_STEP))
        return false;
    v->len = (size_t)(json_write(v->out + v->len, v->doc.nodes, n) - v->out);
    return true;
}

/* A masked value says nothing any more: a pseudonym of the mask would only hide that it is one. */
static bool is_mask(const struct event_viewer *v, const struct json_node *n)
{
    return n->type == JSON_STRING && n->len == v->pii->mask_len && memcmp(n->text, v->pii->mask, n->len) == 0;
}

/* A value below a tag, with pseudonyms in place of all texts, numbers, true, false and null. */
static bool put_replaced(struct event_viewer *v, const struct json_node *n)
{
    const struct json_node *base = v->doc.nodes;
    if (n->type != JSON_OBJECT && n->type != JSON_ARRAY) {
        if (is_mask(v, n))
            return put_as_it_is(v, n);
        if (!room(v, LEAF_ROOM))
            return false;
        char *p = v->out + v->len;
        if (!pseudonym_make(v->key, v->sha, n->text, n->len, p + 1))
            return failed(v, -EIO);
        p[0] = p[1 + PSEUDONYM_LEN] = '"';
        v->len += LEAF_ROOM;
        v->changed = true;
        return true;
    }
    bool object = n->type == JSON_OBJECT;
    if (!put_char(v, object ? '{' : '['))
        return false;
    for (uint32_t c = n->first; c; c = base[c].next)
        if ((object && !put_name(v, &base[c])) || !put_replaced(v, &base[c]) || !put_char(v, ','))
            return false;
    return put_end(v, object ? '}' : ']');
}

/* ---- what was changed ---- */

static bool list_path(struct event_viewer *v)
{
    const struct listed *last = v->listed_count ? &v->listed[v->listed_count - 1] : NULL;
    if (last && last->len == v->path.len && memcmp(v->names + last->at, v->path.text, last->len) == 0)
        return true; /* the next element of an array */
    if (v->names_len + v->path.len > CLAIM_MAX)
        return failed(v, -EFBIG);
    if (!work_reserve(&v->names, &v->names_size, v->names_len + v->path.len + TEXT_STEP, true))
        return failed(v, -ENOMEM);
    if (v->listed_count == v->listed_size) {
        size_t size = v->listed_size ? 2 * v->listed_size : 32;
        struct listed *bigger = realloc(v->listed, size * sizeof *bigger);
        if (!bigger)
            return failed(v, -ENOMEM);
        v->listed = bigger;
        v->listed_size = size;
    }
    memcpy(v->names + v->names_len, v->path.text, v->path.len);
    v->listed[v->listed_count++] = (struct listed){v->names_len, v->path.len};
    v->names_len += v->path.len;
    return true;
}

static int compare_listed(const struct event_viewer *v, const struct listed *a, const struct listed *b)
{
    int c = memcmp(v->names + a->at, v->names + b->at, a->len < b->len ? a->len : b->len);
    return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

static void sift(struct event_viewer *v, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare_listed(v, &v->listed[child], &v->listed[child + 1]) < 0)
            child++;
        if (compare_listed(v, &v->listed[root], &v->listed[child]) >= 0)
            return;
        struct listed t = v->listed[root];
        v->listed[root] = v->listed[child];
        v->listed[child] = t;
    }
}

/* In place: qsort() would allocate. */
static void sort_listed(struct event_viewer *v)
{
    for (size_t i = v->listed_count / 2; i-- > 0;)
        sift(v, i, v->listed_count);
    for (size_t end = v->listed_count; end > 1;) {
        struct listed t = v->listed[0];
        v->listed[0] = v->listed[--end];
        v->listed[end] = t;
        sift(v, 0, end);
    }
}

static char *put_plain(char *p, const char *text)
{
    size_t len = strlen(text);
    memcpy(p, text, len);
    return p + len;
}

static bool write_claim(struct event_viewer *v)
{
    sort_listed(v);
    if (!work_reserve(&v->claim, &v->claim_size, 6 * v->names_len + 3 * v->listed_count + 128, false))
        return failed(v, -ENOMEM);
    char *p = v->claim;
    *p++ = '{';
    if (v->listed_count > 0) {
        p = v->key ? put_plain(put_plain(put_plain(p, "\"keyId\":\""), v->key->id), "\",\"pseudonymized\":[")
                   : put_plain(p, "\"dropped\":[");
        for (size_t i = 0; i < v->listed_count; i++) {
            const struct listed *l = &v->listed[i];
            if (i > 0 && compare_listed(v, l - 1, l) == 0)
                continue;
            p = json_put_text(p, v->names + l->at, l->len, true);
            *p++ = ',';
        }
        p[-1] = ']';
    }
    *p++ = '}';
    v->view->claim = (struct aw_str){v->claim, (size_t)(p - v->claim)};
    return true;
}

/* ---- walking ---- */

static bool put_members(struct event_viewer *v, const struct json_node *object, const uint64_t *row, unsigned depth,
                        bool whole);

/* A value that is not tagged itself, though something below it may be. Elements of arrays have the array's path. */
static bool put_open(struct event_viewer *v, const struct json_node *n, const uint64_t *row, unsigned depth)
{
    if (!row || (n->type != JSON_OBJECT && n->type != JSON_ARRAY))
        return put_as_it_is(v, n);
    if (n->type == JSON_OBJECT)
        return put_members(v, n, row, depth + 1, false);
    const struct json_node *base = v->doc.nodes;
    if (!put_char(v, '['))
        return false;
    for (uint32_t c = n->first; c; c = base[c].next)
        if (!put_open(v, &base[c], row, depth + 1) || !put_char(v, ','))
            return false;
    return put_end(v, ']');
}

static void add_field(struct event_viewer *v, unsigned slot, size_t start)
{
    const struct slot_spec *s = &slot_specs[slot];
    size_t end = v->len;
    if (s->field == 0 || v->view->field_count == EVENT_MAX_FIELDS || end > EVENT_MAX_JSON)
        return;
    uint32_t flags = 0;
    if (s->kind == KIND_TEXT && v->out[start] == '"') { /* the bytes between the quotes */
        start++;
        end--;
        flags = memchr(v->out + start, '\\', end - start) ? FIELD_ESCAPED : 0;
    }
    struct field_ref *f = &v->view->fields[v->view->field_count++];
    f->offset_id = (uint32_t)start << 8 | s->field;
    f->len_flags = (uint32_t)(end - start) << 4 | flags;
}

static bool is_group(unsigned slot)
{
    return slot == SLOT_ACTOR || slot == SLOT_CONTEXT || slot == SLOT_TARGET;
}

/* One member; whole: its object is tagged. Members of actor, context and target are always taken one by one, since
 * some of them stay whatever is tagged. */
static bool put_member(struct event_viewer *v, const struct json_node *n, const uint64_t *row, unsigned depth,
                       bool whole)
{
    unsigned slot = depth <= 2 ? schema_slot(v->path.text, v->path.len) : SLOT_NONE;
    bool alive = false, tagged = whole;
    uint64_t *next = v->states + (size_t)depth * v->pii->tags->state_words;
    if (row)
        tagged |= (redact_step(v->pii->tags, row, n->key, n->key_len, next, &alive) & REDACT_MASKED) != 0;
    bool group = is_group(slot) && n->type == JSON_OBJECT;
    if (slot != SLOT_NONE && (slot_fixed(slot) || (is_group(slot) && !group)))
        tagged = alive = false;
    if (tagged && !group && !v->key)
        return list_path(v);
    if (!put_name(v, n))
        return false;
    size_t start = v->len;
    v->changed = false;
    bool good = group    ? put_members(v, n, alive ? next : NULL, depth + 1, tagged)
                : tagged ? put_replaced(v, n) && (!v->changed || list_path(v))
                         : put_open(v, n, alive ? next : NULL, depth);
    if (!good)
        return false;
    if (slot != SLOT_NONE)
        add_field(v, slot, start);
    if (!put_char(v, ','))
        return false;
    if (slot == SLOT_EVENT_ID)
        v->view->integrity_at = (uint32_t)v->len;
    return true;
}

static bool put_members(struct event_viewer *v, const struct json_node *object, const uint64_t *row, unsigned depth,
                        bool whole)
{
    const struct json_node *base = v->doc.nodes;
    if (!put_char(v, '{'))
        return false;
    for (uint32_t c = object->first; c; c = base[c].next) {
        size_t before;
        if (!path_push(&v->path, base[c].key, base[c].key_len, &before))
            return failed(v, -ENOMEM);
        if (!put_member(v, &base[c], row, depth, whole))
            return false;
        path_pop(&v->path, before);
    }
    return put_end(v, '}');
}

/* Tells no more than numbers, hashes and times of events, and a verifier must be able to check it. */
static bool is_own_record(const struct event_viewer *v, const struct json_node *top)
{
    static const char *const actions[] = {REPLAY_EVENT_ACTION, RETENTION_EVENT_ACTION, RETENTION_EVENT_BEGIN};
    for (uint32_t c = top->first; c; c = v->doc.nodes[c].next) {
        const struct json_node *n = &v->doc.nodes[c];
        if (n->type != JSON_STRING || !base_str_eq((struct aw_str){n->key, n->key_len}, base_str("action")))
            continue;
        for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
            if (base_str_eq((struct aw_str){n->text, n->len}, base_str(actions[i])))
                return true;
        return false;
    }
    return false;
}

int event_view_make(struct event_viewer *v, const char *json, size_t len, struct event_view *ret)
{
    struct json_error error;
    struct json_read_options options = {.max_depth = DEPTH, .accept_rounded = true};
    if (AW_UNLIKELY(v->size > KEEP_OUT)) { /* one giant event must not bind its memory for ever */
        base_free_p(&v->out);
        v->size = 0;
    }
    v->rc = 0;
    v->len = v->path.len = v->names_len = v->listed_count = 0;
    v->view = ret;
    ret->field_count = ret->integrity_at = 0;
    int rc = json_load(&v->doc, json, len);
    if (rc == 0)
        rc = json_read(&v->doc, &options, NULL, &error);
    if (rc != 0)
        return rc == -ENOMEM ? rc : -EBADMSG;
    const struct json_node *top = &v->doc.nodes[JSON_TOP];
    if (top->type != JSON_OBJECT)
        return -EBADMSG;
    bool tagged = v->pii->tags->state_words > 0 && !is_own_record(v, top);
    if (tagged)
        redact_start(v->pii->tags, v->states);
    if (!room(v, len + len / 2) || !put_members(v, top, tagged ? v->states : NULL, 1, false) || !write_claim(v))
        return v->rc;
    if (v->len > EVENT_MAX_JSON)
        return -EFBIG;
    ret->json = (struct aw_str){v->out, v->len};
    return ret->integrity_at > 0 ? 0 : -EBADMSG;
}
