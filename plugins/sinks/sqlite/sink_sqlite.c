/* sink_sqlite.c - the sqlite sink: class, options and life of an instance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}

static const char *const sync_choices[] = {"full", "normal", NULL};

OPTION(opt_path, AW_OPT_PATH, AW_OPT_REQUIRED | AW_OPT_PER_SLOT, "path", NULL,
       "The database file; PATH-wal and PATH-shm stand next to it.", 0, 0, NULL);
OPTION(opt_mode, AW_OPT_STRING, 0, "mode", "0640", "Permissions of a database that the sink creates, in octal.", 0, 0,
       NULL);
OPTION(opt_sync, AW_OPT_ENUM, 0, "synchronous", "full",
       "full: each batch is on disk when it is reported; normal: with the host's flush.", 0, 0, sync_choices);
OPTION(opt_busy, AW_OPT_DURATION, 0, "busy_timeout", "5s",
       "How long to wait for another writer before the host is asked to retry.", 0, INT64_C(600) * 1000000000, NULL);
OPTION(opt_wal, AW_OPT_SIZE, 0, "wal_size", "64MiB",
       "The write-ahead log is copied into the database when it is this large.", 64 << 10, INT64_C(4) << 30, NULL);
OPTION(opt_cache, AW_OPT_SIZE, 0, "cache_size", "16MiB", "Memory for pages of the database.", 256 << 10,
       INT64_C(4) << 30, NULL);
OPTION(opt_page, AW_OPT_SIZE, 0, "page_size", "8KiB", "Page size of a new database, a power of two.", 512, 65536, NULL);
OPTION(opt_indexes, AW_OPT_BOOL, 0, "indexes", "true", "Keep indexes for queries by time, by tenant and by actor.", 0,
       0, NULL);

OPTION(opt_vacuum, AW_OPT_BOOL, 0, "incremental_vacuum", "false",
       "A new database gives space back to the file system after a retention.", 0, 0, NULL);

static const struct aw_option *const options[] = {&opt_path,  &opt_mode, &opt_sync,    &opt_busy,   &opt_wal,
                                                  &opt_cache, &opt_page, &opt_indexes, &opt_vacuum, NULL};

static int32_t text(const struct aw_host *h, const struct aw_config *c, const char *key, const char **ret)
{
    struct aw_str s;
    int32_t r = h->config_str(c, key, &s);
    *ret = r == AW_OK ? s.ptr : "";
    return r;
}

static int64_t number(const struct aw_host *h, const struct aw_config *c, const char *key, int64_t otherwise)
{
    int64_t v;
    return h->config_int(c, key, &v) == AW_OK ? v : otherwise;
}

static int32_t read_settings(struct sqlite_sink *s, const struct aw_config *config)
{
    const char *path, *mode, *sync;
    char *end;
    int32_t indexes = 1, vacuum = 0;
    if (text(s->host, config, "path", &path) != AW_OK || *path == '\0' || path[strlen(path) - 1] == '/')
        return aw_host_error(s->host, AW_E_CONFIG, "path: names no file");
    if ((s->path = strdup(path)) == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    s->mode = 0640;
    if (text(s->host, config, "mode", &mode) == AW_OK) {
        unsigned long v = strtoul(mode, &end, 8);
        if (*mode < '0' || *mode > '7' || *end != '\0' || v > 0777 || (v & 0600) != 0600)
            return aw_host_error(s->host, AW_E_CONFIG,
                                 "mode: \"%s\" is not an octal mode like \"0640\" that lets the owner read and write",
                                 mode);
        s->mode = (mode_t)v;
    }
    text(s->host, config, "synchronous", &sync);
    s->full = strcmp(sync, "normal") != 0;
    s->busy_timeout_ns = (uint64_t)number(s->host, config, "busy_timeout", INT64_C(5000000000));
    s->wal_size = number(s->host, config, "wal_size", 64 << 20);
    s->cache_size = number(s->host, config, "cache_size", 16 << 20);
    s->page_size = number(s->host, config, "page_size", 8192);
    if ((s->page_size & (s->page_size - 1)) != 0)
        return aw_host_error(s->host, AW_E_CONFIG, "page_size: %lld is not a power of two", (long long)s->page_size);
    s->indexes = s->host->config_bool(config, "indexes", &indexes) != AW_OK || indexes != 0;
    s->vacuum = s->host->config_bool(config, "incremental_vacuum", &vacuum) == AW_OK && vacuum != 0;
    return AW_OK;
}

static void destroy(void *sink)
{
    struct sqlite_sink *s = sink;
    sq_close(s);
    sq_forget_tokens(s);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct sqlite_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    pthread_mutex_init(&s->lock, NULL);
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = read_settings(s, config);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    host->metric_register(host, AW_METRIC_COUNTER, "sqlite_duplicates_total", "Events whose id was stored already.",
                          &s->metric_duplicates);
    host->metric_register(host, AW_METRIC_COUNTER, "sqlite_transactions_total", "Transactions committed.",
                          &s->metric_transactions);
    *ret_sink = s;
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct sqlite_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "start: already started");
    s->deadline_ns = 0;
    s->stored_seq = s->flushed_seq = 0;
    int32_t r = sq_open(s);
    if (r != AW_OK)
        return r;
    s->started = true;
    return sq_set_health(s, AW_OK, "");
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct sqlite_sink *s = sink;
    uint64_t seq;
    if (!s->started)
        return AW_OK;
    int32_t r = sq_flush(s, deadline_ns, &seq);
    sq_close(s); /* the last connection copies the log into the database and removes it */
    s->started = false;
    return r;
}

static int32_t reopen(void *sink)
{
    struct sqlite_sink *s = sink;
    if (!s->started)
        return AW_OK;
    s->deadline_ns = 0;
    sq_close(s);
    return sq_open(s);
}

static int32_t after_fork(void *sink)
{
    struct sqlite_sink *s = sink;
    /* SQLite forbids any use of a connection over a fork, closing included: it is left to the end of the process. */
    s->db = NULL;
    s->insert = s->find = s->stage = s->move = s->drop = NULL;
    s->started = false;
    pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct sqlite_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static const struct aw_sink_position position = {sizeof position, 0, sq_position};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    if (strcmp(id, AW_EXT_SINK_POSITION) == 0)
        return &position;
    if (strcmp(id, AW_EXT_SINK_TRANSACTION) == 0)
        return &sq_transaction;
    if (strcmp(id, AW_EXT_SINK_PROBE) == 0)
        return &sq_probe;
    if (strcmp(id, AW_EXT_SINK_MIGRATE) == 0)
        return &sq_migrate_extension;
    if (strcmp(id, AW_EXT_SINK_RETENTION) == 0)
        return &sq_retention;
    return strcmp(id, AW_EXT_SINK_QUERY) == 0 ? &sq_query : NULL;
}

static const struct aw_sink_class sqlite_class = {
    .struct_size = sizeof sqlite_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .name = "sqlite",
    .summary = "Stores events in an SQLite database, one row each, without duplicates",
    .options = options,
    .create = create,
    .start = start,
    .write = sq_write,
    .flush = sq_flush,
    .health = health,
    .reopen = reopen,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&sqlite_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.sqlite",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "SQLite databases",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
