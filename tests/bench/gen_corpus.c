/* gen_corpus.c - writes the benchmark corpus. SPDX-License-Identifier: Apache-2.0
 *
 *   gen_corpus [-n EVENTS] [-s SEED] [-o FILE]        same arguments, same bytes
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "corpus.h"

int main(int argc, char **argv)
{
    size_t count = 1000000;
    uint64_t seed = CORPUS_SEED;
    const char *path = "-";
    int c;
    while ((c = getopt(argc, argv, "n:s:o:")) != -1) {
        if (c == 'n') {
            count = strtoul(optarg, NULL, 10);
        } else if (c == 's') {
            seed = strtoull(optarg, NULL, 10);
        } else if (c == 'o') {
            path = optarg;
        } else {
            (void)fprintf(stderr, "usage: gen_corpus [-n EVENTS] [-s SEED] [-o FILE]\n");
            return 2;
        }
    }
    FILE *out = strcmp(path, "-") ? fopen(path, "we") : stdout;
    if (!out) {
        perror(path);
        return 1;
    }
    int bad = corpus_write(out, count, seed);
    if (fclose(out) || bad) {
        perror(path);
        return 1;
    }
    return 0;
}
