/* dso.c - shared objects: the only file that includes <ltdl.h>. See plugin_internal.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What libltdl does not do, measured on 2.4.7: it binds lazily, says "file not found" for every failure, and searches
 * environment paths for bare names. So each file is first opened with plain dlopen(RTLD_NOW), which tells the real
 * reason and binds every symbol, and libltdl gets absolute paths only. Its handle then keeps the object for ever
 * (resident).
 *
 * Between check and load. The path's directories and the file belong to root or ourselves, so nobody else can swap it.
 * With a pin the very descriptor whose bytes were hashed is loaded, through /proc/self/fd; without one the path is. In
 * both cases the file must afterwards still be the same inode with the same size and times; what remains is a write by
 * root or ourselves within one clock tick of the file system.
 */
#include "config.h"

#include "base/base.h"
#include "base/hash.h"
#include "plugin/plugin_internal.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <ltdl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define MODULE_MAX 128
#define INFIX "_LTX_"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned pinned_loads; /* makes each /proc/self/fd name unique, see load_name() */

/* Emitted by libtool's -dlpreopen into libauditwell when plugins are built in; absent in any other link. */
extern const lt_dlsymlist lt_libauditwell_LTX_preloaded_symbols[] __attribute__((weak));

typedef const struct aw_plugin *(*entry_fn)(void);

static AW_THREAD_LOCAL bool locked_here, locked_to_fork;

void dso_lock(void)
{
    (void)pthread_mutex_lock(&mutex);
    locked_here = true;
}

void dso_unlock(void)
{
    locked_here = false;
    (void)pthread_mutex_unlock(&mutex);
}

/* Nobody is loading while the process is copied, except a thread that forks in a plugin's constructor. */
void plugin_before_fork(void)
{
    locked_to_fork = !locked_here;
    if (locked_to_fork)
        (void)pthread_mutex_lock(&mutex);
}

void plugin_after_fork(void)
{
    if (locked_to_fork)
        (void)pthread_mutex_unlock(&mutex);
    locked_to_fork = false;
}

bool dso_secure_mode(void)
{
    return getauxval(AT_SECURE) != 0;
}

/* libltdl is started once and never ended: lt_dlexit would unmap code that threads may still run. */
static int start_libltdl(struct load_report *report)
{
    static bool started;
    if (started)
        return 0;
    if (lt_dlinit() != 0) {
        const char *why = lt_dlerror();
        load_refuse(report, "libltdl", "to start", "check the installation of libltdl", "%s",
                    why ? why : "no reason given");
        return -EIO;
    }
    if (lt_libauditwell_LTX_preloaded_symbols && lt_dlpreload(lt_libauditwell_LTX_preloaded_symbols) != 0) {
        const char *why = lt_dlerror();
        load_refuse(report, "built-in plugins", "to be registered", "rebuild the library", "%s",
                    why ? why : "no reason given");
        return -EIO;
    }
    started = true;
    return 0;
}

/* "/x/sink_file.so" -> "sink_file": what libtool puts before _LTX_. */
static void module_name(const char *path, char *out, size_t size)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t n = strcspn(base, ".");
    if (n >= size)
        n = size - 1;
    for (size_t i = 0; i < n; i++) {
        char c = base[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        out[i] = alnum ? c : '_';
    }
    out[n] = '\0';
}

/* ---- why there is no entry ---- */

/* The name before "_LTX_auditwell_plugin_v1" in the file's bytes, for a .so that was renamed. */
static bool built_as(int fd, size_t size, char *out, size_t out_size)
{
    static const char suffix[] = INFIX DSO_ENTRY;
    if (size == 0 || size > (256u << 20))
        return false;
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return false;
    bool found = false;
    const char *begin = map, *end = begin + size;
    for (const char *p = begin; !found && (p = memmem(p, (size_t)(end - p), suffix, sizeof suffix)) != NULL; p++) {
        const char *s = p;
        while (s > begin && s[-1] > ' ' && s[-1] < 127)
            s--;
        found = s < p && (size_t)(p - s) < out_size;
        if (found) {
            memcpy(out, s, (size_t)(p - s));
            out[p - s] = '\0';
        }
    }
    (void)munmap(map, size);
    return found;
}

static void report_no_entry(const struct trusted_file *file, void *probe, const char *module,
                            struct load_report *report)
{
    for (unsigned epoch = 2; epoch <= 9; epoch++) {
        char plain[24], prefixed[MODULE_MAX + 64];
        snprintf(plain, sizeof plain, "auditwell_plugin_v%u", epoch);
        snprintf(prefixed, sizeof prefixed, "%s" INFIX "%s", module, plain);
        if (dlsym(probe, plain) || dlsym(probe, prefixed)) {
            load_refuse(
                report, "entry", "the function " DSO_ENTRY,
                "this plugin is for another generation of auditwell: install the release built for ABI 1, or update "
                "auditwell",
                "only %s", plain);
            return;
        }
    }
    char real[MODULE_MAX];
    if (built_as(file->fd, (size_t)file->st.st_size, real, sizeof real) && strcmp(real, module) != 0) {
        char remedy[MODULE_MAX + 96];
        snprintf(remedy, sizeof remedy, "the file was renamed: give it back its name, %s.so", real);
        load_refuse(report, "entry", "the function " DSO_ENTRY, remedy, "%s" INFIX DSO_ENTRY, real);
        return;
    }
    load_refuse(report, "entry", "the function " DSO_ENTRY,
                "this is no auditwell plugin; in its source, AW_PLUGIN_REGISTER() emits the function", "none");
}

static void report_load_failure(const char *why, struct load_report *report)
{
    const char *remedy = "check that the file is a plugin built for this machine";
    if (why && strstr(why, "undefined symbol"))
        remedy = "the plugin uses a symbol that nothing it is linked with has: link it with the library that has it "
                 "(-Wl,-z,defs tells at build time)";
    else if (why && strstr(why, "cannot open shared object file"))
        remedy = "install the package that has this library";
    load_refuse(report, "load", "a shared object that loads and binds every symbol", remedy, "%s",
                why ? why : "a failure without reason");
}

/* ---- loading ---- */

int dso_check_pin(const struct trusted_file *file, const char *sha256, struct load_report *report)
{
    uint8_t want[HASH_SHA256_LEN], have[HASH_SHA256_LEN];
    if (strlen(sha256) != 2 * sizeof want || !hash_unhex(sha256, 2 * sizeof want, want)) {
        load_refuse(report, "sha256", "64 hexadecimal digits", "take them from sha256sum", "\"%.80s\"", sha256);
        return -EINVAL;
    }
    if (lseek(file->fd, 0, SEEK_SET) < 0)
        return -errno;
    int rc = hash_sha256_file(file->fd, have);
    if (rc < 0) {
        load_refuse(report, "sha256", "a readable file", "check the file", "%s", strerror(-rc));
        return rc;
    }
    if (memcmp(want, have, sizeof want) == 0)
        return 0;
    char hex[2 * sizeof have + 1];
    hash_hex(have, sizeof have, hex);
    hex[2 * sizeof have] = '\0';
    load_refuse(report, "sha256", sha256, "install the file that was pinned, or correct sha256 in audit.conf", "%s",
                hex);
    return -EINVAL;
}

/* The name given to the dynamic loader. glibc tells libraries apart by name before it looks at the inode, and
 * descriptor numbers come back: so each /proc/self/fd name is spelled differently, with as many "./" as there were
 * pinned loads. */
static char *load_name(const struct trusted_file *file, bool pinned)
{
    if (!pinned)
        return strdup(file->path);
    size_t dots = ++pinned_loads;
    char *name = malloc(sizeof "/proc/self/fd/" + 2 * dots + 12);
    if (!name)
        return NULL;
    char *p = stpcpy(name, "/proc/self/fd/");
    for (size_t i = 0; i < dots; i++)
        p = stpcpy(p, "./");
    snprintf(p, 12, "%d", file->fd);
    return name;
}

/* libltdl's handle, resident and local. */
static lt_dlhandle open_resident(const char *name, struct load_report *report)
{
    lt_dladvise advise;
    lt_dlhandle handle = NULL;
    if (lt_dladvise_init(&advise) == 0) {
        if (lt_dladvise_local(&advise) == 0 && lt_dladvise_resident(&advise) == 0)
            handle = lt_dlopenadvise(name, advise);
        (void)lt_dladvise_destroy(&advise);
    }
    if (!handle) {
        const char *why = lt_dlerror(); /* one global slot: read at once */
        load_refuse(report, "load", "libltdl to open it", "check the installation of libltdl", "%s",
                    why ? why : "a failure without reason");
        return NULL;
    }
    const lt_dlinfo *info = lt_dlgetinfo(handle);
    if (!info || !info->is_resident || !info->is_symlocal) {
        load_refuse(report, "load", "local symbols that stay for ever", "use a libltdl of 2.4.6 or newer",
                    "a libltdl that does not do that");
        return NULL;
    }
    return handle;
}

static entry_fn find_entry(lt_dlhandle handle, const char *module)
{
    char name[MODULE_MAX + 64];
    snprintf(name, sizeof name, "%s" INFIX DSO_ENTRY, module);
    void *sym = lt_dlsym(handle, name);
    if (!sym)
        sym = lt_dlsym(handle, DSO_ENTRY);
    if (!sym)
        (void)lt_dlerror();
    entry_fn fn = NULL;
    _Static_assert(sizeof fn == sizeof sym, "POSIX: functions are data pointers");
    memcpy(&fn, &sym, sizeof fn);
    return fn;
}

/* The file was not exchanged or written to meanwhile. */
static bool still_same(const struct trusted_file *file, struct load_report *report)
{
    struct stat by_fd, by_path;
    if (fstat(file->fd, &by_fd) == 0 && lstat(file->path, &by_path) == 0 && trust_same(&by_fd, &file->st) &&
        trust_same(&by_path, &file->st))
        return true;
    load_refuse(report, "file", "an unchanging file", "restart when its installation is over",
                "that it was changed while it was being loaded");
    return false;
}

int dso_load(const struct trusted_file *file, const char *sha256, struct load_report *report,
             const struct aw_plugin **ret)
{
    int rc = start_libltdl(report);
    if (rc == 0 && sha256)
        rc = dso_check_pin(file, sha256, report);
    if (rc < 0)
        return rc;
    AW_AUTOFREE char *name = load_name(file, sha256 != NULL);
    if (!name)
        return -ENOMEM;
    void *probe = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!probe) {
        report_load_failure(dlerror(), report);
        return -ENOEXEC;
    }
    char module[MODULE_MAX];
    module_name(file->path, module, sizeof module);
    lt_dlhandle handle = still_same(file, report) ? open_resident(name, report) : NULL;
    entry_fn entry = handle ? find_entry(handle, module) : NULL;
    if (handle && !entry)
        report_no_entry(file, probe, module, report);
    (void)dlclose(probe); /* libltdl's own reference keeps the object */
    if (!entry)
        return -ENOEXEC;
    *ret = entry();
    return 0;
}

/* ---- preloaded modules ---- */

bool dso_builtin_name(size_t index, char *name, size_t size)
{
    static const char suffix[] = INFIX DSO_ENTRY;
    if (!lt_libauditwell_LTX_preloaded_symbols)
        return false;
    for (const lt_dlsymlist *s = lt_libauditwell_LTX_preloaded_symbols; s->name; s++) {
        size_t n = strlen(s->name);
        if (n < sizeof suffix || strcmp(s->name + n - (sizeof suffix - 1), suffix) != 0)
            continue;
        if (index-- > 0)
            continue;
        n -= sizeof suffix - 1;
        if (n >= size)
            return false;
        memcpy(name, s->name, n);
        name[n] = '\0';
        return true;
    }
    return false;
}

const struct aw_plugin *dso_builtin(const char *module)
{
    struct load_report quiet = {0};
    if (!lt_libauditwell_LTX_preloaded_symbols || start_libltdl(&quiet) < 0) {
        load_report_free(&quiet);
        return NULL;
    }
    char name[MODULE_MAX + 4];
    snprintf(name, sizeof name, "%s.la", module); /* preloading works without a directory part only */
    lt_dladvise advise;
    lt_dlhandle handle = NULL;
    if (lt_dladvise_init(&advise) == 0) {
        if (lt_dladvise_preload(&advise) == 0 && lt_dladvise_resident(&advise) == 0)
            handle = lt_dlopenadvise(name, advise);
        (void)lt_dladvise_destroy(&advise);
    }
    entry_fn entry = handle ? find_entry(handle, module) : NULL;
    return entry ? entry() : NULL;
}
