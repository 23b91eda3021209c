/* instance.c - calls of a sink, each with what must hold before and after. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inject.h"
#include "instance.h"

void kit_enter(struct kit_instance *i, const char *callback)
{
    kit_doing("%s of instance %u", callback, i->number);
    (void)pthread_mutex_lock(&i->lock);
    i->error_set = false;
    (void)pthread_mutex_unlock(&i->lock);
}

/* A code is one of plugin.h, and a failure says why. */
int32_t kit_leave(struct kit_instance *i, int32_t code)
{
    host_check(i);
    (void)pthread_mutex_lock(&i->lock);
    bool told = i->error_set;
    (void)pthread_mutex_unlock(&i->lock);
    if (EXPECT(kit_code_name(code) != NULL, "%s returned %d, which is no code of plugin.h", kit_here(), (int)code) &&
        code < 0 && code != AW_E_NOMEM && code != AW_E_NOTFOUND && code != AW_E_UNSUPPORTED)
        EXPECT(told, "%s returned %s without a text: return aw_host_error(host, code, \"…\")", kit_here(),
               kit_code_name(code));
    kit_doing("the kit itself");
    return code;
}

const char *kit_error(struct kit_instance *i)
{
    return i->error;
}

void *kit_sink_of(struct kit_instance *i)
{
    return i->sink;
}

bool kit_host_said(struct kit_instance *i, const char *text)
{
    (void)pthread_mutex_lock(&i->lock);
    bool said = strstr(i->said, text) != NULL;
    (void)pthread_mutex_unlock(&i->lock);
    return said;
}

size_t kit_host_lines(struct kit_instance *i)
{
    return i->lines;
}

static void free_instance(struct kit_instance *i)
{
    kit_config_free(i->config);
    kit_config_free(i->former);
    (void)pthread_mutex_destroy(&i->lock);
    i->alive = 0;
    free(i);
}

long kit_create_failing;

struct kit_instance *kit_create(unsigned n, bool slow, bool quiet)
{
    struct aw_config *config = kit_config(n, slow);
    struct kit_instance *i = config ? calloc(1, sizeof *i) : NULL;
    void *const untouched = (void *)(uintptr_t)0x5a5a5a5a;
    if (!i) {
        kit_config_free(config);
        return NULL;
    }
    *i = (struct kit_instance){.alive = INSTANCE_ALIVE, .number = n, .config = config, .sink = untouched};
    (void)snprintf(i->name, sizeof i->name, "check%u", n);
    (void)pthread_mutex_init(&i->lock, NULL);
    host_fill(i);
    i->creating = true;
    kit_enter(i, "create()");
    if (kit_create_failing)
        inject_arm(INJECT_MALLOC, kit_create_failing, ENOMEM, false);
    int32_t rc = kit_class.create(&i->host, i->config, &i->sink);
    if (kit_create_failing)
        (void)inject_disarm();
    (void)kit_leave(i, rc);
    i->creating = false;
    kit_config_seal(i->config);
    if (rc == AW_OK && EXPECT(i->sink != untouched, "create() returned AW_OK and did not set *ret_sink"))
        return i;
    EXPECT(rc == AW_OK || i->sink == untouched, "create() returned %s and changed *ret_sink", kit_code_name(rc));
    if (!quiet)
        kit_finding("create() returned %s: %s", kit_code_name(rc), i->error);
    free_instance(i);
    return NULL;
}

void kit_destroy(struct kit_instance *i)
{
    if (!i)
        return;
    kit_enter(i, "destroy()");
    kit_class.destroy(i->sink);
    (void)kit_leave(i, AW_OK);
    free_instance(i);
}

int32_t kit_start(struct kit_instance *i)
{
    if (!kit_class.start) {
        i->started = true;
        return AW_OK;
    }
    kit_enter(i, "start()");
    int32_t rc = kit_leave(i, kit_class.start(i->sink));
    i->started = rc == AW_OK;
    return rc;
}

int32_t kit_stop_by(struct kit_instance *i, uint64_t deadline_ns)
{
    i->started = false;
    if (!kit_class.stop)
        return AW_OK;
    kit_enter(i, "stop()");
    return kit_leave(i, kit_class.stop(i->sink, deadline_ns));
}

int32_t kit_stop(struct kit_instance *i)
{
    return kit_stop_by(i, kit_mono_ns() + UINT64_C(10000000000) * kit.patience);
}

int32_t kit_flush(struct kit_instance *i, uint64_t deadline_ns, uint64_t *ret_seq)
{
    uint64_t seq = 0;
    if (!kit_class.flush) {
        *ret_seq = i->highest_seq;
        return AW_OK;
    }
    kit_enter(i, "flush()");
    int32_t rc = kit_leave(i, kit_class.flush(i->sink, deadline_ns, &seq));
    if (rc == AW_OK)
        EXPECT(seq <= kit_events_last(),
               "flush() says that all up to %llu is durable, but no event above %llu was given",
               (unsigned long long)seq, (unsigned long long)kit_events_last());
    *ret_seq = seq;
    return rc;
}

int32_t kit_health(struct kit_instance *i, struct aw_health *ret)
{
    struct {
        struct aw_health health;
        uint8_t later[KIT_LATER];
    } h = {.health = {.struct_size = sizeof h.health}};
    memset(h.later, KIT_LATER_BYTE, sizeof h.later);
    if (!kit_class.health)
        return AW_E_UNSUPPORTED;
    int32_t rc = kit_class.health(i->sink, &h.health); /* from any thread: the record of calls is not touched */
    for (size_t n = 0; n < sizeof h.later; n++)
        if (!EXPECT(h.later[n] == KIT_LATER_BYTE, "health() wrote behind the struct: heed its struct_size"))
            break;
    EXPECT(h.health.struct_size == sizeof h.health, "health() changed struct_size, which is the host's");
    *ret = h.health;
    return rc;
}

int32_t kit_reopen(struct kit_instance *i)
{
    if (!kit_class.reopen) {
        int32_t rc = kit_stop(i);
        return rc == AW_OK ? kit_start(i) : rc;
    }
    kit_enter(i, "reopen()");
    return kit_leave(i, kit_class.reopen(i->sink));
}

int32_t kit_after_fork(struct kit_instance *i)
{
    i->started = false;
    if (!kit_class.after_fork)
        return AW_OK;
    kit_doing("after_fork()");
    return kit_class.after_fork(i->sink);
}

int32_t kit_reconfigure(struct kit_instance *i, unsigned n)
{
    struct aw_config *config = kit_config(n, false);
    if (!config)
        return AW_E_CONFIG;
    kit_enter(i, "reconfigure()");
    int32_t rc = kit_leave(i, kit_class.reconfigure(i->sink, config));
    kit_config_seal(config);
    i->former = i->config;
    i->config = config;
    return rc;
}

const void *kit_extension(struct kit_instance *i, const char *id)
{
    if (!kit_class.extension)
        return NULL;
    kit_doing("extension(\"%s\")", id);
    const void *e = kit_class.extension(i->sink, id);
    kit_doing("the kit itself");
    return e;
}

/* ---- writing ---- */

static enum kit_settled settled_by(uint8_t status)
{
    switch (status) {
    case AW_EVENT_ACCEPTED:
        return kit_class.durability == AW_DURABLE_NEVER || !kit_class.flush ? KIT_DONE : KIT_ACCEPTED;
    case AW_EVENT_DURABLE:
    case AW_EVENT_DUPLICATE:
        return KIT_DONE;
    case AW_EVENT_REJECTED:
        return KIT_REJECTED;
    default:
        return KIT_OPEN;
    }
}

static void judge_status(struct kit_instance *i, const struct kit_event *e, uint8_t status, size_t at, bool must)
{
    if (!EXPECT(kit_status_name(status) != NULL, "event %zu of the batch has status %u, which is none of plugin.h", at,
                status))
        return;
    /* after a failure on the way a client may have sent it again itself */
    EXPECT(status != AW_EVENT_DUPLICATE || e->sent || inject_fired(),
           "an event that was never sent before is called a duplicate: it would "
           "be forgotten");
    EXPECT(status != AW_EVENT_DURABLE || kit_class.durability != AW_DURABLE_NEVER,
           "AW_EVENT_DURABLE from a class whose durability is AW_DURABLE_NEVER");
    EXPECT(status != AW_EVENT_REJECTED || i->event_error[at],
           "event %zu is rejected without a reason: call aw_host_event_error(host, %zu, \"…\")", at, at);
    EXPECT(!must || status != AW_EVENT_ACCEPTED || kit_class.durability == AW_DURABLE_NEVER,
           "AW_BATCH_MUST_BE_DURABLE was set, and the event is only accepted");
}

/* What came back for the batch; the events' states follow it. */
static void judge(struct kit_instance *i, const struct kit_batch *b, const struct aw_result *r,
                  struct kit_event *const *events, int32_t rc)
{
    bool must = (b->batch.flags & AW_BATCH_MUST_BE_DURABLE) != 0;
    size_t said = 0;
    for (size_t n = 0; n < b->count; n++) {
        uint8_t status = b->status[n];
        judge_status(i, events[n], status, n, must);
        said += status != AW_EVENT_UNKNOWN;
        events[n]->status = status;
        events[n]->settled = settled_by(status);
        events[n]->sent = true;
    }
    EXPECT(rc != AW_OK || said > 0, "write() returned AW_OK, and no event of the batch has a status");
    EXPECT(r->status == b->status && r->count == b->count, "wrote into struct aw_result's pointer or count");
    EXPECT(r->retry_after_ms == 0 || rc == AW_E_THROTTLED, "retry_after_ms is set, but the code is not AW_E_THROTTLED");
}

static int32_t give(struct kit_instance *i, struct kit_event *const *events, size_t count, uint32_t flags,
                    uint64_t deadline_ns, const char *token)
{
    struct kit_batch b;
    struct {
        struct aw_result result;
        uint8_t later[KIT_LATER];
    } r = {.result = {0}};
    const struct aw_sink_transaction *tx = token ? kit_extension(i, AW_EXT_SINK_TRANSACTION) : NULL;
    if (!kit_batch_make(&b, events, count))
        return AW_E_NOMEM;
    b.batch.flags = flags;
    b.batch.deadline_ns = deadline_ns;
    r.result =
        (struct aw_result){(uint32_t)(b.batch.struct_size - sizeof b.batch + sizeof r.result), 0, count, b.status};
    memset(r.later, KIT_LATER_BYTE, sizeof r.later);
    i->event_error = calloc(count, sizeof *i->event_error);
    i->event_count = count;
    if (events[count - 1]->seq > i->highest_seq)
        i->highest_seq = events[count - 1]->seq;
    kit_enter(i, token ? "stage()" : "write()");
    int32_t rc = kit_leave(i, token ? tx->stage(i->sink, &b.batch, &r.result, token)
                                    : kit_class.write(i->sink, &b.batch, &r.result));
    judge(i, &b, &r.result, events, rc);
    for (size_t n = 0; n < KIT_LATER; n++)
        if (!EXPECT(r.later[n] == KIT_LATER_BYTE && b.later[n] == KIT_LATER_BYTE,
                    "wrote behind struct aw_result or struct aw_batch"))
            break;
    free(i->event_error);
    i->event_error = NULL;
    kit_batch_end(&b);
    return rc;
}

int32_t kit_write(struct kit_instance *i, struct kit_event *const *events, size_t count, uint32_t flags,
                  uint64_t deadline_ns)
{
    return give(i, events, count, flags, deadline_ns, NULL);
}

int32_t kit_stage(struct kit_instance *i, struct kit_event *const *events, size_t count, const char *token)
{
    return give(i, events, count, 0, 0, token);
}

/* ---- delivering as the host does ---- */

static size_t open_events(const struct kit_set *set)
{
    size_t n = 0;
    for (size_t k = 0; k < set->count; k++)
        n += set->event[k].settled == KIT_OPEN || set->event[k].settled == KIT_ACCEPTED;
    return n;
}

/* What is accepted: acknowledged up to the number that flush() returns, or to be sent again. */
static void flush_set(struct kit_instance *i, struct kit_set *set)
{
    uint64_t seq = 0, deadline = kit_mono_ns() + UINT64_C(10000000000) * kit.patience;
    bool ok = kit_flush(i, deadline, &seq) == AW_OK;
    for (size_t k = 0; k < set->count; k++) {
        struct kit_event *e = &set->event[k];
        if (e->settled == KIT_ACCEPTED && (!ok || e->seq <= seq))
            e->settled = ok ? KIT_DONE : KIT_OPEN;
    }
}

bool kit_deliver_once(struct kit_instance *i, struct kit_set *set, size_t max, uint32_t flags)
{
    struct kit_event **list = calloc(max, sizeof *list);
    size_t n = 0;
    for (size_t k = 0; list && k < set->count && n < max; k++)
        if (set->event[k].settled == KIT_OPEN)
            list[n++] = &set->event[k];
    if (n > 0) {
        int32_t rc = kit_write(i, list, n, flags, kit_mono_ns() + UINT64_C(10000000000) * kit.patience);
        if (rc == AW_E_THROTTLED || rc == AW_E_RETRY || rc == AW_E_UNAVAILABLE || rc == AW_E_TIMEOUT)
            kit_nap(inject_fired() ? 1 : 20);
    }
    free(list);
    if ((flags & AW_BATCH_MUST_BE_DURABLE) == 0)
        flush_set(i, set);
    return open_events(set) > 0;
}

#define ROUNDS 100
bool kit_deliver(struct kit_instance *i, struct kit_set *set, uint32_t flags)
{
    unsigned rounds = 0;
    while (rounds < ROUNDS && !kit_failed() && kit_deliver_once(i, set, kit.batch_max, flags))
        rounds++;
    size_t left = open_events(set), rejected = 0;
    if (left > 0 && !kit_failed())
        kit_finding("%zu of %zu events were not acknowledged in %u rounds; last error: %s", left, set->count, rounds,
                    i->error[0] ? i->error : "none");
    for (size_t k = 0; k < set->count; k++)
        rejected += set->event[k].settled == KIT_REJECTED && !set->event[k].poisoned;
    EXPECT(rejected == 0, "%zu of %zu ordinary events were rejected; last reason: %.300s", rejected, set->count,
           i->said_len > 300 ? i->said + i->said_len - 300 : i->said);
    return !kit_failed();
}

bool kit_start_ok(struct kit_instance *i)
{
    int32_t rc = AW_E_RETRY;
    for (unsigned tries = 0; tries < 20 && rc != AW_OK && rc != AW_E_CONFIG; tries++) {
        if (tries > 0)
            kit_nap(50);
        rc = kit_start(i);
    }
    return EXPECT(rc == AW_OK, "start() returned %s: %s", kit_code_name(rc), i->error);
}

bool kit_stop_ok(struct kit_instance *i)
{
    int32_t rc = kit_stop(i);
    return EXPECT(rc == AW_OK, "stop() returned %s: %s", kit_code_name(rc), i->error);
}

struct kit_instance *kit_ready(unsigned n)
{
    struct kit_instance *i = kit_create(n, false, false);
    if (!i || kit_start_ok(i))
        return i;
    kit_destroy(i);
    return NULL;
}
