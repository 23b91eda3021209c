/* open.c - wires the parts: audit.conf -> policy, plugins, journal, deliveries; and takes them apart again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "delivery/decision.h"
#include "logger.h"

#include <pthread.h>
#include <stdio.h>

static _Atomic unsigned fork_generation = 1;

static void on_fork_child(void)
{
    atomic_fetch_add_explicit(&fork_generation, 1, memory_order_relaxed);
}

static void register_fork_handler(void)
{
    (void)pthread_atfork(NULL, NULL, on_fork_child); /* ENOMEM: then only journal_* notice a forked child */
}

unsigned logger_fork_generation(void)
{
    return atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

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
    char path[128];
    snprintf(path, sizeof path, "sinks.%s", s->name);
    struct aw_config *config;
    rc = schema_config_create(class->options, s->group, settings_sink_core_keys, core->settings->base_dir, path,
                              &config);
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

/* Memory that somebody may still use is left as it is: by a sink's thread that does not come back from its plugin, by
 * the threads of a parent process. The list tells leak checkers that this is meant. */
static _Atomic(struct logger_core *) left_behind;

static void leave_behind(struct logger_core *core)
{
    core->next_left = atomic_load_explicit(&left_behind, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&left_behind, &core->next_left, core))
        ;
}

static void destroy_core(struct logger_core *core)
{
    bool all_gone = true;
    for (size_t i = 0; i < core->sink_count; i++)
        all_gone = delivery_destroy(core->sinks[i]) && all_gone;
    all_gone = together_destroy(core->together) && all_gone;
    if (core->journal && (all_gone ? journal_close(core->journal) : journal_retire(core->journal)) != 0)
        diag_log(&core->diag, AW_LOG_ERROR, "", "the journal could not be synced while closing");
    if (core->metrics)
        metrics_ended(core->metrics);
    if (!all_gone) {
        leave_behind(core);
        return;
    }
    free(core->sinks);
    free(core->required);
    gaps_close(core->gaps);
    delivery_watch_destroy(&core->watch);
    event_policy_destroy(core->policy);
    event_policy_destroy(core->own_policy);
    privacy_destroy(core->privacy);
    settings_destroy(core->settings);
    metrics_destroy(core->metrics);
    free(core);
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

static int build(struct logger_core *core, const struct aw_open_options *o)
{
    int rc = settings_load(o->config_path, o->config_text, &core->settings);
    if (!core->settings)
        return rc ? rc : AW_ERR_CONFIG;
    int figures = metrics_create(count_enabled(core->settings), &core->metrics);
    if (figures < 0)
        return figures == -EINVAL ? diag_problem(AW_ERR_CONFIG, "sinks", "there are more than %u", METRICS_MAX_SINKS)
                                  : diag_problem(AW_ERR_NOMEM, "", "out of memory");
    int policy = create_policies(core);
    int privacy = privacy_create(core->settings, &core->privacy);
    int sinks = create_sinks(core), joined = join_sinks(core);
    if (rc == 0)
        rc = policy ? policy : privacy ? privacy : sinks ? sinks : joined;
    if (rc != 0 || (o->flags & AW_OPEN_CHECK))
        return rc;
    rc = open_journal(core);
    if (rc == 0)
        rc = open_gaps(core);
    if (rc == 0)
        rc = attach_sinks(core);
    if (rc == 0 && !(o->flags & AW_OPEN_NO_SINKS))
        rc = start_sinks(core);
    return rc;
}

/* The caller's struct may be shorter than ours: an older program. */
static struct aw_open_options copy_options(const struct aw_open_options *options)
{
    struct aw_open_options o = {0};
    if (options)
        memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    return o;
}

int aw_open(const struct aw_open_options *options, struct aw_logger **ret_logger)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    diag_reset();
    if (!ret_logger)
        return diag_problem(AW_ERR_USAGE, "ret_logger", "must not be NULL");
    (void)pthread_once(&once, register_fork_handler);
    struct aw_open_options o = copy_options(options);
    struct aw_logger *logger = calloc(1, sizeof *logger);
    struct logger_core *core = calloc(1, sizeof *core);
    if (!logger || !core || delivery_watch_init(&core->watch) < 0) {
        free(logger);
        free(core);
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    }
    core->diag = (struct diag_out){o.diag, o.diag_arg};
    core->fork_generation = logger_fork_generation();
    int rc = build(core, &o);
    if (rc != 0) {
        uint64_t now = clock_mono_ns();
        for (size_t i = 0; i < core->started; i++)
            (void)delivery_stop(core->sinks[i], now); /* nothing was promised yet */
        destroy_core(core);
        free(logger);
        return rc;
    }
    logger->core = core;
    *ret_logger = logger;
    return AW_SUCCESS;
}

/* After a fork the parent's threads and locks do not exist here. */
static int close_in_child(struct aw_logger *logger)
{
    leave_behind(logger->core);
    free(logger);
    return diag_problem(AW_ERR_FORK, "",
                        "the logger belongs to the parent process; its copy in this process was dropped");
}

int aw_close(struct aw_logger *logger, int timeout_ms)
{
    diag_reset();
    if (!logger)
        return AW_SUCCESS;
    if (logger->is_child)
        return diag_problem(AW_ERR_USAGE, "logger", "is a child: use aw_logger_child_destroy()");
    struct logger_core *core = logger->core;
    if (core->fork_generation != logger_fork_generation())
        return close_in_child(logger);
    atomic_store_explicit(&core->closing, true, memory_order_release);
    int rc = AW_SUCCESS;
    uint64_t deadline = logger_deadline(timeout_ms);
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
    destroy_core(core);
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
    child->core = logger->core;
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
