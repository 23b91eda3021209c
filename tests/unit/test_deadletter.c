/* test_deadletter.c - the dead-letter file: what was changed in it is found, what is damaged gives way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "deadletter_support.h"
#include "harness.h"
#include "journal_support.h"

#include "base/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

/* ---- the tests ---- */
static void letters_come_back_as_they_were(void)
{
    letters_begin("plain");
    letters_add_many(LETTERS_EVENTS);
    struct letters_view v = letters_look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, LETTERS_EVENTS);
    CU_ASSERT_EQUAL(v.last_number, LETTERS_EVENTS);
    struct dl_index x;
    int fd = -1;
    struct deadletter *dl = letters_open();
    CU_ASSERT_EQUAL_FATAL(deadletter_look(dl, NULL, NULL, &x, &fd), 0);
    CU_ASSERT_EQUAL_FATAL(x.count, LETTERS_EVENTS);
    for (size_t i = 0; i < LETTERS_EVENTS; i++) {
        AW_AUTOFREE char *text = NULL;
        AW_AUTOFREE void *buffer = NULL;
        struct dl_line line;
        struct record_view r;
        CU_ASSERT_EQUAL_FATAL(dl_index_line(fd, &x.entries[i], &text, &line), 0);
        CU_ASSERT_EQUAL_FATAL(dl_record(&line, &buffer, &r), 0);
        CU_ASSERT_EQUAL(r.head->total_len, letters_events[i].head->total_len);
        CU_ASSERT_EQUAL(memcmp(r.head, letters_events[i].head, r.head->total_len), 0);
        CU_ASSERT(base_str_eq(line.reason, base_str("it is \\\"bad\\\"?")));
    }
    (void)fs_close(fd);
    dl_index_free(&x);
    deadletter_destroy(dl);
}

/* The file with other bytes; how many findings, and of what kind. */
static struct letters_view with(const char *bytes, size_t len)
{
    support_write(letters_file, bytes, len);
    return letters_look();
}

static size_t split(char *bytes, size_t len, size_t *starts, size_t max)
{
    size_t n = 0;
    for (char *p = bytes, *nl; n < max && (nl = memchr(p, '\n', (size_t)(bytes + len - p))) != NULL; p = nl + 1)
        starts[n++] = (size_t)(p - bytes);
    starts[n] = len;
    return n;
}

static void every_change_is_found(void)
{
    size_t len, starts[LETTERS_EVENTS + 1];
    letters_begin("changed");
    letters_add_many(4);
    AW_AUTOFREE char *bytes = support_slurp(letters_file, &len);
    AW_AUTOFREE char *other = malloc(2 * len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL_FATAL(split(bytes, len, starts, LETTERS_EVENTS), 4);
    unsigned missed = 0;
    for (size_t i = 0; i < len; i++) { /* each byte */
        memcpy(other, bytes, len);
        other[i] ^= 1;
        missed += with(other, len).findings == 0;
    }
    CU_ASSERT_EQUAL(missed, 0);
    for (size_t i = 0; i < 4; i++) { /* a line is taken out, also the last */
        size_t line = starts[i + 1] - starts[i];
        memcpy(other, bytes, starts[i]);
        memcpy(other + starts[i], bytes + starts[i + 1], len - starts[i + 1]);
        struct letters_view v = with(other, len - line);
        CU_ASSERT(v.findings > 0);
        CU_ASSERT_EQUAL(v.kind, i < 3 ? AW_FINDING_HOLE : AW_FINDING_TRUNCATED);
        for (size_t at = 0; at <= 4; at++) { /* put in twice, anywhere */
            memcpy(other, bytes, starts[at]);
            memcpy(other + starts[at], bytes + starts[i], line);
            memcpy(other + starts[at] + line, bytes + starts[at], len - starts[at]);
            CU_ASSERT(with(other, len + line).findings > 0);
        }
        if (i == 3)
            break;
        size_t next = starts[i + 2] - starts[i + 1]; /* changes places with the next */
        memcpy(other, bytes, len);
        memcpy(other + starts[i], bytes + starts[i + 1], next);
        memcpy(other + starts[i] + next, bytes + starts[i], line);
        CU_ASSERT(with(other, len).findings > 0);
    }
    CU_ASSERT_EQUAL(with(bytes, len).findings, 0);
    CU_ASSERT_EQUAL(with(bytes, 0).kind, AW_FINDING_TRUNCATED);
    CU_ASSERT_EQUAL(unlink(letters_file), 0);
    CU_ASSERT_EQUAL(letters_look().kind, AW_FINDING_TRUNCATED);
}

static void a_line_that_fits_in_is_found(void) /* somebody who knows how hashes are made, but not what the head says */
{
    letters_begin("forged");
    letters_add_many(3);
    char hash[DL_HEX + 1] = "";
    struct dl_text t = {.ptr = NULL};
    struct hash_sha256 *sha = NULL;
    CU_ASSERT_EQUAL_FATAL(hash_sha256_create(&sha), 0);
    for (uint64_t n = 1; n <= 3; n++) {
        size_t start = t.len;
        dl_letter(&t, n, "sink", &letters_events[n], 1, "forged");
        CU_ASSERT_EQUAL(dl_end(&t, start, sha, hash), 0);
    }
    struct letters_view v = with(t.ptr, t.len);
    CU_ASSERT_EQUAL(v.findings, 1);
    CU_ASSERT_EQUAL(v.kind, AW_FINDING_EDITED);
    dl_text_free(&t);
    hash_sha256_destroy(sha);
}

static void torn_end_is_set_aside(void)
{
    size_t len, starts[LETTERS_EVENTS + 1], head_len;
    letters_begin("torn");
    letters_add_many(2);
    AW_AUTOFREE char *old_head = support_slurp(letters_head, &head_len);
    struct deadletter *dl = letters_open();
    letters_add(dl, 2);
    deadletter_destroy(dl);
    AW_AUTOFREE char *bytes = support_slurp(letters_file, &len);
    CU_ASSERT_EQUAL_FATAL(split(bytes, len, starts, LETTERS_EVENTS), 3);
    for (size_t cut = starts[2] + 1; cut < len; cut++) { /* killed within the write of the third line */
        char command[500];
        support_write(letters_head, old_head, head_len);
        support_write(letters_file, bytes, cut);
        struct letters_view v = letters_look();
        CU_ASSERT_EQUAL(v.findings, 0);
        CU_ASSERT_EQUAL(v.unfinished, cut - starts[2]);
        dl = letters_open();
        letters_add(dl, 3);
        deadletter_destroy(dl);
        v = letters_look();
        if (v.findings != 0 || v.letters != 3 || v.last_number != 3 || v.seqs != (1u << 1 | 1u << 2 | 1u << 4) ||
            letters_beside("torn") != 1 || letters_beside("damaged") != 0)
            CU_FAIL("torn end");
        snprintf(command, sizeof command, "rm -f %s/deadletter/sink.jsonl.*", letters_dir);
        CU_ASSERT_EQUAL_FATAL(system(command), 0);
    }
    /* The middle of the write did not reach the disk, its end did. */
    support_write(letters_head, old_head, head_len);
    memset(bytes + starts[2] + 40, 0, 100);
    support_write(letters_file, bytes, len);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    dl = letters_open();
    letters_add(dl, 3);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    CU_ASSERT_EQUAL(letters_look().letters, 3);
    CU_ASSERT_EQUAL(letters_beside("torn"), 1);
}

static void whole_line_behind_the_head_stays(void) /* killed between the line and the head */
{
    size_t head_len;
    letters_begin("behind");
    letters_add_many(2);
    AW_AUTOFREE char *old_head = support_slurp(letters_head, &head_len);
    struct deadletter *dl = letters_open();
    letters_add(dl, 2);
    deadletter_destroy(dl);
    support_write(letters_head, old_head, head_len);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    dl = letters_open();
    letters_add(dl, 3);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    CU_ASSERT_EQUAL(letters_look().letters, 4);
    CU_ASSERT_EQUAL(letters_beside("torn"), 0);
}

/* Whatever was done to the file: the next letter is stored, the old bytes are kept, whole letters go on. */
static void damaged_file_gives_way(void)
{
    size_t len, starts[LETTERS_EVENTS + 1];
    letters_begin("damaged");
    letters_add_many(4);
    AW_AUTOFREE char *bytes = support_slurp(letters_file, &len);
    CU_ASSERT_EQUAL_FATAL(split(bytes, len, starts, LETTERS_EVENTS), 4);
    bytes[starts[1] + 100] ^= 1;
    support_write(letters_file, bytes, len);
    struct deadletter *dl = letters_open();
    support_diag_count = 0;
    letters_add(dl, 4);
    CU_ASSERT(support_diag_count > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(support_diag_text, "is damaged (line 2: "));
    letters_add(dl, 5);
    deadletter_destroy(dl);
    struct letters_view v = letters_look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 5); /* 1, 3, 4 and the two new ones */
    CU_ASSERT_EQUAL(v.seqs, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6);
    CU_ASSERT_EQUAL(v.lines, 6);
    CU_ASSERT_EQUAL(v.last_number, 4 + 1 + 5);
    CU_ASSERT_EQUAL(letters_beside("damaged"), 1);
    AW_AUTOFREE char *text = support_slurp(letters_file, &len);
    CU_ASSERT(strncmp(text, "{\"n\":5,\"type\":\"begun\",\"time\":\"", 30) == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"file\":\"sink.jsonl.damaged-2"));
}

static void anything_in_the_way_gives_way(void)
{
    struct deadletter *dl;
    letters_begin("strange");
    letters_add_many(1);
    CU_ASSERT_EQUAL(unlink(letters_file), 0);
    CU_ASSERT_EQUAL(mkdir(letters_file, 0700), 0);
    dl = letters_open();
    letters_add(dl, 1);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    CU_ASSERT_EQUAL(letters_look().letters, 1);
    CU_ASSERT_EQUAL(unlink(letters_file), 0);
    CU_ASSERT_EQUAL(mkfifo(letters_file, 0600), 0);
    dl = letters_open();
    letters_add(dl, 2);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().letters, 1);
    CU_ASSERT_EQUAL(letters_beside("damaged"), 2);
    support_write(letters_file, "{\"sink\":\"sink\",\"seq\":7}\n", 24); /* a file of another kind */
    dl = letters_open();
    letters_add(dl, 3);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    CU_ASSERT_EQUAL(letters_beside("damaged"), 3);
    support_write(letters_head, "rubbish", 7); /* the head */
    dl = letters_open();
    letters_add(dl, 4);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    CU_ASSERT(letters_look().letters >= 2);
}

static void purge(struct deadletter *dl, bool replayed_only, uint64_t *ret_left)
{
    struct dl_index x;
    int fd = -1;
    bool chosen[64] = {false};
    CU_ASSERT_EQUAL_FATAL(deadletter_mend(dl, &x, &fd), 0);
    *ret_left = 0;
    for (size_t i = 0; i < x.count; i++) {
        chosen[i] = x.entries[i].type == DL_LETTER && (!replayed_only || x.entries[i].replayed);
        *ret_left += x.entries[i].type == DL_LETTER && !chosen[i];
    }
    CU_ASSERT_EQUAL(deadletter_purge(dl, &x, chosen, replayed_only ? "replayed" : "all"), 0);
    (void)fs_close(fd);
    dl_index_free(&x);
}

static int mark(struct deadletter *dl, const uint64_t *numbers, size_t n)
{
    struct dl_index x;
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(deadletter_mend(dl, &x, &fd), 0);
    (void)fs_close(fd);
    dl_index_free(&x);
    return deadletter_mark(dl, numbers, n);
}

static void purged_file_still_verifies(void)
{
    size_t len, starts[LETTERS_EVENTS + 8];
    uint64_t left;
    letters_begin("purged");
    letters_add_many(6);
    struct deadletter *dl = letters_open(), *worker = letters_open();
    letters_add(worker, 6);
    CU_ASSERT_EQUAL(mark(dl, (const uint64_t[]){2, 3, 5}, 3), 0);
    CU_ASSERT_EQUAL(deadletter_refused(dl, 4, 4, 2, "still bad"), 0);
    CU_ASSERT_EQUAL(letters_look().waiting, 4);
    purge(dl, true, &left);
    CU_ASSERT_EQUAL(left, 4);
    struct letters_view v = letters_look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 4);
    CU_ASSERT_EQUAL(v.lines, 6); /* 1, 4, 6, 7, refused 4, purged; the mark went with its letters */
    letters_add(worker, 7);      /* has the old file open */
    v = letters_look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 5);
    AW_AUTOFREE char *bytes = support_slurp(letters_file, &len);
    AW_AUTOFREE char *other = malloc(len);
    size_t n = split(bytes, len, starts, LETTERS_EVENTS + 7);
    CU_ASSERT_EQUAL_FATAL(n, 7);
    for (size_t i = 0; i < n; i++) {
        memcpy(other, bytes, starts[i]);
        memcpy(other + starts[i], bytes + starts[i + 1], len - starts[i + 1]);
        CU_ASSERT(with(other, starts[i] + len - starts[i + 1]).findings > 0);
    }
    (void)with(bytes, len);
    deadletter_destroy(worker); /* support_write() kept the file, but let nobody rely on that */
    worker = letters_open();
    purge(dl, false, &left);
    letters_add(worker, 0);
    v = letters_look();
    CU_ASSERT_EQUAL(v.findings, 0);
    CU_ASSERT_EQUAL(v.letters, 1);
    CU_ASSERT_EQUAL(v.lines, 3); /* two purges and the new letter */
    deadletter_destroy(dl);
    deadletter_destroy(worker);
}

static void mark_of_another_file_is_refused(void)
{
    struct dl_index x;
    int fd = -1;
    uint64_t left;
    letters_begin("stale");
    letters_add_many(3);
    struct deadletter *a = letters_open(), *b = letters_open();
    CU_ASSERT_EQUAL_FATAL(deadletter_mend(a, &x, &fd), 0);
    purge(b, false, &left);
    CU_ASSERT_EQUAL(deadletter_mark(a, (const uint64_t[]){1}, 1), -ESTALE);
    const bool chosen[3] = {true, true, true};
    CU_ASSERT_EQUAL(deadletter_purge(a, &x, chosen, "all"), -ESTALE);
    CU_ASSERT_EQUAL(deadletter_claim(a), 0);
    CU_ASSERT_EQUAL(deadletter_claim(b), -EWOULDBLOCK);
    (void)fs_close(fd);
    dl_index_free(&x);
    deadletter_destroy(a);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    deadletter_destroy(b);
}

static void held_file_is_waited_for(void)
{
    letters_begin("held");
    letters_add_many(1);
    struct deadletter *dl = letters_open();
    int fd = -1;
    CU_ASSERT_EQUAL_FATAL(fs_open(letters_head, O_RDWR, 0, &fd), 0);
    CU_ASSERT_EQUAL_FATAL(flock(fd, LOCK_EX), 0);
    CU_ASSERT_EQUAL(deadletter_add(dl, &letters_events[1], 1, "x"), -EWOULDBLOCK);
    (void)fs_close(fd);
    letters_add(dl, 1);
    deadletter_destroy(dl);
    CU_ASSERT_EQUAL(letters_look().findings, 0);
    CU_ASSERT_EQUAL(letters_look().letters, 2);
}

HARNESS_MAIN("deadletter", {"letters come back as they were", letters_come_back_as_they_were},
             {"every change of a byte, every line taken out, put in or moved is found", every_change_is_found},
             {"a chain made anew is found by the head", a_line_that_fits_in_is_found},
             {"an unfinished write is set aside, at every byte", torn_end_is_set_aside},
             {"a whole line of which the head does not know stays", whole_line_behind_the_head_stays},
             {"a damaged file gives way to a new one", damaged_file_gives_way},
             {"whatever stands in the file's place gives way", anything_in_the_way_gives_way},
             {"a purged file still verifies", purged_file_still_verifies},
             {"what was looked at must still be there", mark_of_another_file_is_refused},
             {"a held file is waited for", held_file_is_waited_for})
