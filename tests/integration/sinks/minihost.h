/* minihost.h - the smallest host that can drive a sink: loads the built plugin, gives it settings and made-up events.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the tests of the sinks independent of the core. Events are made up: seq n always gives the same bytes.
 */
#ifndef AW_MINIHOST_H
#define AW_MINIHOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/plugin.h"

struct aw_event {
    char *json; /* NULL: event_encoded fails with encode_code */
    size_t json_len;
    int32_t encode_code;
    struct aw_str fields[256]; /* ptr NULL: absent */
    uint64_t numbers[8];       /* AW_NUMBER_SEQ + i */
    char text[1024];           /* what fields point into */
};

#define MH_METRICS 16
struct mh_instance {
    struct aw_host host; /* first: the plugin gets &host */
    const struct aw_sink_class *class;
    void *sink;
    struct aw_config *config;
    pthread_mutex_t lock;
    char error[512]; /* of the last vset_error */
    int32_t error_code;
    char event_error[512]; /* of the last vevent_error */
    size_t event_error_index;
    char log[65536]; /* all lines */
    size_t log_len;
    const char *metric_names[MH_METRICS];
    double metrics[MH_METRICS];
    size_t metric_count;
};

/* The class of sink_NAME.so in $top_builddir/.libs. Bails out when it cannot be loaded. */
const struct aw_sink_class *mh_class(const char *name);
/* pairs: "key", "value", ..., NULL; the items of a list are on lines of one value. NULL when create() failed: then
 * mh_last_error() tells why. */
struct mh_instance *mh_create(const char *class, const char *const *pairs);
#define MH(class, ...) mh_create(class, (const char *const[]){__VA_ARGS__, NULL})
void mh_destroy(struct mh_instance *m);
/* Other values for a running instance's reconfigure(). */
int32_t mh_reconfigure(struct mh_instance *m, const char *const *pairs);
const char *mh_last_error(void);
int32_t mh_start(struct mh_instance *m);
int32_t mh_stop(struct mh_instance *m);
int32_t mh_flush(struct mh_instance *m, uint64_t *ret_seq);
double mh_metric(struct mh_instance *m, const char *name);
bool mh_logged(struct mh_instance *m, const char *text);
void mh_clear(struct mh_instance *m); /* log and errors */
extern int64_t mh_clock_ns;           /* added to now_ns() */

/* The made-up event with that seq; tenant tnt_(seq % 4), occurred at 2026-01-02T03:04:05Z + seq ms. */
struct aw_event *mh_event(uint64_t seq);
struct aw_event *mh_event_sized(uint64_t seq, size_t about);
void mh_event_set(struct aw_event *e, uint32_t field, const char *value); /* NULL: absent; value must outlive e */
void mh_event_free(struct aw_event *e);

/* Writes seqs [from, to] in one batch. status gets to - from + 1 bytes (may be NULL). */
int32_t mh_write(struct mh_instance *m, uint64_t from, uint64_t to, uint32_t flags, uint8_t *status);
int32_t mh_write_events(struct mh_instance *m, struct aw_event *const *events, size_t count, uint32_t flags,
                        uint64_t deadline_ns, uint8_t *status);
/* The transaction extension. NULL: the class has none. */
const struct aw_sink_transaction *mh_tx(struct mh_instance *m);
int32_t mh_stage(struct mh_instance *m, uint64_t from, uint64_t to, const char *token, uint8_t *status);
int32_t mh_stage_events(struct mh_instance *m, struct aw_event *const *events, size_t count, uint64_t deadline_ns,
                        const char *token, uint8_t *status);
int32_t mh_commit(struct mh_instance *m, const char *token);
int32_t mh_rollback(struct mh_instance *m, const char *token);
/* The tokens in doubt, sorted, with a blank between; "" = none. Valid until the next call. Fails the test on an error.
 */
const char *mh_in_doubt(struct mh_instance *m);
bool mh_all(const uint8_t *status, size_t count, uint8_t want);

/* Reads all rows of a created instance. Calls fn for each (may be NULL); returns rows, or -1 with the error in mh. */
struct mh_rows {
    size_t count;
    uint64_t first_seq, last_seq;
    bool rising;      /* each seq is one more than the last */
    bool same;        /* each row holds the bytes of mh_event(seq) */
    char cursor[256]; /* of the last row */
    char location[400];
    int32_t code;
};
void mh_query_init(struct aw_query *q);
struct mh_rows mh_read(struct mh_instance *m, const struct aw_query *q, size_t page);
const struct aw_sink_query *mh_query(struct mh_instance *m);
int32_t mh_position(struct mh_instance *m, struct aw_position *ret);

/* Files of tests. */
char *mh_path(const char *format, ...) __attribute__((format(printf, 1, 2))); /* under a fresh directory; malloc'd */
char *mh_fresh_dir(void);                                                     /* malloc'd */
char *mh_slurp(const char *path, size_t *ret_len); /* malloc'd, NUL-terminated; NULL: no such file */
void mh_spew(const char *path, const char *bytes, size_t len);
/* How many names in dir hold part; the first of them (sorted) in name if not NULL. */
size_t mh_count_names(const char *dir, const char *part, char *name, size_t size);
char *mh_dir_of(const char *path);                                            /* malloc'd */
size_t mh_names(const char *path, const char *part, char *name, size_t size); /* mh_count_names in path's directory */
char *mh_lines(uint64_t from, uint64_t to, size_t *ret_len);   /* what a file holds after these seqs; malloc'd */
bool mh_file_is(const char *path, uint64_t from, uint64_t to); /* exactly these lines */
/* Lines of the whole trail (archives, then current) equal mh_event(from..to) in order, each once. */
bool mh_trail_is(const char *path, uint64_t from, uint64_t to);

#endif
