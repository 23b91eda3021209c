/* sqlite_admin.c - the probe and migrate extensions: would writing work, and making what it needs.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sqlite_sink.h"

/* Is there a place for a new database, or for the log of one that is there? The last directory may be missing: then it
 * will be made. */
static int32_t probe_directory(struct sqlite_sink *s, bool may_be_missing)
{
    char *dir = strdup(s->path), *slash = dir != NULL ? strrchr(dir, '/') : NULL;
    int32_t r = AW_OK;
    if (dir == NULL)
        return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
    for (int level = 0; slash != NULL && level < 2; level++) {
        slash[slash == dir] = '\0';
        int e = access(dir, W_OK | X_OK) == 0 ? 0 : errno;
        slash = strrchr(dir, '/');
        if (e == ENOENT && may_be_missing && level == 0 && slash != NULL && slash[1] != '\0')
            continue;
        if (e != 0)
            r = aw_host_error(s->host, e == EIO ? AW_E_UNAVAILABLE : AW_E_CONFIG,
                              "%s: the directory cannot be written: %s; make it, or give this user the right to", dir,
                              strerror(e));
        break;
    }
    free(dir);
    return r;
}

static int32_t probe_schema(struct sqlite_sink *s)
{
    static const struct sq_migration dry = {NULL, NULL, true};
    sqlite3 *db;
    int rc = sq_open_readonly(s, &db);
    int32_t r = rc == SQLITE_OK ? sq_settle_schema(s, &dry, db) : sq_fail(s, db, rc, "cannot read");
    sqlite3_close(db);
    return r;
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct sqlite_sink *s = sink;
    struct stat st;
    s->deadline_ns = deadline_ns;
    if (stat(s->path, &st) < 0)
        return errno == ENOENT ? probe_directory(s, true) : sq_fail_errno(s, errno, "cannot examine");
    if (!S_ISREG(st.st_mode))
        return sq_fail_errno(s, S_ISDIR(st.st_mode) ? EISDIR : ENOTDIR, "is no regular file");
    if (access(s->path, R_OK | W_OK) < 0)
        return sq_fail_errno(s, errno, "cannot be written by this user");
    int32_t r = probe_directory(s, false);
    return r == AW_OK && st.st_size > 0 ? probe_schema(s) : r;
}

const struct aw_sink_probe sq_probe = {sizeof sq_probe, 0, probe};

/* ---- migrate ---- */

static int32_t migrate_dry(struct sqlite_sink *s, const struct sq_migration *m, bool there)
{
    sqlite3 *db = NULL;
    int rc = there ? sq_open_readonly(s, &db) : sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, NULL);
    int32_t r = rc == SQLITE_OK ? sq_settle_schema(s, m, db) : sq_fail(s, db, rc, "cannot read");
    sqlite3_close(db);
    return r;
}

static int32_t migrate(void *sink, uint32_t flags, void (*step)(void *arg, const char *text), void *arg)
{
    struct sqlite_sink *s = sink;
    const struct sq_migration m = {step, arg, (flags & AW_MIGRATE_DRY_RUN) != 0};
    struct stat st;
    bool there = stat(s->path, &st) == 0 && st.st_size > 0;
    s->deadline_ns = 0;
    if (!there) {
        size_t size = strlen(s->path) + 40;
        char *text = malloc(size);
        if (text == NULL)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        snprintf(text, size, "create the database %s", s->path);
        step(arg, text);
        free(text);
    }
    if (m.dry)
        return migrate_dry(s, &m, there);
    sqlite3 *db = NULL;
    int32_t r = sq_create_file(s);
    if (r == AW_OK)
        r = sq_connect(s, &db);
    if (r == AW_OK)
        r = sq_migrate(s, &m, db);
    if (r == AW_OK)
        r = sq_sync_names(s);
    sqlite3_close(db);
    return r;
}

const struct aw_sink_migrate sq_migrate_extension = {sizeof sq_migrate_extension, 0, migrate};
