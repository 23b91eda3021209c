/* replay.h - gives dead letters to their sink again, through an instance of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The journal is not touched here; the record of what is replayed was sealed before (replay_record.h). A letter is
 * marked as done after the sink has it for good; killed between the two, the letter is given to the sink once more the
 * next time, and a sink that keeps ids says that it is a duplicate.
 */
#ifndef AW_REPLAY_H
#define AW_REPLAY_H

#include "delivery/deadletter.h"
#include "delivery/delivery.h"

struct replay_options {
    const char *name, *where;         /* as in struct delivery_options */
    const struct aw_sink_class *sink; /* lives for ever */
    struct aw_config *config;         /* owned by replay_run() from here on */
    struct delivery_settings settings;
    struct diag_out diag;
    struct deadletter *deadletters; /* claimed */
    const struct event_pii *pii; /* as in struct delivery_options: letters are full events, the sink may not get them */
    const struct pseudonym_key *pseudonyms;
    uint64_t first_seq, last_seq;
    uint64_t deadline_ns; /* mono: no new try after it; a call of the plugin may take longer */
    /* What became of a letter: AW_REPLAY_*; text is the reason of a refusal. NULL: nobody asks. */
    void (*fn)(void *arg, const struct dl_entry *entry, int outcome, const char *text);
    void *arg;
};
/* Fills the counters of *ret. 0: every letter is settled, written or refused; else AW_ERR_*, with a problem. */
int replay_run(const struct replay_options *options, struct aw_replay_report *ret);
/* Is this letter wanted by a replay of these seqs? */
static inline bool replay_wants(const struct dl_entry *e, uint64_t first_seq, uint64_t last_seq)
{
    return e->type == DL_LETTER && e->sound && !e->replayed && e->seq >= first_seq && e->seq <= last_seq;
}

#endif
