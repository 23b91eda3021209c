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
#include <time.h>
#include <unistd.h>

#include "cli.h"

struct job {
    const struct cli_args *args;
    bool json, quiet;
    const char *store;
    uint64_t threads, max_findings;
    const char **keys; /* --key */
    size_t key_count;
    char **expect; /* "SCOPE=HASH", as given */
    size_t expect_count;
    struct text expect_now; /* those of the store at hand, "SCOPE=HASH,…" */
    uint32_t *slots;        /* besides slot 0 */
    size_t slot_count;
    bool all_slots;
    FILE *heads;
    bool views;                  /* of some store content was not verified */
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
    case AW_FINDING_VIEW:
        return "view";
    default:
        return "finding";
    }
}

static const char *verdict_name(int32_t verdict)
{
    return verdict == AW_VERDICT_GOOD ? "good" : verdict == AW_VERDICT_VIEW ? "view" : "findings";
}

static const char *verdict_color(int32_t verdict)
{
    return verdict == AW_VERDICT_GOOD ? COLOR_GOOD : verdict == AW_VERDICT_VIEW ? COLOR_BOLD : COLOR_BAD;
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
    json_text(t, "verdict", verdict_name(s->verdict));
    text_printf(t, ",\"count\":%" PRIu64 ",\"findings\":%" PRIu64, s->count, s->findings);
    json_text(t, "firstTime", s->first_time);
    json_text(t, "lastTime", s->last_time);
    json_text(t, "firstLocation", s->first_location);
    json_text(t, "lastLocation", s->last_location);
    json_text(t, "firstHash", s->first_hash);
    json_text(t, "lastHash", s->last_hash);
    text_printf(t, ",\"firstSeq\":%" PRIu64 ",\"lastSeq\":%" PRIu64 ",\"startsAtOrigin\":%s", s->first_seq, s->last_seq,
                s->starts_at_origin ? "true" : "false");
    if (s->views)
        text_printf(t, ",\"views\":%" PRIu64 ",\"byReference\":%" PRIu64 ",\"viewFields\":%" PRIu64, s->views,
                    s->by_reference, s->view_fields);
    text_puts(t, "}");
    out_text(t);
}

static void scope_text(struct job *job, const struct aw_scope_report *s)
{
    struct text *t = &job->t;
    progress_clear();
    if (!job->any_scope)
        out_color(stdout, COLOR_BOLD,
                  "VERDICT         COUNT  FIRST                     LAST                      SCOPE\n");
    const char *verdict = verdict_name(s->verdict);
    out_color(stdout, verdict_color(s->verdict), verdict);
    text_reset(t);
    text_printf(t, "%*s %12" PRIu64 "  ", (int)(8 - strlen(verdict)), "", s->count);
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
static void put_time(struct text *t, int64_t ns)
{
    char text[40] = "?";
    struct tm tm;
    time_t seconds = (time_t)(ns / 1000000000);
    if (gmtime_r(&seconds, &tm))
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    text_puts(t, text);
}

static void verdict_text(struct job *job, const struct aw_verify_report *r)
{
    struct text *t = &job->t;
    text_reset(t);
    progress_clear();
    out_safe(stdout, job->store);
    fputs(": ", stdout);
    out_color(stdout, verdict_color(r->verdict),
              r->verdict == AW_VERDICT_FINDINGS ? "FINDINGS" : verdict_name(r->verdict));
    if (r->verdict == AW_VERDICT_FINDINGS)
        text_printf(t, ": %" PRIu64 " finding%s in", r->findings, r->findings == 1 ? "" : "s");
    else if (r->verdict == AW_VERDICT_VIEW)
        text_puts(t, ": order and identity verified, content by reference:");
    else
        text_puts(t, ":");
    text_printf(t, " %" PRIu64 " event%s of %" PRIu64 " chain%s", r->events, r->events == 1 ? "" : "s", r->scopes,
                r->scopes == 1 ? "" : "s");
    if (r->last_seq)
        text_printf(t, ", seq %" PRIu64 " to %" PRIu64, r->first_seq, r->last_seq);
    if (r->views)
        text_printf(t, ", %" PRIu64 " view%s with %" PRIu64 " changed field%s", r->views, r->views == 1 ? "" : "s",
                    r->view_fields, r->view_fields == 1 ? "" : "s");
    if (cli_has(job->args, OPT_AGAINST))
        text_printf(t, ", %" PRIu64 " compared", r->compared);
    if (r->replayed) {
        text_printf(t, ", %" PRIu64 " replayed dead letter%s of sink \"", r->replayed, r->replayed == 1 ? "" : "s");
        safe(t, r->replayed_sink);
        text_puts(t, "\"");
    }
    if (r->by_form)
        text_printf(t, ", %" PRIu64 " pseudonym%s by form only, for lack of the key", r->by_form,
                    r->by_form == 1 ? "" : "s");
    text_puts(t, "\n");
    if (r->removed_record[0]) {
        text_printf(t, "  begins at seq %" PRIu64 ": %" PRIu64 " event%s of before ", r->first_seq, r->removed,
                    r->removed == 1 ? "" : "s");
        put_time(t, r->removed_before_ns);
        text_puts(t, " were removed from sink \"");
        safe(t, r->removed_sink);
        text_puts(t, "\", as the sealed record at ");
        safe(t, r->removed_record);
        text_puts(t, " says\n");
    }
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
                    verdict_name(r->verdict), r->events, r->scopes, r->findings, r->bytes, r->first_seq, r->last_seq);
        if (r->views)
            text_printf(t, ",\"views\":%" PRIu64 ",\"byReference\":%" PRIu64 ",\"viewFields\":%" PRIu64, r->views,
                        r->by_reference, r->view_fields);
        if (cli_has(job->args, OPT_AGAINST))
            text_printf(t, ",\"compared\":%" PRIu64 ",\"byForm\":%" PRIu64, r->compared, r->by_form);
        if (r->replayed) {
            text_printf(t, ",\"replayed\":%" PRIu64, r->replayed);
            json_text(t, "replayedSink", r->replayed_sink);
        }
        if (r->removed_record[0]) {
            text_printf(t, ",\"removed\":%" PRIu64 ",\"removedBefore\":\"", r->removed);
            put_time(t, r->removed_before_ns);
            text_puts(t, "\"");
            json_text(t, "removedSink", r->removed_sink);
            json_text(t, "removedRecord", r->removed_record);
        }
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
           (cli_has(args, OPT_PARTIAL) ? AW_VERIFY_PARTIAL : 0) |
           (cli_has(args, OPT_MIDCHAIN) ? AW_VERIFY_MIDCHAIN : 0) | (cli_has(args, OPT_VIEWS) ? AW_VERIFY_VIEWS : 0);
}

static int verify_opened(struct job *job, struct aw_store *store, struct aw_store *against,
                         struct aw_verify_report *report)
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
        .expect_head = job->expect_now.len ? job->expect_now.ptr : NULL,
        .against = against,
        .keys = job->keys,
        .key_count = job->key_count,
        .sink = cli_value(job->args, OPT_SINK),
    };
    progress_start(&job->progress, "events", 0, false);
    int r = aw_verify(store, &options, report);
    progress_clear();
    return r;
}

/* A trail of views is not all verified: whoever asked for no more than the exit code must not take it for a good one.
 */
static int verdict_code(const struct job *job, int32_t verdict)
{
    return verdict == AW_VERDICT_FINDINGS                                 ? EXIT_FINDINGS
           : verdict == AW_VERDICT_VIEW && !cli_has(job->args, OPT_VIEWS) ? EXIT_VIEW
                                                                          : EXIT_GOOD;
}

/* The worse of two exit codes. */
static int worse(int a, int b)
{
    static const int rank[] = {
        [EXIT_GOOD] = 0, [EXIT_VIEW] = 1, [EXIT_FINDINGS] = 2, [EXIT_USAGE] = 3, [EXIT_UNREADABLE] = 4};
    return rank[a] > rank[b] ? a : b;
}

/* Of the heads that are known, those of the slot: its chains are of the stream with its number. */
static void choose_expected(const struct job *job, uint32_t slot, struct text *ret)
{
    char suffix[40] = "";
    text_reset(ret);
    if (slot)
        (void)snprintf(suffix, sizeof suffix, " (stream %u)", (unsigned)slot);
    for (size_t i = 0; i < job->expect_count; i++) {
        const char *item = job->expect[i], *equals = strrchr(item, '='), *stream = strstr(item, " (stream ");
        size_t len = strlen(suffix), name = (size_t)(equals - item);
        bool ours = slot ? name > len && memcmp(equals - len, suffix, len) == 0 : !stream || stream > equals;
        if (job->all_slots && !ours)
            continue;
        text_add(ret, ",", ret->len ? 1 : 0);
        text_puts(ret, item);
    }
}

static int verify_store(struct job *job, const char *name, uint32_t slot, bool first)
{
    struct aw_verify_report report = {.struct_size = sizeof report};
    struct aw_store *store = NULL;
    struct aw_store_options options = {
        .struct_size = sizeof options, .config_path = job->args->config, .store = name, .slot = slot};
    char label[40] = "trail";
    if (slot && job->all_slots)
        (void)snprintf(label, sizeof label, "trail (slot %u)", (unsigned)slot);
    job->store = name ? name : label;
    choose_expected(job, slot, &job->expect_now);
    job->any_finding = job->any_scope = false;
    text_reset(&job->t);
    if (job->json) {
        text_puts(&job->t, first ? "{" : ",{");
        json_text(&job->t, "store", job->store);
        text_puts(&job->t, ",\"findings\":[");
        out_text(&job->t);
    }
    struct aw_store *against = NULL;
    struct aw_store_options full = {.struct_size = sizeof full,
                                    .config_path = job->args->config,
                                    .store = cli_value(job->args, OPT_AGAINST),
                                    .slot = slot};
    int r = aw_store_open(&options, &store);
    if (r == AW_SUCCESS && full.store)
        r = aw_store_open(&full, &against);
    if (r == AW_SUCCESS)
        r = verify_opened(job, store, against, &report);
    int code = verdict_code(job, report.verdict);
    job->views |= report.verdict == AW_VERDICT_VIEW;
    if (r != AW_SUCCESS) {
        code = out_failure(job->store, r);
        if (job->json)
            store_json_end(job, &report, first_problem(r));
    } else if (job->json) {
        store_json_end(job, &report, NULL);
    } else {
        verdict_text(job, &report);
    }
    aw_store_close(against);
    aw_store_close(store);
    job->store = NULL;
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
    job->expect = cli_realloc(job->expect, (job->expect_count + 1) * sizeof *job->expect);
    job->expect[job->expect_count] = cli_alloc(len + 1);
    memcpy(job->expect[job->expect_count++], s, len);
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
    if (r == 0 && cli_has(args, OPT_COMPLETE) && cli_has(args, OPT_MIDCHAIN))
        r = cli_usage(args, "--complete and --midchain exclude each other");
    if (r == 0 && cli_has(args, 'k') && !cli_has(args, OPT_AGAINST))
        r = cli_usage(args,
                      "--key is of use with --against only: pseudonyms are compared with the full trail's values");
    job->keys = cli_alloc((args->given_count + 1) * sizeof *job->keys);
    for (size_t i = 0; i < args->given_count && r == 0; i++) {
        if (args->given[i].id == 'k')
            job->keys[job->key_count++] = args->given[i].value;
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
    bool write = code == EXIT_GOOD || code == EXIT_VIEW; /* heads are hashes: those of views are the trail's own */
    if (good && write && rename(temporary->ptr, path) != 0) {
        good = false;
        error = errno;
    }
    if (!good || !write)
        (void)unlink(temporary->ptr);
    if (good && !write)
        out_error("%s: not written, since the trail is not good", path);
    if (good)
        return code;
    out_error("%s: cannot be written: %s", path, strerror(error));
    return EXIT_UNREADABLE;
}

static int add_slot(void *arg, const struct aw_slot *slot)
{
    struct job *job = arg;
    if (slot->number == 0 || (slot->head == 0 && !slot->owed)) /* nobody ever logged there */
        return 0;
    job->slots = cli_realloc(job->slots, (job->slot_count + 1) * sizeof *job->slots);
    job->slots[job->slot_count++] = slot->number;
    return 0;
}

/* The stores that are named; else that of the configuration, in each slot. */
static int verify_all(struct job *job)
{
    const struct cli_args *args = job->args;
    int code = EXIT_GOOD;
    for (size_t i = 0; i < args->word_count; i++)
        code = worse(verify_store(job, args->words[i], args->slot, i == 0), code);
    if (args->word_count)
        return code;
    if (!args->slot_given)
        (void)aw_slots_each(args->config, add_slot, job); /* what is wrong with the configuration is said below */
    job->all_slots = job->slot_count > 0;
    code = verify_store(job, NULL, args->slot, true);
    for (size_t i = 0; i < job->slot_count; i++)
        code = worse(verify_store(job, NULL, job->slots[i], false), code);
    return code;
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
        code = verify_all(&job);
        if (job.json)
            printf("],\"verdict\":\"%s\"}\n", code == EXIT_FINDINGS                       ? "findings"
                                              : code > EXIT_FINDINGS && code != EXIT_VIEW ? "unreadable"
                                              : job.views                                 ? "view"
                                                                                          : "good");
        code = heads_close(&job, &temporary, code);
    }
    text_free(&temporary);
    for (size_t i = 0; i < job.expect_count; i++)
        free(job.expect[i]);
    free(job.expect);
    free(job.slots);
    text_free(&job.expect_now);
    free(job.keys);
    text_free(&job.t);
    return code;
}
