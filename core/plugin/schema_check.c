/* schema_check.c - is what a plugin declares as its options sound? SPDX-License-Identifier: Apache-2.0
 *
 * A wrong schema is refused when the plugin is loaded, not when somebody first uses the option.
 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <stdio.h>

#define AUTHOR "this is the plugin's fault: tell its author"

const char *schema_type_name(uint32_t type)
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
        return NULL;
    }
}

static bool key_ok(const char *key)
{
    size_t n = strnlen(key, 65);
    if (n == 0 || n > 64 || key[0] < 'a' || key[0] > 'z')
        return false;
    for (size_t i = 1; i < n; i++) {
        char c = key[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    return true;
}

static bool is_number(uint32_t type)
{
    return type == AW_OPT_INT || type == AW_OPT_UINT || type == AW_OPT_SIZE || type == AW_OPT_DURATION;
}

static void check_range(const struct aw_option *o, const char *field, struct load_report *report)
{
    if (!is_number(o->type)) {
        if (o->min != 0 || o->max != 0)
            load_refuse(report, field, "no range for this type", AUTHOR, "min %lld, max %lld", (long long)o->min,
                        (long long)o->max);
        return;
    }
    if (o->min > o->max)
        load_refuse(report, field, "min <= max", AUTHOR, "min %lld, max %lld", (long long)o->min, (long long)o->max);
    else if (o->type != AW_OPT_INT && o->min < 0)
        load_refuse(report, field, "min >= 0 for this type", AUTHOR, "min %lld", (long long)o->min);
}

static void check_choices(const struct aw_option *o, const char *field, struct load_report *report)
{
    bool any = o->choices && o->choices[0];
    if (o->type == AW_OPT_ENUM && !any)
        load_refuse(report, field, "choices for an enum", AUTHOR, "none");
    if (o->type != AW_OPT_ENUM && any)
        load_refuse(report, field, "choices with type enum only", AUTHOR, "choices with type %s",
                    schema_type_name(o->type));
}

static void check_option(const struct aw_option *const *options, size_t i, const char *class_text,
                         struct load_report *report)
{
    const struct aw_option *o = options[i];
    char field[200];
    if (!o->key || !key_ok(o->key)) {
        snprintf(field, sizeof field, "%s: option %zu: key", class_text, i);
        load_refuse(report, field, "[a-z][a-z0-9_]*, at most 64 characters", AUTHOR, "%s%.64s%s", o->key ? "\"" : "",
                    o->key ? o->key : "NULL", o->key ? "\"" : "");
        return;
    }
    for (size_t j = 0; j < i; j++) {
        if (options[j]->key && strcmp(options[j]->key, o->key) == 0) {
            snprintf(field, sizeof field, "%s: option \"%s\": key", class_text, o->key);
            load_refuse(report, field, "every key once", AUTHOR, "it twice");
            return;
        }
    }
    if (!schema_type_name(o->type)) {
        snprintf(field, sizeof field, "%s: option \"%s\": type", class_text, o->key);
        load_refuse(report, field, "an AW_OPT_* type of ABI 1.0",
                    "this is the plugin's fault, or it needs a newer auditwell", "%u", (unsigned)o->type);
        return;
    }
    size_t before = report->count;
    snprintf(field, sizeof field, "%s: option \"%s\": range", class_text, o->key);
    check_range(o, field, report);
    snprintf(field, sizeof field, "%s: option \"%s\": choices", class_text, o->key);
    check_choices(o, field, report);
    if (report->count != before || !o->deflt)
        return;
    snprintf(field, sizeof field, "%s: option \"%s\": deflt", class_text, o->key);
    char why[300];
    if (o->flags & AW_OPT_REQUIRED)
        load_refuse(report, field, "no default for a required option", AUTHOR, "\"%.100s\"", o->deflt);
    else if (!schema_default_ok(o, why, sizeof why))
        load_refuse(report, field, "a value the option itself takes", AUTHOR, "\"%.60s\" (%s)", o->deflt, why);
}

void schema_check(const struct aw_option *const *options, const char *class_text, struct load_report *report)
{
    for (size_t i = 0; options && options[i]; i++)
        check_option(options, i, class_text, report);
}
