/* journal_api.c - aw_journal_*: an operator's look at a journal, and a few changes. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "journal/examine.h"
#include "slots.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

struct aw_journal {
    struct settings *settings; /* NULL: by its path */
    char path[PATH_MAX];
    struct diag_out diag;
    char held_by[JOURNAL_CURSOR_NAME_MAX + 1];
};

int aw_journal_open(const struct aw_journal_options *options, struct aw_journal **ret_journal)
{
    struct stat st;
    diag_reset();
    if (!options || !ret_journal || options->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_journal_open: options or ret_journal is missing");
    struct aw_journal_options o = {0};
    memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    struct aw_journal *h = calloc(1, sizeof *h);
    if (!h)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    h->diag = (struct diag_out){o.diag, o.diag_arg};
    int rc = o.path ? AW_SUCCESS : slots_load(o.config_path, o.config_text, o.slot, &h->settings);
    if (rc == AW_SUCCESS) {
        const char *path = o.path ? o.path : h->settings->journal.path;
        int n = snprintf(h->path, sizeof h->path, "%s", path);
        if (n < 0 || (size_t)n >= sizeof h->path)
            rc = diag_problem(AW_ERR_USAGE, path, "the path is too long");
        else if (stat(path, &st) < 0)
            rc = diag_problem(errno == ENOENT ? AW_ERR_NOTFOUND : AW_ERR_IO, path, "there is no journal: %s",
                              strerror(errno));
        else if (!S_ISDIR(st.st_mode))
            rc = diag_problem(AW_ERR_NOTFOUND, path, "is no directory; a journal is one");
    }
    if (rc != AW_SUCCESS) {
        aw_journal_close(h);
        return rc;
    }
    *ret_journal = h;
    return AW_SUCCESS;
}

void aw_journal_close(struct aw_journal *journal)
{
    if (!journal)
        return;
    settings_destroy(journal->settings);
    free(journal);
}

static int code_of(int rc)
{
    return rc == -EWOULDBLOCK ? AW_ERR_BUSY
           : rc == -ENOMEM    ? AW_ERR_NOMEM
           : rc == -ENOENT    ? AW_ERR_NOTFOUND
                              : AW_ERR_IO;
}

static int examine(const struct aw_journal *h, const struct examiner *fn, struct examine_state *state)
{
    int rc = journal_examine(h->path, fn, state);
    return rc < 0 ? diag_problem(code_of(rc), h->path, "cannot be read: %s", strerror(-rc)) : AW_SUCCESS;
}

/* ---- examine ----------------------------------------------------------------------------------------------------- */

static struct aw_journal_segment public_segment(const struct examine_segment *s)
{
    return (struct aw_journal_segment){.struct_size = sizeof(struct aw_journal_segment),
                                       .closed = s->closed,
                                       .file = s->file,
                                       .first_seq = s->first_seq,
                                       .last_seq = s->last_seq,
                                       .events = s->events,
                                       .others = s->others,
                                       .size = s->size,
                                       .used = s->used,
                                       .first_ns = s->first_ns,
                                       .last_ns = s->last_ns};
}

static void pass_segment(void *arg, const struct examine_segment *s)
{
    const struct aw_journal_examiner *e = arg;
    const struct aw_journal_segment out = public_segment(s);
    if (e->on_segment)
        e->on_segment(e->arg, &out);
}

static void pass_finding(void *arg, const struct examine_finding *f)
{
    static const int kinds[] = {
        [EXAMINE_DAMAGED] = AW_JOURNAL_DAMAGED, [EXAMINE_MISSING] = AW_JOURNAL_MISSING,
        [EXAMINE_HEADER] = AW_JOURNAL_HEADER,   [EXAMINE_RING] = AW_JOURNAL_RING,
        [EXAMINE_CURSOR] = AW_JOURNAL_CURSOR,   [EXAMINE_STRANGE] = AW_JOURNAL_STRANGE,
    };
    const struct aw_journal_examiner *e = arg;
    const struct aw_journal_finding out = {.struct_size = sizeof out,
                                           .kind = kinds[f->kind],
                                           .known = f->known,
                                           .file = f->file,
                                           .offset = f->offset,
                                           .length = f->length,
                                           .missing_seqs = f->seqs,
                                           .message = f->text};
    if (e->on_finding)
        e->on_finding(e->arg, &out);
}

static void fill_state(const struct aw_journal *h, const struct examine_state *s, struct aw_journal_state *ret)
{
    const struct ring_facts *ring = &s->ring_facts;
    struct aw_journal_state out = {
        .struct_size = ret->struct_size,
        .closed = s->closed && s->ring_events == 0 && s->live_pid == 0,
        .path = h->path,
        .live_pid = s->live_pid,
        .segments = s->segments,
        .bytes = s->bytes,
        .oldest_seq = s->oldest,
        .newest_seq = s->newest,
        .events = s->events,
        .ring = s->ring == 0         ? 1
                : s->ring == -ENOENT ? 0
                                     : -1,
        .ring_trusted = s->same_boot,
        .ring_events = s->ring_events,
        .scopes = s->scopes,
        .snapshots = s->snapshots,
        .notes = s->notes,
        .lost_total = s->lost_ever,
        .missing = s->missing,
        .known_missing = s->known_missing,
        .quarantine_files = s->quarantine_files,
        .quarantine_bytes = s->quarantine_bytes,
        .findings = s->findings,
        .known = s->known,
    };
    if (s->have_identity)
        hash_hex(s->identity.id, sizeof s->identity.id, out.id);
    if (s->ring == 0) {
        out.ring_size = ring->size;
        out.ring_used = ring->head > ring->tail ? ring->head - ring->tail : 0;
        out.ring_head_seq = ring->head_seq;
    }
    memcpy(ret, &out, ret->struct_size < sizeof out ? ret->struct_size : sizeof out);
}

int aw_journal_examine(struct aw_journal *journal, const struct aw_journal_examiner *examiner,
                       struct aw_journal_state *state)
{
    struct aw_journal_examiner e = {0};
    struct examine_state s;
    diag_reset();
    if (!journal || !state || state->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_journal_examine: journal or state is missing");
    if (examiner)
        memcpy(&e, examiner, examiner->struct_size < sizeof e ? examiner->struct_size : sizeof e);
    const struct examiner fn = {.segment = pass_segment, .finding = pass_finding, .arg = &e};
    int rc = examine(journal, &fn, &s);
    if (rc == AW_SUCCESS)
        fill_state(journal, &s, state);
    return rc;
}

/* ---- one record -------------------------------------------------------------------------------------------------- */

struct search {
    uint64_t seq, found;
    void (*fn)(void *arg, const struct aw_journal_record *record);
    void *arg;
    bool nomem;
};

static void take_record(void *arg, const char *file, uint64_t offset, const struct record_view *v)
{
    struct search *s = arg;
    if (v->head->kind != RECORD_KIND_EVENT || v->head->seq != s->seq)
        return;
    AW_AUTOFREE char *json = malloc(record_json_size(v) + 1);
    AW_AUTOFREE char *scope = malloc((size_t)v->head->json_len + 17);
    if (!json || !scope) {
        s->nomem = true;
        return;
    }
    const struct {
        unsigned record, flag;
    } flags[] = {{RECORD_FIRST, AW_RECORD_FIRST},
                 {RECORD_UNCHAINED, AW_RECORD_UNCHAINED},
                 {RECORD_METADATA_TRUNCATED, AW_RECORD_METADATA_TRUNCATED},
                 {RECORD_DIFF_TRUNCATED, AW_RECORD_DIFF_TRUNCATED}};
    struct aw_journal_record out = {.struct_size = sizeof out,
                                    .file = file,
                                    .offset = offset,
                                    .length = v->head->total_len,
                                    .seq = v->head->seq,
                                    .sealed_ns = v->head->sealed_ns,
                                    .occurred_ns = v->head->occurred_ns,
                                    .fields = v->head->field_count,
                                    .scope = scope,
                                    .json = json,
                                    .json_len = record_render_json(v, json)};
    for (size_t i = 0; i < AW_ARRAY_LEN(flags); i++)
        out.flags |= v->head->flags & flags[i].record ? flags[i].flag : 0;
    json[out.json_len] = '\0';
    scope[record_scope(v, scope)] = '\0';
    s->found++;
    s->fn(s->arg, &out);
}

int aw_journal_record(struct aw_journal *journal, uint64_t seq,
                      void (*fn)(void *arg, const struct aw_journal_record *record), void *arg)
{
    struct search search = {.seq = seq, .fn = fn, .arg = arg};
    const struct examiner e = {.record = take_record, .arg = &search};
    struct examine_state s;
    diag_reset();
    if (!journal || !fn)
        return diag_problem(AW_ERR_USAGE, "", "aw_journal_record: journal or fn is missing");
    int rc = examine(journal, &e, &s);
    if (rc == AW_SUCCESS && search.nomem)
        rc = diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (rc == AW_SUCCESS && search.found == 0)
        rc = diag_problem(AW_ERR_NOTFOUND, journal->path, "there is no record of event %" PRIu64, seq);
    return rc;
}

/* ---- cursors ----------------------------------------------------------------------------------------------------- */

static bool has_sink(const struct aw_journal *h, const char *name)
{
    for (size_t i = 0; h->settings && i < h->settings->sink_count; i++)
        if (strcmp(h->settings->sinks[i].name, name) == 0)
            return true;
    return false;
}

static uint64_t newest_of(const struct examine_state *s)
{
    uint64_t ring = s->ring == 0 ? s->ring_facts.head_seq : 0;
    return ring > s->newest ? ring : s->newest;
}

static int read_cursors(const struct aw_journal *h, const struct examine_state *s, struct examine_cursor **ret,
                        size_t *ret_count)
{
    int rc = journal_examine_cursors(h->path, s, ret, ret_count);
    return rc < 0 ? diag_problem(code_of(rc), h->path, "the cursors cannot be read: %s", strerror(-rc)) : AW_SUCCESS;
}

int aw_journal_cursors(struct aw_journal *journal, void (*fn)(void *arg, const struct aw_journal_cursor *cursor),
                       void *arg)
{
    static const struct examiner nobody;
    struct examine_state s;
    struct examine_cursor *list = NULL;
    size_t n = 0;
    diag_reset();
    if (!journal || !fn)
        return diag_problem(AW_ERR_USAGE, "", "aw_journal_cursors: journal or fn is missing");
    int rc = examine(journal, &nobody, &s);
    if (rc == AW_SUCCESS)
        rc = read_cursors(journal, &s, &list, &n);
    for (size_t i = 0; i < n; i++) {
        uint64_t seq = list[i].rc == 0 ? list[i].seq : s.oldest ? s.oldest - 1 : 0, newest = newest_of(&s);
        const struct aw_journal_cursor c = {.struct_size = sizeof c,
                                            .owner = !journal->settings                ? AW_CURSOR_UNKNOWN
                                                     : has_sink(journal, list[i].name) ? AW_CURSOR_SINK
                                                                                       : AW_CURSOR_ORPHAN,
                                            .name = list[i].name,
                                            .seq = seq,
                                            .lag = newest > seq ? newest - seq : 0,
                                            .damaged = list[i].rc != 0 && list[i].rc != -ENODATA};
        fn(arg, &c);
    }
    free(list);
    return rc;
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

/* Recovery, as at any start; but no threads, and nothing is trimmed. */
static int open_offline(struct aw_journal *h, struct journal **ret)
{
    struct journal_options options = {.max_size = 1ull << 50, .chained = true};
    struct examine_state s;
    static const struct examiner nobody;
    if (h->settings) {
        options = h->settings->journal;
    } else {
        int rc = examine(h, &nobody, &s);
        if (rc != AW_SUCCESS)
            return rc;
        if (s.ring == 0)
            options.ring_size = s.ring_facts.size; /* the ring that is there goes on */
    }
    options.path = h->path;
    options.offline = true;
    options.diag = h->diag;
    int rc = journal_open(&options, ret);
    return rc < 0 ? code_of(rc) : AW_SUCCESS;
}

static int close_offline(struct aw_journal *h, struct journal *j, int before)
{
    int rc = journal_close(j);
    if (rc < 0 && before == AW_SUCCESS)
        return diag_problem(code_of(rc), h->path, "the journal could not be synced while closing: %s", strerror(-rc));
    return before;
}

int aw_journal_repair(struct aw_journal *journal)
{
    struct journal *j = NULL;
    diag_reset();
    if (!journal)
        return diag_problem(AW_ERR_USAGE, "journal", "must not be NULL");
    int rc = open_offline(journal, &j);
    return rc == AW_SUCCESS ? close_offline(journal, j, rc) : rc;
}

int aw_journal_release(struct aw_journal *journal, const char *cursor, int force, uint64_t *ret_owed)
{
    struct journal *j = NULL;
    uint64_t owed = 0;
    diag_reset();
    if (!journal || !cursor)
        return diag_problem(AW_ERR_USAGE, "", "aw_journal_release: journal or cursor is missing");
    if (has_sink(journal, cursor))
        return diag_problem(AW_ERR_USAGE, cursor,
                            "is a sink of %s: its cursor is in use; take the sink out of the configuration first",
                            journal->settings->source ? journal->settings->source : "the configuration");
    int rc = open_offline(journal, &j);
    if (rc != AW_SUCCESS)
        return rc;
    int done = journal_cursor_release(j, cursor, force, &owed);
    if (done == -ENOENT)
        rc = diag_problem(AW_ERR_NOTFOUND, journal->path, "has no cursor \"%s\"", cursor);
    else if (done == -EBUSY)
        rc = diag_problem(AW_ERR_USAGE, cursor, "%" PRIu64 " events were never delivered to it; force is needed", owed);
    else if (done < 0)
        rc = diag_problem(code_of(done), journal->path, "cursor \"%s\" cannot be moved away: %s", cursor,
                          strerror(-done));
    if (ret_owed)
        *ret_owed = owed;
    return close_offline(journal, j, rc);
}

/* ---- trim -------------------------------------------------------------------------------------------------------- */

struct plan {
    struct examine_segment *list;
    size_t count, capacity;
    bool nomem;
};

static void plan_segment(void *arg, const struct examine_segment *s)
{
    struct plan *p = arg;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 64;
        struct examine_segment *more = realloc(p->list, capacity * sizeof *more);
        if (!more) {
            p->nomem = true;
            return;
        }
        p->list = more;
        p->capacity = capacity;
    }
    p->list[p->count++] = *s;
}

/* The cursor that is furthest behind. false: there is none, and then nothing goes. */
static bool furthest_behind(struct aw_journal *h, const struct examine_state *s, uint64_t *ret_seq, int *ret_rc)
{
    struct examine_cursor *list = NULL;
    size_t n = 0;
    *ret_seq = UINT64_MAX;
    h->held_by[0] = '\0';
    *ret_rc = read_cursors(h, s, &list, &n);
    for (size_t i = 0; i < n; i++) {
        uint64_t seq = list[i].rc == 0 ? list[i].seq : 0;
        if (seq >= *ret_seq)
            continue;
        *ret_seq = seq;
        memcpy(h->held_by, list[i].name, sizeof h->held_by);
    }
    free(list);
    return n > 0 && *ret_rc == AW_SUCCESS;
}

/* How many of the oldest segments may go: keeper.c's rules, on what was read. */
static int make_plan(struct aw_journal *h, struct plan *p, struct aw_trim_report *r, size_t *ret_goes)
{
    const struct examiner e = {.segment = plan_segment, .arg = p};
    struct examine_state s;
    uint64_t lowest;
    int rc = examine(h, &e, &s);
    *ret_goes = 0;
    if (rc == AW_SUCCESS && p->nomem)
        rc = diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (rc != AW_SUCCESS || !furthest_behind(h, &s, &lowest, &rc))
        return rc;
    r->held_seq = lowest;
    for (size_t i = 0; i < p->count; i++) {
        const struct examine_segment *g = &p->list[i];
        uint64_t last = g->events ? g->last_seq : g->named - 1;
        if (last > lowest || !s.may_trim || segment_compare(g->named, g->number, s.trim_below, s.trim_number) >= 0)
            break;
        ++*ret_goes;
    }
    return AW_SUCCESS;
}

static bool is_gone(const struct aw_journal *h, const char *file)
{
    struct stat st;
    AW_AUTOFREE char *path = NULL;
    if (asprintf(&path, "%s/%s", h->path, file) < 0) {
        path = NULL;
        return false;
    }
    return lstat(path, &st) < 0 && errno == ENOENT;
}

int aw_journal_trim(struct aw_journal *journal, uint32_t flags,
                    void (*on_segment)(void *arg, const struct aw_journal_segment *segment), void *arg,
                    struct aw_trim_report *report)
{
    struct plan p = {NULL, 0, 0, false};
    struct aw_trim_report r = {.segments = 0};
    struct journal *j = NULL;
    size_t goes = 0;
    diag_reset();
    if (!journal || !report || report->struct_size < sizeof(uint32_t) || (flags & ~AW_TRIM_DRY_RUN))
        return diag_problem(AW_ERR_USAGE, "", "aw_journal_trim: journal or report is missing, or a flag is unknown");
    bool dry = flags & AW_TRIM_DRY_RUN;
    int rc = dry ? AW_SUCCESS : open_offline(journal, &j);
    if (rc == AW_SUCCESS)
        rc = make_plan(journal, &p, &r, &goes);
    if (j) {
        if (rc == AW_SUCCESS)
            journal_trim(j);
        rc = close_offline(journal, j, rc);
    }
    /* What is told is what happened: the plan is only the list of names to look for. */
    for (size_t i = 0; i < p.count && rc == AW_SUCCESS; i++) {
        if (dry ? i >= goes : !is_gone(journal, p.list[i].file))
            continue;
        const struct aw_journal_segment s = public_segment(&p.list[i]);
        r.segments++;
        r.bytes += s.size;
        if (on_segment)
            on_segment(arg, &s);
    }
    free(p.list);
    r.struct_size = report->struct_size;
    r.held_by = journal->held_by;
    memcpy(report, &r, r.struct_size < sizeof r ? r.struct_size : sizeof r);
    return rc;
}
