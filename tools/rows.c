/* rows.c - events as a table, as JSON lines or an array, or as CSV.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A table's widths come from the first rows, which are held back until there are enough of them or rows_flush() is
 * called; later rows follow those widths.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define MAX_COLUMNS 32
#define HOLD 64 /* rows that decide about widths */
#define LEAST_WIDTH 8

enum kind { KIND_FIELD, KIND_PARTY, KIND_SEQ, KIND_LOCATION, KIND_CURSOR };

struct column {
    const char *name, *path; /* path: of the field, or the object with type and id */
    char *own;               /* name and path, when they were given as a path */
    enum kind kind;
    size_t width;
};

struct rows {
    enum rows_format format;
    FILE *file; /* NULL: standard output */
    bool exact, begun;
    struct column columns[MAX_COLUMNS];
    size_t count;
    bool laid_out; /* widths are decided, the head is printed */
    size_t held;
    struct text cells[HOLD][MAX_COLUMNS]; /* raw values */
    char *buffer;                         /* for aw_json_field */
    size_t buffer_size;
    struct text t;
    uint64_t malformed;
};

static const struct {
    const char *name, *path;
    enum kind kind;
} known[] = {
    {"time", "context.occurredAt", KIND_FIELD},
    {"outcome", "outcome", KIND_FIELD},
    {"action", "action", KIND_FIELD},
    {"actor", "actor", KIND_PARTY},
    {"target", "target", KIND_PARTY},
    {"tenant", "context.tenantId", KIND_FIELD},
    {"id", "eventId", KIND_FIELD},
    {"hash", "integrity.hash", KIND_FIELD},
    {"seq", "", KIND_SEQ},
    {"location", "", KIND_LOCATION},
    {"cursor", "", KIND_CURSOR},
};

static bool add_column(struct rows *rows, const char *name, size_t len)
{
    if (len == 0 || rows->count == MAX_COLUMNS)
        return false;
    struct column *c = &rows->columns[rows->count];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == len && memcmp(known[i].name, name, len) == 0) {
            *c = (struct column){.name = known[i].name, .path = known[i].path, .kind = known[i].kind};
            rows->count++;
            return true;
        }
    c->own = cli_alloc(len + 1);
    memcpy(c->own, name, len);
    c->name = c->path = c->own;
    c->kind = KIND_FIELD;
    rows->count++;
    return true;
}

struct rows *rows_create(const struct cli_args *args, enum rows_format format, const char *columns)
{
    struct rows *rows = cli_alloc(sizeof *rows);
    rows->format = format;
    rows->buffer_size = 4096;
    rows->buffer = cli_alloc(rows->buffer_size);
    const char *at = columns ? columns : "time,outcome,action,actor,target,tenant";
    for (;;) {
        size_t len = strcspn(at, ",");
        if (!add_column(rows, at, len)) {
            (void)cli_usage(args, "--columns: '%s' has an empty name, or more than %d names", columns, MAX_COLUMNS);
            rows_destroy(rows);
            return NULL;
        }
        if (!at[len])
            return rows;
        at += len + 1;
    }
}

void rows_destroy(struct rows *rows)
{
    if (!rows)
        return;
    for (size_t i = 0; i < rows->count; i++)
        free(rows->columns[i].own);
    for (size_t r = 0; r < HOLD; r++)
        for (size_t i = 0; i < MAX_COLUMNS; i++)
            text_free(&rows->cells[r][i]);
    free(rows->buffer);
    text_free(&rows->t);
    free(rows);
}

void rows_set_file(struct rows *rows, FILE *file)
{
    rows->file = file;
}

void rows_set_exact(struct rows *rows, bool exact)
{
    rows->exact = exact;
}

/* What rows->t holds. */
static void put(struct rows *rows)
{
    if (rows->file)
        (void)fwrite(rows->t.ptr, 1, rows->t.len, rows->file); /* ferror() tells */
    else
        out_text(&rows->t);
}

uint64_t rows_malformed(const struct rows *rows)
{
    return rows->malformed;
}

/* ---- values ---- */
/* Adds a field's text; false when the event has none. */
static bool add_field(struct rows *rows, const struct aw_result_row *row, const char *path, struct text *out)
{
    int64_t n = aw_json_field(row->json, row->json_len, path, rows->buffer, rows->buffer_size);
    if (n >= 0 && (uint64_t)n >= rows->buffer_size) {
        rows->buffer_size = (size_t)n + 1;
        rows->buffer = cli_realloc(rows->buffer, rows->buffer_size);
        n = aw_json_field(row->json, row->json_len, path, rows->buffer, rows->buffer_size);
    }
    if (n < 0)
        return false;
    text_add(out, rows->buffer, (size_t)n);
    return true;
}

static void add_party(struct rows *rows, const struct aw_result_row *row, const char *object, struct text *out)
{
    char path[32];
    (void)snprintf(path, sizeof path, "%s.type", object);
    if (!add_field(rows, row, path, out))
        return;
    (void)snprintf(path, sizeof path, "%s.id", object);
    size_t before = out->len;
    text_puts(out, ":");
    if (!add_field(rows, row, path, out)) {
        out->len = before;
        out->ptr[before] = '\0';
    }
}

static void add_value(struct rows *rows, const struct aw_result_row *row, const struct column *c, struct text *out)
{
    text_reset(out);
    text_add(out, "", 0);
    switch (c->kind) {
    case KIND_FIELD:
        (void)add_field(rows, row, c->path, out); /* absent: an empty cell */
        break;
    case KIND_PARTY:
        add_party(rows, row, c->path, out);
        break;
    case KIND_SEQ:
        if (row->seq)
            text_printf(out, "%" PRIu64, row->seq);
        else
            (void)add_field(rows, row, "integrity.seq", out);
        break;
    case KIND_LOCATION:
        text_puts(out, row->location);
        break;
    case KIND_CURSOR:
        text_puts(out, row->cursor);
        break;
    }
}

/* ---- table ---- */
static void lay_out(struct rows *rows)
{
    size_t total = 0, screen = out_columns();
    for (size_t i = 0; i < rows->count; i++) {
        struct column *c = &rows->columns[i];
        text_reset(&rows->t);
        c->width = text_safe(&rows->t, c->name, strlen(c->name), out_ascii(), 0);
        for (size_t r = 0; r < rows->held; r++) {
            text_reset(&rows->t);
            size_t w = text_safe(&rows->t, rows->cells[r][i].ptr, rows->cells[r][i].len, out_ascii(), 0);
            c->width = w > c->width ? w : c->width;
        }
        total += c->width + (i ? 2 : 0);
    }
    while (screen && total > screen) { /* the widest gives way */
        struct column *widest = &rows->columns[0];
        for (size_t i = 1; i < rows->count; i++)
            if (rows->columns[i].width > widest->width)
                widest = &rows->columns[i];
        if (widest->width <= LEAST_WIDTH)
            break;
        widest->width--;
        total--;
    }
}

/* One cell with its padding. On a terminal nothing is wider than its column; elsewhere nothing is cut. */
static void put_cell(struct rows *rows, size_t i, const char *s, size_t len)
{
    const struct column *c = &rows->columns[i];
    bool last = i + 1 == rows->count;
    size_t width = text_safe(&rows->t, s, len, out_ascii(), out_terminal() && c->width ? c->width : 0);
    if (!last)
        text_printf(&rows->t, "%*s", (int)(width < c->width ? c->width - width + 2 : 2), "");
}

static void table_head(struct rows *rows)
{
    char name[64];
    text_reset(&rows->t);
    for (size_t i = 0; i < rows->count; i++) {
        size_t n = 0;
        const char *own = rows->columns[i].own;
        for (const char *s = rows->columns[i].name; *s && n < sizeof name - 1; s++)
            name[n++] = (char)(!own && *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
        put_cell(rows, i, own ? own : name, own ? strlen(own) : n);
    }
    out_color(stdout, COLOR_BOLD, rows->t.ptr);
    fputc('\n', stdout);
}

static void table_rows(struct rows *rows)
{
    if (!rows->laid_out) {
        lay_out(rows);
        table_head(rows);
        rows->laid_out = true;
    }
    for (size_t r = 0; r < rows->held; r++) {
        text_reset(&rows->t);
        for (size_t i = 0; i < rows->count; i++)
            put_cell(rows, i, rows->cells[r][i].ptr, rows->cells[r][i].len);
        text_puts(&rows->t, "\n");
        out_text(&rows->t);
    }
    rows->held = 0;
}

static void table_add(struct rows *rows, const struct aw_result_row *row)
{
    for (size_t i = 0; i < rows->count; i++)
        add_value(rows, row, &rows->columns[i], &rows->cells[rows->held][i]);
    rows->held++;
    if (rows->laid_out || rows->held == HOLD)
        table_rows(rows);
}

/* ---- CSV and JSON ---- */
static void csv_head(struct rows *rows)
{
    text_reset(&rows->t);
    for (size_t i = 0; i < rows->count; i++) {
        text_puts(&rows->t, i ? "," : "");
        text_csv(&rows->t, rows->columns[i].name, strlen(rows->columns[i].name), rows->exact);
    }
    text_puts(&rows->t, "\r\n");
    put(rows);
    rows->laid_out = true;
}

static void csv_add(struct rows *rows, const struct aw_result_row *row)
{
    struct text *cell = &rows->cells[0][0];
    if (!rows->laid_out)
        csv_head(rows);
    text_reset(&rows->t);
    for (size_t i = 0; i < rows->count; i++) {
        add_value(rows, row, &rows->columns[i], cell);
        text_puts(&rows->t, i ? "," : "");
        text_csv(&rows->t, cell->ptr, cell->len, rows->exact);
    }
    text_puts(&rows->t, "\r\n");
    put(rows);
}

static void json_add(struct rows *rows, const struct aw_result_row *row)
{
    text_reset(&rows->t);
    if (rows->format == ROWS_ARRAY)
        text_puts(&rows->t, rows->begun ? ",\n" : "[\n");
    rows->begun = true;
    if (!rows->file && out_terminal())
        text_json_safe(&rows->t, row->json, row->json_len);
    else
        text_add(&rows->t, row->json, row->json_len);
    text_puts(&rows->t, rows->format == ROWS_ARRAY ? "" : "\n");
    put(rows);
}

/* A row that is no event is told, and kept out of the output: whoever reads that could not make sense of it. */
static bool is_event(struct rows *rows, const struct aw_result_row *row)
{
    char one[2];
    if (aw_json_field(row->json, row->json_len, "eventId", one, sizeof one) != AW_ERR_INVALID_EVENT)
        return true;
    rows->malformed++;
    size_t len = row->json_len < 120 ? row->json_len : 120;
    out_error("%s: not an event: %.*s%s", row->location, (int)len, row->json, len < row->json_len ? "…" : "");
    return false;
}

void rows_add(struct rows *rows, const struct aw_result_row *row)
{
    if (!is_event(rows, row))
        return;
    if (rows->format == ROWS_JSON || rows->format == ROWS_ARRAY)
        json_add(rows, row);
    else if (rows->format == ROWS_CSV)
        csv_add(rows, row);
    else
        table_add(rows, row);
}

void rows_flush(struct rows *rows)
{
    if (rows->format == ROWS_TABLE && rows->held)
        table_rows(rows);
    if (rows->format == ROWS_CSV && !rows->laid_out)
        csv_head(rows);
}

void rows_end(struct rows *rows)
{
    rows_flush(rows);
    if (rows->format != ROWS_ARRAY)
        return;
    text_reset(&rows->t);
    text_puts(&rows->t, rows->begun ? "\n]\n" : "[]\n");
    put(rows);
}
