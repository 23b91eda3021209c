/* test_nats_cluster.c - three servers, a stream with three replicas, and one server after the other killed in mid-load.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What was acknowledged is compared with what the stream holds afterwards: nothing may be missing.
 */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "minihost.h"
#include "nats_support.h"

#define NODES 3
#define EVENTS_MAX 40000u
#define BATCH 200u
#define CALM_US 30000 /* between batches, but when a server is about to be killed */
#define TRIES 3

struct cluster {
    struct nats_node node[NODES];
    char config[NODES][600];
    char servers[200];  /* by commas */
    char settings[200]; /* by lines */
};

static bool start_all(struct cluster *c)
{
    int ports[NODES];
    for (int i = 0; i < NODES; i++)
        ports[i] = nats_free_port();
    for (int i = 0; i < NODES; i++) {
        snprintf(
            c->config[i], sizeof c->config[i],
            "server_name: n%d\ncluster: { name: test, host: 127.0.0.1, port: %d, routes: [ \"nats://127.0.0.1:%d\", "
            "\"nats://127.0.0.1:%d\", \"nats://127.0.0.1:%d\" ] }",
            i, ports[i], ports[0], ports[1], ports[2]);
        if (!nats_node_start(&c->node[i], c->config[i]))
            return false;
    }
    snprintf(c->servers, sizeof c->servers, "%s,%s,%s", c->node[0].url, c->node[1].url, c->node[2].url);
    snprintf(c->settings, sizeof c->settings, "%s\n%s\n%s", c->node[0].url, c->node[1].url, c->node[2].url);
    return true;
}

static void stop_all(struct cluster *c)
{
    for (int i = 0; i < NODES; i++)
        nats_node_forget(&c->node[i]);
}

static void three_replicas(jsStreamConfig *c)
{
    c->Replicas = 3;
}

/* A port may be taken meanwhile by somebody else: then with others. */
static bool open_cluster(struct cluster *c, struct nats_admin *a)
{
    for (int i = 0; i < TRIES; i++) {
        *c = (struct cluster){.servers = ""};
        if (start_all(c) && nats_admin_open(a, c->servers) && nats_make_stream(a, "AUDIT", three_replicas))
            return true;
        nats_admin_close(a);
        stop_all(c);
    }
    return false;
}

/* The number of the server that leads the stream; -1: none just now. *ret_current: the others have all it has. */
static int leader(struct nats_admin *a, bool *ret_current)
{
    jsStreamInfo *info = NULL;
    jsErrCode err = 0;
    int n = -1;
    *ret_current = false;
    if (js_GetStreamInfo(&info, a->js, "AUDIT", NULL, &err) == NATS_OK && info->Cluster != NULL &&
        info->Cluster->Leader != NULL && info->Cluster->Leader[0] == 'n') {
        n = info->Cluster->Leader[1] - '0';
        *ret_current = info->Cluster->ReplicasLen == NODES - 1;
        for (int i = 0; i < info->Cluster->ReplicasLen; i++)
            *ret_current = *ret_current && info->Cluster->Replicas[i]->Current && !info->Cluster->Replicas[i]->Offline;
    }
    jsStreamInfo_Destroy(info);
    return n;
}

static int wait_leader(struct nats_admin *a, bool all_current)
{
    for (int i = 0; i < 3000; i++) {
        bool current;
        int n = leader(a, &current);
        if (n >= 0 && n < NODES && (current || !all_current))
            return n;
        usleep(20000);
    }
    return -1;
}

struct killer {
    struct cluster *c;
    _Atomic uint64_t acked; /* events, by the load */
    _Atomic bool hurry, finished;
    int killed_leaders, killed_others;
    bool failed;
    pthread_barrier_t over; /* the servers end with the thread that started them */
};

static void wait_acked(struct killer *k, uint64_t n)
{
    for (int i = 0; i < 60000 && k->acked < n; i++)
        usleep(1000);
}

/* With the load at its full speed. */
static void kill_one(struct killer *k, int victim)
{
    k->hurry = true;
    wait_acked(k, k->acked + 3 * BATCH);
    usleep(3000); /* within a batch */
    nats_node_kill(&k->c->node[victim], SIGKILL);
    usleep(300000); /* the cluster goes on without it */
    k->hurry = false;
}

/* First a follower is killed, then the leader; each is started again. */
static void *kill_servers(void *arg)
{
    struct killer *k = arg;
    for (int round = 0; round < 2 && !k->failed; round++) {
        struct nats_admin a;
        wait_acked(k, 5 * BATCH);
        int n = nats_admin_open(&a, k->c->servers) ? wait_leader(&a, true) : -1;
        nats_admin_close(&a);
        k->failed = n < 0;
        if (n < 0)
            break;
        int victim = round == 0 ? (n + 1) % NODES : n;
        kill_one(k, victim);
        k->killed_leaders += victim == n;
        k->killed_others += victim != n;
        k->failed = !nats_node_start(&k->c->node[victim], k->c->config[victim]);
    }
    k->finished = true;
    pthread_barrier_wait(&k->over);
    pthread_barrier_wait(&k->over);
    return NULL;
}

/* Until all that was to be killed was. Returns the last event. */
static uint64_t load(struct killer *k, struct mh_instance *m, bool *acked)
{
    uint64_t to = 0, rest = 5;
    while (to + BATCH <= EVENTS_MAX && rest > 0) {
        struct nats_load l = {.m = m, .acked = acked, .from = to + 1, .to = to + BATCH, .batch = BATCH, .seconds = 90};
        if (!nats_deliver(&l)) {
            CU_FAIL("the load is stored in time");
            harness_note("event %llu: %s", (unsigned long long)to + 1, m->error);
            return to;
        }
        CU_ASSERT_EQUAL(l.rejected, 0);
        CU_ASSERT_EQUAL(l.config_errors, 0); /* a cluster without a leader is no reason to stop for good */
        to += BATCH;
        k->acked = to;
        rest -= k->finished;
        if (!k->hurry)
            usleep(CALM_US);
    }
    return to;
}

static void test_killed(void)
{
    static bool acked[EVENTS_MAX];
    struct cluster c;
    struct nats_admin a;
    pthread_t thread;
    CU_ASSERT_TRUE_FATAL(open_cluster(&c, &a));
    CU_ASSERT_TRUE(wait_leader(&a, true) >= 0);
    nats_admin_close(&a);
    struct mh_instance *m = MH("nats", "servers", c.settings, "stream", "AUDIT", "replicas", "3", "ack_timeout", "2s",
                               "connect_timeout", "1s");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_FALSE(mh_logged(m, "one replica"));
    struct killer k = {.c = &c};
    pthread_barrier_init(&k.over, NULL, 2);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kill_servers, &k), 0);
    uint64_t count = load(&k, m, acked);
    pthread_barrier_wait(&k.over);
    CU_ASSERT_FALSE(k.failed);
    CU_ASSERT_EQUAL(k.killed_leaders, 1);
    CU_ASSERT_EQUAL(k.killed_others, 1);
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(nats_admin_open(&a, c.servers));
    CU_ASSERT_TRUE(wait_leader(&a, true) >= 0);
    size_t extra = 0, found = nats_find(&a, "AUDIT", acked, count, &extra);
    CU_ASSERT_EQUAL(found, count);
    CU_ASSERT_EQUAL(extra, 0);
    harness_note("%zu of %llu acknowledged events are there, %zu twice; connections: %.0f, duplicates: %.0f", found,
                 (unsigned long long)count, extra, mh_metric(m, "nats_connects_total"),
                 mh_metric(m, "nats_duplicates_total"));
    mh_destroy(m);
    nats_admin_close(&a);
    stop_all(&c);
    pthread_barrier_wait(&k.over);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&k.over);
}

HARNESS_MAIN("sink_nats_cluster", {"a follower and the leader are killed in mid-load: nothing is lost", test_killed})
