/* modes_rig.c - see modes_rig.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "modes_rig.h"

#include "harness.h"

#include "base/base.h"
#include "base/fs.h"

#include <stdio.h>
#include <sys/stat.h>

static void expand(const struct modes_rig *r, const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + sizeof r->dir < size; text++) {
        if (*text == '@')
            n += (size_t)snprintf(out + n, size - n, "%s", r->dir);
        else
            out[n++] = *text;
    }
    out[n] = '\0';
}

void modes_configure(struct modes_rig *r, const char *name, const char *journal, const char *top, const char *sinks)
{
    char list[2500];
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    CU_ASSERT_EQUAL_FATAL(mkdir(r->dir, 0700), 0);
    expand(r, sinks ? sinks : TRAIL, list, sizeof list);
    int n = snprintf(r->conf, sizeof r->conf,
                     "service = \"tests\";\njournal = { path = \"%s/journal\"; ring_size = \"1MiB\"; "
                     "segment_size = \"1MiB\"; %s };\nplugin_path = \"%s/tests/plugins/.libs\";\n%s\nsinks = ( %s );\n",
                     r->dir, journal, getenv("top_builddir") ? getenv("top_builddir") : ".", top, list);
    CU_ASSERT_FATAL(n > 0 && (size_t)n < sizeof r->conf);
}

int modes_open(struct modes_rig *r, uint32_t flags)
{
    struct aw_open_options o = {.struct_size = sizeof o, .flags = flags, .config_text = r->conf};
    int rc = aw_open(&o, &r->logger);
    if (rc != AW_SUCCESS)
        (void)modes_problem("", "\n"); /* prints all */
    return rc;
}

void modes_order(const struct modes_rig *r, const char *name, const char *order)
{
    char path[420], new_path[440];
    snprintf(path, sizeof path, "%s/%s.orders", r->dir, name);
    snprintf(new_path, sizeof new_path, "%s.new", path);
    FILE *f = fopen(new_path, "we");
    CU_ASSERT_FATAL(f && fprintf(f, "%s\n", order) > 0 && fclose(f) == 0 && rename(new_path, path) == 0);
}

char *modes_file(const struct modes_rig *r, const char *name)
{
    char path[420], *text = NULL;
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return fs_read_file(path, 100u << 20, &text, NULL) == 0 ? text : strdup("");
}

static size_t count_lines(char *text, const char *part)
{
    size_t n = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        n += strstr(line, part) != NULL;
    return n;
}

size_t modes_received(const struct modes_rig *r, const char *name)
{
    char file[100];
    snprintf(file, sizeof file, "%s.received", name);
    AW_AUTOFREE char *text = modes_file(r, file);
    return count_lines(text, "");
}

size_t modes_lines_with(const struct modes_rig *r, const char *part)
{
    AW_AUTOFREE char *text = modes_file(r, "trail.jsonl");
    return count_lines(text, part);
}

int modes_log(struct modes_rig *r, const char *action, const char *tenant)
{
    struct aw_builder *b = aw_builder_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    aw_set_action(b, action, AW_OUTCOME_SUCCESS);
    aw_set_actor(b, "user", "u1");
    if (tenant)
        aw_set_string(b, "context.tenantId", tenant);
    int rc = aw_log(r->logger, b, NULL);
    aw_builder_destroy(b);
    return rc;
}

bool modes_problem(const char *path, const char *part)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        if (strstr(p[i]->path, path) && strstr(p[i]->message, part))
            return true;
    for (size_t i = 0; i < n; i++)
        harness_note("%s: %s: %s", aw_error_name(p[i]->code), p[i]->path, p[i]->message);
    return false;
}

bool modes_verifies(const struct modes_rig *r, uint64_t events)
{
    char store[420];
    snprintf(store, sizeof store, "file:%s/trail.jsonl", r->dir);
    struct aw_store_options so = {.struct_size = sizeof so, .store = store};
    struct aw_store *st;
    struct aw_verify_options vo = {.struct_size = sizeof vo, .flags = AW_VERIFY_COMPLETE};
    struct aw_verify_report report = {.struct_size = sizeof report};
    if (aw_store_open(&so, &st) != 0)
        return false;
    int rc = aw_verify(st, &vo, &report);
    aw_store_close(st);
    if (rc != 0 || report.verdict != 0 || report.events != events)
        harness_note("verify: %d, verdict %d, %llu events", rc, (int)report.verdict, (unsigned long long)report.events);
    return rc == 0 && report.verdict == 0 && report.events == events;
}
