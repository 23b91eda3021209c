/* check.c - auditwell check: is the configuration right, and would delivery work?
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "cli.h"

#define PROBE_MS 10000 /* for all stores together */

static void json_found(struct text *t)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    text_puts(t, ",\"problems\":[");
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

/* ---- probes ---- */

struct probes {
    const struct cli_args *args;
    struct text json;
    unsigned failed;
};

static const char *outcome_of(int code)
{
    return code == AW_SUCCESS        ? "good"
           : code == AW_ERR_NOTFOUND ? "unknown"
           : code == AW_ERR_IO       ? "unreachable"
           : code == AW_ERR_TIMEOUT  ? "unreachable"
                                     : "wrong";
}

static void on_probe(void *arg, const struct aw_sink_state *s)
{
    struct probes *p = arg;
    bool unreachable = s->code == AW_ERR_IO || s->code == AW_ERR_TIMEOUT;
    p->failed += s->code != AW_SUCCESS && s->code != AW_ERR_NOTFOUND;
    if (p->args->json) {
        text_puts(&p->json, p->json.len ? ",{\"sink\":" : "{\"sink\":");
        text_json(&p->json, s->sink, strlen(s->sink));
        text_puts(&p->json, ",\"path\":");
        text_json(&p->json, s->where, strlen(s->where));
        text_printf(&p->json, ",\"outcome\":\"%s\",\"message\":", outcome_of(s->code));
        text_json(&p->json, s->message, strlen(s->message));
        text_puts(&p->json, "}");
    } else if (s->code != AW_SUCCESS && s->code != AW_ERR_NOTFOUND) {
        out_error("%s: sink \"%s\" (%s): %s%s", s->where, s->sink, s->plugin, s->message,
                  unreachable ? "; events would wait in the journal meanwhile" : "");
    }
}

/* 0, or an exit code. */
static int probe(struct cli_args *args, struct probes *p, int timeout_ms)
{
    const struct aw_sinks_options options = {
        .struct_size = sizeof options, .config_path = args->config, .diag = out_diag};
    int r = aw_sinks_probe(&options, timeout_ms, on_probe, p);
    if (r != AW_SUCCESS)
        return out_failure("check", r);
    return p->failed ? EXIT_FINDINGS : EXIT_GOOD;
}

int cmd_check(struct cli_args *args)
{
    struct probes probes = {.args = args};
    int timeout_ms = PROBE_MS;
    struct aw_logger *logger = NULL;
    struct text t = {0};
    struct aw_open_options options = {
        .struct_size = sizeof options, .flags = AW_OPEN_CHECK, .config_path = args->config, .diag = out_diag};
    if (args->word_count)
        return cli_usage(args, "takes no arguments; name the configuration with -c FILE");
    int code = cli_duration(args, OPT_TIMEOUT, "timeout", &timeout_ms);
    if (code != 0)
        return code;
    int r = aw_open(&options, &logger);
    if (!args->json && out_problems("") == 0 && r != AW_SUCCESS)
        out_error("%s", aw_error_name(r));
    if (args->json) {
        json_found(&t);
        struct aw_stats stats = {.struct_size = sizeof stats};
        if (r == AW_SUCCESS && aw_stats(logger, &stats) == AW_SUCCESS)
            json_sinks(&t, logger, stats.sinks);
    }
    if (r == AW_SUCCESS && !cli_has(args, OPT_NO_PROBE))
        code = probe(args, &probes, timeout_ms);
    if (args->json) {
        printf("{\"verdict\":\"%s\"", r == AW_SUCCESS && code == EXIT_GOOD ? "good" : "findings");
        text_printf(&t, ",\"probes\":[%s]}\n", probes.json.len ? probes.json.ptr : "");
        out_text(&t);
        text_free(&t);
        text_free(&probes.json);
    }
    if (r == AW_SUCCESS) {
        if (!args->json && code == EXIT_GOOD)
            say_good(args, logger);
        (void)aw_close(logger, 0); /* nothing was started */
        return code;
    }
    return r == AW_ERR_CONFIG ? EXIT_FINDINGS : EXIT_UNREADABLE;
}
