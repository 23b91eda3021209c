/* replay.c - see replay.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/replay.h"

#include "base/clock.h"
#include "base/fs.h"
#include "delivery/viewing.h"
#include "delivery/worker.h"

#include <inttypes.h>

#define BATCH_MAX 1000u
#define SETTLED_TEXT 300u

/* One letter of the batch in hand. A letter that holds the same record as the one before it (its event was refused
 * twice, since the process died between storing the letter and moving the cursor) shares its fate. */
struct item {
    const struct dl_entry *entry;
    void *buffer; /* the record */
    struct record_view view;
    bool same_as_before;
    uint8_t status; /* AW_EVENT_*; RETRY: open */
    char text[SETTLED_TEXT];
};

struct replay {
    const struct replay_options *o;
    struct aw_replay_report *report;
    struct plugin_host *host;
    pthread_mutex_t *class_mutex;
    void *sink;
    bool started;
    struct dl_index index;
    int fd;
    const struct dl_entry **wanted; /* by seq */
    size_t wanted_count;
    struct item *items;
    size_t count, limit; /* of items; events a call may hold while a culprit is looked for, 0 = all */
    struct event_batch *batch;
    struct event_viewer *viewer; /* NULL: the sink gets events in full */
    uint8_t *status;
    size_t *slot;      /* index in items of each event that is sent */
    uint32_t failures; /* in a row */
    char why[250];     /* the last failure of the instance */
};

static void lock_class(struct replay *r)
{
    if (r->class_mutex)
        pthread_mutex_lock(r->class_mutex);
    host_clear_error(r->host);
}

static void unlock_class(struct replay *r)
{
    if (r->class_mutex)
        pthread_mutex_unlock(r->class_mutex);
}

static void note(struct replay *r, const char *what)
{
    char text[200];
    host_last_error(r->host, text, sizeof text);
    snprintf(r->why, sizeof r->why, "%s: %s", what, text[0] ? text : "the sink gave no reason");
}

/* After a failure that may pass. false: there is no time for another try. */
static bool wait_a_little(struct replay *r, uint32_t retry_after_ms)
{
    uint64_t now = clock_mono_ns(), delay = r->o->settings.retry_base_ns << (r->failures < 10 ? r->failures : 10);
    if (delay > r->o->settings.retry_cap_ns)
        delay = r->o->settings.retry_cap_ns;
    if (retry_after_ms > 0)
        delay = (uint64_t)retry_after_ms * 1000000u;
    r->failures++;
    if (now >= r->o->deadline_ns || delay > r->o->deadline_ns - now)
        return false;
    clock_sleep_ns(delay);
    return true;
}

/* ---- the instance ------------------------------------------------------------------------------------------------ */

static int create(struct replay *r)
{
    const struct replay_options *o = r->o;
    if (host_create(o->name, &o->diag, &r->host) < 0 || event_batch_create(&r->batch) < 0 ||
        (o->pii && event_viewer_create(o->pii, o->pseudonyms, &r->viewer) < 0))
        return diag_problem(AW_ERR_NOMEM, o->where, "out of memory");
    if (o->sink->thread_model < AW_THREADS_SERIAL_INSTANCE && !(r->class_mutex = worker_class_mutex(o->sink)))
        return diag_problem(AW_ERR_NOMEM, o->where, "out of memory");
    lock_class(r);
    int32_t rc = o->sink->create(host_table(r->host), o->config, &r->sink);
    unlock_class(r);
    if (rc == AW_OK)
        return 0;
    r->sink = NULL;
    note(r, "refuses its settings");
    return diag_problem(rc == AW_E_NOMEM ? AW_ERR_NOMEM : AW_ERR_CONFIG, o->where, "sinks.%s: %s", o->name, r->why);
}

static int start(struct replay *r)
{
    for (;;) {
        lock_class(r);
        int32_t rc = r->o->sink->start ? r->o->sink->start(r->sink) : AW_OK;
        unlock_class(r);
        if (rc == AW_OK) {
            r->started = true;
            return 0;
        }
        note(r, "cannot be started");
        if (rc == AW_E_CONFIG || !wait_a_little(r, 0))
            return diag_problem(AW_ERR_IO, r->o->where,
                                "sinks.%s: %s; a sink that only one process may write to is replayed while the others "
                                "are stopped",
                                r->o->name, r->why);
    }
}

static int stop(struct replay *r)
{
    int32_t rc = AW_OK;
    if (r->started) {
        lock_class(r);
        rc = r->o->sink->stop ? r->o->sink->stop(r->sink, clock_mono_ns() + r->o->settings.write_deadline_ns) : AW_OK;
        unlock_class(r);
        if (rc != AW_OK) /* what was marked had been made durable */
            note(r, "does not stop in order");
    }
    if (r->sink) {
        if (r->class_mutex)
            pthread_mutex_lock(r->class_mutex);
        r->o->sink->destroy(r->sink);
        unlock_class(r);
    }
    return rc == AW_OK ? 0 : diag_problem(AW_ERR_IO, r->o->where, "sinks.%s: %s", r->o->name, r->why);
}

/* ---- one batch --------------------------------------------------------------------------------------------------- */

static void drop_items(struct replay *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->items[i].buffer);
    r->count = 0;
}

static int load_item(struct replay *r, const struct dl_entry *e, struct item *item)
{
    AW_AUTOFREE char *text = NULL;
    struct dl_line line;
    *item = (struct item){.entry = e, .status = AW_EVENT_RETRY};
    int rc = dl_index_line(r->fd, e, &text, &line);
    if (rc == 0)
        rc = dl_record(&line, &item->buffer, &item->view);
    if (rc == -EBADMSG)
        return diag_problem(AW_ERR_IO, deadletter_path(r->o->deadletters),
                            "line %" PRIu64 ": the record of seq %" PRIu64 " is not whole", e->line, e->seq);
    return rc < 0 ? diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, deadletter_path(r->o->deadletters), "%s",
                                 strerror(-rc))
                  : 0;
}

static bool same_record(const struct item *a, const struct item *b)
{
    return a->view.head->total_len == b->view.head->total_len &&
           memcmp(a->buffer, b->buffer, a->view.head->total_len) == 0;
}

/* From wanted[from] on; *ret_next is behind what was taken. Letters of one event stay in one batch. */
static int load_batch(struct replay *r, size_t from, size_t most, size_t *ret_next)
{
    uint64_t bytes = 0;
    size_t i = from;
    for (; i < r->wanted_count; i++) {
        bool again = i > from && r->wanted[i]->seq == r->wanted[i - 1]->seq;
        if (r->count >= BATCH_MAX || (!again && i > from && (r->count >= most || bytes >= r->o->settings.batch_bytes)))
            break;
        struct item *item = &r->items[r->count];
        int rc = load_item(r, r->wanted[i], item);
        if (rc != 0)
            return rc;
        item->same_as_before = r->count > 0 && same_record(item - 1, item);
        bytes += r->wanted[i]->length;
        r->count++;
    }
    *ret_next = i;
    return 0;
}

static int gather(struct replay *r, size_t *ret_sent)
{
    size_t n = 0, limit = r->limit ? r->limit : r->count;
    event_batch_reset(r->batch);
    for (size_t i = 0; i < r->count && n < limit; i++) {
        if (r->items[i].status != AW_EVENT_RETRY || r->items[i].same_as_before)
            continue;
        int rc = viewing_add(r->viewer, r->batch, &r->items[i].view);
        if (viewing_fault(rc)) {
            r->items[i].status = AW_EVENT_REJECTED;
            snprintf(r->items[i].text, sizeof r->items[i].text, "%s", viewing_fault(rc));
            continue;
        }
        if (rc < 0)
            return diag_problem(AW_ERR_NOMEM, r->o->where, "out of memory");
        r->slot[n++] = i;
    }
    memset(r->status, AW_EVENT_UNKNOWN, n);
    *ret_sent = n;
    return 0;
}

static int32_t call_write(struct replay *r, size_t sent, uint32_t *ret_retry_after_ms)
{
    size_t count;
    const struct aw_event *const *events = event_batch_events(r->batch, &count);
    struct aw_batch batch = {
        .struct_size = sizeof batch,
        .flags = AW_BATCH_MUST_BE_DURABLE,
        .first_seq = r->items[r->slot[0]].entry->seq,
        .last_seq = r->items[r->slot[sent - 1]].entry->seq,
        .deadline_ns = clock_mono_ns() + r->o->settings.write_deadline_ns,
        .count = count,
        .events = events,
    };
    struct aw_result result = {.struct_size = sizeof result, .count = count, .status = r->status};
    lock_class(r);
    host_bind_batch(r->host, r->batch);
    int32_t rc = r->o->sink->write(r->sink, &batch, &result);
    host_bind_batch(r->host, NULL);
    unlock_class(r);
    *ret_retry_after_ms = result.retry_after_ms;
    return rc;
}

static void refuse(struct replay *r, size_t at, const char *reason)
{
    char text[SETTLED_TEXT];
    host_last_error(r->host, text, sizeof text);
    struct item *item = &r->items[r->slot[at]];
    item->status = AW_EVENT_REJECTED;
    snprintf(item->text, sizeof item->text, "%s", reason ? reason : text[0] ? text : "the sink gave no reason");
}

/* Takes over what the sink said. false: nothing was settled. */
static bool settle(struct replay *r, int32_t rc, size_t sent)
{
    bool any = false;
    if (rc == AW_E_REJECTED) { /* the whole call: halve it until the culprit stands alone */
        if (sent == 1)
            refuse(r, 0, NULL);
        r->limit = sent == 1 ? 0 : sent / 2;
        return true;
    }
    for (size_t i = 0; i < sent; i++) {
        struct item *item = &r->items[r->slot[i]];
        if (r->status[i] == AW_EVENT_REJECTED)
            refuse(r, i, event_batch_error(r->batch, i));
        else if (r->status[i] == AW_EVENT_ACCEPTED || r->status[i] == AW_EVENT_DURABLE ||
                 r->status[i] == AW_EVENT_DUPLICATE)
            item->status = r->status[i];
        any = any || item->status != AW_EVENT_RETRY;
    }
    return any;
}

static int write_all(struct replay *r)
{
    size_t sent = 0;
    r->limit = 0;
    for (;;) {
        uint32_t retry_after_ms;
        int rc = gather(r, &sent);
        if (rc != 0 || sent == 0)
            return rc;
        int32_t code = call_write(r, sent, &retry_after_ms);
        bool any = settle(r, code, sent);
        if (any && (code == AW_OK || code == AW_E_REJECTED)) {
            r->failures = 0;
            continue;
        }
        note(r, "write");
        if (code == AW_E_CONFIG || !wait_a_little(r, code == AW_E_THROTTLED ? retry_after_ms : 0))
            return AW_ERR_TIMEOUT;
    }
}

/* What was only accepted is on disk afterwards, or open again. */
static int flush(struct replay *r)
{
    const struct aw_sink_class *class = r->o->sink;
    uint64_t last = 0, durable = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].status == AW_EVENT_ACCEPTED)
            last = r->items[i].entry->seq;
    if (last == 0 || !class->flush || class->durability == AW_DURABLE_NEVER)
        return 0;
    lock_class(r);
    int32_t rc = class->flush(r->sink, clock_mono_ns() + r->o->settings.write_deadline_ns, &durable);
    unlock_class(r);
    if (rc == AW_OK && durable >= last)
        return 0;
    note(r, "flush");
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].status == AW_EVENT_ACCEPTED && (rc != AW_OK || r->items[i].entry->seq > durable))
            r->items[i].status = AW_EVENT_RETRY;
    return AW_ERR_IO;
}

static void count(struct replay *r, const struct item *item)
{
    int outcome = AW_REPLAY_WRITTEN;
    switch (item->status) {
    case AW_EVENT_ACCEPTED:
    case AW_EVENT_DURABLE:
        outcome = item->same_as_before ? AW_REPLAY_DUPLICATE : AW_REPLAY_WRITTEN;
        break;
    case AW_EVENT_DUPLICATE:
        outcome = AW_REPLAY_DUPLICATE;
        break;
    case AW_EVENT_REJECTED:
        outcome = AW_REPLAY_REFUSED;
        break;
    default:
        outcome = AW_REPLAY_LEFT;
    }
    r->report->written += outcome == AW_REPLAY_WRITTEN;
    r->report->duplicates += outcome == AW_REPLAY_DUPLICATE;
    r->report->refused += outcome == AW_REPLAY_REFUSED;
    if (r->o->fn && outcome != AW_REPLAY_LEFT)
        r->o->fn(r->o->arg, item->entry, outcome, item->text);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Writes down what became of the batch. */
static int mark(struct replay *r)
{
    uint64_t done[BATCH_MAX];
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct item *item = &r->items[i];
        if (item->same_as_before) {
            item->status = item[-1].status;
            memcpy(item->text, item[-1].text, sizeof item->text);
        }
        if (item->status == AW_EVENT_REJECTED && rc == 0)
            rc = deadletter_refused(r->o->deadletters, item->entry->number, item->entry->seq, item->entry->attempts + 1,
                                    item->text);
        else if (item->status != AW_EVENT_RETRY && item->status != AW_EVENT_REJECTED)
            done[n++] = item->entry->number;
    }
    if (n > 0)
        qsort(done, n, sizeof *done, by_number);
    if (n > 0 && rc == 0)
        rc = deadletter_mark(r->o->deadletters, done, n);
    if (rc < 0)
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, deadletter_path(r->o->deadletters),
                            "what was replayed cannot be noted (%s): these letters are given to the sink again the "
                            "next time, which a sink that keeps ids takes for duplicates",
                            rc == -ESTALE ? "the file was replaced meanwhile" : strerror(-rc));
    for (size_t i = 0; i < r->count; i++)
        count(r, &r->items[i]);
    return 0;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int by_seq(const void *a, const void *b)
{
    const struct dl_entry *x = *(const struct dl_entry *const *)a, *y = *(const struct dl_entry *const *)b;
    return x->seq != y->seq ? (x->seq > y->seq) - (x->seq < y->seq) : (x->number > y->number) - (x->number < y->number);
}

static int prepare(struct replay *r)
{
    const struct replay_options *o = r->o;
    int rc = deadletter_mend(o->deadletters, &r->index, &r->fd);
    if (rc < 0)
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, deadletter_path(o->deadletters),
                            "cannot be read, or not be written to: %s", strerror(-rc));
    r->wanted = calloc(r->index.count + 1, sizeof *r->wanted);
    r->items = calloc(BATCH_MAX, sizeof *r->items);
    r->status = malloc(BATCH_MAX);
    r->slot = calloc(BATCH_MAX, sizeof *r->slot);
    if (!r->wanted || !r->items || !r->status || !r->slot)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    for (size_t i = 0; i < r->index.count; i++)
        if (replay_wants(&r->index.entries[i], o->first_seq, o->last_seq))
            r->wanted[r->wanted_count++] = &r->index.entries[i];
    qsort(r->wanted, r->wanted_count, sizeof *r->wanted, by_seq);
    r->report->letters = r->wanted_count;
    return 0;
}

static int replay_all(struct replay *r)
{
    size_t most = r->o->settings.batch_events < BATCH_MAX ? r->o->settings.batch_events : BATCH_MAX;
    for (size_t at = 0, next = 0; at < r->wanted_count; at = next) {
        int rc = load_batch(r, at, most, &next);
        if (rc == 0)
            rc = write_all(r);
        if (rc == 0 || rc == AW_ERR_TIMEOUT) { /* what was taken before the failure counts */
            int flushed = flush(r), marked = mark(r);
            rc = rc != 0 ? rc : flushed;
            if (marked != 0)
                return marked;
        }
        drop_items(r);
        if (rc == AW_ERR_TIMEOUT || rc == AW_ERR_IO)
            return diag_problem(rc, r->o->where, "sinks.%s: %s", r->o->name, r->why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int replay_run(const struct replay_options *o, struct aw_replay_report *ret)
{
    struct replay r = {.o = o, .report = ret, .fd = -1};
    int rc = prepare(&r);
    if (rc == 0 && r.wanted_count > 0) {
        rc = create(&r);
        if (rc == 0)
            rc = start(&r);
        if (rc == 0)
            rc = replay_all(&r);
        int stopped = stop(&r);
        rc = rc != 0 ? rc : stopped;
    }
    ret->left = ret->letters - ret->written - ret->duplicates - ret->refused;
    drop_items(&r);
    if (r.fd >= 0)
        (void)fs_close(r.fd); /* only read */
    dl_index_free(&r.index);
    event_batch_destroy(r.batch);
    event_viewer_destroy(r.viewer);
    host_destroy(r.host);
    schema_config_destroy(o->config);
    free(r.wanted);
    free(r.items);
    free(r.status);
    free(r.slot);
    return rc;
}
