/* bench_http.c - the http sink beside a bare libcurl loop that posts the same bodies.
 * SPDX-License-Identifier: Apache-2.0
 *
 * All post over one kept connection to the same receiver, a process of its own. Three figures:
 *
 * http_write: the sink's own write(), without auditwell around it, to a receiver that reads each request whole, answers
 * it, and does nothing else: what the sink costs beside the bare loop.
 *
 * http_sink: auditwell, from the journal to the receiver's disk: the receiver stores each request (fdatasync) before it
 * answers, as auditwell-sink-http(7) asks. No answer comes before all events are in the journal, so that this is
 * delivery alone: reading the journal, making bodies, posting them, taking the answers over.
 *
 * http_unstored: the same with the receiver of http_write. It shows what reading the journal costs, on the same thread,
 * beside a receiver that is faster than any real one; so it has no target.
 */
#include "config.h"

#include "bench.h"

#ifdef BENCH_HTTP
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 100 /* events, as is default */

/* ---- the receiver ---- */

struct receiver {
    pid_t pid;
    int gate; /* one byte lets the answers out */
    int port;
};

static void must(bool ok, const char *what)
{
    if (!ok)
        bench_die("%s: %s", what, strerror(errno));
}

static bool put(int fd, const char *bytes, size_t n)
{
    return fd < 0 || write(fd, bytes, n) == (ssize_t)n;
}

/* Reads one request from fd. false: the connection ended. */
static bool take_request(int fd, char *buf, size_t size, int store)
{
    size_t have = 0;
    char *end = NULL;
    while (!end) {
        ssize_t n = recv(fd, buf + have, size - 1 - have, 0);
        if (n <= 0)
            return false;
        have += (size_t)n;
        buf[have] = '\0';
        end = strstr(buf, "\r\n\r\n");
    }
    const char *length = strcasestr(buf, "content-length:");
    size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    size_t got = have - (size_t)(end + 4 - buf);
    if (!put(store, end + 4, got))
        return false;
    while (got < body) {
        ssize_t n = recv(fd, buf, size, 0);
        if (n <= 0 || !put(store, buf, (size_t)n))
            return false;
        got += (size_t)n;
    }
    return store < 0 || fdatasync(store) == 0;
}

/* store < 0: nothing is stored. */
static _Noreturn void serve(int listener, int gate, int store)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    static char buf[1 << 18];
    char go;
    bool open = false;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            _exit(1);
        while (take_request(fd, buf, sizeof buf, store)) {
            if (!open && read(gate, &go, 1) != 1)
                _exit(0);
            open = true;
            if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0)
                break;
        }
        (void)close(fd);
    }
}

/* path NULL: it stores nothing. */
static struct receiver receiver_start(const char *path)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    struct receiver r = {.pid = 0};
    int gate[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(listener >= 0 && bind(listener, (struct sockaddr *)&a, size) == 0 && listen(listener, 8) == 0 &&
             getsockname(listener, (struct sockaddr *)&a, &size) == 0 && pipe(gate) == 0,
         "the receiver");
    (void)fflush(NULL);
    r.pid = fork();
    must(r.pid >= 0, "fork");
    if (r.pid == 0) {
        int store = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
        (void)close(gate[1]);
        if (path && store < 0)
            _exit(1);
        serve(listener, gate[0], store);
    }
    (void)close(listener);
    (void)close(gate[0]);
    r.gate = gate[1];
    r.port = ntohs(a.sin_port);
    return r;
}

/* What was written before is no part of what is measured from here on. */
static void receiver_open(const struct bench *b, const struct receiver *r)
{
    int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(dir >= 0 && syncfs(dir) == 0, b->dir);
    (void)close(dir);
    must(write(r->gate, "g", 1) == 1, "the receiver's gate");
}

static void receiver_stop(const struct receiver *r)
{
    (void)kill(r->pid, SIGKILL);
    (void)close(r->gate);
    must(waitpid(r->pid, NULL, 0) == r->pid, "waitpid");
}

/* ---- the limit ---- */

/* The bodies of the trail's first events, as the sink makes them, one after the other in memory. */
struct bodies {
    char *bytes;
    size_t *at; /* count + 1 */
    size_t count;
};

static struct bodies bodies_make(const struct lines *trail, size_t events)
{
    struct bodies b = {.count = (events + BATCH - 1) / BATCH};
    size_t n = 0;
    b.bytes = malloc(trail->size + b.count * 16);
    b.at = malloc((b.count + 1) * sizeof *b.at);
    if (!b.bytes || !b.at)
        bench_die("out of memory");
    for (size_t i = 0, k = 0; i < b.count; i++) {
        b.at[i] = n;
        memcpy(b.bytes + n, "{\"events\":[", 11);
        n += 11;
        for (size_t last = k + BATCH < events ? k + BATCH : events; k < last; k++) {
            memcpy(b.bytes + n, trail->base + trail->off[k], trail->len[k]);
            n += trail->len[k];
            b.bytes[n++] = ',';
        }
        b.bytes[n - 1] = ']';
        b.bytes[n++] = '}';
    }
    b.at[b.count] = n;
    return b;
}

static size_t ignore(char *bytes, size_t size, size_t n, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * n;
}

static double limit_curl(const struct bench *bench, const struct bodies *b, const char *path)
{
    char url[80];
    long status = 0;
    struct receiver r = receiver_start(path);
    CURL *c = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!c || !headers)
        bench_die("libcurl: out of memory");
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", r.port);
    (void)curl_easy_setopt(c, CURLOPT_URL, url);
    (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore);
    receiver_open(bench, &r);
    double t = bench_now();
    for (size_t i = 0; i < b->count; i++) {
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)(b->at[i + 1] - b->at[i]));
        (void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, b->bytes + b->at[i]);
        CURLcode rc = curl_easy_perform(c);
        if (rc != CURLE_OK || curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200)
            bench_die("libcurl: %s, status %ld", curl_easy_strerror(rc), status);
    }
    t = bench_now() - t;
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    receiver_stop(&r);
    return t;
}

/* ---- the sink ---- */

static double run_http(struct bench *b, size_t events, const char *path)
{
    char text[300];
    struct receiver r = receiver_start(path);
    (void)snprintf(text, sizeof text,
                   "sinks = ( { plugin = \"http\"; url = \"http://127.0.0.1:%d/\"; pii = \"keep\"; } );", r.port);
    struct aw_logger *logger = bench_open(b, text, 0);
    for (size_t i = 0; i < events; i++)
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[i], b->corpus.len[i], NULL), "aw_log_json");
    receiver_open(b, &r);
    double t = bench_now();
    bench_check(aw_flush(logger, 600000), "aw_flush");
    t = bench_now() - t;
    bench_close(logger);
    receiver_stop(&r);
    return t;
}

static double run_write(const struct bench *b, size_t events)
{
    char url[80];
    struct receiver r = receiver_start(NULL);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", r.port);
    struct bench_host *h = host_open("http", "url", url);
    receiver_open(b, &r);
    double t = host_write_all(h, &b->trail, events, BATCH);
    host_close(h);
    receiver_stop(&r);
    return t;
}

void figures_http(struct bench *b)
{
    static const struct figure write_alone = {"http_write", "events/s",
                                              "bare libcurl loop, same bodies, one connection", 0.80, false},
                               stored = {"http_sink", "events/s", "bare libcurl loop, same bodies and storing receiver",
                                         0.80, false},
                               unstored = {"http_unstored", "events/s",
                                           "bare libcurl loop; the journal is read besides", 0, false};
    if (!bench_wants(b, "http"))
        return;
    struct series vw = {.n = 0}, lw = {.n = 0}, vs = {.n = 0}, ls = {.n = 0}, vu = {.n = 0};
    size_t events = b->http_events < b->trail.count ? b->http_events : b->trail.count;
    struct bodies bodies = bodies_make(&b->trail, events);
    char path[600];
    double n = (double)events;
    (void)bench_path(b, "received", path, sizeof path);
    for (int i = 0; i < b->runs; i++) {
        series_add(&vw, n / run_write(b, events));
        series_add(&lw, n / limit_curl(b, &bodies, NULL));
        series_add(&vu, n / run_http(b, events, NULL));
        bench_clean(b);
        series_add(&vs, n / run_http(b, events, path));
        bench_clean(b);
        series_add(&ls, n / limit_curl(b, &bodies, path));
        bench_clean(b);
    }
    free(bodies.bytes);
    free(bodies.at);
    report(&write_alone, &vw, &lw);
    report(&stored, &vs, &ls);
    report(&unstored, &vu, &lw);
}
#else
void figures_http(struct bench *b)
{
    (void)b;
}
#endif
