/* event_random.c - see event_random.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event_random.h"

#include "base/base.h"
#include "harness.h"

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
    static const enum setter_kind kinds[] = {TEXT,   TEXT, TEXT,    TEXT,   TEXT,   INT,
                                             DOUBLE, BOOL, NOTHING, OBJECT, TARGET, ROLE};
    uint64_t r = harness_random(random);
    unsigned path = (unsigned)((r >> 32) % (r % 40 == 0 ? AW_ARRAY_LEN(paths) : USUAL));
    enum setter_kind kind = kinds[(r >> 16) % AW_ARRAY_LEN(kinds)];
    if (r % 64 == 1)
        kind = OURS;
    else if (path >= FIRST_KNOWN && kind != TARGET && kind != ROLE && (r >> 8) % 32 > 0)
        kind = TEXT;
    if (kind == OBJECT && (r >> 8) % 8 > 0)
        kind = INT; /* it ends a plan */
    return (struct setter){kind, path};
}

void random_shape(struct event_shape *s, uint64_t *random)
{
    s->count = 0;
    s->setters[s->count++] = (struct setter){ACTION, 0};
    s->setters[s->count++] = (struct setter){ACTOR, 0};
    s->setters[s->count++] = (struct setter){TARGET, 0};
    for (uint64_t n = harness_random(random) % (EVENT_SETTERS - 3); n > 0; n--)
        s->setters[s->count++] = draw_setter(random);
}

void random_change(struct event_shape *s, uint64_t *random)
{
    size_t at = harness_random(random) % s->count;
    if (at < 3 && harness_random(random) % 8 > 0)
        return; /* without these most events are bad */
    switch (harness_random(random) % 8) {
    case 0:
        random_shape(s, random);
        break;
    case 1:
    case 2:
        memmove(&s->setters[at], &s->setters[at + 1], (s->count - at - 1) * sizeof s->setters[0]);
        s->count -= s->count > 1;
        break;
    case 3:
    case 4:
        if (s->count < EVENT_SETTERS)
            s->setters[s->count++] = draw_setter(random);
        break;
    default: /* the same path, of another type */
        if (s->setters[at].kind >= TEXT && s->setters[at].kind <= NOTHING &&
            (s->setters[at].path < FIRST_KNOWN || harness_random(random) % 8 == 0))
            s->setters[at].kind = TEXT + (enum setter_kind)(harness_random(random) % 5);
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
        if (r % 100 == 9)
            (void)aw_set_null(b, "actor.roles[]");
        else
            (void)aw_set_text(b, "actor.roles[]", "role", r % 5);
        break;
    default: /* members that nobody has to give */
        if (s.path % 3 == 0)
            (void)aw_set_int(b, "schemaVersion", r % 10 == 0 ? 2 : 1);
        else
            (void)aw_set_bool(b, s.path % 3 == 1 ? "metadataTruncated" : "diffTruncated", r % 4 == 0);
    }
}

void random_event(struct aw_builder *b, const struct event_shape *s, uint64_t random)
{
    for (size_t i = 0; i < s->count; i++)
        apply(b, s->setters[i], &random);
}
