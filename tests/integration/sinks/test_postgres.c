/* test_postgres.c - the postgres sink on a real server: rows, statuses, rights. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"
#include "postgres_support.h"

static void test_rows(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[3000];
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(m->class->durability, AW_DURABLE_ON_WRITE);
    CU_ASSERT_EQUAL(m->class->flags, AW_SINK_REMOTE);
    for (uint64_t from = 1, n = 1; from + n < 3000; from += n, n = n * 3 + 1) { /* 1, 4, 13, 40... rows: each method */
        CU_ASSERT_EQUAL(mh_write(m, from, from + n - 1, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, n, AW_EVENT_DURABLE));
        CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
        CU_ASSERT_EQUAL(seq, from + n - 1);
    }
    CU_ASSERT_TRUE(pt_holds(db, 1, seq));
    CU_ASSERT_EQUAL(mh_metric(m, "postgres_duplicates_total"), 0);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, seq + 1, seq + 1, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_TRUE(pt_holds(db, 1, seq + 1));
    mh_destroy(m);
}

static void test_columns(void)
{
    const char *db = pt_database();
    for (int rows = 1; rows <= 3; rows += 2) { /* by INSERT, by COPY */
        struct mh_instance *m = pt_started(db, "writer");
        struct aw_event *e[] = {mh_event(7), mh_event(8), mh_event(9)};
        uint8_t status[3];
        mh_event_set(e[0], AW_FIELD_ACTOR_ROLES, "[\"admin\",\"a\\\\b\\\"c\\u0001\",\"caf\xc3\xa9\"]");
        mh_event_set(e[0], AW_FIELD_RETENTION_TAG, "r7y");
        e[0]->fields[AW_FIELD_ACTOR_DISPLAY_NAME] = (struct aw_str){"a\0b", 3};
        e[0]->numbers[AW_NUMBER_DIFF_TRUNCATED - AW_NUMBER_SEQ] = 1;
        e[0]->numbers[AW_NUMBER_OCCURRED_NS - AW_NUMBER_SEQ] = (uint64_t)-5;
        mh_event_set(e[0], AW_FIELD_DIFF, "{\"a\\\\\\u0000\":\"x\\u0000y\",\"b\":\"\\\\u0000\",\"n\":1e+308}");
        e[0]->numbers[AW_NUMBER_STREAM - AW_NUMBER_SEQ] = 12;
        CU_ASSERT_EQUAL(mh_write_events(m, e, (size_t)rows, 0, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, (size_t)rows, AW_EVENT_DURABLE));
        mh_destroy(m);
        static const char *const want[][2] = {
            {"event_id", "01890a5d-ac96-774b-bcce-000000000007"},
            {"seq", "7"},
            {"stream", "12"},
            {"scope", "tenant:tnt_3"},
            {"schema_version", "1"},
            {"occurred_ns", "-5"},
            {"extract(epoch FROM occurred_at) * 1000000", "-1.000000"},
            {"action", "document.read"},
            {"outcome", "SUCCESS"},
            {"actor_id", "usr_7"},
            {"actor_type", "user"},
            {"actor_display_name = 'a' || U&'\\FFFD' || 'b'", "t"},
            {"array_length(actor_roles, 1)", "3"},
            {"actor_roles[1]", "admin"},
            {"actor_roles[2] = 'a\\b\"c' || chr(1)", "t"},
            {"actor_roles[3]", "caf\xc3\xa9"},
            {"actor_ip", "10.0.0.1"},
            {"actor_user_agent IS NULL", "t"},
            {"target_id", "obj_00000007"},
            {"target_type", "document"},
            {"target_display_name IS NULL", "t"},
            {"tenant_id", "tnt_3"},
            {"org_id IS NULL", "t"},
            {"target->>'type'", "document"},
            {"context->>'tenantId'", "tnt_3"},
            {"metadata->>'reason' LIKE 'caf%'", "t"},
            {"diff->>'b'", "\\u0000"},
            {"diff->>(E'a\\\\' || U&'\\FFFD') = 'x' || U&'\\FFFD' || 'y'", "t"},
            {"(diff->>'n')::float8", "1e+308"},
            {"integrity->>'seq'", "7"},
            {"retention_tag", "r7y"},
            {"metadata_truncated", "f"},
            {"diff_truncated", "t"},
            {"octet_length(canonical)", NULL},
        };
        char sql[300], len[16];
        snprintf(len, sizeof len, "%zu", e[0]->json_len);
        for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
            snprintf(sql, sizeof sql, "SELECT %s FROM audit_events WHERE seq = 7", want[i][0]);
            const char *got = pt_sql(db, sql), *expected = want[i][1] != NULL ? want[i][1] : len;
            CU_ASSERT_STRING_EQUAL(got, expected);
            if (strcmp(got, expected) != 0)
                harness_note("%d rows: %s = %s", rows, want[i][0], got);
        }
        CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT convert_from(canonical, 'UTF8') FROM audit_events WHERE seq = 7"),
                               e[0]->json);
        pt_sql(db, "TRUNCATE audit_events");
        for (int i = 0; i < 3; i++)
            mh_event_free(e[i]);
    }
}

static void test_duplicates(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *other = pt_started(db, "writer");
    uint8_t status[400];
    CU_ASSERT_EQUAL(mh_write(m, 1, 100, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(other, 51, 350, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 50, AW_EVENT_DUPLICATE));
    CU_ASSERT_TRUE(mh_all(status + 50, 250, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(mh_metric(other, "postgres_duplicates_total"), 50);
    CU_ASSERT_EQUAL(mh_write(other, 1, 1, 0, status), AW_OK); /* alone */
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DUPLICATE);
    CU_ASSERT_EQUAL(mh_write(other, 1, 350, 0, status), AW_OK); /* all */
    CU_ASSERT_TRUE(mh_all(status, 350, AW_EVENT_DUPLICATE));
    CU_ASSERT_EQUAL(mh_write(other, 351, 360, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    struct aw_event *twice[] = {mh_event(400), mh_event(400), mh_event(401), mh_event(402)};
    CU_ASSERT_EQUAL(mh_write_events(m, twice, 4, 0, 0, status), AW_OK); /* in one batch */
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(status[1], AW_EVENT_DUPLICATE);
    CU_ASSERT_EQUAL(status[3], AW_EVENT_DURABLE);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) || ' ' || count(DISTINCT event_id) FROM audit_events"),
                           "363 363");
    for (int i = 0; i < 4; i++)
        mh_event_free(twice[i]);
    mh_destroy(m);
    mh_destroy(other);
}

/* Ids may hold U+0000, which no column can: they stay different. */
static void test_ids(void)
{
    static const struct {
        const char *id;
        size_t len;
    } ids[] = {{"a\0", 2}, {"a", 1},  {"a\\0", 3}, {"a\0b", 3},  {"a\xef\xbf\xbd", 4},
               {"\\0", 2}, {"\0", 1}, {"a\0.", 3}, {"a\0\\.", 4}};
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    struct aw_event *e[9];
    uint8_t status[9];
    for (int again = 0; again < 2; again++) {
        for (uint64_t i = 0; i < 9; i++) {
            e[i] = mh_event(i + 1);
            e[i]->fields[AW_FIELD_EVENT_ID] = (struct aw_str){ids[i].id, ids[i].len};
        }
        CU_ASSERT_EQUAL(mh_write_events(m, e, 9, 0, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 9, again ? AW_EVENT_DUPLICATE : AW_EVENT_DURABLE));
        for (int i = 0; i < 9; i++)
            mh_event_free(e[i]);
    }
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events WHERE octet_length(event_id) > 128"), "5");
    mh_destroy(m);
}

/* S15: whatever is wrong with a row, it goes alone. */
static void test_poison(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[300];
    pt_sql(db, "ALTER TABLE audit_events ADD CHECK (outcome <> 'DENIED')");
    CU_ASSERT_EQUAL(mh_write(m, 1, 300, 0, status), AW_OK); /* every tenth is DENIED */
    for (uint64_t i = 1; i <= 300; i++)
        CU_ASSERT_EQUAL(status[i - 1], i % 10 == 0 ? AW_EVENT_REJECTED : AW_EVENT_DURABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "violates check constraint"));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "SQLSTATE 23514"));
    CU_ASSERT_PTR_NULL(strstr(m->event_error, "usr_")); /* nothing of the row */
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "270");
    CU_ASSERT_EQUAL(mh_write(m, 310, 310, 0, status), AW_OK); /* alone */
    CU_ASSERT_EQUAL(status[0], AW_EVENT_REJECTED);
    CU_ASSERT_EQUAL(mh_write(m, 300, 303, 0, status), AW_OK); /* the first */
    CU_ASSERT_EQUAL(status[0], AW_EVENT_REJECTED);
    CU_ASSERT_TRUE(mh_all(status + 1, 3, AW_EVENT_DURABLE));
    mh_destroy(m);

    /* A trigger that raises, one that drops silently, a deferred constraint, and another unique column. */
    pt_sql(db,
           "ALTER TABLE audit_events DROP CONSTRAINT audit_events_outcome_check; TRUNCATE audit_events;"
           "CREATE FUNCTION mind() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
           "IF NEW.seq = 5 THEN RAISE EXCEPTION 'not five'; END IF; "
           "IF NEW.seq = 6 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
           "CREATE TRIGGER mind BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION mind();"
           "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
           "IF NEW.seq = 7 THEN RAISE EXCEPTION USING ERRCODE = '23000', MESSAGE = 'late'; END IF; RETURN NULL; END $$;"
           "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED "
           "FOR EACH ROW EXECUTE FUNCTION late();"
           "CREATE UNIQUE INDEX ON audit_events (target_id) WHERE seq IN (8, 9);");
    m = pt_started(db, "writer");
    struct aw_event *e[12];
    for (uint64_t i = 0; i < 12; i++)
        e[i] = mh_event(i + 1);
    mh_event_set(e[8], AW_FIELD_TARGET_ID, "obj_00000008");
    CU_ASSERT_EQUAL(mh_write_events(m, e, 12, 0, 0, status), AW_OK);
    for (int i = 0; i < 12; i++) {
        bool bad = i == 4 || i == 5 || i == 6 || i == 8;
        CU_ASSERT_EQUAL(status[i], bad ? AW_EVENT_REJECTED : AW_EVENT_DURABLE);
    }
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM audit_events"),
                           "1 2 3 4 8 10 11 12");
    for (int i = 0; i < 12; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
}

/* A trigger that drops a row without a word, and nothing else: COPY succeeds, and the row is not there. */
static void test_dropped(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[20];
    pt_sql(db,
           "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.seq = 6 THEN RETURN NULL; "
           "END IF; RETURN NEW; END $$; CREATE TRIGGER drop_it BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE "
           "FUNCTION drop_it()");
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, status), AW_OK);
    for (int i = 0; i < 20; i++) /* the others are found to be there already, which is as good */
        CU_ASSERT_TRUE(i == 5 ? status[i] == AW_EVENT_REJECTED
                              : status[i] == AW_EVENT_DURABLE || status[i] == AW_EVENT_DUPLICATE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "keeps the row out"));
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "19");
    mh_destroy(m);
}

static void test_large(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    struct aw_event *e[40];
    uint8_t status[40];
    char *tenant = malloc(5001);
    for (int i = 0; i < 5000; i++)
        tenant[i] = (char)('a' + i % 23 * 7 % 26);
    tenant[5000] = '\0';
    for (uint64_t i = 0; i < 40; i++)
        e[i] = mh_event_sized(i + 1, 1 << 20);
    mh_event_set(e[3], AW_FIELD_TENANT_ID, tenant); /* longer than an index takes */
    mh_event_set(e[3], AW_FIELD_ACTOR_ID, tenant);
    CU_ASSERT_EQUAL(mh_write_events(m, e, 40, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 40, AW_EVENT_DURABLE));
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT length(tenant_id) FROM audit_events WHERE seq = 4"), "800");
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events WHERE octet_length(canonical) > 1000000"),
                           "40");
    CU_ASSERT_EQUAL(mh_write_events(m, e, 40, 0, 0, status), AW_OK); /* by INSERT */
    CU_ASSERT_TRUE(mh_all(status, 40, AW_EVENT_DUPLICATE));
    struct aw_query q;
    mh_query_init(&q);
    q.tenant_id = (struct aw_str){tenant, 5000};
    struct mh_instance *r = pt_created(db, "reader");
    struct mh_rows rows = mh_read(r, &q, 100);
    CU_ASSERT_EQUAL(rows.count, 1);
    CU_ASSERT_EQUAL(rows.first_seq, 4);
    mh_query_init(&q);
    rows = mh_read(r, &q, 100);
    CU_ASSERT_EQUAL(rows.count, 40);
    mh_destroy(r);
    for (int i = 0; i < 40; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    free(tenant);
}

static void test_encode_fails(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    struct aw_event *e[5];
    uint8_t status[5];
    for (uint64_t i = 0; i < 5; i++)
        e[i] = mh_event(i + 1);
    for (size_t n = 1; n <= 5; n += 4) {
        e[n - 1]->encode_code = AW_E_NOMEM;
        CU_ASSERT_EQUAL(mh_write_events(m, e, n, 0, 0, status), AW_E_NOMEM);
        CU_ASSERT_TRUE(mh_all(status, n, AW_EVENT_UNKNOWN));
        e[n - 1]->encode_code = AW_OK;
    }
    CU_ASSERT_STRING_EQUAL(pt_sql(db, "SELECT count(*) FROM audit_events"), "0");
    CU_ASSERT_EQUAL(mh_write_events(m, e, 5, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 5, AW_EVENT_DURABLE));
    for (int i = 0; i < 5; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
}

/* What the role that writes may not do. */
static void test_rights(void)
{
    const char *db = pt_database();
    static const char *const forbidden[] = {"SELECT canonical FROM audit_events",
                                            "SELECT seq FROM audit_events",
                                            "DELETE FROM audit_events",
                                            "UPDATE audit_events SET seq = 1",
                                            "TRUNCATE audit_events",
                                            "ALTER TABLE audit_events ADD x int",
                                            "DELETE FROM audit_events WHERE event_id = 'x'"};
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        char sql[300];
        snprintf(sql, sizeof sql,
                 "DO $$ BEGIN SET LOCAL ROLE writer; %s%s; RAISE 'allowed'; EXCEPTION WHEN insufficient_privilege THEN "
                 "NULL; END $$",
                 strncmp(forbidden[i], "SELECT", 6) == 0 ? "PERFORM" : "",
                 strncmp(forbidden[i], "SELECT", 6) == 0 ? forbidden[i] + 6 : forbidden[i]);
        pt_sql(db, sql); /* bails out when it was allowed */
    }
    struct mh_instance *m = pt_started(db, "writer");
    CU_ASSERT_EQUAL(mh_write(m, 1, 50, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).code, AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "may write and not read"));
    mh_destroy(m);
    m = pt_created(db, "reader");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "role reader may not insert: GRANT INSERT, SELECT (event_id) ON "
                                            "\"public\".\"audit_events\""));
    CU_ASSERT_EQUAL(mh_read(m, NULL, 10).count, 50);
    mh_destroy(m);
    pt_sql(db, "REVOKE SELECT (event_id) ON audit_events FROM writer");
    m = pt_created(db, "writer");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "read the key"));
    mh_destroy(m);
    /* Row security forbids COPY, and nothing else. */
    pt_sql(db, "GRANT SELECT (event_id) ON audit_events TO writer; ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY; "
               "CREATE POLICY add ON audit_events FOR INSERT TO writer WITH CHECK (outcome <> 'DENIED'); CREATE POLICY "
               "see ON audit_events FOR SELECT TO writer USING (true)");
    uint8_t status[20];
    m = pt_started(db, "writer");
    CU_ASSERT_EQUAL(mh_write(m, 51, 60, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 9, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(status[9], AW_EVENT_REJECTED);
    mh_destroy(m);
}

static void test_fork(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    int status;
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    const char *sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'writer'";
    pid_t pid = fork();
    if (pid == 0) {
        m->class->after_fork(m->sink);
        m->class->destroy(m->sink);
        _exit(0);
    }
    CU_ASSERT_TRUE(waitpid(pid, &status, 0) == pid && status == 0);
    CU_ASSERT_STRING_EQUAL(pt_sql(db, sessions), "1");
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, NULL), AW_OK); /* on the same session */
    CU_ASSERT_EQUAL(mh_metric(m, "postgres_connects_total"), 1);
    CU_ASSERT_TRUE(pt_holds(db, 1, 20));
    mh_destroy(m);
}

PT_MAIN("sink_postgres", {"rows are stored and durable", test_rows}, {"columns", test_columns},
        {"duplicates by event id", test_duplicates}, {"ids with U+0000 stay apart", test_ids},
        {"one poisoned row goes alone", test_poison}, {"a row that is dropped silently", test_dropped},
        {"large events", test_large}, {"an event that cannot be rendered", test_encode_fails},
        {"an insert-only role is enough", test_rights}, {"a forked child leaves the session alone", test_fork})
