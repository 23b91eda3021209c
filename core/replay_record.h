/* replay_record.h - before dead letters are replayed: the sealed record of it; for deadletter_api.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The record (event/replay_event.h) goes the way of any event: into the journal, then to every sink. The replay begins
 * when the sink in question has it, so that in a store that keeps the order of writing it stands before what it speaks
 * of. A replay that does not come to pass leaves a record that permits nothing but those very events.
 */
#ifndef AW_REPLAY_RECORD_H
#define AW_REPLAY_RECORD_H

#include "delivery/deadletter.h"

struct replay_record_options {
    const char *config_path, *config_text; /* as for aw_open() */
    uint32_t slot;
    const char *sink;
    struct deadletter *deadletters; /* claimed */
    struct diag_out diag;
    uint64_t first_seq, last_seq;
    uint64_t deadline_ns; /* mono */
};
/* Opens the journal for it, with all sinks. 0 also, with a warning to diag, when there can be no record since another
 * process has the journal; AW_ERR_*, with a problem: nothing is to be replayed. */
int replay_record_seal(const struct replay_record_options *options);

#endif
