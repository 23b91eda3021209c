/* harness.c - see harness.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "harness.h"

#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char tmpdir[256];
static const char *skip_reason;
static pid_t owner;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void cleanup(void)
{
    if (tmpdir[0] != '\0' && getpid() == owner) /* a forked child that exits must not remove its parent's files */
        nftw(tmpdir, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

const char *harness_tmpdir(void)
{
    if (tmpdir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(tmpdir, sizeof tmpdir, "%s/awtest.XXXXXX", base && *base ? base : "/tmp");
        if (!mkdtemp(tmpdir)) {
            printf("Bail out! no temporary directory\n");
            exit(1);
        }
        owner = getpid();
        atexit(cleanup);
    }
    return tmpdir;
}

const char *harness_data(const char *relative)
{
    static char path[1024];
    const char *top = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/tests/data/%s", top ? top : ".", relative);
    return path;
}

void harness_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("# ");
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    fflush(stdout);
}

uint64_t harness_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t harness_seed(void)
{
    static uint64_t seed;
    if (seed == 0) {
        const char *given = getenv("HARNESS_SEED");
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = given ? strtoull(given, NULL, 10) : ((uint64_t)now.tv_nsec << 20 ^ (uint64_t)now.tv_sec) | 1u;
        harness_note("HARNESS_SEED=%llu", (unsigned long long)seed);
    }
    return seed;
}

void harness_skip(const char *why)
{
    skip_reason = why;
}

void harness_end_child(int status)
{
    if (getenv("AW_TEST_QUICK")) {
        char command[20];
        snprintf(command, sizeof command, "exit %d", status & 0xff);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    }
    _exit(status);
}

bool harness_slow(void)
{
#ifdef AW_SANITIZED
    return true;
#else
    return getenv("AW_TEST_QUICK") != NULL;
#endif
}

static void print_failures(void)
{
    for (CU_pFailureRecord f = CU_get_failure_list(); f != NULL; f = f->pNext)
        printf("#   %s:%u: %s\n", f->strFileName ? f->strFileName : "?", f->uiLineNumber,
               f->strCondition ? f->strCondition : "?");
}

int harness_run(const char *suite, const struct harness_test *tests, size_t count, int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    const char *limit = getenv("HARNESS_TIMEOUT");
    size_t passed = 0, failed = 0, run = 0;
    alarm(limit ? (unsigned)strtoul(limit, NULL, 10) : harness_slow() ? 900u : 300u);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    CU_pSuite s = CU_add_suite(suite, NULL, NULL);
    if (s == NULL)
        return 1;
    CU_set_error_action(CUEA_IGNORE);
    size_t selected = 0;
    for (size_t i = 0; i < count; i++)
        selected += strstr(tests[i].name, only) != NULL;
    printf("1..%zu\n", selected);
    for (size_t i = 0; i < count; i++) {
        if (!strstr(tests[i].name, only))
            continue;
        CU_pTest t = CU_add_test(s, tests[i].name, tests[i].fn);
        skip_reason = NULL;
        CU_ErrorCode rc = t ? CU_run_test(s, t) : CUE_NOMEMORY;
        bool ok = rc == CUE_SUCCESS && CU_get_number_of_failures() == 0;
        run++;
        passed += ok;
        failed += !ok;
        printf("%s %zu - %s: %s%s%s\n", ok ? "ok" : "not ok", run, suite, tests[i].name,
               skip_reason && ok ? " # SKIP " : "", skip_reason && ok ? skip_reason : "");
        if (!ok)
            print_failures();
        fflush(stdout);
    }
    CU_cleanup_registry();
    printf("# %s: %zu passed, %zu failed\n", suite, passed, failed);
    return failed != 0;
}
