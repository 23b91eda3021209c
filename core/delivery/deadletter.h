/* deadletter.h - where rejected events go: STATE_DIR/deadletter/SINK.jsonl. SPDX-License-Identifier: Apache-2.0
 *
 * One JSON object a line: {"sink":…,"seq":…,"time":…,"attempts":…,"reason":…,"event":{the sealed event}}. Opened with
 * the first dead letter. One thread at a time.
 */
#ifndef AW_DEADLETTER_H
#define AW_DEADLETTER_H

#include "seal/record.h"

struct deadletter;
int deadletter_create(const char *state_dir, const char *sink, struct deadletter **ret); /* 0, -ENOMEM, -ENAMETOOLONG */
void deadletter_destroy(struct deadletter *dl);
/* Appends one event; durable (fdatasync) when it returns 0. On -errno nothing counts as stored, and a part of a line is
 * cut off. */
int deadletter_add(struct deadletter *dl, const struct record_view *view, uint32_t attempts, const char *reason);
const char *deadletter_path(const struct deadletter *dl);

#endif
