/* decision.h - the last decision of an all_or_nothing group: JOURNAL/together. SPDX-License-Identifier: Apache-2.0
 *
 * Once the file says that a token is decided, what is staged under it will be committed on every sink, whatever
 * happens; until then it may be rolled back. Two slots are written in turn, each with a checksum, so that a torn write
 * leaves the decision before. One thread at a time.
 */
#ifndef AW_DECISION_H
#define AW_DECISION_H

#include <stdbool.h>
#include <stdint.h>

#define DECISION_TOKEN_MAX 64
#define DECISION_MEMBERS_MAX 48

struct decision {
    uint64_t counter;                   /* of decisions; 0 = none was ever made */
    char token[DECISION_TOKEN_MAX + 1]; /* "" = none */
    uint64_t first_seq, last_seq;       /* the events it covers */
    uint32_t member_count;
    uint64_t members[DECISION_MEMBERS_MAX]; /* decision_member() of each sink that takes part */
};
uint64_t decision_member(const char *sink_name);

struct decision_file;
/* Reads what is there. 0; -EBADMSG: the file is damaged or of another journal, and *ret and *ret_last are good (none);
 * other -errno: *ret is not set. */
int decision_open(const char *state_dir, const uint8_t journal_id[16], struct decision_file **ret,
                  struct decision *ret_last);
void decision_close(struct decision_file *file);
/* Durable when it returns 0. After -errno the decision may have been stored all the same: it must be tried again until
 * it succeeds, and nothing may be rolled back. */
int decision_store(struct decision_file *file, const struct decision *decision);
const char *decision_path(const struct decision_file *file);
/* For a journal whose sinks go separate ways now: what was decided says nothing any more. 0 or -errno. */
int decision_forget(const char *state_dir);

#endif
