/* test_view_random.c - views of random events: what is tagged changes, nothing else does; and every edit is seen.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The leaves of each event are known from how it was made, so that they can be compared one by one, by another way than
 * the view was made or is checked.
 */
#include "config.h"

#include "view_help.h"

#define LEAVES 40
struct leaf {
    char path[200];
    bool tagged;
};
struct random_event {
    char json[32768];
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
        n += put(out + n, "%s", parts[harness_random(r) % AW_ARRAY_LEN(parts)]);
    out[n] = '\0';
    return n;
}

static size_t random_value(uint64_t *r, char *out)
{
    switch (harness_random(r) % 6) {
    case 0:
        return put(out, "%d", (int)(harness_random(r) % 2000) - 1000);
    case 1:
        return put(out, "%s", harness_random(r) % 2 ? "true" : "null");
    case 2:
        return put(out, "%.6g", (double)(harness_random(r) % 100000) / 7.0);
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
    size_t n = put(out, "{"), count = (size_t)(harness_random(r) % 5);
    for (size_t i = 0; i < count && e->leaf_count < LEAVES; i++) {
        char name[20], below[200];
        bool tagged = harness_random(r) % 3 == 0;
        snprintf(name, sizeof name, tagged ? "e_mail%zu" : "m%zu", i);
        snprintf(below, sizeof below, "%s.%s", path, name);
        n += put(out + n, "%s\"%s\":", i ? "," : "", name);
        if (depth < 4 && !tagged && harness_random(r) % 3 == 0) {
            bool array = harness_random(r) % 3 == 0;
            char inside[200];
            snprintf(inside, sizeof inside, array ? "%.190s[0]" : "%.190s", below);
            n += put(out + n, array ? "[" : "%s", "");
            n += random_object(r, e, out + n, inside, depth + 1);
            n += put(out + n, array ? ",7]" : "%s", "");
        } else {
            struct leaf *l = &e->leaves[e->leaf_count++];
            snprintf(l->path, sizeof l->path, "%s", below);
            l->tagged = tagged;
            n += random_value(r, out + n);
        }
    }
    return n + put(out + n, "}");
}

static void random_event(uint64_t *r, struct random_event *e)
{
    char id[PUT_ROOM + 200];
    e->leaf_count = 0;
    (void)random_text(r, id);
    e->len =
        put(e->json,
            "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"x%s\"%s},"
            "\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"tenantId\":\"t%d\"},\"metadata\":",
            id, harness_random(r) % 2 ? ",\"ip\":\"10.1.2.3\",\"roles\":[\"r\"]" : "", (int)(harness_random(r) % 3));
    e->len += random_object(r, e, e->json + e->len, "metadata", 0);
    e->len += put(e->json + e->len, ",\"diff\":");
    e->len += random_object(r, e, e->json + e->len, "diff", 2);
    e->len += put(e->json + e->len, ",\"target\":{\"type\":\"t\",\"id\":\"i\"}}");
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

HARNESS_MAIN("view_random", {"what is tagged changes, nothing else does, and edits are seen", random_events})
