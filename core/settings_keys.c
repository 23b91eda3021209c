/* settings_keys.c - every key of audit.conf, its type, range, default and help; presets; environment variables.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * docs/audit.conf.5.scd says the same to people: tests/unit/test_config.c compares the two.
 */
#include "config.h"

#include "base/base.h"
#include "settings_private.h"

#define OPTION(name, type_, key_, deflt_, min_, max_, choices_, help_)                                                 \
    static const struct aw_option name = {                                                                             \
        sizeof(struct aw_option), type_, 0, 0, key_, deflt_, help_, min_, max_, choices_}

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

/* ---- top level ---- */
static const char *const presets[] = {"saas-multi-tenant-strict", "on-prem-self-hosted", "high-throughput", NULL};
static const char *const modes[] = {"queue", "block", "drop", NULL};
static const char *const fanouts[] = {"best_effort", "quorum", "all_or_nothing", NULL};
OPTION(service, AW_OPT_STRING, "service", NULL, 0, 0, NULL, "context.sourceService of events that do not say it");
OPTION(service_version, AW_OPT_STRING, "service_version", NULL, 0, 0, NULL,
       "context.sourceVersion of events that do not say it");
OPTION(environment, AW_OPT_STRING, "environment", NULL, 0, 0, NULL, "context.environment of events that do not say it");
OPTION(host, AW_OPT_STRING, "host", NULL, 0, 0, NULL,
       "context.sourceHost of events that do not say it; \"auto\" is this machine's name");
OPTION(region, AW_OPT_STRING, "region", NULL, 0, 0, NULL, "context.sourceRegion of events that do not say it");
OPTION(instance, AW_OPT_STRING, "instance", NULL, 0, 0, NULL, "context.sourceInstance of events that do not say it");
OPTION(preset, AW_OPT_ENUM, "preset", NULL, 0, 0, presets, "a set of defaults; keys that are written win over it");
OPTION(mode, AW_OPT_ENUM, "mode", "queue", 0, 0, modes,
       "what a log call does when there is no room or a sink is behind");
OPTION(fanout, AW_OPT_ENUM, "fanout", "best_effort", 0, 0, fanouts, "how the sinks' progress is joined");
OPTION(quorum, AW_OPT_UINT, "quorum", NULL, 1, 1000, NULL,
       "how many sinks must have an event, with fanout = \"quorum\"");
OPTION(write_deadline, AW_OPT_DURATION, "write_deadline", "30s", 10 * MS, DAY, NULL,
       "a sink's write that takes longer is reported as stuck");
OPTION(plugin_path, AW_OPT_PATH, "plugin_path", NULL, 0, 0, NULL,
       "a directory that is searched for plugins before the system's");
OPTION(pii, AW_OPT_LIST, "pii", NULL, 0, 0, NULL, "dotted paths of personal data, for the sinks' own key pii");
/* a string and not a secret: only who makes pseudonyms must be able to read the key's file, not every reader */
OPTION(pseudonym_key, AW_OPT_STRING, "pseudonym_key", NULL, 0, 0, NULL,
       "where the key of pseudonyms is: file:, env: or credential:; at least 32 bytes");
static const struct aw_option *const top_options[] = {
    &service, &service_version, &environment,    &host,        &region, &instance,      &preset, &mode,
    &fanout,  &quorum,          &write_deadline, &plugin_path, &pii,    &pseudonym_key, NULL};
const char *const settings_top_groups[] = {"journal",   "queue",    "redaction", "limits",  "validation",
                                           "integrity", "batch",    "retry",     "breaker", "actions",
                                           "sinks",     "adapters", NULL};

/* ---- journal, queue ---- */
static const char *const durabilities[] = {"process", "disk", NULL};
OPTION(journal_path, AW_OPT_PATH, "path", NULL, 0, 0, NULL, "the journal's directory");
OPTION(durability, AW_OPT_ENUM, "durability", "process", 0, 0, durabilities,
       "what an accepted event survives: the death of the process, or of the machine");
OPTION(max_size, AW_OPT_SIZE, "max_size", "1GiB", 256 * KIB, 1024 * 1024 * GIB, NULL,
       "disk space the journal may take");
OPTION(min_free, AW_OPT_SIZE, "min_free", "64MiB", 0, 1024 * 1024 * GIB, NULL,
       "free space of the file system that the journal leaves to others");
OPTION(segment_size, AW_OPT_SIZE, "segment_size", "64MiB", 64 * KIB, 4 * GIB, NULL, "size of one segment file");
OPTION(ring_size, AW_OPT_SIZE, "ring_size", "8MiB", 64 * KIB, GIB, NULL, "size of the staging ring, a power of two");
OPTION(sync_interval, AW_OPT_DURATION, "sync_interval", "1s", 0, HOUR, NULL,
       "how often written events are synced to disk in the background; 0 = on demand only");
OPTION(slots, AW_OPT_UINT, "slots", "64", 1, SLOTS_MAX, NULL,
       "how many processes may use this configuration at once, each with a journal of its own");
static const struct aw_option *const journal_options[] = {
    &journal_path, &durability, &max_size, &min_free, &segment_size, &ring_size, &sync_interval, &slots, NULL};
OPTION(timeout, AW_OPT_DURATION, "timeout", "1s", 0, HOUR, NULL, "how long a log call waits for room");
static const struct aw_option *const queue_options[] = {&timeout, NULL};

/* ---- redaction ---- */
OPTION(enabled, AW_OPT_BOOL, "enabled", "true", 0, 0, NULL, "mask secrets before anything is hashed or stored");
OPTION(mask, AW_OPT_STRING, "mask", "***", 0, 0, NULL, "what stands in place of a masked value");
OPTION(keys, AW_OPT_LIST, "keys", NULL, 0, 0, NULL, "more member names whose values are masked");
OPTION(paths, AW_OPT_LIST, "paths", NULL, 0, 0, NULL, "dotted paths whose values are masked");
OPTION(patterns, AW_OPT_LIST, "patterns", NULL, 0, 0, NULL,
       "regular expressions (PCRE2) for member names whose values are masked");
OPTION(allow, AW_OPT_LIST, "allow", NULL, 0, 0, NULL, "member names and paths that are never masked");
OPTION(default_keys, AW_OPT_BOOL, "default_keys", "true", 0, 0, NULL, "use the built-in list of member names");
OPTION(scanners, AW_OPT_BOOL, "scanners", "true", 0, 0, NULL, "look for card numbers, tokens and keys inside values");
static const struct aw_option *const redaction_options[] = {&enabled, &mask,         &keys,     &paths, &patterns,
                                                            &allow,   &default_keys, &scanners, NULL};

/* ---- limits, validation, integrity ---- */
static const char *const over_limits[] = {"reject", "truncate", NULL};
static const char *const integrities[] = {"chain", "none", "signed", NULL};
OPTION(limit_event, AW_OPT_SIZE, "event", "64KiB", KIB, EVENT_MAX_JSON, NULL, "largest event as stored");
OPTION(limit_metadata, AW_OPT_SIZE, "metadata", "32KiB", 64, EVENT_MAX_JSON, NULL,
       "larger metadata is replaced by a marker");
OPTION(limit_diff, AW_OPT_SIZE, "diff", "32KiB", 64, EVENT_MAX_JSON, NULL, "a larger diff is replaced by a marker");
OPTION(limit_input, AW_OPT_SIZE, "input", "1MiB", KIB, 64 * MIB, NULL, "largest JSON text that is read");
OPTION(limit_depth, AW_OPT_UINT, "depth", "64", 4, 512, NULL, "deepest nesting of objects and arrays");
OPTION(over_limit, AW_OPT_ENUM, "over_limit", "reject", 0, 0, over_limits,
       "what happens to an event that is still over limits.event");
static const struct aw_option *const limits_options[] = {&limit_event, &limit_metadata, &limit_diff, &limit_input,
                                                         &limit_depth, &over_limit,     NULL};
OPTION(strict, AW_OPT_BOOL, "strict", "false", 0, 0, NULL, "unknown members and warnings are errors");
OPTION(strict_naming, AW_OPT_BOOL, "strict_naming", "false", 0, 0, NULL, "an action that contains a UUID is an error");
static const struct aw_option *const validation_options[] = {&strict, &strict_naming, NULL};
OPTION(integrity_mode, AW_OPT_ENUM, "mode", "chain", 0, 0, integrities, "hash chain per tenant or service, or none");
static const struct aw_option *const integrity_options[] = {&integrity_mode, NULL};

/* ---- delivery ---- */
OPTION(batch_events, AW_OPT_UINT, "events", "100", 1, 65536, NULL, "most events given to a sink at once");
OPTION(batch_bytes, AW_OPT_SIZE, "bytes", "1MiB", KIB, GIB, NULL, "about how many bytes are given to a sink at once");
OPTION(flush_interval, AW_OPT_DURATION, "flush_interval", "250ms", 0, HOUR, NULL,
       "how long events may wait for company and for the sink's flush");
static const struct aw_option *const batch_options[] = {&batch_events, &batch_bytes, &flush_interval, NULL};
OPTION(retry_max, AW_OPT_UINT, "max", "8", 1, 1000000, NULL,
       "failures in a row after which the warning is repeated; events are never given up");
OPTION(retry_base, AW_OPT_DURATION, "base", "250ms", MS, HOUR, NULL,
       "first pause after a failure; it doubles each time");
OPTION(retry_cap, AW_OPT_DURATION, "cap", "30s", MS, DAY, NULL, "longest pause");
static const struct aw_option *const retry_options[] = {&retry_max, &retry_base, &retry_cap, NULL};
OPTION(threshold, AW_OPT_UINT, "threshold", "5", 1, 1000000, NULL,
       "transient failures in a row that open the circuit breaker");
OPTION(cooldown, AW_OPT_DURATION, "cooldown", "10s", MS, DAY, NULL, "how long it stays open");
OPTION(probes, AW_OPT_UINT, "probes", "1", 1, 1000, NULL, "good writes that close it again");
static const struct aw_option *const breaker_options[] = {&threshold, &cooldown, &probes, NULL};

const struct settings_group settings_groups[GROUP_COUNT] = {
    [GROUP_TOP] = {"", top_options},
    [GROUP_JOURNAL] = {"journal", journal_options},
    [GROUP_QUEUE] = {"queue", queue_options},
    [GROUP_REDACTION] = {"redaction", redaction_options},
    [GROUP_LIMITS] = {"limits", limits_options},
    [GROUP_VALIDATION] = {"validation", validation_options},
    [GROUP_INTEGRITY] = {"integrity", integrity_options},
    [GROUP_BATCH] = {"batch", batch_options},
    [GROUP_RETRY] = {"retry", retry_options},
    [GROUP_BREAKER] = {"breaker", breaker_options},
};

/* ---- a sink's own keys that are the core's ---- */
static const char *const starts[] = {"oldest", "now", NULL};
static const char *const pii_modes[] = {"keep", "drop", "pseudonymize", NULL};
static const struct aw_option sink_plugin = {sizeof(struct aw_option),
                                             AW_OPT_STRING,
                                             AW_OPT_REQUIRED,
                                             0,
                                             "plugin",
                                             NULL,
                                             "class name of the plugin, e.g. \"file\"",
                                             0,
                                             0,
                                             NULL};
OPTION(sink_name, AW_OPT_STRING, "name", NULL, 0, 0, NULL, "name of this sink; the plugin's name if not given");
OPTION(sink_enabled, AW_OPT_BOOL, "enabled", "true", 0, 0, NULL, "false: the sink is checked but not used");
OPTION(sink_sha256, AW_OPT_STRING, "sha256", NULL, 0, 0, NULL, "the digest that the plugin's file must have");
OPTION(sink_plugin_file, AW_OPT_PATH, "plugin_file", NULL, 0, 0, NULL,
       "the plugin's .so file, instead of searching for it");
OPTION(sink_deadline, AW_OPT_DURATION, "write_deadline", NULL, 10 * MS, DAY, NULL,
       "a write that takes longer is reported as stuck");
OPTION(sink_required, AW_OPT_BOOL, "required", "false", 0, 0, NULL,
       "mode = \"block\" waits for this sink, and not for those that are not required");
OPTION(sink_start_from, AW_OPT_ENUM, "start_from", "now", 0, 0, starts,
       "where a sink that is new begins: with the oldest event in the journal, or with what comes now");
OPTION(sink_pii, AW_OPT_ENUM, "pii", NULL, 0, 0, pii_modes,
       "what the sink gets of the fields tagged in pii: themselves (default), nothing, or pseudonyms");
const struct aw_option *const settings_sink_options[] = {
    &sink_plugin,   &sink_name,     &sink_enabled,    &sink_sha256, &sink_plugin_file,
    &sink_deadline, &sink_required, &sink_start_from, &sink_pii,    NULL};
const char *const settings_sink_core_keys[] = {"plugin",         "name",     "enabled",    "sha256", "plugin_file",
                                               "write_deadline", "required", "start_from", "pii",    "batch",
                                               "retry",          "breaker",  NULL};

/* ---- an action's own service ---- */
static const struct aw_option action_match = {sizeof(struct aw_option),
                                              AW_OPT_STRING,
                                              AW_OPT_REQUIRED,
                                              0,
                                              "match",
                                              NULL,
                                              "actions that this is for; * stands for any text, ? for one character",
                                              0,
                                              0,
                                              NULL};
OPTION(action_mode, AW_OPT_ENUM, "mode", NULL, 0, 0, modes, "as at the top level");
OPTION(action_durability, AW_OPT_ENUM, "durability", NULL, 0, 0, durabilities, "as in journal");
OPTION(action_timeout, AW_OPT_DURATION, "timeout", NULL, 0, HOUR, NULL, "as in queue");
const struct aw_option *const settings_action_options[] = {&action_match, &action_mode, &action_durability,
                                                           &action_timeout, NULL};
/* ---- presets ---- */
#define STRICT "saas-multi-tenant-strict"
#define ON_PREM "on-prem-self-hosted"
#define FAST "high-throughput"
const struct settings_preset_key settings_presets[] = {
    /* many tenants, regulated: nothing sloppy gets in, and what got in survives the machine */
    {STRICT, GROUP_JOURNAL, "durability", "disk"},
    {STRICT, GROUP_JOURNAL, "max_size", "4GiB"},
    {STRICT, GROUP_QUEUE, "timeout", "5s"},
    {STRICT, GROUP_VALIDATION, "strict", "true"},
    {STRICT, GROUP_VALIDATION, "strict_naming", "true"},
    {STRICT, GROUP_LIMITS, "over_limit", "reject"},
    /* one site, little staff: survives power cuts and long outages of a sink, and takes what applications give */
    {ON_PREM, GROUP_JOURNAL, "durability", "disk"},
    {ON_PREM, GROUP_JOURNAL, "max_size", "8GiB"},
    {ON_PREM, GROUP_QUEUE, "timeout", "10s"},
    {ON_PREM, GROUP_LIMITS, "over_limit", "truncate"},
    {ON_PREM, GROUP_RETRY, "cap", "5m"},
    /* volume: large batches, rare syncs */
    {FAST, GROUP_JOURNAL, "durability", "process"},
    {FAST, GROUP_JOURNAL, "max_size", "16GiB"},
    {FAST, GROUP_JOURNAL, "segment_size", "256MiB"},
    {FAST, GROUP_JOURNAL, "ring_size", "32MiB"},
    {FAST, GROUP_JOURNAL, "sync_interval", "5s"},
    {FAST, GROUP_LIMITS, "over_limit", "truncate"},
    {FAST, GROUP_BATCH, "events", "4096"},
    {FAST, GROUP_BATCH, "bytes", "8MiB"},
    {FAST, GROUP_BATCH, "flush_interval", "1s"},
    {NULL, GROUP_TOP, NULL, NULL},
};

/* ---- environment: nothing here turns a protection off ---- */
const struct settings_env settings_environment[] = {
    {"AUDITWELL_SERVICE", GROUP_TOP, "service"},
    {"AUDITWELL_SERVICE_VERSION", GROUP_TOP, "service_version"},
    {"AUDITWELL_ENVIRONMENT", GROUP_TOP, "environment"},
    {"AUDITWELL_HOST", GROUP_TOP, "host"},
    {"AUDITWELL_REGION", GROUP_TOP, "region"},
    {"AUDITWELL_INSTANCE", GROUP_TOP, "instance"},
    {"AUDITWELL_PRESET", GROUP_TOP, "preset"},
    {"AUDITWELL_MODE", GROUP_TOP, "mode"},
    {"AUDITWELL_QUEUE_TIMEOUT", GROUP_QUEUE, "timeout"},
    {"AUDITWELL_JOURNAL_PATH", GROUP_JOURNAL, "path"},
    {"AUDITWELL_JOURNAL_MAX_SIZE", GROUP_JOURNAL, "max_size"},
    {"AUDITWELL_DURABILITY", GROUP_JOURNAL, "durability"},
    {NULL, GROUP_TOP, NULL},
};
