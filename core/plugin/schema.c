/* schema.c - option schemas and the settings made with them. See registry.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <stdio.h>

#define PATH_TEXT 300

/* ---- making ---- */

int schema_config_new(const struct aw_option *const *options, struct aw_config **ret)
{
    size_t n = 0;
    while (options && options[n])
        n++;
    struct aw_config *config = calloc(1, sizeof *config);
    if (config)
        config->values = calloc(n + 1, sizeof *config->values);
    if (!config || !config->values) {
        free(config);
        return -ENOMEM;
    }
    config->count = n;
    for (size_t i = 0; i < n; i++)
        config->values[i].option = options[i];
    *ret = config;
    return 0;
}

void schema_config_destroy(struct aw_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->count; i++)
        schema_value_clear(&config->values[i]);
    free(config->values);
    free(config);
}

struct config_value *schema_value(const struct aw_config *config, const char *key)
{
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->values[i].option->key, key) == 0)
            return &config->values[i];
    return NULL;
}

static bool listed(const char *key, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

static void join_path(char *buf, size_t size, const char *path, const char *key)
{
    snprintf(buf, size, "%s%s%s", path, *path ? "." : "", key);
}

/* "unknown key", with the nearest of the options and the core's keys. */
static void unknown_key(const struct aw_config *config, const char *key, const char *const *core_keys,
                        const struct schema_place *place)
{
    const char *known[200];
    size_t n = 0;
    for (size_t i = 0; i < config->count && n < AW_ARRAY_LEN(known) - 1; i++)
        if (!(config->values[i].option->flags & AW_OPT_DEPRECATED))
            known[n++] = config->values[i].option->key;
    for (size_t i = 0; core_keys && core_keys[i] && n < AW_ARRAY_LEN(known) - 1; i++)
        known[n++] = core_keys[i];
    known[n] = NULL;
    const char *close_to = schema_nearest(key, known);
    if (close_to) {
        diag_problem(AW_ERR_CONFIG, place->where, "%s: unknown key \"%s\"; did you mean \"%s\"?", place->path, key,
                     close_to);
        return;
    }
    char all[500] = "";
    size_t used = 0;
    for (size_t i = 0; i < n && used < sizeof all; i++) {
        int len = snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", known[i]);
        used += len > 0 ? (size_t)len : 0;
    }
    diag_problem(AW_ERR_CONFIG, place->where, "%s: unknown key \"%s\"; known are: %s", place->path, key,
                 n ? all : "none");
}

static void warn_deprecated(const struct aw_option *o, const struct schema_place *place)
{
    if (o->flags & AW_OPT_DEPRECATED)
        diag_problem(0, place->where, "%s: deprecated, it will be removed%s%s%s", place->path,
                     o->help && *o->help ? " (" : "", o->help ? o->help : "", o->help && *o->help ? ")" : "");
}

/* Fills an empty value; where is remembered. Returns the number of problems. */
static size_t keep(struct config_value *v, bool ok, const struct schema_place *place)
{
    if (!ok) {
        schema_value_clear(v);
        v->explicit = true; /* wrong, but not missing: no second complaint about it */
        return 1;
    }
    v->set = v->explicit = true;
    v->where = strdup(place->where);
    warn_deprecated(v->option, place);
    return 0;
}

static size_t set_twice(const struct config_value *v, const struct schema_place *place)
{
    diag_problem(AW_ERR_CONFIG, place->where, "%s: set a second time, first at %s; keep one of the two", place->path,
                 v->where ? v->where : "another place");
    return 1;
}

/* A secret's text in a file that everybody may read deserves a word. */
static void warn_clear_secret(const config_setting_t *s, const struct schema_place *place)
{
    const char *text = config_setting_get_string(s), *file = config_setting_source_file(s);
    if (!file)
        file = config_setting_get_hook(s);
    struct stat st;
    if (!text || !*text || strncmp(text, "file:", 5) == 0 || strncmp(text, "env:", 4) == 0 ||
        strncmp(text, "credential:", 11) == 0 || !file || stat(file, &st) < 0 || (st.st_mode & S_IROTH) == 0)
        return;
    diag_problem(0, place->where,
                 "%s: a secret stands in a file that everybody may read; use \"file:PATH\", \"env:NAME\" or "
                 "\"credential:NAME\", or run chmod o-r %s",
                 place->path, file);
}

size_t schema_take_group(struct aw_config *config, const config_setting_t *group, const char *const *core_keys,
                         const char *base_dir, const char *path)
{
    size_t problems = 0;
    int n = group ? config_setting_length(group) : 0;
    for (int i = 0; i < n; i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        const char *key = config_setting_name(s);
        if (!key || listed(key, core_keys))
            continue;
        char where[SCHEMA_WHERE_MAX], full[PATH_TEXT];
        join_path(full, sizeof full, path, key);
        struct schema_place place = {.where = schema_where(s, where, sizeof where), .path = full, .base_dir = base_dir};
        struct config_value *v = schema_value(config, key);
        if (!v) {
            place.path = *path ? path : "top level";
            unknown_key(config, key, core_keys, &place);
            problems++;
        } else if (v->explicit) {
            problems += set_twice(v, &place);
        } else {
            if (v->option->type == AW_OPT_SECRET)
                warn_clear_secret(s, &place);
            problems += keep(v, schema_value_setting(v, s, &place), &place);
        }
    }
    return problems;
}

size_t schema_take_text(struct aw_config *config, const char *key, const char *text, bool replace, const char *where,
                        const char *base_dir, const char *path)
{
    struct config_value *v = schema_value(config, key);
    char full[PATH_TEXT];
    join_path(full, sizeof full, path, key);
    struct schema_place place = {.where = where, .path = full, .base_dir = base_dir};
    if (!v) {
        place.path = path;
        unknown_key(config, key, NULL, &place);
        return 1;
    }
    if (v->explicit && !replace)
        return 0;
    schema_value_clear(v);
    size_t problems = keep(v, schema_value_text(v, text, &place), &place);
    if (!replace && problems == 0)
        v->explicit = false;
    return problems;
}

size_t schema_finish(struct aw_config *config, const char *where, const char *base_dir, const char *path)
{
    size_t problems = 0;
    for (size_t i = 0; i < config->count; i++) {
        struct config_value *v = &config->values[i];
        const struct aw_option *o = v->option;
        if (v->set || v->explicit)
            continue;
        char full[PATH_TEXT];
        join_path(full, sizeof full, path, o->key);
        struct schema_place place = {.where = where, .path = full, .base_dir = base_dir};
        if (o->deflt) {
            v->set = schema_value_text(v, o->deflt, &place);
            problems += !v->set;
        } else if (o->flags & AW_OPT_REQUIRED) {
            diag_problem(AW_ERR_CONFIG, where, "%s: required, but not set%s%s%s", full, o->help && *o->help ? " (" : "",
                         o->help ? o->help : "", o->help && *o->help ? ")" : "");
            problems++;
        }
    }
    return problems;
}

int schema_config_create(const struct aw_option *const *options, const config_setting_t *group,
                         const char *const *core_keys, const char *base_dir, const char *path, struct aw_config **ret)
{
    struct aw_config *config = NULL;
    if (schema_config_new(options, &config) < 0)
        return diag_problem(AW_ERR_NOMEM, path, "out of memory");
    char where[SCHEMA_WHERE_MAX] = "";
    if (group)
        schema_where(group, where, sizeof where);
    size_t problems = schema_take_group(config, group, core_keys, base_dir, path);
    problems += schema_finish(config, where, base_dir, path);
    if (problems) {
        schema_config_destroy(config);
        return AW_ERR_CONFIG;
    }
    *ret = config;
    return 0;
}

/* "audit.jsonl" -> "audit.slot1.jsonl", "audit" -> "audit.slot1". */
static char *path_of_slot(const char *path, uint32_t slot)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t stem = dot && dot != base ? (size_t)(dot - path) : strlen(path);
    char *out;
    return asprintf(&out, "%.*s.slot%u%s", (int)stem, path, (unsigned)slot, path + stem) < 0 ? NULL : out;
}

int schema_config_use_slot(struct aw_config *config, uint32_t slot)
{
    for (size_t i = 0; slot != 0 && i < config->count; i++) {
        struct config_value *v = &config->values[i];
        if (!v->set || v->option->type != AW_OPT_PATH || !(v->option->flags & AW_OPT_PER_SLOT))
            continue;
        char *path = path_of_slot(v->text, slot);
        if (!path)
            return -ENOMEM;
        free(v->text);
        v->text = path;
        v->text_len = strlen(path);
    }
    return 0;
}

int schema_config_from_pairs(const struct aw_option *const *options, const char *const *pairs, size_t count,
                             const char *path, struct aw_config **ret)
{
    struct aw_config *config = NULL;
    if (schema_config_new(options, &config) < 0)
        return diag_problem(AW_ERR_NOMEM, path, "out of memory");
    AW_AUTOFREE char *cwd = getcwd(NULL, 0); /* paths of a command line are relative to where it was typed */
    size_t problems = 0;
    for (size_t i = 0; i < count; i++) {
        const char *eq = strchr(pairs[i], '=');
        AW_AUTOFREE char *key = eq ? strndup(pairs[i], (size_t)(eq - pairs[i])) : NULL;
        if (!key) {
            diag_problem(AW_ERR_CONFIG, "", "%s: expected key=value, found \"%.60s\"", path, pairs[i]);
            problems++;
            continue;
        }
        struct config_value *v = schema_value(config, key);
        struct schema_place place = {.where = "", .path = path, .base_dir = cwd};
        if (v && v->explicit) {
            diag_problem(AW_ERR_CONFIG, "", "%s.%s: given twice", path, key);
            problems++;
        } else if (!v) {
            unknown_key(config, key, NULL, &place);
            problems++;
        } else {
            problems += schema_take_text(config, key, eq + 1, true, "", cwd, path);
        }
    }
    problems += schema_finish(config, "", cwd, path);
    if (problems) {
        schema_config_destroy(config);
        return AW_ERR_CONFIG;
    }
    *ret = config;
    return 0;
}
