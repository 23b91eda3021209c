/* test_gaps.c - what mode "drop" leaves in the chain. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "harness.h"
#include "modes_rig.h"

#include "base/base.h"
#include "base/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#define DROPS "mode = \"drop\"; redaction = { keys = ( \"count\", \"reason\", \"gap\" ); };"
#define SMALL "max_size = \"4MiB\";"

/* Fills the journal, which nobody reads, then tries `extra` more events of tenant-0 .. tenant-(tenants - 1). Returns
 * how many were taken. */
static size_t fill(struct modes_rig *r, size_t extra, size_t tenants, size_t *fillers_dropped)
{
    size_t taken = 0, dropped = 0;
    for (bool full = false; !full && taken < 100000;) {
        int rc = modes_log(r, "a.b", "filler");
        CU_ASSERT(rc == 0 || rc == AW_ERR_DROPPED);
        taken += rc == 0;
        if (rc == 0)
            continue;
        dropped++;
        size_t n;
        const struct aw_problem *const *p = aw_problems(&n);
        full = n == 1 && strstr(p[0]->message, "has no room (journal_full): the event was dropped (mode = \"drop\")");
        usleep(1000); /* the ring alone was full: the writer needs a moment */
    }
    *fillers_dropped = dropped;
    for (size_t i = 0; i < extra; i++) {
        char tenant[40];
        snprintf(tenant, sizeof tenant, "tenant-%zu", i % tenants);
        CU_ASSERT_EQUAL(modes_log(r, "c.d", tenant), AW_ERR_DROPPED);
    }
    return taken;
}

/* The sum of "count" over the gap records of a chain; tenant NULL: over all. */
static uint64_t counted(const struct modes_rig *r, const char *tenant)
{
    AW_AUTOFREE char *text = modes_file(r, "trail.jsonl");
    char want[80] = "";
    if (tenant)
        snprintf(want, sizeof want, "\"tenantId\":\"%s\"", tenant);
    uint64_t sum = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *count = strstr(line, "\"count\":");
        if (strstr(line, "\"action\":\"auditwell.gap\"") && strstr(line, want) && count)
            sum += strtoull(count + 8, NULL, 10);
    }
    return sum;
}

static void deliver_and_close(struct modes_rig *r)
{
    CU_ASSERT_EQUAL(aw_flush(r->logger, 60000), 0);
    CU_ASSERT_EQUAL(aw_close(r->logger, 20000), 0);
}

static void each_chain_gets_its_gap(void)
{
    struct modes_rig r;
    size_t dropped;
    modes_configure(&r, "each", SMALL, DROPS, NULL);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, AW_OPEN_NO_SINKS), 0);
    size_t taken = fill(&r, 90, 3, &dropped);
    struct aw_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(aw_stats(r.logger, &s), 0);
    CU_ASSERT_EQUAL(s.dropped_total, dropped + 90);
    (void)aw_close(r.logger, 0);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), 0);
    int rc;
    size_t more = 0;
    for (int i = 0; i < 500 && (rc = modes_log(&r, "after.wards", "tenant-1")) == AW_ERR_DROPPED; i++) {
        more++;
        usleep(10000);
    }
    CU_ASSERT_EQUAL(rc, 0);
    deliver_and_close(&r);
    CU_ASSERT_EQUAL(counted(&r, "filler"), dropped);
    CU_ASSERT_EQUAL(counted(&r, "tenant-0"), 30);
    CU_ASSERT_EQUAL(counted(&r, "tenant-1"), 30 + more);
    CU_ASSERT_EQUAL(counted(&r, "tenant-2"), 30);
    CU_ASSERT_EQUAL(counted(&r, NULL), dropped + 90 + more);
    AW_AUTOFREE char *text = modes_file(&r, "trail.jsonl");
    char after[60];
    snprintf(after, sizeof after, "\"gap\":{\"afterSeq\":%llu,\"count\":30,", (unsigned long long)s.head_seq);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, after)); /* and redaction.keys mask nothing of it */
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"reason\":\"journal_full\""));
    const char *gap = strstr(text, "auditwell.gap"), *next = strstr(text, "after.wards");
    CU_ASSERT(gap && next && gap < next);
    CU_ASSERT(modes_verifies(&r, taken + modes_lines_with(&r, "auditwell.gap") + 1));
}

static void a_killed_process_leaves_its_count(void)
{
    struct modes_rig r;
    modes_configure(&r, "killed", SMALL, DROPS, NULL);
    int p[2], status = -1;
    size_t dropped = 0;
    CU_ASSERT_EQUAL_FATAL(pipe(p), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (modes_open(&r, AW_OPEN_NO_SINKS) != 0)
            _exit(1);
        (void)fill(&r, 499, 1, &dropped);
        _exit(write(p[1], &dropped, sizeof dropped) == (ssize_t)sizeof dropped ? 0 : 2);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL_FATAL(read(p[0], &dropped, sizeof dropped), (ssize_t)sizeof dropped);
    close(p[0]);
    close(p[1]);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), 0);
    for (int i = 0; i < 500 && counted(&r, NULL) < dropped + 499; i++) { /* until delivered segments are gone */
        usleep(10000);
        CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), 0);
    }
    deliver_and_close(&r);
    CU_ASSERT_EQUAL(counted(&r, "filler"), dropped);
    CU_ASSERT_EQUAL(counted(&r, "tenant-0"), 499);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0); /* once */
    deliver_and_close(&r);
    CU_ASSERT_EQUAL(counted(&r, NULL), dropped + 499);
}

static void more_chains_than_slots(void)
{
    struct modes_rig r;
    size_t dropped;
    modes_configure(&r, "several", SMALL, DROPS, NULL);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, AW_OPEN_NO_SINKS), 0);
    (void)fill(&r, 1000, 100, &dropped);
    (void)aw_close(r.logger, 0);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    for (int i = 0; i < 500 && counted(&r, NULL) < dropped + 1000; i++) {
        usleep(10000);
        CU_ASSERT_EQUAL(aw_flush(r.logger, 60000), 0);
    }
    deliver_and_close(&r);
    CU_ASSERT_EQUAL(counted(&r, NULL), dropped + 1000);
    CU_ASSERT_EQUAL(modes_lines_with(&r, "\"chains\":\"several\""), 1);
    CU_ASSERT(modes_lines_with(&r, "auditwell.gap") >= 65);
}

/* Whatever is in the file: the logger starts, and nothing comes of it but a report. */
static void a_damaged_file_is_no_obstacle(void)
{
    unsigned seed = (unsigned)harness_seed();
    struct modes_rig r;
    modes_configure(&r, "damaged", "", DROPS, NULL);
    CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
    deliver_and_close(&r);
    char path[420];
    snprintf(path, sizeof path, "%s/journal/gaps", r.dir);
    struct stat st;
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    for (int round = 0; round < 60; round++) {
        AW_AUTOCLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CU_ASSERT_FATAL(fd >= 0);
        size_t len = round % 3 == 2 ? (size_t)rand_r(&seed) % 40000 : (size_t)st.st_size;
        AW_AUTOFREE uint8_t *bytes = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rand_r(&seed);
        size_t from = round % 3 == 1 ? 64 : 0; /* the header stays whole, the slots do not */
        CU_ASSERT(from > len || pwrite(fd, bytes + from, len - from, (off_t)from) == (ssize_t)(len - from));
        CU_ASSERT_EQUAL(ftruncate(fd, (off_t)len), 0);
        CU_ASSERT_EQUAL_FATAL(modes_open(&r, 0), 0);
        CU_ASSERT_EQUAL(modes_log(&r, "a.b", NULL), 0);
        deliver_and_close(&r);
    }
    CU_ASSERT_EQUAL(modes_lines_with(&r, "\"a.b\""), 60);
    CU_ASSERT(modes_verifies(&r, 60 + modes_lines_with(&r, "auditwell.gap")));
}

HARNESS_MAIN("gaps", {"each chain gets its gap", each_chain_gets_its_gap},
             {"a killed process leaves its count", a_killed_process_leaves_its_count},
             {"more chains than slots", more_chains_than_slots},
             {"a damaged file is no obstacle", a_damaged_file_is_no_obstacle})
