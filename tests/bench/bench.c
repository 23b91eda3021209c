/* bench.c - the benchmark. SPDX-License-Identifier: Apache-2.0
 *
 *   auditwell-bench [-q] [-s] [-r RUNS] [-o GROUP] [-d DIR] [-t TEST_PLUGINS] -a AUDITWELL -m MEMORY_HELPER
 *
 * -q: in under two minutes; -s: seconds only, to see that all of it works (the figures mean nothing). Groups: limits,
 * json, builder, producers, latency, durable, bad_sinks, cli, sqlite, postgres, http, kafka, exec, nats, verify,
 * memory.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "corpus.h"

static void usage(void)
{
    (void)fprintf(stderr, "usage: auditwell-bench [-q|-s] [-r RUNS] [-o GROUP] [-d DIR] [-t TEST_PLUGINS] -a AUDITWELL "
                          "-m MEMORY_HELPER\n");
    exit(2);
}

static void sizes(struct bench *b, char mode)
{
    b->runs = 5;
    b->events = 400000;
    b->cli_events = b->rss_events = 1000000;
    b->sqlite_events = 100000;
    b->http_events = 400000;
    b->durable_events = 32768;
    b->latency_events = 150000;
    if (mode == 'q') {
        b->events = 150000;
        b->cli_events = 300000;
        b->rss_events = 300000;
        b->sqlite_events = 30000;
        b->http_events = 100000;
        b->durable_events = 8192;
        b->latency_events = 40000;
    } else if (mode == 's') {
        b->runs = 2;
        b->events = b->cli_events = b->rss_events = 3000;
        b->sqlite_events = 2000;
        b->http_events = 2000;
        b->durable_events = 512;
        b->latency_events = 2000;
    }
}

static void make_corpus(struct bench *b)
{
    size_t most = b->events > b->cli_events ? b->events : b->cli_events;
    (void)bench_path(b, "corpus.jsonl", b->corpus_path, sizeof b->corpus_path);
    FILE *f = fopen(b->corpus_path, "we");
    if (!f || corpus_write(f, b->cli_events, CORPUS_SEED) || fclose(f))
        bench_die("%s: %s", b->corpus_path, strerror(errno));
    if (most != b->cli_events)
        bench_die("more events than the corpus has");
    lines_map(&b->corpus, b->corpus_path, b->events);
}

/* What our own file sink makes of the corpus: the bytes of every limit. */
static void make_trail(struct bench *b)
{
    char text[800];
    (void)bench_path(b, "trail.jsonl", b->trail_path, sizeof b->trail_path);
    (void)snprintf(text, sizeof text, BENCH_FILE_SINK, b->trail_path);
    struct aw_logger *logger = bench_open(b, text, 0);
    for (size_t i = 0; i < b->corpus.count; i++)
        bench_check(aw_log_json(logger, b->corpus.base + b->corpus.off[i], b->corpus.len[i], NULL), "aw_log_json");
    bench_check(aw_flush(logger, 600000), "aw_flush");
    bench_close(logger);
    bench_clean(b);
    lines_map(&b->trail, b->trail_path, 0);
    if (b->trail.count != b->corpus.count)
        bench_die("%zu events of %zu are in the trail", b->trail.count, b->corpus.count);
    bench_make_payload(&b->trail, &b->payload);
    printf("# corpus: %zu events, %.0f bytes each; hashed %.0f, stored %.0f\n", b->corpus.count,
           (double)(b->corpus.off[b->corpus.count - 1] + b->corpus.len[b->corpus.count - 1]) / (double)b->corpus.count,
           (double)b->payload.size / (double)b->payload.count, (double)b->trail.size / (double)b->trail.count);
}

/* Sinks that may be off. */
static void figures_stores(struct bench *b)
{
#ifdef BENCH_KAFKA
    figures_kafka(b);
#endif
    (void)b;
#ifdef BENCH_EXEC
    figures_exec(b);
#endif
#ifdef BENCH_NATS
    figures_nats(b);
#endif
#ifdef BENCH_POSTGRES
    figures_postgres(b);
#endif
}

static void all_figures(struct bench *b)
{
    figures_pipeline(b);
    figures_latency(b);
    figures_durable(b);
    figures_delivery(b);
    figures_sinks(b);
    figures_cli(b);
    figures_sqlite(b);
    figures_http(b);
    figures_stores(b);
}

int main(int argc, char **argv)
{
    struct bench b = {.dir = NULL};
    const char *parent = getenv("TMPDIR");
    char dir[300], mode = 0;
    int c, runs = 0;
#ifdef BENCH_EXEC
    if (argc == 2 && strcmp(argv[1], "--exec-peer") == 0)
        return bench_exec_peer();
#endif
    while ((c = getopt(argc, argv, "qsr:o:d:t:a:m:")) != -1) {
        if (c == 'q' || c == 's')
            mode = (char)c;
        else if (c == 'r')
            runs = (int)strtol(optarg, NULL, 10);
        else if (c == 'o')
            b.only = optarg;
        else if (c == 'd')
            parent = optarg;
        else if (c == 't')
            b.test_plugins = optarg;
        else if (c == 'a')
            b.auditwell = optarg;
        else if (c == 'm')
            b.memory = optarg;
        else
            usage();
    }
    if (!b.auditwell || !b.memory || optind != argc)
        usage();
    sizes(&b, mode);
    if (runs > 0 && runs <= BENCH_MAX_RUNS)
        b.runs = runs;
    b.processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if ((size_t)snprintf(dir, sizeof dir, "%s/auditwell-bench.XXXXXX", parent ? parent : "/var/tmp") >= sizeof dir)
        bench_die("the scratch directory's name is too long");
    b.dir = mkdtemp(dir);
    if (!b.dir)
        bench_die("%s: %s", dir, strerror(errno));
    bench_scratch = b.dir;
    bench_print_machine(&b);
    make_corpus(&b);
    make_trail(&b);
    all_figures(&b);
    figures_verify(&b);
    figures_memory(&b);
    report_table();
    lines_free(&b.corpus);
    lines_free(&b.trail);
    lines_free(&b.payload);
    bench_remove(b.dir);
    return 0;
}
