/* quarantine.c - damaged bytes are set aside, with the reason beside them. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "journal/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define COPY_CHUNK 65536u

static int copy_range(int from_fd, uint64_t from, uint64_t to, int out)
{
    AW_AUTOFREE uint8_t *buf = malloc(COPY_CHUNK);
    if (!buf)
        return -ENOMEM;
    while (from < to) {
        size_t n = to - from < COPY_CHUNK ? (size_t)(to - from) : COPY_CHUNK;
        ssize_t got = fs_pread_full(from_fd, buf, n, from);
        if (got == -EIO) { /* cannot be read: what is set aside says so by its zeros */
            memset(buf, 0, n);
            got = (ssize_t)n;
        }
        if (got <= 0)
            return (int)got;
        int rc = fs_write_all(out, buf, (size_t)got, NULL);
        if (rc < 0)
            return rc;
        from += (uint64_t)got;
    }
    return 0;
}

static int reason_text(const struct journal *j, const char *name, const char *source, uint64_t from, uint64_t length,
                       const char *missing)
{
    char text[1600], when[CLOCK_RFC3339_MAX];
    clock_format_rfc3339((int64_t)clock_real_ns(), when);
    int n = snprintf(text, sizeof text,
                     "source: %s\noffset: %" PRIu64 "\nlength: %" PRIu64 "\nmissing events: %s\nfound: %s\n", source,
                     from, length, missing && *missing ? missing : "none", when);
    if (n < 0)
        return -EINVAL;
    return fs_replace_at(j->quarantine_dirfd, name, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1, 0600);
}

void quarantine_bytes(struct journal *j, const char *source, int fd, uint64_t from, uint64_t to, const char *missing,
                      bool *ret_new)
{
    char base[128], bin[140], txt[140], tmp[150];
    size_t stem = strcspn(source, ".");
    snprintf(base, sizeof base, "%.*s-%" PRIu64, (int)stem, source, from);
    snprintf(bin, sizeof bin, "%s.bin", base);
    snprintf(txt, sizeof txt, "%s.txt", base);
    snprintf(tmp, sizeof tmp, ".%s.tmp", bin);
    struct stat st;
    *ret_new = fstatat(j->quarantine_dirfd, bin, &st, AT_SYMLINK_NOFOLLOW) != 0;
    if (!*ret_new)
        return;
    int out = -1, rc = fs_openat(j->quarantine_dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &out);
    if (rc == 0) {
        rc = copy_range(fd, from, to, out);
        int rc2 = fs_fsync(out), rc3 = fs_close(out);
        rc = rc < 0 ? rc : rc2 < 0 ? rc2 : rc3;
    }
    /* The reason first: bytes that have their name are complete and explained. */
    if (rc == 0)
        rc = reason_text(j, txt, source, from, to - from, missing);
    if (rc == 0)
        rc = fs_renameat(j->quarantine_dirfd, tmp, bin);
    if (rc == 0)
        rc = fs_sync_dir(j->quarantine_dirfd);
    if (rc < 0) {
        (void)fs_unlinkat(j->quarantine_dirfd, tmp);
        diag_problem(0, j->path, "%s: %" PRIu64 " damaged bytes at offset %" PRIu64 " could not be set aside: %s",
                     source, to - from, from, strerror(-rc));
    }
}

int quarantine_move(struct journal *j, int dirfd, const char *name, const char *reason)
{
    char base[128], to[160], txt[160];
    uint64_t now = clock_real_ns();
    snprintf(base, sizeof base, "%.80s-%" PRIu64, name, now);
    snprintf(to, sizeof to, "%s.bin", base);
    snprintf(txt, sizeof txt, "%s.txt", base);
    struct stat st = {0};
    (void)fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW); /* only for the text */
    if (renameat(dirfd, name, j->quarantine_dirfd, to) < 0)
        return -errno;
    char text[400];
    snprintf(text, sizeof text, "%s: %s", name, reason);
    (void)reason_text(j, txt, text, 0, st.st_size > 0 ? (uint64_t)st.st_size : 0,
                      NULL); /* the bytes are what matters */
    int rc = fs_sync_dir(j->quarantine_dirfd);
    return rc < 0 ? rc : fs_sync_dir(dirfd);
}

int quarantine_file(struct journal *j, int dirfd, const char *name, const char *reason)
{
    struct stat st;
    int rc = quarantine_move(j, dirfd, name, reason);
    if (rc == 0 || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return fs_unlinkat(dirfd, name) == 0 ? 0 : rc; /* it is of no use, and must not be in the way */
}
