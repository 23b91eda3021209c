/* test_nats.c - the nats sink with one real server. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"
#include "nats_support.h"

#define ALL(array) (sizeof(array) / sizeof((array)[0]))

/* Asked by ThreadSanitizer: what the threads of libnats hand to each other within a TLS connection, which it sees in
 * OpenSSL and not in libnats. For this program only, which itself does not use OpenSSL. */
extern const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:libssl.so.3\nrace:libcrypto.so.3\n";
}

static void replica_one(jsStreamConfig *c)
{
    c->Replicas = 1;
}

/* A server, a client of ours, and a stream AUDIT. */
struct place {
    struct nats_node node;
    struct nats_admin admin;
};

static bool place_open(struct place *p, const char *config, void (*change)(jsStreamConfig *c))
{
    *p = (struct place){.node = {.pid = 0}};
    bool ok = nats_node_start(&p->node, config) && nats_admin_open(&p->admin, p->node.url) &&
              nats_make_stream(&p->admin, "AUDIT", change);
    CU_ASSERT_TRUE(ok);
    return ok;
}

static void place_close(struct place *p)
{
    nats_admin_close(&p->admin);
    nats_node_forget(&p->node);
}

static bool holds(struct place *p, size_t count)
{
    bool *all = malloc(count * sizeof *all);
    size_t extra = 0;
    memset(all, 1, count * sizeof *all);
    size_t found = nats_find(&p->admin, "AUDIT", all, count, &extra);
    free(all);
    if (found != count || extra != 0)
        harness_note("%zu of %zu events, %zu messages more", found, count, extra);
    return found == count && extra == 0;
}

/* First, so that the library is opened by the sink. */
static void test_process(void)
{
    struct sigaction a;
    struct nats_node node = {.pid = 0};
    CU_ASSERT_TRUE(nats_node_start(&node, NULL));
    struct mh_instance *m = MH("nats", "servers", node.url, "stream", "AUDIT");
    CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "there is no stream AUDIT"));
    CU_ASSERT_EQUAL(sigaction(SIGPIPE, NULL, &a), 0);
    CU_ASSERT_TRUE(a.sa_handler == SIG_DFL); /* the library ignores SIGPIPE for all of the process; the sink does not */
    mh_destroy(m);
    nats_node_forget(&node);
}

static void test_events(void)
{
    struct place p;
    uint8_t status[3000];
    struct aw_health h = {.struct_size = sizeof h};
    natsMsg *msg = NULL;
    const char *id = "";
    if (!place_open(&p, NULL, NULL))
        return;
    struct mh_instance *m = MH("nats", "servers", p.node.url, "stream", "AUDIT", "subject", "audit.{tenant}.{action}");
    CU_ASSERT_EQUAL(mh_write(m, 1, 1, 0, status), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_INTERNAL);
    CU_ASSERT_TRUE(mh_logged(m, "one replica"));
    CU_ASSERT_EQUAL(mh_write(m, 1, 3000, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 3000, AW_EVENT_DURABLE));
    CU_ASSERT_TRUE(holds(&p, 3000));
    CU_ASSERT_EQUAL(mh_write(m, 2901, 3100, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 100, AW_EVENT_DUPLICATE));
    CU_ASSERT_TRUE(mh_all(status + 100, 100, AW_EVENT_DURABLE));
    CU_ASSERT_EQUAL(nats_count(&p.admin, "AUDIT"), 3100);
    CU_ASSERT_EQUAL(mh_metric(m, "nats_duplicates_total"), 100);
    CU_ASSERT_EQUAL(mh_metric(m, "nats_connects_total"), 1);
    CU_ASSERT_EQUAL_FATAL(js_GetMsg(&msg, p.admin.js, "AUDIT", 7, NULL, NULL), NATS_OK);
    CU_ASSERT_STRING_EQUAL(natsMsg_GetSubject(msg), "audit.tnt_3.document.read"); /* the seventh, as it was given */
    CU_ASSERT_EQUAL(natsMsgHeader_Get(msg, "Nats-Msg-Id", &id), NATS_OK);
    CU_ASSERT_STRING_EQUAL(id, "01890a5d-ac96-774b-bcce-000000000007");
    natsMsg_Destroy(msg);
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_EQUAL(h.state, AW_HEALTH_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 3101, 3101, AW_BATCH_MUST_BE_DURABLE, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    struct aw_event *e = mh_event(1);
    e->encode_code = AW_E_NOMEM;
    CU_ASSERT_EQUAL(mh_write_events(m, &e, 1, 0, 0, status), AW_E_NOMEM);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_UNKNOWN);
    mh_event_free(e);
    mh_destroy(m);
    place_close(&p);
}

/* ---- streams that do not fit ---- */

static void in_memory(jsStreamConfig *c)
{
    c->Storage = js_MemoryStorage;
}
static void other_subject(jsStreamConfig *c)
{
    c->Subjects[0] = "events.>";
}
static void no_ack(jsStreamConfig *c)
{
    c->NoAck = true;
}
static void interest(jsStreamConfig *c)
{
    c->Retention = js_InterestPolicy;
}
static void warned(jsStreamConfig *c)
{
    c->Duplicates = INT64_C(1000000000);
    c->MaxMsgs = 100;
    c->Discard = js_DiscardOld;
    c->Subjects[0] = "audit.tnt_1";
    c->Retention = js_WorkQueuePolicy;
}

static void test_streams(void)
{
    static const struct {
        void (*change)(jsStreamConfig *c);
        const char *key, *value, *why;
    } all[] = {{in_memory, "domain", NULL, "kept in memory"},
               {other_subject, "domain", NULL, "takes events.>, none of which is a subject like audit.{tenant}"},
               {no_ack, "domain", NULL, "confirms nothing"},
               {interest, "domain", NULL, "drops what no consumer waits for"},
               {replica_one, "replicas", "3", "has 1 replicas, the settings ask for 3"},
               {replica_one, "domain", "nowhere", "there is no such domain"}};
    struct place p;
    if (!place_open(&p, NULL, NULL))
        return;
    for (size_t i = 0; i < ALL(all); i++) {
        (void)js_DeleteStream(p.admin.js, "AUDIT", NULL, NULL);
        CU_ASSERT_TRUE(nats_make_stream(&p.admin, "AUDIT", all[i].change));
        struct mh_instance *m = all[i].value != NULL
                                    ? MH("nats", "servers", p.node.url, "stream", "AUDIT", all[i].key, all[i].value)
                                    : MH("nats", "servers", p.node.url, "stream", "AUDIT");
        const struct aw_sink_probe *probe = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
        CU_ASSERT_EQUAL(probe->probe(m->sink, 0), AW_E_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->error, all[i].why));
        mh_clear(m);
        CU_ASSERT_EQUAL(mh_start(m), AW_E_CONFIG);
        bool ok = strstr(m->error, all[i].why) != NULL;
        CU_ASSERT_TRUE(ok);
        if (!ok)
            harness_note("expected \"%s\", found \"%s\"", all[i].why, m->error);
        mh_destroy(m);
    }
    (void)js_DeleteStream(p.admin.js, "AUDIT", NULL, NULL);
    CU_ASSERT_TRUE(nats_make_stream(&p.admin, "AUDIT", warned));
    struct mh_instance *m = MH("nats", "servers", p.node.url, "stream", "AUDIT");
    const struct aw_sink_probe *probe = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_EQUAL(probe->probe(m->sink, 0), AW_OK);
    static const char *const warnings[] = {"duplicate_window is 1 s, less than 120 s", "set discard = new",
                                           "retention = workqueue", "may not take every subject"};
    for (size_t i = 0; i < ALL(warnings); i++)
        CU_ASSERT_TRUE(mh_logged(m, warnings[i]));
    CU_ASSERT_EQUAL(nats_count(&p.admin, "AUDIT"), 0); /* the probe stores nothing */
    mh_destroy(m);
    /* Memory, if it is wanted: then nothing is said to be durable. */
    (void)js_DeleteStream(p.admin.js, "AUDIT", NULL, NULL);
    CU_ASSERT_TRUE(nats_make_stream(&p.admin, "AUDIT", in_memory));
    uint8_t status[10];
    m = MH("nats", "servers", p.node.url, "stream", "AUDIT", "file_storage", "false");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_OK);
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_ACCEPTED));
    /* The stream goes while we run. */
    (void)js_DeleteStream(p.admin.js, "AUDIT", NULL, NULL);
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, status), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "there is no stream AUDIT"));
    CU_ASSERT_TRUE(mh_all(status, 10, AW_EVENT_UNKNOWN));
    mh_destroy(m);
    place_close(&p);
}

/* Another stream takes the subject: nothing may get there instead. */
static void test_other_stream(void)
{
    struct place p;
    uint8_t status[10];
    if (!place_open(&p, NULL, NULL))
        return;
    struct mh_instance *m = MH("nats", "servers", p.node.url, "stream", "AUDIT");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    (void)js_DeleteStream(p.admin.js, "AUDIT", NULL, NULL);
    CU_ASSERT_TRUE(nats_make_stream(&p.admin, "OTHER", NULL));
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, status), AW_E_CONFIG);
    CU_ASSERT_FALSE(mh_all(status, 1, AW_EVENT_DURABLE));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "10060"));
    CU_ASSERT_EQUAL(nats_count(&p.admin, "OTHER"), 0);
    mh_destroy(m);
    place_close(&p);
}

static void full(jsStreamConfig *c)
{
    c->MaxBytes = 100000;
    c->Discard = js_DiscardNew;
}

static void test_full(void)
{
    struct place p;
    bool acked[400] = {false};
    uint8_t status[400];
    size_t stored = 0, extra = 0;
    if (!place_open(&p, NULL, full))
        return;
    struct mh_instance *m = MH("nats", "servers", p.node.url, "stream", "AUDIT", "max_in_flight", "16");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 400, 0, status), AW_E_RETRY); /* some got in */
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "maximum bytes exceeded"));
    for (size_t i = 0; i < 400; i++) {
        CU_ASSERT_NOT_EQUAL(status[i], AW_EVENT_REJECTED);
        acked[i] = status[i] == AW_EVENT_DURABLE;
        stored += acked[i];
    }
    CU_ASSERT_TRUE(stored > 50 && stored < 200);
    CU_ASSERT_EQUAL(nats_find(&p.admin, "AUDIT", acked, 400, &extra), stored);
    CU_ASSERT_EQUAL(mh_write(m, 400, 400, 0, status), AW_E_UNAVAILABLE);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_RETRY);
    CU_ASSERT_EQUAL(js_PurgeStream(p.admin.js, "AUDIT", NULL, NULL), NATS_OK);
    CU_ASSERT_EQUAL(mh_write(m, 400, 400, 0, status), AW_OK);
    CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
    mh_destroy(m);
    place_close(&p);
}

static void small_messages(jsStreamConfig *c)
{
    c->MaxMsgSize = 20000;
}

static void test_too_large(void)
{
    struct place p;
    uint8_t status[3];
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        if (!place_open(&p, "max_payload: 32768", by_stream ? small_messages : NULL))
            return;
        struct mh_instance *m = MH("nats", "servers", p.node.url, "stream", "AUDIT");
        struct aw_event *e[3] = {mh_event(1), mh_event_sized(2, by_stream ? 19900 : 40000), mh_event(3)};
        CU_ASSERT_EQUAL(mh_start(m), AW_OK);
        CU_ASSERT_EQUAL(mh_write_events(m, e, 3, 0, 0, status), AW_OK);
        CU_ASSERT_EQUAL(status[0], AW_EVENT_DURABLE);
        CU_ASSERT_EQUAL(status[1], AW_EVENT_REJECTED);
        CU_ASSERT_EQUAL(status[2], AW_EVENT_DURABLE);
        CU_ASSERT_EQUAL(m->event_error_index, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(m->event_error, by_stream ? "max_msg_size of the stream: 20000"
                                                                : "max_payload of the server: 32768"));
        CU_ASSERT_EQUAL(nats_count(&p.admin, "AUDIT"), 2);
        for (int i = 0; i < 3; i++)
            mh_event_free(e[i]);
        mh_destroy(m);
        place_close(&p);
    }
}

/* ---- who may ---- */

static void start_is(int32_t want, const char *why, const char *url, const char *k1, const char *v1, const char *k2,
                     const char *v2)
{
    const char *pairs[] = {"servers", url, "stream", "AUDIT", k1, v1, k2, v2, NULL};
    struct mh_instance *m = mh_create("nats", pairs);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    int32_t r = mh_start(m);
    bool ok = r == want && (why == NULL || strstr(m->error, why) != NULL) && strstr(m->error, "s3cr3t") == NULL &&
              !mh_logged(m, "s3cr3t");
    CU_ASSERT_TRUE(ok);
    if (!ok)
        harness_note("expected %d %s, found %d %s", want, why != NULL ? why : "", r, m->error);
    if (r == AW_OK)
        CU_ASSERT_EQUAL(mh_write(m, 1, 5, 0, NULL), AW_OK);
    mh_destroy(m);
}

static void test_credentials(void)
{
    static const char config[] = "authorization: { users: [ { user: admin, password: adm },\n"
                                 " { user: audit, password: s3cr3t },\n"
                                 " { user: weak, password: s3cr3t, permissions: { publish: [ \"$JS.API.>\" ] } },\n"
                                 " { user: blind, password: s3cr3t, permissions: { publish: [ \"audit.>\" ] } },\n"
                                 " { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }";
    struct nats_node node = {.pid = 0};
    struct nats_admin admin;
    char url[100];
    CU_ASSERT_TRUE_FATAL(nats_node_start(&node, config));
    snprintf(url, sizeof url, "nats://admin:adm@127.0.0.1:%d", node.port);
    CU_ASSERT_TRUE_FATAL(nats_admin_open(&admin, url));
    CU_ASSERT_TRUE(nats_make_stream(&admin, "AUDIT", NULL));
    start_is(AW_OK, NULL, node.url, "user", "audit", "password", "s3cr3t");
    start_is(AW_E_CONFIG, "uthorization", node.url, "user", "audit", "password", "s3cr3t-wrong");
    start_is(AW_E_CONFIG, "uthorization", node.url, "token", "s3cr3t", "domain", "");
    start_is(AW_E_CONFIG, "uthorization", node.url, "domain", "", "token", "");
    start_is(AW_OK, NULL, node.url, "nkey", "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", "nkey_seed",
             "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY");
    start_is(AW_E_CONFIG, "credentials: /nonexistent/s.creds: No such", node.url, "credentials", "/nonexistent/s.creds",
             "domain", "");
    start_is(AW_E_CONFIG, "ermission", node.url, "user", "blind", "password", "s3cr3t");
    /* May look at the stream and not publish. */
    struct mh_instance *m = MH("nats", "servers", node.url, "stream", "AUDIT", "user", "weak", "password", "s3cr3t",
                               "ack_timeout", "500ms");
    uint8_t status[3];
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 3, 0, status), AW_E_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "may not publish"));
    CU_ASSERT_TRUE(mh_all(status, 3, AW_EVENT_UNKNOWN));
    mh_destroy(m);
    nats_admin_close(&admin);
    nats_node_forget(&node);
}

static void test_options(void)
{
    static const struct {
        const char *k1, *v1, *k2, *v2, *why;
    } all[] = {{"servers", "http://x", NULL, NULL, "servers: item 1 is not"},
               {"servers", "nats://u:pw@x", NULL, NULL, "no user or password in an address"},
               {"subject", "audit.*", NULL, NULL, "subject: \"audit.*\" may hold"},
               {"subject", "audit.{tenants}", NULL, NULL, "names a field that is none of"},
               {"password", "x", NULL, NULL, "password: needs user"},
               {"user", "x", "token", "y", "only one of"},
               {"nkey", "U", NULL, NULL, "one needs the other"},
               {"tls_cert", "/x", NULL, NULL, "tls_cert and tls_key"},
               {"stream", "a.b", NULL, NULL, "stream: a name has"},
               {"inbox_prefix", "a.>", NULL, NULL, "inbox_prefix"}};
    for (size_t i = 0; i < ALL(all); i++) {
        bool own = strcmp(all[i].k1, "stream") == 0;
        const char *pairs[] = {all[i].k1, all[i].v1, own ? NULL : "stream", "AUDIT", all[i].k2, all[i].v2, NULL};
        CU_ASSERT_PTR_NULL(mh_create("nats", pairs));
        CU_ASSERT_PTR_NOT_NULL(strstr(mh_last_error(), all[i].why));
    }
}

/* ---- TLS ---- */

static bool openssl(const char *dir, const char *arguments)
{
    char command[1500];
    snprintf(command, sizeof command, "cd '%s' && openssl %s >>openssl.log 2>&1", dir, arguments);
    return system(command) == 0;
}

static void test_tls(void)
{
    char *dir = mh_fresh_dir(), config[1000], ca[600], other[600];
    static const char *const steps[] = {
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj "
        "/CN=TestCA",
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout o.key -out other.pem -days 2 -subj "
        "/CN=Other",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj "
        "/CN=server.test",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile san"};
    char *san = NULL;
    CU_ASSERT_TRUE(asprintf(&san, "%s/san", dir) > 0);
    mh_spew(san, "subjectAltName=DNS:server.test\n", 31);
    for (size_t i = 0; i < ALL(steps); i++)
        CU_ASSERT_TRUE_FATAL(openssl(dir, steps[i]));
    snprintf(config, sizeof config, "tls: { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\" }", dir, dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(other, sizeof other, "%s/other.pem", dir);
    struct nats_node node = {.pid = 0};
    CU_ASSERT_TRUE_FATAL(nats_node_start(&node, config));
    /* Up to the stream, which is not there: the connection is good. */
    start_is(AW_E_CONFIG, "there is no stream AUDIT", node.url, "tls_ca", ca, "tls_hostname", "server.test");
    start_is(AW_E_CONFIG, "certificate", node.url, "tls_ca", other, "tls_hostname", "server.test");
    start_is(AW_E_CONFIG, "certificate", node.url, "tls", "true", "tls_hostname", "server.test"); /* not the system's */
    start_is(AW_E_CONFIG, NULL, node.url, "tls_ca", ca, "tls_hostname", "else.test");
    start_is(AW_E_CONFIG, NULL, node.url, "tls_ca", ca, "domain", ""); /* the name of the address, 127.0.0.1 */
    start_is(AW_E_CONFIG, "certificate", node.url, "tls", "false", "domain", ""); /* the server wants it */
    start_is(AW_E_CONFIG, "settings", node.url, "tls_ca", "/nonexistent.pem", "domain", "");
    nats_node_forget(&node);
    struct nats_node plain = {.pid = 0};
    CU_ASSERT_TRUE(nats_node_start(&plain, NULL));
    start_is(AW_E_CONFIG, "ecure", plain.url, "tls", "true", "domain", ""); /* and here we do */
    nats_node_forget(&plain);
    free(san);
    free(dir);
}

/* ---- servers that go ---- */

static void test_no_server(void)
{
    char url[64];
    snprintf(url, sizeof url, "nats://127.0.0.1:%d", nats_free_port());
    struct mh_instance *m = MH("nats", "servers", url, "stream", "AUDIT");
    const struct aw_sink_probe *probe = m->class->extension(m->sink, AW_EXT_SINK_PROBE);
    CU_ASSERT_EQUAL(mh_start(m), AW_E_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->error, "cannot connect"));
    CU_ASSERT_EQUAL(probe->probe(m->sink, m->host.mono_ns() + 2000000000u), AW_E_UNAVAILABLE);
    mh_destroy(m);
}

struct killer {
    struct place *p;
    uint64_t at; /* messages in the stream */
    int times;
    bool failed;
    pthread_barrier_t over; /* the servers end with the thread that started them */
};

/* Kills the server when it has that many messages, and starts it again. */
static void *kill_servers(void *arg)
{
    struct killer *k = arg;
    for (int i = 0; i < k->times && !k->failed; i++) {
        struct nats_admin a;
        if (!nats_admin_open(&a, k->p->node.url)) {
            k->failed = true;
            break;
        }
        for (int tries = 0; tries < 20000; tries++) {
            uint64_t n = nats_count(&a, "AUDIT");
            if (n != UINT64_MAX && n >= k->at * (uint64_t)(i + 1))
                break;
            usleep(500);
        }
        nats_node_kill(&k->p->node, SIGKILL);
        nats_admin_close(&a);
        k->failed = k->failed || !nats_node_start(&k->p->node, NULL);
    }
    pthread_barrier_wait(&k->over);
    pthread_barrier_wait(&k->over);
    return NULL;
}

static void test_restart(void)
{
    static bool acked[8000];
    struct place p;
    pthread_t thread;
    size_t extra = 0;
    if (!place_open(&p, NULL, NULL))
        return;
    nats_admin_close(&p.admin);
    struct killer k = {.p = &p, .at = 1500, .times = 3};
    pthread_barrier_init(&k.over, NULL, 2);
    struct mh_instance *m =
        MH("nats", "servers", p.node.url, "stream", "AUDIT", "ack_timeout", "2s", "max_in_flight", "64");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kill_servers, &k), 0);
    struct nats_load l = {.m = m, .acked = acked, .from = 1, .to = 8000, .batch = 200, .seconds = 120};
    CU_ASSERT_TRUE(nats_deliver(&l));
    pthread_barrier_wait(&k.over);
    CU_ASSERT_FALSE(k.failed);
    CU_ASSERT_EQUAL(l.rejected, 0);
    CU_ASSERT_TRUE(mh_metric(m, "nats_connects_total") >= 2);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(nats_admin_open(&p.admin, p.node.url));
    CU_ASSERT_EQUAL(nats_find(&p.admin, "AUDIT", acked, 8000, &extra), 8000);
    CU_ASSERT_EQUAL(extra, 0); /* told apart by their message ids */
    mh_destroy(m);
    place_close(&p);
    pthread_barrier_wait(&k.over);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&k.over);
}

/* A server that stands still: the call ends, what is not confirmed is not said to be stored, and nothing is stored
 * twice afterwards. */
static void test_silence(void)
{
    struct place p;
    uint8_t status[300];
    if (!place_open(&p, NULL, NULL))
        return;
    struct mh_instance *m =
        MH("nats", "servers", p.node.url, "stream", "AUDIT", "ack_timeout", "300ms", "connect_timeout", "300ms");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 300, 0, status), AW_OK);
    nats_node_kill(&p.node, SIGSTOP);
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(mh_write(m, 301, 600, 0, status), AW_E_TIMEOUT);
    CU_ASSERT_TRUE(m->host.mono_ns() - before >= 300000000u);
    CU_ASSERT_TRUE(mh_all(status, 300, AW_EVENT_UNKNOWN));
    struct aw_event *e = mh_event(301);
    before = m->host.mono_ns();
    int32_t r = mh_write_events(m, &e, 1, 0, before + 100000000u, status);
    CU_ASSERT_TRUE(r == AW_E_TIMEOUT || r == AW_E_UNAVAILABLE);
    mh_event_free(e);
    struct aw_health h = {.struct_size = sizeof h};
    CU_ASSERT_EQUAL(m->class->health(m->sink, &h), AW_OK);
    CU_ASSERT_NOT_EQUAL(h.state, AW_HEALTH_OK);
    nats_node_kill(&p.node, SIGCONT);
    bool acked[600] = {false};
    struct nats_load l = {.m = m, .acked = acked, .from = 301, .to = 600, .batch = 300, .seconds = 60};
    CU_ASSERT_TRUE(nats_deliver(&l));
    CU_ASSERT_TRUE(holds(&p, 600));
    mh_destroy(m);
    place_close(&p);
}

static void test_fork(void)
{
    struct place p;
    int status = 0;
    if (!place_open(&p, NULL, NULL))
        return;
    struct mh_instance *m = MH("nats", "servers", p.node.url, "stream", "AUDIT");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_EQUAL(mh_write(m, 1, 10, 0, NULL), AW_OK);
    pid_t child = fork();
    if (child == 0) {
        bool ok = m->class->after_fork(m->sink) == AW_OK;
        ok = ok && m->class->start(m->sink) == AW_E_CONFIG && strstr(m->error, "before a fork") != NULL;
        m->class->destroy(m->sink);
        harness_end_child(ok ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(mh_write(m, 11, 20, 0, NULL), AW_OK);
    CU_ASSERT_TRUE(holds(&p, 20));
    mh_destroy(m);
    place_close(&p);
}

HARNESS_MAIN("sink_nats", {"the process stays as it was", test_process},
             {"events, duplicates, a second life", test_events}, {"streams that do not fit", test_streams},
             {"another stream has the subject", test_other_stream}, {"a full stream", test_full},
             {"events that never fit", test_too_large}, {"credentials", test_credentials}, {"options", test_options},
             {"TLS", test_tls}, {"no server", test_no_server}, {"the server is killed in mid-load", test_restart},
             {"the server stands still", test_silence}, {"fork", test_fork})
