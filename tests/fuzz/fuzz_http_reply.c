/* fuzz_http_reply.c - fuzz target: what receivers answer to the http sink. SPDX-License-Identifier: Apache-2.0
 *
 * Beyond "no crash": a second reading says the same, texts stay within their room, and what the library's own reader of
 * JSON takes is not refused as malformed.
 */
#include "config.h"

#include "base/base.h"
#include "event/json.h"
#include "http_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    size_t items;
    uint64_t digest;
};

static void mix(struct sum *s, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->digest = (s->digest ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

static const char *take(void *arg, const struct ht_item *item)
{
    struct sum *s = arg;
    if (item->reason_len > sizeof item->reason || (!item->has_id && !item->has_index) || !item->has_status)
        abort();
    s->items++;
    mix(s, item->id, item->id_len < sizeof item->id ? item->id_len : sizeof item->id);
    mix(s, &item->index, sizeof item->index);
    mix(s, &item->status, sizeof item->status);
    mix(s, item->reason, item->reason_len);
    return s->items == 1000 ? "enough" : NULL;
}

/* Refusals for what a result says, not for how it is written. */
static bool is_about_meaning(const char *fault)
{
    static const char *const begins[] = {"eventId", "index", "status", "error twice", "a result", "results", "enough"};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
        if (strncmp(fault, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_doc *doc;
    const char *text = (const char *)data;
    struct sum one = {0, 1}, two = {0, 1};
    struct ht_reply first, again;
    struct json_error error;
    if (!doc && json_doc_create(&doc) < 0)
        return 0;
    bool ok = ht_reply_read(text, size, take, &one, &first);
    if (ok != ht_reply_read(text, size, take, &two, &again) || one.digest != two.digest || one.items != two.items)
        abort();
    if (first.message_len > sizeof first.message || (ok && first.items != one.items) || (ok && first.fault))
        abort();
    if (!ok && (!first.fault || first.fault_at > size))
        abort();
    if (!ok && !is_about_meaning(first.fault) && json_parse(doc, text, size, HT_REPLY_DEPTH - 2, &error) == 0)
        abort();
    return 0;
}
