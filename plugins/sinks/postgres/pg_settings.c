/* pg_settings.c - the options, and what libpq is told of them. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pg_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}
#define SECOND INT64_C(1000000000)

static const char *const tls_choices[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL};
static const char *const partition_choices[] = {"none", "monthly", NULL};
static const char *const commit_choices[] = {"on", "remote_apply", "remote_write", "local", NULL};

OPTION(opt_host, AW_OPT_STRING, 0, "host", NULL,
       "Server, or a comma-separated list of servers to fail over between; a directory is a Unix socket.", 0, 0, NULL);
OPTION(opt_port, AW_OPT_STRING, 0, "port", NULL, "Port, or one for each host (default 5432).", 0, 0, NULL);
OPTION(opt_dbname, AW_OPT_STRING, 0, "dbname", NULL, "Database.", 0, 0, NULL);
OPTION(opt_user, AW_OPT_STRING, 0, "user", NULL, "Role to connect as; INSERT rights are enough to write.", 0, 0, NULL);
OPTION(opt_password, AW_OPT_SECRET, 0, "password", NULL, "Password, as file:PATH or env:NAME.", 0, 0, NULL);
OPTION(opt_passfile, AW_OPT_PATH, 0, "passfile", NULL, "Password file of libpq, read at each connect.", 0, 0, NULL);
OPTION(opt_service, AW_OPT_STRING, 0, "service", NULL, "Section of pg_service.conf with further parameters.", 0, 0,
       NULL);
OPTION(opt_sslmode, AW_OPT_ENUM, 0, "sslmode", NULL,
       "TLS; verify-full unless all hosts are sockets or loopback addresses.", 0, 0, tls_choices);
OPTION(opt_rootcert, AW_OPT_PATH, 0, "sslrootcert", NULL,
       "Certificates of the authorities that the server's is checked by.", 0, 0, NULL);
OPTION(opt_cert, AW_OPT_PATH, 0, "sslcert", NULL, "Client certificate.", 0, 0, NULL);
OPTION(opt_key, AW_OPT_PATH, 0, "sslkey", NULL, "Private key of the client certificate.", 0, 0, NULL);
OPTION(opt_app, AW_OPT_STRING, 0, "application_name", "auditwell", "How the server lists the connection.", 0, 0, NULL);
OPTION(opt_schema, AW_OPT_STRING, 0, "schema", "public", "Schema of the table.", 0, 0, NULL);
OPTION(opt_table, AW_OPT_STRING, 0, "table", "audit_events", "The table; staged events wait in TABLE_staged.", 0, 0,
       NULL);
OPTION(opt_partition, AW_OPT_ENUM, 0, "partition", "none",
       "What `auditwell migrate` makes: one table, or one with a partition for each month.", 0, 0, partition_choices);
OPTION(opt_ahead, AW_OPT_UINT, 0, "partitions_ahead", "3", "Months after this one that migrate makes partitions for.",
       0, 120, NULL);
OPTION(opt_indexes, AW_OPT_BOOL, 0, "indexes", "true", "Make indexes for queries by tenant and by actor.", 0, 0, NULL);
OPTION(opt_commit, AW_OPT_ENUM, 0, "synchronous_commit", "on",
       "How far a commit must have got with the standbys; the server's own disk is always waited for.", 0, 0,
       commit_choices);
OPTION(opt_connect, AW_OPT_DURATION, 0, "connect_timeout", "10s", "For one attempt to connect, all hosts together.",
       100 * 1000000, 600 * SECOND, NULL);
OPTION(opt_statement, AW_OPT_DURATION, 0, "statement_timeout", "30s",
       "After which the server gives up a statement; 0: never.", 0, 86400 * SECOND, NULL);
OPTION(opt_lock, AW_OPT_DURATION, 0, "lock_timeout", "10s",
       "After which the server gives up waiting for a lock; 0: never.", 0, 86400 * SECOND, NULL);
OPTION(opt_tcp, AW_OPT_DURATION, 0, "tcp_user_timeout", "30s",
       "After which a peer that answers nothing is given up by the kernel.", SECOND, 86400 * SECOND, NULL);
OPTION(opt_grant_write, AW_OPT_STRING, 0, "grant_write", NULL, "Role that migrate grants what writing needs.", 0, 0,
       NULL);
OPTION(opt_grant_read, AW_OPT_STRING, 0, "grant_read", NULL, "Role that migrate grants what reading needs.", 0, 0,
       NULL);

const struct aw_option *const pg_options[] = {
    &opt_host,      &opt_port,        &opt_dbname,     &opt_user,   &opt_password, &opt_passfile,  &opt_service,
    &opt_sslmode,   &opt_rootcert,    &opt_cert,       &opt_key,    &opt_app,      &opt_schema,    &opt_table,
    &opt_partition, &opt_ahead,       &opt_indexes,    &opt_commit, &opt_connect,  &opt_statement, &opt_lock,
    &opt_tcp,       &opt_grant_write, &opt_grant_read, NULL};

size_t pg_quote(const char *name, char *out)
{
    size_t n = 0;
    out[n++] = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"')
            out[n++] = '"';
        out[n++] = *name;
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

static bool host_is_local(const char *host, size_t n)
{
    if (n == 0 || host[0] == '/' || host[0] == '@')
        return true;
    return (n == 9 && strncasecmp(host, "localhost", n) == 0) || (n == 3 && memcmp(host, "::1", 3) == 0) ||
           (n >= 8 && memcmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") >= n);
}

bool pg_hosts_are_local(const char *list)
{
    while (list != NULL) {
        size_t n = strcspn(list, ",");
        if (!host_is_local(list, n))
            return false;
        list = list[n] == ',' ? list + n + 1 : NULL;
    }
    return true;
}

const char *pg_setting(const struct pg_settings *set, const char *key)
{
    for (size_t i = 0; i < set->params; i++)
        if (strcmp(set->keys[i], key) == 0)
            return set->values[i];
    return NULL;
}

static int32_t add(const struct aw_host *h, struct pg_settings *set, const char *key, const char *value)
{
    char *copy = set->params < PG_PARAMS_MAX ? strdup(value) : NULL;
    if (copy == NULL)
        return aw_host_error(h, AW_E_NOMEM, "out of memory");
    set->keys[set->params] = key;
    set->values[set->params++] = copy;
    return AW_OK;
}

/* An option that is libpq's parameter of the same name. */
static int32_t pass_on(const struct aw_host *h, const struct aw_config *c, struct pg_settings *set, const char *key)
{
    struct aw_str s;
    if (h->config_str(c, key, &s) != AW_OK || s.len == 0)
        return AW_OK;
    if (memchr(s.ptr, '\0', s.len) != NULL)
        return aw_host_error(h, AW_E_CONFIG, "%s: contains a NUL byte", key);
    return add(h, set, key, s.ptr);
}

static int32_t read_name(const struct aw_host *h, const struct aw_config *c, const char *key, size_t max, char *out)
{
    struct aw_str s;
    out[0] = '\0';
    if (h->config_str(c, key, &s) != AW_OK)
        return AW_OK;
    if (s.len == 0 || s.len > max || memchr(s.ptr, '\0', s.len) != NULL)
        return aw_host_error(h, AW_E_CONFIG, "%s: must have 1 to %zu bytes", key, max);
    memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return AW_OK;
}

static uint64_t duration(const struct aw_host *h, const struct aw_config *c, const char *key, uint64_t otherwise)
{
    int64_t v;
    return h->config_int(c, key, &v) == AW_OK && v >= 0 ? (uint64_t)v : otherwise;
}

static int32_t read_table(const struct aw_host *h, const struct aw_config *c, struct pg_settings *set)
{
    char schema[PG_QUOTED_MAX], table[PG_QUOTED_MAX], staged[PG_NAME_MAX + 1];
    int32_t r = read_name(h, c, "schema", PG_NAME_MAX, set->schema);
    /* Names made of it, "_staged" and "_2026_01", must still fit. */
    if (r == AW_OK)
        r = read_name(h, c, "table", PG_NAME_MAX - 15, set->table);
    if (r == AW_OK)
        r = read_name(h, c, "grant_write", PG_NAME_MAX, set->grant_write);
    if (r == AW_OK)
        r = read_name(h, c, "grant_read", PG_NAME_MAX, set->grant_read);
    if (r != AW_OK)
        return r;
    pg_quote(set->schema, schema);
    pg_quote(set->table, table);
    snprintf(set->full, sizeof set->full, "%s.%s", schema, table);
    snprintf(staged, sizeof staged, "%.48s_staged", set->table);
    pg_quote(staged, table);
    snprintf(set->staged, sizeof set->staged, "%s.%s", schema, table);
    snprintf(set->place, sizeof set->place, "%s.%s", set->schema, set->table);
    return AW_OK;
}

/* Where events leave the machine, the server must show who it is, unless audit.conf says otherwise. */
static int32_t decide_tls(const struct aw_host *h, struct pg_settings *set)
{
    const char *host = pg_setting(set, "host"), *mode = pg_setting(set, "sslmode");
    if (mode != NULL) {
        set->tls_decided = true;
        if (strncmp(mode, "verify", 6) != 0 && pg_setting(set, "sslrootcert") != NULL)
            return aw_host_error(h, AW_E_CONFIG,
                                 "sslrootcert is set, but sslmode = \"%s\" does not check the server by it: use "
                                 "verify-full",
                                 mode);
        return AW_OK;
    }
    if (host == NULL) /* a service or the environment may name one: looked at when connecting */
        return AW_OK;
    set->tls_decided = true;
    return add(h, set, "sslmode", pg_hosts_are_local(host) ? "prefer" : "verify-full");
}

int32_t pg_read_settings(const struct aw_host *h, const struct aw_config *c, struct pg_settings *set)
{
    static const char *const passed[] = {"host",        "port",     "dbname",  "user",
                                         "password",    "passfile", "service", "sslmode",
                                         "sslrootcert", "sslcert",  "sslkey",  "application_name"};
    struct aw_str s;
    char tcp[32];
    int32_t r = AW_OK, flag;
    for (size_t i = 0; r == AW_OK && i < sizeof passed / sizeof passed[0]; i++)
        r = pass_on(h, c, set, passed[i]);
    if (r == AW_OK)
        r = read_table(h, c, set);
    if (r == AW_OK && (pg_setting(set, "sslcert") == NULL) != (pg_setting(set, "sslkey") == NULL))
        r = aw_host_error(h, AW_E_CONFIG, "sslcert and sslkey belong together: set both, or neither");
    if (r == AW_OK && pg_setting(set, "password") != NULL && pg_setting(set, "passfile") != NULL)
        r = aw_host_error(h, AW_E_CONFIG, "password and passfile are both set: the file would never be read");
    if (r == AW_OK)
        r = decide_tls(h, set);
    snprintf(tcp, sizeof tcp, "%llu",
             (unsigned long long)(duration(h, c, "tcp_user_timeout", 30u * UINT64_C(1000000000)) / 1000000u));
    if (r == AW_OK)
        r = add(h, set, "tcp_user_timeout", tcp);
    set->partition = h->config_str(c, "partition", &s) == AW_OK && strcmp(s.ptr, "monthly") == 0 ? PG_PARTITION_MONTHLY
                                                                                                 : PG_PARTITION_NONE;
    set->ahead = (unsigned)duration(h, c, "partitions_ahead", 3);
    set->indexes = h->config_bool(c, "indexes", &flag) != AW_OK || flag != 0;
    snprintf(set->synchronous_commit, sizeof set->synchronous_commit, "%s",
             h->config_str(c, "synchronous_commit", &s) == AW_OK ? s.ptr : "on");
    set->connect_timeout_ns = duration(h, c, "connect_timeout", 10u * UINT64_C(1000000000));
    set->statement_timeout_ns = duration(h, c, "statement_timeout", 30u * UINT64_C(1000000000));
    set->lock_timeout_ns = duration(h, c, "lock_timeout", 10u * UINT64_C(1000000000));
    return r;
}

void pg_free_settings(struct pg_settings *set)
{
    for (size_t i = 0; i < set->params; i++) {
        if (strcmp(set->keys[i], "password") == 0)
            explicit_bzero(set->values[i], strlen(set->values[i]));
        free(set->values[i]);
    }
    set->params = 0;
}
