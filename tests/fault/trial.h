/* trial.h - the parts of auditwell-trial. SPDX-License-Identifier: Apache-2.0 */
#ifndef TRIAL_H
#define TRIAL_H

#include <stdbool.h>
#include <stddef.h>

#define TRIAL_MAX_SINKS 64
#define TRIAL_MAX_ALLOWED 32

struct trial_sink {
    char name[72], plugin[72];
};
struct trial_copy {
    const char *config;                     /* the user's audit.conf */
    const char *scratch;                    /* an empty directory of ours */
    const char *allowed[TRIAL_MAX_ALLOWED]; /* "SINK" may have a store outside, "SINK.OPTION" keeps its path */
    size_t allowed_count;
    char copy[600];                           /* ret: the configuration that leads into the scratch directory only */
    struct trial_sink sinks[TRIAL_MAX_SINKS]; /* ret */
    size_t sink_count;
};
/* Copies the configuration, its conf.d too, with the journal and each path of a sink led into the scratch directory,
 * and says on stdout what leads where. false: it cannot be read, or a sink has a store that is not a path; said on
 * stderr. */
bool trial_copy_config(struct trial_copy *t);

#endif
