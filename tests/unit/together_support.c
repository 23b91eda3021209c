/* together_support.c - see together_support.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "together_support.h"

#include "base/base.h"
#include "base/clock.h"

#include <stdio.h>

/* ---- the sinks ---- */
pthread_mutex_t fakes_mutex = PTHREAD_MUTEX_INITIALIZER;
struct fake fakes[SINKS];
static struct fake *creating;
static char hashes[MAX_EVENTS][65];

static uint64_t seq_of(const struct fake *f, const struct aw_event *e)
{
    uint64_t seq = 0;
    f->host->event_number(e, AW_NUMBER_SEQ, &seq);
    return seq;
}

static int32_t fake_create(const struct aw_host *host, const struct aw_config *config, void **ret)
{
    (void)config;
    creating->host = host;
    *ret = creating;
    return AW_OK;
}

static int32_t fake_start(void *sink)
{
    struct fake *f = sink;
    f->starts++;
    return AW_OK;
}

static bool fails(struct fake *f, unsigned *left)
{
    if (*left == 0)
        return false;
    (*left)--;
    aw_host_error(f->host, f->code ? f->code : AW_E_RETRY, "not now");
    return true;
}

static int32_t code_of(const struct fake *f)
{
    return f->code ? f->code : AW_E_RETRY;
}

/* What stage() and write() have in common: takes events into list, or says why not. */
static int32_t take(struct fake *f, const struct aw_batch *b, struct aw_result *r, uint64_t *list, size_t *count,
                    uint8_t status)
{
    for (size_t i = 0; i < b->count; i++)
        if (seq_of(f, b->events[i]) == f->rejects_all)
            return aw_host_error(f->host, AW_E_REJECTED, "one of these is bad");
    bool part = f->partial > 0;
    f->partial -= part;
    for (size_t i = 0; i < b->count; i++) {
        uint64_t seq = seq_of(f, b->events[i]);
        if (seq == f->rejects) {
            aw_host_event_error(f->host, i, "%llu is unlucky", (unsigned long long)seq);
            r->status[i] = AW_EVENT_REJECTED;
        } else if (!part || i % 2 == 0) {
            CU_ASSERT_FATAL(*count < MAX_EVENTS);
            list[(*count)++] = seq;
            r->status[i] = status;
        }
    }
    return AW_OK;
}

static int32_t fake_stage(void *sink, const struct aw_batch *b, struct aw_result *r, const char *token)
{
    struct fake *f = sink;
    if (f->gate)
        sem_wait(f->gate);
    pthread_mutex_lock(&fakes_mutex);
    f->stages++;
    int32_t rc = AW_OK;
    CU_ASSERT_EQUAL(f->staged_count, 0); /* one token at a time, and never one upon the other */
    if (fails(f, &f->stage_fails)) {
        rc = code_of(f);
    } else {
        snprintf(f->token, sizeof f->token, "%s", token);
        rc = take(f, b, r, f->staged, &f->staged_count, AW_EVENT_ACCEPTED);
    }
    pthread_mutex_unlock(&fakes_mutex);
    return rc;
}

static void drop(struct fake *f)
{
    f->staged_count = 0;
    f->token[0] = '\0';
}

static int32_t fake_commit(void *sink, const char *token)
{
    struct fake *f = sink;
    int32_t rc = AW_OK;
    pthread_mutex_lock(&fakes_mutex);
    f->commits++;
    if (fails(f, &f->commit_fails)) {
        rc = code_of(f);
    } else if (f->loses) {
        f->loses = false;
        drop(f);
        rc = AW_E_NOTFOUND;
    } else if (strcmp(token, f->token) == 0) {
        memcpy(f->stored + f->stored_count, f->staged, f->staged_count * sizeof *f->staged);
        f->stored_count += f->staged_count;
        drop(f);
    }
    pthread_mutex_unlock(&fakes_mutex);
    return rc;
}

static int32_t fake_rollback(void *sink, const char *token)
{
    struct fake *f = sink;
    int32_t rc = AW_OK;
    pthread_mutex_lock(&fakes_mutex);
    f->rollbacks++;
    if (fails(f, &f->rollback_fails))
        rc = code_of(f);
    else if (strcmp(token, f->token) == 0)
        drop(f);
    pthread_mutex_unlock(&fakes_mutex);
    return rc;
}

static int32_t fake_in_doubt(void *sink, const char *const **ret, size_t *ret_count)
{
    static const char *list[SINKS][2];
    struct fake *f = sink;
    if (fails(f, &f->doubt_fails))
        return code_of(f);
    list[f - fakes][0] = "0123456789abcdef.1.2.1.1"; /* somebody else's */
    list[f - fakes][1] = f->token;
    *ret = list[f - fakes];
    *ret_count = f->token[0] ? 2 : 1;
    return AW_OK;
}

static int32_t fake_write(void *sink, const struct aw_batch *b, struct aw_result *r)
{
    struct fake *f = sink;
    pthread_mutex_lock(&fakes_mutex);
    f->writes++;
    int32_t rc = AW_OK;
    if (fails(f, &f->write_fails))
        rc = code_of(f);
    else
        rc = take(f, b, r, f->stored, &f->stored_count, f->accepts ? AW_EVENT_ACCEPTED : AW_EVENT_DURABLE);
    f->accepted_upto = f->stored_count ? f->stored[f->stored_count - 1] : 0;
    pthread_mutex_unlock(&fakes_mutex);
    return rc;
}

static int32_t fake_flush(void *sink, uint64_t deadline, uint64_t *ret)
{
    struct fake *f = sink;
    (void)deadline;
    pthread_mutex_lock(&fakes_mutex);
    f->flushes++;
    int32_t rc = AW_OK;
    if (fails(f, &f->flush_fails)) {
        rc = code_of(f);
        f->stored_count /= 2; /* what was not synced is gone */
    } else {
        *ret = f->accepted_upto;
    }
    pthread_mutex_unlock(&fakes_mutex);
    return rc;
}

static void fake_destroy(void *sink)
{
    (void)sink;
}

static int32_t fake_position(void *sink, struct aw_position *ret)
{
    struct fake *f = sink;
    pthread_mutex_lock(&fakes_mutex);
    ret->seq = f->stored_count ? f->stored[f->stored_count - 1] : 0;
    memcpy(ret->hash, hashes[ret->seq], sizeof ret->hash);
    pthread_mutex_unlock(&fakes_mutex);
    return ret->seq ? AW_OK : AW_E_NOTFOUND;
}

static const void *fake_extension(void *sink, const char *id)
{
    static const struct aw_sink_transaction tx = {sizeof tx, 0, fake_stage, fake_commit, fake_rollback, fake_in_doubt};
    static const struct aw_sink_position position = {sizeof position, 0, fake_position};
    const struct fake *f = sink;
    if (strcmp(id, AW_EXT_SINK_POSITION) == 0)
        return f->by_position ? &position : NULL;
    return strcmp(id, AW_EXT_SINK_TRANSACTION) == 0 && !f->plain ? &tx : NULL;
}

static struct aw_sink_class fake_class = {
    .struct_size = sizeof fake_class,
    .thread_model = AW_THREADS_SERIAL_INSTANCE,
    .durability = AW_DURABLE_ON_FLUSH,
    .name = "fake",
    .summary = "a sink for tests",
    .create = fake_create,
    .start = fake_start,
    .write = fake_write,
    .flush = fake_flush,
    .destroy = fake_destroy,
    .extension = fake_extension,
};

/* ---- journal and group ---- */
const char *const fake_names[SINKS] = {"a", "b", "c", "d"};

void group_append(struct group_rig *r, size_t count)
{
    static unsigned number;
    for (size_t i = 0; i < count; i++) {
        char json[200];
        int n =
            snprintf(json, sizeof json,
                     "{\"action\":\"a\",\"eventId\":\"e%u\",\"outcome\":\"SUCCESS\",\"schemaVersion\":1}", number++);
        struct prepared p = {.json = json, .json_len = (uint32_t)n, .scope_value = {"unknown", 7}};
        p.integrity_at = (uint32_t)(strstr(json, "\"outcome\"") - json);
        struct journal_receipt receipt;
        pthread_mutex_lock(&fakes_mutex); /* no sink stores it before its hash is known here */
        CU_ASSERT_EQUAL(journal_append(r->journal, &p, UINT64_MAX, &receipt), 0);
        hash_hex(receipt.hash, 32, hashes[receipt.seq]);
        pthread_mutex_unlock(&fakes_mutex);
    }
}

void fakes_reset(void)
{
    memset(fakes, 0, sizeof fakes);
    fakes[1].plain = true;
}

void group_open_journal(struct group_rig *r)
{
    struct journal_options jo = {
        .path = r->dir, .max_size = 64u << 20, .segment_size = 1u << 20, .ring_size = 1u << 20, .chained = true};
    CU_ASSERT_EQUAL_FATAL(journal_open(&jo, &r->journal), 0);
}

void group_create_members(struct group_rig *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct delivery_options o = {
            .name = fake_names[i], .sink = &fake_class, .where = i == 0 ? "test:1" : "test:2", .state_dir = r->dir};
        delivery_settings_init(&o.settings);
        o.settings.batch_events = i == 0 ? 50 : 70;
        o.settings.retry_base_ns = 1000000;
        o.settings.retry_cap_ns = 2000000;
        o.settings.breaker_cooldown_ns = 5000000;
        CU_ASSERT_EQUAL_FATAL(schema_config_from_pairs(NULL, NULL, 0, fake_names[i], &o.config), 0);
        creating = &fakes[i];
        CU_ASSERT_EQUAL_FATAL(delivery_create(&o, &r->d[i]), 0);
    }
}

void group_start(struct group_rig *r)
{
    struct diag_out diag = {0};
    group_create_members(r);
    CU_ASSERT_EQUAL_FATAL(together_create(r->d, r->count, r->dir, &diag, &r->group), 0);
    for (size_t i = 0; i < r->count; i++)
        CU_ASSERT_EQUAL_FATAL(delivery_attach(r->d[i], r->journal), 0);
    CU_ASSERT_EQUAL_FATAL(together_attach(r->group, r->journal), 0);
    CU_ASSERT_EQUAL_FATAL(together_start(r->group), 0);
}

void group_open(struct group_rig *r, const char *name, size_t count)
{
    memset(r, 0, sizeof *r);
    r->count = count;
    snprintf(r->dir, sizeof r->dir, "%s/%s", harness_tmpdir(), name);
    group_open_journal(r);
    group_start(r);
}

void group_stop(struct group_rig *r, unsigned seconds)
{
    for (size_t i = 0; i < r->count; i++)
        (void)delivery_stop(r->d[i], clock_mono_ns() + SECONDS(seconds));
    for (size_t i = 0; i < r->count; i++)
        CU_ASSERT(delivery_destroy(r->d[i]));
    CU_ASSERT(together_destroy(r->group));
}

void group_close(struct group_rig *r)
{
    group_stop(r, 10);
    CU_ASSERT_EQUAL(journal_close(r->journal), 0);
}

int group_flush(struct group_rig *r)
{
    int rc = 0;
    for (size_t i = 0; i < r->count && rc == 0; i++)
        rc = delivery_flush(r->d[i], journal_head(r->journal), clock_mono_ns() + SECONDS(20));
    return rc;
}

struct aw_sink_stats group_stats(struct group_rig *r, size_t i)
{
    struct aw_sink_stats s = {.struct_size = sizeof s};
    delivery_get_stats(r->d[i], journal_head(r->journal), &s);
    return s;
}

void group_holds(const struct group_rig *r, uint64_t count, uint64_t but)
{
    for (size_t i = 0; i < r->count; i++) {
        uint64_t seq = 0;
        bool good = fakes[i].staged_count == 0 && fakes[i].stored_count == count - (but != 0);
        for (size_t k = 0; good && k < fakes[i].stored_count; k++) {
            seq += seq + 1 == but ? 2 : 1;
            good = fakes[i].stored[k] == seq;
        }
        if (!good)
            harness_note("sink %s holds %zu events, %zu staged", fake_names[i], fakes[i].stored_count,
                         fakes[i].staged_count);
        CU_ASSERT(good);
    }
}
