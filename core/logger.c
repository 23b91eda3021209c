/* logger.c - taking events: prepare on the caller's thread, append, and wait as mode and durability say.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/glob.h"
#include "event/replay_event.h"
#include "logger.h"

/* Calls of this thread; every METRICS_LOG_EVERY-th is timed. */
static AW_THREAD_LOCAL uint32_t calls;

static inline uint64_t timing_begin(void)
{
    return AW_UNLIKELY(calls++ % METRICS_LOG_EVERY == 0) ? clock_mono_ns() : 0;
}

static inline int timing_end(struct logger_core *core, uint64_t began, int rc)
{
    if (AW_UNLIKELY(began != 0))
        metrics_observe(&core->metrics->process->log, metrics_log_bounds, clock_mono_ns() - began);
    return rc;
}

int logger_readable(const struct aw_logger *logger, struct logger_core **ret)
{
    if (AW_UNLIKELY(!logger))
        return diag_problem(AW_ERR_USAGE, "logger", "must not be NULL");
    struct aw_logger *root = logger->root;
    struct logger_core *core = atomic_load_explicit(&root->core, memory_order_acquire);
    if (AW_UNLIKELY(core->fork_generation != fork_generation())) {
        int rc = fork_new_core(root, &core);
        if (rc != 0)
            return rc;
    }
    if (AW_UNLIKELY(atomic_load_explicit(&core->closing, memory_order_acquire)))
        return diag_problem(AW_ERR_SHUTDOWN, "logger", "is being closed");
    *ret = core;
    return 0;
}

static int check_usable(const struct aw_logger *logger, struct logger_core **ret)
{
    int rc = logger_readable(logger, ret);
    if (AW_UNLIKELY(rc == 0 && !(*ret)->journal))
        return diag_problem(AW_ERR_SHUTDOWN, "logger", "was opened with AW_OPEN_CHECK: it takes no events");
    return rc;
}

static struct aw_str field_of(const struct prepared *p, uint32_t id)
{
    for (uint32_t i = 0; i < p->field_count; i++)
        if (field_id(p->fields[i]) == id)
            return (struct aw_str){p->json + field_offset(p->fields[i]), field_len(p->fields[i])};
    return (struct aw_str){"", 0};
}

static void fill_receipt(struct aw_receipt *receipt, const struct logger_core *core, const struct prepared *p,
                         const struct journal_receipt *jr)
{
    struct aw_receipt r = {.struct_size = receipt->struct_size, .warnings = (uint32_t)diag_warnings(), .seq = jr->seq};
    struct aw_str id = field_of(p, AW_FIELD_EVENT_ID);
    char text[sizeof r.event_id * 6]; /* the longest escape of a byte is six characters */
    if (id.len <= sizeof text) {
        size_t n = event_unescape(id.ptr, id.len, text);
        memcpy(r.event_id, text, n < sizeof r.event_id ? n : sizeof r.event_id - 1);
    }
    if (core->settings->journal.chained)
        hash_hex(jr->hash, sizeof jr->hash, r.hash);
    memcpy(receipt, &r, receipt->struct_size < sizeof r ? receipt->struct_size : sizeof r);
}

/* ---- gaps ---- */

struct settling {
    struct logger_core *core;
    uint64_t deadline_mono_ns;
};

static int seal_gap(void *arg, const char *json, size_t len)
{
    const struct settling *s = arg;
    struct prepared *p;
    struct journal_receipt jr;
    int rc = event_prepare_json(s->core->own_policy, NULL, 0, json, len, &p);
    if (rc == AW_SUCCESS)
        return journal_append(s->core->journal, p, s->deadline_mono_ns, &jr);
    if (rc != AW_ERR_INVALID_EVENT && rc != AW_ERR_EVENT_TOO_LARGE)
        return rc;
    diag_log(&s->core->diag, AW_LOG_ERROR, "", "a gap cannot be recorded as it is: %.*s", (int)len, json);
    return 0;
}

void logger_settle_gaps(struct logger_core *core, uint64_t deadline_mono_ns)
{
    struct settling s = {core, deadline_mono_ns};
    if (gaps_pending(core->gaps))
        gaps_settle(core->gaps, seal_gap, &s);
}

/* ---- appending ---- */

static const struct settings_service *service_of(const struct logger_core *core, const struct prepared *p)
{
    const struct settings *s = core->settings;
    if (AW_LIKELY(s->action_count == 0))
        return &s->service;
    struct aw_str action = field_of(p, AW_FIELD_ACTION);
    for (size_t i = 0; i < s->action_count; i++) {
        if (glob_match(s->actions[i].match, action.ptr, action.len))
            return &s->actions[i].service;
    }
    return &s->service;
}

static AW_COLD int dropped(struct logger_core *core, const struct prepared *p)
{
    const char *why = journal_why_full(core->journal);
    metrics_count(core->metrics, METRICS_DROPPED, 1);
    gaps_add(core->gaps, p, why, journal_head(core->journal));
    return diag_problem(AW_ERR_DROPPED, "journal", "has no room (%s): the event was dropped (mode = \"drop\")", why);
}

static AW_COLD int not_taken(struct logger_core *core, int rc)
{
    switch (rc) {
    case -ENOSPC:
        metrics_count(core->metrics, METRICS_DROPPED, 1);
        return diag_problem(AW_ERR_QUEUE_FULL, "journal",
                            "has no room (%s) and made none within queue.timeout: the event was not taken",
                            journal_why_full(core->journal));
    case -EMSGSIZE:
        metrics_count(core->metrics, METRICS_INVALID, 1);
        return diag_problem(AW_ERR_EVENT_TOO_LARGE, "", "the event is larger than the journal's ring can hold");
    case -ENOMEM:
        metrics_count(core->metrics, METRICS_FAILED, 1);
        return diag_problem(AW_ERR_NOMEM, "", "out of memory: the event was not taken");
    case -EPERM: /* forked in the middle of this call */
        return diag_problem(AW_ERR_FORK, "logger", "was opened by the parent process: the event was not taken");
    default:
        metrics_count(core->metrics, METRICS_FAILED, 1);
        return diag_problem(AW_ERR_WRITE_FAILED, "journal", "cannot store the event: %s", strerror(-rc));
    }
}

/* Appends, waiting for room as the mode says. */
static int append(struct logger_core *core, const struct settings_service *service, const struct prepared *p,
                  struct journal_receipt *jr)
{
    int rc = journal_append(core->journal, p, 0, jr);
    if (AW_UNLIKELY(rc == -ENOSPC)) {
        if (service->mode == SETTINGS_MODE_DROP)
            return dropped(core, p);
        if (service->timeout_ns > 0)
            rc = journal_append(core->journal, p, clock_mono_ns() + service->timeout_ns, jr);
    }
    return AW_LIKELY(rc == 0) ? 0 : not_taken(core, rc);
}

static void count_taken(struct logger_core *core, const struct prepared *p)
{
    if (p->redactions)
        metrics_count(core->metrics, METRICS_REDACTED, p->redactions);
    if (AW_UNLIKELY(p->flags & (PREPARED_METADATA_TRUNCATED | PREPARED_DIFF_TRUNCATED)))
        metrics_count(core->metrics, METRICS_TRUNCATED, 1);
    if (AW_UNLIKELY(diag_warnings() > 0))
        metrics_count(core->metrics, METRICS_WARNINGS, diag_warnings());
}

static int serve(struct logger_core *core, const struct settings_service *service, const struct prepared *p,
                 struct aw_receipt *receipt)
{
    struct journal_receipt jr;
    int rc = append(core, service, p, &jr);
    if (AW_UNLIKELY(rc != 0))
        return rc;
    count_taken(core, p);
    if (receipt)
        fill_receipt(receipt, core, p, &jr);
    if (service->durability == SETTINGS_DURABLE_DISK) {
        rc = journal_sync(core->journal, jr.seq);
        if (rc < 0) {
            metrics_count(core->metrics, METRICS_FAILED, 1);
            return diag_problem(AW_ERR_WRITE_FAILED, "journal", "the event could not be made durable: %s",
                                strerror(-rc));
        }
    }
    if (service->mode != SETTINGS_MODE_BLOCK)
        return AW_SUCCESS;
    return fanout_wait(core, jr.seq, service->timeout_ns ? clock_mono_ns() + service->timeout_ns : UINT64_MAX);
}

/* What events about ourselves say is taken for the truth: nobody else may say it. */
static AW_COLD int refuse_own_name(struct logger_core *core)
{
    metrics_count(core->metrics, METRICS_INVALID, 1);
    return diag_problem(AW_ERR_INVALID_EVENT, "action",
                        "\"" REPLAY_EVENT_OWN "*\" is reserved for events that auditwell itself records");
}

static int take(struct logger_core *core, const struct prepared *p, struct aw_receipt *receipt)
{
    static const struct aw_str own = {REPLAY_EVENT_OWN, sizeof REPLAY_EVENT_OWN - 1};
    struct aw_str action = field_of(p, AW_FIELD_ACTION);
    if (AW_UNLIKELY(action.len > own.len && memcmp(action.ptr, own.ptr, own.len) == 0))
        return refuse_own_name(core);
    const struct settings_service *service = service_of(core, p);
    if (AW_LIKELY(service->mode != SETTINGS_MODE_BLOCK))
        return serve(core, service, p, receipt);
    fanout_begin(core);
    int rc = serve(core, service, p, receipt);
    fanout_end(core);
    return rc;
}

/* The explicit context, if any, then the logger's own. */
static size_t gather_contexts(const struct aw_logger *logger, const struct aw_context *context,
                              const struct aw_context *out[LOGGER_MAX_CONTEXTS + 1])
{
    size_t n = 0;
    if (context)
        out[n++] = context;
    for (size_t i = 0; i < logger->context_count; i++)
        out[n++] = logger->contexts[i];
    return n;
}

static int refused(struct logger_core *core, int rc)
{
    metrics_count(core->metrics, METRICS_INVALID, rc == AW_ERR_INVALID_EVENT || rc == AW_ERR_EVENT_TOO_LARGE);
    return rc;
}

int aw_log_in(struct aw_logger *logger, const struct aw_context *context, const struct aw_builder *builder,
              struct aw_receipt *receipt)
{
    const struct aw_context *contexts[LOGGER_MAX_CONTEXTS + 1];
    struct prepared *p;
    struct logger_core *core;
    diag_reset();
    int rc = check_usable(logger, &core);
    if (AW_UNLIKELY(rc != 0))
        return rc;
    if (AW_UNLIKELY(gaps_pending(core->gaps)))
        logger_settle_gaps(core, 0);
    if (AW_UNLIKELY(!builder))
        return diag_problem(AW_ERR_USAGE, "builder", "must not be NULL");
    uint64_t began = timing_begin();
    rc = event_prepare_builder(core->policy, contexts, gather_contexts(logger, context, contexts), builder, &p);
    rc = AW_LIKELY(rc == 0) ? take(core, p, receipt) : refused(core, rc);
    return timing_end(core, began, rc);
}

int aw_log(struct aw_logger *logger, const struct aw_builder *builder, struct aw_receipt *receipt)
{
    return aw_log_in(logger, NULL, builder, receipt);
}

int aw_log_json_in(struct aw_logger *logger, const struct aw_context *context, const char *json, size_t len,
                   struct aw_receipt *receipt)
{
    const struct aw_context *contexts[LOGGER_MAX_CONTEXTS + 1];
    struct prepared *p;
    struct logger_core *core;
    diag_reset();
    int rc = check_usable(logger, &core);
    if (AW_UNLIKELY(rc != 0))
        return rc;
    if (AW_UNLIKELY(gaps_pending(core->gaps)))
        logger_settle_gaps(core, 0);
    if (AW_UNLIKELY(!json))
        return diag_problem(AW_ERR_USAGE, "json", "must not be NULL");
    uint64_t began = timing_begin();
    rc = event_prepare_json(core->policy, contexts, gather_contexts(logger, context, contexts), json, len, &p);
    rc = AW_LIKELY(rc == 0) ? take(core, p, receipt) : refused(core, rc);
    return timing_end(core, began, rc);
}

int aw_log_json(struct aw_logger *logger, const char *json, size_t len, struct aw_receipt *receipt)
{
    return aw_log_json_in(logger, NULL, json, len, receipt);
}

/* ---- batches ---- */

struct batch {
    struct logger_core *core;
    const struct aw_context *contexts[LOGGER_MAX_CONTEXTS + 1];
    size_t context_count;
    const struct aw_json *events;
    size_t count, taken;
    struct aw_receipt *receipts;
};

static struct aw_receipt *batch_receipt(const struct batch *b)
{
    if (!b->receipts)
        return NULL;
    uint32_t size = b->receipts->struct_size;
    struct aw_receipt *r = (struct aw_receipt *)(void *)((char *)b->receipts + b->taken * size);
    r->struct_size = size;
    return r;
}

static int batch_prepare(const struct batch *b, size_t i, struct prepared **ret)
{
    if (AW_UNLIKELY(!b->events[i].json))
        return diag_problem(AW_ERR_USAGE, "json", "must not be NULL");
    return event_prepare_json(b->core->policy, b->contexts, b->context_count, b->events[i].json, b->events[i].len, ret);
}

static int batch_take(struct batch *b, const struct prepared *p)
{
    int rc = take(b->core, p, batch_receipt(b));
    b->taken += rc == AW_SUCCESS;
    return rc;
}

/* The next event or, where there is nothing to say of two, these. A second one that has to stand alone is prepared
 * again by the next call. */
static int batch_step(struct batch *b)
{
    struct prepared *first, *second = NULL;
    int rc = batch_prepare(b, b->taken, &first);
    if (AW_UNLIKELY(rc != 0))
        return refused(b->core, rc);
    if (AW_LIKELY(b->taken + 1 < b->count && diag_warnings() == 0)) {
        first = event_keep();
        if (AW_LIKELY(batch_prepare(b, b->taken + 1, &second) == 0 && diag_warnings() == 0)) {
            journal_hash_two(b->core->journal, first, second);
        } else {
            second = NULL;
            diag_reset();
        }
    }
    rc = batch_take(b, first);
    return AW_LIKELY(rc == AW_SUCCESS) && second ? batch_take(b, second) : rc;
}

int aw_log_json_batch(struct aw_logger *logger, const struct aw_context *context, const struct aw_json *events,
                      size_t count, struct aw_receipt *receipts, size_t *ret_taken)
{
    struct batch b = {.events = events, .count = count, .receipts = receipts};
    diag_reset();
    if (AW_UNLIKELY(!ret_taken))
        return diag_problem(AW_ERR_USAGE, "ret_taken", "must not be NULL");
    *ret_taken = 0;
    int rc = check_usable(logger, &b.core);
    if (AW_UNLIKELY(rc == 0 && !events && count > 0))
        rc = diag_problem(AW_ERR_USAGE, "events", "must not be NULL");
    if (AW_LIKELY(rc == 0))
        b.context_count = gather_contexts(logger, context, b.contexts);
    while (rc == 0 && b.taken < count && diag_warnings() == 0) {
        uint64_t began = timing_begin();
        size_t before = b.taken;
        if (AW_UNLIKELY(gaps_pending(b.core->gaps)))
            logger_settle_gaps(b.core, 0);
        rc = batch_step(&b);
        if (AW_UNLIKELY(began != 0 && b.taken > before))
            metrics_observe(&b.core->metrics->process->log, metrics_log_bounds,
                            (clock_mono_ns() - began) / (b.taken - before));
    }
    *ret_taken = b.taken;
    return rc;
}

int aw_sync(struct aw_logger *logger, int timeout_ms)
{
    (void)timeout_ms; /* the caller does the work itself: it takes as long as the disk takes */
    struct logger_core *core;
    diag_reset();
    int rc = check_usable(logger, &core);
    if (rc != 0)
        return rc;
    logger_settle_gaps(core, 0);
    rc = journal_sync(core->journal, journal_head(core->journal));
    if (rc < 0) {
        metrics_count(core->metrics, METRICS_FAILED, 1);
        return diag_problem(AW_ERR_WRITE_FAILED, "journal", "cannot be made durable: %s", strerror(-rc));
    }
    return AW_SUCCESS;
}

int aw_flush(struct aw_logger *logger, int timeout_ms)
{
    struct logger_core *core;
    diag_reset();
    int rc = check_usable(logger, &core);
    if (rc != 0)
        return rc;
    logger_settle_gaps(core, 0);
    uint64_t head = journal_head(core->journal), deadline = logger_deadline(timeout_ms);
    for (size_t i = 0; i < core->started; i++) {
        int one = delivery_flush(core->sinks[i], head, deadline);
        if (one == 0)
            continue;
        struct aw_sink_stats s = {.struct_size = sizeof s};
        delivery_get_stats(core->sinks[i], head, &s);
        int code = one == -ETIMEDOUT ? AW_ERR_TIMEOUT : AW_ERR_WRITE_FAILED;
        diag_problem(code, s.name, "%llu events are not delivered yet; they stay in the journal%s%s",
                     (unsigned long long)s.lag_events, s.last_error_text[0] ? "; last error: " : "", s.last_error_text);
        if (rc == 0)
            rc = code;
    }
    return rc;
}

int aw_reopen(struct aw_logger *logger)
{
    struct logger_core *core;
    diag_reset();
    int rc = check_usable(logger, &core);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < core->started; i++)
        delivery_reopen(core->sinks[i]);
    return AW_SUCCESS;
}

int aw_stats(struct aw_logger *logger, struct aw_stats *stats)
{
    struct logger_core *core;
    diag_reset();
    if (!stats || stats->struct_size < offsetof(struct aw_stats, events_total))
        return diag_problem(AW_ERR_USAGE, "stats", "struct_size must be set to sizeof(struct aw_stats)");
    int rc = logger_readable(logger, &core);
    if (rc != 0)
        return rc;
    struct journal_usage u = {0};
    if (core->journal)
        journal_get_usage(core->journal, &u);
    struct aw_stats s = {
        .struct_size = stats->struct_size,
        .sinks = (uint32_t)core->sink_count,
        .head_seq = core->journal ? journal_head(core->journal) : 0,
        .durable_seq = core->journal ? journal_durable(core->journal) : 0,
        .invalid_total = metrics_counted(core->metrics, METRICS_INVALID),
        .dropped_total = metrics_counted(core->metrics, METRICS_DROPPED),
        .failed_total = metrics_counted(core->metrics, METRICS_FAILED),
        .redacted_total = metrics_counted(core->metrics, METRICS_REDACTED),
        .truncated_total = metrics_counted(core->metrics, METRICS_TRUNCATED),
        .warnings_total = metrics_counted(core->metrics, METRICS_WARNINGS),
        .lost_total = u.lost,
        .journal_bytes = u.bytes,
        .journal_max_bytes = u.max_bytes,
        .scopes = u.scopes,
    };
    s.events_total = s.head_seq - core->head_at_open;
    memcpy(stats, &s, stats->struct_size < sizeof s ? stats->struct_size : sizeof s);
    return AW_SUCCESS;
}

int aw_stats_sink(struct aw_logger *logger, size_t index, struct aw_sink_stats *stats)
{
    struct logger_core *core;
    diag_reset();
    if (!stats || stats->struct_size < offsetof(struct aw_sink_stats, name))
        return diag_problem(AW_ERR_USAGE, "stats", "struct_size must be set to sizeof(struct aw_sink_stats)");
    int rc = logger_readable(logger, &core);
    if (rc != 0)
        return rc;
    if (index >= core->sink_count)
        return diag_problem(AW_ERR_NOTFOUND, "index", "there are %zu sinks", core->sink_count);
    struct aw_sink_stats s = {.struct_size = stats->struct_size};
    delivery_get_stats(core->sinks[index], core->journal ? journal_head(core->journal) : 0, &s);
    memcpy(stats, &s, stats->struct_size < sizeof s ? stats->struct_size : sizeof s);
    return AW_SUCCESS;
}
