/* audit/plugin.h - the contract between auditwell and its plugins (ABI 1.0).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A plugin is one shared object that exports one function, auditwell_plugin_v1(), and links nothing of auditwell: every
 * host service comes in a struct aw_host. This header is all a plugin needs. It compiles as C99, C11 and C++11.
 *
 * Rules that hold for everything below:
 *  - Every struct starts with struct_size, set by whoever fills the struct to its own sizeof. The reader copies or
 * reads at most that much: structs grow at the end only, and AW_HAS() asks whether the other side knew a member.
 *  - Plugins' structs are never written by the host; the host's structs are never written by a plugin, except where a
 *    parameter is named ret_*.
 *  - The callee copies what it wants to keep. Pointers in a batch, a config or a row live until the call returns; const
 *    returns of a plugin live until destroy(). Nobody frees the other side's memory.
 *  - Text is UTF-8. struct aw_str is not NUL-terminated and may contain NUL; const char * is NUL-terminated.
 *  - No longjmp and no C++ exception may cross the boundary. Plugins never call exit(), and never print.
 *  - Thread tags on each callback: [loader] inside aw_open()/the plugin loader, one thread at a time in the process;
 *    [control] the thread that opens, reloads or closes the logger; [worker] the sink's own delivery thread;
 *    [any-thread] whenever, concurrently; [fork-child] in a forked child.
 *  - Times named _ns are nanoseconds; a deadline is a value of host->mono_ns() (CLOCK_MONOTONIC), 0 = none.
 */
#ifndef AUDIT_PLUGIN_H
#define AUDIT_PLUGIN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The epoch is in the entry's name; the minor only counts additions. A host of 1.x loads every plugin of 1.y. */
#define AW_ABI_MAJOR 1
#define AW_ABI_MINOR 0
#define AW_PLUGIN_MAGIC 0x50445541u /* "AUDP" */

/* Did the side that filled *p know this member? Use it before reading any member that was added after ABI 1.0. */
#define AW_HAS(type, p, member) ((p)->struct_size >= offsetof(type, member) + sizeof((p)->member))

#if defined(__GNUC__)
#define AW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define AW_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define AW_PRINTF(fmt, args)
#define AW_PLUGIN_EXPORT
#endif

/* A counted string. By value in the ABI, frozen for ever. ptr may be NULL when len is 0. Since 1.0. */
struct aw_str {
    const char *ptr;
    size_t len;
};

struct aw_event;   /* one sealed event, read through host->event_* */
struct aw_config;  /* one instance's settings, read through host->config_* */
struct aw_context; /* an audit context, written through host->ctx_set */

/* ---- return codes ------------------------------------------------------------------------------------------------
 * A code speaks for the instance, never for one event (those have a status). 0 is success, every error is negative,
 * an unknown negative value is treated as AW_E_INTERNAL. Room is left between them. Since 1.0. */
#define AW_OK 0
#define AW_E_RETRY (-100)       /* transient; back off and try again */
#define AW_E_THROTTLED (-200)   /* peer asks to slow down: wait result->retry_after_ms */
#define AW_E_UNAVAILABLE (-300) /* store is down or full: opens the breaker, health() is polled */
#define AW_E_TIMEOUT (-400)     /* deadline passed; treated as AW_E_RETRY, counted apart */
#define AW_E_REJECTED (-500)    /* the whole batch is unacceptable for good; the host isolates the culprit */
#define AW_E_CONFIG (-600)      /* wrong settings, credentials, schema: stop and alarm; never a reason to drop events */
#define AW_E_NOMEM (-700)       /* treated as AW_E_RETRY */
#define AW_E_UNSUPPORTED (-800) /* the optional thing asked for does not exist here */
#define AW_E_NOTFOUND (-900)    /* asked-for field, option or item is absent; also the end of a query */
#define AW_E_INTERNAL (-1000)   /* a bug in the plugin; treated as AW_E_RETRY, logged as misbehaving */

/* Status of one event in a batch. The host presets every slot to AW_EVENT_UNKNOWN, which means: try again. Since 1.0.
 */
#define AW_EVENT_UNKNOWN 0    /* nothing said: stays queued */
#define AW_EVENT_ACCEPTED 16  /* taken, durable after a flush() that returns its seq or a higher one */
#define AW_EVENT_DURABLE 32   /* on stable storage of the sink now */
#define AW_EVENT_DUPLICATE 48 /* the sink has this event id already, durably; counts as delivered */
#define AW_EVENT_RETRY 64     /* not now; the host sends it again, in order */
#define AW_EVENT_REJECTED 80  /* never acceptable: goes to the dead-letter file with the text of vevent_error() */

/* Thread models: the host may only serialise more than asked. Since 1.0. */
#define AW_THREADS_SERIAL_PLUGIN 1000   /* one call at a time over all instances of the class */
#define AW_THREADS_SERIAL_INSTANCE 2000 /* one call at a time per instance (the usual choice) */
#define AW_THREADS_PARALLEL 3000        /* any callback may run concurrently */

/* What a sink promises about storage. Since 1.0. */
#define AW_DURABLE_NEVER 0     /* forwards or counts only: ACCEPTED is final */
#define AW_DURABLE_ON_FLUSH 16 /* ACCEPTED becomes durable with flush() */
#define AW_DURABLE_ON_WRITE 32 /* write() reports DURABLE itself */

/* Sink class flags. Since 1.0. */
#define AW_SINK_REMOTE (1u << 0) /* events leave the host; audit.conf should say what happens to PII */

/* Log severities. Since 1.0. */
#define AW_LOG_DEBUG 100
#define AW_LOG_INFO 200
#define AW_LOG_WARNING 300
#define AW_LOG_ERROR 400
#define AW_LOG_HOST_MISBEHAVING 500   /* the host broke this contract */
#define AW_LOG_PLUGIN_MISBEHAVING 600 /* used by the host about plugins */

/* ---- fields of an event ------------------------------------------------------------------------------------------
 * Ids for host->event_field(). Text fields come decoded (no JSON escapes); those marked JSON come as canonical JSON
 * (RFC 8785). New ids are only ever added. Since 1.0. */
#define AW_FIELD_EVENT_ID 1
#define AW_FIELD_ACTION 2
#define AW_FIELD_OUTCOME 3
#define AW_FIELD_OCCURRED_AT 4 /* RFC 3339 text as sealed */
#define AW_FIELD_RETENTION_TAG 5
#define AW_FIELD_ACTOR_ID 10
#define AW_FIELD_ACTOR_TYPE 11
#define AW_FIELD_ACTOR_DISPLAY_NAME 12
#define AW_FIELD_ACTOR_ROLES 13 /* JSON array */
#define AW_FIELD_ACTOR_IP 14
#define AW_FIELD_ACTOR_USER_AGENT 15
#define AW_FIELD_TARGET_ID 20
#define AW_FIELD_TARGET_TYPE 21
#define AW_FIELD_TARGET_DISPLAY_NAME 22
#define AW_FIELD_TENANT_ID 30
#define AW_FIELD_ORG_ID 31
#define AW_FIELD_REQUEST_ID 32
#define AW_FIELD_TRACE_ID 33
#define AW_FIELD_SESSION_ID 34
#define AW_FIELD_ENVIRONMENT 35
#define AW_FIELD_SOURCE_SERVICE 36
#define AW_FIELD_SOURCE_VERSION 37
#define AW_FIELD_SOURCE_HOST 38
#define AW_FIELD_SOURCE_REGION 39
#define AW_FIELD_SOURCE_INSTANCE 40
#define AW_FIELD_ACTOR 50     /* JSON object */
#define AW_FIELD_TARGET 51    /* JSON object */
#define AW_FIELD_CONTEXT 52   /* JSON object */
#define AW_FIELD_METADATA 53  /* JSON object */
#define AW_FIELD_DIFF 54      /* JSON object */
#define AW_FIELD_INTEGRITY 55 /* JSON object, built by the host */
#define AW_FIELD_SCOPE 60     /* "tenant:ID" or "service:NAME" */
#define AW_FIELD_HASH 61      /* 64 lower-case hex digits */
#define AW_FIELD_PREV_HASH 62 /* 64 lower-case hex digits; absent for the first event of a scope */

/* Ids for host->event_number(). Since 1.0. */
#define AW_NUMBER_SEQ 200                /* the journal's sequence number, 1 for the first event ever */
#define AW_NUMBER_SCHEMA_VERSION 201     /* 1 */
#define AW_NUMBER_OCCURRED_NS 202        /* occurredAt in ns since 1970-01-01T00:00:00Z (signed value in uint64_t) */
#define AW_NUMBER_SEALED_NS 203          /* when the host sealed the event, same epoch */
#define AW_NUMBER_METADATA_TRUNCATED 204 /* 0 or 1 */
#define AW_NUMBER_DIFF_TRUNCATED 205     /* 0 or 1 */
#define AW_NUMBER_STREAM 206             /* integrity.stream: seqs and chains are per stream; 0: none is named */

/* ---- configuration schema ----------------------------------------------------------------------------------------
 * A plugin declares its options; the host parses audit.conf, applies defaults, checks types and ranges, resolves
 * secrets ("file:PATH", "env:NAME"), and refuses unknown keys with file:line. Since 1.0. */
#define AW_OPT_BOOL 10
#define AW_OPT_INT 20      /* signed 64 bit; read with config_int */
#define AW_OPT_UINT 30     /* unsigned, <= INT64_MAX */
#define AW_OPT_SIZE 40     /* "64MiB"; bytes through config_int */
#define AW_OPT_DURATION 50 /* "250ms"; nanoseconds through config_int */
#define AW_OPT_STRING 60
#define AW_OPT_ENUM 70   /* one of choices */
#define AW_OPT_PATH 80   /* absolute, or made absolute against the config file's directory */
#define AW_OPT_SECRET 90 /* string that is resolved and never printed */
#define AW_OPT_LIST 100  /* list of strings */

#define AW_OPT_REQUIRED (1u << 0)
#define AW_OPT_RELOADABLE (1u << 1)
#define AW_OPT_DEPRECATED (1u << 2)
/* With PATH: a store that one process writes. Each further process with the same configuration has a slot and gets
 * another path: "/var/log/audit.jsonl" becomes "/var/log/audit.slot1.jsonl". Unset: all write to the same place. */
#define AW_OPT_PER_SLOT (1u << 3)

struct aw_option {
    uint32_t struct_size;
    uint32_t type;              /* AW_OPT_* */
    uint32_t flags;             /* AW_OPT_REQUIRED ... */
    uint32_t reserved;          /* 0 */
    const char *key;            /* [a-z][a-z0-9_]* */
    const char *deflt;          /* as it would stand in audit.conf; NULL = unset */
    const char *help;           /* one sentence, used by `auditwell plugins describe` and in errors */
    int64_t min, max;           /* INT, UINT, SIZE (bytes), DURATION (ns); min == max == 0: no range */
    const char *const *choices; /* ENUM: NULL-ended */
    /* ABI 1.0 ends here */
};

/* ---- what the host gives -----------------------------------------------------------------------------------------
 * One table per instance: logs, errors and metrics are attributed to it. Valid from create() until destroy() returns.
 * All members may be called from any thread, never from a signal handler. Since 1.0. */
#define AW_METRIC_COUNTER 10
#define AW_METRIC_GAUGE 20
#define AW_METRIC_HISTOGRAM 30 /* only with AW_EXT_HOST_METRICS */

#define AW_PROVENANCE_AUTHENTICATED 10 /* vouched for by the framework or the kernel */
#define AW_PROVENANCE_PEER 20          /* the transport's peer */
#define AW_PROVENANCE_CLAIMED 30       /* said by the client, e.g. X-Forwarded-For */

struct aw_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    const char *version;  /* of the host, "0.1.0" */
    const char *instance; /* this instance's name, e.g. "trail" */

    /* Writes a line to the host's diagnostics, never to the trail. Keeps errno. Secrets are the plugin's duty. */
    void (*vlog)(const struct aw_host *, int32_t severity, const char *fmt, va_list);
    /* Sets the text that goes with the failure this callback is about to return. Keeps errno. */
    void (*vset_error)(const struct aw_host *, int32_t code, const char *fmt, va_list);
    /* Inside write() or stage() only: why the event at this index of the batch is not accepted. Keeps errno. */
    void (*vevent_error)(const struct aw_host *, size_t index, const char *fmt, va_list);

    /* AW_OK, or AW_E_NOTFOUND when the event has no such field (then *ret is untouched). Valid until write returns. */
    int32_t (*event_field)(const struct aw_event *, uint32_t field, struct aw_str *ret);
    int32_t (*event_number)(const struct aw_event *, uint32_t number, uint64_t *ret);
    /* The whole event in a named encoding: "json" is one canonical JSON object with its integrity member, no newline,
     * the bytes that verify; with `pii` in the sink's settings the view of the event. AW_E_UNSUPPORTED for an unknown
     * name. Rendered at most once per event. */
    int32_t (*event_encoded)(const struct aw_event *, const char *encoding, struct aw_str *ret);

    /* Typed access to settings, already validated and defaulted. AW_E_NOTFOUND when unset without default,
     * AW_E_INTERNAL when the option has another type. Strings live until destroy(), and are NUL-terminated too. */
    int32_t (*config_str)(const struct aw_config *, const char *key, struct aw_str *ret);
    int32_t (*config_int)(const struct aw_config *, const char *key, int64_t *ret);
    int32_t (*config_bool)(const struct aw_config *, const char *key, int32_t *ret);
    int32_t (*config_list)(const struct aw_config *, const char *key, size_t index, struct aw_str *ret);

    /* Registers a metric audit_sink_<name>{sinkName="instance"}; only in create(). *ret_id is used with metric_add. The
     * rules of AW_EXT_HOST_METRICS hold. */
    int32_t (*metric_register)(const struct aw_host *, int32_t kind, const char *name, const char *help,
                               uint32_t *ret_id);
    void (*metric_add)(const struct aw_host *, uint32_t id, double value); /* counter: adds; gauge: sets */

    uint64_t (*now_ns)(void);  /* CLOCK_REALTIME */
    uint64_t (*mono_ns)(void); /* CLOCK_MONOTONIC */

    /* Adapters: sets one field of a context. Copies; caps at 8 KiB; AW_E_REJECTED for bad UTF-8 or an unknown field. */
    int32_t (*ctx_set)(struct aw_context *, uint32_t field, struct aw_str value, int32_t provenance);

    /* Optional host features by id, e.g. AW_EXT_HOST_SUBMIT. NULL when this host has none. */
    const void *(*extension)(const struct aw_host *, const char *id);
    /* ABI 1.0 ends here */
};

/* ---- batches -----------------------------------------------------------------------------------------------------*/
#define AW_BATCH_MUST_BE_DURABLE (1u << 0) /* return only when the events are durable, or with an error */

struct aw_batch {
    uint32_t struct_size;
    uint32_t flags;               /* AW_BATCH_* */
    uint64_t first_seq, last_seq; /* of this batch; seqs rise, and may have gaps */
    uint64_t deadline_ns;         /* write() should return by then; 0 = none */
    size_t count;                 /* >= 1 */
    const struct aw_event *const *events;
    /* ABI 1.0 ends here */
};

struct aw_result {
    uint32_t struct_size;
    uint32_t retry_after_ms; /* with AW_E_THROTTLED: what the peer asked for; else 0 */
    size_t count;            /* slots in status, == batch->count */
    uint8_t *status;         /* AW_EVENT_*, one per event, preset to AW_EVENT_UNKNOWN */
    /* ABI 1.0 ends here */
};

#define AW_HEALTH_OK 10
#define AW_HEALTH_DEGRADED 20
#define AW_HEALTH_DOWN 30

struct aw_health {
    uint32_t struct_size;
    int32_t state;            /* AW_HEALTH_* */
    int32_t last_error;       /* the last AW_E_*, 0 = none */
    uint32_t reserved;        /* 0 */
    uint64_t since_ns;        /* when the state began, now_ns() */
    uint64_t last_success_ns; /* 0 = never */
    char detail[128];         /* NUL-terminated */
    /* ABI 1.0 ends here */
};

/* ---- sinks -------------------------------------------------------------------------------------------------------
 * Life of an instance: create -> (fork, privilege drop) -> start -> write/flush/health/reopen... -> stop -> destroy.
 * Mandatory: name, create, write, destroy. A NULL optional member has the default given here. Since 1.0. */
struct aw_sink_class {
    uint32_t struct_size;
    uint32_t thread_model;                  /* AW_THREADS_* */
    uint32_t durability;                    /* AW_DURABLE_* */
    uint32_t flags;                         /* AW_SINK_* */
    const char *name;                       /* `plugin` in audit.conf, [a-z0-9_-]+, at most 32 */
    const char *summary;                    /* one line */
    const struct aw_option *const *options; /* NULL-ended; NULL = no options */

    /* [control] Checks the settings against each other. No I/O, no threads. On failure *ret_sink is untouched. */
    int32_t (*create)(const struct aw_host *, const struct aw_config *, void **ret_sink);
    /* [control, or worker when it is started again; never both] Opens the store; may start threads (with all signals
     * blocked). Default: OK. A failure other than AW_E_CONFIG is retried by the host with backoff: events wait in the
     * journal meanwhile. */
    int32_t (*start)(void *sink);
    /* [worker] Stores the batch in order and sets result->status. */
    int32_t (*write)(void *sink, const struct aw_batch *, struct aw_result *);
    /* [worker] Makes what was ACCEPTED durable; *ret_durable_seq = highest seq up to which all accepted is durable.
     * Default: nothing is ever pending. A failed flush means the ACCEPTED events may be lost: the host sends them
     * again. */
    int32_t (*flush)(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq);
    /* [any-thread] Never blocks. Default: the host's own view. */
    int32_t (*health)(void *sink, struct aw_health *ret_health);
    /* [worker] Log rotation, new credentials. Default: stop + start. */
    int32_t (*reopen)(void *sink);
    /* [worker] All changed options are RELOADABLE. Default: a new instance replaces this one. */
    int32_t (*reconfigure)(void *sink, const struct aw_config *);
    /* [fork-child] Inside fork(): closes the descriptors that came from the parent, so that nothing stays locked by the
     * child; takes no locks, sends nothing to a peer. The worker may have been anywhere in the plugin. Only destroy()
     * or start() can follow; auditwell itself leaves the instance alone and makes a new one. Default: nothing. */
    int32_t (*after_fork)(void *sink);
    /* [control or worker] Flushes and closes by the deadline. start() may follow. Default: OK. */
    int32_t (*stop)(void *sink, uint64_t deadline_ns);
    /* [control] Frees the instance; safe after a failed or missing start. */
    void (*destroy)(void *sink);
    /* [any-thread] Optional features by string id (AW_EXT_SINK_*). Default: none. Callable after create(). */
    const void *(*extension)(void *sink, const char *id);
    /* ABI 1.0 ends here */
};

/* ---- sink extensions ---------------------------------------------------------------------------------------------*/

/* A sink that can read its own tail says where it stands, so that after a crash nothing is written twice. Called by the
 * host after start(), when what was in doubt is committed or rolled back, and before the first write(). Such a sink
 * takes events in order: write() stops at the first one that it does not store, rejected ones included, and leaves the
 * later ones UNKNOWN; it is called again at once. Else a crash between a rejection and the host's dead letter would
 * leave the position behind an event that nobody has. Since 1.0. */
#define AW_EXT_SINK_POSITION "auditwell.sink.position/1"
struct aw_position {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t seq;  /* of the last event that is stored for good; all earlier ones given to this sink are, too */
    char hash[65]; /* its integrity.hash, NUL-terminated; "" = unknown. The host believes seq only if hash agrees. */
    char pad[7];
    /* ABI 1.0 ends here */
};
struct aw_sink_position {
    uint32_t struct_size;
    uint32_t reserved;
    /* As start(). AW_OK; AW_E_NOTFOUND when the store is empty. */
    int32_t (*position)(void *sink, struct aw_position *ret);
    /* ABI 1.0 ends here */
};

/* Reading a store back, for query, tail, export and verify. Works on a created instance that was not started, opens the
 * store read-only, and does not disturb a writer in another process. Since 1.0. */
#define AW_EXT_SINK_QUERY "auditwell.sink.query/1"

#define AW_QUERY_CHAIN_ORDER (1u << 0) /* rows in the order in which each scope's chain grew: for verify */
#define AW_QUERY_DESCENDING (1u << 1)  /* newest first; AW_E_UNSUPPORTED if the store cannot: the host then sorts */

/* A filter. Every member is optional (len 0 = any). A store applies what it can, to save work: the host checks each row
 * again. action is a glob with * and ?; text is a substring of the stored JSON. */
struct aw_query {
    uint32_t struct_size;
    uint32_t flags;             /* AW_QUERY_* */
    uint64_t limit;             /* a hint; 0 = all */
    int64_t since_ns, until_ns; /* of occurredAt, [since, until); INT64_MIN / INT64_MAX = open */
    struct aw_str action, actor_id, target_id;
    struct aw_str tenant_id, outcome, text;
    struct aw_str after; /* a row's cursor: start behind it */
    /* ABI 1.0 ends here */
};

struct aw_row {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t seq;           /* 0 = the store does not know */
    struct aw_str json;     /* the stored event with its integrity member, as it was sealed */
    struct aw_str location; /* for people: "audit.jsonl:17", "audit_events seq 17" */
    struct aw_str cursor;   /* opaque keyset cursor for query->after; printable ASCII, at most 200 bytes */
    /* Frozen for ever: next() gets an array of rows. */
};

struct aw_sink_query {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any-thread] Starts a read. */
    int32_t (*open)(void *sink, const struct aw_query *, void **ret_read);
    /* [any-thread, one at a time per read] Up to max rows, pointers valid until the next call on this read. *ret_count
     * 0 with AW_OK: the end for now; calling again later sees what was added since (tail -f). A row that cannot be read
     * is returned with its bytes as they are; the host reports it. */
    int32_t (*next)(void *read, struct aw_row *ret_rows, size_t max, size_t *ret_count);
    void (*close)(void *read);
    /* ABI 1.0 ends here */
};

/* All-or-nothing delivery (fanout = "all_or_nothing"). Staged events are invisible to readers until commit and survive
 * the death of the process where the store can do that. token is chosen by the host: 1..64 bytes of [A-Za-z0-9._-];
 * those of other hosts may be in the same store. The host stages a batch on every sink, then commits it on every sink,
 * or rolls it back on every sink; it may die in between, and tries a commit or rollback that fails again. All are
 * called like write(), between start() and stop(). Since 1.0. */
#define AW_EXT_SINK_TRANSACTION "auditwell.sink.transaction/1"
struct aw_sink_transaction {
    uint32_t struct_size;
    uint32_t reserved;
    /* Statuses as in write(): ACCEPTED or DURABLE = staged; DUPLICATE = stored already, not staged; a token that was
     * staged before is staged anew. A row the store will not take must be REJECTED here: commit is too late. Unless all
     * are staged, a duplicate, or rejected, the host rolls back. */
    int32_t (*stage)(void *sink, const struct aw_batch *, struct aw_result *, const char *token);
    /* Durable when it returns AW_OK, without a flush(). Idempotent: AW_OK for a token that is not there (any more),
     * too. AW_E_NOTFOUND: the token is there, but what was staged is lost; the host delivers the events again. */
    int32_t (*commit)(void *sink, const char *token);
    int32_t (*rollback)(void *sink, const char *token); /* idempotent */
    /* After a restart: tokens staged and not decided. ret_tokens lives until the next call on the sink. */
    int32_t (*in_doubt)(void *sink, const char *const **ret_tokens, size_t *ret_count);
    /* ABI 1.0 ends here */
};

/* Asking the store itself whether delivery would work, for `auditwell check`. Since 1.0. */
#define AW_EXT_SINK_PROBE "auditwell.sink.probe/1"
struct aw_sink_probe {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] On a created instance that was not started. Connects and authenticates, and looks whether the table,
     * stream or topic is there, fits, and may be written; stores nothing, creates nothing, disturbs no writer, and
     * takes one in another process for no failure. Returns by the deadline. AW_OK, also when start() would make what
     * is missing; AW_E_CONFIG: somebody has to change something, and the error text says what; AW_E_UNAVAILABLE,
     * AW_E_TIMEOUT, AW_E_RETRY: cannot be reached now. */
    int32_t (*probe)(void *sink, uint64_t deadline_ns);
    /* ABI 1.0 ends here */
};

/* Making in a store what write() needs, or bringing an older layout up to date, for `auditwell migrate`: it may need
 * more rights than writing. Since 1.0. */
#define AW_EXT_SINK_MIGRATE "auditwell.sink.migrate/1"
#define AW_MIGRATE_DRY_RUN (1u << 0) /* only tell the steps; changes nothing, needs no more than reading */
struct aw_sink_migrate {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] On a created instance that was not started. step() is called with each step, one line or statement,
     * before it is done; never called: all is up to date. What fails half-way changes nothing, or is gone on with by
     * the next call. AW_E_RETRY: a writer is in the way now. */
    int32_t (*migrate)(void *sink, uint32_t flags, void (*step)(void *arg, const char *text), void *arg);
    /* ABI 1.0 ends here */
};

/* Removing the oldest events of a store, for `auditwell retention`. What goes of a stream is all below one seq, so that
 * one sealed record says of every chain where it may begin: seqs from there on have no gaps. The host asks for a plan,
 * verifies the store, seals the record, has it stored by this sink, and only then prunes. Since 1.0. */
#define AW_EXT_SINK_RETENTION "auditwell.sink.retention/1"

/* One stream (what one slot sealed: integrity.stream, AW_NUMBER_STREAM) of a store. */
struct aw_prune {
    uint32_t struct_size;
    uint32_t stream;    /* 0: none is named in the events */
    uint64_t count;     /* events that can go: with a seq below keep_seq; 0: none */
    uint64_t bytes;     /* about what they take up in the store; 0: unknown */
    uint64_t first_seq; /* lowest and highest of them; 0 when count is 0 */
    uint64_t last_seq;
    int64_t first_ns; /* earliest and latest occurredAt of them, as AW_NUMBER_OCCURRED_NS */
    int64_t last_ns;
    uint64_t keep_seq;  /* the lowest that stays: everything from it on does */
    int64_t keep_ns;    /* its occurredAt: why it stays, unless the store cannot cut there */
    char keep_hash[65]; /* its integrity.hash, NUL-terminated */
    char pad[7];
    /* ABI 1.0 ends here */
};
struct aw_sink_retention {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] On a created instance that was not started; changes nothing. Calls found() once for each stream that
     * the store holds, also when nothing of it can go. keep_seq is as high as it can be while every event below it
     * occurred before before_ns and can be removed (a file sink removes closed files only, a partitioned table whole
     * partitions). An event that says to occur in the future, after host->now_ns(), holds nothing back: it goes with
     * its neighbours. A stream's newest event always stays. What found() gets is valid during the call; it returns 0
     * to go on, else plan() returns AW_OK at once. */
    int32_t (*plan)(void *sink, int64_t before_ns, int32_t (*found)(void *arg, const struct aw_prune *), void *arg);
    /* [control] Removes what a plan said, or less, never more; *ret_removed counts events, also on failure. By rising
     * seq: whenever it fails or dies, no event is there with a seq below one that went, unless it stands behind its
     * place (a dead letter that was replayed). A stream whose event keep_seq does not have the hash keep_hash is left
     * alone, with a warning. Safe beside a writer in another process, which it never keeps waiting for long. After a
     * failure a new plan goes on; so it is called also when no stream has events to go, to finish what was left. */
    int32_t (*prune)(void *sink, const struct aw_prune *const *prunes, size_t count, uint64_t *ret_removed);
    /* ABI 1.0 ends here */
};

/* ---- adapters ----------------------------------------------------------------------------------------------------
 * A request adapter maps a framework's native request into an audit context (map); a source adapter brings events in
 * (start/stop). Mandatory: name, create, destroy, and one of map or start. Since 1.0. */

/* What an HTTP framework knows of a request. Getters return AW_OK or AW_E_NOTFOUND; a NULL getter means: unknown.
 * Results are valid during the map() call. Bodies are never read. */
struct aw_request_view {
    uint32_t struct_size;
    uint32_t status;      /* response status, 0 = not yet known */
    const void *native;   /* the framework's own object, passed to each getter */
    uint64_t duration_ns; /* 0 = unknown */
    int32_t (*method)(const void *native, struct aw_str *ret);
    int32_t (*target)(const void *native, struct aw_str *ret); /* path and query as received */
    int32_t (*route)(const void *native, struct aw_str *ret);  /* route template, "/users/:id" */
    int32_t (*scheme)(const void *native, struct aw_str *ret);
    int32_t (*host)(const void *native, struct aw_str *ret);
    int32_t (*peer)(const void *native, struct aw_str *ret); /* transport address */
    int32_t (*user)(const void *native, struct aw_str *ret); /* authenticated by the framework */
    /* The index-th value of a header (case-insensitive name). */
    int32_t (*header)(const void *native, const char *name, size_t index, struct aw_str *ret);
    int32_t (*response_header)(const void *native, const char *name, size_t index, struct aw_str *ret);
    /* ABI 1.0 ends here */
};

/* Host extension: fills a context from a request view with the one mapping that knows trusted proxies, traceparent,
 * request ids and header allow-lists. */
#define AW_EXT_HOST_HTTP_CONTEXT "auditwell.host.http_context/1"
struct aw_host_http_context {
    uint32_t struct_size;
    uint32_t reserved;
    int32_t (*map)(const struct aw_host *, const struct aw_request_view *, struct aw_context *);
    /* ABI 1.0 ends here */
};

/* Host extension: hands events in. json[i] is one event object; ret_status[i] is an AW_EVENT_* (DURABLE at the
 * configured durability, REJECTED, RETRY), ret_error[i] (may be NULL) the reason, valid until the next submit on this
 * thread. */
#define AW_EXT_HOST_SUBMIT "auditwell.host.submit/1"
struct aw_host_submit {
    uint32_t struct_size;
    uint32_t reserved;
    int32_t (*submit)(const struct aw_host *, const struct aw_context *, const struct aw_str *json, size_t count,
                      uint8_t *ret_status, const char **ret_error);
    /* ABI 1.0 ends here */
};

/* Host extension: metrics with labels, and histograms. They show as audit_sink_<name>{sinkName="instance",…} in the
 * Prometheus text. A sink may have 32 names, and 64 metrics counted with every set of label values; 4 labels each,
 * which together with their values take less than 184 bytes. Refused calls set the error text. Since 1.0. */
#define AW_EXT_HOST_METRICS "auditwell.host.metrics/1"
struct aw_metric {
    uint32_t struct_size;
    int32_t kind;              /* AW_METRIC_* */
    const char *name;          /* [a-z][a-z0-9_]{0,63}; a counter's should end with _total; not one of the host's own */
    const char *help;          /* one sentence; cut at 127 bytes */
    const char *const *labels; /* names, NULL-ended: [a-zA-Z_][a-zA-Z0-9_]{0,31}, no sinkName, le, __*; NULL: none */
    const double *bounds; /* histogram: 1 to 16 upper bounds, rising, without +Inf, in base units (seconds, bytes) */
    size_t bound_count;   /* 0 for others */
    /* ABI 1.0 ends here */
};
struct aw_host_metrics {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] Only in create(). AW_OK; AW_E_INTERNAL: against the rules, or the name is in use with another kind or
     * other labels; AW_E_UNSUPPORTED: too many. All is copied. *ret_metric is used with series(). */
    int32_t (*define)(const struct aw_host *, const struct aw_metric *, uint32_t *ret_metric);
    /* [any-thread] One value for each label, in their order (NULL without labels). The same values give the same
     * series. AW_OK, AW_E_INTERNAL, AW_E_UNSUPPORTED: too many; keep the sets of values few and fixed. Takes a lock:
     * ask once, and keep *ret_series. */
    int32_t (*series)(const struct aw_host *, uint32_t metric, const char *const *values, uint32_t *ret_series);
    /* [any-thread] Counter: adds (never less than 0); gauge: sets; histogram: counts one observation. No lock. */
    void (*add)(const struct aw_host *, uint32_t series, double value);
    /* ABI 1.0 ends here */
};

struct aw_adapter_class {
    uint32_t struct_size;
    uint32_t thread_model; /* AW_THREADS_* */
    const char *name;      /* `plugin` in audit.conf */
    const char *summary;
    const char *native_type; /* what map() expects, "httpd.request_rec"; NULL for source adapters */
    const char *native_abi;  /* of the framework, "20120211"; NULL = not checked */
    const struct aw_option *const *options;
    /* [control] As for sinks. */
    int32_t (*create)(const struct aw_host *, const struct aw_config *, void **ret_adapter);
    /* [any-thread] Pure: no I/O, no blocking, keeps nothing, bounded time. */
    int32_t (*map)(void *adapter, const void *native, struct aw_context *);
    int32_t (*attach)(void *adapter, void *framework);    /* [control] optional: installs hooks */
    int32_t (*detach)(void *adapter);                     /* [control] */
    int32_t (*start)(void *adapter);                      /* [control] source: opens listeners, starts threads */
    int32_t (*stop)(void *adapter, uint64_t deadline_ns); /* [control] stops taking, finishes what was taken */
    int32_t (*reconfigure)(void *adapter, const struct aw_config *);
    void (*destroy)(void *adapter);
    const void *(*extension)(void *adapter, const char *id);
    /* ABI 1.0 ends here */
};

/* ---- the descriptor ----------------------------------------------------------------------------------------------*/
struct aw_plugin {
    uint32_t struct_size;
    uint32_t magic;                /* AW_PLUGIN_MAGIC */
    uint16_t abi_major, abi_minor; /* of the header it was built with: AW_PLUGIN_HEAD fills these */
    uint32_t flags;                /* 0 */
    const char *id;                /* reverse DNS, "org.example.audit.kafka" */
    const char *version, *license, *summary;
    const char *const *host_needs;            /* extension ids this plugin cannot do without, NULL-ended; NULL = none */
    const struct aw_sink_class *const *sinks; /* NULL-ended; NULL = none */
    const struct aw_adapter_class *const *adapters; /* NULL-ended; NULL = none */
    int32_t (*load)(
        const struct aw_host *); /* [loader] optional; once per process and core context; no I/O, no threads */
    void (*unload)(void);        /* [loader] optional; process exit only: code is never unmapped */
    /* ABI 1.0 ends here */
};

#define AW_PLUGIN_HEAD (uint32_t)sizeof(struct aw_plugin), AW_PLUGIN_MAGIC, AW_ABI_MAJOR, AW_ABI_MINOR, 0

/* Emits the one exported function. It has no side effects and always returns the same pointer. In-tree builds define
 * AW_PLUGIN_MODULE to the module's file name so that libltdl can preload it statically. */
#define AW_CAT2_(a, b) a##b
#define AW_CAT_(a, b) AW_CAT2_(a, b)
#ifdef AW_PLUGIN_MODULE
#define AW_PLUGIN_ENTRY AW_CAT_(AW_PLUGIN_MODULE, _LTX_auditwell_plugin_v1)
#else
#define AW_PLUGIN_ENTRY auditwell_plugin_v1
#endif
#ifdef __cplusplus
#define AW_PLUGIN_EXTERN_C extern "C"
#else
#define AW_PLUGIN_EXTERN_C extern
#endif
#define AW_PLUGIN_REGISTER(descriptor)                                                                                 \
    AW_PLUGIN_EXTERN_C AW_PLUGIN_EXPORT const struct aw_plugin *AW_PLUGIN_ENTRY(void);                                 \
    const struct aw_plugin *AW_PLUGIN_ENTRY(void)                                                                      \
    {                                                                                                                  \
        return &(descriptor);                                                                                          \
    }

/* ---- conveniences over the host table ----------------------------------------------------------------------------*/
static inline void AW_PRINTF(3, 4) aw_host_log(const struct aw_host *h, int32_t severity, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    h->vlog(h, severity, fmt, ap);
    va_end(ap);
}

/* Sets the error text and returns the code: `return aw_host_error(h, AW_E_CONFIG, "…")`. */
static inline int32_t AW_PRINTF(3, 4) aw_host_error(const struct aw_host *h, int32_t code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    h->vset_error(h, code, fmt, ap);
    va_end(ap);
    return code;
}

/* Why the event at this index of the batch is not accepted; inside write() or stage(). */
static inline void AW_PRINTF(3, 4) aw_host_event_error(const struct aw_host *h, size_t index, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    h->vevent_error(h, index, fmt, ap);
    va_end(ap);
}

#ifdef __cplusplus
}
#endif
#endif
