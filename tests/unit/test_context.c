/* test_context.c - contexts, the thread's stack, provenance. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event_help.h"

static struct event_policy *policy;
static char text[65536];

static void with_service(struct event_settings *s)
{
    s->service = "configured";
    s->region = "configured-region";
}

static const char *prepared(const struct aw_context *const *contexts, size_t count, const char *json)
{
    struct prepared *p = NULL;
    if (!policy)
        policy = help_policy(with_service);
    diag_reset();
    if (event_prepare_json(policy, contexts, count, json, strlen(json), &p) != AW_SUCCESS)
        return NULL;
    memcpy(text, p->json, p->json_len);
    text[p->json_len] = '\0';
    return text;
}

static void test_precedence(void)
{
    struct aw_context *near = aw_context_create(), *far = aw_context_create(), *low = aw_context_create(),
                      *top = aw_context_create();
    const struct aw_context *const list[] = {near, far};
    aw_context_set(near, "context.requestId", "near");
    aw_context_set(far, "context.requestId", "far");
    aw_context_set(far, "context.traceId", "far");
    aw_context_set(top, "context.traceId", "top");
    aw_context_set(top, "context.sessionId", "top");
    aw_context_set(low, "context.sessionId", "low");
    aw_context_set(low, "context.orgId", "low");
    aw_context_set(low, "context.sourceService", "low");
    aw_context_set(low, "actor.type", "from-context");
    aw_context_set(low, "actor.id", "from-context");
    aw_context_set(low, "context.tenantId", "low-tenant");
    CU_ASSERT_EQUAL(aw_context_push(low), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_context_push(top), AW_SUCCESS);
    const char *t = prepared(
        list, 2,
        "{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"id\":\"own\"},\"context\":{\"tenantId\":\"own\"}}");
    CU_ASSERT_TRUE(help_holds(t, "\"actor\":{\"id\":\"own\",\"type\":\"from-context\"}"));
    CU_ASSERT_TRUE(help_holds(
        t, "\"orgId\":\"low\",\"requestId\":\"near\",\"sessionId\":\"top\",\"sourceRegion\":\"configured-region\","
           "\"sourceService\":\"low\",\"tenantId\":\"own\",\"traceId\":\"far\"}"));
    CU_ASSERT_EQUAL(aw_context_pop(), AW_SUCCESS);
    t = prepared(NULL, 0, "{\"action\":\"a\",\"outcome\":\"ERROR\"}");
    CU_ASSERT_TRUE(help_holds(t, "\"sessionId\":\"low\""));
    CU_ASSERT_TRUE(help_holds(t, "\"tenantId\":\"low-tenant\""));
    CU_ASSERT_EQUAL(aw_context_pop(), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_context_pop(), AW_ERR_USAGE);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_USAGE, "", "is empty"));
    CU_ASSERT_PTR_NULL(prepared(NULL, 0, "{\"action\":\"a\",\"outcome\":\"ERROR\"}"));
    aw_context_destroy(near);
    aw_context_destroy(far);
    aw_context_destroy(low);
    aw_context_destroy(top);
}

static void test_merging(void)
{
    struct aw_context *a = aw_context_create(), *b = aw_context_create(), *c = aw_context_create();
    const struct aw_context *const list[] = {a, b, c};
    aw_context_set_json(a, "metadata", JSON("{\"x\":{\"p\":\"a\"},\"l\":[1],\"only_a\":1}"));
    aw_context_set_json(b, "metadata", JSON("{\"x\":{\"p\":\"b\",\"q\":\"b\"},\"l\":[2,3],\"only_b\":{\"d\":\"x\"}}"));
    aw_context_set(c, "metadata.x.r", "c");
    aw_context_set(c, "metadata.password", "canary");
    aw_context_set_json(a, "target", JSON("{\"type\":\"t\",\"own_a\":1}"));
    aw_context_set_json(b, "target", JSON("{\"id\":\"i\",\"own_b\":2,\"own_a\":3}"));
    aw_context_set(c, "diff.d", "c");
    const char *t = prepared(list, 3, "{" HELP_HEAD ",\"metadata\":{\"x\":{\"o\":\"own\"},\"m\":0},\"loose\":true}");
    CU_ASSERT_TRUE(help_holds(
        t, "\"metadata\":{\"l\":[1],\"loose\":true,\"m\":0,\"only_a\":1,\"only_b\":{\"d\":\"x\"},\"password\":\"***\","
           "\"x\":{\"o\":\"own\",\"p\":\"a\",\"q\":\"b\",\"r\":\"c\"}}"));
    CU_ASSERT_TRUE(help_holds(t, "\"target\":{\"id\":\"i\",\"own_a\":1,\"own_b\":2,\"type\":\"t\"}"));
    CU_ASSERT_TRUE(help_holds(t, "\"diff\":{\"d\":\"c\"}"));
    struct aw_context *copy = event_context_clone(b);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    aw_context_destroy(b);
    const struct aw_context *const one[] = {copy};
    t = prepared(one, 1, "{" HELP_HEAD ",\"target\":{\"type\":\"t\"}}");
    CU_ASSERT_TRUE(
        help_holds(t, "\"metadata\":{\"l\":[2,3],\"only_b\":{\"d\":\"x\"},\"x\":{\"p\":\"b\",\"q\":\"b\"}}"));
    CU_ASSERT_TRUE(help_holds(t, "\"target\":{\"id\":\"i\",\"own_a\":3,\"own_b\":2,\"type\":\"t\"}"));
    aw_context_destroy(copy);
    aw_context_destroy(a);
    aw_context_destroy(c);
}

static void test_refused(void)
{
    struct aw_context *c = aw_context_create();
    CU_ASSERT_EQUAL(aw_context_set(c, "eventId", "x"), AW_ERR_INVALID_EVENT);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "eventId", "belongs to one event"));
    CU_ASSERT_EQUAL(aw_context_set(c, "nope", "x"), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_context_set(c, "metadata.a[0]", "x"), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_context_set(c, "context.orgId", "\xff"), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_context_set_json(c, "metadata.x", JSON("[1,")), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_context_set(NULL, "a", "x"), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_context_set(c, "context.orgId", NULL), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_context_push(NULL), AW_ERR_USAGE);
    aw_context_set(c, "context.traceId", "still good");
    const struct aw_context *const one[] = {c};
    const char *t = prepared(one, 1, "{" HELP_HEAD "}");
    CU_ASSERT_TRUE(help_holds(t, "\"traceId\":\"still good\""));
    CU_ASSERT_TRUE(help_lacks(t, "orgId"));
    for (int i = 0; i < 32; i++)
        CU_ASSERT_EQUAL(aw_context_push(c), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_context_push(c), AW_ERR_USAGE);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_USAGE, "", "32 deep"));
    for (int i = 0; i < 32; i++)
        CU_ASSERT_EQUAL(aw_context_pop(), AW_SUCCESS);
    aw_context_destroy(c);
    aw_context_destroy(NULL);
}

static struct aw_str str(const char *s)
{
    return (struct aw_str){s, strlen(s)};
}

static void test_provenance(void)
{
    struct aw_context *c = aw_context_create();
    static char longer[9000];
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ACTOR_IP, str("1.1.1.1"), AW_PROVENANCE_CLAIMED), AW_OK);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ACTOR_IP, str("10.0.0.1"), AW_PROVENANCE_PEER), AW_OK);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ACTOR_IP, str("2.2.2.2"), AW_PROVENANCE_CLAIMED), AW_OK);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ACTOR_ID, str("a"), AW_PROVENANCE_AUTHENTICATED), AW_OK);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ACTOR_ID, str("b"), AW_PROVENANCE_PEER), AW_OK);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ORG_ID, str("\xff"), AW_PROVENANCE_PEER), AW_E_REJECTED);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_METADATA, str("{}"), AW_PROVENANCE_PEER), AW_E_REJECTED);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_EVENT_ID, str("e"), AW_PROVENANCE_PEER), AW_E_REJECTED);
    CU_ASSERT_EQUAL(event_context_set_field(c, 9999, str("x"), AW_PROVENANCE_PEER), AW_E_REJECTED);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_HASH, str("x"), AW_PROVENANCE_PEER), AW_E_REJECTED);
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ORG_ID, str("x"), 0), AW_E_REJECTED);
    CU_ASSERT_EQUAL(event_context_set_field(NULL, AW_FIELD_ORG_ID, str("x"), AW_PROVENANCE_PEER), AW_E_REJECTED);
    memset(longer, 'x', sizeof longer - 1);
    longer[8191] = '\xc3'; /* the cap must not split this character */
    longer[8192] = '\xa9';
    CU_ASSERT_EQUAL(event_context_set_field(c, AW_FIELD_ACTOR_USER_AGENT, str(longer), AW_PROVENANCE_CLAIMED), AW_OK);
    const struct aw_context *const one[] = {c};
    const char *t = prepared(one, 1, "{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\"}}");
    CU_ASSERT_TRUE(help_holds(t, "\"actor\":{\"id\":\"a\",\"ip\":\"10.0.0.1\",\"type\":\"u\",\"userAgent\":\"xxx"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    const char *agent = strstr(t, "\"userAgent\":\"") + 13;
    CU_ASSERT_EQUAL(strcspn(agent, "\""), 8191);
    aw_context_destroy(c);
    event_policy_destroy(policy);
    policy = NULL;
}

HARNESS_MAIN("context", {"precedence", test_precedence}, {"objects are merged", test_merging},
             {"what is refused", test_refused}, {"provenance", test_provenance})
