/* test_kafka.c - the kafka sink on librdkafka's mock cluster. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "kafka_mock.h"
#include "minihost.h"

#define SECOND UINT64_C(1000000000)
#define TOPIC "audit"
#define ALL_IN_ONE "properties", "linger.ms=200" /* a small batch is one request per partition */

static struct mh_instance *started(struct mh_instance *m)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    int32_t r = mh_start(m);
    if (r != AW_OK)
        harness_note("start: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    return m;
}

static int32_t write_by(struct mh_instance *m, uint64_t from, uint64_t to, uint64_t deadline_ns, uint8_t *status)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **events = calloc(n, sizeof *events);
    for (size_t i = 0; i < n; i++)
        events[i] = mh_event(from + i);
    int32_t r = mh_write_events(m, events, n, 0, deadline_ns, status);
    for (size_t i = 0; i < n; i++)
        mh_event_free(events[i]);
    free(events);
    return r;
}

/* Sends [from, to] until all is acknowledged, as a host does. Returns the calls that it took. */
static int deliver(struct mh_instance *m, uint64_t from, uint64_t to, uint64_t each_ns)
{
    size_t n = (size_t)(to - from + 1), open = n;
    struct aw_event **events = calloc(n, sizeof *events), **left = calloc(n, sizeof *left);
    uint8_t *status = calloc(n, 1);
    int calls = 0;
    for (size_t i = 0; i < n; i++)
        left[i] = events[i] = mh_event(from + i);
    while (open > 0 && calls++ < 200) {
        int32_t r = mh_write_events(m, left, open, 0, m->host.mono_ns() + each_ns, status);
        size_t kept = 0;
        for (size_t i = 0; i < open; i++)
            if (status[i] != AW_EVENT_DURABLE)
                left[kept++] = left[i];
        CU_ASSERT_TRUE(r != AW_OK || kept == 0);
        CU_ASSERT_NOT_EQUAL(r, AW_E_CONFIG);
        open = kept;
    }
    CU_ASSERT_EQUAL(open, 0);
    for (size_t i = 0; i < n; i++)
        mh_event_free(events[i]);
    free(events);
    free(left);
    free(status);
    return calls;
}

/* Every seq of [from, to] is there, as it was sealed; within a scope they appear first in their order; copies are
 * allowed as far as `copies` says. */
static bool topic_is(const struct km_cluster *c, int partitions, uint64_t from, uint64_t to, size_t copies)
{
    struct km_records r = km_read(c->brokers, TOPIC, partitions);
    size_t n = (size_t)(to - from + 1), seen = 0, twice = 0, wrong = 0, disorder = 0;
    bool *there = calloc(n, 1);
    uint64_t last[4] = {0, 0, 0, 0};
    int32_t partition[4] = {-1, -1, -1, -1};
    for (size_t i = 0; i < r.count; i++) {
        const struct km_record *one = &r.at[i];
        struct aw_event *e = mh_event(one->seq);
        const struct aw_str *f = e->fields;
        size_t scope = (size_t)(one->seq % 4);
        bool same = one->value_len == e->json_len && memcmp(one->value, e->json, e->json_len) == 0 &&
                    strcmp(one->id, f[AW_FIELD_EVENT_ID].ptr) == 0 && strcmp(one->scope, f[AW_FIELD_SCOPE].ptr) == 0;
        wrong += !same || one->seq < from || one->seq > to;
        wrong += partition[scope] >= 0 && partition[scope] != one->partition;
        partition[scope] = one->partition;
        if (one->seq >= from && one->seq <= to && !there[one->seq - from]) {
            there[one->seq - from] = true;
            seen++;
            disorder += one->seq < last[scope];
            last[scope] = one->seq;
        } else {
            twice++;
        }
        mh_event_free(e);
    }
    free(there);
    km_free(&r);
    bool ok = seen == n && wrong == 0 && disorder == 0 && twice <= copies;
    harness_note("topic: %zu of %zu, %zu wrong, %zu out of order, %zu twice", seen, n, wrong, disorder, twice);
    return ok;
}

static void test_round_trip(void)
{
    struct km_cluster c = km_start(3, TOPIC, 4);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC));
    struct aw_health h = {.struct_size = sizeof h};
    uint8_t status[1000];
    CU_ASSERT_EQUAL(m->class->durability, AW_DURABLE_ON_WRITE);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(mh_write(m, 2, 1001, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 1000, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "kafka_producers_total"), 1);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1002, 1003, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1004, 1004, 0, status), AW_E_INTERNAL);
    started(m);
    CU_ASSERT_EQUAL(mh_write(m, 1004, 1004, 0, status), AW_OK);
    CU_ASSERT_TRUE(topic_is(&c, 4, 1, 1004, 0));
    struct km_records r = km_read(c.brokers, TOPIC, 4);
    struct aw_event *e = mh_event(r.at[0].seq);
    CU_ASSERT_STRING_EQUAL(r.at[0].hash, ""); /* the made-up events have no such field */
    km_free(&r);
    mh_event_set(e, AW_FIELD_HASH, "0123456789abcdef");
    mh_event_set(e, AW_FIELD_EVENT_ID, "with-hash");
    mh_event_set(e, AW_FIELD_SCOPE, NULL);
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, status), AW_OK);
    r = km_read(c.brokers, TOPIC, 4);
    for (size_t i = 0; i < r.count; i++)
        if (strcmp(r.at[i].id, "with-hash") == 0) {
            CU_ASSERT_STRING_EQUAL(r.at[i].hash, "0123456789abcdef");
            CU_ASSERT_STRING_EQUAL(r.at[i].scope, "");
        }
    CU_ASSERT_EQUAL(r.count, 1005);
    km_free(&r);
    mh_event_free(e);
    mh_destroy(m);
    km_end(&c);
}

static void refused(struct mh_instance *m, const char *text)
{
    CU_ASSERT_PTR_NULL(m);
    if (m == NULL && strstr(mh_last_error(), text) == NULL)
        harness_note("expected \"%s\", got: %s", text, mh_last_error());
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), text));
    CU_ASSERT_PTR_NULL(strstr(mh_last_error(), "canary"));
    mh_destroy(m);
}

#define BASE "brokers", "127.0.0.1:9", "topic", TOPIC
static void test_options(void)
{
    static const char *const denied[] = {"acks=1",
                                         "enable.idempotence=false",
                                         "retries=0",
                                         "max.in.flight=100",
                                         "enable.gapless.guarantee=false",
                                         "queuing.strategy=lifo",
                                         "sasl.password=canary",
                                         "ssl.key.password=canary",
                                         "ssl.key.pem=canary",
                                         "sasl.oauthbearer.client.secret=canary",
                                         "plugin.library.paths=x.so",
                                         "message.timeout.ms=1",
                                         "transactional.id=x",
                                         "bootstrap.servers=x",
                                         "test.mock.num.brokers=3",
                                         "delivery.report.only.error=true",
                                         "request.required.acks=0",
                                         "compression.codec=gzip"};
    refused(MH("kafka", "topic", TOPIC), "brokers: names none");
    refused(MH("kafka", "brokers", "a:1, b:2", "topic", TOPIC), "brokers: item 1");
    refused(MH("kafka", "brokers", "a:1\nuser@b:2", "topic", TOPIC), "brokers: item 2");
    refused(MH("kafka", "brokers", "a:1", "topic", ""), "topic: takes 1 to 249");
    refused(MH("kafka", "brokers", "a:1", "topic", "a b"), "topic: takes 1 to 249");
    refused(MH("kafka", "brokers", "a:1", "topic", ".."), "topic: takes 1 to 249");
    refused(MH("kafka", BASE, "tls_ca", "/x"), "tls_ca: needs security_protocol");
    refused(MH("kafka", BASE, "sasl_username", "u"), "sasl_username: needs security_protocol");
    refused(MH("kafka", BASE, "security_protocol", "sasl_ssl"), "sasl_mechanism: is needed");
    refused(MH("kafka", BASE, "security_protocol", "sasl_ssl", "sasl_mechanism", "SCRAM-SHA-512", "sasl_password",
               "canary"),
            "SCRAM-SHA-512 needs sasl_username");
    refused(MH("kafka", BASE, "security_protocol", "ssl", "tls_cert", "/x"), "one is of no use");
    refused(MH("kafka", BASE, "properties", "canary"), "item 1 is not like");
    refused(MH("kafka", BASE, "properties", "linger.ms=5\n=canary"), "item 2 is not like");
    refused(MH("kafka", BASE, "properties", "linger.ms=soon"), "properties: Invalid value");
    refused(MH("kafka", BASE, "properties", "no.such.thing=1"), "No such configuration property");
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
        refused(MH("kafka", BASE, "properties", denied[i]), "cannot be set");
    struct mh_instance *m = MH("kafka", BASE, "security_protocol", "sasl_plaintext", "sasl_mechanism", "PLAIN",
                               "sasl_username", "u", "sasl_password", "canary");
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_TRUE(mh_logged(m, "sends the password readable"));
    mh_destroy(m);
    /* A file that is not there is no matter of create(), which does no I/O. */
    m = MH("kafka", BASE, "security_protocol", "ssl", "tls_ca", "/nonexistent/ca.pem");
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "ssl.ca.location"));
    mh_destroy(m);
}

/* What the sink says about a topic: start() and the probe say the same, and neither makes one. */
static void test_looking(void)
{
    struct km_cluster c = km_start(3, TOPIC, 4);
    struct mh_instance *m = MH("kafka", "brokers", c.brokers, "topic", TOPIC),
                       *absent = MH("kafka", "brokers", c.brokers, "topic", "other");
    const struct aw_sink_probe *p = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_OK);
    rd_kafka_mock_topic_set_error(c.mock, "other", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    CU_ASSERT_EQUAL(p->probe(absent->sink, 0), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(absent->error, "there is no topic other"));
    CU_ASSERT_EQUAL(mh_start(absent), AW_E_CONFIG);
    rd_kafka_mock_topic_set_error(c.mock, TOPIC, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "authorization failed"));
    rd_kafka_mock_topic_set_error(c.mock, TOPIC, RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_mock_partition_set_leader(c.mock, TOPIC, 2, -1);
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "partition 2 of topic audit has no leader"));
    rd_kafka_mock_partition_set_leader(c.mock, TOPIC, 2, 1);
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_OK);
    rd_kafka_mock_broker_set_down(c.mock, -1);
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(p->probe(m->sink, before + 20 * SECOND), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 15 * SECOND);
    rd_kafka_mock_broker_set_up(c.mock, -1);
    rd_kafka_mock_broker_set_rtt(c.mock, -1, 5000);
    before = m->host.mono_ns();
    int32_t r = p->probe(m->sink, before + SECOND / 2);
    CU_ASSERT_TRUE(r == AW_E_TIMEOUT || r == AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 4 * SECOND);
    rd_kafka_mock_broker_set_rtt(c.mock, -1, 0);
    mh_destroy(m);
    mh_destroy(absent);
    km_end(&c);
}

static void test_too_large(void)
{
    struct km_cluster c = km_start(1, TOPIC, 1);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC, "max_message_size", "5000",
                                       "compression", "none", ALL_IN_ONE));
    struct aw_event *e[4] = {mh_event(1), mh_event_sized(2, 9000), mh_event(3), mh_event(4)};
    uint8_t status[8];
    /* librdkafka sees it itself */
    CU_ASSERT_EQUAL(mh_write_events(m, e, 4, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(status[0] == AW_EVENT_DURABLE && status[1] == AW_EVENT_REJECTED && status[2] == AW_EVENT_DURABLE &&
                   status[3] == AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(m->event_error_index, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "topic audit refuses the event: "));
    for (int i = 0; i < 4; i++)
        mh_event_free(e[i]);
    /* The broker refuses a request of four. One by one it refuses the first of them, and takes the others. */
    rd_kafka_mock_push_request_errors(c.mock, KM_PRODUCE, 2, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    CU_ASSERT_EQUAL(mh_write(m, 11, 14, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_REJECTED);
    CU_ASSERT_TRUE(mh_all(status + 1, 3, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(m->event_error_index, 0);
    /* No event alone is to blame. */
    rd_kafka_mock_push_request_errors(c.mock, KM_PRODUCE, 1, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE);
    CU_ASSERT_EQUAL(mh_write(m, 15, 18, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 4, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_write(m, 19, 20, 0, status), AW_OK);
    struct km_records r = km_read(c.brokers, TOPIC, 1);
    static const uint64_t want[] = {1, 3, 4, 12, 13, 14, 15, 16, 17, 18, 19, 20};
    CU_ASSERT_EQUAL_FATAL(r.count, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < r.count; i++)
        CU_ASSERT_EQUAL(r.at[i].seq, want[i]);
    km_free(&r);
    mh_destroy(m);
    km_end(&c);
}

static void test_passing_errors(void)
{
    static const rd_kafka_resp_err_t passing[] = {
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,        RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR};
    struct km_cluster c = km_start(3, TOPIC, 4);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC));
    uint64_t seq = 1;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++, seq += 40) {
        rd_kafka_mock_push_request_errors(c.mock, KM_PRODUCE, 2, passing[i], passing[i]);
        CU_ASSERT_TRUE(deliver(m, seq, seq + 39, 20 * SECOND) <= 3);
    }
    rd_kafka_mock_push_request_errors(c.mock, KM_INIT_PRODUCER_ID, 2, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                      RD_KAFKA_RESP_ERR__TRANSPORT);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    deliver(m, seq, seq + 9, 20 * SECOND);
    CU_ASSERT_TRUE(topic_is(&c, 4, 1, seq + 9, 80));
    mh_destroy(m);
    km_end(&c);
}

/* Errors that librdkafka hands on: what they do to the batch, and that the next call delivers all. */
static void test_lasting_errors(void)
{
    static const struct {
        rd_kafka_resp_err_t err;
        int32_t code;
        bool new_producer;
    } errors[] = {
        {RD_KAFKA_RESP_ERR_UNKNOWN, AW_E_RETRY, true},
        {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, AW_E_RETRY, true},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, AW_E_RETRY, true},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, AW_E_CONFIG, true},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, AW_E_CONFIG, true},
        {RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, AW_E_CONFIG, true},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, AW_E_CONFIG, true},
    };
    struct km_cluster c = km_start(1, TOPIC, 1);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC, ALL_IN_ONE));
    uint8_t status[8];
    uint64_t seq = 1;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++, seq += 8) {
        double before = mh_metric(m, "kafka_producers_total");
        rd_kafka_mock_push_request_errors(c.mock, KM_PRODUCE, 1, errors[i].err);
        int32_t r = mh_write(m, seq, seq + 7, 0, status);
        if (r != errors[i].code)
            harness_note("%s: %d %s", rd_kafka_err2name(errors[i].err), r, m->error);
        CU_ASSERT_EQUAL(r, errors[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "topic audit: "));
        for (int k = 0; k < 8; k++)
            CU_ASSERT_TRUE(status[k] == AW_EVENT_UNKNOWN || status[k] == AW_EVENT_RETRY);
        CU_ASSERT_EQUAL(mh_write(m, seq, seq + 7, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 8, AW_EVENT_DURABLE));
        CU_ASSERT_EQUAL(mh_metric(m, "kafka_producers_total") > before, errors[i].new_producer);
    }
    CU_ASSERT_TRUE(topic_is(&c, 1, 1, seq - 1, 0));
    mh_destroy(m);
    km_end(&c);
}

/* An event that failed stops the producer: what is behind it in the queue is not sent. (A broker refuses what is on its
 * way already, because of the sequence numbers; the mock cluster takes it, so that this much can be tested here.) */
static void test_nothing_gets_past(void)
{
    struct km_cluster c = km_start(1, TOPIC, 1);
    struct mh_instance *m =
        started(MH("kafka", "brokers", c.brokers, "topic", TOPIC, "properties", "batch.num.messages=5"));
    uint8_t status[500];
    size_t stored = 0;
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    rd_kafka_mock_push_request_errors(c.mock, KM_PRODUCE, 1, RD_KAFKA_RESP_ERR_UNKNOWN);
    CU_ASSERT_EQUAL(mh_write(m, 11, 510, 0, status), AW_E_RETRY);
    for (size_t i = 0; i < 500; i++)
        stored += status[i] == AW_EVENT_DURABLE;
    harness_note("%zu of 500 were on their way", stored);
    CU_ASSERT_TRUE(stored < 250);
    CU_ASSERT_NOT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_NOT_EQUAL(status[499], AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(mh_metric(m, "kafka_producers_total"), 1);
    CU_ASSERT_EQUAL(mh_write(m, 511, 520, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "kafka_producers_total"), 2);
    mh_destroy(m);
    km_end(&c);
}

static void test_down(void)
{
    struct km_cluster c = km_start(3, TOPIC, 4);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC));
    struct aw_health h = {.struct_size = sizeof h};
    uint8_t status[100];
    CU_ASSERT_EQUAL(mh_write(m, 1, 100, 0, status), AW_OK);
    rd_kafka_mock_broker_set_down(c.mock, -1);
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write(m, 101, 200, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 15 * SECOND); /* not the 30 s of delivery_timeout */
    CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    struct mh_instance *late = MH("kafka", "brokers", c.brokers, "topic", TOPIC);
    CU_ASSERT_EQUAL(mh_start(late), AW_E_UNAVAILABLE);
    rd_kafka_mock_broker_set_up(c.mock, -1);
    CU_ASSERT_EQUAL(mh_write(m, 101, 200, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_DURABLE));
    started(late);
    mh_destroy(late);
    mh_destroy(m);
    CU_ASSERT_TRUE(topic_is(&c, 4, 1, 200, 0));
    km_end(&c);
}

/* At the deadline write() returns, and what it left is not delivered later behind the host's back. */
static void test_deadline(void)
{
    struct km_cluster c = km_start(3, TOPIC, 4);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC, "compression", "none",
                                       "properties", "batch.num.messages=10"));
    uint8_t status[400];
    CU_ASSERT_EQUAL(mh_write(m, 1, 40, 0, NULL), AW_OK);
    rd_kafka_mock_broker_set_rtt(c.mock, -1, 2000);
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(write_by(m, 41, 440, before + SECOND / 2, status), AW_E_TIMEOUT);
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 2 * SECOND + (harness_slow() ? 8 * SECOND : 0));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no confirmation in time"));
    CU_ASSERT_TRUE(mh_all(status, 400, AW_EVENT_UNKNOWN));
    double unsure = mh_metric(m, "kafka_unsure_total");
    CU_ASSERT_TRUE(unsure > 0);
    rd_kafka_mock_broker_set_rtt(c.mock, -1, 0);
    CU_ASSERT_EQUAL(mh_write(m, 41, 440, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 400, AW_EVENT_DURABLE));
    CU_ASSERT_TRUE(topic_is(&c, 4, 1, 440, (size_t)unsure));
    CU_ASSERT_EQUAL(mh_metric(m, "kafka_producers_total"), 2);
    CU_ASSERT_EQUAL(write_by(m, 441, 450, 1, status), AW_E_TIMEOUT); /* over before it began */
    deliver(m, 441, 450, 20 * SECOND);
    CU_ASSERT_TRUE(topic_is(&c, 4, 1, 450, (size_t)mh_metric(m, "kafka_unsure_total")));
    mh_destroy(m);
    /* The sink's own limit, when the host gives none. */
    m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC, "delivery_timeout", "300ms"));
    rd_kafka_mock_broker_set_rtt(c.mock, -1, 3000);
    CU_ASSERT_EQUAL(mh_write(m, 451, 452, 0, status), AW_E_TIMEOUT);
    rd_kafka_mock_broker_set_rtt(c.mock, -1, 0);
    mh_destroy(m);
    km_end(&c);
}

#define STORM_TURNS 40u
struct storm {
    struct km_cluster *c;
    atomic_uint turns;
};

/* Leaders move, requests fail, connections break, a broker goes and comes back. */
static void *storm(void *arg)
{
    struct storm *s = arg;
    uint64_t seed = harness_seed();
    for (; atomic_load(&s->turns) < STORM_TURNS; atomic_fetch_add(&s->turns, 1)) {
        uint64_t r = harness_random(&seed);
        int32_t broker = (int32_t)(1 + (r >> 8) % 3), partition = (int32_t)((r >> 16) % 4);
        switch (r % 5) {
        case 0:
        case 1:
            rd_kafka_mock_partition_set_leader(s->c->mock, TOPIC, partition, broker);
            break;
        case 2:
            rd_kafka_mock_push_request_errors(s->c->mock, KM_PRODUCE, 1, RD_KAFKA_RESP_ERR__TRANSPORT);
            break;
        case 3:
            rd_kafka_mock_push_request_errors(s->c->mock, KM_PRODUCE, 1, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
            break;
        default:
            rd_kafka_mock_broker_set_down(s->c->mock, broker);
            usleep(20000);
            rd_kafka_mock_broker_set_up(s->c->mock, broker);
        }
        usleep(60000);
    }
    rd_kafka_mock_clear_request_errors(s->c->mock, KM_PRODUCE);
    return NULL;
}

static void test_storm(void)
{
    struct km_cluster c = km_start(3, TOPIC, 4);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC));
    struct storm s = {.c = &c};
    pthread_t t;
    int calls = 0;
    uint64_t seq = 1;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, storm, &s), 0);
    for (; seq < 6000 && atomic_load(&s.turns) < STORM_TURNS; seq += 20)
        calls += deliver(m, seq, seq + 19, 2 * SECOND);
    uint64_t to = seq - 1;
    pthread_join(t, NULL);
    harness_note("%u disturbances, %d calls for %llu batches, %.0f producers, %.0f events unsure",
                 atomic_load(&s.turns), calls, (unsigned long long)(seq / 20), mh_metric(m, "kafka_producers_total"),
                 mh_metric(m, "kafka_unsure_total"));
    CU_ASSERT_EQUAL(atomic_load(&s.turns), STORM_TURNS);
    CU_ASSERT_TRUE(topic_is(&c, 4, 1, to, (size_t)to)); /* 0 lost, none out of order; copies are allowed */
    mh_destroy(m);
    km_end(&c);
}

static size_t open_sockets(void)
{
    size_t n = 0;
    for (int fd = 3; fd < 1024; fd++) {
        char path[64], to[256];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(path, to, sizeof to - 1);
        n += len > 6 && strncmp(to, "socket", 6) == 0;
    }
    return n;
}

static void test_fork(void)
{
    struct km_cluster c = km_start(1, TOPIC, 1);
    struct mh_instance *m = MH("kafka", "brokers", c.brokers, "topic", TOPIC);
    size_t without = open_sockets();
    started(m);
    uint8_t status[10];
    int end;
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    /* The connection's two ends are in this process, since the cluster is. */
    size_t with = open_sockets();
    CU_ASSERT_TRUE(with > without);
    pid_t child = fork();
    if (child == 0) {
        bool ok = m->class->after_fork(m->sink) == AW_OK && open_sockets() < with &&
                  mh_write(m, 11, 11, 0, status) == AW_E_INTERNAL && mh_stop(m) == AW_OK;
        m->class->destroy(m->sink);
        harness_end_child(ok ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &end, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(end) && WEXITSTATUS(end) == 0);
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "kafka_producers_total"), 1); /* the same connection */
    CU_ASSERT_TRUE(topic_is(&c, 1, 1, 20, 0));
    mh_destroy(m);
    km_end(&c);
}

static void test_no_secret_shown(void)
{
    static const char canary[] = "canary-3f9a61c0";
    struct km_cluster c = km_start(1, TOPIC, 1);
    struct mh_instance *m = MH("kafka", "brokers", c.brokers, "topic", TOPIC, "security_protocol", "sasl_plaintext",
                               "sasl_mechanism", "PLAIN", "sasl_username", "alice", "sasl_password", canary,
                               "properties", "debug=security,broker,conf", "connect_timeout", "2s");
    int32_t r = mh_start(m); /* the mock cluster knows nothing of SASL */
    harness_note("start: %d %s", r, m->error);
    CU_ASSERT_TRUE(r == AW_E_CONFIG || r == AW_E_UNAVAILABLE || r == AW_E_TIMEOUT);
    CU_ASSERT_TRUE(m->log_len > 0); /* librdkafka had something to say */
    CU_ASSERT_FALSE(mh_logged(m, canary));
    CU_ASSERT_PTR_NULL(strstr(m->error, canary));
    mh_destroy(m);
    /* A key file that needs another password. */
    m = MH("kafka", "brokers", c.brokers, "topic", TOPIC, "security_protocol", "ssl", "tls_cert", "/nonexistent/c.pem",
           "tls_key", "/nonexistent/k.pem", "tls_key_password", canary);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NULL(strstr(m->error, canary));
    CU_ASSERT_FALSE(mh_logged(m, canary));
    mh_destroy(m);
    km_end(&c);
}

static void test_unrenderable(void)
{
    struct km_cluster c = km_start(1, TOPIC, 1);
    struct mh_instance *m = started(MH("kafka", "brokers", c.brokers, "topic", TOPIC));
    struct aw_event *e[3] = {mh_event(1), mh_event(2), mh_event(3)};
    uint8_t status[3];
    e[1]->encode_code = AW_E_NOMEM;
    CU_ASSERT_EQUAL(mh_write_events(m, e, 3, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_TRUE(mh_all(status + 1, 2, AW_EVENT_UNKNOWN));
    e[1]->encode_code = AW_OK;
    CU_ASSERT_EQUAL(mh_write_events(m, e + 1, 2, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(topic_is(&c, 1, 1, 3, 0));
    for (int i = 0; i < 3; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    km_end(&c);
}

HARNESS_MAIN("sink_kafka", {"events, keys, headers, order", test_round_trip}, {"options", test_options},
             {"looking at the topic", test_looking}, {"too large", test_too_large},
             {"errors that pass", test_passing_errors}, {"errors that do not pass by themselves", test_lasting_errors},
             {"nothing gets past an event that failed", test_nothing_gets_past}, {"all brokers down", test_down},
             {"the deadline", test_deadline}, {"leaders, connections and brokers come and go", test_storm},
             {"a forked child", test_fork}, {"no secret is shown", test_no_secret_shown},
             {"an event that cannot be rendered", test_unrenderable})
