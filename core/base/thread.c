/* thread.c - see thread.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/thread.h"

#include <signal.h>
#include <stdio.h>

int thread_start(pthread_t *ret, void *(*fn)(void *), void *arg, const char *name)
{
    sigset_t all, before;
    char text[16];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = -pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    snprintf(text, sizeof text, "%.15s", name);
    if (rc == 0)
        (void)pthread_setname_np(*ret, text); /* nothing depends on it */
    return rc;
}
