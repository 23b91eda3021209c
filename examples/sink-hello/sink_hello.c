/* sink_hello.c - a complete sink in one file: writes one line of text an event.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * In audit.conf:  { plugin = "hello"; name = "greeter"; path = "/var/log/hello.txt"; greeting = "Hello"; }
 */
#include <audit/plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hello {
    const struct aw_host *host;
    struct aw_str path, greeting; /* the host's strings live until destroy() */
    FILE *file;
    uint64_t last_seq; /* of the last event accepted */
};

/* Settings are parsed, defaulted and checked by the host; a user's typing error never reaches the plugin. */
static const struct aw_option option_path = {
    .struct_size = sizeof(struct aw_option),
    .type = AW_OPT_PATH,
    .flags = AW_OPT_REQUIRED,
    .key = "path",
    .help = "File to append to.",
};
static const struct aw_option option_greeting = {
    .struct_size = sizeof(struct aw_option),
    .type = AW_OPT_STRING,
    .key = "greeting",
    .deflt = "Hello",
    .help = "First word of each line.",
};
static const struct aw_option *const options[] = {&option_path, &option_greeting, NULL};

/* [control] No I/O here: the process may still fork or drop privileges. */
static int32_t hello_create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct hello *hello = calloc(1, sizeof *hello);
    if (!hello)
        return AW_E_NOMEM;
    hello->host = host;
    if (host->config_str(config, "path", &hello->path) != AW_OK ||
        host->config_str(config, "greeting", &hello->greeting) != AW_OK) {
        free(hello);
        return aw_host_error(host, AW_E_INTERNAL, "the host gave no path or greeting");
    }
    *ret_sink = hello;
    return AW_OK;
}

/* [control] A failure other than AW_E_CONFIG is tried again later; events wait in the journal meanwhile. */
static int32_t hello_start(void *sink)
{
    struct hello *hello = sink;
    const int fd = open(hello->path.ptr, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: %s", hello->path.ptr, strerror(errno));
    hello->file = fdopen(fd, "a");
    if (!hello->file) {
        close(fd);
        return AW_E_NOMEM;
    }
    return AW_OK;
}

/* [worker] Each event gets its own status; a slot that is left alone means: send it again. */
static int32_t hello_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct hello *hello = sink;
    const struct aw_host *host = hello->host;
    for (size_t i = 0; i < batch->count; i++) {
        struct aw_str action, actor;
        if (host->event_field(batch->events[i], AW_FIELD_ACTION, &action) != AW_OK ||
            host->event_field(batch->events[i], AW_FIELD_ACTOR_ID, &actor) != AW_OK) {
            aw_host_event_error(host, i, "the event has no action or no actor");
            result->status[i] = AW_EVENT_REJECTED; /* goes to the dead-letter file with this text */
            continue;
        }
        if (fprintf(hello->file, "%s, %.*s did %.*s\n", hello->greeting.ptr, (int)actor.len, actor.ptr, (int)action.len,
                    action.ptr) < 0)
            return aw_host_error(host, AW_E_UNAVAILABLE, "%s: %s", hello->path.ptr, strerror(errno));
        result->status[i] = AW_EVENT_ACCEPTED; /* not yet durable: flush() makes it so */
        host->event_number(batch->events[i], AW_NUMBER_SEQ, &hello->last_seq);
    }
    return AW_OK;
}

/* [worker] All that was accepted before this call is on the disk when it returns AW_OK. */
static int32_t hello_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct hello *hello = sink;
    (void)deadline_ns;
    if (fflush(hello->file) != 0 || fdatasync(fileno(hello->file)) != 0)
        return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: %s", hello->path.ptr, strerror(errno));
    *ret_durable_seq = hello->last_seq;
    return AW_OK;
}

static int32_t hello_stop(void *sink, uint64_t deadline_ns)
{
    struct hello *hello = sink;
    (void)deadline_ns;
    if (hello->file && fclose(hello->file) != 0) {
        hello->file = NULL;
        return aw_host_error(hello->host, AW_E_UNAVAILABLE, "%s: %s", hello->path.ptr, strerror(errno));
    }
    hello->file = NULL;
    return AW_OK;
}

static void hello_destroy(void *sink)
{
    struct hello *hello = sink;
    if (hello->file)
        fclose(hello->file);
    free(hello);
}

static const struct aw_sink_class hello_class = {
    .struct_size = sizeof hello_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "hello",
    .summary = "one friendly line an event",
    .options = options,
    .create = hello_create,
    .start = hello_start,
    .write = hello_write,
    .flush = hello_flush,
    .stop = hello_stop,
    .destroy = hello_destroy,
};
static const struct aw_sink_class *const sinks[] = {&hello_class, NULL};
static const struct aw_plugin hello_plugin = {
    AW_PLUGIN_HEAD,          .id = "org.example.audit.hello", .version = "1.0",
    .license = "Apache-2.0", .summary = "an example sink",    .sinks = sinks,
};
AW_PLUGIN_REGISTER(hello_plugin)
