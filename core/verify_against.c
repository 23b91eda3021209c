/* verify_against.c - see verify_against.h. SPDX-License-Identifier: Apache-2.0
 *
 * Both stores are read in chain order, in which seqs rise, so that one pass over each is enough; a view that stands out
 * of order makes the full store be read again from its begin, some times.
 */
#include "config.h"

#include "verify_against.h"

#include "base/base.h"
#include "base/diag.h"
#include "event/view.h"
#include "privacy.h"

#include <stdio.h>
#include <unistd.h>

#define HEX (2 * HASH_SHA256_LEN)
#define REWINDS_MAX 100u
#define SHOWN 200u /* bytes of a value in a finding */

struct against {
    struct aw_store *store;
    struct store_read *read;
    const struct aw_row *rows;
    size_t count, at;
    bool current; /* rows[at] has been looked at, and hash and seq are its */
    char hash[HEX];
    uint64_t seq;
    unsigned rewinds;

    struct pseudonym_key *keys;
    size_t key_count;
    struct hash_sha256 *sha;

    /* the view under way */
    struct verifier *verifier;
    struct verify_compared compared;
    const struct aw_row *view;
    char *text; /* decoded id and scope */
    size_t text_size;
    int rc;
};

static int open_read(struct against *a)
{
    struct aw_query query;
    store_query_init(&query);
    query.flags |= AW_QUERY_CHAIN_ORDER;
    store_read_close(a->read);
    a->read = NULL;
    a->count = a->at = 0;
    a->current = false;
    return store_read_open(a->store, &query, NULL, &a->read);
}

int against_create(struct aw_store *full, const char *const *keys, size_t key_count, struct against **ret)
{
    struct against *a = calloc(1, sizeof *a);
    AW_AUTOFREE char *cwd = getcwd(NULL, 0);
    if (a)
        a->keys = calloc(key_count + 1, sizeof *a->keys);
    int rc =
        a && a->keys && hash_sha256_create(&a->sha) == 0 ? AW_SUCCESS : diag_problem(AW_ERR_NOMEM, "", "out of memory");
    for (size_t i = 0; rc == AW_SUCCESS && i < key_count; i++) {
        rc = privacy_key_load(keys[i], "", cwd, "key", &a->keys[i]);
        a->key_count = i + 1;
    }
    if (rc == AW_SUCCESS) {
        a->store = full;
        rc = open_read(a);
    }
    if (rc != AW_SUCCESS) {
        against_destroy(a);
        return rc;
    }
    *ret = a;
    return AW_SUCCESS;
}

int against_rewind(struct against *a)
{
    a->rewinds = 0;
    return open_read(a);
}

void against_destroy(struct against *a)
{
    if (!a)
        return;
    store_read_close(a->read);
    for (size_t i = 0; i < a->key_count; i++)
        pseudonym_key_clear(&a->keys[i]);
    free(a->keys);
    hash_sha256_destroy(a->sha);
    free(a->text);
    free(a);
}

/* ---- the full event ---- */

/* Moves to the next full event that has a hash. AW_ERR_NOTFOUND: the end. */
static int next_full(struct against *a)
{
    for (;;) {
        a->at += a->current;
        a->current = false;
        if (a->at >= a->count) {
            a->at = 0;
            int rc = store_read_next(a->read, &a->rows, &a->count);
            if (rc != AW_SUCCESS)
                return rc;
            if (a->count == 0)
                return AW_ERR_NOTFOUND;
        }
        struct stored_event ev;
        const struct aw_row *row = &a->rows[a->at];
        a->current = true;
        memset(&ev, 0, sizeof ev);
        if (event_parse_stored(row->json.ptr, row->json.len, &ev) != AW_SUCCESS) {
            diag_reset(); /* a finding of the full trail's own verification */
            continue;
        }
        if (ev.integrity_hash.len != HEX || ev.is_view)
            continue;
        memcpy(a->hash, ev.integrity_hash.ptr, HEX);
        a->seq = ev.integrity_seq;
        return AW_SUCCESS;
    }
}

/* Stands on the full event with this hash. AW_ERR_NOTFOUND: there is none. */
static int seek_full(struct against *a, const char hash[HEX], uint64_t seq)
{
    if (a->current && a->seq > seq && seq > 0 && a->rewinds < REWINDS_MAX) {
        a->rewinds++;
        int rc = open_read(a);
        if (rc != AW_SUCCESS)
            return rc;
    }
    for (;;) {
        if (a->current && memcmp(a->hash, hash, HEX) == 0)
            return AW_SUCCESS;
        if (a->current && seq > 0 && a->seq > seq)
            return AW_ERR_NOTFOUND; /* kept for the views that follow */
        int rc = next_full(a);
        if (rc != AW_SUCCESS)
            return rc;
    }
}

/* ---- comparing ---- */

/* For people: no control characters, no more than fits into a line. */
static void show(struct aw_str text, char out[SHOWN + 4])
{
    size_t n = text.len < SHOWN ? text.len : SHOWN;
    for (; n > 0 && n < text.len && ((unsigned char)text.ptr[n] & 0xc0) == 0x80; n--)
        ; /* not in the middle of a character */
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f ? '?' : text.ptr[i];
    memcpy(out + n, n < text.len ? "..." : "", n < text.len ? 4 : 1);
}

static void report(struct against *a, int32_t kind, const char *expected, const char *found, const char *message)
{
    char location[512];
    snprintf(location, sizeof location, "%.*s", (int)(a->view->location.len < 500 ? a->view->location.len : 500),
             a->view->location.ptr);
    a->compared.differences++;
    int rc = verifier_difference(a->verifier, &a->compared, kind, location, expected, found, message);
    a->rc = a->rc ? a->rc : rc;
}

static void on_difference(void *arg, const struct view_difference *d)
{
    struct against *a = arg;
    char path[SHOWN + 4], expected[SHOWN + 4], found[SHOWN + 4], message[1000];
    const struct aw_str place = a->rows[a->at].location;
    show(d->path, path);
    show(d->expected, expected);
    show(d->found, found);
    snprintf(message, sizeof message, "%s %s, which is at %.*s", path, d->message,
             (int)(place.len < 400 ? place.len : 400), place.ptr);
    report(a, AW_FINDING_EDITED, expected, found, message);
}

/* Keeps what is needed of the view's parse, which the comparison overwrites. */
static int keep_names(struct against *a, const struct stored_event *ev)
{
    struct verify_compared *c = &a->compared;
    c->scope_is_tenant = ev->tenant_id.len > 0;
    struct aw_str scope = c->scope_is_tenant ? ev->tenant_id : ev->source_service;
    if (scope.len == 0)
        scope = base_str("unknown");
    size_t need = scope.len + ev->event_id.len + 2;
    if (need > a->text_size) {
        char *bigger = realloc(a->text, need * 2);
        if (!bigger)
            return diag_problem(AW_ERR_NOMEM, "", "out of memory");
        a->text = bigger;
        a->text_size = need * 2;
    }
    c->scope = (struct aw_str){a->text, event_unescape(scope.ptr, scope.len, a->text)};
    char *id = a->text + scope.len;
    c->id = (struct aw_str){id, ev->event_id.len ? event_unescape(ev->event_id.ptr, ev->event_id.len, id) : 0};
    return AW_SUCCESS;
}

static int compare(struct against *a)
{
    struct view_check check = {
        .keys = a->keys, .key_count = a->key_count, .sha = a->sha, .on_difference = on_difference, .arg = a};
    int rc = event_view_check(&check, a->view->json, &a->rows[a->at].json);
    a->compared.found = true;
    a->compared.by_form = check.by_form;
    if (rc == AW_SUCCESS)
        rc = a->rc;
    return rc != AW_SUCCESS ? rc : verifier_compared(a->verifier, &a->compared);
}

int against_row(struct against *a, struct verifier *verifier, const struct aw_row *row)
{
    struct stored_event ev;
    char hash[HEX + 1];
    memset(&ev, 0, sizeof ev);
    if (row->json.len > VERIFY_MAX_ROW || event_parse_stored(row->json.ptr, row->json.len, &ev) != AW_SUCCESS) {
        diag_reset(); /* the verifier will say it */
        return AW_SUCCESS;
    }
    if (!ev.is_view || ev.integrity_hash.len != HEX)
        return AW_SUCCESS;
    a->compared = (struct verify_compared){.by_reference = ev.view_fields > 0, .stream = ev.integrity_stream};
    a->view = row;
    a->verifier = verifier;
    a->rc = AW_SUCCESS;
    memcpy(hash, ev.integrity_hash.ptr, HEX);
    hash[HEX] = '\0';
    uint64_t seq = ev.integrity_seq;
    int rc = keep_names(a, &ev);
    if (rc == AW_SUCCESS)
        rc = seek_full(a, hash, seq);
    if (rc == AW_ERR_NOTFOUND) {
        report(a, AW_FINDING_MISSING, hash, "", "the full trail has no event with the hash of this view");
        return a->rc;
    }
    return rc == AW_SUCCESS ? compare(a) : rc;
}
