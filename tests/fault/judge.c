/* judge.c - see judge.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "oracle.h"

uint64_t judge_hash(const char *hex)
{
    char digits[17];
    (void)snprintf(digits, sizeof digits, "%.16s", hex);
    return strtoull(digits, NULL, 16);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = ((const struct judge_event *)a)->number, y = ((const struct judge_event *)b)->number;
    return x < y ? -1 : x > y;
}

void judge_sort(struct judge_event *owed, size_t count)
{
    if (count > 0)
        qsort(owed, count, sizeof *owed, compare);
}

uint64_t judge_unexplained(const struct judge_report *r)
{
    return r->altered + r->twice + r->disordered + r->foreign + r->findings;
}

__attribute__((format(printf, 2, 3))) static void complain(struct judge_report *r, const char *fmt, ...)
{
    va_list ap;
    if (r->first[0])
        return;
    va_start(ap, fmt);
    (void)vsnprintf(r->first, sizeof r->first, fmt, ap);
    va_end(ap);
}

static const char *problem(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    return n ? p[0]->message : "";
}

struct look {
    const struct judge_case *c;
    struct judge_report *r;
    unsigned char *seen; /* of each owed one */
    uint64_t last_seq[JUDGE_SCOPES];
};

static void look_at_ours(struct look *l, const struct aw_result_row *row, uint64_t number)
{
    struct judge_report *r = l->r;
    const struct judge_case *c = l->c;
    char hash[80] = "";
    struct judge_event key = {number, 0};
    const struct judge_event *e = c->owed_count ? bsearch(&key, c->owed, c->owed_count, sizeof key, compare) : NULL;
    r->rows++;
    uint64_t *last = &l->last_seq[number % JUDGE_SCOPES];
    if (row->seq && row->seq <= *last) {
        r->disordered++;
        complain(r, "%s: event %" PRIx64 " has seq %" PRIu64 ", and stands behind %" PRIu64 " of its chain",
                 row->location, number, row->seq, *last);
    }
    *last = row->seq;
    if (!e) {
        if (!c->issued(c->arg, number)) {
            r->foreign++;
            complain(r, "%s: event %" PRIx64 " was never issued", row->location, number);
        }
        return;
    }
    if (l->seen[e - c->owed]) {
        r->twice++;
        complain(r, "%s: event %" PRIx64 " is there twice", row->location, number);
    }
    l->seen[e - c->owed] = 1;
    (void)aw_json_field(row->json, row->json_len, "integrity.hash", hash, sizeof hash);
    if (e->hash && judge_hash(hash) != e->hash) {
        r->altered++;
        complain(r, "%s: event %" PRIx64 " has the hash %s, the receipt said %016" PRIx64 "…", row->location, number,
                 hash, e->hash);
    }
}

static void look_at_row(struct look *l, const struct aw_result_row *row)
{
    char id[64] = "", action[64] = "", count[32] = "";
    uint64_t number;
    if (aw_json_field(row->json, row->json_len, "eventId", id, sizeof id) > 0 &&
        oracle_number(id, strlen(id), &number)) {
        look_at_ours(l, row, number);
        return;
    }
    (void)aw_json_field(row->json, row->json_len, "action", action, sizeof action);
    if (strcmp(action, "auditwell.gap") == 0 &&
        aw_json_field(row->json, row->json_len, "metadata.gap.count", count, sizeof count) > 0) {
        l->r->gaps++;
        l->r->gap_events += strtoull(count, NULL, 10);
        return;
    }
    if (strcmp(action, "auditwell.begin") == 0) /* a sink that is new to a journal with events */
        return;
    l->r->foreign++;
    complain(l->r, "%s: event \"%s\" is none of ours", row->location, id);
}

static bool read_all(struct look *l, struct aw_store *store, bool *ret_readable)
{
    struct aw_filter filter = {.struct_size = sizeof filter};
    struct aw_query_handle *q;
    struct aw_result_row row = {.struct_size = sizeof row};
    int rc = aw_query_open(store, &filter, &q);
    if (rc != AW_SUCCESS) {
        complain(l->r, "%s: %s", aw_error_name(rc), problem());
        return false;
    }
    *ret_readable = true;
    while ((rc = aw_query_next(q, &row)) == AW_SUCCESS)
        look_at_row(l, &row);
    if (rc != AW_ERR_NOTFOUND)
        complain(l->r, "%s: %s", aw_error_name(rc), problem());
    aw_query_close(q);
    return rc == AW_ERR_NOTFOUND;
}

static void on_finding(void *arg, const struct aw_finding *f)
{
    complain(arg, "%s: %s (scope %s)", f->location, f->message, f->scope);
}

static bool verify(struct aw_store *store, struct judge_report *r)
{
    struct aw_verify_options o = {.struct_size = sizeof o,
                                  .flags = AW_VERIFY_COMPLETE | AW_VERIFY_VIEWS,
                                  .threads = 1,
                                  .on_finding = on_finding,
                                  .arg = r};
    struct aw_verify_report report = {.struct_size = sizeof report};
    int rc = aw_verify(store, &o, &report);
    if (rc != AW_SUCCESS) {
        complain(r, "verify: %s: %s", aw_error_name(rc), problem());
        return false;
    }
    r->findings = report.findings;
    return true;
}

void (*judge_on_missing)(void *arg, uint64_t number);
void *judge_on_missing_arg;

static void find_missing(const struct look *l)
{
    for (size_t i = 0; i < l->c->owed_count; i++) {
        if (l->seen[i])
            continue;
        l->r->missing++;
        complain(l->r, "event %" PRIx64 " is owed and missing", l->c->owed[i].number);
        if (judge_on_missing)
            judge_on_missing(judge_on_missing_arg, l->c->owed[i].number);
    }
}

bool judge_store(const struct judge_case *c, struct judge_report *ret, bool *ret_readable)
{
    struct aw_store_options so = {.struct_size = sizeof so, .config_path = c->config_path, .store = c->store};
    struct aw_store *store;
    struct look l = {c, ret, NULL, {0}};
    bool readable;
    memset(ret, 0, sizeof *ret);
    ret_readable = ret_readable ? ret_readable : &readable;
    *ret_readable = false;
    int rc = aw_store_open(&so, &store);
    if (rc != AW_SUCCESS) {
        complain(ret, "%s: %s", aw_error_name(rc), problem());
        return false;
    }
    l.seen = calloc(c->owed_count + 1, 1);
    bool good = l.seen && read_all(&l, store, ret_readable);
    if (!l.seen)
        complain(ret, "out of memory");
    if (good) {
        find_missing(&l);
        good = verify(store, ret);
    }
    free(l.seen);
    aw_store_close(store);
    return good;
}
