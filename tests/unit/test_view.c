/* test_view.c - tags, pseudonyms, views of events, and the look at views. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/json_doc.h"
#include "event/view.h"
#include "event_help.h"

#include <openssl/hmac.h>
#include <stdatomic.h>

#define SECRET "0123456789abcdef0123456789abcdef"

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

/* ---- helpers ---- */

struct maker {
    struct event_pii *pii;
    struct pseudonym_key key;
    struct event_viewer *viewer;
    char json[1 << 20], claim[1 << 16], stored[1 << 20];
    struct event_view view;
};

static void open_maker(struct maker *m, bool drop, const char *const *tags, size_t count)
{
    struct event_rule rules[16];
    for (size_t i = 0; i < count; i++)
        rules[i] = (struct event_rule){tags[i], "audit.conf:7"};
    diag_reset();
    CU_ASSERT_EQUAL_FATAL(event_pii_create(rules, count, "***", &m->pii), 0);
    CU_ASSERT_EQUAL_FATAL(pseudonym_key_init(&m->key, SECRET, 32), 0);
    CU_ASSERT_EQUAL_FATAL(event_viewer_create(m->pii, drop ? NULL : &m->key, &m->viewer), 0);
}
#define OPEN(m, drop, ...)                                                                                             \
    do {                                                                                                               \
        static const char *const tags_[] = {__VA_ARGS__};                                                              \
        open_maker(m, drop, tags_, AW_ARRAY_LEN(tags_));                                                               \
    } while (0)

static void close_maker(struct maker *m)
{
    event_viewer_destroy(m->viewer);
    event_pii_destroy(m->pii);
}

/* The view as text, and as it would be stored. */
static int view_of(struct maker *m, const char *json, size_t len)
{
    int rc = event_view_make(m->viewer, json, len, &m->view);
    if (rc != 0)
        return rc;
    snprintf(m->json, sizeof m->json, "%.*s", (int)m->view.json.len, m->view.json.ptr);
    snprintf(m->claim, sizeof m->claim, "%.*s", (int)m->view.claim.len, m->view.claim.ptr);
    snprintf(m->stored, sizeof m->stored,
             "%.*s\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"00\",\"seq\":1,\"view\":%s},%s",
             (int)m->view.integrity_at, m->json, m->claim, m->json + m->view.integrity_at);
    return 0;
}

static void pseudonym(const void *value, size_t len, char out[PSEUDONYM_LEN + 1])
{
    uint8_t mac[32];
    unsigned n = sizeof mac;
    struct pseudonym_key key;
    CU_ASSERT_EQUAL_FATAL(pseudonym_key_init(&key, SECRET, 32), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(HMAC(EVP_sha256(), SECRET, 32, value, len, mac, &n));
    snprintf(out, PSEUDONYM_LEN + 1, "pn:%s:", key.id);
    hash_hex(mac, 16, out + 12);
    out[PSEUDONYM_LEN] = '\0';
}

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
    AW_AUTOFREE char *big = malloc(2 * count + 100);
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    char *p = big + sprintf(big, "{\"eventId\":\"e\",\"metadata\":{\"list\":[");
    for (size_t i = 0; i < count; i++)
        p += sprintf(p, "%s1", i ? "," : "");
    p += sprintf(p, "]},\"outcome\":\"SUCCESS\"}");
    CU_ASSERT_EQUAL(view_of(&m, big, (size_t)(p - big)), -EFBIG);
    CU_ASSERT_EQUAL(view_of(&m, full, sizeof full - 1), 0); /* and it goes on */
    close_maker(&m);
}

/* ---- random events ---- */

#define LEAVES 40
struct leaf {
    char path[200];
    bool tagged;
};
struct random_event {
    char json[16384];
    size_t len, leaf_count;
    struct leaf leaves[LEAVES];
};

/* Text with escapes, letters of several bytes, and masks. */
static size_t random_text(uint64_t *r, char *out)
{
    static const char *const parts[] = {"a", "Z", "\\\"", "\\\\",   "\\n", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                        " ", "0", "@",    "\\u0001"};
    size_t n = 0, count = (size_t)(harness_random(r) % 12);
    for (size_t i = 0; i < count; i++)
        n += (size_t)sprintf(out + n, "%s", parts[harness_random(r) % AW_ARRAY_LEN(parts)]);
    out[n] = '\0';
    return n;
}

static size_t random_value(uint64_t *r, char *out)
{
    switch (harness_random(r) % 6) {
    case 0:
        return (size_t)sprintf(out, "%d", (int)(harness_random(r) % 2000) - 1000);
    case 1:
        return (size_t)sprintf(out, "%s", harness_random(r) % 2 ? "true" : "null");
    case 2:
        return (size_t)sprintf(out, "%.6g", (double)(harness_random(r) % 100000) / 7.0);
    default: {
        size_t n = 1 + random_text(r, out + 1);
        out[0] = out[n++] = '"';
        out[n] = '\0';
        return n;
    }
    }
}

/* Members m0…, tagged ones are called email; nested objects and arrays of objects. */
static size_t random_object(uint64_t *r, struct random_event *e, char *out, const char *path, int depth)
{
    size_t n = (size_t)sprintf(out, "{"), count = (size_t)(harness_random(r) % 5);
    for (size_t i = 0; i < count && e->leaf_count < LEAVES; i++) {
        char name[20], below[200];
        bool tagged = harness_random(r) % 3 == 0;
        snprintf(name, sizeof name, tagged ? "e_mail%zu" : "m%zu", i);
        snprintf(below, sizeof below, "%s.%s", path, name);
        n += (size_t)sprintf(out + n, "%s\"%s\":", i ? "," : "", name);
        if (depth < 4 && !tagged && harness_random(r) % 3 == 0) {
            bool array = harness_random(r) % 3 == 0;
            char inside[200];
            snprintf(inside, sizeof inside, array ? "%.190s[0]" : "%.190s", below);
            n += (size_t)sprintf(out + n, array ? "[" : "%s", "");
            n += random_object(r, e, out + n, inside, depth + 1);
            n += (size_t)sprintf(out + n, array ? ",7]" : "%s", "");
        } else {
            struct leaf *l = &e->leaves[e->leaf_count++];
            snprintf(l->path, sizeof l->path, "%s", below);
            l->tagged = tagged;
            n += random_value(r, out + n);
        }
    }
    return n + (size_t)sprintf(out + n, "}");
}

static void random_event(uint64_t *r, struct random_event *e)
{
    char id[200];
    e->leaf_count = 0;
    (void)random_text(r, id);
    e->len = (size_t)sprintf(
        e->json,
        "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"x%s\"%s},"
        "\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"tenantId\":\"t%d\"},\"metadata\":",
        id, harness_random(r) % 2 ? ",\"ip\":\"10.1.2.3\",\"roles\":[\"r\"]" : "", (int)(harness_random(r) % 3));
    e->len += random_object(r, e, e->json + e->len, "metadata", 0);
    e->len += (size_t)sprintf(e->json + e->len, ",\"diff\":");
    e->len += random_object(r, e, e->json + e->len, "diff", 2);
    e->len += (size_t)sprintf(e->json + e->len, ",\"target\":{\"type\":\"t\",\"id\":\"i\"}}");
}

/* Every entry of the field table is what the JSON of the view has under its name. */
static bool fields_right(const struct maker *m)
{
    static const struct {
        uint32_t id;
        const char *path;
    } names[] = {{AW_FIELD_EVENT_ID, "eventId"},
                 {AW_FIELD_ACTION, "action"},
                 {AW_FIELD_OUTCOME, "outcome"},
                 {AW_FIELD_OCCURRED_AT, "context.occurredAt"},
                 {AW_FIELD_ACTOR_ID, "actor.id"},
                 {AW_FIELD_ACTOR_TYPE, "actor.type"},
                 {AW_FIELD_ACTOR_IP, "actor.ip"},
                 {AW_FIELD_ACTOR_ROLES, "actor.roles"},
                 {AW_FIELD_TARGET_ID, "target.id"},
                 {AW_FIELD_TARGET_TYPE, "target.type"},
                 {AW_FIELD_TENANT_ID, "context.tenantId"},
                 {AW_FIELD_ACTOR, "actor"},
                 {AW_FIELD_TARGET, "target"},
                 {AW_FIELD_CONTEXT, "context"},
                 {AW_FIELD_METADATA, "metadata"},
                 {AW_FIELD_DIFF, "diff"}};
    static char expected[1 << 16], found[1 << 16];
    size_t right = 0, there = 0;
    for (size_t i = 0; i < AW_ARRAY_LEN(names); i++) {
        there += aw_json_field(m->json, m->view.json.len, names[i].path, expected, sizeof expected) >= 0;
        for (uint32_t k = 0; k < m->view.field_count; k++) {
            struct field_ref f = m->view.fields[k];
            if (field_id(f) != names[i].id)
                continue;
            const char *at = m->json + field_offset(f);
            size_t n = f.len_flags & FIELD_ESCAPED ? event_unescape(at, field_len(f), found)
                                                   : (memcpy(found, at, field_len(f)), field_len(f));
            found[n] = '\0';
            bool escaped = memchr(at, '\\', field_len(f)) != NULL;
            if (*at != '{' && *at != '[' && escaped != ((f.len_flags & FIELD_ESCAPED) != 0))
                return false;
            right += strcmp(found, expected) == 0;
        }
    }
    return right == there && there == m->view.field_count;
}

static void count_difference(void *arg, const struct view_difference *d)
{
    ++*(size_t *)arg;
    (void)d;
}

static size_t differences(struct maker *m, const char *view, const char *whole, bool with_key, uint64_t *ret_by_form)
{
    size_t n = 0;
    struct hash_sha256 *sha;
    CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&sha), 0);
    struct view_check check = {
        .keys = &m->key, .key_count = with_key, .sha = sha, .on_difference = count_difference, .arg = &n};
    struct aw_str f = base_str(whole ? whole : "");
    diag_reset();
    CU_ASSERT_EQUAL(event_view_check(&check, base_str(view), whole ? &f : NULL), AW_SUCCESS);
    hash_sha256_destroy(sha);
    if (ret_by_form)
        *ret_by_form = check.by_form;
    return n;
}

static bool leaves_right(struct maker *m, const struct random_event *e, const struct prepared *p, bool drop)
{
    static char before[8192], after[8192];
    char expected[PSEUDONYM_LEN + 1];
    for (size_t i = 0; i < e->leaf_count; i++) {
        const struct leaf *l = &e->leaves[i];
        int64_t a = aw_json_field(p->json, p->json_len, l->path, before, sizeof before);
        int64_t b = aw_json_field(m->json, m->view.json.len, l->path, after, sizeof after);
        bool good = a >= 0;
        if (l->tagged && drop)
            good &= b == AW_ERR_NOTFOUND;
        else if (l->tagged)
            good &= (pseudonym(before, (size_t)a, expected), strcmp(expected, after) == 0);
        else
            good &= a == b && strcmp(before, after) == 0;
        if (!good) {
            harness_note("%s: \"%s\" became \"%s\"", l->path, before, after);
            return false;
        }
    }
    return true;
}

static bool canonical(const char *json)
{
    struct json_doc *doc;
    struct json_error error;
    struct aw_str out = {"", 0};
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    bool good = json_parse(doc, json, strlen(json), 100, &error) == 0 && json_canonical(doc, &out) == 0 &&
                out.len == strlen(json) && memcmp(out.ptr, json, out.len) == 0;
    json_doc_destroy(doc);
    return good;
}

static void stored_full(const struct prepared *p, char *out, size_t size)
{
    snprintf(out, size, "%.*s\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"00\",\"seq\":1},%.*s", (int)p->integrity_at,
             p->json, (int)(p->json_len - p->integrity_at), p->json + p->integrity_at);
}

/* Changes one byte of a letter or digit outside of what is named; every such edit must be seen. */
static bool an_edit_is_seen(struct maker *m, const char *whole, uint64_t *r)
{
    static char edited[1 << 20];
    size_t len = strlen(m->stored);
    memcpy(edited, m->stored, len + 1);
    for (int tries = 0; tries < 1000; tries++) {
        size_t at = (size_t)(harness_random(r) % len);
        char c = edited[at];
        if (c < '1' || c > '8') /* digits: of values, names, pseudonyms, hashes and seqs; the text stays JSON */
            continue;
        edited[at] = c == '1' ? '2' : '1';
        struct stored_event ev;
        memset(&ev, 0, sizeof ev);
        diag_reset();
        if (event_parse_stored(edited, len, &ev) == AW_SUCCESS && differences(m, edited, whole, true, NULL) == 0) {
            harness_note("not seen: %s", edited);
            return false;
        }
        edited[at] = c;
        return true;
    }
    return true;
}

static void random_events(void)
{
    static struct maker m[2];
    static struct random_event e;
    static char whole[1 << 18];
    uint64_t r = harness_seed();
    struct event_policy *policy = help_policy(NULL);
    OPEN(&m[0], true, "actor.ip", "**.email0", "**.email1", "**.email2", "**.email3", "**.email4");
    OPEN(&m[1], false, "actor.ip", "actor.id", "**.email0", "**.email1", "**.email2", "**.email3", "**.email4");
    for (int i = 0; i < (harness_slow() ? 300 : 3000); i++) {
        struct prepared *p;
        random_event(&r, &e);
        if (!help_prepare(policy, e.json, &p)) {
            help_show_problems();
            CU_FAIL_FATAL("a random event is refused");
        }
        stored_full(p, whole, sizeof whole);
        for (int k = 0; k < 2; k++) {
            uint64_t by_form = 0;
            CU_ASSERT_EQUAL_FATAL(view_of(&m[k], p->json, p->json_len), 0);
            bool good = leaves_right(&m[k], &e, p, k == 0) && canonical(m[k].json) && canonical(m[k].stored) &&
                        fields_right(&m[k]) && differences(&m[k], m[k].stored, whole, true, &by_form) == 0 &&
                        by_form == 0 && differences(&m[k], m[k].stored, whole, false, NULL) == 0 &&
                        differences(&m[k], m[k].stored, NULL, false, NULL) == 0 && an_edit_is_seen(&m[k], whole, &r);
            CU_ASSERT(good);
            if (!good) {
                harness_note("event %d: %s", i, e.json);
                harness_note("view: %s", m[k].stored);
                i = 1 << 20;
                break;
            }
        }
    }
    close_maker(&m[0]);
    close_maker(&m[1]);
    event_policy_destroy(policy);
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
        harness_skip("allocations are a sanitizer's own here");
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
        harness_skip("allocations are a sanitizer's own here");
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
             {"random events: what is tagged changes, nothing else does", random_events},
             {"what a view may say of itself", what_a_view_may_say},
             {"views that are not what they say", views_that_are_not_what_they_say},
             {"nothing is allocated when warm", nothing_is_allocated_when_warm},
             {"without memory there is no view", without_memory_there_is_no_view})
