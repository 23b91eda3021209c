/* metrics_api.c - aw_metrics_*(): snapshots of a logger's figures, and of another process'.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "logger.h"
#include "slots.h"

#include <stdio.h>

struct aw_metrics {
    struct metrics_snapshot *snapshot;
    char *text; /* made when asked for */
    size_t text_len;
};

static int wrap(struct metrics_snapshot *snapshot, struct aw_metrics **ret)
{
    struct aw_metrics *m = calloc(1, sizeof *m);
    if (!m) {
        metrics_snapshot_free(snapshot);
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    }
    m->snapshot = snapshot;
    *ret = m;
    return AW_SUCCESS;
}

int aw_metrics_take(struct aw_logger *logger, struct aw_metrics **ret_metrics)
{
    diag_reset();
    if (!ret_metrics)
        return diag_problem(AW_ERR_USAGE, "ret_metrics", "must not be NULL");
    struct logger_core *core;
    int rc = logger_readable(logger, &core);
    if (rc != 0)
        return rc;
    struct metrics_snapshot *s;
    if (core->journal)
        journal_publish(core->journal);
    if (metrics_snapshot_live(core->metrics, &s) < 0)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    if (core->journal)
        s->moment.head = journal_head(core->journal);
    return wrap(s, ret_metrics);
}

static int open_directory(const char *directory, struct metrics_snapshot **ret)
{
    AW_AUTOFREE char *path = NULL;
    const char *why;
    uint8_t boot_id[16];
    uint64_t head;
    if (asprintf(&path, "%s/" METRICS_NAME, directory) < 0) {
        path = NULL;
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    }
    journal_boot_id(boot_id);
    int rc = metrics_snapshot_file(path, boot_id, ret, &why);
    switch (rc) {
    case 0:
        break;
    case -ENOENT:
    case -ENOTDIR:
        return diag_problem(AW_ERR_NOTFOUND, path, "is not there: no process has kept its figures there");
    case -ENOMEM:
        return diag_problem(AW_ERR_NOMEM, path, "out of memory");
    case -EBADMSG:
        return diag_problem(AW_ERR_IO, path,
                            "holds no figures that can be used: %s; the next process that opens the "
                            "journal makes it anew",
                            why);
    default:
        return diag_problem(AW_ERR_IO, path, "cannot be read: %s", strerror(-rc));
    }
    /* The callers' progress; the journal's own threads may be behind it. */
    if (journal_peek_head(directory, &head) == 0 && head > (*ret)->moment.head)
        (*ret)->moment.head = head;
    return 0;
}

static int open_path(const char *path, struct aw_metrics **ret)
{
    struct metrics_snapshot *s = NULL;
    int rc = open_directory(path, &s);
    return rc == 0 ? wrap(s, ret) : rc;
}

int aw_metrics_open_slot(const char *config_path, uint32_t slot, struct aw_metrics **ret_metrics)
{
    diag_reset();
    if (!ret_metrics)
        return diag_problem(AW_ERR_USAGE, "ret_metrics", "must not be NULL");
    struct settings *settings = NULL;
    int rc = slots_load(config_path, NULL, slot, &settings);
    if (rc == 0 && !settings->journal.path)
        rc = diag_problem(AW_ERR_CONFIG, "journal.path", "is not set");
    if (rc == 0)
        rc = open_path(settings->journal.path, ret_metrics);
    settings_destroy(settings);
    return rc;
}

int aw_metrics_open_path(const char *config_path, const char *path, struct aw_metrics **ret_metrics)
{
    if (!path)
        return aw_metrics_open_slot(config_path, 0, ret_metrics);
    diag_reset();
    if (!ret_metrics)
        return diag_problem(AW_ERR_USAGE, "ret_metrics", "must not be NULL");
    return open_path(path, ret_metrics);
}

void aw_metrics_free(struct aw_metrics *m)
{
    if (!m)
        return;
    metrics_snapshot_free(m->snapshot);
    free(m->text);
    free(m);
}

const char *aw_metrics_text(struct aw_metrics *m, size_t *ret_len)
{
    diag_reset();
    if (!m) {
        diag_problem(AW_ERR_USAGE, "metrics", "must not be NULL");
        return NULL;
    }
    if (!m->text && metrics_text(m->snapshot, &m->text, &m->text_len) < 0) {
        diag_problem(AW_ERR_NOMEM, "", "out of memory");
        return NULL;
    }
    if (ret_len)
        *ret_len = m->text_len;
    return m->text;
}

static int usage(const struct aw_metrics *m, const uint32_t *struct_size, size_t least, const char *name)
{
    diag_reset();
    if (!m)
        return diag_problem(AW_ERR_USAGE, "metrics", "must not be NULL");
    if (!struct_size || *struct_size < least)
        return diag_problem(AW_ERR_USAGE, name, "struct_size must be set to the size of the struct");
    return 0;
}

int aw_metrics_info(struct aw_metrics *m, struct aw_metrics_info *info)
{
    int rc = usage(m, info ? &info->struct_size : NULL, offsetof(struct aw_metrics_info, pid), "info");
    if (rc != 0)
        return rc;
    const struct metrics_header *h = m->snapshot->copy.header;
    struct aw_metrics_info i = {
        .struct_size = info->struct_size,
        .running = m->snapshot->moment.running,
        .pid = h->pid,
        .started_ns = h->started_ns,
        .ended_ns = atomic_load_explicit(&h->ended_ns, memory_order_relaxed),
        .taken_ns = m->snapshot->moment.real_ns,
    };
    memcpy(info, &i, info->struct_size < sizeof i ? info->struct_size : sizeof i);
    return AW_SUCCESS;
}

int aw_metrics_stats(struct aw_metrics *m, struct aw_stats *stats)
{
    int rc = usage(m, stats ? &stats->struct_size : NULL, offsetof(struct aw_stats, events_total), "stats");
    if (rc != 0)
        return rc;
    const struct metrics *c = &m->snapshot->copy;
    const _Atomic uint64_t *j = c->process->journal;
    uint64_t head = m->snapshot->moment.head, first = c->header->first_seq;
    struct aw_stats s = {
        .struct_size = stats->struct_size,
        .sinks = (uint32_t)c->sink_count,
        .events_total = head > first ? head - first : 0,
        .invalid_total = metrics_counted(c, METRICS_INVALID),
        .dropped_total = metrics_counted(c, METRICS_DROPPED),
        .failed_total = metrics_counted(c, METRICS_FAILED),
        .redacted_total = metrics_counted(c, METRICS_REDACTED),
        .truncated_total = metrics_counted(c, METRICS_TRUNCATED),
        .warnings_total = metrics_counted(c, METRICS_WARNINGS),
        .head_seq = head,
        .durable_seq = atomic_load(&j[METRICS_DURABLE]),
        .lost_total = atomic_load(&j[METRICS_LOST]),
        .journal_bytes = atomic_load(&j[METRICS_BYTES]),
        .journal_max_bytes = atomic_load(&j[METRICS_MAX_BYTES]),
        .scopes = atomic_load(&j[METRICS_SCOPES]),
    };
    memcpy(stats, &s, stats->struct_size < sizeof s ? stats->struct_size : sizeof s);
    return AW_SUCCESS;
}

int aw_metrics_sink(struct aw_metrics *m, size_t index, struct aw_sink_stats *stats)
{
    int rc = usage(m, stats ? &stats->struct_size : NULL, offsetof(struct aw_sink_stats, name), "stats");
    if (rc != 0)
        return rc;
    if (index >= m->snapshot->copy.sink_count)
        return diag_problem(AW_ERR_NOTFOUND, "index", "there are %zu sinks", m->snapshot->copy.sink_count);
    struct metrics_sink_view v;
    struct aw_sink_stats s = {.struct_size = stats->struct_size};
    metrics_view_sink(m->snapshot, index, &v);
    delivery_fill_stats(&v, &s);
    memcpy(stats, &s, stats->struct_size < sizeof s ? stats->struct_size : sizeof s);
    return AW_SUCCESS;
}
