/* event.c - the builder: the public functions that put an event together. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/context.h"
#include "event/number.h"

#include "base/diag.h"

#include <math.h>

#define INT_MAX_EXACT (INT64_C(1) << 53)

struct aw_builder *aw_builder_create(void)
{
    struct aw_builder *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    tree_init(&b->tree);
    json_doc_init(&b->reader);
    return b;
}

void aw_builder_destroy(struct aw_builder *builder)
{
    if (!builder)
        return;
    tree_release(&builder->tree);
    json_doc_release(&builder->reader);
    free(builder);
}

void aw_builder_reset(struct aw_builder *builder)
{
    if (!builder)
        return;
    tree_repeat(&builder->tree);
    builder->problem = AW_SUCCESS;
}

/* The first problem is kept for aw_log(). */
static AW_COLD int problem(struct aw_builder *b, int code, const char *path, const char *why)
{
    if (code == AW_ERR_NOMEM)
        why = "out of memory";
    (void)diag_problem(code, path, "%s", why);
    if (b->problem != AW_SUCCESS)
        return code;
    b->problem = code;
    b->problem_why = why;
    size_t len = strlen(path) < sizeof b->problem_path ? strlen(path) : sizeof b->problem_path - 1;
    memcpy(b->problem_path, path, len);
    b->problem_path[len] = '\0';
    return code;
}

static AW_COLD int no_parameter(struct aw_builder *b, const char *path)
{
    static const char why[] = "builder, path and value must not be NULL";
    return b ? problem(b, AW_ERR_USAGE, path ? path : "", why) : diag_problem(AW_ERR_USAGE, "", "%s", why);
}

static int set(struct aw_builder *b, const char *path, const struct tree_value *value)
{
    const char *why = "";
    diag_reset();
    if (AW_UNLIKELY(!b || !path))
        return no_parameter(b, path);
    int rc = tree_set(&b->tree, path, value, &why);
    return AW_LIKELY(rc == AW_SUCCESS) ? rc : problem(b, rc, path, why);
}

static inline int set_text(struct aw_builder *b, const char *path, uint8_t type, const char *text, size_t len)
{
    diag_reset();
    if (AW_LIKELY(b && path && tree_set_planned(&b->tree, SLOT_NONE, path, type, text, len)))
        return AW_SUCCESS;
    return set(b, path, &(struct tree_value){type, text, len});
}

static int set_slot(struct aw_builder *b, unsigned slot, const char *text)
{
    const char *why = "";
    struct tree_value v = {JSON_STRING, text, strlen(text)};
    if (AW_LIKELY(tree_set_planned(&b->tree, slot, "", JSON_STRING, v.text, v.len)))
        return AW_SUCCESS;
    int rc = tree_set_slot(&b->tree, slot, &v, &why);
    return AW_LIKELY(rc == AW_SUCCESS) ? rc : problem(b, rc, slot_specs[slot].path, why);
}

int aw_set_action(struct aw_builder *builder, const char *action, int outcome)
{
    static const char *const outcomes[] = {"SUCCESS", "FAILURE", "DENIED", "ERROR"};
    diag_reset();
    if (AW_UNLIKELY(!builder || !action))
        return no_parameter(builder, "action");
    if (AW_UNLIKELY(outcome < AW_OUTCOME_SUCCESS || outcome > AW_OUTCOME_ERROR))
        return problem(builder, AW_ERR_INVALID_EVENT, "outcome",
                       "must be one of AW_OUTCOME_SUCCESS, _FAILURE, _DENIED, _ERROR");
    int rc = set_slot(builder, SLOT_ACTION, action);
    int rc2 = set_slot(builder, SLOT_OUTCOME, outcomes[outcome]);
    return rc ? rc : rc2;
}

int aw_set_actor(struct aw_builder *builder, const char *type, const char *id)
{
    diag_reset();
    if (AW_UNLIKELY(!builder || !type || !id))
        return no_parameter(builder, "actor");
    int rc = set_slot(builder, SLOT_ACTOR_TYPE, type);
    int rc2 = set_slot(builder, SLOT_ACTOR_ID, id);
    return rc ? rc : rc2;
}

int aw_set_target(struct aw_builder *builder, const char *type, const char *id)
{
    diag_reset();
    if (AW_UNLIKELY(!builder || !type))
        return no_parameter(builder, "target");
    int rc = set_slot(builder, SLOT_TARGET_TYPE, type);
    int rc2 = id ? set_slot(builder, SLOT_TARGET_ID, id) : AW_SUCCESS;
    return rc ? rc : rc2;
}

int aw_set_string(struct aw_builder *builder, const char *path, const char *value)
{
    if (AW_UNLIKELY(!value))
        return no_parameter(builder, path);
    return set_text(builder, path, JSON_STRING, value, strlen(value));
}

int aw_set_text(struct aw_builder *builder, const char *path, const char *value, size_t len)
{
    if (AW_UNLIKELY(!value && len > 0))
        return no_parameter(builder, path);
    return set_text(builder, path, JSON_STRING, value, len);
}

int aw_set_int(struct aw_builder *builder, const char *path, int64_t value)
{
    char text[24];
    if (AW_UNLIKELY(value > INT_MAX_EXACT || value < -INT_MAX_EXACT) && builder && path) {
        diag_reset();
        return problem(builder, AW_ERR_INVALID_EVENT, path,
                       "beyond 2^53 a JSON number is not exact: set it as a string");
    }
    size_t len = number_format_int(value, text);
    return set_text(builder, path, JSON_NUMBER, text, len);
}

int aw_set_double(struct aw_builder *builder, const char *path, double value)
{
    char text[JSON_NUMBER_MAX];
    if (AW_UNLIKELY(!isfinite(value)) && builder && path) {
        diag_reset();
        return problem(builder, AW_ERR_INVALID_EVENT, path,
                       "JSON has no infinity and no NaN: the value must be finite");
    }
    size_t len = isfinite(value) ? json_format_double(value, text) : 0;
    return set_text(builder, path, JSON_NUMBER, text, len);
}

int aw_set_bool(struct aw_builder *builder, const char *path, int value)
{
    return set(builder, path, &(struct tree_value){value ? JSON_TRUE : JSON_FALSE, NULL, 0});
}

int aw_set_null(struct aw_builder *builder, const char *path)
{
    return set(builder, path, &(struct tree_value){JSON_NULL, NULL, 0});
}

int aw_set_object(struct aw_builder *builder, const char *path)
{
    return set(builder, path, &(struct tree_value){JSON_OBJECT, NULL, 0});
}

int aw_set_array(struct aw_builder *builder, const char *path)
{
    return set(builder, path, &(struct tree_value){JSON_ARRAY, NULL, 0});
}

int aw_set_json(struct aw_builder *builder, const char *path, const char *json, size_t len)
{
    const char *why = "";
    diag_reset();
    if (AW_UNLIKELY(!builder || !path || !json))
        return no_parameter(builder, path);
    int rc = tree_set_json(&builder->tree, path, &builder->reader, json, len, &why);
    return AW_LIKELY(rc == AW_SUCCESS) ? rc : problem(builder, rc, path, why);
}
