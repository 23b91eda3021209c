/* test_limits.c - payload limits and the truncation marker. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event_help.h"

static char big[400000];

static const char *with_member(const char *name, size_t bytes)
{
    int n = snprintf(big, sizeof big, "{" HELP_HEAD ",\"%s\":{\"t\":\"", name);
    memset(big + n, 'x', bytes);
    snprintf(big + n + bytes, sizeof big - (size_t)n - bytes, "\"}}");
    return big;
}

/* {"t":"…"} has 8 bytes besides the text. */
static void test_exact_limit(void)
{
    static const char *const names[] = {"metadata", "diff"};
    struct event_policy *policy = help_policy(NULL);
    for (size_t i = 0; i < 2; i++) {
        char part[200];
        struct prepared *p;
        uint32_t flag = i == 0 ? PREPARED_METADATA_TRUNCATED : PREPARED_DIFF_TRUNCATED;
        const char *text = help_prepare(policy, with_member(names[i], 32768 - 8), &p);
        CU_ASSERT_TRUE(help_lacks(text, "TRUNCATED"));
        CU_ASSERT_EQUAL(p->flags, 0);
        text = help_prepare(policy, with_member(names[i], 32768 - 7), &p);
        snprintf(
            part, sizeof part,
            "\"%s\":{\"_marker\":\"[TRUNCATED]\",\"_originalBytes\":32769,\"_truncated\":true},\"%sTruncated\":true,",
            names[i], names[i]);
        if (i == 0)
            CU_ASSERT_TRUE(help_holds(text, part));
        snprintf(part, sizeof part,
                 "\"%s\":{\"_marker\":\"[TRUNCATED]\",\"_originalBytes\":32769,\"_truncated\":true},", names[i]);
        CU_ASSERT_TRUE(help_holds(text, part));
        snprintf(part, sizeof part, "\"%sTruncated\":true,", names[i]);
        CU_ASSERT_TRUE(help_holds(text, part));
        CU_ASSERT_EQUAL(p->flags, flag);
    }
    event_policy_destroy(policy);
}

/* Measured is what is written: canonical and redacted. */
static void test_measured_after_masking(void)
{
    struct event_policy *policy = help_policy(NULL);
    const char *text = help_prepare(policy, with_member("metadata", 100), NULL);
    CU_ASSERT_PTR_NOT_NULL(text);
    int n = snprintf(big, sizeof big, "{" HELP_HEAD ",\"metadata\":{\"password\":\"");
    memset(big + n, 'x', 50000);
    memcpy(big + n + 50000, "\"}}", sizeof "\"}}");
    text = help_prepare(policy, big, NULL);
    CU_ASSERT_TRUE(help_holds(text, "\"metadata\":{\"password\":\"***\"},"));
    event_policy_destroy(policy);
}

static void small_event(struct event_settings *s)
{
    s->max_event = 2048;
}

static void small_truncating(struct event_settings *s)
{
    s->max_event = 2048;
    s->over_limit_truncate = true;
}

static void test_event_limit(void)
{
    struct event_policy *policy = help_policy(small_event);
    struct prepared *p = NULL;
    diag_reset();
    with_member("metadata", 3000);
    CU_ASSERT_EQUAL(event_prepare_json(policy, NULL, 0, big, strlen(big), &p), AW_ERR_EVENT_TOO_LARGE);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_EVENT_TOO_LARGE, "", "limits.event is 2048"));
    event_policy_destroy(policy);
    policy = help_policy(small_truncating);
    const char *text = help_prepare(policy, with_member("metadata", 3000), &p);
    CU_ASSERT_TRUE(help_holds(text, "\"_originalBytes\":3008,"));
    CU_ASSERT_EQUAL(p->flags, PREPARED_METADATA_TRUNCATED);
    text = help_prepare(policy, with_member("diff", 3000), &p);
    CU_ASSERT_TRUE(help_holds(text, "\"diff\":{\"_marker\""));
    CU_ASSERT_EQUAL(p->flags, PREPARED_DIFF_TRUNCATED);
    /* What cannot be shortened stays refused. */
    int n = snprintf(big, sizeof big, "{" HELP_HEAD ",\"retentionTag\":\"");
    memset(big + n, 'x', 3000);
    memcpy(big + n + 3000, "\"}", sizeof "\"}");
    diag_reset();
    CU_ASSERT_EQUAL(event_prepare_json(policy, NULL, 0, big, strlen(big), &p), AW_ERR_EVENT_TOO_LARGE);
    event_policy_destroy(policy);
}

static void small_input(struct event_settings *s)
{
    s->max_input = 1024;
}

static void shallow(struct event_settings *s)
{
    s->max_depth = 4;
}

static void test_input_limits(void)
{
    struct event_policy *policy = help_policy(small_input);
    struct prepared *p = NULL;
    diag_reset();
    with_member("metadata", 1000);
    CU_ASSERT_EQUAL(event_prepare_json(policy, NULL, 0, big, strlen(big), &p), AW_ERR_EVENT_TOO_LARGE);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_EVENT_TOO_LARGE, "", "limits.input is 1024"));
    event_policy_destroy(policy);
    policy = help_policy(shallow);
    CU_ASSERT_PTR_NOT_NULL(help_prepare(policy, "{" HELP_HEAD ",\"metadata\":{\"a\":[{}]}}", NULL));
    CU_ASSERT_PTR_NULL(help_prepare(policy, "{" HELP_HEAD ",\"metadata\":{\"a\":[[{}]]}}", NULL));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "", "nested too deeply"));
    /* Moving an unknown member below metadata makes it deeper. */
    CU_ASSERT_PTR_NULL(help_prepare(policy, "{" HELP_HEAD ",\"x\":{\"a\":[{}]}}", NULL));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "", "nested too deeply"));
    event_policy_destroy(policy);
}

static void test_bad_settings(void)
{
    struct event_settings s;
    struct event_policy *p = NULL;
    event_settings_init(&s);
    s.max_event = 10;
    s.max_depth = 100000;
    s.mask = "";
    diag_reset();
    CU_ASSERT_EQUAL(event_policy_create(&s, &p), AW_ERR_CONFIG);
    CU_ASSERT_PTR_NULL(p);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_CONFIG, "", "limits.event: 10 is out of range: 1024 to"));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_CONFIG, "", "limits.depth: 100000 is out of range: 4 to 512"));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_CONFIG, "", "redaction.mask"));
}

/* A huge event needs much memory; the next small one gives it back and is right. */
static void test_large_then_small(void)
{
    struct event_policy *policy = help_policy(NULL);
    static char many[1000000];
    size_t n = (size_t)snprintf(many, sizeof many, "{" HELP_HEAD ",\"metadata\":{\"a\":[1e20");
    while (n < sizeof many - 10) {
        memcpy(many + n, ",1e20", 5);
        n += 5;
    }
    n += (size_t)snprintf(many + n, sizeof many - n, "]}}");
    struct prepared *p = NULL;
    diag_reset();
    CU_ASSERT_EQUAL(event_prepare_json(policy, NULL, 0, many, n, &p), AW_SUCCESS);
    CU_ASSERT_EQUAL(p->flags, PREPARED_METADATA_TRUNCATED);
    const char *text = help_prepare(policy, "{" HELP_HEAD ",\"metadata\":{\"a\":1}}", NULL);
    CU_ASSERT_TRUE(help_holds(text, "\"metadata\":{\"a\":1},\"outcome\""));
    event_policy_destroy(policy);
}

HARNESS_MAIN("limits", {"metadata and diff, to the byte", test_exact_limit},
             {"measured after masking", test_measured_after_masking}, {"the whole event", test_event_limit},
             {"size and depth of the input", test_input_limits}, {"settings out of range", test_bad_settings},
             {"large, then small", test_large_then_small})
