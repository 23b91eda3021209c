/* settings.h - audit.conf, typed and range-checked. Implemented by config.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_SETTINGS_H
#define AW_SETTINGS_H

#include "delivery/delivery.h"
#include "event/event.h"
#include "journal/journal.h"

#define SETTINGS_MODE_QUEUE 0
#define SETTINGS_MODE_BLOCK 1
#define SETTINGS_MODE_DROP 2
#define SETTINGS_DURABLE_PROCESS 0
#define SETTINGS_DURABLE_DISK 1

struct settings_sink {
    const char *plugin, *name, *where; /* where = "audit.conf:12" */
    struct plugin_spec spec;
    struct delivery_settings delivery;
    int from; /* JOURNAL_FROM_* */
    bool enabled;
    const config_setting_t *group; /* the plugin's own keys; read before settings_destroy() */
};

struct settings {
    struct event_settings event;
    struct journal_options journal; /* diag left empty */
    int mode, durability;
    bool all_or_nothing; /* fanout */
    uint64_t queue_timeout_ns;
    const char *plugin_path;       /* NULL = compiled in only */
    const char *source, *base_dir; /* file read, its directory */
    size_t sink_count;
    struct settings_sink *sinks;
};
extern const char *const settings_sink_core_keys[]; /* NULL-ended: keys of a sink group that are the core's */

/* Reads file (NULL: the default places), conf.d, presets, environment. Every problem of the whole configuration is
 * reported through diag_problem() as "file:line" / "path: message". 0 or AW_ERR_CONFIG, AW_ERR_IO, AW_ERR_NOMEM. After
 * an error *ret may be set all the same, for further checks only (its sinks' plugins and options): to be destroyed. */
int settings_load(const char *path, const char *text, struct settings **ret);
void settings_destroy(struct settings *settings);

#endif
