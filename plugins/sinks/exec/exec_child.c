/* exec_child.c - from fork to exec. SPDX-License-Identifier: Apache-2.0
 *
 * The process has threads, and one of them may hold any lock at the moment of the fork, the C library's included. So
 * the child makes bare system calls only, no function that might take a lock, and it is made without the handlers that
 * others registered for forks: the host's would wait for this very thread. It shares our memory, as with vfork(), until
 * it is the program: then nothing is copied, however large the host is, and a failure is told without a pipe that a
 * process forked elsewhere at this moment would hold open. The set*id calls must be bare anyway: glibc's would change
 * all threads of the memory, which are the host's.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec_sink.h"

/* A sanitizer's notes about this thread must not be made by the child, which never returns. */
#if defined(__clang__) && __has_attribute(disable_sanitizer_instrumentation)
#define BARE __attribute__((noinline, disable_sanitizer_instrumentation))
#elif defined(__clang__)
#define BARE __attribute__((noinline, no_sanitize("address", "thread", "undefined")))
#else
#define BARE __attribute__((noinline, no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif

/* ThreadSanitizer's clone() is made for a child that has memory of its own; the C library's has a second name. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
extern int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif
#endif

#define STACK_SIZE 32768

const char *ex_step_text(enum ex_step step)
{
    static const char *const texts[] = {"the host has ended",  "cannot set its descriptors", "cannot set its limits",
                                        "cannot set its user", "cannot enter its directory", "cannot be run"};
    return texts[step];
}

BARE static void __attribute__((noreturn)) give_up(struct ex_child *c, enum ex_step step)
{
    c->failed_step = step;
    c->failed_error = errno;
    for (;;)
        (void)syscall(SYS_exit, 127);
}

/* Ignored signals stay ignored over exec, handlers do not: all back to the default, and none blocked. A zeroed struct
 * of the kernel is SIG_DFL on every architecture. */
BARE static void reset_signals(void)
{
    static const unsigned long zero[16];
    for (int i = 1; i < NSIG; i++)
        (void)syscall(SYS_rt_sigaction, i, zero, NULL, NSIG / 8);
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, zero, NULL, NSIG / 8);
}

BARE static void close_others(void)
{
    struct rlimit limit = {0, 0};
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3, ~0u, 0) == 0)
        return;
#endif
    /* An older kernel. What is opened without O_CLOEXEC beyond this stays open. */
    (void)syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
    for (long fd = 3; fd < (limit.rlim_cur < 65536 ? (long)limit.rlim_cur : 65536); fd++)
        (void)syscall(SYS_close, fd);
}

BARE static bool limit_to(int what, uint64_t value)
{
    const struct rlimit limit = {value, value};
    return syscall(SYS_prlimit64, 0, what, &limit, NULL) == 0;
}

BARE static bool set_ids(const struct ex_child *c)
{
    return syscall(SYS_setgroups, c->group_count, c->groups) == 0 &&
           syscall(SYS_setresgid, c->gid, c->gid, c->gid) == 0 && syscall(SYS_setresuid, c->uid, c->uid, c->uid) == 0;
}

BARE static int become_program(void *arg)
{
    struct ex_child *c = arg;
    (void)syscall(SYS_setsid); /* cannot fail in a fresh child: its own session and process group */
    if (syscall(SYS_dup3, c->in, 0, 0) < 0 || syscall(SYS_dup3, c->out, 1, 0) < 0 ||
        syscall(SYS_dup3, c->err, 2, 0) < 0)
        give_up(c, EX_STEP_FD);
    close_others();
    reset_signals();
    (void)syscall(SYS_umask, 077);
    /* A core file would hold events. */
    if (!limit_to(RLIMIT_CORE, 0) || (c->memory_limit != 0 && !limit_to(RLIMIT_AS, c->memory_limit)) ||
        (c->files_limit != 0 && !limit_to(RLIMIT_NOFILE, c->files_limit)))
        give_up(c, EX_STEP_LIMITS);
    if (c->set_ids && !set_ids(c))
        give_up(c, EX_STEP_IDS);
    if (c->no_new_privileges && syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        give_up(c, EX_STEP_IDS);
    if (syscall(SYS_chdir, c->dir) < 0)
        give_up(c, EX_STEP_DIR);
    /* Behind the change of ids, which would take it back. If the host died before it, its child has another parent. */
    errno = ESRCH;
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || syscall(SYS_getppid) != c->parent)
        give_up(c, EX_STEP_PARENT);
    (void)syscall(SYS_execve, c->path, c->argv, c->env);
    give_up(c, EX_STEP_EXEC);
}

pid_t ex_child_start(struct ex_child *c)
{
    static const int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    _Alignas(16) char stack[STACK_SIZE];
    sigset_t all, before;
    c->failed_error = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);                 /* no handler of the host runs in the child */
    pid_t pid = clone(become_program, stack + sizeof stack, flags, c); /* returns when it is the program, or gone */
    int e = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid > 0 ? pid : -e;
}
