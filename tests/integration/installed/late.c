/* late.c - a program that loads the library while it runs, as an interpreter or a plugin of somebody else would.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * late LIBRARY
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static void *in_thread(void *symbol)
{
    const char *(*version)(void);
    *(void **)&version = symbol;
    return (void *)(version ? version() : NULL);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    void *answer = NULL;
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) {
        fprintf(stderr, "late: %s\n", argc == 2 ? dlerror() : "usage: late LIBRARY");
        return 1;
    }
    if (pthread_create(&thread, NULL, in_thread, dlsym(library, "aw_version")) != 0 ||
        pthread_join(thread, &answer) != 0 || !answer)
        return 1;
    puts((const char *)answer);
    return 0;
}
