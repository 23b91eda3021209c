/* fuzz_stored.c - fuzz target: reading stored events back. SPDX-License-Identifier: Apache-2.0
 *
 * Beyond "no crash": whether a line passed for canonical or was rewritten, its canonical form read again is itself, and
 * says the same of id, tenant and service.
 */
#include "config.h"

#include "base/base.h"
#include "base/diag.h"
#include "event/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *join(const struct stored_event *s, size_t *ret_len)
{
    *ret_len = s->prefix.len + s->suffix.len;
    char *out = malloc(*ret_len + 1);
    if (!out)
        return NULL;
    memcpy(out, s->prefix.ptr, s->prefix.len);
    if (s->suffix.len)
        memcpy(out + s->prefix.len, s->suffix.ptr, s->suffix.len);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stored_event first, again;
    char buffer[64];
    diag_reset();
    (void)aw_json_field((const char *)data, size, "context.tenantId", buffer, sizeof buffer);
    diag_reset();
    if (event_parse_stored((const char *)data, size, &first) != 0) {
        if (diag_count() == 0)
            abort(); /* refused without a reason */
        return 0;
    }
    size_t len, tenant_len = first.tenant_id.len, id_len = first.event_id.len;
    char *text = join(&first, &len);
    if (!text)
        return 0;
    if (event_parse_stored(text, len, &again) != 0 || again.has_integrity || again.prefix.ptr != text ||
        again.prefix.len + again.suffix.len != len)
        abort();
    if (again.tenant_id.len > tenant_len * 6 + 16 || (tenant_len == 0) != (again.tenant_id.len == 0) ||
        (id_len == 0) != (again.event_id.len == 0))
        abort();
    free(text);
    return 0;
}
