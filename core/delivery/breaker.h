/* breaker.h - circuit breaker of one sink. SPDX-License-Identifier: Apache-2.0
 *
 * closed: calls go through; `threshold` failures in a row open it. open: no calls until the cool-down is over.
 * half-open: `probes` calls must succeed in a row to close it, one failure opens it again. One thread, times in
 * CLOCK_MONOTONIC ns.
 */
#ifndef AW_BREAKER_H
#define AW_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_CLOSED 0
#define BREAKER_OPEN 1
#define BREAKER_HALF_OPEN 2

struct breaker {
    uint32_t threshold, probes; /* threshold 0: never opens */
    uint64_t cooldown_ns;
    int state; /* BREAKER_* */
    uint32_t failures, successes;
    uint64_t open_until_ns;
};

void breaker_init(struct breaker *b, uint32_t threshold, uint64_t cooldown_ns, uint32_t probes);
/* May a call be made now? An open breaker whose cool-down is over becomes half-open. */
bool breaker_allows(struct breaker *b, uint64_t now_ns);
void breaker_success(struct breaker *b);
void breaker_failure(struct breaker *b, uint64_t now_ns);
void breaker_trip(struct breaker *b, uint64_t now_ns); /* opens at once: the peer said it is down */

#endif
