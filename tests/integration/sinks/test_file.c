/* test_file.c - the file sink writing: options, durability, rotation, damage, life. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"

static struct mh_instance *started(const char *path)
{
    struct mh_instance *m = MH("file", "path", path);
    CU_ASSERT_EQUAL_FATAL(mh_start(m), AW_OK);
    return m;
}

static void test_lines(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = started(path);
    uint8_t status[20];
    uint64_t seq = 0;
    struct stat st;
    struct aw_position pos;
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(mh_write(m, 1, 20, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 20, AW_EVENT_ACCEPTED));
    CU_ASSERT_TRUE(mh_file_is(path, 1, 20));
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 20);
    CU_ASSERT_EQUAL(mh_write(m, 21, 22, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0640);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    /* A second life goes on where the first ended, and says so. */
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
    CU_ASSERT_EQUAL(pos.seq, 22);
    CU_ASSERT_EQUAL(strlen(pos.hash), 64);
    CU_ASSERT_EQUAL(mh_write(m, 23, 23, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 23));
    mh_destroy(m); /* without stop */
    free(path);
}

static void test_fsync_modes(void)
{
    static const char *const modes[] = {"never", "batch", "always"};
    for (size_t i = 0; i < 3; i++) {
        char *path = mh_path("audit.jsonl");
        struct mh_instance *m = MH("file", "path", path, "fsync", modes[i]);
        uint8_t status[5];
        uint64_t seq = 0;
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write(m, 1, 5, 0, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 5, i == 2 ? AW_EVENT_DURABLE : AW_EVENT_ACCEPTED));
        CU_ASSERT_EQUAL(mh_write(m, 6, 9, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
        CU_ASSERT_TRUE(mh_all(status, 4, AW_EVENT_DURABLE));
        CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
        CU_ASSERT_EQUAL(seq, 9);
        CU_ASSERT_TRUE(mh_file_is(path, 1, 9));
        mh_destroy(m);
        free(path);
    }
}

static void refused(struct mh_instance *m, const char *text)
{
    CU_ASSERT_PTR_NULL(m);
    CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), text));
    if (strstr(mh_last_error(), text) == NULL)
        harness_note("got: %s", mh_last_error());
    mh_destroy(m);
}

static void test_bad_options(void)
{
    char *path = mh_path("audit.jsonl");
    refused(MH("file", "path", ""), "path: names no file");
    refused(MH("file", "path", "/tmp/"), "names no file");
    refused(MH("file", "path", path, "mode", "rw"), "not an octal mode");
    refused(MH("file", "path", path, "mode", "0440"), "lets the owner read and write");
#ifndef HAVE_ZSTD
    refused(MH("file", "path", path, "compress", "zstd"), "no zstd");
#endif
    CU_ASSERT_EQUAL(mh_names(path, "audit", NULL, 0), 0); /* create() does no I/O */
    struct mh_instance *m = MH("file", "path", path, "owner", "no-such-user-here");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no user \"no-such-user-here\""));
    mh_destroy(m);
    m = MH("file", "path", path, "owner", ":no-such-group-here");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no group"));
    mh_destroy(m);
    free(path);
}

static void test_mode_and_owner(void)
{
    char *path = mh_path("audit.jsonl"), owner[64];
    struct stat st;
    snprintf(owner, sizeof owner, "%u:%u", getuid(), getgid());
    mode_t old = umask(077);
    struct mh_instance *m = MH("file", "path", path, "mode", "0664", "owner", owner);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    umask(old);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0664);
    CU_ASSERT_EQUAL(st.st_uid, getuid());
    CU_ASSERT_EQUAL(st.st_gid, getgid());
    mh_destroy(m);
    free(path);
}

static void test_wrong_places(void)
{
    char *dir = mh_fresh_dir(), *link = mh_path("link.jsonl"), *fifo = mh_path("fifo.jsonl"),
         *other = mh_path("notes.txt"), *fresh = mh_path("new/audit.jsonl"), *deep = mh_path("a/b/audit.jsonl");
    struct mh_instance *m = MH("file", "path", dir);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    mh_destroy(m);
    CU_ASSERT_EQUAL(symlink("/dev/null", link), 0);
    m = MH("file", "path", link);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "symbolic link"));
    mh_destroy(m);
    CU_ASSERT_EQUAL(mkfifo(fifo, 0600), 0);
    m = MH("file", "path", fifo);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "not a regular file"));
    mh_destroy(m);
    /* A file that is none of ours is not cut. */
    mh_spew(other, "dear diary\nnothing happened", 27);
    m = MH("file", "path", other);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "no audit trail"));
    size_t n;
    char *text = mh_slurp(other, &n);
    CU_ASSERT_EQUAL(n, 27);
    free(text);
    mh_destroy(m);
    /* One missing directory is made; a missing tree may be a file system that is not mounted yet. */
    m = started(fresh);
    mh_destroy(m);
    m = MH("file", "path", deep);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_UNAVAILABLE);
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    CU_ASSERT_EQUAL(h.last_error, AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(h.detail, "No such file"));
    mh_destroy(m);
    free(dir);
    free(link);
    free(fifo);
    free(other);
    free(fresh);
    free(deep);
}

static void test_second_writer(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *a = started(path), *b = MH("file", "path", path);
    CU_ASSERT_EQUAL(mh_start(b), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(b->error, "another"));
    CU_ASSERT_PTR_NOT_NULL(strstr(b->error, path));
    pid_t pid = fork();
    if (pid == 0) {
        int32_t r = mh_start(b);
        _exit(r == AW_E_CONFIG && strstr(b->error, "writes to this file already") != NULL ? 0 : 1);
    }
    int status;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(mh_stop(a), AW_OK);
    CU_ASSERT_EQUAL(mh_start(b), AW_OK);
    mh_destroy(a);
    mh_destroy(b);
    free(path);
}

static void test_two_instances(void)
{
    char *one = mh_path("one.jsonl"), *two = mh_path("two.jsonl");
    struct mh_instance *a = started(one), *b = started(two);
    for (uint64_t i = 1; i <= 50; i++) {
        CU_ASSERT_EQUAL(mh_write(a, i, i, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_write(b, i, i, 0, NULL), AW_OK);
    }
    CU_ASSERT_TRUE(mh_file_is(one, 1, 50));
    CU_ASSERT_TRUE(mh_file_is(two, 1, 50));
    mh_destroy(a);
    mh_destroy(b);
    free(one);
    free(two);
}

static void test_torn_everywhere(void)
{
    char *path = mh_path("audit.jsonl"), name[1024], *part = strdup("torn-");
    size_t whole, both;
    char *two = mh_lines(1, 2, &whole), *three = mh_lines(1, 3, &both);
    struct aw_position pos;
    for (size_t cut = whole + 1; cut < both; cut++) {
        mh_spew(path, three, cut);
        struct mh_instance *m = started(path);
        CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
        CU_ASSERT_EQUAL(pos.seq, 2);
        CU_ASSERT_TRUE(mh_logged(m, "torn or damaged"));
        CU_ASSERT_EQUAL(mh_metric(m, "file_torn_bytes_total"), (double)(cut - whole));
        CU_ASSERT_TRUE(mh_file_is(path, 1, 2));
        CU_ASSERT_EQUAL_FATAL(mh_names(path, part, name, sizeof name), 1);
        size_t n;
        char *kept = mh_slurp(name, &n);
        CU_ASSERT_TRUE(n == cut - whole && memcmp(kept, three + whole, n) == 0);
        free(kept);
        CU_ASSERT_EQUAL(mh_write(m, 3, 3, 0, NULL), AW_OK);
        CU_ASSERT_TRUE(mh_file_is(path, 1, 3));
        mh_destroy(m);
        unlink(name);
    }
    /* The very first line torn: the file begins anew. */
    mh_spew(path, two, 100);
    struct mh_instance *m = started(path);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_NOTFOUND);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 1));
    mh_destroy(m);
    free(two);
    free(three);
    free(path);
    free(part);
}

static void test_garbage_end(void)
{
    char *path = mh_path("audit.jsonl"), name[1024];
    size_t n;
    char *good = mh_lines(1, 5, &n), *file = calloc(1, n + 20000);
    memcpy(file, good, n);
    struct aw_position pos;
    /* zeros without and with a newline; a complete line that is no JSON; two of them */
    static const char *const ends[] = {"", "\n", "{\"action\":\"user.lo\n", "garbage\n{\"a\":}\n"};
    for (size_t i = 0; i < 4; i++) {
        size_t zeros = i < 2 ? 9000 : 0, add = strlen(ends[i]);
        memset(file + n, 0, 20000);
        memcpy(file + n + zeros, ends[i], add);
        mh_spew(path, file, n + zeros + add);
        struct mh_instance *m = started(path);
        CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
        CU_ASSERT_EQUAL(pos.seq, 5);
        CU_ASSERT_TRUE(mh_file_is(path, 1, 5));
        CU_ASSERT_EQUAL(mh_names(path, "torn-", name, sizeof name), 1);
        unlink(name);
        mh_destroy(m);
    }
    /* Nothing but zeros, as after a power loss before the first sync. */
    memset(file, 0, 20000);
    mh_spew(path, file, 20000);
    struct mh_instance *m = started(path);
    CU_ASSERT_EQUAL(mh_write(m, 1, 2, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 2));
    mh_destroy(m);
    free(good);
    free(file);
    free(path);
}

/* Zeros in the middle: later blocks reached the disk, earlier did not. */
static void test_hole(void)
{
    char *path = mh_path("audit.jsonl"), name[1024];
    size_t n, three, five;
    struct aw_position pos;
    char *file = mh_lines(1, 10, &n);
    free(mh_lines(1, 3, &three));
    free(mh_lines(1, 5, &five));
    memset(file + three + 10, 0, five - three - 20); /* in lines 4 and 5 */
    mh_spew(path, file, n);
    struct mh_instance *m = started(path);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_OK);
    CU_ASSERT_EQUAL(pos.seq, 3);
    CU_ASSERT_EQUAL(mh_write(m, 4, 12, 0, NULL), AW_OK); /* the host begins behind the position */
    CU_ASSERT_TRUE(mh_file_is(path, 1, 12));
    CU_ASSERT_EQUAL(mh_names(path, "torn-", name, sizeof name), 1);
    mh_destroy(m);
    /* The same, but all of it was acknowledged long ago: old damage is left for verify to find. */
    mh_spew(path, file, n);
    m = started(path);
    CU_ASSERT_EQUAL(mh_write(m, 11, 12, 0, NULL), AW_OK);
    size_t now;
    char *text = mh_slurp(path, &now);
    CU_ASSERT_TRUE(memcmp(text, file, n) == 0 && now > n);
    free(text);
    mh_destroy(m);
    /* Acknowledged up to 7: only what comes again goes. */
    mh_spew(path, file, n);
    m = started(path);
    CU_ASSERT_EQUAL(mh_write(m, 8, 12, 0, NULL), AW_OK);
    size_t tail_n;
    char *tail = mh_lines(8, 12, &tail_n);
    text = mh_slurp(path, &now);
    CU_ASSERT_TRUE(now > tail_n && memcmp(text + now - tail_n, tail, tail_n) == 0);
    CU_ASSERT_TRUE(memcmp(text, file, now - tail_n) == 0);
    free(text);
    free(tail);
    mh_destroy(m);
    free(file);
    free(path);
}

/* A full file system, played by RLIMIT_FSIZE: the limit falls into the middle of a line. */
static void test_full(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = started(path);
    struct rlimit old, small;
    uint8_t status[100];
    size_t ten, thirty;
    free(mh_lines(1, 10, &ten));
    free(mh_lines(1, 30, &thirty));
    signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_flush(m, NULL), AW_OK);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){thirty + 100, old.rlim_max};
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
    CU_ASSERT_EQUAL(mh_write(m, 11, 60, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, 20, AW_EVENT_ACCEPTED));
    CU_ASSERT_TRUE(mh_all(status + 20, 30, AW_EVENT_UNKNOWN));
    CU_ASSERT_TRUE(mh_file_is(path, 1, 30));
    uint64_t seq = 0;
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(seq, 30);
    CU_ASSERT_EQUAL(mh_write(m, 31, 60, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, 30, AW_EVENT_UNKNOWN));
    CU_ASSERT_TRUE(mh_file_is(path, 1, 30));
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
    CU_ASSERT_EQUAL(mh_write(m, 31, 60, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 60));
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    CU_ASSERT_TRUE(h.last_success_ns > 0);
    mh_destroy(m);
    free(path);
}

static void test_odd_events(void)
{
    char *path = mh_path("audit.jsonl");
    struct mh_instance *m = MH("file", "path", path, "buffer_size", "4KiB");
    struct aw_event *e[5] = {mh_event(1), mh_event(2), mh_event_sized(3, 3 << 20), mh_event(4), mh_event(5)};
    uint8_t status[5];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    e[1]->json[20] = '\n'; /* would break the lines of the file */
    CU_ASSERT_EQUAL(mh_write_events(m, e, 5, 0, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_ACCEPTED);
    CU_ASSERT_EQUAL(status[1], AW_EVENT_REJECTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, "raw newline"));
    CU_ASSERT_EQUAL(m->event_error_index, 1);
    CU_ASSERT_TRUE(mh_all(status + 2, 3, AW_EVENT_UNKNOWN)); /* the dead letter comes first */
    CU_ASSERT_EQUAL(mh_write_events(m, e + 2, 3, 0, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_ACCEPTED));
    struct mh_rows rows = mh_read(m, NULL, 64);
    CU_ASSERT_EQUAL(rows.count, 4);
    CU_ASSERT_EQUAL(rows.last_seq, 5);
    /* An event that cannot be rendered now ends the batch, so that the order of the lines stays that of the chain. */
    e[3]->encode_code = AW_E_NOMEM;
    CU_ASSERT_EQUAL(mh_write_events(m, e + 2, 3, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_ACCEPTED);
    CU_ASSERT_TRUE(mh_all(status + 1, 2, AW_EVENT_UNKNOWN));
    for (int i = 0; i < 5; i++)
        mh_event_free(e[i]);
    mh_destroy(m);
    free(path);
}

static void test_life(void)
{
    char *path = mh_path("audit.jsonl");
    uint64_t seq;
    struct mh_instance *m = MH("file", "path", path);
    struct aw_position pos;
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_position(m, &pos), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_flush(m, &seq), AW_OK);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_names(path, "audit", NULL, 0), 0);
    mh_destroy(m); /* never started */
    m = MH("file", "path", path);
    for (uint64_t i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_start(m), AW_E_INTERNAL);
        CU_ASSERT_EQUAL(mh_write(m, i, i, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    }
    CU_ASSERT_TRUE(mh_file_is(path, 1, 5));
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    pid_t pid = fork(); /* the child drops what it inherited; the parent's lock stays */
    if (pid == 0)
        _exit(m->class->after_fork(m->sink) == AW_OK && mh_start(m) == AW_E_CONFIG ? 0 : 1);
    int status;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(mh_write(m, 6, 6, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_file_is(path, 1, 6));
    mh_destroy(m);
    free(path);
}

HARNESS_MAIN("sink_file", {"one line an event, flushed, going on after a restart", test_lines},
             {"fsync never, batch, always", test_fsync_modes},
             {"bad options are refused with a reason", test_bad_options}, {"mode and owner", test_mode_and_owner},
             {"paths that are no trail", test_wrong_places}, {"a second writer is refused", test_second_writer},
             {"two instances", test_two_instances}, {"a torn last line, cut at every byte", test_torn_everywhere},
             {"zeros and garbage at the end", test_garbage_end}, {"a hole before good lines", test_hole},
             {"a full disk", test_full}, {"odd events", test_odd_events}, {"orders of life", test_life})
