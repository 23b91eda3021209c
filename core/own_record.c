/* own_record.c - see own_record.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "own_record.h"

#include "base/base.h"
#include "base/clock.h"
#include "event/retention_event.h"

#define CLOSE_MS 2000 /* for the other sinks to take what is under way; the rest waits in the journal */

int own_record_append(struct logger_core *core, const struct own_record *o, const char *json, size_t len,
                      uint64_t *ret_seq)
{
    struct prepared *p;
    struct journal_receipt jr;
    int rc = event_prepare_json(core->own_policy, NULL, 0, json, len, &p);
    if (rc != AW_SUCCESS)
        return rc;
    rc = journal_append(core->journal, p, o->deadline_ns, &jr);
    if (rc < 0)
        return diag_problem(rc == -ENOSPC ? AW_ERR_QUEUE_FULL : AW_ERR_WRITE_FAILED, "journal",
                            "the record of the %s cannot be sealed (%s): nothing was %s", o->what,
                            rc == -ENOSPC ? journal_why_full(core->journal) : strerror(-rc), o->undone);
    *ret_seq = jr.seq;
    return AW_SUCCESS;
}

struct delivery *own_record_delivery(struct logger_core *core, const char *sink)
{
    for (size_t i = 0; i < core->started; i++) {
        struct aw_sink_stats s = {.struct_size = sizeof s};
        delivery_get_stats(core->sinks[i], 0, &s);
        if (strcmp(s.name, sink) == 0)
            return core->sinks[i];
    }
    return NULL;
}

/* Until the sink has the records. */
static int deliver(struct delivery *d, const struct own_record *o, uint64_t first, uint64_t last)
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
                            "refuses the record of this %s, which must stand before it: nothing was %s; its reason is "
                            "with its dead letters",
                            o->what, o->undone);
    return diag_problem(rc == -ETIMEDOUT ? AW_ERR_TIMEOUT : AW_ERR_IO, o->sink,
                        "does not take the record of this %s, which must stand before it: nothing was %s%s%s", o->what,
                        o->undone, s.last_error_text[0] ? "; last error: " : "", s.last_error_text);
}

static int seal_all(struct logger_core *core, const struct own_record *o)
{
    struct delivery *d = own_record_delivery(core, o->sink);
    uint64_t first = 0, last = 0;
    int rc = AW_SUCCESS;
    if (!core->settings->journal.chained)
        return AW_SUCCESS; /* nothing is verified there */
    if (!d)
        return AW_ERR_NOTFOUND;
    delivery_hurry(d);
    for (size_t i = 0; i < o->count && rc == AW_SUCCESS; i++) {
        size_t len;
        AW_AUTOFREE char *json = o->make(o->arg, i, &len);
        rc = json ? own_record_append(core, o, json, len, &last) : diag_problem(AW_ERR_NOMEM, "", "out of memory");
        first = first ? first : last;
    }
    if (rc == AW_SUCCESS && o->count > 0)
        rc = deliver(d, o, first, last);
    delivery_rest(d);
    return rc;
}

static int open_core(const struct own_record *o, struct logger_core **ret)
{
    struct logger_core *core = core_new(o->diag);
    if (!core)
        return AW_ERR_NOMEM;
    core->own_slot_only = true;
    int rc = settings_load(o->config_path, o->config_text, &core->settings);
    if (core->settings)
        rc = core_build(core, rc, o->slot);
    else if (rc == 0)
        rc = AW_ERR_CONFIG;
    if (rc != 0)
        (void)core_discard(core);
    *ret = core;
    return rc;
}

int own_record_seal(const struct own_record *o)
{
    struct logger_core *core;
    AW_AUTOFREE char *why = NULL;
    size_t count;
    diag_reset();
    int rc = open_core(o, &core);
    if (rc != AW_SUCCESS) {
        if (rc == AW_ERR_BUSY)
            diag_reset();
        return rc;
    }
    rc = seal_all(core, o);
    const struct aw_problem *const *problems = aw_problems(&count);
    if (rc != AW_SUCCESS && count > 0)
        why = strdup(problems[count - 1]->message);
    (void)core_close(core, logger_deadline(CLOSE_MS), NULL); /* what the others lack waits in the journal */
    diag_reset();
    if (rc == AW_SUCCESS || rc == AW_ERR_NOTFOUND)
        return rc;
    return diag_problem(rc, o->sink, "%s", why ? why : aw_error_name(rc));
}

/* ---- sinks that begin late ---- */

static int append_begin(struct logger_core *core, const char *sink, uint64_t seq)
{
    const struct own_record o = {.what = "begin", .undone = "recorded"};
    struct retention_record record = {.sink = (char *)(uintptr_t)sink, .begin = true, .count = 1};
    size_t len;
    uint64_t ignored;
    record.streams[0].stream = core->settings->slot;
    record.streams[0].keep_seq = seq;
    AW_AUTOFREE char *json = retention_event_write(&record, &len);
    return json ? own_record_append(core, &o, json, len, &ignored) : AW_ERR_NOMEM;
}

void own_record_begins(struct logger_core *core)
{
    for (size_t i = 0; i < core->sink_count && core->settings->journal.chained; i++) {
        const char *name;
        uint64_t seq;
        if (!delivery_begins_late(core->sinks[i], &name, &seq))
            continue;
        int rc = append_begin(core, name, seq);
        if (rc != AW_SUCCESS)
            diag_log(&core->diag, AW_LOG_WARNING, name,
                     "is given the events from seq %llu on, and no record of that could be sealed (%s): its trail will "
                     "have to be verified as one that begins in mid-chain",
                     (unsigned long long)seq, aw_error_name(rc));
    }
}
