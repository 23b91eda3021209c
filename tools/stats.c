/* stats.c - auditwell stats: the journal's and the sinks' state, from the journal directory itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "cli.h"

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

static void sink_json(const struct aw_sink_stats *s, bool first, struct text *t)
{
    text_puts(t, first ? "{\"name\":" : ",{\"name\":");
    text_json(t, s->name, strlen(s->name));
    text_puts(t, ",\"plugin\":");
    text_json(t, s->plugin, strlen(s->plugin));
    text_printf(t, ",\"ackedSeq\":%" PRIu64 ",\"waiting\":%" PRIu64 "}", s->acked_seq, s->lag_events);
}

static void sink_row(const struct aw_sink_stats *s, struct text *t)
{
    size_t width = text_safe(t, s->name, strlen(s->name), out_ascii(), 0);
    text_printf(t, "%*s", width < 20 ? (int)(22 - width) : 2, "");
    width = text_safe(t, s->plugin, strlen(s->plugin), out_ascii(), 0);
    text_printf(t, "%*s%14" PRIu64 " %14" PRIu64 "\n", width < 12 ? (int)(12 - width) : 1, "", s->acked_seq,
                s->lag_events);
}

static int sinks(struct aw_logger *logger, uint32_t count, bool json, struct text *t)
{
    text_puts(t, json ? "},\"sinks\":[" : "\nSINK                  PLUGIN           DELIVERED        WAITING\n");
    for (uint32_t i = 0; i < count; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        int r = aw_stats_sink(logger, i, &s);
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

int cmd_stats(struct cli_args *args)
{
    struct aw_logger *logger;
    struct text t = {0};
    struct aw_open_options options = {
        .struct_size = sizeof options, .flags = AW_OPEN_NO_SINKS, .config_path = args->config, .diag = out_diag};
    if (args->word_count)
        return cli_usage(args, "takes no arguments");
    int r = aw_open(&options, &logger);
    if (r != AW_SUCCESS) {
        (void)out_failure("journal", r);
        return EXIT_UNREADABLE;
    }
    (void)out_problems("auditwell: "); /* what recovery found */
    struct aw_stats stats = {.struct_size = sizeof stats};
    r = aw_stats(logger, &stats);
    if (r == AW_SUCCESS) {
        text_puts(&t, args->json ? "{\"journal\":{" : "");
        journal_figures(&stats, args->json, &t);
        r = sinks(logger, stats.sinks, args->json, &t);
    }
    if (r == AW_SUCCESS)
        out_text(&t);
    text_free(&t);
    int code = r == AW_SUCCESS ? EXIT_GOOD : (out_failure("stats", r), EXIT_UNREADABLE);
    r = aw_close(logger, 0);
    if (r != AW_SUCCESS && r != AW_ERR_TIMEOUT) { /* events that wait are no failure here */
        (void)out_failure("closing", r);
        code = EXIT_UNREADABLE;
    }
    return code;
}
