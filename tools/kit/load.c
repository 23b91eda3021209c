/* load.c - the plugin's code and descriptor, as the kit sees them. SPDX-License-Identifier: Apache-2.0
 *
 * Only checks come here, each in its own process: the parent never runs a line of the plugin.
 */
#include "config.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"

const struct aw_plugin *kit_plugin;
struct aw_sink_class kit_class;
#define OPTIONS_MAX 256
const struct aw_option *kit_schema[OPTIONS_MAX + 1];
static struct aw_option copies[OPTIONS_MAX];
struct range {
    uintptr_t from, to;
};
static struct range plugin_code, loader_code; /* of the plugin's own file, and of the dynamic loader */

const char *kit_code_name(int32_t code)
{
    static const struct {
        int32_t code;
        const char *name;
    } names[] = {{AW_OK, "AW_OK"},
                 {AW_E_RETRY, "AW_E_RETRY"},
                 {AW_E_THROTTLED, "AW_E_THROTTLED"},
                 {AW_E_UNAVAILABLE, "AW_E_UNAVAILABLE"},
                 {AW_E_TIMEOUT, "AW_E_TIMEOUT"},
                 {AW_E_REJECTED, "AW_E_REJECTED"},
                 {AW_E_CONFIG, "AW_E_CONFIG"},
                 {AW_E_NOMEM, "AW_E_NOMEM"},
                 {AW_E_UNSUPPORTED, "AW_E_UNSUPPORTED"},
                 {AW_E_NOTFOUND, "AW_E_NOTFOUND"},
                 {AW_E_INTERNAL, "AW_E_INTERNAL"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].code == code)
            return names[i].name;
    return NULL;
}

const char *kit_status_name(uint8_t status)
{
    switch (status) {
    case AW_EVENT_UNKNOWN:
        return "AW_EVENT_UNKNOWN";
    case AW_EVENT_ACCEPTED:
        return "AW_EVENT_ACCEPTED";
    case AW_EVENT_DURABLE:
        return "AW_EVENT_DURABLE";
    case AW_EVENT_DUPLICATE:
        return "AW_EVENT_DUPLICATE";
    case AW_EVENT_RETRY:
        return "AW_EVENT_RETRY";
    case AW_EVENT_REJECTED:
        return "AW_EVENT_REJECTED";
    default:
        return NULL;
    }
}

static int note_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char *name = info->dlpi_name ? info->dlpi_name : "";
    struct range *range = strcmp(name, arg) == 0 ? &plugin_code : strstr(name, "/ld-") ? &loader_code : NULL;
    (void)size;
    for (int i = 0; range && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && (h->p_flags & PF_X) != 0)
            *range = (struct range){info->dlpi_addr + h->p_vaddr, info->dlpi_addr + h->p_vaddr + h->p_memsz};
    }
    return 0;
}

static bool in_range(const struct range *range, const void *address)
{
    return (uintptr_t)address >= range->from && (uintptr_t)address < range->to;
}

bool kit_address_in_plugin(const void *address)
{
    return in_range(&plugin_code, address);
}

bool kit_address_in_loader(const void *address)
{
    return in_range(&loader_code, address);
}

/* auditwell_plugin_v1, or with the file's name before it, as in-tree modules have it. */
static void *find_entry(void *lib)
{
    char symbol[300];
    const char *slash = strrchr(kit.plugin, '/'), *name = slash ? slash + 1 : kit.plugin;
    void *entry = dlsym(lib, "auditwell_plugin_v1");
    if (entry)
        return entry;
    (void)snprintf(symbol, sizeof symbol, "%.*s_LTX_auditwell_plugin_v1", (int)strcspn(name, "."), name);
    return dlsym(lib, symbol);
}

static const struct aw_sink_class *choose(const struct aw_plugin *p)
{
    size_t n = 0;
    const struct aw_sink_class *found = NULL;
    for (; p->sinks && p->sinks[n] && n < OPTIONS_MAX; n++)
        if (!kit.class || (p->sinks[n]->name && strcmp(kit.class, p->sinks[n]->name) == 0))
            found = p->sinks[n];
    if (n > 1 && !kit.class) {
        kit_finding("the file has %zu sink classes: choose one with --class NAME", n);
        return NULL;
    }
    if (n > 0 && !found)
        kit_finding("the file has no sink class \"%s\"", kit.class);
    return found;
}

static void copy_class(const struct aw_sink_class *theirs)
{
    size_t size = theirs->struct_size < sizeof kit_class ? theirs->struct_size : sizeof kit_class;
    memcpy(&kit_class, theirs, size);
    kit_class.struct_size = sizeof kit_class;
    for (size_t i = 0; kit_class.options && kit_class.options[i] && i < OPTIONS_MAX; i++) {
        const struct aw_option *o = kit_class.options[i];
        memcpy(&copies[i], o, o->struct_size < sizeof *o ? o->struct_size : sizeof *o);
        kit_schema[i] = &copies[i];
    }
}

bool kit_load(void)
{
    if (kit_plugin)
        return true;
    kit_doing("dlopen()");
    void *lib = dlopen(kit.plugin, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return EXPECT(false, "cannot be loaded: %s", dlerror());
    const struct aw_plugin *(*entry)(void) = NULL;
    *(void **)&entry = find_entry(lib);
    if (!entry)
        return EXPECT(false, "exports no auditwell_plugin_v1()");
    struct link_map *map = NULL;
    if (dlinfo(lib, RTLD_DI_LINKMAP, &map) == 0 && map)
        (void)dl_iterate_phdr(note_segments, map->l_name);
    kit_doing("auditwell_plugin_v1()");
    const struct aw_plugin *p = entry();
    if (!EXPECT(p != NULL, "auditwell_plugin_v1() returned NULL") ||
        !EXPECT(p->magic == AW_PLUGIN_MAGIC, "the descriptor's magic is 0x%08x, not 0x%08x", p->magic,
                AW_PLUGIN_MAGIC) ||
        !EXPECT(p->abi_major == AW_ABI_MAJOR, "the descriptor's abi_major is %u, not %d", p->abi_major, AW_ABI_MAJOR) ||
        !EXPECT(p->struct_size >= offsetof(struct aw_plugin, sinks) + sizeof p->sinks,
                "the descriptor's struct_size is %u, which ends before `sinks`", p->struct_size) ||
        !EXPECT(entry() == p, "auditwell_plugin_v1() returned another pointer at the second call"))
        return false;
    kit_plugin = p;
    const struct aw_sink_class *class = choose(p);
    if (class)
        copy_class(class);
    return !kit_failed();
}

bool kit_has_sink(void)
{
    if (!kit_load())
        return false;
    if (!kit_class.name)
        kit_not_applicable("the plugin has no sink class");
    return kit_class.name && kit_class.create && kit_class.write && kit_class.destroy;
}
