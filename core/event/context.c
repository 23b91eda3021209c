/* context.c - sets of defaults, and the thread's stack of them. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/context.h"
#include "event/work.h"

#include "base/diag.h"

#define FIELD_MAX_BYTES 8192u

struct aw_context *aw_context_create(void)
{
    struct aw_context *c = calloc(1, sizeof *c);
    if (c)
        tree_init(&c->tree);
    return c;
}

void aw_context_destroy(struct aw_context *context)
{
    if (!context)
        return;
    tree_release(&context->tree);
    free(context);
}

static AW_COLD int context_problem(int rc, const char *path, const char *why)
{
    return diag_problem(rc, path ? path : "", "%s", rc == AW_ERR_NOMEM ? "out of memory" : why);
}

/* A context holds defaults: what tells one event from another is no default. */
static const char *refused(const char *path)
{
    unsigned slot = schema_slot(path, strlen(path));
    return slot == SLOT_EVENT_ID || slot == SLOT_SCHEMA_VERSION || slot == SLOT_METADATA_TRUNCATED ||
                   slot == SLOT_DIFF_TRUNCATED
               ? "belongs to one event: a context cannot hold it"
               : NULL;
}

int aw_context_set(struct aw_context *context, const char *path, const char *value)
{
    const char *why = "context, path and value must not be NULL";
    diag_reset();
    if (!context || !path || !value)
        return context_problem(AW_ERR_USAGE, path, why);
    if (refused(path))
        return context_problem(AW_ERR_INVALID_EVENT, path, refused(path));
    int rc = tree_set(&context->tree, path, &(struct tree_value){JSON_STRING, value, strlen(value)}, &why);
    return rc == AW_SUCCESS ? rc : context_problem(rc, path, why);
}

int aw_context_set_json(struct aw_context *context, const char *path, const char *json, size_t len)
{
    const char *why = "context, path and json must not be NULL";
    diag_reset();
    if (!context || !path || !json)
        return context_problem(AW_ERR_USAGE, path, why);
    if (refused(path))
        return context_problem(AW_ERR_INVALID_EVENT, path, refused(path));
    struct json_doc reader;
    json_doc_init(&reader);
    int rc = tree_set_json(&context->tree, path, &reader, json, len, &why);
    json_doc_release(&reader);
    return rc == AW_SUCCESS ? rc : context_problem(rc, path, why);
}

int aw_context_push(const struct aw_context *context)
{
    diag_reset();
    if (!context)
        return context_problem(AW_ERR_USAGE, "", "context must not be NULL");
    struct work *w = work_get();
    if (!w)
        return context_problem(AW_ERR_NOMEM, "", "");
    if (w->depth == WORK_STACK)
        return context_problem(AW_ERR_USAGE, "", "the thread's stack of contexts is 32 deep: pop before pushing more");
    w->stack[w->depth++] = context;
    return AW_SUCCESS;
}

int aw_context_pop(void)
{
    struct work *w = work_peek();
    diag_reset();
    if (!w || w->depth == 0)
        return context_problem(AW_ERR_USAGE, "", "the thread's stack of contexts is empty");
    w->depth--;
    return AW_SUCCESS;
}

struct aw_context *event_context_clone(const struct aw_context *context)
{
    struct aw_context *c = aw_context_create();
    if (!c || !context)
        return c;
    if (!tree_copy(&c->tree, &context->tree)) {
        aw_context_destroy(c);
        return NULL;
    }
    memcpy(c->provenance, context->provenance, sizeof c->provenance);
    return c;
}

/* What a stronger source has said is not overwritten by a weaker one (S16): a claimed address never hides the peer's.
 */
int32_t event_context_set_field(struct aw_context *context, uint32_t field, struct aw_str value, int32_t provenance)
{
    unsigned slot = schema_slot_of_field(field);
    const char *why = "";
    if (!context || slot == SLOT_NONE || slot_specs[slot].kind != KIND_TEXT || refused(slot_specs[slot].path))
        return AW_E_REJECTED;
    if (provenance <= 0 || provenance > UINT8_MAX || (value.len > 0 && !value.ptr))
        return AW_E_REJECTED;
    if (context->provenance[slot] != 0 && context->provenance[slot] < provenance)
        return AW_OK;
    if (value.len > FIELD_MAX_BYTES) /* cut at a character */
        for (value.len = FIELD_MAX_BYTES; value.len > 0 && ((unsigned char)value.ptr[value.len] & 0xc0) == 0x80;)
            value.len--;
    int rc = tree_set_slot(&context->tree, slot, &(struct tree_value){JSON_STRING, value.ptr, value.len}, &why);
    if (rc != AW_SUCCESS)
        return rc == AW_ERR_NOMEM ? AW_E_NOMEM : AW_E_REJECTED;
    context->provenance[slot] = (uint8_t)provenance;
    return AW_OK;
}
