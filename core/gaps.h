/* gaps.h - what was dropped becomes evidence: a sealed event in the chain that lacks something.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * With mode "drop" an event that finds no room is counted here, per chain and reason. As soon as the journal takes
 * events again, each count becomes one event "auditwell.gap" in that chain:
 *
 *   actor system/auditwell, outcome FAILURE, metadata.gap { afterSeq, count, firstAt, lastAt, reason }
 *
 * afterSeq is the newest sequence number when the first event was dropped; the gap ends before the record's own.
 * The counts live in the file "gaps" of the journal's directory, mapped, so that they survive the process; what a dead
 * process left is recorded with the next start. Chains beyond GAPS_MAX are counted together, in the chain of the
 * service, with "chains":"several".
 *
 * Disk format, little endian: 64 bytes (magic "AWGAPS1\0", version 1, number of slots), then slots of 512 bytes.
 */
#ifndef AW_GAPS_H
#define AW_GAPS_H

#include "base/diag.h"
#include "event/event.h"

#include <stdatomic.h>

#define GAPS_MAX 64u
#define GAPS_NAME "gaps"

struct gaps;
/* Maps dir/gaps. When that cannot be done, the counts are kept in memory only, with a warning. 0 or -ENOMEM. */
int gaps_open(const char *dir, const struct diag_out *diag, struct gaps **ret);
void gaps_close(struct gaps *gaps);
bool gaps_exist(const char *dir); /* did a process leave the file? */

/* An event was dropped. reason: of journal_why_full(). Any thread. */
void gaps_add(struct gaps *gaps, const struct prepared *event, const char *reason, uint64_t after_seq);
uint64_t gaps_count(struct gaps *gaps); /* dropped and not recorded yet */

/* Gives every gap to seal() as the JSON text of an event; one that returns 0 is done with. Another thread that is at it
 * is left alone. */
typedef int (*gaps_seal_fn)(void *arg, const char *json, size_t len);
void gaps_settle(struct gaps *gaps, gaps_seal_fn seal, void *arg);

/* On the path of every call: is there anything to settle? */
struct gaps_shared {
    _Atomic uint32_t pending; /* slots in use */
};
static inline bool gaps_pending(const struct gaps *gaps)
{
    return gaps &&
           atomic_load_explicit(&((const struct gaps_shared *)(const void *)gaps)->pending, memory_order_relaxed) != 0;
}

#endif
