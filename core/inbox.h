/* inbox.h - asking the process that has a journal open to seal a record of a retention into it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A store that each slot has for itself verifies by itself only if the record of what was removed from it is of the
 * same slot. When a process has that slot, its journal is its own: so the record is put into JOURNAL/inbox/ID.json,
 * whoever has the journal open looks there once a second, seals it, waits until the sink has it, and answers in
 * ID.answer: "ok", or why not. Nothing else than such a record is taken from there. Who can write into the journal's
 * directory could have sealed one anyway.
 */
#ifndef AW_INBOX_H
#define AW_INBOX_H

#include "logger.h"

/* The process that has the journal. One thread; state is zeros to begin with. */
struct inbox {
    char id[40];           /* of what is under way; "" = nothing */
    uint64_t seq;          /* of the record */
    struct delivery *sink; /* which is to have it */
    uint64_t give_up_mono_ns;
};
void inbox_serve(struct logger_core *core, struct inbox *inbox);
void inbox_end(struct inbox *inbox); /* leaves what is under way without an answer */

/* The one who asks. journal: the slot's directory. AW_SUCCESS: the sink has the record. AW_ERR_TIMEOUT: nobody took it,
 * AW_ERR_IO: it was refused, or a file could not be written; with a problem. */
int inbox_ask(const char *journal, const char *sink, const char *id, const char *json, size_t len,
              uint64_t deadline_mono_ns);

#endif
