/* verify_report.c - findings in trail order, expected heads, scope reports. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/diag.h"
#include "seal/verify_impl.h"

#include <stdio.h>

/* An unexplained break holds back what comes after it; not for ever. */
#define QUEUE_MAX 8192u

/* ---- text ---- */

static char *put_unit(char *p, unsigned code)
{
    static const char digits[] = "0123456789abcdef";
    memcpy(p, "\\u00", 4);
    p[4] = digits[code >> 4 & 15u];
    p[5] = digits[code & 15u];
    return p + 6;
}

char *verify_printable(struct aw_str prefix, struct aw_str text)
{
    char *out = malloc(prefix.len + text.len * 6 + 1), *p = out;
    if (!out)
        return NULL;
    memcpy(p, prefix.ptr, prefix.len);
    p += prefix.len;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        unsigned char next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;
        if (c < 0x20 || c == 0x7f) {
            p = put_unit(p, c);
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) { /* C1 controls */
            p = put_unit(p, next);
            i++;
        } else {
            *p++ = (char)c;
        }
    }
    *p = '\0';
    return out;
}

static char *printable(const char *text)
{
    return verify_printable((struct aw_str){"", 0}, base_str(text ? text : ""));
}

static void finding_free(struct verify_finding *f)
{
    if (!f)
        return;
    free(f->name);
    free(f->location);
    free(f->id);
    free(f->expected);
    free(f->found);
    free(f->message);
    free(f);
}

static char *format_message(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static char *format_message(const char *fmt, va_list ap)
{
    char text[1200];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    return printable(n < 0 ? "" : text);
}

/* ---- findings ---- */

struct verify_finding *verify_find(struct verifier *v, int32_t kind, struct verify_scope *scope, const char *location,
                                   struct aw_str id, const char *expected, const char *found, const char *fmt, ...)
{
    v->findings++;
    if (scope)
        scope->findings++;
    if (v->given + v->queued >= v->most_findings)
        return NULL;
    struct verify_finding *f = calloc(1, sizeof *f);
    if (!f) {
        verify_nomem(v);
        return NULL;
    }
    va_list ap;
    va_start(ap, fmt);
    f->kind = kind;
    f->scope = scope;
    f->location = printable(location);
    f->id = verify_printable((struct aw_str){"", 0}, id);
    f->expected = printable(expected);
    f->found = printable(found);
    f->message = format_message(fmt, ap);
    va_end(ap);
    if (!f->location || !f->id || !f->expected || !f->found || !f->message) {
        finding_free(f);
        verify_nomem(v);
        return NULL;
    }
    *v->queue_end = f;
    v->queue_end = &f->next;
    v->queued++;
    return f;
}

void verify_settle(struct verifier *v, struct verify_finding *finding, int32_t kind, const char *fmt, ...)
{
    if (!finding)
        return;
    va_list ap;
    va_start(ap, fmt);
    char *message = format_message(fmt, ap);
    va_end(ap);
    finding->kind = kind;
    finding->open = false;
    if (message) {
        free(finding->message);
        finding->message = message;
    } else {
        verify_nomem(v);
    }
}

static void give(struct verifier *v, const struct verify_finding *f)
{
    struct aw_finding out = {
        .struct_size = sizeof out,
        .kind = f->kind,
        .scope = f->name    ? f->name
                 : f->scope ? f->scope->name
                            : "",
        .location = f->location,
        .event_id = f->id,
        .expected = f->expected,
        .found = f->found,
        .message = f->message,
    };
    if (v->options.on_finding)
        v->options.on_finding(v->options.arg, &out);
}

void verify_flush(struct verifier *v, bool all)
{
    while (v->queue) {
        struct verify_finding *f = v->queue;
        if (f->open && (all || v->queued > QUEUE_MAX))
            verify_break_decide(v, f->scope, f->brk);
        if (f->open || v->holding)
            return;
        give(v, f);
        v->queue = f->next;
        if (!v->queue)
            v->queue_end = &v->queue;
        v->queued--;
        v->given++;
        finding_free(f);
    }
}

void verify_findings_clear(struct verifier *v)
{
    while (v->queue) {
        struct verify_finding *f = v->queue;
        v->queue = f->next;
        finding_free(f);
    }
    v->queue_end = &v->queue;
}

/* ---- heads known from elsewhere ---- */

/* "SCOPE=HASH" up to a comma or the end: a scope may hold both characters, so the hash decides where it ends. */
static const char *expected_one(struct verifier *v, const char *p)
{
    for (const char *q = p; *q; q++) {
        if (*q != '=' || strnlen(q + 1, VERIFY_HEX) < VERIFY_HEX ||
            (q[1 + VERIFY_HEX] != '\0' && q[1 + VERIFY_HEX] != ','))
            continue;
        struct verify_expected *e = &v->expected[v->expected_count];
        if (!hash_unhex(q + 1, VERIFY_HEX, e->hash))
            continue;
        bool tenant = strncmp(p, "tenant:", 7) == 0;
        if (!tenant && strncmp(p, "service:", 8) != 0)
            return NULL;
        struct aw_str value = {p + (tenant ? 7 : 8), (size_t)(q - p) - (tenant ? 7 : 8)};
        e->name = (struct aw_str){p, (size_t)(q - p)};
        e->key = verify_scope_key(v->scope_key, tenant, value, 0);
        v->expected_count++;
        return q + 1 + VERIFY_HEX;
    }
    return NULL;
}

int verify_parse_expected(struct verifier *v)
{
    const char *text = v->options.expect_head;
    if (!text || !*text)
        return AW_SUCCESS;
    size_t most = 1;
    for (const char *p = text; *p; p++)
        most += *p == ',';
    v->expect_text = strdup(text);
    v->expected = calloc(most, sizeof *v->expected);
    if (!v->expect_text || !v->expected)
        return diag_problem(AW_ERR_NOMEM, "expect_head", "out of memory");
    for (const char *p = v->expect_text; *p;) {
        const char *end = expected_one(v, p);
        if (!end)
            return diag_problem(
                AW_ERR_USAGE, "expect_head",
                "\"%.200s\" is not SCOPE=HASH[,SCOPE=HASH...] with a scope \"tenant:...\" or \"service:...\" and a "
                "hash of 64 hex digits",
                p);
        p = *end == ',' ? end + 1 : end;
        if (*end == ',' && *p == '\0')
            return diag_problem(AW_ERR_USAGE, "expect_head", "nothing follows the last comma");
    }
    return AW_SUCCESS;
}

static void finish_one_expected(struct verifier *v, const struct verify_expected *e)
{
    struct aw_str none = {"", 0};
    char hex[VERIFY_HEX + 1], head[VERIFY_HEX + 1] = "";
    hash_hex(e->hash, VERIFY_HASH, hex);
    hex[VERIFY_HEX] = '\0';
    struct verify_scope *s = e->scope;
    if (!s) {
        struct verify_finding *f = verify_find(v, AW_FINDING_MISSING, NULL, NULL, none, hex, "no event",
                                               "nothing of this chain is in the trail, though its head is known");
        if (f) {
            f->name = verify_printable(none, e->name);
            if (!f->name)
                verify_nomem(v);
        }
        return;
    }
    if (!e->found) {
        hash_hex(s->head, VERIFY_HASH, head);
        head[VERIFY_HEX] = '\0';
        verify_find(
            v, AW_FINDING_TRUNCATED, s, s->last_location, none, hex, head,
            "the chain does not contain the head that is known from elsewhere: its end was cut off, or it was sealed "
            "anew");
        return;
    }
    if (s->count > e->at)
        diag_problem(0, s->name, "%llu events have been added since the expected head",
                     (unsigned long long)(s->count - e->at));
}

/* ---- the end of the trail ---- */

static void finish_unsealed(struct verifier *v)
{
    struct aw_str none = {"", 0};
    if (v->unsealed_before == 0)
        return;
    if (v->sealed == 0)
        verify_find(v, AW_FINDING_UNSEALED, NULL, v->unsealed_location, none, NULL, NULL,
                    "no event of this trail has an integrity member: there is nothing that could be verified");
    else
        verify_find(v, AW_FINDING_UNSEALED, NULL, v->unsealed_location, none, NULL, NULL,
                    "%llu event%s before the first sealed one %s no integrity member",
                    (unsigned long long)v->unsealed_before, v->unsealed_before == 1 ? "" : "s",
                    v->unsealed_before == 1 ? "has" : "have");
}

static void finish_complete(struct verifier *v)
{
    struct aw_str none = {"", 0};
    for (size_t i = 0; i < v->scopes.count && (v->options.flags & AW_VERIFY_COMPLETE); i++) {
        struct verify_scope *s = v->scopes.list[i];
        char hex[VERIFY_HEX + 1];
        if (s->sealed == 0 || s->origin)
            continue;
        hash_hex(s->first_prev, VERIFY_HASH, hex);
        hex[VERIFY_HEX] = '\0';
        verify_find(v, AW_FINDING_HOLE, s, s->first_location, none, "no prevHash", hex,
                    "the chain does not begin at its origin: its first events are missing");
    }
}

/* What a good verdict does not cover is said, so that nobody takes it for more than it is. */
static void finish_warnings(const struct verifier *v)
{
    uint64_t bare = 0;
    for (size_t i = 0; i < v->scopes.count; i++)
        bare += !v->scopes.list[i]->expecting;
    verify_replay_warn(v);
    verify_retention_warn(v);
    if (v->with_signature > 0)
        diag_problem(0, "", "%llu events carry signatures, which this version does not check",
                     (unsigned long long)v->with_signature);
    if (v->by_reference > v->confirmed)
        diag_problem(0, "",
                     "view: order and identity verified, content by reference: %llu of %llu events are views with %llu "
                     "changed fields; compare them with the full trail",
                     (unsigned long long)(v->by_reference - v->confirmed), (unsigned long long)v->events,
                     (unsigned long long)v->view_fields);
    if (v->by_form > 0)
        diag_problem(0, "", "%llu pseudonyms could not be checked: no key with their key id was given",
                     (unsigned long long)v->by_form);
    if (v->sealed > 0 && v->expected_count == 0)
        diag_problem(0, "",
                     "no signature or anchor covers this history: had somebody sealed all of it anew, or cut off its "
                     "end, it would "
                     "look like this, too; compare with heads kept elsewhere");
    else if (v->sealed > 0 && bare > 0)
        diag_problem(0, "",
                     "no signature or anchor covers the history of %llu of %zu chains: no head was expected of them",
                     (unsigned long long)bare, v->scopes.count);
    if (v->findings > 0 && (v->seen.off || v->seen.older.count > 0))
        diag_problem(
            0, "",
            "the trail is long: where a break names an event that is further back than some million events, it is "
            "reported as a hole");
}

void verify_finish_findings(struct verifier *v)
{
    for (struct verify_finding *f = v->queue; f; f = f->next)
        if (f->open)
            verify_break_decide(v, f->scope, f->brk);
    v->holding = false;
    verify_replay_finish(v);
    finish_unsealed(v);
    finish_complete(v);
    verify_streams_finish(v);
    verify_retention_finish(v);
    for (size_t i = 0; i < v->expected_count; i++)
        finish_one_expected(v, &v->expected[i]);
    verify_flush(v, true);
    finish_warnings(v);
}

static int scope_compare(const void *a, const void *b)
{
    const struct verify_scope *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int32_t verdict(uint64_t findings, uint64_t by_reference)
{
    return findings > 0 ? AW_VERDICT_FINDINGS : by_reference > 0 ? AW_VERDICT_VIEW : AW_VERDICT_GOOD;
}

static void give_scope(const struct verifier *v, const struct verify_scope *s)
{
    char first[VERIFY_HEX + 1] = "", last[VERIFY_HEX + 1] = "";
    if (s->sealed > 0) {
        hash_hex(s->first_hash, VERIFY_HASH, first);
        hash_hex(s->head, VERIFY_HASH, last);
        first[VERIFY_HEX] = last[VERIFY_HEX] = '\0';
    }
    struct aw_scope_report r = {
        .struct_size = sizeof r,
        .verdict = verdict(s->findings, s->by_reference - s->confirmed),
        .scope = s->name,
        .count = s->count,
        .findings = s->findings,
        .first_location = s->first_location,
        .last_location = s->last_location ? s->last_location : s->first_location,
        .first_hash = first,
        .last_hash = last,
        .first_time = s->first_time,
        .last_time = s->last_time[0] ? s->last_time : s->first_time,
        .stream = s->stream,
        .first_seq = s->first_seq,
        .last_seq = s->last_seq,
        .starts_at_origin = s->sealed > 0 && s->origin,
        .views = s->views,
        .by_reference = s->by_reference - s->confirmed,
        .view_fields = s->view_fields,
    };
    v->options.on_scope(v->options.arg, &r);
}

int verify_finish_reports(struct verifier *v, struct aw_verify_report *report)
{
    if (v->options.on_scope && v->scopes.count > 0) {
        qsort(v->scopes.list, v->scopes.count, sizeof(struct verify_scope *), scope_compare);
        for (size_t i = 0; i < v->scopes.count; i++)
            give_scope(v, v->scopes.list[i]);
    }
    struct aw_verify_report r = {
        .struct_size = report->struct_size,
        .verdict = verdict(v->findings, v->by_reference - v->confirmed),
        .events = v->events,
        .scopes = v->scopes.count,
        .findings = v->findings,
        .bytes = v->bytes,
        .first_seq = v->first_seq,
        .last_seq = v->last_seq,
        .views = v->views,
        .by_reference = v->by_reference - v->confirmed,
        .view_fields = v->view_fields,
        .compared = v->compared,
        .by_form = v->by_form,
    };
    r.replayed = verify_replay_accepted(v, r.replayed_sink, sizeof r.replayed_sink);
    verify_retention_report(v, &r);
    memcpy(report, &r, report->struct_size < sizeof r ? report->struct_size : sizeof r);
    return v->failed;
}
