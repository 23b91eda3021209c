/* journal.c - auditwell journal: inspect, fsck, cursors and trim.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

struct job {
    struct cli_args *args;
    struct aw_journal *journal;
    struct text t;
    uint64_t shown, findings, known;
    int code; /* of what callbacks met */
};

static void json_text(struct text *t, const char *name, const char *value)
{
    text_printf(t, ",\"%s\":", name);
    text_json(t, value, strlen(value));
}

static void safe(struct text *t, const char *s)
{
    (void)text_safe(t, s, strlen(s), out_ascii(), 0);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* "2026-01-02T03:04:05Z"; "-" for none. */
static void put_time(struct text *t, uint64_t ns)
{
    char text[32] = "-";
    time_t seconds = (time_t)(ns / 1000000000u);
    struct tm tm;
    if (ns && gmtime_r(&seconds, &tm))
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    text_printf(t, "%-20s", text);
}

static void put_text(struct job *job)
{
    out_text(&job->t);
    text_reset(&job->t);
}

/* ---- inspect ---- */
static void segment_json(struct text *t, const struct aw_journal_segment *s, bool first)
{
    text_puts(t, first ? "{\"file\":" : ",{\"file\":");
    text_json(t, s->file, strlen(s->file));
    text_printf(t,
                ",\"firstSeq\":%" PRIu64 ",\"lastSeq\":%" PRIu64 ",\"events\":%" PRIu64 ",\"others\":%" PRIu64
                ",\"size\":%" PRIu64 ",\"used\":%" PRIu64 ",\"firstTime\":%" PRIu64 ",\"lastTime\":%" PRIu64
                ",\"closed\":%s}",
                s->first_seq, s->last_seq, s->events, s->others, s->size, s->used, s->first_ns / 1000000000u,
                s->last_ns / 1000000000u, s->closed ? "true" : "false");
}

static void on_segment(void *arg, const struct aw_journal_segment *s)
{
    struct job *job = arg;
    struct text *t = &job->t;
    char seqs[48] = "-";
    if (job->args->json) {
        segment_json(t, s, job->shown == 0);
    } else {
        if (job->shown == 0)
            text_puts(t, "SEGMENT                           EVENTS        BYTES  FIRST                LAST"
                         "                 SEQS\n");
        if (s->events)
            (void)snprintf(seqs, sizeof seqs, "%" PRIu64 "-%" PRIu64, s->first_seq, s->last_seq);
        text_printf(t, "%-28s %11" PRIu64 " %12" PRIu64 "  ", s->file, s->events, s->used);
        put_time(t, s->first_ns);
        text_puts(t, " ");
        put_time(t, s->last_ns);
        text_printf(t, " %s%s\n", seqs, s->closed ? "  closed" : "");
    }
    job->shown++;
    put_text(job);
}

static const char *ring_word(const struct aw_journal_state *s)
{
    return s->ring < 0       ? "damaged"
           : s->ring == 0    ? "none"
           : s->ring_trusted ? "trusted"
                             : "of an earlier start of the system";
}

static const char *end_word(const struct aw_journal_state *s)
{
    return s->live_pid                     ? "open"
           : s->closed                     ? "closed"
           : s->segments || s->ring_events ? "not closed in order"
                                           : "empty";
}

static void state_json(struct text *t, const struct aw_journal_state *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {{"livePid", s->live_pid},
                   {"segmentCount", s->segments},
                   {"bytes", s->bytes},
                   {"events", s->events},
                   {"oldestSeq", s->oldest_seq},
                   {"newestSeq", s->newest_seq},
                   {"ringSize", s->ring_size},
                   {"ringUsed", s->ring_used},
                   {"ringHeadSeq", s->ring_head_seq},
                   {"ringEvents", s->ring_events},
                   {"scopes", s->scopes},
                   {"snapshots", s->snapshots},
                   {"notes", s->notes},
                   {"lost", s->lost_total},
                   {"missing", s->missing},
                   {"knownMissing", s->known_missing},
                   {"quarantineFiles", s->quarantine_files},
                   {"quarantineBytes", s->quarantine_bytes},
                   {"findingCount", s->findings},
                   {"knownCount", s->known}};
    json_text(t, "path", s->path);
    json_text(t, "id", s->id);
    json_text(t, "state", end_word(s));
    json_text(t, "ring", ring_word(s));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        text_printf(t, ",\"%s\":%" PRIu64, figures[i].name, figures[i].value);
}

static void state_text(struct text *t, const struct aw_journal_state *s)
{
    text_puts(t, "\njournal      ");
    safe(t, s->path);
    text_printf(t, "\nid           %s\nstate        %s", s->id[0] ? s->id : "unknown", end_word(s));
    if (s->live_pid)
        text_printf(t, " (process %" PRIu64 "; what follows may change)", s->live_pid);
    text_printf(t, "\nevents       %" PRIu64 " in %" PRIu64 " segment%s, %" PRIu64 " bytes", s->events, s->segments,
                plural(s->segments), s->bytes);
    if (s->newest_seq)
        text_printf(t, ", seq %" PRIu64 " to %" PRIu64, s->oldest_seq, s->newest_seq);
    text_printf(t, "\nring         %s", ring_word(s));
    if (s->ring > 0)
        text_printf(
            t, ", %" PRIu64 " of %" PRIu64 " bytes used, %" PRIu64 " event%s not in a segment yet, newest seq %" PRIu64,
            s->ring_used, s->ring_size, s->ring_events, plural(s->ring_events), s->ring_head_seq);
    text_printf(t, "\nchains       %" PRIu64 ", %" PRIu64 " snapshot%s of their heads\nnotes        %" PRIu64,
                s->scopes, s->snapshots, plural(s->snapshots), s->notes);
    text_printf(t, "\nlost         %" PRIu64 " event%s ever\nquarantine   %" PRIu64 " file%s, %" PRIu64 " bytes\n",
                s->lost_total, plural(s->lost_total), s->quarantine_files, plural(s->quarantine_files),
                s->quarantine_bytes);
    if (s->findings)
        text_printf(t, "findings     %" PRIu64 ": 'auditwell journal fsck' prints them\n", s->findings);
}

static int inspect_all(struct job *job)
{
    struct aw_journal_state state = {.struct_size = sizeof state};
    const struct aw_journal_examiner e = {.struct_size = sizeof e, .on_segment = on_segment, .arg = job};
    if (job->args->json)
        fputs("{\"segments\":[", stdout);
    int r = aw_journal_examine(job->journal, &e, &state);
    if (r != AW_SUCCESS)
        return out_failure("journal", r);
    text_reset(&job->t);
    if (job->args->json) {
        text_puts(&job->t, "]");
        state_json(&job->t, &state);
        text_puts(&job->t, "}\n");
    } else {
        state_text(&job->t, &state);
    }
    put_text(job);
    return state.findings ? EXIT_FINDINGS : EXIT_GOOD;
}

static void on_record(void *arg, const struct aw_journal_record *r)
{
    static const char *const names[] = {"first", "unchained", "metadata truncated", "diff truncated"};
    struct job *job = arg;
    struct text *t = &job->t;
    bool json = job->args->json;
    text_puts(t, json ? "{\"file\":" : "file       ");
    if (json)
        text_json(t, r->file, strlen(r->file));
    else
        safe(t, r->file);
    text_printf(t,
                json ? ",\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"seq\":%" PRIu64 ",\"sealedNs\":%" PRIu64
                       ",\"occurredNs\":%" PRId64 ",\"fields\":%" PRIu32
                     : "\noffset     %" PRIu64 "\nlength     %" PRIu64 "\nseq        %" PRIu64 "\nsealed     %" PRIu64
                       " ns\noccurred   %" PRId64 " ns\nfields     %" PRIu32,
                r->offset, r->length, r->seq, r->sealed_ns, r->occurred_ns, r->fields);
    text_puts(t, json ? ",\"flags\":[" : "\nflags      ");
    for (size_t i = 0, any = 0; i < sizeof names / sizeof names[0]; i++)
        if (r->flags & (1u << i))
            text_printf(t, json ? "%s\"%s\"" : "%s%s", any++ ? json ? "," : ", " : "", names[i]);
    text_puts(t, json ? "],\"scope\":" : "\nscope      ");
    if (json)
        text_json(t, r->scope, strlen(r->scope));
    else
        safe(t, r->scope);
    text_puts(t, json ? ",\"event\":" : "\n");
    if (json && !out_terminal())
        text_add(t, r->json, r->json_len);
    else
        text_json_safe(t, r->json, r->json_len);
    text_puts(t, json ? "}\n" : "\n");
    put_text(job);
}

static int inspect(struct job *job)
{
    uint64_t seq = 0, last = 0;
    if (job->args->word_count < 2)
        return inspect_all(job);
    int code = cli_seqs(job->args, job->args->words[1], &seq, &last);
    if (code != 0)
        return code;
    if (seq != last)
        return cli_usage(job->args, "inspect: one sequence number at a time");
    int r = aw_journal_record(job->journal, seq, on_record, job);
    return r == AW_SUCCESS ? EXIT_GOOD : out_failure("journal", r);
}

/* ---- fsck ---- */
static const char *kind_name(int kind)
{
    switch (kind) {
    case AW_JOURNAL_DAMAGED:
        return "damaged";
    case AW_JOURNAL_MISSING:
        return "missing";
    case AW_JOURNAL_HEADER:
        return "header";
    case AW_JOURNAL_RING:
        return "ring";
    case AW_JOURNAL_CURSOR:
        return "cursor";
    default:
        return "strange";
    }
}

static void on_finding(void *arg, const struct aw_journal_finding *f)
{
    struct job *job = arg;
    struct text *t = &job->t;
    if (job->args->json) {
        text_puts(t, job->shown ? ",{\"kind\":" : "{\"kind\":");
        text_printf(t, "\"%s\",\"known\":%s", kind_name(f->kind), f->known ? "true" : "false");
        json_text(t, "file", f->file);
        text_printf(t, ",\"offset\":%" PRIu64 ",\"length\":%" PRIu64, f->offset, f->length);
        json_text(t, "missingSeqs", f->missing_seqs);
        json_text(t, "message", f->message);
        text_puts(t, "}");
    } else {
        text_printf(t, "%s%s: ", f->known ? "known: " : "", kind_name(f->kind));
        safe(t, f->file[0] ? f->file : "journal");
        if (f->length)
            text_printf(t, ": offset %" PRIu64 ", length %" PRIu64, f->offset, f->length);
        text_puts(t, ": ");
        safe(t, f->message);
        if (f->missing_seqs[0]) {
            text_puts(t, "; missing: seq ");
            safe(t, f->missing_seqs);
        }
        text_puts(t, "\n");
    }
    job->shown++;
    put_text(job);
}

static int check(struct job *job, struct aw_journal_state *state)
{
    const struct aw_journal_examiner e = {.struct_size = sizeof e, .on_finding = on_finding, .arg = job};
    job->shown = 0;
    return aw_journal_examine(job->journal, &e, state);
}

static void fsck_verdict(struct job *job, const struct aw_journal_state *s, bool repaired)
{
    struct text *t = &job->t;
    if (job->args->json) {
        text_printf(t, "],\"repaired\":%s,\"verdict\":\"%s\"", repaired ? "true" : "false",
                    s->findings ? "findings" : "good");
        state_json(t, s);
        text_puts(t, "}\n");
    } else {
        safe(t, s->path);
        text_printf(t, ": %s: %" PRIu64 " finding%s", s->findings ? "FINDINGS" : "good", s->findings,
                    plural(s->findings));
        if (s->known)
            text_printf(t, ", %" PRIu64 " known from before", s->known);
        text_printf(t, "; %" PRIu64 " events in %" PRIu64 " segment%s", s->events + s->ring_events, s->segments,
                    plural(s->segments));
        if (s->live_pid)
            text_printf(t, "; process %" PRIu64 " has it open: what it is writing was not judged", s->live_pid);
        text_puts(t, "\n");
    }
    put_text(job);
}

static int fsck(struct job *job)
{
    struct aw_journal_state state = {.struct_size = sizeof state};
    bool repair = cli_has(job->args, OPT_REPAIR), json = job->args->json;
    if (json)
        fputs("{\"findings\":[", stdout);
    int r = check(job, &state);
    bool needed = r == AW_SUCCESS && repair && (state.findings || !state.closed);
    if (needed) {
        r = aw_journal_repair(job->journal);
        if (r == AW_SUCCESS) {
            if (!json)
                puts("repaired; what is left:");
            else
                fputs("],\"left\":[", stdout);
            r = check(job, &state);
        }
    }
    if (r != AW_SUCCESS) {
        (void)out_failure("journal", r);
        return EXIT_UNREADABLE;
    }
    fsck_verdict(job, &state, needed);
    return state.findings ? EXIT_FINDINGS : EXIT_GOOD;
}

/* ---- cursors ---- */
static void on_cursor(void *arg, const struct aw_journal_cursor *c)
{
    static const char *const owners[] = {"unknown", "sink", "orphan"};
    struct job *job = arg;
    struct text *t = &job->t;
    if (job->args->json) {
        text_puts(t, job->shown ? ",{\"name\":" : "{\"name\":");
        text_json(t, c->name, strlen(c->name));
        json_text(t, "owner", owners[c->owner]);
        text_printf(t, ",\"seq\":%" PRIu64 ",\"lag\":%" PRIu64 ",\"damaged\":%s}", c->seq, c->lag,
                    c->damaged ? "true" : "false");
    } else {
        if (job->shown == 0)
            text_puts(t, "CURSOR                    POSITION          LAG  OWNER\n");
        size_t width = text_safe(t, c->name, strlen(c->name), out_ascii(), 0);
        text_printf(t, "%*s%12" PRIu64 " %12" PRIu64 "  %s%s\n", width < 20 ? (int)(22 - width) : 2, "", c->seq, c->lag,
                    c->owner == AW_CURSOR_ORPHAN ? "orphan: no such sink; it holds back trimming" : owners[c->owner],
                    c->damaged ? "  DAMAGED" : "");
    }
    if (c->owner == AW_CURSOR_ORPHAN || c->damaged)
        job->code = EXIT_FINDINGS;
    job->shown++;
    put_text(job);
}

static int release(struct job *job, const char *name)
{
    uint64_t owed = 0;
    int r = aw_journal_release(job->journal, name, cli_has(job->args, OPT_FORCE), &owed);
    if (r == AW_ERR_USAGE && owed > 0) {
        out_error("%s: %" PRIu64 " event%s never delivered to it, and will be to no sink of that name; nothing was "
                  "released: give --force to do it",
                  name, owed, owed == 1 ? " was" : "s were");
        return EXIT_FINDINGS;
    }
    if (r != AW_SUCCESS)
        return out_failure("journal", r);
    if (job->args->json) {
        text_puts(&job->t, "{\"released\":");
        text_json(&job->t, name, strlen(name));
        text_printf(&job->t, ",\"owed\":%" PRIu64 "}\n", owed);
    } else {
        safe(&job->t, name);
        text_printf(&job->t, ": released; it still owed %" PRIu64 " event%s; its file is in quarantine/\n", owed,
                    plural(owed));
    }
    put_text(job);
    return EXIT_GOOD;
}

static int cursors(struct job *job)
{
    const char *name = cli_value(job->args, OPT_RELEASE);
    if (name)
        return release(job, name);
    if (job->args->json)
        fputs("{\"cursors\":[", stdout);
    int r = aw_journal_cursors(job->journal, on_cursor, job);
    if (r != AW_SUCCESS)
        return out_failure("journal", r);
    if (job->args->json)
        fputs("]}\n", stdout);
    else if (job->shown == 0)
        puts("no cursor");
    return job->code;
}

/* ---- trim ---- */
static int trim(struct job *job)
{
    bool force = cli_has(job->args, OPT_FORCE);
    struct aw_trim_report r = {.struct_size = sizeof r};
    if (job->args->json)
        fputs("{\"segments\":[", stdout);
    int code = aw_journal_trim(job->journal, force ? 0 : AW_TRIM_DRY_RUN, on_segment, job, &r);
    if (code != AW_SUCCESS) {
        (void)out_failure("journal", code);
        return EXIT_UNREADABLE;
    }
    struct text *t = &job->t;
    if (job->args->json) {
        text_printf(t, "],\"dryRun\":%s,\"count\":%" PRIu64 ",\"bytes\":%" PRIu64, force ? "false" : "true", r.segments,
                    r.bytes);
        json_text(t, "heldBy", r.held_by);
        text_printf(t, ",\"heldSeq\":%" PRIu64 "}\n", r.held_seq);
    } else {
        text_printf(t, "%s %" PRIu64 " segment%s, %" PRIu64 " bytes", force ? "removed" : "would remove", r.segments,
                    plural(r.segments), r.bytes);
        if (r.held_by[0]) {
            text_puts(t, "; furthest behind is cursor ");
            safe(t, r.held_by);
            text_printf(t, " at seq %" PRIu64, r.held_seq);
        } else {
            text_puts(t, "; there is no cursor, and without one nothing goes");
        }
        text_puts(t, force || r.segments == 0 ? "\n" : "; --force does it\n");
    }
    put_text(job);
    return EXIT_GOOD;
}

/* ---- all of them ---- */
int cmd_journal(struct cli_args *args)
{
    static const struct {
        const char *word;
        int (*run)(struct job *);
    } verbs[] = {{"inspect", inspect}, {"fsck", fsck}, {"cursors", cursors}, {"trim", trim}};
    struct job job = {.args = args};
    const struct aw_journal_options options = {.struct_size = sizeof options,
                                               .config_path = args->config,
                                               .path = cli_value(args, OPT_PATH),
                                               .diag = out_diag,
                                               .slot = args->slot};
    const char *word = args->word_count ? args->words[0] : "";
    size_t i = 0;
    while (i < sizeof verbs / sizeof verbs[0] && strcmp(word, verbs[i].word) != 0)
        i++;
    if (i == sizeof verbs / sizeof verbs[0] || args->word_count > (i == 0 ? 2u : 1u))
        return cli_usage(args, "one of inspect, fsck, cursors and trim is needed");
    if ((args->config || args->slot_given) && options.path)
        return cli_usage(args, "--path excludes --config and --slot");
    int r = aw_journal_open(&options, &job.journal);
    if (r != AW_SUCCESS) {
        (void)out_failure("journal", r);
        return EXIT_UNREADABLE;
    }
    (void)out_problems("auditwell: "); /* warnings */
    int code = verbs[i].run(&job);
    aw_journal_close(job.journal);
    text_free(&job.t);
    return code;
}
