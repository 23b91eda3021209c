/* slots.h - many processes with one configuration: each has a slot with a journal and local stores of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Slot 0 is what the configuration says: the journal in journal.path, the sinks' own paths, events in the plain format.
 * Slot N has its journal in journal.path/slots/N, stores with ".slotN" in their names, and says integrity.stream = N.
 */
#ifndef AW_SLOTS_H
#define AW_SLOTS_H

#include "settings.h"

#define SLOTS_ANY UINT32_MAX

/* Journal and sinks of these settings are those of the slot from now on. 0 or AW_ERR_NOMEM with a problem. */
int slots_enter(struct settings *settings, uint32_t slot);
/* Enters the first slot >= from that no process has, and locks its journal if there is one. 0; AW_ERR_BUSY: all are
 * taken; AW_ERR_NOMEM; with a problem. */
int slots_reserve(struct settings *settings, uint32_t from, struct journal_lock *lock);
/* Enters this slot and locks its journal. 0; AW_ERR_BUSY without a problem; AW_ERR_NOMEM. */
int slots_reserve_one(struct settings *settings, uint32_t slot, struct journal_lock *lock);
/* The slots besides 0 that have a directory, ascending. *ret is malloc'd. 0 or -errno. */
int slots_list(const char *journal_base, uint32_t **ret, size_t *ret_count);
/* Does a sink lack events of the slot's journal? What cannot be told is looked at: true. */
bool slots_owed(const struct settings *settings);
/* For the options of public calls: settings_load() in this slot. As settings_load(). */
int slots_load(const char *path, const char *text, uint32_t slot, struct settings **ret);

/* The options of a sink as in its group, with the paths of the slot. 0 or AW_ERR_*, with a problem. */
int slots_sink_config(const struct settings *settings, const struct settings_sink *sink,
                      const struct aw_sink_class *class, struct aw_config **ret);

#endif
