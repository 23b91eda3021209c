/* bench_limits.c - what the machine can do at best with the same bytes. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define BUFFER (256u << 10)
#define CHUNK_LINE 4096u /* room per event in a batch to sync */

/* The rest of a payload after {"event":E : ,"prevHash":"64 digits"} . The limit does not pay for hex digits: the raw
 * digest stands where the first half of them would. */
#define TAIL_LEN 79

struct hasher {
    EVP_MD_CTX *ctx;
    EVP_MD *md;
    unsigned char tail[TAIL_LEN];
};

static void hasher_init(struct hasher *h)
{
    h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    h->ctx = EVP_MD_CTX_new();
    if (!h->md || !h->ctx)
        bench_die("no SHA-256");
    memset(h->tail, 'p', sizeof h->tail);
}

static void hasher_fini(struct hasher *h)
{
    EVP_MD_CTX_free(h->ctx);
    EVP_MD_free(h->md);
}

static inline void hasher_chain(struct hasher *h, const char *bytes, size_t len)
{
    unsigned int n;
    (void)EVP_DigestInit_ex2(h->ctx, h->md, NULL);
    (void)EVP_DigestUpdate(h->ctx, bytes, len);
    (void)EVP_DigestUpdate(h->ctx, h->tail, TAIL_LEN);
    (void)EVP_DigestFinal_ex(h->ctx, h->tail, &n);
}

double limit_chain_hash(const struct lines *p, size_t from, size_t to)
{
    struct hasher h;
    hasher_init(&h);
    double t = bench_now();
    for (size_t i = from; i < to; i++)
        hasher_chain(&h, p->base + p->off[i], p->len[i]);
    t = bench_now() - t;
    hasher_fini(&h);
    return t;
}

struct part {
    const struct lines *lines;
    size_t from, to;
    pthread_barrier_t *barrier;
};

static void *hash_part(void *arg)
{
    struct part *p = arg;
    (void)pthread_barrier_wait(p->barrier);
    (void)limit_chain_hash(p->lines, p->from, p->to);
    return NULL;
}

double limit_chain_hash_threads(const struct lines *l, int threads)
{
    pthread_t t[64];
    struct part parts[64];
    pthread_barrier_t barrier;
    if (threads > 64)
        threads = 64;
    size_t n = (size_t)threads;
    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1))
        bench_die("barrier");
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct part){l, l->count * i / n, l->count * (i + 1) / n, &barrier};
        if (pthread_create(&t[i], NULL, hash_part, &parts[i]))
            bench_die("thread");
    }
    (void)pthread_barrier_wait(&barrier);
    double s = bench_now();
    for (size_t i = 0; i < n; i++)
        (void)pthread_join(t[i], NULL);
    s = bench_now() - s;
    (void)pthread_barrier_destroy(&barrier);
    return s;
}

static void write_full(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            bench_die("write: %s", strerror(errno));
        p += w;
        n -= (size_t)w;
    }
}

static int create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_die("%s: %s", path, strerror(errno));
    return fd;
}

static char *buffer(void)
{
    char *b = malloc(BUFFER + (64u << 10) + 8);
    if (!b)
        bench_die("out of memory");
    memset(b, 0, BUFFER);
    return b;
}

double limit_buffered_write(const struct lines *l, const char *path)
{
    char *b = buffer();
    int fd = create(path);
    size_t n = 0;
    double t = bench_now();
    for (size_t i = 0; i < l->count; i++) {
        memcpy(b + n, l->base + l->off[i], l->len[i]);
        n += l->len[i];
        b[n++] = '\n';
        if (n >= BUFFER) {
            write_full(fd, b, n);
            n = 0;
        }
    }
    write_full(fd, b, n);
    t = bench_now() - t;
    (void)close(fd);
    (void)unlink(path);
    free(b);
    return t;
}

double limit_copy_hash_write(const struct lines *payload, const struct lines *out, const char *path, size_t count)
{
    struct hasher h;
    hasher_init(&h);
    char *b = buffer();
    double t = bench_now(); /* from nothing to a closed file, as the command is measured */
    int fd = create(path);
    size_t n = 0;
    for (size_t k = 0; k < count; k++) {
        size_t i = k % out->count;
        hasher_chain(&h, payload->base + payload->off[i], payload->len[i]);
        memcpy(b + n, out->base + out->off[i], out->len[i]);
        n += out->len[i];
        b[n++] = '\n';
        if (n >= BUFFER) {
            write_full(fd, b, n);
            n = 0;
        }
    }
    write_full(fd, b, n);
    (void)close(fd);
    t = bench_now() - t;
    (void)unlink(path);
    free(b);
    hasher_fini(&h);
    return t;
}

/* Blocks that exist and are written, so that a sync has no metadata to write. */
static void preallocate(int fd, size_t total)
{
    char *zero = calloc(1, 1u << 20);
    if (!zero)
        bench_die("out of memory");
    for (size_t done = 0; done < total; done += 1u << 20)
        write_full(fd, zero, 1u << 20);
    free(zero);
    if (fsync(fd) || lseek(fd, 0, SEEK_SET))
        bench_die("preallocation: %s", strerror(errno));
}

double limit_append_sync(const struct lines *l, const char *path, size_t count, size_t every, bool preallocated)
{
    int fd = create(path);
    size_t total = 0, size = 0;
    for (size_t i = 0; i < count; i++)
        total += l->len[i % l->count] + 1u;
    if (preallocated)
        preallocate(fd, total);
    char *b = malloc(every * CHUNK_LINE);
    if (!b)
        bench_die("out of memory");
    double t = bench_now();
    for (size_t i = 0; i < count; i++) {
        size_t k = i % l->count;
        if (size + l->len[k] + 1 > every * CHUNK_LINE) { /* only with very long lines */
            write_full(fd, b, size);
            size = 0;
        }
        memcpy(b + size, l->base + l->off[k], l->len[k]);
        size += l->len[k];
        b[size++] = '\n';
        if ((i + 1) % every == 0) {
            write_full(fd, b, size);
            size = 0;
            if (fdatasync(fd))
                bench_die("fdatasync: %s", strerror(errno));
        }
    }
    t = bench_now() - t;
    (void)close(fd);
    (void)unlink(path);
    free(b);
    return t;
}

void limit_hash_paced(const char *bytes, size_t len, double rate, uint32_t *ns, size_t count)
{
    struct hasher h;
    hasher_init(&h);
    double due = bench_now();
    for (size_t i = 0; i < count; i++) {
        due += 1.0 / rate;
        while (bench_now() < due)
            ;
        double a = bench_now();
        hasher_chain(&h, bytes, len);
        ns[i] = (uint32_t)((bench_now() - a) * 1e9);
    }
    hasher_fini(&h);
}
