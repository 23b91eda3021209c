/* test_sqlite_query.c - reading the sqlite sink back. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

static struct mh_instance *started(const char *path)
{
    struct mh_instance *m = MH("sqlite", "path", path);
    int32_t r = mh_start(m);
    if (r != AW_OK)
        harness_note("start: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    return m;
}

static bool db_holds(const char *path, uint64_t from, uint64_t to)
{
    struct mh_instance *m = MH("sqlite", "path", path);
    struct mh_rows rows = mh_read(m, NULL, 100);
    bool ok = rows.code == AW_OK && rows.count == to - from + 1 && rows.first_seq == from && rows.last_seq == to &&
              rows.rising && rows.same;
    if (!ok)
        harness_note("database: code %d, %zu rows, seq %llu..%llu, rising %d, same %d: %s", rows.code, rows.count,
                     (unsigned long long)rows.first_seq, (unsigned long long)rows.last_seq, rows.rising, rows.same,
                     m->error);
    mh_destroy(m);
    return ok;
}

static size_t matching(struct mh_instance *m, struct aw_query *q)
{
    struct mh_rows rows = mh_read(m, q, 7);
    CU_ASSERT_EQUAL(rows.code, AW_OK);
    CU_ASSERT_TRUE(rows.same);
    return rows.count;
}

#define TEXT(s) ((struct aw_str){s, sizeof s - 1})

static void test_query(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = started(path);
    struct aw_query q;
    CU_ASSERT_EQUAL(mh_write(m, 1, 240, 0, NULL), AW_OK);
    mh_query_init(&q);
    CU_ASSERT_EQUAL(matching(m, &q), 240);
    q.tenant_id = TEXT("tnt_1");
    CU_ASSERT_EQUAL(matching(m, &q), 60);
    q.action = TEXT("doc*.read");
    CU_ASSERT_EQUAL(matching(m, &q), 20);
    mh_query_init(&q);
    q.action = TEXT("user.logi?");
    CU_ASSERT_EQUAL(matching(m, &q), 80);
    q.action = TEXT("user.[l]ogin"); /* brackets are no wildcards */
    CU_ASSERT_EQUAL(matching(m, &q), 0);
    mh_query_init(&q);
    q.outcome = TEXT("DENIED");
    CU_ASSERT_EQUAL(matching(m, &q), 24);
    q.actor_id = TEXT("usr_4");
    CU_ASSERT_EQUAL(matching(m, &q), 3); /* 20, 100, 180 */
    mh_query_init(&q);
    q.target_id = TEXT("obj_00000010");
    CU_ASSERT_EQUAL(matching(m, &q), 1);
    mh_query_init(&q);
    q.text = TEXT("\"id\":\"usr_15\"");
    CU_ASSERT_EQUAL(matching(m, &q), 15);
    mh_query_init(&q);
    q.since_ns = INT64_C(1767323045000000000) + 101 * 1000000;
    q.until_ns = INT64_C(1767323045000000000) + 111 * 1000000;
    CU_ASSERT_EQUAL(matching(m, &q), 10);
    mh_query_init(&q);
    q.flags = AW_QUERY_DESCENDING;
    struct mh_rows rows = mh_read(m, &q, 7);
    CU_ASSERT_EQUAL(rows.count, 240);
    CU_ASSERT_EQUAL(rows.first_seq, 240);
    CU_ASSERT_EQUAL(rows.last_seq, 1);
    mh_query_init(&q);
    q.after = TEXT("s1.100.x");
    CU_ASSERT_EQUAL(mh_read(m, &q, 7).code, AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not a cursor"));
    mh_destroy(m);
    free(path);
}

static void test_pages(void)
{
    char *path = mh_path("audit.db"), *strange = mh_path("a%%?b #c.db");
    struct mh_instance *m = started(path), *reader = MH("sqlite", "path", path);
    struct aw_row rows[10];
    struct aw_query q;
    size_t n, seen = 0;
    void *read;
    char cursor[256];
    CU_ASSERT_EQUAL(mh_write(m, 1, 25, 0, NULL), AW_OK);
    mh_query_init(&q);
    CU_ASSERT_EQUAL(mh_query(reader)->open(reader->sink, &q, &read), AW_OK);
    for (int i = 0; i < 3; i++, seen += n)
        CU_ASSERT_EQUAL(mh_query(reader)->next(read, rows, 10, &n), AW_OK);
    CU_ASSERT_EQUAL(seen, 25);
    CU_ASSERT_EQUAL(n, 5);
    CU_ASSERT_TRUE(rows[4].location.len == 16 && memcmp(rows[4].location.ptr, "audit.db: seq 25", 16) == 0);
    snprintf(cursor, sizeof cursor, "%.*s", (int)rows[1].cursor.len, rows[1].cursor.ptr);
    CU_ASSERT_EQUAL(mh_query(reader)->next(read, rows, 10, &n), AW_OK);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(mh_write(m, 26, 28, 0, NULL), AW_OK); /* follow */
    CU_ASSERT_EQUAL(mh_query(reader)->next(read, rows, 10, &n), AW_OK);
    CU_ASSERT_EQUAL(n, 3);
    CU_ASSERT_EQUAL(rows[2].seq, 28);
    mh_query(reader)->close(read);
    q.after = (struct aw_str){cursor, strlen(cursor)};
    struct mh_rows rest = mh_read(reader, &q, 4);
    CU_ASSERT_EQUAL(rest.first_seq, 23);
    CU_ASSERT_EQUAL(rest.last_seq, 28);
    CU_ASSERT_TRUE(rest.rising && rest.same);
    q.flags = AW_QUERY_DESCENDING;
    rest = mh_read(reader, &q, 4);
    CU_ASSERT_EQUAL(rest.first_seq, 21);
    CU_ASSERT_EQUAL(rest.last_seq, 1);
    mh_destroy(m);
    mh_destroy(reader);
    m = MH("sqlite", "path", "/nonexistent/audit.db");
    CU_ASSERT_EQUAL(mh_read(m, NULL, 4).code, AW_E_NOTFOUND);
    mh_destroy(m);
    m = started(strange); /* characters with a meaning in URIs */
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(db_holds(strange, 1, 3));
    /* Nobody may write next to the database: read it as it is. */
    char *dir = strndup(strange, (size_t)(strrchr(strange, '/') - strange));
    CU_ASSERT_EQUAL(chmod(dir, 0555), 0);
    CU_ASSERT_EQUAL(chmod(strange, 0444), 0);
    CU_ASSERT_TRUE(db_holds(strange, 1, 3));
    chmod(dir, 0755);
    free(dir);
    free(path);
    free(strange);
}

/* Readers in another thread and in another process while the writer writes. */
struct looker {
    const char *path;
    _Atomic int stop;
    size_t reads;
};

static void *look(void *arg)
{
    struct looker *l = arg;
    struct mh_instance *m = MH("sqlite", "path", l->path);
    while (!l->stop) {
        struct mh_rows rows = mh_read(m, NULL, 128);
        if (rows.code != AW_OK || !rows.rising || !rows.same) {
            harness_note("reader: %d %s, %zu rows", rows.code, m->error, rows.count);
            mh_destroy(m);
            return (void *)1;
        }
        l->reads++;
    }
    mh_destroy(m);
    return NULL;
}

static void test_readers(void)
{
    char *path = mh_path("audit.db");
    struct mh_instance *m = MH("sqlite", "path", path, "synchronous", "normal", "wal_size", "256KiB");
    struct looker l = {.path = path};
    pthread_t t;
    void *bad;
    int status;
    const uint64_t last = harness_slow() ? 3000 : 10000;
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char top[64];
        snprintf(top, sizeof top, "%llu", (unsigned long long)last);
        m->class->after_fork(m->sink);
        struct mh_instance *r = MH("sqlite", "path", path);
        for (int i = 0; i < 100000; i++) {
            struct mh_rows rows = mh_read(r, NULL, 128);
            if (rows.code != AW_OK || !rows.rising || !rows.same)
                _exit(1);
            if (rows.last_seq == last)
                _exit(0);
        }
        _exit(2);
    }
    pthread_create(&t, NULL, look, &l);
    for (uint64_t i = 2; i <= last; i += 200) {
        int32_t r = mh_write(m, i, i + 199 < last ? i + 199 : last, 0, NULL);
        CU_ASSERT_EQUAL(r, AW_OK);
        if (r != AW_OK)
            harness_note("write: %d %s", r, m->error);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    l.stop = 1;
    pthread_join(t, &bad);
    CU_ASSERT_PTR_NULL(bad);
    CU_ASSERT_TRUE(l.reads > 0);
    CU_ASSERT_TRUE(db_holds(path, 1, last));
    mh_destroy(m);
    free(path);
}

HARNESS_MAIN("sink_sqlite_query", {"filters", test_query}, {"pages, cursors, follow, odd places", test_pages},
             {"readers while a writer writes", test_readers})
