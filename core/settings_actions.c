/* settings_actions.c - the list `actions` of audit.conf: what some actions get other than the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "settings_private.h"

#include <stdio.h>

int settings_mode(const char *text)
{
    if (strcmp(text, "block") == 0)
        return SETTINGS_MODE_BLOCK;
    return strcmp(text, "drop") == 0 ? SETTINGS_MODE_DROP : SETTINGS_MODE_QUEUE;
}

int settings_durability(const char *text)
{
    return strcmp(text, "disk") == 0 ? SETTINGS_DURABLE_DISK : SETTINGS_DURABLE_PROCESS;
}

static struct settings_action *add(struct settings_impl *s)
{
    struct settings_action *grown = realloc(s->pub.actions, (s->pub.action_count + 1) * sizeof *grown);
    if (!grown) {
        diag_problem(AW_ERR_NOMEM, "actions", "out of memory");
        s->problems++;
        return NULL;
    }
    s->pub.actions = grown;
    grown += s->pub.action_count++;
    *grown = (struct settings_action){.service = s->pub.service};
    return grown;
}

static void take_values(struct settings_impl *s, const struct aw_config *c, const char *where, const char *path)
{
    const struct config_value *match = schema_value(c, "match"), *mode = schema_value(c, "mode");
    const struct config_value *durability = schema_value(c, "durability"), *timeout = schema_value(c, "timeout");
    struct settings_action *a = match->set ? add(s) : NULL;
    if (!a)
        return;
    char *copy = strdup(match->text);
    a->match = copy ? settings_own(s, copy) : NULL;
    if (!a->match) { /* said there, but for strdup() */
        s->problems++;
        s->pub.action_count--;
        return;
    }
    if (mode->set)
        a->service.mode = settings_mode(mode->text);
    if (durability->set)
        a->service.durability = settings_durability(durability->text);
    if (timeout->set)
        a->service.timeout_ns = (uint64_t)timeout->number;
    if (*a->match == '\0' || strpbrk(a->match, "\"\\")) {
        diag_problem(AW_ERR_CONFIG, where,
                     "%s.match: expected a pattern such as \"payment.*\" without '\"' and '\\', found \"%s\"", path,
                     a->match);
        s->problems++;
    }
    if (a->service.mode == SETTINGS_MODE_DROP && a->service.durability == SETTINGS_DURABLE_DISK) {
        diag_problem(AW_ERR_CONFIG, where,
                     "%s: mode \"drop\" never waits, durability \"disk\" waits for the disk: write another mode, or "
                     "durability = \"process\"",
                     path);
        s->problems++;
    }
    if (!mode->set && !durability->set && !timeout->set) {
        diag_problem(AW_ERR_CONFIG, where, "%s: expected mode, durability or timeout beside match, found none", path);
        s->problems++;
    }
}

static void take_action(struct settings_impl *s, const config_setting_t *group, int index)
{
    char where[SCHEMA_WHERE_MAX], path[40];
    struct aw_config *c = NULL;
    snprintf(path, sizeof path, "actions[%d]", index);
    schema_where(group, where, sizeof where);
    if (schema_config_new(settings_action_options, &c) < 0) {
        diag_problem(AW_ERR_NOMEM, path, "out of memory");
        s->problems++;
        return;
    }
    size_t problems = schema_take_group(c, group, NULL, s->files.base_dir, path);
    problems += schema_finish(c, where, s->files.base_dir, path);
    s->problems += problems;
    if (problems == 0)
        take_values(s, c, where, path);
    schema_config_destroy(c);
}

void settings_take_actions(struct settings_impl *s, const config_setting_t *list)
{
    char where[SCHEMA_WHERE_MAX];
    if (!config_setting_is_list(list)) {
        diag_problem(AW_ERR_CONFIG, schema_where(list, where, sizeof where),
                     "actions: expected a list of groups ( { match = \"payment.*\"; mode = \"block\"; }, … ), found %s",
                     config_setting_is_group(list) ? "a group: put ( ) around it" : "another kind of value");
        s->problems++;
        return;
    }
    for (int i = 0; i < config_setting_length(list); i++) {
        const config_setting_t *e = config_setting_get_elem(list, (unsigned)i);
        if (config_setting_is_group(e)) {
            take_action(s, e, i);
            continue;
        }
        diag_problem(AW_ERR_CONFIG, schema_where(e, where, sizeof where),
                     "actions[%d]: expected a group { match = \"payment.*\"; … }, found another kind of value", i);
        s->problems++;
    }
}
