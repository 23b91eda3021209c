/* exec_ack.h - what a program may answer: one JSON object on a line. SPDX-License-Identifier: Apache-2.0
 *
 *   {"eventId":"…","status":"durable"|"accepted"|"duplicate"|"retry"|"rejected","error":"…","retryAfterMs":N}
 *   {"flushed":N,"error":"…"}
 *
 * Members that are not known here are skipped, so that the protocol can grow. Nothing is allocated.
 */
#ifndef AW_EXEC_ACK_H
#define AW_EXEC_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/plugin.h"

enum ex_ack_kind { EX_ACK_EVENT, EX_ACK_FLUSHED };

struct ex_ack {
    enum ex_ack_kind kind;
    uint8_t status;          /* AW_EVENT_* */
    struct aw_str id;        /* eventId, decoded; points into the line */
    struct aw_str error;     /* decoded; ptr NULL: none */
    uint64_t retry_after_ms; /* 0: not said; at most 3600000 */
    uint64_t number;         /* of FLUSHED */
};

/* Parses one line without its newline; strings are decoded in place. NULL, or what is wrong with it. */
const char *ex_parse_ack(char *line, size_t len, struct ex_ack *ret);

#endif
