/* nats_subject.c - subjects out of templates like "audit.{tenant}.{action}". SPDX-License-Identifier: Apache-2.0
 *
 * What is not a letter, a digit, - or _ becomes %XX, so that no value can make a token more, a wildcard, or another
 * value's token. An absent value is "_" (and a value "_" is "%5F"). A token that would be too long keeps its beginning
 * and gets a hash of all of it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats_sink.h"

#define TOKEN_MAX 64
#define TOKEN_KEPT 40 /* of a longer one; then ~ and 16 digits */
#define DOTS_MAX 7    /* of a dotted value; later ones are %2E */

static const struct {
    const char *name;
    uint32_t field;
    bool dotted;
} fields[] = {{"tenant", AW_FIELD_TENANT_ID, false},
              {"org", AW_FIELD_ORG_ID, false},
              {"service", AW_FIELD_SOURCE_SERVICE, false},
              {"host", AW_FIELD_SOURCE_HOST, false},
              {"region", AW_FIELD_SOURCE_REGION, false},
              {"environment", AW_FIELD_ENVIRONMENT, false},
              {"actor_type", AW_FIELD_ACTOR_TYPE, false},
              {"target_type", AW_FIELD_TARGET_TYPE, false},
              {"outcome", AW_FIELD_OUTCOME, false},
              {"retention", AW_FIELD_RETENTION_TAG, false},
              {"action", AW_FIELD_ACTION, true}};

static bool plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* ---- reading a template ---- */

static const char *add_literal(struct np_template *t, const char *text, size_t len)
{
    if (len == 0)
        return NULL;
    if (t->count == NP_PARTS_MAX)
        return "has too many parts";
    for (size_t i = 0; i < len; i++)
        if (!plain((unsigned char)text[i]) && text[i] != '.')
            return "may hold letters, digits, - _ . and {fields}";
    t->parts[t->count++] = (struct np_part){text, len, 0, false};
    return NULL;
}

static const char *add_field(struct np_template *t, const char *name, size_t len)
{
    if (t->count == NP_PARTS_MAX)
        return "has too many parts";
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strlen(fields[i].name) == len && memcmp(fields[i].name, name, len) == 0) {
            t->parts[t->count++] = (struct np_part){NULL, 0, fields[i].field, fields[i].dotted};
            return NULL;
        }
    return "names a field that is none of {tenant} {org} {service} {host} {region} {environment} {actor_type} "
           "{target_type} "
           "{outcome} {retention} {action}";
}

const char *np_template_parse(struct np_template *t, char *text)
{
    const char *p = text, *fault = NULL;
    size_t n = strlen(text);
    *t = (struct np_template){.text = text};
    if (n == 0 || n > 128)
        return "must have 1 to 128 bytes";
    if (text[0] == '.' || text[n - 1] == '.' || strstr(text, "..") != NULL)
        return "has an empty token";
    while (*p != '\0' && fault == NULL) {
        const char *open = strchr(p, '{'), *end = open != NULL ? open : text + n;
        fault = add_literal(t, p, (size_t)(end - p));
        p = end;
        if (fault == NULL && open != NULL) {
            const char *close = strchr(open, '}');
            if (close == NULL)
                return "has a { without its }";
            fault = add_field(t, open + 1, (size_t)(close - open - 1));
            p = close + 1;
        }
    }
    return fault;
}

void np_template_free(struct np_template *t)
{
    free(t->text);
    *t = (struct np_template){.text = NULL};
}

/* ---- making subjects ---- */

static uint64_t hash_of(struct aw_str s)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * UINT64_C(1099511628211);
    return h;
}

static size_t put_escaped(unsigned char c, char *to)
{
    static const char digits[] = "0123456789ABCDEF";
    to[0] = '%';
    to[1] = digits[c >> 4];
    to[2] = digits[c & 15];
    return 3;
}

size_t np_token(struct aw_str value, char *to)
{
    size_t n = 0, kept = 0;
    if (value.len == 0) {
        to[0] = '_';
        return 1;
    }
    if (value.len == 1 && value.ptr[0] == '_')
        return put_escaped('_', to);
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (n + 3 > TOKEN_MAX) {
            char mark[20];
            int len = snprintf(mark, sizeof mark, "~%016llx", (unsigned long long)hash_of(value));
            memcpy(to + kept, mark, (size_t)len);
            return kept + (size_t)len;
        }
        if (plain(c))
            to[n++] = (char)c;
        else
            n += put_escaped(c, to + n);
        if (n <= TOKEN_KEPT)
            kept = n;
    }
    return n;
}

/* Each part between dots is a token. */
static size_t put_dotted(struct aw_str value, char *to)
{
    size_t n = 0, from = 0, dots = 0;
    for (size_t i = 0; i <= value.len; i++) {
        bool dot = i < value.len && value.ptr[i] == '.' && dots < DOTS_MAX;
        if (!dot && i < value.len)
            continue;
        n += np_token((struct aw_str){value.ptr + from, i - from}, to + n);
        if (dot) {
            to[n++] = '.';
            dots++;
        }
        from = i + 1;
    }
    return n;
}

void np_template_make(const struct np_template *t, const struct aw_host *h, const struct aw_event *event,
                      char ret[NP_SUBJECT_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct np_part *p = &t->parts[i];
        struct aw_str value = {"", 0};
        char room[(DOTS_MAX + 1) * (NP_TOKEN_ROOM + 1)];
        const char *text = p->text;
        size_t len = p->len;
        if (text == NULL) {
            if (h->event_field(event, p->field, &value) != AW_OK)
                value.len = 0;
            len = p->dotted ? put_dotted(value, room) : np_token(value, room);
            text = room;
            if (len > NP_TOKEN_ROOM * 2) { /* a long action of many parts: one token with its hash */
                int k = snprintf(room + TOKEN_KEPT, sizeof room - TOKEN_KEPT, "~%016llx",
                                 (unsigned long long)hash_of(value));
                len = TOKEN_KEPT + (size_t)k;
                for (size_t j = 0; j < TOKEN_KEPT; j++)
                    if (room[j] == '.')
                        room[j] = '~';
            }
        }
        if (n + len >= NP_SUBJECT_MAX) /* only with many fields, all of them long */
            len = NP_SUBJECT_MAX - 1 - n;
        memcpy(ret + n, text, len);
        n += len;
    }
    while (n > 1 && ret[n - 1] == '.')
        n--;
    ret[n] = '\0';
}

void np_message_id(struct aw_str id, char *to, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < id.len && n + 4 <= size; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        if (c > 0x20 && c < 0x7f && c != '%')
            to[n++] = (char)c;
        else
            n += put_escaped(c, to + n);
    }
    to[n] = '\0';
}

/* ---- what a stream takes ---- */

/* The template's tokens: literal ones as they are, those with a field "*", from an {action} on ">" (one or more). */
static void pattern_of(const struct np_template *t, char out[NP_SUBJECT_MAX])
{
    size_t n = 0, start = 0;
    bool field = false;
    for (size_t i = 0; i < t->count; i++) {
        const struct np_part *p = &t->parts[i];
        if (p->text == NULL && p->dotted) {
            n = start;
            out[n++] = '>';
            out[n] = '\0';
            return;
        }
        field = field || p->text == NULL;
        for (size_t k = 0; k < p->len; k++) {
            if (p->text[k] == '.') {
                if (field) {
                    n = start;
                    out[n++] = '*';
                }
                field = false;
                out[n++] = '.';
                start = n;
            } else {
                out[n++] = p->text[k];
            }
        }
    }
    if (field) {
        n = start;
        out[n++] = '*';
    }
    out[n] = '\0';
}

static size_t token_length(const char *p)
{
    return strcspn(p, ".");
}

enum np_cover np_template_covered(const struct np_template *t, const char *filter)
{
    char pattern[NP_SUBJECT_MAX];
    const char *p = pattern, *f = filter;
    enum np_cover result = NP_COVERS_ALL;
    pattern_of(t, pattern);
    for (;;) {
        size_t pn = token_length(p), fn = token_length(f);
        bool p_rest = pn == 1 && *p == '>', f_rest = fn == 1 && *f == '>';
        if (f_rest)
            return result;
        if (p_rest)
            return NP_COVERS_SOME;
        bool p_any = pn == 1 && *p == '*', f_any = fn == 1 && *f == '*';
        if (!f_any && p_any)
            result = NP_COVERS_SOME;
        else if (!f_any && (pn != fn || memcmp(p, f, pn) != 0))
            return NP_COVERS_NONE;
        p += pn;
        f += fn;
        if (*p == '\0' || *f == '\0')
            return *p == *f ? result : NP_COVERS_NONE;
        p++;
        f++;
    }
}
