/* retry.c - see retry.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/retry.h"

uint64_t retry_delay_ns(uint64_t base_ns, uint64_t cap_ns, uint32_t attempt, uint64_t random)
{
    static const uint64_t floor_ns = 1000000;
    uint64_t limit = base_ns;
    for (uint32_t i = 1; i < attempt && limit < cap_ns; i++)
        limit = limit > cap_ns / 2 ? cap_ns : limit * 2;
    if (limit > cap_ns)
        limit = cap_ns;
    uint64_t delay = limit == UINT64_MAX ? random : random % (limit + 1);
    return delay < floor_ns ? floor_ns : delay;
}
