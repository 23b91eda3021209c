/* audit/audit.h - the application's face of libauditwell.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Link with pkg-config auditwell. Compiles as C99, C11 and C++11. All text is UTF-8. No call aborts, exits or prints.
 * Unless said otherwise: every call may be made from any thread at the same time; pointers passed in are only read
 * during the call and never kept or changed; functions return AW_SUCCESS or a negative AW_ERR_*; aw_problems() then
 * tells why. Time-outs are milliseconds, -1 waits for ever, 0 does not wait. Everything is since 0.1.0.
 */
#ifndef AUDIT_AUDIT_H
#define AUDIT_AUDIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AW_API __attribute__((visibility("default")))
#else
#define AW_API
#endif

/* ---- errors ------------------------------------------------------------------------------------------------------*/
#define AW_SUCCESS 0
#define AW_ERR_INVALID_EVENT (-1)   /* the event breaks a rule; aw_problems() lists every one */
#define AW_ERR_EVENT_TOO_LARGE (-2) /* over limits.event with over_limit = "reject" */
#define AW_ERR_DROPPED (-3)         /* mode "drop": no room now; counted, and recorded in the chain later */
#define AW_ERR_QUEUE_FULL (-4)      /* no room within queue.timeout; the event was not taken */
#define AW_ERR_WRITE_FAILED (-5)    /* not stored or not made durable; mode "block": not enough sinks can have it */
#define AW_ERR_SHUTDOWN (-6)        /* the logger is closing or closed */
#define AW_ERR_TIMEOUT (-7)         /* the time-out passed first; what was accepted stays accepted */
#define AW_ERR_CONFIG (-8)          /* audit.conf or a plugin is wrong */
#define AW_ERR_BUSY (-9)            /* another process has this journal open */
#define AW_ERR_NOMEM (-10)
#define AW_ERR_IO (-11)       /* a file or store could not be read or written */
#define AW_ERR_USAGE (-12)    /* a parameter makes no sense */
#define AW_ERR_NOTFOUND (-13) /* the named thing does not exist; also: no more rows */
#define AW_ERR_FORK (-14)     /* this process is a fork of the one that opened the logger */
#define AW_ERR_FINDINGS (-15) /* a trail has findings: nothing was done to it */

/* "INVALID_EVENT" for AW_ERR_INVALID_EVENT, … ; "SUCCESS"; "UNKNOWN". Static. */
AW_API const char *aw_error_name(int code);

/* One problem. path says where: a field path ("actor.id"), "file:line", "line 17", or "". Valid until the next
 * auditwell call on this thread. */
struct aw_problem {
    uint32_t struct_size;
    int32_t code;        /* AW_ERR_*, or AW_SUCCESS for a warning */
    const char *path;    /* never NULL */
    const char *message; /* one sentence: what, and what would be right */
};

/* The problems and warnings of this thread's last auditwell call; *ret_count may be 0. The array is of pointers. */
AW_API const struct aw_problem *const *aw_problems(size_t *ret_count);

/* Library version, "0.1.0". Static. */
AW_API const char *aw_version(void);

/* ---- opening -----------------------------------------------------------------------------------------------------*/
struct aw_logger; /* shared by threads; one per journal directory and process, children besides */

/* Diagnostics of library and plugins; severity is an AW_LOG_* of plugin.h. Called from any thread; must not call back
 * into auditwell. text is one line without newline. */
typedef void (*aw_diag_fn)(void *arg, int severity, const char *instance, const char *text);

#define AW_OPEN_NO_SINKS (1u << 0) /* do not start delivery: journal only; a later open delivers */
/* Slot 0 or AW_ERR_BUSY. Without it, every process that opens the same configuration gets the first slot that is free,
 * up to journal.slots: see auditwell(3), "Many processes". */
#define AW_OPEN_FIRST_SLOT (1u << 2)
#define AW_OPEN_CHECK (1u << 1) /* load and create everything, start nothing, touch no store; for `auditwell check` */

struct aw_open_options {
    uint32_t struct_size;
    uint32_t flags;          /* AW_OPEN_* */
    const char *config_path; /* audit.conf; NULL: $AUDITWELL_CONFIG, then the default places of audit.conf(5) */
    const char *config_text; /* instead of a file: the text itself; errors name it "<text>" */
    aw_diag_fn diag;         /* NULL: diagnostics are only kept for aw_problems() */
    void *diag_arg;
};

/* Reads the configuration, loads its plugins, recovers the journal and starts delivery. A sink that cannot start is
 * retried in the background, unless its settings are wrong. Not to be called from a signal handler. */
AW_API int aw_open(const struct aw_open_options *options, struct aw_logger **ret_logger);

/* Flushes up to timeout_ms, stops the sinks and frees the logger; what is not delivered by then stays in the journal
 * and is delivered after the next open (then AW_ERR_TIMEOUT). No other thread may use the logger or its children any
 * more. NULL is fine. */
AW_API int aw_close(struct aw_logger *logger, int timeout_ms);

/* ---- contexts ----------------------------------------------------------------------------------------------------
 * A context is a set of defaults for events: any field of actor, target, context, metadata or diff. Precedence: the
 * event's own values, explicit context (child logger or aw_log_in), the thread's context stack from the top down, the
 * configuration. A context may be read by many threads at once, but is changed by one thread while nobody reads it. */
struct aw_context;
AW_API struct aw_context *aw_context_create(void); /* NULL: out of memory */
AW_API void aw_context_destroy(struct aw_context *context);
/* path is one of the paths of aw_set_string(). */
AW_API int aw_context_set(struct aw_context *context, const char *path, const char *value);
AW_API int aw_context_set_json(struct aw_context *context, const char *path, const char *json, size_t len);

/* Thread-bound: from push to pop on this thread, every event of this thread takes it. Borrowed; at most 32 deep. */
AW_API int aw_context_push(const struct aw_context *context);
AW_API int aw_context_pop(void); /* AW_ERR_USAGE when the stack is empty */

/* A logger that adds a context to every event. The context is copied. Destroyed before its parent is closed. */
AW_API int aw_logger_child(struct aw_logger *logger, const struct aw_context *context, struct aw_logger **ret_child);
AW_API void aw_logger_child_destroy(struct aw_logger *child);

/* ---- events ------------------------------------------------------------------------------------------------------
 * A builder is used by one thread at a time and may be reset and used again, without allocation once it is warm. The
 * setters keep the first problem, so their results need no check: aw_log() reports it. */
struct aw_builder;
#define AW_OUTCOME_SUCCESS 0
#define AW_OUTCOME_FAILURE 1
#define AW_OUTCOME_DENIED 2
#define AW_OUTCOME_ERROR 3

AW_API struct aw_builder *aw_builder_create(void); /* NULL: out of memory */
AW_API void aw_builder_destroy(struct aw_builder *builder);
AW_API void aw_builder_reset(struct aw_builder *builder);

AW_API int aw_set_action(struct aw_builder *builder, const char *action, int outcome);
AW_API int aw_set_actor(struct aw_builder *builder, const char *type, const char *id);
AW_API int aw_set_target(struct aw_builder *builder, const char *type, const char *id); /* id may be NULL */

/* Setting by path: "eventId", "retentionTag", "actor.displayName", "context.tenantId", "metadata.http.status",
 * "diff.email.old". Members are separated by '.'; '\\.' is a dot inside a name; "roles[]" appends to an array and
 * "list[0]" names an element that exists. Objects in between are made. Setting a path again replaces its value.
 * Text is copied. */
AW_API int aw_set_string(struct aw_builder *builder, const char *path, const char *value);
AW_API int aw_set_text(struct aw_builder *builder, const char *path, const char *value, size_t len);
AW_API int aw_set_int(struct aw_builder *builder, const char *path,
                      int64_t value); /* |value| <= 2^53, else a problem */
AW_API int aw_set_double(struct aw_builder *builder, const char *path, double value); /* finite */
AW_API int aw_set_bool(struct aw_builder *builder, const char *path, int value);
AW_API int aw_set_null(struct aw_builder *builder, const char *path);
AW_API int aw_set_object(struct aw_builder *builder, const char *path); /* {} */
AW_API int aw_set_array(struct aw_builder *builder, const char *path);  /* [] */
AW_API int aw_set_json(struct aw_builder *builder, const char *path, const char *json, size_t len);

/* What became of an event. */
struct aw_receipt {
    uint32_t struct_size; /* set by the caller */
    uint32_t warnings;    /* how many warnings aw_problems() holds */
    uint64_t seq;         /* the journal's number of it */
    char event_id[132];   /* NUL-terminated */
    char hash[68];        /* integrity.hash, NUL-terminated; "" with integrity.mode = "none" */
};

/* Takes an event: normalises, redacts, limits, seals and journals it. With AW_SUCCESS it is never lost: what that
 * covers is the setting `durability`. receipt may be NULL. Blocks only as `mode` and `durability` say. */
AW_API int aw_log(struct aw_logger *logger, const struct aw_builder *builder, struct aw_receipt *receipt);
AW_API int aw_log_in(struct aw_logger *logger, const struct aw_context *context, const struct aw_builder *builder,
                     struct aw_receipt *receipt);
/* The same from one JSON object (the event schema of audit-event(7)). */
AW_API int aw_log_json(struct aw_logger *logger, const char *json, size_t len, struct aw_receipt *receipt);
AW_API int aw_log_json_in(struct aw_logger *logger, const struct aw_context *context, const char *json, size_t len,
                          struct aw_receipt *receipt);

/* One event of a batch: a JSON object. By value, frozen for ever. */
struct aw_json {
    const char *json;
    size_t len;
};
/* Takes events as aw_log_json_in() does, one after the other, in less time. Stops behind the first one that there is
 * something to say of, so that aw_problems() is about it alone: *ret_taken is how many came before it and were taken,
 * the result is its own. AW_SUCCESS means that it was taken, too, with the warnings in aw_problems(), or that all were;
 * *ret_taken counts it then. Go on with what follows it. context may be NULL; so may receipts, which else has count
 * members, struct_size set in the first: all have its size. */
AW_API int aw_log_json_batch(struct aw_logger *logger, const struct aw_context *context, const struct aw_json *events,
                             size_t count, struct aw_receipt *receipts, size_t *ret_taken);

/* Waits until every event accepted before the call is on disk (fdatasync) in the journal. */
AW_API int aw_sync(struct aw_logger *logger, int timeout_ms);
/* Waits until every event accepted before the call is delivered to every sink, durably where the sink can, or
 * dead-lettered. */
AW_API int aw_flush(struct aw_logger *logger, int timeout_ms);
/* Asks every sink to reopen its files and connections (log rotation). Returns at once. */
AW_API int aw_reopen(struct aw_logger *logger);

/* ---- state -------------------------------------------------------------------------------------------------------*/
struct aw_stats {
    uint32_t struct_size;     /* set by the caller */
    uint32_t sinks;           /* number of sinks, for aw_stats_sink() */
    uint64_t events_total;    /* accepted since open */
    uint64_t invalid_total;   /* refused: INVALID_EVENT, EVENT_TOO_LARGE */
    uint64_t dropped_total;   /* DROPPED + QUEUE_FULL */
    uint64_t failed_total;    /* WRITE_FAILED */
    uint64_t redacted_total;  /* values masked */
    uint64_t truncated_total; /* metadata or diff replaced by a marker */
    uint64_t warnings_total;
    uint64_t head_seq;    /* last accepted, ever */
    uint64_t durable_seq; /* last known to be on disk in the journal */
    uint64_t lost_total;  /* seqs found missing or damaged by recovery: 0, or there is something to report */
    uint64_t journal_bytes, journal_max_bytes;
    uint64_t scopes; /* chains */
};
struct aw_sink_stats {
    uint32_t struct_size;      /* set by the caller */
    uint32_t state;            /* AW_HEALTH_* of plugin.h */
    const char *name, *plugin; /* valid until aw_close() */
    uint64_t acked_seq;        /* all up to here is delivered or dead-lettered */
    uint64_t lag_events;       /* head_seq - acked_seq */
    uint64_t batches_total, written_total, duplicates_total, rejected_total, retries_total, failures_total;
    uint64_t last_success_ns; /* since 1970, 0 = never */
    uint32_t breaker_open;    /* 0 or 1 */
    int32_t last_error;       /* AW_E_* of plugin.h */
    char last_error_text[200];
    /* accepted = written + duplicates + found + lag_events + rejected + lost, of one moment: see docs/metrics.md */
    uint64_t accepted_total; /* for this sink: what waited at the open, and what was accepted since */
    uint64_t found_total;    /* stood in the sink's store when that was started */
    uint64_t lost_total;     /* damaged in the journal, or not kept any more */
    uint64_t resent_total;   /* given again after the sink had taken them: a failed flush, a restart */
    uint64_t lag_ns;         /* age of the oldest event that waits, 0 = none, or not known yet */
    int64_t imbalance;       /* accepted_total less the others: 0 */
};
AW_API int aw_stats(struct aw_logger *logger, struct aw_stats *stats);
AW_API int aw_stats_sink(struct aw_logger *logger, size_t index, struct aw_sink_stats *stats);

/* ---- metrics -----------------------------------------------------------------------------------------------------
 * All figures of one moment: of a logger of this process, or of whatever process has, or last had, a journal open. That
 * process keeps them in the file "metrics" of the journal's directory; reading it costs it nothing. A snapshot is used
 * by one thread at a time and does not change. What the metrics mean: docs/metrics.md. */
struct aw_metrics;
AW_API int aw_metrics_take(struct aw_logger *logger, struct aw_metrics **ret_metrics);
/* Of the journal in this directory, by whatever process; path NULL: of the configuration at config_path (as in
 * aw_open_options), of which nothing but the journal's place is used. AW_ERR_NOTFOUND: no process has kept figures
 * there; AW_ERR_IO: they cannot be read, or the file is not what it should be. Needs the right to read the file. */
AW_API int aw_metrics_open_path(const char *config_path, const char *path, struct aw_metrics **ret_metrics);
/* The same for a slot of the configuration. */
AW_API int aw_metrics_open_slot(const char *config_path, uint32_t slot, struct aw_metrics **ret_metrics);
AW_API void aw_metrics_free(struct aw_metrics *metrics); /* NULL is fine */

/* The Prometheus text format, version 0.0.4, NUL-terminated; valid until aw_metrics_free(). ret_len may be NULL. NULL:
 * out of memory. */
AW_API const char *aw_metrics_text(struct aw_metrics *metrics, size_t *ret_len);

struct aw_metrics_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t running;     /* 1: the process has the journal open; 0: these are the figures of its end */
    uint64_t pid;         /* as that process saw it */
    uint64_t started_ns;  /* when it opened the journal, since 1970 */
    uint64_t ended_ns;    /* when it closed it; 0: not, or it was killed */
    uint64_t taken_ns;    /* when the figures were read */
};
AW_API int aw_metrics_info(struct aw_metrics *metrics, struct aw_metrics_info *info);
/* As aw_stats() and aw_stats_sink(); name and plugin are valid until aw_metrics_free(). */
AW_API int aw_metrics_stats(struct aw_metrics *metrics, struct aw_stats *stats);
AW_API int aw_metrics_sink(struct aw_metrics *metrics, size_t index, struct aw_sink_stats *stats);

/* ---- plugins -----------------------------------------------------------------------------------------------------*/
/* Calls fn for each plugin file in the search path (and each built in); a file that cannot be loaded is given with the
 * reason. plugin is a struct aw_plugin of plugin.h, or NULL. fn returns 0 to go on. */
typedef int (*aw_plugin_fn)(void *arg, const char *path, const void *plugin, const char *reason);
AW_API int aw_plugins_each(aw_plugin_fn fn, void *arg);
/* Loads one plugin by class name or absolute path; *ret_plugin is a const struct aw_plugin of plugin.h, never freed. */
AW_API int aw_plugins_find(const char *name_or_path, const void **ret_plugin, const char **ret_path);

/* ---- many processes ----------------------------------------------------------------------------------------------
 * Each process that opens a configuration gets the first slot that is free: a journal of its own below that of the
 * configuration, and stores of its own where a sink's plugin says so (AW_OPT_PER_SLOT in plugin.h): auditwell(3). */
struct aw_slot {
    uint32_t struct_size;
    uint32_t number;     /* 0: what the configuration itself names */
    const char *journal; /* its directory */
    uint64_t pid;        /* of the process that has it open; 0 = none, or it cannot be told */
    int32_t in_use;
    int32_t owed;  /* 1: a sink of the configuration lacks events of its journal, or that cannot be told */
    uint64_t head; /* seq of its newest event; 0: none, or it cannot be told */
};
/* Every slot that has a journal, ascending, until fn returns other than 0. config_path: as in aw_open_options. fn's
 * value when that is not 0, AW_SUCCESS, AW_ERR_*. Any thread. Since 0.1. */
AW_API int aw_slots_each(const char *config_path, int (*fn)(void *arg, const struct aw_slot *slot), void *arg);

/* ---- reading back ------------------------------------------------------------------------------------------------
 * A store is a sink of a configuration (by instance name), or an ad-hoc "plugin:path" ("file:audit.jsonl",
 * "sqlite:audit.db"), or a path whose format is recognised. */
struct aw_store;
struct aw_store_options {
    uint32_t struct_size;
    uint32_t flags;          /* 0 */
    const char *config_path; /* as in aw_open_options; may be NULL when `store` is ad hoc */
    const char *store;       /* NULL: the first sink of the configuration that can be read */
    uint32_t
        slot; /* of which process' slot: "Many processes" in auditwell(3); 0: what the configuration itself names */
    uint32_t reserved;
};
AW_API int aw_store_open(const struct aw_store_options *options, struct aw_store **ret_store);
AW_API void aw_store_close(struct aw_store *store);

struct aw_filter {
    uint32_t struct_size;
    uint32_t flags; /* AW_FILTER_* */
    uint64_t limit; /* 0 = all */
    const char *since,
        *until;         /* RFC 3339 or a duration back from now ("2h"); [since, until) of occurredAt; NULL = open */
    const char *action; /* glob */
    const char *actor, *target, *tenant, *outcome; /* exact ids; NULL = any */
    const char *text;                              /* substring of the stored JSON */
    const char *after;                             /* cursor of the last row seen */
};
#define AW_FILTER_DESCENDING (1u << 0)

struct aw_result_row {
    uint32_t struct_size;
    uint32_t flags;   /* 0 */
    uint64_t seq;     /* 0 = unknown */
    const char *json; /* stored event, json_len bytes; valid until the next call on the query */
    size_t json_len;
    const char *location, *cursor; /* NUL-terminated, same lifetime */
};
struct aw_query_handle;
AW_API int aw_query_open(struct aw_store *store, const struct aw_filter *filter, struct aw_query_handle **ret_query);
/* AW_SUCCESS with a row; AW_ERR_NOTFOUND at the end for now (a later call sees what came since); other errors. */
AW_API int aw_query_next(struct aw_query_handle *query, struct aw_result_row *row);
AW_API void aw_query_close(struct aw_query_handle *query);
/* Reads one field of an event's JSON ("actor.id", "metadata.http.status"): text decoded into buffer (NUL-terminated,
 * cut at size), returns its full length, or AW_ERR_NOTFOUND, AW_ERR_INVALID_EVENT. Objects and arrays come as JSON. */
AW_API int64_t aw_json_field(const char *json, size_t len, const char *path, char *buffer, size_t size);

/* ---- verifying ---------------------------------------------------------------------------------------------------*/
#define AW_FINDING_EDITED 10      /* content does not have the hash it carries */
#define AW_FINDING_HOLE 20        /* prevHash names an event that is not there, or seqs are missing */
#define AW_FINDING_REORDERED 30   /* the event it follows stands elsewhere in the trail */
#define AW_FINDING_INSERTED 40    /* an event that no chain leads to */
#define AW_FINDING_DUPLICATE 50   /* the same event twice */
#define AW_FINDING_FOREIGN 60     /* belongs to another scope's chain */
#define AW_FINDING_UNSEALED 70    /* no integrity member in a sealed trail */
#define AW_FINDING_MALFORMED 80   /* not a JSON object, or integrity is not what it must be */
#define AW_FINDING_TRUNCATED 90   /* ends before an event that is known to exist */
#define AW_FINDING_MISSING 100    /* a scope or the whole trail that is known to exist is absent */
#define AW_FINDING_UNREADABLE 110 /* the store failed while being read */
#define AW_FINDING_VIEW 120       /* a view in a trail of full events, or the other way round */

#define AW_VERDICT_GOOD 0
#define AW_VERDICT_FINDINGS 1
#define AW_VERDICT_VIEW                                                                                                \
    2 /* no finding, but views without personal data: order and identity are verified, content is not */

struct aw_finding {
    uint32_t struct_size;
    int32_t kind;                 /* AW_FINDING_* */
    const char *scope;            /* never NULL; "" = the trail as a whole */
    const char *location;         /* "audit.jsonl:17" */
    const char *event_id;         /* "" = unknown */
    const char *expected, *found; /* hashes, seqs, values or words; "" = does not apply */
    const char *message;          /* one sentence */
};
struct aw_scope_report {
    uint32_t struct_size;
    int32_t verdict;   /* AW_VERDICT_* */
    const char *scope; /* "tenant:acme"; with a stream "tenant:acme (stream 3)" */
    uint64_t count, findings;
    const char *first_location, *last_location;
    const char *first_hash, *last_hash;
    const char *first_time, *last_time; /* occurredAt */
    uint64_t first_seq, last_seq;       /* 0 = unknown */
    int32_t starts_at_origin;           /* 1: the first event has no predecessor; 0: the trail begins in mid-chain */
    uint32_t stream;                    /* which slot's chain (audit-event(7), integrity.stream); 0: slot 0 */
    uint64_t views;                     /* events that say they are views (audit-event(7), integrity.view) */
    uint64_t by_reference; /* of those: content not verified, since fields were changed and nothing was compared */
    uint64_t view_fields;  /* fields that they say were dropped or pseudonymized */
};
struct aw_verify_report {
    uint32_t struct_size; /* set by the caller */
    int32_t verdict;      /* AW_VERDICT_* */
    uint64_t events, scopes, findings;
    uint64_t bytes;
    uint64_t first_seq, last_seq;
    uint64_t views, by_reference, view_fields; /* as in aw_scope_report */
    uint64_t compared;                         /* views compared with the full event of their hash */
    uint64_t by_form; /* pseudonyms of which only the form could be looked at: no key of their key id was given */
    /* Events that stand behind later ones, since they are dead letters that were replayed; sealed records before them
     * name them and the sink. Cut where it is longer. */
    uint64_t replayed;
    char replayed_sink[72];
    /* Events that are gone since a retention removed them, by the sealed record that the trail's beginning agrees with;
     * what occurred before that time; of which sink, and where the record is. 0 and "": none. Cut where longer. */
    uint64_t removed;
    int64_t removed_before_ns;
    char removed_sink[72];
    char removed_record[200];
};
struct aw_verify_options {
    uint32_t struct_size;
    uint32_t flags;   /* AW_VERIFY_* */
    uint32_t threads; /* 0 = as many as processors */
    uint32_t reserved;
    uint64_t max_findings; /* given to on_finding; counting goes on; 0 = 1,000 */
    void (*on_finding)(void *arg, const struct aw_finding *);
    void (*on_scope)(void *arg, const struct aw_scope_report *); /* at the end, sorted by scope */
    void (*on_progress)(void *arg, uint64_t events, uint64_t bytes, uint64_t bytes_total); /* at most 10 a second */
    void *arg;
    const char *expect_head; /* NULL, or "SCOPE=HASH[,…]": heads known from elsewhere (S1, S2); SCOPE as in
                                reports, so also "tenant:acme (stream 3)" */
    /* NULL, or the trail that the views were made of: it is verified first (its findings count, its scopes are not
     * given), then every view is compared with its event of the same hash. Another store than the one verified. */
    struct aw_store *against;
    const char *const *keys; /* with against: keys of pseudonyms, "file:/PATH", "env:NAME" or "credential:NAME" */
    size_t key_count;
    /* NULL, or the sink whose store this is: then replayed dead letters of other sinks excuse no event that stands out
     * of its place. */
    const char *sink;
};
/* Without AW_VERIFY_COMPLETE, PARTIAL or MIDCHAIN, a trail must begin at its first event, or where a sealed record of
 * auditwell says (retention; a sink that is not given everything from the first event on). */
#define AW_VERIFY_COMPLETE (1u << 0) /* every chain must begin at its origin */
#define AW_VERIFY_PARTIAL (1u << 1)  /* an excerpt (one tenant, a time range): gaps between seqs are not findings */
/* The trail may hold views from one of its ends on (the sink's pii was changed once): without it they are findings when
 * they stand among full events. */
#define AW_VERIFY_VIEWS (1u << 2)
#define AW_VERIFY_MIDCHAIN (1u << 3) /* it may begin anywhere, as one file of several does; all else is checked */
/* AW_SUCCESS when the whole store was read, whatever the verdict; callbacks come from the calling thread. */
AW_API int aw_verify(struct aw_store *store, const struct aw_verify_options *options, struct aw_verify_report *report);

/* ---- looking after stores ----------------------------------------------------------------------------------------
 * All three take sinks of a configuration by name, or all of it. A sink whose plugin has no such extension is passed
 * over, or with its name given AW_ERR_USAGE. Stores that each slot has for itself (AW_OPT_PER_SLOT) are taken one by
 * one. What callbacks are given is valid during the call. */
struct aw_sinks_options {
    uint32_t struct_size;
    uint32_t flags;          /* AW_SINKS_* */
    const char *config_path; /* as in aw_open_options */
    const char *config_text;
    const char *sink; /* NULL: every one that is enabled */
    aw_diag_fn diag;  /* told what plugins log; may be NULL */
    void *diag_arg;
};
struct aw_sink_state {
    uint32_t struct_size;
    int32_t code;             /* AW_SUCCESS, or what came of it: AW_ERR_* */
    const char *sink, *where; /* its name; "audit.conf:12" */
    const char *plugin;
    uint32_t slot, per_slot; /* of which slot; 1: the others have stores of their own */
    const char *message;     /* why: one sentence; "" */
};
/* Asks each store itself whether delivery would work, without storing or making anything. fn is called for each with
 * AW_SUCCESS; AW_ERR_CONFIG: somebody has to change something; AW_ERR_IO, AW_ERR_TIMEOUT: it cannot be reached now
 * (events would wait in the journal); AW_ERR_NOTFOUND: its plugin cannot be asked. AW_SUCCESS whatever is found. */
AW_API int aw_sinks_probe(const struct aw_sinks_options *options, int timeout_ms,
                          void (*fn)(void *arg, const struct aw_sink_state *state), void *arg);

#define AW_SINKS_DRY_RUN (1u << 0) /* migrate: only tell the steps */
/* Makes in each store what its sink needs, or brings an older layout up to date. step is called for each step before it
 * is done, then once with text NULL when the store is up to date (or would be), or with what went wrong in state. The
 * first failure's code. */
AW_API int aw_sinks_migrate(const struct aw_sinks_options *options,
                            void (*step)(void *arg, const struct aw_sink_state *state, const char *text), void *arg);

#define AW_RETENTION_APPLY (1u << 0)    /* do it; else only tell what would go */
#define AW_RETENTION_FINDINGS (1u << 1) /* in spite of findings; the record says so */
/* What becomes of one stream (events of one slot) of a store. */
struct aw_retention_stream {
    uint32_t struct_size;
    uint32_t stream;
    const char *sink;
    uint32_t slot, per_slot;      /* as in aw_sink_state */
    uint64_t count, bytes;        /* events that can go; about how much they take up, 0 = unknown */
    uint64_t first_seq, last_seq; /* of those; 0 = none */
    int64_t first_ns, last_ns;    /* earliest and latest occurredAt of those */
    uint64_t keep_seq;            /* the lowest that stays */
    int64_t keep_ns;
    uint64_t findings; /* of the store */
};
struct aw_retention_options {
    uint32_t struct_size;
    uint32_t flags;          /* AW_RETENTION_* */
    const char *config_path; /* as in aw_open_options */
    const char *config_text;
    const char *sink;   /* NULL: every one that can do it */
    const char *before; /* events that occurred before this time, as `since` of struct aw_filter ("90d") */
    int32_t timeout_ms; /* for the sink to take the record; -1 = for ever */
    uint32_t reserved;  /* 0 */
    aw_diag_fn diag;
    void *diag_arg;
    void (*on_stream)(void *arg, const struct aw_retention_stream *stream); /* before anything of its store goes */
    void (*on_finding)(void *arg, const struct aw_finding *finding);
    void (*on_progress)(void *arg, uint64_t events, uint64_t bytes, uint64_t bytes_total); /* of verifying */
    void *arg;
};
struct aw_retention_report {
    uint32_t struct_size; /* set by the caller */
    uint32_t stores;      /* looked at */
    uint64_t count;       /* events that can go */
    uint64_t removed;
    uint64_t records; /* sealed */
    uint64_t findings;
};
/* Removes the oldest events of stores: of each stream those below the first one that did not occur before the time, as
 * far as the store can cut there. Each store is verified first; then, with AW_RETENTION_APPLY, an event
 * "auditwell.retention" that says what goes is sealed in a slot of its own, or by the process that has the store's
 * slot, and when the sink has it the events are removed. aw_verify() knows by it why the trail begins later. Wherever
 * this is interrupted the trail verifies, and the next call goes on. AW_ERR_FINDINGS: a store has findings, and nothing
 * of it was removed; AW_ERR_BUSY: another retention is under way; AW_ERR_TIMEOUT, AW_ERR_IO: the record was not taken,
 * or the store failed. Other stores are still seen to. */
AW_API int aw_retention(const struct aw_retention_options *options, struct aw_retention_report *report);

/* ---- dead letters ------------------------------------------------------------------------------------------------
 * Events that a sink refused for good are kept in JOURNAL/deadletter/SINK.jsonl, a file of chained lines. A handle
 * reads, checks, replays and purges them, whoever has the journal open meanwhile. One thread at a time for each handle;
 * what callbacks are given is valid during the call. */
struct aw_deadletters;
struct aw_deadletters_options {
    uint32_t struct_size;
    uint32_t flags;          /* 0 */
    const char *config_path; /* as in aw_open_options */
    const char *config_text;
    aw_diag_fn diag; /* told of files that are set aside, and what sinks say during a replay; may be NULL */
    void *diag_arg;
    uint32_t
        slot; /* of which process' slot: "Many processes" in auditwell(3); 0: what the configuration itself names */
    uint32_t reserved;
};
AW_API int aw_deadletters_open(const struct aw_deadletters_options *options, struct aw_deadletters **ret_letters);
AW_API void aw_deadletters_close(struct aw_deadletters *letters);

/* One sink's file. Counts are of letters; times are ns since 1970, 0 = none. */
struct aw_deadletters_sink {
    uint32_t struct_size;
    uint32_t configured;           /* 1: a sink of this name is in the configuration */
    const char *sink, *path;       /* path: also when there is no file yet */
    uint64_t letters, replayed;    /* in the file; and those of them that a replay wrote */
    uint64_t purged;               /* ever taken out */
    uint64_t first_seq, last_seq;  /* lowest and highest of those still to be replayed; 0 = none */
    uint64_t oldest_ns, newest_ns; /* when the first and the last of those were refused */
    uint64_t bytes;                /* of the file */
    uint64_t findings;             /* lines that are damaged, missing, moved or put in */
    uint64_t unfinished_bytes;     /* left at the end by a process that died in a write; no finding, holds no letter */
    uint64_t set_aside;            /* files beside it that were damaged, or such ends of it */
};
/* fn returns 0 to go on. */
typedef int (*aw_deadletters_sink_fn)(void *arg, const struct aw_deadletters_sink *sink);
typedef void (*aw_finding_fn)(void *arg, const struct aw_finding *finding);
/* Each sink of the configuration, and each that has a file, in the order of their names; or the one named `sink`.
 * Findings come before their sink, with the place ("PATH:LINE") and AW_FINDING_*; on_finding may be NULL. AW_SUCCESS
 * whatever is found; AW_ERR_NOTFOUND: no such sink and no such file. */
AW_API int aw_deadletters_each(struct aw_deadletters *letters, const char *sink, aw_deadletters_sink_fn fn,
                               aw_finding_fn on_finding, void *arg);

#define AW_DEADLETTER_REPLAYED (1u << 0) /* a replay has written it */
#define AW_DEADLETTER_REFUSED (1u << 1)  /* a replay gave it to the sink, which refused it again */
#define AW_DEADLETTER_DAMAGED (1u << 2)  /* the line does not have the hash it bears: it is not replayed */
struct aw_deadletter {
    uint32_t struct_size;
    uint32_t flags; /* AW_DEADLETTER_* */
    const char *sink;
    uint64_t number, line;  /* n of its line; where it stands in the file, from 1 */
    uint64_t seq, attempts; /* the event's; how often it was given to the sink */
    const char *time;       /* RFC 3339: when it was refused first */
    const char *reason;     /* of the newest refusal; ASCII */
    const char *json;       /* the event as it was sealed, NUL-terminated */
    size_t json_len;
};
typedef int (*aw_deadletter_fn)(void *arg, const struct aw_deadletter *letter); /* returns 0 to go on */
/* The letters of a sink with first_seq <= seq <= last_seq (0 = open), in the order of the file. */
AW_API int aw_deadletters_read(struct aw_deadletters *letters, const char *sink, uint64_t first_seq, uint64_t last_seq,
                               aw_deadletter_fn fn, void *arg);

#define AW_REPLAY_DRY_RUN (1u << 0) /* only tell what would be replayed; touches neither sink nor file */
/* What became of a letter. */
#define AW_REPLAY_WANTED 0    /* dry run: it would be given to the sink */
#define AW_REPLAY_WRITTEN 1   /* the sink has it, durably where the sink can */
#define AW_REPLAY_DUPLICATE 2 /* the sink has had it already */
#define AW_REPLAY_REFUSED 3   /* the sink refused it again; the letter stays, with the new reason */
#define AW_REPLAY_LEFT 4      /* not settled: counted in the report only */
/* reason: of a refusal, else "". */
typedef void (*aw_replay_fn)(void *arg, const struct aw_deadletter *letter, int outcome, const char *reason);
struct aw_replay_options {
    uint32_t struct_size;
    uint32_t flags; /* AW_REPLAY_* flags */
    const char *sink;
    uint64_t first_seq, last_seq; /* 0 = open */
    int32_t timeout_ms;           /* for waiting while the sink cannot take events; -1 = for ever */
    uint32_t reserved;            /* 0 */
    aw_replay_fn fn;              /* for each letter; may be NULL. The letter has no json in it. */
    void *arg;
};
struct aw_replay_report {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;    /* 0 */
    uint64_t letters;     /* that were to be replayed; the sum of the next four (dry run: left is all) */
    uint64_t written, duplicates, refused, left;
};
/* Gives the letters of a sink that were not replayed yet to a new instance of the sink, by seq, and notes in the file
 * what became of each. Before that, an event "auditwell.replay" that names them is sealed and delivered to the sink (a
 * logger of its own, with all sinks, has the journal open for it), so that aw_verify() knows why they stand late; a
 * sink that does not take it in time is given nothing. While another process has the journal, diag is warned that there
 * is no record. A process that dies between the two gives them to the sink once more the next time: a sink that
 * keeps ids says DUPLICATE then. AW_SUCCESS: none is left. AW_ERR_BUSY: another replay or purge of this sink is under
 * way, or some letters are of events that the sink's cursor has not passed yet (the others are replayed).
 * AW_ERR_TIMEOUT, AW_ERR_IO: the sink or the file failed; what was noted stays noted. */
AW_API int aw_deadletters_replay(struct aw_deadletters *letters, const struct aw_replay_options *options,
                                 struct aw_replay_report *report);

#define AW_PURGE_DRY_RUN (1u << 0)  /* only tell what would go */
#define AW_PURGE_REPLAYED (1u << 1) /* letters that a replay has written */
#define AW_PURGE_ALL (1u << 2)      /* all, also those that are nowhere else */
struct aw_purge_options {
    uint32_t struct_size;
    uint32_t flags;     /* one of AW_PURGE_REPLAYED, AW_PURGE_ALL; or `before` */
    const char *sink;   /* need not be in the configuration any more */
    const char *before; /* letters refused before this time, as `since` of struct aw_filter; or NULL */
};
struct aw_purge_report {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;    /* 0 */
    uint64_t letters;     /* that went, or would go */
    uint64_t replayed;    /* those of them that had been replayed: the others are gone for good */
    uint64_t first_seq, last_seq;
};
/* Takes letters out of the file. One line that says what went, how many and when takes their place, so that the file
 * still verifies. AW_ERR_BUSY as above. */
AW_API int aw_deadletters_purge(struct aw_deadletters *letters, const struct aw_purge_options *options,
                                struct aw_purge_report *report);

/* ---- the journal, looked at ---------------------------------------------------------------------------------------
 * For operators: a journal directory, of a configuration or by its path. Looking changes nothing and works while a
 * process has the journal open; its state may then change during the call. The calls that change something need the
 * journal's lock: AW_ERR_BUSY, with a problem that names the process, while another one has it. One thread at a time
 * for each handle; what callbacks are given is valid during the call. */
struct aw_journal;
struct aw_journal_options {
    uint32_t struct_size;
    uint32_t flags;          /* 0 */
    const char *config_path; /* as in aw_open_options */
    const char *config_text;
    const char *path; /* the directory itself, and no configuration; or NULL */
    aw_diag_fn diag;  /* what repair, release and trim report; may be NULL */
    void *diag_arg;
    uint32_t
        slot; /* of which process' slot: "Many processes" in auditwell(3); 0: what the configuration itself names */
    uint32_t reserved;
};
/* AW_ERR_NOTFOUND: there is no such directory. */
AW_API int aw_journal_open(const struct aw_journal_options *options, struct aw_journal **ret_journal);
AW_API void aw_journal_close(struct aw_journal *journal);

struct aw_journal_state {
    uint32_t struct_size; /* set by the caller */
    uint32_t closed;      /* 1: it was closed in order, everything is on disk */
    const char *path;     /* lives as long as the handle */
    char id[33];          /* 32 hex digits; "" = unknown */
    char pad[7];
    uint64_t live_pid;               /* the process that has it open; 0 = none */
    uint64_t segments, bytes;        /* bytes of records */
    uint64_t oldest_seq, newest_seq; /* of events in segments; 0 = none */
    uint64_t events;                 /* records of events in segments */
    int32_t ring;                    /* 1 there, 0 none, -1 of no use */
    uint32_t ring_trusted; /* 1: written since this system started; else only what follows the segments counts */
    uint64_t ring_size, ring_used;               /* bytes */
    uint64_t ring_head_seq;                      /* newest seq ever given out; 0 = unknown */
    uint64_t ring_events;                        /* not in a segment yet */
    uint64_t scopes;                             /* chains */
    uint64_t snapshots, notes;                   /* records of chain heads; of facts about the journal */
    uint64_t lost_total;                         /* events ever lost to damage */
    uint64_t missing, known_missing;             /* events: found now; noted by an earlier start */
    uint64_t quarantine_files, quarantine_bytes; /* damaged bytes that were set aside */
    uint64_t findings, known;                    /* known: those that an earlier start has set aside and noted */
};
struct aw_journal_segment {
    uint32_t struct_size;
    uint32_t closed;              /* 1: ends with the mark of an orderly end */
    const char *file;             /* name in the directory */
    uint64_t first_seq, last_seq; /* 0 = no event */
    uint64_t events, others;      /* records */
    uint64_t size, used;          /* bytes of the file; of the file up to its last record */
    uint64_t first_ns, last_ns;   /* when its events were sealed, since 1970 */
};
#define AW_JOURNAL_DAMAGED 10 /* bytes that are no record */
#define AW_JOURNAL_MISSING 20 /* events no record of which is left */
#define AW_JOURNAL_HEADER 30  /* a segment's header or name */
#define AW_JOURNAL_RING 40    /* the ring */
#define AW_JOURNAL_CURSOR 50  /* a cursor */
#define AW_JOURNAL_STRANGE 60 /* no regular file */
struct aw_journal_finding {
    uint32_t struct_size;
    int32_t kind;             /* AW_JOURNAL_* */
    uint32_t known;           /* 1: an earlier start has set it aside, or noted it */
    uint32_t reserved;        /* 0 */
    const char *file;         /* name in the directory; "" = the journal as a whole */
    uint64_t offset, length;  /* bytes in the file */
    const char *missing_seqs; /* "5-9, 12": events that are missing by it; "" = none, as far as known */
    const char *message;
};
struct aw_journal_examiner {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    void (*on_segment)(void *arg, const struct aw_journal_segment *segment);
    void (*on_finding)(void *arg, const struct aw_journal_finding *finding); /* after the segments */
    void *arg;
};
/* Reads everything. AW_SUCCESS whatever is found. Callbacks, and examiner itself, may be NULL. While a process has the
 * journal open, what it may be writing at the moment is not judged. */
AW_API int aw_journal_examine(struct aw_journal *journal, const struct aw_journal_examiner *examiner,
                              struct aw_journal_state *state);

struct aw_journal_record {
    uint32_t struct_size;
    uint32_t flags;   /* AW_RECORD_* */
    const char *file; /* "ring", or a segment's name */
    uint64_t offset, length;
    uint64_t seq, sealed_ns;
    int64_t occurred_ns;
    uint32_t fields, reserved; /* entries of its field table */
    const char *scope;         /* "tenant:…" or "service:…" */
    const char *json;          /* the event as sinks get it, NUL-terminated */
    size_t json_len;
};
#define AW_RECORD_FIRST (1u << 0)              /* first of its chain */
#define AW_RECORD_UNCHAINED (1u << 1)          /* integrity.mode was "none" */
#define AW_RECORD_METADATA_TRUNCATED (1u << 2) /* replaced by the marker */
#define AW_RECORD_DIFF_TRUNCATED (1u << 3)
/* Calls fn for each record of the event with this seq: mostly one. AW_ERR_NOTFOUND: none. */
AW_API int aw_journal_record(struct aw_journal *journal, uint64_t seq,
                             void (*fn)(void *arg, const struct aw_journal_record *record), void *arg);

#define AW_CURSOR_UNKNOWN 0 /* there is no configuration to ask */
#define AW_CURSOR_SINK 1    /* a sink of this name is configured */
#define AW_CURSOR_ORPHAN 2  /* none is: it holds back trimming, and nobody moves it */
struct aw_journal_cursor {
    uint32_t struct_size;
    int32_t owner;    /* AW_CURSOR_* */
    const char *name; /* the sink's */
    uint64_t seq;     /* all up to here is delivered or dead-lettered */
    uint64_t lag;     /* events behind it, up to the newest */
    uint32_t damaged; /* 1: cannot be read; its reader starts at the oldest event that is kept */
    uint32_t reserved;
};
AW_API int aw_journal_cursors(struct aw_journal *journal, void (*fn)(void *arg, const struct aw_journal_cursor *cursor),
                              void *arg);

/* What the next start would do: copies damaged bytes to quarantine/, notes which events are missing, takes over what is
 * in the ring. No byte of a segment is changed or removed. aw_problems() tells what was found, as warnings. */
AW_API int aw_journal_repair(struct aw_journal *journal);
/* Gives up a cursor whose sink is gone: its file is moved to quarantine/ with the reason beside it. *ret_owed: events
 * that its sink has not had; unless it is 0, force must be 1. AW_ERR_USAGE: force is needed, or the sink is configured;
 * AW_ERR_NOTFOUND. */
AW_API int aw_journal_release(struct aw_journal *journal, const char *cursor, int force, uint64_t *ret_owed);

struct aw_trim_report {
    uint32_t struct_size; /* set by the caller */
    uint32_t reserved;    /* 0 */
    uint64_t segments, bytes;
    const char *held_by; /* the cursor that is furthest behind; "" = none. Valid until the next call on the handle */
    uint64_t held_seq;   /* where it is */
};
#define AW_TRIM_DRY_RUN (1u << 0) /* only tell what would go; needs no lock */
/* Removes the oldest segments that every cursor has passed, as a running process does by itself: two snapshots of the
 * chain heads must be in later ones. on_segment is told of each; may be NULL. */
AW_API int aw_journal_trim(struct aw_journal *journal, uint32_t flags,
                           void (*on_segment)(void *arg, const struct aw_journal_segment *segment), void *arg,
                           struct aw_trim_report *report);
/* ---- personal data -----------------------------------------------------------------------------------------------*/
#define AW_PSEUDONYM_SIZE 64 /* of a buffer that holds any pseudonym and its NUL */
/* The pseudonym that a sink with pii = "pseudonymize" gets in place of a value: of a text its bytes, of another value
 * its canonical JSON. key: "file:/PATH", "env:NAME" or "credential:NAME"; NULL: pseudonym_key of the configuration at
 * config_path (NULL: as in aw_open_options). AW_ERR_CONFIG: there is no key, or it cannot be used; AW_ERR_USAGE: size
 * is too small. */
AW_API int aw_pseudonym(const char *config_path, const char *key, const char *value, size_t len, char *buffer,
                        size_t size);

#ifdef __cplusplus
}
#endif
#endif
