/* checks_file.c - checks of the file and of the descriptor, before anything of it is called.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <link.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checks.h"
#include "kit.h"

/* ---- who may change it ---- */

static bool trusted(const char *path, bool directory)
{
    struct stat st;
    if (!EXPECT(stat(path, &st) == 0, "%s: %s", path, strerror(errno)))
        return false;
    bool ok = EXPECT(st.st_uid == 0 || st.st_uid == geteuid(), "%s belongs to uid %u, neither root nor you", path,
                     (unsigned)st.st_uid);
    bool sticky = directory && (st.st_mode & S_ISVTX) != 0;
    return EXPECT(sticky || (st.st_mode & (S_IWGRP | S_IWOTH)) == 0, "%s has mode %04o: others may write to it", path,
                  (unsigned)st.st_mode & 07777u) &&
           ok;
}

static void check_trust(void)
{
    char path[PATH_MAX];
    struct stat st;
    kit_doing("looking at the file");
    if (!EXPECT(realpath(kit.plugin, path) != NULL, "%s: %s", kit.plugin, strerror(errno)))
        return;
    EXPECT(stat(path, &st) == 0 && S_ISREG(st.st_mode), "%s is not a regular file", path);
    (void)trusted(path, false);
    while (strcmp(path, "/") != 0) {
        (void)dirname(path);
        (void)trusted(path, true);
    }
}

/* ---- ELF ---- */

struct elf {
    const char *bytes;
    size_t size;
    const ElfW(Dyn) * dyn;
    size_t dyn_count;
    const ElfW(Sym) * sym;
    size_t sym_count;
    const char *strings;
    size_t string_size;
};

static bool inside(const struct elf *e, size_t at, size_t len)
{
    return at <= e->size && len <= e->size - at;
}

static void take_section(struct elf *e, const ElfW(Shdr) * sections, size_t count, size_t n)
{
    const ElfW(Shdr) *s = &sections[n];
    if (!inside(e, s->sh_offset, s->sh_size))
        return;
    const void *at = e->bytes + s->sh_offset;
    if (s->sh_type == SHT_DYNAMIC) {
        e->dyn = at;
        e->dyn_count = s->sh_size / sizeof *e->dyn;
    } else if (s->sh_type == SHT_DYNSYM && s->sh_link < count &&
               inside(e, sections[s->sh_link].sh_offset, sections[s->sh_link].sh_size)) {
        e->sym = at;
        e->sym_count = s->sh_size / sizeof *e->sym;
        e->strings = e->bytes + sections[s->sh_link].sh_offset;
        e->string_size = sections[s->sh_link].sh_size;
    }
}

static bool elf_open(struct elf *e)
{
    struct stat st;
    kit_doing("reading the file");
    *e = (struct elf){.size = 0};
    int fd = open(kit.plugin, O_RDONLY | O_CLOEXEC);
    if (!EXPECT(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", kit.plugin, strerror(errno)))
        return false;
    e->size = (size_t)st.st_size;
    e->bytes = mmap(NULL, e->size ? e->size : 1, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    const ElfW(Ehdr) *h = (const void *)e->bytes;
    if (!EXPECT(e->bytes != MAP_FAILED && e->size > sizeof *h && memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 &&
                    h->e_type == ET_DYN && h->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32),
                "%s is not a shared object of this machine", kit.plugin))
        return false;
    size_t count = h->e_shnum;
    if (!EXPECT(inside(e, h->e_shoff, count * sizeof(ElfW(Shdr))) && count > 0, "%s has no section table", kit.plugin))
        return false;
    for (size_t n = 0; n < count; n++)
        take_section(e, (const void *)(e->bytes + h->e_shoff), count, n);
    return EXPECT(e->dyn && e->sym, "%s has no dynamic symbols", kit.plugin);
}

static const char *string(const struct elf *e, size_t at)
{
    return at < e->string_size ? e->strings + at : "";
}

static bool is_entry(const char *name)
{
    static const char entry[] = "auditwell_plugin_v";
    const char *v = strstr(name, entry);
    return v && strspn(v + sizeof entry - 1, "0123456789") == strlen(v + sizeof entry - 1) &&
           v[sizeof entry - 1] != '\0' && (v == name || (v - name > 5 && strncmp(v - 5, "_LTX_", 5) == 0));
}

/* A sanitizer or the linker brings its own. */
static bool of_the_tools(const char *name)
{
    static const char *const starts[] = {"__asan", "___asan", "__odr_asan",  "__tsan", "__ubsan", "__sancov", "__lsan",
                                         "_edata", "_end",    "__bss_start", "_init",  "_fini",   "__gcov"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

static void check_exports(void)
{
    struct elf e;
    size_t entries = 0;
    if (!elf_open(&e))
        return;
    for (size_t i = 1; i < e.sym_count; i++) {
        const ElfW(Sym) *s = &e.sym[i];
        const char *name = string(&e, s->st_name);
        if (s->st_shndx == SHN_UNDEF || s->st_shndx == SHN_ABS || (s->st_info >> 4) == STB_LOCAL)
            continue;
        if (is_entry(name))
            entries++;
        else if (!of_the_tools(name))
            kit_finding("exports %s", name);
    }
    EXPECT(entries > 0, "exports no auditwell_plugin_v1");
}

static void check_binding(void)
{
    struct elf e;
    bool now = false;
    if (!elf_open(&e))
        return;
    for (size_t i = 0; i < e.dyn_count && e.dyn[i].d_tag != DT_NULL; i++)
        now = now || e.dyn[i].d_tag == DT_BIND_NOW ||
              (e.dyn[i].d_tag == DT_FLAGS && e.dyn[i].d_un.d_val & DF_BIND_NOW) ||
              (e.dyn[i].d_tag == DT_FLAGS_1 && e.dyn[i].d_un.d_val & DF_1_NOW);
    EXPECT(now, "symbols are bound at the first call: a missing one would end the process in the middle of a write");
}

static void check_needed(void)
{
    struct elf e;
    if (!elf_open(&e))
        return;
    for (size_t i = 0; i < e.dyn_count && e.dyn[i].d_tag != DT_NULL; i++) {
        const char *name = e.dyn[i].d_tag == DT_NEEDED ? string(&e, e.dyn[i].d_un.d_val) : "";
        EXPECT(strstr(name, "libauditwell") == NULL, "is linked with %s", name);
        EXPECT(e.dyn[i].d_tag != DT_TEXTREL, "has text relocations: its code was not compiled with -fPIC");
    }
    for (size_t i = 1; i < e.sym_count; i++)
        if (e.sym[i].st_shndx == SHN_UNDEF)
            EXPECT(strncmp(string(&e, e.sym[i].st_name), "aw_", 3) != 0, "imports %s of auditwell",
                   string(&e, e.sym[i].st_name));
}

/* ---- the descriptor ---- */

static void check_load(void)
{
    char first[300];
    char *cwd = getcwd(NULL, 0);
    size_t threads = kit_count_threads(), fds = kit_count_fds();
    watch_begin();
    bool loaded = kit_load();
    size_t calls = watch_end(first, sizeof first);
    free(cwd);
    if (!loaded)
        return;
    EXPECT(calls == 0, "loading it alone calls %s and %zu more", first, calls ? calls - 1 : 0);
    EXPECT(kit_count_threads() == threads, "loading it alone starts a thread");
    EXPECT(kit_count_fds() == fds, "loading it alone opens a descriptor");
}

static bool text_ok(const char *s, size_t max)
{
    return s && s[0] && strnlen(s, max + 1) <= max && strpbrk(s, "\n\r\t\033") == NULL;
}

static void check_class(const struct aw_sink_class *c)
{
    const char *name = c->name ? c->name : "NULL";
    EXPECT(c->struct_size >= offsetof(struct aw_sink_class, destroy) + sizeof c->destroy,
           "sink class: struct_size is %u, which ends before `destroy`", c->struct_size);
    EXPECT(c->name && strlen(name) <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name) &&
               name[0],
           "sink class: name \"%s\" is not [a-z0-9_-]+ of at most 32", name);
    EXPECT(text_ok(c->summary, 200), "sink class %s: no summary of one line", name);
    EXPECT(c->thread_model == AW_THREADS_SERIAL_PLUGIN || c->thread_model == AW_THREADS_SERIAL_INSTANCE ||
               c->thread_model == AW_THREADS_PARALLEL,
           "sink class %s: thread_model is %u", name, c->thread_model);
    EXPECT(c->durability == AW_DURABLE_NEVER || c->durability == AW_DURABLE_ON_FLUSH ||
               c->durability == AW_DURABLE_ON_WRITE,
           "sink class %s: durability is %u", name, c->durability);
    EXPECT((c->flags & ~AW_SINK_REMOTE) == 0 || kit_plugin->abi_minor > AW_ABI_MINOR,
           "sink class %s: flags 0x%x are not known", name, c->flags);
    EXPECT(c->create && c->write && c->destroy, "sink class %s: create, write and destroy must be there", name);
    EXPECT(c->durability != AW_DURABLE_ON_FLUSH || c->flush, "sink class %s: AW_DURABLE_ON_FLUSH without flush", name);
}

static void check_descriptor(void)
{
    static const char *const host_has[] = {AW_EXT_HOST_METRICS};
    if (!kit_load())
        return;
    const struct aw_plugin *p = kit_plugin;
    EXPECT(text_ok(p->id, 128) && strchr(p->id, '.') && !strchr(p->id, ' '),
           "id \"%s\" is not a reverse DNS name such as \"org.example.audit.kafka\"", p->id ? p->id : "NULL");
    EXPECT(text_ok(p->version, 64), "no version");
    EXPECT(text_ok(p->license, 64), "no license: give an SPDX identifier");
    EXPECT(text_ok(p->summary, 200), "no summary of one line");
    EXPECT(p->flags == 0, "flags is 0x%x, not 0", p->flags);
    for (size_t i = 0; p->host_needs && p->host_needs[i]; i++)
        EXPECT(strcmp(p->host_needs[i], host_has[0]) == 0, "needs \"%s\", which this host does not have",
               p->host_needs[i]);
    if (kit_class.name)
        check_class(&kit_class);
}

/* ---- options ---- */

static bool key_ok(const char *key)
{
    return key && key[0] >= 'a' && key[0] <= 'z' &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(key) && strlen(key) <= 64;
}

static bool known_type(uint32_t t)
{
    return t >= AW_OPT_BOOL && t <= AW_OPT_LIST && t % 10 == 0;
}

static bool of_the_host(const char *key)
{
    static const char *const keys[] = {"plugin",   "name",       "enabled", "sha256", "plugin_file", "write_deadline",
                                       "required", "start_from", "pii",     "batch",  "retry",       "breaker"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static void check_default(const struct aw_option *o)
{
    bool number =
        o->type == AW_OPT_INT || o->type == AW_OPT_UINT || o->type == AW_OPT_SIZE || o->type == AW_OPT_DURATION;
    int64_t n = 0;
    if (number &&
        EXPECT(kit_number_of(o, o->deflt, &n), "option %s: the default \"%s\" does not fit its type", o->key, o->deflt))
        EXPECT((o->min == 0 && o->max == 0) || (n >= o->min && n <= o->max),
               "option %s: the default \"%s\" is out of its range", o->key, o->deflt);
    if (o->type == AW_OPT_BOOL)
        EXPECT(strcmp(o->deflt, "true") == 0 || strcmp(o->deflt, "false") == 0,
               "option %s: the default \"%s\" is neither true nor false", o->key, o->deflt);
    bool found = o->type != AW_OPT_ENUM;
    for (size_t i = 0; !found && o->choices && o->choices[i]; i++)
        found = strcmp(o->choices[i], o->deflt) == 0 ||
                (o->deflt[0] == '"' && strncmp(o->choices[i], o->deflt + 1, strlen(o->choices[i])) == 0);
    EXPECT(found, "option %s: the default \"%s\" is none of its choices", o->key, o->deflt);
}

static void check_option(const struct aw_option *o, size_t at)
{
    if (!EXPECT(o->struct_size >= offsetof(struct aw_option, choices) + sizeof o->choices,
                "option %zu: struct_size is %u", at, o->struct_size) ||
        !EXPECT(key_ok(o->key), "option %zu: key \"%s\" is not [a-z][a-z0-9_]*", at, o->key ? o->key : "NULL"))
        return;
    EXPECT(known_type(o->type), "option %s: type %u is none of plugin.h", o->key, o->type);
    EXPECT(!of_the_host(o->key), "option %s: the host has a key of that name", o->key);
    EXPECT(o->help && o->help[0], "option %s: no help", o->key);
    EXPECT((o->flags & ~(AW_OPT_REQUIRED | AW_OPT_RELOADABLE | AW_OPT_DEPRECATED | AW_OPT_PER_SLOT)) == 0,
           "option %s: flags 0x%x are not known", o->key, o->flags);
    EXPECT(o->reserved == 0, "option %s: reserved is not 0", o->key);
    EXPECT((o->flags & AW_OPT_REQUIRED) == 0 || o->deflt == NULL, "option %s: is required and has a default", o->key);
    EXPECT((o->flags & AW_OPT_PER_SLOT) == 0 || o->type == AW_OPT_PATH, "option %s: AW_OPT_PER_SLOT is for paths",
           o->key);
    EXPECT(o->min <= o->max, "option %s: min is greater than max", o->key);
    EXPECT(o->type != AW_OPT_ENUM || (o->choices && o->choices[0]), "option %s: an enum without choices", o->key);
    EXPECT(o->type != AW_OPT_SECRET || o->deflt == NULL, "option %s: a secret with a default", o->key);
    if (o->deflt)
        check_default(o);
}

static void check_schema(void)
{
    if (!kit_has_sink())
        return;
    const struct aw_option *const *options = kit_class.options;
    for (size_t i = 0; options && options[i] && i < 256; i++) {
        check_option(options[i], i);
        for (size_t k = 0; k < i; k++)
            if (options[k]->key && options[i]->key)
                EXPECT(strcmp(options[k]->key, options[i]->key) != 0, "option %s: is there twice", options[i]->key);
    }
}

/* ---- the real host ---- */

static void check_host(void)
{
    char line[PATH_MAX + 600], text[500];
    if (!kit.host_command) {
        kit_not_applicable("the path of the auditwell command is not known");
        return;
    }
    if (!EXPECT(strchr(kit.host_command, '\'') == NULL && strchr(kit.plugin, '\'') == NULL, "a path has a quote in it"))
        return;
    (void)snprintf(line, sizeof line, "'%s' plugins describe '%s' 2>&1 >/dev/null", kit.host_command, kit.plugin);
    kit_doing("auditwell plugins describe");
    FILE *f = popen(line, "r");
    if (!EXPECT(f != NULL, "%s cannot be run: %s", kit.host_command, strerror(errno)))
        return;
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    int status = pclose(f);
    EXPECT(status == 0, "auditwell refuses it: %s", text);
}

const struct kit_check checks_file[] = {
    {"trust", "nobody but root and you can change the file",
     "chown it and the directories above it to root, chmod go-w", check_trust, 10, true},
    {"exports", "the file exports its entry and nothing else",
     "compile with -fvisibility=hidden; export with AW_PLUGIN_REGISTER only", check_exports, 10, true},
    {"binding", "all symbols are bound when it is loaded", "link with -Wl,-z,now (and -Wl,-z,defs)", check_binding, 10,
     true},
    {"needed", "nothing of auditwell is linked", "every host function comes in struct aw_host: drop -lauditwell",
     check_needed, 10, true},
    {"load", "it loads, and loading does nothing",
     "no constructors with I/O or threads; the entry only returns &descriptor", check_load, 20, true},
    {"descriptor", "the descriptor and the class are complete",
     "see struct aw_plugin and struct aw_sink_class in plugin.h", check_descriptor, 10, true},
    {"schema", "the options are well-formed", "see struct aw_option in plugin.h", check_schema, 10, false},
    {"host", "auditwell itself accepts the plugin", "see the message; `auditwell plugins describe FILE` prints it, too",
     check_host, 30, true},
    {NULL, NULL, NULL, NULL, 0, false},
};
