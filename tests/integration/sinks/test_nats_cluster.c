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
#define EVENTS 6000u
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
    struct mh_instance *m;
    _Atomic uint64_t *acked;
    int killed_leaders, killed_others;
    bool failed;
    pthread_barrier_t over; /* the servers end with the thread that started them */
};

static void wait_acked(const struct killer *k, uint64_t n)
{
    for (int i = 0; i < 60000 && *k->acked < n; i++)
        usleep(1000);
}

/* At a third of the load a follower is killed, at two thirds the leader; each is started again. */
static void *kill_servers(void *arg)
{
    struct killer *k = arg;
    for (int round = 0; round < 2 && !k->failed; round++) {
        struct nats_admin a;
        wait_acked(k, EVENTS / 3 * (uint64_t)(round + 1));
        if (!nats_admin_open(&a, k->c->servers)) {
            k->failed = true;
            break;
        }
        int n = wait_leader(&a, true), victim = n < 0 ? 0 : round == 0 ? (n + 1) % NODES : n;
        nats_node_kill(&k->c->node[victim], SIGKILL);
        k->killed_leaders += victim == n;
        k->killed_others += n >= 0 && victim != n;
        nats_admin_close(&a);
        usleep(300000); /* the cluster goes on without it */
        k->failed = k->failed || !nats_node_start(&k->c->node[victim], k->c->config[victim]);
    }
    pthread_barrier_wait(&k->over);
    pthread_barrier_wait(&k->over);
    return NULL;
}

static void test_killed(void)
{
    static bool acked[EVENTS];
    static _Atomic uint64_t progress;
    struct cluster c;
    struct nats_admin a;
    pthread_t thread;
    CU_ASSERT_TRUE_FATAL(open_cluster(&c, &a));
    CU_ASSERT_TRUE(wait_leader(&a, true) >= 0);
    nats_admin_close(&a);
    struct mh_instance *m = MH("nats", "servers", c.settings, "stream", "AUDIT", "replicas", "3", "ack_timeout", "2s",
                               "connect_timeout", "1s", "max_in_flight", "100");
    CU_ASSERT_EQUAL(mh_start(m), AW_OK);
    CU_ASSERT_FALSE(mh_logged(m, "one replica"));
    struct killer k = {.c = &c, .m = m, .acked = &progress};
    pthread_barrier_init(&k.over, NULL, 2);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kill_servers, &k), 0);
    uint64_t rejected = 0, config = 0;
    for (uint64_t from = 1; from <= EVENTS; from += 100) { /* slow enough to be in mid-load */
        struct nats_load l = {.m = m, .acked = acked, .from = from, .to = from + 99, .batch = 100, .seconds = 90};
        if (!nats_deliver(&l)) {
            CU_FAIL("the load is stored in time");
            harness_note("event %llu: %s", (unsigned long long)from, m->error);
            break;
        }
        rejected += l.rejected;
        config += l.config_errors;
        progress = from + 99;
        usleep(10000);
    }
    progress = EVENTS;
    pthread_barrier_wait(&k.over);
    CU_ASSERT_FALSE(k.failed);
    CU_ASSERT_EQUAL(k.killed_leaders, 1);
    CU_ASSERT_EQUAL(k.killed_others, 1);
    CU_ASSERT_EQUAL(rejected, 0);
    CU_ASSERT_EQUAL(config, 0); /* a cluster without a leader is no reason to stop for good */
    CU_ASSERT_EQUAL(mh_stop(m), AW_OK);
    CU_ASSERT_TRUE(nats_admin_open(&a, c.servers));
    CU_ASSERT_TRUE(wait_leader(&a, true) >= 0);
    size_t extra = 0, found = nats_find(&a, "AUDIT", acked, EVENTS, &extra);
    CU_ASSERT_EQUAL(found, EVENTS);
    CU_ASSERT_EQUAL(extra, 0);
    harness_note("%zu of %u acknowledged events are there, %zu twice; connections: %.0f, duplicates: %.0f", found,
                 EVENTS, extra, mh_metric(m, "nats_connects_total"), mh_metric(m, "nats_duplicates_total"));
    mh_destroy(m);
    nats_admin_close(&a);
    stop_all(&c);
    pthread_barrier_wait(&k.over);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&k.over);
}

HARNESS_MAIN("sink_nats_cluster", {"a follower and the leader are killed in mid-load: nothing is lost", test_killed})
