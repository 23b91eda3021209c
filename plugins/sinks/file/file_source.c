/* file_source.c - reads one file of a trail, plain or compressed with zstd, as one stream of bytes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "file_sink.h"

#define ID_SPAN 4096u

struct sf_source {
    int fd;
    bool zst;
    uint64_t offset; /* of the stream */
#ifdef HAVE_ZSTD
    ZSTD_DCtx *ctx;
    ZSTD_inBuffer in;
    size_t in_cap;
    char *in_buf;
    size_t frame; /* what the decoder still wants of the current frame; 0 = between frames */
#endif
};

#ifdef HAVE_ZSTD
static int zst_init(struct sf_source *src)
{
    src->in_cap = ZSTD_DStreamInSize();
    src->in_buf = malloc(src->in_cap);
    src->ctx = ZSTD_createDCtx();
    src->in = (ZSTD_inBuffer){src->in_buf, 0, 0};
    return src->in_buf != NULL && src->ctx != NULL ? 0 : -ENOMEM;
}

static void zst_fini(struct sf_source *src)
{
    ZSTD_freeDCtx(src->ctx);
    free(src->in_buf);
}

static int zst_rewind(struct sf_source *src)
{
    src->in = (ZSTD_inBuffer){src->in_buf, 0, 0};
    src->frame = 0;
    src->offset = 0;
    ZSTD_DCtx_reset(src->ctx, ZSTD_reset_session_only);
    return lseek(src->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static ssize_t zst_read(struct sf_source *src, char *buf, size_t size)
{
    ZSTD_outBuffer out = {buf, size, 0};
    while (out.pos == 0) {
        bool end = false;
        if (src->in.pos == src->in.size) {
            ssize_t n = read(src->fd, src->in_buf, src->in_cap);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return -errno;
            src->in.size = (size_t)n;
            src->in.pos = 0;
            end = n == 0;
        }
        if (end && src->frame == 0)
            return 0;
        size_t before = src->in.pos, r = ZSTD_decompressStream(src->ctx, &out, &src->in);
        if (ZSTD_isError(r))
            return ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
        src->frame = r;
        if (end && out.pos == 0 && src->in.pos == before)
            return -EBADMSG; /* the file ends inside a frame */
    }
    return (ssize_t)out.pos;
}
#else
static int zst_init(struct sf_source *src)
{
    (void)src;
    return -ENOTSUP;
}
static void zst_fini(struct sf_source *src)
{
    (void)src;
}
static int zst_rewind(struct sf_source *src)
{
    (void)src;
    return -ENOTSUP;
}
static ssize_t zst_read(struct sf_source *src, char *buf, size_t size)
{
    (void)src;
    (void)buf;
    (void)size;
    return -ENOTSUP;
}
#endif

int sf_source_open(const char *dir, const struct sf_entry *entry, struct sf_source **ret)
{
    struct stat st;
    char *path = sf_join(dir, entry->name, "");
    struct sf_source *src = calloc(1, sizeof *src);
    int r = path == NULL || src == NULL ? -ENOMEM : 0;
    if (r == 0) {
        src->zst = entry->zst;
        src->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        r = src->fd < 0 ? -errno : 0;
        if (r == 0 && (fstat(src->fd, &st) < 0 || !S_ISREG(st.st_mode)))
            r = -EINVAL;
        if (r == 0 && src->zst)
            r = zst_init(src);
        if (r == 0)
            (void)posix_fadvise(src->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        else if (src->fd >= 0) {
            zst_fini(src);
            close(src->fd);
        }
    }
    free(path);
    if (r < 0)
        free(src);
    else
        *ret = src;
    return r;
}

void sf_source_close(struct sf_source *src)
{
    if (src == NULL)
        return;
    zst_fini(src);
    close(src->fd);
    free(src);
}

int sf_source_fd(const struct sf_source *src)
{
    return src->fd;
}

ssize_t sf_source_read(struct sf_source *src, char *buf, size_t size)
{
    ssize_t n;
    if (src->zst)
        n = zst_read(src, buf, size);
    else {
        do
            n = pread(src->fd, buf, size, (off_t)src->offset);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            n = -errno;
    }
    if (n > 0)
        src->offset += (uint64_t)n;
    return n;
}

int sf_source_seek(struct sf_source *src, uint64_t offset)
{
    struct stat st;
    if (!src->zst) {
        if (fstat(src->fd, &st) < 0)
            return -errno;
        src->offset = offset;
        return offset > (uint64_t)st.st_size ? -ENODATA : 0;
    }
    int r = offset < src->offset ? zst_rewind(src) : 0;
    char *skip = malloc(ID_SPAN * 16);
    if (skip == NULL)
        return -ENOMEM;
    while (r == 0 && src->offset < offset) {
        uint64_t want = offset - src->offset;
        ssize_t n = sf_source_read(src, skip, want < ID_SPAN * 16 ? (size_t)want : ID_SPAN * 16);
        if (n <= 0)
            r = n < 0 ? (int)n : -ENODATA;
    }
    free(skip);
    return r;
}

uint64_t sf_source_id(struct sf_source *src)
{
    char first[ID_SPAN];
    size_t have = 0;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a: a name, not a proof */
    const char *nl = NULL;
    if (sf_source_seek(src, 0) < 0)
        return 0;
    while (have < sizeof first && nl == NULL) {
        ssize_t n = sf_source_read(src, first + have, sizeof first - have);
        if (n <= 0)
            break;
        nl = memchr(first + have, '\n', (size_t)n);
        have += (size_t)n;
    }
    if (sf_source_seek(src, 0) < 0 || (nl == NULL && have < sizeof first))
        return 0;
    size_t n = nl != NULL ? (size_t)(nl - first) : have;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)first[i]) * 0x100000001b3u;
    return hash == 0 ? 1 : hash;
}

int sf_source_last(struct sf_source *src, struct sf_seal *ret)
{
    size_t cap = 1u << 16, have = 0;
    char *buf = malloc(cap);
    bool found = false;
    int r = buf == NULL ? -ENOMEM : 0;
    while (r == 0) {
        if (have == cap) {
            char *more = cap < SF_LINE_MAX ? realloc(buf, cap * 2) : NULL;
            if (more == NULL) {
                r = -ENOMEM;
                break;
            }
            buf = more;
            cap *= 2;
        }
        ssize_t n = sf_source_read(src, buf + have, cap - have);
        if (n <= 0) {
            r = (int)n;
            break;
        }
        have += (size_t)n;
        char *nl = memrchr(buf, '\n', have);
        if (nl == NULL)
            continue;
        char *prev = nl > buf ? memrchr(buf, '\n', (size_t)(nl - buf)) : NULL;
        char *from = prev != NULL ? prev + 1 : buf;
        struct sf_seal seal = {0, "", 0};
        if (sf_line_valid(from, (size_t)(nl - from), &seal)) {
            *ret = seal;
            found = true;
        }
        /* Keep the last line's start only when the next read could end inside of it. */
        have -= (size_t)(nl + 1 - buf);
        memmove(buf, nl + 1, have);
    }
    free(buf);
    return r < 0 ? r : found ? 0 : -ENODATA;
}
