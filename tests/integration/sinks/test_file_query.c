/* test_file_query.c - reading the file sink back: order, cursors, follow, filters, odd files.
 * SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

#define TEXT(s) ((struct aw_str){s, sizeof s - 1})

static struct mh_instance *started(const char *path, const char *size, const char *compress)
{
    struct mh_instance *m = MH("file", "path", path, "rotate_size", size, "compress", compress);
    CU_ASSERT_EQUAL_FATAL(mh_start(m), AW_OK);
    return m;
}

/* Every row's cursor continues exactly behind it, before and after rotation. */
static void test_cursors(void)
{
    char *path = mh_path("audit.jsonl"), cursors[40][256];
    struct mh_instance *m = started(path, "8KiB", "none");
    struct aw_row rows[40];
    struct aw_query q;
    void *read;
    size_t n, got = 0;
    CU_ASSERT_EQUAL(mh_write(m, 1, 40, 0, NULL), AW_OK);
    mh_query_init(&q);
    CU_ASSERT_EQUAL(mh_query(m)->open(m->sink, &q, &read), AW_OK);
    while (got < 40 && mh_query(m)->next(read, rows, 40, &n) == AW_OK && n > 0)
        for (size_t i = 0; i < n; i++)
            snprintf(cursors[got++], 256, "%.*s", (int)rows[i].cursor.len, rows[i].cursor.ptr);
    mh_query(m)->close(read);
    CU_ASSERT_EQUAL(got, 40);
    CU_ASSERT_EQUAL(mh_write(m, 41, 90, 0, NULL), AW_OK); /* rotates what was current */
    for (uint64_t i = 0; i < 40; i++) {
        q.after = (struct aw_str){cursors[i], strlen(cursors[i])};
        struct mh_rows rest = mh_read(m, &q, 16);
        CU_ASSERT_EQUAL(rest.code, AW_OK);
        CU_ASSERT_EQUAL(rest.first_seq, i + 2);
        CU_ASSERT_EQUAL(rest.last_seq, 90);
        CU_ASSERT_TRUE(rest.rising && rest.same);
    }
    /* Retention removed the file: the sequence number in the cursor still finds the place. */
    char name[1024];
    CU_ASSERT_TRUE(mh_names(path, "audit-", name, sizeof name) > 1);
    CU_ASSERT_EQUAL(unlink(name), 0);
    q.after = (struct aw_str){cursors[0], strlen(cursors[0])};
    struct mh_rows rest = mh_read(m, &q, 16);
    CU_ASSERT_EQUAL(rest.code, AW_OK);
    CU_ASSERT_TRUE(rest.first_seq > 2 && rest.last_seq == 90 && rest.rising);
    q.after = TEXT("f1.0123456789abcdef.10.1.0");
    CU_ASSERT_EQUAL(mh_read(m, &q, 16).code, AW_E_NOTFOUND);
    q.after = TEXT("s1.1.2");
    CU_ASSERT_EQUAL(mh_read(m, &q, 16).code, AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not a cursor of this sink"));
    mh_destroy(m);
    free(path);
}

/* tail -f over growth, rotation, several rotations at once, and an empty beginning. */
static void test_follow(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = started(path, "8KiB", "none"), *reader = MH("file", "path", path);
    struct aw_row rows[64];
    struct aw_query q;
    void *read;
    size_t n;
    uint64_t next = 1, written = 0;
    mh_query_init(&q);
    CU_ASSERT_EQUAL(mh_query(reader)->open(reader->sink, &q, &read), AW_OK);
    CU_ASSERT_EQUAL(mh_query(reader)->next(read, rows, 64, &n), AW_OK);
    CU_ASSERT_EQUAL(n, 0);
    uint64_t seed = harness_seed();
    for (int round = 0; round < 60; round++) {
        uint64_t add = 1 + harness_random(&seed) % 60; /* 8 KiB hold 13 lines: often several rotations a round */
        CU_ASSERT_EQUAL(mh_write(m, written + 1, written + add, 0, NULL), AW_OK);
        written += add;
        do {
            CU_ASSERT_EQUAL(mh_query(reader)->next(read, rows, 1 + (size_t)(harness_random(&seed) % 64), &n), AW_OK);
            for (size_t i = 0; i < n; i++)
                CU_ASSERT_EQUAL(rows[i].seq, next++);
        } while (n > 0);
        CU_ASSERT_EQUAL(next, written + 1);
    }
    mh_query(reader)->close(read);
    mh_destroy(m);
    mh_destroy(reader);
    free(path);
}

static void test_filters(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = started(path, "16KiB", "none");
    struct aw_query q;
    CU_ASSERT_EQUAL(mh_write(m, 1, 240, 0, NULL), AW_OK);
    /* A store may give too many rows, never too few; here every line has backslashes, so only text is exact. */
    mh_query_init(&q);
    q.tenant_id = TEXT("tnt_1");
    CU_ASSERT_TRUE(mh_read(m, &q, 50).count >= 60);
    mh_query_init(&q);
    q.text = TEXT("\"id\":\"usr_15\"");
    CU_ASSERT_EQUAL(mh_read(m, &q, 50).count, 15);
    mh_query_init(&q);
    q.flags = AW_QUERY_DESCENDING;
    CU_ASSERT_EQUAL(mh_read(m, &q, 50).code, AW_E_UNSUPPORTED);
    q.flags = AW_QUERY_CHAIN_ORDER;
    CU_ASSERT_EQUAL(mh_read(m, &q, 50).count, 240);
    mh_destroy(m);
    /* Lines without escapes are filtered here; one that spells a letter as an escape is kept for the host. */
    static const char text[] = "{\"actor\":{\"id\":\"alice\"},\"action\":\"user.login\"}\n"
                               "{\"actor\":{\"id\":\"bob\"},\"action\":\"user.login\"}\n"
                               "{\"actor\":{\"id\":\"\\u0061lice\"},\"action\":\"doc.read\"}\n";
    mh_spew(path, text, sizeof text - 1);
    char *dir = mh_dir_of(path), name[1024];
    while (mh_count_names(dir, "audit-", name, sizeof name) > 0)
        unlink(name);
    m = MH("file", "path", path);
    mh_query_init(&q);
    q.actor_id = TEXT("alice");
    CU_ASSERT_EQUAL(mh_read(m, &q, 50).count, 2);
    q.action = TEXT("user.*");
    CU_ASSERT_EQUAL(mh_read(m, &q, 50).count, 2);
    q.actor_id = TEXT("bob");
    q.action = TEXT("*log?n");
    CU_ASSERT_EQUAL(mh_read(m, &q, 50).count, 2); /* bob, and the line with an escape */
    mh_destroy(m);
    free(dir);
    free(path);
}

static struct mh_rows read_path(const char *path)
{
    struct mh_instance *m = MH("file", "path", path);
    struct mh_rows rows = mh_read(m, NULL, 9);
    mh_destroy(m);
    return rows;
}

/* Files as other programs leave them: integrity elsewhere, nested look-alikes, none at all, no newline at the end,
 * damage. */
static void test_odd_lines(void)
{
    char *path = mh_path("audit.jsonl");
    static const struct {
        const char *text;
        size_t count;
        uint64_t last_seq;
    } cases[] = {
        {"", 0, 0},
        {"{\"action\":\"a\"}\n{\"action\":\"b\"}\n", 2, 0},
        {"{ \"integrity\" : { \"hash\" : \"x\", \"seq\" : 7 } }\n", 1, 7},
        {"{\"eventId\":\"e\",\"integrity\":{\"alg\":\"SHA-256\",\"seq\":12},\"outcome\":\"SUCCESS\"}\n", 1, 12},
        {"{\"diff\":{\"integrity\":{\"seq\":9}},\"integrity\":{\"alg\":\"x\",\"seq\":3}}\n", 1, 3},
        {"{\"integrity\":{\"seq\":4},\"metadata\":{\"integrity\":{\"seq\":9}}}\n", 1, 4},
        {"{\"a\":\"\\\"integrity\\\":{\\\"seq\\\":5}\"}\n", 1, 0},
        {"{\"a\":\"x\"}\nnot json at all\n", 2, 0},
        {"{\"integrity\":{\"seq\":1}}\n{\"integrity\":{\"seq\":2}}", 2, 2}, /* nobody writes: the torn line is shown */
        {"\n", 1, 0},
        {"{\"integrity\":{\"seq\":99999999999999999999999}}\n", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mh_spew(path, cases[i].text, strlen(cases[i].text));
        struct mh_rows rows = read_path(path);
        CU_ASSERT_EQUAL(rows.code, AW_OK);
        CU_ASSERT_EQUAL(rows.count, cases[i].count);
        CU_ASSERT_EQUAL(rows.last_seq, cases[i].last_seq);
        if (rows.count != cases[i].count || rows.last_seq != cases[i].last_seq)
            harness_note("case %zu: %zu rows, seq %llu", i, rows.count, (unsigned long long)rows.last_seq);
    }
    /* A line that a writer has not finished is no row. */
    struct mh_instance *m = started(path, "0", "none");
    CU_ASSERT_EQUAL(mh_write(m, 100, 101, 0, NULL), AW_OK);
    FILE *f = fopen(path, "a");
    CU_ASSERT_TRUE(f != NULL && fputs("{\"half", f) > 0 && fclose(f) == 0);
    struct mh_rows rows = read_path(path);
    CU_ASSERT_EQUAL(rows.last_seq, 101);
    CU_ASSERT_PTR_NOT_NULL(strstr(rows.location, "audit.jsonl:3"));
    mh_destroy(m);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(read_path(path).code, AW_E_NOTFOUND);
    free(path);
}

static void test_ad_hoc(void)
{
    char *path = mh_path("audit.jsonl"), *dir = mh_dir_of(path), name[1024];
    struct mh_instance *m = started(path, "16KiB", "none");
    CU_ASSERT_EQUAL(mh_write(m, 1, 100, 0, NULL), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(mh_count_names(dir, "audit-", name, sizeof name) > 2);
    struct mh_rows one = read_path(name); /* an archive named on its own is read on its own */
    CU_ASSERT_TRUE(one.count > 0 && one.count < 100 && one.first_seq == 1 && one.same);
    /* A directory: each trail in it, archives first. */
    size_t n;
    char other[1100], *text = mh_lines(101, 105, &n);
    snprintf(other, sizeof other, "%s/zebra.jsonl", dir);
    mh_spew(other, text, n);
    snprintf(other, sizeof other, "%s/readme.txt", dir);
    mh_spew(other, "no trail\n", 9);
    struct mh_rows all = read_path(dir);
    CU_ASSERT_EQUAL(all.count, 105);
    CU_ASSERT_TRUE(all.rising && all.same && all.last_seq == 105);
    free(text);
    free(dir);
    free(path);
}

#ifdef HAVE_ZSTD
#include <time.h>

static void test_compressed(void)
{
    char *path = mh_path("audit.jsonl"), *dir = mh_dir_of(path), name[1024];
    struct mh_instance *m = started(path, "64KiB", "zstd");
    struct aw_query q;
    CU_ASSERT_EQUAL(mh_write(m, 1, 50, 0, NULL), AW_OK);
    struct mh_rows before = mh_read(m, NULL, 50);
    for (uint64_t i = 51; i <= 400; i += 50)
        CU_ASSERT_EQUAL(mh_write(m, i, i + 49, 0, NULL), AW_OK);
    for (int i = 0; i < 20000 && mh_metric(m, "file_compressed_total") < mh_metric(m, "file_rotations_total"); i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    CU_ASSERT_TRUE(mh_metric(m, "file_compressed_total") >= 3);
    mh_query_init(&q); /* the cursor was made while the file was the current one: now it is an archive, compressed */
    q.after = (struct aw_str){before.cursor, strlen(before.cursor)};
    struct mh_rows rest = mh_read(m, &q, 64);
    CU_ASSERT_EQUAL(rest.first_seq, 51);
    CU_ASSERT_EQUAL(rest.last_seq, 400);
    CU_ASSERT_TRUE(rest.rising && rest.same);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(mh_count_names(dir, ".zst", name, sizeof name) > 2);
    struct mh_rows one = read_path(name);
    CU_ASSERT_TRUE(one.code == AW_OK && one.first_seq == 1 && one.same && one.count > 50);
    /* A compressed file that was cut short, or changed, is an error that names it, not an end. */
    size_t n;
    char *bytes = mh_slurp(name, &n);
    mh_spew(name, bytes, n / 2);
    m = MH("file", "path", path);
    rest = mh_read(m, NULL, 64);
    CU_ASSERT_EQUAL(rest.code, AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "damaged or cut short"));
    bytes[n / 2] = (char)(bytes[n / 2] ^ 0x40);
    mh_spew(name, bytes, n);
    CU_ASSERT_EQUAL(mh_read(m, NULL, 64).code, AW_E_UNAVAILABLE);
    mh_destroy(m);
    free(bytes);
    free(dir);
    free(path);
}
#define ZSTD_TESTS {"compressed archives", test_compressed},
#else
#define ZSTD_TESTS
#endif

HARNESS_MAIN("sink_file_query", ZSTD_TESTS{"cursors", test_cursors}, {"follow", test_follow}, {"filters", test_filters},
             {"lines of other programs", test_odd_lines}, {"archives and directories", test_ad_hoc})
