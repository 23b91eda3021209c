/* test_http_faults.c - every n-th allocation that fails in the http sink and its libraries; and the whole of auditwell
 * with a receiver that is killed again and again. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "audit/audit.h"
#include "harness.h"
#include "http_rig.h"
#include "inject.h"

#define EVENTS 12u
#define BATCH 4u

static struct rig *peer;

static void test_setup(void)
{
    peer = RIG_PEER(NULL);
    CU_ASSERT_TRUE(peer->port > 0);
}

/* One life in which the nth allocation fails. false: there was none. What was acknowledged must be stored, and in the
 * end all is. */
static bool one_life(const char *url, const char *const *pairs, const char *store, long nth)
{
    const char *all[16] = {"url", url};
    struct aw_event *events[EVENTS];
    uint8_t status[BATCH];
    void *second = NULL;
    bool started = false, lied = false;
    int rounds = 0;
    for (size_t n = 2; *pairs != NULL && n < 15; pairs++)
        all[n++] = *pairs;
    for (size_t i = 0; i < EVENTS; i++)
        events[i] = mh_event(i + 1);
    struct mh_instance *m = mh_create("http", all);
    inject_arm(INJECT_MALLOC, nth, ENOMEM, false, false);
    int32_t made = m->class->create(&m->host, m->config, &second);
    if (made == AW_OK)
        m->class->destroy(second);
    lied = made != AW_OK && (made != AW_E_NOMEM || second != NULL);
    for (size_t done = 0; done < EVENTS && rounds < 20; rounds++) {
        started = started || mh_start(m) == AW_OK;
        int32_t r = started ? mh_write_events(m, events + done, BATCH, 0, 0, status) : AW_E_NOMEM;
        size_t stored = 0;
        while (stored < BATCH && started &&
               (status[stored] == AW_EVENT_DURABLE || status[stored] == AW_EVENT_DUPLICATE))
            stored++;
        for (size_t i = stored; started && i < BATCH; i++)
            lied = lied || status[i] != AW_EVENT_UNKNOWN;
        lied = lied || (r == AW_OK && stored < BATCH) || (r != AW_OK && m->error[0] == '\0');
        lied = lied || (r != AW_OK && r != AW_E_NOMEM && r != AW_E_RETRY && r != AW_E_UNAVAILABLE);
        done += stored == BATCH ? BATCH : 0;
    }
    inject_disarm();
    bool fired = inject_fired(), right = mh_file_is(store, 1, EVENTS);
    if (!right || lied || rounds >= 20)
        harness_note("allocation %ld: stored %d, lied %d, %d rounds: %s", nth, right, lied, rounds, m->error);
    CU_ASSERT_TRUE(right && !lied && rounds < 20);
    mh_destroy(m);
    for (size_t i = 0; i < EVENTS; i++)
        mh_event_free(events[i]);
    return fired;
}

static void all_lives(const struct rig *at, bool tls, const char *const *pairs, long step)
{
    char path[64], store[600], url[600];
    long nth = 1, lives = 0;
    for (bool fired = true; fired && nth < 100000; nth += step, lives++) {
        snprintf(path, sizeof path, "/store/t%d-%ld.jsonl", tls, nth);
        snprintf(store, sizeof store, "%s/t%d-%ld.jsonl", at->dir, tls, nth);
        snprintf(url, sizeof url, "%s", tls ? rig_https("127.0.0.1", at->port, path) : rig_url(at, path));
        fired = one_life(url, pairs, store, nth);
    }
    harness_note("%s: %ld lives, %ld allocations", tls ? "TLS" : "plain", lives, nth);
    CU_ASSERT_TRUE(lives > 20);
}

static void test_allocation(void)
{
    static const char *const plain[] = {"format", "ndjson",        "compression",      "gzip", "bearer_token",
                                        "token",  "signature_key", "a key of sixteen", NULL};
    if (!inject_can(INJECT_MALLOC)) {
        harness_note("allocations cannot be made to fail under a sanitizer");
        return;
    }
    all_lives(peer, false, plain, 1);
    char cert[600], tls[1300], ca[600];
    snprintf(cert, sizeof cert, "%s", rig_cert("good.pem"));
    snprintf(tls, sizeof tls, "tls=%s,%s", cert, rig_cert("good.key"));
    snprintf(ca, sizeof ca, "%s", rig_cert("ca.pem"));
    const char *const over[] = {"format", "ndjson", "ca_file", ca, "http_version", "1.1", NULL};
    struct rig *secure = RIG_PEER(tls);
    all_lives(secure, true, over, 97);
    rig_stop(secure);
}

/* ---- a connection that is gone when it is used again ---- */

static _Atomic int send_fails_in; /* calls from now; 0: never. This program's send() is libcurl's, too. */

__attribute__((visibility("default"))) ssize_t send(int fd, const void *bytes, size_t n, int flags);
ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
    static _Atomic(void *) real;
    if (atomic_load(&send_fails_in) > 0 && atomic_fetch_sub(&send_fails_in, 1) == 1) {
        errno = EPIPE;
        return -1;
    }
    void *next = atomic_load(&real);
    if (next == NULL)
        atomic_store(&real, next = dlsym(RTLD_NEXT, "send"));
    ssize_t (*call)(int, const void *, size_t, int);
    *(void **)&call = next;
    return call(fd, bytes, n, flags);
}

static uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void test_broken_pipe(void)
{
    struct mh_instance *m = RIG_SINK(rig_url(peer, "/ok"), NULL);
    for (int nth = 1; nth <= 2; nth++) { /* the head, the body: large enough for a call of its own */
        CU_ASSERT_EQUAL(mh_write(m, 1, 200, 0, NULL), AW_OK);
        double before = mh_metric(m, "http_connections_total");
        atomic_store(&send_fails_in, nth);
        CU_ASSERT_EQUAL(mh_write(m, 1, 200, 0, NULL), AW_OK);
        CU_ASSERT_EQUAL(atomic_load(&send_fails_in), 0);
        CU_ASSERT_EQUAL(mh_metric(m, "http_connections_total"), before + 1);
        CU_ASSERT_EQUAL(m->class->reopen(m->sink), AW_OK);
        atomic_store(&send_fails_in, nth); /* a new one is not tried twice */
        CU_ASSERT_EQUAL(mh_write(m, 1, 200, 0, NULL), AW_E_RETRY);
    }
    mh_destroy(m);
}

/* ---- a name server that does not answer ---- */

static _Atomic int lookups_ended;
static _Atomic bool name_server_answers;

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **ret);
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    int (*call)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (node != NULL && strcmp(node, "slow.test") == 0) {
        while (!atomic_load(&name_server_answers))
            nanosleep(&(struct timespec){0, 5000000}, NULL);
        atomic_fetch_add(&lookups_ended, 1);
        return EAI_AGAIN;
    }
    *(void **)&call = dlsym(RTLD_NEXT, "getaddrinfo");
    return call(node, service, hints, ret);
}

static void test_slow_name(void)
{
    struct mh_instance *m = RIG_SINK("http://slow.test/", "insecure_plain", "true");
    uint8_t status[3];
    uint64_t before = m->host.mono_ns();
    CU_ASSERT_EQUAL(rig_write(m, 1, 3, before + 200000000u, status, NULL), AW_E_TIMEOUT);
    uint64_t took = m->host.mono_ns() - before;
    mh_destroy(m);
    uint64_t destroyed = clock_ms();
    CU_ASSERT_TRUE(took >= 200000000u);
    CU_ASSERT_EQUAL(atomic_load(&lookups_ended), 0); /* neither waited for it */
    atomic_store(&name_server_answers, true);
    while (atomic_load(&lookups_ended) == 0 && clock_ms() - destroyed < 30000)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    CU_ASSERT_EQUAL(atomic_load(&lookups_ended), 1);
    nanosleep(&(struct timespec){0, 100000000}, NULL); /* libcurl's thread goes after that */
}

/* ---- the whole of it ---- */

#define LOAD 3000u
#define LOAD_MAX 200000u
#define KILLS 4

struct killer {
    struct rig *rig;
    char dir[600], port[32];
    _Atomic bool stop;
    _Atomic int kills;
};

static void *kill_and_restart(void *arg)
{
    struct killer *k = arg;
    while (!atomic_load(&k->stop)) {
        nanosleep(&(struct timespec){0, 60000000}, NULL);
        rig_kill(k->rig);
        atomic_fetch_add(&k->kills, 1);
        k->rig = RIG_PEER(k->dir, k->port);
    }
    return NULL;
}

/* How many lines of the store have that text. */
static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = text; p != NULL && (p = strstr(p, part)) != NULL; p += strlen(part))
        n++;
    return n;
}

static void test_receiver_is_killed(void)
{
    struct killer k = {.rig = RIG_PEER(NULL)};
    char *dir = mh_fresh_dir(), config[3000], id[64], line[400], store[700];
    struct aw_logger *logger;
    pthread_t thread;
    snprintf(k.dir, sizeof k.dir, "dir=%s", k.rig->dir);
    snprintf(k.port, sizeof k.port, "port=%d", k.rig->port);
    snprintf(store, sizeof store, "%s/trail.jsonl", k.rig->dir);
    snprintf(config, sizeof config,
             "service = \"load\"; journal = { path = \"%s/journal\"; };\n"
             "sinks = ( { plugin = \"http\"; name = \"net\"; url = \"%s\"; format = \"ndjson\"; pii = \"keep\";\n"
             "  batch = { events = 50; }; retry = { base = \"5ms\"; cap = \"50ms\"; };\n"
             "  breaker = { cooldown = \"20ms\"; }; } );\n",
             dir, rig_url(k.rig, "/store/trail.jsonl"));
    struct aw_open_options o = {.struct_size = sizeof o, .config_text = config};
    int rc = aw_open(&o, &logger);
    CU_ASSERT_EQUAL_FATAL(rc, AW_SUCCESS);
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, kill_and_restart, &k), 0);
    unsigned sent = 0;
    for (; sent < LOAD || (atomic_load(&k.kills) < KILLS && sent < LOAD_MAX); sent++) {
        int n = snprintf(line, sizeof line,
                         "{\"eventId\":\"load-%u-end\",\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":"
                         "\"user\",\"id\":\"u\"}}",
                         sent);
        CU_ASSERT_EQUAL(aw_log_json(logger, line, (size_t)n, NULL), AW_SUCCESS);
        if (sent % 20 == 0)
            nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(aw_flush(logger, 60000), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_close(logger, 10000), AW_SUCCESS);
    char *text = mh_slurp(store, NULL);
    CU_ASSERT_EQUAL(count(text, "\n"), sent); /* each once */
    for (unsigned i = 0; i < sent; i++) {
        snprintf(id, sizeof id, "\"load-%u-end\"", i);
        CU_ASSERT_PTR_NOT_NULL(text != NULL ? strstr(text, id) : NULL);
    }
    harness_note("%u events, %d kills, %zu requests", sent, atomic_load(&k.kills), rig_requests(k.rig));
    CU_ASSERT_TRUE(atomic_load(&k.kills) >= KILLS);
    free(text);
    free(dir);
    rig_stop(k.rig);
}

HARNESS_MAIN("sink_http_faults", {"set up", test_setup}, {"every failing allocation", test_allocation},
             {"a connection that broke while it was kept", test_broken_pipe},
             {"a name server that does not answer", test_slow_name},
             {"a receiver that is killed under load", test_receiver_is_killed})
