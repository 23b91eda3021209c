/* verify_api.c - aw_verify(): a store's rows, in chain order, through the verifier. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "audit/audit.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/diag.h"
#include "seal/verify.h"
#include "store.h"
#include "verify_against.h"

#define PROGRESS_EVERY_NS 100000000u /* at most 10 a second */

struct progress {
    void (*fn)(void *arg, uint64_t events, uint64_t bytes, uint64_t bytes_total);
    void *arg;
    uint64_t events, bytes, total, last_ns;
};

static void tell_progress(struct progress *p)
{
    if (!p->fn)
        return;
    uint64_t now = clock_mono_ns();
    if (now - p->last_ns < PROGRESS_EVERY_NS)
        return;
    p->last_ns = now;
    p->fn(p->arg, p->events, p->bytes, p->total > p->bytes ? p->total : p->total ? p->bytes : 0);
}

/* The problem that the store layer left; a copy, because checking rows uses this thread's list of problems. NULL: no
 * memory. */
static char *last_problem(void)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    return strdup(count > 0 ? problems[count - 1]->message : "reading failed");
}

/* AW_SUCCESS at the end of the store; *ret_store_rc is then what reading it came to. */
static int feed_all(struct verifier *verifier, struct store_read *read, struct against *against,
                    struct progress *progress, int *ret_store_rc)
{
    for (;;) {
        const struct aw_row *rows;
        size_t count = 0;
        *ret_store_rc = store_read_next(read, &rows, &count);
        if (*ret_store_rc != AW_SUCCESS || count == 0)
            return AW_SUCCESS;
        for (size_t i = 0; i < count; i++) {
            int rc = verifier_feed(verifier, rows[i].json, rows[i].location, rows[i].seq);
            if (rc == AW_SUCCESS && against)
                rc = against_row(against, verifier, &rows[i]);
            if (rc != AW_SUCCESS)
                return rc;
            progress->bytes += rows[i].json.len;
        }
        progress->events += count;
        tell_progress(progress);
    }
}

/* One reading of the store. *ret_reason: why it could not be read to its end, with *ret_store_rc. */
static int read_store(struct aw_store *store, struct verifier *verifier, struct against *against,
                      const struct aw_verify_options *options, int *ret_store_rc, char **ret_reason)
{
    struct progress progress = {options->on_progress, options->arg, 0, 0, store_bytes(store), clock_mono_ns()};
    struct aw_query query;
    struct store_read *read;
    store_query_init(&query);
    query.flags |= AW_QUERY_CHAIN_ORDER;
    int rc = store_read_open(store, &query, NULL, &read); /* a store without chain order cannot be verified */
    if (rc != AW_SUCCESS)
        return rc;
    rc = feed_all(verifier, read, against, &progress, ret_store_rc);
    if (rc == AW_SUCCESS && *ret_store_rc != AW_SUCCESS) {
        free(*ret_reason);
        *ret_reason = last_problem();
        rc = *ret_reason ? verifier_unreadable(verifier, store_name(store), *ret_reason)
                         : diag_problem(AW_ERR_NOMEM, "", "out of memory while verifying");
    }
    store_read_close(read);
    return rc;
}

struct after {
    void (*fn)(void *arg, struct verifier *verifier);
    void *arg;
};

static int verify_store(struct aw_store *store, struct against *against, const struct aw_verify_options *given,
                        struct aw_verify_report *report, const struct after *after)
{
    struct aw_verify_options own = *given, *options = &own;
    struct verifier *verifier;
    uint32_t slot;
    AW_AUTOFREE char *reason = NULL;
    int store_rc = AW_SUCCESS;
    bool again = false;
    if (!own.sink)
        own.sink = store_sink_name(store);
    int rc = verifier_create(options, &verifier);
    if (rc != AW_SUCCESS)
        return rc;
    if (store_slot(store, &slot))
        verifier_set_stream(verifier, slot);
    rc = read_store(store, verifier, against, options, &store_rc, &reason);
    if (rc == AW_SUCCESS)
        rc = verifier_again(&verifier, &again);
    if (rc == AW_SUCCESS && again && against)
        rc = against_rewind(against);
    if (rc == AW_SUCCESS && again)
        rc = read_store(store, verifier, against, options, &store_rc, &reason);
    if (rc == AW_SUCCESS)
        rc = verifier_finish(verifier, report);
    if (rc == AW_SUCCESS && after)
        after->fn(after->arg, verifier);
    verifier_destroy(verifier);
    if (rc != AW_SUCCESS || store_rc == AW_SUCCESS)
        return rc;
    return diag_problem(store_rc, store_name(store), "%s", reason);
}

int store_verify(struct aw_store *store, const struct aw_verify_options *options, struct aw_verify_report *report,
                 void (*fn)(void *arg, struct verifier *verifier), void *arg)
{
    const struct after after = {fn, arg};
    return verify_store(store, NULL, options, report, fn ? &after : NULL);
}

int store_feed(struct aw_store *store, struct verifier *verifier)
{
    const struct aw_verify_options none = {.struct_size = sizeof none};
    AW_AUTOFREE char *reason = NULL;
    int store_rc = AW_SUCCESS;
    int rc = read_store(store, verifier, NULL, &none, &store_rc, &reason);
    return rc != AW_SUCCESS || store_rc == AW_SUCCESS ? rc : diag_problem(store_rc, store_name(store), "%s", reason);
}

/* A comparison is worth what the full trail is: that is verified first, by itself. */
static int verify_full(const struct aw_verify_options *options, struct aw_verify_report *report)
{
    struct aw_verify_options settings = *options;
    settings.flags &= AW_VERIFY_PARTIAL | AW_VERIFY_MIDCHAIN;
    settings.on_scope = NULL;
    settings.on_progress = NULL;
    settings.expect_head = NULL;
    settings.sink = NULL;
    int rc = verify_store(options->against, NULL, &settings, report, NULL);
    if (rc == AW_SUCCESS && report->views > 0)
        rc = diag_problem(AW_ERR_USAGE, store_name(options->against),
                          "holds views itself: views can only be compared with the full trail");
    if (rc == AW_SUCCESS)
        diag_reset(); /* what its verdict does not cover is of no interest here */
    return rc;
}

static int verify_both(struct aw_store *store, const struct aw_verify_options *options, struct aw_verify_report *report)
{
    struct aw_verify_report full = {.struct_size = sizeof full}, own = {.struct_size = sizeof own};
    struct against *against;
    if (options->against == store)
        return diag_problem(AW_ERR_USAGE, "against", "a store cannot be compared with itself");
    int rc = verify_full(options, &full);
    if (rc == AW_SUCCESS)
        rc = against_create(options->against, options->keys, options->key_count, &against);
    if (rc != AW_SUCCESS)
        return rc;
    rc = verify_store(store, against, options, &own, NULL);
    against_destroy(against);
    own.findings += full.findings;
    if (full.findings > 0)
        own.verdict = AW_VERDICT_FINDINGS;
    own.struct_size = report->struct_size;
    memcpy(report, &own, report->struct_size < sizeof own ? report->struct_size : sizeof own);
    return rc;
}

int aw_verify(struct aw_store *store, const struct aw_verify_options *options, struct aw_verify_report *report)
{
    struct aw_verify_options settings = {.struct_size = sizeof settings};
    diag_reset();
    if (!store || !report || report->struct_size < 2 * sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_verify needs a store and a report with its struct_size set");
    if (options) {
        if (options->struct_size < 2 * sizeof(uint32_t))
            return diag_problem(AW_ERR_USAGE, "struct_size", "the struct_size of aw_verify_options is not set");
        memcpy(&settings, options, options->struct_size < sizeof settings ? options->struct_size : sizeof settings);
        settings.struct_size = sizeof settings;
    }
    return settings.against ? verify_both(store, &settings, report)
                            : verify_store(store, NULL, &settings, report, NULL);
}
