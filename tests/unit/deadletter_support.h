/* deadletter_support.h - dead letters for the tests of core/delivery. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_DEADLETTER_SUPPORT_H
#define AW_DEADLETTER_SUPPORT_H

#include "base/base.h"
#include "delivery/deadletter.h"

enum { LETTERS_EVENTS = 8 };
extern struct record_view letters_events[LETTERS_EVENTS]; /* seq 1 to 8, of a real journal; after letters_begin() */
extern char letters_dir[300], letters_file[400], letters_head[400];
extern const struct diag_out letters_diag;

void letters_begin(const char *name); /* a fresh directory */
struct deadletter *letters_open(void);
void letters_add(struct deadletter *dl, size_t event);
void letters_add_many(size_t n);
/* What a look at the file says. */
struct letters_view {
    uint64_t findings, letters, waiting, lines, last_number, unfinished;
    uint64_t seqs; /* a bit for each seq of which a letter is there */
    int kind;      /* of the first finding */
};

struct letters_view letters_look(void);
size_t letters_beside(const char *what); /* how many files sink.jsonl.WHAT-… */

#endif
