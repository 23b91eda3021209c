/* init.c - auditwell init: a configuration that works at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

struct places {
    char *config; /* the file */
    char *state;  /* directory of journal and stores, absolute once it is made */
};

static char *join(const char *a, const char *b)
{
    struct text t = {0};
    text_puts(&t, a);
    text_puts(&t, b);
    return t.ptr; /* the caller frees it */
}

/* $VARIABLE/suffix, or $HOME/fallback/suffix; NULL when neither is an absolute path. */
static char *user_place(const char *variable, const char *fallback, const char *suffix)
{
    const char *dir = getenv(variable), *home = getenv("HOME");
    if (dir && dir[0] == '/')
        return join(dir, suffix);
    if (!home || home[0] != '/')
        return NULL;
    char *base = join(home, fallback), *full = join(base, suffix);
    free(base);
    return full;
}

static int find_places(const struct cli_args *args, struct places *p)
{
    const char *dir = cli_value(args, 'd');
    if (args->word_count > 1 || (dir && args->word_count))
        return cli_usage(args, "one directory at most");
    if (args->word_count)
        dir = args->words[0];
    if (dir && !dir[0])
        return cli_usage(args, "the directory has no name");
    p->state = dir ? join(dir, "") : user_place("XDG_STATE_HOME", "/.local/state", "/auditwell");
    if (args->config)
        p->config = join(args->config, "");
    else
        p->config = dir ? join(dir, "/audit.conf") : user_place("XDG_CONFIG_HOME", "/.config", "/auditwell/audit.conf");
    if (p->state && p->config)
        return 0;
    out_error("neither XDG_STATE_HOME and XDG_CONFIG_HOME nor HOME is an absolute path; give --dir DIR");
    return EXIT_USAGE;
}

/* Makes path and what is missing above it, 0700. What exists is left as it is. */
static int make_dirs(const char *path)
{
    char *copy = join(path, "");
    int r = 0;
    for (char *s = copy + 1; r == 0; s++) {
        if (*s != '/' && *s != '\0')
            continue;
        char end = *s;
        *s = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST && errno != EISDIR)
            r = errno;
        *s = end;
        if (end == '\0')
            break;
    }
    struct stat st;
    if (r == 0 && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        r = ENOTDIR;
    free(copy);
    if (r == 0)
        return 0;
    out_error("%s: the directory cannot be made: %s", path, strerror(r));
    return EXIT_UNREADABLE;
}

static int make_parent(const char *file)
{
    const char *slash = strrchr(file, '/');
    if (!slash || slash == file)
        return 0;
    char *dir = join(file, "");
    dir[slash - file] = '\0';
    int r = make_dirs(dir);
    free(dir);
    return r;
}

/* A string of audit.conf. */
static void quoted(struct text *t, const char *dir, const char *name)
{
    text_puts(t, "\"");
    for (int i = 0; i < 2; i++)
        for (const char *s = i == 0 ? dir : name; *s; s++) {
            text_puts(t, *s == '"' || *s == '\\' ? "\\" : "");
            text_add(t, s, 1);
        }
    text_puts(t, "\"");
}

static void head_part(struct text *t, const char *state)
{
    text_puts(t, "# audit.conf: how auditwell records. See audit.conf(5).\n"
                 "# Check a change with: auditwell check\n\n"
                 "# Names this application in every event; chains of events without a tenant belong to it.\n"
                 "service = \"my-service\";\n\n"
                 "# Every event is sealed and written here first. One process at a time uses a journal.\n"
                 "journal = {\n  path = ");
    quoted(t, state, "/journal");
    text_puts(t, ";\n"
                 "  # \"process\": an event survives the death of the process; \"disk\": also a power failure.\n"
                 "  durability = \"process\";\n"
                 "  # max_size = \"1GiB\";\n"
                 "};\n\n"
                 "# A full journal: \"queue\" waits and then refuses, \"block\" waits for the sinks with each event,\n"
                 "# \"drop\" drops and counts.\n"
                 "# mode = \"queue\";\n\n"
                 "# Secrets are masked before anything is stored. Well-known names and values are found without being\n"
                 "# listed; add your own.\n"
                 "redaction = {\n"
                 "  # keys = ( \"ssn\" );\n"
                 "  # paths = ( \"metadata.headers.authorization\" );\n"
                 "  # patterns = ( \"^secret_\" );\n"
                 "};\n\n"
                 "# Events of a tenant (or of this service) form a hash chain: auditwell verify.\n"
                 "integrity = { mode = \"chain\"; };\n\n"
                 "# Where the trail goes. What a plugin can do: auditwell plugins describe NAME\n");
}

static void sink_part(struct text *t, const char *state, const char *plugin, const char *name, const char *file,
                      bool last)
{
    const void *found;
    const char *path;
    bool there = aw_plugins_find(plugin, &found, &path) == AW_SUCCESS;
    const char *mark = there ? "" : "# ";
    if (!there)
        text_printf(t, "  # The plugin %s is not installed.\n", plugin);
    text_printf(t, "  %s{ plugin = \"%s\"; name = \"%s\"; path = ", mark, plugin, name);
    quoted(t, state, file);
    text_printf(t, "; }%s\n", last ? "" : there ? "," : " # and a comma here");
}

static void write_text(struct text *t, const char *state)
{
    const void *found;
    const char *path;
    bool sqlite = aw_plugins_find("sqlite", &found, &path) == AW_SUCCESS;
    head_part(t, state);
    text_puts(t, "sinks = (\n");
    sink_part(t, state, "file", "trail", "/audit.jsonl", !sqlite);
    sink_part(t, state, "sqlite", "db", "/audit.db", true);
    text_puts(t, ");\n");
}

static int write_all(int fd, const struct text *t)
{
    for (size_t done = 0; done < t->len;) {
        ssize_t n = write(fd, t->ptr + done, t->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        done += (size_t)n;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

/* Whole or not at all: written beside, then linked (never over a file) or renamed (with --force). */
static int write_config(const char *path, const struct text *t, bool force)
{
    struct text temporary = {0};
    text_printf(&temporary, "%s.%ld.tmp", path, (long)getpid());
    int r = 0, fd = open(temporary.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        r = errno;
    } else {
        r = write_all(fd, t);
        if (close(fd) != 0 && r == 0)
            r = errno;
        if (r == 0 && (force ? rename(temporary.ptr, path) : link(temporary.ptr, path)) != 0)
            r = errno;
        if (!force || r != 0)
            (void)unlink(temporary.ptr);
    }
    text_free(&temporary);
    if (r == 0)
        return 0;
    if (r == EEXIST)
        out_error("%s exists already; --force replaces it", path);
    else
        out_error("%s: cannot be written: %s", path, strerror(r));
    return r == EEXIST ? EXIT_FINDINGS : EXIT_UNREADABLE;
}

static void say_done(const struct cli_args *args, const struct places *p)
{
    struct text t = {0};
    if (args->json) {
        text_puts(&t, "{\"config\":");
        text_json(&t, p->config, strlen(p->config));
        text_puts(&t, ",\"directory\":");
        text_json(&t, p->state, strlen(p->state));
        text_puts(&t, "}\n");
    } else {
        /* Only the default place is found without -c. */
        char *standard = user_place("XDG_CONFIG_HOME", "/.config", "/auditwell/audit.conf");
        bool is_standard = standard && strcmp(standard, p->config) == 0;
        text_puts(&t, "Wrote ");
        (void)text_safe(&t, p->config, strlen(p->config), out_ascii(), 0);
        text_puts(&t, "\nThe trail goes to ");
        (void)text_safe(&t, p->state, strlen(p->state), out_ascii(), 0);
        text_puts(&t, "\nNext: auditwell log --action user.login --actor user:alice");
        if (!is_standard) {
            text_puts(&t, " -c ");
            (void)text_safe(&t, p->config, strlen(p->config), out_ascii(), 0);
        }
        text_puts(&t, "\n");
        free(standard);
    }
    out_text(&t);
    text_free(&t);
}

int cmd_init(struct cli_args *args)
{
    struct places p = {NULL, NULL};
    struct text t = {0};
    int r = find_places(args, &p);
    if (r == 0 && !cli_has(args, OPT_FORCE) && access(p.config, F_OK) == 0) {
        out_error("%s exists already; --force replaces it", p.config);
        r = EXIT_FINDINGS;
    }
    if (r == 0)
        r = make_dirs(p.state);
    if (r == 0)
        r = make_parent(p.config);
    char *state = r == 0 ? realpath(p.state, NULL) : NULL;
    if (r == 0 && !state) {
        out_error("%s: %s", p.state, strerror(errno));
        r = EXIT_UNREADABLE;
    }
    if (r == 0) {
        write_text(&t, state);
        r = write_config(p.config, &t, cli_has(args, OPT_FORCE));
    }
    if (r == 0)
        say_done(args, &p);
    text_free(&t);
    free(state);
    free(p.config);
    free(p.state);
    return r;
}
