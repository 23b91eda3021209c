/* oracle.h - counts from outside what became of events. SPDX-License-Identifier: Apache-2.0
 *
 * A test gives every event a number of its own and keeps the numbers that were acknowledged. The oracle reads the
 * sinks' stores by itself (the file as bytes, the database through SQLite, never through auditwell), and says which
 * numbers are missing or there twice, and whether seq is dense. It uses auditwell only to verify the chains.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The eventId that carries a number: "ev-" and 16 hex digits. */
#define ORACLE_ID_LEN 19
void oracle_event_id(uint64_t number, char out[ORACLE_ID_LEN + 1]);
bool oracle_number(const char *id, size_t len, uint64_t *ret); /* back again; false: none of ours */

struct oracle_list {
    uint64_t *numbers, *seqs; /* in the store's order; seqs may be NULL */
    size_t count, room;
    uint64_t gaps, dropped; /* of the file: records of what was dropped, which are in the list as numbers of their own
                               from UINT64_MAX down, and how many events they tell of */
    bool failed;            /* out of memory, unreadable, or an event without our id */
};
bool oracle_add(struct oracle_list *list, uint64_t number, uint64_t seq);
void oracle_free(struct oracle_list *list);

/* A store that is not there is empty. false: unreadable, or it holds what no test put there. */
bool oracle_read_file(const char *path, struct oracle_list *ret, char *why, size_t size);
bool oracle_read_sqlite(const char *path, struct oracle_list *ret, char *why, size_t size);

/* Every acknowledged number exactly once, no number twice, seqs dense from 1 and rising in the store's order. On false,
 * why is a sentence. acked is sorted by this. */
bool oracle_check(uint64_t *acked, size_t acked_count, const struct oracle_list *store, char *why, size_t size);
/* Both stores at once, and both verified. A NULL path is left out. */
bool oracle_judge(const char *file, const char *sqlite, uint64_t *acked, size_t acked_count, char *why, size_t size);
/* The same after a power loss. A file system that writes what was not synced in an order of its own may leave a later
 * event of such a group without an earlier one. None of them was acknowledged; the journal says how many it lacks, and
 * nothing else may be amiss: every acknowledged number once, none twice, seqs rising, and no more of them missing than
 * `lost`. */
bool oracle_judge_holes(const char *file, const char *sqlite, const uint64_t *acked, size_t acked_count, uint64_t lost,
                        char *why, size_t size);
/* aw_verify() of a store ("file:PATH"): verdict good and as many events as given. */
bool oracle_verify(const char *store, size_t events, char *why, size_t size);

/* Does any regular file below dir (dir may be a file) hold these bytes? -1: could not look. Names the file. */
int oracle_find_bytes(const char *dir, const void *bytes, size_t len, char *where, size_t size);

#endif
