/* sink_nats.c - the nats sink: class, options and life of an instance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}
#define MS INT64_C(1000000)
#define HOUR (3600000 * MS)

OPTION(opt_servers, AW_OPT_LIST, 0, "servers", "nats://127.0.0.1:4222",
       "Servers of one cluster, \"nats://HOST:PORT\" or \"tls://HOST:PORT\": name all, one of them is chosen.", 0, 0,
       NULL);
OPTION(opt_stream, AW_OPT_STRING, AW_OPT_REQUIRED, "stream", NULL, "The JetStream stream; it is not made here.", 0, 0,
       NULL);
OPTION(opt_subject, AW_OPT_STRING, 0, "subject", "audit.{tenant}",
       "Subject of an event, with {tenant} {org} {service} {host} {region} {environment} {actor_type} {target_type} "
       "{outcome} {retention} {action}.",
       0, 0, NULL);
OPTION(opt_domain, AW_OPT_STRING, 0, "domain", NULL, "JetStream domain, if not the server's own.", 0, 0, NULL);
OPTION(opt_inbox, AW_OPT_STRING, 0, "inbox_prefix", "_INBOX", "First tokens of the subjects for answers.", 0, 0, NULL);
OPTION(opt_in_flight, AW_OPT_UINT, 0, "max_in_flight", "1024", "Events published before the first is confirmed.", 1,
       65536, NULL);
OPTION(opt_connect, AW_OPT_DURATION, 0, "connect_timeout", "3s", "How long to try each server.", 10 * MS, HOUR, NULL);
OPTION(opt_ack, AW_OPT_DURATION, 0, "ack_timeout", "5s", "A server that confirms nothing for this long is left.",
       10 * MS, HOUR, NULL);
OPTION(opt_file, AW_OPT_BOOL, 0, "file_storage", "true", "Refuse a stream that is kept in memory.", 0, 0, NULL);
OPTION(opt_replicas, AW_OPT_UINT, 0, "replicas", "1", "Refuse a stream with fewer replicas.", 1, 5, NULL);
OPTION(opt_window, AW_OPT_DURATION, 0, "duplicate_window", "2m",
       "Warn when the stream remembers message ids for less than this.", 0, 8760 * HOUR, NULL);
OPTION(opt_user, AW_OPT_STRING, 0, "user", NULL, "User name.", 0, 0, NULL);
OPTION(opt_password, AW_OPT_SECRET, 0, "password", NULL, "Its password.", 0, 0, NULL);
OPTION(opt_token, AW_OPT_SECRET, 0, "token", NULL, "Token, instead of a user.", 0, 0, NULL);
OPTION(opt_nkey, AW_OPT_STRING, 0, "nkey", NULL, "Public NKey (U...), instead of a user.", 0, 0, NULL);
OPTION(opt_seed, AW_OPT_SECRET, 0, "nkey_seed", NULL, "Its seed (SU...).", 0, 0, NULL);
OPTION(opt_creds, AW_OPT_PATH, 0, "credentials", NULL, "File with a user JWT and its seed, instead of a user.", 0, 0,
       NULL);
OPTION(opt_tls, AW_OPT_BOOL, 0, "tls", "false", "Refuse servers without TLS; so do \"tls://\" and tls_ca.", 0, 0, NULL);
OPTION(opt_ca, AW_OPT_PATH, 0, "tls_ca", NULL, "Certificates of the authorities to believe, if not the system's.", 0, 0,
       NULL);
OPTION(opt_cert, AW_OPT_PATH, 0, "tls_cert", NULL, "Our certificate chain.", 0, 0, NULL);
OPTION(opt_key, AW_OPT_PATH, 0, "tls_key", NULL, "Its private key.", 0, 0, NULL);
OPTION(opt_hostname, AW_OPT_STRING, 0, "tls_hostname", NULL,
       "Name in the server's certificate, if not that of its address.", 0, 0, NULL);

static const struct aw_option *const options[] = {
    &opt_servers, &opt_stream,   &opt_subject, &opt_domain, &opt_inbox,    &opt_in_flight, &opt_connect, &opt_ack,
    &opt_file,    &opt_replicas, &opt_window,  &opt_user,   &opt_password, &opt_token,     &opt_nkey,    &opt_seed,
    &opt_creds,   &opt_tls,      &opt_ca,      &opt_cert,   &opt_key,      &opt_hostname,  NULL};

static int32_t bad(const struct nats_sink *s, const char *text)
{
    return aw_host_error(s->host, AW_E_CONFIG, "%s", text);
}

static int64_t number(const struct aw_host *h, const struct aw_config *c, const char *key, int64_t otherwise)
{
    int64_t v;
    return h->config_int(c, key, &v) == AW_OK ? v : otherwise;
}

static bool copy_texts(struct nats_sink *s, const struct aw_config *config)
{
    const struct {
        const char *key;
        char **at;
    } all[] = {{"stream", &s->stream},
               {"domain", &s->domain},
               {"inbox_prefix", &s->inbox_prefix},
               {"user", &s->user},
               {"password", &s->password},
               {"token", &s->token},
               {"nkey", &s->nkey},
               {"nkey_seed", &s->nkey_seed},
               {"credentials", &s->credentials},
               {"tls_ca", &s->tls_ca},
               {"tls_cert", &s->tls_cert},
               {"tls_key", &s->tls_key},
               {"tls_hostname", &s->tls_hostname}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct aw_str v;
        *all[i].at = s->host->config_str(config, all[i].key, &v) == AW_OK ? strndup(v.ptr, v.len) : strdup("");
        if (*all[i].at == NULL)
            return false;
    }
    return true;
}

/* Secrets in an address would be told with it. */
static int32_t add_server(struct nats_sink *s, struct aw_str v)
{
    bool tls = v.len > 6 && memcmp(v.ptr, "tls://", 6) == 0;
    if (!tls && !(v.len > 7 && memcmp(v.ptr, "nats://", 7) == 0))
        return aw_host_error(s->host, AW_E_CONFIG,
                             "servers: item %d is not \"nats://HOST:PORT\" or \"tls://HOST:PORT\"",
                             s->server_count + 1);
    if (memchr(v.ptr, '@', v.len) != NULL)
        return bad(s,
                   "servers: no user or password in an address; there are user, password, token, nkey and credentials");
    char **more = realloc(s->servers, ((size_t)s->server_count + 1) * sizeof *more), *copy = strndup(v.ptr, v.len);
    if (more != NULL)
        s->servers = more;
    if (more == NULL || copy == NULL) {
        free(copy);
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    }
    s->servers[s->server_count++] = copy;
    s->tls = s->tls || tls;
    return AW_OK;
}

static bool good_name(const char *text, bool dots)
{
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || strchr("*>\\/", *p) != NULL || (*p == '.' && !dots))
            return false;
    return true;
}

static int32_t check_credentials(const struct nats_sink *s)
{
    int ways = (s->user[0] != '\0') + (s->token[0] != '\0') + (s->nkey[0] != '\0') + (s->credentials[0] != '\0');
    if (ways > 1)
        return bad(s, "only one of user, token, nkey and credentials can be used");
    if (s->password[0] != '\0' && s->user[0] == '\0')
        return bad(s, "password: needs user as well");
    if ((s->nkey[0] != '\0') != (s->nkey_seed[0] != '\0'))
        return bad(s, "nkey and nkey_seed: one needs the other");
    if ((s->tls_cert[0] != '\0') != (s->tls_key[0] != '\0'))
        return bad(s, "tls_cert and tls_key: one needs the other");
    return AW_OK;
}

static int32_t read_servers(struct nats_sink *s, const struct aw_config *config)
{
    struct aw_str v;
    int32_t r = AW_OK;
    for (size_t i = 0; r == AW_OK && i < 64 && s->host->config_list(config, "servers", i, &v) == AW_OK; i++)
        r = add_server(s, v);
    if (r == AW_OK && s->server_count == 0)
        r = bad(s, "servers: names none; expected ( \"nats://127.0.0.1:4222\" )");
    return r;
}

static int32_t read_settings(struct nats_sink *s, const struct aw_config *config)
{
    const struct aw_host *h = s->host;
    struct aw_str v = {"audit.{tenant}", 14};
    int32_t flag = 0, r = read_servers(s, config);
    if (r != AW_OK)
        return r;
    (void)h->config_str(config, "subject", &v);
    char *subject = strndup(v.ptr, v.len);
    if (subject == NULL || !copy_texts(s, config)) {
        free(subject);
        return aw_host_error(h, AW_E_NOMEM, "out of memory");
    }
    const char *fault = np_template_parse(&s->subject, subject);
    if (fault != NULL)
        return aw_host_error(h, AW_E_CONFIG, "subject: \"%s\" %s", subject, fault);
    if (s->stream[0] == '\0' || strlen(s->stream) > 128 || !good_name(s->stream, false))
        return bad(s, "stream: a name has 1 to 128 characters, and none of . * > / \\ or blanks");
    if (s->inbox_prefix[0] == '\0' || strlen(s->inbox_prefix) > 100 || !good_name(s->inbox_prefix, true))
        return bad(s, "inbox_prefix: expected 1 to 100 characters without * > or blanks");
    s->tls = s->tls || s->tls_ca[0] != '\0' || (h->config_bool(config, "tls", &flag) == AW_OK && flag != 0);
    s->file_storage = h->config_bool(config, "file_storage", &flag) != AW_OK || flag != 0;
    s->replicas = number(h, config, "replicas", 1);
    s->max_in_flight = (size_t)number(h, config, "max_in_flight", 1024);
    s->connect_timeout_ns = (uint64_t)number(h, config, "connect_timeout", 3000 * MS);
    s->ack_timeout_ns = (uint64_t)number(h, config, "ack_timeout", 5000 * MS);
    s->duplicate_window_ns = (uint64_t)number(h, config, "duplicate_window", 120000 * MS);
    return check_credentials(s);
}

/* Secrets do not stay in freed memory. */
static void forget(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static void close_all(struct nats_sink *s)
{
    struct np_guard guard;
    np_guard_enter(&guard);
    np_disconnect(s);
    np_watch_give(s->watch);
    np_guard_leave(&guard);
    s->watch = NULL;
}

static void destroy(void *sink)
{
    struct nats_sink *s = sink;
    if (s->nc != NULL || s->watch != NULL)
        close_all(s);
    np_free_batch(s);
    for (int i = 0; i < s->server_count; i++)
        free(s->servers[i]);
    char *const texts[] = {s->stream, s->domain,   s->inbox_prefix, s->user,         s->nkey, s->credentials,
                           s->tls_ca, s->tls_cert, s->tls_key,      s->tls_hostname, s->inbox};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(texts[i]);
    free(s->servers);
    forget(s->password);
    forget(s->token);
    forget(s->nkey_seed);
    np_template_free(&s->subject);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct nats_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    pthread_mutex_init(&s->lock, NULL);
    s->health.struct_size = sizeof s->health;
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = read_settings(s, config);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    host->metric_register(host, AW_METRIC_COUNTER, "nats_duplicates_total", "Events that the stream had already.",
                          &s->metric_duplicates);
    host->metric_register(host, AW_METRIC_COUNTER, "nats_connects_total", "Connections made.", &s->metric_connects);
    host->metric_register(host, AW_METRIC_COUNTER, "nats_late_answers_total", "Answers that nobody waited for.",
                          &s->metric_late);
    *ret_sink = s;
    return AW_OK;
}

static int32_t connect_now(struct nats_sink *s, uint64_t deadline_ns, bool probe)
{
    struct np_guard guard;
    np_guard_enter(&guard);
    int32_t r = np_connect(s, deadline_ns != 0 ? deadline_ns : UINT64_MAX, probe);
    np_guard_leave(&guard);
    return r;
}

static int32_t start(void *sink)
{
    struct nats_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: already started", s->servers[0]);
    int32_t r = connect_now(s, 0, false);
    if (r != AW_OK)
        return np_set_health(s, r, "no connection, or no stream");
    s->started = true;
    return np_set_health(s, AW_OK, "");
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct nats_sink *s = sink;
    (void)deadline_ns; /* nothing is outstanding between calls */
    if (!s->started)
        return AW_OK;
    close_all(s);
    s->started = s->warned = false;
    np_set_health(s, AW_E_UNAVAILABLE, "stopped");
    return AW_OK;
}

static int32_t reopen(void *sink)
{
    struct nats_sink *s = sink;
    if (!s->started)
        return AW_OK;
    close_all(s);
    s->warned = false;
    return connect_now(s, 0, false); /* files of certificates and credentials are read anew */
}

static int32_t after_fork(void *sink)
{
    struct nats_sink *s = sink;
    /* The library cannot be used here, nor freed: its locks and threads are the parent's. Its socket goes with exec or
     * exit; sharing it does no harm, since nobody here writes to it. */
    s->nc = NULL;
    s->sub = NULL;
    s->watch = NULL;
    s->started = false;
    pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct nats_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct nats_sink *s = sink;
    int32_t r = connect_now(s, deadline_ns, true);
    close_all(s);
    return r;
}

static const struct aw_sink_probe probe_extension = {sizeof probe_extension, 0, probe};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_PROBE) == 0 ? &probe_extension : NULL;
}

static const struct aw_sink_class nats_class = {
    .struct_size = sizeof nats_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .flags = AW_SINK_REMOTE,
    .name = "nats",
    .summary = "Publishes events to a NATS JetStream stream, confirmed one by one",
    .options = options,
    .create = create,
    .start = start,
    .write = np_write,
    .health = health,
    .reopen = reopen,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&nats_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.nats",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "NATS JetStream",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
