/* pii.c - which members hold personal data: paths, compiled. See view.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/diag.h"
#include "event/pii.h"

int event_pii_create(const struct event_rule *tags, size_t count, const char *mask, struct event_pii **ret)
{
    struct event_pii *pii = calloc(1, sizeof *pii);
    int rc = AW_ERR_NOMEM;
    if (pii) {
        pii->mask = strdup(mask);
        pii->tags = calloc(1, sizeof *pii->tags);
        if (pii->mask && pii->tags)
            rc = policy_add_tags(pii->tags, tags, count);
    }
    if (rc != 0) {
        event_pii_destroy(pii);
        return rc == AW_ERR_NOMEM ? diag_problem(AW_ERR_NOMEM, "", "out of memory") : rc;
    }
    pii->mask_len = strlen(mask);
    *ret = pii;
    return AW_SUCCESS;
}

void event_pii_destroy(struct event_pii *pii)
{
    if (!pii)
        return;
    event_policy_destroy(pii->tags);
    free(pii->mask);
    free(pii);
}

const char *event_pii_needed(const struct event_pii *pii)
{
    uint64_t tagged = pii->tags->masked_slots;
    if (tagged & SLOT_BIT(SLOT_ACTION))
        return slot_specs[SLOT_ACTION].path;
    if (tagged & (SLOT_BIT(SLOT_ACTOR_ID) | SLOT_BIT(SLOT_ACTOR)))
        return slot_specs[SLOT_ACTOR_ID].path;
    return NULL;
}
