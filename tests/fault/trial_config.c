/* trial_config.c - a configuration that touches nothing but a scratch directory. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <glob.h>
#include <libconfig.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/audit.h"
#include "audit/plugin.h"
#include "trial.h"

__attribute__((format(printf, 1, 2))) static bool refuse(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("auditwell-trial: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return false;
}

static bool is_allowed(const struct trial_copy *t, const char *sink, const char *option)
{
    char want[200];
    (void)snprintf(want, sizeof want, "%s%s%s", sink, option ? "." : "", option ? option : "");
    for (size_t i = 0; i < t->allowed_count; i++)
        if (strcmp(t->allowed[i], want) == 0)
            return true;
    return false;
}

static bool set_text(config_setting_t *group, const char *key, const char *value)
{
    config_setting_t *s = config_setting_get_member(group, key);
    if (!s)
        s = config_setting_add(group, key, CONFIG_TYPE_STRING);
    return s && config_setting_set_string(s, value) == CONFIG_TRUE;
}

/* A relative path means the user's directory, not that of the copy. */
static bool make_absolute(config_setting_t *group, const char *key, const char *dir)
{
    const char *value;
    char path[PATH_MAX + 300];
    if (config_setting_lookup_string(group, key, &value) != CONFIG_TRUE || value[0] == '/' || value[0] == '\0')
        return true;
    (void)snprintf(path, sizeof path, "%s/%s", dir, value);
    return set_text(group, key, path);
}

/* SCRATCH/SINK.OPTION/NAME: two sinks with stores of the same name stay apart. */
static bool lead_away(const struct trial_copy *t, config_setting_t *group, const char *sink, const char *option,
                      const char *path)
{
    char dir[PATH_MAX], target[PATH_MAX + 300];
    const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : slash ? "store" : path;
    (void)snprintf(dir, sizeof dir, "%s/%s.%s", t->scratch, sink, option);
    (void)snprintf(target, sizeof target, "%s/%s", dir, name);
    if (mkdir(dir, 0700) && errno != EEXIST)
        return refuse("%s: %s", dir, strerror(errno));
    printf("# sink %s: %s: %s -> %s\n", sink, option, path, target);
    return set_text(group, option, target) || refuse("out of memory");
}

static const struct aw_sink_class *class_of(const char *plugin, const char *file)
{
    const void *found = NULL;
    const char *path;
    if (aw_plugins_find(file ? file : plugin, &found, &path) != AW_SUCCESS)
        return NULL;
    const struct aw_plugin *p = found;
    for (size_t i = 0; p->sinks && p->sinks[i]; i++)
        if (strcmp(p->sinks[i]->name, plugin) == 0)
            return p->sinks[i];
    return NULL;
}

static bool copy_options(const struct trial_copy *t, config_setting_t *group, const char *sink,
                         const struct aw_sink_class *class, const char *dir)
{
    bool led = false;
    for (size_t i = 0; class->options && class->options[i]; i++) {
        const struct aw_option *o = class->options[i];
        const char *value = o->deflt;
        if (o->type != AW_OPT_PATH)
            continue;
        (void)config_setting_lookup_string(group, o->key, &value);
        if (!value || !*value)
            continue;
        if (is_allowed(t, sink, o->key)) {
            printf("# sink %s: %s is left as it is: %s\n", sink, o->key, value);
            if (!make_absolute(group, o->key, dir))
                return refuse("out of memory");
        } else {
            led = true;
            if (!lead_away(t, group, sink, o->key, value))
                return false;
        }
    }
    if (led || strcmp(class->name, "null") == 0)
        return true;
    if (!is_allowed(t, sink, NULL))
        return refuse("sink \"%s\" (plugin %s) keeps its events where no path says, so that a trial would write into "
                      "that store. If it is there for tests, say -a %s",
                      sink, class->name, sink);
    printf("# sink %s: WRITES TO ITS REAL STORE, as -a %s says\n", sink, sink);
    return true;
}

static bool copy_sink(struct trial_copy *t, config_setting_t *group, const char *dir)
{
    const char *plugin = NULL, *name = NULL, *file = NULL;
    (void)config_setting_lookup_string(group, "plugin", &plugin);
    if (!plugin)
        return refuse("a sink does not name its plugin");
    if (!make_absolute(group, "plugin_file", dir))
        return refuse("out of memory");
    (void)config_setting_lookup_string(group, "plugin_file", &file);
    (void)config_setting_lookup_string(group, "name", &name);
    const struct aw_sink_class *class = class_of(plugin, file);
    if (!class)
        return refuse("plugin \"%s\" cannot be loaded: what its options mean is not known", plugin);
    if (t->sink_count == TRIAL_MAX_SINKS)
        return refuse("more than %d sinks", TRIAL_MAX_SINKS);
    struct trial_sink *s = &t->sinks[t->sink_count++];
    (void)snprintf(s->name, sizeof s->name, "%s", name ? name : plugin);
    (void)snprintf(s->plugin, sizeof s->plugin, "%s", plugin);
    return copy_options(t, group, s->name, class, dir);
}

/* Plugins that only the configuration says where to find. */
static bool search_there_too(config_t *c, const char *dir)
{
    const char *more, *before = getenv("AUDITWELL_PLUGIN_PATH");
    char path[2 * PATH_MAX];
    if (!make_absolute(config_root_setting(c), "plugin_path", dir))
        return false;
    if (config_lookup_string(c, "plugin_path", &more) != CONFIG_TRUE)
        return true;
    (void)snprintf(path, sizeof path, "%s%s%s", before ? before : "", before && *before ? ":" : "", more);
    return setenv("AUDITWELL_PLUGIN_PATH", path, 1) == 0;
}

static bool copy_settings(struct trial_copy *t, config_t *c, const char *dir)
{
    char journal[PATH_MAX];
    config_setting_t *group = config_lookup(c, "journal"), *sinks = config_lookup(c, "sinks");
    (void)snprintf(journal, sizeof journal, "%s/journal", t->scratch);
    if (group && (!config_setting_is_group(group) || !set_text(group, "path", journal)))
        return refuse("journal is no group of settings");
    if (!search_there_too(c, dir))
        return refuse("out of memory");
    for (int i = 0; sinks && i < config_setting_length(sinks); i++) {
        config_setting_t *sink = config_setting_get_elem(sinks, (unsigned)i);
        if (!config_setting_is_group(sink))
            return refuse("sinks must be a list of groups");
        if (!copy_sink(t, sink, dir))
            return false;
    }
    return true;
}

/* The copy is ours, and would be believed where the original is not. */
static bool is_trusted(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return refuse("%s: %s", path, strerror(errno));
    if ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH)))
        return true;
    return refuse("%s must belong to root or to you, and others may not write it", path);
}

static bool copy_file(struct trial_copy *t, const char *from, const char *to, const char *dir)
{
    config_t c;
    if (!is_trusted(from))
        return false;
    config_init(&c);
    config_set_include_dir(&c, dir);
    bool good = config_read_file(&c, from) == CONFIG_TRUE;
    if (!good)
        (void)refuse("%s:%d: %s", from, config_error_line(&c), config_error_text(&c));
    good = good && copy_settings(t, &c, dir);
    if (good && config_write_file(&c, to) != CONFIG_TRUE)
        good = refuse("%s cannot be written", to);
    if (good && chmod(to, 0600))
        good = refuse("%s: %s", to, strerror(errno));
    config_destroy(&c);
    return good;
}

bool trial_copy_config(struct trial_copy *t)
{
    char from[PATH_MAX], dir[PATH_MAX], to[PATH_MAX + 300], pattern[PATH_MAX + 20], journal[PATH_MAX];
    glob_t g = {.gl_pathc = 0};
    if (!realpath(t->config, from))
        return refuse("%s: %s", t->config, strerror(errno));
    (void)snprintf(dir, sizeof dir, "%s", from);
    *strrchr(dir, '/') = '\0';
    (void)snprintf(t->copy, sizeof t->copy, "%s/audit.conf", t->scratch);
    if (!copy_file(t, from, t->copy, dir))
        return false;
    (void)snprintf(to, sizeof to, "%s/conf.d", t->scratch);
    (void)snprintf(pattern, sizeof pattern, "%s/conf.d/*.conf", dir);
    if (mkdir(to, 0700))
        return refuse("%s: %s", to, strerror(errno));
    bool good = true;
    if (glob(pattern, 0, NULL, &g) == 0)
        for (size_t i = 0; good && i < g.gl_pathc; i++) {
            (void)snprintf(to, sizeof to, "%s/conf.d%s", t->scratch, strrchr(g.gl_pathv[i], '/'));
            good = copy_file(t, g.gl_pathv[i], to, dir);
        }
    globfree(&g);
    /* Wins over all files: also when none of them names the journal. */
    (void)snprintf(journal, sizeof journal, "%s/journal", t->scratch);
    if (good && setenv("AUDITWELL_JOURNAL_PATH", journal, 1))
        good = refuse("out of memory");
    if (good)
        printf("# journal: %s\n", journal);
    return good;
}
