/* test_exec.c - the exec sink with a program that does as it should. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_support.h"
#include "harness.h"
#include "minihost.h"

static void test_events(void)
{
    char *store = mh_path("store");
    struct mh_instance *m = peer("good", store, NULL, NULL);
    struct aw_health h = {.struct_size = sizeof h};
    uint8_t status[500];
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, status), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(access(store, F_OK), -1); /* create() runs nothing */
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_INTERNAL);
    for (uint64_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(mh_write(m, i * 500 + 1, i * 500 + 500, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 500, AW_EVENT_DURABLE));
    }
    CU_ASSERT_EQUAL(mh_write(m, 2001, 2001, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 2001);
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    CU_ASSERT_TRUE(h.last_success_ns > 0);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(no_children());
    CU_ASSERT_TRUE(mh_file_is(store, 1, 2001));
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 1);
    CU_ASSERT_EQUAL(mh_metric(m, "exec_kills_total"), 0); /* the end of its input was enough */
    CU_ASSERT_EQUAL(mh_metric(m, "exec_ignored_acks_total"), 0);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 2002, 2003, 0, status), AW_OK);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 2004, 2005, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "exec_starts_total"), 3);
    mh_destroy(m); /* without stop() */
    CU_ASSERT_TRUE(no_children());
    CU_ASSERT_TRUE(mh_file_is(store, 1, 2005));
    free(store);
}

/* More than both pipes hold, in lines that are larger than the program's buffer at first. */
static void test_large(void)
{
    char *store = mh_path("store");
    struct mh_instance *m = peer("good", store, NULL, NULL);
    struct aw_event *e[24];
    uint8_t status[24];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (uint64_t i = 0; i < 24; i++)
        e[i] = mh_event_sized(i + 1, i % 2 ? 300 : 900000);
    CU_ASSERT_EQUAL(mh_write_events(m, e, 24, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 24, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(lines_intact(store, e, 24), 24);
    for (size_t i = 0; i < 24; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    free(store);
}

static void test_statuses(void)
{
    static const uint8_t want[] = {AW_EVENT_DUPLICATE, AW_EVENT_RETRY, AW_EVENT_REJECTED, AW_EVENT_REJECTED,
                                   AW_EVENT_DURABLE};
    struct mh_instance *m = peer("statuses", "-", NULL, NULL);
    uint8_t status[20];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, status), AW_OK);
    CU_ASSERT_EQUAL(memcmp(status, want, 3), 0);
    CU_ASSERT_EQUAL(m->event_error_index, 2);
    CU_ASSERT_STRING_EQUAL(m->event_error, "caf?? ? bad");
    CU_ASSERT_EQUAL(mh_write(m, 4, 4, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_REJECTED);
    CU_ASSERT_STRING_EQUAL(m->event_error, "the program gave no reason");
    CU_ASSERT_EQUAL(mh_write(m, 5, 19, 0, status), AW_OK);
    for (size_t i = 0; i < 15; i++)
        CU_ASSERT_EQUAL(status[i], want[(i + 4) % 5]);
    mh_destroy(m);
    m = peer("throttle", "-", NULL, NULL);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    struct aw_event *e = mh_event(1);
    struct aw_batch b = {sizeof b, 0, 1, 1, 0, 1, (const struct aw_event *const *)&e};
    struct aw_result r = {sizeof r, 0, 1, status};
    status[0] = AW_EVENT_UNKNOWN;
    CU_ASSERT_EQUAL(m->class->write(m->sink, &b, &r), AW_E_THROTTLED);
    CU_ASSERT_EQUAL(r.retry_after_ms, 1234);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_RETRY);
    mh_event_free(e);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

static void test_any_order(void)
{
    char *store = mh_path("store");
    struct mh_instance *m = peer("reverse", store, "1000", NULL);
    uint8_t status[1000];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (uint64_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(mh_write(m, i * 1000 + 1, i * 1000 + 1000, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 1000, AW_EVENT_DURABLE));
    }
    CU_ASSERT_EQUAL(mh_metric(m, "exec_ignored_acks_total"), 0);
    mh_destroy(m);
    CU_ASSERT_TRUE(mh_file_is(store, 1, 3000));
    free(store);
}

/* Two events with one id, as callers may give them: an answer is for one of them. */
static void test_same_id(void)
{
    struct mh_instance *m = peer("statuses", "-", NULL, NULL);
    struct aw_event *e[3] = {mh_event(7), mh_event(8), mh_event(7)};
    uint8_t status[3];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write_events(m, e, 3, 0, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DUPLICATE);
    CU_ASSERT_EQUAL(status[1], AW_EVENT_RETRY);
    CU_ASSERT_EQUAL(status[2], AW_EVENT_REJECTED);
    e[1]->encode_code = AW_E_NOMEM;
    CU_ASSERT_EQUAL(mh_write_events(m, e, 3, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_UNKNOWN));
    for (int i = 0; i < 3; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
}

static bool says(const char *text, const char *line)
{
    char want[1200];
    snprintf(want, sizeof want, "\n%.1000s\n", line);
    bool ok = strstr(text, want) != NULL;
    if (!ok)
        harness_note("no line \"%s\" in: %s", line, text);
    return ok;
}

/* What the program finds around it, whatever the host has: descriptors, signals, environment, limits. */
static void test_surroundings(void)
{
    char *report = mh_path("report"), *dir = mh_dir_of(report), extra[1200], cwd[600];
    sigset_t blocked, before;
    int open_fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    setenv("EXEC_TEST_SECRET", "s3cret", 1);
    setenv("EXEC_TEST_PASSED", "on", 1);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
    signal(SIGUSR1, SIG_IGN);
    struct mh_instance *m =
        peer("describe", report, "7\n$HOME *; echo",
             (const char *const[]){"directory", dir, "environment",
                                   "EXEC_TEST_PASSED\nTZ=UTC\nEMPTY=\nEXEC_TEST_NOWHERE", "files_limit", "77", NULL});
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK); /* it has written its report by then */
    char *text = mh_slurp(report, NULL);
    snprintf(extra, sizeof extra, "\n%s", text);
    snprintf(cwd, sizeof cwd, "cwd=%s", dir);
    CU_ASSERT_TRUE(says(extra, "arg=7"));
    CU_ASSERT_TRUE(says(extra, "arg=$HOME *; echo")); /* no shell */
    CU_ASSERT_TRUE(says(extra, "env=EXEC_TEST_PASSED=on"));
    CU_ASSERT_TRUE(says(extra, "env=TZ=UTC"));
    CU_ASSERT_TRUE(says(extra, "env=EMPTY="));
    CU_ASSERT_TRUE(says(extra, "env=PATH=/usr/local/bin:/usr/bin:/bin"));
    CU_ASSERT_PTR_NULL(strstr(extra, "s3cret"));
    CU_ASSERT_PTR_NULL(strstr(extra, "EXEC_TEST_NOWHERE"));
    CU_ASSERT_PTR_NULL(strstr(extra, "env=HOME"));
    static const char *const lines[] = {"fds=3", "ignored=0", "session=1", "files=77", "core=0",
                                        "as=0",  "umask=77",  "death=9",   "privs=1"};
    CU_ASSERT_TRUE(says(extra, cwd));
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        CU_ASSERT_TRUE(says(extra, lines[i]));
    struct sigaction now;
    CU_ASSERT_EQUAL(sigaction(SIGPIPE, NULL, &now), 0);
    CU_ASSERT_TRUE(now.sa_handler == SIG_DFL); /* ours to leave alone */
    signal(SIGUSR1, SIG_DFL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    mh_destroy(m);
    close(open_fd);
    free(text);
    free(dir);
    free(report);
}

/* A script, limits of memory, another user. */
static void test_script(void)
{
    char *script = mh_path("sink.sh"), *out = mh_path("out"), text[2000], command[2200];
    snprintf(text, sizeof text,
             "#!/bin/sh\n{ id -u; ulimit -v; } >'%s'\nread -r line && echo '{\"eventId\":"
             "\"01890a5d-ac96-774b-bcce-000000000001\",\"status\":\"durable\"}'\n",
             out);
    mh_spew(script, text, strlen(text));
    CU_ASSERT_EQUAL(chmod(script, 0755), 0);
    const char *pairs[16] = {"command", script, "memory_limit", "512MiB", NULL};
    const char *as = "nobody";
    struct passwd *other = getpwnam("nobody");
    if (geteuid() != 0)
        as = getpwuid(geteuid()) != NULL ? getpwuid(geteuid())->pw_name : NULL;
    if (as != NULL) {
        pairs[4] = "user";
        pairs[5] = as;
        pairs[6] = NULL;
    }
    char *dir = mh_dir_of(out);
    CU_ASSERT_EQUAL(chmod(dir, 0777), 0);
    CU_ASSERT_EQUAL(chmod(harness_tmpdir(), 0755), 0);
    struct mh_instance *m = mh_create("exec", pairs);
    CU_ASSERT_EQUAL_FATAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    char *got = mh_slurp(out, NULL);
    snprintf(command, sizeof command, "%u\n524288\n", geteuid() == 0 && other != NULL ? other->pw_uid : geteuid());
    CU_ASSERT_STRING_EQUAL(got != NULL ? got : "nothing", command);
    mh_destroy(m);
    m = MH("exec", "command", script, "user", "no-such-user");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "user: \"no-such-user\" does not exist"));
    mh_destroy(m);
    if (geteuid() != 0) {
        m = MH("exec", "command", script, "user", "root");
        CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "only root"));
        mh_destroy(m);
    }
    CU_ASSERT_TRUE(no_children());
    free(got);
    free(dir);
    free(out);
    free(script);
}

static void test_options(void)
{
    CU_ASSERT_PTR_NULL(MH("exec", "command", "cat"));
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), "\"cat\" is not an absolute path"));
    CU_ASSERT_PTR_NULL(mh_create("exec", NULL));
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), "command: names no program"));
    CU_ASSERT_PTR_NULL(MH("exec", "command", "/bin/cat", "environment", "A=1\n2B=3"));
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), "environment: item 2"));
    CU_ASSERT_PTR_NULL(MH("exec", "command", "/bin/cat", "group", "root"));
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), "group: needs user"));
    CU_ASSERT_PTR_NULL(MH("exec", "command", "/bin/cat", "restart_delay", "5s", "restart_delay_max", "1s"));
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), "restart_delay_max: less than"));
}

static void refused(const char *command, const char *dir, const char *why)
{
    struct mh_instance *m =
        dir != NULL ? MH("exec", "command", command, "directory", dir) : MH("exec", "command", command);
    const struct aw_sink_probe *p = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, why));
    mh_clear(m);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    bool ok = strstr(m->error, why) != NULL;
    CU_ASSERT_TRUE(ok);
    if (!ok)
        harness_note("expected \"%s\", found \"%s\"", why, m->error);
    mh_destroy(m);
}

static void test_probe(void)
{
    char *file = mh_path("program"), *store = mh_path("store");
    refused("/nonexistent/program", NULL, "No such file");
    refused("/tmp", NULL, "not a file");
    mh_spew(file, "#!/nonexistent/interpreter -x\n", 30);
    chmod(file, 0644);
    refused(file, NULL, "may not be run");
    chmod(file, 0757);
    refused(file, NULL, "others than its owner may change it");
    chmod(file, 0755);
    refused(file, NULL, "its interpreter \"/nonexistent/interpreter\" cannot be run");
    refused("/bin/sh", "/nonexistent", "directory: /nonexistent");
    struct mh_instance *m = peer("good", store, NULL, NULL);
    const struct aw_sink_probe *p = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_EQUAL(p->probe(m->sink, 0), AW_OK);
    CU_ASSERT_EQUAL(access(store, F_OK), -1); /* it was not run */
    CU_ASSERT_PTR_NULL(m->class->extension(m->sink, AW_EXT_SINK_QUERY));
    mh_destroy(m);
    /* What only the kernel knows. */
    mh_spew(file, "echo hello\n", 11);
    m = MH("exec", "command", file);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "cannot be run: Exec format error; a script needs"));
    mh_destroy(m);
    m = MH("exec", "command", "/bin/cat", "files_limit", "1048576", "directory", "/root/nowhere");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
    free(store);
    free(file);
}

static void test_promises(void)
{
    static const char *const on_flush[] = {"durability", "on_flush", NULL}, *const never[] = {"durability", "never",
                                                                                              NULL};
    uint8_t status[10];
    uint64_t seq = 0;
    struct mh_instance *m = peer("accepts", "-", NULL, NULL);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "says \"accepted\": set durability"));
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    mh_destroy(m);
    m = peer("good", "-", NULL, never);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_ACCEPTED)); /* whatever it says */
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 10);
    CU_ASSERT_EQUAL(mh_write(m, 11, 12, AW_BATCH_MUST_BE_DURABLE, status), AW_E_UNSUPPORTED);
    mh_destroy(m);
    m = peer("flush", "-", NULL, on_flush);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    for (uint64_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(mh_write(m, i * 10 + 1, i * 10 + 10, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_ACCEPTED));
        CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
        CU_ASSERT_EQUAL(seq, i * 10 + 10);
    }
    CU_ASSERT_EQUAL(mh_write(m, 31, 40, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

static void test_lost_promises(void)
{
    static const char *const pairs[] = {"durability", "on_flush", "ack_timeout", "200ms", "grace", "200ms", NULL};
    static const struct {
        const char *mode, *error;
        int32_t code;
    } all[] = {{"flush-fails", "cannot flush: disk full", AW_E_RETRY},
               {"flush-dies", "ended with exit status 5", AW_E_RETRY},
               {"flush-hangs", "no answer to a flush", AW_E_TIMEOUT}};
    uint8_t status[10];
    uint64_t seq = 0;
    for (size_t i = 0; i < 3; i++) {
        struct mh_instance *m = peer(all[i].mode, "-", NULL, pairs);
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_ACCEPTED));
        CU_ASSERT_EQUAL(mh_flush(m, &seq), all[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, all[i].error));
        CU_ASSERT_EQUAL(mh_write(m, 1, 10, AW_BATCH_MUST_BE_DURABLE, status), all[i].code);
        CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
        mh_destroy(m);
    }
    /* The program goes between its promise and the flush: what a new one flushes is not that. */
    struct mh_instance *m = peer("flush", "-", NULL, pairs);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    CU_ASSERT_EQUAL(kill_programs("flush", SIGKILL), 1);
    CU_ASSERT_TRUE(wait_degraded(m));
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, status), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_E_RETRY);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "before it had flushed"));
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 20);
    mh_destroy(m);
    CU_ASSERT_TRUE(no_children());
}

HARNESS_MAIN("sink_exec", {"events, order, a second life", test_events}, {"large events", test_large},
             {"every status", test_statuses}, {"answers in any order", test_any_order},
             {"two events with one id", test_same_id}, {"what the program finds around it", test_surroundings},
             {"a script, another user", test_script}, {"options", test_options}, {"probe and start refuse", test_probe},
             {"durability", test_promises}, {"promises that are lost", test_lost_promises})
