/* event_batch.h - struct aw_event: sealed records as plugins read them. Used by host.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_EVENT_BATCH_H
#define AW_EVENT_BATCH_H

#include <stdarg.h>
#include <stdbool.h>

#include "plugin/registry.h"

/* host->event_field, _number, _encoded: any thread, also several at once on one event. */
int32_t event_batch_field(const struct aw_event *event, uint32_t field, struct aw_str *ret);
int32_t event_batch_number(const struct aw_event *event, uint32_t number, uint64_t *ret);
int32_t event_batch_encoded(const struct aw_event *event, const char *encoding, struct aw_str *ret);
/* false: no such index. Without memory the text is dropped. */
bool event_batch_set_error(struct event_batch *batch, size_t index, const char *fmt, va_list ap) AW_PRINTF(3, 0);

#endif
