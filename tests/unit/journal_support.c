/* journal_support.c - see journal_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "journal_support.h"

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>

_Atomic unsigned support_diag_count;
char support_diag_text[1024];

void support_diag(void *arg, int severity, const char *instance, const char *text)
{
    (void)arg;
    (void)instance;
    if (severity >= AW_LOG_WARNING)
        support_diag_count++;
    static _Atomic int busy; /* several threads may warn: one text is enough */
    if (atomic_exchange(&busy, 1) == 0) {
        snprintf(support_diag_text, sizeof support_diag_text, "%s", text);
        atomic_store(&busy, 0);
    }
    if (getenv("SUPPORT_VERBOSE"))
        harness_note("%d %s", severity, text);
}

static void add_field(struct prepared *p, uint32_t id, const char *json, const char *key, size_t len)
{
    const char *at = strstr(json, key);
    if (!at)
        abort();
    p->fields[p->field_count++] = (struct field_ref){(uint32_t)(at + strlen(key) - json) << 8 | id, (uint32_t)len << 4};
}

const struct prepared *support_event(const char *tenant, uint64_t number, size_t pad)
{
    static _Thread_local char json[1 << 20];
    static _Thread_local struct prepared p;
    char filler[64 + 1], scope[128];
    memset(filler, 'x', sizeof filler - 1);
    filler[64] = '\0';
    p = (struct prepared){.occurred_ns = 1767225600000000000};
    snprintf(scope, sizeof scope, tenant ? "\"tenantId\":\"%s\"" : "\"sourceService\":\"unit\"%s",
             tenant ? tenant : "");
    int n = snprintf(json, sizeof json,
                     "{\"action\":\"user.login\",\"actor\":{\"id\":\"u-%" PRIu64 "\",\"type\":\"user\"},\"context\":{"
                     "\"occurredAt\":\"2026-01-01T00:00:00.000Z\",%s},\"eventId\":\"e-%" PRIu64 "\",",
                     number, scope, number);
    p.integrity_at = (uint32_t)n;
    n += snprintf(json + n, sizeof json - (size_t)n, "\"metadata\":{\"pad\":\"");
    for (; pad > 0; pad -= pad < 64 ? pad : 64)
        n += snprintf(json + n, sizeof json - (size_t)n, "%.*s", (int)(pad < 64 ? pad : 64), filler);
    n += snprintf(json + n, sizeof json - (size_t)n, "\"},\"outcome\":\"SUCCESS\",\"schemaVersion\":1}");
    p.json = json;
    p.json_len = (uint32_t)n;
    p.scope_is_tenant = tenant != NULL;
    char digits[24];
    size_t width = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);
    add_field(&p, AW_FIELD_EVENT_ID, json, "\"eventId\":\"", width + 2);
    add_field(&p, AW_FIELD_ACTION, json, "\"action\":\"", 10);
    add_field(&p, AW_FIELD_ACTOR_ID, json, "\"actor\":{\"id\":\"", width + 2);
    if (tenant)
        add_field(&p, AW_FIELD_TENANT_ID, json, "\"tenantId\":\"", strlen(tenant));
    else
        add_field(&p, AW_FIELD_SOURCE_SERVICE, json, "\"sourceService\":\"", 4);
    struct field_ref f = p.fields[p.field_count - 1];
    p.scope_value = (struct aw_str){json + field_offset(f), field_len(f)};
    return &p;
}

const char *support_path(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", harness_tmpdir(), name);
    return path;
}

struct journal_options support_options(const char *path)
{
    return (struct journal_options){.path = path,
                                    .max_size = 64u << 20,
                                    .segment_size = 1u << 20,
                                    .ring_size = 256u << 10,
                                    .sync_interval_ns = 0,
                                    .chained = true,
                                    .diag = {support_diag, NULL}};
}

const char *support_problems(void)
{
    static _Thread_local char text[32768];
    size_t count = 0, at = 0;
    const struct aw_problem *const *problems = aw_problems(&count);
    text[0] = '\0';
    for (size_t i = 0; i < count && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "\n" : "", problems[i]->message);
    return text;
}

struct journal *support_open(const struct journal_options *options)
{
    struct journal *j = NULL;
    diag_reset();
    int rc = journal_open(options, &j);
    if (rc == 0)
        return j;
    harness_note("journal_open: %s: %s", strerror(-rc), support_problems());
    return NULL;
}

uint64_t support_fill(struct journal *j, uint64_t first, uint64_t n, unsigned tenants, size_t pad)
{
    struct journal_receipt r = {0};
    char tenant[32];
    for (uint64_t i = first; i < first + n; i++) {
        snprintf(tenant, sizeof tenant, "t%u", (unsigned)(i % tenants));
        int rc = journal_append(j, support_event(tenant, i, pad), UINT64_MAX, &r);
        if (rc != 0) {
            CU_ASSERT_EQUAL(rc, 0);
            return r.seq;
        }
    }
    return r.seq;
}

uint64_t support_number(const struct record_view *v)
{
    struct field_ref f;
    char text[32] = "";
    if (!record_field(v, AW_FIELD_EVENT_ID, &f) || field_len(f) >= sizeof text)
        return 0;
    memcpy(text, v->json + field_offset(f), field_len(f));
    return strtoull(text + 2, NULL, 10);
}

/* SHA-256 over {"event":E,"prevHash":P}, written independently of core/seal. */
static void expected_hash(const struct record_view *v, uint8_t out[32])
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    unsigned len = 0;
    char hex[65];
    EVP_DigestInit_ex(c, EVP_sha256(), NULL);
    EVP_DigestUpdate(c, "{\"event\":", 9);
    EVP_DigestUpdate(c, v->json, v->head->json_len);
    if (!(v->head->flags & RECORD_FIRST)) {
        for (int i = 0; i < 32; i++)
            snprintf(hex + 2 * i, 3, "%02x", v->head->prev_hash[i]);
        EVP_DigestUpdate(c, ",\"prevHash\":\"", 13);
        EVP_DigestUpdate(c, hex, 64);
        EVP_DigestUpdate(c, "\"", 1);
    }
    EVP_DigestUpdate(c, "}", 1);
    EVP_DigestFinal_ex(c, out, &len);
    EVP_MD_CTX_free(c);
}

struct support_read support_read_all(struct journal *j, const char *name, bool ack)
{
    enum { SCOPES = 1 << 17, BATCH = 200 };
    struct known {
        uint64_t scope[2];
        uint8_t hash[32];
    } *known = calloc(SCOPES, sizeof *known);
    struct record_view views[BATCH];
    struct support_read r = {0};
    struct journal_cursor *c = NULL;
    if (!known || journal_cursor_open(j, name, JOURNAL_FROM_STORED, &c) != 0) {
        CU_FAIL("cursor");
        free(known);
        return r;
    }
    uint64_t expected = journal_cursor_acked(c) + 1;
    CU_ASSERT_EQUAL(journal_sync(j, journal_head(j)), 0); /* only what is on the disk is given out */
    for (;;) {
        size_t n;
        int rc = journal_cursor_read(c, views, BATCH, 1 << 20, &n);
        r.bad_calls += rc == -EBADMSG;
        if (rc != 0 && rc != -EBADMSG) {
            harness_note("read: %s", strerror(-rc));
            CU_FAIL("read");
            break;
        }
        for (size_t i = 0; i < n; i++) {
            const struct record_header *h = views[i].head;
            uint8_t hash[32];
            if (r.first == 0)
                r.first = h->seq;
            if (h->seq < expected)
                CU_FAIL("order");
            r.missing += h->seq - expected;
            expected = h->seq + 1;
            r.count++;
            r.last = h->seq;
            if (h->flags & RECORD_UNCHAINED)
                continue;
            expected_hash(&views[i], hash);
            r.bad_hash += memcmp(hash, h->hash, 32) != 0;
            struct known *k = &known[h->scope[0] % SCOPES];
            while (k->scope[0] != 0 && (k->scope[0] != h->scope[0] || k->scope[1] != h->scope[1]))
                k = k + 1 == known + SCOPES ? known : k + 1;
            /* the first one seen of a scope may follow what is not kept any more */
            if (k->scope[0] != 0)
                r.bad_chain += (h->flags & RECORD_FIRST) != 0 || memcmp(k->hash, h->prev_hash, 32) != 0;
            memcpy(k->scope, h->scope, sizeof k->scope);
            memcpy(k->hash, h->hash, 32);
        }
        if (n == 0 && rc == 0) {
            if (journal_written(j) >= journal_head(j))
                break;
            (void)journal_cursor_wait(c, clock_mono_ns() + 1000000000u);
        } else if (ack && n > 0) {
            CU_ASSERT_EQUAL(journal_cursor_ack(c, views[n - 1].head->seq), 0);
        }
    }
    journal_cursor_close(c);
    free(known);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t support_segments(const char *path, char **names, size_t max)
{
    DIR *d = opendir(path);
    size_t n = 0;
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strncmp(e->d_name, "seg-", 4) == 0 && n < max)
            names[n++] = strdup(e->d_name);
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

static const char *copy_from, *copy_to;

static int copy_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    char to[1024];
    (void)ftw;
    snprintf(to, sizeof to, "%s%s", copy_to, path + strlen(copy_from));
    if (type == FTW_D)
        return mkdir(to, 0700) < 0 && errno != EEXIST;
    size_t len;
    char *data = support_slurp(path, &len);
    (void)st;
    support_write(to, data, len);
    free(data);
    return 0;
}

void support_copy_tree(const char *from, const char *to)
{
    copy_from = from;
    copy_to = to;
    if (nftw(from, copy_one, 16, FTW_PHYS) != 0)
        CU_FAIL("copy");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void support_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *support_slurp(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    *ret_len = 0;
    if (!f || fstat(fileno(f), &st) < 0) {
        CU_FAIL("slurp");
        if (f)
            fclose(f);
        return calloc(1, 1);
    }
    char *data = malloc((size_t)st.st_size + 1);
    *ret_len = data ? fread(data, 1, (size_t)st.st_size, f) : 0;
    fclose(f);
    return data;
}

void support_write(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        CU_FAIL("write");
}
