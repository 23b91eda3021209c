/* test_verify_replay.c - the verifier and dead letters that were replayed: what a record permits, and nothing else.
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
#define DEAD_MAX 128u

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

/* The lines with these seqs (0-ended) go behind a record at the end, as a replay puts them there. */
static void replay(struct trail *t, const char *sink, const uint64_t *seqs)
{
    struct trail_line copies[DEAD_MAX]; /* the trail's lines may move while it grows */
    const struct trail_line *named[DEAD_MAX] = {NULL};
    size_t n = 0;
    for (; seqs[n]; n++) {
        copies[n] = t->lines[find_seq(t, seqs[n])];
        named[n] = &copies[n];
    }
    trail_record(t, RECORD_SCOPE, sink, named, n);
    for (size_t i = 0; i < n; i++)
        trail_move(t, find_seq(t, seqs[i]), t->count - 1);
}

/* 30 events of three chains; seqs 7, 10, 11 and 16 are dead letters: 7, 10 and 16 follow each other in one chain. */
static const uint64_t some[] = {7, 10, 11, 16, 0};
static void make(struct trail *t)
{
    trail_make(t, TRAIL_CANONICAL, 30, 3);
    replay(t, "box", some);
    for (unsigned i = 100; i < 106; i++)
        trail_add(t, i % 3, i);
}

static const struct trail_check whole = {AW_VERIFY_COMPLETE, 0, NULL, 0, NULL};

static void expect_replayed(const struct trail *t, const struct trail_check *check, uint64_t count)
{
    const struct trail_result *r = trail_verify(t, check);
    expect_good(r);
    CU_ASSERT_EQUAL(r->report.replayed, count);
    CU_ASSERT_STRING_EQUAL(r->report.replayed_sink, count ? "box" : "");
}

static void expect_found(const struct trail *t, const struct trail_check *check, const char *what)
{
    const struct trail_result *r = trail_verify(t, check);
    CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == AW_VERDICT_FINDINGS);
    if (r->report.verdict != AW_VERDICT_FINDINGS)
        harness_note("not found: %s", what);
}

static void test_honest(void)
{
    struct trail t;
    make(&t);
    expect_replayed(&t, &whole, 4);
    const struct trail_check named = {AW_VERIFY_COMPLETE, 2, NULL, 0, "box"},
                             partial = {AW_VERIFY_PARTIAL, 0, NULL, 0, NULL};
    expect_replayed(&t, &named, 4);
    expect_replayed(&t, &partial, 4);
    CU_ASSERT_PTR_NOT_NULL(strstr(trail_verify(&t, NULL)->warnings, "whether this is the store of that sink"));
    CU_ASSERT_PTR_NULL(strstr(trail_verify(&t, &named)->warnings, "whether this is the store of that sink"));
    /* The same events replayed into another store, which this is not. */
    const struct trail_check other = {AW_VERIFY_COMPLETE, 0, NULL, 0, "db"};
    expect_found(&t, &other, "another sink");
    trail_free(&t);
}

/* In two runs, the later events first; the first and the last event of a chain; all of a chain. */
static void test_orders(void)
{
    static const uint64_t late[] = {16, 19, 0}, early[] = {7, 10, 11, 13, 0}, ends[] = {1, 2, 29, 30, 0},
                          chain[] = {3, 6, 9, 12, 15, 0};
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 30, 3);
    replay(&t, "box", late);
    trail_add(&t, 0, 50);
    replay(&t, "box", early);
    expect_replayed(&t, &whole, 6);
    trail_free(&t);
    trail_make(&t, TRAIL_CANONICAL, 30, 3);
    replay(&t, "box", ends);
    expect_replayed(&t, &whole, 3); /* 30 is the newest of its chain: it stands in its place */
    trail_add(&t, 0, 50);
    trail_add(&t, 1, 51);
    expect_replayed(&t, &whole, 3);
    trail_free(&t);
    trail_make(&t, TRAIL_CANONICAL, 15, 3);
    replay(&t, "box", chain);
    expect_replayed(&t, &whole, 0); /* none of it was left to stand before */
    trail_free(&t);
}

/* A record is itself a dead letter, is replayed, and still counts for nothing; the next one does. */
static void test_record_replayed(void)
{
    static const uint64_t none[] = {7, 0}, again[] = {7, 31, 0};
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 30, 3);
    const struct trail_line copy = t.lines[find_seq(&t, none[0])], *named = &copy;
    trail_record(&t, RECORD_SCOPE, "box", &named, 1);
    trail_add(&t, RECORD_SCOPE, 60);
    replay(&t, "box", again);
    expect_replayed(&t, &whole, 2);
    trail_free(&t);
}

/* Rotation took the begin of the trail, and with it the neighbours of what is replayed. */
static void test_rotated(void)
{
    static const struct trail_check midchain = {AW_VERIFY_MIDCHAIN, 0, NULL, 0, NULL};
    struct trail t;
    make(&t);
    for (int i = 0; i < 20; i++)
        trail_delete(&t, 0);
    expect_replayed(&t, &midchain, 4);
    CU_ASSERT(trail_verify(&t, &midchain)->report.first_seq == 7);
    /* Their numbers have no neighbours any more: the record alone vouches for them. */
    trail_edit(&t, find_seq(&t, 7), "\"seq\":7}", "\"seq\":5}");
    expect_found(&t, &midchain, "another seq, before the begin");
    trail_edit(&t, find_seq(&t, 5), "\"seq\":5}", "\"seq\":7}");
    trail_duplicate(&t, find_seq(&t, 7), t.count);
    expect_found(&t, &midchain, "twice, before the begin");
    trail_free(&t);
}

/* What was recorded and then not written is missing, and said to be. */
static void test_not_written(void)
{
    static const struct trail_check partial = {AW_VERIFY_PARTIAL, 0, NULL, 0, NULL};
    for (size_t i = 0; some[i]; i++) {
        struct trail t;
        make(&t);
        trail_delete(&t, find_seq(&t, some[i]));
        const struct trail_result *r = trail_verify(&t, &whole);
        const struct trail_finding *first;
        char seq[40];
        CU_ASSERT(r->report.findings >= 2);
        CU_ASSERT(trail_count(r, AW_FINDING_HOLE, &first) == r->finding_count);
        snprintf(seq, sizeof seq, "dead letter, seq %llu,", (unsigned long long)some[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(first->message, seq));
        CU_ASSERT(trail_verify(&t, &partial)->report.findings == 1);
        trail_free(&t);
    }
}

static void test_tampered(void)
{
    struct trail honest, t;
    make(&honest);
    size_t record = find_seq(&honest, 31), last = honest.count - 1;
    for (size_t at = 0; at < honest.count; at++) {
        bool late = at > record && trail_seq(&honest.lines[at]) < 31;
        char what[80];
        snprintf(what, sizeof what, "line %zu", at + 1);
        trail_copy(&t, &honest);
        trail_duplicate(&t, at, t.count);
        expect_found(&t, NULL, "twice, at the end");
        trail_free(&t);
        trail_copy(&t, &honest);
        trail_duplicate(&t, at, at);
        expect_found(&t, NULL, "twice, side by side");
        trail_free(&t);
        trail_copy(&t, &honest);
        trail_edit(&t, at, "\"outcome\":\"SUCCESS\"", "\"outcome\":\"FAILURE\"");
        expect_found(&t, NULL, "edited");
        trail_free(&t);
        if (at < last) { /* that the newest is gone is told by heads kept elsewhere */
            trail_copy(&t, &honest);
            trail_delete(&t, at);
            expect_found(&t, &whole, what);
            trail_free(&t);
        }
        if (late || at + 6 < honest.count) { /* behind all others, or before the record */
            trail_copy(&t, &honest);
            trail_move(&t, at, late ? record : last);
            expect_found(&t, NULL, late ? "before its record" : what);
            trail_free(&t);
        }
        if (late) {
            trail_copy(&t, &honest);
            char to[24], from[24];
            snprintf(from, sizeof from, "\"seq\":%llu}", (unsigned long long)trail_seq(&t.lines[at]));
            snprintf(to, sizeof to, "\"seq\":%llu}", (unsigned long long)trail_seq(&t.lines[at]) + 500);
            trail_edit(&t, at, from, to);
            expect_found(&t, NULL, "another seq");
            trail_free(&t);
        }
    }
    trail_free(&honest);
}

/* Records that nobody sealed: put in where no chain leads to them, or with other events named. */
static void test_forged(void)
{
    struct trail t;
    const struct trail_line *named;
    for (int kind = 0; kind < 3; kind++) {
        trail_make(&t, TRAIL_CANONICAL, 30, 3);
        struct trail_line copy = t.lines[19];
        named = &copy;
        if (kind == 0) /* it follows what has a successor */
            memcpy(t.head[RECORD_SCOPE], t.lines[find_seq(&t, 20)].hash, 65);
        if (kind == 1) /* or nothing */
            memset(t.head[RECORD_SCOPE], 'a', 64);
        trail_record(&t, RECORD_SCOPE, "box", &named, 1);
        if (kind == 2) /* or its text was changed */
            trail_edit(&t, t.count - 1, "\"count\":1", "\"count\":2");
        trail_move(&t, 19, t.count - 1);
        const struct trail_result *r = trail_verify(&t, NULL);
        CU_ASSERT(r->report.findings >= 2);
        CU_ASSERT_EQUAL(r->report.replayed, 0);
        trail_free(&t);
    }
    /* A sound one, but the event is not the one that it names. */
    make(&t);
    trail_move(&t, 3, t.count - 1);
    expect_found(&t, NULL, "not named");
    trail_free(&t);
    /* A chain of replayed events only, and one that claims to follow its first. */
    static const uint64_t chain[] = {3, 6, 9, 12, 15, 0};
    trail_make(&t, TRAIL_CANONICAL, 15, 3);
    replay(&t, "box", chain);
    trail_forge(&t, 2, 5000, t.lines[find_seq(&t, 3)].hash, t.next_seq);
    trail_move(&t, t.count - 1, 0);
    expect_found(&t, NULL, "two successors of one");
    trail_free(&t);
    /* Records of two sinks: a store is one sink's. */
    static const uint64_t one[] = {7, 0}, two[] = {16, 0};
    trail_make(&t, TRAIL_CANONICAL, 30, 3);
    replay(&t, "box", one);
    replay(&t, "db", two);
    expect_found(&t, NULL, "two sinks");
    trail_free(&t);
}

/* More findings than a first reading keeps: all of them are given all the same, and once. */
static void test_many_findings(void)
{
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    for (unsigned i = 0; i < 9000; i++) {
        trail_add(&t, i % 3, i);
        trail_edit(&t, i, "SUCCESS", "FAILURE");
    }
    const struct trail_result *r = trail_verify(&t, NULL);
    CU_ASSERT_EQUAL(r->report.findings, 9000);
    CU_ASSERT_EQUAL(r->finding_count, 9000);
    trail_free(&t);
}

/* ---- random ---- */

/* Dead letters at random, replayed in one to three runs, with life going on in between. */
static void random_replays(struct trail *t, uint64_t *seed, uint64_t dead[DEAD_MAX])
{
    unsigned count = 10 + pick(seed, 40), scopes = 2 + pick(seed, 4), runs = 1 + pick(seed, 3), n = 0;
    trail_init(t, TRAIL_CANONICAL);
    for (unsigned i = 0; i < count; i++)
        trail_add(t, pick(seed, scopes), i);
    for (unsigned run = 0; run < runs; run++) {
        uint64_t these[DEAD_MAX];
        unsigned k = 0, chance = 2 + pick(seed, 6);
        for (uint64_t seq = 1; seq < t->next_seq && k < 40 && n + k + 2 < DEAD_MAX; seq++) {
            bool used = strstr(t->lines[find_seq(t, seq)].text, "auditwell.replay") != NULL;
            for (unsigned i = 0; i < n; i++)
                used |= dead[i] == seq;
            if (!used && pick(seed, chance) == 0)
                these[k++] = seq;
        }
        these[k] = 0;
        if (k > 0)
            replay(t, "box", these);
        memcpy(dead + n, these, k * sizeof *these);
        n += k;
        for (unsigned i = pick(seed, 8); i > 0; i--)
            trail_add(t, pick(seed, scopes), 200 + 10 * run + i);
    }
    dead[n] = 0;
}

static bool is_dead(const uint64_t *dead, const struct trail_line *line)
{
    for (; *dead; dead++)
        if (*dead == trail_seq(line))
            return true;
    return false;
}

/* false: not possible here. */
static bool tamper(struct trail *t, uint64_t *seed, const uint64_t *dead, char what[80])
{
    size_t at = pick(seed, (unsigned)t->count), to = pick(seed, (unsigned)t->count);
    bool late = is_dead(dead, &t->lines[at]);
    switch (pick(seed, 5)) {
    case 0:
        snprintf(what, 80, "line %zu deleted", at + 1);
        if (trail_seq(&t->lines[at]) + 1 == t->next_seq)
            return false;
        trail_delete(t, at);
        return true;
    case 1:
        snprintf(what, 80, "line %zu again at %zu", at + 1, to + 1);
        trail_duplicate(t, at, to);
        return true;
    case 2:
        snprintf(what, 80, "line %zu edited", at + 1);
        trail_edit(t, at, "SUCCESS", "FAILURE");
        return true;
    case 3: { /* over another one of its chain that has its place */
        snprintf(what, 80, "line %zu moved to %zu", at + 1, to + 1);
        bool over = false;
        for (size_t i = at < to ? at + 1 : to; i < (at < to ? to + 1 : at); i++)
            over |= t->lines[i].scope == t->lines[at].scope && !is_dead(dead, &t->lines[i]);
        if (late || !over)
            return false;
        trail_move(t, at, to);
        return true;
    }
    default: /* a forgery that follows an event which has a successor, seq and all */
        snprintf(what, 80, "forgery after line %zu at %zu", at + 1, to + 1);
        if (strcmp(t->head[t->lines[at].scope], t->lines[at].hash) == 0)
            return false;
        trail_forge(t, t->lines[at].scope, 5000, t->lines[at].hash, t->next_seq);
        trail_move(t, t->count - 1, to);
        return true;
    }
}

static void test_random(void)
{
    uint64_t seed = harness_seed(), dead[DEAD_MAX], replayed = 0;
    unsigned rounds = harness_slow() ? 150 : 1500, tampered = 0;
    for (unsigned round = 0; round < rounds && CU_get_number_of_failures() < 20; round++) {
        struct trail t, bad;
        random_replays(&t, &seed, dead);
        const struct trail_result *r = trail_verify(&t, &whole);
        CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == 0);
        replayed += r->report.replayed;
        if (r->report.verdict != 0) {
            harness_note("round %u: an honest trail was not accepted", round);
            trail_print(r);
        }
        for (unsigned tries = 0; tries < 8; tries++) {
            char what[80];
            trail_copy(&bad, &t);
            if (tamper(&bad, &seed, dead, what)) {
                tampered++;
                r = trail_verify(&bad, &whole);
                CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == 1);
                if (r->report.verdict != 1)
                    harness_note("round %u: not found: %s", round, what);
            }
            trail_free(&bad);
        }
        trail_free(&t);
    }
    harness_note("%u honest trails with %llu replayed events, %u tampered ones", rounds, (unsigned long long)replayed,
                 tampered);
    CU_ASSERT(replayed > rounds && tampered > rounds);
}

HARNESS_MAIN("verify_replay", {"an honest trail", test_honest}, {"in any order, at the ends", test_orders},
             {"a record that is replayed itself", test_record_replayed}, {"behind a rotation", test_rotated},
             {"recorded and not written", test_not_written}, {"tampered with", test_tampered},
             {"forged records", test_forged}, {"many findings", test_many_findings},
             {"random replays and random tampering", test_random})
