/* search.c - directories in which plugins are looked for. See plugin_internal.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <dirent.h>
#include <stdio.h>

static const char *const kinds[] = {"sink_", "adapter_"};

void search_free(struct search *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->dirs[i]);
    s->count = 0;
}

static int search_add(struct search *s, const char *dir, size_t len)
{
    if (len == 0 || s->count == SEARCH_MAX_DIRS)
        return 0;
    char *copy = strndup(dir, len);
    if (!copy)
        return -ENOMEM;
    s->dirs[s->count++] = copy;
    return 0;
}

/* $AUDITWELL_PLUGIN_PATH, plugin_path of audit.conf, the compiled directory; under AT_SECURE the last alone. */
int search_make(struct search *s, const char *extra)
{
    *s = (struct search){0};
    int rc = 0;
    const char *env = dso_secure_mode() ? NULL : secure_getenv("AUDITWELL_PLUGIN_PATH");
    while (rc == 0 && env && *env) {
        size_t n = strcspn(env, ":");
        rc = search_add(s, env, n);
        env += n + (env[n] == ':');
    }
    if (rc == 0 && extra && !dso_secure_mode())
        rc = search_add(s, extra, strlen(extra));
    if (rc == 0)
        rc = search_add(s, AW_PLUGINDIR, strlen(AW_PLUGINDIR));
    if (rc < 0)
        search_free(s);
    return rc;
}

void search_text(const struct search *s, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < s->count && used < size; i++) {
        int n = snprintf(buf + used, size - used, "%s%s", i ? ", " : "", s->dirs[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* The nearest name for which some directory has a file; into buf. */
bool search_nearest(const struct search *search, const char *name, char *buf, size_t size)
{
    char names[64][40];
    const char *known[65];
    size_t n = 0;
    for (size_t d = 0; d < search->count; d++) {
        DIR *dir = opendir(search->dirs[d]);
        struct dirent *e;
        while (dir && n < 64 && (e = readdir(dir)) != NULL) {
            size_t len = strlen(e->d_name);
            for (size_t k = 0; k < AW_ARRAY_LEN(kinds); k++) {
                size_t skip = strlen(kinds[k]);
                if (n == 64 || len < skip + 4 || len - skip - 3 >= sizeof names[0] ||
                    strncmp(e->d_name, kinds[k], skip) != 0 || strcmp(e->d_name + len - 3, ".so") != 0)
                    continue;
                memcpy(names[n], e->d_name + skip, len - skip - 3);
                names[n][len - skip - 3] = '\0';
                known[n] = names[n];
                n++;
            }
        }
        if (dir)
            (void)closedir(dir);
    }
    known[n] = NULL;
    const char *found = schema_nearest(name, known);
    if (found)
        snprintf(buf, size, "%s", found);
    return found != NULL;
}

static int paths_add(struct search_paths *p, char *path)
{
    char **grown = path ? realloc(p->list, (p->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(path);
        return -ENOMEM;
    }
    p->list = grown;
    p->list[p->count++] = path;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Plugin files of one directory, sorted. A directory that is not there has none. */
static int search_list_dir(struct search_paths *p, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    size_t first = p->count;
    int rc = 0;
    struct dirent *e;
    while (rc == 0 && (e = readdir(dir)) != NULL) {
        size_t len = strlen(e->d_name);
        bool ours = strncmp(e->d_name, "sink_", 5) == 0 || strncmp(e->d_name, "adapter_", 8) == 0;
        if (!ours || len < 4 || strcmp(e->d_name + len - 3, ".so") != 0)
            continue;
        char *full = NULL;
        if (asprintf(&full, "%s/%s", path, e->d_name) < 0)
            full = NULL;
        rc = paths_add(p, full);
    }
    (void)closedir(dir);
    if (p->count > first)
        qsort(p->list + first, p->count - first, sizeof *p->list, by_text);
    return rc;
}

void search_paths_free(struct search_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->list[i]);
    free(paths->list);
    *paths = (struct search_paths){0};
}

int search_list(const struct search *search, struct search_paths *ret)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < search->count; i++)
        rc = search_list_dir(ret, search->dirs[i]);
    if (rc < 0)
        search_paths_free(ret);
    return rc;
}
