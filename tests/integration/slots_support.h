/* slots_support.h - several processes with one configuration, for slots*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef SLOTS_SUPPORT_H
#define SLOTS_SUPPORT_H

#include "harness.h"

#include <audit/audit.h>
#include <audit/plugin.h>

#include <sys/types.h>

#define PATIENCE_MS 60000
/* Who looks at a slot while another process wants it makes that one take the next: there can be more than processes. */
#define SLOTS_SEEN 16u

struct slots_rig {
    char dir[300], conf[2500];
    struct aw_logger *logger;
};

struct slots_report {
    int verdict;
    uint64_t events;
    char first[300];  /* the first finding */
    unsigned streams; /* a bit for each */
};

/* A file and a database. journal: more of its settings; sink: of the file sink. */
void slots_configure(struct slots_rig *r, const char *name, const char *journal, const char *sink);
void slots_print_problems(void);
bool slots_problem_says(const char *text);
int slots_open_with(const struct slots_rig *r, uint32_t flags, struct aw_logger **ret);
/* The event's id is WHO-N; N tells its tenant, too. 0 or AW_ERR_*. */
int slots_log_one(struct aw_logger *logger, const char *who, int n);
int slots_log_many(struct aw_logger *logger, const char *who, int count);
/* A file of the rig, as text. malloc'd. */
char *slots_slurp(const struct slots_rig *r, const char *name);
/* How often this stands in the slot's file. */
int slots_count_in(const struct slots_rig *r, unsigned slot, const char *what);
struct slots_report slots_verify(const char *store);
/* Both stores of the slot hold so many events, of its stream alone, and verify. */
void slots_check_slot(const struct slots_rig *r, unsigned slot, uint64_t events);
void slots_wait_for_lines(const struct slots_rig *r, unsigned slot, const char *what, int count);
/* Waits; the status as of waitpid(). */
int slots_ended(pid_t pid);
/* To be killed. */
void slots_wait_for_ever(void);

#endif
