/* sink_old.c - a sink of ABI 1.0, frozen: it was built once into sink_old.so.base64, and every later host must load
 * both.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Never change it. It uses every kind of option, every member of the host table that sinks have, and metrics with
 * labels.
 *
 * In audit.conf:  { plugin = "old"; name = "old"; path = "/var/log/old.jsonl"; }
 */
#include <audit/plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Settings are parsed, defaulted and checked by the host; a user's typing error never reaches the plugin. */
static const struct aw_option option_path = {
    .struct_size = sizeof(struct aw_option),
    .type = AW_OPT_PATH,
    .flags = AW_OPT_REQUIRED | AW_OPT_PER_SLOT,
    .key = "path",
    .help = "File to append to.",
};
static const struct aw_option option_max_size = {
    .struct_size = sizeof(struct aw_option),
    .type = AW_OPT_SIZE,
    .key = "max_size",
    .deflt = "1GiB",
    .help = "The file grows to this size; then events wait in the journal.",
    .min = 4096,
    .max = INT64_MAX,
};
static const char *const colours[] = {"red", "green", NULL};
#define OPTION(name, kind, text, low, high, words)                                                                     \
    static const struct aw_option option_##name = {.struct_size = sizeof(struct aw_option),                            \
                                                   .type = kind,                                                       \
                                                   .key = #name,                                                       \
                                                   .deflt = text,                                                      \
                                                   .help = "For the test.",                                            \
                                                   .min = low,                                                         \
                                                   .max = high,                                                        \
                                                   .choices = words}
OPTION(flag, AW_OPT_BOOL, "true", 0, 0, NULL);
OPTION(number, AW_OPT_INT, "-3", -10, 10, NULL);
OPTION(count, AW_OPT_UINT, "7", 0, 0, NULL);
OPTION(pause, AW_OPT_DURATION, "250ms", 0, 0, NULL);
OPTION(label, AW_OPT_STRING, "a label", 0, 0, NULL);
OPTION(colour, AW_OPT_ENUM, "green", 0, 0, colours);
OPTION(password, AW_OPT_SECRET, NULL, 0, 0, NULL);
OPTION(tags, AW_OPT_LIST, "( \"one\", \"two\" )", 0, 0, NULL);
static const struct aw_option *const options[] = {&option_path,     &option_max_size, &option_flag,  &option_number,
                                                  &option_count,    &option_pause,    &option_label, &option_colour,
                                                  &option_password, &option_tags,     NULL};

struct old {
    const struct aw_host *host;
    char *path;
    int64_t max_size;
    int fd;            /* -1: not started */
    off_t size;        /* of the whole lines that were written */
    off_t synced;      /* of those that are on the disk */
    bool unclean;      /* there may be bytes behind `size` */
    uint64_t last_seq; /* of the last event accepted */
    uint64_t synced_seq;
    pthread_mutex_t lock; /* guards health, which any thread asks for */
    struct aw_health health;
    const struct aw_host_metrics *metrics;
    uint32_t events, lines;
};

static void set_health(struct old *old, int32_t code, const char *detail)
{
    pthread_mutex_lock(&old->lock);
    const int32_t state = code == AW_OK ? AW_HEALTH_OK : AW_HEALTH_DOWN;
    if (old->health.state != state)
        old->health.since_ns = old->host->now_ns();
    old->health.state = state;
    old->health.last_error = code;
    if (code == AW_OK)
        old->health.last_success_ns = old->host->now_ns();
    snprintf(old->health.detail, sizeof old->health.detail, "%s", detail);
    pthread_mutex_unlock(&old->lock);
}

/* A failure that passes: the host tries again, with pauses. Where, what, and what to do. */
static int32_t unavailable(struct old *old, const char *what)
{
    const int error = errno; /* the host may change it */
    set_health(old, AW_E_UNAVAILABLE, strerror(error));
    return aw_host_error(old->host, AW_E_UNAVAILABLE, "%s: %s: %s%s", old->path, what, strerror(error),
                         error == ENOSPC ? "; make room" : "");
}

/* Everything that the host gives in create() is asked for, and must be what audit.conf or the default says. */
static int32_t ask_all(struct old *old, const struct aw_config *config)
{
    const struct aw_host *h = old->host;
    static const char *const labels[] = {"kind", NULL};
    static const char *const values[] = {"line"};
    struct aw_metric metric = {.struct_size = sizeof metric,
                               .kind = AW_METRIC_COUNTER,
                               .name = "old_lines_total",
                               .help = "Lines.",
                               .labels = labels};
    int64_t number = 0, count = 0, pause = 0;
    int32_t flag = 0;
    uint32_t id;
    struct aw_str label = {NULL, 0}, colour = {NULL, 0}, tag = {NULL, 0};
    if (h->config_bool(config, "flag", &flag) != AW_OK || flag != 1 ||
        h->config_int(config, "number", &number) != AW_OK || number != -3 ||
        h->config_int(config, "count", &count) != AW_OK || count != 7 ||
        h->config_int(config, "pause", &pause) != AW_OK || pause != 250000000 ||
        h->config_str(config, "label", &label) != AW_OK || label.len != 7 ||
        h->config_str(config, "colour", &colour) != AW_OK || strcmp(colour.ptr, "green") != 0 ||
        h->config_list(config, "tags", 1, &tag) != AW_OK || strcmp(tag.ptr, "two") != 0 ||
        h->config_list(config, "tags", 2, &tag) != AW_E_NOTFOUND)
        return aw_host_error(h, AW_E_INTERNAL, "the host gave other settings than those of the schema");
    if (!AW_HAS(struct aw_host, h, extension) || h->abi_major != 1 || !h->version || !h->instance || h->now_ns() == 0 ||
        h->mono_ns() == 0 || h->extension(h, "org.example.none/1") != NULL)
        return aw_host_error(h, AW_E_INTERNAL, "the host table is not that of ABI 1.x");
    int32_t rc = h->metric_register(h, AW_METRIC_COUNTER, "old_events_total", "Events.", &old->events);
    old->metrics = h->extension(h, AW_EXT_HOST_METRICS);
    if (rc == AW_OK && old->metrics) {
        rc = old->metrics->define(h, &metric, &id);
        if (rc == AW_OK)
            rc = old->metrics->series(h, id, values, &old->lines);
    }
    aw_host_log(h, AW_LOG_DEBUG, "built with ABI %d.%d", AW_ABI_MAJOR, AW_ABI_MINOR);
    return rc;
}

/* [control] Reads the settings. No I/O and no threads: the process may still fork or drop its privileges. */
static int32_t old_create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct aw_str path;
    struct old *old = calloc(1, sizeof *old);
    if (!old)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    old->host = host;
    old->fd = -1;
    if (host->config_str(config, "path", &path) != AW_OK ||
        host->config_int(config, "max_size", &old->max_size) != AW_OK) {
        free(old);
        return aw_host_error(host, AW_E_INTERNAL, "the host gave no path or max_size");
    }
    const int32_t rc = ask_all(old, config);
    if (rc != AW_OK) {
        free(old);
        return rc;
    }
    old->path = strdup(path.ptr); /* NUL-terminated, as all strings of the configuration */
    if (!old->path) {
        free(old);
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    }
    pthread_mutex_init(&old->lock, NULL);
    old->health.state = AW_HEALTH_DOWN;
    snprintf(old->health.detail, sizeof old->health.detail, "not started");
    *ret_sink = old;
    return AW_OK;
}

static void old_close(struct old *old)
{
    if (old->fd >= 0)
        close(old->fd); /* what matters was synced, and its result looked at */
    old->fd = -1;
}

/* The file's size without a line that a crash has torn; -1 with errno. */
static off_t size_of_whole_lines(int fd)
{
    char block[4096];
    off_t end = lseek(fd, 0, SEEK_END);
    while (end > 0) {
        const off_t from = end > (off_t)sizeof block ? end - (off_t)sizeof block : 0;
        const ssize_t n = pread(fd, block, (size_t)(end - from), from);
        if (n < 0)
            return -1;
        for (ssize_t i = n; i > 0; i--)
            if (block[i - 1] == '\n')
                return from + i;
        end = from;
    }
    return end;
}

/* A new file is on the disk only when its directory is. */
static int sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash && slash > path ? strndup(path, (size_t)(slash - path)) : strdup(slash ? "/" : ".");
    int rc = -1;
    if (dir) {
        const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = fd >= 0 ? fsync(fd) : -1;
        if (fd >= 0)
            close(fd);
    }
    free(dir);
    return rc;
}

/* [control] A failure other than AW_E_CONFIG is tried again later; events wait in the journal meanwhile. */
static int32_t old_start(void *sink)
{
    struct old *old = sink;
    old->fd = open(old->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (old->fd < 0)
        return unavailable(old, "open");
    if (flock(old->fd, LOCK_EX | LOCK_NB) != 0) {
        old_close(old);
        return aw_host_error(old->host, AW_E_UNAVAILABLE, "%s: another process writes to it", old->path);
    }
    old->size = size_of_whole_lines(old->fd);
    if (old->size < 0 || ftruncate(old->fd, old->size) != 0 || fdatasync(old->fd) != 0 ||
        sync_directory(old->path) != 0) {
        const int32_t rc = unavailable(old, "repair after a crash");
        old_close(old);
        return rc;
    }
    old->synced = old->size;
    old->unclean = false;
    old->last_seq = old->synced_seq = 0;
    set_health(old, AW_OK, "");
    return AW_OK;
}

/* Signals interrupt, and disks write less than they were asked to. */
static int write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Removes what is behind the last whole line: half a line, or lines that the disk has lost. */
static int32_t clean(struct old *old)
{
    if (old->unclean && ftruncate(old->fd, old->size) != 0)
        return unavailable(old, "cut off a torn line");
    old->unclean = false;
    return AW_OK;
}

/* All lines are on the disk, or those that are not are taken back: after a failed sync they may be lost from the cache.
 */
static int32_t sync_lines(struct old *old)
{
    if (old->synced == old->size)
        return AW_OK;
    if (fdatasync(old->fd) != 0) {
        const int32_t rc = unavailable(old, "fdatasync");
        old->size = old->synced;
        old->last_seq = old->synced_seq;
        old->unclean = true;
        return rc;
    }
    old->synced = old->size;
    old->synced_seq = old->last_seq;
    return AW_OK;
}

static int32_t append(struct old *old, const struct aw_event *event)
{
    struct aw_str json;
    const int32_t rc = old->host->event_encoded(event, "json", &json);
    if (rc != AW_OK)
        return aw_host_error(old->host, rc, "the host gave no JSON of the event");
    if (old->size + (int64_t)json.len + 1 > old->max_size) {
        set_health(old, AW_E_UNAVAILABLE, "the file has its largest size");
        return aw_host_error(old->host, AW_E_UNAVAILABLE, "%s: has reached max_size; move it away, then reopen",
                             old->path);
    }
    old->unclean = true;
    if (write_all(old->fd, json.ptr, json.len) != 0 || write_all(old->fd, "\n", 1) != 0)
        return unavailable(old, "write");
    old->unclean = false;
    old->size += (off_t)json.len + 1;
    old->host->event_number(event, AW_NUMBER_SEQ, &old->last_seq);
    old->host->metric_add(old->host, old->events, 1);
    if (old->metrics)
        old->metrics->add(old->host, old->lines, 1);
    return AW_OK;
}

/* [worker] Each event gets its own status; a slot that is left alone means: send it again. */
static int32_t old_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct old *old = sink;
    int32_t rc = clean(old);
    size_t n = 0;
    while (rc == AW_OK && n < batch->count) {
        rc = append(old, batch->events[n]);
        if (rc == AW_OK)
            result->status[n++] = AW_EVENT_ACCEPTED; /* not yet durable: flush() makes it so */
    }
    if (rc != AW_OK)
        (void)clean(old); /* else the next write does */
    if ((batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0 && n > 0) {
        const int32_t synced = sync_lines(old);
        memset(result->status, synced == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_RETRY, n);
        rc = rc == AW_OK ? synced : rc;
    }
    if (rc == AW_OK)
        set_health(old, AW_OK, "");
    return rc;
}

/* [worker] All that was accepted before this call is on the disk when it returns AW_OK. */
static int32_t old_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct old *old = sink;
    (void)deadline_ns; /* a local disk has none */
    const int32_t rc = sync_lines(old);
    if (rc == AW_OK)
        *ret_durable_seq = old->synced_seq;
    return rc;
}

/* [any-thread] Never blocks: nobody holds the lock for longer than a copy takes. */
static int32_t old_health(void *sink, struct aw_health *ret_health)
{
    struct old *old = sink;
    const uint32_t size = ret_health->struct_size;
    pthread_mutex_lock(&old->lock);
    memcpy(ret_health, &old->health, size < sizeof old->health ? size : sizeof old->health);
    pthread_mutex_unlock(&old->lock);
    ret_health->struct_size = size;
    return AW_OK;
}

/* [fork-child] Of the parent's descriptors none stays open here, so that its lock ends with it. */
static int32_t old_after_fork(void *sink)
{
    struct old *old = sink;
    old_close(old);
    pthread_mutex_init(&old->lock, NULL); /* another thread may have held it */
    return AW_OK;
}

/* [control or worker] start() may follow. */
static int32_t old_stop(void *sink, uint64_t deadline_ns)
{
    struct old *old = sink;
    (void)deadline_ns;
    if (old->fd < 0)
        return AW_OK;
    int32_t rc = sync_lines(old);
    if (clean(old) != AW_OK && rc == AW_OK)
        rc = AW_E_UNAVAILABLE;
    old_close(old);
    return rc;
}

/* [control] After a start that failed, too. */
static void old_destroy(void *sink)
{
    struct old *old = sink;
    old_close(old);
    pthread_mutex_destroy(&old->lock);
    free(old->path);
    free(old);
}

/* ---- reading back, for `auditwell query` and `auditwell verify` ---- */

struct old_read {
    struct old *old;
    FILE *file;
    char **lines; /* of the last rows, which live until the next call */
    size_t count;
};

static void forget_lines(struct old_read *read)
{
    for (size_t i = 0; i < read->count; i++)
        free(read->lines[i]);
    free(read->lines);
    read->lines = NULL;
    read->count = 0;
}

static void old_read_close(void *arg)
{
    struct old_read *read = arg;
    forget_lines(read);
    fclose(read->file);
    free(read);
}

/* [any-thread] On an instance that was not started: the file is opened anew, to read. */
static int32_t old_read_open(void *sink, const struct aw_query *query, void **ret_read)
{
    struct old *old = sink;
    char cursor[32] = "0";
    if (query->after.len > 0)
        snprintf(cursor, sizeof cursor, "%.*s", (int)query->after.len, query->after.ptr);
    if ((query->flags & AW_QUERY_DESCENDING) != 0)
        return AW_E_UNSUPPORTED; /* the host sorts */
    struct old_read *read = calloc(1, sizeof *read);
    if (!read)
        return aw_host_error(old->host, AW_E_NOMEM, "out of memory");
    read->old = old;
    read->file = fopen(old->path, "re");
    if (!read->file || fseeko(read->file, (off_t)strtoll(cursor, NULL, 10), SEEK_SET) != 0) {
        const int error = errno;
        if (read->file)
            fclose(read->file);
        free(read);
        return aw_host_error(old->host, AW_E_UNAVAILABLE, "%s: %s", old->path, strerror(error));
    }
    *ret_read = read;
    return AW_OK;
}

/* One line with what the host wants to know of it, in one piece of memory. NULL: none is complete, or errno. */
static char *next_line(struct old_read *read, struct aw_row *row)
{
    char *line = NULL;
    size_t room = 0;
    const off_t from = ftello(read->file);
    errno = 0;
    const ssize_t n = getline(&line, &room, read->file);
    if (n <= 0 || line[n - 1] != '\n') { /* the end, for now; half a line is read again when it is whole */
        const bool failed = ferror(read->file) != 0 || errno == ENOMEM;
        free(line);
        clearerr(read->file);
        if (fseeko(read->file, from, SEEK_SET) == 0 && !failed)
            errno = 0;
        return NULL;
    }
    const size_t more = strlen(read->old->path) + 80;
    char *all = realloc(line, (size_t)n + more);
    if (!all) {
        free(line);
        errno = ENOMEM;
        return NULL;
    }
    char *location = all + n;
    const int len = snprintf(location, more - 40, "%s byte %lld", read->old->path, (long long)from);
    char *cursor = location + len + 1;
    row->json = (struct aw_str){all, (size_t)n - 1};
    row->location = (struct aw_str){location, (size_t)len};
    row->cursor = (struct aw_str){cursor, (size_t)snprintf(cursor, 32, "%lld", (long long)from + n)};
    errno = 0;
    return all;
}

/* Up to max rows; none means: the end, for now. */
static int32_t old_read_next(void *arg, struct aw_row *ret_rows, size_t max, size_t *ret_count)
{
    struct old_read *read = arg;
    forget_lines(read);
    *ret_count = 0;
    read->lines = calloc(max, sizeof *read->lines);
    if (!read->lines)
        return aw_host_error(read->old->host, AW_E_NOMEM, "out of memory");
    while (read->count < max && (read->lines[read->count] = next_line(read, &ret_rows[read->count])) != NULL)
        read->count++;
    if (read->count < max && errno != 0)
        return aw_host_error(read->old->host, errno == ENOMEM ? AW_E_NOMEM : AW_E_UNAVAILABLE, "%s: %s",
                             read->old->path, strerror(errno));
    *ret_count = read->count;
    return AW_OK;
}

static const struct aw_sink_query query = {
    .struct_size = sizeof query,
    .open = old_read_open,
    .next = old_read_next,
    .close = old_read_close,
};

/* [any-thread] Optional features, by their ids. */
static const void *old_extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_QUERY) == 0 ? &query : NULL;
}

static const struct aw_sink_class old_class = {
    .struct_size = sizeof old_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "old",
    .summary = "one line of JSON an event, in a file",
    .options = options,
    .create = old_create,
    .start = old_start,
    .write = old_write,
    .flush = old_flush,
    .health = old_health,
    .after_fork = old_after_fork,
    .stop = old_stop,
    .destroy = old_destroy,
    .extension = old_extension,
};
static const struct aw_sink_class *const sinks[] = {&old_class, NULL};
static const struct aw_plugin old_plugin = {
    AW_PLUGIN_HEAD,          .id = "org.example.audit.old", .version = "1.0",
    .license = "Apache-2.0", .summary = "an example sink",  .sinks = sinks,
};
AW_PLUGIN_REGISTER(old_plugin)
