/* table.c - every subcommand and every option: parsing, --help, completion and the test of the man page follow it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <string.h>

#include "cli.h"

const struct cli_option cli_common[] = {
    {'c', "config", "FILE", "@file", "configuration; default: $AUDITWELL_CONFIG, then the places of audit.conf(5)"},
    {OPT_JSON, "json", NULL, NULL, "results as JSON on standard output"},
    {'h', "help", NULL, NULL, "this text"},
    {0, NULL, NULL, NULL, NULL},
};

const struct cli_option cli_global[] = {
    {'c', "config", "FILE", "@file", "configuration for the subcommand"},
    {'h', "help", NULL, NULL, "list of subcommands"},
    {'V', "version", NULL, NULL, "version of the command and of the plugin ABI"},
    {0, NULL, NULL, NULL, NULL},
};

#define SLOT                                                                                                           \
    {                                                                                                                  \
        OPT_SLOT, "slot", "N", NULL, "what the process in this slot has; default: slot 0"                              \
    }

#define OUTCOMES "SUCCESS FAILURE DENIED ERROR"

static const struct cli_option init_options[] = {
    {'d', "dir", "DIR", "@dir", "everything in this one directory: configuration, journal and stores"},
    {OPT_FORCE, "force", NULL, NULL, "replace a configuration that is there"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option log_options[] = {
    {'a', "action", "NAME", NULL, "log one event with this action"},
    {'o', "outcome", "WORD", OUTCOMES, "its outcome: SUCCESS (default), FAILURE, DENIED or ERROR"},
    {OPT_ACTOR, "actor", "TYPE:ID", NULL, "who did it"},
    {OPT_TARGET, "target", "TYPE[:ID]", NULL, "to what"},
    {OPT_TENANT, "tenant", "ID", NULL, "context.tenantId"},
    {OPT_SET, "set", "PATH=TEXT", NULL, "set any field to a string; may be repeated"},
    {OPT_SET_JSON, "set-json", "PATH=JSON", NULL, "set any field to a JSON value; may be repeated"},
    {'r', "receipts", NULL, NULL, "print event id, seq and hash of each event taken"},
    {OPT_STRICT, "strict", NULL, NULL, "stop at the first bad line"},
    {OPT_TIMEOUT, "timeout", "TIME", NULL, "how long to wait for delivery at the end, default 60s"},
    {OPT_NO_FLUSH, "no-flush", NULL, NULL, "do not wait for delivery: leave the events in the journal"},
    {'q', "quiet", NULL, NULL, "no progress and no closing line"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option check_options[] = {
    {OPT_NO_PROBE, "no-probe", NULL, NULL, "do not ask the stores whether delivery would work"},
    {OPT_TIMEOUT, "timeout", "TIME", NULL, "how long the stores may take to answer, default 10s"},
    {'q', "quiet", NULL, NULL, "problems only"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option verify_options[] = {
    {'t', "threads", "N", NULL, "threads to use; default: as many as processors"},
    {OPT_COMPLETE, "complete", NULL, NULL, "every chain must begin with its first event"},
    {OPT_PARTIAL, "partial", NULL, NULL, "the trail is an excerpt: missing sequence numbers are no finding"},
    {OPT_MIDCHAIN, "midchain", NULL, NULL, "the trail may begin anywhere, as one file of several does"},
    {OPT_EXPECT, "expect", "SCOPE=HASH", NULL,
     "this event must be there: a head known from elsewhere; may be repeated"},
    {OPT_EXPECT_FILE, "expect-file", "FILE", "@file", "such lines from a file, as --heads writes them"},
    {OPT_VIEWS, "views", NULL, NULL, "the trail may be one of views without personal data: exit 0, not 4"},
    {OPT_AGAINST, "against", "STORE", "@store", "the full trail: every view is compared with its event"},
    {'k', "key", "WHERE", NULL, "with --against: key of pseudonyms, file:PATH or env:NAME; may be repeated"},
    {OPT_SINK, "sink", "NAME", NULL, "the sink whose store this is: only its replayed dead letters may stand late"},
    {OPT_HEADS, "heads", "FILE", "@file", "write the newest hash of every scope to this file"},
    {OPT_MAX_FINDINGS, "max-findings", "N", NULL, "findings to print for each store, default 1000; all are counted"},
    {'q', "quiet", NULL, NULL, "the verdict only"},
    {OPT_SLOT, "slot", "N", NULL, "only what the process in this slot has; default: all slots"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option pseudonym_options[] = {
    {'k', "key", "WHERE", NULL, "the key, file:PATH or env:NAME; may be repeated; default: the configuration's"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option query_options[] = {
    {'s', "store", "STORE", "@store", "sink of the configuration, PLUGIN:PATH, or a path"},
    {OPT_SINCE, "since", "TIME", NULL, "from this time on: RFC 3339, a date, or back from now (2h)"},
    {OPT_UNTIL, "until", "TIME", NULL, "before this time"},
    {'a', "action", "GLOB", NULL, "action, with * and ?"},
    {OPT_ACTOR, "actor", "ID", NULL, "id of the actor"},
    {OPT_TARGET, "target", "ID", NULL, "id of the target"},
    {OPT_TENANT, "tenant", "ID", NULL, "id of the tenant"},
    {'o', "outcome", "WORD", OUTCOMES, "outcome"},
    {'t', "text", "TEXT", NULL, "text that occurs in the stored JSON"},
    {'n', "limit", "N", NULL, "at most so many events; query: all, tail: 10"},
    {OPT_AFTER, "after", "CURSOR", NULL, "go on behind this event"},
    {'R', "reverse", NULL, NULL, "newest first"},
    {'f', "follow", NULL, NULL, "wait for more, until interrupted"},
    {OPT_CSV, "csv", NULL, NULL, "CSV (RFC 4180), safe to open in a spreadsheet"},
    {OPT_COLUMNS, "columns", "LIST", NULL, "columns of table and CSV: names or field paths, separated by commas"},
    {OPT_JSON_CURSOR, "json-cursor", NULL, NULL, "end standard output with a line {\"nextCursor\":…}"},
    SLOT,
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option export_options[] = {
    {OPT_SINK, "sink", "NAME", NULL, "sink of the configuration; default: the first one that can be read"},
    {'f', "format", "WORD", "json jsonl csv", "jsonl (default): one event a line; json: one array; csv: RFC 4180"},
    {'o', "output", "FILE", "@file", "write this file: it appears when it is whole and on disk"},
    {OPT_TENANT_STRICT, "tenant-strict", NULL, NULL,
     "one --tenant is a must, and no event of another one may come out"},
    {OPT_SINCE, "since", "TIME", NULL, "from this time on: RFC 3339, a date, or back from now (2h)"},
    {OPT_UNTIL, "until", "TIME", NULL, "before this time"},
    {'a', "action", "GLOB", NULL, "action, with * and ?"},
    {OPT_ACTOR, "actor", "ID", NULL, "id of the actor"},
    {OPT_TARGET, "target", "ID", NULL, "id of the target"},
    {OPT_TENANT, "tenant", "ID", NULL, "id of the tenant"},
    {OPT_OUTCOME, "outcome", "WORD", OUTCOMES, "outcome"},
    {'t', "text", "TEXT", NULL, "text that occurs in the stored JSON"},
    {'n', "limit", "N", NULL, "at most so many events; default: all"},
    {OPT_AFTER, "after", "CURSOR", NULL, "go on behind this event"},
    {OPT_COLUMNS, "columns", "LIST", NULL, "columns of CSV: names or field paths, separated by commas"},
    {OPT_SPREADSHEET, "spreadsheet", NULL, NULL, "CSV that is safe to open in a spreadsheet: no cell is a formula"},
    {'q', "quiet", NULL, NULL, "no progress and no closing line"},
    SLOT,
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option migrate_options[] = {
    {OPT_SINK, "sink", "NAME", NULL, "the store of this sink; default: all"},
    {OPT_DRY_RUN, "dry-run", NULL, NULL, "only print the steps"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option retention_options[] = {
    {OPT_BEFORE, "before", "TIME", NULL, "events that occurred before this time can go"},
    {OPT_KEEP, "keep", "DURATION", NULL, "events older than this can go: 90d, 12h"},
    {OPT_SINK, "sink", "NAME", NULL, "from the store of this sink; default: all"},
    {OPT_APPLY, "apply", NULL, NULL, "do it; without it, what would go is printed"},
    {OPT_DRY_RUN, "dry-run", NULL, NULL, "only print what would go: the default"},
    {OPT_FINDINGS, "despite-findings", NULL, NULL, "also from a store that does not verify; the record says so"},
    {OPT_TIMEOUT, "timeout", "TIME", NULL, "how long a sink may take to store the record, default 30s"},
    {'q', "quiet", NULL, NULL, "no progress, and nothing but problems"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option deadletter_options[] = {
    {OPT_SINK, "sink", "NAME", NULL, "letters of this sink; list and show: default all"},
    {OPT_SEQ, "seq", "N[-M]", NULL, "show, replay: events with these sequence numbers"},
    {OPT_VERIFY, "verify", NULL, NULL, "list: print every finding in the files"},
    {OPT_DRY_RUN, "dry-run", NULL, NULL, "replay: only print what would be replayed"},
    {OPT_TIMEOUT, "timeout", "TIME", NULL, "replay: how long to wait for a sink that is down, default 30s"},
    {OPT_REPLAYED, "replayed", NULL, NULL, "purge: letters that a replay has written"},
    {OPT_BEFORE, "before", "TIME", NULL, "purge: letters refused before this time"},
    {OPT_ALL, "all", NULL, NULL, "purge: all letters"},
    {OPT_FORCE, "force", NULL, NULL, "purge: do it; without it, what would go is printed"},
    SLOT,
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option journal_options[] = {
    {OPT_PATH, "path", "DIR", "@dir", "this journal directory, without a configuration"},
    {OPT_REPAIR, "repair", NULL, NULL, "fsck: set damaged bytes aside and note what is missing"},
    {OPT_RELEASE, "release", "NAME", NULL, "cursors: give up this cursor, whose sink is gone"},
    {OPT_FORCE, "force", NULL, NULL, "trim: do it; cursors: release one that is still owed events"},
    SLOT,
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option help_options[] = {
    {OPT_COMPLETION, "completion", "SHELL", "bash", "print the completion script of this shell"},
    {OPT_TABLE, "table", NULL, NULL, "print every subcommand and option, one a line"},
    {0, NULL, NULL, NULL, NULL},
};

#define PATH_OPTION                                                                                                    \
    {                                                                                                                  \
        'p', "path", "DIR", "@dir", "the journal's directory, instead of the configuration's"                          \
    }
static const struct cli_option stats_options[] = {
    PATH_OPTION,
    {'w', "watch", NULL, NULL, "show it again and again, until interrupted"},
    SLOT,
    {0, NULL, NULL, NULL, NULL},
};
static const struct cli_option metrics_options[] = {PATH_OPTION, SLOT, {0, NULL, NULL, NULL, NULL}};

static const struct cli_option plugins_options[] = {
    {OPT_CLASS, "class", "NAME", NULL, "check: this class, where the file has several"},
    {OPT_OPTION, "option", "KEY=VALUE", NULL, "check: a setting of the sink; may be repeated"},
    {OPT_SINK, "sink", "NAME", NULL, "check: take the settings of this sink from the configuration"},
    {OPT_ONLY, "only", "CHECK", NULL, "check: only this one; may be repeated"},
    {OPT_LIST, "list", NULL, NULL, "check: print the names of the checks"},
    {OPT_VERIFY_COMMAND, "verify-command", "CMD", NULL, "check: prints what is stored, one event or id a line"},
    {OPT_SLOW_OPTION, "slow-option", "KEY=VALUE", NULL, "check: a setting that makes the store slow, for 'deadline'"},
    {OPT_BATCH, "batch", "N", NULL, "check: events in the largest batch, default 1000"},
    {OPT_FAIL_LIBRARIES, "fail-libraries", NULL, NULL, "check: let allocations of the plugin's libraries fail, too"},
    {OPT_PATIENCE, "patience", "N", NULL, "check: multiply all time limits"},
    {OPT_TIME_LIMIT, "time-limit", "N", NULL, "check: seconds that each check may take"},
    {OPT_TAP, "tap", NULL, NULL, "check: results in the Test Anything Protocol"},
    {0, NULL, NULL, NULL, NULL},
};

static const struct cli_option no_options[] = {{0, NULL, NULL, NULL, NULL}};

const struct cli_command cli_commands[] = {
    {"init", "[DIR]", "write a configuration that works",
     "Writes a commented audit.conf, readable only for you, and makes its directories. Without DIR or -c the\n"
     "configuration goes to $XDG_CONFIG_HOME/auditwell and the trail to $XDG_STATE_HOME/auditwell.",
     "auditwell init\nauditwell init --dir ./trail\n", "@dir", init_options, cmd_init},
    {"log", "[FILE…|-]", "take events into the trail",
     "One event from the options, or JSON events, one a line, from files or standard input. Bad lines are reported\n"
     "and left out; the others go through.",
     "auditwell log --action user.login --actor user:alice --tenant acme --set context.requestId=r1\n"
     "auditwell log events.jsonl\nauditwell log < events.jsonl\n",
     "@file", log_options, cmd_log},
    {"check", "", "check configuration and plugins",
     "Reads the configuration, loads its plugins, creates every sink, and asks each store whether delivery would "
     "work.\n"
     "Nothing is started, and nothing is written to a store.",
     "auditwell check\nauditwell check --no-probe\n", NULL, check_options, cmd_check},
    {"verify", "[STORE…]", "verify the hash chains of a trail",
     "STORE is a sink of the configuration, PLUGIN:PATH, or a path. Default: the first sink that can be read.",
     "auditwell verify\nauditwell verify audit.jsonl audit.db\nauditwell verify --heads heads.txt audit.jsonl\n"
     "auditwell verify --expect-file heads.txt audit.jsonl\n"
     "auditwell verify --against audit.jsonl audit.db\n",
     "@store", verify_options, cmd_verify},
    {"query", "[STORE]", "print events of a trail",
     "Columns: time, outcome, action, actor, target, tenant, id, seq, hash, location, cursor, or any field path.",
     "auditwell query --since 2h --action 'user.*' --outcome SUCCESS\nauditwell query --tenant acme --csv > acme.csv\n"
     "auditwell query --json --limit 100 audit.jsonl\n"
     "auditwell query --columns time,action,metadata.http.status audit.db\n",
     "@store", query_options, cmd_query},
    {"tail", "[STORE]", "print the newest events of a trail", "Like query, but the last events, oldest of them first.",
     "auditwell tail\nauditwell tail -n 20 audit.jsonl\n", "@store", query_options, cmd_tail},
    {"export", "[STORE]", "write events of a trail to a file",
     "STORE is as in query. What is exported is what was sealed; in the order of the store. At the end, and when it "
     "is\n"
     "interrupted, the cursor is printed behind which --after goes on.",
     "auditwell export --since 2026-01-01 --until 2026-02-01 -o january.jsonl\n"
     "auditwell export --tenant-strict --tenant acme --format csv -o acme.csv\n"
     "auditwell export --format csv --spreadsheet --columns time,actor,action -o for-people.csv\n",
     "@store", export_options, cmd_export},
    {"migrate", "", "make what stores need, or bring them up to date",
     "Tables, columns and indexes, for sinks that have such. It may need more rights than the running service has.",
     "auditwell migrate --dry-run\nauditwell migrate --sink db\n", NULL, migrate_options, cmd_migrate},
    {"retention", "", "remove the oldest events of stores",
     "Prints what would go; --apply does it. Each store is verified first, and a sealed record of what goes is stored "
     "in\n"
     "it before anything is removed: by that the trail verifies afterwards, and one that was cut off does not.",
     "auditwell retention --keep 365d\nauditwell retention --keep 365d --apply\n"
     "auditwell retention --before 2026-01-01 --sink trail --apply\n",
     NULL, retention_options, cmd_retention},
    {"pseudonym", "VALUE|-", "print the pseudonym of a value",
     "What stands in place of VALUE where a sink has pii = \"pseudonymize\", so that a person can be found there "
     "again.\n"
     "VALUE - is read from standard input: then it is not in the list of processes. One line for each key.",
     "auditwell pseudonym --key file:key - < name.txt\n", NULL, pseudonym_options, cmd_pseudonym},
    {"stats", "[SECONDS]", "show the journal's and the sinks' state",
     "Of the process that has the journal open, live, without disturbing it; else of the last one that had.\n"
     "SECONDS goes with --watch; default 2.",
     "auditwell stats\nauditwell stats --json\n", NULL, stats_options, cmd_stats},
    {"metrics", "", "print the metrics for Prometheus",
     "In the text format 0.0.4, of the same process as stats; audit_up tells whether it is running.",
     "auditwell metrics\nauditwell metrics --path ./journal\n", NULL, metrics_options, cmd_metrics},
    {"plugins", "list | describe NAME|FILE | check NAME|FILE | new NAME [DIR]",
     "list, describe, check and begin plugins",
     "check runs a sink through what the plugin contract asks, in processes of its own: auditwell-sink(7) tells more.\n"
     "In settings, {dir} is a directory of each check's own, {id} a name of its own, {instance} 0 or 1.\n"
     "new writes the package of a sink that works, for you to change.",
     "auditwell plugins list\nauditwell plugins describe file\nauditwell plugins check file\n"
     "auditwell plugins check sqlite --only query --option 'path={dir}/audit-{instance}.db'\n"
     "auditwell plugins new courier\n",
     "list describe check new", plugins_options, cmd_plugins},
    {"deadletter", "list | show | replay | purge", "list, replay and purge events that a sink refused",
     "What a sink refuses for good is kept beside the journal, one chained file for each sink. replay gives it to the\n"
     "sink again, with id, sequence number and hash as they were; it needs no access to the journal.",
     "auditwell deadletter list\nauditwell deadletter list --verify\nauditwell deadletter show --sink trail --json\n"
     "auditwell deadletter replay --sink trail --dry-run\nauditwell deadletter replay --sink trail\n"
     "auditwell deadletter purge --sink trail --replayed --force\n",
     "list show replay purge", deadletter_options, cmd_deadletter},
    {"journal", "inspect [SEQ] | fsck | cursors | trim", "look at the journal, check and mend it",
     "inspect, fsck and cursors change nothing and work while a process has the journal open. fsck --repair, cursors\n"
     "--release and trim --force need it closed.",
     "auditwell journal inspect\nauditwell journal inspect --json\nauditwell journal fsck\n"
     "auditwell journal fsck --repair\nauditwell journal cursors\nauditwell journal trim\n",
     "inspect fsck cursors trim", journal_options, cmd_journal},
    {"version", "", "print the version", NULL, "auditwell version\n", NULL, no_options, cmd_version},
    {"help", "[SUBCOMMAND]", "print help", NULL, "auditwell help log\nauditwell help --completion bash\n", "@command",
     help_options, cmd_help},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

const struct cli_command *cli_find_command(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}
