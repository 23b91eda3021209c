/* canary.c - secrets must be in no byte that is stored or said. SPDX-License-Identifier: Apache-2.0
 *
 * Random canaries go in as passwords, tokens, card numbers, cloud keys, by key, path and pattern, through JSON, builder
 * and contexts, in good events and in refused ones, while file and SQLite sinks run. Then every byte of the staging
 * ring, the segments, the cursors, the stores (with SQLite's log), the quarantine, the diagnostics, the problems and
 * the process's output is searched: after a kill -9 in the middle, after damage and recovery, and after a close in good
 * order. A control text that is no secret must be found, or the search would prove nothing.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "oracle.h"
#include "rig.h"

enum {
    PASSWORD,
    ACCESS_TOKEN,
    ACCESS_TOKEN_2,
    AUTHORIZATION,
    API_KEY,
    BY_KEY,
    BY_PATH,
    BY_ANY_PATH,
    BY_PATTERN,
    CARD,
    AWS_KEY,
    JWT,
    TOP_LEVEL,
    CONTEXT,
    BUILDER,
    BROKEN,
    CANARIES
};
static const char *const canary_names[CANARIES] = {"password",
                                                   "access_token",
                                                   "Access-Token",
                                                   "authorization header",
                                                   "apiKey",
                                                   "configured key",
                                                   "configured path",
                                                   "configured ** path",
                                                   "configured pattern",
                                                   "card number inside text",
                                                   "AKIA key inside a value",
                                                   "JWT inside a value",
                                                   "password as unknown top-level member",
                                                   "password in a context",
                                                   "password through the builder",
                                                   "password in broken JSON"};

struct world {
    struct rig rig;
    char canary[CANARIES][96];
    char control[40];
    char said[500]; /* file that takes stdout, stderr, diagnostics and problems */
};

static void random_text(uint64_t *random, const char *prefix, const char *alphabet, size_t n, char *out)
{
    size_t at = strlen(prefix), letters = strlen(alphabet);
    memcpy(out, prefix, at);
    while (n--)
        out[at++] = alphabet[harness_random(random) % letters];
    out[at] = '\0';
}

/* A Visa-like number with a right check digit. */
static void random_card(uint64_t *random, char out[17])
{
    random_text(random, "4", "0123456789", 14, out);
    unsigned sum = 0;
    for (size_t i = 0; i < 15; i++) {
        unsigned d = (unsigned)(out[i] - '0') * (i % 2 == 0 ? 2u : 1u);
        sum += d > 9 ? d - 9 : d;
    }
    out[15] = (char)('0' + (10 - sum % 10) % 10);
    out[16] = '\0';
}

static void make_canaries(struct world *w)
{
    static const char hex[] = "0123456789abcdef", upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
                      base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    uint64_t random = harness_seed();
    for (size_t i = 0; i < CANARIES; i++)
        random_text(&random, "cnry", hex, 24, w->canary[i]);
    random_card(&random, w->canary[CARD]);
    random_text(&random, "AKIA", upper, 16, w->canary[AWS_KEY]);
    random_text(&random, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx", base64, 20, w->canary[JWT]);
    size_t n = strlen(w->canary[JWT]);
    w->canary[JWT][n] = '.';
    random_text(&random, "", base64, 40, w->canary[JWT] + n + 1);
    random_text(&random, "control", hex, 20, w->control);
}

static void make_world(struct world *w, const char *name)
{
    make_canaries(w);
    rig_init(&w->rig, harness_tmpdir(), name,
             &(struct rig_options){.top = "redaction = { keys = ( \"ssn\" ); paths = ( \"metadata.deep.hidden\", "
                                          "\"metadata.**.inner.hush\" ); patterns = ( \"^secret_\" ); };"});
    (void)snprintf(w->said, sizeof w->said, "%s/said", w->rig.dir);
}

/* ---- what goes in ---- */
static void on_diag(void *arg, int severity, const char *instance, const char *text)
{
    (void)arg;
    (void)fprintf(stderr, "diag %d %s %s\n", severity, instance ? instance : "", text);
}

static void tell(int rc)
{
    if (rc != AW_SUCCESS || *rig_problems())
        (void)fprintf(stderr, "%s: %s\n", aw_error_name(rc), rig_problems());
}

static void log_json(struct aw_logger *logger, const struct world *w, uint64_t number)
{
    char json[3000], id[ORACLE_ID_LEN + 1];
    oracle_event_id(number, id);
    int n = snprintf(
        json, sizeof json,
        "{\"eventId\":\"%s\",\"action\":\"user.login\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":"
        "\"u1\","
        "\"displayName\":\"%s\"},\"context\":{\"tenantId\":\"t1\"},\"metadata\":{\"password\":\"%s\","
        "\"a\":{\"access_token\":\"%s\",\"Access-Token\":\"%s\"},\"http\":{\"headers\":{\"authorization\":"
        "\"Bearer %s\"}},\"apiKey\":\"%s\",\"SSN\":\"%s\",\"deep\":{\"hidden\":\"%s\"},\"x\":[{\"y\":{\"inner\":"
        "{\"hush\":{\"k\":\"%s\"}}}}],\"secret_sauce\":\"%s\",\"note\":\"paid with %s today\",\"cmd\":\"export "
        "K=%s; run\",\"raw\":\"token %s.\"},\"diff\":{\"password\":{\"old\":\"%s\",\"new\":\"%s\"}},"
        "\"passwd\":\"%s\"}",
        id, w->control, w->canary[PASSWORD], w->canary[ACCESS_TOKEN], w->canary[ACCESS_TOKEN_2],
        w->canary[AUTHORIZATION], w->canary[API_KEY], w->canary[BY_KEY], w->canary[BY_PATH], w->canary[BY_ANY_PATH],
        w->canary[BY_PATTERN], w->canary[CARD], w->canary[AWS_KEY], w->canary[JWT], w->canary[PASSWORD],
        w->canary[PASSWORD], w->canary[TOP_LEVEL]);
    tell(aw_log_json(logger, json, (size_t)n, NULL));
    /* Refused: cut off in the middle of the secret, and without an actor. */
    n = snprintf(json, sizeof json, "{\"action\":\"user.login\",\"metadata\":{\"password\":\"%s\",,}}",
                 w->canary[BROKEN]);
    tell(aw_log_json(logger, json, (size_t)n, NULL));
    tell(aw_log_json(logger, json, (size_t)n - 5, NULL));
    n = snprintf(json, sizeof json,
                 "{\"action\":\"user.login\",\"password\":\"%s\",\"metadata\":{\"password\":\"%s\"}}",
                 w->canary[BROKEN], w->canary[BROKEN]);
    tell(aw_log_json(logger, json, (size_t)n, NULL));
}

static void log_builder(struct aw_logger *logger, const struct world *w, uint64_t number)
{
    char id[ORACLE_ID_LEN + 1];
    struct aw_builder *b = aw_builder_create();
    struct aw_context *c = aw_context_create();
    if (!b || !c)
        _exit(96);
    oracle_event_id(number, id);
    (void)aw_context_set(c, "metadata.session.password", w->canary[CONTEXT]);
    (void)aw_set_string(b, "eventId", id);
    (void)aw_set_action(b, "user.login", AW_OUTCOME_DENIED);
    (void)aw_set_actor(b, "user", "u1");
    (void)aw_set_string(b, "metadata.password", w->canary[BUILDER]);
    (void)aw_set_string(b, "metadata.list[]", w->canary[AWS_KEY]);
    (void)aw_set_json(b, "metadata.request", "{\"password\":null}", 17);
    tell(aw_log_in(logger, c, b, NULL));
    aw_builder_destroy(b);
    aw_context_destroy(c);
}

static void redirect(const struct world *w)
{
    int fd = open(w->said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(95);
}

/* Logs for ever, telling the pipe after each event. */
static void live(const struct world *w, int fd)
{
    struct aw_logger *logger;
    redirect(w);
    (void)alarm(60);
    if (rig_open(&w->rig, 0, on_diag, NULL, &logger) != AW_SUCCESS) {
        tell(AW_ERR_CONFIG);
        _exit(94);
    }
    for (uint64_t i = 1;; i += 2) {
        log_json(logger, w, i);
        log_builder(logger, w, i + 1);
        if (i == 201) /* so that there are segments and stores to search */
            (void)aw_flush(logger, 20000);
        if (write(fd, "x", 1) != 1)
            break;
    }
    for (;;)
        (void)pause();
}

static bool live_and_die(const struct world *w, size_t rounds)
{
    int ends[2], status;
    char c;
    if (pipe(ends))
        return false;
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        live(w, ends[1]);
    }
    (void)close(ends[1]);
    for (size_t i = 0; i < rounds && pid > 0; i++)
        if (read(ends[0], &c, 1) != 1)
            break;
    if (pid > 0) { /* before the pipe is closed, which would kill it by SIGPIPE */
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    (void)close(ends[0]);
    return pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

struct calm {
    const struct world *w;
    uint64_t first;
};

static bool live_calmly(void *arg, char *why, size_t size)
{
    const struct calm *calm = arg;
    struct aw_logger *logger;
    redirect(calm->w);
    int rc = rig_open(&calm->w->rig, 0, on_diag, NULL, &logger);
    tell(rc);
    if (rc == AW_SUCCESS) {
        for (uint64_t i = 0; i < 50; i++) {
            log_json(logger, calm->w, calm->first + 2 * i);
            log_builder(logger, calm->w, calm->first + 2 * i + 1);
        }
        rc = aw_flush(logger, 20000);
        int closed = aw_close(logger, 20000);
        rc = rc ? rc : closed;
    }
    if (rc != AW_SUCCESS)
        (void)snprintf(why, size, "%s: %s", aw_error_name(rc), rig_problems());
    (void)fflush(NULL);
    return rc == AW_SUCCESS;
}

/* ---- what came out ---- */
static void search(const struct world *w, const char *when)
{
    char where[600];
    for (size_t i = 0; i < CANARIES; i++) {
        int found = oracle_find_bytes(w->rig.dir, w->canary[i], strlen(w->canary[i]), where, sizeof where);
        if (found)
            harness_note("%s: the %s is in %s", when, canary_names[i], found < 0 ? "(cannot search)" : where);
        CU_ASSERT_EQUAL(found, 0);
    }
    static const char *const parts[] = {"journal", "audit.jsonl", "audit.db"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char path[600];
        (void)snprintf(path, sizeof path, "%s/%s", w->rig.dir, parts[i]);
        int found = oracle_find_bytes(path, w->control, strlen(w->control), where, sizeof where);
        if (found != 1 && i == 2) { /* still in SQLite's log */
            (void)snprintf(path, sizeof path, "%s/audit.db-wal", w->rig.dir);
            found = oracle_find_bytes(path, w->control, strlen(w->control), where, sizeof where);
        }
        if (found != 1)
            harness_note("%s: the control text is not in %s", when, parts[i]);
        CU_ASSERT_EQUAL(found, 1);
    }
}

static void test_killed(void)
{
    struct world w;
    make_world(&w, "killed");
    CU_ASSERT(live_and_die(&w, 150 + (size_t)(harness_seed() % 200)));
    search(&w, "after kill -9");
    struct stat st; /* what was refused was told */
    CU_ASSERT(stat(w.said, &st) == 0 && st.st_size > 0);
}

/* Flips bytes where records are, in each segment of the journal. */
static size_t damaged;
static int damage_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    char c;
    if (type != FTW_F || !S_ISREG(st->st_mode) || strncmp(path + ftw->base, "seg-", 4) != 0)
        return 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (off_t at = 2000; fd >= 0 && at < 20000; at += 5000) {
        if (pread(fd, &c, 1, at) == 1 && c != 0) {
            c = (char)(c ^ 0x20);
            damaged += pwrite(fd, &c, 1, at) == 1;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    return 0;
}

static size_t damage(const struct world *w)
{
    damaged = 0;
    (void)nftw(w->rig.journal, damage_one, 16, FTW_PHYS);
    return damaged;
}

static void test_damaged(void)
{
    struct world w;
    char why[1000], where[600], path[600];
    make_world(&w, "damaged");
    CU_ASSERT(live_and_die(&w, 150));
    CU_ASSERT(damage(&w) > 0);
    struct calm calm = {&w, 1000000};
    bool good = rig_in_child(live_calmly, &calm, 60, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT(good);
    search(&w, "after damage and recovery");
    (void)snprintf(path, sizeof path, "%s/quarantine", w.rig.journal);
    CU_ASSERT_EQUAL(oracle_find_bytes(path, "{", 1, where, sizeof where),
                    1); /* something was set aside, and searched */
}

static void test_closed(void)
{
    struct world w;
    char why[1000];
    make_world(&w, "closed");
    struct calm calm = {&w, 1};
    bool good = rig_in_child(live_calmly, &calm, 60, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT(good);
    search(&w, "after a close in good order");
}

HARNESS_MAIN("canary", {"no secret on disk or in messages after kill -9", test_killed},
             {"none after damage and recovery", test_damaged}, {"none after a close in good order", test_closed})
