/* thread.h - starting our own threads. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_THREAD_H
#define AW_THREAD_H

#include <pthread.h>

/* All signals blocked: those are the application's. Scheduled as a batch thread (sched(7)), unless the caller has
 * another policy than the usual one. name: for people who look at the process; cut at 15 bytes. 0 or -errno. */
int thread_start(pthread_t *ret, void *(*fn)(void *), void *arg, const char *name);

#endif
