/* test_metrics_file.c - publishing, the mapped file, and its reader, which trusts nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "metrics/metrics.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static const uint8_t boot[16] = {1, 2, 3};

static void publish(struct metrics_sink *sink, uint64_t base, uint64_t acked, uint64_t dead, const char *error)
{
    const uint64_t f[METRICS_SINK_FIGURES] = {[METRICS_SINK_BASE] = base,
                                              [METRICS_SINK_ACKED] = acked,
                                              [METRICS_SINK_WRITTEN] = acked - base - dead,
                                              [METRICS_SINK_DEAD] = dead};
    metrics_publish(sink, f, error);
}

/* A directory with the figures of two sinks; *ret is the file's path. */
static struct metrics *shared(const char *name, char *path, size_t size)
{
    struct metrics *m;
    char dir[300];
    snprintf(dir, sizeof dir, "%s/%s", harness_tmpdir(), name);
    CU_ASSERT_EQUAL_FATAL(fs_mkdir_p(dir, 0700), 0);
    snprintf(path, size, "%s/metrics", dir);
    CU_ASSERT_EQUAL_FATAL(metrics_create(2, &m), 0);
    metrics_name_sink(m, 0, "trail", "file");
    metrics_name_sink(m, 1, "db", "sqlite");
    publish(&m->sinks[0], 5, 100, 3, "");
    metrics_count(m, METRICS_INVALID, 7); /* before the file is there: it comes along */
    CU_ASSERT_EQUAL_FATAL(metrics_share(m, dir, boot, 40), 0);
    return m;
}

static struct metrics_snapshot *read_file(const char *path)
{
    struct metrics_snapshot *s = NULL;
    const char *why;
    CU_ASSERT_EQUAL_FATAL(metrics_snapshot_file(path, boot, &s, &why), 0);
    return s;
}

static void others_see_the_figures(void)
{
    char path[400];
    struct metrics *m = shared("see", path, sizeof path);
    struct metrics_sink_view v;
    publish(&m->sinks[1], 0, 60, 0, "RETRY: no luck");
    metrics_count(m, METRICS_INVALID, 1);
    atomic_store(&m->process->journal[METRICS_HEAD], 110);
    struct metrics_snapshot *s = read_file(path);
    CU_ASSERT(s->moment.running && s->moment.mono_ns != 0);
    CU_ASSERT_EQUAL(s->moment.head, 110);
    CU_ASSERT_EQUAL(s->copy.header->pid, (uint64_t)getpid());
    CU_ASSERT_EQUAL(s->copy.header->first_seq, 40);
    CU_ASSERT_EQUAL(metrics_counted(&s->copy, METRICS_INVALID), 8);
    metrics_view_sink(s, 0, &v);
    CU_ASSERT_STRING_EQUAL(v.name, "trail");
    CU_ASSERT(v.accepted == 105 && v.queued == 10 && v.delivered == 92 && v.imbalance == 0);
    metrics_view_sink(s, 1, &v);
    CU_ASSERT_STRING_EQUAL(v.error, "RETRY: no luck");
    CU_ASSERT(v.queued == 50 && v.imbalance == 0);
    metrics_snapshot_free(s);
    metrics_ended(m);
    metrics_destroy(m);
    s = read_file(path);
    CU_ASSERT(!s->moment.running && s->copy.header->ended_ns != 0);
    metrics_view_sink(s, 1, &v);
    CU_ASSERT_EQUAL(v.queued, 50);
    metrics_snapshot_free(s);
}

/* kill -9: the lock goes with the process, the figures stay. */
static void a_killed_process_leaves_its_figures(void)
{
    char path[400];
    int ready[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    (void)harness_tmpdir();
    pid_t child = fork();
    if (child == 0) {
        struct metrics *m = shared("killed", path, sizeof path);
        publish(&m->sinks[0], 5, 200, 0, "");
        (void)!write(ready[1], "x", 1);
        for (;;)
            (void)pause();
    }
    char c;
    CU_ASSERT_EQUAL(read(ready[0], &c, 1), 1);
    snprintf(path, sizeof path, "%s/killed/metrics", harness_tmpdir());
    struct metrics_snapshot *s = read_file(path);
    CU_ASSERT(s->moment.running);
    CU_ASSERT_EQUAL(s->copy.header->pid, (uint64_t)child);
    metrics_snapshot_free(s);
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
    s = read_file(path);
    struct metrics_sink_view v;
    CU_ASSERT(!s->moment.running && s->copy.header->ended_ns == 0);
    metrics_view_sink(s, 0, &v);
    CU_ASSERT_EQUAL(v.figures[METRICS_SINK_ACKED], 200);
    metrics_snapshot_free(s);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* A process that is killed in the middle of publishing: the copy that counts is whole. */
static void half_a_publication_does_not_count(void)
{
    char path[400];
    struct metrics *m = shared("half", path, sizeof path);
    publish(&m->sinks[0], 5, 150, 0, "whole");
    uint64_t version = atomic_load(&m->sinks[0].version);
    memset((void *)m->sinks[0].words[(version + 1) & 1], 0xee, 100);
    struct metrics_snapshot *s = read_file(path);
    struct metrics_sink_view v;
    metrics_view_sink(s, 0, &v);
    CU_ASSERT(v.figures[METRICS_SINK_ACKED] == 150 && v.imbalance == 0);
    CU_ASSERT_STRING_EQUAL(v.error, "whole");
    metrics_snapshot_free(s);
    metrics_destroy(m);
}

static void without_a_file_memory_does(void)
{
    struct metrics *m;
    char dir[300], path[400];
    snprintf(dir, sizeof dir, "%s/nofile", harness_tmpdir());
    CU_ASSERT_EQUAL_FATAL(metrics_create(1, &m), 0);
    metrics_name_sink(m, 0, "s", "p");
    CU_ASSERT_EQUAL(metrics_share(m, dir, boot, 0), -ENOENT);
    CU_ASSERT_EQUAL_FATAL(fs_mkdir_p(dir, 0700), 0);
    snprintf(path, sizeof path, "%s/metrics.new", dir);
    CU_ASSERT_EQUAL_FATAL(fs_mkdir_p(path, 0700), 0); /* in the way */
    snprintf(path, sizeof path, "%s/metrics", dir);
    int fd = -1;
    CU_ASSERT_EQUAL(fs_open(path, O_WRONLY | O_CREAT, 0600, &fd), 0);
    (void)fs_close(fd);
    CU_ASSERT(metrics_share(m, dir, boot, 0) < 0);
    CU_ASSERT(access(path, F_OK) != 0); /* an earlier process' figures must not be taken for these */
    metrics_count(m, METRICS_DROPPED, 1);
    publish(&m->sinks[0], 0, 9, 0, "");
    struct metrics_snapshot *s;
    CU_ASSERT_EQUAL_FATAL(metrics_snapshot_live(m, &s), 0);
    CU_ASSERT_EQUAL(metrics_counted(&s->copy, METRICS_DROPPED), 1);
    metrics_snapshot_free(s);
    metrics_destroy(m);
}

/* ---- what is published together is read together ---- */

struct race {
    struct metrics *m;
    const char *path;
    _Atomic bool stop;
};

static void *publisher(void *arg)
{
    struct race *r = arg;
    for (uint64_t i = 1; !atomic_load(&r->stop); i++)
        publish(&r->m->sinks[0], 0, 3 * i, i, i % 2 ? "odd" : "even");
    return NULL;
}

static void readers_see_one_moment(void)
{
    char path[400];
    struct race r = {.path = path};
    pthread_t thread;
    r.m = shared("race", path, sizeof path);
    publish(&r.m->sinks[0], 0, 3, 1, "odd");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, publisher, &r), 0);
    int bad = 0;
    uint64_t end = clock_mono_ns() + 500000000u, reads = 0;
    for (uint64_t last = 0; clock_mono_ns() < end; reads++) {
        uint64_t words[METRICS_SINK_WORDS];
        struct metrics_snapshot *s;
        if (reads % 2) {
            const char *why;
            int rc = metrics_snapshot_file(path, boot, &s, &why);
            if (rc == -EAGAIN)
                continue; /* it publishes without a pause here; real workers call a plugin in between */
            CU_ASSERT_EQUAL_FATAL(rc, 0);
            struct metrics_sink_view v;
            metrics_view_sink(s, 0, &v);
            memcpy(words, v.figures, sizeof words);
            metrics_snapshot_free(s);
        } else {
            metrics_latest(&r.m->sinks[0], words);
        }
        uint64_t n = words[METRICS_SINK_DEAD];
        bad += words[METRICS_SINK_ACKED] != 3 * n || words[METRICS_SINK_WRITTEN] != 2 * n || n < last;
        bad += strcmp(metrics_error_text(words), n % 2 ? "odd" : "even") != 0;
        last = n;
    }
    atomic_store(&r.stop, true);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(reads > (harness_slow() ? 0 : 10));
    metrics_destroy(r.m);
}

/* ---- files that nobody should have written ---- */

static int read_bytes(const char *path, const void *bytes, size_t len, const char **why)
{
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd), 0);
    CU_ASSERT_EQUAL_FATAL(fs_write_all(fd, bytes, len, NULL), 0);
    (void)fs_close(fd);
    struct metrics_snapshot *s = NULL;
    int rc = metrics_snapshot_file(path, boot, &s, why);
    if (rc == 0) {
        char *text = NULL;
        size_t n;
        CU_ASSERT_EQUAL(metrics_text(s, &text, &n), 0);
        free(text);
        metrics_snapshot_free(s);
    }
    return rc;
}

static char *good_bytes(const char *name, size_t *ret_len)
{
    char path[400], *bytes = NULL;
    static const double bounds[] = {1, 2};
    static const char *const labels[] = {"a", NULL};
    struct metrics *m = shared(name, path, sizeof path);
    struct metrics_spec c = {.kind = AW_METRIC_COUNTER, .name = "c_total", .labels = labels};
    struct metrics_spec h = {AW_METRIC_HISTOGRAM, "h", "H.", NULL, bounds, 2};
    char why[200];
    uint32_t id;
    CU_ASSERT_EQUAL(metrics_series(m, 0, &c, (const char *const[]){"x"}, &id, why, sizeof why), AW_OK);
    CU_ASSERT_EQUAL(metrics_series(m, 1, &h, NULL, &id, why, sizeof why), AW_OK);
    metrics_destroy(m);
    CU_ASSERT_EQUAL_FATAL(fs_read_file(path, 1u << 20, &bytes, ret_len), 0);
    return bytes;
}

static void reseal(char *bytes)
{
    struct metrics_header *h = (struct metrics_header *)(void *)bytes;
    h->crc = 0;
    h->crc = hash_crc32c(0, h, offsetof(struct metrics_header, ended_ns));
}

static void bad_files_are_refused(void)
{
    char path[400];
    const char *why;
    size_t len;
    AW_AUTOFREE char *bytes = good_bytes("bad", &len);
    struct metrics_header *h = (struct metrics_header *)(void *)bytes;
    snprintf(path, sizeof path, "%s/bad/copy", harness_tmpdir());
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), 0);
    for (size_t n = 0; n < len; n += 1 + n / 7) /* cut short anywhere */
        CU_ASSERT_EQUAL(read_bytes(path, bytes, n, &why), -EBADMSG);
    CU_ASSERT(strlen(why) > 10);
    h->version = 2;
    reseal(bytes);
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "another version"));
    h->version = METRICS_VERSION;
    h->sink_bytes++;
    reseal(bytes);
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), -EBADMSG);
    h->sink_bytes--;
    h->sink_count = UINT32_MAX;
    reseal(bytes);
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), -EBADMSG);
    h->sink_count = 3; /* more than there are */
    reseal(bytes);
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), -EBADMSG);
    h->sink_count = 2;
    reseal(bytes);
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), 0);
    bytes[60] ^= 1;
    CU_ASSERT_EQUAL(read_bytes(path, bytes, len, &why), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "damaged"));
    struct metrics_snapshot *s;
    CU_ASSERT_EQUAL(metrics_snapshot_file(harness_tmpdir(), boot, &s, &why), -EBADMSG); /* a directory */
    CU_ASSERT_EQUAL(metrics_snapshot_file("/dev/zero", boot, &s, &why), -EBADMSG);
    char link[400];
    snprintf(link, sizeof link, "%s/bad/link", harness_tmpdir());
    CU_ASSERT_EQUAL(symlink(path, link), 0);
    CU_ASSERT_EQUAL(metrics_snapshot_file(link, boot, &s, &why), -EBADMSG);
    CU_ASSERT_EQUAL(metrics_snapshot_file("/nonexistent/metrics", boot, &s, &why), -ENOENT);
}

/* Behind a good header, anything: read, shown, and nothing that breaks the format. */
static void random_bytes_do_no_harm(void)
{
    char path[400];
    const char *why;
    size_t len;
    uint64_t state = harness_seed();
    AW_AUTOFREE char *good = good_bytes("random", &len);
    AW_AUTOFREE char *bytes = malloc(len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    snprintf(path, sizeof path, "%s/random/copy", harness_tmpdir());
    int taken = 0;
    for (int round = 0; round < (harness_slow() ? 100 : 1500); round++) {
        memcpy(bytes, good, len);
        size_t from = round % 4 == 0 ? 0 : METRICS_HEADER;
        if (round % 3 == 0) { /* noise all over */
            for (size_t i = from; i < len; i++)
                bytes[i] = (char)harness_random(&state);
        } else { /* some wrong bytes where it hurts: in names, counts, labels */
            for (int i = 0; i < 400; i++)
                bytes[from + harness_random(&state) % (len - from)] = (char)(harness_random(&state) % 4 ? 0xff : 1);
            size_t sink = METRICS_HEADER + sizeof(struct metrics_process);
            for (size_t k = 0; k < 2; k++) {
                size_t at = sink + k * sizeof(struct metrics_sink) + offsetof(struct metrics_sink, series_count);
                uint64_t count = harness_random(&state) % 80;
                memcpy(bytes + at, &count, sizeof count);
                at += sizeof count + offsetof(struct metrics_series, labels);
                for (int i = 0; i < 20; i++)
                    bytes[at + harness_random(&state) % 250] = (char)harness_random(&state);
            }
        }
        if (from == 0 && round % 8 == 0)
            memcpy(bytes, good, METRICS_HEADER);
        int rc = read_bytes(path, bytes, len, &why);
        CU_ASSERT(rc == 0 || rc == -EBADMSG);
        taken += rc == 0;
    }
    CU_ASSERT(taken > 50);
}

HARNESS_MAIN("metrics file", {"others see the figures", others_see_the_figures},
             {"a killed process leaves its figures", a_killed_process_leaves_its_figures},
             {"half a publication does not count", half_a_publication_does_not_count},
             {"without a file, memory does", without_a_file_memory_does},
             {"readers see one moment", readers_see_one_moment}, {"bad files are refused", bad_files_are_refused},
             {"random bytes do no harm", random_bytes_do_no_harm})
