/* run.c - one process for each check, its time limit, and what is printed. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inject.h"
#include "kit.h"
#include "out.h"

struct kit_report *kit_report;
char kit_dir[512], kit_id[32];
static char base_dir[400]; /* of all checks */

/* ---- for the checks ---- */

void kit_finding(const char *fmt, ...)
{
    va_list ap;
    size_t slot = kit_report->count++;
    if (slot >= KIT_FINDINGS)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(kit_report->finding[slot], KIT_TEXT, fmt, ap);
    va_end(ap);
}

bool kit_expect(bool condition, const char *fmt, ...)
{
    char text[KIT_TEXT];
    if (condition)
        return true;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    kit_finding("%s", text);
    return false;
}

void kit_not_applicable(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(kit_report->not_applicable, KIT_TEXT, fmt, ap);
    va_end(ap);
}

void kit_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(kit_report->note, sizeof kit_report->note, fmt, ap);
    va_end(ap);
}

static _Thread_local char here[sizeof kit_report->doing];
static pthread_mutex_t doing_lock = PTHREAD_MUTEX_INITIALIZER; /* guards kit_report->doing; never waited for */

void kit_doing(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(here, sizeof here, fmt, ap);
    va_end(ap);
    if (pthread_mutex_trylock(&doing_lock) == 0) {
        memcpy(kit_report->doing, here, sizeof here);
        (void)pthread_mutex_unlock(&doing_lock);
    }
}

const char *kit_here(void)
{
    return here;
}

bool kit_failed(void)
{
    return kit_report->count > 0;
}

uint64_t kit_mono_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void kit_nap(unsigned ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* ---- children ---- */

void kit_exit(int status)
{
    (void)syscall(SYS_exit_group, status);
    _exit(status); /* not reached */
}

/* false: it did not end in time. */
static bool wait_for(pid_t pid, unsigned seconds, int *ret_status)
{
    uint64_t end = kit_mono_ns() + (uint64_t)seconds * kit.patience * 1000000000u;
    for (unsigned ms = 1;; ms = ms < 20 ? ms * 2 : 20) {
        pid_t r = waitpid(pid, ret_status, WNOHANG);
        if (r == pid || (r < 0 && errno != EINTR))
            return true;
        if (kit_mono_ns() > end)
            return false;
        kit_nap(ms);
    }
}

int kit_in_child(const char *what, unsigned seconds, void (*fn)(void *), void *arg)
{
    int status = 0;
    pid_t pid = fork();
    if (pid < 0) {
        kit_finding("the kit cannot fork: %s", strerror(errno));
        return -1;
    }
    if (pid == 0) {
        fn(arg);
        kit_exit(0);
    }
    if (wait_for(pid, seconds, &status))
        return status;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    kit_finding("%s: did not end within %u s, in %s", what, seconds * kit.patience, kit_report->doing);
    return -1;
}

/* Memory of a batch that was read after the call had returned is worth its own words. */
static struct sigaction before_us[NSIG];
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (kit_memory_was_batch(info->si_addr))
        kit_finding("memory of a batch was used after write() had returned, in %s: copy what is needed later", here);
    (void)sigaction(sig, &before_us[sig], NULL); /* the fault comes again, to whoever was there before */
}

static void prepare_child(int out)
{
    static const int faults[] = {SIGSEGV, SIGBUS};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct rlimit none = {0, 0};
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        (void)dup2(null, STDIN_FILENO);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        (void)sigaction(faults[i], &action, &before_us[faults[i]]);
    if (chdir(kit_dir) != 0)
        kit_finding("the kit cannot use its directory %s: %s", kit_dir, strerror(errno));
}

/* ---- directories ---- */

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    if (d) {
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            char name[1024];
            struct stat st;
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name)
                continue;
            if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
                remove_tree(name);
            else
                (void)unlink(name);
        }
        (void)closedir(d);
    }
    (void)rmdir(path);
}

static bool make_base(void)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(base_dir, sizeof base_dir, "%s/auditwell-check-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
    return mkdtemp(base_dir) != NULL;
}

/* ---- one check ---- */

static bool read_output(int fd, char *buf, size_t size)
{
    ssize_t n = pread(fd, buf, size - 1, 0);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static unsigned limit_of(const struct kit_check *check)
{
    return kit.time_limit ? kit.time_limit : check->seconds;
}

static void judge(const struct kit_check *check, bool in_time, int status, int out)
{
    char text[400];
    if (!in_time)
        kit_finding("did not end within %u s; it was in %s", limit_of(check) * kit.patience, kit_report->doing);
    else if (WIFSIGNALED(status))
        kit_finding("died of signal %d (%s) in %s", WTERMSIG(status), strsignal(WTERMSIG(status)), kit_report->doing);
    else if (!kit_report->done)
        kit_finding("the process was ended with status %d in %s: a plugin never calls exit()", WEXITSTATUS(status),
                    kit_report->doing);
    if (strcmp(check->name, "quiet") != 0 && kit_report->count == 0)
        return;
    if (read_output(out, text, sizeof text))
        kit_finding("printed: %.300s", text);
}

static void run_one(const struct kit_check *check, unsigned number)
{
    static unsigned run_number;
    int status = 0, out = memfd_create("output", MFD_CLOEXEC);
    memset(kit_report, 0, sizeof *kit_report);
    kit_doing("the kit itself");
    (void)snprintf(kit_dir, sizeof kit_dir, "%s/%u-%s", base_dir, number, check->name);
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(kit_id, sizeof kit_id, "k%llx%x%x", (unsigned long long)now.tv_sec & 0xffffffffu,
                   (unsigned)getpid() & 0xffffffu, run_number++);
    if (out < 0 || mkdir(kit_dir, 0755) != 0) {
        kit_finding("the kit cannot make %s: %s", kit_dir, strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        prepare_child(out);
        check->run();
        kit_doing("the kit itself");
        kit_report->done = 1;
        kit_exit(0); /* no destructors: those of the plugin's libraries are not under test */
    }
    if (pid < 0) {
        kit_finding("the kit cannot fork: %s", strerror(errno));
    } else {
        bool in_time = wait_for(pid, limit_of(check), &status);
        (void)kill(-pid, SIGKILL); /* and whatever it left behind */
        (void)kill(pid, SIGKILL);
        if (!in_time)
            (void)waitpid(pid, &status, 0);
        judge(check, in_time, status, out);
    }
    (void)close(out);
    remove_tree(kit_dir);
}

static bool wanted(const struct kit_check *check, char *const *only, size_t only_count)
{
    bool is = only_count == 0;
    for (size_t i = 0; i < only_count; i++)
        is = is || strcmp(only[i], check->name) == 0;
    return is;
}

int kit_run(enum kit_format format, char *const *only, size_t only_count)
{
    struct out_totals totals = {0};
    unsigned number = 0;
    kit_report = mmap(NULL, sizeof *kit_report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kit_report == MAP_FAILED || !make_base()) {
        (void)fprintf(stderr, "auditwell-plugin-check: no memory or no temporary directory: %s\n", strerror(errno));
        return 3;
    }
    out_begin(format);
    for (const struct kit_check *const *group = kit_groups; *group; group++)
        for (const struct kit_check *check = *group; check->name; check++) {
            if (!wanted(check, only, only_count))
                continue;
            run_one(check, ++number);
            out_result(format, check, kit_report, &totals);
        }
    out_end(format, &totals);
    remove_tree(base_dir);
    return totals.failed ? 1 : 0;
}
