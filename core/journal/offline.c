/* offline.c - what commands do to a journal that nobody else has open. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal/internal.h"

#include <inttypes.h>
#include <stdio.h>

int journal_cursor_release(struct journal *journal, const char *name, bool force, uint64_t *ret_owed)
{
    struct journal *j = journal;
    char reason[200];
    struct journal_cursor *c = j->cursors; /* no other thread is there */
    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    *ret_owed = 0;
    if (!c)
        return -ENOENT;
    uint64_t acked = atomic_load(&c->acked), head = journal_head_seq(j), oldest = journal_oldest(j);
    uint64_t from = acked + 1 > oldest ? acked + 1 : oldest; /* what is not kept any more, nobody can get */
    *ret_owed = head >= from ? head - from + 1 : 0;
    if (*ret_owed > 0 && !force)
        return -EBUSY;
    snprintf(reason, sizeof reason,
             "released by command at seq %" PRIu64 " of %" PRIu64 "; %" PRIu64
             " events were not delivered to its reader",
             acked, head, *ret_owed);
    return quarantine_move(j, j->cursor_dirfd, name, reason);
}

void journal_trim(struct journal *journal)
{
    keeper_trim(journal);
}
