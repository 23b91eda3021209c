/* fuzz_view.c - fuzz target: views of any object, and any two objects compared. SPDX-License-Identifier: Apache-2.0
 *
 * The input is one object, or two with a line end between them: a stored view and a full event. Beyond "no crash": a
 * view that is made agrees with what it was made of, by itself and compared; it is canonical; and when it is the same,
 * nothing is claimed.
 */
#include "config.h"

#include "base/base.h"
#include "base/diag.h"
#include "event/view.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct event_rule tags[] = {
    {"**.email", NULL}, {"metadata.user", NULL}, {"actor.id", NULL}, {"target", NULL}, {"diff.*.old", NULL}};
static struct event_pii *pii;
static struct pseudonym_key key;
static struct hash_sha256 *sha;
static struct event_viewer *viewers[2];

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void set_up(void)
{
    if (pii)
        return;
    must(event_pii_create(tags, AW_ARRAY_LEN(tags), "***", &pii) == 0);
    must(pseudonym_key_init(&key, "0123456789abcdef0123456789abcdef", 32) == 0 && hash_sha256_create(&sha) == 0);
    must(event_viewer_create(pii, NULL, &viewers[0]) == 0 && event_viewer_create(pii, &key, &viewers[1]) == 0);
}

static void count(void *arg, const struct view_difference *d)
{
    ++*(size_t *)arg;
    must(d->message && *d->message && (d->path.len == 0 || d->path.ptr));
}

/* SIZE_MAX: it cannot be read. */
static size_t differences(struct aw_str view, const struct aw_str *full)
{
    size_t n = 0;
    struct view_check check = {.keys = &key, .key_count = 1, .sha = sha, .on_difference = count, .arg = &n};
    diag_reset();
    return event_view_check(&check, view, full) == AW_SUCCESS ? n : SIZE_MAX;
}

static struct aw_str seal(const struct event_view *v, const char *json, size_t len, char **ret)
{
    size_t at = v->integrity_at;
    size_t size = len + v->claim.len + 100;
    *ret = malloc(size);
    must(*ret != NULL);
    char *p = *ret;
    memcpy(p, json, at);
    p += at;
    p += snprintf(p, size - at, "\"integrity\":{\"seq\":1,\"view\":%.*s},", (int)v->claim.len, v->claim.ptr);
    memcpy(p, json + at, len - at);
    return (struct aw_str){*ret, (size_t)(p + (len - at) - *ret)};
}

static bool has(struct aw_str text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

static void make_views(const char *json, size_t len)
{
    for (int i = 0; i < 2; i++) {
        struct event_view v;
        if (event_view_make(viewers[i], json, len, &v) != 0)
            continue;
        must(v.integrity_at <= v.json.len);
        for (uint32_t f = 0; f < v.field_count; f++)
            must((size_t)field_offset(v.fields[f]) + field_len(v.fields[f]) <= v.json.len);
        must((v.claim.len == 2) == (v.json.len == len && memcmp(v.json.ptr, json, len) == 0));
        /* Only events in which integrity has a place that is canonical, as in the journal, can be put together. */
        struct aw_str all = {json, len};
        if (v.json.ptr[v.integrity_at] == '}' || has(all, "\"integrity") || has(all, "\"\":"))
            continue;
        AW_AUTOFREE char *view_text = NULL, *full_text = NULL;
        struct event_view plain = {.claim = {"{}", 2}};
        const char *at = memmem(json, len, "\"eventId\":", 10);
        struct stored_event ev;
        struct aw_str view = seal(&v, v.json.ptr, v.json.len, &view_text);
        diag_reset();
        if (!at || event_parse_stored(view.ptr, view.len, &ev) != AW_SUCCESS)
            continue;
        must(!ev.view_fault && ev.prefix.len + ev.suffix.len == v.json.len);
        plain.integrity_at = 1; /* anywhere: the reader sorts */
        struct aw_str full = seal(&plain, json, len, &full_text);
        must(differences(view, NULL) == 0 && differences(view, &full) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *nl = memchr(text, '\n', size);
    struct stored_event ev;
    if (size > 65536)
        return 0;
    set_up();
    struct aw_str first = {text, nl ? (size_t)(nl - text) : size}, second = first;
    if (nl)
        second = (struct aw_str){nl + 1, size - first.len - 1};
    (void)differences(first, &second);
    (void)differences(first, NULL);
    diag_reset();
    memset(&ev, 0, sizeof ev);
    if (event_parse_stored(first.ptr, first.len, &ev) == AW_SUCCESS) {
        size_t len = ev.prefix.len + ev.suffix.len;
        AW_AUTOFREE char *json = malloc(len + 1);
        must(json != NULL);
        memcpy(json, ev.prefix.ptr, ev.prefix.len);
        if (ev.suffix.len)
            memcpy(json + ev.prefix.len, ev.suffix.ptr, ev.suffix.len);
        make_views(json, len);
    }
    diag_reset();
    return 0;
}
