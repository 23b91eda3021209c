/* export.c - auditwell export: events of a store as a file for others.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A file is written beside its name and renamed when it is whole and on disk; an interruption leaves what there is,
 * whole up to a cursor, in FILE.part.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define COLUMNS                                                                                                        \
    "eventId,context.occurredAt,action,outcome,actor.type,actor.id,actor.displayName,actor.roles,actor.ip,"            \
    "actor.userAgent,target.type,target.id,target.displayName,context.tenantId,context.orgId,context.requestId,"       \
    "context.traceId,context.sessionId,context.environment,context.sourceService,context.sourceHost,metadata,diff,"    \
    "retentionTag,integrity.seq,integrity.hash,integrity.prevHash"

struct job {
    const struct cli_args *args;
    const char *store_name, *path, *tenant;
    struct aw_store *store;
    struct aw_filter filter;
    struct rows *rows;
    struct text temporary;
    FILE *file; /* NULL: standard output */
    struct progress progress;
    uint64_t limit, given, bytes;
    char cursor[256];
    bool strict;
    char *tenant_found; /* buffer */
    size_t tenant_size;
};

/* ---- the file ---- */

static int cannot_write(const char *path, int error)
{
    out_error("%s: cannot be written: %s", path, strerror(error));
    return EXIT_UNREADABLE;
}

static int file_open(struct job *job)
{
    if (!job->path)
        return 0;
    text_printf(&job->temporary, "%s.%ld.tmp", job->path, (long)getpid());
    int fd = open(job->temporary.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        job->file = fdopen(fd, "w");
    if (job->file) {
        rows_set_file(job->rows, job->file);
        return 0;
    }
    int error = errno;
    if (fd >= 0)
        (void)close(fd); /* empty */
    return cannot_write(job->temporary.ptr, error);
}

static int sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct text dir = {0};
    text_add(&dir, slash ? path : ".", slash == path ? 1 : slash ? (size_t)(slash - path) : 1);
    int fd = open(dir.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    if (fd < 0 && errno != EACCES) /* may be used and not read: nobody can sync it */
        r = errno;
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
        r = errno;
    if (fd >= 0)
        (void)close(fd); /* only read */
    text_free(&dir);
    return r;
}

/* Everything on disk under its name; suffix "" or ".part". 0 or an exit code. */
static int file_keep(struct job *job, const char *suffix)
{
    struct text to = {0};
    bool good = fflush(job->file) == 0 && !ferror(job->file) && fsync(fileno(job->file)) == 0;
    int error = errno;
    if (fclose(job->file) != 0 && good) {
        good = false;
        error = errno;
    }
    job->file = NULL;
    text_printf(&to, "%s%s", job->path, suffix);
    if (good && rename(job->temporary.ptr, to.ptr) != 0) {
        good = false;
        error = errno;
    }
    if (good && (error = sync_directory(to.ptr)) != 0) {
        text_free(&to);
        return cannot_write(job->path, error);
    }
    if (!good)
        (void)unlink(job->temporary.ptr);
    text_free(&to);
    return good ? 0 : cannot_write(job->path, error);
}

static void file_drop(struct job *job)
{
    if (!job->file)
        return;
    (void)fclose(job->file); /* it goes */
    (void)unlink(job->temporary.ptr);
    job->file = NULL;
}

/* ---- rows ---- */

/* --tenant-strict: the store was asked for one tenant; nothing else may come out, whatever it answers. */
static bool is_foreign(struct job *job, const struct aw_result_row *row)
{
    if (!job->strict)
        return false;
    int64_t n = aw_json_field(row->json, row->json_len, "context.tenantId", job->tenant_found, job->tenant_size);
    return n < 0 || (size_t)n != strlen(job->tenant) || memcmp(job->tenant_found, job->tenant, (size_t)n) != 0;
}

static bool failed(const struct job *job)
{
    return job->file ? ferror(job->file) != 0 : out_failed();
}

static int foreign(struct job *job, const struct aw_result_row *row)
{
    out_error("%s: is not an event of tenant %s: nothing was exported", row->location, job->tenant);
    return EXIT_FINDINGS;
}

static int read_rows(struct job *job)
{
    struct aw_query_handle *query;
    struct aw_result_row row = {.struct_size = sizeof row};
    int code = EXIT_GOOD, r = aw_query_open(job->store, &job->filter, &query);
    if (r != AW_SUCCESS)
        return out_failure(job->store_name ? job->store_name : "store", r);
    progress_start(&job->progress, "events", 0, !job->path);
    while (!out_signal && !failed(job) && code == EXIT_GOOD && (r = aw_query_next(query, &row)) == AW_SUCCESS) {
        if (is_foreign(job, &row)) {
            code = foreign(job, &row);
            break;
        }
        rows_add(job->rows, &row);
        job->given++;
        job->bytes += row.json_len;
        (void)snprintf(job->cursor, sizeof job->cursor, "%s", row.cursor);
        progress_update(&job->progress, job->given, 0);
    }
    rows_end(job->rows);
    progress_clear();
    if (r != AW_SUCCESS && r != AW_ERR_NOTFOUND)
        code = out_failure("export", r);
    aw_query_close(query);
    return code;
}

/* ---- what is said at the end ---- */

static void say_json(const struct job *job, const char *suffix)
{
    struct text t = {0}, name = {0};
    text_printf(&name, "%s%s", job->path, suffix);
    text_puts(&t, "{\"file\":");
    text_json(&t, name.ptr, name.len);
    text_printf(&t, ",\"events\":%" PRIu64 ",\"whole\":%s,\"nextCursor\":", job->given, *suffix ? "false" : "true");
    if (job->cursor[0])
        text_json(&t, job->cursor, strlen(job->cursor));
    else
        text_puts(&t, "null");
    text_puts(&t, "}\n");
    out_text(&t);
    text_free(&t);
    text_free(&name);
}

static void say_end(const struct job *job, const char *suffix)
{
    const char *after = job->cursor[0] ? "; go on behind it with --after " : "";
    if (job->args->json && job->path)
        say_json(job, suffix);
    else if (*suffix)
        out_error("interrupted: %" PRIu64 " events are in %s%s%s%s", job->given, job->path, suffix, after, job->cursor);
    else if (!job->path && out_signal)
        out_error("interrupted after %" PRIu64 " events%s%s", job->given, after, job->cursor);
    else if (!cli_has(job->args, 'q') && (job->path || (job->limit && job->given >= job->limit)))
        out_error("%" PRIu64 " event%s exported%s%s%s%s", job->given, job->given == 1 ? "" : "s",
                  job->path ? " to " : "", job->path ? job->path : "", after, job->cursor);
}

static int export(struct job *job)
{
    int code = file_open(job);
    if (code != 0)
        return code;
    code = read_rows(job);
    if (code != EXIT_GOOD) {
        file_drop(job);
        return code;
    }
    const char *suffix = out_signal && job->path ? ".part" : "";
    if (job->file)
        code = file_keep(job, suffix);
    if (code != EXIT_GOOD)
        return code;
    say_end(job, suffix);
    if (out_signal)
        return EXIT_UNREADABLE;
    return rows_malformed(job->rows) ? EXIT_FINDINGS : EXIT_GOOD;
}

/* ---- arguments ---- */

static int parse_format(struct job *job)
{
    static const struct {
        const char *name;
        enum rows_format format;
    } formats[] = {{"jsonl", ROWS_JSON}, {"json", ROWS_ARRAY}, {"csv", ROWS_CSV}};
    const char *word = cli_value(job->args, 'f'), *columns = cli_value(job->args, OPT_COLUMNS);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(word ? word : "jsonl", formats[i].name) != 0)
            continue;
        bool csv = formats[i].format == ROWS_CSV;
        if (!csv && (columns || cli_has(job->args, OPT_SPREADSHEET)))
            return cli_usage(job->args, "--columns and --spreadsheet go with --format csv");
        job->rows = rows_create(job->args, formats[i].format, columns ? columns : COLUMNS);
        if (!job->rows)
            return EXIT_USAGE;
        rows_set_exact(job->rows, !cli_has(job->args, OPT_SPREADSHEET));
        return 0;
    }
    return cli_usage(job->args, "--format: '%s' is none of json, jsonl, csv", word);
}

static size_t count_given(const struct cli_args *args, int id)
{
    size_t n = 0;
    for (size_t i = 0; i < args->given_count; i++)
        n += args->given[i].id == id;
    return n;
}

static int parse(struct job *job)
{
    const struct cli_args *args = job->args;
    const char *sink = cli_value(args, OPT_SINK);
    if (args->word_count > 1 || (sink && args->word_count))
        return cli_usage(args, "one store at a time");
    job->path = cli_value(args, 'o');
    job->tenant = cli_value(args, OPT_TENANT);
    job->strict = cli_has(args, OPT_TENANT_STRICT);
    if (job->strict && (count_given(args, OPT_TENANT) != 1 || !job->tenant[0]))
        return cli_usage(args, "--tenant-strict needs exactly one --tenant ID");
    if (args->json && !job->path)
        return cli_usage(args, "--json tells of a file, and goes with -o; the events' own form is --format");
    job->store_name = sink ? sink : args->word_count ? args->words[0] : NULL;
    job->filter = (struct aw_filter){
        .struct_size = sizeof job->filter,
        .since = cli_value(args, OPT_SINCE),
        .until = cli_value(args, OPT_UNTIL),
        .action = cli_value(args, 'a'),
        .actor = cli_value(args, OPT_ACTOR),
        .target = cli_value(args, OPT_TARGET),
        .tenant = job->tenant,
        .outcome = cli_value(args, OPT_OUTCOME),
        .text = cli_value(args, 't'),
        .after = cli_value(args, OPT_AFTER),
    };
    int r = cli_outcome(args, job->filter.outcome);
    if (r == 0)
        r = cli_number(args, 'n', "limit", UINT32_MAX, &job->limit);
    job->filter.limit = job->limit;
    if (job->strict) { /* one byte more than what can be equal */
        job->tenant_size = strlen(job->tenant) + 2;
        job->tenant_found = cli_alloc(job->tenant_size);
    }
    return r == 0 ? parse_format(job) : r;
}

int cmd_export(struct cli_args *args)
{
    struct job job = {.args = args};
    int code = parse(&job);
    if (code == 0)
        code = cli_store_open(args, job.store_name, &job.store);
    if (code == 0) {
        if (!job.store_name)
            cli_say_slots(args);
        out_catch_signals();
        code = export(&job);
    }
    rows_destroy(job.rows);
    aw_store_close(job.store);
    text_free(&job.temporary);
    free(job.tenant_found);
    return code;
}
