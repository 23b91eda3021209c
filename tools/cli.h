/* cli.h - what the parts of the auditwell command share: the table of subcommands, parsed arguments, output.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The command stands on <audit/audit.h> and <audit/plugin.h> alone. It is one process with one job: running out of
 * memory ends it (exit 3) inside the helpers below, so their callers need no check.
 */
#ifndef CLI_H
#define CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <audit/audit.h>
#include <audit/plugin.h>

/* Exit codes, documented in auditwell(1). */
#define EXIT_GOOD 0
#define EXIT_FINDINGS 1
#define EXIT_USAGE 2
#define EXIT_UNREADABLE 3
#define EXIT_VIEW 4 /* verify: good, but the content of views was not verified */

/* ---- the table of subcommands (table.c) ------------------------------------------------------------------------- */

/* Ids of options without a letter; others are their letter. */
enum {
    OPT_JSON = 256,
    OPT_SLOT,
    OPT_ACTOR,
    OPT_AFTER,
    OPT_ALL,
    OPT_APPLY,
    OPT_BEFORE,
    OPT_AGAINST,
    OPT_BATCH,
    OPT_CLASS,
    OPT_COLUMNS,
    OPT_COMPLETE,
    OPT_COMPLETION,
    OPT_CSV,
    OPT_DRY_RUN,
    OPT_EXPECT,
    OPT_EXPECT_FILE,
    OPT_FAIL_LIBRARIES,
    OPT_FINDINGS,
    OPT_FORCE,
    OPT_HEADS,
    OPT_JSON_CURSOR,
    OPT_KEEP,
    OPT_LIST,
    OPT_MAX_FINDINGS,
    OPT_MIDCHAIN,
    OPT_NO_FLUSH,
    OPT_NO_PROBE,
    OPT_ONLY,
    OPT_OPTION,
    OPT_OUTCOME,
    OPT_PARTIAL,
    OPT_PATH,
    OPT_PATIENCE,
    OPT_RELEASE,
    OPT_REPAIR,
    OPT_REPLAYED,
    OPT_SEQ,
    OPT_SET,
    OPT_SET_JSON,
    OPT_SINCE,
    OPT_SINK,
    OPT_SLOW_OPTION,
    OPT_SPREADSHEET,
    OPT_STRICT,
    OPT_TABLE,
    OPT_TAP,
    OPT_TARGET,
    OPT_TENANT,
    OPT_TENANT_STRICT,
    OPT_TIMEOUT,
    OPT_TIME_LIMIT,
    OPT_UNTIL,
    OPT_VERIFY,
    OPT_VERIFY_COMMAND,
    OPT_VIEWS,
};

struct cli_option {
    int id; /* letter, or OPT_*; 0 ends a list */
    const char *name;
    const char *arg;   /* NULL: takes none */
    const char *words; /* what completion offers for arg: space-separated words, "@file", "@dir", "@store", or NULL */
    const char *help;  /* one line */
};

struct cli_args;
struct cli_command {
    const char *name;
    const char *usage; /* what follows the options, "[FILE…]" */
    const char *summary;
    const char *about;                 /* more lines for --help, or NULL */
    const char *examples;              /* lines; each a command that works */
    const char *words;                 /* what completion offers for the positional arguments, as above */
    const struct cli_option *options;  /* its own; the common ones come on top */
    int (*run)(struct cli_args *args); /* returns an exit code */
};
extern const struct cli_command cli_commands[];               /* ends with name == NULL */
extern const struct cli_option cli_common[];                  /* of every subcommand */
extern const struct cli_option cli_global[];                  /* before the subcommand */
const struct cli_command *cli_find_command(const char *name); /* NULL: none */

/* ---- arguments (args.c) ------------------------------------------------------------------------------------------ */
struct cli_given {
    int id;
    const char *value; /* NULL: the option takes none */
};
struct cli_args {
    const struct cli_command *command;
    const char *config; /* -c, NULL = the default places */
    bool json, help;
    bool slot_given;
    uint32_t slot;           /* --slot, 0 by default */
    struct cli_given *given; /* in the order given; the common ones are not here */
    size_t given_count;
    char *const *words; /* positional */
    size_t word_count;
};
/* Parses argv[0..argc) of one subcommand (argv[0] is its name). 0, or EXIT_USAGE after saying why. */
int cli_parse(struct cli_args *args, int argc, char **argv);
/* Options before the subcommand; *ret_next: index of the subcommand in argv. */
int cli_parse_global(struct cli_args *args, int argc, char **argv, int *ret_next, bool *ret_version);
void cli_args_free(struct cli_args *args);
bool cli_has(const struct cli_args *args, int id);
const char *cli_value(const struct cli_args *args, int id); /* the last one given, or NULL */
/* 0, or EXIT_USAGE after saying why. Unset: *ret keeps its value. */
int cli_number(const struct cli_args *args, int id, const char *name, uint64_t max, uint64_t *ret);
int cli_duration(const struct cli_args *args, int id, const char *name,
                 int *ret_ms);                                  /* "250ms", "30s", "5m", "1h", "30" = s */
int cli_outcome(const struct cli_args *args, const char *word); /* NULL is fine; 0, or EXIT_USAGE after saying why */
/* "17" or "17-20" (both ends belong to it). 0, or EXIT_USAGE after saying why. */
int cli_seqs(const struct cli_args *args, const char *text, uint64_t *ret_first, uint64_t *ret_last);
/* Says what is wrong with the call; returns EXIT_USAGE. */
int cli_usage(const struct cli_args *args, const char *fmt, ...) AW_PRINTF(2, 3);

/* ---- text in memory (text.c) ------------------------------------------------------------------------------------- */
struct text {
    char *ptr; /* NUL-terminated once something was added */
    size_t len, size;
};
void text_reset(struct text *t); /* keeps the memory */
void text_free(struct text *t);
void text_add(struct text *t, const char *s, size_t len);
void text_puts(struct text *t, const char *s);
void text_printf(struct text *t, const char *fmt, ...) AW_PRINTF(2, 3);
/* For people: control characters, invisible and direction-changing characters and bytes that are no UTF-8 become
 * visible escapes, so that nothing in an event can drive a terminal. ascii: everything beyond ASCII is escaped too.
 * Returns the columns that were added. max_width 0 = no bound; else the text is cut with an ellipsis. */
size_t text_safe(struct text *t, const char *s, size_t len, bool ascii, size_t max_width);
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD, what text_safe() would show as an escape is \u.
 */
void text_json(struct text *t, const char *s, size_t len);
/* JSON text as it is, but what could drive a terminal as \u escapes (same meaning). */
void text_json_safe(struct text *t, const char *s, size_t len);
/* One CSV cell (RFC 4180). Unless it is to be exact, a cell that a spreadsheet would take for a formula gets a leading
 * apostrophe. */
void text_csv(struct text *t, const char *s, size_t len, bool exact);
void *cli_alloc(size_t size); /* zeroed */
void *cli_realloc(void *p, size_t size);

/* ---- output (out.c) ---------------------------------------------------------------------------------------------- */
/* Before anything is opened: no standard descriptor is left closed, locale, SIGPIPE, is there a terminal. */
void out_init(void);
bool out_terminal(void);     /* stdout is one */
bool out_err_terminal(void); /* stderr is one */
bool out_ascii(void);        /* stdout is a terminal without UTF-8 */
size_t out_columns(void);    /* width of the terminal; 0 = not a terminal */
#define COLOR_GOOD "32"
#define COLOR_BAD "31;1"
#define COLOR_WARN "33"
#define COLOR_DIM "2"
#define COLOR_BOLD "1"
/* text in colour, if stdout has colours. Not for text from outside. */
void out_color(FILE *file, const char *color, const char *text);
void out_text(const struct text *t); /* to stdout */
/* A string from outside, made safe for people, on either stream. */
void out_safe(FILE *file, const char *s);
/* "auditwell: …" on stderr, clearing a progress line first; the text is made safe. */
void out_error(const char *fmt, ...) AW_PRINTF(1, 2);
/* The problems of the last auditwell call on this thread, each "prefix" + "path: message". Returns how many. */
size_t out_problems(const char *prefix);
/* Problems, or the name of the code when there are none; returns the exit code for it. */
int out_failure(const char *what, int code);
/* An aw_diag_fn: warnings and errors to stderr. */
void out_diag(void *arg, int severity, const char *instance, const char *line);
/* Has writing to stdout failed already? Then there is no use in going on. */
bool out_failed(void);
/* Set by those who write for ever: a reader that goes away is then a good end. */
extern bool out_reader_may_leave;
/* Flushes stdout. code, or EXIT_UNREADABLE when not everything could be written. */
int out_finish(int code);
/* Set by SIGINT, SIGTERM and SIGHUP after out_catch_signals(): the signal's number. */
extern volatile int out_signal, out_signal_count;
void out_catch_signals(void);
/* SIGHUP sets this instead: reopen. */
extern volatile int out_hangup;
void out_catch_hangup(void);

/* ---- progress on stderr (progress.c) ----------------------------------------------------------------------------- */
struct progress {
    bool shown, quiet;
    const char *what; /* "events" */
    uint64_t start_ns, last_ns;
    uint64_t total_bytes; /* 0 = unknown */
};
uint64_t progress_now_ns(void);
void progress_start(struct progress *p, const char *what, uint64_t total_bytes, bool quiet);
void progress_update(struct progress *p, uint64_t count, uint64_t bytes);     /* shows at most 10 a second */
void progress_note(struct progress *p, const char *fmt, ...) AW_PRINTF(2, 3); /* instead of the count */
void progress_clear(void);                                                    /* removes the line, if there is one */

/* ---- a store opened for reading (store_arg.c) ----------------------------------------------------------------------
 */
int cli_store_open(const struct cli_args *args, const char *name, struct aw_store **ret); /* 0 or an exit code */
void cli_say_slots(const struct cli_args *args); /* on stderr, when there are others and none was asked for */

/* ---- rows of query, tail and export (rows.c)
 * ------------------------------------------------------------------------------
 */
enum rows_format { ROWS_TABLE, ROWS_JSON, ROWS_CSV, ROWS_ARRAY /* one JSON array */ };
struct rows;
/* columns: comma-separated, NULL = the usual ones. NULL after a usage error was said. */
struct rows *rows_create(const struct cli_args *args, enum rows_format format, const char *columns);
void rows_add(struct rows *rows, const struct aw_result_row *row);
void rows_flush(struct rows *rows);                 /* what is held back for the widths */
void rows_end(struct rows *rows);                   /* and what closes it; once */
void rows_set_file(struct rows *rows, FILE *file);  /* instead of standard output; errors stay in the file */
void rows_set_exact(struct rows *rows, bool exact); /* of CSV: as text_csv() */
uint64_t rows_malformed(const struct rows *rows);   /* rows that are no event; told on stderr */
void rows_destroy(struct rows *rows);

/* ---- the subcommands, one file each ---------------------------------------------------------------------------------
 */
int cmd_init(struct cli_args *args);
int cmd_log(struct cli_args *args);
int cmd_check(struct cli_args *args);
int cmd_verify(struct cli_args *args);
int cmd_query(struct cli_args *args);
int cmd_export(struct cli_args *args);
int cmd_migrate(struct cli_args *args);
int cmd_retention(struct cli_args *args);
int cmd_tail(struct cli_args *args);
int cmd_stats(struct cli_args *args);
int cmd_metrics(struct cli_args *args);
int cmd_plugins(struct cli_args *args);
int plugins_check(const struct cli_args *args, const char *name); /* NULL with --list */
int plugins_new(const struct cli_args *args, const char *name, const char *dir);
int cmd_deadletter(struct cli_args *args);
int cmd_journal(struct cli_args *args);
int cmd_pseudonym(struct cli_args *args);
int cmd_version(struct cli_args *args);
int cmd_help(struct cli_args *args);
void help_command(const struct cli_command *command); /* its --help, on stdout */
void help_all(void);
void completion_bash(void); /* on stdout */

#endif
