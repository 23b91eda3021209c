/* clock.h - time. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_CLOCK_H
#define AW_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t clock_real_ns(void);
uint64_t clock_mono_ns(void);
void clock_sleep_ns(uint64_t ns);

/* "2026-01-02T03:04:05.678Z", 24 bytes and a NUL. Years 0000..9999; others are clamped. */
#define CLOCK_RFC3339_MAX 25
size_t clock_format_rfc3339(int64_t ns, char out[CLOCK_RFC3339_MAX]);
/* Strict RFC 3339 with 'T', 'Z' or a numeric offset, optional fraction of any length, leap second 60 accepted. */
bool clock_parse_rfc3339(const char *s, size_t len, int64_t *ret_ns);

#endif
