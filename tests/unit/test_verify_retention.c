/* test_verify_retention.c - the verifier and trails whose beginning was removed: what a record permits, and nothing
 * else.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * HARNESS_SEED replays a run.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "verify_trail.h"

#define RECORD_SCOPE 1u

static unsigned pick(uint64_t *state, unsigned below)
{
    return (unsigned)(harness_random(state) % below);
}

static size_t find_seq(const struct trail *t, uint64_t seq)
{
    for (size_t i = 0; i < t->count; i++)
        if (trail_seq(&t->lines[i]) == seq)
            return i;
    CU_FAIL("no such seq");
    return 0;
}

static void cut(struct trail *t, uint64_t keep_seq)
{
    while (t->count > 0 && trail_seq(&t->lines[0]) < keep_seq)
        trail_delete(t, 0);
}

/* 30 events of three chains, a record by which all before 14 may go, 6 more events. */
static void make(struct trail *t, int lie)
{
    trail_make(t, TRAIL_CANONICAL, 30, 3);
    trail_retention(t, RECORD_SCOPE, "box", 14, lie);
    for (unsigned i = 100; i < 106; i++)
        trail_add(t, i % 3, i);
}

static const struct trail_check named = {0, 0, NULL, 0, "box"}, other = {0, 0, NULL, 0, "db"},
                                complete = {AW_VERIFY_COMPLETE, 0, NULL, 0, NULL},
                                midchain = {AW_VERIFY_MIDCHAIN, 0, NULL, 0, NULL};

static void expect_removed(const struct trail *t, const struct trail_check *check, uint64_t removed)
{
    const struct trail_result *r = trail_verify(t, check);
    expect_good(r);
    CU_ASSERT_EQUAL(r->report.removed, removed);
    CU_ASSERT_STRING_EQUAL(r->report.removed_sink, removed ? "box" : "");
    CU_ASSERT_EQUAL(r->report.removed_before_ns, removed ? INT64_C(1767326400000000000) : 0);
}

static void expect_found(const struct trail *t, const struct trail_check *check, const char *what)
{
    const struct trail_result *r = trail_verify(t, check);
    CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == AW_VERDICT_FINDINGS);
    if (r->report.verdict != AW_VERDICT_FINDINGS)
        harness_note("not found: %s", what);
}

static void expect_one(const struct trail *t, const struct trail_check *check, const char *message)
{
    expect_findings(trail_verify(t, check), (struct want[]){{AW_FINDING_HOLE, NULL, message}, {0, NULL, NULL}},
                    message);
}

/* Whenever a retention is stopped: recorded and nothing removed, any part of it removed, all of it. */
static void test_honest(void)
{
    struct trail t;
    make(&t, 0);
    expect_removed(&t, &complete, 0);
    for (uint64_t from = 1; from <= 14; from++) {
        cut(&t, from);
        expect_removed(&t, &named, from > 1 ? 13 : 0);
        expect_removed(&t, NULL, from > 1 ? 13 : 0);
        expect_good(trail_verify(&t, &midchain));
        if (from > 1)
            expect_found(&t, &complete, "not complete");
    }
    CU_ASSERT_STRING_EQUAL(trail_verify(&t, NULL)->report.removed_record, "trail.jsonl:18");
    CU_ASSERT_PTR_NOT_NULL(strstr(trail_verify(&t, NULL)->warnings, "whether this is the store of that sink"));
    CU_ASSERT_PTR_NULL(strstr(trail_verify(&t, &named)->warnings, "whether this is the store of that sink"));
    expect_one(&t, &other, "begins at seq 14: what stood before it is missing, and no sealed record");
    /* One more than the record says. */
    cut(&t, 15);
    expect_one(&t, &named, "everything from seq 14 on stays: 1 more are missing");
    expect_good(trail_verify(&t, &midchain));
    trail_free(&t);
}

/* A record that speaks of other things than there are. */
static void test_lies(void)
{
    static const struct {
        int lie;
        const char *message;
    } lies[] = {{TRAIL_LIE_HASH, "the event that stays first"},
                {TRAIL_LIE_CHAINS, "the chains do not begin as they did"},
                {TRAIL_LIE_STREAM, "no sealed record"},
                {TRAIL_LIE_SEQ, "everything from seq 13 on stays: 1 more are missing"}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct trail t;
        make(&t, lies[i].lie);
        cut(&t, 14);
        expect_one(&t, &named, lies[i].message);
        trail_free(&t);
    }
    struct trail t;
    make(&t, TRAIL_NO_CHAINS);
    cut(&t, 14);
    expect_removed(&t, &named, 13);
    trail_free(&t);
}

/* A store that was given nothing before its begin: the record is its first event, or stands further on. */
static void test_begin(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 30, 3);
    trail_retention(&t, RECORD_SCOPE, "box", 31, TRAIL_BEGIN);
    trail_add(&t, 0, 50);
    trail_add(&t, 1, 51);
    cut(&t, 31);
    const struct trail_result *r = trail_verify(&t, &named);
    expect_good(r);
    CU_ASSERT_EQUAL(r->report.removed, 0);
    expect_found(&t, &other, "another sink's begin");
    /* Later it is pruned, too. */
    trail_retention(&t, RECORD_SCOPE, "box", 33, 0);
    expect_good(trail_verify(&t, &named));
    cut(&t, 32);
    expect_good(trail_verify(&t, &named));
    cut(&t, 33);
    expect_good(trail_verify(&t, &named));
    cut(&t, 34);
    expect_found(&t, &named, "cut to the record");
    trail_free(&t);
    trail_make(&t, TRAIL_CANONICAL, 30, 3);
    trail_retention(&t, RECORD_SCOPE, "box", 21, TRAIL_BEGIN);
    cut(&t, 21);
    expect_good(trail_verify(&t, &named));
    cut(&t, 22);
    expect_one(&t, &named, "begins at seq 22");
    trail_free(&t);
}

/* The record of the first retention goes with the second one; chains that went wholly go on later. */
static void test_again(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 30, 4);
    trail_retention(&t, RECORD_SCOPE, "box", 10, 0);
    cut(&t, 10);
    for (unsigned i = 0; i < 20; i++)
        trail_add(&t, i % 2, 200 + i); /* two chains say nothing for a while */
    expect_removed(&t, &named, 9);
    trail_retention(&t, RECORD_SCOPE, "box", 40, 0);
    for (uint64_t from = 10; from <= 40; from++) {
        cut(&t, from);
        expect_removed(&t, &named, from == 10 ? 9 : 39);
    }
    for (unsigned i = 0; i < 4; i++)
        trail_add(&t, i, 300 + i);
    expect_removed(&t, &named, 39);
    trail_free(&t);
}

/* The first event of a chain that is left is taken out, and one of a new chain put in with its seq. */
static void test_swapped(void)
{
    struct trail t;
    for (uint64_t seq = 14; seq < 20; seq++) {
        make(&t, 0);
        cut(&t, 14);
        size_t at = find_seq(&t, seq);
        trail_delete(&t, at);
        trail_forge(&t, 4, 900, "", seq);
        trail_move(&t, t.count - 1, at);
        expect_found(&t, &named, "swapped");
        trail_free(&t);
    }
}

/* ---- random ---- */

struct life {
    struct trail t;
    uint64_t floor; /* the trail begins at, or by a stopped retention before, it */
    bool recorded;  /* somewhere, if floor > 1 */
    unsigned scopes;
};

static void live(struct life *l, uint64_t *seed, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        trail_add(&l->t, pick(seed, l->scopes), (unsigned)l->t.next_seq);
}

/* One to four retentions, each carried out wholly, partly or not at all. */
static void random_life(struct life *l, uint64_t *seed)
{
    trail_init(&l->t, TRAIL_CANONICAL);
    l->scopes = 2 + pick(seed, 5);
    l->floor = 1;
    live(l, seed, 10 + pick(seed, 30));
    for (unsigned run = 1 + pick(seed, 4); run > 0; run--) {
        uint64_t low = trail_seq(&l->t.lines[0]), high = l->t.next_seq - 1;
        uint64_t keep = low + 1 + pick(seed, (unsigned)(high - low));
        if (keep < l->floor)
            keep = l->floor; /* a later plan says no less */
        trail_retention(&l->t, pick(seed, l->scopes), "box", keep, pick(seed, 8) ? 0 : TRAIL_NO_CHAINS);
        live(l, seed, pick(seed, 4));
        l->floor = keep;
        if (pick(seed, 4) > 0)
            cut(&l->t, pick(seed, 3) ? keep : low + pick(seed, (unsigned)(keep - low) + 1));
        live(l, seed, 2 + pick(seed, 20));
    }
}

/* false: not possible here, or permitted. */
static bool tamper(struct life *l, uint64_t *seed, char what[80])
{
    struct trail *t = &l->t;
    size_t at = pick(seed, (unsigned)t->count);
    uint64_t seq = trail_seq(&t->lines[at]);
    switch (pick(seed, 6)) {
    case 0: /* a stopped retention may go on */
        snprintf(what, 80, "seq %llu deleted", (unsigned long long)seq);
        if (seq + 1 == t->next_seq || seq < l->floor)
            return false;
        trail_delete(t, at);
        return true;
    case 1:
        snprintf(what, 80, "seq %llu again", (unsigned long long)seq);
        trail_duplicate(t, at, pick(seed, (unsigned)t->count));
        return true;
    case 2:
        snprintf(what, 80, "seq %llu edited", (unsigned long long)seq);
        trail_edit(t, at, "SUCCESS", "FAILURE");
        return true;
    case 3: /* the beginning, further than recorded */
        seq = l->floor + 1 + pick(seed, (unsigned)(t->next_seq - l->floor));
        snprintf(what, 80, "cut before %llu instead of %llu", (unsigned long long)seq, (unsigned long long)l->floor);
        if (seq >= t->next_seq)
            return false;
        cut(t, seq);
        return true;
    case 4: { /* moved over another one of its chain */
        size_t to = pick(seed, (unsigned)t->count);
        bool over = false;
        snprintf(what, 80, "line %zu moved to %zu", at + 1, to + 1);
        for (size_t i = at < to ? at + 1 : to; i < (at < to ? to + 1 : at); i++)
            over |= t->lines[i].scope == t->lines[at].scope;
        if (!over)
            return false;
        trail_move(t, at, to);
        return true;
    }
    default: { /* a record put in at the end, and the trail cut by it */
        uint64_t keep = l->floor + 1 + pick(seed, (unsigned)(t->next_seq - l->floor));
        snprintf(what, 80, "forged record for %llu", (unsigned long long)keep);
        if (keep >= t->next_seq)
            return false;
        char head[65];
        memcpy(head, t->head[RECORD_SCOPE], 65);
        memset(t->head[RECORD_SCOPE], 'a', 64);
        t->head[RECORD_SCOPE][64] = '\0';
        trail_retention(t, RECORD_SCOPE, "box", keep, 0);
        memcpy(t->head[RECORD_SCOPE], head, 65);
        t->next_seq--; /* the next true event tells that it is none of ours */
        trail_add(t, pick(seed, l->scopes), 999);
        cut(t, keep);
        return true;
    }
    }
}

static void test_random(void)
{
    uint64_t seed = harness_seed(), removed = 0;
    unsigned rounds = harness_slow() ? 150 : 1500, tampered = 0;
    for (unsigned round = 0; round < rounds && CU_get_number_of_failures() < 20; round++) {
        struct life l;
        random_life(&l, &seed);
        const struct trail_result *r = trail_verify(&l.t, &named);
        CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == 0);
        removed += r->report.removed;
        if (r->report.verdict != 0) {
            harness_note("round %u: an honest trail was not accepted", round);
            trail_print(r);
        }
        for (unsigned tries = 0; tries < 8; tries++) {
            char what[80];
            struct life bad = l;
            trail_copy(&bad.t, &l.t);
            if (tamper(&bad, &seed, what)) {
                tampered++;
                r = trail_verify(&bad.t, &named);
                CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == 1);
                if (r->report.verdict != 1)
                    harness_note("round %u: not found: %s", round, what);
            }
            trail_free(&bad.t);
        }
        trail_free(&l.t);
    }
    harness_note("%u honest trails that lack %llu events, %u tampered ones", rounds, (unsigned long long)removed,
                 tampered);
    CU_ASSERT(removed > rounds && tampered > rounds);
}

HARNESS_MAIN("verify_retention", {"recorded, and stopped anywhere", test_honest},
             {"records that do not fit", test_lies}, {"stores that begin later", test_begin},
             {"retention of a record", test_again}, {"events swapped at a begin", test_swapped},
             {"random retentions and random tampering", test_random})
