/* ids.h - random bytes and event ids. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_IDS_H
#define AW_IDS_H

#include <stddef.h>
#include <stdint.h>

int ids_random(void *buf, size_t len); /* getrandom; 0 or -errno */

#define IDS_POOL 2048 /* random bytes: a call of getrandom() for 256 ids */

/* Of one thread; all zeros to begin with. */
struct ids_source {
    unsigned generation; /* of the pool's content; 0 = never filled */
    unsigned used;
    uint64_t last_ms;
    uint32_t counter; /* 12 bits of rand_a, and 18 more at the head of rand_b */
    uint8_t pool[IDS_POOL];
};

/* UUID version 7 (RFC 9562, 48-bit milliseconds, then a counter and random bits so that the ids of one source rise
 * strictly), as 36 characters without NUL. A forked child never repeats its parent's. 0 or -errno. */
#define IDS_UUID_LEN 36
int ids_uuid7(struct ids_source *source, uint64_t real_ns, char out[IDS_UUID_LEN]);

#endif
