/* nats_guard.c - keeps the library from changing the process, and its callbacks from what is gone.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "nats_sink.h"

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows, and all watches */
static pid_t opened_by;
static struct np_watch *watches;

void np_guard_enter(struct np_guard *g)
{
    sigset_t all, pending;
    (void)sigpending(&pending);
    g->was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)sigfillset(&all); /* no thread that the library starts handles the host's signals */
    (void)pthread_sigmask(SIG_SETMASK, &all, &g->before);
}

void np_guard_leave(const struct np_guard *g)
{
    static const struct timespec zero;
    sigset_t pipe_only, pending;
    (void)sigpending(&pending);
    if (!g->was_pending && sigismember(&pending, SIGPIPE) == 1) {
        (void)sigemptyset(&pipe_only);
        (void)sigaddset(&pipe_only, SIGPIPE);
        while (sigtimedwait(&pipe_only, NULL, &zero) < 0 && errno == EINTR)
            ;
    }
    (void)pthread_sigmask(SIG_SETMASK, &g->before, NULL);
}

int32_t np_library_open(const char **why)
{
    struct sigaction pipe_action;
    int32_t r = AW_OK;
    pthread_mutex_lock(&library_lock);
    if (opened_by == 0) {
        bool known = sigaction(SIGPIPE, NULL, &pipe_action) == 0;
        natsStatus status = nats_Open(-1);
        if (known)
            (void)sigaction(SIGPIPE, &pipe_action, NULL); /* the library ignores it for all of the process */
        if (status == NATS_OK) {
            opened_by = getpid();
        } else {
            *why = natsStatus_GetText(status);
            r = AW_E_UNAVAILABLE;
        }
    } else if (opened_by != getpid()) {
        /* Its threads are the parent's; nothing would keep time here. */
        *why = "the NATS library was opened before a fork, and cannot be used by the child: open the logger in the "
               "child only";
        r = AW_E_CONFIG;
    }
    pthread_mutex_unlock(&library_lock);
    return r;
}

struct np_watch *np_watch_take(void)
{
    pthread_mutex_lock(&library_lock);
    struct np_watch *w = watches;
    while (w != NULL && w->used)
        w = w->next;
    if (w == NULL && (w = calloc(1, sizeof *w)) != NULL) {
        w->next = watches;
        watches = w;
    }
    if (w != NULL)
        w->used = true;
    pthread_mutex_unlock(&library_lock);
    return w;
}

void np_watch_give(struct np_watch *w)
{
    if (w == NULL)
        return;
    np_watch_begin(w, NULL);
    pthread_mutex_lock(&library_lock);
    w->used = false;
    pthread_mutex_unlock(&library_lock);
}

void np_watch_begin(struct np_watch *w, natsConnection *nc)
{
    pthread_mutex_lock(&library_lock);
    w->nc = nc;
    w->closed = w->not_permitted = false;
    w->text[0] = '\0';
    pthread_mutex_unlock(&library_lock);
}

bool np_watch_not_permitted(struct np_watch *w, char text[NP_TEXT])
{
    pthread_mutex_lock(&library_lock);
    bool told = w->not_permitted;
    if (told)
        snprintf(text, NP_TEXT, "%s", w->text);
    pthread_mutex_unlock(&library_lock);
    return told;
}

bool np_watch_closed(struct np_watch *w)
{
    pthread_mutex_lock(&library_lock);
    bool closed = w->closed;
    pthread_mutex_unlock(&library_lock);
    return closed;
}

void np_on_closed(natsConnection *nc, void *watch)
{
    struct np_watch *w = watch;
    pthread_mutex_lock(&library_lock);
    w->closed = w->closed || w->nc == nc;
    pthread_mutex_unlock(&library_lock);
}

void np_on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *watch)
{
    struct np_watch *w = watch;
    const char *text = NULL;
    (void)sub;
    if (status != NATS_NOT_PERMITTED)
        return;
    (void)natsConnection_GetLastError(nc, &text);
    pthread_mutex_lock(&library_lock);
    if (w->nc == nc) {
        w->not_permitted = true;
        snprintf(w->text, sizeof w->text, "%s", text != NULL ? text : "not permitted");
    }
    pthread_mutex_unlock(&library_lock);
}
