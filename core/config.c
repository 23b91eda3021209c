/* config.c - audit.conf to struct settings. See settings.h, settings_private.h. SPDX-License-Identifier: Apache-2.0
 *
 * Precedence, highest first: environment, files, preset, default. Every problem is reported, then the load fails once.
 */
#include "config.h"

#include "base/base.h"
#include "settings_private.h"

#include <stdio.h>

static const struct config_value *value(const struct settings_impl *s, enum settings_group_id group, const char *key)
{
    return schema_value(s->groups[group], key);
}

static const char *text(const struct settings_impl *s, enum settings_group_id group, const char *key)
{
    const struct config_value *v = value(s, group, key);
    return v->set ? v->text : NULL;
}

static int64_t number(const struct settings_impl *s, enum settings_group_id group, const char *key)
{
    return value(s, group, key)->number;
}

static bool is(const struct settings_impl *s, enum settings_group_id group, const char *key, const char *what)
{
    const char *t = text(s, group, key);
    return t && strcmp(t, what) == 0;
}

static const char *where_of(const struct settings_impl *s, enum settings_group_id group, const char *key)
{
    const struct config_value *v = value(s, group, key);
    return v->where ? v->where : s->pub.source;
}

#define PROBLEM(s, where, ...) ((s)->problems++, (void)diag_problem(AW_ERR_CONFIG, where, __VA_ARGS__))

/* ---- files ---- */

static void take_adapters(struct settings_impl *s, const config_setting_t *setting)
{
    char where[SCHEMA_WHERE_MAX];
    schema_where(setting, where, sizeof where);
    if (!config_setting_is_list(setting) && !config_setting_is_array(setting))
        PROBLEM(s, where, "adapters: expected an empty list ( ), found another kind of value");
    else if (config_setting_length(setting) > 0)
        PROBLEM(
            s, where,
            "adapters: expected an empty list ( ), found %d; adapters are not available in this version: remove them",
            config_setting_length(setting));
}

/* A key at the top that belongs into a group is a frequent slip, and not near any name there. */
static bool misplaced(struct settings_impl *s, const config_setting_t *setting)
{
    const char *key = config_setting_name(setting);
    if (schema_value(s->groups[GROUP_TOP], key))
        return false;
    for (int g = GROUP_JOURNAL; g < GROUP_COUNT; g++) {
        if (!schema_value(s->groups[g], key) || strcmp(key, settings_groups[g].name) == 0)
            continue;
        char where[SCHEMA_WHERE_MAX];
        PROBLEM(s, schema_where(setting, where, sizeof where),
                "top level: unknown key \"%s\"; it belongs into a group: %s = { %s = …; }", key,
                settings_groups[g].name, key);
        return true;
    }
    return false;
}

static void take_group(struct settings_impl *s, const config_setting_t *setting, int g)
{
    char where[SCHEMA_WHERE_MAX];
    if (config_setting_is_group(setting))
        s->problems += schema_take_group(s->groups[g], setting, NULL, s->files.base_dir, settings_groups[g].name);
    else
        PROBLEM(s, schema_where(setting, where, sizeof where),
                "%s: expected a group { key = value; }, found another kind of value", settings_groups[g].name);
}

/* Everything but the sinks, which need the groups' final values first. */
static void take_file(struct settings_impl *s, const struct settings_file *file)
{
    const config_setting_t *root = config_root_setting(&file->config);
    const char *skip[64];
    size_t skipped = 0;
    for (; settings_top_groups[skipped]; skipped++)
        skip[skipped] = settings_top_groups[skipped];
    int n = config_setting_length(root);
    for (int i = 0; i < n; i++) {
        const config_setting_t *setting = config_setting_get_elem(root, (unsigned)i);
        const char *key = config_setting_name(setting);
        for (int g = GROUP_JOURNAL; g < GROUP_COUNT; g++)
            if (strcmp(settings_groups[g].name, key) == 0)
                take_group(s, setting, g);
        if (strcmp(key, "adapters") == 0)
            take_adapters(s, setting);
        bool known = false;
        for (size_t k = 0; settings_top_groups[k]; k++)
            known |= strcmp(settings_top_groups[k], key) == 0;
        if (!known && skipped < AW_ARRAY_LEN(skip) - 1 && misplaced(s, setting))
            skip[skipped++] = key;
    }
    skip[skipped] = NULL;
    s->problems += schema_take_group(s->groups[GROUP_TOP], root, skip, s->files.base_dir, "");
}

/* ---- environment, presets, defaults ---- */

static void take_environment(struct settings_impl *s)
{
    for (const struct settings_env *e = settings_environment; e->variable; e++) {
        const char *t = secure_getenv(e->variable);
        if (!t || !*t)
            continue;
        char where[80];
        snprintf(where, sizeof where, "environment %s", e->variable);
        /* no base_dir: a path from the environment must be absolute */
        s->problems +=
            schema_take_text(s->groups[e->group], e->key, t, true, where, NULL, settings_groups[e->group].name);
    }
}

static void take_preset(struct settings_impl *s)
{
    const char *preset = text(s, GROUP_TOP, "preset");
    for (const struct settings_preset_key *p = settings_presets; preset && p->preset; p++) {
        if (strcmp(p->preset, preset) != 0)
            continue;
        char where[80];
        snprintf(where, sizeof where, "preset %s", preset);
        s->problems +=
            schema_take_text(s->groups[p->group], p->key, p->value, false, where, NULL, settings_groups[p->group].name);
    }
}

static void take_defaults(struct settings_impl *s)
{
    for (int g = 0; g < GROUP_COUNT; g++)
        s->problems += schema_finish(s->groups[g], s->pub.source, s->files.base_dir, settings_groups[g].name);
}

/* ---- what keys say to each other ---- */

static void check_unavailable(struct settings_impl *s)
{
    if (is(s, GROUP_INTEGRITY, "mode", "signed"))
        PROBLEM(s, where_of(s, GROUP_INTEGRITY, "mode"),
                "integrity.mode: \"signed\" is not available in this version; write "
                "mode = \"chain\"");
}

static void check_sizes(struct settings_impl *s)
{
    char a[40], b[40];
    int64_t ring = number(s, GROUP_JOURNAL, "ring_size"), segment = number(s, GROUP_JOURNAL, "segment_size");
    int64_t all = number(s, GROUP_JOURNAL, "max_size"), event = number(s, GROUP_LIMITS, "event");
    if (ring > 0 && (ring & (ring - 1)) != 0) {
        schema_format_size(ring, a, sizeof a);
        PROBLEM(s, where_of(s, GROUP_JOURNAL, "ring_size"), "journal.ring_size: expected a power of two, found %s", a);
    }
    if (all > 0 && segment > all / 2) {
        schema_format_size(segment, a, sizeof a);
        schema_format_size(all, b, sizeof b);
        PROBLEM(s, where_of(s, GROUP_JOURNAL, "segment_size"),
                "journal.segment_size: expected at most half of journal.max_size (%s), "
                "found %s",
                b, a);
    }
    if (ring > 0 && event > ring / 2) {
        schema_format_size(event, a, sizeof a);
        schema_format_size(ring, b, sizeof b);
        PROBLEM(s, where_of(s, GROUP_LIMITS, "event"),
                "limits.event: expected at most half of journal.ring_size (%s), found %s", b, a);
    }
    if (number(s, GROUP_RETRY, "cap") < number(s, GROUP_RETRY, "base")) {
        schema_format_duration(number(s, GROUP_RETRY, "base"), a, sizeof a);
        schema_format_duration(number(s, GROUP_RETRY, "cap"), b, sizeof b);
        PROBLEM(s, where_of(s, GROUP_RETRY, "cap"), "retry.cap: expected at least retry.base (%s), found %s", a, b);
    }
}

static void check_plugin_path(struct settings_impl *s)
{
    const char *dir = text(s, GROUP_TOP, "plugin_path");
    for (size_t i = 0; dir && i < s->files.count; i++) {
        const struct settings_file *f = s->files.list[i];
        if (!f->parsed || !config_lookup(&f->config, "plugin_path") || f->st.st_ino == 0 || trust_owner(&f->st))
            continue;
        PROBLEM(s, where_of(s, GROUP_TOP, "plugin_path"),
                "plugin_path: expected in a file of root or uid %u that neither group nor "
                "others may write, found owner %u, mode %04o; run chown and chmod go-w on it",
                (unsigned)geteuid(), (unsigned)f->st.st_uid, (unsigned)(f->st.st_mode & 07777));
        return;
    }
    s->pub.plugin_path = dir;
}

/* ---- to the typed structs ---- */

static const struct event_rule *rules_of(struct settings_impl *s, size_t slot, const struct config_value *v,
                                         size_t *ret_count)
{
    *ret_count = 0;
    if (!v->set || v->count == 0)
        return NULL;
    s->rules[slot] = calloc(v->count, sizeof *s->rules[slot]);
    if (!s->rules[slot]) {
        PROBLEM(s, s->pub.source, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < v->count; i++)
        s->rules[slot][i] = (struct event_rule){v->items[i].text, v->items[i].where ? v->items[i].where : v->where};
    *ret_count = v->count;
    return s->rules[slot];
}

static const struct event_rule *rules(struct settings_impl *s, size_t slot, const char *key, size_t *ret_count)
{
    return rules_of(s, slot, value(s, GROUP_REDACTION, key), ret_count);
}

static const char *host_text(struct settings_impl *s)
{
    const char *host = text(s, GROUP_TOP, "host");
    if (!host || strcmp(host, "auto") != 0)
        return host;
    char name[256];
    if (gethostname(name, sizeof name) < 0) {
        PROBLEM(s, where_of(s, GROUP_TOP, "host"), "host: this machine's name cannot be found: %s", strerror(errno));
        return NULL;
    }
    name[sizeof name - 1] = '\0';
    s->host_name = strdup(name);
    if (!s->host_name)
        PROBLEM(s, where_of(s, GROUP_TOP, "host"), "out of memory");
    return s->host_name;
}

static const char *non_empty(const char *t)
{
    return t && *t ? t : NULL;
}

static void fill_event(struct settings_impl *s)
{
    struct event_settings *e = &s->pub.event;
    event_settings_init(e);
    e->redaction = number(s, GROUP_REDACTION, "enabled") != 0;
    e->redact_default_keys = number(s, GROUP_REDACTION, "default_keys") != 0;
    e->redact_scanners = number(s, GROUP_REDACTION, "scanners") != 0;
    if (text(s, GROUP_REDACTION, "mask"))
        e->mask = text(s, GROUP_REDACTION, "mask");
    e->keys = rules(s, 0, "keys", &e->key_count);
    e->paths = rules(s, 1, "paths", &e->path_count);
    e->patterns = rules(s, 2, "patterns", &e->pattern_count);
    e->allow = rules(s, 3, "allow", &e->allow_count);
    e->max_event = (uint32_t)number(s, GROUP_LIMITS, "event");
    e->max_metadata = (uint32_t)number(s, GROUP_LIMITS, "metadata");
    e->max_diff = (uint32_t)number(s, GROUP_LIMITS, "diff");
    e->max_input = (uint32_t)number(s, GROUP_LIMITS, "input");
    e->max_depth = (uint32_t)number(s, GROUP_LIMITS, "depth");
    e->over_limit_truncate = is(s, GROUP_LIMITS, "over_limit", "truncate");
    e->strict = number(s, GROUP_VALIDATION, "strict") != 0;
    e->strict_naming = number(s, GROUP_VALIDATION, "strict_naming") != 0;
    e->service = non_empty(text(s, GROUP_TOP, "service"));
    e->service_version = non_empty(text(s, GROUP_TOP, "service_version"));
    e->environment = non_empty(text(s, GROUP_TOP, "environment"));
    e->host = non_empty(host_text(s));
    e->region = non_empty(text(s, GROUP_TOP, "region"));
    e->instance = non_empty(text(s, GROUP_TOP, "instance"));
}

static void fill_privacy(struct settings_impl *s)
{
    s->pub.pii = rules_of(s, 4, value(s, GROUP_TOP, "pii"), &s->pub.pii_count);
    s->pub.pseudonym_key = text(s, GROUP_TOP, "pseudonym_key");
    s->pub.pseudonym_key_where = where_of(s, GROUP_TOP, "pseudonym_key");
}

static void fill_journal(struct settings_impl *s)
{
    struct journal_options *j = &s->pub.journal;
    j->path = text(s, GROUP_JOURNAL, "path");
    if (!j->path && !value(s, GROUP_JOURNAL, "path")->explicit) {
        s->journal_path = settings_default_journal();
        j->path = s->journal_path;
        if (!j->path)
            PROBLEM(s, s->pub.source,
                    "journal.path: not set, and neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME says where; write "
                    "journal = { path = \"/…\"; }");
    }
    j->max_size = (uint64_t)number(s, GROUP_JOURNAL, "max_size");
    j->min_free = (uint64_t)number(s, GROUP_JOURNAL, "min_free");
    j->segment_size = (uint64_t)number(s, GROUP_JOURNAL, "segment_size");
    j->ring_size = (uint64_t)number(s, GROUP_JOURNAL, "ring_size");
    j->sync_interval_ns = (uint64_t)number(s, GROUP_JOURNAL, "sync_interval");
    j->chained = is(s, GROUP_INTEGRITY, "mode", "chain");
    s->pub.slots = (uint32_t)number(s, GROUP_JOURNAL, "slots");
    s->pub.journal_base = j->path;
}

static void fill_service(struct settings_impl *s)
{
    const char *mode = text(s, GROUP_TOP, "mode"), *durability = text(s, GROUP_JOURNAL, "durability");
    s->pub.service = (struct settings_service){
        .mode = settings_mode(mode ? mode : "queue"),
        .durability = settings_durability(durability ? durability : "process"),
        .timeout_ns = (uint64_t)number(s, GROUP_QUEUE, "timeout"),
    };
    if (s->pub.service.mode == SETTINGS_MODE_DROP && s->pub.service.durability == SETTINGS_DURABLE_DISK)
        PROBLEM(
            s, where_of(s, GROUP_TOP, "mode"),
            "mode: \"drop\" never waits, journal.durability = \"disk\" (%s) waits for the disk: write another mode, or "
            "durability = \"process\"",
            where_of(s, GROUP_JOURNAL, "durability"));
    for (size_t i = 0; i < s->files.count; i++) {
        const struct settings_file *f = s->files.list[i];
        const config_setting_t *list = f->parsed ? config_lookup(&f->config, "actions") : NULL;
        if (list)
            settings_take_actions(s, list);
    }
}

/* Which sinks an event needs. */
static void fill_fanout(struct settings_impl *s, size_t enabled)
{
    bool quorum = is(s, GROUP_TOP, "fanout", "quorum"), set = value(s, GROUP_TOP, "quorum")->set;
    int64_t k = number(s, GROUP_TOP, "quorum");
    s->pub.fanout = quorum                                         ? SETTINGS_FANOUT_QUORUM
                    : is(s, GROUP_TOP, "fanout", "all_or_nothing") ? SETTINGS_FANOUT_ALL
                                                                   : SETTINGS_FANOUT_BEST_EFFORT;
    s->pub.quorum = set ? (uint32_t)k : 0;
    if (quorum && !set)
        PROBLEM(s, where_of(s, GROUP_TOP, "fanout"), "fanout: \"quorum\" needs quorum = how many sinks");
    else if (set && !quorum)
        PROBLEM(s, where_of(s, GROUP_TOP, "quorum"), "quorum: expected fanout = \"quorum\" with it");
    else if (quorum && (uint64_t)k > enabled)
        PROBLEM(s, where_of(s, GROUP_TOP, "quorum"),
                "quorum: expected at most the %zu sinks that are enabled, found %lld", enabled, (long long)k);
}

static void take_all_sinks(struct settings_impl *s)
{
    bool all_parsed = true;
    for (size_t i = 0; i < s->files.count; i++) {
        const struct settings_file *f = s->files.list[i];
        const config_setting_t *list = f->parsed ? config_lookup(&f->config, "sinks") : NULL;
        all_parsed &= f->parsed;
        if (list)
            settings_take_sinks(s, list);
    }
    settings_finish_sinks(s);
    size_t enabled = 0;
    for (size_t i = 0; i < s->pub.sink_count; i++)
        enabled += s->pub.sinks[i].enabled;
    fill_fanout(s, enabled);
    if (enabled == 0 && all_parsed && s->problems == 0)
        PROBLEM(s, s->pub.source,
                "sinks: expected at least one sink that is enabled, found none; write "
                "sinks = ( { plugin = \"file\"; path = \"/…/audit.jsonl\"; } );");
}

/* ---- life ---- */

void settings_destroy(struct settings *settings)
{
    if (!settings)
        return;
    struct settings_impl *s = (struct settings_impl *)settings;
    for (int g = 0; g < GROUP_COUNT; g++)
        schema_config_destroy(s->groups[g]);
    for (size_t i = 0; i < AW_ARRAY_LEN(s->rules); i++)
        free(s->rules[i]);
    for (size_t i = 0; i < s->string_count; i++)
        free(s->strings[i]);
    free(s->strings);
    free(s->pub.sinks);
    free(s->pub.actions);
    free(s->journal_path);
    free(s->pub.slot_path);
    free(s->host_name);
    settings_files_free(&s->files);
    free(s);
}

static int out_of_memory(struct settings_impl *s)
{
    if (s)
        settings_destroy(&s->pub);
    return diag_problem(AW_ERR_NOMEM, "audit.conf", "out of memory");
}

int settings_load(const char *path, const char *config_text, struct settings **ret)
{
    *ret = NULL;
    struct settings_impl *s = calloc(1, sizeof *s);
    if (!s)
        return out_of_memory(s);
    for (int g = 0; g < GROUP_COUNT; g++)
        if (schema_config_new(settings_groups[g].options, &s->groups[g]) < 0)
            return out_of_memory(s);
    int rc = settings_files_read(path, config_text, &s->files);
    if (s->files.count == 0 || rc == AW_ERR_NOMEM) {
        settings_destroy(&s->pub);
        return rc;
    }
    s->pub.source = s->files.list[0]->path;
    s->pub.base_dir = s->files.base_dir;
    for (size_t i = 0; i < s->files.count; i++)
        if (s->files.list[i]->parsed)
            take_file(s, s->files.list[i]);
    take_environment(s);
    take_preset(s);
    take_defaults(s);
    check_unavailable(s);
    check_sizes(s);
    check_plugin_path(s);
    fill_event(s);
    fill_privacy(s);
    fill_journal(s);
    fill_service(s);
    take_all_sinks(s);
    *ret = &s->pub; /* also after problems: its sinks can still be checked, so that all is reported in one run */
    return rc ? rc : s->problems + s->files.problems ? AW_ERR_CONFIG : 0;
}
