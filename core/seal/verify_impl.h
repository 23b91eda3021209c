/* verify_impl.h - shared by the files of the verifier (verify*.c) only. See verify.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_VERIFY_IMPL_H
#define AW_VERIFY_IMPL_H

#include <stdbool.h>
#include <string.h>

#include "base/base.h"
#include "base/hash.h"
#include "event/event.h"
#include "seal/verify.h"

#define VERIFY_HASH HASH_SHA256_LEN
#define VERIFY_HEX (2 * HASH_SHA256_LEN)

/* ---- one row and its content check (verify_check.c) ---- */

enum verify_state {
    VERIFY_UNCHECKED = 0,
    VERIFY_SEALED,    /* has an integrity member that can be read; fault tells whether it holds */
    VERIFY_UNSEALED,  /* an event without integrity */
    VERIFY_MALFORMED, /* no event at all: nothing but why is known */
    VERIFY_FAILED,    /* could not be checked: out of memory or no crypto */
};

struct verify_row {
    /* set by the feeder; offsets because the batch's buffer may still move */
    size_t json_at, location_at;
    uint32_t json_len;
    uint64_t store_seq;
    uint64_t ordinal; /* number of the row in the trail, from 1 */
    /* set by the check; pointers into the batch, valid until it is filled again */
    uint8_t state;         /* enum verify_state */
    bool has_prev, edited; /* edited: computed differs from hash */
    bool chainable;        /* hash can be used for linking */
    bool has_signature;
    bool replay_record;        /* an intact event that says which dead letters are replayed */
    bool retention_record;     /* one that says where streams begin */
    bool view;                 /* says that it is a view */
    bool by_reference;         /* and that fields were changed: the content cannot be hashed again */
    uint32_t view_fields;      /* how many */
    uint8_t hash[VERIFY_HASH]; /* as carried */
    uint8_t prev[VERIFY_HASH];
    uint8_t computed[VERIFY_HASH];
    uint64_t fingerprint; /* of hash, for the seen set */
    uint64_t seq;         /* integrity.seq, 0 = absent */
    uint32_t stream;      /* integrity.stream, 0 = absent: the plain format */
    struct hash128 scope_key;
    struct aw_str scope; /* the value alone, decoded */
    bool scope_is_tenant;
    struct aw_str id, time; /* decoded */
    const char *why;        /* what is wrong with integrity, or why it is malformed; NULL = nothing */
};

/* Text that lives as long as a batch. */
struct verify_text {
    struct verify_text *next;
    size_t used, size;
    char data[];
};

enum { VERIFY_BATCH_ROWS = 128, VERIFY_BATCH_BYTES = 128 * 1024, VERIFY_BATCH_FIRST = 16 * 1024 };

struct verify_batch {
    char *bytes;
    size_t used, size;
    size_t count;
    int done; /* 0 waiting or running, 1 checked; under the pool's lock */
    struct verify_text *text;
    struct verify_row rows[VERIFY_BATCH_ROWS];
};

/* What is hashed of a row. */
struct verify_payload {
    struct verify_row *row;
    struct hash_sha256 *sha;
    char *bytes;
    size_t len, size;
};

/* What one thread needs for checking. */
#define VERIFY_PAIR 2 /* rows that are hashed at once */
struct verify_checker {
    struct verify_payload payload[VERIFY_PAIR];
    size_t gathered; /* payloads that wait */
    uint8_t scope_key[16];
    uint64_t seen_key[4];
};
int verify_checker_init(struct verify_checker *checker, const uint8_t scope_key[16], const uint64_t seen_key[4]);
void verify_checker_clear(struct verify_checker *checker);
void verify_check_batch(struct verify_checker *checker, struct verify_batch *batch);
/* The hash that an unsealed row of the batch would have had as successor of prev. false: it cannot be told. */
bool verify_check_as_successor(struct verify_checker *checker, const struct verify_batch *batch,
                               const struct verify_row *row, const uint8_t *prev, uint8_t ret[VERIFY_HASH]);
struct hash128 verify_scope_key(const uint8_t key[16], bool tenant, struct aw_str value, uint32_t stream);
static inline const char *verify_location(const struct verify_batch *batch, const struct verify_row *row)
{
    return batch->bytes + row->location_at;
}

/* ---- sets (verify_sets.c) ---- */

/* Which events the trail had lately: fingerprint -> scope and row number. Only for telling what a break is, so that
 * losing it costs nothing but detail. An honest trail only appends to a log, in order; the index is brought up to date
 * when somebody asks. Two generations: when the newer is full it becomes the older. */
struct verify_seen_entry {
    uint64_t fingerprint;
    uint32_t scope;
    uint32_t ordinal; /* low 32 bits */
};
struct verify_seen_log {
    struct verify_seen_entry *entries;
    uint32_t *slots; /* place in entries + 1, 0 = free */
    size_t count, capacity;
    size_t indexed, mask; /* of slots; mask + 1 of them */
};
#define VERIFY_SEEN_MAX ((size_t)3 << 20) /* entries of a generation: with the index 64 MiB */
struct verify_seen {
    struct verify_seen_log newer, older;
    bool off; /* no memory */
};
uint64_t verify_fingerprint(const uint64_t key[4], const uint8_t hash[VERIFY_HASH]); /* never 0 */
void verify_seen_add(struct verify_seen *seen, uint64_t fingerprint, uint32_t scope, uint64_t ordinal);
/* Valid until the next add. NULL: not there, or forgotten. */
const struct verify_seen_entry *verify_seen_find(struct verify_seen *seen, uint64_t fingerprint);
void verify_seen_clear(struct verify_seen *seen);

/* A set of seqs, cheap where they are dense. */
struct verify_seqs {
    struct verify_seq_chunk *chunks; /* open addressing */
    size_t mask, used, partial;
    size_t last_slot;          /* the chunk used last */
    uint64_t low, high, count; /* count: with repetitions */
    bool off;                  /* too scattered or no memory: only low, high and count go on */
};
/* false: it was there already. */
bool verify_seqs_add(struct verify_seqs *seqs, uint64_t seq);
/* Calls fn for each range missing between low and high, ascending, until it returns false. -ENOMEM, or 0. */
int verify_seqs_gaps(const struct verify_seqs *seqs, bool (*fn)(void *arg, uint64_t from, uint64_t to), void *arg);
void verify_seqs_clear(struct verify_seqs *seqs);

struct verify_scope;

/* What one slot sealed: its seqs are its own. */
struct verify_stream {
    uint32_t number;
    struct verify_seqs seqs;          /* from the floor on */
    uint8_t low_hash[VERIFY_HASH];    /* of the event seqs.low */
    const struct verify_floor *floor; /* verify_retention.c's */
    uint64_t floor_seq;               /* second reading: what is below it is not missed; 0 = none */
    uint8_t floor_hash[VERIFY_HASH];  /* of the event floor_seq; zeros: not there */
    uint64_t below;                   /* events that stand below it all the same */
};
struct verify_streams {
    struct verify_stream **list;
    size_t count, size, last; /* last: used last */
};
/* verify_streams.c. NULL: no memory. */
struct verify_stream *verify_stream_get(struct verifier *v, uint32_t number);
/* Does the row belong to the stream of verifier_set_stream()? */
void verify_stream_check(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                         const struct verify_row *row);
void verify_streams_finish(struct verifier *v); /* finds what is missing */
void verify_streams_clear(struct verify_streams *streams);

/* ---- scopes and breaks (verify_scope.c, verify_break.c, verify_link.c) ---- */

enum { VERIFY_SIDES = 8, VERIFY_BREAKS = 4, VERIFY_TIME = 40 };

/* What a break may turn out to be. */
enum verify_break_type {
    VERIFY_BREAK_GAP,    /* prevHash is unknown */
    VERIFY_BREAK_FORK,   /* prevHash is known, but already had a successor */
    VERIFY_BREAK_ORIGIN, /* no prevHash, though the chain had begun */
};

/* An open break: the chain so far is branch 0, the row that did not fit begins branch 1. */
struct verify_break {
    bool open;
    bool waiting; /* a row with the hash `missing` would explain it */
    bool early; /* branch 0 begins in mid-chain: a row of branch 1 that leads to its first one would explain it, too */
    uint8_t type;      /* enum verify_break_type */
    uint32_t grown[2]; /* rows that continued each branch since */
    uint32_t moved;    /* rows found out of place that belong into the gap */
    bool damaged;      /* a malformed row stands between the branches: it may be what is missing */
    uint64_t after;    /* FORK: number in the trail of the event both branches follow */
    uint8_t missing[VERIFY_HASH];
    char *before; /* location of the last row of branch 0 at the break */
    char *extra;  /* location of the first row that continued branch 0 afterwards, or of the first that was moved */
    struct verify_finding *finding; /* NULL when it is only counted */
};

/* A place where the chain may go on, besides its head. */
struct verify_side {
    uint8_t tail[VERIFY_HASH];
    int8_t brk; /* index of the break, -1 = none: what follows is no finding */
    uint8_t branch;
};

struct verify_trouble {
    struct verify_side sides[VERIFY_SIDES];
    struct verify_break breaks[VERIFY_BREAKS];
    uint8_t side_count, next_break;
    int8_t head_break; /* what the head belongs to, as in verify_side */
    uint8_t head_branch;
};

struct verify_scope {
    struct hash128 key;
    uint32_t index;
    bool origin;    /* its first event has no predecessor */
    bool expecting; /* a head of it is expected */
    bool with_seq;  /* its sealed events carry seqs */
    uint32_t stream;
    bool in_views; /* its newest sealed event is a view */
    bool switched; /* it went from full events to views, or back */
    char *name;    /* "tenant:…", safe to print */
    uint64_t count, sealed, findings;
    uint64_t views, by_reference, view_fields;
    uint64_t confirmed; /* of by_reference: compared with the full event */
    uint8_t head[VERIFY_HASH];
    uint8_t first_hash[VERIFY_HASH];
    uint8_t first_prev[VERIFY_HASH]; /* !origin: what the first row follows */
    uint64_t first_seq, last_seq;
    bool begun, begin_origin; /* its first event from the stream's floor on; begin_origin: has no predecessor */
    uint64_t begin_seq;
    uint8_t begin_prev[VERIFY_HASH];
    uint64_t head_seq; /* of the head, 0 = unknown */
    uint64_t last_ordinal;
    char *first_location, *last_location;
    uint32_t last_size; /* of last_location */
    char first_time[VERIFY_TIME], last_time[VERIFY_TIME];
    struct verify_trouble *trouble; /* NULL for a chain without any */
};

struct verify_scopes {
    struct verify_scope **list;
    uint32_t *slots; /* index + 1, 0 = free */
    size_t count, size, mask;
};

struct verify_expected {
    struct hash128 key;
    struct aw_str name; /* as given: a scope, or how reports print it */
    uint8_t hash[VERIFY_HASH];
    struct verify_scope *scope; /* NULL: not seen */
    bool found;
    uint64_t at; /* the scope's count when it was found */
};

struct verify_finding {
    struct verify_finding *next;
    int32_t kind;
    bool open; /* its break is not explained yet */
    int8_t brk;
    struct verify_scope *scope; /* NULL = the trail, or a scope that is not there: name */
    char *name;                 /* NULL, or instead of the scope's */
    char *location, *id, *expected, *found, *message;
};

struct verifier {
    struct aw_verify_options options;
    char *expect_text;
    struct verify_expected *expected;
    size_t expected_count;
    uint8_t scope_key[16];
    uint64_t seen_key[4];

    struct verify_pool *pool;
    struct verify_checker checker; /* the feeding thread's own */
    int failed;                    /* AW_ERR_*: no more use */

    struct verify_scopes scopes;
    struct verify_seen seen;
    struct verify_streams streams;
    bool one_stream; /* others than `stream` do not belong here */
    uint32_t stream;

    uint64_t events, bytes, findings, sealed, sealed_with_seq, with_signature;
    uint64_t views, by_reference, view_fields, confirmed, compared, by_form; /* as in a scope */
    bool in_views;                                                           /* the first sealed event is a view */
    uint64_t unsealed_before;                                                /* before the first sealed event */
    char *unsealed_location;
    uint64_t malformed, last_malformed; /* count; ordinal of the newest */
    uint64_t first_seq, last_seq;

    /* in trail order; given to the callback as soon as the first one is explained */
    struct verify_finding *queue, **queue_end;
    size_t queued;
    uint64_t given;

    bool holding;           /* first reading: no finding is given yet, since a second one may explain it */
    uint64_t most_findings; /* that are described in this reading */
    struct verify_replays *replays;
    struct verify_floors *floors;
};

static inline bool verify_same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, VERIFY_HASH) == 0;
}

/* Everything fed so far is linked (verify.c). */
int verify_drain(struct verifier *v);
/* Links one checked batch. AW_SUCCESS or AW_ERR_*. */
int verify_link_batch(struct verifier *v, struct verify_batch *batch);

/* Notes that there was no memory: verification ends. What follows does so instead of returning an error. */
void verify_nomem(struct verifier *v);

/* verify_scope.c. The row's scope, made when it is new; NULL without memory. */
struct verify_scope *verify_scope_get(struct verifier *v, const struct verify_row *row);
void verify_scopes_clear(struct verify_scopes *scopes);
void verify_copy_time(char out[VERIFY_TIME], struct aw_str time);
/* The row is the newest of its scope: place and time. */
void verify_remember_last(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                          const struct verify_row *row);
/* And it is where the chain goes on from. */
void verify_set_head(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                     const struct verify_row *row);

/* verify_break.c. NULL without memory. */
struct verify_trouble *verify_trouble_get(struct verifier *v, struct verify_scope *s);
void verify_side_add(struct verify_trouble *t, const uint8_t *tail, int brk, unsigned branch);
int verify_side_find(const struct verify_trouble *t, const uint8_t *tail); /* -1: none */
void verify_break_open(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                       const struct verify_row *row, enum verify_break_type type, uint64_t after);
void verify_branch_grew(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row);
int verify_gap_waiting_for(const struct verify_trouble *t, const uint8_t *hash); /* -1: none */
void verify_gap_fill(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                     const struct verify_row *row, int brk);
bool verify_early_joined(struct verifier *v, struct verify_scope *s, const struct verify_row *row);
/* Decides what an open break was, with what is known by now. */
void verify_break_decide(struct verifier *v, struct verify_scope *scope, int brk);

/* ---- replayed dead letters (verify_replay.c) ---- */

struct verify_replays *verify_replays_create(void); /* NULL without memory */
void verify_replays_destroy(struct verify_replays *replays);
/* A row that says which events are replayed; in_place: it follows its predecessor, or that one is a dead letter. */
void verify_replay_record(struct verifier *v, struct aw_str json, bool in_place);
/* The row follows the head of its scope, or begins it. */
void verify_replay_fits(struct verifier *v, const struct verify_scope *s, const struct verify_row *row);
/* Does it go on behind dead letters that are not there yet? The caller makes it the head. */
bool verify_replay_skips(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                         const struct verify_row *row);
/* Is it a replayed dead letter, out of place as a record says? */
bool verify_replay_late(struct verifier *v, struct verify_scope *s, const struct verify_batch *batch,
                        const struct verify_row *row);
bool verify_replay_wants_second(const struct verifier *v);
/* Takes over what the first reading gathered. */
void verify_replay_begin_second(struct verifier *v, struct verify_replays *gathered);
void verify_replay_finish(struct verifier *v); /* finds what was not replayed after all */
/* How many events stand late by records, and of which sink. */
uint64_t verify_replay_accepted(const struct verifier *v, char *ret_sink, size_t size);
void verify_replay_warn(const struct verifier *v);

/* ---- streams that begin later (verify_retention.c) ---- */

struct verify_floors *verify_floors_create(void); /* NULL without memory */
void verify_floors_destroy(struct verify_floors *floors);
/* A row that says where streams begin; in_place: as of a replay's record. */
void verify_retention_record(struct verifier *v, const struct verify_batch *batch, const struct verify_row *row,
                             bool in_place);
/* Before the row's seq is added to its stream's. false: it is below the floor, and is not. */
bool verify_retention_row(struct verify_scope *s, struct verify_stream *stream, const struct verify_row *row);
bool verify_retention_wants_second(struct verifier *v);
void verify_retention_begin_second(struct verifier *next, struct verifier *v); /* takes over what v gathered */
void verify_retention_finish(struct verifier *v);                              /* finds begins that no record covers */
void verify_retention_report(const struct verifier *v, struct aw_verify_report *report);
void verify_retention_warn(const struct verifier *v);

/* ---- findings and reports (verify_report.c) ---- */

/* Counts a finding and queues it unless there are enough; NULL then. All texts are copied; NULL = "". The message is
 * made safe to print. */
struct verify_finding *verify_find(struct verifier *v, int32_t kind, struct verify_scope *scope, const char *location,
                                   struct aw_str id, const char *expected, const char *found, const char *fmt, ...)
    AW_PRINTF(8, 9);
/* Replaces kind and message of an open finding and closes it. finding may be NULL. */
void verify_settle(struct verifier *v, struct verify_finding *finding, int32_t kind, const char *fmt, ...)
    AW_PRINTF(4, 5);
void verify_flush(struct verifier *v, bool all); /* gives what can be given; all: every break is decided now */
int verify_parse_expected(struct verifier *v);
void verify_finish_findings(struct verifier *v);
int verify_finish_reports(struct verifier *v, struct aw_verify_report *report);
void verify_findings_clear(struct verifier *v);
/* prefix and text as one string that drives no terminal: control characters as \u00XX. The caller frees it; NULL: no
 * memory. */
char *verify_printable(struct aw_str prefix, struct aw_str text);

#endif
