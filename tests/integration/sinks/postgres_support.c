/* postgres_support.c - see postgres_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "postgres_support.h"

struct pg_cluster pt_cluster;

const char *pt_sql(const char *db, const char *sql)
{
    return pgc_sql(&pt_cluster, db, sql);
}

const char *pt_empty_database(void)
{
    static char names[64][32];
    static int count;
    char sql[200], *name = names[count];
    snprintf(name, sizeof names[0], "audit %d", ++count);
    snprintf(sql, sizeof sql, "CREATE DATABASE \"%s\" OWNER owner", name);
    pt_sql(NULL, sql);
    pt_sql(name, "GRANT CREATE ON SCHEMA public TO owner");
    return name;
}

struct mh_instance *pt_create(const char *db, const char *user, const char *const *more)
{
    const char *pairs[40] = {"host", pt_cluster.dir, "port", pt_cluster.port, "dbname", db, "user", user};
    size_t n = 8;
    for (; more != NULL && *more != NULL && n < 38; more++)
        pairs[n++] = *more;
    return mh_create("postgres", pairs);
}

struct mh_instance *pt_created(const char *db, const char *user)
{
    struct mh_instance *m = pt_create(db, user, NULL);
    if (m == NULL)
        printf("# %s\n", mh_last_error());
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

struct mh_instance *pt_started(const char *db, const char *user)
{
    struct mh_instance *m = pt_created(db, user);
    int32_t r = mh_start(m);
    if (r != AW_OK)
        harness_note("start: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    return m;
}

struct text {
    char *p;
    size_t len, size;
};

static void add_step(void *arg, const char *step)
{
    struct text *t = arg;
    if (t->size > t->len)
        t->len += (size_t)snprintf(t->p + t->len, t->size - t->len, "%s\n", step);
}

int32_t pt_migrate(struct mh_instance *m, uint32_t flags, char *text, size_t size)
{
    const struct aw_sink_migrate *ext = m->class->extension(m->sink, AW_EXT_SINK_MIGRATE);
    struct text t = {text, 0, size};
    if (size > 0)
        text[0] = '\0';
    return ext->migrate(m->sink, flags, add_step, &t);
}

const char *pt_database(void)
{
    const char *db = pt_empty_database();
    struct mh_instance *m = PT(db, "owner", "grant_write", "writer", "grant_read", "reader");
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    int32_t r = pt_migrate(m, 0, NULL, 0);
    if (r != AW_OK)
        harness_note("migrate: %d %s", r, m->error);
    CU_ASSERT_EQUAL_FATAL(r, AW_OK);
    mh_destroy(m);
    return db;
}

bool pt_holds(const char *db, uint64_t from, uint64_t to)
{
    struct mh_instance *m = pt_created(db, "reader");
    struct mh_rows rows = mh_read(m, NULL, 100);
    bool ok = rows.code == AW_OK && rows.count == to - from + 1 && rows.first_seq == from && rows.last_seq == to &&
              rows.rising && rows.same;
    if (!ok)
        harness_note("table: code %d, %zu rows, seq %llu..%llu, rising %d, same %d: %s", rows.code, rows.count,
                     (unsigned long long)rows.first_seq, (unsigned long long)rows.last_seq, rows.rising, rows.same,
                     m->error);
    mh_destroy(m);
    return ok;
}

int pt_main(const char *suite, const struct harness_test *tests, size_t count, int argc, char **argv)
{
    if (!pgc_available()) {
        printf("1..0 # SKIP PostgreSQL's server is not installed: install postgresql-15\n");
        return 0;
    }
    /* The server's own environment must not be the tester's. */
    static const char *const unset[] = {"PGHOST",    "PGPORT",    "PGUSER",    "PGPASSWORD", "PGDATABASE",
                                        "PGSERVICE", "PGSSLMODE", "PGOPTIONS", "PGPASSFILE", "PGSSLROOTCERT"};
    for (size_t i = 0; i < sizeof unset / sizeof unset[0]; i++)
        unsetenv(unset[i]);
    pgc_create(&pt_cluster, "fsync = off");
    pt_sql(NULL, "CREATE ROLE owner LOGIN PASSWORD 'owner'; CREATE ROLE writer LOGIN PASSWORD 'writer'; CREATE ROLE "
                 "reader LOGIN PASSWORD 'reader'");
    int r = harness_run(suite, tests, count, argc, argv);
    pgc_destroy(&pt_cluster);
    return r;
}
