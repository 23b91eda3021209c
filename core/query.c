/* query.c - filters over a store's rows, in either direction.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A store may apply as much of a filter as it likes: every row is checked again here. A store that cannot read
 * backwards is read forwards, and the last rows are kept.
 */
#include "config.h"

#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/glob.h"
#include "event/event.h"
#include "plugin/registry.h"
#include "store.h"

#define CURSOR_MAX 256
#define LOCATION_MAX 512
/* What may be kept in memory to turn a forward read round. */
#define KEEP_ROWS 100000u
#define KEEP_BYTES (256u << 20)

struct kept {
    char *json; /* then location and cursor in the same block */
    size_t json_len;
    const char *location, *cursor;
    uint64_t seq;
};

struct aw_query_handle {
    struct aw_store *store;
    struct store_read *read;
    struct aw_query query;
    char *action, *actor, *target, *tenant, *outcome, *text, *after; /* copies; NULL = any */
    bool by_field;                                                   /* some filter needs the event's fields */
    uint64_t limit, given;
    const struct aw_row *rows;
    size_t count, next;
    /* rows kept to give them backwards: a ring */
    bool reversed, collected;
    struct kept *kept;
    size_t kept_max, kept_count, kept_first;
    size_t kept_bytes;
    char *scratch; /* for unescaping */
    size_t scratch_size;
    char location[LOCATION_MAX], cursor[CURSOR_MAX];
};

/* ---- the filter ---- */
static int copy_text(const char *in, char **ret, struct aw_str *ret_str)
{
    if (!in)
        return AW_SUCCESS;
    *ret = strdup(in);
    if (!*ret)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    *ret_str = base_str(*ret);
    return AW_SUCCESS;
}

int store_parse_time(const char *name, const char *text, int64_t *ret_ns)
{
    int64_t ago;
    char full[CLOCK_RFC3339_MAX];
    size_t len = strlen(text);
    if (clock_parse_rfc3339(text, len, ret_ns))
        return AW_SUCCESS;
    if (len == 10 && snprintf(full, sizeof full, "%sT00:00:00Z", text) == 20 && clock_parse_rfc3339(full, 20, ret_ns))
        return AW_SUCCESS;
    if (schema_parse_duration(text, &ago) == 0 && ago >= 0) {
        *ret_ns = (int64_t)clock_real_ns() - ago;
        return AW_SUCCESS;
    }
    return diag_problem(AW_ERR_USAGE, name,
                        "\"%.60s\" is no time: expected RFC 3339 (2026-01-02T03:04:05Z), a date (2026-01-02), or a "
                        "duration back from now (30m, 2h, 7d)",
                        text);
}

static int copy_filter(struct aw_query_handle *q, const struct aw_filter *f)
{
    int r = AW_SUCCESS, r2;
    if (f->since)
        r = store_parse_time("since", f->since, &q->query.since_ns);
    if (f->until && (r2 = store_parse_time("until", f->until, &q->query.until_ns)) != AW_SUCCESS)
        r = r2;
    if (r != AW_SUCCESS)
        return r;
    const struct {
        const char *from;
        char **copy;
        struct aw_str *str;
    } texts[] = {
        {f->action, &q->action, &q->query.action},    {f->actor, &q->actor, &q->query.actor_id},
        {f->target, &q->target, &q->query.target_id}, {f->tenant, &q->tenant, &q->query.tenant_id},
        {f->outcome, &q->outcome, &q->query.outcome}, {f->text, &q->text, &q->query.text},
        {f->after, &q->after, &q->query.after},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(texts) && r == AW_SUCCESS; i++)
        r = copy_text(texts[i].from, texts[i].copy, texts[i].str);
    q->by_field = f->since || f->until || f->action || f->actor || f->target || f->tenant || f->outcome;
    q->limit = f->limit;
    /* A store that applies the limit but not the filter would give too little. */
    q->query.limit = q->by_field || f->text ? 0 : f->limit;
    return r;
}

/* 1 match, 0 none, or AW_ERR_NOMEM. want NULL matches everything. */
static int match_field(struct aw_query_handle *q, const char *want, struct aw_str have, bool glob)
{
    if (!want)
        return 1;
    if (have.len && memchr(have.ptr, '\\', have.len)) {
        if (q->scratch_size < have.len) {
            char *bigger = realloc(q->scratch, have.len);
            if (!bigger)
                return diag_problem(AW_ERR_NOMEM, "", "out of memory");
            q->scratch = bigger;
            q->scratch_size = have.len;
        }
        have.len = event_unescape(have.ptr, have.len, q->scratch);
        have.ptr = q->scratch;
    }
    return glob ? glob_match(want, have.ptr, have.len) : base_str_eq(base_str(want), have);
}

static bool match_time(const struct aw_query_handle *q, struct aw_str occurred_at)
{
    int64_t ns;
    if (q->query.since_ns == INT64_MIN && q->query.until_ns == INT64_MAX)
        return true;
    return clock_parse_rfc3339(occurred_at.ptr, occurred_at.len, &ns) && ns >= q->query.since_ns &&
           ns < q->query.until_ns;
}

/* 1 the row is wanted, 0 it is not, or AW_ERR_NOMEM. */
static int match_row(struct aw_query_handle *q, const struct aw_row *row)
{
    struct stored_event ev;
    if (q->text && (row->json.len < strlen(q->text) ||
                    (q->text[0] && !memmem(row->json.ptr, row->json.len, q->text, strlen(q->text)))))
        return 0;
    if (!q->by_field)
        return 1;
    if (event_parse_stored(row->json.ptr, row->json.len, &ev) != AW_SUCCESS) {
        diag_reset(); /* what cannot be read has no fields, so no filter on fields wants it; verify reports it */
        return 0;
    }
    if (!match_time(q, ev.occurred_at))
        return 0;
    int r = match_field(q, q->outcome, ev.outcome, false);
    if (r == 1)
        r = match_field(q, q->action, ev.action, true);
    if (r == 1)
        r = match_field(q, q->actor, ev.actor_id, false);
    if (r == 1)
        r = match_field(q, q->target, ev.target_id, false);
    if (r == 1)
        r = match_field(q, q->tenant, ev.tenant_id, false);
    return r;
}

/* ---- forwards ---- */
/* The next row that the filter wants; AW_ERR_NOTFOUND: none now. */
static int next_match(struct aw_query_handle *q, const struct aw_row **ret)
{
    for (;;) {
        while (q->next < q->count) {
            const struct aw_row *row = &q->rows[q->next++];
            int r = match_row(q, row);
            if (r < 0)
                return r;
            if (r == 1) {
                *ret = row;
                return AW_SUCCESS;
            }
        }
        q->next = q->count = 0;
        int r = store_read_next(q->read, &q->rows, &q->count);
        if (r != AW_SUCCESS)
            return r;
        if (q->count == 0)
            return AW_ERR_NOTFOUND;
    }
}

static void copy_line(char *out, size_t size, struct aw_str in)
{
    size_t n = in.len < size - 1 ? in.len : size - 1;
    if (n)
        memcpy(out, in.ptr, n);
    out[n] = '\0';
}

static void fill(struct aw_result_row *out, uint64_t seq, const char *json, size_t json_len, const char *location,
                 const char *cursor)
{
    struct aw_result_row row = {.struct_size = out->struct_size,
                                .seq = seq,
                                .json = json,
                                .json_len = json_len,
                                .location = location,
                                .cursor = cursor};
    memcpy(out, &row, out->struct_size < sizeof row ? out->struct_size : sizeof row);
}

/* ---- backwards, for stores that cannot ---- */
static int keep_row(struct aw_query_handle *q, const struct aw_row *row)
{
    size_t location_len = row->location.len < LOCATION_MAX ? row->location.len : LOCATION_MAX - 1;
    size_t cursor_len = row->cursor.len < CURSOR_MAX ? row->cursor.len : CURSOR_MAX - 1;
    size_t size = row->json.len + location_len + cursor_len + 2;
    if (q->kept_count == q->kept_max && q->limit == 0)
        return diag_problem(AW_ERR_USAGE, store_name(q->store),
                            "this store cannot be read backwards and has more than %u matching events; give a limit",
                            KEEP_ROWS);
    struct kept *slot = &q->kept[(q->kept_first + q->kept_count) % q->kept_max];
    if (q->kept_count == q->kept_max) { /* the oldest makes room */
        q->kept_bytes -= slot->json_len;
        free(slot->json);
        slot->json = NULL;
        q->kept_first = (q->kept_first + 1) % q->kept_max;
        q->kept_count--;
    }
    if (q->kept_bytes + row->json.len > KEEP_BYTES)
        return diag_problem(
            AW_ERR_USAGE, store_name(q->store),
            "this store cannot be read backwards and the events asked for exceed %u MiB; give a smaller "
            "limit",
            KEEP_BYTES >> 20);
    slot->json = malloc(size);
    if (!slot->json)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (row->json.len)
        memcpy(slot->json, row->json.ptr, row->json.len);
    char *at = slot->json + row->json.len;
    copy_line(at, location_len + 1, row->location);
    slot->location = at;
    at += location_len + 1;
    copy_line(at, cursor_len + 1, row->cursor);
    slot->cursor = at;
    slot->json_len = row->json.len;
    slot->seq = row->seq;
    q->kept_bytes += row->json.len;
    q->kept_count++;
    return AW_SUCCESS;
}

/* Reads all there is, up to the row named by `after`. That row stands there whether or not the filter wants it. */
static int collect(struct aw_query_handle *q)
{
    q->kept_max = q->limit && q->limit < KEEP_ROWS ? (size_t)q->limit : KEEP_ROWS;
    if (q->limit > KEEP_ROWS)
        return diag_problem(AW_ERR_USAGE, store_name(q->store),
                            "this store cannot be read backwards: the limit may be %u at most", KEEP_ROWS);
    q->kept = calloc(q->kept_max, sizeof *q->kept);
    if (!q->kept)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    struct aw_str after = base_str(q->after);
    for (;;) {
        int r = store_read_next(q->read, &q->rows, &q->count);
        if (r != AW_SUCCESS)
            return r;
        if (q->count == 0)
            break;
        for (size_t i = 0; i < q->count; i++) {
            if (q->after && base_str_eq(q->rows[i].cursor, after))
                return AW_SUCCESS;
            r = match_row(q, &q->rows[i]);
            if (r == 1)
                r = keep_row(q, &q->rows[i]);
            if (r < 0)
                return r;
        }
    }
    if (q->after)
        return diag_problem(AW_ERR_NOTFOUND, "after", "no event of this store has the cursor \"%s\"", q->after);
    return AW_SUCCESS;
}

static int next_reversed(struct aw_query_handle *q, struct aw_result_row *row)
{
    if (!q->collected) {
        int r = collect(q);
        if (r != AW_SUCCESS)
            return r;
        q->collected = true;
    }
    if (q->kept_count == 0)
        return AW_ERR_NOTFOUND;
    q->kept_count--;
    const struct kept *k = &q->kept[(q->kept_first + q->kept_count) % q->kept_max];
    fill(row, k->seq, k->json, k->json_len, k->location, k->cursor);
    return AW_SUCCESS;
}

/* ---- the public calls ---- */
static int start_read(struct aw_query_handle *q, bool descending)
{
    int unsupported = 0;
    if (!descending)
        return store_read_open(q->store, &q->query, NULL, &q->read);
    q->query.flags |= AW_QUERY_DESCENDING;
    int r = store_read_open(q->store, &q->query, &unsupported, &q->read);
    if (!unsupported)
        return r;
    q->query.flags &= ~AW_QUERY_DESCENDING;
    q->query.limit = 0;
    q->query.after = (struct aw_str){NULL, 0}; /* the rows before it are the ones wanted */
    q->reversed = true;
    return store_read_open(q->store, &q->query, NULL, &q->read);
}

int aw_query_open(struct aw_store *store, const struct aw_filter *filter, struct aw_query_handle **ret_query)
{
    diag_reset();
    if (!store || !filter || !ret_query || filter->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_query_open: store, filter or ret_query is missing");
    struct aw_filter f = {0};
    memcpy(&f, filter, filter->struct_size < sizeof f ? filter->struct_size : sizeof f);
    if (f.flags & ~AW_FILTER_DESCENDING)
        return diag_problem(AW_ERR_USAGE, "flags", "unknown flags 0x%x", f.flags & ~AW_FILTER_DESCENDING);
    struct aw_query_handle *q = calloc(1, sizeof *q);
    if (!q)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    q->store = store;
    store_query_init(&q->query);
    int r = copy_filter(q, &f);
    if (r == AW_SUCCESS)
        r = start_read(q, f.flags & AW_FILTER_DESCENDING);
    if (r != AW_SUCCESS) {
        aw_query_close(q);
        return r;
    }
    *ret_query = q;
    return AW_SUCCESS;
}

int aw_query_next(struct aw_query_handle *query, struct aw_result_row *row)
{
    const struct aw_row *found;
    diag_reset();
    if (!query || !row || row->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_query_next: query or row is missing");
    if (query->limit && query->given >= query->limit)
        return AW_ERR_NOTFOUND;
    int r;
    if (query->reversed) {
        r = next_reversed(query, row);
    } else {
        r = next_match(query, &found);
        if (r == AW_SUCCESS) {
            copy_line(query->location, sizeof query->location, found->location);
            copy_line(query->cursor, sizeof query->cursor, found->cursor);
            fill(row, found->seq, found->json.ptr, found->json.len, query->location, query->cursor);
        }
    }
    if (r == AW_SUCCESS)
        query->given++;
    return r;
}

void aw_query_close(struct aw_query_handle *query)
{
    if (!query)
        return;
    store_read_close(query->read);
    for (size_t i = 0; query->kept && i < query->kept_max; i++)
        free(query->kept[i].json);
    free(query->kept);
    char *const texts[] = {query->action,  query->actor, query->target, query->tenant,
                           query->outcome, query->text,  query->after,  query->scratch};
    for (size_t i = 0; i < AW_ARRAY_LEN(texts); i++)
        free(texts[i]);
    free(query);
}
