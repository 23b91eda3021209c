/* view_check.c - a stored view against what it says of itself, and against the full event. See view.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Both are read into trees whose members stand in canonical order, and walked side by side. Everything that
 * integrity.view does not name must be the same.
 */
#include "config.h"

#include "base/diag.h"
#include "event/pii.h"
#include "event/work.h"

#define STORED_DEPTH 1024u /* as event_parse_stored() */

struct walk {
    struct view_check *check;
    struct json_node *view, *full; /* node arrays; full NULL: the view alone */
    struct view_claim claim;
    struct path_text path;
    bool nomem;
};

static struct aw_str value_text(const struct json_node *n)
{
    if (!n)
        return (struct aw_str){"", 0};
    if (n->type == JSON_OBJECT)
        return base_str("{…}");
    if (n->type == JSON_ARRAY)
        return base_str("[…]");
    return (struct aw_str){n->text, n->len};
}

static void differ_text(struct walk *w, struct aw_str expected, struct aw_str found, const char *message)
{
    const struct view_difference d = {{w->path.text ? w->path.text : "", w->path.len}, expected, found, message};
    w->check->on_difference(w->check->arg, &d);
}

static void differ(struct walk *w, const struct json_node *expected, const struct json_node *found, const char *message)
{
    differ_text(w, value_text(expected), value_text(found), message);
}

/* Is the path in this list of integrity.view? What was asked for is marked, so that what never was can be told. The
 * texts of an array stand side by side, in order. */
static bool listed(struct walk *w, const struct json_node *list)
{
    if (!list)
        return false;
    struct json_node *first = &w->view[list->first];
    for (size_t low = 0, high = list->len; low < high;) {
        size_t mid = (low + high) / 2;
        struct json_node *n = first + mid;
        size_t len = n->len < w->path.len ? n->len : w->path.len;
        int order = memcmp(w->path.text, n->text, len);
        if (order == 0 && n->len == w->path.len) {
            n->extra = 1;
            return true;
        }
        if (order < 0 || (order == 0 && w->path.len < n->len))
            high = mid;
        else
            low = mid + 1;
    }
    return false;
}

static void find_unasked(struct walk *w, const struct json_node *list, const char *message)
{
    for (uint32_t c = list ? list->first : 0; c; c = w->view[c].next) {
        const struct json_node *n = &w->view[c];
        if (n->extra)
            continue;
        const struct view_difference d = {{n->text, n->len}, {"", 0}, {"", 0}, message};
        w->check->on_difference(w->check->arg, &d);
    }
}

/* ---- below a pseudonymized path ---- */

static const struct pseudonym_key *key_of(const struct walk *w)
{
    for (size_t i = 0; i < w->check->key_count; i++)
        if (memcmp(w->check->keys[i].id, w->claim.key_id.ptr, PSEUDONYM_ID) == 0)
            return &w->check->keys[i];
    return NULL;
}

static bool is_container(const struct json_node *n)
{
    return n->type == JSON_OBJECT || n->type == JSON_ARRAY;
}

static bool same_scalar(const struct json_node *a, const struct json_node *b)
{
    return a->type == b->type && a->len == b->len && (a->len == 0 || memcmp(a->text, b->text, a->len) == 0);
}

/* A masked value stays as it is in a view: equal texts are no difference. */
static void check_pseudonym(struct walk *w, const struct json_node *v, const struct json_node *f)
{
    char id[PSEUDONYM_ID + 1] = "", expected[PSEUDONYM_LEN];
    if (f && same_scalar(v, f))
        return;
    memcpy(id, w->claim.key_id.ptr, PSEUDONYM_ID);
    bool form = v->type == JSON_STRING && pseudonym_form(v->text, v->len, id);
    if (!f && (form || (v->type == JSON_STRING && v->len <= POLICY_MASK_MAX))) {
        w->check->by_form += form;
        return; /* the mask is not known here: any short text might be one */
    }
    const struct pseudonym_key *key = key_of(w);
    if (!form || !f || is_container(f)) {
        differ_text(w, base_str("a pseudonym"), value_text(v),
                    "is named in integrity.view as pseudonymized, but is no pseudonym under its key");
    } else if (!key) {
        w->check->by_form++;
    } else if (!pseudonym_make(key, w->check->sha, f->text, f->len, expected)) {
        w->nomem = true;
    } else if (memcmp(expected, v->text, PSEUDONYM_LEN) != 0) {
        differ_text(w, (struct aw_str){expected, PSEUDONYM_LEN}, value_text(v),
                    "is not the pseudonym of the full event's value");
    }
}

static void check_replaced(struct walk *w, const struct json_node *v, const struct json_node *f)
{
    if (!is_container(v)) {
        check_pseudonym(w, v, f);
        return;
    }
    if (f && (f->type != v->type || f->len != v->len)) {
        differ(w, f, v, "has another shape than in the full event");
        return;
    }
    uint32_t d = f ? f->first : 0;
    for (uint32_t c = v->first; c; c = w->view[c].next, d = d ? w->full[d].next : 0) {
        if (d && v->type == JSON_OBJECT && json_compare_keys(&w->view[c], &w->full[d]) != 0) {
            differ(w, f, v, "has another shape than in the full event");
            return;
        }
        check_replaced(w, &w->view[c], d ? &w->full[d] : NULL);
    }
}

/* ---- the rest ---- */

static void check_value(struct walk *w, const struct json_node *v, const struct json_node *f);

/* A member of one or both. */
static void check_member(struct walk *w, const struct json_node *v, const struct json_node *f)
{
    bool dropped = listed(w, w->claim.dropped);
    if (dropped && v)
        differ_text(w, (struct aw_str){"", 0}, value_text(v), "is named in integrity.view as dropped, but is there");
    else if (dropped)
        return;
    else if (!v)
        differ(w, f, NULL, "is missing, though integrity.view does not name it");
    else if (w->full && !f)
        differ(w, NULL, v, "is not in the full event");
    else if (listed(w, w->claim.pseudonymized))
        check_replaced(w, v, f);
    else
        check_value(w, v, f);
}

static bool is_integrity(const struct walk *w, const struct json_node *n)
{
    return w->path.len == 0 && n->key_len == 9 && memcmp(n->key, "integrity", 9) == 0;
}

/* integrity itself: all but view, in which the two differ. */
static uint32_t skip_view(const struct walk *w, const struct json_node *base, uint32_t c)
{
    bool here = w->path.len == 9 && memcmp(w->path.text, "integrity", 9) == 0;
    return here && c && base[c].key_len == 4 && memcmp(base[c].key, "view", 4) == 0 ? base[c].next : c;
}

static void check_members(struct walk *w, const struct json_node *v, const struct json_node *f)
{
    uint32_t c = skip_view(w, w->view, v->first), d = f ? skip_view(w, w->full, f->first) : 0;
    while ((c || d) && !w->nomem) {
        const struct json_node *a = c ? &w->view[c] : NULL, *b = d ? &w->full[d] : NULL;
        int order = a && b ? json_compare_keys(a, b) : a ? -1 : 1;
        size_t before;
        if (order > 0)
            a = NULL;
        else if (order < 0)
            b = NULL;
        const struct json_node *n = a ? a : b;
        if (w->full || !is_integrity(w, n)) { /* alone there is nothing to compare integrity with */
            w->nomem |= !path_push(&w->path, n->key, n->key_len, &before);
            if (w->nomem)
                return;
            check_member(w, a, b);
            path_pop(&w->path, before);
        }
        c = a ? skip_view(w, w->view, a->next) : c;
        d = b ? skip_view(w, w->full, b->next) : d;
    }
}

static void check_value(struct walk *w, const struct json_node *v, const struct json_node *f)
{
    if (f && v->type != f->type) {
        differ(w, f, v, "is not what it is in the full event");
    } else if (v->type == JSON_OBJECT) {
        check_members(w, v, f);
    } else if (v->type == JSON_ARRAY) {
        if (f && v->len != f->len) {
            differ(w, f, v, "has another number of elements than in the full event");
            return;
        }
        uint32_t d = f ? f->first : 0;
        for (uint32_t c = v->first; c; c = w->view[c].next, d = d ? w->full[d].next : 0)
            check_value(w, &w->view[c], d ? &w->full[d] : NULL);
    } else if (f && !same_scalar(v, f)) {
        differ(w, f, v, "is not what it is in the full event");
    }
}

/* ---- the two events ---- */

static int read_event(struct json_doc *doc, struct aw_str json)
{
    struct json_error error = {0, 0, 0, "out of memory"};
    struct json_read_options options = {.max_depth = STORED_DEPTH, .accept_rounded = true};
    int rc = json_load(doc, json.ptr, json.len);
    if (rc == 0)
        rc = json_read(doc, &options, NULL, &error);
    if (rc == 0 && doc->nodes[JSON_TOP].type != JSON_OBJECT) {
        rc = -EINVAL;
        error.message = "not an object";
    }
    if (rc == 0)
        return AW_SUCCESS;
    return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_INVALID_EVENT, "", "not an event: %s", error.message);
}

static const struct json_node *member(const struct json_node *base, const struct json_node *object, const char *name)
{
    for (uint32_t c = object && object->type == JSON_OBJECT ? object->first : 0; c; c = base[c].next)
        if (base[c].key_len == strlen(name) && memcmp(base[c].key, name, base[c].key_len) == 0)
            return &base[c];
    return NULL;
}

int event_view_check(struct view_check *check, struct aw_str view, const struct aw_str *full)
{
    struct walk w = {.check = check};
    struct work *work = work_get();
    int rc = work ? read_event(&work->stored, view) : diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (rc == AW_SUCCESS && full)
        rc = read_event(&work->full, *full);
    if (rc != AW_SUCCESS)
        return rc;
    w.view = work->stored.nodes;
    w.full = full ? work->full.nodes : NULL;
    const struct json_node *top = &w.view[JSON_TOP];
    const struct json_node *said = member(w.view, member(w.view, top, "integrity"), "view");
    const char *why = said ? claim_read(w.view, said, &w.claim) : NULL;
    if (why) {
        differ_text(&w, (struct aw_str){"", 0}, (struct aw_str){"", 0}, why);
        return AW_SUCCESS;
    }
    check_members(&w, top, w.full ? &w.full[JSON_TOP] : NULL);
    if (!w.nomem)
        find_unasked(&w, w.claim.pseudonymized, "is named in integrity.view as pseudonymized, but is not there");
    if (!w.nomem && w.full)
        find_unasked(&w, w.claim.dropped,
                     "is named in integrity.view as dropped, but the full event has no such member");
    free(w.path.text);
    return w.nomem ? diag_problem(AW_ERR_NOMEM, "", "out of memory") : AW_SUCCESS;
}
