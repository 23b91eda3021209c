/* verify_streams.c - what each stream of a trail lacks: every slot numbers its events by itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>

#include "base/diag.h"
#include "seal/verify_impl.h"

static struct verify_stream *stream_make(struct verifier *v, uint32_t number)
{
    struct verify_streams *s = &v->streams;
    if (s->count == s->size) {
        size_t size = s->size ? s->size * 2 : 4;
        struct verify_stream **list = realloc(s->list, size * sizeof(struct verify_stream *));
        if (!list)
            return NULL;
        s->list = list;
        s->size = size;
    }
    struct verify_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->number = number;
    s->last = s->count;
    s->list[s->count++] = stream;
    return stream;
}

/* There are as many as processes wrote at once: a few. */
struct verify_stream *verify_stream_get(struct verifier *v, uint32_t number)
{
    struct verify_streams *s = &v->streams;
    if (AW_LIKELY(s->count > 0 && s->list[s->last]->number == number))
        return s->list[s->last];
    for (size_t i = 0; i < s->count; i++) {
        if (s->list[i]->number == number) {
            s->last = i;
            return s->list[i];
        }
    }
    struct verify_stream *stream = stream_make(v, number);
    if (!stream)
        verify_nomem(v);
    return stream;
}

void verifier_set_stream(struct verifier *v, uint32_t stream)
{
    v->one_stream = true;
    v->stream = stream;
}

void verify_stream_check(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                         const struct verify_row *row)
{
    char expected[24], found[24];
    if (AW_LIKELY(!v->one_stream || row->stream == v->stream))
        return;
    snprintf(expected, sizeof expected, "stream %u", (unsigned)v->stream);
    snprintf(found, sizeof found, "stream %u", (unsigned)row->stream);
    verify_find(v, AW_FINDING_FOREIGN, s, verify_location(batch, row), row->id, expected, found,
                "the event is of another slot's stream: it was moved here");
}

struct gap_arg {
    struct verifier *v;
    char stream[32], damaged[64];
};

static bool find_gap(void *arg, uint64_t from, uint64_t to)
{
    struct gap_arg *g = arg;
    struct aw_str none = {"", 0};
    char range[48];
    if (from == to)
        snprintf(range, sizeof range, "%llu", (unsigned long long)from);
    else
        snprintf(range, sizeof range, "%llu..%llu", (unsigned long long)from, (unsigned long long)to);
    verify_find(g->v, AW_FINDING_HOLE, NULL, NULL, none, range, NULL, "seq %s%s %s missing: %llu event%s%s", range,
                g->stream, from == to ? "is" : "are", (unsigned long long)(to - from + 1), from == to ? "" : "s",
                g->damaged);
    return g->v->failed == 0;
}

static void finish_one(struct verifier *v, const struct verify_stream *stream)
{
    const struct verify_seqs *seqs = &stream->seqs;
    struct gap_arg g = {v, "", ""};
    struct aw_str none = {"", 0};
    if (seqs->count == 0)
        return;
    if (stream->number != 0)
        snprintf(g.stream, sizeof g.stream, " of stream %u", (unsigned)stream->number);
    if (v->malformed > 0)
        snprintf(g.damaged, sizeof g.damaged, " (%llu damaged rows may be among them)",
                 (unsigned long long)v->malformed);
    if ((v->options.flags & AW_VERIFY_COMPLETE) && seqs->low > 1)
        find_gap(&g, 1, seqs->low - 1);
    if (seqs->off) {
        uint64_t span = seqs->high - seqs->low + 1;
        if (span != seqs->count)
            verify_find(v, AW_FINDING_HOLE, NULL, NULL, none, NULL, NULL,
                        "seqs%s are missing or repeated: %llu events carry seqs from %llu to %llu", g.stream,
                        (unsigned long long)seqs->count, (unsigned long long)seqs->low, (unsigned long long)seqs->high);
        diag_problem(0, "", "the seqs%s are too scattered to name every gap", g.stream);
    } else if (verify_seqs_gaps(seqs, find_gap, &g) != 0) {
        verify_nomem(v);
    }
}

void verify_streams_finish(struct verifier *v)
{
    for (size_t i = 0; i < v->streams.count; i++)
        finish_one(v, v->streams.list[i]);
}

void verify_streams_clear(struct verify_streams *streams)
{
    for (size_t i = 0; i < streams->count; i++) {
        verify_seqs_clear(&streams->list[i]->seqs);
        free(streams->list[i]);
    }
    free(streams->list);
    *streams = (struct verify_streams){0};
}
