/* viewing.c - see viewing.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "delivery/viewing.h"

#include "base/base.h"

int viewing_add(struct event_viewer *viewer, struct event_batch *batch, const struct record_view *full)
{
    struct event_view view;
    if (!viewer)
        return event_batch_add(batch, full);
    int rc = event_view_make(viewer, full->json, full->head->json_len, &view);
    if (rc < 0)
        return rc;
    size_t fields = view.field_count * sizeof view.fields[0];
    char *p = event_batch_take(batch, sizeof *full->head + fields + view.json.len + view.claim.len);
    if (!p)
        return -ENOMEM;
    /* The header is the event's own, hashes and seq included; only what says where things stand is the view's. */
    struct record_header *head = memcpy(p, full->head, sizeof *head);
    head->json_len = (uint32_t)view.json.len;
    head->integrity_at = view.integrity_at;
    head->field_count = (uint16_t)view.field_count;
    struct field_ref *refs = memcpy(head + 1, view.fields, fields);
    char *json = memcpy((char *)refs + fields, view.json.ptr, view.json.len);
    char *claim = memcpy(json + view.json.len, view.claim.ptr, view.claim.len);
    const struct record_view made = {head, refs, json, {claim, view.claim.len}};
    return event_batch_add(batch, &made);
}

const char *viewing_fault(int rc)
{
    return rc == -EFBIG     ? "its view without personal data would be larger than an event may be"
           : rc == -EBADMSG ? "no view without personal data can be made of it"
                            : NULL;
}
