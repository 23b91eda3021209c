/* memory.c - how much memory a logger takes, and what it does not touch. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "memory_probe.h"
#include "rig.h"

#define MIB 1024u /* in KiB */

static bool fail(char *why, size_t size, const char *what)
{
    (void)snprintf(why, size, "%s: %s", what, rig_problems());
    return false;
}

static void in_child(rig_fn fn, void *arg, unsigned seconds)
{
    char why[1100];
    bool good = rig_in_child(fn, arg, seconds, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT(good);
}

/* ---- events that pass leave nothing behind ---- */
static bool pass_events(void *arg, char *why, size_t size)
{
    const struct rig *rig = arg;
    struct aw_logger *logger;
    char json[1024];
    size_t worst = 0, count = harness_slow() ? 10000 : 200000;
    if (rig_open(rig, 0, NULL, NULL, &logger) != AW_SUCCESS)
        return fail(why, size, "aw_open");
    for (uint64_t i = 1; i <= count; i++) {
        struct memory_use m;
        size_t n = rig_event(i, NULL, json, sizeof json);
        if (aw_log_json(logger, json, n, NULL) != AW_SUCCESS)
            return fail(why, size, "aw_log_json");
        if (i % (count / 20) == 0 && memory_measure(rig->dir, &m) && m.rss_kib - m.mapped_kib > worst)
            worst = m.rss_kib - m.mapped_kib;
    }
    if (aw_flush(logger, 60000) != AW_SUCCESS || aw_close(logger, 60000) != AW_SUCCESS)
        return fail(why, size, "aw_flush, aw_close");
    harness_note("%zu events passed; %zu KiB resident at most beside mapped journal files", count, worst);
    if (!harness_slow() && (worst == 0 || worst > 64 * MIB)) {
        (void)snprintf(why, size, "%zu KiB resident, more than 64 MiB", worst);
        return false;
    }
    return true;
}

static void test_passing(void)
{
    struct rig rig;
    char sinks[600];
    (void)snprintf(sinks, sizeof sinks, "{ plugin = \"file\"; path = \"%s/passing/audit.jsonl\"; }", harness_tmpdir());
    rig_init(&rig, harness_tmpdir(), "passing", &(struct rig_options){.sinks = sinks});
    in_child(pass_events, &rig, 200);
    rig_remove(&rig);
}

/* ---- a million scopes ---- */
struct scopes {
    struct rig rig;
    uint64_t count;
    bool again; /* opened over a journal that has them */
};

static bool many_scopes(void *arg, char *why, size_t size)
{
    const struct scopes *s = arg;
    struct aw_logger *logger;
    struct memory_use before, after;
    char json[256];
    struct aw_stats stats = {.struct_size = sizeof stats};
    if (!memory_measure(s->rig.dir, &before) || rig_open(&s->rig, 0, NULL, NULL, &logger) != AW_SUCCESS)
        return fail(why, size, "aw_open");
    for (uint64_t i = 0; i < (s->again ? 1 : s->count); i++) {
        int n = snprintf(json, sizeof json,
                         "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":\"1\"},"
                         "\"context\":{\"tenantId\":\"t%" PRIu64 "\"}}",
                         i);
        if (aw_log_json(logger, json, (size_t)n, NULL) != AW_SUCCESS)
            return fail(why, size, "aw_log_json");
    }
    if (aw_stats(logger, &stats) != AW_SUCCESS || !memory_measure(s->rig.dir, &after))
        return fail(why, size, "aw_stats");
    size_t grown = after.rss_kib - after.mapped_kib - (before.rss_kib - before.mapped_kib);
    if (aw_flush(logger, 120000) != AW_SUCCESS || aw_close(logger, 60000) != AW_SUCCESS)
        return fail(why, size, "aw_flush, aw_close");
    harness_note("%" PRIu64 " scopes%s: %zu MiB more resident", stats.scopes, s->again ? " recovered" : "",
                 grown / MIB);
    if (stats.scopes != s->count || (!harness_slow() && grown > 192 * MIB)) {
        (void)snprintf(why, size, "%" PRIu64 " scopes of %" PRIu64 " in %zu MiB (at most 192)", stats.scopes, s->count,
                       grown / MIB);
        return false;
    }
    return true;
}

static void test_scopes(void)
{
    struct scopes s = {.count = harness_slow() ? 20000 : 1000000, .again = false};
    rig_init(&s.rig, harness_tmpdir(), "scopes",
             &(struct rig_options){.sinks = "{ plugin = \"null\"; }", .journal = "max_size = \"4GiB\";"});
    in_child(many_scopes, &s, 200);
    s.again = true;
    in_child(many_scopes, &s, 200);
    rig_remove(&s.rig);
}

/* ---- no allocation on the way in ---- */
struct way {
    const char *name;
    int (*log)(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder, uint64_t number);
};

static int way_json(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder, uint64_t number)
{
    char json[1024];
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    size_t n = rig_event(number, NULL, json, sizeof json);
    (void)context;
    (void)builder;
    return aw_log_json(logger, json, n, &receipt);
}

static int way_json_in(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder,
                       uint64_t number)
{
    char json[1024];
    size_t n = rig_event(number, NULL, json, sizeof json);
    (void)builder;
    return aw_log_json_in(logger, context, json, n, NULL);
}

static int way_batch(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder, uint64_t number)
{
    char json[3][1024];
    struct aw_json events[3];
    size_t taken;
    (void)builder;
    for (size_t i = 0; i < 3; i++)
        events[i] = (struct aw_json){json[i], rig_event(3 * number + i, NULL, json[i], sizeof json[i])};
    return aw_log_json_batch(logger, context, events, 3, NULL, &taken);
}

static void fill(struct aw_builder *b, uint64_t number)
{
    char id[24];
    (void)snprintf(id, sizeof id, "u%" PRIu64, number);
    aw_builder_reset(b);
    (void)aw_set_action(b, "document.update", AW_OUTCOME_SUCCESS);
    (void)aw_set_actor(b, "user", id);
    (void)aw_set_target(b, "document", "d1");
    (void)aw_set_string(b, "actor.roles[]", "editor");
    (void)aw_set_string(b, "actor.roles[]", "owner");
    (void)aw_set_string(b, "context.tenantId", number % 2 ? "t1" : "t2");
    (void)aw_set_int(b, "metadata.n", (int64_t)number);
    (void)aw_set_double(b, "metadata.ratio", 0.1);
    (void)aw_set_bool(b, "metadata.deep.flag", 1);
    (void)aw_set_string(b, "metadata.request.password", "x");
    (void)aw_set_string(b, "metadata.note", "ein Gr\xc3\xbc\xc3\x9f \"hier\"\n");
}

static int way_builder(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder,
                       uint64_t number)
{
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    (void)context;
    fill(builder, number);
    return aw_log(logger, builder, &receipt);
}

static int way_builder_in(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder,
                          uint64_t number)
{
    fill(builder, number);
    return aw_log_in(logger, context, builder, NULL);
}

static int way_pushed(struct aw_logger *logger, struct aw_context *context, struct aw_builder *builder, uint64_t number)
{
    int rc = aw_context_push(context);
    if (rc == AW_SUCCESS) {
        fill(builder, number);
        rc = aw_log(logger, builder, NULL);
        (void)aw_context_pop();
    }
    return rc;
}

static const struct way ways[] = {{"aw_log_json", way_json},        {"aw_log_json_in", way_json_in},
                                  {"aw_log_json_batch", way_batch}, {"aw_log", way_builder},
                                  {"aw_log_in", way_builder_in},    {"aw_log under a pushed context", way_pushed}};

#define WARM_UP 2000
#define COUNTED 5000

static bool count_allocations(void *arg, char *why, size_t size)
{
    const struct rig *rig = arg;
    struct aw_logger *logger, *child;
    struct aw_builder *builder = aw_builder_create();
    struct aw_context *context = aw_context_create();
    bool good = true;
    if (!builder || !context || rig_open(rig, 0, NULL, NULL, &logger) != AW_SUCCESS)
        return fail(why, size, "aw_open");
    (void)aw_context_set(context, "context.orgId", "o1");
    (void)aw_context_set(context, "metadata.route", "/x/:id");
    if (aw_logger_child(logger, context, &child) != AW_SUCCESS)
        return fail(why, size, "aw_logger_child");
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        size_t total = 0;
        for (uint64_t i = 0; i < WARM_UP + COUNTED; i++) {
            allocations_start();
            int rc = ways[w].log(i % 2 ? logger : child, context, builder, w * 100000 + i + 1);
            size_t n = allocations_stop();
            total += i < WARM_UP ? 0 : n;
            if (rc != AW_SUCCESS)
                return fail(why, size, ways[w].name);
        }
        if (total) {
            (void)snprintf(why, size, "%s: %zu allocations in %d calls after warm-up", ways[w].name, total, COUNTED);
            good = false;
        }
    }
    aw_logger_child_destroy(child);
    aw_builder_destroy(builder);
    aw_context_destroy(context);
    return aw_close(logger, 60000) == AW_SUCCESS ? good : fail(why, size, "aw_close");
}

static void test_allocations(void)
{
    struct rig rig;
    if (!allocations_counted()) {
        harness_note("this sanitizer has no hooks to count with; counted in the other builds");
        return;
    }
    /* The counter counts: or the test below could not fail. */
    allocations_start();
    void *volatile p = malloc(10);
    CU_ASSERT_EQUAL(allocations_stop(), 1);
    free(p);
    rig_init(&rig, harness_tmpdir(), "allocations", NULL);
    in_child(count_allocations, &rig, 120);
    rig_remove(&rig);
}

/* ---- S11: the caller's memory ---- */
/* Text that ends at the end of a page, before a page that cannot be touched; it cannot be written. */
static char *fenced(const char *text, size_t len, void **ret_map, size_t *ret_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (len + page - 1) / page * page;
    char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    memcpy(map + room - len, text, len);
    if (mprotect(map, room, PROT_READ) || mprotect(map + room, page, PROT_NONE))
        return NULL;
    *ret_map = map;
    *ret_size = room + page;
    return map + room - len;
}

static bool leave_memory_alone(void *arg, char *why, size_t size)
{
    const struct rig *rig = arg;
    struct aw_logger *logger;
    if (rig_open(rig, 0, NULL, NULL, &logger) != AW_SUCCESS)
        return fail(why, size, "aw_open");
    for (uint64_t i = 1; i <= 300; i++) {
        char json[1024], pad[64];
        void *map;
        size_t mapped, n = rig_event(i, "hunter2", json, sizeof json);
        /* Every length of the end that a wide load could miss. */
        memset(pad, ' ', sizeof pad);
        memcpy(json + n, pad, i % 40);
        n += i % 40;
        char *fence = fenced(json, n, &map, &mapped);
        if (!fence)
            return fail(why, size, "mmap");
        if (aw_log_json(logger, fence, n, NULL) != AW_SUCCESS)
            return fail(why, size, "aw_log_json");
        (void)aw_log_json(logger, fence, n - i % 200, NULL); /* cut off: refused, and as careful */
        if (memcmp(fence, json, n) != 0) {
            (void)snprintf(why, size, "the caller's text was changed");
            return false;
        }
        (void)munmap(map, mapped);
    }
    return aw_close(logger, 60000) == AW_SUCCESS || fail(why, size, "aw_close");
}

static void test_caller(void)
{
    struct rig rig;
    rig_init(&rig, harness_tmpdir(), "caller", NULL);
    in_child(leave_memory_alone, &rig, 60);
    rig_remove(&rig);
}

HARNESS_MAIN("memory", {"events that pass leave nothing resident", test_passing},
             {"a million scopes fit into 192 MiB, also after recovery", test_scopes},
             {"no allocation by a log call after warm-up", test_allocations},
             {"S11: the caller's memory is only read, and only what was given", test_caller})
