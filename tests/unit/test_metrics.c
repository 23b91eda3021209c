/* test_metrics.c - histograms, plugins' metrics, the text, publishing, the mapped file and its untrusting reader.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "harness.h"

#include "base/base.h"
#include "base/fs.h"
#include "base/hash.h"
#include "metrics/metrics.h"

#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

static char *text_of(const struct metrics *m)
{
    struct metrics_snapshot *s;
    char *text = NULL;
    size_t len = 0;
    CU_ASSERT_EQUAL_FATAL(metrics_snapshot_live(m, &s), 0);
    CU_ASSERT_EQUAL_FATAL(metrics_text(s, &text, &len), 0);
    CU_ASSERT_EQUAL(strlen(text), len);
    metrics_snapshot_free(s);
    return text;
}

static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *p = text; (p = strstr(p, line)) != NULL; p++)
        if ((p == text || p[-1] == '\n') && p[n] == '\n')
            return true;
    harness_note("no line: %s", line);
    return false;
}

static bool has(const struct metrics *m, const char *line)
{
    AW_AUTOFREE char *text = text_of(m);
    return has_line(text, line);
}

/* Every sample line is there once, and every family has its HELP and TYPE before its first sample. */
static bool well_formed(const char *text)
{
    AW_AUTOFREE char *copy = strdup(text);
    char *lines[4000], *rest = NULL;
    size_t n = 0;
    for (char *l = strtok_r(copy, "\n", &rest); l && n < AW_ARRAY_LEN(lines); l = strtok_r(NULL, "\n", &rest))
        lines[n++] = l;
    const char *family = "";
    size_t family_len = 0;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(lines[i], "# TYPE ", 7) == 0) {
            family = lines[i] + 7;
            family_len = strcspn(family, " ");
            continue;
        }
        if (lines[i][0] == '#')
            continue;
        size_t key = (size_t)(strrchr(lines[i], ' ') - lines[i]);
        if (strncmp(lines[i], family, family_len) != 0)
            return false;
        for (size_t k = 0; k < i; k++)
            if (strncmp(lines[k], lines[i], key + 1) == 0)
                return false;
    }
    return n > 0;
}

/* ---- histograms ---- */

static void histogram_edges(void)
{
    struct metrics *m;
    CU_ASSERT_EQUAL_FATAL(metrics_create(1, &m), 0);
    metrics_name_sink(m, 0, "s", "p");
    struct metrics_histogram *h = &m->process->log;
    static const uint64_t values[] = {0, 500, 501, 1000, 999999999, 1000000000, 1000000001, 5000000000u};
    for (size_t i = 0; i < AW_ARRAY_LEN(values); i++)
        metrics_observe(h, metrics_log_bounds, values[i]);
    AW_AUTOFREE char *text = text_of(m);
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_bucket{le=\"0.0000005\"} 2"));
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_bucket{le=\"0.000001\"} 4"));
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_bucket{le=\"0.5\"} 4"));
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_bucket{le=\"1\"} 6"));
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_bucket{le=\"+Inf\"} 8"));
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_count 8"));
    CU_ASSERT(has_line(text, "audit_log_duration_seconds_sum 8.000002001"));
    metrics_observe(&m->sinks[0].writes, metrics_write_bounds, 60000000000u);
    metrics_observe(&m->sinks[0].writes, metrics_write_bounds, 60000000001u);
    CU_ASSERT(has(m, "audit_sink_write_duration_seconds_bucket{sinkName=\"s\",le=\"60\"} 1"));
    CU_ASSERT(has(m, "audit_sink_write_duration_seconds_bucket{sinkName=\"s\",le=\"+Inf\"} 2"));
    metrics_destroy(m);
    /* the bounds rise, and leave room for the last bucket */
    const uint64_t *all[] = {metrics_log_bounds, metrics_write_bounds};
    for (size_t k = 0; k < 2; k++) {
        size_t i = 1;
        for (; i < METRICS_BUCKETS && all[k][i] != 0; i++)
            CU_ASSERT(all[k][i] > all[k][i - 1]);
        CU_ASSERT(i < METRICS_BUCKETS);
    }
}

/* ---- plugins' metrics ---- */

static int32_t make(struct metrics *m, size_t sink, const struct metrics_spec *spec, const char *const *values,
                    uint32_t *ret, const char *says)
{
    char why[300] = "";
    int32_t rc = metrics_series(m, sink, spec, values, ret, why, sizeof why);
    if (rc != AW_OK && (!says || !strstr(why, says) || !strstr(why, "metric"))) {
        harness_note("%d: %s", (int)rc, why);
        return AW_OK;
    }
    return rc;
}

static void names_follow_the_rules(void)
{
    static const char *const bad_names[] = {"",  "9x", "Upper", "a-b",          "a b",
                                            "é", NULL, "info",  "circuit_open", "batches_total"};
    static const char *const bad_labels[] = {"", "9", "a-b", "le", "sinkName", "__x", "é"};
    struct metrics *m;
    uint32_t id;
    char name[80];
    CU_ASSERT_EQUAL_FATAL(metrics_create(2, &m), 0);
    metrics_name_sink(m, 0, "a", "p");
    metrics_name_sink(m, 1, "b", "p");
    for (size_t i = 0; i < AW_ARRAY_LEN(bad_names); i++) {
        struct metrics_spec s = {.kind = AW_METRIC_GAUGE, .name = bad_names[i]};
        CU_ASSERT_EQUAL(make(m, 0, &s, NULL, &id, "name"), AW_E_INTERNAL);
    }
    memset(name, 'x', 65);
    name[65] = '\0';
    struct metrics_spec s = {.kind = AW_METRIC_GAUGE, .name = name};
    CU_ASSERT_EQUAL(make(m, 0, &s, NULL, &id, "must match"), AW_E_INTERNAL);
    name[64] = '\0';
    CU_ASSERT_EQUAL(make(m, 0, &s, NULL, &id, NULL), AW_OK);
    for (size_t i = 0; i < AW_ARRAY_LEN(bad_labels); i++) {
        const char *const labels[] = {"good", bad_labels[i], NULL}, *const values[] = {"x", "y"};
        struct metrics_spec l = {.kind = AW_METRIC_GAUGE, .name = "g", .labels = labels};
        CU_ASSERT_EQUAL(make(m, 0, &l, values, &id, "label"), AW_E_INTERNAL);
    }
    const char *const twice[] = {"a", "a", NULL}, *const values[] = {"x", "y", "z", "u", "v"};
    const char *const many[] = {"a", "b", "c", "d", "e", NULL};
    struct metrics_spec t = {.kind = AW_METRIC_GAUGE, .name = "t", .labels = twice};
    CU_ASSERT_EQUAL(make(m, 0, &t, values, &id, "twice"), AW_E_INTERNAL);
    t.labels = many;
    CU_ASSERT_EQUAL(make(m, 0, &t, values, &id, "more than 4"), AW_E_UNSUPPORTED);
    t.labels = NULL;
    t.kind = 77;
    CU_ASSERT_EQUAL(make(m, 0, &t, NULL, &id, "unknown kind 77"), AW_E_INTERNAL);
    metrics_destroy(m);
}

static void names_mean_one_thing(void)
{
    static const double bounds[] = {1, 2}, wrong[] = {2, 2}, infinite[] = {1, (double)INFINITY};
    struct metrics *m;
    uint32_t id, again;
    CU_ASSERT_EQUAL_FATAL(metrics_create(2, &m), 0);
    metrics_name_sink(m, 0, "a", "p");
    metrics_name_sink(m, 1, "b", "p");
    struct metrics_spec counter = {.kind = AW_METRIC_COUNTER, .name = "n_total", .help = "N."};
    struct metrics_spec gauge = {.kind = AW_METRIC_GAUGE, .name = "n_total"};
    CU_ASSERT_EQUAL(make(m, 0, &counter, NULL, &id, NULL), AW_OK);
    CU_ASSERT_EQUAL(make(m, 0, &counter, NULL, &again, NULL), AW_OK);
    CU_ASSERT_EQUAL(id, again);
    CU_ASSERT_EQUAL(make(m, 0, &gauge, NULL, &id, "another kind"), AW_E_INTERNAL);
    CU_ASSERT_EQUAL(make(m, 1, &gauge, NULL, &id, "sink \"a\""), AW_E_INTERNAL); /* one TYPE line for both */
    CU_ASSERT_EQUAL(make(m, 1, &counter, NULL, &id, NULL), AW_OK);
    struct metrics_spec h = {AW_METRIC_HISTOGRAM, "h", "H.", NULL, bounds, 2};
    struct metrics_spec sum = {.kind = AW_METRIC_COUNTER, .name = "h_sum"};
    CU_ASSERT_EQUAL(make(m, 0, &h, NULL, &id, NULL), AW_OK);
    CU_ASSERT_EQUAL(make(m, 1, &sum, NULL, &id, "collides"), AW_E_INTERNAL);
    h.name = "i";
    h.bounds = wrong;
    CU_ASSERT_EQUAL(make(m, 0, &h, NULL, &id, "bound 2"), AW_E_INTERNAL);
    h.bounds = infinite;
    CU_ASSERT_EQUAL(make(m, 0, &h, NULL, &id, "finite"), AW_E_INTERNAL);
    h.bound_count = 0;
    CU_ASSERT_EQUAL(make(m, 0, &h, NULL, &id, "1 to 16"), AW_E_UNSUPPORTED);
    counter.name = "j_total";
    counter.bound_count = 1;
    CU_ASSERT_EQUAL(make(m, 0, &counter, NULL, &id, "only a histogram"), AW_E_INTERNAL);
    metrics_destroy(m);
}

static void there_are_not_too_many(void)
{
    struct metrics *m;
    uint32_t id;
    char name[40];
    CU_ASSERT_EQUAL_FATAL(metrics_create(1, &m), 0);
    metrics_name_sink(m, 0, "a", "p");
    for (int i = 0; i < METRICS_PLUGIN_METRICS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        struct metrics_spec s = {.kind = AW_METRIC_GAUGE, .name = name};
        CU_ASSERT_EQUAL(make(m, 0, &s, NULL, &id, NULL), AW_OK);
    }
    struct metrics_spec s = {.kind = AW_METRIC_GAUGE, .name = "one_more"};
    CU_ASSERT_EQUAL(make(m, 0, &s, NULL, &id, "at most 32"), AW_E_UNSUPPORTED);
    metrics_name_sink(m, 0, "a", "p"); /* forgets them */
    const char *const labels[] = {"n", NULL};
    struct metrics_spec l = {.kind = AW_METRIC_GAUGE, .name = "l", .labels = labels};
    for (int i = 0; i < METRICS_SERIES; i++) {
        snprintf(name, sizeof name, "%d", i);
        const char *const value[] = {name};
        CU_ASSERT_EQUAL(make(m, 0, &l, value, &id, NULL), AW_OK);
    }
    CU_ASSERT_EQUAL(make(m, 0, &l, (const char *const[]){"x"}, &id, "at most 64"), AW_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(make(m, 0, &l, (const char *const[]){"0"}, &id, NULL), AW_OK);
    char wide[300];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    CU_ASSERT_EQUAL(make(m, 0, &l, (const char *const[]){wide}, &id, "longer than"), AW_E_UNSUPPORTED);
    metrics_destroy(m);
}

/* ---- the text ---- */

static void text_is_escaped_and_ordered(void)
{
    static const double bounds[] = {0.25, 1};
    const char *const labels[] = {"why", NULL};
    struct metrics *m;
    uint32_t a, b, h, g;
    CU_ASSERT_EQUAL_FATAL(metrics_create(2, &m), 0);
    metrics_name_sink(m, 0, "one \"a\\b\"\nc", "p");
    metrics_name_sink(m, 1, "\xc3\xa9\xff\x01", "p");
    struct metrics_spec c = {.kind = AW_METRIC_COUNTER, .name = "z_total", .help = "a \\ \"b\"\nc", .labels = labels};
    CU_ASSERT_EQUAL(make(m, 0, &c, (const char *const[]){"x\"\\\ny"}, &a, NULL), AW_OK);
    CU_ASSERT_EQUAL(make(m, 1, &c, (const char *const[]){"\xed\xa0\x80"}, &b, NULL), AW_OK);
    struct metrics_spec hs = {AW_METRIC_HISTOGRAM, "h", "H.", NULL, bounds, 2};
    CU_ASSERT_EQUAL(make(m, 0, &hs, NULL, &h, NULL), AW_OK);
    struct metrics_spec gs = {.kind = AW_METRIC_GAUGE, .name = "g"};
    CU_ASSERT_EQUAL(make(m, 1, &gs, NULL, &g, NULL), AW_OK);
    metrics_series_add(&m->sinks[0], a, 0.1);
    metrics_series_add(&m->sinks[0], a, -4); /* a counter never falls */
    metrics_series_add(&m->sinks[1], b, 1e21);
    static const double seen[] = {0.25, 0.26, 1, 7, -1};
    for (size_t i = 0; i < AW_ARRAY_LEN(seen); i++)
        metrics_series_add(&m->sinks[0], h, seen[i]);
    metrics_series_add(&m->sinks[0], h, (double)NAN);
    metrics_series_add(&m->sinks[1], g, (double)-INFINITY);
    metrics_series_add(&m->sinks[1], 99, 1);
    AW_AUTOFREE char *text = text_of(m);
    CU_ASSERT(has_line(text, "audit_sink_z_total{sinkName=\"one \\\"a\\\\b\\\"\\nc\",why=\"x\\\"\\\\\\ny\"} 0.1"));
    CU_ASSERT(has_line(text, "audit_sink_z_total{sinkName=\"\xc3\xa9??\",why=\"???\"} 1e+21"));
    CU_ASSERT(has_line(text, "# HELP audit_sink_z_total a \\\\ \"b\"\\nc"));
    CU_ASSERT(has_line(text, "# TYPE audit_sink_z_total counter"));
    CU_ASSERT(has_line(text, "audit_sink_h_bucket{sinkName=\"one \\\"a\\\\b\\\"\\nc\",le=\"0.25\"} 2"));
    CU_ASSERT(has_line(text, "audit_sink_h_bucket{sinkName=\"one \\\"a\\\\b\\\"\\nc\",le=\"1\"} 4"));
    CU_ASSERT(has_line(text, "audit_sink_h_bucket{sinkName=\"one \\\"a\\\\b\\\"\\nc\",le=\"+Inf\"} 5"));
    CU_ASSERT(has_line(text, "audit_sink_h_count{sinkName=\"one \\\"a\\\\b\\\"\\nc\"} 5"));
    CU_ASSERT(has_line(text, "audit_sink_h_sum{sinkName=\"one \\\"a\\\\b\\\"\\nc\"} 7.51"));
    CU_ASSERT(has_line(text, "audit_sink_g{sinkName=\"\xc3\xa9??\"} -Inf"));
    CU_ASSERT(well_formed(text));
    CU_ASSERT(strstr(text, "audit_sink_g{") < strstr(text, "audit_sink_h_bucket") &&
              strstr(text, "audit_sink_h_count") < strstr(text, "audit_sink_z_total{"));
    AW_AUTOFREE char *again = text_of(m);
    CU_ASSERT_STRING_EQUAL(text, again);
    metrics_destroy(m);
}

/* Every name of the contract is there, also without sinks. */
static void the_contract_is_kept(void)
{
    static const char *const process[] = {
        "audit_events_total 0",  "audit_events_written_total 0", "audit_events_dropped_total 0",
        "audit_invalid_total 0", "audit_write_failures_total 0", "audit_retries_total 0",
        "audit_queue_size 0",    "audit_queue_bytes 0",          "audit_circuit_open 0"};
    static const char *const sink[] = {"audit_sink_batches_total{sinkName=\"s\"} 0",
                                       "audit_sink_events_written_total{sinkName=\"s\"} 0",
                                       "audit_sink_events_failed_total{sinkName=\"s\"} 0",
                                       "audit_sink_event_failures_total{sinkName=\"s\",errorType=\"TRANSIENT\"} 0",
                                       "audit_sink_event_failures_total{sinkName=\"s\",errorType=\"PERMANENT\"} 0",
                                       "audit_sink_circuit_open{sinkName=\"s\"} 0",
                                       "audit_conservation_imbalance{sinkName=\"s\"} 0"};
    for (size_t n = 0; n < 2; n++) {
        struct metrics *m;
        CU_ASSERT_EQUAL_FATAL(metrics_create(n, &m), 0);
        if (n > 0)
            metrics_name_sink(m, 0, "s", "p");
        AW_AUTOFREE char *text = text_of(m);
        for (size_t i = 0; i < AW_ARRAY_LEN(process); i++)
            CU_ASSERT(has_line(text, process[i]));
        for (size_t i = 0; n > 0 && i < AW_ARRAY_LEN(sink); i++)
            CU_ASSERT(has_line(text, sink[i]));
        CU_ASSERT(well_formed(text));
        metrics_destroy(m);
    }
}

static void any_locale(void)
{
    const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    bool set = false;
    for (size_t i = 0; i < AW_ARRAY_LEN(names) && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]) != NULL;
    struct metrics *m;
    uint32_t id;
    CU_ASSERT_EQUAL_FATAL(metrics_create(1, &m), 0);
    metrics_name_sink(m, 0, "s", "p");
    struct metrics_spec s = {.kind = AW_METRIC_GAUGE, .name = "g"};
    CU_ASSERT_EQUAL(make(m, 0, &s, NULL, &id, NULL), AW_OK);
    metrics_series_add(&m->sinks[0], id, 1.0 / 3);
    CU_ASSERT(has(m, "audit_sink_g{sinkName=\"s\"} 0.33333333333333331"));
    metrics_destroy(m);
    harness_note(set ? "with a decimal comma" : "no locale with a decimal comma is installed");
    (void)setlocale(LC_NUMERIC, "C");
}

HARNESS_MAIN("metrics", {"histogram edges", histogram_edges}, {"names follow the rules", names_follow_the_rules},
             {"a name means one thing", names_mean_one_thing}, {"there are not too many", there_are_not_too_many},
             {"text is escaped and in order", text_is_escaped_and_ordered},
             {"the names of the contract", the_contract_is_kept}, {"numbers in any locale", any_locale})
