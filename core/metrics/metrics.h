/* metrics.h - the face of metrics/: counters, histograms and plugins' metrics of one open journal; reading them, also
 * those of another process; the Prometheus text.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Counters are added to by any thread, without a lock. A sink's figures are published together by the one thread that
 * moves its cursor. Locks: one mutex guards the registration of plugins' metrics, nothing else.
 */
#ifndef AW_METRICS_H
#define AW_METRICS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/base.h"
#include "metrics/layout.h"

/* ---- the figures of this process ---- */
struct metrics {
    struct metrics_header *header; /* begins the memory, which is the file's once metrics_share() worked */
    struct metrics_process *process;
    struct metrics_sink *sinks;
    size_t size, sink_count;
    int fd;               /* of the file, which holds its lock; -1: ordinary memory */
    pthread_mutex_t lock; /* registration of plugins' metrics */
};
int metrics_create(size_t sinks, struct metrics **ret); /* 0, -ENOMEM, -EINVAL: too many sinks */
void metrics_destroy(struct metrics *metrics);          /* NULL is fine */
/* Names one sink; what was in its place before is forgotten. */
void metrics_name_sink(struct metrics *metrics, size_t sink, const char *name, const char *plugin);
/* From now on the figures are those of the file "metrics" in this directory, which is made anew. Nobody else may use
 * the figures during the call. -errno: they stay where they are, in ordinary memory. */
int metrics_share(struct metrics *metrics, const char *directory, const uint8_t boot_id[16], uint64_t first_seq);
/* The journal is closed: what is there is final, and the process does not count as running any more, even if a thread
 * that does not come back still holds the memory. */
/* In a forked child: neither counts in the parent's figures nor makes it seem to run when it is gone. */
void metrics_drop_inherited(struct metrics *metrics);
void metrics_ended(struct metrics *metrics);

static inline void metrics_count(struct metrics *m, enum metrics_counter which, uint64_t n)
{
    atomic_fetch_add_explicit(&m->process->counters[which], n, memory_order_relaxed);
}

static inline uint64_t metrics_counted(const struct metrics *m, enum metrics_counter which)
{
    return atomic_load_explicit(&m->process->counters[which], memory_order_relaxed);
}

/* One call in this many of each thread is timed: two clock readings are more than 1 % of a call. */
#define METRICS_LOG_EVERY 64u

/* Fixed bounds in ns, ended by 0. */
extern const uint64_t metrics_log_bounds[METRICS_BUCKETS], metrics_write_bounds[METRICS_BUCKETS];
void metrics_observe(struct metrics_histogram *h, const uint64_t *bounds, uint64_t ns);

/* Publishes a sink's figures and the text of its last error. One thread at a time for each sink. */
void metrics_publish(struct metrics_sink *sink, const uint64_t figures[METRICS_SINK_FIGURES], const char *error);
/* The figures last published, all of one moment. */
void metrics_latest(const struct metrics_sink *sink, uint64_t ret_words[METRICS_SINK_WORDS]);
static inline const char *metrics_error_text(const uint64_t words[METRICS_SINK_WORDS])
{
    return (const char *)(words + METRICS_SINK_FIGURES);
}

/* ---- metrics of plugins (series.c) ---- */
#define METRICS_PLUGIN_METRICS 32 /* different names of one sink */
struct metrics_spec {
    int32_t kind; /* AW_METRIC_* */
    const char *name, *help;
    const char *const *labels; /* names, NULL-ended; NULL: none */
    const double *bounds;      /* of a histogram: rising, without +Inf */
    size_t bound_count;
};
#define METRICS_MAX_LABELS 4
/* Checks name, labels and bounds, and that nobody uses the name for something else. AW_OK; AW_E_INTERNAL: against the
 * rules, AW_E_UNSUPPORTED: there are too many; why says what. */
int32_t metrics_check_spec(struct metrics *metrics, size_t sink, const struct metrics_spec *spec, char *why,
                           size_t why_size);
/* The series of a checked spec with these label values (as many as there are labels); made when it is new. *ret is its
 * index in the sink. AW_OK, AW_E_UNSUPPORTED. */
int32_t metrics_series(struct metrics *metrics, size_t sink, const struct metrics_spec *spec, const char *const *values,
                       uint32_t *ret, char *why, size_t why_size);
/* Counter: adds what is positive; gauge: sets; histogram: observes. An index that is not there is ignored. */
void metrics_series_add(struct metrics_sink *sink, uint32_t series, double value);
/* Follows the rules, and is not in the sink before: for a series of a file that anybody may have written. */
bool metrics_series_good(const struct metrics_sink *sink, uint64_t series);

/* ---- reading (snapshot.c) ---- */
/* When figures were read, and what was true then. */
struct metrics_moment {
    bool running;     /* the process has the journal open now */
    uint64_t real_ns; /* CLOCK_REALTIME */
    uint64_t mono_ns; /* CLOCK_MONOTONIC; 0: the figures are of another start of the machine */
    uint64_t head;    /* last seq accepted; read after all sinks' figures, so it is never behind them */
};
struct metrics_snapshot {
    struct metrics copy; /* private memory; each sink's words[0] are its figures of one moment */
    struct metrics_moment moment;
};
int metrics_snapshot_live(const struct metrics *metrics, struct metrics_snapshot **ret); /* 0, -ENOMEM */
/* From the file of any process: nothing in it is trusted. 0; -ENOENT; -EBADMSG: not such a file, *ret_why says in
 * what (static text); -ENOMEM; other -errno. */
int metrics_snapshot_file(const char *path, const uint8_t boot_id[16], struct metrics_snapshot **ret,
                          const char **ret_why);
void metrics_snapshot_free(struct metrics_snapshot *snapshot); /* NULL is fine */
/* What is known of one sink, made ready for use. */
struct metrics_sink_view {
    const char *name, *plugin, *error;
    const uint64_t *figures;
    uint64_t accepted;  /* waiting at the open, and since; see delivery.h */
    uint64_t delivered; /* written + duplicates + found */
    uint64_t queued;
    int64_t imbalance; /* accepted - (delivered + queued + dead-lettered + lost): 0 */
    uint64_t lag_ns;
    uint64_t stuck_ns; /* in one call of the plugin for longer than its deadline */
};
/* words as metrics_latest() gives them; borrowed by *ret. */
void metrics_view(const char *name, const char *plugin, const uint64_t *words, const struct metrics_moment *moment,
                  struct metrics_sink_view *ret);
void metrics_view_sink(const struct metrics_snapshot *snapshot, size_t sink, struct metrics_sink_view *ret);

/* ---- Prometheus text (text.c) ---- */
/* *ret is malloc'd and NUL-terminated. 0 or -ENOMEM. */
int metrics_text(const struct metrics_snapshot *snapshot, char **ret, size_t *ret_len);
/* Names the core itself uses behind "audit_sink_". */
bool metrics_name_taken(const char *name);

#endif
