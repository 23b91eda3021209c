/* test_postgres_faults.c - the postgres sink when the server, the way to it, or its administrator misbehaves.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "minihost.h"
#include "postgres_support.h"

#define SECOND UINT64_C(1000000000)

static bool says(const struct mh_instance *m, const char *text)
{
    bool there = strstr(m->error, text) != NULL;
    if (!there)
        harness_note("expected \"%s\" in: %d %s", text, m->error_code, m->error);
    return there;
}

static int32_t write_until(struct mh_instance *m, uint64_t from, uint64_t to, uint64_t ns, uint8_t *status)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **e = calloc(n, sizeof *e);
    for (size_t i = 0; i < n; i++)
        e[i] = mh_event(from + i);
    int32_t r = mh_write_events(m, e, n, 0, m->host.mono_ns() + ns, status);
    for (size_t i = 0; i < n; i++)
        mh_event_free(e[i]);
    free(e);
    return r;
}

/* ---- the server ---- */

static void test_restart(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[100];
    for (int i = 0; i < 3; i++) {
        static const int how[] = {SIGINT, SIGQUIT, SIGKILL};
        uint64_t at = (uint64_t)i * 200 + 1;
        CU_ASSERT_EQUAL(mh_write(m, at, at + 99, 0, NULL), AW_OK);
        pgc_stop(&pt_cluster, how[i]);
        CU_ASSERT_EQUAL(mh_write(m, at + 100, at + 199, 0, status), AW_E_UNAVAILABLE);
        CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_UNKNOWN));
        struct aw_health health = {.struct_size = sizeof health};
        m->class->health(m->sink, &health);
        CU_ASSERT_EQUAL(health.state, AW_HEALTH_DOWN);
        CU_ASSERT_TRUE(health.detail[0] != '\0');
        pgc_start(&pt_cluster);
        CU_ASSERT_EQUAL(mh_write(m, at + 100, at + 199, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_DURABLE));
        m->class->health(m->sink, &health);
        CU_ASSERT_EQUAL(health.state, AW_HEALTH_OK);
    }
    /* Restarted while nothing was written: noticed before the next batch, which loses no time. */
    pgc_stop(&pt_cluster, SIGINT);
    pgc_start(&pt_cluster);
    CU_ASSERT_EQUAL(mh_write(m, 601, 700, 0, status), AW_OK);
    CU_ASSERT_TRUE(pt_holds(db, 1, 700));
    mh_destroy(m);
    /* start() while it is down is no wrong setting. */
    pgc_stop(&pt_cluster, SIGINT);
    m = pt_created(db, "writer");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_UNAVAILABLE);
    pgc_start(&pt_cluster);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    mh_destroy(m);
}

struct killer {
    atomic_bool done;
    const char *db;
    int sig; /* 0: only the backend */
    unsigned ms;
};

static void *kill_later(void *arg)
{
    struct killer *k = arg;
    struct timespec t = {0, (long)k->ms * 1000000};
    nanosleep(&t, NULL);
    if (k->sig != 0) {
        pgc_stop(&pt_cluster, k->sig);
    } else {
        PGconn *pg = pgc_connect(&pt_cluster, k->db);
        PQclear(PQexec(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'"));
        PQfinish(pg);
    }
    atomic_store(&k->done, true);
    return NULL;
}

/* Killed in the middle of batches, again and again: each event is there once. */
static void test_killed_under_load(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    int rounds = harness_slow() ? 6 : 12, interrupted = 0;
    uint64_t seq = 0;
    uint8_t status[500];
    for (int round = 0; round < rounds; round++) {
        struct killer k = {false, db,
                           round % 3 == 0   ? SIGKILL
                           : round % 3 == 1 ? SIGQUIT
                                            : 0,
                           (unsigned)(5 + round * 7 % 60)};
        pthread_t thread;
        bool failed = false;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kill_later, &k), 0);
        for (int more = 0; !failed && more < 3; more += atomic_load(&k.done)) { /* idle when it came: no failure */
            failed = mh_write(m, seq + 1, seq + 500, 0, status) != AW_OK;
            seq += failed ? 0 : 500;
        }
        pthread_join(thread, NULL);
        if (k.sig != 0)
            pgc_start(&pt_cluster); /* here: it ends with the thread that started it */
        interrupted += failed;
        while (failed && mh_write(m, seq + 1, seq + 500, 0, status) != AW_OK)
            usleep(20000);
        seq += failed ? 500 : 0;
        for (int i = 0; failed && i < 500; i++)
            CU_ASSERT_TRUE(status[i] == AW_EVENT_DURABLE || status[i] == AW_EVENT_DUPLICATE);
    }
    CU_ASSERT_TRUE(interrupted > 0);
    harness_note("%d of %d kills in the middle, %llu events", interrupted, rounds, (unsigned long long)seq);
    CU_ASSERT_TRUE(pt_holds(db, 1, seq));
    mh_destroy(m);
}

/* All of the server stops moving: the call is back by its deadline, so is connecting. */
static void test_hung(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer"), *late = PT(db, "writer", "connect_timeout", "300ms");
    uint8_t status[2000];
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    pgc_signal_all(&pt_cluster, SIGSTOP);
    for (int i = 0; i < 2; i++) {
        uint64_t t = m->host.mono_ns();
        CU_ASSERT_EQUAL(write_until(m, 11, i ? 12 : 2000, SECOND / 2, status), AW_E_TIMEOUT);
        t = m->host.mono_ns() - t;
        CU_ASSERT_TRUE(t >= SECOND * 4 / 10 && t < SECOND * 10);
        CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_UNKNOWN));
    }
    CU_ASSERT_EQUAL(mh_start(late), AW_E_TIMEOUT);
    pgc_signal_all(&pt_cluster, SIGCONT);
    CU_ASSERT_EQUAL(mh_start(late), AW_OK);
    while (mh_write(m, 11, 2000, 0, status) != AW_OK) /* the first try may still hold its rows */
        usleep(20000);
    CU_ASSERT_TRUE(pt_holds(db, 1, 2000));
    mh_destroy(m);
    mh_destroy(late);
}

/* Somebody locks the table: the server gives up first, and the deadline holds without it. */
static void test_locked(void)
{
    const char *db = pt_database();
    struct mh_instance *m = PT(db, "writer", "lock_timeout", "200ms");
    uint8_t status[10];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    PGconn *pg = pgc_connect(&pt_cluster, db);
    PQclear(PQexec(pg, "BEGIN; LOCK TABLE audit_events"));
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_E_RETRY);
    CU_ASSERT_TRUE(says(m, "SQLSTATE 55P03"));
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, status), AW_E_RETRY);
    mh_destroy(m);
    m = PT(db, "writer", "lock_timeout", "0s", "statement_timeout", "300ms");
    PQclear(PQexec(pg, "COMMIT"));
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    PQclear(PQexec(pg, "BEGIN; LOCK TABLE audit_events"));
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_E_TIMEOUT);
    CU_ASSERT_TRUE(says(m, "SQLSTATE 57014"));
    mh_destroy(m);
    m = PT(db, "writer", "lock_timeout", "0s", "statement_timeout", "0s");
    PQclear(PQexec(pg, "COMMIT"));
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    PQclear(PQexec(pg, "BEGIN; LOCK TABLE audit_events"));
    CU_ASSERT_EQUAL(write_until(m, 1, 10, SECOND / 4, status), AW_E_TIMEOUT);
    CU_ASSERT_TRUE(says(m, "the deadline passed"));
    /* What waits there for the lock ends by itself: the server looks for its client. */
    bool gone = false;
    for (int i = 0; !gone && i < 500; i++) {
        gone = strcmp(pt_sql(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'writer' AND datname = "
                                 "current_database()"),
                      "0") == 0;
        usleep(gone ? 0 : 20000);
    }
    CU_ASSERT_TRUE(gone);
    PQclear(PQexec(pg, "COMMIT"));
    PQfinish(pg);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    mh_destroy(m);
    CU_ASSERT_TRUE(pt_holds(db, 1, 10));
}

/* A trigger says what the server would: each state its class. Raised `times`, then no more. */
static void raise_state(const char *db, const char *state)
{
    char sql[600];
    snprintf(sql, sizeof sql,
             "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.seq %% 10 = 5 THEN "
             "RAISE EXCEPTION USING ERRCODE = '%s', MESSAGE = 'as if'; END IF; RETURN NEW; END $$; DROP TRIGGER IF "
             "EXISTS fail ON audit_events; CREATE TRIGGER fail BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE "
             "FUNCTION fail()",
             state);
    pt_sql(db, sql);
}

static void test_states(void)
{
    static const struct {
        const char *state;
        int32_t code;
    } cases[] = {{"40001", AW_E_RETRY},       {"40P01", AW_E_RETRY},       {"53100", AW_E_UNAVAILABLE},
                 {"53200", AW_E_RETRY},       {"53300", AW_E_UNAVAILABLE}, {"55P03", AW_E_RETRY},
                 {"57014", AW_E_TIMEOUT},     {"57P01", AW_E_UNAVAILABLE}, {"57P03", AW_E_UNAVAILABLE},
                 {"58030", AW_E_UNAVAILABLE}, {"08006", AW_E_UNAVAILABLE}, {"25006", AW_E_UNAVAILABLE},
                 {"42501", AW_E_CONFIG},      {"42P01", AW_E_CONFIG},      {"42703", AW_E_CONFIG},
                 {"28000", AW_E_CONFIG},      {"3D000", AW_E_CONFIG},      {"0A000", AW_E_CONFIG},
                 {"XX001", AW_E_UNAVAILABLE}, {"22P03", AW_E_CONFIG},      {"99999", AW_E_RETRY}};
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[10];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        raise_state(db, cases[i].state);
        for (uint64_t from = 1; from <= 5; from += 4) { /* COPY, and INSERT */
            int32_t r = mh_write(m, from, from == 5 ? 6 : 10, 0, status);
            CU_ASSERT_EQUAL(r, cases[i].code);
            if (r != cases[i].code)
                harness_note("%s: %d %s", cases[i].state, r, m->error);
            CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_UNKNOWN));
            CU_ASSERT_TRUE(says(m, cases[i].state));
        }
    }
    static const char *const rejected[] = {"22001", "23514", "22P02", "P0001", "23505", "54000"};
    for (size_t i = 0; i < sizeof rejected / sizeof rejected[0]; i++) {
        uint64_t from = 1 + i * 10;
        raise_state(db, rejected[i]);
        CU_ASSERT_EQUAL(mh_write(m, from, from + 9, 0, status), AW_OK);
        for (int k = 0; k < 10; k++)
            CU_ASSERT_EQUAL(status[k], k == 4 ? AW_EVENT_REJECTED : AW_EVENT_DURABLE);
    }
    mh_destroy(m);
}

/* Two transactions that cannot both have been first: a real 40001. */
static void test_serialization(void)
{
    const char *db = pt_database();
    uint8_t status[10];
    pt_sql(db, "CREATE TABLE other(n int); INSERT INTO other VALUES (0); GRANT ALL ON other TO writer;"
               "CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
               "current_setting('transaction_isolation') <> 'read committed' OR current_setting('synchronous_commit') "
               "<> 'on' THEN RAISE 'session'; END IF; UPDATE "
               "other SET n = n + 1; RETURN NULL; END $$; CREATE TRIGGER bump AFTER INSERT ON audit_events FOR EACH "
               "STATEMENT EXECUTE FUNCTION bump(); ALTER ROLE writer SET default_transaction_isolation = "
               "'serializable'; ALTER ROLE writer SET synchronous_commit = off");
    struct mh_instance *m = pt_started(db, "writer");
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK); /* read committed, whatever the role has */
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    mh_destroy(m);
    pt_sql(db, "ALTER ROLE writer RESET ALL");
}

/* The server's disk is full: a server that may not make files larger than this finds that out where a full disk would
 * tell it, extending the table. */
static void test_disk_full(void)
{
    const char *db = pt_database();
    struct mh_instance *m = pt_started(db, "writer");
    uint8_t status[500];
    pgc_stop(&pt_cluster, SIGINT);
    pt_cluster.file_limit = (2 << 20) + 100;
    pgc_start(&pt_cluster);
    int32_t r = AW_OK;
    uint64_t seq = 0;
    for (int i = 0; r == AW_OK && i < 40; i++) {
        r = mh_write(m, seq + 1, seq + 500, 0, status);
        seq += r == AW_OK ? 500 : 0;
    }
    CU_ASSERT_EQUAL(r, AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(seq > 0);
    CU_ASSERT_TRUE(says(m, "SQLSTATE 53100"));
    CU_ASSERT_TRUE(says(m, "disk is full"));
    CU_ASSERT_TRUE(mh_all(status, 500, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(mh_write(m, seq + 1, seq + 500, 0, status), AW_E_UNAVAILABLE); /* and again */
    pgc_stop(&pt_cluster, SIGINT);
    pt_cluster.file_limit = 0;
    pgc_start(&pt_cluster);
    CU_ASSERT_EQUAL(mh_write(m, seq + 1, seq + 500, 0, status), AW_OK);
    CU_ASSERT_TRUE(pt_holds(db, 1, seq + 500));
    mh_destroy(m);
}

/* Every allocation fails once, ours and libpq's: an error, no crash, and nothing is lost or claimed. */
static void test_no_memory(void)
{
    const char *db = pt_database();
    uint8_t status[30];
    uint64_t seq = 0;
    long fired = 0;
    if (!inject_can(INJECT_MALLOC)) {
        harness_note("allocations cannot be made to fail under a sanitizer");
        return;
    }
    for (long n = 1; n < 4000; n += 1 + n / 40) {
        struct mh_instance *m = pt_created(db, "writer");
        inject_arm(INJECT_MALLOC, n, ENOMEM, false, false);
        int32_t r = mh_start(m);
        bool started = r == AW_OK;
        inject_disarm();
        bool hit = inject_fired();
        CU_ASSERT_TRUE(r == AW_OK || r == AW_E_NOMEM || r == AW_E_UNAVAILABLE);
        if (r != AW_OK && r != AW_E_NOMEM && r != AW_E_UNAVAILABLE)
            harness_note("start, allocation %ld: %d %s", n, r, m->error);
        if (started || mh_start(m) == AW_OK) {
            struct aw_event *e[30];
            for (uint64_t i = 0; i < 30; i++)
                e[i] = mh_event(seq + 1 + i);
            inject_arm(INJECT_MALLOC, n, ENOMEM, false, false);
            r = mh_write_events(m, e, 30, 0, 0, status);
            inject_disarm();
            hit = hit || inject_fired();
            CU_ASSERT_TRUE(mh_all(status, 30, r == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_UNKNOWN));
            CU_ASSERT_EQUAL(mh_write_events(m, e, 30, 0, 0, status), AW_OK);
            for (int i = 0; i < 30; i++) {
                CU_ASSERT_TRUE(status[i] == AW_EVENT_DURABLE || status[i] == AW_EVENT_DUPLICATE);
                mh_event_free(e[i]);
            }
            seq += 30;
        }
        fired += hit;
        mh_destroy(m);
        if (!hit)
            break;
    }
    CU_ASSERT_TRUE(fired > 10);
    harness_note("%ld failures of malloc()", fired);
    CU_ASSERT_TRUE(pt_holds(db, 1, seq));
}

/* ---- settings ---- */

static struct mh_instance *over_tcp(const char *db, const char *user, const char *const *more)
{
    const char *pairs[40] = {"host", "localhost", "port", pt_cluster.port, "dbname", db, "user", user};
    size_t n = 8;
    for (; *more != NULL && n < 38; more++)
        pairs[n++] = *more;
    struct mh_instance *m = mh_create("postgres", pairs);
    if (m == NULL)
        harness_note("create: %s", mh_last_error());
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}
#define TCP(db, user, ...) over_tcp(db, user, (const char *const[]){__VA_ARGS__, NULL})

static void start_fails(struct mh_instance *m, int32_t code, const char *text)
{
    int32_t r = mh_start(m);
    CU_ASSERT_EQUAL(r, code);
    if (r != code)
        harness_note("start: %d %s", r, m->error);
    CU_ASSERT_TRUE(says(m, text));
    CU_ASSERT_PTR_NULL(strstr(m->error, "s3cret"));
    CU_ASSERT_PTR_NULL(strstr(m->log, "s3cret"));
    mh_destroy(m);
}

static void test_tls(void)
{
    const char *db = pt_database();
    struct mh_instance *m =
        TCP(db, "writer", "password", "writer", "sslmode", "verify-full", "sslrootcert", pt_cluster.ca);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, NULL), AW_OK);
    CU_ASSERT_STRING_EQUAL(
        pt_sql(db, "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.usename = "
                   "'writer' AND datname = current_database()"),
        "1");
    mh_destroy(m);
    char ca[300], cert[300];
    snprintf(ca, sizeof ca, "%s/server.crt", pt_cluster.dir); /* not the authority that signed it */
    snprintf(cert, sizeof cert, "%s/none.crt", pt_cluster.dir);
    start_fails(TCP(db, "writer", "password", "writer", "sslmode", "verify-full", "sslrootcert", cert), AW_E_CONFIG,
                "none.crt");
    /* The certificate is for "localhost". */
    m = MH("postgres", "host", "127.0.0.1", "port", pt_cluster.port, "dbname", db, "user", "writer", "password",
           "writer", "sslmode", "verify-full", "sslrootcert", pt_cluster.ca);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    start_fails(m, AW_E_CONFIG, "sslrootcert must hold the authority");
    /* So it is checked by default, where the host is not seen to be this machine. */
    m = MH("postgres", "host", "::ffff:127.0.0.1", "port", pt_cluster.port, "dbname", db, "user", "writer", "password",
           "writer", "sslrootcert", pt_cluster.ca);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    start_fails(m, AW_E_CONFIG, "does not match host name");
    char other[400];
    snprintf(other, sizeof other,
             "cd '%s' && openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt -days 2 -subj "
             "/CN=other 2>/dev/null && chmod 644 other.crt",
             pt_cluster.dir);
    CU_ASSERT_EQUAL(system(other), 0);
    snprintf(ca, sizeof ca, "%s/other.crt", pt_cluster.dir);
    start_fails(TCP(db, "writer", "password", "writer", "sslmode", "verify-full", "sslrootcert", ca), AW_E_CONFIG,
                "certificate verify failed");
    start_fails(TCP(db, "writer", "password", "writer", "sslmode", "disable"), AW_E_CONFIG, "FATAL:  28000");
    /* Where a service or the environment names a host, they or audit.conf must say how it is checked. */
    setenv("PGHOST", "::ffff:127.0.0.1", 1); /* not seen to be this machine */
    m = MH("postgres", "port", pt_cluster.port, "dbname", db, "user", "writer");
    start_fails(m, AW_E_CONFIG, "set sslmode in audit.conf");
    unsetenv("PGHOST");
}

static void test_password(void)
{
    const char *db = pt_database();
    char pass[200], text[300];
    uint8_t status[10];
    pt_sql(NULL, "ALTER ROLE writer PASSWORD 'new'");
    struct mh_instance *m = TCP(db, "writer", "password", "s3cret", "sslmode", "require");
    start_fails(m, AW_E_CONFIG, "28P01");
    m = TCP(db, "writer", "sslmode", "require");
    start_fails(m, AW_E_CONFIG, "set password");
    snprintf(pass, sizeof pass, "%s/pgpass", harness_tmpdir());
    snprintf(text, sizeof text, "*:*:*:writer:new\n");
    mh_spew(pass, text, strlen(text));
    chmod(pass, 0600);
    m = TCP(db, "writer", "passfile", pass, "sslmode", "require");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    /* The password changes, and the server is restarted: the events wait. */
    pt_sql(NULL, "ALTER ROLE writer PASSWORD 'newer'");
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, NULL), AW_OK); /* the session goes on */
    pgc_stop(&pt_cluster, SIGINT);
    pgc_start(&pt_cluster);
    CU_ASSERT_EQUAL(mh_write(m, 21, 30, 0, status), AW_E_CONFIG);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    CU_ASSERT_TRUE(says(m, "password authentication failed"));
    CU_ASSERT_TRUE(says(m, "mend user and password"));
    CU_ASSERT_PTR_NULL(strstr(m->error, "newer"));
    snprintf(text, sizeof text, "*:*:*:writer:newer\n");
    mh_spew(pass, text, strlen(text));
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 21, 30, 0, status), AW_OK);
    CU_ASSERT_TRUE(pt_holds(db, 1, 30));
    mh_destroy(m);
    pt_sql(NULL, "ALTER ROLE writer PASSWORD 'writer'");
}

static void test_hosts(void)
{
    const char *db = pt_database();
    char hosts[300], ports[40];
    /* Nobody listens on the first; the second is it. */
    snprintf(hosts, sizeof hosts, "127.0.0.1,%s", pt_cluster.dir);
    snprintf(ports, sizeof ports, "1,%s", pt_cluster.port);
    struct mh_instance *m = MH("postgres", "host", hosts, "port", ports, "dbname", db, "user", "writer");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 5, 0, NULL), AW_OK);
    mh_destroy(m);
    m = MH("postgres", "host", "127.0.0.1", "port", "1", "dbname", db, "user", "writer");
    start_fails(m, AW_E_UNAVAILABLE, "Connection refused");
    /* A standby, or what says it takes no writes, is passed over. */
    pt_sql(NULL, "ALTER ROLE writer SET default_transaction_read_only = on");
    m = pt_created(db, "writer");
    start_fails(m, AW_E_UNAVAILABLE, "read-only");
    pt_sql(NULL, "ALTER ROLE writer RESET ALL");
    /* A peer that takes the connection and says nothing. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    CU_ASSERT_TRUE(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 5) == 0 &&
                   getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    snprintf(ports, sizeof ports, "%u", ntohs(a.sin_port));
    m = MH("postgres", "host", "127.0.0.1", "port", ports, "dbname", db, "connect_timeout", "300ms", "user", "writer");
    start_fails(m, AW_E_TIMEOUT, "cannot connect in time");
    close(fd);
}

static void refused(struct mh_instance *m, const char *text)
{
    CU_ASSERT_PTR_NULL(m);
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), text));
    if (strstr(mh_last_error(), text) == NULL)
        harness_note("expected \"%s\": %s", text, mh_last_error());
    mh_destroy(m);
}

static void test_options(void)
{
    const char *db = pt_database();
    char name[80];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    refused(MH("postgres", "sslcert", "/c"), "sslcert and sslkey belong together");
    refused(MH("postgres", "password", "p", "passfile", "/p"), "password and passfile are both set");
    refused(MH("postgres", "table", name), "table: must have 1 to 48 bytes");
    refused(MH("postgres", "schema", ""), "schema: must have 1 to 63 bytes");
    refused(MH("postgres", "host", "db.example", "sslmode", "require", "sslrootcert", "/ca"),
            "does not check the server");
    start_fails(PT(db, "nobody_here", NULL), AW_E_CONFIG, "role \"nobody_here\" does not exist");
    start_fails(PT("no such base", "writer", NULL), AW_E_CONFIG, "mend dbname, or create the database");
    start_fails(PT(db, "writer", "table", "none"), AW_E_CONFIG, "public.none: there is no such table in database");
    start_fails(MH("postgres", "host", pt_cluster.dir, "port", "http", "dbname", db), AW_E_CONFIG,
                "invalid integer value \"http\"");
    start_fails(PT(db, "writer", "service", "none"), AW_E_CONFIG, "\"none\" not found");
}

/* The table is not what it was: said at start, and when it happens later the events wait. */
static void test_table(void)
{
    static const struct {
        const char *sql, *text;
    } cases[] = {
        {"ALTER TABLE audit_events ALTER actor_ip TYPE inet USING actor_ip::inet",
         "column actor_ip has type inet, and text is needed: ALTER TABLE"},
        {"ALTER TABLE audit_events ALTER target TYPE json", "column target has type json, and jsonb is needed"},
        {"ALTER TABLE audit_events ALTER action TYPE varchar(20)", "has type character varying(20)"},
        {"ALTER TABLE audit_events ALTER seq TYPE integer", "column seq has type integer"},
        {"ALTER TABLE audit_events DROP canonical", "has no column canonical: run `auditwell migrate`"},
        {"ALTER TABLE audit_events DROP CONSTRAINT audit_events_pkey", "nothing keeps event_id unique"},
        {"ALTER TABLE audit_events ADD must text NOT NULL DEFAULT ''; ALTER TABLE audit_events ALTER must DROP DEFAULT",
         "column must is NOT NULL and unknown"},
        {"ALTER TABLE audit_events SET UNLOGGED", "is unlogged"},
        {"ALTER TABLE audit_events RENAME TO gone; CREATE VIEW audit_events AS SELECT * FROM gone", "is no table"},
        {"REVOKE USAGE ON SCHEMA public FROM PUBLIC, writer", "no USAGE on the schema"},
        {"COMMENT ON TABLE audit_events IS 'auditwell schema version 9'", "schema version 9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *db = pt_database();
        struct mh_instance *m = pt_started(db, "writer");
        const struct aw_sink_probe *probe = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
        uint8_t status[10];
        CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(probe->probe(m->sink, 0), AW_OK);
        pt_sql(db, cases[i].sql);
        CU_ASSERT_EQUAL(probe->probe(m->sink, m->host.mono_ns() + 20 * SECOND), AW_E_CONFIG);
        CU_ASSERT_TRUE(says(m, cases[i].text));
        int32_t r = mh_write(m, 11, 20, 0, status);
        bool fine = r == AW_OK && mh_all(status, 10, AW_EVENT_DURABLE); /* it may not matter to rows */
        CU_ASSERT_TRUE(fine || (r == AW_E_CONFIG && mh_all(status, 10, AW_EVENT_UNKNOWN)));
        if (!fine && r != AW_E_CONFIG)
            harness_note("%s: %d %s", cases[i].sql, r, m->error);
        mh_destroy(m);
        start_fails(pt_created(db, "writer"), AW_E_CONFIG, cases[i].text);
    }
}

PT_MAIN("sink_postgres_faults", {"the server is stopped, killed, started", test_restart},
        {"killed under load, each event once", test_killed_under_load}, {"a server that hangs", test_hung},
        {"locks and time limits", test_locked}, {"every SQLSTATE its class", test_states},
        {"what the session needs is set", test_serialization}, {"disk full", test_disk_full},
        {"no memory", test_no_memory}, {"TLS and certificates", test_tls}, {"passwords", test_password},
        {"hosts", test_hosts}, {"wrong options", test_options}, {"a table of another shape", test_table})
