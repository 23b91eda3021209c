/* ids.h - random bytes and event ids. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_IDS_H
#define AW_IDS_H

#include <stddef.h>
#include <stdint.h>

int ids_random(void *buf, size_t len); /* getrandom; 0 or -errno */

/* UUID version 7 (RFC 9562, 48-bit milliseconds, then a counter and random bits so that the ids of one thread rise
 * strictly), as 36 characters without NUL. Random bits are drawn from the kernel in blocks per thread; a forked child
 * never repeats its parent's. 0 or -errno. */
#define IDS_UUID_LEN 36
int ids_uuid7(uint64_t real_ns, char out[IDS_UUID_LEN]);

#endif
