/* diag.c - see diag.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/diag.h"

#include "base/base.h"

#include <pthread.h>
#include <stdio.h>

#define TEXT_MAX 1000

struct problems {
    size_t count, warnings, suppressed;
    struct aw_problem items[DIAG_MAX_PROBLEMS + 1];
    const struct aw_problem *pointers[DIAG_MAX_PROBLEMS + 1];
    char *texts[DIAG_MAX_PROBLEMS + 1]; /* path NUL message NUL; NULL when a static text stands in */
    char rest[80];
};

AW_THREAD_LOCAL bool diag_any;
static AW_THREAD_LOCAL struct problems *mine; /* made with the first problem of a thread */
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool key_made;

static void free_problems(void *p)
{
    struct problems *ps = p;
    for (size_t i = 0; i < AW_ARRAY_LEN(ps->texts); i++)
        free(ps->texts[i]);
    free(ps);
    mine = NULL;
}

static void make_key(void)
{
    key_made = pthread_key_create(&key, free_problems) == 0;
}

void diag_clear(void)
{
    struct problems *ps = mine;
    diag_any = false;
    if (ps == NULL)
        return;
    for (size_t i = 0; i < ps->count && i < AW_ARRAY_LEN(ps->texts); i++)
        base_free_p(&ps->texts[i]);
    ps->count = ps->warnings = ps->suppressed = 0;
}

static struct problems *problems_here(void)
{
    if (mine)
        return mine;
    (void)pthread_once(&once, make_key);
    struct problems *ps = calloc(1, sizeof *ps);
    if (!ps)
        return NULL;
    if (key_made && pthread_setspecific(key, ps) != 0) {
        free(ps);
        return NULL;
    }
    mine = ps;
    return ps;
}

static void put(struct problems *ps, size_t slot, int code, const char *path, const char *message)
{
    ps->items[slot] = (struct aw_problem){sizeof(struct aw_problem), code, path, message};
    ps->pointers[slot] = &ps->items[slot];
}

int diag_problem(int code, const char *path, const char *fmt, ...)
{
    int saved = errno;
    struct problems *ps = problems_here();
    if (!ps)
        goto out;
    diag_any = true;
    if (ps->count >= DIAG_MAX_PROBLEMS) {
        ps->suppressed++;
        snprintf(ps->rest, sizeof ps->rest, "and %zu more", ps->suppressed);
        put(ps, DIAG_MAX_PROBLEMS, code, "", ps->rest);
        ps->count = DIAG_MAX_PROBLEMS + 1;
        goto out;
    }
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    const char *p = path ? path : "";
    size_t path_len = strlen(p);
    char *copy = malloc(path_len + len + 2);
    if (copy) {
        memcpy(copy, p, path_len + 1);
        memcpy(copy + path_len + 1, text, len);
        copy[path_len + 1 + len] = '\0';
        put(ps, ps->count, code, copy, copy + path_len + 1);
    } else {
        put(ps, ps->count, code, "", "out of memory while a problem was being described");
    }
    ps->texts[ps->count] = copy;
    ps->count++;
    ps->warnings += code == 0;
out:
    errno = saved;
    return code;
}

size_t diag_count(void)
{
    return mine ? mine->count : 0;
}

size_t diag_warnings(void)
{
    return mine ? mine->warnings : 0;
}

const struct aw_problem *const *aw_problems(size_t *ret_count)
{
    static const struct aw_problem *const none[1] = {NULL};
    *ret_count = diag_count();
    return mine && mine->count > 0 ? mine->pointers : none;
}

void diag_vlog(const struct diag_out *out, int severity, const char *instance, const char *fmt, va_list ap)
{
    if (!out || !out->fn)
        return;
    int saved = errno;
    char text[TEXT_MAX];
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' '; /* one line, and nothing that drives a terminal */
    out->fn(out->arg, severity, instance ? instance : "", text);
    errno = saved;
}

void diag_log(const struct diag_out *out, int severity, const char *instance, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    diag_vlog(out, severity, instance, fmt, ap);
    va_end(ap);
}

const char *aw_error_name(int code)
{
    static const char *const names[] = {
        "SUCCESS", "INVALID_EVENT", "EVENT_TOO_LARGE", "DROPPED", "QUEUE_FULL", "WRITE_FAILED", "SHUTDOWN", "TIMEOUT",
        "CONFIG",  "BUSY",          "NOMEM",           "IO",      "USAGE",      "NOTFOUND",     "FORK",     "FINDINGS"};
    if (code > 0 || -code >= (int)AW_ARRAY_LEN(names))
        return "UNKNOWN";
    return names[-code];
}
