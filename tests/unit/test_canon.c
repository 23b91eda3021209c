/* test_canon.c - stored events: what is canonical, what is not, and fields read back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "event_help.h"

#define INTEGRITY "\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"aa\",\"prevHash\":\"bb\",\"seq\":7}"

static bool same(struct aw_str s, const char *text)
{
    bool ok = s.len == strlen(text) && (s.len == 0 || memcmp(s.ptr, text, s.len) == 0);
    if (!ok)
        harness_note("found %.*s, expected %s", (int)s.len, s.ptr ? s.ptr : "", text);
    return ok;
}

/* prefix + suffix must be `rest`; in_place: and point into the line. */
static void check(const char *line, const char *rest, bool in_place)
{
    struct stored_event e;
    size_t len = strlen(line);
    diag_reset();
    CU_ASSERT_EQUAL_FATAL(event_parse_stored(line, len, &e), AW_SUCCESS);
    char joined[4096];
    CU_ASSERT_TRUE_FATAL(e.prefix.len + e.suffix.len < sizeof joined);
    memcpy(joined, e.prefix.ptr, e.prefix.len);
    memcpy(joined + e.prefix.len, e.suffix.ptr, e.suffix.len);
    joined[e.prefix.len + e.suffix.len] = '\0';
    CU_ASSERT_STRING_EQUAL(joined, rest);
    CU_ASSERT_EQUAL(e.prefix.ptr == line, in_place);
}

static void test_integrity_is_cut_out(void)
{
    check("{\"action\":\"a\"," INTEGRITY ",\"outcome\":\"x\"}", "{\"action\":\"a\",\"outcome\":\"x\"}", true);
    check("{\"action\":\"a\"," INTEGRITY "}", "{\"action\":\"a\"}", true);
    check("{" INTEGRITY ",\"outcome\":\"x\"}", "{\"outcome\":\"x\"}", true);
    check("{" INTEGRITY "}", "{}", true);
    check("{}", "{}", true);
    check("{\"action\":\"a\"}", "{\"action\":\"a\"}", true);
    check("{\"integrity\":null,\"z\":1}", "{\"z\":1}", true);
    check("{\"a\":{\"integrity\":1},\"z\":{\"integrity\":2}}", "{\"a\":{\"integrity\":1},\"z\":{\"integrity\":2}}",
          true);
}

static void test_not_canonical(void)
{
    static const char *const lines[] = {
        "{\"outcome\":\"x\",\"action\":\"a\"," INTEGRITY "}",
        "{\"action\":\"a\", " INTEGRITY ",\"outcome\":\"x\"}",
        " {\"action\":\"a\"," INTEGRITY ",\"outcome\":\"x\"}",
        "{\"action\":\"a\"," INTEGRITY ",\"outcome\":\"x\"}\n",
        "{\"\\u0061ction\":\"a\"," INTEGRITY ",\"outcome\":\"x\"}",
        "{\"action\":\"\\u0061\"," INTEGRITY ",\"outcome\":\"x\"}",
        "{\"action\":\"a\",\"\\u0069ntegrity\":{\"hash\":\"aa\"},\"outcome\":\"x\"}",
        "{\"action\" :\"a\"," INTEGRITY ",\"outcome\":\"x\"}",
        "{\"action\":\"a\",\"outcome\":\"x\"," INTEGRITY "}",
        INTEGRITY,
    };
    for (size_t i = 0; i + 1 < AW_ARRAY_LEN(lines); i++)
        check(lines[i], "{\"action\":\"a\",\"outcome\":\"x\"}", false);
    check("{\"a\":1.0}", "{\"a\":1}", false);
    check("{\"a\":-0}", "{\"a\":0}", false);
    check("{\"a\":1e2}", "{\"a\":100}", false);
    check("{\"a\":1E+21}", "{\"a\":1e+21}", false);
    check("{\"a\":0.10000000000000001}", "{\"a\":0.1}", false);
    check("{\"a\":\"\\/\"}", "{\"a\":\"/\"}", false);
    check("{\"a\":\"\\u000A\"}", "{\"a\":\"\\n\"}", false);
    check("{\"a\":\"\\u001F\"}", "{\"a\":\"\\u001f\"}", false);
    check("{\"a\":\"\\u00e9\"}", "{\"a\":\"\xc3\xa9\"}", false);
    check("{\"a\":{\"c\":1,\"b\":2}}", "{\"a\":{\"b\":2,\"c\":1}}", false);
    check("{\"actor\":{\"type\":1,\"id\":2}}", "{\"actor\":{\"id\":2,\"type\":1}}", false);
    check("{\"actor\":{\"zz\":1,\"id\":2}}", "{\"actor\":{\"id\":2,\"zz\":1}}", false);
    check("{" INTEGRITY ",\"eventId\":\"e\"}", "{\"eventId\":\"e\"}", false);
    check("{\"integrity\":{\"hash\":\"h\",\"alg\":\"x\"},\"z\":1}", "{\"z\":1}", false);
    check("{\"\xef\xac\xb3\":1,\"\xf0\x9f\x98\x80\":2}", "{\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}", false);
}

static void test_canonical_corners(void)
{
    check("{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\\u001f\\u0000\"}", "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\\u001f\\u0000\"}",
          true);
    check("{\"a\":[0,-1,1.5,1e+21,1e-7,123456789012345680000,5e-324]}",
          "{\"a\":[0,-1,1.5,1e+21,1e-7,123456789012345680000,5e-324]}", true);
    check("{\"a\":1152921504606847000}", "{\"a\":1152921504606847000}", true); /* as ES6 prints 2^60 */
    check("{\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}", "{\"\xf0\x9f\x98\x80\":2,\"\xef\xac\xb3\":1}", true);
    check("{\"a\":{\"b\":[{\"c\":{}},[]]}}", "{\"a\":{\"b\":[{\"c\":{}},[]]}}", true);
}

static void test_refused(void)
{
    static const struct {
        const char *line, *part;
    } cases[] = {
        {"", "the text ends"},
        {"[]", "not a JSON object"},
        {"1", "not a JSON object"},
        {"{\"a\":1}x", "only one value"},
        {"{" INTEGRITY "," INTEGRITY "}", "duplicate"},
        {"{\"context\":{},\"context\":{}}", "duplicate"},
        {"{\"context\":{\"tenantId\":\"a\",\"tenantId\":\"b\"}}", "duplicate"},
        {"{\"x\":{\"y\":1,\"y\":1}}", "duplicate"},
        {"{" INTEGRITY ",\"\\u0069ntegrity\":1}", "duplicate"},
        {"{\"integrity\":{\"hash\":\"a\",\"hash\":\"b\"}}", "duplicate"},
        {"{\"x\":1,\"a\":2,\"x\":3}", "duplicate"},
        {"{\"a\":\"\xff\"}", "UTF-8"},
        {"{\"a\":9007199254740993}", "cannot hold this integer"},
        {"{\"a\":1}\n{\"a\":1}", "only one value"},
        {"{\"a\":1", "the text ends"},
        {"{\"a\":\"\t\"}", "control character"},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        struct stored_event e;
        diag_reset();
        CU_ASSERT_EQUAL(event_parse_stored(cases[i].line, strlen(cases[i].line), &e), AW_ERR_INVALID_EVENT);
        CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "", cases[i].part));
    }
}

static void test_located(void)
{
    struct stored_event e;
    static const char line[] = "{\"action\":\"a\\\"b\",\"actor\":{\"id\":\"u\",\"type\":\"t\"},\"context\":{"
                               "\"occurredAt\":\"2024-06-07T06:00:00Z\",\"sourceService\":"
                               "\"s\",\"tenantId\":\"\\u00e9\"},\"eventId\":\"e\",\"integrity\":{\"alg\":\"SHA-256\","
                               "\"hash\":\"aa\",\"prevHash\":\"bb\",\"seq\":42},"
                               "\"outcome\":\"ERROR\",\"target\":{\"id\":\"d\",\"type\":\"x\"}}";
    CU_ASSERT_EQUAL(event_parse_stored(line, sizeof line - 1, &e), AW_SUCCESS);
    CU_ASSERT_TRUE(same(e.action, "a\\\"b"));
    CU_ASSERT_TRUE(same(e.actor_id, "u"));
    CU_ASSERT_TRUE(same(e.occurred_at, "2024-06-07T06:00:00Z"));
    CU_ASSERT_TRUE(same(e.source_service, "s"));
    CU_ASSERT_TRUE(same(e.tenant_id, "\xc3\xa9")); /* one spelling for one tenant */
    CU_ASSERT_TRUE(same(e.event_id, "e"));
    CU_ASSERT_TRUE(same(e.outcome, "ERROR"));
    CU_ASSERT_TRUE(same(e.target_id, "d"));
    CU_ASSERT_TRUE(same(e.integrity_alg, "SHA-256"));
    CU_ASSERT_TRUE(same(e.integrity_hash, "aa"));
    CU_ASSERT_TRUE(same(e.integrity_prev, "bb"));
    CU_ASSERT_EQUAL(e.integrity_seq, 42);
    CU_ASSERT_TRUE(e.has_integrity);
    CU_ASSERT_EQUAL(event_parse_stored(JSON("{\"action\":1,\"actor\":[],\"integrity\":\"x\"}"), &e), AW_SUCCESS);
    CU_ASSERT_TRUE(e.has_integrity && e.integrity_hash.len == 0 && e.action.len == 0 && e.actor_id.len == 0 &&
                   e.integrity_seq == 0);
    CU_ASSERT_EQUAL(event_parse_stored(JSON("{\"integrity\":{\"seq\":1.5}}"), &e), AW_SUCCESS);
    CU_ASSERT_EQUAL(e.integrity_seq, 0);
}

/* What is prepared and sealed reads back as canonical, and gives the prepared bytes. */
static void test_round_trip(void)
{
    struct event_policy *policy = help_policy(NULL);
    static const char *const jsons[] = {
        "{" HELP_HEAD "}", "{" HELP_HEAD ",\"metadata\":{\"n\":1152921504606846976,\"e\":\"\\u0001\\\"\"}}",
        "{" HELP_HEAD ",\"context\":{\"tenantId\":\"t\\\\\"},\"diff\":{\"\xf0\x9f\x98\x80\":1,\"\xef\xac\xb3\":2},"
        "\"retentionTag\":\"x\"}"};
    for (size_t i = 0; i < AW_ARRAY_LEN(jsons); i++) {
        struct prepared *p;
        char line[8192];
        const char *text = help_prepare(policy, jsons[i], &p);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        size_t at = p->integrity_at;
        snprintf(line, sizeof line, "%.*s" INTEGRITY ",%s", (int)at, text, text + at);
        check(line, text, true);
    }
    event_policy_destroy(policy);
}

static int64_t field(const char *json, const char *path, char *out, size_t size)
{
    return aw_json_field(json, strlen(json), path, out, size);
}

static void test_fields(void)
{
    static const char json[] = "{\"actor\":{\"id\":\"a\\nb\",\"roles\":[\"x\",{\"y\":1.50}]},\"a.b\":true,\"n\":null,"
                               "\"o\":{ \"z\":1,\"a\":[] }}";
    char out[64];
    CU_ASSERT_EQUAL(field(json, "actor.id", out, sizeof out), 3);
    CU_ASSERT_STRING_EQUAL(out, "a\nb");
    CU_ASSERT_EQUAL(field(json, "actor.roles[1].y", out, sizeof out), 3);
    CU_ASSERT_STRING_EQUAL(out, "1.5");
    CU_ASSERT_EQUAL(field(json, "a\\.b", out, sizeof out), 4);
    CU_ASSERT_EQUAL(field(json, "n", out, sizeof out), 4);
    CU_ASSERT_EQUAL(field(json, "o", out, sizeof out), 14);
    CU_ASSERT_STRING_EQUAL(out, "{\"a\":[],\"z\":1}");
    CU_ASSERT_EQUAL(field(json, "o", out, 5), 14);
    CU_ASSERT_STRING_EQUAL(out, "{\"a\"");
    CU_ASSERT_EQUAL(field(json, "o", NULL, 0), 14);
    CU_ASSERT_EQUAL(field(json, "actor.nope", out, sizeof out), AW_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(field(json, "actor.roles[2]", out, sizeof out), AW_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(field(json, "actor.id.x", out, sizeof out), AW_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(field("{", "a", out, sizeof out), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(field(json, "n", NULL, 4), AW_ERR_USAGE);
}

static void test_unescape(void)
{
    static const char in[] = "a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00z";
    char out[sizeof in];
    size_t n = event_unescape(in, sizeof in - 1, out);
    CU_ASSERT_TRUE(n == 16 && memcmp(out, "a\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80z", 16) == 0);
    CU_ASSERT_EQUAL(event_unescape("\\", 1, out), 1); /* garbage in: no crash, nothing beyond the end */
    CU_ASSERT_EQUAL(event_unescape("\\u12", 4, out), 3);
    CU_ASSERT_EQUAL(event_unescape("", 0, out), 0);
}

HARNESS_MAIN("canon", {"integrity is cut out", test_integrity_is_cut_out}, {"not canonical", test_not_canonical},
             {"canonical corners", test_canonical_corners}, {"refused", test_refused},
             {"members are located", test_located}, {"round trip", test_round_trip}, {"single fields", test_fields},
             {"unescaping", test_unescape})
