/* slots_support.c - see slots_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "slots_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STORE_MAX (64u << 20)

/* journal: more of its settings; sink: of the file sink. */
void slots_configure(struct slots_rig *r, const char *name, const char *journal, const char *sink)
{
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    CU_ASSERT_EQUAL_FATAL(mkdir(r->dir, 0700), 0);
    snprintf(
        r->conf, sizeof r->conf,
        "service = \"tests\";\njournal = { path = \"%s/journal\"; ring_size = \"256KiB\"; segment_size = \"256KiB\";\n"
        "            max_size = \"16MiB\"; min_free = \"0\"; %s };\n"
        "retry = { base = \"1ms\"; cap = \"20ms\"; };\nbatch = { flush_interval = \"2ms\"; };\n"
        "sinks = ( { plugin = \"file\"; name = \"trail\"; path = \"%s/trail.jsonl\"; fsync = \"never\"; %s },\n"
        "          { plugin = \"sqlite\"; name = \"table\"; path = \"%s/trail.db\"; } );\n",
        r->dir, journal, r->dir, sink, r->dir);
}

void slots_print_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        harness_note("%s: %s: %s", aw_error_name(p[i]->code), p[i]->path, p[i]->message);
}

bool slots_problem_says(const char *text)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        if (strstr(p[i]->message, text))
            return true;
    slots_print_problems();
    return false;
}

int slots_open_with(const struct slots_rig *r, uint32_t flags, struct aw_logger **ret)
{
    struct aw_open_options o = {.struct_size = sizeof o, .flags = flags, .config_text = r->conf};
    int rc = aw_open(&o, ret);
    if (rc != AW_SUCCESS && rc != AW_ERR_BUSY)
        slots_print_problems();
    return rc;
}

int slots_log_one(struct aw_logger *logger, const char *who, int n)
{
    char json[300];
    int len = snprintf(json, sizeof json,
                       "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u\"},"
                       "\"eventId\":\"%s-%d\",\"context\":{\"tenantId\":\"t%d\"}}",
                       who, n, n % 3);
    return aw_log_json(logger, json, (size_t)len, NULL);
}

int slots_log_many(struct aw_logger *logger, const char *who, int count)
{
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = slots_log_one(logger, who, i);
    return rc;
}

/* ---- the stores ---- */

char *slots_slurp(const struct slots_rig *r, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = fopen(path, "r");
    char *text = calloc(1, STORE_MAX);
    if (f && text)
        text[fread(text, 1, STORE_MAX - 1, f)] = '\0';
    if (f)
        (void)fclose(f);
    return text;
}

static int occurrences(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        n++;
    return n;
}

/* Lines of a slot's file in which this stands. */
int slots_count_in(const struct slots_rig *r, unsigned slot, const char *what)
{
    char name[40] = "trail.jsonl";
    if (slot)
        snprintf(name, sizeof name, "trail.slot%u.jsonl", slot);
    char *text = slots_slurp(r, name);
    int n = occurrences(text, what);
    free(text);
    return n;
}

static void keep_finding(void *arg, const struct aw_finding *f)
{
    struct slots_report *r = arg;
    if (!r->first[0])
        snprintf(r->first, sizeof r->first, "%s", f->message);
}

static void keep_scope(void *arg, const struct aw_scope_report *s)
{
    ((struct slots_report *)arg)->streams |= 1u << s->stream;
}

struct slots_report slots_verify(const char *store)
{
    struct slots_report r = {.verdict = -1};
    struct aw_store *s = NULL;
    struct aw_store_options o = {.struct_size = sizeof o, .store = store};
    struct aw_verify_options v = {
        .struct_size = sizeof v, .on_finding = keep_finding, .on_scope = keep_scope, .arg = &r};
    struct aw_verify_report report = {.struct_size = sizeof report};
    if (aw_store_open(&o, &s) == AW_SUCCESS && aw_verify(s, &v, &report) == AW_SUCCESS) {
        r.verdict = report.verdict;
        r.events = report.events;
    } else {
        slots_print_problems();
    }
    aw_store_close(s);
    return r;
}

/* Both stores of a slot hold so many events, and verify. */
void slots_check_slot(const struct slots_rig *r, unsigned slot, uint64_t events)
{
    static const char *const forms[] = {"file:%s/trail%s.jsonl", "sqlite:%s/trail%s.db"};
    char insert[20] = "", store[400];
    if (slot)
        snprintf(insert, sizeof insert, ".slot%u", slot);
    for (size_t i = 0; i < 2; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(store, sizeof store, forms[i], r->dir, insert);
#pragma GCC diagnostic pop
        struct slots_report v = slots_verify(store);
        CU_ASSERT_EQUAL(v.verdict, AW_VERDICT_GOOD);
        CU_ASSERT_EQUAL(v.events, events);
        CU_ASSERT_EQUAL(v.streams, 1u << slot);
        if (v.verdict != AW_VERDICT_GOOD || v.events != events)
            harness_note("%s: %llu events, %s", store, (unsigned long long)v.events, v.first);
    }
}

void slots_wait_for_lines(const struct slots_rig *r, unsigned slot, const char *what, int count)
{
    for (int i = 0; i < PATIENCE_MS / 20 && slots_count_in(r, slot, what) < count; i++)
        (void)usleep(20000);
    CU_ASSERT_EQUAL(slots_count_in(r, slot, what), count);
}

int slots_ended(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

void slots_wait_for_ever(void)
{
    for (;;)
        (void)pause();
}
