/* modes_rig.h - a logger with a file sink and sinks that do as they are told. SPDX-License-Identifier: Apache-2.0 */
#ifndef MODES_RIG_H
#define MODES_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/audit.h"

struct modes_rig {
    struct aw_logger *logger;
    char dir[300], conf[3000];
};

/* A directory NAME, and the configuration's text: a journal with `journal` added, `top`, and the list `sinks`; in both
 * lists "@" stands for the directory. sinks NULL: the file sink "trail" alone. */
void modes_configure(struct modes_rig *r, const char *name, const char *journal, const char *top, const char *sinks);
int modes_open(struct modes_rig *r, uint32_t flags); /* prints what is wrong */
/* What the puppet NAME does from now on; its settings are PUPPET(name). */
void modes_order(const struct modes_rig *r, const char *name, const char *order);
#define PUPPET(name, more)                                                                                             \
    "{ plugin = \"puppet\"; name = \"" name "\"; path = \"@/" name ".received\"; orders = \"@/" name ".orders\";"      \
    " retry = { base = \"20ms\"; cap = \"50ms\"; }; breaker = { cooldown = \"50ms\"; }; " more " }"
#define TRAIL "{ plugin = \"file\"; name = \"trail\"; path = \"@/trail.jsonl\"; fsync = \"never\"; }"
size_t modes_received(const struct modes_rig *r, const char *name);         /* lines */
size_t modes_lines_with(const struct modes_rig *r, const char *part);       /* of trail.jsonl */
char *modes_file(const struct modes_rig *r, const char *name);              /* malloc'd, "" when there is none */
int modes_log(struct modes_rig *r, const char *action, const char *tenant); /* one event; tenant NULL: none */
bool modes_problem(const char *path, const char *part);                     /* of the last call; prints all when not */
bool modes_verifies(const struct modes_rig *r, uint64_t events);            /* trail.jsonl */

#endif
