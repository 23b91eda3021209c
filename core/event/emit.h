/* emit.h - an event on its way from its sources to canonical bytes. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_EMIT_H
#define AW_EMIT_H

#include "event/context.h"
#include "event/policy.h"
#include "event/stencil.h"
#include "event/work.h"

#define EVENT_ID_MAX 128u

struct node_ref {
    const struct json_node *node, *base; /* base: the array in which its children's indexes count */
};

struct emit {
    const struct event_policy *policy;
    struct work *work;
    const struct event_tree *source;
    struct node_ref v[SLOT_COUNT]; /* valid where present has the slot's bit */
    uint64_t present;
    struct node_ref
        extra[GROUP_COUNT]; /* objects whose children are unknown members of actor, context, target; or NULL */
    size_t bound;           /* bytes that writing may need */
    int rc;                 /* 0, or the first AW_ERR_* */
    int64_t occurred_ns;
    uint64_t now_ns;                     /* when the clock was read; else 0 */
    bool force_metadata, force_diff;     /* write the truncation marker whatever the size */
    uint32_t metadata_bytes, diff_bytes; /* canonical size before truncation */
    struct json_node made[2];            /* values that nobody gave: eventId, occurredAt */
    char event_id[64], occurred_at[64];  /* their texts, padded */
    struct stencil_notes *notes;         /* to be filled while writing; mostly NULL */
};

/* Reports a problem of this event and remembers its code. */
void emit_problem(struct emit *e, int code, const char *path, const char *message);
/* Writes everything into work->out and work->prepared. AW_SUCCESS or AW_ERR_*, then reported. */
int emit_event(struct emit *e);
/* By which chain the event goes. tenant, service: those fields of the event; or NULL. */
void emit_scope(struct prepared *p, const struct field_ref *tenant, const struct field_ref *service);
/* The truncation marker of the payload limits; at most 100 bytes. Returns the end. */
char *limits_put_marker(char *out, size_t original_bytes);

#endif
