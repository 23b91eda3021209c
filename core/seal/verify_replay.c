/* verify_replay.c - dead letters that were given to their sink late: events out of place that sealed records name.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Before a replay writes anything a record "auditwell.replay" is sealed and delivered (event/replay_event.h). Such a
 * record comes after the place that the event left, so the trail is read twice, if the first reading has findings and
 * met records: the first reading gathers what they name, the second one knows it. There
 *
 *   - an event may follow one that is named and not there (yet): that one is claimed, and the chain's head until then
 *     is an open end, which a named event may follow later;
 *   - an event may stand out of place if a sound record before it, itself in its place, names its hash and seq, if it
 *     is there once, and follows an open end or another named event.
 *
 * Whatever was claimed and does not come is a hole. So what a record permits is the place of one event in the store;
 * its content, its place in its chain and that it is there are shown as for any other.
 */
#include "config.h"

#include "base/diag.h"
#include "event/replay_event.h"
#include "seal/verify_impl.h"

#include <stdio.h>

#define FIRST_SLOTS 256u
#define NAMED_MAX ((size_t)1 << 20) /* beyond that events are no longer excused: findings get more, never fewer */
#define SINKS_MAX 32u

struct named {
    uint8_t hash[VERIFY_HASH];
    uint64_t seq;
    uint32_t sinks;  /* second reading: bit of each sink for which a sound record has named it so far */
    uint32_t scope;  /* index + 1 of the scope that it or its successor was found in; 0 = neither yet */
    bool claimed;    /* an event follows it */
    bool present;    /* it is in the trail, in its place or as a replay */
    char *successor; /* where that event stands, while the named one is not there */
};
/* The head of a chain when the event behind it was missing. */
struct open_end {
    uint8_t hash[VERIFY_HASH];
    uint32_t scope; /* index + 1 */
    bool taken;
};
struct verify_replays {
    struct named *named;
    uint32_t *slots; /* index + 1 */
    size_t count, capacity, mask;
    struct open_end *ends;
    uint32_t *end_slots;
    size_t end_count, end_capacity, end_mask;
    char *sinks[SINKS_MAX];
    uint32_t sink_count;
    uint32_t possible; /* the sinks whose store this can be, after what was accepted */
    uint64_t accepted;
    bool second; /* reading */
};

struct verify_replays *verify_replays_create(void)
{
    struct verify_replays *r = calloc(1, sizeof *r);
    if (r)
        r->possible = UINT32_MAX;
    return r;
}

void verify_replays_destroy(struct verify_replays *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->named[i].successor);
    for (uint32_t i = 0; i < r->sink_count; i++)
        free(r->sinks[i]);
    free(r->named);
    free(r->slots);
    free(r->ends);
    free(r->end_slots);
    free(r);
}

/* ---- two tables ---- */

/* Makes room in an array with a hash index of twice its size. 0 or -ENOMEM. */
static int grow(void *array, size_t element, size_t *capacity, uint32_t **slots, size_t *mask)
{
    size_t more = *capacity ? *capacity * 2 : FIRST_SLOTS / 2;
    void *now, *bigger;
    memcpy(&now, array, sizeof now);
    bigger = realloc(now, more * element);
    if (!bigger)
        return -ENOMEM;
    memcpy(array, &bigger, sizeof bigger);
    uint32_t *fresh = calloc(2 * more, sizeof *fresh);
    if (!fresh)
        return -ENOMEM;
    free(*slots);
    *slots = fresh;
    *mask = 2 * more - 1;
    *capacity = more;
    return 0;
}

/* The slot of the hash, or the free one where it belongs. The array's elements begin with their hash. */
static size_t slot_of(const struct verifier *v, const uint32_t *slots, size_t mask, const void *array, size_t element,
                      const uint8_t *hash)
{
    size_t i = (size_t)verify_fingerprint(v->seen_key, hash) & mask;
    while (slots[i] != 0 && !verify_same((const uint8_t *)array + (slots[i] - 1) * element, hash))
        i = (i + 1) & mask;
    return i;
}

static struct named *find_named(const struct verifier *v, const uint8_t *hash)
{
    const struct verify_replays *r = v->replays;
    if (r->count == 0)
        return NULL;
    uint32_t at = r->slots[slot_of(v, r->slots, r->mask, r->named, sizeof *r->named, hash)];
    return at ? &r->named[at - 1] : NULL;
}

/* The first one counts: two records that give an event different seqs cannot both be honest. */
static int add_named(struct verifier *v, const struct replay_event_item *item)
{
    struct verify_replays *r = v->replays;
    if (r->count == NAMED_MAX || find_named(v, item->hash))
        return 0;
    if (r->count == r->capacity) {
        if (grow(&r->named, sizeof *r->named, &r->capacity, &r->slots, &r->mask) != 0)
            return -ENOMEM;
        for (size_t i = 0; i < r->count; i++)
            r->slots[slot_of(v, r->slots, r->mask, r->named, sizeof *r->named, r->named[i].hash)] = (uint32_t)i + 1;
    }
    struct named *n = &r->named[r->count++];
    *n = (struct named){.seq = item->seq};
    memcpy(n->hash, item->hash, VERIFY_HASH);
    r->slots[slot_of(v, r->slots, r->mask, r->named, sizeof *r->named, item->hash)] = (uint32_t)r->count;
    return 0;
}

static struct open_end *find_end(const struct verifier *v, const uint8_t *hash)
{
    const struct verify_replays *r = v->replays;
    if (r->end_count == 0)
        return NULL;
    uint32_t at = r->end_slots[slot_of(v, r->end_slots, r->end_mask, r->ends, sizeof *r->ends, hash)];
    return at ? &r->ends[at - 1] : NULL;
}

static int add_end(struct verifier *v, const struct verify_scope *s)
{
    struct verify_replays *r = v->replays;
    if (find_end(v, s->head))
        return 0;
    if (r->end_count == r->end_capacity) {
        if (grow(&r->ends, sizeof *r->ends, &r->end_capacity, &r->end_slots, &r->end_mask) != 0)
            return -ENOMEM;
        for (size_t i = 0; i < r->end_count; i++)
            r->end_slots[slot_of(v, r->end_slots, r->end_mask, r->ends, sizeof *r->ends, r->ends[i].hash)] =
                (uint32_t)i + 1;
    }
    struct open_end *e = &r->ends[r->end_count++];
    *e = (struct open_end){.scope = s->index + 1};
    memcpy(e->hash, s->head, VERIFY_HASH);
    r->end_slots[slot_of(v, r->end_slots, r->end_mask, r->ends, sizeof *r->ends, s->head)] = (uint32_t)r->end_count;
    return 0;
}

/* ---- records ---- */

/* The bit of a sink; 0: it is not the one whose store this is, or there are too many. */
static uint32_t sink_bit(struct verifier *v, const char *name)
{
    struct verify_replays *r = v->replays;
    if (v->options.sink && strcmp(v->options.sink, name) != 0)
        return 0;
    for (uint32_t i = 0; i < r->sink_count; i++)
        if (strcmp(r->sinks[i], name) == 0)
            return (uint32_t)1 << i;
    if (r->sink_count == SINKS_MAX)
        return 0;
    r->sinks[r->sink_count] = strdup(name);
    if (!r->sinks[r->sink_count]) {
        verify_nomem(v);
        return 0;
    }
    return (uint32_t)1 << r->sink_count++;
}

void verify_replay_record(struct verifier *v, struct aw_str json, bool in_place)
{
    struct replay_event_item items[REPLAY_EVENT_MAX];
    struct verify_replays *r = v->replays;
    AW_AUTOFREE char *sink = NULL;
    size_t count = 0;
    if (r->second && !in_place)
        return; /* itself out of place: it permits nothing */
    int rc = replay_event_read(json, items, &count, &sink);
    uint32_t bit = rc == 0 ? sink_bit(v, sink) : 0;
    if (rc == -ENOMEM)
        verify_nomem(v);
    if (bit == 0)
        return;
    for (size_t i = 0; i < count && v->failed == 0; i++) {
        struct named *n = r->second ? find_named(v, items[i].hash) : NULL;
        if (!r->second && add_named(v, &items[i]) != 0)
            verify_nomem(v);
        if (n && n->seq == items[i].seq)
            n->sinks |= bit;
    }
}

/* ---- rows of the second reading ---- */

static struct named *claimable(const struct verifier *v, const struct verify_scope *s, const struct verify_row *row)
{
    struct named *p = row->has_prev ? find_named(v, row->prev) : NULL;
    return p && !p->claimed && (p->scope == 0 || p->scope == s->index + 1) ? p : NULL;
}

static void claim(struct verifier *v, const struct verify_scope *s, struct named *p, const char *location)
{
    p->claimed = true;
    p->scope = s->index + 1;
    if (p->present)
        return;
    p->successor = strdup(location);
    if (!p->successor)
        verify_nomem(v);
}

static void arrived(struct named *n, const struct verify_scope *s)
{
    n->present = true;
    n->scope = s->index + 1;
    base_free_p(&n->successor);
}

void verify_replay_fits(struct verifier *v, const struct verify_scope *s, const struct verify_row *row)
{
    if (!v->replays->second)
        return;
    struct named *p = row->has_prev ? find_named(v, row->prev) : NULL, *n = find_named(v, row->hash);
    struct open_end *end = row->has_prev ? find_end(v, row->prev) : NULL;
    if (p)
        p->claimed = true; /* it was the head, so it is there, or the trail begins behind it */
    if (end)
        end->taken = true;
    if (n && !n->present)
        arrived(n, s);
}

bool verify_replay_skips(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                         const struct verify_row *row)
{
    struct named *p = v->replays->second && row->seq > s->head_seq && s->head_seq > 0 ? claimable(v, s, row) : NULL;
    if (!p)
        return false;
    claim(v, s, p, verify_location(batch, row));
    if (add_end(v, s) != 0)
        verify_nomem(v);
    struct named *n = find_named(v, row->hash);
    if (n && !n->present)
        arrived(n, s);
    return true;
}

/* May this named event stand here? What it follows is used up by it. */
static bool follows(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                    const struct verify_row *row)
{
    if (!row->has_prev) {
        bool first = !s->origin;
        s->origin = true;
        return first;
    }
    struct open_end *end = find_end(v, row->prev);
    struct named *p = claimable(v, s, row);
    if (end && !end->taken && end->scope == s->index + 1) {
        end->taken = true;
        if (p)
            p->claimed = true;
        return true;
    }
    if (p) {
        claim(v, s, p, verify_location(batch, row));
        return true;
    }
    /* What it follows was there before the trail's begin; what is known here has another successor. */
    return !end && !find_named(v, row->prev) && !s->origin && row->seq < s->first_seq;
}

bool verify_replay_late(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row)
{
    struct verify_replays *r = v->replays;
    struct named *n = r->second ? find_named(v, row->hash) : NULL;
    if (!n || n->present || n->seq != row->seq || row->seq >= s->head_seq || (n->sinks & r->possible) == 0 ||
        (n->scope != 0 && n->scope != s->index + 1) || !follows(v, s, batch, row))
        return false;
    r->possible &= n->sinks;
    r->accepted++;
    arrived(n, s);
    return true;
}

/* ---- the two readings, and the end ---- */

bool verify_replay_wants_second(const struct verifier *v)
{
    return !v->replays->second && v->replays->count > 0 && v->findings > 0;
}

void verify_replay_begin_second(struct verifier *v, struct verify_replays *gathered)
{
    verify_replays_destroy(v->replays);
    v->replays = gathered;
    gathered->second = true;
    /* The index was built with the key of the first reading. */
    if (gathered->count > 0)
        memset(gathered->slots, 0, (gathered->mask + 1) * sizeof *gathered->slots);
    for (size_t i = 0; i < gathered->count; i++)
        gathered->slots[slot_of(v, gathered->slots, gathered->mask, gathered->named, sizeof *gathered->named,
                                gathered->named[i].hash)] = (uint32_t)i + 1;
}

void verify_replay_finish(struct verifier *v)
{
    const struct verify_replays *r = v->replays;
    for (size_t i = 0; i < r->count && v->failed == 0; i++) {
        const struct named *n = &r->named[i];
        char hex[VERIFY_HEX + 1];
        if (!n->successor || n->present)
            continue;
        hash_hex(n->hash, VERIFY_HASH, hex);
        hex[VERIFY_HEX] = '\0';
        verify_find(v, AW_FINDING_HOLE, v->scopes.list[n->scope - 1], n->successor, (struct aw_str){"", 0}, hex, NULL,
                    "the event before this one is missing: a dead letter, seq %llu, of which a record says that it was "
                    "to be replayed, but no replay of it stands behind that record",
                    (unsigned long long)n->seq);
    }
}

uint64_t verify_replay_accepted(const struct verifier *v, char *ret_sink, size_t size)
{
    const struct verify_replays *r = v->replays;
    *ret_sink = '\0';
    for (uint32_t i = 0; i < r->sink_count && r->accepted > 0; i++)
        if (r->possible & (uint32_t)1 << i)
            snprintf(ret_sink, size, "%s", r->sinks[i]);
    return r->accepted;
}

void verify_replay_warn(const struct verifier *v)
{
    char sink[72];
    uint64_t n = verify_replay_accepted(v, sink, sizeof sink);
    if (n > 0 && !v->options.sink)
        diag_problem(
            0, "",
            "%llu replayed dead letters of sink \"%s\" stand behind later events: whether this is the store of "
            "that sink was not checked, since no sink was named",
            (unsigned long long)n, sink);
}
