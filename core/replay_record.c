/* replay_record.c - see replay_record.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "replay_record.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "delivery/replay.h"
#include "event/replay_event.h"
#include "logger.h"

#include <inttypes.h>

#define CLOSE_MS 2000 /* for the other sinks to take what is under way; the rest waits in the journal */

struct items {
    struct replay_event_item *list;
    size_t count;
};

/* ---- which events ---- */

static int by_seq(const void *a, const void *b)
{
    const struct replay_event_item *x = a, *y = b;
    return x->seq != y->seq ? (x->seq > y->seq) - (x->seq < y->seq) : memcmp(x->hash, y->hash, sizeof x->hash);
}

static int add_letter(struct items *items, int fd, const struct dl_entry *entry)
{
    AW_AUTOFREE char *text = NULL;
    AW_AUTOFREE void *buffer = NULL;
    struct dl_line line;
    struct record_view view;
    int rc = dl_index_line(fd, entry, &text, &line);
    if (rc == 0)
        rc = dl_record(&line, &buffer, &view);
    if (rc == -EBADMSG)
        return 0; /* the replay will say so */
    if (rc == 0) {
        struct replay_event_item *item = &items->list[items->count++];
        item->seq = view.head->seq;
        memcpy(item->hash, view.head->hash, sizeof item->hash);
    }
    return rc;
}

static int gather(const struct replay_record_options *o, struct items *items)
{
    struct dl_index x;
    int fd = -1, rc = deadletter_look(o->deadletters, NULL, NULL, &x, &fd);
    if (rc == 0 && x.count > 0 && !(items->list = calloc(x.count, sizeof *items->list)))
        rc = -ENOMEM;
    for (size_t i = 0; i < x.count && rc == 0; i++)
        if (replay_wants(&x.entries[i], o->first_seq, o->last_seq))
            rc = add_letter(items, fd, &x.entries[i]);
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    if (rc < 0)
        return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, deadletter_path(o->deadletters), "%s",
                            strerror(-rc));
    if (items->count == 0)
        return 0;
    qsort(items->list, items->count, sizeof *items->list, by_seq);
    size_t n = 1; /* an event can have two letters: it is named once */
    for (size_t i = 1; i < items->count; i++)
        if (by_seq(&items->list[n - 1], &items->list[i]) != 0)
            items->list[n++] = items->list[i];
    items->count = n;
    return 0;
}

/* ---- the record ---- */

static int append(struct logger_core *core, const struct replay_record_options *o,
                  const struct replay_event_item *items, size_t count, uint64_t *ret_seq)
{
    struct prepared *p;
    struct journal_receipt jr;
    size_t len;
    AW_AUTOFREE char *json = replay_event_write(o->sink, items, count, &len);
    if (!json)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    int rc = event_prepare_json(core->own_policy, NULL, 0, json, len, &p);
    if (rc != AW_SUCCESS)
        return rc;
    rc = journal_append(core->journal, p, o->deadline_ns, &jr);
    if (rc < 0)
        return diag_problem(rc == -ENOSPC ? AW_ERR_QUEUE_FULL : AW_ERR_WRITE_FAILED, "journal",
                            "the record of the replay cannot be sealed (%s): nothing was replayed",
                            rc == -ENOSPC ? journal_why_full(core->journal) : strerror(-rc));
    *ret_seq = jr.seq;
    return AW_SUCCESS;
}

static struct delivery *find_delivery(struct logger_core *core, const char *name)
{
    for (size_t i = 0; i < core->started; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        delivery_get_stats(core->sinks[i], 0, &s);
        if (strcmp(s.name, name) == 0)
            return core->sinks[i];
    }
    return NULL;
}

/* Until the sink has the record. */
static int deliver(struct delivery *d, const struct replay_record_options *o, uint64_t first, uint64_t last)
{
    int rc = delivery_flush(d, last, o->deadline_ns);
    bool refused = false;
    for (uint64_t seq = first; seq <= last && rc == 0 && !refused; seq++)
        refused = delivery_outcome(d, seq) == DELIVERY_REFUSED;
    if (rc == 0 && !refused)
        return AW_SUCCESS;
    struct aw_sink_stats s = {.struct_size = sizeof s};
    delivery_get_stats(d, last, &s);
    if (refused)
        return diag_problem(AW_ERR_IO, o->sink,
                            "refuses the record of this replay, which must stand before it: nothing was replayed; its "
                            "reason is with its dead letters");
    return diag_problem(rc == -ETIMEDOUT ? AW_ERR_TIMEOUT : AW_ERR_IO, o->sink,
                        "does not take the record of this replay, which must stand before it: nothing was replayed%s%s",
                        s.last_error_text[0] ? "; last error: " : "", s.last_error_text);
}

static int seal_all(struct logger_core *core, const struct replay_record_options *o, const struct items *items)
{
    struct delivery *d = find_delivery(core, o->sink);
    uint64_t first = 0, last = 0;
    int rc = AW_SUCCESS;
    if (!core->settings->journal.chained)
        return AW_SUCCESS; /* nothing is verified there */
    if (!d) {
        diag_log(&o->diag, AW_LOG_WARNING, o->sink, "is not enabled: it has no record of this replay before it");
        return AW_SUCCESS;
    }
    delivery_hurry(d);
    for (size_t i = 0; i < items->count && rc == AW_SUCCESS; i += REPLAY_EVENT_MAX) {
        size_t n = items->count - i < REPLAY_EVENT_MAX ? items->count - i : REPLAY_EVENT_MAX;
        rc = append(core, o, items->list + i, n, &last);
        first = first ? first : last;
    }
    if (rc == AW_SUCCESS)
        rc = deliver(d, o, first, last);
    delivery_rest(d);
    return rc;
}

static int open_core(const struct replay_record_options *o, struct logger_core **ret)
{
    struct logger_core *core = core_new(o->diag);
    if (!core)
        return AW_ERR_NOMEM;
    core->own_slot_only = true;
    int rc = settings_load(o->config_path, o->config_text, &core->settings);
    if (core->settings)
        rc = core_build(core, rc, o->slot);
    if (rc != 0)
        (void)core_discard(core);
    *ret = core;
    return rc;
}

static int seal_in(struct logger_core *core, const struct replay_record_options *o, const struct items *items)
{
    AW_AUTOFREE char *why = NULL;
    size_t count;
    int rc = seal_all(core, o, items);
    const struct aw_problem *const *problems = aw_problems(&count);
    if (rc != AW_SUCCESS && count > 0)
        why = strdup(problems[count - 1]->message);
    (void)core_close(core, logger_deadline(CLOSE_MS), NULL); /* what the others lack waits in the journal */
    diag_reset();
    return rc ? diag_problem(rc, o->sink, "%s", why ? why : aw_error_name(rc)) : rc;
}

int replay_record_seal(const struct replay_record_options *o)
{
    struct items items = {NULL, 0};
    struct logger_core *core;
    int rc = gather(o, &items);
    if (rc == AW_SUCCESS && items.count > 0) {
        diag_reset();
        rc = open_core(o, &core);
        if (rc == AW_ERR_BUSY) {
            diag_log(&o->diag, AW_LOG_WARNING, o->sink,
                     "another process has the journal, so this replay cannot be recorded: a store that keeps the order "
                     "of writing, as a file does, will not verify");
            diag_reset();
            rc = AW_SUCCESS;
        } else if (rc == AW_SUCCESS) {
            rc = seal_in(core, o, &items);
        }
    }
    free(items.list);
    return rc;
}
