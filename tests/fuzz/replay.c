/* replay.c - main() for fuzz targets without libFuzzer: feeds the files named, or all files of the directories named.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each input is handed over in a buffer of exactly its size, so that sanitizers and valgrind see a read beyond it.
 * Prints how many inputs there were; status 0, or 3 when one could not be read. A target that finds something wrong
 * aborts.
 */
#include "config.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count;

static int feed_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);
    int rc = 0;
    if (!f || !data || fread(data, 1, size, f) != size) {
        perror(path);
        rc = 3;
    } else {
        /* Says which input it was when the target aborts. */
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        count++;
    }
    free(data);
    if (f)
        fclose(f);
    return rc;
}

static int feed(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return 3;
    }
    if (S_ISREG(st.st_mode))
        return feed_file(path, (size_t)st.st_size);
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort), rc = 0;
    if (n < 0) {
        perror(path);
        return 3;
    }
    for (int i = 0; i < n; i++) {
        char *name = NULL;
        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0) {
                rc = 3;
            } else {
                const int one = feed(name);
                rc = one ? one : rc;
                free(name);
            }
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        const int one = feed(argv[i]);
        rc = one ? one : rc;
    }
    printf("%d inputs\n", count);
    return rc;
}
