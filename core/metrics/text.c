/* text.c - the Prometheus text format 0.0.4. See metrics.h. SPDX-License-Identifier: Apache-2.0
 *
 * One family after the other in a fixed order, each with HELP and TYPE, sinks in the order of the configuration,
 * plugins' metrics behind, by name. Everything that comes from outside is escaped, and left out when it would break the
 * format: the snapshot may be of a file that anybody wrote.
 */
#include "config.h"

#include "metrics/metrics.h"
#include "metrics/text.h"

#include <inttypes.h>

/* ---- the core's own ---- */

static const uint64_t *figures_of(const struct metrics_snapshot *s, size_t sink)
{
    struct metrics_sink_view v;
    metrics_view_sink(s, sink, &v);
    return v.figures;
}

static uint64_t counter_of(const struct metrics_snapshot *s, enum metrics_counter which)
{
    return metrics_counted(&s->copy, which);
}

static uint64_t journal_of(const struct metrics_snapshot *s, enum metrics_journal which)
{
    return atomic_load_explicit(&s->copy.process->journal[which], memory_order_relaxed);
}

static uint64_t above(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* What every sink has: the one that is furthest behind decides. */
static uint64_t written_everywhere(const struct metrics_snapshot *s)
{
    uint64_t least = s->copy.sink_count ? UINT64_MAX : 0;
    for (size_t i = 0; i < s->copy.sink_count; i++) {
        struct metrics_sink_view v;
        metrics_view_sink(s, i, &v);
        least = v.delivered < least ? v.delivered : least;
    }
    return least;
}

static uint64_t longest_queue(const struct metrics_snapshot *s)
{
    uint64_t most = 0;
    for (size_t i = 0; i < s->copy.sink_count; i++) {
        struct metrics_sink_view v;
        metrics_view_sink(s, i, &v);
        most = v.queued > most ? v.queued : most;
    }
    return most;
}

/* By the mean size of the events that are kept. */
static uint64_t queue_bytes(const struct metrics_snapshot *s)
{
    uint64_t kept = above(s->moment.head + 1, journal_of(s, METRICS_OLDEST)), queue = longest_queue(s);
    uint64_t bytes = journal_of(s, METRICS_BYTES) + journal_of(s, METRICS_RING_USED);
    if (queue == 0 || kept == 0)
        return 0;
    return queue >= kept ? bytes : (uint64_t)((double)bytes / (double)kept * (double)queue);
}

static uint64_t retries(const struct metrics_snapshot *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->copy.sink_count; i++)
        sum += figures_of(s, i)[METRICS_SINK_TRANSIENT];
    return sum;
}

static uint64_t any_open(const struct metrics_snapshot *s)
{
    uint64_t any = 0;
    for (size_t i = 0; i < s->copy.sink_count; i++)
        any |= figures_of(s, i)[METRICS_SINK_BREAKER] == 1;
    return any;
}

static void put_process(struct prom *t, const struct metrics_snapshot *s)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } table[] = {
        {"events_total", "counter", "Events accepted since the journal was opened.",
         above(s->moment.head, s->copy.header->first_seq)},
        {"events_written_total", "counter", "Events that every sink has since the journal was opened.",
         written_everywhere(s)},
        {"events_dropped_total", "counter", "Events refused because the journal had no room (DROPPED, QUEUE_FULL).",
         counter_of(s, METRICS_DROPPED)},
        {"invalid_total", "counter", "Events refused because they break a rule (INVALID_EVENT, EVENT_TOO_LARGE).",
         counter_of(s, METRICS_INVALID)},
        {"write_failures_total", "counter", "Events that the journal could not store or not make durable.",
         counter_of(s, METRICS_FAILED)},
        {"retries_total", "counter", "Deliveries of events that failed and are repeated, over all sinks.", retries(s)},
        {"redacted_total", "counter", "Values masked by redaction.", counter_of(s, METRICS_REDACTED)},
        {"truncated_total", "counter", "Events of which metadata or diff was replaced by a marker.",
         counter_of(s, METRICS_TRUNCATED)},
        {"warnings_total", "counter", "Warnings about accepted events.", counter_of(s, METRICS_WARNINGS)},
        {"lost_total", "counter", "Events found missing or damaged in the journal.", journal_of(s, METRICS_LOST)},
        {"queue_size", "gauge", "Events that the sink furthest behind still has to get.", longest_queue(s)},
        {"queue_bytes", "gauge", "Their size in the journal, estimated by the mean of the events kept.",
         queue_bytes(s)},
        {"circuit_open", "gauge", "1 while the circuit breaker of any sink is open.", any_open(s)},
        {"journal_bytes", "gauge", "Bytes in segment files.", journal_of(s, METRICS_BYTES)},
        {"journal_max_bytes", "gauge", "Limit of the bytes in segment files (journal.max_size).",
         journal_of(s, METRICS_MAX_BYTES)},
        {"journal_ring_bytes", "gauge", "Bytes in the staging ring that are in no segment yet.",
         journal_of(s, METRICS_RING_USED)},
        {"journal_ring_max_bytes", "gauge", "Size of the staging ring.", journal_of(s, METRICS_RING_SIZE)},
        {"journal_segments", "gauge", "Segment files.", journal_of(s, METRICS_SEGMENTS)},
        {"journal_unsynced_events", "gauge", "Accepted events that are not known to be on the disk.",
         above(s->moment.head, journal_of(s, METRICS_DURABLE))},
        {"chains", "gauge", "Hash chains, one a tenant or service.", journal_of(s, METRICS_SCOPES)},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(table); i++) {
        prom_family(t, "audit_", table[i].name, table[i].type, table[i].help);
        prom_printf(t, "audit_%s %" PRIu64 "\n", table[i].name, table[i].value);
    }
}

static void put_head(struct prom *t, const struct metrics_snapshot *s)
{
    prom_family(t, "audit_", "info", "gauge", "Version of the library that this text is from; always 1.");
    prom_puts(t, "audit_info{version=\"" PACKAGE_VERSION "\"} 1\n");
    prom_family(t, "audit_", "up", "gauge", "1 while a process has the journal open; 0: figures of its end.");
    prom_printf(t, "audit_up %d\n", s->moment.running);
    prom_family(t, "audit_", "start_time_seconds", "gauge", "When the journal was opened, in seconds since 1970.");
    prom_puts(t, "audit_start_time_seconds ");
    prom_seconds(t, s->copy.header->started_ns);
    prom_puts(t, "\n");
}

/* Bucket, sum and count of one set of labels; labels ends with a comma or is empty. */
static void put_histogram(struct prom *t, const char *name, size_t sink, const struct metrics_histogram *h,
                          const uint64_t *bounds)
{
    uint64_t sum = 0;
    for (size_t i = 0;; i++) {
        sum += atomic_load_explicit(&h->count[i], memory_order_relaxed);
        prom_puts(t, name);
        prom_puts(t, "_bucket{");
        if (sink != PROM_NO_SINK)
            prom_sink_label(t, sink, ",");
        prom_puts(t, "le=\"");
        if (bounds[i])
            prom_seconds(t, bounds[i]);
        prom_printf(t, "%s\"} %" PRIu64 "\n", bounds[i] ? "" : "+Inf", sum);
        if (!bounds[i])
            break;
    }
    prom_sample(t, name, "_sum", sink);
    prom_seconds(t, atomic_load_explicit(&h->sum_ns, memory_order_relaxed));
    prom_puts(t, "\n");
    prom_sample(t, name, "_count", sink);
    prom_printf(t, "%" PRIu64 "\n", sum);
}

/* ---- the sinks ---- */

enum sink_family {
    SINK_ACCEPTED,
    SINK_BATCHES,
    SINK_WRITTEN,
    SINK_DUPLICATES,
    SINK_FOUND,
    SINK_DEAD,
    SINK_LOST,
    SINK_RESENT,
    SINK_FAILED,
    SINK_CALL_FAILURES,
    SINK_CIRCUIT_OPEN,
    SINK_CIRCUIT_STATE,
    SINK_STOPPED,
    SINK_LAG_EVENTS,
    SINK_LAG_SECONDS,
    SINK_STUCK_SECONDS,
    SINK_LAST_SUCCESS,
};

static const struct {
    const char *name, *type, *help;
} sink_families[] = {
    [SINK_ACCEPTED] = {"events_accepted_total", "counter",
                       "Events for this sink: those that waited at the open, and those accepted since."},
    [SINK_BATCHES] = {"batches_total", "counter", "Calls of the plugin's write()."},
    [SINK_WRITTEN] = {"events_written_total", "counter", "Events that the sink took."},
    [SINK_DUPLICATES] = {"events_duplicate_total", "counter", "Events that the sink said it had already."},
    [SINK_FOUND] = {"events_found_total", "counter", "Events that stood in the sink's store when it was started."},
    [SINK_DEAD] = {"dead_letters_total", "counter", "Events that the sink refused for good, kept as dead letters."},
    [SINK_LOST] = {"events_lost_total", "counter", "Events that the sink will not get: damaged, or not kept any more."},
    [SINK_RESENT] = {"events_resent_total", "counter",
                     "Events given to the sink again after it had taken them, because a flush failed or it restarted."},
    [SINK_FAILED] = {"events_failed_total", "counter", "Deliveries of events that failed, each try counted."},
    [SINK_CALL_FAILURES] = {"call_failures_total", "counter", "Calls of the plugin that failed as a whole."},
    [SINK_CIRCUIT_OPEN] = {"circuit_open", "gauge", "1 while the circuit breaker is open: nothing is sent."},
    [SINK_CIRCUIT_STATE] = {"circuit_state", "gauge", "Circuit breaker: 0 closed, 1 open, 2 half-open."},
    [SINK_STOPPED] = {"stopped", "gauge", "1: the sink says that its settings are wrong, and waits for a reopen."},
    [SINK_LAG_EVENTS] = {"lag_events", "gauge", "Events that the sink still has to get."},
    [SINK_LAG_SECONDS] = {"lag_seconds", "gauge", "Age of the oldest of them."},
    [SINK_STUCK_SECONDS] = {"stuck_seconds", "gauge", "How long one call has taken, once over write_deadline; else 0."},
    [SINK_LAST_SUCCESS] = {"last_success_timestamp_seconds", "gauge",
                           "When a call last succeeded, in seconds since 1970; 0: not yet."},
};
/* Families of other shapes, for metrics_name_taken(). */
static const char *const other_names[] = {"info",
                                          "event_failures_total",
                                          "write_duration_seconds",
                                          "write_duration_seconds_bucket",
                                          "write_duration_seconds_sum",
                                          "write_duration_seconds_count"};

bool metrics_name_taken(const char *name)
{
    for (size_t i = 0; i < AW_ARRAY_LEN(sink_families); i++)
        if (strcmp(sink_families[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < AW_ARRAY_LEN(other_names); i++)
        if (strcmp(other_names[i], name) == 0)
            return true;
    return false;
}

static void put_sink_value(struct prom *t, enum sink_family family, const struct metrics_sink_view *v)
{
    const uint64_t *f = v->figures;
    const uint64_t values[] = {
        [SINK_ACCEPTED] = v->accepted,
        [SINK_BATCHES] = f[METRICS_SINK_BATCHES],
        [SINK_WRITTEN] = f[METRICS_SINK_WRITTEN],
        [SINK_DUPLICATES] = f[METRICS_SINK_DUPLICATES],
        [SINK_FOUND] = f[METRICS_SINK_FOUND],
        [SINK_DEAD] = f[METRICS_SINK_DEAD],
        [SINK_LOST] = f[METRICS_SINK_LOST],
        [SINK_RESENT] = f[METRICS_SINK_RESENT],
        [SINK_FAILED] = f[METRICS_SINK_TRANSIENT] + f[METRICS_SINK_PERMANENT],
        [SINK_CALL_FAILURES] = f[METRICS_SINK_FAILURES],
        [SINK_CIRCUIT_OPEN] = f[METRICS_SINK_BREAKER] == 1,
        [SINK_CIRCUIT_STATE] = f[METRICS_SINK_BREAKER],
        [SINK_STOPPED] = f[METRICS_SINK_STOPPED],
        [SINK_LAG_EVENTS] = v->queued,
        [SINK_LAG_SECONDS] = v->lag_ns,
        [SINK_STUCK_SECONDS] = v->stuck_ns,
        [SINK_LAST_SUCCESS] = f[METRICS_SINK_LAST_SUCCESS_NS],
    };
    if (family >= SINK_LAG_SECONDS)
        prom_seconds(t, values[family]);
    else
        prom_printf(t, "%" PRIu64, values[family]);
    prom_puts(t, "\n");
}

static void put_sinks(struct prom *t, const struct metrics_snapshot *s)
{
    struct metrics_sink_view v;
    size_t n = s->copy.sink_count;
    for (size_t family = 0; n > 0 && family < AW_ARRAY_LEN(sink_families); family++) {
        prom_family(t, "audit_sink_", sink_families[family].name, sink_families[family].type,
                    sink_families[family].help);
        for (size_t i = 0; i < n; i++) {
            if (!prom_has_sink(t, i))
                continue;
            metrics_view_sink(s, i, &v);
            prom_sample(t, "audit_sink_", sink_families[family].name, i);
            put_sink_value(t, (enum sink_family)family, &v);
        }
    }
}

static void put_labelled(struct prom *t, const struct metrics_snapshot *s)
{
    static const char failures[] = "event_failures_total";
    struct metrics_sink_view v;
    size_t n = s->copy.sink_count;
    if (n == 0)
        return;
    prom_family(t, "audit_sink_", "info", "gauge", "The sink's plugin; always 1.");
    for (size_t i = 0; i < n; i++) {
        if (!prom_has_sink(t, i))
            continue;
        metrics_view_sink(s, i, &v);
        prom_puts(t, "audit_sink_info{");
        prom_sink_label(t, i, ",plugin=\"");
        prom_value(t, v.plugin, strlen(v.plugin));
        prom_puts(t, "\"} 1\n");
    }
    prom_family(t, "audit_sink_", failures, "counter",
                "Deliveries of events that failed: TRANSIENT ones are repeated, PERMANENT ones are not.");
    for (size_t i = 0; i < n; i++) {
        if (!prom_has_sink(t, i))
            continue;
        metrics_view_sink(s, i, &v);
        for (int permanent = 0; permanent < 2; permanent++) {
            prom_printf(t, "audit_sink_%s{", failures);
            prom_sink_label(t, i, permanent ? ",errorType=\"PERMANENT\"} " : ",errorType=\"TRANSIENT\"} ");
            prom_printf(t, "%" PRIu64 "\n", v.figures[permanent ? METRICS_SINK_PERMANENT : METRICS_SINK_TRANSIENT]);
        }
    }
    prom_family(t, "audit_", "conservation_imbalance", "gauge",
                "Accepted - (delivered + queued + dead-lettered + lost) of this sink: always 0.");
    for (size_t i = 0; i < n; i++) {
        if (!prom_has_sink(t, i))
            continue;
        metrics_view_sink(s, i, &v);
        prom_sample(t, "audit_", "conservation_imbalance", i);
        prom_printf(t, "%" PRId64 "\n", v.imbalance);
    }
    prom_family(t, "audit_sink_", "write_duration_seconds", "histogram",
                "Duration of the calls of the plugin's write().");
    for (size_t i = 0; i < n; i++)
        if (prom_has_sink(t, i))
            put_histogram(t, "audit_sink_write_duration_seconds", i, &s->copy.sinks[i].writes, metrics_write_bounds);
}

int metrics_text(const struct metrics_snapshot *s, char **ret, size_t *ret_len)
{
    struct prom t = {.snapshot = s};
    put_head(&t, s);
    put_process(&t, s);
    prom_family(&t, "audit_", "log_duration_seconds", "histogram",
                "Duration of aw_log() and aw_log_json(): of every 64th call of each thread.");
    put_histogram(&t, "audit_log_duration_seconds", PROM_NO_SINK, &s->copy.process->log, metrics_log_bounds);
    put_sinks(&t, s);
    put_labelled(&t, s);
    prom_plugin_series(&t);
    if (t.failed) {
        free(t.ptr);
        return -ENOMEM;
    }
    *ret = t.ptr;
    *ret_len = t.len;
    return 0;
}
