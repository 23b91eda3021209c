/* stencil.h - the bytes of a plan's events, with holes for their values. SPDX-License-Identifier: Apache-2.0
 *
 * Events of one plan (plan.h) differ in nothing but values: names, their order, punctuation, the policy's defaults and
 * what is masked by its name stand where they stood. So while one of them is written, it is noted where its values come
 * to lie; what lies between is kept, and a later event is that text with its own values in the holes.
 *
 * A stencil is good for one plan (whatever changes the plan forgets it) and one policy, and for events without
 * contexts. It only knows values that are copied or escaped. Whatever else could come of a value is left to the
 * ordinary way, which is always open: a secret in a text, another type, a size over a limit, an action, an id or a time
 * that is worth a word.
 */
#ifndef AW_STENCIL_H
#define AW_STENCIL_H

#include "event/arena.h"

#define STENCIL_HOLES 64u
#define STENCIL_TEXT 2048u /* between the holes */
#define STENCIL_TRIES 16u  /* to cut one, without an event that it was good for */

/* In place of a node: made by us, for want of a given one. */
#define STENCIL_MADE (UINT32_MAX - 1)
#define STENCIL_EVENT_ID (UINT32_MAX - 1)
#define STENCIL_OCCURRED_AT UINT32_MAX

#define STENCIL_FIELDS 39u              /* fewer than EVENT_MAX_FIELDS: */
#define STENCIL_NO_FIELD STENCIL_FIELDS /* one is left over to be written in vain */

struct event_policy;
struct event_tree;
struct json_node;
struct prepared;
struct work;

struct stencil_hole {
    uint32_t node; /* whose value it is for */
    uint16_t text; /* fixed bytes before it */
    uint8_t field; /* index of the field that it is; or STENCIL_NO_FIELD */
    uint8_t id;    /* AW_FIELD_* */
    bool string;
};

/* A place as so many bytes behind the end of a hole; hole 0 is the beginning. */
struct stencil_place {
    uint16_t hole, more;
};

/* A field that is more than a hole, or fixed. */
struct stencil_field {
    struct stencil_place start, end;
    uint8_t field, id, flags;
};

struct stencil {
    uint64_t generation; /* of the policy; 0: there is no stencil */
    uint32_t tries;
    uint32_t bytes;      /* all fixed ones, and what is made by us */
    uint32_t redactions; /* masked by name */
    uint32_t tail;       /* fixed bytes behind the last hole */
    uint32_t hole_count, wide_count, field_count;
    struct stencil_place integrity;
    uint8_t metadata, diff, tenant, service; /* which field is it? STENCIL_NO_FIELD: none */
    bool made;                               /* something is made by us */
    struct stencil_hole holes[STENCIL_HOLES];
    struct stencil_field wide[STENCIL_FIELDS];
    char text[STENCIL_TEXT + ARENA_PAD];
};

/* What is noted while an event is written. */
struct stencil_notes {
    bool unfit; /* no stencil can be cut from this event */
    uint32_t count;
    struct stencil_note {
        uint32_t node, start, end; /* offsets in the canonical bytes */
        bool string;
    } at[STENCIL_HOLES];
};

/* node: its index, or STENCIL_EVENT_ID, STENCIL_OCCURRED_AT. In the order of the bytes. */
void stencil_note(struct stencil_notes *notes, uint32_t node, const struct json_node *n, size_t start, size_t end);
/* From an event that was prepared the ordinary way; without a stencil afterwards when that cannot be. */
void stencil_cut(struct stencil *s, const struct stencil_notes *notes, const struct event_policy *policy,
                 const struct event_tree *tree, const struct prepared *p);
/* Prepares an event of the plan and the policy: fills w->prepared as the ordinary way would, or says false and leaves
 * it to that. Allocates nothing, reports nothing. */
bool stencil_fill(struct stencil *s, struct work *w, const struct event_policy *policy, const struct event_tree *tree);

static inline void stencil_forget(struct stencil *s)
{
    s->generation = 0;
    s->tries = 0;
}

#endif
