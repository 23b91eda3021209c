/* postgres_killed.c - exactly once in PostgreSQL: the writer, or the server, is killed under load.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A child embeds the library with a postgres sink, logs events that carry numbers, and writes each number to a pipe
 * when its event was acknowledged. The parent kills it after a random time, now and then the server as well, and starts
 * the next over the same journal. At the end one child delivers what is left. Then every number that came through the
 * pipe is in the table, every seq of the journal is there, each once; with all_or_nothing the file has the same events.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit/audit.h"
#include "harness.h"
#include "pg_cluster.h"

#define A_LIFE 4000 /* events of one child at most */

static struct pg_cluster cluster;

static void diag(void *arg, int severity, const char *where, const char *text)
{
    (void)arg;
    (void)severity;
    (void)where;
    (void)text;
}

static void config_of(const char *name, const char *user, bool together, char *text, size_t size)
{
    snprintf(
        text, size,
        "service = \"test\";\nfanout = \"%s\";\njournal = { path = \"%s/%s.journal\"; max_size = \"256MiB\"; };\nretry "
        "= { "
        "base = \"10ms\"; cap = \"100ms\"; };\nbreaker = { cooldown = \"50ms\"; };\nbatch = { events = 50; };\nsinks = "
        "(\n { plugin = \"postgres\"; name = \"db\"; host = \"%s\"; port = \"%s\"; dbname = \"%s\"; user = \"%s\"; pii "
        "= "
        "\"keep\"; grant_write = \"writer\"; }%s%s%s%s%s\n);\n",
        together ? "all_or_nothing" : "best_effort", harness_tmpdir(), name, cluster.dir, cluster.port, name, user,
        together ? ",\n { plugin = \"file\"; name = \"trail\"; path = \"" : "", together ? harness_tmpdir() : "",
        together ? "/" : "", together ? name : "", together ? ".jsonl\"; }" : "");
}

static struct aw_logger *open_logger(const char *name, bool together)
{
    char text[2000];
    struct aw_logger *logger;
    config_of(name, "writer", together, text, sizeof text);
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = text, .diag = diag};
    for (int i = 0; i < 200; i++) { /* a wrong configuration would be one all the time */
        if (aw_open(&o, &logger) == AW_SUCCESS)
            return logger;
        usleep(20000);
    }
    return NULL;
}

/* Logs numbers from `first` on until it is killed. */
static void child(const char *name, bool together, uint64_t first, int out)
{
    struct aw_logger *logger = open_logger(name, together);
    if (logger == NULL)
        _exit(3);
    for (uint64_t n = first; n < first + A_LIFE; n++) {
        char json[200];
        int len = snprintf(json, sizeof json,
                           "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u\"},"
                           "\"context\":{\"tenantId\":\"t%d\"},\"metadata\":{\"n\":%llu}}",
                           (int)(n % 3), (unsigned long long)n);
        if (aw_log_json(logger, json, (size_t)len, NULL) == AW_SUCCESS && write(out, &n, sizeof n) != sizeof n)
            _exit(4);
        usleep(50); /* a life lasts longer than it is given */
    }
    for (;;)
        pause();
}

static void last_child(const char *name, bool together)
{
    struct aw_logger *logger = open_logger(name, together);
    if (logger == NULL || aw_flush(logger, 60000) != AW_SUCCESS || aw_close(logger, 20000) != AW_SUCCESS)
        _exit(5);
    _exit(0);
}

struct acked {
    uint64_t *numbers;
    size_t count, room;
};

static void drain(struct acked *a, int fd)
{
    uint64_t n;
    while (read(fd, &n, sizeof n) == sizeof n) {
        if (a->count == a->room)
            a->numbers = realloc(a->numbers, (a->room = a->room * 2 + 4096) * sizeof *a->numbers);
        if (a->numbers == NULL)
            abort();
        a->numbers[a->count++] = n;
    }
}

static void one_life(const char *name, bool together, uint64_t first, unsigned ms, struct acked *acked)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(name, together, first, ends[1]);
    }
    close(ends[1]);
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    CU_ASSERT_TRUE(poll(&p, 1, 60000) == 1); /* it logs */
    usleep(ms * 1000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    drain(acked, ends[0]);
    close(ends[0]);
}

/* All numbers in the table, as text with a line each, are the acknowledged ones and what was on its way. */
static void check_table(const char *name, const struct acked *acked)
{
    PGconn *pg = pgc_connect(&cluster, name);
    PGresult *res = PQexec(pg, "SELECT (metadata->>'n')::bigint FROM audit_events ORDER BY 1");
    int rows = PQntuples(res);
    size_t missing = 0;
    char *there = calloc((size_t)A_LIFE * 200, 1);
    for (int i = 0; i < rows; i++)
        there[strtoull(PQgetvalue(res, i, 0), NULL, 10)]++;
    for (size_t i = 0; i < acked->count; i++)
        missing += there[acked->numbers[i]] != 1;
    CU_ASSERT_EQUAL(missing, 0);
    PQclear(res);
    res =
        PQexec(pg, "SELECT count(*) = max(seq) AND min(seq) = 1 AND count(DISTINCT seq) = count(*) AND count(DISTINCT "
                   "metadata->>'n') = count(*) FROM audit_events");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 0), "t");
    PQclear(res);
    PQfinish(pg);
    harness_note("%s: %zu acknowledged, %d stored, %zu missing", name, acked->count, rows, missing);
    free(there);
}

/* The file has the bytes that the table has, in order. */
static void check_file(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s.jsonl", harness_tmpdir(), name);
    PGconn *pg = pgc_connect(&cluster, name);
    PGresult *res = PQexec(pg, "SELECT convert_from(canonical, 'UTF8') FROM audit_events ORDER BY seq");
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    int i = 0;
    bool same = true;
    for (ssize_t n; f != NULL && (n = getline(&line, &size, f)) > 0; i++) {
        line[n - 1] = '\0';
        same = same && i < PQntuples(res) && strcmp(line, PQgetvalue(res, i, 0)) == 0;
    }
    CU_ASSERT_TRUE(same);
    CU_ASSERT_EQUAL(i, PQntuples(res));
    free(line);
    if (f != NULL)
        fclose(f);
    PQclear(res);
    CU_ASSERT_STRING_EQUAL(pgc_sql(&cluster, name, "SELECT count(*) FROM audit_events_staged"), "0");
    PQfinish(pg);
}

static void on_step(void *arg, const struct aw_sink_state *s, const char *text)
{
    (void)arg;
    if (text == NULL && s->code != AW_SUCCESS)
        harness_note("migrate: %s", s->message);
}

static void make_database(const char *name)
{
    char text[2000], sql[200];
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    pgc_sql(&cluster, NULL, sql);
    config_of(name, "postgres", false, text, sizeof text);
    const struct aw_sinks_options options = {.struct_size = sizeof options, .config_text = text, .diag = diag};
    CU_ASSERT_EQUAL_FATAL(aw_sinks_migrate(&options, on_step, NULL), AW_SUCCESS);
}

static void kill_often(const char *name, bool together)
{
    struct acked acked = {NULL, 0, 0};
    uint64_t random = harness_seed();
    int lives = harness_slow() ? 8 : 20, status;
    make_database(name);
    for (int i = 0; i < lives; i++) {
        one_life(name, together, (uint64_t)i * A_LIFE + 1, (unsigned)(harness_random(&random) % 150), &acked);
        if (i % 4 == 3) { /* the server has gone, too, and is back for the next life */
            pgc_stop(&cluster, SIGKILL);
            pgc_start(&cluster);
        }
    }
    pid_t pid = fork();
    if (pid == 0)
        last_child(name, together);
    CU_ASSERT_TRUE(waitpid(pid, &status, 0) == pid);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_TRUE(acked.count > 100);
    check_table(name, &acked);
    if (together)
        check_file(name);
    free(acked.numbers);
}

static void test_best_effort(void)
{
    kill_often("alone", false);
}

static void test_together(void)
{
    kill_often("together", true);
}

/* The writer lives on while the server is killed under it. */
static void test_server(void)
{
    int ends[2], status;
    struct acked acked = {NULL, 0, 0};
    make_database("server");
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child("server", false, 1, ends[1]);
    }
    close(ends[1]);
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    CU_ASSERT_TRUE(poll(&p, 1, 60000) == 1);
    for (int i = 0; i < 3; i++) {
        static const int how[] = {SIGKILL, SIGQUIT, SIGINT};
        usleep(30000);
        pgc_stop(&cluster, how[i]);
        usleep(50000);
        pgc_start(&cluster);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    drain(&acked, ends[0]);
    close(ends[0]);
    pid = fork();
    if (pid == 0)
        last_child("server", false);
    CU_ASSERT_TRUE(waitpid(pid, &status, 0) == pid && status == 0);
    check_table("server", &acked);
    free(acked.numbers);
}

int main(int argc, char **argv)
{
    static const struct harness_test tests[] = {
        {"the writer is killed", test_best_effort},
        {"the writer is killed, all_or_nothing with a file", test_together},
        {"the server is killed", test_server},
    };
    if (!pgc_available()) {
        printf("1..0 # SKIP PostgreSQL's server is not installed: install postgresql-15\n");
        return 0;
    }
    pgc_create(&cluster, "fsync = off");
    pgc_sql(&cluster, NULL, "CREATE ROLE writer LOGIN");
    int r = harness_run("postgres_killed", tests, sizeof tests / sizeof tests[0], argc, argv);
    pgc_destroy(&cluster);
    return r;
}
