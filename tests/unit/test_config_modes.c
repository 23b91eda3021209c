/* test_config_modes.c - keys of audit.conf that must go together. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "harness.h"
#include "plugin_util.h"
#include "settings_private.h"

#include <stdio.h>

static bool complains(const char *setting, const char *message)
{
    char text[1000];
    struct settings *s = NULL;
    snprintf(text, sizeof text, "sinks = ( { plugin = \"file\"; } );\n%s", setting);
    diag_reset();
    int rc = settings_load(NULL, text, &s);
    settings_destroy(s);
    return rc == AW_ERR_CONFIG && util_problem("<text>:2", message);
}

static void test_contradictions(void)
{
    static const struct {
        const char *setting, *message;
    } cases[] = {
        {"fanout = \"quorum\";", "fanout: \"quorum\" needs quorum = how many sinks"},
        {"quorum = 1;", "quorum: expected fanout = \"quorum\" with it"},
        {"fanout = \"quorum\"; quorum = 2;", "quorum: expected at most the 1 sinks that are enabled, found 2"},
        {"mode = \"drop\"; journal = { durability = \"disk\"; };",
         "mode: \"drop\" never waits, journal.durability = \"disk\" (<text>:2) waits for the disk"},
        {"actions = { match = \"a\"; };",
         "actions: expected a list of groups ( { match = \"payment.*\"; mode = \"block\"; "
         "}, … ), found a group: put ( ) around it"},
        {"actions = ( \"a\" );",
         "actions[0]: expected a group { match = \"payment.*\"; … }, found another kind of value"},
        {"actions = ( { match = \"a\"; } );",
         "actions[0]: expected mode, durability or timeout beside match, found none"},
        {"actions = ( { mode = \"drop\"; } );", "match"},
        {"actions = ( { match = \"\"; mode = \"drop\"; } );",
         "actions[0].match: expected a pattern such as \"payment.*\""},
        {"actions = ( { match = \"a\"; mod = \"drop\"; } );",
         "actions[0]: unknown key \"mod\"; did you mean \"mode\"?"},
        {"actions = ( { match = \"a\"; mode = \"drop\"; durability = \"disk\"; } );",
         "actions[0]: mode \"drop\" never waits, durability \"disk\" waits for the disk"},
    };
    for (size_t i = 0; i < AW_ARRAY_LEN(cases); i++)
        CU_ASSERT(complains(cases[i].setting, cases[i].message));
}

static void test_required(void)
{
    struct settings *s = NULL;
    diag_reset();
    CU_ASSERT_EQUAL(settings_load(NULL,
                                  "sinks = ( { plugin = \"file\"; },\n { plugin = \"null\"; required = true; enabled = "
                                  "false; } );",
                                  &s),
                    AW_ERR_CONFIG);
    settings_destroy(s);
    CU_ASSERT(util_problem("<text>:2", "sinks[1]: a sink that is required must be enabled, found enabled = false"));
}

HARNESS_MAIN("config modes", {"what contradicts itself", test_contradictions},
             {"a required sink is enabled", test_required})
