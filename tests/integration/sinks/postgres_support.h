/* postgres_support.h - what the tests of the postgres sink share. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_POSTGRES_SUPPORT_H
#define AW_POSTGRES_SUPPORT_H

#include "harness.h"
#include "minihost.h"
#include "pg_cluster.h"

extern struct pg_cluster pt_cluster; /* with roles owner, writer, reader; passwords as their names */
/* A fresh database with the table made by the sink's migrate(). The name is valid until the program ends. */
const char *pt_database(void);
const char *pt_empty_database(void); /* without the table */
/* An instance on the socket, with options of its own behind the usual ones: "key", "value", ..., NULL. */
struct mh_instance *pt_create(const char *db, const char *user, const char *const *more);
struct mh_instance *pt_created(const char *db, const char *user);
struct mh_instance *pt_started(const char *db, const char *user); /* and started; bails out if it cannot */
#define PT(db, user, ...) pt_create(db, user, (const char *const[]){__VA_ARGS__, NULL})
const char *pt_sql(const char *db, const char *sql);       /* as superuser */
bool pt_holds(const char *db, uint64_t from, uint64_t to); /* exactly these events, read by the sink */
/* migrate() as owner; text gets the steps, one a line, and may be NULL. */
int32_t pt_migrate(struct mh_instance *m, uint32_t flags, char *text, size_t size);
int pt_main(const char *suite, const struct harness_test *tests, size_t count, int argc, char **argv);
#define PT_MAIN(suite, ...)                                                                                            \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        static const struct harness_test tests_[] = {__VA_ARGS__};                                                     \
        return pt_main(suite, tests_, sizeof tests_ / sizeof tests_[0], argc, argv);                                   \
    }

#endif
