/* settings.c - what audit.conf's reader does for a plugin: typed, checked and defaulted settings.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"

struct value {
    const struct aw_option *option;
    bool set;
    char *text;
    int64_t number;
    char **items;
    size_t count;
};
struct aw_config {
    bool sealed; /* create() has returned: the plugin may not ask any more */
    size_t count;
    struct value value[];
};

/* ---- placeholders ---- */

char *kit_expand(const char *text, unsigned instance)
{
    char *out = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&out, &len);
    if (!f)
        return NULL;
    for (const char *s = text; *s;) {
        if (strncmp(s, "{dir}", 5) == 0) {
            (void)fputs(kit_dir, f);
            s += 5;
        } else if (strncmp(s, "{id}", 4) == 0) {
            (void)fputs(kit_id, f);
            s += 4;
        } else if (strncmp(s, "{instance}", 10) == 0) {
            (void)fprintf(f, "%u", instance);
            s += 10;
        } else {
            (void)putc(*s++, f);
        }
    }
    return fclose(f) == 0 ? out : NULL;
}

/* ---- values ---- */

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit sizes[] = {{"", 1},
                                    {"B", 1},
                                    {"KiB", 1024},
                                    {"MiB", 1 << 20},
                                    {"GiB", 1 << 30},
                                    {"TiB", INT64_C(1) << 40},
                                    {"KB", 1000},
                                    {"MB", 1000000},
                                    {"GB", 1000000000},
                                    {"TB", INT64_C(1000000000000)},
                                    {NULL, 0}};
static const struct unit durations[] = {{"ns", 1},
                                        {"us", 1000},
                                        {"ms", 1000000},
                                        {"s", 1000000000},
                                        {"m", INT64_C(60000000000)},
                                        {"min", INT64_C(60000000000)},
                                        {"h", INT64_C(3600000000000)},
                                        {"d", INT64_C(86400000000000)},
                                        {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

bool kit_number_of(const struct aw_option *o, const char *text, int64_t *ret)
{
    const struct unit *units = o->type == AW_OPT_SIZE ? sizes : o->type == AW_OPT_DURATION ? durations : plain;
    char *end;
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    errno = 0;
    long long n = strtoll(text, &end, hex ? 16 : 10);
    if (end == text || errno != 0)
        return false;
    while (*end == ' ')
        end++;
    if (n == 0 && *end == '\0') {
        *ret = 0; /* needs no unit */
        return true;
    }
    for (const struct unit *u = units; u->name; u++)
        if (strcmp(u->name, end) == 0)
            return !__builtin_mul_overflow((int64_t)n, u->factor, ret);
    return false;
}

static bool wrong(const struct aw_option *o, const char *found)
{
    kit_finding("option %s: the value %s%s%s does not fit its type and range", o->key,
                o->type == AW_OPT_SECRET ? "" : "\"", o->type == AW_OPT_SECRET ? "given" : found,
                o->type == AW_OPT_SECRET ? "" : "\"");
    return false;
}

static char *read_secret_file(const char *path)
{
    char buf[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    size_t n = fread(buf, 1, sizeof buf - 1, f);
    (void)fclose(f);
    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
        n--;
    buf[n] = '\0';
    return strdup(buf);
}

static char *absolute(const char *text)
{
    char *path = NULL;
    if (text[0] == '/')
        return strdup(text);
    return asprintf(&path, "%s/%s", kit.base_dir, text) < 0 ? NULL : path;
}

static bool take_secret(struct value *v, char *text)
{
    if (strncmp(text, "file:", 5) == 0) {
        char *path = absolute(text + 5);
        v->text = path ? read_secret_file(path) : NULL;
        free(path);
    } else if (strncmp(text, "env:", 4) == 0) {
        const char *secret = getenv(text + 4);
        v->text = secret ? strdup(secret) : NULL;
    } else {
        v->text = strdup(text);
    }
    return EXPECT(v->text != NULL, "option %s: the secret cannot be read", v->option->key);
}

static bool chosen(const struct aw_option *o, const char *text)
{
    for (size_t i = 0; o->choices && o->choices[i]; i++)
        if (strcmp(o->choices[i], text) == 0)
            return true;
    return wrong(o, text);
}

static bool take_items(struct value *v, char *text)
{
    /* ( "a", "b" ) of a default, or a,b of a command line */
    for (char *s = text; *s;) {
        s += strspn(s, "( [\t,");
        bool quoted = *s == '"';
        s += quoted;
        size_t n = strcspn(s, quoted ? "\"" : ",)]");
        size_t len = n;
        while (!quoted && len > 0 && s[len - 1] == ' ')
            len--;
        if (len > 0 || quoted) {
            char **grown = realloc(v->items, (v->count + 1) * sizeof *grown);
            if (!grown)
                return false;
            v->items = grown;
            if (!(v->items[v->count] = strndup(s, len)))
                return false;
            v->count++;
        }
        s += n;
        s += quoted && *s == '"';
        s += strspn(s, " )],");
    }
    return true;
}

static bool take(struct value *v, char *text)
{
    const struct aw_option *o = v->option;
    size_t n = strlen(text);
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"' && o->type != AW_OPT_LIST) {
        text[n - 1] = '\0';
        text++;
    }
    v->set = true;
    switch (o->type) {
    case AW_OPT_BOOL:
        v->number = strcmp(text, "true") == 0;
        return v->number || strcmp(text, "false") == 0 ? true : wrong(o, text);
    case AW_OPT_INT:
    case AW_OPT_UINT:
    case AW_OPT_SIZE:
    case AW_OPT_DURATION:
        if (!kit_number_of(o, text, &v->number) || (o->type != AW_OPT_INT && v->number < 0) ||
            ((o->min != 0 || o->max != 0) && (v->number < o->min || v->number > o->max)))
            return wrong(o, text);
        return true;
    case AW_OPT_SECRET:
        return take_secret(v, text);
    case AW_OPT_LIST:
        return take_items(v, text);
    case AW_OPT_PATH:
        v->text = absolute(text);
        return v->text != NULL;
    default:
        v->text = strdup(text);
        return v->text != NULL && (o->type != AW_OPT_ENUM || chosen(o, text));
    }
}

static bool take_list(struct value *v, const struct kit_setting *s, unsigned instance)
{
    v->set = true;
    v->items = calloc(s->count + 1, sizeof *v->items);
    for (size_t i = 0; v->items && i < s->count; i++)
        if ((v->items[v->count] = kit_expand(s->items[i], instance)) != NULL)
            v->count++;
    return v->items != NULL && v->count == s->count;
}

static const struct kit_setting *find(const char *key, bool slow)
{
    for (size_t i = 0; slow && i < kit.slow_count; i++)
        if (strcmp(kit.slow[i].key, key) == 0)
            return &kit.slow[i];
    for (size_t i = 0; i < kit.setting_count; i++)
        if (strcmp(kit.settings[i].key, key) == 0)
            return &kit.settings[i];
    return NULL;
}

static bool take_option(struct value *v, unsigned instance, bool slow)
{
    const struct aw_option *o = v->option;
    const struct kit_setting *s = find(o->key, slow);
    char made[300];
    if (s && !s->value)
        return o->type == AW_OPT_LIST ? take_list(v, s, instance) : wrong(o, "a list");
    const char *text = s ? s->value : o->deflt;
    if (!text && o->type == AW_OPT_PATH && (o->flags & AW_OPT_REQUIRED) != 0) {
        (void)snprintf(made, sizeof made, "{dir}/%s-{instance}", o->key); /* a fresh place for each check */
        text = made;
    }
    if (!text)
        return EXPECT((o->flags & AW_OPT_REQUIRED) == 0, "option %s is required: give --option %s=VALUE", o->key,
                      o->key);
    char *expanded = kit_expand(text, instance);
    bool ok = expanded && take(v, expanded);
    free(expanded);
    return ok;
}

static bool keys_known(const struct kit_setting *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (kit_schema[k] && strcmp(kit_schema[k]->key, list[i].key) != 0)
            k++;
        if (!EXPECT(kit_schema[k] != NULL, "the sink has no option \"%s\"", list[i].key))
            return false;
    }
    return true;
}

struct aw_config *kit_config(unsigned instance, bool slow)
{
    size_t n = 0;
    while (kit_schema[n])
        n++;
    if (!keys_known(kit.settings, kit.setting_count) || !keys_known(kit.slow, slow ? kit.slow_count : 0))
        return NULL;
    struct aw_config *c = calloc(1, sizeof *c + n * sizeof c->value[0]);
    if (!c) {
        kit_finding("the kit is out of memory");
        return NULL;
    }
    c->count = n;
    for (size_t i = 0; i < n; i++) {
        c->value[i].option = kit_schema[i];
        if (!take_option(&c->value[i], instance, slow)) {
            kit_config_free(c);
            return NULL;
        }
    }
    return c;
}

void kit_config_free(struct aw_config *c)
{
    for (size_t i = 0; c && i < c->count; i++) {
        free(c->value[i].text);
        for (size_t k = 0; k < c->value[i].count; k++)
            free(c->value[i].items[k]);
        free(c->value[i].items);
    }
    free(c);
}

void kit_config_seal(struct aw_config *c)
{
    c->sealed = true;
}

void kit_config_open(struct aw_config *c)
{
    c->sealed = false;
}

bool kit_config_secret_in(const struct aw_config *c, const char *text)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->value[i].option->type == AW_OPT_SECRET && c->value[i].text && strlen(c->value[i].text) >= 4 &&
            strstr(text, c->value[i].text) != NULL)
            return true;
    return false;
}

/* ---- what the plugin calls ---- */

static const struct value *asked(const struct aw_config *c, const char *key)
{
    if (!EXPECT(!c->sealed, "the settings were read after create() had returned (key \"%s\"): copy them in create()",
                key))
        return NULL;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->value[i].option->key, key) == 0)
            return &c->value[i];
    kit_finding("asks for the setting \"%s\", which its schema does not declare", key);
    return NULL;
}

static bool is_text(uint32_t type)
{
    return type == AW_OPT_STRING || type == AW_OPT_ENUM || type == AW_OPT_PATH || type == AW_OPT_SECRET;
}

static int32_t mismatch(const char *function, const char *key)
{
    kit_finding("reads the setting \"%s\" with %s(), but its schema declares another type", key, function);
    return AW_E_INTERNAL;
}

int32_t kit_config_str(const struct aw_config *c, const char *key, struct aw_str *ret)
{
    const struct value *v = asked(c, key);
    if (v && !is_text(v->option->type))
        return mismatch("config_str", key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    *ret = (struct aw_str){v->text, strlen(v->text)};
    return AW_OK;
}

int32_t kit_config_int(const struct aw_config *c, const char *key, int64_t *ret)
{
    const struct value *v = asked(c, key);
    if (v && (is_text(v->option->type) || v->option->type == AW_OPT_LIST || v->option->type == AW_OPT_BOOL))
        return mismatch("config_int", key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    *ret = v->number;
    return AW_OK;
}

int32_t kit_config_bool(const struct aw_config *c, const char *key, int32_t *ret)
{
    const struct value *v = asked(c, key);
    if (v && v->option->type != AW_OPT_BOOL)
        return mismatch("config_bool", key);
    if (!v || !v->set)
        return AW_E_NOTFOUND;
    *ret = (int32_t)v->number;
    return AW_OK;
}

int32_t kit_config_list(const struct aw_config *c, const char *key, size_t index, struct aw_str *ret)
{
    const struct value *v = asked(c, key);
    if (v && v->option->type != AW_OPT_LIST)
        return mismatch("config_list", key);
    if (!v || !v->set || index >= v->count)
        return AW_E_NOTFOUND;
    *ret = (struct aw_str){v->items[index], strlen(v->items[index])};
    return AW_OK;
}
