/* plugin_internal.h - what the files of plugin/ share, and nobody else includes (settings_*.c excepted: aw_config).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layers: trust.c (may this file be loaded?) -> dso.c (libltdl) -> descriptor.c (what a plugin declares) -> registry.c.
 */
#ifndef AW_PLUGIN_INTERNAL_H
#define AW_PLUGIN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "plugin/registry.h"

/* ---- why a plugin is refused -------------------------------------------------------------------------------------
 * Every line reads "PATH: FIELD: expected E, found F; what to do". Lines are kept until the caller hands them to diag
 * (or to plugin_each's callback), because loading happens under the loader's lock and may find several faults at once.
 */
#define LOAD_REPORT_MAX 24
struct load_report {
    const char *path; /* borrowed: the plugin's file, as the user named it */
    size_t count;     /* lines; those over LOAD_REPORT_MAX are counted, not kept */
    char *lines[LOAD_REPORT_MAX];
};
/* found is a printf format. Never fails: without memory a line is only counted. */
void load_refuse(struct load_report *report, const char *field, const char *expected, const char *remedy,
                 const char *found, ...) AW_PRINTF(5, 6);
void load_report_free(struct load_report *report);

/* ---- trust.c ---- */
/* A file whose path is safe from other users: opened, so that what was checked is what is read. */
struct trusted_file {
    char *path;     /* absolute, all symbolic links resolved; malloc'd */
    int fd;         /* read-only, close-on-exec */
    struct stat st; /* of fd */
};
/* path must be absolute. Each directory on the way and the file itself belong to root or to the effective user, and
 * neither group nor others may write to them; a sticky directory (/tmp) may be writable, since the next component's
 * owner is checked too. The last component may be a symbolic link only to a name in its own directory. 0, -ENOENT
 * (reported as missing), -EACCES, -ENOMEM, with lines in report. */
int trust_open(const char *path, struct load_report *report, struct trusted_file *ret);
void trust_close(struct trusted_file *file);
/* The same object, unchanged? (device, inode, size, modification and change time) */
bool trust_same(const struct stat *a, const struct stat *b);
/* Only root or the effective user can change this file's bytes. */
bool trust_owner(const struct stat *st);

/* ---- dso.c: under dso_lock() only ---- */
#define DSO_ENTRY "auditwell_plugin_v1"
void dso_lock(void); /* the one process-wide mutex: libltdl is not thread-safe */
void dso_unlock(void);
/* Maps the file for ever and calls its entry. sha256: 64 hex digits the bytes must have, or NULL. 0 or -errno with
 * lines in report; *ret may be NULL (the entry returned NULL). */
int dso_load(const struct trusted_file *file, const char *sha256, struct load_report *report,
             const struct aw_plugin **ret);
/* Compares the bytes of an open file with a pin. 0, -EINVAL with a line in report. */
int dso_check_pin(const struct trusted_file *file, const char *sha256, struct load_report *report);
/* A statically preloaded module by its name ("sink_file"); NULL when there is none. */
const struct aw_plugin *dso_builtin(const char *module);
/* Name of the index-th preloaded module ("sink_file"), copied; false behind the last. */
bool dso_builtin_name(size_t index, char *name, size_t size);
/* The process runs with more rights than its user (setuid, file capabilities): environment and settings are not
 * believed. */
bool dso_secure_mode(void);

/* ---- descriptor.c ---- */
/* Checks everything a descriptor says and fills *ret with private copies as long as our structs. Other plugins' class
 * names are the caller's to compare. 0; -EINVAL or -ENOMEM with lines in report (then nothing is kept). */
int descriptor_copy(const struct aw_plugin *theirs, struct load_report *report, struct plugin *ret);
void descriptor_free(struct plugin *plugin); /* what descriptor_copy() made; the plugin was never published */
bool descriptor_name_ok(const char *name);   /* [a-z0-9_-]{1,32} */

/* ---- search.c ---- */
#define SEARCH_MAX_DIRS 32
struct search {
    size_t count;
    char *dirs[SEARCH_MAX_DIRS];
};
/* $AUDITWELL_PLUGIN_PATH, extra (plugin_path of audit.conf, may be NULL), the compiled directory; the last alone when
 * the process has more rights than its user. 0 or -ENOMEM (then nothing is kept). */
int search_make(struct search *ret, const char *extra);
void search_free(struct search *search);
void search_text(const struct search *search, char *buf, size_t size); /* "DIR, DIR" */
/* The nearest class name for which a directory has a file, into buf. */
bool search_nearest(const struct search *search, const char *name, char *buf, size_t size);
/* Every sink_*.so and adapter_*.so, directory by directory, sorted within each. 0 or -ENOMEM. */
struct search_paths {
    size_t count;
    char **list;
};
int search_list(const struct search *search, struct search_paths *ret);
void search_paths_free(struct search_paths *paths);

/* ---- schema.c ---- */
struct config_item {
    char *text;
    char *where; /* "audit.conf:12"; NULL unless it came from a file */
};
struct config_value {
    const struct aw_option *option;
    bool set;
    bool explicit;  /* from a file or the environment: presets and defaults do not replace it */
    int64_t number; /* BOOL, INT, UINT, SIZE (bytes), DURATION (ns) */
    char *text;     /* STRING, ENUM, PATH, SECRET */
    size_t text_len;
    size_t count; /* LIST */
    struct config_item *items;
    char *where; /* where it was set; NULL: by default */
};
struct aw_config {
    size_t count;
    struct config_value *values;
};
/* In steps, for settings that come from several places. path is the group's name in messages ("" = top level). */
int schema_config_new(const struct aw_option *const *options, struct aw_config **ret);
/* Takes every key of group; problems go to diag; a key set before is a problem that names both places. Returns the
 * number of problems. */
size_t schema_take_group(struct aw_config *config, const config_setting_t *group, const char *const *core_keys,
                         const char *base_dir, const char *path);
/* Sets one key from text, as environment variables and presets do. replace: also over a value set before. where names
 * the source in messages. Returns the number of problems. */
size_t schema_take_text(struct aw_config *config, const char *key, const char *text, bool replace, const char *where,
                        const char *base_dir, const char *path);
/* Defaults, and complaints about REQUIRED keys that are missing. */
size_t schema_finish(struct aw_config *config, const char *where, const char *base_dir, const char *path);
struct config_value *schema_value(const struct aw_config *config, const char *key); /* NULL: no such option */
/* "file:line" of a setting, into buf. */
const char *schema_where(const config_setting_t *setting, char *buf, size_t size);
#define SCHEMA_WHERE_MAX 4200

/* ---- schema_value.c: one value ---- */
struct schema_place {
    const char *where;    /* "audit.conf:12", "environment AUDITWELL_MODE", "" */
    const char *path;     /* "sinks[0].path" */
    const char *base_dir; /* NULL: relative paths are refused */
    char *quiet;          /* not NULL: the message goes here instead of to diag */
    size_t quiet_size;
};
/* Parse and range-check; on failure one problem goes to diag. true: value filled. */
bool schema_value_text(struct config_value *value, const char *text, const struct schema_place *place);
bool schema_value_setting(struct config_value *value, const config_setting_t *setting,
                          const struct schema_place *place);
void schema_value_clear(struct config_value *value);
/* Is the default of this option a value of it? Writes the reason into why. Nothing goes to diag. */
bool schema_default_ok(const struct aw_option *option, char *why, size_t size);

/* ---- secret.c ---- */
int secret_resolve(const char *text, const struct schema_place *place, char **ret); /* schema_resolve_secret() */

/* ---- schema_check.c: the schema itself ---- */
void schema_check(const struct aw_option *const *options, const char *class_text, struct load_report *report);
const char *schema_type_name(uint32_t type); /* "size", or NULL for an unknown type */

/* ---- units.c ---- */
void schema_format_size(int64_t bytes, char *buf, size_t size);  /* "64MiB" */
void schema_format_duration(int64_t ns, char *buf, size_t size); /* "250ms" */

/* ---- host_metrics.c ---- */
struct host_metrics; /* of one host */
extern const struct aw_host_metrics host_metrics_extension;
struct host_metrics *host_metrics_create(void); /* NULL: out of memory */
void host_metrics_destroy(struct host_metrics *h);
void host_metrics_bind(struct host_metrics *h, struct metrics *metrics, size_t sink);
const struct metrics_sink *host_metrics_sink(struct host_metrics *h); /* NULL: none was ever registered */
struct host_metrics *host_metrics_of(const struct aw_host *h);        /* in host.c */
/* The callbacks of struct aw_host. */
int32_t host_metric_register(const struct aw_host *h, int32_t kind, const char *name, const char *help,
                             uint32_t *ret_id);
void host_metric_add(const struct aw_host *h, uint32_t id, double value);

/* ---- host.c ---- */
const void *host_extension_find(const char *id); /* what host->extension gives; NULL */
size_t host_live(void);                          /* hosts created and not destroyed */

#endif
