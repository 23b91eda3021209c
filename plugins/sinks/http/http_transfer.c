/* http_transfer.c - one request over libcurl: bounded in time, in bytes and in redirects.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The multi interface is used so that a call can end at its deadline whatever libcurl waits for. Anything odd about an
 * exchange costs the connection: the next request makes a new one.
 *
 * libcurl writes to sockets with MSG_NOSIGNAL, OpenSSL may not: SIGPIPE is blocked while either is at work.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http_sink.h"

#define WAIT_MAX_MS 1000
#define SEND_BUFFER 262144L
#define MS 1000000u

/* ---- signals ---- */

struct pipe_guard {
    sigset_t old;
    bool armed; /* SIGPIPE was not blocked before: one of ours must not stay behind */
};

static void guard_begin(struct pipe_guard *g)
{
    sigset_t pipe;
    g->armed = false;
    if (pthread_sigmask(SIG_BLOCK, NULL, &g->old) != 0 || sigismember(&g->old, SIGPIPE) == 1)
        return; /* as in every worker of the host */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    g->armed = pthread_sigmask(SIG_BLOCK, &pipe, NULL) == 0;
}

static void guard_end(struct pipe_guard *g)
{
    sigset_t pipe;
    static const struct timespec none = {0, 0};
    if (!g->armed)
        return;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (sigtimedwait(&pipe, NULL, &none) < 0 && errno == EINTR)
        continue;
    pthread_sigmask(SIG_SETMASK, &g->old, NULL);
}

/* ---- sockets: known, so that a forked child can close them ---- */

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct ht_sink *s = arg;
    (void)purpose;
    for (size_t i = 0; i < HT_SOCKETS_MAX; i++)
        if (s->sockets[i] < 0) {
            s->sockets[i] = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
            return s->sockets[i] < 0 ? CURL_SOCKET_BAD : s->sockets[i];
        }
    return CURL_SOCKET_BAD; /* never seen: one connection is kept, and two are tried at once */
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct ht_sink *s = arg;
    for (size_t i = 0; i < HT_SOCKETS_MAX; i++)
        if (s->sockets[i] == fd)
            s->sockets[i] = -1;
    return close(fd);
}

/* ---- what comes back ---- */

static void copy_value(const char *from, size_t n, char *out, size_t size)
{
    while (n > 0 && (*from == ' ' || *from == '\t')) {
        from++;
        n--;
    }
    while (n > 0 && (from[n - 1] == '\r' || from[n - 1] == '\n' || from[n - 1] == ' '))
        n--;
    snprintf(out, size, "%.*s", n < size ? (int)n : (int)size - 1, from);
}

static size_t take_header(char *line, size_t one, size_t n, void *arg)
{
    struct ht_answer *a = &((struct ht_sink *)arg)->answer;
    a->header_bytes += n;
    if (a->header_bytes > HT_HEADERS_BYTES) {
        a->too_large = true;
        return 0;
    }
    if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0) /* another answer begins: 100, or what a proxy said first */
        a->content_type[0] = a->retry_after[0] = '\0';
    else if (n > 13 && strncasecmp(line, "Content-Type:", 13) == 0)
        copy_value(line + 13, n - 13, a->content_type, sizeof a->content_type);
    else if (n > 12 && strncasecmp(line, "Retry-After:", 12) == 0)
        copy_value(line + 12, n - 12, a->retry_after, sizeof a->retry_after);
    return n * one;
}

static size_t take_body(char *bytes, size_t one, size_t n, void *arg)
{
    struct ht_sink *s = arg;
    struct ht_answer *a = &s->answer;
    struct ht_buffer *b = &s->reply;
    n *= one;
    if (n > s->settings->max_reply - b->len) {
        a->too_large = true;
        return 0;
    }
    size_t room = b->room < 4096 ? 4096 : b->room;
    while (room <= b->len + n)
        room *= 2;
    if (!ht_buffer_reserve(b, room)) {
        a->out_of_memory = true;
        return 0;
    }
    memcpy(b->bytes + b->len, bytes, n);
    b->len += n;
    return n;
}

/* ---- setting up ---- */

static long whole_ms(uint64_t ns)
{
    return (long)(ns / MS);
}

/* Every option counts: one that cannot be set must not be missing. */
#define SET(easy, option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(easy, option, value) : rc)

static CURLcode set_tls(const struct ht_settings *set, CURL *easy)
{
    CURLcode rc = CURLE_OK;
    SET(easy, CURLOPT_SSLVERSION, set->tls_min);
    SET(easy, CURLOPT_SSL_VERIFYPEER, set->insecure_tls ? 0L : 1L);
    SET(easy, CURLOPT_SSL_VERIFYHOST, set->insecure_tls ? 0L : 2L);
    if (set->ca_file != NULL) {
        SET(easy, CURLOPT_CAINFO, set->ca_file);
        SET(easy, CURLOPT_CAPATH, NULL);
    }
    if (set->client_cert != NULL) {
        SET(easy, CURLOPT_SSLCERT, set->client_cert);
        SET(easy, CURLOPT_SSLKEY, set->client_key);
        /* Without a password an encrypted key would be asked for on the terminal. */
        SET(easy, CURLOPT_KEYPASSWD, set->key_password != NULL ? set->key_password : "");
    }
    return rc;
}

static CURLcode set_proxy(const struct ht_settings *set, CURL *easy)
{
    CURLcode rc = CURLE_OK;
    SET(easy, CURLOPT_PROXY, set->proxy != NULL ? set->proxy : ""); /* "": not the environment's either */
    SET(easy, CURLOPT_NOPROXY, "");
    SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* a proxy is not told our credentials */
    if (set->proxy_username != NULL)
        SET(easy, CURLOPT_PROXYUSERNAME, set->proxy_username);
    if (set->proxy_password != NULL)
        SET(easy, CURLOPT_PROXYPASSWORD, set->proxy_password);
    return rc;
}

static CURLcode set_all(struct ht_sink *s, CURL *easy)
{
    const struct ht_settings *set = s->settings;
    CURLcode rc = CURLE_OK;
    long version = set->version == HT_VERSION_1                  ? (long)CURL_HTTP_VERSION_1_1
                   : set->version == HT_VERSION_2 && !set->https ? (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                                                                 : (long)CURL_HTTP_VERSION_2TLS;
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_QUICK_EXIT, 1L); /* a name server that does not answer must not hold up the deadline */
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(easy, CURLOPT_HTTP_VERSION, version);
    SET(easy, CURLOPT_USERAGENT, "auditwell/" PACKAGE_VERSION);
    SET(easy, CURLOPT_ACCEPT_ENCODING, "identity"); /* what is packed all the same is unpacked */
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, whole_ms(set->connect_ns));
    SET(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(easy, CURLOPT_OPENSOCKETDATA, s);
    SET(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    SET(easy, CURLOPT_CLOSESOCKETDATA, s);
    SET(easy, CURLOPT_HEADERFUNCTION, take_header);
    SET(easy, CURLOPT_HEADERDATA, s);
    SET(easy, CURLOPT_WRITEFUNCTION, take_body);
    SET(easy, CURLOPT_WRITEDATA, s);
    SET(easy, CURLOPT_ERRORBUFFER, s->answer.error);
    if (rc == CURLE_OK)
        rc = set_tls(set, easy);
    return rc == CURLE_OK ? set_proxy(set, easy) : rc;
}

static void global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows when the first handle is made */
}

static CURLcode connect_handles(struct ht_sink *s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    if (s->multi == NULL && (s->multi = curl_multi_init()) == NULL)
        return CURLE_OUT_OF_MEMORY;
    if (s->easy != NULL)
        return CURLE_OK;
    if ((s->easy = curl_easy_init()) == NULL)
        return CURLE_OUT_OF_MEMORY;
    CURLcode rc = set_all(s, s->easy);
    if (rc != CURLE_OK)
        ht_disconnect(s);
    return rc;
}

void ht_disconnect(struct ht_sink *s)
{
    struct pipe_guard g;
    guard_begin(&g);
    curl_easy_cleanup(s->easy); /* before the multi handle, which owns the connections */
    if (s->multi != NULL)
        curl_multi_cleanup(s->multi);
    s->easy = NULL;
    s->multi = NULL;
    guard_end(&g);
}

void ht_abandon(struct ht_sink *s)
{
    for (size_t i = 0; i < HT_SOCKETS_MAX; i++) {
        if (s->sockets[i] >= 0)
            close(s->sockets[i]);
        s->sockets[i] = -1;
    }
    s->easy = NULL; /* cleaning up would say goodbye in the parent's TLS session */
    s->multi = NULL;
}

/* ---- one request ---- */

/* Until when the request may stand still. libcurl's own limit is a mean over the past, and comes much later. */
struct idle {
    uint64_t moved, since_ns;
};

static uint64_t idle_until(struct ht_sink *s, struct idle *idle, uint64_t now)
{
    curl_off_t up = 0, down = 0, begun = 0;
    (void)curl_easy_getinfo(s->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    (void)curl_easy_getinfo(s->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    (void)curl_easy_getinfo(s->easy, CURLINFO_PRETRANSFER_TIME_T, &begun);
    uint64_t moved = (uint64_t)up + (uint64_t)down + s->answer.header_bytes;
    if (begun == 0 || moved != idle->moved) /* connecting has a limit of its own */
        *idle = (struct idle){moved, now};
    return idle->since_ns + s->settings->idle_ns;
}

static CURLcode wait_for_more(struct ht_sink *s, uint64_t now, uint64_t until_ns)
{
    uint64_t ms = (until_ns - now) / MS + 1;
    return curl_multi_poll(s->multi, NULL, 0, ms < WAIT_MAX_MS ? (int)ms : WAIT_MAX_MS, NULL) == CURLM_OK
               ? CURLE_OK
               : CURLE_OUT_OF_MEMORY;
}

/* Runs until the transfer ended or its time was over: CURLE_OPERATION_TIMEDOUT. */
static CURLcode run(struct ht_sink *s, uint64_t deadline_ns)
{
    CURLcode result = CURLE_OK;
    struct idle idle = {UINT64_MAX, 0};
    int running = 1, left;
    CURLMcode mc = curl_multi_add_handle(s->multi, s->easy);
    if (mc != CURLM_OK)
        return mc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT;
    while (result == CURLE_OK) {
        mc = curl_multi_perform(s->multi, &running);
        const CURLMsg *m = curl_multi_info_read(s->multi, &left);
        if (m != NULL && m->msg == CURLMSG_DONE) {
            result = m->data.result;
            break;
        }
        uint64_t now = s->host->mono_ns(), still = idle_until(s, &idle, now);
        uint64_t until_ns = still < deadline_ns ? still : deadline_ns;
        if (mc != CURLM_OK || running == 0)
            result = mc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT;
        else if (now < until_ns)
            result = wait_for_more(s, now, until_ns);
        else
            result = CURLE_OPERATION_TIMEDOUT;
        if (result == CURLE_OPERATION_TIMEDOUT)
            snprintf(s->answer.error, sizeof s->answer.error,
                     until_ns == deadline_ns ? "time is over, and there is no answer" : "nothing moves (idle_timeout)");
    }
    (void)curl_multi_remove_handle(s->multi, s->easy);
    return result;
}

/* The end of this request: the host's deadline, or our own limit. */
static uint64_t end_of(const struct ht_sink *s, uint64_t deadline_ns)
{
    uint64_t own = s->host->mono_ns() + s->settings->total_ns;
    return deadline_ns != 0 && deadline_ns < own ? deadline_ns : own;
}

static void forget_answer(struct ht_sink *s)
{
    memset(&s->answer, 0, sizeof s->answer);
    s->reply.len = 0;
}

static void request(struct ht_sink *s, const char *url, struct curl_slist *headers, uint64_t end_ns)
{
    static char nothing[1];
    bool kept = false;
    for (size_t i = 0; i < HT_SOCKETS_MAX; i++)
        kept = kept || s->sockets[i] >= 0;
    struct ht_answer *a = &s->answer;
    struct pipe_guard g;
    long version = 0, connections = 0;
    CURLcode rc = CURLE_OK;
    guard_begin(&g);
    SET(s->easy, CURLOPT_URL, url);
    SET(s->easy, CURLOPT_HTTPHEADER, headers);
    a->code = rc == CURLE_OK ? run(s, end_ns) : rc;
    guard_end(&g);
    a->timed_out = a->code == CURLE_OPERATION_TIMEDOUT;
    a->len = s->reply.len;
    a->text = s->reply.bytes;
    if (a->text != NULL)
        a->text[a->len] = '\0';
    else
        a->text = nothing;
    if (curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &a->status) != CURLE_OK || a->code != CURLE_OK)
        a->status = 0;
    a->http2 =
        curl_easy_getinfo(s->easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK && version == CURL_HTTP_VERSION_2_0;
    if (curl_easy_getinfo(s->easy, CURLINFO_NUM_CONNECTS, &connections) == CURLE_OK && connections > 0)
        s->host->metric_add(s->host, s->metric_connections, (double)connections);
    a->repeated = kept && connections > 0; /* libcurl may have sent it on both */
    a->stale = connections == 0 && a->header_bytes == 0 &&
               (a->code == CURLE_SEND_ERROR || a->code == CURLE_RECV_ERROR || a->code == CURLE_GOT_NOTHING);
    (void)curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, NULL); /* they live on the caller's stack */
    if (a->code != CURLE_OK)
        ht_disconnect(s);
}

/* ---- posting ---- */

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool refuse_move(struct ht_sink *s, const char *to, const char *why)
{
    char shown[300], clean[300];
    ht_show_url(to, shown, sizeof shown);
    ht_clean(s->settings, shown, strlen(shown), clean, sizeof clean);
    snprintf(s->answer.error, sizeof s->answer.error, "%.100s: %.120s", why, clean);
    s->answer.moved = true;
    return false;
}

/* May this answer be followed? Then *url is where to. */
static bool follows(struct ht_sink *s, unsigned hop, char **url)
{
    const struct ht_settings *set = s->settings;
    char *to = NULL;
    long status = s->answer.status;
    if (!is_redirect(status))
        return false;
    if (curl_easy_getinfo(s->easy, CURLINFO_REDIRECT_URL, &to) != CURLE_OK || to == NULL)
        return refuse_move(s, "", "it names no place");
    if (status != 307 && status != 308)
        return refuse_move(s, to, "that status would turn a POST into a GET; the place it names");
    if (!ht_same_origin(set->url, to))
        return refuse_move(s, to, "that place has another scheme, host or port");
    if (hop >= set->max_redirects)
        return refuse_move(s, to, "too many redirects (max_redirects), the last one");
    char *copy = strdup(to); /* libcurl's own goes with the next request */
    if (copy == NULL) {
        s->answer.out_of_memory = true;
        return false;
    }
    free(*url);
    *url = copy;
    s->host->metric_add(s->host, s->metric_redirects, 1);
    return true;
}

static CURLcode prepare_post(struct ht_sink *s, const struct ht_buffer *body)
{
    CURLcode rc = connect_handles(s);
    SET(s->easy, CURLOPT_POST, 1L);
    SET(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
    SET(s->easy, CURLOPT_POSTFIELDS, body->bytes);
    return rc;
}

void ht_post(struct ht_sink *s, const struct aw_batch *batch, const struct ht_buffer *body)
{
    char key[HT_KEY_LINE], signature[HT_SIGNATURE_LINE], *moved_to = NULL;
    struct curl_slist second = {signature, s->settings->body_headers}, first = {key, &second};
    uint64_t end_ns = end_of(s, batch->deadline_ns);
    bool again = false, repeated = false;
    s->shown = s->settings->shown;
    if (s->settings->signature_key == NULL)
        first.next = s->settings->body_headers;
    for (unsigned hop = 0;; hop += !again) {
        forget_answer(s);
        CURLcode rc = prepare_post(s, body);
        bool coded =
            ht_key_line(s, batch, key) && (s->settings->signature_key == NULL || ht_signature_line(s, body, signature));
        if (rc != CURLE_OK || !coded) {
            s->answer.code = rc != CURLE_OK ? rc : CURLE_OUT_OF_MEMORY; /* libcrypto's only reason */
            break;
        }
        request(s, moved_to != NULL ? moved_to : s->settings->url, &first, end_ns);
        s->host->metric_add(s->host, s->metric_requests, 1);
        /* The receiver closed what we kept, just when we used it. libcurl sees some of these cases itself. */
        repeated = repeated || s->answer.repeated || s->answer.stale;
        again = s->answer.stale && !again;
        if (!again && (s->answer.code != CURLE_OK || !follows(s, hop, &moved_to)))
            break;
    }
    s->answer.repeated = repeated;
    if (s->answer.code == CURLE_OK)
        s->host->metric_add(s->host, s->metric_bytes, (double)body->len);
    if (s->easy != NULL)
        (void)curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, NULL); /* the buffer may move before the next one */
    free(moved_to);
}

void ht_visit(struct ht_sink *s, uint64_t deadline_ns)
{
    const char *url = s->settings->health_url != NULL ? s->settings->health_url : s->settings->url;
    forget_answer(s);
    s->shown = s->settings->health_shown;
    CURLcode rc = connect_handles(s);
    SET(s->easy, CURLOPT_HTTPGET, 1L);
    if (s->settings->health_url == NULL)
        SET(s->easy, CURLOPT_CONNECT_ONLY, 1L);
    if (rc != CURLE_OK) {
        s->answer.code = rc;
        return;
    }
    request(s, url, s->settings->headers, end_of(s, deadline_ns));
}
