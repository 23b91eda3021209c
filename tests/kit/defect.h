/* defect.h - a sink with one defect, chosen by its option `defect`: what the conformance kit must find.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Without a defect it keeps every rule: lines of JSON in a file, with all extensions. tests/kit/defects.list says which
 * check finds which defect.
 */
#ifndef TEST_DEFECT_H
#define TEST_DEFECT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "audit/plugin.h"

struct sink {
    const struct aw_host *host;
    const struct aw_config *config; /* kept, though nobody may */
    char path[700], defect[40], password[40];
    int fd, socket;
    bool started, failed, unclean;
    unsigned starts;
    off_t size, synced;
    uint64_t last_seq, synced_seq;
    pthread_mutex_t lock;
    pthread_t thread;
    atomic_bool has_thread;
    char *memory; /* lines that a liar keeps to itself */
    size_t memory_len;
    const struct aw_event *kept;
    struct aw_health health;
};

bool has(const struct sink *s, const char *defect);
bool write_all(int fd, const char *p, size_t len);
int32_t fail(struct sink *s, const char *what);

extern const struct aw_sink_position defect_position;
extern const struct aw_sink_query defect_query;
extern const struct aw_sink_transaction defect_transaction;
extern const struct aw_sink_probe defect_probe;
extern const struct aw_sink_migrate defect_migrate;
extern const struct aw_sink_retention defect_retention;

#endif
