/* log.c - auditwell log: one event from options, or JSON lines.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The bulk way is a measured path: large reads, one memchr a line, no copy except of a line that a read cut in two, and
 * no allocation.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define READ_SIZE (256u << 10)
#define LINE_LIMIT (8u << 20) /* no event may be larger, whatever the configuration says */
#define SHOWN_WARNINGS 20u
#define BATCH 64u

struct job {
    const struct cli_args *args;
    struct aw_logger *logger;
    bool strict, receipts, json, quiet;
    bool refused; /* a sink put events into its dead-letter file */
    int timeout_ms;
    uint64_t accepted, bad, dropped, warnings, bytes; /* bytes read of all files before this one */
    uint64_t shown;                                   /* events taken when progress was last shown */
    int stop;                                         /* exit code + 1 of what ended the work early; 0 = nothing */
    struct progress progress;
    struct text line; /* for output */
};

struct source {
    const char *name;
    int fd;
    char *buf;
    size_t size, start, end; /* start..end: read, not yet taken */
    uint64_t line, bytes;
    bool eof, skipping;          /* skipping: inside a line over the limit */
    struct aw_json batch[BATCH]; /* lines in buf that are to be taken */
    uint64_t batch_line[BATCH];  /* their numbers */
    size_t batch_count;
};

/* ---- one event's result ---- */
static void json_problems(struct text *t)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    text_puts(t, ",\"problems\":[");
    for (size_t i = 0; i < count; i++) {
        text_puts(t, i ? ",{\"path\":" : "{\"path\":");
        text_json(t, problems[i]->path, strlen(problems[i]->path));
        text_puts(t, ",\"message\":");
        text_json(t, problems[i]->message, strlen(problems[i]->message));
        text_puts(t, "}");
    }
    text_puts(t, "]");
}

/* "events.jsonl:17: "; line 0: no number. */
static void add_place(struct text *t, const char *file, uint64_t line)
{
    (void)text_safe(t, file, strlen(file), false, 0);
    if (line)
        text_printf(t, ":%" PRIu64, line);
    text_puts(t, ": ");
}

static void say_bad(struct job *job, const char *file, uint64_t line, int code, const char *message)
{
    struct text *t = &job->line;
    text_reset(t);
    job->bad++;
    if (job->json) {
        text_puts(t, "{\"file\":");
        text_json(t, file, strlen(file));
        text_printf(t, ",\"line\":%" PRIu64 ",\"error\":\"%s\"", line, aw_error_name(code));
        if (message) {
            text_puts(t, ",\"problems\":[{\"path\":\"\",\"message\":");
            text_json(t, message, strlen(message));
            text_puts(t, "}]");
        } else {
            json_problems(t);
        }
        text_puts(t, "}\n");
        out_text(t);
        return;
    }
    add_place(t, file, line);
    if (!message && out_problems(t->ptr))
        return;
    out_error("%s%s", t->ptr, message ? message : aw_error_name(code));
}

static void say_warnings(struct job *job, const char *file, uint64_t line, size_t count)
{
    uint64_t before = job->warnings;
    job->warnings += count;
    if (job->json || job->quiet || before >= SHOWN_WARNINGS)
        return;
    text_reset(&job->line);
    add_place(&job->line, file, line);
    (void)out_problems(job->line.ptr);
    if (job->warnings >= SHOWN_WARNINGS)
        out_error("further warnings are only counted");
}

static void say_receipt(struct job *job, uint64_t line, const struct aw_receipt *receipt)
{
    struct text *t = &job->line;
    text_reset(t);
    if (job->json) {
        text_puts(t, "{");
        if (line) /* an event from options has none */
            text_printf(t, "\"line\":%" PRIu64 ",", line);
        text_puts(t, "\"eventId\":");
        text_json(t, receipt->event_id, strlen(receipt->event_id));
        text_printf(t, ",\"seq\":%" PRIu64 ",\"hash\":\"%s\"}\n", receipt->seq, receipt->hash);
    } else {
        (void)text_safe(t, receipt->event_id, strlen(receipt->event_id), out_ascii(), 0);
        text_printf(t, "\t%" PRIu64 "\t%s\n", receipt->seq, receipt->hash);
    }
    out_text(t);
    if (out_failed())
        job->stop = EXIT_UNREADABLE + 1;
}

/* What to do after an event was not taken; true: give it again. */
static bool not_taken(struct job *job, const char *file, uint64_t line, int code, uint64_t *stall_until)
{
    switch (code) {
    case AW_ERR_INVALID_EVENT:
    case AW_ERR_EVENT_TOO_LARGE:
        say_bad(job, file, line, code, NULL);
        if (job->strict)
            job->stop = EXIT_FINDINGS + 1;
        return false;
    case AW_ERR_TIMEOUT: /* mode = "block": it is in the journal, but not with every sink yet */
        return false;
    case AW_ERR_DROPPED: /* mode = "drop": asked for */
        job->dropped++;
        return false;
    case AW_ERR_QUEUE_FULL: {
        /* The journal waits for a sink. Time out only when there was no room at all for that long. */
        uint64_t now = progress_now_ns();
        if (*stall_until == 0)
            *stall_until = job->timeout_ms < 0 ? UINT64_MAX : now + (uint64_t)job->timeout_ms * 1000000u;
        if (now < *stall_until && !out_signal) {
            progress_note(&job->progress, "the journal is full; waiting for a sink");
            return true;
        }
    } /* fall through */
    default:
        progress_clear();
        if (out_problems("auditwell: ") == 0)
            out_error("%s", aw_error_name(code));
        if (line)
            out_error("stopped at %s:%" PRIu64 ": this line and what follows was not taken", file, line);
        job->stop = (code == AW_ERR_USAGE ? EXIT_USAGE : EXIT_UNREADABLE) + 1;
        return false;
    }
}

/* The event itself, not what came before it: true when it was taken. */
static bool say_taken(struct job *job, const struct source *src, size_t i, int code, const struct aw_receipt *receipt)
{
    size_t count;
    if (code != AW_SUCCESS && code != AW_ERR_TIMEOUT)
        return false;
    (void)aw_problems(&count);
    if (count)
        say_warnings(job, src->name, src->batch_line[i], count);
    if (job->receipts)
        say_receipt(job, src->batch_line[i], receipt);
    return true;
}

static void take_batch(struct job *job, struct source *src)
{
    struct aw_receipt receipts[BATCH];
    uint64_t stall_until = 0;
    receipts[0].struct_size = sizeof receipts[0];
    for (size_t at = 0; at < src->batch_count && !job->stop;) {
        size_t taken, left = src->batch_count - at;
        int r = aw_log_json_batch(job->logger, NULL, src->batch + at, left, job->receipts ? receipts : NULL, &taken);
        bool all = r == AW_SUCCESS;
        for (size_t i = 0; job->receipts && i + all < taken && !job->stop; i++)
            say_receipt(job, src->batch_line[at + i], &receipts[i]);
        if (taken > 0 || r != AW_ERR_QUEUE_FULL)
            stall_until = 0;
        at += all ? taken - 1 : taken; /* the one that the result is about */
        job->accepted += all ? taken - 1 : taken;
        if (say_taken(job, src, at, r, &receipts[all ? taken - 1 : taken]))
            job->accepted++;
        else if (not_taken(job, src->name, src->batch_line[at], r, &stall_until))
            continue;
        at++;
    }
    src->batch_count = 0;
    if (job->accepted - job->shown >= 4096u) {
        job->shown = job->accepted;
        progress_update(&job->progress, job->accepted, job->bytes + src->bytes);
    }
}

/* ---- lines ---- */
static bool blank(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] != ' ' && s[i] != '\t')
            return false;
    return true;
}

static void one_line(struct job *job, struct source *src, const char *s, size_t len)
{
    src->line++;
    if (len && s[len - 1] == '\r')
        len--;
    if (len == 0 || ((s[0] == ' ' || s[0] == '\t') && blank(s, len)))
        return;
    src->batch[src->batch_count] = (struct aw_json){s, len};
    src->batch_line[src->batch_count] = src->line;
    if (++src->batch_count == BATCH)
        take_batch(job, src);
}

static void over_limit(struct job *job, struct source *src)
{
    take_batch(job, src); /* what came before it is told first */
    src->line++;
    src->skipping = false;
    say_bad(job, src->name, src->line, AW_ERR_EVENT_TOO_LARGE, "the line is longer than 8 MiB; it was left out");
    if (job->strict)
        job->stop = EXIT_FINDINGS + 1;
}

/* Reads once behind src->end; what is left over moves to the front first, and a line that fills the buffer makes it
 * grow. false: nothing more comes (end, error or signal). */
static bool fill(struct job *job, struct source *src)
{
    if (out_hangup) {
        out_hangup = 0;
        (void)aw_reopen(job->logger); /* each sink says what is wrong with it */
    }
    if (src->start > 0) {
        memmove(src->buf, src->buf + src->start, src->end - src->start);
        src->end -= src->start;
        src->start = 0;
    }
    if (src->end + READ_SIZE > src->size) {
        src->size *= 2;
        src->buf = cli_realloc(src->buf, src->size);
    }
    ssize_t n = read(src->fd, src->buf + src->end, READ_SIZE);
    if (n > 0) {
        src->end += (size_t)n;
        src->bytes += (uint64_t)n;
        return true;
    }
    if (n == 0)
        src->eof = true;
    else if (errno == EINTR)
        return out_signal == 0;
    else {
        out_error("%s: cannot be read: %s", src->name, strerror(errno));
        job->stop = EXIT_UNREADABLE + 1;
    }
    return false;
}

static void end_line(struct job *job, struct source *src, const char *s, size_t len)
{
    if (src->skipping)
        over_limit(job, src);
    else
        one_line(job, src, s, len);
}

static void take_lines(struct job *job, struct source *src)
{
    size_t seen = 0; /* bytes behind start that hold no newline */
    while (!job->stop && !out_signal) {
        char *from = src->buf + src->start;
        size_t avail = src->end - src->start;
        char *nl = avail > seen ? memchr(from + seen, '\n', avail - seen) : NULL;
        if (nl) {
            end_line(job, src, from, (size_t)(nl - from));
            src->start += (size_t)(nl - from) + 1;
            seen = 0;
            continue;
        }
        src->skipping = src->skipping || avail > LINE_LIMIT;
        if (src->skipping)
            src->start = src->end = 0; /* dropped as it comes */
        seen = src->end - src->start;
        take_batch(job, src); /* before its bytes move */
        if (job->stop)
            return;
        if (fill(job, src))
            continue;
        if (src->eof && (src->skipping || src->end > src->start)) /* the last line has no newline */
            end_line(job, src, src->buf + src->start, src->end - src->start);
        take_batch(job, src);
        return;
    }
}

static void take_file(struct job *job, const char *name)
{
    struct source src = {.name = name, .fd = STDIN_FILENO, .size = 2 * READ_SIZE};
    bool opened = strcmp(name, "-") != 0;
    if (!opened) {
        src.name = "stdin";
    } else {
        src.fd = open(name, O_RDONLY | O_CLOEXEC);
        if (src.fd < 0) {
            out_error("%s: cannot be read: %s", name, strerror(errno));
            job->stop = EXIT_UNREADABLE + 1;
            return;
        }
    }
    src.buf = cli_alloc(src.size);
    take_lines(job, &src);
    job->bytes += src.bytes;
    free(src.buf);
    if (opened)
        (void)close(src.fd); /* only read from */
}

static uint64_t total_size(const struct cli_args *args)
{
    struct stat st;
    uint64_t total = 0;
    if (args->word_count == 0)
        return fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    for (size_t i = 0; i < args->word_count; i++) {
        if (stat(args->words[i], &st) != 0 || !S_ISREG(st.st_mode))
            return 0;
        total += (uint64_t)st.st_size;
    }
    return total;
}

/* ---- one event from options ---- */
static const int event_options[] = {'a', 'o', OPT_ACTOR, OPT_TARGET, OPT_TENANT, OPT_SET, OPT_SET_JSON};

static bool has_event_options(const struct cli_args *args)
{
    for (size_t i = 0; i < sizeof event_options / sizeof event_options[0]; i++)
        if (cli_has(args, event_options[i]))
            return true;
    return false;
}

static int parse_outcome(const struct cli_args *args, int *ret)
{
    static const char *const words[] = {"SUCCESS", "FAILURE", "DENIED", "ERROR"};
    const char *s = cli_value(args, 'o');
    *ret = AW_OUTCOME_SUCCESS;
    for (int i = 0; s && i < 4; i++)
        if (strcmp(s, words[i]) == 0) {
            *ret = i;
            return 0;
        }
    return s ? cli_usage(args, "--outcome: '%s' is none of SUCCESS, FAILURE, DENIED, ERROR", s) : 0;
}

/* "type:id" into its parts; the type in a new string. */
static char *split_type(const char *value, const char **ret_id)
{
    const char *colon = strchr(value, ':');
    size_t len = colon ? (size_t)(colon - value) : strlen(value);
    char *type = cli_alloc(len + 1);
    memcpy(type, value, len);
    *ret_id = colon ? colon + 1 : NULL;
    return type;
}

static int set_party(const struct cli_args *args, struct aw_builder *builder, int id, const char *value)
{
    const char *party_id;
    char *type = split_type(value, &party_id);
    int r = 0;
    if (id == OPT_ACTOR && !party_id)
        r = cli_usage(args, "--actor: '%s' has no ':'; expected TYPE:ID such as user:alice", value);
    else if (id == OPT_ACTOR)
        (void)aw_set_actor(builder, type, party_id); /* problems are kept for aw_log() */
    else
        (void)aw_set_target(builder, type, party_id);
    free(type);
    return r;
}

static int set_path(const struct cli_args *args, struct aw_builder *builder, int id, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair)
        return cli_usage(args, "--%s: '%s' has no '='; expected PATH=%s", id == OPT_SET ? "set" : "set-json", pair,
                         id == OPT_SET ? "TEXT" : "JSON");
    size_t len = (size_t)(equals - pair);
    char *path = cli_alloc(len + 1);
    memcpy(path, pair, len);
    if (id == OPT_SET)
        (void)aw_set_string(builder, path, equals + 1); /* problems are kept for aw_log() */
    else
        (void)aw_set_json(builder, path, equals + 1, strlen(equals + 1));
    free(path);
    return 0;
}

/* 0, or EXIT_USAGE. */
static int build_event(const struct cli_args *args, struct aw_builder *builder)
{
    int outcome, r = parse_outcome(args, &outcome);
    if (r == 0 && !cli_has(args, 'a'))
        r = cli_usage(args, "an event needs --action");
    if (r == 0)
        (void)aw_set_action(builder, cli_value(args, 'a'), outcome);
    for (size_t i = 0; i < args->given_count && r == 0; i++) {
        const struct cli_given *g = &args->given[i];
        if (g->id == OPT_ACTOR || g->id == OPT_TARGET)
            r = set_party(args, builder, g->id, g->value);
        else if (g->id == OPT_TENANT)
            (void)aw_set_string(builder, "context.tenantId", g->value);
        else if (g->id == OPT_SET || g->id == OPT_SET_JSON)
            r = set_path(args, builder, g->id, g->value);
    }
    return r;
}

static void log_one(struct job *job, const struct aw_builder *builder)
{
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    uint64_t stall_until = 0;
    size_t count;
    int r;
    do
        r = aw_log(job->logger, builder, &receipt);
    while (r != AW_SUCCESS && not_taken(job, "event", 0, r, &stall_until));
    if (r != AW_SUCCESS && r != AW_ERR_TIMEOUT)
        return;
    job->accepted++;
    (void)aw_problems(&count);
    if (count)
        say_warnings(job, "event", 0, count);
    if (job->receipts)
        say_receipt(job, 0, &receipt);
}

/* ---- the end ---- */
static void say_sink(const struct aw_sink_stats *sink)
{
    if (sink->lag_events)
        out_error("%" PRIu64 " event%s not yet delivered to sink %s%s%s; the journal keeps %s for the next run",
                  sink->lag_events, sink->lag_events == 1 ? " is" : "s are", sink->name,
                  sink->last_error_text[0] ? ": " : "", sink->last_error_text, sink->lag_events == 1 ? "it" : "them");
    if (sink->rejected_total)
        out_error("%" PRIu64 " event%s refused by sink %s and put into its dead-letter file", sink->rejected_total,
                  sink->rejected_total == 1 ? " was" : "s were", sink->name);
}

/* How many events some sink still waits for; says which. */
static uint64_t undelivered(struct job *job, bool say)
{
    struct aw_stats stats = {.struct_size = sizeof stats};
    uint64_t most = 0;
    if (aw_stats(job->logger, &stats) != AW_SUCCESS)
        return 0;
    for (uint32_t i = 0; i < stats.sinks; i++) {
        struct aw_sink_stats sink = {.struct_size = sizeof sink};
        if (aw_stats_sink(job->logger, i, &sink) != AW_SUCCESS)
            continue;
        if (say)
            say_sink(&sink);
        job->refused = job->refused || sink.rejected_total > 0;
        most = sink.lag_events > most ? sink.lag_events : most;
    }
    return most;
}

static void deliver(struct job *job)
{
    uint64_t now = progress_now_ns();
    uint64_t until = job->timeout_ms < 0 ? UINT64_MAX : now + (uint64_t)job->timeout_ms * 1000000u;
    int r = AW_ERR_TIMEOUT, signals = out_signal_count; /* one that ended the reading does not end this */
    while (r == AW_ERR_TIMEOUT && out_signal_count == signals && (now = progress_now_ns()) < until) {
        uint64_t left_ms = (until - now) / 1000000u;
        r = aw_flush(job->logger, left_ms < 200 ? (int)left_ms : 200);
        if (r == AW_ERR_TIMEOUT)
            progress_note(&job->progress, "delivering, %" PRIu64 " events to go", undelivered(job, false));
    }
    progress_clear();
    if (r != AW_SUCCESS && r != AW_ERR_TIMEOUT)
        (void)out_failure("delivery", r);
}

static void say_end(struct job *job, uint64_t waiting)
{
    double seconds = (double)(progress_now_ns() - job->progress.start_ns) / 1e9;
    progress_clear();
    if (job->json) {
        printf("{\"summary\":{\"accepted\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"dropped\":%" PRIu64
               ",\"warnings\":%" PRIu64 ",\"undelivered\":%" PRIu64 ",\"seconds\":%.3f}}\n",
               job->accepted, job->bad, job->dropped, job->warnings, waiting, seconds);
    } else if (!job->quiet) {
        fprintf(stderr, "%" PRIu64 " event%s taken", job->accepted, job->accepted == 1 ? "" : "s");
        if (job->bad)
            fprintf(stderr, ", %" PRIu64 " left out", job->bad);
        if (job->dropped)
            fprintf(stderr, ", %" PRIu64 " dropped", job->dropped);
        if (job->warnings)
            fprintf(stderr, ", %" PRIu64 " warning%s", job->warnings, job->warnings == 1 ? "" : "s");
        fprintf(stderr, ", %.2f s, %.0f/s\n", seconds, (double)job->accepted / (seconds > 0 ? seconds : 1));
    }
}

static int finish(struct job *job)
{
    uint64_t waiting = 0;
    if (!cli_has(job->args, OPT_NO_FLUSH)) {
        deliver(job);
        waiting = undelivered(job, true);
    } else {
        waiting = undelivered(job, false);
    }
    int r = aw_close(job->logger, 0);
    if (r != AW_SUCCESS && r != AW_ERR_TIMEOUT) {
        int code = out_failure("closing", r);
        job->stop = job->stop ? job->stop : code + 1;
    }
    say_end(job, waiting);
    if (out_signal) { /* end as if the signal had not been caught, so that a shell sees it */
        (void)fflush(NULL);
        (void)signal(out_signal, SIG_DFL);
        (void)raise(out_signal);
    }
    return job->stop ? job->stop - 1 : job->bad || job->dropped || job->refused ? EXIT_FINDINGS : EXIT_GOOD;
}

static int run(struct job *job, const struct aw_builder *builder)
{
    const struct cli_args *args = job->args;
    struct aw_open_options options = {.struct_size = sizeof options, .config_path = args->config, .diag = out_diag};
    int r = aw_open(&options, &job->logger);
    if (r != AW_SUCCESS)
        return out_failure("open", r);
    (void)out_problems("auditwell: "); /* warnings */
    out_catch_signals();
    if (!builder)
        out_catch_hangup();
    progress_start(&job->progress, "events", builder ? 0 : total_size(args), job->quiet);
    if (builder) {
        log_one(job, builder);
        job->quiet = true; /* one event needs no closing line */
    } else if (args->word_count == 0) {
        take_file(job, "-");
    }
    for (size_t i = 0; !builder && i < args->word_count && !job->stop && !out_signal; i++)
        take_file(job, args->words[i]);
    return finish(job);
}

int cmd_log(struct cli_args *args)
{
    struct job job = {.args = args, .json = args->json, .timeout_ms = 60000};
    struct aw_builder *builder = NULL;
    job.strict = cli_has(args, OPT_STRICT);
    job.receipts = cli_has(args, 'r');
    job.quiet = cli_has(args, 'q');
    int r = cli_duration(args, OPT_TIMEOUT, "timeout", &job.timeout_ms);
    if (r == 0 && has_event_options(args)) {
        if (args->word_count)
            return cli_usage(args, "an event from options and files do not go together");
        builder = aw_builder_create();
        r = builder ? build_event(args, builder) : out_failure("builder", AW_ERR_NOMEM);
    }
    if (r == 0)
        r = run(&job, builder);
    aw_builder_destroy(builder);
    text_free(&job.line);
    return r;
}
