/* config_file.c - one sink's settings from an audit.conf. SPDX-License-Identifier: Apache-2.0
 *
 * Only what the sink itself declares is taken; `auditwell check` is what checks the file.
 */
#include "config.h"

#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"

static bool of_the_host(const char *key)
{
    static const char *const keys[] = {"plugin",   "name",       "enabled", "sha256", "plugin_file", "write_deadline",
                                       "required", "start_from", "pii",     "batch",  "retry",       "breaker"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static void take_items(struct kit_setting *s, const config_setting_t *m)
{
    int n = config_setting_length(m);
    s->items = calloc((size_t)n + 1, sizeof *s->items);
    for (int i = 0; s->items && i < n; i++) {
        const char *text = config_setting_get_string_elem(m, i);
        s->items[s->count++] = strdup(text ? text : "");
    }
    free(s->value);
    s->value = NULL;
}

static void take_member(const config_setting_t *m)
{
    char text[64];
    const char *key = config_setting_name(m), *value = text;
    switch (config_setting_type(m)) {
    case CONFIG_TYPE_BOOL:
        value = config_setting_get_bool(m) ? "true" : "false";
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        (void)snprintf(text, sizeof text, "%lld", config_setting_get_int64(m));
        break;
    case CONFIG_TYPE_STRING:
        value = config_setting_get_string(m);
        break;
    default:
        value = "";
        break;
    }
    kit_setting_add(kit.settings, &kit.setting_count, key, value);
    if (config_setting_is_list(m) || config_setting_is_array(m))
        take_items(&kit.settings[kit.setting_count - 1], m);
}

static const config_setting_t *find_sink(const config_t *config, const char *name)
{
    const config_setting_t *sinks = config_lookup(config, "sinks"), *found = NULL;
    for (int i = 0; sinks && i < config_setting_length(sinks); i++) {
        const config_setting_t *s = config_setting_get_elem(sinks, (unsigned)i);
        const char *its = NULL;
        if (config_setting_is_group(s) &&
            (config_setting_lookup_string(s, "name", &its) == CONFIG_TRUE ||
             config_setting_lookup_string(s, "plugin", &its) == CONFIG_TRUE) &&
            strcmp(its, name) == 0)
            found = s;
    }
    return found;
}

int kit_config_read(const char *path, const char *sink)
{
    config_t config;
    int r = -1;
    const char *slash = strrchr(path, '/');
    char *dir = strndup(path, slash ? (size_t)(slash - path) : 0);
    config_init(&config);
    if (!sink || !dir) {
        (void)fputs("auditwell-plugin-check: --config needs --sink NAME\n", stderr);
    } else if (slash == NULL) {
        (void)fputs("auditwell-plugin-check: --config needs an absolute path\n", stderr);
    } else {
        config_set_include_dir(&config, dir);
        if (config_read_file(&config, path) != CONFIG_TRUE) {
            (void)fprintf(stderr, "auditwell-plugin-check: %s:%d: %s\n", path, config_error_line(&config),
                          config_error_text(&config));
        } else {
            const config_setting_t *group = find_sink(&config, sink);
            if (!group)
                (void)fprintf(stderr, "auditwell-plugin-check: %s: there is no sink \"%s\"\n", path, sink);
            for (int i = 0; group && i < config_setting_length(group); i++) {
                const config_setting_t *m = config_setting_get_elem(group, (unsigned)i);
                if (!of_the_host(config_setting_name(m)))
                    take_member(m);
            }
            r = group ? 0 : -1;
        }
    }
    config_destroy(&config);
    if (r == 0)
        kit.base_dir = dir; /* for the rest of the process */
    else
        free(dir);
    return r;
}
