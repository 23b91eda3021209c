/* puppet.c - a sink that behaves as a file says, for tests of delivery. SPDX-License-Identifier: Apache-2.0
 *
 *   sinks = ( { plugin = "puppet"; path = "/…/received"; orders = "/…/orders"; } )
 *
 * Before each write the first word of `orders` is read (absent: "ok"):
 *   ok           every event is stored and durable
 *   retry        the sink fails for now
 *   config       the sink says its configuration is wrong
 *   reject       every event is rejected, each with a reason
 *   odd          events with an odd seq are rejected
 *   refuse       the batch as a whole is rejected when it holds an odd seq
 *   half         only every other event gets a status
 *   flap         every other call fails
 *   slow         20 ms an event
 *   crawl        one second an event, until the orders change
 *   forget       events are accepted and kept in memory until the flush, and every other flush fails with all forgotten
 *   hang         does not return before the orders change, whatever the deadline says
 * What it stores is one line an event: its id, or with whole = true the event itself.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit/plugin.h"

struct puppet {
    const struct aw_host *host;
    char path[400], orders[400];
    FILE *received;
    int32_t whole;
    unsigned calls, flushes;
    char *memory; /* lines that were accepted under "forget" */
    size_t memory_len, memory_room;
    uint64_t last_seq; /* the newest that it took */
};

static const struct aw_option opt_path = {
    sizeof opt_path, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "path", NULL, "where ids go", 0, 0, NULL};
static const struct aw_option opt_orders = {
    sizeof opt_orders, AW_OPT_PATH, AW_OPT_REQUIRED, 0, "orders", NULL, "the file that says what to do", 0, 0, NULL};
static const struct aw_option opt_whole = {
    sizeof opt_whole, AW_OPT_BOOL, 0, 0, "whole", "false", "whether events are stored, not only ids", 0, 0, NULL};
static const struct aw_option *const options[] = {&opt_path, &opt_orders, &opt_whole, NULL};

static bool take_path(const struct aw_host *host, const struct aw_config *config, const char *key, char *out,
                      size_t size)
{
    struct aw_str s;
    if (host->config_str(config, key, &s) != AW_OK || s.len >= size)
        return false;
    memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return true;
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct puppet *s = calloc(1, sizeof *s);
    if (!s)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    (void)host->config_bool(config, "whole", &s->whole);
    if (!take_path(host, config, "path", s->path, sizeof s->path) ||
        !take_path(host, config, "orders", s->orders, sizeof s->orders)) {
        free(s);
        return aw_host_error(host, AW_E_CONFIG, "path and orders must be shorter");
    }
    *ret_sink = s;
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct puppet *s = sink;
    s->received = fopen(s->path, "ae");
    return s->received ? AW_OK : aw_host_error(s->host, AW_E_UNAVAILABLE, "%s cannot be opened", s->path);
}

static void read_orders(const struct puppet *s, char out[32])
{
    FILE *f = fopen(s->orders, "re");
    if (!f || fscanf(f, "%31s", out) != 1)
        memcpy(out, "ok", sizeof "ok");
    if (f)
        (void)fclose(f);
}

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool line_of(const struct puppet *s, const struct aw_event *event, struct aw_str *ret)
{
    return (s->whole ? s->host->event_encoded(event, "json", ret)
                     : s->host->event_field(event, AW_FIELD_EVENT_ID, ret)) == AW_OK;
}

static int32_t store(struct puppet *s, const struct aw_event *event)
{
    struct aw_str line;
    if (!line_of(s, event, &line))
        return AW_E_INTERNAL;
    return fwrite(line.ptr, 1, line.len, s->received) == line.len && putc('\n', s->received) == '\n' ? AW_OK
                                                                                                     : AW_E_RETRY;
}

static int32_t remember(struct puppet *s, const struct aw_event *event)
{
    struct aw_str line;
    if (!line_of(s, event, &line))
        return AW_E_INTERNAL;
    if (s->memory_room - s->memory_len < line.len + 1) {
        size_t room = (s->memory_room + line.len + 1) * 2;
        char *p = realloc(s->memory, room);
        if (!p)
            return AW_E_RETRY;
        s->memory = p;
        s->memory_room = room;
    }
    memcpy(s->memory + s->memory_len, line.ptr, line.len);
    s->memory[s->memory_len + line.len] = '\n';
    s->memory_len += line.len + 1;
    return AW_OK;
}

static bool is_odd(const struct puppet *s, const struct aw_event *event)
{
    uint64_t seq = 0;
    (void)s->host->event_number(event, AW_NUMBER_SEQ, &seq);
    return seq % 2 != 0;
}

/* What is wrong with the batch as a whole. */
static int32_t refuse_batch(struct puppet *s, const char *orders, const struct aw_batch *batch)
{
    if (strcmp(orders, "retry") == 0 || (strcmp(orders, "flap") == 0 && s->calls++ % 2 == 0))
        return aw_host_error(s->host, AW_E_RETRY, "not now");
    if (strcmp(orders, "config") == 0)
        return aw_host_error(s->host, AW_E_CONFIG, "no such store");
    for (size_t i = 0; strcmp(orders, "refuse") == 0 && i < batch->count; i++)
        if (is_odd(s, batch->events[i]))
            return aw_host_error(s->host, AW_E_REJECTED, "something in it is odd");
    return AW_OK;
}

/* false: the orders are not these any more. */
static bool nap_while(const struct puppet *s, const char *orders, int ms)
{
    char now[32];
    memcpy(now, orders, strlen(orders) + 1);
    for (int slept = 0; slept < ms && strcmp(now, orders) == 0; slept += 5) {
        nap(5);
        read_orders(s, now);
    }
    return strcmp(now, orders) == 0;
}

static int32_t take_event(struct puppet *s, const char *orders, const struct aw_event *e, uint8_t *ret_status)
{
    bool forgets = strcmp(orders, "forget") == 0;
    if (strcmp(orders, "slow") == 0)
        nap(20);
    else if (strcmp(orders, "crawl") == 0 && !nap_while(s, orders, 1000))
        return AW_E_RETRY;
    int32_t rc = forgets ? remember(s, e) : store(s, e);
    if (rc == AW_OK)
        *ret_status = forgets ? AW_EVENT_ACCEPTED : AW_EVENT_DURABLE;
    if (rc == AW_OK)
        (void)s->host->event_number(e, AW_NUMBER_SEQ, &s->last_seq);
    return rc;
}

static int32_t write_events(void *sink, const struct aw_batch *batch, struct aw_result *result)
{
    struct puppet *s = sink;
    char orders[32];
    for (read_orders(s, orders); strcmp(orders, "hang") == 0; read_orders(s, orders))
        nap(5);
    int32_t rc = refuse_batch(s, orders, batch);
    for (size_t i = 0; i < batch->count && rc == AW_OK; i++) {
        const struct aw_event *e = batch->events[i];
        if (strcmp(orders, "reject") == 0 || (strcmp(orders, "odd") == 0 && is_odd(s, e))) {
            result->status[i] = AW_EVENT_REJECTED;
            aw_host_event_error(s->host, i, "I do not like it");
            continue;
        }
        if (strcmp(orders, "half") == 0 && i % 2 != 0)
            continue;
        rc = take_event(s, orders, e, &result->status[i]);
    }
    if (fflush(s->received) == 0)
        return rc;
    memset(result->status, AW_EVENT_RETRY, batch->count); /* what of them is in the file is not known */
    return AW_E_RETRY;
}

static int32_t flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq)
{
    struct puppet *s = sink;
    char orders[32];
    (void)deadline_ns;
    read_orders(s, orders);
    size_t len = s->memory_len;
    s->memory_len = 0;
    if (strcmp(orders, "forget") == 0 && s->flushes++ % 2 == 0)
        return aw_host_error(s->host, AW_E_RETRY, "what was accepted?");
    if (len > 0 && (fwrite(s->memory, 1, len, s->received) != len || fflush(s->received) != 0))
        return aw_host_error(s->host, AW_E_RETRY, "%s cannot be written", s->path);
    *ret_durable_seq = s->last_seq;
    return AW_OK;
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct puppet *s = sink;
    (void)deadline_ns;
    if (s->received)
        (void)fclose(s->received);
    s->received = NULL;
    s->memory_len = 0; /* what was not flushed is lost to it: it must come again */
    return AW_OK;
}

static void destroy(void *sink)
{
    struct puppet *s = sink;
    if (s->received)
        (void)fclose(s->received);
    free(s->memory);
    free(s);
}

static const struct aw_sink_class puppet_class = {
    .struct_size = sizeof puppet_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .name = "puppet",
    .summary = "Does what a file says.",
    .options = options,
    .create = create,
    .start = start,
    .write = write_events,
    .flush = flush,
    .stop = stop,
    .destroy = destroy,
};
static const struct aw_sink_class *const sinks[] = {&puppet_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.test.puppet",
                                        "1",
                                        "Apache-2.0",
                                        "Does what a file says.",
                                        NULL,
                                        sinks,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
