/* path.h - the steps of a path such as "metadata.list[2].name". SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_PATH_H
#define AW_PATH_H

#include "base/base.h"

#define PATH_NAME_MAX 1024u

struct path_step {
    enum { PATH_NAME, PATH_APPEND, PATH_INDEX } kind;
    size_t len, index;
    const char *name; /* in the path, or in unescaped */
    char unescaped[PATH_NAME_MAX];
};

static inline const char *path_index(const char *p, struct path_step *s, const char **ret_why)
{
    p++;
    s->kind = *p == ']' ? PATH_APPEND : PATH_INDEX;
    s->index = 0;
    for (; *p >= '0' && *p <= '9' && s->index < 100000000; p++)
        s->index = s->index * 10 + (size_t)(*p - '0');
    if (*p != ']' || (p[1] != '\0' && p[1] != '.' && p[1] != '[')) {
        *ret_why = "the path is wrong: [] or [NUMBER] and then '.', '[' or the end expected";
        return NULL;
    }
    p++;
    if (*p == '.' && p[1] == '\0') {
        *ret_why = "the path ends with a dot";
        return NULL;
    }
    return *p == '.' ? p + 1 : p;
}

/* A name with backslashes, from its begin on; NULL: too long. */
static AW_COLD inline const char *path_unescape(const char *p, struct path_step *s)
{
    s->name = s->unescaped;
    s->len = 0;
    for (; *p != '\0' && *p != '.' && *p != '['; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (s->len == sizeof s->unescaped)
            return NULL;
        s->unescaped[s->len++] = *p;
    }
    return p;
}

/* One step of a path; returns where the next one begins. */
static inline const char *path_next(const char *p, struct path_step *s, const char **ret_why)
{
    static const bool ends_name[256] = {['\0'] = true, ['.'] = true, ['['] = true, ['\\'] = true};
    if (*p == '[')
        return path_index(p, s, ret_why);
    s->kind = PATH_NAME;
    s->name = p;
    while (!ends_name[(unsigned char)*p])
        p++;
    s->len = (size_t)(p - s->name);
    if (AW_UNLIKELY(*p == '\\'))
        p = path_unescape(s->name, s);
    if (AW_UNLIKELY(p == NULL || s->len > PATH_NAME_MAX)) {
        *ret_why = "a name in the path is longer than 1024 bytes";
        return NULL;
    }
    if (s->len == 0 || (*p == '.' && p[1] == '\0')) {
        *ret_why = "the path has an empty name";
        return NULL;
    }
    return *p == '.' ? p + 1 : p;
}

#endif
