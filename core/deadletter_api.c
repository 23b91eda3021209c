/* deadletter_api.c - aw_deadletters_*: the dead letters of a configuration. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "base/fs.h"
#include "delivery/replay.h"
#include "journal/examine.h"
#include "logger.h"
#include "replay_record.h"
#include "slots.h"
#include "store.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

#define NAME_MAX_LEN 64u

struct aw_deadletters {
    struct settings *settings;
    struct privacy *privacy;         /* made with the first replay */
    char *config_path, *config_text; /* as given; for the record of a replay */
    struct diag_out diag;
};

int aw_deadletters_open(const struct aw_deadletters_options *options, struct aw_deadletters **ret_letters)
{
    diag_reset();
    if (!options || !ret_letters || options->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_deadletters_open: options or ret_letters is missing");
    struct aw_deadletters_options o = {0};
    memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    struct aw_deadletters *h = calloc(1, sizeof *h);
    if (!h)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    h->diag = (struct diag_out){o.diag, o.diag_arg};
    h->config_path = o.config_path ? strdup(o.config_path) : NULL;
    h->config_text = o.config_text ? strdup(o.config_text) : NULL;
    int rc = (o.config_path && !h->config_path) || (o.config_text && !h->config_text)
                 ? diag_problem(AW_ERR_NOMEM, "", "out of memory")
                 : slots_load(o.config_path, o.config_text, o.slot, &h->settings);
    if (rc != 0) {
        aw_deadletters_close(h);
        return rc;
    }
    *ret_letters = h;
    return AW_SUCCESS;
}

void aw_deadletters_close(struct aw_deadletters *letters)
{
    if (!letters)
        return;
    privacy_destroy(letters->privacy);
    settings_destroy(letters->settings);
    free(letters->config_path);
    free(letters->config_text);
    free(letters);
}

static struct settings_sink *find_sink(const struct aw_deadletters *h, const char *name)
{
    for (size_t i = 0; i < h->settings->sink_count; i++)
        if (strcmp(h->settings->sinks[i].name, name) == 0)
            return &h->settings->sinks[i];
    return NULL;
}

static int io_problem(const struct deadletter *dl, int rc)
{
    if (rc == -ENOMEM)
        return diag_problem(AW_ERR_NOMEM, deadletter_path(dl), "out of memory");
    if (rc == -EWOULDBLOCK)
        return diag_problem(AW_ERR_BUSY, deadletter_path(dl),
                            "another replay or purge is under way, or a writer hangs");
    return diag_problem(AW_ERR_IO, deadletter_path(dl), "%s", strerror(-rc));
}

static bool name_ok(const char *name)
{
    size_t n = strnlen(name, NAME_MAX_LEN + 1);
    return n > 0 && n <= NAME_MAX_LEN && !strchr(name, '/') && name[0] != '.';
}

/* The file of this sink; a sink that neither is configured nor has one does not exist. */
static int open_file(const struct aw_deadletters *h, const char *sink, struct deadletter **ret)
{
    struct stat st;
    if (!sink || !name_ok(sink))
        return diag_problem(AW_ERR_USAGE, "sink", "\"%s\" is no name of a sink", sink ? sink : "");
    int rc = deadletter_create(h->settings->journal.path, sink, &h->diag, ret);
    if (rc < 0)
        return diag_problem(AW_ERR_NOMEM, sink, "out of memory");
    if (find_sink(h, sink) || stat(deadletter_path(*ret), &st) == 0)
        return AW_SUCCESS;
    rc = diag_problem(AW_ERR_NOTFOUND, sink, "is no sink of %s, and there is no file %s",
                      h->settings->source ? h->settings->source : "the configuration", deadletter_path(*ret));
    deadletter_destroy(*ret);
    *ret = NULL;
    return rc;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

struct names {
    char (*list)[NAME_MAX_LEN + 1];
    size_t count, capacity;
};

static int add_name(struct names *n, const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN)
        return 0;
    for (size_t i = 0; i < n->count; i++)
        if (strlen(n->list[i]) == len && memcmp(n->list[i], name, len) == 0)
            return 0;
    if (n->count == n->capacity) {
        size_t capacity = n->capacity ? 2 * n->capacity : 16;
        void *more = realloc(n->list, capacity * sizeof *n->list);
        if (!more)
            return -ENOMEM;
        n->list = more;
        n->capacity = capacity;
    }
    memcpy(n->list[n->count], name, len);
    n->list[n->count++][len] = '\0';
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int collect_names(const struct aw_deadletters *h, struct names *n)
{
    AW_AUTOFREE char *path = NULL;
    int rc = 0;
    for (size_t i = 0; i < h->settings->sink_count && rc == 0; i++)
        rc = add_name(n, h->settings->sinks[i].name, strlen(h->settings->sinks[i].name));
    if (rc == 0 && asprintf(&path, "%s/deadletter", h->settings->journal.path) < 0) {
        path = NULL;
        rc = -ENOMEM;
    }
    DIR *dir = rc == 0 ? opendir(path) : NULL;
    if (rc == 0 && !dir && errno != ENOENT)
        return diag_problem(AW_ERR_IO, path, "cannot be read: %s", strerror(errno));
    for (struct dirent *e; dir && rc == 0 && (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (e->d_name[0] != '.' && len > 6 && strcmp(e->d_name + len - 6, ".jsonl") == 0)
            rc = add_name(n, e->d_name, len - 6);
    }
    if (dir)
        (void)closedir(dir);
    if (rc < 0)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (n->count > 0)
        qsort(n->list, n->count, sizeof *n->list, compare_names);
    return AW_SUCCESS;
}

/* ---- each -------------------------------------------------------------------------------------------------------- */

struct findings {
    const char *path;
    aw_finding_fn fn;
    void *arg;
};

static void pass_finding(void *arg, const struct dl_finding *f)
{
    struct findings *t = arg;
    AW_AUTOFREE char *location = NULL;
    if (asprintf(&location, "%s:%" PRIu64, t->path, f->line) < 0)
        location = NULL;
    const struct aw_finding out = {.struct_size = sizeof out,
                                   .kind = f->kind,
                                   .scope = "",
                                   .location = location ? location : t->path,
                                   .event_id = "",
                                   .expected = "",
                                   .found = "",
                                   .message = f->text};
    if (t->fn)
        t->fn(t->arg, &out);
}

static uint64_t files_set_aside(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    size_t len = strlen(name);
    uint64_t n = 0;
    AW_AUTOFREE char *dir_path = strndup(path, (size_t)(name - path));
    DIR *dir = dir_path ? opendir(dir_path) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        n += strncmp(e->d_name, name, len) == 0 &&
             (strncmp(e->d_name + len, ".damaged-", 9) == 0 || strncmp(e->d_name + len, ".torn-", 6) == 0);
    if (dir)
        (void)closedir(dir);
    return n;
}

static void describe(const struct dl_index *x, struct aw_deadletters_sink *s)
{
    s->purged = x->purged_letters;
    s->bytes = x->size;
    s->findings = x->findings;
    s->unfinished_bytes = x->size - x->good;
    for (size_t i = 0; i < x->count; i++) {
        const struct dl_entry *e = &x->entries[i];
        if (e->type != DL_LETTER)
            continue;
        s->letters++;
        s->replayed += e->replayed;
        if (e->replayed)
            continue;
        uint64_t at = e->time_ns > 0 ? (uint64_t)e->time_ns : 1;
        s->first_seq = s->first_seq == 0 || e->seq < s->first_seq ? e->seq : s->first_seq;
        s->last_seq = e->seq > s->last_seq ? e->seq : s->last_seq;
        s->oldest_ns = s->oldest_ns == 0 || at < s->oldest_ns ? at : s->oldest_ns;
        s->newest_ns = at > s->newest_ns ? at : s->newest_ns;
    }
}

static int one_sink(struct aw_deadletters *h, const char *name, aw_deadletters_sink_fn fn, aw_finding_fn on_finding,
                    void *arg, int *ret_stop)
{
    struct deadletter *dl = NULL;
    struct dl_index x;
    int fd = -1, rc = open_file(h, name, &dl);
    if (rc != AW_SUCCESS)
        return rc;
    struct findings findings = {deadletter_path(dl), on_finding, arg};
    rc = deadletter_look(dl, pass_finding, &findings, &x, &fd);
    if (rc < 0) {
        rc = io_problem(dl, rc);
    } else {
        struct aw_deadletters_sink s = {.struct_size = sizeof s,
                                        .configured = find_sink(h, name) != NULL,
                                        .sink = name,
                                        .path = deadletter_path(dl),
                                        .set_aside = files_set_aside(deadletter_path(dl))};
        describe(&x, &s);
        *ret_stop = fn ? fn(arg, &s) : 0;
    }
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    deadletter_destroy(dl);
    return rc;
}

int aw_deadletters_each(struct aw_deadletters *letters, const char *sink, aw_deadletters_sink_fn fn,
                        aw_finding_fn on_finding, void *arg)
{
    struct names names = {NULL, 0, 0};
    int stop = 0;
    diag_reset();
    if (!letters)
        return diag_problem(AW_ERR_USAGE, "letters", "must not be NULL");
    if (sink)
        return one_sink(letters, sink, fn, on_finding, arg, &stop);
    int rc = collect_names(letters, &names);
    for (size_t i = 0; i < names.count && rc == AW_SUCCESS && !stop; i++)
        rc = one_sink(letters, names.list[i], fn, on_finding, arg, &stop);
    free(names.list);
    return rc;
}

/* ---- read -------------------------------------------------------------------------------------------------------- */

static struct aw_deadletter letter_of(const char *sink, const struct dl_index *x, const struct dl_entry *e)
{
    unsigned flags = (e->replayed ? AW_DEADLETTER_REPLAYED : 0u) | (e->refused_at ? AW_DEADLETTER_REFUSED : 0u) |
                     (e->sound ? 0u : AW_DEADLETTER_DAMAGED);
    uint64_t attempts = e->refused_at ? x->entries[e->refused_at - 1].attempts : e->attempts;
    return (struct aw_deadletter){.struct_size = sizeof(struct aw_deadletter),
                                  .flags = flags,
                                  .sink = sink,
                                  .number = e->number,
                                  .line = e->line,
                                  .seq = e->seq,
                                  .attempts = attempts,
                                  .time = "",
                                  .reason = "",
                                  .json = ""};
}

/* Decoded and NUL-terminated: a reason holds nothing but ASCII and its two escapes. */
static char *copy_text(struct aw_str s)
{
    char *out = malloc(s.len + 1);
    if (out)
        out[event_unescape(s.ptr, s.len, out)] = '\0';
    return out;
}

static int give_letter(const char *sink, int fd, const struct dl_index *x, const struct dl_entry *e,
                       aw_deadletter_fn fn, void *arg, int *ret_stop)
{
    AW_AUTOFREE char *text = NULL;
    AW_AUTOFREE char *refused = NULL;
    AW_AUTOFREE char *reason = NULL;
    struct dl_line line, newest = {.number = 0};
    char time[CLOCK_RFC3339_MAX];
    struct aw_deadletter letter = letter_of(sink, x, e);
    int rc = dl_index_line(fd, e, &text, &line);
    if (rc == 0 && e->refused_at)
        rc = dl_index_line(fd, &x->entries[e->refused_at - 1], &refused, &newest);
    if (rc == 0 && !(reason = copy_text(e->refused_at ? newest.reason : line.reason)))
        rc = -ENOMEM;
    if (rc < 0)
        return rc;
    snprintf(time, sizeof time, "%.*s", (int)line.time.len, line.time.ptr);
    text[(size_t)(line.event.ptr - text) + line.event.len] = '\0'; /* what stands behind it is not needed any more */
    letter.time = time;
    letter.reason = reason;
    letter.json = line.event.ptr;
    letter.json_len = line.event.len;
    *ret_stop = fn(arg, &letter);
    return 0;
}

int aw_deadletters_read(struct aw_deadletters *letters, const char *sink, uint64_t first_seq, uint64_t last_seq,
                        aw_deadletter_fn fn, void *arg)
{
    struct deadletter *dl = NULL;
    struct dl_index x;
    int fd = -1, stop = 0;
    diag_reset();
    if (!letters || !fn)
        return diag_problem(AW_ERR_USAGE, "", "aw_deadletters_read: letters or fn is missing");
    int rc = open_file(letters, sink, &dl);
    if (rc != AW_SUCCESS)
        return rc;
    rc = deadletter_look(dl, NULL, NULL, &x, &fd);
    for (size_t i = 0; i < x.count && rc == 0 && !stop; i++) {
        const struct dl_entry *e = &x.entries[i];
        if (e->type == DL_LETTER && e->seq >= first_seq && (last_seq == 0 || e->seq <= last_seq))
            rc = give_letter(sink, fd, &x, e, fn, arg, &stop);
    }
    if (rc < 0)
        rc = io_problem(dl, rc);
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    deadletter_destroy(dl);
    return rc;
}

/* ---- replay ------------------------------------------------------------------------------------------------------ */

static void pass_outcome(void *arg, const struct dl_entry *e, int outcome, const char *text)
{
    const struct aw_replay_options *o = arg;
    static const struct dl_index none;
    struct dl_entry plain = *e;
    plain.refused_at = 0; /* its line is not looked up here */
    struct aw_deadletter letter = letter_of(o->sink, &none, &plain);
    if (o->fn)
        o->fn(o->arg, &letter, outcome, text);
}

/* A letter is written before the cursor moves over its event. Replayed in between, it would stand in the sink before
 * events that the sink may have lost in a crash, and a sink that is asked where it stands would answer for them all. */
static int settled_seq(const struct aw_deadletters *h, const char *sink, uint64_t *ret)
{
    *ret = 0;
    int rc = journal_read_cursor(h->settings->journal.path, sink, ret);
    if (rc == 0 || rc == -ENOENT || rc == -ENODATA || rc == -EBADMSG)
        return AW_SUCCESS;
    return diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, h->settings->journal.path,
                        "the cursor of sink \"%s\" cannot be read: %s", sink, strerror(-rc));
}

/* Counts the letters that cannot be replayed yet. */
static int count_early(struct deadletter *dl, const struct aw_replay_options *o, uint64_t settled, uint64_t last,
                       struct aw_replay_report *report)
{
    struct dl_index x;
    int fd = -1, rc = deadletter_look(dl, NULL, NULL, &x, &fd);
    uint64_t early = 0;
    for (size_t i = 0; i < x.count && rc == 0; i++)
        early += replay_wants(&x.entries[i], o->first_seq, last) && x.entries[i].seq > settled;
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    report->letters += early;
    report->left += early;
    if (rc < 0)
        return io_problem(dl, rc);
    return early == 0
               ? AW_SUCCESS
               : diag_problem(AW_ERR_BUSY, o->sink,
                              "%" PRIu64 " letter%s cannot be replayed yet: delivery to the sink has come to seq "
                              "%" PRIu64 ", and must pass them first; start auditwell, or wait",
                              early, early == 1 ? "" : "s", settled);
}

static int dry_run(struct deadletter *dl, const struct aw_replay_options *o, uint64_t last,
                   struct aw_replay_report *report)
{
    struct dl_index x;
    int fd = -1, rc = deadletter_look(dl, NULL, NULL, &x, &fd);
    for (size_t i = 0; i < x.count && rc == 0; i++) {
        if (!replay_wants(&x.entries[i], o->first_seq, last))
            continue;
        report->letters++;
        report->left++;
        pass_outcome((void *)(uintptr_t)o, &x.entries[i], AW_REPLAY_WANTED, "");
    }
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    return rc < 0 ? io_problem(dl, rc) : AW_SUCCESS;
}

/* None of them was touched. */
static void count_left(struct deadletter *dl, const struct aw_replay_options *o, uint64_t last,
                       struct aw_replay_report *report)
{
    struct dl_index x;
    int fd = -1, rc = deadletter_look(dl, NULL, NULL, &x, &fd);
    for (size_t i = 0; i < x.count && rc == 0; i++)
        report->letters += replay_wants(&x.entries[i], o->first_seq, last);
    report->left = report->letters;
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
}

static int run_replay(struct aw_deadletters *h, struct settings_sink *s, struct deadletter *dl,
                      const struct aw_replay_options *o, uint64_t last, struct aw_replay_report *report)
{
    const struct plugin *plugin;
    const struct replay_record_options record = {.config_path = h->config_path,
                                                 .config_text = h->config_text,
                                                 .slot = h->settings->slot,
                                                 .sink = s->name,
                                                 .deadletters = dl,
                                                 .diag = h->diag,
                                                 .first_seq = o->first_seq,
                                                 .last_seq = last,
                                                 .deadline_ns = logger_deadline(o->timeout_ms)};
    int rc = deadletter_claim(dl);
    if (rc < 0)
        return io_problem(dl, rc);
    rc = replay_record_seal(&record);
    if (rc != AW_SUCCESS) {
        count_left(dl, o, last, report);
        return rc;
    }
    if (!h->privacy && (rc = privacy_create(h->settings, &h->privacy)) != 0)
        return rc;
    rc = plugin_load(&s->spec, &plugin);
    const struct aw_sink_class *class = rc == 0 ? plugin_sink(plugin, s->plugin) : NULL;
    if (rc == 0 && !class)
        rc = diag_problem(AW_ERR_CONFIG, s->where, "sinks.%s: %s holds no sink \"%s\"", s->name, plugin->path,
                          s->plugin);
    if (rc != 0)
        return rc;
    struct replay_options options = {.name = s->name,
                                     .where = s->where,
                                     .sink = class,
                                     .settings = s->delivery,
                                     .diag = h->diag,
                                     .deadletters = dl,
                                     .pii = s->pii >= SETTINGS_PII_DROP ? h->privacy->pii : NULL,
                                     .pseudonyms = s->pii == SETTINGS_PII_PSEUDONYMIZE ? &h->privacy->key : NULL,
                                     .first_seq = o->first_seq,
                                     .last_seq = last,
                                     .deadline_ns = logger_deadline(o->timeout_ms),
                                     .fn = pass_outcome,
                                     .arg = (void *)(uintptr_t)o};
    rc = slots_sink_config(h->settings, s, class, &options.config);
    return rc != 0 ? rc : replay_run(&options, report);
}

int aw_deadletters_replay(struct aw_deadletters *letters, const struct aw_replay_options *options,
                          struct aw_replay_report *report)
{
    struct deadletter *dl = NULL;
    struct aw_replay_options o = {.timeout_ms = 0};
    struct aw_replay_report r = {.letters = 0};
    diag_reset();
    if (!letters || !options || !report || options->struct_size < sizeof(uint32_t) ||
        report->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_deadletters_replay: letters, options or report is missing");
    memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    if (o.flags & ~AW_REPLAY_DRY_RUN)
        return diag_problem(AW_ERR_USAGE, "flags", "unknown flags 0x%x", o.flags & ~AW_REPLAY_DRY_RUN);
    uint64_t last = o.last_seq ? o.last_seq : UINT64_MAX;
    int rc = open_file(letters, o.sink, &dl);
    struct settings_sink *s = rc == AW_SUCCESS ? find_sink(letters, o.sink) : NULL;
    if (rc == AW_SUCCESS && !s)
        rc = diag_problem(AW_ERR_NOTFOUND, o.sink,
                          "is not in %s any more: without its settings it cannot be replayed into",
                          letters->settings->source ? letters->settings->source : "the configuration");
    uint64_t settled = 0;
    if (rc == AW_SUCCESS)
        rc = settled_seq(letters, o.sink, &settled);
    uint64_t upto = last < settled ? last : settled;
    if (rc == AW_SUCCESS)
        rc = o.flags & AW_REPLAY_DRY_RUN ? dry_run(dl, &o, upto, &r) : run_replay(letters, s, dl, &o, upto, &r);
    if (rc == AW_SUCCESS)
        rc = count_early(dl, &o, settled, last, &r);
    deadletter_destroy(dl);
    r.struct_size = report->struct_size;
    memcpy(report, &r, r.struct_size < sizeof r ? r.struct_size : sizeof r);
    return rc;
}

/* ---- purge ------------------------------------------------------------------------------------------------------- */

static bool chosen_by(const struct aw_purge_options *o, int64_t before_ns, const struct dl_entry *e)
{
    if (e->type != DL_LETTER)
        return false;
    if (o->before)
        return e->time_ns < before_ns;
    return (o->flags & AW_PURGE_ALL) || e->replayed;
}

static void choose(const struct aw_purge_options *o, int64_t before_ns, const struct dl_index *x, bool *chosen,
                   struct aw_purge_report *r)
{
    *r = (struct aw_purge_report){.letters = 0};
    for (size_t i = 0; i < x->count; i++) {
        const struct dl_entry *e = &x->entries[i];
        chosen[i] = chosen_by(o, before_ns, e);
        if (!chosen[i])
            continue;
        r->letters++;
        r->replayed += e->replayed;
        r->first_seq = r->first_seq == 0 || e->seq < r->first_seq ? e->seq : r->first_seq;
        r->last_seq = e->seq > r->last_seq ? e->seq : r->last_seq;
    }
}

/* One look and, unless it is a dry run, the purge. -ESTALE: a letter came in between. */
static int try_purge(struct deadletter *dl, const struct aw_purge_options *o, int64_t before_ns,
                     struct aw_purge_report *r)
{
    struct dl_index x;
    bool dry = o->flags & AW_PURGE_DRY_RUN;
    int fd = -1, rc = dry ? deadletter_look(dl, NULL, NULL, &x, &fd) : deadletter_mend(dl, &x, &fd);
    AW_AUTOFREE bool *chosen = rc == 0 ? calloc(x.count + 1, sizeof *chosen) : NULL;
    if (rc == 0 && !chosen)
        rc = -ENOMEM;
    if (rc == 0)
        choose(o, before_ns, &x, chosen, r);
    if (rc == 0 && !dry && r->letters > 0) {
        AW_AUTOFREE char *what = NULL;
        if (asprintf(&what, "%s%s",
                     o->before                 ? "before "
                     : o->flags & AW_PURGE_ALL ? "all"
                                               : "replayed",
                     o->before ? o->before : "") < 0)
            what = NULL;
        rc = what ? deadletter_purge(dl, &x, chosen, what) : -ENOMEM;
    }
    if (fd >= 0)
        (void)fs_close(fd); /* only read */
    dl_index_free(&x);
    return rc;
}

int aw_deadletters_purge(struct aw_deadletters *letters, const struct aw_purge_options *options,
                         struct aw_purge_report *report)
{
    struct deadletter *dl = NULL;
    struct aw_purge_options o = {0};
    struct aw_purge_report r = {.letters = 0};
    int64_t before_ns = 0;
    const uint32_t kinds = AW_PURGE_REPLAYED | AW_PURGE_ALL;
    diag_reset();
    if (!letters || !options || !report || options->struct_size < sizeof(uint32_t) ||
        report->struct_size < sizeof(uint32_t))
        return diag_problem(AW_ERR_USAGE, "", "aw_deadletters_purge: letters, options or report is missing");
    memcpy(&o, options, options->struct_size < sizeof o ? options->struct_size : sizeof o);
    if ((o.flags & ~(kinds | AW_PURGE_DRY_RUN)) || (o.flags & kinds) == kinds || !(o.flags & kinds) == !o.before)
        return diag_problem(AW_ERR_USAGE, "flags",
                            "exactly one of AW_PURGE_REPLAYED, AW_PURGE_ALL and before is wanted");
    int rc = o.before ? store_parse_time("before", o.before, &before_ns) : AW_SUCCESS;
    if (rc == AW_SUCCESS)
        rc = open_file(letters, o.sink, &dl);
    if (rc == AW_SUCCESS) {
        rc = o.flags & AW_PURGE_DRY_RUN ? 0 : deadletter_claim(dl);
        for (int tries = 0; rc == 0 && (rc = try_purge(dl, &o, before_ns, &r)) == -ESTALE && tries < 20; tries++)
            rc = 0;
        if (rc < 0)
            rc = io_problem(dl, rc);
    }
    deadletter_destroy(dl);
    r.struct_size = report->struct_size;
    memcpy(report, &r, r.struct_size < sizeof r ? r.struct_size : sizeof r);
    return rc;
}
