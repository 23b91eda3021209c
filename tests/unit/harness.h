/* harness.h - runs CUnit tests one by one and speaks TAP, with a watchdog. SPDX-License-Identifier: Apache-2.0
 *
 *   HARNESS_MAIN("json", {"accepts what RFC 8259 accepts", test_accepts}, {"…", test_…})
 *
 * Each test is a void(void) with CU_ASSERT*. Options of the binary: a substring runs only the tests whose name holds
 * it; HARNESS_TIMEOUT (seconds, 300) bounds the run; HARNESS_SEED replays property tests. The run ends with the plain
 * line
 * "# N passed, N failed" and exit status 0 or 1.
 */
#ifndef AW_HARNESS_H
#define AW_HARNESS_H

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harness_test {
    const char *name;
    void (*fn)(void);
};
int harness_run(const char *suite, const struct harness_test *tests, size_t count, int argc, char **argv);
/* The seed of this run, printed as a TAP diagnostic: HARNESS_SEED, or drawn. */
uint64_t harness_seed(void);
/* A small generator for property tests: splitmix64. */
uint64_t harness_random(uint64_t *state);
/* A fresh directory under $TMPDIR, removed with all it holds when the binary ends (also after a failure). */
const char *harness_tmpdir(void);
/* Path of a file in tests/data. Valid until the next call. */
const char *harness_data(const char *relative);
/* The current test cannot run here: reported as "# SKIP why" (CI treats skips as failures). */
void harness_skip(const char *why);
void harness_note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "# text" */
/* Built with a sanitizer, or run under valgrind (AW_TEST_QUICK is set): smaller numbers, no limits of time and memory.
 */
bool harness_slow(void);
/* _exit() of a forked child whose parent has threads. valgrind would look for leaks there, and find what only those
 * threads, which the child does not have, knew of. */
/* The sanitizers' allocators have locks that a fork does not care for (glibc's does): whoever forks and lets the child
 * allocate has no busy threads then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HARNESS_FORKS_QUIETLY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HARNESS_FORKS_QUIETLY 1
#endif
#endif
#ifndef HARNESS_FORKS_QUIETLY
#define HARNESS_FORKS_QUIETLY 0
#endif
void harness_end_child(int status) __attribute__((noreturn));

#define HARNESS_MAIN(suite, ...)                                                                                       \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        static const struct harness_test tests_[] = {__VA_ARGS__};                                                     \
        return harness_run(suite, tests_, sizeof tests_ / sizeof tests_[0], argc, argv);                               \
    }

#endif
