/* test_retry.c - backoff and breaker. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "harness.h"

#include "delivery/breaker.h"
#include "delivery/retry.h"

#define MS 1000000u

static void delay_is_within_bounds(void)
{
    uint64_t state = harness_seed(), base = 250 * (uint64_t)MS, cap = 30000 * (uint64_t)MS;
    for (uint32_t attempt = 1; attempt < 200; attempt++) {
        uint64_t limit = attempt > 7 ? cap : base << (attempt - 1);
        if (limit > cap)
            limit = cap;
        uint64_t highest = 0;
        for (int i = 0; i < 200; i++) {
            uint64_t d = retry_delay_ns(base, cap, attempt, harness_random(&state));
            if (d < MS || d > limit)
                CU_FAIL("delay out of bounds");
            highest = d > highest ? d : highest;
        }
        CU_ASSERT(highest > limit / 2); /* full jitter reaches the upper half */
    }
}

static void delay_survives_extreme_settings(void)
{
    CU_ASSERT_EQUAL(retry_delay_ns(0, 0, 1, 12345), MS);
    CU_ASSERT_EQUAL(retry_delay_ns(UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT64_MAX), UINT64_MAX);
    CU_ASSERT(retry_delay_ns(UINT64_MAX / 2 + 5, UINT64_MAX, 3, 7) >= MS);
}

static void breaker_opens_and_closes(void)
{
    struct breaker b;
    breaker_init(&b, 3, 100, 2);
    breaker_failure(&b, 0);
    breaker_failure(&b, 0);
    breaker_success(&b); /* not in a row */
    breaker_failure(&b, 0);
    breaker_failure(&b, 0);
    CU_ASSERT(breaker_allows(&b, 0));
    breaker_failure(&b, 1000);
    CU_ASSERT_EQUAL(b.state, BREAKER_OPEN);
    CU_ASSERT_FALSE(breaker_allows(&b, 1099));
    CU_ASSERT(breaker_allows(&b, 1100));
    CU_ASSERT_EQUAL(b.state, BREAKER_HALF_OPEN);
    breaker_success(&b);
    CU_ASSERT_EQUAL(b.state, BREAKER_HALF_OPEN); /* two probes are asked for */
    breaker_success(&b);
    CU_ASSERT_EQUAL(b.state, BREAKER_CLOSED);
    breaker_trip(&b, 2000);
    CU_ASSERT(breaker_allows(&b, 2100));
    breaker_failure(&b, 2100); /* one failed probe opens it again */
    CU_ASSERT_FALSE(breaker_allows(&b, 2199));
}

static void threshold_zero_never_opens(void)
{
    struct breaker b;
    breaker_init(&b, 0, 100, 0);
    for (int i = 0; i < 100; i++)
        breaker_failure(&b, 0);
    breaker_trip(&b, 0);
    CU_ASSERT(breaker_allows(&b, 0));
}

HARNESS_MAIN("retry", {"delays stay within bounds and use them", delay_is_within_bounds},
             {"extreme settings do not overflow", delay_survives_extreme_settings},
             {"breaker: closed, open, half-open", breaker_opens_and_closes},
             {"threshold 0 never opens", threshold_zero_never_opens})
