/* test_redact.c - masking by name, path, pattern and value. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event_help.h"

#include "event/redact.h"

#include <sys/mman.h>

static const char *metadata(const struct event_policy *policy, const char *members)
{
    static char json[65536];
    snprintf(json, sizeof json, "{" HELP_HEAD ",\"metadata\":{%s}}", members);
    return help_prepare(policy, json, NULL);
}

static void test_built_in_names(void)
{
    static const char *const masked[] = {
        "password",
        "Password",
        "PASSWORD",
        "pass_word",
        "user_password",
        "userPassword",
        "dbpassword",
        "new-password",
        "password2",
        "passwordHash",
        "access_token",
        "accessToken",
        "Access-Token",
        "ACCESS_TOKEN",
        "x-api-key",
        "apiKey",
        "api_key",
        "API-Key",
        "clientSecret",
        "client_secret",
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "set-cookie",
        "privateKey",
        "ssn",
        "employeeSSN",
        "cardNumber",
        "card_number",
        "creditCardNumber",
        "cvv",
        "CVV2",
        "pin",
        "userPin",
        "csrf_token",
        "refreshToken",
        "idToken",
        "jwt",
        "sessionToken",
        "secret",
        "aws_secret_access_key",
        "token_1",
        "passphrase",
        "dbCredentials",
    };
    static const char *const kept[] = {
        "sessionId", "requestId",     "traceId", "tokenCount", "maxTokens",  "passwordless", "passed",    "spin",
        "opinion",   "keyId",         "key",     "author",     "authorized", "authMethod",   "secretary", "compass",
        "tokenizer", "cookieConsent", "pinned",  "monkey",     "hotkey",     "cardholder",   "status",    "mapping",
        "shipping",  "attempt",       "route",   "userAgent",  "ip",         "bypass",       "assn",      "",
    };
    struct event_policy *policy = help_policy(NULL);
    char members[200], want[200];
    for (size_t i = 0; i < AW_ARRAY_LEN(masked); i++) {
        snprintf(members, sizeof members, "\"%s\":\"canary\"", masked[i]);
        snprintf(want, sizeof want, "{\"%s\":\"***\"}", masked[i]);
        CU_ASSERT_TRUE(help_holds(metadata(policy, members), want));
    }
    for (size_t i = 0; i < AW_ARRAY_LEN(kept); i++) {
        snprintf(members, sizeof members, "\"%s\":\"canary\"", kept[i]);
        CU_ASSERT_TRUE(help_holds(metadata(policy, members), members));
    }
    event_policy_destroy(policy);
}

static void test_everywhere(void)
{
    struct event_policy *policy = help_policy(NULL);
    struct prepared *p;
    const char *text = help_prepare(
        policy,
        "{" HELP_HEAD ",\"metadata\":{\"a\":[{\"token\":\"canary1\"},{\"b\":{\"pwd\":{\"x\":\"canary2\"}}}],"
        "\"secret\":[1,\"canary3\"],\"password\":123456,\"apiKey\":null},"
        "\"diff\":{\"password\":{\"old\":\"canary4\",\"new\":\"canary5\"}},"
        "\"target\":{\"type\":\"t\",\"secret\":\"canary6\"}}",
        &p);
    CU_ASSERT_TRUE(help_lacks(text, "canary"));
    CU_ASSERT_TRUE(help_holds(text, "\"password\":\"***\",\"secret\":\"***\"}"));
    CU_ASSERT_TRUE(help_holds(text, "\"diff\":{\"password\":\"***\"}"));
    CU_ASSERT_TRUE(help_holds(text, "\"target\":{\"secret\":\"***\",\"type\":\"t\"}"));
    CU_ASSERT_EQUAL(p->redactions, 7);
    text = help_prepare(policy, "{" HELP_HEAD ",\"metadata\":{\"pass\\u0077ord\":\"canary\"}}", &p);
    CU_ASSERT_TRUE(help_lacks(text, "canary"));
    event_policy_destroy(policy);
}

static const struct event_rule keys[] = {
    {"e-mail", "audit.conf:3"}, {"Internal_Id", NULL}, {"ip", NULL}, {"action", NULL}, {"roles", NULL}};
static const struct event_rule allows[] = {{"token", NULL}, {"metadata.vault.secret", NULL}};

static void with_keys(struct event_settings *s)
{
    s->keys = keys;
    s->key_count = AW_ARRAY_LEN(keys);
    s->allow = allows;
    s->allow_count = AW_ARRAY_LEN(allows);
    s->mask = "[\"x\"]";
}

static void test_own_names(void)
{
    struct event_policy *policy = help_policy(with_keys);
    const char *text = help_prepare(
        policy,
        "{\"action\":\"a\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\",\"id\":\"i\",\"ip\":\"10.0.0.1\","
        "\"roles\":[\"r\"]},\"metadata\":{\"email\":\"c1\",\"E_MAIL\":\"c2\",\"internalID\":\"c3\","
        "\"userEmail\":\"kept\",\"token\":\"kept2\",\"accessToken\":\"c4\",\"action\":\"c5\","
        "\"vault\":{\"secret\":\"kept3\"},\"secret\":\"c6\"}}",
        NULL);
    CU_ASSERT_TRUE(help_holds(
        text, "{\"action\":\"a\",\"actor\":{\"id\":\"i\",\"ip\":\"[\\\"x\\\"]\",\"roles\":[\"[\\\"x\\\"]\"],"));
    for (int i = 1; i <= 6; i++) {
        char canary[8];
        snprintf(canary, sizeof canary, "\"c%d\"", i);
        CU_ASSERT_TRUE(help_lacks(text, canary));
    }
    CU_ASSERT_TRUE(help_holds(text, "\"token\":\"kept2\""));
    CU_ASSERT_TRUE(help_holds(text, "\"userEmail\":\"kept\",\"vault\":{\"secret\":\"kept3\"}"));
    event_policy_destroy(policy);
}

static const struct event_rule paths[] = {
    {"metadata.headers.x_debug", NULL}, {"metadata.*.inner", NULL}, {"diff.**.salary", NULL},
    {"context.sessionId", NULL},        {"**.nickname", NULL},      {"metadata.open.**", NULL},
    {"metadata.a\\.b", NULL},           {"target.*", NULL}};

static void with_paths(struct event_settings *s)
{
    s->paths = paths;
    s->path_count = AW_ARRAY_LEN(paths);
}

static void test_paths(void)
{
    struct event_policy *policy = help_policy(with_paths);
    const char *text = help_prepare(
        policy,
        "{" HELP_HEAD ",\"context\":{\"sessionId\":\"c1\",\"requestId\":\"kept1\"},\"target\":{\"type\":\"kept2\","
        "\"id\":\"c2\",\"more\":\"c3\"},\"metadata\":{\"headers\":{\"X-Debug\":\"c4\",\"other\":\"kept3\"},"
        "\"x\":[{\"inner\":\"c5\"},{\"y\":{\"inner\":\"kept4\"}}],\"inner\":\"kept5\",\"open\":{\"p\":\"c6\","
        "\"q\":[\"c7\",{\"r\":\"c8\"}]},\"a.b\":\"c9\",\"ab\":\"c10\",\"q\":{\"nickname\":\"c11\"},\"nickname\":"
        "\"c12\"},"
        "\"diff\":{\"salary\":\"c13\",\"u\":{\"v\":{\"salary\":{\"old\":\"c14\"}}},\"salaries\":\"kept6\"}}",
        NULL);
    for (int i = 1; i <= 14; i++) {
        char canary[8];
        snprintf(canary, sizeof canary, "\"c%d\"", i);
        CU_ASSERT_TRUE(help_lacks(text, canary));
    }
    for (int i = 1; i <= 6; i++) {
        char kept[8];
        snprintf(kept, sizeof kept, "kept%d", i);
        CU_ASSERT_TRUE(help_holds(text, kept));
    }
    CU_ASSERT_TRUE(help_holds(text, "\"open\":{\"p\":\"***\",\"q\":\"***\"}"));
    event_policy_destroy(policy);
}

static const struct event_rule patterns[] = {{"^secret_", "audit.conf:9"}, {"(?i)_key$", NULL}};

static void with_patterns(struct event_settings *s)
{
    s->patterns = patterns;
    s->pattern_count = AW_ARRAY_LEN(patterns);
}

static void test_patterns(void)
{
    struct event_policy *policy = help_policy(with_patterns);
    const char *text =
        metadata(policy, "\"secret_plan\":\"c1\",\"my_KEY\":\"c2\",\"plan_secret_x\":\"kept1\",\"key_x\":\"kept2\"");
    CU_ASSERT_TRUE(help_lacks(text, "\"c1\"") && help_lacks(text, "\"c2\""));
    CU_ASSERT_TRUE(help_holds(text, "kept1") && help_holds(text, "kept2"));
    event_policy_destroy(policy);
}

struct refusal {
    int list; /* 0 keys, 1 paths, 2 patterns, 3 allow */
    const char *text, *part;
};

/* S9: a rule that cannot work refuses to start, with its place. */
static void test_refusals(void)
{
    static const struct refusal cases[] = {
        {0, "", "at least one letter"},
        {0, "--", "at least one letter"},
        {0, "a.b", "looks like a path"},
        {0, "\xff", "UTF-8"},
        {1, "", "a path is needed"},
        {1, "metadata..x", "a name is missing"},
        {1, "metadata.x.", "a name is missing"},
        {1, "foo.bar", "no such member"},
        {1, "metadata", "add \".*\""},
        {1, "actor.id", "cannot be masked"},
        {1, "action", "cannot be masked"},
        {1, "context.tenantId", "cannot be masked"},
        {1, "context.tenant_id", "cannot be masked"},
        {1, "actor.ip.x", "no members of its own"},
        {1, "retentionTag.x", "no members of its own"},
        {1, "metadata.sec*", "whole names only"},
        {2, "(", "not a regular expression"},
        {2, "[a", "at character 3"},
        {2, "", "is needed"},
        {2, "a*", "matches the empty text"},
        {2, "^", "matches the empty text"},
        {2, ".", "matches every name"},
        {2, "^.+$", "matches every name"},
        {2, "^(a+)+$", "avoid nested repeats"},
        {2, "\\C", "not a regular expression"},
        {3, "nowhere.x", "no such member"},
        {3, "", "at least one letter"},
    };
    static const char *const lists[] = {"keys", "paths", "patterns", "allow"};
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        struct event_rule rules[2] = {{cases[i].text, "audit.conf:7"}, {cases[i].text, "audit.conf:8"}};
        struct event_settings s;
        struct event_policy *p = NULL;
        event_settings_init(&s);
        const struct event_rule **list[] = {&s.keys, &s.paths, &s.patterns, &s.allow};
        size_t *count[] = {&s.key_count, &s.path_count, &s.pattern_count, &s.allow_count};
        *list[cases[i].list] = rules;
        *count[cases[i].list] = 2;
        diag_reset();
        CU_ASSERT_EQUAL(event_policy_create(&s, &p), AW_ERR_CONFIG);
        char what[40];
        snprintf(what, sizeof what, "redaction.%s: ", lists[cases[i].list]);
        CU_ASSERT_TRUE(help_has_problem(AW_ERR_CONFIG, "audit.conf:7", what));
        CU_ASSERT_TRUE(help_has_problem(AW_ERR_CONFIG, "audit.conf:8", cases[i].part));
        CU_ASSERT_EQUAL(diag_count(), 2);
    }
}

struct value {
    const char *in, *out; /* out NULL: stays */
};

/* S10: secrets inside values, under names that say nothing. */
static void test_values(void)
{
    static const struct value values[] = {
        {"4111111111111111", "***"},
        {"card 4111 1111 1111 1111 ok", "card *** ok"},
        {"4111-1111-1111-1111", "***"},
        {"x=378282246310005,y", "x=***,y"},
        {"5555555555554444", "***"},
        {"2223003122003222", "***"},
        {"6011111111111117", "***"},
        {"4222222222222", "***"},
        {"30569309025904", "***"},
        {"3530111333300000", "***"},
        {"ref 12345 4111111111111111", "ref 12345 ***"},
        {"4111111111111112", NULL},
        {"1717740000000", NULL},
        {"41111111111111111111", NULL},
        {"+4915123456789012", NULL},
        {"a6d5169ee2c532cf4111111111111111", NULL},
        {"4111111111111111abcdef", NULL},
        {"card4111111111111111", "card***"},
        {"2024-06-07 12:00:00", NULL},
        {"192.168.100.200", NULL},
        {"018f2b4c-4111-4111-8111-111111111111", NULL},
        {"4111\xc3\xa9"
         "111111111111",
         NULL},
        {"\xc3\xa9 4111111111111111 \xc3\xa9", "\xc3\xa9 *** \xc3\xa9"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U", "***"},
        {"got eyJhbGciOiJub25lIn0.eyJhIjoxfQ. in", "got *** in"},
        {"eyJust a word", NULL},
        {"heyJude.is.song", NULL},
        {"-----BEGIN RSA PRIVATE KEY-----\\nMIIabc\\n-----END RSA PRIVATE KEY-----\\ntail", "***\\ntail"},
        {"-----BEGIN PRIVATE KEY-----\\nMIIabc", "***"},
        {"-----BEGIN CERTIFICATE-----\\nMII\\n-----END CERTIFICATE-----", NULL},
        {"key AKIAIOSFODNN7EXAMPLE used", "key *** used"},
        {"ASIAIOSFODNN7EXAMPLE", "***"},
        {"AKIAIOSFODNN7EXAMPL", NULL},
        {"AKIAIOSFODNN7EXAMPLEX", NULL},
        {"MAKIAIOSFODNN7EXAMPLE", NULL},
        {"ghp_0123456789abcdefghijABCDEFGHIJ012345", "***"},
        {"gho_0123456789abcdefghijABCDEFGHIJ012345", "***"},
        {"github_pat_11ABCDEFG0123456789_abcdefghij", "***"},
        {"url https://x:glpat-abcdefghij0123456789@h", "url https://x:***@h"},
        {"xoxb-123456789012-abcdefABCDEF", "***"},
        {"sk_live_4eC39HqLyjWDarjtT1zdp7dc", "***"},
        {"rk_live_4eC39HqLyjWDarjtT1zdp7dc", "***"},
        {"AIzaSyA1234567890abcdefghijklmnopqrstuv", "***"},
        {"npm_0123456789abcdefghijABCDEFGHIJ012345", "***"},
        {"sk-ant-api03-abcdefghijklmnopqrst", "***"},
        {"task_live_4eC39HqLyjWDarjtT1zdp7dc", NULL},
        {"Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"},
        {"bearer ABCDEFGHIJKLMNOP", "bearer ***"},
        {"bearer responsibilities", NULL},
        {"the bearer token is", NULL},
        {"Basic dXNlcjpwYXNzd29yZA==", "Basic ***"},
        {"Basic training", NULL},
        {"Basic knowledge of it", NULL},
        {"Basic YTpi", "Basic ***"},
        {"two: ghp_0123456789abcdefghijABCDEFGHIJ012345 4111111111111111", "two: *** ***"},
        {"q\\\"4111111111111111\\\"", "q\\\"***\\\""},
        {"\\u0034111111111111111", "***"},
        {"Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0", NULL},
        {"/api/v1/documents/:id/share", NULL},
        {"usr_9253f6b0123", NULL},
    };
    struct event_policy *policy = help_policy(NULL);
    for (size_t i = 0; i < AW_ARRAY_LEN(values); i++) {
        char json[2048], want[1024];
        struct prepared *p;
        snprintf(json, sizeof json,
                 "{" HELP_HEAD
                 ",\"metadata\":{\"note\":\"%s\",\"list\":[\"%s\"]},\"target\":{\"type\":\"t\",\"id\":\"%s\"}}",
                 values[i].in, values[i].in, values[i].in);
        const char *out = values[i].out ? values[i].out : values[i].in;
        snprintf(want, sizeof want, "\"metadata\":{\"list\":[\"%s\"],\"note\":\"%s\"}", out, out);
        const char *text = help_prepare(policy, json, &p);
        CU_ASSERT_TRUE(help_holds(text, want));
        snprintf(want, sizeof want, "\"target\":{\"id\":\"%s\",", out);
        CU_ASSERT_TRUE(help_holds(text, want));
        CU_ASSERT_EQUAL(p->redactions, values[i].out ? 3 : 0);
    }
    CU_ASSERT_TRUE(help_holds(metadata(policy, "\"n\":4111111111111111,\"m\":4111111111111112"),
                              "{\"m\":4111111111111112,\"n\":\"***\"}"));
    event_policy_destroy(policy);
}

/* A mark near a block's border, at every offset of a text. */
static void test_value_at_every_offset(void)
{
    static const char *const secrets[] = {"4111111111111111",
                                          "AKIAIOSFODNN7EXAMPLE",
                                          "ghp_0123456789abcdefghijABCDEFGHIJ012345",
                                          "4222222222222",
                                          "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
                                          "Bearer abcdef0123456789"};
    struct event_policy *policy = help_policy(NULL);
    for (size_t k = 0; k < AW_ARRAY_LEN(secrets); k++) {
        for (int before = 0; before < 140; before++) {
            char json[1024];
            char fill[160];
            memset(fill, '.', sizeof fill);
            snprintf(json, sizeof json, "{" HELP_HEAD ",\"metadata\":{\"a\":\"%.*s%s\"}}", before, fill, secrets[k]);
            struct prepared *p = NULL;
            diag_reset();
            CU_ASSERT_EQUAL(event_prepare_json(policy, NULL, 0, json, strlen(json), &p), AW_SUCCESS);
            CU_ASSERT_EQUAL(p->redactions, 1);
        }
    }
    event_policy_destroy(policy);
}

static void no_redaction(struct event_settings *s)
{
    s->redaction = false;
}

static void no_scanners(struct event_settings *s)
{
    s->redact_scanners = false;
    s->redact_default_keys = false;
}

static void test_switched_off(void)
{
    struct event_policy *policy = help_policy(no_redaction);
    CU_ASSERT_TRUE(
        help_holds(metadata(policy, "\"password\":\"4111111111111111\""), "\"password\":\"4111111111111111\""));
    event_policy_destroy(policy);
    policy = help_policy(no_scanners);
    CU_ASSERT_TRUE(
        help_holds(metadata(policy, "\"password\":\"4111111111111111\""), "\"password\":\"4111111111111111\""));
    event_policy_destroy(policy);
}

/* S11: the input stands on pages that cannot be written, right before one that cannot be read. */
static void test_input_is_only_read(void)
{
    struct event_policy *policy = help_policy(NULL);
    static const char json[] =
        "{" HELP_HEAD ",\"metadata\":{\"password\":\"x\",\"b\":\"4111111111111111\",\"a\":\"\\n\"},\"zz\":1}";
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len = sizeof json - 1;
    char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_TRUE_FATAL(map != MAP_FAILED);
    char *at = map + page - len;
    memcpy(at, json, len);
    CU_ASSERT_EQUAL_FATAL(mprotect(map, page, PROT_READ), 0);
    CU_ASSERT_EQUAL_FATAL(mprotect(map + page, page, PROT_NONE), 0);
    struct prepared *p = NULL;
    diag_reset();
    CU_ASSERT_EQUAL(event_prepare_json(policy, NULL, 0, at, len, &p), AW_SUCCESS);
    CU_ASSERT_EQUAL(memcmp(at, json, len), 0);
    struct stored_event stored;
    CU_ASSERT_EQUAL(event_parse_stored(at, len, &stored), AW_SUCCESS);
    munmap(map, 2 * page);
    event_policy_destroy(policy);
}

/* Two policies in turn on one thread: verdicts of one are never used for the other. */
static void test_two_policies(void)
{
    struct event_policy *a = help_policy(NULL), *b = help_policy(no_scanners);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(help_lacks(metadata(a, "\"password\":\"canary\""), "canary"));
        CU_ASSERT_TRUE(help_holds(metadata(b, "\"password\":\"canary\""), "canary"));
    }
    event_policy_destroy(a);
    event_policy_destroy(b);
}

HARNESS_MAIN("redact", {"built-in names", test_built_in_names}, {"at every place", test_everywhere},
             {"names of the settings", test_own_names}, {"paths", test_paths}, {"patterns", test_patterns},
             {"rules that cannot work", test_refusals}, {"values", test_values},
             {"values at every offset", test_value_at_every_offset}, {"switched off", test_switched_off},
             {"the input is only read", test_input_is_only_read}, {"two policies", test_two_policies})
