/* plugins_check.c - auditwell plugins check: starts the conformance kit, a program of its own (tools/kit/).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

/* In a child process, since finding a plugin by its name means loading it: a plugin that cannot bear that is not a
 * reason for this command to end. 0, or an exit code after saying why. */
static int find_by_name(const char *name, char *path, size_t size)
{
    int pipe_fds[2], status = 0;
    if (pipe(pipe_fds) != 0) {
        out_error("%s", strerror(errno));
        return EXIT_UNREADABLE;
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        const void *plugin;
        const char *found;
        (void)close(pipe_fds[0]);
        int r = aw_plugins_find(name, &plugin, &found);
        if (r != AW_SUCCESS) {
            (void)out_failure(name, r);
            (void)fflush(NULL);
            _exit(EXIT_UNREADABLE);
        }
        size_t len = strlen(found);
        _exit(write(pipe_fds[1], found, len) == (ssize_t)len ? EXIT_GOOD : EXIT_UNREADABLE);
    }
    (void)close(pipe_fds[1]);
    size_t len = 0;
    for (ssize_t n; pid > 0 && len < size - 1;) {
        n = read(pipe_fds[0], path + len, size - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    path[len] = '\0';
    (void)close(pipe_fds[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GOOD && path[0] == '/')
        return 0;
    if (pid < 0)
        out_error("%s", strerror(errno));
    else if (WIFSIGNALED(status))
        out_error("%s: loading it dies of signal %d; name its file to learn more", name, WTERMSIG(status));
    else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GOOD)
        out_error("%s: is built into the library; there is no file to check", name);
    return EXIT_UNREADABLE;
}

static int find_plugin(const char *name, char path[PATH_MAX])
{
    if (!strchr(name, '/') && !strstr(name, ".so"))
        return find_by_name(name, path, PATH_MAX);
    if (realpath(name, path))
        return 0;
    out_error("%s: %s", name, strerror(errno));
    return EXIT_UNREADABLE;
}

static void find_checker(char path[PATH_MAX])
{
    const char *dir = secure_getenv("AUDITWELL_LIBEXEC_PATH");
    (void)snprintf(path, PATH_MAX, "%s/auditwell-plugin-check", dir && dir[0] == '/' ? dir : AUDITWELL_LIBEXECDIR);
}

/* The option of the kit that an option of ours is; NULL: none. */
static const char *kit_option(int id)
{
    switch (id) {
    case OPT_CLASS:
        return "--class";
    case OPT_OPTION:
        return "--option";
    case OPT_SLOW_OPTION:
        return "--slow-option";
    case OPT_ONLY:
        return "--only";
    case OPT_LIST:
        return "--list";
    case OPT_VERIFY_COMMAND:
        return "--verify-command";
    case OPT_SINK:
        return "--sink";
    case OPT_PATIENCE:
        return "--patience";
    case OPT_FAIL_LIBRARIES:
        return "--fail-libraries";
    case OPT_BATCH:
        return "--batch";
    case OPT_TIME_LIMIT:
        return "--time-limit";
    case OPT_TAP:
        return "--tap";
    default:
        return NULL;
    }
}

/* Everything but the options given. */
static size_t fixed_arguments(const char **argv, const struct cli_args *args, const char *plugin, const char *config)
{
    static char self[PATH_MAX], dir[PATH_MAX];
    size_t n = 0;
    argv[n++] = "auditwell-plugin-check";
    if (plugin[0]) {
        argv[n++] = "--plugin";
        argv[n++] = plugin;
    }
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len > 0) {
        self[len] = '\0';
        argv[n++] = "--host-command";
        argv[n++] = self;
    }
    if (getcwd(dir, sizeof dir)) { /* relative paths in --option are relative to here */
        argv[n++] = "--base-dir";
        argv[n++] = dir;
    }
    if (config[0]) {
        argv[n++] = "--config";
        argv[n++] = config;
    }
    if (args->json)
        argv[n++] = "--json";
    return n;
}

int plugins_check(const struct cli_args *args, const char *name)
{
    char plugin[PATH_MAX] = "", config[PATH_MAX] = "", checker[PATH_MAX];
    int r = name ? find_plugin(name, plugin) : 0;
    if (r != 0)
        return r;
    if (cli_has(args, OPT_SINK) && !args->config)
        return cli_usage(args, "--sink needs --config FILE, the file in which that sink is");
    if (cli_has(args, OPT_SINK) && !realpath(args->config, config)) {
        out_error("%s: %s", args->config, strerror(errno));
        return EXIT_UNREADABLE;
    }
    const char **argv = cli_alloc((2 * args->given_count + 16) * sizeof *argv);
    size_t n = fixed_arguments(argv, args, plugin, config);
    for (size_t i = 0; i < args->given_count; i++) {
        const char *option = kit_option(args->given[i].id);
        if (!option) {
            free(argv);
            return cli_usage(args, "one of these options is not for 'check'");
        }
        argv[n++] = option;
        if (args->given[i].value)
            argv[n++] = args->given[i].value;
    }
    find_checker(checker);
    (void)fflush(NULL);
    (void)execv(checker, (char *const *)(uintptr_t)argv);
    out_error("%s: %s; it is installed with auditwell", checker, strerror(errno));
    free(argv);
    return EXIT_UNREADABLE;
}
