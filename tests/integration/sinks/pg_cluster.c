/* pg_cluster.c - see pg_cluster.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "pg_cluster.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLUSTERS 4

static struct pg_cluster *all[MAX_CLUSTERS]; /* to be ended with the process */

static void __attribute__((format(printf, 1, 2), noreturn)) bail(const char *fmt, ...)
{
    va_list ap;
    printf("Bail out! ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    exit(1);
}

static bool find_bin(char *out, size_t size)
{
    glob_t g;
    const char *given = getenv("PG_BINDIR");
    out[0] = '\0';
    if (given != NULL)
        snprintf(out, size, "%s", given);
    else if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &g) == 0) {
        snprintf(out, size, "%s", g.gl_pathv[g.gl_pathc - 1]);
        globfree(&g);
    }
    char initdb[300];
    snprintf(initdb, sizeof initdb, "%s/initdb", out);
    return out[0] != '\0' && access(initdb, X_OK) == 0;
}

bool pgc_available(void)
{
    char bin[256];
    return find_bin(bin, sizeof bin);
}

/* The child, as the cluster's user. dies: together with us. */
static pid_t spawn(const struct pg_cluster *c, char *const argv[], const char *output, bool dies)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int in = open("/dev/null", O_RDONLY), out = open(output, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    struct rlimit limit = {c->file_limit, c->file_limit};
    if (dies && c->file_limit > 0 && setrlimit(RLIMIT_FSIZE, &limit) < 0)
        _exit(126);
    if (geteuid() == 0 && (setgid(c->gid) < 0 || setuid(c->uid) < 0))
        _exit(126);
    if (chdir(c->dir) < 0)
        _exit(126);
    if (dies) {
        prctl(PR_SET_PDEATHSIG, SIGQUIT);
        if (getppid() != parent)
            _exit(126);
    }
    execv(argv[0], argv);
    _exit(127);
}

static void run(const struct pg_cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void run(const struct pg_cluster *c, const char *fmt, ...)
{
    char command[2000], output[200];
    va_list ap;
    int status;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    snprintf(output, sizeof output, "%s/commands.log", c->dir);
    char sh[] = "/bin/sh", dash_c[] = "-c";
    char *argv[] = {sh, dash_c, command, NULL};
    pid_t pid = spawn(c, argv, output, false);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        FILE *f = fopen(output, "r");
        char line[300];
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            printf("# %s", line);
        bail("%s: status %d", command, status);
    }
}

static void free_port(char *out, size_t size)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        bail("no free port: %s", strerror(errno));
    snprintf(out, size, "%u", ntohs(a.sin_port));
    close(fd);
}

static void nap(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void write_file(const struct pg_cluster *c, const char *name, const char *mode, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", c->dir, name);
    FILE *f = fopen(path, mode);
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        bail("cannot write %s: %s", path, strerror(errno));
}

static void destroy_all(void)
{
    for (size_t i = 0; i < MAX_CLUSTERS; i++)
        if (all[i] != NULL)
            pgc_destroy(all[i]);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

/* A process that outlives us by as long as it takes to remove the directory, should we be killed. */
static void leave_cleaner(const struct pg_cluster *c)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    if (fork() == 0) {
        setsid();
        for (int fd = 0; fd < 256; fd++)
            if (fd != ends[0])
                close(fd);
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        for (int i = 0; i < 100 && access(c->dir, F_OK) == 0; i++) {
            nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
            nap(50); /* the server may still write its last files */
        }
        _exit(0);
    }
    close(ends[0]); /* the other end closes with us */
}

static void make_certificates(struct pg_cluster *c)
{
    run(c,
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-authority -addext "
        "basicConstraints=critical,CA:TRUE && openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr "
        "-subj /CN=localhost && printf 'subjectAltName=DNS:localhost' >ext && openssl x509 -req -in server.csr -CA "
        "ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.crt && chmod 600 server.key && chmod "
        "644 ca.crt");
    snprintf(c->ca, sizeof c->ca, "%s/ca.crt", c->dir);
    snprintf(c->key, sizeof c->key, "%s/server.key", c->dir);
}

static void take_user(struct pg_cluster *c)
{
    c->uid = geteuid();
    c->gid = getegid();
    if (c->uid != 0)
        return;
    const struct passwd *who = getpwnam("postgres");
    if (who == NULL)
        who = getpwnam("nobody");
    if (who == NULL)
        bail("neither a user postgres nor nobody");
    c->uid = who->pw_uid;
    c->gid = who->pw_gid;
    if (chown(c->dir, c->uid, c->gid) < 0)
        bail("chown %s: %s", c->dir, strerror(errno));
}

void pgc_create(struct pg_cluster *c, const char *settings)
{
    static bool registered;
    const char *parent = getenv("TMPDIR");
    memset(c, 0, sizeof *c);
    if (!find_bin(c->bin, sizeof c->bin))
        bail("PostgreSQL's server is not installed");
    /* The name of a socket has room for some hundred bytes only; and root's directories are not for the other user. */
    if (parent == NULL || strlen(parent) > 60 || geteuid() == 0)
        parent = "/tmp";
    snprintf(c->dir, sizeof c->dir, "%s/auditwell-pg.XXXXXX", parent);
    if (mkdtemp(c->dir) == NULL || chmod(c->dir, 0755) < 0)
        bail("%s: %s", c->dir, strerror(errno));
    if (!registered)
        atexit(destroy_all);
    registered = true;
    for (size_t i = 0; i < MAX_CLUSTERS; i++)
        if (all[i] == NULL) {
            all[i] = c;
            break;
        }
    take_user(c);
    leave_cleaner(c);
    run(c, "%s/initdb -D data -A trust -U postgres --no-sync --wal-segsize=1 --locale=C.UTF-8 -E UTF8", c->bin);
    make_certificates(c);
    char text[2000];
    snprintf(text, sizeof text,
             "listen_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nshared_buffers = 32MB\nmax_connections = "
             "30\nssl = on\nssl_cert_file = '%s/server.crt'\nssl_key_file = '%s/server.key'\nlog_min_messages = "
             "warning\nautovacuum = off\nmax_wal_size = 256MB\n%s\n",
             c->dir, c->dir, c->dir, settings != NULL ? settings : "");
    write_file(c, "data/postgresql.conf", "a", text);
    write_file(c, "data/pg_hba.conf", "w",
               "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhostnossl all plain 127.0.0.1/32 "
               "scram-sha-256\n");
    free_port(c->port, sizeof c->port);
    pgc_start(c);
}

static bool is_up(const struct pg_cluster *c)
{
    const char *keys[] = {"host", "port", "user", "dbname", NULL},
               *values[] = {c->dir, c->port, "postgres", "postgres", NULL};
    return PQpingParams(keys, values, 0) == PQPING_OK;
}

void pgc_start(struct pg_cluster *c)
{
    char postgres[300], output[200], data[] = "data", dash_d[] = "-D", dash_p[] = "-p";
    snprintf(postgres, sizeof postgres, "%s/postgres", c->bin);
    snprintf(output, sizeof output, "%s/server.log", c->dir);
    for (int tries = 0; tries < 5; tries++) {
        char *argv[] = {postgres, dash_d, data, dash_p, c->port, NULL};
        c->pid = spawn(c, argv, output, true);
        for (int i = 0; i < 1500; i++) {
            int status;
            if (is_up(c))
                return;
            if (waitpid(c->pid, &status, WNOHANG) == c->pid)
                break; /* somebody else took the port, maybe */
            nap(20);
        }
        if (kill(c->pid, 0) == 0 && waitpid(c->pid, NULL, WNOHANG) == 0)
            bail("the server does not come up: see %s", output);
        c->pid = 0;
        nap(200);
        if (tries == 3)
            free_port(c->port, sizeof c->port);
    }
    bail("the server does not start: see %s", output);
}

/* Calls fn for each process of the cluster: they share the postmaster's pid as parent. */
void pgc_signal_all(struct pg_cluster *c, int sig)
{
    DIR *proc = opendir("/proc");
    struct dirent *d;
    if (c->pid == 0 || proc == NULL)
        bail("no server to signal");
    if (sig == SIGKILL || sig == SIGSTOP)
        kill(c->pid, SIGSTOP); /* first, so that it starts no others, and stays their parent */
    while ((d = readdir(proc)) != NULL) {
        char path[300], line[400];
        pid_t pid = (pid_t)strtol(d->d_name, NULL, 10), ppid = 0;
        snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
        FILE *f = pid > 0 ? fopen(path, "r") : NULL;
        if (f == NULL)
            continue;
        if (fgets(line, sizeof line, f) != NULL && strrchr(line, ')') != NULL)
            sscanf(strrchr(line, ')'), ") %*c %d", &ppid);
        fclose(f);
        if (ppid == c->pid)
            kill(pid, sig);
    }
    closedir(proc);
    if (sig != SIGSTOP)
        kill(c->pid, sig);
}

void pgc_stop(struct pg_cluster *c, int sig)
{
    if (c->pid == 0)
        return;
    if (sig == SIGKILL)
        pgc_signal_all(c, SIGKILL);
    else
        kill(c->pid, sig);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

void pgc_destroy(struct pg_cluster *c)
{
    pgc_stop(c, SIGQUIT);
    if (c->dir[0] != '\0')
        nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    c->dir[0] = '\0';
    for (size_t i = 0; i < MAX_CLUSTERS; i++)
        if (all[i] == c)
            all[i] = NULL;
}

static void ignore_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

PGconn *pgc_connect(struct pg_cluster *c, const char *dbname)
{
    const char *keys[] = {"host", "port", "user", "dbname", NULL},
               *values[] = {c->dir, c->port, "postgres", dbname != NULL ? dbname : "postgres", NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 0);
    if (PQstatus(pg) != CONNECTION_OK)
        bail("%s", PQerrorMessage(pg));
    PQsetNoticeProcessor(pg, ignore_notice, NULL);
    return pg;
}

const char *pgc_sql(struct pg_cluster *c, const char *dbname, const char *sql)
{
    static char out[16384];
    PGconn *pg = pgc_connect(c, dbname);
    PGresult *res = PQexec(pg, sql);
    ExecStatusType t = PQresultStatus(res);
    if (t != PGRES_COMMAND_OK && t != PGRES_TUPLES_OK)
        bail("%s: %s", sql, PQerrorMessage(pg));
    out[0] = '\0';
    if (t == PGRES_TUPLES_OK && PQntuples(res) > 0)
        snprintf(out, sizeof out, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(pg);
    return out;
}
