/* http_reply.h - reads what a receiver answers: JSON of RFC 8259, bounded, without allocating.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Needs nothing of the sink, so that it can be fuzzed alone.
 */
#ifndef AW_HTTP_REPLY_H
#define AW_HTTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HT_REPLY_DEPTH 32
#define HT_ID_MAX 128
#define HT_REASON_MAX 240

enum ht_item_status { HT_ITEM_OK, HT_ITEM_DUPLICATE, HT_ITEM_REJECTED, HT_ITEM_RETRY };

/* One member of "results". Texts are decoded and may hold NUL. */
struct ht_item {
    bool has_id, has_index, has_status;
    char id[HT_ID_MAX];
    size_t id_len; /* > HT_ID_MAX: longer than any event id */
    uint64_t index;
    enum ht_item_status status;
    char reason[HT_REASON_MAX]; /* member "error"; cut at a character */
    size_t reason_len;
};

struct ht_reply {
    bool has_results;
    size_t items;
    char message[HT_REASON_MAX]; /* the first of error, message, detail, title that is a string */
    size_t message_len;
    const char *fault; /* static text: why it was refused */
    size_t fault_at;   /* byte */
};

/* Called for each member of "results" in turn. NULL: go on; else why the reply is refused (static text). What it learnt
 * counts only when ht_reply_read() returns true. */
typedef const char *ht_item_fn(void *arg, const struct ht_item *item);

/* true: the text is one JSON value, and what it says of events is well-formed. item may be NULL. */
bool ht_reply_read(const char *text, size_t len, ht_item_fn *item, void *arg, struct ht_reply *ret);

#endif
