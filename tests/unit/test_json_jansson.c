/* test_json_jansson.c - our reader beside an independent one, on texts mutated at random.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Both must accept and refuse the same texts, and mean the same by what they accept, but for what is known:
 *   we refuse integers that a double cannot hold; jansson holds 64 bits, and refuses integers beyond;
 *   we refuse numbers that are too large for a double, and so does jansson; jansson refuses NUL in a member's name;
 *   depth is 64 here and 2,048 there.
 */
#include "config.h"

#include "harness.h"

#include "base/base.h"
#include "event/json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static const char *const seeds[] = {
    "{\"action\":\"user.login\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u1\",\"roles\":[\"a\","
    "\"b\"]},"
    "\"metadata\":{\"n\":-12.5e3,\"t\":true,\"f\":false,\"z\":null,\"e\":\"\\u00e9\\ud83d\\ude00\\n\\\\\",\"deep\":[[[{"
    "}]],[]]}}",
    "[0,-0,1,10,0.1,1e5,1E-5,123456789012345,9007199254740992,9007199254740993,18446744073709551616,1e308,1e-320]",
    "{\"a\":1,\"b\":{\"a\":2,\"c\":[1,2,3,\"x\"]},\"\\u0061b\":\"caf\xc3\xa9 \xf0\x9f\x98\x80\",\"\":\"\"}",
    " \t\r\n[ \"\\\"\\/\\b\\f\\n\\r\\t\" , { \"k\" : [ ] } ] ",
    "\"top\"",
};

/* One of the texts, with up to six random edits; returns its length. */
static size_t mutate(uint64_t *state, char out[1024])
{
    static const char alphabet[] = "{}[]\",:\\u0123456789.eE+-truefalsnl \t\n\x01\x7f\x80\xc3\xa9\xed\xa0\xff";
    const char *seed = seeds[harness_random(state) % AW_ARRAY_LEN(seeds)];
    size_t len = strlen(seed);
    memcpy(out, seed, len);
    for (uint64_t edits = harness_random(state) % 7; edits > 0 && len > 0; edits--) {
        size_t at = harness_random(state) % len, n = 1 + harness_random(state) % 8;
        char c = alphabet[harness_random(state) % (sizeof alphabet - 1)];
        switch (harness_random(state) % 4) {
        case 0:
            out[at] = c;
            break;
        case 1:
            memmove(out + at + 1, out + at, len - at);
            out[at] = c;
            len++;
            break;
        case 2:
            n = n < len - at ? n : len - at;
            memmove(out + at, out + at + n, len - at - n);
            len -= n;
            break;
        default: /* a part again, somewhere else */
            n = n < len - at ? n : len - at;
            if (len + n < 900) {
                char part[8];
                memcpy(part, out + at, n);
                memmove(out + at + n, out + at, len - at);
                memcpy(out + at, part, n);
                len += n;
            }
        }
    }
    return len;
}

static bool same(json_t *a, json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_string(a))
        return json_string_length(a) == json_string_length(b) &&
               memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) == 0;
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!same(json_array_get(a, i), json_array_get(b, i)))
                return false;
    }
    if (json_is_object(a)) {
        const char *key;
        json_t *value;
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach(a, key, value)
        {
            json_t *other = json_object_get(b, key);
            if (!other || !same(value, other))
                return false;
        }
    }
    return true;
}

static json_t *theirs(const char *text, size_t len, json_error_t *error)
{
    return json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

/* The difference is one of those at the head of this file. */
static bool known_difference(const struct json_error *ours, const json_error_t *other, bool we_accept)
{
    if (we_accept)
        return strstr(other->text, "too big integer") || strstr(other->text, "too big negative integer") ||
               strstr(other->text, "NUL byte in object key");
    return strstr(ours->message, "cannot hold this integer") || strstr(ours->message, "out of the range");
}

static void check_one(struct json_doc *doc, const char *text, size_t len, size_t *both)
{
    struct json_error ours = {0, 0, 0, ""};
    json_error_t error = {0};
    struct aw_str canonical;
    bool accepted = json_parse(doc, text, len, 64, &ours) == 0;
    json_t *a = theirs(text, len, &error);
    if (accepted != (a != NULL) && !known_difference(&ours, &error, accepted)) {
        harness_note("ours: %s, jansson: %s: %.*s", accepted ? "yes" : ours.message, a ? "yes" : error.text, (int)len,
                     text);
        CU_FAIL("one reader accepts what the other refuses");
    }
    if (accepted && a) {
        CU_ASSERT_EQUAL_FATAL(json_canonical(doc, &canonical), 0);
        json_t *b = theirs(canonical.ptr, canonical.len, &error);
        /* a large double is written as an integer, which jansson may then refuse */
        if (!b && !strstr(error.text, "integer")) {
            harness_note("canonical text refused: %s: %.*s", error.text, (int)canonical.len, canonical.ptr);
            CU_FAIL("canonical text refused");
        }
        if (b && !same(a, b)) {
            harness_note("not the same: %.*s / %.*s", (int)len, text, (int)canonical.len, canonical.ptr);
            CU_FAIL("not the same value");
        }
        (*both)++;
        json_decref(b);
    }
    json_decref(a);
}

static void agrees_on_mutated_texts(void)
{
    uint64_t state = harness_seed();
    struct json_doc *doc = NULL;
    char text[1024];
    size_t both = 0, tried = harness_slow() ? 40000 : 200000;
    CU_ASSERT_EQUAL_FATAL(json_doc_create(&doc), 0);
    for (size_t i = 0; i < tried; i++)
        check_one(doc, text, mutate(&state, text), &both);
    harness_note("%zu texts, %zu accepted by both", tried, both);
    CU_ASSERT(both > tried / 20 && both < tried); /* both sides of the line were tried */
    json_doc_destroy(doc);
}

HARNESS_MAIN("json_jansson", {"agrees with jansson on mutated texts", agrees_on_mutated_texts})
