/* test_batch.c - aw_log_json_batch() does what as many calls of aw_log_json() do. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"

#include "audit/audit.h"
#include "base/base.h"
#include "base/fs.h"

#include <stdio.h>
#include <sys/stat.h>

struct rig {
    struct aw_logger *logger;
    char dir[300], conf[1000];
};

static void rig_open(struct rig *r, const char *name, const char *extra)
{
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    CU_ASSERT_EQUAL_FATAL(mkdir(r->dir, 0700), 0);
    snprintf(r->conf, sizeof r->conf,
             "service = \"tests\";\njournal = { path = \"%s/journal\"; ring_size = \"1MiB\"; };\n%s\n"
             "sinks = ( { plugin = \"file\"; name = \"trail\"; path = \"%s/trail.jsonl\"; fsync = \"never\"; } );\n",
             r->dir, extra, r->dir);
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = r->conf};
    CU_ASSERT_EQUAL_FATAL(aw_open(&o, &r->logger), 0);
}

static char *rig_close(struct rig *r)
{
    char path[400], *text = NULL;
    CU_ASSERT_EQUAL(aw_flush(r->logger, 20000), 0);
    CU_ASSERT_EQUAL(aw_close(r->logger, 20000), 0);
    snprintf(path, sizeof path, "%s/trail.jsonl", r->dir);
    CU_ASSERT_EQUAL_FATAL(fs_read_file(path, 100u << 20, &text, NULL), 0);
    return text;
}

static size_t event(char *out, size_t size, uint64_t number, uint64_t *state)
{
    uint64_t kind = harness_random(state) % 16, tenant = harness_random(state) % 3;
    int pad = (int)(harness_random(state) % (kind == 1 ? 3000 : 200));
    const char *extra = kind == 0 ? "\"unheardOf\":1," : ""; /* a warning */
    const char *outcome = kind == 2 ? "PERHAPS" : "SUCCESS"; /* an error */
    int n = snprintf(out, size,
                     "{\"eventId\":\"e%llu\",\"action\":\"a.b\",\"outcome\":\"%s\",%s\"actor\":{\"type\":\"user\","
                     "\"id\":\"u\"},\"context\":{\"occurredAt\":\"2026-01-02T03:04:05.678Z\",\"tenantId\":\"t%llu\"},"
                     "\"metadata\":{\"password\":\"p\",\"pad\":\"%*s\"}}",
                     (unsigned long long)number, outcome, extra, (unsigned long long)tenant, pad, "");
    return kind == 3 ? (size_t)n / 2 : (size_t)n; /* torn JSON */
}

#define EVENTS 2000
struct corpus {
    char *text;
    struct aw_json events[EVENTS];
    int codes[EVENTS];
    size_t problems[EVENTS];
};

static void corpus_make(struct corpus *c, uint64_t *state)
{
    c->text = malloc(EVENTS * 4096u);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c->text);
    for (size_t i = 0; i < EVENTS; i++) {
        c->events[i].json = c->text + i * 4096;
        c->events[i].len = event(c->text + i * 4096, 4096, i, state);
    }
}

/* Both ways give the same trail, the same results and the same problems. */
static void same_as_one_by_one(void)
{
    static struct corpus c;
    struct rig one, many;
    uint64_t state = harness_seed();
    corpus_make(&c, &state);
    rig_open(&one, "one", "");
    for (size_t i = 0; i < EVENTS; i++) {
        c.codes[i] = aw_log_json(one.logger, c.events[i].json, c.events[i].len, NULL);
        (void)aw_problems(&c.problems[i]);
    }
    AW_AUTOFREE char *expected = rig_close(&one);

    rig_open(&many, "many", "");
    size_t at = 0, early = 0, pieces = 0;
    while (at < EVENTS) {
        size_t n = harness_random(&state) % 50, taken = 77, problems;
        n = n > EVENTS - at ? EVENTS - at : n;
        int rc = aw_log_json_batch(many.logger, NULL, c.events + at, n, NULL, &taken);
        (void)aw_problems(&problems);
        CU_ASSERT_FATAL(taken <= n);
        size_t about = at + taken - (rc == AW_SUCCESS && taken > 0); /* the event that the result is of */
        for (size_t i = at; i < about; i++)
            CU_ASSERT(c.codes[i] == AW_SUCCESS && c.problems[i] == 0);
        if (n > 0)
            CU_ASSERT(rc == c.codes[about] && problems == c.problems[about]);
        if (rc == AW_SUCCESS && problems == 0)
            CU_ASSERT_EQUAL(taken, n);
        early += taken < n;
        pieces++;
        at = n == 0 ? at : about + 1;
    }
    AW_AUTOFREE char *got = rig_close(&many);
    CU_ASSERT_STRING_EQUAL(got, expected);
    CU_ASSERT(early > 50 && pieces > early);
    CU_ASSERT_PTR_NOT_NULL(strstr(got, "\"password\":\"***\""));
    free(c.text);
}

#define PLAIN(id)                                                                                                      \
    "{\"eventId\":\"" id "\",\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u\"}}"

static void receipts_and_context(void)
{
    static const struct aw_json events[] = {{PLAIN("x1"), sizeof PLAIN("x1") - 1},
                                            {PLAIN("x2"), sizeof PLAIN("x2") - 1},
                                            {PLAIN("x3"), sizeof PLAIN("x3") - 1}};
    struct rig r;
    rig_open(&r, "receipts", "");
    struct {
        struct aw_receipt r;
        char grown[40]; /* a caller that knows a longer struct */
    } receipts[3];
    memset(receipts, 'x', sizeof receipts);
    receipts[0].r.struct_size = sizeof receipts[0];
    struct aw_context *context = aw_context_create();
    CU_ASSERT_EQUAL(aw_context_set(context, "context.orgId", "o1"), 0);
    size_t taken;
    CU_ASSERT_EQUAL(aw_log_json_batch(r.logger, context, events, 3, &receipts[0].r, &taken), AW_SUCCESS);
    CU_ASSERT_EQUAL(taken, 3);
    aw_context_destroy(context);
    AW_AUTOFREE char *text = rig_close(&r);
    for (size_t i = 0; i < 3; i++) {
        char id[3] = {'x', (char)('1' + i), '\0'};
        CU_ASSERT_EQUAL(receipts[i].r.seq, i + 1);
        CU_ASSERT_STRING_EQUAL(receipts[i].r.event_id, id);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, receipts[i].r.hash));
        CU_ASSERT_EQUAL(receipts[i].grown[0], 'x');
    }
    size_t lines = 0;
    for (const char *p = text; (p = strstr(p, "\"orgId\":\"o1\"")) != NULL; p++)
        lines++;
    CU_ASSERT_EQUAL(lines, 3);
}

static void wrong_use(void)
{
    static const struct aw_json events[] = {{PLAIN("y1"), sizeof PLAIN("y1") - 1}, {NULL, 3}};
    struct rig r;
    size_t taken = 9;
    rig_open(&r, "wrong", "");
    CU_ASSERT_EQUAL(aw_log_json_batch(r.logger, NULL, events, 2, NULL, NULL), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(aw_log_json_batch(r.logger, NULL, NULL, 2, NULL, &taken), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(taken, 0);
    CU_ASSERT_EQUAL(aw_log_json_batch(r.logger, NULL, NULL, 0, NULL, &taken), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_log_json_batch(r.logger, NULL, events, 2, NULL, &taken), AW_ERR_USAGE);
    CU_ASSERT_EQUAL(taken, 1); /* the one before it is taken */
    CU_ASSERT_EQUAL(aw_log_json_batch(NULL, NULL, events, 1, NULL, &taken), AW_ERR_USAGE);
    AW_AUTOFREE char *text = rig_close(&r);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"y1\""));
}

/* A journal that is full in the middle of a batch: what does not fit is told, what fitted stays. */
static void full_journal(void)
{
    static struct aw_json events[8];
    struct rig r;
    char *big = malloc(200000);
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    int n = snprintf(big, 200000,
                     "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u\"},"
                     "\"metadata\":{\"pad\":\"%*s\"}}",
                     30000, "");
    for (size_t i = 0; i < 8; i++)
        events[i] = (struct aw_json){big, (size_t)n};
    rig_open(&r, "full", "queue = { timeout = \"0\"; };\nlimits = { metadata = \"64KiB\"; event = \"128KiB\"; };");
    size_t total = 0;
    int rc = AW_SUCCESS;
    for (int i = 0; i < 200 && rc == AW_SUCCESS; i++) { /* faster than the writer: at some time the ring is full */
        size_t taken;
        rc = aw_log_json_batch(r.logger, NULL, events, 8, NULL, &taken);
        CU_ASSERT(rc == AW_SUCCESS ? taken == 8 : rc == AW_ERR_QUEUE_FULL && taken < 8);
        total += taken;
    }
    AW_AUTOFREE char *text = rig_close(&r);
    size_t lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    CU_ASSERT_EQUAL(lines, total);
    free(big);
}

HARNESS_MAIN("batch", {"a batch is the same as one by one", same_as_one_by_one},
             {"receipts and context", receipts_and_context}, {"wrong use is told", wrong_use},
             {"a journal without room", full_journal})
