/* test_nats_parts.c - subjects and answers of the nats sink, without a server. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "minihost.h"
#include "nats_sink.h"

static int32_t field(const struct aw_event *e, uint32_t id, struct aw_str *ret)
{
    if (e->fields[id].ptr == NULL)
        return AW_E_NOTFOUND;
    *ret = e->fields[id];
    return AW_OK;
}

static void makes(const char *template, const char *tenant, const char *action, const char *want)
{
    struct np_template t;
    struct aw_host h = {.struct_size = sizeof h, .event_field = field};
    struct aw_event *e = mh_event(1);
    char got[NP_SUBJECT_MAX];
    mh_event_set(e, AW_FIELD_TENANT_ID, tenant);
    mh_event_set(e, AW_FIELD_ACTION, action);
    CU_ASSERT_PTR_NULL(np_template_parse(&t, strdup(template)));
    np_template_make(&t, &h, e, got);
    CU_ASSERT_STRING_EQUAL(got, want);
    if (strcmp(got, want) != 0)
        harness_note("%s: %s", template, got);
    np_template_free(&t);
    mh_event_free(e);
}

static void test_subjects(void)
{
    makes("audit.{tenant}", "acme", "a", "audit.acme");
    makes("audit.{tenant}.{action}", "acme", "user.login", "audit.acme.user.login");
    makes("audit.{tenant}", NULL, "a", "audit._");
    makes("audit.{tenant}", "_", "a", "audit.%5F");
    makes("audit.{tenant}", "a.b", "a", "audit.a%2Eb");
    makes("audit.{tenant}", "*", "a", "audit.%2A");
    makes("audit.{tenant}", ">", "a", "audit.%3E");
    makes("audit.{tenant}", "a b\r\nPUB x 1", "a", "audit.a%20b%0D%0APUB%20x%201");
    makes("audit.{tenant}", "caf\xc3\xa9%", "a", "audit.caf%C3%A9%25");
    makes("a-{tenant}-b.{outcome}", "x", "a", "a-x-b.SUCCESS");
    makes("audit.{action}", "x", "a..b.", "audit.a._.b._");
    makes("audit.{action}.x", "x", "a.*.>", "audit.a.%2A.%3E.x");
    makes("audit.{action}", "x", "1.2.3.4.5.6.7.8.9", "audit.1.2.3.4.5.6.7.8%2E9");
    makes("audit.{tenant}", "0123456789012345678901234567890123456789012345678901234567890", "a",
          "audit.0123456789012345678901234567890123456789012345678901234567890");
}

static void test_long_subjects(void)
{
    char value[301], other[301], a[NP_TOKEN_ROOM], b[NP_TOKEN_ROOM], got[NP_SUBJECT_MAX];
    memset(value, '.', 300);
    value[300] = '\0';
    memcpy(other, value, sizeof other);
    other[299] = 'x';
    size_t n = np_token((struct aw_str){value, 300}, a), m = np_token((struct aw_str){other, 300}, b);
    CU_ASSERT_TRUE(n <= 64 && m <= 64);
    CU_ASSERT_TRUE(n != m || memcmp(a, b, n) != 0); /* still told apart */
    CU_ASSERT_PTR_NOT_NULL(memchr(a, '~', n));
    struct np_template t;
    struct aw_host h = {.struct_size = sizeof h, .event_field = field};
    struct aw_event *e = mh_event(1);
    mh_event_set(e, AW_FIELD_TENANT_ID, value);
    mh_event_set(e, AW_FIELD_ACTION, value);
    CU_ASSERT_PTR_NULL(
        np_template_parse(&t, strdup("{tenant}.{action}.{tenant}.{action}.{tenant}.{action}.{tenant}.{action}")));
    np_template_make(&t, &h, e, got);
    CU_ASSERT_TRUE(strlen(got) < NP_SUBJECT_MAX);
    CU_ASSERT_PTR_NULL(strstr(got, ".."));
    CU_ASSERT_TRUE(got[strlen(got) - 1] != '.' && got[0] != '.');
    np_template_free(&t);
    mh_event_free(e);
}

static void test_templates(void)
{
    static const char *const bad[] = {"",    ".a",     "a.",      "a..b",      "a b", "a.*",
                                      "a.>", "$SYS.a", "{tenant", "{nothing}", "a}b", "\xc3\xa9"};
    struct np_template t;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_PTR_NOT_NULL(np_template_parse(&t, strdup(bad[i])));
        np_template_free(&t);
    }
}

static void covered(const char *template, const char *filter, enum np_cover want)
{
    struct np_template t;
    CU_ASSERT_PTR_NULL(np_template_parse(&t, strdup(template)));
    CU_ASSERT_EQUAL(np_template_covered(&t, filter), want);
    np_template_free(&t);
}

static void test_covered(void)
{
    covered("audit.{tenant}", "audit.>", NP_COVERS_ALL);
    covered("audit.{tenant}", "audit.*", NP_COVERS_ALL);
    covered("audit.{tenant}", ">", NP_COVERS_ALL);
    covered("audit.{tenant}", "audit.acme", NP_COVERS_SOME);
    covered("audit.{tenant}", "audit", NP_COVERS_NONE);
    covered("audit.{tenant}", "audit.*.x", NP_COVERS_NONE);
    covered("audit.{tenant}", "events.>", NP_COVERS_NONE);
    covered("audit.t-{tenant}", "audit.*", NP_COVERS_ALL);
    covered("audit.{tenant}.x", "audit.*.x", NP_COVERS_ALL);
    covered("audit.{tenant}.x", "audit.*.y", NP_COVERS_NONE);
    covered("audit.{action}", "audit.>", NP_COVERS_ALL);
    covered("audit.{action}", "audit.*", NP_COVERS_SOME);
    covered("audit.{action}.x", "audit.user.>", NP_COVERS_SOME);
    covered("audit", "audit", NP_COVERS_ALL);
    covered("audit", "audit.>", NP_COVERS_NONE);
}

static void test_message_ids(void)
{
    char id[3 * 128 + 4], huge[200];
    np_message_id((struct aw_str){"a b%\r\n\xff", 7}, id, sizeof id);
    CU_ASSERT_STRING_EQUAL(id, "a%20b%25%0D%0A%FF");
    memset(huge, '\n', sizeof huge);
    np_message_id((struct aw_str){huge, 128}, id, sizeof id);
    CU_ASSERT_EQUAL(strlen(id), 384);
    np_message_id((struct aw_str){huge, 200}, id, sizeof id);
    CU_ASSERT_TRUE(strlen(id) < sizeof id);
}

static const char *parse(const char *text, struct np_ack *ack, char *copy)
{
    size_t n = strlen(text);
    memcpy(copy, text, n);
    return np_parse_ack(copy, n, ack);
}

static void test_answers(void)
{
    static const char *const bad[] = {"",
                                      "+OK",
                                      "{}",
                                      "[]",
                                      "{\"stream\":\"A\"}",
                                      "{\"seq\":0}",
                                      "{\"seq\":-1}",
                                      "{\"seq\":1.5}",
                                      "{\"seq\":\"1\"}",
                                      "{\"seq\":1",
                                      "{\"seq\":1}x",
                                      "{\"error\":1}",
                                      "{\"error\":{\"code\":}}",
                                      "{\"seq\":1,}"};
    char copy[400];
    struct np_ack a;
    CU_ASSERT_PTR_NULL(parse("{\"stream\":\"AUDIT\", \"seq\":17}", &a, copy));
    CU_ASSERT_TRUE(a.ok && !a.duplicate && a.seq == 17);
    CU_ASSERT_PTR_NULL(parse("{\"stream\":\"AUDIT\",\"domain\":\"x\",\"seq\":17,\"duplicate\": true}", &a, copy));
    CU_ASSERT_TRUE(a.ok && a.duplicate);
    CU_ASSERT_PTR_NULL(parse("{\"seq\":17,\"duplicate\":false}", &a, copy));
    CU_ASSERT_TRUE(a.ok && !a.duplicate);
    CU_ASSERT_PTR_NULL(
        parse("{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes exceeded\",\"x\":[]}"
              ",\"stream\":\"A\",\"seq\":0}",
              &a, copy));
    CU_ASSERT_TRUE(!a.ok && a.code == 503 && a.err_code == 10077 && a.text.len == 22);
    CU_ASSERT_EQUAL(np_code_of(&a), AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NULL(parse("{\"error\":{\"code\":400,\"err_code\":10054}}", &a, copy));
    CU_ASSERT_EQUAL(np_code_of(&a), AW_E_REJECTED);
    CU_ASSERT_PTR_NULL(parse("{\"seq\":5,\"error\":{\"code\":400,\"err_code\":10060}}", &a, copy));
    CU_ASSERT_FALSE(a.ok);
    CU_ASSERT_EQUAL(np_code_of(&a), AW_E_CONFIG);
    CU_ASSERT_PTR_NULL(parse("{\"error\":{}}", &a, copy));
    CU_ASSERT_EQUAL(np_code_of(&a), AW_E_UNAVAILABLE);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_PTR_NOT_NULL(parse(bad[i], &a, copy));
}

HARNESS_MAIN("nats_parts", {"subjects", test_subjects}, {"long values", test_long_subjects},
             {"templates that are refused", test_templates}, {"what a stream takes", test_covered},
             {"message ids", test_message_ids}, {"answers", test_answers})
