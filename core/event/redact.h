/* redact.h - masking: compiled rules, verdicts on names, value scanners. SPDX-License-Identifier: Apache-2.0
 *
 * Names. A name is compared in its normal form: lower case, letters and digits only, so that access_token, Access-Token
 * and accessToken are one name. It is masked when
 *  - its normal form is a listed one: settings.keys, or the built-in list (trailing digits are ignored for the latter);
 *  - its last words are a built-in one, words being parted by '_', '-', '.', ' ' or a hump: dbPassword, x-api-key,
 * csrf_token; names of some length need no border between words: dbpassword;
 *  - a pattern of settings.patterns matches the name as it is written.
 * A name in settings.allow is never masked. Known members that an event needs are never masked by name or path.
 *
 * Paths. Steps parted by dots, compared in normal form; '*' is any one name, '**' any number of names; arrays are
 * transparent: the elements of a.b have the path a.b.
 *
 * Values. Scanners look for secrets inside every text (never in names) and mask just those: card numbers, JSON web
 * tokens, PEM private keys, cloud keys, well-known token prefixes, Bearer and Basic credentials.
 */
#ifndef AW_REDACT_H
#define AW_REDACT_H

#include "event/json_doc.h"

struct event_policy;
struct pcre2_real_match_data_8; /* pcre2_match_data */

#define REDACT_CACHE_BITS 8u
#define REDACT_CACHE (1u << REDACT_CACHE_BITS) /* names */
#define REDACT_CACHE_NAME 32u                  /* longest name kept */

struct redact_verdict {
    uint64_t generation;          /* of the policy that gave it; 0 = empty */
    uint64_t head, tail;          /* text_head() of the name, and of its last 8 bytes when it is longer than 8 */
    char name[REDACT_CACHE_NAME]; /* names over 16 bytes */
    uint8_t len, verdict, reserved[6];
};

/* A thread's part: what it has learnt, and its buffers. */
struct redactor {
    struct redact_verdict cache[REDACT_CACHE];
    struct arena arena;                         /* masked texts */
    struct pcre2_real_match_data_8 *match_data; /* made with the first pattern */
    uint64_t *states;                           /* path states, one row a level */
    size_t states_capacity;
};
void redactor_init(struct redactor *r);
void redactor_release(struct redactor *r);

#define REDACT_MASKED 1u
#define REDACT_ALLOWED 2u
/* The verdict itself, without the cache; any name. */
unsigned redact_judge(struct redactor *r, const struct event_policy *policy, const char *name, size_t len);
unsigned redact_name_slow(struct redactor *r, const struct event_policy *policy, const struct json_node *n);

static inline struct redact_verdict *redact_cache_slot(struct redactor *r, uint64_t head, uint64_t tail, size_t len)
{
    return &r->cache[((head ^ tail * 3 ^ len) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - REDACT_CACHE_BITS)];
}

static inline uint64_t redact_tail(const char *name, size_t len)
{
    return len > 8 ? text_head(name + len - 8, 8) : 0;
}

/* REDACT_* by the name of a member alone. 16 bytes behind the name must be readable. generation: the policy's. */
static inline unsigned redact_name(struct redactor *r, const struct event_policy *policy, uint64_t generation,
                                   const struct json_node *n)
{
    size_t len = n->key_len;
    uint64_t tail = redact_tail(n->key, len);
    const struct redact_verdict *v = redact_cache_slot(r, n->key_head, tail, len);
    if (AW_LIKELY(v->generation == generation && v->head == n->key_head && v->tail == tail && v->len == len) &&
        (AW_LIKELY(len <= 16) || memcmp(v->name, n->key, len) == 0))
        return v->verdict;
    return redact_name_slow(r, policy, n);
}

/* Path states: bit sets over all steps of all rules. NULL row: no rule can match below. */
size_t redact_state_words(const struct event_policy *policy);
/* Where a slot's subtree begins; slot SLOT_NONE: the event itself. */
const uint64_t *redact_slot_state(const struct event_policy *policy, unsigned slot);
/* The row from which every rule starts. */
void redact_start(const struct event_policy *policy, uint64_t *to);
/* Goes one name down: writes the new row, returns REDACT_* of rules that end there; *ret_alive: can anything match
 * below? */
unsigned redact_step(const struct event_policy *policy, const uint64_t *from, const char *name, size_t len,
                     uint64_t *to, bool *ret_alive);

/* ---- value scanners (scan.c) ---- */

/* Might a scanner find something in the text? Cheap, errs on the side of yes. 64 bytes behind the text must be
 * readable. */
#define SCAN_SHORTEST 13u /* no secret that is looked for is shorter */
bool scan_suspicious_slow(const char *text, size_t len);
static inline bool scan_suspicious(const char *text, size_t len)
{
    return len >= SCAN_SHORTEST && scan_suspicious_slow(text, len);
}
/* Rising offsets of suspicious places, at most max - 1, then UINT32_MAX; false: there were more. Zero bytes follow the
 * text. */
bool scan_marks(const char *text, size_t len, uint32_t *marks, size_t max);
/* Masks secrets in a text. 0: none found; else how many, with the new text in the arena; -1: no memory. */
int scan_text(const char *text, size_t len, const char *mask, size_t mask_len, struct arena *arena, struct aw_str *ret);
/* Is the text of a number a card number? */
bool scan_number(const char *text, size_t len);

#endif
