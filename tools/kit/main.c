/* main.c - auditwell-plugin-check: what `auditwell plugins check` starts. Its options are those of that command, and
 * --plugin FILE. See auditwell(1). SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit.h"
#include "out.h"

struct kit_options kit = {.patience = 1, .batch_max = 1000, .base_dir = "/"};

void kit_setting_add(struct kit_setting *list, size_t *count, const char *key, const char *value)
{
    struct kit_setting *s = NULL;
    for (size_t i = 0; i < *count; i++)
        if (strcmp(list[i].key, key) == 0)
            s = &list[i];
    if (!s) {
        if (*count == KIT_SETTINGS) {
            (void)fprintf(stderr, "auditwell-plugin-check: at most %d settings\n", KIT_SETTINGS);
            exit(2);
        }
        s = &list[(*count)++];
        s->key = strdup(key);
    }
    s->items = NULL; /* one given later wins */
    s->count = 0;
    s->value = strdup(value);
    if (!s->key || !s->value) {
        (void)fputs("auditwell-plugin-check: out of memory\n", stderr);
        exit(3);
    }
}

static int take_pair(struct kit_setting *list, size_t *count, const char *option, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        (void)fprintf(stderr, "auditwell-plugin-check: %s: expected KEY=VALUE, found '%s'\n", option, text);
        return 2;
    }
    *equals = '\0';
    kit_setting_add(list, count, text, equals + 1);
    return 0;
}

enum {
    PLUGIN = 1,
    BASE,
    CLASS,
    OPTION,
    SLOW,
    ONLY,
    LIST,
    VERIFY,
    HOST,
    CONFIG,
    SINK,
    PATIENCE,
    LIBRARIES,
    BATCH,
    LIMIT,
    TAP,
    JSON
};
static const struct option options[] = {{"plugin", required_argument, NULL, PLUGIN},
                                        {"base-dir", required_argument, NULL, BASE},
                                        {"class", required_argument, NULL, CLASS},
                                        {"option", required_argument, NULL, OPTION},
                                        {"slow-option", required_argument, NULL, SLOW},
                                        {"only", required_argument, NULL, ONLY},
                                        {"list", no_argument, NULL, LIST},
                                        {"verify-command", required_argument, NULL, VERIFY},
                                        {"host-command", required_argument, NULL, HOST},
                                        {"config", required_argument, NULL, CONFIG},
                                        {"sink", required_argument, NULL, SINK},
                                        {"patience", required_argument, NULL, PATIENCE},
                                        {"fail-libraries", no_argument, NULL, LIBRARIES},
                                        {"batch", required_argument, NULL, BATCH},
                                        {"time-limit", required_argument, NULL, LIMIT},
                                        {"tap", no_argument, NULL, TAP},
                                        {"json", no_argument, NULL, JSON},
                                        {NULL, 0, NULL, 0}};

struct asked {
    char **only;
    size_t only_count;
    const char *config, *sink;
    enum kit_format format;
    bool list;
};

static int take_number(const char *option, const char *text, unsigned long max, unsigned long *ret)
{
    char *end;
    *ret = strtoul(text, &end, 10);
    if (*text >= '1' && *text <= '9' && *end == '\0' && *ret <= max)
        return 0;
    (void)fprintf(stderr, "auditwell-plugin-check: %s: expected a number from 1 to %lu, found '%s'\n", option, max,
                  text);
    return 2;
}

static int take(struct asked *a, int c, char *value)
{
    unsigned long n = 0;
    int r = 0;
    if (c == PLUGIN)
        kit.plugin = value;
    else if (c == BASE)
        kit.base_dir = value;
    else if (c == CLASS)
        kit.class = value;
    else if (c == OPTION)
        return take_pair(kit.settings, &kit.setting_count, "--option", value);
    else if (c == SLOW)
        return take_pair(kit.slow, &kit.slow_count, "--slow-option", value);
    else if (c == ONLY)
        a->only[a->only_count++] = value;
    else if (c == LIST)
        a->list = true;
    else if (c == VERIFY)
        kit.verify_command = value;
    else if (c == HOST)
        kit.host_command = value;
    else if (c == CONFIG)
        a->config = value;
    else if (c == SINK)
        a->sink = value;
    else if (c == PATIENCE && (r = take_number("--patience", value, 100, &n)) == 0)
        kit.patience = (unsigned)n;
    else if (c == LIBRARIES)
        kit.fail_libraries = true;
    else if (c == BATCH && (r = take_number("--batch", value, 65536, &n)) == 0)
        kit.batch_max = n;
    else if (c == LIMIT && (r = take_number("--time-limit", value, 3600, &n)) == 0)
        kit.time_limit = (unsigned)n;
    else if (c == TAP)
        a->format = KIT_TAP;
    else if (c == JSON)
        a->format = KIT_JSON;
    else if (r == 0)
        r = 2; /* getopt has said why */
    return r;
}

static bool known(const char *name)
{
    for (const struct kit_check *const *group = kit_groups; *group; group++)
        for (const struct kit_check *c = *group; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return true;
    return false;
}

int main(int argc, char **argv)
{
    struct asked a = {.only = calloc((size_t)argc + 1, sizeof *a.only)};
    int c, r = a.only ? 0 : 3;
    while (r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1)
        r = take(&a, c, optarg);
    if (r == 0 && a.list) {
        out_list(a.format);
        free(a.only);
        return 0;
    }
    if (r == 0 && (!kit.plugin || kit.plugin[0] != '/' || optind != argc)) {
        (void)fputs("auditwell-plugin-check: is started by 'auditwell plugins check FILE|NAME'\n", stderr);
        r = 2;
    }
    for (size_t i = 0; r == 0 && i < a.only_count; i++)
        if (!known(a.only[i])) {
            (void)fprintf(stderr, "auditwell-plugin-check: --only: there is no check '%s'; see --list\n", a.only[i]);
            r = 2;
        }
    struct kit_setting given[KIT_SETTINGS];
    size_t given_count = kit.setting_count;
    memcpy(given, kit.settings, sizeof given);
    if (r == 0 && a.config) {
        kit.setting_count = 0;
        r = kit_config_read(a.config, a.sink) == 0 ? 0 : 3;
        for (size_t i = 0; r == 0 && i < given_count; i++) /* what was given on the command line wins */
            kit_setting_add(kit.settings, &kit.setting_count, given[i].key, given[i].value);
    }
    (void)signal(SIGPIPE, SIG_IGN); /* as a host may have it or not; a sink must live with both */
    if (r == 0)
        r = kit_run(a.format, a.only, a.only_count);
    free(a.only);
    return r;
}
