/* test_ring.c - the ring file. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "journal/ring.h"

#include <fcntl.h>

static const struct journal_identity who = {.id = {9}, .key = {8}};
static const uint8_t boot[16] = {7};

static void test_wraps(void)
{
    int dirfd = open(harness_tmpdir(), O_RDONLY | O_DIRECTORY);
    struct ring r;
    struct ring_facts f;
    CU_ASSERT_EQUAL(ring_inspect(dirfd, &f), -ENOENT);
    CU_ASSERT_EQUAL_FATAL(ring_create(dirfd, 65536, boot, &who, 41, &r), 0);
    memcpy(ring_at(&r, 65536 * 3 - 4), "abcdefgh", 8); /* over the end: once through the second mapping */
    CU_ASSERT(memcmp(ring_at(&r, 65536 * 5), "efgh", 4) == 0);
    atomic_store(&r.header->head, 65536 * 3 + 8);
    atomic_store(&r.header->tail, 65536 * 2);
    ring_unmap(&r);
    CU_ASSERT_EQUAL_FATAL(ring_inspect(dirfd, &f), 0);
    CU_ASSERT(f.size == 65536 && f.head == 65536 * 3 + 8 && f.tail == 65536 * 2 && f.head_seq == 41);
    CU_ASSERT(memcmp(f.boot_id, boot, 16) == 0 && memcmp(&f.identity, &who, sizeof who) == 0);
    uint8_t *data = NULL;
    CU_ASSERT_EQUAL_FATAL(ring_read(dirfd, &f, &data), 0);
    CU_ASSERT(memcmp(data + 65536 - 4, "abcdefgh", 8) == 0);
    free(data);
    CU_ASSERT_EQUAL_FATAL(ring_map(dirfd, &f, &r), 0);
    CU_ASSERT(memcmp(ring_at(&r, 65536 - 4), "abcdefgh", 8) == 0);
    ring_unmap(&r);
    close(dirfd);
}

static void test_damaged(void)
{
    int dirfd = open(harness_tmpdir(), O_RDONLY | O_DIRECTORY);
    struct ring r;
    struct ring_facts f;
    CU_ASSERT_EQUAL_FATAL(ring_create(dirfd, 65536, boot, &who, 0, &r), 0);
    ring_unmap(&r);
    int fd = openat(dirfd, RING_NAME, O_RDWR);
    for (off_t at = 0; at < 128; at++) {
        uint8_t c, bad;
        CU_ASSERT_EQUAL(pread(fd, &c, 1, at), 1);
        bad = c ^ 1;
        CU_ASSERT_EQUAL(pwrite(fd, &bad, 1, at), 1);
        CU_ASSERT_EQUAL(ring_inspect(dirfd, &f), -EBADMSG);
        CU_ASSERT_EQUAL(pwrite(fd, &c, 1, at), 1);
    }
    CU_ASSERT_EQUAL(ring_inspect(dirfd, &f), 0);
    /* a damaged newest seq is not believed */
    CU_ASSERT_EQUAL(pwrite(fd, "\xff\xff", 2, 140), 2);
    CU_ASSERT_EQUAL(ring_inspect(dirfd, &f), 0);
    CU_ASSERT_EQUAL(f.head_seq, 0);
    CU_ASSERT_EQUAL(ftruncate(fd, 70000), 0); /* shorter than it says: would be SIGBUS */
    CU_ASSERT_EQUAL(ring_inspect(dirfd, &f), -EBADMSG);
    close(fd);
    close(dirfd);
}

static void test_boot_id(void)
{
    uint8_t a[16], b[16];
    static const uint8_t none[16];
    ring_boot_id(a);
    ring_boot_id(b);
    CU_ASSERT(memcmp(a, b, 16) == 0);
    if (access("/proc/sys/kernel/random/boot_id", R_OK) == 0)
        CU_ASSERT(memcmp(a, none, 16) != 0);
}

HARNESS_MAIN("ring", {"records wrap without a seam", test_wraps}, {"a damaged header is seen", test_damaged},
             {"the boot id", test_boot_id})
