/* fork.c - a forked child that uses its parent's logger gets a slot of its own: a new core from the same settings. The
 * parent's is left as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "logger.h"
#include "slots.h"

#include <pthread.h>

static _Atomic unsigned generation = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one thread of the child makes the new core */

/* Those that have a journal. live_lock. */
static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
static struct logger_core *live;

void fork_watch(struct logger_core *core)
{
    pthread_mutex_lock(&live_lock);
    core->next_live = live;
    live = core;
    pthread_mutex_unlock(&live_lock);
}

void fork_unwatch(const struct logger_core *core)
{
    pthread_mutex_lock(&live_lock);
    for (struct logger_core **at = &live; *at; at = &(*at)->next_live) {
        if (*at == core) {
            *at = core->next_live;
            break;
        }
    }
    pthread_mutex_unlock(&live_lock);
}

static void before_fork(void)
{
    plugin_before_fork();
    pthread_mutex_lock(&live_lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&live_lock);
    plugin_after_fork();
}

/* Whether the child logs or not: what it inherited must not keep stores locked when its parent is gone. */
static void in_child(void)
{
    for (const struct logger_core *core = live; core; core = core->next_live) {
        for (size_t i = 0; i < core->started; i++)
            delivery_drop_inherited(core->sinks[i]);
        metrics_drop_inherited(core->metrics);
    }
    live = NULL;
    pthread_mutex_unlock(&live_lock);
    plugin_after_fork();
    delivery_forked();
    (void)pthread_mutex_init(&lock, NULL); /* a thread of the parent's may have held it */
    atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

static void register_handlers(void)
{
    /* ENOMEM: then only journal_* notice a forked child, and refuse */
    (void)pthread_atfork(before_fork, in_parent, in_child);
}

void fork_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, register_handlers);
}

unsigned fork_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

/* The settings go over to the new core: this process' copy of the parent's is used by nobody else. */
static int replace(struct aw_logger *root, struct logger_core *parent, struct logger_core **ret)
{
    struct logger_core *core = core_new(parent->diag);
    if (!core)
        return AW_ERR_NOMEM;
    core->open_flags = parent->open_flags;
    core->own_slot_only = true; /* it may have inherited connections to the others' stores */
    core->settings = parent->settings;
    int rc = core_build(core, 0, parent->open_flags & AW_OPEN_FIRST_SLOT ? 0 : SLOTS_ANY);
    if (rc != 0) {
        core->settings = NULL; /* the next call tries again */
        (void)core_discard(core);
        return rc;
    }
    parent->settings = NULL;
    core_leave_behind(parent);
    atomic_store_explicit(&root->core, core, memory_order_release);
    *ret = core;
    return 0;
}

int fork_new_core(struct aw_logger *root, struct logger_core **ret)
{
    int rc = 0;
    pthread_mutex_lock(&lock);
    struct logger_core *core = atomic_load_explicit(&root->core, memory_order_acquire);
    if (core->fork_generation != fork_generation())
        rc = replace(root, core, &core);
    pthread_mutex_unlock(&lock);
    *ret = core;
    return rc;
}
