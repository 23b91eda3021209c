/* judge.h - what a store holds, against what was promised, through the public API alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Events carry numbers in their ids (oracle_event_id()). An event is owed once its call returned AW_SUCCESS. Of each
 * store that can be read it is demanded that nothing owed is missing or altered, that no id is there twice, that the
 * seqs of each chain rise, and that the trail verifies. An event that was issued without an answer (the process was
 * killed) may be there or not. Records of gaps ("auditwell.gap") are added up.
 */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JUDGE_SCOPES 5 /* an event's chain is that of tenant number % JUDGE_SCOPES */

struct judge_event {
    uint64_t number;
    uint64_t hash; /* the first 16 digits of the receipt's hash; 0: unknown, not compared */
};
/* Of struct aw_receipt's hash. */
uint64_t judge_hash(const char *hex);

struct judge_case {
    const char *config_path, *store; /* as in struct aw_store_options */
    struct judge_event *owed;        /* sorted by judge_sort() */
    size_t owed_count;
    bool (*issued)(const void *arg, uint64_t number); /* was there ever an event with this number? */
    const void *arg;
};
struct judge_report {
    uint64_t rows;                       /* events of ours */
    uint64_t gaps, gap_events;           /* records of gaps, and what they count */
    uint64_t missing, altered;           /* owed ones */
    uint64_t twice, disordered, foreign; /* foreign: never issued */
    uint64_t findings;                   /* of aw_verify() */
    char first[300];                     /* a sentence about the first thing that is wrong; "" = nothing is */
};
void judge_sort(struct judge_event *owed, size_t count);
/* false: the store cannot be read; first says why. ret_readable (may be NULL): false when its plugin cannot read. */
bool judge_store(const struct judge_case *c, struct judge_report *ret, bool *ret_readable);
/* What is not explained: all but missing. */
uint64_t judge_unexplained(const struct judge_report *r);

/* Called for each owed number that the store does not have; NULL: nobody wants to know. Set before judge_store(). */
extern void (*judge_on_missing)(void *arg, uint64_t number);
extern void *judge_on_missing_arg;

#endif
