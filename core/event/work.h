/* work.h - a thread's work space: everything event/ needs for one event, used again for the next.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Made with a thread's first event, freed when the thread ends. Nothing in it is shared, so a forked child may go on
 * with it.
 */
#ifndef AW_WORK_H
#define AW_WORK_H

#include "base/ids.h"
#include "event/event.h"
#include "event/redact.h"
#include "event/tree.h"

#define WORK_STACK 32u /* aw_context_push() */

struct work {
    struct prepared prepared, kept; /* kept: event_keep() */
    struct event_tree in;           /* an event that came as JSON */
    struct event_tree merged;       /* objects put together from several sources */
    struct redactor redactor;       /* verdicts on names, masked texts */
    struct ids_source ids;
    char *out, *kept_out; /* canonical bytes of the prepared event and of the kept one */
    size_t out_capacity, kept_capacity;
    struct json_doc stored; /* event_parse_stored(), aw_json_field() */
    struct json_doc full;   /* event_view_check(): what a view is compared with */
    char *stored_out;       /* canonical bytes of a stored event that was not canonical */
    size_t stored_capacity;
    const struct aw_context *stack[WORK_STACK]; /* [0] is the bottom */
    size_t depth;
};

struct work *work_get(void);  /* NULL: out of memory */
struct work *work_peek(void); /* NULL: this thread has none yet */
/* Grows a buffer of bytes to at least need; false without memory (the buffer is unchanged). keep: its content matters.
 */
bool work_reserve(char **buffer, size_t *capacity, size_t need, bool keep);

#endif
