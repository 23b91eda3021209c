/* instance.h - what host.c and instance.c share. SPDX-License-Identifier: Apache-2.0 */
#ifndef KIT_INSTANCE_H
#define KIT_INSTANCE_H

#include <pthread.h>
#include <unistd.h>

#include "kit.h"

#define INSTANCE_ALIVE 0x414c4956u
#define KIT_METRICS 64
struct kit_instance {
    struct aw_host host; /* first: the plugin gets &host */
    uint8_t later[KIT_LATER];
    uint32_t alive;
    struct aw_host host_copy;
    char name[40];
    unsigned number;
    void *sink;
    struct aw_config *config, *former; /* former: before a reconfigure(); its strings live on */
    bool creating, started;
    pthread_mutex_t lock; /* guards error and said */
    char error[600];
    bool error_set;
    char said[16384]; /* all log lines and errors */
    size_t said_len, lines;
    bool *event_error; /* of the batch in write(), which have a text */
    size_t event_count;
    size_t metrics;
    int32_t metric_kind[KIT_METRICS];
    uint64_t highest_seq; /* given to write() */
};
struct kit_instance *instance_of(const struct aw_host *h);
void host_fill(struct kit_instance *i);
void host_check(struct kit_instance *i);

#endif
