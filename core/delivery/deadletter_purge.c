/* deadletter_purge.c - takes letters out for good. SPDX-License-Identifier: Apache-2.0
 *
 * What stays keeps its bytes, numbers and hashes; a line at the end tells which numbers are gone, and the hash of the
 * last of each row, so that the chain can still be followed over the holes. Lines about earlier purges stay for ever.
 */
#include "config.h"

#include "delivery/deadletter_file.h"

#define COPY_CHUNK (64u << 10)

/* Marks go when no letter they speak of is left. */
static bool mark_goes(const struct dl_index *x, const bool *goes, const struct dl_entry *mark,
                      const struct dl_line *line)
{
    struct aw_str rest = line->list, hash;
    uint64_t first = line->letter, last = first;
    bool any = mark->type == DL_REJECTED || dl_next_range(&rest, &first, &last, &hash);
    for (; any; any = dl_next_range(&rest, &first, &last, &hash))
        for (size_t i = 0; i < x->count && x->entries[i].number <= last; i++)
            if (x->entries[i].type == DL_LETTER && x->entries[i].number >= first && !goes[i])
                return false;
    return true;
}

static int choose(struct deadletter *dl, const struct dl_index *x, const bool *chosen, bool *goes)
{
    for (size_t i = 0; i < x->count; i++)
        goes[i] = x->entries[i].type == DL_LETTER && chosen[i];
    for (size_t i = 0; i < x->count; i++) {
        AW_AUTOFREE char *text = NULL;
        struct dl_line line;
        if (x->entries[i].type != DL_REJECTED && x->entries[i].type != DL_REPLAYED)
            continue;
        int rc = dl_index_line(dl->fd, &x->entries[i], &text, &line);
        if (rc < 0)
            return rc;
        goes[i] = mark_goes(x, goes, &x->entries[i], &line);
    }
    return 0;
}

static int copy_line(struct deadletter *dl, const struct dl_entry *e, int fresh)
{
    AW_AUTOFREE char *buf = malloc(COPY_CHUNK);
    if (!buf)
        return -ENOMEM;
    for (uint64_t done = 0; done < e->length + 1;) { /* with its newline */
        uint64_t left = e->length + 1 - done;
        ssize_t n = fs_pread_full(dl->fd, buf, left < COPY_CHUNK ? (size_t)left : COPY_CHUNK, e->offset + done);
        if (n <= 0)
            return n < 0 ? (int)n : -EBADMSG;
        int rc = fs_write_all(fresh, buf, (size_t)n, NULL);
        if (rc < 0)
            return rc;
        done += (uint64_t)n;
    }
    return 0;
}

static void put_ranges(struct dl_text *t, const struct dl_index *x, const bool *goes)
{
    for (size_t i = 0, any = 0; i < x->count; i++) {
        if (!goes[i])
            continue;
        size_t last = i;
        while (last + 1 < x->count && goes[last + 1] && x->entries[last + 1].number == x->entries[last].number + 1)
            last++;
        dl_printf(t, "%s[%" PRIu64 ",%" PRIu64 ",\"%s\"]", any++ ? "," : "", x->entries[i].number,
                  x->entries[last].number, x->entries[last].hash);
        i = last;
    }
}

static int write_fresh(struct deadletter *dl, const struct dl_index *x, const bool *goes, const char *what, int fresh)
{
    struct dl_text t = {.ptr = NULL};
    uint64_t letters = 0, replayed = 0;
    for (size_t i = 0; i < x->count; i++) {
        int rc = goes[i] ? 0 : copy_line(dl, &x->entries[i], fresh);
        if (rc < 0)
            return rc;
        letters += goes[i] && x->entries[i].type == DL_LETTER;
        replayed += goes[i] && x->entries[i].replayed;
    }
    dl_begin(&t, ++dl->number, "purged");
    dl_printf(&t, ",\"what\":\"");
    dl_put_reason(&t, what);
    dl_printf(&t, "\",\"letters\":%" PRIu64 ",\"replayed\":%" PRIu64 ",\"ranges\":[", letters, replayed);
    put_ranges(&t, x, goes);
    dl_put(&t, "]", 1);
    int rc = dl_end(&t, 0, dl->sha, dl->hash);
    if (rc == 0)
        rc = fs_write_all(fresh, t.ptr, t.len, NULL);
    dl_text_free(&t);
    return rc;
}

int deadletter_purge(struct deadletter *dl, const struct dl_index *x, const bool *chosen, const char *what)
{
    AW_AUTOFREE bool *goes = calloc(x->count + 1, sizeof *goes);
    int fresh = -1, rc = goes ? dl_file_begin(dl) : -ENOMEM;
    /* A letter may have come since it was looked at: it is not chosen, and would be lost with the old file. */
    if (rc == 0 && (dl->inode != dl->looked_at || dl->size != x->size))
        rc = -ESTALE;
    if (rc == 0)
        rc = choose(dl, x, chosen, goes);
    if (rc == 0)
        rc = dl_file_fresh(dl, &fresh);
    if (rc == 0) {
        rc = write_fresh(dl, x, goes, what, fresh);
        if (rc < 0) {
            (void)fs_close(fresh); /* the write's error is the one that counts */
            (void)fs_unlinkat(dl->dirfd, dl->fresh_file);
        }
    }
    if (rc == 0)
        rc = dl_file_replace(dl, fresh, NULL);
    dl_file_end(dl);
    return rc;
}
