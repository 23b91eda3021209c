/* test_together_recovery.c - what a start of an all_or_nothing group makes of an earlier life.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "together_support.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"

#include <fcntl.h>
#include <stdio.h>

/* The state of a process that died: sink by sink, was it staged, and was it committed; and was it decided? */
static void die(struct group_rig *r, bool decided, unsigned committed, unsigned not_staged, bool written)
{
    struct decision last;
    struct decision_file *file;
    char token[STAGING_TOKEN_MAX + 1];
    uint8_t id[16];
    journal_get_id(r->journal, id);
    CU_ASSERT_EQUAL_FATAL(decision_open(r->dir, id, &file, &last), 0);
    staging_token(r->journal, 11, 20, last.counter + 1, 1, token);
    for (size_t i = 0; i < r->count; i++) {
        struct fake *f = &fakes[i];
        if (f->plain ? !written : !decided && (not_staged & 1u << i))
            continue;
        bool stored = f->plain || (decided && (committed & 1u << i));
        for (uint64_t seq = 11; seq <= 20; seq++)
            *(stored ? &f->stored[f->stored_count++] : &f->staged[f->staged_count++]) = seq;
        if (!stored)
            memcpy(f->token, token, sizeof token);
    }
    if (decided) {
        last.counter++;
        memcpy(last.token, token, sizeof token);
        last.first_seq = 11;
        last.last_seq = 20;
        last.member_count = 0;
        for (size_t i = 0; i < r->count; i++)
            last.members[last.member_count++] = decision_member(fake_names[i]);
        CU_ASSERT_EQUAL(decision_store(file, &last), 0);
    }
    decision_close(file);
}

/* Every combination; the start itself dies or fails in between in half of them. */
static void a_start_settles_what_is_in_doubt(void)
{
    for (unsigned n = 0; n < 2 * 16 * 2 * 2; n++) {
        bool decided = n & 1, written = decided || (n & 2), trouble = n & 4;
        unsigned mask = n >> 3 & 15;
        struct group_rig r;
        char name[40];
        fakes_reset();
        fakes[1].by_position = true; /* the one thing that tells for a sink without staging */
        snprintf(name, sizeof name, "doubt%u", n);
        group_open(&r, name, 4);
        group_append(&r, 10);
        CU_ASSERT_EQUAL(group_flush(&r), 0);
        group_stop(&r, 10);
        group_append(&r, 15);
        CU_ASSERT_EQUAL(journal_sync(r.journal, 25), 0);
        die(&r, decided, mask, mask, written);
        if (trouble) { /* a start that gets nowhere, or half way */
            for (size_t i = 0; i < r.count; i++)
                fakes[i].commit_fails = fakes[i].rollback_fails = i == 3 ? 1000 : 1;
            fakes[2].doubt_fails = 1;
            group_start(&r);
            clock_sleep_ns(10000000);
            group_stop(&r, 0);
            for (size_t i = 0; i < r.count; i++)
                fakes[i].commit_fails = fakes[i].rollback_fails = fakes[i].doubt_fails = 0;
        }
        group_start(&r);
        CU_ASSERT_EQUAL(group_flush(&r), 0);
        group_holds(&r, 25, 0);
        group_close(&r);
    }
}

/* A decision file that cannot be read: what is staged is rolled back and delivered again; what was committed stays. */
static void a_damaged_decision_file_loses_nothing(void)
{
    struct group_rig r;
    char path[400];
    fakes_reset();
    fakes[0].by_position = fakes[1].by_position = fakes[2].by_position = fakes[3].by_position = true;
    group_open(&r, "damaged", 4);
    group_append(&r, 10);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_stop(&r, 10);
    group_append(&r, 15);
    CU_ASSERT_EQUAL(journal_sync(r.journal, 25), 0);
    die(&r, true, 1, 0, true);
    int fd;
    static const char zeros[8192];
    snprintf(path, sizeof path, "%s/together", r.dir);
    CU_ASSERT_EQUAL_FATAL(fs_open(path, O_WRONLY, 0, &fd), 0);
    CU_ASSERT_EQUAL(fs_pwrite_all(fd, zeros, sizeof zeros, 0, NULL), 0);
    CU_ASSERT_EQUAL(fs_close(fd), 0);
    group_start(&r);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 25, 0);
    group_close(&r);
}

/* A power loss took the journal's end: events that come later under the same numbers are not covered by the decision.
 */
static void a_decision_beyond_the_journal_covers_no_later_events(void)
{
    struct group_rig r;
    fakes_reset();
    group_open(&r, "beyond", 4);
    group_append(&r, 10);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_stop(&r, 10);
    die(&r, true, 0, 0, false); /* 11-20, which the journal does not hold */
    for (size_t i = 0; i < r.count; i++)
        fakes[i].stage_fails = fakes[i].doubt_fails = i == 3 ? 1000 : 0;
    for (unsigned n = 0; n < 2; n++) { /* no sink gets anything for two lives */
        group_start(&r);
        group_append(&r, 3);
        clock_sleep_ns(5000000);
        group_stop(&r, 0);
    }
    fakes[3].stage_fails = fakes[3].doubt_fails = 0;
    group_start(&r);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    CU_ASSERT_EQUAL(fakes[0].stored_count, 10 + 10 + 6); /* those the journal lost, and the later ones */
    CU_ASSERT_EQUAL(fakes[3].stored_count, 10 + 10 + 6);
    CU_ASSERT_EQUAL(fakes[0].stored[25], 16);
    group_close(&r);
}

/* Somebody threw a sink's cursor away, so that it gets everything anew. */
static void a_new_cursor_of_an_old_name_gets_all(void)
{
    struct group_rig r;
    char path[400];
    fakes_reset();
    group_open(&r, "anew", 4);
    group_append(&r, 100);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_close(&r);
    snprintf(path, sizeof path, "%s/cursors/d", r.dir);
    CU_ASSERT_EQUAL(unlink(path), 0);
    fakes[3].stored_count = 0;
    group_open_journal(&r);
    group_start(&r);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 100, 0);
    group_close(&r);
}

/* A torn write of one slot leaves the decision before. */
static void decisions_survive_a_torn_write(void)
{
    char dir[300], path[340];
    static const uint8_t id[16] = {1, 2, 3}, other[16] = {9};
    struct decision d = {.counter = 0}, got;
    struct decision_file *file;
    snprintf(dir, sizeof dir, "%s/decisions", harness_tmpdir());
    snprintf(path, sizeof path, "%s/together", dir);
    CU_ASSERT_EQUAL_FATAL(fs_mkdir_p(dir, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(decision_open(dir, id, &file, &got), 0);
    CU_ASSERT_EQUAL(got.counter, 0);
    for (unsigned i = 1; i <= 5; i++) {
        d.counter = i;
        d.last_seq = i * 10;
        snprintf(d.token, sizeof d.token, "token%u", i);
        CU_ASSERT_EQUAL(decision_store(file, &d), 0);
    }
    decision_close(file);
    CU_ASSERT_EQUAL_FATAL(decision_open(dir, id, &file, &got), 0);
    CU_ASSERT_EQUAL(got.counter, 5);
    CU_ASSERT_STRING_EQUAL(got.token, "token5");
    decision_close(file);
    int fd;
    CU_ASSERT_EQUAL_FATAL(fs_open(path, O_WRONLY, 0, &fd), 0);
    CU_ASSERT_EQUAL(fs_pwrite_all(fd, "torn", 4, 4096 + 100, NULL), 0);
    CU_ASSERT_EQUAL(fs_close(fd), 0);
    CU_ASSERT_EQUAL_FATAL(decision_open(dir, id, &file, &got), 0);
    CU_ASSERT_EQUAL(got.counter, 4);
    CU_ASSERT_EQUAL(got.last_seq, 40);
    CU_ASSERT_STRING_EQUAL(got.token, "token4");
    decision_close(file);
    CU_ASSERT_EQUAL(decision_open(dir, other, &file, &got), -EBADMSG);
    CU_ASSERT_EQUAL(got.counter, 0);
    decision_close(file);
    CU_ASSERT_EQUAL(decision_forget(dir), 0);
    CU_ASSERT_EQUAL(decision_forget(dir), 0);
    CU_ASSERT_EQUAL_FATAL(decision_open(dir, id, &file, &got), 0);
    CU_ASSERT_EQUAL(got.counter, 0);
    decision_close(file);
}

/* A sink that goes its own way again rolls back what the group left, and gets the events from the journal. */
static void back_to_best_effort(void)
{
    struct group_rig r;
    fakes_reset();
    group_open(&r, "back", 4);
    group_append(&r, 10);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_stop(&r, 10);
    group_append(&r, 15);
    CU_ASSERT_EQUAL(journal_sync(r.journal, 25), 0);
    die(&r, true, 0, 0, false);
    CU_ASSERT_EQUAL(decision_forget(r.dir), 0);
    r.count = 1;
    r.group = NULL;
    group_create_members(&r);
    CU_ASSERT_EQUAL_FATAL(delivery_attach(r.d[0], r.journal), 0);
    CU_ASSERT_EQUAL_FATAL(delivery_start(r.d[0]), 0);
    CU_ASSERT_EQUAL(group_flush(&r), 0);
    group_holds(&r, 25, 0);
    CU_ASSERT_EQUAL(fakes[0].rollbacks, 1);
    group_close(&r);
}

HARNESS_MAIN("together_recovery", {"a start settles what is in doubt", a_start_settles_what_is_in_doubt},
             {"a damaged decision file loses nothing", a_damaged_decision_file_loses_nothing},
             {"a decision beyond the journal covers no later events",
              a_decision_beyond_the_journal_covers_no_later_events},
             {"a new cursor of an old name gets all", a_new_cursor_of_an_old_name_gets_all},
             {"decisions survive a torn write", decisions_survive_a_torn_write},
             {"back to best_effort", back_to_best_effort})
