/* sink_picky.c - a sink that refuses events, for the tests of dead letters: lines of a file, written at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * It refuses events whose action begins with "bad.", unless there is a file PATH.tolerant; with PATH.down it is
 * unavailable; with PATH.blunt it refuses the whole call and does not say for which event. An event whose id is in the
 * file already is a duplicate. PATH.dies makes it end the process after the write of such an event.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <audit/plugin.h>

struct picky {
    const struct aw_host *host;
    const char *path; /* lives until destroy */
};

static const struct aw_option opt_path = {
    sizeof opt_path, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "path", NULL, "The file.", 0, 0, NULL};
static const struct aw_option *const options[] = {&opt_path, NULL};

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    struct aw_str path;
    struct picky *sink = calloc(1, sizeof *sink);
    if (!sink)
        return AW_E_NOMEM;
    if (host->config_str(config, "path", &path) != AW_OK) {
        free(sink);
        return aw_host_error(host, AW_E_CONFIG, "path is not set");
    }
    sink->host = host;
    sink->path = path.ptr;
    *ret = sink;
    return AW_OK;
}

static int is_there(const struct picky *sink, const char *what)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s.%s", sink->path, what);
    return access(path, F_OK) == 0;
}

static int has_id(const struct picky *sink, struct aw_str id)
{
    char *line = NULL;
    size_t size = 0;
    int found = 0;
    FILE *file = fopen(sink->path, "re");
    if (!file)
        return 0;
    for (ssize_t n; !found && (n = getline(&line, &size, file)) > 0;)
        found = memmem(line, (size_t)n, id.ptr, id.len) != NULL;
    free(line);
    (void)fclose(file); /* only read from */
    return found;
}

/* AW_EVENT_*, or 0 when the file cannot be written. */
static uint8_t write_one(const struct picky *sink, int fd, const struct aw_event *event, size_t index)
{
    struct aw_str action, id, json;
    const struct aw_host *h = sink->host;
    if (h->event_field(event, AW_FIELD_ACTION, &action) != AW_OK ||
        h->event_field(event, AW_FIELD_EVENT_ID, &id) != AW_OK || h->event_encoded(event, "json", &json) != AW_OK)
        return AW_EVENT_RETRY;
    if (action.len > 4 && memcmp(action.ptr, "bad.", 4) == 0 && !is_there(sink, "tolerant")) {
        aw_host_event_error(h, index, "it is a \"bad\" one: %.*s", (int)action.len, action.ptr);
        return AW_EVENT_REJECTED;
    }
    if (has_id(sink, id))
        return AW_EVENT_DUPLICATE;
    char *line = malloc(json.len + 1);
    if (!line)
        return AW_EVENT_RETRY;
    memcpy(line, json.ptr, json.len);
    line[json.len] = '\n';
    ssize_t n = write(fd, line, json.len + 1);
    free(line);
    return n == (ssize_t)json.len + 1 ? AW_EVENT_DURABLE : AW_EVENT_RETRY;
}

static int32_t write_batch(void *arg, const struct aw_batch *batch, struct aw_result *result)
{
    struct picky *sink = arg;
    if (is_there(sink, "down"))
        return aw_host_error(sink->host, AW_E_UNAVAILABLE, "closed for lunch");
    struct aw_str action;
    int fd = open(sink->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), refused = 0, bad = 0;
    if (fd < 0)
        return aw_host_error(sink->host, AW_E_UNAVAILABLE, "%s: %s", sink->path, strerror(errno));
    for (size_t i = 0; i < batch->count; i++) {
        result->status[i] = write_one(sink, fd, batch->events[i], i);
        refused += result->status[i] == AW_EVENT_REJECTED;
        bad += sink->host->event_field(batch->events[i], AW_FIELD_ACTION, &action) == AW_OK && action.len > 4 &&
               memcmp(action.ptr, "bad.", 4) == 0;
    }
    (void)close(fd); /* nobody asks this sink to keep anything over a power loss */
    if (bad && is_there(sink, "dies"))
        _exit(9);
    return refused && is_there(sink, "blunt") ? aw_host_error(sink->host, AW_E_REJECTED, "something is bad") : AW_OK;
}

static const struct aw_sink_class picky_class = {
    .struct_size = sizeof picky_class,
    .thread_model = AW_THREADS_SERIAL_PLUGIN,
    .durability = AW_DURABLE_ON_WRITE,
    .name = "picky",
    .summary = "Refuses events, for tests",
    .options = options,
    .create = create,
    .write = write_batch,
    .destroy = free,
};
static const struct aw_sink_class *const classes[] = {&picky_class, NULL};
static const struct aw_plugin plugin = {
    AW_PLUGIN_HEAD, "test.picky", "1.0", "Apache-2.0", "A sink that refuses events", NULL, classes, NULL, NULL, NULL,
};
AW_PLUGIN_REGISTER(plugin)
