/* test_mongodb.c - the mongodb sink on a double of the wire protocol (mongo_double.py).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

#define SECOND UINT64_C(1000000000)

static struct {
    pid_t pid;
    FILE *to, *from;
    char address[64];
} mongo;

/* Starts the double. The programs that may have the module bson are tried in turn. */
static void begin(void)
{
    static const char script[] =
        "for p in \"$PYTHON3\" /usr/bin/python3 python3; do [ -n \"$p\" ] && \"$p\" -c 'import bson.codec_options' "
        "2>/dev/null && exec \"$p\" \"$top_srcdir/tests/integration/sinks/mongo_double.py\"; done; echo none";
    int in[2], out[2];
    if (pipe(in) < 0 || pipe(out) < 0 || (mongo.pid = fork()) < 0) {
        printf("Bail out! no process\n");
        exit(1);
    }
    if (mongo.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    mongo.to = fdopen(in[1], "w");
    mongo.from = fdopen(out[0], "r");
    if (mongo.to == NULL || mongo.from == NULL || fgets(mongo.address, sizeof mongo.address, mongo.from) == NULL ||
        strncmp(mongo.address, "127.", 4) != 0) {
        printf("Bail out! the double does not start: is python3-bson installed?\n");
        kill(mongo.pid, SIGTERM);
        exit(1);
    }
    mongo.address[strcspn(mongo.address, "\n")] = '\0';
}

static void end(void)
{
    int status;
    fclose(mongo.to); /* its end */
    fclose(mongo.from);
    waitpid(mongo.pid, &status, 0);
}

/* Gives the double a command; its answer, in a static buffer. */
static const char *tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *tell(const char *format, ...)
{
    static char answer[64];
    va_list ap;
    va_start(ap, format);
    vfprintf(mongo.to, format, ap);
    va_end(ap);
    fputc('\n', mongo.to);
    fflush(mongo.to);
    if (fgets(answer, sizeof answer, mongo.from) == NULL)
        answer[0] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    CU_ASSERT_STRING_NOT_EQUAL(answer, "what?");
    CU_ASSERT_STRING_NOT_EQUAL(answer, "");
    return answer;
}

static struct mh_instance *made(void)
{
    struct mh_instance *m = MH("mongodb", "hosts", mongo.address, "database", "audit", "timeout", "3s");
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

static struct mh_instance *started(void)
{
    tell("index on");
    struct mh_instance *m = made();
    int32_t r = mh_start(m);
    if (r != AW_OK)
        harness_note("start: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    return m;
}

/* Each of [from, to] is there once, as it was sealed. */
static bool holds(uint64_t from, uint64_t to)
{
    char *path = mh_path("dump"), *line = NULL;
    size_t room = 0, n = 0, wrong = 0;
    bool *seen = calloc((size_t)(to - from + 1), 1);
    tell("dump %s", path);
    FILE *f = fopen(path, "r");
    while (f != NULL && getline(&line, &room, f) > 0) {
        char *save, *seq = strtok_r(line, "\t", &save), *id = strtok_r(NULL, "\t", &save),
                    *json = strtok_r(NULL, "\t", &save);
        uint64_t s = strtoull(seq, NULL, 10);
        struct aw_event *e = mh_event(s);
        if (s < from || s > to || seen[s - from] || strcmp(json, e->json) != 0 ||
            strcmp(id, e->fields[AW_FIELD_EVENT_ID].ptr) != 0)
            wrong++;
        else
            seen[s - from] = true;
        n++;
        mh_event_free(e);
    }
    if (f != NULL)
        fclose(f);
    free(line);
    free(seen);
    free(path);
    if (wrong > 0 || n != to - from + 1)
        harness_note("%zu documents, %zu wrong", n, wrong);
    return wrong == 0 && n == to - from + 1;
}

static void test_documents(void)
{
    begin();
    struct mh_instance *m = started();
    uint8_t status[300];
    CU_ASSERT_EQUAL(mh_write(m, 1, 300, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 300, AW_EVENT_DURABLE));
    CU_ASSERT_TRUE(holds(1, 300));
    CU_ASSERT_EQUAL(mh_write(m, 299, 302, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_DUPLICATE));
    CU_ASSERT_TRUE(mh_all(status + 2, 2, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_metric(m, "mongodb_duplicates_total"), 2);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 303, 303, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 304, 304, 0, status), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 304, 304, 0, status), AW_OK);
    CU_ASSERT_TRUE(holds(1, 304));
    /* a text with U+0000, and a time before 1970 */
    struct aw_event *e = mh_event(305);
    e->fields[AW_FIELD_ACTOR_ID] = (struct aw_str){"a\0b", 3};
    e->numbers[AW_NUMBER_OCCURRED_NS - AW_NUMBER_SEQ] = (uint64_t)-5;
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_TRUE(holds(1, 305));
    mh_event_free(e);
    mh_destroy(m);
    end();
}

static void refused(struct mh_instance *m, const char *text)
{
    CU_ASSERT_PTR_NULL(m);
    if (m == NULL && strstr(mh_last_error(), text) == NULL)
        harness_note("expected \"%s\", got: %s", text, mh_last_error());
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), text));
    CU_ASSERT_PTR_NULL(strstr(mh_last_error(), "canary"));
    mh_destroy(m);
}

#define BASE "hosts", "127.0.0.1:9", "database", "audit"
static void test_options(void)
{
    refused(MH("mongodb", "database", "audit"), "hosts: names none");
    refused(MH("mongodb", "hosts", "u:canary@h:1", "database", "audit"), "hosts: item 1");
    refused(MH("mongodb", "hosts", "h:99999", "database", "audit"), "hosts: ");
    refused(MH("mongodb", "hosts", "h:1", "database", "a.b"), "database: takes");
    refused(MH("mongodb", BASE, "collection", "a$b"), "collection: takes");
    refused(MH("mongodb", BASE, "collection", "system.users"), "collection: takes");
    refused(MH("mongodb", BASE, "password", "canary"), "username and password");
    refused(MH("mongodb", BASE, "username", "u"), "username and password");
    refused(MH("mongodb", BASE, "tls_ca", "/x"), "tls_ca: needs tls");
    refused(MH("mongodb", BASE, "auth_mechanism", "SCRAM-SHA-256"), "needs username and password");
    refused(MH("mongodb", BASE, "auth_mechanism", "MONGODB-X509"), "MONGODB-X509 needs tls");
    struct mh_instance *m = MH("mongodb", BASE, "username", "u", "password", "canary-77%@:/", "auth_mechanism",
                               "SCRAM-SHA-256", "timeout", "300ms");
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_UNAVAILABLE);
    harness_note("%s", m->error);
    CU_ASSERT_PTR_NULL(strstr(m->error, "canary"));
    CU_ASSERT_FALSE(mh_logged(m, "canary"));
    mh_destroy(m);
}

struct steps {
    size_t count;
    char text[1024];
};

static void step(void *arg, const char *text)
{
    struct steps *s = arg;
    size_t used = strlen(s->text);
    s->count++;
    snprintf(s->text + used, sizeof s->text - used, "%s\n", text);
}

static void test_index(void)
{
    begin();
    struct mh_instance *m = made();
    const struct aw_sink_probe *p = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    const struct aw_sink_migrate *g = m->class->extension(m->sink, AW_EXT_SINK_MIGRATE);
    struct steps s = {0, ""};
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "auditwell migrate"));
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_EQUAL(g->migrate(m->sink, AW_MIGRATE_DRY_RUN, step, &s), AW_OK);
    CU_ASSERT_EQUAL(s.count, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.text, "audit.audit_events: create the unique index auditwell_event on eventId"));
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_E_CONFIG); /* a dry run makes nothing */
    CU_ASSERT_EQUAL(g->migrate(m->sink, 0, step, &s), AW_OK);
    CU_ASSERT_EQUAL(s.count, 4);
    CU_ASSERT_EQUAL(g->migrate(m->sink, 0, step, &s), AW_OK);
    CU_ASSERT_EQUAL(s.count, 4);
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_OK);
    CU_ASSERT_STRING_EQUAL(tell("count"), "0");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    mh_destroy(m);
    m = made();
    tell("down");
    CU_ASSERT_EQUAL(p->probe(m->sink, m->host.mono_ns() + SECOND), AW_E_UNAVAILABLE);
    mh_destroy(m);
    end();
}

static void test_single_documents(void)
{
    begin();
    struct mh_instance *m = started();
    uint8_t status[6];
    static const struct {
        int code;
        uint8_t status;
        int32_t result;
    } items[] = {{121, AW_EVENT_REJECTED, AW_OK},   {10334, AW_EVENT_REJECTED, AW_OK},
                 {11000, AW_EVENT_REJECTED, AW_OK}, /* of an index of somebody else's: the text has no eventId */
                 {50, AW_EVENT_RETRY, AW_E_RETRY},  {14031, AW_EVENT_RETRY, AW_E_UNAVAILABLE},
                 {13, AW_EVENT_RETRY, AW_E_CONFIG}};
    uint64_t seq = 1;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++, seq += 6) {
        tell("item %d 2", items[i].code);
        CU_ASSERT_EQUAL(mh_write(m, seq, seq + 5, 0, status), items[i].result);
        CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_DURABLE) && mh_all(status + 3, 3, AW_EVENT_DURABLE));
        CU_ASSERT_EQUAL(status[2], items[i].status);
        if (items[i].status == AW_EVENT_REJECTED) {
            CU_ASSERT_EQUAL(m->event_error_index, 2);
            CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "this document is no good"));
        }
        CU_ASSERT_EQUAL(mh_write(m, seq + 2, seq + 2, 0, status), AW_OK);
    }
    CU_ASSERT_TRUE(holds(1, seq - 1));
    /* larger than a document may be */
    struct aw_event *e[3] = {mh_event(seq), mh_event_sized(seq + 1, (16 << 20) + 1000), mh_event(seq + 1)};
    CU_ASSERT_EQUAL(mh_write_events(m, e, 3, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(status[0] == AW_EVENT_DURABLE && status[1] == AW_EVENT_REJECTED && status[2] == AW_EVENT_DURABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "16 MiB"));
    CU_ASSERT_TRUE(holds(1, seq + 1));
    e[0]->encode_code = AW_E_NOMEM;
    CU_ASSERT_EQUAL(mh_write_events(m, e, 1, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_UNKNOWN);
    for (int i = 0; i < 3; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    end();
}

static void test_whole_commands(void)
{
    begin();
    struct mh_instance *m = started();
    uint8_t status[10];
    static const struct {
        const char *command;
        int32_t result;
        bool stored;
    } failures[] = {{"fail 10107 2", AW_E_UNAVAILABLE, false}, /* stepped down, and the retried write as well */
                    {"fail 13 1", AW_E_CONFIG, false},
                    {"fail 18 1", AW_E_CONFIG, false},
                    {"fail 8 1", AW_E_RETRY, false},
                    {"concern 64", AW_E_RETRY, true}};
    uint64_t seq = 1;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++, seq += 10) {
        tell("%s", failures[i].command);
        int32_t r = mh_write(m, seq, seq + 9, 0, status);
        if (r != failures[i].result)
            harness_note("%s: %d %s", failures[i].command, r, m->error);
        CU_ASSERT_EQUAL(r, failures[i].result);
        CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
        CU_ASSERT_EQUAL(mh_write(m, seq, seq + 9, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 10, failures[i].stored ? AW_EVENT_DUPLICATE : AW_EVENT_DURABLE));
    }
    /* One step-down, one broken connection: libmongoc's retryable write goes on. */
    tell("fail 10107 1");
    CU_ASSERT_EQUAL(mh_write(m, seq, seq + 9, 0, status), AW_OK);
    seq += 10;
    tell("drop after"); /* stored, and nobody knows it */
    int32_t r = mh_write(m, seq, seq + 9, 0, status);
    if (r != AW_OK)
        CU_ASSERT_EQUAL(mh_write(m, seq, seq + 9, 0, status), AW_OK);
    for (int k = 0; k < 10; k++)
        CU_ASSERT_TRUE(status[k] == AW_EVENT_DURABLE || status[k] == AW_EVENT_DUPLICATE);
    seq += 10;
    tell("drop before");
    r = mh_write(m, seq, seq + 9, 0, status);
    if (r != AW_OK)
        CU_ASSERT_EQUAL(mh_write(m, seq, seq + 9, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    CU_ASSERT_TRUE(holds(1, seq + 9));
    mh_destroy(m);
    end();
}

static void test_down_and_slow(void)
{
    begin();
    struct mh_instance *m = started();
    struct aw_health h = {.struct_size = sizeof h};
    uint8_t status[10];
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    tell("down");
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    tell("up");
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, status), AW_OK);
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    tell("slow 20000");
    struct aw_event *e = mh_event(21);
    uint64_t before = m->host.mono_ns();
    int32_t r = mh_write_events(m, &e, 1, 0, before + 2 * SECOND, status);
    CU_ASSERT_TRUE(r == AW_E_TIMEOUT || r == AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 6 * SECOND);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_UNKNOWN);
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 1, status), AW_E_TIMEOUT); /* over before it began */
    tell("slow 0");
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DUPLICATE);
    CU_ASSERT_TRUE(holds(1, 21));
    mh_event_free(e);
    mh_destroy(m);
    end();
}

static void test_fork(void)
{
    begin();
    struct mh_instance *m = started();
    uint8_t status[10];
    int ended;
    char before[64];
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    snprintf(before, sizeof before, "%s", tell("hellos"));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        bool ok = m->class->after_fork(m->sink) == AW_OK && mh_write(m, 11, 11, 0, status) == AW_E_INTERNAL &&
                  mh_start(m) == AW_OK && mh_write(m, 11, 20, 0, status) == AW_OK && mh_stop(m) == AW_OK;
        m->class->destroy(m->sink);
        harness_end_child(ok ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &ended, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    CU_ASSERT_EQUAL(mh_write(m, 21, 30, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "mongodb_clients_total"), 1);
    CU_ASSERT_EQUAL(strtol(tell("hellos"), NULL, 10), strtol(before, NULL, 10) + 1); /* the child's; ours went on */
    CU_ASSERT_TRUE(holds(1, 30));
    mh_destroy(m);
    end();
}

HARNESS_MAIN("sink_mongodb", {"documents, duplicates", test_documents}, {"options", test_options},
             {"the index, the probe, migrate", test_index}, {"single documents that fail", test_single_documents},
             {"commands that fail", test_whole_commands}, {"down and slow", test_down_and_slow},
             {"a forked child", test_fork})
