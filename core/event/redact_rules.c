/* redact_rules.c - settings to policy: every rule is checked, and one that cannot work refuses to start.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "event/policy.h"

#include "base/diag.h"

#include <stdatomic.h>
#include <stdio.h>

#define PATTERN_MAX 4096u
#define MATCH_LIMIT 20000u /* steps of one match; names are short */
#define DEPTH_LIMIT 1000u
#define HEAP_LIMIT 256u /* KiB */
#define STEPS_MAX 4096u

static int bad(const struct event_rule *rule, const char *list, const char *message)
{
    return diag_problem(AW_ERR_CONFIG, rule->where ? rule->where : "", "%s: \"%s\": %s", list,
                        rule->text ? rule->text : "", message);
}

size_t policy_normalise(const char *name, size_t len, char *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c >= 'A' && c <= 'Z')
            c = (unsigned char)(c + 32);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80))
            continue;
        if (n < max)
            out[n] = (char)c;
        n++;
    }
    return n;
}

/* ---- names ---- */

static size_t name_hash(const char *name, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

bool name_set_has(const struct name_set *set, const char *name, size_t len)
{
    if (set->count == 0)
        return false;
    for (size_t i = name_hash(name, len) & (set->capacity - 1); set->entries[i].name;
         i = (i + 1) & (set->capacity - 1)) {
        if (set->entries[i].len == len && memcmp(set->entries[i].name, name, len) == 0)
            return true;
    }
    return false;
}

static bool name_set_init(struct name_set *set, size_t count)
{
    set->capacity = 16;
    while (set->capacity < 2 * count)
        set->capacity *= 2;
    set->entries = calloc(set->capacity, sizeof *set->entries);
    return set->entries != NULL;
}

static int add_name(struct event_policy *p, struct name_set *set, const struct event_rule *rule, const char *list)
{
    char normal[POLICY_NAME_MAX];
    size_t len = rule->text ? strlen(rule->text) : 0;
    if (!text_utf8_valid(rule->text ? rule->text : "", len))
        return bad(rule, list, "not valid UTF-8");
    size_t n = policy_normalise(rule->text, len, normal, sizeof normal);
    if (n == 0)
        return bad(rule, list, "a name with at least one letter or digit is needed");
    if (n > sizeof normal)
        return bad(rule, list, "names are at most 128 letters and digits long");
    if (strpbrk(rule->text, ".*"))
        return bad(rule, list, "this looks like a path: names have no '.' or '*'; paths belong into redaction.paths");
    if (name_set_has(set, normal, n))
        return 0;
    char *kept = arena_text(&p->arena, n);
    if (!kept)
        return AW_ERR_NOMEM;
    memcpy(kept, normal, n);
    size_t i = name_hash(normal, n) & (set->capacity - 1);
    while (set->entries[i].name)
        i = (i + 1) & (set->capacity - 1);
    set->entries[i] = (struct name_entry){kept, (uint32_t)n};
    set->count++;
    return 0;
}

/* ---- patterns ---- */

/* Names of all sorts: a pattern that matches each of them would mask everything. */
static bool matches_everything(const struct event_policy *p, const pcre2_code *code, pcre2_match_data *md)
{
    static const char *const probes[] = {"a", "Z", "7", "_", "status", "requestId", "x-y", "\xc3\xa9", "http", "0.5"};
    for (size_t i = 0; i < AW_ARRAY_LEN(probes); i++) {
        if (pcre2_match(code, (PCRE2_SPTR)probes[i], strlen(probes[i]), 0, 0, md, p->match_context) ==
            PCRE2_ERROR_NOMATCH)
            return false;
    }
    return true;
}

/* Long names of one letter or two are what makes a pattern with nested repeats explode. */
static bool too_costly(const struct event_policy *p, const pcre2_code *code, pcre2_match_data *md)
{
    static const char *const seeds[] = {"a", "ab", "0", "a_", "aA0", "_", "password", "secret_"};
    char probe[65];
    for (size_t i = 0; i < AW_ARRAY_LEN(seeds); i++) {
        size_t n = strlen(seeds[i]);
        for (size_t k = 0; k < 63; k++)
            probe[k] = seeds[i][k % n];
        probe[63] = '!';
        int rc = pcre2_match(code, (PCRE2_SPTR)probe, 64, 0, 0, md, p->match_context);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return true;
    }
    return false;
}

static int check_pattern(const struct event_policy *p, const struct event_rule *rule, const pcre2_code *code)
{
    uint32_t empty = 0;
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    if (!md)
        return AW_ERR_NOMEM;
    int rc = 0;
    if (pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty) != 0 || empty)
        rc = bad(rule, "redaction.patterns",
                 "it matches the empty text, and so every name: require at least one character");
    else if (matches_everything(p, code, md))
        rc = bad(rule, "redaction.patterns",
                 "it matches every name, so that everything would be masked: be more specific");
    else if (too_costly(p, code, md))
        rc = bad(rule, "redaction.patterns",
                 "matching a name of 64 characters exceeds the limits: avoid nested repeats");
    pcre2_match_data_free(md);
    return rc;
}

static int add_pattern(struct event_policy *p, const struct event_rule *rule)
{
    int error = 0;
    PCRE2_SIZE offset = 0;
    size_t len = rule->text ? strlen(rule->text) : 0;
    if (len == 0 || len > PATTERN_MAX)
        return bad(rule, "redaction.patterns", len ? "longer than 4096 bytes" : "a regular expression is needed");
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)rule->text, len, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &offset, NULL);
    if (!code) {
        PCRE2_UCHAR text[160];
        if (error == PCRE2_ERROR_HEAP_FAILED)
            return AW_ERR_NOMEM;
        pcre2_get_error_message(error, text, AW_ARRAY_LEN(text));
        return diag_problem(AW_ERR_CONFIG, rule->where ? rule->where : "",
                            "redaction.patterns: \"%s\": not a regular expression: %s, at character %zu", rule->text,
                            (const char *)text, (size_t)offset + 1);
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where there is none, matching is only slower */
    p->patterns[p->pattern_count++] = code;
    return check_pattern(p, rule, code);
}

static int add_patterns(struct event_policy *p, const struct event_settings *s)
{
    if (s->pattern_count == 0)
        return 0;
    p->patterns = calloc(s->pattern_count, sizeof(pcre2_code *));
    p->match_context = pcre2_match_context_create(NULL);
    if (!p->patterns || !p->match_context)
        return AW_ERR_NOMEM;
    pcre2_set_match_limit(p->match_context, MATCH_LIMIT);
    pcre2_set_depth_limit(p->match_context, DEPTH_LIMIT);
    pcre2_set_heap_limit(p->match_context, HEAP_LIMIT);
    int rc = 0;
    for (size_t i = 0; i < s->pattern_count; i++) {
        int one = add_pattern(p, &s->patterns[i]);
        rc = one == AW_ERR_NOMEM || rc == AW_ERR_NOMEM ? AW_ERR_NOMEM : one ? one : rc;
    }
    return rc;
}

/* ---- paths ---- */

static size_t count_steps(const struct event_rule *rules, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += 3; /* first step, a step for a '**' at the end, end */
        for (const char *c = rules[i].text ? rules[i].text : ""; *c; c++)
            n += *c == '.';
    }
    return n;
}

static int add_step(struct event_policy *p, const char *raw, size_t len)
{
    struct path_step *s = &p->steps[p->step_count];
    char *kept = arena_text(&p->arena, 2 * len);
    if (!kept)
        return AW_ERR_NOMEM;
    memcpy(kept, raw, len);
    s->raw = kept;
    s->raw_len = (uint32_t)len;
    s->name = kept + len;
    s->len = (uint32_t)policy_normalise(raw, len, kept + len, len);
    s->kind = len == 1 && *raw == '*' ? PATH_ANY : len == 2 && memcmp(raw, "**", 2) == 0 ? PATH_DEEP : PATH_NAME;
    p->step_count++;
    return 0;
}

/* Splits a path at its dots; "\." is a dot inside a name. */
static int add_steps(struct event_policy *p, const struct event_rule *rule, const char *list, enum path_use use)
{
    char name[256];
    size_t n = 0;
    for (const char *c = rule->text;; c++) {
        if (*c == '.' || *c == '\0') {
            if (n == 0)
                return bad(rule, list, "a name is missing beside a '.'");
            int rc = add_step(p, name, n);
            if (rc != 0)
                return rc;
            if (p->steps[p->step_count - 1].kind == PATH_NAME && memchr(name, '*', n))
                return bad(rule, list,
                           use == PATH_TAGS ? "'*' and '**' stand for whole names only"
                                            : "'*' and '**' stand for whole names only; regular expressions on names "
                                              "belong into redaction.patterns");
            n = 0;
            if (*c == '\0')
                return 0;
            continue;
        }
        if (*c == '\\' && c[1] != '\0')
            c++;
        if (n == sizeof name || n == POLICY_NAME_MAX)
            return bad(rule, list, "a name is longer than 128 bytes");
        name[n++] = *c;
    }
}

static unsigned slot_by_step(const struct path_step *s, unsigned parent)
{
    for (unsigned slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++) {
        char normal[32];
        if (slot_specs[slot].parent != parent)
            continue;
        size_t n = policy_normalise(slot_name(slot), strlen(slot_name(slot)), normal, sizeof normal);
        if (n == s->len && memcmp(normal, s->name, n) == 0)
            return slot;
    }
    return SLOT_NONE;
}

/* Can the rule do what it says? Looks at the steps from `first` on, the end not yet added. */
static int check_steps(const struct event_policy *p, const struct event_rule *rule, const char *list, size_t first,
                       enum path_use use)
{
    bool mask = use == PATH_MASKS;
    const struct path_step *s = &p->steps[first];
    size_t count = p->step_count - first;
    if (s[0].kind != PATH_NAME)
        return 0;
    unsigned slot = slot_by_step(&s[0], SLOT_NONE);
    if (slot == SLOT_NONE)
        return bad(rule, list,
                   "events have no such member; unknown members are moved below metadata: begin with \"metadata.\" or "
                   "\"**.\"");
    if (count > 1 && slot_specs[slot].kind != KIND_OBJECT)
        return bad(rule, list, "this member has no members of its own");
    if (count == 1 && mask && slot_specs[slot].kind == KIND_OBJECT)
        return bad(rule, list, "an event needs this object: add \".*\" to mask each of its members");
    unsigned inner = count > 1 && s[1].kind == PATH_NAME ? slot_by_step(&s[1], slot) : SLOT_NONE;
    if (inner != SLOT_NONE && count > 2)
        return bad(rule, list, "this member has no members of its own");
    if (count == 2 && inner != SLOT_NONE)
        slot = inner;
    if (mask && count <= 2 && (count == 1 || inner != SLOT_NONE) && (slot_specs[slot].flags & SLOT_PROTECTED))
        return bad(rule, list, "an event needs this member: it cannot be masked");
    if (use == PATH_TAGS && count <= 2 && (count == 1 || inner != SLOT_NONE) && slot_fixed(slot))
        return bad(rule, list,
                   "chains, readers or verifiers go by this member: it is the same in every view; take the path out");
    return 0;
}

static int add_path(struct event_policy *p, const struct event_rule *rule, const char *list, enum path_use use)
{
    size_t first = p->step_count;
    if (!rule->text || !*rule->text)
        return bad(rule, list, "a path is needed");
    if (!text_utf8_valid(rule->text, strlen(rule->text)))
        return bad(rule, list, "not valid UTF-8");
    int rc = add_steps(p, rule, list, use);
    if (rc == 0)
        rc = check_steps(p, rule, list, first, use);
    if (rc == 0 && p->steps[p->step_count - 1].kind == PATH_DEEP) /* "a.**" means all below a, not a itself */
        rc = add_step(p, "*", 1);
    if (rc != 0) {
        p->step_count = first;
        return rc;
    }
    p->steps[p->step_count++] = (struct path_step){.kind = use == PATH_ALLOWS ? PATH_END_ALLOW : PATH_END_MASK};
    return 0;
}

/* What the rules say about each known member, and where they stand at its subtree. */
static int judge_slots(struct event_policy *p)
{
    size_t words = p->state_words = (p->step_count + 63) / 64;
    if (words == 0)
        return 0;
    p->slot_states = calloc((size_t)SLOT_COUNT * words, sizeof *p->slot_states);
    if (!p->slot_states)
        return AW_ERR_NOMEM;
    redact_start(p, p->slot_states);
    for (unsigned slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++) {
        bool alive;
        const uint64_t *from = p->slot_states + (size_t)slot_specs[slot].parent * words;
        const char *name = slot_name(slot);
        unsigned verdict = redact_step(p, from, name, strlen(name), p->slot_states + (size_t)slot * words, &alive);
        p->masked_slots |= verdict & REDACT_MASKED ? SLOT_BIT(slot) : 0;
        p->allowed_slots |= verdict & REDACT_ALLOWED ? SLOT_BIT(slot) : 0;
    }
    return 0;
}

static int worse(int rc, int one)
{
    return one == AW_ERR_NOMEM || rc == AW_ERR_NOMEM ? AW_ERR_NOMEM : one ? one : rc;
}

static int add_paths(struct event_policy *p, const struct event_settings *s)
{
    size_t steps = count_steps(s->paths, s->path_count) + count_steps(s->allow, s->allow_count);
    if (steps > STEPS_MAX)
        return diag_problem(AW_ERR_CONFIG, "", "redaction.paths: more than %u steps in all rules together", STEPS_MAX);
    p->steps = calloc(steps + 1, sizeof *p->steps);
    if (!p->steps || !name_set_init(&p->allow, s->allow_count))
        return AW_ERR_NOMEM;
    int rc = 0;
    for (size_t i = 0; i < s->path_count; i++)
        rc = worse(rc, add_path(p, &s->paths[i], "redaction.paths", PATH_MASKS));
    for (size_t i = 0; i < s->allow_count; i++) {
        bool path = s->allow[i].text && strpbrk(s->allow[i].text, ".*");
        rc = worse(rc, path ? add_path(p, &s->allow[i], "redaction.allow", PATH_ALLOWS)
                            : add_name(p, &p->allow, &s->allow[i], "redaction.allow"));
    }
    return rc;
}

int policy_add_tags(struct event_policy *p, const struct event_rule *tags, size_t count)
{
    size_t steps = count_steps(tags, count);
    if (steps > STEPS_MAX)
        return diag_problem(AW_ERR_CONFIG, "", "pii: more than %u steps in all paths together", STEPS_MAX);
    p->steps = calloc(steps + 1, sizeof *p->steps);
    if (!p->steps)
        return AW_ERR_NOMEM;
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        rc = worse(rc, add_path(p, &tags[i], "pii", PATH_TAGS));
    return rc != 0 ? rc : judge_slots(p);
}

/* Known members go by their name as well, unless the event needs them. */
static int judge_names(struct event_policy *p)
{
    struct redactor *r = calloc(1, sizeof *r);
    if (!r)
        return AW_ERR_NOMEM;
    for (unsigned slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++) {
        const char *name = slot_name(slot);
        unsigned verdict = slot_specs[slot].kind == KIND_OBJECT ? 0 : redact_judge(r, p, name, strlen(name));
        p->masked_slots |= verdict & REDACT_MASKED ? SLOT_BIT(slot) : 0;
        p->allowed_slots |= verdict & REDACT_ALLOWED ? SLOT_BIT(slot) : 0;
    }
    redactor_release(r);
    free(r);
    return 0;
}

/* ---- everything ---- */

static int set_mask(struct event_policy *p, const struct event_settings *s)
{
    const char *mask = s->mask ? s->mask : "***";
    size_t len = strlen(mask);
    if (len == 0 || len > POLICY_MASK_MAX || !text_utf8_valid(mask, len))
        return diag_problem(AW_ERR_CONFIG, "", "redaction.mask: must be UTF-8 text of 1 to %u bytes", POLICY_MASK_MAX);
    memcpy(p->mask, mask, len);
    p->mask_len = len;
    p->mask_json_len = (size_t)(json_put_text(p->mask_json, p->mask, len, true) - p->mask_json);
    return 0;
}

static int check_range(const char *name, uint32_t value, uint32_t min, uint32_t max)
{
    if (value >= min && value <= max)
        return 0;
    return diag_problem(AW_ERR_CONFIG, "", "%s: %u is out of range: %u to %u", name, value, min, max);
}

static int set_limits(struct event_policy *p, const struct event_settings *s)
{
    int rc = check_range("limits.event", s->max_event, 1024, EVENT_MAX_JSON);
    rc = worse(rc, check_range("limits.metadata", s->max_metadata, 128, EVENT_MAX_JSON));
    rc = worse(rc, check_range("limits.diff", s->max_diff, 128, EVENT_MAX_JSON));
    rc = worse(rc, check_range("limits.input", s->max_input, 1024, 64u << 20));
    rc = worse(rc, check_range("limits.depth", s->max_depth, 4, POLICY_MAX_DEPTH));
    p->max_event = s->max_event;
    p->max_metadata = s->max_metadata;
    p->max_diff = s->max_diff;
    p->max_input = s->max_input;
    p->max_depth = s->max_depth;
    p->over_limit_truncate = s->over_limit_truncate;
    p->strict = s->strict;
    p->strict_naming = s->strict_naming;
    return rc;
}

static int set_default(struct event_policy *p, unsigned slot, const char *value)
{
    if (!value)
        return 0;
    size_t len = strlen(value);
    if (!text_utf8_valid(value, len) || len > 8192)
        return diag_problem(AW_ERR_CONFIG, "", "the default of %s must be UTF-8 text of at most 8192 bytes",
                            slot_specs[slot].path);
    char *text = arena_text(&p->arena, len);
    if (!text)
        return AW_ERR_NOMEM;
    memcpy(text, value, len);
    unsigned flags = (text_classify(text, len) & TEXT_ESCAPE) | (scan_suspicious(text, len) ? JSON_MARKED : 0);
    p->defaults[slot] =
        (struct json_node){.type = JSON_STRING, .text = text, .len = (uint32_t)len, .flags = (uint8_t)flags};
    p->default_slots |= SLOT_BIT(slot);
    p->defaults_bound += 6 * len + 64;
    return 0;
}

static int set_defaults(struct event_policy *p, const struct event_settings *s)
{
    int rc = set_default(p, SLOT_SOURCE_SERVICE, s->service);
    rc = worse(rc, set_default(p, SLOT_SOURCE_VERSION, s->service_version));
    rc = worse(rc, set_default(p, SLOT_ENVIRONMENT, s->environment));
    rc = worse(rc, set_default(p, SLOT_SOURCE_HOST, s->host));
    rc = worse(rc, set_default(p, SLOT_SOURCE_REGION, s->region));
    return worse(rc, set_default(p, SLOT_SOURCE_INSTANCE, s->instance));
}

static int fill(struct event_policy *p, const struct event_settings *s)
{
    p->redaction = s->redaction;
    p->scanners = s->redaction && s->redact_scanners;
    p->built_in_names = s->redaction && s->redact_default_keys;
    int rc = set_mask(p, s);
    rc = worse(rc, set_limits(p, s));
    rc = worse(rc, set_defaults(p, s));
    if (!name_set_init(&p->keys, s->key_count))
        return AW_ERR_NOMEM;
    for (size_t i = 0; i < s->key_count; i++)
        rc = worse(rc, add_name(p, &p->keys, &s->keys[i], "redaction.keys"));
    rc = worse(rc, add_patterns(p, s));
    rc = worse(rc, add_paths(p, s));
    if (rc == 0)
        rc = judge_slots(p);
    if (rc == 0)
        rc = judge_names(p);
    for (unsigned slot = SLOT_NONE + 1; slot < SLOT_COUNT; slot++) {
        if (!s->redaction || (slot_specs[slot].flags & SLOT_PROTECTED) || (p->allowed_slots & SLOT_BIT(slot)))
            p->masked_slots &= ~SLOT_BIT(slot);
    }
    return rc;
}

int event_policy_create(const struct event_settings *settings, struct event_policy **ret)
{
    static _Atomic uint64_t generations;
    struct event_policy *p = calloc(1, sizeof *p);
    if (!p)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    p->generation = atomic_fetch_add_explicit(&generations, 1, memory_order_relaxed) + 1;
    int rc = fill(p, settings);
    if (rc != 0) {
        event_policy_destroy(p);
        return rc == AW_ERR_NOMEM ? diag_problem(AW_ERR_NOMEM, "", "out of memory") : rc;
    }
    *ret = p;
    return AW_SUCCESS;
}

void event_policy_destroy(struct event_policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->pattern_count; i++)
        pcre2_code_free(p->patterns[i]);
    free(p->patterns);
    pcre2_match_context_free(p->match_context);
    free(p->keys.entries);
    free(p->allow.entries);
    free(p->steps);
    free(p->slot_states);
    arena_destroy(&p->arena);
    free(p);
}
