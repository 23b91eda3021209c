/* mock.c - sink plugins for the tests, each with one peculiarity, chosen by MOCK_NAME and -DMOCK_…
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Without any -DMOCK_… it is a plain sink that takes every option type and keeps count. The build makes one module of
 * each variant: see tests/plugins/local.mk. Everything is const and static, as the contract asks.
 */
#include "audit/plugin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)
#ifndef MOCK_CLASS
#define MOCK_CLASS TEXT(MOCK_NAME)
#endif

#ifdef MOCK_NEEDS_LIBRARY
int mock_dependency(void);
#endif
#ifdef MOCK_UNDEFINED
int mock_function_that_nobody_has(void);
#endif

struct mock {
    const struct aw_host *host;
    uint64_t written;
    int64_t delay_ns;
    uint32_t metric;
};

#ifndef MOCK_NO_ENTRY

/* ---- options ---- */
#ifdef MOCK_BAD_SCHEMA
static const struct aw_option o_type = {sizeof(struct aw_option), 999, 0, 0, "strange", NULL, "", 0, 0, NULL};
static const struct aw_option o_range = {sizeof(struct aw_option), AW_OPT_INT, 0, 0, "range", NULL, "", 9, 3, NULL};
static const struct aw_option o_default = {sizeof(struct aw_option), AW_OPT_SIZE, 0, 0, "room", "lots", "", 0, 0, NULL};
static const struct aw_option o_outside = {
    sizeof(struct aw_option), AW_OPT_UINT, 0, 0, "outside", "11", "", 1, 10, NULL};
static const struct aw_option o_twice = {sizeof(struct aw_option), AW_OPT_BOOL, 0, 0, "range", NULL, "", 0, 0, NULL};
static const struct aw_option o_key = {sizeof(struct aw_option), AW_OPT_BOOL, 0, 0, "Bad-Key", NULL, "", 0, 0, NULL};
static const struct aw_option o_enum = {sizeof(struct aw_option), AW_OPT_ENUM, 0, 0, "choice", NULL, "", 0, 0, NULL};
static const struct aw_option o_short = {20, AW_OPT_BOOL, 0, 0, "short", NULL, "", 0, 0, NULL};
static const struct aw_option *const options[] = {&o_type,  &o_range, &o_default, &o_outside,
                                                  &o_twice, &o_key,   &o_enum,    NULL};
static const struct aw_option *const short_options[] = {&o_short, NULL};
#else
static const char *const colours[] = {"red", "green", "blue", NULL};
static const struct aw_option o_flag = {
    sizeof(struct aw_option), AW_OPT_BOOL, 0, 0, "flag", "true", "A switch.", 0, 0, NULL};
static const struct aw_option o_count = {
    sizeof(struct aw_option), AW_OPT_INT, 0, 0, "count", "-3", "A number.", -10, 10, NULL};
static const struct aw_option o_big = {sizeof(struct aw_option), AW_OPT_UINT, 0, 0,   "big", NULL,
                                       "A large number.",        0,           0, NULL};
static const struct aw_option o_room = {
    sizeof(struct aw_option), AW_OPT_SIZE, AW_OPT_RELOADABLE, 0, "room", "64MiB", "How much.", 1024,
    INT64_C(1) << 40,         NULL};
static const struct aw_option o_pause = {sizeof(struct aw_option),
                                         AW_OPT_DURATION,
                                         0,
                                         0,
                                         "pause",
                                         "0",
                                         "How long a write takes.",
                                         0,
                                         INT64_C(60000000000),
                                         NULL};
static const struct aw_option o_label = {
    sizeof(struct aw_option), AW_OPT_STRING, 0, 0, "label", NULL, "A text.", 0, 0, NULL};
static const struct aw_option o_colour = {
    sizeof(struct aw_option), AW_OPT_ENUM, 0, 0, "colour", "green", "A colour.", 0, 0, colours};
static const struct aw_option o_path = {
    sizeof(struct aw_option), AW_OPT_PATH, MOCK_REQUIRED, 0, "path", NULL, "Where it is.", 0, 0, NULL};
static const struct aw_option o_secret = {
    sizeof(struct aw_option), AW_OPT_SECRET, 0, 0, "password", NULL, "Its key.", 0, 0, NULL};
static const struct aw_option o_tags = {sizeof(struct aw_option), AW_OPT_LIST,   0, 0, "tags",
                                        "( \"a\", \"b c\" )",     "Some texts.", 0, 0, NULL};
static const struct aw_option o_old = {
    sizeof(struct aw_option), AW_OPT_BOOL, AW_OPT_DEPRECATED, 0, "old", NULL, "Use flag.", 0, 0, NULL};
static const struct aw_option *const options[] = {&o_flag,   &o_count, &o_big,    &o_room, &o_pause, &o_label,
                                                  &o_colour, &o_path,  &o_secret, &o_tags, &o_old,   NULL};
#endif

/* ---- the sink ---- */
static int32_t mock_create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
#ifdef MOCK_CRASH_IN_CREATE
    abort();
#endif
#ifdef MOCK_UNDEFINED
    (void)mock_function_that_nobody_has();
#endif
#ifdef MOCK_NEEDS_LIBRARY
    (void)mock_dependency();
#endif
    struct mock *m = calloc(1, sizeof *m);
    if (!m)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    m->host = host;
    (void)host->config_int(config, "pause", &m->delay_ns);
    int32_t rc = host->metric_register(host, AW_METRIC_COUNTER, "mock_events_total", "Events seen.", &m->metric);
    if (rc != AW_OK) {
        free(m);
        return aw_host_error(host, rc, "no metric");
    }
    *ret = m;
    return AW_OK;
}

#ifdef MOCK_FAIL_START
static int32_t mock_start(void *sink)
{
    struct mock *m = sink;
    return aw_host_error(m->host, AW_E_CONFIG, "the store at \"%s\" is on strike", "nowhere");
}
#else
#define mock_start NULL
#endif

#ifndef MOCK_NO_WRITE
static int32_t mock_write(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct mock *m = sink;
    if (m->delay_ns > 0) {
        struct timespec t = {(time_t)(m->delay_ns / 1000000000), (long)(m->delay_ns % 1000000000)};
        (void)nanosleep(&t, NULL);
    }
#ifndef MOCK_UNSET
    memset(result->status, AW_EVENT_DURABLE, batch->count);
#else
    (void)result; /* the statuses stay what the host preset */
#endif
    m->written += batch->count;
    m->host->metric_add(m->host, m->metric, (double)batch->count);
    return AW_OK;
}

static void mock_destroy(void *sink)
{
    free(sink);
}
#endif

/* The struct of a newer minor version: longer, with members that no host knows yet. */
struct future_sink {
    struct aw_sink_class now;
    int32_t (*later)(void *);
    uint64_t more[8];
};
struct future_plugin {
    struct aw_plugin now;
    const void *later[4];
};

#define SINK_SIZE sizeof(struct aw_sink_class)
#define SINK_THREADS AW_THREADS_SERIAL_INSTANCE
#define SINK_WRITE mock_write
#define SINK_DESTROY mock_destroy
#define SINK_EXTENSION NULL
#if defined MOCK_FUTURE
#undef SINK_SIZE
#define SINK_SIZE sizeof(struct future_sink)
#elif defined MOCK_SHORT
#undef SINK_SIZE
#define SINK_SIZE 40
#elif defined MOCK_OLDER /* what stands behind the end of an older struct must not be read */
#undef SINK_SIZE
#undef SINK_EXTENSION
#define SINK_SIZE offsetof(struct aw_sink_class, extension)
#define SINK_EXTENSION (const void *(*)(void *, const char *))(uintptr_t) 0x11
#elif defined MOCK_BAD_THREADS
#undef SINK_THREADS
#define SINK_THREADS 7
#elif defined MOCK_NO_WRITE
#undef SINK_WRITE
#undef SINK_DESTROY
#define SINK_WRITE NULL
#define SINK_DESTROY NULL
#endif

static const struct future_sink sink = {
    {SINK_SIZE, SINK_THREADS, AW_DURABLE_ON_WRITE, 0, MOCK_CLASS, "A sink for tests.", options, mock_create, mock_start,
     SINK_WRITE, NULL, NULL, NULL, NULL, NULL, NULL, SINK_DESTROY, SINK_EXTENSION},
    (int32_t(*)(void *))(uintptr_t)0x11,
    {1, 2, 3, 4, 5, 6, 7, 8},
};

#ifdef MOCK_BAD_SCHEMA
static const struct aw_sink_class short_sink = {sizeof(struct aw_sink_class),
                                                AW_THREADS_SERIAL_INSTANCE,
                                                AW_DURABLE_NEVER,
                                                0,
                                                "m_badschema_short",
                                                "",
                                                short_options,
                                                mock_create,
                                                NULL,
                                                mock_write,
                                                NULL,
                                                NULL,
                                                NULL,
                                                NULL,
                                                NULL,
                                                NULL,
                                                mock_destroy,
                                                NULL};
static const struct aw_sink_class *const sinks[] = {&sink.now, &short_sink, NULL};
#else
static const struct aw_sink_class *const sinks[] = {&sink.now, NULL};
#endif

#ifdef MOCK_NEEDS
static const char *const needs[] = {"org.example.nobody-has-this/1", NULL};
#else
#define needs NULL
#endif

#ifdef MOCK_BAD_LOAD
static int32_t mock_load(const struct aw_host *host)
{
    static int calls;
    return aw_host_error(host, AW_E_INTERNAL, "no weather today (call %d)", ++calls);
}
#else
#define mock_load NULL
#endif

#define PLUGIN_SIZE sizeof(struct aw_plugin)
#define PLUGIN_MAGIC AW_PLUGIN_MAGIC
#define PLUGIN_MAJOR AW_ABI_MAJOR
#define PLUGIN_MINOR AW_ABI_MINOR
#if defined MOCK_FUTURE
#undef PLUGIN_SIZE
#undef PLUGIN_MINOR
#define PLUGIN_SIZE sizeof(struct future_plugin)
#define PLUGIN_MINOR (AW_ABI_MINOR + 7)
#elif defined MOCK_BAD_MAGIC
#undef PLUGIN_MAGIC
#define PLUGIN_MAGIC 0x12345678u
#elif defined MOCK_BAD_MAJOR
#undef PLUGIN_MAJOR
#define PLUGIN_MAJOR 2
#endif

static const struct future_plugin plugin = {
    {PLUGIN_SIZE, PLUGIN_MAGIC, PLUGIN_MAJOR, PLUGIN_MINOR, 0, "org.example.mock." TEXT(MOCK_NAME), "1.0", "Apache-2.0",
     "A plugin for tests.", needs, sinks, NULL, mock_load, NULL},
    {sinks, sinks, sinks, sinks},
};

#if defined MOCK_EPOCH
extern AW_PLUGIN_EXPORT const struct aw_plugin *auditwell_plugin_v2(void);
const struct aw_plugin *auditwell_plugin_v2(void)
{
    return &plugin.now;
}
#elif defined MOCK_NULL_ENTRY
extern AW_PLUGIN_EXPORT const struct aw_plugin *auditwell_plugin_v1(void);
const struct aw_plugin *auditwell_plugin_v1(void)
{
    (void)plugin;
    return NULL;
}
#else
AW_PLUGIN_REGISTER(plugin.now)
#endif

#else /* MOCK_NO_ENTRY */
extern AW_PLUGIN_EXPORT int mock_something_else(void);
int mock_something_else(void)
{
    return (int)sizeof(struct mock);
}
#endif
