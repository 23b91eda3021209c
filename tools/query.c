/* query.c - auditwell query and auditwell tail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define FOLLOW_MS 200

struct job {
    const struct cli_args *args;
    const char *store_name;
    struct aw_store *store;
    struct aw_filter filter;
    struct rows *rows;
    bool follow, reverse, json_cursor;
    uint64_t limit; /* 0 = all */
    uint64_t given;
    char cursor[256]; /* of the last row given; "" = none */
};

/* A row kept to be printed the other way round. */
struct kept {
    char *json, *location, *cursor;
    size_t json_len;
    uint64_t seq;
};

static void give(struct job *job, const struct aw_result_row *row)
{
    rows_add(job->rows, row);
    job->given++;
    (void)snprintf(job->cursor, sizeof job->cursor, "%s", row->cursor);
}

/* Waits a little for more. false: nobody reads any more, or a signal came. */
static bool wait_for_more(struct job *job)
{
    rows_flush(job->rows);
    if (fflush(stdout) != 0 || out_failed())
        return false;
    struct pollfd out = {.fd = STDOUT_FILENO, .events = 0}; /* tells of a pipe without reader */
    int n = poll(&out, 1, FOLLOW_MS);
    return out_signal == 0 && !(n == 1 && (out.revents & (POLLERR | POLLNVAL)));
}

/* Reads a query to its end, or for ever. 0 or an exit code. */
static int read_rows(struct job *job, const struct aw_filter *filter)
{
    struct aw_query_handle *query;
    struct aw_result_row row = {.struct_size = sizeof row};
    int r = aw_query_open(job->store, filter, &query);
    if (r != AW_SUCCESS)
        return out_failure(job->store_name ? job->store_name : "store", r);
    uint64_t count = 0;
    while (!out_signal && !out_failed()) {
        r = aw_query_next(query, &row);
        if (r == AW_SUCCESS) {
            count++;
            give(job, &row);
        } else if (r != AW_ERR_NOTFOUND || !job->follow || (filter->limit && count >= filter->limit) ||
                   !wait_for_more(job)) {
            break;
        }
    }
    rows_flush(job->rows);
    int code = r == AW_SUCCESS || r == AW_ERR_NOTFOUND ? EXIT_GOOD : out_failure("query", r);
    aw_query_close(query);
    return code;
}

/* ---- tail ---- */
static char *copy(const char *s, size_t len)
{
    char *c = cli_alloc(len + 1);
    if (len)
        memcpy(c, s, len);
    return c;
}

static int collect(struct job *job, struct kept **ret, size_t *ret_count)
{
    struct aw_filter filter = job->filter;
    struct aw_query_handle *query;
    struct aw_result_row row = {.struct_size = sizeof row};
    size_t room = 0;
    filter.flags |= AW_FILTER_DESCENDING;
    filter.limit = job->limit ? job->limit : 1; /* -n 0: only where the end is */
    int r = aw_query_open(job->store, &filter, &query);
    if (r != AW_SUCCESS)
        return out_failure(job->store_name ? job->store_name : "store", r);
    while (!out_signal && (r = aw_query_next(query, &row)) == AW_SUCCESS) {
        if (*ret_count == room) {
            room = room ? room * 2 : 16;
            *ret = cli_realloc(*ret, room * sizeof **ret);
        }
        (*ret)[(*ret_count)++] = (struct kept){copy(row.json, row.json_len), copy(row.location, strlen(row.location)),
                                               copy(row.cursor, strlen(row.cursor)), row.json_len, row.seq};
    }
    int code = r == AW_SUCCESS || r == AW_ERR_NOTFOUND ? EXIT_GOOD : out_failure("query", r);
    aw_query_close(query);
    return code;
}

static void give_kept(struct job *job, const struct kept *k)
{
    const struct aw_result_row row = {.struct_size = sizeof row,
                                      .seq = k->seq,
                                      .json = k->json,
                                      .json_len = k->json_len,
                                      .location = k->location,
                                      .cursor = k->cursor};
    give(job, &row);
}

static int tail(struct job *job, bool none)
{
    struct kept *kept = NULL;
    size_t count = 0;
    int code = collect(job, &kept, &count);
    for (size_t i = count; i-- > 0 && code == EXIT_GOOD && !none;)
        give_kept(job, &kept[i]);
    if (count && none)
        (void)snprintf(job->cursor, sizeof job->cursor, "%s", kept[0].cursor);
    for (size_t i = 0; i < count; i++) {
        free(kept[i].json);
        free(kept[i].location);
        free(kept[i].cursor);
    }
    free(kept);
    if (code != EXIT_GOOD || !job->follow) {
        rows_flush(job->rows);
        return code;
    }
    char after[sizeof job->cursor];
    memcpy(after, job->cursor, sizeof after);
    struct aw_filter filter = job->filter;
    filter.after = after[0] ? after : NULL;
    filter.limit = 0;
    return read_rows(job, &filter);
}

/* ---- both ---- */
static void say_cursor(struct job *job)
{
    if (job->json_cursor) {
        struct text t = {0};
        text_puts(&t, "{\"nextCursor\":");
        if (job->cursor[0])
            text_json(&t, job->cursor, strlen(job->cursor));
        else
            text_puts(&t, "null");
        text_puts(&t, "}\n");
        out_text(&t);
        text_free(&t);
    } else if (job->limit && job->given >= job->limit && !job->follow && job->cursor[0]) {
        (void)fflush(stdout);
        out_error("there may be more: --after '%s'", job->cursor);
    }
}

static int parse(struct job *job, bool is_tail)
{
    const struct cli_args *args = job->args;
    const char *store = cli_value(args, 's');
    bool csv = cli_has(args, OPT_CSV);
    job->follow = cli_has(args, 'f');
    job->reverse = cli_has(args, 'R');
    job->json_cursor = cli_has(args, OPT_JSON_CURSOR);
    if (args->word_count > 1 || (store && args->word_count))
        return cli_usage(args, "one store at a time");
    if (job->follow && job->reverse)
        return cli_usage(args, "--follow and --reverse exclude each other");
    if (csv && args->json)
        return cli_usage(args, "--csv and --json exclude each other");
    if (job->json_cursor && !args->json)
        return cli_usage(args, "--json-cursor goes with --json");
    if (is_tail && cli_has(args, OPT_AFTER))
        return cli_usage(args, "--after goes with query");
    job->store_name = store ? store : args->word_count ? args->words[0] : NULL;
    job->filter = (struct aw_filter){
        .struct_size = sizeof job->filter,
        .since = cli_value(args, OPT_SINCE),
        .until = cli_value(args, OPT_UNTIL),
        .action = cli_value(args, 'a'),
        .actor = cli_value(args, OPT_ACTOR),
        .target = cli_value(args, OPT_TARGET),
        .tenant = cli_value(args, OPT_TENANT),
        .outcome = cli_value(args, 'o'),
        .text = cli_value(args, 't'),
        .after = cli_value(args, OPT_AFTER),
    };
    int r = cli_outcome(args, cli_value(args, 'o'));
    if (r == 0)
        r = cli_number(args, 'n', "limit", UINT32_MAX, &job->limit);
    if (r == 0)
        job->rows = rows_create(args,
                                args->json ? ROWS_JSON
                                : csv      ? ROWS_CSV
                                           : ROWS_TABLE,
                                cli_value(args, OPT_COLUMNS));
    return r == 0 && !job->rows ? EXIT_USAGE : r;
}

static int run(struct cli_args *args, bool is_tail)
{
    struct job job = {.args = args, .limit = is_tail ? 10 : 0};
    int code = parse(&job, is_tail);
    bool none = cli_has(args, 'n') && job.limit == 0; /* query -n 0, tail -n 0: nothing of what is there */
    if (code == 0)
        code = cli_store_open(args, job.store_name, &job.store);
    if (code == 0) {
        if (!job.store_name)
            cli_say_slots(args);
        out_reader_may_leave = job.follow;
        out_catch_signals();
        job.filter.limit = job.limit;
        if (job.reverse)
            job.filter.flags |= AW_FILTER_DESCENDING;
        if (is_tail && !job.reverse)
            code = tail(&job, none);
        else if (!none)
            code = read_rows(&job, &job.filter);
        if (code == EXIT_GOOD && rows_malformed(job.rows))
            code = EXIT_FINDINGS;
        say_cursor(&job);
    }
    rows_destroy(job.rows);
    aw_store_close(job.store);
    return code;
}

int cmd_query(struct cli_args *args)
{
    return run(args, false);
}

int cmd_tail(struct cli_args *args)
{
    return run(args, true);
}
