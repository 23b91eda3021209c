/* foster.c - delivers what processes that are gone left in their slots, and serves the inbox.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every process looks now and then for slots that nobody has and that hold events some sink lacks; it opens such a one
 * as if it were its own, delivers, and gives it up again. So nothing waits for a process that never comes back.
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/thread.h"
#include "inbox.h"
#include "logger.h"
#include "slots.h"

#include <pthread.h>

#define LOOK_NS 5000000000u  /* between two looks for slots */
#define INBOX_NS 1000000000u /* between two looks into the inbox */
#define BUSY_NS 50000000u    /* while something is being delivered: how often to see how far it is */
#define ADOPTED_MAX 8u       /* at a time */
#define FAILED_LOOKS 12u     /* so many looks later a slot that could not be opened is tried again */

struct adopted {
    struct logger_core *core;
    struct settings settings; /* those of the process, in the other slot */
    const struct settings *own;
};

struct foster {
    struct logger_core *core; /* its own, for settings, messages and the inbox */
    pthread_t thread;
    pthread_mutex_t lock; /* stop, deadline */
    pthread_cond_t wake;
    bool stop;
    uint64_t deadline_mono_ns;
    /* the thread's */
    struct inbox inbox;
    struct adopted *adopted[ADOPTED_MAX];
    size_t count;
    bool left; /* something was left behind */
    unsigned look;
    unsigned failed[SLOTS_MAX]; /* the look at which opening failed; 0 = it did not */
};

static bool is_adopted(const struct foster *f, uint32_t slot)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->adopted[i]->settings.slot == slot)
            return true;
    return false;
}

static void drop(struct adopted *a)
{
    free(a->settings.slot_path);
    free(a);
}

static int open_orphan(struct foster *f, struct adopted *a, uint32_t slot)
{
    a->core = core_new(f->core->diag);
    if (!a->core)
        return AW_ERR_NOMEM;
    a->core->settings = &a->settings;
    a->core->adopted = true;
    int rc = core_build(a->core, 0, slot);
    if (rc != 0)
        return rc;
    f->adopted[f->count++] = a;
    diag_log(&f->core->diag, AW_LOG_INFO, "", "slot %u: delivering what a process that is gone left in %s",
             (unsigned)slot, a->settings.journal.path);
    return 0;
}

static void say_failed(const struct foster *f, const struct adopted *a)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    diag_log(&f->core->diag, AW_LOG_WARNING, "", "slot %u: what was left in %s cannot be delivered: %s%s%s",
             (unsigned)a->settings.slot, a->settings.journal.path, n ? p[0]->path : "", n ? ": " : "",
             n ? p[0]->message : "out of memory");
}

/* If nobody has the slot, and it is owed something. */
static void consider(struct foster *f, uint32_t slot)
{
    if (f->count == ADOPTED_MAX || slot == f->core->settings->slot || slot >= SLOTS_MAX || is_adopted(f, slot) ||
        (f->failed[slot] != 0 && f->look - f->failed[slot] < FAILED_LOOKS))
        return;
    struct adopted *a = calloc(1, sizeof *a);
    if (!a)
        return; /* the next look */
    a->settings = *f->core->settings;
    a->own = f->core->settings;
    a->settings.slot_path = NULL;
    struct journal_lock lock;
    diag_reset();
    int rc = slots_reserve_one(&a->settings, slot, &lock);
    bool there = rc == 0 && lock.fd >= 0;
    if (there)
        journal_lock_release(&lock);
    if (!there || !slots_owed(&a->settings)) {
        drop(a);
        return;
    }
    rc = open_orphan(f, a, slot);
    f->failed[slot] = rc == 0 || rc == AW_ERR_BUSY ? 0 : f->look;
    if (rc == 0)
        return;
    if (rc != AW_ERR_BUSY)
        say_failed(f, a);
    if (!a->core || core_discard(a->core))
        drop(a);
    else
        f->left = true;
}

static void look(struct foster *f)
{
    uint32_t *slots;
    size_t count;
    f->look++;
    if (f->core->settings->slots == 1)
        return;
    if (slots_list(f->core->settings->journal_base, &slots, &count) < 0)
        return; /* the next look */
    consider(f, 0);
    for (size_t i = 0; i < count; i++)
        consider(f, slots[i]);
    free(slots);
}

static bool is_done(const struct adopted *a)
{
    uint64_t head = journal_head(a->core->journal), now = clock_mono_ns();
    for (size_t i = 0; i < a->core->started; i++)
        if (delivery_flush(a->core->sinks[i], head, now) == -ETIMEDOUT)
            return false;
    return true;
}

static void give_up(struct foster *f, size_t i, uint64_t deadline)
{
    struct adopted *a = f->adopted[i];
    f->adopted[i] = f->adopted[--f->count];
    bool gone;
    (void)core_close(a->core, deadline, &gone);
    if (gone)
        drop(a);
    else
        f->left = true; /* a thread that hangs in a plugin may still use the settings */
}

/* Sleeps; false: it is time to stop. */
static bool pause_until(struct foster *f, uint64_t until_mono_ns)
{
    struct timespec at = {(time_t)(until_mono_ns / 1000000000u), (long)(until_mono_ns % 1000000000u)};
    pthread_mutex_lock(&f->lock);
    while (!f->stop && pthread_cond_timedwait(&f->wake, &f->lock, &at) == 0)
        ;
    bool stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return !stop;
}

static void *foster_main(void *arg)
{
    struct foster *f = arg;
    uint64_t next = clock_mono_ns(), now;
    do {
        now = clock_mono_ns();
        if (now >= next) {
            look(f);
            next = now + LOOK_NS;
        }
        inbox_serve(f->core, &f->inbox);
        for (size_t i = f->count; i-- > 0;)
            if (is_done(f->adopted[i]))
                give_up(f, i, now);
        uint64_t pause = f->count > 0 || f->inbox.id[0] ? BUSY_NS : INBOX_NS;
        now = next > now + pause ? now + pause : next;
    } while (pause_until(f, now));
    inbox_end(&f->inbox);
    while (f->count > 0)
        give_up(f, f->count - 1, f->deadline_mono_ns);
    return NULL;
}

int foster_start(struct logger_core *core, struct foster **ret)
{
    pthread_condattr_t attr;
    *ret = NULL;
    if (core->adopted || core->own_slot_only || core->sink_count == 0)
        return 0;
    struct foster *f = calloc(1, sizeof *f);
    if (!f)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    f->core = core;
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = thread_start(&f->thread, foster_main, f, "aw-foster");
    if (rc == 0) {
        *ret = f;
        return 0;
    }
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return diag_problem(AW_ERR_NOMEM, "", "cannot start a thread: %s", strerror(-rc));
}

bool foster_stop(struct foster *f, uint64_t deadline_mono_ns)
{
    if (!f)
        return true;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    f->deadline_mono_ns = deadline_mono_ns;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    (void)pthread_join(f->thread, NULL);
    bool left = f->left;
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return !left;
}
