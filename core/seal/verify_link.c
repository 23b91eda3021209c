/* verify_link.c - does each event follow its predecessor? Per scope, in stored order.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Soundness rests on one rule: a sealed row is accepted silently only when its content holds and it follows its scope's
 * head, or begins its scope. Every other way through this file makes a finding, or needs an earlier finding of the same
 * scope to be reached. All the rest is about saying what happened in few words.
 */
#include "config.h"

#include "base/diag.h"
#include "seal/verify_impl.h"

#include <stdio.h>

/* ---- linking one row ---- */

enum link_result {
    LINK_FITS,     /* follows the head or begins the chain */
    LINK_LATE,     /* a replayed dead letter, behind its place as a sealed record says */
    LINK_SIDEWAYS, /* belongs to an earlier finding, or is a break that has been reported */
    LINK_REPEATED, /* the same event is in the trail already */
    LINK_FOREIGN,  /* follows an event of another scope */
};

static struct verify_scope *foreign_owner(struct verifier *v, const struct verify_scope *s,
                                          const struct verify_row *row, uint64_t *ret_after)
{
    const struct verify_seen_entry *e = verify_seen_find(&v->seen, verify_fingerprint(v->seen_key, row->prev));
    *ret_after = 0;
    if (!e)
        return NULL;
    *ret_after = row->ordinal - (uint32_t)((uint32_t)row->ordinal - e->ordinal);
    return e->scope != s->index ? v->scopes.list[e->scope] : NULL;
}

static enum link_result link_first(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                                   const struct verify_row *row, struct verify_scope **ret_owner)
{
    uint64_t after;
    s->origin = !row->has_prev;
    memcpy(s->first_hash, row->hash, VERIFY_HASH);
    memcpy(s->first_prev, row->prev, VERIFY_HASH);
    s->first_seq = row->seq;
    verify_set_head(v, s, batch, row);
    if (!row->has_prev)
        return LINK_FITS;
    *ret_owner = foreign_owner(v, s, row, &after);
    return *ret_owner ? LINK_FOREIGN : LINK_FITS;
}

/* The row follows neither head nor any branch. faulty: it has its finding already. */
static enum link_result link_break(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                                   const struct verify_row *row, bool faulty, struct verify_scope **ret_owner)
{
    struct verify_trouble *t = verify_trouble_get(v, s);
    uint64_t after = 0;
    if (!t)
        return LINK_SIDEWAYS;
    *ret_owner = row->has_prev ? foreign_owner(v, s, row, &after) : NULL;
    if (*ret_owner) {
        verify_side_add(t, row->hash, -1, 0);
        return LINK_FOREIGN;
    }
    if (faulty) {
        /* Whether it was moved or its prevHash was changed: the chain may go on from it or from where it was. */
        verify_side_add(t, s->head, t->head_break, t->head_branch);
        t->head_break = -1;
        verify_set_head(v, s, batch, row);
        return LINK_SIDEWAYS;
    }
    verify_break_open(v, s, batch, row,
                      !row->has_prev ? VERIFY_BREAK_ORIGIN
                      : after        ? VERIFY_BREAK_FORK
                                     : VERIFY_BREAK_GAP,
                      after);
    return LINK_SIDEWAYS;
}

/* The chain of this scope has been broken before, or is being broken by this row. */
static enum link_result link_hard(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                                  const struct verify_row *row, bool faulty, struct verify_scope **ret_owner)
{
    struct verify_trouble *t = s->trouble;
    if (!faulty && verify_replay_late(v, s, batch, row))
        return LINK_LATE;
    if (!faulty && verify_replay_skips(v, s, batch, row)) {
        verify_branch_grew(v, s, batch, row);
        verify_set_head(v, s, batch, row);
        return LINK_FITS;
    }
    int gap = t ? verify_gap_waiting_for(t, row->hash) : -1;
    if (gap >= 0) {
        verify_gap_fill(v, s, batch, row, gap);
        return LINK_SIDEWAYS;
    }
    if (t && verify_early_joined(v, s, row))
        return LINK_SIDEWAYS;
    if (row->has_prev && verify_same(row->prev, s->head)) {
        verify_branch_grew(v, s, batch, row);
        verify_set_head(v, s, batch, row);
        return LINK_FITS;
    }
    const struct verify_seen_entry *twin = verify_seen_find(&v->seen, row->fingerprint);
    if (twin && twin->scope == s->index) {
        if (!faulty)
            verify_find(v, AW_FINDING_DUPLICATE, s, verify_location(batch, row), row->id, NULL, NULL,
                        "the same event is in the trail already: number %llu",
                        (unsigned long long)(row->ordinal - (uint32_t)((uint32_t)row->ordinal - twin->ordinal)));
        return LINK_REPEATED;
    }
    if (!s->origin && verify_same(row->hash, s->first_prev)) {
        if (!faulty)
            verify_find(v, AW_FINDING_REORDERED, s, verify_location(batch, row), row->id, NULL, NULL,
                        "this event stands behind the one that follows it, which is at %s", s->first_location);
        s->origin = !row->has_prev;
        memcpy(s->first_prev, row->prev, VERIFY_HASH);
        return LINK_SIDEWAYS;
    }
    int side = t && row->has_prev ? verify_side_find(t, row->prev) : -1;
    if (side >= 0) {
        struct verify_side was = t->sides[side];
        memcpy(t->sides[side].tail, s->head, VERIFY_HASH);
        t->sides[side].brk = t->head_break;
        t->sides[side].branch = t->head_branch;
        t->head_break = was.brk;
        t->head_branch = was.branch;
        verify_branch_grew(v, s, batch, row);
        verify_set_head(v, s, batch, row);
        return LINK_SIDEWAYS;
    }
    return link_break(v, s, batch, row, faulty, ret_owner);
}

/* ---- what else is said about a row ---- */

/* The row's content or integrity member is wrong, or it follows another scope's event, or both: one finding. */
static void find_faults(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row, const struct verify_scope *owner)
{
    char carried[VERIFY_HEX + 1], computed[VERIFY_HEX + 1];
    const char *location = verify_location(batch, row);
    hash_hex(row->hash, VERIFY_HASH, carried);
    hash_hex(row->computed, VERIFY_HASH, computed);
    carried[VERIFY_HEX] = computed[VERIFY_HEX] = '\0';
    if (owner)
        verify_find(v, AW_FINDING_FOREIGN, s, location, row->id, owner->name, s->name,
                    row->edited
                        ? "prevHash belongs to the chain of %s, and the content does not have the hash it carries: the "
                          "event was changed and moved here"
                        : "prevHash belongs to the chain of %s: the event was moved here, or inserted",
                    owner->name);
    else if (row->why)
        verify_find(v, AW_FINDING_MALFORMED, s, location, row->id, row->edited && row->chainable ? carried : NULL,
                    row->edited && row->chainable ? computed : NULL, "%s", row->why);
    else
        verify_find(v, AW_FINDING_EDITED, s, location, row->id, carried, computed,
                    "the content does not have the hash it carries: it was changed after it was sealed");
}

static void check_seq(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                      const struct verify_row *row, bool faulty, bool late, uint64_t before)
{
    char expected[48], found[24];
    const char *location = verify_location(batch, row);
    uint64_t seq = row->seq ? row->seq : row->store_seq;
    if (AW_UNLIKELY(row->seq != 0 && row->store_seq != 0 && row->seq != row->store_seq && !faulty)) {
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)row->seq);
        snprintf(found, sizeof found, "%llu", (unsigned long long)row->store_seq);
        verify_find(v, AW_FINDING_EDITED, s, location, row->id, expected, found,
                    "the store's number of this row is not the seq in its integrity member");
        faulty = true;
    }
    bool mixed = row->seq ? s->sealed > 1 && !s->with_seq : s->with_seq || v->sealed_with_seq > 0;
    if (mixed && !faulty) {
        verify_find(v, AW_FINDING_MALFORMED, s, location, row->id, NULL, NULL,
                    row->seq ? "integrity.seq appears in a chain whose earlier events have none"
                             : "integrity.seq is missing, though other events of the trail have one");
        faulty = true;
    }
    s->with_seq |= row->seq != 0;
    v->sealed_with_seq += row->seq != 0;
    if (seq == 0)
        return;
    v->first_seq = v->first_seq == 0 || seq < v->first_seq ? seq : v->first_seq;
    v->last_seq = seq > v->last_seq ? seq : v->last_seq;
    if (row->seq == 0)
        return;
    struct verify_stream *stream = v->options.flags & AW_VERIFY_PARTIAL ? NULL : verify_stream_get(v, row->stream);
    /* A replayed event of before the trail's begin does not make that begin earlier. */
    bool outside = stream && late && !(v->options.flags & AW_VERIFY_COMPLETE) && row->seq < stream->seqs.low;
    bool below = stream && !outside && !verify_retention_row(s, stream, row);
    bool fresh = !stream || outside || below || verify_seqs_add(&stream->seqs, row->seq);
    if (faulty)
        return;
    if (!fresh) {
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)row->seq);
        verify_find(v, AW_FINDING_EDITED, s, location, row->id, "a seq of its own", expected,
                    "integrity.seq is that of another event, too: one of them was changed");
    } else if (before != 0 && row->seq <= before) {
        snprintf(found, sizeof found, "%llu", (unsigned long long)row->seq);
        snprintf(expected, sizeof expected, "more than %llu", (unsigned long long)before);
        verify_find(v, AW_FINDING_EDITED, s, location, row->id, expected, found,
                    "integrity.seq does not rise along the chain: it was changed");
    }
}

static void check_expected(struct verifier *v, struct verify_scope *s, const struct verify_row *row)
{
    for (size_t i = 0; i < v->expected_count; i++) {
        struct verify_expected *e = &v->expected[i];
        if (e->scope == s && verify_same(e->hash, row->hash)) {
            e->found = true;
            e->at = s->count;
        }
    }
}

/* A trail is one of full events or one of views, as its first sealed event is: else any event could be edited and
 * called a view. With AW_VERIFY_VIEWS each chain may change once. */
static void check_views(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row)
{
    bool may_change = (v->options.flags & AW_VERIFY_VIEWS) != 0, was = may_change ? s->in_views : v->in_views;
    v->views += row->view;
    s->views += row->view;
    v->by_reference += row->by_reference;
    s->by_reference += row->by_reference;
    v->view_fields += row->view_fields;
    s->view_fields += row->view_fields;
    if (v->sealed == 1)
        v->in_views = row->view;
    if (v->sealed == 1 || (may_change && s->sealed == 1)) {
        s->in_views = row->view;
        return;
    }
    if (AW_LIKELY(row->view == was))
        return;
    if (may_change && !s->switched) {
        s->switched = true;
        s->in_views = row->view;
        return;
    }
    verify_find(v, AW_FINDING_VIEW, s, verify_location(batch, row), row->id, was ? "a view" : "a full event",
                row->view ? "a view" : "a full event",
                row->view ? "the event says that it is a view, so that its content cannot be verified, but it stands "
                            "among full events: it was edited, or the sink's pii was changed (then verify with --views)"
                          : "the event is no view, but stands among views: it was put there, or the sink's pii was "
                            "changed (then verify with --views)");
}

static void link_sealed(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row)
{
    bool faulty = row->edited || row->why != NULL;
    struct verify_scope *owner = NULL;
    uint64_t before = s->head_seq;
    enum link_result result;
    v->sealed++;
    s->sealed++;
    v->with_signature += row->has_signature;
    check_views(v, s, batch, row);
    verify_stream_check(v, s, batch, row);
    if (s->sealed == 1) {
        result = link_first(v, s, batch, row, &owner);
    } else if (AW_LIKELY(!s->trouble && row->has_prev && verify_same(row->prev, s->head))) {
        verify_set_head(v, s, batch, row);
        result = LINK_FITS;
    } else {
        result = link_hard(v, s, batch, row, faulty, &owner);
    }
    if (faulty || result == LINK_FOREIGN)
        find_faults(v, s, batch, row, owner);
    if (row->edited && result != LINK_REPEATED) {
        /* Whoever changed only the hash text left the successors linked to the true one. */
        struct verify_trouble *t = verify_trouble_get(v, s);
        if (t)
            verify_side_add(t, row->computed, -1, 0);
        if (owner && verify_same(owner->head, row->prev))
            memcpy(owner->head, row->hash, VERIFY_HASH); /* moved from there unhashed: that chain goes on from it */
    }
    if (result == LINK_REPEATED)
        return;
    if (result == LINK_FITS)
        verify_replay_fits(v, s, row);
    check_seq(v, s, batch, row, faulty, result == LINK_LATE, result == LINK_FITS ? before : 0);
    if (AW_UNLIKELY(row->replay_record) && !faulty)
        verify_replay_record(v, (struct aw_str){batch->bytes + row->json_at, row->json_len}, result == LINK_FITS);
    if (AW_UNLIKELY(row->retention_record) && !faulty)
        verify_retention_record(v, batch, row, result == LINK_FITS);
    if (s->expecting && !faulty)
        check_expected(v, s, row);
    verify_seen_add(&v->seen, row->fingerprint, s->index, row->ordinal);
}

/* A row without a seq of its own still fills its place when the store knows it. */
static void use_store_seq(struct verifier *v, const struct verify_row *row)
{
    struct verify_streams *s = &v->streams;
    /* whose it was is not known: the one of its neighbour, most likely */
    if (row->store_seq != 0 && s->count > 0 && row->store_seq >= s->list[s->last]->floor_seq)
        (void)verify_seqs_add(&s->list[s->last]->seqs, row->store_seq); /* a repetition says nothing about this row */
}

static void link_unsealed(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                          const struct verify_row *row)
{
    if (v->sealed == 0) {
        if (v->unsealed_before++ == 0) {
            v->unsealed_location = strdup(verify_location(batch, row));
            if (!v->unsealed_location)
                verify_nomem(v);
        }
        return;
    }
    verify_remember_last(v, s, batch, row);
    verify_find(v, AW_FINDING_UNSEALED, s, verify_location(batch, row), row->id, NULL, NULL,
                "the event has no integrity member, though the trail is sealed");
    uint8_t hash[VERIFY_HASH];
    use_store_seq(v, row);
    if (s->sealed == 0 || !verify_check_as_successor(&v->checker, batch, row, s->head, hash))
        return;
    struct verify_trouble *t =
        verify_trouble_get(v, s); /* if only the member was taken off, the chain goes on from here */
    if (t)
        verify_side_add(t, hash, -1, 0);
}

static void link_row(struct verifier *v, const struct verify_batch *batch, const struct verify_row *row)
{
    if (row->state == VERIFY_MALFORMED) {
        v->malformed++;
        v->last_malformed = row->ordinal;
        verify_find(v, AW_FINDING_MALFORMED, NULL, verify_location(batch, row), (struct aw_str){"", 0}, NULL, NULL,
                    "not an event: %s", row->why);
        use_store_seq(v, row);
        return;
    }
    if (row->state != VERIFY_SEALED && row->state != VERIFY_UNSEALED) {
        v->failed = diag_problem(AW_ERR_NOMEM, "", "out of memory, or the crypto library failed");
        return;
    }
    struct verify_scope *s = verify_scope_get(v, row);
    if (!s) {
        verify_nomem(v);
        return;
    }
    if (s->count++ == 0) {
        s->first_location = strdup(verify_location(batch, row));
        if (!s->first_location)
            verify_nomem(v);
        verify_copy_time(s->first_time, row->time);
    }
    if (row->state == VERIFY_UNSEALED)
        link_unsealed(v, s, batch, row);
    else
        link_sealed(v, s, batch, row);
}

int verify_link_batch(struct verifier *v, struct verify_batch *batch)
{
    for (size_t i = 0; i < batch->count && v->failed == 0; i++)
        link_row(v, batch, &batch->rows[i]);
    verify_flush(v, false);
    return v->failed;
}
