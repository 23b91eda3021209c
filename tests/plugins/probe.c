/* probe.c - loads and creates plugins in a process of its own. SPDX-License-Identifier: Apache-2.0
 *
 *   plugin_probe load NAME|PATH [KEY=VALUE…]    load; with pairs, also create and destroy an instance
 *   plugin_probe threads COUNT NAME…            COUNT threads load all names at once, each many times
 * Prints "path=…" or "problem: [WHERE] TEXT" lines; exit status 0 or 1.
 */
#include "config.h"

#include "base/base.h"
#include "plugin/registry.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/auxv.h>

/* Asked by LeakSanitizer, if the program has it: it cannot look into a process with more rights than its user, and
 * would end the program instead of letting it print. */
extern int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return getauxval(AT_SECURE) != 0;
}

static void print_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        printf("problem: [%s] %s\n", p[i]->path, p[i]->message);
}

static int create(const struct plugin *plugin, char **pairs, int count)
{
    const struct aw_sink_class *sink = plugin_sink(plugin, NULL);
    struct aw_config *config = NULL;
    struct plugin_host *host = NULL;
    void *instance = NULL;
    if (!sink ||
        schema_config_from_pairs(sink->options, (const char *const *)pairs, (size_t)count, sink->name, &config) != 0)
        return 1;
    if (host_create("probe", NULL, &host) != 0)
        return 1;
    printf("creating %s of %s\n", sink->name, plugin->path);
    fflush(stdout);
    int32_t rc = sink->create(host_table(host), config, &instance);
    char why[200];
    host_last_error(host, why, sizeof why);
    printf("create=%d %s\n", (int)rc, why);
    if (rc == AW_OK && sink->start) {
        int32_t started = sink->start(instance);
        host_last_error(host, why, sizeof why);
        printf("start=%d %s\n", (int)started, why);
    }
    if (rc == AW_OK)
        sink->destroy(instance);
    host_destroy(host);
    schema_config_destroy(config);
    return 0;
}

static int load(int argc, char **argv)
{
    bool path = strchr(argv[0], '/') != NULL;
    struct plugin_spec spec = {.name = path ? NULL : argv[0], .path = path ? argv[0] : NULL, .where = "probe:1"};
    const struct plugin *plugin;
    if (plugin_load(&spec, &plugin) != 0)
        return 1;
    printf("path=%s\n", plugin->path);
    return argc > 1 ? create(plugin, argv + 1, argc - 1) : 0;
}

struct task {
    pthread_t thread;
    pthread_barrier_t *barrier;
    char **names;
    int count;
    const struct plugin *first[16];
    int failures;
};

static void *loader(void *arg)
{
    struct task *t = arg;
    (void)pthread_barrier_wait(t->barrier);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < t->count; i++) {
            struct plugin_spec spec = {.name = t->names[i]};
            const struct plugin *plugin = NULL;
            diag_reset();
            bool ok = plugin_load(&spec, &plugin) == 0;
            if (!t->first[i])
                t->first[i] = plugin;
            if (!ok || plugin != t->first[i] || !plugin_sink(plugin, t->names[i]) || !plugin->descriptor.id[0])
                t->failures++;
        }
    }
    return NULL;
}

static int threads(int argc, char **argv)
{
    int n = (int)strtol(argv[0], NULL, 10), count = argc - 1 > 16 ? 16 : argc - 1, failures = 0;
    struct task *tasks = calloc((size_t)n, sizeof *tasks);
    pthread_barrier_t barrier;
    if (!tasks || n < 1 || pthread_barrier_init(&barrier, NULL, (unsigned)n) != 0)
        return 1;
    for (int i = 0; i < n; i++) {
        tasks[i].barrier = &barrier;
        tasks[i].names = argv + 1;
        tasks[i].count = count;
        if (pthread_create(&tasks[i].thread, NULL, loader, &tasks[i]) != 0)
            abort();
    }
    for (int i = 0; i < n; i++) {
        (void)pthread_join(tasks[i].thread, NULL);
        failures += tasks[i].failures + (memcmp(tasks[i].first, tasks[0].first, sizeof tasks[i].first) != 0);
    }
    (void)pthread_barrier_destroy(&barrier);
    free(tasks);
    printf("failures=%d\n", failures);
    return failures != 0;
}

int main(int argc, char **argv)
{
    int rc = 2;
    if (argc >= 3 && strcmp(argv[1], "load") == 0)
        rc = load(argc - 2, argv + 2);
    else if (argc >= 4 && strcmp(argv[1], "threads") == 0)
        rc = threads(argc - 2, argv + 2);
    print_problems();
    return rc;
}
