/* replay_event.h - the event "auditwell.replay": which dead letters are given to a sink late.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   actor system/auditwell, outcome SUCCESS, metadata.replay { count, events [{ hash, seq }, …], sink }
 *
 * It is sealed into the chain of the service and delivered to the sink before the replay writes anything. Where a store
 * keeps the order of writing, an event that stands behind its place is honest if such a record stands before it and
 * names it by its hash; the verifier reads them for that. Callers cannot log events of this name.
 */
#ifndef AW_REPLAY_EVENT_H
#define AW_REPLAY_EVENT_H

#include "base/base.h"
#include "base/hash.h"

#define REPLAY_EVENT_ACTION "auditwell.replay"
#define REPLAY_EVENT_OWN "auditwell." /* what actions of events about ourselves begin with */
#define REPLAY_EVENT_MAX 128u         /* events that one record names */

struct replay_event_item {
    uint64_t seq;
    uint8_t hash[HASH_SHA256_LEN];
};

/* The JSON text of a record of 1..REPLAY_EVENT_MAX events, malloc'd. sink: a name from the settings, plain ASCII.
 * NULL: no memory. */
char *replay_event_write(const char *sink, const struct replay_event_item *items, size_t count, size_t *ret_len);

/* Reads a stored one. items holds REPLAY_EVENT_MAX. *ret_sink is malloc'd. 0; -EBADMSG: it is not such a record;
 * -ENOMEM.
 */
int replay_event_read(struct aw_str json, struct replay_event_item *items, size_t *ret_count, char **ret_sink);

#endif
