/* test_ledger.c - the ledger of one sink, alone and against a table that keeps every event's outcome.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"

#include "base/base.h"
#include "delivery/ledger.h"

static uint64_t sum(const struct ledger *l)
{
    uint64_t n = 0;
    for (int i = 0; i < LEDGER_OUTCOMES; i++)
        n += l->settled[i];
    return n;
}

static void counts_when_acknowledged(void)
{
    struct ledger l;
    ledger_init(&l, 10);
    ledger_add(&l, 11, LEDGER_WRITTEN);
    ledger_add(&l, 12, LEDGER_DEAD);
    ledger_add(&l, 13, LEDGER_DUPLICATE);
    CU_ASSERT_EQUAL(sum(&l), 0);
    ledger_ack(&l, 12);
    CU_ASSERT_EQUAL(l.settled[LEDGER_WRITTEN], 1);
    CU_ASSERT_EQUAL(l.settled[LEDGER_DEAD], 1);
    CU_ASSERT_EQUAL(l.settled[LEDGER_DUPLICATE], 0);
    ledger_ack(&l, 11); /* never back */
    ledger_ack(&l, 13);
    CU_ASSERT_EQUAL(l.settled[LEDGER_DUPLICATE], 1);
    CU_ASSERT_EQUAL(sum(&l), 3);
    CU_ASSERT_EQUAL(l.resent, 0);
}

static void gaps_are_lost(void)
{
    struct ledger l;
    ledger_init(&l, 0);
    ledger_add(&l, 1, LEDGER_WRITTEN);
    ledger_add(&l, 5, LEDGER_WRITTEN);
    ledger_ack(&l, 3); /* in the middle of the gap */
    CU_ASSERT_EQUAL(l.settled[LEDGER_LOST], 2);
    ledger_ack(&l, 5);
    CU_ASSERT_EQUAL(l.settled[LEDGER_LOST], 3);
    CU_ASSERT_EQUAL(l.settled[LEDGER_WRITTEN], 2);
    ledger_lost(&l, 9); /* the journal ends with events that are missing */
    ledger_ack(&l, 9);
    CU_ASSERT_EQUAL(l.settled[LEDGER_LOST], 7);
    CU_ASSERT_EQUAL(sum(&l), 9);
}

static void rewinds_take_back(void)
{
    struct ledger l;
    ledger_init(&l, 0);
    for (uint64_t i = 1; i <= 10; i++)
        ledger_add(&l, i, LEDGER_WRITTEN);
    ledger_ack(&l, 4);
    ledger_rewind(&l);
    CU_ASSERT_EQUAL(sum(&l), 4);
    for (uint64_t i = 5; i <= 12; i++) /* the same again, one of them refused now */
        ledger_add(&l, i, i == 7 ? LEDGER_DEAD : LEDGER_WRITTEN);
    CU_ASSERT_EQUAL(l.resent, 6);
    ledger_ack(&l, 12);
    CU_ASSERT_EQUAL(l.settled[LEDGER_WRITTEN], 11);
    CU_ASSERT_EQUAL(l.settled[LEDGER_DEAD], 1);
}

static void what_the_store_has_is_found(void)
{
    struct ledger l;
    ledger_init(&l, 0);
    ledger_add(&l, 1, LEDGER_WRITTEN);
    ledger_add(&l, 2, LEDGER_WRITTEN);
    ledger_found(&l, 5); /* two of them are known */
    CU_ASSERT_EQUAL(l.settled[LEDGER_WRITTEN], 2);
    CU_ASSERT_EQUAL(l.settled[LEDGER_FOUND], 3);
    /* a cursor that moves without a reason must show */
    ledger_ack(&l, 8);
    CU_ASSERT_EQUAL(sum(&l), 5);
    ledger_add(&l, 9, LEDGER_WRITTEN);
    ledger_ack(&l, 9);
    CU_ASSERT_EQUAL(sum(&l), 6);
}

/* Random schedules: the sum is right at every step, the parts whenever nothing is provisional; and they are right at
 * every step as long as the runs fit. */
static void agrees_with_a_table(void)
{
    enum { EVENTS = 3000 };
    uint64_t state = harness_seed();
    static uint8_t outcome[EVENTS + 1];
    for (int round = 0; round < (harness_slow() ? 50 : 500); round++) {
        struct ledger l;
        uint64_t acked = harness_random(&state) % 5, base = acked, last = acked, changes = harness_random(&state) % 4;
        bool crowded = false, mixed = false; /* mixed: part of a crowded run was taken back */
        ledger_init(&l, acked);
        while (last < EVENTS - 200) {
            uint64_t n = harness_random(&state) % 150;
            for (uint64_t i = 0; i < n; i++) {
                uint64_t seq = last + 1 + (harness_random(&state) % 40 == 0 ? harness_random(&state) % 3 : 0);
                enum ledger_outcome o = harness_random(&state) % 20 <= changes ? harness_random(&state) % 4 : 0;
                for (uint64_t k = last + 1; k < seq; k++)
                    outcome[k] = LEDGER_LOST;
                outcome[seq] = (uint8_t)o;
                ledger_add(&l, seq, o);
                last = seq;
            }
            crowded = crowded || l.run_count == LEDGER_RUNS;
            if (harness_random(&state) % 6 == 0) {
                ledger_rewind(&l);
                last = acked;
                mixed = mixed || crowded;
            }
            if (last > acked && harness_random(&state) % 2)
                acked += harness_random(&state) % (last - acked + 1);
            ledger_ack(&l, acked);
            uint64_t expected[LEDGER_OUTCOMES] = {0};
            for (uint64_t k = base + 1; k <= acked; k++)
                expected[outcome[k]]++;
            bool same = memcmp(expected, l.settled, sizeof expected) == 0;
            if (sum(&l) != acked - base || (!same && (!crowded || (acked == last && !mixed)))) {
                CU_FAIL("the ledger does not agree");
                return;
            }
        }
    }
}

HARNESS_MAIN("ledger", {"counts when the cursor moves", counts_when_acknowledged}, {"gaps are lost", gaps_are_lost},
             {"a rewind takes back", rewinds_take_back}, {"found in the store", what_the_store_has_is_found},
             {"agrees with a table over random schedules", agrees_with_a_table})
