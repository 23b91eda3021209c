/* exec_peer.c - a program for the exec sink that does as it should, or as it should not.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   exec_peer MODE FILE [NUMBER]
 *
 * Appends the events it takes to FILE and syncs it before it acknowledges them.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *mode;
static long number, taken;
static int store = -1;
static FILE *answers;

extern char **environ;

static bool is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno != EINTR)
            exit(9);
        p += w > 0 ? w : 0;
        n -= w > 0 ? (size_t)w : 0;
    }
}

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

/* The member at the top level of a canonical event: what stands before it has no such text in these tests. */
static bool event_id(const char *line, char id[200])
{
    const char *at = strstr(line, "\"eventId\":\"");
    if (at == NULL)
        return false;
    at += 11;
    size_t n = strcspn(at, "\"");
    snprintf(id, 200, "%.*s", (int)(n < 190 ? n : 190), at);
    return true;
}

static void answer(const char *id, const char *status)
{
    fprintf(answers, "{\"eventId\":\"%s\",\"status\":\"%s\"}\n", id, status);
}

static void answer_in_turn(const char *id)
{
    static const char *const all[] = {"{\"status\":\"durable\",\"eventId\":\"%s\",\"more\":{\"a\":[1,{}]}}\n",
                                      " {\"eventId\" : \"%s\" , \"status\" : \"duplicate\"} \r\n",
                                      "{\"eventId\":\"%s\",\"status\":\"retry\",\"error\":\"busy\"}\n",
                                      "{\"eventId\":\"%s\",\"status\":\"rejected\",\"error\":\"caf\\u00e9 \\n bad\"}\n",
                                      "{\"eventId\":\"%s\",\"status\":\"rejected\"}\n"};
    char form[200];
    snprintf(form, sizeof form, "%s", all[taken % 5]);
    char *at = strstr(form, "%s");
    *at = '\0';
    fprintf(answers, "%s%s%s", form, id, at + 2);
}

static void misbehave(const char *id)
{
    if (is("garbage")) {
        fprintf(answers, "starting up\n{\n[]\n{\"eventId\":\"%s\"}\n{\"eventId\":\"%s\",\"status\":\"great\"}\n", id,
                id);
        fprintf(answers, "{\"eventId\":\"%s\",\"status\":\"durable\",\"status\":\"durable\"}\n\n\xff\xfe\n", id);
    } else if (is("huge")) {
        for (int i = 0; i < 200000; i++)
            fputc('h', answers);
        fputc('\n', answers);
    } else if (is("others")) {
        answer("01890a5d-0000-0000-0000-00000000000f", "durable");
        answer(id, "durable"); /* and once more by the caller */
        fprintf(answers, "{\"flushed\":7}\n");
    } else if (is("flood-err")) {
        for (int i = 0; i < 2000; i++)
            fprintf(stderr, "complaint %d about event %ld\n", i, taken);
    }
}

/* What became of the process, for the test of its surroundings. */
static void describe(const char *path, char **argv)
{
    FILE *f = fopen(path, "w");
    struct rlimit files, core, as;
    char cwd[1000];
    int ignored = 0, signo, fds = 0, death = 0;
    sigset_t blocked;
    if (f == NULL || getcwd(cwd, sizeof cwd) == NULL || getrlimit(RLIMIT_NOFILE, &files) < 0 ||
        getrlimit(RLIMIT_CORE, &core) < 0 || getrlimit(RLIMIT_AS, &as) < 0 || prctl(PR_GET_PDEATHSIG, &death) < 0)
        exit(9);
    for (int i = 3; argv[i] != NULL; i++)
        fprintf(f, "arg=%s\n", argv[i]);
    for (char **e = environ; *e != NULL; e++)
        fprintf(f, "env=%s\n", *e);
    for (int fd = 0; fd < 1024; fd++)
        fds += fd != fileno(f) && fcntl(fd, F_GETFD) >= 0;
    (void)sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (signo = 1; signo < 32; signo++) {
        struct sigaction a;
        ignored += (sigaction(signo, NULL, &a) == 0 && a.sa_handler == SIG_IGN) || sigismember(&blocked, signo) == 1;
    }
    fprintf(f, "cwd=%s\nfds=%d\nignored=%d\nsession=%d\nfiles=%llu\ncore=%llu\nas=%d\numask=%o\ndeath=%d\nprivs=%d\n",
            cwd, fds, ignored, getsid(0) == getpid() && getpgrp() == getpid(), (unsigned long long)files.rlim_cur,
            (unsigned long long)core.rlim_cur, as.rlim_cur != RLIM_INFINITY, umask(077), death,
            prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    fclose(f);
}

static void with_child(const char *path)
{
    pid_t child = fork();
    if (child == 0)
        wait_for_ever();
    FILE *f = fopen(path, "a");
    if (f == NULL)
        exit(9);
    fprintf(f, "%ld\n", (long)child);
    fclose(f);
}

/* One line without its newline. */
static void take(char *line)
{
    static char held[4096][64];
    static long held_count;
    char id[200];
    if (strncmp(line, "{\"flush\":", 9) == 0) {
        if (is("flush-dies"))
            exit(5);
        if (is("flush-hangs"))
            wait_for_ever();
        fprintf(answers, "{\"flushed\":%ld%s}\n", strtol(line + 9, NULL, 10),
                is("flush-fails") ? ",\"error\":\"disk full\"" : "");
        return;
    }
    if (!event_id(line, id))
        exit(8);
    taken++;
    if (is("hangs"))
        return;
    if (is("reverse")) {
        snprintf(held[held_count++], sizeof held[0], "%.63s", id);
        for (bool all = held_count == number; all && held_count > 0;)
            answer(held[--held_count], "durable");
        return;
    }
    misbehave(id);
    if (is("statuses"))
        answer_in_turn(id);
    else if (is("throttle"))
        fprintf(answers, "{\"eventId\":\"%s\",\"status\":\"retry\",\"retryAfterMs\":1234}\n", id);
    else
        answer(id, strncmp(mode, "flush", 5) == 0 || is("accepts") ? "accepted" : "durable");
    if ((is("dies") || is("ends") || is("killed") || is("deaf-later")) && taken == number) {
        fflush(answers);
        if (is("killed"))
            raise(SIGKILL);
        if (is("deaf-later")) { /* answers what it has taken, and takes no more */
            close(0);
            wait_for_ever();
        }
        fprintf(stderr, "that was enough\n");
        exit(is("dies") ? 3 : 0);
    }
    if (is("slow")) {
        fflush(answers);
        usleep((useconds_t)number * 1000);
    }
}

static void serve(void)
{
    size_t cap = 1 << 20, len = 0;
    char *buf = malloc(cap + 1), *line, *newline;
    ssize_t n;
    while (buf != NULL && (n = read(0, buf + len, cap - len)) > 0) {
        len += (size_t)n;
        size_t whole = len;
        while (whole > 0 && buf[whole - 1] != '\n')
            whole--;
        if (store >= 0) {
            write_all(store, buf, whole);
            if (fdatasync(store) < 0)
                exit(9);
        }
        buf[len] = '\0';
        for (line = buf; (newline = memchr(line, '\n', (size_t)(buf + whole - line))) != NULL; line = newline + 1) {
            *newline = '\0';
            take(line);
        }
        fflush(answers);
        len -= whole;
        memmove(buf, buf + whole, len);
        if (len == cap) {
            cap *= 2;
            buf = realloc(buf, cap + 1);
        }
    }
    free(buf);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 9;
    mode = argv[1];
    number = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    answers = stdout;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (is("describe"))
        describe(argv[2], argv);
    else if (is("tree"))
        with_child(argv[2]);
    else if (argv[2][0] != '-')
        store = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (is("wrong")) {
        fprintf(stderr, "no such setting: \x1b[31mfoo\n");
        return 78;
    }
    if (is("stubborn") || is("hangs-stubborn"))
        signal(SIGTERM, SIG_IGN);
    if (is("hangs-stubborn"))
        mode = "hangs";
    if (is("deaf") || is("stubborn"))
        wait_for_ever();
    if (is("mute")) {
        close(1);
        wait_for_ever();
    }
    if (is("flood-out"))
        for (;;)
            if (puts("all work and no play makes jack a dull boy") < 0)
                return 1;
    if (is("crash"))
        return 4;
    serve();
    if (is("hangs"))
        wait_for_ever();
    return 0;
}
