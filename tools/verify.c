/* verify.c - auditwell verify: the hash chains of one or more stores.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

struct job {
    const struct cli_args *args;
    bool json, quiet;
    const char *store;
    uint64_t threads, max_findings;
    struct text expect; /* "SCOPE=HASH,…" */
    FILE *heads;
    bool any_finding, any_scope; /* of this store: JSON commas, table head */
    struct progress progress;
    struct text t;
};

static const char *kind_name(int kind)
{
    switch (kind) {
    case AW_FINDING_EDITED:
        return "edited";
    case AW_FINDING_HOLE:
        return "hole";
    case AW_FINDING_REORDERED:
        return "reordered";
    case AW_FINDING_INSERTED:
        return "inserted";
    case AW_FINDING_DUPLICATE:
        return "duplicate";
    case AW_FINDING_FOREIGN:
        return "foreign";
    case AW_FINDING_UNSEALED:
        return "unsealed";
    case AW_FINDING_MALFORMED:
        return "malformed";
    case AW_FINDING_TRUNCATED:
        return "truncated";
    case AW_FINDING_MISSING:
        return "missing";
    case AW_FINDING_UNREADABLE:
        return "unreadable";
    default:
        return "finding";
    }
}

static void json_text(struct text *t, const char *name, const char *value)
{
    text_printf(t, "%s\"%s\":", t->ptr[t->len - 1] == '{' ? "" : ",", name);
    text_json(t, value ? value : "", value ? strlen(value) : 0);
}

static void safe(struct text *t, const char *s)
{
    (void)text_safe(t, s ? s : "", s ? strlen(s) : 0, out_ascii(), 0);
}

/* ---- callbacks ---- */
static void finding_json(struct job *job, const struct aw_finding *f)
{
    struct text *t = &job->t;
    text_reset(t);
    text_puts(t, job->any_finding ? ",{" : "{");
    json_text(t, "kind", kind_name(f->kind));
    json_text(t, "scope", f->scope);
    json_text(t, "location", f->location);
    json_text(t, "eventId", f->event_id);
    json_text(t, "expected", f->expected);
    json_text(t, "found", f->found);
    json_text(t, "message", f->message);
    text_puts(t, "}");
    out_text(t);
}

static void finding_text(struct job *job, const struct aw_finding *f)
{
    struct text *t = &job->t;
    text_reset(t);
    safe(t, f->location[0] ? f->location : job->store);
    text_printf(t, ": %s: ", kind_name(f->kind));
    safe(t, f->message);
    text_puts(t, "\n");
    const struct {
        const char *label, *value;
    } lines[] = {{"scope", f->scope}, {"event", f->event_id}, {"expected", f->expected}, {"found", f->found}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!lines[i].value || !lines[i].value[0])
            continue;
        text_printf(t, "    %-9s ", lines[i].label);
        safe(t, lines[i].value);
        text_puts(t, "\n");
    }
    progress_clear();
    out_text(t);
}

static void on_finding(void *arg, const struct aw_finding *finding)
{
    struct job *job = arg;
    if (job->json)
        finding_json(job, finding);
    else if (!job->quiet)
        finding_text(job, finding);
    job->any_finding = true;
}

static void scope_json(struct job *job, const struct aw_scope_report *s)
{
    struct text *t = &job->t;
    text_reset(t);
    text_puts(t, job->any_scope ? ",{" : "],\"scopes\":[{");
    json_text(t, "scope", s->scope);
    json_text(t, "verdict", s->verdict ? "findings" : "good");
    text_printf(t, ",\"count\":%" PRIu64 ",\"findings\":%" PRIu64, s->count, s->findings);
    json_text(t, "firstTime", s->first_time);
    json_text(t, "lastTime", s->last_time);
    json_text(t, "firstLocation", s->first_location);
    json_text(t, "lastLocation", s->last_location);
    json_text(t, "firstHash", s->first_hash);
    json_text(t, "lastHash", s->last_hash);
    text_printf(t, ",\"firstSeq\":%" PRIu64 ",\"lastSeq\":%" PRIu64 ",\"startsAtOrigin\":%s}", s->first_seq,
                s->last_seq, s->starts_at_origin ? "true" : "false");
    out_text(t);
}

static void scope_text(struct job *job, const struct aw_scope_report *s)
{
    struct text *t = &job->t;
    progress_clear();
    if (!job->any_scope)
        out_color(stdout, COLOR_BOLD,
                  "VERDICT         COUNT  FIRST                     LAST                      SCOPE\n");
    out_color(stdout, s->verdict ? COLOR_BAD : COLOR_GOOD, s->verdict ? "findings" : "good    ");
    text_reset(t);
    text_printf(t, " %12" PRIu64 "  ", s->count);
    for (int i = 0; i < 2; i++) {
        const char *time = i == 0 ? s->first_time : s->last_time;
        size_t width = text_safe(t, time ? time : "", time ? strlen(time) : 0, out_ascii(), 24);
        text_printf(t, "%*s", (int)(26 - width), "");
    }
    safe(t, s->scope);
    text_puts(t, s->starts_at_origin ? "\n" : "  (begins in mid-chain)\n");
    out_text(t);
}

static void write_head(struct job *job, const struct aw_scope_report *s)
{
    if (!s->last_hash || !s->last_hash[0])
        return;
    if (strpbrk(s->scope, "\r\n,")) {
        out_error("--heads: scope \"%s\" cannot stand in the file (it holds a comma or a line end)", s->scope);
        return;
    }
    fprintf(job->heads, "%s=%s\n", s->scope, s->last_hash); /* errors are seen when it is closed */
}

static void on_scope(void *arg, const struct aw_scope_report *scope)
{
    struct job *job = arg;
    if (job->heads)
        write_head(job, scope);
    if (job->json)
        scope_json(job, scope);
    else if (!job->quiet)
        scope_text(job, scope);
    job->any_scope = true;
}

static void on_progress(void *arg, uint64_t events, uint64_t bytes, uint64_t bytes_total)
{
    struct job *job = arg;
    job->progress.total_bytes = bytes_total;
    progress_update(&job->progress, events, bytes);
}

/* ---- one store ---- */
static void verdict_text(struct job *job, const struct aw_verify_report *r)
{
    struct text *t = &job->t;
    text_reset(t);
    progress_clear();
    out_safe(stdout, job->store);
    fputs(": ", stdout);
    out_color(stdout, r->verdict ? COLOR_BAD : COLOR_GOOD, r->verdict ? "FINDINGS" : "good");
    if (r->verdict)
        text_printf(t, ": %" PRIu64 " finding%s in", r->findings, r->findings == 1 ? "" : "s");
    else
        text_puts(t, ":");
    text_printf(t, " %" PRIu64 " event%s of %" PRIu64 " chain%s", r->events, r->events == 1 ? "" : "s", r->scopes,
                r->scopes == 1 ? "" : "s");
    if (r->last_seq)
        text_printf(t, ", seq %" PRIu64 " to %" PRIu64, r->first_seq, r->last_seq);
    text_puts(t, "\n");
    out_text(t);
}

static void store_json_end(struct job *job, const struct aw_verify_report *r, const char *error)
{
    struct text *t = &job->t;
    text_reset(t);
    text_puts(t, job->any_scope ? "]" : "],\"scopes\":[]");
    if (error) {
        text_puts(t, ",\"verdict\":\"unreadable\"");
        json_text(t, "error", error);
    } else {
        text_printf(t,
                    ",\"verdict\":\"%s\",\"events\":%" PRIu64 ",\"chains\":%" PRIu64 ",\"findingCount\":%" PRIu64
                    ",\"bytes\":%" PRIu64 ",\"firstSeq\":%" PRIu64 ",\"lastSeq\":%" PRIu64,
                    r->verdict ? "findings" : "good", r->events, r->scopes, r->findings, r->bytes, r->first_seq,
                    r->last_seq);
    }
    text_puts(t, "}");
    out_text(t);
}

static const char *first_problem(int code)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    return count ? problems[0]->message : aw_error_name(code);
}

static uint32_t verify_flags(const struct cli_args *args)
{
    return (cli_has(args, OPT_COMPLETE) ? AW_VERIFY_COMPLETE : 0) |
           (cli_has(args, OPT_PARTIAL) ? AW_VERIFY_PARTIAL : 0);
}

static int verify_opened(struct job *job, struct aw_store *store, struct aw_verify_report *report)
{
    const struct aw_verify_options options = {
        .struct_size = sizeof options,
        .flags = verify_flags(job->args),
        .threads = (uint32_t)job->threads,
        .max_findings = job->max_findings,
        .on_finding = on_finding,
        .on_scope = on_scope,
        .on_progress = on_progress,
        .arg = job,
        .expect_head = job->expect.len ? job->expect.ptr : NULL,
    };
    progress_start(&job->progress, "events", 0, false);
    int r = aw_verify(store, &options, report);
    progress_clear();
    return r;
}

static int verify_store(struct job *job, const char *name, bool first)
{
    struct aw_verify_report report = {.struct_size = sizeof report};
    struct aw_store *store = NULL;
    struct aw_store_options options = {.struct_size = sizeof options, .config_path = job->args->config, .store = name};
    job->store = name ? name : "trail";
    job->any_finding = job->any_scope = false;
    text_reset(&job->t);
    if (job->json) {
        text_puts(&job->t, first ? "{" : ",{");
        json_text(&job->t, "store", job->store);
        text_puts(&job->t, ",\"findings\":[");
        out_text(&job->t);
    }
    int r = aw_store_open(&options, &store);
    if (r == AW_SUCCESS)
        r = verify_opened(job, store, &report);
    int code = report.verdict ? EXIT_FINDINGS : EXIT_GOOD;
    if (r != AW_SUCCESS) {
        code = out_failure(job->store, r);
        if (job->json)
            store_json_end(job, &report, first_problem(r));
    } else if (job->json) {
        store_json_end(job, &report, NULL);
    } else {
        verdict_text(job, &report);
    }
    aw_store_close(store);
    return code;
}

/* ---- arguments ---- */
static int add_expected(struct job *job, const char *s, size_t len, const char *where)
{
    const char *equals = memrchr(s, '=', len);
    size_t hash = equals ? (size_t)(s + len - equals - 1) : 0;
    if (!equals || equals == s || hash != 64 || strspn(equals + 1, "0123456789abcdef") < 64)
        return cli_usage(job->args, "%s: '%.*s' is not SCOPE=HASH (a hash is 64 lower-case hex digits)", where,
                         (int)len, s);
    text_add(&job->expect, ",", job->expect.len ? 1 : 0);
    text_add(&job->expect, s, len);
    return 0;
}

static int add_expect_file(struct job *job, const char *path)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int r = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        out_error("%s: cannot be read: %s", path, strerror(errno));
        return EXIT_UNREADABLE;
    }
    while (r == 0 && (n = getline(&line, &size, file)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        if (n > 0 && line[0] != '#')
            r = add_expected(job, line, (size_t)n, path);
    }
    if (r == 0 && ferror(file)) {
        out_error("%s: cannot be read: %s", path, strerror(errno));
        r = EXIT_UNREADABLE;
    }
    free(line);
    (void)fclose(file); /* only read from */
    return r;
}

static int parse(struct job *job)
{
    const struct cli_args *args = job->args;
    int r = cli_number(args, 't', "threads", 1024, &job->threads);
    if (r == 0)
        r = cli_number(args, OPT_MAX_FINDINGS, "max-findings", UINT64_MAX, &job->max_findings);
    if (r == 0 && cli_has(args, OPT_COMPLETE) && cli_has(args, OPT_PARTIAL))
        r = cli_usage(args, "--complete and --partial exclude each other");
    for (size_t i = 0; i < args->given_count && r == 0; i++) {
        if (args->given[i].id == OPT_EXPECT)
            r = add_expected(job, args->given[i].value, strlen(args->given[i].value), "--expect");
        else if (args->given[i].id == OPT_EXPECT_FILE)
            r = add_expect_file(job, args->given[i].value);
    }
    return r;
}

/* The heads go to a temporary file first: a failed run leaves the old ones as they were. */
static int heads_open(struct job *job, struct text *temporary)
{
    const char *path = cli_value(job->args, OPT_HEADS);
    if (!path)
        return 0;
    text_printf(temporary, "%s.%ld.tmp", path, (long)getpid());
    int fd = open(temporary->ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        job->heads = fdopen(fd, "w");
    if (job->heads)
        return 0;
    out_error("%s: cannot be written: %s", temporary->ptr, strerror(errno));
    if (fd >= 0)
        (void)close(fd); /* empty */
    return EXIT_UNREADABLE;
}

static int heads_close(struct job *job, const struct text *temporary, int code)
{
    const char *path = cli_value(job->args, OPT_HEADS);
    if (!job->heads)
        return code;
    bool good = fflush(job->heads) == 0 && !ferror(job->heads) && fsync(fileno(job->heads)) == 0;
    int error = errno;
    if (fclose(job->heads) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && code == EXIT_GOOD && rename(temporary->ptr, path) != 0) {
        good = false;
        error = errno;
    }
    if (!good || code != EXIT_GOOD)
        (void)unlink(temporary->ptr);
    if (good && code != EXIT_GOOD)
        out_error("%s: not written, since the trail is not good", path);
    if (good)
        return code;
    out_error("%s: cannot be written: %s", path, strerror(error));
    return EXIT_UNREADABLE;
}

int cmd_verify(struct cli_args *args)
{
    struct job job = {.args = args, .json = args->json, .quiet = cli_has(args, 'q')};
    struct text temporary = {0};
    int code = parse(&job);
    if (code == 0)
        code = heads_open(&job, &temporary);
    if (code == 0) {
        if (job.json)
            fputs("{\"stores\":[", stdout);
        size_t count = args->word_count ? args->word_count : 1;
        for (size_t i = 0; i < count; i++) {
            int one = verify_store(&job, args->word_count ? args->words[i] : NULL, i == 0);
            code = one > code ? one : code;
        }
        if (job.json)
            printf("],\"verdict\":\"%s\"}\n", code == EXIT_GOOD       ? "good"
                                              : code == EXIT_FINDINGS ? "findings"
                                                                      : "unreadable");
        code = heads_close(&job, &temporary, code);
    }
    text_free(&temporary);
    text_free(&job.expect);
    text_free(&job.t);
    return code;
}
