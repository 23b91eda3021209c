/* rig.c - see rig.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "rig.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"

#if defined(__has_include)
#if __has_include(<sanitizer/lsan_interface.h>) && defined(AW_SANITIZED)
#include <sanitizer/lsan_interface.h>
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_LSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_LSAN 1
#endif
#endif

static void die(const char *what)
{
    perror(what);
    exit(99);
}

void rig_init(struct rig *r, const char *parent, const char *name, const struct rig_options *o)
{
    static const struct rig_options none = {NULL, NULL, NULL, NULL};
    static const char pace[] = "batch = { flush_interval = \"2ms\"; }; retry = { base = \"1ms\"; cap = \"4ms\"; }; "
                               "breaker = { threshold = 50; cooldown = \"5ms\"; };";
    static const char sizes[] = "segment_size = \"256KiB\"; ring_size = \"128KiB\";";
    char sinks[3000];
    memset(r, 0, sizeof *r);
    o = o ? o : &none;
    if ((size_t)snprintf(r->dir, sizeof r->dir, "%s/%s", parent, name) >= sizeof r->dir)
        die("rig: name too long");
    (void)snprintf(r->journal, sizeof r->journal, "%s/journal", r->dir);
    (void)snprintf(r->file, sizeof r->file, "%s/audit.jsonl", r->dir);
    (void)snprintf(r->sqlite, sizeof r->sqlite, "%s/audit.db", r->dir);
    if (mkdir(r->dir, 0700) && errno != EEXIST)
        die(r->dir);
    if (o->sinks)
        (void)snprintf(sinks, sizeof sinks, "%s", o->sinks);
    else
        (void)snprintf(sinks, sizeof sinks,
                       "{ plugin = \"file\"; name = \"trail\"; path = \"%s\"; %s },\n"
                       "{ plugin = \"sqlite\"; name = \"db\"; path = \"%s\"; %s }",
                       r->file, pace, r->sqlite, pace);
    int n = snprintf(r->config, sizeof r->config,
                     "service = \"rig\";\n"
                     "journal = { path = \"%s\"; durability = \"%s\"; %s };\n"
                     "%s\nsinks = (\n%s\n);\n",
                     r->journal, o->durability ? o->durability : "process", o->journal ? o->journal : sizes,
                     o->top ? o->top : "", sinks);
    if (n < 0 || (size_t)n >= sizeof r->config)
        die("rig: configuration too long");
}

int rig_open(const struct rig *r, uint32_t flags, aw_diag_fn diag, void *arg, struct aw_logger **ret)
{
    struct aw_open_options o = {
        .struct_size = sizeof o, .flags = flags, .config_text = r->config, .diag = diag, .diag_arg = arg};
    return aw_open(&o, ret);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void rig_remove(const struct rig *r)
{
    (void)nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

size_t rig_event(uint64_t number, const char *secret, char *out, size_t size)
{
    char id[ORACLE_ID_LEN + 1];
    oracle_event_id(number, id);
    int n = snprintf(out, size,
                     "{\"eventId\":\"%s\",\"action\":\"document.update\",\"outcome\":\"SUCCESS\","
                     "\"actor\":{\"type\":\"user\",\"id\":\"u%u\"},\"target\":{\"type\":\"document\",\"id\":\"d%u\"},"
                     "\"context\":{\"tenantId\":\"tenant-%u\",\"requestId\":\"r%u\"},"
                     "\"metadata\":{\"n\":%u,\"request\":{\"password\":\"%s\"}}}",
                     id, (unsigned)(number % 97), (unsigned)(number % 89), (unsigned)(number % 5),
                     (unsigned)(number % 1000), (unsigned)(number % 100000), secret ? secret : "x");
    return n < 0 || (size_t)n >= size ? 0 : (size_t)n;
}

void *rig_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void rig_unshare(void *p, size_t size)
{
    (void)munmap(p, size);
}

struct child_report {
    int finished, good;
    char why[1000];
};

static void child(rig_fn fn, void *arg, unsigned seconds, struct child_report *report)
{
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(seconds);
    report->good = fn(arg, report->why, sizeof report->why);
#ifdef HAVE_LSAN
    if (report->good && __lsan_do_recoverable_leak_check()) {
        report->good = 0;
        (void)snprintf(report->why, sizeof report->why, "memory leaked");
    }
#endif
    report->finished = 1;
    _exit(0);
}

bool rig_in_child(rig_fn fn, void *arg, unsigned seconds, char *why, size_t size)
{
    struct child_report *report = rig_shared(sizeof *report);
    int status = 0;
    if (!report)
        die("mmap");
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        child(fn, arg, seconds, report);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    bool good = report->finished && report->good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (good)
        *why = '\0';
    else if (report->finished && !report->good)
        (void)snprintf(why, size, "%s", report->why);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        (void)snprintf(why, size, "hangs: not finished after %u s", seconds);
    else if (WIFSIGNALED(status))
        (void)snprintf(why, size, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        (void)snprintf(why, size, "exit status %d", WEXITSTATUS(status));
    rig_unshare(report, sizeof *report);
    return good;
}

const char *rig_problems(void)
{
    static _Thread_local char text[1200];
    size_t n, at = 0;
    const struct aw_problem *const *p = aw_problems(&n);
    text[0] = '\0';
    for (size_t i = 0; i < n && at + 1 < sizeof text; i++) {
        int k = snprintf(text + at, sizeof text - at, "%s%s: %s", i ? "; " : "", p[i]->path, p[i]->message);
        at += k > 0 ? (size_t)k : 0;
    }
    return text;
}
