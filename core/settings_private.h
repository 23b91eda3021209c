/* settings_private.h - what config.c and settings_*.c share. SPDX-License-Identifier: Apache-2.0
 *
 * audit.conf is a set of groups of typed keys. Each group is an option schema like a plugin's (schema.c does the types,
 * ranges, messages), and its values are copied into struct settings at the end.
 */
#ifndef AW_SETTINGS_PRIVATE_H
#define AW_SETTINGS_PRIVATE_H

#include <sys/stat.h>

#include "plugin/plugin_internal.h"
#include "settings.h"

enum settings_group_id {
    GROUP_TOP,
    GROUP_JOURNAL,
    GROUP_QUEUE,
    GROUP_REDACTION,
    GROUP_LIMITS,
    GROUP_VALIDATION,
    GROUP_INTEGRITY,
    GROUP_BATCH,
    GROUP_RETRY,
    GROUP_BREAKER,
    GROUP_COUNT
};

/* ---- settings_keys.c: the tables ---- */
struct settings_group {
    const char *name; /* "" = top level */
    const struct aw_option *const *options;
};
extern const struct settings_group settings_groups[GROUP_COUNT];
extern const struct aw_option *const settings_sink_options[]; /* the core's own scalar keys of a sink */
extern const struct aw_option *const settings_action_options[];
extern const char *const settings_top_groups[]; /* keys of the top level that are no scalars */

struct settings_preset_key {
    const char *preset;
    enum settings_group_id group;
    const char *key, *value;
};
extern const struct settings_preset_key settings_presets[]; /* ended by preset == NULL */

struct settings_env {
    const char *variable;
    enum settings_group_id group;
    const char *key;
};
extern const struct settings_env settings_environment[]; /* ended by variable == NULL */

/* ---- settings_scan.c ---- */
/* Looks at the text before libconfig does: finds what that accepts silently (integers out of range, NUL, bad UTF-8) or
 * what audit.conf does not have (@include, deep nesting). Returns the number of problems; with none, *ret is a malloc'd
 * text to parse, lines as before, in which integers over 32 bits have the L that libconfig needs. */
size_t settings_scan(const char *file, const char *text, size_t len, char **ret);

/* ---- settings_files.c ---- */
struct settings_file {
    char *path;     /* "<text>" for text */
    struct stat st; /* st_ino 0 for text */
    bool parsed;
    config_t config;
};
struct settings_files {
    size_t count;
    struct settings_file **list; /* pointers: libconfig keeps the address of a config_t */
    char *base_dir;
    size_t problems;
};
/* Finds and reads the main file and conf.d, or takes text. 0, or AW_ERR_NOMEM, AW_ERR_IO, AW_ERR_CONFIG when there is
 * nothing to go on with; faults in files are counted in problems. */
int settings_files_read(const char *path, const char *text, struct settings_files *ret);
void settings_files_free(struct settings_files *files);
/* ~/.config style places: malloc'd, NULL without memory or when no variable says where. */
char *settings_default_journal(void);

/* ---- settings_sinks.c ---- */
struct settings_impl {
    struct settings pub; /* first */
    struct settings_files files;
    struct aw_config *groups[GROUP_COUNT];
    struct event_rule *rules[5];
    char *journal_path, *host_name;
    char **strings; /* owned by the sinks */
    size_t string_count;
    size_t problems;
};
/* Parses every element of one file's sinks list. */
void settings_take_sinks(struct settings_impl *s, const config_setting_t *list);
/* Names, defaults and overrides, after all groups have their values. */
void settings_finish_sinks(struct settings_impl *s);
/* Parses one file's list of actions; the top level's service must be known. */
void settings_take_actions(struct settings_impl *s, const config_setting_t *list);
int settings_mode(const char *text);       /* SETTINGS_MODE_* of "queue", "block", "drop" */
int settings_durability(const char *text); /* SETTINGS_DURABLE_* */
/* Keeps a malloc'd string until settings_destroy(); NULL stays NULL. */
const char *settings_own(struct settings_impl *s, char *string);
/* Values of the three delivery groups and write_deadline that are set, into out. */
void settings_apply_delivery(const struct aw_config *batch, const struct aw_config *retry,
                             const struct aw_config *breaker, const struct config_value *write_deadline,
                             struct delivery_settings *out);

#endif
