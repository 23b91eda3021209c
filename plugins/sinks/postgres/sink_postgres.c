/* sink_postgres.c - the postgres sink: class and life of an instance. SPDX-License-Identifier: Apache-2.0
 *
 * There is no position extension: the role that writes may not read, several processes write to one table, and event
 * ids tell what is there already.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pg_sink.h"

static void destroy(void *sink)
{
    struct pg_sink *s = sink;
    pg_close(&s->conn);
    pg_forget_tokens(s);
    pthread_mutex_destroy(&s->lock);
    pg_free_settings(&s->set);
    free(s->buf.p);
    free(s);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct pg_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    pg_conn_init(&s->conn, host, &s->set);
    pthread_mutex_init(&s->lock, NULL);
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = pg_read_settings(host, config, &s->set);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    host->metric_register(host, AW_METRIC_COUNTER, "postgres_duplicates_total", "Events whose id was stored already.",
                          &s->metric_duplicates);
    host->metric_register(host, AW_METRIC_COUNTER, "postgres_transactions_total", "Transactions committed.",
                          &s->metric_transactions);
    host->metric_register(host, AW_METRIC_COUNTER, "postgres_connects_total", "Connections made.", &s->metric_connects);
    *ret_sink = s;
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct pg_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "start: already started");
    s->stored_seq = 0;
    s->expect_duplicates = false;
    int32_t r = pg_ready(s, 0);
    s->started = r == AW_OK;
    return pg_set_health(s, r);
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct pg_sink *s = sink;
    (void)deadline_ns; /* nothing is pending, and closing waits for nobody */
    pg_close(&s->conn);
    s->started = false;
    return AW_OK;
}

/* New credentials, or a host that was moved: the old connection would go on as if nothing had changed. */
static int32_t reopen(void *sink)
{
    struct pg_sink *s = sink;
    if (!s->started)
        return AW_OK;
    pg_close(&s->conn);
    return pg_set_health(s, pg_ready(s, 0));
}

static int32_t after_fork(void *sink)
{
    struct pg_sink *s = sink;
    /* The descriptor only: PQfinish() would tell the server that the parent's session ends. libpq's memory is left. */
    int fd = atomic_load(&s->conn.fd);
    if (fd >= 0)
        close(fd);
    atomic_store(&s->conn.fd, -1);
    s->conn.pg = NULL;
    s->started = false;
    pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct pg_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static const void *extension(void *sink, const char *id)
{
    static const struct {
        const char *id;
        const void *table;
    } all[] = {
        {AW_EXT_SINK_QUERY, &pg_query},     {AW_EXT_SINK_TRANSACTION, &pg_transaction}, {AW_EXT_SINK_PROBE, &pg_probe},
        {AW_EXT_SINK_MIGRATE, &pg_migrate}, {AW_EXT_SINK_RETENTION, &pg_retention},
    };
    (void)sink;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(id, all[i].id) == 0)
            return all[i].table;
    return NULL;
}

static const struct aw_sink_class postgres_class = {
    .struct_size = sizeof postgres_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .flags = AW_SINK_REMOTE,
    .name = "postgres",
    .summary = "Stores events in a table of PostgreSQL, one row each, without duplicates",
    .options = pg_options,
    .create = create,
    .start = start,
    .write = pg_write,
    .flush = pg_flush,
    .health = health,
    .reopen = reopen,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&postgres_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.postgres",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "PostgreSQL databases",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
