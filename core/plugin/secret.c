/* secret.c - "file:PATH", "env:NAME", "credential:NAME". See registry.h. SPDX-License-Identifier: Apache-2.0
 *
 * No message holds a secret, only where it was looked for.
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "plugin/plugin_internal.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#define SECRET_MAX 65536u

static int complain(int code, const struct schema_place *place, const char *fmt, ...) AW_PRINTF(3, 4);
static int complain(int code, const struct schema_place *place, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return diag_problem(code, place->where, "%s%s%s", place->path, *place->path ? ": " : "", text);
}

static int from_file(const char *path, const struct schema_place *place, char **ret)
{
    if (path[0] != '/')
        return complain(AW_ERR_CONFIG, place, "expected the secret's file as an absolute path, found \"%.200s\"", path);
    AW_AUTOCLOSE int fd = -1;
    int rc = fs_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
    if (rc < 0)
        return complain(AW_ERR_CONFIG, place, "cannot read the secret's file %.300s: %s", path, strerror(-rc));
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return complain(AW_ERR_CONFIG, place, "the secret's file %.300s is not a regular file", path);
    if (st.st_mode & S_IROTH)
        (void)complain(0, place, "the secret's file %.300s may be read by everybody: run chmod o-r on it", path);
    AW_AUTOFREE char *text = malloc(SECRET_MAX + 2);
    if (!text)
        return complain(AW_ERR_NOMEM, place, "out of memory");
    ssize_t n = fs_pread_full(fd, text, SECRET_MAX + 1, 0);
    if (n < 0)
        return complain(AW_ERR_CONFIG, place, "cannot read the secret's file %.300s: %s", path, strerror((int)-n));
    size_t len = (size_t)n;
    bool fits = len <= SECRET_MAX;
    if (fits && len > 0 && text[len - 1] == '\n')
        len--;
    if (fits && len > 0 && text[len - 1] == '\r')
        len--;
    const char *fault = !fits                     ? "is larger than 64 KiB"
                        : len == 0                ? "is empty"
                        : memchr(text, '\0', len) ? "holds a NUL byte"
                                                  : NULL;
    if (!fault)
        *ret = strndup(text, len);
    explicit_bzero(text, SECRET_MAX + 2);
    if (fault)
        return complain(AW_ERR_CONFIG, place, "the secret's file %.300s %s", path, fault);
    return *ret ? 0 : complain(AW_ERR_NOMEM, place, "out of memory");
}

static int from_credential(const char *name, const struct schema_place *place, char **ret)
{
    const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
    if (!*name || strchr(name, '/') || strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
        return complain(AW_ERR_CONFIG, place, "expected credential:NAME with a plain name, found \"%.100s\"", name);
    if (!dir || !*dir)
        return complain(AW_ERR_CONFIG, place,
                        "credential:%.100s needs $CREDENTIALS_DIRECTORY, which the service manager sets: add "
                        "LoadCredential=%.100s:PATH to the unit",
                        name, name);
    AW_AUTOFREE char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return complain(AW_ERR_NOMEM, place, "out of memory");
    }
    return from_file(path, place, ret);
}

int secret_resolve(const char *text, const struct schema_place *place, char **ret)
{
    *ret = NULL;
    if (strncmp(text, "file:", 5) == 0)
        return from_file(text + 5, place, ret);
    if (strncmp(text, "credential:", 11) == 0)
        return from_credential(text + 11, place, ret);
    if (strncmp(text, "env:", 4) == 0) {
        const char *value = text[4] ? secure_getenv(text + 4) : NULL;
        if (!value)
            return complain(AW_ERR_CONFIG, place, "the environment variable %.100s is not set",
                            text[4] ? text + 4 : "\"\"");
        text = value;
    }
    *ret = strdup(text);
    return *ret ? 0 : complain(AW_ERR_NOMEM, place, "out of memory");
}

int schema_resolve_secret(const char *text, const char *where, char **ret)
{
    struct schema_place place = {.where = where ? where : "", .path = ""};
    return secret_resolve(text, &place, ret);
}
