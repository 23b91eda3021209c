/* test_host.c - the host table and events as plugins read them. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "plugin/plugin_internal.h"
#include "plugin_util.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

/* ---- one sealed event, made by hand ---- */
static const char json[] =
    "{\"action\":\"a.b\",\"actor\":{\"displayName\":\"T\\u0065\\n\\\"x\\\"\",\"id\":\"u1\",\"roles\":[\"r\"],"
    "\"type\":\"user\"},\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"tenantId\":\"t\\\\1\"},"
    "\"eventId\":\"e1\",\"outcome\":\"SUCCESS\",\"schemaVersion\":1}";

struct sample {
    struct record_header head;
    struct field_ref fields[8];
    struct record_view view;
};

static struct field_ref ref(uint32_t id, const char *value, size_t len, uint32_t flags)
{
    const char *at = strstr(json, value);
    if (!at)
        abort();
    return (struct field_ref){(uint32_t)(at - json) << 8 | id, (uint32_t)len << 4 | flags};
}

static void make_sample(struct sample *s, uint64_t seq, uint16_t flags)
{
    memset(s, 0, sizeof *s);
    s->head = (struct record_header){
        .magic = RECORD_MAGIC,
        .kind = RECORD_KIND_EVENT,
        .flags = (uint16_t)(flags | RECORD_SCOPE_TENANT),
        .seq = seq,
        .json_len = sizeof json - 1,
        .integrity_at = (uint32_t)(strstr(json, "\"outcome\"") - json),
        .sealed_ns = 77,
        .occurred_ns = -5,
        .field_count = 6,
    };
    memset(s->head.hash, 0xab, sizeof s->head.hash);
    memset(s->head.prev_hash, 0xcd, sizeof s->head.prev_hash);
    s->fields[0] = ref(AW_FIELD_ACTION, "a.b", 3, 0);
    s->fields[1] = ref(AW_FIELD_ACTOR_DISPLAY_NAME, "T\\u0065", 14, FIELD_ESCAPED);
    s->fields[2] = ref(AW_FIELD_ACTOR_ROLES, "[\"r\"]", 5, 0);
    s->fields[3] = ref(AW_FIELD_TENANT_ID, "t\\\\1", 4, FIELD_ESCAPED);
    s->fields[4] = ref(AW_FIELD_EVENT_ID, "e1", 2, 0);
    s->fields[5] = ref(AW_FIELD_OUTCOME, "SUCCESS", 7, 0);
    s->view = (struct record_view){.head = &s->head, .fields = s->fields, .json = json};
}

static struct plugin_host *make_host(const struct diag_out *diag)
{
    struct plugin_host *host = NULL;
    CU_ASSERT_EQUAL_FATAL(host_create("trail", diag, &host), 0);
    return host;
}

static bool is_text(struct aw_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

static void test_fields(void)
{
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    struct event_batch *batch;
    CU_ASSERT_EQUAL_FATAL(event_batch_create(&batch), 0);
    struct sample s;
    make_sample(&s, 42, 0);
    CU_ASSERT_EQUAL_FATAL(event_batch_add(batch, &s.view), 0);
    size_t n;
    const struct aw_event *e = event_batch_events(batch, &n)[0];
    CU_ASSERT_EQUAL(n, 1);
    CU_ASSERT_PTR_EQUAL(event_batch_view(batch, 0)->head, &s.head);
    struct aw_str v = {"untouched", 9};
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_ACTION, &v), AW_OK);
    CU_ASSERT(is_text(v, "a.b"));
    CU_ASSERT(v.ptr > json && v.ptr < json + sizeof json); /* where it stands, not a copy */
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_ACTOR_ROLES, &v), AW_OK);
    CU_ASSERT(is_text(v, "[\"r\"]"));
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_ACTOR_DISPLAY_NAME, &v), AW_OK);
    CU_ASSERT(is_text(v, "Te\n\"x\""));
    const char *decoded = v.ptr;
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_ACTOR_DISPLAY_NAME, &v), AW_OK);
    CU_ASSERT_PTR_EQUAL(v.ptr, decoded); /* decoded once */
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_TENANT_ID, &v), AW_OK);
    CU_ASSERT(is_text(v, "t\\1"));
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_SCOPE, &v), AW_OK);
    CU_ASSERT(is_text(v, "tenant:t\\1"));
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_HASH, &v), AW_OK);
    CU_ASSERT(v.len == 64 && memcmp(v.ptr, "abab", 4) == 0);
    CU_ASSERT_EQUAL(h->event_field(e, AW_FIELD_PREV_HASH, &v), AW_OK);
    CU_ASSERT(v.len == 64 && memcmp(v.ptr, "cdcd", 4) == 0);
    v = (struct aw_str){"untouched", 9};
    static const uint32_t absent[] = {AW_FIELD_TARGET_ID, AW_FIELD_METADATA, 0, 63, 64, 200, UINT32_MAX};
    for (size_t i = 0; i < AW_ARRAY_LEN(absent); i++)
        CU_ASSERT_EQUAL(h->event_field(e, absent[i], &v), AW_E_NOTFOUND);
    CU_ASSERT(is_text(v, "untouched"));
    event_batch_destroy(batch);
    host_destroy(host);
}

static void test_json_and_integrity(void)
{
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    struct event_batch *batch;
    CU_ASSERT_EQUAL_FATAL(event_batch_create(&batch), 0);
    struct sample chained, first, bare;
    make_sample(&chained, 42, 0);
    make_sample(&first, 1, RECORD_FIRST);
    make_sample(&bare, 7, RECORD_UNCHAINED);
    CU_ASSERT(event_batch_add(batch, &chained.view) == 0 && event_batch_add(batch, &first.view) == 0 &&
              event_batch_add(batch, &bare.view) == 0);
    size_t n;
    const struct aw_event *const *e = event_batch_events(batch, &n);
    CU_ASSERT_EQUAL_FATAL(n, 3);
    struct aw_str v, again, integrity;
    CU_ASSERT_EQUAL_FATAL(h->event_encoded(e[0], "json", &v), AW_OK);
    CU_ASSERT_EQUAL(h->event_field(e[0], AW_FIELD_INTEGRITY, &integrity), AW_OK);
    CU_ASSERT_PTR_NOT_NULL(memmem(v.ptr, v.len, integrity.ptr, integrity.len));
    CU_ASSERT_PTR_NOT_NULL(memmem(v.ptr, v.len, "\"seq\":42}", 9));
    CU_ASSERT(v.len > 2 && v.ptr[0] == '{' && v.ptr[v.len - 1] == '}');
    CU_ASSERT_EQUAL(h->event_encoded(e[0], "json", &again), AW_OK);
    CU_ASSERT_PTR_EQUAL(v.ptr, again.ptr); /* rendered once */
    CU_ASSERT_EQUAL(h->event_encoded(e[0], "cbor", &again), AW_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(h->event_encoded(e[0], NULL, &again), AW_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(h->event_field(e[1], AW_FIELD_HASH, &v), AW_OK);
    CU_ASSERT_EQUAL(h->event_field(e[1], AW_FIELD_PREV_HASH, &v), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(h->event_field(e[2], AW_FIELD_HASH, &v), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(h->event_field(e[2], AW_FIELD_PREV_HASH, &v), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(h->event_field(e[2], AW_FIELD_INTEGRITY, &v), AW_OK);
    CU_ASSERT(is_text(v, "{\"alg\":\"none\",\"seq\":7}"));
    event_batch_destroy(batch);
    host_destroy(host);
}

static void test_numbers(void)
{
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    struct event_batch *batch;
    CU_ASSERT_EQUAL_FATAL(event_batch_create(&batch), 0);
    struct sample s;
    make_sample(&s, 42, RECORD_METADATA_TRUNCATED);
    s.head.stream = 3;
    CU_ASSERT_EQUAL(event_batch_add(batch, &s.view), 0);
    size_t n;
    const struct aw_event *e = event_batch_events(batch, &n)[0];
    uint64_t v = 0;
    CU_ASSERT(h->event_number(e, AW_NUMBER_SEQ, &v) == AW_OK && v == 42);
    CU_ASSERT(h->event_number(e, AW_NUMBER_SCHEMA_VERSION, &v) == AW_OK && v == 1);
    CU_ASSERT(h->event_number(e, AW_NUMBER_OCCURRED_NS, &v) == AW_OK && (int64_t)v == -5);
    CU_ASSERT(h->event_number(e, AW_NUMBER_SEALED_NS, &v) == AW_OK && v == 77);
    CU_ASSERT(h->event_number(e, AW_NUMBER_METADATA_TRUNCATED, &v) == AW_OK && v == 1);
    CU_ASSERT(h->event_number(e, AW_NUMBER_DIFF_TRUNCATED, &v) == AW_OK && v == 0);
    CU_ASSERT(h->event_number(e, AW_NUMBER_STREAM, &v) == AW_OK && v == 3);
    CU_ASSERT_EQUAL(h->event_number(e, 999, &v), AW_E_NOTFOUND);
    event_batch_destroy(batch);
    host_destroy(host);
}

/* Many events, twice: the second round finds everything in place, and nothing of the first one. */
static void test_reuse(void)
{
    enum { COUNT = 3000 };
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    struct event_batch *batch;
    CU_ASSERT_EQUAL_FATAL(event_batch_create(&batch), 0);
    static struct sample samples[COUNT];
    const char *pointers[2] = {NULL, NULL};
    for (int round = 0; round < 2; round++) {
        event_batch_reset(batch);
        for (int i = 0; i < COUNT; i++) {
            make_sample(&samples[i], (uint64_t)(i + 1 + round), 0);
            CU_ASSERT_EQUAL_FATAL(event_batch_add(batch, &samples[i].view), 0);
        }
        size_t n;
        const struct aw_event *const *e = event_batch_events(batch, &n);
        CU_ASSERT_EQUAL(n, COUNT);
        size_t bad = 0;
        for (size_t i = 0; i < n; i++) {
            struct aw_str v, name;
            char tail[40];
            int len = snprintf(tail, sizeof tail, "\"seq\":%zu}", i + 1 + (size_t)round);
            bad += h->event_encoded(e[i], "json", &v) != AW_OK || !memmem(v.ptr, v.len, tail, (size_t)len);
            bad += h->event_field(e[i], AW_FIELD_ACTOR_DISPLAY_NAME, &name) != AW_OK || !is_text(name, "Te\n\"x\"");
            if (i == 0)
                pointers[round] = v.ptr;
        }
        CU_ASSERT_EQUAL(bad, 0);
    }
    CU_ASSERT_PTR_EQUAL(pointers[0], pointers[1]); /* the same memory again */
    event_batch_destroy(batch);
    host_destroy(host);
}

struct reader {
    const struct aw_host *host;
    const struct aw_event *const *events;
    size_t count, bad;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;
    for (size_t i = 0; i < r->count; i++) {
        struct aw_str v;
        r->bad += r->host->event_encoded(r->events[i], "json", &v) != AW_OK || v.ptr[v.len - 1] != '}';
        r->bad += r->host->event_field(r->events[i], AW_FIELD_TENANT_ID, &v) != AW_OK || !is_text(v, "t\\1");
        r->bad += r->host->event_field(r->events[i], AW_FIELD_HASH, &v) != AW_OK || v.len != 64;
        aw_host_event_error(r->host, i, "no %zu", i);
        r->host->metric_add(r->host, 0, 1);
    }
    return NULL;
}

static double series_value(struct plugin_host *host, uint32_t series)
{
    uint64_t bits = host_metrics(host)->series[series].value;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A parallel sink reads one batch from several threads. */
static void test_threads(void)
{
    enum { COUNT = 500, THREADS = 4 };
    struct plugin_host *host = make_host(NULL);
    struct event_batch *batch;
    uint32_t id = 9;
    CU_ASSERT_EQUAL_FATAL(event_batch_create(&batch), 0);
    CU_ASSERT_EQUAL(host_table(host)->metric_register(host_table(host), AW_METRIC_COUNTER, "n", "h", &id), AW_OK);
    static struct sample samples[COUNT];
    for (int i = 0; i < COUNT; i++) {
        make_sample(&samples[i], (uint64_t)i + 1, 0);
        CU_ASSERT_EQUAL_FATAL(event_batch_add(batch, &samples[i].view), 0);
    }
    host_bind_batch(host, batch);
    struct reader readers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.host = host_table(host)};
        readers[i].events = event_batch_events(batch, &readers[i].count);
    }
    for (int i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    size_t bad = 0;
    for (int i = 0; i < THREADS; i++) {
        CU_ASSERT_EQUAL(pthread_join(threads[i], NULL), 0);
        bad += readers[i].bad;
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_STRING_EQUAL(event_batch_error(batch, 17), "no 17");
    CU_ASSERT_EQUAL(host_metrics(host)->series_count, 1);
    CU_ASSERT_DOUBLE_EQUAL(series_value(host, id), COUNT * THREADS, 0.1);
    host_bind_batch(host, NULL);
    event_batch_destroy(batch);
    host_destroy(host);
}

struct lines {
    int count, severity;
    char instance[64], text[300];
};

static void take_line(void *arg, int severity, const char *instance, const char *text)
{
    struct lines *l = arg;
    l->count++;
    l->severity = severity;
    snprintf(l->instance, sizeof l->instance, "%s", instance);
    snprintf(l->text, sizeof l->text, "%s", text);
}

static void test_diagnostics(void)
{
    struct lines lines = {0};
    struct diag_out out = {take_line, &lines};
    struct plugin_host *host = make_host(&out);
    const struct aw_host *h = host_table(host);
    char why[64];
    errno = EXDEV;
    aw_host_log(h, AW_LOG_WARNING, "disk at %d%%", 91);
    CU_ASSERT_EQUAL(errno, EXDEV);
    CU_ASSERT(lines.count == 1 && lines.severity == AW_LOG_WARNING);
    CU_ASSERT_STRING_EQUAL(lines.instance, "trail");
    CU_ASSERT_STRING_EQUAL(lines.text, "disk at 91%");
    CU_ASSERT_EQUAL(aw_host_error(h, AW_E_CONFIG, "bad %s", "thing"), AW_E_CONFIG);
    CU_ASSERT_EQUAL(errno, EXDEV);
    host_last_error(host, why, sizeof why);
    CU_ASSERT_STRING_EQUAL(why, "bad thing");
    host_clear_error(host);
    host_last_error(host, why, sizeof why);
    CU_ASSERT_STRING_EQUAL(why, "");
    /* outside of write(), and for an index that is not there: the plugin's fault, said so */
    aw_host_event_error(h, 0, "x");
    CU_ASSERT(lines.count == 2 && lines.severity == AW_LOG_PLUGIN_MISBEHAVING);
    CU_ASSERT_PTR_NOT_NULL(strstr(lines.text, "outside of write()"));
    struct event_batch *batch;
    CU_ASSERT_EQUAL_FATAL(event_batch_create(&batch), 0);
    struct sample s;
    make_sample(&s, 1, 0);
    CU_ASSERT_EQUAL(event_batch_add(batch, &s.view), 0);
    host_bind_batch(host, batch);
    aw_host_event_error(h, 1, "x");
    CU_ASSERT(lines.count == 3 && strstr(lines.text, "index 1, which the batch does not have"));
    CU_ASSERT_PTR_NULL(event_batch_error(batch, 0));
    aw_host_event_error(h, 0, "too %s", "long");
    CU_ASSERT_EQUAL(errno, EXDEV);
    CU_ASSERT_STRING_EQUAL(event_batch_error(batch, 0), "too long");
    CU_ASSERT_PTR_NULL(event_batch_error(batch, 5));
    event_batch_reset(batch);
    CU_ASSERT_EQUAL(event_batch_add(batch, &s.view), 0);
    CU_ASSERT_PTR_NULL(event_batch_error(batch, 0)); /* of the batch before */
    host_bind_batch(host, NULL);
    event_batch_destroy(batch);
    host_destroy(host);
}

static void test_metrics(void)
{
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    CU_ASSERT_PTR_NULL(host_metrics(host));
    uint32_t counter = 99, gauge = 99, again = 99;
    CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_COUNTER, "rows_total", "Rows.", &counter), AW_OK);
    CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_GAUGE, "depth", NULL, &gauge), AW_OK);
    CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_COUNTER, "rows_total", "Rows.", &again), AW_OK);
    CU_ASSERT_EQUAL(again, counter);
    CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_GAUGE, "rows_total", "Rows.", &again), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(h->metric_register(h, 7, "x", "", &again), AW_E_INTERNAL);
    static const char *const bad[] = {"", "9x", "Upper", "a-b", NULL};
    for (size_t i = 0; i < AW_ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_GAUGE, bad[i], "", &again), AW_E_INTERNAL);
    h->metric_add(h, counter, 2);
    h->metric_add(h, counter, 0.5);
    h->metric_add(h, counter, -1); /* a counter never falls */
    h->metric_add(h, counter, (double)NAN);
    h->metric_add(h, gauge, 7);
    h->metric_add(h, gauge, -3);
    h->metric_add(h, 1000, 1);
    CU_ASSERT_EQUAL(host_metrics(host)->series_count, 2);
    CU_ASSERT_STRING_EQUAL(host_metrics(host)->series[counter].name, "rows_total");
    CU_ASSERT_DOUBLE_EQUAL(series_value(host, counter), 2.5, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(series_value(host, gauge), -3, 1e-9);
    char name[32];
    for (int i = 2; i < METRICS_PLUGIN_METRICS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_GAUGE, name, "", &again), AW_OK);
    }
    CU_ASSERT_EQUAL(h->metric_register(h, AW_METRIC_GAUGE, "one_more", "", &again), AW_E_UNSUPPORTED);
    host_destroy(host);
}

static void test_settings(void)
{
    static const struct aw_option flag = {sizeof flag, AW_OPT_BOOL, 0, 0, "flag", "true", "", 0, 0, NULL};
    static const struct aw_option room = {sizeof room, AW_OPT_SIZE, 0, 0, "room", "1KiB", "", 0, 0, NULL};
    static const struct aw_option label = {sizeof label, AW_OPT_STRING, 0, 0, "label", NULL, "", 0, 0, NULL};
    static const struct aw_option tags = {sizeof tags, AW_OPT_LIST, 0, 0, "tags", "a,b", "", 0, 0, NULL};
    static const struct aw_option *const options[] = {&flag, &room, &label, &tags, NULL};
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    struct aw_config *config = NULL;
    CU_ASSERT_EQUAL_FATAL(schema_config_from_pairs(options, NULL, 0, "x", &config), 0);
    int64_t n = -1;
    int32_t b = -1;
    struct aw_str v = {NULL, 0};
    CU_ASSERT(h->config_int(config, "room", &n) == AW_OK && n == 1024);
    CU_ASSERT(h->config_bool(config, "flag", &b) == AW_OK && b == 1);
    CU_ASSERT(h->config_list(config, "tags", 1, &v) == AW_OK && is_text(v, "b") && v.ptr[v.len] == '\0');
    CU_ASSERT_EQUAL(h->config_list(config, "tags", 2, &v), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(h->config_str(config, "label", &v), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(h->config_str(config, "nothing", &v), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(h->config_str(config, "room", &v), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(h->config_str(config, "tags", &v), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(h->config_int(config, "flag", &n), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(h->config_bool(config, "room", &b), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(h->config_list(config, "flag", 0, &v), AW_E_INTERNAL);
    schema_config_destroy(config);
    host_destroy(host);
}

static void test_table(void)
{
    size_t before = host_live();
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    CU_ASSERT_EQUAL(host_live(), before + 1);
    CU_ASSERT_EQUAL(h->struct_size, sizeof *h);
    CU_ASSERT(h->abi_major == AW_ABI_MAJOR && h->abi_minor == AW_ABI_MINOR);
    CU_ASSERT_STRING_EQUAL(h->version, PACKAGE_VERSION);
    CU_ASSERT_STRING_EQUAL(h->instance, "trail");
    CU_ASSERT(h->vlog && h->vset_error && h->vevent_error && h->event_field && h->event_number && h->event_encoded &&
              h->config_str && h->config_int && h->config_bool && h->config_list && h->metric_register &&
              h->metric_add && h->now_ns && h->mono_ns && h->ctx_set && h->extension);
    CU_ASSERT_PTR_NULL(h->extension(h, "auditwell.host.nothing/1"));
    CU_ASSERT_PTR_NULL(h->extension(h, NULL));
    CU_ASSERT(h->now_ns() > UINT64_C(1600000000000000000));
    uint64_t a = h->mono_ns();
    CU_ASSERT(h->mono_ns() >= a);
    host_destroy(host);
    CU_ASSERT_EQUAL(host_live(), before);
}

static void test_contexts(void)
{
    struct plugin_host *host = make_host(NULL);
    const struct aw_host *h = host_table(host);
    struct aw_context *context = aw_context_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(context);
    CU_ASSERT_EQUAL(h->ctx_set(context, AW_FIELD_ACTOR_ID, base_str("u1"), AW_PROVENANCE_AUTHENTICATED), AW_OK);
    CU_ASSERT_EQUAL(h->ctx_set(context, 9999, base_str("u1"), AW_PROVENANCE_CLAIMED), AW_E_REJECTED);
    CU_ASSERT_EQUAL(h->ctx_set(context, AW_FIELD_ACTOR_IP, base_str("\xff"), AW_PROVENANCE_CLAIMED), AW_E_REJECTED);
    aw_context_destroy(context);
    host_destroy(host);
}

HARNESS_MAIN("host", {"the table", test_table}, {"fields", test_fields},
             {"JSON and integrity", test_json_and_integrity}, {"numbers", test_numbers},
             {"a batch is used again", test_reuse}, {"several threads read one batch", test_threads},
             {"log lines and errors", test_diagnostics}, {"metrics", test_metrics}, {"settings", test_settings},
             {"contexts", test_contexts})
