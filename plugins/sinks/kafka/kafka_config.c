/* kafka_config.c - the options, and librdkafka's configuration that is made of them. No I/O.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}
#define SECOND INT64_C(1000000000)

static const char *const protocols[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl", NULL};
static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", NULL};
static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd", NULL};
static const char *const partitioners[] = {"murmur2_random", "consistent_random", "fnv1a_random", NULL};

OPTION(opt_brokers, AW_OPT_LIST, AW_OPT_REQUIRED, "brokers", NULL,
       "Some of the cluster's brokers, \"host:port\"; the others are learnt from them.", 0, 0, NULL);
OPTION(opt_topic, AW_OPT_STRING, AW_OPT_REQUIRED, "topic", NULL, "The topic; it must exist.", 0, 0, NULL);
OPTION(opt_client, AW_OPT_STRING, 0, "client_id", "auditwell", "The name under which the brokers know this client.", 0,
       0, NULL);
OPTION(opt_protocol, AW_OPT_ENUM, 0, "security_protocol", "plaintext", "How to talk to the brokers.", 0, 0, protocols);
OPTION(opt_mechanism, AW_OPT_ENUM, 0, "sasl_mechanism", NULL, "How to authenticate, with a sasl protocol.", 0, 0,
       mechanisms);
OPTION(opt_user, AW_OPT_STRING, 0, "sasl_username", NULL, "Who to authenticate as.", 0, 0, NULL);
OPTION(opt_password, AW_OPT_SECRET, 0, "sasl_password", NULL, "The password of sasl_username.", 0, 0, NULL);
OPTION(opt_ca, AW_OPT_PATH, 0, "tls_ca", NULL,
       "The authorities that the brokers' certificates must come from, as PEM; unset: the system's.", 0, 0, NULL);
OPTION(opt_cert, AW_OPT_PATH, 0, "tls_cert", NULL, "The certificate that this client shows, as PEM.", 0, 0, NULL);
OPTION(opt_key, AW_OPT_PATH, 0, "tls_key", NULL, "The key of tls_cert, as PEM.", 0, 0, NULL);
OPTION(opt_key_password, AW_OPT_SECRET, 0, "tls_key_password", NULL, "The password of tls_key.", 0, 0, NULL);
OPTION(opt_verify, AW_OPT_BOOL, 0, "tls_verify", "true",
       "Refuse brokers whose certificate is not for their name or not from a known authority.", 0, 0, NULL);
OPTION(opt_compression, AW_OPT_ENUM, 0, "compression", "lz4", "How batches are compressed.", 0, 0, codecs);
OPTION(opt_partitioner, AW_OPT_ENUM, 0, "partitioner", "murmur2_random",
       "How the key chooses the partition; the default is that of the Java client.", 0, 0, partitioners);
OPTION(opt_max_message, AW_OPT_SIZE, 0, "max_message_size", "1MiB",
       "Larger events are rejected; as message.max.bytes of the brokers.", 1000, 1000000000, NULL);
OPTION(opt_delivery, AW_OPT_DURATION, 0, "delivery_timeout", "30s",
       "How long to wait for the brokers' confirmations, at most; the host's write_deadline may end it sooner.",
       SECOND / 10, 3600 * SECOND, NULL);
OPTION(opt_connect, AW_OPT_DURATION, 0, "connect_timeout", "10s",
       "How long to look for the topic at the start, at most.", SECOND / 10, 600 * SECOND, NULL);
OPTION(opt_properties, AW_OPT_LIST, 0, "properties", NULL,
       "Further settings of librdkafka, \"name=value\" each; those that break what the sink promises are refused.", 0,
       0, NULL);

const struct aw_option *const kf_options[] = {&opt_brokers,
                                              &opt_topic,
                                              &opt_client,
                                              &opt_protocol,
                                              &opt_mechanism,
                                              &opt_user,
                                              &opt_password,
                                              &opt_ca,
                                              &opt_cert,
                                              &opt_key,
                                              &opt_verify,
                                              &opt_key_password,
                                              &opt_compression,
                                              &opt_partitioner,
                                              &opt_max_message,
                                              &opt_delivery,
                                              &opt_connect,
                                              &opt_properties,
                                              NULL};

static const char *text(const struct kafka_sink *s, const struct aw_config *c, const char *key)
{
    struct aw_str v;
    return s->host->config_str(c, key, &v) == AW_OK ? v.ptr : NULL;
}

static int64_t number(const struct kafka_sink *s, const struct aw_config *c, const char *key, int64_t otherwise)
{
    int64_t v;
    return s->host->config_int(c, key, &v) == AW_OK ? v : otherwise;
}

/* ---- librdkafka's own settings ---- */

/* Properties that the sink sets itself, with what to use instead; a name that ends in '.' stands for all that begin so.
 */
static const struct {
    const char *name, *why;
} denied[] = {
    {"bootstrap.servers", "use the option brokers"},
    {"metadata.broker.list", "use the option brokers"},
    {"client.id", "use the option client_id"},
    {"security.protocol", "use the option security_protocol"},
    {"sasl.mechanism", "use the option sasl_mechanism"},
    {"sasl.mechanisms", "use the option sasl_mechanism"},
    {"sasl.username", "use the option sasl_username"},
    {"sasl.password", "use the option sasl_password, which is never printed"},
    {"sasl.oauthbearer.", "secrets do not belong into properties"},
    {"enable.sasl.oauthbearer.unsecure.jwt", "it accepts tokens that nobody signed"},
    {"ssl.key.password", "use the option tls_key_password, which is never printed"},
    {"ssl.key.pem", "use the option tls_key"},
    {"ssl.keystore.", "use the options tls_cert and tls_key"},
    {"ssl.key.location", "use the option tls_key"},
    {"ssl.certificate.location", "use the option tls_cert"},
    {"ssl.ca.location", "use the option tls_ca"},
    {"ssl.endpoint.identification.algorithm", "use the option tls_verify"},
    {"enable.ssl.certificate.verification", "use the option tls_verify"},
    {"compression.codec", "use the option compression"},
    {"compression.type", "use the option compression"},
    {"partitioner", "use the option partitioner"},
    {"partitioner_cb", "use the option partitioner"},
    {"message.max.bytes", "use the option max_message_size"},
    {"message.timeout.ms", "use the option delivery_timeout"},
    {"delivery.timeout.ms", "use the option delivery_timeout"},
    {"enable.idempotence", "without it events may be stored twice or out of order"},
    {"enable.gapless.guarantee", "without it an event may get past an earlier one that failed"},
    {"acks", "fewer confirmations than all may lose events"},
    {"request.required.acks", "fewer confirmations than all may lose events"},
    {"max.in.flight", "the idempotent producer needs its own value"},
    {"max.in.flight.requests.per.connection", "the idempotent producer needs its own value"},
    {"retries", "the idempotent producer needs its own value"},
    {"message.send.max.retries", "the idempotent producer needs its own value"},
    {"queuing.strategy", "events must stay in order"},
    {"transactional.id", "the sink does not use transactions"},
    {"delivery.report.only.error", "the sink needs every delivery report"},
    {"allow.auto.create.topics", "the sink makes no topics"},
    {"topic.metadata.propagation.max.ms", "the sink knows that the topic exists"},
    {"plugin.library.paths", "no foreign code is loaded"},
    {"enabled_events", "callbacks belong to the sink"},
    {"log.queue", "the log belongs to the sink"},
    {"log.thread.name", "the log belongs to the sink"},
    {"test.", "it is for tests of librdkafka"},
};

static const char *denied_because(const char *name)
{
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        size_t n = strlen(denied[i].name);
        if (denied[i].name[n - 1] == '.' ? strncmp(name, denied[i].name, n) == 0 : strcmp(name, denied[i].name) == 0)
            return denied[i].why;
    }
    return NULL;
}

/* Sets one property on both configurations. AW_OK or AW_E_CONFIG with a text that names the option. */
static int32_t set(struct kafka_sink *s, const char *option, const char *name, const char *value)
{
    char why[512], clean[KF_TEXT];
    if (value == NULL)
        return AW_OK;
    rd_kafka_conf_res_t r = rd_kafka_conf_set(s->conf, name, value, why, sizeof why);
    if (r == RD_KAFKA_CONF_OK)
        r = rd_kafka_conf_set(s->look_conf, name, value, why, sizeof why);
    if (r == RD_KAFKA_CONF_OK)
        return AW_OK;
    return aw_host_error(s->host, AW_E_CONFIG, "%s: %s%s", option, kf_clean(s, why, clean, sizeof clean),
                         r == RD_KAFKA_CONF_UNKNOWN ? "; CONFIGURATION.md of librdkafka lists all" : "");
}

static int32_t set_number(struct kafka_sink *s, const char *option, const char *name, int64_t value)
{
    char v[32];
    snprintf(v, sizeof v, "%lld", (long long)value);
    return set(s, option, name, v);
}

static int32_t set_properties(struct kafka_sink *s, const struct aw_config *config)
{
    struct aw_str item;
    char name[128];
    for (size_t i = 0; s->host->config_list(config, "properties", i, &item) == AW_OK; i++) {
        const char *equals = memchr(item.ptr, '=', item.len);
        size_t n = equals != NULL ? (size_t)(equals - item.ptr) : 0;
        if (n == 0 || n >= sizeof name) /* the item is not shown: it may be a secret in the wrong place */
            return aw_host_error(s->host, AW_E_CONFIG, "properties: item %zu is not like \"linger.ms=5\"", i + 1);
        memcpy(name, item.ptr, n);
        name[n] = '\0';
        const char *why = denied_because(name);
        if (why != NULL)
            return aw_host_error(s->host, AW_E_CONFIG, "properties: %s cannot be set: %s", name, why);
        int32_t r = set(s, "properties", name, equals + 1);
        if (r != AW_OK)
            return r;
    }
    return AW_OK;
}

/* ---- our options ---- */

static int32_t read_brokers(struct kafka_sink *s, const struct aw_config *config)
{
    struct aw_str one;
    size_t used = 0;
    for (size_t i = 0; s->host->config_list(config, "brokers", i, &one) == AW_OK; i++) {
        if (one.len == 0 || memchr(one.ptr, '\0', one.len) != NULL || strpbrk(one.ptr, " \t\r\n@") != NULL)
            return aw_host_error(s->host, AW_E_CONFIG, "brokers: item %zu is not like \"kafka1.example.org:9092\"",
                                 i + 1);
        char *grown = realloc(s->brokers, used + one.len + 2);
        if (grown == NULL)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        s->brokers = grown;
        if (used > 0)
            grown[used++] = ',';
        memcpy(grown + used, one.ptr, one.len + 1);
        used += one.len;
    }
    return used > 0 ? AW_OK
                    : aw_host_error(s->host, AW_E_CONFIG, "brokers: names none, e.g. [ \"kafka1.example.org:9092\" ]");
}

static bool topic_is_legal(const char *topic)
{
    size_t n = strlen(topic);
    return n > 0 && n <= 249 && strcmp(topic, ".") != 0 && strcmp(topic, "..") != 0 &&
           strspn(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int32_t keep_secret(struct kafka_sink *s, size_t at, const char *value)
{
    if (value != NULL && (s->secrets[at] = strdup(value)) == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    return AW_OK;
}

static int32_t check_security(struct kafka_sink *s, const struct aw_config *c, bool tls, bool sasl)
{
    static const char *const of_tls[] = {"tls_ca", "tls_cert", "tls_key", "tls_key_password"};
    static const char *const of_sasl[] = {"sasl_mechanism", "sasl_username", "sasl_password"};
    const char *mechanism = text(s, c, "sasl_mechanism");
    for (size_t i = 0; !tls && i < sizeof of_tls / sizeof of_tls[0]; i++)
        if (text(s, c, of_tls[i]) != NULL)
            return aw_host_error(s->host, AW_E_CONFIG,
                                 "%s: needs security_protocol = \"ssl\" or \"sasl_ssl\"; as it is nothing is encrypted",
                                 of_tls[i]);
    for (size_t i = 0; !sasl && i < sizeof of_sasl / sizeof of_sasl[0]; i++)
        if (text(s, c, of_sasl[i]) != NULL)
            return aw_host_error(s->host, AW_E_CONFIG,
                                 "%s: needs security_protocol = \"sasl_ssl\" (or \"sasl_plaintext\")", of_sasl[i]);
    if (sasl && mechanism == NULL)
        return aw_host_error(s->host, AW_E_CONFIG,
                             "sasl_mechanism: is needed with a sasl protocol, e.g. \"SCRAM-SHA-512\"");
    if (sasl && strcmp(mechanism, "GSSAPI") != 0 &&
        (text(s, c, "sasl_username") == NULL || text(s, c, "sasl_password") == NULL))
        return aw_host_error(s->host, AW_E_CONFIG, "sasl_mechanism: %s needs sasl_username and sasl_password",
                             mechanism);
    if ((text(s, c, "tls_cert") == NULL) != (text(s, c, "tls_key") == NULL))
        return aw_host_error(s->host, AW_E_CONFIG, "tls_cert and tls_key: one is of no use without the other");
    if (sasl && !tls && strcmp(mechanism, "PLAIN") == 0)
        aw_host_log(
            s->host, AW_LOG_WARNING,
            "security_protocol \"sasl_plaintext\" with PLAIN sends the password readable for everybody on the way");
    return AW_OK;
}

static int32_t set_security(struct kafka_sink *s, const struct aw_config *c)
{
    const char *protocol = text(s, c, "security_protocol");
    int32_t verify = 1;
    bool tls = strstr(protocol, "ssl") != NULL, sasl = strncmp(protocol, "sasl", 4) == 0;
    int32_t r = check_security(s, c, tls, sasl);
    const struct {
        const char *option, *name;
    } same[] = {{"security_protocol", "security.protocol"},
                {"sasl_mechanism", "sasl.mechanism"},
                {"sasl_username", "sasl.username"},
                {"sasl_password", "sasl.password"},
                {"tls_ca", "ssl.ca.location"},
                {"tls_cert", "ssl.certificate.location"},
                {"tls_key", "ssl.key.location"},
                {"tls_key_password", "ssl.key.password"}};
    for (size_t i = 0; r == AW_OK && i < sizeof same / sizeof same[0]; i++)
        r = set(s, same[i].option, same[i].name, text(s, c, same[i].option));
    if (r == AW_OK && s->host->config_bool(c, "tls_verify", &verify) == AW_OK && tls) {
        r = set(s, "tls_verify", "enable.ssl.certificate.verification", verify ? "true" : "false");
        if (r == AW_OK)
            r = set(s, "tls_verify", "ssl.endpoint.identification.algorithm", verify ? "https" : "none");
    }
    return r;
}

/* What the sink's promises rest on. */
static int32_t set_guarantees(struct kafka_sink *s)
{
    char why[256];
    static const char *const producer[][2] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"enable.gapless.guarantee", "true"},
        {"message.timeout.ms", "0"}, /* the sink itself ends the wait, so that no message ends alone */
        {"topic.metadata.propagation.max.ms", "5000"}};
    for (size_t i = 0; i < sizeof producer / sizeof producer[0]; i++)
        if (rd_kafka_conf_set(s->conf, producer[i][0], producer[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            return aw_host_error(s->host, AW_E_INTERNAL, "librdkafka %s: %s", rd_kafka_version_str(), why);
    int32_t r = set(s, "librdkafka", "log.queue", "true");
    if (r == AW_OK)
        r = set(s, "librdkafka", "log.connection.close", "false");
    if (r == AW_OK) /* the handle that looks is a consumer, since those make no topics that are missing */
        r = set(s, "librdkafka", "allow.auto.create.topics", "false");
    return r;
}

int32_t kf_read_settings(struct kafka_sink *s, const struct aw_config *c)
{
    const char *topic = text(s, c, "topic");
    int32_t r = keep_secret(s, 0, text(s, c, "sasl_password"));
    if (r == AW_OK)
        r = keep_secret(s, 1, text(s, c, "tls_key_password"));
    if (r != AW_OK)
        return r;
    if (topic == NULL || !topic_is_legal(topic))
        return aw_host_error(s->host, AW_E_CONFIG,
                             "topic: takes 1 to 249 letters, digits, dots, underscores and hyphens");
    s->topic = strdup(topic);
    s->conf = rd_kafka_conf_new();
    s->look_conf = rd_kafka_conf_new();
    if (s->topic == NULL || s->conf == NULL || s->look_conf == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    s->delivery_timeout_ns = (uint64_t)number(s, c, "delivery_timeout", 30 * SECOND);
    s->connect_timeout_ns = (uint64_t)number(s, c, "connect_timeout", 10 * SECOND);
    r = read_brokers(s, c);
    if (r == AW_OK)
        r = set(s, "brokers", "bootstrap.servers", s->brokers);
    if (r == AW_OK)
        r = set(s, "client_id", "client.id", text(s, c, "client_id"));
    if (r == AW_OK)
        r = set(s, "compression", "compression.codec", text(s, c, "compression"));
    if (r == AW_OK)
        r = set(s, "partitioner", "partitioner", text(s, c, "partitioner"));
    if (r == AW_OK)
        r = set_number(s, "max_message_size", "message.max.bytes", number(s, c, "max_message_size", 1 << 20));
    if (r == AW_OK)
        r = set_security(s, c);
    if (r == AW_OK)
        r = set_properties(s, c);
    if (r == AW_OK)
        r = set_guarantees(s);
    if (r == AW_OK) {
        kf_set_callbacks(s, s->conf);
        kf_set_callbacks(s, s->look_conf);
    }
    return r;
}

void kf_free_settings(struct kafka_sink *s)
{
    if (s->conf != NULL)
        rd_kafka_conf_destroy(s->conf);
    if (s->look_conf != NULL)
        rd_kafka_conf_destroy(s->look_conf);
    for (size_t i = 0; i < sizeof s->secrets / sizeof s->secrets[0]; i++) {
        if (s->secrets[i] != NULL)
            explicit_bzero(s->secrets[i], strlen(s->secrets[i]));
        free(s->secrets[i]);
    }
    free(s->brokers);
    free(s->topic);
}
