/* store_arg.c - opens the store that the arguments name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "cli.h"

int cli_store_open(const struct cli_args *args, const char *name, struct aw_store **ret)
{
    struct aw_store_options options = {.struct_size = sizeof options, .config_path = args->config, .store = name};
    int r = aw_store_open(&options, ret);
    if (r == AW_SUCCESS)
        return 0;
    return out_failure(name ? name : "store", r);
}
