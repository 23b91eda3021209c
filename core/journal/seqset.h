/* seqset.h - a sorted set of sequence number ranges: what is missing from the journal.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Not locked. Usually empty.
 */
#ifndef AW_SEQSET_H
#define AW_SEQSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seq_range {
    uint64_t first, last;
};
struct seq_set {
    struct seq_range *ranges; /* ascending, disjoint, not touching */
    size_t count, capacity;
};
void seqset_free(struct seq_set *set);
int seqset_add(struct seq_set *set, uint64_t first, uint64_t last);    /* 0 or -ENOMEM */
int seqset_remove(struct seq_set *set, uint64_t first, uint64_t last); /* 0 or -ENOMEM */
/* The range that holds seq, or NULL. */
const struct seq_range *seqset_find(const struct seq_set *set, uint64_t seq);
uint64_t seqset_total(const struct seq_set *set);
/* "5", "5-9, 12": at most as many ranges as fit, then "and N more". Returns buf. */
const char *seqset_text(const struct seq_set *set, char *buf, size_t size);

#endif
