/* checks_extensions.c - checks of the optional features that a sink offers. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checks.h"

static const char *const ids[] = {AW_EXT_SINK_POSITION, AW_EXT_SINK_QUERY,   AW_EXT_SINK_TRANSACTION,
                                  AW_EXT_SINK_PROBE,    AW_EXT_SINK_MIGRATE, AW_EXT_SINK_RETENTION};

/* A created instance whose class has the extension; else not applicable. */
static struct kit_instance *with(const char *id)
{
    struct kit_instance *i = kit_has_sink() ? kit_create(0, false, false) : NULL;
    if (!i || kit_extension(i, id))
        return i;
    kit_not_applicable("the sink has no extension %s", id);
    kit_destroy(i);
    return NULL;
}

static void check_ids(void)
{
    struct kit_instance *i = kit_has_sink() ? kit_create(0, false, false) : NULL;
    char had[300] = "none";
    size_t len = 0;
    for (size_t n = 0; i && n < sizeof ids / sizeof ids[0]; n++) {
        const uint32_t *e = kit_extension(i, ids[n]);
        EXPECT(kit_extension(i, ids[n]) == e, "extension(\"%s\") gives another pointer at the second call", ids[n]);
        if (!e)
            continue;
        EXPECT(*e >= 2 * sizeof(uint32_t) + sizeof(void (*)(void)) && *e < 4096 && e[1] == 0,
               "extension %s: struct_size is %u, reserved is %u", ids[n], e[0], e[1]);
        len +=
            (size_t)snprintf(had + len, sizeof had - len, "%s%s", len ? ", " : "", ids[n] + strlen("auditwell.sink."));
    }
    static const char *const unknown[] = {"org.example.unknown/1", "", "auditwell.sink.query/2", "auditwell.sink.query",
                                          "auditwell.sink.query/11"};
    for (size_t n = 0; i && n < sizeof unknown / sizeof unknown[0]; n++)
        EXPECT(kit_extension(i, unknown[n]) == NULL, "extension(\"%s\") is not NULL", unknown[n]);
    if (i)
        kit_note("extensions: %s", had);
    kit_destroy(i);
}

/* ---- position ---- */

static int32_t position(struct kit_instance *i, struct aw_position *ret)
{
    const struct aw_sink_position *ext = kit_extension(i, AW_EXT_SINK_POSITION);
    struct {
        struct aw_position p;
        uint8_t later[KIT_LATER];
    } r = {.p = {.struct_size = sizeof r.p}};
    memset(r.later, KIT_LATER_BYTE, sizeof r.later);
    kit_enter(i, "position()");
    int32_t rc = kit_leave(i, ext->position(kit_sink_of(i), &r.p));
    for (size_t n = 0; n < KIT_LATER; n++)
        if (!EXPECT(r.later[n] == KIT_LATER_BYTE, "position() wrote behind the struct"))
            break;
    EXPECT(memchr(r.p.hash, '\0', sizeof r.p.hash) != NULL, "position() gave a hash without NUL");
    *ret = r.p;
    return rc;
}

static void position_is(struct kit_instance *i, const struct kit_event *e, const char *when)
{
    struct aw_position p = {.seq = 0};
    int32_t rc = position(i, &p);
    if (EXPECT(rc == AW_OK, "position() returned %s %s: %s", kit_code_name(rc), when, kit_error(i)))
        EXPECT(p.seq == e->seq && (p.hash[0] == '\0' || strcmp(p.hash, e->hash) == 0),
               "position() says %llu %.12s… %s; the last event that is stored is %llu %.12s…",
               (unsigned long long)p.seq, p.hash, when, (unsigned long long)e->seq, e->hash);
}

static void check_position(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_POSITION);
    if (!i)
        return;
    struct aw_position p;
    struct kit_set set = kit_events(20, KIT_PLAIN);
    if (kit_start_ok(i)) {
        int32_t rc = position(i, &p);
        EXPECT(rc == AW_OK || rc == AW_E_NOTFOUND, "position() of a store at rest returned %s: %s", kit_code_name(rc),
               kit_error(i));
        if (rc == AW_OK && p.seq >= set.event[0].seq) {
            kit_events_after(p.seq); /* a store that others write to */
            kit_events_free(&set);
            set = kit_events(20, KIT_PLAIN);
        }
    }
    for (int life = 0; life < 2 && !kit_failed(); life++) {
        struct kit_set half = {set.event + life * 10, 10};
        if (kit_deliver(i, &half, 0) && kit_stop_ok(i) && kit_start_ok(i))
            position_is(i, &set.event[life * 10 + 9], "after a restart");
    }
    kit_finish(i);
    kit_events_free(&set);
}

/* write() of a sink with a position stops at the first event that it does not store: else a crash before the host has
 * put a rejected one among its dead letters leaves the position behind an event that nobody has. */
static void check_position_order(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_POSITION);
    if (!i || !kit_start_ok(i)) {
        kit_destroy(i);
        return;
    }
    struct kit_set good = kit_events(4, KIT_PLAIN), bad = kit_events(1, KIT_POISON), rest = kit_events(4, KIT_PLAIN);
    struct kit_event *list[9];
    for (size_t n = 0; n < 9; n++)
        list[n] = n < 4 ? &good.event[n] : n == 4 ? &bad.event[0] : &rest.event[n - 5];
    (void)kit_write(i, list, 9, AW_BATCH_MUST_BE_DURABLE, 0);
    bool stopped = false;
    for (size_t n = 0; n < 9; n++) {
        bool taken = list[n]->settled == KIT_DONE || list[n]->settled == KIT_ACCEPTED;
        EXPECT(!stopped || !taken, "event %zu of the batch was taken behind one that was %s", n,
               bad.event[0].settled == KIT_REJECTED ? "rejected" : "not");
        EXPECT(!stopped || list[n]->status == AW_EVENT_UNKNOWN,
               "event %zu, behind one that was not taken, has the status %s", n,
               kit_status_name(list[n]->status) ? kit_status_name(list[n]->status) : "?");
        stopped = stopped || !taken;
    }
    if (!stopped)
        kit_note("the store took every event: there was nothing to stop at");
    kit_finish(i);
    kit_events_free(&good);
    kit_events_free(&bad);
    kit_events_free(&rest);
}

/* ---- query ---- */

static void check_query(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_QUERY);
    const char *const command = kit.verify_command;
    struct kit_set set = kit_events(130, KIT_PLAIN);
    struct kit_stored s = {NULL, 0, false};
    kit.verify_command = NULL; /* it is the extension that is asked here */
    if (i && kit_start_ok(i) && kit_deliver(i, &set, 0)) {
        if (kit_read(0, &s)) /* beside a writer that is started */
            (void)kit_expect_stored(&s, &set, "read beside the writer");
        kit_stored_free(&s);
        kit_finish(i);
        if (!kit_failed() && kit_read(0, &s)) {
            (void)kit_expect_stored(&s, &set, "read after stop()");
            for (size_t n = 0; n < set.count; n++)
                if (!EXPECT(kit_stored_times(&s, &set.event[n]) == 1, "an event that was sent once is read %zu times",
                            kit_stored_times(&s, &set.event[n])))
                    break;
        }
        kit_stored_free(&s);
    } else {
        kit_destroy(i);
    }
    kit.verify_command = command;
    kit_events_free(&set);
}

/* Reads rows from a cursor on: how many, and the cursor of row `stop_at`. */
static size_t page_from(struct kit_instance *i, const char *after, size_t stop_at, char *ret_cursor, size_t size)
{
    const struct aw_sink_query *ext = kit_extension(i, AW_EXT_SINK_QUERY);
    struct aw_query q = {
        .struct_size = sizeof q, .since_ns = INT64_MIN, .until_ns = INT64_MAX, .after = {after, strlen(after)}};
    struct aw_row row = {.struct_size = sizeof row};
    void *read = NULL;
    size_t n = 0, got = 0;
    kit_enter(i, "query open()");
    int32_t rc = kit_leave(i, ext->open(kit_sink_of(i), &q, &read));
    if (!EXPECT(rc == AW_OK, "open() with a cursor returned %s: %s", kit_code_name(rc), kit_error(i)))
        return 0;
    while (n < stop_at && (rc = ext->next(read, &row, 1, &got)) == AW_OK && got == 1) {
        (void)snprintf(ret_cursor, size, "%.*s", (int)row.cursor.len, row.cursor.ptr);
        n++;
    }
    EXPECT(rc == AW_OK, "next() of one row returned %s: %s", kit_code_name(rc), kit_error(i));
    kit_enter(i, "query close()");
    ext->close(read);
    (void)kit_leave(i, AW_OK);
    return n;
}

static void check_cursor(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_QUERY);
    struct kit_set set = kit_events(20, KIT_PLAIN);
    char cursor[256] = "", ignored[256];
    if (i && kit_start_ok(i) && kit_deliver(i, &set, 0) && kit_stop_ok(i)) {
        size_t all = page_from(i, "", SIZE_MAX, ignored, sizeof ignored);
        size_t first = page_from(i, "", 7, cursor, sizeof cursor);
        size_t rest = cursor[0] ? page_from(i, cursor, SIZE_MAX, ignored, sizeof ignored) : 0;
        EXPECT(cursor[0], "rows have no cursor");
        EXPECT(all >= 20 && first == 7 && first + rest == all, "%zu rows in all, but %zu and, from the cursor on, %zu",
               all, first, rest);
    }
    kit_destroy(i);
    kit_events_free(&set);
}

/* ---- transaction ---- */

static bool tx_do(struct kit_instance *i, const char *what, const char *token, int32_t allowed)
{
    const struct aw_sink_transaction *tx = kit_extension(i, AW_EXT_SINK_TRANSACTION);
    bool commit = what[0] == 'c';
    kit_enter(i, commit ? "commit()" : "rollback()");
    int32_t rc = kit_leave(i, commit ? tx->commit(kit_sink_of(i), token) : tx->rollback(kit_sink_of(i), token));
    return EXPECT(rc == AW_OK || rc == allowed, "%s() of %s returned %s: %s", commit ? "commit" : "rollback", token,
                  kit_code_name(rc) ? kit_code_name(rc) : "?", kit_error(i));
}

static bool in_doubt(struct kit_instance *i, const char *token)
{
    const struct aw_sink_transaction *tx = kit_extension(i, AW_EXT_SINK_TRANSACTION);
    const char *const *tokens = NULL;
    size_t n = 0;
    bool found = false;
    kit_enter(i, "in_doubt()");
    int32_t rc = kit_leave(i, tx->in_doubt(kit_sink_of(i), &tokens, &n));
    EXPECT(rc == AW_OK, "in_doubt() returned %s: %s", kit_code_name(rc), kit_error(i));
    for (size_t k = 0; rc == AW_OK && k < n; k++)
        found = found || strcmp(tokens[k], token) == 0;
    return found;
}

static bool stage(struct kit_instance *i, struct kit_set *set, const char *token)
{
    struct kit_event *list[64];
    for (size_t n = 0; n < set->count && n < 64; n++)
        list[n] = &set->event[n];
    int32_t rc = kit_stage(i, list, set->count, token);
    bool all = EXPECT(rc == AW_OK, "stage() returned %s: %s", kit_code_name(rc), kit_error(i));
    for (size_t n = 0; n < set->count; n++)
        all = all && EXPECT(list[n]->status == AW_EVENT_ACCEPTED || list[n]->status == AW_EVENT_DURABLE,
                            "stage() left event %zu with the status %s", n,
                            kit_status_name(list[n]->status) ? kit_status_name(list[n]->status) : "?");
    return all;
}

static void settle(struct kit_set *set, enum kit_settled how)
{
    for (size_t n = 0; n < set->count; n++)
        set->event[n].settled = how;
}

/* all: every event is there and unchanged; else none is. */
static void visible(struct kit_set *set, bool all, const char *when)
{
    struct kit_stored s;
    if (kit_failed() || kit_class.durability == AW_DURABLE_NEVER || !kit_can_read() || !kit_read(0, &s)) {
        kit_report->not_applicable[0] = '\0';
        return;
    }
    settle(set, KIT_DONE);
    if (all)
        (void)kit_expect_stored(&s, set, when);
    for (size_t n = 0; !all && n < set->count; n++)
        if (!EXPECT(kit_stored_times(&s, &set->event[n]) == 0, "%s: a reader sees an event that is not committed",
                    when))
            break;
    kit_stored_free(&s);
}

static void token_of(char out[65], const char *name)
{
    (void)snprintf(out, 65, "%s.%s-1_A", kit_id, name);
}

static void check_transaction(void)
{
    char token[65], other[65], nothing[65];
    struct kit_instance *i = with(AW_EXT_SINK_TRANSACTION);
    struct kit_set set = kit_events(12, KIT_PLAIN), gone = kit_events(6, KIT_PLAIN);
    token_of(token, "one");
    token_of(other, "two");
    token_of(nothing, "none");
    if (i && kit_start_ok(i)) {
        (void)tx_do(i, "commit", nothing, AW_OK);
        (void)tx_do(i, "rollback", nothing, AW_OK);
        if (stage(i, &set, token)) {
            visible(&set, false, "staged");
            if (kit_class.durability != AW_DURABLE_NEVER)
                EXPECT(in_doubt(i, token), "in_doubt() does not list a token that is staged");
        }
        if (!kit_failed() && tx_do(i, "commit", token, AW_OK)) {
            visible(&set, true, "committed");
            (void)tx_do(i, "commit", token, AW_OK);
            (void)tx_do(i, "rollback", token, AW_OK); /* too late: nothing happens */
            visible(&set, true, "committed, and rolled back afterwards");
        }
        if (!kit_failed() && stage(i, &gone, other) && tx_do(i, "rollback", other, AW_OK)) {
            (void)tx_do(i, "rollback", other, AW_OK);
            (void)tx_do(i, "commit", other, AW_OK);
            visible(&gone, false, "rolled back, and committed afterwards");
            EXPECT(!in_doubt(i, other), "in_doubt() lists a token that was rolled back");
        }
        /* a token that was staged before is staged anew */
        if (!kit_failed() && stage(i, &gone, other) && stage(i, &gone, other) && tx_do(i, "commit", other, AW_OK))
            visible(&gone, true, "staged twice, and committed");
        kit_finish(i);
    } else {
        kit_destroy(i);
    }
    kit_events_free(&set);
    kit_events_free(&gone);
}

struct staged {
    struct kit_set *set;
    const char *token;
};

static void stage_and_die(void *arg)
{
    struct staged *s = arg;
    struct kit_instance *i = kit_ready(0);
    if (i && stage(i, s->set, s->token))
        kit_report->claimed = s->set->count;
    (void)kill(getpid(), SIGKILL);
    kit_exit(1);
}

static void check_transaction_kill(void)
{
    char token[65];
    struct kit_instance *i = with(AW_EXT_SINK_TRANSACTION);
    if (!i)
        return;
    kit_destroy(i);
    if (kit_class.durability == AW_DURABLE_NEVER) {
        kit_not_applicable("the class stores nothing (AW_DURABLE_NEVER)");
        return;
    }
    for (int commit = 0; commit < 2 && !kit_failed(); commit++) {
        struct kit_set set = kit_events(8, KIT_PLAIN);
        struct staged s = {&set, token};
        token_of(token, commit ? "commit" : "rollback");
        (void)kit_in_child("the process that is killed", 30, stage_and_die, &s);
        i = kit_failed() ? NULL : kit_ready(0);
        bool survived = i && in_doubt(i, token);
        if (i && !survived)
            kit_note("what was staged does not survive the process");
        if (i && tx_do(i, commit ? "commit" : "rollback", token, commit ? AW_E_NOTFOUND : AW_OK)) {
            EXPECT(!in_doubt(i, token), "in_doubt() lists a token that is decided");
            visible(&set, commit && survived, commit ? "staged, killed, committed" : "staged, killed, rolled back");
        }
        kit_finish(i);
        kit_events_free(&set);
    }
}

/* ---- probe, migrate, retention ---- */

static void check_probe(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_PROBE);
    if (!i)
        return;
    const struct aw_sink_probe *ext = kit_extension(i, AW_EXT_SINK_PROBE);
    int32_t rc[2];
    for (int n = 0; n < 2; n++) { /* before there is a store, and with one */
        uint64_t begun = kit_mono_ns();
        kit_enter(i, "probe()");
        rc[n] = kit_leave(i, ext->probe(kit_sink_of(i), begun + 5000000000u));
        EXPECT(kit_mono_ns() - begun < (5 + 3 * (uint64_t)kit.patience) * 1000000000u,
               "probe() did not return by its deadline");
        if (n == 0 && kit_start_ok(i))
            (void)kit_stop_ok(i);
    }
    EXPECT(rc[1] == AW_OK, "probe() of a store that start() has opened returned %s: %s", kit_code_name(rc[1]),
           kit_error(i));
    kit_destroy(i);
}

static void count_step(void *arg, const char *text)
{
    size_t *n = arg;
    ++*n;
    EXPECT(text && text[0] && !strchr(text, '\n'), "a step of migrate() is no line of text");
}

static size_t migrate(struct kit_instance *i, uint32_t flags)
{
    const struct aw_sink_migrate *ext = kit_extension(i, AW_EXT_SINK_MIGRATE);
    size_t steps = 0;
    kit_enter(i, "migrate()");
    int32_t rc = kit_leave(i, ext->migrate(kit_sink_of(i), flags, count_step, &steps));
    EXPECT(rc == AW_OK, "migrate() returned %s: %s", kit_code_name(rc), kit_error(i));
    return steps;
}

static void check_migrate(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_MIGRATE);
    if (!i)
        return;
    size_t first = migrate(i, AW_MIGRATE_DRY_RUN), again = migrate(i, AW_MIGRATE_DRY_RUN);
    EXPECT(first == again, "a dry run tells %zu steps, the next one %zu: it changed something", first, again);
    size_t done = migrate(i, 0), left = migrate(i, AW_MIGRATE_DRY_RUN);
    EXPECT(done == first, "the dry run told %zu steps, and %zu were done", first, done);
    EXPECT(left == 0, "%zu steps are left after all were done", left);
    if (!kit_failed() && kit_start_ok(i)) {
        struct kit_set set = kit_events(3, KIT_PLAIN);
        (void)kit_deliver(i, &set, 0);
        kit_events_free(&set);
    }
    kit_finish(i);
}

#define STREAMS 64
struct plan {
    struct aw_prune prune[STREAMS];
    const struct aw_prune *list[STREAMS];
    size_t streams;
    uint64_t events, newest;
};

static int32_t found(void *arg, const struct aw_prune *p)
{
    struct plan *plan = arg;
    EXPECT(p->count == 0 || (p->first_seq <= p->last_seq && p->last_seq < p->keep_seq && p->first_ns <= p->last_ns &&
                             p->last_seq - p->first_seq + 1 >= p->count),
           "plan() found %llu events from %llu to %llu, below %llu", (unsigned long long)p->count,
           (unsigned long long)p->first_seq, (unsigned long long)p->last_seq, (unsigned long long)p->keep_seq);
    EXPECT(memchr(p->keep_hash, '\0', sizeof p->keep_hash) && strlen(p->keep_hash) == 64,
           "plan() gave a keep_hash that is none");
    EXPECT(p->keep_seq <= plan->newest, "plan() keeps nothing of a stream: its newest event always stays");
    if (plan->streams == STREAMS)
        return 1;
    plan->prune[plan->streams] = *p;
    plan->list[plan->streams] = &plan->prune[plan->streams];
    plan->streams++;
    plan->events += p->count;
    return 0;
}

static void plan_make(struct kit_instance *i, struct plan *plan)
{
    const struct aw_sink_retention *ext = kit_extension(i, AW_EXT_SINK_RETENTION);
    *plan = (struct plan){.newest = kit_events_last()};
    kit_enter(i, "plan()");
    int32_t rc = kit_leave(i, ext->plan(kit_sink_of(i), INT64_MAX, found, plan));
    EXPECT(rc == AW_OK, "plan() returned %s: %s", kit_code_name(rc), kit_error(i));
    EXPECT(plan->streams > 0, "plan() found no stream in a store with events");
}

/* What the plan keeps is there, and what it said is gone. */
static void look_after_prune(const struct plan *plan, const struct kit_set *set, size_t before, uint64_t removed)
{
    struct kit_stored after;
    if (!kit_read(0, &after))
        return;
    EXPECT(after.count + removed == before, "of %zu events prune() removed %llu, and %zu are left", before,
           (unsigned long long)removed, after.count);
    for (size_t n = 0; n < set->count; n++)
        if (set->event[n].seq >= plan->prune[0].keep_seq &&
            !EXPECT(kit_stored_times(&after, &set->event[n]) == 1,
                    "prune() removed seq %llu; the plan kept all from %llu on", (unsigned long long)set->event[n].seq,
                    (unsigned long long)plan->prune[0].keep_seq))
            break;
    kit_stored_free(&after);
}

static void check_retention(void)
{
    struct kit_instance *i = with(AW_EXT_SINK_RETENTION);
    struct kit_set set = kit_events(60, KIT_PLAIN);
    struct kit_stored before;
    static struct plan plan, again;
    if (!i || !kit_start_ok(i) || !kit_deliver(i, &set, 0) || !kit_stop_ok(i) || !kit_can_read() ||
        !kit_read(0, &before)) {
        kit_destroy(i);
        kit_events_free(&set);
        return;
    }
    plan_make(i, &plan);
    plan_make(i, &again);
    EXPECT(plan.events == again.events && plan.streams == again.streams, "a plan changed the next plan");
    if (!kit_failed()) {
        const struct aw_sink_retention *ext = kit_extension(i, AW_EXT_SINK_RETENTION);
        uint64_t removed = 0;
        kit_enter(i, "prune()");
        int32_t rc = kit_leave(i, ext->prune(kit_sink_of(i), plan.list, plan.streams, &removed));
        EXPECT(rc == AW_OK && removed <= plan.events,
               "prune() returned %s and removed %llu events of a plan of %llu: %s", kit_code_name(rc),
               (unsigned long long)removed, (unsigned long long)plan.events, kit_error(i));
        look_after_prune(&plan, &set, before.count, removed);
    }
    kit_note("the plan had %zu streams, and %llu events that can go", plan.streams, (unsigned long long)plan.events);
    kit_stored_free(&before);
    kit_destroy(i);
    kit_events_free(&set);
}

const struct kit_check checks_extensions[] = {
    {"extension", "extension() knows its own ids and gives NULL for others",
     "compare the whole id; return the same constant struct each time", check_ids, 20, false},
    {"position", "position() is the last event that is stored",
     "report what is stored for good, with its hash; see plugin.h", check_position, 60, false},
    {"position-order", "write() of a sink with a position stops at the first event that it does not store",
     "leave the events behind it AW_EVENT_UNKNOWN: the host calls again at once", check_position_order, 30, false},
    {"query", "every event is read back, once, byte for byte, also beside the writer",
     "store what event_encoded(\"json\") gives, and return those bytes", check_query, 60, false},
    {"query-cursor", "a read that begins at a row's cursor goes on behind that row", "see struct aw_query: after",
     check_cursor, 60, false},
    {"transaction", "stage, commit and rollback do what they say, as often as they are called",
     "see struct aw_sink_transaction", check_transaction, 90, false},
    {"transaction-kill", "what was staged is decided after a kill",
     "in_doubt() lists what is staged; it can be decided", check_transaction_kill, 90, false},
    {"probe", "probe() answers in time and accepts a store that works", "see struct aw_sink_probe", check_probe, 40,
     false},
    {"migrate", "migrate() tells its steps, does them, and is then done", "see struct aw_sink_migrate", check_migrate,
     60, false},
    {"retention", "plan() changes nothing, prune() removes what was planned and no more",
     "see struct aw_sink_retention", check_retention, 60, false},
    {NULL, NULL, NULL, NULL, 0, false},
};

const struct kit_check *const kit_groups[] = {checks_file,    checks_life,   checks_write,      checks_durable,
                                              checks_threads, checks_faults, checks_extensions, NULL};
