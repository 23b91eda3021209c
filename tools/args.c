/* args.c - getopt_long over the table of subcommands.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define MAX_OPTIONS 40

struct getopt_table {
    struct option options[MAX_OPTIONS];
    char letters[3 * MAX_OPTIONS + 2];
    size_t count, letter_count;
};

static void add_options(struct getopt_table *t, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->id && t->count < MAX_OPTIONS - 1; o++) {
        t->options[t->count++] = (struct option){o->name, o->arg ? required_argument : no_argument, NULL, o->id};
        if (o->id < 256) {
            t->letters[t->letter_count++] = (char)o->id;
            if (o->arg)
                t->letters[t->letter_count++] = ':';
        }
    }
}

static int try_help(const struct cli_command *command)
{
    if (command)
        fprintf(stderr, "Try 'auditwell %s --help'.\n", command->name);
    else
        fputs("Try 'auditwell --help'.\n", stderr);
    return EXIT_USAGE;
}

int cli_usage(const struct cli_args *args, const char *fmt, ...)
{
    va_list ap;
    struct text t = {0}, safe = {0};
    char line[1024];
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    (void)text_safe(&safe, line, strlen(line), false, 0);
    text_printf(&t, "auditwell%s%s: %s\n", args->command ? " " : "", args->command ? args->command->name : "",
                safe.ptr);
    fputs(t.ptr, stderr);
    text_free(&t);
    text_free(&safe);
    return try_help(args->command);
}

int cli_parse_global(struct cli_args *args, int argc, char **argv, int *ret_next, bool *ret_version)
{
    struct getopt_table t = {.letters = "+", .letter_count = 1};
    static char name[] = "auditwell";
    int c;
    add_options(&t, cli_global);
    if (argc > 0)
        argv[0] = name;
    optind = 0; /* GNU: start afresh */
    while ((c = getopt_long(argc, argv, t.letters, t.options, NULL)) != -1) {
        if (c == 'c')
            args->config = optarg;
        else if (c == 'h')
            args->help = true;
        else if (c == 'V')
            *ret_version = true;
        else
            return try_help(NULL);
    }
    *ret_next = optind;
    return 0;
}

#define SLOT_WRONG UINT32_MAX
static uint32_t slot_of(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && n < 1024 ? (uint32_t)n : SLOT_WRONG;
}

int cli_parse(struct cli_args *args, int argc, char **argv)
{
    struct getopt_table t = {.letter_count = 0};
    char name[64];
    int c;
    add_options(&t, args->command->options);
    add_options(&t, cli_common);
    args->given = cli_alloc((size_t)argc * sizeof *args->given);
    (void)snprintf(name, sizeof name, "auditwell %s", args->command->name);
    argv[0] = name; /* getopt's messages begin with it */
    optind = 0;
    while ((c = getopt_long(argc, argv, t.letters, t.options, NULL)) != -1) {
        switch (c) {
        case 'c':
            args->config = optarg;
            break;
        case 'h':
            args->help = true;
            break;
        case OPT_JSON:
            args->json = true;
            break;
        case OPT_SLOT:
            args->slot = slot_of(optarg);
            if (args->slot == SLOT_WRONG)
                return cli_usage(args, "--slot: '%s' is no number from 0 to 1023", optarg);
            args->slot_given = true;
            break;
        case '?':
            return try_help(args->command);
        default:
            /* Several flags may stand in one word (-rq): there may be more options than words. */
            args->given = cli_realloc(args->given, (args->given_count + 1) * sizeof *args->given);
            args->given[args->given_count++] = (struct cli_given){c, optarg};
        }
    }
    args->words = argv + optind;
    args->word_count = (size_t)(argc - optind);
    return 0;
}

void cli_args_free(struct cli_args *args)
{
    free(args->given);
    args->given = NULL;
}

bool cli_has(const struct cli_args *args, int id)
{
    for (size_t i = 0; i < args->given_count; i++)
        if (args->given[i].id == id)
            return true;
    return false;
}

const char *cli_value(const struct cli_args *args, int id)
{
    for (size_t i = args->given_count; i-- > 0;)
        if (args->given[i].id == id)
            return args->given[i].value;
    return NULL;
}

int cli_number(const struct cli_args *args, int id, const char *name, uint64_t max, uint64_t *ret)
{
    const char *s = cli_value(args, id);
    if (!s)
        return 0;
    uint64_t n = 0;
    size_t i = 0;
    for (; s[i] >= '0' && s[i] <= '9'; i++)
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(s[i] - '0'), &n))
            break;
    if (i == 0 || s[i] || n > max)
        return cli_usage(args, "--%s: '%s' is not a number from 0 to %llu", name, s, (unsigned long long)max);
    *ret = n;
    return 0;
}

int cli_duration(const struct cli_args *args, int id, const char *name, int *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60e3}, {"min", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    const char *s = cli_value(args, id);
    if (!s)
        return 0;
    size_t digits = strspn(s, "0123456789");
    if (digits > 0 && digits <= 10) {
        char *end;
        unsigned long long n = strtoull(s, &end, 10);
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (strcmp(end, units[i].unit) == 0 && (double)n * units[i].ms <= (double)INT_MAX) {
                *ret_ms = (int)((double)n * units[i].ms);
                return 0;
            }
    }
    return cli_usage(args, "--%s: '%s' is not a duration; expected such as 500ms, 30s, 5m or 1h (at most 24d)", name,
                     s);
}

int cli_seqs(const struct cli_args *args, const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
    char *end;
    const char *second = strchr(text, '-');
    unsigned long long first = strtoull(text, &end, 10), last = first;
    bool good = text[0] >= '0' && text[0] <= '9' && (second ? end == second : *end == '\0');
    if (good && second) {
        last = strtoull(second + 1, &end, 10);
        good = second[1] >= '0' && second[1] <= '9' && *end == '\0';
    }
    if (!good || first == 0 || last < first || last == ULLONG_MAX)
        return cli_usage(args, "'%s' is neither a sequence number nor two with a '-' between", text);
    *ret_first = first;
    *ret_last = last;
    return 0;
}

int cli_outcome(const struct cli_args *args, const char *word)
{
    static const char *const words[] = {"SUCCESS", "FAILURE", "DENIED", "ERROR"};
    for (size_t i = 0; word && i < 4; i++)
        if (strcmp(word, words[i]) == 0)
            return 0;
    return word ? cli_usage(args, "--outcome: '%s' is none of SUCCESS, FAILURE, DENIED, ERROR", word) : 0;
}
