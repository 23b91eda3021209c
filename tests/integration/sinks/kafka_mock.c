/* kafka_mock.c - see kafka_mock.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_mock.h"

static void bail(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

static rd_kafka_t *handle(rd_kafka_type_t type, const char *const *pairs)
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    for (; *pairs != NULL; pairs += 2)
        if (rd_kafka_conf_set(conf, pairs[0], pairs[1], why, sizeof why) != RD_KAFKA_CONF_OK)
            bail(why);
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (rk == NULL)
        bail(why);
    return rk;
}

struct km_cluster km_start(int brokers, const char *topic, int partitions)
{
    static const char *const none[] = {NULL};
    struct km_cluster c = {.rk = handle(RD_KAFKA_PRODUCER, none)};
    c.mock = rd_kafka_mock_cluster_new(c.rk, brokers);
    if (c.mock == NULL)
        bail("no mock cluster");
    c.brokers = rd_kafka_mock_cluster_bootstraps(c.mock);
    if (rd_kafka_mock_topic_create(c.mock, topic, partitions, brokers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        bail("no topic");
    return c;
}

void km_end(struct km_cluster *c)
{
    rd_kafka_mock_cluster_destroy(c->mock);
    rd_kafka_destroy(c->rk);
}

static void header(const rd_kafka_headers_t *h, const char *name, char *out, size_t size)
{
    const void *value;
    size_t len;
    out[0] = '\0';
    if (rd_kafka_header_get_last(h, name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR)
        snprintf(out, size, "%.*s", (int)len, (const char *)value);
}

static void take(struct km_records *r, size_t *room, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *h;
    char seq[32] = "";
    if (r->count == *room) {
        *room = *room ? *room * 2 : 256;
        r->at = realloc(r->at, *room * sizeof *r->at);
        if (r->at == NULL)
            bail("out of memory");
    }
    struct km_record *one = &r->at[r->count++];
    memset(one, 0, sizeof *one);
    if (rd_kafka_message_headers(m, &h) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        header(h, "eventId", one->id, sizeof one->id);
        header(h, "hash", one->hash, sizeof one->hash);
        header(h, "seq", seq, sizeof seq);
    }
    one->seq = strtoull(seq, NULL, 10);
    one->partition = m->partition;
    snprintf(one->scope, sizeof one->scope, "%.*s", (int)m->key_len, m->key != NULL ? (const char *)m->key : "");
    one->value = malloc(m->len + 1);
    if (one->value == NULL)
        bail("out of memory");
    memcpy(one->value, m->payload, m->len);
    one->value[m->len] = '\0';
    one->value_len = m->len;
}

struct km_records km_read(const char *brokers, const char *topic, int partitions)
{
    const char *const pairs[] = {"bootstrap.servers",
                                 brokers,
                                 "enable.partition.eof",
                                 "true",
                                 "check.crcs",
                                 "true",
                                 "fetch.wait.max.ms",
                                 "50",
                                 "group.id",
                                 "reader",
                                 NULL};
    rd_kafka_t *rk = handle(RD_KAFKA_CONSUMER, pairs);
    struct km_records r = {NULL, 0};
    size_t room = 0;
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(all, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    if (rd_kafka_assign(rk, all) != RD_KAFKA_RESP_ERR_NO_ERROR)
        bail("cannot read the topic");
    rd_kafka_topic_partition_list_destroy(all);
    for (int ended = 0, idle = 0; ended < partitions;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (m == NULL) {
            if (++idle > 300)
                bail("the topic cannot be read to its end");
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            take(&r, &room, m);
        else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            ended++;
        rd_kafka_message_destroy(m);
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return r;
}

void km_free(struct km_records *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->at[i].value);
    free(r->at);
}
