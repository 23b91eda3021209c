/* retry.h - how long to wait before the next try. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_RETRY_H
#define AW_RETRY_H

#include <stdint.h>

/* Exponential backoff with full jitter: uniform in [0, min(cap, base * 2^(attempt-1))], but at least 1 ms, so that many
 * workers that failed together do not come back together. attempt counts from 1; random is any 64 random bits. */
uint64_t retry_delay_ns(uint64_t base_ns, uint64_t cap_ns, uint32_t attempt, uint64_t random);

#endif
