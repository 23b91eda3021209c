/* sink_file.c - the file sink: class, options and life of an instance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}

static const char *const fsync_choices[] = {"never", "batch", "always", NULL};
static const char *const compress_choices[] = {"none", "zstd", NULL};

OPTION(opt_path, AW_OPT_PATH, AW_OPT_REQUIRED | AW_OPT_PER_SLOT, "path", NULL,
       "The file that events are appended to; archives are made next to it.", 0, 0, NULL);
OPTION(opt_mode, AW_OPT_STRING, 0, "mode", "0640", "Permissions of files that the sink creates, in octal.", 0, 0, NULL);
OPTION(opt_owner, AW_OPT_STRING, 0, "owner", NULL,
       "Owner of files that the sink creates: \"user\", \"user:group\" or \":group\", names or numbers.", 0, 0, NULL);
OPTION(
    opt_fsync, AW_OPT_ENUM, AW_OPT_RELOADABLE, "fsync", "batch",
    "When fdatasync is called: never, once for each flush of the host (batch), or before each write returns (always).",
    0, 0, fsync_choices);
OPTION(opt_rotate_size, AW_OPT_SIZE, AW_OPT_RELOADABLE, "rotate_size", "100MiB",
       "The file is rotated before it grows beyond this; 0 = never.", 0, INT64_C(1) << 50, NULL);
OPTION(opt_rotate_interval, AW_OPT_DURATION, AW_OPT_RELOADABLE, "rotate_interval", "0",
       "The file is rotated at each multiple of this since 1970-01-01T00:00Z; 0 = never.", 0,
       INT64_C(400) * 86400 * 1000000000, NULL);
OPTION(opt_compress, AW_OPT_ENUM, 0, "compress", "none", "How closed files are compressed: none or zstd.", 0, 0,
       compress_choices);
OPTION(opt_compress_level, AW_OPT_INT, 0, "compress_level", "3", "Level of zstd.", 1, 19, NULL);
OPTION(opt_buffer, AW_OPT_SIZE, 0, "buffer_size", "1MiB",
       "Events are gathered up to this many bytes for one write; grows for a larger event.", 4096, 64 << 20, NULL);

static const struct aw_option *const options[] = {
    &opt_path,     &opt_mode,           &opt_owner,  &opt_fsync, &opt_rotate_size, &opt_rotate_interval,
    &opt_compress, &opt_compress_level, &opt_buffer, NULL};

/* ---- settings ---- */

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

static int32_t read_mode(struct file_sink *s, const struct aw_config *config)
{
    const char *mode;
    char *end;
    s->mode = 0640;
    if (text(s->host, config, "mode", &mode) != AW_OK)
        return AW_OK;
    unsigned long v = strtoul(mode, &end, 8);
    if (*mode < '0' || *mode > '7' || *end != '\0' || v > 0777 || (v & 0600) != 0600)
        return aw_host_error(s->host, AW_E_CONFIG,
                             "mode: \"%s\" is not an octal mode like \"0640\" that lets the owner read and write",
                             mode);
    s->mode = (mode_t)v;
    return AW_OK;
}

/* What may change while the sink runs. */
static void read_reloadable(struct file_sink *s, const struct aw_config *config)
{
    const char *fsync_when;
    text(s->host, config, "fsync", &fsync_when);
    s->fsync = strcmp(fsync_when, "never") == 0    ? SF_FSYNC_NEVER
               : strcmp(fsync_when, "always") == 0 ? SF_FSYNC_ALWAYS
                                                   : SF_FSYNC_BATCH;
    s->rotate_size = (uint64_t)number(s->host, config, "rotate_size", 100 << 20);
    s->rotate_interval = (uint64_t)number(s->host, config, "rotate_interval", 0);
}

static int32_t read_settings(struct file_sink *s, const struct aw_config *config)
{
    const char *path, *owner, *compress;
    int32_t r = read_mode(s, config);
    if (r != AW_OK)
        return r;
    if (text(s->host, config, "path", &path) != AW_OK || *path == '\0')
        return aw_host_error(s->host, AW_E_CONFIG, "path: names no file");
    int e = sf_path_init(&s->at, path);
    if (e == -EINVAL)
        return aw_host_error(s->host, AW_E_CONFIG, "path: \"%s\" names no file", path);
    if (e < 0)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    if (text(s->host, config, "owner", &owner) == AW_OK && *owner != '\0' && (s->owner = strdup(owner)) == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    text(s->host, config, "compress", &compress);
    s->compress = strcmp(compress, "zstd") == 0;
#ifndef HAVE_ZSTD
    if (s->compress)
        return aw_host_error(s->host, AW_E_CONFIG,
                             "compress: this build has no zstd (configure found no libzstd): use \"none\"");
#endif
    s->compress_level = (int)number(s->host, config, "compress_level", 3);
    s->buffer_size = (size_t)number(s->host, config, "buffer_size", 1 << 20);
    read_reloadable(s, config);
    return AW_OK;
}

/* ---- life ---- */

static void destroy(void *sink)
{
    struct file_sink *s = sink;
    sf_compress_stop(s);
    if (s->fd >= 0)
        close(s->fd);
    pthread_cond_destroy(&s->compress_wake);
    pthread_mutex_destroy(&s->lock);
    sf_path_fini(&s->at);
    sf_forget_tokens(s);
    free(s->owner);
    free(s->buffer);
    free(s);
}

static void register_metrics(struct file_sink *s)
{
    const struct aw_host *h = s->host;
    h->metric_register(h, AW_METRIC_COUNTER, "file_rotations_total", "Files rotated.", &s->metric_rotations);
    h->metric_register(h, AW_METRIC_COUNTER, "file_reopens_total",
                       "Times the file was found moved, deleted or replaced.", &s->metric_reopens);
    h->metric_register(h, AW_METRIC_COUNTER, "file_torn_bytes_total", "Bytes of torn or damaged lines set aside.",
                       &s->metric_torn);
    h->metric_register(h, AW_METRIC_COUNTER, "file_compressed_total", "Closed files compressed.",
                       &s->metric_compressed);
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct file_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->compress_wake, NULL);
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = read_settings(s, config);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    register_metrics(s);
    *ret_sink = s;
    return AW_OK;
}

/* The name that the next archive must sort behind. */
static int32_t find_newest(struct file_sink *s)
{
    struct sf_list list;
    int r = sf_list_load(s->at.dir, &s->at, &list);
    s->stamp[0] = '\0';
    s->counter = 0;
    if (r == -ENOENT)
        return AW_OK; /* the directory is made when the file is opened */
    if (r < 0)
        return sf_fail(s, -r, "cannot list archives", s->at.dir);
    for (size_t i = list.count; i-- > 0;)
        if (list.entries[i].archive && sf_archive_parse(&s->at, list.entries[i].name, s->stamp, &s->counter))
            break;
    sf_list_fini(&list);
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct file_sink *s = sink;
    int32_t r;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "start: already started");
    free(s->buffer);
    s->buffer_cap = s->buffer_size;
    s->buffer = malloc(s->buffer_cap);
    s->buffered = 0;
    s->stored_seq = s->flushed_seq = s->archived_seq = s->skip_lo = s->skip_hi = 0;
    s->lost_pending = false;
    s->rotate_retry = 0;
    if (s->buffer == NULL)
        return sf_fail(s, ENOMEM, "no memory for the buffer", s->at.path);
    if ((r = find_newest(s)) != AW_OK || (r = sf_open(s)) != AW_OK)
        return r;
    int e = sf_removing_finish(s);
    if (e < 0)
        aw_host_log(s->host, AW_LOG_WARNING, "%s" SF_REMOVING ": what it lists cannot be removed: %s", s->at.path,
                    strerror(-e));
    e = sf_compress_start(s);
    if (e < 0) {
        r = sf_fail(s, -e, "cannot start the compressing thread", s->at.path);
        sf_close(s, true);
        return r;
    }
    s->started = true;
    return sf_set_health(s, AW_OK, "");
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct file_sink *s = sink;
    int32_t r;
    (void)deadline_ns; /* compressing is given up at once and goes on at the next start */
    sf_compress_stop(s);
    if (!s->started)
        return AW_OK;
    r = sf_close(s, false);
    if (r == AW_OK && s->lost_pending)
        r = aw_host_error(s->host, AW_E_RETRY, "%s: accepted events did not reach the disk", s->at.path);
    s->started = false;
    free(s->buffer);
    s->buffer = NULL;
    return r;
}

static int32_t reopen(void *sink)
{
    struct file_sink *s = sink;
    if (!s->started)
        return AW_OK;
    sf_close(s, false); /* what it could not sync makes the next flush fail */
    return sf_open(s);
}

static int32_t reconfigure(void *sink, const struct aw_config *config)
{
    struct file_sink *s = sink;
    uint64_t interval = s->rotate_interval;
    read_reloadable(s, config);
    if (s->rotate_interval != interval)
        s->period_end = s->rotate_interval == 0 ? 0 : (s->host->now_ns() / s->rotate_interval + 1) * s->rotate_interval;
    return AW_OK;
}

static int32_t after_fork(void *sink)
{
    struct file_sink *s = sink;
    if (s->fd >= 0)
        close(s->fd); /* the parent's lock stays: it belongs to the open file, not to this descriptor */
    s->fd = -1;
    s->started = false;
    s->compress_running = false; /* the thread is the parent's */
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->compress_wake, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct file_sink *s = sink;
    uint32_t size = ret->struct_size;
    pthread_mutex_lock(&s->lock);
    s->health.struct_size = (uint32_t)sizeof s->health;
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static const struct aw_sink_position position = {sizeof position, 0, sf_position};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    if (strcmp(id, AW_EXT_SINK_POSITION) == 0)
        return &position;
    if (strcmp(id, AW_EXT_SINK_TRANSACTION) == 0)
        return &sf_transaction;
    if (strcmp(id, AW_EXT_SINK_PROBE) == 0)
        return &sf_probe;
    if (strcmp(id, AW_EXT_SINK_RETENTION) == 0)
        return &sf_retention;
    return strcmp(id, AW_EXT_SINK_QUERY) == 0 ? &sf_query : NULL;
}

static const struct aw_sink_class file_class = {
    .struct_size = sizeof file_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "file",
    .summary = "Appends events as JSON lines to a file, with rotation and compression",
    .options = options,
    .create = create,
    .start = start,
    .write = sf_write,
    .flush = sf_flush,
    .health = health,
    .reopen = reopen,
    .reconfigure = reconfigure,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&file_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.file",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "JSON lines in files",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
