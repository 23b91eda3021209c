/* pseudonym.c - auditwell pseudonym: what stands in place of a value in the stores that get pseudonyms.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define VALUE_MAX (1u << 20)

/* All of standard input but a line end at its end; malloc'd. 0 or an exit code. */
static int read_value(const struct cli_args *args, char **ret, size_t *ret_len)
{
    char *value = cli_alloc(VALUE_MAX + 1);
    size_t len = 0;
    ssize_t n;
    do {
        n = read(STDIN_FILENO, value + len, VALUE_MAX + 1 - len);
        len += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && len <= VALUE_MAX) || (n < 0 && errno == EINTR));
    if (n < 0) {
        out_error("standard input cannot be read: %s", strerror(errno));
        free(value);
        return EXIT_UNREADABLE;
    }
    if (len > VALUE_MAX) {
        free(value);
        return cli_usage(args, "the value is longer than 1 MiB");
    }
    if (len > 0 && value[len - 1] == '\n')
        len--;
    *ret = value;
    *ret_len = len;
    return 0;
}

static int print_one(const struct cli_args *args, const char *key, const char *value, size_t len, bool *first)
{
    char pseudonym[AW_PSEUDONYM_SIZE];
    int r = aw_pseudonym(args->config, key, value, len, pseudonym, sizeof pseudonym);
    if (r != AW_SUCCESS)
        return out_failure("pseudonym", r);
    if (args->json)
        printf("%s\"%s\"", *first ? "" : ",", pseudonym); /* nothing in it needs an escape */
    else
        puts(pseudonym);
    *first = false;
    return EXIT_GOOD;
}

int cmd_pseudonym(struct cli_args *args)
{
    char *read_in = NULL;
    bool first = true;
    int code = 0;
    if (args->word_count != 1)
        return cli_usage(args, "one VALUE is needed; - reads it from standard input");
    const char *value = args->words[0];
    size_t len = strlen(value);
    if (strcmp(value, "-") == 0) {
        code = read_value(args, &read_in, &len);
        value = read_in;
    }
    if (code == 0 && args->json)
        fputs("{\"pseudonyms\":[", stdout);
    for (size_t i = 0; i < args->given_count && code == 0; i++)
        if (args->given[i].id == 'k')
            code = print_one(args, args->given[i].value, value, len, &first);
    if (code == 0 && !cli_has(args, 'k'))
        code = print_one(args, NULL, value, len, &first);
    if (value && args->json)
        fputs("]}\n", stdout);
    free(read_in);
    return code;
}
