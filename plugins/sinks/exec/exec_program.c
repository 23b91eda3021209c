/* exec_program.c - the program's life: may it be run, when is it started again, how does it end.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_sink.h"

#define KILL_WAIT_NS UINT64_C(5000000000)
#define GROUPS_MAX 65536

int32_t ex_set_health(struct exec_sink *s, int32_t code, const char *detail)
{
    uint64_t now = s->host->now_ns();
    pthread_mutex_lock(&s->lock);
    int32_t state = code == AW_OK ? AW_HEALTH_OK : code == AW_E_TIMEOUT ? AW_HEALTH_DEGRADED : AW_HEALTH_DOWN;
    if (state != s->health.state)
        s->health.since_ns = now;
    s->health.state = state;
    if (code == AW_OK)
        s->health.last_success_ns = now;
    else
        s->health.last_error = code;
    snprintf(s->health.detail, sizeof s->health.detail, "%.127s", detail);
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* ---- may it be run ---- */

static int32_t find_group(struct exec_sink *s, gid_t *ret)
{
    char buf[16384];
    struct group g, *found = NULL;
    int e = getgrnam_r(s->group, &g, buf, sizeof buf, &found);
    if (found == NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "group: \"%s\" %s%s", s->group,
                             e != 0 ? "cannot be looked up: " : "does not exist", e != 0 ? strerror(e) : "");
    *ret = g.gr_gid;
    return AW_OK;
}

static int32_t find_user(struct exec_sink *s)
{
    char buf[16384];
    struct passwd p, *found = NULL;
    struct ex_child *c = &s->child;
    int e = getpwnam_r(s->user, &p, buf, sizeof buf, &found), count = 64;
    if (found == NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "user: \"%s\" %s%s", s->user,
                             e != 0 ? "cannot be looked up: " : "does not exist", e != 0 ? strerror(e) : "");
    c->uid = p.pw_uid;
    c->gid = p.pw_gid;
    int32_t r = s->group[0] != '\0' ? find_group(s, &c->gid) : AW_OK;
    if (r != AW_OK)
        return r;
    for (int have = 0; count <= GROUPS_MAX; have = count) {
        if (count <= have)
            count = have * 2;
        gid_t *more = realloc(c->groups, (size_t)count * sizeof *more);
        if (more == NULL)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        c->groups = more;
        if (getgrouplist(s->user, c->gid, c->groups, &count) >= 0) {
            c->group_count = (size_t)count;
            return AW_OK;
        }
    }
    return aw_host_error(s->host, AW_E_CONFIG, "user: \"%s\" is in too many groups", s->user);
}

int32_t ex_prepare(struct exec_sink *s)
{
    struct ex_child *c = &s->child;
    *c = (struct ex_child){.path = s->argv[0],
                           .dir = s->dir,
                           .argv = s->argv,
                           .env = s->env,
                           .no_new_privileges = s->no_new_privileges,
                           .memory_limit = s->memory_limit,
                           .files_limit = s->files_limit};
    if (s->user[0] == '\0')
        return AW_OK;
    int32_t r = find_user(s);
    if (r != AW_OK)
        return r;
    if (geteuid() != 0 && c->uid == geteuid() && getuid() == geteuid() && c->gid == getegid())
        return AW_OK; /* it is this user already */
    if (geteuid() != 0)
        return aw_host_error(s->host, AW_E_CONFIG, "user: only root can run a program as \"%s\"; leave user away",
                             s->user);
    c->set_ids = true;
    return AW_OK;
}

void ex_unprepare(struct exec_sink *s)
{
    free(s->child.groups);
    s->child.groups = NULL;
}

/* Names in a script's first line a program that is not there? execve() would say that the script is not there. */
static int32_t look_at_interpreter(struct exec_sink *s, int fd)
{
    char line[256], *end;
    ssize_t n = read(fd, line, sizeof line - 1);
    if (n < 2 || line[0] != '#' || line[1] != '!')
        return AW_OK;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    char *name = line + 2 + strspn(line + 2, " \t");
    end = name + strcspn(name, " \t");
    *end = '\0';
    if (access(name, X_OK) < 0)
        return aw_host_error(s->host, AW_E_CONFIG, "%s: its interpreter \"%s\" cannot be run: %s", s->argv[0], name,
                             strerror(errno));
    return AW_OK;
}

static bool may_run(const struct exec_sink *s, const struct stat *st)
{
    const struct ex_child *c = &s->child;
    if (!c->set_ids)
        return faccessat(AT_FDCWD, s->argv[0], X_OK, AT_EACCESS) == 0;
    if (c->uid == 0)
        return (st->st_mode & 0111) != 0;
    if (c->uid == st->st_uid)
        return (st->st_mode & 0100) != 0;
    for (size_t i = 0; i < c->group_count; i++)
        if (c->groups[i] == st->st_gid)
            return (st->st_mode & 0010) != 0;
    return (st->st_mode & 0001) != 0;
}

int32_t ex_look_at_program(struct exec_sink *s)
{
    const struct aw_host *h = s->host;
    struct stat st, dir;
    if (stat(s->argv[0], &st) < 0)
        return aw_host_error(h, AW_E_CONFIG, "%s: %s", s->argv[0], strerror(errno));
    if (!S_ISREG(st.st_mode))
        return aw_host_error(h, AW_E_CONFIG, "%s: not a file that can be run", s->argv[0]);
    if ((st.st_mode & 022) != 0)
        return aw_host_error(h, AW_E_CONFIG, "%s: others than its owner may change it: chmod go-w it", s->argv[0]);
    if (!may_run(s, &st))
        return aw_host_error(h, AW_E_CONFIG, "%s: may not be run%s%s: chmod +x it, or look at its directories",
                             s->argv[0], s->user[0] != '\0' ? " by " : "", s->user);
    if (stat(s->dir, &dir) < 0 || !S_ISDIR(dir.st_mode))
        return aw_host_error(h, AW_E_CONFIG, "directory: %s: not a directory", s->dir);
    int fd = open(s->argv[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) /* a program that may be run and not be read */
        return AW_OK;
    int32_t r = look_at_interpreter(s, fd);
    close(fd);
    return r;
}

/* ---- ending ---- */

bool ex_has_exited(struct exec_sink *s)
{
    siginfo_t info = {.si_pid = 0};
    int r = waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    /* ECHILD: somebody else in this process waits for every child. */
    return (r == 0 && info.si_pid == s->pid) || (r < 0 && errno == ECHILD);
}

static void ignore_late(void *arg, struct ex_ack *ack)
{
    ex_ignore(arg, ack, "too late");
}

/* Waits for the end; what it still says is read, so that it does not wait for us. */
static bool wait_for_end(struct exec_sink *s, uint64_t until_ns)
{
    while (!ex_has_exited(s)) {
        uint64_t now = s->host->mono_ns();
        if (now >= until_ns)
            return false;
        struct pollfd p = {s->out_fd, POLLIN, 0};
        uint64_t left_ms = (until_ns - now) / 1000000u + 1;
        (void)poll(&p, s->out_fd >= 0 ? 1 : 0, left_ms < 10 ? (int)left_ms : 10);
        if (s->out_fd >= 0 && ex_read_lines(s, ignore_late, s) < 0) {
            close(s->out_fd);
            s->out_fd = -1;
        }
    }
    return true;
}

static void describe_status(struct exec_sink *s, int status)
{
    char how[80];
    if (WIFEXITED(status)) {
        s->exit_code = WEXITSTATUS(status);
        snprintf(how, sizeof how, "ended with exit status %d", s->exit_code);
    } else {
        s->exit_code = 128 + WTERMSIG(status);
        snprintf(how, sizeof how, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    }
    snprintf(s->ended, sizeof s->ended, "%s", how);
}

/* What is left of its group goes with it. The group's number cannot belong to others while the leader is a zombie, and
 * if somebody took that away, not while no process has the leader's number. */
static void reap(struct exec_sink *s)
{
    int status;
    pid_t pid = s->pid, r;
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || getsid(pid) < 0)
        (void)kill(-pid, SIGKILL);
    pthread_mutex_lock(&s->lock);
    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    s->pid = 0;
    pthread_mutex_unlock(&s->lock);
    if (r == pid) {
        describe_status(s, status);
    } else {
        s->exit_code = -1;
        snprintf(s->ended, sizeof s->ended, "ended, its status was taken by somebody else");
    }
}

static uint64_t grace_until(const struct exec_sink *s, uint64_t deadline_ns)
{
    uint64_t until = s->host->mono_ns() + s->grace_ns;
    return deadline_ns != 0 && deadline_ns < until ? deadline_ns : until;
}

static void close_ends(struct exec_sink *s)
{
    if (s->in_fd >= 0)
        close(s->in_fd);
    if (s->out_fd >= 0)
        close(s->out_fd);
    s->in_fd = s->out_fd = -1;
    s->in_broken = s->skipping = false;
    s->in_len = s->nonsense = 0;
    free(s->rest);
    s->rest = NULL;
    s->waiting_since_ns = 0;
}

/* Led it to nothing? Then the next start waits, longer each time. */
static void plan_next_start(struct exec_sink *s)
{
    if (s->has_acked || (!s->was_sent && s->exit_code == 0)) {
        s->failures = 0;
        s->next_start_ns = 0;
        return;
    }
    uint64_t delay = s->restart_delay_ns;
    for (unsigned i = 0; i < s->failures && delay < s->restart_delay_max_ns; i++)
        delay *= 2;
    s->failures++;
    s->next_start_ns = s->host->mono_ns() + (delay < s->restart_delay_max_ns ? delay : s->restart_delay_max_ns);
}

void ex_end(struct exec_sink *s, enum ex_end how, uint64_t deadline_ns)
{
    if (s->pid == 0)
        return;
    if (s->in_fd >= 0)
        close(s->in_fd); /* end of input */
    s->in_fd = -1;
    bool gone = ex_has_exited(s) || (how == EX_END_ASK && wait_for_end(s, grace_until(s, deadline_ns)));
    bool by_us = !gone;
    if (!gone) {
        (void)kill(-s->pid, SIGTERM);
        gone = wait_for_end(s, grace_until(s, deadline_ns));
    }
    if (!gone) {
        (void)kill(-s->pid, SIGKILL);
        gone = wait_for_end(s, s->host->mono_ns() + KILL_WAIT_NS);
    }
    if (gone) {
        reap(s);
    } else { /* in the kernel, waiting for a device: nothing can be done but going on */
        aw_host_log(s->host, AW_LOG_ERROR, "%s: process %ld does not even end by SIGKILL", s->argv[0], (long)s->pid);
        pthread_mutex_lock(&s->lock);
        s->pid = 0;
        pthread_mutex_unlock(&s->lock);
        s->exit_code = -1;
        snprintf(s->ended, sizeof s->ended, "does not end");
    }
    if (by_us)
        s->host->metric_add(s->host, s->metric_kills, 1);
    ex_keeper_ask(s, EX_REQUEST_DRAIN);
    size_t n = strlen(s->ended);
    if (s->said[0] != '\0' && !by_us) /* nobody writes it while no program runs */
        snprintf(s->ended + n, sizeof s->ended - n, "; it said: %.200s", s->said);
    close_ends(s);
    if (s->accepted_pending)
        s->accepted_lost = true;
    plan_next_start(s);
}

/* ---- starting ---- */

static int32_t code_of_spawn(int error)
{
    switch (error) {
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ETXTBSY:
    case EIO:
    case ESRCH:
        return AW_E_UNAVAILABLE;
    default:
        return AW_E_CONFIG;
    }
}

static int32_t start_program(struct exec_sink *s)
{
    int32_t r = ex_look_at_program(s);
    if (r != AW_OK)
        return r;
    ex_keeper_ask(s, EX_REQUEST_SPAWN);
    if (s->spawn_error != 0)
        return aw_host_error(s->host, code_of_spawn(s->spawn_error), "%s: %s: %s%s", s->argv[0],
                             ex_step_text(s->spawn_step), strerror(s->spawn_error),
                             s->spawn_error == ENOEXEC ? "; a script needs a first line such as #!/bin/sh" : "");
    s->was_sent = s->has_acked = false;
    s->waiting_since_ns = 0;
    s->host->metric_add(s->host, s->metric_starts, 1);
    return AW_OK;
}

int32_t ex_ready(struct exec_sink *s)
{
    int32_t r;
    if (s->pid != 0 && ex_has_exited(s)) {
        ex_end(s, EX_END_TERM, 0);
        if (s->exit_code == EX_EXIT_CONFIG) {
            r = aw_host_error(s->host, AW_E_CONFIG, "%s: %s", s->argv[0], s->ended);
            return ex_set_health(s, r, "the program says that its configuration is wrong");
        }
        if (s->exit_code != 0)
            aw_host_log(s->host, AW_LOG_WARNING, "%s: %s", s->argv[0], s->ended);
    }
    if (s->pid != 0)
        return AW_OK;
    uint64_t now = s->host->mono_ns();
    if (now < s->next_start_ns) {
        r = aw_host_error(s->host, AW_E_UNAVAILABLE, "%s: %s; started %u times in vain, again in %.1f s", s->argv[0],
                          s->ended, s->failures, (double)(s->next_start_ns - now) / 1e9);
        return ex_set_health(s, r, "the program ended; waiting to start it again");
    }
    r = start_program(s);
    return r == AW_OK ? AW_OK : ex_set_health(s, r, "the program cannot be started");
}
