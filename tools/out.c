/* out.c - standard output and standard error of the command.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

static bool stdout_terminal, stderr_terminal, stdout_color, utf8;
static int write_errno;
bool out_reader_may_leave;
volatile int out_signal, out_signal_count, out_hangup;

/* A descriptor that is closed at start would be given to the next file opened, and our output written into it. It is
 * taken by one on which the missing direction fails, so that using it is still an error. */
static void hold_descriptor(int fd, int flags)
{
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
        return;
    int got = open("/dev/null", flags);
    if (got != fd)
        exit(EXIT_UNREADABLE); /* there is nowhere left to say why */
}

void out_init(void)
{
    hold_descriptor(STDIN_FILENO, O_WRONLY);
    hold_descriptor(STDOUT_FILENO, O_RDONLY);
    hold_descriptor(STDERR_FILENO, O_RDONLY);
    (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error, seen by out_failed() */
    stdout_terminal = isatty(STDOUT_FILENO) == 1;
    stderr_terminal = isatty(STDERR_FILENO) == 1;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    stdout_color = stdout_terminal && !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
    utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (!stdout_terminal)
        (void)setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

bool out_terminal(void)
{
    return stdout_terminal;
}

bool out_err_terminal(void)
{
    return stderr_terminal;
}

bool out_ascii(void)
{
    return stdout_terminal && !utf8;
}

size_t out_columns(void)
{
    struct winsize size;
    if (!stdout_terminal)
        return 0;
    const char *env = getenv("COLUMNS");
    unsigned long n = env ? strtoul(env, NULL, 10) : 0;
    if (n >= 20 && n <= 10000)
        return (size_t)n;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
}

void out_color(FILE *file, const char *color, const char *text)
{
    if (stdout_color && file == stdout)
        fprintf(file, "\033[%sm%s\033[0m", color, text);
    else
        fputs(text, file);
}

bool out_failed(void)
{
    if (ferror(stdout) && write_errno == 0)
        write_errno = errno ? errno : EIO;
    return ferror(stdout) != 0;
}

void out_text(const struct text *t)
{
    if (t->len && fwrite(t->ptr, 1, t->len, stdout) != t->len && write_errno == 0)
        write_errno = errno;
}

void out_safe(FILE *file, const char *s)
{
    struct text t = {0};
    (void)text_safe(&t, s, strlen(s), file == stdout ? out_ascii() : stderr_terminal && !utf8, 0);
    fputs(t.ptr, file);
    text_free(&t);
}

void out_error(const char *fmt, ...)
{
    struct text t = {0};
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    (void)text_safe(&t, line, strlen(line), stderr_terminal && !utf8, 0);
    text_add(&t, "\n", 1);
    progress_clear();
    fprintf(stderr, "auditwell: %s", t.ptr);
    text_free(&t);
}

size_t out_problems(const char *prefix)
{
    size_t count;
    struct text t = {0};
    const struct aw_problem *const *problems = aw_problems(&count);
    bool ascii = stderr_terminal && !utf8;
    for (size_t i = 0; i < count; i++) {
        const struct aw_problem *p = problems[i];
        text_puts(&t, prefix);
        (void)text_safe(&t, p->path, strlen(p->path), ascii, 0);
        text_puts(&t, p->path[0] ? ": " : "");
        text_puts(&t, p->code == AW_SUCCESS ? "warning: " : "");
        (void)text_safe(&t, p->message, strlen(p->message), ascii, 0);
        text_add(&t, "\n", 1);
    }
    if (t.len) {
        progress_clear();
        (void)fwrite(t.ptr, 1, t.len, stderr);
    }
    text_free(&t);
    return count;
}

int out_failure(const char *what, int code)
{
    if (out_problems("auditwell: ") == 0)
        out_error("%s: %s", what, aw_error_name(code));
    return code == AW_ERR_USAGE ? EXIT_USAGE : EXIT_UNREADABLE;
}

void out_diag(void *arg, int severity, const char *instance, const char *line)
{
    (void)arg;
    if (severity >= AW_LOG_WARNING)
        out_error("%s%s%s%s", severity >= AW_LOG_ERROR ? "" : "warning: ", instance ? instance : "",
                  instance && instance[0] ? ": " : "", line);
}

int out_finish(int code)
{
    errno = 0;
    if (fflush(stdout) != 0 && write_errno == 0)
        write_errno = errno;
    if (!out_failed() || (write_errno == EPIPE && out_reader_may_leave))
        return code;
    if (write_errno != EPIPE) /* a reader that has seen enough needs no message */
        out_error("standard output: cannot write: %s", strerror(write_errno));
    return EXIT_UNREADABLE;
}

static void on_signal(int number)
{
    out_signal = number;
    out_signal_count++;
}

static void on_hangup(int number)
{
    (void)number;
    out_hangup = 1;
}

void out_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a read in progress ends */
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

void out_catch_hangup(void)
{
    struct sigaction action = {.sa_handler = on_hangup};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGHUP, &action, NULL);
}
