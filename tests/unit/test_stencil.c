/* test_stencil.c - a builder that is used again against a new one for each event. SPDX-License-Identifier: Apache-2.0
 *
 * A new builder has no plan and no stencil: what it gives is what must come out. Events are of one kind for a while,
 * with values of all sorts, then the kind changes a little; policies, contexts and the thread's stack come and go.
 */
#include "config.h"

#include "event_help.h"
#include "event_random.h"

#include "base/clock.h"
#include "event/context.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/random.h>

/* ---- what can be made to fail ---- */

static atomic_int no_random;
ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    (void)flags;
    if (atomic_load(&no_random)) {
        errno = ENOSYS;
        return -1;
    }
    memset(buf, 7, len);
    return (ssize_t)len;
}

static atomic_int allocations = -1; /* until one fails; negative: none does */
#ifndef AW_SANITIZED                /* a sanitizer has its own malloc */
static bool strikes(void)
{
    return atomic_load(&allocations) >= 0 && atomic_fetch_sub(&allocations, 1) == 0;
}
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
void *malloc(size_t n)
{
    return strikes() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return strikes() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return strikes() ? NULL : __libc_realloc(p, n);
}
#endif

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
        p->integrity_at, p->flags, p->redactions, p->hashed, p->now_ns != 0);
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
    size_t rounds = harness_slow() ? 30000 : 300000, filled = 0, good = 0;
    struct event_shape shape;
    struct how how = {.context_count = 0};
    int bad = 0;
    make_all();
    how.policy = policies[0];
    random_shape(&shape, &random);
    struct aw_builder *used = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    for (size_t i = 0; i < rounds && bad < 3; i++) {
        bool pushed = harness_random(&random) % 32 == 0;
        uint64_t values = harness_random(&random);
        if (i % 100 == 0)
            random_shape(&shape, &random);
        else if (harness_random(&random) % 32 == 0)
            random_change(&shape, &random);
        draw_how(&how, &random);
        struct aw_builder *fresh = aw_builder_create();
        CU_ASSERT_PTR_NOT_NULL_FATAL(fresh);
        if (pushed)
            CU_ASSERT_EQUAL(aw_context_push(contexts[i % AW_ARRAY_LEN(contexts)]), AW_SUCCESS);
        random_event(fresh, &shape, values);
        (void)prepare(&from_new, fresh, &how);
        good += strncmp(from_new.text, "rc 0\n", 5) == 0;
        aw_builder_reset(used);
        random_event(used, &shape, values);
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
    CU_ASSERT(good > rounds / 4 && filled > rounds / 20);
    aw_builder_destroy(used);
    free_all();
}

/* An event with texts of this size; eight more members than a stencil has holes are the most. */
static void set_members(struct aw_builder *b, size_t members, size_t size)
{
    static char text[20000];
    memset(text, 'x', sizeof text);
    (void)aw_set_action(b, "a.b", AW_OUTCOME_DENIED);
    (void)aw_set_actor(b, "user", "u");
    for (size_t i = 0; i < members; i++) {
        char path[40];
        snprintf(path, sizeof path, "metadata.group%zu.m%zu", i % 3, i);
        (void)aw_set_text(b, path, text, size);
    }
}

static struct result expected, got;

/* With a new builder, and then with the used one, which may run out of memory. How many differ? */
static int both(struct aw_builder *used, size_t round, size_t members, size_t size, int allocations_left)
{
    struct how how = {.policy = policies[0]};
    struct aw_builder *fresh = aw_builder_create();
    set_members(fresh, members, size);
    (void)prepare(&expected, fresh, &how);
    aw_builder_destroy(fresh);
    aw_builder_reset(used);
    atomic_store(&allocations, allocations_left);
    set_members(used, members, size);
    (void)prepare(&got, used, &how);
    atomic_store(&allocations, -1);
    char refused[40];
    snprintf(refused, sizeof refused, "rc %d\n", AW_ERR_NOMEM);
    if (allocations_left >= 0 && strncmp(got.text, refused, strlen(refused)) == 0)
        return 0;
    return compare(round, &expected, &got);
}

static void test_many_members(void)
{
    int bad = 0;
    make_all();
    for (size_t members = 54; members <= 66; members++) {
        struct aw_builder *used = aw_builder_create();
        CU_ASSERT_PTR_NOT_NULL_FATAL(used);
        for (size_t i = 0; i < 6; i++)
            bad += both(used, members, members, i, -1);
        aw_builder_destroy(used);
    }
    CU_ASSERT_EQUAL(bad, 0);
    free_all();
}

static void *go_on(void *arg)
{
    static atomic_size_t round;
    struct aw_builder *used = arg;
    size_t n = atomic_fetch_add(&round, 1), bad = 0;
    struct how how = {.policy = policies[0]};
    aw_builder_reset(used);
    set_members(used, 8, 600 * n);
    (void)prepare(&got, used, &how); /* before anything else of this thread */
    struct aw_builder *fresh = aw_builder_create();
    set_members(fresh, 8, 600 * n);
    (void)prepare(&expected, fresh, &how);
    aw_builder_destroy(fresh);
    bad += (size_t)compare(n, &expected, &got);
    for (size_t i = 0; i < 4; i++)
        bad += (size_t)both(used, n, 8, n * 37 + i * 400, -1);
    return bad ? used : NULL;
}

/* A thread's work space begins small, whatever the builder has seen elsewhere. */
static void test_other_threads(void)
{
    make_all();
    struct aw_builder *used = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *bad = NULL;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, go_on, used), 0);
        CU_ASSERT_EQUAL(pthread_join(thread, &bad), 0);
        CU_ASSERT_PTR_NULL(bad);
    }
    aw_builder_destroy(used);
    free_all();
}

static void test_no_random(void)
{
    make_all();
    struct how how = {.policy = policies[0]};
    struct aw_builder *used = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    int refused = 0, filled = 0;
    for (int i = 0; i < 1000; i++) {
        atomic_store(&no_random, i >= 100 && i < 700);
        aw_builder_reset(used);
        set_members(used, 5, 10);
        bool by_stencil = prepare(&got, used, &how);
        filled += by_stencil;
        if (strncmp(got.text, "rc 0\n", 5) != 0) {
            CU_ASSERT(atomic_load(&no_random) && !by_stencil);
            CU_ASSERT_PTR_NOT_NULL(strstr(got.text, "no random bytes for an event id"));
            refused++;
        }
    }
    CU_ASSERT(refused > 200 && filled > 400);
    aw_builder_destroy(used);
    free_all();
}

#ifndef AW_SANITIZED
/* What there is no memory for is refused as such, and nothing of it is in what comes later. */
static void *run_out(void *arg)
{
    static const size_t sizes[] = {10, 10, 12, 14, 3000, 3000, 9, 18000, 18000, 0, 5};
    struct aw_builder *used = aw_builder_create();
    int bad = 0, left = *(int *)arg;
    for (size_t i = 0; i < AW_ARRAY_LEN(sizes) && used; i++)
        bad += both(used, i, i == 6 ? 3 : 8, sizes[i], left);
    aw_builder_destroy(used);
    *(int *)arg = bad;
    return NULL;
}

static void test_no_memory(void)
{
    make_all();
    for (int nth = 0; nth < 60; nth++) {
        pthread_t thread;
        int arg = nth;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, run_out, &arg), 0);
        CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
        CU_ASSERT_EQUAL(arg, 0);
    }
    free_all();
}
#define MEMORY_TEST                                                                                                    \
    ,                                                                                                                  \
    {                                                                                                                  \
        "no memory", test_no_memory                                                                                    \
    }
#else
#define MEMORY_TEST
#endif

HARNESS_MAIN("stencil", {"the same as from a new builder", test_same_as_new}, {"many members", test_many_members},
             {"other threads", test_other_threads}, {"no random bytes", test_no_random} MEMORY_TEST)
