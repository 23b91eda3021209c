/* exec_lines.c - the two pipes, in lines. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "exec_sink.h"

void ex_clean(const char *from, size_t len, char *to, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++) {
        unsigned char c = (unsigned char)from[i];
        to[n++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    to[n] = '\0';
}

/* ---- writing ---- */

ssize_t ex_writev(int fd, const void *iov, int count)
{
    static const struct timespec zero;
    sigset_t pipe_only, before, pending;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    /* The process's own way with SIGPIPE is not ours to change: it is blocked in this thread, and taken back when the
     * write made it, not somebody else before. */
    (void)sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t n = writev(fd, iov, count);
    int e = errno;
    if (n < 0 && e == EPIPE && !was_pending)
        while (sigtimedwait(&pipe_only, NULL, &zero) < 0 && errno == EINTR)
            ;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n < 0 ? -e : n;
}

void ex_poll(struct exec_sink *s, bool want_write, uint64_t until_ns)
{
    struct pollfd p[2] = {{s->out_fd, POLLIN, 0}, {want_write ? s->in_fd : -1, POLLOUT, 0}};
    uint64_t now = s->host->mono_ns();
    if (now >= until_ns)
        return;
    uint64_t ms = (until_ns - now) / 1000000u + 1;
    (void)poll(p, 2, ms < 1000 ? (int)ms : 1000); /* whatever it says, the caller looks at all of it */
}

/* ---- reading ---- */

void ex_report_ignored(struct exec_sink *s, bool now)
{
    uint64_t t = s->host->mono_ns();
    if ((s->ignored == 0 && s->malformed == 0) || (!now && s->reported_ns != 0 && t - s->reported_ns < EX_REPORT_NS))
        return;
    aw_host_log(s->host, AW_LOG_WARNING, "%s: ignored %llu acknowledgements and %llu lines that are none; the last: %s",
                s->argv[0], (unsigned long long)s->ignored, (unsigned long long)s->malformed, s->ignored_text);
    s->ignored = s->malformed = 0;
    s->reported_ns = t;
}

void ex_ignore(struct exec_sink *s, const struct ex_ack *ack, const char *why)
{
    char id[100];
    ex_clean(ack->id.ptr, ack->id.len, id, sizeof id);
    s->ignored++;
    s->host->metric_add(s->host, s->metric_ignored, 1);
    snprintf(s->ignored_text, sizeof s->ignored_text, "%s%s%s", why, id[0] != '\0' ? ", event " : "", id);
    ex_report_ignored(s, false);
}

static void take_malformed(struct exec_sink *s, const char *line, size_t len, const char *why)
{
    char text[100];
    ex_clean(line, len < 60 ? len : 60, text, sizeof text);
    s->malformed++;
    s->host->metric_add(s->host, s->metric_malformed, 1);
    snprintf(s->ignored_text, sizeof s->ignored_text, "%s: %s", why, text);
    ex_report_ignored(s, false);
}

static void take_line(struct exec_sink *s, char *line, size_t len, void (*take)(void *arg, struct ex_ack *ack),
                      void *arg)
{
    struct ex_ack ack;
    char head[64];
    size_t head_len = len < sizeof head ? len : sizeof head;
    memcpy(head, line, head_len); /* strings are decoded in place: afterwards it is not what the program said */
    s->nonsense += len + 1;
    const char *fault = ex_parse_ack(line, len, &ack);
    if (fault != NULL)
        take_malformed(s, head, head_len, fault);
    else
        take(arg, &ack);
}

int ex_read_lines(struct exec_sink *s, void (*take)(void *arg, struct ex_ack *ack), void *arg)
{
    ssize_t n = read(s->out_fd, s->in_buf + s->in_len, EX_LINE_MAX + 1 - s->in_len);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        s->in_len = 0; /* a line without its end is no answer */
        return -1;
    }
    if (n < 0)
        return 0;
    char *line = s->in_buf, *end = s->in_buf + s->in_len + n, *newline;
    while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        if (!s->skipping)
            take_line(s, line, (size_t)(newline - line), take, arg);
        s->skipping = false;
        line = newline + 1;
    }
    s->in_len = (size_t)(end - line);
    memmove(s->in_buf, line, s->in_len);
    if (s->skipping || s->in_len > EX_LINE_MAX) {
        s->nonsense += s->in_len;
        if (!s->skipping)
            take_malformed(s, s->in_buf, s->in_len, "a line of more than 65536 bytes");
        s->skipping = true;
        s->in_len = 0;
    }
    return 1;
}
