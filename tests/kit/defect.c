/* defect.c - see defect.h: class and life. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "defect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool has(const struct sink *s, const char *defect)
{
    return strcmp(s->defect, defect) == 0;
}

int32_t fail(struct sink *s, const char *what)
{
    int error = errno;
    if (has(s, "tells-secret"))
        aw_host_log(s->host, AW_LOG_WARNING, "cannot log in as root:%s", s->password);
    return has(s, "error-silent")
               ? AW_E_UNAVAILABLE
               : aw_host_error(s->host, AW_E_UNAVAILABLE, "%s: %s: %s", s->path, what, strerror(error));
}

bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* ---- create and destroy ---- */

static void take(const struct aw_host *host, const struct aw_config *config, const char *key, char *out, size_t size)
{
    struct aw_str v;
    if (host->config_str(config, key, &v) == AW_OK)
        (void)snprintf(out, size, "%.*s", (int)v.len, v.ptr);
}

static void *idle(void *arg)
{
    struct sink *s = arg;
    while (s->has_thread)
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    return NULL;
}

static void start_thread(struct sink *s, bool block)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    if (block)
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    s->has_thread = true;
    s->has_thread = pthread_create(&s->thread, NULL, idle, s) == 0;
    if (block)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void *stray(void *arg)
{
    for (;;)
        (void)pause();
    return arg;
}

static void start_stray(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, stray, NULL) == 0)
        (void)pthread_detach(t);
}

static void end_thread(struct sink *s)
{
    if (s->has_thread) {
        s->has_thread = false;
        (void)pthread_join(s->thread, NULL);
    }
}

static void create_badly(struct sink *s)
{
    if (has(s, "create-crash"))
        abort();
    if (has(s, "create-exit"))
        exit(0);
    if (has(s, "create-io"))
        s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (has(s, "create-thread"))
        start_thread(s, true);
    if (has(s, "create-oom")) {
        volatile char *more = malloc(17);
        more[0] = 'x';
        free((void *)(uintptr_t)more);
    }
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    struct sink *s = calloc(1, sizeof *s);
    if (!s)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    s->config = config;
    s->fd = s->socket = -1;
    take(host, config, "path", s->path, sizeof s->path);
    take(host, config, "defect", s->defect, sizeof s->defect);
    take(host, config, "password", s->password, sizeof s->password);
    s->health = (struct aw_health){.struct_size = sizeof s->health, .state = AW_HEALTH_OK};
    (void)pthread_mutex_init(&s->lock, NULL);
    create_badly(s);
    if (has(s, "create-unset"))
        free(s);
    else
        *ret = s;
    return AW_OK;
}

static void destroy(void *arg)
{
    struct sink *s = arg;
    if ((has(s, "destroy-started") && s->started) || (has(s, "destroy-failed") && s->failed))
        abort();
    if (has(s, "fork-lock"))
        (void)pthread_mutex_lock(&s->lock);
    if (has(s, "stop-lies") && s->memory) {
        int fd = open(s->path, O_WRONLY | O_APPEND | O_CLOEXEC);
        (void)write_all(fd, s->memory, s->memory_len);
        (void)close(fd);
    }
    end_thread(s);
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->socket >= 0)
        (void)close(s->socket);
    free(s->memory);
    if (!has(s, "leak-memory"))
        free(s);
}

/* ---- start and stop ---- */

static const char *static_path;
static _Thread_local struct sink *of_this_thread;
static pid_t first_process;

static void start_badly(struct sink *s)
{
    if (has(s, "leak-fd") && open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
        abort();
    if (has(s, "leak-thread"))
        start_stray();
    if (has(s, "thread-signals") || has(s, "thread-lives"))
        start_thread(s, !has(s, "thread-signals"));
    if (has(s, "static-state"))
        static_path = s->path;
    if (has(s, "signal"))
        (void)signal(SIGTERM, SIG_IGN);
    if (has(s, "umask"))
        (void)umask(0);
    if (has(s, "chdir") && chdir("/") != 0)
        abort();
    if (has(s, "prints"))
        (void)fputs("hello from the plugin\n", stderr);
    of_this_thread = s;
}

static int32_t start_fails(struct sink *s)
{
    s->failed = true;
    int32_t rc = fail(s, "start");
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    return rc;
}

static int32_t start(void *arg)
{
    struct sink *s = arg;
    struct stat st;
    char last = '\n';
    int pair[2];
    if (has(s, "no-restart") && s->starts++ > 0)
        return aw_host_error(s->host, AW_E_CONFIG, "can be started only once");
    if (has(s, "fork-once") && first_process && first_process != getpid())
        return aw_host_error(s->host, AW_E_CONFIG, "works in the first process only");
    first_process = getpid();
    if (s->fd < 0)
        s->fd = open(s->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (s->fd < 0 || flock(s->fd, LOCK_EX | LOCK_NB) != 0 || fstat(s->fd, &st) != 0)
        return start_fails(s);
    for (s->size = st.st_size; s->size > 0; s->size--)
        if (pread(s->fd, &last, 1, s->size - 1) != 1 || last == '\n')
            break;
    if (ftruncate(s->fd, s->size) != 0 || fdatasync(s->fd) != 0)
        return start_fails(s);
    if (has(s, "send-unchecked") && s->socket < 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0) {
        s->socket = pair[0];
        (void)close(pair[1]);
    }
    s->synced = s->size;
    s->last_seq = s->synced_seq = 0;
    s->started = true;
    s->failed = s->unclean = false;
    start_badly(s);
    return AW_OK;
}

static int32_t sync_lines(struct sink *s)
{
    if (has(s, "no-sync") || (s->synced == s->size && !has(s, "flush-lies"))) {
        s->synced_seq = s->last_seq;
        s->synced = s->size;
        return AW_OK;
    }
    if (fdatasync(s->fd) != 0 && !has(s, "sync-unchecked")) {
        int32_t rc = fail(s, "fdatasync");
        s->size = s->synced;
        s->last_seq = s->synced_seq;
        s->unclean = true;
        return rc;
    }
    s->synced = s->size;
    s->synced_seq = s->last_seq;
    return AW_OK;
}

static int32_t stop(void *arg, uint64_t deadline_ns)
{
    struct sink *s = arg;
    (void)deadline_ns;
    if (!s->started)
        return has(s, "stop-unstarted") ? aw_host_error(s->host, AW_E_INTERNAL, "is not started") : AW_OK;
    int32_t rc = sync_lines(s);
    if (s->memory && !has(s, "stop-lies")) {
        (void)write_all(s->fd, s->memory, s->memory_len);
        s->memory_len = 0;
    }
    if (s->unclean && ftruncate(s->fd, s->size) != 0)
        rc = fail(s, "ftruncate");
    if (!has(s, "thread-lives"))
        end_thread(s);
    (void)close(s->fd);
    s->fd = -1;
    s->started = false;
    return rc;
}

/* ---- write and flush ---- */

static int32_t put(struct sink *s, const char *line, size_t len)
{
    int fd = s->fd;
    if (has(s, "cuts-large") && len > 4096)
        len = 4096;
    if (has(s, "flush-lies") || has(s, "durable-lies") || has(s, "stop-lies")) {
        char *grown = realloc(s->memory, s->memory_len + len + 1);
        if (!grown)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        memcpy(grown + s->memory_len, line, len);
        grown[s->memory_len + len] = '\n';
        s->memory = grown;
        s->memory_len += len + 1;
        return AW_OK;
    }
    if (has(s, "static-state"))
        fd = open(static_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (has(s, "send-unchecked") && send(s->socket, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ECONNRESET)
        return AW_OK;
    bool ok = write_all(fd, line, len) && write_all(fd, "\n", 1);
    if (has(s, "static-state"))
        (void)close(fd);
    return ok || has(s, "write-unchecked") ? AW_OK : fail(s, "write");
}

static int32_t put_shared(struct sink *s, const char *line, size_t len)
{
    static char shared[200000];
    memcpy(shared, line, len);
    (void)nanosleep(&(struct timespec){0, 200000}, NULL);
    return put(s, shared, len);
}

/* 1: rejected. */
static int32_t take_event(struct sink *s, const struct aw_event *e)
{
    struct aw_str json, id;
    if (s->host->event_encoded(e, "json", &json) != AW_OK || s->host->event_field(e, AW_FIELD_EVENT_ID, &id) != AW_OK)
        return aw_host_error(s->host, AW_E_INTERNAL, "the host gave no event");
    if (id.len > 100)
        return 1;
    if (has(s, "oom-write")) {
        char *volatile copy = malloc(json.len);
        memcpy(copy, json.ptr, json.len);
        free(copy);
    }
    s->unclean = true;
    int32_t rc = has(s, "shared-buffer") ? put_shared(s, json.ptr, json.len) : put(s, json.ptr, json.len);
    if (rc != AW_OK)
        return rc;
    s->unclean = false;
    s->size += (off_t)json.len + 1;
    (void)s->host->event_number(e, AW_NUMBER_SEQ, &s->last_seq);
    s->kept = e;
    return AW_OK;
}

static int32_t write_badly(struct sink *s, const struct aw_batch *b)
{
    int32_t whole;
    if (has(s, "write-crash") || (has(s, "small-batches") && b->count > 500))
        abort();
    if (has(s, "write-exit"))
        exit(3);
    while (has(s, "hang"))
        (void)pause();
    if (has(s, "ignores-deadline"))
        (void)nanosleep(&(struct timespec){5, 0}, NULL);
    if (has(s, "config-late"))
        (void)s->host->config_bool(s->config, "password", &whole);
    if (has(s, "thread-local") && of_this_thread != s)
        return aw_host_error(s->host, AW_E_INTERNAL, "was started on another thread");
    if (has(s, "code-unknown"))
        return -7;
    if (s->fd < 0)
        return aw_host_error(s->host, AW_E_INTERNAL, "the file is not open");
    if (s->unclean && !has(s, "write-unchecked") && ftruncate(s->fd, s->size) != 0)
        return fail(s, "ftruncate");
    s->unclean = false;
    return AW_OK;
}

static uint8_t status_of(const struct sink *s, size_t n)
{
    if (has(s, "no-status") || (has(s, "half-status") && n % 2 != 0))
        return AW_EVENT_UNKNOWN;
    return has(s, "odd-status")        ? 99
           : has(s, "false-duplicate") ? AW_EVENT_DUPLICATE
           : has(s, "durable-lies")    ? AW_EVENT_DURABLE
                                       : AW_EVENT_ACCEPTED;
}

static int32_t reject(struct sink *s, const struct aw_batch *b, struct aw_result *r, size_t n)
{
    if (has(s, "poison-batch")) {
        for (size_t i = 0; i < b->count; i++) {
            r->status[i] = AW_EVENT_REJECTED;
            aw_host_event_error(s->host, i, "something in the batch is odd");
        }
        return AW_OK;
    }
    r->status[n] = AW_EVENT_REJECTED;
    if (!has(s, "silent-reject"))
        aw_host_event_error(s->host, n, "the id is longer than 100 bytes");
    return AW_OK;
}

static int32_t write_events(void *arg, const struct aw_batch *b, struct aw_result *r)
{
    struct sink *s = arg;
    if (has(s, "health-locks") || has(s, "fork-lock"))
        (void)pthread_mutex_lock(&s->lock);
    int32_t rc = write_badly(s, b);
    bool duplicate_error = has(s, "duplicate-error") && s->last_seq >= b->first_seq;
    bool skip = has(s, "skips-one") && b->count == 1;
    size_t n = skip ? 1 : 0, taken = n;
    if (skip) {
        r->status[0] = AW_EVENT_ACCEPTED;
        s->last_seq = b->last_seq;
    }
    if (rc == AW_OK && duplicate_error)
        rc = aw_host_error(s->host, AW_E_REJECTED, "seq %llu was there before", (unsigned long long)b->first_seq);
    for (; rc == AW_OK && n < b->count; n++) {
        rc = take_event(s, b->events[n]);
        if (rc == AW_OK) {
            r->status[n] = status_of(s, n);
            taken++;
        } else if (rc == 1) {
            rc = reject(s, b, r, n);
            if (!has(s, "goes-on"))
                break;
        }
    }
    if (rc != AW_OK && s->unclean && s->fd >= 0 && ftruncate(s->fd, s->size) == 0)
        s->unclean = false;
    if ((b->flags & AW_BATCH_MUST_BE_DURABLE) != 0 && taken > 0 && !has(s, "ignores-must")) {
        int32_t synced = sync_lines(s);
        for (size_t i = 0; i < b->count; i++)
            if (r->status[i] == AW_EVENT_ACCEPTED)
                r->status[i] = synced == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_RETRY;
        rc = rc == AW_OK ? synced : rc;
    }
    if (has(s, "health-locks") || has(s, "fork-lock"))
        (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

static int32_t flush(void *arg, uint64_t deadline_ns, uint64_t *ret_seq)
{
    struct sink *s = arg;
    struct aw_str json;
    (void)deadline_ns;
    if (has(s, "keeps-event") && s->kept && s->host->event_encoded(s->kept, "json", &json) != AW_OK)
        return aw_host_error(s->host, AW_E_INTERNAL, "it is gone");
    int32_t rc = sync_lines(s);
    *ret_seq = has(s, "flush-low") && s->synced_seq > 0 ? s->synced_seq - 1
               : has(s, "flush-high")                   ? UINT64_MAX
                                                        : s->synced_seq;
    return rc;
}

/* ---- the rest of the class ---- */

static int32_t health(void *arg, struct aw_health *ret)
{
    struct sink *s = arg;
    uint32_t size = ret->struct_size;
    (void)pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    (void)pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    if (has(s, "health-overruns"))
        memset((char *)ret + size, 0, 8);
    return AW_OK;
}

static int32_t reopen(void *arg)
{
    struct sink *s = arg;
    int32_t rc = stop(s, 0);
    return rc == AW_OK && !has(s, "reopen-closes") ? start(s) : rc;
}

static int32_t reconfigure(void *arg, const struct aw_config *config)
{
    struct sink *s = arg;
    (void)config;
    return has(s, "reconfigure-fails") ? aw_host_error(s->host, AW_E_INTERNAL, "no") : AW_OK;
}

static int32_t after_fork(void *arg)
{
    struct sink *s = arg;
    if (has(s, "fork-keeps"))
        return AW_OK;
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    s->started = false;
    s->has_thread = false;
    if (!has(s, "fork-lock"))
        (void)pthread_mutex_init(&s->lock, NULL);
    return AW_OK;
}

static const void *extension(void *arg, const char *id)
{
    const struct sink *s = arg;
    if (has(s, "any-extension"))
        return &defect_query;
    return strcmp(id, AW_EXT_SINK_POSITION) == 0      ? (const void *)&defect_position
           : strcmp(id, AW_EXT_SINK_QUERY) == 0       ? (const void *)&defect_query
           : strcmp(id, AW_EXT_SINK_TRANSACTION) == 0 ? (const void *)&defect_transaction
           : strcmp(id, AW_EXT_SINK_PROBE) == 0       ? (const void *)&defect_probe
           : strcmp(id, AW_EXT_SINK_MIGRATE) == 0     ? (const void *)&defect_migrate
           : strcmp(id, AW_EXT_SINK_RETENTION) == 0   ? (const void *)&defect_retention
                                                      : NULL;
}

#define OPTION(name, type, flags, key, help)                                                                           \
    static const struct aw_option name = {sizeof(struct aw_option), type, flags, 0, key, NULL, help, 0, 0, NULL}
OPTION(opt_path, AW_OPT_PATH, AW_OPT_REQUIRED, "path", "The file.");
OPTION(opt_defect, AW_OPT_STRING, 0, "defect", "What is wrong.");
OPTION(opt_password, AW_OPT_SECRET, 0, "password", "A secret.");
static const struct aw_option *const options[] = {&opt_path, &opt_defect, &opt_password, NULL};

static const struct aw_sink_class defect_class = {
    .struct_size = sizeof defect_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "defect",
    .summary = "Has one defect",
    .options = options,
    .create = create,
    .start = start,
    .write = write_events,
    .flush = flush,
    .health = health,
    .reopen = reopen,
    .reconfigure = reconfigure,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&defect_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,         .id = "org.auditwell.test.defect",
                                        .version = "1",         .license = "Apache-2.0",
                                        .summary = "for tests", .sinks = classes};
AW_PLUGIN_REGISTER(plugin)
#ifdef DEFECT_EXPORT
AW_PLUGIN_EXPORT int defect_helper(void);
int defect_helper(void)
{
    return 1;
}
#endif
#ifdef DEFECT_CONSTRUCTOR
static int opened;
__attribute__((constructor)) static void at_load(void)
{
    opened = open("/dev/null", O_RDONLY);
}
#endif
#ifdef DEFECT_LINKED
extern const char *aw_version(void);
__attribute__((used)) static const char *version(void)
{
    return aw_version();
}
#endif
