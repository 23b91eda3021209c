/* bench_nats.c - the nats sink against the client library's own asynchronous producer.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One nats-server of our own, on loopback. Both sides publish the same bytes under message ids to a stream on disk,
 * with as many unconfirmed ones at a time, and have every confirmation when they end. The sink takes them from a
 * journal, the producer from memory.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define IN_FLIGHT 1024 /* the sink's default */
#define BATCH 8000
#define START_STEPS 1000

struct server {
    pid_t pid;
    char url[64], store[600];
    natsConnection *nc;
    jsCtx *js;
};

static void must(natsStatus status, const char *what)
{
    if (status != NATS_OK)
        bench_die("NATS: %s: %s", what, natsStatus_GetText(status));
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len))
        bench_die("socket: %s", strerror(errno));
    (void)close(fd);
    return ntohs(a.sin_port);
}

/* false: there is no such program. */
static bool server_start(struct bench *b, struct server *s)
{
    char port[16], path[600];
    (void)snprintf(port, sizeof port, "%d", free_port());
    (void)snprintf(s->url, sizeof s->url, "nats://127.0.0.1:%s", port);
    (void)bench_path(b, "nats", s->store, sizeof s->store);
    (void)bench_path(b, "nats.log", path, sizeof path);
    s->pid = fork();
    if (s->pid == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0 && dup2(fd, 1) == 1 && dup2(fd, 2) == 2 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) {
            execlp("nats-server", "nats-server", "-js", "-a", "127.0.0.1", "-p", port, "-sd", s->store, (char *)NULL);
            execl("/usr/sbin/nats-server", "nats-server", "-js", "-a", "127.0.0.1", "-p", port, "-sd", s->store,
                  (char *)NULL);
        }
        _exit(127);
    }
    for (int i = 0; i < START_STEPS; i++) {
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
            return false;
        if (natsConnection_ConnectTo(&s->nc, s->url) == NATS_OK)
            break;
        (void)usleep(10000);
    }
    if (!s->nc)
        bench_die("nats-server does not answer");
    jsOptions o;
    must(jsOptions_Init(&o), "options");
    o.PublishAsync.MaxPending = IN_FLIGHT;
    o.PublishAsync.StallWait = 60000;
    must(natsConnection_JetStream(&s->js, s->nc, &o), "JetStream");
    return true;
}

static void server_stop(struct server *s)
{
    jsCtx_Destroy(s->js);
    natsConnection_Destroy(s->nc);
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, NULL, 0);
    bench_remove(s->store);
}

/* Makes it anew, empty. */
static void fresh_stream(struct server *s)
{
    const char *subjects[] = {"audit.>"};
    jsStreamConfig c;
    jsErrCode err = 0;
    (void)js_DeleteStream(s->js, "AUDIT", NULL, &err);
    must(jsStreamConfig_Init(&c), "stream");
    c.Name = "AUDIT";
    c.Subjects = subjects;
    c.SubjectsLen = 1;
    c.Storage = js_FileStorage;
    must(js_AddStream(NULL, s->js, &c, NULL, &err), "stream");
}

static void expect_count(struct server *s, size_t count)
{
    jsStreamInfo *info = NULL;
    jsErrCode err = 0;
    must(js_GetStreamInfo(&info, s->js, "AUDIT", NULL, &err), "stream");
    if (info->State.Msgs != count)
        bench_die("%llu messages of %zu are in the stream", (unsigned long long)info->State.Msgs, count);
    jsStreamInfo_Destroy(info);
}

static double limit_producer(struct server *s, const struct lines *l, size_t count)
{
    jsPubOptions o;
    must(jsPubOptions_Init(&o), "options");
    fresh_stream(s);
    double t = bench_now();
    for (size_t i = 0; i < count; i++) {
        size_t k = i % l->count;
        char id[64];
        natsMsg *msg = NULL;
        (void)snprintf(id, sizeof id, "01890a5d-ac96-774b-bcce-%012zx", i); /* as long as an event's */
        o.MsgId = id;
        o.ExpectStream = "AUDIT";
        must(natsMsg_Create(&msg, "audit.tenant", NULL, l->base + l->off[k], (int)l->len[k]), "message");
        must(js_PublishMsgAsync(s->js, &msg, &o), "publish");
        natsMsg_Destroy(msg);
    }
    must(js_PublishAsyncComplete(s->js, NULL), "confirmations");
    t = bench_now() - t;
    expect_count(s, count);
    return t;
}

/* While the events are logged, by one thread, on the same processors. */
static double run_live(struct bench *b, const char *sinks, size_t count)
{
    double t = bench_now();
    struct aw_logger *logger = bench_open(b, sinks, 0);
    for (size_t i = 0; i < count; i++) {
        size_t k = i % b->corpus.count;
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[k], b->corpus.len[k], NULL), "aw_log_json");
    }
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    bench_clean(b);
    return t;
}

void figures_nats(struct bench *b)
{
    static const struct figure f = {"nats_sink", "events/s", "libnats' async producer, same bytes and confirmations",
                                    0.80, false};
    static const struct figure live = {"nats_sink_live", "events/s", "the same, which logs nothing meanwhile", 0,
                                       false};
    if (!bench_wants(b, "nats"))
        return;
    char text[400];
    struct series value = {.n = 0}, live_value = {.n = 0}, limit = {.n = 0};
    struct server s = {.pid = 0};
    size_t count = b->sqlite_events * 2 < b->events ? b->sqlite_events * 2 : b->events;
    if (!server_start(b, &s)) {
        printf("# nats_sink: left out, nats-server is not installed\n");
        return;
    }
    (void)snprintf(text, sizeof text,
                   "sinks = ( { plugin = \"nats\"; servers = ( \"%s\" ); stream = \"AUDIT\"; batch = { events = %d; "
                   "bytes = \"16MiB\"; }; } );",
                   s.url, BATCH);
    for (int i = 0; i < b->runs; i++) {
        series_add(&limit, (double)count / limit_producer(&s, &b->trail, count));
        fresh_stream(&s);
        series_add(&value, (double)count / run_catch_up(b, text, count));
        expect_count(&s, count);
        fresh_stream(&s);
        series_add(&live_value, (double)count / run_live(b, text, count));
        expect_count(&s, count);
    }
    server_stop(&s);
    report(&f, &value, &limit);
    report(&live, &live_value, &limit);
}
