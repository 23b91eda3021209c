/* schema.h - the known members of an event, as tables. SPDX-License-Identifier: Apache-2.0
 *
 * Every known member has a slot. Slots of one object stand in canonical order, which is the order of emission.
 */
#ifndef AW_SCHEMA_H
#define AW_SCHEMA_H

#include "event/json_doc.h"

enum slot {
    SLOT_NONE,
    SLOT_ACTION,
    SLOT_ACTOR,
    SLOT_CONTEXT,
    SLOT_DIFF,
    SLOT_DIFF_TRUNCATED,
    SLOT_EVENT_ID,
    SLOT_METADATA,
    SLOT_METADATA_TRUNCATED,
    SLOT_OUTCOME,
    SLOT_RETENTION_TAG,
    SLOT_SCHEMA_VERSION,
    SLOT_TARGET,
    SLOT_ACTOR_DISPLAY_NAME,
    SLOT_ACTOR_ID,
    SLOT_ACTOR_IP,
    SLOT_ACTOR_ROLES,
    SLOT_ACTOR_TYPE,
    SLOT_ACTOR_USER_AGENT,
    SLOT_ENVIRONMENT,
    SLOT_OCCURRED_AT,
    SLOT_ORG_ID,
    SLOT_REQUEST_ID,
    SLOT_SESSION_ID,
    SLOT_SOURCE_HOST,
    SLOT_SOURCE_INSTANCE,
    SLOT_SOURCE_REGION,
    SLOT_SOURCE_SERVICE,
    SLOT_SOURCE_VERSION,
    SLOT_TENANT_ID,
    SLOT_TRACE_ID,
    SLOT_TARGET_DISPLAY_NAME,
    SLOT_TARGET_ID,
    SLOT_TARGET_TYPE,
    SLOT_COUNT
};

enum slot_kind { KIND_TEXT, KIND_OBJECT, KIND_ROLES, KIND_BOOL, KIND_VERSION };

#define SLOT_PROTECTED 1u /* never masked by names or paths: the event needs it, or its chain is named by it */
#define SLOT_UNSCANNED 2u /* has a fixed format: value scanners do not look at it */

struct slot_spec {
    char literal[24]; /* "name": with the opening quote of a text value; zero-filled */
    uint8_t literal_len, field, kind, flags;
    uint8_t parent;   /* slot of the object it belongs to, SLOT_NONE = the event */
    const char *path; /* "context.tenantId" */
};
extern const struct slot_spec slot_specs[SLOT_COUNT];

/* The name alone: the path behind its dot. */
static inline const char *slot_name(unsigned slot)
{
    const char *dot = strchr(slot_specs[slot].path, '.');
    return dot ? dot + 1 : slot_specs[slot].path;
}

#define SLOT_BIT(s) (UINT64_C(1) << (s))

/* Objects with known members: their slot, and the slots of their members. */
#define GROUP_COUNT 3u
struct slot_group {
    uint8_t slot, first, last;
};
extern const struct slot_group slot_groups[GROUP_COUNT]; /* actor, context, target: in order of emission */

extern const struct json_shape shape_event, shape_actor, shape_context, shape_target;
const struct json_shape *schema_shape(unsigned slot); /* of SLOT_ACTOR, SLOT_CONTEXT, SLOT_TARGET; else NULL */
/* The slot of a path such as "actor.id" or "metadata"; SLOT_NONE when it is none. */
unsigned schema_slot(const char *path, size_t len);
unsigned schema_slot_of_field(uint32_t field); /* AW_FIELD_*, SLOT_NONE: not a member */
/* Is it one of the words that "outcome" may have? 8 bytes from text on must be readable. */
bool schema_outcome(const char *text, size_t len);

#endif
