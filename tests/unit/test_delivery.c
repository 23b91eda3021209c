/* test_delivery.c - one sink's worker over a real journal, with a sink whose behaviour each test sets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "delivery/delivery.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

#define MAX_SEEN 20000
#define SECONDS(n) ((uint64_t)(n)*1000000000u)

/* ---- the sink ---- */
static struct {
    pthread_mutex_t mutex;
    const struct aw_host *host;
    uint64_t seen[MAX_SEEN]; /* seq of each event whose status said it was taken, in order */
    size_t seen_count;
    unsigned writes, starts, stops, sent;
    _Atomic unsigned flushes;
    int32_t start_code, flush_code;
    int32_t (*behave)(const struct aw_batch *, struct aw_result *);
    uint64_t last_seq, position_seq;
    _Atomic uint64_t flush_short; /* how many of the newest a flush leaves out */
    char position_hash[65];
    sem_t gate;
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint64_t seq_of(const struct aw_event *e)
{
    uint64_t seq = 0;
    fake.host->event_number(e, AW_NUMBER_SEQ, &seq);
    return seq;
}

static void take(const struct aw_batch *b, struct aw_result *r, size_t i, uint8_t status)
{
    r->status[i] = status;
    if (fake.seen_count < MAX_SEEN)
        fake.seen[fake.seen_count++] = seq_of(b->events[i]);
}

static int32_t fake_create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    (void)config;
    fake.host = host;
    *ret = &fake;
    return AW_OK;
}

static int32_t fake_start(void *sink)
{
    (void)sink;
    fake.starts++;
    return fake.start_code == AW_OK ? AW_OK : aw_host_error(fake.host, fake.start_code, "start refused");
}

static int32_t fake_stop(void *sink, uint64_t deadline)
{
    (void)sink;
    (void)deadline;
    fake.stops++;
    return AW_OK;
}

static int32_t fake_write(void *sink, const struct aw_batch *b, struct aw_result *r)
{
    (void)sink;
    pthread_mutex_lock(&fake.mutex);
    fake.writes++;
    fake.sent += (unsigned)b->count;
    fake.last_seq = b->last_seq;
    int32_t rc = fake.behave(b, r);
    pthread_mutex_unlock(&fake.mutex);
    return rc;
}

static int32_t fake_flush(void *sink, uint64_t deadline, uint64_t *ret)
{
    (void)sink;
    (void)deadline;
    fake.flushes++;
    *ret = fake.last_seq > fake.flush_short ? fake.last_seq - fake.flush_short : 0;
    return fake.flush_code;
}

static void fake_destroy(void *sink)
{
    (void)sink;
}

static int32_t fake_position(void *sink, struct aw_position *ret)
{
    (void)sink;
    if (fake.position_seq == 0)
        return AW_E_NOTFOUND;
    ret->seq = fake.position_seq;
    memcpy(ret->hash, fake.position_hash, sizeof ret->hash);
    return AW_OK;
}

static const void *fake_extension(void *sink, const char *id)
{
    static const struct aw_sink_position position = {sizeof position, 0, fake_position};
    (void)sink;
    return strcmp(id, AW_EXT_SINK_POSITION) == 0 ? &position : NULL;
}

static struct aw_sink_class fake_class = {
    .struct_size = sizeof fake_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .name = "fake",
    .summary = "a sink for tests",
    .create = fake_create,
    .start = fake_start,
    .stop = fake_stop,
    .write = fake_write,
    .destroy = fake_destroy,
    .extension = fake_extension,
};

/* ---- behaviours ---- */
static int32_t all_durable(const struct aw_batch *b, struct aw_result *r)
{
    for (size_t i = 0; i < b->count; i++)
        take(b, r, i, AW_EVENT_DURABLE);
    return AW_OK;
}

static int32_t all_accepted(const struct aw_batch *b, struct aw_result *r)
{
    for (size_t i = 0; i < b->count; i++)
        take(b, r, i, AW_EVENT_ACCEPTED);
    return AW_OK;
}

static int32_t every_third_later(const struct aw_batch *b, struct aw_result *r)
{
    static bool refused[MAX_SEEN];
    for (size_t i = 0; i < b->count; i++) {
        uint64_t seq = seq_of(b->events[i]);
        if (seq % 3 == 0 && !refused[seq]) {
            refused[seq] = true;
            r->status[i] = seq % 2 ? AW_EVENT_RETRY : AW_EVENT_UNKNOWN;
        } else {
            take(b, r, i, AW_EVENT_DURABLE);
        }
    }
    return AW_OK;
}

static int32_t rejects_seven(const struct aw_batch *b, struct aw_result *r)
{
    for (size_t i = 0; i < b->count; i++) {
        if (seq_of(b->events[i]) == 7) {
            r->status[i] = AW_EVENT_REJECTED;
            aw_host_event_error(fake.host, i, "seven is \"unlucky\"");
        } else {
            take(b, r, i, AW_EVENT_DURABLE);
        }
    }
    return AW_OK;
}

static int32_t batch_with_seven_fails(const struct aw_batch *b, struct aw_result *r)
{
    for (size_t i = 0; i < b->count; i++)
        if (seq_of(b->events[i]) == 7)
            return aw_host_error(fake.host, AW_E_REJECTED, "something in this batch is bad");
    return all_durable(b, r);
}

static unsigned failures_left;

static int32_t unavailable_for_a_while(const struct aw_batch *b, struct aw_result *r)
{
    if (failures_left > 0) {
        failures_left--;
        return aw_host_error(fake.host, AW_E_UNAVAILABLE, "store is down");
    }
    return all_durable(b, r);
}

static int32_t wrong_settings(const struct aw_batch *b, struct aw_result *r)
{
    (void)b;
    (void)r;
    return aw_host_error(fake.host, AW_E_CONFIG, "password refused");
}

static int32_t blocks(const struct aw_batch *b, struct aw_result *r)
{
    sem_wait(&fake.gate);
    return all_durable(b, r);
}

/* ---- the journal and the worker under test ---- */
struct rig {
    struct journal *journal;
    struct delivery *delivery;
    char dir[300];
};

static void append_events(struct journal *j, size_t count)
{
    static unsigned number;
    for (size_t i = 0; i < count; i++) {
        char json[200];
        int n =
            snprintf(json, sizeof json,
                     "{\"action\":\"a\",\"eventId\":\"e%u\",\"outcome\":\"SUCCESS\",\"schemaVersion\":1}", number++);
        struct prepared p = {.json = json, .json_len = (uint32_t)n, .scope_value = {"unknown", 7}};
        p.integrity_at = (uint32_t)(strstr(json, "\"outcome\"") - json);
        struct journal_receipt r;
        CU_ASSERT_EQUAL_FATAL(journal_append(j, &p, UINT64_MAX, &r), 0);
    }
}

static void reset_fake(int32_t (*behave)(const struct aw_batch *, struct aw_result *))
{
    pthread_mutex_lock(&fake.mutex);
    fake.behave = behave;
    fake.seen_count = 0;
    fake.writes = fake.starts = fake.stops = fake.sent = 0;
    fake.flushes = 0;
    fake.start_code = fake.flush_code = AW_OK;
    fake.position_seq = 0;
    fake.flush_short = 0;
    fake_class.flush = NULL;
    fake_class.durability = AW_DURABLE_ON_WRITE;
    pthread_mutex_unlock(&fake.mutex);
}

static size_t seen_count(void)
{
    pthread_mutex_lock(&fake.mutex);
    size_t n = fake.seen_count;
    pthread_mutex_unlock(&fake.mutex);
    return n;
}

static void start_rig(struct rig *r)
{
    struct journal_options jo = {
        .path = r->dir, .max_size = 64u << 20, .segment_size = 1u << 20, .ring_size = 1u << 20, .chained = true};
    CU_ASSERT_EQUAL_FATAL(journal_open(&jo, &r->journal), 0);
    struct delivery_options o = {.name = "fake", .sink = &fake_class, .where = "test:1", .state_dir = r->dir};
    delivery_settings_init(&o.settings);
    o.settings.batch_events = 50;
    o.settings.retry_base_ns = 1000000;
    o.settings.retry_cap_ns = 5000000;
    o.settings.breaker_cooldown_ns = 10000000;
    o.settings.flush_interval_ns = 20000000;
    CU_ASSERT_EQUAL_FATAL(schema_config_from_pairs(NULL, NULL, 0, "fake", &o.config), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_create(&o, &r->delivery), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_attach(r->delivery, r->journal), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_start(r->delivery), 0);
}

static void open_rig(struct rig *r, const char *name)
{
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    start_rig(r);
}

static void close_rig(struct rig *r)
{
    (void)delivery_stop(r->delivery, clock_mono_ns() + SECONDS(10));
    delivery_destroy(r->delivery);
    CU_ASSERT_EQUAL(journal_close(r->journal), 0);
}

static int flush(struct rig *r, unsigned seconds)
{
    return delivery_flush(r->delivery, journal_head(r->journal), clock_mono_ns() + SECONDS(seconds));
}

static struct aw_sink_stats stats(struct rig *r)
{
    struct aw_sink_stats s = {.struct_size = sizeof s};
    delivery_get_stats(r->delivery, journal_head(r->journal), &s);
    return s;
}

static bool saw_exactly(size_t count)
{
    static unsigned char times[MAX_SEEN];
    memset(times, 0, sizeof times);
    for (size_t i = 0; i < fake.seen_count; i++)
        if (fake.seen[i] < MAX_SEEN)
            times[fake.seen[i]]++;
    for (size_t seq = 1; seq <= count; seq++)
        if (times[seq] != 1)
            return false;
    return fake.seen_count == count;
}

/* ---- tests ---- */
static void delivers_in_order(void)
{
    struct rig r;
    reset_fake(all_durable);
    open_rig(&r, "order");
    append_events(r.journal, 5000);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT(saw_exactly(5000));
    for (size_t i = 0; i < fake.seen_count; i++)
        if (fake.seen[i] != i + 1)
            CU_FAIL("order");
    struct aw_sink_stats s = stats(&r);
    CU_ASSERT_EQUAL(s.acked_seq, 5000);
    CU_ASSERT_EQUAL(s.lag_events, 0);
    CU_ASSERT_EQUAL(s.written_total, 5000);
    close_rig(&r);
}

static void only_what_is_open_is_sent_again(void)
{
    struct rig r;
    reset_fake(every_third_later);
    open_rig(&r, "subset");
    append_events(r.journal, 300);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT(saw_exactly(300));
    CU_ASSERT_EQUAL(fake.sent, 400);
    CU_ASSERT_EQUAL(stats(&r).retries_total, 100);
    close_rig(&r);
}

static void rejected_event_is_dead_lettered(void)
{
    struct rig r;
    reset_fake(rejects_seven);
    open_rig(&r, "rejected");
    append_events(r.journal, 100);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT_EQUAL(fake.seen_count, 99);
    CU_ASSERT_EQUAL(stats(&r).rejected_total, 1);
    close_rig(&r);
    char path[400];
    AW_AUTOFREE char *text = NULL;
    snprintf(path, sizeof path, "%s/deadletter/fake.jsonl", r.dir);
    CU_ASSERT_EQUAL_FATAL(fs_read_file(path, 10000, &text, NULL), 0);
    CU_ASSERT(strncmp(text, "{\"n\":1,\"type\":\"letter\",\"time\":\"", 31) == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, ",\"sink\":\"fake\",\"seq\":7,\"attempts\":1,"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(text, "\"attempts\":1,\"reason\":\"seven is \\\"unlucky\\\"\",\"event\":{\"action\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"integrity\":{\"alg\":\"SHA-256\""));
    CU_ASSERT_EQUAL(strchr(text, '\n'), text + strlen(text) - 1);
}

static void culprit_of_a_batch_is_isolated(void)
{
    struct rig r;
    reset_fake(batch_with_seven_fails);
    open_rig(&r, "isolated");
    append_events(r.journal, 100);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT_EQUAL(fake.seen_count, 99);
    CU_ASSERT_EQUAL(stats(&r).rejected_total, 1);
    CU_ASSERT_EQUAL(stats(&r).written_total, 99);
    CU_ASSERT_EQUAL(stats(&r).imbalance, 0);
    close_rig(&r);
}

static void outage_opens_the_breaker_and_passes(void)
{
    struct rig r;
    reset_fake(unavailable_for_a_while);
    failures_left = 4;
    open_rig(&r, "outage");
    append_events(r.journal, 200);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT(saw_exactly(200));
    struct aw_sink_stats s = stats(&r);
    CU_ASSERT_EQUAL(s.failures_total, 4);
    CU_ASSERT_EQUAL(s.breaker_open, 0);
    CU_ASSERT_STRING_EQUAL(s.last_error_text, "write: UNAVAILABLE: store is down");
    close_rig(&r);
}

static void wrong_settings_stop_until_reopened(void)
{
    struct rig r;
    reset_fake(wrong_settings);
    open_rig(&r, "config");
    append_events(r.journal, 10);
    CU_ASSERT_EQUAL(flush(&r, 20), -EIO);
    CU_ASSERT_EQUAL(fake.writes, 1);
    CU_ASSERT_EQUAL(stats(&r).state, AW_HEALTH_DOWN);
    pthread_mutex_lock(&fake.mutex);
    fake.behave = all_durable;
    pthread_mutex_unlock(&fake.mutex);
    delivery_reopen(r.delivery);
    while (delivery_acked(r.delivery) < 10) /* bounded by the watchdog */
        clock_sleep_ns(1000000);
    CU_ASSERT(saw_exactly(10));
    close_rig(&r);
}

static void acknowledged_only_after_flush(void)
{
    struct rig r;
    reset_fake(all_accepted);
    fake_class.flush = fake_flush;
    fake_class.durability = AW_DURABLE_ON_FLUSH;
    fake.flush_code = AW_E_RETRY;
    open_rig(&r, "flush");
    append_events(r.journal, 100);
    CU_ASSERT_EQUAL(delivery_flush(r.delivery, 100, clock_mono_ns() + 200000000u), -ETIMEDOUT);
    CU_ASSERT_EQUAL(delivery_acked(r.delivery), 0);
    CU_ASSERT(fake.seen_count > 100); /* a failed flush: sent again, after a restart of the sink */
    CU_ASSERT(fake.starts > 1 && fake.stops >= 1);
    fake.flush_code = AW_OK;
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT_EQUAL(delivery_acked(r.delivery), 100);
    close_rig(&r);
}

/* A flush may say that not all is durable yet. Who waits must not make the worker ask again and again. */
static void flush_that_changes_nothing_is_not_hurried(void)
{
    struct rig r;
    reset_fake(all_accepted);
    fake_class.flush = fake_flush;
    fake_class.durability = AW_DURABLE_ON_FLUSH;
    fake.flush_short = 100;
    open_rig(&r, "unhurried");
    append_events(r.journal, 100);
    uint64_t start = clock_mono_ns();
    CU_ASSERT_EQUAL(delivery_flush(r.delivery, 100, start + 200000000u), -ETIMEDOUT);
    unsigned flushes = fake.flushes;
    CU_ASSERT(flushes >= 2 && flushes <= (clock_mono_ns() - start) / 5000000u + 10);
    fake.flush_short = 40; /* a part is progress, and no reason to wait */
    CU_ASSERT_EQUAL(delivery_flush(r.delivery, 60, clock_mono_ns() + SECONDS(20)), 0);
    CU_ASSERT_EQUAL(delivery_acked(r.delivery), 60);
    fake.flush_short = 0;
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT(saw_exactly(100));
    close_rig(&r);
}

static void start_is_tried_again(void)
{
    struct rig r;
    reset_fake(all_durable);
    fake.start_code = AW_E_UNAVAILABLE;
    open_rig(&r, "start");
    append_events(r.journal, 10);
    CU_ASSERT_EQUAL(delivery_flush(r.delivery, 10, clock_mono_ns() + 50000000u), -ETIMEDOUT);
    fake.start_code = AW_OK;
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT(saw_exactly(10));
    close_rig(&r);
}

static void restart_goes_on_at_the_cursor(void)
{
    struct rig r;
    reset_fake(all_durable);
    open_rig(&r, "restart");
    append_events(r.journal, 100);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    close_rig(&r);
    start_rig(&r);
    append_events(r.journal, 100);
    CU_ASSERT_EQUAL(flush(&r, 20), 0);
    CU_ASSERT(saw_exactly(200));
    close_rig(&r);
}

/* The sink has more than its cursor says (killed between write and acknowledge): believed when the hash agrees. */
static void position_is_believed_if_its_hash_agrees(void)
{
    for (int honest = 0; honest < 2; honest++) {
        struct rig r;
        reset_fake(wrong_settings);
        open_rig(&r, honest ? "honest" : "foreign");
        append_events(r.journal, 100);
        CU_ASSERT_EQUAL(flush(&r, 20), -EIO);
        CU_ASSERT_EQUAL(journal_sync(r.journal, 100), 0);
        uint8_t hash[32];
        CU_ASSERT_EQUAL_FATAL(journal_lookup_hash(r.journal, 60, hash), 0);
        close_rig(&r);
        reset_fake(all_durable);
        hash_hex(hash, 32, fake.position_hash);
        fake.position_hash[0] = honest ? fake.position_hash[0] : fake.position_hash[0] == '0' ? '1' : '0';
        fake.position_seq = 60;
        start_rig(&r);
        CU_ASSERT_EQUAL(flush(&r, 20), 0);
        CU_ASSERT_EQUAL(fake.seen_count, honest ? 40 : 100);
        CU_ASSERT_EQUAL(fake.seen[0], honest ? 61 : 1);
        CU_ASSERT_EQUAL(stats(&r).found_total, honest ? 60 : 0);
        CU_ASSERT_EQUAL(stats(&r).written_total, honest ? 40 : 100);
        CU_ASSERT_EQUAL(stats(&r).imbalance, 0);
        close_rig(&r);
    }
}

static struct rig stuck; /* stays reachable: an abandoned worker is leaked on purpose */

static void stuck_sink_does_not_hold_up_the_stop(void)
{
    reset_fake(blocks);
    sem_init(&fake.gate, 0, 0);
    open_rig(&stuck, "stuck");
    append_events(stuck.journal, 10);
    CU_ASSERT_EQUAL(delivery_flush(stuck.delivery, 10, clock_mono_ns() + 50000000u), -ETIMEDOUT);
    uint64_t t0 = clock_mono_ns();
    CU_ASSERT_EQUAL(delivery_stop(stuck.delivery, t0 + 100000000u), -ETIMEDOUT);
    CU_ASSERT(clock_mono_ns() - t0 < SECONDS(5));
    CU_ASSERT_FALSE(delivery_destroy(stuck.delivery));
    CU_ASSERT_EQUAL(journal_retire(stuck.journal), 0);
    /* It comes back late, and finds the records it was given, and somebody else at work in the journal. */
    static struct rig next;
    next = stuck;
    next.delivery = NULL;
    next.journal = NULL;
    sem_post(&fake.gate);
    while (seen_count() == 0) /* as many as the batch had when it got stuck */
        clock_sleep_ns(1000000);
    clock_sleep_ns(20000000);
    CU_ASSERT_EQUAL(delivery_acked(stuck.delivery), 0);
    reset_fake(all_durable);
    start_rig(&next);
    CU_ASSERT_EQUAL(flush(&next, 20), 0);
    CU_ASSERT_EQUAL(fake.seen_count, 10);
    close_rig(&next);
}

HARNESS_MAIN("delivery", {"delivers in order", delivers_in_order},
             {"only what is open is sent again", only_what_is_open_is_sent_again},
             {"a rejected event is dead-lettered", rejected_event_is_dead_lettered},
             {"the culprit of a refused batch is isolated", culprit_of_a_batch_is_isolated},
             {"an outage opens the breaker and passes", outage_opens_the_breaker_and_passes},
             {"wrong settings stop the sink until it is reopened", wrong_settings_stop_until_reopened},
             {"acknowledged only after flush", acknowledged_only_after_flush},
             {"a flush that changes nothing is not hurried", flush_that_changes_nothing_is_not_hurried},
             {"start is tried again", start_is_tried_again},
             {"a restart goes on at the cursor", restart_goes_on_at_the_cursor},
             {"a position is believed if its hash agrees", position_is_believed_if_its_hash_agrees},
             {"a stuck sink does not hold up the stop", stuck_sink_does_not_hold_up_the_stop})
