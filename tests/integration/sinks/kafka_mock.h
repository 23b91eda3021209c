/* kafka_mock.h - librdkafka's mock cluster, and reading back what is in it. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_KAFKA_MOCK_H
#define AW_KAFKA_MOCK_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KM_PRODUCE 0 /* Kafka's ApiKeys */
#define KM_METADATA 3
#define KM_INIT_PRODUCER_ID 22

struct km_cluster {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *mock;
    const char *brokers;
};
/* A cluster of that many brokers with one topic. Bails out when there can be none. */
struct km_cluster km_start(int brokers, const char *topic, int partitions);
void km_end(struct km_cluster *c);

struct km_record {
    uint64_t seq;
    int32_t partition;
    char id[64], hash[80], scope[128];
    char *value;
    size_t value_len;
};
struct km_records {
    struct km_record *at;
    size_t count;
};
/* All records of the topic, those of one partition in its order. */
struct km_records km_read(const char *brokers, const char *topic, int partitions);
void km_free(struct km_records *r);

#endif
