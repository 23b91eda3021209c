/* test_postgres_stores.c - the postgres sink's extensions: reading, migrating, staging, retention.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"
#include "postgres_support.h"

static bool says(const struct mh_instance *m, const char *text)
{
    bool there = strstr(m->error, text) != NULL;
    if (!there)
        harness_note("expected \"%s\" in: %d %s", text, m->error_code, m->error);
    return there;
}

/* ---- the query extension ---- */

static size_t count_of(struct mh_instance *r, const struct aw_query *q)
{
    struct mh_rows rows = mh_read(r, q, 37);
    if (rows.code != AW_OK)
        harness_note("query: %d %s", rows.code, r->error);
    CU_ASSERT_EQUAL(rows.code, AW_OK);
    CU_ASSERT_TRUE(rows.same);
    return rows.count;
}

static void test_query(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *r = pt_created(db, "reader");
    struct aw_query q;
    CU_ASSERT_EQUAL(mh_read(r, NULL, 10).count, 0);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1000, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(pt_holds(db, 1, 1000));
    struct mh_rows rows = mh_read(r, NULL, 1);
    CU_ASSERT_TRUE(rows.count == 1000 && rows.rising && rows.same);
    CU_ASSERT_STRING_EQUAL(rows.location, "public.audit_events: seq 1000");
    mh_query_init(&q);
    q.flags = AW_QUERY_DESCENDING;
    rows = mh_read(r, &q, 100);
    CU_ASSERT_TRUE(rows.count == 1000 && rows.first_seq == 1000 && rows.last_seq == 1 && rows.same);
    mh_destroy(r);
    mh_destroy(m);
}

#define STR(s) ((struct aw_str){s, sizeof(s) - 1})

static void test_filters(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *r = pt_created(db, "reader");
    struct aw_query q;
    CU_ASSERT_EQUAL(mh_write(m, 1, 1000, 0, NULL), AW_OK);
    const struct aw_query filters[] = {
        {.tenant_id = STR("tnt_1")},   {.actor_id = STR("usr_3")}, {.target_id = STR("obj_00000011")},
        {.outcome = STR("DENIED")},    {.action = STR("user.*")},  {.action = STR("us?r.login")},
        {.action = STR("us_r.login")}, {.action = STR("user%")},   {.text = STR("obj_000000ff")},
        {.text = STR("nowhere")},
    };
    static const size_t want[] = {250, 63, 1, 100, 333, 333, 0, 0, 1, 0};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        q = filters[i];
        q.struct_size = sizeof q;
        q.since_ns = INT64_MIN;
        q.until_ns = INT64_MAX;
        CU_ASSERT_EQUAL(count_of(r, &q), want[i]);
        q.flags = AW_QUERY_CHAIN_ORDER; /* there no column is believed */
        CU_ASSERT_EQUAL(count_of(r, &q), 1000);
    }
    /* A time is rounded so that too much comes, never too little. */
    const int64_t base = INT64_C(1767323045000000000), ms = 1000000;
    mh_query_init(&q);
    q.since_ns = base + 900 * ms + 1;
    CU_ASSERT_EQUAL(count_of(r, &q), 101);
    q.since_ns = base + 900 * ms + 1000;
    CU_ASSERT_EQUAL(count_of(r, &q), 100);
    mh_query_init(&q);
    q.until_ns = base + 11 * ms;
    CU_ASSERT_EQUAL(count_of(r, &q), 10);
    q.until_ns = base + 11 * ms + 1;
    CU_ASSERT_EQUAL(count_of(r, &q), 11);
    mh_destroy(r);
    mh_destroy(m);
}

/* A cursor goes on where it was, in both directions, in another process. */
static void test_cursor(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *r = pt_created(db, "reader");
    struct aw_query q;
    CU_ASSERT_EQUAL(mh_write(m, 1, 1000, 0, NULL), AW_OK);
    mh_query_init(&q);
    q.tenant_id = STR("tnt_1");
    q.until_ns = INT64_C(1767323045000000000) + 500 * 1000000;
    struct mh_rows rows = mh_read(r, &q, 10);
    struct mh_instance *other = pt_created(db, "reader");
    mh_query_init(&q);
    q.after = (struct aw_str){rows.cursor, strlen(rows.cursor)};
    struct mh_rows rest = mh_read(other, &q, 100);
    CU_ASSERT_EQUAL(rest.first_seq, rows.last_seq + 1);
    CU_ASSERT_EQUAL(rest.count, 1000 - rows.last_seq);
    q.flags = AW_QUERY_DESCENDING;
    rest = mh_read(other, &q, 100);
    CU_ASSERT_EQUAL(rest.count, rows.last_seq - 1);
    mh_destroy(other);
    q.after = STR("s1.1.1");
    CU_ASSERT_EQUAL(mh_read(r, &q, 10).code, AW_E_CONFIG);
    CU_ASSERT_TRUE(says(r, "is not a cursor"));
    mh_destroy(r);
    mh_destroy(m);
}

/* Following: what is added later is seen, also after the server was away. Rows with one seq keep their order. */
static void test_follow(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *r = pt_created(db, "reader");
    struct aw_row rows[50];
    struct aw_query q;
    void *read;
    size_t n;
    mh_query_init(&q);
    for (int i = 0; i < 50; i++)
        rows[i].struct_size = sizeof rows[i];
    CU_ASSERT_EQUAL_FATAL(mh_query(r)->open(r->sink, &q, &read), AW_OK);
    CU_ASSERT_TRUE(mh_query(r)->next(read, rows, 50, &n) == AW_OK && n == 0);
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_query(r)->next(read, rows, 50, &n) == AW_OK && n == 20 && rows[19].seq == 20);
    CU_ASSERT_TRUE(mh_query(r)->next(read, rows, 50, &n) == AW_OK && n == 0);
    pgc_stop(&pt_cluster, SIGINT);
    CU_ASSERT_EQUAL(mh_query(r)->next(read, rows, 50, &n), AW_E_UNAVAILABLE);
    pgc_start(&pt_cluster);
    struct aw_event *same[30];
    char ids[30][40];
    uint8_t status[30];
    for (int i = 0; i < 30; i++) { /* of other streams, say */
        snprintf(ids[i], sizeof ids[i], "same-%d", i);
        same[i] = mh_event(21);
        mh_event_set(same[i], AW_FIELD_EVENT_ID, ids[i]);
    }
    CU_ASSERT_EQUAL(mh_write_events(m, same, 30, 0, 0, status), AW_OK);
    size_t total = 0;
    for (int i = 0; i < 12; i++) {
        CU_ASSERT_EQUAL(mh_query(r)->next(read, rows, 7, &n), AW_OK);
        total += n;
    }
    CU_ASSERT_EQUAL(total, 30);
    mh_query(r)->close(read);
    for (int i = 0; i < 30; i++)
        mh_event_free(same[i]);
    /* It reads, and only that. */
    CU_ASSERT_EQUAL_FATAL(mh_query(r)->open(r->sink, &q, &read), AW_OK);
    CU_ASSERT_EQUAL(mh_query(r)->next(read, rows, 1, &n), AW_OK);
    mh_query(r)->close(read);
    mh_destroy(r);
    mh_destroy(m);
}

/* ---- migrating ---- */

static void test_migrate(void)
{
    static char first[20000], second[20000], dry[20000];
    const char *db = pt_empty_database();
    struct mh_instance *m =
        PT(db, "owner", "grant_write", "writer", "grant_read", "reader", "schema", "a \"b\"", "table", "Trail's");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "run `auditwell migrate`"));
    CU_ASSERT_EQUAL(pt_migrate(m, AW_MIGRATE_DRY_RUN, dry, sizeof dry), AW_OK);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM pg_class WHERE relname LIKE 'Trail%'"), "0");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, first, sizeof first), AW_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(first, "CREATE SCHEMA \"a \"\"b\"\"\"\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(first, "CREATE TABLE \"a \"\"b\"\"\".\"Trail's\" (event_id text"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(first, "GRANT INSERT, SELECT (event_id, occurred_at) ON \"a \"\"b\"\"\".\"Trail's\" TO"));
    CU_ASSERT_STRING_EQUAL(dry, first); /* it tells what will be done */
    CU_ASSERT_EQUAL(pt_migrate(m, 0, second, sizeof second), AW_OK);
    CU_ASSERT_STRING_EQUAL(second, "");
    mh_destroy(m);
    m = PT(db, "writer", "schema", "a \"b\"", "table", "Trail's");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM \"a \"\"b\"\"\".\"Trail's\""), "10");
    CU_ASSERT_EQUAL(mh_stage(m, 11, 12, "t", NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_OK); /* nothing to do needs no rights */
    mh_destroy(m);
    m = PT(db, "writer", "table", "new");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "permission denied"));
    mh_destroy(m);
    m = PT(db, "owner", "table", "new", "grant_write", "nobody_here");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "there is no role \"nobody_here\""));
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM pg_class WHERE relname LIKE 'new%'"),
                           "0"); /* all or nothing */
    mh_destroy(m);
}

/* The predecessor's table gets what it lacks; its rows stay, and are left out of reading. */
static void test_old_table(void)
{
    static const char old[] =
        "CREATE TABLE audit_events(event_id text primary key, schema_version int, occurred_at timestamptz, action "
        "text, outcome text, actor_id text, actor_type text, actor_display_name text, actor_roles text[], actor_ip "
        "text, actor_user_agent text, target_id text, target_type text, target_display_name text, tenant_id text, "
        "org_id text, target jsonb, context jsonb, metadata jsonb, diff jsonb, integrity jsonb, retention_tag text, "
        "metadata_truncated bool, diff_truncated bool); ALTER TABLE audit_events OWNER TO owner; INSERT INTO "
        "audit_events(event_id, occurred_at) VALUES ('old', now())";
    static char steps[20000];
    const char *db = pt_empty_database();
    pt_sql(db, old);
    struct mh_instance *m = PT(db, "owner", "grant_write", "writer", "grant_read", "reader");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "has no column seq: run `auditwell migrate`"));
    CU_ASSERT_EQUAL(pt_migrate(m, AW_MIGRATE_DRY_RUN, steps, sizeof steps), AW_OK);
    CU_ASSERT_EQUAL(pt_migrate(m, 0, steps, sizeof steps), AW_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(steps, "ADD COLUMN canonical bytea"));
    CU_ASSERT_EQUAL(pt_migrate(m, 0, steps, sizeof steps), AW_OK);
    CU_ASSERT_STRING_EQUAL(steps, "");
    mh_destroy(m);
    m = pt_started(db, "writer");
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(pt_holds(db, 1, 10));
    m = pt_created(db, "reader");
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).count, 10);
    CU_ASSERT_TRUE(mh_logged(m, "rows from before auditwell"));
    mh_destroy(m);
    /* Without the key, and with ids that are there twice, it cannot be had. */
    pt_sql(db,
           "DROP TABLE audit_events_staged; ALTER TABLE audit_events DROP CONSTRAINT audit_events_pkey; INSERT INTO "
           "audit_events(event_id, occurred_at) VALUES ('old', now())");
    m = pt_created(db, "owner");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "could not create unique index"));
    pt_sql(db, "DELETE FROM audit_events WHERE event_id = 'old'");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, steps, sizeof steps), AW_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(steps, "CREATE UNIQUE INDEX"));
    pt_sql(db, "DROP TABLE audit_events; CREATE TABLE audit_events(x int); ALTER TABLE audit_events OWNER TO owner");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "no table of audit events"));
    mh_destroy(m);
}

static const char *const partitioned[] = {"partition",  "monthly", "grant_write", "writer",
                                          "grant_read", "reader",  NULL};

/* A database with a partitioned table. Events of mh_event() are all of January 2026. */
static const char *partitioned_database(void)
{
    const char *db = pt_empty_database();
    struct mh_instance *m = pt_create(db, "owner", partitioned);
    int32_t r = pt_migrate(m, 0, NULL, 0);
    if (r != AW_OK)
        harness_note("migrate: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    mh_destroy(m);
    return db;
}

/* Writes [from, to], one event a day beginning with the seq-th day of 2025. */
static void write_days(struct mh_instance *m, uint64_t from, uint64_t to)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **e = calloc(n, sizeof *e);
    uint8_t *status = calloc(n, 1);
    for (size_t i = 0; i < n; i++) {
        e[i] = mh_event(from + i);
        e[i]->numbers[AW_NUMBER_OCCURRED_NS - AW_NUMBER_SEQ] =
            UINT64_C(1735689600000000000) + (from + i - 1) * UINT64_C(86400000000000);
    }
    CU_ASSERT_EQUAL(mh_write_events(m, e, n, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, n, AW_EVENT_DURABLE) || mh_all(status, n, AW_EVENT_DUPLICATE));
    for (size_t i = 0; i < n; i++)
        mh_event_free(e[i]);
    free(status);
    free(e);
}

static void test_partitions(void)
{
    static char steps[30000];
    const char *db = partitioned_database();
    struct mh_instance *m = pt_started(db, "writer"), *owner = pt_create(db, "owner", partitioned);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass"),
                           "5");
    CU_ASSERT_EQUAL(pt_migrate(owner, 0, steps, sizeof steps), AW_OK);
    CU_ASSERT_STRING_EQUAL(steps, "");
    write_days(m, 1, 90); /* months without a partition: nothing is refused */
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events_default"), "90");
    write_days(m, 50, 90); /* again */
    CU_ASSERT_EQUAL(mh_metric(m, "postgres_duplicates_total"), 41);
    CU_ASSERT_EQUAL(pt_migrate(owner, AW_MIGRATE_DRY_RUN, steps, sizeof steps), AW_OK);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events_default"), "90");
    CU_ASSERT_EQUAL(pt_migrate(owner, 0, steps, sizeof steps), AW_OK);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events_default"), "0");
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events_2025_02"), "28");
    CU_ASSERT_EQUAL(pt_migrate(owner, 0, steps, sizeof steps), AW_OK);
    CU_ASSERT_STRING_EQUAL(steps, "");
    write_days(m, 1, 90);
    CU_ASSERT_EQUAL(mh_metric(m, "postgres_duplicates_total"), 131);
    CU_ASSERT_TRUE(pt_holds(db, 1, 90));
    uint8_t status[2];
    CU_ASSERT_EQUAL(mh_stage(m, 91, 92, "t", status), AW_OK);
    CU_ASSERT_EQUAL(mh_commit(m, "t"), AW_OK);
    CU_ASSERT_TRUE(pt_holds(db, 1, 92));
    mh_destroy(m);
    mh_destroy(owner);
    /* One kind does not become the other unasked. */
    m = pt_created(db, "owner");
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "set partition = \"monthly\""));
    mh_destroy(m);
    db = pt_database();
    m = pt_create(db, "owner", partitioned);
    CU_ASSERT_EQUAL(pt_migrate(m, 0, NULL, 0), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "partition = \"monthly\" is for a new table"));
    mh_destroy(m);
}

/* ---- staging ---- */

static void test_stage(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[100];
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
    CU_ASSERT_EQUAL(mh_stage(m, 1, 100, "a.1", status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_ACCEPTED));
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "0");
    CU_ASSERT_EQUAL(mh_stage(m, 1, 100, "a.1", status), AW_OK); /* anew */
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events_staged"), "100");
    CU_ASSERT_EQUAL(mh_stage(m, 101, 102, "b", status), AW_OK);
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "a.1 b");
    mh_destroy(m);
    pgc_stop(&pt_cluster, SIGKILL); /* what was staged survives both */
    pgc_start(&pt_cluster);
    m = pt_started(db, "writer");
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "a.1 b");
    CU_ASSERT_EQUAL(mh_commit(m, "a.1"), AW_OK);
    CU_ASSERT_EQUAL(mh_commit(m, "a.1"), AW_OK);
    CU_ASSERT_EQUAL(mh_commit(m, "never"), AW_OK);
    CU_ASSERT_EQUAL(mh_rollback(m, "b"), AW_OK);
    CU_ASSERT_EQUAL(mh_rollback(m, "b"), AW_OK);
    CU_ASSERT_STRING_EQUAL(mh_in_doubt(m), "");
    CU_ASSERT_TRUE(pt_holds(db, 1, 100));
    /* Duplicates are not staged; what the table would refuse is refused now. */
    pt_sql(db, "ALTER TABLE audit_events ADD CHECK (seq <> 105) NOT VALID");
    CU_ASSERT_EQUAL(mh_stage(m, 98, 107, "c", status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_DUPLICATE));
    CU_ASSERT_TRUE(mh_all(status + 3, 4, AW_EVENT_ACCEPTED));
    CU_ASSERT_EQUAL(status[7], AW_EVENT_REJECTED);
    CU_ASSERT_TRUE(mh_all(status + 8, 2, AW_EVENT_ACCEPTED));
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events_staged"), "6");
    CU_ASSERT_EQUAL(mh_write(m, 101, 102, 0, NULL), AW_OK); /* in another way, meanwhile */
    CU_ASSERT_EQUAL(mh_commit(m, "c"), AW_OK);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "106");
    /* The server away: try again later. */
    CU_ASSERT_EQUAL(mh_stage(m, 201, 210, "d", status), AW_OK);
    pgc_stop(&pt_cluster, SIGKILL);
    CU_ASSERT_EQUAL(mh_commit(m, "d"), AW_E_UNAVAILABLE);
    pgc_start(&pt_cluster);
    CU_ASSERT_EQUAL(mh_commit(m, "d"), AW_OK);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events WHERE seq > 200"), "10");
    mh_destroy(m);
    pt_sql(db, "REVOKE DELETE ON audit_events_staged FROM writer");
    m = pt_started(db, "writer");
    CU_ASSERT_EQUAL(mh_stage(m, 301, 302, "e", status), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "GRANT INSERT, SELECT, DELETE ON \"public\".\"audit_events_staged\""));
    CU_ASSERT_EQUAL(mh_write(m, 301, 302, 0, status), AW_OK); /* writing is another matter */
    pt_sql(db, "DROP TABLE audit_events_staged");
    CU_ASSERT_EQUAL(mh_stage(m, 303, 304, "e", status), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "audit_events_staged: there is no such table"));
    mh_destroy(m);
}

/* ---- retention ---- */

#define DAY INT64_C(86400000000000)
#define EPOCH INT64_C(1735689600000000000) /* seq 1 of write_days() */

struct plan {
    struct aw_prune prunes[4];
    const struct aw_prune *list[4];
    size_t count, most; /* most: found() wants no more */
};

static int32_t keep_prune(void *arg, const struct aw_prune *p)
{
    struct plan *plan = arg;
    plan->prunes[plan->count] = *p;
    plan->list[plan->count] = &plan->prunes[plan->count];
    return ++plan->count == plan->most;
}

static int32_t make_plan(struct mh_instance *m, int64_t before, struct plan *plan)
{
    const struct aw_sink_retention *ext = m->class->extension(m->sink, AW_EXT_SINK_RETENTION);
    *plan = (struct plan){.most = 4};
    return ext->plan(m->sink, before, keep_prune, plan);
}

static int32_t do_prune(struct mh_instance *m, const struct plan *plan, uint64_t *removed)
{
    const struct aw_sink_retention *ext = m->class->extension(m->sink, AW_EXT_SINK_RETENTION);
    return ext->prune(m->sink, plan->list, plan->count, removed);
}

static void test_retention(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *owner = pt_created(db, "owner");
    struct plan plan;
    uint64_t removed;
    CU_ASSERT_EQUAL(make_plan(owner, EPOCH, &plan), AW_OK);
    CU_ASSERT_EQUAL(plan.count, 0);
    write_days(m, 1, 200);
    pt_sql(db, "UPDATE audit_events SET stream = 3 WHERE seq IN (10, 20, 30)"); /* of another slot */
    CU_ASSERT_EQUAL(make_plan(owner, EPOCH, &plan), AW_OK);
    CU_ASSERT_EQUAL(plan.count, 2);
    CU_ASSERT_TRUE(plan.prunes[0].count == 0 && plan.prunes[0].keep_seq == 1);
    CU_ASSERT_EQUAL(make_plan(owner, EPOCH + 100 * DAY, &plan), AW_OK); /* seq 1 to 100 */
    const struct aw_prune *p = &plan.prunes[0];
    CU_ASSERT_TRUE(p->stream == 0 && p->count == 97 && p->first_seq == 1 && p->last_seq == 100 && p->keep_seq == 101);
    CU_ASSERT_TRUE(p->first_ns == EPOCH && p->last_ns == EPOCH + 99 * DAY && p->keep_ns == EPOCH + 100 * DAY);
    CU_ASSERT_TRUE(p->bytes > 97 * 500);
    struct aw_event *keep = mh_event(101);
    CU_ASSERT_EQUAL(strlen(p->keep_hash), 64);
    CU_ASSERT_PTR_NOT_NULL(strstr(keep->json, p->keep_hash));
    mh_event_free(keep);
    p = &plan.prunes[1]; /* its newest stays */
    CU_ASSERT_TRUE(p->stream == 3 && p->count == 2 && p->first_seq == 10 && p->last_seq == 20 && p->keep_seq == 30);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "200");
    /* A stream that is not what it was is left alone. */
    plan.prunes[0].keep_hash[5] ^= 1;
    CU_ASSERT_EQUAL(do_prune(owner, &plan, &removed), AW_OK);
    CU_ASSERT_EQUAL(removed, 2);
    CU_ASSERT_TRUE(mh_logged(owner, "nothing of stream 0 is removed"));
    plan.prunes[0].keep_hash[5] ^= 1;
    CU_ASSERT_EQUAL(do_prune(owner, &plan, &removed), AW_OK);
    CU_ASSERT_EQUAL(removed, 97);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events WHERE seq <= 100"), "1");
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "101");
    /* One that is young holds back all behind it; one of the future does not. */
    char sql[200];
    snprintf(sql, sizeof sql, "UPDATE audit_events SET occurred_ns = %" PRId64 " WHERE seq = 110",
             (int64_t)m->host.now_ns() + DAY);
    pt_sql(db, sql);
    pt_sql(db, "UPDATE audit_events SET occurred_ns = 1767000000000000000 WHERE seq = 120");
    CU_ASSERT_EQUAL(make_plan(owner, EPOCH + 150 * DAY, &plan), AW_OK);
    CU_ASSERT_TRUE(plan.prunes[0].count == 19 && plan.prunes[0].keep_seq == 120);
    CU_ASSERT_EQUAL(do_prune(owner, &plan, &removed), AW_OK);
    CU_ASSERT_EQUAL(removed, 19);
    plan = (struct plan){.most = 1};
    const struct aw_sink_retention *ext = m->class->extension(m->sink, AW_EXT_SINK_RETENTION);
    CU_ASSERT_EQUAL(ext->plan(owner->sink, EPOCH, keep_prune, &plan), AW_OK);
    CU_ASSERT_EQUAL(plan.count, 1);
    /* It needs the right to. */
    mh_destroy(owner);
    CU_ASSERT_EQUAL(make_plan(m, EPOCH, &plan), AW_E_CONFIG);
    CU_ASSERT_TRUE(says(m, "permission denied"));
    mh_destroy(m);
}

static void test_retention_partitions(void)
{
    const char *db = partitioned_database();
    struct mh_instance *m = pt_started(db, "writer"), *owner = pt_create(db, "owner", partitioned);
    struct plan plan;
    uint64_t removed;
    uint8_t status;
    write_days(m, 1, 365);
    CU_ASSERT_EQUAL(pt_migrate(owner, 0, NULL, 0), AW_OK);
    /* A late event says to be of February, and an early one of October. */
    struct aw_event *late = mh_event(366), *early = mh_event(50);
    late->numbers[AW_NUMBER_OCCURRED_NS - AW_NUMBER_SEQ] = (uint64_t)(EPOCH + 40 * DAY);
    early->numbers[AW_NUMBER_OCCURRED_NS - AW_NUMBER_SEQ] = (uint64_t)(EPOCH + 300 * DAY);
    pt_sql(db, "DELETE FROM audit_events WHERE seq = 50");
    CU_ASSERT_EQUAL(mh_write_events(m, &late, 1, 0, 0, &status), AW_OK);
    CU_ASSERT_EQUAL(mh_write_events(m, &early, 1, 0, 0, &status), AW_OK);
    CU_ASSERT_EQUAL(make_plan(owner, EPOCH + 100 * DAY, &plan), AW_OK);
    CU_ASSERT_TRUE(plan.count == 1 && plan.prunes[0].keep_seq == 50); /* for the early one is young */
    pt_sql(db, "UPDATE audit_events SET occurred_ns = 0 WHERE seq = 50");
    CU_ASSERT_EQUAL(make_plan(owner, EPOCH + 100 * DAY, &plan), AW_OK); /* three months and ten days */
    CU_ASSERT_TRUE(plan.prunes[0].count == 100 && plan.prunes[0].keep_seq == 101 && plan.prunes[0].bytes > 100 * 500);
    /* A reader in the way of one: there rows are deleted instead. */
    PGconn *reader = pgc_connect(&pt_cluster, db);
    PQclear(PQexec(reader, "BEGIN; SELECT count(*) FROM audit_events_2025_01"));
    CU_ASSERT_EQUAL(do_prune(owner, &plan, &removed), AW_OK);
    PQfinish(reader);
    CU_ASSERT_EQUAL(removed, 100);
    static const char left[] =
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('audit_events_2025_01', "
        "'audit_events_2025_02', 'audit_events_2025_03', 'audit_events_2025_04')";
    CU_ASSERT_STRING_EQUAL(pt_sql(db, left), "audit_events_2025_01 audit_events_2025_04");
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT string_agg(seq::text, ' ') FROM audit_events_default"), "366");
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT min(seq) || ' ' || count(*) FROM audit_events"), "101 266");
    CU_ASSERT_EQUAL(mh_write_events(m, &early, 1, 0, 0, &status), AW_OK); /* the writer's statements are still good */
    mh_event_free(late);
    mh_event_free(early);
    mh_destroy(owner);
    mh_destroy(m);
}

PT_MAIN("sink_postgres_stores", {"queries in both directions", test_query}, {"filters", test_filters},
        {"cursors", test_cursor}, {"following", test_follow}, {"migrate makes the table", test_migrate},
        {"migrate brings an old table up to date", test_old_table}, {"monthly partitions", test_partitions},
        {"stage, commit, rollback", test_stage}, {"retention", test_retention},
        {"retention drops partitions", test_retention_partitions})
