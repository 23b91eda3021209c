/* test_null.c - the null sink. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <time.h>

#include "harness.h"
#include "minihost.h"

static void test_counts(void)
{
    struct mh_instance *m = MH("null", "encode", "true");
    uint8_t status[10];
    CU_ASSERT_EQUAL(m->class->durability, AW_DURABLE_NEVER);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_ACCEPTED));
    CU_ASSERT_EQUAL(mh_write(m, 11, 15, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "null_events_total"), 15);
    CU_ASSERT_TRUE(mh_metric(m, "null_bytes_total") > 15 * 500);
    CU_ASSERT_PTR_NULL(m->class->extension(m->sink, AW_EXT_SINK_POSITION));
    CU_ASSERT_PTR_NULL(m->class->extension(m->sink, AW_EXT_SINK_QUERY));
    mh_destroy(m);
}

static void test_delay(void)
{
    struct mh_instance *m = MH("null", "delay", "30ms"), *slow = MH("null", "delay", "1h");
    struct aw_event *e = mh_event(1);
    uint8_t status;
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, &status), AW_OK);
    CU_ASSERT_TRUE(m->host.mono_ns() - before >= 30000000u);
    /* A deadline ends the delay. */
    CU_ASSERT_EQUAL(mh_write_events(slow, &e, 1, 0, slow->host.mono_ns() + 10000000u, &status), AW_OK);
    CU_ASSERT_EQUAL(status, AW_EVENT_ACCEPTED);
    CU_ASSERT_EQUAL(mh_metric(m, "null_bytes_total"), 0);
    mh_event_free(e);
    mh_destroy(m);
    mh_destroy(slow);
}

static void test_render_failure(void)
{
    struct mh_instance *m = MH("null", "encode", "true");
    struct aw_event *e[2] = {mh_event(1), mh_event(2)};
    uint8_t status[2];
    e[1]->encode_code = AW_E_NOMEM;
    CU_ASSERT_EQUAL(mh_write_events(m, e, 2, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_ACCEPTED);
    CU_ASSERT_EQUAL(status[1], AW_EVENT_UNKNOWN);
    mh_event_free(e[0]);
    mh_event_free(e[1]);
    mh_destroy(m);
}

HARNESS_MAIN("sink_null", {"counts events and bytes", test_counts}, {"delays, but not beyond the deadline", test_delay},
             {"an event that cannot be rendered stays queued", test_render_failure})
