/* context.h - contexts and builders inside event/. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_CONTEXT_H
#define AW_CONTEXT_H

#include "event/event.h"
#include "event/tree.h"

struct aw_context {
    struct event_tree tree;
    uint8_t provenance[SLOT_COUNT]; /* AW_PROVENANCE_*; 0: set by the application itself */
};

struct aw_builder {
    struct event_tree tree;
    struct json_doc reader;  /* aw_set_json() */
    int problem;             /* the first AW_ERR_* of a setter */
    const char *problem_why; /* static */
    char problem_path[200];
};

#endif
