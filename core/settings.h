/* settings.h - audit.conf, typed and range-checked. Implemented by config.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_SETTINGS_H
#define AW_SETTINGS_H

#include "delivery/delivery.h"
#include "event/event.h"
#include "journal/journal.h"

#define SLOTS_MAX 1024u
#define SETTINGS_MODE_QUEUE 0
#define SETTINGS_MODE_BLOCK 1
#define SETTINGS_MODE_DROP 2
#define SETTINGS_FANOUT_BEST_EFFORT 0
#define SETTINGS_FANOUT_QUORUM 1
#define SETTINGS_FANOUT_ALL 2
#define SETTINGS_DURABLE_PROCESS 0
#define SETTINGS_DURABLE_DISK 1
#define SETTINGS_PII_UNSAID 0 /* keep, but nobody said so */
#define SETTINGS_PII_KEEP 1
#define SETTINGS_PII_DROP 2
#define SETTINGS_PII_PSEUDONYMIZE 3

struct settings_sink {
    const char *plugin, *name, *where; /* where = "audit.conf:12" */
    struct plugin_spec spec;
    struct delivery_settings delivery;
    int from; /* JOURNAL_FROM_* */
    bool enabled, required;
    int pii;                       /* SETTINGS_PII_* */
    const char *pii_where;         /* "audit.conf:17" */
    const config_setting_t *group; /* the plugin's own keys; read before settings_destroy() */
};

/* How one call is served. */
struct settings_service {
    int mode, durability;
    uint64_t timeout_ns; /* 0 = do not wait for room; mode "block": for ever */
};

/* What other actions get. */
struct settings_action {
    const char *match; /* glob */
    struct settings_service service;
};

struct settings {
    struct event_settings event;
    struct journal_options journal; /* diag left empty */
    struct settings_service service;
    size_t action_count;
    struct settings_action *actions; /* the first that matches counts */
    int fanout;
    uint32_t quorum;               /* with SETTINGS_FANOUT_QUORUM */
    uint32_t slots;                /* how many processes may have the journal open at once */
    uint32_t slot;                 /* which one this is: slots_enter() */
    const char *journal_base;      /* of slot 0; journal.path is that of the slot */
    char *slot_path;               /* owned; NULL in slot 0 */
    const char *plugin_path;       /* NULL = compiled in only */
    const char *source, *base_dir; /* file read, its directory */
    const struct event_rule *pii;  /* paths of personal data */
    size_t pii_count;
    const char *pseudonym_key, *pseudonym_key_where; /* as written: read when it is needed; NULL = none */
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
