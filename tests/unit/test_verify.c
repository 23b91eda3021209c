/* test_verify.c - the verifier: honest trails pass, and each kind of tampering is named. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "verify_trail.h"

/* count events, round robin over the scopes given. */
static void make(struct trail *t, enum trail_style style, unsigned count, unsigned scopes)
{
    trail_init(t, style);
    for (unsigned i = 0; i < count; i++)
        trail_add(t, i % scopes, i);
}

static void expect_good(const struct trail_result *r)
{
    CU_ASSERT_EQUAL(r->rc, AW_SUCCESS);
    CU_ASSERT_EQUAL(r->report.findings, 0);
    CU_ASSERT_EQUAL(r->report.verdict, 0);
    if (r->rc != AW_SUCCESS || r->report.findings != 0)
        trail_print(r);
}

/* Exactly these findings: kind, location (NULL: any), part of the message (NULL: any); ended by kind 0. */
struct want {
    int kind;
    const char *location, *message;
};
static void expect_findings(const struct trail_result *r, const struct want *want, const char *what)
{
    size_t n = 0;
    bool good = r->rc == AW_SUCCESS;
    for (; want[n].kind != 0; n++) {
        const struct trail_finding *f = n < r->finding_count ? &r->findings[n] : NULL;
        good = good && f && f->kind == want[n].kind && (!want[n].location || strcmp(want[n].location, f->location) == 0) &&
               (!want[n].message || strstr(f->message, want[n].message));
    }
    good = good && n == r->finding_count;
    CU_ASSERT(good);
    if (!good) {
        harness_note("not what was expected of: %s", what);
        trail_print(r);
    }
}

/* ---- honest -------------------------------------------------------------------------------------------------------- */

static void test_honest(void)
{
    for (int style = 0; style < TRAIL_STYLES; style++) {
        for (unsigned scopes = 1; scopes <= 5; scopes += 2) {
            struct trail t;
            make(&t, (enum trail_style)style, 60, scopes);
            expect_good(trail_verify(&t, NULL));
            struct trail_check complete = {AW_VERIFY_COMPLETE, 0, NULL, 0};
            const struct trail_result *r = trail_verify(&t, &complete);
            expect_good(r);
            CU_ASSERT_EQUAL(r->scope_count, scopes);
            CU_ASSERT_EQUAL(r->report.scopes, scopes);
            CU_ASSERT_EQUAL(r->scopes[0].count, 60 / scopes);
            CU_ASSERT_EQUAL(r->scopes[0].origin, 1);
            CU_ASSERT_STRING_EQUAL(r->scopes[scopes - 1].scope, scopes == 1 ? "tenant:t0" : scopes == 3 ? "tenant:t2" : "tenant:t4");
            CU_ASSERT_EQUAL(r->report.first_seq, style == TRAIL_CANONICAL ? 1 : 0);
            CU_ASSERT_EQUAL(r->report.last_seq, style == TRAIL_CANONICAL ? 60 : 0);
            trail_free(&t);
        }
    }
}

static void test_scope_report(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 10, 2);
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

/* S5: a restart goes on with the chain; S6: rotation and retention leave a trail that begins in mid-chain. */
static void test_rotated(void)
{
    struct trail t, tail;
    make(&t, TRAIL_CANONICAL, 40, 3);
    trail_copy(&tail, &t);
    for (int i = 0; i < 17; i++)
        trail_delete(&tail, 0);
    const struct trail_result *r = trail_verify(&tail, NULL);
    expect_good(r);
    CU_ASSERT_EQUAL(r->scopes[0].origin, 0);
    CU_ASSERT_EQUAL(r->report.first_seq, 18);
    struct trail_check complete = {AW_VERIFY_COMPLETE, 0, NULL, 0};
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
    struct trail_check expect = {0, 0, "tenant:t0=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0};
    const struct trail_result *r = trail_verify(&t, &expect); /* S2 */
    expect_findings(r, (struct want[]){{AW_FINDING_MISSING, "", "nothing of this chain"}, {0, NULL, NULL}}, "empty, expected");
    CU_ASSERT_STRING_EQUAL(r->findings[0].scope, "tenant:t0");
}

/* ---- one tampering, one story --------------------------------------------------------------------------------------- */

static void test_edited(void)
{
    static const struct {
        const char *from, *to;
    } edits[] = {{"doc.read", "doc.reap"}, {"\"n\":", "\"n\":1"}, {"SUCCESS", "FAILURE"}, {"\"ratio\":0.5,", ""},
                 {"\"outcome\"", "\"outcomf\""}, {"\"id\":\"u", "\"id\":\"x"}, {"03:00:", "04:00:"}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        for (size_t at = 0; at < 12; at++) {
            struct trail t;
            char where[32];
            make(&t, TRAIL_CANONICAL, 12, 2);
            trail_edit(&t, at, edits[i].from, edits[i].to);
            snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
            const struct trail_result *r = trail_verify(&t, NULL);
            expect_findings(r, (struct want[]){{AW_FINDING_EDITED, where, "changed after it was sealed"}, {0, NULL, NULL}}, edits[i].to);
            CU_ASSERT_STRING_EQUAL(r->findings[0].expected, t.lines[at].hash);
            CU_ASSERT_STRING_EQUAL(r->findings[0].scope, trail_scope(t.lines[at].scope));
            trail_free(&t);
        }
}

static void test_edited_and_rehashed(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 5, 1);
    struct trail forged;
    trail_init(&forged, TRAIL_CANONICAL);
    trail_forge(&forged, 0, 77, t.lines[1].hash, 3);
    trail_replace(&t, 2, forged.lines[0].text, forged.lines[0].len);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(r, (struct want[]){{AW_FINDING_HOLE, "trail.jsonl:4", "between trail.jsonl:3 and this one"}, {0, NULL, NULL}},
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
        make(&t, TRAIL_CANONICAL, 12, 1);
        trail_delete(&t, at);
        char where[32], seq[64];
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        snprintf(seq, sizeof seq, "seq %zu is missing: 1 event", at + 1);
        expect_findings(trail_verify(&t, NULL),
                        (struct want[]){{AW_FINDING_HOLE, where, "at least one event is missing"}, {AW_FINDING_HOLE, "", seq}, {0, NULL, NULL}},
                        "deleted");
        struct trail_check partial = {AW_VERIFY_PARTIAL, 0, NULL, 0};
        expect_findings(trail_verify(&t, &partial), (struct want[]){{AW_FINDING_HOLE, where, NULL}, {0, NULL, NULL}}, "partial");
        trail_free(&t);
        make(&t, TRAIL_SPACED, 12, 1);
        trail_delete(&t, at);
        expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_HOLE, where, NULL}, {0, NULL, NULL}}, "deleted, no seq");
        trail_free(&t);
    }
}

static void test_swapped(void)
{
    for (size_t a = 0; a < 8; a++)
        for (size_t b = a + 1; b < 8; b++) {
            struct trail t;
            make(&t, TRAIL_CANONICAL, 8, 1);
            trail_move(&t, b, a);
            trail_move(&t, a + 1, b);
            const struct trail_result *r = trail_verify(&t, NULL);
            bool good = r->report.verdict == 1 && trail_count(r, AW_FINDING_REORDERED, NULL) >= 1 && r->finding_count <= 4;
            CU_ASSERT(good);
            if (!good) {
                harness_note("swapped %zu and %zu", a, b);
                trail_print(r);
            }
            if (b == a + 1)
                expect_findings(r, (struct want[]){{AW_FINDING_REORDERED, NULL, NULL}, {0, NULL, NULL}}, "neighbours swapped");
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
            make(&t, TRAIL_CANONICAL, 9, 1);
            trail_move(&t, from, to);
            expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_REORDERED, NULL, "trail.jsonl:"}, {0, NULL, NULL}}, "moved");
            trail_free(&t);
        }
}

static void test_duplicated(void)
{
    for (size_t at = 0; at < 6; at++)
        for (size_t to = at + 1; to <= 6; to++) {
            struct trail t;
            char where[32], what[80];
            make(&t, TRAIL_CANONICAL, 6, 1);
            trail_duplicate(&t, at, to);
            snprintf(where, sizeof where, "trail.jsonl:%zu", to + 1);
            snprintf(what, sizeof what, "the same event is in the trail already: number %zu", at + 1);
            expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_DUPLICATE, where, what}, {0, NULL, NULL}}, "duplicated");
            trail_free(&t);
        }
}

static void test_inserted(void)
{
    for (size_t at = 1; at <= 6; at++) { /* a forgery with a sound hash, linked to where it is put; no seq known to be free */
        struct trail t;
        char where[32];
        make(&t, TRAIL_STRINGIFY, 7, 1);
        trail_forge(&t, 0, 99, t.lines[at - 1].hash, 0);
        trail_move(&t, t.count - 1, at);
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        if (at < 6) /* two more follow: they show which branch is the chain */
            expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_INSERTED, where, "belongs to no chain"}, {0, NULL, NULL}}, "inserted");
        else
            expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_INSERTED, NULL, "the chain forks here"}, {0, NULL, NULL}}, "inserted late");
        trail_free(&t);
    }
    for (size_t at = 1; at <= 5; at++) { /* linked to nothing that exists, or beginning a chain of its own */
        struct trail t;
        char where[32];
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        make(&t, TRAIL_STRINGIFY, 7, 1);
        trail_forge(&t, 0, 99, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0);
        trail_move(&t, t.count - 1, at);
        expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_INSERTED, where, "the chain goes on without it"}, {0, NULL, NULL}}, "no predecessor");
        trail_free(&t);
        make(&t, TRAIL_STRINGIFY, 7, 1);
        trail_forge(&t, 0, 99, "", 0);
        trail_move(&t, t.count - 1, at);
        expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_INSERTED, where, "without prevHash in the middle"}, {0, NULL, NULL}}, "own origin");
        trail_free(&t);
    }
}

static void test_inserted_with_seq(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 4, 1);
    trail_forge(&t, 0, 99, t.head[0], 3);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(r, (struct want[]){{AW_FINDING_EDITED, "trail.jsonl:5", "integrity.seq is that of another event"}, {0, NULL, NULL}}, "taken seq");
    trail_free(&t);
}

static void test_restarted(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 4, 1);
    t.head[0][0] = '\0';
    for (unsigned i = 4; i < 8; i++)
        trail_add(&t, 0, i);
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_INSERTED, "trail.jsonl:5", "the chain begins anew here: an event without prevHash, though the chain had reached trail.jsonl:4"},
                                    {0, NULL, NULL}},
                    "restarted");
    trail_free(&t);
}

static void test_foreign(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 12, 2);
    trail_edit(&t, 4, "\"tenantId\":\"t0\"", "\"tenantId\":\"t9\""); /* a new tenant */
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(r, (struct want[]){{AW_FINDING_FOREIGN, "trail.jsonl:5", "belongs to the chain of tenant:t0, and the content"}, {0, NULL, NULL}}, "moved, not rehashed");
    CU_ASSERT_STRING_EQUAL(r->findings[0].expected, "tenant:t0");
    CU_ASSERT_STRING_EQUAL(r->findings[0].found, "tenant:t9");
    trail_free(&t);
    make(&t, TRAIL_CANONICAL, 12, 3);
    struct trail forged;
    trail_init(&forged, TRAIL_CANONICAL);
    trail_forge(&forged, 2, 6, t.lines[3].hash, 7); /* event 6 of tenant t0, given to t2 */
    trail_replace(&t, 6, forged.lines[0].text, forged.lines[0].len);
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_FOREIGN, "trail.jsonl:7", "belongs to the chain of tenant:t0: the event was moved here"},
                                    {AW_FINDING_HOLE, "trail.jsonl:10", "between trail.jsonl:4 and this one"},
                                    {0, NULL, NULL}},
                    "moved and rehashed");
    trail_free(&forged);
    trail_free(&t);
}

static void test_unsealed(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 6, 1);
    char *text = t.lines[3].text, *at = strstr(text, "\"integrity\":{"), *end = strchr(at, '}') + 2;
    memmove(at, end, strlen(end) + 1);
    t.lines[3].len = strlen(text);
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:4", "though the trail is sealed"}, {AW_FINDING_HOLE, "", "seq 4 is missing"}, {0, NULL, NULL}},
                    "one unsealed");
    t.lines[3].store_seq = 4;
    expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:4", NULL}, {0, NULL, NULL}}, "numbered by the store");
    for (size_t i = 0; i < t.count; i++) {
        text = t.lines[i].text;
        at = strstr(text, "\"integrity\":{");
        if (!at)
            continue;
        end = strchr(at, '}') + 2;
        memmove(at, end, strlen(end) + 1);
        t.lines[i].len = strlen(text);
        if (i == 0)
            expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:4", NULL}, {AW_FINDING_UNSEALED, "trail.jsonl:1", "1 event before the first sealed one has no"}, {0, NULL, NULL}}, "the first two");
    }
    expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:1", "nothing that could be verified"}, {0, NULL, NULL}}, "all unsealed");
    trail_free(&t);
}

static void test_cut(void)
{
    struct trail t;
    char expect[400], complete[1000] = "";
    make(&t, TRAIL_CANONICAL, 12, 2);
    snprintf(expect, sizeof expect, "tenant:t0=%s,service:s1=%s", t.head[0], t.head[1]);
    struct trail_check check = {0, 0, expect, 0};
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
    expect_findings(trail_verify(&t, &check), (struct want[]){{AW_FINDING_TRUNCATED, "trail.jsonl:10", "does not contain the head"}, {0, NULL, NULL}}, "cut");
    trail_free(&t);
    make(&t, TRAIL_CANONICAL, 12, 2);
    trail_delete(&t, 8); /* the last two of one chain, while the other goes on: seqs tell */
    trail_delete(&t, 9);
    expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_HOLE, "", "seq 9 is missing"}, {AW_FINDING_HOLE, "", "seq 11 is missing"}, {0, NULL, NULL}}, "tail of one chain");
    for (size_t i = 0; i < t.count; i++) /* S2: a whole chain */
        if (t.lines[i].scope == 0)
            trail_delete(&t, i--);
    r = trail_verify(&t, &check);
    CU_ASSERT_EQUAL(trail_count(r, AW_FINDING_MISSING, NULL), 1);
    CU_ASSERT_EQUAL(trail_count(r, AW_FINDING_HOLE, NULL), 5);
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
    make(&t, TRAIL_CANONICAL, 9, 1);
    snprintf(expect, sizeof expect, "tenant:t0=%s", t.head[0]);
    trail_edit(&t, 0, "doc.read", "doc.nice");
    trail_reseal(&t);
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_good(r);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "no signature or anchor covers this history"));
    struct trail_check check = {0, 0, expect, 0};
    expect_findings(trail_verify(&t, &check), (struct want[]){{AW_FINDING_TRUNCATED, NULL, "or it was sealed anew"}, {0, NULL, NULL}}, "sealed anew");
    trail_free(&t);
}

static void test_seqs(void)
{
    static const struct {
        size_t at;
        const char *from, *to;
        int want;
    } edits[] = {{4, "\"seq\":5}", "\"seq\":6}", 0},  {4, "\"seq\":5}", "\"seq\":4}", 0}, {4, "\"seq\":5}", "\"seq\":50}", 0},
                 {0, "\"seq\":1}", "\"seq\":3}", 0},  {8, "\"seq\":9}", "\"seq\":10}", 0}, {8, "\"seq\":9}", "\"seq\":7}", 0},
                 {4, ",\"seq\":5}", "}", AW_FINDING_MALFORMED}, {8, ",\"seq\":9}", "}", AW_FINDING_MALFORMED},
                 {0, "\"seq\":1}", "\"seq\":9007199254740991}", 0}, {4, "\"seq\":5}", "\"seq\":0}", 0},
                 {4, "\"seq\":5}", "\"seq\":-5}", 0}, {4, "\"seq\":5}", "\"seq\":5.5}", 0}, {4, "\"seq\":5}", "\"seq\":\"5\"}", 0},
                 {4, "\"seq\":5}", "\"seq\":null}", 0}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        for (unsigned scopes = 1; scopes <= 2; scopes++) {
            struct trail t;
            make(&t, TRAIL_CANONICAL, 9, scopes);
            trail_edit(&t, edits[i].at, edits[i].from, edits[i].to);
            const struct trail_result *r = trail_verify(&t, NULL);
            bool good = r->report.findings >= 1 && r->report.findings <= 4 && (!edits[i].want || r->findings[0].kind == edits[i].want);
            CU_ASSERT(good);
            if (!good) {
                harness_note("seq: %s in %u scopes", edits[i].to, scopes);
                trail_print(r);
            }
            trail_free(&t);
        }
}

static void test_store_seq(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 6, 1);
    for (size_t i = 0; i < t.count; i++)
        t.lines[i].store_seq = i + 1;
    expect_good(trail_verify(&t, NULL));
    t.lines[2].store_seq = 9;
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(r, (struct want[]){{AW_FINDING_EDITED, "trail.jsonl:3", "the store's number of this row"}, {0, NULL, NULL}}, "store's seq");
    CU_ASSERT_STRING_EQUAL(r->findings[0].expected, "3");
    CU_ASSERT_STRING_EQUAL(r->findings[0].found, "9");
    trail_free(&t);
}

static void test_integrity_member(void)
{
    static const struct {
        const char *from, *to, *message;
    } edits[] = {{"\"alg\":\"SHA-256\"", "\"alg\":\"SHA-257\"", "integrity.alg"},
                 {"\"alg\":\"SHA-256\"", "\"alg\":\"sha-256\"", "integrity.alg"},
                 {"\"alg\":\"SHA-256\",", "", "integrity.alg is missing"},
                 {"\"alg\":\"SHA-256\"", "\"alg\":1", NULL},
                 {"\"hash\":\"", "\"hash\":\"0", "integrity.hash"},
                 {"\"hash\":", "\"hasg\":", NULL},
                 {"\"prevHash\":\"", "\"prevHash\":\"00", "integrity.prevHash"},
                 {"\"prevHash\":\"", "\"prevHash\":\" ", "integrity.prevHash"},
                 {"\"integrity\":{", "\"integrity\":[{", NULL},
                 {"\"integrity\":{", "\"integrity\":null,\"x\":{", NULL},
                 {"\"integrity\":{", "\"integrity\":{\"extra\":1,", NULL},
                 {"\"seq\":4", "\"seq\":4,\"zzz\":true", NULL},
                 {"\"alg\":\"SHA-256\",", "\"alg\":\"SHA-256\",\"alg\":\"SHA-256\",", NULL},
                 {"\"schemaVersion\":1}", "\"schemaVersion\":1,\"schemaVersion\":1}", NULL},
                 {"\"schemaVersion\":1}", "\"schemaVersion\":1}x", NULL},
                 {"\"schemaVersion\":1}", "\"schemaVersion\":1", NULL},
                 {"\"schemaVersion\":1}", "\"schemaVersion\":1}{}", NULL}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct trail t;
        make(&t, TRAIL_CANONICAL, 6, 1);
        trail_edit(&t, 3, edits[i].from, edits[i].to);
        const struct trail_result *r = trail_verify(&t, NULL);
        bool good = r->report.findings >= 1 && r->report.findings <= 3 && strcmp(r->findings[0].location, "trail.jsonl:4") == 0 &&
                    (!edits[i].message || (r->findings[0].kind == AW_FINDING_MALFORMED && strstr(r->findings[0].message, edits[i].message)));
        CU_ASSERT(good);
        if (!good) {
            harness_note("integrity: %s", edits[i].to);
            trail_print(r);
        }
        trail_free(&t);
    }
}

static void test_upper_case(void)
{
    for (int prev = 0; prev < 2; prev++) {
        struct trail t;
        make(&t, TRAIL_CANONICAL, 6, 1);
        char *p = strstr(t.lines[3].text, prev ? "\"prevHash\":\"" : "\"hash\":\"") + (prev ? 12 : 8);
        for (char *end = p + 64; p < end; p++)
            if (*p >= 'a' && *p <= 'f')
                *p = (char)(*p - 32);
        expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_MALFORMED, "trail.jsonl:4", "64 lower-case hex digits"}, {0, NULL, NULL}}, "upper case");
        trail_free(&t);
    }
}

static void test_damaged_lines(void)
{
    static const char *const lines[] = {"", " ", "x", "null", "[]", "{}", "{\"a\":1", "\"text\"", "{\"integrity\":{}}", "{\"integrity\":1}"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct trail t;
        make(&t, TRAIL_CANONICAL, 4, 1);
        trail_replace(&t, 2, lines[i], strlen(lines[i]));
        const struct trail_result *r = trail_verify(&t, NULL);
        bool good = r->report.findings >= 1 && r->report.findings <= 3 && strcmp(r->findings[0].location, "trail.jsonl:3") == 0;
        CU_ASSERT(good);
        if (!good) {
            harness_note("damaged: '%s'", lines[i]);
            trail_print(r);
        }
        trail_free(&t);
    }
    struct trail t;
    make(&t, TRAIL_CANONICAL, 4, 1);
    t.lines[2].text[100] = '\0'; /* a NUL byte in the middle of the text */
    const struct trail_result *r = trail_verify(&t, NULL);
    CU_ASSERT_EQUAL(r->findings[0].kind, AW_FINDING_MALFORMED);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->findings[1].message, "a damaged row between them may be it"));
    trail_free(&t);
    make(&t, TRAIL_CANONICAL, 4, 1);
    t.lines[3].len -= 20; /* the last line is torn */
    expect_findings(trail_verify(&t, NULL), (struct want[]){{AW_FINDING_MALFORMED, "trail.jsonl:4", "not an event: "}, {0, NULL, NULL}}, "torn");
    trail_free(&t);
}

static void test_huge_lines(void)
{
    static const size_t sizes[] = {1u << 20, (16u << 20) + 1};
    for (size_t i = 0; i < 2; i++) {
        struct trail t;
        make(&t, TRAIL_CANONICAL, 4, 1);
        char *big = malloc(sizes[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(big);
        memset(big, ' ', sizes[i]); /* honest, but with much white space: still the same event */
        memcpy(big, t.lines[1].text, t.lines[1].len);
        trail_replace(&t, 1, big, sizes[i]);
        const struct trail_result *r = trail_verify(&t, NULL);
        if (i == 0)
            expect_good(r);
        else
            CU_ASSERT_EQUAL(r->findings[0].kind, AW_FINDING_MALFORMED);
        memset(big, '[', sizes[i]);
        trail_replace(&t, 1, big, sizes[i]);
        r = trail_verify(&t, NULL);
        CU_ASSERT_EQUAL(r->findings[0].kind, AW_FINDING_MALFORMED);
        free(big);
        trail_free(&t);
    }
}

static void test_escaped_scope(void)
{
    /* The same tenant however it is escaped, and names that would drive a terminal are printed safely. */
    struct trail t;
    make(&t, TRAIL_SPACED, 6, 1);
    trail_edit(&t, 3, "\"t0\"", "\"\\u00740\"");
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_good(r);
    CU_ASSERT_EQUAL(r->scope_count, 1);
    trail_edit(&t, 5, "\"t0\"", "\"a\\u001b[31m\\u0000b\"");
    r = trail_verify(&t, NULL);
    CU_ASSERT_EQUAL(r->scope_count, 2);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].scope, "tenant:a\\u001b[31m\\u0000b");
    trail_free(&t);
}

static void test_limits_of_findings(void)
{
    struct trail t;
    make(&t, TRAIL_CANONICAL, 300, 3);
    for (size_t i = 0; i < t.count; i++)
        trail_edit(&t, i, "doc.read", "doc.raed");
    struct trail_check check = {0, 0, NULL, 7};
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
    make(&t, TRAIL_CANONICAL, 40, 1);
    trail_edit(&t, 20, "doc.read", "doc.raed");
    trail_move(&t, 5, 30);
    trail_edit(&t, 35, "doc.read", "doc.raed");
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_REORDERED, "trail.jsonl:6", "trail.jsonl:31"}, {AW_FINDING_EDITED, "trail.jsonl:20", NULL}, {AW_FINDING_EDITED, "trail.jsonl:36", NULL}, {0, NULL, NULL}},
                    "order");
    trail_free(&t);
}

static void test_usage(void)
{
    static const char *const bad[] = {"tenant:a", "tenant:a=12", "=", ",", "a=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                                      "tenant:a=00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg",
                                      "tenant:a=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff,"};
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct trail_check check = {0, 0, bad[i], 0};
        const struct trail_result *r = trail_verify(&t, &check);
        CU_ASSERT_EQUAL(r->rc, AW_ERR_USAGE);
        CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "expect_head: "));
    }
    struct trail_check check = {AW_VERIFY_COMPLETE | AW_VERIFY_PARTIAL, 0, NULL, 0};
    CU_ASSERT_EQUAL(trail_verify(&t, &check)->rc, AW_ERR_USAGE);
    check.flags = 1u << 20;
    CU_ASSERT_EQUAL(trail_verify(&t, &check)->rc, AW_ERR_USAGE);
    check = (struct trail_check){0, 0, "tenant:a=b,c=00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff", 0};
    const struct trail_result *r = trail_verify(&t, &check); /* '=' and ',' may be part of a scope */
    CU_ASSERT_EQUAL(r->finding_count, 1);
    CU_ASSERT_STRING_EQUAL(r->findings[0].scope, "tenant:a=b,c");
}

/* The example of audit-event(7) is what it says it is. */
static void test_documented_example(void)
{
    const char *top = getenv("top_srcdir");
    char path[1000], line[2000], hash[80] = "";
    snprintf(path, sizeof path, "%s/docs/audit-event.7.scd", top ? top : ".");
    FILE *f = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "{\"action\":", 10) == 0) {
            trail_forge(&t, 0, 0, "", 0);
            trail_replace(&t, 0, line, strlen(line));
        }
        if (strlen(line) == 67 && strcmp(line + 64, "  -") == 0)
            snprintf(hash, sizeof hash, "%.64s", line);
    }
    CU_ASSERT_EQUAL(fclose(f), 0);
    CU_ASSERT_EQUAL_FATAL(t.count, 1);
    struct trail_check complete = {AW_VERIFY_COMPLETE, 0, NULL, 0};
    const struct trail_result *r = trail_verify(&t, &complete);
    expect_good(r);
    CU_ASSERT_EQUAL(r->report.last_seq, 1);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].scope, "tenant:acme");
    CU_ASSERT_STRING_EQUAL(r->scopes[0].first_hash, hash);
    trail_free(&t);
}

HARNESS_MAIN("verify", {"honest trails pass in every style", test_honest}, {"the scope report", test_scope_report},
             {"trails that begin in mid-chain", test_rotated}, {"an empty trail", test_empty}, {"edited events", test_edited},
             {"edited and rehashed", test_edited_and_rehashed}, {"deleted events", test_deleted}, {"swapped events", test_swapped},
             {"moved events", test_moved}, {"duplicated events", test_duplicated}, {"inserted events", test_inserted},
             {"inserted events with a seq", test_inserted_with_seq}, {"a chain that begins anew", test_restarted},
             {"events of another scope", test_foreign}, {"events without integrity", test_unsealed},
             {"cut ends and removed chains", test_cut}, {"sealed anew without a key", test_resealed}, {"changed seqs", test_seqs},
             {"the store's own seq", test_store_seq}, {"changed integrity members", test_integrity_member},
             {"upper-case hashes", test_upper_case}, {"damaged lines", test_damaged_lines}, {"huge lines", test_huge_lines},
             {"escaped scope names", test_escaped_scope}, {"the limit of findings", test_limits_of_findings},
             {"findings in trail order", test_order_of_findings}, {"parameters that make no sense", test_usage},
             {"the manual's example", test_documented_example})
