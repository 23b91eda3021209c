/* together_life.c - making, starting and stopping a group. See together.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/together_private.h"

#include "base/base.h"
#include "base/clock.h"

static int refuse_second_writer(const struct together *g)
{
    const struct delivery *first = g->writer->d;
    int rc = 0;
    for (size_t i = 0; i < g->count; i++) {
        const struct delivery *d = g->members[i].d;
        if (!g->members[i].tx && d != first)
            rc = diag_problem(
                AW_ERR_CONFIG, d->where,
                "sinks.%s: plugin \"%s\" cannot stage events, and neither can sinks.%s (plugin \"%s\", %s): "
                "with fanout = \"all_or_nothing\" at most one sink without staging may take part; remove "
                "one of them, or write fanout = \"best_effort\"",
                d->name, d->class->name, first->name, first->class->name, first->where);
    }
    return rc;
}

static int init_poke(struct together *g)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return AW_ERR_NOMEM;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_mutex_init(&g->poke_mutex, NULL) || pthread_cond_init(&g->poke, &attr);
    pthread_condattr_destroy(&attr);
    return rc ? AW_ERR_NOMEM : 0;
}

static int allocate(struct together *g, const char *state_dir)
{
    g->members = calloc(g->count, sizeof *g->members);
    g->views = calloc(g->batch_events, sizeof *g->views);
    g->dropped = calloc(g->batch_events, sizeof *g->dropped);
    g->state_dir = strdup(state_dir);
    return g->members && g->views && g->dropped && g->state_dir ? 0 : AW_ERR_NOMEM;
}

int together_create(struct delivery *const *members, size_t count, const char *state_dir, const struct diag_out *diag,
                    struct together **ret)
{
    *ret = NULL;
    struct together *g = calloc(1, sizeof *g);
    if (!g || init_poke(g) != 0) {
        free(g);
        return diag_problem(AW_ERR_NOMEM, "fanout", "out of memory");
    }
    g->diag = *diag;
    g->count = count;
    g->batch_events = WORKER_MAX_BATCH;
    g->batch_bytes = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct delivery_settings *s = &members[i]->settings;
        g->batch_events = s->batch_events < g->batch_events ? s->batch_events : g->batch_events;
        g->batch_bytes = s->batch_bytes < g->batch_bytes ? s->batch_bytes : g->batch_bytes;
    }
    if (allocate(g, state_dir) != 0) {
        together_destroy(g);
        return diag_problem(AW_ERR_NOMEM, "fanout", "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        struct together_member *m = &g->members[i];
        *m = (struct together_member){.d = members[i], .tx = staging_of(members[i])};
        if (!m->tx && !g->writer)
            g->writer = m;
    }
    int rc = g->writer ? refuse_second_writer(g) : 0;
    if (rc != 0) {
        together_destroy(g);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        members[i]->group = g;
    *ret = g;
    return 0;
}

/* A power loss took events from the journal that the decision covers: their numbers will be given again, to others,
 * which the decision must not seem to cover. */
static int limit_decision(struct together *g, uint64_t head)
{
    diag_log(&g->diag, AW_LOG_WARNING, "",
             "%s: the last decision covers events up to seq %llu, the journal ends with %llu", decision_path(g->file),
             (unsigned long long)g->last.last_seq, (unsigned long long)head);
    g->last.last_seq = head;
    g->last.counter++;
    int rc = decision_store(g->file, &g->last);
    if (rc < 0)
        return diag_problem(AW_ERR_IO, decision_path(g->file), "cannot be written: %s", strerror(-rc));
    return 0;
}

int together_attach(struct together *g, struct journal *journal)
{
    uint8_t id[16];
    journal_get_id(journal, id);
    int rc = decision_open(g->state_dir, id, &g->file, &g->last);
    if (rc == -EBADMSG) {
        diag_problem(0, decision_path(g->file),
                     "is damaged or of another journal: what the sinks have staged is rolled back and delivered again");
        diag_log(&g->diag, AW_LOG_WARNING, "", "%s: is damaged or of another journal", decision_path(g->file));
        return 0;
    }
    if (rc < 0)
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, g->state_dir,
                            "the file \"together\" cannot be read: %s", strerror(-rc));
    return g->last.last_seq > journal_head(journal) ? limit_decision(g, journal_head(journal)) : 0;
}

int together_start(struct together *g)
{
    int rc = 0;
    for (size_t i = 0; i < g->count; i++) {
        int one = worker_first_start(g->members[i].d);
        if (one != 0 && rc == 0)
            rc = one;
    }
    if (rc == 0) {
        rc = worker_thread("together", together_main, g, &g->thread);
        if (rc < 0)
            rc = diag_problem(AW_ERR_NOMEM, "fanout", "no thread for the sinks: %s", strerror(-rc));
    }
    if (rc != 0) {
        for (size_t i = 0; i < g->count; i++)
            worker_stop_sink(g->members[i].d, clock_mono_ns() + 1000000000u);
        return rc;
    }
    g->thread_started = true;
    for (size_t i = 0; i < g->count; i++)
        g->members[i].d->thread_started = true;
    return 0;
}

void together_poke(struct together *g)
{
    pthread_mutex_lock(&g->poke_mutex);
    g->poked = true;
    pthread_cond_signal(&g->poke);
    pthread_mutex_unlock(&g->poke_mutex);
}

/* The coordinator is in a plugin beyond the deadline: it will end where it comes back. The other members' instances are
 * closed here, so that their stores are free again; all memory stays, since the stuck plugin reads the events. */
static void give_up(struct together *g)
{
    struct delivery *stuck = NULL;
    for (size_t i = 0; i < g->count && !stuck; i++) {
        struct delivery *d = g->members[i].d;
        pthread_mutex_lock(&d->mutex);
        if (d->in_call) {
            d->abandoned = true;
            stuck = d;
        }
        pthread_mutex_unlock(&d->mutex);
    }
    if (!stuck)
        return; /* outside of the plugins it is on its way, and comes to its end */
    g->abandoned = true;
    for (size_t i = 0; i < g->count; i++) {
        struct delivery *d = g->members[i].d;
        if (d == stuck)
            continue;
        if (!d->class_mutex || d->class_mutex != stuck->class_mutex) {
            worker_stop_sink(d, clock_mono_ns() + 1000000000u);
            worker_lock_class(d);
            d->class->destroy(d->sink);
            worker_unlock_class(d);
            d->sink = NULL;
        }
        d->abandoned = true;
    }
    pthread_detach(g->thread);
    g->thread_started = false;
    host_mute(stuck->host);
    diag_log(&g->diag, AW_LOG_PLUGIN_MISBEHAVING, stuck->name,
             "the plugin does not return from a call; the thread that serves all sinks is given up");
}

int together_stop(struct delivery *d, uint64_t deadline_mono_ns)
{
    struct together *g = d->group;
    if (!d->thread_started)
        return d->abandoned ? -ETIMEDOUT : 0;
    uint64_t head = journal_head(d->journal);
    struct timespec until = worker_ask_to_stop(d, deadline_mono_ns);
    pthread_mutex_lock(&d->mutex);
    while (!d->ended && !g->abandoned) {
        if (pthread_cond_timedwait(&d->changed, &d->mutex, &until) != ETIMEDOUT || d->ended)
            continue;
        pthread_mutex_unlock(&d->mutex);
        give_up(g);
        until = worker_timespec(clock_mono_ns() + 10000000u);
        pthread_mutex_lock(&d->mutex);
    }
    bool failed = d->failed_for_good;
    pthread_mutex_unlock(&d->mutex);
    d->thread_started = false;
    if (g->thread_started && !g->abandoned) {
        pthread_join(g->thread, NULL);
        g->thread_started = false;
    }
    if (atomic_load_explicit(&d->acked, memory_order_acquire) >= head)
        return 0;
    return failed ? -EIO : -ETIMEDOUT;
}

bool together_destroy(struct together *g)
{
    if (!g)
        return true;
    if (g->abandoned)
        return false;
    decision_close(g->file);
    pthread_cond_destroy(&g->poke);
    pthread_mutex_destroy(&g->poke_mutex);
    free(g->members);
    free(g->views);
    free(g->dropped);
    free(g->state_dir);
    free(g);
    return true;
}
