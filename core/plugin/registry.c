/* registry.c - which plugins are loaded, and where a class name is found. See registry.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A plugin is known by its file (device and inode) and by the address of its descriptor, so that it is loaded once
 * however it is named. What was loaded stays; its struct plugin is never changed or freed, so readers need no lock.
 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct loaded {
    struct plugin plugin;
    const struct aw_plugin *original; /* the plugin's own */
    struct stat st;                   /* of the file when it was loaded; zero for built-in ones */
    struct plugin_host *host;         /* given to load() */
    char *refused;                    /* load() failed: its reason. It is not called again. */
};

static struct loaded **all; /* under dso_lock() */
static size_t all_count;

/* ---- what is loaded ---- */

static bool class_taken(const struct plugin *a, const struct plugin *b, const char **kind, const char **name)
{
    for (size_t i = 0; i < a->sink_count; i++) {
        if (plugin_sink(b, a->sinks[i].name)) {
            *kind = "sink";
            *name = a->sinks[i].name;
            return true;
        }
    }
    for (size_t i = 0; i < a->adapter_count; i++) {
        if (plugin_adapter(b, a->adapters[i].name)) {
            *kind = "adapter";
            *name = a->adapters[i].name;
            return true;
        }
    }
    return false;
}

static int check_unique_classes(const struct plugin *fresh, struct load_report *report)
{
    for (size_t i = 0; i < all_count; i++) {
        const char *kind = NULL, *name = NULL;
        if (all[i]->refused || !class_taken(fresh, &all[i]->plugin, &kind, &name))
            continue;
        char field[96], found[PATH_MAX + 64];
        snprintf(field, sizeof field, "%s class \"%.32s\": name", kind, name);
        snprintf(found, sizeof found, "that %.*s has it already", PATH_MAX, all[i]->plugin.path);
        load_refuse(report, field, "a name that no other plugin has", "remove one of the two files", "%s", found);
    }
    return report->count ? -EINVAL : 0;
}

static int call_load(struct loaded *l, struct load_report *report)
{
    if (!l->plugin.descriptor.load)
        return 0;
    struct diag_out out = {NULL, NULL};
    int rc = host_create(l->plugin.descriptor.id, &out, &l->host);
    if (rc < 0)
        return -ENOMEM;
    int32_t code = l->plugin.descriptor.load(host_table(l->host));
    if (code == AW_OK)
        return 0;
    char why[400];
    host_last_error(l->host, why, sizeof why);
    load_refuse(report, "load()", "AW_OK", "see the plugin's documentation", "%d (%s)", (int)code,
                why[0] ? why : "no reason given");
    return -EINVAL;
}

/* At exit, when nothing can be running in a plugin any more. */
static void unload_all(void)
{
    dso_lock();
    size_t ours = 0; /* hosts made for load() live as long as the process */
    for (size_t i = 0; i < all_count; i++)
        ours += all[i]->host != NULL;
    for (size_t i = all_count; host_live() <= ours && i-- > 0;)
        if (!all[i]->refused && all[i]->plugin.descriptor.unload)
            all[i]->plugin.descriptor.unload();
    dso_unlock();
}

static int append(struct loaded *l)
{
    static bool registered;
    struct loaded **grown = realloc(all, (all_count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    all = grown;
    all[all_count++] = l;
    if (!registered)
        registered = atexit(unload_all) == 0;
    return 0;
}

/* Validates, copies, calls load(), keeps. path is copied. */
static int adopt(const struct aw_plugin *original, const char *path, const struct stat *st, struct load_report *report,
                 const struct loaded **ret)
{
    struct loaded *l = calloc(1, sizeof *l);
    char *copy = strdup(path);
    if (!l || !copy) {
        free(l);
        free(copy);
        return -ENOMEM;
    }
    l->original = original;
    l->plugin.path = copy;
    if (st)
        l->st = *st;
    int rc = descriptor_copy(original, report, &l->plugin);
    if (rc == 0) {
        rc = check_unique_classes(&l->plugin, report);
        if (rc == 0)
            rc = call_load(l, report);
        if (rc == -EINVAL && l->host) { /* load() ran: it must not run again */
            l->refused = report->lines[0] ? strdup(report->lines[0]) : strdup("refused before");
            rc = l->refused && append(l) == 0 ? -EINVAL : -ENOMEM;
            return rc;
        }
        if (rc == 0)
            rc = append(l);
        if (rc < 0)
            descriptor_free(&l->plugin);
    }
    if (rc < 0) {
        free(copy);
        free(l);
        return rc;
    }
    *ret = l;
    return 0;
}

static int refused_before(const struct loaded *l, struct load_report *report)
{
    if (!l->refused)
        return 0;
    if (report->count < LOAD_REPORT_MAX)
        report->lines[report->count] = strdup(l->refused);
    report->count++;
    return -EINVAL;
}

static const struct loaded *by_file(const struct stat *st)
{
    for (size_t i = 0; i < all_count; i++)
        if (all[i]->st.st_ino != 0 && all[i]->st.st_dev == st->st_dev && all[i]->st.st_ino == st->st_ino)
            return all[i];
    return NULL;
}

static const struct loaded *by_descriptor(const struct aw_plugin *original)
{
    for (size_t i = 0; original && i < all_count; i++)
        if (all[i]->original == original)
            return all[i];
    return NULL;
}

static const struct loaded *by_path(const char *path)
{
    for (size_t i = 0; i < all_count; i++)
        if (strcmp(all[i]->plugin.path, path) == 0)
            return all[i];
    return NULL;
}

/* ---- loading one file ---- */

static int load_trusted(const struct trusted_file *file, const char *sha256, struct load_report *report,
                        const struct loaded **ret)
{
    const struct loaded *known = by_file(&file->st);
    if (!known)
        known = by_path(file->path);
    if (known) {
        bool same = trust_same(&known->st, &file->st);
        if (sha256 && !same) {
            load_refuse(report, "file", "the file that this process loaded", "restart the process",
                        "that it was replaced since");
            return -EINVAL;
        }
        if (!same)
            diag_problem(0, file->path,
                         "the plugin was replaced since this process loaded it: the old code stays in use until "
                         "a restart");
        int rc = sha256 ? dso_check_pin(file, sha256, report) : 0;
        *ret = known;
        return rc < 0 ? rc : refused_before(known, report);
    }
    const struct aw_plugin *original = NULL;
    int rc = dso_load(file, sha256, report, &original);
    if (rc < 0)
        return rc;
    known = by_descriptor(original);
    if (known) { /* the dynamic loader took it for one it has: a hard or symbolic link elsewhere, a copy-on-write alias
                  */
        *ret = known;
        return refused_before(known, report);
    }
    return adopt(original, file->path, &file->st, report, ret);
}

static int load_path(const char *path, const char *sha256, struct load_report *report, const struct loaded **ret)
{
    struct trusted_file file;
    report->path = path;
    int rc = trust_open(path, report, &file);
    if (rc == 0)
        rc = load_trusted(&file, sha256, report, ret);
    trust_close(&file);
    return rc;
}

static int load_builtin(const char *module, struct load_report *report, const struct loaded **ret)
{
    char name[128];
    for (size_t i = 0; dso_builtin_name(i, name, sizeof name); i++) {
        if (strcmp(name, module) != 0)
            continue;
        const struct aw_plugin *original = dso_builtin(module);
        const char *plain = strchr(module, '_');
        char path[160];
        snprintf(path, sizeof path, "builtin:%s", plain ? plain + 1 : module);
        const struct loaded *known = by_descriptor(original);
        if (known) {
            *ret = known;
            return refused_before(known, report);
        }
        struct load_report own = {.path = path};
        int rc = adopt(original, path, NULL, &own, ret);
        for (size_t j = 0; j < LOAD_REPORT_MAX && j < own.count && report->count < LOAD_REPORT_MAX; j++)
            report->lines[report->count++] = base_take(own.lines[j]);
        load_report_free(&own);
        return rc;
    }
    return -ENOENT;
}

/* ---- by class name ---- */

static const char *const kinds[] = {"sink_", "adapter_"};

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int not_found(const struct search *search, const char *name, struct load_report *report)
{
    char dirs[500], close_to[48], expected[96], remedy[160];
    search_text(search, dirs, sizeof dirs);
    snprintf(expected, sizeof expected, "sink_%s.so or adapter_%s.so", name, name);
    if (search_nearest(search, name, close_to, sizeof close_to))
        snprintf(remedy, sizeof remedy, "did you mean \"%s\"?", close_to);
    else
        snprintf(remedy, sizeof remedy,
                 "install its package (auditwell-sink-%s), or set plugin_path, plugin_file or $AUDITWELL_PLUGIN_PATH",
                 name);
    report->path = name;
    load_refuse(report, "plugin", expected, remedy, "no such file in %s", dirs);
    return -ENOENT;
}

static int load_name(const struct plugin_spec *spec, struct load_report *report, const struct loaded **ret)
{
    char module[64], path[PATH_MAX];
    if (!descriptor_name_ok(spec->name)) {
        load_refuse(report, "plugin", "a name of [a-z0-9_-], at most 32 characters", "use plugin_file for a path",
                    "\"%.60s\"", spec->name);
        return -EINVAL;
    }
    for (size_t k = 0; !spec->sha256 && k < AW_ARRAY_LEN(kinds);
         k++) { /* a built-in has no file to compare with a pin */
        snprintf(module, sizeof module, "%s%s", kinds[k], spec->name);
        for (char *c = module; *c; c++)
            if (*c == '-')
                *c = '_';
        int rc = load_builtin(module, report, ret);
        if (rc != -ENOENT)
            return rc;
    }
    struct search search;
    int rc = search_make(&search, spec->search);
    if (rc < 0)
        return rc;
    rc = -ENOENT;
    for (size_t d = 0; rc == -ENOENT && d < search.count; d++) {
        for (size_t k = 0; rc == -ENOENT && k < AW_ARRAY_LEN(kinds); k++) {
            int n = snprintf(path, sizeof path, "%s/%s%s.so", search.dirs[d], kinds[k], spec->name);
            if (n > 0 && (size_t)n < sizeof path && exists(path))
                rc = load_path(path, spec->sha256, report, ret); /* the first is it: a bad one is never passed over */
            if (rc == -ENOENT && report->count > 0)
                rc = -EACCES;
        }
    }
    if (rc == -ENOENT && report->count == 0)
        rc = not_found(&search, spec->name, report);
    search_free(&search);
    return rc;
}

static int check_class(const struct plugin *plugin, const char *name, struct load_report *report)
{
    if (plugin_sink(plugin, name) || plugin_adapter(plugin, name))
        return 0;
    char field[64], list[200] = "", remedy[128];
    size_t used = 0;
    const char *first = plugin->sink_count ? plugin->sinks[0].name : plugin->adapters[0].name;
    for (size_t i = 0; i < plugin->sink_count + plugin->adapter_count && used < sizeof list - 40; i++) {
        const char *n = i < plugin->sink_count ? plugin->sinks[i].name : plugin->adapters[i - plugin->sink_count].name;
        int len = snprintf(list + used, sizeof list - used, "%s\"%s\"", i ? ", " : "", n);
        used += len > 0 ? (size_t)len : 0;
    }
    snprintf(field, sizeof field, "class \"%s\"", name);
    snprintf(remedy, sizeof remedy,
             "was the file renamed? Write plugin = \"%s\" with plugin_file, or give it back its name", first);
    report->path = plugin->path;
    load_refuse(report, field, "a sink or adapter of that name", remedy, "%s", list);
    return -EINVAL;
}

static int load_locked(const struct plugin_spec *spec, struct load_report *report, const struct plugin **ret)
{
    const struct loaded *l = NULL;
    int rc;
    if (spec->path && dso_secure_mode() &&
        (strncmp(spec->path, AW_PLUGINDIR "/", sizeof AW_PLUGINDIR) != 0 || strstr(spec->path, "/../"))) {
        load_refuse(report, "path", "a file in " AW_PLUGINDIR,
                    "a program with more rights than its user loads no other", "%s", spec->path);
        rc = -EACCES;
    } else if (spec->path) {
        rc = load_path(spec->path, spec->sha256, report, &l);
    } else if (spec->name) {
        rc = load_name(spec, report, &l);
    } else {
        load_refuse(report, "plugin", "a name or a path", "name one", "neither");
        rc = -EINVAL;
    }
    if (rc == 0 && spec->name)
        rc = check_class(&l->plugin, spec->name, report);
    if (rc == 0)
        *ret = &l->plugin;
    return rc;
}

static int error_code(int rc)
{
    return rc == -ENOMEM ? AW_ERR_NOMEM : rc == -ENOENT ? AW_ERR_NOTFOUND : AW_ERR_CONFIG;
}

static void hand_to_diag(int code, const char *where, const struct load_report *report)
{
    for (size_t i = 0; i < report->count && i < LOAD_REPORT_MAX; i++)
        diag_problem(code, where, "%s",
                     report->lines[i] ? report->lines[i] : "out of memory while a plugin was loaded");
    if (report->count > LOAD_REPORT_MAX)
        diag_problem(code, where, "%s: and %zu more", report->path, report->count - LOAD_REPORT_MAX);
}

int plugin_load(const struct plugin_spec *spec, const struct plugin **ret)
{
    struct load_report report = {.path = spec->path ? spec->path : spec->name};
    dso_lock();
    int rc = load_locked(spec, &report, ret);
    dso_unlock();
    if (rc < 0) {
        if (report.count == 0)
            load_refuse(&report, "load", "memory", "free some", "%s", strerror(-rc));
        hand_to_diag(error_code(rc), spec->where, &report);
    }
    load_report_free(&report);
    return rc < 0 ? error_code(rc) : 0;
}

const struct aw_sink_class *plugin_sink(const struct plugin *plugin, const char *name)
{
    if (!name)
        return plugin->sink_count == 1 ? &plugin->sinks[0] : NULL;
    for (size_t i = 0; i < plugin->sink_count; i++)
        if (strcmp(plugin->sinks[i].name, name) == 0)
            return &plugin->sinks[i];
    return NULL;
}

const struct aw_adapter_class *plugin_adapter(const struct plugin *plugin, const char *name)
{
    if (!name)
        return plugin->adapter_count == 1 ? &plugin->adapters[0] : NULL;
    for (size_t i = 0; i < plugin->adapter_count; i++)
        if (strcmp(plugin->adapters[i].name, name) == 0)
            return &plugin->adapters[i];
    return NULL;
}

/* ---- all of them ---- */

static char *join_report(const struct load_report *report)
{
    size_t len = 1;
    for (size_t i = 0; i < report->count && i < LOAD_REPORT_MAX; i++)
        len += report->lines[i] ? strlen(report->lines[i]) + 1 : 0;
    char *text = calloc(1, len);
    char *p = text;
    for (size_t i = 0; text && i < report->count && i < LOAD_REPORT_MAX; i++) {
        if (p > text)
            *p++ = '\n';
        if (report->lines[i])
            p = stpcpy(p, report->lines[i]);
    }
    return text;
}

static int each_one(const char *path, const char *module,
                    int (*fn)(void *, const char *, const struct plugin *, const char *), void *arg)
{
    struct load_report report = {.path = path};
    const struct loaded *l = NULL;
    dso_lock();
    int rc = module ? load_builtin(module, &report, &l) : load_path(path, NULL, &report, &l);
    dso_unlock();
    if (rc == 0) {
        rc = fn(arg, path, &l->plugin, NULL);
    } else {
        AW_AUTOFREE char *reason = join_report(&report);
        rc = fn(arg, path, NULL, reason && *reason ? reason : "out of memory");
    }
    load_report_free(&report);
    return rc;
}

int plugin_each(int (*fn)(void *arg, const char *path, const struct plugin *plugin, const char *reason), void *arg)
{
    struct search search;
    struct search_paths paths = {0};
    int rc = search_make(&search, NULL);
    if (rc == 0)
        rc = search_list(&search, &paths);
    search_free(&search);
    if (rc < 0)
        return AW_ERR_NOMEM;
    char module[128], shown[160];
    for (size_t i = 0; rc == 0 && dso_builtin_name(i, module, sizeof module); i++) {
        const char *plain = strchr(module, '_');
        snprintf(shown, sizeof shown, "builtin:%s", plain ? plain + 1 : module);
        rc = each_one(shown, module, fn, arg);
    }
    for (size_t i = 0; rc == 0 && i < paths.count; i++)
        rc = each_one(paths.list[i], NULL, fn, arg);
    search_paths_free(&paths);
    return rc;
}
