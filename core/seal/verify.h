/* verify.h - the verifier's engine: rows of a trail in stored order go in, findings and reports come out.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Content (does the event have the hash it carries?) is checked row by row, in batches, by a pool of threads: a single
 * chain uses all of them. Linkage (does each event follow its predecessor?) is then done in stored order by the feeding
 * thread. A trail without a finding is, for each scope, one unbroken chain of unchanged events in their order. One
 * tampering makes few findings: after a break the chain is picked up again at the row's own hash, and what a break was
 * (a hole, an insertion, a wrong order) is told once later rows have shown it.
 *
 * All calls come from one thread; so do the callbacks of the options. Functions return AW_SUCCESS or AW_ERR_* with the
 * reason in diag, and never call diag_reset() before verifier_finish() has added its warnings.
 *
 * Memory: about 300 bytes a scope; what classifies breaks (the hashes of the newest 3 to 6 million events) at most 128
 * MiB; seqs in order next to nothing, out of order at most 64 MiB; 100 bytes for each dead letter that was replayed, up
 * to a million of them. Beyond that findings get less telling, never fewer.
 */
#ifndef AW_VERIFY_H
#define AW_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"
#include "audit/plugin.h"

/* Longer rows are not read as events: MALFORMED. Twice what an event may have, for spacing and escapes of other
 * writers. */
#define VERIFY_MAX_ROW (16u << 20)

struct verifier;

/* options is copied as far as its struct_size goes, expect_head too. AW_ERR_USAGE: expect_head or flags make no sense.
 */
int verifier_create(const struct aw_verify_options *options, struct verifier **ret);

/* From now on an event of another stream is a finding: the trail is that of one slot. */
void verifier_set_stream(struct verifier *verifier, uint32_t stream);

/* For making the record of a retention, before the first row: what of the stream has a lower seq is left out of
 * account. Of such a reading only verifier_chains() is of use. */
int verifier_set_floor(struct verifier *verifier, uint32_t stream, uint64_t seq);
/* Then, after the last row: the stream's newest seq, how many of its chains go on in the middle at the floor, and the
 * record's chainsHash (32 bytes). */
int verifier_chains(struct verifier *verifier, uint32_t stream, uint64_t *ret_newest_seq, uint64_t *ret_count,
                    uint8_t *ret_hash);
/* After verifier_finish(): how many events of the stream were removed, by the record that counts; *ret_below: of those,
 * how many are there all the same. */
uint64_t verifier_removed(struct verifier *verifier, uint32_t stream, uint64_t *ret_below);

/* One row: everything is copied. location is for people; seq is the store's own number of the row, 0 = unknown.
 * AW_ERR_NOMEM, AW_ERR_IO (the crypto library failed): verification cannot go on. */
int verifier_feed(struct verifier *verifier, struct aw_str json, struct aw_str location, uint64_t seq);

/* Between the last row and verifier_finish(). *ret_again: all rows are to be fed once more, from the first one on,
 * since events stand out of place of which records further on may say that they are replayed dead letters, or a
 * retention was stopped half-way. *verifier is then another one. A first reading gives no finding before
 * verifier_finish(), and describes 8,192 at most: without this call the rest is only counted. */
int verifier_again(struct verifier **verifier, bool *ret_again);

/* The store failed at this place: a finding; feeding may go on behind it. */
int verifier_unreadable(struct verifier *verifier, const char *location, const char *reason);

/* What came of comparing one view with the full trail; for the counts, and for the verdict on its content. */
struct verify_compared {
    bool scope_is_tenant;
    struct aw_str scope, id; /* decoded; the scope's value as in the event, "unknown" without any */
    uint32_t stream;         /* integrity.stream, 0: none */
    bool found;              /* the full trail has an event of this hash */
    bool by_reference;       /* it says that fields were changed */
    uint64_t differences, by_form;
};
int verifier_compared(struct verifier *verifier, const struct verify_compared *compared);
/* One difference, as a finding of the event's scope: AW_FINDING_EDITED or _MISSING. Texts are copied. */
int verifier_difference(struct verifier *verifier, const struct verify_compared *compared, int32_t kind,
                        const char *location, const char *expected, const char *found, const char *message);

/* Finishes all rows, gives the remaining findings and the scope reports to the callbacks and fills *report (as far as
 * its struct_size goes). What the verdict does not cover is added to diag as warnings. Once. */
int verifier_finish(struct verifier *verifier, struct aw_verify_report *report);

void verifier_destroy(struct verifier *verifier); /* NULL is fine; also without verifier_finish() */

#endif
