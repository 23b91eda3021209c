/* test_record.c - the sealed record. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "journal_support.h"
#include "seal/seal.h"

#include <stdio.h>

/* A record as the journal makes it, in an aligned buffer. */
static size_t build(uint8_t *buf, const struct prepared *p, uint16_t flags)
{
    size_t fields = p->field_count * sizeof(struct field_ref);
    struct record_header h = {.magic = RECORD_MAGIC,
                              .kind = RECORD_KIND_EVENT,
                              .flags = flags,
                              .seq = 7,
                              .json_len = p->json_len,
                              .integrity_at = p->integrity_at,
                              .sealed_ns = 1,
                              .occurred_ns = p->occurred_ns,
                              .field_count = (uint16_t)p->field_count};
    h.total_len = (uint32_t)base_align8(RECORD_HEADER + fields + p->json_len);
    for (size_t i = 0; i < 32; i++) {
        h.hash[i] = (uint8_t)(i * 7);
        h.prev_hash[i] = flags & RECORD_FIRST ? 0 : (uint8_t)(0xf0 + i);
    }
    memset(buf, 0, h.total_len);
    memcpy(buf + RECORD_HEADER, p->fields, fields);
    memcpy(buf + RECORD_HEADER + fields, p->json, p->json_len);
    h.crc = record_crc_header(hash_crc32c(0, buf + RECORD_HEADER, h.total_len - RECORD_HEADER), &h);
    memcpy(buf, &h, sizeof h);
    return h.total_len;
}

static _Alignas(16) uint8_t buf[8192];

static void test_round_trip(void)
{
    const struct prepared *p = support_event("acme", 42, 100);
    size_t len = build(buf, p, 0);
    struct record_view v;
    CU_ASSERT_EQUAL_FATAL(record_check(buf, sizeof buf, &v), 0);
    CU_ASSERT_EQUAL(v.head->seq, 7);
    CU_ASSERT_EQUAL(v.head->json_len, p->json_len);
    CU_ASSERT(memcmp(v.json, p->json, p->json_len) == 0);
    CU_ASSERT_EQUAL(support_number(&v), 42);
    struct field_ref f;
    CU_ASSERT(record_field(&v, AW_FIELD_TENANT_ID, &f));
    CU_ASSERT(field_len(f) == 4 && memcmp(v.json + field_offset(f), "acme", 4) == 0);
    CU_ASSERT_FALSE(record_field(&v, AW_FIELD_DIFF, &f));
    for (size_t avail = 0; avail < len; avail++)
        CU_ASSERT_EQUAL(record_check(buf, avail, &v), -ENODATA);
    CU_ASSERT_EQUAL(record_check(buf, len, &v), 0);
}

static void test_every_flip_is_seen(void)
{
    size_t len = build(buf, support_event("acme", 42, 50), 0);
    struct record_view v;
    unsigned seen = 0;
    for (size_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf[i] ^= (uint8_t)(1u << bit);
            seen += record_check(buf, len, &v) != 0;
            buf[i] ^= (uint8_t)(1u << bit);
        }
    }
    CU_ASSERT_EQUAL(seen, len * 8);
    CU_ASSERT_EQUAL(record_check(buf, len, &v), 0);
}

/* With a CRC that holds, and offsets that point outside: never believed. */
static void test_hostile_fields(void)
{
    struct prepared p = *support_event("acme", 1, 10);
    struct record_view v;
    p.fields[2] = (struct field_ref){p.json_len << 8 | AW_FIELD_ACTOR_ID, 1u << 4};
    CU_ASSERT_EQUAL(record_check(buf, build(buf, &p, 0), &v), -EBADMSG);
    p = *support_event("acme", 1, 10);
    p.integrity_at = p.json_len + 1;
    CU_ASSERT_EQUAL(record_check(buf, build(buf, &p, 0), &v), -EBADMSG);
}

static void test_render(void)
{
    char out[8192], integrity[RECORD_INTEGRITY_MAX];
    struct record_view v;
    CU_ASSERT_EQUAL_FATAL(record_check(buf, build(buf, support_event("acme", 42, 3), 0), &v), 0);
    size_t n = record_render_json(&v, out);
    CU_ASSERT(n <= record_json_size(&v));
    out[n] = '\0';
    CU_ASSERT_STRING_EQUAL(
        out, "{\"action\":\"user.login\",\"actor\":{\"id\":\"u-42\",\"type\":\"user\"},\"context\":{\"occurredAt\":"
             "\"2026-01-01T00:00:00.000Z\",\"tenantId\":\"acme\"},\"eventId\":\"e-42\",\"integrity\":{\"alg\":\"SHA-"
             "256\",\"hash\":"
             "\"00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9\",\"prevHash\":"
             "\"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f\",\"seq\":7},\"metadata\":{\"pad\":"
             "\"xxx\"},"
             "\"outcome\":\"SUCCESS\",\"schemaVersion\":1}");
    CU_ASSERT_EQUAL_FATAL(record_check(buf, build(buf, support_event(NULL, 1, 0), RECORD_FIRST), &v), 0);
    n = record_render_integrity(&v, integrity);
    integrity[n] = '\0';
    CU_ASSERT_STRING_EQUAL(integrity,
                           "{\"alg\":\"SHA-256\",\"hash\":"
                           "\"00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9\",\"seq\":7}");
    CU_ASSERT_EQUAL_FATAL(record_check(buf, build(buf, support_event(NULL, 1, 0), RECORD_UNCHAINED), &v), 0);
    n = record_render_integrity(&v, integrity);
    integrity[n] = '\0';
    CU_ASSERT_STRING_EQUAL(integrity, "{\"alg\":\"none\",\"seq\":7}");
}

HARNESS_MAIN("record", {"round trip", test_round_trip}, {"every flipped bit is seen", test_every_flip_is_seen},
             {"offsets outside are not believed", test_hostile_fields},
             {"the event with its integrity member", test_render})
