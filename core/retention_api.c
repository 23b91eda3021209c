/* retention_api.c - aw_retention(): plan, verify, seal the record, have it delivered, prune; store by store.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A record of what a store lost may stand nowhere but in that store, among events of a stream that it holds; so a store
 * of one slot gets it from that slot's journal (by this process, or by the one that has it: inbox.h), a store that all
 * slots share from any. A record names every stream of the store that does not begin at its origin, also those of which
 * nothing goes now: records that older ones stand for may go with this retention.
 */
#include "config.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/ids.h"
#include "event/retention_event.h"
#include "inbox.h"
#include "own_record.h"
#include "seal/verify.h"
#include "sinks.h"
#include "slots.h"

#include <fcntl.h>
#include <stdio.h>

#define LOCK_NAME "retention.lock"
#define ASK_NS                                                                                                         \
    10000000000u /* how long a running process is given before the journal is tried again; then twice that             \
                  */

/* One stream of the plan, and what the readings tell of it. */
struct item {
    struct aw_prune prune;
    uint64_t newest_seq, chains, total;
    uint8_t chains_hash[HASH_SHA256_LEN];
};

struct retention {
    const struct aw_retention_options *options;
    struct aw_retention_report *report;
    struct diag_out diag;
    int64_t before_ns;
    struct ids_source ids;
    /* the store at hand */
    const struct settings *settings;
    const struct aw_sink_state *state;
    struct item *items;
    size_t count, capacity;
    uint64_t findings;
    bool nomem;
};

/* ---- plan ---- */

static int32_t add_item(void *arg, const struct aw_prune *prune)
{
    struct retention *r = arg;
    if (r->count == r->capacity) {
        size_t more = r->capacity ? 2 * r->capacity : 8;
        struct item *items = realloc(r->items, more * sizeof *items);
        if (!items) {
            r->nomem = true;
            return -1;
        }
        r->items = items;
        r->capacity = more;
    }
    struct item *item = &r->items[r->count++];
    memset(item, 0, sizeof *item);
    memcpy(&item->prune, prune, prune->struct_size < sizeof item->prune ? prune->struct_size : sizeof item->prune);
    item->prune.struct_size = sizeof item->prune;
    return 0;
}

static int make_plan(struct retention *r, struct aw_store *store, const struct aw_sink_retention *x)
{
    store_clear_error(store);
    r->nomem = false;
    int32_t code = x->plan(store_sink(store), r->before_ns, add_item, r);
    if (r->nomem)
        return diag_problem(AW_ERR_NOMEM, r->state->sink, "out of memory");
    if (code != AW_OK)
        return store_problem(store, code, "cannot tell what could go");
    for (size_t i = 0; i < r->count; i++) {
        const struct aw_prune *p = &r->items[i].prune;
        if (p->keep_seq == 0 || p->stream > UINT16_MAX || (p->count > 0 && p->last_seq >= p->keep_seq))
            return diag_problem(AW_ERR_IO, r->state->sink, "plugin %s gives a plan that makes no sense",
                                r->state->plugin);
    }
    return AW_SUCCESS;
}

/* ---- the two readings ---- */

static void note_totals(void *arg, struct verifier *v)
{
    struct retention *r = arg;
    for (size_t i = 0; i < r->count; i++) {
        uint64_t below, total = verifier_removed(v, r->items[i].prune.stream, &below);
        r->items[i].total = (total > below ? total - below : 0) + r->items[i].prune.count;
    }
}

static int verify(struct retention *r, struct aw_store *store)
{
    struct aw_verify_report report = {.struct_size = sizeof report};
    const struct aw_verify_options o = {.struct_size = sizeof o,
                                        .flags = AW_VERIFY_VIEWS,
                                        .on_finding = r->options->on_finding,
                                        .on_progress = r->options->on_progress,
                                        .arg = r->options->arg,
                                        .sink = r->state->sink};
    int rc = store_verify(store, &o, &report, note_totals, r);
    if (rc == AW_SUCCESS)
        diag_reset(); /* what the verdict does not cover is of no interest here */
    r->findings = report.findings;
    r->report->findings += report.findings;
    return rc;
}

/* How the chains go on once the plan is carried out. */
static int read_chains(struct retention *r, struct aw_store *store)
{
    const struct aw_verify_options o = {.struct_size = sizeof o, .flags = AW_VERIFY_MIDCHAIN | AW_VERIFY_VIEWS};
    struct verifier *v;
    uint32_t slot;
    int rc = verifier_create(&o, &v);
    if (rc != AW_SUCCESS)
        return rc;
    if (store_slot(store, &slot))
        verifier_set_stream(v, slot);
    for (size_t i = 0; i < r->count && rc == AW_SUCCESS; i++)
        rc = verifier_set_floor(v, r->items[i].prune.stream, r->items[i].prune.keep_seq);
    if (rc == AW_SUCCESS)
        rc = store_feed(store, v);
    for (size_t i = 0; i < r->count && rc == AW_SUCCESS; i++) {
        struct item *it = &r->items[i];
        rc = verifier_chains(v, it->prune.stream, &it->newest_seq, &it->chains, it->chains_hash);
    }
    verifier_destroy(v);
    return rc;
}

/* ---- the record ---- */

static bool is_named(const struct item *item)
{
    return item->prune.keep_seq > 1;
}

static int describe(const struct retention *r, const struct item *item, struct retention_stream *ret)
{
    const struct aw_prune *p = &item->prune;
    *ret = (struct retention_stream){.stream = p->stream,
                                     .with_hash = true,
                                     .with_chains = r->findings == 0,
                                     .keep_seq = p->keep_seq,
                                     .newest_seq = item->newest_seq,
                                     .count = p->count,
                                     .first_seq = p->first_seq,
                                     .last_seq = p->last_seq,
                                     .first_ns = p->first_ns,
                                     .last_ns = p->last_ns,
                                     .total = item->total,
                                     .chains = item->chains};
    memcpy(ret->chains_hash, item->chains_hash, sizeof ret->chains_hash);
    if (hash_unhex(p->keep_hash, strnlen(p->keep_hash, sizeof p->keep_hash), ret->keep_hash))
        return AW_SUCCESS;
    return diag_problem(AW_ERR_IO, r->state->sink, "the event that would stay first, seq %llu, has no hash",
                        (unsigned long long)p->keep_seq);
}

struct texts {
    char *text[64];
    size_t len[64];
    char id[64][IDS_UUID_LEN + 1];
    size_t count;
};

static void free_texts(struct texts *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->text[i]);
}

/* As many records as the streams need: mostly one. */
static int write_records(struct retention *r, struct texts *t)
{
    struct retention_record record = {
        .sink = (char *)(uintptr_t)r->state->sink, .before_ns = r->before_ns, .findings = r->findings};
    int rc = AW_SUCCESS;
    for (size_t i = 0; i <= r->count && rc == AW_SUCCESS; i++) {
        bool last = i == r->count;
        if (!last && is_named(&r->items[i]))
            rc = describe(r, &r->items[i], &record.streams[record.count++]);
        if (rc != AW_SUCCESS || record.count == 0 || (!last && record.count < RETENTION_EVENT_MAX))
            continue;
        if (t->count == sizeof t->text / sizeof t->text[0])
            return diag_problem(AW_ERR_USAGE, r->state->sink, "has too many streams for one retention");
        char *id = t->id[t->count];
        if (ids_uuid7(&r->ids, clock_real_ns(), id) < 0)
            return diag_problem(AW_ERR_IO, "", "no random bytes from the kernel");
        id[IDS_UUID_LEN] = '\0';
        record.id = id;
        t->text[t->count] = retention_event_write(&record, &t->len[t->count]);
        if (!t->text[t->count])
            return diag_problem(AW_ERR_NOMEM, "", "out of memory");
        t->count++;
        record.count = 0;
    }
    return rc;
}

static char *copy_text(void *arg, size_t index, size_t *ret_len)
{
    const struct texts *t = arg;
    *ret_len = t->len[index];
    return strndup(t->text[index], t->len[index]);
}

/* By this process if nobody has the slot. */
static int seal_here(struct retention *r, struct texts *t, uint64_t deadline_ns)
{
    const struct own_record record = {.config_path = r->options->config_path,
                                      .config_text = r->options->config_text,
                                      .slot = r->state->per_slot ? r->state->slot : SLOTS_ANY,
                                      .sink = r->state->sink,
                                      .what = "retention",
                                      .undone = "removed",
                                      .diag = r->diag,
                                      .deadline_ns = deadline_ns,
                                      .count = t->count,
                                      .make = copy_text,
                                      .arg = t};
    return own_record_seal(&record);
}

/* Else by the one that has. It may be one that delivers what is left there, and does not listen: then it gives the slot
 * up soon. A record that is sealed twice does no harm. */
static int seal(struct retention *r, struct texts *t)
{
    uint64_t deadline = logger_deadline(r->options->timeout_ms), window = ASK_NS;
    int rc;
    for (;; window *= 2) {
        rc = seal_here(r, t, deadline);
        if (rc == AW_ERR_NOTFOUND)
            return diag_problem(AW_ERR_USAGE, r->state->sink,
                                "is not enabled: it cannot be given the record of what is removed");
        if (rc != AW_ERR_BUSY)
            return rc;
        uint64_t now = clock_mono_ns(), until = deadline - now > window ? now + window : deadline;
        rc = AW_SUCCESS;
        diag_reset();
        for (size_t i = 0; i < t->count && rc == AW_SUCCESS; i++)
            rc = inbox_ask(r->settings->journal.path, r->state->sink, t->id[i], t->text[i], t->len[i], until);
        if (rc != AW_ERR_TIMEOUT || clock_mono_ns() >= deadline)
            return rc;
    }
}

static int seal_records(struct retention *r)
{
    struct texts t = {.count = 0};
    if (!r->settings->journal.chained)
        return AW_SUCCESS; /* nothing is verified there */
    int rc = write_records(r, &t);
    if (rc == AW_SUCCESS)
        rc = seal(r, &t);
    if (rc == AW_SUCCESS)
        r->report->records += t.count;
    free_texts(&t);
    return rc;
}

/* ---- one store ---- */

static int prune(struct retention *r, struct aw_store *store, const struct aw_sink_retention *x)
{
    uint64_t removed = 0;
    AW_AUTOFREE const struct aw_prune **list = calloc(r->count + 1, sizeof(struct aw_prune *));
    if (!list)
        return diag_problem(AW_ERR_NOMEM, r->state->sink, "out of memory");
    for (size_t i = 0; i < r->count; i++)
        list[i] = &r->items[i].prune;
    store_clear_error(store);
    int32_t code = x->prune(store_sink(store), list, r->count, &removed);
    r->report->removed += removed;
    return code == AW_OK ? AW_SUCCESS : store_problem(store, code, "not all that is to go could be removed");
}

static void tell(struct retention *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct aw_prune *p = &r->items[i].prune;
        const struct aw_retention_stream s = {.struct_size = sizeof s,
                                              .stream = p->stream,
                                              .sink = r->state->sink,
                                              .slot = r->state->slot,
                                              .per_slot = r->state->per_slot,
                                              .count = p->count,
                                              .bytes = p->bytes,
                                              .first_seq = p->first_seq,
                                              .last_seq = p->last_seq,
                                              .first_ns = p->first_ns,
                                              .last_ns = p->last_ns,
                                              .keep_seq = p->keep_seq,
                                              .keep_ns = p->keep_ns,
                                              .findings = r->findings};
        if (r->options->on_stream)
            r->options->on_stream(r->options->arg, &s);
    }
}

static int one_store(struct retention *r, struct aw_store *store, const struct aw_sink_retention *x)
{
    uint64_t count = 0;
    bool apply = r->options->flags & AW_RETENTION_APPLY, chained = r->settings->journal.chained;
    r->count = 0;
    r->findings = 0;
    int rc = make_plan(r, store, x);
    for (size_t i = 0; i < r->count; i++)
        count += r->items[i].prune.count;
    r->report->count += count;
    if (rc == AW_SUCCESS && count > 0 && chained)
        rc = verify(r, store);
    if (rc != AW_SUCCESS)
        return rc;
    tell(r);
    if (r->findings > 0 && !(r->options->flags & AW_RETENTION_FINDINGS))
        return diag_problem(AW_ERR_FINDINGS, r->state->sink,
                            "has %llu finding%s: nothing of it %s removed before somebody has looked at them; see "
                            "auditwell verify",
                            (unsigned long long)r->findings, r->findings == 1 ? "" : "s", apply ? "was" : "would be");
    if (!apply)
        return AW_SUCCESS;
    if (count > 0 && chained && r->findings == 0)
        rc = read_chains(r, store);
    if (rc == AW_SUCCESS && count > 0)
        rc = seal_records(r);
    /* Also when nothing can go: an earlier call may have died in the middle of it. */
    return rc == AW_SUCCESS ? prune(r, store, x) : rc;
}

static int retain(void *arg, const struct settings *s, struct aw_sink_state *state, struct aw_store *store, int rc)
{
    struct retention *r = arg;
    const struct aw_sink_retention *x = store ? store_extension(store, AW_EXT_SINK_RETENTION) : NULL;
    if (!store)
        return rc;
    if (!x || !AW_HAS(struct aw_sink_retention, x, prune) || !x->plan || !x->prune) {
        if (!r->options->sink)
            return AW_SUCCESS;
        return diag_problem(AW_ERR_USAGE, state->sink, "plugin %s removes nothing: it has no extension %s",
                            state->plugin, AW_EXT_SINK_RETENTION);
    }
    rc = store_need_query(store);
    if (rc != AW_SUCCESS)
        return rc;
    r->settings = s;
    r->state = state;
    r->report->stores++;
    rc = one_store(r, store, x);
    if (rc == AW_SUCCESS)
        return rc;
    AW_AUTOFREE char *why = strdup(sinks_problem(rc));
    diag_reset();
    return diag_problem(rc, state->sink, "%s", why ? why : aw_error_name(rc));
}

/* ---- the call ---- */

/* One at a time for a configuration. */
static int take_lock(const struct aw_retention_options *o, int *ret_fd)
{
    struct settings *s = NULL;
    AW_AUTOFREE char *path = NULL;
    int rc = slots_load(o->config_path, o->config_text, 0, &s);
    if (rc == 0 && asprintf(&path, "%s/" LOCK_NAME, s->journal_base) < 0) {
        path = NULL;
        rc = diag_problem(AW_ERR_NOMEM, "", "out of memory");
    }
    settings_destroy(s);
    if (rc != 0)
        return rc;
    int opened = fs_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, ret_fd);
    if (opened == 0)
        opened = fs_lock(*ret_fd);
    if (opened == -EWOULDBLOCK)
        return diag_problem(AW_ERR_BUSY, path, "another retention is under way");
    if (opened < 0)
        return diag_problem(AW_ERR_IO, path, "cannot be locked: %s", strerror(-opened));
    return AW_SUCCESS;
}

static int check_options(const struct aw_retention_options *options, struct aw_retention_options *ret,
                         int64_t *ret_before)
{
    memset(ret, 0, sizeof *ret);
    if (!options || options->struct_size < 2 * sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "options", "are missing, or their struct_size is not set");
    memcpy(ret, options, options->struct_size < sizeof *ret ? options->struct_size : sizeof *ret);
    if (ret->flags & ~(AW_RETENTION_APPLY | AW_RETENTION_FINDINGS))
        return diag_problem(AW_ERR_USAGE, "flags", "unknown flags 0x%x", ret->flags);
    if (!ret->before)
        return diag_problem(AW_ERR_USAGE, "before", "says what can go, and must be given");
    int rc = store_parse_time("before", ret->before, ret_before);
    if (rc == AW_SUCCESS && *ret_before > (int64_t)clock_real_ns())
        rc = diag_problem(AW_ERR_USAGE, "before", "is in the future: everything would go");
    return rc;
}

int aw_retention(const struct aw_retention_options *options, struct aw_retention_report *report)
{
    struct aw_retention_options o;
    struct aw_retention_report own = {.struct_size = sizeof own};
    struct retention r = {.options = &o, .report = &own};
    AW_AUTOCLOSE int lock = -1;
    diag_reset();
    int rc = check_options(options, &o, &r.before_ns);
    if (rc == AW_SUCCESS && (!report || report->struct_size < sizeof(uint32_t)))
        rc = diag_problem(AW_ERR_USAGE, "report", "is missing, or its struct_size is not set");
    if (rc == AW_SUCCESS && (o.flags & AW_RETENTION_APPLY))
        rc = take_lock(&o, &lock);
    if (rc != AW_SUCCESS)
        return rc;
    r.diag = (struct diag_out){o.diag, o.diag_arg};
    const struct sinks_walk w = {.sink = o.sink, .diag = &r.diag, .fn = retain, .arg = &r};
    rc = sinks_walk(o.config_path, o.config_text, &w);
    free(r.items);
    own.struct_size = report->struct_size;
    memcpy(report, &own, report->struct_size < sizeof own ? report->struct_size : sizeof own);
    return rc;
}
