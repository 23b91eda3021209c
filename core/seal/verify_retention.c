/* verify_retention.c - where the streams of a trail may begin: as sealed records of what was removed say.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A record (event/retention_event.h) names a seq of each stream below which everything may be absent: a floor. From
 * there on nothing may be missing, and by chainsHash the chains go on as they did when the record was sealed. What of a
 * stream begins later than at 1 needs one.
 *
 * A retention that was carried out leaves a stream that begins at its floor, and one reading is enough. One that was
 * stopped half-way leaves a stream that begins below it; then a second reading, which knows the floors, leaves out of
 * account what stands below. Which of several records counts is told by the stream: the lowest floor above its last
 * gap, else the highest there is.
 */
#include "config.h"

#include <stdio.h>

#include "base/diag.h"
#include "event/retention_event.h"
#include "seal/verify_impl.h"

#define FLOORS_MAX 65536u /* beyond that records are no longer kept: findings get more, never fewer */
#define SINKS_MAX 32u

struct verify_floor {
    struct retention_stream what;
    int64_t before_ns;
    bool begin;
    uint32_t sink;  /* index of its name */
    char *location; /* of the record */
};

struct verify_floors {
    struct verify_floor *list;
    size_t count, capacity;
    char *sinks[SINKS_MAX];
    uint32_t sink_count;
    uint32_t only; /* index + 1 of the sink whose store this is taken to be; 0 = not known */
    bool second;   /* reading, with floors */
    bool preset;   /* verifier_set_floor(): nothing is judged */
};

struct verify_floors *verify_floors_create(void)
{
    return calloc(1, sizeof(struct verify_floors));
}

void verify_floors_destroy(struct verify_floors *f)
{
    for (size_t i = 0; f && i < f->count; i++)
        free(f->list[i].location);
    for (uint32_t i = 0; f && i < f->sink_count; i++)
        free(f->sinks[i]);
    if (f)
        free(f->list);
    free(f);
}

/* ---- records ---- */

/* false: it is not the sink whose store this is, or there are too many. */
static bool sink_index(struct verifier *v, const char *name, uint32_t *ret)
{
    struct verify_floors *f = v->floors;
    if (v->options.sink && strcmp(v->options.sink, name) != 0)
        return false;
    for (*ret = 0; *ret < f->sink_count; ++*ret)
        if (strcmp(f->sinks[*ret], name) == 0)
            return true;
    if (f->sink_count == SINKS_MAX)
        return false;
    f->sinks[f->sink_count] = strdup(name);
    if (!f->sinks[f->sink_count]) {
        verify_nomem(v);
        return false;
    }
    f->sink_count++;
    return true;
}

static void add_floor(struct verifier *v, const struct retention_record *record, const struct retention_stream *what,
                      uint32_t sink, const char *location)
{
    struct verify_floors *f = v->floors;
    if (f->count == FLOORS_MAX)
        return;
    if (f->count == f->capacity) {
        size_t more = f->capacity ? 2 * f->capacity : 16;
        struct verify_floor *list = realloc(f->list, more * sizeof *list);
        if (!list) {
            verify_nomem(v);
            return;
        }
        f->list = list;
        f->capacity = more;
    }
    char *copy = strdup(location);
    if (!copy) {
        verify_nomem(v);
        return;
    }
    f->list[f->count++] = (struct verify_floor){
        .what = *what, .before_ns = record->before_ns, .begin = record->begin, .sink = sink, .location = copy};
}

/* A stream's own record stands behind all that it speaks of. */
static bool sound(const struct retention_stream *what, const struct verify_row *row)
{
    return what->stream != row->stream || (what->keep_seq <= row->seq && what->newest_seq < row->seq);
}

void verify_retention_record(struct verifier *v, const struct verify_batch *batch, const struct verify_row *row,
                             bool in_place)
{
    struct retention_record *record = NULL;
    uint32_t sink;
    if (!in_place || v->floors->second || v->floors->preset)
        return; /* one out of its place permits nothing */
    int rc = retention_event_read((struct aw_str){batch->bytes + row->json_at, row->json_len}, &record);
    if (rc == -ENOMEM)
        verify_nomem(v);
    if (rc == 0 && sink_index(v, record->sink, &sink))
        for (size_t i = 0; i < record->count; i++)
            if (sound(&record->streams[i], row))
                add_floor(v, record, &record->streams[i], sink, verify_location(batch, row));
    retention_record_free(record);
}

/* ---- rows ---- */

bool verify_retention_row(struct verify_scope *s, struct verify_stream *stream, const struct verify_row *row)
{
    if (AW_UNLIKELY(row->seq < stream->floor_seq)) {
        stream->below++;
        return false;
    }
    if (AW_UNLIKELY(row->seq == stream->floor_seq))
        memcpy(stream->floor_hash, row->hash, VERIFY_HASH);
    if (AW_UNLIKELY(!s->begun)) {
        s->begun = true;
        s->begin_origin = !row->has_prev;
        s->begin_seq = row->seq;
        memcpy(s->begin_prev, row->prev, VERIFY_HASH);
    }
    if (AW_UNLIKELY(stream->seqs.count == 0 || row->seq < stream->seqs.low))
        memcpy(stream->low_hash, row->hash, VERIFY_HASH);
    return true;
}

/* ---- chainsHash ---- */

static int by_begin(const void *a, const void *b)
{
    const struct verify_scope *const *x = a, *const *y = b;
    return ((*x)->begin_seq > (*y)->begin_seq) - ((*x)->begin_seq < (*y)->begin_seq);
}

static bool hash_chains(struct hash_sha256 *sha, struct verify_scope *const *list, size_t count, uint8_t *ret_hash)
{
    bool good = hash_sha256_begin(sha);
    for (size_t i = 0; i < count && good; i++) {
        uint8_t bytes[8 + VERIFY_HASH];
        base_put_le32(bytes, (uint32_t)list[i]->begin_seq);
        base_put_le32(bytes + 4, (uint32_t)(list[i]->begin_seq >> 32));
        memcpy(bytes + 8, list[i]->begin_prev, VERIFY_HASH);
        good = hash_sha256_update(sha, bytes, sizeof bytes);
    }
    return good && hash_sha256_finish(sha, ret_hash);
}

/* Over the chains of a stream that go on in the middle. */
static bool chains_of(struct verifier *v, uint32_t stream, uint64_t newest_seq, uint64_t *ret_count, uint8_t *ret_hash)
{
    AW_AUTOFREE struct verify_scope **list = calloc(v->scopes.count + 1, sizeof(struct verify_scope *));
    size_t n = 0;
    if (!list) {
        verify_nomem(v);
        return false;
    }
    for (size_t i = 0; i < v->scopes.count; i++) {
        struct verify_scope *s = v->scopes.list[i];
        if (s->begun && !s->begin_origin && s->stream == stream && s->begin_seq <= newest_seq)
            list[n++] = s;
    }
    qsort(list, n, sizeof list[0], by_begin);
    *ret_count = n;
    if (hash_chains(v->checker.payload[0].sha, list, n, ret_hash))
        return true;
    v->failed = v->failed ? v->failed : diag_problem(AW_ERR_IO, "", "the crypto library failed");
    return false;
}

int verifier_set_floor(struct verifier *v, uint32_t stream, uint64_t seq)
{
    struct verify_stream *s = verify_stream_get(v, stream);
    v->floors->preset = true;
    if (s)
        s->floor_seq = seq;
    return v->failed;
}

int verifier_chains(struct verifier *v, uint32_t stream, uint64_t *ret_newest_seq, uint64_t *ret_count,
                    uint8_t *ret_hash)
{
    if (verify_drain(v) != AW_SUCCESS)
        return v->failed;
    const struct verify_stream *s = verify_stream_get(v, stream);
    *ret_newest_seq = s && s->seqs.count > 0 ? s->seqs.high : 0;
    (void)chains_of(v, stream, *ret_newest_seq, ret_count, ret_hash);
    return v->failed;
}

/* ---- which record counts ---- */

static bool last_gap(void *arg, uint64_t from, uint64_t to)
{
    (void)from;
    *(uint64_t *)arg = to + 1;
    return true;
}

static const struct verify_floor *best(const struct verifier *v, uint32_t stream, uint64_t dense)
{
    const struct verify_floors *f = v->floors;
    const struct verify_floor *above = NULL, *highest = NULL;
    for (size_t i = 0; i < f->count; i++) {
        const struct verify_floor *one = &f->list[i];
        if (one->what.stream != stream || (f->only && one->sink + 1 != f->only))
            continue;
        /* Of equal ones the newest counts. */
        if (one->what.keep_seq >= dense && (!above || one->what.keep_seq <= above->what.keep_seq))
            above = one;
        if (!highest || one->what.keep_seq >= highest->what.keep_seq)
            highest = one;
    }
    return above ? above : highest;
}

/* The first reading is over: does a second one have to know the floor? */
static bool choose_one(struct verifier *v, struct verify_stream *s)
{
    uint64_t dense = s->seqs.low;
    if (s->seqs.count == 0)
        return false;
    if (verify_seqs_gaps(&s->seqs, last_gap, &dense) != 0)
        verify_nomem(v);
    if (dense == 1)
        return false; /* all is there */
    s->floor = best(v, s->number, dense);
    if (s->floor)
        v->floors->only = s->floor->sink + 1; /* a store is one sink's */
    return s->floor && s->floor->what.keep_seq > s->seqs.low;
}

bool verify_retention_wants_second(struct verifier *v)
{
    bool wants = false;
    if (v->options.flags & (AW_VERIFY_COMPLETE | AW_VERIFY_PARTIAL) || v->floors->preset)
        return false;
    for (size_t i = 0; i < v->streams.count && v->failed == 0; i++)
        wants |= choose_one(v, v->streams.list[i]);
    return wants;
}

void verify_retention_begin_second(struct verifier *next, struct verifier *v)
{
    verify_floors_destroy(next->floors);
    next->floors = v->floors;
    next->floors->second = true;
    v->floors = NULL;
    for (size_t i = 0; i < v->streams.count; i++) {
        const struct verify_floor *floor = v->streams.list[i]->floor;
        struct verify_stream *s = floor ? verify_stream_get(next, v->streams.list[i]->number) : NULL;
        if (s) {
            s->floor = floor;
            s->floor_seq = floor->what.keep_seq;
        }
    }
}

/* ---- the end ---- */

static const struct aw_str none = {"", 0};

static void find_unrecorded(struct verifier *v, const struct verify_stream *s, const char *of)
{
    char found[24];
    snprintf(found, sizeof found, "%llu", (unsigned long long)s->seqs.low);
    if (s->floor && !s->floor->begin && s->floor->what.keep_seq < s->seqs.low)
        verify_find(v, AW_FINDING_HOLE, NULL, s->floor->location, none, NULL, found,
                    "the trail%s begins at seq %s, but the record of what was removed, at %s, says that everything "
                    "from seq %llu on stays: %llu more are missing",
                    of, found, s->floor->location, (unsigned long long)s->floor->what.keep_seq,
                    (unsigned long long)(s->seqs.low - s->floor->what.keep_seq));
    else
        verify_find(v, AW_FINDING_HOLE, NULL, NULL, none, "1", found,
                    "the trail%s begins at seq %s: what stood before it is missing, and no sealed record says that it "
                    "was removed; where it is one file of several, or an excerpt, verify it as such",
                    of, found);
}

static void check_floor(struct verifier *v, const struct verify_stream *s, const char *of)
{
    const struct verify_floor *f = s->floor;
    const uint8_t *first = s->floor_seq ? s->floor_hash : s->low_hash;
    char expected[VERIFY_HEX + 1], found[VERIFY_HEX + 1];
    uint8_t hash[VERIFY_HASH];
    uint64_t chains = 0;
    if (f->what.with_hash && !verify_same(first, f->what.keep_hash)) {
        hash_hex(f->what.keep_hash, VERIFY_HASH, expected);
        hash_hex(first, VERIFY_HASH, found);
        expected[VERIFY_HEX] = found[VERIFY_HEX] = '\0';
        verify_find(v, AW_FINDING_HOLE, NULL, f->location, none, expected, found,
                    "the event that stays first%s by the record of what was removed, seq %llu, is another one, or is "
                    "missing",
                    of, (unsigned long long)f->what.keep_seq);
        return;
    }
    if (!f->what.with_chains || !chains_of(v, s->number, f->what.newest_seq, &chains, hash))
        return;
    if (chains != f->what.chains || !verify_same(hash, f->what.chains_hash))
        verify_find(v, AW_FINDING_HOLE, NULL, f->location, none, NULL, NULL,
                    "the chains%s do not begin as they did when the record of what was removed was sealed: of %llu "
                    "that went on, there are %llu, or their first events are others",
                    of, (unsigned long long)f->what.chains, (unsigned long long)chains);
}

static void finish_stream(struct verifier *v, struct verify_stream *s)
{
    char of[40] = "";
    if (s->number != 0)
        snprintf(of, sizeof of, " of stream %u", (unsigned)s->number);
    if (s->floor && (s->floor->what.keep_seq == s->seqs.low || s->below > 0)) {
        check_floor(v, s, of);
        return;
    }
    if (s->seqs.low > 1 && v->unsealed_before == 0 && !(v->options.flags & AW_VERIFY_MIDCHAIN))
        find_unrecorded(v, s, of);
    s->floor = NULL;
}

static bool first_gap(void *arg, uint64_t from, uint64_t to)
{
    (void)to;
    *(uint64_t *)arg = from;
    return false;
}

/* A chain that begins in the middle, of which nothing else says that something is missing before it. */
static void finish_scope(struct verifier *v, struct verify_scope *s)
{
    const struct verify_stream *stream = s->first_seq != 0 ? verify_stream_get(v, s->stream) : NULL;
    uint64_t gap = UINT64_MAX;
    char hex[VERIFY_HEX + 1];
    if (stream && (stream->floor || stream->seqs.low > 1))
        return;
    if (stream && verify_seqs_gaps(&stream->seqs, first_gap, &gap) != 0)
        verify_nomem(v);
    if (gap < s->first_seq)
        return;
    hash_hex(s->first_prev, VERIFY_HASH, hex);
    hex[VERIFY_HEX] = '\0';
    verify_find(v, AW_FINDING_HOLE, s, s->first_location, none, "no prevHash", hex,
                "the chain does not begin at its origin: its first events are missing");
}

void verify_retention_finish(struct verifier *v)
{
    if (v->options.flags & (AW_VERIFY_COMPLETE | AW_VERIFY_PARTIAL) || v->floors->preset)
        return;
    for (size_t i = 0; i < v->streams.count && v->failed == 0; i++)
        if (v->streams.list[i]->seqs.count > 0)
            finish_stream(v, v->streams.list[i]);
    for (size_t i = 0; i < v->scopes.count && v->failed == 0; i++) {
        struct verify_scope *s = v->scopes.list[i];
        if (s->sealed > 0 && !s->origin && s->findings == 0 && !(v->options.flags & AW_VERIFY_MIDCHAIN))
            finish_scope(v, s);
    }
}

/* ---- what is told ---- */

void verify_retention_report(const struct verifier *v, struct aw_verify_report *r)
{
    for (size_t i = 0; i < v->streams.count; i++) {
        const struct verify_floor *f = v->streams.list[i]->floor;
        if (!f || f->begin)
            continue;
        r->removed += f->what.total;
        r->removed_before_ns = f->before_ns > r->removed_before_ns ? f->before_ns : r->removed_before_ns;
        snprintf(r->removed_sink, sizeof r->removed_sink, "%s", v->floors->sinks[f->sink]);
        snprintf(r->removed_record, sizeof r->removed_record, "%s", f->location);
    }
}

void verify_retention_warn(const struct verifier *v)
{
    bool used = false;
    for (size_t i = 0; i < v->streams.count; i++)
        used |= v->streams.list[i]->floor != NULL;
    if (used && !v->options.sink)
        diag_problem(0, "",
                     "the trail does not begin at seq 1, as a sealed record of sink \"%s\" says: whether this is the "
                     "store of that sink was not checked, since no sink was named",
                     v->floors->sinks[v->floors->only - 1]);
}

uint64_t verifier_removed(struct verifier *v, uint32_t stream, uint64_t *ret_below)
{
    const struct verify_stream *s = verify_stream_get(v, stream);
    *ret_below = s ? s->below : 0;
    return s && s->floor ? s->floor->what.total : 0;
}
