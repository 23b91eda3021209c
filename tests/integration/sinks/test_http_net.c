/* test_http_net.c - the http sink on a bad network, with receivers that misbehave, and over its own life.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "http_rig.h"

#define SECOND UINT64_C(1000000000)
static struct rig *peer;

static void test_setup(void)
{
    /* What the environment says of proxies must not matter. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "socks5://127.0.0.1:1", 1);
    peer = RIG_PEER(NULL);
    CU_ASSERT_TRUE(peer->port > 0);
}

/* ---- options ---- */

static void refused(const char *url, const char *const *pairs, const char *why)
{
    const char *all[12] = {"url", url};
    for (size_t n = 2; *pairs != NULL && n < 11; pairs++)
        all[n++] = *pairs;
    struct mh_instance *m = mh_create("http", all);
    bool right = m == NULL && strncmp(mh_last_error(), "-600 ", 5) == 0 && strstr(mh_last_error(), why) != NULL &&
                 strstr(mh_last_error(), "canary") == NULL;
    if (!right)
        harness_note("%s: \"%s\", expected \"%s\"", url, m != NULL ? "created" : mh_last_error(), why);
    CU_ASSERT_TRUE(right);
    mh_destroy(m);
}
#define REFUSED(url, why, ...) refused(url, (const char *const[]){__VA_ARGS__, NULL}, why)

static void accepted(const char *url, const char *const *pairs)
{
    const char *all[12] = {"url", url};
    for (size_t n = 2; *pairs != NULL && n < 11; pairs++)
        all[n++] = *pairs;
    struct mh_instance *m = mh_create("http", all);
    if (m == NULL)
        harness_note("%s: %s", url, mh_last_error());
    CU_ASSERT_PTR_NOT_NULL(m);
    mh_destroy(m);
}
#define ACCEPTED(url, ...) accepted(url, (const char *const[]){__VA_ARGS__, NULL})

#define U "https://collector.example/v1"

static void test_options(void)
{
    REFUSED("http://collector.example/v1", "insecure_plain = true", NULL);
    REFUSED("http://127.0.0.1.example/", "insecure_plain = true", NULL);
    REFUSED("http://localhost.example/", "insecure_plain = true", NULL);
    REFUSED("http://126.0.0.1/", "insecure_plain = true", NULL);
    REFUSED("http://[::2]/", "insecure_plain = true", NULL);
    REFUSED("http://localhost/", "by a proxy", "proxy", "http://127.0.0.1:3128");
    REFUSED("ftp://collector.example/", "scheme is \"ftp\"", NULL);
    REFUSED("file:///etc/passwd", "expected https", NULL);
    REFUSED("collector.example/v1", "no URL", NULL);
    REFUSED("https://user:pw-canary@collector.example/", "user name, password or fragment", NULL);
    REFUSED("https://collector.example/#x", "user name, password or fragment", NULL);
    REFUSED("https://collector.example:99999/", "no URL", NULL);
    REFUSED("https://collector.example/\n", "control character", NULL);
    REFUSED(U, "another scheme, host or port", "health_url", "https://collector.example:8443/health");
    REFUSED(U, "another scheme, host or port", "health_url", "https://elsewhere.example/health");
    REFUSED(U, "there is no compression", "compression_level", "3");
    REFUSED(U, "levels 1 to 9", "compression", "gzip", "compression_level", "12");
    REFUSED(U, "expected at least 16", "signature_key", "short-canary");
    REFUSED(U, "no signature_key", "signature_key_id", "k1");
    REFUSED(U, "A-Z", "signature_key", "0123456789abcdef", "signature_key_id", "a,b");
    REFUSED(U, "one is set without the other", "username", "u");
    REFUSED(U, "one is set without the other", "password", "canary");
    REFUSED(U, "without a colon", "username", "u:v", "password", "canary");
    REFUSED(U, "only one of them", "username", "u", "password", "canary", "bearer_token", "canary");
    REFUSED(U, "control character", "bearer_token", "can\r\nX-Evil: ary");
    REFUSED(U, "comes from bearer_token", "bearer_token", "canary", "secret_headers", "Authorization: canary");
    REFUSED(U, "\"Authorization\" holds a secret", "headers", "X-A: 1\nAuthorization: canary");
    REFUSED(U, "\"cookie\" holds a secret", "headers", "cookie: canary");
    REFUSED(U, "\"Content-Length\" is a header that the sink sets", "headers", "Content-Length: 3");
    REFUSED(U, "\"Idempotency-Key\" is a header", "headers", "Idempotency-Key: 3");
    REFUSED(U, "headers[1]: \"X-B\" has no value", "headers", "X-A: 1\nX-B:  ");
    REFUSED(U, "not of the form", "headers", "canary without colon");
    REFUSED(U, "not of the form", "headers", "X A: 3");
    REFUSED(U, "secret_headers: line 3 is not of the form", "secret_headers", "X-A: canary\n\ncanary");
    REFUSED(U, "secret_headers: line 1 is a header", "secret_headers", "Host: canary");
    REFUSED(U, "secret_headers: line 1 holds a control character", "secret_headers", "X-A: can\tary\x01");
    REFUSED(U, "one is set without the other", "client_cert", "/nowhere/c.pem");
    REFUSED(U, "no client_key", "key_password", "canary");
    REFUSED("http://127.0.0.1/", "begins with http://", "ca_file", "/nowhere/ca.pem");
    REFUSED(U, "expected http://HOST:PORT", "proxy", "ftp://proxy.example");
    REFUSED(U, "use proxy_username", "proxy", "http://u:canary@proxy.example:1");
    REFUSED(U, "there is no proxy", "proxy_password", "canary");
}

static void test_good_options(void)
{
    ACCEPTED("http://localhost:8080/a", NULL);
    ACCEPTED("http://127.9.9.9/", NULL);
    ACCEPTED("http://127.1/", NULL);
    ACCEPTED("http://0x7f000001/", NULL);
    ACCEPTED("http://[::1]:80/", NULL);
    ACCEPTED("http://collector.example/", "insecure_plain", "true");
    ACCEPTED(U, "health_url", "https://COLLECTOR.example:443/health");
    ACCEPTED(U, "proxy", "socks5h://127.0.0.1:1080");
    struct mh_instance *m = MH("http", "url", U, "ca_file", "/nowhere/ca.pem");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_STRING_EQUAL(m->error, "ca_file: cannot read /nowhere/ca.pem: No such file or directory");
    mh_destroy(m);
    m = MH("http", "url", "http://collector.example/?q=canary", "insecure_plain", "true");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "300 http://collector.example:80/: insecure_plain = true: anybody"));
    CU_ASSERT_FALSE(mh_logged(m, "canary"));
    mh_destroy(m);
    m = MH("http", "url", U, "insecure_tls", "true");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_TRUE(mh_logged(m, "300 https://collector.example:443/v1: insecure_tls = true: nobody"));
    mh_destroy(m);
    m = MH("http", "url", U);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_STRING_EQUAL(m->log, "");
    mh_destroy(m);
}

/* ---- receivers that misbehave ---- */

static void test_misbehaviour(void)
{
    static const struct {
        const char *path;
        int32_t code;
        const char *says;
    } all[] = {
        {"/reset/before", AW_E_RETRY, "reset"},
        {"/reset/within", AW_E_RETRY, ""},
        {"/partial", AW_E_RETRY, "bytes remaining"},
        {"/half-closed", AW_E_RETRY, "Empty reply"},
        {"/junk", AW_E_RETRY, "does url name an HTTP server"},
        {"/huge/json", AW_E_RETRY, "larger than max_reply"},
        {"/huge/text", AW_E_RETRY, "larger than max_reply"},
        {"/headers/many", AW_E_RETRY, "larger than 64 KiB"},
        {"/headers/long", AW_E_NOMEM, "headers is longer than 100 KiB"},
        {"/headers/interim", AW_E_RETRY, "larger than 64 KiB"},
        {"/packed/bad", AW_E_RETRY, ""},
        {"/packed/bomb", AW_E_RETRY, "larger than max_reply"},
        {"/packed/good", AW_OK, ""},
        {"/interim", AW_E_RETRY, "status 503"}, /* the Retry-After of 103 is not that of 503 */
        {"/close/said", AW_OK, ""},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct mh_instance *m = RIG_SINK(rig_url(peer, all[i].path), "max_reply", "64KiB", "timeout", "20s");
        uint8_t status[3];
        uint32_t after_ms = 1;
        uint64_t before = m->host.mono_ns();
        int32_t code = rig_write(m, 1, 3, 0, status, &after_ms);
        bool right = code == all[i].code && after_ms == 0 && strstr(m->error, all[i].says) != NULL &&
                     mh_all(status, 3, code == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_UNKNOWN) &&
                     m->host.mono_ns() - before < 15 * SECOND;
        if (!right)
            harness_note("%s: code %d, \"%s\"", all[i].path, code, m->error);
        CU_ASSERT_TRUE(right);
        /* The connection is not used again, the sink is. */
        CU_ASSERT_EQUAL(rig_write(m, 1, 3, 0, status, NULL), all[i].code);
        CU_ASSERT_TRUE(strncmp(all[i].path, "/interim", 8) == 0 || strncmp(all[i].path, "/packed/good", 12) == 0 ||
                       mh_metric(m, "http_connections_total") >= 2);
        mh_destroy(m);
    }
}

static void test_refused_before_it_is_sent(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/early"), NULL);
    struct aw_event *e = mh_event_sized(1, 4 << 20);
    uint8_t status;
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, &status), AW_E_REJECTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "status 413: too large"));
    CU_ASSERT_TRUE(m->host.mono_ns() - before < 15 * SECOND);
    mh_event_free(e);
    CU_ASSERT_FALSE(mh_logged(m, "is too large for the receiver")); /* one event cannot be made smaller */
    mh_destroy(m);
    m = RIG_SINK(rig_url(peer, "/status/413"), NULL);
    CU_ASSERT_EQUAL(mh_write(m, 1, 9, 0, NULL), AW_E_REJECTED);
    CU_ASSERT_EQUAL(mh_write(m, 1, 9, 0, NULL), AW_E_REJECTED);
    const char *first = strstr(m->log, "is too large for the receiver");
    CU_ASSERT_PTR_NOT_NULL(first);
    CU_ASSERT_TRUE(first == NULL || strstr(first + 1, "is too large for the receiver") == NULL); /* once in a while */
    mh_destroy(m);
}

/* ---- time ---- */

static void test_times(void)
{
    static const struct {
        const char *path, *option, *value;
        uint64_t deadline, least, most; /* ms */
    } all[] = {
        {"/stall", "timeout", "300ms", 0, 290, 25000},      {"/loris", "timeout", "500ms", 0, 490, 25000},
        {"/stall", "timeout", "30s", 200, 190, 25000},      {"/loris", "timeout", "30s", 300, 290, 25000},
        {"/stall", "idle_timeout", "300ms", 0, 290, 25000},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct mh_instance *m = RIG_SINK(rig_url(peer, all[i].path), all[i].option, all[i].value);
        uint8_t status[3];
        uint64_t before = m->host.mono_ns();
        int32_t code = rig_write(m, 1, 3, all[i].deadline ? before + all[i].deadline * 1000000 : 0, status, NULL);
        uint64_t took = (m->host.mono_ns() - before) / 1000000;
        if (code != AW_E_TIMEOUT || took < all[i].least || took > all[i].most)
            harness_note("%s, %s: code %d after %llu ms: %s", all[i].path, all[i].value, code, (unsigned long long)took,
                         m->error);
        CU_ASSERT_EQUAL(code, AW_E_TIMEOUT);
        CU_ASSERT_TRUE(took >= all[i].least && took <= all[i].most);
        CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_UNKNOWN));
        mh_destroy(m);
    }
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), NULL);
    uint8_t status[3];
    CU_ASSERT_EQUAL(rig_write(m, 1, 3, 1, status, NULL), AW_E_TIMEOUT); /* it was over before */
    CU_ASSERT_EQUAL(rig_write(m, 1, 3, 0, status, NULL), AW_OK);
    mh_destroy(m);
}

/* ---- redirects ---- */

static void test_redirects(void)
{
    static const struct {
        const char *path;
        int32_t code;
        const char *says;
    } all[] = {
        {"/redirect/307/%2Fok%3Fsecret%3Dcanary", AW_OK, ""},
        {"/redirect/301/%2Fok%3Fsecret%3Dcanary", AW_E_CONFIG, "GET; the place it names: http://127.0.0.1"},
        {"/redirect/302/%2Fok", AW_E_UNAVAILABLE, "GET; the place it names: http://127.0.0.1"},
        {"/redirect/303/%2Fok", AW_E_UNAVAILABLE, "GET; the place it names"},
        {"/redirect/307/http%3A%2F%2Flocalhost%3A1%2Fok", AW_E_UNAVAILABLE,
         "another scheme, host or port: http://localhost:1/ok"},
        {"/redirect/308/http%3A%2F%2F127.0.0.1%3A1%2Fok", AW_E_CONFIG, "another scheme, host or port"},
        {"/redirect/307/https%3A%2F%2F127.0.0.1%2Fok", AW_E_UNAVAILABLE, "another scheme, host or port"},
        {"/redirect/307/file%3A%2F%2F%2Fetc%2Fpasswd", AW_E_UNAVAILABLE, "another scheme, host or port"},
        {"/redirect/307/%2Fredirect%2F307%2F%252Fok", AW_OK, ""},
        {"/status/307", AW_E_UNAVAILABLE, "it names no place"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint8_t status[3];
        size_t before = rig_requests(peer);
        int32_t code = rig_once(peer, all[i].path, 3, status, NULL);
        CU_ASSERT_EQUAL(code, all[i].code);
        CU_ASSERT_TRUE(mh_all(status, 3, code == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_UNKNOWN));
        CU_ASSERT_TRUE(code == AW_OK || rig_error_has(all[i].says));
        const char *to = strstr(rig_error, "not followed");
        CU_ASSERT_TRUE(to == NULL || strstr(to, "canary") == NULL);
        if (code == AW_OK) { /* the same method, body and headers */
            char *line = rig_last(peer);
            CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"method\":\"POST\""));
            CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"path\":\"/ok"));
            CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"keyFits\":true"));
            free(line);
        } else {
            CU_ASSERT_EQUAL(rig_requests(peer), before + 1); /* nothing went elsewhere */
        }
    }
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/again"), "max_redirects", "5");
    size_t before = rig_requests(peer);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "too many redirects"));
    CU_ASSERT_EQUAL(rig_requests(peer), before + 6);
    CU_ASSERT_EQUAL(mh_metric(m, "http_redirects_total"), 5);
    mh_destroy(m);
    m = RIG_SINK(rig_url(peer, "/redirect/307/%2Fok"), "max_redirects", "0");
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_E_UNAVAILABLE);
    mh_destroy(m);
}

/* ---- connections ---- */

static void test_keep_alive(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), NULL);
    struct aw_health h = {.struct_size = sizeof h};
    for (uint64_t i = 1; i <= 50; i++)
        CU_ASSERT_EQUAL(mh_write(m, i, i, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 1);
    CU_ASSERT_EQUAL(mh_metric(m, "http_requests_total"), 50);
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 51, 51, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 2);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 52, 52, 0, NULL), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_write(m, 52, 52, 0, NULL), AW_OK);
    mh_destroy(m);
    /* A receiver that closes without a word after each answer: no batch fails for it. */
    m = RIG_SINK(rig_url(peer, "/close/silently"), NULL);
    for (uint64_t i = 1; i <= 20; i++)
        CU_ASSERT_EQUAL(mh_write(m, i, i, 0, NULL), AW_OK);
    mh_destroy(m);
    m = RIG_SINK(rig_url(peer, "/once"), NULL);
    struct aw_event *large = mh_event_sized(1, 1000000);
    for (uint64_t i = 1; i <= 20; i++) {
        uint8_t status;
        CU_ASSERT_EQUAL(mh_write_events(m, &large, 1, 0, 0, &status), AW_OK);
        CU_ASSERT_EQUAL(status, AW_EVENT_DURABLE);
    }
    mh_event_free(large);
    CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 20);
    mh_destroy(m);
    m = MH("http", "url", rig_url(peer, "/ok")); /* never started */
    mh_destroy(m);
}

static void test_reconfigure(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/status/401"), "bearer_token", "old-token");
    char url[200];
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_E_CONFIG);
    snprintf(url, sizeof url, "%s", rig_url(peer, "/ok"));
    const char *good[] = {"url", url, "bearer_token", "new-token", NULL}, *bad[] = {"url", "gopher://x/", NULL};
    CU_ASSERT_EQUAL(mh_reconfigure(m, good), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    char *line = rig_last(peer);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "Bearer new-token"));
    free(line);
    CU_ASSERT_EQUAL(mh_reconfigure(m, bad), AW_E_CONFIG);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK); /* as before */
    mh_destroy(m);
}

static void test_down_and_up(void)
{
    struct rig *own = RIG_PEER(NULL);
    char dir[600], port[32];
    struct mh_instance *m = RIG_SINK(rig_url(own, "/store/trail.jsonl"), "format", "ndjson");
    uint8_t status[10];
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(rig_write(m, 1, 10, 0, status, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_DURABLE));
    snprintf(dir, sizeof dir, "dir=%s", own->dir);
    snprintf(port, sizeof port, "port=%d", own->port);
    rig_kill(own);
    int32_t code = rig_write(m, 11, 20, 0, status, NULL); /* the connection broke, and there is no other */
    CU_ASSERT_TRUE(code == AW_E_UNAVAILABLE || code == AW_E_RETRY);
    CU_ASSERT_EQUAL(rig_write(m, 11, 20, 0, status, NULL), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_DOWN);
    CU_ASSERT_EQUAL(h.last_error, AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(h.detail, "connect"));
    own = RIG_PEER(dir, port);
    CU_ASSERT_EQUAL(rig_write(m, 6, 15, 0, status, NULL), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 5, AW_EVENT_DUPLICATE) && mh_all(status + 5, 5, AW_EVENT_DURABLE));
    snprintf(dir, sizeof dir, "%s/trail.jsonl", own->dir);
    CU_ASSERT_TRUE(mh_file_is(dir, 1, 15));
    mh_destroy(m);
    rig_stop(own);
}

/* ---- proxies ---- */

static void test_proxy(void)
{
    struct rig *proxy = RIG_PEER(NULL);
    char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", proxy->port);
    /* Plain: the proxy reads all, so that it must be wanted in so many words. */
    struct mh_instance *m = RIG_SINK("http://collector.example/ok", "insecure_plain", "true", "proxy", url,
                                     "proxy_username", "pat", "proxy_password", "proxy-canary");
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    char *line = rig_last(proxy);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"x-by-proxy\":\"yes\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"host\":\"collector.example\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"proxy-authorization\":\"Basic cGF0OnByb3h5LWNhbmFyeQ==\""));
    free(line);
    mh_destroy(m);
    m = MH("http", "url", "http://127.0.0.1:1/ok", "insecure_plain", "true", "proxy", "http://127.0.0.1:1",
           "proxy_username", "pat", "proxy_password", "proxy-canary");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NULL(strstr(m->error, "canary"));
    mh_destroy(m);
    rig_stop(proxy);
}

/* ---- the probe ---- */

static int32_t probe(struct mh_instance *m)
{
    const struct aw_sink_probe *p = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_TRUE(p->struct_size >= sizeof *p);
    mh_clear(m);
    return p->probe(m->sink, m->host.mono_ns() + 10 * SECOND);
}

static void test_probe(void)
{
    static const struct {
        const char *health;
        int32_t code;
        const char *says;
    } all[] = {{"/ok", AW_OK, ""},
               {"/status/401", AW_E_CONFIG, "status 401: so it is here: the credentials"},
               {"/status/404", AW_E_CONFIG, "the path"},
               {"/status/422", AW_E_CONFIG, ""},
               {"/status/503/5", AW_E_UNAVAILABLE, "status 503"},
               {"/redirect/302/%2Fok", AW_E_CONFIG, "health_url: status 302, a redirect"},
               {"/page/200", AW_E_UNAVAILABLE, "web page"}};
    size_t before = rig_requests(peer);
    struct mh_instance *m = MH("http", "url", rig_url(peer, "/status/500"));
    CU_ASSERT_EQUAL(probe(m), AW_OK);
    CU_ASSERT_EQUAL(probe(m), AW_OK);
    CU_ASSERT_EQUAL(rig_requests(peer), before); /* a connection alone */
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_E_RETRY); /* and posting works after it */
    mh_destroy(m);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char url[1024];
        snprintf(url, sizeof url, "%s", rig_url(peer, "/ok"));
        m = MH("http", "url", url, "health_url", rig_url(peer, all[i].health), "bearer_token", "t0ken");
        int32_t code = probe(m);
        if (code != all[i].code || strstr(m->error, all[i].says) == NULL)
            harness_note("%s: code %d, %s", all[i].health, code, m->error);
        CU_ASSERT_EQUAL(code, all[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, all[i].says));
        char *line = rig_last(peer);
        CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"method\":\"GET\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(line, "Bearer t0ken"));
        free(line);
        mh_destroy(m);
    }
    m = MH("http", "url", "http://127.0.0.1:1/");
    CU_ASSERT_EQUAL(probe(m), AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "http://127.0.0.1:1/: Failed to connect"));
    mh_destroy(m);
    m = MH("http", "url", "https://no-such-host.invalid/");
    CU_ASSERT_EQUAL(probe(m), AW_E_UNAVAILABLE);
    mh_destroy(m);
    char path[300];
    snprintf(path, sizeof path, "%s", rig_url(peer, "/stall"));
    m = MH("http", "url", rig_url(peer, "/ok"), "health_url", path, "timeout", "300ms");
    CU_ASSERT_EQUAL(probe(m), AW_E_TIMEOUT);
    mh_destroy(m);
}

/* ---- fork ---- */

/* Open TCP sockets. libcurl's own, which it wakes itself with, lead nowhere. */
static int open_sockets(void)
{
    int n = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_storage a;
        socklen_t size = sizeof a;
        if (getsockname(fd, (struct sockaddr *)&a, &size) < 0 || a.ss_family != AF_INET)
            continue;
        n += (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 ? 1 : 100; /* it would go to a program that is started */
    }
    return n;
}

static void test_fork(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), NULL);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    int before = open_sockets();
    CU_ASSERT_EQUAL(before, 1);
    pid_t pid = fork();
    if (pid == 0) {
        int fewer = m->class->after_fork(m->sink) == AW_OK ? open_sockets() : before;
        bool ok = fewer == 0; /* the parent's connection is closed here */
        ok = ok && mh_start(m) == AW_OK && mh_write(m, 2, 2, 0, NULL) == AW_OK; /* and the child has its own */
        harness_end_child(ok ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_EQUAL(mh_write(m, 3, 3, 0, NULL), AW_OK);
    CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 1); /* the parent's is what it was */
    mh_destroy(m);
}

HARNESS_MAIN("sink_http_net", {"set up", test_setup}, {"options that are refused", test_options},
             {"options that are taken", test_good_options}, {"receivers that misbehave", test_misbehaviour},
             {"refused before it is sent", test_refused_before_it_is_sent}, {"time-outs", test_times},
             {"redirects", test_redirects}, {"connections are kept", test_keep_alive},
             {"reconfigured", test_reconfigure}, {"a receiver that is killed and comes back", test_down_and_up},
             {"proxies", test_proxy}, {"probe", test_probe}, {"fork", test_fork})
