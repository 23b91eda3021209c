/* layout.h - the figures of one open journal, as they lie in memory and in the file JOURNAL/metrics.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The file is mapped shared, so that a figure costs a store, and any process may read it. It is written only by the
 * process that holds the journal open, which also holds an exclusive flock on the file; made anew at each open; never
 * read back by the library itself, so nothing depends on what is in it. Native byte order: it is read on the machine
 * that wrote it.
 *
 *   header    4096 bytes: struct metrics_header, zeros
 *   process   struct metrics_process
 *   sinks     sink_count times struct metrics_sink
 */
#ifndef AW_METRICS_LAYOUT_H
#define AW_METRICS_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_NAME "metrics"
#define METRICS_MAGIC "AWMETR1"
#define METRICS_VERSION 1u
#define METRICS_HEADER 4096u
#define METRICS_MAX_SINKS 1024u

/* The first 128 bytes are written before the file gets its name. */
struct metrics_header {
    char magic[8];
    uint32_t version, crc; /* CRC-32C of bytes 0..127 with this word zero */
    uint64_t size;         /* of the whole file */
    uint32_t process_bytes, sink_bytes, sink_count, reserved;
    uint64_t pid, started_ns; /* CLOCK_REALTIME */
    uint8_t boot_id[16];      /* zero when unknown */
    uint64_t first_seq;       /* the journal's head when it was opened */
    uint8_t zero[48];
    _Atomic uint64_t ended_ns; /* 0: open, or killed */
};
_Static_assert(offsetof(struct metrics_header, ended_ns) == 128, "the part under the checksum");

/* Buckets hold what is at most their bound and more than the one before; the last one has no bound. Each counts for
 * itself: the sum over them is made on reading, so that an observation is two additions. */
#define METRICS_BUCKETS 24
struct metrics_histogram {
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t count[METRICS_BUCKETS];
};

/* Counters of the callers. */
enum metrics_counter {
    METRICS_INVALID,
    METRICS_DROPPED,
    METRICS_FAILED,
    METRICS_REDACTED,
    METRICS_TRUNCATED,
    METRICS_WARNINGS,
    METRICS_COUNTERS = 8
};

/* The journal's figures, copied here by its threads when they move. */
enum metrics_journal {
    METRICS_HEAD, /* by the journal's own threads: it may be behind. The ring's header has it for sure. */
    METRICS_WRITTEN,
    METRICS_DURABLE,
    METRICS_OLDEST,
    METRICS_BYTES,
    METRICS_MAX_BYTES,
    METRICS_RING_USED,
    METRICS_RING_SIZE,
    METRICS_SEGMENTS,
    METRICS_SCOPES,
    METRICS_LOST,
    METRICS_RECOVERED,
    METRICS_JOURNAL_FIGURES = 16
};

struct metrics_process {
    _Alignas(64) _Atomic uint64_t counters[METRICS_COUNTERS];
    _Alignas(64) _Atomic uint64_t journal[METRICS_JOURNAL_FIGURES];
    _Alignas(
        64) struct metrics_histogram log; /* aw_log() and its sisters: every METRICS_LOG_EVERY-th call of a thread */
    uint8_t room[512];                    /* zero */
};

/* One sink. What its worker publishes together; the identity is in delivery.h. */
enum metrics_figure {
    METRICS_SINK_BASE,  /* the cursor when the journal was opened */
    METRICS_SINK_ACKED, /* the cursor now */
    METRICS_SINK_WRITTEN,
    METRICS_SINK_DUPLICATES,
    METRICS_SINK_FOUND,
    METRICS_SINK_DEAD,
    METRICS_SINK_LOST,
    METRICS_SINK_RESENT,
    METRICS_SINK_BATCHES,
    METRICS_SINK_TRANSIENT, /* tries of events that failed and will be repeated */
    METRICS_SINK_PERMANENT, /* events refused for good, when it happened */
    METRICS_SINK_FAILURES,  /* failed calls of the plugin */
    METRICS_SINK_LAST_SUCCESS_NS,
    METRICS_SINK_BREAKER, /* BREAKER_* */
    METRICS_SINK_STOPPED, /* 1: until it is reopened */
    METRICS_SINK_LAST_ERROR,
    METRICS_SINK_OLDEST_SEQ, /* the oldest event that waits, as far as the worker has seen it; 0: none */
    METRICS_SINK_OLDEST_NS,  /* when that was sealed */
    METRICS_SINK_CALL_SINCE, /* CLOCK_MONOTONIC: in the plugin since; 0: not */
    METRICS_SINK_DEADLINE,   /* ns: a call that takes longer is stuck */
    METRICS_SINK_FIGURES = 24
};
#define METRICS_ERROR_WORDS 25 /* 200 bytes of text */
#define METRICS_SINK_WORDS (METRICS_SINK_FIGURES + METRICS_ERROR_WORDS)

/* A metric that a plugin made: one name with one set of label values. */
#define METRICS_SERIES 64 /* of one sink */
#define METRICS_NAME_MAX 64
#define METRICS_BOUNDS 16
struct metrics_series {
    char name[METRICS_NAME_MAX + 8]; /* behind "audit_sink_" */
    char help[128];
    char labels[184];          /* NAME NUL VALUE NUL …, ended by an empty name */
    uint32_t kind, label_size; /* AW_METRIC_*; bytes of labels in use */
    uint32_t bound_count, reserved;
    double bounds[METRICS_BOUNDS];
    _Atomic uint64_t value; /* the bits of a double: counter, gauge, or the sum of a histogram */
    _Atomic uint64_t count[METRICS_BOUNDS + 1];
};

struct metrics_sink {
    _Alignas(64) char name[80];
    char plugin[48];
    /* The one of both copies that belongs to the version is whole, also when the process is killed in the middle of
     * writing the other. One thread writes. */
    _Alignas(64) _Atomic uint64_t version;
    _Atomic uint64_t words[2][METRICS_SINK_WORDS];
    _Alignas(64) struct metrics_histogram writes;
    _Atomic uint64_t series_count;
    struct metrics_series series[METRICS_SERIES];
};

#endif
