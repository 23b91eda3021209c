/* retention_event.h - the events "auditwell.retention" and "auditwell.begin": where the streams of a store begin.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   actor system/auditwell, outcome SUCCESS, metadata.retention { before, findings?, sink, streams [{ chains?,
 *   chainsHash?, count, firstSeq, keepHash?, keepSeq, lastSeq, newest, newestSeq, oldest, stream, total }, …] }
 *
 * A stream is what one slot sealed. All of it below keepSeq may be absent from the store of that sink; from keepSeq on
 * the seqs are without gaps as ever, so that each chain begins where its events below keepSeq ended. chainsHash makes
 * sure of it: SHA-256 over the chains that go on in the middle, by rising seq of their first event from keepSeq on, if
 * that is not above newestSeq; of each, that seq (8 bytes, little endian) and the prevHash (32 bytes). It is absent if
 * the store had findings. A retention seals one before anything is removed and waits until the sink has it; a sink that
 * is new, and not given everything from the first event on, gets an "auditwell.begin" with keepSeq only. Callers cannot
 * log events of these names.
 */
#ifndef AW_RETENTION_EVENT_H
#define AW_RETENTION_EVENT_H

#include "base/base.h"
#include "base/hash.h"

#define RETENTION_EVENT_ACTION "auditwell.retention"
#define RETENTION_EVENT_BEGIN "auditwell.begin"
#define RETENTION_EVENT_MAX 48u /* streams that one record names */

struct retention_stream {
    uint32_t stream;
    bool with_hash, with_chains;
    uint64_t keep_seq;
    uint8_t keep_hash[HASH_SHA256_LEN];
    uint64_t newest_seq; /* of the store, when the record was made */
    uint64_t count;      /* events that were to go */
    uint64_t first_seq, last_seq;
    int64_t first_ns, last_ns; /* earliest and latest occurredAt of them */
    uint64_t total;            /* with all that went earlier */
    uint64_t chains;
    uint8_t chains_hash[HASH_SHA256_LEN];
};

struct retention_record {
    char *sink; /* owned, by whoever read it */
    char *id;   /* eventId, owned; NULL = one is made when it is sealed */
    bool begin; /* an "auditwell.begin" */
    int64_t before_ns;
    uint64_t findings; /* of the store, in spite of which it was done */
    size_t count;
    struct retention_stream streams[RETENTION_EVENT_MAX];
};

/* The JSON text, malloc'd. sink: a name from the settings, plain ASCII. NULL: no memory. */
char *retention_event_write(const struct retention_record *record, size_t *ret_len);

/* Reads one, sealed or not. *ret_record is malloc'd. 0; -EBADMSG: it is not such a record; -ENOMEM. */
int retention_event_read(struct aw_str json, struct retention_record **ret_record);
void retention_record_free(struct retention_record *record); /* NULL is fine */

#endif
