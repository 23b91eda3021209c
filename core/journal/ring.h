/* ring.h - the staging ring: a mapped file into which events are sealed, and from which the writer drains them.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Disk format of the file "ring", version 1 (little endian):
 *
 *   offset  size
 *        0     8  magic "AWRING1\0"
 *        8     4  version: 1
 *       12     4  CRC-32C of bytes 0..127 with this word zero
 *       16     8  size of the data area, a power of two
 *       24    16  boot id: the 16 bytes of /proc/sys/kernel/random/boot_id, zero when unknown
 *       40    16  journal id
 *       56    16  the journal's secret key
 *       72    56  zero
 *      128     8  head: bytes ever put in, monotone; the newest record ends here
 *      136     8  newest seq ever assigned
 *      144     8  the same, all bits inverted
 *      192     8  tail: bytes ever drained; the oldest record that is not in a segment begins here
 *    65536  size  records (seal/record.h), each at its position modulo size, wrapping around at the end
 *
 * Bytes 0..127 are written once, before the file gets its name. A record is complete in memory before head moves over
 * it, and in a segment before tail does. The pages belong to the kernel: what is in the ring survives the process, not
 * a power loss. The data area is mapped twice, back to back, so that no record is ever seen in two pieces.
 */
#ifndef AW_RING_H
#define AW_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RING_DATA 65536u /* a multiple of every page size in use */
#define RING_NAME "ring"

struct journal_identity {
    uint8_t id[16], key[16];
};

struct ring_header {
    char magic[8];
    uint32_t version, crc;
    uint64_t size;
    uint8_t boot_id[16];
    struct journal_identity identity;
    uint8_t zero[56];
    _Atomic uint64_t head; /* offset 128 */
    _Atomic uint64_t head_seq, head_seq_inverted;
    uint8_t gap[40];
    _Atomic uint64_t tail; /* offset 192: a cache line of its own */
};

struct ring {
    struct ring_header *header;
    uint8_t *data; /* 2 * size bytes of address space over size bytes of file */
    uint64_t size;
};

static inline uint8_t *ring_at(const struct ring *ring, uint64_t position)
{
    return ring->data + (position & (ring->size - 1));
}

void ring_boot_id(uint8_t ret[16]); /* zero when it cannot be read */

/* What is to be known about an existing ring file before it is mapped. Read with read(2), so that a bad disk is an
 * error. */
struct ring_facts {
    uint64_t size, head, tail, head_seq; /* head_seq 0: unknown */
    uint8_t boot_id[16];
    struct journal_identity identity;
};
/* 0; -ENOENT; -EBADMSG: no ring in it (damaged header or short file); other -errno. */
int ring_inspect(int dirfd, struct ring_facts *ret);
/* All of the data area, twice back to back, from the file. *ret is malloc'd, 2 * size bytes, 8-aligned. */
int ring_read(int dirfd, const struct ring_facts *facts, uint8_t **ret);

/* A new ring replaces the file of this name. Its blocks are allocated, so that no later store can fail. 0 or -errno. */
int ring_create(int dirfd, uint64_t size, const uint8_t boot_id[16], const struct journal_identity *identity,
                uint64_t head_seq, struct ring *ret);
int ring_map(int dirfd, const struct ring_facts *facts, struct ring *ret);
void ring_unmap(struct ring *ring);

#endif
