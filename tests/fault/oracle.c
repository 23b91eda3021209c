/* oracle.c - see oracle.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/audit.h"

void oracle_event_id(uint64_t number, char out[ORACLE_ID_LEN + 1])
{
    (void)snprintf(out, ORACLE_ID_LEN + 1, "ev-%016" PRIx64, number);
}

bool oracle_number(const char *p, size_t len, uint64_t *ret)
{
    char digits[17], *end;
    if (len < ORACLE_ID_LEN || memcmp(p, "ev-", 3) != 0)
        return false;
    memcpy(digits, p + 3, 16);
    digits[16] = '\0';
    *ret = strtoull(digits, &end, 16);
    return *end == '\0';
}

bool oracle_add(struct oracle_list *l, uint64_t number, uint64_t seq)
{
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 4096;
        uint64_t *n = realloc(l->numbers, room * sizeof *n);
        if (n)
            l->numbers = n;
        uint64_t *s = realloc(l->seqs, room * sizeof *s);
        if (s)
            l->seqs = s;
        if (!n || !s) {
            l->failed = true;
            return false;
        }
        l->room = room;
    }
    l->numbers[l->count] = number;
    l->seqs[l->count++] = seq;
    return true;
}

void oracle_free(struct oracle_list *l)
{
    free(l->numbers);
    free(l->seqs);
    memset(l, 0, sizeof *l);
}

/* ---- the file sink's store: lines of bytes ---- */
static bool read_gap(struct oracle_list *l, const char *line, size_t len, uint64_t *ret_number)
{
    static const char action[] = "\"action\":\"auditwell.gap\"", count[] = "\"count\":";
    uint64_t n = 0;
    if (!memmem(line, len, action, sizeof action - 1))
        return false;
    const char *p = memmem(line, len, count, sizeof count - 1);
    for (p = p ? p + sizeof count - 1 : ""; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    l->dropped += n;
    *ret_number = UINT64_MAX - l->gaps++;
    return true;
}

static bool read_line(struct oracle_list *l, const char *line, size_t len, char *why, size_t size)
{
    static const char id[] = "\"eventId\":\"", seq[] = "\"seq\":";
    uint64_t number, n = 0;
    const char *p = memmem(line, len, id, sizeof id - 1);
    if (len < 2 || line[0] != '{' || line[len - 1] != '}') {
        (void)snprintf(why, size, "the file's line %zu is no JSON object: %.*s", l->count + 1,
                       (int)(len < 80 ? len : 80), line);
        return false;
    }
    if (!read_gap(l, line, len, &number) &&
        (!p || !oracle_number(p + sizeof id - 1, (size_t)(line + len - p) - (sizeof id - 1), &number))) {
        (void)snprintf(why, size, "the file's line %zu has none of our ids: %.*s", l->count + 1,
                       (int)(len < 200 ? len : 200), line);
        return false;
    }
    const char *integrity = memmem(line, len, "\"integrity\":{", 13);
    p = integrity ? memmem(integrity, (size_t)(line + len - integrity), seq, sizeof seq - 1) : NULL;
    for (p = p ? p + sizeof seq - 1 : line; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    return oracle_add(l, number, n);
}

bool oracle_read_file(const char *path, struct oracle_list *ret, char *why, size_t size)
{
    struct stat st;
    memset(ret, 0, sizeof *ret);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0 || fstat(fd, &st)) {
        (void)snprintf(why, size, "%s: %s", path, strerror(errno));
        return false;
    }
    size_t len = (size_t)st.st_size;
    const char *base = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : "";
    (void)close(fd);
    if (base == MAP_FAILED) {
        (void)snprintf(why, size, "%s: mmap: %s", path, strerror(errno));
        return false;
    }
    bool good = true;
    for (size_t at = 0; good && at < len;) {
        const char *nl = memchr(base + at, '\n', len - at);
        if (!nl) {
            (void)snprintf(why, size, "%s: the last line has no end", path);
            good = false;
        } else {
            good = read_line(ret, base + at, (size_t)(nl - base) - at, why, size);
            at = (size_t)(nl - base) + 1;
        }
    }
    if (len)
        (void)munmap((void *)(uintptr_t)base, len);
    return good;
}

/* ---- the SQLite sink's store ---- */
static bool fail_sqlite(sqlite3 *db, const char *path, char *why, size_t size)
{
    (void)snprintf(why, size, "%s: %s", path, sqlite3_errmsg(db));
    return false;
}

static bool read_rows(sqlite3 *db, const char *path, struct oracle_list *ret, char *why, size_t size)
{
    sqlite3_stmt *s;
    int rc;
    if (sqlite3_prepare_v2(db, "SELECT event_id, seq FROM audit_events ORDER BY seq", -1, &s, NULL) != SQLITE_OK) {
        /* A crash may have come before the table was made. */
        return strstr(sqlite3_errmsg(db), "no such table") ? true : fail_sqlite(db, path, why, size);
    }
    bool good = true;
    while (good && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(s, 0);
        uint64_t number;
        if (!id || !oracle_number(id, strlen(id), &number)) {
            (void)snprintf(why, size, "%s: event_id \"%s\" is none of ours", path, id ? id : "NULL");
            good = false;
        } else {
            good = oracle_add(ret, number, (uint64_t)sqlite3_column_int64(s, 1));
        }
    }
    if (good && rc != SQLITE_DONE)
        good = fail_sqlite(db, path, why, size);
    (void)sqlite3_finalize(s);
    return good;
}

bool oracle_read_sqlite(const char *path, struct oracle_list *ret, char *why, size_t size)
{
    sqlite3 *db = NULL;
    struct stat st;
    memset(ret, 0, sizeof *ret);
    if (stat(path, &st) && errno == ENOENT)
        return true;
    bool good = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK;
    if (good)
        good = read_rows(db, path, ret, why, size);
    else
        (void)fail_sqlite(db, path, why, size);
    (void)sqlite3_close(db);
    return good;
}

/* ---- judging ---- */
static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool check_seqs(const struct oracle_list *store, char *why, size_t size)
{
    for (size_t i = 0; i < store->count; i++) {
        if (store->seqs[i] != i + 1) {
            (void)snprintf(why, size, "event %zu of the store has seq %" PRIu64, i + 1, store->seqs[i]);
            return false;
        }
    }
    return true;
}

bool oracle_check(uint64_t *acked, size_t n, const struct oracle_list *store, char *why, size_t size)
{
    size_t missing = 0, twice = 0;
    uint64_t first_missing = 0, first_twice = 0;
    uint64_t *sorted = malloc((store->count + 1) * sizeof *sorted);
    if (!sorted) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    if (store->count > 0) {
        memcpy(sorted, store->numbers, store->count * sizeof *sorted);
        qsort(sorted, store->count, sizeof *sorted, compare);
    }
    if (n > 0)
        qsort(acked, n, sizeof *acked, compare);
    for (size_t i = 1; i < store->count; i++) {
        if (sorted[i] == sorted[i - 1] && !twice++)
            first_twice = sorted[i];
    }
    for (size_t i = 0, k = 0; i < n; i++) {
        while (k < store->count && sorted[k] < acked[i])
            k++;
        if ((k == store->count || sorted[k] != acked[i]) && !missing++)
            first_missing = acked[i];
    }
    free(sorted);
    if (missing || twice) {
        (void)snprintf(why, size,
                       "%zu of %zu acknowledged events are missing (first %" PRIx64
                       "), %zu are there twice (first %" PRIx64 "), the store has %zu",
                       missing, n, first_missing, twice, first_twice, store->count);
        return false;
    }
    return check_seqs(store, why, size);
}

static void describe_finding(void *arg, const struct aw_finding *f)
{
    char *text = arg;
    if (!*text)
        (void)snprintf(text, 512, "%s: %s (scope %s, expected %s, found %s)", f->location, f->message, f->scope,
                       f->expected, f->found);
}

bool oracle_verify(const char *store, size_t events, char *why, size_t size)
{
    char first[512] = "";
    struct aw_store_options so = {.struct_size = sizeof so, .store = store};
    struct aw_verify_options vo = {.struct_size = sizeof vo,
                                   .flags = AW_VERIFY_COMPLETE,
                                   .threads = 1,
                                   .on_finding = describe_finding,
                                   .arg = first};
    struct aw_verify_report rep = {.struct_size = sizeof rep};
    struct aw_store *s;
    int r = aw_store_open(&so, &s);
    if (r == AW_SUCCESS) {
        r = aw_verify(s, &vo, &rep);
        aw_store_close(s);
    }
    if (r == AW_SUCCESS && !rep.verdict && rep.events == events)
        return true;
    (void)snprintf(why, size, "verifying %s: %s, verdict %d, %llu events of %zu, %llu findings, first: %s", store,
                   aw_error_name(r), rep.verdict, (unsigned long long)rep.events, events,
                   (unsigned long long)rep.findings, first);
    return false;
}

static bool judge_one(const char *kind, const char *path, uint64_t *acked, size_t n, char *why, size_t size)
{
    struct oracle_list list;
    char text[700], store[700];
    bool sqlite = !strcmp(kind, "sqlite");
    (void)snprintf(store, sizeof store, "%s:%s", kind, path);
    bool good =
        sqlite ? oracle_read_sqlite(path, &list, text, sizeof text) : oracle_read_file(path, &list, text, sizeof text);
    good = good && oracle_check(acked, n, &list, text, sizeof text);
    good = good && (list.count == 0 || oracle_verify(store, list.count, text, sizeof text));
    if (!good)
        (void)snprintf(why, size, "%s: %s", kind, text);
    oracle_free(&list);
    return good;
}

bool oracle_judge(const char *file, const char *sqlite, uint64_t *acked, size_t n, char *why, size_t size)
{
    return (!file || judge_one("file", file, acked, n, why, size)) &&
           (!sqlite || judge_one("sqlite", sqlite, acked, n, why, size));
}

static bool judge_list(const struct oracle_list *list, const uint64_t *acked, size_t count, uint64_t lost, char *why,
                       size_t size)
{
    uint64_t holes = 0;
    bool good = true;
    for (size_t i = 0; good && i < list->count; i++) {
        uint64_t before = i > 0 ? list->seqs[i - 1] : 0;
        good = list->seqs[i] > before;
        holes += list->seqs[i] - before - 1;
        for (size_t k = 0; k < i; k++)
            good = good && list->numbers[k] != list->numbers[i];
    }
    if (!good)
        (void)snprintf(why, size, "the trail is out of order, or has an event twice");
    for (size_t i = 0; good && i < count; i++) {
        size_t k = 0;
        while (k < list->count && list->numbers[k] != acked[i])
            k++;
        good = k < list->count;
        if (!good)
            (void)snprintf(why, size, "acknowledged event %" PRIu64 " is missing", acked[i]);
    }
    if (good && holes > lost) {
        good = false;
        (void)snprintf(why, size, "the trail lacks %" PRIu64 " events, the journal says %" PRIu64, holes, lost);
    }
    return good;
}

bool oracle_judge_holes(const char *file, const char *sqlite, const uint64_t *acked, size_t count, uint64_t lost,
                        char *why, size_t size)
{
    struct oracle_list list = {.count = 0};
    bool good = !file || (oracle_read_file(file, &list, why, size) && judge_list(&list, acked, count, lost, why, size));
    oracle_free(&list);
    good = good && (!sqlite ||
                    (oracle_read_sqlite(sqlite, &list, why, size) && judge_list(&list, acked, count, lost, why, size)));
    oracle_free(&list);
    return good;
}

/* ---- searching for bytes ---- */
static struct {
    const void *bytes;
    size_t len, size;
    char *where;
    int found;
} hunt;

static int look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size < (off_t)hunt.len)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = (size_t)st->st_size;
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (p == MAP_FAILED) {
        hunt.found = -1;
    } else {
        if (memmem(p, len, hunt.bytes, hunt.len))
            hunt.found = 1;
        (void)munmap(p, len);
    }
    if (hunt.found)
        (void)snprintf(hunt.where, hunt.size, "%s", path);
    return hunt.found;
}

int oracle_find_bytes(const char *dir, const void *bytes, size_t len, char *where, size_t size)
{
    hunt.bytes = bytes;
    hunt.len = len;
    hunt.where = where;
    hunt.size = size;
    hunt.found = 0;
    if (nftw(dir, look, 16, FTW_PHYS) < 0)
        return -1;
    return hunt.found;
}
