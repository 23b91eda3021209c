/* store_arg.c - opens the store that the arguments name; which other slots there are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "cli.h"

int cli_store_open(const struct cli_args *args, const char *name, struct aw_store **ret)
{
    struct aw_store_options options = {
        .struct_size = sizeof options, .config_path = args->config, .store = name, .slot = args->slot};
    int r = aw_store_open(&options, ret);
    if (r == AW_SUCCESS)
        return 0;
    return out_failure(name ? name : "store", r);
}

static int add_slot(void *arg, const struct aw_slot *slot)
{
    struct text *t = arg;
    if (slot->number != 0 && (slot->head != 0 || slot->owed))
        text_printf(t, "%s%u", t->len ? ", " : "", (unsigned)slot->number);
    return 0;
}

void cli_say_slots(const struct cli_args *args)
{
    struct text t = {0};
    if (!args->slot_given && aw_slots_each(args->config, add_slot, &t) == AW_SUCCESS && t.len)
        out_error("note: this is slot 0; there is more in slot %s: --slot N", t.ptr);
    text_free(&t);
}
