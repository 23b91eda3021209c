/* sink_remote.c - a sink whose events leave the host, and that tells everything it knows: each field and the JSON of
 * each event go to its file and into the log, and the JSON into the reason when it rejects one (action "reject.me").
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * It stands for a third party's sink in the test of views: what such a sink cannot tell, it was not given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <audit/plugin.h>

struct remote {
    const struct aw_host *host;
    const char *path; /* lives until destroy */
};

static const struct aw_option opt_path = {
    sizeof opt_path, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "path", NULL, "The file.", 0, 0, NULL};
static const struct aw_option *const options[] = {&opt_path, NULL};

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    struct aw_str path;
    struct remote *sink = calloc(1, sizeof *sink);
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

static void tell(struct remote *sink, FILE *file, const struct aw_event *event)
{
    for (uint32_t field = 1; field < 64; field++) {
        struct aw_str value;
        if (sink->host->event_field(event, field, &value) != AW_OK)
            continue;
        fprintf(file, "%u=%.*s\n", (unsigned)field, (int)value.len, value.ptr);
        aw_host_log(sink->host, AW_LOG_WARNING, "field %u is %.*s", (unsigned)field, (int)value.len, value.ptr);
    }
}

static int32_t write_all(void *arg, const struct aw_batch *batch, struct aw_result *result)
{
    struct remote *sink = arg;
    FILE *file = fopen(sink->path, "a");
    if (!file)
        return aw_host_error(sink->host, AW_E_RETRY, "%s: %s", sink->path, strerror(errno));
    for (size_t i = 0; i < batch->count; i++) {
        struct aw_str json = {"", 0}, action = {"", 0};
        tell(sink, file, batch->events[i]);
        if (sink->host->event_encoded(batch->events[i], "json", &json) != AW_OK ||
            sink->host->event_field(batch->events[i], AW_FIELD_ACTION, &action) != AW_OK)
            continue;
        fprintf(file, "%.*s\n", (int)json.len, json.ptr);
        if (action.len == 9 && memcmp(action.ptr, "reject.me", 9) == 0) {
            aw_host_event_error(sink->host, i, "%.*s", (int)json.len, json.ptr);
            result->status[i] = AW_EVENT_REJECTED;
        } else {
            result->status[i] = AW_EVENT_ACCEPTED;
        }
    }
    if (fclose(file) != 0)
        return aw_host_error(sink->host, AW_E_RETRY, "%s: %s", sink->path, strerror(errno));
    return AW_OK;
}

static const struct aw_sink_class remote_class = {
    .struct_size = sizeof remote_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_NEVER,
    .flags = AW_SINK_REMOTE,
    .name = "remote",
    .summary = "tells everything it knows",
    .options = options,
    .create = create,
    .write = write_all,
    .destroy = free,
};
static const struct aw_sink_class *const sinks[] = {&remote_class, NULL};
static const struct aw_plugin plugin = {
    AW_PLUGIN_HEAD, "org.example.test.remote", "1", "Apache-2.0", "for tests", NULL, sinks, NULL, NULL, NULL,
};
AW_PLUGIN_REGISTER(plugin)
