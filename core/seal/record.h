/* record.h - the sealed record: one event as the journal keeps it, in ring and segments alike.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout (little endian, 8-byte aligned, total length a multiple of 8): struct record_header, then field_count
 * field_refs, then json_len bytes of canonical JSON without integrity (or the payload of another kind), then zero
 * padding.
 *
 * The CRC is computed as crc(body after the header) continued over the header with its crc word zero, so that the
 * caller can do the body's part before taking the journal's lock.
 */
#ifndef AW_RECORD_H
#define AW_RECORD_H

#include "event/event.h"
#include "base/hash.h"

#define RECORD_MAGIC 0x31525741u /* "AWR1" */
#define RECORD_HEADER 136u
#define RECORD_MAX (EVENT_MAX_JSON + RECORD_HEADER + EVENT_MAX_FIELDS * 8u + 8u)

#define RECORD_SEQ_MAX (1ull << 53) /* what a JSON number holds exactly; larger ones are damage */

#define RECORD_KIND_EVENT 1u
#define RECORD_KIND_SNAPSHOT 2u /* chain heads: journal/ owns the payload's format */
#define RECORD_KIND_SNAPSHOT_END 3u
#define RECORD_KIND_NOTE 4u /* facts about the journal itself, e.g. seqs lost to damage */

#define RECORD_FIRST (1u << 0)     /* first of its scope: no prevHash */
#define RECORD_UNCHAINED (1u << 1) /* integrity.mode = "none": no hash */
#define RECORD_METADATA_TRUNCATED (1u << 2)
#define RECORD_DIFF_TRUNCATED (1u << 3)
#define RECORD_SCOPE_TENANT (1u << 4)

/* Fixed part; the in-memory struct is the wire form on little-endian machines (static asserts in record.c). */
struct record_header {
    uint32_t magic;     /* RECORD_MAGIC */
    uint32_t total_len; /* header to padding */
    uint32_t crc;       /* CRC-32C of everything but this word, see above */
    uint16_t kind;      /* RECORD_KIND_* */
    uint16_t flags;     /* RECORD_FIRST ... */
    uint64_t seq;       /* events: dense, 1 for the first ever; other kinds: the seq of the next event */
    uint32_t json_len;
    uint32_t integrity_at; /* offset into the JSON at which the integrity member belongs */
    uint64_t sealed_ns;    /* CLOCK_REALTIME */
    int64_t occurred_ns;
    uint64_t scope[2]; /* SipHash-128 of the escaped tenant or service name, under a key derived from the journal's */
    uint8_t hash[32];  /* SHA-256 of the payload (FLOOR of the chain: integrity.md) */
    uint8_t prev_hash[32]; /* zero with RECORD_FIRST */
    uint16_t field_count;
    uint16_t stream;     /* the slot that sealed it: seqs and chains are per stream; 0: the plain format */
    uint32_t reserved32; /* 0 */
};

/* A record seen in memory: pointers into the caller's buffer. */
struct record_view {
    const struct record_header *head;
    const struct field_ref *fields;
    const char *json;
    struct aw_str claim; /* integrity.view as JSON; len 0: the event in full, as in the journal */
};

/* Checks magic, lengths against avail, padding and CRC. 0, -ENODATA (avail too short to tell), -EBADMSG (damaged or no
 * record here). Never reads outside [buf, buf+avail). buf is 8-byte aligned. */
int record_check(const void *buf, size_t avail, struct record_view *ret);

/* The record's CRC: the CRC of the body (all after the header, padding included) continued over the header, whose own
 * crc word counts as zero. */
uint32_t record_crc_header(uint32_t body_crc, const struct record_header *head);
/* The first field with this AW_FIELD_*. false: the event has none. */
bool record_field(const struct record_view *view, uint32_t id, struct field_ref *ret);

/* The event with its integrity member, as sinks get it. out needs record_json_size() bytes; returns the length. */
size_t record_json_size(const struct record_view *view);
size_t record_render_json(const struct record_view *view, char *out);
#define RECORD_INTEGRITY_MAX 256 /* without view */
/* The object only: {"alg":"SHA-256","hash":…,"prevHash":…,"seq":N,"stream":N,"view":…}, stream when it is not 0;
 * without a chain {"alg":"none","seq":N}.
 * out needs RECORD_INTEGRITY_MAX + view->claim.len bytes. */
size_t record_render_integrity(const struct record_view *view, char *out);
/* "tenant:…" or "service:…", unescaped; out needs json_len + 16 bytes. Returns the length. */
size_t record_scope(const struct record_view *view, char *out);

#endif
