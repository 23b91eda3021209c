/* verify_break.c - broken chains: what they may go on from, and what a break turns out to have been.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A scope whose chain has been broken keeps, besides its head, the other places where rows may go on. Rows that follow
 * those make no findings of their own; each such place exists because of a finding.
 */
#include "config.h"

#include "seal/verify_impl.h"

struct verify_trouble *verify_trouble_get(struct verifier *v, struct verify_scope *s)
{
    if (!s->trouble) {
        s->trouble = calloc(1, sizeof *s->trouble);
        if (s->trouble)
            s->trouble->head_break = -1;
        else
            verify_nomem(v);
    }
    return s->trouble;
}

static void side_remove(struct verify_trouble *t, int i)
{
    t->side_count--;
    memmove(&t->sides[i], &t->sides[i + 1], (size_t)(t->side_count - i) * sizeof t->sides[0]);
}

/* With all places taken the oldest one goes: a row that follows it later is a break of its own. */
void verify_side_add(struct verify_trouble *t, const uint8_t *tail, int brk, unsigned branch)
{
    if (t->side_count == VERIFY_SIDES)
        side_remove(t, 0);
    struct verify_side *side = &t->sides[t->side_count++];
    memcpy(side->tail, tail, VERIFY_HASH);
    side->brk = (int8_t)brk;
    side->branch = (uint8_t)branch;
}

int verify_side_find(const struct verify_trouble *t, const uint8_t *tail)
{
    for (int i = t->side_count - 1; i >= 0; i--)
        if (verify_same(t->sides[i].tail, tail))
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
        verify_settle(
            v, b->finding, AW_FINDING_INSERTED,
            "no chain leads to this event: its prevHash names an event that is not in the trail, and the chain goes "
            "on without it");
        return;
    }
    verify_settle(
        v, b->finding, AW_FINDING_HOLE,
        "at least one event is missing between %s and this one: prevHash names an event that is not in the trail%s",
        b->before, b->damaged ? "; a damaged row between them may be it" : "");
    if (b->moved > 0)
        verify_find(v, AW_FINDING_REORDERED, s, b->extra, none, NULL, NULL,
                    "this event stands behind the one that follows it");
    else if (b->grown[0] > 0)
        verify_find(
            v, AW_FINDING_INSERTED, s, b->extra, none, NULL, NULL,
            "this event follows the same predecessor as the missing ones, but nothing leads from it to the rest of the "
            "chain");
}

static void decide_fork(struct verifier *v, const struct verify_break *b)
{
    if (b->grown[0] == 0 && b->grown[1] > 0 && b->finding) {
        char *went_on = b->finding->location;
        char *before = strdup(b->before);
        if (!before) {
            verify_nomem(v);
            return;
        }
        b->finding->location = before;
        b->finding->id[0] = '\0';
        verify_settle(
            v, b->finding, AW_FINDING_INSERTED,
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
        verify_settle(
            v, b->finding, AW_FINDING_INSERTED,
            b->grown[0] > 0 && b->grown[1] == 0
                ? "an event without prevHash in the middle of a chain, which goes on without it (before it: %s)"
                : "the chain begins anew here: an event without prevHash, though the chain had reached %s",
            b->before);
    break_close(s->trouble, brk);
}

/* The row does not fit: branch 0 is the chain so far, branch 1 begins with the row and is the head from now on. */
void verify_break_open(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                       const struct verify_row *row, enum verify_break_type type, uint64_t after)
{
    struct verify_trouble *t = verify_trouble_get(v, s);
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
        verify_nomem(v);
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
    verify_side_add(t, s->head, brk, 0);
    t->head_break = (int8_t)brk;
    t->head_branch = 1;
    verify_set_head(v, s, batch, row);
}

/* The branch of the head, or the one that becomes the head, has got this row. */
void verify_branch_grew(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
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
            verify_nomem(v);
    }
}

/* A row turned up that a gap waits for. Its successor is in the trail already, so it stands too late (or that one too
 * early). */
void verify_gap_fill(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                     const struct verify_row *row, int brk)
{
    struct verify_trouble *t = s->trouble;
    struct verify_break *b = &t->breaks[brk];
    int old = side_of(t, brk, 0);
    bool head_is_old = t->head_break == brk && t->head_branch == 0;
    const uint8_t *tail = head_is_old ? s->head : old >= 0 ? t->sides[old].tail : NULL;
    if (!row->has_prev || !tail || !verify_same(row->prev, tail)) {
        b->moved++; /* one of several: the one before it is still awaited */
        b->waiting = row->has_prev;
        memcpy(b->missing, row->prev, VERIFY_HASH);
        if (!b->extra)
            b->extra = strdup(verify_location(batch, row));
        if (!b->extra)
            verify_nomem(v);
        return;
    }
    verify_settle(v, b->finding, AW_FINDING_REORDERED,
                  "this event stands before the one that it follows, which is at %s", verify_location(batch, row));
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

/* The row leads from the end of branch 1 to the first row of branch 0, which therefore stands too early, and all of it.
 */
bool verify_early_joined(struct verifier *v, struct verify_scope *s, const struct verify_row *row)
{
    struct verify_trouble *t = s->trouble;
    for (int brk = 0; brk < VERIFY_BREAKS && !s->origin && row->has_prev && verify_same(row->hash, s->first_prev);
         brk++) {
        struct verify_break *b = &t->breaks[brk];
        int newer = side_of(t, brk, 1), older = side_of(t, brk, 0);
        bool head_is_newer = t->head_break == brk && t->head_branch == 1;
        const uint8_t *tail = head_is_newer ? s->head : newer >= 0 ? t->sides[newer].tail : NULL;
        if (!b->open || !b->early || !tail || !verify_same(row->prev, tail))
            continue;
        verify_settle(v, b->finding, AW_FINDING_REORDERED,
                      "this event and what follows it stand behind a later part of their chain, which is at %s",
                      s->first_location);
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

int verify_gap_waiting_for(const struct verify_trouble *t, const uint8_t *hash)
{
    for (int i = 0; i < VERIFY_BREAKS; i++)
        if (t->breaks[i].open && t->breaks[i].waiting && verify_same(t->breaks[i].missing, hash))
            return i;
    return -1;
}
