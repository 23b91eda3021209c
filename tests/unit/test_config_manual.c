/* test_config_manual.c - audit.conf(5) says what the tables of settings_keys.c say. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "harness.h"
#include "plugin_util.h"
#include "settings_private.h"

#include <stdio.h>

/* The manual page has every key with its type and default, every variable and every preset's values. */
static void test_manual_page(void)
{
    char *page = NULL, text[300];
    size_t len;
    CU_ASSERT_EQUAL_FATAL(fs_read_file(util_path(getenv("top_srcdir"), "docs/audit.conf.5.scd"), 1u << 20, &page, &len),
                          0);
    for (int g = 0; g <= GROUP_COUNT + 1; g++) {
        const struct aw_option *const *o = g < GROUP_COUNT    ? settings_groups[g].options
                                           : g == GROUP_COUNT ? settings_sink_options
                                                              : settings_action_options;
        for (; *o; o++) {
            snprintf(text, sizeof text, "\n*%s* (", (*o)->key);
            char *entry = strstr(page, text), *line_end = entry ? strchr(entry + 1, '\n') : NULL;
            bool ok = false;
            for (; entry && !ok; entry = strstr(entry + 1, text)) { /* "path" and "mode" stand in two groups */
                line_end = strchr(entry + 1, '\n');
                char line[300], plain[300];
                snprintf(line, sizeof line, "%.*s", (int)(line_end - entry - 1), entry + 1);
                size_t n = 0; /* without the backslashes of the markup */
                for (const char *c = line; *c; c++)
                    if (*c != '\\')
                        plain[n++] = *c;
                plain[n] = '\0';
                char deflt[100];
                snprintf(deflt, sizeof deflt, (*o)->deflt ? "default %s" : "%s",
                         (*o)->deflt                     ? (*o)->deflt
                         : (*o)->flags & AW_OPT_REQUIRED ? "required"
                                                         : "no default");
                char range[100] = "";
                if ((*o)->type == AW_OPT_SIZE)
                    schema_format_size((*o)->max, range, sizeof range);
                else if ((*o)->type == AW_OPT_DURATION)
                    schema_format_duration((*o)->max, range, sizeof range);
                ok = strstr(plain, deflt) && strstr(plain, range);
                for (size_t i = 0; (*o)->choices && (*o)->choices[i]; i++)
                    ok = ok && strstr(plain, (*o)->choices[i]);
            }
            if (!ok)
                harness_note("not described as it is: %s", (*o)->key);
            CU_ASSERT(ok);
        }
    }
    for (const struct settings_env *e = settings_environment; e->variable; e++) {
        snprintf(text, sizeof text, "*%s*", e->variable);
        CU_ASSERT_PTR_NOT_NULL(strstr(page, text));
    }
    for (char *c = page; *c; c++) /* lines of the presets may break anywhere */
        if (*c == '\n' || *c == '\t')
            *c = ' ';
    for (const struct settings_preset_key *p = settings_presets; p->preset; p++) {
        snprintf(text, sizeof text, "*%s* ", p->preset);
        char *entry = strstr(page, "# PRESETS");
        entry = entry ? strstr(entry, text) : NULL;
        bool quoted = strcmp(p->value, "true") != 0 && strcmp(p->key, "events") != 0;
        snprintf(text, sizeof text, "%s.%s = %s%s%s", settings_groups[p->group].name, p->key, quoted ? "\"" : "",
                 p->value, quoted ? "\"" : "");
        bool ok = entry && strstr(entry, text);
        if (!ok)
            harness_note("preset %s: not described: %s", p->preset, text);
        CU_ASSERT(ok);
    }
    free(page);
}

HARNESS_MAIN("config manual", {"the manual page says what is true", test_manual_page})
