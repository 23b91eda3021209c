/* canon.c - canonical JSON (RFC 8785) of a document. SPDX-License-Identifier: Apache-2.0
 *
 * The reader has sorted the members and made each number's text canonical: what is left is writing without spaces, with
 * the few escapes that are needed.
 */
#include "config.h"

#include "event/json_doc.h"

/* Nothing of a value needs more than its text six times over (\u00XX), its name likewise, and punctuation. */
size_t json_canonical_bound(const struct json_node *base, const struct json_node *value)
{
    size_t n = 8 + (value->flags & JSON_KEY_ESCAPE ? 6u : 1u) * (size_t)value->key_len;
    if (value->type != JSON_OBJECT && value->type != JSON_ARRAY)
        return n + (value->flags & JSON_TEXT_ESCAPE ? 6u : 1u) * (size_t)value->len + TEXT_STEP;
    for (uint32_t c = value->first; c; c = base[c].next)
        n += json_canonical_bound(base, &base[c]);
    return n + TEXT_STEP;
}

char *json_write(char *out, const struct json_node *base, const struct json_node *value)
{
    if (value->type == JSON_STRING)
        return json_put_text(out, value->text, value->len, (value->flags & JSON_TEXT_ESCAPE) != 0);
    if (value->type != JSON_OBJECT && value->type != JSON_ARRAY)
        return text_copy(out, value->text, value->len);
    bool object = value->type == JSON_OBJECT;
    char *start = out;
    *out++ = object ? '{' : '[';
    for (uint32_t c = value->first; c; c = base[c].next) {
        const struct json_node *n = &base[c];
        if (object) {
            out = json_put_text(out, n->key, n->key_len, (n->flags & JSON_KEY_ESCAPE) != 0);
            *out++ = ':';
        }
        out = json_write(out, base, n);
        *out++ = ',';
    }
    if (out - start > 1)
        out--;
    *out++ = object ? '}' : ']';
    return out;
}

int json_canonical(struct json_doc *doc, struct aw_str *ret)
{
    if (doc->count <= JSON_TOP)
        return -EINVAL;
    const struct json_node *top = &doc->nodes[JSON_TOP];
    size_t need = json_canonical_bound(doc->nodes, top) + TEXT_STEP;
    if (need > doc->out_capacity) {
        free(doc->out);
        doc->out = malloc(need);
        doc->out_capacity = doc->out ? need : 0;
        if (!doc->out)
            return -ENOMEM;
    }
    ret->ptr = doc->out;
    ret->len = (size_t)(json_write(doc->out, doc->nodes, top) - doc->out);
    return 0;
}
