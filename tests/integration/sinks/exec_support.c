/* exec_support.c - see exec_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_support.h"
#include "harness.h"

#define WAIT_STEPS 3000
#define STEP_US 10000

struct mh_instance *peer(const char *mode, const char *file, const char *arguments, const char *const *pairs)
{
    char command[3000];
    const char *all[32] = {"command", command};
    const char *top = getenv("top_builddir");
    snprintf(command, sizeof command, "%s/exec_peer\n%s\n%s%s%s", top != NULL ? top : ".", mode, file,
             arguments != NULL ? "\n" : "", arguments != NULL ? arguments : "");
    for (size_t i = 0; pairs != NULL && pairs[i] != NULL; i++)
        all[2 + i] = pairs[i];
    struct mh_instance *m = mh_create("exec", all);
    if (m == NULL) {
        printf("Bail out! %s\n", mh_last_error());
        exit(1);
    }
    return m;
}

bool no_children(void)
{
    pid_t r = waitpid(-1, NULL, WNOHANG);
    return r < 0 && errno == ECHILD;
}

/* The parent of a process, and whether its command line holds the mode. */
static bool is_program(const char *pid, const char *mode)
{
    char path[300], text[1000];
    long parent = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool ours = fscanf(f, "%*d %*s %*c %ld", &parent) == 1 && parent == getpid();
    fclose(f);
    snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
    f = ours ? fopen(path, "re") : NULL;
    if (f == NULL)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    size_t name = strlen(text);
    return name + 1 < n && strstr(text, "exec_peer") != NULL && strcmp(text + name + 1, mode) == 0;
}

int kill_programs(const char *mode, int signo)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    int found = 0;
    while (d != NULL && (e = readdir(d)) != NULL)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_program(e->d_name, mode)) {
            found++;
            if (signo != 0)
                (void)kill((pid_t)strtol(e->d_name, NULL, 10), signo);
        }
    if (d != NULL)
        closedir(d);
    return found;
}

bool wait_degraded(struct mh_instance *m)
{
    for (int i = 0; i < WAIT_STEPS; i++) {
        struct aw_health h = {.struct_size = sizeof h};
        if (m->class->health(m->sink, &h) == AW_OK && h.state == AW_HEALTH_DEGRADED)
            return strstr(h.detail, "has ended") != NULL;
        usleep(STEP_US);
    }
    return false;
}

/* One whose new parent is not interested stays a zombie: that has ended, too. */
static bool is_zombie(long pid)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool known = fscanf(f, "%*d (%*[^)]) %c", &state) == 1;
    fclose(f);
    return known && state == 'Z';
}

bool process_gone(long pid)
{
    for (int i = 0; i < WAIT_STEPS; i++) {
        if ((kill((pid_t)pid, 0) < 0 && errno == ESRCH) || is_zombie(pid))
            return true;
        usleep(STEP_US);
    }
    return false;
}

size_t lines_intact(const char *path, struct aw_event *const *events, size_t count)
{
    size_t len, found = 0;
    char *text = mh_slurp(path, &len), *line = text, *seen = calloc(count, 1);
    while (text != NULL && line < text + len) {
        char *end = memchr(line, '\n', (size_t)(text + len - line));
        size_t i = 0, n = end != NULL ? (size_t)(end - line) : 0;
        while (i < count && (events[i]->json_len != n || memcmp(events[i]->json, line, n) != 0))
            i++;
        if (end == NULL || i == count) {
            harness_note("a line that is no event, or torn: %.*s", n > 80 ? 80 : (int)n, line);
            found = 0;
            break;
        }
        found += seen[i] == 0;
        seen[i] = 1;
        line = end + 1;
    }
    free(text);
    free(seen);
    return found;
}
