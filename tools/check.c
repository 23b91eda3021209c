/* check.c - auditwell check: is the configuration right?
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "cli.h"

static void json_found(struct text *t, bool good)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    text_printf(t, "{\"verdict\":\"%s\",\"problems\":[", good ? "good" : "findings");
    for (size_t i = 0; i < count; i++) {
        text_printf(t, "%s{\"severity\":\"%s\",\"path\":", i ? "," : "", problems[i]->code ? "error" : "warning");
        text_json(t, problems[i]->path, strlen(problems[i]->path));
        text_puts(t, ",\"message\":");
        text_json(t, problems[i]->message, strlen(problems[i]->message));
        text_puts(t, "}");
    }
    text_puts(t, "]");
}

static void json_sinks(struct text *t, struct aw_logger *logger, uint32_t count)
{
    text_puts(t, ",\"sinks\":[");
    for (uint32_t i = 0; i < count; i++) {
        struct aw_sink_stats sink = {.struct_size = sizeof sink};
        if (aw_stats_sink(logger, i, &sink) != AW_SUCCESS)
            break;
        text_puts(t, i ? ",{\"name\":" : "{\"name\":");
        text_json(t, sink.name, strlen(sink.name));
        text_puts(t, ",\"plugin\":");
        text_json(t, sink.plugin, strlen(sink.plugin));
        text_puts(t, "}");
    }
    text_puts(t, "]");
}

static void table_sinks(struct aw_logger *logger, uint32_t count)
{
    struct text t = {0};
    out_color(stdout, COLOR_BOLD, "SINK                  PLUGIN\n");
    for (uint32_t i = 0; i < count; i++) {
        struct aw_sink_stats sink = {.struct_size = sizeof sink};
        if (aw_stats_sink(logger, i, &sink) != AW_SUCCESS)
            break;
        size_t width = text_safe(&t, sink.name, strlen(sink.name), out_ascii(), 0);
        text_printf(&t, "%*s", width < 20 ? (int)(22 - width) : 2, "");
        (void)text_safe(&t, sink.plugin, strlen(sink.plugin), out_ascii(), 0);
        text_puts(&t, "\n");
    }
    out_text(&t);
    text_free(&t);
}

static void say_good(const struct cli_args *args, struct aw_logger *logger)
{
    struct aw_stats stats = {.struct_size = sizeof stats};
    if (cli_has(args, 'q') || aw_stats(logger, &stats) != AW_SUCCESS)
        return;
    table_sinks(logger, stats.sinks);
    out_color(stdout, COLOR_GOOD, "good");
    printf(": %" PRIu32 " sink%s\n", stats.sinks, stats.sinks == 1 ? "" : "s");
}

int cmd_check(struct cli_args *args)
{
    struct aw_logger *logger = NULL;
    struct text t = {0};
    struct aw_open_options options = {
        .struct_size = sizeof options, .flags = AW_OPEN_CHECK, .config_path = args->config, .diag = out_diag};
    if (args->word_count)
        return cli_usage(args, "takes no arguments; name the configuration with -c FILE");
    int r = aw_open(&options, &logger);
    if (args->json) {
        json_found(&t, r == AW_SUCCESS);
        struct aw_stats stats = {.struct_size = sizeof stats};
        if (r == AW_SUCCESS && aw_stats(logger, &stats) == AW_SUCCESS)
            json_sinks(&t, logger, stats.sinks);
        text_puts(&t, "}\n");
        out_text(&t);
        text_free(&t);
    } else if (out_problems("") == 0 && r != AW_SUCCESS) {
        out_error("%s", aw_error_name(r));
    }
    if (r == AW_SUCCESS) {
        if (!args->json)
            say_good(args, logger);
        (void)aw_close(logger, 0); /* nothing was started */
        return EXIT_GOOD;
    }
    return r == AW_ERR_CONFIG ? EXIT_FINDINGS : EXIT_UNREADABLE;
}
