/* migrate.c - auditwell migrate: makes in the stores what their sinks need. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "cli.h"

struct job {
    const struct cli_args *args;
    bool dry, any; /* any: of JSON, a store came before */
    uint64_t steps, of_store, stores, failed;
    struct text t, list;
};

static void put_store(struct text *t, const struct aw_sink_state *s)
{
    (void)text_safe(t, s->sink, strlen(s->sink), out_ascii(), 0);
    if (s->per_slot && s->slot)
        text_printf(t, " (slot %u)", (unsigned)s->slot);
}

static void end_json(struct job *job, const struct aw_sink_state *s)
{
    struct text *t = &job->t;
    text_reset(t);
    text_puts(t, job->any ? ",{\"sink\":" : "{\"sink\":");
    text_json(t, s->sink, strlen(s->sink));
    text_printf(t, ",\"slot\":%u,\"steps\":[%s]", (unsigned)s->slot, job->list.len ? job->list.ptr : "");
    if (s->code != AW_SUCCESS) {
        text_puts(t, ",\"error\":");
        text_json(t, s->message, strlen(s->message));
    }
    text_puts(t, "}");
    out_text(t);
    text_reset(&job->list);
    job->any = true;
}

static void end_text(struct job *job, const struct aw_sink_state *s)
{
    struct text *t = &job->t;
    text_reset(t);
    put_store(t, s);
    if (s->code != AW_SUCCESS) {
        out_error("%s: %s: %s", s->where, t->ptr, s->message);
        return;
    }
    text_puts(t, job->of_store == 0 ? ": up to date\n" : job->dry ? ": to be done\n" : ": done\n");
    out_text(t);
}

static void on_step(void *arg, const struct aw_sink_state *s, const char *text)
{
    struct job *job = arg;
    if (!text) {
        job->stores++;
        job->failed += s->code != AW_SUCCESS;
        if (job->args->json)
            end_json(job, s);
        else
            end_text(job, s);
        job->of_store = 0;
        return;
    }
    job->steps++;
    job->of_store++;
    if (job->args->json) {
        text_puts(&job->list, job->list.len ? "," : "");
        text_json(&job->list, text, strlen(text));
        return;
    }
    text_reset(&job->t);
    put_store(&job->t, s);
    text_puts(&job->t, ": ");
    (void)text_safe(&job->t, text, strlen(text), out_ascii(), 0);
    text_puts(&job->t, "\n");
    out_text(&job->t);
}

int cmd_migrate(struct cli_args *args)
{
    struct job job = {.args = args, .dry = cli_has(args, OPT_DRY_RUN)};
    const struct aw_sinks_options options = {.struct_size = sizeof options,
                                             .flags = job.dry ? AW_SINKS_DRY_RUN : 0,
                                             .config_path = args->config,
                                             .sink = cli_value(args, OPT_SINK),
                                             .diag = out_diag};
    if (args->word_count)
        return cli_usage(args, "takes no arguments; name a sink with --sink NAME");
    if (args->json)
        fputs("{\"stores\":[", stdout);
    int r = aw_sinks_migrate(&options, on_step, &job);
    if (args->json)
        printf("],\"steps\":%" PRIu64 ",\"dryRun\":%s}\n", job.steps, job.dry ? "true" : "false");
    int code = r == AW_SUCCESS ? EXIT_GOOD : r == AW_ERR_USAGE ? EXIT_USAGE : EXIT_UNREADABLE;
    if (r != AW_SUCCESS && job.failed == 0)
        code = out_failure("migrate", r);
    else if (!args->json && job.stores == 0)
        puts("no sink has anything to migrate");
    text_free(&job.t);
    text_free(&job.list);
    return code;
}
