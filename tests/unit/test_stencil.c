/* test_stencil.c - a builder that is used again against a new one for each event. SPDX-License-Identifier: Apache-2.0
 *
 * A new builder has no plan and no stencil: what it gives is what must come out. Events are of one kind for a while,
 * with values of all sorts, then the kind changes a little; policies, contexts and the thread's stack come and go.
 */
#include "config.h"

#include "event_help.h"

#include "base/clock.h"
#include "event/context.h"

#include <stdarg.h>

/* ---- policies ---- */

#define RULES(list, count, ...)                                                                                        \
    static const struct event_rule rules_##list[] = {__VA_ARGS__};                                                     \
    s->list = rules_##list;                                                                                            \
    s->count = AW_ARRAY_LEN(rules_##list)

static void no_redaction(struct event_settings *s)
{
    s->redaction = false;
    s->service = "billing \"north\"";
    s->max_event = 1024;
}

static void no_scanners(struct event_settings *s)
{
    s->redact_scanners = false;
    s->strict = true;
    s->environment = "test";
}

static void by_paths(struct event_settings *s)
{
    RULES(paths, path_count, {"metadata.user.**", NULL}, {"metadata.*.b", NULL}, {"target.displayName", NULL});
    RULES(allow, allow_count, {"password", NULL}, {"metadata.http.token", NULL}, {"retentionTag", NULL});
    s->mask = "<\"\\>";
    s->service = "4111 1111 1111 1111";
}

static void known_members(struct event_settings *s)
{
    RULES(paths, path_count, {"actor.ip", NULL}, {"actor.roles", NULL}, {"diff.*", NULL});
    RULES(patterns, pattern_count, {"^x-", NULL});
    s->host = "h1";
}

static void refuse_large(struct event_settings *s)
{
    s->max_event = 1024;
    s->max_metadata = 256;
    s->max_diff = 128;
    s->strict_naming = true;
}

static void cut_large(struct event_settings *s)
{
    refuse_large(s);
    s->strict_naming = false;
    s->over_limit_truncate = true;
}

#define POLICIES 7u
static struct event_policy *policies[POLICIES];
static struct aw_context *contexts[3];

static void make_all(void)
{
    static void (*const changes[POLICIES])(struct event_settings *) = {
        NULL, no_redaction, no_scanners, by_paths, known_members, refuse_large, cut_large};
    for (size_t i = 0; i < POLICIES; i++)
        policies[i] = help_policy(changes[i]);
    for (size_t i = 0; i < AW_ARRAY_LEN(contexts); i++) {
        contexts[i] = aw_context_create();
        CU_ASSERT_PTR_NOT_NULL_FATAL(contexts[i]);
    }
    CU_ASSERT_EQUAL(aw_context_set(contexts[0], "context.tenantId", "from the context"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_context_set(contexts[1], "metadata.a", "from the context"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_context_set(contexts[1], "metadata.password", "from the context"), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_context_set(contexts[2], "actor.ip", "10.0.0.1"), AW_SUCCESS);
}

static void free_all(void)
{
    for (size_t i = 0; i < POLICIES; i++)
        event_policy_destroy(policies[i]);
    for (size_t i = 0; i < AW_ARRAY_LEN(contexts); i++)
        aw_context_destroy(contexts[i]);
}

/* ---- events ---- */

enum kind { ACTION, ACTOR, TARGET, TEXT, INT, DOUBLE, BOOL, NOTHING, OBJECT, ROLE, OURS };
struct setter {
    enum kind kind;
    unsigned path;
};
#define SETTERS 30u
struct shape {
    size_t count;
    struct setter setters[SETTERS];
};

static const char *const paths[] = {"metadata.a",
                                    "metadata.b",
                                    "metadata.user.name",
                                    "metadata.user.deep.er",
                                    "metadata.http.b",
                                    "metadata.http.token",
                                    "metadata.password",
                                    "metadata.request.headers.authorization",
                                    "metadata.list[]",
                                    "metadata.list[].n",
                                    "metadata.x-token-like",
                                    "metadata.qu\"ote\n",
                                    "metadata.a name of some length, so that it takes more than one step to copy",
                                    "diff.email.old",
                                    "diff.email.new",
                                    "diff.password.new",
                                    "actor.ip",
                                    "actor.displayName",
                                    "actor.roles[]",
                                    "actor.custom",
                                    "actor.secret",
                                    "target.displayName",
                                    "target.zz",
                                    "context.tenantId",
                                    "context.sourceService",
                                    "context.occurredAt",
                                    "context.traceId",
                                    "context.own.thing",
                                    "retentionTag",
                                    "eventId",
                                    "outcome",
                                    "schemaVersion",
                                    "metadataTruncated",
                                    "metadata"};
#define USUAL 31u       /* of the paths: the rest makes most events bad */
#define FIRST_KNOWN 16u /* from here on most are texts, or the event is bad */

static struct setter draw_setter(uint64_t *random)
{
    static const enum kind kinds[] = {TEXT, TEXT, TEXT, TEXT, TEXT, INT, DOUBLE, BOOL, NOTHING, OBJECT, TARGET, ROLE};
    uint64_t r = harness_random(random);
    unsigned path = (unsigned)((r >> 32) % (r % 40 == 0 ? AW_ARRAY_LEN(paths) : USUAL));
    enum kind kind = kinds[(r >> 16) % AW_ARRAY_LEN(kinds)];
    if (r % 64 == 1)
        kind = OURS;
    else if (path >= FIRST_KNOWN && kind != TARGET && kind != ROLE && (r >> 8) % 32 > 0)
        kind = TEXT;
    if (kind == OBJECT && (r >> 8) % 8 > 0)
        kind = INT; /* it ends a plan */
    return (struct setter){kind, path};
}

static void draw_shape(struct shape *s, uint64_t *random)
{
    s->count = 0;
    s->setters[s->count++] = (struct setter){ACTION, 0};
    s->setters[s->count++] = (struct setter){ACTOR, 0};
    s->setters[s->count++] = (struct setter){TARGET, 0};
    for (uint64_t n = harness_random(random) % (SETTERS - 3); n > 0; n--)
        s->setters[s->count++] = draw_setter(random);
}

static void change_shape(struct shape *s, uint64_t *random)
{
    size_t at = harness_random(random) % s->count;
    if (at < 3 && harness_random(random) % 8 > 0)
        return; /* without these most events are bad */
    switch (harness_random(random) % 8) {
    case 0:
        draw_shape(s, random);
        break;
    case 1:
    case 2:
        memmove(&s->setters[at], &s->setters[at + 1], (s->count - at - 1) * sizeof s->setters[0]);
        s->count -= s->count > 1;
        break;
    case 3:
    case 4:
        if (s->count < SETTERS)
            s->setters[s->count++] = draw_setter(random);
        break;
    default: /* the same path, of another type */
        if (s->setters[at].kind >= TEXT && s->setters[at].kind <= NOTHING &&
            (s->setters[at].path < FIRST_KNOWN || harness_random(random) % 8 == 0))
            s->setters[at].kind = TEXT + (enum kind)(harness_random(random) % 5);
    }
}

/* A text that is usual for the path, or one of all sorts. NUL-terminated; *ret_len. */
static const char *draw_text(const char *path, uint64_t *random, size_t *ret_len)
{
    static const char *const odd[] = {"",
                                      "\xff",
                                      "4111 1111 1111 1111",
                                      "Bearer abcdef0123456789abcdef",
                                      "see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
                                      "ghp_0123456789abcdefghijABCDEFGHIJ012345",
                                      "***",
                                      "back\\slash \"quote\" \n",
                                      "Zo\xc3\xab \xf0\x9f\x98\x80",
                                      "1234567890123456",
                                      "user.3b241101-e2bb-4255-8caf-4136c566a962",
                                      "2024-06-07T06:00:00.001Z",
                                      "2024-06-07T08:00:00+02:00",
                                      "SUCCESS",
                                      "ERROR"};
    static char text[4096];
    uint64_t r = harness_random(random);
    const char *given = NULL;
    if (r % 60 == 0)
        given = odd[(r >> 8) % AW_ARRAY_LEN(odd)];
    else if (strcmp(path, "context.occurredAt") == 0)
        given = odd[11 + (r >> 8) % 2];
    else if (strcmp(path, "outcome") == 0)
        given = odd[13 + (r >> 8) % 2];
    if (given) {
        *ret_len = strlen(given);
        return given;
    }
    size_t len = (r >> 8) % 70;
    if (r % 300 == 1)
        len = (r >> 20) % (sizeof text - 1);
    else if (r % 20 == 2)
        len += 150;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + (r >> 30) % 20 + i % 7);
    if (r % 16 == 3 && len > 0)
        text[(r >> 40) % len] = '"';
    if (r % 64 == 4 && len > 0)
        text[len - 1] = '\t';
    text[len] = '\0';
    *ret_len = len;
    return text;
}

static void apply(struct aw_builder *b, struct setter s, uint64_t *random)
{
    const char *path = paths[s.path];
    uint64_t r = harness_random(random);
    size_t len;
    if (s.kind == TEXT && r % 400 == 0)
        s.kind = (r >> 16) % 2 ? INT : NOTHING; /* this once */
    switch (s.kind) {
    case ACTION:
        (void)aw_set_action(b,
                            r % 50 == 0 ? draw_text("", random, &len)
                            : r % 2     ? "user.login"
                                        : "doc.read",
                            (int)(r >> 8) % 4);
        break;
    case ACTOR:
        (void)aw_set_actor(b, "user", draw_text("", random, &len));
        break;
    case TARGET:
        (void)aw_set_target(b, r % 50 == 0 ? "" : "doc", s.path % 2 ? "d" : NULL);
        break;
    case TEXT:
        path = paths[s.path];
        const char *text = draw_text(path, random, &len);
        (void)aw_set_text(b, path, text, len);
        break;
    case INT:
        (void)aw_set_int(b, path, r % 20 == 0 ? 4111111111111111 : (int64_t)(r >> 8) % 100000);
        break;
    case DOUBLE:
        (void)aw_set_double(b, path, (double)(r % 100000) / 1000);
        break;
    case BOOL:
        (void)aw_set_bool(b, path, r % 2);
        break;
    case NOTHING:
        (void)aw_set_null(b, path);
        break;
    case OBJECT:
        (void)aw_set_object(b, path);
        break;
    case ROLE:
        (void)aw_set_text(b, "actor.roles[]", "role", r % 5);
        if (r % 100 == 9)
            (void)aw_set_null(b, "actor.roles[0]");
        break;
    default: /* members that nobody has to give */
        if (s.path % 3 == 0)
            (void)aw_set_int(b, "schemaVersion", r % 10 == 0 ? 2 : 1);
        else
            (void)aw_set_bool(b, s.path % 3 == 1 ? "metadataTruncated" : "diffTruncated", r % 4 == 0);
    }
}

static void play(struct aw_builder *b, const struct shape *s, uint64_t random)
{
    for (size_t i = 0; i < s->count; i++)
        apply(b, s->setters[i], &random);
}

/* ---- results ---- */

struct result {
    size_t len;
    char text[1 << 16];
};

static void AW_PRINTF(2, 3) say(struct result *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(r->text + r->len, sizeof r->text - r->len, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof r->text - r->len)
        r->len += (size_t)n;
    else
        CU_FAIL("a result that is too long to be compared");
}

/* What we made ourselves is never the same twice: 'x' in its place. */
static void blank(struct result *r, size_t json_at, const struct prepared *p, uint32_t id, size_t len)
{
    for (uint32_t i = 0; i < p->field_count; i++) {
        if (field_id(p->fields[i]) != id)
            continue;
        CU_ASSERT_EQUAL(field_len(p->fields[i]), len);
        memset(r->text + json_at + field_offset(p->fields[i]), 'x', len);
    }
}

static void tell(struct result *r, const struct aw_builder *b, int rc, const struct prepared *p)
{
    size_t n;
    const struct aw_problem *const *problems = aw_problems(&n);
    r->len = 0;
    say(r, "rc %d\n", rc);
    for (size_t i = 0; i < n; i++)
        say(r, "problem %d %s: %s\n", problems[i]->code, problems[i]->path, problems[i]->message);
    if (rc != AW_SUCCESS)
        return;
    size_t at = r->len;
    bool own_time = b->tree.slots[SLOT_OCCURRED_AT] != 0, own_id = b->tree.slots[SLOT_EVENT_ID] != 0;
    say(r, "%.*s\nintegrity at %u, flags %u, redactions %u, reserved %u, clock %d\n", (int)p->json_len, p->json,
        p->integrity_at, p->flags, p->redactions, p->reserved, p->now_ns != 0);
    say(r, "scope %d %.*s\n", p->scope_is_tenant, (int)p->scope_value.len, p->scope_value.ptr);
    for (uint32_t i = 0; i < p->field_count; i++)
        say(r, "field %u at %u, %u bytes, flags %u\n", field_id(p->fields[i]), field_offset(p->fields[i]),
            field_len(p->fields[i]), p->fields[i].len_flags & 15);
    int64_t ns = p->occurred_ns;
    if (!own_id)
        blank(r, at, p, AW_FIELD_EVENT_ID, 36);
    for (uint32_t i = 0; i < p->field_count && !own_time; i++) {
        if (field_id(p->fields[i]) != AW_FIELD_OCCURRED_AT)
            continue;
        CU_ASSERT(clock_parse_rfc3339(p->json + field_offset(p->fields[i]), field_len(p->fields[i]), &ns));
        CU_ASSERT_EQUAL(ns, p->occurred_ns);
        blank(r, at, p, AW_FIELD_OCCURRED_AT, 24);
        ns = 0;
    }
    say(r, "occurred %lld\n", (long long)ns);
}

struct how {
    const struct event_policy *policy;
    const struct aw_context *contexts[2];
    size_t context_count;
};

static bool prepare(struct result *r, struct aw_builder *b, const struct how *h)
{
    struct prepared *p = NULL;
    struct event_plan *plan = b->tree.plan;
    bool followed = plan_followed(plan);
    if (followed && plan->stencil.tries == 0)
        plan->stencil.tries = 1;
    diag_reset();
    int rc = event_prepare_builder(h->policy, h->contexts, h->context_count, b, &p);
    tell(r, b, rc, p);
    if (rc == AW_SUCCESS)
        memset(p, 0xa5, sizeof *p);                                     /* nothing of it may be what the next one has */
    return followed && plan_followed(plan) && plan->stencil.tries == 0; /* by its stencil */
}

static void draw_how(struct how *h, uint64_t *random)
{
    uint64_t r = harness_random(random);
    if (r % 8 == 0)
        h->policy = policies[(r >> 8) % 2 ? (r >> 16) % POLICIES : 0];
    h->context_count = (r >> 16) % 16 == 0 ? 1 + (r >> 24) % 2 : 0;
    for (size_t i = 0; i < h->context_count; i++)
        h->contexts[i] = contexts[(r >> (32 + 8 * i)) % AW_ARRAY_LEN(contexts)];
}

static int compare(size_t round, const struct result *fresh, const struct result *used)
{
    if (fresh->len == used->len && memcmp(fresh->text, used->text, fresh->len) == 0)
        return 0;
    harness_note("round %zu: new\n%.*s\n# used\n%.*s", round, (int)fresh->len, fresh->text, (int)used->len, used->text);
    return 1;
}

/* ---- tests ---- */

/* Whatever comes of a value, a policy, a context: the same as from a builder that knows nothing of the past. */
static void test_same_as_new(void)
{
    static struct result from_new, from_used;
    uint64_t random = harness_seed();
    size_t rounds = harness_slow() ? 15000 : 300000, filled = 0, good = 0;
    struct shape shape;
    struct how how = {.context_count = 0};
    int bad = 0;
    make_all();
    how.policy = policies[0];
    draw_shape(&shape, &random);
    struct aw_builder *used = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    for (size_t i = 0; i < rounds && bad < 3; i++) {
        bool pushed = harness_random(&random) % 32 == 0;
        uint64_t values = harness_random(&random);
        if (i % 100 == 0)
            draw_shape(&shape, &random);
        else if (harness_random(&random) % 32 == 0)
            change_shape(&shape, &random);
        draw_how(&how, &random);
        struct aw_builder *fresh = aw_builder_create();
        CU_ASSERT_PTR_NOT_NULL_FATAL(fresh);
        if (pushed)
            CU_ASSERT_EQUAL(aw_context_push(contexts[i % AW_ARRAY_LEN(contexts)]), AW_SUCCESS);
        play(fresh, &shape, values);
        (void)prepare(&from_new, fresh, &how);
        good += strncmp(from_new.text, "rc 0\n", 5) == 0;
        aw_builder_reset(used);
        play(used, &shape, values);
        filled += prepare(&from_used, used, &how);
        bad += compare(i, &from_new, &from_used);
        if (harness_random(&random) % 8 == 0) { /* logged twice, perhaps somewhere else */
            draw_how(&how, &random);
            (void)prepare(&from_new, fresh, &how);
            filled += prepare(&from_used, used, &how);
            bad += compare(i, &from_new, &from_used);
        }
        if (pushed)
            CU_ASSERT_EQUAL(aw_context_pop(), AW_SUCCESS);
        aw_builder_destroy(fresh);
    }
    harness_note("%zu events, %zu good ones, %zu by a stencil", rounds, good, filled);
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(good > rounds / 4 && filled > rounds / 10);
    aw_builder_destroy(used);
    free_all();
}

HARNESS_MAIN("stencil", {"the same as from a new builder", test_same_as_new})
