/* http_rig.c - see http_rig.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "http_rig.h"

#define RIGS_MAX 64
static pid_t running[RIGS_MAX];
char rig_error[512];

static void bail(const char *what)
{
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- processes ---- */

static void end_all(void)
{
    for (size_t i = 0; i < RIGS_MAX; i++)
        if (running[i] > 0) {
            kill(running[i], SIGKILL);
            waitpid(running[i], NULL, 0);
        }
}

static void remember(pid_t pid, pid_t instead_of)
{
    static bool registered;
    if (!registered)
        atexit(end_all);
    registered = true;
    for (size_t i = 0; i < RIGS_MAX; i++)
        if (running[i] == instead_of) {
            running[i] = pid;
            return;
        }
    bail("too many processes");
}

/* Starts a program with pipes to its standard input and from its standard output. */
static pid_t spawn(const char *const *argv, int *ret_in, int *ret_out)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        bail("pipe");
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        bail("fork");
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        if (strcmp(argv[0], "nginx") == 0) /* not in everybody's PATH */
            execv("/usr/sbin/nginx", (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    *ret_in = in[1];
    *ret_out = out[0];
    remember(pid, 0);
    return pid;
}

static void end(struct rig *r, int signal)
{
    close(r->in);
    if (signal != 0)
        kill(r->pid, signal);
    waitpid(r->pid, NULL, 0);
    remember(0, r->pid);
}

void rig_stop(struct rig *r)
{
    end(r, SIGTERM);
    free(r);
}

void rig_kill(struct rig *r)
{
    end(r, SIGKILL);
    free(r);
}

struct rig *rig_peer(const char *const *arguments)
{
    struct rig *r = calloc(1, sizeof *r);
    char *dir = mh_fresh_dir(), script[1024];
    const char *top = getenv("top_srcdir"), *python = getenv("PYTHON3");
    const char *argv[16] = {python != NULL && *python != '\0' ? python : "python3", script, r->dir};
    snprintf(script, sizeof script, "%s/tests/integration/sinks/http_peer.py", top != NULL ? top : ".");
    snprintf(r->dir, sizeof r->dir, "%s", dir);
    free(dir);
    size_t n = 3;
    for (; *arguments != NULL && n < 15; arguments++)
        if (strncmp(*arguments, "dir=", 4) == 0)
            snprintf(r->dir, sizeof r->dir, "%s", *arguments + 4);
        else
            argv[n++] = *arguments;
    int out;
    r->pid = spawn(argv, &r->in, &out);
    FILE *f = fdopen(out, "r");
    if (f == NULL || fscanf(f, "port %d", &r->port) != 1)
        bail("the peer does not start (python3)");
    fclose(f);
    return r;
}

/* ---- nginx ---- */

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) < 0 || getsockname(fd, (struct sockaddr *)&a, &size) < 0)
        bail("no free port");
    close(fd);
    return ntohs(a.sin_port);
}

static bool listens(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

static void write_config(struct rig *r, const struct rig *peer)
{
    static const char text[] =
        "daemon off; master_process off; worker_processes 1; pid %s/pid; error_log %s/error.log;\n"
        "events { worker_connections 64; }\n"
        "http {\n"
        "  access_log off; client_max_body_size 64k; keepalive_requests 100000;\n"
        "  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
        "  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
        "  ssl_certificate %s; ssl_certificate_key %s; ssl_client_certificate %s;\n"
        "  proxy_http_version 1.1; proxy_set_header X-Front \"$server_protocol $connection $ssl_client_s_dn\";\n"
        "  proxy_set_header Connection \"\";\n"
        "  server { listen 127.0.0.1:%d ssl http2; location / { proxy_pass http://127.0.0.1:%d; } }\n"
        "  server { listen 127.0.0.1:%d ssl http2; ssl_verify_client on; "
        "location / { proxy_pass http://127.0.0.1:%d; } }\n"
        "  server { listen 127.0.0.1:%d; location / { proxy_pass http://127.0.0.1:%d; } }\n"
        "  server { listen 127.0.0.1:%d http2; location / { proxy_pass http://127.0.0.1:%d; } }\n"
        "}\n";
    char config[600], cert[512], key[512], ca[512], all[8192];
    const char *d = r->dir;
    snprintf(cert, sizeof cert, "%s", rig_cert("good.pem"));
    snprintf(key, sizeof key, "%s", rig_cert("good.key"));
    snprintf(ca, sizeof ca, "%s", rig_cert("ca.pem"));
    int n = snprintf(all, sizeof all, text, d, d, d, d, d, d, d, cert, key, ca, r->port, peer->port, r->port_mutual,
                     peer->port, r->port_plain, peer->port, r->port_h2c, peer->port);
    snprintf(config, sizeof config, "%s/nginx.conf", d);
    mh_spew(config, all, (size_t)n);
}

struct rig *rig_nginx(const struct rig *peer)
{
    struct rig *r = calloc(1, sizeof *r);
    char *dir = mh_fresh_dir(), config[600], log[600];
    snprintf(r->dir, sizeof r->dir, "%s", dir);
    free(dir);
    snprintf(config, sizeof config, "%s/nginx.conf", r->dir);
    snprintf(log, sizeof log, "%s/error.log", r->dir);
    for (int tries = 0; tries < 10; tries++) { /* another may have taken the port meanwhile */
        int out, status;
        r->port = free_port();
        r->port_mutual = free_port();
        r->port_plain = free_port();
        r->port_h2c = free_port();
        write_config(r, peer);
        const char *argv[] = {"nginx", "-p", r->dir, "-e", log, "-c", config, NULL};
        r->pid = spawn(argv, &r->in, &out);
        close(out);
        while (waitpid(r->pid, &status, WNOHANG) == 0) {
            if (listens(r->port) && listens(r->port_mutual) && listens(r->port_plain) && listens(r->port_h2c))
                return r;
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        }
        remember(0, r->pid);
        close(r->in);
    }
    char *why = mh_slurp(log, NULL);
    harness_note("%s", why != NULL ? why : "no log");
    bail("nginx does not start");
    return NULL;
}

/* ---- certificates ---- */

const char *rig_cert(const char *name)
{
    static char dir[400], path[512];
    if (dir[0] == '\0') {
        char *fresh = mh_fresh_dir(), command[1600];
        const char *top = getenv("top_srcdir");
        snprintf(dir, sizeof dir, "%s", fresh);
        free(fresh);
        snprintf(command, sizeof command, "sh %s/tests/integration/sinks/http_certs.sh %s >%s/log 2>&1",
                 top != NULL ? top : ".", dir, dir);
        if (system(command) != 0)
            bail("http_certs.sh (openssl)");
    }
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* ---- what the tests say of it ---- */

const char *rig_url(const struct rig *r, const char *path)
{
    static char url[1024];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", r->port, path);
    return url;
}

const char *rig_https(const char *host, int port, const char *path)
{
    static char url[1024];
    snprintf(url, sizeof url, "https://%s:%d%s", host, port, path);
    return url;
}

static char *file_of(const struct rig *r, const char *name, size_t *ret_len)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return mh_slurp(path, ret_len);
}

char *rig_last(const struct rig *r)
{
    size_t n;
    char *log = file_of(r, "log", &n);
    if (log == NULL)
        return strdup("");
    while (n > 0 && log[n - 1] == '\n')
        log[--n] = '\0';
    char *newline = strrchr(log, '\n'), *line = strdup(newline != NULL ? newline + 1 : log);
    free(log);
    return line;
}

size_t rig_requests(const struct rig *r)
{
    char *log = file_of(r, "log", NULL);
    size_t n = 0;
    for (const char *p = log; p != NULL && (p = strchr(p, '\n')) != NULL; p++)
        n++;
    free(log);
    return n;
}

bool rig_body_is(const struct rig *r, const char *bytes, size_t len)
{
    size_t n = 0;
    char *body = file_of(r, "body", &n);
    bool same = body != NULL && n == len && memcmp(body, bytes, len) == 0;
    if (!same)
        harness_note("the body is %.300s", body != NULL ? body : "not there");
    free(body);
    return same;
}

void rig_reply(const struct rig *r, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/reply", r->dir);
    mh_spew(path, text, strlen(text));
}

struct mh_instance *rig_sink(const char *url, const char *const *pairs)
{
    const char *all[40] = {"url", url};
    size_t n = 2;
    for (; pairs != NULL && *pairs != NULL && n < 39; pairs++)
        all[n++] = *pairs;
    struct mh_instance *m = mh_create("http", all);
    if (m == NULL || mh_start(m) != AW_OK) {
        printf("Bail out! no sink: %s\n", m != NULL ? m->error : mh_last_error());
        exit(1);
    }
    return m;
}

int32_t rig_write(struct mh_instance *m, uint64_t from, uint64_t to, uint64_t deadline_ns, uint8_t *status,
                  uint32_t *after_ms)
{
    size_t n = (size_t)(to - from + 1);
    struct aw_event **events = calloc(n, sizeof *events);
    for (size_t i = 0; i < n; i++)
        events[i] = mh_event(from + i);
    struct aw_batch b = {sizeof b, 0, from, to, deadline_ns, n, (const struct aw_event *const *)events};
    struct aw_result res = {sizeof res, 0, n, status};
    memset(status, AW_EVENT_UNKNOWN, n);
    int32_t r = m->class->write(m->sink, &b, &res);
    if (after_ms != NULL)
        *after_ms = res.retry_after_ms;
    for (size_t i = 0; i < n; i++)
        mh_event_free(events[i]);
    free(events);
    return r;
}

int32_t rig_once(const struct rig *r, const char *path, size_t n, uint8_t *status, uint32_t *after_ms)
{
    struct mh_instance *m = RIG_SINK(rig_url(r, path), "timeout", "20s");
    int32_t code = rig_write(m, 1, n, 0, status, after_ms);
    snprintf(rig_error, sizeof rig_error, "%s", m->error);
    mh_destroy(m);
    return code;
}

bool rig_error_has(const char *text)
{
    bool there = strstr(rig_error, text) != NULL;
    if (!there)
        harness_note("no \"%s\" in \"%s\"", text, rig_error);
    return there;
}
