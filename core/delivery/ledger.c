/* ledger.c - see ledger.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/ledger.h"

#include <stdbool.h>
#include <string.h>

void ledger_init(struct ledger *l, uint64_t acked)
{
    memset(l, 0, sizeof *l);
    l->base = l->acked = l->last = l->highest = acked;
}

/* Does the last run hold nothing but this outcome? */
static bool continues(const struct ledger *l, enum ledger_outcome outcome)
{
    const struct ledger_run *run = &l->runs[l->run_count - 1];
    for (int i = 0; i < LEDGER_OUTCOMES; i++)
        if (i != (int)outcome && run->count[i] > 0)
            return false;
    return true;
}

static void extend(struct ledger *l, uint64_t upto, enum ledger_outcome outcome)
{
    if (l->run_count == 0 || (l->run_count < LEDGER_RUNS && !continues(l, outcome)))
        l->runs[l->run_count++] = (struct ledger_run){0};
    struct ledger_run *run = &l->runs[l->run_count - 1];
    run->count[outcome] += upto - l->last;
    run->last = upto;
    l->last = upto;
}

void ledger_add(struct ledger *l, uint64_t seq, enum ledger_outcome outcome)
{
    if (seq <= l->last)
        return;
    if (seq - 1 > l->last)
        extend(l, seq - 1, LEDGER_LOST);
    extend(l, seq, outcome);
    if (seq <= l->highest)
        l->resent++;
    else
        l->highest = seq;
}

void ledger_ack(struct ledger *l, uint64_t seq)
{
    size_t done = 0;
    while (done < l->run_count && l->acked < seq) {
        struct ledger_run *run = &l->runs[done];
        uint64_t upto = run->last < seq ? run->last : seq, left = upto - l->acked;
        for (int i = 0; i < LEDGER_OUTCOMES && left > 0; i++) {
            uint64_t n = run->count[i] < left ? run->count[i] : left;
            l->settled[i] += n;
            run->count[i] -= n;
            left -= n;
        }
        l->acked = upto;
        done += run->last <= upto;
    }
    l->run_count -= done;
    memmove(l->runs, l->runs + done, l->run_count * sizeof l->runs[0]);
    if (l->acked < seq)
        l->acked = l->last = seq; /* a fault of the caller's, which shows in the sum */
    if (l->highest < l->acked)
        l->highest = l->acked;
}

void ledger_found(struct ledger *l, uint64_t seq)
{
    if (seq > l->last)
        extend(l, seq, LEDGER_FOUND);
    ledger_ack(l, seq);
}

void ledger_lost(struct ledger *l, uint64_t seq)
{
    if (seq > l->last)
        extend(l, seq, LEDGER_LOST);
}

void ledger_rewind(struct ledger *l)
{
    l->run_count = 0;
    l->last = l->acked;
}
