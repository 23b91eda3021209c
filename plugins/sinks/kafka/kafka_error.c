/* kafka_error.c - what the errors of librdkafka and the brokers mean, and texts that are fit to be shown.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kafka_sink.h"

enum kf_meaning kf_meaning_of(rd_kafka_resp_err_t err)
{
    switch ((int)err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return KF_STORED;
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return KF_UNSURE;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return KF_REFUSED;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
        return KF_WRONG;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
    case RD_KAFKA_RESP_ERR__INCONSISTENT:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
    case RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER:
    case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
        return KF_BROKEN;
    default:
        return KF_LATER;
    }
}

int32_t kf_code_of(rd_kafka_resp_err_t err, const char *reason)
{
    if (kf_meaning_of(err) == KF_WRONG)
        return AW_E_CONFIG;
    /* librdkafka has one code for all that can go wrong under TLS, a broker that restarts included. */
    if (err == RD_KAFKA_RESP_ERR__SSL && reason != NULL && strstr(reason, "certificate") != NULL)
        return AW_E_CONFIG;
    return AW_E_UNAVAILABLE;
}

/* The length of the secret that begins at text, or 0. */
static size_t secret_at(const struct kafka_sink *s, const char *text)
{
    for (size_t i = 0; i < sizeof s->secrets / sizeof s->secrets[0]; i++) {
        size_t n = s->secrets[i] != NULL ? strlen(s->secrets[i]) : 0;
        if (n > 0 && strncmp(text, s->secrets[i], n) == 0)
            return n;
    }
    return 0;
}

const char *kf_clean(const struct kafka_sink *s, const char *text, char *out, size_t size)
{
    size_t n = 0;
    while (*text != '\0' && n + 4 < size) {
        size_t secret = secret_at(s, text);
        if (secret > 0) {
            memcpy(out + n, "***", 3);
            n += 3;
            text += secret;
            continue;
        }
        unsigned char c = (unsigned char)*text++;
        out[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
    return out;
}

void kf_set_health(struct kafka_sink *s, int32_t code, const char *detail)
{
    int32_t state = code == AW_OK                                     ? AW_HEALTH_OK
                    : code == AW_E_UNAVAILABLE || code == AW_E_CONFIG ? AW_HEALTH_DOWN
                                                                      : AW_HEALTH_DEGRADED;
    uint64_t now = s->host->now_ns();
    pthread_mutex_lock(&s->lock);
    if (s->health.state != state)
        s->health.since_ns = now;
    s->health.state = state;
    if (code == AW_OK)
        s->health.last_success_ns = now;
    else
        s->health.last_error = code;
    snprintf(s->health.detail, sizeof s->health.detail, "%s", detail);
    pthread_mutex_unlock(&s->lock);
}

int32_t kf_fail(struct kafka_sink *s, int32_t code, const char *fmt, ...)
{
    char text[2 * KF_TEXT], clean[2 * KF_TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    kf_clean(s, text, clean, sizeof clean);
    kf_set_health(s, code, clean);
    return aw_host_error(s->host, code, "%s", clean);
}
