/* test_viewing.c - a sink that does not get personal data: what its worker gives it, again and without memory.
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
#include <stdatomic.h>
#include <stdio.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define CANARY "anna.canary"
#define SECONDS(n) ((uint64_t)(n)*1000000000u)

/* Allocations of the worker's thread can be made to fail. */
static _Thread_local bool worker_thread;
static _Atomic bool failing;
static _Atomic unsigned refused;
#ifndef AW_SANITIZED
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static bool refuses(void)
{
    bool no = worker_thread && failing;
    refused += no;
    return no;
}
void *malloc(size_t n)
{
    return refuses() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return refuses() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return refuses() ? NULL : __libc_realloc(p, n);
}
#endif

/* ---- the sink ---- */
static struct {
    const struct aw_host *host;
    pthread_mutex_t mutex;
    unsigned events, full, wrong, refusals;
    bool refuse; /* every batch once */
    bool fail_next;
    size_t last_len;
    char last[4096]; /* JSON of the newest event, cut */
    char first_try[4096];
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int32_t fake_create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    (void)config;
    fake.host = host;
    *ret = &fake;
    return AW_OK;
}

static bool holds(struct aw_str text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* Fields and JSON must tell the same, and nothing of the canary. */
static void look_at(const struct aw_event *e)
{
    struct aw_str json = {"", 0}, id = {"", 0}, metadata = {"", 0}, integrity = {"", 0}, actor = {"", 0};
    bool good = fake.host->event_encoded(e, "json", &json) == AW_OK &&
                fake.host->event_field(e, AW_FIELD_ACTOR_ID, &id) == AW_OK &&
                fake.host->event_field(e, AW_FIELD_ACTOR, &actor) == AW_OK &&
                fake.host->event_field(e, AW_FIELD_METADATA, &metadata) == AW_OK &&
                fake.host->event_field(e, AW_FIELD_INTEGRITY, &integrity) == AW_OK;
    fake.full += holds(json, CANARY) || holds(id, CANARY) || holds(metadata, CANARY) || holds(actor, CANARY);
    good &= id.len == PSEUDONYM_LEN && memcmp(id.ptr, "pn:", 3) == 0 && holds(json, "\"view\":{\"keyId\":\"") &&
            holds(integrity, "\"pseudonymized\":[\"actor.id\",\"metadata.email\"") && holds(metadata, "\"n\":");
    fake.wrong += !good;
    fake.last_len = json.len;
    snprintf(fake.last, sizeof fake.last, "%.*s", (int)(json.len < 4000 ? json.len : 4000), json.ptr);
}

static int32_t fake_write(void *sink, const struct aw_batch *b, struct aw_result *r)
{
    (void)sink;
    worker_thread = true;
    pthread_mutex_lock(&fake.mutex);
    for (size_t i = 0; i < b->count; i++) {
        look_at(b->events[i]);
        r->status[i] = fake.refuse ? AW_EVENT_RETRY : AW_EVENT_DURABLE;
        fake.events += !fake.refuse;
    }
    if (fake.refuse) {
        fake.refusals++;
        memcpy(fake.first_try, fake.last, sizeof fake.first_try);
    }
    fake.refuse = false;
    if (fake.fail_next)
        failing = true;
    fake.fail_next = false;
    pthread_mutex_unlock(&fake.mutex);
    return AW_OK;
}

static void fake_destroy(void *sink)
{
    (void)sink;
}

static struct aw_sink_class fake_class = {
    .struct_size = sizeof fake_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .name = "fake",
    .summary = "a sink for tests",
    .create = fake_create,
    .write = fake_write,
    .destroy = fake_destroy,
};

/* ---- the rig ---- */
static struct rig {
    struct journal *journal;
    struct delivery *delivery;
    struct event_pii *pii;
    struct pseudonym_key key;
    char dir[300];
} rig;

/* A line of the worker's diagnostics may be looked at as well. */
static _Atomic unsigned told;
static void on_diag(void *arg, int severity, const char *instance, const char *text)
{
    (void)arg;
    (void)severity;
    (void)instance;
    told += strstr(text, CANARY) != NULL;
}

static void open_rig(const char *name)
{
    static const struct event_rule tags[] = {{"actor.id", NULL}, {"metadata.**.email", NULL}, {"metadata.list", NULL}};
    fake.events = fake.full = fake.wrong = fake.refusals = 0;
    snprintf(rig.dir, sizeof rig.dir, "%s/%s", harness_tmpdir(), name);
    struct journal_options jo = {
        .path = rig.dir, .max_size = 64u << 20, .segment_size = 4u << 20, .ring_size = 4u << 20, .chained = true};
    CU_ASSERT_EQUAL_FATAL(journal_open(&jo, &rig.journal), 0);
    CU_ASSERT_EQUAL_FATAL(event_pii_create(tags, AW_ARRAY_LEN(tags), "***", &rig.pii), 0);
    CU_ASSERT_EQUAL_FATAL(pseudonym_key_init(&rig.key, SECRET, 32), 0);
    struct delivery_options o = {.name = "fake",
                                 .sink = &fake_class,
                                 .where = "test:1",
                                 .state_dir = rig.dir,
                                 .diag = {on_diag, NULL},
                                 .pii = rig.pii,
                                 .pseudonyms = &rig.key};
    delivery_settings_init(&o.settings);
    o.settings.batch_events = 50;
    o.settings.retry_base_ns = 1000000;
    o.settings.retry_cap_ns = 5000000;
    o.settings.breaker_cooldown_ns = 10000000;
    CU_ASSERT_EQUAL_FATAL(schema_config_from_pairs(NULL, NULL, 0, "fake", &o.config), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_create(&o, &rig.delivery), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_attach(rig.delivery, rig.journal), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_start(rig.delivery), 0);
}

static void close_rig(void)
{
    (void)delivery_stop(rig.delivery, clock_mono_ns() + SECONDS(10));
    delivery_destroy(rig.delivery);
    CU_ASSERT_EQUAL(journal_close(rig.journal), 0);
    event_pii_destroy(rig.pii);
    CU_ASSERT_EQUAL(told, 0);
    CU_ASSERT_EQUAL(fake.full, 0);
    CU_ASSERT_EQUAL(fake.wrong, 0);
}

/* padding: more bytes of metadata; list: elements of metadata.list. */
static void append(unsigned number, size_t padding, size_t list)
{
    size_t size = 600 + padding + 2 * list;
    AW_AUTOFREE char *json = malloc(size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(json);
    char *p = json + snprintf(json, size,
                              "{\"action\":\"a\",\"actor\":{\"id\":\"" CANARY
                              "\",\"type\":\"user\"},\"eventId\":\"e%u\",\"metadata\":{\"email\":\"" CANARY "\",",
                              number);
    size_t at = (size_t)(strstr(json, "\"metadata\"") - json);
    for (size_t i = 0; i < list; i++)
        p += snprintf(p, size - (size_t)(p - json), i ? ",1" : "\"list\":[1");
    p += snprintf(p, size - (size_t)(p - json), "%s\"n\":%u,\"pad\":\"", list ? "]," : "", number);
    memset(p, 'x', padding);
    p += padding;
    p += snprintf(p, size - (size_t)(p - json), "\"},\"outcome\":\"SUCCESS\",\"schemaVersion\":1}");
    struct prepared e = {.json = json, .json_len = (uint32_t)(p - json), .scope_value = {"unknown", 7}};
    e.integrity_at = (uint32_t)at;
    struct journal_receipt r;
    CU_ASSERT_EQUAL_FATAL(journal_append(rig.journal, &e, UINT64_MAX, &r), 0);
}

static int flush(unsigned seconds)
{
    return delivery_flush(rig.delivery, journal_head(rig.journal), clock_mono_ns() + SECONDS(seconds));
}

/* ---- tests ---- */

static void views_reach_the_sink_also_again(void)
{
    open_rig("views");
    fake.refuse = true;
    append(1, 0, 0);
    CU_ASSERT_EQUAL(flush(10), 0);
    CU_ASSERT_EQUAL(fake.refusals, 1);
    CU_ASSERT_STRING_EQUAL(fake.first_try, fake.last); /* the same view both times */
    for (unsigned i = 2; i <= 500; i++)
        append(i, i, 0);
    CU_ASSERT_EQUAL(flush(10), 0);
    CU_ASSERT_EQUAL(fake.events, 500);
    close_rig();
}

static void a_view_too_large_is_a_dead_letter_in_full(void)
{
    char path[400], *text = NULL;
    size_t len = 0;
    open_rig("large");
    append(1, 0, 0);
    append(2, 0, 200000); /* 400 KB; its view would have 9 MB */
    append(3, 0, 0);
    CU_ASSERT_EQUAL(flush(20), 0);
    append(4, 0, 200000); /* alone in its batch */
    CU_ASSERT_EQUAL(flush(20), 0);
    CU_ASSERT_EQUAL(fake.events, 2);
    struct aw_sink_stats s = {.struct_size = sizeof s};
    delivery_get_stats(rig.delivery, journal_head(rig.journal), &s);
    CU_ASSERT_EQUAL(s.rejected_total, 2);
    CU_ASSERT_EQUAL(s.acked_seq, 4);
    snprintf(path, sizeof path, "%s/deadletter/fake.jsonl", rig.dir);
    CU_ASSERT_EQUAL_FATAL(fs_read_file(path, 4u << 20, &text, &len), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "larger than an event may be"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "{\"email\":\"" CANARY "\",\"list\":[1,1,"));
    CU_ASSERT_PTR_NULL(strstr(text, "\"view\""));
    free(text);
    close_rig();
}

static void without_memory_it_is_tried_again(void)
{
    if (harness_slow()) {
        harness_note("allocations are another's own here; done in the other builds");
        return;
    }
    open_rig("memory");
    fake.fail_next = true; /* from the end of the first write on */
    append(1, 300000, 0);  /* what reads the journal is large enough then */
    CU_ASSERT_EQUAL(flush(10), 0);
    CU_ASSERT(failing);
    append(2, 0, 100000); /* but nothing that makes views */
    CU_ASSERT_EQUAL(flush(1), -ETIMEDOUT);
    CU_ASSERT(refused > 0);
    CU_ASSERT_EQUAL(fake.events, 1);
    failing = false;
    CU_ASSERT_EQUAL(flush(20), 0);
    CU_ASSERT_EQUAL(fake.events, 2);
    CU_ASSERT(fake.last_len > 4000000);
    close_rig();
}

HARNESS_MAIN("viewing", {"views reach the sink, also again", views_reach_the_sink_also_again},
             {"a view that is too large is a dead letter, in full", a_view_too_large_is_a_dead_letter_in_full},
             {"without memory it is tried again", without_memory_it_is_tried_again})
