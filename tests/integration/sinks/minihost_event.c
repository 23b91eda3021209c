/* minihost_event.c - see minihost.h: made-up events, and the files of tests. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "minihost.h"

/* ---- events ---- */

/* prefix and number in hexadecimal (width > 0, zero-filled) or decimal */
static const char *text_of(struct aw_event *e, size_t *used, const char *prefix, int width, uint64_t n)
{
    char *p = e->text + *used;
    int len = width > 0 ? snprintf(p, sizeof e->text - *used, "%s%0*llx", prefix, width, (unsigned long long)n)
                        : snprintf(p, sizeof e->text - *used, "%s%llu", prefix, (unsigned long long)n);
    *used += (size_t)len + 1;
    return p;
}

static void hash_of(uint64_t seq, char out[65])
{
    uint64_t state = seq;
    for (int i = 0; i < 4; i++)
        snprintf(out + i * 16, 17, "%016llx", (unsigned long long)harness_random(&state));
}

struct aw_event *mh_event_sized(uint64_t seq, size_t about)
{
    struct aw_event *e = calloc(1, sizeof *e);
    size_t used = 0, pad = about > 520 ? about - 520 : 0;
    char hash[65], prev[65], *fill = malloc(pad + 1);
    hash_of(seq, hash);
    hash_of(seq - 1, prev);
    memset(fill, 'x', pad);
    fill[pad] = '\0';
    uint64_t ms = seq % 1000, s = 5 + seq / 1000;
    mh_event_set(e, AW_FIELD_EVENT_ID, text_of(e, &used, "01890a5d-ac96-774b-bcce-", 12, seq));
    mh_event_set(e, AW_FIELD_ACTION, seq % 3 == 0 ? "user.login" : seq % 3 == 1 ? "document.read" : "invoice.approve");
    mh_event_set(e, AW_FIELD_OUTCOME, seq % 10 == 0 ? "DENIED" : "SUCCESS");
    char at[64];
    snprintf(at, sizeof at, "2026-01-02T%02llu:%02llu:%02llu.%03lluZ", (unsigned long long)(3 + (s + 240) / 3600 % 20),
             (unsigned long long)((s + 240) / 60 % 60), (unsigned long long)(s % 60), (unsigned long long)ms);
    size_t at_off = used;
    memcpy(e->text + used, at, strlen(at) + 1);
    used += strlen(at) + 1;
    mh_event_set(e, AW_FIELD_OCCURRED_AT, e->text + at_off);
    mh_event_set(e, AW_FIELD_ACTOR_ID, text_of(e, &used, "usr_", 0, seq % 16));
    mh_event_set(e, AW_FIELD_ACTOR_TYPE, "user");
    mh_event_set(e, AW_FIELD_ACTOR_IP, "10.0.0.1");
    mh_event_set(e, AW_FIELD_TARGET_ID, text_of(e, &used, "obj_", 8, seq));
    mh_event_set(e, AW_FIELD_TARGET_TYPE, "document");
    mh_event_set(e, AW_FIELD_TENANT_ID, text_of(e, &used, "tnt_", 0, seq % 4));
    mh_event_set(e, AW_FIELD_SCOPE, text_of(e, &used, "tenant:tnt_", 0, seq % 4));
    size_t cap = 1200 + pad, n = 0, from, len;
    char *j = malloc(cap);
#define FIELD(f) e->fields[f].ptr
#define PART(f, ...)                                                                                                   \
    from = n, n += (size_t)snprintf(j + n, cap - n, __VA_ARGS__), len = n - from,                                      \
    e->fields[f] = (struct aw_str){j + from, len}
    n += (size_t)snprintf(j + n, cap - n, "{\"action\":\"%s\",\"actor\":", FIELD(AW_FIELD_ACTION));
    PART(AW_FIELD_ACTOR, "{\"id\":\"%s\",\"ip\":\"10.0.0.1\",\"type\":\"user\"}", FIELD(AW_FIELD_ACTOR_ID));
    n += (size_t)snprintf(j + n, cap - n, ",\"context\":");
    PART(AW_FIELD_CONTEXT, "{\"occurredAt\":\"%s\",\"tenantId\":\"%s\"}", at, FIELD(AW_FIELD_TENANT_ID));
    n += (size_t)snprintf(j + n, cap - n, ",\"eventId\":\"%s\",\"integrity\":", FIELD(AW_FIELD_EVENT_ID));
    PART(AW_FIELD_INTEGRITY, "{\"alg\":\"SHA-256\",\"hash\":\"%s\",\"prevHash\":\"%s\",\"seq\":%llu}", hash, prev,
         (unsigned long long)seq);
    n += (size_t)snprintf(j + n, cap - n, ",\"metadata\":");
    PART(AW_FIELD_METADATA, "{\"reason\":\"caf\\u00e9 \\\"quoted\\\" %s\"}", fill);
    n += (size_t)snprintf(j + n, cap - n,
                          ",\"outcome\":\"%s\",\"schemaVersion\":1,\"target\":", FIELD(AW_FIELD_OUTCOME));
    PART(AW_FIELD_TARGET, "{\"id\":\"%s\",\"type\":\"document\"}", FIELD(AW_FIELD_TARGET_ID));
    n += (size_t)snprintf(j + n, cap - n, "}");
    e->json = j;
    e->json_len = n;
    e->numbers[0] = seq;
    e->numbers[1] = 1;
    e->numbers[2] = UINT64_C(1767323045000000000) + seq * 1000000u;
    e->numbers[3] = e->numbers[2];
    free(fill);
    return e;
}

struct aw_event *mh_event(uint64_t seq)
{
    return mh_event_sized(seq, 600);
}

void mh_event_set(struct aw_event *e, uint32_t field, const char *v)
{
    e->fields[field] = (struct aw_str){v, v != NULL ? strlen(v) : 0};
}

void mh_event_free(struct aw_event *e)
{
    if (e != NULL)
        free(e->json);
    free(e);
}

/* ---- files ---- */

char *mh_fresh_dir(void)
{
    static int count;
    char *dir = malloc(512);
    snprintf(dir, 512, "%s/%d", harness_tmpdir(), ++count);
    if (mkdir(dir, 0755) < 0) {
        printf("Bail out! cannot make %s\n", dir);
        exit(1);
    }
    return dir;
}

char *mh_path(const char *format, ...)
{
    char *dir = mh_fresh_dir(), *path = malloc(1024);
    va_list ap;
    int n = snprintf(path, 1024, "%s/", dir);
    va_start(ap, format);
    vsnprintf(path + n, 1024 - (size_t)n, format, ap);
    va_end(ap);
    free(dir);
    return path;
}

char *mh_slurp(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (f == NULL || fstat(fileno(f), &st) < 0) {
        if (f != NULL)
            fclose(f);
        return NULL;
    }
    char *p = malloc((size_t)st.st_size + 1);
    size_t n = fread(p, 1, (size_t)st.st_size, f);
    p[n] = '\0';
    fclose(f);
    if (ret_len != NULL)
        *ret_len = n;
    return p;
}

void mh_spew(const char *path, const char *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, len, f) != len || fclose(f) != 0) {
        printf("Bail out! cannot write %s\n", path);
        exit(1);
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

size_t mh_count_names(const char *dir, const char *part, char *name, size_t size)
{
    struct dirent **list;
    int n = scandir(dir, &list, NULL, by_name);
    size_t found = 0;
    for (int i = 0; i < n; i++) {
        if (strstr(list[i]->d_name, part) != NULL && found++ == 0 && name != NULL)
            snprintf(name, size, "%s/%s", dir, list[i]->d_name);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return found;
}

bool mh_trail_is(const char *path, uint64_t from, uint64_t to)
{
    struct mh_instance *m = MH("file", "path", path);
    struct mh_rows rows = mh_read(m, NULL, 100);
    bool ok = rows.code == AW_OK && rows.rising && rows.same && rows.count == to - from + 1 &&
              (rows.count == 0 || (rows.first_seq == from && rows.last_seq == to));
    if (!ok)
        harness_note("trail: code %d, %zu rows, seq %llu..%llu, rising %d, same %d, last at %s, %s", rows.code,
                     rows.count, (unsigned long long)rows.first_seq, (unsigned long long)rows.last_seq, rows.rising,
                     rows.same, rows.location, m->error);
    mh_destroy(m);
    return ok;
}

char *mh_dir_of(const char *path)
{
    return strndup(path, (size_t)(strrchr(path, '/') - path));
}

size_t mh_names(const char *path, const char *part, char *name, size_t size)
{
    char *dir = mh_dir_of(path);
    size_t n = mh_count_names(dir, part, name, size);
    free(dir);
    return n;
}

char *mh_lines(uint64_t from, uint64_t to, size_t *ret_len)
{
    size_t cap = (size_t)(to - from + 1) * 1300 + 1, n = 0;
    char *out = malloc(cap);
    for (uint64_t i = from; i <= to; i++) {
        struct aw_event *e = mh_event(i);
        memcpy(out + n, e->json, e->json_len);
        n += e->json_len;
        out[n++] = '\n';
        mh_event_free(e);
    }
    *ret_len = n;
    return out;
}

bool mh_file_is(const char *path, uint64_t from, uint64_t to)
{
    size_t n, want_n;
    char *got = mh_slurp(path, &n), *want = mh_lines(from, to, &want_n);
    bool ok = got != NULL && n == want_n && memcmp(got, want, n) == 0;
    free(got);
    free(want);
    return ok;
}
