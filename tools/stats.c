/* stats.c - auditwell stats and metrics: the journal's and the sinks' figures, live from the process that has the
 * journal open, or as the last one left them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

/* Where the figures come from. A journal of an earlier version has none: then it is opened, without delivering. */
struct source {
    struct aw_metrics *metrics;
    struct aw_logger *logger;
};

static int source_stats(const struct source *s, struct aw_stats *ret)
{
    return s->metrics ? aw_metrics_stats(s->metrics, ret) : aw_stats(s->logger, ret);
}

static int source_sink(const struct source *s, size_t index, struct aw_sink_stats *ret)
{
    return s->metrics ? aw_metrics_sink(s->metrics, index, ret) : aw_stats_sink(s->logger, index, ret);
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

struct figure {
    const char *key, *label;
    uint64_t value;
};

static void print_figures(const struct figure *figures, size_t count, bool json, struct text *t)
{
    for (size_t i = 0; i < count; i++) {
        if (json)
            text_printf(t, "%s\"%s\":%" PRIu64, i ? "," : "", figures[i].key, figures[i].value);
        else
            text_printf(t, "%-24s %" PRIu64 "\n", figures[i].label, figures[i].value);
    }
}

static void journal_figures(const struct aw_stats *s, bool json, struct text *t)
{
    const struct figure figures[] = {
        {"headSeq", "events ever taken", s->head_seq}, {"durableSeq", "on disk up to", s->durable_seq},
        {"lost", "lost to damage", s->lost_total},     {"scopes", "chains", s->scopes},
        {"bytes", "journal bytes", s->journal_bytes},  {"maxBytes", "journal limit", s->journal_max_bytes},
    };
    print_figures(figures, sizeof figures / sizeof figures[0], json, t);
}

static void caller_figures(const struct aw_stats *s, bool json, struct text *t)
{
    const struct figure figures[] = {
        {"accepted", "accepted since start", s->events_total}, {"invalid", "refused: invalid", s->invalid_total},
        {"dropped", "refused: no room", s->dropped_total},     {"failed", "refused: write failed", s->failed_total},
        {"redacted", "values masked", s->redacted_total},      {"truncated", "events cut short", s->truncated_total},
    };
    print_figures(figures, sizeof figures / sizeof figures[0], json, t);
}

/* "2026-01-02T03:04:05Z" */
static void put_time(struct text *t, uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000u);
    struct tm tm;
    char text[40];
    if (gmtime_r(&seconds, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        text_puts(t, text);
    else
        text_puts(t, "?");
}

static void process(const struct aw_metrics_info *i, bool json, struct text *t)
{
    if (json) {
        text_printf(t, ",\"process\":{\"pid\":%" PRIu64 ",\"running\":%s,\"startedAt\":\"", i->pid,
                    i->running ? "true" : "false");
        put_time(t, i->started_ns);
        text_puts(t, i->ended_ns ? "\",\"endedAt\":\"" : "\",\"endedAt\":null}");
        if (i->ended_ns) {
            put_time(t, i->ended_ns);
            text_puts(t, "\"}");
        }
        return;
    }
    text_printf(t, "%-24s %" PRIu64 ", since ", "process", i->pid);
    put_time(t, i->started_ns);
    if (!i->running) {
        text_puts(t, i->ended_ns ? "; not running: these are the figures of its end, "
                                 : "; not running: it was killed, and these are its last figures");
        if (i->ended_ns)
            put_time(t, i->ended_ns);
    }
    text_puts(t, "\n");
}

static const char *state_of(const struct aw_sink_stats *s)
{
    return s->breaker_open ? "breaker open" : s->state == AW_HEALTH_OK ? "ok" : "down";
}

static void sink_json(const struct aw_sink_stats *s, bool first, struct text *t)
{
    text_puts(t, first ? "{\"name\":" : ",{\"name\":");
    text_json(t, s->name, strlen(s->name));
    text_puts(t, ",\"plugin\":");
    text_json(t, s->plugin, strlen(s->plugin));
    text_printf(t, ",\"ackedSeq\":%" PRIu64 ",\"waiting\":%" PRIu64 ",\"lagSeconds\":%" PRIu64 ".%03" PRIu64,
                s->acked_seq, s->lag_events, s->lag_ns / 1000000000u, s->lag_ns / 1000000u % 1000u);
    text_printf(t, ",\"accepted\":%" PRIu64 ",\"written\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"found\":%" PRIu64,
                s->accepted_total, s->written_total, s->duplicates_total, s->found_total);
    text_printf(t, ",\"deadLetters\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"resent\":%" PRIu64 ",\"retries\":%" PRIu64,
                s->rejected_total, s->lost_total, s->resent_total, s->retries_total);
    text_printf(t, ",\"batches\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"imbalance\":%" PRId64 ",\"state\":\"%s\"",
                s->batches_total, s->failures_total, s->imbalance, state_of(s));
    text_puts(t, ",\"lastError\":");
    text_json(t, s->last_error_text, strlen(s->last_error_text));
    text_puts(t, "}");
}

static void sink_row(const struct aw_sink_stats *s, struct text *t)
{
    size_t width = text_safe(t, s->name, strlen(s->name), out_ascii(), 0);
    text_printf(t, "%*s", width < 20 ? (int)(22 - width) : 2, "");
    width = text_safe(t, s->plugin, strlen(s->plugin), out_ascii(), 0);
    text_printf(t, "%*s%14" PRIu64 " %14" PRIu64, width < 12 ? (int)(12 - width) : 1, "", s->acked_seq, s->lag_events);
    text_printf(t, " %8" PRIu64 ".%" PRIu64 " %6" PRIu64 "  %s\n", s->lag_ns / 1000000000u,
                s->lag_ns / 100000000u % 10u, s->rejected_total, state_of(s));
    if (s->state != AW_HEALTH_OK && s->last_error_text[0]) {
        text_puts(t, "  ");
        (void)text_safe(t, s->last_error_text, strlen(s->last_error_text), out_ascii(), 0);
        text_puts(t, "\n");
    }
    if (s->imbalance != 0)
        text_printf(t, "  does not add up: %" PRId64 " events are not accounted for\n", s->imbalance);
}

static int sinks(const struct source *source, uint32_t count, bool json, struct text *t)
{
    text_puts(t, json ? ",\"sinks\":["
                      : "\nSINK                  PLUGIN           DELIVERED        WAITING     LAG, s   DEAD  STATE\n");
    for (uint32_t i = 0; i < count; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        int r = source_sink(source, i, &s);
        if (r != AW_SUCCESS)
            return r;
        if (json)
            sink_json(&s, i == 0, t);
        else
            sink_row(&s, t);
    }
    text_puts(t, json ? "]}\n" : "");
    return AW_SUCCESS;
}

static int render(const struct source *source, bool json, struct text *t)
{
    struct aw_stats stats = {.struct_size = sizeof stats};
    struct aw_metrics_info info = {.struct_size = sizeof info};
    int r = source_stats(source, &stats);
    if (r == AW_SUCCESS && source->metrics)
        r = aw_metrics_info(source->metrics, &info);
    if (r != AW_SUCCESS)
        return r;
    text_puts(t, json ? "{\"journal\":{" : "");
    if (source->metrics && !json)
        process(&info, false, t);
    journal_figures(&stats, json, t);
    text_puts(t, json ? "}" : "");
    if (source->metrics) {
        text_puts(t, json ? ",\"callers\":{" : "");
        caller_figures(&stats, json, t);
        text_puts(t, json ? "}" : "");
        if (json)
            process(&info, true, t);
    }
    return sinks(source, stats.sinks, json, t);
}

/* ---- where from -------------------------------------------------------------------------------------------------- */

static int open_logger(const struct cli_args *args, struct source *ret)
{
    struct aw_open_options options = {.struct_size = sizeof options,
                                      .flags = AW_OPEN_NO_SINKS | AW_OPEN_FIRST_SLOT,
                                      .config_path = args->config,
                                      .diag = out_diag};
    int r = aw_open(&options, &ret->logger);
    if (r != AW_SUCCESS) {
        (void)out_failure("journal", r);
        return EXIT_UNREADABLE;
    }
    (void)out_problems("auditwell: "); /* what recovery found */
    return EXIT_GOOD;
}

static int close_source(struct source *s)
{
    aw_metrics_free(s->metrics);
    int r = s->logger ? aw_close(s->logger, 0) : AW_SUCCESS;
    *s = (struct source){NULL, NULL};
    if (r == AW_SUCCESS || r == AW_ERR_TIMEOUT) /* events that wait are no failure here */
        return EXIT_GOOD;
    (void)out_failure("closing", r);
    return EXIT_UNREADABLE;
}

static int show_once(const struct cli_args *args, bool clear)
{
    struct source source = {NULL, NULL};
    struct text t = {0};
    const char *path = cli_value(args, 'p');
    int code = EXIT_GOOD, r = path ? aw_metrics_open_path(NULL, path, &source.metrics)
                                   : aw_metrics_open_slot(args->config, args->slot, &source.metrics);
    if (r == AW_ERR_NOTFOUND && !path && args->slot == 0 && !cli_has(args, 'w'))
        code = open_logger(args, &source);
    else if (r != AW_SUCCESS)
        code = (out_failure("figures", r), EXIT_UNREADABLE);
    if (code == EXIT_GOOD) {
        text_puts(&t, clear ? "\033[H\033[2J" : "");
        r = render(&source, args->json, &t);
        if (r == AW_SUCCESS) {
            out_text(&t);
            if (!path && !cli_has(args, 'w'))
                cli_say_slots(args);
        } else
            code = (out_failure("stats", r), EXIT_UNREADABLE);
    }
    text_free(&t);
    int closed = close_source(&source);
    return code == EXIT_GOOD ? closed : code;
}

/* ---- the subcommands --------------------------------------------------------------------------------------------- */

static void pause_for(unsigned tenths)
{
    const struct timespec t = {0, 100000000};
    for (unsigned i = 0; i < tenths && !out_signal; i++)
        (void)nanosleep(&t, NULL); /* cut short by a signal, which is looked at */
}

static int watch(const struct cli_args *args, unsigned tenths)
{
    int code = EXIT_GOOD;
    out_reader_may_leave = true;
    out_catch_signals();
    while (code == EXIT_GOOD && !out_signal && !out_failed()) {
        code = show_once(args, out_terminal() && !args->json);
        if (code == EXIT_GOOD && !out_terminal() && !args->json)
            fputs("\n", stdout);
        (void)fflush(stdout);
        if (code == EXIT_GOOD)
            pause_for(tenths);
    }
    return code;
}

int cmd_stats(struct cli_args *args)
{
    unsigned long seconds = 2;
    bool repeat = cli_has(args, 'w');
    if (args->word_count > (repeat ? 1u : 0u))
        return cli_usage(args, repeat ? "takes one number of seconds" : "takes no arguments without --watch");
    if (args->word_count == 1) {
        const char *word = args->words[0];
        char *end = NULL;
        seconds = strspn(word, "0123456789") == strlen(word) ? strtoul(word, &end, 10) : 0;
        if (seconds < 1 || seconds > 86400)
            return cli_usage(args, "'%s' is no number of seconds from 1 to 86400", word);
    }
    return repeat ? watch(args, (unsigned)seconds * 10) : show_once(args, false);
}

int cmd_metrics(struct cli_args *args)
{
    struct aw_metrics *metrics = NULL;
    size_t len;
    if (args->word_count)
        return cli_usage(args, "takes no arguments");
    if (args->json)
        return cli_usage(args, "prints no JSON; 'auditwell stats --json' does");
    const char *path = cli_value(args, 'p');
    int r =
        path ? aw_metrics_open_path(NULL, path, &metrics) : aw_metrics_open_slot(args->config, args->slot, &metrics);
    const char *text = r == AW_SUCCESS ? aw_metrics_text(metrics, &len) : NULL;
    if (!text) {
        (void)out_failure("figures", r != AW_SUCCESS ? r : AW_ERR_NOMEM);
        aw_metrics_free(metrics);
        return EXIT_UNREADABLE;
    }
    (void)fwrite(text, 1, len, stdout); /* a failure is seen at the end, by out_finish() */
    aw_metrics_free(metrics);
    return EXIT_GOOD;
}
