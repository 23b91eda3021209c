/* test_modes.c - queue, block and drop; per action; best effort, required sinks, quorum.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"
#include "modes_rig.h"

#include "base/base.h"
#include "base/clock.h"

#include <pthread.h>
#include <sys/statvfs.h>

/* The file system as the journal sees it: a test may make it small. */
static _Atomic unsigned long blocks_free; /* 0: the truth */

int fstatvfs(int fd, struct statvfs *ret)
{
    (void)fd;
    unsigned long blocks = blocks_free;
    *ret = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_bavail = blocks ? blocks : 1ul << 30};
    return 0;
}

static uint64_t ms_since(uint64_t start_ns)
{
    return (clock_mono_ns() - start_ns) / 1000000u;
}

/* ---- room ---- */

static void low_disk_stops_taking_until_there_is_room(void)
{
    struct modes_rig r;
    modes_configure(&r, "low", "min_free = \"1GiB\"; sync_interval = \"10ms\";",
                    "queue = { timeout = \"100ms\"; };"
                    "actions = ( { match = \"may.go\"; mode = \"drop\"; } );",
                    NULL);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), 0);
    blocks_free = 1000;
    int rc = 0;
    for (int i = 0; i < 500 && rc == 0; i++) { /* the keeper looks with its next sync */
        usleep(10000);
        rc = modes_log(&r, "a.b", NULL);
    }
    CU_ASSERT_EQUAL(rc, AW_ERR_QUEUE_FULL);
    CU_ASSERT(modes_problem("journal", "no room (disk_low)"));
    CU_ASSERT_EQUAL(modes_log(&r, "may.go", NULL), AW_ERR_DROPPED);
    uint64_t start = clock_mono_ns();
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), AW_ERR_QUEUE_FULL);
    CU_ASSERT(ms_since(start) >= 100);
    blocks_free = 0;
    start = clock_mono_ns();
    while ((rc = modes_log(&r, "after.wards", NULL)) != 0 && ms_since(start) < 20000)
        ;
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(modes_lines_with(&r, "\"reason\":\"disk_low\""), 1);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);

    blocks_free = 1000; /* and with the next open at once */
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    CU_ASSERT_EQUAL(modes_log(&r, "may.go", NULL), AW_ERR_DROPPED);
    struct aw_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    uint64_t head = s.head_seq;
    (void)aw_close(r.logger, 0); /* there is no room for a record of it either */
    blocks_free = 0;
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.head_seq, head + 1); /* the next start records it, whether or not anybody logs then */
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(modes_lines_with(&r, "\"reason\":\"disk_low\""), 2);
}

/* ---- block ---- */

static void block_waits_for_required_sinks_only(void)
{
    struct modes_rig r;
    modes_configure(&r, "required", "", "mode = \"block\"; queue = { timeout = \"20s\"; };",
                    PUPPET("good", "required = true;") ", " PUPPET("bad", ""));
    modes_order(&r, "bad", "retry");
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    for (size_t i = 1; i <= 5; i++) {
        uint64_t start = clock_mono_ns();
        CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), 0);
        CU_ASSERT(ms_since(start) < 10000);
        CU_ASSERT_EQUAL(modes_received(&r, "good"), i);
    }
    CU_ASSERT_EQUAL(modes_received(&r, "bad"), 0);
    modes_order(&r, "bad", "ok"); /* and gets all that it missed */
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(modes_received(&r, "bad"), 5);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void block_without_required_waits_for_all_until_the_deadline(void)
{
    struct modes_rig r;
    modes_configure(&r, "deadline", "", "mode = \"block\"; queue = { timeout = \"200ms\"; };",
                    PUPPET("good", "") ", " PUPPET("bad", ""));
    modes_order(&r, "bad", "retry");
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    uint64_t start = clock_mono_ns();
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), AW_ERR_TIMEOUT);
    CU_ASSERT(ms_since(start) >= 200);
    CU_ASSERT(modes_problem("bad", "has not got the event yet (it stays in the journal)"));
    CU_ASSERT(modes_problem("bad", "not now"));
    CU_ASSERT_EQUAL(modes_received(&r, "good"), 1);
    modes_order(&r, "bad", "ok");
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(modes_received(&r, "bad"), 1); /* accepted is accepted */
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void block_fails_at_once_when_a_needed_sink_refuses(void)
{
    struct modes_rig r;
    modes_configure(&r, "refused", "", "mode = \"block\"; queue = { timeout = \"60s\"; };",
                    PUPPET("good", "") ", " PUPPET("bad", ""));
    modes_order(&r, "bad", "reject");
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    uint64_t start = clock_mono_ns();
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), AW_ERR_WRITE_FAILED);
    CU_ASSERT(modes_problem("bad", "rejected the event: it is kept as a dead letter"));
    modes_order(&r, "bad", "config");
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), AW_ERR_WRITE_FAILED);
    CU_ASSERT(modes_problem("bad", "no such store"));
    CU_ASSERT(ms_since(start) < 30000);
    AW_AUTOFREE char *letters = modes_file(&r, "journal/deadletter/bad.jsonl");
    CU_ASSERT_PTR_NOT_NULL(strstr(letters, "I do not like it"));
    modes_order(&r, "bad", "ok");
    CU_ASSERT_EQUAL(aw_reopen(r.logger), 0); /* a sink that stopped for good tries again */
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), 0);
    CU_ASSERT_EQUAL(modes_received(&r, "bad"), 2);
    CU_ASSERT_EQUAL(modes_received(&r, "good"), 3);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

static void quorum(void)
{
    struct modes_rig r;
    modes_configure(&r, "quorum", "",
                    "mode = \"block\"; fanout = \"quorum\"; quorum = 2; queue = { timeout = \"60s\"; };",
                    PUPPET("one", "") ", " PUPPET("two", "") ", " PUPPET("three", ""));
    modes_order(&r, "two", "hang");
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    uint64_t start = clock_mono_ns();
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), 0); /* one and three are enough */
    CU_ASSERT_EQUAL(modes_received(&r, "one") + modes_received(&r, "three"), 2);
    modes_order(&r, "three", "reject"); /* two could still make it */
    modes_order(&r, "two", "ok");
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), 0);
    modes_order(&r, "one", "reject"); /* two alone is not enough, and no deadline is waited for */
    CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), AW_ERR_WRITE_FAILED);
    CU_ASSERT(modes_problem("one", "rejected"));
    CU_ASSERT(modes_problem("three", "rejected"));
    CU_ASSERT(ms_since(start) < 40000);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 20000), 0);
    CU_ASSERT_EQUAL(modes_received(&r, "two"), 3);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

#define CALLERS 8
#define CALLS 60
static struct modes_rig many;
static void *call(void *arg)
{
    intptr_t bad = 0;
    (void)arg;
    for (int i = 0; i < CALLS; i++)
        bad += modes_log(&many, "a.b", NULL) != 0;
    return (void *)bad;
}

static void many_callers_share_the_wait(void)
{
    modes_configure(&many, "many", "",
                    "mode = \"block\"; fanout = \"quorum\"; quorum = 1; queue = { timeout = \"60s\"; };",
                    PUPPET("steady", "") ", " PUPPET("flaky", ""));
    modes_order(&many, "flaky", "flap");
    CU_ASSERT_EQUAL_FATAL(modes_open(&many, 0), 0);
    pthread_t t[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, call, NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        CU_ASSERT_PTR_NULL(bad);
    }
    CU_ASSERT_EQUAL(aw_flush(many.logger, 60000), 0);
    CU_ASSERT_EQUAL(modes_received(&many, "steady"), CALLERS * CALLS);
    CU_ASSERT(modes_received(&many, "flaky") >= CALLERS * CALLS);
    CU_ASSERT_EQUAL(aw_close(many.logger, 20000), 0);
}

/* ---- per action ---- */

static void actions_get_what_their_rule_says(void)
{
    struct modes_rig r;
    modes_configure(&r, "actions", "sync_interval = \"1h\";",
                    "queue = { timeout = \"30s\"; };\n"
                    "actions = ( { match = \"payment.*\"; mode = \"block\"; durability = \"disk\"; },\n"
                    "            { match = \"pay*\"; timeout = \"1ms\"; } );",
                    NULL);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    struct aw_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(modes_log(&r, "page.view", NULL), 0);
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.durable_seq, 0);
    CU_ASSERT_EQUAL(modes_log(&r, "payment.refund", NULL), 0);
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.durable_seq, 2);
    CU_ASSERT_EQUAL(modes_lines_with(&r, "payment.refund"), 1); /* the sink has it on return */
    CU_ASSERT_EQUAL(modes_log(&r, "payday", NULL), 0);
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.durable_seq, 2);
    CU_ASSERT_EQUAL(aw_close(r.logger, 20000), 0);
}

HARNESS_MAIN("modes", {"a low disk stops the journal until there is room", low_disk_stops_taking_until_there_is_room},
             {"block waits for required sinks only", block_waits_for_required_sinks_only},
             {"block without required sinks waits for all, up to the deadline",
              block_without_required_waits_for_all_until_the_deadline},
             {"block fails at once when a needed sink refuses", block_fails_at_once_when_a_needed_sink_refuses},
             {"quorum", quorum}, {"many callers share the wait", many_callers_share_the_wait},
             {"actions get what their rule says", actions_get_what_their_rule_says})
