/* test_examine.c - looking at a journal: what is found agrees with what recovery finds, and nothing is changed by it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "harness.h"
#include "journal/examine.h"
#include "journal_support.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

/* Thousands of starts: the disk's own speed is not what is tested here. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}
int fsync(int fd)
{
    (void)fd;
    return 0;
}

static char dir[400];

static struct journal_options options_in(const char *name)
{
    snprintf(dir, sizeof dir, "%s", support_path(name));
    struct journal_options o = support_options(dir);
    o.ring_size = 64u << 10;
    o.segment_size = 1u << 20;
    return o;
}

/* What was found, as one text. */
static struct {
    char text[4000];
    size_t len;
    uint64_t records;
} seen;

static void note_finding(void *arg, const struct examine_finding *f)
{
    (void)arg;
    int n = snprintf(seen.text + seen.len, sizeof seen.text - seen.len, "%s%d %s %" PRIu64 "+%" PRIu64 " [%s] %s\n",
                     f->known ? "known " : "", f->kind, f->file, f->offset, f->length, f->seqs, f->text);
    if (n > 0 && seen.len + (size_t)n < sizeof seen.text)
        seen.len += (size_t)n;
}

static void note_record(void *arg, const char *file, uint64_t offset, const struct record_view *v)
{
    (void)arg;
    (void)file;
    (void)offset;
    seen.records += v->head->kind == RECORD_KIND_EVENT;
}

static struct examine_state look(void)
{
    static const struct examiner e = {.finding = note_finding, .record = note_record};
    struct examine_state s;
    seen.len = seen.records = 0;
    seen.text[0] = '\0';
    CU_ASSERT_EQUAL(journal_examine(dir, &e, &s), 0);
    return s;
}

static void remove_all(void)
{
    support_remove_tree(dir);
}

static void sound_journal_is_good(void)
{
    struct journal_options o = options_in("sound");
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    (void)support_fill(j, 1, 500, 7, 50);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    struct examine_state s = look();
    CU_ASSERT_EQUAL(s.findings, 0);
    CU_ASSERT_EQUAL(s.known, 0);
    CU_ASSERT_EQUAL(s.events, 500);
    CU_ASSERT_EQUAL(s.oldest, 1);
    CU_ASSERT_EQUAL(s.newest, 500);
    CU_ASSERT_EQUAL(s.scopes, 7);
    CU_ASSERT_EQUAL(s.live_pid, 0);
    CU_ASSERT(s.closed);
    CU_ASSERT_EQUAL(s.ring, 0);
    CU_ASSERT_EQUAL(s.ring_events, 0);
    CU_ASSERT_EQUAL(seen.records, 500);
    snprintf(dir, sizeof dir, "%s", support_path("nothing"));
    static const struct examiner nobody;
    CU_ASSERT_EQUAL(journal_examine(dir, &nobody, &s), -ENOENT);
    CU_ASSERT_EQUAL(mkdir(dir, 0700), 0);
    s = look();
    CU_ASSERT_EQUAL(s.findings, 0);
    CU_ASSERT_EQUAL(s.segments, 0);
}

/* One start of recovery on the same bytes; how many events it finds missing. */
static uint64_t recover(const struct journal_options *o)
{
    struct journal_options offline = *o;
    offline.offline = true;
    struct journal *j = support_open(&offline);
    struct journal_usage u = {.lost = UINT64_MAX};
    if (!j)
        return UINT64_MAX;
    journal_get_usage(j, &u);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    return u.lost;
}

static void agrees_with_recovery_on_every_byte(void)
{
    struct journal_options o = options_in("every-byte");
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    (void)support_fill(j, 1, 12, 3, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    char *names[8], path[700];
    size_t len = 0;
    CU_ASSERT_EQUAL_FATAL(support_segments(dir, names, 8), 1);
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    AW_AUTOFREE char *bytes = support_slurp(path, &len);
    unsigned bad = 0, step = harness_slow() ? 61 : 11;
    for (size_t i = 0; i < len && bad < 10; i += step) {
        if (i >= 128 && i < 2048)
            i = 2048; /* between the copies of the header nothing is read */
        if (i >= 2176 && i < SEGMENT_DATA)
            i = SEGMENT_DATA;
        remove_all();
        CU_ASSERT_EQUAL_FATAL(mkdir(dir, 0700), 0);
        bytes[i] ^= 0x10;
        support_write(path, bytes, len);
        bytes[i] ^= 0x10;
        struct examine_state s = look();
        char before[sizeof seen.text];
        memcpy(before, seen.text, sizeof before);
        uint64_t lost = recover(&o);
        struct examine_state after = look();
        if (s.findings == 0 || s.missing != lost || (i >= SEGMENT_DATA && after.findings != 0) || after.missing != 0 ||
            after.known_missing != lost) {
            harness_note("byte %zu: findings %d, missing %d, lost %d; then %d findings, %d known missing\n%s%s", i,
                         (int)s.findings, (int)s.missing, (int)lost, (int)after.findings, (int)after.known_missing,
                         before, seen.text);
            bad++;
        }
    }
    CU_ASSERT_EQUAL(bad, 0);
    free(names[0]);
}

static void end_torn_at_every_byte_agrees(void)
{
    struct journal_options o = options_in("torn");
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    (void)support_fill(j, 1, 4, 3, 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    char *names[8], path[700];
    size_t len = 0;
    CU_ASSERT_EQUAL_FATAL(support_segments(dir, names, 8), 1);
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    AW_AUTOFREE char *bytes = support_slurp(path, &len);
    unsigned bad = 0;
    for (size_t cut = SEGMENT_DATA; cut < len; cut += harness_slow() ? 37 : 5) {
        remove_all();
        CU_ASSERT_EQUAL_FATAL(mkdir(dir, 0700), 0);
        support_write(path, bytes, cut);
        struct examine_state s = look();
        uint64_t lost = recover(&o);
        bad += s.missing != lost || look().findings != 0;
    }
    CU_ASSERT_EQUAL(bad, 0);
    free(names[0]);
}

static void killed_process_leaves_no_finding(void)
{
    struct journal_options o = options_in("killed");
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        struct journal *j = support_open(&o);
        if (!j)
            _exit(1);
        (void)support_fill(j, 1, 100, 3, 20);
        harness_end_child(0);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    struct examine_state s = look();
    CU_ASSERT_EQUAL(s.missing, 0);
    CU_ASSERT_EQUAL(s.events + s.ring_events, 100);
    CU_ASSERT(!s.closed || s.ring_events > 0);
    if (s.ring_events > 0) { /* mostly: the last of them in the ring is damaged */
        char path[500];
        size_t len = 0;
        snprintf(path, sizeof path, "%s/ring", dir);
        AW_AUTOFREE char *ring = support_slurp(path, &len);
        ring[RING_DATA + ((s.ring_facts.head - 20) & (s.ring_facts.size - 1))] ^= 1;
        support_write(path, ring, len);
        struct examine_state damaged = look();
        CU_ASSERT(damaged.findings > 0);
        CU_ASSERT_EQUAL(damaged.missing, 1);
        CU_ASSERT_EQUAL(recover(&o), 1);
    }
}

static atomic_bool stop;

static void *append_all_the_time(void *journal)
{
    struct journal_receipt r;
    for (uint64_t i = 1; !atomic_load(&stop) && i < 40000; i++) {
        if (journal_append(journal, support_event("t", i, i % 500), UINT64_MAX, &r) != 0)
            return journal;
        if (i % 100 == 0)
            clock_sleep_ns(1000000);
    }
    return NULL;
}

static void writing_is_no_damage(void)
{
    struct journal_options o = options_in("live");
    o.segment_size = 256u << 10;
    o.max_size = 1u << 30;
    struct journal *j = support_open(&o);
    pthread_t thread;
    void *failed = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    atomic_store(&stop, false);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, append_all_the_time, j), 0);
    uint64_t findings = 0, most = 0;
    for (int i = 0; i < (harness_slow() ? 5 : 25); i++) {
        struct examine_state s = look();
        findings += s.findings;
        most = s.segments > most ? s.segments : most;
        CU_ASSERT_EQUAL(s.live_pid, (uint64_t)getpid());
        if (s.findings)
            harness_note("%s", seen.text);
        clock_sleep_ns(2000000);
    }
    atomic_store(&stop, true);
    pthread_join(thread, &failed);
    CU_ASSERT_PTR_NULL(failed);
    CU_ASSERT_EQUAL(findings, 0);
    harness_note("up to %" PRIu64 " segments", most);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT_EQUAL(look().findings, 0);
}

static void released_cursor_holds_nothing_back(void)
{
    struct journal_options o = options_in("release");
    struct journal_cursor *c = NULL;
    struct journal *j = support_open(&o);
    uint64_t owed = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL_FATAL(journal_cursor_open(j, "gone", JOURNAL_FROM_STORED, &c), 0);
    (void)support_fill(j, 1, 10, 3, 0);
    CU_ASSERT_EQUAL(journal_cursor_ack(c, 4), 0);
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    struct examine_state s = look();
    struct examine_cursor *list = NULL;
    size_t n = 0;
    CU_ASSERT_EQUAL(journal_examine_cursors(dir, &s, &list, &n), 0);
    CU_ASSERT_EQUAL_FATAL(n, 1);
    CU_ASSERT_EQUAL(list[0].seq, 4);
    free(list);
    o.offline = true;
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(journal_cursor_release(j, "other", true, &owed), -ENOENT);
    CU_ASSERT_EQUAL(journal_cursor_release(j, "gone", false, &owed), -EBUSY);
    CU_ASSERT_EQUAL(owed, 6);
    CU_ASSERT_EQUAL(journal_cursor_release(j, "gone", true, &owed), 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    s = look();
    CU_ASSERT_EQUAL(journal_examine_cursors(dir, &s, &list, &n), 0);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(s.quarantine_files, 1);
    CU_ASSERT_EQUAL(s.quarantine_bytes, 128);
    free(list);
}

HARNESS_MAIN("examine", {"a sound journal is good", sound_journal_is_good},
             {"agrees with recovery on every byte", agrees_with_recovery_on_every_byte},
             {"an end torn at every byte agrees, too", end_torn_at_every_byte_agrees},
             {"what a killed process leaves is no finding", killed_process_leaves_no_finding},
             {"writing is no damage", writing_is_no_damage},
             {"a released cursor holds nothing back", released_cursor_holds_nothing_back})
