/* plan.h - what a builder did for the event before. SPDX-License-Identifier: Apache-2.0
 *
 * A program sets the same paths in the same order for every event of a kind. While the setters of an event come as they
 * came for the last one, its nodes, names and links are right already, and only values are put in their places. Where
 * they differ, what was set so far is put together anew by the paths (tree.c), and the rest is recorded.
 *
 * A plan is made with the first reset of a builder; one that is used once pays nothing.
 */
#ifndef AW_PLAN_H
#define AW_PLAN_H

#include "event/arena.h"
#include "event/stencil.h"

#define PLAN_STEPS 64u  /* setters of an event */
#define PLAN_TEXT 2048u /* their paths, with NULs */

struct plan_step {
    uint32_t node;
    uint16_t path; /* offset in text */
    uint8_t slot;  /* set by tree_set_slot(); SLOT_NONE: by path */
};

enum plan_mode {
    PLAN_OFF,    /* this event cannot be repeated: no recording until the next reset */
    PLAN_RECORD, /* the tree is put together, and each setter noted */
    PLAN_FOLLOW, /* the tree stands as the last event left it; at setters of count have come */
};

struct event_plan {
    enum plan_mode mode;
    uint32_t count, at;
    size_t text_len;
    size_t names_bound; /* canonical bytes of the names at most */
    struct plan_step steps[PLAN_STEPS];
    char text[PLAN_TEXT + ARENA_PAD]; /* names in the nodes point here: they outlive the arena's texts */
    struct stencil stencil;           /* of the events that followed the plan to its end */
};

/* Was the event set as the last one was, from the first setter to the last? */
static inline bool plan_followed(const struct event_plan *plan)
{
    return plan && plan->mode == PLAN_FOLLOW && plan->at == plan->count;
}

static inline bool plan_holds(const struct event_plan *plan, const char *p)
{
    return plan && p >= plan->text && p < plan->text + PLAN_TEXT;
}

#endif
