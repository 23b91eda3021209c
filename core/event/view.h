/* view.h - what a sink gets that must not have personal data: tags, and views of events.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tags are paths, as in redact.h. A view is the event without the tagged members, or with a pseudonym in place of every
 * value below them (names stay). Its eventId and integrity are the event's own; integrity.view says what was changed:
 *   {"dropped":["actor.ip"]}   {"keyId":"1f0c55d2","pseudonymized":["actor.id","metadata.user.email"]}   {}
 * with the paths of the topmost members that were changed, in the order of their bytes. In a path '.', '[' and '\'
 * inside a name have a '\' before them; elements of an array have the array's path.
 *
 * Members that chains, readers or verifiers go by are never changed: eventId, outcome, schemaVersion,
 * metadataTruncated, diffTruncated, actor.type, target.type, context.occurredAt, context.tenantId and
 * context.sourceService. action and actor.id may have a pseudonym, but are always there.
 */
#ifndef AW_VIEW_H
#define AW_VIEW_H

#include "event/event.h"
#include "event/pseudonym.h"

struct event_pii; /* compiled tags; immutable, shared by threads */
/* A tag that cannot work is reported with its place. mask: what redaction puts in place of values; such a value stays
 * as it is. 0 or AW_ERR_*. */
int event_pii_create(const struct event_rule *tags, size_t count, const char *mask, struct event_pii **ret);
void event_pii_destroy(struct event_pii *pii);
/* The path of a member that every event needs and a tag covers, so that it cannot be dropped; NULL: none. */
const char *event_pii_needed(const struct event_pii *pii);

/* One view; everything is valid until the viewer's next one. */
struct event_view {
    struct aw_str json;    /* canonical, without integrity */
    struct aw_str claim;   /* the JSON of integrity.view */
    uint32_t integrity_at; /* as in struct prepared */
    uint32_t field_count;
    struct field_ref fields[EVENT_MAX_FIELDS];
};

struct event_viewer; /* buffers, used again: nothing is allocated once they are warm. One thread at a time. */
/* key NULL: tagged members are dropped. Both are borrowed. 0, -ENOMEM, -EIO (the crypto library refuses). */
int event_viewer_create(const struct event_pii *pii, const struct pseudonym_key *key, struct event_viewer **ret);
void event_viewer_destroy(struct event_viewer *viewer);
/* json: canonical, without integrity. 0; -ENOMEM, -EIO: try again; -EFBIG: the view would be larger than an event may
 * be; -EBADMSG: not an event. */
int event_view_make(struct event_viewer *viewer, const char *json, size_t len, struct event_view *ret);

/* ---- looking at views (view_check.c) ---- */

struct view_difference {
    struct aw_str path;            /* "actor.ip" */
    struct aw_str expected, found; /* JSON text; len 0: absent */
    const char *message;           /* static */
};
typedef void (*view_difference_fn)(void *arg, const struct view_difference *difference);
struct view_check {
    const struct pseudonym_key *keys;
    size_t key_count;
    struct hash_sha256 *sha; /* with keys */
    view_difference_fn on_difference;
    void *arg;
    uint64_t by_form; /* pseudonyms that no key could be asked about: added to */
};
/* Does a stored view look like what its integrity.view says, and, with full, does it agree with that event in all the
 * rest, integrity included? AW_SUCCESS when both could be read; AW_ERR_* with a problem. Uses the thread's work space,
 * as event_parse_stored() does. */
int event_view_check(struct view_check *check, struct aw_str view, const struct aw_str *full);

#endif
