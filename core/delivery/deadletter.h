/* deadletter.h - where rejected events go: STATE_DIR/deadletter/SINK.jsonl. SPDX-License-Identifier: Apache-2.0
 *
 * The file is a chain of lines (deadletter_line.h) with a head beside it (deadletter_index.h). Lines are only ever
 * appended, but for purging, which puts a new file in its place. Whoever appends holds a flock on SINK.head for that
 * moment: a worker, a replay in another process. A replay or a purge holds SINK.replay besides, from begin to end.
 *
 * Before something is appended the file is looked at, wholly the first time. An unfinished write at the end is set
 * aside in SINK.jsonl.torn-TIME and cut off. A file that is damaged otherwise becomes SINK.jsonl.damaged-TIME, and a
 * new one begins with a line that says so; letters in it that are whole and still to be replayed go on in the new one.
 *
 * One thread at a time for each struct deadletter; several of them, in any process, may have the same file open.
 */
#ifndef AW_DEADLETTER_H
#define AW_DEADLETTER_H

#include "base/diag.h"
#include "delivery/deadletter_index.h"

struct deadletter;
/* No I/O. 0, -ENOMEM. Names of files set aside and the like go to diag. */
int deadletter_create(const char *state_dir, const char *sink, const struct diag_out *diag, struct deadletter **ret);
void deadletter_destroy(struct deadletter *dl);
const char *deadletter_path(const struct deadletter *dl);
/* Appends one event; durable (fdatasync) when it returns 0. On -errno nothing counts as stored, and a part of a line is
 * cut off. -EWOULDBLOCK: somebody else holds the file for longer than two seconds. */
int deadletter_add(struct deadletter *dl, const struct record_view *view, uint32_t attempts, const char *reason);

/* ---- for the commands ---- */
/* Head and index of the file as it is; changes nothing. *ret_fd: the file, -1 without one. 0 or -errno. */
int deadletter_look(struct deadletter *dl, dl_finding_fn fn, void *arg, struct dl_index *ret, int *ret_fd);
/* Until deadletter_destroy(): no other replay or purge. 0, -EWOULDBLOCK, other -errno. */
int deadletter_claim(struct deadletter *dl);
/* Mends the file where it must be, then the same as deadletter_look(). */
int deadletter_mend(struct deadletter *dl, struct dl_index *ret, int *ret_fd);
/* Appends that these letters (rising numbers of the last deadletter_mend()) are done with. -ESTALE: the file is not the
 * one that was looked at, and nothing was marked. */
int deadletter_mark(struct deadletter *dl, const uint64_t *numbers, size_t count);
/* Appends that a letter was refused again. */
int deadletter_refused(struct deadletter *dl, uint64_t number, uint64_t seq, uint64_t attempts, const char *reason);
/* Removes the letters for which chosen[index of entry] is set, and marks that speak of no letter any more; `what` says
 * in the record that is left what was asked for. The index is that of deadletter_mend(). -ESTALE as above. */
int deadletter_purge(struct deadletter *dl, const struct dl_index *index, const bool *chosen, const char *what);

#endif
