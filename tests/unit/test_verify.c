/* test_verify.c - the verifier: honest trails pass, and each kind of tampering is named.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "verify_trail.h"

/* ---- honest ---- */

static void test_honest(void)
{
    for (int style = 0; style < TRAIL_STYLES; style++) {
        for (unsigned scopes = 1; scopes <= 5; scopes += 2) {
            struct trail t;
            trail_make(&t, (enum trail_style)style, 60, scopes);
            expect_good(trail_verify(&t, NULL));
            struct trail_check complete = {AW_VERIFY_COMPLETE, 0, NULL, 0, NULL};
            const struct trail_result *r = trail_verify(&t, &complete);
            expect_good(r);
            CU_ASSERT_EQUAL(r->scope_count, scopes);
            CU_ASSERT_EQUAL(r->report.scopes, scopes);
            CU_ASSERT_EQUAL(r->scopes[0].count, 60 / scopes);
            CU_ASSERT_EQUAL(r->scopes[0].origin, 1);
            CU_ASSERT_STRING_EQUAL(r->scopes[scopes - 1].scope, scopes == 1   ? "tenant:t0"
                                                                : scopes == 3 ? "tenant:t2"
                                                                              : "tenant:t4");
            CU_ASSERT_EQUAL(r->report.first_seq, style == TRAIL_CANONICAL ? 1 : 0);
            CU_ASSERT_EQUAL(r->report.last_seq, style == TRAIL_CANONICAL ? 60 : 0);
            trail_free(&t);
        }
    }
}

static void test_scope_report(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 10, 2);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_good(r);
    CU_ASSERT_EQUAL(r->scope_count, 2);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].scope, "service:s1");
    CU_ASSERT_STRING_EQUAL(r->scopes[0].first_location, "trail.jsonl:2");
    CU_ASSERT_STRING_EQUAL(r->scopes[0].last_location, "trail.jsonl:10");
    CU_ASSERT_STRING_EQUAL(r->scopes[0].first_hash, t.lines[1].hash);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].last_hash, t.lines[9].hash);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].first_time, "2026-01-02T03:00:01.000Z");
    CU_ASSERT_STRING_EQUAL(r->scopes[0].last_time, "2026-01-02T03:00:09.000Z");
    CU_ASSERT_EQUAL(r->scopes[0].first_seq, 2);
    CU_ASSERT_EQUAL(r->scopes[0].last_seq, 10);
    CU_ASSERT(r->report.bytes > 2000);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "no signature or anchor covers this history"));
    trail_free(&t);
}

/* S5: a restart goes on with the chain; one file of several begins in mid-chain, and is verified as such. */
static void test_rotated(void)
{
    struct trail t, tail;
    trail_make(&t, TRAIL_CANONICAL, 40, 3);
    trail_copy(&tail, &t);
    for (int i = 0; i < 17; i++)
        trail_delete(&tail, 0);
    const struct trail_check midchain = {AW_VERIFY_MIDCHAIN, 0, NULL, 0, NULL};
    const struct trail_result *r = trail_verify(&tail, &midchain);
    expect_good(r);
    CU_ASSERT_EQUAL(r->scopes[0].origin, 0);
    CU_ASSERT_EQUAL(r->report.first_seq, 18);
    expect_findings(trail_verify(&tail, NULL),
                    (struct want[]){{AW_FINDING_HOLE, "", "begins at seq 18: what stood before"}, {0, NULL, NULL}},
                    "cut off, by no record");
    struct trail_check complete = {AW_VERIFY_COMPLETE, 0, NULL, 0, NULL};
    r = trail_verify(&tail, &complete);
    CU_ASSERT_EQUAL(r->finding_count, 4);
    CU_ASSERT_EQUAL(trail_count(r, AW_FINDING_HOLE, NULL), 4);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->findings[0].message, "does not begin at its origin"));
    CU_ASSERT_PTR_NOT_NULL(strstr(r->findings[3].message, "seq 1..17 are missing: 17 events"));
    trail_free(&tail);
    trail_free(&t);
}

static void test_empty(void)
{
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    expect_good(trail_verify(&t, NULL));
    struct trail_check expect = {0, 0, "tenant:t0=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0,
                                 NULL};
    const struct trail_result *r = trail_verify(&t, &expect); /* S2 */
    expect_findings(r, (struct want[]){{AW_FINDING_MISSING, "", "nothing of this chain"}, {0, NULL, NULL}},
                    "empty, expected");
    CU_ASSERT_STRING_EQUAL(r->findings[0].scope, "tenant:t0");
}

/* ---- one tampering, one story ---- */

static void test_edited(void)
{
    static const struct {
        const char *from, *to;
    } edits[] = {{"doc.read", "doc.reap"}, {"\"n\":", "\"n\":1"},          {"SUCCESS", "FAILURE"},
                 {"\"ratio\":0.5,", ""},   {"\"outcome\"", "\"outcomf\""}, {"\"id\":\"u", "\"id\":\"x"},
                 {"03:00:", "04:00:"}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        for (size_t at = 0; at < 12; at++) {
            struct trail t;
            char where[32];
            trail_make(&t, TRAIL_CANONICAL, 12, 2);
            trail_edit(&t, at, edits[i].from, edits[i].to);
            snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
            const struct trail_result *r = trail_verify(&t, NULL);
            expect_findings(r,
                            (struct want[]){{AW_FINDING_EDITED, where, "changed after it was sealed"}, {0, NULL, NULL}},
                            edits[i].to);
            CU_ASSERT_STRING_EQUAL(r->findings[0].expected, t.lines[at].hash);
            CU_ASSERT_STRING_EQUAL(r->findings[0].scope, trail_scope(t.lines[at].scope));
            trail_free(&t);
        }
}

static void test_edited_and_rehashed(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 5, 1);
    struct trail forged;
    trail_init(&forged, TRAIL_CANONICAL);
    trail_forge(&forged, 0, 77, t.lines[1].hash, 3);
    trail_replace(&t, 2, forged.lines[0].text, forged.lines[0].len);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(
        r, (struct want[]){{AW_FINDING_HOLE, "trail.jsonl:4", "between trail.jsonl:3 and this one"}, {0, NULL, NULL}},
        "edited and rehashed");
    CU_ASSERT_STRING_EQUAL(r->findings[0].expected, forged.lines[0].hash);
    CU_ASSERT_STRING_EQUAL(r->findings[0].found, t.lines[2].hash);
    CU_ASSERT_STRING_EQUAL(r->findings[0].id, "ev-0-3");
    trail_free(&forged);
    trail_free(&t);
}

static void test_deleted(void)
{
    for (size_t at = 1; at < 11; at++) {
        struct trail t;
        trail_make(&t, TRAIL_CANONICAL, 12, 1);
        trail_delete(&t, at);
        char where[32], seq[64];
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        snprintf(seq, sizeof seq, "seq %zu is missing: 1 event", at + 1);
        expect_findings(trail_verify(&t, NULL),
                        (struct want[]){{AW_FINDING_HOLE, where, "at least one event is missing"},
                                        {AW_FINDING_HOLE, "", seq},
                                        {0, NULL, NULL}},
                        "deleted");
        struct trail_check partial = {AW_VERIFY_PARTIAL, 0, NULL, 0, NULL};
        expect_findings(trail_verify(&t, &partial), (struct want[]){{AW_FINDING_HOLE, where, NULL}, {0, NULL, NULL}},
                        "partial");
        trail_free(&t);
        trail_make(&t, TRAIL_SPACED, 12, 1);
        trail_delete(&t, at);
        expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_HOLE, where, NULL}, {0, NULL, NULL}},
                        "deleted, no seq");
        trail_free(&t);
    }
}

static void test_swapped(void)
{
    for (size_t a = 0; a < 8; a++)
        for (size_t b = a + 1; b < 8; b++) {
            struct trail t;
            trail_make(&t, TRAIL_CANONICAL, 8, 1);
            trail_move(&t, b, a);
            trail_move(&t, a + 1, b);
            const struct trail_result *r = trail_verify(&t, NULL);
            bool good =
                r->report.verdict == 1 && trail_count(r, AW_FINDING_REORDERED, NULL) >= 1 && r->finding_count <= 4;
            CU_ASSERT(good);
            if (!good) {
                harness_note("swapped %zu and %zu", a, b);
                trail_print(r);
            }
            if (b == a + 1)
                expect_findings(r, (struct want[]){{AW_FINDING_REORDERED, NULL, NULL}, {0, NULL, NULL}},
                                "neighbours swapped");
            trail_free(&t);
        }
}

static void test_moved(void)
{
    for (size_t from = 0; from < 9; from++)
        for (size_t to = 0; to < 9; to++) {
            struct trail t;
            if (from == to)
                continue;
            trail_make(&t, TRAIL_CANONICAL, 9, 1);
            trail_move(&t, from, to);
            expect_findings(trail_verify(&t, NULL),
                            (struct want[]){{AW_FINDING_REORDERED, NULL, "trail.jsonl:"}, {0, NULL, NULL}}, "moved");
            trail_free(&t);
        }
}

static void test_duplicated(void)
{
    for (size_t at = 0; at < 6; at++)
        for (size_t to = at + 1; to <= 6; to++) {
            struct trail t;
            char where[32], what[80];
            trail_make(&t, TRAIL_CANONICAL, 6, 1);
            trail_duplicate(&t, at, to);
            snprintf(where, sizeof where, "trail.jsonl:%zu", to + 1);
            snprintf(what, sizeof what, "the same event is in the trail already: number %zu", at + 1);
            expect_findings(trail_verify(&t, NULL),
                            (struct want[]){{AW_FINDING_DUPLICATE, where, what}, {0, NULL, NULL}}, "duplicated");
            trail_free(&t);
        }
}

static void test_inserted(void)
{
    for (size_t at = 1; at <= 6;
         at++) { /* a forgery with a sound hash, linked to where it is put; no seq known to be free */
        struct trail t;
        char where[32];
        trail_make(&t, TRAIL_STRINGIFY, 7, 1);
        trail_forge(&t, 0, 99, t.lines[at - 1].hash, 0);
        trail_move(&t, t.count - 1, at);
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        if (at < 6) /* two more follow: they show which branch is the chain */
            expect_findings(trail_verify(&t, NULL),
                            (struct want[]){{AW_FINDING_INSERTED, where, "belongs to no chain"}, {0, NULL, NULL}},
                            "inserted");
        else
            expect_findings(trail_verify(&t, NULL),
                            (struct want[]){{AW_FINDING_INSERTED, NULL, "the chain forks here"}, {0, NULL, NULL}},
                            "inserted late");
        trail_free(&t);
    }
    for (size_t at = 1; at <= 5; at++) { /* linked to nothing that exists, or beginning a chain of its own */
        struct trail t;
        char where[32];
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        trail_make(&t, TRAIL_STRINGIFY, 7, 1);
        trail_forge(&t, 0, 99, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0);
        trail_move(&t, t.count - 1, at);
        expect_findings(trail_verify(&t, NULL),
                        (struct want[]){{AW_FINDING_INSERTED, where, "the chain goes on without it"}, {0, NULL, NULL}},
                        "no predecessor");
        trail_free(&t);
        trail_make(&t, TRAIL_STRINGIFY, 7, 1);
        trail_forge(&t, 0, 99, "", 0);
        trail_move(&t, t.count - 1, at);
        expect_findings(
            trail_verify(&t, NULL),
            (struct want[]){{AW_FINDING_INSERTED, where, "without prevHash in the middle"}, {0, NULL, NULL}},
            "own origin");
        trail_free(&t);
    }
}

static void test_inserted_with_seq(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 4, 1);
    trail_forge(&t, 0, 99, t.head[0], 3);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(r,
                    (struct want[]){{AW_FINDING_EDITED, "trail.jsonl:5", "integrity.seq is that of another event"},
                                    {0, NULL, NULL}},
                    "taken seq");
    trail_free(&t);
}

static void test_restarted(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 4, 1);
    t.head[0][0] = '\0';
    for (unsigned i = 4; i < 8; i++)
        trail_add(&t, 0, i);
    expect_findings(
        trail_verify(&t, NULL),
        (struct want[]){
            {AW_FINDING_INSERTED, "trail.jsonl:5",
             "the chain begins anew here: an event without prevHash, though the chain had reached trail.jsonl:4"},
            {0, NULL, NULL}},
        "restarted");
    trail_free(&t);
}

static void test_foreign(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 12, 2);
    trail_edit(&t, 4, "\"tenantId\":\"t0\"", "\"tenantId\":\"t9\""); /* a new tenant */
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(
        r,
        (struct want[]){{AW_FINDING_FOREIGN, "trail.jsonl:5", "belongs to the chain of tenant:t0, and the content"},
                        {0, NULL, NULL}},
        "moved, not rehashed");
    CU_ASSERT_STRING_EQUAL(r->findings[0].expected, "tenant:t0");
    CU_ASSERT_STRING_EQUAL(r->findings[0].found, "tenant:t9");
    trail_free(&t);
    trail_make(&t, TRAIL_CANONICAL, 12, 3);
    struct trail forged;
    trail_init(&forged, TRAIL_CANONICAL);
    trail_forge(&forged, 2, 6, t.lines[3].hash, 7); /* event 6 of tenant t0, given to t2 */
    trail_replace(&t, 6, forged.lines[0].text, forged.lines[0].len);
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_FOREIGN, "trail.jsonl:7",
                                     "belongs to the chain of tenant:t0: the event was moved here"},
                                    {AW_FINDING_HOLE, "trail.jsonl:10", "between trail.jsonl:4 and this one"},
                                    {0, NULL, NULL}},
                    "moved and rehashed");
    trail_free(&forged);
    trail_free(&t);
}

static void test_cut(void)
{
    struct trail t;
    char expect[400], complete[1000] = "";
    trail_make(&t, TRAIL_CANONICAL, 12, 2);
    snprintf(expect, sizeof expect, "tenant:t0=%s,service:s1=%s", t.head[0], t.head[1]);
    struct trail_check check = {0, 0, expect, 0, NULL};
    const struct trail_result *r = trail_verify(&t, &check);
    expect_good(r);
    CU_ASSERT_STRING_EQUAL(r->warnings, "");
    trail_add(&t, 0, 12); /* it grew since: fine, and said */
    r = trail_verify(&t, &check);
    expect_good(r);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "tenant:t0: 1 events have been added since the expected head"));
    trail_delete(&t, 12);
    trail_delete(&t, 11); /* S1: the end of one chain; nothing but the anchor knows */
    expect_good(trail_verify(&t, NULL));
    expect_findings(
        trail_verify(&t, &check),
        (struct want[]){{AW_FINDING_TRUNCATED, "trail.jsonl:10", "does not contain the head"}, {0, NULL, NULL}}, "cut");
    trail_free(&t);
    trail_make(&t, TRAIL_CANONICAL, 12, 2);
    trail_delete(&t, 8); /* the last two of one chain, while the other goes on: seqs tell */
    trail_delete(&t, 9);
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_HOLE, "", "seq 9 is missing"},
                                    {AW_FINDING_HOLE, "", "seq 11 is missing"},
                                    {0, NULL, NULL}},
                    "tail of one chain");
    for (size_t i = 0; i < t.count; i++) /* S2: a whole chain */
        if (t.lines[i].scope == 0)
            trail_delete(&t, i--);
    r = trail_verify(&t, &check);
    CU_ASSERT_EQUAL(trail_count(r, AW_FINDING_MISSING, NULL), 1);
    CU_ASSERT_EQUAL(trail_count(r, AW_FINDING_HOLE, NULL), 6);
    snprintf(complete, sizeof complete, "service:s1=%s", t.head[1]);
    check.expect = complete;
    check.flags = AW_VERIFY_PARTIAL;
    expect_good(trail_verify(&t, &check));
    trail_free(&t);
}

/* S3: without a key all can be sealed anew; only an anchor tells, and a good verdict says so. */
static void test_resealed(void)
{
    struct trail t;
    char expect[200];
    trail_make(&t, TRAIL_CANONICAL, 9, 1);
    snprintf(expect, sizeof expect, "tenant:t0=%s", t.head[0]);
    trail_edit(&t, 0, "doc.read", "doc.nice");
    trail_reseal(&t);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_good(r);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "no signature or anchor covers this history"));
    struct trail_check check = {0, 0, expect, 0, NULL};
    expect_findings(trail_verify(&t, &check),
                    (struct want[]){{AW_FINDING_TRUNCATED, NULL, "or it was sealed anew"}, {0, NULL, NULL}},
                    "sealed anew");
    trail_free(&t);
}

static void test_limits_of_findings(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 300, 3);
    for (size_t i = 0; i < t.count; i++)
        trail_edit(&t, i, "doc.read", "doc.raed");
    struct trail_check check = {0, 0, NULL, 7, NULL};
    const struct trail_result *r = trail_verify(&t, &check);
    CU_ASSERT_EQUAL(r->finding_count, 7);
    CU_ASSERT_EQUAL(r->report.findings, 300);
    CU_ASSERT_EQUAL(r->scopes[1].findings, 100);
    trail_free(&t);
}

static void test_order_of_findings(void)
{
    /* A break is explained later than what follows it, and is told first all the same. */
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 40, 1);
    trail_edit(&t, 20, "doc.read", "doc.raed");
    trail_move(&t, 5, 30);
    trail_edit(&t, 35, "doc.read", "doc.raed");
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_REORDERED, "trail.jsonl:6", "trail.jsonl:31"},
                                    {AW_FINDING_EDITED, "trail.jsonl:20", NULL},
                                    {AW_FINDING_EDITED, "trail.jsonl:36", NULL},
                                    {0, NULL, NULL}},
                    "order");
    trail_free(&t);
}

static void test_usage(void)
{
    static const char *const bad[] = {"tenant:a",
                                      "tenant:a=12",
                                      "=",
                                      ",",
                                      "a=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                                      "tenant:a=00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg",
                                      "tenant:a=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff,"};
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct trail_check check = {0, 0, bad[i], 0, NULL};
        const struct trail_result *r = trail_verify(&t, &check);
        CU_ASSERT_EQUAL(r->rc, AW_ERR_USAGE);
        CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "expect_head: "));
    }
    struct trail_check check = {AW_VERIFY_COMPLETE | AW_VERIFY_PARTIAL, 0, NULL, 0, NULL};
    CU_ASSERT_EQUAL(trail_verify(&t, &check)->rc, AW_ERR_USAGE);
    check.flags = 1u << 20;
    CU_ASSERT_EQUAL(trail_verify(&t, &check)->rc, AW_ERR_USAGE);
    check = (struct trail_check){0, 0, "tenant:a=b,c=00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
                                 0, NULL};
    const struct trail_result *r = trail_verify(&t, &check); /* '=' and ',' may be part of a scope */
    CU_ASSERT_EQUAL(r->finding_count, 1);
    CU_ASSERT_STRING_EQUAL(r->findings[0].scope, "tenant:a=b,c");
}

HARNESS_MAIN("verify", {"honest trails pass in every style", test_honest}, {"the scope report", test_scope_report},
             {"trails that begin in mid-chain", test_rotated}, {"an empty trail", test_empty},
             {"edited events", test_edited}, {"edited and rehashed", test_edited_and_rehashed},
             {"deleted events", test_deleted}, {"swapped events", test_swapped}, {"moved events", test_moved},
             {"duplicated events", test_duplicated}, {"inserted events", test_inserted},
             {"inserted events with a seq", test_inserted_with_seq}, {"a chain that begins anew", test_restarted},
             {"events of another scope", test_foreign}, {"cut ends and removed chains", test_cut},
             {"sealed anew without a key", test_resealed}, {"the limit of findings", test_limits_of_findings},
             {"findings in trail order", test_order_of_findings}, {"parameters that make no sense", test_usage})
