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
};
AW_API int aw_stats(struct aw_logger *logger, struct aw_stats *stats);
AW_API int aw_stats_sink(struct aw_logger *logger, size_t index, struct aw_sink_stats *stats);

/* ---- plugins -----------------------------------------------------------------------------------------------------*/
/* Calls fn for each plugin file in the search path (and each built in); a file that cannot be loaded is given with the
 * reason. plugin is a struct aw_plugin of plugin.h, or NULL. fn returns 0 to go on. */
typedef int (*aw_plugin_fn)(void *arg, const char *path, const void *plugin, const char *reason);
AW_API int aw_plugins_each(aw_plugin_fn fn, void *arg);
/* Loads one plugin by class name or absolute path; *ret_plugin is a const struct aw_plugin of plugin.h, never freed. */
AW_API int aw_plugins_find(const char *name_or_path, const void **ret_plugin, const char **ret_path);

/* ---- reading back ------------------------------------------------------------------------------------------------
 * A store is a sink of a configuration (by instance name), or an ad-hoc "plugin:path" ("file:audit.jsonl",
 * "sqlite:audit.db"), or a path whose format is recognised. */
struct aw_store;
struct aw_store_options {
    uint32_t struct_size;
    uint32_t flags;          /* 0 */
    const char *config_path; /* as in aw_open_options; may be NULL when `store` is ad hoc */
    const char *store;       /* NULL: the first sink of the configuration that can be read */
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
    int32_t verdict; /* AW_VERDICT_* */
    const char *scope;
    uint64_t count, findings;
    const char *first_location, *last_location;
    const char *first_hash, *last_hash;
    const char *first_time, *last_time; /* occurredAt */
    uint64_t first_seq, last_seq;       /* 0 = unknown */
    int32_t starts_at_origin;           /* 1: the first event has no predecessor; 0: the trail begins in mid-chain */
    int32_t reserved;
    uint64_t views;        /* events that say they are views (audit-event(7), integrity.view) */
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
    const char *expect_head; /* NULL, or "SCOPE=HASH[,…]": heads known from elsewhere (S1, S2) */
    /* NULL, or the trail that the views were made of: it is verified first (its findings count, its scopes are not
     * given), then every view is compared with its event of the same hash. Another store than the one verified. */
    struct aw_store *against;
    const char *const *keys; /* with against: keys of pseudonyms, "file:/PATH", "env:NAME" or "credential:NAME" */
    size_t key_count;
};
#define AW_VERIFY_COMPLETE (1u << 0) /* every chain must begin at its origin */
#define AW_VERIFY_PARTIAL (1u << 1)  /* an excerpt (one tenant, a time range): gaps between seqs are not findings */
/* The trail may hold views from one of its ends on (the sink's pii was changed once): without it they are findings when
 * they stand among full events. */
#define AW_VERIFY_VIEWS (1u << 2)
/* AW_SUCCESS when the whole store was read, whatever the verdict; callbacks come from the calling thread. */
AW_API int aw_verify(struct aw_store *store, const struct aw_verify_options *options, struct aw_verify_report *report);

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
