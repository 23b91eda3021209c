/* redact.c - verdicts on names and paths while an event is written. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/policy.h"

void redactor_init(struct redactor *r)
{
    memset(r, 0, sizeof *r);
}

void redactor_release(struct redactor *r)
{
    arena_destroy(&r->arena);
    pcre2_match_data_free(r->match_data);
    free(r->states);
    redactor_init(r);
}

/* Pattern verdicts fail closed: a match that had to be given up (limits, memory) counts as one. */
static bool pattern_matches(struct redactor *r, const struct event_policy *policy, const char *name, size_t len)
{
    if (policy->pattern_count == 0)
        return false;
    if (!r->match_data)
        r->match_data = pcre2_match_data_create(1, NULL);
    if (!r->match_data)
        return true;
    for (size_t i = 0; i < policy->pattern_count; i++) {
        int rc = pcre2_match(policy->patterns[i], (PCRE2_SPTR)name, len, 0, PCRE2_NO_UTF_CHECK, r->match_data,
                             policy->match_context);
        if (rc != PCRE2_ERROR_NOMATCH)
            return true;
    }
    return false;
}

unsigned redact_judge(struct redactor *r, const struct event_policy *policy, const char *name, size_t len)
{
    char normal[POLICY_NAME_MAX];
    size_t n = policy_normalise(name, len, normal, sizeof normal);
    if (n > 0 && n <= sizeof normal) {
        if (name_set_has(&policy->allow, normal, n))
            return REDACT_ALLOWED;
        if (name_set_has(&policy->keys, normal, n))
            return REDACT_MASKED;
    }
    if (policy->built_in_names && built_in_name(name, len))
        return REDACT_MASKED;
    return pattern_matches(r, policy, name, len) ? REDACT_MASKED : 0;
}

unsigned redact_name_slow(struct redactor *r, const struct event_policy *policy, const struct json_node *n)
{
    unsigned verdict = redact_judge(r, policy, n->key, n->key_len);
    if (n->key_len <= REDACT_CACHE_NAME) {
        uint64_t tail = redact_tail(n->key, n->key_len);
        struct redact_verdict *v = redact_cache_slot(r, n->key_head, tail, n->key_len);
        *v = (struct redact_verdict){.generation = policy->generation,
                                     .head = n->key_head,
                                     .tail = tail,
                                     .len = (uint8_t)n->key_len,
                                     .verdict = (uint8_t)verdict};
        memcpy(v->name, n->key, n->key_len);
    }
    return verdict;
}

size_t redact_state_words(const struct event_policy *policy)
{
    return policy->state_words;
}

const uint64_t *redact_slot_state(const struct event_policy *policy, unsigned slot)
{
    return policy->slot_states ? policy->slot_states + (size_t)slot * policy->state_words : NULL;
}

static bool step_takes(const struct path_step *s, const char *name, size_t len, const char *normal, size_t normal_len)
{
    if (s->kind == PATH_ANY || s->kind == PATH_DEEP)
        return true;
    if (s->kind != PATH_NAME)
        return false;
    if (s->len == 0) /* a name without letters and digits is compared as it is */
        return s->raw_len == len && memcmp(s->raw, name, len) == 0;
    return s->len == normal_len && memcmp(s->name, normal, normal_len) == 0;
}

/* Enters step i; '**' may also stand for no name at all. */
static void enter(const struct event_policy *policy, uint64_t *to, size_t i, unsigned *verdict, bool *alive)
{
    for (;; i++) {
        to[i / 64] |= UINT64_C(1) << (i % 64);
        switch (policy->steps[i].kind) {
        case PATH_END_MASK:
            *verdict |= REDACT_MASKED;
            return;
        case PATH_END_ALLOW:
            *verdict |= REDACT_ALLOWED;
            return;
        case PATH_DEEP:
            *alive = true;
            continue;
        default:
            *alive = true;
            return;
        }
    }
}

unsigned redact_step(const struct event_policy *policy, const uint64_t *from, const char *name, size_t len,
                     uint64_t *to, bool *ret_alive)
{
    char normal[POLICY_NAME_MAX];
    size_t n = policy_normalise(name, len, normal, sizeof normal);
    if (n > sizeof normal)
        n = SIZE_MAX; /* longer than any rule's name */
    unsigned verdict = 0;
    bool alive = false;
    memset(to, 0, policy->state_words * sizeof *to);
    for (size_t w = 0; w < policy->state_words; w++) {
        for (uint64_t bits = from[w]; bits; bits &= bits - 1) {
            size_t i = w * 64 + (size_t)__builtin_ctzll(bits);
            if (step_takes(&policy->steps[i], name, len, normal, n))
                enter(policy, to, policy->steps[i].kind == PATH_DEEP ? i : i + 1, &verdict, &alive);
        }
    }
    *ret_alive = alive;
    return verdict;
}

void redact_start(const struct event_policy *policy, uint64_t *to)
{
    unsigned verdict = 0;
    bool alive;
    memset(to, 0, policy->state_words * sizeof *to);
    for (size_t i = 0; i < policy->step_count; i++) {
        if (i == 0 || policy->steps[i - 1].kind >= PATH_END_MASK)
            enter(policy, to, i, &verdict, &alive);
    }
}
