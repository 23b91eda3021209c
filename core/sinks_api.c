/* sinks_api.c - aw_sinks_probe(), aw_sinks_migrate(): what is asked of the stores of a configuration, one by one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "sinks.h"

#include "base/base.h"
#include "base/clock.h"
#include "slots.h"

static int one_slot(struct settings *s, const struct sinks_walk *w, size_t i, uint32_t slot, bool *ret_per_slot)
{
    struct aw_store *store = NULL;
    const struct settings_sink *sink = &s->sinks[i];
    struct aw_sink_state state = {
        .struct_size = sizeof state, .sink = sink->name, .where = sink->where, .plugin = sink->plugin, .message = ""};
    uint32_t ignored;
    int rc = slots_enter(s, slot);
    if (rc != 0)
        return rc;
    diag_reset();
    rc = store_open_sink(s, sink, w->diag, &store);
    state.slot = slot;
    state.per_slot = store && store_slot(store, &ignored);
    *ret_per_slot = state.per_slot != 0;
    rc = w->fn(w->arg, s, &state, rc == AW_SUCCESS ? store : NULL, rc);
    aw_store_close(store);
    return rc;
}

/* The first failure counts; all are seen to. What one says is kept while the next one is looked at. */
#define FAILURES_MAX 32u
struct failures {
    int code;
    size_t count;
    struct {
        int code;
        char *path, *message;
    } list[FAILURES_MAX];
};

static void keep(struct failures *f, int code)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    if (code == AW_SUCCESS)
        return;
    f->code = f->code ? f->code : code;
    for (size_t i = 0; i < n && f->count < FAILURES_MAX; i++) {
        if (p[i]->code == AW_SUCCESS)
            continue;
        f->list[f->count].code = p[i]->code;
        f->list[f->count].path = strdup(p[i]->path);
        f->list[f->count++].message = strdup(p[i]->message);
    }
}

/* They are the problems of the call. */
static int tell_failures(struct failures *f)
{
    diag_reset();
    for (size_t i = 0; i < f->count; i++) {
        bool good = f->list[i].path && f->list[i].message;
        diag_problem(f->list[i].code, good ? f->list[i].path : "", "%s", good ? f->list[i].message : "out of memory");
        free(f->list[i].path);
        free(f->list[i].message);
    }
    return f->code;
}

static void one_sink(struct settings *s, const struct sinks_walk *w, size_t i, struct failures *f)
{
    AW_AUTOFREE uint32_t *slots = NULL;
    size_t count = 0;
    bool per_slot = false, ignored;
    keep(f, one_slot(s, w, i, 0, &per_slot));
    if (!per_slot || w->first_slot_only)
        return;
    diag_reset();
    int listed = slots_list(s->journal_base, &slots, &count);
    if (listed < 0)
        keep(f, diag_problem(AW_ERR_IO, s->journal_base, "its slots cannot be read: %s", strerror(-listed)));
    for (size_t k = 0; k < count; k++)
        keep(f, one_slot(s, w, i, slots[k], &ignored));
}

int sinks_walk(const char *config_path, const char *config_text, const struct sinks_walk *w)
{
    struct settings *s = NULL;
    struct failures failures = {.count = 0};
    bool found = false;
    int rc = slots_load(config_path, config_text, 0, &s);
    for (size_t i = 0; rc == 0 && i < s->sink_count; i++) {
        if (w->sink ? strcmp(s->sinks[i].name, w->sink) != 0 : !s->sinks[i].enabled)
            continue;
        found = true;
        one_sink(s, w, i, &failures);
    }
    if (rc == 0 && !found && w->sink)
        rc = diag_problem(AW_ERR_NOTFOUND, w->sink, "is no sink of %s", s->source ? s->source : "the configuration");
    settings_destroy(s);
    return rc ? rc : tell_failures(&failures);
}

const char *sinks_problem(int code)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        if (p[i]->code != AW_SUCCESS)
            return p[i]->message;
    return aw_error_name(code);
}

/* ---- probe ---- */

struct probing {
    uint64_t deadline_ns;
    void (*fn)(void *arg, const struct aw_sink_state *state);
    void *arg;
};

static int probe_one(void *arg, const struct settings *s, struct aw_sink_state *state, struct aw_store *store, int rc)
{
    const struct probing *p = arg;
    const struct aw_sink_probe *x = store ? store_extension(store, AW_EXT_SINK_PROBE) : NULL;
    (void)s;
    state->code = rc;
    if (store && (!x || !AW_HAS(struct aw_sink_probe, x, probe) || !x->probe)) {
        state->code = AW_ERR_NOTFOUND;
        state->message = "its plugin cannot be asked";
        p->fn(p->arg, state);
        return AW_SUCCESS;
    }
    if (store) {
        store_clear_error(store);
        int32_t code = x->probe(store_sink(store), p->deadline_ns);
        state->code = code == AW_OK ? AW_SUCCESS : store_problem(store, code, "would not work");
        if (code == AW_E_TIMEOUT)
            state->code = AW_ERR_TIMEOUT;
    }
    AW_AUTOFREE char *text = state->code ? strdup(sinks_problem(state->code)) : NULL;
    state->message = text ? text : "";
    diag_reset(); /* it is told, and is no failure of the call */
    p->fn(p->arg, state);
    return AW_SUCCESS;
}

static int copy_options(const struct aw_sinks_options *options, struct aw_sinks_options *ret)
{
    memset(ret, 0, sizeof *ret);
    if (!options || options->struct_size < 2 * sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "options", "are missing, or their struct_size is not set");
    memcpy(ret, options, options->struct_size < sizeof *ret ? options->struct_size : sizeof *ret);
    if (ret->flags & ~AW_SINKS_DRY_RUN)
        return diag_problem(AW_ERR_USAGE, "flags", "unknown flags 0x%x", ret->flags);
    return AW_SUCCESS;
}

int aw_sinks_probe(const struct aw_sinks_options *options, int timeout_ms,
                   void (*fn)(void *arg, const struct aw_sink_state *state), void *arg)
{
    struct aw_sinks_options o;
    diag_reset();
    int rc = copy_options(options, &o);
    if (rc == AW_SUCCESS && !fn)
        rc = diag_problem(AW_ERR_USAGE, "fn", "must not be NULL");
    if (rc != AW_SUCCESS)
        return rc;
    struct probing p = {timeout_ms < 0 ? 0 : clock_mono_ns() + (uint64_t)timeout_ms * 1000000u, fn, arg};
    const struct diag_out diag = {o.diag, o.diag_arg};
    const struct sinks_walk w = {.sink = o.sink, .diag = &diag, .first_slot_only = true, .fn = probe_one, .arg = &p};
    return sinks_walk(o.config_path, o.config_text, &w);
}

/* ---- migrate ---- */

struct migrating {
    const struct aw_sinks_options *options;
    const struct aw_sink_state *state; /* at hand */
    void (*step)(void *arg, const struct aw_sink_state *state, const char *text);
    void *arg;
};

static void pass_step(void *arg, const char *text)
{
    const struct migrating *m = arg;
    if (m->step && text)
        m->step(m->arg, m->state, text);
}

static int migrate_one(void *arg, const struct settings *s, struct aw_sink_state *state, struct aw_store *store, int rc)
{
    struct migrating *m = arg;
    const struct aw_sink_migrate *x = store ? store_extension(store, AW_EXT_SINK_MIGRATE) : NULL;
    (void)s;
    m->state = state;
    if (store && (!x || !AW_HAS(struct aw_sink_migrate, x, migrate) || !x->migrate)) {
        if (!m->options->sink)
            return AW_SUCCESS;
        rc = diag_problem(AW_ERR_USAGE, state->sink, "plugin %s has nothing to migrate: it has no extension %s",
                          state->plugin, AW_EXT_SINK_MIGRATE);
    } else if (store) {
        store_clear_error(store);
        int32_t code =
            x->migrate(store_sink(store), m->options->flags & AW_SINKS_DRY_RUN ? AW_MIGRATE_DRY_RUN : 0, pass_step, m);
        rc = code == AW_OK ? AW_SUCCESS : store_problem(store, code, "cannot be migrated");
    }
    state->code = rc;
    AW_AUTOFREE char *text = rc ? strdup(sinks_problem(rc)) : NULL;
    state->message = text ? text : "";
    if (m->step)
        m->step(m->arg, state, NULL);
    if (rc == AW_SUCCESS)
        return rc;
    diag_reset();
    return diag_problem(rc, state->sink, "%s", state->message);
}

int aw_sinks_migrate(const struct aw_sinks_options *options,
                     void (*step)(void *arg, const struct aw_sink_state *state, const char *text), void *arg)
{
    struct aw_sinks_options o;
    diag_reset();
    int rc = copy_options(options, &o);
    if (rc != AW_SUCCESS)
        return rc;
    struct migrating m = {&o, NULL, step, arg};
    const struct diag_out diag = {o.diag, o.diag_arg};
    const struct sinks_walk w = {.sink = o.sink, .diag = &diag, .fn = migrate_one, .arg = &m};
    return sinks_walk(o.config_path, o.config_text, &w);
}
