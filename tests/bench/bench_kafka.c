/* bench_kafka.c - the kafka sink against librdkafka's own loop, on librdkafka's mock cluster in this process.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The sink works off a journal that is full already, as after an outage; so what is compared is delivering alone. The
 * bare loop sends the same messages (value, key, headers) by a producer with the same settings, counts the delivery
 * reports, and waits for nothing until the end. Both times hold connecting.
 */
#include "config.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define TOPIC "audit"
#define PARTITIONS 6
#define BATCH "batch = { events = 16384; bytes = \"32MiB\"; }; "

struct message {
    const char *value;
    size_t len;
    char key[96], id[48], seq[24], hash[72];
};

/* The text or number behind `name` in a stored line. */
static void member(const char *line, size_t len, const char *name, char *out, size_t size)
{
    const char *at = memmem(line, len, name, strlen(name));
    size_t n = 0;
    if (at != NULL)
        for (at += strlen(name); n + 1 < size && at + n < line + len && at[n] != '"' && at[n] != ',' && at[n] != '}';
             n++)
            out[n] = at[n];
    out[n] = '\0';
}

static struct message *make_messages(const struct bench *b, size_t count)
{
    struct message *m = calloc(count, sizeof *m);
    if (m == NULL)
        bench_die("out of memory");
    for (size_t i = 0; i < count; i++) {
        size_t k = i % b->trail.count;
        char tenant[80];
        m[i].value = b->trail.base + b->trail.off[k];
        m[i].len = b->trail.len[k];
        member(m[i].value, m[i].len, "\"tenantId\":\"", tenant, sizeof tenant);
        (void)snprintf(m[i].key, sizeof m[i].key, "tenant:%s", tenant);
        member(m[i].value, m[i].len, "\"eventId\":\"", m[i].id, sizeof m[i].id);
        member(m[i].value, m[i].len, "\"hash\":\"", m[i].hash, sizeof m[i].hash);
        (void)snprintf(m[i].seq, sizeof m[i].seq, "%zu", i + 1);
    }
    return m;
}

static rd_kafka_t *producer(const char *const *pairs, void *opaque,
                            void (*on_report)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_conf_set_opaque(conf, opaque);
    if (on_report != NULL)
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    for (; *pairs != NULL; pairs += 2)
        if (rd_kafka_conf_set(conf, pairs[0], pairs[1], why, sizeof why) != RD_KAFKA_CONF_OK)
            bench_die("librdkafka: %s", why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (rk == NULL)
        bench_die("librdkafka: %s", why);
    return rk;
}

struct cluster {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *mock;
};

/* A fresh one for each turn: it keeps what it gets in memory. */
static struct cluster cluster_start(void)
{
    static const char *const none[] = {NULL};
    struct cluster c = {.rk = producer(none, NULL, NULL)};
    c.mock = rd_kafka_mock_cluster_new(c.rk, 3);
    if (c.mock == NULL || rd_kafka_mock_topic_create(c.mock, TOPIC, PARTITIONS, 3) != RD_KAFKA_RESP_ERR_NO_ERROR)
        bench_die("no mock cluster");
    return c;
}

static void cluster_end(const struct cluster *c)
{
    rd_kafka_mock_cluster_destroy(c->mock);
    rd_kafka_destroy(c->rk);
}

static void count_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    size_t *delivered = opaque;
    (void)rk;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        bench_die("the mock cluster refuses a message: %s", rd_kafka_err2str(message->err));
    ++*delivered;
}

/* librdkafka's macros check types by statement expressions, which clang calls an extension. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wgnu-statement-expression"
#endif

static void send_one(rd_kafka_t *rk, rd_kafka_topic_t *topic, struct message *m)
{
    rd_kafka_resp_err_t err;
    for (;;) {
        err = rd_kafka_producev(rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_VALUE((void *)(uintptr_t)m->value, m->len),
                                RD_KAFKA_V_KEY(m->key, strlen(m->key)),
                                RD_KAFKA_V_HEADER("eventId", m->id, (ssize_t)strlen(m->id)),
                                RD_KAFKA_V_HEADER("seq", m->seq, (ssize_t)strlen(m->seq)),
                                RD_KAFKA_V_HEADER("hash", m->hash, (ssize_t)strlen(m->hash)), RD_KAFKA_V_END);
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            break;
        (void)rd_kafka_poll(rk, 10);
    }
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        bench_die("librdkafka: %s", rd_kafka_err2str(err));
}

static double run_bare(struct message *messages, size_t count)
{
    struct cluster c = cluster_start();
    const char *const pairs[] = {"bootstrap.servers",
                                 rd_kafka_mock_cluster_bootstraps(c.mock),
                                 "enable.idempotence",
                                 "true",
                                 "acks",
                                 "all",
                                 "enable.gapless.guarantee",
                                 "true",
                                 "compression.codec",
                                 "lz4",
                                 "partitioner",
                                 "murmur2_random",
                                 NULL};
    size_t delivered = 0;
    double t = bench_now();
    rd_kafka_t *rk = producer(pairs, &delivered, count_report);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, TOPIC, NULL);
    if (topic == NULL)
        bench_die("librdkafka: no topic");
    for (size_t i = 0; i < count; i++) {
        send_one(rk, topic, &messages[i]);
        if ((i & 255) == 0)
            (void)rd_kafka_poll(rk, 0);
    }
    if (rd_kafka_flush(rk, 120000) != RD_KAFKA_RESP_ERR_NO_ERROR || delivered != count)
        bench_die("%zu messages of %zu were delivered", delivered, count);
    t = bench_now() - t;
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    cluster_end(&c);
    return t;
}

static double run_sink(struct bench *b, size_t count)
{
    struct cluster c = cluster_start();
    char sinks[1024], first[128];
    const char *brokers = rd_kafka_mock_cluster_bootstraps(c.mock);
    (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(brokers, ","), brokers);
    (void)snprintf(sinks, sizeof sinks,
                   "sinks = ( { plugin = \"kafka\"; topic = \"" TOPIC "\"; brokers = [ \"%s\" ]; " BATCH "} );", first);
    struct aw_logger *logger = bench_open(b, sinks, AW_OPEN_NO_SINKS);
    for (size_t i = 0; i < count; i++) {
        size_t k = i % b->corpus.count;
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL), "aw_log_json");
    }
    (void)aw_close(logger, 0); /* all of it waits: that is the point */
    double t = bench_now();
    logger = bench_open(b, sinks, 0);
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    cluster_end(&c);
    return t;
}

void figures_kafka(struct bench *b)
{
    static const struct figure f = {"kafka_sink", "events/s", "bare producer loop, same messages and acks", 0.80,
                                    false};
    if (!bench_wants(b, "kafka"))
        return;
    struct series value = {.n = 0}, limit = {.n = 0};
    size_t count = b->events;
    struct message *messages = make_messages(b, count);
    for (int i = 0; i < b->runs; i++) {
        series_add(&limit, (double)count / run_bare(messages, count));
        series_add(&value, (double)count / run_sink(b, count));
    }
    report(&f, &value, &limit);
    free(messages);
}
