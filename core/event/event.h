/* event.h - the face of event/: from an input event to canonical bytes and a field table.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * normalise -> redact -> limit -> canonicalise, all on the caller's thread in its thread-local work space: no lock, and
 * no malloc once that is warm. The result (struct prepared) points into the work space and is valid until this thread's
 * next event_prepare_* call.
 */
#ifndef AW_EVENT_H
#define AW_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"
#include "audit/plugin.h"

/* Where a field's value stands in the canonical JSON. Strings: the bytes between the quotes; `escaped` tells whether
 * they hold a backslash. Objects, arrays, numbers: the JSON text. Packed into 8 bytes, also in the journal (little
 * endian). */
struct field_ref {
    uint32_t offset_id; /* offset << 8 | AW_FIELD_* */
    uint32_t len_flags; /* length << 4 | FIELD_* flags */
};
#define FIELD_ESCAPED 1u
static inline uint32_t field_id(struct field_ref f)
{
    return f.offset_id & 0xffu;
}
static inline uint32_t field_offset(struct field_ref f)
{
    return f.offset_id >> 8;
}
static inline uint32_t field_len(struct field_ref f)
{
    return f.len_flags >> 4;
}
#define EVENT_MAX_FIELDS 40
#define EVENT_MAX_STREAM 65535u   /* integrity.stream */
#define EVENT_MAX_JSON (8u << 20) /* hard bound on canonical bytes; offsets have 24 bits */

#define PREPARED_METADATA_TRUNCATED (1u << 0)
#define PREPARED_DIFF_TRUNCATED (1u << 1)

/* A finished event without its integrity member: what is hashed, journaled and stored. */
struct prepared {
    const char *json; /* canonical (RFC 8785) */
    uint32_t json_len;
    uint32_t integrity_at; /* offset at which `"integrity":{…},` belongs */
    uint32_t field_count;
    uint32_t flags;      /* PREPARED_* */
    uint32_t redactions; /* values masked */
    uint32_t hashed;     /* 1 + the number of it in this thread's sealer, by journal_hash_two(); 0: not hashed yet */
    uint64_t now_ns;     /* CLOCK_REALTIME, when it was read for the event; else 0 */
    int64_t occurred_ns;
    struct aw_str scope_value; /* into json: the escaped tenantId, or sourceService; scope_is_tenant tells which */
    bool scope_is_tenant; /* scope text: "tenant:" or "service:" + scope_value; service "unknown" is a static string */
    struct field_ref fields[EVENT_MAX_FIELDS];
};

/* One redaction or settings item with the place it came from, for error messages. */
struct event_rule {
    const char *text;
    const char *where; /* "audit.conf:12", may be NULL */
};

/* Settings, as configured. Copied by event_policy_create(). Lists may be NULL with count 0. */
struct event_settings {
    /* redaction */
    bool redaction;                                           /* default true */
    bool redact_default_keys;                                 /* default true: the built-in key list */
    bool redact_scanners;                                     /* default true: value scanners */
    const char *mask;                                         /* "***" */
    const struct event_rule *keys, *paths, *patterns, *allow; /* allow: key names or paths never masked */
    size_t key_count, path_count, pattern_count, allow_count;
    /* limits, bytes */
    uint32_t max_event, max_metadata, max_diff, max_input; /* 65536, 32768, 32768, 1 MiB */
    uint32_t max_depth;                                    /* 64 */
    bool over_limit_truncate;                              /* default false: reject */
    /* validation */
    bool strict;        /* unknown members and warnings are errors */
    bool strict_naming; /* an action that contains a UUID is an error */
    /* defaults for context.*; NULL = none */
    const char *service, *service_version, *environment, *host, *region, *instance;
};
void event_settings_init(struct event_settings *s); /* the defaults above */

struct event_policy; /* compiled settings; immutable, shared by threads */
/* Every rule that cannot work is reported with its place through diag_problem(AW_ERR_CONFIG, …). 0 or AW_ERR_*. */
int event_policy_create(const struct event_settings *settings, struct event_policy **ret);
void event_policy_destroy(struct event_policy *policy);

/* explicit contexts from the nearest outwards (aw_log_in's, then the child logger's, then its parents'); the thread's
 * stack and the policy's defaults are added by the functions themselves. Return AW_SUCCESS or AW_ERR_INVALID_EVENT,
 * AW_ERR_EVENT_TOO_LARGE, AW_ERR_NOMEM with every problem in diag (and warnings on success). */
int event_prepare_json(const struct event_policy *policy, const struct aw_context *const *contexts,
                       size_t context_count, const char *json, size_t len, struct prepared **ret);
int event_prepare_builder(const struct event_policy *policy, const struct aw_context *const *contexts,
                          size_t context_count, const struct aw_builder *builder, struct prepared **ret);

/* What was prepared last stays valid beside what is prepared next, until the next call of this. */
struct prepared *event_keep(void);

/* Builders and contexts (aw_builder_*, aw_set_*, aw_context_*) are public functions implemented in event/. */
struct aw_context *event_context_clone(const struct aw_context *context); /* NULL: out of memory */
/* host->ctx_set: sets one AW_FIELD_* of a context, with its provenance. AW_OK or AW_E_*. */
int32_t event_context_set_field(struct aw_context *context, uint32_t field, struct aw_str value, int32_t provenance);

/* ---- reading events back (field access for sinks, verify, query) ---- */
/* Decodes JSON string content (between quotes) to UTF-8. out needs len bytes; returns the decoded length. */
size_t event_unescape(const char *in, size_t len, char *out);

/* A parsed stored event: located members, nothing copied. For verify and query, on lines of any JSON spacing and key
 * order. */
struct stored_event {
    struct aw_str event_id, action, outcome, occurred_at, actor_id, target_id, tenant_id,
        source_service;                                          /* escaped text */
    struct aw_str integrity_alg, integrity_hash, integrity_prev; /* len 0: absent */
    uint64_t integrity_seq;                                      /* 0: absent */
    uint32_t integrity_stream;                                   /* 0: absent, the plain format */
    bool has_integrity;
    bool has_signature;         /* integrity has keyId or sig */
    bool has_unknown_integrity; /* integrity is no object, has members other than alg, hash, prevHash, seq, stream,
                                   keyId, sig and view, or one of the first four is of the wrong type or empty */
    bool is_view;               /* integrity.view is there: view.h */
    const char *view_fault;     /* what is wrong with it; NULL = nothing. Static */
    uint32_t view_fields;       /* paths that it names */
    /* canonical: without copying, prefix + suffix are the canonical bytes of the event without integrity. */
    struct aw_str prefix, suffix;
};
/* Parses one stored event. When the text is canonical, prefix/suffix point into it; else the event is canonicalised
 * into the thread's work space (valid until the next event_* call on this thread). Errors go to diag. */
int event_parse_stored(const char *json, size_t len, struct stored_event *ret);

#endif
