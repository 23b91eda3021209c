/* snapshot.c - reading the figures, of this process or from the file of another. See metrics.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The file is read, not mapped: it may be cut short at any time by whoever may write it. What comes from it is bounded
 * and made printable later; a nonsense figure stays a nonsense figure.
 */
#include "config.h"

#include "metrics/metrics.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"

#include <fcntl.h>

/* How often the figures of a sink are read again because its worker published twice in between. */
#define TRIES 1000

static const uint64_t *plain(const struct metrics_sink *copy)
{
    return (const uint64_t *)(const void *)copy->words[0];
}

static int new_snapshot(size_t sinks, struct metrics_snapshot **ret)
{
    struct metrics_snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    size_t size = METRICS_HEADER + sizeof(struct metrics_process) + sinks * sizeof(struct metrics_sink);
    void *memory;
    if (fs_map_memory(size, &memory) < 0) {
        free(s);
        return -ENOMEM;
    }
    s->copy.fd = -1;
    s->copy.size = size;
    s->copy.sink_count = sinks;
    s->copy.header = memory;
    s->copy.process = (struct metrics_process *)(void *)((char *)memory + METRICS_HEADER);
    s->copy.sinks = (struct metrics_sink *)(void *)(s->copy.process + 1);
    *ret = s;
    return 0;
}

void metrics_snapshot_free(struct metrics_snapshot *s)
{
    if (!s)
        return;
    fs_unmap(s->copy.header, s->copy.size);
    free(s);
}

/* ---- of this process ---- */

static void copy_words(_Atomic uint64_t *to, const _Atomic uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed), memory_order_relaxed);
}

static void copy_histogram(struct metrics_histogram *to, const struct metrics_histogram *from)
{
    copy_words(&to->sum_ns, &from->sum_ns, 1);
    copy_words(to->count, from->count, METRICS_BUCKETS);
}

static void copy_series(struct metrics_series *to, const struct metrics_series *from)
{
    memcpy(to, from, offsetof(struct metrics_series, value)); /* never changes once it counts */
    copy_words(&to->value, &from->value, 1);
    copy_words(to->count, from->count, METRICS_BOUNDS + 1);
}

static void copy_sink(struct metrics_sink *to, const struct metrics_sink *from)
{
    memcpy(to->name, from->name, sizeof to->name);
    memcpy(to->plugin, from->plugin, sizeof to->plugin);
    uint64_t words[METRICS_SINK_WORDS];
    metrics_latest(from, words);
    memcpy((void *)to->words[0], words, sizeof words);
    copy_histogram(&to->writes, &from->writes);
    uint64_t n = atomic_load_explicit(&from->series_count, memory_order_acquire);
    atomic_store_explicit(&to->series_count, n, memory_order_relaxed);
    for (uint64_t i = 0; i < n; i++)
        copy_series(&to->series[i], &from->series[i]);
}

int metrics_snapshot_live(const struct metrics *m, struct metrics_snapshot **ret)
{
    struct metrics_snapshot *s;
    int rc = new_snapshot(m->sink_count, &s);
    if (rc < 0)
        return rc;
    memcpy(s->copy.header, m->header, offsetof(struct metrics_header, ended_ns));
    copy_words(&s->copy.header->ended_ns, &m->header->ended_ns, 1);
    copy_words(s->copy.process->counters, m->process->counters, METRICS_COUNTERS);
    copy_histogram(&s->copy.process->log, &m->process->log);
    for (size_t i = 0; i < m->sink_count; i++)
        copy_sink(&s->copy.sinks[i], &m->sinks[i]);
    copy_words(s->copy.process->journal, m->process->journal, METRICS_JOURNAL_FIGURES);
    s->moment = (struct metrics_moment){true, clock_real_ns(), clock_mono_ns(), 0};
    s->moment.head = atomic_load_explicit(&s->copy.process->journal[METRICS_HEAD], memory_order_relaxed);
    *ret = s;
    return 0;
}

/* ---- of another process ---- */

static int bad(const char **why, const char *text)
{
    *why = text;
    return -EBADMSG;
}

static int read_all(int fd, void *buf, size_t len, uint64_t offset, const char **why)
{
    ssize_t n = fs_pread_full(fd, buf, len, offset);
    if (n < 0)
        return (int)n;
    return (size_t)n == len ? 0 : bad(why, "it is cut short");
}

static int read_header(int fd, struct metrics_header *ret, const char **why)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return bad(why, "it is no regular file");
    int rc = read_all(fd, ret, sizeof *ret, 0, why);
    if (rc < 0)
        return rc;
    if (memcmp(ret->magic, METRICS_MAGIC, sizeof ret->magic) != 0)
        return bad(why, "it does not begin as a file of figures does");
    if (ret->version != METRICS_VERSION)
        return bad(why, "it was written by another version of auditwell");
    struct metrics_header copy;
    memcpy((void *)&copy, (const void *)ret, sizeof copy);
    copy.crc = 0;
    if (hash_crc32c(0, &copy, offsetof(struct metrics_header, ended_ns)) != ret->crc)
        return bad(why, "its header is damaged");
    if (ret->process_bytes != sizeof(struct metrics_process) || ret->sink_bytes != sizeof(struct metrics_sink))
        return bad(why, "it was written by another version of auditwell");
    uint64_t expected =
        METRICS_HEADER + sizeof(struct metrics_process) + (uint64_t)ret->sink_count * sizeof(struct metrics_sink);
    if (ret->sink_count > METRICS_MAX_SINKS || ret->size != expected || (uint64_t)st.st_size != expected)
        return bad(why, "its size is not what its header says");
    return 0;
}

/* The copy that belongs to the version is whole as long as the version stays. A process that was killed stays. */
static int read_words(int fd, struct metrics_sink *to, uint64_t at, const char **why)
{
    uint64_t version, again, words[METRICS_SINK_WORDS];
    int rc = read_all(fd, &again, sizeof again, at + offsetof(struct metrics_sink, version), why);
    if (rc < 0)
        return rc;
    for (int i = 0; i < TRIES; i++) {
        version = again;
        uint64_t place = offsetof(struct metrics_sink, words) + (version & 1) * sizeof words;
        rc = read_all(fd, words, sizeof words, at + place, why);
        if (rc == 0)
            rc = read_all(fd, &again, sizeof again, at + offsetof(struct metrics_sink, version), why);
        if (rc < 0)
            return rc;
        if (version == again) {
            memcpy((void *)to->words[0], words, sizeof words);
            return 0;
        }
    }
    return -EAGAIN;
}

static int read_sinks(int fd, struct metrics_snapshot *s, const char **why)
{
    int rc = 0;
    for (size_t i = 0; i < s->copy.sink_count && rc == 0; i++) {
        struct metrics_sink *to = &s->copy.sinks[i];
        uint64_t at = METRICS_HEADER + sizeof(struct metrics_process) + (uint64_t)i * sizeof *to, count;
        size_t words = offsetof(struct metrics_sink, writes);
        /* the count first: series that come to be meanwhile are left out */
        rc = read_all(fd, &count, sizeof count, at + offsetof(struct metrics_sink, series_count), why);
        if (rc == 0)
            rc = read_all(fd, to, offsetof(struct metrics_sink, version), at, why);
        if (rc == 0)
            rc = read_all(fd, (char *)to + words, sizeof *to - words, at + words, why);
        if (rc == 0)
            rc = read_words(fd, to, at, why);
        atomic_store(&to->series_count, count < METRICS_SERIES ? count : METRICS_SERIES);
        to->name[sizeof to->name - 1] = to->plugin[sizeof to->plugin - 1] = '\0';
        ((char *)(void *)to->words[0])[METRICS_SINK_WORDS * 8 - 1] = '\0';
    }
    return rc;
}

int metrics_snapshot_file(const char *path, const uint8_t boot_id[16], struct metrics_snapshot **ret,
                          const char **ret_why)
{
    AW_AUTOCLOSE int fd = -1;
    struct metrics_header header;
    *ret_why = "";
    int rc = fs_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (rc == -ELOOP)
        return bad(ret_why, "it is a symbolic link");
    if (rc == 0)
        rc = read_header(fd, &header, ret_why);
    if (rc < 0)
        return rc;
    struct metrics_snapshot *s;
    rc = new_snapshot(header.sink_count, &s);
    if (rc < 0)
        return rc;
    /* Asked first: a process that ends meanwhile is shown as running, never the other way round. */
    s->moment.running = fs_lock_shared(fd) == -EWOULDBLOCK;
    memcpy((void *)s->copy.header, (const void *)&header, sizeof header);
    rc = read_all(fd, s->copy.process, sizeof *s->copy.process, METRICS_HEADER, ret_why);
    if (rc == 0)
        rc = read_sinks(fd, s, ret_why);
    if (rc < 0) {
        metrics_snapshot_free(s);
        return rc;
    }
    s->moment.head = atomic_load(&s->copy.process->journal[METRICS_HEAD]);
    s->moment.real_ns = clock_real_ns();
    s->moment.mono_ns = memcmp(boot_id, header.boot_id, 16) == 0 ? clock_mono_ns() : 0;
    *ret = s;
    return 0;
}

/* ---- what the figures mean ---- */

void metrics_view(const char *name, const char *plugin, const uint64_t *f, const struct metrics_moment *moment,
                  struct metrics_sink_view *ret)
{
    uint64_t acked = f[METRICS_SINK_ACKED], oldest = f[METRICS_SINK_OLDEST_NS], since = f[METRICS_SINK_CALL_SINCE];
    *ret = (struct metrics_sink_view){.name = name, .plugin = plugin, .figures = f};
    ret->error = metrics_error_text(f);
    ret->delivered = f[METRICS_SINK_WRITTEN] + f[METRICS_SINK_DUPLICATES] + f[METRICS_SINK_FOUND];
    ret->queued = moment->head > acked ? moment->head - acked : 0;
    ret->accepted = acked + ret->queued - f[METRICS_SINK_BASE];
    ret->imbalance =
        (int64_t)(ret->accepted - (ret->delivered + ret->queued + f[METRICS_SINK_DEAD] + f[METRICS_SINK_LOST]));
    if (ret->queued > 0 && f[METRICS_SINK_OLDEST_SEQ] > acked && moment->real_ns > oldest)
        ret->lag_ns = moment->real_ns - oldest;
    if (moment->running && since != 0 && moment->mono_ns > since && moment->mono_ns - since > f[METRICS_SINK_DEADLINE])
        ret->stuck_ns = moment->mono_ns - since;
}

void metrics_view_sink(const struct metrics_snapshot *s, size_t sink, struct metrics_sink_view *ret)
{
    const struct metrics_sink *copy = &s->copy.sinks[sink];
    metrics_view(copy->name, copy->plugin, plain(copy), &s->moment, ret);
}
