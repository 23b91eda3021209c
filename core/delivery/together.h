/* together.h - fanout = "all_or_nothing": one coordinator for all sinks instead of a worker for each.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A round is a run of events that become visible in all sinks or in none:
 *   1. stage on every sink that can;
 *   2. write and flush on the one that cannot, if there is one;
 *   3. make the decision durable (decision.h);
 *   4. commit on every sink that staged;
 *   5. acknowledge every cursor.
 * Up to 3 everything can be rolled back, from 3 on everything will be committed; a start first settles what is in
 * doubt. An event that one sink rejects is rolled back everywhere, dead-lettered for every sink that lacks it, and the
 * rest goes on. Each sink keeps its own cursor, so fanout may be changed at any time.
 *
 * A sink that lost what it had staged (AW_E_NOTFOUND of a commit) is taken out of the decision, and gets the events
 * again.
 *
 * Known gaps. When the process dies between that answer and the decision's new text, the sink does not get them again
 * (the file sink has set them aside). When the sink without staging has taken a part of a round and rejected another,
 * and the process ends before the round is decided, a sink that only knows its last position cannot tell that the event
 * is missing in it: the others may get an event that it has refused, or only that sink lacks it.
 */
#ifndef AW_TOGETHER_H
#define AW_TOGETHER_H

#include "delivery/delivery.h"

struct together;
/* Joins deliveries that were created and not attached yet. They stay the caller's, and delivery_*() work on them, but
 * for delivery_start(). 0, AW_ERR_NOMEM, or AW_ERR_CONFIG: two or more cannot stage; a problem for each too many. */
int together_create(struct delivery *const *members, size_t count, const char *state_dir, const struct diag_out *diag,
                    struct together **ret);
/* With delivery_attach() of each, before an event can be appended: reads the last decision. 0 or AW_ERR_*, with a
 * problem. */
int together_attach(struct together *group, struct journal *journal);
/* After these: start() of the plugins, and the coordinator. 0 or AW_ERR_*, with problems. */
int together_start(struct together *group);
/* After delivery_destroy() of each. false: the coordinator was given up, and nothing is freed. */
bool together_destroy(struct together *group);

/* For delivery.c. */
void together_poke(struct together *group); /* any thread, any lock held but the group's own */
int together_stop(struct delivery *member, uint64_t deadline_mono_ns);

#endif
