/* descriptor.c - what a plugin says about itself: checked, and copied into structs as long as ours.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * min(their size, our size) is copied into zeroed memory: members an older plugin does not have read as 0 or NULL,
 * members a newer one has are ignored. The plugin's own structs are never written to.
 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <stdio.h>

#define AUTHOR "ask its author for a corrected build"
#define SIZE_SANE 65536u /* no struct of this ABI will ever be longer: a larger value is garbage */
#define LIST_SANE 256u

/* Bytes up to and with a member: the shortest struct that can mean something. */
#define UP_TO(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

static bool size_ok(struct load_report *report, const char *field, uint32_t size, size_t least)
{
    if (size >= least && size <= SIZE_SANE)
        return true;
    char expected[64];
    snprintf(expected, sizeof expected, "%zu to %u bytes", least, SIZE_SANE);
    load_refuse(report, field, expected, "set it to sizeof of the struct, with the header of ABI 1.0 or newer", "%u",
                (unsigned)size);
    return false;
}

static void clamp_copy(void *to, size_t to_size, const void *from, uint32_t from_size)
{
    memset(to, 0, to_size);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
}

static size_t list_length(const void *const *list)
{
    size_t n = 0;
    while (list && n < LIST_SANE && list[n])
        n++;
    return n;
}

bool descriptor_name_ok(const char *name)
{
    size_t n = strnlen(name, 33);
    return n > 0 && n <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static bool text_ok(const char *text, size_t max)
{
    size_t n = strnlen(text, max + 1);
    if (n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

/* ---- the descriptor itself ---- */

static int check_head(const struct aw_plugin *theirs, struct load_report *report)
{
    if (!theirs) {
        load_refuse(report, "entry", "a pointer to a struct aw_plugin", AUTHOR, "NULL");
        return -EINVAL;
    }
    if (theirs->magic != AW_PLUGIN_MAGIC) {
        char expected[32];
        snprintf(expected, sizeof expected, "0x%08x", AW_PLUGIN_MAGIC);
        load_refuse(report, "descriptor: magic", expected, "the descriptor must begin with AW_PLUGIN_HEAD; " AUTHOR,
                    "0x%08x", (unsigned)theirs->magic);
        return -EINVAL;
    }
    if (!size_ok(report, "descriptor: struct_size", theirs->struct_size, UP_TO(struct aw_plugin, sinks)))
        return -EINVAL;
    if (theirs->abi_major != AW_ABI_MAJOR) {
        char expected[32];
        snprintf(expected, sizeof expected, "%d", AW_ABI_MAJOR);
        load_refuse(report, "descriptor: abi_major", expected,
                    "install the plugin's release for this generation of auditwell, or update auditwell", "%u",
                    (unsigned)theirs->abi_major);
        return -EINVAL;
    }
    return 0;
}

static void check_texts(struct aw_plugin *d, struct load_report *report)
{
    if (!d->id || !text_ok(d->id, 128) || strchr(d->id, ' '))
        load_refuse(report, "descriptor: id", "a reverse DNS name (\"org.example.audit.kafka\")", AUTHOR, "%s",
                    d->id ? "another text" : "NULL");
    if (!d->version || !text_ok(d->version, 64))
        load_refuse(report, "descriptor: version", "the plugin's version (\"1.0.2\")", AUTHOR, "%s",
                    d->version ? "another text" : "NULL");
    if (!d->license)
        d->license = "";
    if (!d->summary)
        d->summary = "";
}

static void check_needs(const struct aw_plugin *d, struct load_report *report)
{
    size_t n = list_length((const void *const *)d->host_needs);
    for (size_t i = 0; i < n; i++) {
        if (host_extension_find(d->host_needs[i]))
            continue;
        char field[128];
        snprintf(field, sizeof field, "descriptor: host_needs[%zu]", i);
        load_refuse(report, field, "a feature that this auditwell has",
                    "update auditwell, or install an older release of the plugin",
                    "\"%.100s\", which auditwell " PACKAGE_VERSION " does not have", d->host_needs[i]);
    }
}

/* ---- options ---- */

static void free_options(const struct aw_option *const *options)
{
    for (size_t i = 0; options && options[i]; i++)
        free((void *)(uintptr_t)options[i]);
    free((void *)(uintptr_t)options);
}

/* Private copies, each as long as ours. NULL: out of memory, or refused (then report has grown). */
static const struct aw_option *const *copy_options(const struct aw_option *const *theirs, const char *class_text,
                                                   struct load_report *report)
{
    size_t n = list_length((const void *const *)theirs);
    const struct aw_option **copies = calloc(n + 1, sizeof *copies);
    if (!copies)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        char field[128];
        snprintf(field, sizeof field, "%s: option %zu: struct_size", class_text, i);
        struct aw_option *copy = NULL;
        if (size_ok(report, field, theirs[i]->struct_size, UP_TO(struct aw_option, key)))
            copy = malloc(sizeof *copy);
        if (!copy) {
            free_options(copies);
            return NULL;
        }
        clamp_copy(copy, sizeof *copy, theirs[i], theirs[i]->struct_size);
        copy->struct_size = sizeof *copy;
        if (!copy->help)
            copy->help = "";
        copies[i] = copy;
    }
    if (n == LIST_SANE)
        load_refuse(report, class_text, "fewer than 256 options, ended by NULL", AUTHOR, "no end");
    else
        schema_check(copies, class_text, report);
    return copies;
}

/* ---- classes ---- */

static void missing(struct load_report *report, const char *class_text, const char *member, const char *why)
{
    char field[128];
    snprintf(field, sizeof field, "%s: %s", class_text, member);
    char expected[128];
    snprintf(expected, sizeof expected, "a function, %s", why);
    load_refuse(report, field, expected, AUTHOR, "NULL");
}

static void check_threads(struct load_report *report, const char *class_text, uint32_t *model, bool newer)
{
    uint32_t m = *model;
    if (m == AW_THREADS_SERIAL_PLUGIN || m == AW_THREADS_SERIAL_INSTANCE || m == AW_THREADS_PARALLEL)
        return;
    if (newer && m > AW_THREADS_SERIAL_PLUGIN && m < 100000) {
        *model = AW_THREADS_SERIAL_PLUGIN; /* a model of a later minor: the host may always serialise more */
        return;
    }
    char field[128];
    snprintf(field, sizeof field, "%s: thread_model", class_text);
    load_refuse(report, field, "AW_THREADS_SERIAL_PLUGIN (1000), _SERIAL_INSTANCE (2000) or _PARALLEL (3000)", AUTHOR,
                "%u", (unsigned)m);
}

/* Name, summary and the text that names the class in messages. false: nothing more can be said about this class. */
static bool class_head(struct load_report *report, const char *kind, size_t i, const char *name, const char **summary,
                       char *class_text, size_t size)
{
    if (!*summary)
        *summary = "";
    if (name && descriptor_name_ok(name)) {
        snprintf(class_text, size, "%s class \"%s\"", kind, name);
        return true;
    }
    char field[64];
    snprintf(field, sizeof field, "%s class %zu: name", kind, i);
    load_refuse(report, field, "[a-z0-9_-]+, at most 32 characters", AUTHOR, "%s%.40s%s", name ? "\"" : "",
                name ? name : "NULL", name ? "\"" : "");
    return false;
}

static int copy_sink(const struct aw_sink_class *theirs, size_t i, bool newer, struct load_report *report,
                     struct aw_sink_class *ret)
{
    char text[96];
    snprintf(text, sizeof text, "sink class %zu: struct_size", i);
    if (!size_ok(report, text, theirs->struct_size, UP_TO(struct aw_sink_class, destroy)))
        return -EINVAL;
    clamp_copy(ret, sizeof *ret, theirs, theirs->struct_size);
    ret->struct_size = sizeof *ret;
    ret->options = NULL;
    if (!class_head(report, "sink", i, ret->name, &ret->summary, text, sizeof text))
        return -EINVAL;
    check_threads(report, text, &ret->thread_model, newer);
    if (ret->durability != AW_DURABLE_NEVER && ret->durability != AW_DURABLE_ON_FLUSH &&
        ret->durability != AW_DURABLE_ON_WRITE) {
        char field[128];
        snprintf(field, sizeof field, "%s: durability", text);
        load_refuse(report, field, "AW_DURABLE_NEVER (0), _ON_FLUSH (16) or _ON_WRITE (32)", AUTHOR, "%u",
                    (unsigned)ret->durability);
    }
    if (!ret->create)
        missing(report, text, "create", "every sink must have it");
    if (!ret->write)
        missing(report, text, "write", "every sink must have it");
    if (!ret->destroy)
        missing(report, text, "destroy", "every sink must have it");
    if (ret->durability == AW_DURABLE_ON_FLUSH && !ret->flush)
        missing(report, text, "flush", "AW_DURABLE_ON_FLUSH promises that it makes events durable");
    ret->options = copy_options(theirs->options, text, report);
    return ret->options || report->count > 0 ? 0 : -ENOMEM;
}

static int copy_adapter(const struct aw_adapter_class *theirs, size_t i, bool newer, struct load_report *report,
                        struct aw_adapter_class *ret)
{
    char text[96];
    snprintf(text, sizeof text, "adapter class %zu: struct_size", i);
    if (!size_ok(report, text, theirs->struct_size, UP_TO(struct aw_adapter_class, destroy)))
        return -EINVAL;
    clamp_copy(ret, sizeof *ret, theirs, theirs->struct_size);
    ret->struct_size = sizeof *ret;
    ret->options = NULL;
    if (!class_head(report, "adapter", i, ret->name, &ret->summary, text, sizeof text))
        return -EINVAL;
    check_threads(report, text, &ret->thread_model, newer);
    if (!ret->create)
        missing(report, text, "create", "every adapter must have it");
    if (!ret->destroy)
        missing(report, text, "destroy", "every adapter must have it");
    if (!ret->map && !ret->start)
        missing(report, text, "map", "every adapter must have map or start");
    ret->options = copy_options(theirs->options, text, report);
    return ret->options || report->count > 0 ? 0 : -ENOMEM;
}

static void check_unique(const struct plugin *p, struct load_report *report)
{
    char field[96];
    for (size_t i = 1; i < p->sink_count; i++)
        for (size_t j = 0; j < i; j++)
            if (p->sinks[i].name && p->sinks[j].name && strcmp(p->sinks[i].name, p->sinks[j].name) == 0) {
                snprintf(field, sizeof field, "sink class \"%.32s\": name", p->sinks[i].name);
                load_refuse(report, field, "every name once", AUTHOR, "it twice in this plugin");
            }
    for (size_t i = 1; i < p->adapter_count; i++)
        for (size_t j = 0; j < i; j++)
            if (p->adapters[i].name && p->adapters[j].name && strcmp(p->adapters[i].name, p->adapters[j].name) == 0) {
                snprintf(field, sizeof field, "adapter class \"%.32s\": name", p->adapters[i].name);
                load_refuse(report, field, "every name once", AUTHOR, "it twice in this plugin");
            }
}

/* The descriptor's lists of classes point at our copies, so that readers need no size checks. */
static int publish_lists(struct plugin *p)
{
    const struct aw_sink_class **sinks = calloc(p->sink_count + 1, sizeof *sinks);
    const struct aw_adapter_class **adapters = calloc(p->adapter_count + 1, sizeof *adapters);
    if (!sinks || !adapters) {
        free(sinks);
        free(adapters);
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->sink_count; i++)
        sinks[i] = &p->sinks[i];
    for (size_t i = 0; i < p->adapter_count; i++)
        adapters[i] = &p->adapters[i];
    p->descriptor.sinks = sinks;
    p->descriptor.adapters = adapters;
    return 0;
}

void descriptor_free(struct plugin *plugin)
{
    for (size_t i = 0; i < plugin->sink_count; i++)
        free_options(plugin->sinks[i].options);
    for (size_t i = 0; i < plugin->adapter_count; i++)
        free_options(plugin->adapters[i].options);
    base_free_p(&plugin->descriptor.sinks);
    base_free_p(&plugin->descriptor.adapters);
    base_free_p(&plugin->sinks);
    base_free_p(&plugin->adapters);
    plugin->sink_count = plugin->adapter_count = 0;
}

static int copy_classes(const struct aw_plugin *d, struct load_report *report, struct plugin *ret)
{
    bool newer = d->abi_minor > AW_ABI_MINOR;
    size_t sinks = list_length((const void *const *)d->sinks), adapters = list_length((const void *const *)d->adapters);
    if (sinks + adapters == 0 || sinks == LIST_SANE || adapters == LIST_SANE) {
        load_refuse(report, "descriptor: sinks, adapters", "at least one class, fewer than 256, ended by NULL", AUTHOR,
                    "%s", sinks + adapters == 0 ? "none" : "no end");
        return -EINVAL;
    }
    ret->sinks = calloc(sinks + 1, sizeof *ret->sinks);
    ret->adapters = calloc(adapters + 1, sizeof *ret->adapters);
    if (!ret->sinks || !ret->adapters)
        return -ENOMEM;
    ret->sink_count = sinks;
    ret->adapter_count = adapters;
    int rc = 0;
    for (size_t i = 0; i < sinks && rc != -ENOMEM; i++)
        rc = copy_sink(d->sinks[i], i, newer, report, &ret->sinks[i]);
    for (size_t i = 0; i < adapters && rc != -ENOMEM; i++)
        rc = copy_adapter(d->adapters[i], i, newer, report, &ret->adapters[i]);
    if (rc != -ENOMEM)
        check_unique(ret, report);
    return rc;
}

int descriptor_copy(const struct aw_plugin *theirs, struct load_report *report, struct plugin *ret)
{
    int rc = check_head(theirs, report);
    if (rc < 0)
        return rc;
    struct aw_plugin d;
    clamp_copy(&d, sizeof d, theirs, theirs->struct_size);
    d.struct_size = sizeof d;
    check_texts(&d, report);
    check_needs(&d, report);
    rc = copy_classes(&d, report, ret);
    if (rc == 0 && report->count > 0)
        rc = -EINVAL;
    ret->descriptor = d;
    ret->descriptor.sinks = NULL; /* only ever our own lists */
    ret->descriptor.adapters = NULL;
    if (rc == 0)
        rc = publish_lists(ret);
    if (rc < 0)
        descriptor_free(ret);
    return rc;
}
