/* text.h - pieces of the Prometheus text format; private to metrics/. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_METRICS_TEXT_H
#define AW_METRICS_TEXT_H

#include "metrics/metrics.h"

/* Grows; without memory the rest is left out and failed is set. */
struct prom {
    const struct metrics_snapshot *snapshot;
    char *ptr;
    size_t len, size;
    bool failed;
};
#define PROM_NO_SINK SIZE_MAX

void prom_puts(struct prom *t, const char *s);
void prom_printf(struct prom *t, const char *fmt, ...) AW_PRINTF(2, 3); /* short pieces; no floating point */
/* HELP and TYPE. */
void prom_family(struct prom *t, const char *prefix, const char *name, const char *type, const char *help);
/* A label value, escaped; what is no UTF-8 or a control character becomes '?'. */
void prom_value(struct prom *t, const char *s, size_t len);
/* sinkName="…", and what follows. */
void prom_sink_label(struct prom *t, size_t sink, const char *end);
/* "NAMESUFFIX " or "NAMESUFFIX{sinkName="…"} ". */
void prom_sample(struct prom *t, const char *name, const char *suffix, size_t sink);
void prom_seconds(struct prom *t, uint64_t ns); /* exactly, in any locale */
void prom_double(struct prom *t, double value); /* in any locale */
/* Does this sink have a name, and no one before it the same? */
bool prom_has_sink(const struct prom *t, size_t sink);
/* All metrics of plugins, by name. */
void prom_plugin_series(struct prom *t);

#endif
