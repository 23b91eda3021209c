/* test_base.c - clock, ids, hash, fs, diag. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "harness.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/ids.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

static void crc_known_values(void)
{
    /* RFC 3720 appendix B.4 */
    uint8_t buf[32];
    memset(buf, 0, sizeof buf);
    CU_ASSERT_EQUAL(hash_crc32c(0, buf, 32), 0x8a9136aau);
    memset(buf, 0xff, sizeof buf);
    CU_ASSERT_EQUAL(hash_crc32c(0, buf, 32), 0x62a8ab43u);
    for (size_t i = 0; i < 32; i++)
        buf[i] = (uint8_t)i;
    CU_ASSERT_EQUAL(hash_crc32c(0, buf, 32), 0x46dd794eu);
    CU_ASSERT_EQUAL(hash_crc32c(0, "123456789", 9), 0xe3069283u);
    /* continued at any cut */
    for (size_t cut = 0; cut <= 32; cut++)
        CU_ASSERT_EQUAL(hash_crc32c(hash_crc32c(0, buf, cut), buf + cut, 32 - cut), 0x46dd794eu);
}

/* Bit by bit, straight from the polynomial. */
static uint32_t crc_by_definition(uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

static void crc_of_every_length(void)
{
    static uint8_t buf[8000];
    uint64_t state = harness_seed();
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)harness_random(&state);
    for (size_t i = 0; i <= 1600; i++) {
        size_t n = i <= 1300 ? i : harness_random(&state) % 7900; /* then of every number of pieces */
        size_t at = harness_random(&state) % 8;
        uint32_t start = (uint32_t)harness_random(&state);
        if (hash_crc32c(start, buf + at, n) != crc_by_definition(start, buf + at, n))
            CU_FAIL("crc");
    }
}

static void sip_known_values(void)
{
    /* vectors of the reference implementation: key 00..0f, input 00..(n-1), 128-bit output */
    uint8_t key[16], in[16];
    for (size_t i = 0; i < 16; i++)
        key[i] = in[i] = (uint8_t)i;
    static const uint8_t empty[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                      0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
    static const uint8_t one[16] = {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44,
                                    0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45};
    uint8_t out[16];
    struct hash128 h = hash_sip128(key, in, 0);
    base_put_le64(out, h.lo);
    base_put_le64(out + 8, h.hi);
    CU_ASSERT(memcmp(out, empty, 16) == 0);
    h = hash_sip128(key, in, 1);
    base_put_le64(out, h.lo);
    base_put_le64(out + 8, h.hi);
    CU_ASSERT(memcmp(out, one, 16) == 0);
}

static void sha_vectors(void)
{
    struct hash_sha256 *h;
    uint8_t out[32], back[32];
    char hex[65] = "";
    CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&h), 0);
    for (int i = 0; i < 3; i++) { /* the context is used again */
        CU_ASSERT(hash_sha256_begin(h));
        CU_ASSERT(hash_sha256_update(h, "a", 1) && hash_sha256_update(h, "bc", 2));
        CU_ASSERT(hash_sha256_finish(h, out));
        hash_hex(out, 32, hex);
        CU_ASSERT_STRING_EQUAL(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    CU_ASSERT(hash_unhex(hex, 64, back) && memcmp(out, back, 32) == 0);
    CU_ASSERT_FALSE(hash_unhex("0g", 2, back));
    CU_ASSERT_FALSE(hash_unhex("012", 3, back));
    hash_sha256_destroy(h);
}

static void sha_and_hex(void)
{
    sha_vectors();
    hash_sha256_use_library(true);
    sha_vectors();
    hash_sha256_use_library(false);
}

/* Two messages at once give what OpenSSL gives one after the other: whatever is in hand, whatever the lengths. */
static void sha_of_two(void)
{
    static uint8_t bytes[4096];
    struct hash_sha256 *h[3];
    uint64_t state = harness_seed();
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)harness_random(&state);
    for (size_t i = 0; i < 3; i++) {
        hash_sha256_use_library(i == 2);
        CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&h[i]), 0);
    }
    hash_sha256_use_library(false);
    for (int round = 0; round < 5000; round++) {
        size_t before[2], len[2], after[2];
        uint8_t got[32], expected[32];
        for (size_t i = 0; i < 2; i++) {
            before[i] = harness_random(&state) % 130;
            len[i] = harness_random(&state) % (round % 2 ? 200 : 2000);
            after[i] = harness_random(&state) % 100;
            CU_ASSERT(hash_sha256_begin(h[i]) && hash_sha256_update(h[i], bytes + 7 * i, before[i]));
        }
        CU_ASSERT(hash_sha256_update_two(h[0], bytes + 1000, len[0], h[1], bytes + 1500, len[1]));
        for (size_t i = 0; i < 2; i++) {
            CU_ASSERT(hash_sha256_update(h[i], bytes + 11 * i, after[i]) && hash_sha256_finish(h[i], got));
            CU_ASSERT(hash_sha256_begin(h[2]) && hash_sha256_update(h[2], bytes + 7 * i, before[i]) &&
                      hash_sha256_update(h[2], bytes + 1000 + 500 * i, len[i]) &&
                      hash_sha256_update(h[2], bytes + 11 * i, after[i]) && hash_sha256_finish(h[2], expected));
            CU_ASSERT(memcmp(got, expected, sizeof got) == 0);
        }
    }
    for (size_t i = 0; i < 3; i++)
        hash_sha256_destroy(h[i]);
}

static void time_round_trips(void)
{
    char text[CLOCK_RFC3339_MAX];
    int64_t ns;
    clock_format_rfc3339(0, text);
    CU_ASSERT_STRING_EQUAL(text, "1970-01-01T00:00:00.000Z");
    clock_format_rfc3339(-1, text);
    CU_ASSERT_STRING_EQUAL(text, "1969-12-31T23:59:59.999Z");
    uint64_t state = harness_seed();
    for (int i = 0; i < 100000; i++) {
        int64_t secs = (int64_t)(harness_random(&state) % 16000000000u) - 8000000000;
        int64_t ms = (int64_t)(harness_random(&state) % 1000u);
        int64_t want = secs * 1000000000 + ms * 1000000;
        clock_format_rfc3339(want, text);
        time_t t = (time_t)secs;
        struct tm tm;
        char libc[40];
        gmtime_r(&t, &tm);
        size_t n = strftime(libc, sizeof libc, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!clock_parse_rfc3339(text, 24, &ns) || ns != want || strncmp(libc, text, n) != 0)
            CU_FAIL("round trip");
    }
}

static void time_text_rules(void)
{
    static const char *const good[] = {
        "2024-02-29T23:59:60Z",      "2026-01-02t03:04:05z", "2026-01-02T03:04:05.1234567890123Z",
        "2026-01-02T03:04:05+23:59", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"};
    static const char *const bad[] = {
        "2023-02-29T00:00:00Z", "2026-13-01T00:00:00Z",   "2026-01-02T24:00:00Z",     "2026-01-02",
        "2026-01-02T03:04:05",  "2026-01-02T03:04:05.Z",  "2026-01-02T03:04:05+2400", "2026-01-02T03:04:05Zx",
        "2026-01-02 03:04:05Z", "2026-1-02T03:04:05.00Z", "2026-01-00T00:00:00Z",     "2026-01-02T03:04:05+24:00"};
    int64_t ns;
    for (size_t i = 0; i < AW_ARRAY_LEN(good); i++)
        CU_ASSERT(clock_parse_rfc3339(good[i], strlen(good[i]), &ns));
    for (size_t i = 0; i < AW_ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(clock_parse_rfc3339(bad[i], strlen(bad[i]), &ns));
    int64_t a, b;
    CU_ASSERT(clock_parse_rfc3339("2026-01-02T03:04:05.5+02:00", 27, &a));
    CU_ASSERT(clock_parse_rfc3339("2026-01-02T01:04:05.5Z", 22, &b));
    CU_ASSERT_EQUAL(a, b);
}

/* The form that nearly every time has is read in another way; it must be the same with a zone in place of the Z. */
static void time_text_usual_form(void)
{
    static const char *const starts[] = {"2026-01-02T03:04:05.678Z", "0000-02-29T23:59:60.999Z",
                                         "9999-12-31T00:00:00.000Z", "1900-02-29T10:10:10.100Z",
                                         "2000-02-29T20:00:59.001Z", "1969-12-31T23:59:59.999Z"};
    static const char bytes[] = "0123456789:-.TtZz /\x80\xff\xf6";
    uint64_t state = harness_seed();
    int good = 0;
    for (int i = 0; i < 200000; i++) {
        char usual[25], other[30];
        int64_t a = 1, b = 1;
        memcpy(usual, starts[harness_random(&state) % AW_ARRAY_LEN(starts)], sizeof usual);
        for (uint64_t n = harness_random(&state) % 3; n > 0; n--)
            usual[harness_random(&state) % 23] = bytes[harness_random(&state) % (sizeof bytes - 1)];
        snprintf(other, sizeof other, "%.23s+00:00", usual);
        bool yes = clock_parse_rfc3339(usual, 24, &a);
        if (yes != clock_parse_rfc3339(other, 29, &b) || a != b)
            CU_FAIL("two readings");
        good += yes;
    }
    CU_ASSERT(good > 50000);
}

static void check_uuid7(const char *u)
{
    CU_ASSERT(u[8] == '-' && u[13] == '-' && u[18] == '-' && u[23] == '-' && u[14] == '7');
    CU_ASSERT(strchr("89ab", u[19]) != NULL);
    CU_ASSERT_EQUAL(strspn(u, "0123456789abcdef-"), IDS_UUID_LEN);
}

static struct ids_source ids;

static void uuids_rise(void)
{
    char last[IDS_UUID_LEN + 1] = "", now[IDS_UUID_LEN + 1] = "";
    uint64_t t = 1750000000000000000u;
    for (int i = 0; i < 200000; i++) {
        /* the clock stands still, moves, and steps back: ids of one source rise all the same */
        t += i % 1000 == 0 ? 1000000u : 0;
        if (ids_uuid7(&ids, i % 5000 == 0 ? t - 5000000000u : t, now) != 0 || strcmp(last, now) >= 0)
            CU_FAIL("ids must rise");
        memcpy(last, now, sizeof last);
    }
    check_uuid7(now);
}

static void forked_child_makes_other_ids(void)
{
    char here[IDS_UUID_LEN], there[IDS_UUID_LEN];
    int p[2];
    CU_ASSERT_EQUAL_FATAL(ids_uuid7(&ids, 1750000000000000000u, here), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(p), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int rc = ids_uuid7(&ids, 1750000000000000000u, there);
        _exit(rc == 0 && write(p[1], there, sizeof there) == (ssize_t)sizeof there ? 0 : 1);
    }
    int status = -1;
    CU_ASSERT_EQUAL(ids_uuid7(&ids, 1750000000000000000u, here), 0);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(read(p[0], there, sizeof there), (ssize_t)sizeof there);
    CU_ASSERT_NOT_EQUAL(memcmp(here, there, sizeof here), 0);
    close(p[0]);
    close(p[1]);
}

static void files(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/a/b/c", harness_tmpdir());
    CU_ASSERT_EQUAL(fs_mkdir_p(path, 0700), 0);
    CU_ASSERT_EQUAL(fs_mkdir_p(path, 0700), 0);
    AW_AUTOCLOSE int dir = -1;
    CU_ASSERT_EQUAL_FATAL(fs_open(path, O_RDONLY | O_DIRECTORY, 0, &dir), 0);
    CU_ASSERT_EQUAL(fs_replace_at(dir, "f", "one", 3, 0600), 0);
    CU_ASSERT_EQUAL(fs_replace_at(dir, "f", "three", 5, 0600), 0);
    char file[420];
    snprintf(file, sizeof file, "%s/f", path);
    AW_AUTOFREE char *text = NULL;
    size_t len;
    CU_ASSERT_EQUAL(fs_read_file(file, 100, &text, &len), 0);
    CU_ASSERT(text && len == 5 && strcmp(text, "three") == 0);
    char *big = NULL;
    CU_ASSERT_EQUAL(fs_read_file(file, 4, &big, &len), -EFBIG);
    CU_ASSERT_EQUAL(fs_mkdir_p(file, 0700), -ENOTDIR);
    int fd = -1;
    CU_ASSERT_EQUAL(fs_open("/nonexistent/x", O_RDONLY, 0, &fd), -ENOENT);
    CU_ASSERT_EQUAL(fd, -1);
}

static void *problems_of_another_thread(void *arg)
{
    (void)arg;
    size_t n;
    aw_problems(&n);
    diag_problem(AW_ERR_CONFIG, "x", "y");
    return n == 0 ? NULL : (void *)1;
}

static void problems(void)
{
    size_t n;
    diag_reset();
    CU_ASSERT_EQUAL(diag_problem(AW_ERR_CONFIG, "a.conf:1", "what %d", 7), AW_ERR_CONFIG);
    diag_problem(0, NULL, "a warning");
    const struct aw_problem *const *p = aw_problems(&n);
    CU_ASSERT_EQUAL_FATAL(n, 2);
    CU_ASSERT_STRING_EQUAL(p[0]->path, "a.conf:1");
    CU_ASSERT_STRING_EQUAL(p[0]->message, "what 7");
    CU_ASSERT_STRING_EQUAL(p[1]->path, "");
    CU_ASSERT_EQUAL(diag_warnings(), 1);
    pthread_t t;
    void *r;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, problems_of_another_thread, NULL), 0);
    pthread_join(t, &r);
    CU_ASSERT_PTR_NULL(r);
    for (int i = 0; i < 500; i++)
        diag_problem(AW_ERR_CONFIG, "", "%d", i);
    p = aw_problems(&n);
    CU_ASSERT_EQUAL(n, DIAG_MAX_PROBLEMS + 1);
    CU_ASSERT_STRING_EQUAL(p[n - 1]->message, "and 302 more");
    diag_reset();
    CU_ASSERT_EQUAL(diag_count(), 0);
    CU_ASSERT_STRING_EQUAL(aw_error_name(AW_ERR_FORK), "FORK");
    CU_ASSERT_STRING_EQUAL(aw_error_name(AW_ERR_QUEUE_FULL), "QUEUE_FULL");
    CU_ASSERT_STRING_EQUAL(aw_error_name(-99), "UNKNOWN");
}

static char seen[200];

static void keep(void *arg, int severity, const char *instance, const char *text)
{
    (void)arg;
    snprintf(seen, sizeof seen, "%d %s %s", severity, instance, text);
}

static void diagnostics_are_one_line(void)
{
    struct diag_out out = {keep, NULL};
    diag_log(&out, AW_LOG_ERROR, "trail", "a\nb\033[2J%s", "c");
    CU_ASSERT_STRING_EQUAL(seen, "400 trail a b [2Jc");
    diag_log(NULL, AW_LOG_ERROR, "trail", "nowhere");
}

HARNESS_MAIN("base", {"crc32c agrees with RFC 3720", crc_known_values},
             {"crc32c of every length agrees with its definition", crc_of_every_length},
             {"siphash-128 vectors", sip_known_values}, {"sha-256 and hex", sha_and_hex},
             {"SHA-256 of two messages at once", sha_of_two}, {"time round trips", time_round_trips},
             {"RFC 3339 rules", time_text_rules}, {"time text of the usual form", time_text_usual_form},
             {"uuid7 ids rise", uuids_rise}, {"a forked child makes other ids", forked_child_makes_other_ids},
             {"files", files}, {"problems", problems}, {"diagnostics are one line", diagnostics_are_one_line})
