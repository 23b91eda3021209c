/* ledger.h - what became of each event of one sink, so that nothing is counted twice or not at all.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * An event counts when the cursor moves over it. Until then what is known of it is provisional: a failed flush or a
 * restart of the sink may take it back, and then the event comes again. The provisional part is kept as runs of equal
 * outcomes, in bounded memory; when there are more runs than fit, the last one holds several outcomes, and a cursor
 * that stops in its middle counts them in the order of enum ledger_outcome: the sum is right at any time, the parts are
 * when the cursor has passed the run, unless the rest of it is taken back.
 *
 * One thread.
 */
#ifndef AW_LEDGER_H
#define AW_LEDGER_H

#include <stddef.h>
#include <stdint.h>

enum ledger_outcome {
    LEDGER_WRITTEN,   /* the sink took it */
    LEDGER_DUPLICATE, /* the sink has it, and said so */
    LEDGER_FOUND,     /* it stood in the sink's store when that was started */
    LEDGER_DEAD,      /* refused for good, kept as a dead letter */
    LEDGER_LOST,      /* the journal does not have it (any more) */
    LEDGER_OUTCOMES
};

#define LEDGER_RUNS 64
struct ledger_run {
    uint64_t last; /* seq */
    uint64_t count[LEDGER_OUTCOMES];
};

struct ledger {
    uint64_t base;                     /* the cursor at the beginning */
    uint64_t acked;                    /* up to here the events are counted */
    uint64_t settled[LEDGER_OUTCOMES]; /* of base + 1 .. acked */
    uint64_t resent;                   /* events settled again after they had been taken back */
    uint64_t last;                     /* of the provisional part; acked when there is none */
    uint64_t highest;                  /* ever settled, provisionally or not */
    size_t run_count;
    struct ledger_run runs[LEDGER_RUNS];
};

void ledger_init(struct ledger *l, uint64_t acked);
/* Event seq has this outcome. Events between the last one and it count as lost. */
void ledger_add(struct ledger *l, uint64_t seq, enum ledger_outcome outcome);
/* The cursor moves to seq. Of what lies beyond the provisional part nothing is known: it stays out of the sum. */
void ledger_ack(struct ledger *l, uint64_t seq);
void ledger_found(struct ledger *l, uint64_t seq); /* the store holds all up to seq; then the cursor moves there */
void ledger_lost(struct ledger *l, uint64_t seq);  /* all up to seq that is not known yet is lost */
void ledger_rewind(struct ledger *l);              /* forgets the provisional part */

#endif
