/* own_record.h - events that auditwell records about what it does to a store, sealed and delivered before it does it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Such a record goes the way of any event: into the journal, then to every sink. What it speaks of begins when the sink
 * in question has it.
 */
#ifndef AW_OWN_RECORD_H
#define AW_OWN_RECORD_H

#include "logger.h"

struct own_record {
    const char *config_path, *config_text; /* as for aw_open() */
    uint32_t slot;                         /* SLOTS_ANY: any that is free */
    const char *sink;
    const char *what;   /* for messages: "replay" */
    const char *undone; /* "replayed": what nothing was when this fails */
    struct diag_out diag;
    uint64_t deadline_ns; /* mono */
    size_t count;         /* of records */
    /* The JSON text of the index-th, malloc'd; NULL: no memory. */
    char *(*make)(void *arg, size_t index, size_t *ret_len);
    void *arg;
};
/* Opens the journal for it, with all sinks. AW_SUCCESS: the sink has all records, or nothing is chained there.
 * AW_ERR_BUSY: another process has the journal; AW_ERR_NOTFOUND: the sink is not enabled; both without a problem.
 * Others with one. */
int own_record_seal(const struct own_record *record);

/* Before sinks are started: each one that is new and is not given everything gets an "auditwell.begin" that says so. */
void own_record_begins(struct logger_core *core);

/* The parts of it, for a journal that is open. */
int own_record_append(struct logger_core *core, const struct own_record *record, const char *json, size_t len,
                      uint64_t *ret_seq);
struct delivery *own_record_delivery(struct logger_core *core, const char *sink); /* NULL: not enabled */

#endif
