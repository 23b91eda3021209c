/* sink_plain.c - a store that can do the least: lines of a file, forwards, no filter applied, no limit honoured.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * It stands for a third party's store in the tests of query: what it leaves undone, the host must do. With fail_after
 * it fails in mid-read; with lie it returns more rows than it was asked for. With a path that holds "forgetful"
 * or "keyless" it can be written to; "forgetful" says that all is durable, and leaves out each seventh event.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <audit/plugin.h>

struct plain {
    const struct aw_host *host;
    const char *path; /* lives until destroy */
    int64_t fail_after;
};

struct reading {
    struct plain *sink;
    FILE *file;
    char *line;
    size_t size;
    int64_t number;
    char location[64], cursor[32];
};

static const struct aw_option opt_path = {
    sizeof opt_path, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "path", NULL, "The file.", 0, 0, NULL};
static const struct aw_option *const options[] = {&opt_path, NULL};

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    struct aw_str path;
    struct plain *sink = calloc(1, sizeof *sink);
    if (!sink)
        return AW_E_NOMEM;
    if (host->config_str(config, "path", &path) != AW_OK) {
        free(sink);
        return aw_host_error(host, AW_E_CONFIG, "path is not set");
    }
    sink->host = host;
    sink->path = path.ptr;
    sink->fail_after = strstr(path.ptr, "failing") ? 3 : INT64_MAX;
    *ret = sink;
    return AW_OK;
}

static int32_t write_some(void *arg, const struct aw_batch *batch, struct aw_result *result)
{
    struct plain *sink = arg;
    struct aw_str json;
    uint64_t forgets = strstr(sink->path, "forgetful") ? 7 : 0;
    if (!forgets && !strstr(sink->path, "keyless"))
        return aw_host_error(sink->host, AW_E_UNSUPPORTED, "this store is only read");
    FILE *f = fopen(sink->path, "ae");
    if (f)
        (void)setvbuf(f, NULL, _IOLBF, 8192); /* each line at once, so that a kill leaves whole ones */
    for (size_t i = 0; f && i < batch->count; i++) {
        uint64_t seq = 0;
        (void)sink->host->event_number(batch->events[i], AW_NUMBER_SEQ, &seq);
        if (sink->host->event_encoded(batch->events[i], "json", &json) == AW_OK && (!forgets || seq % forgets != 0))
            (void)fprintf(f, "%.*s\n", (int)json.len, json.ptr);
        result->status[i] = AW_EVENT_DURABLE;
    }
    return f && fclose(f) == 0 ? AW_OK : AW_E_UNAVAILABLE;
}

static int32_t open_read(void *arg, const struct aw_query *query, void **ret)
{
    struct plain *sink = arg;
    if (query->flags & AW_QUERY_DESCENDING)
        return AW_E_UNSUPPORTED;
    struct reading *r = calloc(1, sizeof *r);
    if (!r)
        return AW_E_NOMEM;
    r->sink = sink;
    r->file = fopen(sink->path, "re");
    if (!r->file) {
        int error = errno;
        free(r);
        return aw_host_error(sink->host, AW_E_UNAVAILABLE, "%s: %s", sink->path, strerror(error));
    }
    int64_t skip = 0;
    if (query->after.len && sscanf(query->after.ptr, "n%lld", (long long *)&skip) != 1)
        skip = -1;
    while (skip > r->number && getline(&r->line, &r->size, r->file) >= 0)
        r->number++;
    if (skip == r->number) {
        *ret = r;
        return AW_OK;
    }
    (void)fclose(r->file);
    free(r->line);
    free(r);
    return aw_host_error(sink->host, AW_E_CONFIG, "no such line");
}

/* One row a call, whatever was asked for. */
static int32_t next(void *read, struct aw_row *rows, size_t max, size_t *ret_count)
{
    struct reading *r = read;
    *ret_count = 0;
    if (max == 0)
        return AW_E_INTERNAL;
    if (r->number >= r->sink->fail_after)
        return aw_host_error(r->sink->host, AW_E_UNAVAILABLE, "the disk is on fire");
    ssize_t n = getline(&r->line, &r->size, r->file);
    if (n < 0) {
        clearerr(r->file);
        return AW_E_NOTFOUND;
    }
    r->number++;
    if (n > 0 && r->line[n - 1] == '\n')
        n--;
    int location = snprintf(r->location, sizeof r->location, "line %lld", (long long)r->number);
    int cursor = snprintf(r->cursor, sizeof r->cursor, "n%lld", (long long)r->number);
    rows[0].json = (struct aw_str){r->line, (size_t)n};
    rows[0].location = (struct aw_str){r->location, (size_t)location};
    rows[0].cursor = (struct aw_str){r->cursor, (size_t)cursor};
    *ret_count = strstr(r->sink->path, "lying") ? max + 1 : 1;
    return AW_OK;
}

static void close_read(void *read)
{
    struct reading *r = read;
    (void)fclose(r->file); /* only read from */
    free(r->line);
    free(r);
}

static const struct aw_sink_query query = {sizeof query, 0, open_read, next, close_read};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_QUERY) == 0 ? &query : NULL;
}

static const struct aw_sink_class plain_class = {
    .struct_size = sizeof plain_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_NEVER,
    .name = "plain",
    .summary = "Lines of a file, for tests",
    .options = options,
    .create = create,
    .write = write_some,
    .destroy = free,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&plain_class, NULL};
static const struct aw_plugin plugin = {
    AW_PLUGIN_HEAD, "test.plain", "1.0", "Apache-2.0", "A store that can do the least", NULL, classes, NULL, NULL, NULL,
};
AW_PLUGIN_REGISTER(plugin)
