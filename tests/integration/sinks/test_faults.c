/* test_faults.c - every n-th failing call in both sinks, under a host that does what the contract says.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The model host keeps events until they are acknowledged: DURABLE and DUPLICATE at once, ACCEPTED with the flush that
 * covers it. It sends what is not acknowledged again, in order. In the end the store holds every event exactly once,
 * whatever failed.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "minihost.h"

#define EVENTS 48u
#define BATCH 8u
#define ROUNDS_BROKEN 4 /* how long a lasting failure lasts */
#define ROUNDS_MAX 200

struct model {
    struct mh_instance *m;
    struct aw_event *events[EVENTS];
    bool done[EVENTS], waiting[EVENTS]; /* acknowledged; accepted and not flushed */
    bool started, lied;
};

static void deliver_once(struct model *d)
{
    struct aw_event *batch[BATCH];
    size_t index[BATCH], n = 0;
    uint8_t status[BATCH];
    uint64_t seq = 0;
    if (!d->started) {
        d->started = mh_start(d->m) == AW_OK;
        if (!d->started)
            return;
    }
    for (size_t i = 0; i < EVENTS && n < BATCH; i++)
        if (!d->done[i] && !d->waiting[i]) {
            index[n] = i;
            batch[n++] = d->events[i];
        }
    if (n > 0) {
        int32_t r = mh_write_events(d->m, batch, n, 0, 0, status);
        bool open_end = false;
        for (size_t k = 0; k < n; k++) {
            d->done[index[k]] = status[k] == AW_EVENT_DURABLE || status[k] == AW_EVENT_DUPLICATE;
            d->waiting[index[k]] = status[k] == AW_EVENT_ACCEPTED;
            open_end = open_end || status[k] == AW_EVENT_UNKNOWN;
            d->lied = d->lied || status[k] == AW_EVENT_REJECTED;
        }
        d->lied = d->lied || (r == AW_OK && open_end); /* success, yet not all events have a status */
    }
    bool ok = mh_flush(d->m, &seq) == AW_OK;
    for (size_t i = 0; i < EVENTS; i++)
        if (d->waiting[i] && (!ok || i + 1 <= seq)) {
            d->done[i] = ok;
            d->waiting[i] = false;
        }
}

static size_t undone(const struct model *d)
{
    size_t n = 0;
    for (size_t i = 0; i < EVENTS; i++)
        n += !d->done[i];
    return n;
}

/* One life of a sink with the nth call failing. Returns false when that call never came. */
static bool one_life(const char *class, const char *const *pairs, enum inject_kind kind, long nth, bool on, bool twice)
{
    struct model d = {.m = mh_create(class, pairs)};
    struct aw_position pos;
    int rounds = 0;
    for (size_t i = 0; i < EVENTS; i++)
        d.events[i] = mh_event(i + 1);
    inject_arm(kind, nth,
               kind == INJECT_MALLOC ? ENOMEM
               : kind == INJECT_SYNC ? EIO
                                     : ENOSPC,
               on, strcmp(class, "file") == 0);
    if (twice)
        inject_also_truncate();
    for (; rounds < ROUNDS_BROKEN || (!inject_fired() && undone(&d) > 0); rounds++)
        deliver_once(&d);
    for (; undone(&d) > 0 && rounds < ROUNDS_MAX; rounds++) {
        if (inject_fired())
            inject_disarm();
        deliver_once(&d);
    }
    inject_disarm();
    bool fired = inject_fired();
    if (d.started)
        CU_ASSERT_EQUAL(mh_stop(d.m), AW_OK);
    d.started = mh_start(d.m) == AW_OK;
    CU_ASSERT_TRUE(d.started);
    CU_ASSERT_FALSE(d.lied);
    CU_ASSERT_EQUAL(undone(&d), 0);
    CU_ASSERT_EQUAL(mh_position(d.m, &pos), AW_OK);
    CU_ASSERT_EQUAL(pos.seq, EVENTS);
    struct mh_rows rows = mh_read(d.m, NULL, 64);
    bool exact = rows.code == AW_OK && rows.count == EVENTS && rows.rising && rows.same;
    CU_ASSERT_TRUE(exact);
    if (!exact || undone(&d) > 0 || d.lied)
        harness_note("%s: %s %ld%s: %zu rows, rising %d, same %d, %zu undone, lied %d, %s", class, inject_name(kind),
                     nth, on ? " and on" : "", rows.count, rows.rising, rows.same, undone(&d), d.lied, d.m->error);
    mh_destroy(d.m);
    for (size_t i = 0; i < EVENTS; i++)
        mh_event_free(d.events[i]);
    return fired;
}

static void loop(const char *class, enum inject_kind kind, bool on, bool twice, const char *const *options,
                 const char *file)
{
    const char *pairs[16] = {"path", NULL};
    for (size_t i = 0; options[i] != NULL; i++)
        pairs[2 + i] = options[i];
    long n = 1;
    bool fired = inject_can(kind);
    for (; fired && n < 2000; n += n < 60 ? 1 : n < 400 ? 7 : 31) {
        char *path = mh_path("%s", file);
        pairs[1] = path;
        fired = one_life(class, pairs, kind, n, on, twice);
        free(path);
    }
    harness_note("%s: %s%s: %ld", class, inject_name(kind), on ? " and on" : "", n);
}

static void test_file(void)
{
    static const char *const small[] = {"rotate_size", "8KiB", "buffer_size", "4KiB", NULL};
    static const char *const always[] = {"rotate_size", "8KiB", "buffer_size", "4KiB", "fsync", "always", NULL};
    for (int kind = 0; kind < INJECT_KINDS; kind++)
        for (int on = 0; on < 2; on++) {
            loop("file", (enum inject_kind)kind, on, false, small, "audit.jsonl");
            if (kind == INJECT_SYNC || kind == INJECT_WRITE)
                loop("file", (enum inject_kind)kind, on, false, always, "audit.jsonl");
        }
}

/* The repair of a failure fails as well: a torn line, or lines that were not synced, cannot be cut off for a while. */
static void test_file_twice(void)
{
    static const char *const small[] = {"rotate_size", "8KiB", "buffer_size", "4KiB", NULL};
    static const char *const always[] = {"rotate_size", "8KiB", "fsync", "always", NULL};
    for (int on = 0; on < 2; on++) {
        loop("file", INJECT_WRITE, on, true, small, "audit.jsonl");
        loop("file", INJECT_SYNC, on, true, small, "audit.jsonl");
        loop("file", INJECT_SYNC, on, true, always, "audit.jsonl");
    }
}

static void test_sqlite(void)
{
    static const char *const full[] = {"wal_size", "64KiB", NULL};
    static const char *const normal[] = {"wal_size", "64KiB", "synchronous", "normal", NULL};
    for (int kind = 0; kind < INJECT_KINDS; kind++)
        for (int on = 0; on < 2; on++) {
            loop("sqlite", (enum inject_kind)kind, on, false, full, "audit.db");
            if (kind == INJECT_SYNC || kind == INJECT_WRITE)
                loop("sqlite", (enum inject_kind)kind, on, false, normal, "audit.db");
        }
}

/* create() and the query extension without memory: an error, no crash, and all works afterwards. */
static void test_create_and_read(void)
{
    static const char *const classes[] = {"file", "sqlite", "null"};
    for (size_t c = 0; inject_can(INJECT_MALLOC) && c < 3; c++) {
        char *path = mh_path("store");
        const struct aw_sink_class *class = mh_class(classes[c]);
        struct mh_instance *host = c == 2 ? mh_create("null", NULL) : MH(classes[c], "path", path);
        void *sink = NULL;
        bool fired = true;
        for (long n = 1; fired && n < 100; n++) {
            inject_arm(INJECT_MALLOC, n, ENOMEM, false, false);
            int32_t r = class->create(&host->host, host->config, &sink);
            inject_disarm();
            fired = inject_fired();
            CU_ASSERT_EQUAL(r, fired ? AW_E_NOMEM : AW_OK);
            if (r == AW_OK)
                class->destroy(sink);
        }
        if (c < 2) {
            CU_ASSERT_EQUAL(mh_start(host), AW_OK);
            CU_ASSERT_EQUAL(mh_write(host, 1, 30, AW_BATCH_MUST_BE_DURABLE, NULL), AW_OK);
            fired = true;
            for (long n = 1; fired && n < 3000; n++) {
                struct aw_query q;
                struct aw_row rows[16];
                void *read;
                size_t count = 1, total = 0;
                mh_query_init(&q);
                q.tenant_id = (struct aw_str){"tnt_1", 5};
                inject_arm(INJECT_MALLOC, n, ENOMEM, false, false);
                int32_t r = mh_query(host)->open(host->sink, &q, &read);
                bool open = r == AW_OK;
                while (r == AW_OK && count > 0 && (r = mh_query(host)->next(read, rows, 16, &count)) == AW_OK)
                    total += count;
                inject_disarm();
                fired = inject_fired();
                if (open)
                    mh_query(host)->close(read);
                CU_ASSERT_TRUE(r == AW_OK || fired);
                CU_ASSERT_TRUE(r != AW_OK || total >= 7);
            }
            CU_ASSERT_EQUAL(mh_read(host, NULL, 16).count, 30);
        }
        mh_destroy(host);
        free(path);
    }
}

/* A lasting failure tells the host "unavailable" and why; it heals without a restart. */
static void test_no_space(void)
{
    static const char *const classes[] = {"file", "sqlite"};
    for (size_t c = 0; c < 2; c++) {
        char *path = mh_path("store");
        struct mh_instance *m = MH(classes[c], "path", path);
        struct aw_event *e = mh_event(1);
        struct aw_health h = {.struct_size = sizeof h};
        uint8_t status;
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        for (int i = 0; i < 3; i++) {
            inject_arm(INJECT_WRITE, 1, ENOSPC, true, false);
            CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, &status), AW_E_UNAVAILABLE);
            inject_disarm();
            CU_ASSERT_EQUAL(status, AW_EVENT_UNKNOWN);
        }
        CU_ASSERT_TRUE(strstr(m->error, c == 0 ? "No space left on device" : "full") != NULL);
        CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
        CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
        CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, AW_BATCH_MUST_BE_DURABLE, 0, &status), AW_OK);
        CU_ASSERT_EQUAL(status, AW_EVENT_DURABLE);
        CU_ASSERT_EQUAL(mh_read(m, NULL, 4).count, 1);
        mh_event_free(e);
        mh_destroy(m);
        free(path);
    }
}

HARNESS_MAIN("sink_faults", {"file: every n-th call fails, once and lasting", test_file},
             {"file: the repair fails as well", test_file_twice},
             {"sqlite: every n-th call fails, once and lasting", test_sqlite},
             {"no memory in create and in reading", test_create_and_read}, {"no space", test_no_space})
