/* nats_support.c - see nats_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "nats_support.h"

#define START_STEPS 3000
#define STEP_US 10000
#define TRIES 5

int nats_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok =
        fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    if (fd >= 0)
        close(fd);
    return ok ? ntohs(a.sin_port) : 0;
}

static bool reachable(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static pid_t run_server(const struct nats_node *n)
{
    char config[600], log[600];
    const char *program = getenv("NATS_SERVER");
    if (program == NULL)
        program = access("/usr/sbin/nats-server", X_OK) == 0 ? "/usr/sbin/nats-server" : "nats-server";
    snprintf(config, sizeof config, "%s/nats.conf", n->dir);
    snprintf(log, sizeof log, "%s/log", n->dir);
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(126);
    execlp(program, program, "-c", config, (char *)NULL);
    _exit(127);
}

/* Until it takes connections. false: it ended. */
static bool wait_reachable(struct nats_node *n)
{
    for (int i = 0; i < START_STEPS; i++) {
        if (waitpid(n->pid, NULL, WNOHANG) == n->pid) {
            n->pid = 0;
            return false;
        }
        if (reachable(n->port))
            return true;
        usleep(STEP_US);
    }
    return false;
}

bool nats_node_start(struct nats_node *n, const char *config)
{
    bool again = n->port != 0;
    char path[600], text[4000];
    if (n->dir == NULL)
        n->dir = mh_fresh_dir();
    for (int i = 0; i < TRIES; i++) {
        if (!again)
            n->port = nats_free_port();
        snprintf(n->url, sizeof n->url, "nats://127.0.0.1:%d", n->port);
        snprintf(path, sizeof path, "%s/nats.conf", n->dir);
        int len = snprintf(text, sizeof text, "host: 127.0.0.1\nport: %d\njetstream: { store_dir: \"%s/data\" }\n%s\n",
                           n->port, n->dir, config != NULL ? config : "");
        mh_spew(path, text, (size_t)len);
        n->pid = run_server(n);
        if (n->pid > 0 && wait_reachable(n))
            return true;
        nats_node_kill(n, SIGKILL);
    }
    char log[600];
    snprintf(log, sizeof log, "%s/log", n->dir);
    char *said = mh_slurp(log, NULL);
    harness_note("nats-server does not start: %.500s", said != NULL ? said : "it says nothing");
    free(said);
    return false;
}

void nats_node_kill(struct nats_node *n, int signo)
{
    if (n->pid <= 0)
        return;
    (void)kill(n->pid, signo);
    if (signo == SIGSTOP || signo == SIGCONT)
        return;
    (void)waitpid(n->pid, NULL, 0);
    n->pid = 0;
}

void nats_node_forget(struct nats_node *n)
{
    nats_node_kill(n, SIGKILL);
    free(n->dir);
    *n = (struct nats_node){.pid = 0};
}

/* ---- a client ---- */

bool nats_admin_open(struct nats_admin *a, const char *servers)
{
    jsOptions o;
    *a = (struct nats_admin){.nc = NULL};
    for (int i = 0; i < START_STEPS; i++) {
        jsAccountInfo *info = NULL;
        jsErrCode err = 0;
        (void)jsOptions_Init(&o);
        o.Wait = 2000;
        if (natsConnection_ConnectTo(&a->nc, servers) == NATS_OK &&
            natsConnection_JetStream(&a->js, a->nc, &o) == NATS_OK &&
            js_GetAccountInfo(&info, a->js, NULL, &err) == NATS_OK) {
            jsAccountInfo_Destroy(info);
            return true;
        }
        nats_admin_close(a);
        usleep(STEP_US);
    }
    return false;
}

void nats_admin_close(struct nats_admin *a)
{
    jsCtx_Destroy(a->js);
    natsConnection_Destroy(a->nc);
    *a = (struct nats_admin){.nc = NULL};
}

bool nats_make_stream(struct nats_admin *a, const char *name, void (*change)(jsStreamConfig *c))
{
    const char *subjects[] = {"audit.>"};
    jsStreamConfig c;
    jsStreamInfo *info = NULL;
    jsErrCode err = 0;
    natsStatus status = jsStreamConfig_Init(&c);
    c.Name = name;
    c.Subjects = subjects;
    c.SubjectsLen = 1;
    c.Storage = js_FileStorage;
    c.Duplicates = INT64_C(600000000000);
    if (change != NULL)
        change(&c);
    for (int i = 0; i < START_STEPS; i++) {
        if (status == NATS_OK)
            status = js_AddStream(&info, a->js, &c, NULL, &err);
        if (status == NATS_OK) {
            jsStreamInfo_Destroy(info);
            return true;
        }
        if (err != 0 && err != JSClusterNoPeersErr && err != JSClusterNotAvailErr && err != JSInsufficientResourcesErr)
            break; /* else the cluster is forming */
        status = NATS_OK;
        usleep(STEP_US * 5);
    }
    harness_note("stream %s: %s, %d", name, natsStatus_GetText(status), (int)err);
    return false;
}

uint64_t nats_count(struct nats_admin *a, const char *stream)
{
    jsStreamInfo *info = NULL;
    jsErrCode err = 0;
    uint64_t n = UINT64_MAX;
    if (js_GetStreamInfo(&info, a->js, stream, NULL, &err) == NATS_OK)
        n = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return n;
}

/* Which event a message is: its seq, or 0. */
static uint64_t event_of(natsMsg *msg, size_t count)
{
    const char *data = natsMsg_GetData(msg);
    size_t len = (size_t)natsMsg_GetDataLength(msg);
    const char *at = memmem(data, len, "\"seq\":", 6);
    uint64_t seq = at != NULL ? strtoull(at + 6, NULL, 10) : 0;
    if (seq == 0 || seq > count)
        return 0;
    struct aw_event *e = mh_event(seq);
    bool same = e->json_len == len && memcmp(e->json, data, len) == 0;
    mh_event_free(e);
    return same ? seq : 0;
}

size_t nats_find(struct nats_admin *a, const char *stream, const bool *marked, size_t count, size_t *ret_extra)
{
    jsStreamInfo *info = NULL;
    jsErrCode err = 0;
    bool *seen = calloc(count, sizeof *seen);
    size_t found = 0;
    *ret_extra = 0;
    natsStatus status = js_GetStreamInfo(&info, a->js, stream, NULL, &err);
    for (uint64_t i = status == NATS_OK ? info->State.FirstSeq : 1; status == NATS_OK && i <= info->State.LastSeq;
         i++) {
        natsMsg *msg = NULL;
        if (js_GetMsg(&msg, a->js, stream, i, NULL, &err) != NATS_OK)
            continue; /* counted as missing below */
        uint64_t seq = event_of(msg, count);
        natsMsg_Destroy(msg);
        if (seq == 0 || seen[seq - 1]) {
            ++*ret_extra;
            continue;
        }
        seen[seq - 1] = true;
        found += marked[seq - 1];
    }
    jsStreamInfo_Destroy(info);
    free(seen);
    return found;
}

/* ---- load ---- */

bool nats_deliver(struct nats_load *l)
{
    struct aw_event **batch = calloc(l->batch, sizeof *batch);
    uint8_t *status = calloc(l->batch, 1);
    uint64_t end = l->m->host.mono_ns() + (uint64_t)l->seconds * 1000000000u, next = l->from;
    while (next <= l->to && l->m->host.mono_ns() < end) {
        size_t n = 0;
        for (uint64_t seq = next; seq <= l->to && n < l->batch; seq++)
            if (!l->acked[seq - 1])
                batch[n++] = mh_event(seq);
        int32_t r = mh_write_events(l->m, batch, n, 0, l->m->host.mono_ns() + 5000000000u, status);
        l->config_errors += r == AW_E_CONFIG;
        for (size_t i = 0; i < n; i++) {
            if (status[i] == AW_EVENT_DURABLE || status[i] == AW_EVENT_DUPLICATE)
                l->acked[batch[i]->numbers[0] - 1] = true;
            l->rejected += status[i] == AW_EVENT_REJECTED;
            mh_event_free(batch[i]);
        }
        while (next <= l->to && l->acked[next - 1])
            next++;
        if (r != AW_OK)
            usleep(50000);
    }
    free(batch);
    free(status);
    return next > l->to;
}
