/* inject.c - see inject.h: the state, and what each interposed call asks. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "inject_calls.h"
#include "kit.h"

/* Armed by a check for its own thread. */
static _Thread_local bool armed;
static enum inject_kind kind;
static long nth, calls;
static int error;
static bool on, fired, half_done, skip_syncs;

bool inject_can(enum inject_kind which)
{
#ifdef AW_SANITIZED
    return which != INJECT_MALLOC;
#else
    (void)which;
    return true;
#endif
}

const char *inject_name(enum inject_kind which)
{
    static const char *const names[] = {"allocation", "open",    "write", "sync", "rename",
                                        "truncation", "connect", "send",  "recv"};
    return names[which];
}

void inject_arm(enum inject_kind which, long which_call, int errnum, bool go_on)
{
    kind = which;
    nth = which_call;
    error = errnum;
    on = go_on;
    calls = 0;
    fired = half_done = false;
    armed = true;
}

long inject_disarm(void)
{
    armed = false;
    return calls;
}

bool inject_fired(void)
{
    return fired;
}

void inject_skip_syncs(bool skip)
{
    skip_syncs = skip;
}

bool inject_syncs_skipped(void)
{
    return skip_syncs;
}

bool inject_hit(enum inject_kind which)
{
    if (!armed || kind != which)
        return false;
    calls++;
    bool now = calls == nth || (on && calls > nth);
    fired = fired || now;
    if (now)
        errno = error;
    return now;
}

/* The linker's names for this program's code. */
extern const char __executable_start[], etext[];

bool inject_hit_memory(const void *caller)
{
    if (!armed || kind != INJECT_MALLOC)
        return false;
    if (!kit.fail_libraries && !kit_address_in_plugin(caller))
        return false;
    if ((const char *)caller >= __executable_start && (const char *)caller < etext)
        return false; /* the kit's own */
    if (kit_address_in_loader(caller))
        return false; /* memory of thread-local variables: the loader ends the process without it */
    return inject_hit(INJECT_MALLOC);
}

/* The nth write puts out half, the one after it fails. */
bool inject_write_fails(size_t *ret_n)
{
    if (armed && kind == INJECT_WRITE && half_done) {
        half_done = on;
        errno = error;
        return true;
    }
    if (!inject_hit(INJECT_WRITE))
        return false;
    half_done = true;
    *ret_n /= 2;
    if (*ret_n > 0)
        return false;
    half_done = on;
    errno = error;
    return true;
}

/* ---- watching ---- */

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER; /* guards watch_first */
static volatile bool watching;
static size_t watched;
static char watch_first[300];

void watch_begin(void)
{
    watched = 0;
    watch_first[0] = '\0';
    watching = true;
}

size_t watch_end(char *ret_first, size_t size)
{
    watching = false;
    (void)snprintf(ret_first, size, "%s", watch_first);
    return watched;
}

/* What belongs to the machine rather than to the store: libraries look there when they are first used. */
static bool of_the_machine(const char *path)
{
    static const char *const places[] = {"/usr/",
                                         "/lib/",
                                         "/proc/",
                                         "/sys/",
                                         "/dev/urandom",
                                         "/dev/random",
                                         "/etc/ssl/openssl.cnf",
                                         "/etc/gnutls/",
                                         "/etc/crypto-policies/"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (strncmp(path, places[i], strlen(places[i])) == 0)
            return true;
    return false;
}

void inject_saw(const char *call, const char *path)
{
    if (!watching || (path && of_the_machine(path)))
        return;
    (void)pthread_mutex_lock(&watch_lock);
    if (watched++ == 0)
        (void)snprintf(watch_first, sizeof watch_first, "%s(%s)", call, path ? path : "");
    (void)pthread_mutex_unlock(&watch_lock);
}

/* ---- files that were written and not synced ---- */

#define DIRTY_MAX 64
static pthread_mutex_t dirty_lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct {
    dev_t dev;
    ino_t ino;
    bool lost; /* a sync failed, and nothing was written since: another sync proves nothing */
    char name[128];
} dirty[DIRTY_MAX];
static size_t dirty_used;
static bool tracking;

void dirty_begin(void)
{
    (void)pthread_mutex_lock(&dirty_lock);
    dirty_used = 0;
    tracking = true;
    (void)pthread_mutex_unlock(&dirty_lock);
}

static size_t dirty_find(const struct stat *st)
{
    size_t i = 0;
    while (i < dirty_used && (dirty[i].dev != st->st_dev || dirty[i].ino != st->st_ino))
        i++;
    return i;
}

void inject_dirty(int fd)
{
    struct stat st;
    int saved = errno, flags;
    if (!tracking)
        return;
    if (inject_fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 0 && (flags = fcntl(fd, F_GETFL)) >= 0 &&
        (flags & (O_DSYNC | O_SYNC)) == 0) {
        char link[64];
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        (void)pthread_mutex_lock(&dirty_lock);
        size_t i = dirty_find(&st);
        if (i < dirty_used)
            dirty[i].lost = false;
        if (i == dirty_used && dirty_used < DIRTY_MAX) {
            dirty_used++;
            dirty[i].dev = st.st_dev;
            dirty[i].ino = st.st_ino;
            dirty[i].lost = false;
            ssize_t n = inject_readlink(link, dirty[i].name, sizeof dirty[i].name - 1);
            dirty[i].name[n > 0 ? n : 0] = '\0';
        }
        (void)pthread_mutex_unlock(&dirty_lock);
    }
    errno = saved;
}

/* What was lost has been written anew, there or elsewhere (a database copies its log into its file). */
static void forget_lost(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < dirty_used; i++)
        if (!dirty[i].lost)
            dirty[kept++] = dirty[i];
    dirty_used = kept;
}

void inject_clean(int fd, bool good)
{
    struct stat st;
    int saved = errno;
    if (tracking && inject_fstat(fd, &st) == 0) {
        (void)pthread_mutex_lock(&dirty_lock);
        size_t i = dirty_find(&st);
        if (i < dirty_used && !good) {
            dirty[i].lost = true;
        } else if (i < dirty_used && !dirty[i].lost) {
            dirty[i] = dirty[--dirty_used];
            forget_lost();
        }
        (void)pthread_mutex_unlock(&dirty_lock);
    }
    errno = saved;
}

/* Memory that processes share by way of a file is no storage. */
static bool is_shared_memory(ino_t ino)
{
    char line[400], mode[8];
    unsigned long number;
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "%*s %7s %*s %*s %lu", mode, &number) == 2 && number == ino && strcmp(mode, "rw-s") == 0;
    if (f)
        (void)fclose(f);
    return found;
}

size_t dirty_count(char *ret_name, size_t size)
{
    size_t n = 0;
    (void)pthread_mutex_lock(&dirty_lock);
    for (size_t i = 0; i < dirty_used; i++) {
        struct stat st;
        /* one that was removed since need not be on the disk */
        if (inject_stat(dirty[i].name, &st) != 0 || st.st_ino != dirty[i].ino || is_shared_memory(st.st_ino))
            continue;
        if (n++ == 0)
            (void)snprintf(ret_name, size, "%s", dirty[i].name);
    }
    (void)pthread_mutex_unlock(&dirty_lock);
    return n;
}

/* ---- the gate ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER; /* guards gate_reached and gate_shut */
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_reached, gate_shut;
static _Thread_local bool gated;

void inject_gate_arm(void)
{
    (void)pthread_mutex_lock(&gate_lock);
    gate_shut = true;
    gate_reached = false;
    (void)pthread_mutex_unlock(&gate_lock);
    gated = true;
}

void inject_gate(void)
{
    if (!gated)
        return;
    int saved = errno;
    gated = false;
    (void)pthread_mutex_lock(&gate_lock);
    gate_reached = true;
    (void)pthread_cond_broadcast(&gate_moved);
    while (gate_shut)
        (void)pthread_cond_wait(&gate_moved, &gate_lock);
    (void)pthread_mutex_unlock(&gate_lock);
    errno = saved;
}

bool inject_gate_reached(unsigned ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_mutex_lock(&gate_lock);
    while (!gate_reached && pthread_cond_timedwait(&gate_moved, &gate_lock, &until) != ETIMEDOUT)
        ;
    bool reached = gate_reached;
    (void)pthread_mutex_unlock(&gate_lock);
    return reached;
}

void inject_gate_open(void)
{
    (void)pthread_mutex_lock(&gate_lock);
    gate_shut = false;
    (void)pthread_cond_broadcast(&gate_moved);
    (void)pthread_mutex_unlock(&gate_lock);
}
