/* test_logger.c - the public face over the real parts: file and null sinks loaded from the build directory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"

#include "audit/audit.h"
#include "base/base.h"
#include "base/fs.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct rig {
    struct aw_logger *logger;
    char dir[300], conf[1400];
};

static void print_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        harness_note("%s: %s: %s", aw_error_name(p[i]->code), p[i]->path, p[i]->message);
}

static bool problem_says(const char *path, const char *part)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        if (strstr(p[i]->path, path) && strstr(p[i]->message, part))
            return true;
    print_problems();
    return false;
}

static int open_again(struct rig *r, uint32_t flags)
{
    struct aw_open_options o = {.struct_size = sizeof o, .flags = flags, .config_text = r->conf};
    int rc = aw_open(&o, &r->logger);
    if (rc != AW_SUCCESS)
        print_problems();
    return rc;
}

/* extra: more settings, may hold "journal" settings of its own through journal. */
static void configure(struct rig *r, const char *name, const char *journal, const char *extra)
{
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    CU_ASSERT_EQUAL_FATAL(mkdir(r->dir, 0700), 0);
    snprintf(r->conf, sizeof r->conf,
             "service = \"tests\";\njournal = { path = \"%s/journal\"; ring_size = \"1MiB\"; segment_size = \"1MiB\"; "
             "%s };\n%s\n"
             "sinks = ( { plugin = \"file\"; name = \"trail\"; path = \"%s/trail.jsonl\"; fsync = \"never\"; },\n"
             "          { plugin = \"null\"; } );\n",
             r->dir, journal, extra, r->dir);
}

static char *trail(const struct rig *r)
{
    char path[400], *text = NULL;
    snprintf(path, sizeof path, "%s/trail.jsonl", r->dir);
    if (fs_read_file(path, 100u << 20, &text, NULL) != 0)
        return strdup("");
    return text;
}

static size_t lines_with(const struct rig *r, const char *part)
{
    AW_AUTOFREE char *text = trail(r);
    size_t n = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        n += strstr(line, part) != NULL;
    return n;
}

static struct aw_builder *sample(void)
{
    struct aw_builder *b = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    aw_set_action(b, "document.read", AW_OUTCOME_SUCCESS);
    aw_set_actor(b, "user", "u1");
    aw_set_target(b, "document", "d1");
    return b;
}

static void takes_events_and_gives_receipts(void)
{
    struct rig r;
    configure(&r, "basic", "", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    struct aw_builder *b = sample();
    aw_set_string(b, "eventId", "my-id-1");
    struct aw_receipt first = {.struct_size = sizeof first}, second = first;
    CU_ASSERT_EQUAL(aw_log(r.logger, b, &first), 0);
    static const char json[] =
        "{\"action\":\"a.b\",\"outcome\":\"DENIED\",\"actor\":{\"type\":\"user\",\"id\":\"u2\"}}";
    CU_ASSERT_EQUAL(aw_log_json(r.logger, json, sizeof json - 1, &second), 0);
    CU_ASSERT_EQUAL(first.seq, 1);
    CU_ASSERT_EQUAL(second.seq, 2);
    CU_ASSERT_STRING_EQUAL(first.event_id, "my-id-1");
    CU_ASSERT_EQUAL(strlen(second.event_id), 36);
    CU_ASSERT_EQUAL(strlen(first.hash), 64);
    CU_ASSERT_EQUAL(aw_sync(r.logger, -1), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    AW_AUTOFREE char *text = trail(&r);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, first.hash));
    char prev[100];
    snprintf(prev, sizeof prev, "\"prevHash\":\"%s\"", first.hash);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, prev)); /* one service, one chain */
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"sourceService\":\"tests\""));
    struct aw_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.events_total, 2);
    CU_ASSERT_EQUAL(s.sinks, 2);
    CU_ASSERT_EQUAL(s.durable_seq, 2);
    for (size_t i = 0; i < 2; i++) {
        struct aw_sink_stats ss = {.struct_size = sizeof ss};
        CU_ASSERT_EQUAL(aw_stats_sink(r.logger, i, &ss), 0);
        CU_ASSERT_EQUAL(ss.written_total, 2);
        CU_ASSERT_EQUAL(ss.acked_seq, 2);
        CU_ASSERT_STRING_EQUAL(ss.name, i ? "null" : "trail");
    }
    struct aw_sink_stats ss = {.struct_size = sizeof ss};
    CU_ASSERT_EQUAL(aw_stats_sink(r.logger, 2, &ss), AW_ERR_NOTFOUND);
    aw_builder_destroy(b);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void invalid_events_list_every_problem(void)
{
    struct rig r;
    configure(&r, "invalid", "", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    static const char json[] = "{\"outcome\":\"MAYBE\",\"actor\":{\"type\":7}}";
    CU_ASSERT_EQUAL(aw_log_json(r.logger, json, sizeof json - 1, NULL), AW_ERR_INVALID_EVENT);
    CU_ASSERT(problem_says("action", ""));
    CU_ASSERT(problem_says("outcome", "SUCCESS"));
    CU_ASSERT(problem_says("actor.type", ""));
    CU_ASSERT(problem_says("actor.id", ""));
    CU_ASSERT_EQUAL(aw_log_json(r.logger, "{", 1, NULL), AW_ERR_INVALID_EVENT);
    CU_ASSERT_EQUAL(aw_log(r.logger, NULL, NULL), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_log_json(NULL, "{}", 2, NULL), AW_ERR_USAGE);
    struct aw_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.invalid_total, 2);
    CU_ASSERT_EQUAL(s.head_seq, 0);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void contexts_are_layered(void)
{
    struct rig r;
    configure(&r, "contexts", "", "environment = \"prod\";");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    struct aw_context *tenant = aw_context_create(), *request = aw_context_create(), *thread = aw_context_create();
    CU_ASSERT_EQUAL(aw_context_set(tenant, "context.tenantId", "t1"), 0);
    CU_ASSERT_EQUAL(aw_context_set(tenant, "context.requestId", "from-child"), 0);
    CU_ASSERT_EQUAL(aw_context_set(request, "context.requestId", "from-call"), 0);
    CU_ASSERT_EQUAL(aw_context_set(thread, "context.requestId", "from-thread"), 0);
    CU_ASSERT_EQUAL(aw_context_set(thread, "context.sessionId", "s-thread"), 0);
    struct aw_logger *child = NULL;
    CU_ASSERT_EQUAL_FATAL(aw_logger_child(r.logger, tenant, &child), 0);
    aw_context_destroy(tenant); /* the child has its own copy */
    CU_ASSERT_EQUAL(aw_context_push(thread), 0);
    struct aw_builder *b = sample();
    aw_set_string(b, "eventId", "e1");
    CU_ASSERT_EQUAL(aw_log_in(child, request, b, NULL), 0);
    aw_set_string(b, "eventId", "e2");
    CU_ASSERT_EQUAL(aw_log(child, b, NULL), 0);
    aw_set_string(b, "eventId", "e3");
    CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), 0);
    CU_ASSERT_EQUAL(aw_context_pop(), 0);
    CU_ASSERT_EQUAL(aw_context_pop(), AW_ERR_USAGE);
    aw_set_string(b, "eventId", "e4");
    CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(lines_with(&r, "\"requestId\":\"from-call\",\"sessionId\":\"s-thread\""), 1);
    CU_ASSERT_EQUAL(lines_with(&r, "\"requestId\":\"from-child\""), 1);
    CU_ASSERT_EQUAL(lines_with(&r, "\"requestId\":\"from-thread\""), 1);
    CU_ASSERT_EQUAL(lines_with(&r, "requestId"), 3);
    CU_ASSERT_EQUAL(lines_with(&r, "\"tenantId\":\"t1\""), 2);
    CU_ASSERT_EQUAL(lines_with(&r, "\"environment\":\"prod\""), 4);
    aw_builder_destroy(b);
    aw_context_destroy(request);
    aw_context_destroy(thread);
    CU_ASSERT_EQUAL(aw_close(child, 0), AW_ERR_USAGE);
    aw_logger_child_destroy(child);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void check_touches_nothing(void)
{
    struct rig r;
    configure(&r, "check", "", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, AW_OPEN_CHECK), 0);
    struct aw_builder *b = sample();
    CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), AW_ERR_SHUTDOWN);
    aw_builder_destroy(b);
    CU_ASSERT_EQUAL(aw_close(r.logger, 0), 0);
    CU_ASSERT_EQUAL(rmdir(r.dir), 0); /* still empty: no journal, no trail */
}

static void all_that_is_wrong_is_said_at_once(void)
{
    struct rig r;
    configure(&r, "wrong", "max_size = \"12 parsecs\";", "mdoe = \"queue\";\nredaction = { patterns = ( \"(\" ); };");
    char *path = strstr(r.conf, "fsync = \"never\"");
    memcpy(path, "fsyng", 5);
    CU_ASSERT_EQUAL(open_again(&r, AW_OPEN_CHECK), AW_ERR_CONFIG);
    CU_ASSERT(problem_says("<text>:2", "max_size"));
    CU_ASSERT(problem_says("<text>:3", "mode"));
    CU_ASSERT(problem_says("<text>:4", "pattern"));
    CU_ASSERT(problem_says("<text>:5", "fsync"));
}

static void second_opener_is_told_who_has_it(void)
{
    struct rig r, s;
    configure(&r, "busy", "slots = 1;", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    s = r;
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = s.conf};
    CU_ASSERT_EQUAL(aw_open(&o, &s.logger), AW_ERR_BUSY);
    char pid[20];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    CU_ASSERT(problem_says("", pid));
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void forked_child_has_a_slot(void)
{
    struct rig r;
    configure(&r, "fork", "", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    struct aw_builder *b = sample();
    CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), 0);
    if (HARNESS_FORKS_QUIETLY) {
        CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
        (void)usleep(300000);
    }
    pid_t pid = fork();
    if (pid == 0) {
        int ok = aw_log(r.logger, b, NULL) == 0 && aw_flush(r.logger, 20000) == 0 && aw_close(r.logger, 20000) == 0;
        harness_end_child(ok ? 0 : 1);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(lines_with(&r, "document.read"), 2);
    aw_builder_destroy(b);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

#define WRITERS 8
#define EACH 400
static struct aw_logger *shared;

static void *writer(void *arg)
{
    struct aw_builder *b = sample();
    char tenant[20];
    snprintf(tenant, sizeof tenant, "t%d", (int)(intptr_t)arg % 3);
    aw_set_string(b, "context.tenantId", tenant);
    intptr_t failures = 0;
    for (int i = 0; i < EACH; i++) {
        aw_set_int(b, "metadata.n", i);
        failures += aw_log(shared, b, NULL) != 0;
        if (i % 100 == 0)
            failures += aw_sync(shared, -1) != 0;
    }
    aw_builder_destroy(b);
    return (void *)failures;
}

static void many_threads(void)
{
    struct rig r;
    configure(&r, "threads", "", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    shared = r.logger;
    pthread_t t[WRITERS];
    for (intptr_t i = 0; i < WRITERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, writer, (void *)i), 0);
    for (size_t i = 0; i < WRITERS; i++) {
        void *failures;
        pthread_join(t[i], &failures);
        CU_ASSERT_PTR_NULL(failures);
    }
    CU_ASSERT_EQUAL(aw_reopen(r.logger), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), 0);
    CU_ASSERT_EQUAL(lines_with(&r, "document.read"), WRITERS * EACH);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
    char store[420];
    snprintf(store, sizeof store, "file:%s/trail.jsonl", r.dir);
    struct aw_store_options so = {.struct_size = sizeof so, .store = store};
    struct aw_store *st;
    struct aw_verify_options vo = {.struct_size = sizeof vo, .flags = AW_VERIFY_COMPLETE};
    struct aw_verify_report report = {.struct_size = sizeof report};
    CU_ASSERT_EQUAL_FATAL(aw_store_open(&so, &st), 0);
    CU_ASSERT_EQUAL(aw_verify(st, &vo, &report), 0);
    CU_ASSERT_EQUAL(report.verdict, 0);
    CU_ASSERT_EQUAL(report.events, WRITERS * EACH);
    CU_ASSERT_EQUAL(report.scopes, 3);
    aw_store_close(st);
}

static void undelivered_events_wait_for_the_next_open(void)
{
    struct rig r;
    configure(&r, "later", "", "");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, AW_OPEN_NO_SINKS), 0);
    struct aw_builder *b = sample();
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), 0);
    struct aw_sink_stats ss = {.struct_size = sizeof ss};
    CU_ASSERT_EQUAL(aw_stats_sink(r.logger, 0, &ss), 0);
    CU_ASSERT_EQUAL(ss.lag_events, 10);
    CU_ASSERT_EQUAL(aw_close(r.logger, 1000), 0);
    CU_ASSERT_EQUAL(lines_with(&r, "document.read"), 0);
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(lines_with(&r, "document.read"), 10);
    aw_builder_destroy(b);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void modes_block_drop_and_disk(void)
{
    struct rig r;
    configure(&r, "block", "durability = \"disk\";", "mode = \"block\";");
    CU_ASSERT_EQUAL_FATAL(open_again(&r, 0), 0);
    struct aw_builder *b = sample();
    struct aw_stats s = {.struct_size = sizeof s};
    for (size_t i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(aw_log(r.logger, b, NULL), 0);
        CU_ASSERT_EQUAL(lines_with(&r, "document.read"), i); /* on return every sink has it */
        CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
        CU_ASSERT_EQUAL(s.durable_seq, i);
    }
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);

    struct rig d;
    configure(&d, "drop", "max_size = \"4MiB\";", "mode = \"drop\";");
    CU_ASSERT_EQUAL_FATAL(open_again(&d, AW_OPEN_NO_SINKS), 0); /* nobody delivers: the journal fills up */
    int rc = 0;
    size_t taken = 0;
    while ((rc = aw_log(d.logger, b, NULL)) == 0 && taken < 100000)
        taken++;
    CU_ASSERT_EQUAL(rc, AW_ERR_DROPPED);
    CU_ASSERT(taken > 1000);
    CU_ASSERT_EQUAL(aw_stats(d.logger, &s), 0);
    CU_ASSERT(s.dropped_total >= 1);
    CU_ASSERT_EQUAL(s.head_seq, taken);
    (void)aw_close(d.logger, 0);
    CU_ASSERT_EQUAL_FATAL(open_again(&d, 0), 0); /* what was taken is there, and room returns */
    CU_ASSERT_EQUAL(aw_flush(d.logger, 60000), 0);
    CU_ASSERT_EQUAL(lines_with(&d, "document.read"), taken);
    for (int i = 0; i < 500 && (rc = aw_log(d.logger, b, NULL)) == AW_ERR_DROPPED; i++)
        usleep(10000); /* delivered segments are removed in the background */
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT_EQUAL(aw_close(d.logger, 20000), 0);
    aw_builder_destroy(b);
}

HARNESS_MAIN("logger", {"takes events and gives receipts", takes_events_and_gives_receipts},
             {"invalid events list every problem", invalid_events_list_every_problem},
             {"contexts are layered", contexts_are_layered}, {"check touches nothing", check_touches_nothing},
             {"all that is wrong is said at once", all_that_is_wrong_is_said_at_once},
             {"a second opener is told who has it", second_opener_is_told_who_has_it},
             {"a forked child has a slot of its own", forked_child_has_a_slot}, {"many threads", many_threads},
             {"undelivered events wait for the next open", undelivered_events_wait_for_the_next_open},
             {"modes block and drop, durability disk", modes_block_drop_and_disk})
