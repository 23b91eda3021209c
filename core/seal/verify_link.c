/* verify_link.c - does each event follow its predecessor? Per scope, in stored order. SPDX-License-Identifier: Apache-2.0
 *
 * Soundness rests on one rule: a sealed row is accepted silently only when its content holds and it follows its scope's head, or
 * begins its scope. Every other way through this file makes a finding, or needs an earlier finding of the same scope to be
 * reached. All the rest is about saying what happened in few words.
 */
#include "config.h"

#include "base/diag.h"
#include "seal/verify_impl.h"

#include <stdio.h>

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, VERIFY_HASH) == 0;
}

static void fail_nomem(struct verifier *v)
{
    v->failed = diag_problem(AW_ERR_NOMEM, "", "out of memory while verifying");
}

/* ---- scopes ------------------------------------------------------------------------------------------------------- */

static bool scopes_grow(struct verify_scopes *scopes)
{
    size_t size = scopes->slots ? (scopes->mask + 1) * 2 : 256;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < scopes->count; i++) {
        size_t at = (size_t)scopes->list[i]->key.lo & (size - 1);
        while (slots[at] != 0)
            at = (at + 1) & (size - 1);
        slots[at] = (uint32_t)i + 1;
    }
    free(scopes->slots);
    scopes->slots = slots;
    scopes->mask = size - 1;
    return true;
}

static struct verify_scope *scope_make(struct verifier *v, const struct verify_row *row)
{
    struct verify_scopes *scopes = &v->scopes;
    if (scopes->count == scopes->size) {
        size_t size = scopes->size ? scopes->size * 2 : 128;
        struct verify_scope **list = size <= UINT32_MAX ? realloc(scopes->list, size * sizeof(struct verify_scope *)) : NULL;
        if (!list)
            return NULL;
        scopes->list = list;
        scopes->size = size;
    }
    struct verify_scope *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->name = verify_printable(base_str(row->scope_is_tenant ? "tenant:" : "service:"), row->scope);
    if (!s->name) {
        free(s);
        return NULL;
    }
    s->key = row->scope_key;
    s->index = (uint32_t)scopes->count;
    for (size_t i = 0; i < v->expected_count; i++) {
        struct verify_expected *e = &v->expected[i];
        if (e->key.lo == s->key.lo && e->key.hi == s->key.hi)
            e->seen_scope = s->expecting = true;
    }
    scopes->list[scopes->count++] = s;
    return s;
}

static struct verify_scope *scope_get(struct verifier *v, const struct verify_row *row)
{
    struct verify_scopes *scopes = &v->scopes;
    if (!scopes->slots || scopes->count >= (scopes->mask + 1) / 2) {
        if (!scopes_grow(scopes))
            return NULL;
    }
    size_t at = (size_t)row->scope_key.lo & scopes->mask;
    for (; scopes->slots[at] != 0; at = (at + 1) & scopes->mask) {
        struct verify_scope *s = scopes->list[scopes->slots[at] - 1];
        if (s->key.lo == row->scope_key.lo && s->key.hi == row->scope_key.hi)
            return s;
    }
    struct verify_scope *s = scope_make(v, row);
    if (s)
        scopes->slots[at] = s->index + 1;
    return s;
}

void verify_scopes_clear(struct verify_scopes *scopes)
{
    for (size_t i = 0; i < scopes->count; i++) {
        struct verify_scope *s = scopes->list[i];
        for (int b = 0; s->trouble && b < VERIFY_BREAKS; b++) {
            free(s->trouble->breaks[b].before);
            free(s->trouble->breaks[b].extra);
        }
        free(s->trouble);
        free(s->name);
        free(s->first_location);
        free(s->last_location);
        free(s);
    }
    free(scopes->list);
    free(scopes->slots);
    memset(scopes, 0, sizeof *scopes);
}

static void copy_time(char out[VERIFY_TIME], struct aw_str time)
{
    size_t len = time.len < VERIFY_TIME ? time.len : VERIFY_TIME - 1;
    for (size_t i = 0; i < len; i++)
        out[i] = time.ptr[i] >= ' ' && time.ptr[i] < 0x7f ? time.ptr[i] : '?';
    out[len] = '\0';
}

/* The row is the newest of its chain now. */
static void remember_last(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                          const struct verify_row *row)
{
    const char *location = verify_location(batch, row);
    size_t size = strlen(location) + 1;
    if (size > s->last_size) {
        size_t room = (size + 15) & ~(size_t)15;
        char *bigger = realloc(s->last_location, room);
        if (!bigger || room > UINT32_MAX) {
            free(bigger);
            s->last_location = NULL;
            s->last_size = 0;
            fail_nomem(v);
            return;
        }
        s->last_location = bigger;
        s->last_size = (uint32_t)room;
    }
    memcpy(s->last_location, location, size);
    copy_time(s->last_time, row->time);
    s->last_ordinal = row->ordinal;
}

static void set_head(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                     const struct verify_row *row)
{
    memcpy(s->head, row->hash, VERIFY_HASH);
    s->head_seq = row->seq;
    if (row->seq != 0)
        s->last_seq = row->seq;
    remember_last(v, s, batch, row);
}

/* ---- branches and breaks ------------------------------------------------------------------------------------------- */

static struct verify_trouble *trouble_get(struct verifier *v, struct verify_scope *s)
{
    if (!s->trouble) {
        s->trouble = calloc(1, sizeof *s->trouble);
        if (s->trouble)
            s->trouble->head_break = -1;
        else
            fail_nomem(v);
    }
    return s->trouble;
}

static void side_remove(struct verify_trouble *t, int i)
{
    t->side_count--;
    memmove(&t->sides[i], &t->sides[i + 1], (size_t)(t->side_count - i) * sizeof t->sides[0]);
}

/* With all places taken the oldest one goes: a row that follows it later is a break of its own. */
static void side_add(struct verify_trouble *t, const uint8_t *tail, int brk, unsigned branch)
{
    if (t->side_count == VERIFY_SIDES)
        side_remove(t, 0);
    struct verify_side *side = &t->sides[t->side_count++];
    memcpy(side->tail, tail, VERIFY_HASH);
    side->brk = (int8_t)brk;
    side->branch = (uint8_t)branch;
}

static int side_find(const struct verify_trouble *t, const uint8_t *tail)
{
    for (int i = t->side_count - 1; i >= 0; i--)
        if (same(t->sides[i].tail, tail))
            return i;
    return -1;
}

static int side_of(const struct verify_trouble *t, int brk, unsigned branch)
{
    for (int i = 0; i < t->side_count; i++)
        if (t->sides[i].brk == brk && t->sides[i].branch == branch)
            return i;
    return -1;
}

static void break_close(struct verify_trouble *t, int brk)
{
    for (int i = 0; i < t->side_count; i++)
        if (t->sides[i].brk == brk)
            t->sides[i].brk = -1;
    if (t->head_break == brk)
        t->head_break = -1;
    struct verify_break *b = &t->breaks[brk];
    free(b->before);
    free(b->extra);
    memset(b, 0, sizeof *b);
}

static void decide_gap(struct verifier *v, struct verify_scope *s, const struct verify_break *b)
{
    struct aw_str none = {"", 0};
    if (b->grown[1] == 0 && b->grown[0] > 0 && b->moved == 0) {
        verify_settle(v, b->finding, AW_FINDING_INSERTED,
                      "no chain leads to this event: its prevHash names an event that is not in the trail, and the chain goes "
                      "on without it");
        return;
    }
    verify_settle(v, b->finding, AW_FINDING_HOLE,
                  "at least one event is missing between %s and this one: prevHash names an event that is not in the trail%s",
                  b->before, b->damaged ? "; a damaged row between them may be it" : "");
    if (b->moved > 0)
        verify_find(v, AW_FINDING_REORDERED, s, b->extra, none, NULL, NULL,
                    "this event stands behind the one that follows it");
    else if (b->grown[0] > 0)
        verify_find(v, AW_FINDING_INSERTED, s, b->extra, none, NULL, NULL,
                    "this event follows the same predecessor as the missing ones, but nothing leads from it to the rest of the "
                    "chain");
}

static void decide_fork(struct verifier *v, const struct verify_break *b)
{
    if (b->grown[0] == 0 && b->grown[1] > 0 && b->finding) {
        char *went_on = b->finding->location;
        char *before = strdup(b->before);
        if (!before) {
            fail_nomem(v);
            return;
        }
        b->finding->location = before;
        b->finding->id[0] = '\0';
        verify_settle(v, b->finding, AW_FINDING_INSERTED,
                      "nothing leads on from this event: the chain goes on at %s from event number %llu of the trail, and what "
                      "stands between the two belongs to no chain",
                      went_on, (unsigned long long)b->after);
        free(went_on);
        return;
    }
    verify_settle(v, b->finding, AW_FINDING_INSERTED,
                  "the event that it follows, number %llu of the trail, has a successor already: the chain forks here",
                  (unsigned long long)b->after);
}

void verify_break_decide(struct verifier *v, struct verify_scope *s, int brk)
{
    struct verify_break *b = &s->trouble->breaks[brk];
    if (!b->open)
        return;
    if (b->type == VERIFY_BREAK_GAP)
        decide_gap(v, s, b);
    else if (b->type == VERIFY_BREAK_FORK)
        decide_fork(v, b);
    else
        verify_settle(v, b->finding, AW_FINDING_INSERTED,
                      b->grown[0] > 0 && b->grown[1] == 0
                          ? "an event without prevHash in the middle of a chain, which goes on without it (before it: %s)"
                          : "the chain begins anew here: an event without prevHash, though the chain had reached %s",
                      b->before);
    break_close(s->trouble, brk);
}

/* The row does not fit: branch 0 is the chain so far, branch 1 begins with the row and is the head from now on. */
static void break_open(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                       const struct verify_row *row, enum verify_break_type type, uint64_t after)
{
    struct verify_trouble *t = trouble_get(v, s);
    if (!t)
        return;
    int brk = t->next_break;
    t->next_break = (uint8_t)((brk + 1) % VERIFY_BREAKS);
    verify_break_decide(v, s, brk);
    char expected[VERIFY_HEX + 1], found[VERIFY_HEX + 1];
    hash_hex(s->head, VERIFY_HASH, expected);
    hash_hex(row->prev, VERIFY_HASH, found);
    expected[VERIFY_HEX] = found[VERIFY_HEX] = '\0';
    struct verify_break *b = &t->breaks[brk];
    b->before = strdup(s->last_location ? s->last_location : "?");
    if (!b->before) {
        fail_nomem(v);
        return;
    }
    b->open = true;
    b->type = (uint8_t)type;
    b->after = after;
    b->waiting = type == VERIFY_BREAK_GAP;
    b->damaged = v->last_malformed > s->last_ordinal;
    b->early = !s->origin;
    memcpy(b->missing, row->prev, VERIFY_HASH);
    int32_t kind = type == VERIFY_BREAK_GAP ? AW_FINDING_HOLE : AW_FINDING_INSERTED;
    b->finding = verify_find(v, kind, s, verify_location(batch, row), row->id, expected,
                             row->has_prev ? found : "no prevHash", "the chain is broken here");
    if (b->finding) {
        b->finding->open = true;
        b->finding->brk = (int8_t)brk;
    }
    side_add(t, s->head, brk, 0);
    t->head_break = (int8_t)brk;
    t->head_branch = 1;
    set_head(v, s, batch, row);
}

/* The branch of the head, or the one that becomes the head, has got this row. */
static void branch_grew(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row)
{
    struct verify_trouble *t = s->trouble;
    if (!t || t->head_break < 0)
        return;
    struct verify_break *b = &t->breaks[t->head_break];
    b->grown[t->head_branch]++;
    if (t->head_branch == 0 && !b->extra) {
        b->extra = strdup(verify_location(batch, row));
        if (!b->extra)
            fail_nomem(v);
    }
}

/* A row turned up that a gap waits for. Its successor is in the trail already, so it stands too late (or that one too early). */
static void gap_fill(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                     const struct verify_row *row, int brk)
{
    struct verify_trouble *t = s->trouble;
    struct verify_break *b = &t->breaks[brk];
    int old = side_of(t, brk, 0);
    bool head_is_old = t->head_break == brk && t->head_branch == 0;
    const uint8_t *tail = head_is_old ? s->head : old >= 0 ? t->sides[old].tail : NULL;
    if (!row->has_prev || !tail || !same(row->prev, tail)) {
        b->moved++; /* one of several: the one before it is still awaited */
        b->waiting = row->has_prev;
        memcpy(b->missing, row->prev, VERIFY_HASH);
        if (!b->extra)
            b->extra = strdup(verify_location(batch, row));
        if (!b->extra)
            fail_nomem(v);
        return;
    }
    verify_settle(v, b->finding, AW_FINDING_REORDERED, "this event stands before the one that it follows, which is at %s",
                  verify_location(batch, row));
    int next = side_of(t, brk, 1);
    if (head_is_old && next >= 0) {
        memcpy(s->head, t->sides[next].tail, VERIFY_HASH);
        s->head_seq = 0;
        side_remove(t, next);
    } else if (head_is_old) {
        memcpy(s->head, row->hash, VERIFY_HASH);
        s->head_seq = row->seq;
    } else {
        side_remove(t, old);
    }
    break_close(t, brk);
}

/* The row leads from the end of branch 1 to the first row of branch 0, which therefore stands too early, and all of it. */
static bool early_joined(struct verifier *v, struct verify_scope *s, const struct verify_row *row)
{
    struct verify_trouble *t = s->trouble;
    for (int brk = 0; brk < VERIFY_BREAKS && !s->origin && row->has_prev && same(row->hash, s->first_prev); brk++) {
        struct verify_break *b = &t->breaks[brk];
        int newer = side_of(t, brk, 1), older = side_of(t, brk, 0);
        bool head_is_newer = t->head_break == brk && t->head_branch == 1;
        const uint8_t *tail = head_is_newer ? s->head : newer >= 0 ? t->sides[newer].tail : NULL;
        if (!b->open || !b->early || !tail || !same(row->prev, tail))
            continue;
        verify_settle(v, b->finding, AW_FINDING_REORDERED,
                      "this event and what follows it stand behind a later part of their chain, which is at %s", s->first_location);
        s->origin = b->type == VERIFY_BREAK_ORIGIN;
        memcpy(s->first_prev, b->missing, VERIFY_HASH);
        if (head_is_newer && older >= 0) {
            memcpy(s->head, t->sides[older].tail, VERIFY_HASH);
            s->head_seq = 0;
            side_remove(t, older);
        } else if (newer >= 0) {
            side_remove(t, newer);
        }
        break_close(t, brk);
        return true;
    }
    return false;
}

static int gap_waiting_for(const struct verify_trouble *t, const uint8_t *hash)
{
    for (int i = 0; i < VERIFY_BREAKS; i++)
        if (t->breaks[i].open && t->breaks[i].waiting && same(t->breaks[i].missing, hash))
            return i;
    return -1;
}

/* ---- linking one row ----------------------------------------------------------------------------------------------- */

enum link_result {
    LINK_FITS,     /* follows the head or begins the chain */
    LINK_SIDEWAYS, /* belongs to an earlier finding, or is a break that has been reported */
    LINK_REPEATED, /* the same event is in the trail already */
    LINK_FOREIGN,  /* follows an event of another scope */
};

static struct verify_scope *foreign_owner(struct verifier *v, const struct verify_scope *s, const struct verify_row *row,
                                          uint64_t *ret_after)
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
    set_head(v, s, batch, row);
    if (!row->has_prev)
        return LINK_FITS;
    *ret_owner = foreign_owner(v, s, row, &after);
    return *ret_owner ? LINK_FOREIGN : LINK_FITS;
}

/* The row follows neither head nor any branch. faulty: it has its finding already. */
static enum link_result link_break(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                                   const struct verify_row *row, bool faulty, struct verify_scope **ret_owner)
{
    struct verify_trouble *t = trouble_get(v, s);
    uint64_t after = 0;
    if (!t)
        return LINK_SIDEWAYS;
    *ret_owner = row->has_prev ? foreign_owner(v, s, row, &after) : NULL;
    if (*ret_owner) {
        side_add(t, row->hash, -1, 0);
        return LINK_FOREIGN;
    }
    if (faulty) {
        /* Whether it was moved or its prevHash was changed: the chain may go on from it or from where it was. */
        side_add(t, s->head, t->head_break, t->head_branch);
        t->head_break = -1;
        set_head(v, s, batch, row);
        return LINK_SIDEWAYS;
    }
    break_open(v, s, batch, row, !row->has_prev ? VERIFY_BREAK_ORIGIN : after ? VERIFY_BREAK_FORK : VERIFY_BREAK_GAP, after);
    return LINK_SIDEWAYS;
}

/* The chain of this scope has been broken before, or is being broken by this row. */
static enum link_result link_hard(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                                  const struct verify_row *row, bool faulty, struct verify_scope **ret_owner)
{
    struct verify_trouble *t = s->trouble;
    int gap = t ? gap_waiting_for(t, row->hash) : -1;
    if (gap >= 0) {
        gap_fill(v, s, batch, row, gap);
        return LINK_SIDEWAYS;
    }
    if (t && early_joined(v, s, row))
        return LINK_SIDEWAYS;
    if (row->has_prev && same(row->prev, s->head)) {
        branch_grew(v, s, batch, row);
        set_head(v, s, batch, row);
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
    if (!s->origin && same(row->hash, s->first_prev)) {
        if (!faulty)
            verify_find(v, AW_FINDING_REORDERED, s, verify_location(batch, row), row->id, NULL, NULL,
                        "this event stands behind the one that follows it, which is at %s", s->first_location);
        s->origin = !row->has_prev;
        memcpy(s->first_prev, row->prev, VERIFY_HASH);
        return LINK_SIDEWAYS;
    }
    int side = t && row->has_prev ? side_find(t, row->prev) : -1;
    if (side >= 0) {
        struct verify_side was = t->sides[side];
        memcpy(t->sides[side].tail, s->head, VERIFY_HASH);
        t->sides[side].brk = t->head_break;
        t->sides[side].branch = t->head_branch;
        t->head_break = was.brk;
        t->head_branch = was.branch;
        branch_grew(v, s, batch, row);
        set_head(v, s, batch, row);
        return LINK_SIDEWAYS;
    }
    return link_break(v, s, batch, row, faulty, ret_owner);
}

/* ---- what else is said about a row ---------------------------------------------------------------------------------- */

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
                    row->edited ? "prevHash belongs to the chain of %s, and the content does not have the hash it carries: the "
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
                      const struct verify_row *row, bool faulty, uint64_t before)
{
    char expected[48], found[24];
    const char *location = verify_location(batch, row);
    uint64_t seq = row->seq ? row->seq : row->store_seq;
    snprintf(expected, sizeof expected, "%llu", (unsigned long long)row->seq);
    snprintf(found, sizeof found, "%llu", (unsigned long long)row->store_seq);
    if (row->seq != 0 && row->store_seq != 0 && row->seq != row->store_seq && !faulty) {
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
    bool fresh = (v->options.flags & AW_VERIFY_PARTIAL) || verify_seqs_add(&v->seqs, row->seq);
    if (faulty)
        return;
    if (!fresh) {
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
        if (e->key.lo == s->key.lo && e->key.hi == s->key.hi && same(e->hash, row->hash)) {
            e->found = true;
            e->at = s->count;
        }
    }
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
    if (s->sealed == 1) {
        result = link_first(v, s, batch, row, &owner);
    } else if (AW_LIKELY(!s->trouble && row->has_prev && same(row->prev, s->head))) {
        set_head(v, s, batch, row);
        result = LINK_FITS;
    } else {
        result = link_hard(v, s, batch, row, faulty, &owner);
    }
    if (faulty || result == LINK_FOREIGN)
        find_faults(v, s, batch, row, owner);
    if (row->edited && result != LINK_REPEATED) {
        /* Whoever changed only the hash text left the successors linked to the true one. */
        struct verify_trouble *t = trouble_get(v, s);
        if (t)
            side_add(t, row->computed, -1, 0);
        if (owner && same(owner->head, row->prev))
            memcpy(owner->head, row->hash, VERIFY_HASH); /* moved from there unhashed: that chain goes on from it */
    }
    if (result == LINK_REPEATED)
        return;
    check_seq(v, s, batch, row, faulty, result == LINK_FITS ? before : 0);
    if (s->expecting && !faulty)
        check_expected(v, s, row);
    verify_seen_add(&v->seen, row->fingerprint, s->index, row->ordinal);
}

/* A row without a seq of its own still fills its place when the store knows it. */
static void use_store_seq(struct verifier *v, const struct verify_row *row)
{
    if (row->store_seq != 0 && v->sealed_with_seq > 0 && !(v->options.flags & AW_VERIFY_PARTIAL))
        (void)verify_seqs_add(&v->seqs, row->store_seq); /* whether it is a repetition says nothing about this row */
}

static void link_unsealed(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                          const struct verify_row *row)
{
    if (v->sealed == 0) {
        if (v->unsealed_before++ == 0) {
            v->unsealed_location = strdup(verify_location(batch, row));
            if (!v->unsealed_location)
                fail_nomem(v);
        }
        return;
    }
    remember_last(v, s, batch, row);
    verify_find(v, AW_FINDING_UNSEALED, s, verify_location(batch, row), row->id, NULL, NULL,
                "the event has no integrity member, though the trail is sealed");
    uint8_t hash[VERIFY_HASH];
    use_store_seq(v, row);
    if (s->sealed == 0 || !verify_check_as_successor(&v->checker, batch, row, s->head, hash))
        return;
    struct verify_trouble *t = trouble_get(v, s); /* if only the member was taken off, the chain goes on from here */
    if (t)
        side_add(t, hash, -1, 0);
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
    struct verify_scope *s = scope_get(v, row);
    if (!s) {
        fail_nomem(v);
        return;
    }
    if (s->count++ == 0) {
        s->first_location = strdup(verify_location(batch, row));
        if (!s->first_location)
            fail_nomem(v);
        copy_time(s->first_time, row->time);
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
