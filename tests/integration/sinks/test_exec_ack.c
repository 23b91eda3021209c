/* test_exec_ack.c - what counts as an acknowledgement. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec_ack.h"
#include "harness.h"

/* Parses a copy of exactly this size, so that a sanitizer sees the first byte read behind it. */
static const char *parse(const char *text, struct ex_ack *ack, char **ret_copy)
{
    size_t n = strlen(text);
    *ret_copy = malloc(n > 0 ? n : 1);
    memcpy(*ret_copy, text, n);
    return ex_parse_ack(*ret_copy, n, ack);
}

static void test_good(void)
{
    static const struct {
        const char *line, *id, *error;
        uint8_t status;
    } all[] = {
        {"{\"eventId\":\"a\",\"status\":\"durable\"}", "a", NULL, AW_EVENT_DURABLE},
        {" { \"status\" : \"accepted\" , \"eventId\" : \"\" } \t\r", "", NULL, AW_EVENT_ACCEPTED},
        {"{\"eventId\":\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"status\":\"duplicate\"}",
         "\xc3\xa9\xf0\x9f\x98\x80\"\\/\b\f\n\r\t", NULL, AW_EVENT_DUPLICATE},
        {"{\"x\":null,\"y\":[1,-0.5e+3,{\"z\":[[],{}]},true,false],\"eventId\":\"\xe2\x82\xac\",\"status\":\"retry\","
         "\"error\":\"e\\u0000f\"}",
         "\xe2\x82\xac", "e", AW_EVENT_RETRY},
        {"{\"eventId\":\"a\",\"status\":\"rejected\",\"error\":\"\"}", "a", "", AW_EVENT_REJECTED},
        {"{\"eventId\":\"a\",\"stat\\u0075s\":\"r\\u0065jected\"}", "a", NULL, AW_EVENT_REJECTED},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct ex_ack ack;
        char *copy;
        const char *fault = parse(all[i].line, &ack, &copy);
        bool ok = fault == NULL && ack.kind == EX_ACK_EVENT && ack.status == all[i].status &&
                  ack.id.len == strlen(all[i].id) && memcmp(ack.id.ptr, all[i].id, ack.id.len) == 0 &&
                  (ack.error.ptr != NULL) == (all[i].error != NULL) &&
                  (all[i].error == NULL || strncmp(ack.error.ptr, all[i].error, ack.error.len) == 0);
        CU_ASSERT_TRUE(ok);
        if (!ok)
            harness_note("%s: %s", all[i].line, fault != NULL ? fault : "wrong values");
        free(copy);
    }
}

static void test_numbers(void)
{
    struct ex_ack ack;
    char *copy;
    CU_ASSERT_PTR_NULL(parse("{\"flushed\":17,\"error\":\"full\"}", &ack, &copy));
    CU_ASSERT_TRUE(ack.kind == EX_ACK_FLUSHED && ack.number == 17 && ack.error.len == 4);
    free(copy);
    CU_ASSERT_PTR_NULL(parse("{\"eventId\":\"a\",\"status\":\"retry\",\"retryAfterMs\":250}", &ack, &copy));
    CU_ASSERT_EQUAL(ack.retry_after_ms, 250);
    free(copy);
    CU_ASSERT_PTR_NULL(parse("{\"eventId\":\"a\",\"status\":\"retry\",\"retryAfterMs\":99999999999}", &ack, &copy));
    CU_ASSERT_EQUAL(ack.retry_after_ms, 3600000);
    free(copy);
}

static void test_bad(void)
{
    static const char *const all[] = {"",
                                      " ",
                                      "{",
                                      "{}",
                                      "[]",
                                      "null",
                                      "\"a\"",
                                      "{\"eventId\":\"a\"}",
                                      "{\"status\":\"durable\"}",
                                      "{\"eventId\":\"a\",\"status\":\"stored\"}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\"",
                                      "{\"eventId\":\"a\",\"status\":\"durable\"}}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\"}x",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",}",
                                      "{\"eventId\":\"a\",,\"status\":\"durable\"}",
                                      "{\"eventId\":\"a\",\"eventId\":\"a\",\"status\":\"durable\"}",
                                      "{\"eventId\":1,\"status\":\"durable\"}",
                                      "{\"eventId\":\"a\",\"status\":true}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"error\":null}",
                                      "{\"eventId\":\"a\",\"status\":\"DURABLE\"}",
                                      "{\"eventId\":\"a\",\"status\":\"retry\",\"retryAfterMs\":1.5}",
                                      "{\"eventId\":\"a\",\"status\":\"retry\",\"retryAfterMs\":-1}",
                                      "{\"eventId\":\"a\",\"status\":\"retry\",\"retryAfterMs\":1111111111111111111}",
                                      "{\"flushed\":\"1\"}",
                                      "{\"flushed\":1,\"status\":\"durable\"}",
                                      "{\"flushed\":1,\"eventId\":\"a\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"a\\x\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\\ud800\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\\ud800\\u0041\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\\udc00\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\\u12\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\\",
                                      "{\"eventId\":\"\\u",
                                      "{\"eventId\":\"a\tb\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\xff\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\xc0\x80\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\xed\xa0\x80\",\"status\":\"durable\"}",
                                      "{\"eventId\":\"\xe2\x82",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":[}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":[1 2]}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":{\"a\" 1}}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":01}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":1.}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":1e}",
                                      "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":tru}",
                                      "{eventId:\"a\",\"status\":\"durable\"}"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct ex_ack ack;
        char *copy;
        const char *fault = parse(all[i], &ack, &copy);
        CU_ASSERT_PTR_NOT_NULL(fault);
        if (fault == NULL)
            harness_note("taken: %s", all[i]);
        free(copy);
    }
}

static void test_depth(void)
{
    for (int depth = 31; depth <= 33; depth++) {
        struct ex_ack ack;
        char line[200], *copy;
        int n = snprintf(line, sizeof line, "{\"eventId\":\"a\",\"status\":\"durable\",\"x\":");
        memset(line + n, '[', (size_t)depth);
        memset(line + n + depth, ']', (size_t)depth);
        memcpy(line + n + 2 * depth, "}", 2);
        CU_ASSERT_EQUAL(parse(line, &ack, &copy) == NULL, depth <= 32);
        free(copy);
    }
}

HARNESS_MAIN("exec_ack", {"what is taken", test_good}, {"numbers", test_numbers}, {"what is not", test_bad},
             {"depth", test_depth})
