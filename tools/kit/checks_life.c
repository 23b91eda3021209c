/* checks_life.c - checks of an instance's life, and of what it leaves behind. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checks.h"

/* ---- what several checks use ---- */

static size_t count_names(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n;
}

size_t kit_count_threads(void)
{
    return count_names("/proc/self/task");
}

size_t kit_count_fds(void)
{
    return count_names("/proc/self/fd");
}

struct kit_instance *kit_begin(void)
{
    return kit_has_sink() ? kit_ready(0) : NULL;
}

void kit_finish(struct kit_instance *i)
{
    if (i) {
        (void)kit_stop_ok(i);
        kit_destroy(i);
    }
}

static bool deliver_some(struct kit_instance *i, size_t count)
{
    struct kit_set set = kit_events(count, KIT_PLAIN);
    bool ok = kit_deliver(i, &set, 0);
    kit_events_free(&set);
    return ok;
}

/* ---- orders ---- */

static void check_create(void)
{
    if (!kit_has_sink())
        return;
    for (int n = 0; n < 3; n++) {
        struct kit_instance *i = kit_create(0, false, false);
        if (!i)
            return;
        kit_destroy(i);
    }
}

static void check_create_pure(void)
{
    char first[300];
    if (!kit_has_sink())
        return;
    struct kit_instance *i = kit_create(0, false, false); /* what is loaded late is loaded now */
    kit_destroy(i);
    size_t fds = kit_count_fds(), threads = kit_count_threads();
    struct aw_config *config = kit_config(0, false); /* its secrets are read by the host */
    kit_config_free(config);
    watch_begin();
    i = i ? kit_create(0, false, false) : NULL;
    size_t calls = watch_end(first, sizeof first);
    if (!i)
        return;
    EXPECT(calls == 0, "create() calls %s and %zu more", first, calls ? calls - 1 : 0);
    EXPECT(kit_count_fds() == fds, "create() leaves a descriptor open");
    EXPECT(kit_count_threads() == threads, "create() starts a thread");
    kit_destroy(i);
}

static void check_cycle(void)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    (void)deliver_some(i, 3);
    kit_finish(i);
}

/* Nothing between create, start, stop and destroy. */
static void check_idle(void)
{
    struct kit_instance *i = kit_begin();
    kit_finish(i);
    i = i ? kit_create(0, false, false) : NULL;
    if (!i)
        return;
    EXPECT(kit_stop(i) == AW_OK, "stop() without start() returned an error: %s", kit_error(i));
    if (kit_start_ok(i) && kit_stop_ok(i))
        EXPECT(kit_stop(i) == AW_OK, "a second stop() returned an error: %s", kit_error(i));
    kit_destroy(i);
}

static void check_no_stop(void)
{
    struct kit_instance *i = kit_begin();
    if (!i)
        return;
    (void)deliver_some(i, 5);
    kit_destroy(i); /* as after an error */
    if (!kit_failed())
        kit_finish(kit_ready(0));
}

static void check_restart(void)
{
    struct kit_instance *i = kit_begin();
    for (int n = 0; i && n < 3 && deliver_some(i, 4); n++)
        if (!kit_stop_ok(i) || !kit_start_ok(i))
            break;
    kit_finish(i);
}

/* ---- a start that fails ---- */

static const enum inject_kind start_kinds[] = {INJECT_OPEN, INJECT_CONNECT, INJECT_WRITE, INJECT_SEND, INJECT_MALLOC};

/* The nth call in start() fails, once or from then on. false: there are fewer calls. */
static bool failed_start(enum inject_kind kind, long nth, bool on)
{
    struct kit_instance *i = kit_create(0, false, false);
    if (!i)
        return false;
    inject_arm(kind, nth, kind == INJECT_MALLOC ? ENOMEM : kind == INJECT_WRITE ? ENOSPC : ECONNREFUSED, on);
    int32_t rc = kit_start(i);
    (void)inject_disarm();
    bool fired = inject_fired();
    if (rc != AW_OK) {
        EXPECT(rc != AW_E_CONFIG || !fired || kind == INJECT_OPEN || kind == INJECT_CONNECT,
               "start() called a failing %s AW_E_CONFIG, which is not tried again", inject_name(kind));
        EXPECT(fired, "start() returned %s: %s", kit_code_name(rc), kit_error(i));
        if (nth % 2 == 0 && kit_start_ok(i))
            (void)kit_stop_ok(i);
    }
    kit_destroy(i); /* after the failed start, or while it runs */
    return fired && !kit_failed();
}

static void check_failed_start(void)
{
    size_t failures = 0;
    if (!kit_has_sink())
        return;
    inject_skip_syncs(true);
    for (size_t k = 0; k < sizeof start_kinds / sizeof start_kinds[0]; k++)
        for (int on = 0; on < 2 && inject_can(start_kinds[k]); on++)
            for (long n = 1; n < 40 && failed_start(start_kinds[k], n, on); n++)
                failures++;
    kit_note("%zu failures in start()", failures);
    if (kit_failed())
        return;
    struct kit_instance *i = kit_ready(0);
    if (i)
        (void)deliver_some(i, 3);
    kit_finish(i);
}

/* ---- other callbacks of a life ---- */

static void check_reopen(void)
{
    struct kit_instance *i = kit_begin();
    for (int n = 0; i && n < 3 && deliver_some(i, 4); n++) {
        int32_t rc = kit_reopen(i);
        if (!EXPECT(rc == AW_OK, "reopen() returned %s: %s", kit_code_name(rc), kit_error(i)))
            break;
    }
    kit_finish(i);
}

static void check_reconfigure(void)
{
    if (!kit_has_sink())
        return;
    if (!kit_class.reconfigure) {
        kit_not_applicable("there is no reconfigure(): a new instance replaces the old one");
        return;
    }
    struct kit_instance *i = kit_ready(0);
    if (i && deliver_some(i, 4)) {
        int32_t rc = kit_reconfigure(i, 0);
        EXPECT(rc == AW_OK, "reconfigure() with the same settings returned %s: %s", kit_code_name(rc), kit_error(i));
        (void)deliver_some(i, 4);
    }
    kit_finish(i);
}

static void check_two(void)
{
    struct kit_instance *a = kit_begin();
    struct kit_instance *b = a ? kit_ready(1) : NULL;
    struct kit_set first = kit_events(20, KIT_PLAIN), second = kit_events(20, KIT_PLAIN);
    for (int n = 0; b && n < 10; n++) {
        (void)kit_deliver_once(a, &first, 3, 0);
        (void)kit_deliver_once(b, &second, 3, 0);
    }
    if (b && kit_deliver(a, &first, 0))
        (void)kit_deliver(b, &second, 0);
    kit_finish(a); /* the other goes on */
    if (b && !kit_failed())
        (void)deliver_some(b, 3);
    kit_finish(b);
    struct kit_stored s;
    if (b && !kit_failed() && kit_class.durability != AW_DURABLE_NEVER && kit_can_read()) {
        if (kit_read(0, &s))
            (void)kit_expect_stored(&s, &first, "the first of two instances");
        kit_stored_free(&s);
        if (kit_read(1, &s))
            (void)kit_expect_stored(&s, &second, "the second of two instances");
        kit_stored_free(&s);
    } else {
        kit_report->not_applicable[0] = '\0'; /* both lived, which is what can be said */
    }
    kit_events_free(&first);
    kit_events_free(&second);
}

/* ---- what is left behind ---- */

static void one_life(void)
{
    struct kit_instance *i = kit_ready(0);
    if (i)
        (void)deliver_some(i, 2);
    kit_finish(i);
}

#define LIVES 16
static void check_leaks(void)
{
    if (!kit_has_sink())
        return;
    for (int n = 0; n < 4; n++)
        one_life(); /* what a library keeps for the process */
    size_t fds = kit_count_fds(), threads = kit_count_threads(), memory = inject_memory_used();
    for (int n = 0; n < LIVES && !kit_failed(); n++)
        one_life();
    for (int n = 0; n < 50 && kit_count_threads() > threads; n++)
        kit_nap(10); /* a thread that was joined may still be listed for a moment */
    size_t more = inject_memory_used() > memory ? inject_memory_used() - memory : 0;
    if (kit_failed())
        return;
    EXPECT(kit_count_fds() <= fds, "%zu descriptors more after %d lives", kit_count_fds() - fds, LIVES);
    EXPECT(kit_count_threads() <= threads, "%zu threads more after %d lives", kit_count_threads() - threads, LIVES);
    EXPECT(more < LIVES * 32, "%zu bytes of memory more after %d lives: %zu a life", more, LIVES, more / LIVES);
}

struct world {
    struct sigaction action[32];
    mode_t mask;
    char cwd[600], locale[200];
    sigset_t blocked;
};

static void look(struct world *w)
{
    memset(w, 0, sizeof *w);
    for (int s = 1; s < 32; s++)
        (void)sigaction(s, NULL, &w->action[s]);
    w->mask = umask(022);
    (void)umask(w->mask);
    if (!getcwd(w->cwd, sizeof w->cwd))
        w->cwd[0] = '\0';
    (void)snprintf(w->locale, sizeof w->locale, "%s", setlocale(LC_ALL, NULL));
    (void)pthread_sigmask(SIG_SETMASK, NULL, &w->blocked);
}

static void check_hygiene(void)
{
    struct world before, after;
    (void)umask(027);
    look(&before);
    struct kit_instance *i = kit_begin();
    if (i)
        (void)deliver_some(i, 10);
    kit_finish(i);
    look(&after);
    for (int s = 1; s < 32; s++) {
        EXPECT(before.action[s].sa_handler == after.action[s].sa_handler, "changed what signal %d (%s) does", s,
               strsignal(s));
        EXPECT(sigismember(&before.blocked, s) == sigismember(&after.blocked, s),
               "changed whether signal %d is blocked", s);
    }
    EXPECT(before.mask == after.mask, "changed the umask from %03o to %03o", before.mask, after.mask);
    EXPECT(strcmp(before.cwd, after.cwd) == 0, "changed the current directory");
    EXPECT(strcmp(before.locale, after.locale) == 0, "changed the locale to %s", after.locale);
}

/* A whole life, with failures in it: whatever comes out on the standard streams is the plugin's (see run.c). */
static void check_quiet(void)
{
    struct kit_instance *i = kit_begin();
    if (i) {
        (void)deliver_some(i, 5);
        struct kit_set set = kit_events(5, KIT_PLAIN);
        inject_arm(INJECT_WRITE, 1, ENOSPC, true);
        (void)kit_deliver_once(i, &set, 5, 0);
        (void)inject_disarm();
        (void)kit_deliver(i, &set, 0);
        kit_events_free(&set);
    }
    kit_finish(i);
}

static bool has_secret(void)
{
    for (size_t i = 0; kit_schema[i]; i++)
        for (size_t k = 0; k < kit.setting_count; k++)
            if (kit_schema[i]->type == AW_OPT_SECRET && strcmp(kit_schema[i]->key, kit.settings[k].key) == 0)
                return true;
    return false;
}

static void check_secrets(void)
{
    if (!kit_has_sink())
        return;
    if (!has_secret()) {
        kit_not_applicable("no option of type secret has a value: give one with --option");
        return;
    }
    for (int kind = 0; kind < INJECT_KINDS; kind++) {
        struct kit_instance *i = kit_create(0, false, false);
        if (!i)
            return;
        struct kit_set set = kit_events(2, KIT_PLAIN);
        inject_arm((enum inject_kind)kind, 1, EACCES, true);
        if (inject_can((enum inject_kind)kind) && kit_start(i) == AW_OK)
            (void)kit_deliver_once(i, &set, 2, 0);
        (void)inject_disarm();
        (void)kit_stop(i);
        kit_destroy(i);
        kit_events_free(&set);
    }
    EXPECT(!kit_told_secret(), "a secret was told"); /* each place is a finding of its own */
}

const struct kit_check checks_life[] = {
    {"create", "create and destroy, several times", "create() sets *ret_sink; destroy() frees what create() made",
     check_create, 20, false},
    {"create-pure", "create() does no I/O and starts no threads",
     "move it to start(): the process may still fork or drop its privileges after create()", check_create_pure, 20,
     false},
    {"cycle", "create, start, write, stop, destroy", "see the message", check_cycle, 30, false},
    {"idle", "stop without start, and stop twice, are harmless", "stop() returns AW_OK when nothing is open",
     check_idle, 30, false},
    {"no-stop", "destroy without stop is safe", "destroy() closes what is still open", check_no_stop, 30, false},
    {"restart", "start after stop works", "stop() leaves the instance as create() made it", check_restart, 30, false},
    {"failed-start", "destroy and a new start are safe after a start that failed",
     "start() undoes what it did before it returns an error; destroy() frees only what is there", check_failed_start,
     60, false},
    {"reopen", "writing goes on after reopen()", "reopen() leaves the sink started, or returns an error", check_reopen,
     30, false},
    {"reconfigure", "reconfigure() with the same settings changes nothing", "see the message", check_reconfigure, 30,
     false},
    {"two-instances", "two instances live side by side", "keep all state in the instance, none in static variables",
     check_two, 60, false},
    {"leaks", "many lives leave nothing behind",
     "free, close and join in stop() and destroy() what create() and start() made", check_leaks, 60, false},
    {"hygiene", "signals, umask, directory and locale of the process stay as they are",
     "a plugin is a guest in a process that is not its own", check_hygiene, 30, false},
    {"quiet", "nothing is printed", "use aw_host_log(); turn off the messages of libraries", check_quiet, 30, false},
    {"secrets", "no secret stands in a message", "never print a secret, nor a connection string that holds one",
     check_secrets, 60, false},
    {NULL, NULL, NULL, NULL, 0, false},
};
