/* registry.h - the face of plugin/: loading plugins, their option schemas, and the host table they are given.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layers: dso.c (the only user of <ltdl.h>) -> registry.c (descriptors, classes by name) -> schema.c (options ->
 * aw_config)
 * -> host.c (struct aw_host, struct aw_event). One process-wide mutex guards loading; what is loaded stays for ever.
 */
#ifndef AW_REGISTRY_H
#define AW_REGISTRY_H

#include <libconfig.h>

#include "audit/plugin.h"
#include "base/diag.h"
#include "metrics/metrics.h"
#include "seal/record.h"

/* ---- loading ---- */
struct plugin_spec {
    const char *name;   /* class name ("file"), or NULL with path */
    const char *path;   /* absolute path of a .so; NULL: search sink_NAME.so, adapter_NAME.so in the search path */
    const char *sha256; /* 64 hex digits the file must have; NULL = no pin */
    const char *where;  /* "audit.conf:12", for messages */
    const char *search; /* extra directory from audit.conf (plugin_path), NULL = none */
};
/* A loaded plugin's private, zero-extended copies of what it declared. Never freed. */
struct plugin {
    const char *path;            /* "builtin:file" for preloaded ones */
    struct aw_plugin descriptor; /* clamp-copied */
    size_t sink_count, adapter_count;
    struct aw_sink_class *sinks; /* clamp-copied, one by one */
    struct aw_adapter_class *adapters;
};
/* Problems go to diag: path, what was expected, what was found, what to do. 0 or AW_ERR_*. */
int plugin_load(const struct plugin_spec *spec, const struct plugin **ret);
const struct aw_sink_class *plugin_sink(const struct plugin *plugin, const char *name); /* NULL name: the only one */
const struct aw_adapter_class *plugin_adapter(const struct plugin *plugin, const char *name);
/* Around a fork, in the thread that forks; afterwards in parent and child. */
void plugin_before_fork(void);
void plugin_after_fork(void);
/* Every plugin file in the search path and every built-in; reason != NULL: cannot be loaded. */
int plugin_each(int (*fn)(void *arg, const char *path, const struct plugin *plugin, const char *reason), void *arg);

/* ---- settings ---- */
/* Keys the core itself takes from a sink's group (plugin, name, batch, …), skipped by the schema check. */
int schema_config_create(const struct aw_option *const *options, const config_setting_t *group,
                         const char *const *core_keys, const char *base_dir, const char *path, struct aw_config **ret);
/* The same from "key=value" strings, for ad-hoc stores and `plugins check --option`. */
int schema_config_from_pairs(const struct aw_option *const *options, const char *const *pairs, size_t count,
                             const char *path, struct aw_config **ret);
/* Every path of a store of one process (AW_OPT_PER_SLOT) is changed to that of the slot. 0 or -ENOMEM. */
int schema_config_use_slot(struct aw_config *config, uint32_t slot);
void schema_config_destroy(struct aw_config *config);
/* Nearest known name for "did you mean", or NULL when none is near. */
const char *schema_nearest(const char *key, const char *const *known);
/* Units: "64MiB", "64KB", "1024"; "250ms", "30s", "5m", "1h", "2d". 0 or -EINVAL, -ERANGE. */
int schema_parse_size(const char *text, int64_t *ret_bytes);
int schema_parse_duration(const char *text, int64_t *ret_ns);
/* "file:PATH", "env:NAME", "credential:NAME" ($CREDENTIALS_DIRECTORY), else the text itself. *ret is malloc'd. Problems
 * to diag without the value. */
int schema_resolve_secret(const char *text, const char *where, char **ret);

/* ---- the host side of one instance ---- */
struct plugin_host; /* owns the struct aw_host given to the plugin */
int host_create(const char *instance, const struct diag_out *diag, struct plugin_host **ret);
void host_destroy(struct plugin_host *host);
/* Where the plugin's metrics go; before create(). Without it they go to memory of the host's own. */
void host_set_metrics(struct plugin_host *host, struct metrics *metrics, size_t sink);
/* From now on the plugin's messages are dropped: their receiver may be gone. */
void host_mute(struct plugin_host *host);
const struct aw_host *host_table(struct plugin_host *host);
/* Text of the last vset_error since the last host_clear_error; "" when none. Copied into buf. */
void host_last_error(struct plugin_host *host, char *buf, size_t size);
void host_clear_error(struct plugin_host *host);
const struct metrics_sink *host_metrics(struct plugin_host *host); /* NULL: none was ever registered */

/* ---- events as plugins see them ---- */
struct event_batch; /* reused by one delivery worker */
int event_batch_create(struct event_batch **ret);
void event_batch_destroy(struct event_batch *batch);
void event_batch_reset(struct event_batch *batch);
/* The view's pointers must outlive the batch's use. 0 or -ENOMEM. */
int event_batch_add(struct event_batch *batch, const struct record_view *view);
/* Memory, 8-byte aligned, that lives until the next reset; before the batch is given to a plugin only. NULL: none. */
void *event_batch_take(struct event_batch *batch, size_t size);
/* ready[] for struct aw_batch; and the texts plugins gave with vevent_error (NULL = none). */
const struct aw_event *const *event_batch_events(struct event_batch *batch, size_t *ret_count);
const struct record_view *event_batch_view(const struct event_batch *batch, size_t index);
void host_bind_batch(struct plugin_host *host, struct event_batch *batch); /* NULL: not inside write() */
const char *event_batch_error(const struct event_batch *batch, size_t index);

#endif
