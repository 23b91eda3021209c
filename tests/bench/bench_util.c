/* bench_util.c - clock, lines of text, scratch files, loggers. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

double bench_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

const char *bench_scratch;

void bench_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "bench: ");
    (void)vfprintf(stderr, fmt, ap);
    (void)fprintf(stderr, "\n");
    va_end(ap);
    if (bench_scratch)
        bench_remove(bench_scratch);
    exit(1);
}

void bench_check(int code, const char *what)
{
    if (code == AW_SUCCESS)
        return;
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(stderr, "bench: %s: %s: %s\n", what, p[i]->path, p[i]->message);
    bench_die("%s: %s", what, aw_error_name(code));
}

/* ---- text by lines ---- */
static void lines_index(struct lines *l, size_t max)
{
    size_t room = 1024;
    l->off = malloc(room * sizeof *l->off);
    l->len = malloc(room * sizeof *l->len);
    for (size_t at = 0; at < l->size && (!max || l->count < max);) {
        if (l->count == room) {
            room *= 2;
            l->off = realloc(l->off, room * sizeof *l->off);
            l->len = realloc(l->len, room * sizeof *l->len);
        }
        if (!l->off || !l->len)
            bench_die("out of memory");
        const char *nl = memchr(l->base + at, '\n', l->size - at);
        size_t end = nl ? (size_t)(nl - l->base) : l->size;
        l->off[l->count] = at;
        l->len[l->count++] = (uint32_t)(end - at);
        at = end + 1;
    }
}

void lines_map(struct lines *l, const char *path, size_t max)
{
    struct stat st;
    memset(l, 0, sizeof *l);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || st.st_size == 0)
        bench_die("%s: %s", path, fd < 0 ? strerror(errno) : "is empty");
    l->size = (size_t)st.st_size;
    l->base = mmap(NULL, l->size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (l->base == MAP_FAILED)
        bench_die("%s: mmap: %s", path, strerror(errno));
    (void)close(fd);
    l->mapped = true;
    lines_index(l, max);
}

void lines_free(struct lines *l)
{
    if (l->mapped)
        (void)munmap(l->base, l->size);
    else
        free(l->base);
    free(l->off);
    free(l->len);
    memset(l, 0, sizeof *l);
}

void bench_make_payload(const struct lines *trail, struct lines *ret)
{
    static const char start[] = "{\"event\":", member[] = "\"integrity\":{";
    memset(ret, 0, sizeof *ret);
    ret->base = malloc(trail->size + trail->count * sizeof start);
    ret->off = malloc(trail->count * sizeof *ret->off);
    ret->len = malloc(trail->count * sizeof *ret->len);
    if (!ret->base || !ret->off || !ret->len)
        bench_die("out of memory");
    for (size_t i = 0; i < trail->count; i++) {
        const char *line = trail->base + trail->off[i];
        const char *from = memmem(line, trail->len[i], member, sizeof member - 1), *to;
        if (!from || !(to = memchr(from, '}', (size_t)(line + trail->len[i] - from))))
            bench_die("line %zu of the trail has no integrity member", i + 1);
        to += to[1] == ',' ? 2 : 1;
        char *out = ret->base + ret->size;
        ret->off[i] = ret->size;
        size_t head = (size_t)(from - line), rest = trail->len[i] - (size_t)(to - line);
        memcpy(out, start, sizeof start - 1);
        memcpy(out + sizeof start - 1, line, head);
        memcpy(out + sizeof start - 1 + head, to, rest);
        ret->len[i] = (uint32_t)(sizeof start - 1 + head + rest);
        ret->size += ret->len[i];
    }
    ret->count = trail->count;
}

/* ---- scratch ---- */
char *bench_path(const struct bench *b, const char *name, char *out, size_t size)
{
    if ((size_t)snprintf(out, size, "%s/%s", b->dir, name) >= size)
        bench_die("the scratch directory's name is too long");
    return out;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void bench_remove(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void bench_clean(const struct bench *b)
{
    static const char *const names[] = {"journal",      "out.jsonl",      "out.db",   "out.db-wal",
                                        "out.db-shm",   "out.db-journal", "limit.db", "limit.db-wal",
                                        "limit.db-shm", "limit.out",      "received", "orders"};
    char path[600];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        bench_remove(bench_path(b, names[i], path, sizeof path));
}

static void diag(void *arg, int severity, const char *instance, const char *text)
{
    (void)arg;
    bool told_to = instance && strcmp(instance, "puppet") == 0; /* it fails since it should */
    if (severity >= 300 && !told_to)                            /* AW_LOG_WARNING */
        (void)fprintf(stderr, "bench: %s: %s\n", instance ? instance : "", text);
}

struct aw_logger *bench_open(const struct bench *b, const char *rest, uint32_t flags)
{
    char text[4096];
    if ((size_t)snprintf(text, sizeof text, "journal = { path = \"%s/journal\"; max_size = \"16GiB\"; };\n%s\n", b->dir,
                         rest) >= sizeof text)
        bench_die("configuration too long");
    struct aw_open_options o = {.struct_size = sizeof o, .flags = flags, .config_text = text, .diag = diag};
    struct aw_logger *logger;
    bench_check(aw_open(&o, &logger), "aw_open");
    return logger;
}

void bench_close(struct aw_logger *logger)
{
    bench_check(aw_close(logger, 600000), "aw_close");
}

void bench_write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f))
        bench_die("%s: %s", path, strerror(errno));
}

int bench_spawn(char *const argv[], const char *stdin_path, const char *stdout_path)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    if (posix_spawn_file_actions_init(&actions) ||
        posix_spawn_file_actions_addopen(&actions, 0, stdin_path, O_RDONLY, 0) ||
        posix_spawn_file_actions_addopen(&actions, 1, stdout_path, O_WRONLY | O_CREAT | O_TRUNC, 0600))
        bench_die("out of memory");
    int e = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    if (e)
        bench_die("%s: %s", argv[0], strerror(e));
    (void)posix_spawn_file_actions_destroy(&actions);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            bench_die("waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
