/* verify.c - the verifier's life, its batches and its pool of checking threads. SPDX-License-Identifier: Apache-2.0
 *
 * Batches stand in a ring in trail order. The feeding thread fills the one at `head`; checking threads take the one at
 * `next`; the feeding thread links the one at `tail` once it is checked. When the ring is full the feeding thread
 * checks a batch itself rather than wait, so that one thread needs no other, and n threads are n - 1 helpers and the
 * feeder.
 */
#include "config.h"

#include "base/diag.h"
#include "base/ids.h"
#include "seal/verify_impl.h"

#include <pthread.h>
#include <signal.h>

#define THREADS_MAX 64u
#define KEEP_BYTES ((size_t)1 << 20) /* a batch that grew beyond this gives its buffer back */
#define MAX_FINDINGS_DEFAULT 1000u
#define HELD_MAX 8192u /* findings kept back by a first reading */

struct helper {
    pthread_t thread;
    struct verify_pool *pool;
    struct verify_checker checker;
};

struct verify_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    uint64_t head, next, tail; /* tail <= next <= head <= tail + size; counts, not indices */
    bool stop;
    unsigned helper_count;
    struct helper *helpers;
    size_t size;
    struct verify_batch **ring;
};

/* ---- pool ---- */

static struct verify_batch *pool_at(const struct verify_pool *pool, uint64_t n)
{
    return pool->ring[n % pool->size];
}

static void *helper_main(void *arg)
{
    struct helper *self = arg;
    struct verify_pool *pool = self->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->next == pool->head && !pool->stop)
            pthread_cond_wait(&pool->work, &pool->lock);
        if (pool->stop)
            break;
        struct verify_batch *batch = pool_at(pool, pool->next++);
        pthread_mutex_unlock(&pool->lock);
        verify_check_batch(&self->checker, batch);
        pthread_mutex_lock(&pool->lock);
        batch->done = 1;
        pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void pool_destroy(struct verify_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->helper_count; i++) {
        (void)pthread_join(pool->helpers[i].thread, NULL);
        verify_checker_clear(&pool->helpers[i].checker);
    }
    for (size_t i = 0; pool->ring && i < pool->size; i++) {
        struct verify_batch *b = pool->ring[i];
        for (struct verify_text *t = b ? b->text : NULL; t;) {
            struct verify_text *next = t->next;
            free(t);
            t = next;
        }
        if (b)
            free(b->bytes);
        free(b);
    }
    free(pool->ring);
    free(pool->helpers);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Helpers take no signals: the application's handlers run where they always ran. Fewer threads than asked for is no
 * error. */
static void pool_start(struct verify_pool *pool, const struct verifier *v, unsigned count)
{
    sigset_t all, old;
    sigfillset(&all);
    bool masked = pthread_sigmask(SIG_SETMASK, &all, &old) == 0;
    for (unsigned i = 0; i < count && masked; i++) {
        struct helper *h = &pool->helpers[i];
        h->pool = pool;
        if (verify_checker_init(&h->checker, v->scope_key, v->seen_key) != 0 ||
            pthread_create(&h->thread, NULL, helper_main, h) != 0) {
            verify_checker_clear(&h->checker);
            break;
        }
        pool->helper_count++;
    }
    if (masked)
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static struct verify_pool *pool_create(const struct verifier *v, unsigned threads)
{
    struct verify_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return NULL;
    }
    (void)pthread_cond_init(&pool->work, NULL); /* cannot fail without attributes */
    (void)pthread_cond_init(&pool->done, NULL);
    pool->size = threads == 1 ? 1 : threads * 3u;
    pool->ring = calloc(pool->size, sizeof(struct verify_batch *));
    pool->helpers = calloc(threads, sizeof *pool->helpers);
    bool good = pool->ring && pool->helpers;
    for (size_t i = 0; good && i < pool->size; i++) {
        pool->ring[i] = malloc(sizeof(struct verify_batch));
        good = pool->ring[i] != NULL;
        if (good)
            memset(pool->ring[i], 0, offsetof(struct verify_batch, rows)); /* rows are zeroed one by one */
    }
    if (!good) {
        pool_destroy(pool);
        return NULL;
    }
    pool_start(pool, v, threads - 1);
    return pool;
}

/* Ready to be filled again. */
static void batch_reset(struct verify_batch *batch)
{
    batch->used = batch->count = 0;
    batch->done = 0;
    while (batch->text && batch->text->next) { /* one piece is kept for next time */
        struct verify_text *t = batch->text;
        batch->text = t->next;
        free(t);
    }
    if (batch->text)
        batch->text->used = 0;
    if (batch->size > KEEP_BYTES) {
        char *smaller = realloc(batch->bytes, VERIFY_BATCH_BYTES);
        if (smaller) {
            batch->bytes = smaller;
            batch->size = VERIFY_BATCH_BYTES;
        }
    }
}

/* Links the oldest batch, checking it or a later one meanwhile if nobody has yet. */
static int pool_link_oldest(struct verifier *v)
{
    struct verify_pool *pool = v->pool;
    struct verify_batch *batch = pool_at(pool, pool->tail);
    pthread_mutex_lock(&pool->lock);
    while (!batch->done) {
        if (pool->next == pool->head) {
            pthread_cond_wait(&pool->done, &pool->lock);
            continue;
        }
        struct verify_batch *mine = pool_at(pool, pool->next++);
        pthread_mutex_unlock(&pool->lock);
        verify_check_batch(&v->checker, mine);
        pthread_mutex_lock(&pool->lock);
        mine->done = 1;
    }
    pthread_mutex_unlock(&pool->lock);
    int rc = verify_link_batch(v, batch);
    batch_reset(batch);
    pool->tail++;
    return rc;
}

/* Hands the batch being filled to the helpers and makes sure that the next one is free. */
static int pool_submit(struct verifier *v)
{
    struct verify_pool *pool = v->pool;
    pthread_mutex_lock(&pool->lock);
    pool->head++;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    return pool->head - pool->tail == pool->size ? pool_link_oldest(v) : v->failed;
}

/* ---- life ---- */

static unsigned thread_count(uint32_t wanted)
{
    long n = wanted != 0 ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > (long)THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

int verifier_create(const struct aw_verify_options *options, struct verifier **ret)
{
    struct verifier *v = calloc(1, sizeof *v);
    if (!v)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    v->queue_end = &v->queue;
    memcpy(&v->options, options, options->struct_size < sizeof v->options ? options->struct_size : sizeof v->options);
    if (v->options.max_findings == 0)
        v->options.max_findings = MAX_FINDINGS_DEFAULT;
    v->holding = true;
    v->most_findings = v->options.max_findings < HELD_MAX ? v->options.max_findings : HELD_MAX;
    v->replays = verify_replays_create();
    v->floors = verify_floors_create();
    int rc = AW_SUCCESS;
    if (v->options.flags & ~(AW_VERIFY_COMPLETE | AW_VERIFY_PARTIAL | AW_VERIFY_VIEWS | AW_VERIFY_MIDCHAIN))
        rc = diag_problem(AW_ERR_USAGE, "flags", "unknown bits in the flags of aw_verify_options");
    else if ((v->options.flags & AW_VERIFY_COMPLETE) && (v->options.flags & AW_VERIFY_PARTIAL))
        rc = diag_problem(AW_ERR_USAGE, "flags", "a trail is either complete or partial, not both");
    else if ((v->options.flags & AW_VERIFY_COMPLETE) && (v->options.flags & AW_VERIFY_MIDCHAIN))
        rc = diag_problem(AW_ERR_USAGE, "flags", "a trail is either complete or begins in mid-chain, not both");
    else if (ids_random(v->scope_key, sizeof v->scope_key) != 0 || ids_random(v->seen_key, sizeof v->seen_key) != 0)
        rc = diag_problem(AW_ERR_IO, "", "no random bytes from the kernel");
    if (rc == AW_SUCCESS)
        rc = verify_parse_expected(v);
    if (rc == AW_SUCCESS && (!v->replays || !v->floors))
        rc = diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (rc == AW_SUCCESS && verify_checker_init(&v->checker, v->scope_key, v->seen_key) != 0)
        rc = diag_problem(AW_ERR_IO, "", "the crypto library refuses SHA-256, or there is no memory");
    if (rc == AW_SUCCESS) {
        v->pool = pool_create(v, thread_count(v->options.threads));
        if (!v->pool)
            rc = diag_problem(AW_ERR_NOMEM, "", "out of memory");
    }
    if (rc != AW_SUCCESS) {
        verifier_destroy(v);
        return rc;
    }
    *ret = v;
    return AW_SUCCESS;
}

void verifier_destroy(struct verifier *v)
{
    if (!v)
        return;
    pool_destroy(v->pool);
    verify_checker_clear(&v->checker);
    verify_findings_clear(v);
    verify_scopes_clear(&v->scopes);
    verify_seen_clear(&v->seen);
    verify_streams_clear(&v->streams);
    verify_replays_destroy(v->replays);
    verify_floors_destroy(v->floors);
    free(v->unsealed_location);
    free(v->expected);
    free(v->expect_text);
    free(v);
}

static bool batch_room(struct verify_batch *batch, size_t len)
{
    if (batch->size - batch->used >= len)
        return true;
    size_t size = batch->size ? batch->size * 2 : VERIFY_BATCH_FIRST;
    while (size < batch->used + len)
        size *= 2;
    char *bigger = realloc(batch->bytes, size);
    if (!bigger)
        return false;
    batch->bytes = bigger;
    batch->size = size;
    return true;
}

int verifier_feed(struct verifier *v, struct aw_str json, struct aw_str location, uint64_t seq)
{
    if (v->failed != 0)
        return v->failed;
    struct verify_pool *pool = v->pool;
    struct verify_batch *batch = pool_at(pool, pool->head);
    size_t kept = json.len <= VERIFY_MAX_ROW ? json.len : 0; /* a longer row is malformed, whatever it holds */
    if (batch->count == VERIFY_BATCH_ROWS ||
        (batch->count > 0 && batch->used + kept + location.len >= VERIFY_BATCH_BYTES)) {
        int rc = pool_submit(v);
        if (rc != AW_SUCCESS)
            return rc;
        batch = pool_at(pool, pool->head);
    }
    if (!batch_room(batch, kept + location.len + 1))
        return v->failed = diag_problem(AW_ERR_NOMEM, "", "out of memory while verifying");
    struct verify_row *row = &batch->rows[batch->count++];
    memset(row, 0, sizeof *row);
    row->json_at = batch->used;
    row->json_len = json.len <= VERIFY_MAX_ROW ? (uint32_t)json.len : VERIFY_MAX_ROW + 1;
    row->location_at = batch->used + kept;
    row->store_seq = seq;
    row->ordinal = ++v->events;
    if (kept > 0)
        memcpy(batch->bytes + batch->used, json.ptr, kept);
    if (location.len > 0)
        memcpy(batch->bytes + row->location_at, location.ptr, location.len);
    batch->bytes[row->location_at + location.len] = '\0';
    batch->used = row->location_at + location.len + 1;
    v->bytes += json.len;
    return AW_SUCCESS;
}

int verify_drain(struct verifier *v)
{
    struct verify_pool *pool = v->pool;
    if (v->failed == 0 && pool_at(pool, pool->head)->count > 0)
        (void)pool_submit(v);
    while (v->failed == 0 && pool->tail < pool->head)
        (void)pool_link_oldest(v);
    return v->failed;
}

int verifier_again(struct verifier **verifier, bool *ret_again)
{
    struct verifier *v = *verifier, *next;
    *ret_again = false;
    if (verify_drain(v) != 0)
        return v->failed;
    bool too_many = v->findings > v->most_findings && v->most_findings < v->options.max_findings;
    if (!v->holding)
        return AW_SUCCESS;
    bool floors = verify_retention_wants_second(v);
    if (v->failed != 0 || (!too_many && !floors && !verify_replay_wants_second(v)))
        return v->failed;
    int rc = verifier_create(&v->options, &next);
    if (rc == AW_SUCCESS && v->one_stream)
        verifier_set_stream(next, v->stream);
    if (rc != AW_SUCCESS)
        return rc;
    next->holding = false;
    next->most_findings = next->options.max_findings;
    verify_replay_begin_second(next, v->replays);
    v->replays = NULL;
    verify_retention_begin_second(next, v);
    verifier_destroy(v);
    *verifier = next;
    *ret_again = true;
    return AW_SUCCESS;
}

int verifier_unreadable(struct verifier *v, const char *location, const char *reason)
{
    if (verify_drain(v) != 0)
        return v->failed;
    verify_find(v, AW_FINDING_UNREADABLE, NULL, location, (struct aw_str){"", 0}, NULL, NULL,
                "the store could not be read: %s", reason);
    verify_flush(v, false);
    return v->failed;
}

int verifier_compared(struct verifier *v, const struct verify_compared *c)
{
    struct verify_row row = {.scope_is_tenant = c->scope_is_tenant, .scope = c->scope, .stream = c->stream};
    row.scope_key = verify_scope_key(v->scope_key, c->scope_is_tenant, c->scope, c->stream);
    struct verify_scope *s = v->failed == 0 ? verify_scope_get(v, &row) : NULL;
    if (!s) {
        verify_nomem(v);
        return v->failed;
    }
    v->compared += c->found;
    v->by_form += c->by_form;
    if (c->found && c->by_reference && c->differences == 0 && c->by_form == 0) {
        v->confirmed++;
        s->confirmed++;
    }
    return v->failed;
}

int verifier_difference(struct verifier *v, const struct verify_compared *c, int32_t kind, const char *location,
                        const char *expected, const char *found, const char *message)
{
    struct verify_row row = {.scope_is_tenant = c->scope_is_tenant, .scope = c->scope, .stream = c->stream};
    row.scope_key = verify_scope_key(v->scope_key, c->scope_is_tenant, c->scope, c->stream);
    struct verify_scope *s = v->failed == 0 ? verify_scope_get(v, &row) : NULL;
    if (s)
        verify_find(v, kind, s, location, c->id, expected, found, "%s", message);
    else
        verify_nomem(v);
    return v->failed;
}

int verifier_finish(struct verifier *v, struct aw_verify_report *report)
{
    if (verify_drain(v) != 0)
        return v->failed;
    verify_finish_findings(v);
    return verify_finish_reports(v, report);
}
