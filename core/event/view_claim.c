/* view_claim.c - paths, and integrity.view read back. See pii.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/pii.h"
#include "event/work.h"

bool path_push(struct path_text *path, const char *name, size_t len, size_t *ret_before)
{
    *ret_before = path->len;
    if (!work_reserve(&path->text, &path->size, path->len + 2 * len + 1 + TEXT_STEP, true))
        return false;
    char *p = path->text + path->len;
    if (path->len > 0)
        *p++ = '.';
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '.' || name[i] == '[' || name[i] == '\\')
            *p++ = '\\';
        *p++ = name[i];
    }
    path->len = (size_t)(p - path->text);
    return true;
}

/* Members that views never change, and objects of which they only change members. */
static bool untouchable(const char *path, size_t len)
{
    unsigned slot = schema_slot(path, len);
    return len == 0 || slot == SLOT_ACTOR || slot == SLOT_CONTEXT || slot == SLOT_TARGET ||
           (slot != SLOT_NONE && slot_fixed(slot)) ||
           (len >= 9 && memcmp(path, "integrity", 9) == 0 && (len == 9 || path[9] == '.'));
}

static const char *list_read(const struct json_node *base, const struct json_node *list, uint32_t *fields)
{
    const struct json_node *before = NULL;
    if (list->type != JSON_ARRAY || !list->first)
        return "integrity.view holds a list that is none, or empty";
    for (uint32_t c = list->first; c; before = &base[c], c = base[c].next) {
        const struct json_node *n = &base[c];
        if (n->type != JSON_STRING)
            return "integrity.view lists something that is no path";
        if (untouchable(n->text, n->len))
            return "integrity.view names a member that is the same in every view";
        if (before) {
            int order = memcmp(before->text, n->text, before->len < n->len ? before->len : n->len);
            if (order > 0 || (order == 0 && before->len >= n->len))
                return "the paths in integrity.view are not in order";
        }
        ++*fields;
    }
    return NULL;
}

static bool named(const struct json_node *n, const char *name)
{
    return n->key_len == strlen(name) && memcmp(n->key, name, n->key_len) == 0;
}

const char *claim_read(const struct json_node *base, const struct json_node *view, struct view_claim *ret)
{
    *ret = (struct view_claim){0};
    if (view->type != JSON_OBJECT)
        return "integrity.view is no object";
    for (uint32_t c = view->first; c; c = base[c].next) {
        const struct json_node *n = &base[c];
        const char *why = NULL;
        if (named(n, "dropped")) {
            ret->dropped = n;
            why = list_read(base, n, &ret->fields);
        } else if (named(n, "pseudonymized")) {
            ret->pseudonymized = n;
            why = list_read(base, n, &ret->fields);
        } else if (named(n, "keyId") && n->type == JSON_STRING && pseudonym_id_ok(n->text, n->len)) {
            ret->key_id = (struct aw_str){n->text, n->len};
        } else {
            why = "integrity.view has a member that is unknown or not what it must be";
        }
        if (why)
            return why;
    }
    return (ret->pseudonymized != NULL) == (ret->key_id.len > 0) ? NULL
                                                                 : "integrity.view has a keyId without pseudonyms, or "
                                                                   "pseudonyms without a keyId";
}
