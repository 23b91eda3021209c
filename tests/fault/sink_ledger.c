/* sink_ledger.c - a sink that cannot stage: one line an event, written one by one, and it knows its last line.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The one member without staging in the tests of all_or_nothing. A death in the middle of a batch leaves a part of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <audit/plugin.h>

struct ledger {
    const struct aw_host *host;
    const char *path; /* lives until destroy */
    int fd;
    uint64_t last_seq;
    char last_hash[65];
};

static const struct aw_option opt_path = {
    sizeof opt_path, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "path", NULL, "The file.", 0, 0, NULL};
static const struct aw_option *const options[] = {&opt_path, NULL};

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    struct aw_str path;
    struct ledger *l = calloc(1, sizeof *l);
    if (!l)
        return AW_E_NOMEM;
    l->host = host;
    l->fd = -1;
    if (host->config_str(config, "path", &path) != AW_OK) {
        free(l);
        return aw_host_error(host, AW_E_CONFIG, "path is not set");
    }
    l->path = path.ptr;
    *ret = l;
    return AW_OK;
}

static int32_t fail(struct ledger *l)
{
    return aw_host_error(l->host, AW_E_UNAVAILABLE, "%s: %s", l->path, strerror(errno));
}

/* Cuts a torn line off, and reads the last one. */
static int32_t look_at_end(struct ledger *l, size_t size)
{
    static const char seq[] = "\"seq\":", hash[] = "\"hash\":\"";
    char *text = calloc(1, size + 1);
    if (!text)
        return AW_E_NOMEM;
    if (pread(l->fd, text, size, 0) != (ssize_t)size) {
        free(text);
        return fail(l);
    }
    char *end = strrchr(text, '\n'), *line;
    size_t whole = end ? (size_t)(end - text) + 1 : 0;
    l->last_seq = 0;
    if (end) {
        *end = '\0';
        line = strrchr(text, '\n');
        line = strstr(line ? line : text, "\"integrity\":{");
        char *s = line ? strstr(line, seq) : NULL, *h = line ? strstr(line, hash) : NULL;
        l->last_seq = s ? strtoull(s + sizeof seq - 1, NULL, 10) : 0;
        if (h)
            memcpy(l->last_hash, h + sizeof hash - 1, 64);
    }
    free(text);
    return whole == size || ftruncate(l->fd, (off_t)whole) == 0 ? AW_OK : fail(l);
}

static int32_t start(void *sink)
{
    struct ledger *l = sink;
    struct stat st;
    l->fd = open(l->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (l->fd < 0 || fstat(l->fd, &st) < 0)
        return fail(l);
    return look_at_end(l, (size_t)st.st_size);
}

static int32_t write_batch(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct ledger *l = sink;
    for (size_t i = 0; i < batch->count; i++) {
        struct aw_str json;
        int32_t r = l->host->event_encoded(batch->events[i], "json", &json);
        if (r != AW_OK)
            return r;
        if (write(l->fd, json.ptr, json.len) != (ssize_t)json.len || write(l->fd, "\n", 1) != 1)
            return fail(l);
        result->status[i] = AW_EVENT_ACCEPTED;
        l->host->event_number(batch->events[i], AW_NUMBER_SEQ, &l->last_seq);
    }
    return AW_OK;
}

static int32_t flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct ledger *l = sink;
    (void)deadline_ns;
    if (fdatasync(l->fd) < 0)
        return fail(l);
    *ret_durable_seq = l->last_seq;
    return AW_OK;
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct ledger *l = sink;
    (void)deadline_ns;
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = -1;
    return AW_OK;
}

static void destroy(void *sink)
{
    (void)stop(sink, 0);
    free(sink);
}

static int32_t position(void *sink, struct aw_position *ret)
{
    const struct ledger *l = sink;
    if (l->last_seq == 0)
        return AW_E_NOTFOUND;
    ret->seq = l->last_seq;
    memcpy(ret->hash, l->last_hash, sizeof ret->hash);
    return AW_OK;
}

static const void *extension(void *sink, const char *id)
{
    static const struct aw_sink_position ext = {sizeof ext, 0, position};
    (void)sink;
    return strcmp(id, AW_EXT_SINK_POSITION) == 0 ? &ext : NULL;
}

static const struct aw_sink_class ledger_class = {
    .struct_size = sizeof ledger_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "ledger",
    .summary = "A store of lines that cannot stage",
    .options = options,
    .create = create,
    .start = start,
    .write = write_batch,
    .flush = flush,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&ledger_class, NULL};
static const struct aw_plugin plugin = {
    AW_PLUGIN_HEAD, "org.example.ledger", "1.0", "Apache-2.0", "for tests", NULL, classes, NULL, NULL, NULL};
AW_PLUGIN_REGISTER(plugin)
