/* settings_files.c - where audit.conf is, reading it and conf.d. See settings_private.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "settings_private.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

#define FILE_MAX_BYTES (1u << 20)
#define CONF_D_MAX 1000

/* ---- places ---- */

/* VAR/suffix, or $HOME/fallback/suffix. secure_getenv: NULL for a program with more rights than its user. */
static char *user_place(const char *variable, const char *fallback, const char *suffix)
{
    char *path = NULL;
    const char *dir = secure_getenv(variable);
    if (dir && dir[0] == '/')
        return asprintf(&path, "%s/%s", dir, suffix) < 0 ? NULL : path;
    const char *home = secure_getenv("HOME");
    if (home && home[0] == '/')
        return asprintf(&path, "%s/%s/%s", home, fallback, suffix) < 0 ? NULL : path;
    return NULL;
}

char *settings_default_journal(void)
{
    char *path = NULL;
    const char *state = secure_getenv("STATE_DIRECTORY"); /* of a systemd unit; may be a list */
    if (state && state[0] == '/')
        return asprintf(&path, "%.*s/journal", (int)strcspn(state, ":"), state) < 0 ? NULL : path;
    if (geteuid() == 0)
        return strdup("/var/lib/auditwell/journal");
    return user_place("XDG_STATE_HOME", ".local/state", "auditwell/journal");
}

static bool there(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0;
}

/* The file to read: malloc'd. */
static int find_file(const char *given, char **ret)
{
    const char *env = secure_getenv("AUDITWELL_CONFIG");
    if (given || (env && *env)) {
        const char *path = given ? given : env;
        if (!given && !there(path))
            return diag_problem(AW_ERR_CONFIG, "environment AUDITWELL_CONFIG", "names %s: %s", path, strerror(errno));
        *ret = strdup(path);
        return *ret ? 0 : diag_problem(AW_ERR_NOMEM, path, "out of memory");
    }
    AW_AUTOFREE char *user = user_place("XDG_CONFIG_HOME", ".config", "auditwell/audit.conf");
    static const char system[] = AW_SYSCONFDIR "/auditwell/audit.conf";
    if (there(user)) {
        *ret = base_take(user);
        return 0;
    }
    if (there(system)) {
        *ret = strdup(system);
        return *ret ? 0 : diag_problem(AW_ERR_NOMEM, system, "out of memory");
    }
    return diag_problem(AW_ERR_CONFIG, "audit.conf",
                        "not found: looked at $AUDITWELL_CONFIG (not set), %s%s%s; `auditwell init` "
                        "writes one",
                        user ? user : "", user ? " and " : "", system);
}

/* ---- reading ---- */

static void hook_all(config_setting_t *s, char *path)
{
    config_setting_set_hook(s, path);
    int n = config_setting_is_aggregate(s) ? config_setting_length(s) : 0;
    for (int i = 0; i < n; i++)
        hook_all(config_setting_get_elem(s, (unsigned)i), path);
}

static void parse(struct settings_file *file, const char *text, size_t len, struct settings_files *files)
{
    AW_AUTOFREE char *checked = NULL;
    size_t problems = settings_scan(file->path, text, len, &checked);
    files->problems += problems;
    if (problems)
        return;
    if (config_read_string(&file->config, checked) == CONFIG_TRUE) {
        hook_all(config_root_setting(&file->config), file->path); /* no file names in what is read from memory */
        file->parsed = true;
        return;
    }
    char where[SCHEMA_WHERE_MAX];
    const char *why = config_error_text(&file->config);
    snprintf(where, sizeof where, "%s:%d", file->path, config_error_line(&file->config));
    const char *hint = !why                       ? ""
                       : strstr(why, "duplicate") ? ": each key once in its group"
                       : strstr(why, "syntax")
                           ? ": expected `key = value;`, here or in the line before (a missing ; or quote?)"
                           : "";
    diag_problem(AW_ERR_CONFIG, where, "%s%s", why ? why : "cannot be read", hint);
    files->problems++;
}

static struct settings_file *add_file(struct settings_files *files, const char *path)
{
    struct settings_file **grown = realloc(files->list, (files->count + 1) * sizeof *grown);
    struct settings_file *file = calloc(1, sizeof *file);
    if (grown)
        files->list = grown;
    if (file)
        file->path = strdup(path);
    if (!grown || !file || !file->path) {
        free(file);
        (void)diag_problem(AW_ERR_NOMEM, path, "out of memory");
        return NULL;
    }
    config_init(&file->config);
    files->list[files->count++] = file;
    return file;
}

static int read_one(struct settings_files *files, const char *path)
{
    AW_AUTOFREE char *text = NULL;
    size_t len = 0;
    struct stat st;
    int rc = stat(path, &st) < 0    ? -errno
             : !S_ISREG(st.st_mode) ? -EINVAL
                                    : fs_read_file(path, FILE_MAX_BYTES, &text, &len);
    if (rc < 0) {
        files->problems++;
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, path, "cannot be read: %s",
                            rc == -EINVAL  ? "it is not a regular file"
                            : rc == -EFBIG ? "it is larger than 1 MiB"
                                           : strerror(-rc));
    }
    struct settings_file *file = add_file(files, path);
    if (!file)
        return AW_ERR_NOMEM;
    file->st = st;
    parse(file, text, len, files);
    return 0;
}

static int conf_only(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 5 && strcmp(e->d_name + n - 5, ".conf") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* the same order in every locale */
}

static int read_conf_d(struct settings_files *files)
{
    char dir[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    int len = snprintf(dir, sizeof dir, "%s/conf.d", files->base_dir);
    if (len < 0 || (size_t)len >= sizeof dir)
        return 0; /* too long to exist */
    struct dirent **names = NULL;
    int n = scandir(dir, &names, conf_only, by_bytes);
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        files->problems++;
        return diag_problem(AW_ERR_IO, dir, "cannot be listed: %s", strerror(errno));
    }
    int rc = 0;
    if (n > CONF_D_MAX) {
        files->problems++;
        rc = diag_problem(AW_ERR_CONFIG, dir, "holds %d files: at most %d are read", n, CONF_D_MAX);
    }
    for (int i = 0; i < n; i++) {
        if (rc == 0 || rc == AW_ERR_IO) {
            snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
            int one = read_one(files, path);
            rc = one ? one : rc;
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

/* The directory a path stands in, absolute. */
static char *dir_of(const char *path)
{
    AW_AUTOFREE char *real = realpath(path, NULL);
    const char *p = real ? real : path;
    const char *slash = strrchr(p, '/');
    if (!slash)
        return getcwd(NULL, 0);
    return slash == p ? strdup("/") : strndup(p, (size_t)(slash - p));
}

static int read_text(struct settings_files *files, const char *text)
{
    files->base_dir = getcwd(NULL, 0);
    if (!files->base_dir)
        files->base_dir = strdup("/");
    struct settings_file *file = files->base_dir ? add_file(files, "<text>") : NULL;
    if (!file)
        return AW_ERR_NOMEM;
    size_t len = strnlen(text, FILE_MAX_BYTES + 1);
    if (len > FILE_MAX_BYTES) {
        files->problems++;
        return diag_problem(AW_ERR_CONFIG, "<text>", "larger than 1 MiB");
    }
    parse(file, text, len, files);
    return 0;
}

int settings_files_read(const char *path, const char *text, struct settings_files *ret)
{
    *ret = (struct settings_files){0};
    if (text)
        return read_text(ret, text);
    AW_AUTOFREE char *found = NULL;
    int rc = find_file(path, &found);
    if (rc != 0)
        return rc;
    ret->base_dir = dir_of(found);
    if (!ret->base_dir)
        return diag_problem(AW_ERR_NOMEM, found, "out of memory");
    rc = read_one(ret, found);
    if (rc != 0)
        return rc;
    return read_conf_d(ret);
}

void settings_files_free(struct settings_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        config_destroy(&files->list[i]->config);
        free(files->list[i]->path);
        free(files->list[i]);
    }
    free(files->list);
    free(files->base_dir);
    *files = (struct settings_files){0};
}
