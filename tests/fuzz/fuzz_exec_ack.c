/* fuzz_exec_ack.c - any line as a program's acknowledgement. SPDX-License-Identifier: Apache-2.0
 *
 * What must hold: it is refused with a reason, or all of the result lies within the line, is UTF-8, and the same again
 * when it is written as JSON and read back.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec_ack.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void within(struct aw_str s, const char *line, size_t size)
{
    must(s.ptr == NULL || (s.ptr >= line && s.ptr + s.len <= line + size));
}

/* As JSON, at most six bytes for each. */
static size_t put(char *to, struct aw_str s)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            to[n++] = (char)c;
            continue;
        }
        memcpy(to + n, "\\u00", 4);
        to[n + 4] = hex[c >> 4];
        to[n + 5] = hex[c & 15];
        n += 6;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = malloc(size > 0 ? size : 1);
    struct ex_ack ack, again;
    if (line == NULL)
        return 0;
    if (size > 0)
        memcpy(line, data, size);
    if (ex_parse_ack(line, size, &ack) == NULL) {
        within(ack.id, line, size);
        within(ack.error, line, size);
        must(ack.retry_after_ms <= 3600000);
        if (ack.kind == EX_ACK_EVENT) {
            must(ack.id.ptr != NULL && ack.status != AW_EVENT_UNKNOWN);
            char *text = malloc(ack.id.len * 6 + 64);
            must(text != NULL);
            static const char head[] = "{\"eventId\":\"";
            size_t n = sizeof head - 1;
            memcpy(text, head, n);
            n += put(text + n, ack.id);
            memcpy(text + n, "\",\"status\":\"durable\"}", 21);
            must(ex_parse_ack(text, n + 21, &again) == NULL && again.id.len == ack.id.len &&
                 memcmp(again.id.ptr, ack.id.ptr, ack.id.len) == 0);
            free(text);
        }
    }
    free(line);
    return 0;
}
