/* thread.c - see thread.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>

/* Woken up, our threads would push one of the application's off its processor, and it is the one that logs. As batch
 * threads they take a free processor or wait for their turn. Whoever chose another policy knows better. */
static void give_way(pthread_t thread)
{
#if defined(SCHED_BATCH)
    struct sched_param param;
    int policy;
    if (pthread_getschedparam(thread, &policy, &param) == 0 && policy == SCHED_OTHER)
        (void)pthread_setschedparam(thread, SCHED_BATCH, &param); /* only slower without it */
#else
    (void)thread;
#endif
}

int thread_start(pthread_t *ret, void *(*fn)(void *), void *arg, const char *name)
{
    sigset_t all, before;
    char text[16];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = -pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof text, "%.15s", name);
    (void)pthread_setname_np(*ret, text); /* nothing depends on it */
    give_way(*ret);
    return 0;
}
