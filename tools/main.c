/* main.c - the auditwell command: finds the subcommand and runs it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <string.h>

#include "cli.h"

static int run(struct cli_args *args, int argc, char **argv)
{
    int r = cli_parse(args, argc, argv);
    if (r != 0)
        return r;
    if (args->help) {
        help_command(args->command);
        return EXIT_GOOD;
    }
    return args->command->run(args);
}

int main(int argc, char **argv)
{
    struct cli_args args = {0};
    bool version = false;
    int next = 0;
    out_init();
    int r = cli_parse_global(&args, argc, argv, &next, &version);
    if (r != 0)
        return r;
    if (args.help) {
        help_all();
        return out_finish(EXIT_GOOD);
    }
    if (version)
        return out_finish(cmd_version(&args));
    if (next >= argc) {
        fputs("auditwell: a subcommand is needed\nTry 'auditwell --help'.\n", stderr);
        return EXIT_USAGE;
    }
    args.command = cli_find_command(argv[next]);
    if (!args.command)
        return cli_usage(&args, "'%s' is no subcommand", argv[next]);
    r = run(&args, argc - next, argv + next);
    cli_args_free(&args);
    return out_finish(r);
}
