/* fanout.c - mode "block": when have enough sinks got an event? SPDX-License-Identifier: Apache-2.0
 *
 * best_effort     every sink that is required; when none is marked, every sink
 * quorum          `quorum` sinks, the required ones among them
 * all_or_nothing  every sink
 *
 * A sink that dead-letters the event, or stopped for good, does not get it: when the rest is not enough, the call fails
 * at once. The event stays accepted in any case, and sinks that are late get it later.
 */
#include "config.h"

#include "base/clock.h"
#include "logger.h"

#include <errno.h>

struct count {
    size_t done, pending;
    bool needed_lost, needed_pending;
};

static bool is_needed(const struct logger_core *core, size_t sink)
{
    return core->required[sink] || core->settings->fanout == SETTINGS_FANOUT_ALL ||
           (core->settings->fanout == SETTINGS_FANOUT_BEST_EFFORT && !core->some_required);
}

static struct count look(struct logger_core *core, uint64_t seq)
{
    struct count c = {0, 0, false, false};
    for (size_t i = 0; i < core->started; i++) {
        enum delivery_outcome o = delivery_outcome(core->sinks[i], seq);
        c.done += o == DELIVERY_DONE;
        c.pending += o == DELIVERY_PENDING;
        if (is_needed(core, i)) {
            c.needed_lost |= o == DELIVERY_REFUSED || o == DELIVERY_DOWN;
            c.needed_pending |= o == DELIVERY_PENDING;
        }
    }
    return c;
}

/* 0: enough have it; -EINPROGRESS; -EIO: they never will */
static int judge(struct logger_core *core, uint64_t seq)
{
    struct count c = look(core, seq);
    size_t quorum = core->settings->fanout == SETTINGS_FANOUT_QUORUM ? core->settings->quorum : 0;
    if (c.needed_lost || c.done + c.pending < quorum)
        return -EIO;
    return c.needed_pending || c.done < quorum ? -EINPROGRESS : 0;
}

/* Every sink that has not got it, in the problems of the call. */
static int explain(struct logger_core *core, uint64_t seq, int code)
{
    for (size_t i = 0; i < core->started; i++) {
        enum delivery_outcome o = delivery_outcome(core->sinks[i], seq);
        if (o == DELIVERY_DONE)
            continue;
        struct aw_sink_stats s = {.struct_size = sizeof s};
        delivery_get_stats(core->sinks[i], seq, &s);
        const char *what = o == DELIVERY_REFUSED ? "rejected the event: it is kept as a dead letter"
                                                 : "has not got the event yet (it stays in the journal)";
        diag_problem(code, s.name, "%s%s%s", what, s.last_error_text[0] ? "; last error: " : "", s.last_error_text);
    }
    return code;
}

void fanout_begin(struct logger_core *core)
{
    for (size_t i = 0; i < core->started; i++)
        delivery_hurry(core->sinks[i]);
}

void fanout_end(struct logger_core *core)
{
    for (size_t i = 0; i < core->started; i++)
        delivery_rest(core->sinks[i]);
}

int fanout_wait(struct logger_core *core, uint64_t seq, uint64_t deadline_mono_ns)
{
    struct delivery_watch *watch = &core->watch;
    if (core->started == 0)
        return AW_SUCCESS; /* AW_OPEN_NO_SINKS: nobody delivers here, the journal is all there is to wait for */
    journal_wake(core->journal);
    pthread_mutex_lock(&watch->mutex);
    int rc;
    while ((rc = judge(core, seq)) == -EINPROGRESS) {
        /* A second at most: nothing depends on a single signal then. */
        uint64_t now = clock_mono_ns(), until = now + 1000000000u;
        if (now >= deadline_mono_ns)
            break;
        until = until < deadline_mono_ns ? until : deadline_mono_ns;
        struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
        (void)pthread_cond_timedwait(&watch->changed, &watch->mutex, &t);
    }
    pthread_mutex_unlock(&watch->mutex);
    if (rc == 0)
        return AW_SUCCESS;
    return explain(core, seq, rc == -EINPROGRESS ? AW_ERR_TIMEOUT : AW_ERR_WRITE_FAILED);
}
