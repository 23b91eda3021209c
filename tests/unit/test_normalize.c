/* test_normalize.c - defaults, checks, unknown members, the field table. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event_help.h"

#include "base/clock.h"

static struct aw_str field(const struct prepared *p, uint32_t id)
{
    for (uint32_t i = 0; i < p->field_count; i++) {
        if (field_id(p->fields[i]) == id)
            return (struct aw_str){p->json + field_offset(p->fields[i]), field_len(p->fields[i])};
    }
    return (struct aw_str){NULL, 0};
}

static bool field_is(const struct prepared *p, uint32_t id, const char *text)
{
    struct aw_str f = field(p, id);
    bool same = f.ptr && f.len == strlen(text) && memcmp(f.ptr, text, f.len) == 0;
    if (!same)
        harness_note("field %u is %.*s, not %s", id, (int)f.len, f.ptr ? f.ptr : "", text);
    return same;
}

static void with_defaults(struct event_settings *s)
{
    s->service = "billing";
    s->service_version = "1.2";
    s->environment = "prod";
    s->host = "h\"1";
    s->region = "eu";
    s->instance = "i-1";
}

static void test_full_event(void)
{
    struct event_policy *policy = help_policy(NULL);
    struct prepared *p;
    static const char in[] =
        "{\"schemaVersion\":1,\"eventId\":\"e-1\",\"action\":\"user.login\",\"outcome\":\"DENIED\",\"actor\":{\"type\":"
        "\"user\","
        "\"id\":\"u\\\"1\",\"displayName\":\"Zo\xc3\xab\",\"roles\":[\"b\",\"a\"],\"ip\":\"10.0.0.1\",\"userAgent\":"
        "\"curl\"},"
        "\"target\":{\"type\":\"doc\",\"id\":\"d1\",\"displayName\":\"D\"},\"context\":{\"traceId\":\"t\",\"tenantId\":"
        "\"acme\","
        "\"occurredAt\":\"2024-06-07T06:00:00.001Z\",\"requestId\":\"r\",\"sessionId\":\"s\",\"orgId\":\"o\","
        "\"environment\":\"e\","
        "\"sourceService\":\"svc\",\"sourceVersion\":\"v\",\"sourceHost\":\"h\",\"sourceRegion\":\"x\","
        "\"sourceInstance\":\"i\"},"
        "\"metadata\":{\"b\":[1,{\"z\":1,\"a\":null}],\"a\":1.50},\"diff\":{\"x\":true},\"retentionTag\":\"keep\"}";
    static const char out[] = "{\"action\":\"user.login\",\"actor\":{\"displayName\":\"Zo\xc3\xab\",\"id\":"
                              "\"u\\\"1\",\"ip\":\"10.0.0.1\",\"roles\":"
                              "[\"b\",\"a\"],\"type\":\"user\",\"userAgent\":\"curl\"},\"context\":{\"environment\":"
                              "\"e\",\"occurredAt\":\"2024-06-07T06:00:"
                              "00.001Z\",\"orgId\":\"o\",\"requestId\":\"r\",\"sessionId\":\"s\",\"sourceHost\":"
                              "\"h\",\"sourceInstance\":\"i\","
                              "\"sourceRegion\":\"x\",\"sourceService\":\"svc\",\"sourceVersion\":\"v\","
                              "\"tenantId\":\"acme\",\"traceId\":\"t\"},\"diff\":"
                              "{\"x\":true},\"eventId\":\"e-1\",\"metadata\":{\"a\":1.5,\"b\":[1,{\"a\":null,\"z\":"
                              "1}]},\"outcome\":\"DENIED\","
                              "\"retentionTag\":\"keep\",\"schemaVersion\":1,\"target\":{\"displayName\":\"D\","
                              "\"id\":\"d1\",\"type\":\"doc\"}}";
    const char *text = help_prepare(policy, in, &p);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_STRING_EQUAL(text, out);
    CU_ASSERT_EQUAL(strncmp(text + p->integrity_at, "\"metadata\"", 10), 0);
    CU_ASSERT_EQUAL(p->occurred_ns, 1717740000001000000);
    CU_ASSERT_TRUE(p->scope_is_tenant);
    CU_ASSERT_TRUE(p->scope_value.len == 4 && memcmp(p->scope_value.ptr, "acme", 4) == 0);
    static const struct {
        uint32_t id;
        const char *text;
    } fields[] = {{AW_FIELD_EVENT_ID, "e-1"},
                  {AW_FIELD_ACTION, "user.login"},
                  {AW_FIELD_OUTCOME, "DENIED"},
                  {AW_FIELD_OCCURRED_AT, "2024-06-07T06:00:00.001Z"},
                  {AW_FIELD_RETENTION_TAG, "keep"},
                  {AW_FIELD_ACTOR_ID, "u\\\"1"},
                  {AW_FIELD_ACTOR_TYPE, "user"},
                  {AW_FIELD_ACTOR_DISPLAY_NAME, "Zo\xc3\xab"},
                  {AW_FIELD_ACTOR_ROLES, "[\"b\",\"a\"]"},
                  {AW_FIELD_ACTOR_IP, "10.0.0.1"},
                  {AW_FIELD_ACTOR_USER_AGENT, "curl"},
                  {AW_FIELD_TARGET_ID, "d1"},
                  {AW_FIELD_TARGET_TYPE, "doc"},
                  {AW_FIELD_TARGET_DISPLAY_NAME, "D"},
                  {AW_FIELD_TENANT_ID, "acme"},
                  {AW_FIELD_ORG_ID, "o"},
                  {AW_FIELD_REQUEST_ID, "r"},
                  {AW_FIELD_TRACE_ID, "t"},
                  {AW_FIELD_SESSION_ID, "s"},
                  {AW_FIELD_ENVIRONMENT, "e"},
                  {AW_FIELD_SOURCE_SERVICE, "svc"},
                  {AW_FIELD_SOURCE_VERSION, "v"},
                  {AW_FIELD_SOURCE_HOST, "h"},
                  {AW_FIELD_SOURCE_REGION, "x"},
                  {AW_FIELD_SOURCE_INSTANCE, "i"},
                  {AW_FIELD_METADATA, "{\"a\":1.5,\"b\":[1,{\"a\":null,\"z\":1}]}"},
                  {AW_FIELD_DIFF, "{\"x\":true}"},
                  {AW_FIELD_TARGET, "{\"displayName\":\"D\",\"id\":\"d1\",\"type\":\"doc\"}"}};
    for (size_t i = 0; i < AW_ARRAY_LEN(fields); i++)
        CU_ASSERT_TRUE(field_is(p, fields[i].id, fields[i].text));
    CU_ASSERT_EQUAL(p->field_count, AW_ARRAY_LEN(fields) + 2);
    CU_ASSERT_TRUE(field(p, AW_FIELD_ACTOR).len > 0 && field(p, AW_FIELD_CONTEXT).len > 0);
    for (uint32_t i = 0; i < p->field_count; i++)
        CU_ASSERT_EQUAL(p->fields[i].len_flags & FIELD_ESCAPED,
                        field_id(p->fields[i]) == AW_FIELD_ACTOR_ID ? FIELD_ESCAPED : 0);
    event_policy_destroy(policy);
}

static void test_defaults(void)
{
    struct event_policy *policy = help_policy(with_defaults);
    struct prepared *p;
    int64_t before = (int64_t)clock_real_ns() / 1000000 * 1000000;
    const char *text = help_prepare(policy, "{" HELP_HEAD "}", &p);
    int64_t after = (int64_t)clock_real_ns(), ns = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(field(p, AW_FIELD_EVENT_ID).len, 36);
    CU_ASSERT_EQUAL(field(p, AW_FIELD_EVENT_ID).ptr[14], '7');
    CU_ASSERT_TRUE(p->occurred_ns >= before && p->occurred_ns <= after);
    struct aw_str t = field(p, AW_FIELD_OCCURRED_AT);
    CU_ASSERT_TRUE(clock_parse_rfc3339(t.ptr, t.len, &ns) && ns == p->occurred_ns);
    CU_ASSERT_TRUE(help_holds(
        text, "\"sourceHost\":\"h\\\"1\",\"sourceInstance\":\"i-1\",\"sourceRegion\":\"eu\",\"sourceService\":"
              "\"billing\",\"sourceVersion\":\"1.2\"}"));
    CU_ASSERT_TRUE(help_holds(text, "\"context\":{\"environment\":\"prod\","));
    CU_ASSERT_FALSE(p->scope_is_tenant);
    CU_ASSERT_TRUE(p->scope_value.len == 7 && memcmp(p->scope_value.ptr, "billing", 7) == 0);
    CU_ASSERT_EQUAL(strncmp(text + p->integrity_at, "\"outcome\"", 9), 0);
    text = help_prepare(policy, "{" HELP_HEAD ",\"context\":{\"sourceService\":\"own\",\"tenantId\":\"\"}}", &p);
    CU_ASSERT_TRUE(help_holds(text, "\"sourceService\":\"own\""));
    CU_ASSERT_FALSE(p->scope_is_tenant);
    event_policy_destroy(policy);
    policy = help_policy(NULL);
    text = help_prepare(policy, "{" HELP_HEAD "}", &p);
    CU_ASSERT_TRUE(p->scope_value.len == 7 && memcmp(p->scope_value.ptr, "unknown", 7) == 0);
    event_policy_destroy(policy);
}

struct wrong {
    const char *json, *path, *part;
};

static void test_problems(void)
{
    static const struct wrong cases[] = {
        {"{}", "action", "is missing"},
        {"{}", "outcome", "is missing"},
        {"{}", "actor.type", "is missing"},
        {"{}", "actor.id", "is missing"},
        {"[]", "", "an object"},
        {"", "", "not a JSON event"},
        {"{\"a\"", "", "line 1, column 5"},
        {"{" HELP_HEAD ",\"action\":\"x\"}", "", "duplicate member name"},
        {"{\"action\":\"\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":\"\"}}", "action",
         "must not be empty"},
        {"{\"action\":\"\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":\"\"}}", "actor.id",
         "must not be empty"},
        {"{\"action\":1,\"outcome\":\"success\",\"actor\":\"me\"}", "action", "must be a string, not a number"},
        {"{\"action\":1,\"outcome\":\"success\",\"actor\":\"me\"}", "outcome",
         "\"SUCCESS\", \"FAILURE\", \"DENIED\" or \"ERROR\""},
        {"{\"action\":1,\"outcome\":\"success\",\"actor\":\"me\"}", "actor", "must be an object, not a string"},
        {"{" HELP_HEAD ",\"context\":{\"tenantId\":null,\"requestId\":5}}", "context.tenantId",
         "not null; leave the member out"},
        {"{" HELP_HEAD ",\"context\":{\"tenantId\":null,\"requestId\":5}}", "context.requestId",
         "must be a string, not a number"},
        {"{" HELP_HEAD ",\"context\":{\"occurredAt\":\"yesterday\"}}", "context.occurredAt", "RFC 3339"},
        {"{" HELP_HEAD ",\"context\":[]}", "context", "must be an object, not an array"},
        {"{" HELP_HEAD ",\"metadata\":[]}", "metadata", "must be an object"},
        {"{" HELP_HEAD ",\"diff\":\"x\"}", "diff", "must be an object"},
        {"{" HELP_HEAD ",\"target\":{\"id\":\"t\"}}", "target.type", "a target needs a type"},
        {"{" HELP_HEAD ",\"target\":{\"type\":\"\"}}", "target.type", "must not be empty"},
        {"{" HELP_HEAD ",\"schemaVersion\":2}", "schemaVersion", "only schema version 1"},
        {"{" HELP_HEAD ",\"schemaVersion\":\"1\"}", "schemaVersion", "the number 1"},
        {"{" HELP_HEAD ",\"eventId\":\"\"}", "eventId", "1 to 128 bytes"},
        {"{" HELP_HEAD ",\"retentionTag\":{}}", "retentionTag", "a string"},
        {"{" HELP_HEAD ",\"metadataTruncated\":1}", "metadataTruncated", "true or false"},
        {"{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\",\"id\":\"i\",\"roles\":[\"x\",2]}}",
         "actor.roles[1]", "a string, not a number"},
        {"{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\",\"id\":\"i\",\"roles\":\"x\"}}",
         "actor.roles", "an array of strings"},
        {"{" HELP_HEAD ",\"metadata\":{\"n\":9007199254740993}}", "", "cannot hold this integer"},
    };
    struct event_policy *policy = help_policy(NULL);
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        CU_ASSERT_PTR_NULL(help_prepare(policy, cases[i].json, NULL));
        CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, cases[i].path, cases[i].part));
    }
    (void)help_prepare(policy, "{\"action\":1,\"outcome\":\"success\",\"actor\":\"me\"}", NULL);
    CU_ASSERT_EQUAL(diag_count(), 3); /* nothing is said twice */
    event_policy_destroy(policy);
}

static void test_lengths(void)
{
    struct event_policy *policy = help_policy(NULL);
    char json[1024], text[300];
    for (size_t n = 128; n <= 129; n++) {
        memset(text, 'x', n);
        text[n] = '\0';
        snprintf(json, sizeof json, "{" HELP_HEAD ",\"eventId\":\"%s\"}", text);
        CU_ASSERT_EQUAL(help_prepare(policy, json, NULL) != NULL, n == 128);
    }
    for (size_t n = 256; n <= 257; n++) {
        memset(text, 'x', n);
        text[n] = '\0';
        snprintf(json, sizeof json, "{\"action\":\"%s\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\",\"id\":\"i\"}}",
                 text);
        CU_ASSERT_EQUAL(help_prepare(policy, json, NULL) != NULL, n == 256);
    }
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "action", "256 bytes"));
    event_policy_destroy(policy);
}

static void strict_naming(struct event_settings *s)
{
    s->strict_naming = true;
}

static void strict(struct event_settings *s)
{
    s->strict = true;
}

static void test_uuid_in_action(void)
{
    static const char json[] = "{\"action\":\"doc.018f2b4c-7d1e-7abc-8def-0123456789ab.read\",\"outcome\":\"ERROR\","
                               "\"actor\":{\"type\":\"u\",\"id\":\"i\"}}";
    struct event_policy *policy = help_policy(NULL);
    CU_ASSERT_PTR_NOT_NULL(help_prepare(policy, json, NULL));
    CU_ASSERT_TRUE(help_has_problem(AW_SUCCESS, "action", "contains a UUID"));
    CU_ASSERT_EQUAL(diag_warnings(), 1);
    event_policy_destroy(policy);
    policy = help_policy(strict_naming);
    CU_ASSERT_PTR_NULL(help_prepare(policy, json, NULL));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "action", "contains a UUID"));
    event_policy_destroy(policy);
}

static void test_unknown_members(void)
{
    static const char json[] =
        "{" HELP_HEAD ",\"zeta\":[1],\"integrity\":{\"hash\":\"x\"},\"metadata\":{\"zeta\":2,\"_zeta\":3,\"m\":1}}";
    struct event_policy *policy = help_policy(NULL);
    const char *text = help_prepare(policy, json, NULL);
    CU_ASSERT_TRUE(help_holds(
        text, "\"metadata\":{\"__zeta\":[1],\"_zeta\":3,\"integrity\":{\"hash\":\"x\"},\"m\":1,\"zeta\":2}"));
    CU_ASSERT_TRUE(help_has_problem(AW_SUCCESS, "zeta", "moved below metadata"));
    CU_ASSERT_TRUE(help_has_problem(AW_SUCCESS, "integrity", "moved below metadata"));
    text = help_prepare(policy, "{" HELP_HEAD ",\"extra\":{\"password\":\"hunter2\"}}", NULL);
    CU_ASSERT_TRUE(help_holds(text, "\"metadata\":{\"extra\":{\"password\":\"***\"}}"));
    text = help_prepare(
        policy,
        "{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"zz\":1,\"type\":\"u\",\"aa\":2,\"id\":\"i\",\"j\":{}},"
        "\"context\":{\"custom\":true}}",
        NULL);
    CU_ASSERT_TRUE(help_holds(text, "\"actor\":{\"aa\":2,\"id\":\"i\",\"j\":{},\"type\":\"u\",\"zz\":1}"));
    CU_ASSERT_TRUE(help_holds(text, "\"context\":{\"custom\":true,\"occurredAt\":"));
    text = help_prepare(
        policy, /* known objects where no earlier event had them */
        "{\"x\":1,\"context\":{\"b2\":1,\"b1\":2,\"b0\":3},\"y\":1,\"actor\":{\"c2\":1,\"c1\":2,"
        "\"type\":\"u\",\"id\":\"i\"},\"action\":\"a\",\"z\":1,\"target\":{\"type\":\"t\",\"z2\":1,\"z1\":2,\"z0\":3},"
        "\"outcome\":\"ERROR\"}",
        NULL);
    CU_ASSERT_TRUE(help_holds(text, "\"actor\":{\"c1\":2,\"c2\":1,\"id\":\"i\",\"type\":\"u\"},\"context\":{\"b0\":3,"
                                    "\"b1\":2,\"b2\":1,\"occurredAt\":"));
    CU_ASSERT_TRUE(help_holds(text, "\"target\":{\"type\":\"t\",\"z0\":3,\"z1\":2,\"z2\":1}"));
    event_policy_destroy(policy);
    policy = help_policy(strict);
    CU_ASSERT_PTR_NULL(help_prepare(policy, json, NULL));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "zeta", "no such member"));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "integrity", "no such member"));
    CU_ASSERT_PTR_NULL(help_prepare(
        policy, "{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\",\"id\":\"i\",\"x\":1}}", NULL));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "actor.x", "not a known member"));
    event_policy_destroy(policy);
}

/* What was written is what any reader gets: valid, canonical JSON, and every field where the table says. */
static void test_output_is_canonical(void)
{
    static const char *const jsons[] = {
        "{" HELP_HEAD
        ",\"metadata\":{\"\xf0\x9f\x98\x80\":1,\"\xef\xac\xb3\":2,\"\\u0001\":\"\\u0002\",\"\":0,\"n\":[1e3,-0,1e-9]}}",
        "{" HELP_HEAD ",\"metadata\":{},\"diff\":{}}",
        "{" HELP_HEAD ",\"target\":{\"type\":\"t\"},\"metadata\":{\"a\":[[],{},[{}]]},\"metadataTruncated\":false}",
    };
    struct event_policy *policy = help_policy(NULL);
    struct json_doc *doc;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    for (size_t i = 0; i < AW_ARRAY_LEN(jsons); i++) {
        struct json_error error;
        struct aw_str c;
        const char *text = help_prepare(policy, jsons[i], NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        CU_ASSERT_EQUAL_FATAL(json_parse(doc, text, strlen(text), 64, &error), 0);
        CU_ASSERT_EQUAL_FATAL(json_canonical(doc, &c), 0);
        CU_ASSERT_TRUE(c.len == strlen(text) && memcmp(c.ptr, text, c.len) == 0);
    }
    json_doc_destroy(doc);
    event_policy_destroy(policy);
}

HARNESS_MAIN("normalize", {"a full event", test_full_event}, {"defaults", test_defaults},
             {"every problem is told", test_problems}, {"lengths", test_lengths},
             {"a UUID in the action", test_uuid_in_action}, {"unknown members", test_unknown_members},
             {"the output is canonical", test_output_is_canonical})
