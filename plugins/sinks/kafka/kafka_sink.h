/* kafka_sink.h - what the source files of the kafka sink share. Nothing here is exported.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parts: sink_kafka.c (class, options, life), kafka_config.c (settings, librdkafka's configuration), kafka_client.c
 * (producers, callbacks, looking at the topic), kafka_error.c (what librdkafka's errors mean, clean texts),
 * kafka_write.c (batches).
 *
 * Order: events of one scope have the same key, thus the same partition, and the idempotent producer keeps their order
 * there. When one of them fails, librdkafka stops the whole producer ("gapless guarantee") before a later one can get
 * past it; the sink then throws that producer away, and the host gives it the events again.
 *
 * Threads: the host serialises the calls on an instance. Reports, errors and log lines are queued by librdkafka, and
 * handed over on the thread that polls; only the two socket callbacks run on librdkafka's threads, and touch nothing
 * but `sockets`. health() is guarded by `lock`.
 */
#ifndef AW_KAFKA_SINK_H
#define AW_KAFKA_SINK_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "audit/plugin.h"

#define KF_SOCKETS 256 /* tracked for after_fork(); more brokers than that have some that stay open in a child */
#define KF_TEXT 400    /* of the peer's and librdkafka's texts, at most */

/* What an error of librdkafka means for one event. */
enum kf_meaning {
    KF_STORED,  /* no error */
    KF_UNSURE,  /* may be stored or not: unknown, sent again */
    KF_LATER,   /* not stored; passes by itself */
    KF_REFUSED, /* one event of the request is unacceptable */
    KF_WRONG,   /* somebody has to change something */
    KF_BROKEN   /* this producer cannot go on, a new one can */
};

/* What became of one event of the batch in hand. */
struct kf_slot {
    bool sent, reported;
    rd_kafka_resp_err_t err;
};

struct kafka_sink {
    const struct aw_host *host;
    /* settings, constant after create() */
    rd_kafka_conf_t *conf;      /* copied for each producer */
    rd_kafka_conf_t *look_conf; /* for looking at the topic: makes no topic, produces nothing */
    char *brokers, *topic;
    char *secrets[2]; /* never to be shown; NULL: none */
    uint64_t delivery_timeout_ns, connect_timeout_ns;

    bool started;
    rd_kafka_t *rk; /* NULL: made at the next write */
    rd_kafka_topic_t *rkt;
    struct kf_slot *slots;
    size_t slot_room;
    size_t outstanding; /* sent, no report yet */

    /* What the callbacks saw, since the last stored event. */
    bool broken;            /* a fatal error: the producer must go */
    uint64_t down_since_ns; /* all brokers are down; 0: not so */
    int32_t trouble;        /* AW_E_CONFIG, AW_E_UNAVAILABLE or 0 */
    char trouble_text[KF_TEXT];

    uint64_t log_window_ns; /* of the limit on log lines */
    unsigned log_lines;

    atomic_int sockets[KF_SOCKETS]; /* descriptor + 1; 0: free */

    pthread_mutex_t lock; /* health; held for copies only */
    struct aw_health health;
    uint32_t metric_producers, metric_unsure;
};

/* ---- kafka_config.c ---- */
extern const struct aw_option *const kf_options[];
int32_t kf_read_settings(struct kafka_sink *s, const struct aw_config *config);
void kf_free_settings(struct kafka_sink *s);

/* ---- kafka_error.c ---- */
enum kf_meaning kf_meaning_of(rd_kafka_resp_err_t err);
/* The AW_E_* for which an error outside of a message stands: AW_E_CONFIG or AW_E_UNAVAILABLE. */
int32_t kf_code_of(rd_kafka_resp_err_t err, const char *reason);
/* A text fit for people and logs: no secret, no control characters, bounded. Returns out. */
const char *kf_clean(const struct kafka_sink *s, const char *text, char *out, size_t size);
/* Sets error text and health, returns code. */
int32_t kf_fail(struct kafka_sink *s, int32_t code, const char *fmt, ...) AW_PRINTF(3, 4);
void kf_set_health(struct kafka_sink *s, int32_t code, const char *detail);

/* ---- kafka_client.c ---- */
void kf_set_callbacks(struct kafka_sink *s, rd_kafka_conf_t *conf);
int32_t kf_producer_ready(struct kafka_sink *s); /* makes one if there is none. AW_OK or AW_E_* */
/* Ends the producer. Nothing that it still holds will be delivered from now on, but for what is on its way already. */
void kf_producer_end(struct kafka_sink *s);
/* Is the topic there, and has each partition a leader? AW_OK or AW_E_*. */
int32_t kf_look(struct kafka_sink *s, uint64_t deadline_ns);

/* ---- kafka_write.c ---- */
int32_t kf_write(void *sink, const struct aw_batch *batch, struct aw_result *result);

#endif
