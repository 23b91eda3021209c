/* test_recovery.c - damage, truncation, kill -9: what was acknowledged is found again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "journal/ring.h"
#include "journal/segment.h"
#include "journal_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* Tens of thousands of starts: the disk's own speed is not what is tested here. */
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
    o.ring_size = o.segment_size = 64u << 10;
    return o;
}

/* The smallest event there is: many bytes to flip make many starts. */
static const struct prepared *tiny_event(void)
{
    static struct prepared p;
    p = (struct prepared){.json = "{\"outcome\":\"SUCCESS\"}", .json_len = 21, .integrity_at = 1};
    p.scope_value = (struct aw_str){"unknown", 7};
    return &p;
}

static void remove_in(const char *sub, const char *prefix, const char *but)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", dir, sub);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
            (but && strcmp(e->d_name, but) == 0))
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", dir, sub, e->d_name);
        (void)unlink(path);
    }
    closedir(d);
}

/* Everything but the segment under test. */
static void reset(const char *segment)
{
    remove_in(".", "seg-", segment);
    remove_in(".", "ring", NULL);
    remove_in("cursors", "", NULL);
    remove_in("quarantine", "", NULL);
}

static bool names_seq(const char *text, uint64_t seq)
{
    char needle[64];
    snprintf(needle, sizeof needle, "missing events: %" PRIu64, seq);
    const char *at = strstr(text, needle);
    return at && (at[strlen(needle)] < '0' || at[strlen(needle)] > '9');
}

/* Reads all, returns the one missing seq (0: none) and how many are missing. */
static uint64_t read_missing(struct journal *j, uint64_t *ret_missing_seq, uint64_t last)
{
    struct journal_cursor *c = NULL;
    struct record_view views[256];
    uint64_t expected = 1, missing = 0;
    *ret_missing_seq = 0;
    if (journal_cursor_open(j, "probe", JOURNAL_FROM_STORED, &c) != 0)
        return UINT64_MAX;
    for (size_t n = 1; n > 0;) {
        if (journal_cursor_read(c, views, 256, 1 << 20, &n) != 0)
            return UINT64_MAX;
        for (size_t i = 0; i < n; i++) {
            for (; expected < views[i].head->seq; expected++, missing++)
                *ret_missing_seq = expected;
            if (views[i].head->seq != expected++)
                return UINT64_MAX;
        }
    }
    for (; expected <= last; expected++, missing++)
        *ret_missing_seq = expected;
    journal_cursor_close(c);
    return missing;
}

/* A closed journal of n records in one segment. Returns its bytes. */
static uint8_t *make_segment(const struct journal_options *o, uint64_t n, size_t *ret_len, char **ret_name)
{
    struct journal_options large = *o;
    large.segment_size = 1u << 20;
    struct journal *j = support_open(&large);
    if (!j)
        return NULL;
    struct journal_receipt r;
    for (uint64_t i = 1; i <= n; i++)
        if (journal_append(j, tiny_event(), UINT64_MAX, &r) != 0)
            CU_FAIL("append");
    CU_ASSERT_EQUAL(journal_close(j), 0);
    char *names[8], path[700];
    CU_ASSERT_EQUAL_FATAL(support_segments(dir, names, 8), 1);
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    *ret_name = names[0];
    return (uint8_t *)support_slurp(path, ret_len);
}

static unsigned flip_one(const struct journal_options *o, uint64_t n)
{
    struct journal *j = support_open(o);
    uint64_t seq = 0;
    if (!j)
        return 1;
    uint64_t missing = read_missing(j, &seq, n);
    const char *text = support_problems();
    unsigned bad =
        missing > 1 || (missing == 1 && !names_seq(text, seq)) || (missing == 0 && strstr(text, "missing events:"));
    struct journal_usage u;
    journal_get_usage(j, &u);
    bad |= u.lost != missing || journal_head(j) != n;
    if (bad)
        harness_note("missing %" PRIu64 " (seq %" PRIu64 "), lost %" PRIu64 ", head %" PRIu64 ": %s", missing, seq,
                     u.lost, journal_head(j), text);
    bad |= journal_close(j) != 0;
    return bad;
}

/* A memory file system where there is one: this is about bytes, not about a disk. */
static struct journal_options fast_options(const char *name)
{
    struct journal_options o = options_in(name);
    if (access("/dev/shm", W_OK) == 0)
        snprintf(dir, sizeof dir, "/dev/shm/awtest-%ld-%s", (long)getpid(), name);
    return o;
}

static unsigned flip_bytes(const struct journal_options *o, const char *name, const uint8_t *good, size_t len,
                           uint64_t n, size_t first, size_t stride)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unsigned failed = 0;
    uint64_t state = harness_seed() + first;
    /* On a machine that is busy with other things the rest is sampled; AW_TEST_LONG takes the time it takes. */
    uint64_t patience = clock_mono_ns() + 60000000000u;
    for (size_t i = first; i < len && failed < 5; i += stride) {
        if (stride < 97 && !getenv("AW_TEST_LONG") && clock_mono_ns() > patience) {
            harness_note("busy machine: from byte %zu of %zu on, every 97th byte only", i, len);
            stride = 97;
        }
        reset(name);
        int fd = open(path, O_RDWR);
        uint8_t bad = good[i] ^ (uint8_t)(1u << (harness_random(&state) % 8));
        if (fd < 0 || ftruncate(fd, (off_t)len) < 0 || pwrite(fd, &bad, 1, (off_t)i) != 1)
            return 1;
        unsigned one = flip_one(o, n);
        if (one)
            harness_note("byte %zu of %zu", i, len);
        failed += one;
        if (pwrite(fd, good + i, 1, (off_t)i) != 1 || close(fd) < 0)
            return 1;
    }
    /* the journal does not change a segment of an earlier run */
    size_t now_len;
    char *now = support_slurp(path, &now_len);
    failed += now_len != len || memcmp(now, good, len) != 0;
    free(now);
    return failed;
}

/* One processor for all threads of this process: unmapping the rings then needs no word with the others. */
static void stay(size_t k)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return;
    size_t n = (size_t)CPU_COUNT(&allowed), nth = n ? k % n : 0;
    for (int c = 0; c < CPU_SETSIZE; c++) {
        if (CPU_ISSET((size_t)c, &allowed) && nth-- == 0) {
            CPU_SET((size_t)c, &one);
            (void)sched_setaffinity(0, sizeof one, &one); /* only for speed */
            return;
        }
    }
}

/* In two processes, each with its own copy. */
static void flip_each_byte(uint64_t n, size_t stride)
{
    struct journal_options o = fast_options("flip");
    size_t len;
    char *name, original[400];
    uint8_t *good = make_segment(&o, n, &len, &name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(good);
    snprintf(original, sizeof original, "%s", dir);
    pid_t pids[2];
    for (size_t k = 0; k < 2; k++) {
        snprintf(dir, sizeof dir, "%.380s-%zu", original, k);
        support_copy_tree(original, dir);
        pids[k] = fork();
        if (pids[k] == 0) {
            stay(k);
            _exit(flip_bytes(&o, name, good, len, n, k * stride, 2 * stride) > 0);
        }
    }
    for (size_t k = 0; k < 2; k++) {
        int status = 0;
        CU_ASSERT(waitpid(pids[k], &status, 0) == pids[k] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        snprintf(dir, sizeof dir, "%.380s-%zu", original, k);
        support_remove_tree(dir);
    }
    support_remove_tree(original);
    harness_note("a segment of %zu bytes", len);
    free(good);
    free(name);
}

static void test_flip_each_byte(void)
{
    flip_each_byte(200, harness_slow() ? 61 : 1);
}

static void test_flip_each_byte_long(void)
{
    if (!getenv("AW_TEST_LONG")) {
        flip_each_byte(1000, 997);
        return;
    }
    flip_each_byte(1000, 1);
}

/* The file ends anywhere: all before the cut is there, and the ring's note of the newest seq tells what is missing. */
static void test_truncate(void)
{
    struct journal_options o = fast_options("truncate");
    size_t len;
    char *name, path[700], ring[700];
    const uint64_t n = 20;
    uint8_t *good = make_segment(&o, n, &len, &name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(good);
    size_t ring_len;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(ring, sizeof ring, "%s/ring", dir);
    char *ring_good = support_slurp(ring, &ring_len);
    memset(ring_good + RING_DATA, 0, ring_len - RING_DATA); /* else it gives everything back */
    unsigned failed = 0;
    bool late = false;
    uint64_t patience = clock_mono_ns() + 30000000000u; /* as above */
    for (size_t keep = 0; keep < len && failed < 5; keep += keep < SEGMENT_DATA - 8 ? 64
                                                            : harness_slow()        ? 41
                                                            : late                  ? 29
                                                                                    : 1) {
        late = late || (clock_mono_ns() > patience && !getenv("AW_TEST_LONG"));
        reset(name);
        support_write(path, good, keep);
        bool with_ring = keep % 16 < 8;
        if (with_ring)
            support_write(ring, ring_good, ring_len);
        struct journal *j = support_open(&o);
        uint64_t seq = 0, whole = 0;
        for (size_t at = SEGMENT_DATA; at + RECORD_HEADER < keep;) {
            const struct record_header *h = (const void *)(good + at);
            at += h->total_len;
            whole += h->kind == RECORD_KIND_EVENT && at <= keep; /* notes may stand between them */
        }
        if (!j) {
            failed++;
            continue;
        }
        uint64_t missing = read_missing(j, &seq, n);
        bool ok = missing == n - whole && (!with_ring || journal_head(j) == n);
        struct journal_usage u;
        journal_get_usage(j, &u);
        ok = ok && (!with_ring || u.lost == missing) && journal_head(j) >= whole;
        /* life goes on behind it */
        struct journal_receipt r;
        uint64_t head = journal_head(j);
        ok = ok && journal_append(j, support_event("t0", 777, 0), UINT64_MAX, &r) == 0 && r.seq == head + 1;
        ok = journal_close(j) == 0 && ok;
        if (!ok)
            harness_note("keep %zu: whole %" PRIu64 ", missing %" PRIu64 ", lost %" PRIu64 ", head %" PRIu64 ": %s",
                         keep, whole, missing, u.lost, head, support_problems());
        failed += !ok;
    }
    CU_ASSERT_EQUAL(failed, 0);
    support_remove_tree(dir);
    free(good);
    free(ring_good);
    free(name);
}

/* What was lost is reported once as new, and stays known. */
static void test_lost_stays_known(void)
{
    struct journal_options o = options_in("known");
    size_t len;
    char *name, path[700];
    uint8_t *good = make_segment(&o, 60, &len, &name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(good);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    memset(good + len / 2, 0xa5, 8);
    reset(name);
    support_write(path, good, len);
    for (int round = 0; round < 4; round++) {
        struct journal *j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        uint64_t seq = 0;
        struct journal_usage u;
        CU_ASSERT_EQUAL(read_missing(j, &seq, 60), 1);
        journal_get_usage(j, &u);
        CU_ASSERT_EQUAL(u.lost, 1);
        if (round == 0)
            CU_ASSERT(names_seq(support_problems(), seq));
        if (round > 0)
            CU_ASSERT_STRING_EQUAL(support_problems(), "");
        CU_ASSERT_EQUAL(support_fill(j, 61 + (uint64_t)round, 1, 3, 8), 61 + (uint64_t)round);
        CU_ASSERT_EQUAL(journal_close(j), 0);
    }
    DIR *d = opendir(support_path("known/quarantine"));
    unsigned bins = 0, texts = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        bins += strstr(e->d_name, ".bin") != NULL;
        texts += strstr(e->d_name, ".txt") != NULL;
    }
    if (d)
        closedir(d);
    CU_ASSERT_EQUAL(bins, 1);
    CU_ASSERT_EQUAL(texts, 1);
    free(good);
    free(name);
}

static void garbage(const char *file)
{
    char path[700];
    uint8_t junk[5000];
    uint64_t state = harness_seed();
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (uint8_t)harness_random(&state);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    support_write(path, junk, sizeof junk);
}

static void test_other_files_damaged(void)
{
    struct journal_options o = options_in("others");
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    support_fill(j, 1, 100, 3, 8);
    support_read_all(j, "sink", true);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    static const char *const files[] = {"ring", "lock", "cursors/sink"};
    static const char *const says[] = {"\"ring\" is of no use", NULL, "cursor \"sink\" cannot be read"};
    for (size_t i = 0; i < AW_ARRAY_LEN(files); i++) {
        garbage(files[i]);
        j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        if (says[i])
            CU_ASSERT_PTR_NOT_NULL(strstr(support_problems(), says[i]));
        CU_ASSERT_EQUAL(journal_head(j), 100);
        struct support_read r = support_read_all(j, "other", false);
        CU_ASSERT_EQUAL(r.count, 100);
        CU_ASSERT_EQUAL(journal_close(j), 0);
    }
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(support_read_all(j, "sink", true).count, 100); /* from the oldest: redelivery, not loss */
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

/* ---- kill -9 -------------------------------------------------------------------------------------------------------
 */

static void child_logs(const struct journal_options *o, int out, uint64_t start, bool synced)
{
    struct journal *j = support_open(o);
    if (!j)
        _exit(3);
    for (uint64_t i = start;; i++) {
        char tenant[16];
        struct journal_receipt r;
        snprintf(tenant, sizeof tenant, "t%u", (unsigned)(i % 5));
        if (journal_append(j, support_event(tenant, i, (size_t)(i * 7919 % 900)), UINT64_MAX, &r) != 0 || r.seq != i)
            _exit(4);
        if (synced && i % 16 == 0 && journal_sync(j, r.seq) != 0)
            _exit(5);
        if (write(out, &r, sizeof r) != (ssize_t)sizeof r)
            _exit(6);
    }
}

/* Kills a child after a random number of acknowledged events. *receipts: of all acknowledged ones. */
static uint64_t run_and_kill(const struct journal_options *o, uint64_t start, uint64_t *state,
                             struct journal_receipt *receipts, size_t max)
{
    int p[2];
    if (pipe(p) < 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0) {
        close(p[0]);
        alarm(30);
        child_logs(o, p[1], start, harness_random(state) % 4 == 0);
    }
    close(p[1]);
    uint64_t want = 1 + harness_random(state) % (harness_random(state) % 4 == 0 ? 3000 : 300), got = 0;
    struct journal_receipt r;
    bool killed = false;
    while (read(p[0], &r, sizeof r) == (ssize_t)sizeof r) {
        if (r.seq < max)
            receipts[r.seq] = r;
        if (++got == want && !killed) {
            kill(pid, SIGKILL);
            killed = true;
        }
    }
    close(p[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        harness_note("child ended with %x", (unsigned)status);
        CU_FAIL("child");
    }
    return start + got - 1;
}

static void test_kill(void)
{
    enum { POINTS = 60, MAX = POINTS * 9000 };
    struct journal_options o = options_in("kill");
    uint64_t state = harness_seed(), acked = 0, recovered = 0;
    struct journal_receipt *receipts = calloc(MAX, sizeof *receipts);
    CU_ASSERT_PTR_NOT_NULL_FATAL(receipts);
    for (int point = 0; point < POINTS; point++) {
        uint64_t last = run_and_kill(&o, acked + 1, &state, receipts, MAX);
        struct journal *j = support_open(&o);
        CU_ASSERT_PTR_NOT_NULL_FATAL(j);
        if (journal_head(j) < last || support_problems()[0] != '\0') {
            harness_note("point %d: acknowledged %" PRIu64 ", head %" PRIu64 ": %s", point, last, journal_head(j),
                         support_problems());
            CU_FAIL("lost");
        }
        struct journal_usage u;
        journal_get_usage(j, &u);
        recovered += u.recovered;
        CU_ASSERT_EQUAL(u.lost, 0);
        acked = journal_head(j);
        CU_ASSERT_EQUAL(journal_durable(j), acked);
        if (point % 2)
            (void)journal_close(j);
        else { /* a second start after a start that was itself killed */
            pid_t pid = fork();
            if (pid == 0)
                _exit(0);
            waitpid(pid, NULL, 0);
            CU_ASSERT_EQUAL(journal_close(j), 0);
        }
    }
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    struct support_read r = support_read_all(j, "all", false);
    CU_ASSERT_EQUAL(r.count, acked);
    CU_ASSERT_EQUAL(r.missing + r.bad_chain + r.bad_hash + r.bad_calls, 0);
    unsigned wrong = 0;
    for (uint64_t i = 1; i <= acked && i < MAX; i += 97) {
        uint8_t hash[32];
        if (receipts[i].seq == i)
            wrong += journal_lookup_hash(j, i, hash) != 0 || memcmp(hash, receipts[i].hash, 32) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    harness_note("%" PRIu64 " events over %d kills, %" PRIu64 " of them found in the ring", acked, (int)POINTS,
                 recovered);
    CU_ASSERT(recovered > 0);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    free(receipts);
}

/* A ring that was written under another boot, as after a power loss: what follows the segments without a gap is
 * believed, the rest is reported as lost, and no number is given out twice. */
static void test_other_boot(void)
{
    struct journal_options o = options_in("boot");
    char path[700], aside[700], *names[8];
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    support_fill(j, 1, 10, 3, 8);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    /* events 11..60 are in the ring and in a segment that is then lost */
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    support_fill(j, 11, 50, 3, 8);
    CU_ASSERT_EQUAL(journal_close(j), 0);
    CU_ASSERT_EQUAL_FATAL(support_segments(dir, names, 8), 2);
    snprintf(path, sizeof path, "%s/%s", dir, names[1]);
    free(names[0]);
    free(names[1]);
    snprintf(aside, sizeof aside, "%s/ring", dir);
    (void)unlink(path);
    size_t len;
    char *ring = support_slurp(aside, &len);
    struct ring_header *h = (void *)ring;
    h->boot_id[0] ^= 0xff;
    h->crc = 0;
    h->crc = hash_crc32c(0, h, 128);
    for (size_t at = RING_DATA; at < len; at += 8) { /* event 31 never reached the disk */
        struct record_header *r = (void *)(ring + at);
        if (at + sizeof *r < len && r->magic == RECORD_MAGIC && r->seq == 31)
            r->hash[0] ^= 1;
    }
    support_write(aside, ring, len);
    free(ring);
    j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_problems(), "30 events are missing from the journal: seq 31-60"));
    CU_ASSERT_EQUAL(journal_head(j), 60);
    struct journal_usage u;
    journal_get_usage(j, &u);
    CU_ASSERT_EQUAL(u.recovered, 20);
    CU_ASSERT_EQUAL(u.lost, 30);
    CU_ASSERT_EQUAL(support_fill(j, 61, 1, 3, 8), 61);
    struct support_read r = support_read_all(j, "a", false);
    CU_ASSERT_EQUAL(r.count, 31);
    CU_ASSERT_EQUAL(r.missing, 30);
    CU_ASSERT_EQUAL(r.bad_calls, 0); /* known already */
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

HARNESS_MAIN("recovery", {"one flipped byte costs one record, each byte of 200 records", test_flip_each_byte},
             {"one flipped byte in 1,000 records", test_flip_each_byte_long}, {"cut off anywhere", test_truncate},
             {"what is lost is reported once", test_lost_stays_known},
             {"damaged ring, lock and cursor files do not prevent a start", test_other_files_damaged},
             {"kill -9 loses nothing that was acknowledged", test_kill},
             {"after a power loss: no event twice, no number twice", test_other_boot})
