/* embed.c - a small program that keeps an audit trail: it renames documents, and records who did it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   embed DIRECTORY FROM TO
 *
 * The trail goes to DIRECTORY/audit.jsonl. Shows: configuration as text, a child logger with what all events share, a
 * builder, a receipt, every problem of a refused event, and closing in time.
 */
#include <audit/audit.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All problems and warnings of this thread's last auditwell call. */
static void print_problems(const char *doing)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s: %s: %s: %s\n", doing, aw_error_name(problems[i]->code), problems[i]->path,
                problems[i]->message);
}

static struct aw_logger *open_logger(const char *directory)
{
    char config[1024];
    const int len = snprintf(config, sizeof config,
                             "service = \"documents\";\n"
                             "journal = { path = \"%s/journal\"; };\n"
                             "sinks = ( { plugin = \"file\"; name = \"trail\"; path = \"%s/audit.jsonl\"; } );\n",
                             directory, directory);
    struct aw_open_options options = {.struct_size = sizeof options, .config_text = config};
    struct aw_logger *logger = NULL;
    if (len < 0 || (size_t)len >= sizeof config) {
        fputs("the directory's name is too long\n", stderr);
        return NULL;
    }
    if (aw_open(&options, &logger) != AW_SUCCESS)
        print_problems("open");
    return logger;
}

/* What every event of this tenant has in common, so that the calls need not say it. */
static struct aw_logger *tenant_logger(struct aw_logger *logger, const char *tenant)
{
    struct aw_logger *child = NULL;
    struct aw_context *context = aw_context_create();
    if (!context)
        return NULL;
    if (aw_context_set(context, "context.tenantId", tenant) != AW_SUCCESS ||
        aw_logger_child(logger, context, &child) != AW_SUCCESS)
        print_problems("context");
    aw_context_destroy(context); /* the child has its own copy */
    return child;
}

static int log_rename(struct aw_logger *logger, const char *from, const char *to, int failure)
{
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    const char *user = getenv("USER");
    struct aw_builder *event = aw_builder_create();
    if (!event)
        return AW_ERR_NOMEM;
    /* The setters keep the first problem, and aw_log() reports it: their results need no check. */
    aw_set_action(event, "document.rename", failure ? AW_OUTCOME_FAILURE : AW_OUTCOME_SUCCESS);
    aw_set_actor(event, "user", user && *user ? user : "unknown");
    aw_set_target(event, "document", from);
    aw_set_string(event, "diff.name.old", from);
    aw_set_string(event, "diff.name.new", to);
    if (failure)
        aw_set_string(event, "metadata.reason", strerror(failure));
    const int rc = aw_log(logger, event, &receipt);
    if (rc == AW_SUCCESS)
        printf("event %s is number %llu, sealed as %s\n", receipt.event_id, (unsigned long long)receipt.seq,
               receipt.hash);
    else
        print_problems("log");
    aw_builder_destroy(event);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: embed DIRECTORY FROM TO\n", stderr);
        return 2;
    }
    struct aw_logger *logger = open_logger(argv[1]);
    if (!logger)
        return 1;
    struct aw_logger *acme = tenant_logger(logger, "acme");
    int rc = AW_ERR_NOMEM;
    if (acme) {
        errno = 0;
        rc = log_rename(acme, argv[2], argv[3], rename(argv[2], argv[3]) == 0 ? 0 : errno);
        aw_logger_child_destroy(acme);
    }
    /* Five seconds for delivery; what is not delivered by then stays in the journal for the next run. */
    if (aw_close(logger, 5000) != AW_SUCCESS)
        print_problems("close");
    return rc == AW_SUCCESS ? 0 : 1;
}
