/* test_builder.c - the builder: typed values by path. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event_help.h"

#include <math.h>
#include <pthread.h>

static struct event_policy *policy;
static char text[1 << 20];

static const char *prepared(const struct aw_builder *b)
{
    struct prepared *p = NULL;
    diag_reset();
    if (event_prepare_builder(policy, NULL, 0, b, &p) != AW_SUCCESS)
        return NULL;
    memcpy(text, p->json, p->json_len);
    text[p->json_len] = '\0';
    return text;
}

static struct aw_builder *start(void)
{
    if (!policy)
        policy = help_policy(NULL);
    struct aw_builder *b = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    CU_ASSERT_EQUAL(aw_set_action(b, "user.login", AW_OUTCOME_FAILURE), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_actor(b, "user", "u1"), AW_SUCCESS);
    return b;
}

static void test_typed_values(void)
{
    struct aw_builder *b = start();
    CU_ASSERT_EQUAL(aw_set_target(b, "doc", NULL), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "eventId", "e-1"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "context.occurredAt", "2024-06-07T06:00:00Z"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "actor.displayName", "Zo\xc3\xab \"Z\"\n"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_text(b, "retentionTag", "keep it", 4), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.http.status", 200), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.min", -9007199254740992), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_double(b, "metadata.durationMs", 12.345), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_bool(b, "metadata.http.tls", 1), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_bool(b, "metadata.no", 0), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_null(b, "metadata.nothing"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_object(b, "metadata.empty"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_array(b, "metadata.list"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "metadata.list[]", "a"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.list[].n", 1), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.list[1].m", 2), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "metadata.list[0]", "b"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.grid[][]", 7), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "metadata.a\\.b", "dot"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "diff.email.old", "x"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "actor.roles[]", "r1"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "actor.roles[]", "r2"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_json(b, "metadata.json", JSON("{\"z\":[1.50],\"a\":\"\\u0041\"}")), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.json.b", 3), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_set_string(b, "actor.custom", "own"), AW_SUCCESS);
    const char *t = prepared(b);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    CU_ASSERT_STRING_EQUAL(t, "{\"action\":\"user.login\",\"actor\":{\"custom\":\"own\",\"displayName\":\"Zo\xc3\xab "
                              "\\\"Z\\\"\\n\",\"id\":\"u1\",\"roles\":"
                              "[\"r1\",\"r2\"],\"type\":\"user\"},\"context\":{\"occurredAt\":\"2024-06-07T06:00:00Z\"}"
                              ",\"diff\":{\"email\":{\"old\":\"x\"}},"
                              "\"eventId\":\"e-1\",\"metadata\":{\"a.b\":\"dot\",\"durationMs\":12.345,\"empty\":{},"
                              "\"grid\":[[7]],\"http\":{\"status\":200,"
                              "\"tls\":true},\"json\":{\"a\":\"A\",\"b\":3,\"z\":[1.5]},\"list\":[\"b\",{\"m\":2,\"n\":"
                              "1}],\"min\":-9007199254740992,\"no\":"
                              "false,\"nothing\":null},\"outcome\":\"FAILURE\",\"retentionTag\":\"keep\","
                              "\"schemaVersion\":1,\"target\":{\"type\":\"doc\"}}");
    aw_builder_destroy(b);
}

static void test_replacing(void)
{
    struct aw_builder *b = start();
    aw_set_string(b, "metadata.a", "1");
    aw_set_int(b, "metadata.a", 2);
    aw_set_json(b, "metadata.o", JSON("{\"x\":1}"));
    aw_set_object(b, "metadata.o");
    aw_set_string(b, "metadata.s", "\"");
    aw_set_string(b, "metadata.s", "plain");
    aw_set_actor(b, "service", "s1");
    aw_set_json(b, "actor", JSON("{\"type\":\"t2\",\"id\":\"i2\",\"x\":1}"));
    const char *t = prepared(b);
    CU_ASSERT_TRUE(help_holds(t, "\"metadata\":{\"a\":2,\"o\":{},\"s\":\"plain\"}"));
    CU_ASSERT_TRUE(help_holds(t, "\"actor\":{\"id\":\"i2\",\"type\":\"t2\",\"x\":1}"));
    CU_ASSERT_TRUE(help_holds(t, "\"outcome\":\"FAILURE\""));
    aw_builder_reset(b);
    CU_ASSERT_PTR_NULL(prepared(b));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "action", "is missing"));
    aw_builder_destroy(b);
}

struct wrong {
    const char *path, *part;
};

static void test_wrong_paths(void)
{
    static const struct wrong cases[] = {
        {"", "empty name"},
        {"foo", "no such member"},
        {"foo.bar", "no such member"},
        {"action.x", "no members of its own"},
        {"metadata.", "empty name"},
        {"metadata..a", "empty name"},
        {"metadata.a.", "empty name"},
        {"metadata.a[x]", "the path is wrong"},
        {"metadata.a[0", "the path is wrong"},
        {"metadata.a[0]", "no such element"},
        {"metadata.s.x", "not an object"},
        {"metadata.s[]", "not an array"},
        {"metadata.a[]x", "the path is wrong"},
        {"metadata[]", "not an array"},
        {"integrity.hash", "no such member"},
        {"metadata.list[5]", "no such element"},
        {"metadata.list[0].", "ends with a dot"},
        {"actor.roles[0]", "no such element"},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++) {
        struct aw_builder *b = start();
        aw_set_string(b, "metadata.s", "text");
        aw_set_string(b, "metadata.list[]", "text");
        CU_ASSERT_EQUAL(aw_set_string(b, cases[i].path, "v"), AW_ERR_INVALID_EVENT);
        CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, cases[i].path, cases[i].part));
        aw_set_string(b, "metadata.later", "is not the first problem");
        CU_ASSERT_PTR_NULL(prepared(b)); /* kept until the event is logged */
        CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, cases[i].path, cases[i].part));
        aw_builder_destroy(b);
    }
}

static void test_wrong_values(void)
{
    struct aw_builder *b = start();
    CU_ASSERT_EQUAL(aw_set_int(b, "metadata.n", INT64_C(9007199254740993)), AW_ERR_INVALID_EVENT);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "metadata.n", "2^53"));
    CU_ASSERT_EQUAL(aw_set_double(b, "metadata.n", NAN), AW_ERR_INVALID_EVENT);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "metadata.n", "finite"));
    CU_ASSERT_EQUAL(aw_set_double(b, "metadata.n", -INFINITY), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_set_string(b, "metadata.s", "\xc3"), AW_ERR_INVALID_EVENT);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "metadata.s", "UTF-8"));
    CU_ASSERT_EQUAL(aw_set_string(b, "metadata.\xff", "v"), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_set_json(b, "metadata.j", JSON("{")), AW_ERR_INVALID_EVENT);
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "metadata.j", "ends inside an object"));
    CU_ASSERT_EQUAL(aw_set_action(b, "x", 4), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_set_string(b, "metadata.s", NULL), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_set_string(NULL, "metadata.s", "v"), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_set_string(b, NULL, "v"), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_set_double(NULL, NULL, NAN), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_set_int(NULL, NULL, INT64_MAX), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_set_actor(b, "t", NULL), AW_ERR_USAGE);
    CU_ASSERT_PTR_NULL(prepared(b));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "metadata.n", "2^53")); /* the first one */
    aw_builder_reset(b);
    aw_set_int(b, "actor.id", 5);
    aw_set_string(b, "metadata", "x");
    CU_ASSERT_PTR_NULL(prepared(b));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "actor.id", "must be a string, not a number"));
    CU_ASSERT_TRUE(help_has_problem(AW_ERR_INVALID_EVENT, "metadata", "must be an object, not a string"));
    aw_builder_destroy(b);
    aw_builder_destroy(NULL);
    aw_builder_reset(NULL);
}

static void test_masked_too(void)
{
    struct aw_builder *b = start();
    aw_set_string(b, "metadata.headers.X-Api-Key", "canary");
    aw_set_string(b, "metadata.note", "paid with 4111 1111 1111 1111");
    aw_set_string(b, "actor.userAgent", "x AKIAIOSFODNN7EXAMPLE");
    aw_set_json(b, "diff.list", JSON("[\"ghp_0123456789abcdefghijABCDEFGHIJ012345\"]"));
    const char *t = prepared(b);
    CU_ASSERT_TRUE(help_holds(t, "{\"headers\":{\"X-Api-Key\":\"***\"},\"note\":\"paid with ***\"}"));
    CU_ASSERT_TRUE(help_holds(t, "\"userAgent\":\"x ***\""));
    CU_ASSERT_TRUE(help_holds(t, "\"list\":[\"***\"]"));
    CU_ASSERT_PTR_NOT_NULL(prepared(b)); /* the builder itself is unchanged, and can be used again */
    aw_builder_destroy(b);
}

/* A builder and JSON that say the same give the same bytes, whatever the texts. */
static void test_same_as_json(void)
{
    uint64_t random = harness_seed();
    if (!policy)
        policy = help_policy(NULL);
    struct aw_builder *b = aw_builder_create();
    static char json[1 << 16], first[1 << 16];
    int bad = 0;
    for (int i = 0; i < 3000 && bad < 3; i++) {
        size_t n = 0;
        aw_builder_reset(b);
        aw_set_action(b, "a", 0);
        aw_set_actor(b, "t", "i");
        aw_set_string(b, "eventId", "e");
        aw_set_string(b, "context.occurredAt", "2024-06-07T06:00:00Z");
        n += (size_t)snprintf(json, sizeof json,
                              "{\"action\":\"a\",\"outcome\":\"SUCCESS\",\"eventId\":\"e\",\"context\":{\"occurredAt\":"
                              "\"2024-06-07T06:00:00Z\"},\"actor\":{\"id\":\"i\",\"type\":\"t\"},\"metadata\":{");
        uint64_t members = harness_random(&random) % 12 + 1;
        for (uint64_t k = 0; k < members; k++) {
            char path[64], value[40], escaped[300];
            size_t len = harness_random(&random) % 36, e = 0;
            for (size_t j = 0; j < len; j++) {
                value[j] = (char)(harness_random(&random) % 127 + 1);
                e += (size_t)snprintf(escaped + e, sizeof escaped - e, "\\u%04x", (unsigned)value[j]);
            }
            escaped[e] = '\0';
            unsigned id = (unsigned)(k * 7919 % 1000);
            snprintf(path, sizeof path, "metadata.k%u", id);
            CU_ASSERT_EQUAL(aw_set_text(b, path, value, len), AW_SUCCESS);
            n += (size_t)snprintf(json + n, sizeof json - n, "%s\"k%u\":\"%s\"", k ? "," : "", id, escaped);
        }
        n += (size_t)snprintf(json + n, sizeof json - n, "}}");
        const char *t = prepared(b);
        if (!t)
            help_show_problems();
        CU_ASSERT_PTR_NOT_NULL_FATAL(t);
        snprintf(first, sizeof first, "%s", t);
        const char *other = help_prepare(policy, json, NULL);
        if (!other || strcmp(first, other) != 0) {
            harness_note("builder %s\n# json %s", first, other ? other : "refused");
            bad++;
        }
    }
    CU_ASSERT_EQUAL(bad, 0);
    aw_builder_destroy(b);
}

/* ---- a builder that is used again ---- */

struct setter {
    unsigned kind, path;
    uint64_t value;
};

static void apply(struct aw_builder *b, const struct setter *c)
{
    static const char *const paths[] = {"metadata.a",
                                        "metadata.b",
                                        "metadata.b.c",
                                        "metadata.b.d",
                                        "metadata.list[]",
                                        "metadata.list[0]",
                                        "metadata.list[].n",
                                        "metadata.x\\.y",
                                        "metadata.zz.name that is longer than the others, so that it takes room",
                                        "diff.email.old",
                                        "diff.email.new",
                                        "actor.ip",
                                        "actor.extra",
                                        "actor.roles[]",
                                        "context.tenantId",
                                        "context.custom.deep.er",
                                        "retentionTag",
                                        "metadata",
                                        "nonsense",
                                        "metadata..wrong",
                                        "metadata.password",
                                        "metadata.qu\"ote\n"};
    const char *path = paths[c->path % AW_ARRAY_LEN(paths)];
    char value[80];
    switch (c->kind % 16) {
    case 0:
        (void)aw_set_int(b, path, (int64_t)(c->value % 1000));
        break;
    case 1:
        (void)aw_set_object(b, path);
        break;
    case 2:
        (void)aw_set_array(b, path);
        break;
    case 3:
        (void)aw_set_json(b, path, c->value % 3 ? "{\"k\":[1,{}],\"j\":\"\\u0001\"}" : "[7]", c->value % 3 ? 25 : 3);
        break;
    case 4:
        (void)aw_set_null(b, path);
        break;
    case 5:
        (void)aw_set_target(b, "doc", c->value % 2 ? "d" : NULL);
        break;
    case 6:
        (void)aw_set_text(b, path, "\xff", c->value % 20 == 0); /* not UTF-8, or empty */
        break;
    default: /* of every length, with what must be escaped, and what is masked */
        memset(value, c->value % 7 == 0 ? '"' : 'v', sizeof value);
        memcpy(value + 10, "4111 1111 1111 1111", 19);
        (void)aw_set_text(b, path, value, c->value % sizeof value);
    }
}

static void play(struct aw_builder *b, const struct setter *calls, size_t n)
{
    (void)aw_set_action(b, "a.b", AW_OUTCOME_SUCCESS);
    (void)aw_set_actor(b, "t", "i");
    (void)aw_set_string(b, "eventId", "e");
    (void)aw_set_string(b, "context.occurredAt", "2024-06-07T06:00:00Z");
    for (size_t i = 0; i < n; i++)
        apply(b, &calls[i]);
}

/* One sequence of setters is changed a little from event to event, or not at all. */
static size_t vary(struct setter *calls, size_t n, size_t max, uint64_t *random)
{
    uint64_t what = harness_random(random) % 8;
    size_t at = n ? harness_random(random) % n : 0;
    for (size_t i = 0; i < n; i++)
        calls[i].value = harness_random(random);
    if (what == 0 && n > 0) {
        memmove(calls + at, calls + at + 1, (n - at - 1) * sizeof *calls);
        return n - 1;
    }
    if (what <= 2 && n < max) {
        memmove(calls + at + 1, calls + at, (n - at) * sizeof *calls);
        calls[at] = (struct setter){(unsigned)harness_random(random) | (harness_random(random) % 4 ? 8u : 0),
                                    (unsigned)harness_random(random), harness_random(random)};
        return n + 1;
    }
    return what == 3 ? at : what == 4 && harness_random(random) % 8 == 0 ? 0 : n;
}

/* Whatever was built with a builder before, it gives the same as a new one. */
static void test_used_again(void)
{
    static struct setter calls[100];
    static char first[sizeof text];
    uint64_t random = harness_seed();
    size_t n = 0, good = 0, rounds = harness_slow() ? 5000 : 50000;
    int bad = 0;
    if (!policy)
        policy = help_policy(NULL);
    struct aw_builder *used = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    for (size_t i = 0; i < rounds && bad < 3; i++) {
        n = vary(calls, n, i % 1000 < 900 ? 30 : AW_ARRAY_LEN(calls), &random);
        struct aw_builder *fresh = aw_builder_create();
        CU_ASSERT_PTR_NOT_NULL_FATAL(fresh);
        aw_builder_reset(used);
        if (harness_random(&random) % 50 == 0) { /* begun, and thrown away */
            play(used, calls, n / 2);
            aw_builder_reset(used);
        }
        play(used, calls, n);
        play(fresh, calls, n);
        const char *t = prepared(fresh);
        snprintf(first, sizeof first, "%s", t ? t : "refused");
        good += t != NULL;
        t = prepared(used);
        if (strcmp(first, t ? t : "refused") != 0) {
            harness_note("round %zu: new  %s\n# used %s", i, first, t ? t : "refused");
            bad++;
        }
        if (t && harness_random(&random) % 4 == 0) { /* logged twice, the second time with more */
            struct setter more = {8, (unsigned)(i % 16), i};
            apply(used, &more);
            apply(fresh, &more);
            t = prepared(fresh);
            snprintf(first, sizeof first, "%s", t ? t : "refused");
            t = prepared(used);
            bad += strcmp(first, t ? t : "refused") != 0;
        }
        aw_builder_destroy(fresh);
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(good > rounds / 20);
    harness_note("%zu of %zu events were good", good, rounds);
    aw_builder_destroy(used);
}

static void *use_and_end(void *arg)
{
    struct aw_builder *b = start();
    struct prepared *p;
    (void)arg;
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(event_prepare_builder(policy, NULL, 0, b, &p), AW_SUCCESS);
    aw_builder_destroy(b);
    return NULL;
}

/* Each thread has its own work space, freed when it ends (the leak checker looks). */
static void test_threads(void)
{
    pthread_t t[4];
    if (!policy)
        policy = help_policy(NULL);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, use_and_end, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    event_policy_destroy(policy);
    policy = NULL;
}

HARNESS_MAIN("builder", {"typed values by path", test_typed_values}, {"replacing and resetting", test_replacing},
             {"wrong paths", test_wrong_paths}, {"wrong values", test_wrong_values},
             {"masked like JSON", test_masked_too}, {"same bytes as JSON", test_same_as_json},
             {"used again", test_used_again}, {"threads", test_threads})
