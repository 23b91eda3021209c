/* stored.c - what a store holds, by the sink's own query extension or by a command of the user's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "kit.h"

static bool add_row(struct kit_stored *s, const char *json, size_t len, uint64_t seq)
{
    static const char key[] = "\"eventId\":\"";
    if (s->count % 64 == 0) {
        struct kit_row *grown = realloc(s->row, (s->count + 64) * sizeof *grown);
        if (!grown)
            return false;
        s->row = grown;
    }
    struct kit_row *r = &s->row[s->count];
    *r = (struct kit_row){.json = malloc(len + 1), .json_len = len, .seq = seq};
    if (!r->json)
        return false;
    memcpy(r->json, json, len);
    r->json[len] = '\0';
    const char *id = strstr(r->json, key);
    id = id ? id + sizeof key - 1 : r->json;
    r->id = strndup(id, strcspn(id, "\" \t\r\n"));
    s->in_order = s->in_order && (s->count == 0 || seq == 0 || s->row[s->count - 1].seq < seq);
    s->count++;
    return r->id != NULL;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct kit_row *)a)->id, ((const struct kit_row *)b)->id);
}

/* ---- the query extension ---- */

#define PAGE 50

static bool row_ok(const struct aw_row *row)
{
    if (!EXPECT(row->json.len == 0 || row->json.ptr != NULL, "a row has a length and no bytes") ||
        !EXPECT(row->cursor.len <= 200, "a row's cursor has %zu bytes, more than 200", row->cursor.len))
        return false;
    for (size_t i = 0; i < row->cursor.len; i++)
        if (!EXPECT(row->cursor.ptr[i] > 0x20 && row->cursor.ptr[i] < 0x7f, "a row's cursor is not printable ASCII"))
            return false;
    return true;
}

static bool query(unsigned instance, struct kit_stored *s)
{
    struct kit_instance *i = kit_create(instance, false, false);
    if (!i)
        return false;
    const struct aw_sink_query *ext = kit_extension(i, AW_EXT_SINK_QUERY);
    struct aw_query q = {.struct_size = sizeof q, .since_ns = INT64_MIN, .until_ns = INT64_MAX};
    struct aw_row rows[PAGE];
    void *read = NULL;
    size_t n = 0;
    kit_enter(i, "query open()");
    int32_t rc = kit_leave(i, ext->open(kit_sink_of(i), &q, &read));
    bool ok = EXPECT(rc == AW_OK, "the query extension's open() returned %s: %s", kit_code_name(rc), kit_error(i));
    if (!ok) {
        kit_destroy(i);
        return false;
    }
    do {
        memset(rows, 0, sizeof rows);
        for (size_t k = 0; k < PAGE; k++)
            rows[k].struct_size = sizeof rows[k];
        kit_enter(i, "query next()");
        rc = kit_leave(i, ext->next(read, rows, PAGE, &n));
        ok = EXPECT(rc == AW_OK && n <= PAGE, "the query extension's next() returned %s and %zu rows: %s",
                    kit_code_name(rc), n, kit_error(i));
        for (size_t k = 0; ok && k < n; k++)
            ok = row_ok(&rows[k]) && add_row(s, rows[k].json.ptr, rows[k].json.len, rows[k].seq);
    } while (ok && n > 0);
    kit_enter(i, "query close()");
    ext->close(read);
    (void)kit_leave(i, AW_OK);
    kit_destroy(i);
    return ok;
}

/* ---- a command ---- */

static bool command(unsigned instance, struct kit_stored *s)
{
    char *line = kit_expand(kit.verify_command, instance), *text = NULL;
    size_t room = 0;
    ssize_t n;
    (void)setenv("AUDITWELL_CHECK_DIR", kit_dir, 1);
    kit_doing("the --verify-command");
    FILE *f = line ? popen(line, "r") : NULL;
    bool ok = EXPECT(f != NULL, "the --verify-command cannot be run: %s", strerror(errno));
    while (ok && (n = getline(&text, &room, f)) > 0) {
        if (text[n - 1] == '\n')
            text[--n] = '\0';
        if (n > 0)
            ok = add_row(s, text, (size_t)n, 0);
    }
    int status = f ? pclose(f) : -1;
    ok = ok && EXPECT(status == 0, "the --verify-command ended with status %d: %s",
                      WIFEXITED(status) ? WEXITSTATUS(status) : -1, line);
    free(text);
    free(line);
    return ok;
}

/* ---- for the checks ---- */

static bool has_query(void)
{
    struct kit_instance *i = kit_create(0, false, true);
    bool has = i && kit_extension(i, AW_EXT_SINK_QUERY) != NULL;
    kit_destroy(i);
    return has;
}

bool kit_can_read(void)
{
    if (kit.verify_command || has_query())
        return true;
    kit_not_applicable("nothing can read the store back: give --verify-command, or add the query extension");
    return false;
}

bool kit_read(unsigned instance, struct kit_stored *ret)
{
    *ret = (struct kit_stored){.in_order = true};
    bool ok = kit.verify_command ? command(instance, ret) : query(instance, ret);
    if (ret->count > 0)
        qsort(ret->row, ret->count, sizeof *ret->row, by_id);
    return ok;
}

void kit_stored_free(struct kit_stored *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->row[i].id);
        free(s->row[i].json);
    }
    free(s->row);
    *s = (struct kit_stored){NULL, 0, false};
}

static const struct kit_row *find(const struct kit_stored *s, const struct kit_event *e)
{
    struct kit_row key = {.id = (char *)(uintptr_t)e->id};
    return s->count ? bsearch(&key, s->row, s->count, sizeof *s->row, by_id) : NULL;
}

size_t kit_stored_times(const struct kit_stored *s, const struct kit_event *e)
{
    const struct kit_row *r = find(s, e);
    if (!r)
        return 0;
    size_t n = 1;
    for (const struct kit_row *p = r; p > s->row && strcmp(p[-1].id, e->id) == 0; p--)
        n++;
    for (const struct kit_row *p = r; p + 1 < s->row + s->count && strcmp(p[1].id, e->id) == 0; p++)
        n++;
    return n;
}

bool kit_stored_same(const struct kit_stored *s, const struct kit_event *e)
{
    const struct kit_row *r = find(s, e);
    return r && r->json_len == e->json_len && memcmp(r->json, e->json, e->json_len) == 0;
}

bool kit_expect_stored(const struct kit_stored *s, const struct kit_set *set, const char *after)
{
    size_t missing = 0, changed = 0, claimed = 0;
    const struct kit_event *first = NULL;
    for (size_t i = 0; i < set->count; i++) {
        const struct kit_event *e = &set->event[i];
        if (e->settled != KIT_DONE)
            continue;
        claimed++;
        bool there = kit_stored_times(s, e) > 0, same = kit.verify_command || kit_stored_same(s, e);
        missing += !there;
        changed += there && !same;
        if ((!there || !same) && !first)
            first = e;
    }
    if (missing > 0)
        kit_finding("%s: %zu of %zu events that were claimed are not in the store, the first is %s", after, missing,
                    claimed, first->id);
    if (changed > 0)
        kit_finding("%s: %zu of %zu events do not come back byte for byte, the first is %s", after, changed, claimed,
                    first->id);
    return missing + changed == 0;
}
