/* pg_conn.c - connections that never block beyond a deadline. SPDX-License-Identifier: Apache-2.0
 *
 * All of libpq is used non-blocking, with poll(). Two calls of it cannot be: looking up a host's name, which happens
 * inside PQconnectStartParams(), and PQcancel(), which waits for the server's answer without a limit. A call whose
 * deadline passes therefore closes the connection, and the server, which is told to look whether its client is there
 * (client_connection_check_interval), gives up the statement by itself.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_sink.h"

#define NS_PER_MS 1000000u
#define LOOK_AGAIN_NS 500000000u

void pg_conn_init(struct pg_conn *c, const struct aw_host *host, const struct pg_settings *set)
{
    memset(c, 0, sizeof *c);
    c->host = host;
    c->set = set;
    atomic_store(&c->fd, -1);
}

/* A notice on standard error would be in the application's way, and may hold what only the trail may know. */
static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

void pg_close(struct pg_conn *c)
{
    atomic_store(&c->fd, -1); /* first: a child must not close what may be another file by then */
    if (c->pg != NULL)
        PQfinish(c->pg);
    c->pg = NULL;
}

/* 1: ready, 0: the deadline passed, -1: errno. */
static int wait_fd(const struct pg_conn *c, int fd, short events, uint64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int ms = -1;
        if (deadline_ns != 0) {
            uint64_t now = c->host->mono_ns();
            uint64_t left = now < deadline_ns ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
            ms = left > 3600000 ? 3600000 : (int)left;
            if (ms == 0)
                return 0;
        }
        int n = poll(&p, 1, ms);
        if (n > 0)
            return 1;
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

static int32_t fail_wait(struct pg_conn *c, int rc, const char *what)
{
    int e = errno;
    c->state[0] = '\0';
    pg_close(c);
    if (rc == 0)
        return pg_fail(c, AW_E_TIMEOUT, "%s: %s: the deadline passed; the connection was closed", c->set->place, what);
    return pg_fail(c, AW_E_UNAVAILABLE, "%s: %s: %s", c->set->place, what, strerror(e));
}

/* Without a deadline from the host: the statement's own limit and some more, for a server that is not there to keep
 * it. */
static uint64_t deadline(const struct pg_conn *c)
{
    if (c->deadline_ns != 0)
        return c->deadline_ns;
    return c->set->statement_timeout_ns == 0
               ? 0
               : c->host->mono_ns() + c->set->statement_timeout_ns + c->set->connect_timeout_ns;
}

/* Returns also when nothing came for a while: libpq without memory for a result leaves it unread, and takes it when it
 * is asked again. */
static int32_t wait_conn(struct pg_conn *c, bool also_write, uint64_t until, const char *what)
{
    uint64_t slice = c->host->mono_ns() + LOOK_AGAIN_NS;
    bool last = until != 0 && until <= slice;
    int rc = wait_fd(c, PQsocket(c->pg), also_write ? POLLIN | POLLOUT : POLLIN, last ? until : slice);
    if (rc < 0 || (rc == 0 && last))
        return fail_wait(c, rc, what);
    if (PQconsumeInput(c->pg) == 0)
        return pg_fail_result(c, NULL, what);
    return AW_OK;
}

int32_t pg_flush_out(struct pg_conn *c, const char *what)
{
    uint64_t until = deadline(c);
    int left;
    while ((left = PQflush(c->pg)) == 1) {
        int32_t r = wait_conn(c, true, until, what);
        if (r != AW_OK)
            return r;
    }
    return left == 0 ? AW_OK : pg_fail_result(c, NULL, what);
}

int32_t pg_next(struct pg_conn *c, PGresult **ret, const char *what)
{
    uint64_t until = deadline(c);
    while (PQisBusy(c->pg)) {
        int32_t r = wait_conn(c, false, until, what);
        if (r != AW_OK)
            return r;
    }
    *ret = PQgetResult(c->pg);
    return AW_OK;
}

static bool is_success(const PGresult *res)
{
    ExecStatusType t = PQresultStatus(res);
    return t == PGRES_COMMAND_OK || t == PGRES_TUPLES_OK || t == PGRES_COPY_IN;
}

int32_t pg_finish(struct pg_conn *c, int sent, PGresult **ret, const char *what)
{
    PGresult *last = NULL, *res = NULL;
    int32_t r = sent ? pg_flush_out(c, what) : pg_fail_result(c, NULL, what);
    while (r == AW_OK && (r = pg_next(c, &res, what)) == AW_OK && res != NULL) {
        if (last != NULL && !is_success(last)) { /* the first failure tells why */
            PQclear(res);
            continue;
        }
        PQclear(last);
        last = res;
        if (PQresultStatus(res) == PGRES_COPY_IN)
            break;
    }
    if (r == AW_OK && (last == NULL || !is_success(last)))
        r = pg_fail_result(c, last, what);
    if (r == AW_OK && ret != NULL)
        *ret = last;
    else
        PQclear(last);
    return r;
}

int32_t pg_run(struct pg_conn *c, const char *sql, const char *what)
{
    return pg_finish(c, PQsendQuery(c->pg, sql), NULL, what);
}

int32_t pg_ask(struct pg_conn *c, const char *sql, int n, const char *const *values, PGresult **ret, const char *what)
{
    return pg_finish(c, PQsendQueryParams(c->pg, sql, n, NULL, values, NULL, NULL, 0), ret, what);
}

void pg_roll_back(struct pg_conn *c)
{
    char state[sizeof c->state], text[sizeof c->text];
    if (c->pg == NULL || PQtransactionStatus(c->pg) == PQTRANS_IDLE)
        return;
    memcpy(state, c->state, sizeof state);
    memcpy(text, c->text, sizeof text);
    int32_t code = PQtransactionStatus(c->pg) == PQTRANS_INERROR || PQtransactionStatus(c->pg) == PQTRANS_INTRANS
                       ? pg_run(c, "ROLLBACK", "cannot roll back")
                       : AW_E_UNAVAILABLE;
    if (code != AW_OK)
        pg_close(c);
    memcpy(c->state, state, sizeof state);
    memcpy(c->text, text, sizeof text);
}

bool pg_alive(struct pg_conn *c)
{
    if (c->pg == NULL)
        return false;
    struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLIN | POLLRDHUP};
    int n = poll(&p, 1, 0);
    if (n > 0 && (PQconsumeInput(c->pg) == 0 || (p.revents & (POLLERR | POLLHUP | POLLNVAL | POLLRDHUP)) != 0 ||
                  PQisBusy(c->pg) != 0)) /* it says something unasked: good-bye, mostly */
        return false;
    return PQstatus(c->pg) == CONNECTION_OK;
}

/* ---- connecting ---- */

/* Where audit.conf does not name the host, a service file or the environment may: then it must say how it is checked,
 * too. Looked at before anything is sent. */
static int32_t check_tls(struct pg_conn *c)
{
    const char *host = NULL, *mode = NULL;
    bool safe = false;
    if (c->set->tls_decided)
        return AW_OK;
    PQconninfoOption *all = PQconninfo(c->pg);
    if (all == NULL)
        return pg_fail(c, AW_E_NOMEM, "out of memory");
    for (PQconninfoOption *o = all; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "host") == 0)
            host = o->val;
        else if (strcmp(o->keyword, "hostaddr") == 0 && o->val != NULL && host == NULL)
            host = o->val;
        else if (strcmp(o->keyword, "sslmode") == 0)
            mode = o->val;
    }
    safe = pg_hosts_are_local(host) || (mode != NULL && strcmp(mode, "verify-full") == 0);
    int32_t r = safe ? AW_OK
                     : pg_fail(c, AW_E_CONFIG,
                               "host %.100s comes from a service or the environment, with sslmode \"%s\": set sslmode "
                               "in audit.conf (verify-full)",
                               host, mode != NULL ? mode : "prefer");
    PQconninfoFree(all);
    return r;
}

static int32_t begin(struct pg_conn *c, enum pg_purpose purpose)
{
    const struct pg_settings *set = c->set;
    const char *keys[PG_PARAMS_MAX + 8], *values[PG_PARAMS_MAX + 8];
    size_t n = 0;
    for (size_t i = 0; i < set->params; i++) {
        keys[n] = set->keys[i];
        values[n++] = set->values[i];
    }
    keys[n] = "client_encoding";
    values[n++] = "UTF8";
    keys[n] = "gssencmode"; /* TLS is what the settings speak of */
    values[n++] = "disable";
    keys[n] = "target_session_attrs"; /* reading from a standby is fine */
    values[n++] = purpose == PG_READ ? "any" : "read-write";
    keys[n] = values[n] = NULL;
    c->pg = PQconnectStartParams(keys, values, 0);
    if (c->pg == NULL)
        return pg_fail(c, AW_E_NOMEM, "out of memory");
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    if (PQstatus(c->pg) == CONNECTION_BAD) {
        char text[200];
        snprintf(text, sizeof text, "%.*s", (int)strcspn(PQerrorMessage(c->pg), "\n"), PQerrorMessage(c->pg));
        /* A host that is down is only found later: what fails at once is a parameter, a name or memory. */
        int32_t code = AW_E_CONFIG;
        if (strstr(text, "out of memory") != NULL || strstr(text, "emory allocation") != NULL)
            code = AW_E_NOMEM;
        else if (PQsocket(c->pg) >= 0 || strstr(text, "connection to server") != NULL ||
                 strstr(text, "translate host name") != NULL)
            code = AW_E_UNAVAILABLE;
        pg_close(c);
        return pg_fail(c, code, "cannot connect: %s", text);
    }
    int32_t r = check_tls(c);
    if (r != AW_OK)
        pg_close(c);
    return r;
}

static int32_t go_on(struct pg_conn *c)
{
    uint64_t until = c->host->mono_ns() + c->set->connect_timeout_ns;
    if (c->deadline_ns != 0 && c->deadline_ns < until)
        until = c->deadline_ns;
    PostgresPollingStatusType t = PGRES_POLLING_WRITING;
    for (;;) {
        int fd = PQsocket(c->pg);
        bool in_tls = PQstatus(c->pg) == CONNECTION_SSL_STARTUP;
        atomic_store(&c->fd, fd);
        int rc = wait_fd(c, fd, t == PGRES_POLLING_READING ? POLLIN : POLLOUT, until);
        if (rc <= 0)
            return fail_wait(c, rc, "cannot connect in time");
        atomic_store(&c->fd, -1); /* libpq may close it now, and open another */
        t = PQconnectPoll(c->pg);
        if (t == PGRES_POLLING_FAILED)
            return pg_fail_connect(c, in_tls || PQstatus(c->pg) == CONNECTION_SSL_STARTUP);
        if (t == PGRES_POLLING_OK) {
            atomic_store(&c->fd, PQsocket(c->pg));
            return PQsetnonblocking(c->pg, 1) == 0 ? AW_OK : pg_fail_result(c, NULL, "cannot connect");
        }
    }
}

/* What a session needs, whatever its role or database set. Reading and changing a schema trust no search_path; an
 * insert leaves it to the table's triggers. */
static int32_t set_up(struct pg_conn *c, enum pg_purpose purpose)
{
    const struct pg_settings *set = c->set;
    char sql[700];
    unsigned long long statement = set->statement_timeout_ns / NS_PER_MS, lock = set->lock_timeout_ns / NS_PER_MS;
    if (purpose == PG_ADMIN)
        statement = 0; /* moving a month's rows takes as long as it takes */
    snprintf(sql, sizeof sql,
             "SET synchronous_commit = %s; SET statement_timeout = %llu; SET lock_timeout = %llu; "
             "SET default_transaction_isolation = 'read committed'; SET idle_in_transaction_session_timeout = 60000; "
             "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET standard_conforming_strings = on%s%s",
             set->synchronous_commit, statement, lock, purpose == PG_WRITE ? "" : "; SET search_path = pg_catalog",
             purpose == PG_READ ? "; SET default_transaction_read_only = on" : "");
    int32_t r = pg_run(c, sql, "cannot set up the session");
    if (r == AW_OK && PQserverVersion(c->pg) >= 140000) {
        r = pg_run(c, "SET client_connection_check_interval = 1000", "cannot set up the session");
        if (r != AW_OK && c->pg != NULL)
            r = AW_OK; /* a server on a platform that cannot look */
    }
    return r;
}

int32_t pg_connect(struct pg_conn *c, enum pg_purpose purpose)
{
    pg_close(c);
    c->purpose = purpose;
    c->state[0] = '\0';
    int32_t r = begin(c, purpose);
    if (r == AW_OK)
        r = go_on(c);
    if (r == AW_OK && PQserverVersion(c->pg) < 130000) {
        r = pg_fail(c, AW_E_CONFIG, "the server is PostgreSQL %d: 13 or later is needed",
                    PQserverVersion(c->pg) / 10000);
    }
    const char *encoding = r == AW_OK ? PQparameterStatus(c->pg, "server_encoding") : NULL;
    if (r == AW_OK && encoding == NULL) /* every server tells */
        r = pg_fail(c, AW_E_NOMEM, "out of memory");
    if (r == AW_OK && strcmp(encoding, "UTF8") != 0)
        r = pg_fail(c, AW_E_CONFIG, "the database has the encoding %s: events need one with UTF8", encoding);
    uint64_t given = c->deadline_ns, limit = c->host->mono_ns() + c->set->connect_timeout_ns;
    if (given == 0 || given > limit)
        c->deadline_ns = limit; /* a part of connecting: whoever does not answer now is not waited for longer */
    if (r == AW_OK)
        r = set_up(c, purpose);
    c->deadline_ns = given;
    if (r != AW_OK)
        pg_close(c);
    return r;
}
