/* limits.c - default settings, and what stands in for an object that is over its limit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "event/emit.h"
#include "event/number.h"

void event_settings_init(struct event_settings *s)
{
    memset(s, 0, sizeof *s);
    s->redaction = true;
    s->redact_default_keys = true;
    s->redact_scanners = true;
    s->mask = "***";
    s->max_event = 64u << 10;
    s->max_metadata = 32u << 10;
    s->max_diff = 32u << 10;
    s->max_input = 1u << 20;
    s->max_depth = JSON_MAX_DEPTH_DEFAULT;
}

/* Canonical, like everything that is written. */
char *limits_put_marker(char *out, size_t original_bytes)
{
    static const char head[] = "{\"_marker\":\"[TRUNCATED]\",\"_originalBytes\":", tail[] = ",\"_truncated\":true}";
    memcpy(out, head, sizeof head - 1);
    out += sizeof head - 1;
    out += number_format_int((int64_t)original_bytes, out);
    memcpy(out, tail, sizeof tail - 1);
    return out + sizeof tail - 1;
}
