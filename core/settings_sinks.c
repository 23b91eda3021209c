/* settings_sinks.c - the list `sinks` of audit.conf: the keys that are the core's. SPDX-License-Identifier: Apache-2.0
 *
 * The other keys of a sink's group belong to its plugin, and are checked against its schema once it is loaded.
 */
#include "config.h"

#include "base/base.h"
#include "settings_private.h"

#include <stdio.h>

const char *settings_own(struct settings_impl *s, char *string)
{
    if (!string)
        return NULL;
    char **grown = realloc(s->strings, (s->string_count + 1) * sizeof *grown);
    if (!grown) {
        free(string);
        (void)diag_problem(AW_ERR_NOMEM, "", "out of memory");
        s->problems++;
        return NULL;
    }
    s->strings = grown;
    s->strings[s->string_count++] = string;
    return string;
}

static const char *own_copy(struct settings_impl *s, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy) { /* a sink must not vanish for want of its name */
        (void)diag_problem(AW_ERR_NOMEM, "", "out of memory");
        s->problems++;
    }
    return settings_own(s, copy);
}

static void apply_u32(const struct aw_config *c, const char *key, uint32_t *out)
{
    const struct config_value *v = c ? schema_value(c, key) : NULL;
    if (v && v->set)
        *out = (uint32_t)v->number;
}

static void apply_u64(const struct aw_config *c, const char *key, uint64_t *out)
{
    const struct config_value *v = c ? schema_value(c, key) : NULL;
    if (v && v->set)
        *out = (uint64_t)v->number;
}

void settings_apply_delivery(const struct aw_config *batch, const struct aw_config *retry,
                             const struct aw_config *breaker, const struct config_value *write_deadline,
                             struct delivery_settings *out)
{
    apply_u32(batch, "events", &out->batch_events);
    apply_u64(batch, "bytes", &out->batch_bytes);
    apply_u64(batch, "flush_interval", &out->flush_interval_ns);
    apply_u32(retry, "max", &out->retry_max);
    apply_u64(retry, "base", &out->retry_base_ns);
    apply_u64(retry, "cap", &out->retry_cap_ns);
    apply_u32(breaker, "threshold", &out->breaker_threshold);
    apply_u64(breaker, "cooldown", &out->breaker_cooldown_ns);
    apply_u32(breaker, "probes", &out->breaker_probes);
    if (write_deadline && write_deadline->set)
        out->write_deadline_ns = (uint64_t)write_deadline->number;
}

static bool name_ok(const char *name)
{
    size_t n = strnlen(name, 65);
    return n > 0 && n <= 64 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0; /* it becomes a file name of the journal's cursor */
}

/* The core's scalar keys, by name: the others are the plugin's. */
static void take_core_keys(struct settings_impl *s, struct aw_config *core, const config_setting_t *group,
                           const char *path)
{
    for (size_t i = 0; i < core->count; i++) {
        struct config_value *v = &core->values[i];
        const config_setting_t *m = config_setting_get_member(group, v->option->key);
        if (!m)
            continue;
        char where[SCHEMA_WHERE_MAX], full[200];
        snprintf(full, sizeof full, "%s.%s", path, v->option->key);
        struct schema_place place = {
            .where = schema_where(m, where, sizeof where), .path = full, .base_dir = s->files.base_dir};
        v->explicit = true;
        v->set = schema_value_setting(v, m, &place);
        s->problems += !v->set;
    }
}

/* batch, retry or breaker inside a sink's group. NULL: not there, or wrong. The caller destroys it. */
static struct aw_config *take_subgroup(struct settings_impl *s, const config_setting_t *group,
                                       enum settings_group_id id, const char *path)
{
    const config_setting_t *m = config_setting_get_member(group, settings_groups[id].name);
    if (!m)
        return NULL;
    char where[SCHEMA_WHERE_MAX], full[200];
    snprintf(full, sizeof full, "%s.%s", path, settings_groups[id].name);
    if (!config_setting_is_group(m)) {
        diag_problem(AW_ERR_CONFIG, schema_where(m, where, sizeof where),
                     "%s: expected a group { key = value; }, found another "
                     "kind of value",
                     full);
        s->problems++;
        return NULL;
    }
    struct aw_config *config = NULL;
    if (schema_config_new(settings_groups[id].options, &config) < 0) {
        diag_problem(AW_ERR_NOMEM, full, "out of memory");
        s->problems++;
        return NULL;
    }
    s->problems += schema_take_group(config, m, NULL, s->files.base_dir, full);
    return config;
}

static void take_delivery(struct settings_impl *s, struct settings_sink *sink, const struct aw_config *core,
                          const char *path)
{
    struct aw_config *batch = take_subgroup(s, sink->group, GROUP_BATCH, path);
    struct aw_config *retry = take_subgroup(s, sink->group, GROUP_RETRY, path);
    struct aw_config *breaker = take_subgroup(s, sink->group, GROUP_BREAKER, path);
    settings_apply_delivery(batch, retry, breaker, schema_value(core, "write_deadline"), &sink->delivery);
    schema_config_destroy(batch);
    schema_config_destroy(retry);
    schema_config_destroy(breaker);
}

static const char *text_of(const struct aw_config *core, const char *key)
{
    const struct config_value *v = schema_value(core, key);
    return v->set ? v->text : NULL;
}

static void problem_at(struct settings_impl *s, const config_setting_t *group, const char *path, const char *key,
                       const char *text, const char *found)
{
    char where[SCHEMA_WHERE_MAX];
    const config_setting_t *m = config_setting_get_member(group, key);
    diag_problem(AW_ERR_CONFIG, schema_where(m ? m : group, where, sizeof where),
                 "%s.%s: expected %s, found \"%.100s\"", path, key, text, found);
    s->problems++;
}

static void check_texts(struct settings_impl *s, struct settings_sink *sink, const struct aw_config *core,
                        const char *path)
{
    if (sink->plugin && !descriptor_name_ok(sink->plugin))
        problem_at(s, sink->group, path, "plugin", "a plugin's name of [a-z0-9_-], at most 32 characters",
                   sink->plugin);
    if (sink->name && sink->name != sink->plugin && !name_ok(sink->name))
        problem_at(s, sink->group, path, "name", "letters, digits, '.', '_' and '-', at most 64", sink->name);
    const char *pin = text_of(core, "sha256");
    if (pin && (strlen(pin) != 64 || strspn(pin, "0123456789abcdefABCDEF") != 64))
        problem_at(s, sink->group, path, "sha256", "64 hexadecimal digits as sha256sum prints them", pin);
}

/* plugin_file names code to run: only a file that nobody else can change may do that. */
static void check_trust(struct settings_impl *s, const struct settings_sink *sink, const char *path)
{
    const config_setting_t *m = config_setting_get_member(sink->group, "plugin_file");
    for (size_t i = 0; m && i < s->files.count; i++) {
        const struct settings_file *f = s->files.list[i];
        if (f->path != config_setting_get_hook(m) || f->st.st_ino == 0 || trust_owner(&f->st))
            continue;
        char where[SCHEMA_WHERE_MAX];
        diag_problem(AW_ERR_CONFIG, schema_where(m, where, sizeof where),
                     "%s.plugin_file: expected in a file of root or uid %u that "
                     "neither group nor others may write, found owner %u, mode %04o; run chown and chmod go-w on it",
                     path, (unsigned)geteuid(), (unsigned)f->st.st_uid, (unsigned)(f->st.st_mode & 07777));
        s->problems++;
    }
}

static void take_pii(struct settings_impl *s, struct settings_sink *sink, const struct aw_config *core)
{
    const struct config_value *v = schema_value(core, "pii");
    if (!v->set)
        return;
    char where[SCHEMA_WHERE_MAX];
    const config_setting_t *m = config_setting_get_member(sink->group, "pii");
    sink->pii = strcmp(v->text, "drop") == 0   ? SETTINGS_PII_DROP
                : strcmp(v->text, "keep") == 0 ? SETTINGS_PII_KEEP
                                               : SETTINGS_PII_PSEUDONYMIZE;
    sink->pii_where = own_copy(s, schema_where(m ? m : sink->group, where, sizeof where));
}

static void take_sink(struct settings_impl *s, const config_setting_t *group, unsigned index)
{
    char where[SCHEMA_WHERE_MAX], path[128];
    const config_setting_t *name = config_setting_get_member(group, "name");
    const char *shown = name ? config_setting_get_string(name) : NULL;
    if (shown && name_ok(shown))
        snprintf(path, sizeof path, "sinks.%s", shown);
    else
        snprintf(path, sizeof path, "sinks[%u]", index);
    struct aw_config *core = NULL;
    struct settings_sink *grown = realloc(s->pub.sinks, (s->pub.sink_count + 1) * sizeof *grown);
    if (grown)
        s->pub.sinks = grown;
    if (!grown || schema_config_new(settings_sink_options, &core) < 0) {
        diag_problem(AW_ERR_NOMEM, path, "out of memory");
        s->problems++;
        return;
    }
    schema_where(group, where, sizeof where);
    take_core_keys(s, core, group, path);
    s->problems += schema_finish(core, where, s->files.base_dir, path);
    struct settings_sink *sink = &s->pub.sinks[s->pub.sink_count];
    *sink = (struct settings_sink){.group = group, .where = own_copy(s, where)};
    sink->plugin = own_copy(s, text_of(core, "plugin"));
    sink->name = text_of(core, "name") ? own_copy(s, text_of(core, "name")) : sink->plugin;
    sink->enabled = schema_value(core, "enabled")->number != 0;
    sink->required = schema_value(core, "required")->number != 0;
    const char *from = text_of(core, "start_from");
    sink->from = from && strcmp(from, "now") == 0 ? JOURNAL_FROM_NOW : JOURNAL_FROM_STORED;
    sink->spec = (struct plugin_spec){
        .name = sink->plugin,
        .path = own_copy(s, text_of(core, "plugin_file")),
        .sha256 = own_copy(s, text_of(core, "sha256")),
        .where = sink->where,
        .search = s->pub.plugin_path,
    };
    settings_apply_delivery(s->groups[GROUP_BATCH], s->groups[GROUP_RETRY], s->groups[GROUP_BREAKER],
                            schema_value(s->groups[GROUP_TOP], "write_deadline"), &sink->delivery);
    if (sink->required && !sink->enabled) {
        diag_problem(AW_ERR_CONFIG, where, "%s: a sink that is required must be enabled, found enabled = false", path);
        s->problems++;
    }
    take_pii(s, sink, core);
    check_texts(s, sink, core, path);
    check_trust(s, sink, path);
    take_delivery(s, sink, core, path);
    bool own_retry = config_setting_get_member(group, "retry") != NULL; /* the top level's is checked there */
    if (own_retry && sink->delivery.retry_cap_ns < sink->delivery.retry_base_ns) {
        diag_problem(AW_ERR_CONFIG, where, "%s.retry: expected cap >= base, found a cap below it", path);
        s->problems++;
    }
    schema_config_destroy(core);
    if (sink->plugin && sink->name)
        s->pub.sink_count++;
}

void settings_take_sinks(struct settings_impl *s, const config_setting_t *list)
{
    char where[SCHEMA_WHERE_MAX];
    if (!config_setting_is_list(list)) {
        diag_problem(AW_ERR_CONFIG, schema_where(list, where, sizeof where),
                     "sinks: expected a list of groups ( { plugin = \"file\"; "
                     "… }, … ), found %s",
                     config_setting_is_group(list) ? "a group: put ( ) around it" : "another kind of value");
        s->problems++;
        return;
    }
    int n = config_setting_length(list);
    for (int i = 0; i < n; i++) {
        const config_setting_t *e = config_setting_get_elem(list, (unsigned)i);
        if (config_setting_is_group(e)) {
            take_sink(s, e, (unsigned)i);
            continue;
        }
        diag_problem(AW_ERR_CONFIG, schema_where(e, where, sizeof where),
                     "sinks[%d]: expected a group { plugin = \"file\"; … }, "
                     "found another kind of value",
                     i);
        s->problems++;
    }
}

void settings_finish_sinks(struct settings_impl *s)
{
    for (size_t i = 0; i < s->pub.sink_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(s->pub.sinks[i].name, s->pub.sinks[j].name) != 0)
                continue;
            diag_problem(AW_ERR_CONFIG, s->pub.sinks[i].where,
                         "sinks.%s: expected a name that no other sink has, found it at %s, "
                         "too; add name = \"…\"",
                         s->pub.sinks[i].name, s->pub.sinks[j].where);
            s->problems++;
            break;
        }
    }
}
