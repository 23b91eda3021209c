/* metrics.c - the figures of one open journal: memory, file, histograms, publishing. See metrics.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "metrics/metrics.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"

#include <fcntl.h>

#define METRICS_NEW "metrics.new"

_Static_assert(sizeof(struct metrics_process) % 64 == 0 && sizeof(struct metrics_sink) % 64 == 0,
               "they lie one behind the other");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2,
               "figures in shared memory are plain words");

#define US(n) ((uint64_t)(n)*1000u)
#define MS(n) ((uint64_t)(n)*1000000u)
const uint64_t metrics_log_bounds[METRICS_BUCKETS] = {500,     US(1),   US(2),   US(5),   US(10),   US(20),  US(50),
                                                      US(100), US(250), US(500), MS(1),   US(2500), MS(5),   MS(10),
                                                      MS(25),  MS(50),  MS(100), MS(250), MS(500),  MS(1000)};
const uint64_t metrics_write_bounds[METRICS_BUCKETS] = {US(100),  US(250),  US(500),  MS(1),     US(2500),  MS(5),
                                                        MS(10),   MS(25),   MS(50),   MS(100),   MS(250),   MS(500),
                                                        MS(1000), MS(2500), MS(5000), MS(10000), MS(30000), MS(60000)};

static void point_at(struct metrics *m, void *memory)
{
    m->header = memory;
    m->process = (struct metrics_process *)(void *)((char *)memory + METRICS_HEADER);
    m->sinks = (struct metrics_sink *)(void *)(m->process + 1);
}

int metrics_create(size_t sinks, struct metrics **ret)
{
    if (sinks > METRICS_MAX_SINKS)
        return -EINVAL;
    struct metrics *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->fd = -1;
    m->sink_count = sinks;
    m->size = METRICS_HEADER + sizeof(struct metrics_process) + sinks * sizeof(struct metrics_sink);
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return -ENOMEM;
    }
    /* a mapping, so that the file's can take its place at the same address */
    void *memory;
    if (fs_map_memory(m->size, &memory) < 0) {
        pthread_mutex_destroy(&m->lock);
        free(m);
        return -ENOMEM;
    }
    point_at(m, memory);
    *m->header = (struct metrics_header){.magic = METRICS_MAGIC,
                                         .version = METRICS_VERSION,
                                         .size = m->size,
                                         .process_bytes = sizeof(struct metrics_process),
                                         .sink_bytes = sizeof(struct metrics_sink),
                                         .sink_count = (uint32_t)sinks,
                                         .pid = (uint64_t)getpid(),
                                         .started_ns = clock_real_ns()};
    *ret = m;
    return 0;
}

void metrics_destroy(struct metrics *m)
{
    if (!m)
        return;
    fs_unmap(m->header, m->size);
    if (m->fd >= 0)
        (void)fs_close(m->fd); /* figures: nothing depends on what became of them */
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void metrics_name_sink(struct metrics *m, size_t sink, const char *name, const char *plugin)
{
    struct metrics_sink *s = &m->sinks[sink];
    memset(s, 0, sizeof *s);
    memcpy(s->name, name, strnlen(name, sizeof s->name - 1));
    memcpy(s->plugin, plugin, strnlen(plugin, sizeof s->plugin - 1));
}

/* The file is complete, locked and has all its blocks before it gets its name: a reader never sees a half one, and no
 * later store can fail for want of room. */
static int make_file(const struct metrics *m, int dir, int *ret_fd)
{
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_unlinkat(dir, METRICS_NEW);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = fs_openat(dir, METRICS_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd);
    if (rc < 0)
        return rc;
    rc = fs_allocate(fd, 0, m->size);
    if (rc == 0 || rc == -EOPNOTSUPP)
        rc = fs_pwrite_all(fd, m->header, m->size, 0, NULL);
    if (rc == 0)
        rc = fs_lock(fd);
    if (rc < 0)
        return rc;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int metrics_share(struct metrics *m, const char *directory, const uint8_t boot_id[16], uint64_t first_seq)
{
    AW_AUTOCLOSE int dir = -1;
    AW_AUTOCLOSE int fd = -1;
    struct metrics_header *h = m->header;
    memcpy(h->boot_id, boot_id, sizeof h->boot_id);
    h->first_seq = first_seq;
    h->crc = 0;
    h->crc = hash_crc32c(0, h, offsetof(struct metrics_header, ended_ns));
    int rc = fs_open(directory, O_RDONLY | O_DIRECTORY, 0, &dir);
    if (rc < 0)
        return rc;
    rc = make_file(m, dir, &fd);
    void *same;
    if (rc == 0)
        rc = fs_map_shared(fd, h, m->size, 0, &same);
    if (rc == 0)
        rc = fs_renameat(dir, METRICS_NEW, METRICS_NAME);
    if (rc < 0) {
        /* Mapped, but without a name, is as good as ordinary memory. The figures of an earlier process would be taken
         * for this one's. */
        (void)fs_unlinkat(dir, METRICS_NEW);
        (void)fs_unlinkat(dir, METRICS_NAME);
        return rc;
    }
    m->fd = fd;
    fd = -1;
    return 0;
}

void metrics_drop_inherited(struct metrics *m)
{
    if (!m || m->fd < 0)
        return;
    (void)fs_map_blank(m->header, m->size); /* a plugin may still count in it; fails never over a mapping */
    (void)fs_close(m->fd);
    m->fd = -1;
}

void metrics_ended(struct metrics *m)
{
    atomic_store_explicit(&m->header->ended_ns, clock_real_ns(), memory_order_relaxed);
    if (m->fd >= 0)
        (void)fs_unlock(m->fd); /* the mapping stays, and would keep it */
}

void metrics_observe(struct metrics_histogram *h, const uint64_t *bounds, uint64_t ns)
{
    size_t i = 0;
    while (bounds[i] != 0 && ns > bounds[i])
        i++;
    atomic_fetch_add_explicit(&h->count[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
}

void metrics_publish(struct metrics_sink *sink, const uint64_t figures[METRICS_SINK_FIGURES], const char *error)
{
    uint64_t text[METRICS_ERROR_WORDS] = {0};
    memcpy(text, error, strnlen(error, sizeof text - 1));
    uint64_t version = atomic_load_explicit(&sink->version, memory_order_relaxed) + 1;
    _Atomic uint64_t *words = sink->words[version & 1];
    /* The stores below may not be seen before the version that made this copy the old one. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < METRICS_SINK_FIGURES; i++)
        atomic_store_explicit(&words[i], figures[i], memory_order_relaxed);
    for (size_t i = 0; i < METRICS_ERROR_WORDS; i++)
        atomic_store_explicit(&words[METRICS_SINK_FIGURES + i], text[i], memory_order_relaxed);
    atomic_store_explicit(&sink->version, version, memory_order_release);
}

void metrics_latest(const struct metrics_sink *sink, uint64_t ret_words[METRICS_SINK_WORDS])
{
    uint64_t version, again;
    do {
        version = atomic_load_explicit(&sink->version, memory_order_acquire);
        const _Atomic uint64_t *words = sink->words[version & 1];
        for (size_t i = 0; i < METRICS_SINK_WORDS; i++)
            ret_words[i] = atomic_load_explicit(&words[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        again = atomic_load_explicit(&sink->version, memory_order_relaxed);
    } while (version != again);
}
