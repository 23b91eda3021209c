/* event_random.h - random events for builders, of one shape for a while. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_EVENT_RANDOM_H
#define AW_EVENT_RANDOM_H

#include "audit/audit.h"

#include <stddef.h>
#include <stdint.h>

enum setter_kind { ACTION, ACTOR, TARGET, TEXT, INT, DOUBLE, BOOL, NOTHING, OBJECT, ROLE, OURS };
struct setter {
    enum setter_kind kind;
    unsigned path;
};
#define EVENT_SETTERS 30u
struct event_shape {
    size_t count;
    struct setter setters[EVENT_SETTERS];
};

/* random: the generator's state, moved on. */
void random_shape(struct event_shape *s, uint64_t *random);
void random_change(struct event_shape *s, uint64_t *random); /* a little; or nothing */
/* The setters with values drawn from `random`: the same for the same number. Some values are wrong, or odd. */
void random_event(struct aw_builder *b, const struct event_shape *s, uint64_t random);

#endif
