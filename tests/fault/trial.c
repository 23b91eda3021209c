/* trial.c - auditwell-trial: your own configuration under kill -9. SPDX-License-Identifier: Apache-2.0
 *
 *   auditwell-trial -c audit.conf [-n KILLS] [-t THREADS] [-e EVENTS] [-A ACTION] [-s SEED]
 *                   [-w SECONDS] [-d DIR] [-a SINK | -a SINK.OPTION]… [-r SINK]… [-k]
 *
 * A process that opens a copy of the configuration, led into a scratch directory, logs events with numbers of ours and
 * is killed at a random moment, again and again. This process counts an event as owed once its call returned OK. In the
 * end each sink that can be read is asked for what it has: nothing owed may be missing or altered, nothing may be there
 * twice, out of order, or without ever having been issued. docs/faults.md is the guide.
 */
#include "config.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "audit/audit.h"
#include "judge.h"
#include "oracle.h"
#include "trial.h"

#define MAX_THREADS 64

struct trial {
    struct trial_copy copy;
    unsigned kills, threads, events, wait_seconds;
    uint64_t seed, random;
    const char *action, *parent;
    bool keep, unsealed;
    const char *repeating[TRIAL_MAX_SINKS]; /* sinks that keep no ids: events may be there again */
    size_t repeating_count;
    char scratch[400];
    struct judge_event *owed;
    size_t owed_count, owed_room;
    uint64_t lost, unexplained;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "auditwell-trial: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void print_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(stderr, "auditwell-trial: %s: %s\n", p[i]->path, p[i]->message);
}

static void owe(struct trial *t, const struct judge_event *e)
{
    if (t->owed_count == t->owed_room) {
        t->owed_room = t->owed_room ? t->owed_room * 2 : 65536;
        t->owed = realloc(t->owed, t->owed_room * sizeof *t->owed);
        if (!t->owed)
            die("realloc");
    }
    t->owed[t->owed_count++] = *e;
}

/* ---- the process that is killed ---- */
struct producer {
    const struct trial *trial;
    struct aw_logger *logger;
    uint64_t first;
    int pipe;
};

static int log_one(const struct trial *t, struct aw_logger *logger, uint64_t number, struct judge_event *ret)
{
    char json[1024], id[ORACLE_ID_LEN + 1];
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    oracle_event_id(number, id);
    int n = snprintf(json, sizeof json,
                     "{\"eventId\":\"%s\",\"action\":\"%s\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"service\","
                     "\"id\":\"auditwell-trial\"},"
                     "\"target\":{\"type\":\"document\",\"id\":\"d%u\"},\"context\":{\"tenantId\":\"trial-%u\","
                     "\"requestId\":\"r%u\"},"
                     "\"metadata\":{\"trial\":true,\"n\":%u}}",
                     id, t->action, (unsigned)(number % 89), (unsigned)(number % JUDGE_SCOPES),
                     (unsigned)(number % 1000), (unsigned)(number % 100000));
    int rc = n < 0 || (size_t)n >= sizeof json ? AW_ERR_USAGE : aw_log_json(logger, json, (size_t)n, &receipt);
    *ret = (struct judge_event){number, judge_hash(receipt.hash)};
    return rc;
}

static void *produce(void *arg)
{
    const struct producer *p = arg;
    struct judge_event e;
    for (uint64_t i = 0; i < p->trial->events; i++)
        if (log_one(p->trial, p->logger, p->first + i, &e) == AW_SUCCESS &&
            write(p->pipe, &e, sizeof e) != (ssize_t)sizeof e)
            break;
    return NULL;
}

static struct aw_logger *open_copy(const struct trial *t)
{
    struct aw_open_options o = {.struct_size = sizeof o, .config_path = t->copy.copy};
    struct aw_logger *logger;
    if (aw_open(&o, &logger) == AW_SUCCESS)
        return logger;
    print_problems();
    return NULL;
}

static void live(const struct trial *t, uint64_t life, int fd)
{
    static struct producer p[MAX_THREADS];
    pthread_t thread;
    struct aw_logger *logger = open_copy(t);
    if (!logger)
        _exit(1);
    for (uint64_t i = 0; i < t->threads; i++) {
        p[i] = (struct producer){t, logger, life << 40 | i << 32 | 1u, fd};
        if (pthread_create(&thread, NULL, produce, &p[i]))
            _exit(1);
    }
    for (;;) /* delivery goes on; the end comes from outside */
        (void)pause();
}

/* ---- the process that counts ---- */
static bool take(struct trial *t, int fd)
{
    struct judge_event buffer[256];
    ssize_t n = read(fd, buffer, sizeof buffer);
    for (ssize_t i = 0; n > 0 && i < n / (ssize_t)sizeof buffer[0]; i++)
        owe(t, &buffer[i]);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* Every third life ends by the clock, also while it opens; the others after so many answers. */
static void watch(struct trial *t, int fd)
{
    bool by_clock = next_random(&t->random) % 3 == 0;
    double until = seconds() + (by_clock ? (double)(next_random(&t->random) % 50000) * 1e-6 : 30);
    size_t enough = 1 + next_random(&t->random) % (t->threads * t->events * 3 / 4 + 1), begin = t->owed_count;
    while (by_clock || t->owed_count - begin < enough) {
        double left = until - seconds();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || (poll(&p, 1, (int)(left * 1000) + 1) > 0 && !take(t, fd)))
            return;
    }
}

static bool one_life(struct trial *t, uint64_t life)
{
    int ends[2], status;
    if (pipe(ends))
        die("pipe");
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        (void)close(ends[0]);
        live(t, life, ends[1]);
    }
    (void)close(ends[1]);
    watch(t, ends[0]);
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    while (take(t, ends[0])) /* what was answered before the kill, and not read yet */
        ;
    (void)close(ends[0]);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    printf("# life %" PRIu64 " ended by itself: %s %d\n", life, WIFSIGNALED(status) ? "signal" : "exit status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

/* ---- the end ---- */
static bool issued(const void *arg, uint64_t number)
{
    const struct trial *t = arg;
    uint64_t life = number >> 40, thread = number >> 32 & 0xff, i = (uint32_t)number;
    return life >= 1 && life <= t->kills + 1 && thread < t->threads && i >= 1 && i <= t->events;
}

/* One more life, in which all is delivered. */
static bool last_life(struct trial *t)
{
    struct judge_event e;
    struct aw_logger *logger = open_copy(t);
    if (!logger)
        return false;
    for (uint64_t i = 1; i <= 10 && i <= t->events; i++)
        if (log_one(t, logger, (uint64_t)(t->kills + 1) << 40 | i, &e) == AW_SUCCESS)
            owe(t, &e);
    int rc = aw_flush(logger, (int)t->wait_seconds * 1000);
    if (rc != AW_SUCCESS) {
        printf("# not all was delivered in %u s: %s\n", t->wait_seconds, aw_error_name(rc));
        print_problems();
    }
    for (size_t i = 0; i < t->copy.sink_count; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        if (aw_stats_sink(logger, i, &s) == AW_SUCCESS && (s.lag_events || s.lost_total || s.last_error_text[0]))
            printf("# sink %s: %" PRIu64 " events wait, %" PRIu64 " are lost; last error: %s\n", s.name, s.lag_events,
                   s.lost_total, s.last_error_text[0] ? s.last_error_text : "none");
    }
    (void)aw_close(logger, 1000);
    return rc == AW_SUCCESS;
}

/* An event that a sink has refused is not lost: it is kept with the reason. */
struct letters {
    uint64_t *missing;
    size_t count, room, found;
};

static void note_missing(void *arg, uint64_t number)
{
    struct letters *l = arg;
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 1024;
        l->missing = realloc(l->missing, l->room * sizeof *l->missing);
        if (!l->missing)
            die("realloc");
    }
    l->missing[l->count++] = number;
}

static int look_at_letter(void *arg, const struct aw_deadletter *letter)
{
    struct letters *l = arg;
    char id[64] = "";
    uint64_t number;
    if (aw_json_field(letter->json, letter->json_len, "eventId", id, sizeof id) <= 0 ||
        !oracle_number(id, strlen(id), &number))
        return 0;
    for (size_t i = 0; i < l->count; i++)
        l->found += l->missing[i] == number;
    return 0;
}

static void look_at_letters(const struct trial *t, const char *sink, struct letters *l)
{
    struct aw_deadletters_options o = {.struct_size = sizeof o, .config_path = t->copy.copy};
    struct aw_deadletters *d;
    if (l->count == 0 || aw_deadletters_open(&o, &d) != AW_SUCCESS)
        return;
    (void)aw_deadletters_read(d, sink, 0, 0, look_at_letter, l);
    aw_deadletters_close(d);
}

static bool may_repeat(const struct trial *t, const char *sink)
{
    for (size_t i = 0; i < t->repeating_count; i++)
        if (strcmp(t->repeating[i], sink) == 0)
            return true;
    return false;
}

/* false: the sink cannot be read back. */
static bool judge(struct trial *t, const char *sink)
{
    struct judge_report r;
    struct letters letters = {.count = 0};
    bool readable;
    struct judge_case c = {.config_path = t->copy.copy,
                           .store = sink,
                           .owed = t->owed,
                           .owed_count = t->owed_count,
                           .issued = issued,
                           .arg = t};
    judge_on_missing = note_missing;
    judge_on_missing_arg = &letters;
    bool good = judge_store(&c, &r, &readable);
    if (!good && !readable) {
        printf("# sink %s: NOT JUDGED, since it cannot be read back: %s\n", sink, r.first);
        return false;
    }
    look_at_letters(t, sink, &letters);
    bool repeats = may_repeat(t, sink);
    /* integrity.mode = "none": there is nothing to verify. What is there again breaks order and chain. */
    uint64_t findings = t->unsealed || repeats ? 0 : r.findings;
    printf("# sink %s: %" PRIu64 " events, %" PRIu64 " missing (%zu of them in its dead letters), %" PRIu64
           " altered, %" PRIu64 " twice, %" PRIu64 " out of order, %" PRIu64 " never issued, %" PRIu64
           " findings, %" PRIu64 " gaps of %" PRIu64 " events\n",
           sink, r.rows, r.missing, letters.found, r.altered, r.twice, r.disordered, r.foreign, findings, r.gaps,
           r.gap_events);
    if (r.first[0] && (letters.found < r.missing || r.altered + r.twice + r.disordered + r.foreign + findings || !good))
        printf("# sink %s: %s\n", sink, r.first);
    t->lost += r.missing - letters.found;
    t->unexplained += r.altered + (repeats ? 0 : r.twice + r.disordered) + r.foreign + findings + !good;
    free(letters.missing);
    return true;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* ---- the command ---- */
static void usage(void)
{
    (void)fputs("usage: auditwell-trial -c AUDIT_CONF [-n KILLS] [-t THREADS] [-e EVENTS] [-A ACTION] [-s SEED]\n"
                "                       [-w SECONDS] [-d DIR] [-a SINK | -a SINK.OPTION]... [-r SINK]... [-k]\n",
                stderr);
    exit(2);
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end || n < least || n > most)
        usage();
    return (unsigned)n;
}

static void read_options(struct trial *t, int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "c:n:t:e:A:s:w:d:a:r:k")) != -1) {
        if (c == 'c')
            t->copy.config = optarg;
        else if (c == 'n')
            t->kills = number(optarg, 1, 1000000);
        else if (c == 't')
            t->threads = number(optarg, 1, MAX_THREADS);
        else if (c == 'e')
            t->events = number(optarg, 1, 1000000);
        else if (c == 'A' && !strpbrk(optarg, "\"\\") && strlen(optarg) < 200)
            t->action = optarg;
        else if (c == 's')
            t->seed = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            t->wait_seconds = number(optarg, 1, 1000000);
        else if (c == 'd')
            t->parent = optarg;
        else if (c == 'a' && t->copy.allowed_count < TRIAL_MAX_ALLOWED)
            t->copy.allowed[t->copy.allowed_count++] = optarg;
        else if (c == 'r' && t->repeating_count < TRIAL_MAX_SINKS)
            t->repeating[t->repeating_count++] = optarg;
        else if (c == 'k')
            t->keep = true;
        else
            usage();
    }
    if (!t->copy.config || optind != argc)
        usage();
}

static bool run(struct trial *t)
{
    unsigned killed = 0;
    uint64_t sealed = 0;
    while (killed < t->kills && one_life(t, killed + 1))
        killed++;
    t->unexplained += killed < t->kills;
    size_t before = t->owed_count;
    bool good = last_life(t) && killed == t->kills;
    t->unexplained += !good;
    for (size_t i = 0; i < t->owed_count; i++)
        sealed |= t->owed[i].hash;
    t->unsealed = !sealed;
    judge_sort(t->owed, t->owed_count);
    size_t judged = 0;
    for (size_t i = 0; i < t->copy.sink_count; i++)
        judged += judge(t, t->copy.sinks[i].name);
    if (before == 0 || judged == 0) {
        printf("# %s: nothing is shown by this\n", before ? "no sink can be read back" : "no event was accepted");
        t->unexplained++;
    }
    printf("fault trial: tried=%u lost=%" PRIu64 " unexplained=%" PRIu64 " seed=%" PRIu64 ", %zu events acknowledged\n",
           killed, t->lost, t->unexplained, t->seed, t->owed_count);
    return t->lost == 0 && t->unexplained == 0;
}

int main(int argc, char **argv)
{
    static struct trial t = {.kills = 100, .threads = 3, .events = 500, .wait_seconds = 300, .action = "trial.event"};
    t.parent = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
    if (getrandom(&t.seed, 4, 0) != 4) /* short enough to be typed again */
        die("getrandom");
    read_options(&t, argc, argv);
    t.random = t.seed;
    if ((size_t)snprintf(t.scratch, sizeof t.scratch, "%s/auditwell-trial.XXXXXX", t.parent) >= sizeof t.scratch) {
        errno = ENAMETOOLONG;
        die(t.parent);
    }
    if (!mkdtemp(t.scratch))
        die(t.scratch);
    t.copy.scratch = t.scratch;
    printf("# a trial of %s in %s; neither its journal nor its stores are touched\n", t.copy.config, t.scratch);
    int status = 2;
    if (trial_copy_config(&t.copy))
        status = run(&t) ? 0 : 1;
    if (t.keep)
        printf("# kept: %s\n", t.scratch);
    else
        (void)nftw(t.scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(t.owed);
    return status;
}
