/* pg_error.c - what an SQLSTATE means to the host, and what the operator can do. SPDX-License-Identifier: Apache-2.0
 *
 * Details and hints of the server are never passed on: they hold the row, and the row holds what only the trail may
 * know.
 */
#include "config.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pg_sink.h"

#define MIGRATE "run `auditwell migrate`"

/* A state of five characters, or a class of two. The first that fits counts. */
static const struct {
    const char *state;
    struct pg_verdict verdict;
} verdicts[] = {
    {"25006", {AW_E_UNAVAILABLE, true, "the server takes no writes: a standby, or a primary that was demoted"}},
    {"26000", {AW_E_UNAVAILABLE, true, "a pooler between must keep sessions (pool_mode = session)"}},
    {"28P01", {AW_E_CONFIG, true, "mend user and password (or passfile), then reload"}},
    {"28", {AW_E_CONFIG, true, "the server's pg_hba.conf must let this user, database and address in"}},
    {"3D000", {AW_E_CONFIG, true, "mend dbname, or create the database"}},
    {"3F000", {AW_E_CONFIG, false, "create the schema, or mend `schema`"}},
    {"40", {AW_E_RETRY, false, NULL}},
    {"42501", {AW_E_CONFIG, false, "writing needs INSERT on the table and SELECT on its key: see grant_write"}},
    {"42P01", {AW_E_CONFIG, false, MIGRATE}},
    {"42703", {AW_E_CONFIG, false, MIGRATE}},
    {"42704", {AW_E_CONFIG, false, NULL}},
    {"42804", {AW_E_CONFIG, false, "a column has another type; " MIGRATE " to see which"}},
    {"42P10", {AW_E_CONFIG, false, "event_id must be unique; " MIGRATE}},
    {"42", {AW_E_CONFIG, false, NULL}},
    {"22P03", {AW_E_CONFIG, false, "a column has another type; " MIGRATE " to see which"}},
    {"22", {AW_E_REJECTED, false, NULL}},
    {"23", {AW_E_REJECTED, false, NULL}},
    {"27", {AW_E_REJECTED, false, NULL}},
    {"44", {AW_E_REJECTED, false, NULL}},
    {"54", {AW_E_REJECTED, false, NULL}},
    {"P0", {AW_E_REJECTED, false, NULL}},
    {"53100", {AW_E_UNAVAILABLE, false, "the server's disk is full"}},
    {"53300", {AW_E_UNAVAILABLE, true, "the server has no connection left (max_connections)"}},
    {"53", {AW_E_RETRY, false, NULL}},
    {"55P03", {AW_E_RETRY, false, "somebody holds a lock on the table (lock_timeout)"}},
    {"55", {AW_E_RETRY, false, NULL}},
    {"57014", {AW_E_TIMEOUT, false, "the statement was cancelled (statement_timeout)"}},
    {"57", {AW_E_UNAVAILABLE, true, NULL}},
    {"58", {AW_E_UNAVAILABLE, true, NULL}},
    {"08", {AW_E_UNAVAILABLE, true, NULL}},
    {"0A", {AW_E_CONFIG, false, NULL}},
    {"XX", {AW_E_UNAVAILABLE, true, NULL}},
};

struct pg_verdict pg_judge(const char *state)
{
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
        if (strncmp(state, verdicts[i].state, strlen(verdicts[i].state)) == 0)
            return verdicts[i].verdict;
    return (struct pg_verdict){AW_E_RETRY, false, NULL};
}

int32_t pg_fail(struct pg_conn *c, int32_t code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->text, sizeof c->text, fmt, ap);
    va_end(ap);
    return aw_host_error(c->host, code, "%s", c->text);
}

static void copy_line(char *out, size_t size, const char *text)
{
    size_t n = strcspn(text, "\n");
    if (n >= size)
        n = size - 1;
    memcpy(out, text, n);
    out[n] = '\0';
}

void pg_primary(const PGresult *res, char *out, size_t size)
{
    const char *text = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    copy_line(out, size, text != NULL ? text : "no reason given");
}

int32_t pg_fail_result(struct pg_conn *c, const PGresult *res, const char *what)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    char text[256];
    if (state == NULL || strlen(state) != 5) { /* libpq's own: the connection broke */
        bool memory = res == NULL && PQstatus(c->pg) == CONNECTION_OK;
        copy_line(text, sizeof text, PQerrorMessage(c->pg));
        c->state[0] = '\0';
        pg_close(c);
        return pg_fail(c, memory ? AW_E_NOMEM : AW_E_UNAVAILABLE, "%s: %s: %s", c->set->place, what,
                       text[0] != '\0' ? text : "the connection broke");
    }
    struct pg_verdict v = pg_judge(state);
    memcpy(c->state, state, sizeof c->state);
    pg_primary(res, text, sizeof text);
    /* A column of the table that we do not know cannot be an event's fault. */
    const char *column = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
    if (strcmp(state, "23502") == 0 && column != NULL) {
        bool ours = false;
        for (size_t i = 0; i < PG_COLUMNS; i++)
            ours = ours || strcmp(pg_columns[i].name, column) == 0;
        if (!ours)
            v = (struct pg_verdict){AW_E_CONFIG, false, "give that column a default"};
    }
    if (c->purpose == PG_ADMIN && strcmp(state, "42501") == 0)
        v.remedy = "this takes a role that owns the table, or may create it in the schema";
    /* A policy of row security refuses a row with the same state as a missing right. */
    const char *function = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
    if (strcmp(state, "42501") == 0 && function != NULL && strcmp(function, "ExecWithCheckOptions") == 0)
        v = (struct pg_verdict){AW_E_REJECTED, false, NULL};
    if (v.drop || PQstatus(c->pg) != CONNECTION_OK)
        pg_close(c);
    return pg_fail(c, v.code, "%s: %s: %s (SQLSTATE %s)%s%s", c->set->place, what, text, c->state,
                   v.remedy != NULL ? ": " : "", v.remedy != NULL ? v.remedy : "");
}

/* libpq keeps the state of a refused connection to itself; but its verbose text has it: "FATAL:  28P01: password ...".
 * The last one counts: libpq goes on to the next host only where that may help. */
static const char *find_state(const char *text, char out[6])
{
    const char *found = NULL;
    for (const char *p = strstr(text, ":  "); p != NULL; p = strstr(p + 1, ":  ")) {
        size_t n = strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n == 5 && p[8] == ':' && p[9] == ' ') {
            memcpy(out, p + 3, 5);
            out[5] = '\0';
            found = p + 10;
        }
    }
    return found;
}

/* One line for all hosts, without the server's source lines. */
static void squeeze(const char *text, char *out, size_t size)
{
    size_t n = 0;
    while (*text != '\0' && n + 3 < size) {
        size_t len = strcspn(text, "\n");
        if (strncmp(text, "LOCATION:", 9) != 0 && len > 0) {
            if (n > 0) {
                out[n++] = ';';
                out[n++] = ' ';
            }
            size_t take = len < size - n - 1 ? len : size - n - 1;
            memcpy(out + n, text, take);
            n += take;
        }
        text += len + (text[len] == '\n');
    }
    out[n] = '\0';
}

int32_t pg_fail_connect(struct pg_conn *c, bool in_tls)
{
    const char *all = PQerrorMessage(c->pg);
    char text[PG_TEXT_MAX - 120];
    struct pg_verdict v = {AW_E_UNAVAILABLE, true, NULL};
    c->state[0] = '\0';
    const char *at = find_state(all, c->state);
    squeeze(all, text, sizeof text);
    if (at != NULL) {
        v = pg_judge(c->state);
        if (v.code == AW_E_REJECTED)
            v.code = AW_E_UNAVAILABLE;
    } else if (in_tls && strstr(all, "SYSCALL") == NULL) {
        v.code = AW_E_CONFIG;
        v.remedy = "sslrootcert must hold the authority of the server's certificate, and host must be the name in it";
    } else if (PQconnectionNeedsPassword(c->pg)) {
        v.code = AW_E_CONFIG;
        v.remedy = "set password = \"file:...\" or passfile";
    }
    pg_close(c);
    return pg_fail(c, v.code, "cannot connect: %s%s%s", text, v.remedy != NULL ? ": " : "",
                   v.remedy != NULL ? v.remedy : "");
}
