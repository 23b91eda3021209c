/* test_segment.c - segment headers, names, and scanning damaged files; sequence sets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "journal/segment.h"
#include "journal/seqset.h"
#include "journal_support.h"

#include <fcntl.h>
#include <stdio.h>

static const struct journal_identity who = {.id = {1, 2, 3}, .key = {4, 5, 6}};

static int make(const char *name, uint64_t first, unsigned records, uint64_t *ends)
{
    int dirfd = open(harness_tmpdir(), O_RDONLY | O_DIRECTORY), fd = -1;
    (void)name;
    CU_ASSERT_EQUAL(segment_create(dirfd, first, 0, &who, 65536, &fd), 0);
    uint64_t at = SEGMENT_DATA;
    _Alignas(16) uint8_t buf[1024];
    for (unsigned i = 0; i < records; i++) {
        char payload[300];
        memset(payload, 'a' + (int)(i % 26), sizeof payload);
        size_t n = segment_build_record(buf, RECORD_KIND_NOTE, first + i, payload, 20 + i * 7 % 250);
        CU_ASSERT_EQUAL(pwrite(fd, buf, n, (off_t)at), (ssize_t)n);
        at += n;
        ends[i] = at;
    }
    close(dirfd);
    return fd;
}

static void test_header(void)
{
    int fd = make("header", 77, 0, NULL);
    struct journal_identity id;
    uint64_t first;
    unsigned copies;
    CU_ASSERT_EQUAL(segment_read_header(fd, &id, &first, &copies), 0);
    CU_ASSERT(copies == 2 && first == 77 && memcmp(&id, &who, sizeof id) == 0);
    for (off_t at = 0; at < 128; at++) { /* any byte of either copy */
        for (off_t base = 0; base <= 2048; base += 2048) {
            uint8_t c, bad;
            CU_ASSERT_EQUAL(pread(fd, &c, 1, base + at), 1);
            bad = c ^ 0x10;
            CU_ASSERT_EQUAL(pwrite(fd, &bad, 1, base + at), 1);
            CU_ASSERT_EQUAL(segment_read_header(fd, &id, &first, &copies), 0);
            CU_ASSERT(copies == 1 && first == 77);
            CU_ASSERT_EQUAL(pwrite(fd, &c, 1, base + at), 1);
        }
    }
    CU_ASSERT_EQUAL(pwrite(fd, "x", 1, 1), 1);
    CU_ASSERT_EQUAL(pwrite(fd, "x", 1, 2049), 1);
    CU_ASSERT_EQUAL(segment_read_header(fd, &id, &first, &copies), -EBADMSG);
    close(fd);
}

static void test_names(void)
{
    char name[SEGMENT_NAME_MAX];
    uint64_t first;
    uint32_t number;
    segment_name(0xabc, 0, name);
    CU_ASSERT_STRING_EQUAL(name, "seg-0000000000000abc.awj");
    CU_ASSERT(segment_parse_name(name, &first, &number) && first == 0xabc && number == 0);
    segment_name(1ull << 53, 17, name);
    CU_ASSERT_STRING_EQUAL(name, "seg-0020000000000000-11.awj");
    CU_ASSERT(segment_parse_name(name, &first, &number) && first == 1ull << 53 && number == 17);
    static const char *const wrong[] = {"seg-abc.awj",
                                        "seg-0000000000000abc.awj.tmp",
                                        "seg-0000000000000ABC.awj",
                                        "ring",
                                        "seg-0000000000000abc-00.awj",
                                        "seg-0000000000000000.awj",
                                        "seg-ffffffffffffffff.awj",
                                        ".seg-0000000000000abc.awj",
                                        ""};
    for (size_t i = 0; i < AW_ARRAY_LEN(wrong); i++)
        CU_ASSERT_FALSE(segment_parse_name(wrong[i], &first, &number));
}

static unsigned scan(int fd, uint64_t end, uint64_t *damage, unsigned *regions)
{
    struct segment_scan s = {.fd = -1};
    struct record_view v;
    unsigned n = 0;
    *damage = *regions = 0;
    scan_init(&s, fd, SEGMENT_DATA, end, 0);
    for (int rc; (rc = scan_next(&s, &v)) != -ENODATA;) {
        n += rc == 0;
        if (rc == -EBADMSG) {
            *damage += s.damage_to - s.damage_from;
            ++*regions;
        } else if (rc != 0) {
            CU_FAIL("scan");
            break;
        }
    }
    scan_free(&s);
    return n;
}

static void test_damage(void)
{
    enum { N = 300 };
    uint64_t ends[N], damage;
    unsigned regions;
    int fd = make("damage", 1000, N, ends);
    CU_ASSERT_EQUAL(scan(fd, 65536 * 4, &damage, &regions), N); /* zeros behind the end are no damage */
    CU_ASSERT_EQUAL(regions, 0);
    uint64_t state = harness_seed();
    for (int i = 0; i < 400; i++) {
        unsigned k = (unsigned)(harness_random(&state) % N);
        uint64_t begin = k ? ends[k - 1] : SEGMENT_DATA, at = begin + harness_random(&state) % (ends[k] - begin);
        uint8_t c, bad;
        CU_ASSERT_EQUAL(pread(fd, &c, 1, (off_t)at), 1);
        bad = c ^ (uint8_t)(1 + harness_random(&state) % 255);
        CU_ASSERT_EQUAL(pwrite(fd, &bad, 1, (off_t)at), 1);
        CU_ASSERT_EQUAL(scan(fd, ends[N - 1], &damage, &regions), N - 1);
        CU_ASSERT_EQUAL(regions, 1);
        CU_ASSERT(damage <= ends[k] - begin);
        CU_ASSERT_EQUAL(pwrite(fd, &c, 1, (off_t)at), 1);
    }
    close(fd);
}

/* A record that claims to be large, false beginnings everywhere: bounded effort, no read outside. */
static void test_hostile(void)
{
    uint64_t damage;
    unsigned regions;
    char path[500];
    snprintf(path, sizeof path, "%s/hostile", harness_tmpdir());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    const size_t len = 1u << 20;
    uint8_t *bytes = calloc(len, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    struct record_header h = {
        .magic = RECORD_MAGIC, .kind = RECORD_KIND_NOTE, .json_len = 400000, .total_len = 400136, .seq = 1};
    for (size_t at = 0; at + sizeof h <= len; at += sizeof h)
        memcpy(bytes + at, &h, sizeof h);
    CU_ASSERT_EQUAL(pwrite(fd, bytes, len, 0), (ssize_t)len);
    CU_ASSERT_EQUAL(scan(fd, len, &damage, &regions), 0);
    CU_ASSERT_EQUAL(regions, 1);
    uint64_t state = harness_seed();
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)harness_random(&state);
    bytes[len - 4] |= 1; /* zeros at the end are room that was never written */
    CU_ASSERT_EQUAL(pwrite(fd, bytes, len, 0), (ssize_t)len);
    CU_ASSERT_EQUAL(scan(fd, len - 3, &damage, &regions), 0);
    CU_ASSERT_EQUAL(damage, len - 3 - SEGMENT_DATA);
    free(bytes);
    close(fd);
}

static void test_seqset(void)
{
    struct seq_set s = {NULL, 0, 0};
    char text[80];
    CU_ASSERT_STRING_EQUAL(seqset_text(&s, text, sizeof text), "");
    CU_ASSERT_EQUAL(seqset_add(&s, 5, 9), 0);
    CU_ASSERT_EQUAL(seqset_add(&s, 20, 20), 0);
    CU_ASSERT_EQUAL(seqset_add(&s, 10, 12), 0);
    CU_ASSERT_STRING_EQUAL(seqset_text(&s, text, sizeof text), "5-12, 20");
    CU_ASSERT_EQUAL(seqset_remove(&s, 7, 8), 0);
    CU_ASSERT_STRING_EQUAL(seqset_text(&s, text, sizeof text), "5-6, 9-12, 20");
    CU_ASSERT_EQUAL(seqset_total(&s), 7);
    CU_ASSERT_PTR_NULL(seqset_find(&s, 7));
    CU_ASSERT_EQUAL(seqset_find(&s, 12)->first, 9);
    CU_ASSERT_EQUAL(seqset_add(&s, 1, 30), 0);
    CU_ASSERT_STRING_EQUAL(seqset_text(&s, text, sizeof text), "1-30");
    CU_ASSERT_EQUAL(seqset_remove(&s, 0, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(s.count, 0);
    /* against a bitmap */
    bool in[64] = {false};
    uint64_t state = harness_seed();
    unsigned wrong = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t a = harness_random(&state) % 64, b = a + harness_random(&state) % (64 - a);
        bool add = harness_random(&state) & 1;
        CU_ASSERT_EQUAL(add ? seqset_add(&s, a, b) : seqset_remove(&s, a, b), 0);
        for (uint64_t k = a; k <= b; k++)
            in[k] = add;
        uint64_t total = 0;
        for (uint64_t k = 0; k < 64; k++) {
            total += in[k];
            wrong += (seqset_find(&s, k) != NULL) != in[k];
        }
        wrong += seqset_total(&s) != total;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    seqset_free(&s);
}

HARNESS_MAIN("segment", {"the header is there twice", test_header}, {"names", test_names},
             {"damage costs one record", test_damage}, {"hostile bytes", test_hostile},
             {"sets of sequence numbers", test_seqset})
