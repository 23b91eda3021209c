/* breaker.c - see breaker.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/breaker.h"

void breaker_init(struct breaker *b, uint32_t threshold, uint64_t cooldown_ns, uint32_t probes)
{
    *b = (struct breaker){.threshold = threshold, .probes = probes ? probes : 1, .cooldown_ns = cooldown_ns};
}

bool breaker_allows(struct breaker *b, uint64_t now_ns)
{
    if (b->state == BREAKER_OPEN && now_ns >= b->open_until_ns) {
        b->state = BREAKER_HALF_OPEN;
        b->successes = 0;
    }
    return b->state != BREAKER_OPEN;
}

void breaker_success(struct breaker *b)
{
    b->failures = 0;
    if (b->state == BREAKER_HALF_OPEN && ++b->successes >= b->probes)
        b->state = BREAKER_CLOSED;
}

void breaker_trip(struct breaker *b, uint64_t now_ns)
{
    if (b->threshold == 0)
        return;
    b->state = BREAKER_OPEN;
    b->open_until_ns = now_ns + b->cooldown_ns;
}

void breaker_failure(struct breaker *b, uint64_t now_ns)
{
    b->failures++;
    if (b->state == BREAKER_HALF_OPEN || b->failures >= b->threshold)
        breaker_trip(b, now_ns);
}
