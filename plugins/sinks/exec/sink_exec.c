/* sink_exec.c - the exec sink: class, options and life of an instance.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec_sink.h"

#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {sizeof(struct aw_option), type, flags, 0, key, deflt, help, min, max, choices}
#define MS INT64_C(1000000)
#define HOUR (3600000 * MS)

static const char *const durability_choices[] = {"on_write", "on_flush", "never", NULL};

OPTION(opt_command, AW_OPT_LIST, AW_OPT_REQUIRED, "command", NULL,
       "The program, by its absolute path, and its arguments; no shell has a part in it.", 0, 0, NULL);
OPTION(opt_env, AW_OPT_LIST, 0, "environment", NULL,
       "Its environment: \"NAME=value\", or \"NAME\" to hand on the host's value; it has PATH and nothing else.", 0, 0,
       NULL);
OPTION(opt_dir, AW_OPT_PATH, 0, "directory", "/", "Its working directory.", 0, 0, NULL);
OPTION(opt_durability, AW_OPT_ENUM, 0, "durability", "on_write",
       "What its word is worth. on_write: \"durable\" is; on_flush: \"accepted\" is, after a flush; never: it only "
       "forwards.",
       0, 0, durability_choices);
OPTION(opt_timeout, AW_OPT_DURATION, 0, "ack_timeout", "20s",
       "A program that takes nothing and answers nothing for this long is ended.", 10 * MS, HOUR, NULL);
OPTION(opt_grace, AW_OPT_DURATION, 0, "grace", "2s",
       "How long it has to end: after the end of its input, and again after SIGTERM. Then comes SIGKILL.", 1 * MS, HOUR,
       NULL);
OPTION(opt_delay, AW_OPT_DURATION, 0, "restart_delay", "1s",
       "Pause before a program that did nothing is started again; doubled each time.", 1 * MS, HOUR, NULL);
OPTION(opt_delay_max, AW_OPT_DURATION, 0, "restart_delay_max", "1m", "The longest such pause.", 1 * MS, HOUR, NULL);
OPTION(opt_user, AW_OPT_STRING, 0, "user", NULL, "The user it runs as, when the host is root.", 0, 0, NULL);
OPTION(opt_group, AW_OPT_STRING, 0, "group", NULL, "Its group, if not the user's own.", 0, 0, NULL);
OPTION(opt_memory, AW_OPT_SIZE, 0, "memory_limit", NULL, "Its address space at most (RLIMIT_AS).", 1 << 20, INT64_MAX,
       NULL);
OPTION(opt_files, AW_OPT_UINT, 0, "files_limit", "256", "Its open files at most (RLIMIT_NOFILE).", 8, 1 << 20, NULL);
OPTION(opt_privileges, AW_OPT_BOOL, 0, "no_new_privileges", "true",
       "It cannot gain rights by running set-user-ID programs such as sudo.", 0, 0, NULL);

static const struct aw_option *const options[] = {
    &opt_command,   &opt_env,  &opt_dir,   &opt_durability, &opt_timeout, &opt_grace,      &opt_delay,
    &opt_delay_max, &opt_user, &opt_group, &opt_memory,     &opt_files,   &opt_privileges, NULL};

static int64_t number(const struct aw_host *h, const struct aw_config *c, const char *key, int64_t otherwise)
{
    int64_t v;
    return h->config_int(c, key, &v) == AW_OK ? v : otherwise;
}

static char *copy_text(const struct aw_host *h, const struct aw_config *c, const char *key)
{
    struct aw_str s;
    return h->config_str(c, key, &s) == AW_OK ? strndup(s.ptr, s.len) : strdup("");
}

static void free_list(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++)
        free(list[i]);
    free(list);
}

static int32_t no_memory(const struct exec_sink *s)
{
    return aw_host_error(s->host, AW_E_NOMEM, "out of memory");
}

/* Appends a copy, or with NULL nothing: a NULL-ended list. */
static bool append(char ***list, size_t *count, const char *text, size_t len)
{
    char **more = realloc(*list, (*count + 2) * sizeof *more);
    if (more == NULL)
        return false;
    *list = more;
    more[*count] = more[*count + 1] = NULL;
    if (text == NULL)
        return true;
    more[*count] = strndup(text, len);
    return more[(*count)++] != NULL;
}

static int32_t read_command(struct exec_sink *s, const struct aw_config *config)
{
    struct aw_str item;
    size_t count = 0;
    for (size_t i = 0; s->host->config_list(config, "command", i, &item) == AW_OK; i++) {
        if (memchr(item.ptr, '\0', item.len) != NULL)
            return aw_host_error(s->host, AW_E_CONFIG, "command: an argument has a NUL byte");
        if (!append(&s->argv, &count, item.ptr, item.len))
            return no_memory(s);
    }
    if (count == 0 || s->argv[0][0] == '\0')
        return aw_host_error(s->host, AW_E_CONFIG,
                             "command: names no program; expected ( \"/path/to/program\", \"argument\" )");
    if (s->argv[0][0] != '/')
        return aw_host_error(s->host, AW_E_CONFIG, "command: \"%s\" is not an absolute path; no PATH is searched",
                             s->argv[0]);
    return AW_OK;
}

static bool good_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return len > 0;
}

static int32_t read_environment(struct exec_sink *s, const struct aw_config *config)
{
    static const char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
    struct aw_str item;
    size_t count = 0;
    bool has_path = false;
    for (size_t i = 0; s->host->config_list(config, "environment", i, &item) == AW_OK; i++) {
        const char *equals = memchr(item.ptr, '=', item.len);
        size_t name_len = equals != NULL ? (size_t)(equals - item.ptr) : item.len;
        char name[128], *both = NULL;
        if (!good_name(item.ptr, name_len) || name_len >= sizeof name || memchr(item.ptr, '\0', item.len) != NULL)
            return aw_host_error(s->host, AW_E_CONFIG, "environment: item %zu is neither \"NAME=value\" nor \"NAME\"",
                                 i + 1);
        snprintf(name, sizeof name, "%.*s", (int)name_len, item.ptr);
        const char *value = equals != NULL ? equals + 1 : getenv(name);
        if (value == NULL)
            continue; /* the host does not have it either */
        has_path = has_path || strcmp(name, "PATH") == 0;
        size_t value_len = equals != NULL ? item.len - name_len - 1 : strlen(value);
        bool ok =
            asprintf(&both, "%s=%.*s", name, (int)value_len, value) >= 0 && append(&s->env, &count, both, strlen(both));
        free(both);
        if (!ok)
            return no_memory(s);
    }
    if (!append(&s->env, &count, has_path ? NULL : path, sizeof path - 1))
        return no_memory(s);
    return AW_OK;
}

static int32_t read_settings(struct exec_sink *s, const struct aw_config *config)
{
    const struct aw_host *h = s->host;
    struct aw_str durability = {"on_write", 8};
    int32_t r = read_command(s, config), flag = 1;
    if (r == AW_OK)
        r = read_environment(s, config);
    if (r != AW_OK)
        return r;
    s->dir = copy_text(h, config, "directory");
    s->user = copy_text(h, config, "user");
    s->group = copy_text(h, config, "group");
    s->in_buf = malloc(EX_LINE_MAX + 1);
    if (s->dir == NULL || s->user == NULL || s->group == NULL || s->in_buf == NULL)
        return no_memory(s);
    (void)h->config_str(config, "durability", &durability);
    s->durability = strcmp(durability.ptr, "on_flush") == 0 ? EX_ON_FLUSH
                    : strcmp(durability.ptr, "never") == 0  ? EX_NEVER
                                                            : EX_ON_WRITE;
    s->ack_timeout_ns = (uint64_t)number(h, config, "ack_timeout", 20000 * MS);
    s->grace_ns = (uint64_t)number(h, config, "grace", 2000 * MS);
    s->restart_delay_ns = (uint64_t)number(h, config, "restart_delay", 1000 * MS);
    s->restart_delay_max_ns = (uint64_t)number(h, config, "restart_delay_max", 60000 * MS);
    s->memory_limit = (uint64_t)number(h, config, "memory_limit", 0);
    s->files_limit = (uint64_t)number(h, config, "files_limit", 256);
    s->no_new_privileges = h->config_bool(config, "no_new_privileges", &flag) != AW_OK || flag != 0;
    if (s->group[0] != '\0' && s->user[0] == '\0')
        return aw_host_error(h, AW_E_CONFIG, "group: needs user as well");
    if (s->restart_delay_max_ns < s->restart_delay_ns)
        return aw_host_error(h, AW_E_CONFIG, "restart_delay_max: less than restart_delay");
    return AW_OK;
}

static int32_t stop(void *sink, uint64_t deadline_ns)
{
    struct exec_sink *s = sink;
    uint64_t seq;
    if (!s->started)
        return AW_OK;
    int32_t r = ex_flush(s, deadline_ns, &seq);
    ex_end(s, EX_END_ASK, deadline_ns);
    ex_report_ignored(s, true);
    ex_keeper_stop(s);
    ex_unprepare(s);
    s->started = s->accepted_pending = s->accepted_lost = false;
    ex_set_health(s, AW_E_UNAVAILABLE, "stopped");
    return r;
}

static void destroy(void *sink)
{
    struct exec_sink *s = sink;
    if (s->started)
        (void)stop(s, 0);
    ex_free_batch(s);
    free_list(s->argv);
    free_list(s->env);
    free(s->dir);
    free(s->user);
    free(s->group);
    free(s->in_buf);
    free(s->rest);
    ex_unprepare(s);
    pthread_cond_destroy(&s->answered);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void register_metrics(struct exec_sink *s)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } all[] = {
        {"exec_starts_total", "Starts of the program.", offsetof(struct exec_sink, metric_starts)},
        {"exec_kills_total", "Programs that had to be ended by a signal.", offsetof(struct exec_sink, metric_kills)},
        {"exec_ignored_acks_total", "Acknowledgements that nobody waited for.",
         offsetof(struct exec_sink, metric_ignored)},
        {"exec_malformed_lines_total", "Lines of output that are no acknowledgements.",
         offsetof(struct exec_sink, metric_malformed)},
        {"exec_stderr_lines_total", "Lines of standard error.", offsetof(struct exec_sink, metric_stderr)},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        (void)s->host->metric_register(s->host, AW_METRIC_COUNTER, all[i].name, all[i].help,
                                       (uint32_t *)(void *)((char *)s + all[i].at));
}

static int32_t create(const struct aw_host *host, const struct aw_config *config, void **ret_sink)
{
    struct exec_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return aw_host_error(host, AW_E_NOMEM, "out of memory");
    s->host = host;
    s->in_fd = s->out_fd = s->err_fd = s->wake_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->answered, NULL);
    s->health.struct_size = sizeof s->health;
    s->health.state = AW_HEALTH_DOWN;
    s->health.since_ns = host->now_ns();
    snprintf(s->health.detail, sizeof s->health.detail, "not started");
    int32_t r = read_settings(s, config);
    if (r != AW_OK) {
        destroy(s);
        return r;
    }
    register_metrics(s);
    *ret_sink = s;
    return AW_OK;
}

static int32_t start(void *sink)
{
    struct exec_sink *s = sink;
    if (s->started)
        return aw_host_error(s->host, AW_E_INTERNAL, "%s: already started", s->argv[0]);
    int32_t r = ex_prepare(s);
    if (r == AW_OK)
        r = ex_keeper_start(s);
    if (r == AW_OK) {
        r = ex_ready(s);
        if (r != AW_OK)
            ex_keeper_stop(s);
    }
    if (r != AW_OK) {
        ex_unprepare(s);
        return r;
    }
    s->started = true;
    s->last_seq = 0;
    return ex_set_health(s, AW_OK, "");
}

/* New credentials, another version of the program: it is ended, and a fresh one started. */
static int32_t reopen(void *sink)
{
    struct exec_sink *s = sink;
    uint64_t seq;
    if (!s->started)
        return AW_OK;
    int32_t r = ex_flush(s, 0, &seq);
    if (r != AW_OK)
        return r;
    ex_end(s, EX_END_ASK, 0);
    s->failures = 0;
    s->next_start_ns = 0; /* who reopens has mended something */
    return ex_ready(s);
}

static int32_t after_fork(void *sink)
{
    struct exec_sink *s = sink;
    const int all[] = {s->in_fd, s->out_fd, s->err_fd, s->wake_fd};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] >= 0)
            close(all[i]);
    s->in_fd = s->out_fd = s->err_fd = s->wake_fd = -1;
    s->pid = 0; /* the parent's program */
    s->started = s->keeper_runs = s->accepted_pending = s->accepted_lost = false;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->answered, NULL);
    return AW_OK;
}

static int32_t health(void *sink, struct aw_health *ret)
{
    struct exec_sink *s = sink;
    uint32_t size = ret->struct_size;
    siginfo_t info = {.si_pid = 0};
    pthread_mutex_lock(&s->lock);
    memcpy(ret, &s->health, size < sizeof s->health ? size : sizeof s->health);
    if (s->pid != 0 && waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == s->pid &&
        AW_HAS(struct aw_health, ret, detail) && ret->state == AW_HEALTH_OK) {
        ret->state = AW_HEALTH_DEGRADED;
        snprintf(ret->detail, sizeof ret->detail, "the program has ended; it is started again with the next event");
    }
    pthread_mutex_unlock(&s->lock);
    ret->struct_size = size;
    return AW_OK;
}

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct exec_sink *s = sink;
    (void)deadline_ns; /* looks at files only */
    int32_t r = ex_prepare(s);
    if (r == AW_OK)
        r = ex_look_at_program(s);
    ex_unprepare(s);
    return r;
}

static const struct aw_sink_probe probe_extension = {sizeof probe_extension, 0, probe};

static const void *extension(void *sink, const char *id)
{
    (void)sink;
    return strcmp(id, AW_EXT_SINK_PROBE) == 0 ? &probe_extension : NULL;
}

static const struct aw_sink_class exec_class = {
    .struct_size = sizeof exec_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_WRITE,
    .flags = AW_SINK_REMOTE,
    .name = "exec",
    .summary = "Hands events to a program, which acknowledges each one",
    .options = options,
    .create = create,
    .start = start,
    .write = ex_write,
    .flush = ex_flush,
    .health = health,
    .reopen = reopen,
    .after_fork = after_fork,
    .stop = stop,
    .destroy = destroy,
    .extension = extension,
};
static const struct aw_sink_class *const classes[] = {&exec_class, NULL};
static const struct aw_plugin plugin = {AW_PLUGIN_HEAD,
                                        "org.auditwell.sink.exec",
                                        PACKAGE_VERSION,
                                        "Apache-2.0",
                                        "programs that take events on their standard input",
                                        NULL,
                                        classes,
                                        NULL,
                                        NULL,
                                        NULL};
AW_PLUGIN_REGISTER(plugin)
