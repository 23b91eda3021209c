/* plugins_api.c - aw_plugins_each(), aw_plugins_find(). See audit/audit.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "plugin/registry.h"

struct each {
    aw_plugin_fn fn;
    void *arg;
};

static int each_public(void *arg, const char *path, const struct plugin *plugin, const char *reason)
{
    const struct each *e = arg;
    return e->fn(e->arg, path, plugin ? &plugin->descriptor : NULL, reason);
}

int aw_plugins_each(aw_plugin_fn fn, void *arg)
{
    diag_reset();
    if (!fn)
        return diag_problem(AW_ERR_USAGE, "fn", "must not be NULL");
    struct each e = {fn, arg};
    return plugin_each(each_public, &e);
}

int aw_plugins_find(const char *name_or_path, const void **ret_plugin, const char **ret_path)
{
    diag_reset();
    if (!name_or_path || !*name_or_path)
        return diag_problem(AW_ERR_USAGE, "name_or_path", "must be a plugin's name or the absolute path of its file");
    bool path = strchr(name_or_path, '/') != NULL;
    struct plugin_spec spec = {.name = path ? NULL : name_or_path, .path = path ? name_or_path : NULL};
    const struct plugin *plugin = NULL;
    int rc = plugin_load(&spec, &plugin);
    if (rc < 0)
        return rc;
    if (ret_plugin)
        *ret_plugin = &plugin->descriptor;
    if (ret_path)
        *ret_path = plugin->path;
    return AW_SUCCESS;
}
