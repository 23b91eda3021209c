/* fuzz_nats_ack.c - any bytes as a JetStream server's answer. SPDX-License-Identifier: Apache-2.0
 *
 * What must hold: it is refused with a reason, or is a confirmation with a sequence number, or an error; never durable
 * by accident, and what it points to lies within the answer.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "nats_sink.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size > 0 ? size : 1);
    struct np_ack ack;
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    if (np_parse_ack(text, size, &ack) == NULL) {
        must(!ack.ok || (ack.seq > 0 && ack.seq < UINT64_MAX && memmem(data, size, "seq", 3) != NULL) ||
             memchr(data, '\\', size) != NULL);
        must(ack.text.ptr == NULL || (ack.text.ptr >= text && ack.text.ptr + ack.text.len <= text + size));
        must(ack.code >= 0 && ack.code <= 99999 && ack.err_code >= 0 && ack.err_code <= 99999);
        must(np_code_of(&ack) < 0);
    }
    free(text);
    return 0;
}
