/* checks.h - the groups of checks, and what several of them use. SPDX-License-Identifier: Apache-2.0 */
#ifndef KIT_CHECKS_H
#define KIT_CHECKS_H

#include "inject.h"
#include "kit.h"

extern const struct kit_check checks_file[], checks_life[], checks_write[], checks_durable[], checks_threads[],
    checks_faults[], checks_extensions[];

size_t kit_count_threads(void);
size_t kit_count_fds(void);
/* How each check of delivery begins: a created and started instance; NULL: said why, or not applicable. */
struct kit_instance *kit_begin(void);
/* Stops, destroys. */
void kit_finish(struct kit_instance *i);

#endif
