/* file_probe.c - the probe extension: would appending to the file, and rotating it, work?
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_sink.h"

static bool in_group(gid_t gid)
{
    if (gid == getegid() || gid == getgid())
        return true;
    int n = getgroups(0, NULL);
    gid_t *list = n > 0 ? malloc((size_t)n * sizeof *list) : NULL;
    bool found = false;
    if (list != NULL)
        n = getgroups(n, list);
    for (int i = 0; list != NULL && i < n; i++)
        found = found || list[i] == gid;
    free(list);
    return found;
}

/* New files, archives' successors among them, get the owner. */
static int32_t probe_owner(struct file_sink *s)
{
    int32_t r = sf_resolve_owner(s);
    if (r != AW_OK || s->owner == NULL || geteuid() == 0)
        return r;
    if (s->uid != (uid_t)-1 && s->uid != geteuid())
        return aw_host_error(s->host, AW_E_CONFIG, "owner: only root may give files to the user of \"%s\"", s->owner);
    if (s->gid != (gid_t)-1 && !in_group(s->gid))
        return aw_host_error(s->host, AW_E_CONFIG, "owner: this user is not in the group of \"%s\"", s->owner);
    return AW_OK;
}

/* Files are made in it at each rotation. The last directory of the path may be missing: then it will be made. */
static int32_t probe_directory(struct file_sink *s)
{
    int e = access(s->at.dir, W_OK | X_OK) == 0 ? 0 : errno;
    const char *slash = strrchr(s->at.dir, '/');
    if (e == ENOENT && slash != NULL && slash[1] != '\0') {
        char *parent = slash == s->at.dir ? strdup("/") : strndup(s->at.dir, (size_t)(slash - s->at.dir));
        if (parent == NULL)
            return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
        e = access(parent, W_OK | X_OK) == 0 ? 0 : errno;
        free(parent);
    }
    if (e == 0)
        return AW_OK;
    return aw_host_error(s->host, e == EIO ? AW_E_UNAVAILABLE : AW_E_CONFIG,
                         "%s: the directory cannot be written: %s; make it, or give this user the right to", s->at.dir,
                         strerror(e));
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct file_sink *s = sink;
    struct stat st;
    (void)deadline_ns; /* nothing here waits for anybody */
    int32_t r = probe_owner(s);
    if (r == AW_OK)
        r = probe_directory(s);
    if (r != AW_OK)
        return r;
    if (lstat(s->at.path, &st) < 0)
        return errno == ENOENT ? AW_OK : sf_fail(s, errno, "cannot examine", s->at.path);
    if (S_ISLNK(st.st_mode))
        return aw_host_error(s->host, AW_E_CONFIG, "%s: is a symbolic link: name the file itself", s->at.path);
    if (!S_ISREG(st.st_mode))
        return aw_host_error(s->host, AW_E_CONFIG, "%s: is no regular file: name another one", s->at.path);
    if (access(s->at.path, R_OK | W_OK) < 0)
        return aw_host_error(s->host, AW_E_CONFIG, "%s: this user may not read and write it: %s", s->at.path,
                             strerror(errno));
    return AW_OK;
}

const struct aw_sink_probe sf_probe = {sizeof sf_probe, 0, probe};
