/* test_together.c - the coordinator of fanout = "all_or_nothing": rounds, failures, stop.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "together_support.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"

#include <stdio.h>

static void delivers_to_all(void)
{
    struct group_rig r;
    fakes_reset();
    group_open(&r, "all", 4);
    group_append(&r, 500);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 500, 0);
    for (size_t i = 0; i < r.count; i++) {
        struct aw_sink_stats s = group_stats(&r, i);
        CU_ASSERT_EQUAL(s.acked_seq, 500);
        CU_ASSERT_EQUAL(s.written_total, 500);
        CU_ASSERT_EQUAL(s.failures_total, 0);
        CU_ASSERT_EQUAL(fakes[i].rollbacks, 0);
    }
    group_stop(&r, 10);
    group_start(&r);
    group_append(&r, 100);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 600, 0);
    group_close(&r);
}

static void two_without_staging_are_refused(void)
{
    struct group_rig r = {.count = 4};
    struct diag_out diag = {0};
    size_t n = 0;
    fakes_reset();
    fakes[3].plain = true;
    snprintf(r.dir, sizeof r.dir, "%s/refused", harness_tmpdir());
    group_create_members(&r);
    diag_reset();
    CU_ASSERT_EQUAL(together_create(r.d, r.count, r.dir, &diag, &r.group), AW_ERR_CONFIG);
    CU_ASSERT_PTR_NULL(r.group);
    const struct aw_problem *const *p = aw_problems(&n);
    CU_ASSERT_EQUAL_FATAL(n, 1);
    CU_ASSERT_STRING_EQUAL(p[0]->path, "test:2");
    CU_ASSERT_STRING_EQUAL(
        p[0]->message,
        "sinks.d: plugin \"fake\" cannot stage events, and neither can sinks.b (plugin \"fake\", test:2): with fanout "
        "= "
        "\"all_or_nothing\" at most one sink without staging may take part; remove one of them, or write fanout = "
        "\"best_effort\"");
    for (size_t i = 0; i < r.count; i++)
        CU_ASSERT(delivery_destroy(r.d[i]));
}

static void a_failed_stage_is_rolled_back(void)
{
    struct group_rig r;
    fakes_reset();
    fakes[3].stage_fails = 3;
    fakes[2].partial = 2;
    fakes[0].rollback_fails = 2;
    group_open(&r, "stage", 4);
    group_append(&r, 120);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 120, 0);
    CU_ASSERT(fakes[0].rollbacks >= 7);
    CU_ASSERT(fakes[1].writes > 0 && fakes[1].stored_count == 120); /* written only after all had staged */
    CU_ASSERT_EQUAL(group_stats(&r, 3).failures_total, 3);
    CU_ASSERT(group_stats(&r, 2).retries_total > 0);
    CU_ASSERT_EQUAL(group_stats(&r, 0).written_total, 120);
    group_close(&r);
}

static void check_dead_letters(const struct group_rig *r, const char *by)
{
    for (size_t i = 0; i < r->count; i++) {
        char path[400], want[200];
        AW_AUTOFREE char *text = NULL;
        snprintf(path, sizeof path, "%s/deadletter/%s.jsonl", r->dir, fake_names[i]);
        CU_ASSERT_EQUAL_FATAL(fs_read_file(path, 10000, &text, NULL), 0);
        snprintf(want, sizeof want, "\"sink\":\"%s\",\"seq\":7,", fake_names[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, want));
        snprintf(want, sizeof want, "\"reason\":\"sink \\\"%s\\\": ", by);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, want));
        CU_ASSERT_EQUAL(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    }
}

/* By each of the sinks in turn, as one event and as a whole batch. */
static void what_one_rejects_goes_to_none(void)
{
    for (size_t i = 0; i < 8; i++) {
        struct group_rig r;
        char name[40];
        fakes_reset();
        *(i < 4 ? &fakes[i].rejects : &fakes[i - 4].rejects_all) = 7;
        snprintf(name, sizeof name, "reject%zu", i);
        group_open(&r, name, 4);
        group_append(&r, 120);
        CU_ASSERT_EQUAL(group_flush(&r), 0);
        group_holds(&r, 120, 7);
        for (size_t k = 0; k < r.count; k++) {
            CU_ASSERT_EQUAL(group_stats(&r, k).rejected_total, 1);
            CU_ASSERT_EQUAL(group_stats(&r, k).written_total, 119);
        }
        group_close(&r);
        check_dead_letters(&r, fake_names[i % 4]);
    }
}

static void a_commit_is_tried_until_it_succeeds(void)
{
    struct group_rig r;
    fakes_reset();
    fakes[2].commit_fails = 5;
    fakes[2].code = AW_E_UNAVAILABLE;
    group_open(&r, "commit", 4);
    group_append(&r, 40);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 40, 0);
    for (size_t i = 0; i < r.count; i++)
        CU_ASSERT_EQUAL(fakes[i].rollbacks, 0);
    CU_ASSERT_EQUAL(group_stats(&r, 2).failures_total, 5);
    CU_ASSERT_STRING_EQUAL(group_stats(&r, 2).last_error_text, "commit: UNAVAILABLE: not now");
    group_close(&r);
}

static void a_failed_write_does_not_undo(void)
{
    struct group_rig r;
    fakes_reset();
    fakes[1].write_fails = 3;
    fakes[1].partial = 2;
    group_open(&r, "write", 4);
    group_append(&r, 1);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_append(&r, 39);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    CU_ASSERT_EQUAL(fakes[0].stored_count, 40);
    CU_ASSERT_EQUAL(fakes[1].stored_count, 40); /* out of order within a partial write, and each once */
    CU_ASSERT_EQUAL(fakes[0].rollbacks, 0);
    group_close(&r);
}

static void a_failed_flush_is_written_again(void)
{
    struct group_rig r;
    fakes_reset();
    fakes[1].accepts = fakes[1].by_position = true;
    group_open(&r, "flush", 4);
    group_append(&r, 30);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    pthread_mutex_lock(&fakes_mutex);
    fakes[1].flush_fails = 1;
    pthread_mutex_unlock(&fakes_mutex);
    group_append(&r, 40); /* of 70, 35 are left: 31-35 it has */
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 70, 0);
    CU_ASSERT(fakes[1].starts == 2 && fakes[1].flushes >= 3);
    group_close(&r);
}

static void what_is_lost_is_delivered_again(void)
{
    struct group_rig r;
    fakes_reset();
    fakes[2].loses = true;
    group_open(&r, "lost", 4);
    group_append(&r, 1);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_append(&r, 60);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 61, 0);
    group_close(&r);
}

static void wrong_settings_stop_all_until_reopened(void)
{
    struct group_rig r;
    fakes_reset();
    fakes[2].stage_fails = 1;
    fakes[2].code = AW_E_CONFIG;
    group_open(&r, "config", 4);
    group_append(&r, 10);
    for (size_t i = 0; i < r.count; i++) {
        CU_ASSERT_EQUAL(delivery_flush(r.d[i], 10, UINT64_MAX), -EIO);
        CU_ASSERT_EQUAL(group_stats(&r, i).state, AW_HEALTH_DOWN);
        CU_ASSERT_STRING_EQUAL(group_stats(&r, i).last_error_text,
                               i == 2 ? "stage: CONFIG: not now" : "waits for sink \"c\", which stopped");
    }
    for (size_t i = 0; i < r.count; i++)
        delivery_reopen(r.d[i]);
    for (size_t i = 0; i < r.count; i++)
        while (delivery_acked(r.d[i]) < 10) /* bounded by the watchdog */
            clock_sleep_ns(1000000);
    group_holds(&r, 10, 0);
    CU_ASSERT_EQUAL(group_stats(&r, 0).state, AW_HEALTH_OK);
    group_close(&r);
}

static void one_that_is_ahead_is_not_given_it_again(void)
{
    struct group_rig r = {.count = 1};
    fakes_reset();
    group_open(&r, "ahead", 1); /* sink a alone, then in company */
    group_append(&r, 80);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_stop(&r, 10);
    r.count = 4;
    group_start(&r);
    group_append(&r, 20);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 100, 0);
    CU_ASSERT_EQUAL(group_stats(&r, 0).written_total, 20);
    CU_ASSERT_EQUAL(group_stats(&r, 3).written_total, 100);
    group_close(&r);
}

static void *reopens(void *arg)
{
    struct group_rig *r = arg;
    for (unsigned n = 0; n < 40; n++) {
        for (size_t i = n % 2; i < r->count; i += 1 + n % 3)
            delivery_reopen(r->d[i]);
        (void)delivery_flush(r->d[n % r->count], 1, clock_mono_ns());
        (void)group_stats(r, n % r->count);
        clock_sleep_ns(2000000);
    }
    return NULL;
}

/* The sinks have no reopen(): each time they are stopped and started, wherever the round is. */
static void is_reopened_under_load(void)
{
    struct group_rig r;
    pthread_t thread;
    fakes_reset();
    fakes[1].by_position = fakes[1].accepts = true;
    fakes[0].stage_fails = fakes[2].commit_fails = fakes[3].partial = 10;
    group_open(&r, "load", 4);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, reopens, &r), 0);
    for (unsigned n = 0; n < 100; n++) {
        group_append(&r, 10);
        clock_sleep_ns(1000000);
    }
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 1000, 0);
    CU_ASSERT(fakes[0].starts > 5);
    group_close(&r);
}

static struct group_rig stuck; /* stays reachable: an abandoned thread's memory is left on purpose */

static void a_stuck_sink_does_not_hold_up_the_stop(void)
{
    static sem_t gate;
    fakes_reset();
    sem_init(&gate, 0, 0);
    fakes[2].gate = &gate;
    group_open(&stuck, "stuck", 4);
    group_append(&stuck, 10);
    CU_ASSERT_EQUAL(delivery_flush(stuck.d[0], 10, clock_mono_ns() + 50000000u), -ETIMEDOUT);
    uint64_t t0 = clock_mono_ns();
    for (size_t i = 0; i < stuck.count; i++)
        CU_ASSERT_EQUAL(delivery_stop(stuck.d[i], t0 + 100000000u), -ETIMEDOUT);
    CU_ASSERT(clock_mono_ns() - t0 < SECONDS(5));
    for (size_t i = 0; i < stuck.count; i++)
        CU_ASSERT_FALSE(delivery_destroy(stuck.d[i]));
    CU_ASSERT_FALSE(together_destroy(stuck.group));
    CU_ASSERT_EQUAL(journal_retire(stuck.journal), 0);
    sem_post(&gate);
    for (unsigned n = 0; n == 0;) { /* it comes back late, and its thread ends there */
        clock_sleep_ns(1000000);
        pthread_mutex_lock(&fakes_mutex);
        n = fakes[2].stages;
        pthread_mutex_unlock(&fakes_mutex);
    }
    clock_sleep_ns(20000000);
    CU_ASSERT_EQUAL(delivery_acked(stuck.d[0]), 0);
    /* A new group finds what the old one staged, and goes on. */
    struct group_rig next = stuck;
    fakes[2].gate = NULL;
    group_open_journal(&next);
    group_start(&next);
    CU_ASSERT_EQUAL(group_flush(&next), 0);
    group_holds(&next, 10, 0);
    group_close(&next);
}

HARNESS_MAIN("together", {"delivers to all", delivers_to_all},
             {"two sinks without staging are refused", two_without_staging_are_refused},
             {"a failed stage is rolled back", a_failed_stage_is_rolled_back},
             {"what one sink rejects goes to none", what_one_rejects_goes_to_none},
             {"a commit is tried until it succeeds", a_commit_is_tried_until_it_succeeds},
             {"a failed write does not undo", a_failed_write_does_not_undo},
             {"a failed flush is written again", a_failed_flush_is_written_again},
             {"what is lost is delivered again", what_is_lost_is_delivered_again},
             {"wrong settings stop all until reopened", wrong_settings_stop_all_until_reopened},
             {"one that is ahead is not given it again", one_that_is_ahead_is_not_given_it_again},
             {"is reopened under load", is_reopened_under_load},
             {"a stuck sink does not hold up the stop", a_stuck_sink_does_not_hold_up_the_stop})
