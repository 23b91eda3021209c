/* test_view.c - tags, pseudonyms, views of events, and the look at views. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "view_help.h"

#include <stdatomic.h>

/* Allocations can be counted, and be made to fail. */
static _Atomic size_t allocations;
static _Atomic long fail_after = -1; /* this many more succeed; -1 = all */
#ifndef AW_SANITIZED
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static bool refused(void)
{
    allocations++;
    if (fail_after < 0)
        return false;
    if (fail_after == 0)
        return true;
    fail_after--;
    return false;
}
void *malloc(size_t n)
{
    return refused() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return refused() ? NULL : __libc_realloc(p, n);
}
#endif

/* ---- pseudonyms ---- */

static void pseudonyms_are_hmacs(void)
{
    /* RFC 4231, test case 6, whose key is longer than a block */
    char secret[131], out[PSEUDONYM_LEN + 1] = "", expected[PSEUDONYM_LEN + 1];
    static const char data[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    struct pseudonym_key key;
    struct hash_sha256 *sha;
    memset(secret, 0xaa, sizeof secret);
    CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&sha), 0);
    CU_ASSERT_EQUAL(pseudonym_key_init(&key, secret, sizeof secret), 0);
    CU_ASSERT(pseudonym_make(&key, sha, data, sizeof data - 1, out));
    CU_ASSERT_NSTRING_EQUAL(out + 12, "60e431591ee0b67f0d8a26aacbf5b77f", 32);
    CU_ASSERT(pseudonym_form(out, PSEUDONYM_LEN, key.id));
    CU_ASSERT(!pseudonym_form(out, PSEUDONYM_LEN - 1, key.id));
    CU_ASSERT(!pseudonym_form(out, PSEUDONYM_LEN, "00000000"));
    CU_ASSERT_EQUAL(pseudonym_key_init(&key, SECRET, 31), -EINVAL);
    char one[9];
    CU_ASSERT_EQUAL(pseudonym_key_init(&key, SECRET, 32), 0);
    /* printf '%s' 'auditwell pseudonym key 1:0123456789abcdef0123456789abcdef' | sha256sum */
    memcpy(one, key.id, sizeof one);
    CU_ASSERT_STRING_EQUAL(one, "20259ac0");
    CU_ASSERT_EQUAL(pseudonym_key_init(&key, SECRET "x", 33), 0);
    CU_ASSERT_STRING_NOT_EQUAL(one, key.id);
    CU_ASSERT_EQUAL(pseudonym_key_init(&key, SECRET, 32), 0);
    for (size_t len = 0; len < 200; len++) {
        CU_ASSERT(pseudonym_make(&key, sha, secret, len < 131 ? len : 131, out));
        pseudonym(secret, len < 131 ? len : 131, expected);
        CU_ASSERT_NSTRING_EQUAL(out, expected, PSEUDONYM_LEN);
    }
    hash_sha256_destroy(sha);
}

/* ---- tags ---- */

static bool tag_refused(const char *tag, const char *part)
{
    struct event_pii *pii = NULL;
    struct event_rule rule = {tag, "audit.conf:7"};
    diag_reset();
    int rc = event_pii_create(&rule, 1, "***", &pii);
    event_pii_destroy(pii);
    return rc == AW_ERR_CONFIG && help_has_problem(AW_ERR_CONFIG, "audit.conf:7", part);
}

static void tags_that_cannot_work_are_refused(void)
{
    CU_ASSERT(tag_refused("", "a path is needed"));
    CU_ASSERT(tag_refused("actor..ip", "a name is missing beside a '.'"));
    CU_ASSERT(tag_refused("actor.ip*", "stand for whole names only"));
    CU_ASSERT(tag_refused("user.email", "events have no such member"));
    CU_ASSERT(tag_refused("integrity.hash", "events have no such member"));
    CU_ASSERT(tag_refused("actor.ip.v4", "has no members of its own"));
    CU_ASSERT(tag_refused("outcome.x", "has no members of its own"));
    static const char *const fixed[] = {"eventId",           "outcome",     "schemaVersion",        "event_id",
                                        "metadataTruncated", "actor.type",  "context.occurredAt",   "context.tenant-id",
                                        "diffTruncated",     "target.type", "context.sourceService"};
    for (size_t i = 0; i < AW_ARRAY_LEN(fixed); i++)
        CU_ASSERT(tag_refused(fixed[i], "is the same in every view"));
    CU_ASSERT(tag_refused("\xff", "not valid UTF-8"));
}

static const char *needed(const char *tag)
{
    struct event_pii *pii = NULL;
    struct event_rule rule = {tag, NULL};
    CU_ASSERT_EQUAL_FATAL(event_pii_create(&rule, 1, "***", &pii), 0);
    const char *path = event_pii_needed(pii);
    event_pii_destroy(pii);
    return path ? path : "";
}

static void tags_on_what_events_need(void)
{
    CU_ASSERT_STRING_EQUAL(needed("action"), "action");
    CU_ASSERT_STRING_EQUAL(needed("ACTOR.ID"), "actor.id");
    CU_ASSERT_STRING_EQUAL(needed("actor"), "actor.id");
    CU_ASSERT_STRING_EQUAL(needed("actor.*"), "actor.id");
    CU_ASSERT_STRING_EQUAL(needed("**.id"), "actor.id");
    CU_ASSERT_STRING_EQUAL(needed("**"), "action");
    CU_ASSERT_STRING_EQUAL(needed("target"), "");
    CU_ASSERT_STRING_EQUAL(needed("context"), "");
    CU_ASSERT_STRING_EQUAL(needed("target.id"), "");
    CU_ASSERT_STRING_EQUAL(needed("metadata"), "");
    CU_ASSERT_STRING_EQUAL(needed("**.email"), "");
}

/* ---- views ---- */

static const char full[] =
    "{\"action\":\"user.login\",\"actor\":{\"displayName\":\"Anna \\\"A\\\"\",\"id\":\"anna\",\"ip\":\"10.0.0.1\","
    "\"roles\":[\"admin\",\"***\"],\"type\":\"user\"},\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\","
    "\"sourceService\":\"s\",\"tenantId\":\"t\"},\"eventId\":\"e1\",\"metadata\":{\"a.b\":{\"e-mail\":\"anna\"},"
    "\"list\":[{\"email\":\"x\",\"n\":1},[{\"Email\":\"***\"}],2],\"n\":42,\"password\":\"***\",\"user\":{\"age\":42,"
    "\"deep\":[true,null,{}]}},\"outcome\":\"SUCCESS\",\"schemaVersion\":1,\"target\":{\"id\":\"anna\",\"type\":\"x\"}"
    "}";

static void dropping(void)
{
    static struct maker m;
    OPEN(&m, true, "actor.IP", "actor.display_name", "metadata.**.email", "metadata.user", "metadata.password");
    CU_ASSERT_EQUAL_FATAL(view_of(&m, full, sizeof full - 1), 0);
    CU_ASSERT_STRING_EQUAL(
        m.json,
        "{\"action\":\"user.login\",\"actor\":{\"id\":\"anna\",\"roles\":[\"admin\",\"***\"],\"type\":\"user\"},"
        "\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"sourceService\":\"s\",\"tenantId\":\"t\"},"
        "\"eventId\":\"e1\",\"metadata\":{\"a.b\":{},\"list\":[{\"n\":1},[{}],2],\"n\":42},"
        "\"outcome\":\"SUCCESS\",\"schemaVersion\":1,\"target\":{\"id\":\"anna\",\"type\":\"x\"}}");
    CU_ASSERT_STRING_EQUAL(m.claim, "{\"dropped\":[\"actor.displayName\",\"actor.ip\",\"metadata.a\\\\.b.e-mail\","
                                    "\"metadata.list.Email\",\"metadata.list.email\",\"metadata.password\","
                                    "\"metadata.user\"]}");
    CU_ASSERT_NSTRING_EQUAL(m.json + m.view.integrity_at, "\"metadata\":", 11);
    close_maker(&m);
    /* objects that hold what an event needs are emptied of the rest; all of metadata may go */
    OPEN(&m, true, "target", "context", "metadata", "actor.roles");
    CU_ASSERT_EQUAL_FATAL(view_of(&m, full, sizeof full - 1), 0);
    CU_ASSERT(help_holds(m.json, "\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"sourceService\":\"s\","
                                 "\"tenantId\":\"t\"},\"eventId\":\"e1\",\"outcome\":"));
    CU_ASSERT(help_holds(m.json, "\"target\":{\"type\":\"x\"}}"));
    CU_ASSERT_STRING_EQUAL(m.claim, "{\"dropped\":[\"actor.roles\",\"metadata\",\"target.id\"]}");
    close_maker(&m);
}

static void pseudonymizing(void)
{
    static struct maker m;
    char anna[PSEUDONYM_LEN + 1], n42[PSEUDONYM_LEN + 1], yes[PSEUDONYM_LEN + 1], null[PSEUDONYM_LEN + 1],
        name[PSEUDONYM_LEN + 1], part[400];
    pseudonym("anna", 4, anna);
    pseudonym("42", 2, n42);
    pseudonym("true", 4, yes);
    pseudonym("null", 4, null);
    pseudonym("Anna \"A\"", 8, name);
    OPEN(&m, false, "actor.id", "target.id", "**.email", "metadata.user", "metadata.n", "actor.display-name",
         "metadata.password", "actor.roles");
    CU_ASSERT_EQUAL_FATAL(view_of(&m, full, sizeof full - 1), 0);
    snprintf(part, sizeof part, "\"actor\":{\"displayName\":\"%s\",\"id\":\"%s\",\"ip\":\"10.0.0.1\",\"roles\":[\"",
             name, anna);
    CU_ASSERT(help_holds(m.json, part));
    snprintf(part, sizeof part,
             "\"n\":\"%s\",\"password\":\"***\",\"user\":{\"age\":\"%s\",\"deep\":[\"%s\",\"%s\",{}]}}", n42, n42, yes,
             null);
    CU_ASSERT(help_holds(m.json, part));
    snprintf(part, sizeof part, "\"target\":{\"id\":\"%s\",\"type\":\"x\"}}", anna);
    CU_ASSERT(help_holds(m.json, part));
    snprintf(part, sizeof part, "\"a.b\":{\"e-mail\":\"%s\"}", anna); /* the same person everywhere */
    CU_ASSERT(help_holds(m.json, part));
    CU_ASSERT(help_holds(m.json, "[{\"Email\":\"***\"}]"));
    CU_ASSERT(help_holds(m.json, "\",\"***\"],\"type\":\"user\"}")); /* a mask among roles */
    snprintf(part, sizeof part,
             "{\"keyId\":\"%s\",\"pseudonymized\":[\"actor.displayName\",\"actor.id\",\"actor.roles\","
             "\"metadata.a\\\\.b.e-mail\",\"metadata.list.email\",\"metadata.n\",\"metadata.user\",\"target.id\"]}",
             m.key.id);
    CU_ASSERT_STRING_EQUAL(m.claim, part);
    close_maker(&m);
    OPEN(&m, false, "**"); /* what chains and readers go by stays */
    CU_ASSERT_EQUAL_FATAL(view_of(&m, full, sizeof full - 1), 0);
    CU_ASSERT(help_holds(m.json, "\"type\":\"user\"},\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\","
                                 "\"sourceService\":\"s\",\"tenantId\":\"t\"},\"eventId\":\"e1\","));
    CU_ASSERT(help_holds(m.json, "\"outcome\":\"SUCCESS\",\"schemaVersion\":1,\"target\":{\"id\":\"pn:"));
    CU_ASSERT(help_lacks(m.json, "anna"));
    close_maker(&m);
}

static void nothing_tagged_in_it(void)
{
    static struct maker m;
    OPEN(&m, false, "actor.user_agent", "diff.**.mail");
    CU_ASSERT_EQUAL_FATAL(view_of(&m, full, sizeof full - 1), 0);
    CU_ASSERT_STRING_EQUAL(m.json, full);
    CU_ASSERT_STRING_EQUAL(m.claim, "{}");
    close_maker(&m);
}

static void what_is_no_event(void)
{
    static struct maker m;
    OPEN(&m, false, "actor.id", "**.list");
    CU_ASSERT_EQUAL(view_of(&m, "[1]", 3), -EBADMSG);
    CU_ASSERT_EQUAL(view_of(&m, "{\"a\":1}", 7), -EBADMSG);
    CU_ASSERT_EQUAL(view_of(&m, "{\"eventId\":", 11), -EBADMSG);
    size_t count = 300000; /* each element becomes a pseudonym: 14 MB */
    AW_AUTOFREE char *big = malloc(2 * count + 2 * PUT_ROOM);
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    char *p = big + put(big, "{\"eventId\":\"e\",\"metadata\":{\"list\":[");
    for (size_t i = 0; i < count; i++)
        p += put(p, "%s1", i ? "," : "");
    p += put(p, "]},\"outcome\":\"SUCCESS\"}");
    CU_ASSERT_EQUAL(view_of(&m, big, (size_t)(p - big)), -EFBIG);
    CU_ASSERT_EQUAL(view_of(&m, full, sizeof full - 1), 0); /* and it goes on */
    close_maker(&m);
}

/* ---- looking at views ---- */

static bool claims(const char *claim, const char *part)
{
    char text[1000];
    struct stored_event ev;
    memset(&ev, 0, sizeof ev);
    int n = snprintf(text, sizeof text,
                     "{\"eventId\":\"e\",\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"00\",\"seq\":1,\"view\":%s}}",
                     claim);
    diag_reset();
    CU_ASSERT_EQUAL(event_parse_stored(text, (size_t)n, &ev), AW_SUCCESS);
    CU_ASSERT(ev.is_view && !ev.has_unknown_integrity);
    if (part ? ev.view_fault && strstr(ev.view_fault, part) : !ev.view_fault)
        return true;
    harness_note("%s: %s", claim, ev.view_fault ? ev.view_fault : "fine");
    return false;
}

static void what_a_view_may_say(void)
{
    CU_ASSERT(claims("{}", NULL));
    CU_ASSERT(claims("{\"dropped\":[\"actor.ip\",\"metadata.a\"]}", NULL));
    CU_ASSERT(claims("{\"keyId\":\"0123abcd\",\"pseudonymized\":[\"actor.id\"]}", NULL));
    CU_ASSERT(claims("{\"dropped\":[\"actor.ip\"],\"keyId\":\"0123abcd\",\"pseudonymized\":[\"actor.id\"]}", NULL));
    CU_ASSERT(claims("[]", "no object"));
    CU_ASSERT(claims("true", "no object"));
    CU_ASSERT(claims("{\"x\":1}", "unknown"));
    CU_ASSERT(claims("{\"dropped\":[]}", "empty"));
    CU_ASSERT(claims("{\"dropped\":{\"a\":\"actor.ip\"}}", "a list"));
    CU_ASSERT(claims("{\"dropped\":[1]}", "no path"));
    CU_ASSERT(claims("{\"dropped\":[\"metadata.a\",\"actor.ip\"]}", "order"));
    CU_ASSERT(claims("{\"dropped\":[\"actor.ip\",\"actor.ip\"]}", "order"));
    CU_ASSERT(claims("{\"dropped\":[\"outcome\"]}", "the same in every view"));
    CU_ASSERT(claims("{\"dropped\":[\"actor\"]}", "the same in every view"));
    CU_ASSERT(claims("{\"dropped\":[\"integrity.hash\"]}", "the same in every view"));
    CU_ASSERT(claims("{\"dropped\":[\"\"]}", "the same in every view"));
    CU_ASSERT(claims("{\"pseudonymized\":[\"actor.id\"]}", "keyId"));
    CU_ASSERT(claims("{\"keyId\":\"0123abcd\"}", "keyId"));
    CU_ASSERT(claims("{\"keyId\":\"0123ABCD\",\"pseudonymized\":[\"actor.id\"]}", "not what it must be"));
}

#define VIEW(members, claim)                                                                                           \
    "{\"actor\":{" members "\"type\":\"user\"},\"integrity\":{\"hash\":\"00\",\"view\":" claim "}}"

static void views_that_are_not_what_they_say(void)
{
    static struct maker m;
    OPEN(&m, false, "actor.id");
    char text[500], other[500], anna[PSEUDONYM_LEN + 1], bert[PSEUDONYM_LEN + 1];
    static const char whole[] = VIEW("\"id\":\"anna\",\"ip\":\"1\",", "{}");
    pseudonym("anna", 4, anna);
    pseudonym("bert", 4, bert);
    CU_ASSERT_EQUAL(differences(&m, VIEW("\"id\":\"anna\",", "{\"dropped\":[\"actor.ip\"]}"), whole, true, NULL), 0);
    CU_ASSERT_EQUAL(differences(&m, VIEW("\"id\":\"bert\",", "{\"dropped\":[\"actor.ip\"]}"), whole, true, NULL), 1);
    CU_ASSERT_EQUAL(differences(&m, VIEW("", "{\"dropped\":[\"actor.ip\"]}"), whole, true, NULL), 1);
    CU_ASSERT_EQUAL(
        differences(&m, VIEW("\"id\":\"anna\",\"x\":1,", "{\"dropped\":[\"actor.ip\"]}"), whole, true, NULL), 1);
    CU_ASSERT_EQUAL(
        differences(&m, VIEW("\"id\":\"anna\",\"ip\":\"1\",", "{\"dropped\":[\"actor.ip\"]}"), whole, true, NULL), 1);
    CU_ASSERT_EQUAL(
        differences(&m, VIEW("\"id\":\"anna\",\"ip\":\"1\",", "{\"dropped\":[\"actor.ip\"]}"), NULL, true, NULL), 1);
    CU_ASSERT_EQUAL(
        differences(&m, VIEW("\"id\":\"anna\",\"ip\":\"1\",", "{\"dropped\":[\"metadata.x\"]}"), whole, true, NULL), 1);
    snprintf(text, sizeof text,
             VIEW("\"id\":\"%s\",\"ip\":\"1\",", "{\"keyId\":\"%s\",\"pseudonymized\":[\"actor.id\"]}"), anna,
             m.key.id);
    snprintf(other, sizeof other,
             VIEW("\"id\":\"%s\",\"ip\":\"1\",", "{\"keyId\":\"%s\",\"pseudonymized\":[\"actor.id\"]}"), bert,
             m.key.id);
    uint64_t by_form;
    CU_ASSERT_EQUAL(differences(&m, text, whole, true, &by_form), 0);
    CU_ASSERT_EQUAL(by_form, 0);
    CU_ASSERT_EQUAL(differences(&m, other, whole, true, NULL), 1);
    CU_ASSERT_EQUAL(differences(&m, other, whole, false, &by_form), 0); /* without the key only the form is known */
    CU_ASSERT_EQUAL(by_form, 1);
    CU_ASSERT_EQUAL(
        differences(&m,
                    VIEW("\"id\":\"bert\",\"ip\":\"1\",", "{\"keyId\":\"00000000\",\"pseudonymized\":[\"actor.id\"]}"),
                    whole, false, NULL),
        1);
    CU_ASSERT_EQUAL(differences(&m, VIEW("\"id\":7,", "{\"keyId\":\"00000000\",\"pseudonymized\":[\"actor.id\"]}"),
                                NULL, true, NULL),
                    1);
    CU_ASSERT_EQUAL(
        differences(&m, VIEW("", "{\"keyId\":\"00000000\",\"pseudonymized\":[\"actor.id\"]}"), NULL, true, NULL), 1);
    CU_ASSERT_EQUAL(differences(&m, VIEW("\"id\":\"anna\",\"ip\":\"1\",", "{\"dropped\":[]}"), whole, true, NULL), 1);
    close_maker(&m);
}

/* ---- memory ---- */

static void nothing_is_allocated_when_warm(void)
{
    static struct maker m;
    if (harness_slow()) {
        harness_note("allocations are another's own here; done in the other builds");
        return;
    }
    OPEN(&m, false, "actor.id", "**.email", "metadata.user");
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(event_view_make(m.viewer, full, sizeof full - 1, &m.view), 0);
    size_t before = allocations;
    for (int i = 0; i < 1000; i++)
        (void)event_view_make(m.viewer, full, sizeof full - 1, &m.view);
    size_t after = allocations;
    CU_ASSERT_EQUAL(after, before);
    close_maker(&m);
}

static void without_memory_there_is_no_view(void)
{
    static struct maker m;
    size_t refusals = 0;
    if (harness_slow()) {
        harness_note("allocations are another's own here; done in the other builds");
        return;
    }
    for (long n = 0; n < 200; n++) {
        OPEN(&m, false, "actor.id", "**.email", "metadata.user");
        fail_after = n;
        int rc = event_view_make(m.viewer, full, sizeof full - 1, &m.view);
        fail_after = -1;
        CU_ASSERT(rc == 0 || rc == -ENOMEM);
        refusals += rc != 0;
        CU_ASSERT_EQUAL(event_view_make(m.viewer, full, sizeof full - 1, &m.view), 0); /* and then there is */
        close_maker(&m);
        if (rc == 0)
            break;
    }
    CU_ASSERT(refusals > 3);
}

HARNESS_MAIN("view", {"pseudonyms are HMACs", pseudonyms_are_hmacs},
             {"tags that cannot work are refused with their place", tags_that_cannot_work_are_refused},
             {"tags on what events need", tags_on_what_events_need}, {"dropping", dropping},
             {"pseudonymizing", pseudonymizing}, {"an event without tagged fields", nothing_tagged_in_it},
             {"what is no event, and what is too large", what_is_no_event},
             {"what a view may say of itself", what_a_view_may_say},
             {"views that are not what they say", views_that_are_not_what_they_say},
             {"nothing is allocated when warm", nothing_is_allocated_when_warm},
             {"without memory there is no view", without_memory_there_is_no_view})
