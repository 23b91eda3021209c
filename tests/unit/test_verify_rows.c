/* test_verify_rows.c - the verifier: rows that are wrong by themselves: integrity members, seqs, damage.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "verify_trail.h"

static void test_unsealed(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 6, 1);
    char *text = t.lines[3].text, *at = strstr(text, "\"integrity\":{"), *end = strchr(at, '}') + 2;
    memmove(at, end, strlen(end) + 1);
    t.lines[3].len = strlen(text);
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:4", "though the trail is sealed"},
                                    {AW_FINDING_HOLE, "", "seq 4 is missing"},
                                    {0, NULL, NULL}},
                    "one unsealed");
    t.lines[3].store_seq = 4;
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:4", NULL}, {0, NULL, NULL}},
                    "numbered by the store");
    for (size_t i = 0; i < t.count; i++) {
        text = t.lines[i].text;
        at = strstr(text, "\"integrity\":{");
        if (!at)
            continue;
        end = strchr(at, '}') + 2;
        memmove(at, end, strlen(end) + 1);
        t.lines[i].len = strlen(text);
        if (i == 0)
            expect_findings(
                trail_verify(&t, NULL),
                (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:4", NULL},
                                {AW_FINDING_UNSEALED, "trail.jsonl:1", "1 event before the first sealed one has no"},
                                {0, NULL, NULL}},
                "the first two");
    }
    expect_findings(
        trail_verify(&t, NULL),
        (struct want[]){{AW_FINDING_UNSEALED, "trail.jsonl:1", "nothing that could be verified"}, {0, NULL, NULL}},
        "all unsealed");
    trail_free(&t);
}

static void test_seqs(void)
{
    static const struct {
        size_t at;
        const char *from, *to;
        int want;
    } edits[] = {{4, "\"seq\":5}", "\"seq\":6}", 0},
                 {4, "\"seq\":5}", "\"seq\":4}", 0},
                 {4, "\"seq\":5}", "\"seq\":50}", 0},
                 {0, "\"seq\":1}", "\"seq\":3}", 0},
                 {8, "\"seq\":9}", "\"seq\":10}", 0},
                 {8, "\"seq\":9}", "\"seq\":7}", 0},
                 {4, ",\"seq\":5}", "}", AW_FINDING_MALFORMED},
                 {8, ",\"seq\":9}", "}", AW_FINDING_MALFORMED},
                 {0, "\"seq\":1}", "\"seq\":9007199254740991}", 0},
                 {4, "\"seq\":5}", "\"seq\":0}", 0},
                 {4, "\"seq\":5}", "\"seq\":-5}", 0},
                 {4, "\"seq\":5}", "\"seq\":5.5}", 0},
                 {4, "\"seq\":5}", "\"seq\":\"5\"}", 0},
                 {4, "\"seq\":5}", "\"seq\":null}", 0}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++)
        for (unsigned scopes = 1; scopes <= 2; scopes++) {
            struct trail t;
            trail_make(&t, TRAIL_CANONICAL, 9, scopes);
            trail_edit(&t, edits[i].at, edits[i].from, edits[i].to);
            const struct trail_result *r = trail_verify(&t, NULL);
            bool good = r->report.findings >= 1 && r->report.findings <= 4 &&
                        (!edits[i].want || r->findings[0].kind == edits[i].want);
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
    trail_make(&t, TRAIL_CANONICAL, 6, 1);
    for (size_t i = 0; i < t.count; i++)
        t.lines[i].store_seq = i + 1;
    expect_good(trail_verify(&t, NULL));
    t.lines[2].store_seq = 9;
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_findings(
        r, (struct want[]){{AW_FINDING_EDITED, "trail.jsonl:3", "the store's number of this row"}, {0, NULL, NULL}},
        "store's seq");
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
        trail_make(&t, TRAIL_CANONICAL, 6, 1);
        trail_edit(&t, 3, edits[i].from, edits[i].to);
        const struct trail_result *r = trail_verify(&t, NULL);
        bool good = r->report.findings >= 1 && r->report.findings <= 3 &&
                    strcmp(r->findings[0].location, "trail.jsonl:4") == 0 &&
                    (!edits[i].message ||
                     (r->findings[0].kind == AW_FINDING_MALFORMED && strstr(r->findings[0].message, edits[i].message)));
        CU_ASSERT(good);
        if (!good) {
            harness_note("integrity: %s", edits[i].to);
            trail_print(r);
        }
        trail_free(&t);
    }
}

/* What is no prevHash must not pass for none. */
static void test_odd_origin(void)
{
    static const char *const odd[] = {"\"prevHash\":null,", "\"prevHash\":\"\",", "\"prevHash\":5,", "\"prevHash\":{},",
                                      "\"PrevHash\":\"\","};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct trail t;
        char to[64];
        trail_make(&t, TRAIL_CANONICAL, 3, 1);
        snprintf(to, sizeof to, "%s\"seq\":1", odd[i]);
        trail_edit(&t, 0, "\"seq\":1", to);
        expect_findings(
            trail_verify(&t, NULL),
            (struct want[]){{AW_FINDING_MALFORMED, "trail.jsonl:1", "integrity has a member"}, {0, NULL, NULL}},
            odd[i]);
        trail_free(&t);
    }
}

/* Signatures are known, and it is said that they are not checked. */
static void test_signatures(void)
{
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 3, 1);
    trail_edit(&t, 1, "\"integrity\":{", "\"integrity\":{\"keyId\":\"k1\",\"sig\":\"AAAA\",");
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_good(r);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->warnings, "1 events carry signatures, which this version does not check"));
    trail_free(&t);
}

static void test_upper_case(void)
{
    for (int prev = 0; prev < 2; prev++) {
        struct trail t;
        trail_make(&t, TRAIL_CANONICAL, 6, 1);
        char *p = strstr(t.lines[3].text, prev ? "\"prevHash\":\"" : "\"hash\":\"") + (prev ? 12 : 8);
        for (char *end = p + 64; p < end; p++)
            if (*p >= 'a' && *p <= 'f')
                *p = (char)(*p - 32);
        expect_findings(
            trail_verify(&t, NULL),
            (struct want[]){{AW_FINDING_MALFORMED, "trail.jsonl:4", "64 lower-case hex digits"}, {0, NULL, NULL}},
            "upper case");
        trail_free(&t);
    }
}

static void test_damaged_lines(void)
{
    static const char *const lines[] = {
        "", " ", "x", "null", "[]", "{}", "{\"a\":1", "\"text\"", "{\"integrity\":{}}", "{\"integrity\":1}"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct trail t;
        trail_make(&t, TRAIL_CANONICAL, 4, 1);
        trail_replace(&t, 2, lines[i], strlen(lines[i]));
        const struct trail_result *r = trail_verify(&t, NULL);
        bool good =
            r->report.findings >= 1 && r->report.findings <= 3 && strcmp(r->findings[0].location, "trail.jsonl:3") == 0;
        CU_ASSERT(good);
        if (!good) {
            harness_note("damaged: '%s'", lines[i]);
            trail_print(r);
        }
        trail_free(&t);
    }
    struct trail t;
    trail_make(&t, TRAIL_CANONICAL, 4, 1);
    t.lines[2].text[100] = '\0'; /* a NUL byte in the middle of the text */
    const struct trail_result *r = trail_verify(&t, NULL);
    CU_ASSERT_EQUAL(r->findings[0].kind, AW_FINDING_MALFORMED);
    CU_ASSERT_PTR_NOT_NULL(strstr(r->findings[1].message, "a damaged row between them may be it"));
    trail_free(&t);
    trail_make(&t, TRAIL_CANONICAL, 4, 1);
    t.lines[3].len -= 20; /* the last line is torn */
    expect_findings(trail_verify(&t, NULL),
                    (struct want[]){{AW_FINDING_MALFORMED, "trail.jsonl:4", "not an event: "}, {0, NULL, NULL}},
                    "torn");
    trail_free(&t);
}

static void test_huge_lines(void)
{
    static const size_t sizes[] = {1u << 20, (16u << 20) + 1};
    for (size_t i = 0; i < 2; i++) {
        struct trail t;
        trail_make(&t, TRAIL_CANONICAL, 4, 1);
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
    trail_make(&t, TRAIL_SPACED, 6, 1);
    trail_edit(&t, 3, "\"t0\"", "\"\\u00740\"");
    const struct trail_result *r = trail_verify(&t, NULL);
    expect_good(r);
    CU_ASSERT_EQUAL(r->scope_count, 1);
    trail_edit(&t, 5, "\"t0\"", "\"a\\u001b[31m\\u0000b\"");
    r = trail_verify(&t, NULL);
    CU_ASSERT_EQUAL(r->scope_count, 2);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].scope, "tenant:a\\u001b[31m\\u0000b");
    char expect[200]; /* a head can be given back as the report prints it */
    snprintf(expect, sizeof expect, "%s=%s", r->scopes[0].scope, r->scopes[0].last_hash);
    struct trail_check check = {0, 0, expect, 0, NULL};
    r = trail_verify(&t, &check);
    CU_ASSERT_EQUAL(trail_count(r, AW_FINDING_MISSING, NULL), 0);
    trail_free(&t);
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
    struct trail_check complete = {AW_VERIFY_COMPLETE, 0, NULL, 0, NULL};
    const struct trail_result *r = trail_verify(&t, &complete);
    expect_good(r);
    CU_ASSERT_EQUAL(r->report.last_seq, 1);
    CU_ASSERT_STRING_EQUAL(r->scopes[0].scope, "tenant:acme");
    CU_ASSERT_STRING_EQUAL(r->scopes[0].first_hash, hash);
    trail_free(&t);
}

HARNESS_MAIN("verify_rows", {"events without integrity", test_unsealed}, {"changed seqs", test_seqs},
             {"the store's own seq", test_store_seq}, {"changed integrity members", test_integrity_member},
             {"odd first events", test_odd_origin}, {"signatures", test_signatures},
             {"upper-case hashes", test_upper_case}, {"damaged lines", test_damaged_lines},
             {"huge lines", test_huge_lines}, {"escaped scope names", test_escaped_scope},
             {"the manual's example", test_documented_example})
