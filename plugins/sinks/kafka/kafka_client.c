/* kafka_client.c - producers, what librdkafka tells us, and looking at the topic. SPDX-License-Identifier: Apache-2.0
 *
 * A producer that failed is thrown away, with all it holds: so nothing is delivered behind the host's back after
 * write() returned. What was on its way to a broker then may still be stored; the host sends it again, and both copies
 * have the same id in a header.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kafka_sink.h"

#define END_WAIT_NS 2000000000u /* for the reports of what was purged; they come at once */
#define SLICE_MS 200
#define LOG_WINDOW_NS 10000000000u
#define LOG_LINES 20u /* per window */

/* ---- callbacks ---- */

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_sink *s = opaque;
    struct kf_slot *slot = message->_private;
    (void)rk;
    slot->reported = true;
    slot->err = message->err;
    s->outstanding--;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        s->down_since_ns = 0;
        s->trouble = AW_OK;
    }
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct kafka_sink *s = opaque;
    char fatal[KF_TEXT];
    rd_kafka_resp_err_t e = (rd_kafka_resp_err_t)err;
    if (e == RD_KAFKA_RESP_ERR__FATAL) {
        s->broken = true;
        e = rd_kafka_fatal_error(rk, fatal, sizeof fatal);
        reason = fatal;
        if (kf_meaning_of(e) != KF_WRONG)
            return;
    } else if (e == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        s->down_since_ns = s->host->mono_ns();
        if (s->trouble != AW_OK)
            return; /* what was told before says why */
    }
    int32_t code = kf_code_of(e, reason);
    if (s->trouble == AW_E_CONFIG && code != AW_E_CONFIG)
        return;
    s->trouble = code;
    kf_clean(s, reason, s->trouble_text, sizeof s->trouble_text);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
    struct kafka_sink *s = rd_kafka_opaque(rk);
    char clean[KF_TEXT];
    uint64_t now = s->host->mono_ns();
    if (strcmp(facility, "CONFWARN") == 0) /* about settings that are the sink's own choice */
        level = 7;
    if (now - s->log_window_ns >= LOG_WINDOW_NS) {
        if (s->log_lines > LOG_LINES)
            aw_host_log(s->host, AW_LOG_WARNING, "librdkafka: %u more lines", s->log_lines - LOG_LINES);
        s->log_window_ns = now;
        s->log_lines = 0;
    }
    if (s->log_lines++ >= LOG_LINES && level > 2)
        return;
    aw_host_log(s->host,
                level <= 2   ? AW_LOG_ERROR
                : level <= 4 ? AW_LOG_WARNING
                : level <= 6 ? AW_LOG_INFO
                             : AW_LOG_DEBUG,
                "librdkafka %s: %s", facility, kf_clean(s, line, clean, sizeof clean));
}

static int on_socket(int domain, int type, int protocol, void *opaque)
{
    struct kafka_sink *s = opaque;
    int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    for (size_t i = 0; fd >= 0 && i < KF_SOCKETS; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&s->sockets[i], &none, fd + 1))
            break;
    }
    return fd;
}

static int on_close(int fd, void *opaque)
{
    struct kafka_sink *s = opaque;
    for (size_t i = 0; i < KF_SOCKETS; i++) {
        int it = fd + 1;
        if (atomic_compare_exchange_strong(&s->sockets[i], &it, 0))
            break;
    }
    return close(fd);
}

void kf_set_callbacks(struct kafka_sink *s, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_opaque(conf, s);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_socket_cb(conf, on_socket);
    rd_kafka_conf_set_closesocket_cb(conf, on_close);
    if (conf == s->conf)
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
}

/* ---- producers ---- */

static rd_kafka_t *make(struct kafka_sink *s, rd_kafka_type_t type, int32_t *ret_code)
{
    char why[512] = "out of memory";
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(type == RD_KAFKA_PRODUCER ? s->conf : s->look_conf);
    rd_kafka_t *rk = conf != NULL ? rd_kafka_new(type, conf, why, sizeof why) : NULL;
    if (rk != NULL) {
        /* Log lines come with the other events, on the thread that polls. */
        if (rd_kafka_set_log_queue(rk, NULL) != RD_KAFKA_RESP_ERR_NO_ERROR)
            aw_host_log(s->host, AW_LOG_WARNING, "librdkafka's log cannot be had");
        s->broken = false;
        s->down_since_ns = 0;
        s->trouble = AW_OK;
        return rk;
    }
    rd_kafka_resp_err_t err = rd_kafka_last_error();
    if (conf != NULL)
        rd_kafka_conf_destroy(conf);
    /* Threads and memory may be there later; a file or a value that is no good stays so. */
    *ret_code = err == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE || conf == NULL ? kf_fail(s, AW_E_RETRY, "%s", why)
                                                                            : kf_fail(s, AW_E_CONFIG, "%s", why);
    return NULL;
}

int32_t kf_producer_ready(struct kafka_sink *s)
{
    int32_t code = AW_OK;
    if (s->rk != NULL)
        return AW_OK;
    s->rk = make(s, RD_KAFKA_PRODUCER, &code);
    if (s->rk == NULL)
        return code;
    s->rkt = rd_kafka_topic_new(s->rk, s->topic, NULL);
    if (s->rkt == NULL) {
        code = kf_fail(s, AW_E_RETRY, "topic %s: %s", s->topic, rd_kafka_err2str(rd_kafka_last_error()));
        kf_producer_end(s);
        return code;
    }
    s->host->metric_add(s->host, s->metric_producers, 1);
    return AW_OK;
}

void kf_producer_end(struct kafka_sink *s)
{
    if (s->rk == NULL)
        return;
    uint64_t end = s->host->mono_ns() + END_WAIT_NS;
    rd_kafka_resp_err_t purged =
        rd_kafka_purge(s->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    while (purged == RD_KAFKA_RESP_ERR_NO_ERROR && s->outstanding > 0 && s->host->mono_ns() < end)
        rd_kafka_poll(s->rk, 20);
    if (s->rkt != NULL)
        rd_kafka_topic_destroy(s->rkt);
    rd_kafka_destroy(s->rk);
    s->rk = NULL;
    s->rkt = NULL;
    s->outstanding = 0; /* whatever had no report yet is gone with the producer */
}

/* ---- looking at the topic ---- */

static int32_t judge(struct kafka_sink *s, const struct rd_kafka_metadata *found)
{
    const struct rd_kafka_metadata_topic *t = found->topic_cnt == 1 ? &found->topics[0] : NULL;
    if (t == NULL || t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        (t->err == RD_KAFKA_RESP_ERR_NO_ERROR && t->partition_cnt == 0))
        return kf_fail(s, AW_E_CONFIG, "%s: there is no topic %s: create it, or correct `topic`", s->brokers, s->topic);
    if (t->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kf_fail(s, kf_meaning_of(t->err) == KF_WRONG ? AW_E_CONFIG : AW_E_UNAVAILABLE, "%s: topic %s: %s",
                       s->brokers, s->topic, rd_kafka_err2str(t->err));
    for (int i = 0; i < t->partition_cnt; i++)
        if (t->partitions[i].leader < 0)
            return kf_fail(s, AW_E_UNAVAILABLE, "%s: partition %d of topic %s has no leader now", s->brokers,
                           (int)t->partitions[i].id, s->topic);
    return AW_OK;
}

/* Asks until there is an answer, the brokers turn out to be down, or the deadline comes. */
static int32_t ask(struct kafka_sink *s, rd_kafka_t *rk, rd_kafka_topic_t *rkt, uint64_t deadline_ns)
{
    const struct rd_kafka_metadata *found;
    for (;;) {
        uint64_t now = s->host->mono_ns();
        uint64_t left_ms = now < deadline_ns ? (deadline_ns - now) / 1000000u : 0;
        rd_kafka_resp_err_t err =
            rd_kafka_metadata(rk, 0, rkt, &found, left_ms < SLICE_MS ? (int)left_ms + 1 : SLICE_MS);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            int32_t r = judge(s, found);
            rd_kafka_metadata_destroy(found);
            return r;
        }
        while (rd_kafka_poll(rk, 0) > 0)
            ;
        if (s->trouble == AW_E_CONFIG || s->down_since_ns != 0)
            return kf_fail(s, s->trouble, "%s: %s", s->brokers, s->trouble_text);
        if (kf_meaning_of(err) == KF_WRONG)
            return kf_fail(s, AW_E_CONFIG, "%s: topic %s: %s", s->brokers, s->topic, rd_kafka_err2str(err));
        if (left_ms == 0)
            return s->trouble != AW_OK
                       ? kf_fail(s, s->trouble, "%s: %s", s->brokers, s->trouble_text)
                       : kf_fail(s, AW_E_TIMEOUT, "%s: no answer about topic %s in time", s->brokers, s->topic);
    }
}

int32_t kf_look(struct kafka_sink *s, uint64_t deadline_ns)
{
    int32_t r = AW_OK;
    rd_kafka_t *rk = make(s, RD_KAFKA_CONSUMER, &r);
    if (rk == NULL)
        return r;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, s->topic, NULL);
    if (rkt != NULL) {
        r = ask(s, rk, rkt, deadline_ns);
        rd_kafka_topic_destroy(rkt);
    } else {
        r = kf_fail(s, AW_E_RETRY, "topic %s: %s", s->topic, rd_kafka_err2str(rd_kafka_last_error()));
    }
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return r;
}
