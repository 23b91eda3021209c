/* plugins.c - auditwell plugins: list and describe; check and new are in files of their own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* Text that a plugin brings is foreign text. */
static void safe(struct text *t, const char *s)
{
    (void)text_safe(t, or_empty(s), strlen(or_empty(s)), out_ascii(), 0);
}

static void json_member(struct text *t, const char *name, const char *value)
{
    text_printf(t, ",\"%s\":", name);
    if (value)
        text_json(t, value, strlen(value));
    else
        text_puts(t, "null");
}

static const char *type_name(uint32_t type)
{
    switch (type) {
    case AW_OPT_BOOL:
        return "bool";
    case AW_OPT_INT:
        return "int";
    case AW_OPT_UINT:
        return "uint";
    case AW_OPT_SIZE:
        return "size";
    case AW_OPT_DURATION:
        return "duration";
    case AW_OPT_STRING:
        return "string";
    case AW_OPT_ENUM:
        return "enum";
    case AW_OPT_PATH:
        return "path";
    case AW_OPT_SECRET:
        return "secret";
    case AW_OPT_LIST:
        return "list";
    default:
        return "unknown";
    }
}

static const char *threads_name(uint32_t model)
{
    return model == AW_THREADS_SERIAL_PLUGIN ? "serial-plugin"
           : model == AW_THREADS_PARALLEL    ? "parallel"
                                             : "serial-instance";
}

static const char *durability_name(uint32_t durability)
{
    return durability == AW_DURABLE_ON_WRITE ? "on-write" : durability == AW_DURABLE_ON_FLUSH ? "on-flush" : "never";
}

/* ---- list ---- */
struct listing {
    bool json;
    size_t count, failed;
    struct text t;
};

static void list_classes(struct text *t, const struct aw_plugin *p, bool json)
{
    bool first = true;
    for (size_t i = 0; p->sinks && p->sinks[i]; i++, first = false) {
        text_puts(t, first ? "" : json ? "," : " ");
        if (json)
            text_json(t, p->sinks[i]->name, strlen(p->sinks[i]->name));
        else
            safe(t, p->sinks[i]->name);
    }
    for (size_t i = 0; p->adapters && p->adapters[i]; i++, first = false) {
        text_puts(t, first ? "" : json ? "," : " ");
        if (json)
            text_json(t, p->adapters[i]->name, strlen(p->adapters[i]->name));
        else
            safe(t, p->adapters[i]->name);
    }
}

static int list_one(void *arg, const char *path, const void *plugin, const char *reason)
{
    struct listing *l = arg;
    const struct aw_plugin *p = plugin;
    struct text *t = &l->t;
    l->failed += !p;
    if (l->json) {
        text_puts(t, l->count ? ",{\"path\":" : "{\"path\":");
        text_json(t, path, strlen(path));
        if (p) {
            json_member(t, "id", p->id);
            json_member(t, "version", p->version);
            json_member(t, "summary", p->summary);
            text_puts(t, ",\"classes\":[");
            list_classes(t, p, true);
            text_puts(t, "]}");
        } else {
            json_member(t, "error", or_empty(reason));
            text_puts(t, "}");
        }
    } else if (p) {
        size_t at = t->len;
        list_classes(t, p, false);
        text_printf(t, "%*s", t->len - at < 14 ? (int)(16 - (t->len - at)) : 2, "");
        safe(t, p->version);
        text_puts(t, "  ");
        safe(t, p->summary);
        text_puts(t, "\n");
    } else {
        safe(t, path);
        text_puts(t, ": cannot be loaded: ");
        safe(t, reason);
        text_puts(t, "\n");
    }
    l->count++;
    return 0;
}

static int list(const struct cli_args *args)
{
    struct listing l = {.json = args->json};
    text_puts(&l.t, args->json ? "{\"plugins\":[" : "");
    int r = aw_plugins_each(list_one, &l);
    text_puts(&l.t, args->json ? "]}\n" : "");
    out_text(&l.t);
    text_free(&l.t);
    if (r != AW_SUCCESS)
        return out_failure("plugins", r);
    if (l.count == 0 && !args->json)
        out_error("no plugin found");
    return l.failed ? EXIT_FINDINGS : EXIT_GOOD;
}

/* ---- describe ---- */
static void option_range(struct text *t, const struct aw_option *o)
{
    if (o->type == AW_OPT_ENUM && o->choices) {
        text_puts(t, " one of");
        for (size_t i = 0; o->choices[i]; i++) {
            text_puts(t, i ? ", " : " ");
            safe(t, o->choices[i]);
        }
        text_puts(t, ";");
        return;
    }
    if (o->min == 0 && o->max == 0)
        return;
    if (o->max == INT64_MAX)
        text_printf(t, " %" PRId64 " or more;", o->min);
    else
        text_printf(t, " %" PRId64 " to %" PRId64 ";", o->min, o->max);
}

static void option_text(struct text *t, const struct aw_option *o)
{
    text_puts(t, "  ");
    safe(t, o->key);
    text_printf(t, " (%s%s%s%s", type_name(o->type), o->flags & AW_OPT_REQUIRED ? ", required" : "",
                o->flags & AW_OPT_RELOADABLE ? ", reloadable" : "", o->flags & AW_OPT_DEPRECATED ? ", deprecated" : "");
    if (o->deflt) {
        text_puts(t, ", default ");
        safe(t, o->deflt);
    }
    text_puts(t, ")\n     ");
    option_range(t, o);
    text_puts(t, " ");
    safe(t, o->help);
    text_puts(t, "\n");
}

static void option_json(struct text *t, const struct aw_option *o, bool first)
{
    text_puts(t, first ? "{\"key\":" : ",{\"key\":");
    text_json(t, o->key, strlen(o->key));
    json_member(t, "type", type_name(o->type));
    text_printf(t, ",\"required\":%s,\"reloadable\":%s,\"deprecated\":%s",
                o->flags & AW_OPT_REQUIRED ? "true" : "false", o->flags & AW_OPT_RELOADABLE ? "true" : "false",
                o->flags & AW_OPT_DEPRECATED ? "true" : "false");
    json_member(t, "default", o->deflt);
    json_member(t, "help", o->help);
    if (o->min != 0 || o->max != 0)
        text_printf(t, ",\"min\":%" PRId64 ",\"max\":%" PRId64, o->min, o->max);
    if (o->choices) {
        text_puts(t, ",\"choices\":[");
        for (size_t i = 0; o->choices[i]; i++) {
            text_puts(t, i ? "," : "");
            text_json(t, o->choices[i], strlen(o->choices[i]));
        }
        text_puts(t, "]");
    }
    text_puts(t, "}");
}

/* A value for the sample stanza, as it stands in audit.conf. */
static void sample_value(struct text *t, const struct aw_option *o)
{
    bool bare = o->type == AW_OPT_BOOL || o->type == AW_OPT_INT || o->type == AW_OPT_UINT;
    if (o->type == AW_OPT_LIST) {
        text_puts(t, o->deflt && strchr(o->deflt, '(') ? o->deflt : "( \"…\" )");
    } else if (bare) {
        safe(t, o->deflt ? o->deflt : o->type == AW_OPT_BOOL ? "false" : "0");
    } else {
        bool quoted = o->deflt && o->deflt[0] == '"';
        const char *value = o->deflt                   ? o->deflt
                            : o->type == AW_OPT_PATH   ? "/var/log/auditwell/PATH"
                            : o->type == AW_OPT_SECRET ? "file:/run/secrets/NAME"
                                                       : "…";
        text_puts(t, quoted ? "" : "\"");
        safe(t, value);
        text_puts(t, quoted ? "" : "\"");
    }
}

static void sample_stanza(struct text *t, const char *list_name, const char *name,
                          const struct aw_option *const *options)
{
    text_printf(t, "%s = (\n  {\n    plugin = \"", list_name);
    safe(t, name);
    text_puts(t, "\";\n");
    for (size_t i = 0; options && options[i]; i++) {
        const struct aw_option *o = options[i];
        if (o->flags & AW_OPT_DEPRECATED)
            continue;
        text_puts(t, o->flags & AW_OPT_REQUIRED ? "    " : "    # ");
        safe(t, o->key);
        text_puts(t, " = ");
        sample_value(t, o);
        text_puts(t, ";\n");
    }
    text_puts(t, "  }\n);\n");
}

static void options_block(struct text *t, const struct aw_option *const *options, bool json)
{
    text_puts(t, json ? ",\"options\":[" : "options:\n");
    for (size_t i = 0; options && options[i]; i++) {
        if (json)
            option_json(t, options[i], i == 0);
        else
            option_text(t, options[i]);
    }
    if (!json && (!options || !options[0]))
        text_puts(t, "  none\n");
    text_puts(t, json ? "]" : "");
}

/* The facts of one class that matter to the ABI, as key=value or as JSON members. */
struct fact {
    const char *key, *value;
};

static void facts(struct text *t, const struct fact *list, size_t count, bool json)
{
    for (size_t i = 0; i < count; i++) {
        if (!list[i].value)
            continue;
        if (json) {
            json_member(t, list[i].key, list[i].value);
        } else {
            text_printf(t, "%s=", list[i].key);
            safe(t, list[i].value);
            text_puts(t, "\n");
        }
    }
}

static void describe_class(struct text *t, const char *kind, const char *name, const struct fact *list, size_t count,
                           const struct aw_option *const *options, bool json)
{
    text_puts(t, json ? "{\"class\":" : "\nclass=");
    if (json)
        text_json(t, name, strlen(name));
    else
        safe(t, name);
    text_puts(t, json ? "" : "\n");
    facts(t, list, count, json);
    options_block(t, options, json);
    if (json) {
        struct text stanza = {0};
        sample_stanza(&stanza, kind, name, options);
        json_member(t, "sample", stanza.ptr);
        text_free(&stanza);
        text_puts(t, "}");
    } else {
        text_puts(t, "sample:\n");
        sample_stanza(t, kind, name, options);
    }
}

static void describe_classes(struct text *t, const struct aw_plugin *p, bool json)
{
    bool first = true;
    for (size_t i = 0; p->sinks && p->sinks[i]; i++, first = false) {
        const struct aw_sink_class *c = p->sinks[i];
        const struct fact list[] = {
            {"kind", "sink"},
            {"summary", c->summary},
            {"threads", threads_name(c->thread_model)},
            {"durability", durability_name(c->durability)},
            {"remote", c->flags & AW_SINK_REMOTE ? "yes" : "no"},
        };
        text_puts(t, json && !first ? "," : "");
        describe_class(t, "sinks", c->name, list, sizeof list / sizeof list[0], c->options, json);
    }
    for (size_t i = 0; p->adapters && p->adapters[i]; i++, first = false) {
        const struct aw_adapter_class *c = p->adapters[i];
        const struct fact list[] = {
            {"kind", "adapter"},
            {"summary", c->summary},
            {"threads", threads_name(c->thread_model)},
            {"native_type", c->native_type},
            {"native_abi", c->native_abi},
        };
        text_puts(t, json && !first ? "," : "");
        describe_class(t, "adapters", c->name, list, sizeof list / sizeof list[0], c->options, json);
    }
}

static int describe(const struct cli_args *args, const char *name)
{
    const void *found;
    const char *path;
    struct text t = {0};
    char *full = strchr(name, '/') || strstr(name, ".so") ? realpath(name, NULL) : NULL;
    int r = aw_plugins_find(full ? full : name, &found, &path);
    free(full);
    if (r != AW_SUCCESS) {
        (void)out_failure(name, r);
        return EXIT_UNREADABLE;
    }
    const struct aw_plugin *p = found;
    char abi[32];
    (void)snprintf(abi, sizeof abi, "%u.%u", p->abi_major, p->abi_minor);
    const struct fact list[] = {
        {"id", or_empty(p->id)},
        {"version", or_empty(p->version)},
        {"license", or_empty(p->license)},
        {"summary", or_empty(p->summary)},
        {"abi", abi},
    };
    text_puts(&t, args->json ? "{\"path\":" : "path=");
    if (args->json)
        text_json(&t, path, strlen(path));
    else
        safe(&t, path);
    text_puts(&t, args->json ? "" : "\n");
    facts(&t, list, sizeof list / sizeof list[0], args->json);
    text_puts(&t, args->json ? ",\"needs\":[" : "");
    for (size_t i = 0; p->host_needs && p->host_needs[i]; i++) {
        if (args->json) {
            text_puts(&t, i ? "," : "");
            text_json(&t, p->host_needs[i], strlen(p->host_needs[i]));
        } else {
            text_puts(&t, "needs=");
            safe(&t, p->host_needs[i]);
            text_puts(&t, "\n");
        }
    }
    text_puts(&t, args->json ? "],\"classes\":[" : "");
    describe_classes(&t, p, args->json);
    text_puts(&t, args->json ? "]}\n" : "");
    out_text(&t);
    text_free(&t);
    return EXIT_GOOD;
}

int cmd_plugins(struct cli_args *args)
{
    const char *what = args->word_count > 0 ? args->words[0] : "";
    if (strcmp(what, "check") == 0 && (args->word_count == 2 || (args->word_count == 1 && cli_has(args, OPT_LIST))))
        return plugins_check(args, args->word_count == 2 ? args->words[1] : NULL);
    if (strcmp(what, "check") == 0)
        return cli_usage(args, "check: expected a plugin's name or file");
    if (args->given_count > 0)
        return cli_usage(args, "these options are for 'check' only");
    if (strcmp(what, "list") == 0 && args->word_count == 1)
        return list(args);
    if (strcmp(what, "describe") == 0 && args->word_count == 2)
        return describe(args, args->words[1]);
    if (strcmp(what, "new") == 0 && (args->word_count == 2 || args->word_count == 3))
        return plugins_new(args, args->words[1], args->word_count == 3 ? args->words[2] : NULL);
    return cli_usage(args, "expected 'list', 'describe' or 'check' and a plugin's name or file, or 'new' and a name");
}
