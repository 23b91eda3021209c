/* mongo_config.c - the options, and libmongoc's URI that is made of them. No I/O. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongo_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}
#define SECOND INT64_C(1000000000)

static const char *const mechanisms[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509", NULL};

OPTION(opt_hosts, AW_OPT_LIST, AW_OPT_REQUIRED, "hosts", NULL,
       "The server or the members of the replica set, \"host:port\".", 0, 0, NULL);
OPTION(opt_database, AW_OPT_STRING, AW_OPT_REQUIRED, "database", NULL, "The database.", 0, 0, NULL);
OPTION(opt_collection, AW_OPT_STRING, 0, "collection", "audit_events", "The collection.", 0, 0, NULL);
OPTION(opt_set, AW_OPT_STRING, 0, "replica_set", NULL, "The name of the replica set.", 0, 0, NULL);
OPTION(opt_user, AW_OPT_STRING, 0, "username", NULL, "Who to authenticate as.", 0, 0, NULL);
OPTION(opt_password, AW_OPT_SECRET, 0, "password", NULL, "The password of username.", 0, 0, NULL);
OPTION(opt_source, AW_OPT_STRING, 0, "auth_source", "admin", "The database that knows the user.", 0, 0, NULL);
OPTION(opt_mechanism, AW_OPT_ENUM, 0, "auth_mechanism", NULL, "How to authenticate; unset: what the server offers.", 0,
       0, mechanisms);
OPTION(opt_tls, AW_OPT_BOOL, 0, "tls", "false", "Encrypt the connection, and check the server's certificate and name.",
       0, 0, NULL);
OPTION(opt_ca, AW_OPT_PATH, 0, "tls_ca", NULL,
       "The authorities that the certificate must come from, as PEM; unset: the system's.", 0, 0, NULL);
OPTION(opt_cert, AW_OPT_PATH, 0, "tls_cert", NULL,
       "The certificate that this client shows, and its key, in one PEM file.", 0, 0, NULL);
OPTION(opt_cert_password, AW_OPT_SECRET, 0, "tls_cert_password", NULL, "The password of the key in tls_cert.", 0, 0,
       NULL);
OPTION(opt_timeout, AW_OPT_DURATION, 0, "timeout", "10s",
       "How long to wait for a server that can be written, for a connection, and for a reply, at most.", SECOND / 10,
       600 * SECOND, NULL);

const struct aw_option *const mg_options[] = {&opt_hosts,    &opt_database,      &opt_collection, &opt_set, &opt_user,
                                              &opt_password, &opt_source,        &opt_mechanism,  &opt_tls, &opt_ca,
                                              &opt_cert,     &opt_cert_password, &opt_timeout,    NULL};

static const char *text(const struct mongo_sink *s, const struct aw_config *c, const char *key)
{
    struct aw_str v;
    return s->host->config_str(c, key, &v) == AW_OK ? v.ptr : NULL;
}

/* Keeps a copy of an option that may be unset. */
static int32_t keep(struct mongo_sink *s, const struct aw_config *c, const char *key, char **ret)
{
    const char *v = text(s, c, key);
    if (v != NULL && (*ret = strdup(v)) == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    return AW_OK;
}

static int32_t read_hosts(struct mongo_sink *s, const struct aw_config *config)
{
    struct aw_str one;
    size_t used = 0;
    for (size_t i = 0; s->host->config_list(config, "hosts", i, &one) == AW_OK; i++) {
        if (one.len == 0 || memchr(one.ptr, '\0', one.len) != NULL || strpbrk(one.ptr, " \t\r\n@/?&,%") != NULL)
            return aw_host_error(s->host, AW_E_CONFIG, "hosts: item %zu is not like \"mongo1.example.org:27017\"",
                                 i + 1);
        char *grown = realloc(s->hosts, used + one.len + 2);
        if (grown == NULL)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        s->hosts = grown;
        if (used > 0)
            grown[used++] = ',';
        memcpy(grown + used, one.ptr, one.len + 1);
        used += one.len;
    }
    return used > 0 ? AW_OK
                    : aw_host_error(s->host, AW_E_CONFIG, "hosts: names none, e.g. [ \"mongo1.example.org:27017\" ]");
}

static int32_t check(struct mongo_sink *s, const struct aw_config *c)
{
    static const char *const of_tls[] = {"tls_ca", "tls_cert", "tls_cert_password"};
    const char *mechanism = text(s, c, "auth_mechanism");
    bool x509 = mechanism != NULL && strcmp(mechanism, "MONGODB-X509") == 0;
    for (size_t i = 0; !s->use_tls && i < sizeof of_tls / sizeof of_tls[0]; i++)
        if (text(s, c, of_tls[i]) != NULL)
            return aw_host_error(s->host, AW_E_CONFIG, "%s: needs tls = true; as it is nothing is encrypted",
                                 of_tls[i]);
    if (x509 && s->tls_cert == NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "auth_mechanism: MONGODB-X509 needs tls = true and tls_cert");
    if (!x509 && (text(s, c, "username") == NULL) != (s->secrets[0] == NULL))
        return aw_host_error(s->host, AW_E_CONFIG, "username and password: one is of no use without the other");
    if (mechanism != NULL && !x509 && s->secrets[0] == NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "auth_mechanism: %s needs username and password", mechanism);
    if (s->database == NULL || *s->database == '\0' || strlen(s->database) > 63 ||
        strpbrk(s->database, "/\\. \"$*<>:|?") != NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "database: takes 1 to 63 characters, none of /\\. \"$*<>:|?");
    if (*s->collection == '\0' || strchr(s->collection, '$') != NULL || strncmp(s->collection, "system.", 7) == 0 ||
        *s->collection == '.' || strlen(s->collection) > 120)
        return aw_host_error(
            s->host, AW_E_CONFIG,
            "collection: takes 1 to 120 characters, no $, and does not begin with a dot or \"system.\"");
    return AW_OK;
}

static int32_t make_uri(struct mongo_sink *s, const struct aw_config *c)
{
    bson_error_t e;
    size_t size = strlen(s->hosts) + 32;
    char *plain = malloc(size);
    if (plain == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    snprintf(plain, size, "mongodb://%s/", s->hosts);
    s->uri = mongoc_uri_new_with_error(plain, &e);
    free(plain);
    if (s->uri == NULL)
        return aw_host_error(s->host, AW_E_CONFIG, "hosts: %s", e.message);
    const char *set = text(s, c, "replica_set"), *user = text(s, c, "username"),
               *mechanism = text(s, c, "auth_mechanism");
    bool ok = mongoc_uri_set_database(s->uri, s->database) && mongoc_uri_set_appname(s->uri, "auditwell") &&
              mongoc_uri_set_option_as_bool(s->uri, MONGOC_URI_RETRYWRITES, true) &&
              (set == NULL || mongoc_uri_set_option_as_utf8(s->uri, MONGOC_URI_REPLICASET, set)) &&
              (!s->use_tls || mongoc_uri_set_option_as_bool(s->uri, MONGOC_URI_TLS, true)) &&
              (mechanism == NULL || mongoc_uri_set_auth_mechanism(s->uri, mechanism)) &&
              (user == NULL || mongoc_uri_set_username(s->uri, user)) &&
              (s->secrets[0] == NULL || mongoc_uri_set_password(s->uri, s->secrets[0]));
    bool x509 = mechanism != NULL && strcmp(mechanism, "MONGODB-X509") == 0;
    if (ok && (user != NULL || x509))
        ok = mongoc_uri_set_auth_source(s->uri, x509 ? "$external" : text(s, c, "auth_source"));
    return ok ? AW_OK : aw_host_error(s->host, AW_E_CONFIG, "libmongoc does not take these settings");
}

int32_t mg_read_settings(struct mongo_sink *s, const struct aw_config *c)
{
    int64_t timeout = 10 * SECOND;
    int32_t tls = 0;
    const struct {
        const char *key;
        char **at;
    } kept[] = {{"password", &s->secrets[0]}, {"tls_cert_password", &s->secrets[1]},
                {"database", &s->database},   {"collection", &s->collection},
                {"tls_ca", &s->tls_ca},       {"tls_cert", &s->tls_cert}};
    int32_t r = AW_OK;
    for (size_t i = 0; r == AW_OK && i < sizeof kept / sizeof kept[0]; i++)
        r = keep(s, c, kept[i].key, kept[i].at);
    if (r != AW_OK)
        return r;
    (void)s->host->config_int(c, "timeout", &timeout);
    s->timeout_ns = (uint64_t)timeout;
    s->use_tls = s->host->config_bool(c, "tls", &tls) == AW_OK && tls != 0;
    s->tls = (mongoc_ssl_opt_t){.pem_file = s->tls_cert, .pem_pwd = s->secrets[1], .ca_file = s->tls_ca};
    r = check(s, c);
    if (r == AW_OK)
        r = read_hosts(s, c);
    return r == AW_OK ? make_uri(s, c) : r;
}

void mg_free_settings(struct mongo_sink *s)
{
    if (s->uri != NULL)
        mongoc_uri_destroy(s->uri);
    for (size_t i = 0; i < sizeof s->secrets / sizeof s->secrets[0]; i++) {
        if (s->secrets[i] != NULL)
            explicit_bzero(s->secrets[i], strlen(s->secrets[i]));
        free(s->secrets[i]);
    }
    free(s->hosts);
    free(s->database);
    free(s->collection);
    free(s->tls_ca);
    free(s->tls_cert);
}
