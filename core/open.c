/* open.c - wires the parts: audit.conf -> policy, plugins, journal, deliveries; and takes them apart again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "delivery/decision.h"
#include "logger.h"
#include "own_record.h"
#include "slots.h"

#include <pthread.h>
#include <stdio.h>

uint64_t logger_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : clock_mono_ns() + (uint64_t)timeout_ms * 1000000u;
}

/* Loads the plugin of one sink and creates the instance. */
static int create_sink(struct logger_core *core, struct settings_sink *s, struct delivery **ret)
{
    const struct plugin *plugin;
    int rc = plugin_load(&s->spec, &plugin);
    if (rc != 0)
        return rc;
    const struct aw_sink_class *class = plugin_sink(plugin, s->plugin);
    if (!class)
        return diag_problem(AW_ERR_CONFIG, s->where, "sinks.%s: %s holds no sink \"%s\"", s->name, plugin->path,
                            s->plugin);
    struct aw_config *config;
    rc = slots_sink_config(core->settings, s, class, &config);
    if (rc != 0)
        return rc;
    struct delivery_options options = {
        .name = s->name,
        .sink = class,
        .config = config,
        .settings = s->delivery,
        .diag = core->diag,
        .where = s->where,
        .watch = &core->watch,
        .state_dir = core->settings->journal.path,
        .from = s->from,
        .metrics = core->metrics,
        .metrics_sink = core->sink_count,
    };
    if (core->privacy && s->pii >= SETTINGS_PII_DROP) {
        options.pii = core->privacy->pii;
        options.pseudonyms = s->pii == SETTINGS_PII_PSEUDONYMIZE ? &core->privacy->key : NULL;
    }
    if (core->privacy)
        privacy_warn(core->privacy, s, class);
    return delivery_create(&options, ret);
}

static size_t count_enabled(const struct settings *settings)
{
    size_t n = 0;
    for (size_t i = 0; i < settings->sink_count; i++)
        n += settings->sinks[i].enabled;
    return n;
}

/* Every sink is tried, so that all that is wrong is reported in one run. */
static int create_sinks(struct logger_core *core)
{
    int rc = 0;
    core->sinks = calloc(core->settings->sink_count + 1, sizeof(struct delivery *));
    core->required = calloc(core->settings->sink_count + 1, sizeof *core->required);
    if (!core->sinks || !core->required)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    for (size_t i = 0; i < core->settings->sink_count; i++) {
        struct settings_sink *s = &core->settings->sinks[i];
        if (!s->enabled)
            continue;
        int one = create_sink(core, s, &core->sinks[core->sink_count]);
        if (one == 0) {
            core->required[core->sink_count++] = s->required;
            core->some_required |= s->required;
        } else if (rc == 0) {
            rc = one;
        }
    }
    return rc;
}

/* For readers in other processes. The journal works as well without. */
static void share_metrics(struct logger_core *core)
{
    const char *path = core->settings->journal.path;
    uint8_t boot_id[16];
    journal_boot_id(boot_id);
    int rc = metrics_share(core->metrics, path, boot_id, core->head_at_open);
    if (rc < 0)
        diag_problem(0, path,
                     "the file \"" METRICS_NAME "\" cannot be made: %s; other processes cannot see this one's figures",
                     strerror(-rc));
    journal_set_figures(core->journal, core->metrics->process->journal);
}

/* fanout = "all_or_nothing". After create_sinks(), since the plugins say which sinks can stage. */
static int join_sinks(struct logger_core *core)
{
    if (core->settings->fanout != SETTINGS_FANOUT_ALL || core->sink_count == 0)
        return 0;
    return together_create(core->sinks, core->sink_count, core->settings->journal.path, &core->diag, &core->together);
}

static int open_journal(struct logger_core *core)
{
    struct journal_options options = core->settings->journal;
    options.diag = core->diag;
    options.lock = &core->lock;
    int rc = journal_open(&options, &core->journal);
    switch (rc) {
    case 0:
        break;
    case -EWOULDBLOCK:
        return AW_ERR_BUSY;
    case -ENOMEM:
        return AW_ERR_NOMEM;
    default:
        return AW_ERR_IO;
    }
    core->head_at_open = journal_head(core->journal);
    share_metrics(core);
    return 0;
}

/* What an all_or_nothing group decided last; sinks that go their own ways are not bound by it. */
static int settle_decision(struct logger_core *core)
{
    const char *dir = core->settings->journal.path;
    if (core->together)
        return together_attach(core->together, core->journal);
    int rc = decision_forget(dir);
    if (rc < 0)
        return diag_problem(AW_ERR_IO, dir, "the file \"together\" of an earlier fanout cannot be removed: %s",
                            strerror(-rc));
    return 0;
}

static int attach_sinks(struct logger_core *core)
{
    int rc = settle_decision(core);
    for (size_t i = 0; i < core->sink_count; i++) {
        int one = delivery_attach(core->sinks[i], core->journal);
        if (one != 0 && rc == 0)
            rc = one;
    }
    return rc;
}

static int start_sinks(struct logger_core *core)
{
    int rc = 0;
    if (core->together) {
        rc = together_start(core->together);
        core->started = rc == 0 ? core->sink_count : 0;
        return rc;
    }
    for (size_t i = 0; i < core->sink_count; i++) {
        int one = delivery_start(core->sinks[i]);
        core->started = i + 1;
        if (one != 0 && rc == 0)
            rc = one;
    }
    return rc;
}

/* By a sink's thread that does not come back from its plugin, by the threads of a parent process. The list tells leak
 * checkers that this is meant. */
static _Atomic(struct logger_core *) left_behind;

void core_leave_behind(struct logger_core *core)
{
    core->next_left = atomic_load_explicit(&left_behind, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&left_behind, &core->next_left, core))
        ;
}

/* True: nobody uses them any more. */
static bool destroy_sinks(struct logger_core *core)
{
    bool all_gone = true;
    for (size_t i = 0; i < core->sink_count; i++)
        all_gone = delivery_destroy(core->sinks[i]) && all_gone;
    all_gone = together_destroy(core->together) && all_gone;
    return all_gone;
}

/* false: it was left behind. */
static bool destroy_core(struct logger_core *core)
{
    fork_unwatch(core);
    bool all_gone = destroy_sinks(core);
    journal_lock_release(&core->lock); /* of a journal that was not opened */
    if (core->journal && (all_gone ? journal_close(core->journal) : journal_retire(core->journal)) != 0)
        diag_log(&core->diag, AW_LOG_ERROR, "", "the journal could not be synced while closing");
    if (core->metrics)
        metrics_ended(core->metrics);
    if (!all_gone) {
        core_leave_behind(core);
        return false;
    }
    free(core->sinks);
    free(core->required);
    gaps_close(core->gaps);
    delivery_watch_destroy(&core->watch);
    event_policy_destroy(core->policy);
    event_policy_destroy(core->own_policy);
    privacy_destroy(core->privacy);
    if (!core->adopted && !core->settings_in_use)
        settings_destroy(core->settings);
    metrics_destroy(core->metrics);
    free(core);
    return true;
}

static int create_policies(struct logger_core *core)
{
    struct event_settings own;
    event_settings_init(&own);
    own.redaction = false;
    own.service = core->settings->event.service;
    own.service_version = core->settings->event.service_version;
    own.environment = core->settings->event.environment;
    own.host = core->settings->event.host;
    own.region = core->settings->event.region;
    own.instance = core->settings->event.instance;
    int rc = event_policy_create(&core->settings->event, &core->policy);
    return rc == 0 ? event_policy_create(&own, &core->own_policy) : rc;
}

/* Only where something can be dropped, or was. */
static int open_gaps(struct logger_core *core)
{
    const struct settings *s = core->settings;
    bool drops = s->service.mode == SETTINGS_MODE_DROP || gaps_exist(s->journal.path);
    for (size_t i = 0; i < s->action_count; i++)
        drops |= s->actions[i].service.mode == SETTINGS_MODE_DROP;
    if (!drops)
        return 0;
    if (gaps_open(s->journal.path, &core->diag, &core->gaps) < 0)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    logger_settle_gaps(core, 0);
    return 0;
}

/* All are tried, so that all that is wrong is reported in one run. */
static int create_parts(struct logger_core *core)
{
    int policy = create_policies(core);
    int privacy = privacy_create(core->settings, &core->privacy);
    int sinks = create_sinks(core), joined = join_sinks(core);
    return policy ? policy : privacy ? privacy : sinks ? sinks : joined;
}

/* Its sinks are others. */
static int next_slot(struct logger_core *core)
{
    (void)destroy_sinks(core); /* they were never started */
    free(core->sinks);
    free(core->required);
    core->sinks = NULL;
    core->required = NULL;
    core->together = NULL;
    core->sink_count = 0;
    diag_reset();
    int rc = slots_reserve(core->settings, core->settings->slot + 1, &core->lock);
    return rc ? rc : (rc = create_sinks(core)) ? rc : join_sinks(core);
}

/* May another slot do? Another process may have been faster at making this one's journal; a directory that cannot be
 * used stops nobody, as long as it is not that of the configuration itself. */
static bool try_another(const struct logger_core *core, int rc)
{
    size_t n;
    if (rc == AW_ERR_BUSY)
        return core->settings->slots > 1;
    if (rc != AW_ERR_IO || core->settings->slot == 0)
        return false;
    const struct aw_problem *const *p = aw_problems(&n);
    diag_log(&core->diag, AW_LOG_WARNING, "", "slot %u cannot be used, the next one will do: %s%s%s",
             (unsigned)core->settings->slot, n ? p[n - 1]->path : "", n ? ": " : "", n ? p[n - 1]->message : "");
    return true;
}

static int open_slot(struct logger_core *core, bool any)
{
    int rc;
    while ((rc = open_journal(core)) != 0 && any && try_another(core, rc)) {
        rc = next_slot(core);
        if (rc != 0)
            break;
    }
    return rc;
}

static int run(struct logger_core *core)
{
    fork_watch(core);
    int rc = open_gaps(core);
    if (rc == 0)
        rc = attach_sinks(core);
    if (rc != 0 || (core->open_flags & AW_OPEN_NO_SINKS))
        return rc;
    own_record_begins(core);
    rc = start_sinks(core);
    return rc ? rc : foster_start(core, &core->foster);
}

int core_build(struct logger_core *core, int settings_rc, uint32_t slot)
{
    int rc = settings_rc, reserved = 0;
    bool check = (core->open_flags & AW_OPEN_CHECK) != 0;
    int figures = metrics_create(count_enabled(core->settings), &core->metrics);
    if (figures < 0)
        return figures == -EINVAL ? diag_problem(AW_ERR_CONFIG, "sinks", "there are more than %u", METRICS_MAX_SINKS)
                                  : diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (rc == 0 && !check)
        reserved = slot == SLOTS_ANY ? slots_reserve(core->settings, 0, &core->lock)
                                     : slots_reserve_one(core->settings, slot, &core->lock);
    if (reserved == AW_ERR_BUSY && slot != SLOTS_ANY && !core->adopted)
        reserved = 0; /* opening it says which process has it */
    int parts = create_parts(core);
    rc = rc ? rc : parts ? parts : reserved;
    if (rc != 0 || check)
        return rc;
    rc = open_slot(core, slot == SLOTS_ANY);
    return rc ? rc : run(core);
}

/* The caller's struct may be shorter than ours: an older program. */
static struct aw_open_options copy_options(const struct aw_open_options *options)
{
    struct aw_open_options o = {0};
    if (options)
        memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    return o;
}

struct logger_core *core_new(struct diag_out diag)
{
    struct logger_core *core = calloc(1, sizeof *core);
    if (!core || delivery_watch_init(&core->watch) < 0) {
        free(core);
        diag_problem(AW_ERR_NOMEM, "", "out of memory");
        return NULL;
    }
    core->diag = diag;
    core->fork_generation = fork_generation();
    core->lock.fd = -1;
    return core;
}

bool core_discard(struct logger_core *core)
{
    uint64_t now = clock_mono_ns();
    core->settings_in_use = !foster_stop(core->foster, now);
    for (size_t i = 0; i < core->started; i++)
        (void)delivery_stop(core->sinks[i], now);
    return destroy_core(core);
}

int aw_open(const struct aw_open_options *options, struct aw_logger **ret_logger)
{
    diag_reset();
    if (!ret_logger)
        return diag_problem(AW_ERR_USAGE, "ret_logger", "must not be NULL");
    fork_prepare();
    struct aw_open_options o = copy_options(options);
    struct aw_logger *logger = calloc(1, sizeof *logger);
    if (!logger)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    struct logger_core *core = core_new((struct diag_out){o.diag, o.diag_arg});
    if (!core) {
        free(logger);
        return AW_ERR_NOMEM;
    }
    core->open_flags = o.flags;
    int rc = settings_load(o.config_path, o.config_text, &core->settings);
    if (core->settings)
        rc = core_build(core, rc, o.flags & AW_OPEN_FIRST_SLOT ? 0 : SLOTS_ANY);
    else if (rc == 0)
        rc = AW_ERR_CONFIG;
    if (rc != 0) {
        (void)core_discard(core);
        free(logger);
        return rc;
    }
    logger->root = logger;
    atomic_init(&logger->core, core);
    *ret_logger = logger;
    return AW_SUCCESS;
}

/* After a fork the parent's threads and locks do not exist here. */
static int close_in_child(struct aw_logger *logger, struct logger_core *core)
{
    core_leave_behind(core);
    free(logger);
    return diag_problem(AW_ERR_FORK, "",
                        "the logger belongs to the parent process; its copy in this process was dropped");
}

int core_close(struct logger_core *core, uint64_t deadline, bool *ret_gone)
{
    int rc = AW_SUCCESS;
    atomic_store_explicit(&core->closing, true, memory_order_release);
    core->settings_in_use = !foster_stop(core->foster, deadline);
    logger_settle_gaps(core, deadline);
    for (size_t i = 0; i < core->started; i++) {
        int one = delivery_stop(core->sinks[i], deadline);
        struct aw_sink_stats s = {.struct_size = sizeof s};
        delivery_get_stats(core->sinks[i], journal_head(core->journal), &s);
        if (one != 0)
            rc = diag_problem(AW_ERR_TIMEOUT, s.name, "%llu events are not delivered yet; they stay in the journal%s%s",
                              (unsigned long long)s.lag_events, s.last_error_text[0] ? "; last error: " : "",
                              s.last_error_text);
    }
    bool gone = destroy_core(core);
    if (ret_gone)
        *ret_gone = gone;
    return rc;
}

int aw_close(struct aw_logger *logger, int timeout_ms)
{
    diag_reset();
    if (!logger)
        return AW_SUCCESS;
    if (logger->is_child)
        return diag_problem(AW_ERR_USAGE, "logger", "is a child: use aw_logger_child_destroy()");
    struct logger_core *core = atomic_load_explicit(&logger->core, memory_order_acquire);
    if (core->fork_generation != fork_generation())
        return close_in_child(logger, core);
    int rc = core_close(core, logger_deadline(timeout_ms), NULL);
    free(logger);
    return rc;
}

int aw_logger_child(struct aw_logger *logger, const struct aw_context *context, struct aw_logger **ret_child)
{
    diag_reset();
    if (!logger || !context || !ret_child)
        return diag_problem(AW_ERR_USAGE, "", "logger, context and ret_child must not be NULL");
    if (logger->context_count + 1 > LOGGER_MAX_CONTEXTS)
        return diag_problem(AW_ERR_USAGE, "logger", "children may be nested %d deep", LOGGER_MAX_CONTEXTS);
    struct aw_logger *child = calloc(1, sizeof *child);
    if (child)
        child->own = event_context_clone(context);
    if (!child || !child->own) {
        free(child);
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    }
    child->root = logger->root;
    child->is_child = true;
    child->contexts[0] = child->own;
    memcpy(child->contexts + 1, logger->contexts, logger->context_count * sizeof logger->contexts[0]);
    child->context_count = logger->context_count + 1;
    *ret_child = child;
    return AW_SUCCESS;
}

void aw_logger_child_destroy(struct aw_logger *child)
{
    if (!child || !child->is_child)
        return;
    aw_context_destroy(child->own);
    free(child);
}
