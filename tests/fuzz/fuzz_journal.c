/* fuzz_journal.c - any bytes as a segment file. SPDX-License-Identifier: Apache-2.0
 *
 * The first byte chooses: bit 0: the CRCs of what looks like records are made right, so that what is behind them is
 * reached; bit 1: the file begins with a sound header. What must hold: the journal opens, every event it gives out has
 * offsets within its text and rising numbers, nothing it counts is negative, new events are taken, and a second start
 * agrees.
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "journal/journal.h"
#include "journal/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (256u << 10)
static char dir[] = "/tmp/awfuzz.XXXXXX";
static const char *const subdirectories[] = {"", "/cursors", "/quarantine"};

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void clear(bool all)
{
    for (size_t i = AW_ARRAY_LEN(subdirectories); i > 0; i--) {
        char path[300];
        snprintf(path, sizeof path, "%s%s", dir, subdirectories[i - 1]);
        DIR *d = opendir(path);
        if (!d)
            continue;
        for (struct dirent *e; (e = readdir(d)) != NULL;)
            (void)unlinkat(dirfd(d), e->d_name, 0); /* directories stay */
        closedir(d);
        if (all)
            (void)rmdir(path);
    }
}

static void finish(void)
{
    clear(true);
}

static void mend(uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at + RECORD_HEADER <= len;) {
        struct record_header h;
        memcpy(&h, bytes + at, sizeof h);
        if (h.magic != RECORD_MAGIC || h.total_len < RECORD_HEADER || h.total_len > len - at || h.total_len % 8 != 0) {
            at += 8;
            continue;
        }
        h.crc = record_crc_header(hash_crc32c(0, bytes + at + RECORD_HEADER, h.total_len - RECORD_HEADER), &h);
        memcpy(bytes + at, &h, sizeof h);
        at += h.total_len;
    }
}

static uint64_t read_all(struct journal *j, const char *name)
{
    static char text[MOST * 2 + 4096];
    struct journal_cursor *c = NULL;
    struct record_view v[32];
    uint64_t count = 0, last = 0;
    must(journal_cursor_open(j, name, JOURNAL_FROM_STORED, &c) == 0);
    for (size_t n = 1; n > 0;) {
        int rc = journal_cursor_read(c, v, 32, 65536, &n);
        must(rc == 0 || rc == -EBADMSG);
        for (size_t i = 0; i < n; i++) {
            must(v[i].head->seq > last);
            last = v[i].head->seq;
            must(record_render_json(&v[i], text) <= record_json_size(&v[i]));
            must(record_scope(&v[i], text) <= v[i].head->json_len + 16);
            count++;
        }
        if (rc == -EBADMSG)
            n = 1;
    }
    journal_cursor_close(c);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    if (!made) {
        made = true;
        must(mkdtemp(dir) != NULL);
        atexit(finish);
    }
    if (size < 1 || size > MOST)
        return 0;
    clear(false);
    uint8_t *bytes = malloc(size);
    must(bytes != NULL);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        mend(bytes, size - 1);
    static const struct journal_identity identity = {.id = {1}, .key = {2}};
    int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    must(top >= 0 && segment_create(top, 1, 0, &identity, 0, &fd) == 0);
    must(fs_pwrite_all(fd, bytes, size - 1, data[0] & 2 ? SEGMENT_DATA : 0, NULL) == 0);
    must(close(fd) == 0 && close(top) == 0);
    free(bytes);

    struct journal_options o = {.path = dir, .segment_size = 65536, .ring_size = 65536, .chained = true};
    uint64_t before = 0, count = 0;
    for (int round = 0; round < 2; round++) {
        struct journal *j = NULL;
        diag_reset();
        int rc = journal_open(&o, &j);
        must(rc == 0);
        uint64_t head = journal_head(j);
        must(round == 0 || head == before);
        uint64_t n = read_all(j, round ? "b" : "a");
        must(round == 0 || n == count);
        struct prepared p = {.json = "{\"outcome\":\"SUCCESS\"}", .json_len = 21, .integrity_at = 1};
        p.scope_value = (struct aw_str){"unknown", 7};
        struct journal_receipt r;
        if (head < RECORD_SEQ_MAX) { /* numbers that ran out are a thing of forged records only */
            must(journal_append(j, &p, UINT64_MAX, &r) == 0 && r.seq == head + 1);
            must(journal_sync(j, r.seq) == 0);
            before = head + 1;
            count = n + 1;
        } else {
            before = head;
            count = n;
        }
        must(journal_close(j) == 0);
    }
    return 0;
}
