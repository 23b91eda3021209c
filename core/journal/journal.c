/* journal.c - see journal.h: open, close, append. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/thread.h"
#include "journal/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

/* ---- threads and fork ----------------------------------------------------------------------------------------------
 */

static _Atomic uint32_t fork_generation;
static AW_THREAD_LOCAL struct sealer *thread_sealer;
static pthread_key_t sealer_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_rc;

void journal_forked(void)
{
    atomic_fetch_add_explicit(&fork_generation, 1, memory_order_relaxed);
}

static void drop_sealer(void *sealer)
{
    thread_sealer = NULL;
    sealer_destroy(sealer);
}

static void initialise(void)
{
    once_rc = -pthread_key_create(&sealer_key, drop_sealer);
    if (once_rc == 0)
        once_rc = lock_prepare();
}

bool journal_in_child(const struct journal *j)
{
    return atomic_load_explicit(&fork_generation, memory_order_relaxed) != j->fork_generation;
}

static AW_COLD struct sealer *make_sealer(void)
{
    struct sealer *s = NULL;
    if (sealer_create(&s) < 0)
        return NULL;
    if (pthread_setspecific(sealer_key, s) != 0) {
        sealer_destroy(s);
        return NULL;
    }
    thread_sealer = s;
    return s;
}

uint32_t waitpoint_enter(struct waitpoint *w)
{
    atomic_fetch_add(&w->sleepers, 1);
    return atomic_load(&w->word);
}

void waitpoint_leave(struct waitpoint *w)
{
    atomic_fetch_sub(&w->sleepers, 1);
}

void waitpoint_sleep(struct waitpoint *w, uint32_t seen, uint64_t deadline_mono_ns)
{
    futex_sleep(&w->word, seen, deadline_mono_ns);
    waitpoint_leave(w);
}

void waitpoint_wake(struct waitpoint *w)
{
    if (atomic_load(&w->sleepers) == 0)
        return;
    atomic_fetch_add(&w->word, 1);
    (void)futex_wake(&w->word, INT32_MAX);
}

bool waitpoint_wake_one(struct waitpoint *w)
{
    if (atomic_load(&w->sleepers) == 0)
        return false;
    atomic_fetch_add(&w->word, 1);
    return futex_wake(&w->word, 1) > 0;
}

void journal_log(struct journal *j, int severity, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    diag_vlog(&j->diag, severity, "journal", fmt, ap);
    va_end(ap);
}

/* ---- chain scopes --------------------------------------------------------------------------------------------------
 */

void journal_derive_keys(struct journal *j)
{
    struct hash128 t = hash_sip128(j->identity.key, "tenant", 6), s = hash_sip128(j->identity.key, "service", 7);
    memcpy(j->tenant_key, &t, sizeof j->tenant_key);
    memcpy(j->service_key, &s, sizeof j->service_key);
}

void journal_get_id(const struct journal *journal, uint8_t ret_id[16])
{
    memcpy(ret_id, journal->identity.id, sizeof journal->identity.id);
}

static void scope_id(const struct journal *j, bool tenant, struct aw_str value, uint64_t ret[2])
{
    struct hash128 h = hash_sip128(tenant ? j->tenant_key : j->service_key, value.ptr, value.len);
    ret[0] = h.lo;
    ret[1] = h.hi;
}

void journal_scope_of(const struct journal *j, const struct record_view *v, uint64_t ret[2])
{
    bool tenant = (v->head->flags & RECORD_SCOPE_TENANT) != 0;
    struct aw_str value = base_str("unknown");
    struct field_ref f;
    if (record_field(v, tenant ? AW_FIELD_TENANT_ID : AW_FIELD_SOURCE_SERVICE, &f))
        value = (struct aw_str){v->json + field_offset(f), field_len(f)};
    scope_id(j, tenant, value, ret);
}

/* ---- appending -----------------------------------------------------------------------------------------------------
 */

static inline bool fits(const struct journal *j, uint64_t total)
{
    return j->head + total - j->tail_seen <= j->ring.size && !atomic_load(&j->full) && atomic_load(&j->failed) == 0;
}

/* append_lock held, and held again on return. Waits until the event fits, or for the deadline; what time is it then? */
static AW_COLD int wait_for_room(struct journal *j, uint64_t total, uint64_t deadline, uint64_t *ret_now_ns)
{
    for (bool late = false;; late = deadline <= clock_mono_ns()) {
        uint32_t seen = waitpoint_enter(&j->room);
        j->tail_seen = atomic_load(&j->ring.header->tail);
        int failed = atomic_load(&j->failed), rc = 0;
        if (fits(j, total))
            rc = 1;
        else if (failed < 0 && !space_error(failed))
            rc = -EIO;
        else if (late || deadline == 0)
            rc = atomic_load(&j->write_error) == 0 || space_error(atomic_load(&j->write_error)) ? -ENOSPC : -EIO;
        if (rc != 0)
            waitpoint_leave(&j->room);
        if (rc == 1) {
            *ret_now_ns = clock_real_ns();
            return 0;
        }
        waitpoint_wake(atomic_load(&j->full) ? &j->keeper : &j->writer);
        if (rc < 0)
            return rc;
        brief_unlock(&j->append_lock);
        waitpoint_sleep(&j->room, seen, deadline);
        brief_lock(&j->append_lock);
    }
}

/* Under the append lock: number, chain, copy, publish. */
static AW_HOT int append_locked(struct journal *j, const struct prepared *event, struct sealer *sealer,
                                struct record_header *h, uint32_t body_crc)
{
    struct chain_head *chain = NULL;
    h->seq = j->next_seq;
    if (j->chained) {
        chain = chain_table_get(j->chains, h->scope);
        if (AW_UNLIKELY(!chain))
            return -ENOMEM;
        bool first = chain->seq == 0;
        if (AW_UNLIKELY(
                !seal_finish(sealer, event->hashed ? event->hashed - 1 : 0, first ? NULL : chain->hash, h->hash)))
            return -EIO;
        if (first)
            h->flags = (uint16_t)(h->flags | RECORD_FIRST);
        else
            memcpy(h->prev_hash, chain->hash, sizeof h->prev_hash);
    }
    h->crc = record_crc_header(body_crc, h);
    uint8_t *p = ring_at(&j->ring, j->head);
    size_t fields = event->field_count * sizeof(struct field_ref), used = RECORD_HEADER + fields + event->json_len;
    memcpy(p, h, RECORD_HEADER);
    memcpy(p + RECORD_HEADER, event->fields, fields);
    memcpy(p + RECORD_HEADER + fields, event->json, event->json_len);
    memset(p + used, 0, h->total_len - used);
    if (chain) {
        chain->seq = h->seq;
        memcpy(chain->hash, h->hash, sizeof chain->hash);
    }
    j->next_seq = h->seq + 1;
    j->head += h->total_len;
    struct ring_header *shared = j->ring.header;
    atomic_store_explicit(&shared->head_seq, h->seq, memory_order_release);
    atomic_store_explicit(&shared->head_seq_inverted, ~h->seq, memory_order_release);
    /* head_seq came before: nobody may read or acknowledge an event that journal_head() does not know yet.
     * Sequentially consistent: the look at writer_idle afterwards must not come before it. */
    atomic_store(&shared->head, j->head);
    return 0;
}

static void prepare_header(const struct journal *j, const struct prepared *event, struct record_header *h)
{
    *h = (struct record_header){.magic = RECORD_MAGIC,
                                .kind = RECORD_KIND_EVENT,
                                .json_len = event->json_len,
                                .integrity_at = event->integrity_at,
                                .sealed_ns = event->now_ns ? event->now_ns : clock_real_ns(),
                                .occurred_ns = event->occurred_ns,
                                .field_count = (uint16_t)event->field_count,
                                .stream = j->stream};
    h->total_len =
        (uint32_t)base_align8(RECORD_HEADER + event->field_count * sizeof(struct field_ref) + event->json_len);
    unsigned flags = event->scope_is_tenant ? RECORD_SCOPE_TENANT : 0;
    flags |= event->flags & PREPARED_METADATA_TRUNCATED ? RECORD_METADATA_TRUNCATED : 0;
    flags |= event->flags & PREPARED_DIFF_TRUNCATED ? RECORD_DIFF_TRUNCATED : 0;
    flags |= j->chained ? 0 : RECORD_UNCHAINED;
    h->flags = (uint16_t)flags;
    scope_id(j, event->scope_is_tenant, event->scope_value, h->scope);
}

static uint32_t crc_of_body(const struct prepared *event, const struct record_header *h)
{
    static const uint8_t zeros[8];
    size_t fields = event->field_count * sizeof(struct field_ref);
    uint32_t crc = hash_crc32c(hash_crc32c(0, event->fields, fields), event->json, event->json_len);
    return hash_crc32c(crc, zeros, h->total_len - RECORD_HEADER - fields - event->json_len);
}

#define PREFETCH_MAX 4096u
/* Without -mprfchw the compiler's own prefetch only fetches to read. Where the instruction is unknown, it does nothing.
 */
static inline void prefetch_to_write(const void *p)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

AW_HOT void journal_hash_two(const struct journal *journal, struct prepared *first, struct prepared *second)
{
    struct sealer *sealer = thread_sealer;
    if (!journal->chained || (AW_UNLIKELY(!sealer) && !(sealer = make_sealer())))
        return; /* journal_append() will say so */
    if (AW_LIKELY(seal_begin_two(sealer, (struct aw_str){first->json, first->json_len},
                                 (struct aw_str){second->json, second->json_len}))) {
        first->hashed = 1;
        second->hashed = 2;
    }
}

AW_HOT int journal_append(struct journal *journal, const struct prepared *event, uint64_t deadline_mono_ns,
                          struct journal_receipt *ret)
{
    struct journal *j = journal;
    struct record_header h;
    if (AW_UNLIKELY(journal_in_child(j)))
        return -EPERM;
    if (event->json_len > EVENT_MAX_JSON || event->field_count > EVENT_MAX_FIELDS)
        return -EMSGSIZE;
    prepare_header(j, event, &h);
    if (AW_UNLIKELY(h.total_len > j->ring.size))
        return -EMSGSIZE;
    /* The ring's lines were last read by the writer, on another processor: they come back while the event is hashed. A
     * large event's first ones are enough; the processor sees where the copy goes. */
    uint64_t at = atomic_load_explicit(&j->ring.header->head, memory_order_relaxed);
    for (uint32_t i = 0; i < h.total_len && i < PREFETCH_MAX; i += 64)
        prefetch_to_write(ring_at(&j->ring, at + i));
    struct sealer *sealer = thread_sealer;
    if (AW_UNLIKELY(!sealer) && !(sealer = make_sealer()))
        return -ENOMEM;
    if (j->chained && event->hashed == 0 && AW_UNLIKELY(!seal_begin(sealer, event->json, event->json_len)))
        return -EIO;
    uint32_t crc = crc_of_body(event, &h);

    brief_lock(&j->append_lock);
    int rc = 0;
    if (AW_UNLIKELY(!fits(j, h.total_len)))
        rc = wait_for_room(j, h.total_len, deadline_mono_ns, &h.sealed_ns);
    if (AW_LIKELY(rc == 0))
        rc = append_locked(j, event, sealer, &h, crc);
    brief_unlock(&j->append_lock);
    if (AW_UNLIKELY(rc < 0))
        return rc;
    if (AW_UNLIKELY(atomic_load(&j->writer_idle)) && atomic_exchange(&j->writer_idle, 0))
        waitpoint_wake(&j->writer);
    ret->seq = h.seq;
    ret->sealed_ns = h.sealed_ns;
    memcpy(ret->hash, h.hash, sizeof ret->hash);
    return 0;
}

const char *journal_why_full(const struct journal *journal)
{
    unsigned full = atomic_load(&journal->full);
    int error = atomic_load(&journal->write_error);
    if (full & FULL_DISK)
        return "disk_low";
    if (full & FULL_QUOTA)
        return "journal_full";
    return error == 0 ? "ring_full" : space_error(error) ? "disk_full" : "write_error";
}

int journal_sync(struct journal *journal, uint64_t seq)
{
    if (journal_in_child(journal))
        return -EPERM;
    uint64_t head = journal_head_seq(journal);
    atomic_store_explicit(&journal->sync_asked_ns, clock_mono_ns(), memory_order_relaxed);
    return sync_upto(journal, seq < head ? seq : head, false);
}

void journal_wake(struct journal *journal)
{
    if (journal_in_child(journal))
        return;
    atomic_fetch_add(&journal->wakes, 1);
    waitpoint_wake(&journal->readers);
    waitpoint_wake(&journal->writer);
}

/* ---- what is known -------------------------------------------------------------------------------------------------
 */

uint64_t journal_head(const struct journal *journal)
{
    return journal_head_seq(journal);
}

uint64_t journal_written(const struct journal *journal)
{
    return atomic_load_explicit(&journal->written_seq, memory_order_acquire);
}

uint64_t journal_durable(const struct journal *journal)
{
    return atomic_load_explicit(&journal->durable_seq, memory_order_acquire);
}

uint64_t journal_oldest(const struct journal *journal)
{
    uint64_t written = journal_written(journal),
             oldest = atomic_load_explicit(&journal->oldest_seq, memory_order_acquire);
    return oldest != 0 ? oldest : written + 1; /* what is still in the ring comes next */
}

void journal_get_usage(struct journal *journal, struct journal_usage *ret)
{
    struct journal *j = journal;
    *ret = (struct journal_usage){.bytes = atomic_load(&j->bytes),
                                  .max_bytes = j->max_size,
                                  .ring_size = j->ring.size,
                                  .lost = atomic_load(&j->lost),
                                  .recovered = atomic_load(&j->recovered)};
    if (journal_in_child(j))
        return;
    uint64_t tail = atomic_load(&j->ring.header->tail), head = atomic_load(&j->ring.header->head);
    ret->ring_used = head - tail;
    brief_lock(&j->append_lock);
    ret->scopes = chain_table_count(j->chains);
    brief_unlock(&j->append_lock);
    pthread_mutex_lock(&j->list_lock);
    ret->segments = j->segment_count;
    pthread_mutex_unlock(&j->list_lock);
}

/* ---- opening and closing -------------------------------------------------------------------------------------------
 */

static int open_subdirectory(struct journal *j, const char *name, int *ret_fd)
{
    if (mkdirat(j->dirfd, name, 0700) < 0 && errno != EEXIST)
        return diag_problem(-errno, j->path, "cannot make the directory \"%s\": %s", name, strerror(errno));
    int rc = fs_openat(j->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, ret_fd);
    return rc < 0 ? diag_problem(rc, j->path, "cannot open the directory \"%s\": %s", name, strerror(-rc)) : 0;
}

static int open_directories(struct journal *j)
{
    int rc = fs_mkdir_p(j->path, 0700);
    if (rc == 0)
        rc = fs_open(j->path, O_RDONLY | O_DIRECTORY, 0, &j->dirfd);
    if (rc < 0)
        return diag_problem(rc, j->path, "cannot make or open the journal directory: %s", strerror(-rc));
    return 0;
}

static uint64_t power_of_two(uint64_t n)
{
    uint64_t p = 65536;
    while (p < n && p < 1ull << 40)
        p *= 2;
    return p;
}

/* *ret_ring: the ring's size. */
static int apply_options(struct journal *j, const struct journal_options *o, uint64_t *ret_ring)
{
    *ret_ring = power_of_two(o->ring_size ? o->ring_size : 8u << 20);
    j->max_size = o->max_size ? o->max_size : 1u << 30;
    j->segment_size = o->segment_size ? o->segment_size : 64u << 20;
    if (j->segment_size > j->max_size / 4)
        j->segment_size = j->max_size / 4; /* trimming goes by segments */
    if (j->segment_size < 65536)
        j->segment_size = 65536;
    /* Appends wait early enough for all that is in the ring to find its place, with a few headers and notes. */
    uint64_t reserve = *ret_ring + *ret_ring / 8 + 4 * SEGMENT_DATA;
    j->quota = j->max_size - (reserve < j->max_size / 4 ? reserve : j->max_size / 4);
    j->min_free = o->min_free;
    j->sync_interval_ns = o->sync_interval_ns;
    j->chained = o->chained;
    j->stream = o->stream;
    j->diag = o->diag;
    j->path = strdup(o->path);
    j->scratch = malloc(SCRATCH);
    j->zeros = calloc(1, ZERO_AHEAD); /* only read: pages that need no memory */
    int rc = j->path && j->scratch && j->zeros ? chain_table_create(&j->chains) : -ENOMEM;
    return rc < 0 ? diag_problem(rc, o->path, "out of memory") : 0;
}

static void stop_threads(struct journal *j)
{
    atomic_store(&j->stop, true);
    waitpoint_wake(&j->writer);
    waitpoint_wake(&j->keeper);
    if (j->writer_started)
        (void)pthread_join(j->writer_thread, NULL);
    if (j->keeper_started)
        (void)pthread_join(j->keeper_thread, NULL);
    j->writer_started = j->keeper_started = false;
}

static int start_threads(struct journal *j)
{
    int rc = thread_start(&j->writer_thread, writer_main, j, "aw-writer");
    j->writer_started = rc == 0;
    if (rc == 0) {
        rc = thread_start(&j->keeper_thread, keeper_main, j, "aw-keeper");
        j->keeper_started = rc == 0;
    }
    return rc < 0 ? diag_problem(rc, j->path, "cannot start the journal's threads: %s", strerror(-rc)) : 0;
}

static void release(struct journal *j)
{
    cursors_free(j);
    for (size_t i = 0; i < j->segment_count; i++) {
        if (j->segments[i]->fd >= 0)
            (void)fs_close(j->segments[i]->fd); /* what had to be synced was; errors were reported there */
        free(j->segments[i]);
    }
    free(j->segments);
    seqset_free(&j->missing);
    ring_unmap(&j->ring);
    chain_table_destroy(j->chains);
    const int fds[] = {j->cursor_dirfd, j->quarantine_dirfd, j->dirfd};
    for (size_t i = 0; i < AW_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            (void)fs_close(fds[i]);
    journal_lock_release(&j->lock); /* last */
    pthread_mutex_destroy(&j->drain_lock);
    pthread_mutex_destroy(&j->list_lock);
    free(j->zeros);
    free(j->scratch);
    free(j->path);
    free(j);
}

static int open_all(struct journal *j, const struct journal_options *options)
{
    uint64_t ring_size;
    int rc = apply_options(j, options, &ring_size);
    if (rc == 0)
        rc = open_directories(j);
    if (rc == 0)
        rc = lock_take(j, options->lock);
    if (rc == 0)
        rc = open_subdirectory(j, CURSOR_DIR, &j->cursor_dirfd);
    if (rc == 0)
        rc = open_subdirectory(j, QUARANTINE_DIR, &j->quarantine_dirfd);
    if (rc == 0)
        rc = recovery_run(j, ring_size);
    if (rc < 0)
        return rc;
    if (atomic_load(&j->dirty)) {
        /* What a killed process wrote may not be on disk yet. */
        rc = sync_upto(j, journal_head_seq(j), true);
        if (rc < 0)
            diag_problem(0, j->path, "what an earlier process wrote cannot be synced: %s", strerror(-rc));
    }
    keeper_look_at_disk(j);
    return options->offline ? 0 : start_threads(j);
}

int journal_open(const struct journal_options *options, struct journal **ret)
{
    (void)pthread_once(&once, initialise);
    if (once_rc < 0)
        return diag_problem(once_rc, options->path, "cannot prepare for threads: %s", strerror(-once_rc));
    void *memory = NULL;
    if (posix_memalign(&memory, _Alignof(struct journal), sizeof(struct journal)) != 0)
        return diag_problem(-ENOMEM, options->path, "out of memory");
    struct journal *j = memset(memory, 0, sizeof(struct journal));
    j->dirfd = j->cursor_dirfd = j->quarantine_dirfd = j->lock.fd = -1;
    j->fork_generation = atomic_load(&fork_generation);
    atomic_init(&j->round, ROUND_ENDED); /* number 0 */
    pthread_mutex_init(&j->drain_lock, NULL);
    pthread_mutex_init(&j->list_lock, NULL);
    int rc = open_all(j, options);
    if (rc < 0) {
        stop_threads(j);
        release(j);
        return rc;
    }
    *ret = j;
    return 0;
}

/* Everything to disk, and the mark that says so. */
static int finish(struct journal *j)
{
    int rc = sync_upto(j, journal_head_seq(j), true);
    pthread_mutex_lock(&j->drain_lock);
    if (rc == 0 && atomic_load(&j->notes_wanted))
        rc = writer_note_lost(j);
    if (rc == 0 && j->current && atomic_load(&j->current->size) > SEGMENT_DATA) {
        struct {
            struct note_payload note;
            uint64_t last;
        } closed = {{NOTE_CLOSED, 1}, journal_head_seq(j)};
        rc = writer_put(j, RECORD_KIND_NOTE, &closed, sizeof closed);
    }
    pthread_mutex_unlock(&j->drain_lock);
    if (rc == 0 && atomic_load(&j->dirty))
        rc = sync_upto(j, journal_head_seq(j), true);
    pthread_mutex_lock(&j->drain_lock);
    int rc2 = writer_roll(j);
    pthread_mutex_unlock(&j->drain_lock);
    journal_publish(j); /* the keeper may not have come to it since the last event */
    return rc < 0 ? rc : rc2;
}

int journal_retire(struct journal *journal)
{
    stop_threads(journal);
    int rc = finish(journal);
    journal_lock_release(&journal->lock);
    return rc;
}

int journal_close(struct journal *journal)
{
    if (!journal)
        return 0;
    if (journal_in_child(journal)) { /* the parent's threads and locks are not ours; its files stay as they are */
        release(journal);
        return 0;
    }
    stop_threads(journal);
    int rc = finish(journal);
    release(journal);
    return rc;
}
