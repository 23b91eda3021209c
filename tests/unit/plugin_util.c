/* plugin_util.c - see plugin_util.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "plugin_util.h"

#include "base/base.h"
#include "base/fs.h"
#include "harness.h"

#include "audit/audit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

const char *util_path(const char *dir, const char *name)
{
    static char slots[4][4096];
    static unsigned next;
    char *slot = slots[next++ % 4];
    int n = snprintf(slot, sizeof slots[0], "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof slots[0])
        abort();
    return slot;
}

static const char *build_dir(void)
{
    const char *dir = getenv("top_builddir");
    return dir ? dir : ".";
}

const char *util_mock_dir(void)
{
    static char dir[4096];
    if (!dir[0]) {
        char *real = realpath(util_path(build_dir(), "tests/plugins/.libs"), NULL);
        if (!real)
            abort();
        snprintf(dir, sizeof dir, "%s", real);
        free(real);
    }
    return dir;
}

const char *util_mock(const char *name)
{
    char file[100];
    snprintf(file, sizeof file, "sink_%s.so", name);
    return util_path(util_mock_dir(), file);
}

const char *util_dir(void)
{
    static unsigned count;
    static char dirs[64][512];
    char *dir = dirs[count % 64];
    snprintf(dir, sizeof dirs[0], "%s/d%u", harness_tmpdir(), count++);
    if (fs_mkdir_p(dir, 0755) != 0 || chmod(dir, 0755) != 0)
        abort();
    return dir;
}

static void write_file(const char *path, const char *data, size_t len, mode_t mode)
{
    int fd = -1;
    if (fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd) != 0 || fs_write_all(fd, data, len, NULL) != 0 ||
        fchmod(fd, mode) != 0 || fs_close(fd) != 0) {
        printf("Bail out! cannot write %s: %s\n", path, strerror(errno));
        exit(99);
    }
}

void util_write(const char *path, const char *text)
{
    write_file(path, text, strlen(text), 0644);
}

void util_copy(const char *from, const char *to)
{
    char *data = NULL;
    size_t len = 0;
    if (fs_read_file(from, 64u << 20, &data, &len) != 0) {
        printf("Bail out! cannot read %s\n", from);
        exit(99);
    }
    write_file(to, data, len, 0755);
    free(data);
}

void util_print_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        harness_note("problem %d [%s] %s", (int)p[i]->code, p[i]->path, p[i]->message);
    if (n == 0)
        harness_note("no problems");
}

bool util_problem(const char *path, const char *text)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        if ((!path || strcmp(p[i]->path, path) == 0) && strstr(p[i]->message, text))
            return true;
    harness_note("not found: [%s] %s", path ? path : "any", text);
    util_print_problems();
    return false;
}

size_t util_warnings(void)
{
    size_t n, warnings = 0;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        warnings += p[i]->code == 0;
    return warnings;
}

size_t util_errors(void)
{
    size_t n;
    (void)aw_problems(&n);
    return n - util_warnings();
}

int util_probe(const char *env, const char *args, const char *cwd, char *out, size_t size)
{
    char command[16384];
    char *real = realpath(build_dir(), NULL);
    if (!real)
        abort();
    snprintf(command, sizeof command, "cd '%s' && %s '%s/plugin_probe' %s 2>&1", cwd ? cwd : ".", env, real, args);
    free(real);
    (void)fflush(NULL);
    FILE *f = popen(command, "r");
    if (!f)
        abort();
    size_t used = fread(out, 1, size - 1, f);
    out[used] = '\0';
    int status = pclose(f);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return 128 + WTERMSIG(status);
}
