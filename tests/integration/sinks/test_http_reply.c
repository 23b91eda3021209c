/* test_http_reply.c - the reader of receivers' replies. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "http_reply.h"
#include "minihost.h"

static bool reads(const char *text, struct ht_reply *r)
{
    return ht_reply_read(text, strlen(text), NULL, NULL, r);
}

/* Other people's vectors of RFC 8259. */
static void test_vectors(void)
{
    char dir[1024], path[1400];
    snprintf(dir, sizeof dir, "%s", harness_data("json-parsing"));
    DIR *d = opendir(dir);
    size_t yes = 0, no = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len;
        struct ht_reply r;
        if (strstr(e->d_name, ".json") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        char *text = mh_slurp(path, &len), *exact = malloc(len + (len == 0));
        memcpy(exact, text, len); /* without the NUL behind it: a sanitizer sees whether that is read */
        bool accepted = ht_reply_read(exact, len, NULL, NULL, &r);
        yes += e->d_name[0] == 'y';
        no += e->d_name[0] == 'n';
        if ((e->d_name[0] == 'y' && !accepted) || (e->d_name[0] == 'n' && accepted))
            harness_note("%s: %s", e->d_name, accepted ? "accepted" : r.fault);
        CU_ASSERT_TRUE(e->d_name[0] == 'i' || accepted == (e->d_name[0] == 'y'));
        CU_ASSERT_TRUE(accepted || (r.fault != NULL && r.fault_at <= len));
        free(text);
        free(exact);
    }
    closedir(d);
    CU_ASSERT_TRUE(yes > 50 && no > 100);
}

static const char *take(void *arg, const struct ht_item *item)
{
    struct ht_item **next = arg;
    *(*next)++ = *item;
    return NULL;
}

static void test_items(void)
{
    struct ht_item items[4] = {{.has_id = false}}, *next = items;
    struct ht_reply r;
    static const char text[] =
        " {\"x\":[{}],\"\\u0072esults\" : [ {\"eventId\":\"a\\u00e9\\ud83d\\ude00\\\"\\/\\n\",\"status\":\"ok\"},"
        "{\"index\":12,\"status\":\"\\u0072etry\",\"error\":null,\"y\":{\"eventId\":3}},"
        "{\"status\":\"rejected\",\"index\":999999999,\"error\":\"no\\u0000pe\"} ] , \"message\":\"m\", "
        "\"error\":\"e\"}\n";
    CU_ASSERT_TRUE(ht_reply_read(text, sizeof text - 1, take, &next, &r));
    CU_ASSERT_TRUE(r.has_results);
    CU_ASSERT_EQUAL(r.items, 3);
    CU_ASSERT_TRUE(items[0].has_id && !items[0].has_index && items[0].id_len == 10);
    CU_ASSERT_EQUAL(memcmp(items[0].id, "a\xc3\xa9\xf0\x9f\x98\x80\"/\n", 10), 0);
    CU_ASSERT_EQUAL(items[0].status, HT_ITEM_OK);
    CU_ASSERT_TRUE(items[1].has_index && !items[1].has_id && items[1].index == 12);
    CU_ASSERT_EQUAL(items[1].status, HT_ITEM_RETRY);
    CU_ASSERT_EQUAL(items[1].reason_len, 0);
    CU_ASSERT_EQUAL(items[2].index, 999999999);
    CU_ASSERT_TRUE(items[2].reason_len == 5 && memcmp(items[2].reason, "no\0pe", 5) == 0);
    CU_ASSERT_TRUE(r.message_len == 1 && r.message[0] == 'm');
}

static void test_bounds(void)
{
    struct ht_reply r;
    struct ht_item items[2], *next = items;
    char text[2000], deep[400];
    /* Texts that are too long are cut at a character; an id that is too long is no event's. */
    size_t n = (size_t)snprintf(text, sizeof text, "{\"results\":[{\"index\":0,\"status\":\"ok\",\"eventId\":\"");
    memset(text + n, 'i', 200);
    n += 200;
    n += (size_t)snprintf(text + n, sizeof text - n, "\",\"error\":\"");
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\xe2\x82\xac");
    n += (size_t)snprintf(text + n, sizeof text - n, "\"}]}");
    CU_ASSERT_TRUE(ht_reply_read(text, n, take, &next, &r));
    CU_ASSERT_EQUAL(items[0].id_len, 200);
    CU_ASSERT_EQUAL(items[0].reason_len, HT_REASON_MAX / 3 * 3);
    for (size_t cut = 0; cut < n; cut++) /* no beginning of it is a reply */
        CU_ASSERT_FALSE(ht_reply_read(text, cut, NULL, NULL, &r));
    for (size_t depth = HT_REPLY_DEPTH; depth <= HT_REPLY_DEPTH + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        CU_ASSERT_EQUAL(ht_reply_read(deep, 2 * depth, NULL, NULL, &r), depth == HT_REPLY_DEPTH);
    }
    CU_ASSERT_STRING_EQUAL(r.fault, "nested too deeply");
    CU_ASSERT_TRUE(reads("{\"results\":[]}", &r) && r.has_results && r.items == 0);
    CU_ASSERT_TRUE(reads("{\"resultsx\":3,\"\\u0000results\":[1],\"results\\u0000\":2}", &r) && !r.has_results);
    CU_ASSERT_FALSE(reads("{\"results\":[{\"index\":1e0,\"status\":\"ok\"}]}", &r));
    CU_ASSERT_FALSE(reads("{\"results\":[{\"index\":\"1\",\"status\":\"ok\"}]}", &r));
    CU_ASSERT_FALSE(reads("{\"results\":[{\"eventId\":\"\",\"status\":\"ok\"}]}", &r));
    CU_ASSERT_FALSE(reads("{\"results\":[{\"eventId\":1,\"status\":\"ok\"}]}", &r));
    CU_ASSERT_FALSE(reads("{\"results\":[{\"index\":1,\"status\":\"ok\\u0000\"}]}", &r));
    CU_ASSERT_FALSE(reads("{\"results\":[{\"index\":1,\"status\":\"rejected\",\"error\":\"a\",\"error\":\"b\"}]}", &r));
    CU_ASSERT_FALSE(reads("\xef\xbb\xbf{}", &r));
}

HARNESS_MAIN("sink_http_reply", {"vectors of RFC 8259", test_vectors}, {"results", test_items}, {"bounds", test_bounds})
