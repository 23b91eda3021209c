/* pii.h - compiled tags, and paths as integrity.view writes them; for event/ alone. SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_PII_H
#define AW_PII_H

#include "event/policy.h"
#include "event/view.h"

struct event_pii {
    struct event_policy *tags; /* nothing but paths */
    char *mask;
    size_t mask_len;
};

/* A path under construction: names are pushed and popped. */
struct path_text {
    char *text; /* TEXT_STEP readable bytes behind it */
    size_t len, size;
};
/* Appends a member's name; *ret_before: what path_pop() needs. false: no memory. */
bool path_push(struct path_text *path, const char *name, size_t len, size_t *ret_before);
static inline void path_pop(struct path_text *path, size_t before)
{
    path->len = before;
}

/* What integrity.view says. */
struct view_claim {
    const struct json_node *dropped, *pseudonymized; /* arrays of strings; NULL: absent */
    struct aw_str key_id;
    uint32_t fields; /* paths in both */
};
/* NULL, or what is wrong with it (static). */
const char *claim_read(const struct json_node *base, const struct json_node *view, struct view_claim *ret);

#endif
