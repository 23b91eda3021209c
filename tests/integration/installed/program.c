/* program.c - built against the installed headers and library by installed.sh. SPDX-License-Identifier: Apache-2.0
 *
 *   program AUDIT.CONF COUNT     logs COUNT events, prints "N accepted", and closes
 */
#include <audit/audit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_problems(void)
{
    size_t count;
    const struct aw_problem *const *problems = aw_problems(&count);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s: %s\n", problems[i]->path, problems[i]->message);
}

int main(int argc, char **argv)
{
    struct aw_open_options options = {.struct_size = sizeof options};
    struct aw_logger *logger;
    struct aw_builder *event;
    long accepted = 0;
    if (argc != 3)
        return 2;
    options.config_path = argv[1];
    if (aw_open(&options, &logger) != AW_SUCCESS) {
        print_problems();
        return 1;
    }
    event = aw_builder_create();
    for (long i = 0; event && i < strtol(argv[2], NULL, 10); i++) {
        aw_builder_reset(event);
        aw_set_action(event, "thing.touch", AW_OUTCOME_SUCCESS);
        aw_set_actor(event, "service", "installed-test");
        aw_set_int(event, "metadata.round", i);
        aw_set_string(event, "metadata.password", "canary-installed");
        if (aw_log(logger, event, NULL) == AW_SUCCESS)
            accepted++;
        else
            print_problems();
    }
    aw_builder_destroy(event);
    printf("%ld accepted\n", accepted);
    if (aw_close(logger, 20000) != AW_SUCCESS) {
        print_problems();
        return 1;
    }
    return strcmp(aw_version(), "") == 0;
}
