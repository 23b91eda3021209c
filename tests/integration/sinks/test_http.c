/* test_http.c - the http sink against a receiver: bodies, headers, statuses, results, and options.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "http_rig.h"

static struct rig *peer;

static void test_setup(void)
{
    peer = RIG_PEER(NULL);
    CU_ASSERT_TRUE(peer->port > 0);
}

static bool last_has(const char *text)
{
    char *line = rig_last(peer);
    bool there = strstr(line, text) != NULL;
    if (!there)
        harness_note("no %s in %s", text, line);
    free(line);
    return there;
}

/* The same for a text that must not be there. */
static bool last_lacks(const char *text)
{
    char *line = rig_last(peer);
    bool lacks = strstr(line, text) == NULL;
    free(line);
    return lacks;
}

/* ---- bodies ---- */

static char *body_of(const char *head, const char *between, const char *tail, uint64_t from, uint64_t to, size_t *ret_n)
{
    char *out = malloc((size_t)(to - from + 1) * 1300 + 100);
    size_t n = (size_t)snprintf(out, 100, "%s", head);
    for (uint64_t i = from; i <= to; i++) {
        struct aw_event *e = mh_event(i);
        memcpy(out + n, e->json, e->json_len);
        n += e->json_len;
        n += (size_t)snprintf(out + n, 8, "%s", i < to ? between : tail);
        mh_event_free(e);
    }
    *ret_n = n;
    return out;
}

static void test_formats(void)
{
    static const struct {
        const char *format, *compression, *head, *between, *tail, *type, *coding;
    } all[] = {
        {"events", "none", "{\"events\":[", ",", "]}", "\"content-type\":\"application/json\"", NULL},
        {"array", "none", "[", ",", "]", "\"content-type\":\"application/json\"", NULL},
        {"ndjson", "none", "", "\n", "\n", "\"content-type\":\"application/x-ndjson\"", NULL},
        {"events", "gzip", "{\"events\":[", ",", "]}", "application/json", "\"content-encoding\":\"gzip\""},
        {"ndjson", "zstd", "", "\n", "\n", "application/x-ndjson", "\"content-encoding\":\"zstd\""},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct mh_instance *m =
            RIG_SINK(rig_url(peer, "/ok"), "format", all[i].format, "compression", all[i].compression);
        uint8_t status[20];
        for (uint64_t n = 1; n <= 20; n += 19) {
            size_t len;
            char *want = body_of(all[i].head, all[i].between, all[i].tail, 1, n, &len);
            CU_ASSERT_EQUAL(rig_write(m, 1, n, 0, status, NULL), AW_OK);
            CU_ASSERT_TRUE(mh_all(status, (size_t)n, AW_EVENT_DURABLE));
            CU_ASSERT_TRUE(rig_body_is(peer, want, len));
            free(want);
        }
        CU_ASSERT_TRUE(last_has(all[i].type));
        CU_ASSERT_TRUE(all[i].coding != NULL ? last_has(all[i].coding) : last_lacks("content-encoding"));
        CU_ASSERT_TRUE(last_has("\"method\":\"POST\""));
        CU_ASSERT_TRUE(last_has("\"version\":\"HTTP/1.1\""));
        CU_ASSERT_TRUE(last_has("\"accept-encoding\":\"identity\""));
        CU_ASSERT_TRUE(last_has("\"user-agent\":\"auditwell/"));
        mh_destroy(m);
    }
    struct mh_instance *fast = RIG_SINK(rig_url(peer, "/ok"), "compression", "gzip", "compression_level", "1"),
                       *small = RIG_SINK(rig_url(peer, "/ok"), "compression", "gzip", "compression_level", "9");
    CU_ASSERT_EQUAL(mh_write(fast, 1, 200, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_write(small, 1, 200, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_metric(small, "http_sent_bytes_total") < mh_metric(fast, "http_sent_bytes_total"));
    CU_ASSERT_TRUE(mh_metric(fast, "http_sent_bytes_total") < 60000);
    mh_destroy(fast);
    mh_destroy(small);
}

static void test_body_larger_then_smaller(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), NULL);
    size_t len;
    for (int i = 0; i < 3; i++) {
        struct aw_event *large = mh_event_sized(7, (10u << 20) + (size_t)i);
        uint8_t status;
        CU_ASSERT_EQUAL(mh_write_events(m, &large, 1, 0, 0, &status), AW_OK);
        CU_ASSERT_EQUAL(status, AW_EVENT_DURABLE);
        CU_ASSERT_TRUE(last_has("\"expect\":\"100-continue\"")); /* a receiver can refuse it beforehand */
        mh_event_free(large);
        CU_ASSERT_EQUAL(mh_write(m, 3, 4, 0, NULL), AW_OK);
        CU_ASSERT_TRUE(last_lacks("\"expect\""));
        char *want = body_of("{\"events\":[", ",", "]}", 3, 4, &len);
        CU_ASSERT_TRUE(rig_body_is(peer, want, len));
        free(want);
    }
    CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 1);
    struct aw_event *e[2] = {mh_event(1), mh_event(2)};
    uint8_t status[2];
    size_t before = rig_requests(peer);
    e[1]->encode_code = AW_E_NOMEM; /* an event that cannot be rendered now: nothing is sent, nothing rejected */
    CU_ASSERT_EQUAL(mh_write_events(m, e, 2, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(rig_requests(peer), before);
    mh_event_free(e[0]);
    mh_event_free(e[1]);
    mh_destroy(m);
}

/* ---- headers ---- */

static char *key_of_last(void)
{
    char *line = rig_last(peer), *at = strstr(line, "\"idempotency-key\":\"\\\"");
    char *key = at != NULL ? strndup(at + 21, 64) : strdup("?");
    free(line);
    return key;
}

static void test_idempotency_key(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/status/500"), NULL),
                       *other = RIG_SINK(rig_url(peer, "/ok"), "format", "ndjson", "compression", "gzip");
    CU_ASSERT_EQUAL(mh_write(m, 5, 9, 0, NULL), AW_E_RETRY);
    CU_ASSERT_TRUE(last_has("\"keyFits\":true")); /* as the manual says, computed by the peer */
    char *first = key_of_last();
    CU_ASSERT_EQUAL(mh_write(m, 5, 9, 0, NULL), AW_E_RETRY);
    char *again = key_of_last();
    CU_ASSERT_EQUAL(mh_write(m, 5, 8, 0, NULL), AW_E_RETRY);
    char *part = key_of_last();
    CU_ASSERT_EQUAL(mh_write(other, 5, 9, 0, NULL), AW_OK);
    char *elsewhere = key_of_last();
    CU_ASSERT_EQUAL(mh_write(other, 1, 700, 0, NULL), AW_OK); /* more than is digested at once */
    CU_ASSERT_TRUE(last_has("\"keyFits\":true"));
    CU_ASSERT_STRING_EQUAL(first, again);
    CU_ASSERT_STRING_EQUAL(first, elsewhere);
    CU_ASSERT_STRING_NOT_EQUAL(first, part);
    CU_ASSERT_EQUAL(strspn(first, "0123456789abcdef"), 64);
    free(first);
    free(again);
    free(part);
    free(elsewhere);
    mh_destroy(m);
    mh_destroy(other);
}

static void test_headers(void)
{
    struct mh_instance *m =
        RIG_SINK(rig_url(peer, "/ok?token=url-canary"), "headers", "X-One: 1\nX-Two:  a, b; c=\"d\"", "secret_headers",
                 "X-Api-Key: api-canary\n\nCookie: a=b\r\nX-Three: 3\n", "bearer_token", "bearer-canary+/==");
    CU_ASSERT_EQUAL(mh_write(m, 1, 2, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(last_has("\"x-one\":\"1\""));
    CU_ASSERT_TRUE(last_has("\"x-two\":\"a, b; c=\\\"d\\\"\""));
    CU_ASSERT_TRUE(last_has("\"x-three\":\"3\""));
    CU_ASSERT_TRUE(last_has("\"x-api-key\":\"api-canary\""));
    CU_ASSERT_TRUE(last_has("\"cookie\":\"a=b\""));
    CU_ASSERT_TRUE(last_has("\"authorization\":\"Bearer bearer-canary+/==\""));
    CU_ASSERT_TRUE(last_has("\"path\":\"/ok?token=url-canary\""));
    mh_destroy(m);
    m = RIG_SINK(rig_url(peer, "/ok"), "username", "aladdin", "password", "open sesame");
    CU_ASSERT_EQUAL(mh_write(m, 1, 2, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(last_has("\"authorization\":\"Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==\"")); /* RFC 7617 */
    mh_destroy(m);
}

/* ---- statuses ---- */

static void test_statuses(void)
{
    static const struct {
        int status;
        int32_t code;
        uint8_t event;
    } all[] = {
        {200, AW_OK, AW_EVENT_DURABLE},         {201, AW_OK, AW_EVENT_DURABLE},
        {202, AW_OK, AW_EVENT_ACCEPTED},        {204, AW_OK, AW_EVENT_DURABLE},
        {299, AW_OK, AW_EVENT_DURABLE},         {207, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {304, AW_E_RETRY, AW_EVENT_UNKNOWN},    {400, AW_E_REJECTED, AW_EVENT_UNKNOWN},
        {401, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {402, AW_E_CONFIG, AW_EVENT_UNKNOWN},
        {403, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {404, AW_E_CONFIG, AW_EVENT_UNKNOWN},
        {405, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {406, AW_E_CONFIG, AW_EVENT_UNKNOWN},
        {407, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {408, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {410, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {411, AW_E_CONFIG, AW_EVENT_UNKNOWN},
        {413, AW_E_REJECTED, AW_EVENT_UNKNOWN}, {415, AW_E_CONFIG, AW_EVENT_UNKNOWN},
        {418, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {421, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {422, AW_E_REJECTED, AW_EVENT_UNKNOWN}, {423, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {424, AW_E_RETRY, AW_EVENT_UNKNOWN},    {425, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {426, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {429, AW_E_THROTTLED, AW_EVENT_UNKNOWN},
        {431, AW_E_CONFIG, AW_EVENT_UNKNOWN},   {451, AW_E_CONFIG, AW_EVENT_UNKNOWN},
        {500, AW_E_RETRY, AW_EVENT_UNKNOWN},    {501, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {502, AW_E_RETRY, AW_EVENT_UNKNOWN},    {503, AW_E_RETRY, AW_EVENT_UNKNOWN},
        {504, AW_E_RETRY, AW_EVENT_UNKNOWN},    {599, AW_E_RETRY, AW_EVENT_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint8_t status[3];
        char path[64], want[64];
        uint32_t after_ms = 1;
        snprintf(path, sizeof path, "/status/%d", all[i].status);
        snprintf(want, sizeof want, "status %d", all[i].status);
        int32_t code = rig_once(peer, path, 3, status, &after_ms);
        if (code != all[i].code || status[0] != all[i].event)
            harness_note("status %d: code %d, event %d, %s", all[i].status, code, status[0], rig_error);
        CU_ASSERT_EQUAL(code, all[i].code);
        CU_ASSERT_TRUE(mh_all(status, 3, all[i].event));
        CU_ASSERT_EQUAL(after_ms, 0);
        CU_ASSERT_TRUE(code == AW_OK || rig_error_has(want));
        CU_ASSERT_TRUE(all[i].status < 400 || rig_error_has(": so it is here")); /* the receiver's own words */
    }
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), "ack", "accepted");
    uint8_t status[2];
    CU_ASSERT_EQUAL(rig_write(m, 1, 2, 0, status, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 2, AW_EVENT_ACCEPTED));
    mh_destroy(m);
}

static void test_pages(void)
{
    uint8_t status[3];
    CU_ASSERT_EQUAL(rig_once(peer, "/page/200", 3, status, NULL), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_UNKNOWN));
    CU_ASSERT_TRUE(rig_error_has("with a web page"));
    CU_ASSERT_EQUAL(rig_once(peer, "/page/400", 3, status, NULL), AW_E_CONFIG); /* no event is to blame */
    CU_ASSERT_TRUE(rig_error_has("client certificate"));
    CU_ASSERT_EQUAL(rig_once(peer, "/page/503", 3, status, NULL), AW_E_RETRY);
    CU_ASSERT_PTR_NULL(strstr(rig_error, "DOCTYPE"));
    CU_ASSERT_EQUAL(rig_once(peer, "/text/200/%3Cok%3E", 3, status, NULL), AW_OK); /* "<ok>" is none */
}

static void test_retry_after(void)
{
    uint8_t status[3];
    uint32_t after_ms;
    char path[200], date[80];
    CU_ASSERT_EQUAL(rig_once(peer, "/status/429/7", 3, status, &after_ms), AW_E_THROTTLED);
    CU_ASSERT_EQUAL(after_ms, 7000);
    CU_ASSERT_EQUAL(rig_once(peer, "/status/503/2", 3, status, &after_ms), AW_E_THROTTLED);
    CU_ASSERT_EQUAL(after_ms, 2000);
    CU_ASSERT_EQUAL(rig_once(peer, "/status/500/3", 3, status, &after_ms), AW_E_THROTTLED);
    CU_ASSERT_EQUAL(after_ms, 3000);
    CU_ASSERT_EQUAL(rig_once(peer, "/status/429/86400", 3, status, &after_ms), AW_E_THROTTLED);
    CU_ASSERT_EQUAL(after_ms, 300000); /* retry_after_max */
    CU_ASSERT_EQUAL(rig_once(peer, "/status/429/99999999999999999999999999", 3, status, &after_ms), AW_E_THROTTLED);
    CU_ASSERT_EQUAL(after_ms, 300000);
    time_t at = time(NULL) + 120;
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(date, sizeof date, "%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT", &tm);
    (void)snprintf(path, sizeof path, "/status/503/%s", date);
    CU_ASSERT_EQUAL(rig_once(peer, path, 3, status, &after_ms), AW_E_THROTTLED);
    CU_ASSERT_TRUE(after_ms > 60000 && after_ms <= 120000);
    static const char *const none[] = {"/status/503/soon", "/status/503/-5", "/status/503/0",
                                       "/status/503/Sun,%2006%20Nov%201994%2008:49:37%20GMT"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        CU_ASSERT_EQUAL(rig_once(peer, none[i], 3, status, &after_ms), AW_E_RETRY);
        CU_ASSERT_EQUAL(after_ms, 0);
    }
    CU_ASSERT_EQUAL(rig_once(peer, "/status/422/7", 3, status, &after_ms), AW_E_REJECTED);
    CU_ASSERT_EQUAL(after_ms, 0);
}

static void test_conflict(void)
{
    uint8_t status[4];
    uint32_t after_ms;
    CU_ASSERT_EQUAL(rig_once(peer, "/status/409", 4, status, NULL), AW_E_REJECTED); /* the host sends fewer */
    CU_ASSERT_TRUE(mh_all(status, 4, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(rig_once(peer, "/status/409", 1, status, NULL), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DUPLICATE);
    CU_ASSERT_EQUAL(rig_once(peer, "/status/409/1", 1, status, &after_ms), AW_E_THROTTLED); /* busy */
    CU_ASSERT_EQUAL(after_ms, 1000);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_UNKNOWN);
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/status/409"), "conflict", "retry");
    CU_ASSERT_EQUAL(rig_write(m, 1, 1, 0, status, NULL), AW_E_RETRY);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_UNKNOWN);
    mh_destroy(m);
}

/* ---- results ---- */

static bool statuses_are(const uint8_t *status, const char *want)
{
    static const struct {
        char letter;
        uint8_t status;
    } letters[] = {{'u', AW_EVENT_UNKNOWN},   {'a', AW_EVENT_ACCEPTED}, {'d', AW_EVENT_DURABLE},
                   {'2', AW_EVENT_DUPLICATE}, {'r', AW_EVENT_RETRY},    {'x', AW_EVENT_REJECTED}};
    for (size_t i = 0; want[i] != '\0'; i++)
        for (size_t k = 0; k < 6; k++)
            if (letters[k].letter == want[i] && letters[k].status != status[i]) {
                harness_note("event %zu: status %d, expected %c", i, status[i], want[i]);
                return false;
            }
    return true;
}

#define ID(n) "01890a5d-ac96-774b-bcce-00000000000" #n

static const struct {
    const char *path, *reply;
    int32_t code;
    const char *statuses;
} result_cases[] = {
    {"/file/200",
     "{\"results\":[{\"eventId\":\"" ID(3) "\",\"status\":\"ok\"},{\"index\":0,\"status\":\"duplicate\"},"
                                           "{\"index\":1,\"eventId\":\"" ID(
                                               2) "\",\"status\":\"rejected\",\"error\":\"no \\u00fc\\n\"}]}",
     AW_OK, "2xd"},
    {"/file/202", "{\"results\":[{\"index\":1,\"status\":\"ok\"}]}", AW_OK, "uau"},
    {"/file/400", "{\"results\":[{\"index\":1,\"status\":\"rejected\"},{\"index\":0,\"status\":\"ok\"}]}", AW_OK,
     "dxu"},
    {"/file/409", "{\"results\":[{\"index\":1,\"status\":\"duplicate\"}]}", AW_OK, "u2u"},
    {"/file/422", "{\"results\":[]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":1,\"status\":\"retry\"}]}", AW_E_RETRY, "uru"},
    {"/file/200/9", "{\"results\":[{\"index\":1,\"status\":\"retry\"},{\"index\":2,\"status\":\"ok\"}]}",
     AW_E_THROTTLED, "urd"},
    {"/file/429/9", "{\"results\":[{\"index\":0,\"status\":\"ok\"}]}", AW_E_THROTTLED, "duu"},
    {"/file/503", "{\"results\":[{\"index\":0,\"status\":\"ok\"}]}", AW_E_RETRY, "duu"},
    /* Statuses that are not about events. */
    {"/file/500", "{\"results\":[{\"index\":0,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/401", "{\"results\":[{\"index\":0,\"status\":\"rejected\"}]}", AW_E_CONFIG, "uuu"},
    /* No results. */
    {"/file/200", "{\"stored\":3}", AW_OK, "ddd"},
    {"/file/200", "[1,2]", AW_OK, "ddd"},
    {"/file/200", "\"ok\"", AW_OK, "ddd"},
    {"/file/200", "", AW_OK, "ddd"},
    {"/file/207", "{}", AW_E_RETRY, "uuu"},
    {"/file/207", "", AW_E_RETRY, "uuu"},
    /* Not understood: nothing of it is believed. */
    {"/file/200", "{\"results\":[{\"index\":0,\"status\":\"ok\"}", AW_E_RETRY, "uuu"},
    {"/file/200", "ok", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":0,\"status\":\"OK\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":0,\"status\":\"ok\"},{\"index\":3,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":0,\"status\":\"ok\"},{\"index\":0,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200",
     "{\"results\":[{\"eventId\":\"" ID(1) "\",\"status\":\"ok\"},{\"eventId\":\"" ID(1) "\",\"status\":\"ok\"}]}",
     AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"eventId\":\"" ID(9) "\",\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"eventId\":\"" ID(1) "\",\"index\":1,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":0}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":-1,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":0.5,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":4294967296,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[],\"results\":[{\"index\":0,\"status\":\"ok\"}]}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":{\"index\":0,\"status\":\"ok\"}}", AW_E_RETRY, "uuu"},
    {"/file/200", "{\"results\":[{\"index\":0,\"status\":\"ok\",\"status\":\"rejected\"}]}", AW_E_RETRY, "uuu"},
    {"/file/422", "{\"results\":[{\"index\":0,\"status\":\"ok\"}", AW_E_REJECTED, "uuu"},
};

static void test_results(void)
{
    for (size_t i = 0; i < sizeof result_cases / sizeof result_cases[0]; i++) {
        uint8_t status[3];
        rig_reply(peer, result_cases[i].reply);
        int32_t code = rig_once(peer, result_cases[i].path, 3, status, NULL);
        bool right = code == result_cases[i].code && statuses_are(status, result_cases[i].statuses);
        if (!right)
            harness_note("%s %s: code %d, %s", result_cases[i].path, result_cases[i].reply, code, rig_error);
        CU_ASSERT_TRUE(right);
    }
    rig_reply(peer, result_cases[0].reply);
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/file/200"), NULL);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(m->event_error_index, 1);
    CU_ASSERT_STRING_EQUAL(m->event_error, "the receiver rejects it: no \xc3\xbc ");
    CU_ASSERT_EQUAL(mh_metric(m, "http_duplicates_total"), 1);
    mh_destroy(m);
}

static void test_many_results(void)
{
    static const uint8_t cycle[] = {AW_EVENT_DURABLE, AW_EVENT_DURABLE, AW_EVENT_REJECTED, AW_EVENT_DUPLICATE,
                                    AW_EVENT_RETRY};
    uint8_t status[500];
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/results"), NULL);
    CU_ASSERT_EQUAL(rig_write(m, 1, 500, 0, status, NULL), AW_OK);
    for (size_t i = 0; i < 500; i++)
        CU_ASSERT_EQUAL(status[i], cycle[i % 5]);
    CU_ASSERT_STRING_EQUAL(m->event_error, "the receiver rejects it: no 497");
    CU_ASSERT_EQUAL(m->event_error_index, 497);
    CU_ASSERT_EQUAL(mh_metric(m, "http_duplicates_total"), 100);
    mh_destroy(m);
    for (int k = 0; k < 2; k++) { /* in any order */
        m = RIG_SINK(rig_url(peer, k == 0 ? "/results/reversed" : "/results/shuffled"), NULL);
        CU_ASSERT_EQUAL(rig_write(m, 1, 500, 0, status, NULL), AW_OK);
        for (size_t i = 0; i < 500; i++)
            CU_ASSERT_EQUAL(status[i], cycle[i % 5]);
        char want[64];
        snprintf(want, sizeof want, "the receiver rejects it: no %zu", m->event_error_index);
        CU_ASSERT_STRING_EQUAL(m->event_error, want);
        mh_destroy(m);
    }
}

/* ---- secrets ---- */

static void test_no_secret_is_told(void)
{
    static const char *const paths[] = {"/echo/500/plain?token=url-canary", "/echo/422/json/authorization",
                                        "/echo/500/json/x-api-key",         "/echo/401/plain",
                                        "/echo/200/results/authorization",  "/echo/200/results/x-api-key",
                                        "/echo/200/results/x-api-key/30",   "/redirect/308"};
    static const char *const canaries[] = {"url-canary", "x-canary-long-enough-bearer", "api-canary",
                                           "key-canary-0123456789", "eC1jYW5hcnktbG9uZy1lbm91Z2gtYmVhcmVy"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct mh_instance *m =
            RIG_SINK(rig_url(peer, paths[i]), "bearer_token", "x-canary-long-enough-bearer", "secret_headers",
                     "X-Api-Key: api-canary", "signature_key", "key-canary-0123456789");
        uint8_t status[160];
        struct aw_health h = {.struct_size = sizeof h};
        (void)rig_write(m, 1, 160, 0, status, NULL);
        CU_ASSERT_TRUE(m->error[0] != '\0' || m->event_error[0] != '\0');
        CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
        for (size_t k = 0; k < sizeof canaries / sizeof canaries[0]; k++) {
            if (strstr(m->error, canaries[k]) != NULL)
                harness_note("%s: %s", paths[i], m->error);
            CU_ASSERT_PTR_NULL(strstr(m->error, canaries[k]));
            CU_ASSERT_PTR_NULL(strstr(m->event_error, canaries[k]));
            CU_ASSERT_PTR_NULL(strstr(m->log, canaries[k]));
            CU_ASSERT_PTR_NULL(strstr(h.detail, canaries[k]));
        }
        CU_ASSERT_PTR_NULL(strstr(m->event_error, "x-can"));
        CU_ASSERT_PTR_NULL(strstr(m->event_error, "api-c")); /* nor the begin of one that was cut off */
        CU_ASSERT_TRUE(strstr(m->error, "***") != NULL || strstr(m->event_error, "xxxx") != NULL);
        mh_destroy(m);
    }
}

HARNESS_MAIN("sink_http", {"set up", test_setup}, {"formats and packing", test_formats},
             {"large bodies, and small ones after them", test_body_larger_then_smaller},
             {"the idempotency key", test_idempotency_key}, {"headers and credentials", test_headers},
             {"every status", test_statuses}, {"web pages", test_pages}, {"Retry-After", test_retry_after},
             {"409", test_conflict}, {"results", test_results}, {"many results", test_many_results},
             {"no secret is told", test_no_secret_is_told})
