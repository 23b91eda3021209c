/* retention.c - auditwell retention: removes the oldest events of stores. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli.h"

#define TIMEOUT_MS 30000

struct job {
    const struct cli_args *args;
    bool apply, any; /* any: of JSON, a stream came before */
    struct progress progress;
    struct text t;
};

static void put_time(struct text *t, int64_t ns)
{
    char text[40] = "?";
    struct tm tm;
    time_t seconds = (time_t)(ns / 1000000000 - (ns % 1000000000 < 0));
    if (gmtime_r(&seconds, &tm))
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    text_puts(t, text);
}

static void stream_json(struct job *job, const struct aw_retention_stream *s)
{
    struct text *t = &job->t;
    text_reset(t);
    text_puts(t, job->any ? ",{\"sink\":" : "{\"sink\":");
    job->any = true;
    text_json(t, s->sink, strlen(s->sink));
    text_printf(t,
                ",\"slot\":%u,\"stream\":%u,\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"firstSeq\":%" PRIu64
                ",\"lastSeq\":%" PRIu64,
                (unsigned)s->slot, (unsigned)s->stream, s->count, s->bytes, s->first_seq, s->last_seq);
    if (s->count) {
        text_puts(t, ",\"oldest\":\"");
        put_time(t, s->first_ns);
        text_puts(t, "\",\"newest\":\"");
        put_time(t, s->last_ns);
        text_puts(t, "\"");
    }
    text_printf(t, ",\"keepSeq\":%" PRIu64 ",\"keepTime\":\"", s->keep_seq);
    put_time(t, s->keep_ns);
    text_printf(t, "\",\"findings\":%" PRIu64 "}", s->findings);
    out_text(t);
}

static void put_store(struct text *t, const struct aw_retention_stream *s)
{
    (void)text_safe(t, s->sink, strlen(s->sink), out_ascii(), 0);
    if (s->stream)
        text_printf(t, " (stream %u)", (unsigned)s->stream);
}

static void stream_text(struct job *job, const struct aw_retention_stream *s)
{
    struct text *t = &job->t;
    text_reset(t);
    put_store(t, s);
    if (s->count == 0) {
        text_printf(t, ": nothing can go; the oldest event is seq %" PRIu64 " of ", s->keep_seq);
        put_time(t, s->keep_ns);
        text_puts(t, "\n");
        out_text(t);
        return;
    }
    text_printf(t, ": %" PRIu64 " event%s, seq %" PRIu64 " to %" PRIu64 ", of ", s->count, s->count == 1 ? "" : "s",
                s->first_seq, s->last_seq);
    put_time(t, s->first_ns);
    text_puts(t, " to ");
    put_time(t, s->last_ns);
    if (s->bytes)
        text_printf(t, ", about %.1f MiB", (double)s->bytes / 1048576.0);
    text_printf(t, " %s; what stays begins at seq %" PRIu64 " of ", job->apply ? "are to go" : "would go", s->keep_seq);
    put_time(t, s->keep_ns);
    text_puts(t, "\n");
    out_text(t);
}

static void on_stream(void *arg, const struct aw_retention_stream *s)
{
    struct job *job = arg;
    progress_clear();
    if (job->args->json)
        stream_json(job, s);
    else if (!cli_has(job->args, 'q'))
        stream_text(job, s);
}

static void on_finding(void *arg, const struct aw_finding *f)
{
    (void)arg;
    out_error("%s%s%s", f->location, f->location[0] ? ": " : "", f->message);
}

static void on_progress(void *arg, uint64_t events, uint64_t bytes, uint64_t bytes_total)
{
    struct job *job = arg;
    job->progress.total_bytes = bytes_total;
    progress_update(&job->progress, events, bytes);
}

static int parse(const struct job *job, const char **ret_before, int *ret_timeout)
{
    const struct cli_args *args = job->args;
    const char *before = cli_value(args, OPT_BEFORE), *keep = cli_value(args, OPT_KEEP);
    if (args->word_count)
        return cli_usage(args, "takes no arguments; name a sink with --sink NAME");
    if (!before == !keep)
        return cli_usage(args, "either --before TIME or --keep DURATION says what can go");
    if (job->apply && cli_has(args, OPT_DRY_RUN))
        return cli_usage(args, "--apply and --dry-run exclude each other");
    if (keep && (keep[0] < '0' || keep[0] > '9' || strpbrk(keep, "-:")))
        return cli_usage(args, "--keep: '%s' is not a duration such as 90d or 12h", keep);
    *ret_before = before ? before : keep;
    return cli_duration(args, OPT_TIMEOUT, "timeout", ret_timeout);
}

static int end(struct job *job, int r, const struct aw_retention_report *report)
{
    progress_clear();
    if (job->args->json)
        printf("],\"applied\":%s,\"count\":%" PRIu64 ",\"removed\":%" PRIu64 ",\"records\":%" PRIu64
               ",\"findings\":%" PRIu64 "}\n",
               job->apply ? "true" : "false", report->count, report->removed, report->records, report->findings);
    if (r != AW_SUCCESS) {
        int code = out_failure("retention", r);
        return r == AW_ERR_FINDINGS ? EXIT_FINDINGS : code;
    }
    if (job->args->json || cli_has(job->args, 'q'))
        return EXIT_GOOD;
    if (report->stores == 0)
        puts("no sink has a store from which events can be removed");
    else if (job->apply)
        printf("%" PRIu64 " event%s removed, %" PRIu64 " record%s sealed\n", report->removed,
               report->removed == 1 ? "" : "s", report->records, report->records == 1 ? "" : "s");
    else if (report->count)
        puts("nothing was removed: --apply does it");
    return EXIT_GOOD;
}

int cmd_retention(struct cli_args *args)
{
    struct job job = {.args = args, .apply = cli_has(args, OPT_APPLY)};
    struct aw_retention_report report = {.struct_size = sizeof report};
    const char *before = NULL;
    int timeout_ms = TIMEOUT_MS, code = parse(&job, &before, &timeout_ms);
    if (code != 0)
        return code;
    const struct aw_retention_options options = {.struct_size = sizeof options,
                                                 .flags = (job.apply ? AW_RETENTION_APPLY : 0) |
                                                          (cli_has(args, OPT_FINDINGS) ? AW_RETENTION_FINDINGS : 0),
                                                 .config_path = args->config,
                                                 .sink = cli_value(args, OPT_SINK),
                                                 .before = before,
                                                 .timeout_ms = timeout_ms,
                                                 .diag = out_diag,
                                                 .on_stream = on_stream,
                                                 .on_finding = on_finding,
                                                 .on_progress = on_progress,
                                                 .arg = &job};
    if (args->json)
        fputs("{\"streams\":[", stdout);
    progress_start(&job.progress, "events verified", 0, cli_has(args, 'q'));
    code = end(&job, aw_retention(&options, &report), &report);
    text_free(&job.t);
    return code;
}
