/* schema.c - see schema.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/schema.h"

#define TEXT(name) "\"" name "\":\"", sizeof("\"" name "\":\"") - 1
#define OTHER(name) "\"" name "\":", sizeof("\"" name "\":") - 1

const struct slot_spec slot_specs[SLOT_COUNT] = {
    [SLOT_ACTION] = {TEXT("action"), AW_FIELD_ACTION, KIND_TEXT, SLOT_PROTECTED, SLOT_NONE, "action"},
    [SLOT_ACTOR] = {OTHER("actor"), AW_FIELD_ACTOR, KIND_OBJECT, 0, SLOT_NONE, "actor"},
    [SLOT_CONTEXT] = {OTHER("context"), AW_FIELD_CONTEXT, KIND_OBJECT, 0, SLOT_NONE, "context"},
    [SLOT_DIFF] = {OTHER("diff"), AW_FIELD_DIFF, KIND_OBJECT, 0, SLOT_NONE, "diff"},
    [SLOT_DIFF_TRUNCATED] = {OTHER("diffTruncated"), 0, KIND_BOOL, SLOT_PROTECTED | SLOT_UNSCANNED, SLOT_NONE,
                             "diffTruncated"},
    [SLOT_EVENT_ID] = {TEXT("eventId"), AW_FIELD_EVENT_ID, KIND_TEXT, SLOT_PROTECTED | SLOT_UNSCANNED, SLOT_NONE,
                       "eventId"},
    [SLOT_METADATA] = {OTHER("metadata"), AW_FIELD_METADATA, KIND_OBJECT, 0, SLOT_NONE, "metadata"},
    [SLOT_METADATA_TRUNCATED] = {OTHER("metadataTruncated"), 0, KIND_BOOL, SLOT_PROTECTED | SLOT_UNSCANNED, SLOT_NONE,
                                 "metadataTruncated"},
    [SLOT_OUTCOME] = {TEXT("outcome"), AW_FIELD_OUTCOME, KIND_TEXT, SLOT_PROTECTED | SLOT_UNSCANNED, SLOT_NONE,
                      "outcome"},
    [SLOT_RETENTION_TAG] = {TEXT("retentionTag"), AW_FIELD_RETENTION_TAG, KIND_TEXT, 0, SLOT_NONE, "retentionTag"},
    [SLOT_SCHEMA_VERSION] = {OTHER("schemaVersion"), 0, KIND_VERSION, SLOT_PROTECTED | SLOT_UNSCANNED, SLOT_NONE,
                             "schemaVersion"},
    [SLOT_TARGET] = {OTHER("target"), AW_FIELD_TARGET, KIND_OBJECT, 0, SLOT_NONE, "target"},
    [SLOT_ACTOR_DISPLAY_NAME] = {TEXT("displayName"), AW_FIELD_ACTOR_DISPLAY_NAME, KIND_TEXT, 0, SLOT_ACTOR,
                                 "actor.displayName"},
    [SLOT_ACTOR_ID] = {TEXT("id"), AW_FIELD_ACTOR_ID, KIND_TEXT, SLOT_PROTECTED, SLOT_ACTOR, "actor.id"},
    [SLOT_ACTOR_IP] = {TEXT("ip"), AW_FIELD_ACTOR_IP, KIND_TEXT, 0, SLOT_ACTOR, "actor.ip"},
    [SLOT_ACTOR_ROLES] = {OTHER("roles"), AW_FIELD_ACTOR_ROLES, KIND_ROLES, 0, SLOT_ACTOR, "actor.roles"},
    [SLOT_ACTOR_TYPE] = {TEXT("type"), AW_FIELD_ACTOR_TYPE, KIND_TEXT, SLOT_PROTECTED, SLOT_ACTOR, "actor.type"},
    [SLOT_ACTOR_USER_AGENT] = {TEXT("userAgent"), AW_FIELD_ACTOR_USER_AGENT, KIND_TEXT, 0, SLOT_ACTOR,
                               "actor.userAgent"},
    [SLOT_ENVIRONMENT] = {TEXT("environment"), AW_FIELD_ENVIRONMENT, KIND_TEXT, 0, SLOT_CONTEXT, "context.environment"},
    [SLOT_OCCURRED_AT] = {TEXT("occurredAt"), AW_FIELD_OCCURRED_AT, KIND_TEXT, SLOT_PROTECTED | SLOT_UNSCANNED,
                          SLOT_CONTEXT, "context.occurredAt"},
    [SLOT_ORG_ID] = {TEXT("orgId"), AW_FIELD_ORG_ID, KIND_TEXT, 0, SLOT_CONTEXT, "context.orgId"},
    [SLOT_REQUEST_ID] = {TEXT("requestId"), AW_FIELD_REQUEST_ID, KIND_TEXT, 0, SLOT_CONTEXT, "context.requestId"},
    [SLOT_SESSION_ID] = {TEXT("sessionId"), AW_FIELD_SESSION_ID, KIND_TEXT, 0, SLOT_CONTEXT, "context.sessionId"},
    [SLOT_SOURCE_HOST] = {TEXT("sourceHost"), AW_FIELD_SOURCE_HOST, KIND_TEXT, 0, SLOT_CONTEXT, "context.sourceHost"},
    [SLOT_SOURCE_INSTANCE] = {TEXT("sourceInstance"), AW_FIELD_SOURCE_INSTANCE, KIND_TEXT, 0, SLOT_CONTEXT,
                              "context.sourceInstance"},
    [SLOT_SOURCE_REGION] = {TEXT("sourceRegion"), AW_FIELD_SOURCE_REGION, KIND_TEXT, 0, SLOT_CONTEXT,
                            "context.sourceRegion"},
    [SLOT_SOURCE_SERVICE] = {TEXT("sourceService"), AW_FIELD_SOURCE_SERVICE, KIND_TEXT, SLOT_PROTECTED, SLOT_CONTEXT,
                             "context.sourceService"},
    [SLOT_SOURCE_VERSION] = {TEXT("sourceVersion"), AW_FIELD_SOURCE_VERSION, KIND_TEXT, 0, SLOT_CONTEXT,
                             "context.sourceVersion"},
    [SLOT_TENANT_ID] = {TEXT("tenantId"), AW_FIELD_TENANT_ID, KIND_TEXT, SLOT_PROTECTED, SLOT_CONTEXT,
                        "context.tenantId"},
    [SLOT_TRACE_ID] = {TEXT("traceId"), AW_FIELD_TRACE_ID, KIND_TEXT, 0, SLOT_CONTEXT, "context.traceId"},
    [SLOT_TARGET_DISPLAY_NAME] = {TEXT("displayName"), AW_FIELD_TARGET_DISPLAY_NAME, KIND_TEXT, 0, SLOT_TARGET,
                                  "target.displayName"},
    [SLOT_TARGET_ID] = {TEXT("id"), AW_FIELD_TARGET_ID, KIND_TEXT, 0, SLOT_TARGET, "target.id"},
    [SLOT_TARGET_TYPE] = {TEXT("type"), AW_FIELD_TARGET_TYPE, KIND_TEXT, SLOT_PROTECTED, SLOT_TARGET, "target.type"},
};

const struct slot_group slot_groups[GROUP_COUNT] = {
    {SLOT_ACTOR, SLOT_ACTOR_DISPLAY_NAME, SLOT_ACTOR_USER_AGENT},
    {SLOT_CONTEXT, SLOT_ENVIRONMENT, SLOT_TRACE_ID},
    {SLOT_TARGET, SLOT_TARGET_DISPLAY_NAME, SLOT_TARGET_TYPE},
};

static const struct json_shape_member members_actor[] = {
    {"id", 2, SLOT_ACTOR_ID, NULL},
    {"ip", 2, SLOT_ACTOR_IP, NULL},
    {"type", 4, SLOT_ACTOR_TYPE, NULL},
    {"roles", 5, SLOT_ACTOR_ROLES, NULL},
    {"userAgent", 9, SLOT_ACTOR_USER_AGENT, NULL},
    {"displayName", 11, SLOT_ACTOR_DISPLAY_NAME, NULL},
    {"", 0, SLOT_NONE, NULL},
};
const struct json_shape shape_actor = {
    {6, 6, 0, 6, 2, 3, 6, 6, 6, 4, 6, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6},
    members_actor,
};

static const struct json_shape_member members_context[] = {
    {"orgId", 5, SLOT_ORG_ID, NULL},
    {"traceId", 7, SLOT_TRACE_ID, NULL},
    {"tenantId", 8, SLOT_TENANT_ID, NULL},
    {"requestId", 9, SLOT_REQUEST_ID, NULL},
    {"sessionId", 9, SLOT_SESSION_ID, NULL},
    {"occurredAt", 10, SLOT_OCCURRED_AT, NULL},
    {"sourceHost", 10, SLOT_SOURCE_HOST, NULL},
    {"environment", 11, SLOT_ENVIRONMENT, NULL},
    {"sourceRegion", 12, SLOT_SOURCE_REGION, NULL},
    {"sourceService", 13, SLOT_SOURCE_SERVICE, NULL},
    {"sourceVersion", 13, SLOT_SOURCE_VERSION, NULL},
    {"sourceInstance", 14, SLOT_SOURCE_INSTANCE, NULL},
    {"", 0, SLOT_NONE, NULL},
};
const struct json_shape shape_context = {
    {12, 12, 12, 12, 12, 0, 12, 1, 2, 3, 5, 7, 8, 9, 11, 12, 12, 12, 12, 12, 12, 12, 12, 12},
    members_context,
};

static const struct json_shape_member members_target[] = {
    {"id", 2, SLOT_TARGET_ID, NULL},
    {"type", 4, SLOT_TARGET_TYPE, NULL},
    {"displayName", 11, SLOT_TARGET_DISPLAY_NAME, NULL},
    {"", 0, SLOT_NONE, NULL},
};
const struct json_shape shape_target = {
    {3, 3, 0, 3, 1, 3, 3, 3, 3, 3, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3},
    members_target,
};

static const struct json_shape_member members_event[] = {
    {"diff", 4, SLOT_DIFF, NULL},
    {"actor", 5, SLOT_ACTOR, &shape_actor},
    {"action", 6, SLOT_ACTION, NULL},
    {"target", 6, SLOT_TARGET, &shape_target},
    {"context", 7, SLOT_CONTEXT, &shape_context},
    {"eventId", 7, SLOT_EVENT_ID, NULL},
    {"outcome", 7, SLOT_OUTCOME, NULL},
    {"metadata", 8, SLOT_METADATA, NULL},
    {"retentionTag", 12, SLOT_RETENTION_TAG, NULL},
    {"diffTruncated", 13, SLOT_DIFF_TRUNCATED, NULL},
    {"schemaVersion", 13, SLOT_SCHEMA_VERSION, NULL},
    {"metadataTruncated", 17, SLOT_METADATA_TRUNCATED, NULL},
    {"", 0, SLOT_NONE, NULL},
};
const struct json_shape shape_event = {
    {12, 12, 12, 12, 0, 1, 2, 4, 7, 12, 12, 12, 8, 9, 12, 12, 12, 11, 12, 12, 12, 12, 12, 12},
    members_event,
};

/* Whole paths, for the builder. */
static const struct json_shape_member members_paths[] = {
    {"diff", 4, SLOT_DIFF, NULL},
    {"actor", 5, SLOT_ACTOR, NULL},
    {"action", 6, SLOT_ACTION, NULL},
    {"target", 6, SLOT_TARGET, NULL},
    {"context", 7, SLOT_CONTEXT, NULL},
    {"eventId", 7, SLOT_EVENT_ID, NULL},
    {"outcome", 7, SLOT_OUTCOME, NULL},
    {"actor.id", 8, SLOT_ACTOR_ID, NULL},
    {"actor.ip", 8, SLOT_ACTOR_IP, NULL},
    {"metadata", 8, SLOT_METADATA, NULL},
    {"target.id", 9, SLOT_TARGET_ID, NULL},
    {"actor.type", 10, SLOT_ACTOR_TYPE, NULL},
    {"actor.roles", 11, SLOT_ACTOR_ROLES, NULL},
    {"target.type", 11, SLOT_TARGET_TYPE, NULL},
    {"retentionTag", 12, SLOT_RETENTION_TAG, NULL},
    {"context.orgId", 13, SLOT_ORG_ID, NULL},
    {"diffTruncated", 13, SLOT_DIFF_TRUNCATED, NULL},
    {"schemaVersion", 13, SLOT_SCHEMA_VERSION, NULL},
    {"actor.userAgent", 15, SLOT_ACTOR_USER_AGENT, NULL},
    {"context.traceId", 15, SLOT_TRACE_ID, NULL},
    {"context.tenantId", 16, SLOT_TENANT_ID, NULL},
    {"actor.displayName", 17, SLOT_ACTOR_DISPLAY_NAME, NULL},
    {"context.requestId", 17, SLOT_REQUEST_ID, NULL},
    {"context.sessionId", 17, SLOT_SESSION_ID, NULL},
    {"metadataTruncated", 17, SLOT_METADATA_TRUNCATED, NULL},
    {"context.occurredAt", 18, SLOT_OCCURRED_AT, NULL},
    {"context.sourceHost", 18, SLOT_SOURCE_HOST, NULL},
    {"target.displayName", 18, SLOT_TARGET_DISPLAY_NAME, NULL},
    {"context.environment", 19, SLOT_ENVIRONMENT, NULL},
    {"context.sourceRegion", 20, SLOT_SOURCE_REGION, NULL},
    {"context.sourceService", 21, SLOT_SOURCE_SERVICE, NULL},
    {"context.sourceVersion", 21, SLOT_SOURCE_VERSION, NULL},
    {"context.sourceInstance", 22, SLOT_SOURCE_INSTANCE, NULL},
    {"", 0, SLOT_NONE, NULL},
};
static const struct json_shape shape_paths = {
    {33, 33, 33, 33, 0, 1, 2, 4, 7, 10, 11, 12, 14, 15, 33, 18, 20, 21, 25, 28, 29, 30, 32, 33},
    members_paths,
};

const struct json_shape *schema_shape(unsigned slot)
{
    return slot == SLOT_ACTOR     ? &shape_actor
           : slot == SLOT_CONTEXT ? &shape_context
           : slot == SLOT_TARGET  ? &shape_target
                                  : NULL;
}

unsigned schema_slot(const char *path, size_t len)
{
    if (len >= JSON_SHAPE_NAME)
        return SLOT_NONE;
    const struct json_shape_member *m = &shape_paths.members[shape_paths.first[len]];
    uint64_t head = text_head_exact(path, len);
    for (; m->len == len; m++) {
        if (text_head(m->name, 8) == head && (len <= 8 || memcmp(m->name + 8, path + 8, len - 8) == 0))
            return m->slot;
    }
    return SLOT_NONE;
}

unsigned schema_slot_of_field(uint32_t field)
{
    for (unsigned s = SLOT_NONE + 1; s < SLOT_COUNT; s++) {
        if (field != 0 && slot_specs[s].field == field)
            return s;
    }
    return SLOT_NONE;
}

#define WORD(a, b, c, d, e, f, g)                                                                                      \
    ((uint64_t)(a) << 56 | (uint64_t)(b) << 48 | (uint64_t)(c) << 40 | (uint64_t)(d) << 32 | (uint64_t)(e) << 24 |     \
     (uint64_t)(f) << 16 | (uint64_t)(g) << 8)

/* Without a branch for each word: which one comes cannot be foretold. */
bool schema_outcome(const char *text, size_t len)
{
    uint64_t head = text_head(text, len);
    bool seven = (head == WORD('S', 'U', 'C', 'C', 'E', 'S', 'S')) | (head == WORD('F', 'A', 'I', 'L', 'U', 'R', 'E'));
    return (seven & (len == 7)) | ((head == WORD('D', 'E', 'N', 'I', 'E', 'D', 0)) & (len == 6)) |
           ((head == WORD('E', 'R', 'R', 'O', 'R', 0, 0)) & (len == 5));
}
