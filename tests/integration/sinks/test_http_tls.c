/* test_http_tls.c - the http sink over TLS: certificates, mutual TLS, HTTP/2 through nginx, and the signature that the
 * manual describes. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "http_rig.h"

static struct rig *plain, *front;
static char ca[512];

static void test_setup(void)
{
    snprintf(ca, sizeof ca, "%s", rig_cert("ca.pem"));
    plain = RIG_PEER(NULL);
    front = rig_nginx(plain);
    CU_ASSERT_TRUE(front->port > 0);
}

/* A peer with that certificate. */
static struct rig *tls_peer(const char *name, const char *more)
{
    char tls[1200], cert[80], key[80], first[600];
    snprintf(cert, sizeof cert, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    snprintf(first, sizeof first, "%s", rig_cert(cert));
    snprintf(tls, sizeof tls, "tls=%s,%s", first, rig_cert(key));
    return more != NULL ? RIG_PEER(tls, more) : RIG_PEER(tls);
}

/* One batch to that host and port. The code; the text is in rig_error. */
static int32_t once(const char *host, int port, const char *const *pairs, bool *ret_all)
{
    struct mh_instance *m = rig_sink(rig_https(host, port, "/ok"), pairs);
    uint8_t status[3];
    int32_t code = rig_write(m, 1, 3, 0, status, NULL);
    snprintf(rig_error, sizeof rig_error, "%s", m->error);
    *ret_all = mh_all(status, 3, code == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_UNKNOWN);
    const struct aw_sink_probe *p = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    mh_stop(m);
    /* The probe sees the same, but for a certificate of ours, which TLS 1.3 looks at later. */
    int32_t probed = p->probe(m->sink, 0);
    bool late = code == AW_E_CONFIG && (strstr(rig_error, "our side") != NULL || strstr(rig_error, "in front") != NULL);
    if (probed != code && !late)
        harness_note("the probe says %d, %s", probed, m->error);
    *ret_all = *ret_all && (probed == code || late);
    mh_destroy(m);
    return code;
}
#define ONCE(host, port, all, ...) once(host, port, (const char *const[]){__VA_ARGS__, NULL}, all)

/* ---- who the receiver is ---- */

static void test_certificates(void)
{
    struct rig *good = tls_peer("good", NULL), *wrong = tls_peer("wrong", NULL), *expired = tls_peer("expired", NULL),
               *stranger = tls_peer("stranger", NULL);
    bool all;
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", good->port, &all, "ca_file", ca), AW_OK);
    CU_ASSERT_TRUE(all);
    CU_ASSERT_EQUAL(ONCE("localhost", good->port, &all, "ca_file", ca, "tls_min", "1.3"), AW_OK);
    CU_ASSERT_TRUE(all);
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", good->port, &all, NULL), AW_E_CONFIG); /* not of the system's authorities */
    CU_ASSERT_TRUE(all && rig_error_has("ca_file must name the authority"));
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", stranger->port, &all, "ca_file", ca), AW_E_CONFIG);
    CU_ASSERT_TRUE(all && rig_error_has("ca_file must name the authority"));
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", wrong->port, &all, "ca_file", ca), AW_E_CONFIG);
    CU_ASSERT_TRUE(all && rig_error_has("another name"));
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", expired->port, &all, "ca_file", ca), AW_E_CONFIG);
    CU_ASSERT_TRUE(all && rig_error_has("needs a new certificate, or this host's clock is wrong"));
    CU_ASSERT_EQUAL(rig_requests(wrong) + rig_requests(expired) + rig_requests(stranger), 0); /* nothing was sent */
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", stranger->port, &all, "insecure_tls", "true"), AW_OK);
    CU_ASSERT_TRUE(all);
    /* A file that holds no certificates, and a port without TLS. */
    char junk[600];
    snprintf(junk, sizeof junk, "%s", rig_cert("ca.key"));
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", good->port, &all, "ca_file", junk), AW_E_CONFIG);
    CU_ASSERT_TRUE(all && rig_error_has("ca_file must hold certificates in PEM form"));
    CU_ASSERT_EQUAL(ONCE("127.0.0.1", front->port_plain, &all, "ca_file", ca), AW_E_UNAVAILABLE);
    CU_ASSERT_TRUE(all && rig_error_has("is that port one for TLS?"));
    rig_stop(good);
    rig_stop(wrong);
    rig_stop(expired);
    rig_stop(stranger);
}

/* ---- who we are ---- */

static void test_mutual(void)
{
    char client_ca[600], cert[600], key[600], locked[600], foreign[600], foreign_key[600];
    snprintf(client_ca, sizeof client_ca, "client_ca=%s", ca);
    snprintf(cert, sizeof cert, "%s", rig_cert("client.pem"));
    snprintf(key, sizeof key, "%s", rig_cert("client.key"));
    snprintf(locked, sizeof locked, "%s", rig_cert("client.enc.key"));
    snprintf(foreign, sizeof foreign, "%s", rig_cert("foreign.pem"));
    snprintf(foreign_key, sizeof foreign_key, "%s", rig_cert("foreign.key"));
    struct rig *strict = tls_peer("good", client_ca);
    int ports[] = {strict->port, front->port_mutual};
    bool all;
    for (size_t i = 0; i < 2; i++) {
        int port = ports[i];
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca, "client_cert", cert, "client_key", key), AW_OK);
        CU_ASSERT_TRUE(all);
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca, "client_cert", cert, "client_key", locked,
                             "key_password", "key-canary"),
                        AW_OK);
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca, "client_cert", cert, "client_key", locked,
                             "key_password", "wrong-canary"),
                        AW_E_CONFIG);
        CU_ASSERT_TRUE(rig_error_has("key_password must fit"));
        CU_ASSERT_PTR_NULL(strstr(rig_error, "canary"));
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca, "client_cert", cert, "client_key", locked),
                        AW_E_CONFIG); /* and nobody is asked on the terminal */
        CU_ASSERT_TRUE(rig_error_has("key_password must fit"));
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca, "client_cert", cert, "client_key", foreign_key),
                        AW_E_CONFIG);
        CU_ASSERT_TRUE(rig_error_has("must belong together"));
        /* None, or one of another authority: no event is to blame, whatever the server answers. */
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca), AW_E_CONFIG);
        CU_ASSERT_TRUE(rig_error_has("client_cert"));
        CU_ASSERT_EQUAL(ONCE("127.0.0.1", port, &all, "ca_file", ca, "client_cert", foreign, "client_key", foreign_key),
                        AW_E_CONFIG);
        CU_ASSERT_TRUE(rig_error_has("client_cert"));
    }
    char *line = rig_last(plain);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "CN=client\"")); /* nginx saw who we are */
    free(line);
    rig_stop(strict);
}

/* ---- HTTP/2 ---- */

static char *front_of_last(void)
{
    char *line = rig_last(plain), *at = strstr(line, "\"x-front\":\"");
    char *front_text = at != NULL ? strndup(at + 11, strcspn(at + 11, "\"")) : strdup("");
    free(line);
    return front_text;
}

static void test_http2(void)
{
    static const struct {
        const char *version, *want;
    } all[] = {{"auto", "HTTP/2.0 "}, {"2", "HTTP/2.0 "}, {"1.1", "HTTP/1.1 "}};
    for (size_t i = 0; i < 3; i++) {
        struct mh_instance *m = RIG_SINK(rig_https("localhost", front->port, "/results"), "ca_file", ca, "http_version",
                                         all[i].version, "compression", "gzip");
        uint8_t status[50];
        char *first = NULL;
        for (int k = 0; k < 20; k++) {
            CU_ASSERT_EQUAL(rig_write(m, 1, 50, 0, status, NULL), AW_OK);
            CU_ASSERT_EQUAL(status[2], AW_EVENT_REJECTED);
            char *now = front_of_last();
            CU_ASSERT_EQUAL(strncmp(now, all[i].want, 9), 0);
            if (first == NULL)
                first = strdup(now);
            CU_ASSERT_STRING_EQUAL(first, now); /* the same connection of nginx */
            free(now);
        }
        free(first);
        CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 1);
        mh_destroy(m);
    }
    struct mh_instance *m = RIG_SINK(rig_https("localhost", front->port, "/ok"), "ca_file", ca, "http_version", "2");
    struct aw_event *e = mh_event_sized(1, 60000);
    uint8_t status;
    for (int i = 0; i < 10; i++) /* more than a window */
        CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, &status), AW_OK);
    mh_event_free(e);
    e = mh_event_sized(1, 300000); /* more than nginx takes: client_max_body_size */
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, &status), AW_E_REJECTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "status 413"));
    mh_event_free(e);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    mh_destroy(m);
    char h2c[100];
    snprintf(h2c, sizeof h2c, "http://127.0.0.1:%d/ok", front->port_h2c);
    m = RIG_SINK(h2c, "http_version", "2");
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    mh_destroy(m);
    bool whole;
    struct rig *old = tls_peer("good", NULL); /* knows HTTP/1.1 alone */
    CU_ASSERT_EQUAL(ONCE("localhost", old->port, &whole, "ca_file", ca), AW_OK);
    m = RIG_SINK(rig_https("localhost", old->port, "/ok"), "ca_file", ca, "http_version", "2");
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "does not speak HTTP/2"));
    mh_destroy(m);
    rig_stop(old);
}

static void test_http2_trouble(void)
{
    static const struct {
        const char *path;
        int32_t code;
    } all[] = {{"/status/503/4", AW_E_THROTTLED}, {"/status/401", AW_E_CONFIG},
               {"/huge/json", AW_E_RETRY},        {"/reset/before", AW_E_RETRY},
               {"/stall", AW_E_TIMEOUT},          {"/loris", AW_E_TIMEOUT},
               {"/redirect/307/%2Fok", AW_OK},    {"/ok", AW_OK}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct mh_instance *m =
            RIG_SINK(rig_https("localhost", front->port, all[i].path), "ca_file", ca, "http_version", "2", "timeout",
                     all[i].code == AW_E_TIMEOUT ? "500ms" : "20s", "max_reply", "64KiB");
        uint8_t status[3];
        int32_t code = rig_write(m, 1, 3, 0, status, NULL);
        if (code != all[i].code)
            harness_note("%s: code %d, %s", all[i].path, code, m->error);
        CU_ASSERT_EQUAL(code, all[i].code);
        CU_ASSERT_TRUE(mh_all(status, 3, code == AW_OK ? AW_EVENT_DURABLE : AW_EVENT_UNKNOWN));
        mh_destroy(m);
    }
    struct mh_instance *m = RIG_SINK(rig_https("localhost", front->port, "/ok"), "ca_file", ca);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_OK);
    rig_kill(front);
    int32_t code = mh_write(m, 1, 3, 0, NULL);
    CU_ASSERT_TRUE(code == AW_E_RETRY || code == AW_E_UNAVAILABLE);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, NULL), AW_E_UNAVAILABLE);
    mh_destroy(m);
}

/* ---- a proxy, a fork, and one who never answers ---- */

static void test_tunnel(void)
{
    char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", plain->port);
    struct rig *secure = tls_peer("good", NULL);
    struct mh_instance *m =
        RIG_SINK(rig_https("localhost", secure->port, "/status/503"), "ca_file", ca, "proxy", url, "proxy_username",
                 "pat", "proxy_password", "proxy-canary", "bearer_token", "bearer-canary", "headers", "X-Mine: 1");
    uint8_t status[3];
    uint32_t after_ms = 1;
    CU_ASSERT_EQUAL(rig_write(m, 1, 3, 0, status, &after_ms), AW_E_RETRY);
    CU_ASSERT_EQUAL(after_ms, 0); /* what the proxy said before is not the receiver's word */
    char *line = rig_last(plain);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"method\":\"CONNECT\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"proxy-authorization\":\"Basic "));
    CU_ASSERT_PTR_NULL(strstr(line, "bearer-canary")); /* only what is for the proxy */
    CU_ASSERT_PTR_NULL(strstr(line, "x-mine"));
    free(line);
    line = rig_last(secure);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "Bearer bearer-canary"));
    CU_ASSERT_PTR_NULL(strstr(line, "proxy-authorization"));
    free(line);
    mh_destroy(m);
    rig_stop(secure);
}

static void test_fork(void)
{
    struct rig *secure = tls_peer("good", NULL);
    struct mh_instance *m = RIG_SINK(rig_https("localhost", secure->port, "/ok"), "ca_file", ca);
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_OK);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) { /* gives its part up, in every way there is */
            bool ok = m->class->after_fork(m->sink) == AW_OK;
            ok = ok && (i != 1 || (mh_start(m) == AW_OK && mh_write(m, 2, 2, 0, NULL) == AW_OK && mh_stop(m) == AW_OK));
            if (i != 0)
                m->class->destroy(m->sink);
            harness_end_child(ok ? 0 : 1);
        }
        int status = -1;
        waitpid(pid, &status, 0);
        CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CU_ASSERT_EQUAL(mh_write(m, 3, 3, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), 1); /* nobody said goodbye in our session */
    }
    mh_destroy(m);
    rig_stop(secure);
}

static void test_no_handshake(void)
{
    struct mh_instance *m =
        RIG_SINK(rig_https("127.0.0.1", plain->port, "/ok"), "ca_file", ca, "connect_timeout", "300ms");
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, NULL), AW_E_TIMEOUT); /* it waits for the end of a line of HTTP */
    CU_ASSERT_TRUE(m->host.mono_ns() - before < UINT64_C(25000000000));
    mh_destroy(m);
}

/* ---- the signature ---- */

/* The receiver's part as the manual has it. */
static char *verifier(void)
{
    char page[1024];
    const char *top = getenv("top_srcdir");
    snprintf(page, sizeof page, "%s/plugins/sinks/http/auditwell-sink-http.7.scd", top != NULL ? top : ".");
    char *text = mh_slurp(page, NULL), *begin = text != NULL ? strstr(text, "import hashlib") : NULL;
    char *end = begin != NULL ? strstr(begin, "```") : NULL, *path = mh_path("verify.py"), *option = malloc(1100);
    CU_ASSERT_PTR_NOT_NULL(end);
    if (end != NULL)
        mh_spew(path, begin, (size_t)(end - begin));
    snprintf(option, 1100, "verifier=%s", path);
    free(text);
    free(path);
    return option;
}

static void test_signature(void)
{
    static const struct {
        const char *compression, *key, *id;
        bool good;
    } all[] = {{"none", "the key of the test", NULL, true},      {"gzip", "the key of the test", NULL, true},
               {"zstd", "the key of the test", NULL, true},      {"none", "key number two, as long", "k2", true},
               {"none", "key number two, as long", NULL, false}, {"none", "the key of the test", "k3", false}};
    char *option = verifier();
    struct rig *peer = RIG_PEER(option, "key=the key of the test");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), "compression", all[i].compression, "signature_key",
                                         all[i].key, all[i].id != NULL ? "signature_key_id" : NULL, all[i].id);
        CU_ASSERT_EQUAL(mh_write(m, 1, 30, 0, NULL), AW_OK);
        char *line = rig_last(peer);
        CU_ASSERT_PTR_NOT_NULL(strstr(line, all[i].good ? "\"signed\":true" : "\"signed\":false"));
        CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"forged\":false"));
        CU_ASSERT_PTR_NULL(strstr(line, all[i].key));
        free(line);
        if (all[i].good) { /* a clock that is five minutes off */
            mh_clock_ns = -INT64_C(310000000000);
            CU_ASSERT_EQUAL(mh_write(m, 1, 30, 0, NULL), AW_OK);
            mh_clock_ns = 0;
            line = rig_last(peer);
            CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"signed\":false"));
            free(line);
        }
        mh_destroy(m);
    }
    rig_stop(peer);
    free(option);
}

HARNESS_MAIN("sink_http_tls", {"set up", test_setup}, {"certificates of receivers", test_certificates},
             {"mutual TLS", test_mutual}, {"HTTP/2", test_http2}, {"by a proxy", test_tunnel}, {"fork", test_fork},
             {"no handshake", test_no_handshake}, {"trouble over HTTP/2", test_http2_trouble},
             {"signatures, checked as the manual says", test_signature})
