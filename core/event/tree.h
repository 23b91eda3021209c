/* tree.h - an event being put together: slots for known members, nodes for the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The same form comes from the JSON reader, from builders and from contexts, so that all later stations know only one.
 */
#ifndef AW_TREE_H
#define AW_TREE_H

#include "event/event.h"
#include "event/plan.h"
#include "event/schema.h"

struct event_tree {
    struct json_doc doc;
    uint32_t
        slots[SLOT_COUNT]; /* node indexes, 0 = absent; children of actor, context, target are their unknown members */
    uint64_t present;      /* bits of the slots that are there */
    size_t bound;          /* canonical bytes of all texts and names, at most; grows until reset */
    struct event_plan *plan; /* of a builder that is used again; or NULL */
};

void tree_init(struct event_tree *t);
void tree_reset(struct event_tree *t);
void tree_release(struct event_tree *t);
/* The same as tree_reset(), for a tree that will soon be set alike; see plan.h. */
void tree_repeat(struct event_tree *t);
/* Before anything but a setter looks at a tree that has a plan. False: no memory, and the tree is empty. */
bool tree_finish(struct event_tree *t);

/* A value to be set. text must be UTF-8; it is copied. */
struct tree_value {
    uint8_t type;     /* enum json_type */
    const char *text; /* strings, numbers */
    size_t len;
};

/* Both return AW_SUCCESS, AW_ERR_INVALID_EVENT with *ret_why (static), or AW_ERR_NOMEM. path as in aw_set_string(). */
int tree_set(struct event_tree *t, const char *path, const struct tree_value *value, const char **ret_why);
/* The JSON is read with reader (any document, its content is lost). */
int tree_set_json(struct event_tree *t, const char *path, struct json_doc *reader, const char *json, size_t len,
                  const char **ret_why);
int tree_set_slot(struct event_tree *t, unsigned slot, const struct tree_value *value, const char **ret_why);
/* The common case first: a string or a number, where the plan expects a value from this setter. False: nothing has
 * happened, and one of the above is to be called. path: of any content with a slot. */
bool tree_set_planned(struct event_tree *t, unsigned slot, const char *path, uint8_t type, const char *text,
                      size_t len);
/* Everything of `from`, texts included, into an empty tree. False: no memory. */
bool tree_copy(struct event_tree *t, const struct event_tree *from);

/* A copy of a node and all below it; texts are borrowed, or copied into t's arena. Returns its index, 0 without memory.
 */
uint32_t tree_import(struct event_tree *t, const struct json_node *base, const struct json_node *node, bool copy_texts);
/* Imports an object that has the members of a, and those of b that a lacks, objects below likewise. Texts are borrowed.
 */
uint32_t tree_merge(struct event_tree *t, const struct json_node *a_base, const struct json_node *a,
                    const struct json_node *b_base, const struct json_node *b);
/* Links child (name set) into the object at its place; false: a member of that name exists. */
bool tree_link(struct event_tree *t, uint32_t object, uint32_t child);

#endif
