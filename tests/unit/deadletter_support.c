/* deadletter_support.c - see deadletter_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "deadletter_support.h"

#include "base/fs.h"
#include "harness.h"
#include "journal_support.h"

#include <dirent.h>
#include <stdio.h>

/* ---- letters to be written: records of a real journal ---- */
struct record_view letters_events[LETTERS_EVENTS];
char letters_dir[300], letters_file[400], letters_head[400];
const struct diag_out letters_diag = {support_diag, NULL};

static void make_events(void)
{
    static uint64_t space[LETTERS_EVENTS][300];
    struct record_view v[LETTERS_EVENTS];
    struct journal_cursor *c = NULL;
    size_t n = 0;
    if (letters_events[0].head)
        return;
    struct journal_options o = support_options(support_path("events"));
    struct journal *j = support_open(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    (void)support_fill(j, 1, LETTERS_EVENTS, 2, 10);
    CU_ASSERT_EQUAL_FATAL(journal_sync(j, LETTERS_EVENTS), 0);
    CU_ASSERT_EQUAL_FATAL(journal_cursor_open(j, "c", JOURNAL_FROM_STORED, &c), 0);
    for (size_t have = 0; have < LETTERS_EVENTS; have += n) {
        CU_ASSERT_EQUAL_FATAL(journal_cursor_read(c, v, LETTERS_EVENTS - have, 1 << 20, &n), 0);
        for (size_t i = 0; i < n; i++) {
            CU_ASSERT_FATAL(v[i].head->total_len <= sizeof space[0]);
            memcpy(space[have + i], v[i].head, v[i].head->total_len);
            CU_ASSERT_EQUAL_FATAL(record_check(space[have + i], sizeof space[0], &letters_events[have + i]), 0);
        }
    }
    journal_cursor_close(c);
    CU_ASSERT_EQUAL(journal_close(j), 0);
}

struct deadletter *letters_open(void)
{
    struct deadletter *dl = NULL;
    CU_ASSERT_EQUAL_FATAL(deadletter_create(letters_dir, "sink", &letters_diag, &dl), 0);
    return dl;
}

void letters_begin(const char *name)
{
    make_events();
    snprintf(letters_dir, sizeof letters_dir, "%s", support_path(name));
    snprintf(letters_file, sizeof letters_file, "%s/deadletter/sink.jsonl", letters_dir);
    snprintf(letters_head, sizeof letters_head, "%s/deadletter/sink.head", letters_dir);
}

void letters_add(struct deadletter *dl, size_t i)
{
    CU_ASSERT_EQUAL(deadletter_add(dl, &letters_events[i], 1, "it is \"bad\"\n"), 0);
}

void letters_add_many(size_t n)
{
    struct deadletter *dl = letters_open();
    for (size_t i = 0; i < n; i++)
        letters_add(dl, i);
    deadletter_destroy(dl);
}

static void note_kind(void *arg, const struct dl_finding *f)
{
    struct letters_view *v = arg;
    v->kind = v->kind ? v->kind : f->kind;
}

struct letters_view letters_look(void)
{
    struct letters_view v = {.findings = 0};
    struct dl_index x;
    int fd = -1;
    struct deadletter *dl = letters_open();
    CU_ASSERT_EQUAL(deadletter_look(dl, note_kind, &v, &x, &fd), 0);
    v.findings = x.findings;
    v.lines = x.count;
    v.last_number = x.last_number;
    v.unfinished = x.size - x.good;
    for (size_t i = 0; i < x.count; i++) {
        const struct dl_entry *e = &x.entries[i];
        if (e->type != DL_LETTER || !e->sound)
            continue;
        v.letters++;
        v.waiting += !e->replayed;
        v.seqs |= 1ull << e->seq;
    }
    if (fd >= 0)
        (void)fs_close(fd);
    dl_index_free(&x);
    deadletter_destroy(dl);
    return v;
}

size_t letters_beside(const char *what) /* files sink.jsonl.WHAT-… */
{
    char path[400], prefix[60];
    snprintf(path, sizeof path, "%s/deadletter", letters_dir);
    snprintf(prefix, sizeof prefix, "sink.jsonl.%s-", what);
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (d)
        closedir(d);
    return n;
}
