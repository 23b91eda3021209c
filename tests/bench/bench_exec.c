/* bench_exec.c - the exec sink against a bare loop over two pipes, to the same program.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What waits in the journal goes out. The program is this one, called with --exec-peer: it acknowledges each line and
 * does nothing else.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define CHUNK 65536u
#define BATCH 1000

/* ---- the program ---- */

int bench_exec_peer(void)
{
    static char buf[2u << 20], answers[CHUNK + 512];
    size_t len = 0, out = 0;
    ssize_t n;
    while ((n = read(0, buf + len, sizeof buf - len)) > 0) {
        char *line = buf, *end = buf + len + n, *newline;
        while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
            const char *id = memmem(line, (size_t)(newline - line), "\"eventId\":\"", 11);
            out += (size_t)snprintf(answers + out, sizeof answers - out,
                                    "{\"eventId\":\"%.36s\",\"status\":\"durable\"}\n", id ? id + 11 : "");
            if (out > CHUNK) {
                if (write(1, answers, out) != (ssize_t)out)
                    return 1;
                out = 0;
            }
            line = newline + 1;
        }
        if (out && write(1, answers, out) != (ssize_t)out)
            return 1;
        out = 0;
        len = (size_t)(end - line);
        memmove(buf, line, len);
    }
    return 0;
}

static const char *program(void)
{
    static char path[1024];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        bench_die("/proc/self/exe: %s", strerror(errno));
    path[n] = '\0';
    return path;
}

/* ---- the bare loop ---- */

static pid_t start_peer(int *to, int *from)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
        bench_die("pipe: %s", strerror(errno));
    const char *path = program();
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(in[0], 0) == 0 && dup2(out[1], 1) == 1)
            execl(path, path, "--exec-peer", (char *)NULL);
        _exit(127);
    }
    if (pid < 0)
        bench_die("fork: %s", strerror(errno));
    (void)close(in[0]);
    (void)close(out[1]);
    (void)fcntl(in[1], F_SETPIPE_SZ, 1 << 20); /* as the sink's */
    (void)fcntl(out[0], F_SETPIPE_SZ, 1 << 20);
    if (fcntl(in[1], F_SETFL, O_NONBLOCK) || fcntl(out[0], F_SETFL, O_NONBLOCK))
        bench_die("fcntl: %s", strerror(errno));
    *to = in[1];
    *from = out[0];
    return pid;
}

static size_t count_newlines(const char *p, size_t n)
{
    size_t lines = 0;
    for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines++;
    return lines;
}

static double limit_pipes(const struct lines *l, size_t count)
{
    int to, from;
    static char answers[CHUNK];
    size_t at = 0, off = 0, acked = 0;
    double t = bench_now();
    pid_t pid = start_peer(&to, &from);
    while (acked < count) {
        struct pollfd p[2] = {{from, POLLIN, 0}, {at < count ? to : -1, POLLOUT, 0}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            bench_die("poll: %s", strerror(errno));
        while (at < count) { /* lines of the trail lie one behind the other, with their newlines */
            size_t k = at % l->count, last = k + 64 < l->count ? k + 64 : l->count;
            if (last - k > count - at)
                last = k + (count - at);
            size_t end = l->off[last - 1] + l->len[last - 1] + 1;
            ssize_t n = write(to, l->base + l->off[k] + off, end - l->off[k] - off);
            if (n < 0 && errno == EAGAIN)
                break;
            if (n < 0)
                bench_die("write: %s", strerror(errno));
            off += (size_t)n;
            if (l->off[k] + off == end) {
                at += last - k;
                off = 0;
            }
        }
        ssize_t n = read(from, answers, sizeof answers);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            bench_die("the program ended");
        acked += n > 0 ? count_newlines(answers, (size_t)n) : 0;
    }
    t = bench_now() - t;
    (void)close(to);
    (void)close(from);
    (void)waitpid(pid, NULL, 0);
    return t;
}

void figures_exec(struct bench *b)
{
    static const struct figure f = {"exec_sink", "events/s", "bare loop over two pipes, same program", 0, false};
    if (!bench_wants(b, "exec"))
        return;
    char text[1600];
    struct series value = {.n = 0}, limit = {.n = 0};
    (void)snprintf(text, sizeof text,
                   "sinks = ( { plugin = \"exec\"; command = ( \"%s\", \"--exec-peer\" ); environment = ( "
                   "\"LD_LIBRARY_PATH\" ); batch = { events = %d; }; } );",
                   program(), BATCH);
    for (int i = 0; i < b->runs; i++) {
        series_add(&limit, (double)b->sqlite_events / limit_pipes(&b->trail, b->sqlite_events));
        series_add(&value, (double)b->sqlite_events / run_catch_up(b, text, b->sqlite_events));
        bench_clean(b);
    }
    report(&f, &value, &limit);
}
