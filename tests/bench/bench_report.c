/* bench_report.c - statistics, the machine, the report. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "bench.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* ---- statistics ---- */
void series_add(struct series *s, double v)
{
    if (s->n < BENCH_MAX_RUNS)
        s->v[s->n++] = v;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double series_median(const struct series *s)
{
    double v[BENCH_MAX_RUNS];
    if (!s->n)
        return 0;
    memcpy(v, s->v, (size_t)s->n * sizeof v[0]);
    qsort(v, (size_t)s->n, sizeof v[0], compare);
    return s->n % 2 ? v[s->n / 2] : (v[s->n / 2 - 1] + v[s->n / 2]) / 2;
}

double series_min(const struct series *s)
{
    double m = s->n ? s->v[0] : 0;
    for (int i = 1; i < s->n; i++)
        m = s->v[i] < m ? s->v[i] : m;
    return m;
}

double series_max(const struct series *s)
{
    double m = s->n ? s->v[0] : 0;
    for (int i = 1; i < s->n; i++)
        m = s->v[i] > m ? s->v[i] : m;
    return m;
}

/* ---- machine ---- */
static void cpu_model(char *out, size_t size)
{
    char line[512];
    (void)snprintf(out, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            colon[strcspn(colon, "\n")] = '\0';
            (void)snprintf(out, size, "%.100s", colon + 2);
            break;
        }
    }
    (void)fclose(f);
}

static void fs_type(const char *dir, char *out, size_t size)
{
    struct stat st;
    char line[1024], want[32];
    (void)snprintf(out, size, "unknown");
    if (stat(dir, &st))
        return;
    (void)snprintf(want, sizeof want, "%u:%u", (unsigned)(st.st_dev >> 8 & 0xfff), (unsigned)(st.st_dev & 0xff));
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        char dev[32], type[64];
        const char *dash = strstr(line, " - ");
        if (dash && sscanf(line, "%*d %*d %31s", dev) == 1 && !strcmp(dev, want) && sscanf(dash, " - %63s", type) == 1)
            (void)snprintf(out, size, "%s", type);
    }
    if (f)
        (void)fclose(f);
}

void bench_print_machine(const struct bench *b)
{
    struct utsname u;
    char cpu[128], fs[64];
    cpu_model(cpu, sizeof cpu);
    fs_type(b->dir, fs, sizeof fs);
    (void)uname(&u);
    printf("# machine: %s, %d processors online, %s %s %s\n", cpu, b->processors, u.sysname, u.release, u.machine);
    printf("# scratch: %s (%s)\n", b->dir, fs);
#if defined(__clang__)
    printf("# versions: auditwell %s, clang %s, %s, SQLite %s\n", aw_version(), __clang_version__,
           OpenSSL_version(OPENSSL_VERSION), bench_sqlite_version());
#else
    printf("# versions: auditwell %s, gcc %s, %s, SQLite %s\n", aw_version(), __VERSION__,
           OpenSSL_version(OPENSSL_VERSION), bench_sqlite_version());
#endif
    printf("# runs: %d a figure, medians; ratio is the median of the turns' ratios; \"limit\" is measured in the same "
           "turn\n",
           b->runs);
    (void)fflush(stdout);
}

/* ---- report ---- */
struct row {
    struct figure f;
    double value, low, high, limit, ratio;
};
static struct row rows[64];
static size_t row_count;

static void number(char *out, size_t size, double v)
{
    if (v >= 1000 || v == 0)
        (void)snprintf(out, size, "%.0f", v);
    else
        (void)snprintf(out, size, "%.3f", v);
}

void report(const struct figure *f, const struct series *value, const struct series *limit)
{
    struct series ratios = {.n = 0};
    for (int i = 0; i < value->n && i < limit->n; i++)
        series_add(&ratios, limit->v[i] > 0 ? value->v[i] / limit->v[i] : value->v[i]);
    struct row r = {
        *f, series_median(value), series_min(value), series_max(value), series_median(limit), series_median(&ratios)};
    char v[32], l[32], target[32] = "-";
    number(v, sizeof v, r.value);
    number(l, sizeof l, r.limit);
    if (f->target > 0 || (f->less_is_better && f->target == 0))
        (void)snprintf(target, sizeof target, "%.2f", f->target);
    printf("bench %s value=%s unit=%s limit=%s ratio=%.3f target=%s\n", f->name, v, f->unit, l, r.ratio, target);
    (void)fflush(stdout);
    if (row_count < sizeof rows / sizeof rows[0])
        rows[row_count++] = r;
}

static const char *verdict(const struct row *r)
{
    if (r->f.target < 0 || (r->f.target == 0 && !r->f.less_is_better))
        return "";
    bool good = r->f.less_is_better ? r->ratio <= r->f.target : r->ratio >= r->f.target;
    return good ? "reached" : "MISSED";
}

void report_table(void)
{
    printf("\n%-24s %12s %12s %12s %-10s %12s %7s %8s %-8s %s\n", "figure", "median", "min", "max", "unit", "limit",
           "ratio", "target", "", "limit is");
    for (size_t i = 0; i < row_count; i++) {
        const struct row *r = &rows[i];
        char v[32], lo[32], hi[32], l[32], target[32] = "-";
        number(v, sizeof v, r->value);
        number(lo, sizeof lo, r->low);
        number(hi, sizeof hi, r->high);
        number(l, sizeof l, r->limit);
        if (*verdict(r))
            (void)snprintf(target, sizeof target, "%s%.2f", r->f.less_is_better ? "<=" : ">=", r->f.target);
        printf("%-24s %12s %12s %12s %-10s %12s %7.3f %8s %-8s %s\n", r->f.name, v, lo, hi, r->f.unit, l, r->ratio,
               target, verdict(r), r->f.note ? r->f.note : "");
    }
}

bool bench_wants(const struct bench *b, const char *name)
{
    return !b->only || strstr(name, b->only) || strstr(b->only, name);
}
