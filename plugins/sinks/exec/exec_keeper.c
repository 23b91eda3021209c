/* exec_keeper.c - the thread that starts the program and passes its standard error on.
 * SPDX-License-Identifier: Apache-2.0
 *
 * It outlives every program it starts: the kernel kills a program with the thread that started it (PR_SET_PDEATHSIG),
 * which is meant for the end of the process. Standard error is read all the time, so that a program that complains
 * never waits for us; how much of it becomes diagnostics is limited.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exec_sink.h"

#define LINES_BURST 50.0
#define LINES_PER_S 10.0
#define PIPE_SIZE (1 << 20)
#define DRAIN_MAX (256u * 1024u)
#define FLOOD_PAUSE_NS 10000000L

/* ---- standard error ---- */

static void pass_line(struct exec_sink *s)
{
    char line[EX_TEXT];
    ex_clean(s->err_buf, s->err_len, line, sizeof line);
    s->err_len = 0;
    if (line[0] == '\0')
        return;
    pthread_mutex_lock(&s->lock);
    snprintf(s->said, sizeof s->said, "%s", line);
    pthread_mutex_unlock(&s->lock);
    s->host->metric_add(s->host, s->metric_stderr, 1);
    uint64_t now = s->host->mono_ns();
    s->err_tokens += (double)(now - s->err_refilled_ns) / 1e9 * LINES_PER_S;
    s->err_refilled_ns = now;
    if (s->err_tokens > LINES_BURST)
        s->err_tokens = LINES_BURST;
    if (s->err_tokens < 1) {
        s->err_suppressed++;
        return;
    }
    s->err_tokens -= 1;
    if (s->err_suppressed > 0)
        aw_host_log(s->host, AW_LOG_WARNING, "%s: %llu lines of its standard error are left out", s->argv[0],
                    (unsigned long long)s->err_suppressed);
    s->err_suppressed = 0;
    aw_host_log(s->host, AW_LOG_WARNING, "%s: stderr: %s", s->argv[0], line);
}

static void take_stderr(struct exec_sink *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            if (!s->err_cut)
                pass_line(s);
            s->err_cut = false;
            s->err_len = 0;
        } else if (!s->err_cut) {
            s->err_buf[s->err_len++] = bytes[i];
            if (s->err_len == sizeof s->err_buf) { /* the rest of the line is left out */
                pass_line(s);
                s->err_cut = true;
            }
        }
    }
}

/* false: nothing more now, or ever. */
static bool read_stderr(struct exec_sink *s)
{
    char buf[65536];
    ssize_t n = read(s->err_fd, buf, sizeof buf);
    if (n > 0) {
        take_stderr(s, buf, (size_t)n);
        if (s->err_suppressed > 0) { /* who floods is slowed down by its own pipe */
            struct timespec t = {0, FLOOD_PAUSE_NS};
            nanosleep(&t, NULL);
        }
        return true;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return errno == EINTR;
    close(s->err_fd);
    s->err_fd = -1;
    return false;
}

static void end_stderr(struct exec_sink *s)
{
    for (size_t i = 0; s->err_fd >= 0 && i < DRAIN_MAX / 65536 && read_stderr(s);)
        i++;
    if (s->err_len > 0 && !s->err_cut)
        pass_line(s);
    s->err_len = 0;
    s->err_cut = false;
    if (s->err_suppressed > 0)
        aw_host_log(s->host, AW_LOG_WARNING, "%s: %llu lines of its standard error are left out", s->argv[0],
                    (unsigned long long)s->err_suppressed);
    s->err_suppressed = 0;
    if (s->err_fd >= 0) /* a descendant of the program has it still */
        close(s->err_fd);
    s->err_fd = -1;
}

/* ---- starting ---- */

/* A pipe whose ends are clear of 0 to 3, which the child sets anew. */
static int make_pipe(int ends[2])
{
    int raw[2];
    if (pipe2(raw, O_CLOEXEC) < 0)
        return -errno;
    ends[0] = fcntl(raw[0], F_DUPFD_CLOEXEC, 10);
    ends[1] = ends[0] < 0 ? -1 : fcntl(raw[1], F_DUPFD_CLOEXEC, 10);
    int e = errno;
    close(raw[0]);
    close(raw[1]);
    if (ends[1] >= 0)
        return 0;
    if (ends[0] >= 0)
        close(ends[0]);
    ends[0] = ends[1] = -1;
    return -e;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* 0 or errno; *step tells of what. */
static int spawn(struct exec_sink *s, enum ex_step *step)
{
    enum { IN, OUT, ERR };
    int p[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, e = 0;
    pid_t pid = 0;
    for (int i = 0; i < 3 && e == 0; i++)
        e = -make_pipe(p[i]);
    if (e == 0 && (fcntl(p[IN][1], F_SETFL, O_NONBLOCK) < 0 || fcntl(p[OUT][0], F_SETFL, O_NONBLOCK) < 0 ||
                   fcntl(p[ERR][0], F_SETFL, O_NONBLOCK) < 0))
        e = errno;
    if (e == 0) {
        (void)fcntl(p[IN][1], F_SETPIPE_SZ, PIPE_SIZE); /* larger is faster; the default will do */
        (void)fcntl(p[OUT][0], F_SETPIPE_SZ, PIPE_SIZE);
        s->child.in = p[IN][0];
        s->child.out = p[OUT][1];
        s->child.err = p[ERR][1];
        s->child.parent = getpid();
        pid = ex_child_start(&s->child);
        e = pid < 0 ? -pid : 0;
    }
    const int childs[] = {p[IN][0], p[OUT][1], p[ERR][1]}, ours[] = {p[IN][1], p[OUT][0], p[ERR][0]};
    close_all(childs, 3);
    if (e == 0 && s->child.failed_error != 0) {
        e = s->child.failed_error;
        *step = s->child.failed_step;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (e != 0)
        close_all(ours, 3);
    if (e != 0)
        return e;
    s->in_fd = p[IN][1]; /* the worker waits for our answer: it sees them after the lock */
    s->out_fd = p[OUT][0];
    s->err_fd = p[ERR][0];
    pthread_mutex_lock(&s->lock);
    s->pid = pid;
    s->said[0] = '\0';
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* ---- the thread ---- */

/* Answers what is asked. false: it is to end. */
static bool serve(struct exec_sink *s)
{
    uint64_t count;
    enum ex_step step = EX_STEP_FD;
    int error = 0;
    (void)read(s->wake_fd, &count, sizeof count); /* non-blocking; only wakes */
    pthread_mutex_lock(&s->lock);
    enum ex_request request = s->request;
    pthread_mutex_unlock(&s->lock);
    if (request == EX_REQUEST_NONE)
        return true;
    if (request == EX_REQUEST_SPAWN)
        error = spawn(s, &step);
    else
        end_stderr(s);
    pthread_mutex_lock(&s->lock);
    s->spawn_error = error;
    s->spawn_step = step;
    s->request = EX_REQUEST_NONE;
    pthread_cond_signal(&s->answered);
    pthread_mutex_unlock(&s->lock);
    return request != EX_REQUEST_QUIT;
}

static void *keeper_main(void *arg)
{
    struct exec_sink *s = arg;
    do {
        struct pollfd fds[2] = {{s->wake_fd, POLLIN, 0}, {s->err_fd, POLLIN, 0}};
        if (poll(fds, s->err_fd >= 0 ? 2 : 1, -1) < 0)
            continue;
        if (s->err_fd >= 0 && fds[1].revents != 0)
            (void)read_stderr(s);
    } while (serve(s));
    return NULL;
}

void ex_keeper_ask(struct exec_sink *s, enum ex_request request)
{
    static const uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    s->request = request;
    (void)!write(s->wake_fd, &one, sizeof one); /* an eventfd of which nobody else adds: never full */
    while (s->request != EX_REQUEST_NONE)
        pthread_cond_wait(&s->answered, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

int32_t ex_keeper_start(struct exec_sink *s)
{
    sigset_t all, before;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return aw_host_error(s->host, AW_E_UNAVAILABLE, "eventfd: %s", strerror(errno));
    s->err_fd = -1;
    s->err_len = s->err_suppressed = 0;
    s->err_tokens = LINES_BURST;
    s->err_refilled_ns = s->host->mono_ns();
    s->request = EX_REQUEST_NONE;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&s->keeper, NULL, keeper_main, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->keeper_runs = e == 0;
    if (e == 0)
        return AW_OK;
    close(s->wake_fd);
    s->wake_fd = -1;
    return aw_host_error(s->host, AW_E_UNAVAILABLE, "cannot start a thread: %s", strerror(e));
}

void ex_keeper_stop(struct exec_sink *s)
{
    if (!s->keeper_runs)
        return;
    ex_keeper_ask(s, EX_REQUEST_QUIT);
    (void)pthread_join(s->keeper, NULL);
    s->keeper_runs = false;
    close(s->wake_fd);
    s->wake_fd = -1;
}
