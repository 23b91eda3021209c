/* test_verify_random.c - the verifier against every flipped byte and against random trails.
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

static unsigned pick(uint64_t *state, unsigned below)
{
    return (unsigned)(harness_random(state) % below);
}

/* ---- every byte ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where another byte leaves the event the same: white space between tokens, the case of \u's digits and of an exponent,
 * and a minus before a zero, which RFC 8785 writes as 0. */
static bool means_the_same(const char *text, size_t at, char now)
{
    if (is_space(text[at]) && is_space(now))
        return true;
    if (is_space(text[at]) && now == '-' && text[at + 1] == '0' && strchr(",}] \t\n\r", text[at + 2]))
        return true;
    if (((unsigned char)text[at] ^ (unsigned char)now) != 0x20)
        return false;
    if ((now == 'e' || now == 'E') && at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9' && text[at + 1] == '-')
        return true;
    for (size_t back = 2; back <= 5 && back <= at; back++)
        if (text[at - back] == '\\' && text[at - back + 1] == 'u')
            return true;
    return false;
}

static size_t flip(struct trail *t, size_t line, size_t at, char now, const struct trail_check *check)
{
    char *text = t->lines[line].text, was = text[at];
    if (was == now)
        return 0;
    text[at] = now;
    const struct trail_result *r = trail_verify(t, check);
    bool found = r->report.verdict == 1 && r->report.findings <= 6;
    text[at] = was;
    if (!found && !means_the_same(text, at, now)) {
        CU_FAIL("a changed byte was not found, or made a flood");
        harness_note("line %zu, byte %zu: 0x%02x for 0x%02x: %.40s", line + 1, at, (unsigned char)now,
                     (unsigned char)was, text + (at > 20 ? at - 20 : 0));
        trail_print(r);
    }
    return 1;
}

static void test_flips(void)
{
    size_t done = 0;
    uint64_t seed = harness_seed();
    for (int style = 0; style < TRAIL_STYLES; style++) {
        struct trail t;
        struct trail_check check = {0, 1, NULL, 0, NULL};
        trail_init(&t, (enum trail_style)style);
        for (unsigned i = 0; i < 6; i++)
            trail_add(&t, i % 2, i);
        for (size_t line = 0; line < t.count && CU_get_number_of_failures() < 20; line++)
            for (size_t at = 0; at < t.lines[line].len; at++) {
                char was = t.lines[line].text[at];
                for (int bit = 0; bit < 8; bit++)
                    done += flip(&t, line, at, (char)(was ^ (1 << bit)), &check);
                done += flip(&t, line, at, (char)pick(&seed, 256), &check);
                done += flip(&t, line, at, "0\"\\ }]:,"[pick(&seed, 8)], &check);
            }
        trail_free(&t);
    }
    harness_note("%zu changed bytes", done);
    CU_ASSERT(done > 50000);
}

/* A byte to put in at a place: any but the zero that makes 0.50 of 0.5, which is the same number. */
static char byte_to_insert(const char *text, size_t at, uint64_t *seed)
{
    char c = "0a\"{}[],:\\e."[pick(seed, 12)];
    return c == '0' && at > 0 && (text[at - 1] == '.' || (text[at - 1] >= '0' && text[at - 1] <= '9')) ? '}' : c;
}

/* Each byte taken out, and a byte put in at each place. */
static void test_shifts(void)
{
    uint64_t seed = harness_seed();
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    for (unsigned i = 0; i < 4; i++)
        trail_add(&t, 0, i);
    char *was = malloc(t.lines[2].len + 2), *now = malloc(t.lines[2].len + 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(was);
    CU_ASSERT_PTR_NOT_NULL_FATAL(now);
    size_t len = t.lines[2].len;
    memcpy(was, t.lines[2].text, len);
    for (size_t at = 0; at <= len; at++) {
        memcpy(now, was, at);
        if (at < len) {
            memcpy(now + at, was + at + 1, len - at - 1);
            trail_replace(&t, 2, now, len - 1);
            CU_ASSERT_EQUAL(trail_verify(&t, NULL)->report.verdict, 1);
            trail_replace(&t, 2, was, at); /* and cut off here */
            CU_ASSERT_EQUAL(trail_verify(&t, NULL)->report.verdict, 1);
        }
        now[at] = byte_to_insert(was, at, &seed);
        memcpy(now + at + 1, was + at, len - at);
        trail_replace(&t, 2, now, len + 1);
        CU_ASSERT_EQUAL(trail_verify(&t, NULL)->report.verdict, 1);
    }
    free(was);
    free(now);
    trail_free(&t);
}

/* ---- random trails ---- */

static void random_honest(struct trail *t, uint64_t *seed, unsigned most)
{
    static const unsigned styles[] = {TRAIL_CANONICAL, TRAIL_CANONICAL, TRAIL_STRINGIFY, TRAIL_SPACED};
    unsigned count = 2 + pick(seed, most), scopes = 1 + pick(seed, TRAIL_SCOPES);
    trail_init(t, (enum trail_style)styles[pick(seed, 4)]);
    for (unsigned i = 0; i < count; i++)
        trail_add(t, pick(seed, scopes), i);
    if (pick(seed, 3) == 0) /* the rotated part is elsewhere */
        for (unsigned cut = pick(seed, count); cut > 0; cut--)
            trail_delete(t, 0);
    /* A store may keep chains in any interleaving that leaves each one's order. */
    for (unsigned i = 0; pick(seed, 3) == 0 && i < 2 * t->count; i++) {
        unsigned at = pick(seed, (unsigned)t->count);
        if (at + 1 < t->count && t->lines[at].scope != t->lines[at + 1].scope)
            trail_move(t, at, at + 1);
    }
}

static bool has_other_of_scope(const struct trail *t, size_t at, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (i != at && t->lines[i].scope == t->lines[at].scope)
            return true;
    return false;
}

static bool tamper_byte(struct trail *t, uint64_t *seed, size_t at, char what[64])
{
    struct trail_line *l = &t->lines[at];
    size_t byte = pick(seed, (unsigned)l->len);
    char now = (char)pick(seed, 256), *seq = strstr(l->text, "\"seq\":");
    snprintf(what, 64, "byte %zu of line %zu", byte, at + 1);
    if (now == l->text[byte] || means_the_same(l->text, byte, now))
        return false;
    /* The lowest and the highest seq have no neighbours on one side that would vouch for them; test_flips has the
     * others. */
    if (seq && l->text + byte >= seq && l->text + byte <= strchr(seq, '}'))
        return false;
    l->text[byte] = now;
    return true;
}

/* A forgery that follows a known event, nothing or an unknown event, at a random place behind it. */
static bool tamper_forge(struct trail *t, uint64_t *seed, size_t at, size_t to, char what[64])
{
    const struct trail_line *l = &t->lines[at];
    unsigned kind = pick(seed, 3);
    char prev[65] = "";
    snprintf(what, 64, "forgery %u after line %zu at %zu", kind, at + 1, to + 1);
    if (to <= at || !has_other_of_scope(t, at, to, t->count))
        return false;
    if (kind != 1)
        snprintf(prev, sizeof prev, "%s",
                 kind == 0 ? l->hash : "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    trail_forge(t, l->scope, 5000, prev, t->style == TRAIL_CANONICAL ? t->next_seq : 0);
    trail_move(t, t->count - 1, to);
    return true;
}

static bool tamper_tenant(struct trail *t, size_t at, char what[64])
{
    char *text = t->lines[at].text, *id = strstr(text, "\"t0\"");
    snprintf(what, 64, "line %zu to another tenant", at + 1);
    if (!id)
        id = strstr(text, "\"t2\"");
    if (!id)
        return false;
    id[2] = id[2] == '0' ? '2' : '0';
    return true;
}

/* One random tampering that must be found; false: this one was not possible here. */
static bool tamper(struct trail *t, uint64_t *seed, char what[64])
{
    size_t at = pick(seed, (unsigned)t->count), other = pick(seed, (unsigned)t->count);
    struct trail_line *l = &t->lines[at], swap;
    if (l->len == 0)
        return false;
    switch (pick(seed, 8)) {
    case 0:
        return tamper_byte(t, seed, at, what);
    case 1:
        snprintf(what, 64, "line %zu deleted", at + 1);
        if (!has_other_of_scope(t, at, 0, at) || !has_other_of_scope(t, at, at + 1, t->count))
            return false;
        trail_delete(t, at);
        return true;
    case 2:
        snprintf(what, 64, "lines %zu and %zu swapped", at + 1, other + 1);
        if (at == other || l->scope != t->lines[other].scope)
            return false;
        swap = *l;
        *l = t->lines[other];
        t->lines[other] = swap;
        return true;
    case 3:
        snprintf(what, 64, "line %zu again at %zu", at + 1, other + 1);
        trail_duplicate(t, at, other);
        return true;
    case 4:
    case 5:
        return tamper_forge(t, seed, at, other, what);
    case 6:
        return tamper_tenant(t, at, what);
    default:
        snprintf(what, 64, "line %zu cut short", at + 1);
        l->len = pick(seed, (unsigned)l->len);
        return true;
    }
}

static void test_property(void)
{
    uint64_t seed = harness_seed();
    unsigned rounds = harness_slow() ? 1000 : 6000, tampered = 0;
    for (unsigned round = 0; round < rounds && CU_get_number_of_failures() < 20; round++) {
        struct trail t, bad;
        struct trail_check check = {AW_VERIFY_MIDCHAIN, 1 + pick(&seed, 2), NULL, 0, NULL};
        random_honest(&t, &seed, 60);
        const struct trail_result *r = trail_verify(&t, &check);
        CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == 0);
        if (r->report.verdict != 0) {
            harness_note("round %u: an honest trail was not accepted", round);
            trail_print(r);
        }
        for (unsigned tries = 0; tries < 8; tries++) {
            char what[64];
            trail_copy(&bad, &t);
            bool done = tamper(&bad, &seed, what);
            if (done) {
                r = trail_verify(&bad, &check);
                tampered++;
                CU_ASSERT(r->rc == AW_SUCCESS && r->report.verdict == 1);
                if (r->report.verdict != 1)
                    harness_note("round %u: not found: %s", round, what);
            }
            /* Several at once may cancel each other: only that nothing goes wrong. */
            for (unsigned more = pick(&seed, 8) == 0 ? 6 : 0; more > 0 && bad.count > 0; more--)
                (void)tamper(&bad, &seed, what);
            CU_ASSERT_EQUAL(trail_verify(&bad, &check)->rc, AW_SUCCESS);
            trail_free(&bad);
        }
        trail_free(&t);
    }
    harness_note("%u honest trails, %u tampered ones", rounds, tampered);
    CU_ASSERT(tampered > rounds);
}

/* ---- threads ---- */

/* The same findings in the same order, however many threads check. */
static void test_threads(void)
{
    static struct trail_result one;
    uint64_t seed = harness_seed();
    struct trail t;
    trail_init(&t, TRAIL_CANONICAL);
    for (unsigned i = 0; i < 5000; i++)
        trail_add(&t, pick(&seed, TRAIL_SCOPES), i);
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        struct trail_check check = {0, threads, NULL, 0, NULL};
        const struct trail_result *r = trail_verify(&t, &check);
        CU_ASSERT_EQUAL(r->report.findings, 0);
        CU_ASSERT_EQUAL(r->report.last_seq, 5000);
    }
    for (unsigned i = 0; i < 60; i++) {
        char what[64];
        (void)tamper(&t, &seed, what);
    }
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        struct trail_check check = {0, threads, NULL, 0, NULL};
        const struct trail_result *r = trail_verify(&t, &check);
        CU_ASSERT_EQUAL(r->report.verdict, 1);
        if (threads == 1) {
            one = *r;
            continue;
        }
        CU_ASSERT_EQUAL(r->report.findings, one.report.findings);
        CU_ASSERT_EQUAL(r->finding_count, one.finding_count);
        for (size_t i = 0; i < r->finding_count && i < one.finding_count && i < TRAIL_FINDINGS; i++) {
            CU_ASSERT_STRING_EQUAL(r->findings[i].message, one.findings[i].message);
            CU_ASSERT_STRING_EQUAL(r->findings[i].location, one.findings[i].location);
        }
    }
    trail_free(&t);
}

/* ---- a second opinion ---- */

/* Runs the oracle; its output as lines of a trail. False: it could not run. */
static bool oracle(const char *arguments, struct trail *ret)
{
    const char *node = getenv("NODE"), *top = getenv("top_srcdir");
    char command[2000], line[8192];
    trail_init(ret, TRAIL_STRINGIFY);
    if (!node || !*node)
        return false;
    snprintf(command, sizeof command, "'%s' '%s/tests/unit/verify_oracle.js' %s", node, top ? top : ".", arguments);
    FILE *f = popen(command, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    while (fgets(line, sizeof line, f)) {
        trail_forge(ret, 0, 0, "", 0); /* makes the place */
        trail_replace(ret, ret->count - 1, line, strcspn(line, "\n"));
    }
    CU_ASSERT_EQUAL(pclose(f), 0);
    return true;
}

/* Trails of another program, with awkward text and numbers, are accepted, and the findings are where they must be. */
static void test_oracle_makes(void)
{
    uint64_t seed = harness_seed();
    struct trail t;
    char arguments[100];
    snprintf(arguments, sizeof arguments, "make %u 400", pick(&seed, 1000000000));
    if (!oracle(arguments, &t)) {
        harness_skip("node is not installed");
        return;
    }
    CU_ASSERT_EQUAL(t.count, 400);
    struct trail_check check = {AW_VERIFY_COMPLETE, 2, NULL, 0, NULL};
    const struct trail_result *r = trail_verify(&t, &check);
    CU_ASSERT(r->rc == AW_SUCCESS && r->report.findings == 0);
    if (r->report.findings != 0)
        trail_print(r);
    for (unsigned i = 0; i < 50; i++) {
        size_t at = pick(&seed, 400);
        char *digit = strstr(t.lines[at].text, "ev-") + 3, was = *digit, where[40];
        *digit = was == '9' ? '8' : '9';
        r = trail_verify(&t, NULL);
        *digit = was;
        snprintf(where, sizeof where, "trail.jsonl:%zu", at + 1);
        CU_ASSERT_EQUAL(r->finding_count, 1);
        CU_ASSERT_EQUAL(r->findings[0].kind, AW_FINDING_EDITED);
        CU_ASSERT_STRING_EQUAL(r->findings[0].location, where);
    }
    trail_free(&t);
}

/* And the other program accepts what these tests call honest, and refuses what they call edited. */
static void test_oracle_checks(void)
{
    for (int round = 0; round < 2 * TRAIL_STYLES; round++) {
        struct trail t, answer;
        char path[400], arguments[450];
        trail_init(&t, (enum trail_style)(round / 2));
        for (unsigned i = 0; i < 50; i++)
            trail_add(&t, i % 3, i);
        if (round % 2)
            trail_edit(&t, 30, "doc.read", "doc.raed");
        snprintf(path, sizeof path, "%s/trail-%d.jsonl", harness_tmpdir(), round);
        FILE *f = fopen(path, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        for (size_t i = 0; i < t.count; i++)
            fprintf(f, "%s\n", t.lines[i].text);
        CU_ASSERT_EQUAL(fclose(f), 0);
        snprintf(arguments, sizeof arguments, "check '%s'", path);
        if (oracle(arguments, &answer)) {
            CU_ASSERT_EQUAL_FATAL(answer.count, 1);
            CU_ASSERT_STRING_EQUAL(answer.lines[0].text, round % 2 ? "bad 31 content" : "good 50");
        } else {
            harness_skip("node is not installed");
        }
        trail_free(&answer);
        trail_free(&t);
    }
}

HARNESS_MAIN("verify_random", {"every changed byte is found", test_flips}, {"bytes taken out and put in", test_shifts},
             {"random trails and random tampering", test_property}, {"threads agree", test_threads},
             {"trails that another program made", test_oracle_makes},
             {"another program agrees on what is honest", test_oracle_checks})
