/* corpus.h - a corpus of realistic audit events for benchmarks. SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_CORPUS_H
#define BENCH_CORPUS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One generated event, its parts apart, so that the builder API can be given the same event as the JSON API.
 * All texts are NUL-terminated UTF-8 as a caller would hold them (no JSON escapes). */
struct corpus_event {
    const char *action, *outcome;                                    /* static */
    int outcome_code;                                                /* AW_OUTCOME_* */
    const char *user_agent, *target_type, *method, *route, *service; /* static */
    char actor_id[16], actor_ip[16], target_id[16];
    char occurred_at[32], request_id[20], trace_id[40], tenant[12];
    char reason[48], password[20], authorization[24];
    int attempt;
    double duration_ms; /* a multiple of 0.001, as it stands in the text */
};

/* The generator: same seed, same events, on every machine. */
struct corpus_gen {
    uint64_t random, ms;
};
#define CORPUS_SEED 20240607u
#define CORPUS_TENANTS 64
#define CORPUS_LINE_MAX 1024
void corpus_init(struct corpus_gen *gen, uint64_t seed);
void corpus_next(struct corpus_gen *gen, struct corpus_event *ret);
/* The event as one line of JSON with its newline; returns the length. */
size_t corpus_format(const struct corpus_event *event, char out[CORPUS_LINE_MAX]);
/* count events to a stream. 0, or -1 with errno. */
int corpus_write(FILE *out, size_t count, uint64_t seed);

#endif
