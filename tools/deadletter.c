/* deadletter.c - auditwell deadletter: list, show, replay and purge what sinks refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

#define REPLAY_TIMEOUT_MS 30000

struct job {
    struct cli_args *args;
    struct aw_deadletters *letters;
    const char *sink;
    uint64_t first_seq, last_seq;
    struct text t;
    uint64_t shown, findings;
    int code; /* of what callbacks met */
};

static void json_text(struct text *t, const char *name, const char *value)
{
    text_printf(t, ",\"%s\":", name);
    text_json(t, value, strlen(value));
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- list ---- */
static void on_finding(void *arg, const struct aw_finding *f)
{
    struct job *job = arg;
    struct text *t = &job->t;
    job->findings++;
    if (!cli_has(job->args, OPT_VERIFY))
        return;
    text_reset(t);
    if (job->args->json) {
        text_puts(t, job->findings == 1 ? "{\"kind\":" : ",{\"kind\":");
        text_printf(t, "%d", (int)f->kind);
        json_text(t, "location", f->location);
        json_text(t, "message", f->message);
        text_puts(t, "}");
    } else {
        (void)text_safe(t, f->location, strlen(f->location), out_ascii(), 0);
        text_puts(t, ": ");
        (void)text_safe(t, f->message, strlen(f->message), out_ascii(), 0);
        text_puts(t, "\n");
    }
    out_text(t);
}

/* "3d", "4h", "5m", "6s". */
static void put_age(struct text *t, uint64_t then_ns)
{
    static const struct {
        uint64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    uint64_t now = (uint64_t)time(NULL), then = then_ns / 1000000000u, age = now > then ? now - then : 0;
    size_t i = 0;
    while (i < 3 && age < 2 * units[i].seconds)
        i++;
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64 "%c", age / units[i].seconds, units[i].unit);
    text_printf(t, "%7s", then_ns ? text : "-");
}

static void sink_row(struct job *job, const struct aw_deadletters_sink *s)
{
    struct text *t = &job->t;
    char seqs[48] = "-";
    if (job->shown == 0)
        text_puts(t, "SINK                     WAITING   REPLAYED     PURGED  OLDEST        BYTES  SEQS\n");
    size_t width = text_safe(t, s->sink, strlen(s->sink), out_ascii(), 0);
    text_printf(t, "%*s", width < 20 ? (int)(22 - width) : 2, "");
    text_printf(t, "%10" PRIu64 " %10" PRIu64 " %10" PRIu64 " ", s->letters - s->replayed, s->replayed, s->purged);
    put_age(t, s->oldest_ns);
    if (s->first_seq)
        (void)snprintf(seqs, sizeof seqs, "%" PRIu64 "-%" PRIu64, s->first_seq, s->last_seq);
    text_printf(t, " %12" PRIu64 "  %s%s%s\n", s->bytes, seqs, s->configured ? "" : "  (not in the configuration)",
                s->findings ? "  DAMAGED" : "");
}

static void sink_json(struct job *job, const struct aw_deadletters_sink *s)
{
    struct text *t = &job->t;
    if (cli_has(job->args, OPT_VERIFY))
        text_puts(t, "],");
    text_puts(t, "\"sink\":");
    text_json(t, s->sink, strlen(s->sink));
    json_text(t, "path", s->path);
    text_printf(t,
                ",\"configured\":%s,\"letters\":%" PRIu64 ",\"waiting\":%" PRIu64 ",\"replayed\":%" PRIu64
                ",\"purged\":%" PRIu64 ",\"firstSeq\":%" PRIu64 ",\"lastSeq\":%" PRIu64 ",\"oldest\":%" PRIu64
                ",\"newest\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"findingCount\":%" PRIu64
                ",\"unfinishedBytes\":%" PRIu64 ",\"setAside\":%" PRIu64 "}",
                s->configured ? "true" : "false", s->letters, s->letters - s->replayed, s->replayed, s->purged,
                s->first_seq, s->last_seq, s->oldest_ns / 1000000000u, s->newest_ns / 1000000000u, s->bytes,
                s->findings, s->unfinished_bytes, s->set_aside);
}

/* The findings of a sink come before the sink: its object is begun at the end of the one before. */
static void begin_json(struct job *job)
{
    if (job->args->json)
        text_puts(&job->t, cli_has(job->args, OPT_VERIFY) ? "{\"findings\":[" : "{");
}

static int on_sink(void *arg, const struct aw_deadletters_sink *s)
{
    struct job *job = arg;
    text_reset(&job->t);
    if (job->args->json)
        sink_json(job, s);
    else
        sink_row(job, s);
    out_text(&job->t);
    job->shown++;
    if (!job->args->json && s->unfinished_bytes)
        out_error("%s: an unfinished write of %" PRIu64
                  " bytes at its end holds no letter; the next letter sets it aside",
                  s->path, s->unfinished_bytes);
    if (!job->args->json && s->set_aside)
        out_error("%s: %" PRIu64 " damaged or unfinished part%s of it stand%s beside it (.damaged-…, .torn-…)", s->path,
                  s->set_aside, plural(s->set_aside), s->set_aside == 1 ? "s" : "");
    if (s->findings) {
        job->code = EXIT_FINDINGS;
        if (!job->args->json && !cli_has(job->args, OPT_VERIFY))
            out_error("%s: %" PRIu64
                      " finding%s: --verify prints them; the next letter begins a new file, and keeps this "
                      "one",
                      s->path, s->findings, plural(s->findings));
    }
    job->findings = 0;
    return 0;
}

/* aw_deadletters_each() for one name after the other, so that JSON can be written as they come. */
struct names {
    char **list;
    size_t count;
};

static int take_name(void *arg, const struct aw_deadletters_sink *s)
{
    struct names *n = arg;
    n->list = cli_realloc(n->list, (n->count + 1) * sizeof *n->list);
    n->list[n->count] = cli_alloc(strlen(s->sink) + 1);
    memcpy(n->list[n->count++], s->sink, strlen(s->sink));
    return 0;
}

static void free_names(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->list[i]);
    free(n->list);
}

static int list(struct job *job)
{
    struct names names = {NULL, 0};
    int r = aw_deadletters_each(job->letters, job->sink, take_name, NULL, &names);
    if (job->args->json)
        fputs("{\"sinks\":[", stdout);
    for (size_t i = 0; i < names.count && r == AW_SUCCESS; i++) {
        text_reset(&job->t);
        text_puts(&job->t, i && job->args->json ? "," : "");
        begin_json(job);
        out_text(&job->t);
        r = aw_deadletters_each(job->letters, names.list[i], on_sink, on_finding, job);
    }
    free_names(&names);
    if (r != AW_SUCCESS)
        return out_failure("deadletter", r);
    if (job->args->json)
        printf("],\"verdict\":\"%s\"}\n", job->code ? "findings" : "good");
    return job->code;
}

/* ---- show ---- */
static int on_letter(void *arg, const struct aw_deadletter *l)
{
    struct job *job = arg;
    struct text *t = &job->t;
    const char *state = l->flags & AW_DEADLETTER_DAMAGED    ? "damaged"
                        : l->flags & AW_DEADLETTER_REPLAYED ? "replayed"
                        : l->flags & AW_DEADLETTER_REFUSED  ? "refused again"
                                                            : "waiting";
    text_reset(t);
    if (job->args->json) {
        text_puts(t, "{\"sink\":");
        text_json(t, l->sink, strlen(l->sink));
        text_printf(t, ",\"n\":%" PRIu64 ",\"line\":%" PRIu64 ",\"seq\":%" PRIu64, l->number, l->line, l->seq);
        json_text(t, "time", l->time);
        text_printf(t, ",\"attempts\":%" PRIu64, l->attempts);
        json_text(t, "state", state);
        json_text(t, "reason", l->reason);
        text_puts(t, ",\"event\":");
        if (out_terminal())
            text_json_safe(t, l->json, l->json_len);
        else
            text_add(t, l->json, l->json_len);
        text_puts(t, "}\n");
    } else {
        char action[200] = "", id[140] = "";
        (void)aw_json_field(l->json, l->json_len, "action", action, sizeof action);
        (void)aw_json_field(l->json, l->json_len, "eventId", id, sizeof id);
        (void)text_safe(t, l->sink, strlen(l->sink), out_ascii(), 0);
        text_printf(t, " seq %" PRIu64 " %s, %" PRIu64 " attempt%s, %s: ", l->seq, l->time, l->attempts,
                    plural(l->attempts), state);
        (void)text_safe(t, l->reason, strlen(l->reason), out_ascii(), 0);
        text_puts(t, "\n    ");
        (void)text_safe(t, action, strlen(action), out_ascii(), 0);
        text_puts(t, " ");
        (void)text_safe(t, id, strlen(id), out_ascii(), 0);
        text_puts(t, "\n");
    }
    out_text(t);
    job->shown++;
    if (l->flags & AW_DEADLETTER_DAMAGED)
        job->code = EXIT_FINDINGS;
    return out_failed();
}

static int show(struct job *job)
{
    struct names names = {NULL, 0};
    int r = aw_deadletters_each(job->letters, job->sink, take_name, NULL, &names);
    for (size_t i = 0; i < names.count && r == AW_SUCCESS; i++)
        r = aw_deadletters_read(job->letters, names.list[i], job->first_seq, job->last_seq, on_letter, job);
    free_names(&names);
    if (r != AW_SUCCESS)
        return out_failure("deadletter", r);
    if (job->shown == 0 && !job->args->json)
        out_error("no such letter");
    return job->code;
}

/* ---- replay ---- */
static void on_outcome(void *arg, const struct aw_deadletter *l, int outcome, const char *reason)
{
    static const char *const words[] = {"would be replayed", "written", "duplicate: the sink has it already",
                                        "refused again"};
    static const char *const names[] = {"wanted", "written", "duplicate", "refused"};
    struct job *job = arg;
    struct text *t = &job->t;
    if (outcome < 0 || outcome > AW_REPLAY_REFUSED)
        return;
    text_reset(t);
    if (job->args->json) {
        text_printf(t, "%s{\"n\":%" PRIu64 ",\"seq\":%" PRIu64, job->shown ? "," : "", l->number, l->seq);
        json_text(t, "outcome", names[outcome]);
        if (outcome == AW_REPLAY_REFUSED)
            json_text(t, "reason", reason);
        text_puts(t, "}");
    } else {
        text_printf(t, "seq %" PRIu64 ": %s", l->seq, words[outcome]);
        text_puts(t, outcome == AW_REPLAY_REFUSED ? ": " : "");
        (void)text_safe(t, reason, strlen(reason), out_ascii(), 0);
        text_puts(t, "\n");
    }
    out_text(t);
    job->shown++;
}

static int replay(struct job *job)
{
    bool dry = cli_has(job->args, OPT_DRY_RUN);
    int timeout = REPLAY_TIMEOUT_MS;
    struct aw_replay_report report = {.struct_size = sizeof report};
    int code = cli_duration(job->args, OPT_TIMEOUT, "timeout", &timeout);
    if (code != 0)
        return code;
    if (!job->sink)
        return cli_usage(job->args, "replay: --sink NAME is needed");
    const struct aw_replay_options options = {
        .struct_size = sizeof options,
        .flags = dry ? AW_REPLAY_DRY_RUN : 0,
        .sink = job->sink,
        .first_seq = job->first_seq,
        .last_seq = job->last_seq,
        .timeout_ms = timeout,
        .fn = on_outcome,
        .arg = job,
    };
    if (job->args->json)
        fputs("{\"letters\":[", stdout);
    int r = aw_deadletters_replay(job->letters, &options, &report);
    if (r != AW_SUCCESS)
        code = out_failure("replay", r);
    else if (report.refused > 0)
        code = EXIT_FINDINGS;
    if (job->args->json)
        printf("],\"dryRun\":%s,\"count\":%" PRIu64 ",\"written\":%" PRIu64 ",\"duplicates\":%" PRIu64
               ",\"refused\":%" PRIu64 ",\"left\":%" PRIu64 "}\n",
               dry ? "true" : "false", report.letters, report.written, report.duplicates, report.refused, report.left);
    else if (dry)
        printf("%" PRIu64 " letter%s would be replayed\n", report.letters, plural(report.letters));
    else
        printf("%" PRIu64 " letter%s: %" PRIu64 " written, %" PRIu64 " duplicate%s, %" PRIu64 " refused again, %" PRIu64
               " left\n",
               report.letters, plural(report.letters), report.written, report.duplicates, plural(report.duplicates),
               report.refused, report.left);
    return code;
}

/* ---- purge ---- */
static int purge(struct job *job)
{
    const struct cli_args *args = job->args;
    const char *before = cli_value(args, OPT_BEFORE);
    bool replayed = cli_has(args, OPT_REPLAYED), all = cli_has(args, OPT_ALL), force = cli_has(args, OPT_FORCE);
    struct aw_purge_report report = {.struct_size = sizeof report};
    if (!job->sink)
        return cli_usage(args, "purge: --sink NAME is needed");
    if ((before != NULL) + replayed + all != 1)
        return cli_usage(args, "purge: one of --replayed, --before TIME and --all is needed");
    if (cli_has(args, OPT_SEQ))
        return cli_usage(args, "purge: --seq is of show and replay");
    const struct aw_purge_options options = {
        .struct_size = sizeof options,
        .flags = (force ? 0 : AW_PURGE_DRY_RUN) | (replayed ? AW_PURGE_REPLAYED : 0) | (all ? AW_PURGE_ALL : 0),
        .sink = job->sink,
        .before = before,
    };
    int r = aw_deadletters_purge(job->letters, &options, &report);
    if (r != AW_SUCCESS)
        return out_failure("purge", r);
    uint64_t only = report.letters - report.replayed;
    if (args->json)
        printf("{\"purged\":%s,\"letters\":%" PRIu64 ",\"replayed\":%" PRIu64 ",\"firstSeq\":%" PRIu64
               ",\"lastSeq\":%" PRIu64 "}\n",
               force ? "true" : "false", report.letters, report.replayed, report.first_seq, report.last_seq);
    else if (report.letters == 0)
        puts("no letter to purge");
    else
        printf("%s%" PRIu64 " letter%s (seq %" PRIu64 "-%" PRIu64 "): %" PRIu64 " replayed, %" PRIu64
               " that the sink never took\n",
               force ? "purged " : "would purge ", report.letters, plural(report.letters), report.first_seq,
               report.last_seq, report.replayed, only);
    if (force || report.letters == 0)
        return EXIT_GOOD;
    out_error("nothing was removed: give --force to do it");
    return EXIT_FINDINGS;
}

/* ---- all of them ---- */
int cmd_deadletter(struct cli_args *args)
{
    static const struct {
        const char *word;
        int (*run)(struct job *);
    } verbs[] = {{"list", list}, {"show", show}, {"replay", replay}, {"purge", purge}};
    struct job job = {.args = args, .sink = cli_value(args, OPT_SINK)};
    const struct aw_deadletters_options options = {
        .struct_size = sizeof options, .config_path = args->config, .diag = out_diag, .slot = args->slot};
    const char *word = args->word_count ? args->words[0] : "";
    size_t i = 0;
    while (i < sizeof verbs / sizeof verbs[0] && strcmp(word, verbs[i].word) != 0)
        i++;
    if (args->word_count != 1 || i == sizeof verbs / sizeof verbs[0])
        return cli_usage(args, "one of list, show, replay and purge is needed");
    const char *seqs = cli_value(args, OPT_SEQ);
    int code = seqs ? cli_seqs(args, seqs, &job.first_seq, &job.last_seq) : 0;
    if (code != 0)
        return code;
    int r = aw_deadletters_open(&options, &job.letters);
    if (r != AW_SUCCESS) {
        (void)out_failure("configuration", r);
        return EXIT_UNREADABLE;
    }
    (void)out_problems("auditwell: "); /* warnings */
    code = verbs[i].run(&job);
    aw_deadletters_close(job.letters);
    text_free(&job.t);
    return code;
}
