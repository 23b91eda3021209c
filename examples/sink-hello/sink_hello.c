/* sink_hello.c - a complete sink in one file: appends each event to a file, as one line of JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * In audit.conf:  { plugin = "hello"; name = "greeter"; path = "/var/log/hello.jsonl"; }
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
static const struct aw_option *const options[] = {&option_path, &option_max_size, NULL};

struct hello {
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
};

static void set_health(struct hello *hello, int32_t code, const char *detail)
{
    pthread_mutex_lock(&hello->lock);
    const int32_t state = code == AW_OK ? AW_HEALTH_OK : AW_HEALTH_DOWN;
    if (hello->health.state != state)
        hello->health.since_ns = hello->host->now_ns();
    hello->health.state = state;
    hello->health.last_error = code;
    if (code == AW_OK)
        hello->health.last_success_ns = hello->host->now_ns();
    snprintf(hello->health.detail, sizeof hello->health.detail, "%s", detail);
    pthread_mutex_unlock(&hello->lock);
}

/* A failure that passes: the host tries again, with pauses. Where, what, and what to do. */
static int32_t unavailable(struct hello *hello, const char *what)
{
    const int error = errno; /* the host may change it */
    set_health(hello, AW_E_UNAVAILABLE, strerror(error));
    return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: %s: %s%s", hello->path, what, strerror(error),
                         error == ENOSPC ? "; make room" : "");
}

/* [control] Reads the settings. No I/O and no threads: the process may still fork or drop its privileges. */
static int32_t hello_create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct aw_str path;
    struct hello *hello = calloc(1, sizeof *hello);
    if (!hello)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    hello->host = host;
    hello->fd = -1;
    if (host->config_str(config, "path", &path) != AW_OK ||
        host->config_int(config, "max_size", &hello->max_size) != AW_OK) {
        free(hello);
        return aw_host_error(host, AW_E_INTERNAL, "the host gave no path or max_size");
    }
    hello->path = strdup(path.ptr); /* NUL-terminated, as all strings of the configuration */
    if (!hello->path) {
        free(hello);
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    }
    pthread_mutex_init(&hello->lock, NULL);
    hello->health.state = AW_HEALTH_DOWN;
    snprintf(hello->health.detail, sizeof hello->health.detail, "not started");
    *ret_sink = hello;
    return AW_OK;
}

static void hello_close(struct hello *hello)
{
    if (hello->fd >= 0)
        close(hello->fd); /* what matters was synced, and its result looked at */
    hello->fd = -1;
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
static int32_t hello_start(void *sink)
{
    struct hello *hello = sink;
    hello->fd = open(hello->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (hello->fd < 0)
        return unavailable(hello, "open");
    if (flock(hello->fd, LOCK_EX | LOCK_NB) != 0) {
        hello_close(hello);
        return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: another process writes to it", hello->path);
    }
    hello->size = size_of_whole_lines(hello->fd);
    if (hello->size < 0 || ftruncate(hello->fd, hello->size) != 0 || fdatasync(hello->fd) != 0 ||
        sync_directory(hello->path) != 0) {
        const int32_t rc = unavailable(hello, "repair after a crash");
        hello_close(hello);
        return rc;
    }
    hello->synced = hello->size;
    hello->unclean = false;
    hello->last_seq = hello->synced_seq = 0;
    set_health(hello, AW_OK, "");
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
static int32_t clean(struct hello *hello)
{
    if (hello->unclean && ftruncate(hello->fd, hello->size) != 0)
        return unavailable(hello, "cut off a torn line");
    hello->unclean = false;
    return AW_OK;
}

/* All lines are on the disk, or those that are not are taken back: after a failed sync they may be lost from the cache.
 */
static int32_t sync_lines(struct hello *hello)
{
    if (hello->synced == hello->size)
        return AW_OK;
    if (fdatasync(hello->fd) != 0) {
        const int32_t rc = unavailable(hello, "fdatasync");
        hello->size = hello->synced;
        hello->last_seq = hello->synced_seq;
        hello->unclean = true;
        return rc;
    }
    hello->synced = hello->size;
    hello->synced_seq = hello->last_seq;
    return AW_OK;
}

static int32_t append(struct hello *hello, const struct aw_event *event)
{
    struct aw_str json;
    const int32_t rc = hello->host->event_encoded(event, "json", &json);
    if (rc != AW_OK)
        return aw_host_error(hello->host, rc, "the host gave no JSON of the event");
    if (hello->size + (int64_t)json.len + 1 > hello->max_size) {
        set_health(hello, AW_E_UNAVAILABLE, "the file has its largest size");
        return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: has reached max_size; move it away, then reopen",
                             hello->path);
    }
    hello->unclean = true;
    if (write_all(hello->fd, json.ptr, json.len) != 0 || write_all(hello->fd, "\n", 1) != 0)
        return unavailable(hello, "write");
    hello->unclean = false;
    hello->size += (off_t)json.len + 1;
    hello->host->event_number(event, AW_NUMBER_SEQ, &hello->last_seq);
    return AW_OK;
}

/* [worker] Each event gets its own status; a slot that is left alone means: send it again. */
static int32_t hello_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct hello *hello = sink;
    int32_t rc = clean(hello);
    size_t n = 0;
    while (rc == AW_OK && n < batch->count) {
        rc = append(hello, batch->events[n]);
        if (rc == AW_OK)
            result->status[n++] = AW_EVENT_ACCEPTED; /* not yet durable: flush() makes it so */
    }
    if (rc != AW_OK)
        (void)clean(hello); /* else the next write does */
    if ((batch->flags & AW_BATCH_MUST_BE_DURABLE) != 0 && n > 0) {
        const int32_t synced = sync_lines(hello);
        memset(result->status, synced == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_RETRY, n);
        rc = rc == AW_OK ? synced : rc;
    }
    if (rc == AW_OK)
        set_health(hello, AW_OK, "");
    return rc;
}

/* [worker] All that was accepted before this call is on the disk when it returns AW_OK. */
static int32_t hello_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct hello *hello = sink;
    (void)deadline_ns; /* a local disk has none */
    const int32_t rc = sync_lines(hello);
    if (rc == AW_OK)
        *ret_durable_seq = hello->synced_seq;
    return rc;
}

/* [any-thread] Never blocks: nobody holds the lock for longer than a copy takes. */
static int32_t hello_health(void *sink, struct aw_health *ret_health)
{
    struct hello *hello = sink;
    const uint32_t size = ret_health->struct_size;
    pthread_mutex_lock(&hello->lock);
    memcpy(ret_health, &hello->health, size < sizeof hello->health ? size : sizeof hello->health);
    pthread_mutex_unlock(&hello->lock);
    ret_health->struct_size = size;
    return AW_OK;
}

/* [fork-child] Of the parent's descriptors none stays open here, so that its lock ends with it. */
static int32_t hello_after_fork(void *sink)
{
    struct hello *hello = sink;
    hello_close(hello);
    pthread_mutex_init(&hello->lock, NULL); /* another thread may have held it */
    return AW_OK;
}

/* [control or worker] start() may follow. */
static int32_t hello_stop(void *sink, uint64_t deadline_ns)
{
    struct hello *hello = sink;
    (void)deadline_ns;
    if (hello->fd < 0)
        return AW_OK;
    int32_t rc = sync_lines(hello);
    if (clean(hello) != AW_OK && rc == AW_OK)
        rc = AW_E_UNAVAILABLE;
    hello_close(hello);
    return rc;
}

/* [control] After a start that failed, too. */
static void hello_destroy(void *sink)
{
    struct hello *hello = sink;
    hello_close(hello);
    pthread_mutex_destroy(&hello->lock);
    free(hello->path);
    free(hello);
}

/* ---- reading back, for `auditwell query` and `auditwell verify` ---- */

struct hello_read {
    struct hello *hello;
    FILE *file;
    char **lines; /* of the last rows, which live until the next call */
    size_t count;
};

static void forget_lines(struct hello_read *read)
{
    for (size_t i = 0; i < read->count; i++)
        free(read->lines[i]);
    free(read->lines);
    read->lines = NULL;
    read->count = 0;
}

static void hello_read_close(void *arg)
{
    struct hello_read *read = arg;
    forget_lines(read);
    fclose(read->file);
    free(read);
}

/* [any-thread] On an instance that was not started: the file is opened anew, to read. */
static int32_t hello_read_open(void *sink, const struct aw_query *query, void **ret_read)
{
    struct hello *hello = sink;
    char cursor[32] = "0";
    if (query->after.len > 0)
        snprintf(cursor, sizeof cursor, "%.*s", (int)query->after.len, query->after.ptr);
    if ((query->flags & AW_QUERY_DESCENDING) != 0)
        return AW_E_UNSUPPORTED; /* the host sorts */
    struct hello_read *read = calloc(1, sizeof *read);
    if (!read)
        return aw_host_error(hello->host, AW_E_NOMEM, "out of memory");
    read->hello = hello;
    read->file = fopen(hello->path, "re");
    if (!read->file || fseeko(read->file, (off_t)strtoll(cursor, NULL, 10), SEEK_SET) != 0) {
        const int error = errno;
        if (read->file)
            fclose(read->file);
        free(read);
        return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: %s", hello->path, strerror(error));
    }
    *ret_read = read;
    return AW_OK;
}

/* One line with what the host wants to know of it, in one piece of memory. NULL: none is complete, or errno. */
static char *next_line(struct hello_read *read, struct aw_row *row)
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
    const size_t more = strlen(read->hello->path) + 80;
    char *all = realloc(line, (size_t)n + more);
    if (!all) {
        free(line);
        errno = ENOMEM;
        return NULL;
    }
    char *location = all + n;
    const int len = snprintf(location, more - 40, "%s byte %lld", read->hello->path, (long long)from);
    char *cursor = location + len + 1;
    row->json = (struct aw_str){all, (size_t)n - 1};
    row->location = (struct aw_str){location, (size_t)len};
    row->cursor = (struct aw_str){cursor, (size_t)snprintf(cursor, 32, "%lld", (long long)from + n)};
    errno = 0;
    return all;
}

/* Up to max rows; none means: the end, for now. */
static int32_t hello_read_next(void *arg, struct aw_row *ret_rows, size_t max, size_t *ret_count)
{
    struct hello_read *read = arg;
    forget_lines(read);
    *ret_count = 0;
    read->lines = calloc(max, sizeof *read->lines);
    if (!read->lines)
        return aw_host_error(read->hello->host, AW_E_NOMEM, "out of memory");
    while (read->count < max && (read->lines[read->count] = next_line(read, &ret_rows[read->count])) != NULL)
        read->count++;
    if (read->count < max && errno != 0)
        return aw_host_error(read->hello->host, errno == ENOMEM ? AW_E_NOMEM : AW_E_UNAVAILABLE, "%s: %s",
                             read->hello->path, strerror(errno));
    *ret_count = read->count;
    return AW_OK;
}

static const struct aw_sink_query query = {
    .struct_size = sizeof query,
    .open = hello_read_open,
    .next = hello_read_next,
    .close = hello_read_close,
};

/* [any-thread] Optional features, by their ids. */
static const void *hello_extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_QUERY) == 0 ? &query : NULL;
}

static const struct aw_sink_class hello_class = {
    .struct_size = sizeof hello_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "hello",
    .summary = "one line of JSON an event, in a file",
    .options = options,
    .create = hello_create,
    .start = hello_start,
    .write = hello_write,
    .flush = hello_flush,
    .health = hello_health,
    .after_fork = hello_after_fork,
    .stop = hello_stop,
    .destroy = hello_destroy,
    .extension = hello_extension,
};
static const struct aw_sink_class *const sinks[] = {&hello_class, NULL};
static const struct aw_plugin hello_plugin = {
    AW_PLUGIN_HEAD,          .id = "org.example.audit.hello", .version = "1.0",
    .license = "Apache-2.0", .summary = "an example sink",    .sinks = sinks,
};
AW_PLUGIN_REGISTER(hello_plugin)
