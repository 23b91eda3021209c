/* model.h - random schedules of the real delivery code on a virtual clock, against a simple model.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The tested code is everything above the journal: taking events (logger.c, fanout.c, gaps.c) and delivery/. Below it
 * stand fakes that the linker puts in place of the real functions (--wrap, see local.mk): the journal, the dead-letter
 * file, the decision file, the clock, and whatever waits. Nothing runs but one thread: where the tested code would
 * wait, other steps are run or the clock is moved. All that happens follows from the seed.
 *
 *   model.c          schedules: what is done, replay, shrinking
 *   model_run.c      one life of the process after the other, and whose turn it is
 *   model_world.c    the fakes
 *   model_sink.c     sinks with faults
 *   model_expect.c   the model: what must be true
 */
#ifndef AW_MODEL_H
#define AW_MODEL_H

#include "delivery/together_private.h"
#include "logger.h"

#include <setjmp.h>

#define MODEL_SINKS 3
#define MODEL_EVENTS 60 /* fewer than the ledger has runs: its parts are exact then */
#define MODEL_OPS 40
#define MS UINT64_C(1000000)
#define FOR_EVER (UINT64_C(1) << 62)

/* What is known of one event and one sink since the process began or the sink lost its memory. */
enum model_state { MODEL_OWED, MODEL_ACCEPTED, MODEL_WRITTEN, MODEL_DUPLICATE, MODEL_DEAD };

struct model_event {
    struct record_header head;
    struct field_ref fields[EVENT_MAX_FIELDS];
    const char *json;
    bool lost;                 /* damaged in the journal before anybody read it */
    bool excused;              /* refused, and the store's position has passed it: the known gap of together.h */
    uint64_t gap;              /* it records so many dropped events */
    unsigned bad[MODEL_SINKS]; /* 1: the sink refuses it for good, 2: and with it the whole batch */
};

enum model_call {
    CALL_START,
    CALL_WRITE,
    CALL_FLUSH,
    CALL_STAGE,
    CALL_SETTLE,
    CALL_IN_DOUBT,
    CALL_POSITION,
    CALL_OTHER
};

struct model_sink {
    /* of the schedule */
    unsigned index;
    char name[8];
    struct aw_sink_class class;
    struct delivery_settings settings;
    bool stages, has_position, has_keys, required;
    uint32_t fails;      /* of 16 calls so many fail */
    bool slow;           /* calls may take longer than their deadline */
    uint64_t down_until; /* until then every call fails */
    const struct aw_host *host;
    struct delivery *d;
    /* the store: survives the process */
    uint8_t stored[MODEL_EVENTS + 1], unflushed[MODEL_EVENTS + 1], staged[MODEL_EVENTS + 1];
    uint8_t dead[MODEL_EVENTS + 1]; /* letters in the dead-letter file */
    char token[STAGING_TOKEN_MAX + 1];
    unsigned token_life;
    const char *token_list[1];
    bool reset; /* a power loss threw the cursor back: what it has may come again */
    /* the cursor's file, and the cursor */
    uint64_t acked, acked_on_disk, position;
    uint64_t written_to; /* the last event that this instance was given */
    /* the model, of this life */
    enum model_state state[MODEL_EVENTS + 1];
    bool refused[MODEL_EVENTS + 1]; /* its last word about the event */
    bool started, rewind, config_stopped;
    bool blurred; /* the cursor followed the store, which does not tell what was refused or lost before */
    uint64_t base, delivered, dead_counted, lost_counted;
    uint32_t failures_in_row;
    uint64_t not_before, not_after; /* when the next call may and must be made */
    struct {
        int state;
        uint32_t failures, successes;
        uint64_t open_until;
    } breaker;
    struct {
        bool open;
        enum model_call what;
        int32_t rc;
        uint64_t ended;
        uint64_t wanted; /* in a group: the round's last event that a flush must cover */
        uint32_t retry_after_ms;
        size_t sent, settled, letters; /* settled: by status; letters: stored since */
        uint64_t refusals;             /* by status: bits of sequence numbers */
    } call;
};

struct model_actor { /* a worker, or the coordinator of a group */
    bool alive, waits;
    uint64_t due;
    unsigned wakes;
};

struct model {
    uint64_t seed, random;
    bool verbose, quiet_life; /* quiet_life: faults have ended */
    uint64_t now;
    bool can_kill;
    unsigned kill_in; /* crash points until the process dies; 0: it does not */
    char why[300];
    /* the journal */
    uint64_t head, durable, sync_due;
    bool full;
    unsigned wakes, life;
    struct model_event events[MODEL_EVENTS + 1];
    char text[MODEL_EVENTS * 800];
    size_t text_used;
    uint64_t gaps_recorded, dropped;
    bool letters_fail, decisions_fail;
    uint64_t pause_allowed; /* for reasons other than a sink's */
    bool opening;
    struct decision decided; /* on disk */
    bool known_gap;          /* a sink said that it lost what was staged, and the decision does not say so yet */
    bool decision_in_doubt;  /* the last store failed: it may be there all the same */
    struct decision doubtful;
    /* the process */
    size_t sinks;
    bool group;
    bool drops; /* mode "drop" is in use, and with it the file of gaps */
    struct model_sink sink[MODEL_SINKS];
    struct aw_logger logger;
    struct logger_core core;
    struct settings settings;
    struct together *together;
    struct model_actor actor[MODEL_SINKS];
    size_t actors;
    uint64_t steps, digest; /* digest: of all that happened */
    unsigned still;         /* steps since time last went by */
};
extern struct model W;
extern jmp_buf model_on_failure, model_on_kill;

/* ---- model_world.c ---- */
uint64_t model_random(uint64_t below);
bool model_chance(unsigned of_16);
void model_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void model_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void model_point(void);              /* the process may die here */
void model_lose_power(void);         /* what was not on the disk is gone */
void model_allow_pause(uint64_t ns); /* from now on, for reasons that are not a sink's */
void model_pass(uint64_t ns);        /* time goes by */

/* ---- model_sink.c ---- */
void model_sink_choose(struct model_sink *s); /* kind and settings, at random */
void model_sink_dies(struct model_sink *s);   /* with the process */

/* ---- model_expect.c ---- */
void expect_life_begins(struct model_sink *s);
void expect_call_begins(struct model_sink *s, enum model_call what);
void expect_call_ends(struct model_sink *s, int32_t rc, uint32_t retry_after_ms, size_t sent);
void expect_verdict(struct model_sink *s); /* of the last call: success or failure */
void expect_offered(struct model_sink *s, const uint64_t *seqs, size_t count);
void expect_status(struct model_sink *s, uint64_t seq, uint8_t status);
void expect_ack(struct model_sink *s, uint64_t seq);
void expect_letter(struct model_sink *s, uint64_t seq, uint32_t attempts, const char *reason);
void expect_letter_failed(struct model_sink *s);
void expect_rewind(struct model_sink *s);
void expect_decision(const struct decision *d);
void expect_settled_token(struct model_sink *s, const char *token, bool commit);
void expect_pause(size_t actor, struct worker_next next);
void expect_figures(struct model_sink *s);
void expect_taken(int rc, int mode, uint64_t seq, uint64_t deadline); /* seq 0: not taken */
void expect_end(void);
bool model_has(const struct model_sink *s, uint64_t seq);

/* ---- model_run.c ---- */
void model_open(void);
bool model_close(uint64_t deadline); /* true: all was delivered */
void model_free(void);               /* at the end of the program */
void model_kill(void);               /* frees what the dead process had */
void model_step(size_t actor);
/* Something happens: a step, or time goes by, but not beyond `until`. */
void model_turn(uint64_t until);
struct model_sink *model_sink_named(const char *name);

#endif
