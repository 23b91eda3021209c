/* policy.h - compiled settings, for event/ alone. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_POLICY_H
#define AW_POLICY_H

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include "event/event.h"
#include "event/redact.h"
#include "event/schema.h"

#define POLICY_NAME_MAX 128u /* of a name in normal form */
#define POLICY_MASK_MAX 64u
#define POLICY_MAX_DEPTH 512u

struct name_set { /* open addressing, at most half full; texts are the policy's */
    struct name_entry {
        const char *name;
        uint32_t len;
    } * entries;
    size_t capacity, count;
};

enum step_kind { PATH_NAME, PATH_ANY, PATH_DEEP, PATH_END_MASK, PATH_END_ALLOW };
struct path_step {
    enum step_kind kind;
    uint32_t len, raw_len;
    const char *name, *raw; /* normal form (may be empty), and as written */
};

struct event_policy {
    uint64_t generation; /* unlike that of any other policy of the process; never 0 */
    bool redaction, scanners, built_in_names, strict, strict_naming, over_limit_truncate;
    uint32_t max_event, max_metadata, max_diff, max_input, max_depth;
    char mask[POLICY_MASK_MAX + TEXT_STEP];
    char mask_json[6 * POLICY_MASK_MAX + 2 + TEXT_STEP]; /* with quotes and escapes */
    size_t mask_len, mask_json_len;
    struct name_set keys, allow;
    pcre2_code **patterns;
    size_t pattern_count;
    pcre2_match_context *match_context;
    struct path_step *steps; /* of all rules, each ended by PATH_END_* */
    size_t step_count, state_words;
    uint64_t *slot_states; /* SLOT_COUNT rows of state_words, or NULL without rules */
    uint64_t masked_slots; /* bits of known members that rules mask whole */
    uint64_t allowed_slots;
    struct json_node defaults[SLOT_COUNT]; /* JSON_NONE = none */
    uint64_t default_slots;                /* bits of those that are there */
    size_t defaults_bound;
    struct arena arena; /* names and texts */
};

/* What a path is for. */
enum path_use { PATH_MASKS, PATH_ALLOWS, PATH_TAGS };

/* Never changed in a view: chains, readers or verifiers go by it. action and actor.id are needed, but only their
 * presence. */
static inline bool slot_fixed(unsigned slot)
{
    return (slot_specs[slot].flags & SLOT_PROTECTED) && slot != SLOT_ACTION && slot != SLOT_ACTOR_ID;
}
/* Takes the paths of personal data as the only rules of a policy: what they match is REDACT_MASKED, and masked_slots
 * has the known members. 0 or AW_ERR_*, reported but for AW_ERR_NOMEM. */
int policy_add_tags(struct event_policy *policy, const struct event_rule *tags, size_t count);

/* Lower-case letters and digits of a name; at most max bytes are written, the full length is returned. Bytes from 0x80
 * on are kept as they are. */
size_t policy_normalise(const char *name, size_t len, char *out, size_t max);
bool name_set_has(const struct name_set *set, const char *name, size_t len);
bool built_in_name(const char *raw, size_t len); /* redact_names.c */

#endif
