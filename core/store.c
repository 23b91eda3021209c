/* store.c - finding the plugin that can read a store, and reading through it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "store.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "base/base.h"
#include "base/fs.h"
#include "plugin/registry.h"
#include "slots.h"

struct aw_store {
    bool of_slot;    /* it holds the events of one slot only */
    bool configured; /* it is a sink of a configuration */
    uint32_t slot;
    char *name, *path; /* path NULL: the settings have no "path" */
    const struct aw_sink_class *sink_class;
    struct plugin_host *host;
    struct aw_config *config;
    void *sink;
    struct aw_sink_query query; /* clamp-copied */
};

struct store_read {
    struct aw_store *store;
    void *read;
    struct aw_row rows[STORE_BATCH];
};

const char *store_name(const struct aw_store *store)
{
    return store->name;
}

bool store_slot(const struct aw_store *store, uint32_t *ret_slot)
{
    *ret_slot = store->slot;
    return store->of_slot;
}

const char *store_sink_name(const struct aw_store *store)
{
    return store->configured ? store->name : NULL;
}

void *store_sink(const struct aw_store *store)
{
    return store->sink;
}

const void *store_extension(const struct aw_store *store, const char *id)
{
    return store->sink_class->extension ? store->sink_class->extension(store->sink, id) : NULL;
}

const char *store_plugin(const struct aw_store *store)
{
    return store->sink_class->name;
}

/* Regular files of a directory whose names begin with stem (len bytes of it) and '-'; len 0: all. */
static uint64_t dir_bytes(const char *path, const char *stem, size_t len)
{
    uint64_t total = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        struct stat st;
        const char *name = entry->d_name;
        if ((len == 0 || (strncmp(name, stem, len) == 0 && name[len] == '-')) &&
            fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            total += (uint64_t)st.st_size;
    }
    (void)closedir(dir); /* nothing was written */
    return total;
}

/* A trail is its file and the archives beside it: audit.jsonl, audit-….jsonl. */
uint64_t store_bytes(const struct aw_store *store)
{
    struct stat st;
    char dir[PATH_MAX];
    if (!store->path || stat(store->path, &st) != 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return dir_bytes(store->path, "", 0);
    const char *slash = strrchr(store->path, '/');
    bool lines = strcmp(store_plugin(store), "file") == 0;
    if (!S_ISREG(st.st_mode) || !lines || !slash || (size_t)(slash - store->path) >= sizeof dir - 1)
        return S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    memcpy(dir, store->path, (size_t)(slash - store->path) + 1);
    dir[slash - store->path + 1] = '\0';
    return (uint64_t)st.st_size + dir_bytes(dir, slash + 1, strcspn(slash + 1, "."));
}

/* What a plugin's code means to the caller of the library. */
static int code_of(int32_t code)
{
    switch (code) {
    case AW_E_NOMEM:
        return AW_ERR_NOMEM;
    case AW_E_CONFIG:
        return AW_ERR_CONFIG;
    case AW_E_NOTFOUND:
        return AW_ERR_NOTFOUND;
    case AW_E_REJECTED:
    case AW_E_UNSUPPORTED:
        return AW_ERR_USAGE;
    default:
        return AW_ERR_IO;
    }
}

void store_clear_error(const struct aw_store *store)
{
    host_clear_error(store->host);
}

int store_problem(const struct aw_store *store, int32_t code, const char *what)
{
    char text[512];
    host_last_error(store->host, text, sizeof text);
    return diag_problem(code_of(code), store->name, "%s: %s", what,
                        text[0] ? text : "the plugin gave no reason (its error code speaks of a failed store)");
}

void aw_store_close(struct aw_store *store)
{
    if (!store)
        return;
    if (store->sink)
        store->sink_class->destroy(store->sink);
    schema_config_destroy(store->config);
    host_destroy(store->host);
    free(store->name);
    free(store->path);
    free(store);
}

/* The extension, clamp-copied, or a problem. *ret_none: quietly say that there is none. */
static int fetch_query(struct aw_store *store, bool *ret_none)
{
    const struct aw_sink_class *class = store->sink_class;
    const struct aw_sink_query *q = class->extension ? class->extension(store->sink, AW_EXT_SINK_QUERY) : NULL;
    *ret_none = !q;
    if (!q)
        return diag_problem(AW_ERR_USAGE, store->name,
                            "plugin %s cannot be read back: it has no extension %s; name another store", class->name,
                            AW_EXT_SINK_QUERY);
    memcpy(&store->query, q, q->struct_size < sizeof store->query ? q->struct_size : sizeof store->query);
    if (!store->query.open || !store->query.next || !store->query.close)
        return diag_problem(AW_ERR_CONFIG, store->name, "plugin %s: extension %s lacks open, next or close",
                            class->name, AW_EXT_SINK_QUERY);
    return AW_SUCCESS;
}

static int store_new(const char *name, const struct aw_sink_class *class, const struct diag_out *diag,
                     struct aw_store **ret)
{
    struct aw_store *store = calloc(1, sizeof *store);
    if (!store)
        return diag_problem(AW_ERR_NOMEM, name, "out of memory");
    static const struct diag_out quiet = {NULL, NULL};
    store->sink_class = class;
    store->name = strdup(name);
    if (!store->name || host_create(name, diag ? diag : &quiet, &store->host) != 0) {
        aw_store_close(store);
        return diag_problem(AW_ERR_NOMEM, name, "out of memory");
    }
    *ret = store;
    return AW_SUCCESS;
}

/* create() with the settings in store->config, then the query extension unless ret_none is NULL. Frees the store on
 * failure. */
static int store_create(struct aw_store *store, bool *ret_none, struct aw_store **ret)
{
    const struct aw_host *table = host_table(store->host);
    struct aw_str path;
    int r = AW_SUCCESS;
    if (ret_none)
        *ret_none = false;
    if (table->config_str(store->config, "path", &path) == AW_OK) {
        store->path = strndup(path.ptr, path.len);
        if (!store->path)
            r = diag_problem(AW_ERR_NOMEM, store->name, "out of memory");
    }
    if (r == AW_SUCCESS) {
        int32_t code = store->sink_class->create(table, store->config, &store->sink);
        if (code != AW_OK) {
            store->sink = NULL;
            r = store_problem(store, code, "the plugin refuses these settings");
        }
    }
    if (r == AW_SUCCESS && ret_none)
        r = fetch_query(store, ret_none);
    if (r != AW_SUCCESS) {
        aw_store_close(store);
        return r;
    }
    *ret = store;
    return AW_SUCCESS;
}

static int find_class(const struct plugin_spec *spec, const char *name, const struct aw_sink_class **ret)
{
    const struct plugin *plugin;
    int r = plugin_load(spec, &plugin);
    if (r != 0)
        return r;
    *ret = plugin_sink(plugin, name);
    if (!*ret)
        return diag_problem(AW_ERR_CONFIG, spec->where, "%s has no sink named \"%s\"", plugin->path, name);
    return AW_SUCCESS;
}

static bool is_per_slot(const struct aw_sink_class *class)
{
    for (size_t i = 0; class->options && class->options[i]; i++)
        if (class->options[i]->flags & AW_OPT_PER_SLOT)
            return true;
    return false;
}

static int open_configured(const struct settings *settings, const struct settings_sink *sink,
                           const struct diag_out *diag, bool *ret_none, struct aw_store **ret)
{
    const struct aw_sink_class *class;
    struct aw_store *store;
    if (ret_none)
        *ret_none = false;
    int r = find_class(&sink->spec, sink->plugin, &class);
    if (r == AW_SUCCESS)
        r = store_new(sink->name, class, diag, &store);
    if (r != AW_SUCCESS)
        return r;
    r = slots_sink_config(settings, sink, class, &store->config);
    store->slot = settings->slot;
    store->of_slot = is_per_slot(class);
    store->configured = true;
    if (r != 0) {
        aw_store_close(store);
        return r;
    }
    return store_create(store, ret_none, ret);
}

int store_open_sink(const struct settings *settings, const struct settings_sink *sink, const struct diag_out *diag,
                    struct aw_store **ret)
{
    return open_configured(settings, sink, diag, NULL, ret);
}

int store_need_query(struct aw_store *store)
{
    bool none;
    return fetch_query(store, &none);
}

static bool has_option(const struct aw_sink_class *class, const char *key)
{
    for (size_t i = 0; class->options && class->options[i]; i++)
        if (strcmp(class->options[i]->key, key) == 0)
            return true;
    return false;
}

/* An ad-hoc store: the class's defaults, and "path". */
static int open_adhoc(const char *plugin, const char *path, struct aw_store **ret)
{
    const struct aw_sink_class *class;
    struct aw_store *store;
    struct plugin_spec spec = {.name = plugin, .where = path};
    AW_AUTOFREE char *pair = NULL;
    char cwd[PATH_MAX];
    bool none;
    int r = find_class(&spec, plugin, &class);
    if (r == AW_SUCCESS && !has_option(class, "path"))
        r = diag_problem(AW_ERR_USAGE, path, "plugin %s has no option \"path\": name a sink of a configuration",
                         plugin);
    if (r == AW_SUCCESS)
        r = store_new(path, class, NULL, &store);
    if (r != AW_SUCCESS)
        return r;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') /* a directory */
        len--;
    if (path[0] != '/' && !getcwd(cwd, sizeof cwd))
        r = diag_problem(AW_ERR_IO, path, "the current directory has no name: %s; give an absolute path",
                         strerror(errno));
    else if (asprintf(&pair, "path=%s%s%.*s", path[0] == '/' ? "" : cwd, path[0] == '/' ? "" : "/", (int)len, path) <
             0) {
        pair = NULL;
        r = diag_problem(AW_ERR_NOMEM, path, "out of memory");
    }
    if (r == AW_SUCCESS) {
        const char *pairs[] = {pair};
        r = schema_config_from_pairs(class->options, pairs, 1, path, &store->config);
    }
    if (r != AW_SUCCESS) {
        aw_store_close(store);
        return r;
    }
    return store_create(store, &none, ret);
}

static bool has_suffix(const char *s, const char *suffix)
{
    size_t a = strlen(s), b = strlen(suffix);
    return a >= b && memcmp(s + a - b, suffix, b) == 0;
}

/* The plugin for a path, by what stands at its beginning, else by its name. */
static int sniff(const char *path, const char **ret)
{
    AW_AUTOCLOSE int fd = -1;
    struct stat st;
    char head[16] = {0};
    ssize_t n = 0;
    int r = fs_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
    if (r == 0 && fstat(fd, &st) != 0)
        r = -errno;
    if (r == 0 && S_ISREG(st.st_mode)) {
        n = fs_pread_full(fd, head, sizeof head, 0);
        r = n < 0 ? (int)n : 0;
    }
    if (r != 0)
        return diag_problem(r == -ENOENT ? AW_ERR_NOTFOUND : AW_ERR_IO, path, "cannot be read: %s", strerror(-r));
    if (n == sizeof head && memcmp(head, "SQLite format 3", sizeof head) == 0)
        *ret = "sqlite";
    else if (n == 0 && (has_suffix(path, ".db") || has_suffix(path, ".sqlite") || has_suffix(path, ".sqlite3")))
        *ret = "sqlite";
    else if (S_ISDIR(st.st_mode) || n == 0 || head[0] == '{' || (n >= 4 && memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0) ||
             has_suffix(path, ".jsonl") || has_suffix(path, ".json") || has_suffix(path, ".zst") ||
             has_suffix(path, ".log"))
        *ret = "file";
    else
        return diag_problem(AW_ERR_USAGE, path,
                            "is neither JSON lines nor an SQLite database; say which plugin reads it: PLUGIN:%s", path);
    return AW_SUCCESS;
}

static int open_path(const char *path, struct aw_store **ret)
{
    const char *plugin = NULL;
    int r = sniff(path, &plugin);
    return r == AW_SUCCESS ? open_adhoc(plugin, path, ret) : r;
}

/* "plugin:path": the length of the plugin's name, or 0. */
static size_t plugin_prefix(const char *store)
{
    size_t n = strspn(store, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= 32 && store[n] == ':' && store[n + 1] ? n : 0;
}

static int unknown_sink(const struct settings *settings, const char *name)
{
    char known[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < settings->sink_count; i++) {
        int n = snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", settings->sinks[i].name);
        if (n < 0 || (size_t)n >= sizeof known - used)
            break;
        used += (size_t)n;
    }
    return diag_problem(AW_ERR_NOTFOUND, name, "is neither a file nor a sink of %s (it has: %s)",
                        settings->source ? settings->source : "the configuration", known[0] ? known : "none");
}

/* By sink name, or the first that can be read (name NULL). */
static int open_from_settings(const struct settings *settings, const char *name, struct aw_store **ret)
{
    bool none = false;
    for (size_t i = 0; i < settings->sink_count; i++) {
        const struct settings_sink *sink = &settings->sinks[i];
        if (name ? strcmp(sink->name, name) != 0 : !sink->enabled)
            continue;
        int r = open_configured(settings, sink, NULL, &none, ret);
        if (r == AW_SUCCESS)
            diag_reset(); /* sinks that were passed over are no problem */
        if (r == AW_SUCCESS || name || !none)
            return r;
    }
    if (name)
        return unknown_sink(settings, name);
    return diag_problem(AW_ERR_NOTFOUND, settings->source ? settings->source : "",
                        "has no sink that can be read back; name a store");
}

static bool is_file(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0;
}

static bool is_sink(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->sink_count; i++)
        if (strcmp(settings->sinks[i].name, name) == 0)
            return true;
    return false;
}

/* By the name of a sink (NULL: the first that can be read); else of a file. */
static int open_named(const char *config_path, uint32_t slot, const char *name, struct aw_store **ret)
{
    struct settings *settings = NULL; /* may be given with an error, too */
    int r = slots_load(config_path, NULL, slot, &settings);
    if (r != 0 && name && !config_path)
        r = diag_problem(AW_ERR_NOTFOUND, name, "is no file, and no sink that could be looked up");
    if (r == 0 && name && !is_sink(settings, name) && is_file(name))
        r = open_path(name, ret);
    else if (r == 0)
        r = open_from_settings(settings, name, ret);
    settings_destroy(settings);
    return r;
}

int aw_store_open(const struct aw_store_options *options, struct aw_store **ret_store)
{
    diag_reset();
    if (!options || !ret_store || !AW_HAS(struct aw_store_options, options, store))
        return diag_problem(AW_ERR_USAGE, "", "aw_store_open: options or ret_store is missing");
    const char *name = options->store;
    size_t prefix = name ? plugin_prefix(name) : 0;
    *ret_store = NULL;
    if (prefix) {
        char plugin[33] = "";
        memcpy(plugin, name, prefix);
        return open_adhoc(plugin, name + prefix + 1, ret_store);
    }
    /* A name with a slash is a path. Without a configuration asked for, a file that is there is meant. */
    if (name && (strchr(name, '/') || (!options->config_path && is_file(name))))
        return open_path(name, ret_store);
    uint32_t slot = AW_HAS(struct aw_store_options, options, slot) ? options->slot : 0;
    return open_named(options->config_path, slot, name, ret_store);
}

/* ---- reads ---- */
void store_query_init(struct aw_query *query)
{
    *query = (struct aw_query){.struct_size = sizeof *query, .since_ns = INT64_MIN, .until_ns = INT64_MAX};
}

int store_read_open(struct aw_store *store, const struct aw_query *query, int *ret_unsupported, struct store_read **ret)
{
    struct store_read *read = calloc(1, sizeof *read);
    if (!read)
        return diag_problem(AW_ERR_NOMEM, store->name, "out of memory");
    read->store = store;
    host_clear_error(store->host);
    int32_t code = store->query.open(store->sink, query, &read->read);
    if (ret_unsupported)
        *ret_unsupported = code == AW_E_UNSUPPORTED;
    if (code == AW_OK) {
        *ret = read;
        return AW_SUCCESS;
    }
    free(read);
    if (code == AW_E_UNSUPPORTED && ret_unsupported)
        return AW_ERR_USAGE;
    if (query->after.len && (code == AW_E_CONFIG || code == AW_E_NOTFOUND))
        code = AW_E_REJECTED; /* it is the cursor that is wrong */
    return store_problem(store, code, "cannot be read");
}

int store_read_next(struct store_read *read, const struct aw_row **ret_rows, size_t *ret_count)
{
    struct aw_store *store = read->store;
    size_t count = 0;
    *ret_count = 0;
    *ret_rows = read->rows;
    for (size_t i = 0; i < STORE_BATCH; i++)
        read->rows[i] = (struct aw_row){.struct_size = sizeof read->rows[i]};
    host_clear_error(store->host);
    int32_t code = store->query.next(read->read, read->rows, STORE_BATCH, &count);
    if (code == AW_E_NOTFOUND)
        return AW_SUCCESS; /* another way to say: the end for now */
    if (code != AW_OK)
        return store_problem(store, code, "reading failed");
    if (count > STORE_BATCH)
        return diag_problem(AW_ERR_IO, store->name, "plugin %s gave %zu rows where %d were asked for",
                            store->sink_class->name, count, STORE_BATCH);
    *ret_count = count;
    return AW_SUCCESS;
}

void store_read_close(struct store_read *read)
{
    if (!read)
        return;
    read->store->query.close(read->read);
    free(read);
}
