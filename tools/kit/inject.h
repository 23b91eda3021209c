/* inject.h - what the plugin asks of the C library, seen, failed and held up.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The program's own malloc, open, write … come before the C library's for everything that is loaded. What the C library
 * does inside itself is not seen. Failures and gates concern the thread that armed them, watches every thread.
 */
#ifndef KIT_INJECT_H
#define KIT_INJECT_H

#include <stdbool.h>
#include <stddef.h>

enum inject_kind {
    INJECT_MALLOC,
    INJECT_OPEN,
    INJECT_WRITE,
    INJECT_SYNC,
    INJECT_RENAME,
    INJECT_TRUNCATE,
    INJECT_CONNECT,
    INJECT_SEND,
    INJECT_RECV,
    INJECT_KINDS
};
bool inject_can(enum inject_kind kind); /* memory belongs to the sanitizer, where there is one */
const char *inject_name(enum inject_kind kind);
/* The nth call from now (1 = the next) fails with errnum; on: every later one, too. A write fails after half of its
 * bytes. */
void inject_arm(enum inject_kind kind, long nth, int errnum, bool on);
long inject_disarm(void); /* calls of that kind since arming */
bool inject_fired(void);
/* Syncs do nothing: for loops with thousands of them, in which no power is lost. */
void inject_skip_syncs(bool on);

size_t inject_memory_used(void); /* bytes that were allocated and not freed, in the whole process */

/* Every call that touches files, the network, processes or threads is noted, with what it was. */
void watch_begin(void);
size_t watch_end(char *ret_first, size_t size); /* how many, and the first of them */

/* Which regular files were written and not synced since; a sync that failed counts until something is written anew. */
void dirty_begin(void);
size_t dirty_count(char *ret_name, size_t size);

/* The calling thread stops in its next call that reads, writes or waits, until the gate is opened. */
void inject_gate_arm(void);
bool inject_gate_reached(unsigned ms);
void inject_gate_open(void);

#endif
