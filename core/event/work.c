/* work.c - see work.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/work.h"

#include <pthread.h>

static AW_THREAD_LOCAL struct work *mine;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool key_made;

static void destroy(void *p)
{
    struct work *w = p;
    tree_release(&w->in);
    tree_release(&w->merged);
    redactor_release(&w->redactor);
    json_doc_release(&w->stored);
    json_doc_release(&w->full);
    free(w->out);
    free(w->kept_out);
    free(w->stored_out);
    free(w);
    mine = NULL;
}

static void make_key(void)
{
    key_made = pthread_key_create(&key, destroy) == 0;
}

static AW_COLD struct work *work_create(void)
{
    (void)pthread_once(&once, make_key);
    struct work *w = key_made ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    tree_init(&w->in);
    tree_init(&w->merged);
    redactor_init(&w->redactor);
    json_doc_init(&w->stored);
    json_doc_init(&w->full);
    if (pthread_setspecific(key, w) != 0) {
        destroy(w);
        return NULL;
    }
    return mine = w;
}

struct work *work_get(void)
{
    return AW_LIKELY(mine != NULL) ? mine : work_create();
}

struct work *work_peek(void)
{
    return mine;
}

struct prepared *event_keep(void)
{
    struct work *w = mine;
    char *out = w->out;
    size_t capacity = w->out_capacity;
    w->out = w->kept_out;
    w->out_capacity = w->kept_capacity;
    w->kept_out = out;
    w->kept_capacity = capacity;
    w->kept = w->prepared;
    return &w->kept;
}

bool work_reserve(char **buffer, size_t *capacity, size_t need, bool keep)
{
    if (AW_LIKELY(need <= *capacity))
        return true;
    size_t bytes;
    if (!base_add_size(need, 4095, &bytes))
        return false;
    bytes &= ~(size_t)4095;
    char *p = realloc(keep ? *buffer : NULL, bytes);
    if (!p)
        return false;
    if (!keep)
        free(*buffer);
    *buffer = p;
    *capacity = bytes;
    return true;
}
