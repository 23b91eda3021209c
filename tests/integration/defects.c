/* defects.c - what the predecessor got wrong, one test each. SPDX-License-Identifier: Apache-2.0
 *
 * S11 (caller memory) is in memory.c. S4, S6, S8, S13, S15, S16, S18 belong to parts that are not built yet.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"
#include "oracle.h"
#include "rig.h"

/* ---- helpers ---- */
static struct aw_logger *start(const struct rig *rig)
{
    struct aw_logger *logger = NULL;
    int rc = rig_open(rig, 0, NULL, NULL, &logger);
    if (rc != AW_SUCCESS)
        harness_note("aw_open: %s: %s", aw_error_name(rc), rig_problems());
    CU_ASSERT_EQUAL_FATAL(rc, AW_SUCCESS);
    return logger;
}

static void finish(struct aw_logger *logger)
{
    CU_ASSERT_EQUAL(aw_flush(logger, 20000), AW_SUCCESS);
    CU_ASSERT_EQUAL(aw_close(logger, 20000), AW_SUCCESS);
}

static void log_numbers(struct aw_logger *logger, uint64_t from, uint64_t to)
{
    char json[1024];
    for (uint64_t i = from; i <= to; i++) {
        size_t n = rig_event(i, "hunter2", json, sizeof json);
        int rc = aw_log_json(logger, json, n, NULL);
        if (rc != AW_SUCCESS)
            harness_note("event %" PRIu64 ": %s: %s", i, aw_error_name(rc), rig_problems());
        CU_ASSERT_EQUAL(rc, AW_SUCCESS);
    }
}

static void expect_numbers(const struct rig *rig, uint64_t count)
{
    char why[1000];
    uint64_t *acked = malloc((count + 1) * sizeof *acked);
    CU_ASSERT_PTR_NOT_NULL_FATAL(acked);
    for (uint64_t i = 0; i < count; i++)
        acked[i] = i + 1;
    bool good = oracle_judge(rig->file, rig->sqlite, acked, count, why, sizeof why);
    if (!good)
        harness_note("%s", why);
    CU_ASSERT(good);
    free(acked);
}

static char *read_all(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    char *text = calloc(1, 1u << 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    size_t n = fread(text, 1, (1u << 20) - 1, f);
    (void)fclose(f);
    if (ret_len)
        *ret_len = n;
    return text;
}

static void write_all(const char *path, const char *text, size_t len, const char *mode)
{
    FILE *f = fopen(path, mode);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(fwrite(text, 1, len, f), len);
    CU_ASSERT_EQUAL(fclose(f), 0);
}

/* ---- verifying with a head that is known from elsewhere ---- */
struct found {
    uint64_t total;
    bool kind[16]; /* AW_FINDING_* / 10 */
    char first[600];
};

static void on_finding(void *arg, const struct aw_finding *f)
{
    struct found *found = arg;
    if (!found->total++)
        (void)snprintf(found->first, sizeof found->first, "%d %s: %s", f->kind, f->location, f->message);
    if (f->kind > 0 && f->kind / 10 < 16)
        found->kind[f->kind / 10] = true;
}

static int verify(const char *path, const char *expect_head, struct found *found)
{
    char store[600];
    (void)snprintf(store, sizeof store, "file:%s", path);
    struct aw_store_options so = {.struct_size = sizeof so, .store = store};
    struct aw_verify_options vo = {
        .struct_size = sizeof vo, .threads = 1, .on_finding = on_finding, .arg = found, .expect_head = expect_head};
    struct aw_verify_report rep = {.struct_size = sizeof rep};
    struct aw_store *s;
    memset(found, 0, sizeof *found);
    int rc = aw_store_open(&so, &s);
    if (rc != AW_SUCCESS)
        return rc;
    rc = aw_verify(s, &vo, &rep);
    aw_store_close(s);
    return rc != AW_SUCCESS ? rc : rep.verdict;
}

/* Five events of one tenant in a file, and "tenant:one=HASH" of the last. */
static void five_events(struct rig *rig, const char *name, char head[140])
{
    struct aw_receipt receipt = {.struct_size = sizeof receipt};
    char sinks[600], json[256];
    (void)snprintf(sinks, sizeof sinks, "{ plugin = \"file\"; path = \"%s/%s/audit.jsonl\"; }", harness_tmpdir(), name);
    rig_init(rig, harness_tmpdir(), name, &(struct rig_options){.sinks = sinks});
    struct aw_logger *logger = start(rig);
    for (int i = 0; i < 5; i++) {
        int n = snprintf(json, sizeof json,
                         "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":\"%d\"},"
                         "\"context\":{\"tenantId\":\"one\"}}",
                         i);
        CU_ASSERT_EQUAL(aw_log_json(logger, json, (size_t)n, &receipt), AW_SUCCESS);
    }
    finish(logger);
    (void)snprintf(head, 140, "tenant:one=%s", receipt.hash);
}

static void test_s1(void)
{
    struct rig rig;
    struct found found;
    char head[140];
    five_events(&rig, "s1", head);
    CU_ASSERT_EQUAL(verify(rig.file, head, &found), 0);
    char *text = read_all(rig.file, NULL), *cut = strchr(strchr(text, '\n') + 1, '\n') + 1;
    write_all(rig.file, text, (size_t)(cut - text), "we");
    CU_ASSERT_EQUAL(verify(rig.file, head, &found), 1);
    CU_ASSERT(found.kind[AW_FINDING_TRUNCATED / 10]);
    free(text);
}

static void test_s2(void)
{
    struct rig rig;
    struct found found;
    char head[140];
    five_events(&rig, "s2", head);
    write_all(rig.file, "", 0, "we");
    CU_ASSERT_EQUAL(verify(rig.file, head, &found), 1);
    CU_ASSERT(found.kind[AW_FINDING_MISSING / 10] || found.kind[AW_FINDING_TRUNCATED / 10]);
    CU_ASSERT_EQUAL(unlink(rig.file), 0);
    CU_ASSERT_NOT_EQUAL(verify(rig.file, head, &found), 0);
}

/* Rewrites a line's integrity for the event as it now stands, and returns the new hash. Knows the format by itself. */
static void reseal(const char *line, size_t len, const char *prev, char hash[65], FILE *out)
{
    static const char member[] = "\"integrity\":{";
    const char *from = memmem(line, len, member, sizeof member - 1), *to = from ? strchr(from, '}') + 2 : NULL;
    char payload[4096];
    unsigned char digest[32];
    unsigned int n;
    CU_ASSERT_PTR_NOT_NULL_FATAL(from);
    int size = snprintf(payload, sizeof payload, "{\"event\":%.*s%.*s%s%s%s}", (int)(from - line), line,
                        (int)(line + len - to), to, *prev ? ",\"prevHash\":\"" : "", prev, *prev ? "\"" : "");
    CU_ASSERT_EQUAL(EVP_Digest(payload, (size_t)size, digest, &n, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(hash + 2 * i, 3, "%02x", digest[i]);
    /* The old member with hashes replaced. */
    char integrity[512];
    (void)snprintf(integrity, sizeof integrity, "%.*s", (int)(to - from), from);
    memcpy(strstr(integrity, "\"hash\":\"") + 8, hash, 64);
    if (*prev)
        memcpy(strstr(integrity, "\"prevHash\":\"") + 12, prev, 64);
    (void)fprintf(out, "%.*s%s%.*s\n", (int)(from - line), line, integrity, (int)(line + len - to), to);
}

static void test_s3(void)
{
    struct rig rig;
    struct found found;
    char head[140], prev[65] = "", hash[65];
    five_events(&rig, "s3", head);
    char *text = read_all(rig.file, NULL), *line = text;
    memcpy(strstr(text, "\"id\":\"0\""), "\"id\":\"9\"", 8);
    FILE *out = fopen(rig.file, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    for (char *nl; (nl = strchr(line, '\n')); line = nl + 1) {
        reseal(line, (size_t)(nl - line), prev, hash, out);
        memcpy(prev, hash, 65);
    }
    CU_ASSERT_EQUAL(fclose(out), 0);
    /* Without any anchor the forgery is consistent: what the chain alone cannot show. With the known head it is found.
     */
    CU_ASSERT_EQUAL(verify(rig.file, NULL, &found), 0);
    if (found.total)
        harness_note("%s", found.first);
    CU_ASSERT_EQUAL(verify(rig.file, head, &found), 1);
    CU_ASSERT(found.total > 0);
    free(text);
}

static void test_s5(void)
{
    struct rig rig;
    rig_init(&rig, harness_tmpdir(), "s5", NULL);
    for (uint64_t life = 0; life < 4; life++) {
        struct aw_logger *logger = start(&rig);
        log_numbers(logger, life * 25 + 1, life * 25 + 25);
        finish(logger);
    }
    expect_numbers(&rig, 100);
    rig_remove(&rig);
}

static void test_s7(void)
{
    static const char torn[] = "{\"action\":\"torn.line\",\"actor\":{\"id\":\"torn-7d1f";
    struct rig rig;
    char where[600];
    rig_init(&rig, harness_tmpdir(), "s7", NULL);
    struct aw_logger *logger = start(&rig);
    log_numbers(logger, 1, 20);
    finish(logger);
    write_all(rig.file, torn, sizeof torn - 1, "ae"); /* as a crash in the middle of a write leaves it */
    logger = start(&rig);
    log_numbers(logger, 21, 40);
    finish(logger);
    expect_numbers(&rig, 40);
    char *text = read_all(rig.file, NULL);
    CU_ASSERT_PTR_NULL(strstr(text, "torn.line"));
    free(text);
    /* The bytes are not thrown away. */
    CU_ASSERT_EQUAL(oracle_find_bytes(rig.dir, "torn-7d1f", 9, where, sizeof where), 1);
    rig_remove(&rig);
}

static void test_s9(void)
{
    struct rig rig;
    struct aw_logger *logger = NULL;
    char path[600];
    size_t n;
    rig_init(&rig, harness_tmpdir(), "s9",
             &(struct rig_options){.top = "redaction = {\n  patterns = ( \"^ok_\", \"secret_[\" );\n};"});
    (void)snprintf(path, sizeof path, "%s/audit.conf", rig.dir);
    write_all(path, rig.config, strlen(rig.config), "we");
    struct aw_open_options o = {.struct_size = sizeof o, .config_path = path};
    CU_ASSERT_EQUAL(aw_open(&o, &logger), AW_ERR_CONFIG);
    const struct aw_problem *const *p = aw_problems(&n);
    CU_ASSERT_EQUAL_FATAL(n, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(p[0]->path, "audit.conf:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(p[0]->message, "secret_["));
    char *text = read_all(path, NULL), *bad = strstr(text, "secret_[");
    unsigned line = 1, said = 0;
    for (const char *c = text; c < bad; c++)
        line += *c == '\n';
    const char *colon = strstr(p[0]->path, "audit.conf:");
    said = colon ? (unsigned)strtoul(colon + 11, NULL, 10) : 0;
    harness_note("%s: %s", p[0]->path, p[0]->message);
    CU_ASSERT_EQUAL(said, line);
    CU_ASSERT_EQUAL(access(rig.journal, F_OK), -1); /* nothing was started */
    free(text);
    rig_remove(&rig);
}

static void test_s10(void)
{
    static const char *const secrets[] = {
        "tok-3f2a",
        "tok-99b1",
        "tok-4c4c",
        "tok-8e0d",
        "4111111111111111",
        "5555 5555 5555 4444",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "MIIEpAIBAAKCAQEA7f"};
    static const char json[] =
        "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":\"1\"},\"eventId\":\"ev-"
        "0000000000000001\","
        "\"metadata\":{\"access_token\":\"tok-3f2a\",\"accessToken\":\"tok-99b1\",\"Access-Token\":\"tok-4c4c\","
        "\"ACCESSTOKEN\":\"tok-8e0d\",\"text\":\"card 4111111111111111 and 5555 5555 5555 4444\","
        "\"env\":\"AWS=AKIAIOSFODNN7EXAMPLE\",\"jwt\":\"x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
        "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U y\",\"pem\":\"-----BEGIN RSA PRIVATE "
        "KEY-----\\nMIIEpAIBAAKCAQEA7f\\n"
        "-----END RSA PRIVATE KEY-----\",\"order\":\"4111111111111112\",\"tokenizer\":\"bpe\"}}";
    struct rig rig;
    char where[600];
    rig_init(&rig, harness_tmpdir(), "s10", NULL);
    struct aw_logger *logger = start(&rig);
    CU_ASSERT_EQUAL(aw_log_json(logger, json, sizeof json - 1, NULL), AW_SUCCESS);
    finish(logger);
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        int found = oracle_find_bytes(rig.dir, secrets[i], strlen(secrets[i]), where, sizeof where);
        if (found)
            harness_note("%s is in %s", secrets[i], where);
        CU_ASSERT_EQUAL(found, 0);
    }
    /* No card by Luhn, and no secret by its name: they stay. */
    char *text = read_all(rig.file, NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "4111111111111112"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"tokenizer\":\"bpe\""));
    free(text);
    expect_numbers(&rig, 1);
    rig_remove(&rig);
}

/* Which sink is it, by name. */
static bool sink_stats(struct aw_logger *logger, const char *name, struct aw_sink_stats *ret)
{
    struct aw_stats s = {.struct_size = sizeof s};
    CU_ASSERT_EQUAL(aw_stats(logger, &s), AW_SUCCESS);
    for (size_t i = 0; i < s.sinks; i++) {
        memset(ret, 0, sizeof *ret);
        ret->struct_size = sizeof *ret;
        if (aw_stats_sink(logger, i, ret) == AW_SUCCESS && !strcmp(ret->name, name))
            return true;
    }
    return false;
}

static bool wait_acked(struct aw_logger *logger, const char *name, uint64_t seq)
{
    struct aw_sink_stats s;
    for (int i = 0; i < 2000; i++) {
        if (sink_stats(logger, name, &s) && s.acked_seq >= seq)
            return true;
        (void)usleep(5000);
    }
    return false;
}

static void test_s12(void)
{
    struct rig rig;
    struct aw_sink_stats s;
    char sinks[1500], blocked[500], path[600], why[1000], store[700];
    (void)snprintf(blocked, sizeof blocked, "%s/s12/blocked", harness_tmpdir());
    (void)snprintf(path, sizeof path, "%s/audit.jsonl", blocked);
    (void)snprintf(sinks, sizeof sinks,
                   "{ plugin = \"file\"; name = \"down\"; path = \"%s\"; retry = { base = \"1ms\"; cap = \"5ms\"; };"
                   " breaker = { cooldown = \"5ms\"; }; },\n"
                   "{ plugin = \"file\"; name = \"up\"; path = \"%s/s12/audit.jsonl\"; },\n"
                   "{ plugin = \"sqlite\"; name = \"db\"; path = \"%s/s12/audit.db\"; }",
                   path, harness_tmpdir(), harness_tmpdir());
    rig_init(&rig, harness_tmpdir(), "s12", &(struct rig_options){.sinks = sinks});
    /* The sink's directory is a link into nowhere: it cannot be opened, whoever runs this. */
    CU_ASSERT_EQUAL(symlink("nowhere/at/all", blocked), 0);
    struct aw_logger *logger = start(&rig);
    log_numbers(logger, 1, 300);
    CU_ASSERT(wait_acked(logger, "up", 300));
    CU_ASSERT(wait_acked(logger, "db", 300));
    CU_ASSERT(sink_stats(logger, "down", &s));
    CU_ASSERT_EQUAL(s.acked_seq, 0);
    CU_ASSERT_EQUAL(s.written_total, 0);
    CU_ASSERT_EQUAL(s.lag_events, 300);
    CU_ASSERT_NOT_EQUAL(s.last_error_text[0], '\0');
    CU_ASSERT_EQUAL(aw_flush(logger, 50), AW_ERR_TIMEOUT);
    expect_numbers(&rig, 300); /* the two others have everything */
    /* It works again: it gets all it missed, in order. */
    CU_ASSERT_EQUAL(unlink(blocked), 0);
    CU_ASSERT_EQUAL(mkdir(blocked, 0700), 0);
    log_numbers(logger, 301, 330);
    finish(logger);
    expect_numbers(&rig, 330);
    struct oracle_list list;
    CU_ASSERT(oracle_read_file(path, &list, why, sizeof why));
    CU_ASSERT_EQUAL(list.count, 330);
    uint64_t none = 0;
    CU_ASSERT(oracle_check(&none, 0, &list, why, sizeof why));
    (void)snprintf(store, sizeof store, "file:%s", path);
    CU_ASSERT(oracle_verify(store, 330, why, sizeof why));
    oracle_free(&list);
    rig_remove(&rig);
}

/* Counts the calls that put bytes on the disk: none is made to fail. */
static uint64_t syncs_during(struct aw_logger *logger, const char *json, size_t len, bool sync)
{
    inject_arm(&(struct inject_plan){.kind = INJECT_SYNC, .nth = UINT64_MAX});
    int rc = aw_log_json(logger, json, len, NULL);
    if (rc == AW_SUCCESS && sync)
        rc = aw_sync(logger, 10000);
    uint64_t n = inject_calls();
    inject_disarm();
    CU_ASSERT_EQUAL(rc, AW_SUCCESS);
    return n;
}

static void test_s14(void)
{
    static const char json[] = "{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":\"1\"}}";
    struct rig rig;
    struct aw_logger *logger;
    const struct rig_options disk = {.durability = "disk", .sinks = "{ plugin = \"null\"; }"};
    const struct rig_options process = {.sinks = "{ plugin = \"null\"; }", .journal = "sync_interval = \"0s\";"};
    struct aw_stats s = {.struct_size = sizeof s};
    rig_init(&rig, harness_tmpdir(), "s14-disk", &disk);
    CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, NULL, NULL, &logger), AW_SUCCESS);
    for (uint64_t i = 1; i <= 5; i++) {
        CU_ASSERT(syncs_during(logger, json, sizeof json - 1, false) >= 1);
        CU_ASSERT_EQUAL(aw_stats(logger, &s), AW_SUCCESS);
        CU_ASSERT_EQUAL(s.durable_seq, i);
    }
    CU_ASSERT_EQUAL(aw_close(logger, 10000), AW_SUCCESS);
    rig_remove(&rig);
    rig_init(&rig, harness_tmpdir(), "s14-process", &process);
    CU_ASSERT_EQUAL_FATAL(rig_open(&rig, 0, NULL, NULL, &logger), AW_SUCCESS);
    CU_ASSERT(syncs_during(logger, json, sizeof json - 1, true) >= 1);
    CU_ASSERT_EQUAL(aw_stats(logger, &s), AW_SUCCESS);
    CU_ASSERT_EQUAL(s.durable_seq, 1);
    CU_ASSERT_EQUAL(aw_close(logger, 10000), AW_SUCCESS);
    rig_remove(&rig);
}

/* What stands in the database verifies, because what was hashed is what is kept: also values that a database would
 * render differently (numbers, unusual times, empty objects, escapes). */
static void test_s17(void)
{
    static const char *const events[] = {"{\"action\":\"a.b\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"u\",\"id\":"
                                         "\"1\"},\"eventId\":\"ev-0000000000000001\","
                                         "\"context\":{\"occurredAt\":\"2024-02-29T23:59:59.123456Z\"},\"metadata\":{"
                                         "\"n\":1e21,\"m\":0.1,\"z\":-0,\"e\":{},\"l\":[]}}",
                                         "{\"action\":\"a.b\",\"outcome\":\"ERROR\",\"actor\":{\"type\":\"u\",\"id\":"
                                         "\"\\u00e9\\n\\\"\",\"roles\":[\"b\",\"a\"]},"
                                         "\"eventId\":\"ev-0000000000000002\",\"context\":{\"occurredAt\":\"2024-03-"
                                         "01T01:00:00+01:00\"},\"diff\":{\"x\":"
                                         "{\"old\":null,\"new\":\"\\ud83d\\ude00\"}}}",
                                         "{\"eventId\":\"ev-0000000000000003\",\"actor\":{\"id\":\"1\",\"type\":\"u\"},"
                                         "\"outcome\":\"DENIED\",\"action\":\"a.b\","
                                         "\"metadata\":{\"b\":1,\"a\":2,\"\\u20ac\":3,\"\\ud83d\\ude00\":4}}"};
    struct rig rig;
    rig_init(&rig, harness_tmpdir(), "s17", NULL);
    struct aw_logger *logger = start(&rig);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        int rc = aw_log_json(logger, events[i], strlen(events[i]), NULL);
        if (rc != AW_SUCCESS)
            harness_note("%s", rig_problems());
        CU_ASSERT_EQUAL(rc, AW_SUCCESS);
    }
    finish(logger);
    expect_numbers(&rig, 3); /* judged in both stores; the database's chain verifies from the database */
    rig_remove(&rig);
}

HARNESS_MAIN("defects", {"S1: a cut-off end is reported", test_s1},
             {"S2: an emptied or missing trail is reported", test_s2},
             {"S3: a re-hashed history is reported by a known head", test_s3},
             {"S5: chains continue across restarts", test_s5}, {"S7: a torn line costs no acknowledged event", test_s7},
             {"S9: an invalid pattern refuses to start", test_s9},
             {"S10: token names in any spelling, secrets inside values", test_s10},
             {"S12: one failing sink delays and loses nothing", test_s12},
             {"S14: durability means fdatasync", test_s14}, {"S17: what is in the database verifies", test_s17})
