/* verify_trail.c - see verify_trail.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "verify_trail.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "harness.h"
#include "seal/verify.h"

static void *must(void *p)
{
    if (!p) {
        printf("Bail out! out of memory\n");
        exit(1);
    }
    return p;
}

static void sha256_hex(const char *text, size_t len, char out[65])
{
    unsigned char d[32];
    SHA256((const unsigned char *)text, len, d);
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", d[i]);
}

const char *trail_scope(unsigned scope)
{
    static char names[TRAIL_SCOPES][16];
    snprintf(names[scope], sizeof names[scope], scope % 2 ? "service:s%u" : "tenant:t%u", scope);
    return names[scope];
}

void trail_init(struct trail *t, enum trail_style style)
{
    memset(t, 0, sizeof *t);
    t->style = style;
    t->next_seq = 1;
}

void trail_free(struct trail *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->lines[i].text);
    free(t->lines);
    memset(t, 0, sizeof *t);
}

static struct trail_line *insert_at(struct trail *t, size_t at, const char *text, size_t len)
{
    if (t->count == t->size) {
        t->size = t->size ? t->size * 2 : 16;
        t->lines = must(realloc(t->lines, t->size * sizeof *t->lines));
    }
    memmove(&t->lines[at + 1], &t->lines[at], (t->count - at) * sizeof *t->lines);
    struct trail_line *l = &t->lines[at];
    memset(l, 0, sizeof *l);
    l->text = must(malloc(len + 1));
    memcpy(l->text, text, len);
    l->text[len] = '\0';
    l->len = len;
    t->count++;
    return l;
}

static void context_of(unsigned scope, unsigned number, const char *colon, const char *comma, char *out, size_t size)
{
    char tenant[64] = "";
    if (scope % 2 == 0)
        snprintf(tenant, sizeof tenant, "%s\"tenantId\"%s\"t%u\"", comma, colon, scope);
    snprintf(out, size, "{\"occurredAt\"%s\"2026-01-02T03:%02u:%02u.000Z\"%s\"sourceService\"%s\"s%u\"%s}", colon,
             number / 60 % 60, number % 60, comma, colon, scope, tenant);
}

/* The canonical event without integrity, in two parts: the member belongs between them. */
static void canonical(unsigned scope, unsigned number, char *head, char *tail, size_t size)
{
    char context[200];
    context_of(scope, number, ":", ",", context, sizeof context);
    snprintf(head, size,
             "{\"action\":\"doc.read\",\"actor\":{\"id\":\"u%u\",\"type\":\"user\"},\"context\":%s,\"eventId\":\"ev-%u-"
             "%u\",",
             number % 7, context, scope, number);
    snprintf(tail, size,
             "\"metadata\":{\"n\":%u,\"ratio\":0.5,\"text\":\"caf\303\251 \\\"q\\\" "
             "\\n\"},\"outcome\":\"SUCCESS\",\"schemaVersion\":1}",
             number);
}

/* The same event as other writers put it. */
static void written(const struct trail *t, unsigned scope, unsigned number, const char *integrity, char *out,
                    size_t size)
{
    bool spaced = t->style == TRAIL_SPACED;
    const char *colon = spaced ? ": " : ":", *comma = spaced ? " ,\t" : ",";
    char context[200];
    context_of(scope, number, colon, comma, context, sizeof context);
    snprintf(out, size,
             "{\"schemaVersion\"%s1%s\"eventId\"%s\"ev-%u-%u\"%s\"action\"%s\"doc.read\"%s\"outcome\"%s\"SUCCESS\"%"
             "s\"actor\"%s{\"type\"%s\"user\"%s"
             "\"id\"%s\"u%u\"}%s\"context\"%s%s%s\"metadata\"%s{\"text\"%s\"%s\"%s\"n\"%s%u%s\"ratio\"%s%s}%"
             "s\"integrity\"%s%s}",
             colon, comma, colon, scope, number, comma, colon, comma, colon, comma, colon, colon, comma, colon,
             number % 7, comma, colon, context, comma, colon, colon,
             spaced ? "caf\\u00e9 \\\"q\\\" \\u000a" : "caf\303\251 \\\"q\\\" \\n", comma, colon, number, comma, colon,
             spaced ? "5e-1" : "0.5", comma, colon, integrity);
}

/* A canonical event of which the two parts are given. */
static void add_sealed(struct trail *t, unsigned scope, const char *head, const char *tail, const char *prev,
                       uint64_t seq)
{
    size_t size = strlen(head) + strlen(tail) + 500;
    char *payload = must(malloc(size)), *line = must(malloc(size)), hash[65], member[100] = "";
    int n = snprintf(payload, size, "{\"event\":%s%s", head, tail);
    n += snprintf(payload + n, size - (size_t)n, *prev ? ",\"prevHash\":\"%s\"}" : "}", prev);
    sha256_hex(payload, (size_t)n, hash);
    if (*prev)
        snprintf(member, sizeof member, ",\"prevHash\":\"%s\"", prev);
    n = snprintf(line, size, "%s\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"%s\"%s,\"seq\":%llu},%s", head, hash,
                 member, (unsigned long long)seq, tail);
    struct trail_line *l = insert_at(t, t->count, line, (size_t)n);
    l->scope = scope;
    memcpy(l->hash, hash, sizeof hash);
    free(payload);
    free(line);
}

uint64_t trail_seq(const struct trail_line *line)
{
    const char *seq = strstr(line->text, "\"integrity\":{");
    seq = seq ? strstr(seq, "\"seq\":") : NULL;
    return seq ? strtoull(seq + 6, NULL, 10) : 0;
}

void trail_record(struct trail *t, unsigned scope, const char *sink, const struct trail_line *const *lines,
                  size_t count)
{
    char head[600], context[200];
    size_t size = 300 + count * 120, n;
    char *tail = must(malloc(size));
    context_of(scope, (unsigned)t->next_seq, ":", ",", context, sizeof context);
    snprintf(head, sizeof head,
             "{\"action\":\"auditwell.replay\",\"actor\":{\"id\":\"auditwell\",\"type\":\"system\"},\"context\":%s,"
             "\"eventId\":\"record-%llu\",",
             context, (unsigned long long)t->next_seq);
    n = (size_t)snprintf(tail, size, "\"metadata\":{\"replay\":{\"count\":%zu,\"events\":[", count);
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(tail + n, size - n, "%s{\"hash\":\"%s\",\"seq\":%llu}", i ? "," : "", lines[i]->hash,
                              (unsigned long long)trail_seq(lines[i]));
    snprintf(tail + n, size - n, "],\"sink\":\"%s\"}},\"outcome\":\"SUCCESS\",\"schemaVersion\":1}", sink);
    add_sealed(t, scope, head, tail, t->head[scope], t->next_seq++);
    memcpy(t->head[scope], t->lines[t->count - 1].hash, 65);
    free(tail);
}

static void unhex(const char *hex, unsigned char out[32])
{
    for (int i = 0; i < 32; i++) {
        unsigned byte;
        sscanf(hex + 2 * i, "%2x", &byte);
        out[i] = (unsigned char)byte;
    }
}

/* The chains that go on in the middle at keep_seq: how many, and their hash. Lines stand by rising seq but for replayed
 * ones, which these trails do not have. */
static unsigned begins(const struct trail *t, uint64_t keep_seq, char hash[65])
{
    bool begun[TRAIL_SCOPES] = {false};
    unsigned char all[40 * TRAIL_SCOPES];
    unsigned n = 0;
    for (size_t i = 0; i < t->count; i++) {
        uint64_t seq = trail_seq(&t->lines[i]);
        const char *prev = strstr(t->lines[i].text, "\"prevHash\":\"");
        if (seq < keep_seq || begun[t->lines[i].scope])
            continue;
        begun[t->lines[i].scope] = true;
        if (!prev)
            continue;
        for (int b = 0; b < 8; b++)
            all[40 * n + (unsigned)b] = (unsigned char)(seq >> 8 * b);
        unhex(prev + 12, all + 40 * n++ + 8);
    }
    sha256_hex((const char *)all, 40 * (size_t)n, hash);
    return n;
}

void trail_retention(struct trail *t, unsigned scope, const char *sink, uint64_t keep_seq, int lie)
{
    char head[600], tail[1200], context[200], chains[65], keep[65] = "";
    unsigned count = begins(t, keep_seq, chains);
    for (size_t i = 0; i < t->count; i++)
        if (trail_seq(&t->lines[i]) == keep_seq + (lie == TRAIL_LIE_HASH))
            memcpy(keep, t->lines[i].hash, 65);
    context_of(scope, (unsigned)t->next_seq, ":", ",", context, sizeof context);
    snprintf(head, sizeof head,
             "{\"action\":\"auditwell.%s\",\"actor\":{\"id\":\"auditwell\",\"type\":\"system\"},\"context\":%s,"
             "\"eventId\":\"record-%llu\",",
             lie == TRAIL_BEGIN ? "begin" : "retention", context, (unsigned long long)t->next_seq);
    int n = snprintf(
        tail, sizeof tail,
        "\"metadata\":{\"retention\":{\"before\":\"2026-01-02T04:00:00.000Z\",\"sink\":\"%s\",\"streams\":[{", sink);
    if (lie != TRAIL_NO_CHAINS && lie != TRAIL_BEGIN)
        n += snprintf(tail + n, sizeof tail - (size_t)n, "\"chains\":%u,\"chainsHash\":\"%s\",",
                      count + (lie == TRAIL_LIE_CHAINS), chains);
    if (lie != TRAIL_BEGIN)
        n += snprintf(tail + n, sizeof tail - (size_t)n, "\"keepHash\":\"%s\",", keep);
    snprintf(tail + n, sizeof tail - (size_t)n,
             "\"keepSeq\":%llu,\"newestSeq\":%llu,\"stream\":%u,\"total\":%llu}]}},\"outcome\":\"SUCCESS\","
             "\"schemaVersion\":1}",
             (unsigned long long)keep_seq - (lie == TRAIL_LIE_SEQ),
             lie == TRAIL_BEGIN ? 0 : (unsigned long long)t->next_seq - 1, lie == TRAIL_LIE_STREAM ? 3u : 0u,
             (unsigned long long)keep_seq - 1);
    add_sealed(t, scope, head, tail, t->head[scope], t->next_seq++);
    memcpy(t->head[scope], t->lines[t->count - 1].hash, 65);
}

void trail_forge(struct trail *t, unsigned scope, unsigned number, const char *prev, uint64_t seq)
{
    char head[1024], tail[1024], payload[2400], integrity[400], line[4096], prev_member[100] = "", seq_member[40] = "",
                                                                            hash[65];
    const char *sep = t->style == TRAIL_SPACED ? ", " : ",";
    canonical(scope, number, head, tail, sizeof head);
    int n = snprintf(payload, sizeof payload, "{\"event\":%s%s", head, tail);
    n += snprintf(payload + n, sizeof payload - (size_t)n, *prev ? ",\"prevHash\":\"%s\"}" : "}", prev);
    sha256_hex(payload, (size_t)n, hash);
    if (*prev)
        snprintf(prev_member, sizeof prev_member, "%s\"prevHash\":\"%s\"", sep, prev);
    if (seq)
        snprintf(seq_member, sizeof seq_member, "%s\"seq\":%llu", sep, (unsigned long long)seq);
    snprintf(integrity, sizeof integrity, "{\"alg\":\"SHA-256\"%s\"hash\":\"%s\"%s%s}", sep, hash, prev_member,
             seq_member);
    if (t->style == TRAIL_CANONICAL)
        snprintf(line, sizeof line, "%s\"integrity\":%s,%s", head, integrity, tail);
    else
        written(t, scope, number, integrity, line, sizeof line);
    struct trail_line *l = insert_at(t, t->count, line, strlen(line));
    l->scope = scope;
    memcpy(l->hash, hash, sizeof hash);
}

void trail_add(struct trail *t, unsigned scope, unsigned number)
{
    uint64_t seq = t->style == TRAIL_CANONICAL ? t->next_seq++ : 0;
    trail_forge(t, scope, number, t->head[scope], seq);
    memcpy(t->head[scope], t->lines[t->count - 1].hash, 65);
}

void trail_copy(struct trail *to, const struct trail *from)
{
    *to = *from;
    to->lines = NULL;
    to->count = to->size = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct trail_line *l = insert_at(to, i, from->lines[i].text, from->lines[i].len);
        l->store_seq = from->lines[i].store_seq;
        l->scope = from->lines[i].scope;
        memcpy(l->hash, from->lines[i].hash, 65);
    }
}

void trail_delete(struct trail *t, size_t at)
{
    free(t->lines[at].text);
    memmove(&t->lines[at], &t->lines[at + 1], (t->count - at - 1) * sizeof *t->lines);
    t->count--;
}

void trail_move(struct trail *t, size_t from, size_t to)
{
    struct trail_line l = t->lines[from];
    memmove(&t->lines[from], &t->lines[from + 1], (t->count - from - 1) * sizeof *t->lines);
    memmove(&t->lines[to + 1], &t->lines[to], (t->count - 1 - to) * sizeof *t->lines);
    t->lines[to] = l;
}

void trail_duplicate(struct trail *t, size_t at, size_t to)
{
    struct trail_line was = t->lines[at];
    struct trail_line *l = insert_at(t, to, was.text, was.len);
    l->store_seq = was.store_seq;
    l->scope = was.scope;
    memcpy(l->hash, was.hash, 65);
}

void trail_replace(struct trail *t, size_t at, const char *text, size_t len)
{
    char *copy = must(malloc(len + 1));
    memcpy(copy, text, len);
    copy[len] = '\0';
    free(t->lines[at].text);
    t->lines[at].text = copy;
    t->lines[at].len = len;
}

void trail_edit(struct trail *t, size_t at, const char *from, const char *to)
{
    char *text = t->lines[at].text, *p = strstr(text, from);
    CU_ASSERT_PTR_NOT_NULL(p);
    if (!p)
        return;
    size_t before = (size_t)(p - text), len = t->lines[at].len - strlen(from) + strlen(to);
    char *made = must(malloc(len + 1));
    memcpy(made, text, before);
    memcpy(made + before, to, strlen(to));
    memcpy(made + before + strlen(to), p + strlen(from), len - before - strlen(to));
    trail_replace(t, at, made, len);
    free(made);
}

/* Only for canonical lines: takes integrity out as text, and puts a new one in its place. */
void trail_reseal(struct trail *t)
{
    char head[TRAIL_SCOPES][65];
    memset(head, 0, sizeof head);
    for (size_t i = 0; i < t->count; i++) {
        struct trail_line *l = &t->lines[i];
        char *at = strstr(l->text, "\"integrity\":{"), *end = at ? strchr(at, '}') : NULL,
             *seq = end ? strstr(at, "\"seq\":") : NULL;
        if (!end || !seq)
            continue;
        size_t size = l->len + 200;
        char *payload = must(malloc(size)), *line = must(malloc(size)), *prev = head[l->scope], member[100] = "";
        if (*prev)
            snprintf(member, sizeof member, "\"prevHash\":\"%s\"", prev);
        int n = snprintf(payload, size, "{\"event\":%.*s%s%s%s}", (int)(at - l->text), l->text, end + 2,
                         *prev ? "," : "", member);
        sha256_hex(payload, (size_t)n, l->hash);
        n = snprintf(line, size, "%.*s\"integrity\":{\"alg\":\"SHA-256\",\"hash\":\"%s\",%s%s%.*s%s",
                     (int)(at - l->text), l->text, l->hash, member, *prev ? "," : "", (int)(end - seq), seq, end);
        trail_replace(t, i, line, (size_t)n);
        memcpy(head[l->scope], l->hash, 65);
        free(payload);
        free(line);
    }
}

/* ---- verifying ---- */

static struct trail_result result;

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from);
}

static void on_finding(void *arg, const struct aw_finding *f)
{
    struct trail_result *r = arg;
    CU_ASSERT_EQUAL(f->struct_size, sizeof *f);
    CU_ASSERT(f->scope && f->location && f->event_id && f->expected && f->found && f->message && *f->message);
    if (r->finding_count++ >= TRAIL_FINDINGS)
        return;
    struct trail_finding *to = &r->findings[r->finding_count - 1];
    to->kind = f->kind;
    copy_text(to->scope, sizeof to->scope, f->scope);
    copy_text(to->location, sizeof to->location, f->location);
    copy_text(to->id, sizeof to->id, f->event_id);
    copy_text(to->expected, sizeof to->expected, f->expected);
    copy_text(to->found, sizeof to->found, f->found);
    copy_text(to->message, sizeof to->message, f->message);
}

static void on_scope(void *arg, const struct aw_scope_report *s)
{
    struct trail_result *r = arg;
    if (r->scope_count >= sizeof r->scopes / sizeof r->scopes[0])
        return;
    size_t i = r->scope_count++;
    copy_text(r->scopes[i].scope, 64, s->scope);
    if (i > 0)
        CU_ASSERT(strcmp(r->scopes[i - 1].scope, s->scope) < 0);
    copy_text(r->scopes[i].first_location, 64, s->first_location);
    copy_text(r->scopes[i].last_location, 64, s->last_location);
    copy_text(r->scopes[i].first_hash, 68, s->first_hash);
    copy_text(r->scopes[i].last_hash, 68, s->last_hash);
    copy_text(r->scopes[i].first_time, 40, s->first_time);
    copy_text(r->scopes[i].last_time, 40, s->last_time);
    r->scopes[i].count = s->count;
    r->scopes[i].findings = s->findings;
    r->scopes[i].first_seq = s->first_seq;
    r->scopes[i].last_seq = s->last_seq;
    r->scopes[i].verdict = s->verdict;
    r->scopes[i].origin = s->starts_at_origin;
}

static void take_warnings(struct trail_result *r)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(r->warnings);
        snprintf(r->warnings + n, sizeof r->warnings - n, "%s: %s\n", problems[i]->path, problems[i]->message);
    }
}

const struct trail_result *trail_verify(const struct trail *t, const struct trail_check *check)
{
    struct trail_check none = {0, 0, NULL, 0, NULL};
    struct verifier *v = NULL;
    if (!check)
        check = &none;
    result.finding_count = result.scope_count = 0;
    memset(&result.report, 0, sizeof result.report);
    result.report.struct_size = sizeof result.report;
    result.warnings[0] = '\0';
    struct aw_verify_options o = {.struct_size = sizeof o,
                                  .flags = check->flags,
                                  .threads = check->threads ? check->threads : 1,
                                  .max_findings = check->max_findings ? check->max_findings : 100000,
                                  .on_finding = on_finding,
                                  .on_scope = on_scope,
                                  .arg = &result,
                                  .expect_head = check->expect,
                                  .sink = check->sink};
    diag_reset();
    result.rc = verifier_create(&o, &v);
    for (bool again = true; again && result.rc == AW_SUCCESS;) {
        for (size_t i = 0; i < t->count && result.rc == AW_SUCCESS; i++) {
            char location[64];
            int n = snprintf(location, sizeof location, "trail.jsonl:%zu", i + 1);
            result.rc = verifier_feed(v, (struct aw_str){t->lines[i].text, t->lines[i].len},
                                      (struct aw_str){location, (size_t)n}, t->lines[i].store_seq);
        }
        if (result.rc == AW_SUCCESS)
            result.rc = verifier_again(&v, &again);
    }
    if (result.rc == AW_SUCCESS)
        result.rc = verifier_finish(v, &result.report);
    take_warnings(&result);
    diag_reset();
    verifier_destroy(v);
    if (result.rc == AW_SUCCESS) {
        CU_ASSERT_EQUAL(result.report.verdict, result.report.findings > 0);
        CU_ASSERT(result.report.findings > o.max_findings || result.report.findings == result.finding_count);
        CU_ASSERT_EQUAL(result.report.events, t->count);
    }
    return &result;
}

size_t trail_count(const struct trail_result *r, int kind, const struct trail_finding **ret_first)
{
    size_t n = 0;
    for (size_t i = 0; i < r->finding_count && i < TRAIL_FINDINGS; i++) {
        if (r->findings[i].kind != kind)
            continue;
        if (n++ == 0 && ret_first)
            *ret_first = &r->findings[i];
    }
    return n;
}

void trail_print(const struct trail_result *r)
{
    harness_note("rc %d, %llu events, %llu findings", r->rc, (unsigned long long)r->report.events,
                 (unsigned long long)r->report.findings);
    for (size_t i = 0; i < r->finding_count && i < 12; i++) {
        const struct trail_finding *f = &r->findings[i];
        harness_note("  %d %s %s %s [%.12s|%.12s] %s", f->kind, f->location, f->scope, f->id, f->expected, f->found,
                     f->message);
    }
    if (*r->warnings)
        harness_note("  warnings: %s", r->warnings);
}

void trail_make(struct trail *t, enum trail_style style, unsigned count, unsigned scopes)
{
    trail_init(t, style);
    for (unsigned i = 0; i < count; i++)
        trail_add(t, i % scopes, i);
}

void expect_good(const struct trail_result *r)
{
    CU_ASSERT_EQUAL(r->rc, AW_SUCCESS);
    CU_ASSERT_EQUAL(r->report.findings, 0);
    CU_ASSERT_EQUAL(r->report.verdict, 0);
    if (r->rc != AW_SUCCESS || r->report.findings != 0)
        trail_print(r);
}

void expect_findings(const struct trail_result *r, const struct want *want, const char *what)
{
    size_t n = 0;
    bool good = r->rc == AW_SUCCESS;
    for (; want[n].kind != 0; n++) {
        const struct trail_finding *f = n < r->finding_count ? &r->findings[n] : NULL;
        good = good && f && f->kind == want[n].kind &&
               (!want[n].location || strcmp(want[n].location, f->location) == 0) &&
               (!want[n].message || strstr(f->message, want[n].message));
    }
    good = good && n == r->finding_count;
    CU_ASSERT(good);
    if (!good) {
        harness_note("not what was expected of: %s", what);
        trail_print(r);
    }
}
