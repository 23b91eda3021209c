/* help.c - help and version.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <string.h>

#include "cli.h"

static void help_options(const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->id; o++) {
        char left[64], letter[8] = "    ";
        if (o->id < 256)
            (void)snprintf(letter, sizeof letter, "-%c, ", o->id);
        (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-26s %s\n", left, o->help);
    }
}

static void help_examples(const char *examples)
{
    for (const char *line = examples; *line;) {
        const char *end = strchr(line, '\n');
        printf("  %.*s\n", (int)(end - line), line);
        line = end + 1;
    }
}

void help_command(const struct cli_command *command)
{
    printf("Usage: auditwell %s [OPTION…]%s%s\n\n%c%s.\n", command->name, command->usage[0] ? " " : "", command->usage,
           command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->about)
        printf("%s\n", command->about);
    puts("\nOptions:");
    help_options(command->options);
    help_options(cli_common);
    puts("\nExamples:");
    help_examples(command->examples);
    printf("\nExit codes: 0 good, 1 findings, 2 wrong use, 3 something could not be read or written%s\n",
           strcmp(command->name, "verify") == 0 ? ",\n4 good, but the content of views was not verified." : ".");
}

void help_all(void)
{
    puts("Usage: auditwell [-c FILE] SUBCOMMAND [OPTION…] [ARGUMENT…]\n\n"
         "Audit trails that can prove themselves.\n\nSubcommands:");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %-10s %s\n", c->name, c->summary);
    puts("\nOptions:");
    help_options(cli_global);
    puts("\nExamples:\n  auditwell init\n  auditwell log < events.jsonl\n  auditwell verify\n\n"
         "'auditwell SUBCOMMAND --help' tells more; the manual is auditwell(1).");
}

static void table_options(const char *command, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->id; o++) {
        char letter[3] = {'-', (char)o->id, '\0'};
        printf("%s\t--%s\t%s\t%s\n", command, o->name, o->id < 256 ? letter : "", o->arg ? o->arg : "");
    }
}

/* Subcommand, option, letter, argument; separated by tabs. "-" = before the subcommand. */
static void help_table(void)
{
    table_options("-", cli_global);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        table_options(c->name, c->options);
        table_options(c->name, cli_common);
    }
}

static void json_options(struct text *t, const struct cli_option *options, bool *first)
{
    for (const struct cli_option *o = options; o->id; o++) {
        text_puts(t, *first ? "{\"name\":" : ",{\"name\":");
        *first = false;
        text_json(t, o->name, strlen(o->name));
        if (o->id < 256)
            text_printf(t, ",\"letter\":\"%c\"", o->id);
        if (o->arg) {
            text_puts(t, ",\"argument\":");
            text_json(t, o->arg, strlen(o->arg));
        }
        text_puts(t, ",\"help\":");
        text_json(t, o->help, strlen(o->help));
        text_puts(t, "}");
    }
}

static void help_json(const struct cli_command *only)
{
    struct text t = {0};
    text_puts(&t, "{\"subcommands\":[");
    for (const struct cli_command *c = only ? only : cli_commands; c->name; c++) {
        bool first = true;
        text_puts(&t, c == cli_commands || only ? "{\"name\":" : ",{\"name\":");
        text_json(&t, c->name, strlen(c->name));
        text_puts(&t, ",\"usage\":");
        text_json(&t, c->usage, strlen(c->usage));
        text_puts(&t, ",\"summary\":");
        text_json(&t, c->summary, strlen(c->summary));
        text_puts(&t, ",\"options\":[");
        json_options(&t, c->options, &first);
        json_options(&t, cli_common, &first);
        text_puts(&t, "]}");
        if (only)
            break;
    }
    text_puts(&t, "]}\n");
    out_text(&t);
    text_free(&t);
}

int cmd_help(struct cli_args *args)
{
    const struct cli_command *about = NULL;
    const char *shell = cli_value(args, OPT_COMPLETION);
    if (shell && strcmp(shell, "bash") != 0)
        return cli_usage(args, "--completion: '%s' is not known; there is bash", shell);
    if (args->word_count > 1)
        return cli_usage(args, "one subcommand at most");
    if (args->word_count == 1 && !(about = cli_find_command(args->words[0])))
        return cli_usage(args, "'%s' is no subcommand", args->words[0]);
    if (shell)
        completion_bash();
    else if (cli_has(args, OPT_TABLE))
        help_table();
    else if (args->json)
        help_json(about);
    else if (about)
        help_command(about);
    else
        help_all();
    return EXIT_GOOD;
}

int cmd_version(struct cli_args *args)
{
    if (args->word_count)
        return cli_usage(args, "takes no arguments");
    if (args->json)
        printf("{\"version\":\"%s\",\"abiMajor\":%d,\"abiMinor\":%d}\n", aw_version(), AW_ABI_MAJOR, AW_ABI_MINOR);
    else
        printf("auditwell %s (plugin ABI %d.%d)\n", aw_version(), AW_ABI_MAJOR, AW_ABI_MINOR);
    return EXIT_GOOD;
}
