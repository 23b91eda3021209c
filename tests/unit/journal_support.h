/* journal_support.h - events and journals for the tests of core/seal and core/journal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_JOURNAL_SUPPORT_H
#define AW_JOURNAL_SUPPORT_H

#include "journal/journal.h"

/* An event of a tenant (NULL: of a service) with a number in it; `pad` more bytes of metadata. Lives until the next
 * call on this thread. */
const struct prepared *support_event(const char *tenant, uint64_t number, size_t pad);

/* Small rings and segments unless changed. */
struct journal_options support_options(const char *path);
/* A fresh path under the test's directory. */
const char *support_path(const char *name);
struct journal *support_open(const struct journal_options *options); /* NULL: failed, with the problems printed */
void support_diag(void *arg, int severity, const char *instance, const char *text); /* counts; the last text is kept */
extern _Atomic unsigned support_diag_count;
extern char support_diag_text[1024];

/* Appends n events (numbers from `first` on) over `tenants` tenants; counts failures as test failures. Returns the last
 * seq. */
uint64_t support_fill(struct journal *j, uint64_t first, uint64_t n, unsigned tenants, size_t pad);
/* All problems of this thread in one string. */
const char *support_problems(void);

/* Reads from the oldest kept event on with a cursor of this name, checks order, hashes and prev-hashes (by plain
 * OpenSSL), acknowledges when asked. missing: how many seqs were jumped over. Returns how many were read. */
struct support_read {
    uint64_t count, first, last, missing, bad_chain, bad_hash, bad_calls;
};
struct support_read support_read_all(struct journal *j, const char *cursor, bool ack);
/* Number of the event, from its JSON. */
uint64_t support_number(const struct record_view *v);
/* Segment files of a journal directory, sorted; returns the count. Names are malloc'd. */
size_t support_segments(const char *path, char **names, size_t max);
void support_copy_tree(const char *from, const char *to);
void support_remove_tree(const char *path);
char *support_slurp(const char *path, size_t *ret_len);
void support_write(const char *path, const void *data, size_t len);

#endif
