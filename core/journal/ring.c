/* ring.c - see ring.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/ring.h"

#include "base/base.h"
#include "base/fs.h"
#include "base/hash.h"
#include "seal/record.h"

#include <fcntl.h>

#define RING_MAGIC "AWRING1"
#define STATIC_PART 128u
#define RING_NEW "ring.new"
#define SIZE_MAX_SANE (1ull << 40)

_Static_assert(offsetof(struct ring_header, head) == STATIC_PART, "ring_header is the disk format");
_Static_assert(offsetof(struct ring_header, tail) == 192, "ring_header is the disk format");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2,
               "counters in shared memory are plain words");

void ring_boot_id(uint8_t ret[16])
{
    AW_AUTOFREE char *text = NULL;
    size_t len = 0, n = 0;
    char digits[32];
    memset(ret, 0, 16);
    if (fs_read_file("/proc/sys/kernel/random/boot_id", 256, &text, &len) < 0)
        return;
    for (size_t i = 0; i < len && n < sizeof digits; i++)
        if (text[i] != '-' && text[i] != '\n')
            digits[n++] = text[i];
    if (n != sizeof digits || !hash_unhex(digits, n, ret))
        memset(ret, 0, 16);
}

static uint32_t static_crc(const void *header)
{
    uint8_t copy[STATIC_PART];
    memcpy(copy, header, sizeof copy);
    memset(copy + offsetof(struct ring_header, crc), 0, sizeof(uint32_t));
    return hash_crc32c(0, copy, sizeof copy);
}

static int inspect_fd(int fd, struct ring_facts *ret)
{
    struct stat st;
    struct ring_header h;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADMSG;
    ssize_t n = fs_pread_full(fd, &h, sizeof h, 0);
    if (n < 0)
        return (int)n;
    if ((size_t)n < sizeof h || memcmp(h.magic, RING_MAGIC, sizeof h.magic) != 0 || h.version != 1 ||
        static_crc(&h) != h.crc)
        return -EBADMSG;
    if (h.size < 4096 || h.size > SIZE_MAX_SANE || (h.size & (h.size - 1)) != 0 ||
        (uint64_t)st.st_size < RING_DATA + h.size)
        return -EBADMSG;
    uint64_t seq = atomic_load(&h.head_seq), inverted = ~atomic_load(&h.head_seq_inverted);
    *ret = (struct ring_facts){.size = h.size,
                               .head = atomic_load(&h.head),
                               .tail = atomic_load(&h.tail),
                               /* a writer killed between the two stores leaves them one apart */
                               .head_seq = (seq == inverted || seq == inverted + 1) && seq <= RECORD_SEQ_MAX ? seq : 0,
                               .identity = h.identity};
    memcpy(ret->boot_id, h.boot_id, sizeof ret->boot_id);
    return 0;
}

int ring_inspect(int dirfd, struct ring_facts *ret)
{
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_openat(dirfd, RING_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
    if (rc == -ELOOP)
        return -EBADMSG;
    return rc < 0 ? rc : inspect_fd(fd, ret);
}

int ring_read(int dirfd, const struct ring_facts *facts, uint8_t **ret)
{
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_openat(dirfd, RING_NAME, O_RDONLY | O_NOFOLLOW, 0, &fd);
    if (rc < 0)
        return rc;
    size_t bytes;
    if (!base_mul_size(facts->size, 2, &bytes))
        return -EFBIG;
    AW_AUTOFREE uint8_t *all = malloc(bytes);
    if (!all)
        return -ENOMEM;
    ssize_t n = fs_pread_full(fd, all, facts->size, RING_DATA);
    if (n < 0)
        return (int)n;
    if ((uint64_t)n != facts->size)
        return -EBADMSG;
    memcpy(all + facts->size, all, facts->size);
    *ret = base_take(all);
    return 0;
}

/* Writes one byte of every page, through both mappings: later stores find the pages there. */
static void touch(struct ring *ring)
{
    for (uint64_t at = 0; at < 2 * ring->size; at += 4096) {
        volatile uint8_t *p = ring->data + at;
        uint8_t same = *p;
        *p = same;
    }
}

static int map_fd(int fd, uint64_t size, struct ring *ret)
{
    size_t twice;
    void *header, *data;
    if (!base_mul_size(size, 2, &twice))
        return -EFBIG;
    int rc = fs_map_shared(fd, NULL, sizeof(struct ring_header), 0, &header);
    if (rc < 0)
        return rc;
    rc = fs_map_reserve(twice, &data);
    if (rc < 0)
        goto unmap_header;
    void *half = NULL;
    rc = fs_map_shared(fd, data, size, RING_DATA, &half);
    if (rc == 0)
        rc = fs_map_shared(fd, (char *)data + size, size, RING_DATA, &half);
    if (rc < 0)
        goto unmap_all;
    *ret = (struct ring){header, data, size};
    touch(ret);
    return 0;
unmap_all:
    fs_unmap(data, twice);
unmap_header:
    fs_unmap(header, sizeof(struct ring_header));
    return rc;
}

/* Blocks for every byte, so that no store through the mapping can meet a full disk. */
static int allocate(int fd, uint64_t size)
{
    int rc = fs_allocate(fd, 0, RING_DATA + size);
    if (rc != -EOPNOTSUPP)
        return rc;
    static const uint8_t zeros[RING_DATA];
    for (uint64_t at = 0; at < RING_DATA + size; at += sizeof zeros) {
        uint64_t rest = RING_DATA + size - at;
        rc = fs_pwrite_all(fd, zeros, rest < sizeof zeros ? rest : sizeof zeros, at, NULL);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int ring_create(int dirfd, uint64_t size, const uint8_t boot_id[16], const struct journal_identity *identity,
                uint64_t head_seq, struct ring *ret)
{
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_unlinkat(dirfd, RING_NEW);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = fs_openat(dirfd, RING_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd);
    if (rc < 0)
        return rc;
    struct ring_header h = {.magic = RING_MAGIC, .version = 1, .size = size, .identity = *identity};
    memcpy(h.boot_id, boot_id, sizeof h.boot_id);
    h.crc = static_crc(&h);
    atomic_init(&h.head_seq, head_seq);
    atomic_init(&h.head_seq_inverted, ~head_seq);
    rc = allocate(fd, size);
    if (rc == 0)
        rc = fs_pwrite_all(fd, &h, sizeof h, 0, NULL);
    if (rc == 0)
        rc = map_fd(fd, size, ret);
    if (rc < 0)
        goto remove;
    rc = fs_renameat(dirfd, RING_NEW, RING_NAME);
    if (rc == 0)
        return 0;
    ring_unmap(ret);
remove:
    (void)fs_unlinkat(dirfd, RING_NEW);
    return rc;
}

int ring_map(int dirfd, const struct ring_facts *facts, struct ring *ret)
{
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_openat(dirfd, RING_NAME, O_RDWR | O_NOFOLLOW, 0, &fd);
    if (rc < 0)
        return rc;
    /* A sparse copy of a ring would turn a full disk into SIGBUS. */
    rc = fs_allocate(fd, 0, RING_DATA + facts->size);
    return rc < 0 && rc != -EOPNOTSUPP ? rc : map_fd(fd, facts->size, ret);
}

void ring_unmap(struct ring *ring)
{
    if (ring->header) {
        fs_unmap(ring->data, 2 * ring->size);
        fs_unmap(ring->header, sizeof(struct ring_header));
    }
    *ring = (struct ring){NULL, NULL, 0};
}
