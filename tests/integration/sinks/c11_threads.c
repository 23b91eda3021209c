/* c11_threads.c - C11's threads on top of POSIX threads, for programs under ThreadSanitizer.
 * SPDX-License-Identifier: Apache-2.0
 *
 * ThreadSanitizer knows the POSIX functions only. A library that was built on C11's (librdkafka is) makes threads that
 * it does not know, which crash in the first of its functions that they call; and it would not see the library's locks.
 * Where these stand before the C library's, it knows all. glibc's types are the same for both.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t) &&
                   sizeof(thrd_t) == sizeof(pthread_t),
               "glibc's types are the same for both");

struct start {
    thrd_start_t fn;
    void *arg;
};

static void *begin(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    return (void *)(intptr_t)s.fn(s.arg);
}

static int result(int e)
{
    return e == 0           ? thrd_success
           : e == ETIMEDOUT ? thrd_timedout
           : e == EBUSY     ? thrd_busy
           : e == ENOMEM    ? thrd_nomem
                            : thrd_error;
}

EXPORT int thrd_create(thrd_t *t, thrd_start_t fn, void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (s == NULL)
        return thrd_nomem;
    *s = (struct start){fn, arg};
    int e = pthread_create(t, NULL, begin, s);
    if (e != 0)
        free(s);
    return result(e);
}

EXPORT int thrd_join(thrd_t t, int *ret)
{
    void *value = NULL;
    int e = pthread_join(t, &value);
    if (ret != NULL)
        *ret = (int)(intptr_t)value;
    return result(e);
}

EXPORT int thrd_detach(thrd_t t)
{
    return result(pthread_detach(t));
}

EXPORT int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t a;
    int e = pthread_mutexattr_init(&a);
    if (e == 0)
        e = pthread_mutexattr_settype(&a, (type & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    if (e == 0)
        e = pthread_mutex_init((pthread_mutex_t *)m, &a);
    (void)pthread_mutexattr_destroy(&a);
    return result(e);
}

EXPORT int mtx_lock(mtx_t *m)
{
    return result(pthread_mutex_lock((pthread_mutex_t *)m));
}

EXPORT int mtx_trylock(mtx_t *m)
{
    return result(pthread_mutex_trylock((pthread_mutex_t *)m));
}

EXPORT int mtx_timedlock(mtx_t *m, const struct timespec *until)
{
    return result(pthread_mutex_timedlock((pthread_mutex_t *)m, until));
}

EXPORT int mtx_unlock(mtx_t *m)
{
    return result(pthread_mutex_unlock((pthread_mutex_t *)m));
}

EXPORT void mtx_destroy(mtx_t *m)
{
    (void)pthread_mutex_destroy((pthread_mutex_t *)m);
}

EXPORT int cnd_init(cnd_t *c)
{
    return result(pthread_cond_init((pthread_cond_t *)c, NULL));
}

EXPORT int cnd_signal(cnd_t *c)
{
    return result(pthread_cond_signal((pthread_cond_t *)c));
}

EXPORT int cnd_broadcast(cnd_t *c)
{
    return result(pthread_cond_broadcast((pthread_cond_t *)c));
}

EXPORT int cnd_wait(cnd_t *c, mtx_t *m)
{
    return result(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

EXPORT int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    return result(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}

EXPORT void cnd_destroy(cnd_t *c)
{
    (void)pthread_cond_destroy((pthread_cond_t *)c);
}
