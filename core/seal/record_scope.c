/* record_scope.c - the chain scope of a record as text; see record.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/base.h"
#include "seal/record.h"

size_t record_scope(const struct record_view *view, char *out)
{
    bool tenant = (view->head->flags & RECORD_SCOPE_TENANT) != 0;
    struct aw_str value = base_str("unknown");
    struct field_ref f;
    bool escaped = false;
    if (record_field(view, tenant ? AW_FIELD_TENANT_ID : AW_FIELD_SOURCE_SERVICE, &f)) {
        value = (struct aw_str){view->json + field_offset(f), field_len(f)};
        escaped = (f.len_flags & FIELD_ESCAPED) != 0;
    }
    struct aw_str prefix = base_str(tenant ? "tenant:" : "service:");
    memcpy(out, prefix.ptr, prefix.len);
    if (escaped)
        return prefix.len + event_unescape(value.ptr, value.len, out + prefix.len);
    memcpy(out + prefix.len, value.ptr, value.len);
    return prefix.len + value.len;
}
