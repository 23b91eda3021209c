/* schema_value.c - one option's value, from audit.conf or from text. SPDX-License-Identifier: Apache-2.0
 *
 * Every message says what was found, what would be right and, with the option's own help, what it is for. Values of
 * secrets are never part of a message.
 */
#include "config.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

void schema_value_clear(struct config_value *v)
{
    if (v->text && v->option && v->option->type == AW_OPT_SECRET)
        explicit_bzero(v->text, v->text_len);
    base_free_p(&v->text);
    for (size_t i = 0; i < v->count; i++) {
        free(v->items[i].text);
        free(v->items[i].where);
    }
    base_free_p(&v->items);
    base_free_p(&v->where);
    v->count = v->text_len = 0;
    v->number = 0;
    v->set = v->explicit = false;
}

/* ---- messages ---- */

static bool complain(const struct aw_option *o, const struct schema_place *place, const char *fmt, ...) AW_PRINTF(3, 4);
static bool complain(const struct aw_option *o, const struct schema_place *place, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (place->quiet) {
        snprintf(place->quiet, place->quiet_size, "%s", text);
        return false;
    }
    bool help = o->help && *o->help;
    diag_problem(AW_ERR_CONFIG, place->where, "%s%s%s%s%.200s%s", place->path, *place->path ? ": " : "", text,
                 help ? " (" : "", help ? o->help : "", help ? ")" : "");
    return false;
}

static void example(const struct aw_option *o, char *buf, size_t size)
{
    switch (o->type) {
    case AW_OPT_BOOL:
        snprintf(buf, size, "true or false");
        break;
    case AW_OPT_INT:
    case AW_OPT_UINT:
        snprintf(buf, size, "a whole number");
        break;
    case AW_OPT_SIZE:
        snprintf(buf, size, "a size such as \"64MiB\"");
        break;
    case AW_OPT_DURATION:
        snprintf(buf, size, "a duration such as \"250ms\"");
        break;
    case AW_OPT_ENUM: {
        size_t used = (size_t)snprintf(buf, size, "one of");
        for (size_t i = 0; o->choices[i] && used < size; i++) {
            int n = snprintf(buf + used, size - used, "%s \"%s\"", i ? "," : "", o->choices[i]);
            used += n > 0 ? (size_t)n : 0;
        }
        break;
    }
    case AW_OPT_PATH:
        snprintf(buf, size, "a path in quotes");
        break;
    case AW_OPT_LIST:
        snprintf(buf, size, "a list of strings such as ( \"a\", \"b\" )");
        break;
    default:
        snprintf(buf, size, "a string in quotes");
        break;
    }
}

static bool wrong(const struct aw_option *o, const struct schema_place *place, const char *found)
{
    char want[400];
    example(o, want, sizeof want);
    return complain(o, place, "expected %s, found %s", want, found);
}

static void format_bound(const struct aw_option *o, int64_t n, char *buf, size_t size)
{
    if (o->type == AW_OPT_SIZE)
        schema_format_size(n, buf, size);
    else if (o->type == AW_OPT_DURATION)
        schema_format_duration(n, buf, size);
    else
        snprintf(buf, size, "%lld", (long long)n);
}

static bool take_number(struct config_value *v, int64_t n, const struct schema_place *place)
{
    const struct aw_option *o = v->option;
    bool ranged = o->min != 0 || o->max != 0;
    int64_t least = ranged ? o->min : o->type == AW_OPT_INT ? INT64_MIN : 0, most = ranged ? o->max : INT64_MAX;
    if (n >= least && n <= most) {
        v->number = n;
        return true;
    }
    char have[40], low[40], high[40];
    format_bound(o, n, have, sizeof have);
    format_bound(o, least, low, sizeof low);
    format_bound(o, most, high, sizeof high);
    if (most == INT64_MAX)
        return complain(o, place, "%s is out of range: expected at least %s", have, low);
    return complain(o, place, "%s is out of range: expected %s to %s", have, low, high);
}

/* ---- text ---- */

static bool set_text(struct config_value *v, char *owned, const struct schema_place *place)
{
    if (!owned)
        return complain(v->option, place, "out of memory");
    v->text = owned;
    v->text_len = strlen(owned);
    return true;
}

/* base_dir/text, or text when it is absolute. NULL: out of memory. */
static char *absolute(const char *text, const char *base_dir)
{
    char *path = NULL;
    if (text[0] == '/')
        return strdup(text);
    if (strncmp(text, "./", 2) == 0)
        text += 2;
    return asprintf(&path, "%s%s%s", base_dir, strcmp(base_dir, "/") == 0 ? "" : "/", text) < 0 ? NULL : path;
}

static bool take_path(struct config_value *v, const char *text, const struct schema_place *place)
{
    if (!*text)
        return wrong(v->option, place, "an empty string");
    if (text[0] != '/' && !place->base_dir)
        return complain(v->option, place, "expected an absolute path, found \"%.200s\"", text);
    if (strlen(text) >= PATH_MAX)
        return complain(v->option, place, "expected at most %d bytes, found more", PATH_MAX - 1);
    return set_text(v, absolute(text, place->base_dir), place);
}

static bool take_secret(struct config_value *v, const char *text, const struct schema_place *place)
{
    AW_AUTOFREE char *name = NULL; /* of a secret's file, not the secret */
    if (strncmp(text, "file:", 5) == 0 && text[5] != '/' && text[5] && place->base_dir) {
        AW_AUTOFREE char *path = absolute(text + 5, place->base_dir);
        if (!path || asprintf(&name, "file:%s", path) < 0) {
            name = NULL;
            return complain(v->option, place, "out of memory");
        }
    }
    char *secret = NULL;
    if (secret_resolve(name ? name : text, place, &secret) < 0)
        return false;
    return set_text(v, secret, place);
}

static bool take_enum(struct config_value *v, const char *text, const struct schema_place *place)
{
    const struct aw_option *o = v->option;
    for (size_t i = 0; o->choices[i]; i++)
        if (strcmp(o->choices[i], text) == 0)
            return set_text(v, strdup(text), place);
    char want[400];
    example(o, want, sizeof want);
    const char *close_to = schema_nearest(text, o->choices);
    if (close_to)
        return complain(o, place, "expected %s, found \"%.100s\"; did you mean \"%s\"?", want, text, close_to);
    return complain(o, place, "expected %s, found \"%.100s\"", want, text);
}

static bool take_unit(struct config_value *v, const char *text, const struct schema_place *place)
{
    const struct aw_option *o = v->option;
    int64_t n = 0;
    bool size = o->type == AW_OPT_SIZE;
    int rc = size ? schema_parse_size(text, &n) : schema_parse_duration(text, &n);
    if (rc == 0)
        return take_number(v, n, place);
    if (rc == -ERANGE)
        return complain(o, place, "\"%.60s\" is too large for any %s", text, size ? "size" : "duration");
    if (text[0] >= '0' && text[0] <= '9')
        return complain(o, place, "expected %s, found \"%.60s\": units are %s",
                        size ? "a size such as \"64MiB\""
                             : "a duration such "
                               "as \"250ms\"",
                        text,
                        size ? "B, KiB, MiB, GiB, TiB (1024) and KB, MB, GB, TB (1000)" : "ns, us, ms, s, m, h, d");
    char found[80];
    snprintf(found, sizeof found, "\"%.60s\"", text);
    return wrong(o, place, found);
}

/* What stands between quotes in any text-valued option. */
static bool take_string(struct config_value *v, const char *text, const struct schema_place *place)
{
    switch (v->option->type) {
    case AW_OPT_STRING:
        return set_text(v, strdup(text), place);
    case AW_OPT_PATH:
        return take_path(v, text, place);
    case AW_OPT_SECRET:
        return take_secret(v, text, place);
    case AW_OPT_ENUM:
        return take_enum(v, text, place);
    default:
        return take_unit(v, text, place);
    }
}

static bool add_item(struct config_value *v, const char *text, size_t len, const char *where,
                     const struct schema_place *place)
{
    struct config_item *grown = realloc(v->items, (v->count + 1) * sizeof *grown);
    if (!grown)
        return complain(v->option, place, "out of memory");
    v->items = grown;
    struct config_item *item = &grown[v->count];
    item->text = strndup(text, len);
    item->where = where ? strdup(where) : NULL;
    if (!item->text || (where && !item->where)) {
        free(item->text);
        free(item->where);
        return complain(v->option, place, "out of memory");
    }
    v->count++;
    return true;
}

/* a, b,c: as on a command line. */
static bool take_comma_list(struct config_value *v, const char *text, const struct schema_place *place)
{
    const char *p = text;
    while (*p) {
        p += strspn(p, " ");
        size_t n = strcspn(p, ","), len = n;
        while (len > 0 && p[len - 1] == ' ')
            len--;
        if (len == 0)
            return complain(v->option, place, "expected no empty item in \"%.100s\"", text);
        if (!add_item(v, p, len, NULL, place))
            return false;
        p += n + (p[n] == ',');
    }
    return true;
}

static bool take_integer_text(struct config_value *v, const char *text, const struct schema_place *place)
{
    char *end = NULL;
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    char found[80];
    snprintf(found, sizeof found, "\"%.60s\"", text);
    if (digits[0] < '0' || digits[0] > '9')
        return wrong(v->option, place, found);
    errno = 0;
    long long n = strtoll(text, &end, hex ? 16 : 10);
    if (*end)
        return wrong(v->option, place, found);
    if (errno == ERANGE)
        return complain(v->option, place, "%.60s does not fit in 64 bits", text);
    return take_number(v, n, place);
}

/* As it would stand in audit.conf: "text" in quotes, or a list in ( ) or [ ]. */
static bool take_quoted(struct config_value *v, const char *text, const struct schema_place *place)
{
    AW_AUTOFREE char *line = NULL;
    if (asprintf(&line, "v = %s;", text) < 0) {
        line = NULL;
        return complain(v->option, place, "out of memory");
    }
    config_t config;
    config_init(&config);
    bool ok;
    if (config_read_string(&config, line) == CONFIG_TRUE && config_lookup(&config, "v"))
        ok = schema_value_setting(v, config_lookup(&config, "v"), place);
    else
        ok = complain(v->option, place, "cannot be read as a value of audit.conf: \"%.100s\"", text);
    config_destroy(&config);
    return ok;
}

bool schema_value_text(struct config_value *v, const char *text, const struct schema_place *place)
{
    size_t n = strlen(text);
    uint32_t type = v->option->type;
    if (type == AW_OPT_BOOL) {
        char found[80];
        snprintf(found, sizeof found, "\"%.60s\"", text);
        v->number = strcmp(text, "true") == 0;
        return v->number || strcmp(text, "false") == 0 ? true : wrong(v->option, place, found);
    }
    if (type == AW_OPT_INT || type == AW_OPT_UINT)
        return take_integer_text(v, text, place);
    if (type == AW_OPT_LIST)
        return text[0] == '(' || text[0] == '[' ? take_quoted(v, text, place) : take_comma_list(v, text, place);
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"')
        return take_quoted(v, text, place);
    return take_string(v, text, place);
}

/* ---- settings of libconfig ---- */

static void found_text(const config_setting_t *s, bool secret, char *buf, size_t size)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_GROUP:
        snprintf(buf, size, "a group { }");
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(buf, size, "the number %lld", config_setting_get_int64(s));
        break;
    case CONFIG_TYPE_FLOAT:
        snprintf(buf, size, "the fraction %g", config_setting_get_float(s));
        break;
    case CONFIG_TYPE_STRING:
        if (secret)
            snprintf(buf, size, "a string");
        else
            snprintf(buf, size, "the string \"%.100s\"",
                     config_setting_get_string(s) ? config_setting_get_string(s) : "");
        break;
    case CONFIG_TYPE_BOOL:
        snprintf(buf, size, "%s", config_setting_get_bool(s) ? "true" : "false");
        break;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        snprintf(buf, size, "a list");
        break;
    default:
        snprintf(buf, size, "nothing");
        break;
    }
}

const char *schema_where(const config_setting_t *setting, char *buf, size_t size)
{
    const char *file = config_setting_source_file(setting);
    if (!file)
        file = config_setting_get_hook(setting); /* set by the reader of audit.conf, see settings_files.c */
    snprintf(buf, size, "%s:%u", file ? file : "<text>", config_setting_source_line(setting));
    return buf;
}

static bool take_list(struct config_value *v, const config_setting_t *s, const struct schema_place *place)
{
    char where[SCHEMA_WHERE_MAX], path[300];
    int n = config_setting_length(s);
    bool ok = true;
    for (int i = 0; i < n; i++) {
        const config_setting_t *e = config_setting_get_elem(s, (unsigned)i);
        const char *text = config_setting_get_string(e);
        snprintf(path, sizeof path, "%s[%d]", place->path, i);
        struct schema_place item = {schema_where(e, where, sizeof where), path, place->base_dir, place->quiet,
                                    place->quiet_size};
        if (text) {
            ok &= add_item(v, text, strlen(text), where, &item);
            continue;
        }
        char found[160];
        found_text(e, false, found, sizeof found);
        ok = complain(v->option, &item, "expected a string in quotes, found %s", found);
    }
    return ok;
}

bool schema_value_setting(struct config_value *v, const config_setting_t *s, const struct schema_place *place)
{
    int type = config_setting_type(s);
    uint32_t want = v->option->type;
    bool number = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
    bool text = type == CONFIG_TYPE_STRING;
    switch (want) {
    case AW_OPT_BOOL:
        if (type == CONFIG_TYPE_BOOL) {
            v->number = config_setting_get_bool(s) != 0;
            return true;
        }
        break;
    case AW_OPT_INT:
    case AW_OPT_UINT:
    case AW_OPT_SIZE:
        if (number)
            return take_number(v, config_setting_get_int64(s), place);
        if (text && want == AW_OPT_SIZE)
            return take_string(v, config_setting_get_string(s), place);
        break;
    case AW_OPT_DURATION:
        if (number && config_setting_get_int64(s) == 0)
            return take_number(v, 0, place);
        if (number)
            return complain(v->option, place,
                            "expected a duration with its unit such as \"%lldms\", found the number %lld",
                            config_setting_get_int64(s), config_setting_get_int64(s));
        if (text)
            return take_string(v, config_setting_get_string(s), place);
        break;
    case AW_OPT_LIST:
        if (type == CONFIG_TYPE_LIST || type == CONFIG_TYPE_ARRAY)
            return take_list(v, s, place);
        break;
    default:
        if (text)
            return take_string(v, config_setting_get_string(s), place);
        break;
    }
    char found[160];
    found_text(s, want == AW_OPT_SECRET, found, sizeof found);
    if (want == AW_OPT_SECRET && number)
        snprintf(found, sizeof found, "a number");
    return wrong(v->option, place, found);
}

bool schema_default_ok(const struct aw_option *option, char *why, size_t size)
{
    if (option->type == AW_OPT_SECRET)
        return true; /* resolved when it is used: file: and env: may not be there yet */
    struct schema_place place = {"", "", "/", why, size};
    struct config_value value = {.option = option};
    why[0] = '\0';
    bool ok = schema_value_text(&value, option->deflt, &place);
    schema_value_clear(&value);
    return ok;
}
